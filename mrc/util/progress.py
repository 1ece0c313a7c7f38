# SPDX-License-Identifier: Apache-2.0
"""Progress of long work on stderr: how much is done, how fast, and the time left."""

import sys
import weakref

import tqdm

PATIENCE = 5  # seconds after which work shows its progress
SECONDS_BETWEEN_LINES = 20  # if stderr is not a terminal
_bars = weakref.WeakSet()


def bar(total, what, unit, initial=0, delay=0):
    """Returns a `tqdm` bar, a context manager.

    Args:
      total, initial: number of units in all, and of those already done.
      what, unit: names of the work and of a unit.
      delay: seconds until it is shown; work that finishes sooner shows no bar.
    """
    watched = sys.stderr.isatty()
    new_bar = tqdm.tqdm(
        total=total,
        desc=what,
        unit=unit,
        initial=initial,
        dynamic_ncols=watched,
        delay=delay,
        mininterval=0.2 if watched else SECONDS_BETWEEN_LINES,
    )
    _bars.add(new_bar)
    return new_bar


def close_bars():
    """Closes the bars of interrupted work, so that the next output begins on a new line."""
    for each in list(_bars):
        each.close()
