# SPDX-License-Identifier: Apache-2.0
"""Converts the tensors of a Hugging Face BERT to the variables of a Google checkpoint.

A PyTorch weight is [outputs, inputs] and a TensorFlow kernel [inputs, outputs], so kernels are
transposed. Embeddings and the span head ([2, H], start first) have the same layout in both.
"""

import re
from collections import OrderedDict
from typing import Dict, Iterator, NamedTuple, Tuple

import numpy as np

from mrc.model.bert_config import BertConfig
from mrc.model.checkpoint import encoder_shapes, head_shapes, pooler_shapes
from mrc.util.errors import InputError

_PREFIX = "bert."
_OLD_NAMES = (("LayerNorm.gamma", "LayerNorm.weight"), ("LayerNorm.beta", "LayerNorm.bias"))
_HEAD = {
    "cls/squad/output_weights": "qa_outputs.weight",
    "cls/squad/output_bias": "qa_outputs.bias",
}


class Source(NamedTuple):
    """The source of a variable: the tensor's name, and whether it is transposed."""

    name: str
    is_transposed: bool


def source_of(variable: str) -> Source:
    """Returns the `Source` of a variable.

    >>> source_of("bert/encoder/layer_0/output/dense/kernel")
    Source(name='bert.encoder.layer.0.output.dense.weight', is_transposed=True)
    """
    if variable in _HEAD:
        return Source(_HEAD[variable], False)
    name = re.sub(r"layer_(\d+)", r"layer.\1", variable.replace("/", "."))
    if name.endswith("_embeddings"):
        return Source(name + ".weight", False)
    for google, huggingface in ((".gamma", ".weight"), (".beta", ".bias")):
        if name.endswith(google):
            return Source(name[: -len(google)] + huggingface, False)
    if name.endswith(".kernel"):
        return Source(name[: -len(".kernel")] + ".weight", True)
    return Source(name, False)


def normalized(tensors: Dict[str, np.ndarray]) -> Dict[str, np.ndarray]:
    """Returns the tensors under current names.

    Old files have gamma and beta for weight and bias; bare encoders lack the prefix `bert.`.
    """
    found = {}
    for name, tensor in tensors.items():
        for old, new in _OLD_NAMES:
            name = name.replace(old, new)
        if name.startswith(("embeddings.", "encoder.", "pooler.")):
            name = _PREFIX + name
        found[name] = tensor
    return found


def has_head(tensors) -> bool:
    """Whether the model has a span head, so that it can answer questions."""
    return "qa_outputs.weight" in tensors


def _wanted(tensors, config) -> Iterator[Tuple[str, list]]:
    yield from encoder_shapes(config).items()
    for shapes in (pooler_shapes(config), head_shapes(config)):
        if all(source_of(variable).name in tensors for variable in shapes):
            yield from shapes.items()


def to_variables(
    tensors: Dict[str, np.ndarray], config: BertConfig, where: str
) -> "OrderedDict[str, np.ndarray]":
    """Returns {variable: array} of a reader, with the pooler and span head if the model has them.

    Args:
      tensors: the result of `weights.read`.
      config: of the model.
      where: the model folder, for messages.

    Raises:
      InputError: a tensor is missing or its shape does not match the config.
    """
    tensors, variables = normalized(tensors), OrderedDict()
    for variable, shape in _wanted(tensors, config):
        name, is_transposed = source_of(variable)
        if name not in tensors:
            raise InputError(
                f"{where} has no tensor {name}, which its config.json requires; download the model "
                "folder again"
            )
        array = tensors[name].T if is_transposed else tensors[name]
        if list(array.shape) != shape:
            raise InputError(
                f"{where} has {name} of shape {list(tensors[name].shape)}, but its config.json "
                f"requires {shape[::-1] if is_transposed else shape}; download the model folder "
                "again"
            )
        if array.dtype != np.float32:
            raise InputError(
                f"{where} has {name} of type {array.dtype}; quantized models cannot be imported: "
                "use the original"
            )
        variables[variable] = np.ascontiguousarray(array)
    return variables
