# SPDX-License-Identifier: Apache-2.0
"""Tests that a stopped decoding resumes with the same bytes and reuses only its own results."""

import glob
import json
import os
import random
import time
import types

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tiny

from mrc import cells as grid_cells
from mrc import datasets
from mrc.experiment import attention, partial_results, provenance
from mrc.experiment import run as experiment
from mrc.util import tensorflow_versions

GRID = dict(do_predict=True, mask_zone="q2,p2", mask_layer="each", predict_batch_size=2)
BATCHES = 50  # of 70; a kill comes after fewer than these


def many_questions(path):
    """Writes the tiny data ten times with distinct ids, enough for dozens of batches."""
    data = tiny.squad()
    article = data["data"][0]
    article["paragraphs"] = [
        dict(paragraph, qas=[dict(question, id="%s-%d" % (question["id"], copy)) for question in paragraph["qas"]])
        for copy in range(10)
        for paragraph in article["paragraphs"]
    ]
    return tiny.write_json(path, data)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return many_questions(tmp_path_factory.mktemp("many") / "squad.json")


def decode(paths, data, output_dir, **changes):
    flags = dict(tiny.model_flags(paths, output_dir=str(output_dir), predict_file=data), **GRID)
    experiment.run(datasets.SQUAD, tiny.flag_values(**dict(flags, **changes)))


def answers(folder):
    found = {}
    for path in glob.glob(os.path.join(str(folder), "*predictions*.json")):
        with open(path, "rb") as reader:
            found[os.path.basename(path)] = reader.read()
    return found


@pytest.fixture(scope="module")
def uninterrupted(paths, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    decode(paths, data, folder)
    found = answers(folder)
    assert len(found) == 10  # predictions and n-best lists of 4 cells and the baseline
    return found


class Stopped(Exception):
    """Simulates a power cut."""


@pytest.mark.parametrize("batches", [1, 7])
def test_finished_windows_are_not_computed_again(paths, data, uninterrupted, tmp_path, monkeypatch, batches, capsys):
    computed = []
    add = partial_results.PartialResults.add

    def stops(self, rows, best):
        if len(computed) == batches:
            raise Stopped()
        computed.extend([rows])
        add(self, rows, best)
        self.flush()

    monkeypatch.setattr(partial_results.PartialResults, "add", stops)
    with pytest.raises(Stopped):
        decode(paths, data, tmp_path)
    assert answers(tmp_path) == {}

    before, again = {row for rows in computed for row in rows}, []

    def counts(self, rows, best):
        again.extend(rows)
        add(self, rows, best)

    monkeypatch.setattr(partial_results.PartialResults, "add", counts)
    decode(paths, data, tmp_path)
    assert "resuming the decoding in %s: %d of 140 windows are done" % (tmp_path, 2 * batches) in capsys.readouterr().out
    assert len(before) == 2 * batches and not before & set(again)
    assert answers(tmp_path) == uninterrupted
    assert not glob.glob(str(tmp_path / "unfinished*"))


@pytest.mark.parametrize("number", range(int(os.environ.get("KILLS", 2))))
def test_kill_9(paths, data, uninterrupted, tmp_path, number):
    """With KILLS=30 in the environment, kills 30 runs, every third of them at any time."""
    flags = dict(tiny.model_flags(paths, output_dir=str(tmp_path), predict_file=data), **GRID)
    generator = random.Random(number)
    # Results are written after each batch; a real run may lose a minute of work.
    process = tiny.start(flags, first="from mrc.experiment import partial_results; partial_results.SECONDS_IN_PART = 0")
    parts = str(tmp_path / "unfinished*" / "*.npz")
    if number % 3 == 2:
        time.sleep(generator.uniform(0, 10))
    else:
        wanted = generator.randrange(1, BATCHES)
        while len(glob.glob(parts)) < wanted:
            assert process.poll() is None
            time.sleep(0.001)
    process.kill()
    process.communicate()
    assert number % 3 == 2 or glob.glob(parts) and answers(tmp_path) == {}
    decode(paths, data, tmp_path)
    assert answers(tmp_path) == uninterrupted


def test_finished_cells_are_kept_and_new_ones_added(paths, data, uninterrupted, tmp_path, capsys):
    decode(paths, data, tmp_path, mask_layer="0")
    times = {path: os.stat(path).st_mtime_ns for path in glob.glob(str(tmp_path / "pred*"))}
    decode(paths, data, tmp_path)
    assert "3 of 5 cells are in" in capsys.readouterr().out
    assert {path: os.stat(path).st_mtime_ns for path in times} == times
    # The products of a cell depend on the grid in the last bits, so n-best scores may differ.
    found = answers(tmp_path)
    assert set(found) == set(uninterrupted)
    assert all(found[name] == uninterrupted[name] for name in found if name.startswith("predictions"))


@pytest.mark.parametrize(
    "change, what",
    [
        (dict(max_answer_length=3), "max_answer_length (8 then, 3 now)"),
        (dict(n_best_size=4), "n_best_size (20 then, 4 now)"),
    ],
)
def test_cells_with_other_flags_are_decoded_again(paths, data, tmp_path, monkeypatch, change, what):
    warnings = []
    monkeypatch.setattr(tf.logging, "warning", lambda text, *values: warnings.append(text % values))
    decode(paths, data, tmp_path, mask_layer="0")
    first = answers(tmp_path)
    decode(paths, data, tmp_path, mask_layer="0", **change)
    assert answers(tmp_path) != first
    assert warnings == [f"decoding again: predictions_layer_.json and 2 more (made with another {what})"]


def test_a_file_changed_by_hand_is_decoded_again(paths, data, tmp_path):
    decode(paths, data, tmp_path, mask_layer="0")
    first, path = answers(tmp_path), tmp_path / "predictions_layer_.json"
    path.write_text(json.dumps({}), encoding="utf-8")
    decode(paths, data, tmp_path, mask_layer="0")
    assert answers(tmp_path) == first


def test_pending_results_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(partial_results, "BYTES_IN_PART", 100)
    work = provenance.UnfinishedWork(str(tmp_path), {"a": 1}, trusts_unsigned=False)
    found = partial_results.PartialResults(work)
    found.add([0], {"values": np.zeros([1, 10])})
    assert os.listdir(str(tmp_path)) == []
    found.add([1], {"values": np.ones([1, 10])})
    assert os.listdir(str(tmp_path)) == ["part-000000.npz"]
    found.add([2], {"values": np.ones([1, 10])})
    assert len(os.listdir(str(tmp_path))) == 1
    assert partial_results.PartialResults(work).read(0, 2)["values"].tolist() == [[0.0] * 10, [1.0] * 10]


def test_partial_results_of_another_tensorflow_2_or_without_onednn_are_not_used(tmp_path, monkeypatch):
    folders = set()
    for is_tf2, version, onednn in (
        (False, "1.15.3", False),
        (True, "2.12.1", True),
        (True, "2.15.1", True),
        (True, "2.15.1", False),
    ):
        monkeypatch.setattr(tensorflow_versions, "IS_TF2", is_tf2)
        monkeypatch.setattr(provenance.tf, "__version__", version)
        monkeypatch.setattr(tensorflow_versions, "uses_onednn", lambda onednn=onednn: onednn)
        folders.add(provenance.unfinished_work(str(tmp_path), {"a": 1}, [grid_cells.BASELINE]).folder)
    assert len(folders) == 4


@pytest.mark.parametrize("kind", [partial_results.PartialResults, attention.Totals])
def test_a_clock_that_is_set_back_does_not_delay_partial_results(tmp_path, monkeypatch, kind):
    clock = types.SimpleNamespace(time=lambda: -3600.0, monotonic=lambda: 0.0)
    monkeypatch.setattr(partial_results, "time", clock)
    results = kind(provenance.UnfinishedWork(str(tmp_path), {"a": 1}, trusts_unsigned=False))
    batch = dict(sums=np.zeros([1, 1, 1, 4, 6]), counts=np.zeros([1, 4]))
    assert results.missing([[0], [1]]) == [[0], [1]]
    results.add([0], batch)
    assert os.listdir(str(tmp_path)) == []
    clock.monotonic = lambda: partial_results.SECONDS_IN_PART + 1.0
    results.add([1], batch)
    assert len(os.listdir(str(tmp_path))) == 1
