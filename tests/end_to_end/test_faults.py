# SPDX-License-Identifier: Apache-2.0
"""Tests of failures during a run: each is reported in one line, and a rerun resumes."""

import glob
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import time

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tiny
from test_resume import many_questions

from mrc import datasets
from mrc.experiment import run as experiment

STEPS = 100
TRAINING = dict(do_train=True, num_train_epochs=STEPS / 2.0, save_checkpoints_steps=20, learning_rate=0.001)
SECONDS_BETWEEN_CHECKPOINTS = 0.2  # approximately; kills happen in this time
PATIENCE = 300  # seconds until a test gives up


def training_flags(paths, folder, **changes):
    return dict(tiny.model_flags(paths, output_dir=str(folder), train_file=paths["squad"], **TRAINING), **changes)


# TensorFlow 2.15 logs the first compilation in spite of TF_CPP_MIN_LOG_LEVEL.
XLA_LOG = re.compile("WARNING: All log messages before absl::InitializeLog|I0000 .* Compiled cluster using XLA!")


def end(process):
    """Waits for a process; returns (exit code, stdout, other lines of stderr than progress)."""
    stdout, stderr = process.communicate(timeout=PATIENCE)
    lines = [line.split("\r")[-1] for line in stderr.decode("utf-8").splitlines()]
    return (
        process.returncode,
        stdout.decode("utf-8"),
        [line for line in lines if line and "%|" not in line and not XLA_LOG.match(line)],
    )


def wait_for(process, pattern):
    """Waits until a file that matches `pattern` exists."""
    limit = time.monotonic() + PATIENCE
    while not glob.glob(str(pattern)):
        assert process.poll() is None and time.monotonic() < limit, process.stderr.read()
        time.sleep(0.01)


def rerun(flags):
    """Runs the same command in this process."""
    experiment.run(datasets.SQUAD, tiny.flag_values(**flags))


def weights(folder):
    """Returns the bytes of the last checkpoint's data and index."""
    last = tf.train.latest_checkpoint(str(folder))
    assert last.endswith("-%d" % STEPS)
    found = []
    for suffix in (".data-00000-of-00001", ".index"):
        with open(last + suffix, "rb") as reader:
            found.append(reader.read())
    return found


def assert_one_message(lines, wanted, beginning="error: "):
    """Checks that there is one such line, and that it contains `wanted`."""
    assert [line for line in lines if line.startswith(beginning)] == [line for line in lines if wanted in line], lines
    assert sum(wanted in line for line in lines) == 1, lines
    assert not any("Traceback" in line for line in lines), lines


@pytest.fixture(scope="module")
def uninterrupted(paths, tmp_path_factory):
    """Folder of an uninterrupted training."""
    folder = tmp_path_factory.mktemp("training")
    code, _, lines = end(tiny.start(training_flags(paths, folder)))
    assert (code, lines) == (0, [])
    return folder


PARTS = dict(micro_batch_size=1)


@pytest.fixture(scope="module")
def in_parts(paths, tmp_path_factory):
    """Folder of an uninterrupted training in micro-batches."""
    folder = tmp_path_factory.mktemp("parts")
    rerun(training_flags(paths, folder, **PARTS))
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return many_questions(tmp_path_factory.mktemp("many") / "squad.json")


@pytest.fixture(scope="module")
def predicted(paths, data, tmp_path_factory):
    """Predictions of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("predicted")
    rerun(prediction_flags(paths, data, folder))
    return tiny.read_json(folder, "nbest_predictions.json")


def prediction_flags(paths, data, folder, **changes):
    return dict(
        tiny.model_flags(paths, output_dir=str(folder), predict_file=data, do_predict=True, predict_batch_size=2), **changes
    )


def test_training_is_reproducible_to_the_byte(paths, uninterrupted, tmp_path, capsys):
    rerun(training_flags(paths, tmp_path))
    assert re.search(r"training: 100%.*, loss=\d+\.\d{4}\]", capsys.readouterr().err)
    assert weights(tmp_path) == weights(uninterrupted)


@pytest.mark.parametrize("number", range(int(os.environ.get("KILLS", 2))))
def test_kill_9_in_training(paths, uninterrupted, in_parts, tmp_path, number, capsys):
    """With KILLS=30 in the environment, kills 30 runs at random moments, half in micro-batches."""
    changes, whole = (PARTS, in_parts) if number % 2 else ({}, uninterrupted)
    flags, generator = training_flags(paths, tmp_path, **changes), random.Random(number)
    process = tiny.start(flags)
    wait_for(process, tmp_path / ("model.ckpt-%d.index" % generator.choice(range(0, STEPS, 20))))
    time.sleep(generator.uniform(0, SECONDS_BETWEEN_CHECKPOINTS))
    assert process.poll() is None
    process.kill()
    process.communicate()
    state = tf.train.get_checkpoint_state(str(tmp_path)) if tmp_path.exists() else None
    step = int(state.model_checkpoint_path.split("-")[-1]) if state else 0
    rerun(flags)
    stdout = capsys.readouterr().out
    if 0 < step < STEPS:
        assert "resuming the training in %s after step %d of %d" % (tmp_path, step, STEPS) in stdout
    assert weights(tmp_path) == weights(whole)
    assert not glob.glob(str(tmp_path / "*_temp_*"))


# A part of the work is kept after every batch rather than once a minute.
OFTEN = "from mrc.experiment import partial_results as parts; parts.SECONDS_IN_PART = 0"
HEADS = dict(mask_zone="q2,p2q,off", mask_layer="each", mask_head="each")
KILLED = {"heads": HEADS, "attention": dict(do_predict=False, do_attention=True)}
RESULTS = ("*predictions*.json", "attention*.csv", "cells.json")


@pytest.fixture(scope="module")
def finished(paths, data, tmp_path_factory):
    """Folders of an uninterrupted grid of heads and of uninterrupted sums of attention."""
    found = {}
    for what, changes in KILLED.items():
        found[what] = tmp_path_factory.mktemp(what)
        rerun(prediction_flags(paths, data, found[what], **changes))
    return found


def results(folder):
    """Returns {file name: bytes} of the results of a prediction."""
    return {
        os.path.basename(path): open(path, "rb").read()
        for pattern in RESULTS
        for path in glob.glob(os.path.join(str(folder), pattern))
    }


@pytest.mark.parametrize("what", sorted(KILLED))
@pytest.mark.parametrize("number", range(int(os.environ.get("KILLS", 1))))
def test_kill_9_in_prediction(paths, data, finished, tmp_path, number, what, capsys):
    """With KILLS=30 in the environment, kills 30 runs of each kind at random moments."""
    flags = prediction_flags(paths, data, tmp_path, **KILLED[what])
    process = tiny.start(flags, first=OFTEN)
    wait_for(process, tmp_path / "unfinished*" / "*.npz")
    time.sleep(random.Random(number).uniform(0, 0.5))
    process.kill()
    process.communicate()
    was_finished = len(results(tmp_path)) == len(results(finished[what]))
    rerun(flags)
    assert was_finished or "resuming the " in capsys.readouterr().out
    assert results(tmp_path) == results(finished[what])
    assert not glob.glob(str(tmp_path / "unfinished*"))


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_in_training_writes_a_checkpoint(paths, uninterrupted, tmp_path, number, code):
    flags = training_flags(paths, tmp_path, save_checkpoints_steps=1000)
    process = tiny.start(flags)
    wait_for(process, tmp_path / "model.ckpt-0.index")
    process.send_signal(number)
    found, _, lines = end(process)
    step = int(tf.train.latest_checkpoint(str(tmp_path)).split("-")[-1])
    assert found == code and 0 < step < STEPS
    assert lines == [
        "stopped by %s: the checkpoint of step %d of %d is in %s; rerun the same command to "
        "resume" % (signal.Signals(number).name, step, STEPS, tmp_path)
    ]
    assert tiny.read_json(tmp_path, "run.json")["runs"][0]["outcome"] == lines[0]
    rerun(flags)
    assert weights(tmp_path) == weights(uninterrupted)


def test_a_training_without_padding_resumes_with_the_same_bytes(paths, uninterrupted, tmp_path):
    whole, stopped = (training_flags(paths, tmp_path / name, trim_padding=True) for name in ("whole", "stopped"))
    process = tiny.start(stopped)
    wait_for(process, tmp_path / "stopped" / "model.ckpt-20.index")
    process.send_signal(signal.SIGTERM)
    assert end(process)[0] == 143
    for flags in (stopped, whole):
        rerun(flags)
    assert weights(tmp_path / "stopped") == weights(tmp_path / "whole") != weights(uninterrupted)


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_in_prediction_writes_finished_batches(paths, data, predicted, tmp_path, number, code):
    flags = prediction_flags(paths, data, tmp_path)
    process = tiny.start(flags)
    wait_for(process, tmp_path / "unfinished*" / "made_from.json")
    process.send_signal(number)
    found, _, lines = end(process)
    assert found == code and len(lines) == 1
    assert lines[0].startswith(f"stopped by {signal.Signals(number).name}: ")
    assert lines[0].endswith(f"windows are done and kept in {tmp_path}; rerun the same command to resume")
    parts = glob.glob(str(tmp_path / "unfinished*" / "*.npz"))
    done, of_all = (int(word) for word in lines[0].split(": ")[1].split() if word.isdigit())
    assert 0 < done < of_all and sum(len(np.load(part)["rows"]) for part in parts) == done
    rerun(flags)
    assert tiny.read_json(tmp_path, "nbest_predictions.json") == predicted


def test_ctrl_c_writes_a_checkpoint_after_a_broken_pipe(paths, tmp_path):
    """As in `run_squad.py ... 2>&1 | tee log`, where Ctrl-C also ends tee."""
    process = tiny.start(
        training_flags(paths, tmp_path), first="from mrc.util import progress; progress.SECONDS_BETWEEN_LINES = 0"
    )
    wait_for(process, tmp_path / "model.ckpt-0.index")
    process.stdout.close()
    process.stderr.close()
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 130
    outcome = tiny.read_json(tmp_path, "run.json")["runs"][0]["outcome"]
    step = int(re.match("stopped by SIGINT: the checkpoint of step ([0-9]+) of 100 is in ", outcome).group(1))
    assert (tmp_path / ("model.ckpt-%d.index" % step)).exists()


def test_scores_are_written_after_a_broken_pipe(paths, data, tmp_path):
    process = tiny.start(prediction_flags(paths, data, tmp_path, do_eval=True, mask_zone="q2,p2"))
    process.stdout.close()
    assert process.wait(PATIENCE) == 0 and process.stderr.read().count(b"Traceback") == 0
    assert {"scores.json", "results.csv", "results_f1.csv"} <= set(os.listdir(str(tmp_path)))


def test_a_second_run_is_refused_and_the_first_continues(paths, uninterrupted, tmp_path):
    flags = training_flags(paths, tmp_path)
    process = tiny.start(flags)
    wait_for(process, tmp_path / "model.ckpt-0.index")
    process.send_signal(signal.SIGSTOP)  # it must not finish before the second one starts
    code, _, lines = end(tiny.start(flags))
    process.send_signal(signal.SIGCONT)
    assert code == 2
    assert_one_message(lines, "another run is using %s (process %d on " % (tmp_path, process.pid))
    assert end(process)[0] == 0
    assert weights(tmp_path) == weights(uninterrupted)
    assert len(tiny.read_json(tmp_path, "run.json")["runs"]) == 1


def test_a_folder_removed_during_training_is_reported(paths, tmp_path):
    folder = tmp_path / "out"
    process = tiny.start(training_flags(paths, folder))
    wait_for(process, folder / "model.ckpt-0.index")
    os.rename(str(folder), str(tmp_path / "elsewhere"))
    code, _, lines = end(process)
    assert code == 1
    assert_one_message(lines, f"the output folder {folder} was removed during training")


def test_a_folder_removed_during_prediction_is_reported(paths, data, tmp_path):
    folder = tmp_path / "out"
    process = tiny.start(prediction_flags(paths, data, folder))
    wait_for(process, folder / "unfinished*" / "made_from.json")
    os.rename(str(folder), str(tmp_path / "elsewhere"))
    code, _, lines = end(process)
    assert code == 1
    assert_one_message(lines, "part-000000.npz cannot be written")


@pytest.fixture
def mount(tmp_path):
    """Returns a function that mounts an empty disk on a folder; only root can.

    Its `protect(folder)` makes a folder read-only; `take_off()` undoes the last mount.
    """
    mounted = []

    def call(folder, *words):
        if subprocess.call(["mount"] + list(words) + [str(folder)], stderr=subprocess.DEVNULL):
            pytest.skip("this user cannot mount a disk")

    def lay(folder, options):
        folder.mkdir(exist_ok=True)
        call(folder, "-t", "tmpfs", "-o", options, "tmpfs")
        mounted.append(str(folder))

    def protect(folder):
        call(folder, "--bind", str(folder))
        mounted.append(str(folder))
        call(folder, "-o", "remount,bind,ro")

    lay.protect = protect

    def take_off():
        subprocess.check_call(["umount", "-l", mounted.pop()])

    lay.take_off = take_off
    yield lay
    while mounted:
        take_off()


def fill(folder):
    """Fills the disk of `folder`."""
    with open(str(folder / "filler"), "wb", buffering=0) as writer:
        while True:
            try:
                writer.write(b"x" * 4096)
            except OSError:
                return


def test_training_resumes_after_a_full_disk(paths, uninterrupted, tmp_path, mount):
    folder = tmp_path / "disk"
    mount(folder, "size=64m")
    flags = training_flags(paths, folder)
    process = tiny.start(flags)
    wait_for(process, folder / "model.ckpt-0.index")
    fill(folder)
    code, _, lines = end(process)
    assert code == 1
    assert_one_message(lines, f"a checkpoint in {folder} cannot be written (")
    os.remove(str(folder / "filler"))
    rerun(flags)
    assert weights(folder) == weights(uninterrupted)


def test_training_resumes_after_a_read_only_disk(paths, uninterrupted, tmp_path, mount):
    folder = tmp_path / "out"
    flags = training_flags(paths, folder)
    process = tiny.start(flags)
    wait_for(process, folder / "model.ckpt-20.index")
    mount.protect(folder)
    code, _, lines = end(process)
    assert code == 1
    assert_one_message(lines, f"a checkpoint in {folder} cannot be written (")
    mount.take_off()
    rerun(flags)
    assert weights(folder) == weights(uninterrupted)


def test_a_read_only_output_folder_is_reported(paths, tmp_path, mount):
    folder = tmp_path / "out"
    mount(folder, "ro")
    code, _, lines = end(tiny.start(training_flags(paths, folder)))
    assert code == 2
    assert_one_message(lines, f"the output folder {folder} cannot be written to (Read-only file system)")


def test_prediction_resumes_after_a_full_disk(paths, data, predicted, tmp_path, mount):
    folder = tmp_path / "disk"
    mount(folder, "size=64m")
    flags = prediction_flags(paths, data, folder)
    process = tiny.start(flags)
    wait_for(process, folder / "unfinished*" / "made_from.json")
    fill(folder)
    code, _, lines = end(process)
    assert code == 1
    assert_one_message(lines, "part-000000.npz cannot be written (")
    os.remove(str(folder / "filler"))
    rerun(flags)
    assert tiny.read_json(folder, "nbest_predictions.json") == predicted


def limit_files(size):
    """Returns a function that limits the size of files that the process can write."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.parametrize("size, what", [(100, "cannot be written ("), (20000, "cannot be written")])
def test_training_resumes_after_a_file_size_limit(paths, uninterrupted, tmp_path, size, what):
    """Acts like a full disk, and needs no mount."""
    flags = training_flags(paths, tmp_path)
    code, _, lines = end(tiny.start(flags, prepare=limit_files(size)))
    assert code == 1
    assert_one_message(lines, what)
    rerun(flags)
    assert weights(tmp_path) == weights(uninterrupted)


def test_prediction_resumes_after_a_file_size_limit(paths, data, predicted, tmp_path):
    flags = prediction_flags(paths, data, tmp_path)
    code, _, lines = end(tiny.start(flags, prepare=limit_files(16000)))
    assert code == 1
    assert_one_message(lines, "cannot be written (")
    rerun(flags)
    assert tiny.read_json(tmp_path, "nbest_predictions.json") == predicted


def stopped_copy(uninterrupted, folder):
    """Copies a training as if it was stopped after its second to last checkpoint."""
    shutil.copytree(str(uninterrupted), str(folder), ignore=shutil.ignore_patterns("run.lock"))
    state = tf.train.get_checkpoint_state(str(folder))
    names = [os.path.basename(path) for path in state.all_model_checkpoint_paths]
    for path in glob.glob(str(folder / (names[-1] + ".*"))):
        os.remove(path)
    lines = [f'model_checkpoint_path: "{names[-2]}"']
    lines += [f'all_model_checkpoint_paths: "{name}"' for name in names[:-1]]
    (folder / "checkpoint").write_text("\n".join(lines) + "\n")
    return names[-2], names[-3]


def cut(path):
    size = os.path.getsize(path)
    with open(path, "r+b") as writer:
        writer.truncate(size * 9 // 10)


@pytest.mark.parametrize(
    "suffix, damage",
    [(".index", cut), (".data-00000-of-00001", cut), (".index", os.remove), (".data-00000-of-00001", os.remove)],
)
def test_training_resumes_from_the_last_complete_checkpoint(paths, uninterrupted, tmp_path, suffix, damage):
    folder = tmp_path / "out"
    last, before = stopped_copy(uninterrupted, folder)
    damage(str(folder / (last + suffix)))
    code, _, lines = end(tiny.start(prediction_flags(paths, paths["squad"], folder)))
    assert code == 2
    assert_one_message(
        lines,
        f"error: the checkpoint {folder / last} is incomplete; train again with the same "
        f"--output_dir, which resumes from {folder / before}",
    )
    code, stdout, lines = end(tiny.start(training_flags(paths, folder)))
    assert code == 0 and "resuming the training in %s after step %s of %d" % (folder, before.split("-")[-1], STEPS) in stdout
    assert_one_message(
        lines, f"the checkpoint {folder / last} is incomplete; training resumes from {folder / before}", "WARNING:"
    )
    assert weights(folder) == weights(uninterrupted)


def test_a_folder_with_only_damaged_checkpoints_is_refused(paths, uninterrupted, tmp_path):
    folder = tmp_path / "out"
    stopped_copy(uninterrupted, folder)
    for path in glob.glob(str(folder / "*.index")):
        cut(path)
    code, _, lines = end(tiny.start(training_flags(paths, folder)))
    assert code == 2
    assert_one_message(lines, f"none of the checkpoints in {folder} is complete")


def test_training_resumes_with_a_damaged_checkpoint_list(paths, uninterrupted, tmp_path, capsys):
    folder = tmp_path / "out"
    last, _ = stopped_copy(uninterrupted, folder)
    (folder / "checkpoint").write_text("")
    rerun(training_flags(paths, folder))
    assert "after step {} of".format(last.split("-")[-1]) in capsys.readouterr().out
    assert weights(folder) == weights(uninterrupted)


def save_with_huge_gradients(path):
    """Writes a checkpoint with a finite loss whose squared gradients overflow."""
    with tiny.reader(tiny.config()) as (_, session):
        gamma = next(each for each in tf.global_variables() if "layer_1/output/LayerNorm/gamma" in each.name)
        gamma.load(np.full(gamma.shape.as_list(), 1e25, np.float32), session)
        return tf.train.Saver().save(session, str(path), write_meta_graph=False, write_state=False)


@pytest.mark.parametrize(
    "steps_between, wanted", [(1, "step 1, which left NaN or infinite weights"), (20, "step 2, whose loss is nan")]
)
def test_nan_stops_the_training(paths, tmp_path, steps_between, wanted):
    huge = save_with_huge_gradients(tmp_path / "huge.ckpt")
    code, _, lines = end(
        tiny.start(training_flags(paths, tmp_path, init_checkpoint=huge, save_checkpoints_steps=steps_between))
    )
    assert code == 1
    if tf.__version__.startswith("1.13."):  # it checks the norm of the gradients itself
        wanted = "NaN or infinite gradients ("
    assert_one_message(lines, "error: training stopped at " + wanted)
    last = tf.train.latest_checkpoint(str(tmp_path))
    assert f"the last good checkpoint is {last}; train again with a smaller --learning_rate" in "".join(lines)
    reader = tf.train.load_checkpoint(last)
    for name in reader.get_variable_to_shape_map():
        assert np.isfinite(reader.get_tensor(name)).all(), name
    for path in glob.glob(str(tmp_path / "model.ckpt-*.index")):
        assert int(path.split("-")[-1].split(".")[0]) <= int(last.split("-")[-1])


def test_damaged_training_records_are_reported(paths, tmp_path):
    flags = training_flags(paths, tmp_path)
    process = tiny.start(flags)
    wait_for(process, tmp_path / "model.ckpt-0.index")
    (tmp_path / "train.tf_record").write_bytes(b"x" * 3000)
    code, _, lines = end(process)
    assert code == 1
    assert_one_message(lines, "the records %s were damaged or removed" % (tmp_path / "train.tf_record"))
