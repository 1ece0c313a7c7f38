# SPDX-License-Identifier: Apache-2.0
"""Every cell of a grid of masks in one forward pass.

Two cells share all layers below the first one in which their masks differ, and in that layer still the projections and
scores, which no mask touches. For N layers and Z zones with a cell for each this is N + Z N (N + 1) / 2 layer passes
with the baseline, where single runs need N (Z N + 1).
"""
from __future__ import absolute_import, division, print_function

import collections

import attention_mask
import modeling

State = collections.namedtuple("State", ["hidden", "cells", "trimmed"])
State.__doc__ = "A hidden state [B, T, H], the cells that go on from it, and whether it lacks the padding at its end."

View = collections.namedtuple("View", ["bias", "roles"])
View.__doc__ = "The bias without a mask [B, 1, 1, T] and the `attention_mask.Roles` [B, T], with or without padding."


def _branches(cells, layer):
    """Groups `cells`, all alike below `layer`, by the zones that they mask in it: {zones: cells}."""
    branches = collections.OrderedDict()
    for cell in cells:
        branches.setdefault(cell.zones_at(layer), []).append(cell)
    return branches


def _reads_padding_above(cells, layer):
    """Whether one of `cells` masks with `all`, which lets padding in, in a layer above `layer`."""
    return any("all" in cell.zones and max(cell.layers) > layer for cell in cells)


class _Pass(object):
    """One forward pass over a batch."""

    def __init__(self, bert, bias, roles, length):
        self._bert, self._length = bert, length
        self._padded = self._short = View(bias, roles)
        if length is not None:
            self._short = View(bias[..., :length], attention_mask.Roles(*(role[:, :length] for role in roles)))

    def start(self, embedded, cells):
        """Returns the state below layer 0."""
        trimmed = self._length is None or not _reads_padding_above(cells, -1)
        hidden = embedded if self._length is None or not trimmed else embedded[:, :self._length]
        return State(hidden, cells, trimmed)

    def next_states(self, layer, state):
        """Runs `layer` once for all cells of `state`; returns the list of states that come out."""
        branches, states = [], []
        for zones, members in _branches(state.cells, layer).items():
            keep = not state.trimmed and _reads_padding_above(members, layer)
            view = self._padded if keep else self._short
            cut = None if state.trimmed or keep else self._length
            branches.append(modeling.Branch(attention_mask.change_bias(view.bias, zones, view.roles), cut,
                                            None if "all" in zones else cut))
            states.append(State(None, members, not keep))
        outputs = self._bert.branch(layer, state.hidden, branches)
        return [after._replace(hidden=hidden) for after, hidden in zip(states, outputs)]


def encode(bert, cells, embedded, bias, roles, length=None):
    """Returns the encoder's outputs for `cells`, one [B, T, H] tensor each, in their order.

    Args:
      bert: `modeling.Bert`.
      cells: list of distinct `attention_mask.Cell`.
      embedded: the encoder's input, [B, T, H].
      bias: the attention bias without a mask, [B, 1, 1, T].
      roles: `attention_mask.Roles`.
      length: scalar, the number of tokens that are worked out, at least that of the longest window; all if None. Padding
        beyond it is worked out only where the zone `all` reads it.
    """
    forward = _Pass(bert, bias, roles, length)
    states = [forward.start(embedded, list(cells))]
    for layer in range(bert.config.num_hidden_layers):
        states = [after for state in states for after in forward.next_states(layer, state)]
    outputs = {cell: state.hidden for state in states for cell in state.cells}
    return [outputs[cell] for cell in cells]
