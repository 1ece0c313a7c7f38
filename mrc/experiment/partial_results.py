# SPDX-License-Identifier: Apache-2.0
"""Partial results of a forward pass on disk: memory use is constant and a killed run can resume.

Windows are grouped in blocks that end where an example ends. A part file holds the windows that
were finished within a limit of time and size.
"""

import contextlib
import io
import os
import time

import numpy as np
import tensorflow.compat.v1 as tf

from mrc.util import files
from mrc.util.errors import InputError

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
    """The best positions of finished windows, in part files of `folder`."""

    def __init__(self, folder):
        self._folder = folder
        self._pending, self._since, self._size = [], time.monotonic(), 0
        self._parts = [
            part for part in map(self._read_rows, sorted(tf.gfile.ListDirectory(folder))) if part
        ]
        self._rows = set()
        for _, rows in self._parts:
            self._rows.update(rows.tolist())

    def _path(self, name):
        return os.path.join(self._folder, name)

    def _load(self, name):
        return files.read_arrays(self._path(name), "unfinished work")

    def _read_rows(self, name):
        """Returns (name, rows) of a part file, or None for any other or damaged file.

        The windows of a damaged part are computed again.
        """
        if not name.endswith(".npz"):
            return None
        try:
            part = self._load(name)
            for key in part.files:
                part[key]  # damage is found now, not during decoding
            return name, part["rows"]
        except InputError:
            raise
        except Exception:  # a damaged file can raise almost anything
            tf.logging.warning("%s is damaged; its windows are computed again", self._path(name))
            tf.gfile.Remove(self._path(name))
            return None

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
        if time.monotonic() - self._since > SECONDS_IN_PART or self._size > BYTES_IN_PART:
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
            name, buffer = "part-%06d.npz" % self._next_number(), io.BytesIO()
            np.savez(buffer, rows=rows, **arrays)
            files.write(self._path(name), buffer.getvalue(), binary=True)
            self._parts.append((name, rows))
        self._pending, self._since, self._size = [], time.monotonic(), 0

    def _next_number(self):
        return 1 + max([int(name[len("part-") : -len(".npz")]) for name, _ in self._parts] or [-1])

    def read(self, first, stop):
        """Returns the results of windows `first` to `stop - 1`, a dict of [windows, ...] arrays."""
        found = {}
        for name, rows in self._parts:
            inside = (rows >= first) & (rows < stop)
            if inside.any():
                part = self._load(name)
                for key in part.files:
                    if key != "rows":
                        values = part[key]
                        array = found.setdefault(
                            key, np.zeros((stop - first,) + values.shape[1:], values.dtype)
                        )
                        array[rows[inside] - first] = values[inside]
        return found

    def remove(self):
        """Removes all parts."""
        remove(self._folder)


def remove(folder):
    """Removes the folder of partial results whose files are complete."""
    with contextlib.suppress(tf.errors.OpError):  # nothing else needs it
        tf.gfile.DeleteRecursively(folder)
