# SPDX-License-Identifier: Apache-2.0
"""The verdicts on the cells of a grid in one line."""

from typing import Dict, List, Sequence

import numpy as np

from mrc.answers import effects, results_table, verdicts
from mrc.answers.effects import Effect
from mrc.cells import from_one

_MOST_NAMED = 12  # cells; more are counted


def in_words(rows: Sequence[Effect]) -> str:
    """Returns the verdicts on the effects of one metric, with layers and heads from 1."""
    metric = rows[0].metric
    begin = f"{effects.METRIC_NAMES[metric]}, layers from 1: "
    if metric not in effects.TESTED:
        lowest = min(rows, key=lambda row: row.value)
        return begin + f"{_named([lowest])} changes most; F1 falls to {lowest.value:.1f}"
    if rows[0].baseline == 0:
        return begin + "no answer scores without a mask, so no mask can cost anything"
    by_verdict = {verdict: [row for row in rows if row.verdict == verdict] for verdict in verdicts.VERDICTS}
    undecided = by_verdict[verdicts.UNDECIDED]
    parts = [f"needed: {_named(by_verdict[verdicts.NEEDED])}"]
    if by_verdict[verdicts.HELPS]:
        parts.append(f"the mask helps: {_named(by_verdict[verdicts.HELPS])}")
    parts.append(f"not needed: {_counted(by_verdict[verdicts.NOT_NEEDED])}")
    parts.append(f"undecided: {_counted(undecided)}{_questions_in_words(undecided)}")
    if by_verdict[verdicts.IMPOSSIBLE]:
        parts.append(f"cannot change an answer: {_named(by_verdict[verdicts.IMPOSSIBLE])}")
    return begin + "; ".join(parts)


def _questions_in_words(undecided):
    """Returns the median of the questions that would decide, with two significant digits."""
    needed = [row.n_needed for row in undecided if row.n_needed == row.n_needed]
    if not needed:  # a single passage
        return ""
    return f" (most need about {int(float(f'{np.median(needed):.1e}')):,} questions)"


def _counted(rows):
    return f"{len(rows)} cell{'' if len(rows) == 1 else 's'}" if rows else "none"


def _named(rows):
    """Returns the cells by zone, such as "p2q in layers 2 to 4, p2 in layers 2 and 4"."""
    if not 0 < len(rows) <= _MOST_NAMED:
        return _counted(rows)
    layers: Dict[str, List[str]] = {}
    for row in rows:
        zone = row.zone + (f" head {from_one(row.head)}" if row.head else "")
        layers.setdefault(zone, []).append(row.layer)
    return ", ".join(f"{zone} in {_layers(labels)}" for zone, labels in layers.items())


def _layers(labels):
    """Returns labels of layers in words, from 1: "layers 1, 3 to 5 and 8+9"."""
    if labels == [results_table.EVERY_LAYER]:
        return "every layer at once"
    runs: List[List[str]] = []
    for label in labels:
        if runs and _is_next(label, runs[-1][-1]):
            runs[-1].append(label)
        else:
            runs.append([label])
    words = []
    for run in runs:
        names = [from_one(label) for label in run]
        words += [f"{names[0]} to {names[-1]}"] if len(names) > 2 else names
    text = ", ".join(words[:-1]) + (" and " if words[1:] else "") + words[-1]
    return f"layer{'s' if len(labels) > 1 else ''} {text}"


def _is_next(label, previous):
    return label.isdecimal() and previous.isdecimal() and int(label) == int(previous) + 1
