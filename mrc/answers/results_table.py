# SPDX-License-Identifier: Apache-2.0
"""The protocol's table: a metric for each layer (rows) and zone (columns), with the baseline in the first row.

    layer,all,q2,q2p,p2q,p2
    baseline,81.2,81.2,81.2,81.2,81.2
    0,80.9,81.1,...

`results.csv` is exact match and `results_f1.csv` F1. Layers count from 0 as in the flags; cells that were not decoded are
empty; a row `each at once` is that of cells that mask every layer.
"""

import collections
import csv
import io
import math

from attention_mask import BASELINE, ZONES
from mrc.util import files
from mrc.util.errors import InputError

FILES = {"em": "results.csv", "f1": "results_f1.csv"}
BASELINE_ROW = "baseline"
EVERY_LAYER = "each at once"

Table = collections.namedtuple("Table", ["zones", "layers", "baseline", "values"])
Table.__doc__ = "Column and row labels, the baseline's value, and {(layer label, zone label): value} of the cells."


def _row_label(cell):
    return cell.layer_label or EVERY_LAYER


def make_table(values):
    """Returns the `Table` of {cell: value of the metric}, which has the baseline among its cells."""
    masked = [cell for cell in values if cell != BASELINE]
    labels = list(collections.OrderedDict.fromkeys(cell.zone_label for cell in masked))
    zones = [zone for zone in ZONES if zone in labels] + [
        label for label in labels if label not in ZONES
    ]
    layers = list(collections.OrderedDict.fromkeys(_row_label(cell) for cell in masked))
    return Table(
        zones,
        layers,
        values[BASELINE],
        {(_row_label(cell), cell.zone_label): values[cell] for cell in masked},
    )


def write_table(path, table):
    """Writes a `Table` as CSV, whole or not at all."""
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
            '%s, line %d: "%s" is not a number; the file should be the results.csv that --do_eval '
            "writes" % (path, line, text)
        )
    return number


def _read_rows(path):
    """Returns the lines of a CSV file, each a list of texts, blank lines left out; none where the file is no CSV."""
    text = files.read_text(path, "results file")
    if "\0" in text:  # which the csv module of Python 3.11 takes
        return []
    try:
        return [row for row in csv.reader(io.StringIO(text)) if row]
    except csv.Error:
        return []


def read_table(path):
    """Returns the `Table` of a file that `write_table` wrote."""
    rows = _read_rows(path)
    if len(rows) < 3 or rows[0][:1] != ["layer"] or len(rows[0]) < 2 or rows[1][0] != BASELINE_ROW:
        raise InputError(
            f'{path} is not a table of results, which begins with the lines "layer,zone,..." and '
            f'"{BASELINE_ROW},..."; pass '
            "the results.csv that --do_eval writes for a grid"
        )
    zones = rows[0][1:]
    values = {}
    for line, row in enumerate(rows[1:], 2):
        if len(row) != len(rows[0]):
            raise InputError(
                "%s, line %d has %d places where the first line has %d; the file should be the "
                "results.csv "
                "that --do_eval writes" % (path, line, len(row), len(rows[0]))
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
            f"{path} has no value of any cell; decode and score a grid, as with --mask_zone=q2,p2 "
            "--mask_layer=each"
        )
    return Table(zones, [row[0] for row in rows[2:]], baselines[0], values)
