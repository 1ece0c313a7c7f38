# SPDX-License-Identifier: Apache-2.0
"""Tests that all paths go through tf.gfile, and that writes are atomic in a bucket too.

A bucket renames a file by copying it.
"""

import ast
import glob
import os
import sys
import time

import pytest
import tensorflow.compat.v1 as tf
import tiny

import squad_evaluate
import visualize_zones
from demo import sample_data
from mrc import datasets
from mrc.data import tfrecords, windows
from mrc.experiment import partial_results
from mrc.experiment import run as experiment
from mrc.util import files

SCHEME = "file://"  # Python's own functions take it for a relative path that does not exist
MODULES = sorted(
    glob.glob(os.path.join(tiny.ROOT, "*.py")) + glob.glob(os.path.join(tiny.ROOT, "mrc", "**", "*.py"), recursive=True)
)
OTHER_FUNCTIONS = {
    "open",
    "io.open",
    "codecs.open",
    "os.open",
    "os.listdir",
    "os.scandir",
    "os.walk",
    "os.remove",
    "os.unlink",
    "os.rename",
    "os.replace",
    "os.mkdir",
    "os.makedirs",
    "os.rmdir",
    "os.removedirs",
    "os.stat",
    "os.access",
    "os.path.exists",
    "os.path.isfile",
    "os.path.isdir",
    "os.path.lexists",
    "os.path.getsize",
    "os.path.getmtime",
    "np.fromfile",
    "np.loadtxt",
    "np.savetxt",
    "np.genfromtxt",
}
ALSO_TAKE_BUFFERS = {"np.load", "np.save", "np.savez", "np.savez_compressed", "savefig"}
ALLOWED = {
    "aliases.py": {"shutil", "tempfile", "os.path.isdir", "os.listdir"},  # of local links
    "pytorch_file.py": {"pickle"},  # to define an unpickler that only knows tensors
    "check_environment.py": {"os.listdir"},  # of installed packages
    "local_files.py": {  # what gfile does, where nothing needs TensorFlow
        *("open", "os.path.exists", "os.path.isdir", "os.remove", "os.makedirs", "os.replace")
    },
    "locks.py": {"os.open"},  # a lock is the file system's own
    "streams.py": {"os.open", "open"},  # of the null device and the standard streams
    "precision.py": {"open"},  # of the system's description of the CPU
    "run_record.py": {"subprocess"},  # git describes the project, not a user's files
}
OTHER_MODULES = {"shutil", "pathlib", "tempfile", "glob", "codecs", "h5py", "sqlite3", "pickle", "subprocess"}


def dotted(node):
    """Returns "a.b.c" for such an expression, else None."""
    if isinstance(node, ast.Name):
        return node.id
    inner = dotted(node.value) if isinstance(node, ast.Attribute) else None
    return inner and f"{inner}.{node.attr}"


def is_buffer(node):
    return dotted(node) in ("buffer", "image") or (isinstance(node, ast.Call) and dotted(node.func) == "io.BytesIO")


def other_file_access(source):
    """Yields (line, name) of everything in `source` that accesses files without tf.gfile."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name.split(".")[0] for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module.split(".")[0]] + [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            names = []
        for name in set(names) & (OTHER_MODULES | OTHER_FUNCTIONS):
            yield node.lineno, name
        if isinstance(node, (ast.Name, ast.Attribute)) and dotted(node) in OTHER_FUNCTIONS:
            yield node.lineno, dotted(node)
        if isinstance(node, ast.Call):
            name = dotted(node.func) or getattr(node.func, "attr", None)
            if (name in ALSO_TAKE_BUFFERS or str(name).endswith(".savefig")) and not is_buffer(node.args[0]):
                yield node.lineno, name


@pytest.mark.parametrize("path", MODULES, ids=os.path.basename)
def test_modules_access_files_only_through_gfile(path):
    with open(path, encoding="utf-8") as reader:
        found = [what for _, what in other_file_access(reader.read())]
    assert set(found) <= ALLOWED.get(os.path.basename(path), set())


@pytest.mark.parametrize(
    "source",
    [
        "open(path)",
        "with io.open(path) as reader: pass",
        "os.path.exists(path)",
        "map(os.remove, paths)",
        "import shutil",
        "from os import listdir",
        "from os.path import isdir",
        "import pathlib",
        "np.load(path)",
        "np.savez(path, a)",
        "figure.savefig(path)",
    ],
)
def test_other_file_access_is_detected(source):
    assert len(list(other_file_access(source))) == 1


def call(script, monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", [script.__name__] + list(words))
    script.main()


@pytest.fixture
def empty_folder(tmp_path, monkeypatch):
    """Runs the test in a new folder, in which no file may appear."""
    folder = tmp_path / "empty"
    folder.mkdir()
    monkeypatch.chdir(folder)
    yield
    assert os.listdir(str(folder)) == []


@pytest.mark.parametrize("dataset, data", [(datasets.SQUAD, "squad"), (datasets.CMRC2018, "cmrc")], ids=["squad", "cmrc"])
def test_a_whole_run_with_a_path_scheme(paths, tmp_path, empty_folder, monkeypatch, dataset, data):
    given = {name: SCHEME + path for name, path in paths.items()}
    output = SCHEME + str(tmp_path / "deep" / "out")
    flags = tiny.model_flags(
        given,
        output_dir=output,
        do_train=True,
        do_predict=True,
        do_eval=True,
        train_file=given[data],
        predict_file=given[data],
        mask_zone="all,q2,q2p,p2q,p2",
        mask_layer="each",
        save_checkpoints_steps=1,
    )
    for _ in range(2):  # the second run finds everything finished
        experiment.run(dataset, tiny.flag_values(**flags))
    there = set(os.listdir(str(tmp_path / "deep" / "out")))
    assert {
        "results.csv",
        "results_f1.csv",
        "scores.json",
        "cells.json",
        "predictions_layer1_p2q.json",
        "checkpoint",
        "train.tf_record",
    } <= there
    assert not [name for name in there if name.endswith(".tmp") or name.startswith("unfinished")]
    call(visualize_zones, monkeypatch, output + "/results.csv", output + "/figures/zones.png")
    assert (tmp_path / "deep" / "out" / "figures" / "zones.png").read_bytes().startswith(b"\x89PNG")


def test_sample_data_and_scorer_with_a_path_scheme(paths, tmp_path, empty_folder, monkeypatch):
    call(sample_data, monkeypatch, "--language=en", "--output_dir=" + SCHEME + str(tmp_path / "data"))
    assert tiny.read_json(tmp_path / "data" / "dev.json")["data"]
    predictions = tiny.write_json(tmp_path / "predictions.json", {"colour": "green"})
    call(
        squad_evaluate,
        monkeypatch,
        SCHEME + paths["squad"],
        SCHEME + predictions,
        "-o",
        SCHEME + str(tmp_path / "scores.json"),
    )
    assert tiny.read_json(tmp_path / "scores.json")["exact"] == 25.0


class Killed(Exception):
    """Simulates the end of the process."""


class Bucket:
    """Renames by copying and deleting, as an object store does.

    Args:
      killed_before: step before which the process is killed, "copy", "delete" or None.
    """

    def __init__(self, killed_before=None):
        self._killed_before = killed_before

    def rename(self, source, target, overwrite=False):
        assert not os.path.isdir(source), "a bucket cannot rename a folder"
        for step in ("copy", "delete"):
            if step == self._killed_before:
                raise Killed()
            if step == "copy":
                tf.gfile.Copy(source, target, overwrite)
            else:
                tf.gfile.Remove(source)


def fail_to_remove(path):
    raise tf.errors.AbortedError(None, None, "a killed process removes nothing")


def write_records(paths, folder):
    run = tiny.read_inputs(
        datasets.SQUAD, **tiny.model_flags(paths, output_dir=folder, do_predict=True, predict_file=paths["squad"])
    )
    found = run.prediction_examples
    tfrecords.write(os.path.join(folder, "file"), windows.Windows(found, run.tokenizer(), 24, 8, 5), ["input_ids"])


WRITERS = {"text": lambda paths, folder: files.write(os.path.join(folder, "file"), "whole"), "records": write_records}


@pytest.mark.parametrize("killed_before", ["copy", "delete", None])
@pytest.mark.parametrize("write", sorted(WRITERS))
def test_writes_are_atomic(paths, tmp_path, monkeypatch, write, killed_before):
    whole = tmp_path / "whole"
    whole.mkdir()
    WRITERS[write](paths, str(whole))
    (tmp_path / "file").write_text("old")
    monkeypatch.setattr(tf.gfile, "Rename", Bucket(killed_before).rename)
    if killed_before is None:
        WRITERS[write](paths, str(tmp_path))
    else:
        with monkeypatch.context() as killed, pytest.raises(Killed):
            killed.setattr(tf.gfile, "Remove", fail_to_remove)
            WRITERS[write](paths, str(tmp_path))
    wanted = b"old" if killed_before == "copy" else (whole / "file").read_bytes()
    assert (tmp_path / "file").read_bytes() == wanted
    assert (len(os.listdir(str(tmp_path))) == 3) == (killed_before is not None)


def test_a_stopped_decoding_resumes_in_a_bucket(paths, tmp_path, monkeypatch):
    """No step of a run renames a folder or needs an atomic rename."""
    flags = tiny.model_flags(paths, do_train=True, do_predict=True, train_file=paths["squad"], predict_file=paths["squad"])
    experiment.run(datasets.SQUAD, tiny.flag_values(output_dir=str(tmp_path / "disk"), **flags))
    monkeypatch.setattr(tf.gfile, "Rename", Bucket().rename)
    flush = partial_results.PartialResults.flush

    def stops(self):
        flush(self)
        raise Killed()

    with monkeypatch.context() as killed, pytest.raises(Killed):
        killed.setattr(partial_results.PartialResults, "flush", stops)
        experiment.run(datasets.SQUAD, tiny.flag_values(output_dir=str(tmp_path / "bucket"), **flags))
    experiment.run(datasets.SQUAD, tiny.flag_values(output_dir=str(tmp_path / "bucket"), **flags))
    one, other = (tiny.read_json(tmp_path / folder, "predictions_layer_.json") for folder in ("disk", "bucket"))
    assert one == other
    assert not glob.glob(str(tmp_path / "bucket" / "*.tmp")) and not glob.glob(str(tmp_path / "bucket" / "unfinished*"))


def test_only_leftovers_of_killed_runs_are_removed(paths, tmp_path):
    for name, age in (
        ("scores.json.0123abcd.tmp", 2),
        ("scores.json.4567abcd.tmp", 0),
        ("notes.tmp", 2),
        ("scores.json", 2),
    ):
        (tmp_path / name).write_text("{}")
        then = time.time() - age * files.SECONDS_OF_A_RUN
        os.utime(str(tmp_path / name), (then, then))
    flags = tiny.model_flags(paths, output_dir=str(tmp_path), do_predict=True, predict_file=paths["squad"])
    experiment.run(datasets.SQUAD, tiny.flag_values(**flags))
    left = {name for name in os.listdir(str(tmp_path)) if "tmp" in name or name == "scores.json"}
    assert left == {"scores.json.4567abcd.tmp", "notes.tmp", "scores.json"}


def test_only_one_module_renames():
    renaming = [os.path.basename(path) for path in MODULES if "gfile.Rename" in open(path, encoding="utf-8").read()]
    assert renaming == ["files.py"]
