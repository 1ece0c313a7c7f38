# SPDX-License-Identifier: Apache-2.0
"""An interactive page of the attention of one window: a single file without network access.

Each probability p is a byte, round(255 sqrt(p)), so that those of long windows keep their size. The
sums by group of tokens are taken before that.
"""

import base64
import itertools
import json
import os
import re
from typing import Callable, Dict

import numpy as np

from attention_mask import groups_of, read_mask
from mrc.answers.attention_tables import KEY_GROUPS, QUERY_GROUPS
from mrc.cells import Label
from mrc.util import files
from mrc.util.errors import InputError

_TEMPLATE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "attention_page.html")
_DATA, _BYTES = '"PAGE_DATA"', "PAGE_BYTES"
_PLACEHOLDER = re.compile(f"{_DATA}|{_BYTES}")


def quantise(attention: np.ndarray) -> np.ndarray:
    """Returns the bytes of probabilities; (byte / 255)^2 is the probability again."""
    return np.rint(255.0 * np.sqrt(np.clip(attention, 0.0, 1.0))).astype(np.uint8)


def group_masses(attention: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Returns the mean mass [L, N, 4, 5] of each query and key group, 0 for no query."""
    member = (groups[:, np.newaxis] == np.arange(len(KEY_GROUPS))).astype(np.float64)
    queries = member[:, : len(QUERY_GROUPS)]
    means = queries / np.maximum(queries.sum(axis=0), 1.0)
    return np.einsum("qa,lhqk,kb->lhab", means, attention, member)


def _masked_pairs(zone):
    """Returns the (query group, key group) that a zone masks, none for sets of one's own."""
    try:
        pairs = read_mask(zone).pairs if zone else ()
    except InputError:
        return []
    blocks = set()
    for pair in pairs:
        blocks.update(itertools.product(groups_of(pair.query), groups_of(pair.key)))
    return sorted((KEY_GROUPS.index(query), KEY_GROUPS.index(key)) for query, key in blocks)


def make(window, masked_answers: Dict[Label, str], reader: str, f1: Callable[[str, str], float]) -> str:
    """Returns the page.

    Args:
      window: `attention_window.Window`.
      masked_answers: {`Label` of a cell: answer to the question}.
      reader: names the reader.
      f1: the F1 of two answers, see `Dataset.answer_f1`.
    """
    layers, heads = window.attention.shape[:2]
    data = {
        "id": window.question_id,
        "question": window.question,
        "window": window.number + 1,
        "windows": window.of,
        "layers": layers,
        "heads": heads,
        "tokens": window.tokens,
        "groups": window.groups.tolist(),
        "groupNames": KEY_GROUPS,
        "masses": np.round(group_masses(window.attention, window.groups), 4).tolist(),
        "answer": window.answer,
        "predicted": window.predicted,
        "gold": window.gold,
        "goldAnswers": window.gold_answers,
        "reader": reader,
        "masked": [
            [
                label.title,
                text,
                max((f1(gold, text) for gold in window.gold_answers), default=None),
                [int(layer) for layer in label.layer.split("+") if layer],
                _masked_pairs(label.zone),
            ]
            for label, text in masked_answers.items()
        ],
    }
    # A script ends at the first </script, even within a string.
    text = json.dumps(data, ensure_ascii=True).replace("<", "\\u003c")
    encoded = base64.b64encode(quantise(window.attention).tobytes()).decode("ascii")
    values = {_DATA: text, _BYTES: encoded}
    # In one pass, because the text may contain the name of a placeholder.
    return _PLACEHOLDER.sub(lambda match: values[match.group()], files.read_text(_TEMPLATE))
