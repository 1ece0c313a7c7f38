# SPDX-License-Identifier: Apache-2.0
"""The precision of the products of training and prediction (`--precision`).

In bfloat16 the products after attention (its output and the feed-forward network) take and return
numbers of 8 significant bits; they are summed in float32 within. On a CPU, oneDNN rounds the bias
to bfloat16, then adds it and applies the activation in float32 before it rounds the result.
Everything else is float32: attention (softmax exponentiates the errors of scores), other biases and
activations, residual sums, layer norms, embeddings and logits.
"""

import re

from mrc.util.errors import InputError
from mrc.util.lazy_tensorflow import tf

FLOAT32, BFLOAT16 = "float32", "bfloat16"
NAMES = (FLOAT32, BFLOAT16)

_CPU_INFO = "/proc/cpuinfo"
_INSTRUCTIONS = r"\b(avx512_bf16|amx_bf16)\b"


def cpu_has_bfloat16():
    """Whether the CPU has instructions for bfloat16 matrices, by /proc/cpuinfo (Linux only)."""
    try:
        with open(_CPU_INFO, encoding="utf-8", errors="replace") as reader:
            return re.search(_INSTRUCTIONS, reader.read()) is not None
    except OSError:
        return False


def check(name: str, use_tpu: bool):
    """Raises an `InputError` if products of the precision `name` do not run on this machine."""
    if name == FLOAT32 or use_tpu:
        return
    from mrc.util.tensorflow_versions import IS_TF2

    needs = "--precision=bfloat16 needs TensorFlow 2.12 to 2.15 and"
    if not IS_TF2:
        raise InputError(
            f"{needs} a CPU with AVX-512 BF16 or AMX or a GPU, or else a TPU; this is TensorFlow "
            f"{tf.__version__}: remove the flag, or install requirements/tf2.txt"
        )
    if not (cpu_has_bfloat16() or tf.test.is_gpu_available()):
        raise InputError(f"{needs} a CPU with AVX-512 BF16 or AMX, a GPU or a TPU; this machine has none: remove the flag")


def converted(kernel, name: str, once: bool):
    """Returns `kernel` in the precision `name`.

    Args:
      kernel: a float32 variable.
      once: whether to convert when the session starts, into a local variable, rather than in every
        step.
    """
    if name == FLOAT32:
        return kernel
    if not once:
        return tf.cast(kernel, tf.bfloat16)
    return tf.Variable(
        tf.cast(kernel, tf.bfloat16),
        trainable=False,
        collections=[tf.GraphKeys.LOCAL_VARIABLES],
        name=kernel.op.name.split("/")[-1] + "_bfloat16",
    )
