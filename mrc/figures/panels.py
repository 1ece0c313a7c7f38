# SPDX-License-Identifier: Apache-2.0
"""From tables of results and effects to the panels of a heat map."""

import math
import os
import re
from typing import List, Optional, Sequence

import numpy as np

from mrc.answers import effect_tables, effects, question_scores, results_table, seeds, verdicts
from mrc.answers.effects import METRIC_NAMES
from mrc.answers.results_table import Table
from mrc.cells import from_one
from mrc.figures import heat_map
from mrc.figures.heat_map import Panel
from mrc.util import files
from mrc.util.errors import InputError, warn

_NUMBERS = re.compile(r"[0-9]{1,9}(\+[0-9]{1,9})*$")
_SAME = 1e-3  # points that two tables of the same results may differ by
_FEWEST_OF_TYPE = 10  # questions of a panel


def row_name(label: str) -> str:
    """Returns the label of a table's row with layers and heads from 1; other labels are kept."""
    parts = label.split(" head ")
    if not all(_NUMBERS.match(part) for part in parts):
        return label
    return " head ".join(map(from_one, parts))


def _changes(table: Table):
    return np.array(
        [[table.values.get((layer, zone), np.nan) - table.baseline for zone in table.zones] for layer in table.layers]
    )


def _about(metric, baseline, path="", rows=()):
    """Returns what a panel shows: metric, baseline, and the questions and passages of `rows`.

    The passages are in the question scores beside the table at `path`.
    """
    parts = [METRIC_NAMES[metric], f"baseline {baseline:.2f}"]
    if rows:
        parts.append(f"{rows[0].questions} questions")
    beside = os.path.join(os.path.dirname(path), question_scores.FILE)
    scores = question_scores.read(beside) if path and rows and files.exists(beside) else None
    if scores and len(scores.ids) == rows[0].questions:
        parts.append(f"{len(np.unique(scores.passages))} passages")
    return ", ".join(parts)


def of_table(table: Table, title: str, metric: str, annotate: bool = False, rows: Sequence = (), path: str = "") -> Panel:
    """Returns the panel of a table of results.

    Args:
      rows: the `effects.Effect`s of the table's cells, to mark their verdicts.
      path: of the table, beside which the question scores are.
    """
    changes = _changes(table)
    verdict_of = {(row.layer, row.zone): row.verdict for row in rows}
    cell_verdicts = [[verdict_of.get((layer, zone), "") for zone in table.zones] for layer in table.layers]
    return Panel(
        title=title,
        about=_about(metric, table.baseline, path, rows),
        baseline=table.baseline,
        rows=[row_name(layer) for layer in table.layers],
        columns=[zone.upper() for zone in table.zones],
        changes=changes,
        verdicts=np.array(cell_verdicts, object),
        texts=heat_map.numbers(changes) if annotate else None,
    )


def table_of_effects(rows: Sequence) -> Table:
    """Returns the `Table` of the effects of one metric, without regard to heads."""
    return Table(
        zones=list(dict.fromkeys(row.zone for row in rows)),
        layers=list(dict.fromkeys(row.layer for row in rows)),
        baseline=rows[0].baseline,
        values={(row.layer, row.zone): row.value for row in rows},
    )


def above_control(rows: Sequence, path: str) -> List:
    """Returns the effects of the cells that have a control, above it; `path` is for messages."""
    rows = [row for row in rows if not math.isnan(row.above_control)]
    if not rows:
        raise InputError(
            f"{path} has no cell with its control; decode a grid such as "
            "--mask_zone=passage-question,passage-random_question --mask_layer=each"
        )
    margin = verdicts.MARGIN
    columns = ("above_control", "control_low", "control_high", "p_control")
    values = (np.array([getattr(row, name) for row in rows]) for name in columns)
    return [
        row._replace(difference=row.above_control, value=row.baseline + row.above_control, verdict=verdict)
        for row, verdict in zip(rows, verdicts.verdicts(*values, margin).tolist())
    ]


def of_heads(rows: Sequence, title: str, annotate: bool = False, path: str = "") -> List[Panel]:
    """Returns a panel of layers by heads for each zone in the effects of one metric."""
    panels = []
    for zone in dict.fromkeys(row.zone for row in rows):
        mine = [row for row in rows if row.zone == zone and row.head]
        if not mine:
            continue
        panel = heat_map.panel_of_cells(
            {(row_name(row.layer), row_name(row.head)): row for row in mine},
            lambda row: row.difference,
            lambda row: row.verdict,
            title=f"{title}: {zone.upper()}",
            about=_about(mine[0].metric, mine[0].baseline, path, mine),
            baseline=mine[0].baseline,
            column_label="masked head (from 1)",
        )
        texts = heat_map.numbers(panel.changes) if annotate else None
        panels.append(panel._replace(texts=texts))
    return panels


def by_type(table, metric: str, title: str, annotate: bool = False) -> List[Panel]:
    """Returns a panel for each type of question in {type: effects}; cells of heads are left out.

    Effects by type are not tested: those whose interval excludes 0 are marked as such. Prints which
    types are left out because they have few questions.
    """
    panels, few = [], []
    for name, rows in table.items():
        mine = [
            row._replace(verdict=heat_map.EXCLUDES_0 if row.low > 0.0 or row.high < 0.0 else "")
            for row in rows
            if row.metric == metric and not row.head
        ]
        if mine and mine[0].questions < _FEWEST_OF_TYPE:
            few.append(f"{name} ({mine[0].questions})")
        elif mine:
            table_of_type = table_of_effects(mine)
            panels.append(of_table(table_of_type, f"{title}: {name}", metric, annotate, mine))
    if few:
        print(f"types of fewer than {_FEWEST_OF_TYPE} questions are left out: {', '.join(few)}")
    if few and not panels:
        raise InputError(f"no type has {_FEWEST_OF_TYPE} questions; draw without --by_type")
    if not panels:
        raise InputError("there is no cell of all heads to draw by type; decode a grid without --mask_head")
    return panels


def average(
    tables: Sequence[Table], title: str, metric: str, tested: Optional[seeds.SeedEffects] = None, path: str = ""
) -> Panel:
    """Returns the panel of the mean change of several readers, with mean and standard deviation in
    the cells.

    Args:
      tested: effects on the mean of the readers, in the order of the tables' values.
      path: of the first table, beside which the question scores are.

    Raises:
      InputError: the tables have other layers or zones.
    """
    first = tables[0]
    for table in tables:
        if (table.layers, table.zones) != (first.layers, first.zones):
            raise InputError("--average needs tables of the same layers and zones; draw them side by side without it")
    changes = np.array([_changes(table) for table in tables])
    mean = changes.mean(axis=0)
    spread = changes.std(axis=0, ddof=1) if len(tables) > 1 else np.zeros_like(mean)
    texts = np.full(mean.shape, "", object)
    for place in zip(*np.nonzero(~np.isnan(mean))):
        texts[place] = f"{mean[place]:.1f}\n±{spread[place]:.1f}"
    cell_verdicts = np.full(mean.shape, "", object)
    if tested:
        for (layer, zone), verdict in zip(first.values, tested.verdict):
            cell_verdicts[first.layers.index(layer), first.zones.index(zone)] = verdict
    rows = effects_of(path, first, metric) if is_results(path) else ()
    mean_baseline = first._replace(baseline=float(np.mean([table.baseline for table in tables])))
    panel = of_table(mean_baseline, title, metric, rows=rows or (), path=path)
    return panel._replace(changes=mean, texts=texts, verdicts=cell_verdicts)


def effects_of(path: str, table: Table, metric: str) -> Optional[Sequence]:
    """Returns the effects of a table's cells from the file beside it, None where it has none that
    match.
    """
    beside = os.path.join(os.path.dirname(path), effect_tables.EFFECTS_FILE)
    if not files.exists(beside):
        return None
    rows = [row for row in effects.read(beside) if row.metric == metric and not row.head]
    cells = {(row.layer, row.zone): row for row in rows}
    if set(cells) != set(table.values) or any(
        not abs(cells[cell].value - value) < _SAME for cell, value in table.values.items()
    ):
        warn(f"{beside} is not of the results in {path}, so no verdict is drawn; score again with --do_eval to write both")
        return None
    return rows


def is_results(path: str) -> bool:
    """Whether the name of a file is that of a table of results."""
    return os.path.basename(path) in results_table.FILES.values()
