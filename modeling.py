# SPDX-License-Identifier: Apache-2.0
"""BERT (Devlin et al., 2019, https://arxiv.org/abs/1810.04805) in parts that can be called
separately.

Variables have the names of Google's released checkpoints. The encoder knows nothing of questions
and passages: a caller changes the attention bias of a layer and observes its probabilities.

Shapes: B batch, T tokens, H hidden size, E embedding size (H for BERT), N heads, D = H / N head
size, I intermediate size, V vocabulary.
"""

import math
from typing import Callable, FrozenSet, NamedTuple, Optional, Tuple

import tensorflow.compat.v1 as tf

from mrc.util import tensorflow_versions  # noqa: F401

LAYER_NORM_EPSILON = 1e-12
MASKED = -10000.0  # added to the scores of masked keys


# Weights whose products may be computed in another type. Those of attention are not among them:
# softmax exponentiates the error of a score.
CONVERTIBLE = ("attention_kernel", "intermediate_kernel", "output_kernel")


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


def dimensions(tensor):
    """Returns the shape of `tensor` as a list: integers where it is static, scalar tensors
    elsewhere.
    """
    dynamic = None
    sizes = tensor.shape.as_list()
    for axis, size in enumerate(sizes):
        if size is None:
            dynamic = tf.shape(tensor) if dynamic is None else dynamic
            sizes[axis] = dynamic[axis]
    return sizes


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


ACTIVATIONS = {
    "gelu": gelu,
    "gelu_erf": gelu_erf,
    "relu": tf.nn.relu,
    "tanh": tf.tanh,
    "linear": tf.identity,
}


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


def no_dropout(x, rate=0.0):
    """Dropout outside of training: returns `x`."""
    del rate
    return x


class Dropout:
    """Sets elements to zero with probability `rate` and scales the others up (Srivastava et al.,
    2014).

    The mask depends only on `seed`, `step` and the position of the call in the model, so that a
    resumed training draws the same numbers as an uninterrupted one.

    Args:
      seed: an integer.
      step: scalar integer tensor that differs from step to step, such as the training step.
    """

    def __init__(self, seed, step):
        self._seed, self._step, self._calls = seed, tf.cast(step, tf.int32), 0

    def __call__(self, x, rate):
        if not rate:
            return x
        self._calls += 1
        seed = tf.stack([tf.constant((self._seed + 7919 * self._calls) % (2**31 - 1)), self._step])
        kept = tf.random.stateless_uniform(dimensions(x), seed) >= rate
        return tf.where(kept, x * (1.0 / (1.0 - rate)), tf.zeros_like(x))


class Branch(NamedTuple):
    """One of the ways that a layer is run from one input.

    Attributes:
      bias: added to the scores of `heads`, broadcastable to `[B, 1, R, K]`.
      rows: tuple of (start, stop), the stretches of tokens that are queries and are in the output,
        R together; None for all.
      keys: scalar K, how many of the first tokens are keys; None for all.
      heads: frozenset of the heads that differ from the others; None for all.
      other_bias: `bias` of the other heads, None where there are none.
      is_off: whether the context vectors of `heads` are zero.
    """

    bias: tf.Tensor
    rows: Optional[tuple] = None
    keys: Optional[tf.Tensor] = None
    heads: Optional[FrozenSet[int]] = None
    other_bias: Optional[tf.Tensor] = None
    is_off: bool = False

    def is_chosen(self, head: int) -> bool:
        """Whether `head` is one of `heads`."""
        return self.heads is None or head in self.heads


class AttentionInputs(NamedTuple):
    """Inputs of one attention.

    Attributes:
      query: scaled, `[B, R, H]`.
      key, value: `[B, K, H]`.
      biases: for each head, what is added to its scores, broadcastable to `[B, 1, R, K]`.
      off: heads whose context vectors are zero.
    """

    query: tf.Tensor
    key: tf.Tensor
    value: tf.Tensor
    biases: Tuple[tf.Tensor, ...]
    off: FrozenSet[int] = frozenset()


def distinct(tensors):
    """Returns the distinct tensors, and for each of `tensors` its index among them."""
    found = []
    for tensor in tensors:
        if not any(tensor is other for other in found):
            found.append(tensor)
    return found, [
        next(number for number, other in enumerate(found) if tensor is other) for tensor in tensors
    ]


def _parts(branch):
    """Returns the tensors and numbers in a `Branch` as a flat list."""
    ends = [end for stretch in branch.rows or () for end in stretch]
    optional = [part for part in (branch.keys, branch.other_bias) if part is not None]
    return [branch.bias] + ends + optional


def _branches_of(branches, parts):
    """Returns `branches` with other `parts`, a flat list for all of them; inverts `_parts`."""
    parts, made = iter(parts), []
    for branch in branches:
        bias = next(parts)
        rows = branch.rows and tuple((next(parts), next(parts)) for _ in branch.rows)
        keys, other_bias = (
            None if part is None else next(parts) for part in (branch.keys, branch.other_bias)
        )
        made.append(branch._replace(bias=bias, rows=rows, keys=keys, other_bias=other_bias))
    return made


def take(tensor, rows):
    """Returns the stretches `rows` (see `Branch`) along axis 1 of `tensor` [B, T, ...]."""
    if rows is None:
        return tensor
    parts = [tensor[:, start:stop] for start, stop in rows]
    return parts[0] if len(parts) == 1 else tf.concat(parts, axis=1)


def split_heads(x, heads):
    """[B, T, H] -> [B, N, T, D]."""
    batch, tokens, hidden = dimensions(x)
    return tf.transpose(tf.reshape(x, [batch, tokens, heads, hidden // heads]), [0, 2, 1, 3])


def join_heads(x):
    """[B, N, T, D] -> [B, T, H]."""
    batch, heads, tokens, size = dimensions(x)
    return tf.reshape(tf.transpose(x, [0, 2, 1, 3]), [batch, tokens, heads * size])


def batched_attention(
    attention_inputs, heads, dropout=lambda probabilities: probabilities, see_probabilities=None
):
    """Returns the contexts [B, R, H] (Vaswani et al., 2017, section 3.2).

    Args:
      attention_inputs: list of `AttentionInputs`; scores of the same query and key are computed
        once.
      heads: N.
      dropout: function of the probabilities.
      see_probabilities: called with the probabilities `[B, N, R, K]` of each of the inputs.
    """
    scores, contexts = {}, []
    for each in attention_inputs:
        pair = each.query, each.key
        if pair not in scores:
            scores[pair] = tf.matmul(
                split_heads(each.query, heads), split_heads(each.key, heads), transpose_b=True
            )
        probabilities = tf.nn.softmax(scores[pair] + joined_biases(each.biases))
        if see_probabilities is not None:
            see_probabilities(probabilities)
        context = tf.matmul(dropout(probabilities), split_heads(each.value, heads))
        if each.off:
            context *= indicator([head not in each.off for head in range(heads)])
        contexts.append(join_heads(context))
    return contexts


def indicator(chosen):
    """Returns 1.0 where a head is chosen and 0.0 elsewhere, [1, N, 1, 1]."""
    return tf.constant([float(each) for each in chosen], tf.float32, [1, len(chosen), 1, 1])


def joined_biases(biases):
    """Returns the biases of all heads as one tensor, broadcastable to [B, N, R, K]."""
    found, numbers = distinct(biases)
    if len(found) == 1:
        return found[0]
    # Exact: each head adds its own bias, and zeros.
    chosen = ([number == other for other in numbers] for number in range(len(found)))
    return sum(indicator(heads) * bias for heads, bias in zip(chosen, found))


def biased_activation(function, x, bias):
    """Returns `function(x + bias)` for `x` [..., I] and `bias` [I], in the type of `x`."""
    return tf.cast(function(add_bias(x, bias)), x.dtype)


def activated_dense(function, x, kernel, bias):
    """Returns `function(x @ kernel + bias)` for `x` [..., H], `kernel` [H, I] and `bias` [I], in
    the type of `kernel`.
    """
    return biased_activation(function, product(x, kernel), bias)


def biased_residual_norm(x, bias, residual, beta, gamma):
    """Returns the layer norm of `x + bias + residual` for `x` and `residual` [..., H], the others
    [H].
    """
    return layer_norm(add_bias(x, bias) + residual, beta, gamma)


def normalized_dense(x, kernel, bias, residual, beta, gamma):
    """Returns the layer norm of `x @ kernel + bias + residual` for `x` [..., K], `kernel` [K, H],
    `residual` [..., H], the others [H].
    """
    return biased_residual_norm(product(x, kernel), bias, residual, beta, gamma)


class LayerOps(NamedTuple):
    """Operations of a layer of which a device may have faster ones for prediction.

    Attributes:
      attention: `attention(attention_inputs, heads)`, like `batched_attention`.
      dense, activated_dense, normalized_dense: like the functions of these names.
      length_step: lengths are rounded to multiples of this many tokens, a compromise between
        preparing for more lengths and computing more padding.
      kept_types: weight types for which a product after attention keeps the weights of its first
        run; layers with different weights must not share it.
    """

    attention: Callable
    dense: Callable
    activated_dense: Callable
    normalized_dense: Callable
    length_step: int
    kept_types: FrozenSet[tf.DType] = frozenset()


PLAIN_OPS = LayerOps(batched_attention, dense, activated_dense, normalized_dense, length_step=16)


def padding_bias(input_mask):
    """[B, T] with 1 on tokens and 0 on padding -> bias [B, 1, 1, T] that excludes padding keys."""
    return (1.0 - tf.cast(input_mask, tf.float32))[:, tf.newaxis, tf.newaxis, :] * MASKED


def _layer_norm_variables(scope, size):
    with tf.variable_scope(scope):
        return (
            tf.get_variable("beta", [size], initializer=tf.zeros_initializer()),
            tf.get_variable("gamma", [size], initializer=tf.ones_initializer()),
        )


def _dense_variables(scope, rows, columns, initializer):
    with tf.variable_scope(scope):
        return (
            tf.get_variable("kernel", [rows, columns], initializer=initializer),
            tf.get_variable("bias", [columns], initializer=tf.zeros_initializer()),
        )


class Naming(NamedTuple):
    """Names of a family's variables in Google's checkpoints, as scopes below one another.

    Attributes:
      root: of all variables but the span head.
      projection: of the dense layer from narrower embeddings to the hidden size.
      layer: of a layer, with its number, or without where all layers share their weights.
      attention, attention_output, attention_norm, intermediate, output, output_norm: of a layer's
        parts.
      has_pooler: whether checkpoints carry a pooler, which the span head does not read.
    """

    root: str = "bert"
    projection: str = "embeddings_project"
    layer: str = "encoder/layer_{}"
    attention: str = "attention/self"
    attention_output: str = "attention/output/dense"
    attention_norm: str = "attention/output/LayerNorm"
    intermediate: str = "intermediate/dense"
    output: str = "output/dense"
    output_norm: str = "output/LayerNorm"
    has_pooler: bool = True

    def scope(self, layer: int) -> str:
        """Returns the scope of a layer's variables."""
        return self.layer.format(layer)


NAMINGS = {
    "bert": Naming(),
    "electra": Naming(root="electra", has_pooler=False),  # Clark et al., 2020, arXiv 2003.10555
    "albert": Naming(  # Lan et al., 2020, arXiv 1909.11942
        projection="encoder/embedding_hidden_mapping_in",
        layer="encoder/transformer/group_0/inner_group_0",
        attention="attention_1/self",
        attention_output="attention_1/output/dense",
        attention_norm="LayerNorm",
        intermediate="ffn_1/intermediate/dense",
        output="ffn_1/intermediate/output/dense",
        output_norm="LayerNorm_1",
    ),
}


def _initializer(config):
    return tf.truncated_normal_initializer(stddev=config.initializer_range)


class Embeddings:
    """The variables of the embeddings, and the encoder's input from them.

    Args:
      config: a `BertConfig`.
      one_hot: look words up by a matrix product.
    """

    def __init__(self, config, one_hot):
        self._one_hot = one_hot
        with tf.variable_scope("embeddings"):

            def table(name, rows):
                return tf.get_variable(
                    name, [rows, config.embedding_size], initializer=_initializer(config)
                )

            self._words = table("word_embeddings", config.vocab_size)
            self._types = table("token_type_embeddings", config.type_vocab_size)
            self._positions = table("position_embeddings", config.max_position_embeddings)
            self._norm = _layer_norm_variables("LayerNorm", config.embedding_size)
        self._projection = None
        if config.project_embeddings:
            self._projection = _dense_variables(
                NAMINGS[config.family].projection,
                config.embedding_size,
                config.hidden_size,
                _initializer(config),
            )

    def _look_up(self, table, ids, one_hot):
        """Rows of `table` [R, E] for `ids` [B, T] -> [B, T, E]."""
        if not one_hot:
            return tf.gather(table, ids)
        rows, width = table.shape.as_list()
        chosen = tf.matmul(tf.one_hot(tf.reshape(ids, [-1]), depth=rows), table)
        return tf.reshape(chosen, dimensions(ids) + [width])

    def embed(self, input_ids, segment_ids, dropout):
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
        embedded = dropout(layer_norm(summed, *self._norm))
        return embedded if self._projection is None else dense(embedded, *self._projection)


def _make_layer(config, convert):
    """Returns the `LayerWeights` of one layer in the current scope, made as variables."""
    hidden, wide = config.hidden_size, config.intermediate_size
    naming, initializer, weights = NAMINGS[config.family], _initializer(config), []
    for name in ("query", "key", "value"):
        scope = f"{naming.attention}/{name}"
        weights.extend(_dense_variables(scope, hidden, hidden, initializer))
    weights.extend(_dense_variables(naming.attention_output, hidden, hidden, initializer))
    weights.extend(_layer_norm_variables(naming.attention_norm, hidden))
    weights.extend(_dense_variables(naming.intermediate, hidden, wide, initializer))
    weights.extend(_dense_variables(naming.output, wide, hidden, initializer))
    weights.extend(_layer_norm_variables(naming.output_norm, hidden))
    return LayerWeights(
        *[
            convert(weight) if name in CONVERTIBLE else weight
            for name, weight in zip(LayerWeights._fields, weights)
        ]
    )


def _make_layers(config, convert):
    """Returns the `LayerWeights` of each layer, the same ones where layers share them."""
    made, naming = {}, NAMINGS[config.family]
    scopes = [naming.scope(index) for index in range(config.num_hidden_layers)]
    for scope in scopes:
        if scope not in made:
            with tf.variable_scope(scope):
                made[scope] = _make_layer(config, convert)
    return [made[scope] for scope in scopes]


class FeedForward:
    """What a layer computes after attention.

    Args:
      config: a `BertConfig`.
      dropout, ops: see `Bert`.
    """

    def __init__(self, config, dropout, ops):
        self._config, self._dropout, self._ops = config, dropout, ops

    def __call__(self, hidden, context, weights):
        """Returns a layer's output [B, R, H] from its input and the context of its attention."""
        attention = self._residual_norm(
            context,
            weights.attention_kernel,
            weights.attention_bias,
            hidden,
            weights.attention_beta,
            weights.attention_gamma,
        )
        wide = self._ops.activated_dense(
            ACTIVATIONS[self._config.hidden_act],
            attention,
            weights.intermediate_kernel,
            weights.intermediate_bias,
        )
        return self._residual_norm(
            wide,
            weights.output_kernel,
            weights.output_bias,
            attention,
            weights.output_beta,
            weights.output_gamma,
        )

    def _residual_norm(self, x, kernel, bias, residual, beta, gamma):
        if self._dropout is no_dropout:
            return self._ops.normalized_dense(x, kernel, bias, residual, beta, gamma)
        dropped = self._dropout(dense(x, kernel, bias), self._config.hidden_dropout_prob)
        return layer_norm(dropped + residual, beta, gamma)


class Bert:
    """The variables of one BERT in the current graph, and the pieces of its forward pass.

    Args:
      config: a `BertConfig`.
      dropout: `dropout(x, rate)`, a `Dropout` in training.
      one_hot_embeddings: look words up by a matrix product, which is faster on TPU.
      ops: the `LayerOps` for the device; only the plain ones support dropout.
      run: `run(form, function, *tensors) -> list of tensors` runs a layer; functions of the same
        form and signature are equivalent. The default calls the function.
      convert: `convert(kernel)` returns the weights of a product in another type, in which the
        products of `CONVERTIBLE` weights are then computed. The default returns the variable.
    """

    def __init__(
        self,
        config,
        dropout=no_dropout,
        one_hot_embeddings=False,
        ops=PLAIN_OPS,
        run=None,
        convert=lambda kernel: kernel,
    ):
        self.config = config
        self._dropout, self._ops = dropout, ops
        self._feed_forward = FeedForward(config, dropout, ops)
        self._run = run or (lambda form, function, *tensors: function(*tensors))
        naming, size = NAMINGS[config.family], config.hidden_size
        with tf.variable_scope(naming.root):
            self._embeddings = Embeddings(config, one_hot_embeddings)
            self._weights = _make_layers(config, convert)
            if naming.has_pooler:
                _dense_variables("pooler/dense", size, size, _initializer(config))

    @property
    def length_step(self):
        """See `LayerOps`."""
        return self._ops.length_step

    def embeddings(self, input_ids, segment_ids):
        """Returns the encoder's input [B, T, H] for word and segment ids [B, T]."""
        rate = self.config.hidden_dropout_prob
        return self._embeddings.embed(
            input_ids, segment_ids, lambda embedded: self._dropout(embedded, rate)
        )

    def branch(self, index, hidden, branches, see_probabilities=None):
        """Returns the outputs of layer `index` from one input, a list with a [B, R, H] for each
        branch.

        The layer's projections, which do not depend on the bias, are computed once.

        Args:
          index: number of the layer; 0 is next to the embeddings.
          hidden: the layer's input, [B, T, H].
          branches: list of `Branch`.
          see_probabilities: called with the attention probabilities [B, N, R, K] of each branch.
        """
        weights = self._weights[index]
        if see_probabilities is not None:
            contexts = self._contexts(hidden, branches, weights, see_probabilities)
            return self._after_attention(hidden, branches, contexts, weights)
        parts, form = distinct([part for branch in branches for part in _parts(branch)])
        keeps_weights = weights.output_kernel.dtype.base_dtype in self._ops.kept_types

        def layer(x, *tensors):
            weights = LayerWeights(*tensors[: len(LayerWeights._fields)])
            inside = _branches_of(branches, [tensors[len(weights) + number] for number in form])
            contexts = self._contexts(x, inside, weights)
            return (
                contexts if keeps_weights else self._after_attention(x, inside, contexts, weights)
            )

        shape = tuple(
            (branch.rows and len(branch.rows), branch.keys is None, branch.heads, branch.is_off)
            for branch in branches
        )
        results = self._run((shape, tuple(form)), layer, hidden, *(list(weights) + parts))
        if keeps_weights:
            return self._by_own_products(hidden, branches, results, weights)
        return results

    def _contexts(self, hidden, branches, weights, see_probabilities=None):
        """Returns the context [B, R, H] of each branch."""
        return self._attention(self._attention_inputs(hidden, branches, weights), see_probabilities)

    def _after_attention(self, hidden, branches, contexts, weights):
        """Returns the output [B, R, H] of each branch."""
        return [
            self._feed_forward(take(hidden, branch.rows), context, weights)
            for branch, context in zip(branches, contexts)
        ]

    def _by_own_products(self, hidden, branches, contexts, weights):
        """Returns what `_after_attention` does, by functions that only layers with the same weights
        share.
        """

        def after_attention(taken, context, *tensors):
            return [self._feed_forward(taken, context, LayerWeights(*tensors))]

        form = "after attention", weights.output_kernel.name
        return [
            self._run(form, after_attention, take(hidden, branch.rows), context, *weights)[0]
            for branch, context in zip(branches, contexts)
        ]

    def _attention_inputs(self, hidden, branches, weights):
        """Returns the `AttentionInputs` of each branch; branches share tensors where they can."""
        head_size = self.config.hidden_size // self.config.num_attention_heads
        query = self._ops.dense(hidden, weights.query_kernel, weights.query_bias) * (
            1.0 / math.sqrt(head_size)
        )
        queries = {rows: take(query, rows) for rows in {branch.rows for branch in branches}}
        numbers = {branch.keys for branch in branches}
        most = branches[0].keys if len(numbers) == 1 else None
        attended = hidden if most is None else hidden[:, :most]
        key = self._ops.dense(attended, weights.key_kernel, weights.key_bias)
        value = self._ops.dense(attended, weights.value_kernel, weights.value_bias)
        pairs = {
            number: (key, value) if number is most else (key[:, :number], value[:, :number])
            for number in numbers
        }
        heads = range(self.config.num_attention_heads)
        return [
            AttentionInputs(
                queries[branch.rows],
                *pairs[branch.keys],
                biases=tuple(
                    branch.bias if branch.is_chosen(head) else branch.other_bias for head in heads
                ),
                off=frozenset(head for head in heads if branch.is_off and branch.is_chosen(head)),
            )
            for branch in branches
        ]

    def _attention(self, attention_inputs, see_probabilities):
        heads, drop = self.config.num_attention_heads, self._dropout
        if drop is no_dropout and see_probabilities is None:
            return self._ops.attention(attention_inputs, heads)
        rate = self.config.attention_probs_dropout_prob
        return batched_attention(
            attention_inputs,
            heads,
            lambda probabilities: drop(probabilities, rate),
            see_probabilities,
        )

    def layer(self, index, hidden, bias, see_probabilities=None):
        """Returns the output [B, T, H] of layer `index` under one bias (see `branch`)."""
        return self.branch(index, hidden, [Branch(bias)], see_probabilities)[0]

    def layers(self, start, stop, hidden, bias, change_bias=None, see_probabilities=None):
        """Runs layers `start` to `stop - 1` from `hidden` [B, T, H].

        Args:
          bias: the attention bias without intervention, broadcastable to [B, N, T, T].
          change_bias: `change_bias(bias, layer) -> bias`, called once for each layer.
          see_probabilities: `see_probabilities(probabilities, layer)`, called once for each layer.
        """
        for index in range(start, stop):
            see = (
                None
                if see_probabilities is None
                else lambda seen, index=index: see_probabilities(seen, index)
            )
            hidden = self.layer(
                index, hidden, bias if change_bias is None else change_bias(bias, index), see
            )
        return hidden
