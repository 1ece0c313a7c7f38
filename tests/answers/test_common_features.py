# SPDX-License-Identifier: Apache-2.0
"""What changed questions have in common, and its tests against noise."""

import numpy as np
import pytest

from mrc.answers import common_features
from mrc.answers.common_features import Features

MILL = "The mill burned. It stood by the old bridge."


@pytest.mark.parametrize(
    "context, question, answers, expected",
    [
        (MILL, "What was the mill by?", ["old bridge"], [0.0, 6.0, 2.0, 5.0, 9.0]),
        (MILL, "Which bridge stood?", ["old"], [1.0, 1.0, 1.0, 3.0, 9.0]),
        (MILL, "What is bridge and mill?", ["old bridge"], [0.5, 0.0, 2.0, 5.0, 9.0]),
        (MILL, "Who was there?", ["mill"], [np.nan, np.nan, 1.0, 3.0, 9.0]),
        (MILL, "Which mill?", ["tower"], [np.nan, np.nan, 1.0, 2.0, 9.0]),
        (MILL, "Which mill?", [], [np.nan, np.nan, np.nan, 2.0, 9.0]),
        ("古老的桥在河上。", "桥在什么上？", ["河"], [1.0, 2.0, 1.0, 5.0, 7.0]),
    ],
)
def test_features_by_hand(context, question, answers, expected):
    found = common_features.of_question(context, question, answers)
    assert found == pytest.approx(expected, nan_ok=True)


def test_means_are_of_the_questions_that_could_be_chosen():
    values = np.array([[1.0, 2.0, 4.0, 100.0], [np.nan, 3.0, 5.0, 0.0]])
    rows = common_features.compare(
        Features(["a", "b"], values), np.array([False, True, False, True]), np.array([True, True, True, False]), np.arange(4)
    )
    assert [row[:2] for row in rows] == [(2.0, 2.5), (3.0, 5.0)]


def test_all_or_none_has_no_test():
    features, every = Features(["a"], np.ones((1, 3))), np.ones(3, bool)
    for chosen in (every, ~every):
        assert common_features.compare(features, chosen, every, np.arange(3)) == []


def sample(random, effect):
    """Returns the p of 6 features; the outcome depends on the first, and on the passage."""
    passages = np.repeat(np.arange(40), 4)
    values = random.randn(6, 160) + random.randn(6, 40)[:, passages]
    logits = 1.0 + effect * values[0] + 0.7 * random.randn(40)[passages]
    chosen = random.rand(160) < 1.0 / (1.0 + np.exp(-logits))
    rows = common_features.compare(Features(list("abcdef"), values + 10.0), chosen, np.ones(160, bool), passages)
    return [p for *_, p in rows]


def test_noise_is_rarely_called_more(monkeypatch):
    monkeypatch.setattr(common_features, "_DRAWS", 200)
    random = np.random.RandomState(0)
    # Of 300 samples without an effect, 5 % are expected, with a standard error of 1.3 points.
    false = sum(min(sample(random, 0.0)) < 0.05 for _ in range(300))
    assert 3 <= false <= 26
    found = sum(sample(random, 1.0)[0] < 0.05 for _ in range(50))
    assert found >= 40
