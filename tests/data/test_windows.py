# SPDX-License-Identifier: Apache-2.0
"""Tests of windows.py: sliding windows to their properties, padded arrays and answers by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrc.data import windows
from mrc.data.examples import NO_ANSWER, Example
from mrc.data.windows import Windows
from mrc.datasets import SQUAD
from mrc.util.errors import InputError
from tokenization import Vocabulary, WordPieceTokenizer

PIECES = "[PAD] [UNK] [CLS] [SEP] a ##b ##c x y z ?".split()
TOKENIZER = WordPieceTokenizer(Vocabulary(PIECES), do_lower_case=True)
SIZES = dict(num_pieces=st.integers(0, 60), longest=st.integers(1, 25), stride=st.integers(1, 30))


def example(question, context, words=(NO_ANSWER, NO_ANSWER), answer="", identifier="id"):
    """Returns an example; those about the same `context` are about one passage."""
    return Example(identifier, question, SQUAD.split(context), *words, answer, passage=hash(context))


def make(examples, max_seq_length=12, doc_stride=3, max_query_length=64):
    return Windows(examples, TOKENIZER, max_seq_length, doc_stride, max_query_length)


def ids(pieces):
    return [PIECES.index(piece) for piece in pieces.split()]


@settings(deadline=None)
@given(**SIZES)
def test_lengths_and_strides_of_sliding_windows(num_pieces, longest, stride):
    spans = windows.slide(num_pieces, longest, stride)
    for number, span in enumerate(spans):
        assert span.start == number * min(longest, stride)
        last = number == len(spans) - 1
        assert span.length == (num_pieces - span.start if last else longest) <= longest
        assert len(span.best_here) == span.length
    assert sorted(set(piece for span in spans for piece in range(span.start, span.start + span.length))) == list(
        range(num_pieces)
    )


@settings(deadline=None)
@given(**SIZES)
def test_a_piece_is_best_in_the_first_window_with_most_context(num_pieces, longest, stride):
    spans = windows.slide(num_pieces, longest, stride)
    for piece in range(num_pieces):
        context = {}
        for number, span in enumerate(spans):
            left, right = piece - span.start, span.start + span.length - 1 - piece
            if left >= 0 and right >= 0:
                context[number] = min(left, right) + 0.01 * span.length
        most = max(context.values())
        wanted = [number for number in sorted(context) if context[number] == most][0]
        found = [number for number in sorted(context) if spans[number].best_here[piece - spans[number].start]]
        assert found == [wanted]


@pytest.mark.parametrize(
    "num_pieces, longest, stride, spans",
    [
        (0, 4, 2, []),
        (4, 4, 2, [(0, "1111")]),
        (6, 4, 2, [(0, "1110"), (2, "0111")]),  # pieces 2 and 3: 1.04 to 0.04, then 0.04 to 1.04
        # Piece 3: 0.04 at the end of four, 1.03 in the middle of three.
        (5, 4, 2, [(0, "1110"), (2, "011")]),
        (5, 4, 3, [(0, "1111"), (3, "01")]),  # piece 3: 0.04 to 0.02
        (8, 4, 9, [(0, "1111"), (4, "1111")]),  # the stride is never longer than the window
        (3, 1, 5, [(0, "1"), (1, "1"), (2, "1")]),
    ],
)
def test_sliding_windows(num_pieces, longest, stride, spans):
    assert [
        (span.start, "".join("01"[best] for best in span.best_here)) for span in windows.slide(num_pieces, longest, stride)
    ] == spans


def test_padded_arrays():
    # The passage has 6 pieces; beside the question's 2 there is room for 12 - 2 - 3 = 7.
    found = make([example("x ?", "abc abb")])
    assert len(found) == 1 and found.passage_start(0) == 4
    arrays = found.batch([0, windows.PADDING_WINDOW])
    wanted = {
        "input_ids": ids("[CLS] x ? [SEP] a ##b ##c a ##b ##b [SEP] [PAD]"),
        "input_mask": [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0],
        "segment_ids": [0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 0],
        "input_span_mask": [1, 0, 0, 0, 1, 1, 1, 1, 1, 1, 0, 0],
    }
    for name, row in wanted.items():
        np.testing.assert_array_equal(arrays[name], [row, [0] * 12], err_msg=name)
        assert arrays[name].dtype == np.int32
    assert arrays["unique_ids"][0] == 1000000000
    assert set(arrays) == set(wanted) | {"unique_ids"}


def test_windows_of_several_examples_are_numbered_in_order():
    # Room for 5 pieces; 8 pieces make windows at 0, 3; blank passages make none.
    text = "a b c x y z a b"
    found = make([example("x y z ?", text), example("x", ""), example("?", "x"), example("x y z ?", text)])
    assert found.example_of.tolist() == [0, 0, 2, 3, 3] and len(found.passages) == 3
    assert found.starts.tolist() == [0, 3, 0, 0, 3]
    arrays = found.batch([1, 2, 4])
    assert arrays["unique_ids"].tolist() == [1000000001, 1000000002, 1000000004]
    assert arrays["input_ids"].tolist() == [
        ids("[CLS] x y z ? [SEP] x y z a [UNK] [SEP]"),
        ids("[CLS] ? [SEP] x [SEP]") + [0] * 7,
        ids("[CLS] x y z ? [SEP] x y z a [UNK] [SEP]"),
    ]
    assert found.lengths().tolist() == [12, 12, 5, 12, 12]


def test_blank_passages_have_no_windows():
    found = make([example("x", " \n"), example("x", "\u200b")])
    assert len(found) == 0 and found.batch([])["input_ids"].shape == (0, 12)


def test_blank_questions():
    assert make([example("", "x y")], 6).batch([0])["input_ids"].tolist() == [ids("[CLS] [SEP] x y [SEP] [PAD]")]


def test_long_questions_are_truncated():
    found = make([example("x y z ?", "a")], max_query_length=2)
    assert found.batch([0])["input_ids"].tolist() == [ids("[CLS] x y [SEP] a [SEP]") + [0] * 6]


def test_shorter_arrays():
    assert make([example("x", "y")]).batch([0], length=5)["input_ids"].tolist() == [ids("[CLS] x [SEP] y [SEP]")]


@pytest.mark.parametrize(
    "max_seq_length, max_query_length, fits",
    [(8, 64, True), (7, 64, False), (7, 3, True), (6, 3, False), (5, 1, True), (4, 1, False)],
)
def test_room_for_the_passage(max_seq_length, max_query_length, fits):
    examples = [example("x", "y"), example("x y z ?", "a b", identifier="long")]
    if fits:
        found = make(examples, max_seq_length, max_query_length=max_query_length)
        assert found.span_lengths[1] == max_seq_length - min(4, max_query_length) - 3
    else:
        with pytest.raises(InputError) as error:
            make(examples, max_seq_length, max_query_length=max_query_length)
        length = min(4, max_query_length)
        assert "--max_seq_length=%d leaves no room for the passage" % max_seq_length in str(error.value)
        assert "which has %d word pieces; use at least %d" % (length, length + 4) in str(error.value)


def positions(context, words, answer, refine=True, max_seq_length=12, doc_stride=3):
    found = make([example("x ?", context, words, answer)], max_seq_length, doc_stride)
    starts, ends = found.answer_positions(refine)
    return list(zip(starts.tolist(), ends.tolist()))


# The passage begins at place 4.
@pytest.mark.parametrize(
    "context, words, answer, wanted",
    [
        ("x y z", (1, 1), "y", [(5, 5)]),
        ("x y z", (0, 2), "x y z", [(4, 6)]),
        ("x abc z", (1, 1), "abc", [(5, 7)]),
        ("x abc z", (1, 1), "a", [(5, 5)]),  # refined to the piece that spells it
        ("x x?y z", (1, 1), "y", [(7, 7)]),
        ("x x?y z", (1, 1), "x?", [(5, 6)]),
        ("a?a a?a", (0, 1), "a", [(4, 4)]),  # the first of several
        ("x abc z", (1, 1), "bc", [(5, 7)]),  # "bc" is unknown, and no piece of the span
        ("x abc z", (1, 1), "", [(5, 7)]),
        # A word of dropped characters has no piece: as in the released system, its answer ends
        # one before it starts.
        ("x \u200b z", (1, 1), "y", [(5, 4)]),
        ("x \u200b", (1, 1), "\u200b", [(5, 4)]),
        ("x y z", (NO_ANSWER, NO_ANSWER), "", [(0, 0)]),
    ],
)
def test_training_answers(context, words, answer, wanted):
    assert positions(context, words, answer) == wanted


def test_without_refinement_an_answer_is_its_words():
    assert positions("x abc z", (1, 1), "a", refine=False) == [(5, 7)]


# Five pieces fit in a window; windows begin at 0, 3 and 6 of the nine pieces.
@pytest.mark.parametrize(
    "words, wanted",
    [
        ((0, 0), [(4, 4), (0, 0), (0, 0)]),
        ((3, 4), [(7, 8), (4, 5), (0, 0)]),
        ((4, 5), [(0, 0), (5, 6), (0, 0)]),
        ((2, 7), [(0, 0), (0, 0), (0, 0)]),
        ((7, 8), [(0, 0), (0, 0), (5, 6)]),
    ],
)
def test_answers_that_are_not_wholly_inside_a_window(words, wanted):
    assert positions("x y z x y z x y z", words, "?", max_seq_length=10) == wanted
