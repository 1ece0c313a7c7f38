# SPDX-License-Identifier: Apache-2.0
"""From a data file to examples: a question, the words of its passage and, for training, where the answer stands."""

import collections
from typing import NamedTuple

import tensorflow.compat.v1 as tf

from mrc.data.passages import AnswerNotFound, Text
from mrc.util.errors import InputError

NO_ANSWER = -1
NO_TEXT = "empty"  # the answer where a passage leaves no other


class Example(NamedTuple):
    """A question about a passage.

    Attributes:
      id, question: of the data file.
      text: the passage.
      first_word, last_word, answer: words and text of the training answer; `NO_ANSWER`, `NO_ANSWER` and "" where
        there is none to learn.
      passage: number of the passage in the data file; questions of one passage share its `text`.
    """

    id: str
    question: str
    text: Text
    first_word: int = NO_ANSWER
    last_word: int = NO_ANSWER
    answer: str = ""
    passage: int = 0


def _training_answer(dataset, question, with_negatives, path):
    """Returns the one `Answer` to learn, or None for a question without one."""
    if with_negatives and question.is_impossible:
        return None
    if not question.answers:
        raise InputError(
            "{}: {} ({}) has no answer to learn from; train on a file with answers{}".format(
                path,
                question.place,
                question.id,
                ", or pass --version_2_with_negative for SQuAD 2.0"
                if dataset.may_have_no_answer and not with_negatives
                else "",
            )
        )
    return question.answers[0]


def _check_single_answer(question, path):
    if len(question.answers) > 1:
        raise InputError(
            "%s: %s (%s) has %d answers; a SQuAD training file has exactly one for each question, "
            "so keep one" % (path, question.place, question.id, len(question.answers))
        )


def _warn_of_blanks(passages, path):
    """Warns of questions without a character to read, and of passages that hold none for the questions that are asked."""
    blank = [
        passage.place for passage in passages if passage.questions and not passage.context.strip()
    ]
    if blank:
        tf.logging.warning(
            '%s: %d passages are blank (the first at %s); the text of their answers is "%s", or '
            "nothing "
            "with SQuAD 2.0",
            path,
            len(blank),
            blank[0],
            NO_TEXT,
        )
    blank = [
        question.place
        for passage in passages
        for question in passage.questions
        if not question.text.strip()
    ]
    if blank:
        tf.logging.warning(
            "%s: %d questions are blank (the first at %s); they are answered all the same",
            path,
            len(blank),
            blank[0],
        )


def _warn_of_no_negatives(passages, path):
    if all(
        question.is_impossible is None for passage in passages for question in passage.questions
    ):
        tf.logging.warning(
            "%s: no question says whether it is_impossible; all are taken to have an answer", path
        )


def make_training_examples(dataset, passages, path, with_negatives=False):
    """Returns the list of `Example` to train on; questions whose answer cannot be found are left out with a warning.

    Args:
      dataset: a `Dataset`.
      passages: what `squad_format.read` returned for `path`.
      with_negatives: whether questions without an answer (SQuAD 2.0) are learned as such.

    Raises:
      InputError: a question has no answer or, in SQuAD, several; or no question can be used.
    """
    examples, left_out = [], 0
    if with_negatives:
        _warn_of_no_negatives(passages, path)
    for number, passage in enumerate(passages):
        text = dataset.split(passage.context)
        for question in passage.questions:
            answer = _training_answer(dataset, question, with_negatives, path)
            if answer is None:
                examples.append(Example(question.id, question.text, text, passage=number))
                continue
            if dataset.refines_answers:
                _check_single_answer(question, path)
            try:
                words = dataset.locate_answer(text, answer)
            except AnswerNotFound as problem:
                left_out += 1
                tf.logging.warning(
                    "%s: %s (%s) is left out: %s", path, question.place, question.id, problem
                )
                continue
            found = dataset.joiner.join(text.words[words[0] : words[1] + 1])
            if dataset.joiner.join(answer.text.split()) not in found:
                tf.logging.warning(
                    "%s: %s (%s): the words at answer_start are %r, which is learned for the "
                    "answer %r; fix "
                    "answer_start if that is wrong",
                    path,
                    question.place,
                    question.id,
                    found,
                    answer.text,
                )
            examples.append(Example(question.id, question.text, text, *words, answer.text, number))
    if left_out:
        tf.logging.warning(
            "%s: %d of %d training questions are left out because their answer is not in their "
            "passage",
            path,
            left_out,
            left_out + len(examples),
        )
    if not examples:
        raise InputError(
            f"the training file {path} has no question whose answer stands in its passage; check "
            "each answer_start, "
            "which counts characters from 0"
        )
    return examples


def make_prediction_examples(dataset, passages, path):
    """Returns the list of `Example` to answer, in the order of the file; no answers are needed."""
    _warn_of_blanks(passages, path)
    examples, seen = [], collections.Counter()
    for number, passage in enumerate(passages):
        text = dataset.split(passage.context)
        for question in passage.questions:
            seen[question.id] += 1
            examples.append(Example(question.id, question.text, text, passage=number))
    repeated = [identifier for identifier, count in seen.items() if count > 1]
    if repeated:
        tf.logging.warning(
            "%s: %d question ids occur more than once (%s); the last question of each is "
            "answered",
            path,
            len(repeated),
            ", ".join(repeated[:3]),
        )
    return examples
