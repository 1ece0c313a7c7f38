# SPDX-License-Identifier: Apache-2.0
"""Operations of oneDNN for a layer, each in one pass over memory.

TensorFlow 2 on a CPU has them, but no Python function creates them: its graph rewriter substitutes
them for patterns of other operations. A reshape breaks these patterns, so the operations are
created here by name.
"""

import tensorflow.compat.v1 as tf
from tensorflow.python.framework import kernels, op_def_library

import modeling
from mrc.model import precision
from mrc.util import tensorflow_versions

_NORM = "_MklLayerNorm"
_DENSE, _KEPT_DENSE = "_FusedMatMul", "_MklNativeFusedMatMul"
_KERNELS = {_KEPT_DENSE: "MklNameChangeOp"}  # labels of kernels that are not the default
_FUSED = {
    tf.identity: ["BiasAdd"],
    modeling.gelu: ["BiasAdd", "GeluApproximate"],
    modeling.gelu_erf: ["BiasAdd", "GeluExact"],
    tf.nn.relu: ["BiasAdd", "Relu"],
    tf.tanh: ["BiasAdd", "Tanh"],
}
_UNUSED = {"epsilon": 0.0, "leakyrelu_alpha": 0.0}  # of other fusions


def _are_available():
    """Whether TensorFlow has all of these operations, with the attributes used here."""
    is_new = tensorflow_versions.VERSION >= (2, 12)
    return (
        is_new
        and tensorflow_versions.uses_onednn()
        and all(kernels.get_registered_kernels_for_op(name).kernel for name in (_NORM, _DENSE, _KEPT_DENSE))
    )


AVAILABLE = _are_available()
KEPT_TYPES = frozenset([tf.bfloat16] if AVAILABLE and precision.cpu_has_bfloat16() else [])


def has_dense(kernel, function=tf.identity):
    """Whether `dense` takes weights of this type and this activation."""
    return AVAILABLE and function in _FUSED and kernel.dtype.base_dtype in KEPT_TYPES.union([tf.float32])


def dense(x, kernel, bias, function=tf.identity):
    """Returns `function(x @ kernel + bias)` in the type of `kernel`, up to rounding.

    Reordering the weights takes up to a third of the time of a product in bfloat16, so those of
    `KEPT_TYPES` are reordered at the first run and kept; weights passed in later runs are ignored.
    The bias is rounded to the type of the weights.
    """
    kind, sizes = kernel.dtype.base_dtype, modeling.dimensions(x)
    keeps = dict(is_filter_const=True) if kind in KEPT_TYPES else {}
    with tf.get_default_graph()._kernel_label_map(_KERNELS):
        rows = op_def_library.apply_op(
            _KEPT_DENSE if keeps else _DENSE,
            name="dense",
            a=tf.cast(tf.reshape(x, [-1, sizes[-1]]), kind),
            b=kernel,
            args=[tf.cast(bias, kind)],
            transpose_a=False,
            transpose_b=False,
            fused_ops=_FUSED[function],
            **_UNUSED,
            **keeps,
        )
    return tf.reshape(rows, sizes[:-1] + kernel.shape.as_list()[-1:])


def layer_norm(x, beta, gamma):
    """`modeling.layer_norm` for `x` [B, R, H], up to rounding."""
    return op_def_library.apply_op(
        _NORM, name="layer_norm", x=x, scale=gamma, offset=beta, epsilon=modeling.LAYER_NORM_EPSILON
    )
