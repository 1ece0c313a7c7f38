# SPDX-License-Identifier: Apache-2.0
"""Tests of whole runs on the tiny model: training, masked prediction, scores, reproducibility."""

import glob
import os
import shutil

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tiny

from mrc import datasets
from mrc.experiment import run as experiment
from mrc.experiment import training_record

ALL_STEPS = ["--do_train", "--do_predict", "--do_eval"]


def script_run(script, words, paths, output_dir, **changes):
    """Runs a script, checks that it succeeds, and returns its stdout."""
    code, stdout, stderr = tiny.run(script, *words, **tiny.model_flags(paths, output_dir=str(output_dir), **changes))
    assert code == 0, stderr
    return stdout


def run_here(dataset, paths, output_dir, **changes):
    """Runs an experiment in this process."""
    changes.setdefault("do_lower_case", dataset.do_lower_case)
    experiment.run(dataset, tiny.flag_values(**tiny.model_flags(paths, output_dir=str(output_dir), **changes)))


def tensors(folder):
    """Returns {name: array} of the last checkpoint in `folder`."""
    reader = tf.train.load_checkpoint(tf.train.latest_checkpoint(str(folder)))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def assert_same_tensors(folder, other):
    ours, theirs = tensors(folder), tensors(other)
    assert set(ours) == set(theirs)
    for name, array in ours.items():
        np.testing.assert_array_equal(array, theirs[name], err_msg=name)


def names_in(folder, pattern="*.json"):
    return {os.path.basename(path) for path in glob.glob(os.path.join(str(folder), pattern))}


def question_ids(data):
    return {
        question["id"] for article in data["data"] for paragraph in article["paragraphs"] for question in paragraph["qas"]
    }


def assert_whole(folder, data, cell="layer_", suffix=""):
    """Checks that each question has its best n-best entry as answer; returns the predictions."""
    predictions = tiny.read_json(folder, f"predictions_{cell}.json")
    lists = tiny.read_json(folder, f"nbest_predictions{suffix}.json")
    assert set(predictions) == set(lists) == question_ids(data)
    for question_id, entries in lists.items():
        assert sum(entry["probability"] for entry in entries) == pytest.approx(1)
        probabilities = [entry["probability"] for entry in entries]
        assert probabilities == sorted(probabilities, reverse=True)
        assert predictions[question_id] == entries[0]["text"]
    return predictions


@pytest.fixture(scope="module")
def trained(paths, tmp_path_factory):
    """Folder and stdout of a run that trains, predicts and scores SQuAD."""
    folder = tmp_path_factory.mktemp("squad")
    return folder, script_run(
        "run_squad.py", ALL_STEPS, paths, folder, train_file=paths["squad"], predict_file=paths["squad"]
    )


def test_squad_in_one_run(paths, trained):
    folder, stdout = trained
    predictions = assert_whole(folder, tiny.squad())
    for text in predictions.values():
        assert text in tiny.LANTERN or text in tiny.BRIDGE
    scores = tiny.read_json(folder, "scores.json")["layer_"]
    assert scores["total"] == 4 and "predictions_layer_.json: {" in stdout
    assert tensors(folder)["global_step"] == 4  # 4 examples, batches of 2, 2 epochs
    assert (folder / "train.tf_record").exists() and not glob.glob(str(folder / "*.tmp"))
    assert not names_in(folder, "unfinished*")


def test_training_moves_the_weights(paths, trained):
    before, after = tf.train.load_checkpoint(paths["init_checkpoint"]), tensors(trained[0])
    for name in before.get_variable_to_shape_map():
        moved = np.abs(after[name] - before.get_tensor(name)).max()
        assert (moved > 0) == ("pooler" not in name), name


def test_separate_prediction_equals_the_joint_run(paths, trained, tmp_path):
    folder = tmp_path / "apart"
    shutil.copytree(str(trained[0]), str(folder), ignore=shutil.ignore_patterns("*.json"))
    # The folder holds a trained checkpoint, so the initial one does not matter.
    script_run("run_squad.py", ["--do_predict"], paths, folder, predict_file=paths["squad"], predict_batch_size=3)
    for name in ("predictions_layer_.json", "nbest_predictions.json"):
        ours, theirs = tiny.read_json(folder, name), tiny.read_json(trained[0], name)
        if name.startswith("nbest"):
            assert_same_lists(ours, theirs)
        else:
            assert ours == theirs


def test_event_file_has_loss_and_learning_rate(trained):
    tags = set()
    for path in glob.glob(str(trained[0] / "events.out.tfevents.*")):
        for event in tf.train.summary_iterator(path):
            tags.update(value.tag for value in event.summary.value)
    assert {"loss", "learning_rate"} <= tags


def test_masks_act_on_decoding_only_and_the_seed_repeats_a_training(paths, trained, tmp_path):
    run_here(
        datasets.SQUAD,
        paths,
        tmp_path,
        do_train=True,
        do_predict=True,
        train_file=paths["squad"],
        predict_file=paths["squad"],
        mask_zone="q2p+p2",
    )
    assert_same_tensors(tmp_path, trained[0])
    assert_whole(tmp_path, tiny.squad(), "layer_q2p+p2")
    name = "nbest_predictions.json"
    assert tiny.read_json(tmp_path, name) != tiny.read_json(trained[0], name)


def test_zones_of_answers_leave_the_scores_as_they_are(paths, tmp_path):
    """The grid reads where the answers lie, and scores against all of them."""
    data = tiny.squad()
    options = dict(do_predict=True, predict_file=paths["squad"])
    run_here(datasets.SQUAD, paths, tmp_path / "first", **options)
    answers = tiny.read_json(tmp_path / "first", "predictions_layer_.json")
    for paragraph in data["data"][0]["paragraphs"]:
        for question in paragraph["qas"]:
            text = answers[question["id"]]
            start = paragraph["context"].index(text)
            question["answers"].append({"text": text, "answer_start": start})
    tiny.write_json(tmp_path / "data.json", data)
    grid = dict(options, do_eval=True, mask_layer="0", predict_file=str(tmp_path / "data.json"))
    run_here(datasets.SQUAD, paths, tmp_path / "grid", mask_zone="q2,passage-answer", **grid)
    scores = tiny.read_json(tmp_path / "grid", "scores.json")["layer_"]
    assert (scores["exact"], scores["f1"]) == (100.0, 100.0)


def test_another_seed_trains_other_weights(paths, trained, tmp_path):
    run_here(datasets.SQUAD, paths, tmp_path, do_train=True, train_file=paths["squad"], rand_seed=54321)
    weights = "cls/squad/output_weights"
    assert np.abs(tensors(tmp_path)[weights] - tensors(trained[0])[weights]).max() > 0


def test_grid(paths, tmp_path):
    cells = ["layer_", "layer0_p2", "layer0_p2q+p2", "layer0+1_p2", "layer0+1_p2q+p2"]
    stdout = script_run(
        "run_squad.py",
        ["--do_predict", "--do_eval"],
        paths,
        tmp_path,
        predict_file=paths["squad"],
        mask_zone="p2,p2q+p2",
        mask_layer="0,0+1",
    )
    assert names_in(tmp_path, "predictions_*") == {f"predictions_{cell}.json" for cell in cells}
    assert names_in(tmp_path, "nbest_*") == {f"nbest_predictions_{cell}.json" for cell in cells}
    assert list(tiny.read_json(tmp_path, "scores.json")) == cells + ["run"]
    assert "exact match, layers from 1:\n" in stdout and "exact match, layers from 1: " in stdout
    assert "predictions_layer_.json" not in stdout  # no line for each cell
    assert f"report.py {tmp_path} {tmp_path}/report.html; to draw them: " in stdout
    assert f"visualize_zones.py --annotate {tmp_path}/results.csv {tmp_path}/zones.png" in stdout
    for cell in cells:
        assert_whole(tmp_path, tiny.squad(), cell, "_" + cell)
    lists = [tiny.read_json(tmp_path, f"nbest_predictions_{cell}.json") for cell in cells]
    assert all(one != other for number, one in enumerate(lists) for other in lists[:number])


def assert_same_lists(ours, theirs):
    assert set(ours) == set(theirs)
    for question_id, entries in ours.items():
        others = theirs[question_id]
        assert [entry["text"] for entry in entries] == [entry["text"] for entry in others]
        for name in ("start_logit", "end_logit", "probability"):
            wanted = [entry[name] for entry in others]
            assert [entry[name] for entry in entries] == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize("dataset, data", [(datasets.SQUAD, "squad"), (datasets.CMRC2018, "cmrc")])
def test_a_cell_of_a_grid_answers_as_it_does_alone(paths, tmp_path, dataset, data):
    options = dict(do_predict=True, predict_file=paths[data])
    run_here(dataset, paths, tmp_path / "grid", mask_zone="p2q,all", mask_layer="1", **options)
    for zone in (None, "p2q", "all"):
        folder = tmp_path / str(zone)
        run_here(dataset, paths, folder, mask_zone=zone, mask_layer=zone and "1", **options)
        cell = "layer1_" + zone if zone else "layer_"
        assert names_in(folder, "*predictions*") == {f"predictions_{cell}.json", "nbest_predictions.json"}
        assert tiny.read_json(folder, f"predictions_{cell}.json") == tiny.read_json(
            tmp_path / "grid", f"predictions_{cell}.json"
        )
        assert_same_lists(
            tiny.read_json(folder, "nbest_predictions.json"),
            tiny.read_json(tmp_path / "grid", f"nbest_predictions_{cell}.json"),
        )


def test_answers_do_not_depend_on_the_batches(paths, tmp_path):
    for size in (1, 7):
        run_here(
            datasets.SQUAD,
            paths,
            tmp_path / str(size),
            do_predict=True,
            predict_file=paths["squad"],
            predict_batch_size=size,
        )
    assert_same_lists(*(tiny.read_json(tmp_path / size, "nbest_predictions.json") for size in ("1", "7")))


def test_squad_2(paths, tmp_path):
    script_run(
        "run_squad.py",
        ALL_STEPS + ["--version_2_with_negative"],
        paths,
        tmp_path,
        train_file=paths["squad2"],
        predict_file=paths["squad2"],
        null_score_diff_threshold=0.25,
        n_best_size=32,
    )
    predictions = tiny.read_json(tmp_path, "predictions_layer_.json")
    lists = tiny.read_json(tmp_path, "nbest_predictions.json")
    odds = tiny.read_json(tmp_path, "null_odds.json")
    assert set(predictions) == set(lists) == set(odds) == question_ids(tiny.squad2())
    for question_id, entries in lists.items():
        assert [entry["text"] for entry in entries].count("") == 1
        best = next(entry["text"] for entry in entries if entry["text"])
        assert predictions[question_id] == ("" if odds[question_id] > 0.25 else best)
    scores = tiny.read_json(tmp_path, "scores.json")["layer_"]
    assert [scores[name] for name in ("total", "HasAns_total", "NoAns_total")] == [6, 4, 2]
    assert "best_exact_thresh" in scores


def test_cmrc(paths, tmp_path):
    stdout = script_run(
        "run_cmrc2018.py",
        ALL_STEPS,
        paths,
        tmp_path,
        train_file=paths["cmrc"],
        predict_file=paths["cmrc"],
        eval_file=paths["cmrc"],
        mask_zone="q2",
        mask_layer="1",
    )
    predictions = assert_whole(tmp_path, tiny.cmrc(), "layer1_q2")
    text = (tmp_path / "predictions_layer1_q2.json").read_text(encoding="utf-8")
    for answer in predictions.values():
        assert answer in tiny.TOWER and answer in text  # UTF-8, not escaped
    for entries in tiny.read_json(tmp_path, "nbest_predictions.json").values():
        for entry in entries:
            # Logarithms of probabilities.
            assert entry["start_logit"] <= 0 and entry["end_logit"] <= 0
            assert 2 < entry["start_index"] <= entry["end_index"] < 32
    scores = tiny.read_json(tmp_path, "scores.json")["layer1_q2"]
    assert (scores["TOTAL"], scores["SKIP"]) == (2, 0) and "predictions_layer1_q2.json: {" in stdout


def test_files_are_indented_by_4(trained):
    for name in ("predictions_layer_.json", "nbest_predictions.json"):
        with open(str(trained[0] / name)) as reader:
            lines = reader.read().split("\n")
        assert lines[0] == "{" and lines[-2:] == ["}", ""] and lines[1].startswith('    "')


@pytest.mark.parametrize("dataset", [datasets.SQUAD, datasets.CMRC2018])
@pytest.mark.parametrize("contexts", [pytest.param(["", tiny.BRIDGE, " \n"], id="some"), pytest.param([" "], id="all")])
def test_blank_passages_are_answered_with_empty(paths, tmp_path, dataset, contexts):
    paragraphs = [
        {"context": context, "qas": [{"id": str(number), "question": "Who?"}]} for number, context in enumerate(contexts)
    ]
    data = {"data": [{"paragraphs": paragraphs}]}
    path = tiny.write_json(tmp_path / "data.json", data)
    run_here(dataset, paths, tmp_path / "out", do_predict=True, predict_file=path, n_best_size=32)
    predictions = assert_whole(tmp_path / "out", data)
    assert {int(number) for number, text in predictions.items() if text == "empty"} == {
        number for number, context in enumerate(contexts) if not context.strip()
    }


def test_prediction_leaves_the_checkpoint_alone(paths, tmp_path):
    run_here(datasets.SQUAD, paths, tmp_path, do_predict=True, predict_file=paths["squad"])
    assert tf.train.latest_checkpoint(str(tmp_path)) is None


def test_training_resumes_from_its_checkpoint(paths, trained, tmp_path):
    options = dict(do_train=True, train_file=paths["squad"])
    run_here(datasets.SQUAD, paths, tmp_path, save_checkpoints_steps=2, **options)
    # As if it had been interrupted after two steps.
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-2"\n')
    run_here(datasets.SQUAD, paths, tmp_path, **options)
    assert_same_tensors(tmp_path, trained[0])


def test_prediction_with_another_letter_case_is_refused(paths, trained, tmp_path, capsys):
    checkpoint = tf.train.latest_checkpoint(str(trained[0]))
    with pytest.raises(SystemExit) as end:
        run_here(
            datasets.SQUAD,
            paths,
            tmp_path,
            do_predict=True,
            predict_file=paths["squad"],
            init_checkpoint=checkpoint,
            do_lower_case=False,
        )
    assert end.value.code == 2
    assert f"{checkpoint} was trained with --do_lower_case=True; pass the same" in capsys.readouterr().err


def test_another_training_in_the_folder_is_refused(paths, tmp_path, capsys):
    options = dict(do_train=True, train_file=paths["squad"])
    run_here(datasets.SQUAD, paths, tmp_path, **options)
    before = tensors(tmp_path)
    with pytest.raises(SystemExit) as end:
        run_here(datasets.SQUAD, paths, tmp_path, learning_rate=0.02, **options)
    assert (
        end.value.code == 2 and "was trained with another learning_rate (0.01 then, 0.02 now); " in capsys.readouterr().err
    )
    run_here(datasets.SQUAD, paths, tmp_path, **options)
    assert "is finished already: 4 steps" in capsys.readouterr().out
    for name, array in tensors(tmp_path).items():
        np.testing.assert_array_equal(array, before[name])


def test_a_cell_is_not_scored_with_files_of_another(paths, tmp_path, capsys):
    options = dict(predict_file=paths["squad2"], version_2_with_negative=True)
    run_here(datasets.SQUAD, paths, tmp_path, do_predict=True, **options)
    run_here(datasets.SQUAD, paths, tmp_path, do_predict=True, mask_zone="p2", **options)
    with pytest.raises(SystemExit):
        run_here(datasets.SQUAD, paths, tmp_path, do_eval=True, **options)
    assert "is not what was decoded with layer_; decode it again" in capsys.readouterr().err


def test_a_cell_is_scored_although_another_has_its_n_best_file(paths, tmp_path):
    for zone in ("q2", "p2"):
        run_here(datasets.SQUAD, paths, tmp_path, do_predict=True, predict_file=paths["squad"], mask_zone=zone)
    run_here(datasets.SQUAD, paths, tmp_path, do_eval=True, predict_file=paths["squad"], mask_zone="q2")
    assert "layer_q2" in tiny.read_json(tmp_path, "scores.json")


def test_effects_name_the_reader_of_an_earlier_run_its_data_and_its_seed(paths, tmp_path, monkeypatch):
    options = dict(predict_file=paths["squad"], mask_zone="q2,p2", mask_layer="0")
    run_here(datasets.SQUAD, paths, tmp_path, do_predict=True, **options)
    trained_with = training_record.TrainingRecord({"rand_seed": 7})
    monkeypatch.setattr(training_record, "read", lambda folder: trained_with)
    run_here(datasets.SQUAD, paths, tmp_path, do_eval=True, init_checkpoint=None, **options)
    reader = os.path.basename(os.path.dirname(paths["init_checkpoint"]))
    last = (tmp_path / "effects.csv").read_text().splitlines()[-1]
    assert last.split(",")[-3:] == [reader, os.path.basename(paths["squad"]), "7"]


def test_the_no_answer_threshold_applies_to_squad_2_only(paths, tmp_path):
    right = {
        question["id"]: question["answers"][0]["text"]
        for article in tiny.squad()["data"]
        for paragraph in article["paragraphs"]
        for question in paragraph["qas"]
    }
    tiny.write_json(tmp_path / "predictions_layer_.json", right)
    run_here(datasets.SQUAD, paths, tmp_path, do_eval=True, predict_file=paths["squad"], null_score_diff_threshold=-1.0)
    assert tiny.read_json(tmp_path, "scores.json")["layer_"]["exact"] == 100.0


def test_predicting_with_an_unfinished_training_causes_a_warning(paths, trained, tmp_path, monkeypatch):
    folder, warnings = tmp_path / "out", []
    monkeypatch.setattr(tf.logging, "warning", lambda text, *values: warnings.append(text % values))
    shutil.copytree(str(trained[0]), str(folder))
    options = dict(do_predict=True, predict_file=paths["squad"])
    run_here(datasets.SQUAD, paths, folder, **options)
    assert not any("training is unfinished" in warning for warning in warnings)
    record = tiny.read_json(folder, "training.json")
    tiny.write_json(folder / "training.json", dict(record, num_steps=record["num_steps"] + 5))
    run_here(datasets.SQUAD, paths, folder, **options)
    model = str(folder / ("model.ckpt-%d" % record["num_steps"]))
    run_here(datasets.SQUAD, paths, tmp_path / "elsewhere", **dict(options, init_checkpoint=model))
    wanted = "%s is from step %d of %d: its training is unfinished" % (model, record["num_steps"], record["num_steps"] + 5)
    assert sum(warning.startswith(wanted) for warning in warnings) == 2
