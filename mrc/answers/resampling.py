# SPDX-License-Identifier: Apache-2.0
"""Resampling of clusters of questions: sign flips, the bootstrap and permuted types.

Questions about one passage, or one article, are not independent, so they are resampled together
(Miller, 2024, arXiv 2411.00640). All cells of a grid share the random draws.

Shapes: C cells, Q questions, P clusters, T types.
"""

from typing import Any, Iterator, NamedTuple, Tuple

import numpy as np
from scipy import stats

DRAWS = 10000
PERMUTATIONS = 2000
EXACT_CLUSTERS = 12  # up to 2^12 = 4096 sign patterns are enumerated
ALPHA = 0.05
LEVEL = 1.0 - ALPHA  # of intervals

_BLOCK_CELLS = 512
_BLOCK_VALUES = 1 << 21  # random values drawn at once
_ROUNDING = 1e-9  # relative: a draw that ties with the observed statistic counts despite rounding
_ZERO = 1e-12  # 0.1 + 0.2 - 0.3 is not quite 0


class Tests(NamedTuple):
    """p-values of the cells.

    Attributes:
      p: `[C]`, of each cell alone.
      p_adjusted: `[C]`, controlling the family-wise error over the cells.
      critical: the statistic that a cell must exceed for `ALPHA` over the family (single step).
    """

    p: np.ndarray
    p_adjusted: np.ndarray
    critical: float


def cluster_sums(differences: Any, clusters: Any) -> Tuple[np.ndarray, np.ndarray]:
    """Returns the `[C, P]` sums of `[C, Q]` differences and the `[P]` numbers of questions.

    Args:
      differences: `[C, Q]`, one score minus the other.
      clusters: `[Q]`, the passage or article of each question.
    """
    differences = np.asarray(differences, float)
    numbers = np.unique(np.asarray(clusters), return_inverse=True)[1].ravel()
    if differences.ndim != 2 or differences.shape[1] != len(numbers) or not len(numbers):
        raise ValueError(f"{len(numbers)} questions have clusters, the differences are {differences.shape}")
    counts = np.bincount(numbers)
    sums = np.array([np.bincount(numbers, row, len(counts)) for row in differences])
    sums = sums.reshape(len(differences), len(counts))
    sums[np.abs(sums) < _ZERO] = 0.0
    return sums, counts


def sign_flips(sums: np.ndarray, draws: int = DRAWS, seed: int = 0) -> Tests:
    """Returns the paired two-sided sign-flip test of each cell (Dror et al., 2018, P18-1128).

    Under the null hypothesis, exchanging the two systems on a whole cluster does not matter. The
    statistic is |sum of S| / sqrt(sum of S^2) over the clusters' sums S; a flip does not change its
    denominator. The adjustment is the step-down max-T over the cells on shared sign patterns
    (Westfall and Young, 1993; Romano and Wolf, 2005): each cell is compared with the largest
    statistic among the cells that are not more extreme than it. Few clusters with differences have
    all their sign patterns enumerated.

    Args:
      sums: `[C, P]`, see `cluster_sums`.
    """
    scale = np.sqrt((sums**2).sum(axis=1, keepdims=True))
    units = np.divide(sums, scale, out=np.zeros_like(sums), where=scale > 0.0)
    units = units[:, units.any(axis=0)]
    is_exact = units.shape[1] <= EXACT_CLUSTERS
    patterns = _all_signs(units.shape[1]) if is_exact else _signs(*units.shape[::-1], draws, seed)
    statistics = (np.abs(signs @ units.T) for signs in patterns)
    return _max_t(np.abs(units.sum(axis=1)), statistics, is_exact)


def permuted_types(
    differences: np.ndarray, type_of: np.ndarray, permutations: int = PERMUTATIONS, seed: int = 0
) -> np.ndarray:
    """Returns `[C]`, whether each cell's effect depends on the type of question, as adjusted p.

    The types are permuted over the questions. The statistic is the sum over types of
    n (mean of the type - mean)^2, over the variance of the differences; the adjustment is that of
    `sign_flips`.

    Args:
      differences: `[C, Q]`.
      type_of: `[Q]`, numbers from 0.
    """
    differences = np.asarray(differences, np.float32)
    centred = differences - differences.mean(axis=1, keepdims=True)
    scale = np.sqrt((centred**2).mean(axis=1, keepdims=True))
    units = np.divide(centred, scale, out=np.zeros_like(centred), where=scale > _ZERO)
    counts = np.bincount(type_of)
    scales = np.diag(np.maximum(counts, 1) ** -0.5).astype(np.float32)

    def statistics(rows):
        """Returns `[n, C]` for `[Q, n]` types of the questions."""
        columns = scales[rows].reshape(len(type_of), -1)
        sums = (units @ columns).reshape(len(units), -1, len(counts))
        return (sums**2).sum(axis=2).T

    random = np.random.RandomState(seed)
    most = max(1, _BLOCK_VALUES // (len(type_of) * len(counts)))
    drawn = (
        statistics(np.array([random.permutation(type_of) for _ in range(rows)]).T) for rows in _blocks(most, permutations)
    )
    observed = statistics(type_of[:, np.newaxis])[0]
    return _max_t(observed * (1.0 - 1e-5), drawn, is_exact=False).p_adjusted  # in float32


def _max_t(observed: np.ndarray, draws: Iterator[np.ndarray], is_exact: bool) -> Tests:
    """Returns the tests of `[C]` statistics against blocks `[n, C]` drawn under the null.

    Args:
      is_exact: whether the draws are all that there are, the observed one included.
    """
    least = observed * (1.0 - _ROUNDING)
    order = np.argsort(-observed, kind="stable")
    alone, stepped, total = np.zeros(len(observed), int), np.zeros(len(observed), int), 0
    highest = [np.zeros(0)]
    for statistics in draws:
        largest = np.maximum.accumulate(statistics[:, order[::-1]], axis=1)[:, ::-1]
        alone += np.sum(statistics >= least, axis=0)
        stepped += np.sum(largest >= least[order], axis=0)
        total += len(statistics)
        highest.append(largest[:, :1].ravel())
    itself = 0 if is_exact else 1
    adjusted = np.empty(len(observed))
    adjusted[order] = np.maximum.accumulate((stepped + itself) / (total + itself))
    tops = np.sort(np.concatenate(highest))
    critical = float(tops[min(int(LEVEL * len(tops)), len(tops) - 1)]) if len(tops) else 0.0
    return Tests((alone + itself) / (total + itself), adjusted, critical)


def bootstrap_interval(
    sums: np.ndarray, counts: np.ndarray, draws: int = DRAWS, seed: int = 0
) -> Tuple[np.ndarray, np.ndarray]:
    """Returns the 95 % confidence intervals of mean differences, resampling clusters.

    Clusters have different numbers of questions, so each draw's mean is a ratio: the sum of the
    drawn clusters' differences over their number of questions. The interval is the expanded
    percentile interval (Hesterberg, 2015, arXiv 1411.5279). With few clusters the plain percentile
    interval is too narrow: its spread is short by sqrt((P - 1) / P), and it lacks the longer tails
    of Student's t. A studentized interval is no option: most passages do not change, so a draw can
    have a standard error of zero.

    Args:
      sums, counts: `[C, P]` and `[P]`, see `cluster_sums`.

    Returns:
      `(low, high)`, `[C]` each; NaN with a single cluster.
    """
    clusters = len(counts)
    low, high = np.full(len(sums), np.nan), np.full(len(sums), np.nan)
    if clusters < 2:
        return low, high
    t = stats.t.ppf(0.5 + LEVEL / 2.0, clusters - 1)
    tail = stats.norm.cdf(-np.sqrt(clusters / (clusters - 1.0)) * t)
    for start in range(0, len(sums), _BLOCK_CELLS):
        block = sums[start : start + _BLOCK_CELLS]
        columns = np.vstack([block, counts]).T
        means = np.empty((len(block), draws))
        done = 0
        for weights in _weights(clusters, draws, seed):
            totals = weights @ columns
            means[:, done : done + len(weights)] = (totals[:, :-1] / totals[:, -1:]).T
            done += len(weights)
        bounds = np.percentile(means, [100.0 * tail, 100.0 * (1.0 - tail)], axis=1, overwrite_input=True)
        mean = block.sum(axis=1) / counts.sum()
        # Only rounding puts the mean outside, as when all differences are 0.1.
        low[start : start + len(block)] = np.minimum(bounds[0], mean)
        high[start : start + len(block)] = np.maximum(bounds[1], mean)
    return low, high


# RandomState rather than Generator: its stream is the same in all versions of NumPy, and so is
# effects.csv.


def _blocks(most: int, draws: int) -> Iterator[int]:
    for start in range(0, draws, most):
        yield min(most, draws - start)


def _weights(clusters: int, draws: int, seed: int) -> Iterator[np.ndarray]:
    """Yields `[n, P]` blocks: how often each resample draws each cluster."""
    random = np.random.RandomState(seed)
    for rows in _blocks(max(1, _BLOCK_VALUES // clusters), draws):
        drawn = random.randint(0, clusters, size=(rows, clusters), dtype=np.int32)
        drawn = drawn + clusters * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * clusters)
        yield counts.reshape(rows, clusters).astype(float)


def _all_signs(clusters: int) -> Iterator[np.ndarray]:
    """Yields the `[2^P, P]` patterns of -1 and 1."""
    yield 1.0 - 2.0 * ((np.arange(2**clusters)[:, None] >> np.arange(clusters)) & 1)


def _signs(clusters: int, cells: int, draws: int, seed: int) -> Iterator[np.ndarray]:
    """Yields `[n, P]` blocks of -1 and 1."""
    random = np.random.RandomState(seed)
    for rows in _blocks(max(1, _BLOCK_VALUES // max(clusters, cells)), draws):
        yield 1.0 - 2.0 * random.randint(0, 2, size=(rows, clusters), dtype=np.int8)
