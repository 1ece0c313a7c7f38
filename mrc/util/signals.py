# SPDX-License-Identifier: Apache-2.0
"""SIGINT (Ctrl-C) and SIGTERM: work stops where the same command can resume."""

import contextlib
import os
import signal
import sys
import threading

from mrc.util.errors import Stopped

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_NOTICE = b"\nstopping: the step under way is finished first (Ctrl-\\ ends it at once)\n"


def exit_quietly_on_interrupt():
    """Makes Ctrl-C end the process silently before anything has started; a `SignalHandler` takes over later."""
    if (
        signal.getsignal(signal.SIGINT) == signal.default_int_handler
    ):  # and not that of a shell's background work
        signal.signal(signal.SIGINT, signal.SIG_DFL)


class SignalHandler:
    """Turns the signals into an `errors.Stopped`, as a context manager.

    It is raised at once, but within `waiting` only noted: long work looks at `asked` where it can stop without loss.
    """

    def __init__(self):
        self.received = None  # number of the signal that came
        self._defers, self._repeats, self._before = False, 0, {}

    def __enter__(self):
        if (
            threading.current_thread() is threading.main_thread()
        ):  # Python lets no other one have handlers
            for number in SIGNALS:
                if (
                    signal.getsignal(number) != signal.SIG_IGN
                ):  # a shell's background work ignores Ctrl-C
                    self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(self, *exception):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def reinstall(self):
        """Takes the signals again, where somebody else has taken them."""
        for number in self._before:
            signal.signal(number, self._take)

    def _take(self, number, frame):
        del frame
        if self.received is None:
            self.received = number
            if not self._defers:
                raise Stopped(number)
            return
        self._repeats += 1  # `timeout` and the like pass a Ctrl-C on that came already, so that once is no impatience
        if self._repeats == 1:
            with contextlib.suppress(OSError, ValueError):  # nobody reads it
                os.write(sys.stderr.fileno(), _NOTICE)  # print may be running at this very moment
        else:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    @contextlib.contextmanager
    def deferred(self):
        """Only notes the signals that come in the block."""
        self._defers = True
        try:
            yield
        finally:
            self._defers = False

    def check(self, state=""):
        """Raises `errors.Stopped` where a signal came; `state` is as there."""
        if self.received is not None:
            raise Stopped(self.received, state)
