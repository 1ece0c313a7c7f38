# SPDX-License-Identifier: Apache-2.0
"""Attention zones, and the grammar of the flags that name the cells of a grid.

A zone is a set of (query, key) pairs given by the roles of the two tokens: Q, a question token; P, a passage token;
`[CLS]`, both `[SEP]` and padding have neither role (Cui et al., 2022, https://doi.org/10.1016/j.isci.2022.104176).

    zone  query       key         the zones do not overlap, so a union adds each pair once
    q2    Q           Q
    q2p   all but P   P
    p2q   all but Q   Q
    p2    P           P
    all   every score is *replaced* by -10000 above its value, padding included, as in the released code
"""

import collections
import re
from typing import FrozenSet, NamedTuple

import tensorflow.compat.v1 as tf

from modeling import MASKED
from mrc.util.errors import InputError

ZONES = ("all", "q2", "q2p", "p2q", "p2")  # in the order of the published table
EACH = "each"
_MOST_DIGITS = 9  # of a layer's number
_MOST_SHOWN = 80  # characters of a flag in a message


class Roles(NamedTuple):
    """1.0 where a token has the role and 0.0 elsewhere, `[B, T]` each."""

    question: tf.Tensor
    passage: tf.Tensor


class Cell(NamedTuple):
    """One setting of the mask.

    Attributes:
      zones: names of the masked zones, none for the baseline.
      layers: numbers of the masked layers.
      zone_label, layer_label: how the flags name them, empty where no flag was given.
    """

    zones: FrozenSet[str] = frozenset()
    layers: FrozenSet[int] = frozenset()
    zone_label: str = ""
    layer_label: str = ""

    @property
    def name(self):
        """The part of a file name that identifies the cell."""
        return f"layer{self.layer_label}_{self.zone_label}"

    def zones_at(self, layer):
        """Returns the zones masked in `layer`, possibly none."""
        return self.zones if layer in self.layers else frozenset()


BASELINE = Cell()


def find_roles(input_mask, segment_ids):
    """Returns the `Roles` of tokens by their position in `[CLS] question [SEP] passage [SEP] padding`.

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
    """The queries [B, T] that lose their keys of `role`: those in the role, those out of it, or all."""
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
    if "all" in zones and len(set(zones)) > 1:
        raise InputError(
            f"--mask_zone={text}: all replaces the other zones and cannot be joined to them; "
            "every zone at once is q2+q2p+p2q+p2"
        )
    return frozenset(zones)


def _read_layers(text, num_layers):
    """`"8+9"` -> frozenset of layer numbers."""
    layers = _parts(text, "+", "mask_layer")
    for layer in layers:
        if not re.match("[0-9]{1,%d}$" % _MOST_DIGITS, layer) or int(layer) >= num_layers:
            raise InputError(
                '--mask_layer: there is no layer "%s"; the layers are 0 to %d, or "%s" for a cell '
                "of each" % (_shortened(layer), num_layers - 1, EACH)
            )
    return frozenset(int(layer) for layer in layers)


def _layer_choices(mask_layer, num_layers):
    """Returns (label, layers) for every cell that the flag names; all layers at once where it is not given."""
    if mask_layer is None:
        return [("", frozenset(range(num_layers)))]
    choices = []  # labels are made from the numbers, so that 9+8 and 08+9 are one cell
    for label in _parts(mask_layer, ",", "mask_layer"):
        labels = [str(layer) for layer in range(num_layers)] if label == EACH else [label]
        choices.extend(_read_layers(each, num_layers) for each in labels)
    return [("+".join(str(layer) for layer in sorted(layers)), layers) for layers in choices]


def read_cells(mask_zone, mask_layer, num_layers):
    """Returns the list of `Cell` that the two mask flags name.

    No flag is the baseline alone; one cell is that cell alone, as released; a grid of several begins with the baseline.

    Args:
      mask_zone: None, or zones: a comma separates cells, a plus joins zones in one.
      mask_layer: None (all layers at once), or layers: a comma separates cells, a plus joins, "each" is every layer.
      num_layers: number of layers of the model.

    Raises:
      InputError: a zone or layer does not exist, or a layer is given without a zone.
    """
    if mask_zone is None:
        if mask_layer is not None:
            raise InputError(
                "--mask_layer={} needs a zone to mask; add --mask_zone ({})".format(
                    mask_layer, ", ".join(ZONES)
                )
            )
        return [BASELINE]
    by_meaning = collections.OrderedDict()
    zone_choices = [
        (
            "+".join(collections.OrderedDict.fromkeys(_parts(label, "+", "mask_zone"))),
            _read_zones(label),
        )
        for label in _parts(mask_zone, ",", "mask_zone")
    ]
    for layer_label, layers in _layer_choices(mask_layer, num_layers):
        for zone_label, zones in zone_choices:
            by_meaning.setdefault((zones, layers), Cell(zones, layers, zone_label, layer_label))
    cells = list(by_meaning.values())
    return cells if len(cells) == 1 else [BASELINE] + cells
