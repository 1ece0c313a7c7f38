# SPDX-License-Identifier: Apache-2.0
"""WordPiece tokenization as BERT defines it (Devlin et al., 2019, section 3; Wu et al., 2016, section 4.1).

Text is cleaned, cut into basic tokens (words and single punctuation marks), and each of these into the longest pieces
that the vocabulary has. Characters are classified once each and words cut once each in a run, so that long texts cost
linear time.
"""

import collections
import unicodedata

import tensorflow.compat.v1 as tf

from mrc.util.errors import InputError
from mrc.util.files import read_text

UNKNOWN = "[UNK]"
LONGEST_WORD = 200  # characters; a longer word is unknown
SPECIAL_TOKENS = (UNKNOWN, "[CLS]", "[SEP]")  # padding is row 0, whatever that is

# The blocks of CJK ideographs, without their extensions past E, as BERT lists them.
IDEOGRAPH_BLOCKS = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)
_ASCII_PUNCTUATION = ((33, 47), (58, 64), (91, 96), (123, 126))


def _within(code, ranges):
    return any(first <= code <= last for first, last in ranges)


def is_ideograph(char):
    """Whether `char` lies in one of the eight CJK blocks that BERT lists."""
    return _within(ord(char), IDEOGRAPH_BLOCKS)


def is_punctuation(char):
    """Whether `char` is a non-alphanumeric ASCII mark (`$` and `^` too) or of a Unicode category P*."""
    return _within(ord(char), _ASCII_PUNCTUATION) or unicodedata.category(char).startswith("P")


class _CharacterTable(dict):
    """A table for `str.translate` that asks `rule(char)` once for each character it meets."""

    def __init__(self, rule):
        super().__init__()
        self._rule = rule

    def __missing__(self, code):
        self[code] = result = self._rule(chr(code))
        return result


def _cleaned(char):
    """What stands for `char` in clean text: itself, nothing, or, with spaces, an ideograph or white space."""
    if char in "\t\n\r " or unicodedata.category(char) == "Zs":
        return " "
    if char == "\ufffd" or unicodedata.category(char).startswith("C"):
        return ""
    return f" {char} " if is_ideograph(char) else char


def _apart(char):
    return f" {char} " if is_punctuation(char) else char


def _apart_without_accents(char):
    return "" if unicodedata.category(char) == "Mn" else _apart(char)


class BasicTokenizer:
    """Cuts text into words and single punctuation marks and ideographs, lower-cased without accents if asked."""

    def __init__(self, do_lower_case):
        self._do_lower_case = do_lower_case
        self._clean = _CharacterTable(_cleaned)
        self._split = _CharacterTable(_apart_without_accents if do_lower_case else _apart)

    def tokenize(self, text):
        """Returns the list of basic tokens of `text`."""
        if text.isalnum() and text.isascii():  # a plain word, as most are
            return [text.lower() if self._do_lower_case else text]
        text = text.translate(self._clean)
        if self._do_lower_case:
            # Word by word because a Greek sigma is lower-cased by what follows it in the word.
            text = unicodedata.normalize("NFD", " ".join(word.lower() for word in text.split()))
        return text.translate(self._split).split()


class Vocabulary:
    """The word pieces of a model: ids by piece, and pieces by id (a piece's id is its line number from 0).

    Args:
      pieces: one piece a line of the vocabulary file; of equal pieces the last one's id is used.
    """

    def __init__(self, pieces):
        self.pieces = list(pieces)
        self.ids = {piece: index for index, piece in enumerate(self.pieces)}

    def __len__(self):
        return len(self.pieces)

    def to_ids(self, pieces):
        """Returns the ids of `pieces`, all of which the vocabulary must have."""
        return [self.ids[piece] for piece in pieces]


def _warn_of_odd_lines(vocabulary, path):
    pieces = [piece for piece in vocabulary.pieces if piece]
    twice = [piece for piece, count in collections.Counter(pieces).items() if count > 1]
    if twice:
        tf.logging.warning(
            "the vocabulary %s: %d pieces occur more than once (%s); the last line of each "
            "counts",
            path,
            len(twice),
            ", ".join(f'"{piece}"' for piece in twice[:3]),
        )
    lines = vocabulary.pieces
    last = max(index for index, piece in enumerate(lines) if piece)
    if "" in lines[:last]:  # blank lines at the end only pad the vocabulary
        tf.logging.warning(
            "the vocabulary %s: %d lines are blank (the first is line %d); no text becomes such a "
            "piece",
            path,
            lines[:last].count(""),
            lines.index("") + 1,
        )


def read_vocabulary(path):
    """Returns the `Vocabulary` of a file with one piece a line, white space around it dropped.

    A line that is only U+2028 is a token, as in Google's Chinese vocabulary.

    Raises:
      InputError: the file is missing, not UTF-8, or lacks one of BERT's special tokens.
    """
    text = read_text(path, "vocabulary")
    if not text.strip():
        raise InputError(
            f"the vocabulary {path} is empty; use the vocab.txt that came with the checkpoint"
        )
    lines = text.split("\n")
    if lines and not lines[-1]:
        lines.pop()
    vocabulary = Vocabulary(line.strip() or line.strip(" \t\r") for line in lines)
    missing = [token for token in SPECIAL_TOKENS if token not in vocabulary.ids]
    if missing:
        raise InputError(
            "the vocabulary {} lacks {}; use the vocab.txt that came with the checkpoint".format(
                path, ", ".join(missing)
            )
        )
    _warn_of_odd_lines(vocabulary, path)
    return vocabulary


class WordPieceTokenizer:
    """Basic tokens cut into the longest pieces of a `Vocabulary`, greedily from the left."""

    def __init__(self, vocabulary, do_lower_case):
        self.vocabulary = vocabulary
        self._basic = BasicTokenizer(do_lower_case)
        self._longest = max((len(piece) for piece in vocabulary.ids), default=0)
        self._pieces_of = {}
        self._ids_of = {}

    def _cut(self, token):
        """Returns the pieces of one basic token, or the unknown token alone."""
        if len(token) > LONGEST_WORD:
            return [UNKNOWN]
        ids, pieces, start = self.vocabulary.ids, [], 0
        while start < len(token):
            prefix = "##" if start else ""
            for end in range(min(len(token), start + self._longest), start, -1):
                piece = prefix + token[start:end]
                if piece in ids:
                    break
            else:
                return [UNKNOWN]
            pieces.append(piece)
            start = end
        return pieces

    def tokenize(self, text):
        """Returns the list of word pieces of `text`."""
        pieces = []
        for token in self._basic.tokenize(text):
            if token not in self._pieces_of:
                self._pieces_of[token] = self._cut(token)
            pieces.extend(self._pieces_of[token])
        return pieces

    def word_ids(self, word):
        """Returns the ids of the pieces of `word` as a tuple; a word is cut once in a run."""
        ids = self._ids_of.get(word)
        if ids is None:
            ids = self._ids_of[word] = tuple(self.vocabulary.to_ids(self.tokenize(word)))
        return ids

    def text_ids(self, text):
        """Returns the list of ids of the pieces of `text`; its words, between spaces, are cut once in a run."""
        return [number for word in text.split(" ") for number in self.word_ids(word)]
