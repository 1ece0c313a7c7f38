# SPDX-License-Identifier: Apache-2.0
"""The failures of a run: each has an exit code and a one-line message."""

import argparse
import contextlib
import re
import signal
import sys

from mrc.util import progress, streams

EXIT_CODE = 2
# TensorFlow 2 reports the node of the graph before the cause.
_CAUSE = re.compile(r"Graph execution error:.*?\nNode: '[^\n]*'\n(.+)", re.DOTALL)
FAULT_EXIT_CODE = 1
_SIGNALLED = 128  # shells add the number of the signal to it


class InputError(Exception):
    """A wrong flag, file or model; the message is one line with the value and the remedy."""


def first_line(error):
    """Returns the first line of an exception's message, without its full stop."""
    text = str(getattr(error, "message", error)).strip() or type(error).__name__
    cause = _CAUSE.match(text)
    return (cause.group(1) if cause else text).split("\n")[0].rstrip(".")


def check_words(words):
    """Raises an `InputError` if a word of the command line is not UTF-8."""
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
    """A failure during a run, such as a full disk; the message has the cause and the remedy."""


class Stopped(BaseException):
    """A signal asked the run to stop; not an `Exception`, so that no handler of those catches it.

    Args:
      number: of the signal.
      state: what the next run resumes from, part of the message.
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
    """Reports an `InputError`, `Fault` or `Stopped` in one line on stderr, and exits with its code.

    Inside, stdout and stderr ignore broken pipes.
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
