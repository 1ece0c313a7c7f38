# SPDX-License-Identifier: Apache-2.0
"""Tensors in a file whose values are not read yet."""

from typing import Callable, NamedTuple, Tuple

import numpy as np

from mrc.util.errors import InputError, first_line

BFLOAT16 = "bfloat16"


class StoredTensor(NamedTuple):
    """A tensor whose values are not read yet.

    Attributes:
      shape: its dimensions.
      kind: the type of its values, a NumPy type or "bfloat16".
      load: returns the values, floating-point ones as float32.
    """

    shape: Tuple[int, ...]
    kind: object
    load: Callable[[], np.ndarray]


def stored_type(kind):
    """Returns the NumPy type in which values of a kind are stored."""
    return np.dtype(np.uint16 if kind == BFLOAT16 else kind)


def to_float32(array, kind):
    """Returns floating-point values as float32, and others as they are."""
    if kind == BFLOAT16:  # the upper half of a float32
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(np.float32) if array.dtype.kind == "f" else array


def damaged(path, error):
    """Returns the error of a file that cannot be read."""
    return InputError(f"{path} cannot be read ({first_line(error)}); it is damaged or truncated, so download it again")
