# SPDX-License-Identifier: Apache-2.0
"""Progress of long work on stderr: how much is done, how fast, and the time left."""
from __future__ import absolute_import, division, print_function

import sys

import tqdm

_SECONDS_BETWEEN_LINES = 20  # where nobody watches a terminal


def bar(total, what, unit, initial=0):
    """Returns a `tqdm` bar over `total` units of which `initial` are done; use it as a context manager."""
    watched = sys.stderr.isatty()
    return tqdm.tqdm(total=total, desc=what, unit=unit, initial=initial, dynamic_ncols=watched,
                     mininterval=0.2 if watched else _SECONDS_BETWEEN_LINES)
