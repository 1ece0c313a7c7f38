# SPDX-License-Identifier: Apache-2.0
"""Tests of memory.py: the memory that a grid needs, computed by hand, and what is said of it."""

import types

import numpy as np
import pytest
import tiny

from mrc import datasets
from mrc.experiment import memory, prediction, run, training
from mrc.util.errors import InputError

MIB = 2**20


class FakeWindows:
    def __init__(self, *lengths):
        self._lengths = lengths

    def __len__(self):
        return len(self._lengths)

    def lengths(self):
        return np.array(self._lengths)


def check(monkeypatch, num_cells, mebibytes, windows=FakeWindows(*[200, 256] * 16), **changes):
    flags = dict(use_tpu=False, trim_padding=False, predict_batch_size=32, max_seq_length=512)
    inputs = types.SimpleNamespace(
        options=types.SimpleNamespace(**dict(flags, **changes)), config=types.SimpleNamespace(hidden_size=1024)
    )
    monkeypatch.setattr(memory, "machine_bytes", lambda: mebibytes * MIB)
    monkeypatch.setattr(memory, "runs_on_cpu", lambda use_tpu: False)  # batches are not cut
    memory.check_grid(inputs, windows, ["cell"] * num_cells)


def test_a_state_of_each_cell_is_in_memory():
    # 2 cells of 32 windows of 512 tokens of 1024 values of 4 bytes are 2 x 64 MiB.
    assert memory.grid_bytes(2, 32, 512, 1024) == 128 * MIB


@pytest.mark.parametrize("cells, size", [(1, 32), (16, 32), (17, 30), (61, 8), (289, 1), (1000, 1)])
def test_batches_of_many_cells_are_cut_on_a_cpu(cells, size):
    options = types.SimpleNamespace(use_tpu=False, predict_batch_size=32)
    assert memory.batch_size(options, ["cell"] * cells, 10**6) == size


@pytest.mark.parametrize(
    "windows, on_cpu, on_gpu",
    [(0, 8, 8), (1, 1, 1), (7, 7, 7), (8, 8, 8), (9, 3, 5), (17, 6, 6), (25, 5, 7), (177, 6, 8), (10570, 8, 8)],
)
def test_few_windows_of_the_last_batch_are_empty(monkeypatch, windows, on_cpu, on_gpu):
    options = types.SimpleNamespace(use_tpu=False, predict_batch_size=8)
    assert memory.batch_size(options, ["cell"], windows) == on_cpu
    monkeypatch.setattr(memory, "runs_on_cpu", lambda use_tpu: False)
    assert memory.batch_size(options, ["cell"], windows) == on_gpu


def test_batches_are_not_cut_on_a_tpu():
    options = types.SimpleNamespace(use_tpu=True, predict_batch_size=32)
    assert memory.batch_size(options, ["cell"] * 289, 9) == 32


def test_this_machine_has_some_memory():
    assert memory.machine_bytes() > 256 * MIB


def test_a_grid_that_just_fits_is_accepted(monkeypatch):
    check(monkeypatch, num_cells=16, mebibytes=1024)


def test_a_larger_grid_is_refused_with_both_remedies(monkeypatch):
    with pytest.raises(InputError) as error:
        check(monkeypatch, num_cells=17, mebibytes=1024)
    assert str(error.value) == (
        "a grid of 17 cells with --predict_batch_size=32 needs 1.1 GiB of memory for hidden states, but this machine has "
        "1.0 GiB; pass --predict_batch_size=15, or decode at most 8 cells with each command: cells that are done are kept"
    )


def test_the_suggested_batch_is_accepted(monkeypatch):
    check(monkeypatch, num_cells=17, mebibytes=1024, predict_batch_size=15)


def test_trimmed_padding_needs_no_memory(monkeypatch):
    check(monkeypatch, num_cells=32, mebibytes=1024, trim_padding=True)
    with pytest.raises(InputError):
        check(monkeypatch, num_cells=33, mebibytes=1024, trim_padding=True)


@pytest.mark.parametrize("changes", [dict(use_tpu=True), dict(windows=FakeWindows())])
def test_no_memory_of_this_machine_is_needed(monkeypatch, changes):
    check(monkeypatch, num_cells=1000, mebibytes=1, **changes)


def test_a_run_stops_before_the_forward_pass(paths, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(memory, "machine_bytes", lambda: 1)
    monkeypatch.setattr(prediction.forward_pass, "results_of", None)
    flags = tiny.model_flags(paths, output_dir=str(tmp_path), predict_file=paths["squad"])
    grid = dict(flags, do_predict=True, mask_zone="q2,p2", mask_layer="0")
    with pytest.raises(SystemExit, match="2"):
        run.run(datasets.SQUAD, tiny.flag_values(**grid))
    assert "a grid of 3 cells" in capsys.readouterr().err


def test_a_run_stops_before_training(paths, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(memory, "machine_bytes", lambda: 1)
    monkeypatch.setattr(training, "train", None)
    flags = tiny.model_flags(paths, output_dir=str(tmp_path), train_file=paths["squad"], predict_file=paths["squad"])
    grid = dict(flags, do_train=True, do_predict=True, mask_zone="q2,p2", mask_layer="0")
    with pytest.raises(SystemExit, match="2"):
        run.run(datasets.SQUAD, tiny.flag_values(**grid))
    assert "a grid of 3 cells" in capsys.readouterr().err


@pytest.mark.parametrize("gibibytes, warns", [(2, True), (64, False)])
def test_a_low_limit_of_virtual_memory_causes_a_warning(monkeypatch, gibibytes, warns):
    warnings = []
    monkeypatch.setattr(memory.resource, "getrlimit", lambda which: (gibibytes << 30, -1))
    monkeypatch.setattr(memory, "warn", warnings.append)
    memory.warn_of_limit()
    assert warnings == warns * [
        "the limit of virtual memory (ulimit -v) is 2.0 GiB, where TensorFlow may abort; if it does, raise the limit"
    ]


@pytest.mark.parametrize("on_cpu, warned", [(True, True), (False, False)])
def test_an_unused_gpu_is_reported(tmp_path, monkeypatch, on_cpu, warned):
    warnings = []
    monkeypatch.setattr(run, "_GPU", str(tmp_path))
    monkeypatch.setattr(run.estimator, "runs_on_cpu", lambda use_tpu: on_cpu)
    monkeypatch.setattr(run.tf.logging, "warning", lambda text, *args: warnings.append(text))
    run._warn_of_unused_gpu(types.SimpleNamespace(has_model=True, options=types.SimpleNamespace(use_tpu=False)))
    assert ["does not use the GPU" in text for text in warnings] == [True] * warned
