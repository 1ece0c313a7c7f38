# SPDX-License-Identifier: Apache-2.0
"""From the rows of comparison.csv to the panels of a heat map: layers and heads by zones."""

from typing import List, Sequence

from mrc.answers.comparison import Difference
from mrc.answers.effects import METRIC_NAMES
from mrc.cells import Label, from_one
from mrc.figures.heat_map import Panel, panel_of_cells


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
        panels.append(
            panel_of_cells(
                cells,
                lambda cell: cell.difference,
                lambda cell: cell.verdict,
                lambda cell: f"{cell.difference:+.1f}\n[{cell.low:.1f}, {cell.high:.1f}]",
                title=f"{METRIC_NAMES[metric]}, {next(iter(cells.values())).questions} questions",
                row_label="masked layer (from 1), a / b",
                column_label="masked zone, a / b",
            )
        )
    return panels


def of_attention(rows: Sequence[Sequence]) -> Panel:
    """Returns the panel of the rows of `attention_tables.DIFFERENCES`: layers by zones."""
    cells = {
        (_joined(str(one + 1), str(other + 1)), zone.upper()): difference for one, other, zone, _, _, difference in rows
    }
    return panel_of_cells(
        cells,
        float,
        text="{:+.3f}".format,
        title="mean mass of the heads",
        row_label="layer (from 1), a / b",
        column_label="block of the zone",
    )
