# SPDX-License-Identifier: Apache-2.0
"""Tests that results are recorded under what they were computed from, and are never believed for
the name of a file.
"""

import csv
import glob
import os
import shutil

import numpy as np
import pytest
import tiny

from mrc import datasets
from mrc.experiment import (
    attention_window,
    forward_pass,
    inputs,
    partial_results,
    prediction,
    provenance,
    run_record,
    training,
)
from mrc.experiment import run as experiment
from mrc.util import array_files, files

OTHER = "other.ckpt"


@pytest.fixture
def model(tmp_path):
    """Flags of a reader of its own, with another checkpoint beside it."""
    folder = tmp_path / "model"
    paths = tiny.make_folder(folder)
    tiny.save_checkpoint(folder / OTHER, tiny.config(), seed=2)
    return dict(
        tiny.model_flags(paths, output_dir=str(tmp_path / "out"), predict_file=paths["squad"]), train_file=paths["squad"]
    )


def run(flags, **changes):
    experiment.run(datasets.SQUAD, tiny.flag_values(**dict(flags, **changes)))


def replace_checkpoint(flags):
    folder = os.path.dirname(flags["init_checkpoint"])
    for suffix in (".index", ".data-00000-of-00001"):
        shutil.copy(os.path.join(folder, OTHER + suffix), flags["init_checkpoint"] + suffix)


def after(monkeypatch, module, name, action):
    """Makes `module.name` call `action` once it is done, for the first time only."""
    function, actions = getattr(module, name), [action]

    def wrapped(*args, **kwargs):
        result = function(*args, **kwargs)
        while actions:
            actions.pop()()
        return result

    monkeypatch.setattr(module, name, wrapped)


def results(folder):
    return {
        os.path.basename(path): open(path, "rb").read()
        for pattern in ("*predictions*.json", "attention*.csv", "*.npz", "model.ckpt-*")
        for path in glob.glob(os.path.join(str(folder), "**", pattern), recursive=True)
        if "features" not in path
    }


@pytest.mark.parametrize("task", ["do_predict", "do_attention"])
def test_a_checkpoint_replaced_before_it_is_restored_leaves_no_results(model, monkeypatch, capsys, task):
    after(monkeypatch, forward_pass, "make_windows", lambda: replace_checkpoint(model))
    with pytest.raises(SystemExit) as caught:
        run(model, **{task: True})
    assert caught.value.code == 2
    assert f"{model['init_checkpoint']} was replaced after this run read it" in (capsys.readouterr().err)
    assert results(model["output_dir"]) == {}
    run(model, **{task: True})  # with the new checkpoint from the start
    cells = tiny.read_json(model["output_dir"], "cells.json")
    (entry,) = cells.values()
    assert entry["made_from"]["checkpoint"] == provenance.checkpoint_sha256(model["init_checkpoint"])


def test_training_does_not_start_from_a_replaced_checkpoint(model, monkeypatch, capsys):
    after(monkeypatch, training, "make_windows", lambda: replace_checkpoint(model))
    with pytest.raises(SystemExit):
        run(model, do_train=True)
    assert "was replaced after this run read it" in capsys.readouterr().err
    assert results(model["output_dir"]) == {}


@pytest.mark.parametrize("flag", ["bert_config_file", "vocab_file"])
def test_a_model_file_replaced_by_an_import_is_noticed(model, monkeypatch, capsys, flag):
    def append():
        with open(model[flag], "a") as writer:
            writer.write("\n")

    after(monkeypatch, forward_pass, "make_windows", append)
    with pytest.raises(SystemExit):
        run(model, do_predict=True)
    assert f"{model[flag]} was replaced after this run read it" in capsys.readouterr().err


@pytest.mark.parametrize(
    "flag, reader",
    [
        ("predict_file", (inputs.squad_format, "read")),
        ("bert_config_file", (inputs.bert_config, "read")),
        ("vocab_file", (inputs.tokenization, "read_vocabulary")),
    ],
)
def test_a_file_replaced_before_it_is_read_is_recorded_as_it_was_read(model, monkeypatch, flag, reader):
    module, name = reader
    read = getattr(module, name)

    def replace_and_read(path, *args):
        with open(path, "a") as writer:
            writer.write("\n\n")
        wanted.append(files.sha256(path))
        value = read(path, *args)
        with open(path, "a") as writer:
            writer.write("\n")
        return value

    wanted = []
    monkeypatch.setattr(module, name, replace_and_read)
    read_inputs = tiny.read_inputs(datasets.SQUAD, do_predict=True, **model)
    assert dict(read_inputs.hashes())[flag] == wanted[0]


def test_a_file_that_changes_between_two_reads_is_an_error(model, monkeypatch):
    def append():
        with open(model["train_file"], "a") as writer:
            writer.write("\n")

    after(monkeypatch, inputs.squad_format, "read", append)
    with pytest.raises(files.ChangedFile, match="squad.json changed while it was in use"):
        tiny.read_inputs(datasets.SQUAD, do_train=True, do_predict=True, **model)


def test_answers_replaced_after_their_check_are_not_scored(model, monkeypatch, capsys):
    run(model, do_predict=True)
    path = os.path.join(model["output_dir"], "predictions_layer_.json")
    after(monkeypatch, prediction, "check_answer_files", lambda: tiny.write_json(path, {"colour": "green"}))
    with pytest.raises(SystemExit):
        run(model, do_eval=True)
    assert f"{path} changed while it was in use" in capsys.readouterr().err


def test_scoring_answers_of_two_readers_causes_a_warning(model, monkeypatch):
    warnings = []
    monkeypatch.setattr(prediction, "warn", warnings.append)
    run(model, do_predict=True)
    replace_checkpoint(model)
    # A reader that is trained further in the folder may leave such answers.
    monkeypatch.setattr(prediction, "check_reader", lambda inputs: None)
    run(model, do_predict=True, mask_zone="q2", mask_layer="0")
    run(model, do_eval=True, mask_zone="q2", mask_layer="0")
    assert warnings == []
    shutil.copy(
        os.path.join(model["output_dir"], "predictions_layer0_q2.json"),
        os.path.join(model["output_dir"], "predictions_layer0_p2.json"),
    )
    run(model, do_eval=True, mask_zone="q2,p2", mask_layer="0")
    assert len(warnings) == 1 and "were decoded with another checkpoint" in warnings[0]


def test_cells_that_a_later_grid_leaves_out_cause_a_warning(model, monkeypatch):
    warnings = []
    monkeypatch.setattr(run_record, "warn", warnings.append)
    run(model, do_predict=True, do_eval=True, mask_zone="q2,p2", mask_layer="each")
    run(model, do_eval=True, mask_zone="q2,p2", mask_layer="each")
    run(model, do_eval=True, mask_zone="q2", mask_layer="0")  # a single cell has no tables
    assert warnings == []
    run(model, do_eval=True, mask_zone="q2", mask_layer="each")
    assert len(warnings) == 1 and "(2, such as that of predictions_layer0_p2.json)" in warnings[0]
    run(model, do_eval=True, mask_zone="q2", mask_layer="each")  # has been said
    assert len(warnings) == 1


def test_a_folder_belongs_to_one_reader(model, capsys):
    run(model, do_predict=True)
    answers = os.path.join(model["output_dir"], "predictions_layer_.json")
    before = tiny.read_json(answers)
    replace_checkpoint(model)
    with pytest.raises(SystemExit) as error:
        run(model, do_predict=True)
    assert error.value.code == 2
    assert "has the answers of another reader" in capsys.readouterr().err
    assert tiny.read_json(answers) == before


def test_n_best_lists_of_earlier_answers_are_not_read(model, monkeypatch):
    warnings = []
    monkeypatch.setattr(prediction, "warn", warnings.append)
    grid = dict(mask_zone="q2,p2", mask_layer="0")
    run(model, do_predict=True, **grid)
    run(model, do_predict=True, mask_zone="q2", mask_layer="0", max_answer_length=2)
    run(model, do_eval=True, **grid)
    assert [text for text in warnings if "is not read" in text] == [
        "nbest_predictions_layer0_q2.json is not of the answers in predictions_layer0_q2.json and is not read; decode "
        "the grid again for the changes of log probability"
    ]
    with open(os.path.join(model["output_dir"], "questions.csv"), encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    assert {row["zone"]: row["logp_change"] != "" for row in rows} == {"": True, "q2": False, "p2": True}


def test_a_cell_alone_is_scored_without_its_n_best_list(model, monkeypatch):
    warnings = []
    monkeypatch.setattr(prediction, "warn", warnings.append)
    for zone in ("q2", "p2"):  # both write nbest_predictions.json
        run(model, do_predict=True, mask_zone=zone, mask_layer="0")
    run(model, do_eval=True, mask_zone="q2", mask_layer="0")
    assert warnings == []


@pytest.mark.parametrize("alone", [False, True])
def test_effects_name_the_reader_that_answered(model, paths, alone):
    grid = dict(mask_zone="q2,p2", mask_layer="0")
    training = dict(do_train=True, train_file=paths["squad"], rand_seed=7, train_batch_size=2)
    run(model, do_predict=True, do_eval=not alone, **training, **grid)
    if alone:
        run(model, do_eval=True, **grid)
    with open(os.path.join(model["output_dir"], "effects.csv"), encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    folder = os.path.basename(model["output_dir"])
    assert {(row["reader"], row["seed"]) for row in rows} == {(folder, "7")}


def test_scoring_cells_of_two_zones_files_causes_a_warning(model, monkeypatch, tmp_path):
    warnings = []
    monkeypatch.setattr(prediction, "warn", warnings.append)
    grid = dict(mask_zone="passage-focus,p2", zones_file=str(tmp_path / "zones.json"))
    for layer, stop in (("0", 4), ("1", 10)):
        zones = {"colour": {"focus": {"question": [[0, stop]]}}}
        tiny.write_json(tmp_path / "zones.json", zones)
        run(model, do_predict=True, mask_layer=layer, **grid)
        run(model, do_eval=True, mask_layer=layer, **grid)
    before = len(warnings)
    cells = tiny.read_json(model["output_dir"], "cells.json")
    assert len({cell["made_from"]["zones_file"] for cell in cells.values()}) == 2
    run(model, do_eval=True, mask_layer="0,1", **grid)
    assert len(warnings) == before + 1 and "another zones_file" in warnings[-1]


class Stop(Exception):
    """Ends a run after its first partial results."""


def interrupted(model, monkeypatch, **changes):
    """Runs until the first partial results are on disk; returns their folder."""

    def write_and_stop(path, *args, write=array_files.write):
        write(path, *args)
        if "unfinished" in path:
            raise Stop()

    with monkeypatch.context() as patch:
        patch.setattr(partial_results, "SECONDS_IN_PART", 0)
        patch.setattr(array_files, "write", write_and_stop)
        with pytest.raises(Stop):
            run(model, **changes)
    (folder,) = glob.glob(os.path.join(model["output_dir"], "unfinished-*"))
    return folder


KINDS = {"prediction": (dict(do_predict=True), "part-000000.npz"), "attention": (dict(do_attention=True), "attention.npz")}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_partial_results_of_another_mask_are_not_believed(model, monkeypatch, tmp_path, kind):
    task, name = KINDS[kind]
    run(model, output_dir=str(tmp_path / "whole"), **task)
    other = interrupted(model, monkeypatch, mask_zone="p2", **task)
    shutil.move(other, str(tmp_path / "other"))
    folder = interrupted(model, monkeypatch, **task)
    shutil.copy(str(tmp_path / "other" / name), os.path.join(folder, name))
    run(model, **task)
    assert results(model["output_dir"]) == results(tmp_path / "whole")


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_edited_partial_results_are_not_believed(model, monkeypatch, tmp_path, kind, signed):
    task, name = KINDS[kind]
    run(model, output_dir=str(tmp_path / "whole"), **task)
    path = os.path.join(interrupted(model, monkeypatch, **task), name)
    arrays = dict(np.load(path))
    if not signed:  # as earlier versions wrote them
        del arrays["made_from"], arrays["sha256"]
    if kind == "prediction":
        arrays["start_places"] = np.roll(arrays["start_places"], 1, axis=0)
    else:
        arrays["sums"] = arrays["sums"] + 1.0
    np.savez(path, **arrays)
    run(model, **task)
    assert results(model["output_dir"]) == results(tmp_path / "whole")


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_partial_results_of_earlier_versions_are_resumed(model, monkeypatch, tmp_path, kind, capsys):
    task, name = KINDS[kind]
    run(model, output_dir=str(tmp_path / "whole"), **task)
    folder = interrupted(model, monkeypatch, **task)
    arrays = dict(np.load(os.path.join(folder, name)))
    del arrays["made_from"], arrays["sha256"]
    np.savez(os.path.join(folder, name), **arrays)
    note = tiny.read_json(folder, "made_from.json")
    assert note.pop("signed_files")
    tiny.write_json(os.path.join(folder, "made_from.json"), note)
    run(model, **task)
    assert "resuming the " in capsys.readouterr().out
    assert results(model["output_dir"]) == results(tmp_path / "whole")


def test_records_of_another_seed_are_not_believed(model, tmp_path):
    flags = dict(model, do_train=True)
    run(flags, output_dir=str(tmp_path / "other"), rand_seed=1)
    run(flags, output_dir=str(tmp_path / "whole"))
    run(flags)
    for path in glob.glob(os.path.join(model["output_dir"], "*ckpt*")):
        os.remove(path)
    os.remove(os.path.join(model["output_dir"], "checkpoint"))
    shutil.copy(str(tmp_path / "other" / "train.tf_record"), model["output_dir"])
    run(flags)
    both = [results(folder) for folder in (model["output_dir"], tmp_path / "whole")]
    assert both[0]["model.ckpt-4.index"] == both[1]["model.ckpt-4.index"]


def test_records_replaced_during_training_leave_no_checkpoint(model, monkeypatch, capsys):
    path = os.path.join(model["output_dir"], training.RECORDS_FILE)

    def append():
        with open(path, "ab") as writer:
            writer.write(b"x")

    after(monkeypatch, training, "write_records", append)
    with pytest.raises(SystemExit) as caught:
        run(model, do_train=True)
    assert caught.value.code == 1
    assert f"the records {path} were changed during training" in capsys.readouterr().err
    assert results(model["output_dir"]) == {}


def test_answers_of_a_replaced_checkpoint_or_data_are_not_shown_beside_the_new_one(model, monkeypatch):
    warnings, folder = [], model["output_dir"]
    monkeypatch.setattr(attention_window, "warn", warnings.append)
    run(model, do_predict=True, mask_zone="q2,p2", mask_layer="0")

    def shown():
        del warnings[:]
        read = attention_window.read_inputs(folder)
        return attention_window.masked_answers(folder, "colour", read)

    assert len(shown()) == 3 and warnings == []
    data = tiny.read_json(model["predict_file"])
    data["version"] = "changed"
    tiny.write_json(model["predict_file"], data)
    assert shown() == {} and "was decoded with another predict_file" in warnings[0]
    run(model, do_predict=True, mask_zone="q2,q2p", mask_layer="0")
    assert len(shown()) == 3 and "layer0_p2.json is left out" in warnings[0]
    replace_checkpoint(model)
    assert shown() == {} and "was decoded with another checkpoint" in warnings[0]


def test_a_run_with_relative_paths_is_read_from_another_folder(model, monkeypatch, tmp_path):
    relative = {
        name: os.path.relpath(value, str(tmp_path)) if isinstance(value, str) else value for name, value in model.items()
    }
    monkeypatch.chdir(str(tmp_path))
    run(relative, do_predict=True)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(str(tmp_path / "elsewhere"))
    read = attention_window.read_inputs(os.path.join("..", "out"))
    assert attention_window.read_window(read, "colour").tokens
    assert len(attention_window.masked_answers(os.path.join("..", "out"), "colour", read)) == 1
