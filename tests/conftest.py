# SPDX-License-Identifier: Apache-2.0
"""What the tests share: the tiny model and data, made once."""

import os

import hypothesis
import pytest
import tensorflow.compat.v1 as tf
import tiny

tf.logging.set_verbosity(tf.logging.ERROR)
_XLA_FLAGS = "--xla_backend_optimization_level=0"  # quick to compile matters more here
if tf.__version__.startswith(
    "1.14."
):  # at level 0 its programs may read from an address that is none, and crash
    _XLA_FLAGS = "--xla_backend_optimization_level=1 --xla_cpu_enable_fast_math=false"
os.environ.setdefault("XLA_FLAGS", _XLA_FLAGS)
os.environ.setdefault(
    "PYTHONWARNINGS", "ignore::FutureWarning"
)  # TensorFlow 1.13's own, in processes that tests begin
hypothesis.settings.register_profile(
    "thorough", max_examples=2000
)  # pytest --hypothesis-profile=thorough


@pytest.fixture(scope="session")
def paths(tmp_path_factory):
    """The tiny model and data: {flag or dataset: path}. Do not write into their folder."""
    return tiny.make_folder(tmp_path_factory.mktemp("tiny"))
