# SPDX-License-Identifier: Apache-2.0
"""Sets of tokens besides the groups of a window: found in the data, or named in a zones file.

A zones file names spans of characters for each question, `stop` exclusive:

    {"id of a question": {"focus": {"question": [[4, 8]], "passage": [[120, 131], [240, 246]]}}}

A token is in a set if its word piece overlaps a span. `docs/masking.md` describes the sets.
"""

import hashlib
import re
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from attention_mask import ANY, DATA_SETS, GROUPS, set_feature, shortened
from mrc.answers.predictions_file import shown
from mrc.answers.question_types import interrogative
from mrc.data import sentences
from mrc.data.examples import Example
from mrc.data.passages import AnswerNotFound
from mrc.data.squad_format import Question
from mrc.data.windows import PADDING_WINDOW
from mrc.util import files
from mrc.util.errors import InputError, warn

NEEDS_ANSWERS = ("answer", "answer_sentence", "random_answer_sentence")
_NAME = re.compile("[a-z][a-z0-9_]*$")
_SIDES = ("question", "passage")
_ANSWER_SHIFTS = 3  # characters that answer_start may be off, in CMRC 2018

CharacterSpans = Tuple[Tuple[int, int], ...]


class Spans(NamedTuple):
    """Spans of characters in a question and its passage, (start, stop) each."""

    question: CharacterSpans = ()
    passage: CharacterSpans = ()


# --- The zones file -------------------------------------------------------------------------------


def _read_spans(value, where):
    if not isinstance(value, list):
        raise InputError(f"{where} is not a list of spans; write it as in [[4, 8]]")
    for span in value:
        if not (
            isinstance(span, list)
            and len(span) == 2
            and all(isinstance(end, int) and not isinstance(end, bool) for end in span)
            and 0 <= span[0] < span[1]
        ):
            raise InputError(f"{where} has the span {shown(span)}; a span is [start, stop] in characters, as in [4, 8]")
    return tuple(map(tuple, value))


def _read_set(value, name, where):
    if not _NAME.match(name):
        raise InputError(f'{where} has a set called "{name}"; use lower-case letters, digits and underscores')
    if name in GROUPS + (ANY,) or name in DATA_SETS:
        raise InputError(f'{where} has a set called "{name}", which exists already; rename it')
    if not isinstance(value, dict) or not set(value) <= set(_SIDES):
        raise InputError(f'{where}, "{name}" is {shown(value)}; write it as in {{"question": [[4, 8]], "passage": []}}')
    return Spans(*(_read_spans(value.get(side, []), f'{where}, "{name}", "{side}"') for side in _SIDES))


def read_zones_file(path: str) -> Dict[str, Dict[str, Spans]]:
    """Returns {question id: {set: `Spans`}} of a zones file."""
    value = files.read_json(path, "zones file")
    if not isinstance(value, dict) or not all(isinstance(sets, dict) for sets in value.values()):
        raise InputError(
            f"the zones file {path} is not an object of question id to sets; write it as in "
            '{"id": {"focus": {"question": [[4, 8]]}}}'
        )
    return {
        question_id: {
            name: _read_set(spans, name, f"the zones file {path}, question {question_id}") for name, spans in sets.items()
        }
        for question_id, sets in value.items()
    }


def check_zones(zones, examples: Sequence[Example], path: str):
    """Raises an `InputError` if a zones file has other questions, or spans beyond a text."""
    by_id = {example.id: example for example in examples}
    for question_id, sets in zones.items():
        if question_id not in by_id:
            raise InputError(
                f"the zones file {path} has the question {question_id}, which is not in the "
                "prediction file; pass the zones file of that data"
            )
        example = by_id[question_id]
        for name, spans in sets.items():
            for side, text in zip(_SIDES, (example.question, example.text.context)):
                for start, stop in getattr(spans, side):
                    if stop > len(text):
                        raise InputError(
                            f'the zones file {path}, question {question_id}, "{name}": the span '
                            f"[{start}, {stop}] exceeds the {side}, which has {len(text)} "
                            "characters"
                        )


# --- Sets that are found in the data --------------------------------------------------------------


def answer_spans(example: Example, question: Question, dataset) -> CharacterSpans:
    """Returns the spans of the gold answers in the passage."""
    context, spans = example.text.context, set()
    for answer in question.answers:
        starts = [answer.start - shift for shift in range(_ANSWER_SHIFTS + 1)]
        exact = [start for start in starts if start >= 0 and context[start : start + len(answer.text)] == answer.text]
        if exact and answer.text:
            spans.add((exact[0], exact[0] + len(answer.text)))
            continue
        try:
            first, last = dataset.locate_answer(example.text, answer)
        except AnswerNotFound:
            continue
        text = example.text
        spans.add((text.starts[first], text.starts[last] + len(text.words[last])))
    return tuple(sorted(spans))


def sentence_spans(context: str, spans: CharacterSpans) -> CharacterSpans:
    """Returns the sentences of a passage that overlap one of the spans."""
    return tuple(
        (start, stop)
        for start, stop in sentences.split(context)
        if any(start < span_stop and span_start < stop for span_start, span_stop in spans)
    )


def overlap_spans(context: str, question: str) -> CharacterSpans:
    """Returns the words of a passage that also stand in the question, but for function words."""
    asked = {question[start:stop].casefold() for start, stop in sentences.words(question)}
    asked -= sentences.FUNCTION_WORDS
    return tuple((start, stop) for start, stop in sentences.words(context) if context[start:stop].casefold() in asked)


def used_sets(cells, attention_sets: Optional[str], own_sets: Sequence[str]) -> List[str]:
    """Returns the sets of tokens besides the groups that cells or --attention_sets name."""
    names = set().union(*(cell.mask.sets for cell in cells))
    known = tuple(DATA_SETS) + tuple(own_sets)
    for name in filter(None, (attention_sets or "").split(",")):
        if name not in known:
            raise InputError(
                f'--attention_sets: there is no set of tokens "{shortened(name)}"; the sets are ' f"{', '.join(known)}"
            )
        names.add(name)
    return sorted(names)


def _spans_of(name, example, question, dataset) -> Spans:
    if name == "wh":
        span = interrogative(example.question, dataset.question_types)
        return Spans(question=(span,) if span else ())
    if name == "overlap":
        return Spans(passage=overlap_spans(example.text.context, example.question))
    if name == "random_question":
        return Spans()  # drawn from the tokens of each window
    answers = answer_spans(example, question, dataset)
    if name == "answer":
        return Spans(passage=answers)
    return Spans(passage=sentence_spans(example.text.context, answers))


def find_spans(names, examples, questions, dataset, zones) -> Dict[str, List[Spans]]:
    """Returns for each set the `Spans` of every example.

    Args:
      names: of the sets.
      examples: list of `Example`.
      questions: the `squad_format.Question` of each example.
      dataset: the `Dataset`.
      zones: result of `read_zones_file`.
    """
    return {
        name: [
            _spans_of(name, example, question, dataset)
            if name in DATA_SETS
            else zones.get(example.id, {}).get(name, Spans())
            for example, question in zip(examples, questions)
        ]
        for name in names
    }


# --- From spans to tokens -------------------------------------------------------------------------


def _overlapping(offsets, spans):
    """Returns, for each (begin, end), whether it overlaps one of the spans."""
    return np.array([any(begin < stop and start < end for start, stop in spans) for begin, end in offsets], bool)


def _passage_members(text, pieces, tokenizer, spans):
    """Returns which pieces of a passage overlap one of the spans, [n]."""
    members = np.zeros(len(pieces.ids), bool)
    for start, stop in spans:
        for word in range(max(text.word_at(start), 0), text.word_at(stop - 1) + 1):
            begin, first = text.starts[word], pieces.first_piece[word]
            inside = _overlapping(tokenizer.offsets(text.words[word]), [(start - begin, stop - begin)])
            members[first : first + len(inside)] |= inside
    return members


def _random(*words):
    """Returns NumPy's random numbers of a seed made of words, the same on every machine."""
    digest = hashlib.sha256("\n".join(map(str, words)).encode("utf-8", "surrogatepass")).digest()
    return np.random.RandomState(int.from_bytes(digest[:4], "little"))


def _moved(members, seed):
    """Returns as many pieces elsewhere: each run of members moved to a random place without any."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], members.astype(np.int8), [0]])))
    moved = np.zeros_like(members)
    for number, (start, stop) in enumerate(zip(edges[::2], edges[1::2])):
        length = stop - start
        taken = np.concatenate([[0], np.cumsum(members)])
        free = np.flatnonzero(taken[length:] - taken[:-length] == 0)
        if len(free):
            first = _random(seed, number).choice(free)
            moved[first : first + length] = True
    return moved


class TokenSetArrays:
    """The members of sets among the tokens of windows.

    Args:
      windows: `windows.Windows`.
      spans: result of `find_spans`.

    Attributes:
      features: names of the arrays in a batch.
    """

    def __init__(self, windows, spans: Dict[str, List[Spans]]):
        self._windows, self._members, self._cut = windows, {}, {}
        self.features = [set_feature(name) for name in spans]
        for name, of_examples in spans.items():
            self._members[name] = [self._of_example(name, example, each) for example, each in enumerate(of_examples)]
        self._report()

    def _of_example(self, name, index, spans):
        """Returns the members among the pieces of the question and of the passage."""
        windows = self._windows
        example, pieces = windows.examples[index], windows.passages[windows.passage_of[index]]
        question = np.zeros(len(windows.question_ids[index]), bool)
        if spans.question:
            offsets = windows.tokenizer.text_offsets(example.question)
            members = _overlapping(offsets, spans.question)
            if members[len(question) :].any():
                self._cut.setdefault(name, []).append(example.id)
            question = members[: len(question)]
        passage = _passage_members(example.text, pieces, windows.tokenizer, spans.passage)
        if name == "random_answer_sentence":
            passage = _moved(passage, example.id)
        return question, passage

    def _report(self):
        """Says how many questions lack a set, and warns of spans in parts that are cut off."""
        for name, members in self._members.items():
            lacking = sum(not (q.any() or p.any()) for q, p in members)
            if lacking and name != "random_question":
                print(f"{name}: {lacking} of {len(members)} questions have no such token and keep the baseline")
        for name, ids in self._cut.items():
            warn(f"{name}: --max_query_length cuts off spans of {len(ids)} questions (the first is {ids[0]})")

    def counts(self) -> np.ndarray:
        """Returns the number of members of each set in each window, [W, S]."""
        length, counts = self._windows.max_seq_length, []
        for row in range(len(self._windows)):
            arrays = self.batch([row], length)
            counts.append([arrays[feature].sum() for feature in self.features])
        return np.array(counts)

    def batch(self, rows, length: int) -> Dict[str, np.ndarray]:
        """Returns the members [B, T] int32 of each set, by the name of its array."""
        arrays = {feature: np.zeros([len(rows), length], np.int32) for feature in self.features}
        for place, row in enumerate(rows):
            if row != PADDING_WINDOW:
                for name in self._members:
                    self._fill(name, int(row), arrays[set_feature(name)][place])
        return arrays

    def _fill(self, name, row, tokens):
        """Sets the tokens [T] of window `row` that are members to 1."""
        windows = self._windows
        example, start = int(windows.example_of[row]), int(windows.starts[row])
        first, length = int(windows.passage_start(row)), int(windows.span_lengths[row])
        question, passage = self._members[name][example]
        if name == "random_question":
            count = min(len(question), length)
            drawn = _random(windows.examples[example].id, start).permutation(length)[:count]
            tokens[first + drawn] = 1
            return
        tokens[1 : 1 + len(question)] = question
        tokens[first : first + length] = passage[start : start + length]
