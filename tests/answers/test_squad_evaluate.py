# SPDX-License-Identifier: Apache-2.0
"""Tests of squad_evaluate.py: values computed by hand, properties, and the command line."""

import json
import os
import subprocess
import sys

import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

import squad_evaluate as scorer
from mrc.data.squad_format import Answer, Passage, Question

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# Four questions: answered rightly, answered by half, rightly left without answer, wrongly answered.
DATA = {
    "data": [
        {
            "title": "",
            "paragraphs": [
                {
                    "context": "Paris has a blue whale.",
                    "qas": [
                        {
                            "id": "right",
                            "question": "?",
                            "is_impossible": False,
                            "answers": [{"text": "in Paris", "answer_start": 0}, {"text": "Paris", "answer_start": 0}],
                        },
                        {
                            "id": "half",
                            "question": "?",
                            "is_impossible": False,
                            "answers": [{"text": "blue whale", "answer_start": 12}],
                        },
                        {"id": "none", "question": "?", "is_impossible": True, "answers": []},
                        {"id": "invented", "question": "?", "is_impossible": True, "answers": []},
                    ],
                }
            ],
        }
    ]
}
PREDICTIONS = {"right": "the PARIS!", "half": "blue", "none": "", "invented": "Paris"}
NA_PROBS = {"right": 0.1, "half": 0.4, "none": 0.6, "invented": 0.5}


def question(question_id, *answers):
    return Question(question_id, "?", tuple(Answer(answer, 0) for answer in answers), None, "")


def passages(*questions):
    return [Passage("", questions, "")]


PASSAGES = passages(
    question("right", "in Paris", "Paris"), question("half", "blue whale"), question("none"), question("invented")
)


@pytest.mark.parametrize(
    "text, normal",
    [
        ("The  Cat, a dog;\tan Ant!", "cat dog ant"),
        ("theatre another banana", "theatre another banana"),
        ("U.S. (1998-2000)", "us 19982000"),
        ("a", ""),
        ("“Größe”", "“größe”"),
    ],
)
def test_normalize_drops_case_punctuation_articles_and_spaces(text, normal):
    assert scorer.normalize(text) == normal


@pytest.mark.parametrize(
    "answer, prediction, f1",
    [
        ("one two three four", "four two six", 4 / 7),  # 2 in common: P 2/3, R 1/2
        ("one two three four", "two four", 2 / 3),  # P 1, R 1/2
        ("la la land", "la la la", 2 / 3),  # "la" counts as often as both have it
        ("one", "two", 0),
        ("the", "", 1),
        ("", "two", 0),
        ("one", "the", 0),
    ],
)
def test_token_f1(answer, prediction, f1):
    assert scorer.token_f1(answer, prediction) == pytest.approx(f1)
    assert scorer.token_f1(prediction, answer) == pytest.approx(f1)


def test_exact_match():
    assert scorer.exact_match("The Heavens", "heavens.") == 1
    assert scorer.exact_match("The Heavens", "heavens above") == 0


def test_evaluate_uses_the_best_answer_and_separates_answerable_questions():
    # exact 1, 0, 1, 0; f1 1, 2/3 (P 1, R 1/2), 1, 0
    assert scorer.evaluate(PASSAGES, PREDICTIONS) == pytest.approx(
        {
            "exact": 50.0,
            "f1": 100 * (8 / 3) / 4,
            "total": 4,
            "HasAns_exact": 50.0,
            "HasAns_f1": 100 * (5 / 3) / 2,
            "HasAns_total": 2,
            "NoAns_exact": 50.0,
            "NoAns_f1": 50.0,
            "NoAns_total": 2,
        }
    )


def test_keys_are_in_the_official_order():
    assert list(scorer.evaluate(PASSAGES, PREDICTIONS, NA_PROBS)) == [
        "exact",
        "f1",
        "total",
        "HasAns_exact",
        "HasAns_f1",
        "HasAns_total",
        "NoAns_exact",
        "NoAns_f1",
        "NoAns_total",
        "best_exact",
        "best_exact_thresh",
        "best_f1",
        "best_f1_thresh",
    ]


def test_absent_kinds_of_questions_have_no_keys():
    answerable = scorer.evaluate(passages(question("q", "x")), {"q": "x"})
    assert list(answerable) == ["exact", "f1", "total", "HasAns_exact", "HasAns_f1", "HasAns_total"]
    unanswerable = scorer.evaluate(passages(question("q")), {"q": ""})
    assert list(unanswerable) == ["exact", "f1", "total", "NoAns_exact", "NoAns_f1", "NoAns_total"]


def test_answers_that_normalize_to_an_empty_text_are_skipped():
    scores = scorer.evaluate(passages(question("q", "the", "cat")), {"q": ""})
    assert (scores["exact"], scores["HasAns_total"]) == (0, 1)
    assert scorer.evaluate(passages(question("q", "the")), {"q": ""})["exact"] == 100


def test_above_the_threshold_a_question_counts_as_without_answer():
    # only "none" (0.6) is above 0.5: "invented" (0.5) does not
    assert scorer.evaluate(PASSAGES, PREDICTIONS, NA_PROBS, 0.5)["exact"] == 50
    # "invented" becomes right
    assert scorer.evaluate(PASSAGES, PREDICTIONS, NA_PROBS, 0.45)["exact"] == 75
    # everything becomes "no answer"
    none_answered = scorer.evaluate(PASSAGES, PREDICTIONS, NA_PROBS, 0.0)
    assert (none_answered["HasAns_f1"], none_answered["NoAns_f1"]) == (0, 100)


def test_best_thresholds():
    # Answering none scores 2 of 4. In the order right, half, invented, none the sum of exact is
    # 3, 3, 2, 2 and that of f1 3, 3 2/3, 2 2/3, 2 2/3.
    scores = scorer.evaluate(PASSAGES, PREDICTIONS, NA_PROBS)
    assert (scores["best_exact"], scores["best_exact_thresh"]) == (75.0, 0.1)
    assert (scores["best_f1"], scores["best_f1_thresh"]) == (pytest.approx(100 * (11 / 3) / 4), 0.4)


def test_best_threshold_is_zero_where_answering_none_is_best():
    scores = scorer.evaluate(PASSAGES, dict(PREDICTIONS, right="London"), dict(NA_PROBS, invented=0.05))
    assert (scores["best_exact"], scores["best_exact_thresh"]) == (50.0, 0.0)


def test_a_missing_prediction_is_wrong_at_every_threshold():
    predictions = {"right": "Paris", "half": "blue"}
    for threshold in (-1.0, 0.05, 1.0):
        assert scorer.evaluate(PASSAGES, predictions, NA_PROBS, threshold)["NoAns_exact"] == 0
    scores = scorer.evaluate(PASSAGES, predictions, NA_PROBS)
    assert (scores["exact"], scores["total"], scores["best_exact"]) == (25.0, 4, 25.0)


def curve(na_probs, metric):
    scores = scorer.score_questions(PASSAGES, PREDICTIONS)
    return scorer.precision_recall(scores, scorer._credits(scores, "pr_" + metric), na_probs)


def test_precision_recall_curves():
    # order right, half, invented, none; two questions have an answer
    assert curve(NA_PROBS, "exact") == ([1, 1, 1 / 2, 1 / 3, 1 / 4], [0, 0.5, 0.5, 0.5, 0.5], 0.5)
    f1 = curve(NA_PROBS, "f1")
    assert f1.precisions == pytest.approx([1, 1, 5 / 6, 5 / 9, 5 / 12])
    assert f1.average_precision == pytest.approx(0.5 + 5 / 6 * (5 / 6 - 1 / 2))
    assert curve(NA_PROBS, "oracle").average_precision == pytest.approx(1.0)


def test_precision_recall_has_no_point_between_equal_no_answer_scores():
    tied = curve(dict(NA_PROBS, right=0.5, half=0.05), "exact")
    # half, then right and invented at once, then none
    assert tied == ([1, 0, 1 / 3, 1 / 4], [0, 0, 0.5, 0.5], pytest.approx(1 / 6))


TEXTS = st.text(alphabet="ab theTHE.,!é中", max_size=12)
QUESTIONS = st.lists(st.tuples(st.lists(TEXTS, max_size=3), TEXTS, st.floats(-5, 5)), min_size=1, max_size=6)


@given(QUESTIONS, st.floats(-5, 5))
@settings(deadline=None)
def test_scores_lie_within_their_bounds(questions, threshold):
    asked = passages(*[question(str(i), *golds) for i, (golds, _, _) in enumerate(questions)])
    predictions = {str(i): text for i, (_, text, _) in enumerate(questions)}
    na_probs = {str(i): na_prob for i, (_, _, na_prob) in enumerate(questions)}
    scores = scorer.evaluate(asked, predictions, na_probs, threshold)
    for prefix in ("", "HasAns_", "NoAns_", "best_"):
        if prefix + "f1" in scores:
            assert 0 <= scores[prefix + "exact"] <= scores[prefix + "f1"] <= 100 + 1e-9
    for metric in ("exact", "f1"):
        at_best = scorer.evaluate(asked, predictions, na_probs, scores[f"best_{metric}_thresh"])
        none_answered = scorer.evaluate(asked, predictions, na_probs, -9.0)
        assert scores["best_" + metric] >= none_answered[metric] - 1e-9
        if len(set(na_probs.values())) == len(na_probs) and scores[f"best_{metric}_thresh"]:
            assert at_best[metric] == pytest.approx(scores["best_" + metric])


@given(st.lists(TEXTS, min_size=1, max_size=6))
@settings(deadline=None)
def test_predicting_the_answer_scores_100(golds):
    asked = passages(*[question(str(i), gold) for i, gold in enumerate(golds)])
    scores = scorer.evaluate(asked, {str(i): gold for i, gold in enumerate(golds)})
    assert (scores["exact"], scores["f1"]) == (100, 100)


@given(TEXTS, TEXTS)
def test_f1_does_not_depend_on_which_text_is_the_answer(left, right):
    assert scorer.token_f1(left, right) == pytest.approx(scorer.token_f1(right, left))


class Folder:
    """A folder with data.json, pred.json and na.json, and the scorer run in it."""

    def __init__(self, path, command_lines):
        self.path, self._command_lines = path, command_lines
        self.write("data.json", DATA)
        self.write("pred.json", PREDICTIONS)
        self.write("na.json", NA_PROBS)

    def write(self, name, content):
        text = content if isinstance(content, str) else json.dumps(content)
        self.path.joinpath(name).write_text(text, encoding="utf-8")

    def read(self, name):
        return json.loads(self.path.joinpath(name).read_text(encoding="utf-8"))

    def run(self, *arguments, **environment):
        if not environment:
            return self._command_lines.run("squad_evaluate.py", *arguments, cwd=str(self.path))[:3]
        done = subprocess.run(
            [sys.executable, os.path.join(ROOT, "squad_evaluate.py")] + list(arguments),
            cwd=str(self.path),
            env=dict(os.environ, **environment),
            text=True,
            capture_output=True,
        )
        return done.returncode, done.stdout, done.stderr

    def refusal(self, *arguments, **environment):
        """Returns the message with which the scorer stops."""
        code, out, err = self.run(*arguments, **environment)
        assert (code, out) == (2, "")
        assert "Traceback" not in err
        return err.splitlines()[-1]


@pytest.fixture
def folder(command_lines, tmp_path):
    return Folder(tmp_path, command_lines)


def test_command_line_prints_the_scores_as_json_indented_by_two(folder):
    code, out, err = folder.run("data.json", "pred.json")
    assert code == 0
    assert out == json.dumps(scorer.evaluate(PASSAGES, PREDICTIONS), indent=2) + "\n"
    assert "no prediction" not in err


def test_command_line_takes_a_no_answer_file_and_a_threshold(folder):
    code, out, _ = folder.run("data.json", "pred.json", "-n", "na.json", "-t", "0.45")
    assert code == 0
    assert out == json.dumps(scorer.evaluate(PASSAGES, PREDICTIONS, NA_PROBS, 0.45), indent=2) + "\n"


def test_command_line_writes_the_scores_to_a_file_instead(folder):
    code, out, _ = folder.run("data.json", "pred.json", "-o", "new/scores.json")
    assert (code, out) == (0, "")
    assert folder.read("new/scores.json") == scorer.evaluate(PASSAGES, PREDICTIONS)


def test_command_line_draws_the_curves_and_histograms(folder):
    pytest.importorskip("matplotlib")
    code, out, _ = folder.run("data.json", "pred.json", "-n", "na.json", "-p", "figures")
    assert code == 0
    scores = json.loads(out)
    assert list(scores)[-3:] == ["pr_exact_ap", "pr_f1_ap", "pr_oracle_ap"]
    assert [scores["pr_exact_ap"], scores["pr_f1_ap"], scores["pr_oracle_ap"]] == pytest.approx(
        [50, 100 * (0.5 + 5 / 18), 100]
    )
    drawn = sorted(folder.path.joinpath("figures").iterdir())
    assert [path.name for path in drawn] == [
        "na_prob_hist_hasAns.png",
        "na_prob_hist_noAns.png",
        "pr_exact.png",
        "pr_f1.png",
        "pr_oracle.png",
    ]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in drawn)


def test_without_an_answerable_question_only_a_histogram_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    scores = scorer.score_questions(passages(question("q")), {"q": ""})
    assert scorer.draw(scores, {"q": -3.5}, str(tmp_path)) == {}
    assert [path.name for path in tmp_path.iterdir()] == ["na_prob_hist_noAns.png"]


def test_drawing_without_a_no_answer_file_causes_a_warning(folder):
    code, out, err = folder.run("data.json", "pred.json", "-p", "figures")
    assert (code, "pr_f1_ap" in out) == (0, False)
    assert "-p draws nothing without -n" in err


def test_without_matplotlib_the_error_names_cause_and_remedy(folder):
    folder.write("matplotlib.py", "raise ImportError('libpng is broken')")
    message = folder.refusal("data.json", "pred.json", "-n", "na.json", "-p", "figures", PYTHONPATH=str(folder.path))
    assert "matplotlib (libpng is broken)" in message and "requirements/figures.txt" in message


def test_missing_and_surplus_predictions_are_counted_on_stderr(folder):
    answers = [{"text": "x", "answer_start": 0}]
    qas = [{"id": "id%d" % i, "question": "?", "answers": answers} for i in range(8)]
    folder.write("data.json", {"data": [{"paragraphs": [{"context": "", "qas": qas}]}]})
    folder.write("pred.json", {"id0": "x", "other": "y"})
    code, out, err = folder.run("data.json", "pred.json")
    assert (code, json.loads(out)["exact"]) == (0, 12.5)
    assert "7 of 8 questions have no prediction and count as wrong: id1, id2, id3, id4, id5, ...\n" in err
    assert "1 of 2 predictions are for ids that are not in the data and are ignored: other\n" in err
    assert "id6, id7\n" in folder.run("data.json", "pred.json", "-v")[2]


@pytest.mark.parametrize(
    "name, content, parts",
    [
        ("pred.json", ["x"], ["pred.json", "object", '["x"]']),
        ("pred.json", {"right": 7}, ["pred.json", "right", "7"]),
        ("pred.json", {"half": None}, ["pred.json", "half", "null"]),
        ("pred.json", "{", ["pred.json", "JSON"]),
        ("na.json", {"right": 0.5}, ["na.json", "half"]),
        ("na.json", dict(NA_PROBS, none="0.5"), ["na.json", "none", '"0.5"']),
        ("na.json", dict(NA_PROBS, none=True), ["na.json", "none", "true"]),
        ("na.json", dict(NA_PROBS, none=float("nan")), ["na.json", "none", "NaN"]),
        ("na.json", dict(NA_PROBS, none=10**400), ["na.json", "none", "1000"]),
        ("na.json", 3, ["na.json", "object", "3"]),
        ("data.json", {"data": 1}, ["data.json", "data"]),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(folder, name, content, parts):
    folder.write(name, content)
    message = folder.refusal("data.json", "pred.json", "-n", "na.json")
    assert message.startswith("error: ")
    assert all(part in message for part in parts), message


@pytest.mark.parametrize(
    "arguments, part",
    [
        (["data.json", "nowhere.json"], "nowhere.json does not exist"),
        (["data.json", "pred.json", "-t", "nan"], "-t is nan, not a number"),
        (["data.json", "pred.json", "-t", "much"], "much"),
        (["data.json", "pred.json", "-o", "data.json/scores.json"], "data.json is a file where a folder is needed"),
        (["data.json"], "pred_file"),
    ],
)
def test_a_wrong_command_line_is_refused_in_one_line(folder, arguments, part):
    assert part in folder.refusal(*arguments)


def data_of(*questions):
    return {"data": [{"paragraphs": [{"qas": list(questions)}]}]}


@pytest.mark.parametrize(
    "question_of_file", [{"id": "a"}, {"id": "a", "answers": []}, {"id": "a", "answers": None, "is_impossible": False}]
)
def test_a_file_without_any_answers_is_refused(folder, question_of_file):
    folder.write("data.json", data_of(question_of_file))
    folder.write("pred.json", {"a": "x"})
    assert "the data file data.json has no answers, so there is nothing to score against" in folder.refusal(
        "data.json", "pred.json"
    )


@pytest.mark.parametrize("mark", [True, "true", 1])
def test_a_file_of_impossible_questions_is_scored(folder, mark):
    folder.write("data.json", data_of({"id": "a", "answers": [], "is_impossible": mark}))
    folder.write("pred.json", {"a": ""})
    code, out, _ = folder.run("data.json", "pred.json")
    assert (code, json.loads(out)["exact"]) == (0, 100.0)


@pytest.mark.parametrize("number", [7, 0, 10**12])
def test_integer_ids_are_scored(folder, number):
    folder.write("data.json", data_of({"id": number, "answers": [{"text": "x"}]}))
    folder.write("pred.json", {str(number): "x"})
    folder.write("na.json", {str(number): 0.25})
    code, out, err = folder.run("data.json", "pred.json", "-n", "na.json")
    assert (code, json.loads(out)["exact"]) == (0, 100.0) and "no prediction" not in err


@pytest.mark.parametrize("start", ["5", 5.0, None, [5]])
def test_answer_start_is_not_read(folder, start):
    answers = [{"text": "x", "answer_start": start}]
    folder.write("data.json", data_of({"id": "a", "is_impossible": "no", "answers": answers}))
    folder.write("pred.json", {"a": "x"})
    code, out, _ = folder.run("data.json", "pred.json")
    assert (code, json.loads(out)["exact"]) == (0, 100.0)


def no_answer_files(folder, odds):
    """Returns the words of a command that scores SQuAD 2.0 answers with these null odds."""
    data = tiny.squad2()
    questions = [q for p in data["data"][0]["paragraphs"] for q in p["qas"]]
    answers = {q["id"]: q["answers"][0]["text"] if q["answers"] else "boat" for q in questions}
    values = {q["id"]: odds[not q["answers"]] for q in questions}
    paths = [
        tiny.write_json(folder / f"{name}.json", value)
        for name, value in (("data", data), ("predictions", answers), ("odds", values))
    ]
    return [*paths[:2], "-n", paths[2]]


@pytest.mark.parametrize(
    "odds, words, wanted",
    [
        # The odds of the questions with an answer, and of those without.
        ((-5.0, -2.0), ["-t", "0"], "--na-prob-thresh=-5.0 (best_exact_thresh) has an exact match"),
        ((-5.0, 2.0), ["-t", "0"], None),
        ((-5.0, -2.0), ["-t", "-3"], None),
    ],
)
def test_a_threshold_above_all_null_odds_is_reported(tmp_path, odds, words, wanted):
    code, _, stderr = tiny.run("squad_evaluate.py", *no_answer_files(tmp_path, odds), *words)
    assert code == 0 and (wanted in stderr if wanted else "warning" not in stderr), stderr
