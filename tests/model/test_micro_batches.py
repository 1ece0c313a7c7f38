# SPDX-License-Identifier: Apache-2.0
"""Tests of training steps that are computed in parts, against the whole batch."""

import functools

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tiny

from mrc import datasets
from mrc.model import estimator, micro_batches

BATCH, LENGTH = 6, 16


def features(longest=LENGTH):
    random = np.random.RandomState(0)
    tokens = random.randint(8, longest + 1, BATCH)
    mask = (np.arange(LENGTH) < tokens[:, np.newaxis]).astype(np.int32)
    return dict(
        input_ids=random.randint(1, 20, [BATCH, LENGTH]).astype(np.int32) * mask,
        input_mask=mask,
        segment_ids=(np.arange(LENGTH) > 4).astype(np.int32) * mask,
        start_positions=random.randint(5, 8, BATCH).astype(np.int32),
        end_positions=random.randint(5, 8, BATCH).astype(np.int32),
    )


def batch_of(kind):
    """Returns a whole batch, one of short windows, or that one cut to its longest window."""
    if kind == "whole":
        return features()
    short = features(longest=11)
    longest = short["input_mask"].sum(axis=1).max()
    assert longest < LENGTH
    if kind == "short":
        return short
    return {name: array[:, :longest] if array.ndim == 2 else array for name, array in short.items()}


@functools.lru_cache(maxsize=None)
def train(micro_batch_size, kind="whole", trim_padding=False, **config):
    """Returns the loss of a batch, its gradients (a tenth: Adam's first moments) and the rest."""
    schedule = estimator.Schedule(peak_rate=1e-3, num_steps=8, num_warmup_steps=0)
    model_fn = estimator.training_model_fn(
        tiny.config(**config), datasets.SQUAD, schedule, micro_batch_size=micro_batch_size, trim_padding=trim_padding
    )
    with tf.Graph().as_default(), tf.Session() as session:
        tf.set_random_seed(1)
        batch = {name: tf.constant(array) for name, array in batch_of(kind).items()}
        spec = model_fn(batch, None, tf.estimator.ModeKeys.TRAIN, {})
        session.run(tf.global_variables_initializer())
        before = tiny.variable_values(session)
        loss, _ = session.run([spec.loss, spec.train_op])
        after = tiny.variable_values(session)
    moments = {name: value for name, value in after.items() if name.endswith("adam_m")}
    return loss, moments, before


def assert_equal(one, other):
    np.testing.assert_allclose(one[0], other[0], rtol=1e-6)
    assert set(one[1]) == set(other[1]) and one[1]
    largest = max(np.abs(moment).max() for moment in other[1].values())
    for name, moment in one[1].items():
        np.testing.assert_allclose(moment, other[1][name], atol=1e-6 * largest, err_msg=name)
    for name, value in one[2].items():  # both start from the same weights
        np.testing.assert_array_equal(value, other[2][name])


NO_DROPOUT = dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
DROPOUT = dict(hidden_dropout_prob=0.3, attention_probs_dropout_prob=0.3)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 6, 100])
def test_without_dropout_parts_train_like_the_whole_batch(size):
    assert_equal(train(size, **NO_DROPOUT), train(None, **NO_DROPOUT))


def test_layers_that_share_their_weights_train_like_the_whole_batch():
    albert = dict(NO_DROPOUT, family="albert")
    assert_equal(train(2, **albert), train(None, **albert))


@pytest.mark.parametrize("size", [1, 2, 3])
def test_the_size_of_the_parts_does_not_change_the_dropout(size):
    assert_equal(train(size, **DROPOUT), train(6, **DROPOUT))


@pytest.mark.parametrize("size, config", [(None, NO_DROPOUT), (1, DROPOUT), (2, NO_DROPOUT), (3, DROPOUT)])
def test_trimmed_batches_train_like_shorter_windows(size, config):
    assert_equal(train(size, "short", trim_padding=True, **config), train(size, "cut", **config))
    assert train(size, "short", **config)[0] != train(size, "cut", **config)[0]
    if size is not None:
        assert_equal(train(size, "short", trim_padding=True, **config), train(6, "short", trim_padding=True, **config))


def test_windows_and_steps_draw_different_dropout():
    again = train.__wrapped__(1, **DROPOUT)
    assert train(1, **DROPOUT)[0] == again[0] != train(1, **NO_DROPOUT)[0]
    with tf.Graph().as_default(), tf.Session() as session:
        dropout = tiny.modeling.Dropout(3, 5, first=tf.constant(1))
        kept = session.run(dropout(tf.ones([2, 50]), 0.5)) != 0
        moved = tiny.modeling.Dropout(3, 5, first=tf.constant(2))
        later = session.run(moved(tf.ones([1, 50]), 0.5)) != 0
    assert (kept[0] != kept[1]).any() and (kept[1] == later[0]).all()
    assert 0.2 < kept.mean() < 0.8


@pytest.mark.parametrize("batch, most, size", [(64, 8, 8), (32, 5, 4), (7, 3, 1), (8, 100, 8), (6, 6, 6)])
def test_parts_divide_the_batch(batch, most, size):
    assert micro_batches.part_size(batch, most) == size
