# SPDX-License-Identifier: Apache-2.0
"""The results table: a metric per layer (rows) and zone (columns), with the baseline first.

    layer,all,q2,q2p,p2q,p2
    baseline,81.2,81.2,81.2,81.2,81.2
    0,80.9,81.1,...

`results.csv` holds exact match and `results_f1.csv` F1. Layers count from 0 as in the flags; cells
that were not decoded are empty; the row `each at once` holds the cells that mask every layer.
"""

import collections
import csv
import io
import math
from typing import Dict, List, NamedTuple, Tuple

from attention_mask import ZONES
from mrc.cells import BASELINE
from mrc.util import files
from mrc.util.errors import InputError

FILES = {"em": "results.csv", "f1": "results_f1.csv"}
BASELINE_ROW = "baseline"
EVERY_LAYER = "each at once"


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


def _row_label(cell):
    heads = f" head {cell.label.head}" if cell.label.head else ""
    return (cell.label.layer or EVERY_LAYER) + heads


def make_table(values):
    """Returns the `Table` of {cell: value of the metric}, which must include the baseline."""
    masked = [cell for cell in values if cell != BASELINE]
    labels = list(collections.OrderedDict.fromkeys(cell.label.zone for cell in masked))
    zones = [zone for zone in ZONES if zone in labels] + [
        label for label in labels if label not in ZONES
    ]
    layers = list(collections.OrderedDict.fromkeys(_row_label(cell) for cell in masked))
    return Table(
        zones,
        layers,
        values[BASELINE],
        {(_row_label(cell), cell.label.zone): values[cell] for cell in masked},
    )


def write_table(path, table):
    """Writes a `Table` as CSV, atomically."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["layer"] + table.zones)
    writer.writerow([BASELINE_ROW] + [table.baseline] * len(table.zones))
    for layer in table.layers:
        writer.writerow([layer] + [table.values.get((layer, zone), "") for zone in table.zones])
    files.write(path, buffer.getvalue())


def _number(text, path, line):
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InputError(
            '%s, line %d: "%s" is not a number; pass the results.csv that --do_eval writes'
            % (path, line, text)
        )
    return number


def _read_rows(path):
    """Returns the rows of a CSV file without blank lines; an empty list if it is not CSV."""
    text = files.read_text(path, "results file")
    if "\0" in text:  # which the csv module of Python 3.11 accepts
        return []
    try:
        return [row for row in csv.reader(io.StringIO(text)) if row]
    except csv.Error:
        return []


def read_table(path):
    """Returns the `Table` of a file written by `write_table`."""
    rows = _read_rows(path)
    if len(rows) < 3 or rows[0][:1] != ["layer"] or len(rows[0]) < 2 or rows[1][0] != BASELINE_ROW:
        raise InputError(
            f'{path} is not a table of results, which begins with the lines "layer,zone,..." and '
            f'"{BASELINE_ROW},..."; pass the results.csv that --do_eval writes for a grid'
        )
    zones = rows[0][1:]
    values = {}
    for line, row in enumerate(rows[1:], 2):
        if len(row) != len(rows[0]):
            raise InputError(
                "%s, line %d has %d columns, but the first line has %d; pass the results.csv that "
                "--do_eval writes" % (path, line, len(row), len(rows[0]))
            )
        values.update(
            {
                (row[0], zone): _number(text, path, line)
                for zone, text in zip(zones, row[1:])
                if text
            }
        )
    baselines = [values.pop((BASELINE_ROW, zone), None) for zone in zones]
    if None in baselines:
        raise InputError(
            f"{path}, line 2: the baseline has no value in some column; decode and score the grid "
            "again"
        )
    if not values:
        raise InputError(
            f"{path} has no values of masked cells; decode and score a grid, for example with "
            "--mask_zone=q2,p2 --mask_layer=each"
        )
    return Table(zones, [row[0] for row in rows[2:]], baselines[0], values)
