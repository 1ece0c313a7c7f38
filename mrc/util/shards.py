# SPDX-License-Identifier: Apache-2.0
"""The shards of a forward pass: processes that each compute every N-th batch."""

import re
from typing import NamedTuple


class Shard(NamedTuple):
    """Shard `number`, from 1, of `count`.

    >>> str(parse("2/8")), parse("2/8").name, parse("2/3").of("abcdefg")
    ('2/8', '2-of-8', 'be')
    """

    number: int
    count: int

    def __str__(self):
        return f"{self.number}/{self.count}"

    @property
    def name(self) -> str:
        """The part of file names that tells shards apart."""
        return f"{self.number}-of-{self.count}"

    def of(self, batches):
        """Returns every `count`-th of a sequence of batches."""
        return batches[self.number - 1 :: self.count]


def parse(text: str) -> Shard:
    """Returns the shard that `text` names; raises a `ValueError` for any other text."""
    match = re.fullmatch("([0-9]{1,6})/([0-9]{1,6})", text)
    shard = match and Shard(*map(int, match.groups()))
    if not shard or not 1 <= shard.number <= shard.count:
        raise ValueError(f"{text} is not a shard; write K/N with K from 1 to N, as in 2/8")
    return shard
