# SPDX-License-Identifier: Apache-2.0
"""The one exception for what a user can mend, and the exit code that goes with it."""
from __future__ import absolute_import, division, print_function

import argparse
import contextlib
import sys

EXIT_CODE = 2


class InputError(Exception):
    """A wrong flag, file or model: its text is one sentence for the user, with the value and the remedy."""


def check_words(words):
    """Raises an `InputError` where a word of the command line is not UTF-8, as all paths and flags must be."""
    for word in words:
        try:
            word.encode("utf-8")
        except UnicodeEncodeError:
            raise InputError("%s is not UTF-8 text; rename the file, or write the word in UTF-8" %
                             word.encode("utf-8", "backslashreplace").decode("ascii", "replace"))


class ArgumentParser(argparse.ArgumentParser):
    """A parser that speaks of a wrong argument as the rest of the project does of any mistake."""

    def parse_args(self, args=None, namespace=None):
        check_words(sys.argv if args is None else args)
        return super(ArgumentParser, self).parse_args(args, namespace)

    def error(self, message):
        raise InputError("%s (python %s --help lists the arguments)" % (message, self.prog))


@contextlib.contextmanager
def one_sentence():
    """Turns an `InputError` raised inside into that sentence on stderr and exit code 2."""
    try:
        yield
    except InputError as error:
        sys.stdout.flush()
        print("error: %s" % error, file=sys.stderr)
        sys.exit(EXIT_CODE)
