# SPDX-License-Identifier: Apache-2.0
"""Splits passages into words."""

import array
import bisect
import sys
from typing import Pattern


class Text:
    """A passage, its words, and the start of each word.

    Args:
      context: the passage.
      word_pattern: matches its words.
    """

    def __init__(self, context: str, word_pattern: Pattern):
        matches = list(word_pattern.finditer(context))
        self.context = context
        self.words = [sys.intern(match.group()) for match in matches]  # one object for equal words
        self.starts = array.array("i", [match.start() for match in matches])

    def word_at(self, position: int) -> int:
        """Returns the index of the word at a character position.

        On white space it is the word before it, -1 if there is none.
        """
        return bisect.bisect_right(self.starts, position) - 1


class AnswerNotFound(Exception):
    """A training answer is not in its passage; the message says why."""
