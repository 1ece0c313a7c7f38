# SPDX-License-Identifier: Apache-2.0
"""Checks whether a Hugging Face model can be imported, and converts its config.json."""

from mrc.families import FAMILIES, LAYER_NORM_EPSILON
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
_COPIED = (
    *("vocab_size", "embedding_size", "hidden_size", "num_hidden_layers", "num_attention_heads"),
    *("intermediate_size", "max_position_embeddings", "type_vocab_size"),
    *("hidden_dropout_prob", "attention_probs_dropout_prob", "initializer_range"),
)
_REASONS = {
    "roberta": "it numbers positions and cuts text differently",
    "xlm-roberta": "it numbers positions and cuts text differently",
    "distilbert": "its layers have other parts",
    "deberta": "its attention uses relative positions",
    "deberta-v2": "its attention uses relative positions",
}


def likely_refusal(name: str) -> str:
    """Returns a warning if the name of a model is that of a type that cannot be imported.

    >>> likely_refusal("deepset/roberta-base-squad2")
    '; by its name it may be of type roberta, which cannot be imported'
    """
    base = name.lower().rpartition("/")[2]
    types = [each for each in _REASONS if each in base and "wwm" not in base]  # HFL's are BERTs
    return f"; by its name it may be of type {types[-1]}, which cannot be imported" if types else ""


def _check(values, path):
    if not isinstance(values, dict) or not isinstance(values.get("model_type"), str):
        raise InputError(f"{path} names no model_type; pass the folder of a model")
    model_type = values["model_type"]
    if model_type not in FAMILIES:
        reason = _REASONS.get(model_type, "its layers are not those of BERT")
        raise InputError(
            f'{path}: the model type "{model_type}" cannot be imported, because {reason}; use a '
            f"model of type {', '.join(sorted(FAMILIES))}"
        )
    position = values.get("position_embedding_type", "absolute")
    if position != "absolute":
        raise InputError(f'{path}: position_embedding_type is "{position}"; only absolute positions ' "can be imported")
    if values.get("pruned_heads"):
        raise InputError(f"{path}: models with pruned heads cannot be imported; use the original")
    if values.get("is_decoder") or values.get("add_cross_attention"):
        raise InputError(f"{path}: decoders cannot be imported; use an encoder")
    epsilon = values.get("layer_norm_eps", LAYER_NORM_EPSILON)
    if epsilon != LAYER_NORM_EPSILON:
        raise InputError(
            f"{path}: layer_norm_eps is {epsilon!r}, and this project computes with "
            f"{LAYER_NORM_EPSILON}, which would change answers; use a model with that value"
        )


def convert(values: dict, path: str) -> dict:
    """Returns the `bert_config.json` of a Hugging Face `config.json`.

    Args:
      values: the JSON value of `path`.

    Raises:
      InputError: the model cannot be imported; the message says why.
    """
    _check(values, path)
    family = values["model_type"]
    values = dict(FAMILIES[family].hub_defaults, **values)
    made = dict(family=family)
    made.update((key, values[key]) for key in _COPIED if key in values)
    if family == "albert":  # bert_config checks that all layers share their weights
        made["num_hidden_groups"] = values.get("num_hidden_groups", 1)
        made["inner_group_num"] = values.get("inner_group_num", 1)
        made["project_embeddings"] = True
    activation = values.get("hidden_act", "gelu")
    if activation not in list(_ACTIVATIONS):
        raise InputError(
            f'{path}: the activation "{activation}" is not supported; use a model with one of '
            + ", ".join(sorted(_ACTIVATIONS))
        )
    made["hidden_act"] = _ACTIVATIONS[activation]
    bert_config.make(made, path)
    return made
