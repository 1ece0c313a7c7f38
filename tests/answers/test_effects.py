# SPDX-License-Identifier: Apache-2.0
"""Tests of the rows of effects.csv and effects_by_type.csv and of their files."""

import numpy as np
import pytest

from mrc.answers import effects, verdicts
from mrc.answers.question_scores import QuestionScores
from mrc.cells import Label
from mrc.util.errors import InputError

LABELS = [Label("0", "", "p2q"), Label("0+1", "3", "off")]
SCORES = QuestionScores(
    ids=np.array(["a", "b", "c", "d"]),
    passages=np.array([1, 1, 0, 2]),
    articles=np.array([0, 0, 0, 1]),
    cells=LABELS,
    metrics={
        "em": np.array([[1, 1, 0, 1], [0, 1, 0, 0], [1, 1, 0, 1]], float),
        "f1": np.array([[1, 1, 0.5, 1], [0.5, 1, 0.25, 0], [1, 1, 0.5, 1]]),
        "own": np.array([[1, 1, 1, 1], [0.5, 1, 0.5, 0], [1, 1, 1, 1]]),
    },
)
NONE = np.array([False, False])


def compare(scores=SCORES, cluster="paragraph", types=("who", "what", "what", "who")):
    return effects.compare(scores, cluster, types, NONE, draws=200)


def test_rows_hold_points_counts_and_p_values():
    rows = compare()
    assert [row[:4] for row in rows] == [(*label, metric) for label in LABELS for metric in ("em", "f1", "own")]
    em, f1, own = rows[:3]
    assert (em.baseline, em.value, em.difference) == (75.0, 25.0, -50.0)
    assert (em.better, em.worse, em.questions) == (0, 2, 4)
    assert em.p == em.p_adjusted == 0.5  # the signs of two passages: 2 of 4 patterns
    assert (f1.baseline, f1.value, f1.difference) == (87.5, 43.75, -43.75)
    assert (f1.better, f1.worse) == (0, 3)
    assert f1.p == 2 / 8.0
    assert (own.baseline, own.value) == (100.0, 50.0)
    for row in rows:
        assert row.low <= row.difference <= row.high
        assert -row.baseline <= row.low and row.high <= 100.0 - row.baseline


def test_the_reader_s_own_answers_have_an_interval_and_no_verdict():
    own = compare()[2]
    assert own.se > 0.0 and own.verdict == ""
    assert np.isnan([own.p, own.p_adjusted, own.mde, own.n_needed]).all()
    assert 0.0 < own.p_type <= 1.0


def test_articles_can_be_resampled_instead_of_paragraphs():
    assert compare()[1].p == 2 / 8.0  # three paragraphs
    assert compare(cluster="article")[1].p == 2 / 4.0  # two articles


def test_an_effect_on_one_type_of_question_has_a_small_p_type():
    random = np.random.RandomState(0)
    types = np.array(["who"] * 40 + ["what"] * 80)
    scores = np.ones((3, 120))
    scores[1, :30], scores[2, random.permutation(120)[:30]] = 0.0, 0.0
    numbers = np.arange(120)
    whole = QuestionScores(numbers.astype(str), numbers, numbers, LABELS, {"em": scores})
    rows = compare(whole, types=types)
    assert rows[0].p_type < 0.01 < 0.05 < rows[1].p_type


def test_cells_that_cannot_change_an_answer_are_marked_for_every_metric():
    rows = effects.compare(SCORES, "paragraph", ["who"] * 4, np.array([False, True]), draws=200)
    assert [row.verdict for row in rows[3:]] == [verdicts.IMPOSSIBLE] * 3
    assert [row.high for row in rows[3:]] == [0.0] * 3


def test_types_are_estimated_on_their_own_questions():
    table = effects.estimate_by_type(
        SCORES, "paragraph", ["who", "what", "what", "who"], ["what", "who", "when"], NONE, draws=99
    )
    assert list(table) == ["what", "who"]
    assert [row.questions for row in table["who"]] == [2] * 6
    assert [row.baseline for row in table["what"][:2]] == [50.0, 75.0]
    assert all(row.verdict == "" and np.isnan(row.p) for row in table["who"])


HEADER = (
    "layer,head,zone,metric,baseline,value,difference,se,low,high,better,worse,questions,"
    "p,p_adjusted,p_type,mde,verdict,n_needed,above_control,control_low,control_high,p_control,reader,data,seed\n"
)
ROW = effects.Effect(
    *("2", "", "p2q", "em", 81.23456, 80.0, -0.00001, 0.5, -2.5, float("nan"), 1, 8, 177),
    *(0.000012345, 1.0, 0.25, 3.0, "undecided", 1234.0),
)


def test_csv_has_the_documented_header_and_format():
    assert effects.TABLE.to_csv([ROW]) == HEADER + (
        "2,,p2q,em,81.2346,80.0000,0.0000,0.5000,-2.5000,,1,8,177,1.234e-05,1,0.25,3.0000,undecided,1234,,,,,,,\n"
    )
    assert effects.by_type_to_csv({"谁": [ROW]}) == (
        "type,layer,head,zone,metric,baseline,value,difference,se,low,high,better,worse,questions\n"
        "谁,2,,p2q,em,81.2346,80.0000,0.0000,0.5000,-2.5000,,1,8,177\n"
    )


def test_csv_reads_back(tmp_path):
    path = tmp_path / "effects.csv"
    path.write_text(effects.TABLE.to_csv(compare()))
    rows = effects.read(str(path))
    assert effects.TABLE.to_csv(rows) == path.read_text()
    assert rows[0].verdict == verdicts.UNDECIDED and rows[0].questions == 4
    table = effects.estimate_by_type(SCORES, "paragraph", ["谁"] * 4, ["谁"], NONE, draws=99)
    path.write_text(effects.by_type_to_csv(table), encoding="utf-8")
    assert effects.by_type_to_csv(effects.read_by_type(str(path))) == path.read_text(encoding="utf-8")


def test_a_table_of_an_earlier_version_is_to_be_written_again(tmp_path):
    path = tmp_path / "effects.csv"
    path.write_text("layer,head,zone,metric,baseline,value,difference,low,high,p,p_holm,better,worse,questions\n")
    with pytest.raises(InputError) as error:
        effects.read(str(path))
    assert "lacks the columns se, p_adjusted, p_type, mde, verdict, n_needed" in str(error.value)
    assert str(error.value).endswith("rerun with --do_eval to write it again")
    assert str(error.value).endswith("rerun with --do_eval to write it again")
