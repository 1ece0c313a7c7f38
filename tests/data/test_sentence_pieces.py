# SPDX-License-Identifier: Apache-2.0
"""ALBERT's English text: pieces and offsets of words, computed by hand."""

import sys

import numpy as np
import pytest
import tiny

from mrc.data import sentence_pieces
from mrc.data.examples import Example
from mrc.data.windows import Windows
from mrc.datasets import SQUAD
from mrc.util.errors import InputError


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    """Single characters, and these pieces of several."""
    path = tmp_path_factory.mktemp("pieces") / "spiece.model"
    symbols = ["lan", "er", "2,", "▁9,", "fin", "[MASK]"]
    return sentence_pieces.read(tiny.write_sentence_pieces(path, symbols)).tokenizer(True)


def pieces_of(tokenizer, word):
    return [tokenizer.vocabulary.pieces[number] for number in tokenizer.word_ids(word)]


@pytest.mark.parametrize(
    "word, text, places",
    [
        ("Boat", "boat", [0, 1, 2, 3, 4]),
        ("Éclair", "eclair", [0, 1, 2, 3, 4, 5, 6]),
        ("Cafe\u0301s", "cafes", [0, 1, 2, 3, 5, 6]),
        ("``Boat''", '"boat"', [0, 2, 3, 4, 5, 6, 8]),
        ("'''", "\"'", [0, 2, 3]),
        ("ﬁN", "fin", [0, 0, 1, 2]),
        ("½", "1\u20442", [0, 0, 0, 1]),
        ("\u0301", "", [1]),
        ("ΟΔΟΣ", "οδος", [0, 1, 2, 3, 4]),
    ],
)
def test_words_are_normalized_as_albert_does(word, text, places):
    assert sentence_pieces.normalize(word, True) == (text, places)


def test_letter_case_can_be_kept():
    assert sentence_pieces.normalize("Éclair", False)[0] == "Eclair"


@pytest.mark.parametrize(
    "word, pieces, offsets",
    [
        ("Lantern,", ["▁", "lan", "t", "er", "n", ","], [(0, 0), (0, 3), (3, 4), (4, 6), (6, 7), (7, 8)]),
        # The mark belongs to its letter, and both letters of a ligature to the ligature.
        ("e\u0301a", ["▁", "e", "a"], [(0, 0), (0, 2), (2, 3)]),
        ("ﬁn", ["▁", "fin"], [(0, 0), (0, 2)]),
        ("ﬁ", ["▁", "f", "i"], [(0, 0), (0, 1), (0, 1)]),
        # "2," and "▁9," are pieces, but a number and its comma are not cut as one.
        ("1902,", ["▁", "1", "9", "0", "2", ","], [(0, 0), (0, 1), (1, 2), (2, 3), (3, 4), (4, 5)]),
        ("9,", ["▁", "9", ","], [(0, 0), (0, 1), (1, 2)]),
        ("``2,", ["▁", '"', "2", ","], [(0, 0), (0, 2), (2, 3), (3, 4)]),
        ("a🙂b", ["▁", "a", "<unk>", "b"], [(0, 0), (0, 1), (1, 2), (2, 3)]),
        ("\u0301", [], []),
    ],
)
def test_words_are_cut_into_pieces_with_offsets(tokenizer, word, pieces, offsets):
    assert pieces_of(tokenizer, word) == pieces
    assert tokenizer.offsets(word) == offsets


def test_a_question_is_cut_word_by_word(tokenizer):
    words = ["What", "colour?"]
    wanted = [number for word in words for number in tokenizer.word_ids(word)]
    assert tokenizer.text_ids("What  colour? ") == wanted
    cut = tokenizer.vocabulary.processor.encode("what colour?")  # the whole text
    assert cut == wanted


def test_a_window_has_the_special_tokens_of_the_model(tokenizer):
    example = Example("id", "a", SQUAD.split("Er"))
    batch = Windows([example], tokenizer, 9, 9, 9).batch([0])
    ids = tokenizer.vocabulary.ids
    assert (ids["<pad>"], ids["<unk>"]) == (0, 1)
    wanted = ["[CLS]", "▁", "a", "[SEP]", "▁", "er", "[SEP]", "<pad>", "<pad>"]
    np.testing.assert_array_equal(batch["input_ids"], [[ids[piece] for piece in wanted]])


@pytest.mark.parametrize(
    "answer, first, last", [("1902", 2, 5), ("lan\u0301", 7, 7), ("1902-lan\u0301) er", 2, 10), ("er", 10, 10)]
)
def test_a_training_answer_is_refined_to_its_pieces(tokenizer, answer, first, last):
    # Pieces: 0 "▁", 1 "(", 2 to 5 "1902", 6 "-", 7 "lan", 8 ")", 9 "▁", 10 "er".
    text = SQUAD.split("(1902-lan\u0301) er")
    words = (0, 0) if " " not in answer and answer != "er" else (answer == "er", 1)
    example = Example("id", "a", text, *map(int, words), answer=answer)
    windows = Windows([example], tokenizer, 20, 20, 9)
    starts, ends = windows.answer_positions(refine=True)
    shift = windows.passage_start(0)
    assert (starts[0] - shift, ends[0] - shift) == (first, last)


def test_a_missing_package_is_reported(monkeypatch):
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(InputError, match="needs the sentencepiece package: pip install -r"):
        sentence_pieces.read("spiece.model")
