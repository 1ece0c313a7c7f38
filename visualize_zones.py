# SPDX-License-Identifier: Apache-2.0
"""Draws the heat map of the study: what masking a zone of a layer, or a head, costs in exact match
or F1.

    python visualize_zones.py results.csv figure.png
    python visualize_zones.py --metric=f1 --annotate --range=auto a/results.csv b/results.csv a.pdf
    python visualize_zones.py --by_type results.csv figure.png
    python visualize_zones.py --average seed1/results.csv seed2/results.csv figure.png
    python visualize_zones.py --width=6.3 effects.csv heads.pdf
    python visualize_zones.py results.csv table.tex

A results.csv is drawn as layers by zones. The verdicts in the effects.csv beside it mark the cells:
needed cells are framed. An effects.csv with single heads is drawn as layers by heads, a panel for
each zone. A file name that ends in .tex gets the numbers as LaTeX tables. Layers and heads count
from 1 in the figure and from 0 in flags and files.
"""

import argparse
import csv
import os

from mrc.util import check_environment  # noqa: F401, first: it reports missing packages

# isort: split
from mrc.answers import effect_tables, effects, results_table, seeds, verdicts
from mrc.answers.effects import METRIC_NAMES, TESTED
from mrc.experiment import run_record
from mrc.figures import figure_files, heat_map, latex, panels
from mrc.util import errors, files
from mrc.util.errors import InputError, exit_with_message

PUBLISHED_RANGE = (-10.0, 2.0)
_SMALLEST_END, _LARGEST_END = 1e-6, 1e6  # of the colour range, in points


def _parse_range(text):
    if text == "auto":
        return text
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f'"{text}" is neither "auto" nor two numbers; write for example --range=-10,2')
    if not low < 0 < high:
        raise argparse.ArgumentTypeError(f'"{text}" must go from below 0 to above 0, as in --range=-10,2')
    if not all(_SMALLEST_END <= abs(end) <= _LARGEST_END for end in (low, high)):
        raise argparse.ArgumentTypeError(
            f'"{text}" has an end closer to 0 than {_SMALLEST_END:g} or larger than '
            f"{_LARGEST_END:g}; percentage points go from -100 to 100"
        )
    return low, high


def _parse_arguments():
    parser = errors.ArgumentParser(__doc__)
    parser.add_argument("results", type=files.normalized, nargs="+", help="results.csv of one or more grids, or effects.csv")
    parser.add_argument("figure", type=files.normalized, help="the file to write: .png, .pdf or .svg, or .tex")
    parser.add_argument(
        "--metric",
        choices=list(METRIC_NAMES),
        help="metric to draw (default: f1 for tables named results_f1.csv, else em); with f1, the "
        "results_f1.csv in the folder of each results.csv is read, with own the effects.csv; other "
        "tables must contain that metric",
    )
    parser.add_argument(
        "--range",
        type=_parse_range,
        default=PUBLISHED_RANGE,
        metavar="LOW,HIGH|auto",
        help="change in points at either end of the colour bar (default: -10,2 as published); "
        "auto: the range of the data, in one scale for losses and gains",
    )
    parser.add_argument(
        "--titles",
        help="comma-separated titles of the tables (default: the folders' names); put a title "
        "that contains a comma in double quotes, as in --titles='\"a, b\",c'",
    )
    parser.add_argument("--annotate", action="store_true", help="write each change in its cell")
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument(
        "--by_type",
        action="store_true",
        help="draw a panel for each type of question, from effects_by_type.csv beside each table",
    )
    kinds.add_argument(
        "--average",
        action="store_true",
        help="draw the mean of several readers (seeds), with its standard deviation in the cells",
    )
    kinds.add_argument(
        "--above_control",
        action="store_true",
        help="draw the effects of an effects.csv above those of as many random tokens",
    )
    figure_files.add_size_arguments(parser)
    args = parser.parse_args()
    figure_files.check_extension(parser, args.figure, [*figure_files.FORMATS, latex.EXTENSION])
    return args


def _metric(args):
    """Returns the metric to draw: the one asked for, or that of the tables' names."""
    of_f1 = [path for path in args.results if os.path.basename(path) == results_table.FILES["f1"]]
    if of_f1 and (args.metric == "em" or args.metric is None and len(of_f1) < len(args.results)):
        raise InputError(
            f"{of_f1[0]} holds F1, which cannot be drawn as exact match; pass --metric=f1, or the "
            f"{results_table.FILES['em']} beside it"
        )
    return "f1" if of_f1 else args.metric or "em"


def _table_path(path, metric):
    if metric == "own" and panels.is_results(path):
        return os.path.join(os.path.dirname(path), effect_tables.EFFECTS_FILE)
    if metric == "f1" and os.path.basename(path) == results_table.FILES["em"]:
        return os.path.join(os.path.dirname(path), results_table.FILES["f1"])
    return path


def _titles(args):
    wanted = 1 if args.average else len(args.results)
    if args.titles is None:
        if args.average:
            return [f"mean of {len(args.results)} readers"]
        return [os.path.basename(os.path.dirname(os.path.abspath(path))) for path in args.results]
    if wanted == 1:
        titles = [args.titles.strip('"')]  # it may contain commas
    else:
        titles = next(csv.reader([args.titles], skipinitialspace=True), [])
    if len(titles) != wanted:
        raise InputError(
            f"--titles has {len(titles)} titles for {wanted} tables; pass one title per table, "
            "separated by commas, and put a title that contains a comma in double quotes"
        )
    return titles


def _panels_of(path, title, metric, args):
    """Returns the panels of one table."""
    if args.by_type:
        beside = os.path.join(os.path.dirname(path), effect_tables.BY_TYPE_FILE)
        return panels.by_type(effects.read_by_type(beside), metric, title, args.annotate)
    if os.path.basename(path) == effect_tables.EFFECTS_FILE:
        table = effects.read(path)
        rows = [row for row in table if row.metric == metric]
        if not rows:
            others = ", ".join(dict.fromkeys(row.metric for row in table))
            remedy = f"pass --metric with one of {others}" if others else "decode a grid"
            raise InputError(f"{path} has no effects on {METRIC_NAMES[metric]}; {remedy}")
        if args.above_control:
            rows, title = panels.above_control(rows, path), f"{title}, above control"
        whole, found = [row for row in rows if not row.head], []
        if whole:
            table = panels.table_of_effects(whole)
            found = [panels.of_table(table, title, metric, args.annotate, whole, path)]
        return found + panels.of_heads(rows, title, args.annotate, path)
    if args.above_control:
        raise InputError(f"--above_control draws an effects.csv, not {path}; pass the one beside it")
    table = results_table.read_table(path)
    rows = panels.effects_of(path, table, metric) if panels.is_results(path) else None
    return [panels.of_table(table, title, metric, args.annotate, rows or (), path)]


def _average(paths, title, metric):
    """Returns the panel of the mean of readers; prints the effects on it."""
    if metric not in TESTED:
        raise InputError(f"--average draws {' or '.join(TESTED)}, not {metric}; pass --metric")
    tables = [results_table.read_table(path) for path in paths]
    tested = None
    if len(paths) > 1:
        tested = seeds.compare_files(paths, list(tables[0].values), metric)
    panel = panels.average(tables, title, metric, tested, paths[0])
    for number, (layer, zone) in enumerate(tables[0].values if tested else ()):
        if tested.verdict[number] in (verdicts.NEEDED, verdicts.HELPS):
            print(
                f"{zone}, layer {panels.row_name(layer)}: {tested.difference[number]:.1f} points [{tested.low[number]:.1f}, "
                f"{tested.high[number]:.1f}], p = {tested.p_adjusted[number]:.2g} after Holm's correction"
            )
    return panel


def main():
    args = _parse_arguments()
    figure_files.check_matplotlib()
    metric, titles = _metric(args), _titles(args)
    paths = [_table_path(path, metric) for path in args.results]
    with files.recorded_hashes() as hashes:
        if args.average:
            found = [_average(paths, titles[0], metric)]
        else:
            found = [panel for path, title in zip(paths, titles) for panel in _panels_of(path, title, metric, args)]
    for panel in found:
        if panel.baseline == 0:
            print(
                f"warning: {panel.title}: without a mask no answer scores in {METRIC_NAMES[metric]}, so no mask can "
                "cost anything; draw another --metric, or check the checkpoint and --do_lower_case"
            )
    label = f"change of {METRIC_NAMES[metric]} (points)"
    origins = run_record.origins(hashes)
    if figure_files.extension(args.figure) == latex.EXTENSION:
        latex.write(args.figure, latex.of_panels(found, label), origins)
        return
    figure = heat_map.draw(found, label, args.range, args.width, args.columns)
    figure_files.save(figure, args.figure, origins)


if __name__ == "__main__":
    with exit_with_message():
        main()
