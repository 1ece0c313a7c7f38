# SPDX-License-Identifier: Apache-2.0
"""Reads the tensors of a Hugging Face model folder: safetensors or PyTorch's format, also sharded.

PyTorch is not needed, and values are read when a tensor is needed.
"""

import functools
import os
from typing import Dict

import numpy as np
import tensorflow.compat.v1 as tf

from mrc.huggingface import pytorch_file
from mrc.huggingface.stored_tensors import BFLOAT16, StoredTensor, damaged, stored_type, to_float32
from mrc.util import files
from mrc.util.errors import InputError

SAFETENSORS, PYTORCH = "model.safetensors", "pytorch_model.bin"
INDEX = ".index.json"
_OTHER_FORMATS = ("tf_model.h5", "flax_model.msgpack", "model.onnx", "rust_model.ot")

_SAFETENSORS_TYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": BFLOAT16,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U8": np.uint8,
    "BOOL": np.bool_,
}


def read_safetensors(path: str) -> Dict[str, StoredTensor]:
    """Returns the tensors of a `.safetensors` file."""
    try:
        import safetensors
    except ImportError:
        raise InputError(f"reading {path} needs the safetensors package: pip install -r requirements/huggingface.txt")
    data = files.read_bytes(path, "model file")
    try:
        entries = safetensors.deserialize(data)
    except safetensors.SafetensorError as error:
        raise damaged(path, error)
    tensors = {}
    for name, entry in entries:
        kind = _SAFETENSORS_TYPES.get(entry["dtype"])
        if kind is None:
            raise InputError(f"{path}: {name} is of the unsupported type {entry['dtype']}; convert the model to float32")
        shape = tuple(entry["shape"])
        tensors[name] = StoredTensor(shape, kind, functools.partial(_load_bytes, entry["data"], kind, shape))
    return tensors


def _load_bytes(data, kind, shape):
    return to_float32(np.frombuffer(bytes(data), stored_type(kind)).reshape(shape), kind)


def read(folder: str) -> Dict[str, StoredTensor]:
    """Returns {name: tensor} of a model folder.

    Reads `model.safetensors`, its shards, `pytorch_model.bin` or its shards, in this order.

    Raises:
      InputError: there is none of these, or one is damaged or holds more than tensors.
    """
    for name, read_file in ((SAFETENSORS, read_safetensors), (PYTORCH, pytorch_file.read)):
        path = os.path.join(folder, name)
        if tf.gfile.Exists(path):
            return read_file(path)
        if tf.gfile.Exists(path + INDEX):
            return _read_shards(folder, path + INDEX, read_file)
    other = [name for name in _OTHER_FORMATS if tf.gfile.Exists(os.path.join(folder, name))]
    remedy = "download the whole model folder"
    if other:
        remedy = (
            f"it has {other[0]}, which is not read: download one of these files, or write it with "
            "the save_pretrained method of transformers"
        )
    raise InputError(f"{folder} has neither {SAFETENSORS} nor {PYTORCH}, nor shards of one; {remedy}")


def weight_bytes(folder: str) -> int:
    """Returns the bytes of all weight files in a model folder."""
    return sum(
        tf.gfile.Stat(os.path.join(folder, name)).length
        for name in tf.gfile.ListDirectory(folder)
        if name.endswith((".safetensors", ".bin"))
    )


def _read_shards(folder, index_path, read_file):
    index = files.read_json(index_path, "index of shards")
    weight_map = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(weight_map, dict) or not all(
        isinstance(name, str) and os.path.basename(name) == name for name in weight_map.values()
    ):
        raise InputError(f"{index_path} lists no shards; download the model folder again")
    tensors = {}
    for name in sorted(set(weight_map.values())):
        tensors.update(read_file(os.path.join(folder, name)))
    missing = [name for name in weight_map if name not in tensors]
    if missing:
        raise InputError(f"{index_path} lists {missing[0]}, which its shard does not have; download the model folder again")
    return tensors
