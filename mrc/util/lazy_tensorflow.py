# SPDX-License-Identifier: Apache-2.0
"""TensorFlow, imported on first use: that takes seconds, and help and figures of tables need none.

from mrc.util.lazy_tensorflow import tf
"""

import importlib
import sys


class _Module:
    def __getattr__(self, name):
        return getattr(importlib.import_module("tensorflow.compat.v1"), name)


tf = _Module()


def is_imported() -> bool:
    """Whether anything has imported TensorFlow."""
    return "tensorflow" in sys.modules
