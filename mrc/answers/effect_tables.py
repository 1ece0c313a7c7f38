# SPDX-License-Identifier: Apache-2.0
"""Writes the effects of a grid's cells, over all questions and by type of question, and prints a
summary.
"""

import collections
import os

import numpy as np

from mrc.answers import effects, results_table
from mrc.answers.question_types import question_type, type_names
from mrc.cells import BASELINE
from mrc.util import files

EFFECTS_FILE, BY_TYPE_FILE = "effects.csv", "effects_by_type.csv"
ALPHA = 0.05  # an effect with a smaller p after Holm's correction counts as more than noise


def label_of(cell):
    """Returns the (layer, head, zone) of a cell in the tables."""
    return cell.label.layer or results_table.EVERY_LAYER, cell.label.head, cell.label.zone


def write(dataset, passages, evaluations, output_dir):
    """Compares every cell of a grid with its baseline, writes both tables and prints a summary.

    Args:
      dataset: the `Dataset`.
      passages: passages with their answers.
      evaluations: {cell: its `datasets.Evaluation`}, the baseline included.
      output_dir: folder of the tables.

    Returns:
      The names of the files written.
    """
    questions = dataset.scored_questions(passages)
    cells = [cell for cell in evaluations if cell != BASELINE]
    baseline = {metric: getattr(evaluations[BASELINE], metric) for metric in effects.METRICS}
    scores = {
        metric: np.array([getattr(evaluations[cell], metric) for cell in cells])
        for metric in effects.METRICS
    }
    shared = (baseline, scores, [number for number, _ in questions], list(map(label_of, cells)))
    rows = effects.compare(*shared)
    types = [question_type(question.text, dataset.question_types) for _, question in questions]
    by_type = effects.compare_by_type(*shared, types, type_names(dataset.question_types))
    files.write(os.path.join(output_dir, EFFECTS_FILE), effects.to_csv(rows))
    files.write(os.path.join(output_dir, BY_TYPE_FILE), effects.to_csv_by_type(by_type))
    _print_summary(rows, collections.Counter(types), type_names(dataset.question_types))
    return [EFFECTS_FILE, BY_TYPE_FILE]


def _print_summary(rows, counts, types):
    for metric, name in (("em", "exact match"), ("f1", "F1")):
        tested = [row for row in rows if row.metric == metric]
        real = sum(row.p_holm < ALPHA for row in tested)
        print(
            f"{name}: the effect of {real} of {len(tested)} cells is more than noise (p < {ALPHA} "
            "after Holm's correction)"
        )
    print("questions by type: " + ", ".join(f"{name} {counts[name]}" for name in types))
