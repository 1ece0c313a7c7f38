# SPDX-License-Identifier: Apache-2.0
"""The results table: a metric per layer (rows) and zone (columns), with the baseline first.

    layer,all,q2,q2p,p2q,p2
    baseline,81.2,81.2,81.2,81.2,81.2
    0,80.9,81.1,...

`results.csv` holds exact match and `results_f1.csv` F1. Layers count from 0 as in the flags; cells
that were not decoded are empty; the row `each at once` holds the cells that mask every layer.
"""

import math
from typing import Dict, List, NamedTuple, Sequence, Tuple

from attention_mask import ZONES
from mrc.answers import tables
from mrc.cells import BASELINE, from_one
from mrc.util import files
from mrc.util.errors import InputError

FILES = {"em": "results.csv", "f1": "results_f1.csv"}
METRIC_NAMES = {"em": "exact match", "f1": "F1", "own": "F1 with own answers"}
BASELINE_ROW = "baseline"
EVERY_LAYER = "each at once"
_REMEDY = "pass the results.csv that --do_eval writes for a grid"


class Table(NamedTuple):
    """A table of one metric.

    Attributes:
      zones, layers: labels of the columns and rows.
      baseline: the metric without a mask.
      values: {(layer label, zone label): value} of the cells.
    """

    zones: List[str]
    layers: List[str]
    baseline: float
    values: Dict[Tuple[str, str], float]


def row_label(label):
    """Returns the label of the row with a cell's `Label`."""
    return (label.layer or EVERY_LAYER) + (f" head {label.head}" if label.head else "")


def make_table(values):
    """Returns the `Table` of {cell: value of the metric}, which must include the baseline."""
    masked = [cell for cell in values if cell != BASELINE]
    labels = list(dict.fromkeys(cell.label.zone for cell in masked))
    zones = [zone for zone in ZONES if zone in labels] + [label for label in labels if label not in ZONES]
    layers = list(dict.fromkeys(row_label(cell.label) for cell in masked))
    return Table(
        zones, layers, values[BASELINE], {(row_label(cell.label), cell.label.zone): values[cell] for cell in masked}
    )


def _columns(zones: Sequence[str]) -> tables.Table:
    columns = [tables.Column("layer")] + [tables.Column(zone, float) for zone in zones]
    return tables.Table("table of results", _REMEDY, columns)


def write_table(path, table):
    """Writes a `Table` as CSV, atomically."""
    rows = [[BASELINE_ROW] + [table.baseline] * len(table.zones)]
    for layer in table.layers:
        rows.append([layer] + [table.values.get((layer, zone), math.nan) for zone in table.zones])
    files.write(path, _columns(table.zones).to_csv(rows))


def in_words(table: Table) -> str:
    """Returns the table as aligned lines of text, with layers from 1 as in figures."""
    names = {layer: layer if layer == EVERY_LAYER else from_one(layer) for layer in table.layers}
    width = max(map(len, [BASELINE_ROW, *names.values()]))
    columns = [max(8, len(zone) + 2) for zone in table.zones]
    lines = [" " * width + "".join(f"{zone:>{n}}" for zone, n in zip(table.zones, columns))]
    rows = {BASELINE_ROW: [table.baseline] * len(table.zones)}
    for layer, name in names.items():
        rows[name] = [table.values.get((layer, zone), math.nan) for zone in table.zones]
    for name, values in rows.items():
        texts = ["-" if math.isnan(value) else f"{value:.1f}" for value in values]
        lines.append(f"{name:<{width}}" + "".join(f"{t:>{n}}" for t, n in zip(texts, columns)))
    return "\n".join(lines)


def read_table(path):
    """Returns the `Table` of a file written by `write_table`."""
    lines = _columns([]).read_fields(path)
    names, *others = lines.values()
    if len(others) < 2 or names[0] != "layer" or len(names) < 2 or others[0][0] != BASELINE_ROW:
        raise InputError(
            f'{path} is not a table of results, which begins with the lines "layer,zone,..." and '
            f'"{BASELINE_ROW},..."; {_REMEDY}'
        )
    zones = names[1:]
    baseline, *rows = _columns(zones).parse(path, lines)
    if any(map(math.isnan, baseline[1:])):
        raise InputError(f"{path}, line 2: the baseline has no value in some column; decode and score the grid again")
    values = {(layer, zone): value for layer, *scores in rows for zone, value in zip(zones, scores) if not math.isnan(value)}
    if not values:
        raise InputError(
            f"{path} has no values of masked cells; decode and score a grid, for example with "
            "--mask_zone=q2,p2 --mask_layer=each"
        )
    return Table(zones, [layer for layer, *_ in rows], baseline[1], values)
