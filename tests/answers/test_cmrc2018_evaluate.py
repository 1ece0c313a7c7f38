# SPDX-License-Identifier: Apache-2.0
"""Tests of cmrc2018_evaluate.py: values computed by hand, properties, and the command line."""

import json

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import cmrc2018_evaluate as scorer
from mrc.data.squad_format import Answer, Passage, Question
from mrc.util.errors import InputError


def question(question_id, *answers):
    return Question(question_id, "?", tuple(Answer(answer, 0) for answer in answers), None, "data[0]")


def passages(*questions):
    return [Passage("", questions, "")]


@pytest.mark.parametrize(
    "text, units",
    [
        ("我爱NLP 2018！", ["我", "爱", "nlp", "2018"]),
        ("《红楼梦》", ["红", "楼", "梦"]),
        ("a-b", ["ab"]),  # punctuation goes without a gap
        ("微软的Windows 10系统", ["微", "软", "的", "windows", "10", "系", "统"]),
        ("约3.5%(年)", ["约", "3.5", "%", "(", "年", ")"]),
        # One sentence: only the last full stop is a word.
        ("u.s. army. foo", ["u.s.", "army.", "foo"]),
        ("u.s. army.", ["u.s.", "army", "."]),
        ('it\'s "so"', ["it", "'s", "``", "so", "''"]),
        ("  ，。", []),
        ("嗯…", ["嗯", "…"]),  # a single ellipsis character is not on the list
    ],
)
def test_segments(text, units):
    assert scorer.segments(text) == units


def test_strip_punctuation_keeps_what_is_not_on_its_list():
    assert scorer.strip_punctuation(" 《A-B》：C_D*^/\\~`+=，。：？！“”；’·、「」（）－～『』 ") == "abcd"
    assert scorer.strip_punctuation("a.b,c(d)‘e…") == "a.b,c(d)‘e…"


@pytest.mark.parametrize(
    "answer, prediction, f1",
    [
        ("北京大学医学院", "在北京大学", 2 / 3),  # 4 in common: P 4/5, R 4/7
        ("甲乙丙丁", "甲丙丁乙", 1 / 2),  # a substring of 2, though a subsequence of 3
        ("微软的Windows 10系统", "windows 10", 4 / 9),  # 2 of 7 and of 2
        ("北京，大学", "北京大学。", 1),
        ("甲", "乙", 0),
        ("甲", "", 0),
        ("，", "。", 0),  # nothing in common, though an exact match
    ],
)
def test_segment_f1(answer, prediction, f1):
    assert scorer.segment_f1(answer, prediction) == pytest.approx(f1)
    assert scorer.segment_f1(prediction, answer) == pytest.approx(f1)


def test_segment_f1_counts_the_common_characters_of_long_texts():
    assert scorer.segment_f1("甲" + "的" * 249, "乙" + "的" * 249) == pytest.approx(249 / 250)


@pytest.mark.parametrize(
    "answer, prediction, match",
    [
        ("《红楼梦》", "红楼梦。", 1),
        ("ＮBA", "ｎba", 1),
        ("NBA", " nba ", 1),
        ("红楼梦", "红楼", 0),
        ("a b", "ab", 0),
        ("，", "。", 1),
    ],
)
def test_exact_match(answer, prediction, match):
    assert scorer.exact_match(answer, prediction) == match


def test_evaluate_takes_the_best_answer_and_skips_what_is_not_predicted():
    asked = passages(question("right", "红楼", "红楼梦"), question("half", "丁", "甲乙丙丁"), question("missing", "甲"))
    # EM 1, 0, 0 and F1 1, 1/2, 0 over three questions
    predictions = {"right": "《红楼梦》", "half": "甲丙丁乙", "other": "x"}
    assert list(scorer.evaluate(asked, predictions).items()) == [
        ("AVERAGE", "41.667"),
        ("F1", "50.000"),
        ("EM", "33.333"),
        ("TOTAL", 3),
        ("SKIP", 1),
    ]


def test_evaluate_refuses_questions_without_answers():
    with pytest.raises(InputError, match="has no answers for question q2"):
        scorer.evaluate(passages(question("q1", "甲"), question("q2")), {"q1": "甲"})


TEXTS = st.text(alphabet='甲乙丙ab 1.,，-"', max_size=12)


@given(TEXTS, TEXTS)
@settings(deadline=None)
def test_f1_is_at_least_the_exact_match_where_there_are_segments(answer, prediction):
    assume(scorer.segments(answer))
    f1 = scorer.segment_f1(answer, prediction)
    assert scorer.exact_match(answer, prediction) <= f1 <= 1


def longest_common_run(left, right):
    runs = [left[i:j] for i in range(len(left)) for j in range(i + 1, len(left) + 1)]
    return max([len(run) for run in runs if any(right[k : k + len(run)] == run for k in range(len(right)))] or [0])


@given(TEXTS, TEXTS)
@settings(deadline=None)
def test_f1_is_that_of_the_longest_run_of_all(answer, prediction):
    gold, predicted = scorer.segments(answer), scorer.segments(prediction)
    expected = 2 * longest_common_run(gold, predicted) / max(1, len(gold) + len(predicted))
    assert scorer.segment_f1(answer, prediction) == pytest.approx(expected)


@given(st.lists(TEXTS.filter(scorer.segments), min_size=1, max_size=5))
@settings(deadline=None)
def test_predicting_the_answer_scores_100(golds):
    asked = passages(*[question(str(i), gold) for i, gold in enumerate(golds)])
    scores = scorer.evaluate(asked, {str(i): gold for i, gold in enumerate(golds)})
    assert (scores["AVERAGE"], scores["F1"], scores["EM"]) == ("100.000",) * 3


def entry(question_id, *answers):
    return {"id": question_id, "question": "?", "answers": [{"text": text, "answer_start": 0} for text in answers]}


@pytest.fixture
def run(command_lines, tmp_path):
    """Returns a function that writes the files and returns exit code, stdout and stderr."""

    def run_scorer(qas, predictions, arguments=("data.json", "pred.json")):
        data = {"data": [{"paragraphs": [{"context": "甲", "qas": qas}]}]}
        tmp_path.joinpath("data.json").write_text(json.dumps(data))
        tmp_path.joinpath("pred.json").write_text(predictions if isinstance(predictions, str) else json.dumps(predictions))
        return command_lines.run("cmrc2018_evaluate.py", *arguments, cwd=str(tmp_path))[:3]

    return run_scorer


def test_command_line_prints_one_line_and_reports_the_gaps(run):
    code, out, err = run([entry("a", "甲"), entry("b", "乙")], {"a": "甲", "c": "丙"})
    assert code == 0
    assert out == ('{"AVERAGE": "50.000", "F1": "50.000", "EM": "50.000", "TOTAL": 2, "SKIP": 1, "FILE": "pred.json"}\n')
    assert "1 of 2 questions have no prediction and count as wrong: b\n" in err
    assert "1 of 2 predictions are for ids that are not in the data and are ignored: c\n" in err


@pytest.mark.parametrize(
    "qas, predictions, parts",
    [
        ([entry("a", "甲"), entry("b")], {"a": "甲"}, ["data.json", "no answers", "question b"]),
        ([{"id": "a", "question": "?"}], {"a": "甲"}, ["data.json", "no answers", "question a"]),
        ([entry("a", "甲")], {"a": ["甲"]}, ["pred.json", "for question a"]),
        ([entry("a", "甲")], [], ["pred.json", "object", "[]"]),
        ([entry("a", "甲")], "", ["pred.json", "empty"]),
        ([], {}, ["data.json", "no questions"]),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(run, qas, predictions, parts):
    code, out, err = run(qas, predictions)
    assert (code, out) == (2, "")
    assert "Traceback" not in err
    message = err.splitlines()[-1]
    assert message.startswith("error: ")
    assert all(part in message for part in parts), message


@pytest.mark.parametrize(
    "arguments, part", [(("data.json", "nowhere.json"), "nowhere.json does not exist"), (("data.json",), "prediction_file")]
)
def test_a_wrong_command_line_is_refused(run, arguments, part):
    code, out, err = run([entry("a", "甲")], {}, arguments)
    assert (code, out) == (2, "")
    assert part in err.splitlines()[-1]


@pytest.mark.parametrize("number, text", [(1902, "1902"), (3.5, "3.5"), (-7, "-7"), (0, "0")])
def test_a_prediction_that_is_a_number_is_scored_as_text(run, number, text):
    code, out, _ = run([entry("a", text)], {"a": number})
    assert (code, json.loads(out)["EM"]) == (0, "100.000")


@pytest.mark.parametrize("value", [True, None, ["1902"], {"text": "1902"}])
def test_a_prediction_that_is_neither_text_nor_number_is_refused(run, value):
    code, _, err = run([entry("a", "1902")], {"a": value})
    assert code == 2 and "for question a, not a text" in err


@pytest.mark.parametrize("number", [7, 0, 10**12])
def test_integer_ids_are_scored(run, number):
    code, out, err = run([entry(number, "甲")], {str(number): "甲"})
    assert (code, json.loads(out)["EM"]) == (0, "100.000") and "no prediction" not in err


@pytest.mark.parametrize("change", [{"is_impossible": "true"}, {"question": None}, {"answers": [{"text": "甲"}]}])
def test_keys_that_scoring_does_not_read_are_ignored(run, change):
    code, out, _ = run([dict(entry("a", "甲"), **change)], {"a": "甲"})
    assert (code, json.loads(out)["EM"]) == (0, "100.000")


@pytest.mark.parametrize(
    "text, affected",
    [
        ("the army. it left", True),
        ("于u.s. army. foo年", True),
        ("it left?! then came back", True),
        ('"the army." it left', True),
        ("the army (u.s.) left", True),
        ("the army.", False),
        ("3.5 tons", False),
        ("a.b", False),
        ("甲. 乙", False),  # runs of their own
        ("no stop at all", False),
    ],
)
def test_texts_of_several_sentences_are_found(text, affected):
    assert scorer.has_inner_sentence_end(text) is affected


@pytest.fixture
def no_punkt(monkeypatch):
    monkeypatch.setattr(scorer, "_sentences", lambda: None)


def test_without_the_sentence_model_the_affected_texts_are_counted(no_punkt, capsys):
    asked = passages(question("a", "the army. it left"), question("b", "甲"), question("c", "乙"))
    scorer.evaluate(asked, {"a": "army", "b": "甲", "c": "u.s. army. it left"})
    err = capsys.readouterr().err
    assert "F1 of 2 questions may differ from the official scorer" in err and "punkt" in err
    scorer.evaluate(asked, {"b": "甲"})
    assert not capsys.readouterr().err


def test_with_the_sentence_model_words_are_those_of_each_sentence(monkeypatch, capsys):
    monkeypatch.setattr(scorer, "_sentences", lambda: lambda text: text.split(" | "))
    assert scorer.segments("the army. | it left.") == ["the", "army", ".", "it", "left", "."]
    scorer.evaluate(passages(question("a", "the army. | it left")), {"a": "army"})
    assert not capsys.readouterr().err
