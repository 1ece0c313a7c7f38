# SPDX-License-Identifier: Apache-2.0
"""Text in word pieces and TFRecords, kept in the output folder with what they were made from.

A run reuses them if it would make the same ones, and never otherwise.
"""

import contextlib
import io
import json
import os

import numpy as np
import tensorflow.compat.v1 as tf

from mrc.data.windows import Pieces, Windows, cut, passage_pieces
from mrc.util import files
from mrc.util.errors import InputError

VERSION = 1  # counted up when the same text is to become other pieces or records


def _flat(arrays):
    """Returns arrays of integers as one and their lengths, in the smallest type that holds them."""
    arrays = list(arrays)
    joined = np.concatenate(arrays + [np.zeros(0, np.int32)])
    return _small(joined), _small(np.array([len(array) for array in arrays], np.int64))


def _small(numbers):
    return numbers.astype(np.min_scalar_type(numbers.max() if len(numbers) else 0))


def _parted(joined, lengths):
    """Undoes `_flat`: returns the list of int32 arrays."""
    joined, bounds = joined.astype(np.int32), [0] + np.cumsum(lengths, dtype=np.int64).tolist()
    return [joined[start:stop] for start, stop in zip(bounds, bounds[1:])]


def _to_text(fingerprint):
    return json.dumps([VERSION, fingerprint], sort_keys=True)


def save(path, fingerprint, pieces):
    """Writes `windows.Pieces` to `path`, an .npz, with `made_from`: what they were made from, a JSON value."""
    questions, question_lengths = _flat(pieces.question_ids)
    passages, passage_lengths = _flat(passage.ids for passage in pieces.passages)
    words, word_counts = _flat(np.diff(passage.first_piece) for passage in pieces.passages)
    buffer = io.BytesIO()
    np.savez(
        buffer,
        made_from=np.array(_to_text(fingerprint)),
        questions=questions,
        question_lengths=question_lengths,
        passage_of=_small(np.array(pieces.passage_of, np.int64)),
        passages=passages,
        passage_lengths=passage_lengths,
        words=words,
        word_counts=word_counts,
    )
    files.write(path, buffer.getvalue(), binary=True)


def load(path, fingerprint):
    """Returns the `windows.Pieces` of `path`, None where they are missing, damaged or made from something else."""
    if not tf.gfile.Exists(path):
        return None
    try:
        kept = files.read_arrays(path)
        if str(kept["made_from"]) != _to_text(fingerprint):
            return None
        passages = zip(
            _parted(kept["passages"], kept["passage_lengths"]),
            _parted(kept["words"], kept["word_counts"]),
        )
        return Pieces(
            _parted(kept["questions"], kept["question_lengths"]),
            kept["passage_of"].tolist(),
            [passage_pieces(*passage) for passage in passages],
        )
    except Exception:  # whatever is wrong with it, it can be made again
        tf.logging.warning("%s is damaged and will be made again", path)
        return None


def make_windows(
    path, fingerprint, examples, tokenizer, max_seq_length, doc_stride, max_query_length
):
    """Returns the `Windows` of `examples`; their word pieces come from `path` if they fit, and end up there if not."""
    pieces = load(path, fingerprint)
    if pieces is None:
        pieces = cut(examples, tokenizer, max_query_length)
        save(path, fingerprint, pieces)
    return Windows(examples, tokenizer, max_seq_length, doc_stride, max_query_length, pieces)


def windows_of_run(file_name, fingerprint, examples, tokenizer, options):
    """Returns the `Windows` of a run's examples, from its feature cache or into it.

    Args:
      file_name: of the cache in the output folder.
      fingerprint: what the windows depend on.
      options: the flags of the run.
    """
    windows = make_windows(
        os.path.join(options.output_dir, file_name),
        fingerprint,
        examples,
        tokenizer,
        options.max_seq_length,
        options.doc_stride,
        options.max_query_length,
    )
    room = windows.least_room()
    if options.doc_stride > room and len(windows) > len(examples):
        tf.logging.warning(
            "--doc_stride=%d exceeds the %d word pieces of the passage that fit beside the longest "
            "question: windows do not overlap, and answers across their boundaries are not found",
            options.doc_stride,
            room,
        )
    return windows


def _note_path(path):
    return path + ".json"


def _note(path, fingerprint):
    return {"made_from": json.loads(_to_text(fingerprint)), "bytes": tf.gfile.Stat(path).length}


def has_records(path, fingerprint):
    """Whether `path` holds the whole records that were made from `made_from`; each record has its checksum itself."""
    if not (tf.gfile.Exists(path) and tf.gfile.Exists(_note_path(path))):
        return False
    try:
        return files.read_json(_note_path(path)) == _note(path, fingerprint)
    except InputError:
        tf.logging.warning("%s is damaged; %s will be made again", _note_path(path), path)
        return False


@contextlib.contextmanager
def noting_records(path, fingerprint):
    """Notes that the records which the block writes to `path` were made from `made_from`."""
    if tf.gfile.Exists(_note_path(path)):
        tf.gfile.Remove(
            _note_path(path)
        )  # or it might speak of the wrong records, were this stopped
    yield
    files.write_json(_note_path(path), _note(path, fingerprint))
