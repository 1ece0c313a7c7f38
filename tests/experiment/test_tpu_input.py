# SPDX-License-Identifier: Apache-2.0
"""Tests of the input of a TPU: a share of the records per host, and unfinished windows only."""

from typing import NamedTuple

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tiny

from mrc import datasets
from mrc.data.windows import FIRST_UNIQUE_ID
from mrc.experiment import forward_pass, partial_results, provenance, training
from mrc.model import estimator
from mrc.util.tensorflow_versions import IS_TF2


class Context(NamedTuple):
    """The attributes of a TPUContext that training reads."""

    current_host: int
    num_hosts: int


@pytest.fixture
def run(paths, tmp_path):
    flags = tiny.model_flags(
        paths,
        output_dir=str(tmp_path),
        do_train=True,
        do_predict=True,
        train_file=paths["squad"],
        predict_file=paths["squad"],
        predict_batch_size=8,
    )
    return tiny.read_inputs(datasets.SQUAD, **flags)


def read(input_fn, number=None, **params):
    """Returns the first `number` batches of an input function, all if None."""
    batches = []
    with tf.Graph().as_default(), tf.Session() as session:
        batch = tf.data.make_one_shot_iterator(input_fn(params)).get_next()
        try:
            while number is None or len(batches) < number:
                batches.append(session.run(batch))
        except tf.errors.OutOfRangeError:
            pass
    return batches


@pytest.mark.skipif(not IS_TF2, reason="TensorFlow 1 does not wait for the thread that tunes")
@pytest.mark.parametrize("kind", ["training", "prediction", "prediction from records"])
def test_inputs_are_not_tuned(run, train_input, tmp_path, kind):
    """A session would wait on closing, for up to a minute."""
    windows = forward_pass.make_windows(run)
    make = {
        "training": lambda: train_input[1](),
        "prediction": lambda: forward_pass.make_input_fn(windows, [[0]]),
        "prediction from records": lambda: forward_pass.make_tpu_input_fn(windows, [[0]], str(tmp_path), {}),
    }[kind]
    with tf.Graph().as_default():
        assert make()({"batch_size": 1}).options().autotune.enabled is False


def windows_in(batches):
    return [tuple(ids) for batch in batches for ids in batch["input_ids"].tolist()]


@pytest.fixture
def train_input(run, tmp_path):
    """Returns (number of windows, function that makes the input function)."""
    windows = training.make_windows(run)
    path = training.write_records(windows, run.dataset, str(tmp_path), {})
    return len(windows), lambda *seen_and_number: training.make_input_fn(
        path, run.dataset, windows.max_seq_length, 1, *seen_and_number
    )


def test_each_host_trains_on_windows_of_its_own(train_input):
    number, make = train_input
    assert number > 8
    mine, others = (set(windows_in(read(make(), number, batch_size=4, context=Context(host, 2)))) for host in (0, 1))
    assert not mine & others
    assert mine | others == set(windows_in(read(make(), number, batch_size=4)))


def test_a_single_host_reads_as_without_a_tpu(train_input):
    number, make = train_input
    alone = windows_in(read(make(), 2 * number, batch_size=2))
    assert windows_in(read(make(), 2 * number, batch_size=2, context=Context(0, 1))) == alone


def test_an_interrupted_host_resumes_after_its_share_of_the_records(train_input):
    _, make = train_input
    whole = windows_in(read(make(), 6, batch_size=2, context=Context(1, 2)))
    # 2 steps of 2 windows on each of 2 hosts were done.
    rest = windows_in(read(make(8), 4, batch_size=2, context=Context(1, 2)))
    assert rest == whole[4:]


def test_batches_of_windows_of_similar_length_resume_in_the_same_order(train_input):
    number, make = train_input
    assert number == 14
    batches = read(make(0, number), 14, batch_size=2)
    windows = windows_in(batches)
    assert set(windows) <= set(windows_in(read(make(), 100, batch_size=2)))
    pairs = [batch["input_mask"].sum(axis=1).tolist() for batch in batches]
    apart = [batch["input_mask"].sum(axis=1).tolist() for batch in read(make(), 14, batch_size=2)]
    assert sum(map(max, pairs)) < sum(map(max, apart))
    assert [max(pair) for pair in pairs[:7]] != sorted(max(pair) for pair in pairs[:7])
    rest = windows_in(read(make(10, number), 9, batch_size=2))  # after 5 steps
    assert rest == windows[10:]


@pytest.mark.parametrize("batches_done", [0, 1])
def test_a_tpu_predicts_only_unfinished_windows(run, tmp_path, monkeypatch, batches_done):
    windows, given = forward_pass.make_windows(run), []

    class Reader:
        def predict(self, input_fn, **_):
            given.append(input_fn)
            yield from ()

    (tmp_path / "found").mkdir()
    work = provenance.UnfinishedWork(str(tmp_path / "found"), {"a": 1}, trusts_unsigned=False)
    found = partial_results.PartialResults(work)
    batches = forward_pass.make_batches(windows, 8)
    assert len(batches) > 1
    for batch in batches[:batches_done]:
        found.add(batch, {"start_nulls": np.zeros([8, 1])})
    monkeypatch.setattr(estimator, "make_estimator", lambda *_: Reader())
    run.options.use_tpu, run.options.predict_batch_size = True, 8
    analysis = forward_pass.Analysis("", "", run.cells, {}, None, None)
    forward_pass._run(analysis, run, windows, found, None, None)
    read_again = read(given[0], batch_size=1)  # a core's share
    numbers = [int(batch["unique_ids"][0]) - FIRST_UNIQUE_ID for batch in read_again]
    assert numbers == [row for batch in batches[batches_done:] for row in batch]
