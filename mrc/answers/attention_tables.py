# SPDX-License-Identifier: Apache-2.0
"""The tables of --do_attention: attention.csv and attention_entropy.csv.

    layer,head,query,key,mass        mass: mean over the queries of a group of the summed
    0,0,question,passage,0.804420    probability of all keys of the other
    layer,head,query,entropy         entropy: mean over the queries, in nats
    0,0,question,3.912023

Layers and heads count from 0. A group without any token has empty values.
"""

import itertools
from typing import Dict, List, Sequence, Tuple

import numpy as np

from attention_mask import GROUPS
from mrc.answers.tables import Column, Table
from mrc.cells import BASELINE
from mrc.util.errors import InputError

KEY_GROUPS, QUERY_GROUPS = GROUPS, GROUPS[:-1]  # padding is no query
_MOST = 10**4 - 1  # layers or heads in a file
_REMEDY = "pass the attention.csv that --do_attention writes"
_LABELS = [
    Column("layer", int, least=0, most=_MOST),
    Column("head", int, least=0, most=_MOST),
    Column("query"),
]
MASSES = Table(
    "table of attention",
    _REMEDY,
    [*_LABELS, Column("key"), Column("mass", float, ".6f", least=0.0)],
)
ENTROPIES = Table("table of entropies", _REMEDY, [*_LABELS, Column("entropy", float, ".6f")])


def file_names(cell) -> List[str]:
    """Returns the names of both tables of a cell."""
    suffix = "" if cell == BASELINE else "_" + cell.name
    return [f"attention{suffix}.csv", f"attention_entropy{suffix}.csv"]


def _labelled(values, *groups):
    """Yields the rows of a table: layer, head and groups, then the value."""
    values = np.maximum(values, 0.0)  # a tiny negative number is rounding
    labels = itertools.product(*map(range, values.shape[:2]), *groups)
    return ([*label, value] for label, value in zip(labels, values.ravel()))


def to_csv(masses: np.ndarray, entropies: np.ndarray, sets: Sequence[str] = ()) -> Tuple[str, str]:
    """Returns the texts of both tables.

    Args:
      masses: [L, N, 4 + S, 5 + S].
      entropies: [L, N, 4 + S].
      sets: names of the S sets of tokens after the groups.
    """
    queries, keys = QUERY_GROUPS + tuple(sets), KEY_GROUPS + tuple(sets)
    return (
        MASSES.to_csv(_labelled(masses, queries, keys)),
        ENTROPIES.to_csv(_labelled(entropies, queries)),
    )


def read(path: str) -> Dict[Tuple[str, str], np.ndarray]:
    """Returns {(query set, key set): masses [L, N]} of an attention.csv, NaN where empty."""
    values = {
        (query, key, layer, head): mass for layer, head, query, key, mass in MASSES.read(path)
    }
    shape = [1 + max((label[axis] for label in values), default=-1) for axis in (2, 3)]
    sets = tuple(dict.fromkeys(key for _, key, *_ in values if key not in KEY_GROUPS))
    pairs = list(itertools.product(QUERY_GROUPS + sets, KEY_GROUPS + sets))
    if not values or set(values) != set(
        (*pair, *place) for pair in pairs for place in itertools.product(*map(range, shape))
    ):
        raise InputError(f"{path} lacks rows of some layers, heads or groups; {_REMEDY}")
    return {
        pair: np.array(
            [
                [values[pair + (layer, head)] for head in range(shape[1])]
                for layer in range(shape[0])
            ]
        )
        for pair in pairs
    }
