# SPDX-License-Identifier: Apache-2.0
"""Tests of the correlation of attention with the loss from masking it, and of correlate.py."""

import csv
import math

import numpy as np
import pytest
from scipy import stats

import attention_mask
from mrc import cells as grid_cells
from mrc.answers import attention_tables, correlation, effects, question_scores, verdicts
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
    return Effect(*(str(layer), head, zone, metric, 80.0, 80.0 - loss, -loss, 1.0, 0.0, 0.0, 0, 0, 50))


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


def point(layer, head, mass, loss, verdict=verdicts.NEEDED):
    row = effect(layer, "" if head is None else str(head), "q2", "em", loss)
    return correlation.Point(layer, head, mass, row._replace(verdict=verdict))


def test_cells_that_cannot_change_an_answer_are_no_points():
    _, table = masses()
    cells = rows(lambda layer, *_: float(layer))
    cells = [row._replace(verdict=verdicts.IMPOSSIBLE if row.layer == "5" else verdicts.UNDECIDED) for row in cells]
    points = correlation.find_points(table, cells, "q2", "em")[correlation.LAYERS]
    assert [each.layer for each in points] == [0, 1, 2, 3, 4]


def test_coefficients_and_the_interval_of_fishers_z():
    mass, loss = np.array([[0.1, 0.4, 0.2, 0.7, 0.6], [1.0, 2.0, 2.5, 3.0, 9.0]])
    points = [point(n, None, *pair) for n, pair in enumerate(zip(mass, loss))]
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
    assert "not significant" in correlation.in_words(row) and "5 layers" in (correlation.in_words(row))


def test_the_p_of_four_layers_in_order_is_2_of_24():
    p = correlation.permutation_p([1, 2, 3, 4], [10, 20, 30, 40], np.zeros(4))
    assert p == pytest.approx(2 / 24, abs=0.01)


def test_heads_are_compared_within_their_layers():
    # Layer 1 has larger masses and losses than layer 0, but within both the order is reversed.
    points = [point(layer, head, layer + 0.1 * head, 10.0 * layer - head) for layer in range(2) for head in range(4)]
    row = correlation.correlate(points, "q2", correlation.HEADS, "em")
    assert row.spearman == pytest.approx(-1.0) and row.pearson == pytest.approx(-1.0)
    assert row.p == pytest.approx(2 / 24**2, abs=0.005)


def test_heads_that_share_a_layer_effect_raise_at_most_8_percent_false_alarms():
    random = np.random.RandomState(0)
    strata = np.repeat(np.arange(6), 12)
    alarms = 0
    for _ in range(400):
        mass, loss = (random.normal(size=6)[strata] + random.normal(size=len(strata)) for _ in range(2))
        alarms += correlation.permutation_p(mass, loss, strata, draws=200) < 0.05
    assert 0.02 * 400 <= alarms <= 0.08 * 400


def test_the_ceiling_is_the_root_of_the_reliability():
    random = np.random.RandomState(0)
    clusters, true = np.repeat(np.arange(200), 2), random.normal(size=(300, 1))
    noise = random.normal(size=(300, 400))
    # 400 questions of variance 400 around true losses of variance 1: reliability 1 / 2.
    noisy = correlation.ceiling(true + 20.0 * noise, clusters, np.zeros(300), splits=50)
    assert noisy == pytest.approx(math.sqrt(0.5), abs=0.06)
    exact = correlation.ceiling(np.tile(true, 400), clusters, np.zeros(300), splits=5)
    assert exact == pytest.approx(1.0)
    assert correlation.ceiling(noise[:20], clusters, np.zeros(20), splits=50) < 0.6
    assert math.isnan(correlation.ceiling(noise, np.zeros(400), np.zeros(300)))


@pytest.mark.parametrize(
    "verdict, words", [(verdicts.NEEDED, "with more attention to the zone"), (verdicts.UNDECIDED, "no finding")]
)
def test_without_a_loss_beyond_noise_there_is_no_finding(verdict, words):
    points = [point(n, None, 0.1 * n, float(n), verdict) for n in range(8)]
    row = correlation.correlate(points, "q2", correlation.LAYERS, "em")
    text = correlation.in_words(row)
    assert row.p < 0.05 and words in text and "ceiling unknown" in text
    assert row.significant == (8 if verdict == verdicts.NEEDED else 0)


@pytest.mark.parametrize("loss", [[1.0, 1.0, 1.0, 1.0], [1.0]])
@pytest.mark.parametrize("scale", [0.1, float("nan")])
def test_a_constant_a_single_point_or_an_empty_group_has_no_correlation(loss, scale):
    points = [point(n, None, scale * n, each) for n, each in enumerate(loss)]
    row = correlation.correlate(points, "q2", correlation.LAYERS, "em")
    assert math.isnan(row.spearman) and "no correlation" in correlation.in_words(row)
    line = correlation.TABLE.to_csv([row]).splitlines()[1]
    assert line == f"q2,layers,em,{len(loss)},{len(loss)},,,,,,,,"


def write_scores(folder, cells, seed=0):
    """Writes scores of 40 questions in which the loss of a cell is that of `cells`."""
    labels = list(dict.fromkeys(grid_cells.Label(*row[:3]) for row in cells))
    scores = {
        metric: np.array(
            [np.ones(40)]
            + [
                np.full(40, 1.0 - next(-row.difference for row in cells if row[:4] == (*label, metric)) / 100.0)
                for label in labels
            ]
        )
        for metric in ("em", "f1")
    }
    ids = np.arange(40)
    question_scores.write(folder, question_scores.QuestionScores(ids.astype(str), ids // 2, ids // 8, labels, scores))


@pytest.mark.parametrize("has_scores", [True, False])
def test_the_script_writes_a_table_and_a_figure(command_lines, tmp_path, has_scores):
    found, table = masses()
    entropies = np.zeros([LAYERS, HEADS, 4])
    text = attention_tables.to_csv(found, entropies, attention_tables.uniform_attention(np.ones([1, 4])))[0]
    (tmp_path / "attention.csv").write_text(text, encoding="utf-8")

    def loss(layer, head, zone):
        mass = table[attention_mask.BLOCKS[zone]][layer]
        return 100.0 * (mass.mean() if head == "0+1+2" else mass[int(head)])

    heads = ("0", "1", "2", "0+1+2")
    cells = rows(loss, "em", heads) + rows(lambda *_: 1.0, "f1", heads)
    (tmp_path / "effects.csv").write_text(effects.TABLE.to_csv(cells), encoding="utf-8")
    if has_scores:
        write_scores(str(tmp_path), cells)
    code, stdout, stderr, _ = command_lines.run("correlate.py", str(tmp_path))
    assert code == 0, stderr
    assert ("so the ceiling is unknown" in stderr) != has_scores
    with open(str(tmp_path / "correlation.csv"), encoding="utf-8") as reader:
        lines = list(csv.DictReader(reader))
    assert len(lines) == 2 * 2 * 4 == len(stdout.splitlines())
    for line in lines:
        assert line["points"] == ("6" if line["over"] == "layers" else "18")
        # The table has 6 decimals of the masses, and effects.csv 4 of the losses.
        assert line["spearman"] == ("1.0000" if line["metric"] == "em" else "")
        if line["metric"] == "em":
            assert float(line["p"]) < 0.05
            assert line["ceiling"] == ("1.0000" if has_scores else "")
    assert (tmp_path / "correlation.png").read_bytes().startswith(b"\x89PNG")
