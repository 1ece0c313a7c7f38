# SPDX-License-Identifier: Apache-2.0
"""BERT (Devlin et al., 2019, https://arxiv.org/abs/1810.04805), part by part.

The encoder knows nothing of questions and passages: a caller passes the attention bias of a layer
and may see its probabilities. `mrc.model.branches` runs one layer in several ways at once.

Shapes: B batch, T tokens, R queries, K keys, H hidden size, E embedding size (H for BERT), N heads,
D = H / N head size, I intermediate size.
"""

import math
from typing import Callable, FrozenSet, NamedTuple, Tuple

import tensorflow.compat.v1 as tf

from mrc import variables
from mrc.families import LAYER_NORM_EPSILON
from mrc.util import tensorflow_versions  # noqa: F401

MASKED = -10000.0  # added to the scores of masked keys
_ODD = -1640531535  # 2^32 / golden ratio (Knuth, vol. 3, section 6.4), as an int32


def dimensions(tensor):
    """Returns the shape of `tensor`: a list of integers, or of scalars where it is not static."""
    dynamic = None
    sizes = tensor.shape.as_list()
    for axis, size in enumerate(sizes):
        if size is None:
            dynamic = tf.shape(tensor) if dynamic is None else dynamic
            sizes[axis] = dynamic[axis]
    return sizes


class LayerWeights(NamedTuple):
    """The tensors of one encoder layer."""

    query_kernel: tf.Tensor  # [H, H]
    query_bias: tf.Tensor  # [H]
    key_kernel: tf.Tensor  # [H, H]
    key_bias: tf.Tensor  # [H]
    value_kernel: tf.Tensor  # [H, H]
    value_bias: tf.Tensor  # [H]
    attention_kernel: tf.Tensor  # [H, H]
    attention_bias: tf.Tensor  # [H]
    attention_beta: tf.Tensor  # [H]
    attention_gamma: tf.Tensor  # [H]
    intermediate_kernel: tf.Tensor  # [H, I]
    intermediate_bias: tf.Tensor  # [I]
    output_kernel: tf.Tensor  # [I, H]
    output_bias: tf.Tensor  # [H]
    output_beta: tf.Tensor  # [H]
    output_gamma: tf.Tensor  # [H]


# Weights whose products may be computed in another type. Those of attention are not among them:
# softmax exponentiates the error of a score.
CONVERTIBLE = ("attention_kernel", "intermediate_kernel", "output_kernel")


def _make_layers(config, convert):
    """Returns the `LayerWeights` of each layer, the same ones where layers share them."""
    shared = {}
    for layer in range(config.num_hidden_layers):
        declared = variables.layer(config, layer)
        if declared[0].name not in shared:
            weights = LayerWeights(*[variable.make() for variable in declared])
            converted = {name: convert(getattr(weights, name)) for name in CONVERTIBLE}
            shared[declared[0].name] = weights._replace(**converted)
        yield shared[declared[0].name]


def gelu(x):
    """Gaussian error linear unit, tanh approximation (Hendrycks & Gimpel, 2016, https://arxiv.org/abs/1606.08415).

    0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), factored so that the cube costs two
    multiplications.
    """
    scale = math.sqrt(2.0 / math.pi)
    half = 0.5 * x
    return half + half * tf.tanh(x * (scale + (0.044715 * scale) * (x * x)))


def gelu_erf(x):
    """Gaussian error linear unit as defined, x times the normal distribution function of x.

    Hugging Face's `gelu` and ELECTRA's; up to 4.7e-4 apart from the approximation.
    """
    return 0.5 * x * (1.0 + tf.erf(x * math.sqrt(0.5)))


ACTIVATIONS = {"gelu": gelu, "gelu_erf": gelu_erf, "relu": tf.nn.relu, "tanh": tf.tanh, "linear": tf.identity}


def product(x, kernel):
    """Returns `x @ kernel` for `x` [..., K], `kernel` [K, M], in the type of `kernel`.

    A two-dimensional product is the fastest.
    """
    sizes = dimensions(x)
    rows = tf.cast(tf.reshape(x, [-1, sizes[-1]]), kernel.dtype.base_dtype)
    return tf.reshape(tf.matmul(rows, kernel), sizes[:-1] + kernel.shape.as_list()[-1:])


def dense(x, kernel, bias):
    """Returns `x @ kernel + bias` for `x` [..., K], `kernel` [K, M], `bias` [M]."""
    return add_bias(product(x, kernel), bias)


def add_bias(x, bias):
    """Returns `x + bias` for `x` [..., M] and `bias` [M], in the type of `bias`."""
    return tf.nn.bias_add(tf.cast(x, bias.dtype.base_dtype), bias)


def layer_norm(x, beta, gamma):
    """Normalises the last axis of `x` [..., H] (Ba et al., 2016, https://arxiv.org/abs/1607.06450)."""
    mean, variance = tf.nn.moments(x, axes=[-1], keep_dims=True)
    return tf.nn.batch_normalization(x, mean, variance, beta, gamma, LAYER_NORM_EPSILON)


def biased_activation(function, x, bias):
    """Returns `function(x + bias)` for `x` [..., I] and `bias` [I], in the type of `x`."""
    return tf.cast(function(add_bias(x, bias)), x.dtype)


def activated_dense(function, x, kernel, bias):
    """Returns `function(x @ kernel + bias)` [..., I] in the type of `kernel`, for `x` [..., H]."""
    return biased_activation(function, product(x, kernel), bias)


def biased_residual_norm(x, bias, residual, beta, gamma):
    """Returns the layer norm of `x + bias + residual`; `x`, `residual` [..., H], others [H]."""
    return layer_norm(add_bias(x, bias) + residual, beta, gamma)


def normalized_dense(x, kernel, bias, residual, beta, gamma):
    """Returns the layer norm [..., H] of `x @ kernel + bias + residual`, for `x` [..., K]."""
    return biased_residual_norm(product(x, kernel), bias, residual, beta, gamma)


def no_dropout(x, rate=0.0):
    """Dropout outside of training: returns `x`."""
    del rate
    return x


class Dropout:
    """Sets elements to zero at `rate` and scales the others up (Srivastava et al., 2014).

    The mask depends only on `seed`, `step` and the position of the call in the model, so that a
    resumed training draws the same numbers as an uninterrupted one.

    Args:
      seed: an integer.
      step: scalar integer tensor that differs from step to step, such as the training step.
      first: None, or the place in the batch of the first of these windows, a scalar: each window
        then has a mask by its place, whatever part of the batch it is computed with.
    """

    def __init__(self, seed, step, first=None):
        self._seed, self._step, self._calls = seed, tf.cast(step, tf.int32), 0
        self._first = first

    def __call__(self, x, rate):
        if not rate:
            return x
        self._calls += 1
        shape = dimensions(x)
        if self._first is None:
            drawn = self._draw(shape, 0)
        else:
            places = [self._first + window + 1 for window in range(shape[0])]
            drawn = tf.stack([self._draw(shape[1:], place) for place in places])
        return tf.where(drawn >= rate, x * (1.0 / (1.0 - rate)), tf.zeros_like(x))

    def _draw(self, shape, place):
        seed = tf.constant((self._seed + 7919 * self._calls) % (2**31 - 1))
        return tf.random.stateless_uniform(shape, tf.stack([seed, self._step + _ODD * place]))


class AttentionInputs(NamedTuple):
    """Inputs of one attention.

    Attributes:
      query: scaled by 1 / sqrt(D), `[B, R, H]`.
      key, value: `[B, K, H]`.
      biases: for each head, what is added to its scores, broadcastable to `[B, 1, R, K]`.
    """

    query: tf.Tensor
    key: tf.Tensor
    value: tf.Tensor
    biases: Tuple[tf.Tensor, ...]


def distinct(tensors):
    """Returns the distinct tensors, and for each of `tensors` its index among them."""
    unique = []
    for tensor in tensors:
        if not any(tensor is other for other in unique):
            unique.append(tensor)
    return unique, [next(index for index, other in enumerate(unique) if tensor is other) for tensor in tensors]


def split_heads(x, heads):
    """[B, T, H] -> [B, N, T, D]."""
    batch, tokens, hidden = dimensions(x)
    return tf.transpose(tf.reshape(x, [batch, tokens, heads, hidden // heads]), [0, 2, 1, 3])


def join_heads(x):
    """[B, N, T, D] -> [B, T, H]."""
    batch, heads, tokens, size = dimensions(x)
    return tf.reshape(tf.transpose(x, [0, 2, 1, 3]), [batch, tokens, heads * size])


def padding_bias(input_mask):
    """[B, T] with 1 on tokens and 0 on padding -> bias [B, 1, 1, T] that excludes padding keys."""
    return (1.0 - tf.cast(input_mask, tf.float32))[:, tf.newaxis, tf.newaxis, :] * MASKED


def joined_biases(biases):
    """Returns the biases of all heads as one tensor, broadcastable to [B, N, R, K]."""
    unique, indices = distinct(biases)
    if len(unique) == 1:
        return unique[0]
    # Exact: each head adds its own bias, and zeros.
    heads_of = ([float(index == other) for index in indices] for other in range(len(unique)))
    return sum(tf.constant(heads, tf.float32, [1, len(heads), 1, 1]) * bias for heads, bias in zip(heads_of, unique))


def batched_attention(attention_inputs, heads, dropout=no_dropout, see_probabilities=None):
    """Returns the context [B, R, H] of each of `attention_inputs`.

    Args:
      attention_inputs: list of `AttentionInputs`; scores of the same query and key are computed
        once.
      heads: N.
      dropout: function of the probabilities.
      see_probabilities: called with the probabilities `[B, N, R, K]` of each of the inputs.
    """
    scores, contexts = {}, []
    for each in attention_inputs:
        pair = each.query, each.key  # the same tensors, as in branches that differ in their bias
        if pair not in scores:
            query, key = split_heads(each.query, heads), split_heads(each.key, heads)
            scores[pair] = tf.matmul(query, key, transpose_b=True)  # [B, N, R, K]
        probabilities = tf.nn.softmax(scores[pair] + joined_biases(each.biases))
        if see_probabilities is not None:
            see_probabilities(probabilities)
        value = split_heads(each.value, heads)  # [B, N, K, D]
        contexts.append(join_heads(tf.matmul(dropout(probabilities), value)))  # [B, R, H]
    return contexts


class LayerOps(NamedTuple):
    """The operations of a device, which may have faster ones than the plain graph for prediction.

    Attributes:
      attention: `attention(attention_inputs, heads)`, like `batched_attention`.
      dense, activated_dense, normalized_dense: like the functions of these names.
      run: `run(signature, function, *tensors) -> list of tensors` runs a part of a layer. Functions
        of the same signature, on tensors of the same types and shapes, must be equivalent.
      length_step: lengths are rounded to multiples of this many tokens, a compromise between
        preparing for more lengths and computing more padding.
      kept_types: weight types for which a product after attention keeps the weights of its first
        run; layers with different weights must not share it.
    """

    attention: Callable = batched_attention
    dense: Callable = dense
    activated_dense: Callable = activated_dense
    normalized_dense: Callable = normalized_dense
    run: Callable = lambda signature, function, *tensors: function(*tensors)
    length_step: int = 16
    kept_types: FrozenSet[tf.DType] = frozenset()


PLAIN_OPS = LayerOps()


class Embeddings:
    """The variables of the embeddings, and the encoder's input from them.

    Args:
      config: a `BertConfig`.
      one_hot: look words up by a matrix product.
    """

    def __init__(self, config, one_hot):
        self._one_hot = one_hot
        tensors = [variable.make() for variable in variables.embeddings(config)]
        self._words, self._types, self._positions = tensors[:3]
        self._norm, self._projection = tensors[3:5], tensors[5:]

    @staticmethod
    def _look_up(table, ids, one_hot):
        """Rows of `table` [rows, E] for `ids` [B, T] -> [B, T, E]."""
        if not one_hot:
            return tf.gather(table, ids)
        rows, width = table.shape.as_list()
        chosen = tf.matmul(tf.one_hot(tf.reshape(ids, [-1]), depth=rows), table)
        return tf.reshape(chosen, dimensions(ids) + [width])

    def __call__(self, input_ids, segment_ids, dropout):
        """Returns the encoder's input [B, T, H] for word and segment ids [B, T].

        `dropout` maps the normalized embeddings [B, T, E], before the projection.
        """
        tokens = dimensions(input_ids)[1]
        # With only two segments, a product is the faster look-up on every device.
        summed = (
            self._look_up(self._words, input_ids, self._one_hot)
            + self._look_up(self._types, segment_ids, True)
            + self._positions[tf.newaxis, :tokens]
        )
        embedded = dropout(layer_norm(summed, *self._norm))  # [B, T, E]
        return dense(embedded, *self._projection) if self._projection else embedded


class Layer:
    """One layer of the encoder.

    Args:
      config: a `BertConfig`.
      weights: `LayerWeights`.
      dropout, ops: see `Bert`.
    """

    def __init__(self, config, weights, dropout, ops):
        self._config, self.weights = config, weights
        self._dropout, self._ops = dropout, ops

    def with_weights(self, weights):
        """Returns this layer with other `LayerWeights`."""
        return Layer(self._config, weights, self._dropout, self._ops)

    def query(self, hidden):
        """Returns the scaled queries [B, T, H]."""
        scale = 1.0 / math.sqrt(self._config.hidden_size // self._config.num_attention_heads)
        return self._ops.dense(hidden, self.weights.query_kernel, self.weights.query_bias) * scale

    def key_and_value(self, hidden):
        """Returns the keys and values, [B, T, H] each."""
        return (
            self._ops.dense(hidden, self.weights.key_kernel, self.weights.key_bias),
            self._ops.dense(hidden, self.weights.value_kernel, self.weights.value_bias),
        )

    def attend(self, attention_inputs, see_probabilities=None):
        """Returns the context [B, R, H] of each of `attention_inputs`."""
        heads, rate = self._config.num_attention_heads, self._config.attention_probs_dropout_prob
        if self._dropout is no_dropout and see_probabilities is None:
            return self._ops.attention(attention_inputs, heads)
        return batched_attention(
            attention_inputs, heads, lambda probabilities: self._dropout(probabilities, rate), see_probabilities
        )

    def feed_forward(self, hidden, context):
        """Returns the output [B, R, H] from the input and the context of the attention."""
        w = self.weights
        attended = self._residual_norm(
            context, w.attention_kernel, w.attention_bias, hidden, w.attention_beta, w.attention_gamma
        )
        activation = ACTIVATIONS[self._config.hidden_act]
        wide = self._ops.activated_dense(  # [B, R, I]
            activation, attended, w.intermediate_kernel, w.intermediate_bias
        )
        return self._residual_norm(wide, w.output_kernel, w.output_bias, attended, w.output_beta, w.output_gamma)

    def _residual_norm(self, x, kernel, bias, residual, beta, gamma):
        if self._dropout is no_dropout:
            return self._ops.normalized_dense(x, kernel, bias, residual, beta, gamma)
        dropped = self._dropout(dense(x, kernel, bias), self._config.hidden_dropout_prob)
        return layer_norm(dropped + residual, beta, gamma)

    def __call__(self, hidden, bias, see_probabilities=None):
        """Returns the output [B, T, H] for the input `hidden` [B, T, H].

        Args:
          bias: added to the scores, broadcastable to [B, 1, T, T].
          see_probabilities: called with the attention probabilities [B, N, T, T].
        """
        biases = (bias,) * self._config.num_attention_heads
        inputs = AttentionInputs(self.query(hidden), *self.key_and_value(hidden), biases)
        (context,) = self.attend([inputs], see_probabilities)
        return self.feed_forward(hidden, context)


class Bert:
    """The variables of one BERT in the current graph, and the parts of its forward pass.

    Args:
      config: a `BertConfig`.
      dropout: `dropout(x, rate)`, a `Dropout` in training.
      one_hot_embeddings: look words up by a matrix product, which is faster on TPU.
      ops: the `LayerOps` of the device; only the plain ones support dropout.
      convert: `convert(kernel)` returns the weights of a product in another type, in which the
        products of `CONVERTIBLE` weights are then computed. The default returns the variable.

    Attributes:
      layers: the `Layer`s, from the one next to the embeddings.
    """

    def __init__(self, config, dropout=no_dropout, one_hot_embeddings=False, ops=PLAIN_OPS, convert=lambda kernel: kernel):
        self.config, self.ops, self._dropout = config, ops, dropout
        self._embeddings = Embeddings(config, one_hot_embeddings)
        weights = list(_make_layers(config, convert))
        self.layers = [Layer(config, each, dropout, ops) for each in weights]
        for variable in variables.pooler(config):
            variable.make()

    def embeddings(self, input_ids, segment_ids):
        """Returns the encoder's input [B, T, H] for word and segment ids [B, T]."""
        rate = self.config.hidden_dropout_prob
        return self._embeddings(input_ids, segment_ids, lambda embedded: self._dropout(embedded, rate))

    def encode(self, hidden, bias, see_probabilities=None):
        """Returns the output [B, T, H] of all layers for the encoder's input [B, T, H].

        Args:
          bias: the attention bias, broadcastable to [B, 1, T, T].
          see_probabilities: called with the probabilities [B, N, T, T] of each layer.
        """
        for layer in self.layers:
            hidden = layer(hidden, bias, see_probabilities)
        return hidden
