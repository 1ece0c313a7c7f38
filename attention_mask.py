# SPDX-License-Identifier: Apache-2.0
"""Attention zones, and the grammar of the flags that name the cells of a grid.

A zone is a set of (query, key) pairs given by the roles of the two tokens: Q, a question token; P,
a passage token; `[CLS]`, both `[SEP]` and padding have neither role (Cui et al., 2022,
https://doi.org/10.1016/j.isci.2022.104176).

    zone  query       key         the zones do not overlap, so a union adds each pair once
    q2    Q           Q
    q2p   all but P   P
    p2q   all but Q   Q
    p2    P           P
    all   the bias is *replaced* by -10000, padding included, as in the released code
    off   no pairs: the context vectors of the heads are zero (https://arxiv.org/abs/1905.10650)
"""

import re
from typing import FrozenSet, NamedTuple, Optional

import tensorflow.compat.v1 as tf

from modeling import MASKED
from mrc.util.errors import InputError

OFF = "off"
ZONES = ("all", "q2", "q2p", "p2q", "p2", OFF)  # the first five in the order of the published table
ALONE = ("all", OFF)  # zones that do not join with others
EACH = "each"
_MOST_DIGITS = 9  # of the number of a layer or head
_MOST_SHOWN = 80  # characters of a flag in a message


class Roles(NamedTuple):
    """1.0 where a token has the role and 0.0 elsewhere, `[B, T]` each."""

    question: tf.Tensor
    passage: tf.Tensor


class Mask(NamedTuple):
    """What a cell masks in one layer: zones, and the heads in which it masks them, None for all
    heads.
    """

    zones: FrozenSet[str] = frozenset()
    heads: Optional[FrozenSet[int]] = None


NO_MASK = Mask()


class Cell(NamedTuple):
    """One setting of the mask.

    Attributes:
      zones: names of the masked zones, none for the baseline.
      layers: numbers of the masked layers.
      heads: numbers of the masked heads in each of these layers, None for all.
      zone_label, layer_label, head_label: how the flags name them, empty where no flag was given.
    """

    zones: FrozenSet[str] = frozenset()
    layers: FrozenSet[int] = frozenset()
    heads: Optional[FrozenSet[int]] = None
    zone_label: str = ""
    layer_label: str = ""
    head_label: str = ""

    @property
    def name(self):
        """The part of a file name that identifies the cell."""
        heads = f"_head{self.head_label}" if self.head_label else ""
        return f"layer{self.layer_label}_{self.zone_label}{heads}"

    def mask_at(self, layer: int) -> Mask:
        """Returns what is masked in `layer`."""
        return Mask(self.zones, self.heads) if layer in self.layers else NO_MASK


BASELINE = Cell()


def find_roles(input_mask, segment_ids):
    """Returns the `Roles` of tokens by their position in `[CLS] question [SEP] passage [SEP]
    padding`.

    Args:
      input_mask: [B, T], 1 on tokens and 0 on padding.
      segment_ids: [B, T], 0 through the first `[SEP]` and 1 through the last.
    """
    input_mask, segment_ids = tf.cast(input_mask, tf.int32), tf.cast(segment_ids, tf.int32)
    place = tf.cumsum(tf.ones_like(input_mask), axis=1, exclusive=True)
    tokens = tf.reduce_sum(input_mask, axis=1, keepdims=True)
    passage_start = tokens - tf.reduce_sum(segment_ids, axis=1, keepdims=True)

    def between(first, stop):
        return tf.cast(tf.logical_and(place >= first, place < stop), tf.float32)

    return Roles(question=between(1, passage_start - 1), passage=between(passage_start, tokens - 1))


def _queries_kept_from(role, inside, outside):
    """The queries [B, T] that lose their keys of `role`: those in the role, those out of it, or
    all.
    """
    if inside and outside:
        return tf.ones_like(role)
    return role if inside else 1.0 - role


def change_bias(bias, zones, query_roles, key_roles):
    """Returns the attention bias with `zones` masked, broadcastable to [B, N, R, K].

    Args:
      bias: the bias without a mask, [B, 1, 1, K].
      zones: set of zone names; nothing changes where it is empty.
      query_roles: `Roles` of the queries, [B, R].
      key_roles: `Roles` of the keys, [B, K].
    """
    if "all" in zones:
        return tf.fill([1, 1, 1, 1], MASKED)
    for queries, keys, inside, outside in (
        (query_roles.question, key_roles.question, "q2" in zones, "p2q" in zones),
        (query_roles.passage, key_roles.passage, "p2" in zones, "q2p" in zones),
    ):
        if inside or outside:
            queries = _queries_kept_from(queries, inside, outside)
            bias += (
                MASKED * queries[:, tf.newaxis, :, tf.newaxis] * keys[:, tf.newaxis, tf.newaxis, :]
            )
    return bias


def _shortened(text):
    return text if len(text) <= _MOST_SHOWN else text[:_MOST_SHOWN] + "..."


def _parts(text, separator, flag):
    parts = [part.strip() for part in text.split(separator)]
    if not all(parts):
        raise InputError(
            f"--{flag}={_shortened(text)} has an empty part; write it as in "
            "--mask_zone=q2,p2q+p2 or --mask_layer=0,8+9"
        )
    return parts


def _read_zones(text):
    """`"p2q+p2"` -> frozenset of zones."""
    zones = _parts(text, "+", "mask_zone")
    for zone in zones:
        if zone not in ZONES:
            raise InputError(
                '--mask_zone: there is no zone "{}"; the zones are {}'.format(
                    _shortened(zone), ", ".join(ZONES)
                )
            )
    for zone in ALONE:
        if zone in zones and len(set(zones)) > 1:
            raise InputError(
                f"--mask_zone={_shortened(text)}: {zone} does not join with other zones; every "
                "zone at once is q2+q2p+p2q+p2"
            )
    return frozenset(zones)


def _read_numbers(text, count, what):
    """`"8+9"` -> frozenset of numbers of layers or heads."""
    numbers = _parts(text, "+", f"mask_{what}")
    for number in numbers:
        if not re.match("[0-9]{1,%d}$" % _MOST_DIGITS, number) or int(number) >= count:
            raise InputError(
                f'--mask_{what}: there is no {what} "{_shortened(number)}"; the {what}s are 0 to '
                f'{count - 1}, or "{EACH}" for a cell of each'
            )
    return frozenset(int(number) for number in numbers)


def _windows(text, count):
    """`"each:3"` -> a frozenset for each layer of the layers around it, cut at both ends."""
    width = text[len(EACH) + 1 :]
    if not re.match("[0-9]{1,%d}$" % _MOST_DIGITS, width) or not int(width) % 2:
        raise InputError(
            f"--mask_layer={_shortened(text)}: the width of a window is an odd number of layers; "
            f"write it as in {EACH}:3"
        )
    reach = int(width) // 2
    return [
        frozenset(range(max(0, layer - reach), min(count, layer + reach + 1)))
        for layer in range(count)
    ]


def _choices(text, count, what):
    """Returns (label, numbers) for every choice of layers or heads that a flag names.

    Without the flag that is all of them at once: their numbers for layers, None for heads.
    """
    if text is None:
        return [("", frozenset(range(count)) if what == "layer" else None)]
    choices = []
    for part in _parts(text, ",", f"mask_{what}"):
        if part == EACH:
            choices.extend(frozenset([number]) for number in range(count))
        elif what == "layer" and part.startswith(EACH + ":"):
            choices.extend(_windows(part, count))
        else:
            choices.append(_read_numbers(part, count, what))
    # Labels are made from the numbers, so that 9+8 and 08+9 name one cell.
    return [("+".join(str(number) for number in sorted(numbers)), numbers) for numbers in choices]


def read_cells(mask_zone, mask_layer, num_layers, mask_head=None, num_heads=1):
    """Returns the list of `Cell` that the mask flags name.

    No flag is the baseline alone; one cell is that cell alone, as released; a grid of several
    begins with the baseline.

    Args:
      mask_zone: None, or zones: a comma separates cells, a plus joins zones in one.
      mask_layer: None (all layers at once), or layers: a comma separates cells, a plus joins,
        "each" is every layer, and "each:3" every layer with the window of three around it (Geva et
        al., 2023, https://arxiv.org/abs/2304.14767).
      num_layers: number of layers of the model.
      mask_head: None (all heads at once), or heads, like layers.
      num_heads: number of heads of a layer.

    Raises:
      InputError: a zone, layer or head does not exist, or a layer or head is given without a zone.
    """
    if mask_zone is None:
        for flag, value in (("mask_layer", mask_layer), ("mask_head", mask_head)):
            if value is not None:
                raise InputError(
                    f"--{flag}={_shortened(value)} needs a zone to mask; add --mask_zone "
                    f"({', '.join(ZONES)})"
                )
        return [BASELINE]
    zone_choices = [
        ("+".join(dict.fromkeys(_parts(label, "+", "mask_zone"))), _read_zones(label))
        for label in _parts(mask_zone, ",", "mask_zone")
    ]
    head_choices = _choices(mask_head, num_heads, "head")
    by_meaning = {}
    for layer_label, layers in _choices(mask_layer, num_layers, "layer"):
        for zone_label, zones in zone_choices:
            for head_label, heads in head_choices:
                heads = None if heads is not None and len(heads) == num_heads else heads
                cell = Cell(zones, layers, heads, zone_label, layer_label, head_label)
                by_meaning.setdefault(cell[:3], cell)
    cells = list(by_meaning.values())
    return cells if len(cells) == 1 else [BASELINE] + cells
