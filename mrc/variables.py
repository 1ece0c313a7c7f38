# SPDX-License-Identifier: Apache-2.0
"""The variables of a reader: name, shape and initializer of each, declared once.

The graph creates them, checkpoints are checked against them, and imported weights are renamed to
them. Their order is that in which the graph creates them.
"""

from typing import Callable, List, NamedTuple, Tuple

import tensorflow.compat.v1 as tf

from mrc.families import FAMILIES


class Variable(NamedTuple):
    """A variable of the model: its name in Google's checkpoints, its shape and its initializer."""

    name: str
    shape: Tuple[int, ...]
    initializer: Callable

    def make(self):
        """Returns a new variable of the current graph."""
        return tf.get_variable(self.name, self.shape, initializer=self.initializer)


def _dense(scope, rows, columns, config):
    normal = tf.truncated_normal_initializer(stddev=config.initializer_range)
    return [
        Variable(scope + "/kernel", (rows, columns), normal),
        Variable(scope + "/bias", (columns,), tf.zeros_initializer()),
    ]


def _norm(scope, size):
    return [
        Variable(scope + "/beta", (size,), tf.zeros_initializer()),
        Variable(scope + "/gamma", (size,), tf.ones_initializer()),
    ]


def embeddings(config) -> List[Variable]:
    """Returns the variables of the embeddings: words, types, positions, norm, projection."""
    family, width = FAMILIES[config.family], config.embedding_size
    normal = tf.truncated_normal_initializer(stddev=config.initializer_range)
    scope = family.root + "/embeddings"
    variables = [
        Variable(scope + "/word_embeddings", (config.vocab_size, width), normal),
        Variable(scope + "/token_type_embeddings", (config.type_vocab_size, width), normal),
        Variable(scope + "/position_embeddings", (config.max_position_embeddings, width), normal),
    ]
    variables += _norm(scope + "/LayerNorm", width)
    if config.project_embeddings:
        projection = f"{family.root}/{family.projection}"
        variables += _dense(projection, width, config.hidden_size, config)
    return variables


def layer(config, index: int) -> List[Variable]:
    """Returns the variables of a layer, in the order of `LayerWeights`."""
    family, hidden, wide = FAMILIES[config.family], config.hidden_size, config.intermediate_size
    scope, variables = family.scope(index) + "/", []
    for name in ("query", "key", "value"):
        variables += _dense(f"{scope}{family.attention}/{name}", hidden, hidden, config)
    variables += _dense(scope + family.attention_output, hidden, hidden, config)
    variables += _norm(scope + family.attention_norm, hidden)
    variables += _dense(scope + family.intermediate, hidden, wide, config)
    variables += _dense(scope + family.output, wide, hidden, config)
    return variables + _norm(scope + family.output_norm, hidden)


def pooler(config) -> List[Variable]:
    """Returns the variables of the pooler, which checkpoints carry and the span head ignores."""
    family, hidden = FAMILIES[config.family], config.hidden_size
    scope = family.root + "/pooler/dense"
    return _dense(scope, hidden, hidden, config) if family.has_pooler else []


def head(config) -> List[Variable]:
    """Returns the variables of the span head."""
    normal = tf.truncated_normal_initializer(stddev=0.02)
    return [
        Variable("cls/squad/output_weights", (2, config.hidden_size), normal),
        Variable("cls/squad/output_bias", (2,), tf.zeros_initializer()),
    ]


def encoder(config) -> List[Variable]:
    """Returns the variables of the embeddings and of all layers, each once."""
    variables = embeddings(config)
    for index in range(config.num_hidden_layers):
        variables += layer(config, index)
    return list({variable.name: variable for variable in variables}.values())
