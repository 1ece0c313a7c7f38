# SPDX-License-Identifier: Apache-2.0
"""From the best starts and ends of each window to the n-best texts of a question.

All cells of a grid are decoded together, question by question, because they mostly choose among the same stretches of
the passage: the text of a stretch is worked out once.
"""
from __future__ import absolute_import, division, print_function

import collections
import math

import numpy as np

from tokenization import BasicTokenizer

NO_TEXT = "empty"  # the answer where nothing else is left

Entry = collections.namedtuple("Entry", ["text", "start_logit", "end_logit", "start_index", "end_index"])
Entry.__doc__ = "One text of an n-best list, its logits, and the places of its first and last piece in the window."

Answer = collections.namedtuple("Answer", ["text", "entries", "probabilities", "null_odds"])
Answer.__doc__ = "A question's answer, its n-best list, best first, and, with SQuAD 2.0, its null odds."


def _without_spaces(text):
    """Returns `text` without spaces, and for each of its characters the place it had."""
    places = [place for place, char in enumerate(text) if char != " "]
    return "".join(text[place] for place in places), places


def project(text, original, joiner, basic_tokenizer):
    """Returns the stretch of `original` that was tokenized to `text`.

    Both are aligned character by character, spaces aside; where that fails, all of `original` is returned.

    Args:
      text: word pieces joined again; lower-cased and without accents if the tokenizer makes them so.
      original: words of the passage that hold the pieces.
      joiner: text between the basic tokens that `text` is looked for in.
      basic_tokenizer: the `BasicTokenizer` that the pieces came from.
    """
    tokenized = joiner.join(basic_tokenizer.tokenize(original))
    first = tokenized.find(text)
    last = first + len(text) - 1
    if first < 0 or not text or " " in (tokenized[first], tokenized[last]):
        return original
    letters, places = _without_spaces(original)
    tokenized_letters, _ = _without_spaces(tokenized)
    if len(letters) != len(tokenized_letters):
        return original
    skipped = first - tokenized.count(" ", 0, first)
    length = len(text) - text.count(" ")
    return original[places[skipped]:places[skipped + length - 1] + 1]


def softmax(scores):
    """Returns the probabilities of a list of scores."""
    largest = max(scores)
    powers = [math.exp(score - largest) for score in scores]
    total = sum(powers)
    return [power / total for power in powers]


class _PassageTexts(object):
    """The texts of stretches of one passage, each worked out once."""

    def __init__(self, text, pieces, vocabulary, joiner, basic_tokenizer):
        self._text, self._pieces, self._vocabulary = text, pieces, vocabulary
        self._joiner, self._basic_tokenizer = joiner, basic_tokenizer
        self._known = {}

    def __call__(self, first, last):
        """Returns the text of the pieces `first` to `last`."""
        known = self._known.get((first, last))
        if known is None:
            known = self._known[first, last] = self._make(first, last)
        return known

    def _make(self, first, last):
        pieces = [self._vocabulary.pieces[index] for index in self._pieces.ids[first:last + 1]]
        joined = self._joiner.join(pieces).replace(" ##", "").replace("##", "")
        words = self._text.words[self._pieces.word_of[first]:self._pieces.word_of[last] + 1]
        return project(" ".join(joined.split()), self._joiner.join(words), self._joiner, self._basic_tokenizer)


class Decoder(object):
    """Turns the best positions of a question's windows into its answer, for every cell.

    Args:
      windows: `windows.Windows`.
      vocabulary: the `Vocabulary` that the windows' ids come from.
      dataset: `datasets.Dataset`.
      do_lower_case: as for the tokenizer of the windows.
      n_best_size: texts in an n-best list, at the most.
      max_answer_length: word pieces in an answer, at the most.
      with_negatives: whether a question may have no answer (SQuAD 2.0).
      null_threshold: the answer is "" where the null odds are above this.
    """

    def __init__(self, windows, vocabulary, dataset, do_lower_case, n_best_size, max_answer_length,
                 with_negatives=False, null_threshold=0.0):
        self._windows, self._vocabulary, self._dataset = windows, vocabulary, dataset
        self._basic_tokenizer = BasicTokenizer(do_lower_case)
        self._n_best_size, self._max_answer_length = n_best_size, max_answer_length
        self._with_negatives, self._null_threshold = with_negatives, null_threshold
        self._texts_of_passage = (None, None)

    def answer(self, example, rows, best):
        """Returns the list of `Answer` of each of C cells to the question of `example`.

        Args:
          example: number of the example.
          rows: numbers of its windows.
          best: dict of start_values, start_places, end_values, end_places [W, C, K], start_nulls, end_nulls [W, C] for
            these W windows, as from `SpanModel.best_positions`.
        """
        num_cells = best["start_nulls"].shape[1]
        pairs = self._pairs(rows, best) if len(rows) else [()] * num_cells
        texts = self._texts(self._windows.passage_of[example])
        return [self._cell_answer(cell, pairs[cell], texts, best) for cell in range(num_cells)]

    def _texts(self, passage):
        """The texts of the passage of the last question are remembered, as the next one is mostly about the same."""
        if self._texts_of_passage[0] != passage:
            example = self._windows.passage_of.index(passage)
            self._texts_of_passage = passage, _PassageTexts(
                self._windows.examples[example].text, self._windows.passages[passage], self._vocabulary,
                self._dataset.joiner, self._basic_tokenizer)
        return self._texts_of_passage[1]

    def _pairs(self, rows, best):
        """Returns for each cell an iterator of its allowed pairs, best first.

        A pair is (sum, start logit, end logit, first piece, last piece, start place, end place); equal sums stay in the
        order of window, start and end.
        """
        lengths = [self._windows.span_of[row].length for row in rows]
        first_place = self._windows.passage_start(rows[0])
        piece_at_place_0 = np.array([self._windows.span_of[row].start for row in rows]) - first_place
        may_start = np.zeros([len(rows), self._windows.max_seq_length], bool)
        for window, row in enumerate(rows):
            may_start[window, first_place:first_place + lengths[window]] = self._windows.span_of[row].best_here
        starts, ends = best["start_places"].astype(np.int32), best["end_places"].astype(np.int32)
        window_of = np.arange(len(rows))[:, None, None]
        ends_allowed = (ends >= first_place) & (ends < first_place + np.array(lengths)[:, None, None])
        span = ends[:, :, None, :] - starts[:, :, :, None]
        allowed = ((span >= 0) & (span < self._max_answer_length) &
                   may_start[window_of, starts][:, :, :, None] & ends_allowed[:, :, None, :])
        return [self._sorted_pairs(allowed[:, cell], cell, best, piece_at_place_0) for cell in range(starts.shape[1])]

    @staticmethod
    def _sorted_pairs(allowed, cell, best, piece_at_place_0):
        window, start, end = np.nonzero(allowed)
        start_logits = best["start_values"][window, cell, start].astype(np.float64)
        end_logits = best["end_values"][window, cell, end].astype(np.float64)
        sums = start_logits + end_logits
        order = np.argsort(-sums, kind="stable")
        window, start, end = window[order], start[order], end[order]
        starts, ends = best["start_places"][window, cell, start], best["end_places"][window, cell, end]
        shift = piece_at_place_0[window]
        columns = (sums[order], start_logits[order], end_logits[order], starts + shift, ends + shift, starts, ends)
        return zip(*(column.tolist() for column in columns))

    def _null_entry(self, cell, best):
        sums = best["start_nulls"][:, cell].astype(np.float64) + best["end_nulls"][:, cell].astype(np.float64)
        if not len(sums):
            return Entry("", 0.0, 0.0, 0, 0)
        window = int(np.argmin(sums))
        return Entry("", float(best["start_nulls"][window, cell]), float(best["end_nulls"][window, cell]), 0, 0)

    def _n_best(self, pairs, texts, null):
        """Returns the n-best list; the null answer stands in it where it ranks, and at its end where it does not."""
        entries, seen = [], set()
        null_left = null
        for total, start_logit, end_logit, first, last, start, end in pairs:
            if null_left is not None and null.start_logit + null.end_logit > total:
                entries.append(null)
                seen.add("")
                null_left = None
            if len(entries) >= self._n_best_size:
                break
            text = texts(first, last)
            if text not in seen:
                seen.add(text)
                entries.append(Entry(text, start_logit, end_logit, start, end))
        if null is not None and "" not in seen:
            entries.append(null)
        return entries or [Entry(NO_TEXT, 0.0, 0.0, 0, 0)]

    def _cell_answer(self, cell, pairs, texts, best):
        null = self._null_entry(cell, best) if self._with_negatives else None
        entries = self._n_best(pairs, texts, null)
        probabilities = softmax([entry.start_logit + entry.end_logit for entry in entries])
        with_text = next((entry for entry in entries if entry.text), None)
        if null is not None:
            total = with_text.start_logit + with_text.end_logit if with_text else 0.0
            odds = null.start_logit + null.end_logit - total
            text = with_text.text if with_text and odds <= self._null_threshold else ""
            return Answer(text, entries, probabilities, odds)
        if self._dataset.answers_with_empty_text:
            return Answer(entries[0].text, entries, probabilities, None)
        return Answer(with_text.text if with_text else "", entries, probabilities, None)
