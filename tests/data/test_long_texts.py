# SPDX-License-Identifier: Apache-2.0
"""Tests that long texts take a time that is linear in their length.

Each takes a second or two of the processor; with a quadratic loop, it would take minutes.
"""

import time

import pytest
import tiny

import cmrc2018_evaluate
import squad_evaluate
import tokenization
from mrc import datasets
from mrc.answers import common_run, decoding, question_types
from mrc.data import examples, sentence_pieces, windows
from mrc.data.squad_format import Answer, Passage, Question

LENGTH = 300_000  # characters
SECONDS = 20
TEXTS = {
    "spaces": " ",
    "one word": "a",
    "punctuation": ",'",
    "full stops": "a.) ",
    "words": "a b ",
    "combining marks": "e\u0301\u0323",
    "only combining marks": "\u0301\u0323",
    "ideographs": "灯塔",
    "one ideograph": "灯",
    "interrogatives": "x who when, where ",
    "numbers": "1,",
    "format characters": "\u200d",
}


@pytest.fixture(autouse=True)
def limit():
    begin = time.process_time()
    yield
    assert time.process_time() - begin < SECONDS


@pytest.fixture(params=sorted(TEXTS))
def text(request):
    unit = TEXTS[request.param]
    return unit * (LENGTH // len(unit))


@pytest.mark.parametrize("rules", [question_types.ENGLISH, question_types.CHINESE])
def test_question_types(text, rules):
    question_types.question_type(text, rules)


@pytest.mark.parametrize("do_lower_case", [True, False])
def test_word_pieces_and_projection(text, do_lower_case):
    tokenizer = tokenization.Vocabulary(tiny.PIECES).tokenizer(do_lower_case)
    tokenizer.text_ids(text)
    basic = tokenization.BasicTokenizer(do_lower_case)
    decoding.project(" ".join(basic.tokenize(text)[-5:]), text, " ", basic)


def test_normalization_of_sentence_pieces(text):
    sentence_pieces.normalize(text, True)


def test_scores(text):
    other = text[3:] + "x"
    squad_evaluate.token_f1(text, other)
    cmrc2018_evaluate.segment_f1(text, other)
    cmrc2018_evaluate.has_inner_sentence_end(text)


@pytest.mark.parametrize("dataset", [datasets.SQUAD, datasets.CMRC2018])
def test_windows_and_the_training_answer(text, dataset):
    question = Question("id", "Who?", (Answer("the keeper", len(text)),), None, "")
    passage = Passage(text + "the keeper", (question,), "")
    made = examples.make_training_examples(dataset, [passage], "")
    tokenizer = tokenization.Vocabulary(tiny.PIECES).tokenizer(True)
    windows.Windows(made, tokenizer, 64, 32, 16).answer_positions(dataset.refines_answers)


def test_the_common_run_of_periodic_texts():
    assert common_run.length_of_common_run("ab" * LENGTH, "ba" * LENGTH) == 2 * LENGTH - 1
