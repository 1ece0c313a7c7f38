# SPDX-License-Identifier: Apache-2.0
"""Runs every row of the table of wrong and unusual inputs on the command line.

A wrong input causes exit code 2 and a one-line message, an unusual one exit code 0 and a warning;
neither a traceback, more than 2 GB of memory or more than three minutes. A wrong input is reported
before any model is trained or run.
"""

import re

import input_table
import pytest
import tiny

MEBIBYTES = 2048
REMEDIES = ("; ", "?")  # the separator of cause and remedy, or the end of a question


def words_of(row, case):
    """Returns the words of a row's command line and the path of the last file written for it."""
    made = [None]

    def value(word):
        if callable(word):
            made[0] = word = word(case)
        return word.replace("FOLDER", str(case.folder)) if isinstance(word, str) else word

    words = [value(word) for word in row.words]
    if row.flags is not None:
        flags = {name: value(word) for name, word in row.flags.items()}
        flags = tiny.model_flags(case.paths, **dict({"output_dir": str(case.folder / "out")}, **flags))
        words += ["--{}={}".format(*item) for item in sorted(flags.items())]
    return words, made[0]


def assert_reported(row, done, path):
    """Checks the exit code and the message of a row's command."""
    assert done.code == row.code and "Traceback" not in done.stderr, done.stderr
    messages = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(messages) == (1 if row.code else 0), done.stderr
    assert all(any(remedy in message for remedy in REMEDIES) for message in messages), done.stderr
    for part in row.wanted:
        assert part.replace("PATH", str(path)) in done.stderr
    assert done.mebibytes < MEBIBYTES


@pytest.mark.parametrize("row", input_table.ROWS, ids=lambda row: row.name)
def test_input_is_reported(command_lines, paths, tmp_path, row):
    words, path = words_of(row, input_table.Case(paths, tmp_path))
    assert_reported(row, command_lines.run(row.script, *words), path)
    if row.code and row.flags and "output_dir" not in row.flags:
        assert not list(tmp_path.glob("out/*ckpt*"))


@pytest.mark.parametrize(
    "name",
    [
        "an unknown flag",
        "a layer too high",
        "data: truncated",
        "a checkpoint with half an index",
        "only one file, squad_evaluate.py",
        "a table with NaN",
    ],
)
def test_a_new_process_reports_the_same_as_a_fork(command_lines, paths, tmp_path, name):
    row = next(row for row in input_table.ROWS if row.name == name)
    words, path = words_of(row, input_table.Case(paths, tmp_path))
    code, stdout, stderr = tiny.run_in_new_process(row.script, *words)
    done = command_lines.run(row.script, *words)
    assert (code, stdout, stderr) == done[:3]
    assert_reported(row, done, path)


@pytest.mark.parametrize("script", ["run_squad.py", "run_cmrc2018.py"])
def test_help_lists_the_flags_in_groups(command_lines, script):
    code, stdout, stderr, _ = command_lines.run(script, "--help")
    groups = [group.splitlines() for group in stdout.split("\n\n")[1:]]
    titles = "Most runs|What to do|Reader|Data|Masks|Decoding and scores|Training|Devices"
    assert (code, stderr) == (0, "") and "|".join(group[0][:-1] for group in groups) == titles
    names = [[line[4:] for line in group if line.startswith("  --")] for group in groups]
    assert len(names[0]) == 10 and {"mask_zone", "bert_config_file"} < set(names[0])
    listed = sorted(name for group in names for name in group)
    # absl names the module of each flag; it lists all of them, and its own, with exit code 1.
    words = command_lines.run(script, "--helpfull").stdout
    own = words.split("mrc.experiment.run_flags:")[1].split("\n\n")[0]
    own = re.findall(r"^  --(?:\[no\])?(\w+):", own, re.MULTILINE)
    assert listed == sorted(own)
    assert ("version_2_with_negative" in listed) == (script == "run_squad.py")
