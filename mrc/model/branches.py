# SPDX-License-Identifier: Apache-2.0
"""One layer of BERT run in several ways at once, from one input.

The branches of a layer differ in the bias of their attention, in the tokens that they compute, or
in contexts that are replaced. They share what does not depend on these: the projections, the scores
of the same queries and keys, and, through `LayerOps.run`, the graph functions of layers alike.

Shapes: B batch, T tokens, R queries, K keys, H hidden size, N heads.
"""

from typing import FrozenSet, List, NamedTuple, Optional

import tensorflow.compat.v1 as tf

import modeling
from modeling import AttentionInputs, LayerWeights


class Branch(NamedTuple):
    """One of the ways that a layer is run.

    Attributes:
      bias: added to the scores of `heads`, broadcastable to `[B, 1, R, K]`.
      rows: tuple of (start, stop), the stretches of tokens that are queries and are in the output,
        R together; None for all.
      keys: scalar K, how many of the first tokens are keys; None for all.
      heads: frozenset of the heads that differ from the others; None for all.
      other_bias: `bias` of the other heads, None where there are none.
      replacement: replaces the contexts of `heads`, broadcastable to `[B, R, H]`; None keeps them.
    """

    bias: tf.Tensor
    rows: Optional[tuple] = None
    keys: Optional[tf.Tensor] = None
    heads: Optional[FrozenSet[int]] = None
    other_bias: Optional[tf.Tensor] = None
    replacement: Optional[tf.Tensor] = None

    def is_chosen(self, head: int) -> bool:
        """Whether `head` is one of `heads`."""
        return self.heads is None or head in self.heads


class _Slot:
    """The place of a tensor in a signature, by its index."""


def flatten(branches):
    """Returns the distinct tensors of the branches, and a signature that stands for all the rest.

    The signature is derived from the structure, so that a new field of `Branch` is part of it.
    Functions of branches with the same signature are equivalent, given tensors of the same types
    and shapes.
    """
    leaves = tf.nest.flatten(branches)
    tensors, indices = modeling.distinct([leaf for leaf in leaves if isinstance(leaf, tf.Tensor)])
    structure = tf.nest.map_structure(lambda leaf: _Slot if isinstance(leaf, tf.Tensor) else leaf, tuple(branches))
    return tensors, (structure, tuple(indices))


def unflatten(signature, tensors) -> List[Branch]:
    """Returns the branches of a signature with other tensors; inverts `flatten`."""
    structure, indices = signature
    placed = (tensors[index] for index in indices)
    return list(tf.nest.map_structure(lambda leaf: next(placed) if leaf is _Slot else leaf, structure))


def take(tensor, rows):
    """Returns the stretches `rows` (see `Branch`) along axis 1 of `tensor` [B, T, ...]."""
    if rows is None:
        return tensor
    parts = [tensor[:, start:stop] for start, stop in rows]
    return parts[0] if len(parts) == 1 else tf.concat(parts, axis=1)


def _replaced(context, branch, num_heads):
    """Returns the context [B, R, H] of a branch with the contexts of its heads replaced."""
    if branch.replacement is None:
        return context
    size = context.shape.as_list()[-1] // num_heads
    kept = [0.0 if branch.is_chosen(head) else 1.0 for head in range(num_heads) for _ in range(size)]
    kept = tf.constant(kept)  # [H]
    return context * kept + branch.replacement * (1.0 - kept)


def _attention_inputs(layer, hidden, branches, num_heads):
    """Returns the `AttentionInputs` of each branch, which share tensors where they can."""
    query = layer.query(hidden)  # [B, T, H]
    queries = {rows: take(query, rows) for rows in {branch.rows for branch in branches}}
    lengths = {branch.keys for branch in branches}
    longest = branches[0].keys if len(lengths) == 1 else None
    key, value = layer.key_and_value(hidden if longest is None else hidden[:, :longest])
    pairs = {length: (key, value) if length is longest else (key[:, :length], value[:, :length]) for length in lengths}
    return [
        AttentionInputs(
            queries[branch.rows],
            *pairs[branch.keys],
            biases=tuple(branch.bias if branch.is_chosen(head) else branch.other_bias for head in range(num_heads)),
        )
        for branch in branches
    ]


def _contexts(layer, hidden, branches, num_heads):
    """Returns the context [B, R, H] of each branch."""
    contexts = layer.attend(_attention_inputs(layer, hidden, branches, num_heads))
    return [_replaced(context, branch, num_heads) for context, branch in zip(contexts, branches)]


def _feed_forward(layer, hidden, branches, contexts):
    """Returns the output [B, R, H] of each branch."""
    return [layer.feed_forward(take(hidden, branch.rows), context) for branch, context in zip(branches, contexts)]


def _feed_forward_of_own_weights(run, layer, hidden, branches, contexts):
    """Returns what `_feed_forward` does, by functions that only layers with these weights share.

    A product that keeps the weights of its first run (`LayerOps.kept_types`) would otherwise use
    those of one layer in all of them.
    """

    def feed_forward(taken, context, *weights):
        return [layer.with_weights(LayerWeights(*weights)).feed_forward(taken, context)]

    signature = "feed-forward", layer.weights.output_kernel.name
    return [
        run(signature, feed_forward, take(hidden, branch.rows), context, *layer.weights)[0]
        for branch, context in zip(branches, contexts)
    ]


def run(bert, index, hidden, branches):
    """Returns the outputs of layer `index` from one input, a list with a [B, R, H] for each branch.

    Args:
      bert: `modeling.Bert`.
      index: of the layer; 0 is next to the embeddings.
      hidden: the layer's input, [B, T, H].
      branches: list of `Branch`.
    """
    layer, ops, num_heads = bert.layers[index], bert.ops, bert.config.num_attention_heads
    tensors, signature = flatten(branches)
    keeps_weights = layer.weights.output_kernel.dtype.base_dtype in ops.kept_types

    def run_branches(x, *arguments):
        weights = LayerWeights(*arguments[: len(layer.weights)])
        own_layer, own_branches = (layer.with_weights(weights), unflatten(signature, arguments[len(weights) :]))
        contexts = _contexts(own_layer, x, own_branches, num_heads)
        if keeps_weights:
            return contexts
        return _feed_forward(own_layer, x, own_branches, contexts)

    results = ops.run(signature, run_branches, hidden, *layer.weights, *tensors)
    if keeps_weights:
        return _feed_forward_of_own_weights(ops.run, layer, hidden, branches, results)
    return results
