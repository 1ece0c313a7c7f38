# SPDX-License-Identifier: Apache-2.0
"""Tests of comparisons of two readers or two cells, and of compare.py."""

import csv

import numpy as np
import pytest

from mrc.answers import attention_tables, comparison, effects, question_scores, verdicts
from mrc.answers.effects import Effect
from mrc.cells import Label

P2, Q2 = Label("0", "", "p2"), Label("1", "", "q2")


def scores_of(cells, values, ids=None, passages=None, layers=2):
    """Returns the `QuestionScores` of `[1+C, Q]` values of exact match."""
    values = np.asarray(values, float)
    numbers = np.arange(values.shape[1])
    passages = numbers if passages is None else passages
    ids = numbers.astype(str) if ids is None else np.array(list(ids))
    return question_scores.QuestionScores(ids, passages, passages, cells, {"em": values}, layers)


def reader_of(*args, impossible=(), **kwargs):
    return comparison.Reader("reader", scores_of(*args, **kwargs), frozenset(impossible))


def write_reader(folder, scores, impossible=()):
    """Writes effects.csv and the question scores to a folder and returns its path."""
    folder.mkdir()
    rows = [
        Effect(*label, metric, *[0.0] * 6, 0, 0, len(scores.ids))._replace(
            verdict=verdicts.IMPOSSIBLE if label in impossible else verdicts.UNDECIDED
        )
        for label in scores.cells
        for metric in scores.metrics
    ]
    (folder / "effects.csv").write_text(effects.TABLE.to_csv(rows), encoding="utf-8")
    question_scores.write(str(folder), scores)
    return str(folder)


def rows_of(folder):
    with open(str(folder / "comparison.csv"), encoding="utf-8") as reader:
        return list(csv.DictReader(reader))


def test_the_difference_is_the_loss_of_a_minus_that_of_b():
    # Without a mask both answer 10 of 10; with it, a keeps 4 and b 9.
    a = reader_of([P2], [[1] * 10, [1] * 4 + [0] * 6])
    b = reader_of([P2], [[1] * 10, [1] * 9 + [0]])
    (row,) = comparison.compare(a, b, [(P2, P2)], "em")
    assert (row.loss_a, row.loss_b, row.difference) == (60.0, 10.0, 50.0)
    assert row.p == 2 / 2**5  # five questions differ, all in one direction
    assert (row.questions, row.verdict) == (10, verdicts.UNDECIDED)


def test_losses_count_from_each_readers_own_baseline():
    a = reader_of([P2], [[1] * 40, [0] * 40])
    b = reader_of([P2], [[0] * 40, [0] * 40])
    (row,) = comparison.compare(a, b, [(P2, P2)], "em")
    assert (row.difference, row.verdict) == (100.0, comparison.A_LOSES_MORE)
    (row,) = comparison.compare(b, a, [(P2, P2)], "em")
    assert (row.difference, row.verdict) == (-100.0, comparison.B_LOSES_MORE)
    (row,) = comparison.compare(a, a, [(P2, P2)], "em", margin=6.0)
    assert (row.difference, row.verdict) == (0.0, comparison.EQUIVALENT)


def test_only_cells_that_are_impossible_in_both_are_impossible():
    values = [[1] * 20, [1] * 20, [0] * 20]
    reader = reader_of([Q2, P2], values, impossible=[Q2])
    rows = comparison.compare(reader, reader, [(Q2, Q2), (Q2, P2)], "em")
    assert [row.verdict for row in rows] == [verdicts.IMPOSSIBLE, comparison.B_LOSES_MORE]


@pytest.mark.parametrize("over_passages", [0.0, 0.4])
def test_false_alarms_are_3_to_8_percent_with_clustered_questions(over_passages):
    random = np.random.RandomState(0)
    passages = np.repeat(np.arange(40), 1 + random.poisson(3.4, 40))
    cells = [Label(str(number), "", "p2") for number in range(1500)]

    def reader():
        """Answers lost with a rate that varies with the passage, 30 % on average."""
        rate = 0.3 + over_passages * (random.rand(len(cells), 40) - 0.5)[:, passages]
        masked = random.rand(*rate.shape) >= rate
        return reader_of(cells, np.vstack([np.ones(len(passages)), masked]), passages=passages)

    rows = comparison.compare(reader(), reader(), [(c, c) for c in cells], "em", draws=999)
    assert 0.03 <= np.mean([row.p < 0.05 for row in rows]) <= 0.08


def test_questions_are_matched_by_id_and_keep_the_passages_of_a():
    a = reader_of([P2], [[1, 1, 1], [0, 1, 1]], ids="xyz", passages=np.array([0, 0, 1]))
    b = reader_of([P2], [[1, 1, 1], [1, 1, 0]], ids="wzx", passages=np.array([5, 6, 7]))
    left, right = comparison.on_common_questions(a, b)
    assert left.scores.ids.tolist() == right.scores.ids.tolist() == ["x", "z"]
    assert left.scores.passages.tolist() == [0, 1]
    assert right.scores.metrics["em"].tolist() == [[1, 1], [0, 1]]


def test_readers_of_6_and_12_layers_are_laid_over_relative_depth():
    small = [Label(str(layer), "", "p2") for layer in range(6)] + [Label("", "", "p2")]
    large = [Label(str(layer), "", "p2") for layer in range(12)] + [Label("", "", "p2")]
    a = reader_of(small + [Label("0", "1", "p2"), Label("0+1", "", "p2")], np.ones((10, 3)), layers=6)
    b = reader_of(large, np.ones((14, 3)), layers=12)
    pairs = [(one.layer, other.layer) for one, other in comparison.common_cells(a, b)]
    assert pairs == [("0", "1"), ("1", "3"), ("2", "5"), ("3", "7"), ("4", "9"), ("5", "11"), ("", "")]
    assert comparison.common_cells(b, a) == [pair[::-1] for pair in comparison.common_cells(a, b)]
    # Half of the layers of 12 have no counterpart.
    # (0.5 + layer) / 4 = 1/8, 3/8, 5/8, 7/8 lie in the layers 0, 2, 3 and 5 of 6.
    c = reader_of(small[:4], np.ones((5, 3)), layers=4)
    d = reader_of(small, np.ones((8, 3)), layers=6)
    assert [other.layer for _, other in comparison.common_cells(c, d)] == ["0", "2", "3", "5"]


def test_the_number_of_layers_is_kept_with_the_scores(tmp_path):
    question_scores.write(str(tmp_path), scores_of([P2], np.ones((2, 3)), layers=12))
    assert question_scores.read(str(tmp_path / question_scores.FILE)).layers == 12


def test_two_readers_are_compared_by_the_script(command_lines, tmp_path):
    every = Label("each at once", "", "p2")
    values = np.ones((4, 60))
    values[1, :50] = 0.0
    a = write_reader(tmp_path / "a", scores_of([P2, Q2, every], values), impossible=[Q2])
    other = scores_of([P2, Q2, every], np.ones((4, 61))).subset(np.arange(60, -1, -1))
    b = write_reader(tmp_path / "b", other, impossible=[Q2])
    code, stdout, stderr, _ = command_lines.run("compare.py", a, b)
    assert code == 0, stderr
    assert "60 questions are in both: of 60 in" in stdout and "and of 61 in" in stdout
    assert "a loses more: p2, layer 1 (+83.3 points [" in stdout
    rows = rows_of(tmp_path / "a")
    assert [(row["cell_a"], row["cell_b"], row["verdict"]) for row in rows] == [
        ("layer0_p2", "layer0_p2", "a loses more"),
        ("layer1_q2", "layer1_q2", "impossible"),
        ("layer_p2", "layer_p2", "undecided"),
    ]
    assert (tmp_path / "a" / "comparison.png").read_bytes().startswith(b"\x89PNG")
    assert not (tmp_path / "b" / "comparison.csv").exists()


def test_two_cells_are_compared_by_the_script(command_lines, tmp_path):
    values = np.ones((3, 60))
    values[1, :50] = 0.0
    a = write_reader(tmp_path / "a", scores_of([P2, Q2], values))
    output = tmp_path / "new" / "folder"
    code, stdout, stderr, _ = command_lines.run(
        "compare.py", a, "--cells=layer0_p2,layer1_q2", f"--output={output}", "--metric=em"
    )
    assert code == 0, stderr
    assert "a loses more: p2, layer 1 against q2, layer 2 (+83.3 points [" in stdout
    assert [row["cell_b"] for row in rows_of(output)] == ["layer1_q2"]
    assert (output / "comparison.png").exists() and not (tmp_path / "a" / "comparison.png").exists()


def test_readers_of_other_depths_are_compared_by_the_script(command_lines, tmp_path):
    a = write_reader(tmp_path / "a", scores_of([P2], np.ones((2, 5)), layers=1))
    b = write_reader(tmp_path / "b", scores_of([Q2._replace(zone="p2")], np.ones((2, 5))))
    code, stdout, stderr, _ = command_lines.run("compare.py", a, b)
    assert code == 0, stderr
    assert "1 and 2 layers are matched by relative depth" in stdout
    assert [(row["cell_a"], row["cell_b"]) for row in rows_of(tmp_path / "a")] == [("layer0_p2", "layer1_p2")]


def test_two_tables_of_attention_are_compared_by_the_script(command_lines, tmp_path):
    uniform = attention_tables.uniform_attention(np.ones([1, 4]))
    for name, layers, passage in (("a", 2, 0.6), ("b", 4, 0.25)):
        masses = np.zeros([layers, 3, 4, 5])
        masses[:, :, 0, 1] = passage + 0.01 * np.arange(layers)[:, np.newaxis]
        text, _ = attention_tables.to_csv(masses, masses[..., 0], uniform)
        (tmp_path / name).mkdir()
        (tmp_path / name / "attention.csv").write_text(text, encoding="utf-8")
    paths = [str(tmp_path / name / "attention.csv") for name in "ab"]
    code, stdout, stderr, _ = command_lines.run("compare.py", *paths)
    assert code == 0 and "no test" in stdout, stderr
    lines = (tmp_path / "a" / "attention_comparison.csv").read_text().splitlines()
    assert len(lines) == 1 + 2 * 4
    assert [line for line in lines if ",q2p," in line] == [
        "0,1,q2p,0.600000,0.260000,0.340000",
        "1,3,q2p,0.610000,0.280000,0.330000",
    ]
    assert (tmp_path / "a" / "attention_comparison.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "words, wanted",
    [
        (["a"], "two readers, or one and its --cells, are needed, not 1; python compare.py"),
        (["a", "b", "--cells=layer0_p2"], "one reader is needed, not 2; python compare.py"),
        (["a", "absent"], "absent has no effects.csv; decode a grid and score it with --do_eval"),
        (["a", "unscored"], "unscored has no question_scores.npz; rerun with --do_eval"),
        (["a", "old"], "old/effects.csv is not a table of effects of this version"),
        (["a", "others"], "have no question in common"),
        (["a", "zones"], "have no cell in common; decode both with the same --mask_zone"),
        (["a", "a", "--metric=f1"], "cannot be compared by F1; pass --metric=em"),
        (["a", "own"], "have no metric in common"),
        (["a", "--cells=layer0_p2,layer9_p2"], 'has no cell "layer9_p2"; pass --cells with two'),
        (["a", "--cells=layer0_p2"], "--cells=layer0_p2 names one cell; pass two or more"),
        (["a/effects.csv", "a"], "a/effects.csv has no effects.csv"),
        (["a/effects.csv", "b.csv"], "a/effects.csv is not a table of attention"),
        (["a", "a", "--margin=x"], '"x" is not a number of points from 0 to 100'),
    ],
)
def test_wrong_pairs_are_reported(command_lines, tmp_path, monkeypatch, words, wanted):
    monkeypatch.chdir(tmp_path)
    ones = np.ones((2, 3))
    write_reader(tmp_path / "a", scores_of([P2], ones))
    write_reader(tmp_path / "others", scores_of([P2], ones, ids="xyz"))
    write_reader(tmp_path / "zones", scores_of([Q2], ones))
    write_reader(tmp_path / "own", scores_of([P2], ones)._replace(metrics={"own": ones}))
    for name in ("unscored", "old"):
        write_reader(tmp_path / name, scores_of([P2], ones))
    (tmp_path / "unscored" / question_scores.FILE).unlink()
    (tmp_path / "old" / "effects.csv").write_text("layer,head,zone,metric,p,p_holm\n")
    code, _, stderr, _ = command_lines.run("compare.py", *words)
    assert code == 2 and len(stderr.strip().splitlines()) == 1
    assert stderr.startswith("error: ") and wanted in stderr
    assert not (tmp_path / "a" / "comparison.csv").exists()
