# SPDX-License-Identifier: Apache-2.0
"""Question types by interrogative, for effects_by_type.csv.

The type is the interrogative itself, not what it asks for: "In what year" is `what`, "In which
city" is `which`, 哪年 is `哪`. The earliest interrogative of the question decides. Where two rules
match at the same character, the first rule of the table wins: "how many" before "how", 什么时候
before 什么.

    >>> question_type("In which city was the treaty signed?", ENGLISH)
    'which'
    >>> question_type("这座桥有多长？", CHINESE)
    '多少/几'
"""

import re
from typing import List, Optional, Pattern, Sequence, Tuple

Rules = Sequence[Tuple[str, Pattern[str]]]

_EDGE = 1000  # characters; the patterns are quadratic in the length of the text
OTHER = "other"  # no interrogative: "Name a river in Spain.", "Is the dam still in use?"

_INTERROGATIVE = r"(?:what|who|whom|whose|when|where|which|why|how)"
_AUXILIARY = (
    r"(?:is|are|was|were|am|be|do|does|did|has|have|had|can|could|will|would|shall|should"
    r"|may|might|must|and|or|else|exactly|in|on|at)"
)

# "When the war ended, who ruled?" asks who. "When was the fort, which burned twice, rebuilt?" asks
# when: an auxiliary follows the interrogative of a main clause.
_MAIN_CLAUSE = rf"(?!\s+(?!{_AUXILIARY}\b)[^?]*,\s*(?:\w+\s+){{0,2}}?{_INTERROGATIVE}\b)"

# "Those who left joined what?" asks what: "who" follows a noun, and another interrogative ends the
# question. Precede it by a lookahead for the interrogative: it searches to the end of the text.
_NOT_RELATIVE = rf"(?:(?<!\w\s)|(?!\w+\b.*\b{_INTERROGATIVE}\W*$))"

# Neither "the WHO" nor "Doctor Who" is an interrogative, so "who" is case-sensitive.
_WHO = r"(?<!Doctor )(?<!Dr\. )(?<!Dr )\b(?=[Ww]ho)" + _NOT_RELATIVE + r"[Ww]ho(?:m|se|s)?\b"


def _english(pattern: str) -> Pattern[str]:
    return re.compile(r"\b" + pattern, re.IGNORECASE)


ENGLISH: Rules = (
    ("what", _english(r"what(?!ever|soever)")),  # also "what's"
    ("who", re.compile(_WHO)),
    ("when", _english("(?=when)" + _NOT_RELATIVE + r"when\b" + _MAIN_CLAUSE)),
    ("where", _english("(?=where)" + _NOT_RELATIVE + r"where\b" + _MAIN_CLAUSE)),
    ("which", _english("(?=which)" + _NOT_RELATIVE + r"which\b")),
    ("why", _english(r"why\b")),
    ("how many/much", _english(r"how\s+(?:many|much)\b")),
    ("how", _english(r"how\b")),  # also "how long", "how old"
)

_WHAT = "(?:什么|什麼|什麽|甚么|甚麼|啥)"
_AT_END = "(?=[？?。\\s]*$)"

# 被称为什么 and 改名为什么 ask for a name: 为 belongs to the verb. 因为什么 asks why.
# 首都为何？ asks what the capital is.
_WHY = (
    "(?<![称稱名译譯作归歸类類分划劃改封误誤定認认視视化成述美版])[为為](?:"
    + _WHAT
    + "|何(?![物人时時处處种種])(?!"
    + _AT_END
    + "))|何故|因何"
)

# 多 with an adjective asks for a quantity (多长, 多久). Not interrogatives: 几乎, 几何, 十几,
# 近几年, 最多大约.
_HOW_MANY = (
    "多少|(?<![近这這那前后後十百千好数數茶])[几幾](?![乎何内內丁率经經])"
    "|(?<![最许許众眾很更诸諸差伦倫])多(?:大(?![学學约約])|[长長高远遠久深宽寬快厚])"
    "|多重" + _AT_END + "|有多[古普强強慢粗]"
)

CHINESE: Rules = (
    ("谁", re.compile("谁|誰|(?<!任)何人")),
    ("为什么", re.compile(_WHY)),
    ("何时/什么时候", re.compile(_WHAT + "(?:时候|時候|时间|時間)|何[时時年月日]|[几幾][时時](?![候间間])")),
    ("哪里/何地", re.compile("哪[里裡裏儿兒]|哪" + _AT_END + "|何[地处處]|" + _WHAT + "地方")),
    ("多少/几", re.compile(_HOW_MANY)),
    ("什么", re.compile(_WHAT + "|(?<![任如几幾])何(?:[种種物事为為方]|" + _AT_END + ")|(?<=[有是])何|(?:担|擔)任何[职職]")),
    ("怎么/如何", re.compile("怎|如何|咋")),
    ("哪", re.compile("哪(?!吒)")),
)


def _earliest(text, rules):
    """Returns (type, match) of a text's earliest interrogative, (`other`, None) without one."""
    if text.isupper() and len(text.lower()) == len(text):  # "WHO WROTE THE POEM?"
        text = text.lower()
    best_type, best = OTHER, None
    for name, pattern in rules:
        match = pattern.search(text)
        if match and (best is None or match.start() < best.start()):
            best_type, best = name, match
    return best_type, best


def question_type(text: str, rules: Rules) -> str:
    """Returns the type of a question: that of its earliest interrogative, else `other`.

    Of a very long question, only the beginning and the end are read.

    Args:
        text: the question.
        rules: `ENGLISH` or `CHINESE`.
    """
    text = text.strip()
    if len(text) > 2 * _EDGE:
        text = text[:_EDGE] + " " + text[-_EDGE:]
    return _earliest(text, rules)[0]


def interrogative(text: str, rules: Rules) -> Optional[Tuple[int, int]]:
    """Returns (start, stop) of a question's earliest interrogative, None if it has none.

    >>> interrogative("In which city was the treaty signed?", ENGLISH)
    (3, 8)
    """
    begin = 0 if len(text) <= 2 * _EDGE else len(text) - 2 * _EDGE
    for shift in dict.fromkeys((0, begin)):
        match = _earliest(text[shift : shift + 2 * _EDGE], rules)[1]
        if match:
            return shift + match.start(), shift + match.end()
    return None


def type_names(rules: Rules) -> List[str]:
    """Returns the names of all types in the table's order, `other` last."""
    return [name for name, _ in rules] + [OTHER]
