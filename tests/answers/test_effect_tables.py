# SPDX-License-Identifier: Apache-2.0
"""The tables of effects that a grid's scoring writes."""

import csv
import math

import pytest
import tiny

from mrc import cells as grid_cells
from mrc.answers import effect_tables, effects, question_scores, scoring
from mrc.data import squad_format
from mrc.data.squad_format import Answer, Passage, Question
from mrc.datasets import CMRC2018, SQUAD

OPTIONS = scoring.EffectOptions("paragraph", 1.0, 3, False)


def passages(asked):
    """Returns passages of two questions each, `q0` to `qN`, whose answer is `a`."""
    made = []
    for number in range(0, len(asked), 2):
        questions = tuple(
            Question(f"q{at}", asked[at], (Answer("a", 0),), None, f"place {at}") for at in range(number, number + 2)
        )
        made.append(Passage("a", questions, f"passage {number}"))
    return made


def rows_of(path):
    with open(str(path), encoding="utf-8") as reader:
        return list(csv.DictReader(reader))


def metrics_of(evaluations):
    """Returns {metric: {cell: scores}}; a cell answers as the baseline where both are right."""
    metrics = {metric: {cell: getattr(each, metric) for cell, each in evaluations.items()} for metric in ("em", "f1")}
    return dict(metrics, own=metrics["f1"])


def write(folder, dataset=SQUAD, zones="p2,off", layers="0+1,1", heads=None, asked=None, right=(), options=OPTIONS):
    """Writes the tables of a grid whose baseline answers every question.

    A cell does so in `right`.
    """
    asked = asked or ["Who?", "Where is it?", "How many?", "Why?", "Who is it?", "What?", "When?", "Go"]
    data = passages(asked)
    cells = grid_cells.read_cells(zones, layers, 3, heads, 2)
    everything = {f"q{at}": "a" for at in range(len(asked))}
    evaluations = {}
    for number, cell in enumerate(cells):
        predictions = dict(everything)
        if number:
            predictions.update((f"q{at}", "b") for at in range(len(asked)) if at not in right)
        evaluations[cell] = dataset.evaluate(data, predictions)
    names = effect_tables.write(dataset, data, metrics_of(evaluations), str(folder), options)
    assert names == ["question_scores.npz", "effects.csv", "effects_by_type.csv"]
    return rows_of(folder / "effects.csv"), rows_of(folder / "effects_by_type.csv")


def test_a_row_for_each_cell_and_metric(tmp_path):
    rows, _ = write(tmp_path, heads="1", right=(0, 1, 2))
    assert [(row["layer"], row["head"], row["zone"], row["metric"]) for row in rows] == [
        (layer, "1", zone, metric) for layer in ("0+1", "1") for zone in ("p2", "off") for metric in ("em", "f1", "own")
    ]
    for row in rows:
        assert float(row["baseline"]) == 100 and float(row["value"]) == 37.5
        assert float(row["difference"]) == -62.5 and row["questions"] == "8"
        assert (row["better"], row["worse"]) == ("0", "5")
    # Three passages get worse: 2 of 2^3 patterns; all cells are alike.
    assert float(rows[0]["p"]) == float(rows[0]["p_adjusted"]) == 0.25
    scores = question_scores.read(str(tmp_path / "question_scores.npz"))
    assert scores.ids.tolist() == [f"q{number}" for number in range(8)]
    assert scores.passages.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert [label.name for label in scores.cells][0] == "layer0+1_p2_head1"
    assert scores.layers == OPTIONS.layers
    assert scores.metrics["em"][1].tolist() == [1, 1, 1] + [0] * 5


def test_rows_name_the_reader_its_data_and_its_seed(tmp_path):
    origin = dict(reader="my_reader", data="dev.json", seed="7")
    rows, _ = write(tmp_path, options=OPTIONS._replace(origin=origin))
    assert list(rows[0])[-3:] == ["reader", "data", "seed"]
    assert {tuple(row.values())[-3:] for row in rows} == {("my_reader", "dev.json", "7")}
    path = str(tmp_path / "effects.csv")
    assert {row[-3:] for row in effects.read(path)} == {("my_reader", "dev.json", "7")}


def test_a_table_of_an_earlier_version_has_no_origin_and_no_control(tmp_path):
    write(tmp_path)
    path = tmp_path / "effects.csv"
    lines = path.read_text().splitlines()
    path.write_text("".join(line.rsplit(",", 7)[0] + "\n" for line in lines))
    row = effects.read(str(path))[0]
    assert row[-3:] == ("", "", "") and math.isnan(row.above_control) and row.questions == 8


def test_questions_are_grouped_by_their_interrogative(tmp_path, capsys):
    _, rows = write(tmp_path, right=(0, 4))
    who = [row for row in rows if row["type"] == "who"]
    assert {row["questions"] for row in who} == {"2"}
    assert {float(row["difference"]) for row in who} == {0.0}
    other = [row for row in rows if row["type"] == "other"]
    assert {(row["questions"], float(row["value"])) for row in other} == {("1", 0.0)}
    out = capsys.readouterr().out
    assert "questions by type: what 1, who 2, when 1, where 1, which 0, why 1, how many/much 1" in out


def test_chinese_questions(tmp_path):
    asked = ["谁是国王？", "为什么？", "有多少人？", "在哪里？"]
    _, rows = write(tmp_path, CMRC2018, asked=asked)
    assert {row["type"] for row in rows} == {"谁", "为什么", "多少/几", "哪里/何地"}


@pytest.mark.parametrize(
    "right, words",
    [
        ((), "needed: p2 in layers 1+2 and 2, off in layers 1+2 and 2; not needed: none; "),
        (range(38), "needed: none; not needed: none; undecided: 4 cells (most need about "),
    ],
)
def test_the_summary_names_the_verdicts(tmp_path, capsys, right, words):
    write(tmp_path, asked=["Who?"] * 40, right=right)
    assert "exact match, layers from 1: " + words in capsys.readouterr().out


def test_the_summary_joins_layers_and_counts_many_cells(tmp_path, capsys):
    asked = ["Who?"] * 40
    write(tmp_path, asked=asked, zones="p2", layers="each")
    assert "needed: p2 in layers 1 to 3; not" in capsys.readouterr().out
    write(tmp_path, asked=asked, zones="p2,q2", layers=None)
    assert "needed: p2 in every layer at once, q2 in every" in capsys.readouterr().out
    write(tmp_path, asked=asked, zones="p2,q2,p2q,q2p,off", layers="each")
    assert "needed: 15 cells; not" in capsys.readouterr().out


def test_the_margin_decides_what_is_not_needed(tmp_path, capsys):
    options = OPTIONS._replace(margin=20.0)
    rows, _ = write(tmp_path, asked=["Who?"] * 40, right=range(39), options=options)
    assert {row["verdict"] for row in rows if row["metric"] == "em"} == {"not needed"}
    assert "not needed: 4 cells; undecided: none" in capsys.readouterr().out


@pytest.mark.parametrize(
    "dataset, reads_null, zones", [(SQUAD, False, {"q2", "q2p"}), (SQUAD, True, {"q2"}), (CMRC2018, False, {"q2"})]
)
def test_cells_of_the_last_layer_that_no_answer_reads_are_impossible(tmp_path, dataset, reads_null, zones):
    asked = ["Who?"] * 8
    rows, _ = write(
        tmp_path,
        dataset,
        zones="all,q2,q2p,p2q,p2,off,q2+p2",
        layers="1,2,1+2",
        asked=asked,
        right=range(8),
        options=OPTIONS._replace(reads_null=reads_null),
    )
    impossible = {(row["layer"], row["zone"]) for row in rows if row["verdict"] == "impossible"}
    assert impossible == {("2", zone) for zone in zones}


def test_a_zone_that_changes_the_ranking_is_not_impossible(tmp_path):
    rows, _ = write(tmp_path, zones="q2", layers="1,2", right=(0,))
    assert "impossible" not in {row["verdict"] for row in rows}


def test_passages_know_their_article(tmp_path):
    data = tiny.squad()
    data["data"] += tiny.squad()["data"]
    path = tiny.write_json(tmp_path / "data.json", data)
    read = squad_format.read(path, "data file", squad_format.SCORING)
    paragraphs = [len(article["paragraphs"]) for article in data["data"]]
    assert [passage.article for passage in read] == [number for number, count in enumerate(paragraphs) for _ in range(count)]


def test_an_id_that_occurs_twice_is_one_question_for_squad_and_two_for_cmrc():
    data = passages(["Who?", "Where?"]) + passages(["When?", "Why?"])
    squad = SQUAD.scored_questions(data)
    assert [(number, question.text) for number, question in squad] == [(1, "When?"), (1, "Why?")]
    assert len(SQUAD.evaluate(data, {}).em) == 2
    assert len(CMRC2018.scored_questions(data)) == len(CMRC2018.evaluate(data, {}).f1) == 4


def test_the_values_are_those_of_the_table(tmp_path):
    data = tiny.squad2()
    path = tiny.write_json(tmp_path / "data.json", data)
    read = squad_format.read(path, "data file", squad_format.SCORING)
    predictions = {"colour": "green", "where": "harbour", "bridge": "", "none of 68": ""}
    odds = {question_id: 1.0 if question_id == "where" else -1.0 for question_id in predictions}
    found = SQUAD.evaluate(read, predictions, odds, 0.0)
    for metric, values in (("exact", found.em), ("f1", found.f1)):
        assert found.summary[metric] == pytest.approx(100 * sum(values) / len(values))
    assert effects.TESTED == ("em", "f1")
