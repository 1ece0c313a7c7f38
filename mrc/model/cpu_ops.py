# SPDX-License-Identifier: Apache-2.0
"""Layer operations for the CPU, where the plain graph is bound by memory rather than by arithmetic.

Attention runs window by window, so that scores stay in the cache between products: head by head
where heads differ and under TensorFlow 1, where that is faster, and with all heads together
elsewhere. Under TensorFlow 2, oneDNN adds the bias and applies the activation within a dense
product, and computes a layer norm in one pass; elsewhere XLA compiles both.
"""

import ctypes
import functools

import tensorflow.compat.v1 as tf

import modeling
from mrc.model import branches, onednn_ops
from mrc.util import tensorflow_versions

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # from malloc.h


class ReusedFunctions:
    """Turns Python functions into graph functions, once for each signature.

    A grid calls the same parts hundreds of times; reusing their functions keeps the graph small.
    """

    def __init__(self):
        self._functions = {}

    def __call__(self, signature, body, *tensors):
        """Returns the list of tensors that `body(*tensors)` returns.

        Bodies of the same signature, on tensors of the same types and shapes, are assumed to be
        equivalent.

        Args:
          signature: hashable value that identifies the body.
          body: function of any number of tensors that returns a list of tensors.
        """
        tensors = [tf.convert_to_tensor(tensor) for tensor in tensors]
        key = (signature,) + tuple((tensor.dtype, tuple(tensor.shape.as_list())) for tensor in tensors)
        if key not in self._functions:
            self._functions[key] = tensorflow_versions.graph_function(body, tensors)
        return self._functions[key](*tensors)


def compiled(body, *tensors):
    """Returns the tensor that `body(*tensors)` returns, compiled by XLA.

    Within a function of the graph it is compiled once for each shape, elsewhere once for each call.
    """
    return tensorflow_versions.xla_function(body, tensors)(*tensors)


def _head_by_head(tensors, attentions, heads):
    """Returns the contexts [R, H] of one window.

    Args:
      tensors: distinct queries [R, H], keys and values [K, H], and biases [R or 1, K or 1].
      attentions: list of `AttentionInputs` with indices into `tensors`.
      heads: N.
    """
    by_head = {index for each in attentions for index in each[:3]}
    parts = [
        tf.split(tensor, heads, axis=1) if index in by_head else tensor  # N x [R or K, D]
        for index, tensor in enumerate(tensors)
    ]
    contexts = [[] for _ in attentions]
    for head in range(heads):
        scores, known = {}, {}
        for context, each in zip(contexts, attentions):
            pair, signature = each[:2], each._replace(biases=each.biases[head])
            if signature not in known:
                if pair not in scores:
                    scores[pair] = tf.matmul(  # [R, K]
                        parts[each.query][head], parts[each.key][head], transpose_b=True
                    )
                probabilities = tf.nn.softmax(scores[pair] + parts[signature.biases])
                known[signature] = tf.matmul(probabilities, parts[each.value][head])  # [R, D]
            context.append(known[signature])
    return [tf.concat(context, axis=1) for context in contexts]


def _heads_together(tensors, attentions):
    """Returns the contexts of one window with heads apart, a list of [N, R, D].

    All heads of an attention have one bias.

    Args:
      tensors: distinct queries [N, R, D], keys and values [N, K, D], and biases [R or 1, K or 1].
      attentions: as in `_head_by_head`.
    """
    contexts = []
    for each in attentions:
        scores = tf.matmul(tensors[each.query], tensors[each.key], transpose_b=True) + tensors[each.biases[0]]
        contexts.append(tf.matmul(tf.nn.softmax(scores), tensors[each.value]))  # [N, R, D]
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
    tensors, signature = branches.flatten(attention_inputs)
    attentions = branches.unflatten(signature, range(len(tensors)))  # indices in place of tensors
    windows = attention_inputs[0].query.shape.as_list()[0]
    differ = any(len(set(each.biases)) > 1 for each in attentions)
    together = tensorflow_versions.IS_TF2 and not differ
    biases = {bias for each in attentions for bias in each.biases}

    def one_window(*inputs):
        if together:
            return _heads_together(inputs, attentions)
        return _head_by_head(inputs, attentions, heads)

    def for_windows(index, tensor):
        """Returns a tensor without its head axis (a bias is that of all heads), or split by it."""
        if index in biases:
            return tf.squeeze(tensor, 1)  # [B or 1, R or 1, K or 1]
        # Faster for all windows at once, as is joining below.
        return modeling.split_heads(tensor, heads) if together else tensor

    def all_windows(*inputs):
        parts = zip(*[_by_window(for_windows(index, tensor), windows) for index, tensor in enumerate(inputs)])
        contexts = [functions(("window", heads, signature), one_window, *window) for window in parts]
        stacked = [tf.stack(of_windows) for of_windows in zip(*contexts)]  # [B, ...]
        return [modeling.join_heads(context) for context in stacked] if together else stacked

    return functions(("windows", heads, signature), all_windows, *tensors)


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
    """Returns the `modeling.LayerOps` of a CPU, for the current graph.

    Weights in bfloat16 must not change within a session: oneDNN keeps those of the first run.
    """
    functions = ReusedFunctions()

    def compiled_part(signature, body, *tensors):
        def part(*inputs):
            result = compiled(body, *inputs)
            result.set_shape(tensors[0].shape)
            return [result]

        return functions(signature, part, *tensors)[0]

    def activated_dense(function, x, kernel, bias):
        if onednn_ops.has_dense(kernel, function):
            return onednn_ops.dense(x, kernel, bias, function)
        return compiled_part(
            function.__name__, functools.partial(modeling.biased_activation, function), modeling.product(x, kernel), bias
        )

    def normalized_dense(x, kernel, bias, residual, *norm):
        if onednn_ops.AVAILABLE:
            return onednn_ops.layer_norm(_dense(x, kernel, bias) + residual, *norm)
        return compiled_part("norm", modeling.biased_residual_norm, modeling.product(x, kernel), bias, residual, *norm)

    return modeling.LayerOps(
        attention=functools.partial(attention_by_window, functions),
        dense=_dense,
        activated_dense=activated_dense,
        normalized_dense=normalized_dense,
        run=functions,
        # XLA compiles for each length, oneDNN does not.
        length_step=4 if onednn_ops.AVAILABLE else modeling.PLAIN_OPS.length_step,
        kept_types=onednn_ops.KEPT_TYPES,
    )
