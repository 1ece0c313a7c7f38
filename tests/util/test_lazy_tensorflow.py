# SPDX-License-Identifier: Apache-2.0
"""Help and figures of tables do not wait for TensorFlow; local files are the same without it."""

import os
import subprocess
import sys

import pytest
import tiny

# Runs a script with `sys.argv`, then says whether TensorFlow was imported.
_RUN = """
import runpy, sys
sys.argv = sys.argv[1:]
code = 0
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as end:
    code = end.code or 0
print("\\nimported" if "tensorflow" in sys.modules else "\\nnot imported", code)
"""
SCRIPTS = (
    "run_squad",
    "run_cmrc2018",
    "import_huggingface",
    "visualize_zones",
    "visualize_attention",
    "compare",
    "correlate",
)


def last_line(*words):
    """Returns what `_RUN` says of a command in a new process, and its stderr."""
    environment = dict(os.environ, PYTHONPATH=tiny.ROOT, PYTHONIOENCODING="utf-8")
    done = subprocess.run([sys.executable, "-c", _RUN, *words], capture_output=True, cwd=tiny.ROOT, env=environment)
    return done.stdout.decode("utf-8").split("\n")[-2], done.stderr.decode("utf-8")


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_exits_with_0_and_without_tensorflow(name):
    assert last_line(name + ".py", "--help")[0] == "not imported 0"


def test_a_table_is_drawn_without_tensorflow(tmp_path):
    table = tmp_path / "results.csv"
    table.write_text("layer,q2\nbaseline,80\n0,70\n")
    figure = tmp_path / "new" / "zones.png"
    assert last_line("visualize_zones.py", str(table), str(figure)) == ("not imported 0", "")
    assert figure.read_bytes().startswith(b"\x89PNG") and os.listdir(figure.parent) == ["zones.png"]


# Prints what each operation on files does with paths of all kinds.
_FILES = """
import sys
sys.path.insert(0, {root!r})
if sys.argv[1] == "tensorflow":
    import tensorflow
from mrc.util import errors, files
for operation in (
    files.exists,
    files.read_text,
    files.sha256,
    lambda path: files.write(path, "naïve\\n"),
    files.make_folder,
    files.make_folder_of,
):
    for path in ("text", "folder", "missing", "text/below", "folder/deep/er", "caf\\u00e9"):
        try:
            print(operation(path))
        except (errors.InputError, errors.Fault) as error:
            print(type(error).__name__, str(error).split("(")[0])
"""


def test_local_files_are_the_same_with_and_without_tensorflow(tmp_path):
    printed = []
    for kind in ("tensorflow", "none"):
        (tmp_path / kind / "folder").mkdir(parents=True)
        (tmp_path / kind / "text").write_text("a")
        done = subprocess.run(
            [sys.executable, "-c", _FILES.format(root=tiny.ROOT), kind],
            capture_output=True,
            cwd=str(tmp_path / kind),
            env=dict(os.environ, PYTHONIOENCODING="utf-8"),
        )
        printed.append(done.stdout.decode("utf-8").splitlines())
    assert printed[0] == printed[1] and len(printed[0]) == 36
    trees = [
        sorted(str(path.relative_to(tmp_path / kind)) for path in (tmp_path / kind).rglob("*"))
        for kind in ("tensorflow", "none")
    ]
    assert trees[0] == trees[1]
