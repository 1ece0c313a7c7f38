# SPDX-License-Identifier: Apache-2.0
"""Every row of the table of wrong and odd inputs, through the command line.

A wrong input ends in exit code 2 and one sentence, an odd one in exit code 0 and a warning; neither in a traceback, nor
with more than 2 GB of memory, nor after three minutes. No model is trained or run before a wrong input is reported.
"""

import forked
import input_table
import pytest
import tiny

MEBIBYTES = 2048
REMEDIES = ("; ", "?")  # what comes before, or is, what to do


@pytest.fixture(scope="module")
def command_lines():
    lines = forked.CommandLines()
    yield lines
    lines.close()


def words_of(row, case):
    """Returns the words of a row's command line, and the path of the last file that was made for it."""
    made = [None]

    def value(given):
        if callable(given):
            made[0] = given = given(case)
        return given.replace("FOLDER", str(case.folder)) if isinstance(given, str) else given

    words = [value(word) for word in row.words]
    if row.flags is not None:
        flags = {name: value(given) for name, given in row.flags.items()}
        flags = tiny.model_flags(
            case.paths, **dict({"output_dir": str(case.folder / "out")}, **flags)
        )
        words += ["--{}={}".format(*item) for item in sorted(flags.items())]
    return words, made[0]


def assert_told(row, done, path):
    """Holds how a row's command ended against what the row wants."""
    assert done.code == row.code and "Traceback" not in done.stderr, done.stderr
    sentences = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(sentences) == (1 if row.code else 0), done.stderr
    assert all(
        any(remedy in sentence for remedy in REMEDIES) for sentence in sentences
    ), done.stderr
    for part in row.wanted:
        assert part.replace("PATH", str(path)) in done.stderr
    assert done.mebibytes < MEBIBYTES


@pytest.mark.parametrize("row", input_table.ROWS, ids=lambda row: row.name)
def test_row(command_lines, paths, tmp_path, row):
    words, path = words_of(row, input_table.Case(paths, tmp_path))
    assert_told(row, command_lines.run(row.script, *words), path)
    if row.code and row.flags and "output_dir" not in row.flags:
        assert not list(tmp_path.glob("out/*ckpt*"))


@pytest.mark.parametrize(
    "name",
    [
        "an unknown flag",
        "a layer too high",
        "data: truncated",
        "a checkpoint with half an index",
        "one file alone, squad_evaluate.py",
        "a table with NaN",
    ],
)
def test_a_process_of_its_own_says_the_same(command_lines, paths, tmp_path, name):
    row = next(row for row in input_table.ROWS if row.name == name)
    words, path = words_of(row, input_table.Case(paths, tmp_path))
    code, stdout, stderr = tiny.run(row.script, *words)
    done = command_lines.run(row.script, *words)
    assert (code, stdout, stderr) == done[:3]
    assert_told(row, done, path)


@pytest.mark.parametrize("script", ["run_squad.py", "run_cmrc2018.py"])
def test_help_lists_the_flags(command_lines, script):
    stdout = command_lines.run(script, "--help").stdout
    assert "--mask_zone" in stdout and "--bert_config_file" in stdout
