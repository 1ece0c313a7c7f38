# SPDX-License-Identifier: Apache-2.0
"""From the rows of comparison.csv to the panels of a heat map: layers and heads by zones."""

from typing import List, Sequence

import numpy as np

from mrc.answers.comparison import Difference
from mrc.answers.effects import METRIC_NAMES
from mrc.cells import Label, from_one
from mrc.figures.heat_map import Panel


def _joined(one: str, other: str) -> str:
    return one if one == other else f"{one} / {other}"


def _place(label):
    head = f" head {from_one(label.head)}" if label.head else ""
    return (from_one(label.layer) if label.layer else "every layer") + head


def _row_and_column(row):
    a, b = Label.parse(row.cell_a), Label.parse(row.cell_b)
    return _joined(_place(a), _place(b)), _joined(a.zone.upper(), b.zone.upper())


def panels_of(differences: Sequence[Difference]) -> List[Panel]:
    """Returns a panel for each metric, with the difference and its interval in each cell."""
    panels = []
    for metric in dict.fromkeys(row.metric for row in differences):
        cells = {_row_and_column(row): row for row in differences if row.metric == metric}
        rows, columns = (list(dict.fromkeys(labels)) for labels in zip(*cells))
        changes = np.full([len(rows), len(columns)], np.nan)
        verdicts, texts = np.full(changes.shape, "", object), np.full(changes.shape, "", object)
        for (row, column), cell in cells.items():
            place = rows.index(row), columns.index(column)
            changes[place], verdicts[place] = cell.difference, cell.verdict
            texts[place] = f"{cell.difference:+.1f}\n[{cell.low:.1f}, {cell.high:.1f}]"
        panels.append(
            Panel(
                title=f"{METRIC_NAMES[metric]}, {next(iter(cells.values())).questions} questions",
                rows=rows,
                columns=columns,
                changes=changes,
                row_label="masked layer (from 1), a / b",
                column_label="masked zone, a / b",
                verdicts=verdicts,
                texts=texts,
            )
        )
    return panels


def of_attention(rows: Sequence[Sequence]) -> Panel:
    """Returns the panel of the rows of `attention_tables.DIFFERENCES`: layers by zones."""
    cells = {
        (_joined(str(one + 1), str(other + 1)), zone.upper()): difference
        for one, other, zone, _, _, difference in rows
    }
    layers, zones = (list(dict.fromkeys(labels)) for labels in zip(*cells))
    changes = np.array([[cells[layer, zone] for zone in zones] for layer in layers])
    return Panel(
        title="mean mass of the heads",
        rows=layers,
        columns=zones,
        changes=changes,
        row_label="layer (from 1), a / b",
        column_label="block of the zone",
        texts=np.array([[f"{change:+.3f}" for change in row] for row in changes], object),
    )
