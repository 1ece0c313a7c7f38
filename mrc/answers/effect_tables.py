# SPDX-License-Identifier: Apache-2.0
"""Writes the effects of a grid's cells, over all questions and by type of question, with the scores
they are computed from, and prints a summary.
"""

import collections
import os

import numpy as np

from attention_mask import BASELINE, CLS, PASSAGE, from_one
from mrc.answers import effects, question_scores, results_table, verdicts
from mrc.answers.question_types import question_type, type_names
from mrc.util import files

EFFECTS_FILE, BY_TYPE_FILE = "effects.csv", "effects_by_type.csv"
_MOST_NAMED = 12  # cells in a line of the summary


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
            metric: np.array([by_cell[cell] for cell in [BASELINE, *cells]], float)
            for metric, by_cell in metrics.items()
        },
    )
    impossible = _impossible(dataset, cells, scores, options)
    types = [question_type(question.text, dataset.question_types) for _, question in questions]
    names = type_names(dataset.question_types)
    rows = effects.compare(scores, options.cluster, types, impossible, options.margin)
    by_type = effects.estimate_by_type(scores, options.cluster, types, names, impossible)
    question_scores.write(output_dir, scores)
    files.write(os.path.join(output_dir, EFFECTS_FILE), effects.TABLE.to_csv(rows))
    files.write(os.path.join(output_dir, BY_TYPE_FILE), effects.by_type_to_csv(by_type))
    for metric in scores.metrics:
        print(summary([row for row in rows if row.metric == metric]))
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
        cell.layers == {last}
        and bool(cell.mask_at(last).pairs)
        and not cell.mask_at(last).queries & read
        for cell in cells
    ]
    return np.array(is_unread, bool) & ~scores.differences("own").any(axis=1)


def summary(rows):
    """Returns the verdicts on the cells of one metric in one line."""
    begin = f"{effects.METRIC_NAMES[rows[0].metric]}, layers from 1: "
    if rows[0].metric not in effects.TESTED:
        lowest = min(rows, key=lambda row: row.value)
        return begin + f"lowest for {_named([lowest])}, {lowest.value:.1f} points"
    by_verdict = {
        verdict: [row for row in rows if row.verdict == verdict] for verdict in verdicts.VERDICTS
    }
    parts = [f"needed: {_named(by_verdict[verdicts.NEEDED])}"]
    if by_verdict[verdicts.HELPS]:
        parts.append(f"the mask helps: {_named(by_verdict[verdicts.HELPS])}")
    parts.append(f"not needed: {_counted(by_verdict[verdicts.NOT_NEEDED])}")
    undecided = by_verdict[verdicts.UNDECIDED]
    needed = np.array([row.n_needed for row in undecided])
    typical = np.median(needed[~np.isnan(needed)]) if not np.isnan(needed).all() else np.nan
    parts.append(
        f"undecided: {_counted(undecided)}"
        + ("" if np.isnan(typical) else f" (most need about {_rounded(typical):,} questions)")
    )
    if by_verdict[verdicts.IMPOSSIBLE]:
        parts.append(f"cannot change an answer: {_named(by_verdict[verdicts.IMPOSSIBLE])}")
    return begin + "; ".join(parts)


def _rounded(number):
    """Returns a number with two significant digits."""
    return int(float(f"{number:.1e}"))


def _counted(rows):
    return f"{len(rows)} cell{'' if len(rows) == 1 else 's'}" if rows else "none"


def _named(rows):
    """Returns the cells by zone, such as "p2q in layers 2 to 4, p2 in layers 2 and 4"."""
    if not 0 < len(rows) <= _MOST_NAMED:
        return _counted(rows)
    layers = collections.OrderedDict()
    for row in rows:
        zone = row.zone + (f" head {from_one(row.head)}" if row.head else "")
        layers.setdefault(zone, []).append(row.layer)
    return ", ".join(f"{zone} in {_layers(labels)}" for zone, labels in layers.items())


def _layers(labels):
    """Returns labels of layers in words, from 1: "layers 1, 3 to 5 and 8+9"."""
    if labels == [results_table.EVERY_LAYER]:
        return "every layer at once"
    runs = []
    for label in labels:
        if (
            runs
            and label.isdigit()
            and runs[-1][-1].isdigit()
            and int(label) == 1 + int(runs[-1][-1])
        ):
            runs[-1].append(label)
        else:
            runs.append([label])
    words = []
    for run in runs:
        names = [from_one(label) if label != results_table.EVERY_LAYER else label for label in run]
        words += [f"{names[0]} to {names[-1]}"] if len(names) > 2 else names
    text = ", ".join(words[:-1]) + (" and " if words[1:] else "") + words[-1]
    return f"layer{'s' if len(labels) > 1 else ''} {text}"
