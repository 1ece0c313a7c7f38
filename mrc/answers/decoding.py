# SPDX-License-Identifier: Apache-2.0
"""Turns the best starts and ends of each window into the n-best texts of a question.

All cells of a grid are decoded together, question by question, because most of them choose among
the same spans of the passage: the text of a span is computed once.
"""

import functools
import math
import unicodedata
from typing import List, NamedTuple, Optional

import numpy as np

from mrc.data.examples import NO_TEXT
from tokenization import BasicTokenizer

_PAIRS_AT_A_TIME = 64


class Entry(NamedTuple):
    """One text of an n-best list, with its first and last token in the window."""

    text: str
    start_logit: float
    end_logit: float
    start_index: int
    end_index: int


class Answer(NamedTuple):
    """The answer to a question.

    Attributes:
      text: the answer.
      entries: the n-best list, best first.
      probabilities: softmax over the scores of the entries.
      null_odds: null score minus the best score with text (SQuAD 2.0), else None.
    """

    text: str
    entries: List[Entry]
    probabilities: List[float]
    null_odds: Optional[float]


def _without_spaces(text):
    """Returns `text` without spaces, and the original index of each remaining character."""
    places = [place for place, char in enumerate(text) if char != " "]
    return "".join(text[place] for place in places), places


def project(text: str, original: str, joiner: str, basic_tokenizer: BasicTokenizer) -> str:
    """Returns the part of `original` that was tokenized to `text`.

    The two are aligned character by character, ignoring spaces; if that fails, all of `original` is
    returned.

    Args:
      text: joined word pieces, lower-cased and without accents if the tokenizer does so.
      original: the words of the passage that contain the pieces.
      joiner: text between the basic tokens in which `text` is searched.
      basic_tokenizer: the `BasicTokenizer` of the pieces.
    """
    # Example: the words "the Café's" are tokenized to "the cafe ' s", and the text is "cafe".
    # Without spaces the two are "theCafé's" and "thecafe's": equally long, so that they align.
    # "cafe" is characters 3 to 6 there, which are "Café" in the original.
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
    """Whether the basic tokens of the joined words equal those of the single words, concatenated.

    Without a joiner, the end of a word may depend on the next one: the lower case of a Greek sigma
    and the order of combining marks depend on their neighbours.
    """
    return bool(joiner) or not any(
        char == "\u03a3" or unicodedata.combining(unicodedata.normalize("NFD", char)[0]) for char in set(context)
    )


class _Alignment:
    """A passage aligned with its basic tokens: `project` without tokenizing a span again.

    Args:
      words: the words of the passage, without spaces.
      tokenized: for each word, its basic tokens joined by `joiner`.
      joiner: text between words.
    """

    def __init__(self, words, tokenized, joiner):
        self._original = joiner.join(words)
        self._tokenized = joiner.join(token for token in tokenized if token)
        lengths = np.array([len(word) for word in words], np.int64)
        self._first_letter = np.concatenate([[0], np.cumsum(lengths)]).tolist()
        self._place_of_letter = (np.arange(lengths.sum()) + np.repeat(np.arange(len(words)), lengths) * len(joiner)).tolist()
        lengths = np.array([len(token) for token in tokenized], np.int64)
        letters = lengths - np.array([token.count(" ") for token in tokenized], np.int64)
        self._tokenized_letters = np.concatenate([[0], np.cumsum(letters)]).tolist()
        stops = np.cumsum(lengths + (lengths > 0) * len(joiner)) - len(joiner)
        self._starts, self._stops = (stops - lengths).tolist(), stops.tolist()

    def project(self, text, first_word, last_word):
        """Returns the part of these words that was tokenized to `text`; all if that fails."""
        first_letter = self._first_letter[first_word]
        stop_letter = self._first_letter[last_word + 1]
        tokenized_letters = self._tokenized_letters[last_word + 1] - self._tokenized_letters[first_word]
        start = self._starts[first_word]
        first = self._tokenized.find(text, start, self._stops[last_word])
        if first < 0 or not text or tokenized_letters != stop_letter - first_letter:
            return self._original_of(first_letter, stop_letter)
        first_letter += first - start - self._tokenized.count(" ", start, first)
        return self._original_of(first_letter, first_letter + len(text) - text.count(" "))

    def _original_of(self, first_letter, stop_letter):
        return self._original[self._place_of_letter[first_letter] : self._place_of_letter[stop_letter - 1] + 1]


class _PassageTexts:
    """The texts of the spans of one passage."""

    def __init__(self, text, pieces, vocabulary, joiner, tokenizer, joined_tokens):
        self._words, self._joiner, self._tokenizer = text.words, joiner, tokenizer
        self._pieces = [vocabulary.pieces[index] for index in pieces.ids.tolist()]
        self._word_of = pieces.word_of.tolist()
        self._alignment = None
        if _tokens_are_those_of_words(text.context, joiner):
            tokens = list(map(joined_tokens, text.words))
            self._alignment = _Alignment(text.words, tokens, joiner)

    def __call__(self, first, last):
        """Returns the text of the pieces `first` to `last`."""
        joined = self._joiner.join(self._pieces[first : last + 1]).replace(" ##", "").replace("##", "")
        text = " ".join(joined.split())
        first_word, last_word = self._word_of[first], self._word_of[last]
        if self._alignment is not None:
            return self._alignment.project(text, first_word, last_word)
        words = self._joiner.join(self._words[first_word : last_word + 1])
        return project(text, words, self._joiner, self._tokenizer)


class _PassageTextsByOffsets:
    """The texts of the spans of one passage, cut out by the offsets of its pieces in words."""

    def __init__(self, text, pieces, tokenizer, joiner):
        self._words, self._pieces, self._joiner = text.words, pieces, joiner
        self._tokenizer = tokenizer

    def _offsets(self, piece):
        word = self._pieces.word_of[piece]
        number = piece - self._pieces.first_piece[word]
        return word, self._tokenizer.offsets(self._words[word])[number]

    def __call__(self, first, last):
        """Returns the text of the pieces `first` to `last`; their words where it is empty."""
        (first_word, (begin, _)), (last_word, (_, end)) = self._offsets(first), self._offsets(last)
        text = self._joiner.join(self._words[first_word : last_word + 1])
        return text[begin : len(text) - len(self._words[last_word]) + end].strip() or text


def _in_turn(logits, places, order):
    """Yields the rows of both arrays in the given order, converted to Python numbers on demand."""
    for start in range(0, len(order), _PAIRS_AT_A_TIME):
        part = order[start : start + _PAIRS_AT_A_TIME]
        yield from zip(logits[part].tolist(), places[part].tolist())


class Decoder:
    """Turns the best positions of a question's windows into its answers, one per cell.

    Args:
      windows: `windows.Windows`.
      vocabulary: the `Vocabulary` of the windows.
      dataset: `datasets.Dataset`.
      do_lower_case: as for the tokenizer of the windows.
      n_best_size: maximum number of texts in an n-best list.
      max_answer_length: maximum number of word pieces in an answer.
      with_negatives: whether a question may have no answer (SQuAD 2.0).
      null_threshold: null odds above which the answer is "".
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
        self._tokenizer = BasicTokenizer(do_lower_case)
        # Each word is tokenized once per run.
        self._joined_tokens = functools.lru_cache(maxsize=None)(
            lambda word: dataset.joiner.join(self._tokenizer.tokenize(word))
        )
        self._n_best_size = n_best_size
        self._max_answer_length = min(max_answer_length, windows.max_seq_length)
        self._with_negatives, self._null_threshold = with_negatives, null_threshold
        self._texts_of_passage = (None, None)

    def answer(self, example, rows, best):
        """Returns the `Answer` of each of C cells to one question.

        Args:
          example: index of the example.
          rows: indices of its W windows.
          best: dict of start_values, start_places, end_values, end_places [W, C, K] and
            start_nulls, end_nulls [W, C], as from `SpanModel.best_positions`.
        """
        num_cells = best["start_nulls"].shape[1]
        pairs = self._pairs(example, rows, best) if len(rows) else [()] * num_cells
        texts = self._texts(example)
        return [self._cell_answer(cell, pairs[cell], texts, best) for cell in range(num_cells)]

    def _texts(self, example):
        """Returns the texts of the passage, cached because successive questions mostly share it."""
        passage = self._windows.passage_of[example]
        if self._texts_of_passage[0] != passage:
            text, pieces = self._windows.examples[example].text, self._windows.passages[passage]
            tokenizer, joiner = self._windows.tokenizer, self._dataset.joiner
            if tokenizer.refines_by_offsets:
                texts = _PassageTextsByOffsets(text, pieces, tokenizer, joiner)
            else:
                tokens = self._tokenizer, self._joined_tokens
                texts = _PassageTexts(text, pieces, self._vocabulary, joiner, *tokens)
            self._texts_of_passage = passage, functools.lru_cache(maxsize=None)(texts)
        return self._texts_of_passage[1]

    def _pairs(self, example, rows, best):
        """Returns for each cell an iterator of its allowed pairs, best first.

        A pair is ((sum, start logit, end logit), (first piece, last piece, start place, end
        place)); ties are in the order of window, start and end.
        """
        spans, first_place = self._windows.spans(example), int(self._windows.passage_start(rows[0]))
        may_start = np.zeros([len(rows), self._windows.max_seq_length], bool)
        may_end = np.zeros_like(may_start)
        for window, span in enumerate(spans):
            may_start[window, first_place : first_place + span.length] = span.best_here
            may_end[window, first_place : first_place + span.length] = True
        # To [C, W, K], because pairs are sorted by cell.
        best = {name: values.swapaxes(0, 1) for name, values in best.items()}
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
        cell, window, start = cell[pair], window[pair], start[pair]
        first, last = first[pair], lasts[pair, end]
        logits = np.empty([len(pair), 3])
        logits[:, 1] = best["start_values"][cell, window, start]
        logits[:, 2] = best["end_values"][cell, window, end]
        logits[:, 0] = logits[:, 1] + logits[:, 2]
        shift = np.array([span.start for span in spans])[window] - first_place
        places = np.stack([first + shift, last + shift, first, last], axis=1)
        order = np.lexsort((-logits[:, 0], cell))  # a stable sort
        bounds = np.searchsorted(cell[order], np.arange(len(starts) + 1)).tolist()
        return [_in_turn(logits, places, order[low:high]) for low, high in zip(bounds, bounds[1:])]

    def _null_entry(self, cell, best):
        logits = [best[name][:, cell].astype(float) for name in ("start_nulls", "end_nulls")]
        if not len(logits[0]):
            return Entry("", 0.0, 0.0, 0, 0)
        window = int(np.argmin(sum(logits)))
        return Entry("", *(float(each[window]) for each in logits), 0, 0)

    def _n_best(self, pairs, texts, null):
        """Returns the n-best list; the null answer is in it at its rank, else at the end."""
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
