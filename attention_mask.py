# SPDX-License-Identifier: Apache-2.0
"""Attention zones, and the grammar of the flags that name the cells of a grid.

Masking a zone knocks out one path of information: the queries of the zone no longer see its keys in
the masked layers, and everything else runs as before (attention knockout; Geva et al., 2023,
https://arxiv.org/abs/2304.14767). What the answers lose is what this path carried at this place and
the rest of the model could not supply in another way. Three readings are therefore wrong. A loss of
nothing does not show that the path is unused: another layer may carry the same information, which
is why windows of layers (`each:3`) are masked together. Losses do not add up over zones or layers.
And softmax gives the attention that the zone had to the keys that are left, so a masked query is
not one that sees less, but one that sees the rest more strongly.

A zone is a set of pairs of groups of tokens (Cui et al., 2022,
https://doi.org/10.1016/j.isci.2022.104176):

    zone  query             key       zones do not overlap, so a union masks each pair once
    q2    question          question
    q2p   all but passage   passage
    p2q   all but question  question
    p2    passage           passage
    all   the bias is *replaced* by -10000, padding included, as in the released code
    off   no pairs: the context vectors of the heads are zero (https://arxiv.org/abs/1905.10650)
"""

import re
from typing import FrozenSet, NamedTuple, Optional, Tuple

import numpy as np
import tensorflow.compat.v1 as tf

from modeling import MASKED
from mrc.util.errors import InputError

# The groups of tokens, of which every token is in one.
GROUPS = QUESTION, PASSAGE, CLS, SEP, PADDING = ("question", "passage", "cls", "sep", "padding")
EACH = "each"
_MOST_DIGITS = 9  # of the number of a layer or head
_MOST_SHOWN = 80  # characters of a flag in a message


class Mask(NamedTuple):
    """What happens in a masked layer.

    Attributes:
      pairs: the (query group, key group)s that are masked.
      replaces_bias: whether one constant replaces the whole bias, so that padding is attended to.
      context: replaces each element of the contexts of the heads; None to keep them.
      heads: the heads in which this happens; None for all.
    """

    pairs: FrozenSet[Tuple[str, str]] = frozenset()
    replaces_bias: bool = False
    context: Optional[float] = None
    heads: Optional[FrozenSet[int]] = None

    @property
    def queries(self) -> FrozenSet[str]:
        """The groups of the queries that lose keys."""
        return frozenset(query for query, _ in self.pairs)


NO_MASK = Mask()


def _all_but(group):
    return tuple(other for other in GROUPS if other != group)


def _zone(queries, keys):
    return Mask(frozenset((query, key) for query in queries for key in keys))


# Every zone; the first five in the order of the published table.
ZONES = {
    "all": Mask(replaces_bias=True),
    "q2": _zone([QUESTION], [QUESTION]),
    "q2p": _zone(_all_but(PASSAGE), [PASSAGE]),
    "p2q": _zone(_all_but(QUESTION), [QUESTION]),
    "p2": _zone([PASSAGE], [PASSAGE]),
    "off": Mask(context=0.0),
}
PUBLISHED_ZONES = tuple(ZONES)[:5]
# {zone: (query group, key group)} of the zones that mask one block of the question and the passage.
BLOCKS = {
    zone: blocks[0]
    for zone, mask in ZONES.items()
    for blocks in [[pair for pair in mask.pairs if set(pair) <= {QUESTION, PASSAGE}]]
    if len(blocks) == 1
}


def _joins(zone):
    """Whether a zone joins with others."""
    return bool(ZONES[zone].pairs)


class Label(NamedTuple):
    """How the flags name a cell, each part empty where no flag was given: layers, heads, zones.

    >>> Label("0+1", "3", "p2q").name
    'layer0+1_p2q_head3'
    >>> Label.parse("layer0+1_p2q_head3").title
    'p2q, layer 1+2, head 4'
    """

    layer: str = ""
    head: str = ""
    zone: str = ""

    @property
    def name(self) -> str:
        """The part of a file name that identifies the cell."""
        heads = f"_head{self.head}" if self.head else ""
        return f"layer{self.layer}_{self.zone}{heads}"

    @staticmethod
    def parse(name: str) -> "Label":
        """Returns the label with this `name`."""
        layer, _, rest = name[len("layer") :].partition("_")
        zone, _, head = rest.partition("_head")
        return Label(layer, head, zone)

    @property
    def title(self) -> str:
        """The cell in words, with layers and heads from 1 as in figures."""
        if not self.zone:
            return "no mask"
        layer = f"layer {from_one(self.layer)}" if self.layer else "every layer"
        heads = f", head {from_one(self.head)}" if self.head else ""
        return f"{self.zone}, {layer}{heads}"


def from_one(label: str) -> str:
    """Returns the label of layers or heads, which counts from 0 as flags do, counted from 1.

    >>> from_one("0+11")
    '1+12'
    """
    return "+".join(str(int(number) + 1) for number in label.split("+"))


class Cell(NamedTuple):
    """One setting of the mask.

    Attributes:
      zones: names of the masked zones, none for the baseline.
      layers: numbers of the masked layers.
      heads: numbers of the masked heads in each of these layers, None for all.
      label: how the flags name them.
    """

    zones: FrozenSet[str] = frozenset()
    layers: FrozenSet[int] = frozenset()
    heads: Optional[FrozenSet[int]] = None
    label: Label = Label()

    @property
    def name(self) -> str:
        """The part of a file name that identifies the cell."""
        return self.label.name

    def mask_at(self, layer: int) -> Mask:
        """Returns what is masked in `layer`."""
        if layer not in self.layers:
            return NO_MASK
        masks = [ZONES[zone] for zone in self.zones]
        pairs = frozenset().union(*(mask.pairs for mask in masks))
        return masks[0]._replace(pairs=pairs, heads=self.heads)


BASELINE = Cell()


def find_groups(input_mask, segment_ids):
    """Returns 1.0 where a token is in a group and 0.0 elsewhere, [B, T, 5] for the five `GROUPS`.

    Tokens are told apart by their position in `[CLS] question [SEP] passage [SEP] padding`.

    Args:
      input_mask: [B, T], 1 on tokens and 0 on padding.
      segment_ids: [B, T], 0 through the first `[SEP]` and 1 through the last.
    """
    input_mask, segment_ids = tf.cast(input_mask, tf.int32), tf.cast(segment_ids, tf.int32)
    position = tf.cumsum(tf.ones_like(input_mask), axis=1, exclusive=True)
    tokens = tf.reduce_sum(input_mask, axis=1, keepdims=True)
    passage_start = tokens - tf.reduce_sum(segment_ids, axis=1, keepdims=True)

    def between(first, stop):
        return tf.cast(tf.logical_and(position >= first, position < stop), tf.float32)

    is_token = tf.cast(input_mask, tf.float32)
    question, passage = between(1, passage_start - 1), between(passage_start, tokens - 1)
    cls = between(0, 1) * is_token
    sep = is_token - question - passage - cls
    return tf.stack([question, passage, cls, sep, 1.0 - is_token], axis=2)


def group_of(groups, name):
    """Returns the column [B, T] of `find_groups` for one group."""
    return groups[..., GROUPS.index(name)]


def changed_bias(bias, mask, query_groups, key_groups):
    """Returns the attention bias under a `Mask`, broadcastable to [B, 1, R, K].

    A pair of tokens is masked where `queries @ table @ keys` is 1, with the mask as a 0/1 table of
    query groups x key groups.

    Args:
      bias: the bias without a mask, [B, 1, 1, K].
      mask: the `Mask`.
      query_groups: groups of the queries, [B, R, 5].
      key_groups: groups of the keys, [B, K, 5].
    """
    if mask.replaces_bias:
        return tf.fill([1, 1, 1, 1], MASKED)
    if not mask.pairs:
        return bias
    table = np.array(
        [[(query, key) in mask.pairs for key in GROUPS] for query in GROUPS], np.float32
    )
    with tf.name_scope("zone"):
        lost = tf.reduce_sum(query_groups[..., tf.newaxis] * table, axis=2)  # [B, R, 5]
        masked = tf.matmul(lost, key_groups, transpose_b=True)  # [B, R, K]
        return bias + MASKED * masked[:, tf.newaxis]


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
    for zone in zones:
        if not _joins(zone) and len(set(zones)) > 1:
            raise InputError(
                f"--mask_zone={_shortened(text)}: {zone} does not join with other zones; every "
                f"zone at once is {'+'.join(filter(_joins, ZONES))}"
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
                cell = Cell(zones, layers, heads, Label(layer_label, head_label, zone_label))
                by_meaning.setdefault(cell[:3], cell)
    cells = list(by_meaning.values())
    return cells if len(cells) == 1 else [BASELINE] + cells
