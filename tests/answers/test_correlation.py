# SPDX-License-Identifier: Apache-2.0
"""Tests of the correlation of attention with the loss from masking it, and of correlate.py."""

import csv
import math

import numpy as np
import pytest
from scipy import stats

import attention_mask
from mrc.answers import attention_tables, correlation, effects
from mrc.answers.effects import Effect

LAYERS, HEADS = 6, 3


def masses(seed=0):
    random = np.random.RandomState(seed)
    found = random.dirichlet(np.ones(5), [LAYERS, HEADS, 4])
    return found, {
        (query, key): found[:, :, q, k]
        for q, query in enumerate(attention_tables.QUERY_GROUPS)
        for k, key in enumerate(attention_tables.KEY_GROUPS)
    }


def effect(layer, head, zone, metric, loss):
    return Effect(
        *(str(layer), head, zone, metric, 80.0, 80.0 - loss, -loss, 1.0, 0.0, 0.0, 0, 0, 50)
    )


def rows(loss_of, metric="em", heads=("",)):
    return [
        effect(layer, head, zone, metric, loss_of(layer, head, zone))
        for layer in range(LAYERS)
        for zone in attention_mask.BLOCKS
        for head in heads
    ]


def test_points_of_layers_have_the_mean_mass_of_their_heads():
    _, table = masses()
    found = correlation.find_points(table, rows(lambda layer, *_: 0.5 * layer), "q2p", "em")
    expected = table["question", "passage"].mean(axis=1)
    assert list(found) == [correlation.LAYERS]
    assert [point[:2] for point in found[correlation.LAYERS]] == [(n, None) for n in range(LAYERS)]
    np.testing.assert_allclose([point.mass for point in found[correlation.LAYERS]], expected)
    assert [point.loss for point in found[correlation.LAYERS]] == [0.5 * n for n in range(LAYERS)]


def test_points_of_heads_and_a_cell_of_every_head():
    _, table = masses()
    cells = rows(lambda layer, head, _: float(len(head)), heads=("0", "1", "2", "0+1+2", "0+1"))
    cells += [effect("0+1", "0", "p2", "em", 9.0), effect("each at once", "", "p2", "em", 9.0)]
    found = correlation.find_points(table, cells, "p2", "em")
    assert {point.loss for point in found[correlation.LAYERS]} == {5.0}
    points = {(point.layer, point.head): point for point in found[correlation.HEADS]}
    assert len(points) == LAYERS * HEADS
    assert points[4, 2].mass == table["passage", "passage"][4, 2] and points[4, 2].loss == 1.0


def test_coefficients_and_the_interval_of_fishers_z():
    mass, loss = np.array([[0.1, 0.4, 0.2, 0.7, 0.6], [1.0, 2.0, 2.5, 3.0, 9.0]])
    points = [correlation.Point(n, None, *pair) for n, pair in enumerate(zip(mass, loss))]
    row = correlation.correlate(points, "q2", correlation.LAYERS, "f1")
    assert row.spearman == pytest.approx(stats.spearmanr(mass, loss)[0])
    assert row.pearson == pytest.approx(stats.pearsonr(mass, loss)[0])
    z, reach = math.atanh(row.pearson), 1.96 / math.sqrt(2)
    assert row.pearson_low == pytest.approx(math.tanh(z - reach), abs=1e-4)
    assert row.pearson_high == pytest.approx(math.tanh(z + reach), abs=1e-4)
    # Of ranks the variance is (1 + r^2 / 2) / (n - 3).
    z, r = math.atanh(row.spearman), row.spearman
    reach = 1.96 * math.sqrt((1 + r * r / 2) / 2)
    assert row.spearman_low == pytest.approx(math.tanh(z - reach), abs=1e-4)
    assert "not significant" in correlation.in_words(row) and "5 layers" in (
        correlation.in_words(row)
    )


@pytest.mark.parametrize("loss", [[1.0, 1.0, 1.0, 1.0], [1.0, 2.0, float("nan")][:1]])
def test_a_constant_or_a_single_point_has_no_correlation(loss):
    points = [correlation.Point(n, None, 0.1 * n, each) for n, each in enumerate(loss)]
    row = correlation.correlate(points, "q2", correlation.LAYERS, "em")
    assert math.isnan(row.spearman) and "no correlation" in correlation.in_words(row)
    assert correlation.TABLE.to_csv([row]).splitlines()[1] == f"q2,layers,em,{len(loss)},,,,,,"


def test_the_script_writes_a_table_and_a_figure(command_lines, tmp_path):
    found, table = masses()
    entropies = np.zeros([LAYERS, HEADS, 4])
    text = attention_tables.to_csv(found, entropies)[0]
    (tmp_path / "attention.csv").write_text(text, encoding="utf-8")

    def loss(layer, head, zone):
        mass = table[attention_mask.BLOCKS[zone]][layer]
        return 100.0 * (mass.mean() if head == "0+1+2" else mass[int(head)])

    heads = ("0", "1", "2", "0+1+2")
    cells = rows(loss, "em", heads) + rows(lambda *_: 1.0, "f1", heads)
    (tmp_path / "effects.csv").write_text(effects.TABLE.to_csv(cells), encoding="utf-8")
    code, stdout, stderr, _ = command_lines.run("correlate.py", str(tmp_path))
    assert code == 0, stderr
    with open(str(tmp_path / "correlation.csv"), encoding="utf-8") as reader:
        lines = list(csv.DictReader(reader))
    assert len(lines) == 2 * 2 * 4 == len(stdout.splitlines())
    for line in lines:
        assert line["points"] == ("6" if line["over"] == "layers" else "18")
        # The table has 6 decimals of the masses, and effects.csv 4 of the losses.
        assert line["spearman"] == ("1.0000" if line["metric"] == "em" else "")
    assert (tmp_path / "correlation.png").read_bytes().startswith(b"\x89PNG")
