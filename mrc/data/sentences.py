# SPDX-License-Identifier: Apache-2.0
"""Sentences and content words of English and Chinese text, by rules.

A sentence ends at a line break, at 。！？； and at an English . ! or ? before white space and a
capital, digit or opening mark; closing quotes and brackets belong to it. A full stop after an
initial or a common abbreviation ends no sentence.

    >>> text = "Dr. Hill left. It was 5 p.m. on Monday."
    >>> [text[start:stop] for start, stop in split(text)]
    ['Dr. Hill left.', 'It was 5 p.m. on Monday.']
"""

import re
from typing import Iterator, List, Tuple

from tokenization import IDEOGRAPH_BLOCKS

_CLOSING = "\"'”’」』）)\\]》"
_OPENING = "\"'“‘「『（(\\[《"
_END = re.compile(f"\\n+|[。！？；]+[{_CLOSING}]*|[.!?]+[{_CLOSING}]*(?=\\s+[{_OPENING}]?[A-Z0-9])")
_ABBREVIATION = re.compile(
    r"(?:\b[A-Za-z]|\b(?:Mr|Mrs|Ms|Dr|Prof|St|Gen|Col|Sgt|Capt|Lt|Rev|Jr|Sr|Inc|Co|Corp|Ltd|vs|No|Fig"
    r"|approx|etc|ca|cf|Jan|Feb|Mar|Apr|Aug|Sept|Sep|Oct|Nov|Dec|Mt|Ft|al))$"
)
_LONGEST_ABBREVIATION = 8
_IDEOGRAPHS = "".join(f"{chr(first)}-{chr(last)}" for first, last in IDEOGRAPH_BLOCKS)
_WORD = re.compile(f"[{_IDEOGRAPHS}]|[^\\W{_IDEOGRAPHS}]+")

FUNCTION_WORDS = frozenset(
    (
        "a about after all also an and any are as at be because been before but by can could did do does for from had "
        "has have he her his how i if in into is it its many may more most much no not of on one or other over s she so "
        "some such t than that the their them then there these they this those to under up was we were what when where "
        "which who whom whose why will with would you your"
    ).split()
) | frozenset(
    "的了是在和与與及或也都就而以于於为為之其这這那有被把对對从從到由个個们們什么麼谁誰哪几幾何多少吗嗎呢吧着著过過中上下不"
)


def split(text: str) -> List[Tuple[int, int]]:
    """Returns (start, stop) of the sentences of a text, without the white space around them."""
    ends = []
    for match in _END.finditer(text):
        place = match.start()
        before = max(0, place - _LONGEST_ABBREVIATION)
        if text[place] != "." or not _ABBREVIATION.search(text, before, place):
            ends.append(match.end())
    spans, start = [], 0
    for stop in ends + [len(text)]:
        sentence = text[start:stop]
        begin = start + len(sentence) - len(sentence.lstrip())
        end = start + len(sentence.rstrip())
        if begin < end:
            spans.append((begin, end))
        start = stop
    return spans


def words(text: str) -> Iterator[Tuple[int, int]]:
    """Yields (start, stop) of the words of a text; an ideograph is a word of its own."""
    for match in _WORD.finditer(text):
        yield match.span()
