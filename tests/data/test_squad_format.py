# SPDX-License-Identifier: Apache-2.0
"""Tests of squad_format.py and files.py: what is read, and the error for each wrong file."""

import copy
import json

import pytest
import tiny
from tiny import MISSING

from mrc.data import squad_format
from mrc.data.squad_format import Answer, Passage, Question
from mrc.util import files
from mrc.util.errors import InputError

CONTEXT = "灯塔 A lantern."
DATA = {
    "data": [
        {
            "paragraphs": [
                {
                    "context": CONTEXT,
                    "qas": [
                        {"id": "one", "question": "What?", "answers": [{"text": "lantern", "answer_start": 5}]},
                        {"id": "two", "question": "Who?"},
                        {"id": "three", "question": "Where?", "answers": [], "is_impossible": True},
                    ],
                }
            ]
        }
    ]
}


def test_reads_questions_with_their_places(tmp_path):
    at = "data[0].paragraphs[0]"
    assert squad_format.read(tiny.write_json(tmp_path / "data.json", DATA)) == [
        Passage(
            CONTEXT,
            (
                Question("one", "What?", (Answer("lantern", 5),), None, at + ".qas[0]"),
                Question("two", "Who?", (), None, at + ".qas[1]"),
                Question("three", "Where?", (), True, at + ".qas[2]"),
            ),
            at,
        )
    ]


def test_null_counts_as_missing(tmp_path):
    data = copy.deepcopy(DATA)
    data["data"][0]["paragraphs"][0]["qas"][0].update(answers=None, is_impossible=None)
    question = squad_format.read(tiny.write_json(tmp_path / "data.json", data))[0].questions[0]
    assert question.answers == () and question.is_impossible is None


def test_a_byte_order_mark_is_ignored(tmp_path):
    path = tmp_path / "data.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(DATA).encode("utf-8"))
    assert squad_format.read(str(path))[0].context == CONTEXT


PARAGRAPH = ("data", 0, "paragraphs", 0)
QUESTION = PARAGRAPH + ("qas", 0)
ANSWER = QUESTION + ("answers", 0)


@pytest.mark.parametrize(
    "place, value, message",
    [
        ((), [], "the top level is a list, not an object"),
        ((), None, "the top level is null, not an object"),
        ((), "data", "the top level is a string, not an object"),
        (("data",), MISSING, 'the top level has no key "data"'),
        (("data",), {}, "data is an object, not a list"),
        (("data", 0), 3, "data[0] is an integer, not an object"),
        (("data", 0, "paragraphs"), MISSING, 'data[0] has no key "paragraphs"'),
        (("data", 0, "paragraphs"), None, "data[0].paragraphs is null, not a list"),
        (PARAGRAPH, [], "data[0].paragraphs[0] is a list, not an object"),
        (PARAGRAPH + ("context",), MISSING, 'data[0].paragraphs[0] has no key "context"'),
        (PARAGRAPH + ("context",), 1.5, "data[0].paragraphs[0].context is a number, not a string"),
        (PARAGRAPH + ("qas",), MISSING, 'data[0].paragraphs[0] has no key "qas"'),
        (PARAGRAPH + ("qas",), "x", "data[0].paragraphs[0].qas is a string, not a list"),
        (QUESTION, True, "data[0].paragraphs[0].qas[0] is a boolean, not an object"),
        (QUESTION + ("id",), MISSING, 'data[0].paragraphs[0].qas[0] has no key "id"'),
        (QUESTION + ("id",), 7.5, "data[0].paragraphs[0].qas[0].id is a number, not a string or an integer"),
        (QUESTION + ("question",), MISSING, 'data[0].paragraphs[0].qas[0] has no key "question"'),
        (QUESTION + ("question",), [], "data[0].paragraphs[0].qas[0].question is a list, not a string"),
        (QUESTION + ("answers",), {}, "data[0].paragraphs[0].qas[0].answers is an object, not a list"),
        (
            QUESTION + ("is_impossible",),
            2,
            "data[0].paragraphs[0].qas[0] has an integer for is_impossible that is not true, false, 1 or 0",
        ),
        (ANSWER, "x", "data[0].paragraphs[0].qas[0].answers[0] is a string, not an object"),
        (ANSWER + ("text",), MISSING, 'data[0].paragraphs[0].qas[0].answers[0] has no key "text"'),
        (ANSWER + ("text",), None, "data[0].paragraphs[0].qas[0].answers[0].text is null, not a string"),
        (ANSWER + ("answer_start",), MISSING, 'data[0].paragraphs[0].qas[0].answers[0] has no key "answer_start"'),
        (
            ANSWER + ("answer_start",),
            "5",
            "data[0].paragraphs[0].qas[0].answers[0].answer_start is a string, not an integer",
        ),
        (
            ANSWER + ("answer_start",),
            True,
            "data[0].paragraphs[0].qas[0].answers[0].answer_start is a boolean, not an integer",
        ),
    ],
)
def test_the_place_of_an_error_is_named(tmp_path, place, value, message):
    path = tiny.write_json(tmp_path / "data.json", tiny.with_value(DATA, place, value))
    with pytest.raises(InputError) as error:
        squad_format.read(path)
    assert str(error.value) == f"{path} is not in SQuAD format: {message}; use the layout of SQuAD's train-v1.1.json"


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "the test file PATH is empty where JSON was expected; write or download it again"),
        (b" \n", "the test file PATH is empty where JSON was expected; write or download it again"),
        (
            b'{"data": [\n 1,, 2]}',
            "the test file PATH is not valid JSON: Expecting value at line 2, column 4; check "
            "that it is the right file and complete",
        ),
        (
            b'{"data": [',
            "the test file PATH is not valid JSON: Expecting value at line 1, column 11; check "
            "that it is the right file and complete",
        ),
        (b'{"data":\n "\xff"}', "the test file PATH is not UTF-8 text: byte 0xff in line 2; save it as UTF-8"),
        pytest.param(
            b"[" * 100000,
            "the test file PATH is not usable JSON: it is nested too deeply; check that it is the right file",
            id="nested",
        ),
        (b'{"data": []}', "the test file PATH has no questions; pass a file with questions"),
        (
            b'{"data": [{"paragraphs": [{"context": "x", "qas": []}]}]}',
            "the test file PATH has no questions; pass a file with questions",
        ),
    ],
)
def test_files_that_are_not_data(tmp_path, content, message):
    path = tmp_path / "data.json"
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        squad_format.read(str(path), "test file")
    assert str(error.value) == message.replace("PATH", str(path))


@pytest.mark.parametrize(
    "name, message", [("", "is a folder; pass the path of a file"), ("nowhere.json", "does not exist; check the path")]
)
def test_paths_that_are_not_files(tmp_path, name, message):
    path = str(tmp_path / name)
    with pytest.raises(InputError) as error:
        squad_format.read(path, "test file")
    assert str(error.value) == f"the test file {path} {message}"


def test_files_are_written_atomically(tmp_path):
    path = tmp_path / "out.txt"
    files.write(str(path), "old 灯\n")
    with pytest.raises(KeyError):
        with files.writing(str(path)) as writer:
            writer.write("new")
            raise KeyError("stopped")
    assert path.read_text(encoding="utf-8") == "old 灯\n"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.txt"]
