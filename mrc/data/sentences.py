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
        "a about after all also an and any are as at be because been before but by can "
        "could did do does for from had has have he her his how i if in into is it its many "
        "may more most much no not of on one or other over s she so some such t than that "
        "the their them then there these they this those to under up was we were what when "
        "where which who whom whose why will with would you your "
        "的 了 是 在 和 与 與 及 或 也 都 就 而 以 于 於 为 為 之 其 这 這 那 有 被 把 对 對 "
        "从 從 到 由 个 個 们 們 什 么 麼 谁 誰 哪 几 幾 何 多 少 吗 嗎 呢 吧 着 著 过 過 中 "
        "上 下 不"
    ).split()
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
