# SPDX-License-Identifier: Apache-2.0
"""Every cell of a grid of masks in one forward pass.

Two cells share all layers below the first one in which their masks differ, and in that layer still the projections and
scores, which no mask touches. For N layers and Z zones with a cell for each this is N + Z N (N + 1) / 2 layer passes
with the baseline, where single runs need N (Z N + 1).
"""
from __future__ import absolute_import, division, print_function

import collections

import attention_mask


def _branches(cells, layer):
    """Groups `cells`, all alike below `layer`, by the zones that they mask in it: {zones: cells}."""
    branches = collections.OrderedDict()
    for cell in cells:
        branches.setdefault(cell.zones_at(layer), []).append(cell)
    return branches


def _next_states(bert, layer, hidden, cells, bias, roles):
    """Runs `layer` once for all `cells` that share its input `hidden`; returns [(hidden, cells)] of what comes out."""
    branches = _branches(cells, layer)
    if list(branches) == [frozenset()]:
        return [(bert.layer(layer, hidden, bias), cells)]
    scored = bert.score(layer, hidden)
    return [(bert.attend(layer, scored, attention_mask.change_bias(bias, zones, roles)), members)
            for zones, members in branches.items()]


def encode(bert, cells, embedded, bias, roles):
    """Returns the encoder's outputs for `cells`, one [B, T, H] tensor each, in their order.

    Args:
      bert: `modeling.Bert`.
      cells: list of distinct `attention_mask.Cell`.
      embedded: the encoder's input, [B, T, H].
      bias: the attention bias without a mask, [B, 1, 1, T].
      roles: `attention_mask.Roles`.
    """
    states = [(embedded, list(cells))]
    for layer in range(bert.config.num_hidden_layers):
        states = [state for hidden, members in states
                  for state in _next_states(bert, layer, hidden, members, bias, roles)]
    outputs = {cell: hidden for hidden, members in states for cell in members}
    return [outputs[cell] for cell in cells]
