# SPDX-License-Identifier: Apache-2.0
"""`run.json` in the output folder: the flags, inputs, results and outcome of each run there.

    {"runs": [{"run": "20261123T120000Z-1a2b3c4d", "begin": ..., "results": {file: SHA-256}, ...}]}

The newest run is last. The record is written when the run begins, after each of its parts and at
the end, so a killed run has a record without an end. A table such as `results.csv`, which does not
name its run, is matched by its SHA-256.
"""

import contextlib
import os
import platform
import subprocess
import time
import uuid

import numpy as np

from mrc.experiment import provenance
from mrc.util import errors, files
from mrc.util.errors import InputError, warn
from mrc.util.lazy_tensorflow import tf

RECORD_FILE = "run.json"
_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def _time_text(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _commit():
    """Returns the commit of the project, with "-dirty" if a file has changed; None without git."""
    command = ["git", "-C", _ROOT, "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        output = subprocess.check_output(command, stderr=subprocess.DEVNULL, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return None
    return output.decode("utf-8").strip() or None


def _code_fingerprint():
    """Returns the SHA-256 of all modules, which identifies the code where the commit does not."""
    names = sorted(name for name in tf.gfile.ListDirectory(_ROOT) if name.endswith(".py"))
    for folder, _, inside in sorted(tf.gfile.Walk(os.path.join(_ROOT, "mrc"))):
        names += [os.path.relpath(os.path.join(folder, name), _ROOT) for name in sorted(inside) if name.endswith(".py")]
    prints = [name + " " + files.sha256(os.path.join(_ROOT, name)) for name in names]
    return provenance.sha256("\n".join(prints).encode("utf-8"))


def _versions():
    has_affinity = hasattr(os, "sched_getaffinity")
    return {
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "numpy": np.__version__,
        "commit": _commit(),
        "code": _code_fingerprint(),
        "platform": platform.platform(),
        "cores": len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count(),
    }


def _is_entry(value):
    if not isinstance(value, dict) or "run" not in value:
        return False
    scored = value.get("scored", {})
    return (
        isinstance(value.get("results", {}), dict)
        and isinstance(scored, dict)
        and all(isinstance(answer, dict) and "sha256" in answer for answer in scored.values())
    )


def _read(path):
    """Returns the list of the recorded runs."""
    if not files.exists(path):
        return []
    try:
        value = files.read_json(path, "record of runs")
    except InputError:
        value = None
    runs = value.get("runs") if isinstance(value, dict) else None
    if not isinstance(runs, list) or not all(_is_entry(run) for run in runs):
        raise InputError(f"{path} is not a run record of this project; move it away, and a new one will be created")
    return runs


def _maker(runs, name, sha256):
    """Returns the name of the newest of `runs` that wrote this version of a file; see `find`."""
    writers = [run for run in runs if name in run.get("results", {})]
    return next((run["run"] for run in reversed(writers) if run["results"][name] == sha256), "" if writers else None)


def find(path, sha256):
    """Returns the name of the recorded run that wrote the file `path` with this SHA-256.

    Returns None if the record in its folder lacks the file, "" if the file has changed since.
    """
    folder, name = os.path.split(path)
    try:
        runs = _read(os.path.join(folder, RECORD_FILE))
    except InputError as error:
        warn(error)
        return None
    return _maker(runs, name, sha256)


def named(folder, name):
    """Returns the entry of the run in `folder` with this name, {} if there is none."""
    runs = _read(os.path.join(folder, RECORD_FILE)) if name else []
    return next((run for run in runs if run["run"] == name), {})


def last_with_flag(folder, names):
    """Returns the entry of the newest run in `folder` that had one of these flags on, or None."""
    runs = _read(os.path.join(folder, RECORD_FILE))
    for run in reversed(runs):
        flag_values = run.get("flags")
        if isinstance(flag_values, dict) and any(flag_values.get(name) for name in names):
            return run
    return None


def outdated_by(path, maker):
    """Returns the name of the last run that outdated a table, or None.

    Such a run scored without writing the table, or replaced answers that the table was made from.

    Args:
      path: of the table.
      maker: name of the run that wrote it.
    """
    folder, name = os.path.split(path)
    runs = _read(os.path.join(folder, RECORD_FILE))
    place = max(number for number, run in enumerate(runs) if run["run"] == maker)
    answers = runs[place].get("scored", {})
    for run in reversed(runs[place + 1 :]):
        results = run.get("results", {})
        if (
            answers  # a table of attention does not come from answers
            and run.get("scored")
            and name not in results
            or any(results.get(file_name, answer["sha256"]) != answer["sha256"] for file_name, answer in answers.items())
        ):
            return run["run"]
    return None


def _origin(path, sha256):
    """Returns the name of the run that wrote a table; warns if the table or its answers changed."""
    run = find(path, sha256)
    if run == "":
        warn(
            f"{path} was changed after the run that {os.path.join(os.path.dirname(path), RECORD_FILE)} names wrote it; "
            "run again what wrote it (--do_eval or --do_attention) to restore the table"
        )
    later = run and outdated_by(path, run)
    if later:
        warn(
            f"{path} does not match the last answers in its folder, which are from run {later}; "
            "rerun the grid's command with --do_eval to write its table again"
        )
    return f"{os.path.basename(path)} of run {run or 'unknown'}"


def origins(hashes):
    """Returns a text that names the run of each table; warns of tables that are not current.

    Args:
      hashes: {path: SHA-256} of the tables as they were read.
    """
    return ", ".join(_origin(*table) for table in hashes.items())


class Record:
    """The record of the current run.

    Args:
      folder: output folder.
      dataset: name of the dataset.
      flag_values: dict of the flags of the run.
    """

    def __init__(self, folder, dataset, flag_values):
        self._folder, self._path = folder, os.path.join(folder, RECORD_FILE)
        self._before = _read(self._path)
        begin, self._begin = time.time(), time.monotonic()
        self.name = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(begin))}-{uuid.uuid4().hex[:8]}"
        self._entry = {
            "run": self.name,
            "begin": _time_text(begin),
            "end": None,
            "seconds": None,
            "outcome": None,
            "dataset": dataset,
            "folder": os.getcwd(),  # where relative paths in the flags begin
            "flags": dict(sorted(flag_values.items())),
            "versions": _versions(),
            "inputs": {},
            "parts": {},
            "scored": {},
            "results": {},
        }
        self._write()

    def _write(self):
        files.write_json(self._path, {"runs": self._before + [self._entry]})

    def add_input(self, what, sha256):
        """Records the SHA-256 of an input: a checkpoint or data file."""
        self._entry["inputs"][what] = sha256

    def add_results(self, names):
        """Records the SHA-256 of files that the run wrote to the output folder."""
        for name in names:
            self._entry["results"][name] = files.sha256(os.path.join(self._folder, name))

    def add_scored(self, name, sha256):
        """Records that the run scored an answer file with this SHA-256, and which run wrote it."""
        made_by = _maker(self._before + [self._entry], name, sha256)
        self._entry["scored"][name] = {"sha256": sha256, "run": made_by}

    def warn_of_left_out(self):
        """Warns if the grid that was scored before has answers that the tables of this one leave out."""
        scored = self._entry["scored"]
        before = next((run["scored"] for run in reversed(self._before) if len(run.get("scored", ())) > 1), {})
        left_out = [name for name in before if name not in scored and files.exists(os.path.join(self._folder, name))]
        if left_out and len(scored) > 1:
            warn(
                f"the tables in {self._folder} now leave out cells that were scored before ({len(left_out)}, such as that "
                f"of {left_out[0]}); their answers are kept: for tables of all, rerun the grid's command with --do_eval"
            )

    @contextlib.contextmanager
    def part(self, name):
        """Records how long the block, a part of the run, takes."""
        begin = time.monotonic()
        try:
            yield
        finally:
            self._entry["parts"][name] = round(time.monotonic() - begin, 3)
        self._write()

    def close(self, outcome):
        """Records how the run ended."""
        self._entry.update(end=_time_text(time.time()), seconds=round(time.monotonic() - self._begin, 3), outcome=outcome)
        self._write()


@contextlib.contextmanager
def recording(folder, dataset, flag_values):
    """Yields the `Record` of the run in the block, and records its outcome."""
    record = Record(folder, dataset, flag_values)
    try:
        yield record
    except BaseException as error:
        with contextlib.suppress(errors.Fault):  # the disk may be what failed
            record.close(str(error) or type(error).__name__)
        raise
    record.close("finished")
