# SPDX-License-Identifier: Apache-2.0
"""Tests of intervals of few changes, verdicts and power, by hand and by simulation."""

import math

import numpy as np
import pytest

from mrc.answers import verdicts

QUESTIONS, PASSAGES = 177, 40


def passages_of(random, questions, passages):
    return np.sort(np.concatenate([np.arange(passages), random.randint(0, passages, questions - passages)]))


def losses(random, cells, clusters, loss, gain, concentration):
    """Returns `[cells, Q]` changes of exact match with this true loss.

    Passages differ in how often their questions change, the less the higher the `concentration`.
    """
    rate = loss + gain
    shape = rate * concentration, (1.0 - rate) * concentration
    by_passage = random.beta(*shape, (cells, clusters.max() + 1))
    lost = random.rand(cells, len(clusters)) < by_passage[:, clusters]
    gained = random.rand(cells, len(clusters)) < gain
    return gained.astype(float) - lost


@pytest.mark.parametrize("gain", [0.0, 0.01])
@pytest.mark.parametrize("loss", [0.005, 0.01, 0.02])
def test_intervals_of_small_losses_cover_them_in_93_percent(loss, gain):
    random = np.random.RandomState(0)
    clusters = passages_of(random, QUESTIONS, PASSAGES)
    # On the real reader, clustering leaves the variance as it is, within 11 %.
    differences = losses(random, 1000, clusters, loss, gain, concentration=50.0)
    estimates = verdicts.estimate(differences, clusters, draws=1000)
    covered = (estimates.low <= -100.0 * loss) & (-100.0 * loss <= estimates.high)
    assert covered.mean() >= 0.93


def test_no_change_in_177_questions_leaves_a_point_in_either_direction():
    estimates = verdicts.estimate(np.zeros((1, QUESTIONS)), np.arange(QUESTIONS))
    # Agresti and Min: 1.96 * sqrt(1) / 179.
    assert estimates.high[0] == pytest.approx(100 * 1.95996 / 179, rel=1e-4)
    assert estimates.low[0] == -estimates.high[0]


def test_the_adjusted_interval_is_that_of_agresti_and_min():
    differences = np.zeros((1, 100))
    differences[0, :3], differences[0, 3] = -1.0, 1.0
    estimates = verdicts.estimate(differences, np.arange(100))
    # c = 1.5, b = 3.5, N = 102: (c - b) / N -+ 1.96 sqrt(c + b - (c - b)^2 / N) / N.
    reach = 1.95996 * math.sqrt(5 - 4 / 102.0) / 102
    assert estimates.low[0] <= 100 * (-2 / 102.0 - reach) + 1e-3
    assert estimates.high[0] == pytest.approx(100 * (-2 / 102.0 + reach), rel=0.1)


def test_impossible_changes_have_no_width():
    estimates = verdicts.estimate(np.zeros((2, 50)), np.arange(50), [True, False])
    assert (estimates.low[0], estimates.high[0], estimates.se[0]) == (0.0, 0.0, 0.0)
    assert estimates.high[1] > 1.0


def test_estimates_are_in_points():
    differences = np.array([[0.5, -1.0, 0.0, 0.0] * 10])
    estimates = verdicts.estimate(differences, np.arange(40))
    assert estimates.difference[0] == -12.5
    assert (estimates.better[0], estimates.worse[0]) == (10, 10)
    assert estimates.se[0] == pytest.approx(100 * differences.std(ddof=1) / math.sqrt(40))


def test_verdicts_on_a_loss_a_gain_no_change_and_few_changes():
    random = np.random.RandomState(0)
    differences = np.zeros((5, 800))
    differences[0, :100], differences[1, :100] = -1.0, 1.0
    differences[2, :3] = -1.0
    differences[3] = random.choice([-1.0, 0.0, 1.0], 800)
    result = verdicts.compare(differences, np.arange(800), impossible=[False] * 4 + [True], draws=1000)
    assert result.verdict.tolist() == [
        verdicts.NEEDED,
        verdicts.HELPS,
        verdicts.NOT_NEEDED,
        verdicts.UNDECIDED,
        verdicts.IMPOSSIBLE,
    ]
    assert np.isnan(result.n_needed).tolist() == [True, True, True, False, True]
    assert np.isnan(result.mde).tolist() == [False] * 4 + [True]
    wider = verdicts.compare(differences[:4], np.arange(800), margin=0.1, draws=1000)
    assert wider.verdict[2] == verdicts.UNDECIDED


def test_a_single_passage_decides_nothing():
    result = verdicts.compare(np.array([[-1.0, -1.0, -1.0]]), [4, 4, 4])
    assert result.verdict.tolist() == [verdicts.UNDECIDED]
    assert np.isnan(result.mde[0]) and np.isnan(result.estimates.se[0])


def grid(random, clusters, loss):
    """Returns a grid of 20 cells; the first has this true loss, the others have none."""
    others = random.choice([-1.0, 0.0, 1.0], (19, len(clusters)), p=[0.04, 0.92, 0.04])
    first = losses(random, 1, clusters, loss, gain=0.03, concentration=20.0)
    return np.vstack([first, others])


@pytest.mark.parametrize("questions, passages", [(1190, 240), (3219, 848)])
def test_an_effect_of_the_predicted_mde_is_found_in_80_percent(questions, passages):
    random = np.random.RandomState(0)
    clusters = passages_of(random, questions, passages)
    loss = 0.02
    for _ in range(3):  # the variance grows with the loss
        predicted = verdicts.compare(grid(random, clusters, loss), clusters, draws=500).mde[0]
        loss = predicted / 100.0
    found = sum(
        verdicts.compare(grid(random, clusters, loss), clusters, draws=300, seed=seed).verdict[0] == verdicts.NEEDED
        for seed in range(200)
    )
    assert 0.7 <= found / 200.0 <= 0.92


def test_the_needed_questions_decide():
    random = np.random.RandomState(3)
    clusters = passages_of(random, 400, 90)
    small = verdicts.compare(grid(random, clusters, 0.03), clusters, draws=500)
    assert small.verdict[0] == verdicts.UNDECIDED
    needed = int(small.n_needed[0])
    assert needed > 400
    decided = 0
    for seed in range(60):
        clusters = passages_of(random, needed, needed * 90 // 400)
        true_loss = -small.estimates.difference[0] / 100.0
        result = verdicts.compare(grid(random, clusters, true_loss), clusters, draws=300, seed=seed)
        decided += result.verdict[0] != verdicts.UNDECIDED
    assert decided >= 0.65 * 60


def test_a_cell_without_changes_needs_more_questions_to_be_not_needed():
    result = verdicts.compare(np.zeros((1, QUESTIONS)), np.arange(QUESTIONS))
    assert result.verdict[0] == verdicts.UNDECIDED and 177 < result.n_needed[0] < 1000
    needed = int(result.n_needed[0])
    more = verdicts.compare(np.zeros((1, needed)), np.arange(needed))
    assert more.verdict[0] == verdicts.NOT_NEEDED
