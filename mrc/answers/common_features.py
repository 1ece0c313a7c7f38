# SPDX-License-Identifier: Apache-2.0
"""What questions that a mask changes have in common, each feature tested against noise.

    overlap          share of the question's content words in the sentences with an answer
    distance         words from the answer to the nearest content word of the question
    answer length    words of the first answer
    question length  words
    passage length   words
    type: ...        1 for questions of the type, else 0

The test of a feature x and an outcome y is the score test of a logistic regression: the sums of
(x - mean) (y - mean) over the questions of each passage are tested by sign flips, adjusted for all
features of the cell (see `resampling.sign_flips`; Kline and Santos, 2012, doi
10.1515/2156-6674.1006).
"""

import bisect
import re
from typing import List, NamedTuple, Sequence, Tuple

import numpy as np

from mrc.answers import resampling
from mrc.data import sentences, token_sets

NAMES = ("overlap", "distance", "answer length", "question length", "passage length")
_DRAWS = resampling.PERMUTATIONS


class Features(NamedTuple):
    """Features of the questions; `values` is `[F, Q]`, NaN where a feature is not defined."""

    names: List[str]
    values: np.ndarray


def make(texts: Sequence[Tuple[str, str, Sequence[str]]], types: Sequence[str]) -> Features:
    """Returns the features of questions.

    Args:
      texts: `[Q]` (passage, question, answers).
      types: `[Q]`, of the questions.
    """
    names = list(dict.fromkeys(types))
    values = np.array([of_question(*each) for each in texts]).T
    members = np.array([[float(each == name) for each in types] for name in names])
    return Features([*NAMES, *(f"type: {name}" for name in names)], np.vstack([values, members]))


def of_question(context: str, question: str, answers: Sequence[str]) -> List[float]:
    """Returns the values of `NAMES`.

    >>> of_question("The mill burned. It stood by the old bridge.", "What was the mill by?",
    ...             ["old bridge"])
    [0.0, 6.0, 2.0, 5.0, 9.0]
    """
    starts = [start for start, _ in sentences.words(context)]
    overlap = token_sets.overlap_spans(context, question)
    asked = _words(question) - sentences.FUNCTION_WORDS
    places = [match.span() for answer in filter(None, answers) for match in re.finditer(re.escape(answer), context)]
    near_answer = token_sets.sentence_spans(context, places)
    near = {
        context[start:stop].casefold()
        for start, stop in overlap
        if any(first <= start < last for first, last in near_answer)
    }
    distances = [
        max(at - bisect.bisect_left(starts, stop) + 1, bisect.bisect_left(starts, start) - at, 0)
        for at in (bisect.bisect_left(starts, start) for start, _ in overlap)
        for start, stop in places
    ]
    return [
        len(near) / len(asked) if asked and places else np.nan,
        float(min(distances, default=np.nan)),
        float(len(list(sentences.words(answers[0])))) if answers else np.nan,
        float(len(list(sentences.words(question)))),
        float(len(starts)),
    ]


def _words(text):
    return {text[start:stop].casefold() for start, stop in sentences.words(text)}


def compare(features: Features, chosen: np.ndarray, among: np.ndarray, clusters: np.ndarray):
    """Returns whether features tell the chosen questions from the others.

    Args:
      features: of the questions.
      chosen: bools `[Q]`.
      among: bools `[Q]`, the questions that could have been chosen.
      clusters: `[Q]`, the passage or article of each question.

    Returns:
      `[F]` (mean of the chosen, mean of the others, adjusted p); empty if all or none are chosen.
    """
    x, y = features.values[:, among], chosen[among].astype(float)
    if not 0.0 < y.sum() < len(y):
        return []
    known = ~np.isnan(x)
    x = np.where(known, x, 0.0)
    means = [
        np.divide(x @ part, known @ part, out=np.full(len(x), np.nan), where=known @ part > 0.0)
        for part in (y, 1.0 - y, np.ones(len(y)))
    ]
    # The outcome is centred on the questions for which the feature is known.
    rate = (known @ y) / np.maximum(known.sum(axis=1), 1)
    products = known * (x - np.nan_to_num(means[2])[:, None]) * (y - rate[:, None])
    sums, _ = resampling.cluster_sums(products, clusters[among])
    return list(zip(*means[:2], resampling.sign_flips(sums, _DRAWS).p_adjusted))
