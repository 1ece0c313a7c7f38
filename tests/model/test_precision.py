# SPDX-License-Identifier: Apache-2.0
"""Tests of the products in bfloat16: what is rounded, what is not, and where they are refused."""

import functools
import re

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tiny

import modeling
from mrc import cells
from mrc.model import cpu_ops, precision
from mrc.util.errors import InputError
from mrc.util.tensorflow_versions import IS_TF2

needs_tf2 = pytest.mark.skipif(not IS_TF2, reason="TensorFlow 1 has no such products on a CPU")
CELLS = cells.read_cells("all,q2,p2q,off", "each", 2, "0", 2)
CONVERTED = functools.partial(precision.converted, name="bfloat16", once=True)


def windows():
    ids = np.random.RandomState(3).randint(1, len(tiny.PIECES), [3, 24]).astype(np.int32)
    mask = (np.arange(24) < np.array([[24], [17], [9]])).astype(np.int32)
    return {
        "input_ids": ids * mask,
        "input_mask": mask,
        "segment_ids": mask * (np.arange(24) > 5),
        "unique_ids": np.arange(3, dtype=np.int32),
    }


def best(**forms):
    with tiny.reader(tiny.config(), **forms) as (model, session):
        inputs = {name: tf.constant(array) for name, array in windows().items()}
        found = model.best_positions(inputs, CELLS, 5)
        session.run(tf.local_variables_initializer())
        return session.run(found)


@needs_tf2
def test_a_product_rounds_its_factors_and_its_result():
    def product(x):
        return modeling.product(x, tf.constant([[1.0], [1.0]], tf.bfloat16))

    # 1 + 2^-7 is a bfloat16, 1 + 2^-8 is not and rounds to the even neighbor, as does 256 + 1.
    x = tf.constant
    assert tiny.values(lambda: product(x([[1 + 2**-7, 0.0]]))).tolist() == [[1 + 2**-7]]
    assert tiny.values(lambda: product(x([[1 + 2**-8, 0.0]]))).tolist() == [[1.0]]
    assert tiny.values(lambda: product(x([[256.0, 1.0]]))).tolist() == [[256.0]]


@needs_tf2
def test_plain_biases_and_residuals_are_added_in_float32():
    def ones():
        return tf.ones([1, 2], tf.bfloat16)

    def biased():
        return modeling.add_bias(ones(), tf.constant([2**-20, 0.0]))

    assert tiny.values(biased).tolist() == [[1 + 2**-20, 1.0]]

    def normed():
        residual = tf.constant([[2**-12, 0.0]])
        return modeling.biased_residual_norm(ones(), tf.zeros([2]), residual, tf.zeros([2]), tf.ones([2]))

    np.testing.assert_allclose(tiny.values(normed), [[1.0, -1.0]], atol=1e-3)


@needs_tf2
@pytest.mark.parametrize("fast", [False, True], ids=["plain", "cpu"])
def test_logits_are_close_to_those_of_float32(fast):
    wanted = best()
    found = best(convert=CONVERTED, ops=cpu_ops.make_ops() if fast else modeling.PLAIN_OPS)
    for name in ("start_nulls", "end_nulls", "start_values", "end_values"):
        assert found[name].dtype == np.float32
        error = np.abs(found[name] - wanted[name]) / np.abs(wanted[name]).max()
        assert 1e-5 < error.max() < 5e-2 and error.mean() < 1e-2


@needs_tf2
@pytest.mark.parametrize("family, layers", [("bert", 2), ("albert", 1)])
def test_weights_of_products_are_kept_in_bfloat16(family, layers):
    with tiny.reader(tiny.config(family=family), convert=CONVERTED) as (_, session):
        converted = tf.local_variables()
        session.run(tf.local_variables_initializer())
        values = session.run(converted)
        kernels = {
            variable.op.name: variable
            for variable in tf.global_variables()
            if re.search("dense/kernel$", variable.op.name) and "pooler" not in variable.op.name
        }
        assert len(converted) == len(kernels) == 3 * layers
        assert {variable.dtype.base_dtype for variable in converted} == {tf.bfloat16}
        for value, kernel in zip(values, session.run(list(kernels.values()))):
            np.testing.assert_allclose(value.astype(np.float32), kernel, rtol=2**-8)


def test_float32_changes_no_variable():
    with tiny.reader(tiny.config(), convert=lambda kernel: precision.converted(kernel, "float32", True)):
        assert not tf.local_variables()


def test_a_tpu_converts_within_the_step():
    with tf.Graph().as_default():
        kernel = tf.get_variable("kernel", [2, 2])
        assert precision.converted(kernel, "bfloat16", once=False).dtype == tf.bfloat16
        assert not tf.local_variables()


def refusal(monkeypatch, cpu_info, use_tpu=False):
    monkeypatch.setattr(precision, "_CPU_INFO", str(cpu_info))
    monkeypatch.setattr(tf.test, "is_gpu_available", lambda: False)
    try:
        precision.check("bfloat16", use_tpu)
    except InputError as error:
        return str(error)
    return None


def test_a_machine_without_bfloat16_is_told(monkeypatch, tmp_path):
    info = tmp_path / "cpuinfo"
    info.write_text("flags\t\t: fpu avx512f avx512_bf16_not amx_tile\n", encoding="utf-8")
    for path in (info, tmp_path / "missing"):
        message = refusal(monkeypatch, path)
        assert message.startswith("--precision=bfloat16 needs TensorFlow 2.12 to 2.15 and a CPU")
    assert refusal(monkeypatch, info, use_tpu=True) is None


@pytest.mark.parametrize("flag", ["avx512_bf16", "amx_bf16"])
def test_a_cpu_with_bfloat16(monkeypatch, tmp_path, flag):
    info = tmp_path / "cpuinfo"
    info.write_text(f"flags\t\t: fpu {flag} wbnoinvd\n", encoding="utf-8")
    message = refusal(monkeypatch, info)
    assert (message is None) if IS_TF2 else (f"this is TensorFlow {tf.__version__}" in message)
