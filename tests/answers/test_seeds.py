# SPDX-License-Identifier: Apache-2.0
"""Tests of effects on the mean of several readers."""

import numpy as np
import pytest
import tiny

from mrc.answers import question_scores, seeds, verdicts
from mrc.cells import Label


def differences(random, readers, cells, clusters, over_readers, over_passages):
    """Returns `[S, C, Q]` differences without an effect, with these standard deviations."""
    passages = over_passages * random.normal(size=(cells, clusters.max() + 1))[:, clusters]
    questions = 0.7 * random.normal(size=(cells, len(clusters)))
    return np.array(
        [
            over_readers * random.normal(size=(cells, 1))
            + passages
            + questions
            + 0.7 * random.normal(size=(cells, len(clusters)))
            for _ in range(readers)
        ]
    )


@pytest.mark.parametrize("readers", [3, 5, 10])
@pytest.mark.parametrize("over_readers, over_passages", [(0.0, 0.0), (0.0, 0.5), (0.05, 0.5), (0.1, 0.3), (0.3, 0.3)])
def test_false_alarms_are_2_to_8_5_percent(readers, over_readers, over_passages):
    random = np.random.RandomState(0)
    clusters = np.repeat(np.arange(40), 1 + random.poisson(3.4, 40))
    effects = seeds.compare(differences(random, readers, 1500, clusters, over_readers, over_passages), clusters)
    assert 0.02 <= np.mean(effects.p < 0.05) <= 0.085
    covers = (effects.low <= 0.0) & (0.0 <= effects.high)
    np.testing.assert_array_equal(covers, effects.p >= 0.05)


def test_a_loss_of_all_readers_on_all_passages_is_needed():
    random = np.random.RandomState(0)
    clusters = np.repeat(np.arange(30), 4)
    values = differences(random, 4, 3, clusters, 0.05, 0.3)
    values[:, 1] -= 1.0
    effects = seeds.compare(values, clusters)
    assert effects.verdict.tolist() == [verdicts.UNDECIDED, verdicts.NEEDED, verdicts.UNDECIDED]
    assert effects.difference[1] == pytest.approx(100 * values[:, 1].mean())


def test_readers_that_never_change_are_undecided():
    effects = seeds.compare(np.zeros((3, 1, 8)), np.arange(8))
    assert effects.p.tolist() == [1.0] and effects.verdict.tolist() == [verdicts.UNDECIDED]


def test_a_loss_of_every_answer_by_every_reader_is_needed():
    effects = seeds.compare(-np.ones((3, 1, 8)), np.arange(8) // 2)
    assert effects.verdict.tolist() == [verdicts.NEEDED] and effects.low[0] == -100.0


def test_a_single_passage_decides_nothing():
    effects = seeds.compare(-np.ones((3, 1, 8)), np.zeros(8, int))
    assert effects.verdict.tolist() == [verdicts.UNDECIDED] and np.isnan(effects.se[0])


def test_holm_matches_a_worked_example():
    # Sorted: 0.005 x 4, 0.01 x 3, 0.03 x 2, and 0.04 x 1, raised to 0.06.
    np.testing.assert_allclose(seeds.holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(seeds.holm([0.5, 0.9]), [1.0, 1.0])


def write_reader(folder, random, ids=tuple(map(str, range(80))), loss=0.6):
    """Writes results.csv and the question scores of a reader of one cell, `p2` in layer 0."""
    folder.mkdir()
    (folder / "results.csv").write_text("layer,p2\nbaseline,100\n0,40\n")
    scores = np.ones((2, len(ids)))
    scores[1] = random.rand(len(ids)) > loss
    numbers = np.arange(len(ids)) // 2
    question_scores.write(
        str(folder), question_scores.QuestionScores(np.array(ids), numbers, numbers, [Label("0", "", "p2")], {"em": scores})
    )
    return str(folder / "results.csv")


def test_the_average_is_tested_and_its_effects_are_printed(tmp_path):
    random = np.random.RandomState(0)
    paths = [write_reader(tmp_path / name, random) for name in "abc"]
    figure = tmp_path / "mean.svg"
    code, out, _ = tiny.run("visualize_zones.py", "--average", *paths, str(figure))
    assert code == 0 and "p2, layer 1: -6" in out and "after Holm's correction" in out
    assert figure.exists()


def test_readers_of_other_questions_are_averaged_without_a_test(tmp_path):
    random = np.random.RandomState(0)
    paths = [write_reader(tmp_path / "a", random), write_reader(tmp_path / "b", random, ids=("x", "y"))]
    code, out, stderr = tiny.run("visualize_zones.py", "--average", *paths, str(tmp_path / "m.png"))
    assert code == 0 and "Holm" not in out
    assert "other questions, cells or metrics than" in stderr and "so the mean is not tested" in stderr


def test_readers_without_question_scores_are_averaged_without_a_test(tmp_path):
    random = np.random.RandomState(0)
    paths = [write_reader(tmp_path / name, random) for name in "ab"]
    (tmp_path / "b" / question_scores.FILE).unlink()
    code, _, stderr = tiny.run("visualize_zones.py", "--average", *paths, str(tmp_path / "m.png"))
    assert code == 0 and "question_scores.npz does not exist, so the mean is not tested" in stderr


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"layer,q2"])
def test_a_file_of_another_kind_is_reported(tmp_path, content):
    random = np.random.RandomState(0)
    paths = [write_reader(tmp_path / name, random) for name in "ab"]
    (tmp_path / "b" / question_scores.FILE).write_bytes(content)
    code, _, stderr = tiny.run("visualize_zones.py", "--average", *paths, str(tmp_path / "m.png"))
    assert code == 2 and "is not a file of question scores; rerun with --do_eval" in stderr
