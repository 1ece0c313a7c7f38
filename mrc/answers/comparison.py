# SPDX-License-Identifier: Apache-2.0
"""Compares what masks cost in two readers, or in two cells of one reader, question by question.

The two systems of a pair are called a and b. `difference` is the loss of a minus the loss of b, in
points; it is tested like an effect (see `verdicts`), and p is adjusted over the pairs of a metric.

a loses more, b loses more   p_adjusted below 0.05
equivalent                   otherwise, if the 95 % interval lies within the margin around 0
undecided                    neither: the questions are too few to tell
impossible                   neither mask can change an answer, by construction
"""

import itertools
from typing import FrozenSet, List, NamedTuple, Sequence, Tuple

import numpy as np

from mrc.answers import effect_tables, effects, question_scores, resampling, results_table, verdicts
from mrc.answers.question_scores import QuestionScores
from mrc.answers.tables import Column, Table, path_in
from mrc.cells import Label
from mrc.util.errors import InputError

A_LOSES_MORE, B_LOSES_MORE, EQUIVALENT = "a loses more", "b loses more", "equivalent"
_VERDICTS = {
    verdicts.HELPS: A_LOSES_MORE,
    verdicts.NEEDED: B_LOSES_MORE,
    verdicts.NOT_NEEDED: EQUIVALENT,
    verdicts.UNDECIDED: verdicts.UNDECIDED,
    verdicts.IMPOSSIBLE: verdicts.IMPOSSIBLE,
}
_REMEDY = "decode a grid and score it with --do_eval first"
_MOST_NAMED = 12  # pairs; more are counted

Pair = Tuple[Label, Label]


class Reader(NamedTuple):
    """The scores of a grid.

    Attributes:
      folder: output folder.
      scores: by question; the `layer` of a cell that masks every layer is empty, as in the flags.
      impossible: the cells that cannot change an answer.
    """

    folder: str
    scores: QuestionScores
    impossible: FrozenSet[Label]


class Difference(NamedTuple):
    """A row of comparison.csv: the names of both cells, their losses and the test, in points.

    Attributes:
      se, low, high: see `verdicts.Estimates`.
      p, p_adjusted, mde, n_needed: see `verdicts.Comparisons`.
      verdict: see the module.
    """

    cell_a: str
    cell_b: str
    metric: str
    loss_a: float
    loss_b: float
    difference: float
    se: float
    low: float
    high: float
    questions: int
    p: float
    p_adjusted: float
    mde: float
    verdict: str
    n_needed: float

    @property
    def title(self) -> str:
        """The compared cells in words, with layers and heads from 1."""
        names = dict.fromkeys([self.cell_a, self.cell_b])
        return " against ".join(Label.parse(name).title for name in names)


TABLE = Table(
    "table of comparisons",
    "run compare.py again",
    [
        Column("cell_a"),
        Column("cell_b"),
        Column("metric", choices=effects.METRICS),
        *(Column(name, float, ".4f") for name in Difference._fields[3:9]),
        Column("questions", int, least=0),
        *(Column(name, float, ".4g", least=0.0, most=1.0) for name in ("p", "p_adjusted")),
        Column("mde", float, ".4f"),
        Column("verdict", choices=tuple(_VERDICTS.values())),
        Column("n_needed", float, ".0f", least=0.0),
    ],
)


def _as_in_flags(label):
    return label._replace(layer="") if label.layer == results_table.EVERY_LAYER else label


def read(folder: str) -> Reader:
    """Returns the `Reader` of an output folder."""
    effects_path = path_in(folder, effect_tables.EFFECTS_FILE, _REMEDY)
    scores_path = path_in(folder, question_scores.FILE, "rerun with --do_eval to write it")
    rows = effects.read(effects_path)
    scores = question_scores.read(scores_path)
    impossible = frozenset(
        _as_in_flags(Label(row.layer, row.head, row.zone)) for row in rows if row.verdict == verdicts.IMPOSSIBLE
    )
    return Reader(folder, scores._replace(cells=list(map(_as_in_flags, scores.cells))), impossible)


def on_common_questions(a: Reader, b: Reader) -> Tuple[Reader, Reader]:
    """Returns both readers with the questions that both have, in the order of `a`.

    The passages are those of `a`: the other data may be a translation in another order.
    """
    numbers_b = {question: number for number, question in enumerate(b.scores.ids.tolist())}
    ids = a.scores.ids.tolist()
    numbers_a = [number for number, question in enumerate(ids) if question in numbers_b]
    if not numbers_a:
        raise InputError(
            f"{a.folder} and {b.folder} have no question in common; compare readers of the same "
            "questions, which are matched by id"
        )
    others = [numbers_b[ids[number]] for number in numbers_a]
    return (a._replace(scores=a.scores.subset(np.array(numbers_a))), b._replace(scores=b.scores.subset(np.array(others))))


def same_depth(layers_a: int, layers_b: int) -> List[Tuple[int, int]]:
    """Returns the (layer of a, layer of b) at the same relative depth, (layer + 0.5) / layers.

    Each layer of the shallower reader has the nearest one of the deeper; of two, the upper one, so
    that the last layers of 6 and 12 match.

    >>> same_depth(6, 4)
    [(0, 0), (2, 1), (3, 2), (5, 3)]
    """
    if layers_a > layers_b:
        return [pair[::-1] for pair in same_depth(layers_b, layers_a)]
    return [(layer, (2 * layer + 1) * layers_b // (2 * layers_a)) for layer in range(layers_a)]


def common_cells(a: Reader, b: Reader) -> List[Pair]:
    """Returns the pairs of cells to compare in two readers.

    With other numbers of layers, `same_depth` matches the layers; heads have no counterpart then.
    """
    cells_a, cells_b = a.scores.cells, b.scores.cells
    layers_a, layers_b = a.scores.layers, b.scores.layers
    if layers_a == layers_b or not (layers_a and layers_b):
        pairs = [(label, label) for label in cells_a]
    else:
        layer_b = {str(one): str(other) for one, other in same_depth(layers_a, layers_b)}
        layer_b[""] = ""
        pairs = [
            (label, label._replace(layer=layer_b[label.layer]))
            for label in cells_a
            if label.layer in layer_b and not label.head
        ]
    pairs = [pair for pair in pairs if pair[1] in cells_b]
    if not pairs:
        raise InputError(
            f"{a.folder} and {b.folder} have no cell in common; decode both with the same --mask_zone and --mask_layer"
        )
    return pairs


def named_cells(reader: Reader, names: Sequence[str]) -> List[Pair]:
    """Returns all pairs of the cells of one reader with these names."""
    labels = {label.name: label for label in reader.scores.cells}
    for name in names:
        if name not in labels:
            raise InputError(f'{reader.folder} has no cell "{name}"; pass --cells with two or more of ' + ", ".join(labels))
    return list(itertools.combinations([labels[name] for name in dict.fromkeys(names)], 2))


def compare(
    a: Reader,
    b: Reader,
    pairs: Sequence[Pair],
    metric: str,
    cluster: str = "paragraph",
    margin: float = verdicts.MARGIN,
    draws: int = resampling.DRAWS,
) -> List[Difference]:
    """Returns the rows of one metric.

    Args:
      a, b: with the same questions in the same order.
      pairs: (cell of `a`, cell of `b`).
      metric: one that both have.
      cluster: what is resampled, "paragraph" or "article" of `a`.
      margin: points; a difference within it does not matter.
      draws: number of resamples and sign patterns.
    """
    losses = [
        -reader.scores.differences(metric)[[reader.scores.cells.index(cell) for cell in cells]]
        for reader, cells in zip((a, b), zip(*pairs))
    ]
    impossible = [one in a.impossible and other in b.impossible for one, other in pairs]
    tested = verdicts.compare(losses[0] - losses[1], a.scores.clusters(cluster), margin, impossible, draws=draws)
    estimates = tested.estimates
    columns = (
        *(100.0 * each.mean(axis=1) for each in losses),
        *(estimates.difference, estimates.se, estimates.low, estimates.high),
        np.full(len(pairs), len(a.scores.ids)),
        *(tested.p, tested.p_adjusted, tested.mde),
        np.array([_VERDICTS[verdict] for verdict in tested.verdict]),
        tested.n_needed,
    )
    return [
        Difference(one.name, other.name, metric, *values)
        for (one, other), values in zip(pairs, zip(*(column.tolist() for column in columns)))
    ]


def in_words(rows: Sequence[Difference]) -> str:
    """Returns the verdicts on the rows of one metric, with layers and heads from 1."""
    parts = []
    for verdict in _VERDICTS.values():
        members = [row for row in rows if row.verdict == verdict]
        if verdict in (A_LOSES_MORE, B_LOSES_MORE) and 0 < len(members) <= _MOST_NAMED:
            text = "; ".join(
                f"{row.title} ({row.difference:+.1f} points [{row.low:+.1f}, {row.high:+.1f}])" for row in members
            )
        else:
            text = str(len(members))
        parts.append(f"  {verdict}: {text}")
    head = f"{effects.METRIC_NAMES[rows[0].metric]}, {rows[0].questions} questions, layers from 1:"
    return "\n".join([head, *parts])
