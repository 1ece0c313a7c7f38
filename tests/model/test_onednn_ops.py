# SPDX-License-Identifier: Apache-2.0
"""Tests of the operations of oneDNN against the plain ones, which they replace on a CPU."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tiny

import modeling
from mrc.model import onednn_ops

pytestmark = pytest.mark.skipif(
    not onednn_ops.AVAILABLE, reason="TensorFlow 1, or TensorFlow without oneDNN, has none of them"
)


def arrays(*shapes, seed=0):
    random = np.random.RandomState(seed)
    return [random.normal(size=shape).astype(np.float32) for shape in shapes]


def assert_same(function, plain, *inputs, atol=2e-6):
    """Checks the values of both functions of constants."""
    found, wanted = (
        tiny.values(lambda each=each: each(*[tf.constant(array) for array in inputs])) for each in (function, plain)
    )
    assert found.dtype == wanted.dtype
    np.testing.assert_allclose(found, wanted, atol=atol, rtol=1e-5)


@pytest.mark.parametrize("function", [tf.identity, modeling.gelu, modeling.gelu_erf, tf.nn.relu, tf.tanh])
def test_products_with_bias_and_activation(function):
    x, kernel, bias = arrays([2, 5, 8], [8, 16], [16])
    assert onednn_ops.has_dense(tf.constant(kernel), function)
    # 3 x reaches the ends, where an activation is flat.
    assert_same(
        lambda *inputs: onednn_ops.dense(*inputs, function=function),
        lambda *inputs: modeling.activated_dense(function, *inputs),
        *(3 * x, kernel, bias),
        atol=5e-6,
    )


needs_kept_types = pytest.mark.skipif(not onednn_ops.KEPT_TYPES, reason="needs a CPU with bfloat16")


@needs_kept_types
@pytest.mark.parametrize("function", list(modeling.ACTIVATIONS.values()))
def test_products_in_bfloat16(function):
    x, kernel, bias = arrays([2, 5, 32], [32, 16], [16])

    def in_bfloat16(x, kernel, bias):
        found = onednn_ops.dense(x, tf.cast(kernel, tf.bfloat16), bias, function)
        assert found.dtype == tf.bfloat16
        return tf.cast(found, tf.float32)

    # 32 products, each rounded twice to 8 bits, and a sum rounded to 8 bits
    assert_same(
        in_bfloat16,
        lambda *inputs: modeling.activated_dense(function, *inputs),
        *(x, kernel, bias),
        atol=32**0.5 * 2**-8 * 3,
    )


@needs_kept_types
def test_products_in_bfloat16_are_rounded_once_after_the_activation():
    def product():
        x, kernel = tf.constant([[1.0, 2**-8]]), tf.constant([[1.0], [1.0]], tf.bfloat16)
        return tf.cast(onednn_ops.dense(x, kernel, tf.constant([2.0**-8])), tf.float32)

    assert tiny.values(product).tolist() == [[1 + 2**-7]]  # rounded before, the sum would be 1


@needs_kept_types
def test_weights_in_bfloat16_are_those_of_the_first_run():
    with tf.Graph().as_default(), tf.Session() as session:
        kernel = tf.placeholder(tf.float32, [256, 256])
        x, bias = tf.ones([64, 256]), tf.zeros([256])
        product = tf.cast(onednn_ops.dense(x, tf.cast(kernel, tf.bfloat16), bias), tf.float32)
        for value in (1.0, 2.0):
            found = session.run(product, {kernel: np.full([256, 256], value)})
            assert (found == 256.0).all()


def test_other_activations_and_types_are_not_fused():
    kernel = tf.constant([[1.0]])
    assert not onednn_ops.has_dense(kernel, tf.sigmoid)
    assert not onednn_ops.has_dense(tf.cast(kernel, tf.float64), modeling.gelu)


@pytest.mark.parametrize("size", [2, 16, 384])
@pytest.mark.parametrize("spread", [1e-3, 1.0, 100.0])
def test_norms(size, spread):
    x, beta, gamma = arrays([2, 5, size], [size], [size])
    assert_same(onednn_ops.layer_norm, modeling.layer_norm, *(spread * x, beta, gamma), atol=1e-5)
