# SPDX-License-Identifier: Apache-2.0
"""Tests of users' data files and vocabularies: unread keys, number ids, padded vocabularies."""

import gzip
import json

import pytest
import tiny

import tokenization
from mrc.data import examples, squad_format
from mrc.data.passages import AnswerNotFound, Text
from mrc.data.squad_format import PREDICTION, SCORING, TRAINING, TRAINING_WITH_NEGATIVES, Answer
from mrc.datasets import CMRC2018, SQUAD
from mrc.util.errors import InputError

CONTEXT = "The old lantern hangs here."
ANSWER = {"text": "lantern", "answer_start": 8}


@pytest.fixture
def read(tmp_path):
    """Returns a function that writes a file with one question and returns the question as read."""

    def read_question(keys, **changes):
        question = dict({"id": "one", "question": "What?", "answers": [ANSWER]}, **changes)
        question = {key: value for key, value in question.items() if value is not tiny.MISSING}
        data = {"data": [{"paragraphs": [{"context": CONTEXT, "qas": [question]}]}]}
        path = tiny.write_json(tmp_path / "data.json", data)
        return squad_format.read(path, keys=keys)[0].questions[0]

    return read_question


@pytest.mark.parametrize("keys", [PREDICTION, SCORING, TRAINING, TRAINING_WITH_NEGATIVES])
@pytest.mark.parametrize("number, text", [(7, "7"), (0, "0"), (-3, "-3"), (10**20, "1" + "0" * 20)])
def test_integer_ids_become_text(read, keys, number, text):
    assert read(keys, id=number).id == text


@pytest.mark.parametrize("value", [1.5, True, None, ["one"], tiny.MISSING])
def test_other_ids_are_refused(read, value):
    with pytest.raises(InputError, match="id"):
        read(PREDICTION, id=value)


@pytest.mark.parametrize("value, text", [("Who?", "Who?"), (None, ""), (7, ""), (tiny.MISSING, "")])
def test_scoring_takes_the_text_of_a_question_where_there_is_one(read, value, text):
    assert read(SCORING, question=value).text == text


ODD_IMPOSSIBLE = ["true", "maybe", 0, 1, 2, 0.5, None, [], {}]
ODD_STARTS = ["8", "", 8.0, None, [8], True, tiny.MISSING]
ODD_ANSWERS = [
    {"text": ["lantern"], "answer_start": [8]},
    ["lantern"],
    "lantern",
    [{"answer_start": 8}],
    [{"text": None}],
    None,
    5,
    tiny.MISSING,
]


@pytest.mark.parametrize("value", ODD_IMPOSSIBLE)
@pytest.mark.parametrize("keys", [PREDICTION, SCORING, PREDICTION | SCORING, TRAINING])
def test_is_impossible_is_not_checked_unless_it_is_learned(read, keys, value):
    assert read(keys, is_impossible=value).id == "one"


@pytest.mark.parametrize("value", ODD_STARTS)
@pytest.mark.parametrize("keys", [PREDICTION, SCORING])
def test_answer_start_is_not_checked_outside_training(read, keys, value):
    answer = {"text": "lantern"}
    if value is not tiny.MISSING:
        answer["answer_start"] = value
    answers = (Answer("lantern", None),) if keys is SCORING else ()
    assert read(keys, answers=[answer]).answers == answers


@pytest.mark.parametrize("value", ODD_STARTS)
@pytest.mark.parametrize("keys", [TRAINING, TRAINING_WITH_NEGATIVES])
def test_answer_start_is_checked_in_training(read, keys, value):
    answer = {"text": "lantern"}
    if value is not tiny.MISSING:
        answer["answer_start"] = value
    with pytest.raises(InputError, match="answer_start"):
        read(keys, answers=[answer])


@pytest.mark.parametrize("value", ODD_ANSWERS)
def test_prediction_does_not_read_answers(read, value):
    assert read(PREDICTION, answers=value).answers == ()


@pytest.mark.parametrize("value", ODD_ANSWERS[:5])
def test_answers_of_another_layout_are_not_scored(read, value):
    with pytest.raises(InputError, match="answers"):
        read(SCORING, answers=value)


def test_scoring_reads_no_question_and_no_context(tmp_path):
    question = {"id": "one", "question": ["What?"], "answers": [{"text": "lantern"}]}
    data = {"data": [{"paragraphs": [{"qas": [question]}]}]}
    path = tiny.write_json(tmp_path / "data.json", data)
    (passage,) = squad_format.read(path, keys=SCORING)
    assert passage.questions[0].answers == (Answer("lantern", None),)


@pytest.mark.parametrize("second", [{"text": None}, {"text": "x"}, "x", None])
def test_training_reads_only_the_first_answer(read, second):
    answers = read(TRAINING, answers=[ANSWER, second]).answers
    assert answers[0] == Answer("lantern", 8) and len(answers) == 2


@pytest.mark.parametrize(
    "value, meaning",
    [
        (True, True),
        (False, False),
        ("true", True),
        ("false", False),
        ("True", True),
        ("FALSE", False),
        (1, True),
        (0, False),
        (None, None),
        (tiny.MISSING, None),
    ],
)
def test_is_impossible_values_are_parsed(read, value, meaning):
    assert read(TRAINING_WITH_NEGATIVES, is_impossible=value).is_impossible is meaning


@pytest.mark.parametrize("value", ["maybe", "", "1", 2, -1, 1.0, 0.5, [], {}])
def test_other_values_of_is_impossible_cannot_be_learned(read, value):
    with pytest.raises(InputError, match="is_impossible"):
        read(TRAINING_WITH_NEGATIVES, is_impossible=value)


@pytest.mark.parametrize("answers", ODD_ANSWERS)
def test_impossible_questions_need_no_answers_in_training(read, answers):
    question = read(TRAINING_WITH_NEGATIVES, is_impossible=True, answers=answers)
    assert question.answers == () and question.is_impossible


def test_a_question_with_neither_answer_nor_mark_is_refused(read):
    question = read(TRAINING_WITH_NEGATIVES, answers=[])
    passages = [squad_format.Passage(CONTEXT, (question,), "data[0]")]
    with pytest.raises(InputError, match='mark it with "is_impossible": true'):
        examples.make_training_examples(SQUAD, passages, "train.json", with_negatives=True)
    with pytest.raises(InputError, match="--version_2_with_negative"):
        examples.make_training_examples(SQUAD, passages, "train.json")


@pytest.mark.parametrize(
    "data",
    [
        [{"context_id": "a", "context_text": "灯塔", "qas": [{"query_id": "a1"}], "title": ""}],
        [{"context": "灯塔", "qas": []}],
        {"data": [{"context_text": "灯塔", "qas": []}]},
        {"context_text": "灯塔", "qas": []},
    ],
)
def test_the_layout_of_cmrc_itself_is_named(tmp_path, data):
    path = tiny.write_json(tmp_path / "cmrc2018_train.json", data)
    with pytest.raises(InputError, match="squad-style-data"):
        squad_format.read(path)


def compressed(path, kind):
    heads = {"bzip2": b"BZh91AY&SY\xff", "xz": b"\xfd7zXZ\0", "zip": b"PK\x03\x04\xff\xfe"}
    content = json.dumps({"data": []}).encode("ascii")
    path.write_bytes(gzip.compress(content) if kind == "gzip" else heads[kind])
    return str(path)


@pytest.mark.parametrize("read_file", [squad_format.read, tokenization.read_vocabulary])
@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz", "zip"])
def test_compressed_files_are_named(tmp_path, kind, read_file):
    path = compressed(tmp_path / "file", kind)
    with pytest.raises(InputError, match=f"{path} is compressed.*{kind}.*decompress"):
        read_file(path)


SPECIAL = ["[UNK]", "[CLS]", "[SEP]"]


@pytest.fixture
def vocabulary(tmp_path, monkeypatch):
    """Returns a function that reads a vocabulary from its text: (pieces, warnings)."""
    warnings = []
    monkeypatch.setattr(tokenization, "warn", warnings.append)

    def read_pieces(text):
        path = tmp_path / "vocab.txt"
        path.write_bytes(text.encode("utf-8"))
        return tokenization.read_vocabulary(str(path)).pieces, warnings

    return read_pieces


@pytest.mark.parametrize("end", ["", "\n", "\n\n", "\n\n\n\n", "\r\n\r\n", "\n \n\t\n"])
def test_blank_last_lines_of_a_vocabulary_do_not_count(vocabulary, end):
    assert vocabulary("\n".join(SPECIAL) + end) == (SPECIAL, [])


@pytest.mark.parametrize("piece", ["\u2028", "\u2029", "\u3000", "\u00a0", "\x85"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_line_of_one_unicode_space_is_a_piece(vocabulary, piece, line_end):
    text = line_end.join(SPECIAL + [piece, "lamp", ""])
    assert vocabulary(text) == (SPECIAL + [piece, "lamp"], [])


def test_blank_lines_between_pieces_keep_their_ids_and_cause_a_warning(vocabulary):
    pieces, warnings = vocabulary("\n".join(SPECIAL + ["", "lamp"]))
    assert pieces == SPECIAL + ["", "lamp"]
    assert len(warnings) == 1 and "line 4" in warnings[0]


def test_a_vocabulary_needs_no_pad(vocabulary):
    assert vocabulary("\n".join(SPECIAL)) == (SPECIAL, [])
    assert vocabulary("\n".join(["<pad>"] + SPECIAL)) == (["<pad>"] + SPECIAL, [])


@pytest.mark.parametrize("missing", SPECIAL)
def test_a_vocabulary_needs_the_other_special_tokens(vocabulary, missing):
    with pytest.raises(InputError, match=f"lacks .{missing[1:-1]}"):
        vocabulary("\n".join(["[PAD]"] + [piece for piece in SPECIAL if piece != missing]))


@pytest.mark.parametrize(
    "context, words",
    [
        ("灯`塔", ["灯", "`", "塔"]),  # a run between ideographs
        ("`Lamp`, 9`11", ["`Lamp`", ",", "9`11"]),
        ("a`b", ["a`b"]),
        ("``", ["``"]),
        ("a\u2581b", ["a", "b"]),
        ("\u2581灯\u2581塔\u2581", ["灯", "塔"]),
        ("\u2581\u2581", []),
        ("Lamp\u2581 \u2581oil", ["Lamp", "oil"]),
    ],
)
def test_words_of_cmrc(context, words):
    assert Text(context, CMRC2018.word_pattern).words == words


def test_words_of_squad_keep_the_block():
    assert Text("a\u2581b", SQUAD.word_pattern).words == ["a\u2581b"]


def locate(dataset, context, text, start):
    return dataset.locate_answer(Text(context, dataset.word_pattern), Answer(text, start))


@pytest.mark.parametrize("space", ["\u202f", "\u2581", " \u202f", "\u2581 "])
def test_an_answer_with_white_space_before_the_first_word_is_located(space):
    assert locate(CMRC2018, space + "灯塔", space + "灯塔", 0) == (0, 1)


@pytest.mark.parametrize(
    "dataset, context, text, start, message",
    [
        (SQUAD, "The lamp", "", 4, "the answer is empty"),
        (SQUAD, "The lamp", "", 99, "the answer is empty"),
        (CMRC2018, "灯塔", "", 0, "the answer is empty"),
        (CMRC2018, "灯塔", "", -1, "the answer is empty"),
        (CMRC2018, "  灯塔", "灯塔", 0, "answer_start 0 points at white space, not at the answer '灯塔'"),
        (CMRC2018, " 灯塔", "灯", 0, "answer_start 0 points at white space, not at the answer '灯'"),
        (CMRC2018, "\u2581灯", "灯", 0, "answer_start 0 points at white space, not at the answer '灯'"),
        (CMRC2018, "  灯塔", " ", 0, "the answer ' ' is white space"),
        (SQUAD, " The lamp", " ", 0, "the answer ' ' is white space"),
    ],
)
def test_the_reason_why_an_answer_is_not_located(dataset, context, text, start, message):
    with pytest.raises(AnswerNotFound) as error:
        locate(dataset, context, text, start)
    assert message in str(error.value)
