# SPDX-License-Identifier: Apache-2.0
"""Reads the tensors of a Hugging Face model folder: safetensors or PyTorch's format, also sharded.

PyTorch is not needed. A `pytorch_model.bin` is a pickle, and unpickling can run code that the file
names. The unpickler here accepts tensors, their storages and ordered dicts only, and rejects
everything else before it runs.
"""

import collections
import io
import os
import pickle
import zipfile
from typing import Dict

import numpy as np
import tensorflow.compat.v1 as tf

from mrc.util import files
from mrc.util.errors import InputError, first_line

SAFETENSORS, PYTORCH = "model.safetensors", "pytorch_model.bin"
INDEX = ".index.json"

# PyTorch before 1.6 wrote a sequence of pickles and bytes, which begins with this number.
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_BFLOAT16 = "bfloat16"
_SAFETENSORS_TYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": _BFLOAT16,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U8": np.uint8,
    "BOOL": np.bool_,
}
_STORAGE_TYPES = {
    "DoubleStorage": np.float64,
    "FloatStorage": np.float32,
    "HalfStorage": np.float16,
    "BFloat16Storage": _BFLOAT16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
}


def _stored_type(kind):
    return np.dtype(np.uint16 if kind == _BFLOAT16 else kind)


def _to_float32(array, kind):
    """Returns floating-point values as float32, and others as they are."""
    if kind == _BFLOAT16:  # the upper half of a float32
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(np.float32) if array.dtype.kind == "f" else array


def _damaged(path, error):
    return InputError(
        f"{path} cannot be read ({first_line(error)}); it is damaged or truncated, so download it "
        "again"
    )


def read_safetensors(path: str) -> Dict[str, np.ndarray]:
    """Returns the tensors of a `.safetensors` file."""
    try:
        import safetensors
    except ImportError:
        raise InputError(
            f"reading {path} needs the safetensors package: pip install -r "
            "requirements/huggingface.txt"
        )
    data = files.read_bytes(path, "model file")
    try:
        entries = safetensors.deserialize(data)
    except safetensors.SafetensorError as error:
        raise _damaged(path, error)
    tensors = {}
    for name, entry in entries:
        kind = _SAFETENSORS_TYPES.get(entry["dtype"])
        if kind is None:
            raise InputError(
                f"{path}: {name} has the type {entry['dtype']}, which is not supported; convert "
                "the model to float32"
            )
        array = np.frombuffer(bytes(entry["data"]), _stored_type(kind)).reshape(entry["shape"])
        tensors[name] = _to_float32(array, kind)
    return tensors


class _Refused(Exception):
    """A pickle refers to code other than that of tensors."""


class _Storage:
    """The values of one or more tensors; `kind` is their type."""

    def __init__(self, kind, numbers):
        self.kind, self.numbers = kind, numbers


def _rebuild_tensor(storage, offset, size, stride, *_):
    """Returns a tensor from its storage, and offset, shape and strides in elements."""
    if not isinstance(storage, _Storage) or len(size) != len(stride):
        raise ValueError("a tensor has no storage")
    last = offset + sum((length - 1) * step for length, step in zip(size, stride))
    if offset < 0 or min(size, default=1) < 0 or min(stride, default=0) < 0:
        raise ValueError("a tensor has a negative size")
    if 0 not in size and last >= len(storage.numbers):
        raise ValueError("a tensor exceeds its storage")
    item = storage.numbers.itemsize
    view = np.lib.stride_tricks.as_strided(
        storage.numbers[offset:], size, [step * item for step in stride]
    )
    return storage, view


def _rebuild_parameter(tensor, *_):
    return tensor


class _TensorUnpickler(pickle.Unpickler):
    """An unpickler that creates tensors and ordered dicts of them only.

    Args:
      reader: a file object with the pickle.
      load_storage: `load_storage(key, kind, length) -> _Storage`.
    """

    _ALLOWED = {
        ("collections", "OrderedDict"): collections.OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
        ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
        ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    }

    def __init__(self, reader, load_storage=None):
        super().__init__(reader)
        self._load_storage = load_storage

    def find_class(self, module, name):
        if (module, name) in self._ALLOWED:
            return self._ALLOWED[module, name]
        if module in ("torch", "torch.storage") and name in _STORAGE_TYPES:
            return _STORAGE_TYPES[name]
        raise _Refused(f"{module}.{name}")

    def persistent_load(self, saved_id):
        if self._load_storage is None or saved_id[0] != "storage":
            raise _Refused("an object outside of the file")
        _, kind, key, _, length = saved_id[:5]
        return self._load_storage(key, kind, length)


def _read_zip(data):
    """Reads the format since PyTorch 1.6: a zip file of a pickle and one file per storage."""
    archive = zipfile.ZipFile(io.BytesIO(data))
    pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise ValueError("it has no data.pkl")
    folder, storages = pickles[0][: -len("data.pkl")], {}

    def load_storage(key, kind, length):
        if key not in storages:
            numbers = np.frombuffer(archive.read(f"{folder}data/{key}"), _stored_type(kind))
            if len(numbers) < length:
                raise ValueError(f"storage {key} is truncated")
            storages[key] = _Storage(kind, numbers)
        return storages[key]

    return _TensorUnpickler(io.BytesIO(archive.read(pickles[0])), load_storage).load()


def _read_legacy(data):
    """Reads the format before PyTorch 1.6: pickles, then the length and values of each storage."""
    reader, storages = io.BytesIO(data), {}
    if _TensorUnpickler(reader).load() != _LEGACY_MAGIC:
        raise ValueError("it is not a PyTorch file")
    _TensorUnpickler(reader).load()  # the version of the protocol
    _TensorUnpickler(reader).load()  # the system that wrote the file

    def load_storage(key, kind, length):
        if key not in storages:
            if not 0 <= length <= len(data):
                raise ValueError(f"storage {key} is truncated")
            storages[key] = _Storage(kind, np.zeros(length, _stored_type(kind)))
        return storages[key]

    value = _TensorUnpickler(reader, load_storage).load()
    for key in _TensorUnpickler(reader).load():
        numbers = storages[key].numbers
        length = int.from_bytes(reader.read(8), "little")
        block = reader.read(length * numbers.itemsize)
        if length != len(numbers) or len(block) != numbers.nbytes:
            raise ValueError(f"storage {key} is truncated")
        numbers[:] = np.frombuffer(block, numbers.dtype)
    return value


def read_pytorch(path: str) -> Dict[str, np.ndarray]:
    """Returns the tensors of a `pytorch_model.bin` without running code from it."""
    data = files.read_bytes(path, "model file")
    try:
        value = _read_zip(data) if data[:2] == b"PK" else _read_legacy(data)
        tensors = {}
        for name, entry in value.items():
            if not isinstance(entry, tuple):
                raise _Refused(f"{name}, which is not a tensor")
            storage, view = entry
            tensors[name] = _to_float32(view, storage.kind)
        return tensors
    except _Refused as error:
        raise InputError(
            f"{path} holds {error}, which is not a tensor, and was not read: loading it could run "
            "code; get the model as model.safetensors"
        )
    except Exception as error:  # a damaged pickle can raise almost anything
        raise _damaged(path, error)


def read(folder: str) -> Dict[str, np.ndarray]:
    """Returns {name: array} of the tensors of a model folder, floating-point ones as float32.

    Reads `model.safetensors`, its shards, `pytorch_model.bin` or its shards, in this order.

    Raises:
      InputError: there is none of these, or one is damaged or holds more than tensors.
    """
    for name, read_file in ((SAFETENSORS, read_safetensors), (PYTORCH, read_pytorch)):
        path = os.path.join(folder, name)
        if tf.gfile.Exists(path):
            return read_file(path)
        if tf.gfile.Exists(path + INDEX):
            return _read_shards(folder, path + INDEX, read_file)
    raise InputError(
        f"{folder} has neither {SAFETENSORS} nor {PYTORCH}, nor shards of one; download the whole "
        "model folder"
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
        raise InputError(
            f"{index_path} lists {missing[0]}, which its shard does not have; download the model "
            "folder again"
        )
    return tensors
