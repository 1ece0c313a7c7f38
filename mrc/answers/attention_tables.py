# SPDX-License-Identifier: Apache-2.0
"""The tables of --do_attention: attention.csv and attention_entropy.csv.

    layer,head,query,key,mass        mass: mean over the queries of a group of the summed
    0,0,question,passage,0.804420    probability of all keys of the other
    layer,head,query,entropy         entropy: mean over the queries, in nats
    0,0,question,3.912023

Layers and heads count from 0. A group without any token has empty values.
"""

import csv
import io
import itertools
import re
from typing import Dict, List, Sequence, Tuple

import numpy as np

from attention_mask import GROUPS, PADDING
from mrc.cells import BASELINE
from mrc.util import files
from mrc.util.errors import InputError

KEY_GROUPS, QUERY_GROUPS = GROUPS, GROUPS[:-1]  # padding is no query
_HEADER = ["layer", "head", "query", "key", "mass"]
_NAME = re.compile("[a-z][a-z0-9_]*$")
_MOST = 10**4  # layers or heads in a file
_REMEDY = "pass the attention.csv that --do_attention writes"


def file_names(cell) -> List[str]:
    """Returns the names of both tables of a cell."""
    suffix = "" if cell == BASELINE else "_" + cell.name
    return [f"attention{suffix}.csv", f"attention_entropy{suffix}.csv"]


def _text(value):
    # A tiny negative number is rounding.
    return "" if np.isnan(value) else f"{max(value, 0.0):.6f}"


def to_csv(masses: np.ndarray, entropies: np.ndarray, sets: Sequence[str] = ()) -> Tuple[str, str]:
    """Returns the texts of both tables.

    Args:
      masses: [L, N, 4 + S, 5 + S].
      entropies: [L, N, 4 + S].
      sets: names of the S sets of tokens after the groups.
    """
    texts, queries, keys = [], QUERY_GROUPS + tuple(sets), KEY_GROUPS + tuple(sets)
    for header, values, groups in (
        (_HEADER, masses, (queries, keys)),
        (["layer", "head", "query", "entropy"], entropies, (queries,)),
    ):
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(header)
        labels = itertools.product(*map(range, values.shape[:2]), *groups)
        for label, value in zip(labels, values.ravel()):
            writer.writerow([*label, _text(value)])
        texts.append(buffer.getvalue())
    return tuple(texts)


def read(path: str) -> Dict[Tuple[str, str], np.ndarray]:
    """Returns {(query set, key set): masses [L, N]} of an attention.csv, NaN where empty."""
    text = files.read_text(path, "attention table")
    rows = [] if "\0" in text else list(csv.reader(io.StringIO(text)))
    if not rows or rows[0] != _HEADER:
        raise InputError(
            f"{path} is not a table of attention, which begins with the line "
            f'"{",".join(_HEADER)}"; {_REMEDY}'
        )
    values = {}
    for line, row in enumerate(rows[1:], 2):
        try:
            layer, head, query, key, mass = row
            place = int(layer), int(head)
            value = float(mass) if mass else np.nan
            if not all(0 <= each < _MOST for each in place) or not (np.isnan(value) or 0 <= value):
                raise ValueError
            if query == PADDING or not all(_NAME.match(name) for name in (query, key)):
                raise ValueError
        except ValueError:
            raise InputError(
                f'{path}, line {line}: "{",".join(row)[:80]}" is not a layer, a head, two groups '
                f"of tokens and a mass; {_REMEDY}"
            )
        values[(query, key) + place] = value
    shape = [1 + max((place[axis] for place in values), default=-1) for axis in (2, 3)]
    sets = tuple(dict.fromkeys(key for _, key, *_ in values if key not in KEY_GROUPS))
    pairs = list(itertools.product(QUERY_GROUPS + sets, KEY_GROUPS + sets))
    wanted = {pair + place for pair in pairs for place in itertools.product(*map(range, shape))}
    if not values or set(values) != wanted:
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
