# SPDX-License-Identifier: Apache-2.0
"""Correlates the attention of each zone with what masking it costs: attention.csv with effects.csv.

    python run_squad.py --output_dir=reader ... --do_attention
    python run_squad.py --output_dir=reader ... --do_predict --do_eval --mask_zone=q2,q2p,p2q,p2 \\
        --mask_layer=each
    python correlate.py reader

For each zone, Spearman and Pearson between the mass of its block (q2: question to question, q2p:
question to passage, p2q: passage to question, p2: passage to passage) and the loss of exact match
and F1 from masking the zone, over layers, and over the heads of each layer where the grid masks
single heads. Cells that cannot change an answer are left out. p is by permutation; the ceiling is
what the noise of the losses leaves to be found. Writes correlation.csv and correlation.png to the
folder; with --latex correlation.tex, too.
"""

import csv
import os

from mrc.util import check_environment  # noqa: F401, first: it reports missing packages

# isort: split

import attention_mask
from mrc.answers import attention_tables, correlation, effect_tables, effects, question_scores
from mrc.answers.tables import path_in
from mrc.experiment import provenance, run_record
from mrc.figures import figure_files, latex, scatter
from mrc.util import errors, files
from mrc.util.errors import InputError, exit_with_message, warn

TABLE_FILE, FIGURE_FILE, LATEX_FILE = "correlation.csv", "correlation.png", "correlation.tex"


def _parse_arguments():
    parser = errors.ArgumentParser(__doc__)
    parser.add_argument("output_folder", type=files.normalized, help="folder with attention.csv and effects.csv")
    figure_files.add_size_arguments(parser)
    figure_files.add_latex_argument(parser)
    return parser.parse_args()


def _scores(folder, rows):
    """Returns the question scores of all cells in `rows`; None, with a warning, without them."""
    path = os.path.join(folder, question_scores.FILE)
    scores = question_scores.read(path) if files.exists(path) else None
    if scores and {row[:3] for row in rows} <= {tuple(cell) for cell in scores.cells}:
        return scores
    warn(
        f"{path} does not exist or lacks cells of {effect_tables.EFFECTS_FILE}, so the ceiling is "
        "unknown; rerun with --do_eval to write both"
    )
    return None


def main():
    args = _parse_arguments()
    folder = args.output_folder
    figure_files.check_matplotlib()
    masses_path = path_in(
        folder, attention_tables.file_names(attention_tables.BASELINE)[0], "run with --do_attention and without a mask first"
    )
    effects_path = path_in(
        folder,
        effect_tables.EFFECTS_FILE,
        "decode and score a grid first, such as --mask_zone=q2,q2p,p2q,p2 --mask_layer=each",
    )
    with files.recorded_hashes() as hashes:
        masses = attention_tables.read(masses_path)
        rows = effects.read(effects_path)
        scores = _scores(folder, rows)
    run_record.origins(hashes)
    provenance.warn_of_other_reader(folder)
    found = {
        (zone, metric): correlation.find_points(masses, rows, zone, metric)
        for metric in effects.TESTED
        for zone in attention_mask.BLOCKS
    }
    points = {
        (zone, over, metric): by_kind[over]
        for over in (correlation.LAYERS, correlation.HEADS)
        for (zone, metric), by_kind in found.items()
        if over in by_kind
    }
    if not points:
        raise InputError(
            f"{effects_path} has no cell of a single layer and zone that can change an answer; "
            "decode a grid such as --mask_zone=q2,q2p,p2q,p2 --mask_layer=each"
        )
    table = [correlation.correlate(members, *label, scores) for label, members in points.items()]
    files.write(os.path.join(folder, TABLE_FILE), correlation.TABLE.to_csv(table))
    figure = scatter.draw(points, table, args.width, args.columns)
    origin = f"{TABLE_FILE} beside this file"
    figure_files.save(figure, os.path.join(folder, FIGURE_FILE), origin)
    if args.latex:
        header, *rows = csv.reader(correlation.TABLE.to_csv(table).splitlines())
        caption = "Attention and the loss from masking it: Spearman, Pearson and 95\\% intervals."
        latex.write(os.path.join(folder, LATEX_FILE), latex.table(header, rows, caption), origin)
    for row in table:
        print(correlation.in_words(row))


if __name__ == "__main__":
    with exit_with_message():
        main()
