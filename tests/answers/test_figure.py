# SPDX-License-Identifier: Apache-2.0
"""Tests of the results table and the heat map drawn from it."""

import numpy as np
import pytest
import tiny

import attention_mask
import visualize_zones
from mrc.answers import results_table
from mrc.util.errors import InputError

CELLS = attention_mask.read_cells("p2,q2,q2p+p2", "0,1", num_layers=2)
# The baseline, then layer 0, then layer 1.
SCORES = dict(zip(CELLS, [80.0, 70.5, 80.0, 60.0, 79.0, 81.0, 50.0]))

CSV = """layer,q2,p2,q2p+p2
baseline,80.0,80.0,80.0
0,80.0,70.5,60.0
1,81.0,79.0,50.0
"""


def write(path, text=CSV):
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_published_zones_come_first_and_in_the_published_order(tmp_path):
    path = tmp_path / "results.csv"
    results_table.write_table(str(path), results_table.make_table(SCORES))
    assert path.read_text() == CSV


def test_table_read_back(tmp_path):
    table = results_table.read_table(write(tmp_path / "results.csv"))
    assert table == results_table.make_table(SCORES)


def test_all_layers_at_once_and_missing_cells(tmp_path):
    cells = attention_mask.read_cells("q2,p2", None, num_layers=2)
    path = str(tmp_path / "results.csv")
    results_table.write_table(path, results_table.make_table(dict(zip(cells, [9.0, 8.0, 7.0]))))
    assert results_table.read_table(path).layers == ["each at once"]
    gap = results_table.read_table(write(tmp_path / "gap.csv", "layer,q2,p2\nbaseline,9,9\n0,8,\n"))
    changes = visualize_zones.differences(gap)
    assert changes[0, 0] == -1.0 and np.isnan(changes[0, 1])


def test_differences_from_the_baseline():
    np.testing.assert_array_equal(
        visualize_zones.differences(results_table.make_table(SCORES)),
        [[0.0, -9.5, -20.0], [1.0, -1.0, -30.0]],
    )


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "is not a table of results"),
        ("layer,q2\n0,1\n", "is not a table of results"),
        ("layer,q2\nbaseline,5\n0,x\n", 'line 3: "x" is not a number'),
        ("layer,q2\nbaseline,5\n0,1,2\n", "line 3 has 3 columns, but the first line has 2"),
    ],
)
def test_files_that_are_not_tables_are_refused(tmp_path, text, message):
    with pytest.raises(InputError) as caught:
        results_table.read_table(write(tmp_path / "results.csv", text))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "value_range, arrows",
    [
        ((-30, 1), "neither"),
        ((-29, 1), "min"),
        ((-30, 0.5), "max"),
        ((-10, 0.5), "both"),
        ("auto", "neither"),
    ],
)
def test_colour_bar_has_arrows_for_values_outside_its_range(value_range, arrows):
    figure = visualize_zones.draw(
        [results_table.make_table(SCORES)], ["title"], "exact match", value_range
    )
    assert figure.axes[0].images[0].colorbar.extend == arrows


def test_colour_bar_has_no_arrow_for_rounding_errors():
    table = results_table.Table(["q2"], ["0"], 16.1, {("0", "q2"): 6.1})
    assert (visualize_zones.differences(table) < -10).all()
    figure = visualize_zones.draw([table], ["title"], "exact match", (-10, 2))
    assert figure.axes[0].images[0].colorbar.extend == "neither"


def test_colour_bar_has_numbers_in_both_halves():
    figure = visualize_zones.draw(
        [results_table.make_table(SCORES)], ["title"], "exact match", (-30, 0.1)
    )
    figure.canvas.draw()
    numbers = [label.get_text() for label in figure.axes[1].get_yticklabels()]
    assert numbers == ["-30", "-24", "-18", "-12", "-6", "0", "0.02", "0.04", "0.06", "0.08", "0.1"]


def test_figure_counts_layers_from_1_and_centres_its_colours_at_0():
    table = results_table.make_table(SCORES)
    figure = visualize_zones.draw([table, table], ["left", "right"], "exact match", annotate=True)
    left, right = figure.axes[:2]
    assert [label.get_text() for label in left.get_yticklabels()] == ["1", "2"]
    assert [label.get_text() for label in left.get_xticklabels()] == ["Q2", "P2", "Q2P+P2"]
    assert left.get_title() == "left (baseline 80.00)" and right.get_title().startswith("right")
    image = left.images[0]
    assert (image.norm(-10.0), image.norm(0.0), image.norm(2.0)) == (0.0, 0.5, 1.0)
    assert image.origin == "lower"
    assert sorted(text.get_text() for text in left.texts) == [
        "-1.0",
        "-20.0",
        "-30.0",
        "-9.5",
        "0.0",
        "1.0",
    ]


def test_auto_range_covers_the_data():
    figure = visualize_zones.draw(
        [results_table.make_table(SCORES)], ["one"], "F1", value_range="auto"
    )
    assert (figure.axes[0].images[0].norm.vmin, figure.axes[0].images[0].norm.vmax) == (-30.0, 1.0)


@pytest.mark.parametrize(
    "extension, beginning", [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")]
)
def test_command_line_draws(tmp_path, extension, beginning):
    write(tmp_path / "results_f1.csv")
    figure = tmp_path / "made" / ("zones." + extension)
    code, _, stderr = tiny.run(
        "visualize_zones.py", "--metric=f1", str(tmp_path / "results.csv"), str(figure)
    )
    assert code == 0, stderr
    assert figure.read_bytes().startswith(beginning)


@pytest.mark.parametrize(
    "words, message",
    [
        (["nowhere.csv", "a.png"], "does not exist"),
        (["results.csv", "a.gif"], "must end in .png, .pdf or .svg"),
        (["results.csv", "a.png", "--range=5,2"], "must go from below 0 to above 0"),
        (["results.csv", "a.png", "--titles=a,b"], "--titles has 2 titles for 1 tables"),
    ],
)
def test_command_line_errors(tmp_path, words, message):
    write(tmp_path / "results.csv")
    code, _, stderr = tiny.run(
        "visualize_zones.py", *[str(tmp_path / word) if "." in word else word for word in words]
    )
    assert code == 2 and message in stderr and "Traceback" not in stderr


@pytest.mark.parametrize(
    "label, name",
    [("0", "1"), ("8+9", "9+10"), ("all", "all"), ("\u00b2", "\u00b2"), ("9" * 5000, "9" * 5000)],
)
def test_layers_count_from_1(label, name):
    assert visualize_zones._row_name(label) == name
