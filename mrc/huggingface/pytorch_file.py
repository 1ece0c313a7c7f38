# SPDX-License-Identifier: Apache-2.0
"""Reads a `pytorch_model.bin` without PyTorch and without trusting it.

The file is a pickle, and unpickling can run code that the file names. Here only the opcodes of a
plain state dict are accepted, and what they create are descriptions of tensors: immutable, without
state, and not callable. Values are read when a tensor is needed and its shape is
known to be right, so that a small file cannot fill the memory.
"""

import functools
import io
import pickle
import pickletools
import zipfile
from typing import Dict, NamedTuple, Tuple

import numpy as np

from mrc.huggingface.stored_tensors import BFLOAT16, StoredTensor, damaged, stored_type, to_float32
from mrc.util import files
from mrc.util.errors import InputError

# PyTorch before 1.6 wrote a sequence of pickles and bytes, which begins with this number.
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_STORAGE_TYPES = {
    "DoubleStorage": np.float64,
    "FloatStorage": np.float32,
    "HalfStorage": np.float16,
    "BFloat16Storage": BFLOAT16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
}
_MOST_DIMENSIONS = 8
_MOST_PICKLE_BYTES = 1 << 26  # of the description of all tensors
_SMALL_BYTES = 1 << 24  # an archive's member of this size may be compressed to any degree
_MOST_COMPRESSION = 20  # of a larger one
# The opcodes of a state dict as PyTorch writes it, with protocols 2 to 4.
_OPCODES = frozenset(
    "PROTO FRAME STOP MARK EMPTY_DICT EMPTY_LIST EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 APPEND APPENDS SETITEM "
    "SETITEMS BINUNICODE SHORT_BINUNICODE BINSTRING SHORT_BINSTRING BININT BININT1 BININT2 LONG1 BINFLOAT NONE NEWTRUE "
    "NEWFALSE GLOBAL STACK_GLOBAL REDUCE BUILD BINPERSID BINPUT LONG_BINPUT BINGET LONG_BINGET MEMOIZE".split()
)


class _Refused(Exception):
    """A pickle refers to code other than that of tensors."""


class _Storage(NamedTuple):
    """The values of one or more tensors, by their place in the file; `length` counts them."""

    kind: object
    key: str
    length: int


class _StorageType(NamedTuple):
    """What a pickle names the type of a storage by."""

    kind: object


class _View(NamedTuple):
    """A tensor as a view of a storage: offset, shape and strides in elements."""

    storage: _Storage
    offset: int
    size: Tuple[int, ...]
    stride: Tuple[int, ...]


def _are_counts(values):
    return isinstance(values, tuple) and all(type(value) is int and value >= 0 for value in values)


class _RebuildTensor:
    """What stands for the functions that rebuild tensors; it has no state that could be set."""

    __slots__ = ()

    def __call__(self, storage, offset, size, stride, *_):
        if not isinstance(storage, _Storage) or not _are_counts((offset,)):
            raise ValueError("a tensor has no storage")
        if not (_are_counts(size) and _are_counts(stride) and len(size) == len(stride)):
            raise ValueError("a tensor has a negative size")
        if len(size) > _MOST_DIMENSIONS:
            raise ValueError(f"a tensor has {len(size)} dimensions")
        last = offset + sum((length - 1) * step for length, step in zip(size, stride))
        if 0 not in size and last >= storage.length:
            raise ValueError("a tensor exceeds its storage")
        return _View(storage, offset, size, stride)


class _MakeDict:
    """What stands for the class of a state dict."""

    __slots__ = ()

    def __call__(self, items=()):
        made = {}
        for key, value in items:
            _set_item(made, key, value)
        return made


def _set_item(made, key, value):
    # Of a nested tuple, the time to compute the hash may be exponential in its depth.
    if not isinstance(made, dict) or not isinstance(key, str):
        raise ValueError("a name is not a text")
    made[key] = value


class _RebuildParameter:
    """What stands for the function that makes a parameter of a tensor."""

    __slots__ = ()

    def __call__(self, tensor, *_):
        return tensor


# Python's own unpickler: that in C reserves memory for any index of its memo.
class _TensorUnpickler(pickle._Unpickler):
    """An unpickler that creates descriptions of tensors and ordered dicts of them only."""

    _ALLOWED = {
        ("collections", "OrderedDict"): _MakeDict(),
        ("torch._utils", "_rebuild_tensor_v2"): _RebuildTensor(),
        ("torch._utils", "_rebuild_tensor"): _RebuildTensor(),
        ("torch._utils", "_rebuild_parameter"): _RebuildParameter(),
        ("torch._utils", "_rebuild_parameter_with_state"): _RebuildParameter(),
    }

    dispatch = dict(pickle._Unpickler.dispatch)

    def _load_item(self):
        value, key = self.stack.pop(), self.stack.pop()
        _set_item(self.stack[-1], key, value)

    def _load_items(self):
        items = self.pop_mark()
        if len(items) % 2:
            raise ValueError("a name has no tensor")
        for key, value in zip(items[::2], items[1::2]):
            _set_item(self.stack[-1], key, value)

    dispatch[pickle.SETITEM[0]] = _load_item
    dispatch[pickle.SETITEMS[0]] = _load_items
    dispatch[pickle.BUILD[0]] = lambda self: self.stack.pop()  # state, such as a state dict's _metadata, is not set

    def find_class(self, module, name):
        if (module, name) in self._ALLOWED:
            return self._ALLOWED[module, name]
        if module in ("torch", "torch.storage") and name in _STORAGE_TYPES:
            return _StorageType(_STORAGE_TYPES[name])
        raise _Refused(f"{module}.{name}")

    def persistent_load(self, saved_id):
        if not isinstance(saved_id, tuple) or len(saved_id) < 5 or saved_id[0] != "storage":
            raise _Refused("an object outside of the file")
        _, kind, key, _, length = saved_id[:5]
        if not (isinstance(kind, _StorageType) and isinstance(key, str) and _are_counts((length,))):
            raise ValueError("a storage is not described")
        return _Storage(kind.kind, key, length)


def unpickle(reader):
    """Returns the next value of a binary stream, which is left behind the pickle."""
    start = reader.tell()
    for opcode, argument, _ in pickletools.genops(reader):
        if opcode.name not in _OPCODES:
            name = f" of {argument}" if isinstance(argument, str) else ""
            raise _Refused(f"the opcode {opcode.name}{name}")
    stop = reader.tell()
    if stop - start > _MOST_PICKLE_BYTES:
        raise ValueError("its description of tensors is too long")
    reader.seek(start)
    value = _TensorUnpickler(reader).load()
    reader.seek(stop)
    return value


class _Archive:
    """The storages of the format since PyTorch 1.6: a zip file of a pickle and a file for each."""

    def __init__(self, data):
        self._archive = zipfile.ZipFile(io.BytesIO(data))
        pickles = [name for name in self._archive.namelist() if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError("it has no data.pkl")
        self._folder = pickles[0][: -len("data.pkl")]
        if self._archive.getinfo(pickles[0]).file_size > _MOST_PICKLE_BYTES:
            raise ValueError("its description of tensors is too long")
        self.value = unpickle(io.BytesIO(self._archive.read(pickles[0])))

    def read(self, storage):
        """Returns the bytes of a storage."""
        member = self._archive.getinfo(f"{self._folder}data/{storage.key}")
        size = storage.length * stored_type(storage.kind).itemsize
        if member.file_size < size:
            raise ValueError(f"storage {storage.key} is truncated")
        if member.file_size > max(_SMALL_BYTES, _MOST_COMPRESSION * member.compress_size):
            raise ValueError(f"storage {storage.key} is implausibly large")
        return self._archive.read(member)


class _LegacyFile:
    """The storages of the format before PyTorch 1.6: pickles, then length and values of each."""

    def __init__(self, data):
        self._data, reader = data, io.BytesIO(data)
        if unpickle(reader) != _LEGACY_MAGIC:
            raise ValueError("it is not a PyTorch file")
        unpickle(reader)  # the version of the protocol
        unpickle(reader)  # the system that wrote the file
        self.value = unpickle(reader)
        self._keys, self._start = unpickle(reader), reader.tell()
        if not isinstance(self._keys, list) or not all(isinstance(key, str) for key in self._keys):
            raise ValueError("it has no list of storages")

    @functools.lru_cache(maxsize=None)
    def _places(self):
        """Returns {key: (first byte, length in values)} of the storages."""
        views = [view for view in self.value.values() if isinstance(view, _View)]
        sizes = {view.storage.key: stored_type(view.storage.kind).itemsize for view in views}
        places, position = {}, self._start
        for key in self._keys:
            length = int.from_bytes(self._data[position : position + 8], "little")
            places[key] = position + 8, length
            position += 8 + length * sizes[key]
        if position > len(self._data):
            raise ValueError("a storage is truncated")
        return places

    def read(self, storage):
        """Returns the bytes of a storage."""
        start, length = self._places()[storage.key]
        if length != storage.length:
            raise ValueError(f"storage {storage.key} is truncated")
        return self._data[start : start + length * stored_type(storage.kind).itemsize]


def _load_view(path, source, view):
    """Returns the values of a view, floating-point ones as float32."""
    try:
        values = np.frombuffer(source.read(view.storage), stored_type(view.storage.kind), view.storage.length)
        array = np.lib.stride_tricks.as_strided(
            values[view.offset :], view.size, [step * values.itemsize for step in view.stride], writeable=False
        )
        return to_float32(np.array(array), view.storage.kind)
    except Exception as error:  # a damaged archive can raise almost anything
        raise damaged(path, error)


def read(path: str) -> Dict[str, StoredTensor]:
    """Returns the tensors of a `pytorch_model.bin` without running code from it."""
    data = files.read_bytes(path, "model file")
    try:
        source = _Archive(data) if data[:2] == b"PK" else _LegacyFile(data)
        if not isinstance(source.value, dict):
            raise ValueError("it is not a dict of tensors")
        tensors = {}
        for name, view in source.value.items():
            if not isinstance(view, _View):
                raise _Refused(f"{name[:100]}, which is not a tensor")
            tensors[name] = StoredTensor(view.size, view.storage.kind, functools.partial(_load_view, path, source, view))
        return tensors
    except _Refused as error:
        raise InputError(
            f"{path} holds {error}, which is not a tensor, and was not read: loading it could run "
            "code; get the model as model.safetensors"
        )
    except Exception as error:  # a damaged pickle can raise almost anything
        raise damaged(path, error)
