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
    assert "; run `. ./setup_environment.sh requirements.txt requirements-figures.txt && . .venv/bin" in stderr
    assert stderr.count("\n") == 1


def test_another_python_is_told():
    program = "import sys; sys.version_info = (3, 11, 7); import packages"
    process = subprocess.Popen([sys.executable, "-c", program], cwd=tiny.ROOT, stderr=subprocess.PIPE, universal_newlines=True)
    stderr = process.communicate()[1]
    assert process.returncode == 2
    assert stderr.startswith("error: Python 3.11 at %s is not the 3.7 that TensorFlow 1.15 needs; run `. ./" % sys.executable)


def test_packages_that_are_imported_already_are_there():
    program = "import sys, types; sys.modules['tensorflow'] = types.ModuleType('tensorflow'); import packages"
    assert subprocess.call([sys.executable, "-c", program], cwd=tiny.ROOT) == 0  # TensorFlow 1.14 has no __spec__ either


def protocol(script, *words, **variables):
    """Runs a protocol script in which a program that does nothing stands for Python."""
    environment = dict(os.environ, **dict(dict(PYTHON="true", TPU_NAME=""), **variables))
    process = subprocess.Popen(["bash", os.path.join(tiny.ROOT, script)] + list(words), env=environment,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
    stdout, stderr = process.communicate()
    return process.returncode, stdout, stderr


def test_protocol_scripts_want_a_python():
    code, _, stderr = protocol("train_squad.sh", PYTHON="python0")
    assert (code, stderr) == (2, "error: there is no Python \"python0\": set PYTHON to one with the requirements, or make .venv\n")


def test_decoding_scripts_want_a_trained_reader(tmp_path):
    code, stdout, stderr = protocol("decode_squad.sh", MODEL_OUTPUT_DIR=str(tmp_path))
    assert (code, stdout) == (2, "") and stderr.startswith("error: there is no trained reader in %s: train it " % tmp_path)
    assert protocol("decode_squad.sh", "--init_checkpoint=mine.ckpt", MODEL_OUTPUT_DIR=str(tmp_path))[0] == 0
    (tmp_path / "checkpoint").write_text("")
    assert protocol("decode_cmrc2018.sh", MODEL_OUTPUT_DIR=str(tmp_path))[0] == 0


def test_decoding_scripts_draw_the_table_that_is_there(tmp_path):
    (tmp_path / "checkpoint").write_text("")
    assert "A single cell has no table, and no heat map." in protocol("decode_squad.sh", MODEL_OUTPUT_DIR=str(tmp_path))[1]
    (tmp_path / "results.csv").write_text("")
    assert "+ true visualize_zones.py %s/results.csv" % tmp_path in protocol("decode_squad.sh", MODEL_OUTPUT_DIR=str(tmp_path))[1]


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
