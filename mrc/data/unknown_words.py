# SPDX-License-Identifier: Apache-2.0
"""Reports text that the vocabulary cannot spell: its words become the unknown piece."""

import collections

import numpy as np

from mrc.data.windows import Windows
from mrc.util.errors import InputError, warn
from tokenization import is_ideograph

# Shares of the word pieces with letters. In English and Chinese data, BERT's vocabularies leave at
# most 0.3 % unknown; without lower-casing, an uncased one leaves 1 % of Chinese and 10 to 25 % of
# English data unknown, and an English one leaves 70 % of Chinese data unknown.
_CAPITALS, _SOME, _ALMOST_ALL = 0.005, 0.1, 0.8
_WORDS_SHOWN, _CHARACTERS_SHOWN = 3, 20
_REMEDY = (
    "use the vocabulary that came with the checkpoint, and a model of the language of the data; "
    "split text without spaces between words, such as Thai, into words first"
)
_LOWER_CASE = "the vocabulary has these words in lower case: if the model is uncased, pass --do_lower_case=True"


def _count(windows, unknown):
    """Returns how often each word of the passages has the unknown piece, a `Counter`."""
    texts = dict(zip(windows.passage_of, (example.text for example in windows.examples)))
    counts = collections.Counter()
    for number, passage in enumerate(windows.passages):
        places = passage.word_of[passage.ids == unknown].tolist()
        counts.update(texts[number].words[place] for place in places)
    return counts


def _listed(counts):
    words = [word for word, _ in counts.most_common(_WORDS_SHOWN)]
    return ", ".join(f'"{word[:_CHARACTERS_SHOWN]}"' for word in words) or "in questions"


def _warn(path, vocabulary, share, counts, remedy):
    warn(
        f"{path}: {100 * share:.1f} % of the word pieces with letters are {vocabulary.unknown} ({_listed(counts)}); {remedy}"
    )


def warn_of_chinese(windows: Windows, path: str):
    """Warns if text that is read as words with spaces is mostly Chinese."""
    texts = "".join(dict.fromkeys(example.text.context for example in windows.examples[:100]))
    if 2 * sum(map(is_ideograph, texts)) > len(texts):
        warn(f"{path} is mostly Chinese; run_cmrc2018.py reads and scores it by characters")


def check(windows: Windows, path: str):
    """Warns if a part of the text is unknown to the vocabulary.

    Args:
      windows: of the data.
      path: of the data file.

    Raises:
      InputError: almost all of both the questions and the passages is.
    """
    tokenizer = windows.tokenizer
    vocabulary = tokenizer.vocabulary
    (unknown,) = vocabulary.to_ids([vocabulary.unknown])
    has_letter = np.array([any(map(str.isalpha, piece)) for piece in vocabulary.pieces])

    def share_in(pieces):
        ids = np.concatenate(pieces)
        ids = ids[has_letter[ids]]
        return np.mean(ids == unknown) if len(ids) else 0.0

    passages = [passage.ids for passage in windows.passages]
    share = share_in(windows.question_ids + passages)
    if share < _CAPITALS:
        return
    counts = _count(windows, unknown)
    if min(share_in(windows.question_ids), share_in(passages)) >= _ALMOST_ALL:
        raise InputError(
            f"{share:.0%} of the word pieces with letters in {path} are {vocabulary.unknown} "
            f"({_listed(counts)}), so the model cannot read it; {_REMEDY}"
        )
    capitals = collections.Counter(
        {word: counts[word] for word in counts if unknown not in tokenizer.word_ids(word.lower())}
    )
    # Of the questions, only the pieces are kept; their words are taken to be as in the passages.
    share_of_capitals = share * sum(capitals.values()) / max(sum(counts.values()), 1)
    if share - share_of_capitals >= _SOME:
        _warn(path, vocabulary, share, counts, _REMEDY)
    elif share_of_capitals >= _CAPITALS:
        _warn(path, vocabulary, share_of_capitals, capitals, _LOWER_CASE)
