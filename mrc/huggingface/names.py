# SPDX-License-Identifier: Apache-2.0
"""Converts the tensors of a Hugging Face model to the variables of a Google checkpoint.

A PyTorch weight is [outputs, inputs] and a TensorFlow kernel [inputs, outputs], so kernels are
transposed. Embeddings and the span head ([2, H], start first) have the same layout in both.
"""

import functools
import operator
import re
from typing import Dict, Iterator, NamedTuple

import numpy as np

from mrc import variables as declared
from mrc.families import FAMILIES
from mrc.huggingface.stored_tensors import StoredTensor
from mrc.huggingface.weights import weight_bytes
from mrc.model.bert_config import BertConfig
from mrc.util.errors import InputError

_SMALL_MODEL = 10**7  # weights; files of smaller models may be compressed
_WRAPPERS = re.compile(r"^(?:module\.|model\.)+")
_OLD_NAMES = (("LayerNorm.gamma", "LayerNorm.weight"), ("LayerNorm.beta", "LayerNorm.bias"))
_HEAD = {"cls/squad/output_weights": "qa_outputs.weight", "cls/squad/output_bias": "qa_outputs.bias"}


class Source(NamedTuple):
    """The source of a variable: the tensor's name, and whether it is transposed."""

    name: str
    is_transposed: bool


def _huggingface_scope(variable, family):
    """Returns the dotted name of a variable, still with Google's word for the tensor at its end."""
    for google, huggingface in FAMILIES[family].hub_names:
        variable = variable.replace(google, huggingface)
    name = variable.replace("/", ".")
    return name if name.startswith(family + ".") else f"{family}.{name}"


def source_of(variable: str, family: str = "bert") -> Source:
    """Returns the `Source` of a variable.

    >>> source_of("bert/encoder/layer_0/output/dense/kernel")
    Source(name='bert.encoder.layer.0.output.dense.weight', is_transposed=True)
    """
    if variable in _HEAD:
        return Source(_HEAD[variable], False)
    name = _huggingface_scope(variable, family)
    if name.endswith("_embeddings"):
        return Source(name + ".weight", False)
    for google, huggingface in ((".gamma", ".weight"), (".beta", ".bias")):
        if name.endswith(google):
            return Source(name[: -len(google)] + huggingface, False)
    if name.endswith(".kernel"):
        return Source(name[: -len(".kernel")] + ".weight", True)
    return Source(name, False)


def normalized(tensors: Dict[str, StoredTensor], family: str) -> Dict[str, StoredTensor]:
    """Returns the tensors under current names.

    Old files have gamma and beta for weight and bias; bare encoders lack the prefix of the family;
    DataParallel and Lightning put a prefix before all names.
    """
    renamed = {}
    for name, tensor in tensors.items():
        name = _WRAPPERS.sub("", name)
        for old, new in _OLD_NAMES:
            name = name.replace(old, new)
        if name.startswith(("embeddings.", "embeddings_project.", "encoder.", "pooler.")):
            name = f"{family}.{name}"
        renamed[name] = tensor
    return renamed


def has_head(tensors) -> bool:
    """Whether the model has a span head, so that it can answer questions."""
    return any(_WRAPPERS.sub("", name) == "qa_outputs.weight" for name in tensors)


def _wanted(tensors, config) -> Iterator[declared.Variable]:
    """Yields the variables of the encoder, and those of the pooler and head if tensors has them."""
    yield from declared.encoder(config)
    for optional in (declared.pooler(config), declared.head(config)):
        names = [source_of(variable.name, config.family).name for variable in optional]
        if all(name in tensors for name in names):
            yield from optional


def _check_size(config, where):
    """Raises an `InputError` if the weight files are too small for the model of the config."""
    needed = sum(functools.reduce(operator.mul, shape) for _, shape, _ in declared.encoder(config))
    available = weight_bytes(where)
    if needed > available + _SMALL_MODEL:  # not even a byte for each
        raise InputError(
            f"the config.json of {where} describes a model of {needed} weights, but its weight "
            f"files have {available} bytes; download the model again"
        )


def to_variables(tensors: Dict[str, StoredTensor], config: BertConfig, where: str) -> Dict[str, np.ndarray]:
    """Returns {variable: array} of a reader, with the pooler and span head if the model has them.

    Args:
      tensors: the result of `weights.read`.
      config: of the model.
      where: the model folder, for messages.

    Raises:
      InputError: a tensor is missing or its shape does not match the config.
    """
    tensors, variables = normalized(tensors, config.family), {}
    _check_size(config, where)
    for variable, shape, _ in _wanted(tensors, config):
        shape = list(shape)
        name, is_transposed = source_of(variable, config.family)
        if name not in tensors:
            raise InputError(f"{where} has no tensor {name}, which its config.json requires; download the model again")
        tensor, stored_shape = tensors[name], shape[::-1] if is_transposed else shape
        if list(tensor.shape) != stored_shape:
            raise InputError(
                f"{where} has {name} of shape {list(tensor.shape)}, but its config.json requires "
                f"{stored_shape}; download the model again"
            )
        array = tensor.load()
        if array.dtype != np.float32:
            raise InputError(f"{where} has {name} of type {array.dtype}; quantized models are unsupported: use the original")
        variables[variable] = np.ascontiguousarray(array.T if is_transposed else array)
    return variables
