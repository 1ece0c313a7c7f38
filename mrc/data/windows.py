# SPDX-License-Identifier: Apache-2.0
"""From examples to windows: `[CLS] question [SEP] stretch of the passage [SEP]`, as many as the passage needs.

A passage is turned into word pieces once, for all of its questions. What a window holds is kept as (example, start,
length) and spread out into padded arrays only when a batch of them is asked for; which of its pieces have maximum context
is computed on demand.
"""

import collections
import functools
import itertools

import numpy as np

from mrc.data.examples import NO_ANSWER
from mrc.util import progress
from mrc.util.errors import InputError

FIRST_UNIQUE_ID = 1000000000
PADDING_WINDOW = -1  # the number of a window that only fills a batch
SPECIAL_TOKENS_IN_WINDOW = 3  # [CLS] and twice [SEP]
_SHAPES_REMEMBERED = 256

PassagePieces = collections.namedtuple("PassagePieces", ["ids", "word_of", "first_piece"])
PassagePieces.__doc__ = """A passage in word pieces: `ids` and `word_of` (the number of the word that it is from) of each, [n];
`first_piece` of each word and, after the last, n."""

Pieces = collections.namedtuple("Pieces", ["question_ids", "passage_of", "passages"])
Pieces.__doc__ = """The text of a list of examples in word pieces: for each, `question_ids`, [n] int32, and `passage_of`, the
number of its passage in `passages`, a list of `PassagePieces`."""

Span = collections.namedtuple("Span", ["start", "length", "best_here"])
Span.__doc__ = """A stretch of a passage: pieces `start` to `start + length - 1`; `best_here` [length] tells which have
no window with more context around them."""


def passage_pieces(ids, counts):
    """Returns the `PassagePieces` of the ids of a passage's pieces, [n], and their number in each word, [words]."""
    first_piece = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return PassagePieces(
        ids, np.repeat(np.arange(len(counts), dtype=np.int32), counts), first_piece
    )


def _cut_passage(text, tokenizer):
    """Returns the `PassagePieces` of a `datasets.Text`."""
    words = [tokenizer.word_ids(word) for word in text.words]
    counts = np.fromiter(map(len, words), np.int32, len(words))
    return passage_pieces(
        np.fromiter(itertools.chain.from_iterable(words), np.int32, counts.sum()), counts
    )


def cut(examples, tokenizer, max_query_length):
    """Returns the `Pieces` of a list of `Example`, questions cut at `max_query_length`."""
    pieces, numbers = Pieces([], [], []), {}
    with progress.bar(len(examples), "text to windows", "question", delay=progress.PATIENCE) as bar:
        for example in examples:
            question = tokenizer.text_ids(example.question)[:max_query_length]
            pieces.question_ids.append(np.array(question, np.int32))
            if example.passage not in numbers:
                numbers[example.passage] = len(pieces.passages)
                pieces.passages.append(_cut_passage(example.text, tokenizer))
            pieces.passage_of.append(numbers[example.passage])
            bar.update()
    return pieces


@functools.lru_cache(maxsize=_SHAPES_REMEMBERED)
def _starts_and_lengths(num_pieces, longest, stride):
    spans, start = [], 0
    while start < num_pieces:
        length = min(num_pieces - start, longest)
        spans.append((start, length))
        if start + length == num_pieces:
            break
        start += min(length, stride)
    return tuple(spans)


@functools.lru_cache(maxsize=_SHAPES_REMEMBERED)
def slide(num_pieces, longest, stride):
    """Returns the tuple of `Span`s of windows that slide over a passage of `num_pieces` pieces.

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
    return tuple(
        Span(start, length, owner[start : start + length] == number)
        for number, (start, length) in enumerate(spans)
    )


def _answer_pieces(example, pieces, tokenizer, refine):
    """Returns (first, last) piece of the training answer; refined, the first stretch of it that spells it exactly."""
    first, last = (
        pieces.first_piece[example.first_word],
        pieces.first_piece[example.last_word + 1] - 1,
    )
    wanted = tokenizer.text_ids(example.answer) if refine else []
    if wanted:
        ids = pieces.ids[first : last + 1].tolist()
        for start in range(len(ids) - len(wanted) + 1):
            if ids[start] == wanted[0] and ids[start : start + len(wanted)] == wanted:
                return first + start, first + start + len(wanted) - 1
    return first, last


class Windows:
    """All windows of a list of examples, in order.

    Attributes:
      examples: the list of `Example`.
      question_ids, passage_of, passages: as in `Pieces`.
      example_of: for each window, the number of its example, int32.
      starts, span_lengths: for each window, the first of its pieces of the passage and their number, int32.
    """

    def __init__(
        self, examples, tokenizer, max_seq_length, doc_stride, max_query_length, pieces=None
    ):
        """Makes the windows of `examples`, from their `pieces` where these are known already."""
        self.examples, self.max_seq_length = examples, max_seq_length
        self._tokenizer, self._stride = tokenizer, doc_stride
        self._cls, self._sep = tokenizer.vocabulary.to_ids(["[CLS]", "[SEP]"])
        self.question_ids, self.passage_of, self.passages = pieces or cut(
            examples, tokenizer, max_query_length
        )
        self._question_lengths = np.array(
            [len(question) for question in self.question_ids], np.int32
        )
        self._check_room()
        self.example_of, self.starts, self.span_lengths = self._slide()

    def __len__(self):
        return len(self.example_of)

    def _check_room(self):
        for number in np.flatnonzero(
            self._question_lengths + SPECIAL_TOKENS_IN_WINDOW >= self.max_seq_length
        ):
            length = self._question_lengths[number]
            raise InputError(
                "--max_seq_length=%d leaves no room for the passage beside question %s, which has "
                "%d word "
                "pieces; use at least %d, or a smaller --max_query_length"
                % (
                    self.max_seq_length,
                    self.examples[number].id,
                    length,
                    length + SPECIAL_TOKENS_IN_WINDOW + 1,
                )
            )

    def _shape(self, example):
        """Returns (pieces of the passage, most pieces in a window, stride)."""
        longest = self.max_seq_length - len(self.question_ids[example]) - SPECIAL_TOKENS_IN_WINDOW
        return len(self.passages[self.passage_of[example]].ids), longest, self._stride

    def least_room(self):
        """Returns how many pieces of the passage a window holds beside the longest question."""
        return self.max_seq_length - SPECIAL_TOKENS_IN_WINDOW - int(self._question_lengths.max())

    def _slide(self):
        """Returns (example, first piece, number of pieces) of all windows, one array each."""
        spans = [
            _starts_and_lengths(*self._shape(example)) for example in range(len(self.examples))
        ]
        counts = np.fromiter(map(len, spans), np.int32, len(spans))
        placed = np.array(list(itertools.chain.from_iterable(spans)), np.int32).reshape([-1, 2])
        return (
            np.repeat(np.arange(len(spans), dtype=np.int32), counts),
            placed[:, 0].copy(),
            placed[:, 1].copy(),
        )

    def spans(self, example):
        """Returns the `Span`s of the windows of an example."""
        return slide(*self._shape(example))

    def passage_start(self, window):
        """Returns the place of the first passage piece in `window`; of several, an array."""
        return self._question_lengths[self.example_of[window]] + 2

    def lengths(self):
        """Returns the number of real tokens of each window, [windows]."""
        return (
            self._question_lengths[self.example_of] + SPECIAL_TOKENS_IN_WINDOW + self.span_lengths
        )

    def batch(self, rows, length=None):
        """Returns the padded arrays of the windows numbered `rows`.

        Args:
          rows: sequence of B window numbers; `PADDING_WINDOW` is one of padding alone.
          length: tokens T of the arrays, max_seq_length if not given.

        Returns:
          Dict of int32 arrays: unique_ids [B]; input_ids, input_mask, segment_ids and input_span_mask (1 on `[CLS]` and
          passage pieces), each [B, T].
        """
        rows, length = np.asarray(rows, np.int32), length or self.max_seq_length
        real = rows != PADDING_WINDOW
        starts = self.passage_start(rows[real])
        stops = starts + self.span_lengths[rows[real]]
        place, first, stop = np.arange(length), starts[:, None], stops[:, None]
        in_passage = (first <= place) & (place < stop)
        tokens = {
            "input_ids": self._input_ids(rows[real], starts, stops, length),
            "input_mask": place <= stop,
            "segment_ids": in_passage | (place == stop),
            "input_span_mask": in_passage | (place == 0),
        }
        arrays = {"unique_ids": FIRST_UNIQUE_ID + rows}
        for name, values in tokens.items():
            arrays[name] = np.zeros([len(rows), length], np.int32)
            arrays[name][real] = values
        return arrays

    def _input_ids(self, rows, starts, stops, length):
        ids, places = np.zeros([len(rows), length], np.int32), np.arange(len(rows))
        ids[:, 0] = self._cls
        ids[places, starts - 1] = ids[places, stops] = self._sep
        for place, (row, start, stop) in enumerate(
            zip(rows.tolist(), starts.tolist(), stops.tolist())
        ):
            example, first = self.example_of[row], self.starts[row]
            ids[place, 1 : start - 1] = self.question_ids[example]
            ids[place, start:stop] = self.passages[self.passage_of[example]].ids[
                first : first + stop - start
            ]
        return ids

    def answer_positions(self, refine):
        """Returns (starts, ends) of the training answers in each window, 0 where it is not wholly inside, [windows] each.

        Args:
          refine: whether an answer is cut down to the first stretch of its words' pieces that spells it.
        """
        answers = [
            (NO_ANSWER, NO_ANSWER)
            if example.first_word == NO_ANSWER
            else _answer_pieces(example, self.passages[passage], self._tokenizer, refine)
            for example, passage in zip(self.examples, self.passage_of)
        ]
        first, last = np.array(answers, np.int32).reshape([-1, 2])[self.example_of].T
        inside = (
            (first != NO_ANSWER) & (first >= self.starts) & (last < self.starts + self.span_lengths)
        )
        shift = self.passage_start(np.arange(len(self))) - self.starts
        return np.where(inside, first + shift, 0), np.where(inside, last + shift, 0)
