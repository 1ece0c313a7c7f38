# SPDX-License-Identifier: Apache-2.0
"""The report of a scored grid, and its tables in a notebook."""

import base64
import csv
import json
import os
import re
import shutil
import subprocess

import numpy as np
import pytest
import tiny

from mrc import datasets
from mrc.experiment import recorded_command, scored_grid
from mrc.experiment import run as experiment
from mrc.util.errors import InputError

HOSTILE = "</script><b>\"'\u202e\u05d0\U0001f600\nPAGE_DATA \ud800"


def write_data(path):
    data = tiny.squad()
    data["data"][0]["paragraphs"][1]["qas"][0]["id"] = HOSTILE
    data["data"][0]["paragraphs"][1]["context"] += " " + HOSTILE
    tiny.write_json_escaped(path, data)


@pytest.fixture(scope="module")
def folder(paths, tmp_path_factory):
    """An output folder with a scored grid and attention; its data is `data.json` beside it."""
    parent = tmp_path_factory.mktemp("report")
    write_data(parent / "data.json")
    flags = tiny.model_flags(paths, output_dir=str(parent / "reader"), predict_file=str(parent / "data.json"))
    grid = dict(mask_zone="p2q,p2", mask_layer="each")
    experiment.run(datasets.SQUAD, tiny.flag_values(do_predict=True, do_eval=True, **grid, **flags))
    experiment.run(datasets.SQUAD, tiny.flag_values(do_attention=True, **flags))
    return parent / "reader"


def report(*words):
    code, stdout, stderr = tiny.run("report.py", *map(str, words))
    assert code == 0, stderr
    return stdout


def page_of(path):
    """Returns the text of a page and the data in it."""
    text = path.read_text(encoding="utf-8")
    (data,) = re.findall('<script id="data" type="application/json">(.*?)</script>', text)
    return text, json.loads(data)


def rows_of(path):
    with open(str(path), encoding="utf-8", newline="") as reader:
        return list(csv.DictReader(reader))


def array(text, kind):
    return np.frombuffer(base64.b64decode(text), kind)


def test_the_page_has_the_scores_of_questions_csv(folder, tmp_path):
    report(folder, tmp_path / "report.html")
    reader = page_of(tmp_path / "report.html")[1]["readers"][0]
    rows = rows_of(folder / "questions.csv")
    answers, logp = array(reader["answers"], "<u2"), array(reader["logp"], "<i2")
    assert len(rows) == len(answers) == 5 * 4
    for number, row in enumerate(rows):
        question = number % 4
        text, *scores = reader["distinct"][question][answers[number]]
        assert reader["types"][reader["typeOf"][question]] == row["type"]
        assert (text, scores) == (row["answer"], [pytest.approx(float(row[name]), abs=1e-6) for name in ("em", "f1", "own")])
        assert logp[number] == pytest.approx(100 * float(row["logp_change"]), abs=0.5001)
    assert array(reader["listed"], "u1").tolist() == [int(row["listed"]) for row in rows]


def test_the_page_has_the_effects_and_what_made_them(folder, tmp_path):
    report(folder, tmp_path / "report.html")
    page = page_of(tmp_path / "report.html")[1]
    reader, runs = page["readers"][0], tiny.read_json(folder, "run.json")["runs"]
    assert [run["run"] for run in reader["runs"]] == [runs[0]["run"]]  # once, as it decoded and scored
    assert reader["runs"][0]["inputs"] == runs[0]["inputs"]
    at = page["effectColumns"].index("difference")
    for metric, values in reader["effects"].items():
        rows = [row for row in rows_of(folder / "effects.csv") if row["metric"] == metric]
        assert [row[at] for row in values] == [float(row["difference"]) for row in rows]
    assert len(reader["common"]["changed"]) == len(reader["cells"]) == 4


def test_hostile_text_stays_text(folder, tmp_path):
    report(folder, tmp_path / "report.html")
    text, page = page_of(tmp_path / "report.html")
    assert page["readers"][0]["ids"][3] == HOSTILE
    assert page["readers"][0]["passages"][1].endswith(HOSTILE)
    assert text.count("</script") == 2 and "<b>" not in text
    assert not re.search("(?:src|href|url)[=(]['\"]?(?:http|//)", text)  # needs no network


def test_readers_are_compared_and_attention_is_embedded(folder, tmp_path):
    out = tmp_path / "new" / "report.html"
    report("--attention=colour", folder, folder, out)
    page = page_of(out)[1]
    ((question_id, html),) = page["attention"]
    assert question_id == "colour" and html.startswith("<!DOCTYPE html>")
    (comparison,) = page["comparisons"]
    assert len(comparison["rows"]) == 4 * 3 and "equivalent" in comparison["sentences"][0]


@pytest.mark.parametrize(
    "dataset, data, changes",
    [(datasets.SQUAD, "squad2", dict(version_2_with_negative=True)), (datasets.CMRC2018, "cmrc", {})],
    ids=["squad2", "cmrc"],
)
def test_the_scores_of_other_data_sum_to_the_effects(paths, tmp_path, dataset, data, changes):
    flags = tiny.model_flags(paths, output_dir=str(tmp_path), predict_file=paths[data], mask_zone="p2q", mask_layer="0,1")
    values = tiny.flag_values(do_predict=True, do_eval=True, **dict(flags, **changes))
    experiment.run(dataset, values)
    report(tmp_path, tmp_path / "report.html")
    page = page_of(tmp_path / "report.html")[1]
    reader, at = page["readers"][0], page["effectColumns"].index("value")
    answers = array(reader["answers"], "<u2").reshape(3, -1)
    for number, metric in enumerate(reader["metrics"], 1):
        for cell, row in zip(answers[1:], reader["effects"][metric]):
            scores = [each[place][number] for each, place in zip(reader["distinct"], cell)]
            assert 100 * np.mean(scores) == pytest.approx(row[at], abs=6e-5)


@pytest.mark.parametrize(
    "words, message",
    [
        (["{folder}", "report.pdf"], "the output report.pdf must end in .html"),
        (["{folder}", "--attention=x", "{out}"], "--attention: no reader has the question x"),
        (["{empty}", "{out}"], "has no question_scores.npz; rerun its grid with --do_eval"),
    ],
)
def test_wrong_arguments_are_explained(folder, tmp_path, words, message):
    (tmp_path / "empty").mkdir()
    places = dict(folder=folder, empty=tmp_path / "empty", out=tmp_path / "out.html")
    code, _, stderr = tiny.run("report.py", *(word.format(**places) for word in words))
    assert code == 2 and message in stderr.splitlines()[-1]
    assert not (tmp_path / "out.html").exists()


def test_the_data_that_was_scored_is_needed(folder, tmp_path):
    data = folder.parent / "data.json"
    kept = data.read_bytes()
    try:
        data.write_bytes(kept + b"\n")
        with pytest.raises(InputError, match="data.json .* has changed; restore it"):
            scored_grid.read(str(folder))
        data.unlink()
        with pytest.raises(InputError, match="data.json .* does not exist; put the file back"):
            scored_grid.read(str(folder))
    finally:
        data.write_bytes(kept)


def test_the_recorded_command_repeats_the_run(folder, tmp_path):
    script, *words = recorded_command.words(str(folder))
    assert script == "run_squad.py" and f"--output_dir={folder}" in words
    code, _, stderr = tiny.run(script, *words, "--do_eval", "--mask_zone=p2q", "--mask_layer=0,1")
    assert code == 0, stderr
    with pytest.raises(InputError, match="names no run with a model"):
        recorded_command.words(str(tmp_path))


def test_the_study_runs_every_step_and_survives_readers_that_do_not_compare(tmp_path):
    python = tmp_path / "python"
    python.write_text(
        "#!/bin/sh\n"
        'case "$1 $2" in\n'
        '  "-m mrc.experiment.recorded_command") printf "run_squad.py\\n--x=a b\\n" ;;\n'
        "  compare.py*) exit 2 ;;\n"
        "esac\n"
    )
    python.chmod(0o755)
    done = subprocess.run(
        ["bash", os.path.join(tiny.ROOT, "scripts", "study.sh"), "a/", "/b"],
        env=dict(os.environ, PYTHON=str(python), MASK_HEAD="0", ZONES="p2q"),
        cwd=str(tmp_path),
        stdout=subprocess.PIPE,
        text=True,
    )
    decode = "run_squad.py --x=a\\ b --do_predict --do_eval --mask_zone=p2q --mask_layer=each"
    here = str(tmp_path)
    expected = [
        *(f"{decode} --mask_head=0", "run_squad.py --x=a\\ b --do_attention --precision=float32"),
        f"correlate.py {here}/a",
        *(f"{decode} --mask_head=0", "run_squad.py --x=a\\ b --do_attention --precision=float32"),
        "correlate.py /b",
        f"compare.py {here}/a /b --output={here}/a/against_b",
        f"report.py {here}/a /b {here}/report.html",
    ]
    commands = [line for line in done.stdout.splitlines() if line.startswith("+ ")]
    assert done.returncode == 0 and commands == [f"+ {python} {words}" for words in expected]
    assert f"{here}/a and /b are not compared." in done.stdout


def test_the_notebook_runs_as_it_stands(folder, tmp_path, monkeypatch, capsys):
    pandas = pytest.importorskip("pandas")
    shutil.copytree(str(folder), str(tmp_path / "reader"))
    monkeypatch.chdir(tmp_path)
    with open(os.path.join(tiny.ROOT, "docs", "notebook.md"), encoding="utf-8") as reader:
        blocks = re.findall("```python\n(.*?)```", reader.read(), re.DOTALL)
    names = {}
    exec("\n".join(blocks), names)
    questions, effects = names["questions"], names["effects"]
    means = questions.groupby(["layer", "zone"], sort=False).f1_change.mean()
    for row in effects[effects.metric == "f1"].itertuples():
        assert 100 * means[row.layer, row.zone] == pytest.approx(row.difference, abs=6e-5)
    assert names["attention"].mass.notna().all()
    assert set(questions.id) == {"colour", "where", "boat", HOSTILE.replace("\ud800", "\\ud800")}
    assert isinstance(effects, pandas.DataFrame) and "p2q" in capsys.readouterr().out
