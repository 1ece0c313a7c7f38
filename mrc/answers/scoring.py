# SPDX-License-Identifier: Apache-2.0
"""Scores the decoded cells of a grid; prints the scores and writes them to the output folder."""

import json
import os
from shlex import quote
from typing import Dict, NamedTuple, Optional

import squad_evaluate
from mrc.answers import predictions_file, question_scores, question_table, question_types, results_table
from mrc.cells import BASELINE
from mrc.data import squad_format
from mrc.datasets import Evaluation
from mrc.util import files
from mrc.util.errors import InputError

SCORES_FILE = "scores.json"


class EffectOptions(NamedTuple):
    """How the effects of a grid are tested.

    Attributes:
      cluster: what is resampled, "paragraph" or "article".
      margin: points within which an effect does not matter.
      layers: number of layers of the model.
      reads_null: whether an answer may be that there is none (SQuAD 2.0).
      origin: the folder name of the "reader", the file name of its "data" and its "seed", as far
        as they are known.
    """

    cluster: str
    margin: float
    layers: int
    reads_null: bool
    origin: Dict[str, str] = {}


class _ScoredCell(NamedTuple):
    """The answers of a cell, with the threshold applied, and their evaluation.

    `evaluation` is None for data without answers.
    """

    answers: Dict[str, str]
    evaluation: Optional[Evaluation]


def score(dataset, passages, file_names, output_dir, null_threshold, run_name, effect_options):
    """Scores prediction files and writes the scores to `scores.json`.

    The scores of a single cell are printed. A grid's exact match and F1 are also written as tables
    (see `results_table`), and its effects (see `effect_tables`); the result is printed. Data
    without answers is scored against the answers of the baseline.

    Args:
      dataset: the `Dataset`.
      passages: passages with their answers.
      file_names: {cell: names of its files}, see `answer_files.file_names`.
      output_dir: the folder of the files.
      null_threshold: null odds above which a question counts as having no answer.
      run_name: the run's name in `run.json`, written to `scores.json`.
      effect_options: an `EffectOptions`.

    Returns:
      The names of the files written.
    """
    has_answers = squad_format.has_answers(passages)
    if not has_answers:
        print("the data has no answers: cells are compared with the reader's own answers")
    cells, summaries, own = {}, {}, {}
    for cell, names in file_names.items():
        scored = _score_cell(dataset, passages, names, output_dir, null_threshold, not cells)
        cells[cell] = scored
        own[cell] = _own_f1(dataset, passages, cells, cell)
        if scored.evaluation:
            summaries[cell.name] = scored.evaluation.summary
        else:
            summaries[cell.name] = {"own": 100.0 * sum(own[cell]) / len(own[cell])}
        if len(file_names) == 1:
            print("{}: {}".format(names["predictions"], json.dumps(summaries[cell.name])))
    files.write_json(os.path.join(output_dir, SCORES_FILE), dict(summaries, run=run_name))
    written = [SCORES_FILE]
    if BASELINE in file_names and len(file_names) > 1:
        metrics = {}
        if has_answers:
            evaluations = {cell: scored.evaluation for cell, scored in cells.items()}
            written += _write_tables(dataset, evaluations, output_dir)
            metrics = {
                metric: {cell: getattr(each, metric) for cell, each in evaluations.items()} for metric in dataset.metrics
            }
        from mrc.answers import effect_tables  # imports SciPy, which takes a second

        metrics["own"] = own
        written += effect_tables.write(dataset, passages, metrics, output_dir, effect_options)
        written.append(_write_questions(dataset, passages, cells, file_names, output_dir))
        print(
            f"the tables are in {output_dir}; to write them as a page: python report.py {quote(output_dir)} "
            f"{quote(os.path.join(output_dir, 'report.html'))}; to draw them: {_drawing(output_dir, cells, has_answers)}"
        )
    return written


def _drawing(output_dir, cells, has_answers):
    """Returns the command that draws the heat map of a grid."""
    table = "effects.csv"
    if has_answers and not any(cell.label.head for cell in cells):
        table = results_table.FILES["em"]
    tables, figure = (quote(os.path.join(output_dir, name)) for name in (table, "zones.png"))
    metric = "" if has_answers else "--metric=own "
    return f"python visualize_zones.py --annotate {metric}{tables} {figure}"


def _score_cell(dataset, passages, names, output_dir, null_threshold, is_first):
    """Returns the `_ScoredCell` of the files `names`; reports a better threshold for the first."""
    path = os.path.join(output_dir, names["predictions"])
    if not files.exists(path):
        raise InputError(
            f"there is no {path} to score; decode its cell first: run with --do_predict and "
            "the same --mask_zone and --mask_layer"
        )
    question_ids = [question.id for passage in passages for question in passage.questions]
    predictions = predictions_file.read(path, dataset.reads_numbers)
    predictions_file.report_gaps(question_ids, predictions)
    odds, threshold = None, 0.0
    if "null_odds" in names:
        odds = squad_evaluate.read_na_probs(
            os.path.join(output_dir, names["null_odds"]),
            [question_id for question_id in question_ids if question_id in predictions],
        )
        threshold = null_threshold
    evaluation = None
    if squad_format.has_answers(passages):
        evaluation = dataset.evaluate(passages, predictions, odds, threshold)
        if odds is not None and is_first:
            squad_evaluate.report_threshold(evaluation.summary, odds, threshold, "--null_score_diff_threshold")
    answers = {
        question_id: "" if odds and odds.get(question_id, 0.0) > threshold else text
        for question_id, text in predictions.items()
    }
    return _ScoredCell(answers, evaluation)


def _own_f1(dataset, passages, cells, cell):
    """Returns the F1 of a cell's answers with those of the first cell, by question."""
    own, masked = next(iter(cells.values())).answers, cells[cell].answers
    ids = [question.id for _, question in dataset.scored_questions(passages)]
    return [dataset.answer_f1(own.get(each, ""), masked.get(each, "")) for each in ids]


def _write_questions(dataset, passages, cells, file_names, output_dir):
    """Writes the table of questions beside the tables of effects; returns its name."""
    scores = question_scores.read(os.path.join(output_dir, question_scores.FILE))
    questions = [question.text for _, question in dataset.scored_questions(passages)]
    types = [question_types.question_type(text, dataset.question_types) for text in questions]
    answers = []
    for cell, scored in cells.items():
        nbest = file_names[cell].get("nbest")
        nbest = nbest and os.path.join(output_dir, nbest)
        answers.append(question_table.CellAnswers(scored.answers, nbest))
    return question_table.write(output_dir, scores, types, answers)


def _write_tables(dataset, evaluations, output_dir):
    for metric, key in dataset.metrics.items():
        values = {cell: float(each.summary[key]) for cell, each in evaluations.items()}
        table = results_table.make_table(values)
        results_table.write_table(os.path.join(output_dir, results_table.FILES[metric]), table)
        if not any(cell.label.head for cell in evaluations):
            print(f"{results_table.METRIC_NAMES[metric]}, layers from 1:")
            print(results_table.in_words(table))
    return [results_table.FILES[metric] for metric in dataset.metrics]
