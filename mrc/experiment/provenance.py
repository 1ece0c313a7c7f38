# SPDX-License-Identifier: Apache-2.0
"""Fingerprints of results, so that a run reuses only results that it would produce itself.

`cells.json` in the output folder has, for each cell, the fingerprint of its inputs and the SHA-256
of its files.
"""

import hashlib
import json
import os
from typing import NamedTuple, Optional

from mrc import cells as grid_cells
from mrc.util import files
from mrc.util.errors import InputError, warn
from mrc.util.lazy_tensorflow import tf
from mrc.util.shards import Shard

RECORD_FILE = "cells.json"
# The names in a fingerprint of what tells readers and their windows apart.
_READER = (
    *("dataset", "checkpoint", "bert_config_file", "vocab_file", "spm_model_file", "predict_file"),
    *("do_lower_case", "max_seq_length", "doc_stride", "max_query_length"),
)
_UNFINISHED = "unfinished-"
_FINGERPRINT_FILE = "made_from.json"
_SIGNED = {"signed_files": True}  # in a folder whose files carry their fingerprint


def sha256(data):
    """Returns the SHA-256 of bytes as hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def checkpoint_sha256(path):
    """Returns the SHA-256 of a checkpoint's index, which has the checksums of all its tensors."""
    return files.sha256(path + ".index", "checkpoint index")


def _difference(key, ours, theirs):
    """Returns the name of a value that differs, with both values if they are numbers or bools."""
    if all(isinstance(value, (bool, int, float)) for value in (ours, theirs)):
        return f"{key} ({theirs} then, {ours} now)"
    return key


def differences(ours, theirs):
    """Returns a text that lists the differences of two fingerprints; `ours` is the current one."""
    if not isinstance(theirs, dict):
        return "record, which is damaged"
    keys = list(ours) + [key for key in theirs if key not in ours]
    return ", ".join(_difference(key, ours.get(key), theirs.get(key)) for key in keys if ours.get(key) != theirs.get(key))


def read_record(path):
    """Returns the JSON value of a record, None if the file is damaged."""
    try:
        return files.read_json(path)
    except InputError:
        return None


class CellRecord:
    """The finished cells of an output folder."""

    def __init__(self, folder):
        self._folder = folder
        self._path = os.path.join(folder, RECORD_FILE)
        self._cells = read_record(self._path) if tf.gfile.Exists(self._path) else {}
        if not isinstance(self._cells, dict) or not all(
            isinstance(entry, dict)
            and set(entry) == {"made_from", "files"}
            and all(isinstance(part, dict) for part in entry.values())
            for entry in self._cells.values()
        ):
            raise InputError(f"{self._path} is not a cell record of this project; delete it to decode all cells again")

    def why_not_done(self, name, file_names, fingerprint):
        """Returns why a cell has to be decoded, or None if its files are complete and current.

        Args:
          name: of the cell.
          file_names: of its files.
          fingerprint: that the cell should have, a dict.

        Returns:
          None, the reason, or "" if the cell was never decoded.
        """
        entry = self._cells.get(name)
        if entry is None:
            return ""
        if entry["made_from"] != fingerprint:
            return "made with another " + differences(fingerprint, entry["made_from"])
        for file_name in file_names:
            path = os.path.join(self._folder, file_name)
            if file_name not in entry["files"] or not tf.gfile.Exists(path):
                return f"{file_name} is missing"
            if files.sha256(path) != entry["files"][file_name]:
                return f"{file_name} was changed since"
        return None

    def check_together(self, name, file_names):
        """Raises an `InputError` if a shared file of a recorded cell has another cell's answers.

        Returns {path: SHA-256} of the files that exist.
        """
        recorded, hashes = self._cells.get(name, {"files": {}})["files"], {}
        for file_name in file_names:
            path = os.path.join(self._folder, file_name)
            if tf.gfile.Exists(path):
                hashes[path] = files.sha256(path)
                if recorded.get(file_name, hashes[path]) != hashes[path]:
                    raise InputError(f"{path} is not what was decoded with {name}; decode it again with --do_predict")
        return hashes

    def has_current(self, name, file_name):
        """Whether a file is as recorded with a cell, or the cell is not recorded."""
        path, entry = os.path.join(self._folder, file_name), self._cells.get(name)
        if entry is None or not tf.gfile.Exists(path):
            return True
        return entry["files"].get(file_name) == files.sha256(path)

    def checkpoints(self):
        """Returns the set of the SHA-256 of the checkpoints whose answers are recorded."""
        prints = [entry["made_from"] for entry in self._cells.values()]
        return {each["checkpoint"] for each in prints if "checkpoint" in each}

    def made_from(self, name):
        """Returns the fingerprint of a recorded cell, None for others."""
        return self._cells.get(name, {}).get("made_from")

    def add(self, names, fingerprint):
        """Records cells, {name: file names}, as finished."""
        for name, file_names in names.items():
            hashes = {each: files.sha256(os.path.join(self._folder, each)) for each in file_names}
            self._cells[name] = {"made_from": fingerprint, "files": hashes}
        files.write_json(self._path, self._cells)


def other_reader(ours, theirs):
    """Returns what two fingerprints name of another reader or data, "" where they are alike."""
    ours, theirs = ({name: each.get(name) for name in _READER} for each in (ours, theirs))
    return differences(ours, theirs)


def warn_of_other_reader(folder):
    """Warns if attention and answers without a mask are not of the same reader and data."""
    path = os.path.join(folder, RECORD_FILE)
    cells = (read_record(path) if files.exists(path) else None) or {}
    baseline = grid_cells.BASELINE.name
    fingerprints = [cells.get(name, {}).get("made_from") for name in (attention_entry(baseline), baseline)]
    other = None not in fingerprints and other_reader(*fingerprints)
    if other:
        warn(
            f"the attention and the answers in {folder} were made with another {other}; run both "
            "again with the same reader and data"
        )


def attention_entry(cell_name):
    """Returns the name of a cell's attention in the record."""
    return f"attention of {cell_name}"


class UnfinishedWork(NamedTuple):
    """Where the partial results of a forward pass are kept.

    Attributes:
      folder: of the files.
      fingerprint: what the results depend on; each file carries it.
      trusts_unsigned: whether an earlier version began the folder, whose files carry none.
      shard: the `shards.Shard` that this process computes; None for all batches.
    """

    folder: str
    fingerprint: dict
    trusts_unsigned: bool
    shard: Optional[Shard] = None

    def own(self, batches):
        """Returns those of a sequence of batches that this process computes."""
        return self.shard.of(batches) if self.shard else batches


def unfinished_work(output_dir, fingerprint, cells, shard=None) -> UnfinishedWork:
    """Returns the `UnfinishedWork` of `cells`, or a shard of it, with this fingerprint.

    Creates its folder if needed, and warns of partial results of the same task with other
    fingerprints.
    """
    from mrc.util import tensorflow_versions

    whole = dict(fingerprint, cells=[cell.name for cell in cells])
    if tensorflow_versions.IS_TF2:
        # The last bits differ by both.
        whole.update(tensorflow=tf.__version__, onednn=tensorflow_versions.uses_onednn())
    own_name = _UNFINISHED + sha256(json.dumps(whole, sort_keys=True).encode("utf-8"))[:12]
    folder = os.path.join(output_dir, own_name)
    for name in tf.gfile.ListDirectory(output_dir):
        name = name.rstrip("/")
        path = os.path.join(output_dir, name, _FINGERPRINT_FILE)
        if name.startswith(_UNFINISHED) and name != own_name and tf.gfile.Exists(path):
            theirs = read_record(path)
            if isinstance(theirs, dict) and theirs.get("attention") != whole.get("attention"):
                continue  # as shards leave both tasks of one command
            warn(
                f"{os.path.join(output_dir, name)} holds unfinished work with another "
                f"{differences(dict(whole, **_SIGNED), theirs)}; it is not used (rerun "
                "with the earlier flags to resume it, or delete the folder)"
            )
    path = os.path.join(folder, _FINGERPRINT_FILE)
    begun = read_record(path) if tf.gfile.Exists(path) else None
    tf.gfile.MakeDirs(folder)
    if begun != whole:
        files.write_json(path, dict(whole, **_SIGNED))
    return UnfinishedWork(folder, whole, begun == whole, shard)
