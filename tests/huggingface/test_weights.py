# SPDX-License-Identifier: Apache-2.0
"""Tests of reading Hugging Face model files, which must run no code."""

import collections
import io
import os
import pickle
import sys
import types
import zipfile

import numpy as np
import pytest

from mrc.huggingface import weights
from mrc.util.errors import InputError

safetensors = pytest.importorskip("safetensors")

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
ARRAYS = {
    "bias": np.arange(4, dtype=np.float32),
    "half": np.array([[1.5, -2.0]], np.float16),
    "kernel": np.arange(6, dtype=np.float32).reshape(2, 3) / 7,
    "number": np.array(3, np.int64),
}
STORAGES = {"f4": "FloatStorage", "f2": "HalfStorage", "i8": "LongStorage"}


@pytest.fixture
def torch(monkeypatch):
    """Fakes of the names that PyTorch's files refer to."""
    package, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")

    def rebuild(*args):
        raise AssertionError("pickled by name, never called")

    rebuild.__module__, rebuild.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = rebuild
    for name in STORAGES.values():
        setattr(package, name, type(name, (), {"__module__": "torch"}))
    monkeypatch.setitem(sys.modules, "torch", package)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)
    return package


class Tensor:
    """An array that is pickled as in PyTorch; with `is_transposed`, as a view of its transpose."""

    def __init__(self, key, array, torch, is_transposed=False):
        self.key, self.array, self.torch = key, array, torch
        self.stored = np.array(array.T if is_transposed else array, order="C")
        steps = [step // array.itemsize for step in self.stored.strides]
        self.strides = tuple(steps[::-1] if is_transposed else steps)

    def __reduce__(self):
        rebuild = sys.modules["torch._utils"]._rebuild_tensor_v2
        arguments = (self, 0, self.array.shape, self.strides, False, collections.OrderedDict())
        return rebuild, (("storage of", self),) + arguments[1:]


class Pickler(pickle.Pickler):
    def persistent_id(self, value):
        if isinstance(value, tuple) and value[:1] == ("storage of",):
            tensor = value[1]
            kind = getattr(tensor.torch, STORAGES[tensor.array.dtype.str[1:]])
            return "storage", kind, tensor.key, "cpu", tensor.array.size
        return None


def pickled(value):
    buffer = io.BytesIO()
    Pickler(buffer, 2).dump(value)
    return buffer.getvalue()


def write_zip(path, tensors):
    with zipfile.ZipFile(str(path), "w") as archive:
        archive.writestr("model/data.pkl", pickled(tensors))
        for tensor in tensors.values():
            archive.writestr("model/data/" + tensor.key, tensor.stored.tobytes())


def write_legacy(path, tensors):
    parts = [pickle.dumps(value, 2) for value in (LEGACY_MAGIC, 1001, {"little_endian": True})]
    parts += [pickled(tensors), pickle.dumps([tensor.key for tensor in tensors.values()], 2)]
    for tensor in tensors.values():
        parts += [tensor.array.size.to_bytes(8, "little"), tensor.stored.tobytes()]
    path.write_bytes(b"".join(parts))


WRITERS = {"zip": write_zip, "legacy": write_legacy}


def write(writer, path, torch):
    tensors = collections.OrderedDict(
        (name, Tensor(str(number), array, torch, is_transposed=name == "kernel"))
        for number, (name, array) in enumerate(ARRAYS.items())
    )
    tensors._metadata = {"": {"version": 1}}  # as in the state dict of any module
    WRITERS[writer](path, tensors)


def read(folder):
    """Returns {name: values} of all tensors in a model folder."""
    return {name: tensor.load() for name, tensor in weights.read(str(folder)).items()}


def assert_arrays(found, wanted=ARRAYS):
    assert set(found) == set(wanted)
    for name, array in wanted.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == (np.float32 if array.dtype.kind == "f" else array.dtype)


@pytest.mark.parametrize("writer", sorted(WRITERS))
def test_pytorch_files_are_read_without_pytorch(tmp_path, torch, writer):
    write(writer, tmp_path / "pytorch_model.bin", torch)
    assert_arrays(read(tmp_path))


class Malicious:
    def __init__(self, path):
        self._path = path

    def __reduce__(self):
        return os.mkdir, (self._path,)


@pytest.mark.parametrize("writer", sorted(WRITERS))
def test_code_in_a_pytorch_file_does_not_run(tmp_path, writer):
    value = {"kernel": Malicious(str(tmp_path / "hacked"))}
    path = tmp_path / "pytorch_model.bin"
    if writer == "zip":
        with zipfile.ZipFile(str(path), "w") as archive:
            archive.writestr("model/data.pkl", pickle.dumps(value, 2))
    else:
        parts = [pickle.dumps(part, 2) for part in (LEGACY_MAGIC, 1001, {}, value)]
        path.write_bytes(b"".join(parts))
    with pytest.raises(InputError, match=r"holds posix\.mkdir, which is not a tensor, and was not"):
        weights.read(str(tmp_path))
    assert not (tmp_path / "hacked").exists()


def test_malicious_code_in_place_of_the_magic_number_does_not_run(tmp_path):
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps(Malicious(str(tmp_path / "hacked"))))
    with pytest.raises(InputError, match="which is not a tensor"):
        weights.read(str(tmp_path))
    assert not (tmp_path / "hacked").exists()


@pytest.mark.parametrize("writer", sorted(WRITERS))
@pytest.mark.parametrize("kept", [0.0, 0.3, 0.6, 0.97])
def test_truncated_pytorch_files_are_reported(tmp_path, torch, writer, kept):
    path = tmp_path / "pytorch_model.bin"
    write(writer, path, torch)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(InputError, match=r"cannot be read \(.*; it is damaged or truncated"):
        read(tmp_path)


def test_a_tensor_larger_than_its_storage_is_reported(tmp_path, torch):
    tensor = Tensor("0", ARRAYS["bias"], torch)
    tensor.strides = (1000000,)
    write_zip(tmp_path / "pytorch_model.bin", {"bias": tensor})
    with pytest.raises(InputError, match="a tensor exceeds its storage"):
        weights.read(str(tmp_path))


def write_safetensors(path, arrays):
    names = {"f": "float", "i": "int"}
    entries = {
        name: {
            "dtype": f"{names[array.dtype.kind]}{8 * array.itemsize}",
            "shape": list(array.shape),
            "data": array.tobytes(),
        }
        for name, array in arrays.items()
    }
    path.write_bytes(safetensors.serialize(entries))


def test_safetensors_are_read(tmp_path):
    write_safetensors(tmp_path / "model.safetensors", ARRAYS)
    assert_arrays(read(tmp_path))


def test_bfloat16_becomes_float32(tmp_path):
    # 1.0 is 0x3F80 in bfloat16, -2.5 is 0xC020, the upper halves of their float32.
    entry = {"dtype": "bfloat16", "shape": [2], "data": b"\x80\x3f\x20\xc0"}
    (tmp_path / "model.safetensors").write_bytes(safetensors.serialize({"bias": entry}))
    assert_arrays(read(tmp_path), {"bias": np.array([1.0, -2.5], np.float32)})


def test_truncated_safetensors_are_reported(tmp_path):
    path = tmp_path / "model.safetensors"
    write_safetensors(path, ARRAYS)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(InputError, match="is damaged or truncated, so download it again"):
        weights.read(str(tmp_path))


def write_shards(folder, listed):
    for number, name in enumerate(sorted(ARRAYS), 1):
        write_safetensors(folder / f"shard-{number}.safetensors", {name: ARRAYS[name]})
    index = ", ".join(f'"{name}": "{shard}"' for name, shard in listed.items())
    (folder / "model.safetensors.index.json").write_text(f'{{"weight_map": {{{index}}}}}')


def test_shards_are_joined(tmp_path):
    shards = {name: f"shard-{number}.safetensors" for number, name in enumerate(sorted(ARRAYS), 1)}
    write_shards(tmp_path, shards)
    assert_arrays(read(tmp_path))


@pytest.mark.parametrize(
    "listed, message",
    [
        ({"absent": "shard-1.safetensors"}, "lists absent, which its shard does not have"),
        ({"bias": "../shard-1.safetensors"}, "lists no shards"),
        ({"bias": "shard-9.safetensors"}, "shard-9.safetensors does not exist"),
    ],
)
def test_wrong_shards_are_reported(tmp_path, listed, message):
    write_shards(tmp_path, listed)
    with pytest.raises(InputError, match=message):
        weights.read(str(tmp_path))


def test_a_folder_without_weights_is_reported(tmp_path):
    with pytest.raises(InputError, match="has neither model.safetensors nor pytorch_model.bin"):
        weights.read(str(tmp_path))
