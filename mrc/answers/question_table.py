# SPDX-License-Identifier: Apache-2.0
"""Every question in every cell of a grid: questions.csv, or questions.csv.gz of a large grid.

    id, type            of the question
    layer, head, zone   of the cell as in effects.csv; all three are empty for the baseline
    answer              empty for no answer
    em, f1, own         scores, 0 to 1; em and f1 are empty for data without answers
    em_change, f1_change, own_change
                        score minus that of the baseline
    logp_change         change of the log probability, in nats, of the answer of the baseline; empty
                        without the cell's n-best file
    listed              1 if that answer is in the cell's n-best list, else 0

The probability of an answer is its share in the softmax over the n-best list. An answer that left
the list has at most about the probability of the last entry, which `logp_change` then uses: the
loss is at least about that large.
"""

import contextlib
import csv
import gzip
import io
import itertools
import math
import os
import re
import sys
import zlib
from typing import Dict, List, NamedTuple, Optional, Sequence

import numpy as np

from mrc.answers import predictions_file, question_scores
from mrc.answers.question_scores import QuestionScores
from mrc.cells import Label
from mrc.util import files
from mrc.util.errors import InputError
from mrc.util.lazy_tensorflow import tf

PLAIN, COMPRESSED = NAMES = "questions.csv", "questions.csv.gz"
COMPRESSED_ABOVE = 100000  # rows
TEXTS = ("id", "type", "layer", "head", "zone", "answer")
METRICS = ("em", "f1", "own")
COLUMNS = (*TEXTS, *METRICS, *(metric + "_change" for metric in METRICS), "logp_change", "listed")
_QUOTE = '"'
_TO_QUOTE = re.compile('[",\r\n]')


class CellAnswers(NamedTuple):
    """The answers of a cell.

    Attributes:
      answers: {question id: answer}.
      nbest: path of its file of n-best lists; None without one.
    """

    answers: Dict[str, str]
    nbest: Optional[str]


def write(folder: str, scores: QuestionScores, types: Sequence[str], cells: Sequence[CellAnswers]) -> str:
    """Writes the table to `folder` and returns its name; reads one n-best file at a time.

    Args:
      folder: output folder.
      scores: of the questions.
      types: `[Q]`, of the questions.
      cells: the baseline first, then those of `scores`.
    """
    is_large = (1 + len(scores.cells)) * len(types) > COMPRESSED_ABOVE
    name, other = reversed(NAMES) if is_large else NAMES
    ids = scores.ids.tolist()
    own = [cells[0].answers.get(question_id, "") for question_id in ids]
    values = np.array([scores.metrics.get(metric, np.full((len(cells), len(ids)), np.nan)) for metric in METRICS])
    changes, before = values - values[:, :1], None
    with _writing(os.path.join(folder, name)) as writer:
        writer.write((",".join(COLUMNS) + "\n").encode("ascii"))
        for number, (label, cell) in enumerate(zip([Label(), *scores.cells], cells)):
            logp, listed = _log_probabilities(cell.nbest, ids, own)
            before = logp if before is None else before
            columns = (
                *(ids, types, *map(itertools.repeat, label)),
                [cell.answers.get(question_id, "") for question_id in ids],
                *(*values[:, number].tolist(), *changes[:, number].tolist()),
                *((logp - before).tolist(), listed),
            )
            lines = (",".join(map(_field, row)) + "\n" for row in zip(*columns))
            # Answers keep lone surrogates, which UTF-8 cannot encode.
            writer.write("".join(lines).encode("utf-8", "backslashreplace"))
    if files.exists(os.path.join(folder, other)):
        tf.gfile.Remove(os.path.join(folder, other))
    return name


@contextlib.contextmanager
def _writing(path):
    """Yields a writer of the bytes of the table."""
    with files.writing(path, binary=True) as writer:
        if path.endswith(PLAIN):
            yield writer
            return
        # Without name and time, so that equal tables are equal files.
        with gzip.GzipFile("", "wb", 6, writer, mtime=0) as compressed:
            yield compressed


def _field(value):
    """Returns a value as a field; a float keeps all its digits, and NaN is empty."""
    if not isinstance(value, str):
        return "" if value != value else repr(value)
    return f'"{value.replace(_QUOTE, _QUOTE * 2)}"' if _TO_QUOTE.search(value) else value


def _log_probabilities(path, ids, texts):
    """Returns the log probability of a text in each question's n-best list, and if it is listed.

    Both are `[Q]`; the log probability is NaN without a list.
    """
    lists = predictions_file.read_object(path, "n-best file") if path and files.exists(path) else {}
    logp, listed = np.full(len(ids), np.nan), [0] * len(ids)
    try:
        for place, (question_id, text) in enumerate(zip(ids, texts)):
            entries = lists.get(question_id)
            if entries:
                own = next((each for each in entries if each["text"] == text), None)
                listed[place] = int(own is not None)
                share = (own or min(entries, key=lambda each: each["probability"]))["probability"]
                logp[place] = math.log(max(share, sys.float_info.min))
    except (TypeError, KeyError, AttributeError):
        raise InputError(f"{path} is not an n-best file; decode its cell again with --do_predict")
    return logp, listed


class Answers(NamedTuple):
    """What the table says beyond the scores, the baseline first.

    Attributes:
      types: `[Q]`.
      answers: `[1+C]` lists of Q.
      logp_change: `[1+C, Q]`, NaN where unknown.
      listed: `[1+C, Q]`, whether the own answer is in the n-best list.
    """

    types: List[str]
    answers: List[List[str]]
    logp_change: np.ndarray
    listed: np.ndarray


def path_in(folder: str) -> str:
    """Returns the path of the table in `folder`; raises an `InputError` without one."""
    paths = [os.path.join(folder, name) for name in NAMES]
    for path in paths:
        if files.exists(path):
            return path
    raise InputError(f"{folder} has no {PLAIN}; rerun its grid with --do_eval to write it")


def read(path: str, scores: QuestionScores) -> Answers:
    """Returns the `Answers` to the questions of `scores`, in their order and that of its cells."""
    data = files.read_bytes(path, "table of questions")
    raw = io.BytesIO(data) if path.endswith(PLAIN) else gzip.GzipFile(fileobj=io.BytesIO(data))
    labels = [Label(), *scores.cells]
    ids = [each.encode("utf-8", "backslashreplace").decode() for each in scores.ids.tolist()]
    found = Answers([], [], np.zeros((len(labels), len(ids))), np.zeros((len(labels), len(ids))))
    try:
        reader = csv.DictReader(io.TextIOWrapper(raw, "utf-8", newline=""))
        for number, label in enumerate(labels):
            rows = list(itertools.islice(reader, len(ids)))
            if [(row["id"], row["layer"], row["head"], row["zone"]) for row in rows] != [(each, *label) for each in ids]:
                raise ValueError
            found.answers.append([row["answer"] for row in rows])
            found.logp_change[number] = [float(row["logp_change"] or "nan") for row in rows]
            found.listed[number] = [int(row["listed"]) for row in rows]
        if next(reader, None):
            raise ValueError
    except (ValueError, KeyError, TypeError, OSError, EOFError, zlib.error, csv.Error):
        raise InputError(f"{path} does not match {question_scores.FILE} beside it; rerun with --do_eval to write both again")
    found.types.extend(row["type"] for row in rows)
    return found
