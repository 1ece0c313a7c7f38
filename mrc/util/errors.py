# SPDX-License-Identifier: Apache-2.0
"""The failures of a run: each has an exit code and a one-line message."""

import argparse
import contextlib
import logging
import re
import signal
import sys

from mrc.util import progress, streams
from mrc.util.lazy_tensorflow import tf

EXIT_CODE = 2
# TensorFlow 2 reports the node of the graph before the cause.
_CAUSE = re.compile(r"Graph execution error:.*?\nNode: '[^\n]*'\n(.+)", re.DOTALL)
FAULT_EXIT_CODE = 1
OUT_OF_MEMORY = (
    "not enough memory; end other programs or use a machine with more; a run needs less with a "
    "smaller --train_batch_size or --predict_batch_size, or fewer cells at a time"
)
_SIGNALLED = 128  # shells add the number of the signal to it
# Would break the line of a message, change the terminal or reverse the text.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def escaped(text):
    r"""Returns `text` for a message of one line: control characters and lone surrogates escaped.

    >>> escaped("a\nb")
    'a\\nb'
    """
    return _UNPRINTABLE.sub(lambda char: ascii(char.group())[1:-1], text)


def _escape_arguments(record):
    """A filter of a logger that escapes the texts of its messages."""
    if isinstance(record.args, tuple):
        record.args = tuple(escaped(str(arg)) if isinstance(arg, (str, Exception)) else arg for arg in record.args)
    return True


def warn(text):
    """Logs a warning of one line, escaped by the filter of `exit_with_message`."""
    tf.logging.warning("%s", text)


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
                f"{word.encode('utf-8', 'backslashreplace').decode('ascii', 'replace')} is not "
                "UTF-8 text; rename the file, or write the word in UTF-8"
            )


class ArgumentParser(argparse.ArgumentParser):
    """A parser with the lines of its description kept, and wrong arguments as input errors."""

    def __init__(self, description):
        super().__init__(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)

    def parse_args(self, args=None, namespace=None):
        check_words(sys.argv if args is None else args)
        return super().parse_args(args, namespace)

    def error(self, message):
        raise InputError(f"{message}; python {self.prog} --help lists the arguments")


def bounded(kind, least, most, what="a number"):
    """Returns the type of an argument that is a number of a `kind` from `least` to `most`."""

    def parse(text):
        try:
            value = kind(text)
        except ValueError:
            value = -1
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f'"{text}" is not {what} from {least} to {most}')
        return value

    return parse


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
            f"stopped by {signal.Signals(number).name}{state and ': ' + state}; rerun the same command to resume"
        )
        self.number = number


def _leave(text, code):
    progress.close_bars()
    sys.stdout.flush()
    print(escaped(text), file=sys.stderr)
    sys.exit(code)


def print_result(text):
    """Prints what the user runs the command for; unlike other output, it must not be lost."""
    print(text)
    sys.stdout.flush()
    failure = getattr(sys.stdout, "failure", None)
    if failure:
        raise Fault(
            f"stdout cannot be written ({failure.strerror}); redirect it to a file on a disk with "
            "free space and rerun the same command"
        )


@contextlib.contextmanager
def exit_with_message():
    """Reports an `InputError`, `Fault` or `Stopped` in one line on stderr, and exits with its code.

    Inside, stdout and stderr discard what cannot be written, and texts are escaped in warnings.
    """
    logging.getLogger("tensorflow").addFilter(_escape_arguments)
    with streams.discarding_failures():
        try:
            yield
        except InputError as error:
            _leave(f"error: {error}", EXIT_CODE)
        except Fault as fault:
            _leave(f"error: {fault}", FAULT_EXIT_CODE)
        except MemoryError:
            _leave(f"error: {OUT_OF_MEMORY}", FAULT_EXIT_CODE)
        except Stopped as stopped:
            _leave(str(stopped), _SIGNALLED + stopped.number)
