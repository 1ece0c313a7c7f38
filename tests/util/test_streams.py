# SPDX-License-Identifier: Apache-2.0
"""Tests that closed or full output streams and other encodings do not cost a result."""

import json
import os
import subprocess
import sys

import forked
import pytest
import tiny

from mrc.util import errors

pytestmark = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")


def run(redirection, script, *words, **variables):
    """Runs a script with its streams redirected by a shell; returns (exit code, stdout, stderr)."""
    command = ["sh", "-c", 'exec "$@" ' + redirection, "sh", sys.executable, script, *words]
    done = subprocess.run(command, cwd=tiny.ROOT, env=dict(forked.environment(), **variables), capture_output=True)
    return done.returncode, done.stdout.decode("utf-8"), done.stderr.decode("utf-8")


@pytest.fixture
def scored(paths, tmp_path):
    """The words of a command that scores predictions."""
    return ["squad_evaluate.py", paths["squad"], tiny.write_json(tmp_path / "predictions.json", {"colour": "green"})]


@pytest.mark.parametrize("redirection, reason", [(">/dev/full", "No space left on device"), (">&-", "Bad file descriptor")])
def test_a_result_that_stdout_cannot_take_is_an_error(scored, redirection, reason):
    code, _, stderr = run(redirection, *scored)
    assert code == 1 and f"error: stdout cannot be written ({reason}); redirect it to" in stderr
    assert "Traceback" not in stderr and "Exception ignored" not in stderr


@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-", "<&- 2>&-"])
def test_a_result_is_printed_without_the_warnings(scored, redirection):
    code, stdout, stderr = run(redirection, *scored)
    assert code == 0 and json.loads(stdout)["total"] == 4 and not stderr


@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-", ">&- 2>&-"])
def test_the_exit_code_of_an_error_does_not_need_a_stream(scored, redirection):
    assert run(redirection, "squad_evaluate.py", "missing.json", scored[-1])[0] == 2


@pytest.mark.parametrize(
    "redirection, variables",
    [
        (">/dev/full 2>/dev/full", {}),
        (">&- 2>&-", {}),
        ("", {"PYTHONIOENCODING": "ascii"}),
        ("", {"PYTHONIOENCODING": "", "LC_ALL": "C"}),
    ],
)
def test_a_run_writes_its_results(paths, tmp_path, redirection, variables):
    folder = tmp_path / "结果"
    flags = tiny.model_flags(paths, predict_file=paths["squad"], do_predict=True, do_eval=True)
    words = ["--{}={}".format(*item) for item in flags.items()] + [f"--output_dir={folder}"]
    for _ in range(2):  # the second names the folder on stdout
        code, _, stderr = run(redirection, "run_squad.py", *words, **variables)
        assert code == 0 and "Traceback" not in stderr, stderr
    assert (folder / "scores.json").exists()


def test_control_characters_are_escaped_in_messages():
    text = errors.escaped("a\nb\x1b[1m\ud800\u202e有é")
    assert text == "a\\nb\\x1b[1m\\ud800\\u202e有é"


def test_an_id_with_control_characters_is_escaped_in_errors(command_lines, tmp_path):
    question = {"id": "a\n\x1bb\u202e", "question": "谁？", "answers": []}
    data = tmp_path / "data.json"
    data.write_text(json.dumps(tiny.data_of((tiny.TOWER, [question]))))
    predictions = tiny.write_json(tmp_path / "predictions.json", {})
    code, _, stderr, _ = command_lines.run("cmrc2018_evaluate.py", str(data), predictions)
    assert code == 2 and stderr.count("\n") == 1
    assert "has no answers for question a\\n\\x1bb\\u202e (data[0]" in stderr


def test_ids_with_control_characters_are_escaped_in_warnings(command_lines, tmp_path):
    question = {"question": "Who?", "answers": []}
    data = tiny.data_of((tiny.BRIDGE, [dict(question, id="a\nb"), dict(question, id="c\rd")]))
    predictions = tiny.write_json(tmp_path / "predictions.json", {"e\x1bf": ""})
    data["data"][0]["paragraphs"][0]["qas"][0]["is_impossible"] = True
    stderr = command_lines.run("squad_evaluate.py", tiny.write_json(tmp_path / "data.json", data), predictions).stderr
    assert stderr.count("\n") == 2 and "a\\nb, c\\rd" in stderr and "e\\x1bf" in stderr


def test_python_without_docstrings_is_refused():
    code, _, stderr = run("", "run_squad.py", "--help", PYTHONOPTIMIZE="2")
    assert (code, stderr) == (
        2,
        "error: Python runs without docstrings (PYTHONOPTIMIZE=2 or -OO), which TensorFlow needs; unset PYTHONOPTIMIZE\n",
    )


def test_ids_with_control_characters_are_escaped_in_the_log(paths, command_lines, tmp_path):
    data = tiny.squad()
    for question in data["data"][0]["paragraphs"][0]["qas"]:
        question["id"] = "a\n\x1bb"
    flags = tiny.model_flags(
        paths, predict_file=tiny.write_json(tmp_path / "data.json", data), output_dir=str(tmp_path / "a\nb"), do_predict=True
    )
    words = ["--{}={}".format(*item) for item in flags.items()]
    code, _, stderr, _ = command_lines.run("run_squad.py", *words)
    assert code == 0 and "question ids occur more than once (1: a\\n\\x1bb); only" in stderr


@pytest.mark.parametrize("error", ["MemoryError()", "ImportError('lib.so: failed to map segment from shared object')"])
def test_a_lack_of_memory_while_loading_is_reported(error):
    code, _, stderr = run("", "-c", f"from mrc.util import check_environment; raise {error}")
    assert code == 1 and stderr.startswith("error: not enough memory to load the program; end")
    assert stderr.count("\n") == 1
