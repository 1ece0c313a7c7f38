# SPDX-License-Identifier: Apache-2.0
"""Tests of squad_format.py and files.py: what is read, and the sentence for each wrong file."""

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
                        {
                            "id": "one",
                            "question": "What?",
                            "answers": [{"text": "lantern", "answer_start": 5}],
                        },
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


def test_null_stands_for_what_is_not_there(tmp_path):
    data = copy.deepcopy(DATA)
    data["data"][0]["paragraphs"][0]["qas"][0].update(answers=None, is_impossible=None)
    question = squad_format.read(tiny.write_json(tmp_path / "data.json", data))[0].questions[0]
    assert question.answers == () and question.is_impossible is None


def test_a_byte_order_mark_is_no_matter(tmp_path):
    path = tmp_path / "data.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(DATA).encode("utf-8"))
    assert squad_format.read(str(path))[0].context == CONTEXT


PARAGRAPH = ("data", 0, "paragraphs", 0)
QUESTION = PARAGRAPH + ("qas", 0)
ANSWER = QUESTION + ("answers", 0)


@pytest.mark.parametrize(
    "place, value, problem",
    [
        ((), [], "at the top stands a list where an object belongs"),
        ((), None, "at the top stands null where an object belongs"),
        ((), "data", "at the top stands a text where an object belongs"),
        (("data",), MISSING, 'at the top the key "data" is missing'),
        (("data",), {}, "at data stands an object where a list belongs"),
        (("data", 0), 3, "at data[0] stands a whole number where an object belongs"),
        (("data", 0, "paragraphs"), MISSING, 'at data[0] the key "paragraphs" is missing'),
        (("data", 0, "paragraphs"), None, "at data[0].paragraphs stands null where a list belongs"),
        (PARAGRAPH, [], "at data[0].paragraphs[0] stands a list where an object belongs"),
        (
            PARAGRAPH + ("context",),
            MISSING,
            'at data[0].paragraphs[0] the key "context" is missing',
        ),
        (
            PARAGRAPH + ("context",),
            1.5,
            "at data[0].paragraphs[0].context stands a number where a text belongs",
        ),
        (PARAGRAPH + ("qas",), MISSING, 'at data[0].paragraphs[0] the key "qas" is missing'),
        (
            PARAGRAPH + ("qas",),
            "x",
            "at data[0].paragraphs[0].qas stands a text where a list belongs",
        ),
        (
            QUESTION,
            True,
            "at data[0].paragraphs[0].qas[0] stands true or false where an object belongs",
        ),
        (QUESTION + ("id",), MISSING, 'at data[0].paragraphs[0].qas[0] the key "id" is missing'),
        (
            QUESTION + ("id",),
            7,
            "at data[0].paragraphs[0].qas[0].id stands a whole number where a text belongs",
        ),
        (
            QUESTION + ("question",),
            MISSING,
            'at data[0].paragraphs[0].qas[0] the key "question" is missing',
        ),
        (
            QUESTION + ("question",),
            [],
            "at data[0].paragraphs[0].qas[0].question stands a list where a text belongs",
        ),
        (
            QUESTION + ("answers",),
            {},
            "at data[0].paragraphs[0].qas[0].answers stands an object where a list belongs",
        ),
        (
            QUESTION + ("is_impossible",),
            1,
            "at data[0].paragraphs[0].qas[0].is_impossible stands a whole number where true or "
            "false belongs",
        ),
        (
            ANSWER,
            "x",
            "at data[0].paragraphs[0].qas[0].answers[0] stands a text where an object belongs",
        ),
        (
            ANSWER + ("text",),
            MISSING,
            'at data[0].paragraphs[0].qas[0].answers[0] the key "text" is missing',
        ),
        (
            ANSWER + ("text",),
            None,
            "at data[0].paragraphs[0].qas[0].answers[0].text stands null where a text belongs",
        ),
        (
            ANSWER + ("answer_start",),
            MISSING,
            'at data[0].paragraphs[0].qas[0].answers[0] the key "answer_start" is missing',
        ),
        (
            ANSWER + ("answer_start",),
            "5",
            "at data[0].paragraphs[0].qas[0].answers[0].answer_start stands a text where a whole "
            "number belongs",
        ),
        (
            ANSWER + ("answer_start",),
            True,
            "at data[0].paragraphs[0].qas[0].answers[0].answer_start stands true or false where a "
            "whole number belongs",
        ),
    ],
)
def test_the_place_of_what_is_wrong_is_named(tmp_path, place, value, problem):
    path = tiny.write_json(tmp_path / "data.json", tiny.with_value(DATA, place, value))
    with pytest.raises(InputError) as error:
        squad_format.read(path)
    assert (
        str(error.value)
        == f"{path} is not in SQuAD format: {problem}; pass a file that is laid out as SQuAD's "
        "train-v1.1.json"
    )


@pytest.mark.parametrize(
    "content, sentence",
    [
        (b"", "the test file PATH is empty where JSON was expected; write or download it again"),
        (b" \n", "the test file PATH is empty where JSON was expected; write or download it again"),
        (
            b'{"data": [\n 1,, 2]}',
            "the test file PATH is not valid JSON: Expecting value at line 2, column 4; is it the "
            "right file, and whole?",
        ),
        (
            b'{"data": [',
            "the test file PATH is not valid JSON: Expecting value at line 1, column 11; is it "
            "the right file, and whole?",
        ),
        (
            b'{"data":\n "\xff"}',
            "the test file PATH is not UTF-8 text: byte 0xff in line 2; save it as UTF-8",
        ),
        pytest.param(
            b"[" * 100000,
            "the test file PATH is not usable JSON: it is nested too deep; is it the right file?",
            id="nested",
        ),
        (
            b'{"data": []}',
            "the test file PATH has no questions, so there is nothing to do; pass a file that "
            "asks something",
        ),
        (
            b'{"data": [{"paragraphs": [{"context": "x", "qas": []}]}]}',
            "the test file PATH has no questions, so there is nothing to do; pass a file that "
            "asks something",
        ),
    ],
)
def test_files_that_are_no_data(tmp_path, content, sentence):
    path = tmp_path / "data.json"
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        squad_format.read(str(path), "test file")
    assert str(error.value) == sentence.replace("PATH", str(path))


@pytest.mark.parametrize(
    "name, sentence",
    [
        ("", "is a folder; pass the path of a file"),
        ("nowhere.json", "does not exist; check the path"),
    ],
)
def test_paths_that_are_no_file(tmp_path, name, sentence):
    path = str(tmp_path / name)
    with pytest.raises(InputError) as error:
        squad_format.read(path, "test file")
    assert str(error.value) == f"the test file {path} {sentence}"


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "out.txt"
    files.write(str(path), "old 灯\n")
    with pytest.raises(KeyError):
        with files.writing(str(path)) as writer:
            writer.write("new")
            raise KeyError("stopped")
    assert path.read_text(encoding="utf-8") == "old 灯\n"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.txt"]
