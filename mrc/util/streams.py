# SPDX-License-Identifier: Apache-2.0
"""Standard output and standard error that survive a closed reader."""

import contextlib
import os
import sys


class BrokenPipeSafeStream:
    """A text stream that ignores BrokenPipeError: output is discarded once its reader has exited.

    In `run_squad.py ... 2>&1 | tee log`, for example, Ctrl-C also ends `tee`, while the run still
    has a checkpoint to write.

    Args:
      stream: a stream with a file descriptor, such as `sys.stderr`.
    """

    def __init__(self, stream):
        self._stream = stream

    def __getattr__(self, name):
        return getattr(self._stream, name)

    def _attempt(self, method, *args):
        try:
            method(*args)
        except BrokenPipeError:
            void = os.open(os.devnull, os.O_WRONLY)
            os.dup2(void, self._stream.fileno())
            os.close(void)

    def write(self, text):
        self._attempt(self._stream.write, text)

    def flush(self):
        self._attempt(self._stream.flush)


@contextlib.contextmanager
def broken_pipe_safe():
    """Makes `sys.stdout` and `sys.stderr` ignore broken pipes in the block."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = map(BrokenPipeSafeStream, before)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before
