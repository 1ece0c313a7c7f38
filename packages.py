# SPDX-License-Identifier: Apache-2.0
"""Importing this says so in one sentence where a package that the project needs is not there; scripts do it first."""
from __future__ import absolute_import, division, print_function

import importlib.util
import sys

_NEEDED = ("tensorflow", "numpy", "absl", "tqdm", "nltk", "googleapiclient", "oauth2client")

missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
if missing:
    print("error: Python %d.%d at %s has no %s; run `. ./setup_environment.sh requirements.txt && . .venv/bin/activate` in the "
          "folder of the project, then the same command again (TensorFlow 1.15 needs Python 3.7)" %
          (sys.version_info[0], sys.version_info[1], sys.executable, ", ".join(missing)), file=sys.stderr)
    sys.exit(2)
