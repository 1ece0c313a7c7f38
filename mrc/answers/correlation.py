# SPDX-License-Identifier: Apache-2.0
"""Whether the attention to a zone predicts what masking the zone costs.

A point is a layer (mass: mean over its heads) or a head of a layer. Its mass is that of the zone's
block in attention.csv, its loss the points of exact match or F1 that masking the zone there costs.
Cells that cannot change an answer are no points: their loss is zero by construction.

Heads of one layer resemble each other, so heads are compared within their layers: masses and
losses, or their ranks among the heads of the layer, are centred by layer and pooled over layers.
p is of the rank correlation, with the losses permuted over the layers, or over the heads of each
layer. The intervals are of Fisher's z, with the variance of Bonett and Wright (2000) for Spearman.

The questions are a sample, so the losses are noisy, and no mass can correlate with noise. `ceiling`
is the square root of the losses' reliability: the rank correlation of the losses of two random
halves of the passages, stepped up to all passages (Spearman, 1910; Brown, 1910).
"""

import math
from typing import Dict, NamedTuple, Optional, Sequence

import numpy as np
from scipy import stats

from attention_mask import BLOCKS
from mrc.answers import effects, resampling, verdicts
from mrc.answers.question_scores import QuestionScores
from mrc.answers.tables import Column, Table
from mrc.cells import Label

LAYERS, HEADS = "layers", "heads"  # what the points are
_FEWEST = 4  # points of an interval: the variance of z is 1 / (points - 3)
_Z95 = 1.959963984540054
_ROUNDING = 1e-9
_SPLITS = 500  # of the passages into halves


class Point(NamedTuple):
    """A masked layer, or head of a layer (None for all heads), and its mass."""

    layer: int
    head: Optional[int]
    mass: float
    effect: effects.Effect

    @property
    def loss(self) -> float:
        """The loss from masking it, in points."""
        return -self.effect.difference


class Correlation(NamedTuple):
    """One row of correlation.csv; a number that is not defined is NaN.

    Attributes:
      significant: number of points whose effect is more than noise.
      p: of `spearman`.
      ceiling: what `spearman` can reach, see the module.
    """

    zone: str
    over: str
    metric: str
    points: int
    significant: int
    spearman: float
    spearman_low: float
    spearman_high: float
    pearson: float
    pearson_low: float
    pearson_high: float
    p: float
    ceiling: float


def interval(coefficient: float, points: int, is_rank: bool = False):
    """Returns the 95 % confidence interval of a correlation coefficient."""
    if points < _FEWEST or not abs(coefficient) < 1.0 - _ROUNDING:  # NaN is not, either
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
        is_asked = (row.zone, row.metric) == (zone, metric) and row.verdict != verdicts.IMPOSSIBLE
        if not is_asked or not row.layer.isdecimal() or int(row.layer) >= layers:
            continue
        layer = int(row.layer)
        if row.head in ("", every_head):
            found[LAYERS][layer, None] = Point(layer, None, float(mass[layer].mean()), row)
        elif row.head.isdecimal() and int(row.head) < heads:
            head = int(row.head)
            found[HEADS][layer, head] = Point(layer, head, float(mass[layer, head]), row)
    return {over: list(points.values()) for over, points in found.items() if points}


def _centred(values, strata, by_rank):
    """Returns values, or their ranks in each stratum, minus the means of the strata, `[..., n]`."""
    centred = np.empty(np.shape(values))
    for stratum in np.unique(strata):
        member = strata == stratum
        part = np.asarray(values, float)[..., member]
        part = np.apply_along_axis(stats.rankdata, -1, part) if by_rank else part
        centred[..., member] = part - part.mean(axis=-1, keepdims=True)
    return centred


def _coefficients(one, other):
    """Returns the correlations of centred values, `[..., n]` each, NaN where one is constant."""
    product = np.sqrt((one**2).sum(axis=-1) * (other**2).sum(axis=-1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(product > _ROUNDING, (one * other).sum(axis=-1) / product, math.nan)


def permutation_p(mass, loss, strata, draws: int = resampling.DRAWS, seed: int = 0) -> float:
    """Returns the two-sided p of the rank correlation within strata, `[n]` each.

    The losses are permuted within each stratum.
    """
    mass, loss = _centred(mass, strata, True), _centred(loss, strata, True)
    observed = _coefficients(mass, loss)
    if math.isnan(observed):
        return math.nan
    random = np.random.RandomState(seed)
    drawn = np.empty([draws, len(loss)])
    for stratum in np.unique(strata):
        member = np.flatnonzero(strata == stratum)
        order = np.argsort(random.random_sample([draws, len(member)]), axis=1)
        drawn[:, member] = loss[member][order]
    extreme = np.abs(_coefficients(mass, drawn)) >= abs(observed) - _ROUNDING
    return float((extreme.sum() + 1) / (draws + 1))


def ceiling(differences, clusters, strata, splits: int = _SPLITS, seed: int = 0) -> float:
    """Returns the largest rank correlation that the noise of the losses leaves to be found.

    Args:
      differences: `[n, Q]`, score minus baseline of the points.
      clusters: `[Q]`, the passage of each question.
      strata: `[n]`.
    """
    sums, counts = resampling.cluster_sums(differences, clusters)
    if len(counts) < 2:
        return math.nan
    random = np.random.RandomState(seed)
    order = np.argsort(random.random_sample([splits, len(counts)]), axis=1)
    is_first = order < len(counts) // 2
    halves = [
        _centred(part @ sums.T / (part @ counts)[:, np.newaxis], strata, True)
        for part in (is_first.astype(float), (~is_first).astype(float))
    ]
    # Losses that are all the same in a half say nothing about their order.
    half = max(0.0, float(np.nan_to_num(_coefficients(*halves)).mean()))
    return math.sqrt(2.0 * half / (1.0 + half))


def correlate(
    points: Sequence[Point], zone: str, over: str, metric: str, scores: Optional[QuestionScores] = None
) -> Correlation:
    """Returns the `Correlation` of mass and loss; without `scores` the ceiling is unknown."""
    mass, loss = np.array([[point.mass, point.loss] for point in points]).T
    if np.isnan(mass).any():  # a group without tokens: no correlation is defined
        mass = np.zeros_like(mass)
    strata = np.array([point.layer if over == HEADS else 0 for point in points])
    spearman, pearson = (
        float(_coefficients(_centred(mass, strata, by_rank), _centred(loss, strata, by_rank))) for by_rank in (True, False)
    )
    free = len(points) - len(np.unique(strata)) + 1  # each further mean takes a degree of freedom
    significant = sum(point.effect.verdict in (verdicts.NEEDED, verdicts.HELPS) for point in points)
    of_ranks = spearman, *interval(spearman, free, is_rank=True)
    of_values = pearson, *interval(pearson, free)
    p, most = permutation_p(mass, loss, strata), math.nan
    if scores is not None:
        most = ceiling(_differences(points, scores), scores.passages, strata)
    label = zone, over, metric
    return Correlation(*label, len(points), significant, *of_ranks, *of_values, p, most)


def _differences(points, scores):
    """Returns `[n, Q]`, the differences of the points' cells."""
    cells = [Label(*point.effect[:3]) for point in points]
    values = scores.differences(points[0].effect.metric)
    return values[[scores.cells.index(cell) for cell in cells]]


TABLE = Table(
    "table of correlations",
    "run correlate.py again",
    [
        Column("zone"),
        Column("over"),
        Column("metric"),
        *(Column(name, int) for name in ("points", "significant")),
        *(Column(name, float, ".4f") for name in Correlation._fields[5:11]),
        Column("p", float, ".4g"),
        Column("ceiling", float, ".4f"),
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
    if not math.isnan(row.spearman_low):
        begin += f" [{row.spearman_low:+.2f}, {row.spearman_high:+.2f}]"
    begin += f", p = {row.p:.2g}, ceiling "
    begin += "unknown" if math.isnan(row.ceiling) else f"{row.ceiling:.2f}"
    if row.p >= resampling.ALPHA:
        return begin + "; not significant"
    if not row.significant:
        return begin + f"; no loss of these {what} is more than noise, so this is no finding"
    more = "more" if row.spearman > 0.0 else "less"
    return begin + f"; {what} with more attention to the zone lose {more} when it is masked"
