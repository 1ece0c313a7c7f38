# SPDX-License-Identifier: Apache-2.0
"""Writes the answer files of a cell question by question, so that memory use is constant."""

import contextlib
import json
import os
import re

from mrc.util import files

_ENTRY = """        {
            "text": %s,
            "probability": %r,
            "start_logit": %r,
            "end_logit": %r%s
        }"""
_BUFFER = 1 << 16  # characters written at a time
_to_json = json.JSONEncoder().encode  # json.dumps checks its arguments on every call
_SURROGATE = re.compile("[\ud800-\udfff]")

_PLACES = """,
            "start_index": %d,
            "end_index": %d"""


def file_names(cell, alone, with_negatives):
    """Returns {"predictions": name, "nbest": name, "null_odds": name} of a cell's files.

    A cell decoded alone uses the file names of the released code; in a grid, every file name
    contains the cell's name.

    Args:
      cell: an `cells.Cell`.
      alone: whether it is the only cell of the run.
      with_negatives: whether null odds are written (SQuAD 2.0).
    """
    suffix = "" if alone else "_" + cell.name
    names = {"predictions": f"predictions_{cell.name}.json", "nbest": f"nbest_predictions{suffix}.json"}
    if with_negatives:
        names["null_odds"] = f"null_odds{suffix}.json"
    return names


class _ObjectWriter:
    """Writes a JSON object, indented by 4, member by member."""

    def __init__(self, writer):
        self._writer, self._separator = writer, "{\n"
        self._waiting, self._size = [], 0

    def add(self, key, value):
        """Adds a member; key and value are JSON."""
        self._write(f"{self._separator}    {key}: {value}")
        self._separator = ",\n"

    def close(self):
        self._write("{}\n" if self._separator == "{\n" else "\n}\n")
        self._flush()

    def _write(self, text):
        self._waiting.append(text)
        self._size += len(text)
        if self._size > _BUFFER:
            self._flush()

    def _flush(self):
        self._writer.write("".join(self._waiting))
        self._waiting, self._size = [], 0


def _unescaped_json(text):
    """Returns `text` as JSON, unescaped except for lone surrogates, which UTF-8 cannot encode."""
    return _SURROGATE.sub(lambda half: f"\\u{ord(half.group()):04x}", json.dumps(text, ensure_ascii=False))


def _nbest_json(answer, with_places):
    entries = []
    for entry, probability in zip(answer.entries, answer.probabilities):
        places = _PLACES % (entry.start_index, entry.end_index) if with_places else ""
        entries.append(_ENTRY % (_to_json(entry.text), probability, entry.start_logit, entry.end_logit, places))
    return "[\n{}\n    ]".format(",\n".join(entries))


class CellFiles:
    """The open files of one cell; they are created if the context ends without an exception."""

    def __init__(self, folder, names, dataset):
        self._folder, self._names, self._dataset = folder, names, dataset
        self._open = contextlib.ExitStack()
        self._writers = {}

    def __enter__(self):
        for what, name in sorted(self._names.items()):
            writer = self._open.enter_context(files.writing(os.path.join(self._folder, name)))
            self._writers[what] = _ObjectWriter(writer)
        return self

    def __exit__(self, *exception):
        if exception[0] is None:
            for writer in self._writers.values():
                writer.close()
        return self._open.__exit__(*exception)

    def add(self, question_id, answer):
        """Writes a question's `decoding.Answer`."""
        encode = _to_json if self._dataset.escapes_json else _unescaped_json
        self._writers["predictions"].add(encode(question_id), encode(answer.text))
        self._writers["nbest"].add(
            json.dumps(question_id), _nbest_json(answer, with_places=self._dataset.nbest_has_positions)
        )
        if "null_odds" in self._writers:
            self._writers["null_odds"].add(json.dumps(question_id), repr(answer.null_odds))
