# SPDX-License-Identifier: Apache-2.0
"""The tables of effects that a grid's scoring writes."""

import csv

import pytest
import tiny

from mrc import cells as grid_cells
from mrc.answers import effect_tables, effects
from mrc.data.squad_format import Answer, Passage, Question
from mrc.datasets import CMRC2018, SQUAD

HEADER = (
    "layer,head,zone,metric,baseline,value,difference,low,high,p,p_holm,better,worse,questions"
).split(",")


def passages(asked):
    """Returns passages of two questions each, `q0` to `qN`, whose answer is `a`."""
    made = []
    for number in range(0, len(asked), 2):
        questions = tuple(
            Question(f"q{at}", asked[at], (Answer("a", 0),), None, f"place {at}")
            for at in range(number, number + 2)
        )
        made.append(Passage("a", questions, f"passage {number}"))
    return made


def rows_of(path):
    with open(str(path), encoding="utf-8") as reader:
        return list(csv.DictReader(reader))


def write(folder, dataset=SQUAD, zones="p2,off", layers="0+1,1", heads=None, asked=None, right=()):
    """Writes the tables of a grid whose baseline answers every question.

    A cell does so in `right`.
    """
    asked = asked or [
        "Who?",
        "Where is it?",
        "How many?",
        "Why?",
        "Who is it?",
        "What?",
        "When?",
        "Go",
    ]
    data = passages(asked)
    cells = grid_cells.read_cells(zones, layers, 3, heads, 2)
    everything = {f"q{at}": "a" for at in range(len(asked))}
    evaluations = {}
    for number, cell in enumerate(cells):
        predictions = dict(everything)
        if number:
            predictions.update((f"q{at}", "b") for at in range(len(asked)) if at not in right)
        evaluations[cell] = dataset.evaluate(data, predictions)
    names = effect_tables.write(dataset, data, evaluations, str(folder))
    assert names == ["effects.csv", "effects_by_type.csv"]
    return rows_of(folder / "effects.csv"), rows_of(folder / "effects_by_type.csv")


def test_a_row_for_each_cell_and_metric(tmp_path):
    rows, _ = write(tmp_path, heads="1", right=(0, 1, 2))
    assert list(rows[0]) == HEADER
    assert [(row["layer"], row["head"], row["zone"], row["metric"]) for row in rows] == [
        (layer, "1", zone, metric)
        for layer in ("0+1", "1")
        for zone in ("p2", "off")
        for metric in ("em", "f1")
    ]
    for row in rows:
        assert float(row["baseline"]) == 100 and float(row["value"]) == 37.5
        assert float(row["difference"]) == -62.5 and row["questions"] == "8"
        assert (row["better"], row["worse"]) == ("0", "5")
    # Exact McNemar with 5 questions that all get worse: 2 / 2^5; Holm multiplies by 4 cells.
    assert float(rows[0]["p"]) == 0.0625 and float(rows[0]["p_holm"]) == 0.25


def test_questions_are_grouped_by_their_interrogative(tmp_path, capsys):
    _, rows = write(tmp_path, right=(0, 4))
    assert list(rows[0]) == ["type"] + HEADER
    who = [row for row in rows if row["type"] == "who"]
    assert {row["questions"] for row in who} == {"2"}
    assert {float(row["difference"]) for row in who} == {0.0}
    other = [row for row in rows if row["type"] == "other"]
    assert {(row["questions"], float(row["value"])) for row in other} == {("1", 0.0)}
    out = capsys.readouterr().out
    assert (
        "questions by type: what 1, who 2, when 1, where 1, which 0, why 1, how many/much 1" in out
    )


def test_chinese_questions(tmp_path):
    asked = ["谁是国王？", "为什么？", "有多少人？", "在哪里？"]
    _, rows = write(tmp_path, CMRC2018, asked=asked)
    assert {row["type"] for row in rows} == {"谁", "为什么", "多少/几", "哪里/何地"}


@pytest.mark.parametrize("right, real", [((), 4), (range(38), 0)])
def test_the_summary_counts_the_cells_that_are_more_than_noise(tmp_path, capsys, right, real):
    write(tmp_path, asked=["Who?"] * 40, right=right)
    out = capsys.readouterr().out
    assert f"exact match: the effect of {real} of 4 cells is more than noise (p < 0.05 after" in out


def test_an_id_that_occurs_twice_is_one_question_for_squad_and_two_for_cmrc():
    data = passages(["Who?", "Where?"]) + passages(["When?", "Why?"])
    squad = SQUAD.scored_questions(data)
    assert [(number, question.text) for number, question in squad] == [(1, "When?"), (1, "Why?")]
    assert len(SQUAD.evaluate(data, {}).em) == 2
    assert len(CMRC2018.scored_questions(data)) == len(CMRC2018.evaluate(data, {}).f1) == 4


def test_the_values_are_those_of_the_table(tmp_path):
    data = tiny.squad2()
    path = tiny.write_json(tmp_path / "data.json", data)
    from mrc.data import squad_format

    read = squad_format.read(path, "data file", squad_format.SCORING)
    predictions = {"colour": "green", "where": "harbour", "bridge": "", "none of 68": ""}
    odds = {question_id: 1.0 if question_id == "where" else -1.0 for question_id in predictions}
    found = SQUAD.evaluate(read, predictions, odds, 0.0)
    for metric, values in (("exact", found.em), ("f1", found.f1)):
        assert found.summary[metric] == pytest.approx(100 * sum(values) / len(values))
    assert effects.METRICS == ("em", "f1")
