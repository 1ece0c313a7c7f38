# SPDX-License-Identifier: Apache-2.0
"""Tests of the summed attention against NumPy, with the plain and the CPU operations."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tiny

import attention_mask
import modeling
from mrc import cells
from mrc.model import attention_sums

# Groups of `[CLS] question [SEP] passage [SEP] padding` for windows of 9 and of 7 tokens.
GROUPS = np.array([[2, 0, 0, 0, 3, 1, 1, 1, 3, 4, 4, 4], [2, 0, 3, 1, 1, 1, 3, 4, 4, 4, 4, 4]])
TOKENS = GROUPS.shape[1]
MASK = (GROUPS != 4).astype(np.int32)
SEGMENTS = np.array([[0] * 5 + [1] * 4 + [0] * 3, [0] * 3 + [1] * 4 + [0] * 5])
IDS = np.random.RandomState(7).randint(5, 40, GROUPS.shape) * MASK
ROLES = {"question": 0, "passage": 1}


def masked_pairs(zone, groups):
    """Returns where `zone` masks a (query, key) pair of a window, [T, T]."""
    question, passage = groups == 0, groups == 1
    return {
        "": np.zeros([TOKENS, TOKENS], bool),
        "all": np.zeros([TOKENS, TOKENS], bool),
        "q2": np.outer(question, question),
        "q2p": np.outer(~passage, passage),
        "p2q": np.outer(~question, question),
        "p2": np.outer(passage, passage),
    }[zone]


def in_numpy(hidden, weights, config, zones):
    """Returns the sums [L, N, 4, 6] of one window.

    Args:
      hidden: the encoder's input, [T, H].
      zones: for each (layer, head), the masked zone.
    """
    groups, x, heads = hidden[0], hidden[1], config.num_attention_heads
    size, found = x.shape[1] // heads, []
    for layer in range(config.num_hidden_layers):
        mine = tiny.layer_weights(weights, layer)
        query, key, value = (
            tiny.dense(x, *(mine[f"attention/self/{name}/{part}"] for part in ("kernel", "bias")))
            for name in ("query", "key", "value")
        )
        context = []
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            zone = zones.get((layer, head), "")
            bias = np.where(groups == 4, -10000.0, 0.0) - 10000.0 * masked_pairs(zone, groups)
            if zone == "all":
                bias = np.zeros([TOKENS, TOKENS])
            probabilities = tiny.softmax(query[:, part] @ key[:, part].T / np.sqrt(size) + bias)
            context.append(probabilities @ value[:, part])
            entropy = -np.sum(probabilities * np.log(np.maximum(probabilities, 1e-300)), axis=1)
            for group in range(4):
                rows = groups == group
                found.append([probabilities[rows][:, groups == other].sum() for other in range(5)] + [entropy[rows].sum()])
        x = _rest_of_layer(x, np.hstack(context), mine)
    return np.array(found).reshape([config.num_hidden_layers, heads, 4, 6])


def _rest_of_layer(x, context, weights):
    def norm(name, inputs):
        at = f"{name}/LayerNorm/"
        return tiny.layer_norm(inputs, weights[at + "beta"], weights[at + "gamma"])

    def project(name, inputs):
        return tiny.dense(inputs, weights[name + "/kernel"], weights[name + "/bias"])

    attention = norm("attention/output", project("attention/output/dense", context) + x)
    wide = tiny.gelu(project("intermediate/dense", attention))
    return norm("output", project("output/dense", wide) + attention)


def masked_zones(cell, config):
    heads = range(config.num_attention_heads) if cell.mask.heads is None else cell.mask.heads
    zone = cell.label.zone
    return {(layer, head): zone for layer in cell.layers for head in heads}


@pytest.mark.parametrize("device", ["cpu", "plain", "static"])
@pytest.mark.parametrize(
    "zone, layer, head", [(None, None, None), ("q2", "0", None), ("p2q", None, None), ("p2", "1", "1"), ("all", "1", "0")]
)
def test_sums_are_those_of_numpy(device, zone, layer, head):
    config = tiny.config()
    (cell,) = cells.read_cells(zone, layer, 2, head, 2)
    with tf.Graph().as_default(), tf.Session() as session:
        features = {
            "unique_ids": tf.constant([0, 1]),
            "input_ids": tf.constant(IDS, tf.int32),
            "input_mask": tf.constant(MASK),
            "segment_ids": tf.constant(SEGMENTS, tf.int32),
        }
        found = attention_sums.attention_sums(
            config, features, cell, on_cpu=device == "cpu", static_shapes=device == "static"
        )
        variables = {each.op.name: each for each in tf.global_variables()}
        weights = tiny.random_weights({name: each.shape.as_list() for name, each in variables.items()})
        for name, each in variables.items():
            each.load(weights[name], session)
        with tf.variable_scope("", reuse=True):
            embedded = modeling.Bert(config).embeddings(features["input_ids"], features["segment_ids"])
        sums, counts, inputs = session.run([found["sums"], found["counts"], embedded])
    expected = [in_numpy((groups, x), weights, config, masked_zones(cell, config)) for groups, x in zip(GROUPS, inputs)]
    # Under the zone all, float32 has a precision of 1e-3 near -10000.
    tolerance = 2e-2 if zone == "all" else 1e-4
    np.testing.assert_allclose(sums, expected, atol=tolerance)
    assert counts.tolist() == [[3, 3, 1, 2], [1, 3, 1, 2]]
    np.testing.assert_allclose(sums[..., :5].sum(axis=-1)[:, 0, 0], counts, atol=1e-4)
    if zone in ("q2", "p2q", "p2"):
        query, key = (ROLES[name] for name in attention_mask.BLOCKS[zone])
        for number, chosen in masked_zones(cell, config).items():
            assert chosen == zone and not sums[:, number[0], number[1], query, key].any()


@pytest.mark.parametrize("on_cpu", [False, True])
def test_heads_that_are_off_are_summed_but_add_nothing(on_cpu):
    """The sums of the layer itself do not change, those of the next layer do."""
    config, sums = tiny.config(), {}
    for zone in (None, "off"):
        (cell,) = cells.read_cells(zone, zone and "0", 2, zone and "1", 2)
        with tf.Graph().as_default(), tf.Session() as session:
            arrays = dict(input_ids=IDS, input_mask=MASK, segment_ids=SEGMENTS, unique_ids=[0, 1])
            features = {name: tf.constant(array, tf.int32) for name, array in arrays.items()}
            result = attention_sums.attention_sums(config, features, cell, on_cpu=on_cpu)
            variables = {each.op.name: each for each in tf.global_variables()}
            weights = tiny.random_weights({name: each.shape.as_list() for name, each in variables.items()})
            for name, each in variables.items():
                each.load(weights[name], session)
            sums[zone] = session.run(result["sums"])
    np.testing.assert_allclose(sums[None][:, 0], sums["off"][:, 0], atol=1e-5)
    assert np.abs(sums[None][:, 1] - sums["off"][:, 1]).max() > 1e-3
