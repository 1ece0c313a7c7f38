# SPDX-License-Identifier: Apache-2.0
"""Effects of masking with their uncertainty: effects.csv and effects_by_type.csv.

Each row compares a cell of the grid with the baseline on the same questions. Tests and intervals
resample whole passages or articles (see `resampling`); `verdicts` says what a verdict means.

    metric  score of a question                                       tested against 0
    em      exact match with a gold answer                            yes
    f1      F1 with the best gold answer                              yes
    own     F1 with the reader's own answer without a mask            no: it cannot rise

`baseline`, `value`, `difference`, `se`, `low`, `high` and `mde` are in points (0 to 100).
"""

import math
from typing import Dict, List, NamedTuple, Sequence

import numpy as np

from mrc.answers import controls, resampling, verdicts
from mrc.answers.question_scores import QuestionScores
from mrc.answers.results_table import METRIC_NAMES
from mrc.answers.tables import Column, Table

METRICS = tuple(METRIC_NAMES)
TESTED = ("em", "f1")
_REMEDY = "rerun with --do_eval to write it again"


class Effect(NamedTuple):
    """A cell's effect on a metric; a number that is not defined is NaN.

    Attributes:
      layer, head, zone: the cell, as in the flags; `head` is empty for all heads.
      metric: one of `METRICS`.
      baseline, value: the mean score without and with the mask.
      difference, se, low, high, better, worse: see `verdicts.Estimates`.
      questions: number of questions.
      p, p_adjusted, mde, verdict, n_needed: see `verdicts.Comparisons`.
      p_type: whether the effect depends on the type of question, see `resampling.permuted_types`.
      above_control, control_low, control_high, p_control: see `controls.AboveControl`.
      reader, data, seed: what the scores are of, see `scoring.EffectOptions`; empty if unknown.
    """

    layer: str
    head: str
    zone: str
    metric: str
    baseline: float
    value: float
    difference: float
    se: float
    low: float
    high: float
    better: int
    worse: int
    questions: int
    p: float = math.nan
    p_adjusted: float = math.nan
    p_type: float = math.nan
    mde: float = math.nan
    verdict: str = ""
    n_needed: float = math.nan
    above_control: float = math.nan
    control_low: float = math.nan
    control_high: float = math.nan
    p_control: float = math.nan
    reader: str = ""
    data: str = ""
    seed: str = ""


def _points(name):
    return Column(name, float, ".4f")


def _probability(name):
    return Column(name, float, ".4g", least=0.0, most=1.0)


_ESTIMATES = [
    *(Column(name) for name in ("layer", "head", "zone")),
    Column("metric", choices=METRICS),
    *(_points(name) for name in ("baseline", "value", "difference", "se", "low", "high")),
    *(Column(name, int, least=0) for name in ("better", "worse", "questions")),
]
TABLE = Table(
    "table of effects",
    _REMEDY,
    [
        *_ESTIMATES,
        *(_probability(name) for name in ("p", "p_adjusted", "p_type")),
        _points("mde"),
        Column("verdict", choices=("",) + verdicts.VERDICTS),
        Column("n_needed", float, ".0f", least=0.0),
        *(
            column._replace(is_optional=True)  # earlier versions did not write them
            for column in (
                *(_points(name) for name in ("above_control", "control_low", "control_high")),
                _probability("p_control"),
                *(Column(name) for name in ("reader", "data", "seed")),
            )
        ),
    ],
)
TABLE_BY_TYPE = Table("table of effects by type", _REMEDY, [Column("type"), *_ESTIMATES])


def read(path: str) -> List[Effect]:
    """Returns the rows of an effects.csv; raises an `InputError` if it is another file."""
    return [Effect(*row) for row in TABLE.read(path)]


def read_by_type(path: str) -> Dict[str, List[Effect]]:
    """Returns {type: rows} of an effects_by_type.csv, raises an `InputError` as `read` does."""
    table: Dict[str, List[Effect]] = {}
    for name, *row in TABLE_BY_TYPE.read(path):
        table.setdefault(name, []).append(Effect(*row))
    return table


def by_type_to_csv(table: Dict[str, List[Effect]]) -> str:
    """Returns the text of effects_by_type.csv."""
    return TABLE_BY_TYPE.to_csv([name, *row] for name, rows in table.items() for row in rows)


def compare(
    scores: QuestionScores,
    cluster: str,
    type_of: Sequence[str],
    impossible: np.ndarray,
    margin: float = verdicts.MARGIN,
    draws: int = resampling.DRAWS,
) -> List[Effect]:
    """Returns the rows of effects.csv: for each cell, one row a metric.

    Args:
      scores: of the questions.
      cluster: what is resampled, "paragraph" or "article".
      type_of: `[Q]`, the type of each question.
      impossible: `[C]`, cells that cannot change an answer.
      margin: points; an effect within it does not matter.
      draws: number of resamples and sign patterns.
    """
    clusters = scores.clusters(cluster)
    types = np.unique(np.asarray(type_of), return_inverse=True)[1].ravel()
    rows = {}
    for metric in scores.metrics:
        differences = scores.differences(metric)
        if metric in TESTED:
            tested = verdicts.compare(differences, clusters, margin, impossible, draws)
            estimates, columns = tested.estimates, tested._asdict()
            del columns["estimates"]
        else:
            estimates = verdicts.estimate(differences, clusters, impossible, draws)
            columns = {"verdict": np.where(impossible, verdicts.IMPOSSIBLE, "")}
        columns["p_type"] = resampling.permuted_types(differences, types)
        columns.update(controls.compare(scores, metric, clusters, draws)._asdict())
        values_of_cells = zip(*(column.tolist() for column in columns.values()))
        rows[metric] = [
            row._replace(**dict(zip(columns, values)))
            for row, values in zip(_rows(scores, metric, estimates), values_of_cells)
        ]
    return _by_cell(rows)


def estimate_by_type(
    scores: QuestionScores,
    cluster: str,
    type_of: Sequence[str],
    types: Sequence[str],
    impossible: np.ndarray,
    draws: int = resampling.DRAWS,
) -> Dict[str, List[Effect]]:
    """Returns the rows of effects_by_type.csv: the effects on the questions of each type.

    Args:
      scores, cluster, type_of, impossible, draws: see `compare`.
      types: the types in the order of the table.

    Returns:
      {type: rows} of the types that have questions.
    """
    type_of = np.asarray(type_of)
    table = {}
    for name in types:
        part = scores.subset(type_of == name)
        if not len(part.ids):
            continue
        # All metrics in one call, which draws the resamples once.
        estimates = verdicts.estimate(
            np.vstack([part.differences(metric) for metric in part.metrics]),
            part.clusters(cluster),
            np.tile(impossible, len(part.metrics)),
            draws,
        )
        by_metric = zip(*(np.split(column, len(part.metrics)) for column in estimates))
        table[name] = _by_cell(
            {metric: _rows(part, metric, verdicts.Estimates(*columns)) for metric, columns in zip(part.metrics, by_metric)}
        )
    return table


def _by_cell(rows):
    """Returns {metric: rows} as one list, the metrics of a cell side by side."""
    return [row for cell in zip(*rows.values()) for row in cell]


def _rows(scores, metric, estimates):
    """Returns the rows of a metric, untested; an interval ends where scores do."""
    baseline, *values = (100.0 * scores.metrics[metric].mean(axis=1)).tolist()
    estimates = estimates._replace(
        low=np.maximum(estimates.low, -baseline), high=np.minimum(estimates.high, 100.0 - baseline)
    )
    columns = zip(*(column.tolist() for column in estimates))
    return [
        Effect(*label, metric, baseline, value, *numbers, len(scores.ids))
        for label, value, numbers in zip(scores.cells, values, columns)
    ]
