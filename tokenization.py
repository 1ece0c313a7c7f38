# SPDX-License-Identifier: Apache-2.0
"""WordPiece tokenization as in BERT (Devlin et al., 2019, section 3; Wu et al., 2016, section 4.1).

Text is cleaned and split into basic tokens (words and single punctuation marks), and each of these
into the longest pieces in the vocabulary. Characters are classified once and words split once per
run, so the time is linear in the length of the text.
"""

import collections
import unicodedata

from mrc.util.errors import InputError, warn
from mrc.util.files import read_text

UNKNOWN = "[UNK]"
LONGEST_WORD = 200  # characters; a longer word becomes [UNK]
SPECIAL_TOKENS = (UNKNOWN, "[CLS]", "[SEP]")  # padding is row 0, regardless of its name
_ASCII_SPACE = " \t\r\v\f"

# The blocks of CJK ideographs that BERT lists, up to extension E.
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
    """Whether `char` is in one of the eight CJK blocks that BERT lists."""
    return _within(ord(char), IDEOGRAPH_BLOCKS)


def is_punctuation(char):
    """Whether `char` is a non-alphanumeric ASCII mark (even `$`) or of a Unicode category P*."""
    return _within(ord(char), _ASCII_PUNCTUATION) or unicodedata.category(char).startswith("P")


class _CharacterTable(dict):
    """A table for `str.translate` that calls `rule(char)` once per distinct character."""

    def __init__(self, rule):
        super().__init__()
        self._rule = rule

    def __missing__(self, code):
        self[code] = result = self._rule(chr(code))
        return result


def _cleaned(char):
    """Returns what replaces `char`: "", " ", itself, or an ideograph between spaces."""
    if char in "\t\n\r " or unicodedata.category(char) == "Zs":
        return " "
    if char == "\ufffd" or unicodedata.category(char).startswith("C"):
        return ""
    return f" {char} " if is_ideograph(char) else char


def _apart(char):
    return f" {char} " if is_punctuation(char) else char


def _without_accents(char):
    parts = unicodedata.normalize("NFD", char)
    return "".join(part for part in parts if unicodedata.category(part) != "Mn")


class BasicTokenizer:
    """Splits text into words, single punctuation marks and single ideographs.

    Args:
      do_lower_case: whether tokens are lower-cased and accents stripped.
    """

    def __init__(self, do_lower_case):
        self._do_lower_case = do_lower_case
        self._clean = _CharacterTable(_cleaned)
        self._strip = _CharacterTable(_without_accents)
        self._split = _CharacterTable(_apart)

    def tokenize(self, text):
        """Returns the list of basic tokens of `text`."""
        if text.isalnum() and text.isascii():  # a plain word, the common case
            return [text.lower() if self._do_lower_case else text]
        text = text.translate(self._clean)
        if self._do_lower_case:
            # Word by word: the lower case of a Greek sigma depends on its position in the word.
            text = " ".join(word.lower() for word in text.split())
            # Accents are removed before the marks that stay are put in their canonical order,
            # because the time to order a run of marks is quadratic in its length.
            text = unicodedata.normalize("NFD", text.translate(self._strip))
        return text.translate(self._split).split()


class Vocabulary:
    """The word pieces of a model; the id of a piece is its line number, from 0.

    Args:
      pieces: the lines of the vocabulary file; the id of a repeated piece is its last line.

    Attributes:
      unknown: the piece of a word that the others cannot spell.
      longest_word: a word of more characters is unknown.
    """

    unknown = UNKNOWN

    def __init__(self, pieces):
        self.pieces = list(pieces)
        self.ids = {piece: index for index, piece in enumerate(self.pieces)}
        self.longest_word = LONGEST_WORD

    def __len__(self):
        return len(self.pieces)

    def to_ids(self, pieces):
        """Returns the ids of `pieces`, which must all be in the vocabulary."""
        return [self.ids[piece] for piece in pieces]

    def tokenizer(self, do_lower_case):
        """Returns the tokenizer of these pieces."""
        return WordPieceTokenizer(self, do_lower_case)


def _warn_of_odd_lines(vocabulary, path):
    pieces = [piece for piece in vocabulary.pieces if piece]
    twice = [piece for piece, count in collections.Counter(pieces).items() if count > 1]
    if twice:
        shown = ", ".join(f'"{piece}"' for piece in twice[:3])
        warn(f"the vocabulary {path} repeats pieces ({len(twice)}: {shown}); the id is the last line of each")
    if len(pieces) < len(vocabulary):
        warn(
            f"the vocabulary {path}: {len(vocabulary) - len(pieces)} lines are blank (the first is "
            f"line {vocabulary.pieces.index('') + 1}); these ids are not used"
        )


def _piece(line):
    """Returns the piece on a line: stripped, but a line of Unicode spaces alone is a piece itself.

    Google's Chinese vocabulary has a line that is only U+2028.
    """
    return line.strip() or line.strip(_ASCII_SPACE)


def read_vocabulary(path: str) -> Vocabulary:
    """Returns the `Vocabulary` of a file with one piece a line; blank last lines do not count.

    Raises:
      InputError: the file is missing, not UTF-8, or lacks one of BERT's special tokens.
    """
    text = read_text(path, "vocabulary")
    if not text.strip(_ASCII_SPACE + "\n"):
        raise InputError(f"the vocabulary {path} is empty; use the vocab.txt of the checkpoint")
    pieces = [_piece(line) for line in text.split("\n")]
    while not pieces[-1]:
        pieces.pop()
    vocabulary = Vocabulary(pieces)
    missing = [token for token in SPECIAL_TOKENS if token not in vocabulary.ids]
    if missing:
        raise InputError(f"the vocabulary {path} lacks {', '.join(missing)}; use the vocab.txt of the checkpoint")
    _warn_of_odd_lines(vocabulary, path)
    return vocabulary


class WordPieceTokenizer:
    """Splits basic tokens into the longest pieces of a `Vocabulary`, greedily from the left."""

    refines_by_offsets = False

    def __init__(self, vocabulary, do_lower_case):
        self.vocabulary = vocabulary
        self._basic = BasicTokenizer(do_lower_case)
        self._longest = max((len(piece) for piece in vocabulary.ids), default=0)
        self._pieces_of = {}
        self._ids_of = {}
        self._kept_of = {}

    def _cut(self, token):
        """Returns the pieces of one basic token, or the unknown token alone."""
        if len(token) > self.vocabulary.longest_word:
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
        """Returns the ids of the pieces of `word` as a tuple; each word is split once per run."""
        ids = self._ids_of.get(word)
        if ids is None:
            ids = self._ids_of[word] = tuple(self.vocabulary.to_ids(self.tokenize(word)))
        return ids

    def text_ids(self, text):
        """Returns the list of ids of the pieces of `text`; each word is split once per run."""
        return [number for word in text.split(" ") for number in self.word_ids(word)]

    def offsets(self, word):
        """Returns (begin, end) in `word` of each of its pieces.

        >>> WordPieceTokenizer(Vocabulary(["(", "caf", "##e", "[UNK]"]), True).offsets("(Café")
        [(0, 1), (1, 4), (4, 5)]
        """
        # Characters are cleaned one by one, so each kept one comes from one place.
        places = [place for place, char in enumerate(word) for _ in self._kept(char)]
        tokens = self._basic.tokenize(word)
        if len(places) != sum(map(len, tokens)):
            return [(0, len(word))] * len(self.word_ids(word))
        offsets, done = [], 0
        for token in tokens:
            pieces = self.tokenize(token)
            lengths = [len(piece) - 2 * (number > 0) for number, piece in enumerate(pieces)]
            for length in [len(token)] if pieces == [UNKNOWN] else lengths:
                offsets.append((places[done], places[done + length - 1] + 1))
                done += length
        return offsets

    def _kept(self, char):
        """Returns the characters of the basic tokens of one character; it is split once per run."""
        kept = self._kept_of.get(char)
        if kept is None:
            kept = self._kept_of[char] = "".join(self._basic.tokenize(char))
        return kept

    def text_offsets(self, text):
        """Returns (begin, end) in `text` of each piece of `text_ids`."""
        offsets, start = [], 0
        for word in text.split(" "):
            offsets += [(start + begin, start + end) for begin, end in self.offsets(word)]
            start += len(word) + 1
        return offsets
