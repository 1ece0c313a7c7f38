# SPDX-License-Identifier: Apache-2.0
"""Every cell of a grid of masks in one forward pass.

Two cells share all layers below the first one in which their masks differ. In that layer they still
share the projections, which do not depend on the mask, and the tokens whose keys are not masked.
With a cell for each of N layers and Z zones, this takes less than N + Z N (N + 1) / 2 layer passes
including the baseline; single runs take N (Z N + 1).

Where shapes may be dynamic, padding keys are skipped (their probability is 0 unless a mask replaces
the bias), and padding queries are not computed unless needed.
"""

import functools
from typing import List, NamedTuple

import tensorflow.compat.v1 as tf

import attention_mask
import modeling
from attention_mask import NO_MASK
from mrc import cells as grid_cells
from mrc.model import branches


class State(NamedTuple):
    """A hidden state `[B, T, H]`, the cells that continue from it, whether padding was cut off."""

    hidden: tf.Tensor
    cells: List[grid_cells.Cell]
    trimmed: bool


class Stretch(NamedTuple):
    """Tokens `start` to `stop - 1` of the windows, and whether a mask changes their output."""

    start: tf.Tensor
    stop: tf.Tensor
    changed: bool


def round_up(number, step):
    """Returns the next multiple of `step`."""
    return (number + step - 1) // step * step


def _round_down(number, step):
    return number // step * step


class _Bounds:
    """Where questions and passages lie in the windows of a batch, in multiples of `step` tokens.

    A window is `[CLS] question [SEP] passage [SEP] padding`. Windows differ, so each boundary is a
    range of tokens.
    """

    def __init__(self, sets, step):
        def count(group):
            return tf.cast(tf.reduce_sum(sets.of(group), axis=1), tf.int32)  # [B]

        question_stop = 1 + count(attention_mask.QUESTION)
        passage_stop = question_stop + 1 + count(attention_mask.PASSAGE)
        self._first_passage = _round_down(tf.reduce_min(question_stop) + 1, step)
        self._all_in_passage = round_up(tf.reduce_max(question_stop) + 1, step)
        self._end_of_all_in_passage = tf.maximum(_round_down(tf.reduce_min(passage_stop), step), self._all_in_passage)
        self._last_passage = round_up(tf.reduce_max(passage_stop), step)

    def stretches(self, queries, end):
        """Returns the `Stretch`es of tokens 0 to `end - 1`, or None where nearly all tokens change.

        A window of 16 tokens, 3 of the question from token 1 and 8 of the passage from token 5:
        q2 changes what the question computes, so tokens 0 to 4 are computed again and 5 to 15 are
        taken from the unmasked state; p2 changes tokens 5 to 12, q2p all others; p2q, whose queries
        are in every part, changes nearly all (None).

        Args:
          queries: the groups of the tokens whose output changes.
          end: number of tokens.
        """
        front, passage, back = (  # the last [SEP] lies among padding of other windows
            not queries.isdisjoint(part)
            for part in (
                {attention_mask.CLS, attention_mask.QUESTION, attention_mask.SEP},
                {attention_mask.PASSAGE},
                {attention_mask.SEP, attention_mask.PADDING},
            )
        )
        if front and passage and back:
            return None
        # A token that changes in one window of the batch is computed again in all windows.
        first = self._all_in_passage if front else self._first_passage
        second = self._last_passage if passage else self._end_of_all_in_passage
        stretches, start = [], 0
        for is_changed, stop, next_changes in ((front, first, passage), (passage, second, back), (back, end, None)):
            if is_changed != next_changes:
                stop = end if next_changes is None else tf.minimum(stop, end)
                stretches.append(Stretch(start, stop, is_changed))
                start = stop
        return stretches


def _put_together(stretches, changed, unchanged):
    """Returns `[B, T, H]` from changed tokens `[B, R, H]` and the unmasked state."""
    pieces, done = [], 0
    for start, stop, is_changed in stretches:
        if is_changed:
            pieces.append(changed[:, done : done + stop - start])
            done += stop - start
        else:
            pieces.append(unchanged[:, start:stop])
    return tf.concat(pieces, axis=1)


def _by_mask(cells, layer):
    """Groups `cells`, which agree below `layer`, by what they mask in it: {`Mask`: cells}."""
    cells_of = {}
    for cell in cells:
        cells_of.setdefault(cell.mask_at(layer), []).append(cell)
    return cells_of


def _reads_padding_above(cells, layer):
    """Whether one of `cells` attends to padding in a layer above `layer`."""
    return any(cell.mask_at(above).replaces_bias for cell in cells for above in cell.layers if above > layer)


class _Pass:
    """One forward pass over a batch.

    Branches with the same bias share one tensor, by which a layer recognizes what to compute once.
    """

    def __init__(self, bert, bias, sets, length, trim_padding):
        self._bert, self._bias, self._sets, self._length = bert, bias, sets, length
        self._trims = trim_padding
        self._bounds = _Bounds(sets, bert.ops.length_step)
        self._stretches_of = functools.lru_cache(maxsize=None)(self._bounds.stretches)
        self._bias_of = functools.lru_cache(maxsize=None)(self._make_bias)

    def _keeps_padding(self, cells, layer):
        return not self._trims or _reads_padding_above(cells, layer)

    def start(self, embedded, cells):
        """Returns the state below layer 0."""
        keep = self._keeps_padding(cells, -1)  # every layer is above
        return State(embedded if keep else embedded[:, : self._length], cells, not keep)

    def _stretches(self, mask, cells_of, trimmed, layer):
        """Returns `Stretch`es if some tokens can come from the unmasked state, else None."""
        if self._length is None or NO_MASK not in cells_of or not mask.pairs:
            return None
        if not trimmed and not self._keeps_padding(cells_of[NO_MASK], layer):
            return None
        return self._stretches_of(mask.queries, self._length if trimmed else modeling.dimensions(self._sets.members)[1])

    def _make_bias(self, mask, rows, keys):
        """Returns the bias of `mask` for the stretches `rows` and the first `keys` tokens as keys (see `Branch`)."""
        if mask == NO_MASK:
            return self._bias[..., :keys]  # [B, 1, 1, K]
        return attention_mask.changed_bias(  # [B, 1, R, K]
            self._bias_of(NO_MASK, None, keys),
            mask,
            self._sets.map(lambda tokens: branches.take(tokens, rows)),
            self._sets.map(lambda tokens: tokens[:, :keys]),
        )

    def _branch(self, mask, stretches, state, trimmed):
        rows = None
        if stretches is not None:
            rows = tuple((start, stop) for start, stop, changed in stretches if changed)
        elif trimmed and not state.trimmed:
            rows = ((0, self._length),)
        here = ((0, self._length),) if state.trimmed else None
        keys = None if mask.replaces_bias else self._length
        unmasked = self._bias_of(NO_MASK, None, keys)
        return branches.Branch(
            bias=self._bias_of(mask._replace(heads=None, context=None), rows or here, keys)
            if mask.pairs or mask.replaces_bias
            else unmasked,
            rows=rows,
            keys=None if state.trimmed else keys,  # a trimmed state has no others
            heads=mask.heads,
            other_bias=None if mask.heads is None else unmasked,
            replacement=None if mask.context is None else tf.constant(mask.context),
        )

    def next_states(self, layer, state):
        """Runs `layer` once for all cells of `state`; returns the list of states that come out."""
        cells_of, plans = _by_mask(state.cells, layer), []
        for mask, cells in cells_of.items():
            trimmed = state.trimmed or not self._keeps_padding(cells, layer)
            plans.append((mask, trimmed, self._stretches(mask, cells_of, trimmed, layer)))
        outputs = branches.run(
            self._bert,
            layer,
            state.hidden,
            [self._branch(mask, stretches, state, trimmed) for mask, trimmed, stretches in plans],
        )
        outputs = dict(zip(cells_of, outputs))  # [B, R, H] each
        return [
            State(
                outputs[mask] if stretches is None else _put_together(stretches, outputs[mask], outputs[NO_MASK]),
                cells_of[mask],
                trimmed,
            )
            for mask, trimmed, stretches in plans
        ]


def encode(bert, cells, embedded, bias, sets, length=None, trim_padding=False):
    """Returns the encoder's outputs for `cells`, one [B, T, H] tensor each, in their order.

    Args:
      bert: `modeling.Bert`.
      cells: list of distinct `grid_cells.Cell`.
      embedded: the encoder's input, [B, T, H].
      bias: the attention bias without a mask, [B, 1, 1, T].
      sets: the `attention_mask.TokenSets` of the tokens.
      length: scalar, at least the length of every window of the batch; keys beyond it are padding
        and are used only by a mask that replaces the bias. None where shapes must be static; all
        keys are used then.
      trim_padding: whether outputs are only `length` tokens long; needs `length`.
    """
    forward = _Pass(bert, bias, sets, length, trim_padding)
    states = [forward.start(embedded, list(cells))]
    for layer in range(bert.config.num_hidden_layers):
        states = [after for state in states for after in forward.next_states(layer, state)]
    outputs = {cell: state.hidden for state in states for cell in state.cells}
    return [outputs[cell] for cell in cells]
