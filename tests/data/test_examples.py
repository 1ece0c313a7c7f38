# SPDX-License-Identifier: Apache-2.0
"""Tests of examples.py and datasets.py: words, answer spans, skipped and refused questions."""

import pytest

from mrc import datasets
from mrc.data import examples
from mrc.data.passages import AnswerNotFound, Text
from mrc.data.squad_format import Answer, Passage, Question
from mrc.datasets import CMRC2018, SQUAD
from mrc.util.errors import InputError


@pytest.fixture
def warnings(monkeypatch):
    """The texts of the warnings."""
    texts = []
    monkeypatch.setattr(examples, "warn", texts.append)
    return texts


@pytest.mark.parametrize(
    "dataset, context, words",
    [
        (SQUAD, "The old, old  tower.", ["The", "old,", "old", "tower."]),
        (SQUAD, " a\tb\rc\nd\u202fe ", ["a", "b", "c", "d", "e"]),
        # Other spaces do not separate words.
        (SQUAD, "a\u00a0b\u3000c\u2003d\x0be", ["a\u00a0b\u3000c\u2003d\x0be"]),
        (SQUAD, "灯塔", ["灯塔"]),
        (SQUAD, " \n", []),
        (CMRC2018, "灯塔在河上。", ["灯", "塔", "在", "河", "上", "。"]),
        (CMRC2018, "建于1902年，Tower A.B 高3.5米", ["建", "于", "1902", "年", "，", "Tower", "A.B", "高", "3.5", "米"]),
        (
            CMRC2018,
            '。，！？；、：（）－~「《》,」"“”$『』—;()-～‘’',
            list('。，！？；、：（）－~「《》,」"“”$『』—;()-～‘’'),
        ),
        (CMRC2018, "a.b:c!d?e'f[g]h/i%", ["a.b:c!d?e'f[g]h/i%"]),  # marks that are not listed
        (CMRC2018, "塔\t石\u202f桥\na b", ["塔", "石", "桥", "a", "b"]),
        (CMRC2018, "\u3400\U00020000x\uf900", ["\u3400", "\U00020000", "x", "\uf900"]),
        (CMRC2018, "カナ한", ["カナ한"]),
        (CMRC2018, "", []),
    ],
)
def test_words(dataset, context, words):
    text = Text(context, dataset.word_pattern)
    assert text.words == words
    assert [context[start : start + len(word)] for start, word in zip(text.starts, words)] == words


@pytest.mark.parametrize("position, word", [(0, -1), (1, 0), (2, 0), (3, 0), (4, 0), (5, 1), (7, 1)])
def test_white_space_belongs_to_the_word_before_it(position, word):
    assert Text(" ab  cd ", SQUAD.word_pattern).word_at(position) == word


@pytest.mark.parametrize(
    "context, answer, start, words",
    [
        ("The old tower.", "old", 4, (1, 1)),
        ("The old tower.", "tower", 8, (2, 2)),
        ("The old tower.", "The old tower.", 0, (0, 2)),
        ("The old tower.", "ld tow", 5, (1, 2)),
        # White space is normalised; the end is one character short.
        ("The old\n tower.", "old tower", 4, (1, 2)),
        ("(1902-1904)", "1904", 6, (0, 0)),
        ("The old tower.", "e old", 4, None),
        ("The old tower.", "stone", 8, None),
        ("The old tower.", "old", 8, None),
        ("The old tower.", "old", 99, None),
        ("The old tower.", "old", -1, None),
        ("The old tower.", "", 4, None),
        (" The old tower.", " The", 0, (0, 0)),
        (" The old tower.", " ", 0, None),
    ],
)
def test_squad_answers_are_located(context, answer, start, words):
    assert located(SQUAD, context, answer, start) == words


def located(dataset, context, answer, start):
    try:
        return dataset.locate_answer(Text(context, dataset.word_pattern), Answer(answer, start))
    except AnswerNotFound:
        return None


# 古老的灯塔在河上。 has one word per character.
@pytest.mark.parametrize(
    "context, answer, start, words",
    [
        ("古老的灯塔在河上。", "灯塔", 3, (3, 4)),
        ("古老的灯塔在河上。", "灯塔", 4, (3, 4)),  # one too far
        ("古老的灯塔在河上。", "灯塔", 5, (3, 4)),
        ("古老的灯塔在河上。", "灯塔", 6, (3, 4)),  # three too far
        ("古老的灯塔在河上。", "灯塔", 7, (4, 5)),  # four too far: it stays shifted by three
        # Too early: shifted to the beginning, where it stays.
        ("古老的灯塔在河上。", "灯塔", 2, (0, 1)),
        ("古老的灯塔在河上。", "红色", 5, (2, 3)),  # not found: it stays shifted by three
        ("灯塔。石桥", "。石桥", 2, (3, 4)),
        ("灯塔，石桥", "，石桥", 2, (3, 4)),
        ("灯塔：石桥", "：石桥", 2, (3, 4)),
        ("灯塔,石桥", ",石桥", 2, (3, 4)),
        ("灯塔、石桥", "、石桥", 2, (2, 4)),  # an answer may begin with other marks
        ("灯塔. 石桥", ". 石桥", 2, (3, 4)),
        ("灯塔 : 石桥", ": 石桥", 3, (3, 4)),
        ("灯塔  石桥", "  石桥", 2, (2, 3)),  # leading white space
        ("建于1902年", "1902", 2, (2, 2)),
        ("建于1902年", "90", 3, (2, 2)),
        ("灯塔。", "。", 2, None),  # only a mark at the end
        ("灯塔", "", 0, None),
        ("灯塔", "灯", 99, None),
    ],
)
def test_cmrc_answers_are_located(context, answer, start, words):
    assert located(CMRC2018, context, answer, start) == words


def passage(context, *questions):
    return [
        Passage(
            context,
            tuple(
                Question(identifier, "?", answers, is_impossible, "data[0].paragraphs[0].qas[%d]" % number)
                for number, (identifier, answers, is_impossible) in enumerate(questions)
            ),
            "data[0].paragraphs[0]",
        )
    ]


OLD, STONE = (Answer("old", 4),), (Answer("stone", 4),)


def train(dataset, passages, **options):
    return [
        (example.id, example.first_word, example.last_word, example.answer)
        for example in examples.make_training_examples(dataset, passages, "train.json", **options)
    ]


def test_training_examples(warnings):
    passages = passage("The old tower", ("a", OLD, None), ("b", OLD, None))
    found = examples.make_training_examples(SQUAD, passages, "train.json")
    assert [tuple(example)[:2] + tuple(example)[3:6] for example in found] == [
        ("a", "?", 1, 1, "old"),
        ("b", "?", 1, 1, "old"),
    ]
    assert found[0].text.words == ["The", "old", "tower"] and found[0].text is found[1].text and not warnings


def test_training_questions_without_their_answer_are_skipped_with_a_warning(warnings):
    assert train(SQUAD, passage("The old tower", ("a", STONE, None), ("b", OLD, None))) == [("b", 1, 1, "old")]
    assert warnings[0] == (
        "train.json: data[0].paragraphs[0].qas[0] (a) is skipped: the answer 'stone' is not in the words 'old tower'"
    )
    assert "1 of 2 training questions are skipped" in warnings[1]


def test_cmrc_mismatches_are_reported_and_learned(warnings):
    assert train(CMRC2018, passage("古老的灯塔", ("a", (Answer("红色", 3),), None))) == [("a", 0, 1, "红色")]
    assert (
        len(warnings) == 1
        and "(a): training uses the words at answer_start, '古老', which differ from the answer '红色'; " in warnings[0]
    )


def test_cmrc_learns_the_first_answer():
    answers = (Answer("灯", 0), Answer("塔", 1))
    assert train(CMRC2018, passage("灯塔", ("a", answers, None))) == [("a", 0, 0, "灯")]


@pytest.mark.parametrize(
    "dataset, answers, message",
    [
        (
            SQUAD,
            OLD * 2,
            "train.json: data[0].paragraphs[0].qas[0] (a) has 2 answers; a SQuAD training file has exactly one per question",
        ),
        (SQUAD, (), "train.json: data[0].paragraphs[0].qas[0] (a) has no answer; train on a file with answers"),
        (CMRC2018, (), "train.json: data[0].paragraphs[0].qas[0] (a) has no answer"),
        (SQUAD, STONE, "the training file train.json has no question whose answer is in its passage"),
    ],
)
def test_questions_without_a_single_answer_are_refused(dataset, answers, message):
    with pytest.raises(InputError) as error:
        train(dataset, passage("The old tower", ("a", answers, None)))
    assert message in str(error.value)


def test_squad_2_questions_may_be_impossible():
    questions = passage("The old tower", ("a", (), True), ("b", OLD, False), ("c", OLD, True))
    assert train(SQUAD, questions, with_negatives=True) == [("a", -1, -1, ""), ("b", 1, 1, "old"), ("c", -1, -1, "")]


def test_squad_2_questions_that_are_possible_need_an_answer():
    with pytest.raises(InputError):
        train(SQUAD, passage("The old tower", ("a", (), False)), with_negatives=True)


@pytest.mark.parametrize("dataset", [datasets.SQUAD, datasets.CMRC2018])
def test_prediction_needs_no_answers(dataset, warnings):
    passages = passage("The old tower", ("a", (), None), ("b", STONE, None)) + passage("", ("c", OLD * 2, True))
    found = examples.make_prediction_examples(dataset, passages, "dev.json")
    assert [(example.id, example.first_word, example.answer) for example in found] == [
        ("a", -1, ""),
        ("b", -1, ""),
        ("c", -1, ""),
    ]
    assert len(warnings) == 1 and warnings[0].startswith(
        "dev.json: 1 passages are blank (the first is data[0].paragraphs[0])"
    )


def test_repeated_ids_cause_a_warning(warnings):
    passages = passage("x", ("a", (), None), ("a", (), None), ("b", (), None))
    examples.make_prediction_examples(SQUAD, passages, "dev.json")
    assert len(warnings) == 1 and warnings[0].startswith("dev.json: question ids occur more than once (1: a)")
