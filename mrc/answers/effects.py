# SPDX-License-Identifier: Apache-2.0
"""Effects of masking with their uncertainty: effects.csv and effects_by_type.csv.

Each row compares a cell of the grid with the baseline on the same questions. The tests are paired
(Dror et al., 2018, P18-1128). Questions about one passage are not independent, so the intervals and
the test of F1 treat passages as clusters (Miller, 2024, arXiv 2411.00640):

    metric  p                        low, high
    em      exact McNemar test       bootstrap over passages
    f1      sign flips by passage    bootstrap over passages

Scores are fractions (0 to 1). `baseline`, `value`, `difference`, `low` and `high` are in points
(0 to 100).
"""

import csv
import io
from typing import (
    Any,
    Callable,
    Dict,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)

import numpy as np
from scipy import stats

METRICS = ("em", "f1")
DRAWS = 10000
EXACT_PASSAGES = 12  # up to 2^12 = 4096 sign patterns are enumerated

_BLOCK_CELLS = 512
_BLOCK_VALUES = 1 << 21  # random values drawn at once

Label = Tuple[str, str, str]


class Effect(NamedTuple):
    """A cell's effect on a metric. `low` and `high` are NaN with a single passage."""

    layer: str
    head: str
    zone: str
    metric: str
    baseline: float
    value: float
    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    better: int
    worse: int
    questions: int


def mcnemar(before: Any, after: Any) -> float:
    """Returns the p-value of the exact two-sided McNemar test (McNemar, 1947).

    Under the null hypothesis, each question that changes is as likely to become right as wrong.
    The test treats questions as independent: where the questions of a passage tend to change
    together, p is too small. `bootstrap_interval` and `sign_flip_p` account for passages.

    Args:
        before: `[Q]`, whether each question was right.
        after: `[Q]`, the same for the other system.
    """
    before, after = np.asarray(before, bool), np.asarray(after, bool)
    if before.shape != after.shape or before.ndim != 1:
        raise ValueError(
            f"McNemar's test needs two [Q] arrays of one length, got {before.shape} and "
            f"{after.shape}"
        )
    return float(_mcnemar_p(np.sum(~before & after), np.sum(before & ~after)))


def _mcnemar_p(better: Any, worse: Any) -> np.ndarray:
    return np.minimum(
        1.0, 2.0 * stats.binom.cdf(np.minimum(better, worse), np.add(better, worse), 0.5)
    )


def sign_flip_p(differences: Any, groups: Any, draws: int = DRAWS, seed: int = 0) -> Any:
    """Returns the p-value of a paired sign-flip test, two-sided (Dror et al., 2018).

    Under the null hypothesis, exchanging the two systems on a whole passage does not matter, so the
    differences of its questions change sign together. With at most `EXACT_PASSAGES` passages whose
    differences do not cancel, all sign patterns are enumerated; otherwise p is
    (count + 1) / (draws + 1) over random patterns.

    Args:
        differences: `[Q]` or `[C, Q]`, score minus baseline.
        groups: `[Q]`, the passage of each question.
        draws: number of random patterns, shared by all cells.
        seed: of the random patterns.

    Returns:
        A float, or `[C]` for `[C, Q]`.
    """
    sums, _ = _passage_sums(differences, groups)
    p = _sign_flip_p(sums, draws, seed)
    return p if np.ndim(differences) == 2 else float(p[0])


def _sign_flip_p(sums: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """`sums` is `[C, P]`."""
    _check_draws(draws)
    p = np.empty(len(sums))
    # A pattern that ties with the observed sum must count despite rounding.
    tolerance = 1e-9 * np.abs(sums).sum(axis=1)
    nonzero = np.abs(sums) > 1e-12  # 0.1 + 0.2 - 0.3 is not quite 0
    sampled = []
    for cell, used in enumerate(nonzero):
        if used.sum() > EXACT_PASSAGES:
            sampled.append(cell)
            continue
        values = sums[cell, used]
        patterns = (np.arange(2 ** len(values))[:, None] >> np.arange(len(values))) & 1
        totals = (1.0 - 2.0 * patterns) @ values
        p[cell] = np.mean(np.abs(totals) >= abs(values.sum()) - tolerance[cell])
    for start in range(0, len(sampled), _BLOCK_CELLS):
        cells = sampled[start : start + _BLOCK_CELLS]
        least = np.abs(sums[cells].sum(axis=1)) - tolerance[cells]
        count = np.zeros(len(cells), int)
        for signs in _signs(sums.shape[1], draws, seed):
            count += np.sum(np.abs(signs @ sums[cells].T) >= least, axis=0)
        p[cells] = (count + 1.0) / (draws + 1.0)
    return p


def bootstrap_interval(
    differences: Any, groups: Any, draws: int = DRAWS, seed: int = 0, level: float = 0.95
) -> Tuple[Any, Any]:
    """Returns a confidence interval of the mean difference, resampling passages with replacement.

    Passages have different numbers of questions, so each draw's mean is a ratio: the sum of the
    drawn passages' differences over their number of questions. The interval is the expanded
    percentile interval (Hesterberg, 2015, arXiv 1411.5279). With few passages the plain percentile
    interval is too narrow: its spread is short by sqrt((P - 1) / P), and it lacks the longer tails
    of Student's t. A studentized interval is no option: most passages do not change, so a draw can
    have a standard error of zero.

    Args:
        differences: `[Q]` or `[C, Q]`, score minus baseline.
        groups: `[Q]`, the passage of each question.
        draws: number of resamples, shared by all cells.
        seed: of the resamples.
        level: coverage, between 0 and 1.

    Returns:
        `(low, high)` in the unit of `differences`, floats or `[C]` each; NaN with a single passage.
    """
    sums, counts = _passage_sums(differences, groups)
    low, high = _bootstrap_interval(sums, counts, draws, seed, level)
    return (low, high) if np.ndim(differences) == 2 else (float(low[0]), float(high[0]))


def _bootstrap_interval(
    sums: np.ndarray, counts: np.ndarray, draws: int, seed: int, level: float
) -> Tuple[np.ndarray, np.ndarray]:
    """`sums` is `[C, P]`, `counts` `[P]`."""
    _check_draws(draws)
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    passages = len(counts)
    low, high = np.full(len(sums), np.nan), np.full(len(sums), np.nan)
    if passages < 2:
        return low, high
    t = stats.t.ppf(0.5 + level / 2.0, passages - 1)
    tail = stats.norm.cdf(-np.sqrt(passages / (passages - 1.0)) * t)
    for start in range(0, len(sums), _BLOCK_CELLS):
        block = sums[start : start + _BLOCK_CELLS]
        columns = np.vstack([block, counts]).T
        means = np.empty((len(block), draws))
        done = 0
        for weights in _weights(passages, draws, seed):
            totals = weights @ columns
            means[:, done : done + len(weights)] = (totals[:, :-1] / totals[:, -1:]).T
            done += len(weights)
        bounds = np.percentile(
            means, [100.0 * tail, 100.0 * (1.0 - tail)], axis=1, overwrite_input=True
        )
        mean = block.sum(axis=1) / counts.sum()
        # Only rounding puts the mean outside, as when all differences are 0.1.
        low[start : start + len(block)] = np.minimum(bounds[0], mean)
        high[start : start + len(block)] = np.maximum(bounds[1], mean)
    return low, high


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Returns p-values adjusted for multiple tests by Holm's step-down procedure (Holm, 1979).

    The i-th smallest of m p-values is multiplied by m - i + 1. An adjusted value is never below
    that of a smaller p.

    Args:
        p_values: `[N]`, each between 0 and 1.

    Returns:
        `[N]`, in the order of the arguments.

    Raises:
        ValueError: a value is NaN or outside 0 to 1.
    """
    p = np.asarray(p_values, float)
    wrong = ~((p >= 0.0) & (p <= 1.0))
    if wrong.any():
        raise ValueError(f"p-values must lie between 0 and 1, got {p[wrong][0]}")
    order = np.argsort(p, kind="mergesort")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1.0, stepped)
    return adjusted


def compare(
    baseline_scores: Mapping[str, Any],
    cell_scores: Mapping[str, Any],
    passage_of: Any,
    labels: Sequence[Label],
    draws: int = DRAWS,
    seed: int = 0,
    level: float = 0.95,
) -> List[Effect]:
    """Returns the rows of effects.csv: for each cell, one row a metric.

    Args:
        baseline_scores: `em` (0 or 1) and `f1` (0 to 1), `[Q]` each: the maximum over the gold
            answers of a question.
        cell_scores: the same for the cells, `[C, Q]` each.
        passage_of: `[Q]`, the passage of each question.
        labels: `(layer, head, zone)` of each cell.
        draws: number of resamples, and of sign flips unless 40 per row of a metric are more. The
            smallest p is 1 / (flips + 1), which Holm multiplies by up to the number of rows: with
            fewer than 20 flips per row, no effect could reach 0.05.
        seed: of all random draws.
        level: coverage of the interval.
    """
    return compare_by_type(
        baseline_scores,
        cell_scores,
        passage_of,
        labels,
        [""] * len(passage_of),
        draws=draws,
        seed=seed,
        level=level,
    ).get("", [])


def compare_by_type(
    baseline_scores: Mapping[str, Any],
    cell_scores: Mapping[str, Any],
    passage_of: Any,
    labels: Sequence[Label],
    type_of: Sequence[str],
    types: Optional[Sequence[str]] = None,
    draws: int = DRAWS,
    seed: int = 0,
    level: float = 0.95,
) -> Dict[str, List[Effect]]:
    """Returns the rows of effects_by_type.csv: `compare` on the questions of each type.

    Holm's procedure covers the rows of a metric over all types, as the table is read as a whole.

    Args:
        baseline_scores, cell_scores, passage_of, labels, draws, seed, level: see `compare`.
        type_of: `[Q]`, the type of each question.
        types: the types in the order of the table; without it, in the order of the questions.

    Returns:
        `{type: rows}` of the types that have questions.
    """
    labels = [tuple(str(part) for part in label) for label in labels]
    passages = _numbered(passage_of)
    type_of = np.asarray(type_of, object)
    scores = {
        metric: _checked_scores(
            metric, baseline_scores[metric], cell_scores[metric], len(labels), len(passages)
        )
        for metric in METRICS
    }
    if len(type_of) != len(passages):
        raise ValueError("%d questions have %d types" % (len(passages), len(type_of)))
    present = list(dict.fromkeys(type_of))
    if types is not None:
        unknown = [name for name in present if name not in types]
        if unknown:
            raise ValueError(
                "unknown question type {!r}; known: {}".format(unknown[0], ", ".join(types))
            )
        present = [name for name in types if name in present]
    flips = max(draws, 40 * len(labels) * len(present))
    table: Dict[str, Dict[str, List[Effect]]] = {}
    for name in present:
        chosen = np.flatnonzero(type_of == name)
        part = {
            metric: (baseline[chosen], cells[:, chosen])
            for metric, (baseline, cells) in scores.items()
        }
        table[name] = _rows(part, passages[chosen], labels, draws, flips, seed, level)
    for metric in METRICS:
        adjusted = iter(holm([row.p for rows in table.values() for row in rows[metric]]))
        for rows in table.values():
            rows[metric] = [row._replace(p_holm=float(next(adjusted))) for row in rows[metric]]
    return {
        name: [row for cell in zip(*(rows[metric] for metric in METRICS)) for row in cell]
        for name, rows in table.items()
    }


def _rows(
    scores: Dict[str, Tuple[np.ndarray, np.ndarray]],
    passages: np.ndarray,
    labels: Sequence[Label],
    draws: int,
    flips: int,
    seed: int,
    level: float,
) -> Dict[str, List[Effect]]:
    """Returns `{metric: rows}`, p not yet adjusted."""
    differences = {metric: cells - baseline for metric, (baseline, cells) in scores.items()}
    sums, counts = _passage_sums(np.vstack([differences[metric] for metric in METRICS]), passages)
    lows, highs = _bootstrap_interval(sums, counts, draws, seed, level)
    table = {}
    for number, metric in enumerate(METRICS):
        baseline, cells = scores[metric]
        rows = slice(number * len(labels), (number + 1) * len(labels))
        better = (differences[metric] > 0.0).sum(axis=1)
        worse = (differences[metric] < 0.0).sum(axis=1)
        p = _mcnemar_p(better, worse) if metric == "em" else _sign_flip_p(sums[rows], flips, seed)
        table[metric] = [
            Effect(
                *label,
                metric,
                100.0 * float(baseline.mean()),
                100.0 * float(value),
                100.0 * float(difference),
                100.0 * float(low),
                100.0 * float(high),
                float(p_cell),
                float("nan"),
                int(up),
                int(down),
                len(baseline),
            )
            for label, value, difference, low, high, p_cell, up, down in zip(
                labels,
                cells.mean(axis=1),
                differences[metric].mean(axis=1),
                lows[rows],
                highs[rows],
                p,
                better,
                worse,
            )
        ]
    return table


def to_csv(rows: Sequence[Effect]) -> str:
    """Returns effects.csv: points with 4 decimals, p with 4 significant digits, NaN as empty."""
    return _to_csv(Effect._fields, map(_fields, rows))


def to_csv_by_type(table: Mapping[str, Sequence[Effect]]) -> str:
    """Returns effects_by_type.csv: the columns of effects.csv after `type`."""
    return _to_csv(
        ("type",) + Effect._fields,
        ([name] + _fields(row) for name, rows in table.items() for row in rows),
    )


def read_csv(text: str) -> List[Effect]:
    """Returns the rows of effects.csv.

    Raises:
        ValueError: the header or a number is wrong; the message names the line.
    """
    return [_effect(line, fields) for line, fields in _read_csv(text, Effect._fields)]


def read_csv_by_type(text: str) -> Dict[str, List[Effect]]:
    """Returns `{type: rows}` of effects_by_type.csv. Raises ValueError as `read_csv` does."""
    table: Dict[str, List[Effect]] = {}
    for line, fields in _read_csv(text, ("type",) + Effect._fields):
        table.setdefault(fields[0], []).append(_effect(line, fields[1:]))
    return table


def _points(value: float) -> str:
    text = "" if np.isnan(value) else f"{value:.4f}"
    return text.lstrip("-") if text == "-0.0000" else text


def _p_value(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.4g}"


_FORMATS: Dict[str, Callable[[float], str]] = {
    "baseline": _points,
    "value": _points,
    "difference": _points,
    "low": _points,
    "high": _points,
    "p": _p_value,
    "p_holm": _p_value,
}


def _fields(row: Effect) -> List[str]:
    return [_FORMATS.get(name, str)(value) for name, value in zip(Effect._fields, row)]


def _to_csv(header: Sequence[str], rows: Any) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def _read_csv(text: str, header: Sequence[str]) -> Iterator[Tuple[int, List[str]]]:
    reader = csv.reader(io.StringIO(text))
    found = next(reader, [])
    if tuple(found) != tuple(header):
        raise ValueError(
            "line 1: the header is {!r}, expected {!r}".format(",".join(found), ",".join(header))
        )
    for fields in reader:
        if len(fields) != len(header):
            raise ValueError(
                "line %d: %d fields, expected %d" % (reader.line_num, len(fields), len(header))
            )
        yield reader.line_num, fields


def _effect(line: int, fields: Sequence[str]) -> Effect:
    values: List[Any] = list(fields)
    for place, name in enumerate(Effect._fields):
        try:
            if name in _FORMATS:
                values[place] = float(fields[place]) if fields[place] else float("nan")
            elif name in ("better", "worse", "questions"):
                values[place] = int(fields[place])
        except ValueError:
            raise ValueError("line %d: %s is %r, expected a number" % (line, name, fields[place]))
    return Effect(*values)


def _numbered(groups: Any) -> np.ndarray:
    """Numbers groups from 0, in sorted order."""
    return np.unique(np.asarray(groups), return_inverse=True)[1].ravel()


def _passage_sums(differences: Any, groups: Any) -> Tuple[np.ndarray, np.ndarray]:
    """Returns `[C, P]` sums of the differences and `[P]` numbers of questions of each passage."""
    differences = np.atleast_2d(np.asarray(differences, float))
    passages = _numbered(groups)
    if differences.ndim != 2 or differences.shape[1] != len(passages) or not len(passages):
        raise ValueError(
            "%d questions have passages, the differences are %s"
            % (len(passages), differences.shape)
        )
    counts = np.bincount(passages)
    sums = np.empty((len(differences), len(counts)))
    for cell, row in enumerate(differences):
        sums[cell] = np.bincount(passages, weights=row)
    return sums, counts


def _checked_scores(
    metric: str, baseline: Any, cells: Any, labels: int, questions: int
) -> Tuple[np.ndarray, np.ndarray]:
    baseline, cells = np.asarray(baseline, float), np.asarray(cells, float)
    if baseline.shape != (questions,) or cells.shape != (labels, questions):
        raise ValueError(
            f"{metric}: the baseline has shape {baseline.shape} and the cells {cells.shape}, "
            f"expected {(questions,)} and {(labels, questions)}"
        )
    for scores in (baseline, cells):
        bad = ~((scores >= 0.0) & (scores <= 1.0))
        if metric == "em":
            bad |= (scores != 0.0) & (scores != 1.0)
        if bad.any():
            raise ValueError(
                "{}: a score is {}, expected {}".format(
                    metric, scores[bad][0], "0 or 1" if metric == "em" else "0 to 1"
                )
            )
    return baseline, cells


def _check_draws(draws: int) -> None:
    if draws < 1:
        raise ValueError(f"draws must be at least 1, got {draws}")


# RandomState rather than Generator: its stream is the same in all versions of NumPy, and so is
# effects.csv.


def _blocks(passages: int, draws: int) -> Iterator[int]:
    step = max(1, _BLOCK_VALUES // passages)
    for start in range(0, draws, step):
        yield min(step, draws - start)


def _weights(passages: int, draws: int, seed: int) -> Iterator[np.ndarray]:
    """Yields `[n, P]` blocks: how often each resample draws each passage."""
    random = np.random.RandomState(seed)
    for rows in _blocks(passages, draws):
        drawn = random.randint(0, passages, size=(rows, passages), dtype=np.int32)
        drawn = drawn + passages * np.arange(rows)[:, None]
        yield (
            np.bincount(drawn.ravel(), minlength=rows * passages)
            .reshape(rows, passages)
            .astype(float)
        )


def _signs(passages: int, draws: int, seed: int) -> Iterator[np.ndarray]:
    """Yields `[n, P]` blocks of -1 and 1."""
    random = np.random.RandomState(seed)
    for rows in _blocks(passages, draws):
        yield 1.0 - 2.0 * random.randint(0, 2, size=(rows, passages), dtype=np.int8)
