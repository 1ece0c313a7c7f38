# SPDX-License-Identifier: Apache-2.0
"""Tests of `run.json`: the flags, inputs and results of each run, found by scores and figures."""

import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tiny

from mrc import datasets
from mrc.experiment import inputs, provenance, run_record
from mrc.experiment import run as experiment
from mrc.util import files


def start_run(paths, folder, **changes):
    flags = tiny.model_flags(paths, output_dir=str(folder), train_file=paths["squad"], predict_file=paths["squad"])
    experiment.run(datasets.SQUAD, tiny.flag_values(**dict(flags, **changes)))
    return tiny.read_json(folder, "run.json")["runs"]


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def writer_of(path):
    return run_record.find(str(path), files.sha256(str(path)))


@pytest.fixture(scope="module")
def grid(paths, tmp_path_factory):
    """Folder of a run that predicts a grid and of one that scores it, and both records."""
    folder = tmp_path_factory.mktemp("grid")
    start_run(paths, folder, do_predict=True, mask_zone="q2,p2", mask_layer="0")
    return folder, start_run(paths, folder, do_eval=True, mask_zone="q2,p2", mask_layer="0")


def test_flags_versions_and_inputs_are_recorded(paths, grid):
    folder, (run, _) = grid
    assert run["flags"]["mask_zone"] == "q2,p2" and run["flags"]["n_best_size"] == 20 and run["flags"]["do_train"] is False
    assert "alsologtostderr" not in run["flags"]
    versions = run["versions"]
    assert (versions["tensorflow"], versions["numpy"]) == (tf.__version__, np.__version__)
    assert versions["python"] == sys.version.split()[0] and versions["cores"] >= 1
    with open(paths["vocab_file"], "rb") as reader:
        assert run["inputs"]["vocab_file"] == hashlib.sha256(reader.read()).hexdigest()
    assert run["inputs"]["init_checkpoint"] == provenance.checkpoint_sha256(paths["init_checkpoint"])
    assert set(run["inputs"]) == {"bert_config_file", "vocab_file", "predict_file", "init_checkpoint"}
    assert run["begin"] <= run["end"] and run["outcome"] == "finished"
    assert set(run["parts"]) == {"text", "prediction"} and run["seconds"] >= sum(run["parts"].values()) - 0.01


def test_the_commit_of_the_checkout_is_recorded(grid):
    try:
        head = subprocess.check_output(["git", "-C", tiny.ROOT, "rev-parse", "HEAD"], stderr=subprocess.DEVNULL)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("the project is not a git checkout here")
    assert grid[1][0]["versions"]["commit"].split("-")[0] == head.decode().strip()


def test_large_files_are_hashed_in_blocks(monkeypatch, tmp_path):
    (tmp_path / "file").write_bytes(b"abcdefghij")
    monkeypatch.setattr(files, "_BYTES_IN_BLOCK", 4)
    assert files.sha256(str(tmp_path / "file")) == hashlib.sha256(b"abcdefghij").hexdigest()


def test_a_replaced_data_file_is_recorded_as_it_was_read(paths, tmp_path, monkeypatch):
    data, read = tmp_path / "data.json", inputs.squad_format.read
    tiny.write_json(data, tiny.squad())
    before = sha256(data)

    def read_and_replace(path, *args):
        found = read(path, *args)
        data.write_text("{}")
        return found

    monkeypatch.setattr(inputs.squad_format, "read", read_and_replace)
    runs = start_run(paths, tmp_path / "out", do_predict=True, predict_file=str(data))
    assert runs[0]["inputs"]["predict_file"] == before
    assert before in str(np.load(str(tmp_path / "out" / "eval.features.npz"))["made_from"])


def test_without_git_the_code_still_has_a_fingerprint(monkeypatch):
    before = run_record._versions()["code"]
    monkeypatch.setenv("PATH", "")
    versions = run_record._versions()
    assert versions["commit"] is None and versions["code"] == before


def test_scores_and_tables_name_their_runs(grid):
    folder, (decoding, scoring) = grid
    assert tiny.read_json(folder, "scores.json")["run"] == scoring["run"] != decoding["run"]
    assert set(scoring["results"]) == {
        "scores.json",
        "results.csv",
        "results_f1.csv",
        "question_scores.npz",
        "effects.csv",
        "effects_by_type.csv",
        "questions.csv",
    }
    for run in (decoding, scoring):
        assert run["results"] == {name: sha256(folder / name) for name in run["results"]}
    assert scoring["scored"]["predictions_layer0_p2.json"] == {
        "sha256": sha256(folder / "predictions_layer0_p2.json"),
        "run": decoding["run"],
    }
    assert writer_of(folder / "results.csv") == scoring["run"]
    # The columns of the protocol, without the name of a run.
    assert (folder / "results.csv").read_text().startswith("layer,q2,p2\nbaseline,")


def test_a_run_without_work_keeps_earlier_records(paths, tmp_path):
    first = start_run(paths, tmp_path, do_train=True, do_predict=True)[0]
    assert [run["run"] for run in start_run(paths, tmp_path, do_train=True, do_predict=True)][0] == first["run"]
    assert tiny.read_json(tmp_path, "run.json")["runs"][0] == first
    trained = "model.ckpt-4.index"
    assert first["results"][trained] == sha256(tmp_path / trained)
    assert writer_of(tmp_path / "predictions_layer_.json") == first["run"]


def test_a_failed_run_records_its_error(paths, tmp_path, capsys):
    with pytest.raises(SystemExit):
        start_run(paths, tmp_path, do_eval=True)
    run = tiny.read_json(tmp_path, "run.json")["runs"][0]
    assert "predictions_layer_.json to score; decode its cell first" in run["outcome"] and run["end"]
    assert run["outcome"] in capsys.readouterr().err


@pytest.mark.parametrize(
    "content", ["[]", "{", json.dumps({"runs": [1]}), json.dumps({"runs": [{"run": "a", "scored": {"b": 1}}]})]
)
def test_an_invalid_record_is_not_overwritten(paths, tmp_path, capsys, content):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(SystemExit) as caught:
        start_run(paths, tmp_path, do_predict=True)
    assert caught.value.code == 2 and str(tmp_path / "run.json") in capsys.readouterr().err
    assert (tmp_path / "run.json").read_text() == content


@pytest.mark.parametrize("extension", ["png", "svg"])
def test_a_figure_names_the_run(grid, tmp_path, extension):
    folder, (_, scoring) = grid
    figure = tmp_path / ("zones." + extension)
    code, _, stderr = tiny.run("visualize_zones.py", str(folder / "results.csv"), str(figure))
    assert code == 0 and "WARNING" not in stderr
    assert ("results.csv of run " + scoring["run"]).encode("ascii") in figure.read_bytes()


def test_a_table_edited_by_hand_causes_a_warning(paths, tmp_path):
    start_run(paths, tmp_path, do_predict=True, do_eval=True, mask_zone="q2,p2", mask_layer="0")
    table = tmp_path / "results.csv"
    table.write_text(table.read_text() + "1,3.0,3.0\n")
    code, _, stderr = tiny.run("visualize_zones.py", str(table), str(tmp_path / "zones.png"))
    assert code == 0
    assert f"{table} was changed after the run that {tmp_path / 'run.json'} names wrote it" in stderr
    assert b"results.csv of run unknown" in (tmp_path / "zones.png").read_bytes()


@pytest.mark.parametrize(
    "later",
    [
        # A single cell has no table.
        dict(do_predict=True, do_eval=True, mask_zone="q2p", mask_layer="1"),
        # The baseline is decoded again, but not scored.
        dict(do_predict=True, max_answer_length=1),
    ],
)
def test_an_outdated_table_causes_a_warning(paths, tmp_path, later):
    start_run(paths, tmp_path, do_predict=True, do_eval=True, mask_zone="q2,p2", mask_layer="0")
    table = str(tmp_path / "results.csv")
    assert run_record.outdated_by(table, writer_of(table)) is None
    last = start_run(paths, tmp_path, **later)[-1]["run"]
    code, _, stderr = tiny.run("visualize_zones.py", table, str(tmp_path / "zones.png"))
    assert code == 0 and f"{table} does not match the last answers in its folder, which are from run {last}; " in stderr
    start_run(paths, tmp_path, do_predict=True, do_eval=True, mask_zone="q2,p2", mask_layer="0")
    assert run_record.outdated_by(table, writer_of(table)) is None


def test_scoring_does_not_outdate_attention(paths, tmp_path):
    start_run(paths, tmp_path, do_attention=True)
    start_run(paths, tmp_path, do_predict=True, do_eval=True)
    table = str(tmp_path / "attention.csv")
    assert run_record.outdated_by(table, writer_of(table)) is None


def test_a_running_run_has_a_record(paths, tmp_path):
    with pytest.raises(KeyError), run_record.recording(str(tmp_path), "SQuAD", {}) as record:
        run = tiny.read_json(tmp_path, "run.json")["runs"][-1]
        assert run["run"] == record.name and run["end"] is None and run["outcome"] is None
        files.write(str(tmp_path / "a"), "text")
        record.add_results(["a"])
        raise KeyError("gone")
    run = tiny.read_json(tmp_path, "run.json")["runs"][-1]
    assert run["outcome"] == "'gone'" and set(run["results"]) == {"a"}
