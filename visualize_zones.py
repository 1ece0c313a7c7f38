# SPDX-License-Identifier: Apache-2.0
"""Draws the heat map of the study: the change of EM or F1 when a zone of a layer is masked.

    python visualize_zones.py results.csv figure.png
    python visualize_zones.py --metric=f1 --annotate --range=auto squad/results.csv \\
        cmrc/results.csv figure.pdf

The figure follows figure 3 of the protocol (https://doi.org/10.1016/j.xpro.2022.101481): layers 1
to N from bottom to top, one column per zone, colours centred at no change.
"""

import argparse
import io
import os
import re

from mrc.util import check_environment  # noqa: F401, first: it reports missing packages

# isort: split
import numpy as np
import tensorflow.compat.v1 as tf

from mrc.answers import results_table
from mrc.experiment import run_record
from mrc.util import errors, files
from mrc.util.errors import InputError, exit_with_message

PUBLISHED_RANGE = (-10.0, 2.0)
FORMATS = {"png": "Description", "pdf": "Subject", "svg": "Description"}  # and metadata key
_DOTS_PER_INCH = 160
_MOST_INCHES = 2**16 // _DOTS_PER_INCH - 1  # matplotlib draws fewer than 2^16 dots
_LAYER = re.compile("[0-9]{1,9}$")
_TICKS_IN_HALF = 5
_ROUNDING = 1e-9  # differences below it, in points, are rounding errors
_SMALLEST_END, _LARGEST_END = 1e-6, 1e6  # of the colour range, in points
METRIC_NAMES = {"em": "exact match", "f1": "F1"}


def differences(table):
    """Returns the change from the baseline, [layers, zones]; NaN for missing cells."""
    return np.array(
        [
            [table.values.get((layer, zone), np.nan) - table.baseline for zone in table.zones]
            for layer in table.layers
        ]
    )


def _row_name(layer):
    """Returns the label of a row: layers count from 1 in the figure and from 0 in the flags."""
    return "+".join(
        str(int(number) + 1) if _LAYER.match(number) else number for number in layer.split("+")
    )


def _range_of(changes, wanted):
    """Returns the (lowest, highest) change of the colour range, which contains 0."""
    if wanted != "auto":
        return wanted
    found = np.concatenate([change.ravel() for change in changes])
    found = found[~np.isnan(found)]
    return min(found.min(), -0.1), max(found.max(), 0.1)


def _beyond(changes, low, high):
    """Returns which ends of the colour range are exceeded, by matplotlib's name."""
    beyond = [
        any(np.nanmin(change) < low - _ROUNDING for change in changes),
        any(np.nanmax(change) > high + _ROUNDING for change in changes),
    ]
    return {
        (False, False): "neither",
        (True, False): "min",
        (False, True): "max",
        (True, True): "both",
    }[tuple(beyond)]


def _ticks(low, high):
    """Returns round numbers in both halves of the colours, which differ in scale."""
    from matplotlib.ticker import MaxNLocator

    halves = np.concatenate(
        [MaxNLocator(_TICKS_IN_HALF).tick_values(*ends) for ends in ((low, 0.0), (0.0, high))]
    )
    return np.unique(halves[(low <= halves) & (halves <= high)])


def _plain(text):
    """Returns `text` escaped for matplotlib, which reads text between two $ as a formula."""
    return text.replace("$", "\\$")


def _draw_panel(axes, table, changes, norm, title, annotate):
    image = axes.imshow(changes, cmap="RdBu", norm=norm, origin="lower", aspect="auto")
    axes.set_xticks(range(len(table.zones)))
    axes.set_xticklabels(
        [_plain(zone.upper()) for zone in table.zones], rotation=30 if len(table.zones) > 5 else 0
    )
    axes.set_yticks(range(len(table.layers)))
    axes.set_yticklabels([_plain(_row_name(layer)) for layer in table.layers])
    axes.set_xlabel("masked zone")
    axes.set_title(f"{_plain(title)} (baseline {table.baseline:.2f})", fontsize=10)
    axes.tick_params(length=0)
    if annotate:
        for (row, column), change in np.ndenumerate(changes):
            if not np.isnan(change):
                strength = abs(norm(change) - 0.5)
                axes.text(
                    column,
                    row,
                    f"{change:.1f}",
                    ha="center",
                    va="center",
                    fontsize=8,
                    color="white" if strength > 0.3 else "black",
                )
    return image


def draw(tables, titles, metric_name, value_range=PUBLISHED_RANGE, annotate=False):
    """Returns a matplotlib figure of tables side by side, with a common colour range.

    Args:
      tables: list of `results_table.Table`.
      titles: the title of each.
      metric_name: name of the metric, for the colour bar.
      value_range: (lowest, highest) change in points, or "auto" for the range of the data.
      annotate: whether to write each change in its cell.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import TwoSlopeNorm
    from matplotlib.figure import Figure

    changes = [differences(table) for table in tables]
    low, high = _range_of(changes, value_range)
    norm = TwoSlopeNorm(vcenter=0.0, vmin=low, vmax=high)
    rows = max(len(table.layers) for table in tables)
    columns = max(len(table.zones) for table in tables)
    size = 1.8 + len(tables) * (1.0 + 0.62 * columns), 1.5 + 0.4 * max(rows, 4)
    if max(size) > _MOST_INCHES:
        raise InputError(
            "a figure of %d tables with up to %d layers and %d zones is too large to draw; draw "
            "fewer of them" % (len(tables), rows, columns)
        )
    figure = Figure(figsize=size, constrained_layout=True)
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(tables), squeeze=False)[0]
    for axes, table, change, title in zip(panels, tables, changes, titles):
        image = _draw_panel(axes, table, change, norm, title, annotate)
    panels[0].set_ylabel("masked layer (from 1)")
    bar = figure.colorbar(
        image,
        ax=list(panels),
        fraction=0.05,
        pad=0.03,
        extend=_beyond(changes, low, high),
        ticks=_ticks(low, high),
        format="%g",
    )
    bar.set_label(f"change of {metric_name}")
    return figure


def _origin(path):
    """Returns a text with the name of the run that wrote a table; warns if it is outdated."""
    run = run_record.find(path)
    if run == "":
        tf.logging.warning(
            "%s was changed after the run that %s names wrote it; score again with --do_eval to "
            "restore the table",
            path,
            os.path.join(os.path.dirname(path), run_record.RECORD_FILE),
        )
    later = run and run_record.outdated_by(path, run)
    if later:
        tf.logging.warning(
            "%s does not match the last answers in its folder, which are from run %s; rerun the "
            "grid's command with --do_eval to write its table again",
            path,
            later,
        )
    return "{} of run {}".format(os.path.basename(path), run or "unknown")


def _save(figure, path, origin):
    extension = os.path.splitext(path)[1][1:].lower()
    buffer = io.BytesIO()
    figure.savefig(
        buffer, format=extension, dpi=_DOTS_PER_INCH, metadata={FORMATS[extension]: origin}
    )
    files.make_folder_of(path)
    files.write(path, buffer.getvalue(), binary=True)


def _parse_range(text):
    if text == "auto":
        return text
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f'"{text}" is neither "auto" nor two numbers; write for example --range=-10,2'
        )
    if not low < 0 < high:
        raise argparse.ArgumentTypeError(
            f'"{text}" must go from below 0 to above 0, as in --range=-10,2'
        )
    if not all(_SMALLEST_END <= abs(end) <= _LARGEST_END for end in (low, high)):
        raise argparse.ArgumentTypeError(
            f'"{text}" has an end closer to 0 than {_SMALLEST_END:g} or larger than '
            f"{_LARGEST_END:g}; percentage points go from -100 to 100"
        )
    return low, high


def _parse_arguments():
    parser = errors.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "results", type=files.normalized, nargs="+", help="results.csv of one or more grids"
    )
    parser.add_argument(
        "figure", type=files.normalized, help="the file to write: .png, .pdf or .svg"
    )
    parser.add_argument(
        "--metric",
        choices=sorted(METRIC_NAMES),
        help="metric to draw (default: f1 for tables named results_f1.csv, else em); with f1, the "
        "results_f1.csv in the folder of each results.csv is read; tables with other names must "
        "contain that metric",
    )
    parser.add_argument(
        "--range",
        type=_parse_range,
        default=PUBLISHED_RANGE,
        metavar="LOW,HIGH|auto",
        help="change in points at either end of the colour bar (default: -10,2 as published); "
        "auto: the range of the data",
    )
    parser.add_argument(
        "--titles", help="comma-separated titles of the tables (default: the folders' names)"
    )
    parser.add_argument("--annotate", action="store_true", help="write each change in its cell")
    args = parser.parse_args()
    if os.path.splitext(args.figure)[1][1:].lower() not in FORMATS:
        parser.error(f"the figure {args.figure} must end in .png, .pdf or .svg")
    return args


def _metric(args):
    """Returns the metric to draw, from --metric or the names of the tables."""
    of_f1 = [path for path in args.results if os.path.basename(path) == results_table.FILES["f1"]]
    if of_f1 and (args.metric == "em" or args.metric is None and len(of_f1) < len(args.results)):
        raise InputError(
            "{} holds F1, which cannot be drawn as exact match; pass --metric=f1, or the {} in its "
            "folder".format(of_f1[0], results_table.FILES["em"])
        )
    return "f1" if of_f1 else args.metric or "em"


def _table_path(path, metric):
    if metric == "f1" and os.path.basename(path) == results_table.FILES["em"]:
        return os.path.join(os.path.dirname(path), results_table.FILES["f1"])
    return path


def _titles(args):
    if args.titles is None:
        return [os.path.basename(os.path.dirname(os.path.abspath(path))) for path in args.results]
    titles = args.titles.split(",")
    if len(titles) != len(args.results):
        raise InputError(
            "--titles has %d titles for %d tables; pass one title per table, separated by commas"
            % (len(titles), len(args.results))
        )
    return titles


def main():
    args = _parse_arguments()
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise InputError("drawing needs matplotlib: pip install -r requirements/figures.txt")
    metric = _metric(args)
    paths = [_table_path(path, metric) for path in args.results]
    tables = [results_table.read_table(path) for path in paths]
    figure = draw(tables, _titles(args), METRIC_NAMES[metric], args.range, args.annotate)
    _save(figure, args.figure, ", ".join(map(_origin, paths)))


if __name__ == "__main__":
    with exit_with_message():
        main()
