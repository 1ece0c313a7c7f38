# SPDX-License-Identifier: Apache-2.0
"""Masks of single heads, and heads that are off, against a layer in NumPy."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tiny

import attention_mask
import modeling
from mrc import cells as grid_cells
from mrc.model import branches, cpu_ops

HEADS, TOKENS = 4, 10
MASK = np.array([[1] * 9 + [0]])
SEGMENTS = np.array([[0, 0, 0, 0, 0, 1, 1, 1, 1, 0]])
QUESTION, PASSAGE = np.arange(1, 4), np.arange(5, 8)
# (queries, keys) of each zone in `[CLS] question [SEP] passage [SEP] padding`.
PAIRS = {
    "q2": (QUESTION, QUESTION),
    "p2": (PASSAGE, PASSAGE),
    "p2q": (np.setdiff1d(np.arange(TOKENS), QUESTION), QUESTION),
    "q2p": (np.setdiff1d(np.arange(TOKENS), PASSAGE), PASSAGE),
}


def in_numpy(x, weights, zone, heads):
    """One layer in which `heads` are masked by `zone`, or off; [T, H]."""
    masked = np.where(MASK[0] > 0, 0.0, -10000.0) + np.zeros([TOKENS, TOKENS])
    if zone in PAIRS:
        masked[np.ix_(*PAIRS[zone])] -= 10000.0
    unmasked = np.where(MASK[0] > 0, 0.0, -10000.0) + np.zeros([TOKENS, TOKENS])
    size = x.shape[1] // HEADS
    query, key, value = (
        tiny.dense(x, *(weights[f"attention/self/{name}/{part}"] for part in ("kernel", "bias")))
        for name in ("query", "key", "value")
    )
    context = []
    for head in range(HEADS):
        part = slice(head * size, (head + 1) * size)
        scores = query[:, part] @ key[:, part].T / np.sqrt(size)
        bias = masked if head in heads else unmasked
        one = tiny.softmax(scores + bias) @ value[:, part]
        context.append(np.zeros_like(one) if zone == "off" and head in heads else one)

    def norm(name, inputs):
        at = f"{name}/LayerNorm/"
        return tiny.layer_norm(inputs, weights[at + "beta"], weights[at + "gamma"])

    def project(name, inputs):
        return tiny.dense(inputs, weights[name + "/kernel"], weights[name + "/bias"])

    attention = norm("attention/output", project("attention/output/dense", np.hstack(context)) + x)
    wide = tiny.gelu(project("intermediate/dense", attention))
    return norm("output", project("output/dense", wide) + attention)


@pytest.mark.parametrize("fast", [False, True], ids=["plain", "by head"])
@pytest.mark.parametrize("zone", sorted(PAIRS) + ["off"])
@pytest.mark.parametrize("heads", ["1", "0+3", None])
def test_a_layer_with_masked_heads(fast, zone, heads):
    config = tiny.config(num_hidden_layers=1, num_attention_heads=HEADS)
    (cell,) = grid_cells.read_cells(zone, "0", 1, heads, HEADS)
    with tiny.reader(config, ops=cpu_ops.make_ops() if fast else modeling.PLAIN_OPS) as (model, session):
        weights = tiny.layer_weights(tiny.variable_values(session), 0)
        x = np.random.RandomState(3).normal(size=[1, TOKENS, config.hidden_size])
        x = x.astype(np.float32)
        sets = attention_mask.find_sets(dict(input_mask=tf.constant(MASK), segment_ids=tf.constant(SEGMENTS)))
        unmasked = modeling.padding_bias(tf.constant(MASK))
        mask = cell.mask_at(0)
        branch = branches.Branch(
            attention_mask.changed_bias(unmasked, mask, sets, sets),
            heads=mask.heads,
            other_bias=None if mask.heads is None else unmasked,
            replacement=None if mask.context is None else tf.constant(mask.context),
        )
        plain = branches.Branch(unmasked)
        found, baseline = session.run(branches.run(model.bert, 0, tf.constant(x), [branch, plain]))
    chosen = range(HEADS) if heads is None else [int(head) for head in heads.split("+")]
    np.testing.assert_allclose(found[0], in_numpy(x[0], weights, zone, chosen), atol=1e-4)
    np.testing.assert_allclose(baseline[0], in_numpy(x[0], weights, zone, []), atol=1e-4)
    assert np.abs(found - baseline).max() > 1e-3


@pytest.mark.parametrize("trims", [False, True], ids=["padded", "trimmed"])
def test_cells_of_heads_share_the_contexts_of_the_other_heads(trims):
    cells = grid_cells.read_cells("p2q,off", "0", 1, "each", HEADS)
    config = tiny.config(num_hidden_layers=1, num_attention_heads=HEADS)
    with tiny.reader(config, ops=cpu_ops.make_ops()) as (model, _):
        arrays = dict(input_ids=MASK, input_mask=MASK, segment_ids=SEGMENTS, unique_ids=[0])
        inputs = {name: tf.constant(array, tf.int32) for name, array in arrays.items()}
        model.best_positions(inputs, cells, 2, trims)
        library = tf.get_default_graph().as_graph_def().library
    operations = [node.op for function in library.function for node in function.node_def]
    # Each head without a mask and with one, for all nine cells together.
    assert operations.count("Softmax") == 2 * HEADS
