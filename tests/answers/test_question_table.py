# SPDX-License-Identifier: Apache-2.0
"""The table of every question in every cell of a grid."""

import gzip
import json
import math

import numpy as np
import pytest

from mrc.answers import effects, question_table
from mrc.answers.question_scores import QuestionScores
from mrc.answers.question_table import CellAnswers
from mrc.cells import Label
from mrc.util.errors import InputError

HOSTILE = 'a,"b"\r\n</script>\U0001f600'


def scores_of(em, ids=("q0", HOSTILE), **metrics):
    cells = [Label(str(number), "", "p2") for number in range(len(em) - 1)]
    metrics = {name: np.array(values, float) for name, values in dict(metrics, em=em).items()}
    zeros = np.zeros(len(ids), int)
    return QuestionScores(np.array(ids), zeros, zeros, cells, metrics)


def write(folder, scores, answers, lists):
    """Writes the table of cells with these answers and n-best lists, a text each."""
    cells = []
    for number, (texts, entries) in enumerate(zip(answers, lists)):
        path = folder / f"nbest{number}.json"
        made = [[dict(text=text, probability=p) for text, p in each] for each in entries]
        path.write_text(json.dumps(dict(zip(scores.ids.tolist(), made))))
        cells.append(CellAnswers(dict(zip(scores.ids.tolist(), texts)), str(path)))
    return question_table.write(str(folder), scores, ["what", "who"], cells)


ANSWERS = [["red", "N\u00e9, a"], ["blue", "N\u00e9, a"]]
LISTS = [
    [[("red", 0.75), ("blue", 0.25)], [("N\u00e9, a", 1.0)]],
    [[("blue", 0.9), ("green", 0.1)], [("N\u00e9, a", 0.25), ("x", 0.75)]],
]


def written(folder):
    scores = scores_of([[1, 0], [0, 1]], f1=[[1, 2 / 3], [0, 1]])
    return scores, write(folder, scores, ANSWERS, LISTS)


def test_a_row_has_scores_their_changes_and_the_loss_of_the_own_answer(tmp_path):
    _, name = written(tmp_path)
    text = (tmp_path / name).read_bytes().decode("utf-8")
    quoted = '"a,""b""\r\n</script>\U0001f600"'
    # "red" left the list of the cell: the last entry's probability bounds it.
    left = repr(math.log(0.1) - math.log(0.75))
    assert text == (
        "id,type,layer,head,zone,answer,em,f1,own,em_change,f1_change,own_change,logp_change,"
        "listed\n"
        "q0,what,,,,red,1.0,1.0,,0.0,0.0,,0.0,1\n"
        f'{quoted},who,,,,"N\u00e9, a",0.0,{2 / 3!r},,0.0,0.0,,0.0,1\n'
        f"q0,what,0,,p2,blue,0.0,0.0,,-1.0,-1.0,,{left},0\n"
        f'{quoted},who,0,,p2,"N\u00e9, a",1.0,1.0,,1.0,{1 - 2 / 3!r},,{math.log(0.25)!r},1\n'
    )


def test_a_large_table_is_compressed_and_replaces_the_other(tmp_path, monkeypatch):
    scores, name = written(tmp_path)
    plain = (tmp_path / name).read_bytes()
    monkeypatch.setattr(question_table, "COMPRESSED_ABOVE", 3)
    assert written(tmp_path)[1] == "questions.csv.gz"
    data = (tmp_path / "questions.csv.gz").read_bytes()
    assert gzip.decompress(data) == plain and not (tmp_path / "questions.csv").exists()
    assert data[4:8] == bytes(4)  # no time of writing
    monkeypatch.undo()
    written(tmp_path)
    assert not (tmp_path / "questions.csv.gz").exists()


@pytest.mark.parametrize("above", [3, 100])
def test_read_returns_what_was_written(tmp_path, monkeypatch, above):
    monkeypatch.setattr(question_table, "COMPRESSED_ABOVE", above)
    scores, name = written(tmp_path)
    found = question_table.read(question_table.path_in(str(tmp_path)), scores)
    assert found.types == ["what", "who"] and found.answers == ANSWERS
    assert found.listed.tolist() == [[1, 1], [0, 1]]
    assert found.logp_change[1, 1] == math.log(0.25)


def test_pandas_reads_it_as_it_stands(tmp_path, monkeypatch):
    pandas = pytest.importorskip("pandas")
    plain = pandas.read_csv(str(tmp_path / written(tmp_path)[1]))
    monkeypatch.setattr(question_table, "COMPRESSED_ABOVE", 0)
    pandas.testing.assert_frame_equal(pandas.read_csv(str(tmp_path / written(tmp_path)[1])), plain)
    assert plain.id.tolist() == ["q0", HOSTILE] * 2 and plain.em.tolist() == [1, 0, 0, 1]


def test_a_frame_keeps_answers_and_ids_as_they_are(tmp_path):
    results = pytest.importorskip("mrc.results")
    write(tmp_path, scores_of([[1, 0], [0, 1]], ("007", "NA")), [["None", ""]] * 2, LISTS)
    frame = results.questions(str(tmp_path))
    assert frame.id.tolist() == ["007", "NA"] * 2 and frame.answer.tolist() == ["None", ""] * 2
    assert frame.layer.tolist() == ["", "", "0", "0"] and frame.own.isna().all()


def test_sums_are_those_of_the_effects(tmp_path):
    random = np.random.RandomState(0)
    ids = [f"q{number}" for number in range(30)]
    em = random.randint(0, 2, (3, 30))
    f1 = random.choice([0, 1 / 3, 2 / 7, 1.0], (3, 30))
    scores = scores_of(em, ids, f1=f1, own=f1)
    cells = [CellAnswers({}, str(tmp_path / "none"))] * 3
    question_table.write(str(tmp_path), scores, ["what"] * 30, cells)
    rows = effects.compare(scores, "paragraph", ["what"] * 30, np.zeros(2, bool), draws=10)
    pandas = pytest.importorskip("pandas")
    table = pandas.read_csv(str(tmp_path / "questions.csv"), dtype={"layer": str})
    means = table.groupby("layer").mean(numeric_only=True)
    for row in rows:
        assert f"{100 * means[row.metric][row.layer]:.4f}" == f"{row.value:.4f}"
        assert f"{100 * means[row.metric + '_change'][row.layer]:.4f}" == f"{row.difference:.4f}"
    assert table.logp_change.isna().all()  # there are no n-best files


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data.replace(b"q0", b"q9"),
        lambda data: data[: data.rindex(b"q0")],
        lambda data: data + b"q0,what,1,,p2,blue,0.0,0.0,,-1.0,-1.0,,0.0,0\n",
        lambda data: data.replace(b"answer,", b"text,"),
        lambda data: b"\x00\xff" + data,
    ],
)
def test_a_table_of_other_scores_is_refused(tmp_path, spoil):
    scores, name = written(tmp_path)
    (tmp_path / name).write_bytes(spoil((tmp_path / name).read_bytes()))
    with pytest.raises(InputError, match="does not match question_scores.npz"):
        question_table.read(str(tmp_path / name), scores)


def test_a_file_that_has_no_lists_is_refused(tmp_path):
    cells = [CellAnswers({}, str(tmp_path / "nbest.json"))] * 2
    (tmp_path / "nbest.json").write_text('{"q0": ["red"]}')
    with pytest.raises(InputError, match="is not an n-best file"):
        question_table.write(str(tmp_path), scores_of([[1, 0], [0, 1]]), ["what"] * 2, cells)
