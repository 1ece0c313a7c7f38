# SPDX-License-Identifier: Apache-2.0
"""Tests of CSV tables that are declared by their columns."""

import math

import pytest

from mrc.answers import results_table
from mrc.answers.tables import Column, Table
from mrc.util.errors import InputError

TABLE = Table(
    "table of tests",
    "write it again",
    [
        Column("name"),
        Column("kind", choices=("", "a", "b")),
        Column("count", int, least=0),
        Column("share", float, ".2f", least=0.0, most=1.0),
        Column("change", float, ".1f"),
    ],
)


def read(tmp_path, text):
    path = tmp_path / "table.csv"
    path.write_text(text)
    return TABLE.read(str(path))


def test_rows_read_back(tmp_path):
    rows = [["x,y", "a", 3, 0.25, -1.5], ["", "", 0, math.nan, -0.01]]
    text = TABLE.to_csv(rows)
    assert text == 'name,kind,count,share,change\n"x,y",a,3,0.25,-1.5\n,,0,,0.0\n'
    first, second = read(tmp_path, text)
    assert first == rows[0]
    assert math.isnan(second[3]) and second[4] == 0.0


def test_columns_are_read_by_name_and_others_are_ignored(tmp_path):
    assert read(tmp_path, "more,change,share,count,kind,name\n9,1,0.5,2,b,z\n\n") == [["z", "b", 2, 0.5, 1.0]]


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "is not a table of tests; write it again"),
        ("name,kind\n", "lacks the columns count, share, change; write it again"),
        ("name,kind,count,share\n", "lacks the column change; write it again"),
        ("x\n1,2,3,4\n", "line 2 has 4 columns, but the first line has 5"),
        ("x\n,c,3,0,0\n", 'line 2: kind is "c", not one of a, b; write it again'),
        ("x\n,a,3.5,0,0\n", 'line 2: count is "3.5", not a whole number from 0'),
        ("x\n,a,-1,0,0\n", 'line 2: count is "-1", not a whole number from 0'),
        ("x\n,a,1,0,0\n,a,1,1.5,0\n", 'line 3: share is "1.5", not a number from 0 to 1'),
        ("x\n,a,1,0,inf\n", 'line 2: change is "inf", not a number'),
        ("x\n,a,1,0,nan\n", 'line 2: change is "nan", not a number'),
    ],
)
def test_a_broken_table_is_reported_with_its_line_and_column(tmp_path, text, message):
    with pytest.raises(InputError) as error:
        read(tmp_path, text.replace("x\n", "name,kind,count,share,change\n"))
    assert message in str(error.value)


def test_a_table_of_results_in_words():
    values = {("0+1", "q2"): 49.96, ("each at once", "passage-answer"): 7.0}
    table = results_table.Table(["q2", "passage-answer"], ["0+1", "each at once"], 50.0, values)
    assert results_table.in_words(table).split("\n") == [
        "                  q2  passage-answer",
        "baseline        50.0            50.0",
        "1+2             50.0               -",
        "each at once       -             7.0",
    ]
