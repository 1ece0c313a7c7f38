# SPDX-License-Identifier: Apache-2.0
"""Scores the decoded cells of a grid; prints the scores and writes them to the output folder."""

import collections
import json
import os

import squad_evaluate
from mrc.answers import predictions_file, results_table
from mrc.cells import BASELINE
from mrc.util import files
from mrc.util.errors import InputError

SCORES_FILE = "scores.json"


def score(dataset, passages, file_names, output_dir, null_threshold, run_name):
    """Scores prediction files, prints the scores and writes them to `scores.json`.

    A grid's exact match and F1 are also written as tables (see `results_table`).

    Args:
      dataset: the `Dataset`.
      passages: passages with their answers.
      file_names: {cell: names of its files}, see `answer_files.file_names`.
      output_dir: the folder of the files.
      null_threshold: null odds above which a question counts as having no answer.
      run_name: the run's name in `run.json`, written to `scores.json`.

    Returns:
      The names of the files written.
    """
    question_ids = [question.id for passage in passages for question in passage.questions]
    evaluations = collections.OrderedDict()
    for cell, names in file_names.items():
        path = os.path.join(output_dir, names["predictions"])
        if not files.exists(path):
            raise InputError(
                f"there is no {path} to score; decode its cell first: run with --do_predict and "
                "the same --mask_zone and --mask_layer"
            )
        predictions = predictions_file.read(path, dataset.reads_numbers)
        predictions_file.report_gaps(question_ids, predictions)
        odds, threshold = None, 0.0
        if "null_odds" in names:
            odds = squad_evaluate.read_na_probs(
                os.path.join(output_dir, names["null_odds"]),
                [question_id for question_id in question_ids if question_id in predictions],
            )
            threshold = null_threshold
        evaluations[cell] = dataset.evaluate(passages, predictions, odds, threshold)
        if odds is not None and len(evaluations) == 1:
            squad_evaluate.report_threshold(
                evaluations[cell].summary, odds, threshold, "--null_score_diff_threshold"
            )
        print("{}: {}".format(names["predictions"], json.dumps(evaluations[cell].summary)))
    summaries = {cell.name: evaluation.summary for cell, evaluation in evaluations.items()}
    files.write_json(
        os.path.join(output_dir, SCORES_FILE), collections.OrderedDict(summaries, run=run_name)
    )
    if BASELINE in file_names and len(file_names) > 1:
        tables = _write_tables(dataset, evaluations, output_dir)
        from mrc.answers import effect_tables  # imports SciPy, which takes a second

        return (
            [SCORES_FILE] + tables + effect_tables.write(dataset, passages, evaluations, output_dir)
        )
    return [SCORES_FILE]


def _write_tables(dataset, evaluations, output_dir):
    for metric, key in dataset.metrics.items():
        values = {cell: float(each.summary[key]) for cell, each in evaluations.items()}
        results_table.write_table(
            os.path.join(output_dir, results_table.FILES[metric]), results_table.make_table(values)
        )
    return [results_table.FILES[metric] for metric in dataset.metrics]
