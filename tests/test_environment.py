# SPDX-License-Identifier: Apache-2.0
"""`setup_environment.sh` and the limits of the process."""
from __future__ import absolute_import, division, print_function

import os
import resource
import subprocess
import sys

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
