# SPDX-License-Identifier: Apache-2.0
"""Whether differences of paired scores are needed, not needed or undecided, and what would decide.

needed      a loss with p_adjusted below 0.05: the masked path is needed
helps       a gain with p_adjusted below 0.05
not needed  otherwise, if the 95 % interval lies within the margin around 0
undecided   neither: the questions are too few to tell
impossible  the mask cannot change an answer, by construction
"""

from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from mrc.answers import resampling
from mrc.answers.resampling import ALPHA, LEVEL

NEEDED, HELPS, NOT_NEEDED, UNDECIDED, IMPOSSIBLE = VERDICTS = ("needed", "helps", "not needed", "undecided", "impossible")
MARGIN = 1.0  # points
POWER = 0.8
_FEW_CHANGES = 10  # questions; with fewer, the bootstrap sees too little of the variance
_Z_POWER = stats.norm.ppf(POWER)
_Z_LEVEL = stats.norm.ppf(0.5 + LEVEL / 2.0)


class Estimates(NamedTuple):
    """Mean differences of the cells with their uncertainty, in points, `[C]` each.

    Attributes:
      difference: the mean.
      se: standard error over clusters.
      low, high: 95 % interval. All three are NaN with a single cluster.
      better, worse: numbers of questions with a positive and a negative difference.
    """

    difference: np.ndarray
    se: np.ndarray
    low: np.ndarray
    high: np.ndarray
    better: np.ndarray
    worse: np.ndarray


class Comparisons(NamedTuple):
    """`Estimates` that are tested against 0, `[C]` each.

    Attributes:
      estimates: the `Estimates`.
      p, p_adjusted: of the sign-flip test, see `resampling.sign_flips`.
      mde: minimum detectable effect in points: what 80 % power finds at the family's level; NaN if
        the clusters are too few for any effect.
      verdict: one of `VERDICTS`.
      n_needed: questions that would decide an undecided cell with 80 % power; else NaN.
    """

    estimates: Estimates
    p: np.ndarray
    p_adjusted: np.ndarray
    mde: np.ndarray
    verdict: np.ndarray
    n_needed: np.ndarray


def estimate(
    differences: Any, clusters: Any, impossible: Any = False, draws: int = resampling.DRAWS, seed: int = 0
) -> Estimates:
    """Returns the mean differences and their intervals.

    With fewer than 10 changed questions, the interval also covers the adjusted interval for paired
    proportions (Agresti and Min, 2005, doi 10.1002/sim.1781), which adds half a question to each
    of the four outcomes. So 0 changes out of 177 questions do not give [0, 0].

    Args:
      differences: `[C, Q]`, one score minus the other, each -1 to 1.
      clusters: `[Q]`, the passage or article of each question.
      impossible: `[C]`, cells whose difference is known to be 0.
    """
    differences = np.asarray(differences, float)
    sums, counts = resampling.cluster_sums(differences, clusters)
    questions = counts.sum()
    low, high = resampling.bootstrap_interval(sums, counts, draws, seed)
    mean = sums.sum(axis=1) / questions
    better, worse = (differences > 0.0).sum(axis=1), (differences < 0.0).sum(axis=1)
    few = (better + worse < _FEW_CHANGES) & ~np.asarray(impossible, bool)
    se, (adjusted_mean, adjusted_se) = _standard_error(sums, counts), _adjusted(differences)
    reach = _Z_LEVEL * adjusted_se
    return Estimates(
        100.0 * mean,
        100.0 * np.where(few, np.maximum(se, adjusted_se), se),
        100.0 * np.where(few, np.minimum(low, adjusted_mean - reach), low),
        100.0 * np.where(few, np.maximum(high, adjusted_mean + reach), high),
        better,
        worse,
    )


def _standard_error(sums, counts):
    """Returns the clustered standard errors of means, `[C]`; NaN with a single cluster."""
    mean = sums.sum(axis=1, keepdims=True) / counts.sum()
    clusters = np.float64(len(counts))
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = clusters / (clusters - 1.0) * ((sums - mean * counts) ** 2).sum(axis=1)
    return np.sqrt(variance) / counts.sum()


def _adjusted(differences):
    """Returns means and standard errors, `[C]` each, with half a gain and half a loss more."""
    questions = differences.shape[1] + 2.0
    total, squares = differences.sum(axis=1), (differences**2).sum(axis=1)
    return total / questions, np.sqrt(squares + 1.0 - total**2 / questions) / questions


def compare(
    differences: Any,
    clusters: Any,
    margin: float = MARGIN,
    impossible: Any = False,
    draws: int = resampling.DRAWS,
    seed: int = 0,
) -> Comparisons:
    """Returns the tests and verdicts of a family of paired differences.

    To compare two readers, two layers or two zones, pass the difference of their scores or losses.

    Args:
      differences: `[C, Q]`, one score minus the other, each -1 to 1. A difference of differences is
        -2 to 2.
      clusters: `[Q]`, the passage or article of each question.
      margin: points; an effect within it does not matter.
      impossible: `[C]`, cells that cannot change an answer.
    """
    differences = np.asarray(differences, float)
    estimates = estimate(differences, clusters, impossible, draws, seed)
    sums, counts = resampling.cluster_sums(differences, clusters)
    tests = resampling.sign_flips(sums, draws, seed)
    interval = estimates.low, estimates.high
    verdict = verdicts(estimates.difference, *interval, tests.p_adjusted, margin)
    verdict = np.where(impossible, IMPOSSIBLE, verdict)
    spread = _spread(differences, sums)
    power = _Power(tests.critical, counts, estimates.se, 100.0 * spread)
    mde = np.where(impossible, np.nan, power.detectable())
    needed = power.needed_questions(estimates.difference, margin)
    n_needed = np.where(verdict == UNDECIDED, needed, np.nan)
    return Comparisons(estimates, tests.p, tests.p_adjusted, mde, verdict, n_needed)


def _spread(differences, sums):
    """Returns the sum of the clusters' squares per unit of change, `[C]`; at least 1 of few."""
    squares, changes = (sums**2).sum(axis=1), np.abs(differences).sum(axis=1)
    spread = np.divide(squares, changes, out=np.ones_like(squares), where=changes > 0.0)
    few = np.count_nonzero(differences, axis=1) < _FEW_CHANGES
    return np.where(few, np.maximum(spread, 1.0), spread)


def verdicts(difference, low, high, p_adjusted, margin: float) -> np.ndarray:
    """Returns the verdicts on effects, `[C]`, without `IMPOSSIBLE`; all but p in points."""
    within = (low >= -margin) & (high <= margin)  # False for NaN
    verdict = np.where(within, NOT_NEEDED, UNDECIDED).astype(object)
    is_real = p_adjusted < ALPHA
    verdict[is_real] = np.where(difference < 0.0, NEEDED, HELPS)[is_real]
    return verdict


class _Power(NamedTuple):
    """What the sign-flip test finds with 80 % power.

    A cell keeps its standard error whatever its effect, but an effect cannot be without variance:
    a loss has at least the squares that the changes of the cell have per loss.

    Attributes:
      critical: the statistic to exceed.
      counts: `[P]`, questions of the clusters.
      se: `[C]`, in points.
      spread: `[C]`, the squares of the clusters per loss, in points.
    """

    critical: float
    counts: np.ndarray
    se: np.ndarray
    spread: np.ndarray

    def detectable(self) -> np.ndarray:
        """Returns the smallest effects that are found, `[C]` in points."""
        questions = self.counts.sum()
        # The statistic's denominator contains the effect itself: it never exceeds sqrt(P).
        share = self.critical**2 * (self.counts**2).sum() / questions**2
        wald = self.critical / np.sqrt(1.0 - share) if share < 1.0 else np.nan
        return np.maximum((wald + _Z_POWER) * self.se, (self.critical + _Z_POWER) ** 2 * self.spread / questions)

    def needed_questions(self, difference, margin) -> np.ndarray:
        """Returns the questions that decide between an effect and none within the margin, `[C]`."""
        questions, size = self.counts.sum(), np.abs(difference)
        reach = self.critical + _Z_POWER
        with np.errstate(divide="ignore", invalid="ignore"):  # an impossible cell has no error
            for_effect = np.maximum(questions * (reach * self.se / size) ** 2, reach**2 * self.spread / size)
            distance = np.where(size < margin, margin - size, 0.0)
            for_none = questions * ((_Z_LEVEL + _Z_POWER) * self.se / distance) ** 2
        return np.ceil(np.maximum(np.minimum(for_effect, for_none), questions))
