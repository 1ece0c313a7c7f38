# SPDX-License-Identifier: Apache-2.0
"""A page of the study of one or several readers: a single file without network access.

`report_page.html` has the logic; this module writes the data into it. The answer to a question is
an index into the distinct answers to it, each with its scores, so a page of 10,570 questions and 61
cells takes about 10 MB.
"""

import base64
import json
import math
import os
from typing import Dict, List, Sequence

import numpy as np

from mrc.answers import common_features, comparison, effect_summary, effects
from mrc.util import files

_TEMPLATE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "report_page.html")
_DATA = "PAGE_DATA"
_NO_LOGP = -(2**15)  # int16 of an unknown change
_MOST_LOGP = 2**15 - 1
_EFFECT = (
    *("baseline", "value", "difference", "low", "high", "better", "worse", "questions"),
    *("p_adjusted", "p_type", "verdict", "n_needed", "above_control", "p_control"),
)
_VERSIONS = ("commit", "python", "tensorflow", "numpy", "platform")


def make(grids: Sequence, comparisons: Sequence[dict], attention: Dict[str, str]) -> str:
    """Returns the page.

    Args:
      grids: a `scored_grid.ScoredGrid` for each reader.
      comparisons: results of `compared`.
      attention: {question id: attention page}.
    """
    page = {
        "metricNames": effects.METRIC_NAMES,
        "effectColumns": _EFFECT,
        "readers": list(map(_reader, grids)),
        "comparisons": comparisons,
        "attention": list(attention.items()),
    }
    # A script ends at the first </script, even within a string.
    text = json.dumps(page, separators=(",", ":")).replace("<", "\\u003c")
    return files.read_text(_TEMPLATE).replace(_DATA, text)


def compared(a: comparison.Reader, b: comparison.Reader, names: Sequence[str]) -> dict:
    """Returns the comparison of two readers on their common questions for `make`.

    Args:
      a, b: the readers.
      names: their names on the page.
    """
    a, b = comparison.on_common_questions(a, b)
    pairs = comparison.common_cells(a, b)
    by_metric = [
        comparison.compare(a, b, pairs, metric)
        for metric in effects.METRICS
        if metric in a.scores.metrics and metric in b.scores.metrics
    ]
    return {
        "names": list(names),
        "sentences": list(map(comparison.in_words, by_metric)),
        "columns": comparison.Difference._fields,
        "rows": [list(map(_json, row)) for rows in by_metric for row in rows],
    }


def _json(value):
    """Returns a value for JSON: a float with 6 digits after the point, None for NaN."""
    if isinstance(value, float):
        return None if math.isnan(value) else round(value, 6)
    return value


def _encoded(values, kind):
    """Returns an array as base64 of little-endian numbers of the type `kind`."""
    return base64.b64encode(np.asarray(values).astype("<" + kind).tobytes()).decode("ascii")


def _reader(grid):
    scores, table = grid.scores, grid.table
    questions = grid.dataset.scored_questions(grid.passages)
    texts = []
    for number, question in questions:
        gold = list(dict.fromkeys(answer.text for answer in question.answers))
        texts.append((grid.passages[number].context, question.text, gold))
    distinct, indices = _distinct_answers(scores, table.answers)
    logp = np.clip(np.rint(100.0 * table.logp_change), 1 - _MOST_LOGP, _MOST_LOGP)
    types = list(grid.by_type)
    return {
        "folder": grid.folder,
        "name": os.path.basename(os.path.abspath(grid.folder)),
        "dataset": grid.dataset.name,
        "data": grid.data_path,
        "runs": [_run(run) for run in [grid.decoding] * (grid.decoding != grid.run) + [grid.run] if run],
        "layers": scores.layers,
        "metrics": list(scores.metrics),
        "sentences": [
            effect_summary.in_words([row for row in grid.effects if row.metric == metric]) for metric in scores.metrics
        ],
        "cells": scores.cells,
        "effects": _effects(grid.effects),
        "types": types,
        "byType": {name: _effects(rows) for name, rows in grid.by_type.items()},
        "ids": scores.ids.tolist(),
        "typeOf": [types.index(name) for name in table.types],
        "passageOf": [number for number, _ in questions],
        "passages": [passage.context for passage in grid.passages],
        "questions": [question for _, question, _ in texts],
        "gold": [gold for *_, gold in texts],
        "distinct": distinct,
        "answers": _encoded(indices, "u2"),
        "logp": _encoded(np.where(np.isnan(logp), _NO_LOGP, logp), "i2"),
        "listed": _encoded(table.listed, "u1"),
        **_common(grid, texts, indices),
    }


def _run(run):
    """Returns what the page says of a run."""
    return {
        "run": run["run"],
        "did": [name for name, value in run["flags"].items() if name.startswith("do_") and value],
        "versions": {name: run["versions"].get(name) for name in _VERSIONS},
        "inputs": run["inputs"],
        "flags": run["flags"],
    }


def _effects(rows) -> Dict[str, List[list]]:
    """Returns {metric: values of `_EFFECT` of each cell}."""
    by_metric = {}
    for row in rows:
        values = [_json(getattr(row, name)) for name in _EFFECT]
        by_metric.setdefault(row.metric, []).append(values)
    return by_metric


def _distinct_answers(scores, answers):
    """Returns the distinct [answer, score of each metric] of each question, and their indices.

    The indices are `[1+C, Q]`.
    """
    distinct, indices = [], np.zeros((len(answers), len(scores.ids)), int)
    metrics = [values.round(6).T.tolist() for values in scores.metrics.values()]
    for place, (texts, *values) in enumerate(zip(zip(*answers), *metrics)):
        found = {}
        indices[:, place] = [found.setdefault(key, len(found)) for key in zip(texts, *values)]
        distinct.append(list(found))
    return distinct, indices


def _common(grid, texts, indices):
    """Returns what the questions that a cell changes have in common, for each kind of change."""
    scores, kinds = grid.scores, {}
    features = common_features.make(texts, grid.table.types)
    clusters = scores.clusters(grid.run["flags"].get("cluster", "paragraph"))
    is_changed, every = indices[1:] != indices[0], np.ones(len(texts), bool)
    selections = {"changed": (is_changed, every)}
    if "em" in scores.metrics:
        is_right = scores.metrics["em"] == 1.0
        selections["lost"] = ~is_right[1:], is_right[0]
        selections["won"] = is_right[1:], ~is_right[0]
    for kind, (chosen, among) in selections.items():
        tests = [common_features.compare(features, each, among, clusters) for each in chosen]
        kinds[kind] = [[list(map(_json, row)) for row in rows] for rows in tests]
    return {"features": features.names, "common": kinds}
