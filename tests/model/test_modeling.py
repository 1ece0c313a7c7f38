# SPDX-License-Identifier: Apache-2.0
"""Tests of modeling.py: values computed by hand, one layer against NumPy, names, hooks, dropout."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tiny

import modeling
from mrc import variables

IDS = np.array([[2, 10, 11, 3, 12, 13, 3, 0], [2, 9, 3, 14, 15, 16, 17, 3]])
MASK = np.array([[1, 1, 1, 1, 1, 1, 1, 0], [1] * 8])
SEGMENTS = np.array([[0, 0, 0, 0, 1, 1, 1, 0], [0, 0, 0, 1, 1, 1, 1, 1]])


def embeddings(bert):
    return bert.embeddings(tf.constant(IDS), tf.constant(SEGMENTS))


def padding_bias():
    return modeling.padding_bias(tf.constant(MASK))


def forward(bert, see_probabilities=None):
    return bert.encode(embeddings(bert), padding_bias(), see_probabilities)


def shapes(declared):
    return {variable.name: list(variable.shape) for variable in declared}


@pytest.mark.parametrize(
    "x, y",
    [
        (0.0, 0.0),
        (1.0, 0.841192),  # 0.5 (1 + tanh(0.797885 * 1.044715)), tanh(0.833563) = 0.682384
        (-1.0, -0.158808),  # y(-x) = y(x) - x
        (2.0, 1.954598),  # 1 + tanh(0.797885 * (2 + 0.044715 * 8)), tanh(1.881183) = 0.954598
        (10.0, 10.0),
        (-10.0, 0.0),
    ],
)
def test_gelu(x, y):
    assert tiny.values(lambda: modeling.gelu(tf.constant(x))) == pytest.approx(y, abs=1e-6)


def test_layer_norm():
    # Mean 3, deviations -2 -1 0 3, variance 3.5, standard deviation 1.8708287.
    x, beta, gamma = [[1.0, 2.0, 3.0, 6.0]], [0.0, 1.0, 5.0, 0.0], [1.0, 1.0, 7.0, 2.0]
    y = tiny.values(lambda: modeling.layer_norm(*map(tf.constant, (x, beta, gamma))))
    np.testing.assert_allclose(y, [[-1.0690450, 0.4654775, 5.0, 3.2071350]], atol=1e-6)


def test_layer_norm_of_equal_values_is_beta():
    y = tiny.values(lambda: modeling.layer_norm(tf.constant([[4.0, 4.0]]), tf.constant([1.0, 2.0]), tf.constant([1.0, 1.0])))
    np.testing.assert_allclose(y, [[1.0, 2.0]])


def test_attention_of_one_head_by_hand():
    # Query and key are x but for a factor, so that the score of tokens x, y is ln 3 * x . y. Of the
    # tokens (0, 0) and (1, 0) the first scores (0, 0) and attends by halves, the second (0, ln 3)
    # and attends by 1/4 and 3/4.
    weights = {
        "query/kernel": np.eye(2),
        "key/kernel": np.log(3) * np.sqrt(2) * np.eye(2),
        "query/bias": [0, 0],
        "key/bias": [0, 0],
    }
    seen = []
    with tiny.reader(tiny.config(hidden_size=2, num_hidden_layers=1, num_attention_heads=1)) as (model, session):
        for variable in tf.global_variables():
            name = "/".join(variable.op.name.split("/")[-2:])
            if "/self/" in variable.op.name and name in weights:
                variable.load(weights[name], session)
        model.bert.layers[0](tf.constant([[[0.0, 0.0], [1.0, 0.0]]]), tf.zeros([1, 1, 1, 2]), seen.append)
        (probabilities,) = session.run(seen)
    np.testing.assert_allclose(probabilities, [[[[0.5, 0.5], [0.25, 0.75]]]], atol=1e-6)


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_layers_equal_numpy(heads):
    with tiny.reader(tiny.config(num_attention_heads=heads)) as (model, session):
        embedded, found = session.run([embeddings(model.bert), forward(model.bert)])
        weights = tiny.variable_values(session)
    for row, (ids, segments, mask) in enumerate(zip(IDS, SEGMENTS, MASK)):
        at = "bert/embeddings/"
        x = (
            weights[at + "word_embeddings"][ids]
            + weights[at + "token_type_embeddings"][segments]
            + weights[at + "position_embeddings"][: len(ids)]
        )
        x = tiny.layer_norm(x, weights[at + "LayerNorm/beta"], weights[at + "LayerNorm/gamma"])
        np.testing.assert_allclose(embedded[row], x, atol=1e-5)
        for layer in range(2):
            x = tiny.encoder_layer(x, tiny.layer_weights(weights, layer), heads, (1 - mask) * -10000.0)
        np.testing.assert_allclose(found[row], x, atol=1e-4)


def test_names_and_shapes_are_those_of_released_checkpoints():
    bert = tiny.config()
    wanted = dict(
        shapes(variables.encoder(bert)),
        **{
            "bert/pooler/dense/kernel": [8, 8],
            "bert/pooler/dense/bias": [8],
            "cls/squad/output_weights": [2, 8],
            "cls/squad/output_bias": [2],
        },
    )
    with tiny.reader(bert):
        assert {variable.op.name: variable.shape.as_list() for variable in tf.global_variables()} == wanted


@pytest.mark.parametrize(
    "name, shape",
    [
        ("bert/embeddings/word_embeddings", [len(tiny.PIECES), 8]),
        ("bert/embeddings/position_embeddings", [64, 8]),
        ("bert/embeddings/token_type_embeddings", [2, 8]),
        ("bert/embeddings/LayerNorm/gamma", [8]),
        ("bert/encoder/layer_0/attention/self/query/kernel", [8, 8]),
        ("bert/encoder/layer_1/attention/output/dense/bias", [8]),
        ("bert/encoder/layer_1/attention/output/LayerNorm/beta", [8]),
        ("bert/encoder/layer_0/intermediate/dense/kernel", [8, 16]),
        ("bert/encoder/layer_0/output/dense/kernel", [16, 8]),
        ("bert/encoder/layer_1/output/LayerNorm/gamma", [8]),
    ],
)
def test_names_that_google_gave(name, shape):
    assert shapes(variables.encoder(tiny.config()))[name] == shape


def test_one_hot_embeddings_equal_gathered_ones():
    found = []
    for one_hot in (False, True):
        with tiny.reader(tiny.config(), one_hot_embeddings=one_hot) as (model, session):
            found.append(session.run(embeddings(model.bert)))
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)


def test_probabilities_of_each_layer_are_seen():
    seen = []
    with tiny.reader(tiny.config(num_hidden_layers=3)) as (model, session):
        forward(model.bert, seen.append)
        probabilities = session.run(seen)
    assert len(probabilities) == 3
    for array in probabilities:
        assert array.shape == (2, 2, 8, 8)
        np.testing.assert_allclose(array.sum(axis=-1), 1, atol=1e-5)
        assert (array[0, :, :, 7] == 0).all() and (array[1] > 0).all()


def test_padding_does_not_change_what_real_tokens_become():
    def run(bert, padding):
        ids, segments, mask = (np.pad(array[1:], [(0, 0), (0, len(padding))], "constant") for array in (IDS, SEGMENTS, MASK))
        ids[:, 8:] = padding
        ids, segments, mask = map(tf.constant, (ids, segments, mask))
        return bert.encode(bert.embeddings(ids, segments), modeling.padding_bias(mask))[:, :8]

    with tiny.reader(tiny.config()) as (model, session):
        alone, padded, other = session.run([run(model.bert, padding) for padding in ([], [0, 0], [5, 9])])
    np.testing.assert_allclose(padded, alone, atol=1e-5)
    np.testing.assert_allclose(other, alone, atol=1e-5)


def dropped(seed, step, rate=0.25, calls=1):
    def build():
        dropout = modeling.Dropout(seed, tf.constant(step, tf.int64))
        return [dropout(tf.ones([100, 100]), rate) for _ in range(calls)][-1]

    return tiny.values(build)


def test_dropout_depends_on_seed_step_and_call_alone():
    first = dropped(5, 3)
    np.testing.assert_array_equal(first, dropped(5, 3))
    for other in (dropped(6, 3), dropped(5, 4), dropped(5, 3, calls=2)):
        assert (first != other).mean() > 0.2


def test_dropout_keeps_the_mean():
    found = dropped(5, 3)
    assert set(np.unique(found)) == {np.float32(0), np.float32(1 / 0.75)}
    assert found.mean() == pytest.approx(1, abs=0.03)  # the standard deviation of the mean is 0.006


def test_no_dropout_at_rate_0():
    np.testing.assert_array_equal(dropped(5, 3, rate=0.0), np.ones([100, 100]))


def test_dropout_acts_in_the_model():
    bert = tiny.config(hidden_dropout_prob=0.5, attention_probs_dropout_prob=0.5)
    found = []
    for step in (None, 0, 0, 1):

        def dropout(x, rate):
            return x if step is None else modeling.Dropout(1, tf.constant(step))(x, rate)

        with tiny.reader(bert, dropout=dropout) as (model, session):
            found.append(session.run(forward(model.bert)))
    np.testing.assert_array_equal(found[1], found[2])
    assert np.abs(found[0] - found[1]).max() > 0.1 and np.abs(found[1] - found[3]).max() > 0.1
