# SPDX-License-Identifier: Apache-2.0
"""Parts of TensorFlow that the tests reach into, which lie elsewhere from version to version."""

from mrc.util.tensorflow_versions import VERSION

if VERSION < (1, 14):
    from tensorflow.contrib.compiler import xla
    from tensorflow.contrib.tpu.python.tpu import tpu
else:
    from tensorflow.python.compiler.xla import xla
    from tensorflow.python.tpu import tpu

__all__ = ["tpu", "xla"]
