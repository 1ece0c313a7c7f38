# SPDX-License-Identifier: Apache-2.0
"""Tests of question types, on made-up questions."""

import pytest

from mrc.answers import question_types
from mrc.answers.question_types import CHINESE, ENGLISH, question_type


@pytest.mark.parametrize(
    "text, expected",
    [
        ("What's the tallest tree in the park?", "what"),
        ("In what year did the mill close?", "what"),
        ("The bakery on the corner sells what?", "what"),
        ("Who painted the ceiling?", "who"),
        ("Whose boat won the race?", "who"),
        ("The bridge was paid for by whom?", "who"),
        ("When did the ferry sink?", "when"),
        ("Since when has the tunnel been open?", "when"),
        ("Where do the herons nest?", "where"),
        ("In which city was the treaty signed?", "which"),
        ("Why did the choir disband?", "why"),
        ("How many keys does the organ have?", "how many/much"),
        ("By how much did rents rise?", "how many/much"),
        ("How old is the lighthouse?", "how"),
        ("How and when was the vault opened?", "how"),
        ("Name a river in Spain.", "other"),
        ("Is the dam still in use?", "other"),
        ("", "other"),
    ],
)
def test_english_interrogative_decides(text, expected):
    assert question_type(text, ENGLISH) == expected


@pytest.mark.parametrize(
    "text, expected",
    [
        ("When the siege ended, who took the castle?", "who"),
        ("When snow falls, in which valley do deer gather?", "which"),
        ("Where rivers meet, what do settlers build?", "what"),
        ("When was the fort, which burned twice, rebuilt?", "when"),
        ("When and where, according to the log, did it land?", "when"),
        ("Sailors who refused the oath were given what?", "what"),
        ("Roads which flood every spring lead where?", "where"),
        ("What is the name of the pilot who landed when the fog lifted?", "what"),
    ],
)
def test_subordinate_clause_does_not_decide(text, expected):
    assert question_type(text, ENGLISH) == expected


@pytest.mark.parametrize(
    "text, expected",
    [
        ("Does the WHO run a laboratory there?", "other"),
        ("In Doctor Who, where is the box parked?", "where"),
        ("WHO REPAIRED THE CLOCK?", "who"),
        ("Is whatever remains kept in the somewhat damp cellar?", "other"),
        ("Did the show end?", "other"),
    ],
)
def test_similar_words_do_not_decide(text, expected):
    assert question_type(text, ENGLISH) == expected


@pytest.mark.parametrize(
    "text, expected",
    [
        ("谁修好了那座钟？", "谁"),
        ("這首歌是誰寫的？", "谁"),
        ("图书馆为什么周一关门？", "为什么"),
        ("為什麼船沒有靠岸？", "为什么"),
        ("村民为何搬走？", "为什么"),
        ("他因为什么辞职？", "为什么"),
        ("灯塔是什么时候建成的？", "何时/什么时候"),
        ("渡輪何時停駛？", "何时/什么时候"),
        ("苍鹭在哪里筑巢？", "哪里/何地"),
        ("博物館位於何處？", "哪里/何地"),
        ("车站在什么地方？", "哪里/何地"),
        ("老邮局在哪？", "哪里/何地"),
        ("风琴有多少个琴键？", "多少/几"),
        ("這棟樓有幾層？", "多少/几"),
        ("这座桥有多长？", "多少/几"),
        ("会议开了多久？", "多少/几"),
        ("面包房卖什么？", "什么"),
        ("這種茶叫甚麼？", "什么"),
        ("花园里种了何种植物？", "什么"),
        ("水车是怎么转动的？", "怎么/如何"),
        ("這道菜怎樣做？", "怎么/如何"),
        ("工匠如何补好裂缝？", "怎么/如何"),
        ("哪个村子最古老？", "哪"),
        ("磨坊哪一年关闭？", "哪"),
        ("请列出一条河流。", "other"),
        ("水坝还在使用吗？", "other"),
    ],
)
def test_chinese_interrogative_decides(text, expected):
    assert question_type(text, CHINESE) == expected


@pytest.mark.parametrize(
    "text, expected",
    [
        ("这种船被称为什么？", "什么"),
        ("學校後來改名為什麼？", "什么"),
        ("这片林地被划分为什么区域？", "什么"),
        ("该省的省会为何？", "什么"),
        ("为什么这种船被称为飞艇？", "为什么"),
    ],
)
def test_wei_of_a_verb_does_not_ask_why(text, expected):
    assert question_type(text, CHINESE) == expected


@pytest.mark.parametrize(
    "text, expected",
    [
        ("几乎所有村民都会什么手艺？", "什么"),
        ("近几年谁管理果园？", "谁"),
        ("几何课由谁教？", "谁"),
        ("多伦多大学的校徽是什么？", "什么"),
        ("多伦多大剧院由谁管理？", "谁"),
        ("任何人都可以进入哪个展厅？", "哪"),
        ("哪吒在故事里用什么武器？", "什么"),
    ],
)
def test_similar_chinese_words_do_not_decide(text, expected):
    assert question_type(text, CHINESE) == expected


def test_a_very_long_question_has_the_type_of_its_beginning_or_end():
    filler = "stone " * 10**5
    assert question_type(filler + "was built by whom?", ENGLISH) == "who"
    assert question_type("Why is this so: " + filler, ENGLISH) == "why"
    assert question_type(" " * 10**5 + "Where is it?" + " " * 10**5, ENGLISH) == "where"


def test_type_names_follow_the_table():
    assert question_types.type_names(ENGLISH) == [
        "what",
        "who",
        "when",
        "where",
        "which",
        "why",
        "how many/much",
        "how",
        "other",
    ]
    assert sorted(question_types.type_names(CHINESE)) == sorted(
        ["谁", "什么", "哪里/何地", "何时/什么时候", "多少/几", "为什么", "怎么/如何", "哪", "other"]
    )
