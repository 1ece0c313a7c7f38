# SPDX-License-Identifier: Apache-2.0
"""Whether a zone matters more than as many random pairs of tokens.

Zones differ in size, so the effect of a large one may be the effect of its size. The control of a
zone has random tokens in place of one of its sets: passage-random_question for passage-question.
"""

from typing import Dict, NamedTuple

import numpy as np

from attention_mask import CONTROLS
from mrc.answers import resampling, verdicts
from mrc.answers.question_scores import QuestionScores


class AboveControl(NamedTuple):
    """The effect of a cell minus that of its control, in points, `[C]`; NaN without a control.

    Attributes:
      above_control: the mean difference, below 0 where the zone costs more than its control.
      control_low, control_high: 95 % interval.
      p_control: of the paired sign-flip test, adjusted for all cells that have a control.
    """

    above_control: np.ndarray
    control_low: np.ndarray
    control_high: np.ndarray
    p_control: np.ndarray


def control_of(zone: str) -> str:
    """Returns the label of the control of a zone, "" if it has none.

    >>> control_of("passage-answer_sentence")
    'passage-random_answer_sentence'
    """
    query, *key = zone.split("-")
    if "+" in zone or len(key) != 1 or key[0] not in CONTROLS:
        return ""
    return f"{query}-{CONTROLS[key[0]]}"


def _pairs(cells) -> Dict[int, int]:
    """Returns {index of a cell: index of its control} of the cells that have one in the grid."""
    place_of = {tuple(label): place for place, label in enumerate(cells)}
    controls = {place: place_of.get(tuple(label._replace(zone=control_of(label.zone)))) for place, label in enumerate(cells)}
    return {place: control for place, control in controls.items() if control is not None}


def compare(scores: QuestionScores, metric: str, clusters: np.ndarray, draws: int = resampling.DRAWS) -> AboveControl:
    """Returns the effects above control of every cell on one metric.

    Args:
      scores: of the questions.
      metric: one of those in the scores.
      clusters: `[Q]`, what is resampled.
      draws: number of resamples and sign patterns.
    """
    columns = [np.full(len(scores.cells), np.nan) for _ in AboveControl._fields]
    pairs = _pairs(scores.cells)
    if pairs:
        places, controls = (list(side) for side in (pairs.keys(), pairs.values()))
        differences = scores.differences(metric)
        tested = verdicts.compare(
            differences[places] - differences[controls], clusters, impossible=np.zeros(len(places), bool), draws=draws
        )
        estimates = tested.estimates
        for column, values in zip(columns, (estimates.difference, estimates.low, estimates.high, tested.p_adjusted)):
            column[places] = values
    return AboveControl(*columns)
