# SPDX-License-Identifier: Apache-2.0
"""Compares what masking costs two readers, or in two cells of one reader, on the same questions.

    python compare.py reader_a reader_b
    python compare.py --metric=f1 reader --cells=layer3_p2,layer3_p2q

Readers are output folders of grids scored with --do_eval: other weights, sizes, seeds or languages.
Questions are matched by id, and cells by layer, head and zone. Readers with other numbers of layers
are laid over relative depth. The difference of the losses of each pair of cells is tested by sign
flips over passages. Writes comparison.csv and comparison.png to the first folder.
"""

import argparse
import os

from mrc.util import check_environment  # noqa: F401, first: it reports missing packages

# isort: split
from mrc.answers import comparison, effects, verdicts
from mrc.answers.question_scores import CLUSTERS
from mrc.experiment import run_record
from mrc.figures import comparison_panels, figure_files, heat_map
from mrc.util import errors, files
from mrc.util.errors import InputError, exit_with_message

TABLE_FILE, FIGURE_FILE = "comparison.csv", "comparison.png"


def _margin(text):
    try:
        margin = float(text)
    except ValueError:
        margin = -1.0
    if not 0.0 <= margin <= 100.0:
        raise argparse.ArgumentTypeError(f'"{text}" is not a number of points from 0 to 100')
    return margin


def _parse_arguments():
    parser = errors.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "folders", type=files.normalized, nargs="+", help="output folders of one or two readers"
    )
    parser.add_argument(
        "--cells",
        help="comma-separated names of cells of one reader, such as layer3_p2,layer3_p2q; each is "
        "compared with each",
    )
    parser.add_argument(
        "--metric", choices=effects.METRICS, help="metric to compare (default: all in the folders)"
    )
    parser.add_argument(
        "--cluster",
        choices=list(CLUSTERS),
        default="paragraph",
        help="what is resampled as a whole (default: paragraph)",
    )
    parser.add_argument(
        "--margin",
        type=_margin,
        default=verdicts.MARGIN,
        help="points within which a difference does not matter (default: 1)",
    )
    parser.add_argument(
        "--output", type=files.normalized, help="folder to write to (default: the first reader's)"
    )
    args = parser.parse_args()
    if len(args.folders) != (1 if args.cells else 2):
        parser.error(
            f"{len(args.folders)} folders {'with' if args.cells else 'without'} --cells: pass two "
            "readers, or one and cells of it, as in --cells=layer3_p2,layer3_p2q"
        )
    return args


def _metrics(readers, wanted):
    """Returns the metrics to compare."""
    common = [
        metric
        for metric in effects.METRICS
        if all(metric in reader.scores.metrics for reader in readers)
    ]
    folders = " and ".join(reader.folder for reader in readers)
    if not common:
        raise InputError(f"{folders} have no metric in common; score both with --do_eval")
    if wanted and wanted not in common:
        raise InputError(
            f"{folders} cannot be compared by {effects.METRIC_NAMES[wanted]}; pass "
            f"--metric={' or '.join(common)}"
        )
    return [wanted] if wanted else common


def _two_readers(folders):
    """Returns the readers on their common questions and the pairs of their cells."""
    readers = [comparison.read(folder) for folder in folders]
    a, b = comparison.on_common_questions(*readers)
    counts = [len(reader.scores.ids) for reader in readers]
    if counts != [len(a.scores.ids)] * 2:
        print(
            f"{len(a.scores.ids)} questions are in both: of {counts[0]} in {a.folder} and of "
            f"{counts[1]} in {b.folder}"
        )
    pairs = comparison.common_cells(a, b)
    print(f"a: {a.folder}; b: {b.folder}; cells compared: {len(pairs)}")
    layers = a.scores.layers, b.scores.layers
    if 0 in layers:
        print("layers are matched by their number: a reader's number of layers is unknown")
    elif layers[0] != layers[1]:
        print(
            f"{layers[0]} and {layers[1]} layers are matched by relative depth, "
            "(layer + 0.5) / layers"
        )
    return a, b, pairs


def _one_reader(folder, cells):
    """Returns the reader twice, and the pairs of the named cells."""
    reader = comparison.read(folder)
    pairs = comparison.named_cells(reader, cells.split(","))
    if not pairs:
        raise InputError(f"--cells={cells} names one cell; pass two or more, separated by commas")
    print(f"{folder}: a and b are the first and second cell of a pair")
    return reader, reader, pairs


def main():
    args = _parse_arguments()
    figure_files.check_matplotlib()
    with files.recorded_hashes() as hashes:
        a, b, pairs = (
            _one_reader(args.folders[0], args.cells) if args.cells else _two_readers(args.folders)
        )
    metrics, output = _metrics([a, b], args.metric), args.output or args.folders[0]
    origins = run_record.origins(hashes)
    files.make_folder(output)
    rows = []
    for metric in metrics:
        of_metric = comparison.compare(a, b, pairs, metric, args.cluster, args.margin)
        print(comparison.in_words(of_metric))
        rows += of_metric
    files.write(os.path.join(output, TABLE_FILE), comparison.TABLE.to_csv(rows))
    figure_files.save(
        heat_map.draw(
            comparison_panels.panels_of(rows), "loss of a minus loss of b (points)", "auto"
        ),
        os.path.join(output, FIGURE_FILE),
        origins,
    )


if __name__ == "__main__":
    with exit_with_message():
        main()
