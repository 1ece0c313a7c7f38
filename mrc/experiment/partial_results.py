# SPDX-License-Identifier: Apache-2.0
"""Partial results of a forward pass on disk: memory use is constant and a killed run can resume.

Windows are grouped in blocks that end where an example ends. A part file holds the windows that
were finished within a limit of time and size.
"""

import contextlib
import os
import time

import numpy as np
import tensorflow.compat.v1 as tf

from mrc.util import array_files
from mrc.util.errors import Fault

WINDOWS_IN_BLOCK = 1024
SECONDS_IN_PART = 60  # a killed run loses at most this much work
BYTES_IN_PART = 8 << 20


def cut_blocks(example_of):
    """Returns [(first, stop)], the blocks of windows that are held in memory together.

    The windows of an example are never split between blocks.

    Args:
      example_of: for each window, the index of its example.
    """
    blocks, first = [], 0
    for row in range(1, len(example_of) + 1):
        at_end = row == len(example_of)
        if at_end or (row - first >= WINDOWS_IN_BLOCK and example_of[row] != example_of[row - 1]):
            blocks.append((first, row))
            first = row
    return blocks


class PartialResults:
    """The best positions of finished windows, in part files.

    Args:
      work: `provenance.UnfinishedWork`; files that do not carry its fingerprint are not used.
    """

    def __init__(self, work):
        self._work = work
        self._pending, self._since, self._size = [], time.time(), 0
        self._parts = [
            part
            for part in map(self._read_rows, sorted(tf.gfile.ListDirectory(work.folder)))
            if part
        ]
        self._rows = set()
        for _, rows in self._parts:
            self._rows.update(rows.tolist())

    def _path(self, name):
        return os.path.join(self._work.folder, name)

    def _read_rows(self, name):
        """Returns (name, rows) of a part file, or None for any other file."""
        if not name.endswith(".npz"):
            return None
        part = read_unfinished(self._work, name)
        return part and (name, part["rows"])

    def __contains__(self, row):
        return row in self._rows

    def __len__(self):
        return len(self._rows)

    def add(self, rows, best):
        """Adds the best positions of windows, and writes a part file when one is due.

        Args:
          rows: window indices, [windows].
          best: dict of [windows, ...] arrays.
        """
        self._pending.append((np.asarray(rows), best))
        self._rows.update(self._pending[-1][0].tolist())
        self._size += sum(values.nbytes for values in best.values())
        if time.time() - self._since > SECONDS_IN_PART or self._size > BYTES_IN_PART:
            self.flush()

    @contextlib.contextmanager
    def kept(self):
        """Flushes what the block adds, even if it raises."""
        try:
            yield
        finally:
            self.flush()

    def flush(self):
        """Writes the results that were added since the last part."""
        if self._pending:
            rows = np.concatenate([added for added, _ in self._pending])
            arrays = {
                name: np.concatenate([best[name] for _, best in self._pending])
                for name in self._pending[0][1]
            }
            name = "part-%06d.npz" % self._next_number()
            array_files.write(self._path(name), self._work.fingerprint, dict(arrays, rows=rows))
            self._parts.append((name, rows))
        self._pending, self._since, self._size = [], time.time(), 0

    def _next_number(self):
        return 1 + max([int(name[len("part-") : -len(".npz")]) for name, _ in self._parts] or [-1])

    def _load(self, name):
        part = read_unfinished(self._work, name)
        if part is None:
            raise Fault(
                f"{self._path(name)} changed while it was in use; rerun the same command, which "
                "computes its windows again"
            )
        return part

    def read(self, first, stop):
        """Returns the results of windows `first` to `stop - 1`, a dict of [windows, ...] arrays."""
        found = {}
        for name, rows in self._parts:
            inside = (rows >= first) & (rows < stop)
            if inside.any():
                part = self._load(name)
                del part["rows"]
                for key, values in part.items():
                    array = found.setdefault(
                        key, np.zeros((stop - first,) + values.shape[1:], values.dtype)
                    )
                    array[rows[inside] - first] = values[inside]
        return found

    def remove(self):
        """Removes all parts."""
        remove(self._work)


def read_unfinished(work, name):
    """Returns the arrays of a file of an `UnfinishedWork`, or None after removing the file if they
    are not usable: their windows are computed again.
    """
    path = os.path.join(work.folder, name)
    try:
        arrays = array_files.read(path, work.fingerprint, work.trusts_unsigned)
        reason = "it is of other work"
    except array_files.DamagedArrays as error:
        arrays, reason = None, str(error)
    if arrays is None:
        tf.logging.warning("%s is not used (%s); its windows are computed again", path, reason)
        tf.gfile.Remove(path)
    return arrays


def remove(work):
    """Removes an `UnfinishedWork` whose results are complete."""
    with contextlib.suppress(tf.errors.OpError):  # nothing else needs it
        tf.gfile.DeleteRecursively(work.folder)
