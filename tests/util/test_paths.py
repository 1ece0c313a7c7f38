# SPDX-License-Identifier: Apache-2.0
"""Tests of paths with repeated slashes, and of folders with special characters of patterns."""

import os
import shutil

import pytest
import tensorflow.compat.v1 as tf
import tiny

from mrc.model import checkpoint, checkpoint_folder
from mrc.util import files


@pytest.mark.parametrize(
    "path, normal",
    [
        ("a//b", "a/b"),
        ("a/", "a"),
        ("/a//b///c//", "/a/b/c"),
        ("/", "/"),
        ("//", "/"),
        ("./a", "./a"),
        ("a/../b", "a/../b"),  # differs from "b" if a is a link
        ("gs://bucket//a/", "gs://bucket//a/"),
        ("file:///a//b", "file:///a//b"),
        ("a[1]//*", "a[1]/*"),
        ("", ""),
        (None, None),
    ],
)
def test_paths_are_normalized(path, normal):
    assert files.normalized(path) == normal


@pytest.fixture(scope="module")
def run(paths):
    """Returns a function that runs run_squad.py and returns (exit code, stdout, stderr)."""

    def run_squad(folder, *words, **changes):
        flags = tiny.model_flags(paths, output_dir=str(folder), train_file=paths["squad"], predict_file=paths["squad"])
        return tiny.run("run_squad.py", *words, **dict(flags, **changes))

    return run_squad


@pytest.mark.parametrize("name", ["runs[1]", "what? a*"])
def test_a_folder_of_any_name_trains_resumes_and_predicts(run, tmp_path, name):
    (tmp_path / "runs1").mkdir()  # what `runs[1]` matches as a pattern
    folder = tmp_path / name
    changes = dict(save_checkpoints_steps=1, num_train_epochs=4.0)
    code, _, stderr = run(folder, "--do_train", "--do_predict", **changes)
    assert code == 0, stderr
    steps = sorted(path.name for path in folder.glob("model.ckpt-*.index"))
    assert len(steps) == 5  # older ones were deleted
    before = tiny.read_json(folder, "predictions_layer_.json")
    (folder / "predictions_layer_.json").unlink()
    code, stdout, stderr = run(folder, "--do_train", "--do_predict", **changes)
    assert code == 0 and "is finished already: 8 steps" in stdout, stderr
    assert tiny.read_json(folder, "predictions_layer_.json") == before
    assert os.listdir(str(tmp_path / "runs1")) == []


@pytest.mark.parametrize("name", ["runs[1]"])
def test_a_checkpoint_in_a_folder_of_any_name_is_read(paths, run, tmp_path, name):
    (tmp_path / name).mkdir()
    for part in (".index", ".data-00000-of-00001"):
        shutil.copy(paths["init_checkpoint"] + part, str(tmp_path / name / ("model[2].ckpt" + part)))
    code, _, stderr = run(tmp_path / "out", "--do_predict", init_checkpoint=str(tmp_path / name / "model[2].ckpt"))
    assert code == 0, stderr


def test_slashes_do_not_matter(paths, run, tmp_path):
    doubled = {name: path.replace("/", "//") for name, path in paths.items()}
    changes = {name: doubled[name] for name in ("bert_config_file", "vocab_file", "init_checkpoint")}
    code, _, stderr = run(f"{tmp_path}//out//", "--do_train", "--do_predict", **changes)
    assert code == 0, stderr
    trained = checkpoint_folder.find_trained(str(tmp_path / "out"), to_train=False)[0]
    assert trained == str(tmp_path / "out" / "model.ckpt-4")
    code, stdout, stderr = run(f"{tmp_path}//out", "--do_train", **changes)
    assert code == 0 and "is finished already: 4 steps" in stdout, stderr


def test_a_trained_folder_that_was_copied_is_used_where_it_is(run, tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    assert run(there, "--do_train")[0] == 0
    state = there / "checkpoint"
    state.write_text(state.read_text().replace('"model.ckpt', f'"{there}/model.ckpt'))
    there.rename(here)
    code, stdout, stderr = run(here, "--do_predict")
    assert code == 0 and f"predicting with {here}/model.ckpt-4" in stdout, stderr
    assert f"names checkpoints in {there}, which is not there; using {here}/model.ckpt-4" in stderr
    code, stdout, _ = run(here, "--do_train", num_train_epochs=3.0)
    assert code == 2  # another training: the checkpoint was recognized
    code, stdout, _ = run(here, "--do_train")
    assert code == 0 and "is finished already: 4 steps" in stdout


@pytest.mark.parametrize("suffix", ["", ".data-00000-of-00001", ".index"])
def test_a_checkpoint_without_its_index_is_reported(paths, run, tmp_path, suffix):
    shutil.copy(paths["init_checkpoint"] + ".data-00000-of-00001", str(tmp_path / "bert_model.ckpt.data-00000-of-00001"))
    path = str(tmp_path / "bert_model.ckpt")
    code, _, stderr = run(tmp_path / "out", "--do_predict", init_checkpoint=path + suffix)
    wanted = "remove" if suffix else "bert_model.ckpt.index; copy or download that file, too"
    assert code == 2 and wanted in stderr and stderr.count("\n") == 1


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("bert/", "distilbert/", "is a DistilBERT checkpoint"),
        ("bert/", "roberta/", "is a RoBERTa checkpoint"),
        ("bert/", "module/bert/", "is a checkpoint of a TensorFlow Hub module"),
        ("cls/squad/", "qa_outputs/", "names its span head qa_outputs"),
    ],
)
def test_checkpoints_of_other_models_are_named(paths, run, tmp_path, old, new, message):
    reader = tf.train.load_checkpoint(paths["init_checkpoint"])
    arrays = {name.replace(old, new, 1): reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
    checkpoint.write(str(tmp_path / "other.ckpt"), arrays)
    other = str(tmp_path / "other.ckpt")
    code, _, stderr = run(tmp_path / "out", "--do_predict", init_checkpoint=other)
    assert code == 2 and message in stderr and stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["gelu_new", "gelu_pytorch_tanh"])
def test_aliases_of_gelu_are_known(name):
    assert tiny.config(hidden_act=name) == tiny.config(hidden_act="gelu")


def test_config_keys_default_to_bert_base():
    from mrc.model import bert_config

    config = bert_config.make({"vocab_size": 21128})
    assert config == (21128, 768, 12, 12, 3072, 512, 16, 0.1, 0.1, "gelu", 0.02, "bert", 768, False, 200)
