# SPDX-License-Identifier: Apache-2.0
"""Forms of a layer's parts that are fast on a CPU, where the plain graph waits for memory more than it multiplies.

Attention goes head by head, so that one head's scores stay in the processor's cache from product to product; activation
and layer norm are compiled by XLA into one pass over their input each.
"""
from __future__ import absolute_import, division, print_function

import ctypes

import tensorflow.compat.v1 as tf
from tensorflow.python.framework import function as graph_functions

import modeling

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # from malloc.h


class ReusedFunctions(object):
    """Python functions made into functions of the graph once for each signature, however often they are called.

    A grid calls the same layer hundreds of times; this keeps the graph small, and a compiled function compiled once.

    Args:
      compiled: whether XLA compiles the functions.
    """

    def __init__(self, name, compiled=False):
        self._name, self._attributes, self._made = name, {"compiled": True} if compiled else {}, {}

    def __call__(self, form, body, *tensors):
        """Returns the list of tensors that `body(*tensors)` returns; bodies of one form and signature are taken for one.

        Args:
          form: hashable value that tells bodies apart.
          body: function of tensors that returns a list of tensors.
        """
        tensors = [tf.convert_to_tensor(tensor) for tensor in tensors]
        signature = (form,) + tuple((tensor.dtype, tuple(tensor.shape.as_list())) for tensor in tensors)
        if signature not in self._made:
            self._made[signature] = self._make(body, tensors)
        made, shapes = self._made[signature]
        results = made(*tensors)
        results = results if isinstance(results, (list, tuple)) else [results]
        for result, shape in zip(results, shapes):
            result.set_shape(shape)
        return list(results)

    def _make(self, body, tensors):
        shapes = []

        def graph_function(*arguments):
            for argument, tensor in zip(arguments, tensors):
                argument.set_shape(tensor.shape)
            results = body(*arguments)
            shapes.extend(result.shape for result in results)
            return tuple(results)
        name = "%s_%d" % (self._name, len(self._made))
        made = graph_functions.Defun(*[tensor.dtype for tensor in tensors], func_name=name, noinline=True,
                              **self._attributes)(graph_function)
        made.add_to_graph(tf.get_default_graph())  # traces it, so that the shapes are known
        return made, shapes


def attention_by_head(query, key, values, branches, dropout=modeling.no_dropout, see_probabilities=None):
    """`modeling.batched_attention` window by window and head by head, for prediction; B and N must be static."""
    batch, heads = query.shape.as_list()[:2]
    contexts = [[] for _ in branches]
    for window in range(batch):
        biases = [branch.bias[min(window, branch.bias.shape[0].value - 1)] for branch in branches]
        for head in range(heads):
            one = [tensor[window:window + 1, head] for tensor in (query, key, values)]
            inside = [branch._replace(bias=bias) for branch, bias in zip(branches, biases)]
            for context, found in zip(contexts, modeling.batched_attention(*one, branches=inside)):
                context.append(found)
    size = query.shape[3].value
    return [tf.reshape(tf.concat(context, axis=0), [batch, heads, -1, size]) for context in contexts]


def keep_freed_memory():
    """Has the C library keep the memory of freed tensors, where it can (glibc); else every large tensor is mapped anew.

    A third of a forward pass goes by in the kernel otherwise, which fills each new page with zeros.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        if not mallopt(_M_MMAP_THRESHOLD, 1 << 30):
            mallopt(_M_MMAP_THRESHOLD, 32 << 20)  # the most that older versions take
        mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)


def make_kernels(use_xla):
    """Returns the `modeling.Kernels` of a CPU in the current graph.

    Args:
      use_xla: whether activation and layer norm are compiled.
    """
    if not use_xla:
        return modeling.PLAIN_KERNELS._replace(attention=attention_by_head)
    compiled = ReusedFunctions("compiled", compiled=True)

    def activation(function):
        return lambda x: compiled(function.__name__, lambda y: [function(y)], x)[0]

    def residual_norm(*tensors):
        return compiled("residual_norm", lambda *inside: [modeling.residual_norm(*inside)], *tensors)[0]
    return modeling.Kernels(attention_by_head, activation, residual_norm)
