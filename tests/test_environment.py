# SPDX-License-Identifier: Apache-2.0
"""`setup_environment.sh` and the limits of the process."""
from __future__ import absolute_import, division, print_function

import os
import resource
import subprocess
import sys

import pytest

import files
import tiny


def test_an_environment_of_somebody_else_is_left_alone(tmp_path):
    folder = tmp_path / "environment"
    folder.mkdir()
    (folder / "pyvenv.cfg").write_text("home = elsewhere\n")
    environment = dict(os.environ, VENV=str(folder), PYTHON=sys.executable)
    process = subprocess.Popen(["bash", "-c", ". ./setup_environment.sh requirements.txt"], cwd=tiny.ROOT, env=environment,
                               stderr=subprocess.PIPE, universal_newlines=True)
    assert "%s is no Python 3.7 environment of this project; remove it, or name another" % folder in process.communicate()[1]
    assert process.returncode == 2 and os.listdir(str(folder)) == ["pyvenv.cfg"]


@pytest.mark.parametrize("script", ["run_squad.py", "run_cmrc2018.py", "squad_evaluate.py", "cmrc2018_evaluate.py",
                                    "visualize_zones.py", "sample_data.py", "make_demo_checkpoint.py", "tpu_estimate.py"])
def test_a_python_without_the_packages_is_told(script):
    process = subprocess.Popen([sys.executable, "-S", os.path.join(tiny.ROOT, script), "--help"],  # without site-packages
                               env={}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
    stdout, stderr = process.communicate()
    assert (process.returncode, stdout) == (2, "")
    assert stderr.startswith("error: Python 3.7 at %s has no tensorflow, numpy, absl, " % sys.executable)
    assert "; run `. ./setup_environment.sh requirements.txt && . .venv/bin/activate`" in stderr and stderr.count("\n") == 1


def test_files_of_a_large_grid_may_be_open_at_once():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (250, before[1]))
        files.allow_open(100)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (300, before[1])
        files.allow_open(50)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (300, before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
