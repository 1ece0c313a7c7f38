# SPDX-License-Identifier: Apache-2.0
"""Tests of optimization.py: the schedule and the first steps of Adam, computed by hand."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import optimization


def rates(num_steps, num_warmup_steps, steps, peak=1.0):
    with tf.Graph().as_default(), tf.Session() as session:
        step = tf.placeholder(tf.int64, [])
        rate = optimization.learning_rate(peak, step, num_steps, num_warmup_steps)
        return [session.run(rate, {step: done}) for done in steps]


@pytest.mark.parametrize(
    "num_steps, num_warmup_steps, wanted",
    [
        (6, 2, [1 / 2, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6, 0]),
        (6, 0, [6 / 6, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6, 0]),
        (6, 1, [6 / 6, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6, 0]),
        (6, 6, [1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1 / 6, 0]),
        (1, 0, [1, 0, 0]),
    ],
)
def test_learning_rate(num_steps, num_warmup_steps, wanted):
    assert rates(num_steps, num_warmup_steps, range(len(wanted))) == pytest.approx(wanted, abs=1e-6)


def test_learning_rate_is_scaled_by_its_peak():
    assert rates(6, 2, range(3), peak=5e-5) == pytest.approx([2.5e-5, 5e-5 * 5 / 6, 5e-5 * 4 / 6], rel=1e-5)


def adam(name, gradients, rate=0.1):
    """Returns the value of a variable of that name, 1 at first, after each of the gradients."""
    with tf.Graph().as_default(), tf.Session() as session:
        variable = tf.get_variable(name, [1], initializer=tf.ones_initializer())
        gradient = tf.placeholder(tf.float32, [1])
        step = optimization.AdamWeightDecay(rate).apply_gradients([(gradient, variable)])
        session.run(tf.global_variables_initializer())
        found = []
        for value in gradients:
            session.run(step, {gradient: [value]})
            found.append(session.run(variable)[0])
        return found


# Gradients 0.5, then -1:
#   m = 0.1 * 0.5 = 0.05                 m = 0.9 * 0.05 + 0.1 * -1 = -0.055
#   v = 0.001 * 0.25 = 0.00025           v = 0.999 * 0.00025 + 0.001 = 0.00124975
#   m / (sqrt(v) + 1e-6) = 3.1620776     m / (sqrt(v) + 1e-6) = -1.5557301
@pytest.mark.parametrize(
    "name",
    [
        "bert/encoder/layer_0/output/dense/bias",
        "bert/encoder/layer_0/output/LayerNorm/gamma",
        "layer_norm/beta",
        "cls/squad/output_bias",
    ],
)
def test_adam_without_decay(name):
    assert adam(name, [0.5, -1]) == pytest.approx([1 - 0.31620776, 1 - 0.31620776 + 0.15557301], abs=1e-5)


@pytest.mark.parametrize(
    "name", ["bert/encoder/layer_0/output/dense/kernel", "cls/squad/output_weights", "bert/embeddings/word_embeddings"]
)
def test_adam_with_decay(name):
    # Each step takes off another 0.1 * 0.01 of the weight.
    first = 1 - 0.31620776 - 0.001
    assert adam(name, [0.5, -1]) == pytest.approx([first, first + 0.15557301 - 0.001 * first], abs=1e-5)


@pytest.mark.parametrize(
    "factors, clipped",
    [
        ([3.0, 4.0], [0.6, 0.8]),  # norm 5
        ([0.3, 0.4], [0.3, 0.4]),  # norm 0.5
    ],
)
def test_gradients_are_clipped_together(factors, clipped):
    with tf.Graph().as_default(), tf.Session() as session:
        variables = [tf.get_variable(name, [], initializer=tf.ones_initializer()) for name in ("a", "b")]
        loss = tf.add_n([factor * variable for factor, variable in zip(factors, variables)])
        gradients = tf.gradients(loss, variables)
        step, rate = optimization.training_op(gradients, 0.5, num_steps=6, num_warmup_steps=2)
        session.run(tf.global_variables_initializer())
        assert session.run(rate) == pytest.approx(0.25)
        session.run(step)
        moments = {variable.op.name: session.run(variable) for variable in tf.global_variables()}
    assert moments["global_step"] == 1
    assert [moments[name + "/adam_m"] for name in "ab"] == pytest.approx([0.1 * value for value in clipped])
    np.testing.assert_allclose([moments[name + "/adam_v"] for name in "ab"], 0.001 * np.square(clipped), rtol=1e-4)


def test_a_table_that_is_looked_up_moves_where_it_was_read():
    # Adam without decay leaves rows alone whose gradient was always 0.
    with tf.Graph().as_default(), tf.Session() as session:
        table = tf.get_variable("bias_table", [3, 2], initializer=tf.ones_initializer())
        gradients = tf.gradients(tf.reduce_sum(tf.gather(table, [1])), [table])
        step, _ = optimization.training_op(gradients, 0.1, 10, 0)
        session.run(tf.global_variables_initializer())
        session.run(step)
        found = session.run(table)
    assert (found[[0, 2]] == 1).all() and (found[1] < 0.9).all()
