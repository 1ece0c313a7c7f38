# SPDX-License-Identifier: Apache-2.0
"""Whether the attention to a zone predicts what masking the zone costs.

A point is a layer (mass: mean over its heads) or a head of a layer. Its mass is that of the zone's
block in attention.csv, its loss the points of exact match or F1 that masking the zone there costs.
The intervals are of Fisher's z, with the variance of Bonett and Wright (2000) for Spearman.
"""

import math
from typing import Dict, List, NamedTuple, Sequence

import numpy as np
from scipy import stats

from attention_mask import BLOCKS
from mrc.answers import effects
from mrc.answers.tables import Column, Table

LAYERS, HEADS = "layers", "heads"  # what the points are
_FEWEST = 4  # points of an interval: the variance of z is 1 / (points - 3)
_Z95 = 1.959963984540054


class Point(NamedTuple):
    """A masked layer, or head of a layer (None for all heads), its mass and its loss in points."""

    layer: int
    head: int
    mass: float
    loss: float


class Correlation(NamedTuple):
    """One row of correlation.csv; a coefficient or interval that is not defined is NaN."""

    zone: str
    over: str
    metric: str
    points: int
    spearman: float
    spearman_low: float
    spearman_high: float
    pearson: float
    pearson_low: float
    pearson_high: float


def interval(coefficient: float, points: int, is_rank: bool = False):
    """Returns the 95 % confidence interval of a correlation coefficient."""
    if points < _FEWEST or not abs(coefficient) < 1.0:  # NaN is not, either
        return math.nan, math.nan
    z = math.atanh(coefficient)
    variance = (1.0 + coefficient**2 / 2.0) if is_rank else 1.0
    reach = _Z95 * math.sqrt(variance / (points - 3))
    return math.tanh(z - reach), math.tanh(z + reach)


def find_points(masses: Dict, rows: Sequence[effects.Effect], zone: str, metric: str):
    """Returns {what the points are: list of `Point`} of one zone and metric.

    Args:
      masses: {(query group, key group): [L, N]}, from `attention_tables.read`.
      rows: of effects.csv.
    """
    mass = masses[BLOCKS[zone]]
    layers, heads = mass.shape
    every_head = "+".join(map(str, range(heads)))
    found = {LAYERS: {}, HEADS: {}}
    for row in rows:
        if (row.zone, row.metric) != (zone, metric) or not row.layer.isdigit():
            continue
        layer = int(row.layer)
        if layer >= layers:
            continue
        if row.head in ("", every_head):
            found[LAYERS][layer, None] = Point(
                layer, None, float(mass[layer].mean()), -row.difference
            )
        elif row.head.isdigit() and int(row.head) < heads:
            head = int(row.head)
            found[HEADS][layer, head] = Point(
                layer, head, float(mass[layer, head]), -row.difference
            )
    return {over: list(points.values()) for over, points in found.items() if points}


def correlate(points: Sequence[Point], zone: str, over: str, metric: str) -> Correlation:
    """Returns the `Correlation` of mass and loss."""
    mass, loss = np.array([[point.mass, point.loss] for point in points]).T
    if len(points) < 2 or np.isnan(mass).any() or np.ptp(mass) == 0.0 or np.ptp(loss) == 0.0:
        spearman = pearson = math.nan  # a constant does not correlate
    else:
        spearman = float(stats.spearmanr(mass, loss)[0])
        pearson = float(stats.pearsonr(mass, loss)[0])
    return Correlation(
        zone,
        over,
        metric,
        len(points),
        spearman,
        *interval(spearman, len(points), is_rank=True),
        pearson,
        *interval(pearson, len(points)),
    )


TABLE = Table(
    "table of correlations",
    "run correlate.py again",
    [
        Column("zone"),
        Column("over"),
        Column("metric"),
        Column("points", int),
        *(Column(name, float, ".4f") for name in Correlation._fields[4:]),
    ],
)


def in_words(row: Correlation) -> str:
    """Returns a sentence that says what was found, and from how many points."""
    what = "layers" if row.over == LAYERS else "heads"
    metric = effects.METRIC_NAMES[row.metric]
    begin = f"{row.zone}, {row.points} {what}, {metric}: "
    if math.isnan(row.spearman):
        return begin + "no correlation is defined (too few points, or a constant mass or loss)"
    begin += f"Spearman {row.spearman:+.2f}"
    if math.isnan(row.spearman_low):
        return begin + ", without an interval (too few points, or a perfect order)"
    begin += f" [{row.spearman_low:+.2f}, {row.spearman_high:+.2f}], Pearson {row.pearson:+.2f}"
    if not math.isnan(row.pearson_low):
        begin += f" [{row.pearson_low:+.2f}, {row.pearson_high:+.2f}]"
    if row.spearman_low <= 0.0 <= row.spearman_high:
        return begin + "; the rank correlation is not significant"
    more = "more" if row.spearman > 0.0 else "less"
    return begin + f"; {what} with more attention to the zone lose {more} when it is masked"


def all_rows(points: Dict) -> List[Correlation]:
    """Returns the correlations of {(zone, what the points are, metric): points}."""
    return [correlate(mine, *label) for label, mine in points.items()]
