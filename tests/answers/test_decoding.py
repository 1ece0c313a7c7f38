# SPDX-License-Identifier: Apache-2.0
"""Tests of decoding.py: projection and n-best lists by hand; see also test_against_reference.py."""

import math

import numpy as np
import pytest
import tiny

from mrc.answers.decoding import Decoder, project, softmax
from mrc.data import sentence_pieces
from mrc.data.examples import Example
from mrc.data.passages import Text
from mrc.data.windows import Windows
from mrc.datasets import CMRC2018, SQUAD
from tokenization import BasicTokenizer, Vocabulary, WordPieceTokenizer

PIECES = "[PAD] [UNK] [CLS] [SEP] q a ##b ##c e x y z , 灯 塔 河 1 ##2 α ##ς".split()
VOCABULARY = Vocabulary(PIECES)
LOW = -50.0


@pytest.mark.parametrize(
    "text, original, found",
    [
        ("stone", "Stone", "Stone"),
        ("old stone", "The Old Stone.", "Old Stone"),
        ("eclair", "(Éclair)", "Éclair"),
        ("steve smith", "Steve Smith's", "Steve Smith"),
        ("1902", "1902-1904", "1902"),
        ("- 1904", "1902-1904", "-1904"),
        ("a", "a b a", "a"),  # the first of several
        ("b a", "a b a", "b a"),
        ("tower", "a bridge", "a bridge"),  # not there
        ("[UNK]", "☃ man", "☃ man"),
        ("", "a bridge", "a bridge"),
        # A dropped character: the letters cannot be aligned.
        ("tower", "a tower\u200b", "a tower\u200b"),
        ("boat", "e\u0301 boat", "e\u0301 boat"),
        (" tower", "a tower", "a tower"),  # begins with a space
    ],
)
def test_projection(text, original, found):
    assert project(text, original, " ", BasicTokenizer(True)) == found


@pytest.mark.parametrize(
    "text, original, found",
    [("灯塔", "灯塔在", "灯塔"), ("abc", "在ABC", "ABC"), ("塔a", "灯塔A", "塔A"), ("河", "灯塔", "灯塔")],
)
def test_projection_without_spaces(text, original, found):
    assert project(text, original, "", BasicTokenizer(True)) == found


def test_softmax():
    assert softmax([1000.0, 1000.0 + math.log(3)]) == pytest.approx([0.25, 0.75])


class Case:
    """A question with its windows and a decoder."""

    def __init__(
        self,
        context,
        dataset=SQUAD,
        max_seq_length=14,
        doc_stride=3,
        tokenizer=WordPieceTokenizer(VOCABULARY, do_lower_case=True),
        **options,
    ):
        example = Example("id", "q", Text(context, dataset.word_pattern), -1, -1, "")
        self.windows = Windows([example], tokenizer, max_seq_length, doc_stride, 64)
        self.dataset = dataset
        self.options = dict(dict(n_best_size=20, max_answer_length=30, with_negatives=False, null_threshold=0.0), **options)

    def answer(self, *logits):
        """Returns the `Answer` of one cell for the [start logits, end logits] of each window."""
        return self.answers([logits])[0]

    def answers(self, cells):
        """Returns the list of `Answer` for the logits of each cell, [C, W, 2, T]."""
        decoder = Decoder(self.windows, VOCABULARY, self.dataset, True, **self.options)
        rows = range(len(self.windows))
        size = min(self.options["n_best_size"], self.windows.max_seq_length)
        logits = np.array(cells, np.float32).reshape([len(cells), len(rows), 2, self.windows.max_seq_length])
        return decoder.answer(0, rows, tiny.best_positions(logits.transpose([1, 0, 2, 3]), size))


def logits(length=14, **values):
    """Returns low logits with some values set: `p3=2.0` is 2.0 at position 3."""
    row = [LOW] * length
    for place, value in values.items():
        row[int(place[1:])] = value
    return row


def texts(answer):
    return [entry.text for entry in answer.entries]


# The positions of "X abc, Y": [CLS] 0, q 1, [SEP] 2, x 3, a 4, ##b 5, ##c 6, comma 7, y 8, [SEP] 9.
CONTEXT = "X aBc, Y"


def test_an_n_best_list_matches_hand_computation():
    answer = Case(CONTEXT, n_best_size=2).answer([logits(p4=3.0, p8=1.0), logits(p6=2.0, p8=1.5)])
    # 3 + 2: "aBc"; 3 + 1.5: "aBc, Y"; there the list is full.
    assert answer.text == "aBc" and texts(answer) == ["aBc", "aBc, Y"]
    assert [tuple(entry)[1:] for entry in answer.entries] == [(3.0, 2.0, 4, 6), (3.0, 1.5, 4, 8)]
    assert answer.probabilities == pytest.approx([1 / (1 + math.exp(-0.5)), 1 / (1 + math.exp(0.5))])
    assert answer.null_odds is None


def test_pieces_inside_a_word_are_projected():
    assert Case(CONTEXT).answer([logits(p5=3.0), logits(p6=2.0)]).text == "Bc"


@pytest.mark.parametrize(
    "starts, ends",
    [
        (dict(p8=1.0), dict(p4=1.0)),  # the end before the start
        (dict(p1=1.0), dict(p4=1.0)),  # the start in the question
        (dict(p0=1.0), dict(p0=1.0)),
        (dict(p2=1.0), dict(p3=1.0)),
        (dict(p4=1.0), dict(p9=1.0)),  # the end at [SEP]
        (dict(p4=1.0), dict(p12=1.0)),  # and in the padding
        (dict(p12=1.0), dict(p13=1.0)),
    ],
)
@pytest.mark.parametrize("dataset", [SQUAD, CMRC2018])
def test_without_an_allowed_span_the_answer_is_empty(dataset, starts, ends):
    answer = Case(CONTEXT, dataset, n_best_size=1).answer([logits(**starts), logits(**ends)])
    assert [tuple(entry) for entry in answer.entries] == [("empty", 0.0, 0.0, 0, 0)]
    assert answer.text == "empty" and answer.probabilities == [1.0]


def test_positions_outside_the_passage_count_in_the_ranking():
    starts, ends = logits(p1=5.0, p12=4.0, p3=3.0), logits(p3=1.0)
    assert Case(CONTEXT, n_best_size=3).answer([starts, ends]).text == "X"
    assert texts(Case(CONTEXT, n_best_size=2).answer([starts, ends])) == ["empty"]


def test_ties_go_to_the_lower_position():
    answer = Case("x y z", n_best_size=2).answer([logits(p5=1.0, p4=1.0, p3=1.0), logits(p3=1.0, p4=1.0, p5=1.0)])
    # Starts 3 and 4, ends 3 and 4; start 3 with end 3, then with end 4.
    assert texts(answer) == ["x", "x y"]


@pytest.mark.parametrize("longest, found", [(6, "X aBc, Y"), (5, "X aBc,"), (4, "X aBc"), (1, "Y")])
def test_maximum_answer_length(longest, found):
    starts, ends = logits(p3=3.0, p8=0.0), logits(p8=3.0, p7=2.0, p6=1.5)
    assert Case(CONTEXT, max_answer_length=longest).answer([starts, ends]).text == found


def test_a_text_is_listed_once():
    answer = Case("x a X a").answer([logits(p3=3.0, p5=2.0), logits(p3=1.0, p5=1.0)])
    # "x" at 3, "x a X" from 3 to 5, then "X" at 5: its case sets it apart.
    assert texts(answer)[:3] == ["x", "x a X", "X"]
    answer = Case("x a x a").answer([logits(p3=3.0, p5=2.0), logits(p3=1.0, p5=1.0)])
    assert texts(answer)[:2] == ["x", "x a x"] and texts(answer).count("x") == 1
    assert answer.entries[0].start_index == 3


# "x y z a e" in windows of four pieces: "x y z a" at positions 3 to 6, then "a e" at 3 and 4. The
# "a" has context 0.04 in the first window and 0.02 in the second, so it starts only in the first.
@pytest.mark.parametrize(
    "first, second, found",
    [
        ((dict(p6=1.0), dict(p6=1.0)), (dict(p3=5.0), dict(p3=5.0)), ["a"]),
        ((dict(p3=1.0), dict(p6=1.0)), (dict(p4=1.0), dict(p4=1.0)), ["x y z a", "e"]),  # a tie
        ((dict(p3=1.0), dict(p6=1.0)), (dict(p4=1.5), dict(p4=1.0)), ["e", "x y z a"]),
        # No start with more context elsewhere.
        ((dict(p3=1.0), dict(p3=1.0)), (dict(p3=9.0), dict(p4=9.0)), ["x"]),
    ],
)
def test_windows_are_ranked_together(first, second, found):
    case = Case("x y z a e", max_seq_length=8, n_best_size=1)
    assert case.windows.starts.tolist() == [0, 3]
    rows = [[logits(8, **side) for side in window] for window in (first, second)]
    assert texts(case.answer(*rows)) == found[:1]
    case.options["n_best_size"] = 2
    assert [
        text
        for text, entry in zip(texts(case.answer(*rows)), case.answer(*rows).entries)
        if entry.start_logit > 0 and entry.end_logit > 0
    ] == found


def negative(threshold=0.0, null=(0.0, 0.0), n_best_size=3, **spans):
    starts, ends = logits(**spans), logits(**spans)
    starts[0], ends[0] = null
    return Case("x y z", with_negatives=True, null_threshold=threshold, n_best_size=n_best_size).answer([starts, ends])


@pytest.mark.parametrize("null, found", [((9.0, 0.0), ["", "y"]), ((1.0, 2.0), ["y", ""]), ((4.0, 0.0), ["y", ""])])
def test_the_null_answer_is_ranked_by_its_score(null, found):
    answer = negative(null=null, p4=2.0)  # "y" has 4; the null answer follows on a tie
    assert texts(answer)[:2] == found and answer.null_odds == sum(null) - 4.0


def test_the_null_answer_follows_a_full_list():
    answer = negative(null=(-60.0, -60.0), n_best_size=1, p4=2.0)
    assert texts(answer) == ["y", ""] and answer.null_odds == -124.0


@pytest.mark.parametrize("threshold, text", [(0.9, ""), (1.0, "y"), (1.1, "y")])
def test_null_odds_above_the_threshold_empty_the_answer(threshold, text):
    answer = negative(threshold, null=(3.0, 2.0), p4=2.0)
    assert answer.null_odds == 1.0 and answer.text == text


def test_the_null_answer_alone():
    answer = negative(null=(1.0, 2.0), n_best_size=1, p12=5.0)
    assert texts(answer) == [""] and answer.text == ""
    assert answer.null_odds == 3.0 and answer.probabilities == [1.0]


def test_the_null_score_is_the_smallest_of_all_windows():
    case = Case("x y z a e", max_seq_length=8, with_negatives=True)
    rows = [[logits(8, p0=3.0, p3=1.0), logits(8, p0=2.0, p3=1.0)], [logits(8, p0=1.0), logits(8, p0=0.5)]]
    answer = case.answer(*rows)
    null = answer.entries[texts(answer).index("")]
    assert (null.start_logit, null.end_logit) == (1.0, 0.5) and answer.null_odds == -0.5


def test_questions_without_windows():
    assert len(Case(" ").windows) == 0
    for dataset, options, text in ((SQUAD, {}, "empty"), (CMRC2018, {}, "empty"), (SQUAD, {"with_negatives": True}, "")):
        case = Case("", dataset, **options)
        (answer,) = Decoder(case.windows, VOCABULARY, dataset, True, **case.options).answer(
            0,
            range(0),
            {
                name: np.zeros([0, 1] + shape)
                for name, shape in (
                    ("start_values", [3]),
                    ("start_places", [3]),
                    ("end_values", [3]),
                    ("end_places", [3]),
                    ("start_nulls", []),
                    ("end_nulls", []),
                )
            },
        )
        assert answer.text == text and len(answer.entries) == 1


def test_cmrc_entries_have_positions():
    answer = Case("灯塔 河12", CMRC2018).answer([logits(p4=2.0), logits(p7=1.0)])
    assert answer.text == "塔河12"  # the words are joined without their white space
    assert (answer.entries[0].start_index, answer.entries[0].end_index) == (4, 7)


def test_words_whose_tokens_change_when_they_are_joined():
    # The words are "ας" and "α"; joined without a space, as in CMRC, their tokens are "ασα".
    assert Case("ΑΣ Α", CMRC2018).answer([logits(p4=2.0), logits(p5=2.0)]).text == "ΑΣΑ"
    assert Case("ΑΒΣ Α", CMRC2018).answer([logits(p3=2.0), logits(p3=2.0)]).text == "ΑΒΣ"


def test_cells_are_decoded_independently():
    case = Case("x y z", n_best_size=1)
    answers = case.answers([[[logits(p3=1.0), logits(p3=1.0)]], [[logits(p5=1.0), logits(p5=2.0)]]])
    assert [(answer.text, answer.entries[0].end_logit) for answer in answers] == [("x", 1.0), ("z", 2.0)]


def test_answers_are_cut_out_by_the_offsets_of_sentence_pieces(tmp_path):
    path = tiny.write_sentence_pieces(tmp_path / "spiece.model", symbols=["old", "river"])
    tokenizer = sentence_pieces.read(path).tokenizer(do_lower_case=True)
    # Positions: 0 [CLS], 1 "▁", 2 "q", 3 [SEP], 4 "▁", 5 "old", 6 "▁", 7 "(", 8 "c", 9 "a", 10 "f",
    # 11 "e", 12 ",", 13 "▁", 14 "river", 15 ")", 16 [SEP].
    case = Case("OLD (Cafe\u0301, River)", max_seq_length=20, doc_stride=20, tokenizer=tokenizer)
    for first, last, wanted in (
        (5, 5, "OLD"),
        (5, 6, "OLD"),
        (4, 8, "OLD (C"),
        (8, 11, "Cafe\u0301"),
        (11, 14, "e\u0301, River"),
        (14, 15, "River)"),
        (13, 13, "River)"),  # the piece is not in the text: its word
    ):
        start, end = logits(20, **{f"p{first}": 5.0}), logits(20, **{f"p{last}": 5.0})
        assert case.answer([start, end]).text == wanted
