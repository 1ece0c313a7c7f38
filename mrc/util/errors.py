# SPDX-License-Identifier: Apache-2.0
"""Ends of a run before its work is done: each has an exit code and a one-line message."""

import argparse
import contextlib
import re
import signal
import sys

from mrc.util import progress, streams

EXIT_CODE = 2
# TensorFlow 2 puts the place in the graph before the cause.
_CAUSE = re.compile(r"Graph execution error:.*?\nNode: '[^\n]*'\n(.+)", re.DOTALL)
FAULT_EXIT_CODE = 1
_SIGNALLED = 128  # what shells add the number of a signal to


class InputError(Exception):
    """A wrong flag, file or model: its text is one sentence for the user, with the value and the remedy."""


def first_line(error):
    """Returns the first line of what an exception says, without its full stop."""
    text = str(getattr(error, "message", error)).strip() or type(error).__name__
    cause = _CAUSE.match(text)
    return (cause.group(1) if cause else text).split("\n")[0].rstrip(".")


def check_words(words):
    """Raises an `InputError` where a word of the command line is not UTF-8, as all paths and flags must be."""
    for word in words:
        try:
            word.encode("utf-8")
        except UnicodeEncodeError:
            raise InputError(
                "{} is not UTF-8 text; rename the file, or write the word in UTF-8".format(
                    word.encode("utf-8", "backslashreplace").decode("ascii", "replace")
                )
            )


class ArgumentParser(argparse.ArgumentParser):
    """A parser that reports wrong arguments like all other input errors."""

    def parse_args(self, args=None, namespace=None):
        check_words(sys.argv if args is None else args)
        return super().parse_args(args, namespace)

    def error(self, message):
        raise InputError(f"{message}; python {self.prog} --help lists the arguments")


class Fault(Exception):
    """A failure during the work, such as a full disk; the message says in one line what happened and what to do."""


class Stopped(BaseException):
    """A signal asked the run to stop; nothing that catches every `Exception` may hold it up.

    Args:
      number: of the signal.
      state: what is left to resume from, part of a sentence.
    """

    def __init__(self, number, state=""):
        super().__init__(
            "stopped by {}{}; rerun the same command to resume".format(
                signal.Signals(number).name, state and ": " + state
            )
        )
        self.number = number


def _leave(text, code):
    progress.close_bars()
    sys.stdout.flush()
    print(text, file=sys.stderr)
    sys.exit(code)


@contextlib.contextmanager
def exit_with_message():
    """Turns an `InputError`, `Fault` or `Stopped` raised inside into its sentence on stderr and its exit code.

    Inside, stdout and stderr may lose their readers without harm.
    """
    with streams.broken_pipe_safe():
        try:
            yield
        except InputError as error:
            _leave(f"error: {error}", EXIT_CODE)
        except Fault as fault:
            _leave(f"error: {fault}", FAULT_EXIT_CODE)
        except Stopped as stopped:
            _leave(str(stopped), _SIGNALLED + stopped.number)
