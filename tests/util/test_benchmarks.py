# SPDX-License-Identifier: Apache-2.0
"""Tests that the benchmarks start, and that the one of text compares equal files."""

import glob
import os

import pytest
import tiny

COMMANDS = sorted(
    os.path.basename(path)
    for path in glob.glob(os.path.join(tiny.ROOT, "benchmarks", "*.py"))
    if os.path.basename(path) != "pytorch_loop.py"  # which runs where PyTorch is
)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_benchmark_prints_its_help(name):
    code, stdout, stderr = tiny.run("benchmarks/" + name, "--help")
    assert code == 0, stderr
    assert "usage" in stdout and "Traceback" not in stderr


@pytest.mark.parametrize("dataset", ["squad", "cmrc"])
def test_text_equals_the_reference(paths, dataset):
    code, stdout, stderr = tiny.run(
        "benchmarks/text_speed.py",
        data=paths[dataset],
        vocab_file=paths["vocab_file"],
        dataset=dataset,
        questions=4,
        reference_questions=2,
        cells=2,
    )
    assert code == 0, stderr
    compared = [line for line in stdout.splitlines() if "compared, " in line]
    assert compared and all(line.endswith(", 0 differ") for line in compared)
