# SPDX-License-Identifier: Apache-2.0
"""Effects on the mean of several readers of the same questions, such as seeds of one training.

Readers and clusters of questions are crossed random factors. The variance of the mean is that over
readers plus that over clusters minus that of their interaction, which both contain (Owen, 2007,
arXiv 0711.2434). Its degrees of freedom are Satterthwaite's (1946).
"""

import os
from typing import Any, NamedTuple, Optional, Sequence, Tuple

import numpy as np
from scipy import stats

from mrc.answers import question_scores, resampling, results_table, verdicts
from mrc.util import files
from mrc.util.errors import warn


class SeedEffects(NamedTuple):
    """Effects on the mean of readers, `[C]` each; `difference`, `se`, `low`, `high` in points."""

    difference: np.ndarray
    se: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p: np.ndarray
    p_adjusted: np.ndarray
    verdict: np.ndarray


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Returns p-values adjusted for multiple tests by Holm's step-down procedure (Holm, 1979).

    The i-th smallest of m p-values is multiplied by m - i + 1. An adjusted value is never below
    that of a smaller p.
    """
    p = np.asarray(p_values, float)
    order = np.argsort(p, kind="mergesort")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1.0, stepped)
    return adjusted


def compare(differences: Any, clusters: Any, margin: float = verdicts.MARGIN) -> SeedEffects:
    """Returns the effects on the mean of the readers.

    Args:
      differences: `[S, C, Q]`, score minus baseline of each of at least two readers.
      clusters: `[Q]`, the passage or article of each question.
      margin: points; an effect within it does not matter.
    """
    differences = np.asarray(differences, float)
    readers, cells, questions = differences.shape
    sums, counts = resampling.cluster_sums(differences.reshape(-1, questions), clusters)
    sums, parts = sums.reshape(readers, cells, -1), np.float64(len(counts))
    by_reader = sums.sum(axis=2) / questions
    mean = by_reader.mean(axis=0)
    residuals = sums - by_reader[..., np.newaxis] * counts
    by_cluster = residuals.mean(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):  # a single cluster has no variance
        correction = parts / ((parts - 1.0) * questions**2)
        over_readers = by_reader.var(axis=0, ddof=1) / readers
        over_clusters = correction * (by_cluster**2).sum(axis=1)
        squares = ((residuals - by_cluster) ** 2).sum(axis=(0, 2))
        interaction = correction * squares / (readers * (readers - 1.0))
        # Either source alone is the least that the mean can vary.
        variance = np.maximum(over_readers + over_clusters - interaction, np.maximum(over_readers, over_clusters))
        freedom = variance**2 / (
            over_readers**2 / (readers - 1.0)
            + over_clusters**2 / (parts - 1.0)
            + interaction**2 / ((readers - 1.0) * (parts - 1.0))
        )
        se = np.sqrt(variance)
        p = 2.0 * stats.t.sf(np.abs(mean) / se, freedom)
        reach = stats.t.ppf(0.5 + resampling.LEVEL / 2.0, freedom) * se
    # The same loss of every question by every reader is certain; no change of any is not.
    is_certain = (variance == 0.0) & (mean != 0.0)
    p, reach = np.where(is_certain, 0.0, p), np.where(is_certain, 0.0, reach)
    p = np.where(np.isnan(p), 1.0, p)
    adjusted = holm(p)
    low, high = 100.0 * (mean - reach), 100.0 * (mean + reach)
    verdict = verdicts.verdicts(100.0 * mean, low, high, adjusted, margin)
    return SeedEffects(100.0 * mean, 100.0 * se, low, high, p, adjusted, verdict)


def compare_files(paths: Sequence[str], cells: Sequence[Tuple[str, str]], metric: str) -> Optional[SeedEffects]:
    """Returns the effects on the mean of readers from the question scores beside their tables.

    Returns None, with a warning, where a reader has no scores or they are of other questions.

    Args:
      paths: of the readers' tables of results, at least two.
      cells: (row, zone) of the cells in these tables.
      metric: "em" or "f1".
    """
    beside = [os.path.join(os.path.dirname(path), question_scores.FILE) for path in paths]
    for path in beside:
        if not files.exists(path):
            warn(f"{path} does not exist, so the mean is not tested; score with --do_eval to write it")
            return None
    readers = [question_scores.read(path) for path in beside]
    differences = []
    for path, scores in zip(beside, readers):
        labels = [(results_table.row_label(label), label.zone) for label in scores.cells]
        is_alike = np.array_equal(scores.ids, readers[0].ids) and metric in scores.metrics
        if not is_alike or not set(cells) <= set(labels):
            warn(f"{path} has other questions, cells or metrics than {beside[0]}, so the mean is not tested")
            return None
        differences.append(scores.differences(metric)[[labels.index(cell) for cell in cells]])
    return compare(differences, readers[0].passages)
