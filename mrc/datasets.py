# SPDX-License-Identifier: Apache-2.0
"""What sets the two datasets apart, stated once: everything else in the project serves both alike.

SQuAD: Rajpurkar et al., 2016 and 2018. CMRC 2018: Cui et al., 2019, https://doi.org/10.18653/v1/D19-1600.
"""

import array
import bisect
import collections
import re
import sys

import cmrc2018_evaluate
import squad_evaluate
from mrc.util.errors import InputError
from tokenization import IDEOGRAPH_BLOCKS

_WHITE_SPACE = " \t\r\n\u202f"
_CMRC_MARKS = '。，！？；、：（）－~「《》,」"“”$『』—;()-～‘’`'
_CMRC_NO_START = ("。", "，", "：", ":", ".", ",")  # an answer does not begin with one of these
_CMRC_SHIFTS = 3  # characters that an answer's start may be off by

_IDEOGRAPHS = "".join(f"{chr(first)}-{chr(last)}" for first, last in IDEOGRAPH_BLOCKS)
_SQUAD_WORD = re.compile(f"[^{_WHITE_SPACE}]+")
_CMRC_WORD = re.compile(
    "[{0}{1}]|[^{0}{1}{2}]+".format(_IDEOGRAPHS, re.escape(_CMRC_MARKS), _WHITE_SPACE)
)

Dataset = collections.namedtuple(
    "Dataset",
    [
        "name",
        "word_pattern",
        "joiner",
        "locate_answer",
        "refines_answers",
        "masks_span",
        "steps_count",
        "answers_with_empty_text",
        "evaluate",
        "metrics",
        "escapes_json",
        "do_lower_case",
        "may_have_no_answer",
    ],
)
Dataset.__doc__ = """One dataset's ways.

Attributes:
  name: what the user knows it by.
  word_pattern: compiled pattern that finds the words of a passage.
  joiner: text between words, and between word pieces, when they are joined again.
  locate_answer: `locate_answer(text, answer) -> (first word, last word)`; raises `AnswerNotFound`.
  refines_answers: whether a training answer is cut down to the word pieces that spell it.
  masks_span: whether the question is kept out of the logits, which are then log-softmaxed in prediction.
  steps_count: "examples" or "windows": what the number of training steps is reckoned from.
  answers_with_empty_text: whether the best n-best entry is the answer even where its text is empty.
  evaluate: `evaluate(passages, predictions, null_odds, threshold, data_name)` -> scores.
  metrics: {"em": key, "f1": key} of exact match and F1 in these scores.
  escapes_json: whether the predictions file is plain ASCII.
  do_lower_case: default of the flag.
  may_have_no_answer: whether there are questions without an answer, as in SQuAD 2.0.
"""


class Text:
    """A passage with its words and where each of them begins."""

    def __init__(self, context, word_pattern):
        matches = list(word_pattern.finditer(context))
        self.context = context
        self.words = [
            sys.intern(match.group()) for match in matches
        ]  # a word is held once in all texts
        self.starts = array.array("i", [match.start() for match in matches])

    def word_at(self, position):
        """Returns the number of the word that holds character `position` or, on white space, went before it."""
        return bisect.bisect_right(self.starts, position) - 1


class AnswerNotFound(Exception):
    """A training answer that does not stand in its passage; its text says how."""


def _locate_squad_answer(text, answer):
    last = answer.start + len(answer.text) - 1
    if not 0 <= answer.start <= last < len(text.context):
        raise AnswerNotFound(
            "the answer %r at %d lies outside the passage of %d characters"
            % (answer.text, answer.start, len(text.context))
        )
    first_word, last_word = max(text.word_at(answer.start), 0), text.word_at(last)
    found = " ".join(text.words[first_word : last_word + 1])
    if not found or " ".join(answer.text.split()) not in found:
        raise AnswerNotFound(f"the answer {answer.text!r} is not in the words {found!r}")
    return first_word, last_word


def _locate_cmrc_answer(text, answer):
    context, start, length = text.context, answer.start, len(answer.text)
    if not length or not 0 <= start < len(context) + _CMRC_SHIFTS:
        raise AnswerNotFound(
            "the answer %r at %d lies outside the passage of %d characters"
            % (answer.text, start, len(context))
        )
    for _ in range(_CMRC_SHIFTS):
        if context[start : start + length] == answer.text or not start:
            break
        start -= 1
    last = min(start + length, len(context)) - 1
    while start < last and context[start] in " \t\r\n":
        start += 1
    first_word, last_word = text.word_at(start), text.word_at(last)
    if first_word < 0 or last_word < 0:
        raise AnswerNotFound("the answer %r at %d is white space" % (answer.text, answer.start))
    if text.words[first_word] in _CMRC_NO_START:
        first_word += 1
    if first_word == len(text.words):
        raise AnswerNotFound(
            "the answer %r at %d is but a mark at the passage's end" % (answer.text, answer.start)
        )
    return first_word, last_word


def _evaluate_squad(passages, predictions, null_odds, threshold, data_name="the data"):
    questions = (question for passage in passages for question in passage.questions)
    if not any(question.answers or question.is_impossible for question in questions):
        raise InputError(
            f"{data_name} has no answers, so there is nothing to score against; give a file with "
            "answers, such as the "
            "development set"
        )
    return squad_evaluate.evaluate(passages, predictions, null_odds, threshold)


def _evaluate_cmrc(passages, predictions, null_odds, threshold, data_name="the data"):
    del null_odds, threshold  # every question of CMRC 2018 has an answer
    return cmrc2018_evaluate.evaluate(passages, predictions, data_name)


SQUAD = Dataset(
    name="SQuAD",
    word_pattern=_SQUAD_WORD,
    joiner=" ",
    locate_answer=_locate_squad_answer,
    refines_answers=True,
    masks_span=False,
    steps_count="examples",
    answers_with_empty_text=True,
    evaluate=_evaluate_squad,
    metrics={"em": "exact", "f1": "f1"},
    escapes_json=True,
    do_lower_case=True,
    may_have_no_answer=True,
)

CMRC2018 = Dataset(
    name="CMRC 2018",
    word_pattern=_CMRC_WORD,
    joiner="",
    locate_answer=_locate_cmrc_answer,
    refines_answers=False,
    masks_span=True,
    steps_count="windows",
    answers_with_empty_text=False,
    evaluate=_evaluate_cmrc,
    metrics={"em": "EM", "f1": "F1"},
    escapes_json=False,
    do_lower_case=False,
    may_have_no_answer=False,
)
