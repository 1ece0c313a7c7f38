# SPDX-License-Identifier: Apache-2.0
"""Progress of long work on stderr: how much is done, how fast, and the time left."""

import sys
import weakref

import tqdm

PATIENCE = 5  # seconds that work may take before it is worth a word
SECONDS_BETWEEN_LINES = 20  # where nobody watches a terminal
_bars = weakref.WeakSet()


def bar(total, what, unit, initial=0, delay=0):
    """Returns a `tqdm` bar over `total` units of which `initial` are done; use it as a context manager.

    Args:
      delay: seconds before it is shown; work that is done sooner shows none.
    """
    watched = sys.stderr.isatty()
    made = tqdm.tqdm(
        total=total,
        desc=what,
        unit=unit,
        initial=initial,
        dynamic_ncols=watched,
        delay=delay,
        mininterval=0.2 if watched else SECONDS_BETWEEN_LINES,
    )
    _bars.add(made)
    return made


def close_bars():
    """Closes the bars of work that broke off, so that what is printed next begins a line."""
    for made in list(_bars):
        made.close()
