# SPDX-License-Identifier: Apache-2.0
"""BERT (Devlin et al., 2019, https://arxiv.org/abs/1810.04805) in pieces that can be called on their own.

The variables carry the names of Google's released checkpoints. The encoder knows nothing of questions and passages:
a caller may change the attention bias of a layer and may look at its probabilities.

Shapes: B batch, T tokens, H hidden size, N heads, D = H / N head size, I intermediate size, V vocabulary.
"""
from __future__ import absolute_import, division, print_function

import collections
import math

import tensorflow.compat.v1 as tf

LAYER_NORM_EPSILON = 1e-12
MASKED = -10000.0  # what is added to the score of a key that is not to be attended to

LayerWeights = collections.namedtuple("LayerWeights", [
    "query_kernel", "query_bias", "key_kernel", "key_bias", "value_kernel", "value_bias",  # [H, H], [H]
    "attention_kernel", "attention_bias", "attention_beta", "attention_gamma",             # [H, H], [H] x 3
    "intermediate_kernel", "intermediate_bias",                                            # [H, I], [I]
    "output_kernel", "output_bias", "output_beta", "output_gamma"])                        # [I, H], [H] x 3
LayerWeights.__doc__ = "The tensors of one encoder layer."


def dimensions(tensor):
    """Returns the shape of `tensor` as a list: whole numbers where static, scalars of the graph elsewhere."""
    dynamic = None
    sizes = tensor.shape.as_list()
    for axis, size in enumerate(sizes):
        if size is None:
            dynamic = tf.shape(tensor) if dynamic is None else dynamic
            sizes[axis] = dynamic[axis]
    return sizes


def gelu(x):
    """Gaussian error linear unit, tanh approximation (Hendrycks & Gimpel, 2016, https://arxiv.org/abs/1606.08415).

    0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), the cube taken out of the bracket so that it costs two products.
    """
    scale = math.sqrt(2.0 / math.pi)
    half = 0.5 * x
    return half + half * tf.tanh(x * (scale + (0.044715 * scale) * (x * x)))


_ACTIVATIONS = {"gelu": gelu, "relu": tf.nn.relu, "tanh": tf.tanh, "linear": tf.identity}


def dense(x, kernel, bias):
    """Returns `x @ kernel + bias` for `x` [..., K], `kernel` [K, M]; a two-dimensional product is the fastest."""
    sizes = dimensions(x)
    rows = tf.reshape(x, [-1, sizes[-1]])
    return tf.reshape(tf.nn.bias_add(tf.matmul(rows, kernel), bias), sizes[:-1] + [kernel.shape[-1].value])


def layer_norm(x, beta, gamma):
    """Normalises the last axis of `x` [..., H] (Ba et al., 2016, https://arxiv.org/abs/1607.06450)."""
    mean, variance = tf.nn.moments(x, axes=[-1], keep_dims=True)
    return tf.nn.batch_normalization(x, mean, variance, beta, gamma, LAYER_NORM_EPSILON)


def no_dropout(x, rate=0.0):
    """The dropout of everything but training: none."""
    del rate
    return x


class Dropout(object):
    """Sets elements to zero with probability `rate` and scales the others up (Srivastava et al., 2014).

    What is dropped depends on `seed`, `step` and the place of the call in the model alone, so that a training that was
    interrupted goes on with the numbers that it would have drawn.

    Args:
      seed: whole number.
      step: scalar whole-number tensor: the training step, or another number for each step.
    """

    def __init__(self, seed, step):
        self._seed, self._step, self._calls = seed, tf.cast(step, tf.int32), 0

    def __call__(self, x, rate):
        if not rate:
            return x
        self._calls += 1
        seed = tf.stack([tf.constant((self._seed + 7919 * self._calls) % (2 ** 31 - 1)), self._step])
        kept = tf.random.stateless_uniform(dimensions(x), seed) >= rate
        return tf.where(kept, x * (1.0 / (1.0 - rate)), tf.zeros_like(x))


def _split_heads(x, heads):
    """[B, T, H] -> [B, N, T, D]."""
    batch, tokens, hidden = dimensions(x)
    return tf.transpose(tf.reshape(x, [batch, tokens, heads, hidden // heads]), [0, 2, 1, 3])


def _join_heads(x):
    """[B, N, T, D] -> [B, T, H]."""
    batch, heads, tokens, size = dimensions(x)
    return tf.reshape(tf.transpose(x, [0, 2, 1, 3]), [batch, tokens, heads * size])


Branch = collections.namedtuple("Branch", ["bias", "queries", "keys"])
Branch.__doc__ = """One of the ways that a layer is run from one input.

Attributes:
  bias: added to the scores, broadcastable to [B, N, queries, keys].
  queries: scalar, how many of the first tokens ask and are in the output; None for all.
  keys: scalar, how many of the first tokens are asked; None for all.
"""


def first(tensor, number):
    """Returns the first `number` (None: all) along the last but one axis of `tensor` [..., T, D]."""
    return tensor if number is None else tensor[..., :number, :]


def batched_attention(query, key, values, branches, dropout=no_dropout, see_probabilities=None):
    """Returns the contexts [B, N, queries, D], one for each branch (Vaswani et al., 2017, section 3.2.1).

    Args:
      query, key, values: [B, N, T, D]; the query is scaled.
      branches: list of `Branch`.
      dropout: `dropout(probabilities)`.
      see_probabilities: function called with the probabilities [B, N, queries, keys] of each branch.
    """
    scores, contexts = {}, []
    for bias, queries, keys in branches:
        part = queries is None, keys is None
        if part not in scores:
            scores[part] = tf.matmul(first(query, queries), first(key, keys), transpose_b=True)
        probabilities = tf.nn.softmax(scores[part] + bias)
        if see_probabilities is not None:
            see_probabilities(probabilities)
        contexts.append(tf.matmul(dropout(probabilities), first(values, keys)))
    return contexts


def residual_norm(x, residual, beta, gamma):
    """Returns `layer_norm(x + residual)`, the end of both halves of a layer."""
    return layer_norm(x + residual, beta, gamma)


Kernels = collections.namedtuple("Kernels", ["attention", "activation", "residual_norm"])
Kernels.__doc__ = """The parts of a layer that are no product with weights, for which a device may have a faster form; `activation`
takes a function of the field's name and returns the one to use."""

PLAIN_KERNELS = Kernels(batched_attention, lambda function: function, residual_norm)


def padding_bias(input_mask):
    """[B, T] with 1 on tokens and 0 on padding -> bias [B, 1, 1, T] that takes padding keys out of every softmax."""
    return (1.0 - tf.cast(input_mask, tf.float32))[:, tf.newaxis, tf.newaxis, :] * MASKED


def _layer_norm_variables(size):
    with tf.variable_scope("LayerNorm"):
        return (tf.get_variable("beta", [size], initializer=tf.zeros_initializer()),
                tf.get_variable("gamma", [size], initializer=tf.ones_initializer()))


def _dense_variables(scope, rows, columns, initializer):
    with tf.variable_scope(scope):
        return (tf.get_variable("kernel", [rows, columns], initializer=initializer),
                tf.get_variable("bias", [columns], initializer=tf.zeros_initializer()))


class Bert(object):
    """The variables of one BERT in the current graph, and the pieces of its forward pass.

    Args:
      config: a `BertConfig`.
      dropout: `dropout(x, rate)`, a `Dropout` in training.
      one_hot_embeddings: look words up by a matrix product, which is faster on TPU.
      kernels: `Kernels`, forms of a layer's parts that suit the device.
      run: `run(form, function, *tensors) -> list of tensors` carries out a layer; functions of one form and signature are
        alike. The default calls the function.
    """

    def __init__(self, config, dropout=no_dropout, one_hot_embeddings=False, kernels=PLAIN_KERNELS, run=None):
        self.config = config
        self._dropout, self._kernels = dropout, kernels
        self._one_hot = one_hot_embeddings
        self._run = run or (lambda form, function, *tensors: function(*tensors))
        with tf.variable_scope("bert"):
            self._make_embeddings()
            with tf.variable_scope("encoder"):
                self._weights = [self._make_layer(index) for index in range(config.num_hidden_layers)]
            # The span head does not read the pooler; it is there because checkpoints carry it.
            with tf.variable_scope("pooler"):
                _dense_variables("dense", config.hidden_size, config.hidden_size, self._initializer())

    def _initializer(self):
        return tf.truncated_normal_initializer(stddev=self.config.initializer_range)

    def _make_embeddings(self):
        config = self.config
        with tf.variable_scope("embeddings"):
            def table(name, rows):
                return tf.get_variable(name, [rows, config.hidden_size], initializer=self._initializer())
            self._words = table("word_embeddings", config.vocab_size)
            self._types = table("token_type_embeddings", config.type_vocab_size)
            self._positions = table("position_embeddings", config.max_position_embeddings)
            self._embedding_norm = _layer_norm_variables(config.hidden_size)

    def _make_layer(self, index):
        hidden, wide, initializer = self.config.hidden_size, self.config.intermediate_size, self._initializer()
        weights = []
        with tf.variable_scope("layer_%d" % index):
            with tf.variable_scope("attention"):
                with tf.variable_scope("self"):
                    for name in ("query", "key", "value"):
                        weights.extend(_dense_variables(name, hidden, hidden, initializer))
                with tf.variable_scope("output"):
                    weights.extend(_dense_variables("dense", hidden, hidden, initializer))
                    weights.extend(_layer_norm_variables(hidden))
            with tf.variable_scope("intermediate"):
                weights.extend(_dense_variables("dense", hidden, wide, initializer))
            with tf.variable_scope("output"):
                weights.extend(_dense_variables("dense", wide, hidden, initializer))
                weights.extend(_layer_norm_variables(hidden))
        return LayerWeights(*weights)

    def _look_up(self, table, ids, one_hot):
        """Rows of `table` [R, H] for `ids` [B, T] -> [B, T, H]."""
        if not one_hot:
            return tf.gather(table, ids)
        rows, width = table.shape.as_list()
        chosen = tf.matmul(tf.one_hot(tf.reshape(ids, [-1]), depth=rows), table)
        return tf.reshape(chosen, dimensions(ids) + [width])

    def embeddings(self, input_ids, segment_ids):
        """Returns the encoder's input [B, T, H] for word and segment ids [B, T]."""
        tokens = dimensions(input_ids)[1]
        # There are but two segments, so the product is the faster look-up on every device.
        summed = (self._look_up(self._words, input_ids, self._one_hot) +
                  self._look_up(self._types, segment_ids, True) + self._positions[tf.newaxis, :tokens])
        return self._dropout(layer_norm(summed, *self._embedding_norm), self.config.hidden_dropout_prob)

    def branch(self, index, hidden, branches, see_probabilities=None):
        """Returns the outputs of layer `index` from one input, a list with a [B, queries, H] for each branch.

        The layer's projections and scores, which do not depend on the bias, are worked out once.

        Args:
          index: number of the layer; 0 is next to the embeddings.
          hidden: the layer's input, [B, T, H].
          branches: list of `Branch`.
          see_probabilities: called with the attention probabilities [B, N, queries, keys] of each branch.
        """
        numbers = [tensor for branch in branches for tensor in branch if tensor is not None]
        form = tuple((branch.queries is None, branch.keys is None) for branch in branches)

        def outputs(x, *tensors):
            given = iter(tensors)
            inside = [Branch(*(None if tensor is None else next(given) for tensor in branch)) for branch in branches]
            return self._outputs(x, inside, LayerWeights(*given), see_probabilities)
        return self._run(form, outputs, hidden, *(numbers + list(self._weights[index])))

    def _outputs(self, hidden, branches, weights, see_probabilities):
        config, drop = self.config, self._dropout
        heads = config.num_attention_heads
        query = _split_heads(dense(hidden, weights.query_kernel, weights.query_bias) *
                             (1.0 / math.sqrt(config.hidden_size // heads)), heads)
        key = _split_heads(dense(hidden, weights.key_kernel, weights.key_bias), heads)
        values = _split_heads(dense(hidden, weights.value_kernel, weights.value_bias), heads)
        contexts = self._kernels.attention(query, key, values, branches,
                                           lambda seen: drop(seen, config.attention_probs_dropout_prob), see_probabilities)
        return [self._feed_forward(first(hidden, branch.queries), _join_heads(context), weights)
                for branch, context in zip(branches, contexts)]

    def _feed_forward(self, hidden, context, weights):
        """Returns a layer's output [B, T, H] from its input and the context that its attention gathered."""
        config, kernels, drop = self.config, self._kernels, self._dropout
        attention = drop(dense(context, weights.attention_kernel, weights.attention_bias), config.hidden_dropout_prob)
        attention = kernels.residual_norm(attention, hidden, weights.attention_beta, weights.attention_gamma)
        activation = kernels.activation(_ACTIVATIONS[config.hidden_act])
        wide = activation(dense(attention, weights.intermediate_kernel, weights.intermediate_bias))
        output = drop(dense(wide, weights.output_kernel, weights.output_bias), config.hidden_dropout_prob)
        return kernels.residual_norm(output, attention, weights.output_beta, weights.output_gamma)

    def layer(self, index, hidden, bias, see_probabilities=None):
        """Returns the output [B, T, H] of layer `index` under one bias (see `branch`)."""
        return self.branch(index, hidden, [Branch(bias, None, None)], see_probabilities)[0]

    def layers(self, start, stop, hidden, bias, change_bias=None, see_probabilities=None):
        """Runs layers `start` to `stop - 1` from `hidden` [B, T, H].

        Args:
          bias: the attention bias without intervention, broadcastable to [B, N, T, T].
          change_bias: `change_bias(bias, layer) -> bias`, called once for each layer.
          see_probabilities: `see_probabilities(probabilities, layer)`, called once for each layer.
        """
        for index in range(start, stop):
            see = None if see_probabilities is None else lambda seen, index=index: see_probabilities(seen, index)
            hidden = self.layer(index, hidden, bias if change_bias is None else change_bias(bias, index), see)
        return hidden
