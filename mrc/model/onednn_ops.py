# SPDX-License-Identifier: Apache-2.0
"""Operations of oneDNN for a layer, each in one pass over memory.

TensorFlow 2 on a CPU has them, but no Python function makes them: they replace patterns of other
operations. The patterns do not match across a reshape, so that the operations are made here by
name.
"""

import tensorflow.compat.v1 as tf
from tensorflow.python.framework import kernels, op_def_library

import modeling
from mrc.util import tensorflow_versions

_NORM, _BIASED_SCORES, _ACTIVATED = "_MklLayerNorm", "_MklFusedBatchMatMulV2", "_FusedMatMul"
_ACTIVATIONS = {
    modeling.gelu: "GeluApproximate",
    modeling.gelu_erf: "GeluExact",
    tf.nn.relu: "Relu",
    tf.tanh: "Tanh",
}
_UNUSED = {"epsilon": 0.0, "leakyrelu_alpha": 0.0}  # of other fusions


def _are_available():
    """Whether TensorFlow computes with oneDNN and has all of these operations, with the attributes
    used here.
    """
    is_new = tensorflow_versions.VERSION >= (2, 12)
    return (
        is_new
        and tensorflow_versions.uses_onednn()
        and all(
            kernels.get_registered_kernels_for_op(name).kernel
            for name in (_NORM, _BIASED_SCORES, _ACTIVATED)
        )
    )


AVAILABLE = _are_available()


def biased_scores(query, key, bias):
    """Returns the scores [N, R, K] of `query` [N, R, D] and `key` [N, K, D], plus `bias`
    [R or 1, K].
    """
    return op_def_library.apply_op(
        _BIASED_SCORES,
        name="biased_scores",
        x=query[tf.newaxis],
        y=key[tf.newaxis],
        args=[tf.constant(1.0), bias[tf.newaxis, tf.newaxis]],
        adj_x=False,
        adj_y=True,
        fused_ops=["Mul", "Add"],  # a bias without a factor is not supported
        **_UNUSED,
    )[0]


def has_activated_dense(function, kernel):
    """Whether `activated_dense` takes this activation and this type of weights.

    In bfloat16 it is slower than a product and an activation apart.
    """
    return AVAILABLE and function in _ACTIVATIONS and kernel.dtype.base_dtype == tf.float32


def activated_dense(function, x, kernel, bias):
    """`modeling.activated_dense`, up to rounding."""
    sizes = modeling.dimensions(x)
    activated = op_def_library.apply_op(
        _ACTIVATED,
        name="activated_dense",
        a=tf.reshape(x, [-1, sizes[-1]]),
        b=kernel,
        args=[bias],
        transpose_a=False,
        transpose_b=False,
        fused_ops=["BiasAdd", _ACTIVATIONS[function]],
        **_UNUSED,
    )
    return tf.reshape(activated, sizes[:-1] + kernel.shape.as_list()[-1:])


def biased_residual_norm(x, bias, residual, beta, gamma):
    """`modeling.biased_residual_norm` for `x` [B, R, H], up to rounding."""
    return op_def_library.apply_op(
        _NORM,
        name="layer_norm",
        x=modeling.add_bias(x, bias) + residual,
        scale=gamma,
        offset=beta,
        epsilon=modeling.LAYER_NORM_EPSILON,
    )
