# SPDX-License-Identifier: Apache-2.0
"""Every cell of a grid of masks in one forward pass.

Two cells share all layers below the first one in which their masks differ. In that layer they still
share the projections, which do not depend on the mask, and the tokens whose keys are not masked.
With a cell for each of N layers and Z zones, this takes less than N + Z N (N + 1) / 2 layer passes
including the baseline; single runs take N (Z N + 1).

Where shapes may be dynamic, padding keys are skipped (their probability is 0 except under the zone
`all`), and padding queries are not computed unless needed.
"""

import collections
import functools
from typing import List, NamedTuple

import tensorflow.compat.v1 as tf

import attention_mask
import modeling
from attention_mask import NO_MASK


class State(NamedTuple):
    """A hidden state `[B, T, H]`, the cells that continue from it, and whether trailing padding was
    cut off.
    """

    hidden: tf.Tensor
    cells: List[attention_mask.Cell]
    trimmed: bool


class Stretch(NamedTuple):
    """Tokens `start` to `stop - 1` of all windows of a batch, and whether a mask changes their
    output.
    """

    start: tf.Tensor
    stop: tf.Tensor
    changed: bool


def round_up(number, step):
    """Returns the next multiple of `step`."""
    return (number + step - 1) // step * step


def _round_down(number, step):
    return number // step * step


class _Bounds:
    """Where questions and passages lie in the windows of a batch, `[CLS] question [SEP] passage
    [SEP] padding`, rounded to multiples of `step`.
    """

    def __init__(self, roles, step):
        question_stop = 1 + tf.cast(tf.reduce_sum(roles.question, axis=1), tf.int32)
        passage_stop = question_stop + 1 + tf.cast(tf.reduce_sum(roles.passage, axis=1), tf.int32)
        self._first_passage = _round_down(tf.reduce_min(question_stop) + 1, step)
        self._all_in_passage = round_up(tf.reduce_max(question_stop) + 1, step)
        self._end_of_all_in_passage = tf.maximum(
            _round_down(tf.reduce_min(passage_stop), step), self._all_in_passage
        )
        self._last_passage = round_up(tf.reduce_max(passage_stop), step)

    def stretches(self, zones, end):
        """Returns the `Stretch`es of tokens 0 to `end - 1` under `zones`, or None where nearly all
        tokens change.
        """
        question = tf.minimum(self._all_in_passage, end)
        if zones == {"q2"}:
            return [Stretch(0, question, True), Stretch(question, end, False)]
        if zones <= {"q2", "q2p"}:
            tail = tf.minimum(self._end_of_all_in_passage, end)
            return [
                Stretch(0, question, True),
                Stretch(question, tail, False),
                Stretch(tail, end, True),
            ]
        if zones == {"p2"}:
            stop = tf.minimum(self._last_passage, end)
            return [
                Stretch(0, self._first_passage, False),
                Stretch(self._first_passage, stop, True),
                Stretch(stop, end, False),
            ]
        return None


def _put_together(stretches, changed, unchanged):
    """Returns `[B, T, H]` from the changed tokens `[B, R, H]` and the unmasked state `[B, T or
    more, H]`.
    """
    pieces, done = [], 0
    for start, stop, is_changed in stretches:
        if is_changed:
            pieces.append(changed[:, done : done + stop - start])
            done += stop - start
        else:
            pieces.append(unchanged[:, start:stop])
    return tf.concat(pieces, axis=1)


def _branches(cells, layer):
    """Groups `cells`, which agree below `layer`, by what they mask in it: {`Mask`: cells}."""
    branches = collections.OrderedDict()
    for cell in cells:
        branches.setdefault(cell.mask_at(layer), []).append(cell)
    return branches


def _reads_padding_above(cells, layer):
    """Whether one of `cells` masks with `all`, which lets padding in, in a layer above `layer`."""
    return any("all" in cell.zones and max(cell.layers) > layer for cell in cells)


class _Pass:
    """One forward pass over a batch.

    Branches with the same bias share one tensor, by which a layer recognizes what to compute once.
    """

    def __init__(self, bert, bias, roles, length, trim_padding):
        self._bert, self._bias, self._roles, self._length = bert, bias, roles, length
        self._trims = trim_padding
        self._bounds = _Bounds(roles, bert.length_step)
        self._stretches_of = functools.lru_cache(maxsize=None)(self._bounds.stretches)
        self._bias_of = functools.lru_cache(maxsize=None)(self._make_bias)

    def _keeps_padding(self, cells, layer):
        return not self._trims or _reads_padding_above(cells, layer)

    def start(self, embedded, cells):
        """Returns the state below layer 0."""
        keep = self._keeps_padding(cells, -1)
        return State(embedded if keep else embedded[:, : self._length], cells, not keep)

    def _stretches(self, mask, groups, trimmed, layer):
        """Returns `Stretch`es if some tokens can come from the unmasked state, or None to compute
        all.
        """
        if self._length is None or NO_MASK not in groups or not mask.zones:
            return None
        if not trimmed and not self._keeps_padding(groups[NO_MASK], layer):
            return None
        return self._stretches_of(
            mask.zones, self._length if trimmed else modeling.dimensions(self._roles.question)[1]
        )

    def _make_bias(self, zones, rows, keys):
        """Returns the bias of `zones` for the stretches `rows` (see `Branch`) and `keys` keys."""
        if not zones:
            return self._bias[..., :keys]
        return attention_mask.change_bias(
            self._bias_of(NO_MASK.zones, None, keys),
            zones,
            attention_mask.Roles(*(modeling.take(role, rows) for role in self._roles)),
            attention_mask.Roles(*(role[:, :keys] for role in self._roles)),
        )

    def _branch(self, mask, stretches, state, trimmed):
        rows = None
        if stretches is not None:
            rows = tuple((start, stop) for start, stop, changed in stretches if changed)
        elif trimmed and not state.trimmed:
            rows = ((0, self._length),)
        here = ((0, self._length),) if state.trimmed else None
        keys = None if "all" in mask.zones else self._length
        unmasked = self._bias_of(NO_MASK.zones, None, keys)
        return modeling.Branch(
            bias=self._bias_of(mask.zones, rows or here, keys) if mask.zones else unmasked,
            rows=rows,
            keys=None if state.trimmed else keys,
            heads=mask.heads,
            other_bias=None if mask.heads is None else unmasked,
            is_off=attention_mask.OFF in mask.zones,
        )

    def next_states(self, layer, state):
        """Runs `layer` once for all cells of `state`; returns the list of states that come out."""
        groups, plans = _branches(state.cells, layer), []
        for mask, members in groups.items():
            trimmed = state.trimmed or not self._keeps_padding(members, layer)
            plans.append((mask, trimmed, self._stretches(mask, groups, trimmed, layer)))
        outputs = self._bert.branch(
            layer,
            state.hidden,
            [self._branch(mask, stretches, state, trimmed) for mask, trimmed, stretches in plans],
        )
        outputs = dict(zip(groups, outputs))
        return [
            State(
                outputs[mask]
                if stretches is None
                else _put_together(stretches, outputs[mask], outputs[NO_MASK]),
                groups[mask],
                trimmed,
            )
            for mask, trimmed, stretches in plans
        ]


def encode(bert, cells, embedded, bias, roles, length=None, trim_padding=False):
    """Returns the encoder's outputs for `cells`, one [B, T, H] tensor each, in their order.

    Args:
      bert: `modeling.Bert`.
      cells: list of distinct `attention_mask.Cell`.
      embedded: the encoder's input, [B, T, H].
      bias: the attention bias without a mask, [B, 1, 1, T].
      roles: `attention_mask.Roles`.
      length: scalar, at least the length of every window of the batch; keys beyond it are padding
        and are used only under the zone `all`. None where shapes must be static; all keys are used
        then.
      trim_padding: whether outputs are only `length` tokens long; needs `length`.
    """
    forward = _Pass(bert, bias, roles, length, trim_padding)
    states = [forward.start(embedded, list(cells))]
    for layer in range(bert.config.num_hidden_layers):
        states = [after for state in states for after in forward.next_states(layer, state)]
    outputs = {cell: state.hidden for state in states for cell in state.cells}
    return [outputs[cell] for cell in cells]
