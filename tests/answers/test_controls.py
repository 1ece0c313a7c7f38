# SPDX-License-Identifier: Apache-2.0
"""Tests of effects above control: by hand, and false alarms and power by simulation."""

import numpy as np
import pytest

from mrc.answers import controls
from mrc.answers.question_scores import QuestionScores
from mrc.cells import Label

ZONES = ("passage-question", "passage-random_question", "p2q", "passage-answer")


@pytest.mark.parametrize(
    "zone, control",
    [
        ("passage-question", "passage-random_question"),
        ("cls-answer_sentence", "cls-random_answer_sentence"),
        ("passage-question-near8", ""),
        ("passage-question+q2", ""),
        ("passage-passage", ""),
        ("p2q", ""),
    ],
)
def test_the_control_of_a_zone(zone, control):
    assert controls.control_of(zone) == control


def make_scores(values, passages):
    """Returns the scores [1+C, Q] of `ZONES` in layers 0, 1, ..."""
    count = (len(values) - 1) // len(ZONES)
    cells = [Label(str(layer), "", zone) for layer in range(count) for zone in ZONES]
    questions = np.arange(values.shape[1])
    return QuestionScores(questions, passages, passages, cells, {"f1": values})


def test_the_effect_above_control_by_hand():
    baseline = np.ones([1, 8])
    values = np.vstack([baseline, 0.5 * baseline, 0.75 * baseline, baseline, baseline])
    above = controls.compare(make_scores(values, np.arange(8)), "f1", np.arange(8))
    assert above.above_control[0] == -25.0 and np.isnan(above.above_control[1:]).all()
    assert above.p_control[0] == 2 / 2**8  # all signs of 8 passages
    assert np.isnan(above.p_control[1:]).all()


def simulated(loss, generator, layers=4, passages=40, size=4):
    """Returns scores in which a passage's questions share a part of their changes."""
    clusters = np.repeat(np.arange(passages), size)
    rows = [np.ones(len(clusters))]
    for layer in range(layers):
        for zone in ZONES:
            shared = generator.normal(0, 0.2, passages)[clusters]
            own = generator.normal(0, 0.2, len(clusters))
            mean = -0.2 - (loss if zone == "passage-question" and not layer else 0.0)
            rows.append(1.0 + mean + shared + own)
    return make_scores(np.array(rows), clusters), clusters


def test_false_alarms_and_power():
    generator, alarms, hits, runs = np.random.RandomState(1), 0, 0, 200
    for _ in range(runs):
        scores, clusters = simulated(0.0, generator)
        alarms += np.nanmin(controls.compare(scores, "f1", clusters, 500).p_control) < 0.05
        scores, clusters = simulated(0.25, generator)
        hits += controls.compare(scores, "f1", clusters, 500).p_control[0] < 0.05
    assert alarms <= 0.08 * runs
    assert hits >= 0.8 * runs
