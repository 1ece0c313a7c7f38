# SPDX-License-Identifier: Apache-2.0
"""SentencePiece tokenization as in English ALBERT (Lan et al., 2020; Kudo and Richardson, 2018).

Each word is normalized, lower-cased and cut into the pieces of a sentencepiece model. A piece is
located in its word by offsets, because normalization may change the number of characters.
"""

import bisect
import functools
import itertools
import re
import unicodedata
from typing import List, NamedTuple, Tuple

from mrc.util import files
from mrc.util.errors import InputError, first_line
from tokenization import Vocabulary

SPACE = "\u2581"  # begins the first piece of a word
SPECIAL_TOKENS = ("<unk>", "[CLS]", "[SEP]")  # padding is row 0, <pad> in ALBERT
_REMEDY = "use the spiece.model that came with the checkpoint"
_WORD = re.compile(r"\S+")
_QUOTES = ("``", "''")  # written as one mark


class _Piece(NamedTuple):
    """A piece: its text, its id, and where it begins and ends in the text that was cut."""

    text: str
    id: int
    begin: int
    end: int


class SentencePieces(Vocabulary):
    """The pieces of a sentencepiece model, a `sentencepiece.SentencePieceProcessor`."""

    unknown = "<unk>"

    def __init__(self, processor):
        super().__init__(processor.id_to_piece(number) for number in range(len(processor)))
        self.processor = processor

    def tokenizer(self, do_lower_case: bool) -> "SentencePieceTokenizer":
        return SentencePieceTokenizer(self, do_lower_case)


def read(path: str) -> SentencePieces:
    """Returns the pieces of a sentencepiece model file.

    Raises:
      InputError: the sentencepiece package or the file is missing, or it is not such a model.
    """
    try:
        import sentencepiece
    except ImportError:
        raise InputError(f"reading {path} needs the sentencepiece package: pip install -r requirements/huggingface.txt")
    data = files.read_bytes(path, "sentencepiece model")
    if not data:
        raise InputError(f"the sentencepiece model {path} is empty; {_REMEDY}")
    try:
        pieces = SentencePieces(sentencepiece.SentencePieceProcessor(model_proto=data))
    except RuntimeError as error:
        raise InputError(f"{path} is not a sentencepiece model ({first_line(error)}); {_REMEDY}")
    missing = [token for token in SPECIAL_TOKENS if token not in pieces.ids]
    if missing:
        raise InputError(f"the sentencepiece model {path} lacks {', '.join(missing)}; {_REMEDY}")
    return pieces


def _without_accents(char):
    return "".join(part for part in unicodedata.normalize("NFKD", char) if not unicodedata.combining(part))


def normalize(word: str, do_lower_case: bool) -> Tuple[str, List[int]]:
    """Returns ALBERT's normalized text of a word, and the place in `word` of each character.

    The last place is the length of the word.

    >>> normalize("Cafe\u0301s", True)
    ('cafes', [0, 1, 2, 3, 5, 6])
    """
    text, places, place = "", [], 0
    while place < len(word):
        is_quote = word.startswith(_QUOTES, place)
        replaced = '"' if is_quote else _without_accents(word[place])
        text += replaced
        places += [place] * len(replaced)
        place += 2 if is_quote else 1
    # Without accents, the lower case of a text is as long as the text.
    return text.lower() if do_lower_case else text, places + [len(word)]


class SentencePieceTokenizer:
    """Cuts words into the pieces of a `SentencePieces`; each word is cut once per run."""

    refines_by_offsets = True

    def __init__(self, vocabulary, do_lower_case):
        self.vocabulary, self._do_lower_case = vocabulary, do_lower_case
        self._cut_once = functools.lru_cache(maxsize=None)(self._cut)

    def _encoded(self, text):
        encoded = self.vocabulary.processor.encode(text, out_type="immutable_proto")
        return [_Piece(each.piece, each.id, each.begin, each.end) for each in encoded.pieces]

    def _number_and_comma(self, piece):
        """Returns the pieces of the number and of the comma in a piece like "▁1902,"."""
        number = piece.text[:-1].replace(SPACE, "")
        shift = piece.end - 1 - len(number)
        pieces = [each._replace(begin=each.begin + shift, end=each.end + shift) for each in self._encoded(number)]
        if not piece.text.startswith(SPACE) and pieces[0].text.startswith(SPACE):
            rest = pieces[0].text[len(SPACE) :]
            first = pieces[0]._replace(text=rest, id=self._id(rest))
            pieces[:1] = [first] if rest else []
        return pieces + [_Piece(",", self._id(","), piece.end - 1, piece.end)]

    def _id(self, text):
        return self.vocabulary.processor.piece_to_id(text)

    def _cut(self, word):
        """Returns the ids of the pieces of a word, and their (begin, end) in it."""
        text, places = normalize(word, self._do_lower_case)
        pieces = []
        for piece in self._encoded(text):
            is_number = piece.text.endswith(",") and piece.text[-2:-1].isdigit()
            pieces.extend(self._number_and_comma(piece) if is_number else [piece])
        offsets = []
        for piece in pieces:
            begin = end = places[piece.begin]
            if piece.begin < piece.end:  # a lone SPACE is nowhere in the word
                end = places[bisect.bisect_right(places, places[piece.end - 1])]
            offsets.append((begin, end))
        return tuple(piece.id for piece in pieces), offsets

    def word_ids(self, word):
        """Returns the ids of the pieces of `word` as a tuple."""
        return self._cut_once(word)[0]

    def text_ids(self, text):
        """Returns the list of ids of the pieces of `text`."""
        return list(itertools.chain.from_iterable(map(self.word_ids, text.split())))

    def offsets(self, word):
        """Returns (begin, end) in `word` of each of its pieces."""
        return self._cut_once(word)[1]

    def text_offsets(self, text):
        """Returns (begin, end) in `text` of each piece of `text_ids`."""
        return [
            (match.start() + begin, match.start() + end)
            for match in _WORD.finditer(text)
            for begin, end in self.offsets(match.group())
        ]
