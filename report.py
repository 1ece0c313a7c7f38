# SPDX-License-Identifier: Apache-2.0
"""Writes the study of one or several readers as one page.

    python report.py reader report.html
    python report.py reader_a reader_b report.html
    python report.py --attention=ID,ID reader report.html

Readers are output folders of grids scored with --do_eval. The page leads from the heat map to the
questions of a cell and from a question to the answer under each mask; docs/report.md describes it.
It is one file that needs no network. The passages are those of the data file that run.json names.
--attention embeds the attention pages of questions of the first reader that has them, which runs
that reader as visualize_attention.py does.
"""

import itertools

from mrc.util import check_environment  # noqa: F401, first: it reports missing packages

# isort: split
from mrc.answers import comparison
from mrc.experiment import scored_grid
from mrc.figures import report_page
from mrc.util import errors, files
from mrc.util.errors import InputError, exit_with_message


def _parse_arguments():
    parser = errors.ArgumentParser(__doc__)
    parser.add_argument("readers", type=files.normalized, nargs="+", help="output folders of scored grids")
    parser.add_argument("output", type=files.normalized, help="the file to write: .html")
    parser.add_argument("--attention", help="comma-separated ids of questions whose attention is embedded")
    args = parser.parse_args()
    if not args.output.endswith(".html"):
        parser.error(f"the output {args.output} must end in .html")
    return args


def _attention_pages(grids, ids):
    """Returns {question id: attention page}."""
    # Here, because they import TensorFlow, which takes seconds.
    from mrc.experiment import attention_window, explain
    from mrc.util import tensorflow_versions

    folder_of = {}
    for grid in reversed(grids):
        folder_of.update(dict.fromkeys(grid.scores.ids.tolist(), grid.folder))
    for question_id in ids:
        if question_id not in folder_of:
            raise InputError(f"--attention: no reader has the question {question_id}")
    tensorflow_versions.silence_deprecation_warnings()
    pages, inputs = {}, {}
    for question_id in ids:
        folder = folder_of[question_id]
        inputs[folder] = inputs.get(folder) or attention_window.read_inputs(folder)
        with explain.explain_tensorflow_errors(False):
            window = attention_window.read_window(inputs[folder], question_id)
        pages[question_id] = attention_window.page(inputs[folder], folder, window)
    return pages


def _comparisons(folders):
    """Returns the comparison of each two readers that have questions and cells in common."""
    readers, compared = [comparison.read(folder) for folder in folders], []
    for pair in itertools.combinations(readers, 2):
        try:
            compared.append(report_page.compared(*pair, [reader.folder for reader in pair]))
        except InputError as reason:
            print(f"not compared: {reason}")
    return compared


def main():
    args = _parse_arguments()
    grids = [scored_grid.read(folder) for folder in args.readers]
    pages = _attention_pages(grids, [each.strip() for each in args.attention.split(",")] if args.attention else [])
    page = report_page.make(grids, _comparisons(args.readers), pages)
    files.make_folder_of(args.output)
    files.write(args.output, page)
    print(f"{args.output}: {len(page) / 1e6:.1f} MB")


if __name__ == "__main__":
    with exit_with_message():
        main()
