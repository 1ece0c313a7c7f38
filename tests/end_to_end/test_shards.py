# SPDX-License-Identifier: Apache-2.0
"""Tests that shards and the command without --shard write the bytes of one process."""

import glob
import os
import random
import time

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tiny

from mrc import datasets
from mrc.experiment import attention, partial_results, provenance
from mrc.experiment import run as experiment
from mrc.util.shards import Shard

GRID = dict(do_predict=True, do_eval=True, mask_zone="q2,p2", mask_layer="1", mask_head="each")
ATTENTION = dict(do_attention=True, attention_sets="wh")
OFTEN = "from mrc.experiment import partial_results as parts; parts.SECONDS_IN_PART = 0"


def flags_of(paths, folder, work, **changes):
    flags = tiny.model_flags(paths, output_dir=str(folder), predict_file=paths["squad"], predict_batch_size=1)
    return dict(flags, **work, **changes)


def compute(paths, folder, work, **changes):
    values = tiny.flag_values(**flags_of(paths, folder, work, **changes))
    experiment.run(datasets.SQUAD, values)


def results(folder):
    """Returns {name: bytes} of answers and tables; scores.json names its run, and is left out."""
    found = {}
    for path in glob.glob(os.path.join(str(folder), "*.[cj]s*")):
        if os.path.basename(path) not in ("run.json", "cells.json", "scores.json"):
            with open(path, "rb") as reader:
                found[os.path.basename(path)] = reader.read()
    return found


@pytest.fixture(scope="module")
def one_process(paths, tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    for work in (GRID, ATTENTION):
        compute(paths, folder, work)
    found = results(folder)
    assert {"predictions_layer1_p2_head1.json", "effects.csv", "attention.csv"} < set(found)
    return found


class Stopped(Exception):
    """Simulates a power cut."""


def count_windows(monkeypatch, kind, computed, most=None):
    """Appends the windows that are computed to `computed`; raises after `most` of them."""
    add = kind.add

    def counts(self, rows, batch):
        if len(computed) == most:
            raise Stopped()
        computed.extend(rows)
        add(self, rows, batch)

    monkeypatch.setattr(kind, "add", counts)


@pytest.mark.parametrize("count", [1, 2, 3, 8])
@pytest.mark.parametrize(
    "work, kind", [(GRID, partial_results.PartialResults), (ATTENTION, attention.Totals)], ids=["grid", "attention"]
)
def test_shards_in_any_order_write_the_bytes_of_one_process(
    paths, one_process, tmp_path, monkeypatch, capsys, count, work, kind
):
    order = random.Random(count).sample(range(1, count + 1), count)
    computed = []
    # A shard is cut off; with three, also a process of its own, as it might be of earlier versions.
    for most, shard in enumerate([Shard(order[0], count), None][: 1 + (count == 3)], start=1):
        with monkeypatch.context() as patch, pytest.raises(Stopped):
            count_windows(patch, kind, computed, most)
            compute(paths, tmp_path, work, shard=shard)
    count_windows(monkeypatch, kind, computed)
    for number in order[: max(1, count - 1)][:4]:  # the others are never run
        compute(paths, tmp_path, work, shard=Shard(number, count))
        assert f"shard {number}/{count} is done; " in capsys.readouterr().out
    assert {name.split("-")[0] for name in os.listdir(str(tmp_path))} == {
        *("eval.features.npz", "run.lock", "shard", "unfinished"),
        *(["run.json"] if count == 3 else []),
    }
    assert (len(computed) == 14) == (count == 1)
    compute(paths, tmp_path, work)
    assert sorted(computed) == list(range(14))  # nothing twice
    found = results(tmp_path)
    assert found == {name: one_process[name] for name in found}
    assert len(found) == (len(one_process) - 2 if work is GRID else 2)
    assert not glob.glob(str(tmp_path / "unfinished*")) + glob.glob(str(tmp_path / "shard*"))


def test_shards_that_start_together_and_one_that_is_killed(paths, one_process, tmp_path):
    processes = [tiny.start(flags_of(paths, tmp_path, GRID, shard=f"{number}/2"), first=OFTEN) for number in (1, 2)]
    while not glob.glob(str(tmp_path / "unfinished*" / "part-2-of-2-*.npz")):
        assert processes[1].poll() is None
        time.sleep(0.001)
    processes[1].kill()
    stderr = [process.communicate()[1] for process in processes][0].decode("utf-8")
    assert processes[0].returncode == 0, stderr
    compute(paths, tmp_path, GRID, shard=Shard(2, 2))
    assert results(tmp_path) == {}
    compute(paths, tmp_path, GRID)
    assert results(tmp_path) == {name: data for name, data in one_process.items() if not name.startswith("attention")}


def test_shards_of_two_tasks_do_not_warn_of_each_other(paths, tmp_path, monkeypatch):
    warnings = []
    monkeypatch.setattr(tf.logging, "warning", lambda text, *values: warnings.append(text % values))
    both = dict(ATTENTION, do_predict=True)
    for shard in (Shard(2, 2), Shard(1, 2), None):
        compute(paths, tmp_path, both, shard=shard)
    assert warnings == [] and {"nbest_predictions.json", "attention.csv"} < set(results(tmp_path))


@pytest.mark.parametrize("seed", range(3))
def test_sums_of_shards_are_added_in_the_order_of_batches(tmp_path, seed):
    random_state = np.random.RandomState(seed)
    batches = [[2 * number, 2 * number + 1] for number in range(11)]
    added = {
        batch[0]: {
            "sums": random_state.lognormal(0, 9, [2, 1, 1, 4, 6]).astype(np.float32),
            "counts": random_state.randint(1, 9, [2, 4]).astype(np.float32),
        }
        for batch in batches
    }

    def totals(folder, shard=None, most=None):
        (tmp_path / folder).mkdir(exist_ok=True)
        work = provenance.UnfinishedWork(str(tmp_path / folder), {"a": 1}, False, shard)
        found = attention.Totals(work)
        for batch in found.missing(batches)[:most]:
            found.add(batch, added[batch[0]])
        found.flush()
        assert len(found) == sum(map(len, batches)) or shard or most
        return found

    totals("shards", most=2)  # in the form of earlier versions
    for number in random_state.permutation(3)[:2]:
        totals("shards", Shard(number + 1, 3), most=2)
        totals("shards", Shard(number + 1, 3))
    totals("shards", most=1)
    for ours, theirs in zip(totals("shards").means(), totals("one").means()):
        np.testing.assert_array_equal(ours, theirs)
