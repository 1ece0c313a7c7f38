# SPDX-License-Identifier: Apache-2.0
"""Tests that the benchmarks start, and that the one of text prints its rates."""

import glob
import os

import pytest
import tiny

COMMANDS = sorted(
    os.path.basename(path)
    for path in glob.glob(os.path.join(tiny.ROOT, "benchmarks", "*.py"))
    if not os.path.basename(path).startswith("pytorch_")  # these run where PyTorch is
)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_benchmark_prints_its_help(name):
    code, stdout, stderr = tiny.run("benchmarks/" + name, "--help")
    assert code == 0, stderr
    assert "usage" in stdout and "Traceback" not in stderr


@pytest.mark.parametrize("dataset", ["squad", "cmrc"])
def test_rates_of_text_are_printed(paths, dataset):
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
    windows, answers = stdout.splitlines()
    assert windows.startswith("text to windows: ") and answers.startswith("logits to answers: 8 answers ")
    assert windows.endswith(" times as fast") and answers.endswith(" times as fast")
