# SPDX-License-Identifier: Apache-2.0
"""Arrays in .npz files that carry a fingerprint of what they were computed from.

A file is trusted for what is in it, never for its name: it also has a SHA-256 of its fingerprint
and arrays, so that a copy from another run or with edited values is recognized.
"""

import hashlib
import io
import json
import zipfile

import numpy as np

from mrc.util import files

_FINGERPRINT, _DIGEST = "made_from", "sha256"


class DamagedArrays(Exception):
    """A file of arrays that is truncated, edited or of another kind."""


def _digest(fingerprint, arrays):
    digest = hashlib.sha256(fingerprint.encode("utf-8"))
    for name, array in sorted(arrays.items()):
        digest.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def write(path, fingerprint, arrays):
    """Writes {name: array} and their fingerprint, a JSON value, to the .npz file `path`."""
    arrays = {name: np.asarray(array) for name, array in arrays.items()}
    text = json.dumps(fingerprint, sort_keys=True)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays, **{_FINGERPRINT: text, _DIGEST: _digest(text, arrays)})
    files.write(path, buffer.getvalue(), binary=True)


def _load(path):
    buffer = io.BytesIO(files.read_bytes(path))
    try:
        # NumPy would also report a damaged file on stderr when its reader is garbage-collected.
        zipfile.ZipFile(buffer)
        buffer.seek(0)
        stored = np.load(buffer)
        return {name: stored[name] for name in stored.files}
    except Exception as error:  # a damaged file can raise almost anything
        raise DamagedArrays(f"it is not a complete .npz file ({type(error).__name__})")


def read(path, fingerprint, trusts_unsigned=False):
    """Returns the arrays of a file, or None if it has another fingerprint.

    Args:
      path: of the .npz file.
      fingerprint: a JSON value.
      trusts_unsigned: whether to read a file without fingerprint and SHA-256, as earlier versions
        wrote them.

    Raises:
      DamagedArrays: the file is truncated or was edited.
      InputError: it cannot be read at all.
    """
    arrays = _load(path)
    if trusts_unsigned and not {_FINGERPRINT, _DIGEST} & set(arrays):
        return arrays
    text, digest = (str(arrays.pop(name, "")) for name in (_FINGERPRINT, _DIGEST))
    if digest != _digest(text, arrays):
        raise DamagedArrays("its content does not match its SHA-256")
    return arrays if text == json.dumps(fingerprint, sort_keys=True) else None
