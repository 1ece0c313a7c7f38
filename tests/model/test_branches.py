# SPDX-License-Identifier: Apache-2.0
"""Tests of branches.py: what makes two runs of a layer one function of the graph."""

from typing import NamedTuple, Optional

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tiny

import modeling
from mrc.model import branches, cpu_ops

OPS = [lambda: modeling.PLAIN_OPS, cpu_ops.make_ops]


class ScaledBranch(NamedTuple):
    """A `Branch` with a field that the code does not know."""

    bias: tf.Tensor
    rows: Optional[tuple] = None
    keys: Optional[tf.Tensor] = None
    heads: Optional[frozenset] = None
    other_bias: Optional[tf.Tensor] = None
    replacement: Optional[tf.Tensor] = None
    scale: object = 1.0

    is_chosen = branches.Branch.is_chosen


def outputs(make_ops, *layer_branches):
    """Returns the outputs of layer 0, each of the branches in a call of its own."""
    with tiny.reader(tiny.config(), ops=make_ops()) as (model, session):
        x = tf.constant(np.random.RandomState(1).normal(size=[2, 6, 8]).astype(np.float32))
        bias = tf.zeros([2, 1, 1, 6])
        return session.run([branches.run(model.bert, 0, x, [make(bias)])[0] for make in layer_branches])


@pytest.mark.parametrize("make_ops", OPS, ids=["plain", "cpu"])
@pytest.mark.parametrize("as_tensor", [False, True])
def test_a_new_field_of_a_branch_changes_the_graph(monkeypatch, make_ops, as_tensor):
    monkeypatch.setattr(branches, "_replaced", lambda context, branch, num_heads: context * branch.scale)

    def scaled(scale):
        return lambda bias: ScaledBranch(bias, scale=tf.constant(scale) if as_tensor else scale)

    once, again, doubled = outputs(make_ops, scaled(1.0), scaled(1.0), scaled(2.0))
    np.testing.assert_array_equal(once, again)
    assert np.abs(once - doubled).max() > 1e-2


def test_flat_branches_are_restored_with_other_tensors():
    with tf.Graph().as_default():
        bias, stop, other = tf.zeros([1, 1, 1, 4]), tf.constant(3), tf.ones([1, 1, 1, 4])
        pair = [
            branches.Branch(bias),
            branches.Branch(other, ((0, stop),), stop, frozenset([1]), bias, replacement=tf.constant(0.5)),
        ]
        tensors, signature = branches.flatten(pair)
        assert len(tensors) == 4  # `stop` and `bias` are there twice
        assert branches.unflatten(signature, tensors) == pair
        _, same = branches.flatten([branch._replace(bias=bias + 1.0) for branch in pair[:1]])
        assert same == branches.flatten(pair[:1])[1]
        assert branches.flatten(pair[::-1])[1] != signature


@pytest.mark.parametrize("make_ops", OPS, ids=["plain", "cpu"])
@pytest.mark.parametrize("heads", [None, frozenset([1])])
def test_a_replacement_takes_the_place_of_the_contexts(make_ops, heads):
    """Replacing contexts by the layer's own changes nothing, by others something."""
    with tiny.reader(tiny.config(), ops=make_ops()) as (model, session):
        layer, biases = model.bert.layers[0], (tf.zeros([2, 1, 1, 6]),) * 2
        x = tf.constant(np.random.RandomState(1).normal(size=[2, 6, 8]).astype(np.float32))
        (own,) = layer.attend([modeling.AttentionInputs(layer.query(x), *layer.key_and_value(x), biases)])
        plain = branches.Branch(biases[0])
        kept, same, other = session.run(
            branches.run(
                model.bert,
                0,
                x,
                [plain] + [plain._replace(heads=heads, other_bias=biases[0], replacement=each) for each in (own, own + 1.0)],
            )
        )
    np.testing.assert_allclose(kept, same, atol=1e-5)
    assert np.abs(kept - other).max() > 1e-2
