# SPDX-License-Identifier: Apache-2.0
"""Tests of deferred signals, the lock of an output folder and errors that cannot be provoked."""

import contextlib
import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys

import pytest
import tensorflow.compat.v1 as tf
import tiny

from mrc import datasets
from mrc.experiment import explain, session_hooks, training_record
from mrc.experiment import run as experiment
from mrc.util import errors, locks, signals


@pytest.fixture(autouse=True)
def default_sigint():
    """Handles Ctrl-C as in a terminal; background jobs of a shell ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_other_work_at_once(number):
    with pytest.raises(errors.Stopped) as caught, signals.SignalHandler():
        os.kill(os.getpid(), number)
    assert caught.value.number == number
    assert str(caught.value) == f"stopped by {number.name}; rerun the same command to resume"


def test_ctrl_c_during_imports_exits_silently():
    program = (
        "import os, signal; from mrc.util import signals; %s; signals.exit_quietly_on_interrupt(); "
        "os.kill(os.getpid(), signal.SIGINT); print('continues')"
    )
    for before, wanted, output in (
        ("pass", -signal.SIGINT, ""),
        ("signal.signal(signal.SIGINT, signal.SIG_IGN)", 0, "continues\n"),
    ):
        process = subprocess.Popen(
            [sys.executable, "-c", program % before],
            cwd=tiny.ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
        )
        stdout, stderr = process.communicate()
        assert (process.returncode, stdout, stderr) == (wanted, output, "")


def test_only_the_third_signal_ends_deferred_work_at_once(monkeypatch, capfd):
    before, kill, killed = signal.getsignal(signal.SIGINT), os.kill, []
    with signals.SignalHandler() as handler, handler.deferred():
        kill(os.getpid(), signal.SIGINT)
        assert handler.received == signal.SIGINT and capfd.readouterr().err == ""
        kill(os.getpid(), signal.SIGINT)
        assert "stopping: the current step is finished first (Ctrl-\\ to quit at once)" in capfd.readouterr().err
        monkeypatch.setattr(os, "kill", lambda *what: killed.append(what))
        signal.getsignal(signal.SIGINT)(signal.SIGINT, None)
        assert killed == [(os.getpid(), signal.SIGINT)] and signal.getsignal(signal.SIGINT) == signal.SIG_DFL
        with pytest.raises(errors.Stopped, match="stopped by SIGINT: half is done; rerun"):
            handler.check("half is done")
    assert signal.getsignal(signal.SIGINT) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_an_ignored_signal_stays_ignored(number):
    """As in a background job of a shell, and under nohup."""
    before = signal.signal(number, signal.SIG_IGN)
    with signals.SignalHandler() as handler:
        handler.reinstall()
        os.kill(os.getpid(), number)
    signal.signal(number, before)
    assert handler.received is None


def test_ctrl_c_is_handled_again_after_tpu_estimator():
    with signals.SignalHandler() as handler, handler.deferred():
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        session_hooks.StopOnSignalHook(handler).before_run(None)
        os.kill(os.getpid(), signal.SIGINT)
        assert handler.received == signal.SIGINT


def test_a_lack_of_memory_is_reported(capsys):
    with pytest.raises(SystemExit) as caught, errors.exit_with_message():
        raise MemoryError
    assert caught.value.code == 1
    assert capsys.readouterr().err.startswith("error: not enough memory; end other programs or ")


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_only_one_run_can_use_a_folder(tmp_path, scheme):
    folder = scheme + str(tmp_path)
    with locks.held(folder):
        message = r"another run is using .* \(process %d on .*, since " % os.getpid()
        with pytest.raises(errors.InputError, match=message):
            with locks.held(folder):
                pass
    with locks.held(folder):  # and again, though the file stays
        assert os.listdir(str(tmp_path)) == [locks.LOCK_FILE]


def test_shards_of_one_run_share_a_folder(tmp_path):
    folder, process = str(tmp_path), rf"another run is using .* \(process {os.getpid()} on "
    with locks.held(folder, "1-of-2"), locks.held(folder, "2-of-2"):
        with pytest.raises(errors.InputError, match=process):
            with locks.held(folder, "2-of-2"):
                pass
        shards = r"another run is using .* \(shards: each names its process in shard-\*\.lock\); "
        with pytest.raises(errors.InputError, match=shards):
            with locks.held(folder):
                pass
    assert sorted(os.listdir(folder)) == ["run.lock", "shard-1-of-2.lock", "shard-2-of-2.lock"]
    with locks.held(folder):
        assert os.listdir(folder) == ["run.lock"]
        with pytest.raises(errors.InputError, match=process):
            with locks.held(folder, "1-of-2"):
                pass
    assert os.listdir(folder) == ["run.lock"]


def test_a_deleted_lock_file_does_not_admit_a_second_run(tmp_path):
    with locks.held(str(tmp_path)):
        (tmp_path / locks.LOCK_FILE).unlink()
        for _ in range(2):
            with pytest.raises(errors.InputError, match=r"another run is using .* names no process"):
                with locks.held(str(tmp_path)):
                    pass
    with locks.held(str(tmp_path)):
        assert f"process {os.getpid()} on" in (tmp_path / locks.LOCK_FILE).read_text()


def test_an_unwritable_lock_file_is_reported(tmp_path):
    (tmp_path / locks.LOCK_FILE).mkdir()  # for root, too, unlike the file of another user
    with pytest.raises(errors.InputError, match=r"run\.lock is not writable \(Is a directory\); have it deleted, or "):
        with locks.held(str(tmp_path)):
            pass


def test_there_is_no_lock_in_a_bucket(monkeypatch):
    monkeypatch.setattr(os, "open", None)
    folder = "gs://bucket/folder"
    with locks.held(folder), locks.held(folder), locks.held(folder, "1-of-2"):
        pass


@pytest.mark.parametrize("shard", [None, "1-of-2"])
def test_a_file_system_without_locks_causes_a_warning(tmp_path, monkeypatch, shard):
    warnings = []

    def no_locks(descriptor, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    monkeypatch.setattr(tf.logging, "warning", lambda text, *values: warnings.append(text % values))
    with locks.held(str(tmp_path), shard):
        assert warnings == [
            f"the file system of {tmp_path} has no locks (No locks available); make sure that no other run uses it"
        ]


def test_a_training_just_before_the_lock_is_reported(paths, tmp_path, monkeypatch, capsys):
    def trains(folder, shard):
        (tmp_path / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-2"\n')
        (tmp_path / "model.ckpt-2.index").write_text("")
        return contextlib.suppress()

    monkeypatch.setattr(locks, "held", trains)
    flags = tiny.model_flags(paths, output_dir=str(tmp_path), do_train=True, train_file=paths["squad"])
    with pytest.raises(SystemExit) as caught:
        experiment.run(datasets.SQUAD, tiny.flag_values(**flags))
    assert caught.value.code == 2 and f"another run trained in {tmp_path} while" in capsys.readouterr().err


@pytest.fixture
def folder(tmp_path):
    """The output folder of a running training."""
    (tmp_path / training_record.TRAINING_FILE).write_text("{}")
    return str(tmp_path)


class Op:
    def __init__(self, kind):
        self.type = kind


@pytest.mark.parametrize(
    "error, wanted",
    [
        (tf.errors.ResourceExhaustedError(None, None, "No space left on device"), "a checkpoint in .* cannot be written"),
        (tf.errors.UnknownError(None, Op("SaveV2"), "EIO\nmore"), r"cannot be written \(EIO\); check"),
        (tf.errors.ResourceExhaustedError(None, Op("MatMul"), "OOM when allocating"), "use a smaller --train_batch_size"),
        (tf.errors.ResourceExhaustedError(None, None, "OOM when allocating"), "use a smaller --train_batch_size"),
        (
            tf.errors.InvalidArgumentError(None, Op("CheckNumerics"), "Gradient for w is NaN : Tensor"),
            r"stopped at NaN or infinite gradients \(Gradient for w is NaN : Tensor\); there " r"is no checkpoint yet",
        ),
        (tf.errors.DataLossError(None, Op("IteratorGetNext"), "cut"), r"the records r were damaged or removed .* \(cut\)"),
    ],
)
def test_training_errors_are_explained(folder, error, wanted):
    with pytest.raises(errors.Fault, match=wanted):
        with explain.explain_training_errors(folder, "r"):
            raise error


@pytest.mark.parametrize(
    "error",
    [
        tf.errors.UnavailableError(None, None, "the worker is gone"),
        tf.errors.InternalError(None, None, "GPU sync failed"),
        tf.errors.DataLossError(None, Op("RestoreV2"), "cut"),
        tf.errors.InvalidArgumentError(None, Op("MatMul"), "shapes"),
        ValueError("a shape"),
    ],
)
def test_other_errors_are_raised_unchanged(folder, error):
    with pytest.raises(type(error)):
        with explain.explain_training_errors(folder, "r"):
            raise error


@pytest.mark.parametrize(
    "error, wanted",
    [
        (tf.errors.ResourceExhaustedError(None, Op("MatMul"), "OOM when allocating"), "or fewer cells at a time"),
        (tf.errors.InternalError(None, None, "GPU sync failed\nmore"), r"InternalError: GPU sync failed; fix the cause"),
    ],
)
def test_uncaught_tensorflow_errors_are_reported(error, wanted):
    with pytest.raises(errors.Fault, match=wanted), explain.explain_tensorflow_errors(verbose=False):
        raise error
    with pytest.raises(type(error)), explain.explain_tensorflow_errors(verbose=True):
        raise error


def test_a_folder_that_tensorflow_created_again_is_reported_as_removed(tmp_path):
    with pytest.raises(errors.Fault, match="the output folder .* was removed during training"):
        with explain.explain_training_errors(str(tmp_path), "r"):
            raise tf.errors.NotFoundError(None, Op("IteratorGetNext"), "r; No such file or directory")


def test_a_folder_removed_during_checkpointing_is_reported(tmp_path, monkeypatch):
    folder = str(tmp_path / "out")
    checkpoint_management = sys.modules[tf.train.Saver.__module__].checkpoint_management
    write = checkpoint_management.update_checkpoint_state_internal

    def write_too_late(*args, **kwargs):
        shutil.rmtree(folder)
        write(*args, **kwargs)

    monkeypatch.setattr(checkpoint_management, "update_checkpoint_state_internal", write_too_late)
    with tf.Graph().as_default(), tf.Session() as session:
        session.run(tf.get_variable("a", [], initializer=tf.zeros_initializer()).initializer)
        with pytest.raises(errors.Fault, match="the output folder .* was removed during training"):
            with explain.explain_training_errors(folder, "r"):
                tf.train.Saver().save(session, os.path.join(folder, "model.ckpt"))


@pytest.mark.parametrize(
    "exception, code, text",
    [
        (errors.InputError("a"), 2, "error: a\n"),
        (errors.Fault("b"), 1, "error: b\n"),
        (errors.Stopped(signal.SIGINT), 130, "stopped by SIGINT; rerun the same command to resume\n"),
        (errors.Stopped(signal.SIGTERM, "c"), 143, "stopped by SIGTERM: c; rerun the same command to resume\n"),
    ],
)
def test_exit_codes(capsys, exception, code, text):
    with pytest.raises(SystemExit) as caught, errors.exit_with_message():
        raise exception
    assert caught.value.code == code and capsys.readouterr().err == text


def test_the_first_line_of_a_graph_execution_error_is_its_cause():
    text = (
        "Graph execution error:\n\nDetected at node 'save/SaveV2' defined at:\n"
        "  run.py, in memory()\nNode: 'save/SaveV2'\n"
        "/out/model.ckpt; No space left on device\n\t [[{{node save/SaveV2}}]]"
    )
    error = tf.errors.ResourceExhaustedError(None, None, text)
    assert errors.first_line(error) == "/out/model.ckpt; No space left on device"
