# SPDX-License-Identifier: Apache-2.0
"""The shape of a BERT: what `bert_config.json` of a released checkpoint says, checked."""

import reprlib
from typing import NamedTuple

import tokenization
from modeling import ACTIVATIONS
from mrc.families import FAMILIES
from mrc.util.errors import InputError
from mrc.util.files import read_json

_MOST = 10**6  # of each size
_MOST_LAYERS = 10**3
_MOST_WEIGHTS = 10**10
_ALIASES = {"gelu_new": "gelu", "gelu_pytorch_tanh": "gelu"}  # other names of the tanh form


class BertConfig(NamedTuple):
    """Shape of an encoder, named as in the released `bert_config.json`.

    The defaults are BERT base's.

    Attributes:
      family: "bert", "electra" or "albert".
      embedding_size: width of the embeddings; that of the layers for BERT.
      project_embeddings: whether a dense layer lies between embeddings and layers; by default,
        where they differ in width. Hugging Face's ALBERT always has one.
      max_input_chars_per_word: a longer word is unknown to the tokenizer.
    """

    vocab_size: int
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    max_position_embeddings: int = 512
    type_vocab_size: int = 16
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    hidden_act: str = "gelu"
    initializer_range: float = 0.02
    family: str = "bert"
    embedding_size: int = 0
    project_embeddings: bool = False
    max_input_chars_per_word: int = tokenization.LONGEST_WORD


_SIZES = BertConfig._fields[:7] + ("embedding_size", "max_input_chars_per_word")
_RATES = BertConfig._fields[7:9]


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _count_weights(config):
    """Returns the number of weights of embeddings and layers, biases and norms aside."""
    rows = config.vocab_size + config.max_position_embeddings + config.type_vocab_size
    layer = 4 * config.hidden_size + 2 * config.intermediate_size
    return config.embedding_size * rows + config.hidden_size * config.num_hidden_layers * layer


def _family(values, where):
    """Returns the family of a config that does not name it.

    Only Google's ALBERT has groups of layers.
    """
    groups = values.get("num_hidden_groups"), values.get("inner_group_num")
    if groups == (None, None):
        return values.get("family", "bert")
    if groups != (1, 1):
        raise InputError(
            f"{where} has {groups[0]} groups of {groups[1]} layers; only ALBERTs in which all "
            "layers share their weights (1 and 1) are supported"
        )
    return "albert"


def make(values, where="bert_config"):
    """Returns the `BertConfig` of a dict; keys that BERT does not know are left aside.

    Raises:
      InputError: a key is missing, of the wrong type or out of range, or the heads do not divide
        the width.
    """

    def wrong(key, what):
        return InputError(
            f'{where}: "{key}" must be {what}, it is {reprlib.repr(values[key])}; use the '
            "bert_config.json that came with the checkpoint"
        )

    if not isinstance(values, dict):
        raise InputError(
            f"{where} must be a JSON object as in Google's bert_config.json; it is a {type(values).__name__}, so use "
            "the one that came with the checkpoint"
        )
    if "vocab_size" not in values:
        raise InputError(f'{where} lacks "vocab_size"; use the bert_config.json that came with the checkpoint')
    given = {key: values[key] for key in BertConfig._fields if key in values}
    given["family"] = _family(values, where)
    given.setdefault("embedding_size", given.get("hidden_size", BertConfig(1).hidden_size))
    values = BertConfig(**given)._asdict()
    widths_differ = values["embedding_size"] != values["hidden_size"]
    if "project_embeddings" not in given:
        values["project_embeddings"] = widths_differ
    if values["family"] not in list(FAMILIES):  # it may be a list
        raise wrong("family", "one of " + ", ".join(FAMILIES))
    for key in _SIZES:
        most = _MOST_LAYERS if key == "num_hidden_layers" else _MOST
        if type(values[key]) is not int or not 1 <= values[key] <= most:
            raise wrong(key, "a whole number from 1 to %d" % most)
    for key in _RATES:
        if not _is_number(values[key]) or not 0 <= values[key] < 1:
            raise wrong(key, "a number from 0 to below 1")
    if not _is_number(values["initializer_range"]) or not 0 < values["initializer_range"] <= 1:
        raise wrong("initializer_range", "a number above 0 and at most 1")
    activation = values["hidden_act"]
    if isinstance(activation, str):
        values["hidden_act"] = activation = _ALIASES.get(activation, activation)
    if activation not in list(ACTIVATIONS):  # it may be a list itself
        raise wrong("hidden_act", "one of " + ", ".join(ACTIVATIONS))
    if values["hidden_size"] % values["num_attention_heads"]:
        raise InputError(
            f"{where}: {values['num_attention_heads']} attention heads do not divide a hidden_size "
            f"of {values['hidden_size']}; use the bert_config.json that came with the checkpoint"
        )
    if values["project_embeddings"] not in (True, widths_differ):
        raise wrong("project_embeddings", "true, or false where the widths are equal")
    config = BertConfig(**values)
    weights = _count_weights(config)
    if weights > _MOST_WEIGHTS:
        raise InputError(
            f"{where} asks for a model of {weights // 10**6} million weights, which is none that "
            "fits a machine; use the bert_config.json that came with the checkpoint"
        )
    return config


def read(path):
    """Returns the `BertConfig` of a `bert_config.json`."""
    values = read_json(path, "BERT config")
    if isinstance(values, dict) and ("model_type" in values or "architectures" in values):
        raise InputError(
            f"{path} is a config of Hugging Face, whose layers have other names and another GELU; "
            "convert the model with `python import_huggingface.py MODEL_FOLDER OUTPUT_FOLDER`"
        )
    return make(values, path)
