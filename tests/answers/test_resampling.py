# SPDX-License-Identifier: Apache-2.0
"""Tests of resampling, against hand-computed values and by simulation."""

import math

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mrc.answers import resampling


def sums(differences, clusters):
    return resampling.cluster_sums(np.atleast_2d(differences), clusters)


def flip(differences, clusters, **kwargs):
    """Returns p of a single cell."""
    return resampling.sign_flips(sums(differences, clusters)[0], **kwargs).p[0]


def interval(differences, clusters, **kwargs):
    low, high = resampling.bootstrap_interval(*sums(differences, clusters), **kwargs)
    return low[0], high[0]


def clustered(random, passages=60):
    """Returns the passage of each question; a passage has 5 questions on average."""
    return np.repeat(np.arange(passages), 1 + random.poisson(4, passages))


# Sign flips


def test_sign_flips_of_single_questions_match_hand_enumeration():
    # |+-3 +-1 +-1| >= 3 in 6 of 8 patterns: all but (3, -1, -1) and (-3, 1, 1).
    assert flip([3.0, 1.0, -1.0], [0, 1, 2]) == 6 / 8.0
    assert flip([3.0, 1.0, 1.0], [0, 1, 2]) == 2 / 8.0


def test_questions_of_a_passage_flip_together():
    assert flip([1.0] * 4, [0, 0, 1, 1]) == 2 / 4.0
    assert flip([1.0] * 4, [0, 1, 2, 3]) == 2 / 16.0


def test_passages_whose_differences_cancel_do_not_matter():
    differences = [1.0, 1.0] + [0.1, 0.2, -0.3] * 30
    groups = [0, 1] + list(np.repeat(np.arange(2, 32), 3))
    assert flip(differences, groups) == 2 / 4.0


def test_no_difference_has_p_one():
    assert flip([0.0] * 40, range(40)) == 1.0


def test_ties_count_despite_rounding():
    # 13 passages, so patterns are drawn; every pattern has a sum of at least 0.1, as observed.
    differences = [0.1] * 7 + [-0.1] * 6
    assert flip(differences, range(13), draws=500) == 1.0


def test_random_sign_flips_approximate_the_exact_p():
    random = np.random.RandomState(0)
    values = random.normal(0.4, 1.0, 14)
    patterns = 1 - 2 * ((np.arange(2**14)[:, None] >> np.arange(14)) & 1)
    exact = np.mean(np.abs(patterns @ values) >= abs(values.sum()) - 1e-12)
    assert flip(values, range(14), seed=1) == pytest.approx(exact, abs=0.015)


def test_smallest_random_p_counts_the_observed_pattern():
    assert flip([1.0] * 100, range(100), draws=999) == 1 / 1000.0


def test_adjustment_steps_down_over_shared_patterns():
    # Two clusters have the patterns ++, +-, -+, --. The statistics of the cells are
    # |3 + 1| / sqrt(10) = 1.26 and |1 - 1| / sqrt(2) = 0; under +- they are 0.63 and 1.41.
    tests = resampling.sign_flips(np.array([[3.0, 1.0], [1.0, -1.0]]))
    np.testing.assert_allclose(tests.p, [2 / 4.0, 1.0])
    np.testing.assert_allclose(tests.p_adjusted, [1.0, 1.0])
    # A cell twice: the patterns are shared, so the second costs nothing.
    twice = resampling.sign_flips(np.array([[1.0] * 6, [1.0] * 6]))
    np.testing.assert_allclose(twice.p_adjusted, [2 / 64.0, 2 / 64.0])


def test_adjusted_p_is_never_below_p_nor_below_that_of_a_more_extreme_cell():
    random = np.random.RandomState(0)
    tests = resampling.sign_flips(random.normal(0.3, 1.0, (8, 30)), draws=500)
    assert np.all(tests.p_adjusted >= tests.p)
    assert tests.p_adjusted.min() == pytest.approx(tests.p_adjusted[np.argmin(tests.p)], abs=1e-12)


def test_an_effect_can_be_significant_in_a_large_grid():
    cells = np.zeros((300, 40))  # Holm's correction would need 6,000 draws
    cells[5] = -0.5
    tests = resampling.sign_flips(cells, draws=100)
    assert np.flatnonzero(tests.p_adjusted < 0.05).tolist() == [5]


def grids(random, cells=30, passages=40):
    """Yields `[C, P]` sums of grids without an effect, like a real grid of 177 questions.

    Cells share what makes a question change; few change in some cells, many in others; passages
    change together; differences are 1, 0, -1 or fractions.
    """
    rate = np.linspace(0.01, 0.4, cells)[:, np.newaxis]
    while True:
        clusters = np.repeat(np.arange(passages), 1 + random.poisson(3.4, passages))
        questions = len(clusters)
        shared = random.rand(questions) + 0.5 * random.rand(passages)[clusters]
        ease = 0.6 * shared + 0.4 * random.rand(cells, questions)
        changes = ease < _cut(ease, rate)
        sign = np.where(random.rand(passages) < 0.5, -1.0, 1.0)[clusters]
        own = np.where(random.rand(cells, questions) < 0.5, -1.0, 1.0)
        sign = np.where(random.rand(questions) < 0.4, sign, own)
        size = np.where(random.rand(cells, questions) < 0.5, 1.0, random.rand(cells, questions))
        yield resampling.cluster_sums(changes * sign * size, clusters)[0]


def _cut(ease, rate):
    """Returns the value below which a cell has its rate of questions, `[C, 1]`."""
    places = (rate[:, 0] * ease.shape[1]).astype(int)
    return np.sort(ease, axis=1)[np.arange(len(ease)), places][:, np.newaxis]


def test_at_most_6_5_percent_of_grids_without_effect_have_a_significant_cell():
    generator, number = grids(np.random.RandomState(0)), 600
    alarms = sum(
        resampling.sign_flips(next(generator), draws=400, seed=seed).p_adjusted.min() < 0.05 for seed in range(number)
    )
    assert 0.03 * number <= alarms <= 0.065 * number


# Bootstrap


def test_interval_matches_the_normal_approximation_on_large_data():
    random = np.random.RandomState(0)
    groups = np.repeat(np.arange(3000), 1 + random.poisson(3, 3000))
    differences = 0.1 + random.normal(0, 0.3, 3000)[groups] + random.normal(0, 1, len(groups))
    mean = differences.mean()
    residuals = np.bincount(groups, weights=differences - mean)
    error = math.sqrt(np.sum(residuals**2)) / len(groups)  # clustered, Miller (2024)
    low, high = interval(differences, groups)
    assert low == pytest.approx(mean - 1.96 * error, abs=0.06 * error)
    assert high == pytest.approx(mean + 1.96 * error, abs=0.06 * error)


def test_interval_is_wider_where_questions_of_a_passage_change_together():
    differences = np.repeat(np.random.RandomState(0).normal(size=200), 5)
    low, high = interval(differences, np.repeat(np.arange(200), 5), draws=2000)
    alone_low, alone_high = interval(differences, np.arange(1000), draws=2000)
    assert high - low == pytest.approx(math.sqrt(5) * (alone_high - alone_low), rel=0.1)


def test_single_cluster_has_no_interval():
    assert np.isnan(interval([0.5, -0.5], [7, 7])).all()


def test_cells_share_the_resamples_in_blocks_of_any_size(monkeypatch):
    random = np.random.RandomState(0)
    grid = sums(random.normal(size=(7, 90)), random.randint(0, 30, 90))
    whole = resampling.bootstrap_interval(*grid, draws=300)
    monkeypatch.setattr(resampling, "_BLOCK_CELLS", 3)
    np.testing.assert_allclose(resampling.bootstrap_interval(*grid, draws=300), whole)


# Types


def test_types_that_differ_are_told_from_types_that_do_not():
    random = np.random.RandomState(0)
    types = random.randint(0, 4, 200)
    differences = -(random.rand(3, 200) < 0.1).astype(float)
    differences[1] -= (types == 2) & (random.rand(200) < 0.5)
    p = resampling.permuted_types(differences, types, permutations=400)
    assert p[1] < 0.01 and min(p[0], p[2]) > 0.05


def test_permuted_types_hold_the_level_and_find_an_interaction():
    random, number = np.random.RandomState(1), 400
    alarms = hits = 0
    for seed in range(number):
        clusters = clustered(random, 40)
        types = random.choice(9, len(clusters), p=[0.5, 0.1, 0.1, 0.1, 0.05, 0.05, 0.04, 0.04, 0.02])
        rates = random.beta(1.0, 5.0, (4, 40))[:, clusters]
        differences = -(random.rand(4, len(clusters)) < rates).astype(float)
        alarms += resampling.permuted_types(differences, types, 200, seed).min() < 0.05
        differences[0] -= (types == 1) & (random.rand(len(types)) < 0.5)
        hits += resampling.permuted_types(differences, types, 200, seed)[0] < 0.05
    assert 0.03 * number <= alarms <= 0.08 * number
    assert hits >= 0.8 * number


# Properties

GRIDS = st.integers(1, 40).flatmap(
    lambda questions: st.tuples(
        hnp.arrays(float, (2, questions), elements=st.sampled_from([-1.0, -0.4, 0.0, 0.1, 1.0])),
        hnp.arrays(int, questions, elements=st.integers(0, 15)),
    )
)


@hypothesis.given(GRIDS)
@hypothesis.settings(deadline=None, max_examples=60)
def test_p_is_a_probability_and_the_interval_contains_the_mean(grid):
    differences, groups = grid
    totals, counts = resampling.cluster_sums(differences, groups)
    tests = resampling.sign_flips(totals, draws=200)
    assert np.all((tests.p > 0.0) & (tests.p <= tests.p_adjusted) & (tests.p_adjusted <= 1.0))
    low, high = resampling.bootstrap_interval(totals, counts, draws=200)
    if len(set(groups)) > 1:
        mean = differences.mean(axis=1)
        assert np.all((low <= mean + 1e-12) & (mean - 1e-12 <= high))
        assert np.all((low >= differences.min(axis=1) - 1e-12) & (high <= differences.max(axis=1) + 1e-12))


def test_same_seed_gives_the_same_rows_in_every_version_of_numpy():
    groups = np.repeat(np.arange(20), 3)
    differences = np.sin(np.arange(60.0))
    low, high = interval(differences, groups, draws=1000, seed=3)
    assert f"{low:.6f} {high:.6f}" == "-0.194943 0.253934"
    assert flip(differences, groups, draws=999, seed=3) == 0.749
