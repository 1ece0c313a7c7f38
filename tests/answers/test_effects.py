# SPDX-License-Identifier: Apache-2.0
"""Tests of effects and their statistics, against hand-computed values and SciPy."""

import math

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from mrc.answers import effects

LABEL = ("0", "", "p2q")


def outcomes(better, worse, unchanged=10):
    """Returns (before, after) with the given numbers of changed questions."""
    before = [False] * better + [True] * worse + [True] * unchanged
    after = [True] * better + [False] * worse + [True] * unchanged
    return np.array(before), np.array(after)


def clustered(random, passages=60):
    """Returns the passage of each question; a passage has 5 questions on average."""
    return np.repeat(np.arange(passages), 1 + random.poisson(4, passages))


# McNemar


@pytest.mark.parametrize(
    "better, worse, expected",
    [
        (1, 8, 2 * (1 + 9) / 2.0**9),  # P(at most 1 of 9) is (1 + 9) / 512
        (0, 5, 2 / 2.0**5),
        (3, 3, 1.0),  # twice P(at most 3 of 6) exceeds 1
        (0, 0, 1.0),
    ],
)
def test_mcnemar_matches_hand_computed_values(better, worse, expected):
    assert effects.mcnemar(*outcomes(better, worse)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("better, worse", [(1, 8), (8, 1), (20, 35), (100, 160), (0, 1)])
def test_mcnemar_matches_the_binomial_test_of_scipy(better, worse):
    expected = stats.binomtest(better, better + worse, 0.5).pvalue
    assert effects.mcnemar(*outcomes(better, worse)) == pytest.approx(expected, rel=1e-9)


def test_mcnemar_rejects_arrays_of_different_lengths():
    with pytest.raises(ValueError, match="one length"):
        effects.mcnemar([True, False], [True])


# Sign flips


def test_sign_flips_of_single_questions_match_hand_enumeration():
    # |+-3 +-1 +-1| >= 3 in 6 of 8 patterns: all but (3, -1, -1) and (-3, 1, 1).
    assert effects.sign_flip_p([3.0, 1.0, -1.0], [0, 1, 2]) == 6 / 8.0
    assert effects.sign_flip_p([3.0, 1.0, 1.0], [0, 1, 2]) == 2 / 8.0


def test_questions_of_a_passage_flip_together():
    assert effects.sign_flip_p([1.0] * 4, [0, 0, 1, 1]) == 2 / 4.0
    assert effects.sign_flip_p([1.0] * 4, [0, 1, 2, 3]) == 2 / 16.0


def test_passages_whose_differences_cancel_do_not_matter():
    differences = [1.0, 1.0] + [0.1, 0.2, -0.3] * 30
    groups = [0, 1] + list(np.repeat(np.arange(2, 32), 3))
    assert effects.sign_flip_p(differences, groups) == 2 / 4.0


def test_no_difference_has_p_one():
    assert effects.sign_flip_p([0.0] * 40, range(40)) == 1.0


def test_ties_count_despite_rounding():
    # 13 passages, so patterns are drawn; every pattern has a sum of at least 0.1, as observed.
    differences = [0.1] * 7 + [-0.1] * 6
    assert effects.sign_flip_p(differences, range(13), draws=500) == 1.0


def test_random_sign_flips_approximate_the_exact_p():
    random = np.random.RandomState(0)
    values = random.normal(0.4, 1.0, 14)
    patterns = 1 - 2 * ((np.arange(2**14)[:, None] >> np.arange(14)) & 1)
    exact = np.mean(np.abs(patterns @ values) >= abs(values.sum()) - 1e-12)
    assert effects.sign_flip_p(values, range(14), seed=1) == pytest.approx(exact, abs=0.015)


def test_smallest_random_p_counts_the_observed_pattern():
    assert effects.sign_flip_p([1.0] * 100, range(100), draws=999) == 1 / 1000.0


# Bootstrap


def test_interval_matches_the_normal_approximation_on_large_data():
    random = np.random.RandomState(0)
    groups = np.repeat(np.arange(3000), 1 + random.poisson(3, 3000))
    differences = 0.1 + random.normal(0, 0.3, 3000)[groups] + random.normal(0, 1, len(groups))
    mean = differences.mean()
    residuals = np.bincount(groups, weights=differences - mean)
    error = math.sqrt(np.sum(residuals**2)) / len(groups)  # clustered, Miller (2024)
    low, high = effects.bootstrap_interval(differences, groups)
    assert low == pytest.approx(mean - 1.96 * error, abs=0.06 * error)
    assert high == pytest.approx(mean + 1.96 * error, abs=0.06 * error)


def test_interval_is_wider_where_questions_of_a_passage_change_together():
    differences = np.repeat(np.random.RandomState(0).normal(size=200), 5)
    low, high = effects.bootstrap_interval(differences, np.repeat(np.arange(200), 5), draws=2000)
    alone_low, alone_high = effects.bootstrap_interval(differences, np.arange(1000), draws=2000)
    assert high - low == pytest.approx(math.sqrt(5) * (alone_high - alone_low), rel=0.1)


@pytest.mark.parametrize("metric", ["f1", "em"])
def test_95_percent_interval_covers_the_true_difference_in_93_to_97_percent(metric):
    random = np.random.RandomState(0)
    covered = 0
    for seed in range(1000):
        groups = clustered(random)
        if metric == "f1":
            truth = 0.3
            shared = random.normal(0, 0.5, 60)[groups]
            differences = truth + shared + random.normal(0, 1, len(groups))
        else:  # a question becomes wrong with a probability of its passage, right with 3 %
            truth = 0.03 - 0.1
            wrong = random.beta(0.5, 4.5, 60)[groups]
            uniform = random.rand(len(groups))
            differences = np.where(uniform < wrong, -1.0, np.where(uniform > 0.97, 1.0, 0.0))
        low, high = effects.bootstrap_interval(differences, groups, draws=1000, seed=seed)
        covered += low <= truth <= high
    assert 930 <= covered <= 970


def test_single_passage_has_no_interval():
    assert np.isnan(effects.bootstrap_interval([0.5, -0.5], [7, 7])).all()


def test_cells_share_the_resamples_in_blocks_of_any_size(monkeypatch):
    random = np.random.RandomState(0)
    differences, groups = random.normal(size=(7, 90)), random.randint(0, 30, 90)
    whole = effects.bootstrap_interval(differences, groups, draws=300)
    p = effects.sign_flip_p(differences, groups, draws=300)
    alone = [effects.bootstrap_interval(row, groups, draws=300) for row in differences]
    monkeypatch.setattr(effects, "_BLOCK_CELLS", 3)
    np.testing.assert_allclose(effects.bootstrap_interval(differences, groups, draws=300), whole)
    np.testing.assert_allclose(np.transpose(alone), whole)
    np.testing.assert_array_equal(effects.sign_flip_p(differences, groups, draws=300), p)


# Holm


def test_holm_matches_a_worked_example():
    # Sorted: 0.005 x 4, 0.01 x 3, 0.03 x 2, and 0.04 x 1, raised to 0.06.
    np.testing.assert_allclose(effects.holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])


def test_holm_caps_at_one_and_accepts_no_values():
    np.testing.assert_allclose(effects.holm([0.5, 0.9]), [1.0, 1.0])
    assert effects.holm([]).shape == (0,)


@pytest.mark.parametrize("wrong", [float("nan"), -0.1, 1.1])
def test_holm_rejects_what_is_not_a_probability(wrong):
    with pytest.raises(ValueError, match="between 0 and 1"):
        effects.holm([0.5, wrong])


# False alarms


def test_at_most_5_percent_of_grids_without_effect_have_a_significant_cell():
    # Cells and baseline draw their answers alike; passages differ in difficulty.
    random, grids, cells = np.random.RandomState(0), 500, 10
    alarms = {"em": 0, "f1": 0}
    for seed in range(grids):
        groups = clustered(random)
        difficulty = 0.6 + 0.25 * random.normal(size=60)[groups]
        f1 = np.clip(difficulty + 0.5 * random.normal(size=(cells + 1, len(groups))), 0, 1)
        em = (f1 > 0.9).astype(float)
        rows = effects.compare(
            {"em": em[0], "f1": f1[0]},
            {"em": em[1:], "f1": f1[1:]},
            groups,
            [LABEL] * cells,
            draws=500,
            seed=seed,
        )
        for metric in alarms:
            alarms[metric] += any(row.p_holm < 0.05 for row in rows if row.metric == metric)
    assert alarms["em"] <= 0.05 * grids
    assert alarms["f1"] <= 0.05 * grids


def test_sign_flips_keep_the_level_where_passages_change_together():
    # McNemar's test does not: its docstring says so.
    random = np.random.RandomState(1)
    p = []
    for seed in range(1000):
        groups = clustered(random)
        differences = random.normal(size=60)[groups] + 0.5 * random.normal(size=len(groups))
        p.append(effects.sign_flip_p(differences, groups, draws=500, seed=seed))
    assert 0.03 <= np.mean(np.array(p) < 0.05) <= 0.07


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
    p = effects.sign_flip_p(differences, groups, draws=200)
    assert np.all((p > 0.0) & (p <= 1.0))
    low, high = effects.bootstrap_interval(differences, groups, draws=200)
    if len(set(groups)) > 1:
        mean = differences.mean(axis=1)
        assert np.all((low <= mean + 1e-12) & (mean - 1e-12 <= high))
        assert np.all(
            (low >= differences.min(axis=1) - 1e-12) & (high <= differences.max(axis=1) + 1e-12)
        )


@hypothesis.given(st.integers(1, 60).flatmap(lambda n: st.tuples(*[hnp.arrays(bool, n)] * 2)))
@hypothesis.settings(deadline=None)
def test_mcnemar_is_symmetric_and_a_probability(pair):
    p = effects.mcnemar(*pair)
    assert 0.0 < p <= 1.0
    assert p == effects.mcnemar(*reversed(pair))


@hypothesis.given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm_keeps_the_order_and_never_lowers_p(values):
    adjusted = effects.holm(values)
    assert np.all(adjusted >= values) and np.all(adjusted <= 1.0)
    assert np.all(np.diff(adjusted[np.argsort(values, kind="mergesort")]) >= 0.0)
    assert min(adjusted) == min(1.0, len(values) * min(values))


# Rows and files

BASELINE = {"em": [1, 1, 0, 1], "f1": [1.0, 1.0, 0.5, 1.0]}
CELLS = {"em": [[0, 1, 0, 0], [1, 1, 1, 1]], "f1": [[0.5, 1.0, 0.25, 0.0], [1.0, 1.0, 1.0, 1.0]]}
LABELS = [("0", "", "p2q"), ("0+1", "3", "off")]
PASSAGES = ["b", "b", "a", "c"]


def test_rows_hold_points_counts_and_p_values():
    rows = effects.compare(BASELINE, CELLS, PASSAGES, LABELS, draws=200)
    assert [row[:4] for row in rows] == [
        ("0", "", "p2q", "em"),
        ("0", "", "p2q", "f1"),
        ("0+1", "3", "off", "em"),
        ("0+1", "3", "off", "f1"),
    ]
    em, f1 = rows[0], rows[1]
    assert (em.baseline, em.value, em.difference) == (75.0, 25.0, -50.0)
    assert (em.better, em.worse, em.questions) == (0, 2, 4)
    assert em.p == 0.5 and em.p_holm == 1.0  # 2 / 2^2, times 2 cells
    assert (f1.baseline, f1.value, f1.difference) == (87.5, 43.75, -43.75)
    assert (f1.better, f1.worse) == (0, 3)
    assert f1.p == 2 / 8.0 and f1.p_holm == 0.5
    assert all(row.low <= row.difference <= row.high for row in rows)


def test_holm_covers_the_cells_of_one_metric():
    rows = effects.compare(BASELINE, CELLS, PASSAGES, LABELS, draws=200)
    for metric in ("em", "f1"):
        chosen = [row for row in rows if row.metric == metric]
        np.testing.assert_allclose(
            [row.p_holm for row in chosen], effects.holm([row.p for row in chosen])
        )


def test_an_effect_can_be_significant_in_a_large_grid():
    questions, cells = 40, 300  # 100 draws leave p at 1 / 101, which Holm would take to 1
    scores = {"em": np.ones(questions), "f1": np.ones(questions)}
    masked = {metric: np.tile(values, (cells, 1)) for metric, values in scores.items()}
    masked["f1"][5] = 0.5
    rows = effects.compare(scores, masked, range(questions), [LABEL] * cells, draws=100)
    assert [row.p_holm < 0.05 for row in rows if row.metric == "f1"].index(True) == 5


def test_types_are_compared_on_their_own_questions_and_adjusted_together():
    kinds = ["who", "what", "what", "who"]
    table = effects.compare_by_type(
        BASELINE, CELLS, PASSAGES, LABELS, kinds, types=["what", "who", "when"], draws=200
    )
    assert list(table) == ["what", "who"]
    assert [row.questions for row in table["who"]] == [2] * 4
    assert [row.baseline for row in table["what"]] == [50.0, 75.0, 50.0, 75.0]
    em = [row for rows in table.values() for row in rows if row.metric == "em"]
    np.testing.assert_allclose([row.p_holm for row in em], effects.holm([row.p for row in em]))


def test_an_unknown_type_is_reported():
    with pytest.raises(ValueError, match="unknown question type 'how'; known: what, who"):
        effects.compare_by_type(
            BASELINE, CELLS, PASSAGES, LABELS, ["how"] * 4, types=["what", "who"]
        )


def test_no_cells_make_no_rows():
    nothing = {"em": np.empty((0, 4)), "f1": np.empty((0, 4))}
    assert effects.compare(BASELINE, nothing, PASSAGES, []) == []


@pytest.mark.parametrize(
    "metric, score, message",
    [
        ("em", 0.5, "em: a score is 0.5, expected 0 or 1"),
        ("f1", 87.5, "f1: a score is 87.5, expected 0 to 1"),
        ("f1", float("nan"), "f1: a score is nan, expected 0 to 1"),
    ],
)
def test_scores_out_of_range_are_reported(metric, score, message):
    with pytest.raises(ValueError, match=message):
        effects.compare(dict(BASELINE, **{metric: [score] * 4}), CELLS, PASSAGES, LABELS)


def test_scores_of_another_shape_are_reported():
    with pytest.raises(ValueError, match="expected"):
        effects.compare(BASELINE, CELLS, PASSAGES, LABELS[:1])


def test_same_seed_gives_the_same_rows_in_every_version_of_numpy():
    groups = np.repeat(np.arange(20), 3)
    differences = np.sin(np.arange(60.0))
    low, high = effects.bootstrap_interval(differences, groups, draws=1000, seed=3)
    assert f"{low:.6f} {high:.6f}" == "-0.194943 0.253934"
    assert effects.sign_flip_p(differences, groups, draws=999, seed=3) == 0.749


def test_csv_has_the_documented_header_and_format():
    row = effects.Effect(
        "2",
        "",
        "p2q",
        "em",
        81.23456,
        80.0,
        -0.00001,
        -2.5,
        float("nan"),
        0.000012345,
        1.0,
        1,
        8,
        177,
    )
    assert effects.to_csv([row]) == (
        "layer,head,zone,metric,baseline,value,difference,low,high,p,p_holm,better,worse,questions\n"
        "2,,p2q,em,81.2346,80.0000,0.0000,-2.5000,,1.234e-05,1,1,8,177\n"
    )


def test_csv_reads_back():
    rows = effects.compare(BASELINE, CELLS, PASSAGES, LABELS, draws=200)
    text = effects.to_csv(rows)
    assert effects.to_csv(effects.read_csv(text)) == text
    assert effects.read_csv(text)[0] == rows[0]._replace(
        low=pytest.approx(rows[0].low, abs=1e-4), high=pytest.approx(rows[0].high, abs=1e-4)
    )
    table = effects.compare_by_type(
        BASELINE, CELLS, PASSAGES, LABELS, ["什么", "谁", "谁", "什么"], draws=200
    )
    text = effects.to_csv_by_type(table)
    assert text.startswith("type,layer,head,")
    assert effects.to_csv_by_type(effects.read_csv_by_type(text)) == text


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "line 1: the header is ''"),
        ("layer,zone\n", "line 1: the header is 'layer,zone'"),
        (effects.to_csv([]) + "1,2\n", "line 2: 2 fields, expected 14"),
        (effects.to_csv([]) + "0,,q2,em,1,1,0,x,0,1,1,0,0,5\n", "line 2: low is 'x'"),
        (effects.to_csv([]) + "0,,q2,em,1,1,0,0,0,1,1,0.5,0,5\n", "line 2: better is '0.5'"),
    ],
)
def test_a_broken_csv_is_reported_with_its_line(text, message):
    with pytest.raises(ValueError, match=message):
        effects.read_csv(text)
