# SPDX-License-Identifier: Apache-2.0
"""Whole runs with --precision=bfloat16: repeated, resumed, and never mixed with float32."""

import pytest
import tensorflow.compat.v1 as tf
import tiny

from mrc import datasets
from mrc.experiment import partial_results, prediction, session_hooks
from mrc.experiment import run as experiment
from mrc.model import precision
from mrc.util.tensorflow_versions import IS_TF2

pytestmark = pytest.mark.skipif(not IS_TF2, reason="TensorFlow 1 has no bfloat16 on a CPU")
GRID = dict(mask_zone="q2,p2q", mask_layer="each", mask_head="0")


@pytest.fixture(autouse=True)
def any_cpu(monkeypatch):
    """Any CPU computes what only some compute fast."""
    monkeypatch.setattr(precision, "cpu_has_bfloat16", lambda: True)


def decode(paths, folder, **changes):
    flags = dict(tiny.model_flags(paths, predict_file=paths["squad"]), output_dir=str(folder))
    flags.update(dict(do_predict=True, precision="bfloat16"), **changes)
    experiment.run(datasets.SQUAD, tiny.flag_values(**flags))


def answers(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if "predictions" in path.name}


def test_runs_repeat_and_resume_with_the_same_bytes(paths, tmp_path, monkeypatch, capsys):
    decode(paths, tmp_path / "one", predict_batch_size=2, **GRID)
    decode(paths, tmp_path / "two", predict_batch_size=2, **GRID)
    whole = answers(tmp_path / "one")
    assert answers(tmp_path / "two") == whole

    class Stopped(Exception):
        pass

    add, added = partial_results.PartialResults.add, []

    def add_two(self, *arguments):
        add(self, *arguments)
        added.append(arguments)
        if len(added) == 2:
            raise Stopped()

    with monkeypatch.context() as patch:
        patch.setattr(partial_results.PartialResults, "add", add_two)
        with pytest.raises(Stopped):
            decode(paths, tmp_path / "stopped", predict_batch_size=2, **GRID)
    capsys.readouterr()
    decode(paths, tmp_path / "stopped", predict_batch_size=2, **GRID)
    assert f"resuming the decoding in {tmp_path / 'stopped'}: 4 of" in capsys.readouterr().out
    assert answers(tmp_path / "stopped") == whole


@pytest.fixture
def warned(monkeypatch):
    """The warnings so far."""
    found = []
    monkeypatch.setattr(tf.logging, "warning", lambda text, *more: found.append(text % more))
    return found


def test_precisions_do_not_mix(paths, tmp_path, warned, monkeypatch):
    decode(paths, tmp_path, precision="float32")
    cells = tiny.read_json(tmp_path, "cells.json")
    assert all("precision" not in cell["made_from"] for cell in cells.values())
    exact = answers(tmp_path)
    decode(paths, tmp_path)
    assert warned[-1] == ("decoding again: predictions_layer_.json (made with another precision)")
    assert answers(tmp_path) != exact
    with monkeypatch.context() as patch:
        patch.setattr(prediction.forward_pass, "results_of", None)  # is not needed again
        decode(paths, tmp_path)
    decode(paths, tmp_path, precision="float32")
    assert answers(tmp_path) == exact


def test_unfinished_work_of_the_other_precision_is_not_used(paths, tmp_path, warned, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(prediction, "decode", None)  # fails after the forward pass
        with pytest.raises(TypeError):
            decode(paths, tmp_path, precision="float32")
    decode(paths, tmp_path)
    assert "holds unfinished work with another precision; it is not used" in warned[-1]


def train(paths, folder, **changes):
    flags = tiny.model_flags(paths, train_file=paths["squad"], do_train=True, train_batch_size=2)
    flags.update(num_train_epochs=2, save_checkpoints_steps=2, output_dir=str(folder), **changes)
    experiment.run(datasets.SQUAD, tiny.flag_values(**flags))
    reader = tf.train.load_checkpoint(tf.train.latest_checkpoint(str(folder)))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def test_training_repeats_and_keeps_its_weights_in_float32(paths, tmp_path):
    one, two, exact = (train(paths, tmp_path / name, precision=name[:-1]) for name in ("bfloat161", "bfloat162", "float320"))
    for name, weights in one.items():
        assert (weights == two[name]).all() and weights.dtype == exact[name].dtype
    name = "bert/encoder/layer_0/output/dense/kernel"
    assert (one[name] != exact[name]).any() and one[name].dtype == "float32"


def test_a_training_ends_in_the_precision_in_which_it_was_begun(paths, tmp_path, monkeypatch, capsys):
    class Stopped(Exception):
        pass

    def stop(self, context, values):
        if context.session.run(tf.train.get_global_step()) == 3:
            raise Stopped()

    whole = train(paths, tmp_path / "whole", precision="float32")
    with monkeypatch.context() as patched, pytest.raises(Stopped):
        patched.setattr(session_hooks.NanLossHook, "after_run", stop)
        train(paths, tmp_path / "resumed", precision="float32")
    changes = dict(precision="bfloat16", trim_padding=True)
    resumed = train(paths, tmp_path / "resumed", **changes)
    assert "was begun without --trim_padding and --precision" in capsys.readouterr().out
    assert all((weights == whole[name]).all() for name, weights in resumed.items())
    train(paths, tmp_path / "other", precision="bfloat16")
    with pytest.raises(SystemExit):
        train(paths, tmp_path / "other", precision="float32")
    assert "another precision" in capsys.readouterr().err


def test_attention_is_in_float32(paths, tmp_path):
    decode(paths, tmp_path / "both", do_attention=True)
    decode(paths, tmp_path / "alone", do_predict=False, do_attention=True, precision="float32")
    both, alone = ((tmp_path / name / "attention.csv").read_bytes() for name in ("both", "alone"))
    assert both == alone
