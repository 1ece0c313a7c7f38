# SPDX-License-Identifier: Apache-2.0
"""The score of every question in every cell of a grid: question_scores.npz.

    ids        [Q]        text: the questions
    passages   [Q]        int: number of the passage of each question, and
    articles   [Q]        int: of its article, from 0
    cells      [1+C, 3]   text: layer, head and zone of each cell, empty for the baseline, which
                          is the first
    em, f1     [1+C, Q]   float64, 0 to 1: exact match and F1; absent for data without answers
    own        [1+C, Q]   float64, 0 to 1: F1 of the answer with the answer of the baseline
    layers     []         int: number of layers of the model

Whatever compares readers question by question reads this file and needs no data.
"""

import io
import os
import zipfile
from typing import Dict, List, NamedTuple

import numpy as np

from mrc.cells import Label
from mrc.util import files
from mrc.util.errors import InputError

FILE = "question_scores.npz"
CLUSTERS = {"paragraph": "passages", "article": "articles"}
_ARRAYS = ("ids", "passages", "articles", "cells")


class QuestionScores(NamedTuple):
    """Scores by question; see the module for shapes.

    Attributes:
      ids, passages, articles: of the questions.
      cells: the `Label`s of the cells as in effects.csv, without the baseline.
      metrics: {metric: `[1+C, Q]`}, the baseline first.
      layers: of the model; 0 if the file does not say.
    """

    ids: np.ndarray
    passages: np.ndarray
    articles: np.ndarray
    cells: List[Label]
    metrics: Dict[str, np.ndarray]
    layers: int = 0

    def clusters(self, cluster: str) -> np.ndarray:
        """Returns `[Q]`, the number of the "paragraph" or "article" of each question."""
        return getattr(self, CLUSTERS[cluster])

    def differences(self, metric: str) -> np.ndarray:
        """Returns `[C, Q]`, the scores of the cells minus those of the baseline."""
        scores = self.metrics[metric]
        return scores[1:] - scores[0]

    def subset(self, chosen: np.ndarray) -> "QuestionScores":
        """Returns the scores of the chosen questions.

        Args:
          chosen: bools, `[Q]`, or the indices of the questions.
        """
        return self._replace(
            ids=self.ids[chosen],
            passages=self.passages[chosen],
            articles=self.articles[chosen],
            metrics={metric: values[:, chosen] for metric, values in self.metrics.items()},
        )


def write(folder: str, scores: QuestionScores):
    """Writes `scores` to `FILE` in `folder`, atomically."""
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        ids=scores.ids,
        passages=scores.passages,
        articles=scores.articles,
        cells=np.array([Label(), *scores.cells]),
        layers=scores.layers,
        **scores.metrics,
    )
    files.write(os.path.join(folder, FILE), buffer.getvalue(), binary=True)


def read(path: str) -> QuestionScores:
    """Returns the scores in the file at `path`; raises an `InputError` if it is another file."""
    data = files.read_bytes(path, "file of question scores")
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            values = dict(arrays)
        ids, passages, articles, cells = (values.pop(name) for name in _ARRAYS)
        layers, shape = int(values.pop("layers", 0)), (len(cells), len(ids))
        if cells.shape[1:] != (3,) or any(each.shape != shape for each in values.values()):
            raise ValueError
    except (ValueError, TypeError, KeyError, OSError, EOFError, AttributeError, zipfile.BadZipFile):
        raise InputError(f"{path} is not a file of question scores; rerun with --do_eval to write it again")
    labels = [Label(*map(str, cell)) for cell in cells[1:]]
    return QuestionScores(ids, passages, articles, labels, values, layers)
