# SPDX-License-Identifier: Apache-2.0
"""What both scorers need of a prediction file: reading it, and telling where it does not fit the data."""

import collections
import json
import sys

from mrc.util.errors import InputError
from mrc.util.files import read_json

_IDS_SHOWN = 5
_VALUE_LENGTH = 60


def shown(value):
    """Returns `value` as JSON for a message, cut where it is long."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except RecursionError:  # it could just be read
        text = "a value that is nested deep"
    return text if len(text) <= _VALUE_LENGTH else text[:_VALUE_LENGTH] + "..."


def read_object(path, what):
    """Returns the dict of a JSON file whose top must be an object of question id -> value.

    Args:
      path: a local or `gs://` path.
      what: the file's role, for the sentence of an `InputError`.

    Raises:
      InputError: the file is missing, is not JSON, or holds something else than an object.
    """
    value = read_json(path, what)
    if not isinstance(value, dict):
        raise InputError(
            f"the {what} {path} must be an object of question id to value, but it holds "
            f"{shown(value)}; is it the right file?"
        )
    return value


def read(path):
    """Returns the predictions of the file at `path` as a dict of question id -> text.

    Raises:
      InputError: the file is missing, is not JSON, is not an object, or predicts something else than a text.
    """
    predictions = read_object(path, "prediction file")
    for question_id, text in predictions.items():
        if not isinstance(text, str):
            raise InputError(
                f"the prediction file {path} must give a text for each id, but for {question_id} "
                f"it has {shown(text)}; is it the right "
                "file?"
            )
    return predictions


def _listed(ids, whole):
    if whole or len(ids) <= _IDS_SHOWN:
        return ", ".join(ids)
    return ", ".join(ids[:_IDS_SHOWN]) + ", ..."


def report_repeats(question_ids, what_counts):
    """Says on stderr which ids the data has more than once, and `what_counts` then."""
    repeated = [
        question_id for question_id, count in collections.Counter(question_ids).items() if count > 1
    ]
    if repeated:
        print(
            "warning: %d question ids stand in the data more than once (%s); %s"
            % (len(repeated), _listed(repeated, whole=False), what_counts),
            file=sys.stderr,
        )


def report_gaps(question_ids, predictions, whole=False):
    """Says on stderr how many questions lack a prediction and how many predictions have no question.

    Args:
      question_ids: the ids of the data's questions.
      predictions: a dict with the ids that were predicted as keys.
      whole: whether to name every such id, not just the first few.
    """
    missing = [question_id for question_id in question_ids if question_id not in predictions]
    if missing:
        print(
            "warning: %d of %d questions have no prediction and count as wrong: %s"
            % (len(missing), len(question_ids), _listed(missing, whole)),
            file=sys.stderr,
        )
    known = set(question_ids)
    surplus = [question_id for question_id in predictions if question_id not in known]
    if surplus:
        print(
            "warning: %d of %d predictions are for ids that the data does not have and are "
            "ignored: %s" % (len(surplus), len(predictions), _listed(surplus, whole)),
            file=sys.stderr,
        )
