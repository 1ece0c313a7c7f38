# SPDX-License-Identifier: Apache-2.0
"""Compares what masking costs two readers, or in two cells of one reader, on the same questions.

    python compare.py reader_a reader_b
    python compare.py --metric=f1 reader --cells=layer3_p2,layer3_p2q
    python compare.py pretrained/attention.csv reader/attention.csv

Readers are output folders of grids scored with --do_eval: other weights, sizes, seeds or languages.
Questions are matched by id, and cells by layer, head and zone. Readers with other numbers of layers
are laid over relative depth. The difference of the losses of each pair of cells is tested by sign
flips over passages. Writes comparison.csv and comparison.png to the first folder; with --latex
comparison.tex, too.

Two attention.csv are compared by the mean mass of each layer and zone; a mass is one value for each
layer, so there is no test. Writes attention_comparison.csv and attention_comparison.png.
"""

import os

from mrc.util import check_environment  # noqa: F401, first: it reports missing packages

# isort: split
from mrc.answers import attention_tables, comparison, effects, verdicts
from mrc.answers.question_scores import CLUSTERS
from mrc.experiment import run_record
from mrc.figures import comparison_panels, figure_files, heat_map, latex
from mrc.util import errors, files
from mrc.util.errors import InputError, exit_with_message

SCORES_NAME, ATTENTION_NAME = "comparison", "attention_comparison"


def _parse_arguments():
    parser = errors.ArgumentParser(__doc__)
    parser.add_argument(
        "readers", type=files.normalized, nargs="+", help="output folders of one or two readers, or two attention.csv"
    )
    parser.add_argument(
        "--cells",
        help="comma-separated names of cells of one reader, such as layer3_p2,layer3_p2q; each is compared with each",
    )
    parser.add_argument("--metric", choices=effects.METRICS, help="metric to compare (default: all in the folders)")
    parser.add_argument(
        "--cluster", choices=list(CLUSTERS), default="paragraph", help="what is resampled as a whole (default: paragraph)"
    )
    parser.add_argument(
        "--margin",
        type=errors.bounded(float, 0, 100, "a number of points"),
        default=verdicts.MARGIN,
        help="points within which a difference does not matter (default: 1)",
    )
    parser.add_argument("--output", type=files.normalized, help="folder to write to (default: the first reader's)")
    figure_files.add_size_arguments(parser)
    figure_files.add_latex_argument(parser)
    args = parser.parse_args()
    if len(args.readers) != (1 if args.cells else 2):
        wanted = "one reader is" if args.cells else "two readers, or one and its --cells, are"
        parser.error(f"{wanted} needed, not {len(args.readers)}")
    return args


def _metrics(readers, wanted):
    """Returns the metrics to compare."""
    common = [metric for metric in effects.METRICS if all(metric in reader.scores.metrics for reader in readers)]
    folders = " and ".join(reader.folder for reader in readers)
    if not common:
        raise InputError(f"{folders} have no metric in common; score both with --do_eval")
    if wanted and wanted not in common:
        raise InputError(
            f"{folders} cannot be compared by {effects.METRIC_NAMES[wanted]}; pass --metric={' or '.join(common)}"
        )
    return [wanted] if wanted else common


def _two_readers(folders):
    """Returns the readers on their common questions and the pairs of their cells."""
    readers = [comparison.read(folder) for folder in folders]
    a, b = comparison.on_common_questions(*readers)
    counts = [len(reader.scores.ids) for reader in readers]
    if counts != [len(a.scores.ids)] * 2:
        print(f"{len(a.scores.ids)} questions are in both: of {counts[0]} in {a.folder} and of {counts[1]} in {b.folder}")
    pairs = comparison.common_cells(a, b)
    print(f"a: {a.folder}; b: {b.folder}; cells compared: {len(pairs)}")
    layers = a.scores.layers, b.scores.layers
    if 0 in layers:
        print("layers are matched by number, as the scores lack the number of layers; rerun with --do_eval to write it")
    elif layers[0] != layers[1]:
        print(f"{layers[0]} and {layers[1]} layers are matched by relative depth, (layer + 0.5) / layers")
    return a, b, pairs


def _one_reader(folder, cells):
    """Returns the reader twice, and the pairs of the named cells."""
    reader = comparison.read(folder)
    pairs = comparison.named_cells(reader, cells.split(","))
    if not pairs:
        raise InputError(f"--cells={cells} names one cell; pass two or more, separated by commas")
    print(f"{folder}: a and b are the first and second cell of a pair")
    return reader, reader, pairs


def _compare_scores(args):
    """Returns the rows of comparison.csv and the origins of the tables; prints a summary."""
    with files.recorded_hashes() as hashes:
        a, b, pairs = _one_reader(args.readers[0], args.cells) if args.cells else _two_readers(args.readers)
    metrics, origins = _metrics([a, b], args.metric), run_record.origins(hashes)
    rows = []
    for metric in metrics:
        of_metric = comparison.compare(a, b, pairs, metric, args.cluster, args.margin)
        print(comparison.in_words(of_metric))
        rows += of_metric
    return rows, origins


def _compare_attention(paths):
    """Returns the rows of attention_comparison.csv and the origins of the tables."""
    with files.recorded_hashes() as hashes:
        tables = [attention_tables.read(path) for path in paths]
    print(f"a: {paths[0]}; b: {paths[1]}; layers are matched by (layer + 0.5) / layers; no test")
    return attention_tables.differences(*tables), run_record.origins(hashes)


def main():
    args = _parse_arguments()
    figure_files.check_matplotlib()
    if not args.cells and all(path.endswith(".csv") for path in args.readers):
        rows, origins = _compare_attention(args.readers)
        folder, name = os.path.dirname(args.readers[0]) or ".", ATTENTION_NAME
        table = attention_tables.DIFFERENCES.to_csv(rows)
        panels = [comparison_panels.of_attention(rows)]
        label = "mass of a minus mass of b"
    else:
        rows, origins = _compare_scores(args)
        folder, name = args.readers[0], SCORES_NAME
        table, panels = comparison.TABLE.to_csv(rows), comparison_panels.panels_of(rows)
        label = "loss of a minus loss of b (points)"
    figure = heat_map.draw(panels, label, "auto", args.width, args.columns)
    files.make_folder(args.output or folder)
    path = os.path.join(args.output or folder, name)
    files.write(f"{path}.csv", table)
    figure_files.save(figure, f"{path}.png", origins)
    if args.latex:
        latex.write(f"{path}.{latex.EXTENSION}", latex.of_panels(panels, label), origins)


if __name__ == "__main__":
    with exit_with_message():
        main()
