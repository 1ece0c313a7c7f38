# SPDX-License-Identifier: Apache-2.0
"""Tests that records and answers equal the reference, on unusual texts and random lengths.

`pytest --hypothesis-profile=thorough tests/reference` tries 2,000 cases of each test.
"""

import os
from typing import NamedTuple, Tuple

import numpy as np
import pytest
import reference
import tensorflow.compat.v1 as tf
import tiny
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mrc.answers.decoding import Decoder
from mrc.data import examples, squad_format, tfrecords
from mrc.data.windows import Windows
from mrc.datasets import CMRC2018, SQUAD, Dataset
from mrc.experiment import prediction, training
from mrc.util.errors import InputError
from tokenization import Vocabulary, WordPieceTokenizer

LETTERS = "abcdefghijklmnopqrstuvwxyzàéσςіيक्षि한灯塔河豈𠀀012#'“。，"
PIECES = (
    ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    + ["unused%d" % number for number in range(200)]  # ids of two bytes
    + sorted(set(LETTERS))
    + ["##" + letter for letter in sorted(set(LETTERS))]
    + "the stone st ##one the ##re 's ### a".split()
)
VOCABULARY = Vocabulary(PIECES)

FRAGMENTS = (
    "the",
    "stone",
    "There's",
    "a",
    "Σίσυφος",
    "ΑΣ",
    "ΑΣ'Α",
    "Σ",
    "İstanbul",
    "ﬁn",
    "ß",
    "ǅ",
    "Éa",
    "e\u0301",
    "\u0301",
    "q\u0323\u0307",
    "\u0307\u0323",
    "\u302e",
    "\U0001d165\u0301",
    "क्षि",
    "한",
    "\u1112\u1161\u11ab",
    "يوم",
    "灯塔",
    "河",
    "豈",
    "\U0002f800",
    "𠀀",
    "\U0002ebf0",
    "😀",
    "#",
    "##",
    "##a",
    "'",
    "“",
    "。",
    "，",
    "(",
    "$",
    "^",
    "~",
    "1.5",
    "012",
    "\x00",
    "\ufffd",
    "\x0b",
    "\x1c",
    "\x7f",
    "\x85",
    "\xad",
    "\u200b",
    "\ufeff",
    "\ue000",
    "\U000f0000",
    "\u0378",
    "\u00a0",
    "\u2028",
    "\u3000",
    "\u202f",
    "\t",
    "\r\n",
    " ",
    "  ",
    "y" * 200,
    "z" * 201,
    "a" * 60,
)
WORDS = st.one_of(st.sampled_from(FRAGMENTS), st.text(max_size=4), st.sampled_from(FRAGMENTS[:8]))
TEXTS = st.builds(lambda words, between: between.join(words), st.lists(WORDS, max_size=16), st.sampled_from([" ", "", " "]))
SETTINGS = settings(deadline=None, suppress_health_check=list(HealthCheck))


class Case(NamedTuple):
    """Data of unusual texts, and how to process it."""

    dataset: Dataset
    chinese: bool
    data: dict
    lower: bool
    sizes: Tuple[int, int, int]
    with_negatives: bool


@st.composite
def an_answer(draw, context, shifts):
    """Draws a span of the context; sometimes its text or start is wrong."""
    start = draw(st.integers(0, len(context) - 1))
    text = context[start : draw(st.integers(start + 1, len(context)))]
    if draw(st.integers(0, 5)) == 0:
        text = draw(TEXTS) or "a"
    start += draw(st.sampled_from((0, 0, 0) + shifts))
    return {"text": text, "answer_start": max(start, 0)}


@st.composite
def cases(draw):
    chinese, with_negatives = draw(st.booleans()), draw(st.booleans())
    with_negatives = with_negatives and not chinese
    paragraphs = []
    for number in range(draw(st.integers(1, 3))):
        context, questions = draw(TEXTS), []
        for question in range(draw(st.integers(1, 2))):
            answers = (
                [draw(an_answer(context, (1, 2, 3, 4) if chinese else (1,)))]
                if context
                else [{"text": "a", "answer_start": 0}]
            )
            questions.append(
                {
                    "id": "%d-%d" % (number, question),
                    "question": draw(TEXTS),
                    "answers": answers,
                    "is_impossible": draw(st.booleans()),
                }
            )
        paragraphs.append({"context": context, "qas": questions})
    longest_question = draw(st.integers(1, 6))
    sizes = reference.Sizes(longest_question + 3 + draw(st.integers(1, 20)), draw(st.integers(1, 24)), longest_question)
    return Case(
        CMRC2018 if chinese else SQUAD,
        chinese,
        {"data": [{"paragraphs": paragraphs}]},
        draw(st.booleans()),
        sizes,
        with_negatives,
    )


def passages_of(data):
    return [
        squad_format.Passage(
            paragraph["context"],
            tuple(
                squad_format.Question(
                    question["id"],
                    question["question"],
                    tuple(squad_format.Answer(answer["text"], answer["answer_start"]) for answer in question["answers"]),
                    question["is_impossible"],
                    "",
                )
                for question in paragraph["qas"]
            ),
            "",
        )
        for article in data["data"]
        for paragraph in article["paragraphs"]
    ]


def tokenizer_of(case):
    return WordPieceTokenizer(VOCABULARY, case.lower)


def reference_windows(case, training=False):
    found = reference.examples(case.data, case.chinese, training, case.with_negatives)
    return found, reference.windows(found, reference.Tokenizer(PIECES, case.lower), case.sizes, case.chinese)


def parsed(serialized):
    features = tf.train.Example.FromString(serialized).features.feature
    return {name: list(feature.int64_list.value) for name, feature in features.items()}


def assert_same_records(found, all_windows, positions):
    arrays = found.batch(range(len(found)))
    if positions is not None:
        arrays["start_positions"], arrays["end_positions"] = positions
    ours = [parsed(record) for record in tfrecords.serialize(arrays)]
    names = set(arrays)
    assert ours == [{name: values for name, values in window["record"].items() if name in names} for window in all_windows]


@SETTINGS
@given(cases())
def test_prediction_records(case):
    made = examples.make_prediction_examples(case.dataset, passages_of(case.data), "data.json")
    found = Windows(made, tokenizer_of(case), *case.sizes)
    assert_same_records(found, reference_windows(case)[1], None)


@SETTINGS
@given(cases())
def test_training_records(case):
    _, all_windows = reference_windows(case, training=True)
    try:
        made = examples.make_training_examples(case.dataset, passages_of(case.data), "data.json", case.with_negatives)
    except InputError:  # no answer is in its passage
        made = []
    found = Windows(training.shuffle(made, seed=12345), tokenizer_of(case), *case.sizes)
    assert_same_records(found, all_windows, found.answer_positions(case.dataset.refines_answers))


def listed(answer, chinese):
    rows = []
    for entry, probability in zip(answer.entries, answer.probabilities):
        row = dict(text=entry.text, probability=probability, start_logit=entry.start_logit, end_logit=entry.end_logit)
        if chinese:
            row.update(start_index=entry.start_index, end_index=entry.end_index)
        rows.append(row)
    return rows


@SETTINGS
@given(cases(), st.data())
def test_answers(case, data):
    rules = reference.Rules(
        data.draw(st.integers(1, 9)),
        data.draw(st.integers(1, 12)),
        case.with_negatives,
        data.draw(st.sampled_from([-1.0, 0.0, 0.5])),
    )
    made = examples.make_prediction_examples(case.dataset, passages_of(case.data), "data.json")
    found = Windows(made, tokenizer_of(case), *case.sizes)
    their_examples, their_windows = reference_windows(case)
    random = np.random.RandomState(data.draw(st.integers(0, 10**6)))
    cells, length = 2, case.sizes.max_seq_length
    # There are so few values that ties are common.
    logits = (random.randint(-4, 5, [len(found), cells, 2, length]) / 2).astype(np.float32)
    decoder = Decoder(found, VOCABULARY, case.dataset, case.lower, *rules)
    for number, example in enumerate(their_examples):
        rows = np.flatnonzero(found.example_of == number)
        answers = decoder.answer(number, rows, tiny.best_positions(logits[rows], min(rules.n_best_size, length)))
        assert len(answers) == cells
        for cell, ours in enumerate(answers):
            theirs = reference.answer(
                example, [their_windows[row] for row in rows], logits[rows, cell].tolist(), rules, case.chinese, case.lower
            )
            assert (ours.text, listed(ours, case.chinese), ours.null_odds) == theirs


class Found:
    """Replaces the partial results with the best positions of these logits."""

    def __init__(self, logits):
        self._logits = logits

    def read(self, first, stop):
        return tiny.best_positions(self._logits[first:stop], 20)


TINY = Vocabulary(tiny.PIECES)


@pytest.mark.parametrize(
    "dataset, data, with_negatives",
    [(SQUAD, tiny.squad(), False), (SQUAD, tiny.squad2(), True), (CMRC2018, tiny.cmrc(), False)],
)
def test_files_byte_for_byte(tmp_path, dataset, data, with_negatives):
    chinese, lower = dataset is CMRC2018, dataset.do_lower_case
    sizes, rules = reference.Sizes(32, 8, 12), reference.Rules(with_negatives=with_negatives)
    path = tiny.write_json(tmp_path / "data.json", data)
    found = Windows(
        examples.make_prediction_examples(dataset, squad_format.read(path), path), WordPieceTokenizer(TINY, lower), *sizes
    )
    their_examples = reference.examples(data, chinese)
    their_windows = reference.windows(their_examples, reference.Tokenizer(tiny.PIECES, lower), sizes, chinese)
    logits = np.random.RandomState(1).standard_normal([len(found), 1, 2, 32]).astype(np.float32)
    names = {what: what + ".json" for what in ["predictions", "nbest"] + ["null_odds"] * with_negatives}
    decoder = Decoder(found, TINY, dataset, lower, *rules)
    (tmp_path / "ours").mkdir()
    (tmp_path / "theirs").mkdir()
    prediction.decode(found, Found(logits), decoder, dataset, str(tmp_path / "ours"), [names])
    reference.write_answers(
        their_examples,
        their_windows,
        lambda row: logits[row, 0].tolist(),
        rules,
        chinese,
        lower,
        {what: str(tmp_path / "theirs" / name) for what, name in names.items()},
    )
    for name in names.values():
        assert (tmp_path / "ours" / name).read_bytes() == (tmp_path / "theirs" / name).read_bytes()
    assert sorted(os.listdir(str(tmp_path / "ours"))) == sorted(names.values())
