# SPDX-License-Identifier: Apache-2.0
"""Reads prediction files for the scorers and reports where they do not match the data."""

import collections
import json
import sys
from typing import Dict, Iterable, List

from mrc.util.errors import InputError, escaped
from mrc.util.files import read_json

_IDS_SHOWN = 5
_VALUE_LENGTH = 60


def shown(value) -> str:
    """Returns `value` as JSON for a message, shortened if it is long."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except RecursionError:  # deeply nested, but json.loads read it
        text = "a deeply nested value"
    return text if len(text) <= _VALUE_LENGTH else text[:_VALUE_LENGTH] + "..."


def is_number(value) -> bool:
    """Whether a JSON value is a number (`true` and `false` are not)."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def read_object(path: str, what: str) -> dict:
    """Returns the dict of a JSON file that holds an object of question id -> value.

    Args:
      path: a local or `gs://` path.
      what: the file's role, for error messages.

    Raises:
      InputError: the file is missing, is not JSON, or is not an object.
    """
    value = read_json(path, what)
    if not isinstance(value, dict):
        raise InputError(f"the {what} {path} is {shown(value)}, not an object of question id to value; check the path")
    return value


def read(path: str, reads_numbers: bool = False) -> Dict[str, str]:
    """Returns the predictions of the file at `path` as a dict of question id -> text.

    Args:
      path: a local or `gs://` path.
      reads_numbers: whether numbers are converted to text, as the official CMRC 2018 scorer does.

    Raises:
      InputError: the file is missing, is not JSON, is not an object, or a prediction is not a text.
    """
    predictions = read_object(path, "prediction file")
    for question_id, text in predictions.items():
        if reads_numbers and is_number(text):
            predictions[question_id] = str(text)
        elif not isinstance(text, str):
            raise InputError(
                f"the prediction file {path} has {shown(text)} for question {question_id}, not a text; check the path"
            )
    return predictions


def _listed(ids, whole):
    listed = ", ".join(ids if whole else ids[:_IDS_SHOWN])
    return escaped(listed + ", ..." if len(ids) > _IDS_SHOWN and not whole else listed)


def report_repeats(question_ids: Iterable[str], consequence: str):
    """Prints to stderr which ids occur more than once in the data, and the consequence."""
    counts = collections.Counter(question_ids)
    repeated = [question_id for question_id, count in counts.items() if count > 1]
    if repeated:
        print(
            f"warning: {len(repeated)} question ids occur in the data more than once "
            f"({_listed(repeated, whole=False)}); {consequence}",
            file=sys.stderr,
        )


def report_gaps(question_ids: List[str], predictions: Dict[str, str], whole: bool = False):
    """Prints to stderr how many questions have no prediction and how many predictions no question.

    Args:
      question_ids: the ids of the data's questions.
      predictions: the predictions by question id.
      whole: whether to list all such ids, not only the first few.
    """
    missing = [question_id for question_id in question_ids if question_id not in predictions]
    if missing:
        print(
            f"warning: {len(missing)} of {len(question_ids)} questions have no prediction and "
            f"count as wrong: {_listed(missing, whole)}",
            file=sys.stderr,
        )
    known = set(question_ids)
    surplus = [question_id for question_id in predictions if question_id not in known]
    if surplus:
        print(
            f"warning: {len(surplus)} of {len(predictions)} predictions are for ids that are not "
            f"in the data and are ignored: {_listed(surplus, whole)}",
            file=sys.stderr,
        )
