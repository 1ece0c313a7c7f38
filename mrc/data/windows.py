# SPDX-License-Identifier: Apache-2.0
"""Splits examples into overlapping windows: `[CLS] question [SEP] span of the passage [SEP]`.

A passage is split into word pieces once for all of its questions. A window is stored as (example,
start, length) and expanded into padded arrays only when it is batched; the pieces with maximum
context are computed on demand.
"""

import functools
import itertools
from typing import List, NamedTuple

import numpy as np

from mrc.data.examples import NO_ANSWER
from mrc.util import progress
from mrc.util.errors import InputError

FIRST_UNIQUE_ID = 1000000000
PADDING_WINDOW = -1  # the index of a window that only fills up a batch
SPECIAL_TOKENS_IN_WINDOW = 3  # [CLS] and two [SEP]
_SHAPES_REMEMBERED = 256


class PassagePieces(NamedTuple):
    """A passage of n word pieces.

    Attributes:
      ids: id of each piece, [n] int32.
      word_of: index of the word of each piece, [n] int32.
      first_piece: index of the first piece of each word, followed by n, [words + 1] int32.
    """

    ids: np.ndarray
    word_of: np.ndarray
    first_piece: np.ndarray


class Pieces(NamedTuple):
    """The word pieces of a list of examples.

    Attributes:
      question_ids: for each example, the ids of its question, [n] int32.
      passage_of: for each example, the index of its passage in `passages`.
      passages: the distinct passages.
    """

    question_ids: List[np.ndarray]
    passage_of: List[int]
    passages: List[PassagePieces]


class Span(NamedTuple):
    """The pieces `start` to `start + length - 1` of a passage.

    `best_here`, [length] bool, marks the pieces that have maximum context in this window.
    """

    start: int
    length: int
    best_here: np.ndarray


def passage_pieces(ids, counts):
    """Returns the `PassagePieces` of piece ids, [n], and the number of pieces per word, [words]."""
    first_piece = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return PassagePieces(ids, np.repeat(np.arange(len(counts), dtype=np.int32), counts), first_piece)


def _cut_passage(text, tokenizer):
    """Returns the `PassagePieces` of a `passages.Text`."""
    words = [tokenizer.word_ids(word) for word in text.words]
    counts = np.fromiter(map(len, words), np.int32, len(words))
    return passage_pieces(np.fromiter(itertools.chain.from_iterable(words), np.int32, counts.sum()), counts)


def cut(examples, tokenizer, max_query_length):
    """Returns the `Pieces` of `examples`; questions are truncated to `max_query_length`."""
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
    """Returns the tuple of `Span`s of the windows that slide over a passage.

    A piece in several windows has maximum context in the one with the largest
    `min(pieces before, pieces after) + 0.01 * window length`, the first one on ties.

    Args:
      num_pieces: number of pieces in the passage.
      longest: maximum number of pieces in a window.
      stride: number of pieces from the start of one window to the start of the next.
    """
    # Example: the passage "the ferry left the old harbour before dawn" in windows of 5, stride 3:
    #   window 0: the ferry left the old
    #   window 1:                the old harbour before dawn
    # "old" has 4 pieces before it and 0 after it in window 0: min(4, 0) + 0.05 = 0.05. In window 1
    # it has 1 before and 3 after: min(1, 3) + 0.05 = 1.05. So only window 1 may start an answer at
    # "old". For the second "the" it is min(3, 1) against min(0, 4), so window 0.
    spans = _starts_and_lengths(num_pieces, longest, stride)
    most, owner = np.full(num_pieces, -1.0), np.zeros(num_pieces, np.int32)
    for number, (start, length) in enumerate(spans):
        place = np.arange(length)
        context = np.minimum(place, length - 1 - place) + 0.01 * length
        covered = slice(start, start + length)
        better = context > most[covered]
        most[covered][better] = context[better]
        owner[covered][better] = number
    return tuple(
        Span(start, length, owner[start : start + length] == number) for number, (start, length) in enumerate(spans)
    )


def _pieces_inside(example, tokenizer):
    """Returns the numbers, among the pieces of the answer's words, of those in the answer."""
    words = example.text.words[example.first_word : example.last_word + 1]
    answer = " ".join(example.answer.split())
    begin = " ".join(words).find(answer)
    number, shift, inside = 0, 0, []
    for word in words:
        for piece_begin, piece_end in tokenizer.offsets(word):
            if shift + piece_begin < begin + len(answer) and shift + piece_end > begin:
                inside.append(number)
            number += 1
        shift += len(word) + 1
    return inside


def _answer_pieces(example, pieces, tokenizer, refine):
    """Returns (first, last) piece of the training answer.

    Args:
      example: an `Example` with an answer.
      pieces: `PassagePieces` of its passage.
      tokenizer: the tokenizer of the pieces.
      refine: whether to return the first pieces of the span that spell the answer exactly.
    """
    # Example: in "The mill (1902-1904) burnt down." the answer "1902" is part of one word. Its
    # pieces are "( 1902 - 1904 )"; refined, the span is the piece "1902" alone.
    first = pieces.first_piece[example.first_word]
    last = pieces.first_piece[example.last_word + 1] - 1
    if refine and tokenizer.refines_by_offsets:
        inside = _pieces_inside(example, tokenizer)
        return (first + inside[0], first + inside[-1]) if inside else (first, last)
    answer = tokenizer.text_ids(example.answer) if refine else []
    if answer:
        ids = pieces.ids[first : last + 1].tolist()
        for start in range(len(ids) - len(answer) + 1):
            if ids[start] == answer[0] and ids[start : start + len(answer)] == answer:
                return first + start, first + start + len(answer) - 1
    return first, last


class Windows:
    """All windows of a list of examples, in order.

    Attributes:
      examples: the list of `Example`.
      tokenizer: of the questions and passages.
      question_ids, passage_of, passages: as in `Pieces`.
      example_of: for each window, the index of its example, [windows] int32.
      starts, span_lengths: for each window, the index of its first passage piece and the number of
        its passage pieces, [windows] int32.
      token_sets: `token_sets.TokenSetArrays` that `batch` adds, or None.
    """

    def __init__(self, examples, tokenizer, max_seq_length, doc_stride, max_query_length, pieces=None):
        """Creates the windows of `examples`; `pieces`, if given, are the result of `cut`."""
        self.examples, self.max_seq_length = examples, max_seq_length
        self.tokenizer, self._stride = tokenizer, doc_stride
        self._cls, self._sep = tokenizer.vocabulary.to_ids(["[CLS]", "[SEP]"])
        self.question_ids, self.passage_of, self.passages = pieces or cut(examples, tokenizer, max_query_length)
        self._question_lengths = np.array(list(map(len, self.question_ids)), np.int32)
        self._check_room()
        self.example_of, self.starts, self.span_lengths = self._slide()
        self.token_sets = None

    def __len__(self):
        return len(self.example_of)

    def _check_room(self):
        for number in np.flatnonzero(self._question_lengths + SPECIAL_TOKENS_IN_WINDOW >= self.max_seq_length):
            length = self._question_lengths[number]
            raise InputError(
                f"--max_seq_length={self.max_seq_length} leaves no room for the passage beside "
                f"question {self.examples[number].id}, which has {length} word pieces; use at "
                f"least {length + SPECIAL_TOKENS_IN_WINDOW + 1}, or a smaller --max_query_length"
            )

    def _shape(self, example):
        """Returns (pieces of the passage, maximum pieces in a window, stride)."""
        longest = self.max_seq_length - len(self.question_ids[example]) - SPECIAL_TOKENS_IN_WINDOW
        return len(self.passages[self.passage_of[example]].ids), longest, self._stride

    def least_room(self):
        """Returns the number of passage pieces that fit into a window with the longest question."""
        return self.max_seq_length - SPECIAL_TOKENS_IN_WINDOW - int(self._question_lengths.max())

    def _slide(self):
        """Returns three arrays: example, first piece and number of pieces of each window."""
        spans = [_starts_and_lengths(*self._shape(example)) for example in range(len(self.examples))]
        counts = np.fromiter(map(len, spans), np.int32, len(spans))
        placed = np.array(list(itertools.chain.from_iterable(spans)), np.int32).reshape([-1, 2])
        return (np.repeat(np.arange(len(spans), dtype=np.int32), counts), placed[:, 0].copy(), placed[:, 1].copy())

    def spans(self, example):
        """Returns the `Span`s of the windows of an example."""
        return slide(*self._shape(example))

    def passage_start(self, window):
        """Returns the position of the first passage piece in a window (or array of windows)."""
        return self._question_lengths[self.example_of[window]] + 2

    def lengths(self):
        """Returns the number of real tokens of each window, [windows]."""
        return self._question_lengths[self.example_of] + SPECIAL_TOKENS_IN_WINDOW + self.span_lengths

    def batch(self, rows, length=None):
        """Returns the padded arrays of a batch of windows.

        Args:
          rows: sequence of B window indices; `PADDING_WINDOW` is a window of padding alone.
          length: number of tokens T, default max_seq_length.

        Returns:
          Dict of int32 arrays: unique_ids [B]; input_ids, input_mask, segment_ids and
          input_span_mask (1 on `[CLS]` and passage pieces), each [B, T]; and the members of token
          sets, [B, T] each.
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
        if self.token_sets is not None:
            arrays.update(self.token_sets.batch(rows, length))
        return arrays

    def _input_ids(self, rows, starts, stops, length):
        ids, places = np.zeros([len(rows), length], np.int32), np.arange(len(rows))
        ids[:, 0] = self._cls
        ids[places, starts - 1] = ids[places, stops] = self._sep
        windows = zip(rows.tolist(), starts.tolist(), stops.tolist())
        for place, (row, start, stop) in enumerate(windows):
            example, first = self.example_of[row], self.starts[row]
            passage = self.passages[self.passage_of[example]].ids
            ids[place, 1 : start - 1] = self.question_ids[example]
            ids[place, start:stop] = passage[first : first + stop - start]
        return ids

    def answer_positions(self, refine):
        """Returns (starts, ends) of the training answer in each window, [windows] each.

        Both are 0 in a window that does not contain the whole answer.

        Args:
          refine: whether an answer is narrowed to the first pieces of its words that spell it.
        """
        answers = [
            (NO_ANSWER, NO_ANSWER)
            if example.first_word == NO_ANSWER
            else _answer_pieces(example, self.passages[passage], self.tokenizer, refine)
            for example, passage in zip(self.examples, self.passage_of)
        ]
        first, last = np.array(answers, np.int32).reshape([-1, 2])[self.example_of].T
        inside = (first != NO_ANSWER) & (first >= self.starts) & (last < self.starts + self.span_lengths)
        shift = self.passage_start(np.arange(len(self))) - self.starts
        return np.where(inside, first + shift, 0), np.where(inside, last + shift, 0)
