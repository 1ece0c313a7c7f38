# SPDX-License-Identifier: Apache-2.0
"""Tests of how TensorFlow is set up."""

import os
import platform
import subprocess
import sys

import pytest
import tiny

from mrc.util import tensorflow_versions


@pytest.mark.skipif(
    not tensorflow_versions.IS_TF2 or platform.machine() not in ("x86_64", "AMD64"), reason="TensorFlow has no oneDNN"
)
@pytest.mark.parametrize("chosen, expected", [({}, "True"), ({"TF_ENABLE_ONEDNN_OPTS": "0"}, "False")])
def test_onednn_is_used_on_any_cpu_unless_the_environment_says_otherwise(chosen, expected):
    """Red on a CPU without AVX-512 if TensorFlow chooses by itself."""
    others = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}
    code = "from mrc.util import tensorflow_versions; print(tensorflow_versions.uses_onednn())"
    output = subprocess.check_output([sys.executable, "-c", code], cwd=tiny.ROOT, env=dict(others, **chosen))
    assert output.decode("utf-8").split()[-1] == expected
