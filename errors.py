# SPDX-License-Identifier: Apache-2.0
"""The one exception for what a user can mend, and the exit code that goes with it."""
from __future__ import absolute_import, division, print_function

import contextlib
import sys

EXIT_CODE = 2


class InputError(Exception):
    """A wrong flag, file or model: its text is one sentence for the user, with the value and the remedy."""


@contextlib.contextmanager
def one_sentence():
    """Turns an `InputError` raised inside into that sentence on stderr and exit code 2."""
    try:
        yield
    except InputError as error:
        sys.stdout.flush()
        print("error: %s" % error, file=sys.stderr)
        sys.exit(EXIT_CODE)
