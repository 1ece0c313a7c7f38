# SPDX-License-Identifier: Apache-2.0
"""The tables of --do_attention: attention.csv and attention_entropy.csv.

    attention.csv           layer,head,query,key,mass,uniform,lift
        mass      mean over the queries of a group of the probability of all keys of another
        uniform   the mass if every query attended to all tokens of its window alike
        lift      mass / uniform
    attention_entropy.csv   layer,head,query,entropy,share
        entropy   mean over the queries, in nats
        share     of the entropy of uniform attention, log(tokens)

Layers and heads count from 0. A group without any token has empty values.
"""

import itertools
from typing import Dict, List, NamedTuple, Sequence, Tuple

import numpy as np

from attention_mask import BLOCKS, GROUPS
from mrc.answers import comparison
from mrc.answers.tables import Column, Table
from mrc.cells import BASELINE
from mrc.util.errors import InputError

KEY_GROUPS, QUERY_GROUPS = GROUPS, GROUPS[:-1]  # padding is no query
_MOST = 10**4 - 1  # layers or heads in a file
_REMEDY = "pass the attention.csv that --do_attention writes"
_LABELS = [Column("layer", int, least=0, most=_MOST), Column("head", int, least=0, most=_MOST), Column("query")]
_VALUES = {  # earlier versions wrote only the first
    "mass": Column("mass", float, ".6f", least=0.0),
    "uniform": Column("uniform", float, ".6f"),
    "lift": Column("lift", float, ".4f"),
}


def _table(values):
    columns = [*_LABELS, Column("key"), *(_VALUES[name] for name in values)]
    return Table("table of attention", _REMEDY, columns)


DIFFERENCES = Table(
    "table of differences of attention",
    "run compare.py again",
    [
        *(Column(name, int, least=0, most=_MOST) for name in ("layer_a", "layer_b")),
        Column("zone", choices=tuple(BLOCKS)),
        *(Column(name, float, ".6f") for name in ("mass_a", "mass_b", "difference")),
    ],
)
_ENTROPIES = Table("table of entropies", _REMEDY, [*_LABELS, Column("entropy", float, ".6f"), Column("share", float, ".6f")])


class Uniform(NamedTuple):
    """Uniform attention, in which every query attends to all tokens of its window alike.

    Attributes:
      masses: [4 + S, 5 + S], of query groups and key groups, and of S sets after them.
      entropies: [4 + S], of query groups and sets, in nats.
    """

    masses: np.ndarray
    entropies: np.ndarray


def uniform_attention(tokens: np.ndarray) -> Uniform:
    """Returns the `Uniform` attention over windows.

    Args:
      tokens: [W, 4 + S], of each query group and set in each window; padding is no token.
    """
    tokens, groups = np.asarray(tokens, float), len(QUERY_GROUPS)
    lengths, totals = tokens[:, :groups].sum(axis=1), tokens.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):  # a group without tokens
        masses = tokens.T @ (tokens / lengths[:, np.newaxis]) / totals[:, np.newaxis]
        entropies = tokens.T @ np.log(lengths) / totals
    return Uniform(np.insert(masses, groups, 0.0, axis=1), entropies)


def file_names(cell) -> List[str]:
    """Returns the names of both tables of a cell."""
    suffix = "" if cell == BASELINE else "_" + cell.name
    return [f"attention{suffix}.csv", f"attention_entropy{suffix}.csv"]


def _labelled(values, *groups):
    """Yields the rows of a table: layer, head and groups, then the values of the last axis."""
    labels = itertools.product(*map(range, values.shape[:2]), *groups)
    return ([*label, *row] for label, row in zip(labels, values.reshape(-1, values.shape[-1])))


def to_csv(masses: np.ndarray, entropies: np.ndarray, uniform: Uniform, sets: Sequence[str] = ()) -> Tuple[str, str]:
    """Returns the texts of both tables.

    Args:
      masses: [L, N, 4 + S, 5 + S].
      entropies: [L, N, 4 + S].
      uniform: of the same groups and sets.
      sets: names of the S sets of tokens after the groups.
    """
    queries, keys = QUERY_GROUPS + tuple(sets), KEY_GROUPS + tuple(sets)
    masses, entropies = np.maximum(masses, 0.0), np.maximum(entropies, 0.0)  # -1e-9 is rounding
    expected = np.broadcast_to(uniform.masses, masses.shape)
    with np.errstate(invalid="ignore", divide="ignore"):
        lifts = np.where(expected > 0.0, masses / expected, np.nan)
        shares = entropies / uniform.entropies
    return (
        _table(_VALUES).to_csv(_labelled(np.stack([masses, expected, lifts], axis=-1), queries, keys)),
        _ENTROPIES.to_csv(_labelled(np.stack([entropies, shares], axis=-1), queries)),
    )


def read(path: str, value: str = "mass") -> Dict[Tuple[str, str], np.ndarray]:
    """Returns {(query set, key set): values [L, N]} of an attention.csv, NaN where empty.

    Args:
      path: of the table.
      value: "mass", "uniform" or "lift".
    """
    values = {(query, key, layer, head): each for layer, head, query, key, each in _table([value]).read(path)}
    shape = [1 + max((label[axis] for label in values), default=-1) for axis in (2, 3)]
    sets = tuple(dict.fromkeys(key for _, key, *_ in values if key not in KEY_GROUPS))
    pairs = list(itertools.product(QUERY_GROUPS + sets, KEY_GROUPS + sets))
    places = list(itertools.product(*map(range, shape)))
    if not values or set(values) != {pair + place for pair in pairs for place in places}:
        raise InputError(f"{path} lacks rows of some layers, heads or groups; {_REMEDY}")
    return {pair: np.array([values[pair + place] for place in places]).reshape(shape) for pair in pairs}


def differences(a: Dict, b: Dict) -> List[list]:
    """Returns the rows of `DIFFERENCES` of two tables as `read` returns them.

    Masses are of the zones' blocks, means over the heads; layers match by relative depth.
    """
    rows = []
    for zone, block in BLOCKS.items():
        of_a, of_b = a[block].mean(axis=1), b[block].mean(axis=1)
        for one, other in comparison.same_depth(len(of_a), len(of_b)):
            masses = float(of_a[one]), float(of_b[other])
            rows.append([one, other, zone, *masses, masses[0] - masses[1]])
    return rows
