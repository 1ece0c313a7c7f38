# SPDX-License-Identifier: Apache-2.0
"""Internals of TensorFlow that tests use, whose modules depend on the version."""

from mrc.util.tensorflow_versions import VERSION

if VERSION < (1, 14):
    from tensorflow.contrib.compiler import xla
    from tensorflow.contrib.tpu.python.tpu import tpu
else:
    from tensorflow.python.compiler.xla import xla
    from tensorflow.python.tpu import tpu

__all__ = ["tpu", "xla"]
