# SPDX-License-Identifier: Apache-2.0
"""Reads the SQuAD file format: nested JSON in, passages with their questions out.

Both datasets use it: SQuAD 1.1 and 2.0 (https://rajpurkar.github.io/SQuAD-explorer), and the
"squad-style-data" files of CMRC 2018 (https://github.com/ymcui/cmrc2018). A reader names the keys
that it needs; all other keys are ignored, with any value. Every error names its place in the
file.
"""

import re
from typing import FrozenSet, List, NamedTuple, Optional, Tuple

from mrc.util.errors import InputError, warn
from mrc.util.files import read_json

# The keys that each task reads, besides the nesting and the ids.
PREDICTION = frozenset(["context", "question"])
SCORING = frozenset(["answers"])
LOCATED_ANSWERS = SCORING | {"answer_start"}
_FIRST_ANSWER = "first answer"
TRAINING = PREDICTION | {"answers", _FIRST_ANSWER}
TRAINING_WITH_NEGATIVES = TRAINING | {"is_impossible"}  # SQuAD 2.0

_KINDS = {dict: "an object", list: "a list", str: "a string", int: "an integer", bool: "a boolean"}
_BOOLEANS = {"true": True, "false": False, 1: True, 0: False}

_SURROGATE = re.compile("[\ud800-\udfff]")


class Answer(NamedTuple):
    """An answer.

    Attributes:
      text: the text of the answer; "" where it was not read.
      start: index of its first character in the passage; None where it was not read.
    """

    text: str
    start: Optional[int]


class Question(NamedTuple):
    """A question.

    Attributes:
      id, text: its id and the question; the text is "" where scoring finds none.
      answers: its answers, empty where the file has none or they were not read.
      is_impossible: whether it has no answer (SQuAD 2.0); None where the file does not say.
      place: its place in the file, for messages.
    """

    id: str
    text: str
    answers: Tuple[Answer, ...]
    is_impossible: Optional[bool]
    place: str


class Passage(NamedTuple):
    """A passage and the questions asked about it.

    Attributes:
      context: its text; "" where it was not read.
      questions: its questions.
      place: its place in the file, for messages.
      article: number of its article in the file, from 0.
    """

    context: str
    questions: Tuple[Question, ...]
    place: str
    article: int = 0


def has_answers(passages: List[Passage]) -> bool:
    """Whether any question has an answer or is marked as impossible."""
    questions = (question for passage in passages for question in passage.questions)
    return any(question.answers or question.is_impossible for question in questions)


def _kind(value):
    return "null" if value is None else _KINDS.get(type(value), "a number")


class _Place:
    """A value of the file and the path that leads to it, for error messages."""

    def __init__(self, path, place, value):
        self.path, self.place, self.value = path, place, value

    def wrong(self, problem):
        return InputError(
            f"{self.path} is not in SQuAD format: {self.place or 'the top level'} {problem}; use "
            "the layout of SQuAD's train-v1.1.json"
        )

    def expect(self, *kinds):
        if type(self.value) not in kinds:  # not isinstance: True is not an integer here
            wanted = " or ".join(_KINDS[kind] for kind in kinds)
            raise self.wrong(f"is {_kind(self.value)}, not {wanted}")
        return self

    def has(self, key):
        return self.value.get(key) is not None

    def get(self, key, *kinds):
        self.expect(dict)
        if key not in self.value:
            raise self.wrong(f'has no key "{key}"')
        place = f"{self.place}.{key}" if self.place else key
        return _Place(self.path, place, self.value[key]).expect(*kinds)

    def items(self, key):
        entries = self.get(key, list)
        return [_Place(self.path, "%s[%d]" % (entries.place, i), value) for i, value in enumerate(entries.value)]


def _read_answers(question, keys):
    if not question.has("answers"):
        return ()
    answers = question.items("answers")
    # Training learns the first answer; of the others only the number matters.
    read = answers[:1] if _FIRST_ANSWER in keys else answers
    has_start = keys & {_FIRST_ANSWER, "answer_start"}
    return tuple(
        Answer(answer.get("text", str).value, answer.get("answer_start", int).value if has_start else None)
        for answer in read
    ) + (Answer("", None),) * (len(answers) - len(read))


def _read_is_impossible(question, keys):
    """Returns True, False or, where the file does not say, None."""
    value = question.value.get("is_impossible")
    if value is None or isinstance(value, bool):
        return value
    key = value.lower() if isinstance(value, str) else value
    meaning = _BOOLEANS.get(key) if type(value) in (str, int) else None
    if meaning is None and "is_impossible" in keys:
        raise question.wrong(f"has {_kind(value)} for is_impossible that is not true, false, 1 or 0")
    return meaning


def _read_text(question, keys):
    """Returns the text of a question; scoring groups by it but does not need it."""
    if "question" in keys:
        return question.get("question", str).value
    text = question.value.get("question")
    return text if isinstance(text, str) else ""


def _read_question(question, keys):
    question.expect(dict)
    is_impossible = _read_is_impossible(question, keys)
    has_answers = "answers" in keys and not ("is_impossible" in keys and is_impossible)
    return Question(
        str(question.get("id", str, int).value),
        _read_text(question, keys),
        _read_answers(question, keys) if has_answers else (),
        is_impossible,
        question.place,
    )


def _read_passage(paragraph, article, keys):
    questions = tuple(_read_question(question, keys) for question in paragraph.items("qas"))
    context = paragraph.get("context", str).value if "context" in keys else ""
    return Passage(context, questions, paragraph.place, article)


def _check_layout(path, value):
    """Raises an `InputError` where a file has the original layout of CMRC 2018."""
    articles = value.get("data", [value]) if isinstance(value, dict) else value
    first = articles[0] if isinstance(articles, list) and articles else None
    if isinstance(first, dict) and ("context_text" in first or ("qas" in first and articles is value)):
        raise InputError(
            f"{path} has the original layout of CMRC 2018, which is not read; use the same file "
            "from the folder squad-style-data of https://github.com/ymcui/cmrc2018"
        )


def _warn_of_surrogates(passages, path):
    texts = []
    for passage in passages:
        texts.append((passage.place + ".context", passage.context))
        texts += [(each.place, each.id + each.text) for each in passage.questions]
    places = [place for place, text in texts if _SURROGATE.search(text)]
    if places:
        warn(
            f"{path}: {len(places)} texts contain lone surrogates (the first is {places[0]}); the "
            "model ignores them, answers keep them"
        )


def read(path: str, what: str = "data file", keys: FrozenSet[str] = TRAINING_WITH_NEGATIVES) -> List[Passage]:
    """Returns the passages of the SQuAD-format file at `path`.

    Args:
      path: a local or `gs://` path.
      what: the file's role, for error messages.
      keys: the keys to read: `PREDICTION`, `SCORING`, `TRAINING`, `TRAINING_WITH_NEGATIVES` or a
        union of these. With `is_impossible`, the answers of impossible questions are not read.

    Raises:
      InputError: the file is missing, is not JSON, has no questions, or a key that is read is
        missing or has a value of another type.
    """
    value = read_json(path, what)
    _check_layout(path, value)
    passages = [
        _read_passage(paragraph, number, keys)
        for number, article in enumerate(_Place(path, "", value).items("data"))
        for paragraph in article.items("paragraphs")
    ]
    if not any(passage.questions for passage in passages):
        raise InputError(f"the {what} {path} has no questions; pass a file with questions")
    _warn_of_surrogates(passages, path)
    return passages
