# SPDX-License-Identifier: Apache-2.0
"""The cells of a grid of masks, and the grammar of the flags that name them."""

import re
from typing import FrozenSet, Iterable, NamedTuple

from attention_mask import NO_MASK, ZONES, Mask, read_mask, shortened
from mrc.util.errors import InputError

EACH = "each"
_MOST_DIGITS = 9  # of the number of a layer or head


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
      mask: what is masked, nothing for the baseline.
      layers: numbers of the masked layers.
      label: how the flags name the cell.
    """

    mask: Mask = NO_MASK
    layers: FrozenSet[int] = frozenset()
    label: Label = Label()

    @property
    def name(self) -> str:
        """The part of a file name that identifies the cell."""
        return self.label.name

    def mask_at(self, layer: int) -> Mask:
        """Returns what is masked in `layer`."""
        return self.mask if layer in self.layers else NO_MASK


BASELINE = Cell()


def _parts(text, separator, flag):
    parts = [part.strip() for part in text.split(separator)]
    if not all(parts):
        raise InputError(f"--{flag}={shortened(text)} has an empty part; write it as in q2,p2q+p2 or 0,8+9")
    return parts


def _read_numbers(text, count, what):
    """`"8+9"` -> frozenset of numbers of layers or heads."""
    numbers = _parts(text, "+", f"mask_{what}")
    for number in numbers:
        if not re.match("[0-9]{1,%d}$" % _MOST_DIGITS, number) or int(number) >= count:
            ends = re.match(r"(\d{1,4})-(\d{1,4})$", number)
            hint = ""
            if ends and int(ends.group(1)) < int(ends.group(2)) < count:
                named = [str(each) for each in range(int(ends.group(1)), int(ends.group(2)) + 1)]
                hint = f"; write {'+'.join(named)} for one cell, {','.join(named)} for a cell each"
            raise InputError(
                f'--mask_{what}: there is no {what} "{shortened(number)}"; the {what}s are 0 to '
                f'{count - 1}, or "{EACH}" for a cell of each{hint}'
            )
    return frozenset(int(number) for number in numbers)


def _windows(text, count):
    """`"each:3"` -> a frozenset for each layer of the layers around it, cut at both ends."""
    width = text[len(EACH) + 1 :]
    if not re.match("[0-9]{1,%d}$" % _MOST_DIGITS, width) or not int(width) % 2:
        raise InputError(f"--mask_layer={shortened(text)}: a window has an odd number of layers; write it as in {EACH}:3")
    reach = int(width) // 2
    return [frozenset(range(max(0, layer - reach), min(count, layer + reach + 1))) for layer in range(count)]


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


def read_cells(mask_zone, mask_layer, num_layers, mask_head=None, num_heads=1, own_sets: Iterable[str] = ()):
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
      own_sets: names of the sets in --zones_file.

    Raises:
      InputError: a zone, layer or head does not exist, or a layer or head is given without a zone.
    """
    if mask_zone is None:
        for flag, value in (("mask_layer", mask_layer), ("mask_head", mask_head)):
            if value is not None:
                raise InputError(f"--{flag}={shortened(value)} needs a zone to mask; add --mask_zone ({', '.join(ZONES)})")
        return [BASELINE]
    zone_choices = [
        ("+".join(dict.fromkeys(_parts(label, "+", "mask_zone"))), read_mask(label, own_sets))
        for label in _parts(mask_zone, ",", "mask_zone")
    ]
    head_choices = _choices(mask_head, num_heads, "head")
    by_meaning = {}
    for layer_label, layers in _choices(mask_layer, num_layers, "layer"):
        for zone_label, mask in zone_choices:
            for head_label, heads in head_choices:
                heads = None if heads is not None and len(heads) == num_heads else heads
                label = Label(layer_label, head_label, zone_label)
                cell = Cell(mask._replace(heads=heads), layers, label)
                by_meaning.setdefault(cell[:2], cell)
    cells = list(by_meaning.values())
    return cells if len(cells) == 1 else [BASELINE] + cells
