# SPDX-License-Identifier: Apache-2.0
"""SIGINT (Ctrl-C), SIGTERM and SIGHUP (a closed terminal) stop work where it can resume."""

import contextlib
import os
import signal
import sys
import threading

from mrc.util.errors import Stopped

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_NOTICE = b"\nstopping: the current step is finished first (Ctrl-\\ to quit at once)\n"


def exit_quietly_on_interrupt():
    """Makes Ctrl-C end the process silently until a `SignalHandler` takes over."""
    # A background job of a shell ignores the signal instead.
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


class SignalHandler:
    """Turns `SIGNALS` into `errors.Stopped`, as a context manager.

    Raises it at once, except within `deferred`, where the signal is only recorded in `received`:
    long work checks it where it can stop without loss.
    """

    def __init__(self):
        self.received = None  # number of the first signal
        self._defers, self._repeats, self._before = False, 0, {}

    def __enter__(self):
        # Python allows handlers in the main thread only.
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                # A background job of a shell ignores Ctrl-C, and nohup a closed terminal.
                if signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(self, *exception):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def reinstall(self):
        """Installs the handlers again after other code has replaced them."""
        for number in self._before:
            signal.signal(number, self._take)

    def _take(self, number, frame):
        del frame
        if self.received is None:
            self.received = number
            if not self._defers:
                raise Stopped(number)
            return
        # `timeout` and the like repeat a Ctrl-C, so that only a third signal ends the process.
        self._repeats += 1
        if self._repeats == 1:
            with contextlib.suppress(OSError, ValueError):  # stderr may be closed
                os.write(sys.stderr.fileno(), _NOTICE)  # print is not reentrant
        else:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    @contextlib.contextmanager
    def deferred(self):
        """Only records signals during the block."""
        self._defers = True
        try:
            yield
        finally:
            self._defers = False

    def check(self, state=""):
        """Raises `errors.Stopped` if a signal arrived; `state` is its argument."""
        if self.received is not None:
            raise Stopped(self.received, state)
