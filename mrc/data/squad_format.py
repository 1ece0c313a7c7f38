# SPDX-License-Identifier: Apache-2.0
"""The SQuAD file format: nested JSON in, passages with their questions out, every error with its place.

Both datasets come in it: SQuAD 1.1 and 2.0 (https://rajpurkar.github.io/SQuAD-explorer), and the
"squad-style" files of CMRC 2018 (https://github.com/ymcui/cmrc2018).
"""

import collections
import re

import tensorflow.compat.v1 as tf

from mrc.util.errors import InputError
from mrc.util.files import read_json

Answer = collections.namedtuple("Answer", ["text", "start"])
Answer.__doc__ = "An answer's text and the index of its first character in the passage."

Question = collections.namedtuple("Question", ["id", "text", "answers", "is_impossible", "place"])
Question.__doc__ = """A question; `answers` is a tuple, empty where the file has none; `is_impossible` is None where
the file (SQuAD 1.1, CMRC 2018) does not say; `place` is where it stands in the file, for messages."""

Passage = collections.namedtuple("Passage", ["context", "questions", "place"])
Passage.__doc__ = "A passage and the tuple of questions asked about it."

_KINDS = {
    dict: "an object",
    list: "a list",
    str: "a text",
    int: "a whole number",
    bool: "true or false",
}

_SURROGATE = re.compile("[\ud800-\udfff]")


def _kind(value):
    return "null" if value is None else _KINDS.get(type(value), "a number")


class _Place:
    """A value of the file with the path that leads to it, so that whatever is wrong can be named."""

    def __init__(self, path, place, value):
        self.path, self.place, self.value = path, place, value

    def wrong(self, problem):
        where = "at " + self.place if self.place else "at the top"
        return InputError(
            f"{self.path} is not in SQuAD format: {where} {problem}; pass a file that is laid out "
            "as SQuAD's train-v1.1.json"
        )

    def expect(self, kind):
        if type(self.value) is not kind:  # not isinstance: True is no whole number here
            raise self.wrong(f"stands {_kind(self.value)} where {_KINDS[kind]} belongs")
        return self

    def has(self, key):
        return self.value.get(key) is not None

    def get(self, key, kind):
        self.expect(dict)
        if key not in self.value:
            raise self.wrong(f'the key "{key}" is missing')
        place = f"{self.place}.{key}" if self.place else key
        return _Place(self.path, place, self.value[key]).expect(kind)

    def items(self, key):
        entries = self.get(key, list)
        return [
            _Place(self.path, "%s[%d]" % (entries.place, i), value)
            for i, value in enumerate(entries.value)
        ]


def _read_answers(question):
    if not question.has("answers"):
        return ()
    return tuple(
        Answer(answer.get("text", str).value, answer.get("answer_start", int).value)
        for answer in question.items("answers")
    )


def _read_question(question):
    question.expect(dict)
    is_impossible = (
        question.get("is_impossible", bool).value if question.has("is_impossible") else None
    )
    return Question(
        question.get("id", str).value,
        question.get("question", str).value,
        _read_answers(question),
        is_impossible,
        question.place,
    )


def _warn_of_surrogates(passages, path):
    places = []
    for passage in passages:
        places += [passage.place + ".context"] * bool(_SURROGATE.search(passage.context))
        places += [
            question.place
            for question in passage.questions
            if _SURROGATE.search(question.id + question.text)
        ]
    if places:
        tf.logging.warning(
            "%s: %d texts have halves of characters (surrogates, the first in %s); no reader sees "
            "them, "
            "answers keep them",
            path,
            len(places),
            places[0],
        )


def read(path, what="data file"):
    """Returns the list of `Passage` of the SQuAD-format file at `path`.

    Args:
      path: a local or `gs://` path.
      what: the file's role, for the sentence of an `InputError`.

    Raises:
      InputError: the file is missing, is not JSON, is not nested as SQuAD is (with the place), or asks nothing.
    """
    passages = []
    for article in _Place(path, "", read_json(path, what)).items("data"):
        for paragraph in article.items("paragraphs"):
            questions = tuple(_read_question(question) for question in paragraph.items("qas"))
            passages.append(
                Passage(paragraph.get("context", str).value, questions, paragraph.place)
            )
    if not any(passage.questions for passage in passages):
        raise InputError(
            f"the {what} {path} has no questions, so there is nothing to do; pass a file that "
            "asks something"
        )
    _warn_of_surrogates(passages, path)
    return passages
