# SPDX-License-Identifier: Apache-2.0
"""Tests of tokenization.py: examples by hand, and a character-wise reference."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tokenization
from mrc.util.errors import InputError
from tokenization import BasicTokenizer, Vocabulary, WordPieceTokenizer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]


@pytest.mark.parametrize(
    "text, words",
    [
        ("Stone  bridge", ["Stone", "bridge"]),
        ("a\tb\nc\rd", ["a", "b", "c", "d"]),
        ("a\u00a0b\u2003c\u202fd\u3000e", ["a", "b", "c", "d", "e"]),  # Zs
        ("a\x00b\ufffdc", ["abc"]),
        ("a\x01b\x7fc\x85d", ["abcd"]),  # Cc
        ("a\u200bb\u00adc\ufeffd", ["abcd"]),  # Cf
        ("a\ue000b\U000f0000c", ["abc"]),  # Co, private use
        ("a\u0378b\U0003ffffc", ["abc"]),  # Cn, unassigned
        ("灯塔tower石", ["灯", "塔", "tower", "石"]),
        (
            "\u3400\U00020000\U0002a700\U0002b740\U0002b820\uf900\U0002f800",
            ["\u3400", "\U00020000", "\U0002a700", "\U0002b740", "\U0002b820", "\uf900", "\U0002f800"],
        ),
        ("ひらカナ한글", ["ひらカナ한글"]),  # kana and hangul are not ideographs
        ("Éclair naïve", ["Éclair", "naïve"]),
        ("it's $5^2 `x` a_b|c~", ["it", "'", "s", "$", "5", "^", "2", "`", "x", "`", "a", "_", "b", "|", "c", "~"]),
        ("“no”—yes…¿", ["“", "no", "”", "—", "yes", "…", "¿"]),
        ("10€ ±2", ["10€", "±2"]),  # symbols outside ASCII are not punctuation
        ("。，", ["。", "，"]),
        ("", []),
        (" \u200b ", []),
    ],
)
def test_basic_tokens(text, words):
    assert BasicTokenizer(do_lower_case=False).tokenize(text) == words


@pytest.mark.parametrize(
    "text, words",
    [
        ("Éclair NAÏVE", ["eclair", "naive"]),
        ("E\u0301clair", ["eclair"]),
        ("ÅNGSTRÖM", ["angstrom"]),
        ("ΛΟΓΟΣ ΣΑΣ.", ["λογος", "σας", "."]),  # the sigma at a word's end
        ("Straße", ["straße"]),
        ("\u0301", []),
        ("A\u037eB", ["a", ";", "b"]),  # NFD turns the Greek question mark into a semicolon
        ("灯Ü塔", ["灯", "u", "塔"]),
    ],
)
def test_lower_cased_basic_tokens(text, words):
    assert BasicTokenizer(do_lower_case=True).tokenize(text) == words


def test_case_and_accents_stay_without_lower_casing():
    assert BasicTokenizer(do_lower_case=False).tokenize("E\u0301CLAIR É") == ["E\u0301CLAIR", "É"]


PIECES = SPECIAL + [
    "lamp",
    "##light",
    "##li",
    "##ghter",
    "lamplit",
    "l",
    "##a",
    "##m",
    ",",
    "灯",
    "x" * 30,
    "##" + "x" * 170,
    "y",
    "##y",
]


@pytest.mark.parametrize(
    "text, pieces",
    [
        ("lamp", ["lamp"]),
        ("lamplight", ["lamp", "##light"]),
        ("lamplit", ["lamplit"]),
        ("lam", ["l", "##a", "##m"]),
        # Greedy: after lamp ##light nothing fits, though ##li ##ghter would.
        ("lamplighter", ["[UNK]"]),
        ("lamp, light", ["lamp", ",", "[UNK]"]),
        ("light", ["[UNK]"]),  # ##light begins no word
        ("灯lamp", ["灯", "lamp"]),
        pytest.param("x" * 200, ["x" * 30, "##" + "x" * 170], id="200 long"),
        pytest.param("x" * 201, ["[UNK]"], id="201 long"),
        pytest.param("y" * 200, ["y"] + ["##y"] * 199, id="200 pieces"),
        pytest.param("y" * 201 + ",y", ["[UNK]", ",", "y"], id="201 and more words"),
        ("[SEP]", ["[UNK]"] * 3),  # special tokens are not special in a text
        ("", []),
    ],
)
def test_word_pieces(text, pieces):
    tokenizer = WordPieceTokenizer(Vocabulary(PIECES), do_lower_case=False)
    assert tokenizer.tokenize(text) == pieces
    assert tokenizer.tokenize(text) == pieces  # and again, from what it remembers
    assert tokenizer.word_ids(text) == tuple(PIECES.index(piece) for piece in pieces)


def vocabulary_file(folder, content):
    path = folder / "vocab.txt"
    path.write_bytes(content.encode("utf-8"))
    return str(path)


@pytest.mark.parametrize(
    "content, pieces",
    [
        ("\n".join(SPECIAL + ["lamp"]), SPECIAL + ["lamp"]),
        ("\n".join(SPECIAL + ["lamp", ""]), SPECIAL + ["lamp"]),
        ("\r\n".join(SPECIAL + ["lamp", ""]), SPECIAL + ["lamp"]),
        ("\n".join(SPECIAL + [" lamp\t", "灯", ""]), SPECIAL + ["lamp", "灯"]),
        ("\ufeff" + "\n".join(SPECIAL), SPECIAL),
        ("\n".join(SPECIAL + ["", "lamp", ""]), SPECIAL + ["", "lamp"]),
        # Only a line feed ends a line.
        ("\n".join(SPECIAL + ["lamp\u2028", "x\x0by"]), SPECIAL + ["lamp", "x\x0by"]),
    ],
)
def test_vocabulary_file(tmp_path, content, pieces):
    assert tokenization.read_vocabulary(vocabulary_file(tmp_path, content)).pieces == pieces


def test_later_of_equal_pieces_wins(tmp_path):
    pieces = SPECIAL + ["lamp", "oil", "lamp"]
    vocabulary = tokenization.read_vocabulary(vocabulary_file(tmp_path, "\n".join(pieces)))
    assert len(vocabulary) == 7 and vocabulary.to_ids(["lamp", "oil"]) == [6, 5] and vocabulary.pieces[4] == "lamp"


@pytest.mark.parametrize(
    "content, message",
    [
        ("lamp\n[UNK]\n[CLS]\n", "lacks [SEP]; use the vocab.txt of the checkpoint"),
        ("", "is empty; use the vocab.txt of the checkpoint"),
    ],
)
def test_vocabulary_without_special_tokens(tmp_path, content, message):
    with pytest.raises(InputError) as error:
        tokenization.read_vocabulary(vocabulary_file(tmp_path, content))
    assert message in str(error.value)


# The reference, character by character.

CJK = [
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
]
ASCII_MARKS = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"


def reference_basic(text, do_lower_case):
    clean = []
    for char in text:
        category = unicodedata.category(char)
        if char in "\t\n\r" or category == "Zs":
            clean.append(" ")
        elif char == "\ufffd" or category[0] == "C":
            continue
        elif any(first <= ord(char) <= last for first, last in CJK):
            clean.extend([" ", char, " "])
        else:
            clean.append(char)
    tokens = []
    for word in "".join(clean).split():
        if do_lower_case:
            word = "".join(char for char in unicodedata.normalize("NFD", word.lower()) if unicodedata.category(char) != "Mn")
        token = ""
        for char in word:
            if char in ASCII_MARKS or unicodedata.category(char)[0] == "P":
                tokens.extend([token, char])
                token = ""
            else:
                token += char
        tokens.append(token)
    return [token for token in tokens if token]


def reference_pieces(token, vocabulary):
    pieces, rest = [], token
    while rest:
        prefix = "##" if pieces else ""
        fitting = [rest[:length] for length in range(len(rest), 0, -1) if prefix + rest[:length] in vocabulary]
        if not fitting or len(token) > 200:
            return ["[UNK]"]
        pieces.append(prefix + fitting[0])
        rest = rest[len(fitting[0]) :]
    return pieces


COMMON = " \t\n\rAaÉéß灯塔.,$^`—\u0301\u200b\ufffdΣσİ\u3000\u2028"
TEXTS = st.text(st.one_of(st.characters(), st.sampled_from(COMMON)), max_size=40)


@settings(max_examples=300, deadline=None)
@given(TEXTS, st.booleans())
def test_basic_tokens_equal_the_reference(text, do_lower_case):
    assert BasicTokenizer(do_lower_case).tokenize(text) == reference_basic(text, do_lower_case)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.text("abc", min_size=1, max_size=4), max_size=8),
    st.lists(st.text("abc", min_size=1, max_size=3), max_size=8),
    st.text("abc ,", max_size=30),
)
def test_word_pieces_equal_the_reference(beginnings, continuations, text):
    pieces = SPECIAL + beginnings + ["##" + piece for piece in continuations]
    tokenizer = WordPieceTokenizer(Vocabulary(pieces), do_lower_case=True)
    assert tokenizer.tokenize(text) == [
        piece for token in reference_basic(text, True) for piece in reference_pieces(token, set(pieces))
    ]


@settings(max_examples=50, deadline=None)
@given(st.lists(TEXTS, max_size=5))
def test_pieces_of_single_words_equal_those_of_the_text(texts):
    tokenizer = BasicTokenizer(do_lower_case=True)
    assert tokenizer.tokenize(" ".join(texts)) == [token for text in texts for token in tokenizer.tokenize(text)]
