# SPDX-License-Identifier: Apache-2.0
"""Checks whether a Hugging Face model can be imported, and converts its config.json."""

from collections import OrderedDict

from mrc.model import bert_config
from mrc.util.errors import InputError

# Hugging Face's names and ours: `gelu` is the erf form there, and the tanh form in Google's code.
_ACTIVATIONS = {
    "gelu": "gelu_erf",
    "gelu_python": "gelu_erf",
    "gelu_new": "gelu",
    "gelu_pytorch_tanh": "gelu",
    "gelu_fast": "gelu",
    "relu": "relu",
    "tanh": "tanh",
    "linear": "linear",
}
_EPSILON = 1e-12
_COPIED = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
    "type_vocab_size",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "initializer_range",
)
# The defaults of transformers for BERT.
_DEFAULTS = {"type_vocab_size": 2, "vocab_size": 30522}


def _check(values, path):
    if not isinstance(values, dict) or not isinstance(values.get("model_type", ""), str):
        raise InputError(f"{path} is not a model's config.json; pass the folder of a model")
    model_type = values.get("model_type")
    if model_type != "bert":
        raise InputError(
            f'{path}: the model type "{model_type}" cannot be imported, because only BERT has the '
            "layers that this project computes; use a model of type bert"
        )
    position = values.get("position_embedding_type", "absolute")
    if position != "absolute":
        raise InputError(
            f'{path}: position_embedding_type is "{position}"; only absolute positions can be '
            "imported"
        )
    if values.get("pruned_heads"):
        raise InputError(f"{path}: models with pruned heads cannot be imported; use the original")
    if values.get("is_decoder") or values.get("add_cross_attention"):
        raise InputError(f"{path}: decoders cannot be imported; use an encoder")
    epsilon = values.get("layer_norm_eps", _EPSILON)
    if epsilon != _EPSILON:
        raise InputError(
            f"{path}: layer_norm_eps is {epsilon!r}, and this project computes with {_EPSILON}, "
            "which would change answers; use a model with that value"
        )
    if not isinstance(values.get("hidden_act", "gelu"), str):
        raise InputError(f"{path}: hidden_act must be the name of an activation")


def convert(values: dict, path: str) -> OrderedDict:
    """Returns the `bert_config.json` of a Hugging Face `config.json`.

    Args:
      values: the JSON value of `path`.

    Raises:
      InputError: the model cannot be imported; the message says why.
    """
    _check(values, path)
    made = OrderedDict()
    for key in _COPIED:
        if key in values or key in _DEFAULTS:
            made[key] = values.get(key, _DEFAULTS.get(key))
    activation = values.get("hidden_act", "gelu")
    if activation not in _ACTIVATIONS:
        raise InputError(
            f'{path}: the activation "{activation}" is not supported; use a model with one of '
            + ", ".join(sorted(_ACTIVATIONS))
        )
    made["hidden_act"] = _ACTIVATIONS[activation]
    bert_config.make(made, path)
    return made
