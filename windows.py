# SPDX-License-Identifier: Apache-2.0
"""From examples to windows: `[CLS] question [SEP] stretch of the passage [SEP]`, as many as the passage needs.

A passage is turned into word pieces once, for all of its questions. What a window holds is kept as (example, start,
length) and spread out into padded arrays only when a batch of them is asked for.
"""
from __future__ import absolute_import, division, print_function

import collections
import itertools

import numpy as np

from errors import InputError
from examples import NO_ANSWER

FIRST_UNIQUE_ID = 1000000000
PADDING_WINDOW = -1  # the number of a window that only fills a batch
SPECIAL_TOKENS_IN_WINDOW = 3  # [CLS] and twice [SEP]

PassagePieces = collections.namedtuple("PassagePieces", ["ids", "word_of", "first_piece"])
PassagePieces.__doc__ = """A passage in word pieces: `ids` and `word_of` (the number of the word that a piece is from), [n] each;
`first_piece` of each word and, after the last, n."""

Span = collections.namedtuple("Span", ["start", "length", "best_here"])
Span.__doc__ = """A stretch of a passage: pieces `start` to `start + length - 1`; `best_here` [length] tells which of them have
no window with more context around them."""


def cut_passage(text, tokenizer):
    """Returns the `PassagePieces` of a `datasets.Text`."""
    pieces = [tokenizer.word_ids(word) for word in text.words]
    counts = np.fromiter(map(len, pieces), np.int32, len(pieces))
    first_piece = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    ids = np.fromiter(itertools.chain.from_iterable(pieces), np.int32, first_piece[-1])
    return PassagePieces(ids, np.repeat(np.arange(len(pieces), dtype=np.int32), counts), first_piece)


def _starts_and_lengths(num_pieces, longest, stride):
    spans, start = [], 0
    while start < num_pieces:
        length = min(num_pieces - start, longest)
        spans.append((start, length))
        if start + length == num_pieces:
            break
        start += min(length, stride)
    return spans


def slide(num_pieces, longest, stride):
    """Returns the `Span`s of windows that slide over a passage of `num_pieces` pieces.

    A piece that several windows hold has maximum context where `min(pieces before, pieces after) + 0.01 * window length`
    is largest, in the first such window on ties.

    Args:
      num_pieces: pieces of the passage.
      longest: most pieces that a window holds.
      stride: pieces from one window's start to the next one's.
    """
    spans = _starts_and_lengths(num_pieces, longest, stride)
    most, owner = np.full(num_pieces, -1.0), np.zeros(num_pieces, np.int32)
    for number, (start, length) in enumerate(spans):
        place = np.arange(length)
        context = np.minimum(place, length - 1 - place) + 0.01 * length
        stretch = slice(start, start + length)
        better = context > most[stretch]
        most[stretch][better] = context[better]
        owner[stretch][better] = number
    return [Span(start, length, owner[start:start + length] == number)
            for number, (start, length) in enumerate(spans)]


def _answer_pieces(example, pieces, tokenizer, refine):
    """Returns (first, last) piece of the training answer; refined, the first stretch of it that spells it exactly."""
    first, last = pieces.first_piece[example.first_word], pieces.first_piece[example.last_word + 1] - 1
    if refine:
        wanted = np.asarray(tokenizer.word_ids(example.answer), np.int32)
        for start in range(first, last - len(wanted) + 2):
            if len(wanted) and np.array_equal(pieces.ids[start:start + len(wanted)], wanted):
                return start, start + len(wanted) - 1
    return first, last


class Windows(object):
    """All windows of a list of examples, in order.

    Attributes:
      examples: the list of `Example`.
      question_ids: for each example, the ids of its question's pieces.
      passage_of: for each example, the number of its passage in `passages`.
      passages: list of `PassagePieces`.
      example_of, span_of: for each window, the number of its example and its `Span`.
    """

    def __init__(self, examples, tokenizer, max_seq_length, doc_stride, max_query_length):
        self.examples, self.max_seq_length = examples, max_seq_length
        self._tokenizer = tokenizer
        self._cls, self._sep = tokenizer.vocabulary.to_ids(["[CLS]", "[SEP]"])
        self.question_ids = [tokenizer.word_ids(example.question)[:max_query_length] for example in examples]
        self._check_room()
        self.passages, self.passage_of = self._cut_passages()
        self.example_of, self.span_of = self._slide(doc_stride)

    def __len__(self):
        return len(self.span_of)

    def _check_room(self):
        for example, question in zip(self.examples, self.question_ids):
            if len(question) + SPECIAL_TOKENS_IN_WINDOW >= self.max_seq_length:
                raise InputError("--max_seq_length=%d leaves no room for the passage beside question %s, which has %d word "
                                 "pieces; use at least %d, or a smaller --max_query_length" %
                                 (self.max_seq_length, example.id, len(question),
                                  len(question) + SPECIAL_TOKENS_IN_WINDOW + 1))

    def _cut_passages(self):
        numbers, passages, passage_of = {}, [], []
        for example in self.examples:
            key = id(example.text)
            if key not in numbers:
                numbers[key] = len(passages)
                passages.append(cut_passage(example.text, self._tokenizer))
            passage_of.append(numbers[key])
        return passages, passage_of

    def _slide(self, stride):
        slid, example_of, span_of = {}, [], []
        for number, (question, passage) in enumerate(zip(self.question_ids, self.passage_of)):
            longest = self.max_seq_length - len(question) - SPECIAL_TOKENS_IN_WINDOW
            shape = (len(self.passages[passage].ids), longest)
            if shape not in slid:
                slid[shape] = slide(shape[0], longest, stride)
            span_of.extend(slid[shape])
            example_of.extend([number] * len(slid[shape]))
        return example_of, span_of

    def passage_start(self, window):
        """Returns the place of the first passage piece in `window`."""
        return len(self.question_ids[self.example_of[window]]) + 2

    def lengths(self):
        """Returns the number of real tokens of each window, [windows]."""
        return np.array([len(self.question_ids[example]) + SPECIAL_TOKENS_IN_WINDOW + span.length
                         for example, span in zip(self.example_of, self.span_of)], np.int32)

    def batch(self, rows, length=None):
        """Returns the padded arrays of the windows numbered `rows`.

        Args:
          rows: sequence of B window numbers; `PADDING_WINDOW` is one of padding alone.
          length: tokens T of the arrays, max_seq_length if not given.

        Returns:
          Dict of int32 arrays: unique_ids [B]; input_ids, input_mask, segment_ids and input_span_mask (1 on `[CLS]` and
          passage pieces), each [B, T].
        """
        length = length or self.max_seq_length
        names = ("input_ids", "input_mask", "segment_ids", "input_span_mask")
        arrays = {name: np.zeros([len(rows), length], np.int32) for name in names}
        for place, row in enumerate(rows):
            if row != PADDING_WINDOW:
                self._fill(place, row, *(arrays[name] for name in names))
        arrays["unique_ids"] = FIRST_UNIQUE_ID + np.asarray(rows, np.int32)
        return arrays

    def _fill(self, place, row, ids, mask, segments, span_mask):
        example, span = self.example_of[row], self.span_of[row]
        question, start = self.question_ids[example], self.passage_start(row)
        stop = start + span.length
        ids[place, 0], ids[place, start - 1], ids[place, stop] = self._cls, self._sep, self._sep
        ids[place, 1:start - 1] = question
        ids[place, start:stop] = self.passages[self.passage_of[example]].ids[span.start:span.start + span.length]
        mask[place, :stop + 1] = 1
        segments[place, start:stop + 1] = 1
        span_mask[place, 0] = 1
        span_mask[place, start:stop] = 1

    def answer_positions(self, refine):
        """Returns (starts, ends) of the training answers in each window, 0 where it is not wholly inside, [windows] each.

        Args:
          refine: whether an answer is cut down to the first stretch of its words' pieces that spells it.
        """
        answers = [(NO_ANSWER, NO_ANSWER) if example.first_word == NO_ANSWER else
                   _answer_pieces(example, self.passages[passage], self._tokenizer, refine)
                   for example, passage in zip(self.examples, self.passage_of)]
        positions = np.zeros([2, len(self)], np.int32)
        for row, (example, span) in enumerate(zip(self.example_of, self.span_of)):
            first, last = answers[example]
            if first != NO_ANSWER and first >= span.start and last < span.start + span.length:
                positions[:, row] = np.array([first, last]) - span.start + self.passage_start(row)
        return positions
