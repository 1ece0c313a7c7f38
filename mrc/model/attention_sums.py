# SPDX-License-Identifier: Apache-2.0
"""Where the attention of each head goes: the probabilities of a forward pass, summed in the graph.

Every token of a window belongs to one group: question, passage, `[CLS]`, `[SEP]` or padding. For a
query group and a key group, the sum runs over all queries of the one, of the probabilities of all
keys of the other. The entropies of the queries are summed likewise.

Shapes: B batch, T tokens, L layers, N heads, D head size, R queries, K keys.
"""

import tensorflow.compat.v1 as tf

import attention_mask
import modeling
from mrc.model import cpu_ops, grid


def summed_attention(query, key, value, bias, query_groups, key_groups):
    """Returns the contexts [..., R, D] of an attention and its sums [..., 4, 6].

    The last of the six sums of each query group is the entropy in nats.

    Args:
      query: [..., R, D], scaled.
      key, value: [..., K, D].
      bias: added to the scores, broadcastable to [..., R, K].
      query_groups, key_groups: [..., R, 4] and [..., K, 5].
    """
    scores = tf.matmul(query, key, transpose_b=True) + bias
    # The entropy of softmax(x) is -log(max p) - sum p x where the largest x is 0.
    scores -= tf.reduce_max(scores, axis=-1, keepdims=True)
    probabilities = tf.nn.softmax(scores)
    entropy = -tf.log(tf.reduce_max(probabilities, axis=-1, keepdims=True)) - tf.reduce_sum(
        probabilities * scores, axis=-1, keepdims=True
    )
    # Indicators beside the values: the product that yields the contexts yields the masses as well.
    both = tf.matmul(probabilities, tf.concat([value, key_groups], axis=-1))
    size = value.shape.as_list()[-1]
    observed = tf.concat([both[..., size:], entropy], axis=-1)
    return both[..., :size], tf.matmul(query_groups, observed, transpose_a=True)


class SummingAttention:
    """An attention for `modeling.LayerOps` that keeps the sums of every layer.

    Attributes:
      sums: [B, N, 4, 6] of each call.
    """

    def __init__(self, groups, is_query):
        self._groups, self.sums = groups, []
        self.queries = tf.boolean_mask(groups, is_query, axis=2)

    def __call__(self, attention_inputs, heads):
        (each,) = attention_inputs
        queries, keys = (modeling.dimensions(part)[1] for part in (each.query, each.key))
        context, sums = self._attend(each, heads, self.queries[:, :queries], self._groups[:, :keys])
        self.sums.append(sums)
        return [context]

    def _attend(self, each, heads, query_groups, key_groups):
        """Returns the contexts [B, R, H] and the sums [B, N, 4, 6]."""

        def for_each_head(groups):
            return tf.tile(groups[:, tf.newaxis], [1, heads, 1, 1])

        context, sums = summed_attention(
            *(modeling.split_heads(part, heads) for part in each[:3]),
            modeling.joined_biases(each.biases),
            for_each_head(query_groups),
            for_each_head(key_groups),
        )
        return modeling.join_heads(context), sums


class SummingAttentionByHead(SummingAttention):
    """The same for the CPU, window by window and head by head (see `cpu_ops`); B is static."""

    def __init__(self, groups, is_query, run):
        super().__init__(groups, is_query)
        self._run = run

    def _attend(self, each, heads, query_groups, key_groups):
        biases, indices = modeling.distinct(each.biases)
        tensors = list(each[:3]) + [query_groups, key_groups] + biases
        signature = "summing", heads, tuple(indices)

        def one_window(*inputs):  # TensorFlow 1.13 takes no function with named arguments
            return _window_by_head(*inputs, heads=heads, indices=indices)

        def all_windows(*inputs):
            results = []
            for window in range(each.query.shape.as_list()[0]):
                parts = [tensor[min(window, tensor.shape.as_list()[0] - 1)] for tensor in inputs]
                parts = [tensor if tensor.shape.ndims == 2 else tensor[0] for tensor in parts]
                results.append(self._run(("window",) + signature, one_window, *parts))
            return [tf.stack(of_windows) for of_windows in zip(*results)]

        return self._run(("windows",) + signature, all_windows, *tensors)


def _window_by_head(query, key, value, query_groups, key_groups, *biases, heads, indices):
    """Returns the contexts [R, H] and the sums [N, 4, 6] of one window."""
    parts = zip(*(tf.split(tensor, heads, axis=1) for tensor in (query, key, value)))
    contexts, sums = [], []
    for head, part in enumerate(parts):
        context, summed = summed_attention(*part, biases[indices[head]], query_groups, key_groups)
        contexts.append(context)
        sums.append(summed)
    return [tf.concat(contexts, axis=1), tf.stack(sums)]


def attention_sums(config, features, cell, on_cpu=False, static_shapes=False):
    """Returns the sums of every layer and head under one cell.

    Args:
      config: the `BertConfig`.
      features: dict of the arrays of `Windows.batch`.
      cell: `cells.Cell`.
      on_cpu: whether to use the CPU's operations.
      static_shapes: whether every shape must be static, as on a TPU.

    Returns:
      Dict of unique_ids [B]; sums [B, L, N, 4, 6] (see `summed_attention`); counts [B, 4], the
      queries of each group.
    """
    mask, segments = features["input_mask"], features["segment_ids"]
    sets = attention_mask.find_sets(features)
    groups, is_query = sets.members, [name != attention_mask.PADDING for name in sets.names]
    if on_cpu:
        ops = cpu_ops.make_ops()
        attention = SummingAttentionByHead(groups, is_query, ops.run)
    else:
        ops, attention = modeling.PLAIN_OPS, SummingAttention(groups, is_query)
    # The sums leave the attention besides its result, so a layer must not run in a function.
    ops = ops._replace(attention=attention, run=modeling.PLAIN_OPS.run)
    bert = modeling.Bert(config, one_hot_embeddings=static_shapes, ops=ops)
    length = None
    if not static_shapes:
        longest = grid.round_up(tf.reduce_max(tf.reduce_sum(mask, axis=1)), ops.length_step)
        length = tf.minimum(tf.maximum(longest, 1), modeling.dimensions(mask)[1])
    # Padding queries are in no group, so that they are computed only where a mask lets them in.
    grid.encode(
        bert,
        [cell],
        bert.embeddings(features["input_ids"], segments),
        modeling.padding_bias(mask),
        sets,
        length,
        trim_padding=length is not None,
    )
    return {
        "unique_ids": features["unique_ids"],
        "sums": tf.stack(attention.sums, axis=1),
        "counts": tf.reduce_sum(attention.queries, axis=1),
    }
