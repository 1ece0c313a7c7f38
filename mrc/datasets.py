# SPDX-License-Identifier: Apache-2.0
"""The datasets, one class each, with everything that differs between SQuAD and CMRC 2018.

To add a dataset, subclass `Dataset` here, write a run script like `run_squad.py` and, if its metric
is new, a scorer like `squad_evaluate.py`.
"""

import re
from typing import Dict, List, NamedTuple, Tuple

import cmrc2018_evaluate
import squad_evaluate
from mrc.answers import question_types
from mrc.data.passages import AnswerNotFound, Text
from mrc.data.squad_format import Answer, Question
from tokenization import IDEOGRAPH_BLOCKS

_WHITE_SPACE = " \t\r\n\u202f"
_CMRC_WHITE_SPACE = _WHITE_SPACE + "\u2581"
_CMRC_MARKS = '。，！？；、：（）－~「《》,」"“”$『』—;()-～‘’'
_CMRC_NO_START = ("。", "，", "：", ":", ".", ",")  # skipped at the start of an answer
_CMRC_SHIFTS = 3  # characters by which answer_start is moved left at most
_IDEOGRAPHS = "".join(f"{chr(first)}-{chr(last)}" for first, last in IDEOGRAPH_BLOCKS)


class Evaluation(NamedTuple):
    """Scores of the data by name, and exact match (0 or 1) and F1 (0 to 1) of each question."""

    summary: Dict[str, object]
    em: List[float]
    f1: List[float]


def _all_questions(passages):
    """Returns (number of the passage, question) of every question."""
    return [(number, question) for number, passage in enumerate(passages) for question in passage.questions]


def _check_not_empty(answer):
    if not answer.text:
        raise AnswerNotFound("the answer is empty")


def _points_at_white_space(answer):
    if not answer.text.strip():
        return AnswerNotFound(f"the answer {answer.text!r} is white space")
    return AnswerNotFound(f"answer_start {answer.start} points at white space, not at the answer {answer.text!r}")


def _outside(text, answer):
    return AnswerNotFound(
        f"the answer {answer.text!r} at {answer.start} is outside the passage of {len(text.context)} characters"
    )


class Dataset:
    """The choices that depend on the dataset; the defaults are those of SQuAD 1.1.

    Attributes:
      name: its name in messages and records.
      word_pattern: matches the words of a passage.
      joiner: text between words, and between word pieces, when they are joined.
      do_lower_case: default of the flag.
      allows_several_answers: whether a training question may have several answers, of which the
        first counts.
      refines_answers: whether a training answer is narrowed to the word pieces that spell it.
      masks_question: whether the logits of the question are masked, and predictions are log-softmax
        values.
      nbest_has_positions: whether n-best entries have `start_index` and `end_index`.
      training_unit: "examples" or "windows": what the number of training steps is computed from.
      allows_empty_answer: whether the best n-best entry is the answer even if its text is empty.
      may_have_no_answer: whether questions may have no answer (SQuAD 2.0).
      escapes_json: whether the predictions file is plain ASCII.
      reads_numbers: whether the scorer converts predictions that are numbers to text.
      metrics: {"em": key, "f1": key} of exact match and F1 in the scores.
      question_types: rules that tell the type of a question by its interrogative.
    """

    name: str
    word_pattern = re.compile(f"[^{_WHITE_SPACE}]+")
    joiner = " "
    do_lower_case = True
    allows_several_answers = False
    refines_answers = True
    masks_question = False
    nbest_has_positions = False
    training_unit = "examples"
    allows_empty_answer = True
    may_have_no_answer = False
    escapes_json = True
    reads_numbers = False
    metrics = {"em": "exact", "f1": "f1"}
    question_types = question_types.ENGLISH

    def split(self, context: str) -> Text:
        """Returns the passage split into words."""
        return Text(context, self.word_pattern)

    def locate_answer(self, text: Text, answer: Answer) -> Tuple[int, int]:
        """Returns (first word, last word) of a training answer; raises `AnswerNotFound`."""
        _check_not_empty(answer)
        last = answer.start + len(answer.text) - 1
        if not 0 <= answer.start <= last < len(text.context):
            raise _outside(text, answer)
        first_word, last_word = max(text.word_at(answer.start), 0), text.word_at(last)
        words = " ".join(text.words[first_word : last_word + 1])
        if not words:
            raise _points_at_white_space(answer)
        if " ".join(answer.text.split()) not in words:
            raise AnswerNotFound(f"the answer {answer.text!r} is not in the words {words!r}")
        return first_word, last_word

    def training_size(self, windows) -> int:
        """Returns the number of examples or windows in an epoch of training."""
        return len(windows.examples) if self.training_unit == "examples" else len(windows)

    def check_answers(self, passages, data_name: str):
        """Raises an `InputError` if `passages` have no answers to score against."""
        squad_evaluate.check_answers(passages, data_name)

    def scored_questions(self, passages) -> List[Tuple[int, Question]]:
        """Returns (number of the passage, question) for each score of `evaluate`, in its order."""
        # The official scorer keeps the last question of an id, at the place of the first.
        by_id = {}
        for number, question in _all_questions(passages):
            by_id[question.id] = number, question
        return list(by_id.values())

    def evaluate(self, passages, predictions, null_odds=None, threshold=0.0, data_name="the data") -> Evaluation:
        """Returns the scores of the predictions.

        Args:
          passages: the passages with the answers to score against.
          predictions: {question id: text}.
          null_odds: {question id: null odds} (SQuAD 2.0).
          threshold: null odds above which a question counts as having no answer.
          data_name: the data's name in error messages.
        """
        self.check_answers(passages, data_name)
        scores = squad_evaluate.score_questions(passages, predictions)
        em, f1 = (squad_evaluate.credits(scores, metric, null_odds, threshold) for metric in squad_evaluate.METRICS)
        return Evaluation(squad_evaluate.summarize(scores, null_odds, threshold), em, f1)

    def answer_f1(self, answer: str, other: str) -> float:
        """Returns the F1, 0 to 1, of two answers with one another."""
        return 1.0 if answer == other else squad_evaluate.token_f1(answer, other)


class Squad(Dataset):
    """SQuAD 1.1 and 2.0 (Rajpurkar et al., 2016, arXiv 1606.05250; 2018, arXiv 1806.03822)."""

    name = "SQuAD"
    may_have_no_answer = True


class Cmrc2018(Dataset):
    """CMRC 2018 (Cui et al., 2019, https://doi.org/10.18653/v1/D19-1600)."""

    name = "CMRC 2018"
    word_pattern = re.compile("[{0}{1}]|[^{0}{1}{2}]+".format(_IDEOGRAPHS, re.escape(_CMRC_MARKS), _CMRC_WHITE_SPACE))
    joiner = ""
    do_lower_case = False
    allows_several_answers = True
    refines_answers = False
    masks_question = True
    nbest_has_positions = True
    training_unit = "windows"
    allows_empty_answer = False
    escapes_json = False
    reads_numbers = True
    metrics = {"em": "EM", "f1": "F1"}
    question_types = question_types.CHINESE

    def locate_answer(self, text, answer):
        _check_not_empty(answer)
        context, start, length = text.context, answer.start, len(answer.text)
        if not 0 <= start < len(context) + _CMRC_SHIFTS:
            raise _outside(text, answer)
        for _ in range(_CMRC_SHIFTS):
            if context[start : start + length] == answer.text or not start:
                break
            start -= 1
        last = min(start + length, len(context)) - 1
        while start < last and context[start] in " \t\r\n":
            start += 1
        first_word, last_word = max(text.word_at(start), 0), text.word_at(last)
        if last_word < 0:
            raise _points_at_white_space(answer)
        if text.words[first_word] in _CMRC_NO_START:
            first_word += 1
        if first_word == len(text.words):
            raise AnswerNotFound(
                f"the answer {answer.text!r} at {answer.start} is only punctuation at the end of the passage"
            )
        return first_word, last_word

    def check_answers(self, passages, data_name):
        cmrc2018_evaluate.check_answers(passages, data_name)

    def scored_questions(self, passages):
        return _all_questions(passages)

    def evaluate(self, passages, predictions, null_odds=None, threshold=0.0, data_name="the data"):
        scores = cmrc2018_evaluate.score_questions(passages, predictions, data_name)
        em, f1 = ([getattr(score, metric) for score in scores] for metric in ("em", "f1"))
        return Evaluation(cmrc2018_evaluate.summarize(scores), em, f1)

    def answer_f1(self, answer, other):
        return 1.0 if answer == other else cmrc2018_evaluate.segment_f1(answer, other)


SQUAD = Squad()
CMRC2018 = Cmrc2018()
BY_NAME = {dataset.name: dataset for dataset in (SQUAD, CMRC2018)}
