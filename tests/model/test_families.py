# SPDX-License-Identifier: Apache-2.0
"""ELECTRA and ALBERT: Google's variable names, and outputs equal to a BERT of the same weights."""

import json
import os
import re

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tiny

import attention_mask
import modeling
from mrc import cells as grid_cells
from mrc import variables
from mrc.families import FAMILIES
from mrc.model import bert_config, checkpoint, grid
from mrc.util.errors import InputError

NARROW = 4  # embedding size, where the hidden size is 8
IDS = np.array([[2, 5, 6, 7, 3, 9, 10, 11, 3, 0]])
SEGMENTS = np.array([[0, 0, 0, 0, 0, 1, 1, 1, 1, 0]])
ALBERT_LAYER = "bert/encoder/transformer/group_0/inner_group_0/"
# Each part of a BERT layer, and its name in an ALBERT.
ALBERT_PARTS = {
    "attention/self/": "attention_1/self/",
    "attention/output/dense/": "attention_1/output/dense/",
    "attention/output/LayerNorm/": "LayerNorm/",
    "intermediate/dense/": "ffn_1/intermediate/dense/",
    "output/dense/": "ffn_1/intermediate/output/dense/",
    "output/LayerNorm/": "LayerNorm_1/",
}


def encoded(config, weights, cells=(grid_cells.BASELINE,)):
    """Returns the embeddings and the encoder's output for each cell, from weights by name."""
    with tf.Graph().as_default(), tf.Session() as session:
        bert = modeling.Bert(config)
        mask = tf.constant((IDS > 0).astype(np.int32))
        sets = attention_mask.find_sets(dict(input_mask=mask, segment_ids=tf.constant(SEGMENTS)))
        embedded = bert.embeddings(tf.constant(IDS), tf.constant(SEGMENTS))
        bias = modeling.padding_bias(mask)
        outputs = grid.encode(bert, list(cells), embedded, bias, sets)
        for variable in tf.global_variables():
            variable.load(weights[variable.op.name], session)
        return session.run([embedded] + outputs)


def weights_of(config):
    return tiny.random_weights(shapes_of(config))


def shapes_of(config):
    declared = variables.encoder(config) + variables.pooler(config)
    return {variable.name: list(variable.shape) for variable in declared}


def documented_electra():
    with open(os.path.join(tiny.ROOT, "docs", "readers.md"), encoding="utf-8") as reader:
        return json.loads(re.search("```json\n(.*?)```", reader.read(), re.DOTALL).group(1))


def test_google_names_of_electra_small():
    config = bert_config.make(documented_electra())
    shapes = shapes_of(config)
    assert shapes["electra/embeddings/word_embeddings"] == [30522, 128]
    assert shapes["electra/embeddings/LayerNorm/gamma"] == [128]
    assert shapes["electra/embeddings_project/kernel"] == [128, 256]
    assert shapes["electra/encoder/layer_1/attention/self/query/kernel"] == [256, 256]
    assert variables.pooler(config) == []


def test_google_names_of_albert_base():
    config = bert_config.make(
        {
            "vocab_size": 30000,
            "embedding_size": 128,
            "hidden_size": 768,
            "num_hidden_groups": 1,
            "inner_group_num": 1,
            "type_vocab_size": 2,
        }
    )
    shapes = shapes_of(config)
    assert config.family == "albert" and len(shapes) == 5 + 2 + 16 + 2
    assert shapes["bert/embeddings/position_embeddings"] == [512, 128]
    assert shapes["bert/encoder/embedding_hidden_mapping_in/kernel"] == [128, 768]
    assert shapes[ALBERT_LAYER + "attention_1/self/value/bias"] == [768]
    assert shapes[ALBERT_LAYER + "ffn_1/intermediate/output/dense/kernel"] == [3072, 768]
    assert shapes[ALBERT_LAYER + "LayerNorm_1/beta"] == [768]


@pytest.mark.parametrize("family", sorted(FAMILIES))
@pytest.mark.parametrize("widths", [dict(embedding_size=NARROW), {}, dict(project_embeddings=True)], ids=str)
def test_the_graph_has_the_variables_that_are_checked(family, widths):
    config = tiny.config(family=family, **widths)
    with tf.Graph().as_default():
        modeling.Bert(config)
        found = {variable.op.name: variable.shape.as_list() for variable in tf.global_variables()}
    assert found == shapes_of(config)


def test_an_electra_of_full_width_is_a_bert_of_other_names():
    bert = weights_of(tiny.config())
    electra = {name.replace("bert/", "electra/", 1): array for name, array in bert.items()}
    found = encoded(tiny.config(family="electra"), electra)
    for got, wanted in zip(found, encoded(tiny.config(), bert)):
        np.testing.assert_array_equal(got, wanted)


def test_narrow_embeddings_are_projected_after_their_norm():
    config = tiny.config(family="electra", embedding_size=NARROW)
    weights = weights_of(config)
    at = "electra/embeddings/"
    summed = (
        weights[at + "word_embeddings"][IDS]
        + weights[at + "token_type_embeddings"][SEGMENTS]
        + weights[at + "position_embeddings"][: IDS.shape[1]]
    )
    normed = tiny.layer_norm(summed, weights[at + "LayerNorm/beta"], weights[at + "LayerNorm/gamma"])
    project = "electra/embeddings_project/"
    wanted = tiny.dense(normed, weights[project + "kernel"], weights[project + "bias"])
    np.testing.assert_allclose(encoded(config, weights)[0], wanted, atol=1e-5)


def test_equally_wide_embeddings_are_projected_only_if_the_config_says_so():
    scope = "bert/encoder/embedding_hidden_mapping_in/kernel"
    assert scope not in shapes_of(tiny.config(family="albert"))
    config = tiny.config(family="albert", project_embeddings=True)
    assert shapes_of(config)[scope] == [8, 8]


def test_an_albert_is_a_bert_whose_layers_have_the_same_weights():
    albert_config = tiny.config(family="albert", num_hidden_layers=3, num_hidden_groups=1, inner_group_num=1)
    albert = weights_of(albert_config)
    bert = {}
    for name in weights_of(tiny.config(num_hidden_layers=3)):
        if name.startswith("bert/encoder/layer_"):
            part = name.split("/", 3)[3]
            at = next(at for at in ALBERT_PARTS if part.startswith(at))
            bert[name] = albert[ALBERT_LAYER + ALBERT_PARTS[at] + part[len(at) :]]
        else:
            bert[name] = albert[name]
    cells = grid_cells.read_cells("q2,p2q+p2,all", "each", 3)
    found = encoded(albert_config, albert, cells)
    for got, wanted in zip(found, encoded(tiny.config(num_hidden_layers=3), bert, cells)):
        np.testing.assert_allclose(got, wanted, atol=2e-3)
    assert np.abs(found[1] - found[2]).max() > 1e-2  # a mask is felt


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_grid_equals_single_cells(family):
    config = tiny.config(family=family, embedding_size=NARROW, num_hidden_layers=3)
    weights = weights_of(config)
    cells = grid_cells.read_cells("q2,q2p,p2q,p2", "each", 3)
    together = encoded(config, weights, cells)[1:]
    for cell, output in zip(cells, together):
        np.testing.assert_allclose(output, encoded(config, weights, [cell])[1], atol=1e-5)


def test_the_erf_form_of_gelu():
    # x Phi(x), with the normal distribution function Phi(1) = 0.841345, Phi(-2) = 0.022750.
    found = tiny.values(lambda: modeling.gelu_erf(tf.constant([0.0, 1.0, -2.0])))
    np.testing.assert_allclose(found, [0.0, 0.841345, -0.0455003], atol=1e-6)
    tanh = tiny.values(lambda: modeling.gelu(tf.linspace(-5.0, 5.0, 2001)))
    erf = tiny.values(lambda: modeling.gelu_erf(tf.linspace(-5.0, 5.0, 2001)))
    assert 4e-4 < np.abs(tanh - erf).max() < 5e-4


@pytest.mark.parametrize(
    "values, problem",
    [
        ({"num_hidden_groups": 2, "inner_group_num": 1}, "has 2 groups of 1 layers"),
        ({"num_hidden_groups": 1, "inner_group_num": 3}, "has 1 groups of 3 layers"),
        ({"family": "gpt"}, '"family" must be one of bert, electra, albert'),
        ({"family": []}, '"family" must be one of bert, electra, albert'),
        ({"embedding_size": 0}, '"embedding_size" must be a whole number'),
        ({"embedding_size": 4, "project_embeddings": False}, '"project_embeddings" must be true'),
        ({"project_embeddings": []}, '"project_embeddings" must be true'),
    ],
)
def test_configs_of_other_shapes_are_refused(values, problem):
    with pytest.raises(InputError) as caught:
        tiny.config(**values)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    "family, name",
    [
        ("electra", "electra/embeddings/word_embeddings"),
        ("albert", ALBERT_LAYER + "LayerNorm/beta"),
        ("bert", "bert/encoder/layer_0/output/dense/bias"),
    ],
)
def test_a_checkpoint_of_another_family_is_refused(tmp_path, family, name):
    path = str(tmp_path / "model.ckpt")
    checkpoint.write(path, {name: np.zeros([2], np.float32)})
    other = "bert" if family != "bert" else "electra"
    with pytest.raises(InputError, match=f'with "family": "{family}"'):
        checkpoint.check(path, tiny.config(family=other), needs_head=True)


# HFL's checkpoints (BERT-wwm, RoBERTa-wwm-ext, MacBERT) have such a config.
HFL = {
    "attention_probs_dropout_prob": 0.1,
    "directionality": "bidi",
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "hidden_size": 768,
    "initializer_range": 0.02,
    "intermediate_size": 3072,
    "max_position_embeddings": 512,
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "pooler_fc_size": 768,
    "pooler_num_attention_heads": 12,
    "pooler_num_fc_layers": 3,
    "pooler_size_per_head": 128,
    "pooler_type": "first_token_transform",
    "type_vocab_size": 2,
    "vocab_size": 21128,
}


def test_configs_of_chinese_whole_word_masking_models_are_those_of_a_bert():
    config = bert_config.make(HFL)
    assert (config.family, config.embedding_size, config.type_vocab_size) == ("bert", 768, 2)
