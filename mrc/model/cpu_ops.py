# SPDX-License-Identifier: Apache-2.0
"""Layer operations for the CPU, where the plain graph is bound by memory rather than by arithmetic.

Attention runs window by window, so that scores stay in the cache between products: head by head
where heads differ and under TensorFlow 1, where that is faster, and with all heads together
elsewhere. Under TensorFlow 2, oneDNN adds the bias and applies the activation within the product,
and computes a layer norm in one pass; elsewhere XLA compiles both.
"""

import ctypes
import functools

import tensorflow.compat.v1 as tf

import modeling
from mrc.model import onednn_ops
from mrc.util import tensorflow_versions

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # from malloc.h


class ReusedFunctions:
    """Turns Python functions into graph functions, once for each signature.

    A grid calls the same parts hundreds of times; reusing their functions keeps the graph small.
    """

    def __init__(self):
        self._made = {}

    def __call__(self, form, body, *tensors):
        """Returns the list of tensors that `body(*tensors)` returns.

        Bodies of the same form and signature are assumed to be equivalent.

        Args:
          form: hashable value that identifies the body.
          body: function of any number of tensors that returns a list of tensors.
        """
        tensors = [tf.convert_to_tensor(tensor) for tensor in tensors]
        signature = (form,) + tuple(
            (tensor.dtype, tuple(tensor.shape.as_list())) for tensor in tensors
        )
        if signature not in self._made:
            self._made[signature] = tensorflow_versions.graph_function(body, tensors)
        return self._made[signature](*tensors)


def compiled(body, *tensors):
    """Returns the tensor that `body(*tensors)` returns, compiled by XLA.

    Within a function of the graph it is compiled once for each shape, elsewhere once for each call.
    """
    return tensorflow_versions.xla_function(body, tensors)(*tensors)


def _head_by_head(tensors, numbers, heads):
    """Returns the contexts [R, H] of one window.

    Args:
      tensors: distinct queries [R, H], keys and values [K, H], and biases [R or 1, K or 1].
      numbers: list of (query, key, value, biases of all heads, heads that are off); all but the
        last are indices into `tensors`.
      heads: N.
    """
    biases = {bias for each in numbers for bias in each[3]}
    parts = [
        tensor if number in biases else tf.split(tensor, heads, axis=1)
        for number, tensor in enumerate(tensors)
    ]
    contexts = [[] for _ in numbers]
    for head in range(heads):
        scores, known = {}, {}
        for context, (query, key, value, head_biases, off) in zip(contexts, numbers):
            bias = head_biases[head]
            if head in off:
                context.append(tf.zeros_like(parts[query][head]))
                continue
            if (query, key) not in scores:
                scores[query, key] = tf.matmul(
                    parts[query][head], parts[key][head], transpose_b=True
                )
            if (query, key, value, bias) not in known:
                probabilities = tf.nn.softmax(scores[query, key] + parts[bias])
                known[query, key, value, bias] = tf.matmul(probabilities, parts[value][head])
            context.append(known[query, key, value, bias])
    return [tf.concat(context, axis=1) for context in contexts]


def _biased_scores(query, key, bias):
    """Returns the scores [N, R, K] plus `bias`.

    Scores are computed again for each bias: with oneDNN that costs no more than adding a bias to
    stored scores.
    """
    if onednn_ops.AVAILABLE:
        return onednn_ops.biased_scores(query, key, bias)
    return tf.matmul(query, key, transpose_b=True) + bias


def _heads_together(tensors, numbers):
    """Returns the contexts of one window with heads apart, a list of [N, R, D].

    Each input has one bias for all of its heads, and no head is off.

    Args:
      tensors: distinct queries [N, R, D], keys and values [N, K, D], and biases [R or 1, K or 1].
      numbers: as in `_head_by_head`.
    """
    contexts = []
    for query, key, value, head_biases, _ in numbers:
        scores = _biased_scores(tensors[query], tensors[key], tensors[head_biases[0]])
        contexts.append(tf.matmul(tf.nn.softmax(scores), tensors[value]))
    return contexts


def _by_window(tensor, windows):
    """Splits a tensor [B or 1, ...] into a list of one part per window, the same one if it is 1."""
    parts = tf.unstack(tensor)
    return parts if len(parts) == windows else parts * windows


def attention_by_window(functions, attention_inputs, heads):
    """`modeling.batched_attention` window by window; B must be static.

    Args:
      functions: `ReusedFunctions`.
      attention_inputs, heads: as there.
    """
    tensors, indices = modeling.distinct(
        [tensor for each in attention_inputs for tensor in each[:3] + each.biases]
    )
    stride = 3 + heads
    numbers = tuple(
        tuple(indices[first : first + 3]) + (tuple(indices[first + 3 : first + stride]), each.off)
        for first, each in zip(range(0, len(indices), stride), attention_inputs)
    )
    windows = attention_inputs[0].query.shape.as_list()[0]
    differ = any(len(set(biases)) > 1 or off for *_, biases, off in numbers)
    together = tensorflow_versions.IS_TF2 and not differ
    split = {number for each in numbers for number in each[:3]} if together else ()
    biases = {number for each in numbers for number in each[3]}

    def one_window(*inside):
        return (
            _heads_together(inside, numbers) if together else _head_by_head(inside, numbers, heads)
        )

    def all_windows(*inside):
        # Faster for all windows at once, as is joining below.
        inside = [
            modeling.split_heads(tensor, heads) if number in split else tensor
            for number, tensor in enumerate(inside)
        ]
        parts = zip(
            *[
                # A bias is that of all heads.
                _by_window(tf.squeeze(tensor, 1) if number in biases else tensor, windows)
                for number, tensor in enumerate(inside)
            ]
        )
        found = [functions(("window", heads, numbers), one_window, *mine) for mine in parts]
        stacked = [tf.stack(contexts) for contexts in zip(*found)]
        return [modeling.join_heads(context) for context in stacked] if together else stacked

    return functions(("windows", heads, numbers), all_windows, *tensors)


def _dense(x, kernel, bias):
    """`modeling.dense`, by oneDNN where it has the product."""
    if not onednn_ops.has_dense(kernel):
        return modeling.dense(x, kernel, bias)
    return tf.cast(onednn_ops.dense(x, kernel, bias), bias.dtype.base_dtype)


def keep_freed_memory():
    """Makes the C library keep freed memory where it can (glibc).

    Otherwise every large tensor is mapped again, and the operating system spends a third of a
    forward pass filling new pages with zeros.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        if not mallopt(_M_MMAP_THRESHOLD, 1 << 30):
            mallopt(_M_MMAP_THRESHOLD, 32 << 20)  # the maximum of older versions
        mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)


def make_ops():
    """Returns the keyword arguments that make a `modeling.Bert` fast on a CPU, for the current
    graph.

    Weights in bfloat16 must not change within a session: oneDNN keeps those of the first run.
    """
    functions = ReusedFunctions()

    def compiled_part(form, body, *tensors):
        def part(*inside):
            result = compiled(body, *inside)
            result.set_shape(tensors[0].shape)
            return [result]

        return functions(form, part, *tensors)[0]

    def activated_dense(function, x, kernel, bias):
        if onednn_ops.has_dense(kernel, function):
            return onednn_ops.dense(x, kernel, bias, function)
        return compiled_part(
            function.__name__,
            functools.partial(modeling.biased_activation, function),
            modeling.product(x, kernel),
            bias,
        )

    def normalized_dense(x, kernel, bias, residual, *norm):
        if onednn_ops.AVAILABLE:
            return onednn_ops.layer_norm(_dense(x, kernel, bias) + residual, *norm)
        return compiled_part(
            "norm",
            modeling.biased_residual_norm,
            modeling.product(x, kernel),
            bias,
            residual,
            *norm,
        )

    return {
        "ops": modeling.LayerOps(
            functools.partial(attention_by_window, functions),
            _dense,
            activated_dense,
            normalized_dense,
            # XLA compiles for each length, oneDNN does not.
            length_step=4 if onednn_ops.AVAILABLE else modeling.PLAIN_OPS.length_step,
            kept_types=onednn_ops.KEPT_TYPES,
        ),
        "run": functions,
    }
