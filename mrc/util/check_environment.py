# SPDX-License-Identifier: Apache-2.0
"""Exits with a one-line message if a package is missing or TensorFlow is not 1.13 to 2.15.

Scripts import this module first.
"""

from __future__ import absolute_import, division, print_function

import os
import re
import sys

from mrc.util import streams

streams.open_closed()  # before TensorFlow opens files

# TensorFlow 2 logs ten lines when it is imported, some of them as errors, which are none. What
# fails is raised as well.
if not any(word.startswith(("--verbose_logging", "-verbose_logging")) for word in sys.argv):
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def _explain_lack_of_memory(kind, error, trace):
    """Reports an uncaught error, with one line if there is not enough memory to load modules."""
    if kind is MemoryError or re.search("failed to map segment|annot allocate memory", str(error)):
        print(
            "error: not enough memory to load the program; end other programs, or raise the limit that `ulimit -v` shows",
            file=sys.stderr,
        )
    else:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _explain_lack_of_memory

_NEEDED = ("tensorflow", "numpy", "scipy", "absl", "tqdm", "nltk", "googleapiclient", "oauth2client")
# as in "tensorflow_cpu-2.15.1.dist-info" or "tensorflow-1.15.3-py3.7.egg-info"
_METADATA = re.compile(
    r"(?:tensorflow|tensorflow[-_]cpu|tensorflow[-_]gpu|tensorflow[-_]intel|tensorflow[-_]macos|"
    r"tensorflow[-_]cpu[-_]aws|nvidia[-_]tensorflow|tf[-_]nightly)-"
    r"((\d+)\.(\d+)[^-]*)(?:-.*)?\.(?:dist|egg)-info$",
    re.IGNORECASE,
)


def _tensorflow_version():
    """Returns the installed version of TensorFlow as (text, (major, minor)), or None.

    Reads package metadata only, because an import takes seconds.
    """
    for folder in sys.path:
        try:
            names = os.listdir(folder or ".")
        except OSError:  # a zip file, or missing
            continue
        for name in sorted(names):
            match = _METADATA.match(name)
            if match:
                return match.group(1), (int(match.group(2)), int(match.group(3)))
    return None


def _what_is_wrong():
    if sys.version_info < (3, 7):
        return "is too old: Python 3.7 to 3.11 is needed"
    import importlib.util  # Python 2 has none

    missing = [name for name in _NEEDED if name not in sys.modules and importlib.util.find_spec(name) is None]
    if "tensorflow" not in missing:
        version = _tensorflow_version()  # None for a package without metadata, which is accepted
        if version and version[1] >= (2, 16):
            return "has TensorFlow %s, which has no estimators: install 2.15.1" % version[0]
        if version and version[1] < (1, 13):
            return "has TensorFlow %s: 1.13 to 2.15 are supported, for example 2.15.1" % version[0]
    return "has no " + ", ".join(missing) if missing else None


def _refuse(message):
    print("error: " + message, file=sys.stderr)
    sys.exit(2)


if sys.flags.optimize > 1:
    _refuse(
        "Python runs without docstrings (PYTHONOPTIMIZE=%d or -OO), which TensorFlow needs; unset "
        "PYTHONOPTIMIZE" % sys.flags.optimize
    )
_wrong = _what_is_wrong()
if _wrong:
    _refuse(
        "Python %d.%d at %s %s; run `. scripts/setup_environment.sh requirements.txt "
        "requirements/figures.txt && . .venv/bin/activate` in the project folder, then rerun the "
        "command" % (sys.version_info[0], sys.version_info[1], sys.executable, _wrong)
    )
