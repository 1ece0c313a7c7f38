# SPDX-License-Identifier: Apache-2.0
"""From the best starts and ends of each window to the n-best texts of a question.

All cells of a grid are decoded together, question by question, because they mostly choose among the same stretches of
the passage: the text of a stretch is computed once.
"""

import collections
import math
import unicodedata

import numpy as np

from mrc.data.examples import NO_TEXT
from tokenization import BasicTokenizer

_PAIRS_AT_A_TIME = 64

Entry = collections.namedtuple(
    "Entry", ["text", "start_logit", "end_logit", "start_index", "end_index"]
)
Entry.__doc__ = "One text of an n-best list, its logits, and the places of its first and last piece in the window."

Answer = collections.namedtuple("Answer", ["text", "entries", "probabilities", "null_odds"])
Answer.__doc__ = (
    "A question's answer, its n-best list, best first, and, with SQuAD 2.0, its null odds."
)


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
    return original[places[skipped] : places[skipped + length - 1] + 1]


def softmax(scores):
    """Returns the probabilities of a list of scores."""
    largest = max(scores)
    powers = [math.exp(score - largest) for score in scores]
    total = sum(powers)
    return [power / total for power in powers]


def _tokens_are_those_of_words(context, joiner):
    """Whether the basic tokens of words joined by `joiner` are surely those of each word, one after the other.

    With nothing between them, the end of a word may depend on the next one: a Greek sigma is lower-cased, and combining
    marks are ordered, by what stands beside them.
    """
    return bool(joiner) or not any(
        char == "\u03a3" or unicodedata.combining(unicodedata.normalize("NFD", char)[0])
        for char in set(context)
    )


class _Alignment:
    """A passage beside its basic tokens: does what `project` does without tokenizing a stretch of it again.

    Args:
      words: of the passage; none holds a space.
      tokenized: for each word, its basic tokens joined by `joiner`.
      joiner: text between words.
    """

    def __init__(self, words, tokenized, joiner):
        self._original, self._tokenized = (
            joiner.join(words),
            joiner.join(token for token in tokenized if token),
        )
        lengths = np.array([len(word) for word in words], np.int64)
        self._first_letter = np.concatenate([[0], np.cumsum(lengths)]).tolist()
        self._place_of_letter = (
            np.arange(lengths.sum()) + np.repeat(np.arange(len(words)), lengths) * len(joiner)
        ).tolist()
        lengths = np.array([len(token) for token in tokenized], np.int64)
        letters = lengths - np.array([token.count(" ") for token in tokenized], np.int64)
        self._tokenized_letters = np.concatenate([[0], np.cumsum(letters)]).tolist()
        stops = np.cumsum(lengths + (lengths > 0) * len(joiner)) - len(joiner)
        self._starts, self._stops = (stops - lengths).tolist(), stops.tolist()

    def project(self, text, first_word, last_word):
        """Returns the stretch of these words that was tokenized to `text`; where that fails, all of them."""
        first_letter, stop_letter = (
            self._first_letter[first_word],
            self._first_letter[last_word + 1],
        )
        tokenized_letters = (
            self._tokenized_letters[last_word + 1] - self._tokenized_letters[first_word]
        )
        start = self._starts[first_word]
        found = self._tokenized.find(text, start, self._stops[last_word])
        if found < 0 or not text or tokenized_letters != stop_letter - first_letter:
            return self._stretch(first_letter, stop_letter)
        first_letter += found - start - self._tokenized.count(" ", start, found)
        return self._stretch(first_letter, first_letter + len(text) - text.count(" "))

    def _stretch(self, first_letter, stop_letter):
        return self._original[
            self._place_of_letter[first_letter] : self._place_of_letter[stop_letter - 1] + 1
        ]


class _PassageTexts:
    """The texts of stretches of one passage, each computed once."""

    def __init__(self, text, pieces, vocabulary, joiner, tokens):
        self._words, self._joiner, self._tokens = text.words, joiner, tokens
        self._pieces = [vocabulary.pieces[index] for index in pieces.ids.tolist()]
        self._word_of = pieces.word_of.tolist()
        self._alignment = None
        if _tokens_are_those_of_words(text.context, joiner):
            self._alignment = _Alignment(
                text.words, [tokens.joined(word) for word in text.words], joiner
            )
        self._known = {}

    def __call__(self, first, last):
        """Returns the text of the pieces `first` to `last`."""
        known = self._known.get((first, last))
        if known is None:
            known = self._known[first, last] = self._make(first, last)
        return known

    def _make(self, first, last):
        joined = (
            self._joiner.join(self._pieces[first : last + 1]).replace(" ##", "").replace("##", "")
        )
        text, first_word, last_word = (
            " ".join(joined.split()),
            self._word_of[first],
            self._word_of[last],
        )
        if self._alignment is not None:
            return self._alignment.project(text, first_word, last_word)
        return project(
            text,
            self._joiner.join(self._words[first_word : last_word + 1]),
            self._joiner,
            self._tokens.tokenizer,
        )


class _WordTokens:
    """The basic tokens of words, joined; a word is tokenized once in a run."""

    def __init__(self, tokenizer, joiner):
        self.tokenizer, self._joiner = tokenizer, joiner
        self._known = {}

    def joined(self, word):
        known = self._known.get(word)
        if known is None:
            known = self._known[word] = self._joiner.join(self.tokenizer.tokenize(word))
        return known


def _in_turn(logits, places, order):
    """Yields the rows of both arrays in the given order; they become Python's numbers when it is their turn."""
    for start in range(0, len(order), _PAIRS_AT_A_TIME):
        part = order[start : start + _PAIRS_AT_A_TIME]
        yield from zip(logits[part].tolist(), places[part].tolist())


class Decoder:
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

    def __init__(
        self,
        windows,
        vocabulary,
        dataset,
        do_lower_case,
        n_best_size,
        max_answer_length,
        with_negatives=False,
        null_threshold=0.0,
    ):
        self._windows, self._vocabulary, self._dataset = windows, vocabulary, dataset
        self._tokens = _WordTokens(BasicTokenizer(do_lower_case), dataset.joiner)
        self._n_best_size, self._max_answer_length = (
            n_best_size,
            min(max_answer_length, windows.max_seq_length),
        )
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
        pairs = self._pairs(example, rows, best) if len(rows) else [()] * num_cells
        texts = self._texts(example)
        return [self._cell_answer(cell, pairs[cell], texts, best) for cell in range(num_cells)]

    def _texts(self, example):
        """The texts of the passage of the last question are remembered, as the next one is mostly about the same."""
        passage = self._windows.passage_of[example]
        if self._texts_of_passage[0] != passage:
            self._texts_of_passage = (
                passage,
                _PassageTexts(
                    self._windows.examples[example].text,
                    self._windows.passages[passage],
                    self._vocabulary,
                    self._dataset.joiner,
                    self._tokens,
                ),
            )
        return self._texts_of_passage[1]

    def _pairs(self, example, rows, best):
        """Returns for each cell an iterator of its allowed pairs, best first.

        A pair is ((sum, start logit, end logit), (first piece, last piece, start place, end place)); equal sums stay in
        the order of window, start and end.
        """
        spans, first_place = self._windows.spans(example), int(self._windows.passage_start(rows[0]))
        may_start = np.zeros([len(rows), self._windows.max_seq_length], bool)
        may_end = np.zeros_like(may_start)
        for window, span in enumerate(spans):
            may_start[window, first_place : first_place + span.length] = span.best_here
            may_end[window, first_place : first_place + span.length] = True
        best = {
            name: values.swapaxes(0, 1) for name, values in best.items()
        }  # [C, W, K], as pairs are sorted by cell
        starts, ends = best["start_places"].astype(np.int32), best["end_places"].astype(np.int32)
        window_of = np.arange(len(rows))[:, None]
        cell, window, start = np.nonzero(may_start[window_of, starts])
        first, lasts = starts[cell, window, start], ends[cell, window]
        allowed = (
            may_end[window_of, ends][cell, window]
            & (lasts >= first[:, None])
            & (lasts < first[:, None] + self._max_answer_length)
        )
        pair, end = np.nonzero(allowed)
        cell, window, start, first, last = (
            cell[pair],
            window[pair],
            start[pair],
            first[pair],
            lasts[pair, end],
        )
        logits = np.empty([len(pair), 3])
        logits[:, 1], logits[:, 2] = (
            best["start_values"][cell, window, start],
            best["end_values"][cell, window, end],
        )
        logits[:, 0] = logits[:, 1] + logits[:, 2]
        shift = np.array([span.start for span in spans])[window] - first_place
        places = np.stack([first + shift, last + shift, first, last], axis=1)
        order = np.lexsort((-logits[:, 0], cell))  # a stable sort
        bounds = np.searchsorted(cell[order], np.arange(len(starts) + 1)).tolist()
        return [_in_turn(logits, places, order[low:high]) for low, high in zip(bounds, bounds[1:])]

    def _null_entry(self, cell, best):
        sums = best["start_nulls"][:, cell].astype(np.float64) + best["end_nulls"][:, cell].astype(
            np.float64
        )
        if not len(sums):
            return Entry("", 0.0, 0.0, 0, 0)
        window = int(np.argmin(sums))
        return Entry(
            "",
            float(best["start_nulls"][window, cell]),
            float(best["end_nulls"][window, cell]),
            0,
            0,
        )

    def _n_best(self, pairs, texts, null):
        """Returns the n-best list; the null answer stands in it where it ranks, and at its end where it does not."""
        entries, seen = [], set()
        null_left = null
        for (total, start_logit, end_logit), (first, last, start, end) in pairs:
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
        if self._dataset.allows_empty_answer:
            return Answer(entries[0].text, entries, probabilities, None)
        return Answer(with_text.text if with_text else "", entries, probabilities, None)
