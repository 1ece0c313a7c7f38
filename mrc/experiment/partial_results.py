# SPDX-License-Identifier: Apache-2.0
"""Partial results of a forward pass on disk: memory use is constant and a killed run can resume.

Windows are grouped in blocks that end where an example ends. Results are written whenever a limit
of time or size is reached, in files that name their shard: shards share a folder, never a file.
"""

import contextlib
import os
import re
import time

import numpy as np
import tensorflow.compat.v1 as tf

from mrc.data.windows import PADDING_WINDOW
from mrc.util import array_files
from mrc.util.errors import Fault

WINDOWS_IN_BLOCK = 1024
SECONDS_IN_PART = 60  # a killed run loses at most this much work
BYTES_IN_PART = 8 << 20
_PART = re.compile(r"(part-(?:\d+-of-\d+-)?)(\d+)\.npz")  # of the whole pass, or of a shard


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


class Results:
    """The results of finished windows, in files that carry the fingerprint of their work.

    `len()` is the number of finished windows. A subclass has `missing(batches)`, the batches that
    are to run, in a shard of its own ones; `add(rows, arrays)`, which adds one of them and calls
    `_flush_if_due`; and `flush()`.

    Args:
      work: `provenance.UnfinishedWork`; files that do not carry its fingerprint are not used.
    """

    def __init__(self, work):
        self._work, self._since = work, time.monotonic()
        self._prefix = f"part-{work.shard.name}-" if work.shard else "part-"
        parts = [_PART.fullmatch(name) for name in sorted(tf.gfile.ListDirectory(work.folder))]
        self._parts = [part.group() for part in parts if part]
        numbers = [int(part.group(2)) for part in parts if part and part.group(1) == self._prefix]
        self._next_number = max(numbers, default=-1) + 1

    def _path(self, name):
        return os.path.join(self._work.folder, name)

    def _read(self, name):
        """Returns the arrays of a file, or None if they are not usable.

        The file is removed then, but not by a shard: it may be another one's.
        """
        try:
            arrays = array_files.read(self._path(name), self._work.fingerprint, self._work.trusts_unsigned)
            reason = "it is of other work"
        except array_files.DamagedArrays as error:
            arrays, reason = None, str(error)
        if arrays is None:
            tf.logging.warning("%s is not used (%s); its windows are computed again", self._path(name), reason)
            if not self._work.shard:
                tf.gfile.Remove(self._path(name))
        return arrays

    def _read_parts(self):
        """Yields (name, arrays) of the usable parts, those of all shards."""
        for name in self._parts:
            arrays = self._read(name)
            if arrays is not None:
                yield name, arrays

    def _write(self, name, arrays):
        array_files.write(self._path(name), self._work.fingerprint, arrays)
        self._since = time.monotonic()

    def _write_part(self, arrays):
        """Writes the next part and returns its name."""
        name = "%s%06d.npz" % (self._prefix, self._next_number)
        self._write(name, arrays)
        self._next_number += 1
        return name

    def _flush_if_due(self, size=0):
        if time.monotonic() - self._since > SECONDS_IN_PART or size > BYTES_IN_PART:
            self.flush()

    @contextlib.contextmanager
    def flushed(self):
        """Flushes what the block adds, even if it raises."""
        try:
            yield
        finally:
            self.flush()


class PartialResults(Results):
    """The best positions of finished windows, in part files."""

    def __init__(self, work):
        super().__init__(work)
        self._pending, self._size = [], 0
        self._rows_of = {name: part["rows"] for name, part in self._read_parts()}
        self._rows = {row for rows in self._rows_of.values() for row in rows.tolist()}

    def __len__(self):
        return len(self._rows)

    def missing(self, batches):
        """Returns the batches, of the shard's own, with a window that is not finished."""
        finished = self._rows | {PADDING_WINDOW}
        return [batch for batch in self._work.own(batches) if not finished.issuperset(batch)]

    def add(self, rows, best):
        """Adds the best positions of windows that are not finished yet.

        Args:
          rows: window indices, [windows].
          best: dict of [windows, ...] arrays.
        """
        finished = self._rows | {PADDING_WINDOW}
        is_new = np.array([row not in finished for row in np.asarray(rows).tolist()])
        self._pending.append((np.asarray(rows)[is_new], {name: values[is_new] for name, values in best.items()}))
        self._rows.update(self._pending[-1][0].tolist())
        self._size += sum(values.nbytes for values in self._pending[-1][1].values())
        self._flush_if_due(self._size)

    def flush(self):
        """Writes the results that were added since the last part."""
        if self._pending:
            rows = np.concatenate([added for added, _ in self._pending])
            arrays = {name: np.concatenate([best[name] for _, best in self._pending]) for name in self._pending[0][1]}
            self._rows_of[self._write_part(dict(arrays, rows=rows))] = rows
        self._pending, self._size = [], 0

    def read(self, first, stop):
        """Returns the results of windows `first` to `stop - 1`, a dict of [windows, ...] arrays."""
        best = {}
        for name, rows in self._rows_of.items():
            inside = (rows >= first) & (rows < stop)
            if inside.any():
                part = self._read(name)
                if part is None:
                    raise Fault(
                        f"{self._path(name)} changed while it was in use; rerun the same command, "
                        "which computes its windows again"
                    )
                del part["rows"]
                for key, values in part.items():
                    array = best.setdefault(key, np.zeros((stop - first,) + values.shape[1:], values.dtype))
                    array[rows[inside] - first] = values[inside]
        return best


def remove(work):
    """Removes an `UnfinishedWork` whose results are complete."""
    with contextlib.suppress(tf.errors.OpError):  # nothing else needs it
        tf.gfile.DeleteRecursively(work.folder)
