# SPDX-License-Identifier: Apache-2.0
"""Passages split into words."""

import array
import bisect
import sys
from typing import Pattern


class Text:
    """A passage with its words and where each of them begins.

    Args:
      context: the passage.
      word_pattern: finds its words.
    """

    def __init__(self, context: str, word_pattern: Pattern):
        matches = list(word_pattern.finditer(context))
        self.context = context
        self.words = [sys.intern(match.group()) for match in matches]  # one object for equal words
        self.starts = array.array("i", [match.start() for match in matches])

    def word_at(self, position: int) -> int:
        """Returns the number of the word that covers character `position` or, on white space, precedes it."""
        return bisect.bisect_right(self.starts, position) - 1


class AnswerNotFound(Exception):
    """A training answer that is not in its passage; the message says how."""
