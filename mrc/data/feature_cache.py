# SPDX-License-Identifier: Apache-2.0
"""Caches tokenized text and TFRecords in the output folder, with their fingerprints.

A run reuses them only if it would produce the same.
"""

import contextlib
import os

import numpy as np
import tensorflow.compat.v1 as tf

from mrc.data.windows import Pieces, Windows, cut, passage_pieces
from mrc.util import array_files, files
from mrc.util.errors import InputError, warn

VERSION = 3  # increment when the pieces or records of the same text change


def _flat(arrays):
    """Returns the concatenated integer arrays and their lengths, in the smallest integer type."""
    arrays = list(arrays)
    joined = np.concatenate(arrays + [np.zeros(0, np.int32)])
    return _small(joined), _small(np.array([len(array) for array in arrays], np.int64))


def _small(numbers):
    return numbers.astype(np.min_scalar_type(numbers.max() if len(numbers) else 0))


def _split(joined, lengths):
    """Returns the list of int32 arrays that `_flat` concatenated."""
    joined, bounds = joined.astype(np.int32), [0] + np.cumsum(lengths, dtype=np.int64).tolist()
    return [joined[start:stop] for start, stop in zip(bounds, bounds[1:])]


def _versioned(fingerprint):
    return [VERSION, fingerprint]


def save(path, fingerprint, pieces):
    """Writes `windows.Pieces` and their fingerprint, a JSON value, to the .npz file `path`."""
    questions, question_lengths = _flat(pieces.question_ids)
    passages, passage_lengths = _flat(passage.ids for passage in pieces.passages)
    words, word_counts = _flat(np.diff(passage.first_piece) for passage in pieces.passages)
    arrays = dict(
        questions=questions,
        question_lengths=question_lengths,
        passage_of=_small(np.array(pieces.passage_of, np.int64)),
        passages=passages,
        passage_lengths=passage_lengths,
        words=words,
        word_counts=word_counts,
    )
    array_files.write(path, _versioned(fingerprint), arrays)


def load(path, fingerprint):
    """Returns the cached `windows.Pieces`; None if missing, damaged or of another fingerprint."""
    if not tf.gfile.Exists(path):
        return None
    try:
        cached = array_files.read(path, _versioned(fingerprint))
    except array_files.DamagedArrays as error:
        warn(f"{path} is not used ({error}) and is written again")
        return None
    if cached is None:
        return None
    passages = zip(_split(cached["passages"], cached["passage_lengths"]), _split(cached["words"], cached["word_counts"]))
    return Pieces(
        _split(cached["questions"], cached["question_lengths"]),
        cached["passage_of"].tolist(),
        [passage_pieces(*passage) for passage in passages],
    )


def windows_of_run(file_name, fingerprint, examples, tokenizer, options):
    """Returns the `Windows` of a run's examples, using the feature cache of its output folder.

    Args:
      file_name: name of the cache file in the output folder.
      fingerprint: the inputs that the windows depend on, a JSON value.
      examples: list of `Example`.
      tokenizer: `WordPieceTokenizer`.
      options: the flags of the run.
    """
    path = os.path.join(options.output_dir, file_name)
    pieces = load(path, fingerprint)
    if pieces is None:
        pieces = cut(examples, tokenizer, options.max_query_length)
        save(path, fingerprint, pieces)
    sizes = options.max_seq_length, options.doc_stride, options.max_query_length
    windows = Windows(examples, tokenizer, *sizes, pieces)
    room = windows.least_room()
    if options.doc_stride > room and len(windows) > len(examples):
        warn(
            f"--doc_stride={options.doc_stride} exceeds the {room} passage pieces that fit into a window with the "
            "longest question: windows do not overlap, and answers across their boundaries are not found"
        )
    return windows


def _note_path(path):
    return path + ".json"


def _note(path, fingerprint):
    return {"made_from": _versioned(fingerprint), "sha256": files.sha256(path, "TFRecord file")}


def has_records(path, fingerprint):
    """Whether `path` has the records that were written with this fingerprint."""
    if not (tf.gfile.Exists(path) and tf.gfile.Exists(_note_path(path))):
        return False
    try:
        return files.read_json(_note_path(path)) == _note(path, fingerprint)
    except InputError:
        warn(f"{_note_path(path)} is damaged; {path} is written again")
        return False


@contextlib.contextmanager
def noting_records(path, fingerprint):
    """Writes the fingerprint of the records that the block writes to `path`."""
    if tf.gfile.Exists(_note_path(path)):
        # Otherwise it could describe other records if the run is stopped here.
        tf.gfile.Remove(_note_path(path))
    yield
    files.write_json(_note_path(path), _note(path, fingerprint))
