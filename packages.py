# SPDX-License-Identifier: Apache-2.0
"""Importing this says so in one sentence where Python is not 3.7 or lacks a package; scripts do it first."""
from __future__ import absolute_import, division, print_function

import sys

_NEEDED = ("tensorflow", "numpy", "absl", "tqdm", "nltk", "googleapiclient", "oauth2client")


def _what_is_wrong():
    if sys.version_info[:2] != (3, 7):
        return "is not the 3.7 that TensorFlow 1.15 needs"
    import importlib.util  # Python 2 has none

    missing = [name for name in _NEEDED if name not in sys.modules and importlib.util.find_spec(name) is None]
    return "has no " + ", ".join(missing) if missing else None


_wrong = _what_is_wrong()
if _wrong:
    print("error: Python %d.%d at %s %s; run `. ./setup_environment.sh requirements.txt requirements-figures.txt && "
          ". .venv/bin/activate` in the folder of the project, then the same command again" %
          (sys.version_info[0], sys.version_info[1], sys.executable, _wrong), file=sys.stderr)
    sys.exit(2)
