# SPDX-License-Identifier: Apache-2.0
"""Reads the vocabulary and tokenizer settings of a Hugging Face model folder."""

import os
from typing import List, NamedTuple, Optional

import tensorflow.compat.v1 as tf

from mrc.util import files
from mrc.util.errors import InputError

VOCABULARY, TOKENIZER, TOKENIZER_CONFIG = "vocab.txt", "tokenizer.json", "tokenizer_config.json"
SENTENCE_PIECES = "spiece.model"


class Tokenizer(NamedTuple):
    """The tokenizer of a model.

    Attributes:
      pieces: its WordPiece vocabulary; None if it has a sentencepiece model instead.
      do_lower_case: its letter case.
      warnings: its differences from the tokenizer of this project.
    """

    pieces: Optional[List[str]]
    do_lower_case: bool
    warnings: List[str]


def _read_object(folder, name) -> Optional[dict]:
    path = os.path.join(folder, name)
    value = files.read_json(path, "tokenizer file") if tf.gfile.Exists(path) else None
    return value if isinstance(value, dict) else None


def _pieces_of_tokenizer(tokenizer, folder):
    model = tokenizer.get("model") if tokenizer else None
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    if isinstance(model, dict) and model.get("type") == "Unigram":
        raise InputError(
            f"{folder} has its sentencepiece model only as {TOKENIZER}, which cannot be imported; "
            f"download {SENTENCE_PIECES} into the folder, too"
        )
    if not isinstance(vocabulary, dict) or model.get("type", "WordPiece") != "WordPiece":
        raise InputError(
            f"{folder} has no {VOCABULARY}, and no WordPiece vocabulary in {TOKENIZER}; download "
            "the whole model folder"
        )
    numbered = {number: piece for piece, number in vocabulary.items() if isinstance(number, int)}
    for entry in tokenizer.get("added_tokens") or ():
        numbered.setdefault(entry.get("id"), entry.get("content"))
    return [numbered.get(number, "") for number in range(max(numbered) + 1)]


def _pieces(folder, family, tokenizer) -> Optional[List[str]]:
    path = os.path.join(folder, VOCABULARY)
    if not tf.gfile.Exists(path):
        if family == "albert" and tf.gfile.Exists(os.path.join(folder, SENTENCE_PIECES)):
            return None
        return _pieces_of_tokenizer(tokenizer, folder)
    pieces = [piece.rstrip("\r") for piece in files.read_text(path, "vocabulary").split("\n")]
    while pieces and not pieces[-1]:
        pieces.pop()
    return pieces


def read(folder: str, family: str = "bert") -> Tokenizer:
    """Returns the `Tokenizer` of a model folder.

    Pieces come from `vocab.txt`, else from `spiece.model` (ALBERT), else from `tokenizer.json`.
    Letter case comes from `tokenizer_config.json`, else from the normalizer in `tokenizer.json`;
    the default is BERT's, lower case.
    """
    tokenizer = _read_object(folder, TOKENIZER)
    pieces = _pieces(folder, family, tokenizer)
    said = dict((tokenizer or {}).get("normalizer") or {})
    if "lowercase" in said:
        said["do_lower_case"] = said.pop("lowercase")
    said.update(_read_object(folder, TOKENIZER_CONFIG) or {})
    do_lower_case = said.get("do_lower_case", True) is not False
    if pieces is None:
        warnings = []
        if said.get("keep_accents"):
            warnings.append("its tokenizer keeps accents, but this project strips them")
        return Tokenizer(None, do_lower_case, warnings)
    warnings = []
    strips = said.get("strip_accents")  # null: as for lower case
    if strips is not None and bool(strips) != do_lower_case:
        verb, others = ("strips", "keeps") if strips else ("keeps", "strips")
        warnings.append(
            f"its tokenizer {verb} accents, and with --do_lower_case={do_lower_case} this project "
            f"{others} them; words with accents are split differently"
        )
    if said.get("tokenize_chinese_chars", said.get("handle_chinese_chars", True)) is False:
        warnings.append(
            "its tokenizer does not separate Chinese characters, but this project does; Chinese "
            "text is split differently"
        )
    return Tokenizer(pieces, do_lower_case, warnings)
