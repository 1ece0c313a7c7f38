# SPDX-License-Identifier: Apache-2.0
"""Standard output and standard error that survive a closed reader or a full disk."""

import contextlib
import os
import sys


def open_closed():
    """Opens closed standard streams (`>&-`) before another file gets their descriptors.

    They are opened for reading, so that to write fails as on a closed stream.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)  # gets the lowest free descriptor, this one
            if number:
                setattr(sys, name, open(number, "w", closefd=False))


class DiscardingStream:
    """A text stream that discards its output once a write has failed.

    In `run_squad.py ... 2>&1 | tee log`, for example, Ctrl-C also ends `tee`, while the run still
    has a checkpoint to write. Characters that the encoding lacks are written as escapes.

    Args:
      stream: a stream with a file descriptor, such as `sys.stderr`.

    Attributes:
      failure: the first error other than a closed reader, or None.
    """

    def __init__(self, stream):
        self._stream, self.failure = stream, None
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")

    def __getattr__(self, name):
        return getattr(self._stream, name)

    def _attempt(self, method, *args):
        try:
            method(*args)
        except OSError as error:
            if not isinstance(error, BrokenPipeError):
                self.failure = self.failure or error
            void = os.open(os.devnull, os.O_WRONLY)
            os.dup2(void, self._stream.fileno())
            os.close(void)

    def write(self, text):
        self._attempt(self._stream.write, text)

    def flush(self):
        self._attempt(self._stream.flush)


@contextlib.contextmanager
def discarding_failures():
    """Makes `sys.stdout` and `sys.stderr` discard output that cannot be written in the block."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = map(DiscardingStream, before)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before
