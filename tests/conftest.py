# SPDX-License-Identifier: Apache-2.0
"""Fixtures and settings of all tests: the tiny model and data, written once."""

import mrc  # noqa: F401, first: it sets how TensorFlow computes

# isort: split
import os

import hypothesis
import pytest
import tensorflow.compat.v1 as tf
import tiny

tf.logging.set_verbosity(tf.logging.ERROR)
_XLA_FLAGS = "--xla_backend_optimization_level=0"  # compile quickly
if tf.__version__.startswith("1.14."):  # programs compiled at level 0 may crash
    _XLA_FLAGS = "--xla_backend_optimization_level=1 --xla_cpu_enable_fast_math=false"
os.environ.setdefault("XLA_FLAGS", _XLA_FLAGS)
# TensorFlow 1.13 raises FutureWarnings in the processes that tests start.
os.environ.setdefault("PYTHONWARNINGS", "ignore::FutureWarning")
# A run of the tests can be repeated; --hypothesis-profile=thorough draws new values each time.
hypothesis.settings.register_profile("repeatable", derandomize=True)
hypothesis.settings.register_profile("thorough", max_examples=2000)
hypothesis.settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def paths(tmp_path_factory):
    """The tiny model and data: {flag or dataset: path}. Do not write into their folder."""
    return tiny.make_folder(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def command_lines():
    """Runs command lines of the project without importing TensorFlow for each, `CommandLines`."""
    return tiny.command_lines()
