# SPDX-License-Identifier: Apache-2.0
"""Writes the effects of a grid's cells, over all questions and by type of question, with the scores
they are computed from, and prints a summary.
"""

import collections
import os

import numpy as np

from attention_mask import CLS, PASSAGE
from mrc.answers import effect_summary, effects, question_scores, results_table
from mrc.answers.question_types import question_type, type_names
from mrc.cells import BASELINE
from mrc.util import files

EFFECTS_FILE, BY_TYPE_FILE = "effects.csv", "effects_by_type.csv"


def label_of(cell):
    """Returns the `Label` of a cell in the tables."""
    return cell.label._replace(layer=cell.label.layer or results_table.EVERY_LAYER)


def write(dataset, passages, metrics, output_dir, options):
    """Compares every cell of a grid with its baseline, writes the tables and prints a summary.

    Args:
      dataset: the `Dataset`.
      passages: passages with their questions.
      metrics: {metric: {cell: scores of `dataset.scored_questions`}}, the baseline included.
      output_dir: folder of the tables.
      options: a `scoring.EffectOptions`.

    Returns:
      The names of the files written.
    """
    questions = dataset.scored_questions(passages)
    cells = [cell for cell in metrics["own"] if cell != BASELINE]
    numbers = np.array([number for number, _ in questions])
    scores = question_scores.QuestionScores(
        ids=np.array([question.id for _, question in questions]),
        passages=numbers,
        articles=np.array([passages[number].article for number in numbers]),
        cells=list(map(label_of, cells)),
        metrics={
            metric: np.array([by_cell[cell] for cell in [BASELINE, *cells]], float) for metric, by_cell in metrics.items()
        },
        layers=options.layers,
    )
    impossible = _impossible(dataset, cells, scores, options)
    types = [question_type(question.text, dataset.question_types) for _, question in questions]
    names = type_names(dataset.question_types)
    rows = [
        row._replace(**options.origin) for row in effects.compare(scores, options.cluster, types, impossible, options.margin)
    ]
    by_type = effects.estimate_by_type(scores, options.cluster, types, names, impossible)
    question_scores.write(output_dir, scores)
    files.write(os.path.join(output_dir, EFFECTS_FILE), effects.TABLE.to_csv(rows))
    files.write(os.path.join(output_dir, BY_TYPE_FILE), effects.by_type_to_csv(by_type))
    for metric in scores.metrics:
        print(effect_summary.in_words([row for row in rows if row.metric == metric]))
    counts = collections.Counter(types)
    print("questions by type: " + ", ".join(f"{name} {counts[name]}" for name in names))
    return [question_scores.FILE, EFFECTS_FILE, BY_TYPE_FILE]


def _impossible(dataset, cells, scores, options):
    """Returns which cells cannot change an answer, `[C]`.

    In the last layer, an answer reads the outputs of the passage, of [CLS] for null odds, and of
    [CLS] in the log-softmax of CMRC 2018. A zone without these queries, such as q2, leaves the
    score of every span as it is. In SQuAD the outputs of the question still compete with the
    passage's for places among the best starts and ends, so there the answers must be the same, too.
    """
    read = {PASSAGE} | ({CLS} if options.reads_null or dataset.masks_question else set())
    last = options.layers - 1
    is_unread = [
        cell.layers == {last} and bool(cell.mask_at(last).pairs) and not cell.mask_at(last).queries & read for cell in cells
    ]
    return np.array(is_unread, bool) & ~scores.differences("own").any(axis=1)
