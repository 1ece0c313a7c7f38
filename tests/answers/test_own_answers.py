# SPDX-License-Identifier: Apache-2.0
"""Cells compared with the reader's own answers, for data with and without gold answers."""

import numpy as np
import pytest
import tiny

from mrc import datasets
from mrc.answers import effects, question_scores
from mrc.experiment import run as experiment

OWN = {"colour": "green", "where": "over the harbour", "boat": "", "bridge": "stone bridge"}
GRID = {"layer_": OWN, "layer0_q2": dict(OWN, where="harbour over there", boat="Éclair"), "layer0_p2": OWN}


def score(paths, folder, dataset=datasets.SQUAD, data=None, grid=GRID, **flags):
    """Writes the predictions of a grid and scores them."""
    for name, predictions in grid.items():
        tiny.write_json(folder / f"predictions_{name}.json", predictions)
    path = tiny.write_json(folder / "data.json", data or tiny.squad())
    given = dict(predict_file=path, do_eval=True, mask_zone="q2,p2", mask_layer="0")
    values = tiny.model_flags(paths, output_dir=str(folder), train_file=None, **given)
    experiment.run(dataset, tiny.flag_values(**dict(values, **flags)))
    return effects.read(str(folder / "effects.csv"))


def without_answers(data):
    for article in data["data"]:
        for paragraph in article["paragraphs"]:
            for question in paragraph["qas"]:
                question["answers"] = []
    return data


def test_own_is_the_f1_with_the_answers_without_a_mask(paths, tmp_path):
    rows = score(paths, tmp_path)
    assert [row.metric for row in rows] == ["em", "f1", "own"] * 2
    scores = question_scores.read(str(tmp_path / "question_scores.npz"))
    # "over the harbour" and "harbour over there": 2 of 2 and 3 words in common, the article apart.
    np.testing.assert_allclose(scores.metrics["own"][1], [1.0, 0.8, 0.0, 1.0])
    np.testing.assert_allclose(scores.metrics["own"][[0, 2]], 1.0)
    assert [row.value for row in rows if row.metric == "own"] == [70.0, 100.0]


def test_data_without_answers_has_effects_on_the_own_answers(paths, tmp_path, capsys):
    rows = score(paths, tmp_path, data=without_answers(tiny.squad()))
    assert [(row.zone, row.metric, row.value) for row in rows] == [("q2", "own", 70.0), ("p2", "own", 100.0)]
    out = capsys.readouterr().out
    assert "the data has no answers: cells are compared with the reader's own answers" in out
    assert "F1 with own answers, layers from 1: q2 in layer 1 changes most; F1 falls to 70.0" in out
    scores = tiny.read_json(tmp_path, "scores.json")
    assert scores["layer0_q2"] == {"own": 70.0}
    assert not (tmp_path / "results.csv").exists()
    table, figure = str(tmp_path / "effects.csv"), str(tmp_path / "own.png")
    code, _, stderr = tiny.run("visualize_zones.py", table, figure)
    assert code == 2 and "no effects on exact match; pass --metric with one of own" in stderr
    code, _, stderr = tiny.run("visualize_zones.py", "--metric=own", table, figure)
    assert code == 0, stderr


def test_identical_chinese_answers_agree_even_without_a_word(paths, tmp_path):
    grid = {name: dict(answers, boat="。") for name, answers in GRID.items()}
    rows = score(paths, tmp_path, datasets.CMRC2018, without_answers(tiny.squad()), grid)
    assert rows[1].value == 100.0 and rows[0].value < 100.0


def test_no_answer_by_the_threshold_is_an_answer_of_the_reader(paths, tmp_path):
    for name in GRID:
        odds = dict.fromkeys(OWN, -1.0)
        odds["colour"] = 1.0 if name == "layer0_p2" else -1.0
        tiny.write_json(tmp_path / f"null_odds_{name}.json", odds)
    rows = score(paths, tmp_path, version_2_with_negative=True)
    assert [row.value for row in rows if row.metric == "own"] == [70.0, 75.0]


def test_a_single_cell_without_answers_cannot_be_scored(paths, tmp_path, capsys):
    with pytest.raises(SystemExit):
        score(paths, tmp_path, data=without_answers(tiny.squad()), mask_zone=None, mask_layer=None)
    assert "has no answers, so there is nothing to score against" in capsys.readouterr().err


def test_the_flags_set_the_margin_and_the_clusters(paths, tmp_path):
    em = [row for row in score(paths, tmp_path) if row.metric == "em"]
    assert em[0].verdict == "undecided" and em[0].se > 0.0
    wide = score(paths, tmp_path, margin=100.0)
    assert wide[0].verdict == "not needed"
    # All questions are of one article, which has no variance.
    single = score(paths, tmp_path, cluster="article", margin=100.0)
    assert single[0].verdict == "undecided" and np.isnan(single[0].se)
