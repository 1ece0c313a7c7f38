# SPDX-License-Identifier: Apache-2.0
"""The longest common run of two sequences in linear time, by a suffix automaton.

A state stands for the runs of one sequence that end at the same places (Blumer et al., 1985, "The
smallest automaton recognizing the subwords of a text").
"""

from typing import Hashable, Sequence

_NONE = -1  # the suffix of the empty run, state 0


class _Automaton:
    """The states of a sequence, by number.

    Attributes:
      length: length of the longest run of each state.
      suffix: the state of its longest suffix that is in another state.
      following: {item: next state} of each state.
    """

    def __init__(self, items):
        self.length, self.suffix, self.following = [0], [_NONE], [{}]
        last = 0
        for item in items:
            last = self._append(last, item)

    def _add(self, length, suffix, following):
        self.length.append(length)
        self.suffix.append(suffix)
        self.following.append(following)
        return len(self.length) - 1

    def _redirect(self, state, item, old, new):
        """Replaces `old` by `new` after `state` and its suffixes; returns the first without it."""
        while state != _NONE and self.following[state].get(item) == old:
            self.following[state][item] = new
            state = self.suffix[state]
        return state

    def _append(self, last, item):
        added = self._add(self.length[last] + 1, 0, {})
        shorter = self._redirect(last, item, None, added)
        if shorter != _NONE:
            target, length = self.following[shorter][item], self.length[shorter] + 1
            if self.length[target] > length:
                split = self._add(length, self.suffix[target], dict(self.following[target]))
                self._redirect(shorter, item, target, split)
                self.suffix[target] = split
                target = split
            self.suffix[added] = target
        return added


def length_of_common_run(left: Sequence[Hashable], right: Sequence[Hashable]) -> int:
    """Returns the length of the longest run of equal items in both sequences.

    >>> length_of_common_run("the old mill".split(), "an old mill in the town".split())
    2
    """
    items, others = sorted([left, right], key=len)
    runs = _Automaton(items)
    state = length = longest = 0
    for item in others:
        while state and item not in runs.following[state]:
            state = runs.suffix[state]
            length = runs.length[state]
        if item in runs.following[state]:
            state, length = runs.following[state][item], length + 1
            longest = max(longest, length)
    return longest
