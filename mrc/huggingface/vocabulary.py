# SPDX-License-Identifier: Apache-2.0
"""Reads the vocabulary and tokenizer settings of a Hugging Face model folder.

A model reads well only the pieces that it was trained on, so a tokenizer that splits text in
another way than BERT's is refused, or named in a warning where only some texts differ.
"""

import os
import re
from typing import Dict, List, NamedTuple, Optional

import tensorflow.compat.v1 as tf

import tokenization
from mrc.answers.predictions_file import shown
from mrc.util import files
from mrc.util.errors import InputError

VOCABULARY, TOKENIZER, TOKENIZER_CONFIG = "vocab.txt", "tokenizer.json", "tokenizer_config.json"
SENTENCE_PIECES = "spiece.model"
_SPECIAL_TOKENS_MAP, _ADDED_TOKENS = "special_tokens_map.json", "added_tokens.json"
_SPACE = "\u2581"  # begins a word in a sentencepiece vocabulary
_CONTINUED = "##"
_LONGEST_WORD = 100  # characters; a longer word is unknown to BERT's tokenizer in transformers
# Classes of tokenizers that split text as BERT's does; PreTrainedTokenizerFast as its file says.
_CLASSES = ("BertTokenizer", "ElectraTokenizer", "DistilBertTokenizer", "PreTrainedTokenizer")
_ALBERT_CLASSES = ("AlbertTokenizer",) + _CLASSES
_SPECIAL = {"unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
_OTHER_SPECIAL = {"pad_token": "[PAD]", "mask_token": "[MASK]"}
_SHOWN = 3  # added tokens in a warning


class Tokenizer(NamedTuple):
    """The tokenizer of a model.

    Attributes:
      pieces: its WordPiece vocabulary; None if it has a sentencepiece model instead.
      do_lower_case: its letter case.
      longest_word: a longer word is unknown to it.
      warnings: its differences from the tokenizer of this project.
    """

    pieces: Optional[List[str]]
    do_lower_case: bool
    longest_word: int
    warnings: List[str]


class _Folder:
    """The tokenizer files of a model folder."""

    def __init__(self, folder, family):
        self.folder, self.family = folder, family
        self.settings = self._read(TOKENIZER_CONFIG)
        self.names = dict(self._read(_SPECIAL_TOKENS_MAP), **self.settings)
        self.fast = self._read(TOKENIZER)
        self.model = self._object(self.fast, "model", TOKENIZER) or {}
        self.has_pieces = self._has(VOCABULARY)

    def _has(self, name):
        return tf.gfile.Exists(os.path.join(self.folder, name))

    def _read(self, name) -> dict:
        path = os.path.join(self.folder, name)
        value = files.read_json(path, "tokenizer file") if self._has(name) else {}
        if not isinstance(value, dict):
            raise self.wrong(name, f"is {shown(value)}, not an object")
        return value

    def wrong(self, name, what):
        return InputError(f"{os.path.join(self.folder, name)} {what}; download the model folder again")

    def _object(self, values, key, name):
        value = values.get(key)
        if value is not None and not isinstance(value, dict):
            raise self.wrong(name, f"has the {key} {shown(value)}, which is not an object")
        return value

    def differs(self, what):
        return InputError(
            f"the tokenizer of {self.folder} {what}, so the model was trained on other pieces than "
            "this project would read; use a model with BERT's tokenizer"
        )

    def special(self, key):
        """Returns the name of a special token, None where the files do not say."""
        value = self.names.get(key)
        value = value.get("content") if isinstance(value, dict) else value
        if value is not None and not isinstance(value, str):
            raise self.wrong(TOKENIZER_CONFIG, f"has the {key} {shown(value)}, which is not a text")
        return value

    def setting(self, key, fast_key, default):
        """Returns a boolean of tokenizer_config.json, else of the normalizer of tokenizer.json."""
        value = self.settings.get(key, self.normalizer().get(fast_key, default))
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
        if value is not None and not isinstance(value, bool):
            raise self.wrong(TOKENIZER_CONFIG, f"has the {key} {shown(value)}; it is true or false")
        return value

    def normalizer(self) -> dict:
        return self._only_step("normalizer", "normalizers") or {}

    def _only_step(self, key, steps_key):
        """Returns a step of tokenizer.json, also one that is alone in a sequence."""
        step = self._object(self.fast, key, TOKENIZER)
        if step and step.get("type") == "Sequence":
            steps = step.get(steps_key)
            if isinstance(steps, list) and len(steps) == 1 and isinstance(steps[0], dict):
                return steps[0]
        return step

    def check_class(self):
        name = self.settings.get("tokenizer_class")
        known = _ALBERT_CLASSES if self.family == "albert" else _CLASSES
        if name is not None and str(name).replace("Fast", "") not in known:
            raise self.differs(f"is a {str(name)[:50]}")
        if self.settings.get("do_basic_tokenize") is False:
            raise self.differs("does not split words (do_basic_tokenize is false)")

    def check_steps(self):
        """Checks the steps of a WordPiece tokenizer.json, which transformers prefers to others."""
        if self.model.get("type", "WordPiece") != "WordPiece" or not self.model:
            return
        for key, steps_key, wanted in (
            ("normalizer", "normalizers", "BertNormalizer"),
            ("pre_tokenizer", "pretokenizers", "BertPreTokenizer"),
        ):
            if key not in self.fast:
                continue
            step = self._only_step(key, steps_key)
            name = "none" if step is None else step.get("type", wanted)
            if name != wanted:
                raise self.differs(f"has the {key} {shown(name)} in place of {wanted}")
        prefix = self.model.get("continuing_subword_prefix", _CONTINUED)
        if prefix != _CONTINUED:
            raise self.differs(f"continues words with {shown(prefix)} in place of {_CONTINUED}")
        if self.normalizer().get("clean_text", True) is False:
            raise self.differs("does not clean text")

    def added_tokens(self) -> Dict[str, int]:
        """Returns {token: id} of the tokens that are added to the vocabulary."""
        entries = self.fast.get("added_tokens") or []
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise self.wrong(TOKENIZER, f"has the added_tokens {shown(entries)}")
        listed = [(entry.get("content"), entry.get("id")) for entry in entries]
        decoded = []
        decoder = self._object(self.settings, "added_tokens_decoder", TOKENIZER_CONFIG) or {}
        for number, entry in decoder.items():
            piece = entry.get("content") if isinstance(entry, dict) else None
            decoded.append((piece, int(number) if re.fullmatch("[0-9]{1,9}", number) else None))
        return {
            **self._numbered(self._read(_ADDED_TOKENS).items(), _ADDED_TOKENS),
            **self._numbered(listed, TOKENIZER),
            **self._numbered(decoded, TOKENIZER_CONFIG),
        }

    def _numbered(self, pairs, name):
        """Returns {piece: id} of pairs, checked."""
        numbered = {}
        for piece, number in pairs:
            if not isinstance(piece, str) or type(number) is not int or number < 0:
                raise self.wrong(name, f"has the id {shown(number)} for the piece {shown(piece)}")
            numbered[piece] = number
        return numbered

    def pieces(self, vocab_size) -> Optional[List[str]]:
        """Returns the vocabulary with its added tokens; None for a sentencepiece model."""
        path = os.path.join(self.folder, VOCABULARY)
        if self.has_pieces:
            lines = files.read_text(path, "vocabulary").split("\n")
            by_id = {number: line.rstrip("\r") for number, line in enumerate(lines)}
            while by_id and not by_id[len(by_id) - 1]:
                by_id.popitem()
        elif self.family == "albert" and self._has(SENTENCE_PIECES):
            return None
        else:
            by_id = self._pieces_of_tokenizer()
        for piece, number in self.added_tokens().items():
            by_id.setdefault(number, piece)
        size = 1 + max(by_id, default=-1)
        if size > vocab_size:
            raise InputError(
                f"the vocabulary of {self.folder} has {size} pieces and its config.json "
                f"{vocab_size}; download the model folder again"
            )
        return [by_id.get(number, "") for number in range(size)]

    def _pieces_of_tokenizer(self):
        vocabulary = self.model.get("vocab")
        if self.model.get("type") == "Unigram":
            raise InputError(
                f"{self.folder} has its sentencepiece model only as {TOKENIZER}, which cannot be "
                f"imported; download {SENTENCE_PIECES} into the folder, too"
            )
        if not isinstance(vocabulary, dict) or self.model.get("type", "WordPiece") != "WordPiece":
            raise InputError(
                f"{self.folder} has no {VOCABULARY}, and no WordPiece vocabulary in {TOKENIZER}; "
                "download the whole model folder"
            )
        numbered = self._numbered(vocabulary.items(), TOKENIZER)
        return {number: piece for piece, number in numbered.items()}

    def longest_word(self) -> int:
        value = self.model.get("max_input_chars_per_word", _LONGEST_WORD)
        if type(value) is not int or not 0 < value <= 10**6:
            raise self.wrong(TOKENIZER, f"has the max_input_chars_per_word {shown(value)}")
        return value


def _check_pieces(folder, pieces):
    """Checks that the vocabulary can be written as lines, and that it is one of WordPiece."""
    for piece in pieces:
        if "\n" in piece or "\r" in piece:
            raise folder.wrong(
                VOCABULARY if folder.has_pieces else TOKENIZER,
                f"has the piece {shown(piece)}, with a line break, which a vocab.txt cannot hold",
            )
        try:
            piece.encode("utf-8")
        except UnicodeEncodeError:
            raise folder.wrong(TOKENIZER, f"has the piece {shown(piece)}, which is not Unicode text")
    begun = sum(len(piece) > 1 and piece.startswith(_SPACE) for piece in pieces)
    if begun > sum(piece.startswith(_CONTINUED) for piece in pieces):
        raise folder.differs(f"is a sentencepiece model: {begun} of its pieces begin with {_SPACE}")


def _with_special_names(folder, pieces):
    """Returns the vocabulary with BERT's names for special tokens that have others."""
    pieces = list(pieces)
    for key, name in _SPECIAL.items():
        unknown = folder.model.get("unk_token") if key == "unk_token" else None
        own = folder.special(key) or unknown or name
        if own != name and own in pieces and name not in pieces:
            pieces[pieces.index(own)] = name
        elif own != name:
            raise folder.differs(f"has the {key} {shown(own)} in place of {name}")
    missing = [name for name in _SPECIAL.values() if name not in pieces]
    if missing:
        raise InputError(f"the vocabulary of {folder.folder} lacks {', '.join(missing)}; download the model folder again")
    return pieces


def _warnings(folder, do_lower_case, has_pieces):
    if not has_pieces:
        keeps = folder.setting("keep_accents", "keep_accents", False)
        return ["its tokenizer keeps accents, but this project strips them"] if keeps else []
    warnings = []
    strips = folder.setting("strip_accents", "strip_accents", None)  # null: as for lower case
    if strips is not None and strips != do_lower_case:
        verb, others = ("strips", "keeps") if strips else ("keeps", "strips")
        warnings.append(
            f"its tokenizer {verb} accents, and with --do_lower_case={do_lower_case} this project "
            f"{others} them; words with accents are split differently"
        )
    if folder.setting("tokenize_chinese_chars", "handle_chinese_chars", True) is False:
        warnings.append(
            "its tokenizer does not separate Chinese characters, but this project does; Chinese text is split differently"
        )
    names = {**_SPECIAL, **_OTHER_SPECIAL}
    special = {*names.values(), *map(folder.special, names)}
    added = [token for token in folder.added_tokens() if token not in special]
    if added:
        more = f" and {len(added) - _SHOWN} more" if len(added) > _SHOWN else ""
        warnings.append(
            f"its tokenizer keeps added tokens whole ({', '.join(map(shown, added[:_SHOWN]))}"
            f"{more}), but this project splits them; text with them is split differently"
        )
    return warnings


def read(folder: str, vocab_size: int, family: str = "bert") -> Tokenizer:
    """Returns the `Tokenizer` of a model folder.

    Pieces come from `vocab.txt`, else from `spiece.model` (ALBERT), else from `tokenizer.json`.
    Letter case comes from `tokenizer_config.json`, else from the normalizer in `tokenizer.json`;
    the default is BERT's, lower case.

    Raises:
      InputError: a file is damaged, or the tokenizer splits text differently from BERT's.
    """
    read_folder = _Folder(folder, family)
    read_folder.check_class()
    pieces = read_folder.pieces(vocab_size)
    do_lower_case = read_folder.setting("do_lower_case", "lowercase", True) is not False
    if pieces is not None:
        _check_pieces(read_folder, pieces)
        read_folder.check_steps()
        pieces = _with_special_names(read_folder, pieces)
    return Tokenizer(
        pieces,
        do_lower_case,
        read_folder.longest_word() if pieces is not None else tokenization.LONGEST_WORD,
        _warnings(read_folder, do_lower_case, pieces is not None),
    )
