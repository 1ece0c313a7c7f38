# SPDX-License-Identifier: Apache-2.0
"""Runs command lines of the project in forks of a process that has imported TensorFlow once.

Each command is a child that runs the script file as `python script.py words` does, with its own
`sys.argv`, standard streams and exit code. Only third-party modules are imported before the fork
(and the module that configures TensorFlow), and no session is created.
"""

import contextlib
import gc
import importlib
import json
import os
import resource
import runpy
import signal
import subprocess
import sys
import tempfile
from typing import NamedTuple

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SECONDS = 180  # after which a command is killed
_PRELOADED = (
    "tensorflow.compat.v1",
    "mrc.util.tensorflow_versions",
    "nltk.tokenize.destructive",
    "googleapiclient.discovery",
    "oauth2client.client",
    "matplotlib.figure",
    "matplotlib.backends.backend_agg",
    "tqdm",
    "absl.app",
)


class Done(NamedTuple):
    """The result of a command.

    Attributes:
      code: exit code; negative for a signal.
      stdout, stderr: output.
      mebibytes: peak memory.
    """

    code: int
    stdout: str
    stderr: str
    mebibytes: int


def environment():
    """Returns the environment of a command: that of the tests, without a GPU."""
    return dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="", PYTHONIOENCODING="utf-8")


class CommandLines:
    """The process that is forked for each command; it ends with the one that made it."""

    def __init__(self):
        path = os.pathsep.join([ROOT, os.environ.get("PYTHONPATH", "")])
        self._process = subprocess.Popen(
            [sys.executable, os.path.abspath(__file__)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=dict(environment(), PYTHONPATH=path),
        )

    def run(self, script, *words, cwd=None):
        """Runs `script` of the project with these arguments in `cwd` and returns `Done`."""
        with tempfile.TemporaryDirectory() as folder:
            request = {
                "words": [os.path.join(ROOT, script)] + list(words),
                "folder": folder,
                "cwd": cwd or os.getcwd(),
                "environment": environment(),
            }
            self._process.stdin.write(json.dumps(request).encode("ascii") + b"\n")
            self._process.stdin.flush()
            answer = json.loads(self._process.stdout.readline().decode("ascii"))
            texts = []
            for name in ("stdout", "stderr"):
                with open(os.path.join(folder, name), encoding="utf-8") as reader:
                    texts.append(reader.read())
        return Done(answer["code"], texts[0], texts[1], answer["mebibytes"])


def _redirect(folder):
    for number, name in ((1, "stdout"), (2, "stderr")):
        target = os.open(os.path.join(folder, name), os.O_WRONLY | os.O_CREAT, 0o600)
        os.dup2(target, number)
        os.close(target)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)


def _ended(child):
    _, status, used = os.wait4(child, 0)
    code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    return {"code": code, "mebibytes": used.ru_maxrss // 1024}


def _next_command(requests, answers):
    """Forks for each request; returns the request in a child, None in the parent at the end."""
    for line in requests:
        request = json.loads(line.decode("ascii"))
        child = os.fork()
        if not child:
            return request
        answers.write(json.dumps(_ended(child)).encode("ascii") + b"\n")
        answers.flush()
    return None


def _serve():
    for name in _PRELOADED:
        with contextlib.suppress(ImportError):  # TensorFlow 1.13 lacks some
            importlib.import_module(name)
    gc.collect()
    # Otherwise each child would traverse all objects of TensorFlow at exit, and copy their pages.
    gc.freeze()
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    request = _next_command(os.fdopen(os.dup(0), "rb", buffering=0), answers)
    if request is None:
        return
    answers.close()
    signal.alarm(SECONDS)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _redirect(request["folder"])
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = request["words"]
    sys.path[0] = os.path.dirname(sys.argv[0])
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    _serve()
