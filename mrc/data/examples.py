# SPDX-License-Identifier: Apache-2.0
"""Turns passages into examples: question, passage words and, for training, the answer span."""

import collections
from typing import List, NamedTuple

from mrc.data.passages import AnswerNotFound, Text
from mrc.data.squad_format import Passage
from mrc.util.errors import InputError, warn

NO_ANSWER = -1
NO_TEXT = "empty"  # the answer where a passage has no words


class Example(NamedTuple):
    """A question about a passage.

    Attributes:
      id, question: as in the data file.
      text: the passage.
      first_word, last_word, answer: word span and text of the training answer; `NO_ANSWER`,
        `NO_ANSWER` and "" where there is none.
      passage: index of the passage in the data file; questions of one passage share its `text`.
    """

    id: str
    question: str
    text: Text
    first_word: int = NO_ANSWER
    last_word: int = NO_ANSWER
    answer: str = ""
    passage: int = 0


def _no_answer_error(dataset, question, with_negatives, path):
    remedy = "train on a file with answers"
    if with_negatives and question.is_impossible is None:
        remedy = 'mark it with "is_impossible": true if it has none'
    elif dataset.may_have_no_answer and not with_negatives:
        remedy += ", or pass --version_2_with_negative for SQuAD 2.0"
    return InputError(f"{path}: {question.place} ({question.id}) has no answer; {remedy}")


def _training_answer(dataset, question, with_negatives, path):
    """Returns the `Answer` to learn, or None for a question without one."""
    if with_negatives and question.is_impossible:
        return None
    if not question.answers:
        raise _no_answer_error(dataset, question, with_negatives, path)
    if len(question.answers) > 1 and not dataset.allows_several_answers:
        raise InputError(
            f"{path}: {question.place} ({question.id}) has {len(question.answers)} answers; a "
            "SQuAD training file has exactly one per question: remove the others"
        )
    return question.answers[0]


def _warn_of_blanks(passages, path):
    """Warns of questions and passages that are white space only."""
    blank = [passage.place for passage in passages if passage.questions and not passage.context.strip()]
    if blank:
        warn(
            f"{path}: {len(blank)} passages are blank (the first is {blank[0]}); the text of their "
            f'answers is "{NO_TEXT}", or empty with SQuAD 2.0'
        )
    questions = [question for passage in passages for question in passage.questions]
    blank = [question.place for question in questions if not question.text.strip()]
    if blank:
        warn(f"{path}: {len(blank)} questions are blank (the first is {blank[0]}); they are answered like others")


def _warn_of_no_negatives(passages, path):
    questions = (question for passage in passages for question in passage.questions)
    if all(question.is_impossible is None for question in questions):
        warn(f"{path}: no question has is_impossible; all are assumed to have an answer")


def _warn_of_mismatch(dataset, text, span, question, path):
    """Warns where the words of the span do not contain the text of the answer."""
    learned = dataset.joiner.join(text.words[span[0] : span[1] + 1])
    answer = question.answers[0].text
    if dataset.joiner.join(answer.split()) not in learned:
        warn(
            f"{path}: {question.place} ({question.id}): training uses the words at answer_start, {learned!r}, which "
            f"differ from the answer {answer!r}; correct answer_start if that is wrong"
        )


def make_training_examples(dataset, passages: List[Passage], path: str, with_negatives: bool = False) -> List[Example]:
    """Returns the examples to train on; a question whose answer is not located is skipped.

    Args:
      dataset: a `Dataset`.
      passages: the passages of `path`, from `squad_format.read`.
      path: the training file, for messages.
      with_negatives: whether questions without an answer are learned (SQuAD 2.0).

    Raises:
      InputError: a question has no answer or, in SQuAD, several; or all questions are skipped.
    """
    examples, skipped = [], 0
    if with_negatives:
        _warn_of_no_negatives(passages, path)
    for number, passage in enumerate(passages):
        text = dataset.split(passage.context)
        for question in passage.questions:
            answer = _training_answer(dataset, question, with_negatives, path)
            if answer is None:
                examples.append(Example(question.id, question.text, text, passage=number))
                continue
            try:
                span = dataset.locate_answer(text, answer)
            except AnswerNotFound as problem:
                skipped += 1
                warn(f"{path}: {question.place} ({question.id}) is skipped: {problem}")
                continue
            _warn_of_mismatch(dataset, text, span, question, path)
            examples.append(Example(question.id, question.text, text, *span, answer.text, number))
    if skipped:
        warn(
            f"{path}: {skipped} of {skipped + len(examples)} training questions are skipped "
            "because their answer is not in their passage"
        )
    if not examples:
        raise InputError(
            f"the training file {path} has no question whose answer is in its passage; check each "
            "answer_start, which counts characters from 0"
        )
    return examples


def make_prediction_examples(dataset, passages: List[Passage], path: str) -> List[Example]:
    """Returns the examples to answer, in the order of the file; no answers are needed."""
    _warn_of_blanks(passages, path)
    examples, counts = [], collections.Counter()
    for number, passage in enumerate(passages):
        text = dataset.split(passage.context)
        for question in passage.questions:
            counts[question.id] += 1
            examples.append(Example(question.id, question.text, text, passage=number))
    repeated = [identifier for identifier, count in counts.items() if count > 1]
    if repeated:
        warn(
            f"{path}: question ids occur more than once "
            f"({len(repeated)}: {', '.join(repeated[:3])}); only the answer to the last question of each is written"
        )
    return examples
