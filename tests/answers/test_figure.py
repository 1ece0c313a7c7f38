# SPDX-License-Identifier: Apache-2.0
"""Tests of the results table and the heat map drawn from it."""

import math
import os
from xml.etree import ElementTree

import numpy as np
import pytest
import tiny

from mrc import cells as grid_cells
from mrc.answers import effects, question_scores, results_table, seeds
from mrc.answers.verdicts import IMPOSSIBLE, NEEDED, NOT_NEEDED, UNDECIDED
from mrc.figures import figure_files, fonts, heat_map, latex, panels
from mrc.util.errors import InputError

CELLS = grid_cells.read_cells("p2,q2,q2p+p2", "0,1", num_layers=2)
# The baseline, then layer 0, then layer 1.
SCORES = dict(zip(CELLS, [80.0, 70.5, 80.0, 60.0, 79.0, 81.0, 50.0]))

CSV = """layer,q2,p2,q2p+p2
baseline,80.0,80.0,80.0
0,80.0,70.5,60.0
1,81.0,79.0,50.0
"""


def draw(tables, titles, value_range=(-10, 2), annotate=False):
    """Returns the figure of tables without effects."""
    made = [panels.of_table(table, title, "em", annotate) for table, title in zip(tables, titles)]
    return heat_map.draw(made, "points", value_range)


def changes_of(table):
    return panels.of_table(table, "title", "em").changes


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
    cells = grid_cells.read_cells("q2,p2", None, num_layers=2)
    path = str(tmp_path / "results.csv")
    results_table.write_table(path, results_table.make_table(dict(zip(cells, [9.0, 8.0, 7.0]))))
    assert results_table.read_table(path).layers == ["each at once"]
    gap = results_table.read_table(write(tmp_path / "gap.csv", "layer,q2,p2\nbaseline,9,9\n0,8,\n"))
    changes = changes_of(gap)
    assert changes[0, 0] == -1.0 and np.isnan(changes[0, 1])


def test_differences_from_the_baseline():
    np.testing.assert_array_equal(changes_of(results_table.make_table(SCORES)), [[0.0, -9.5, -20.0], [1.0, -1.0, -30.0]])


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "is not a table of results"),
        ("layer,q2\n0,1\n", "is not a table of results"),
        ("layer,q2\nbaseline,5\n0,x\n", 'line 3: q2 is "x", not a number'),
        ("layer,q2\nbaseline,5\n0,1,2\n", "line 3 has 3 columns, but the first line has 2"),
    ],
)
def test_files_that_are_not_tables_are_refused(tmp_path, text, message):
    with pytest.raises(InputError) as caught:
        results_table.read_table(write(tmp_path / "results.csv", text))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "value_range, arrows",
    [((-30, 1), "neither"), ((-29, 1), "min"), ((-30, 0.5), "max"), ((-10, 0.5), "both"), ("auto", "neither")],
)
def test_colour_bar_has_arrows_for_values_outside_its_range(value_range, arrows):
    figure = draw([results_table.make_table(SCORES)], ["title"], value_range)
    assert figure.axes[0].images[0].colorbar.extend == arrows


def test_colour_bar_has_no_arrow_for_rounding_errors():
    table = results_table.Table(["q2"], ["0"], 16.1, {("0", "q2"): 6.1})
    assert (changes_of(table) < -10).all()
    figure = draw([table], ["title"], (-10, 2))
    assert figure.axes[0].images[0].colorbar.extend == "neither"


def test_colour_bar_has_numbers_in_both_halves():
    figure = draw([results_table.make_table(SCORES)], ["title"], (-30, 0.1))
    figure.canvas.draw()
    numbers = [label.get_text() for label in figure.axes[1].get_yticklabels()]
    assert numbers == ["-30", "-24", "-18", "-12", "-6", "0", "0.02", "0.04", "0.06", "0.08", "0.1"]


def test_figure_counts_layers_from_1_and_centres_its_colours_at_0():
    table = results_table.make_table(SCORES)
    figure = draw([table, table], ["left", "right"], annotate=True)
    left, right = figure.axes[:2]
    assert [label.get_text() for label in left.get_yticklabels()] == ["1", "2"]
    assert [label.get_text() for label in left.get_xticklabels()] == ["Q2", "P2", "Q2P+P2"]
    assert (left.get_title(), right.get_title()) == ("left", "right")
    assert figure._suptitle.get_text() == "exact match, baseline 80.00"
    image = left.images[0]
    assert (image.norm(-10.0), image.norm(0.0), image.norm(2.0)) == (0.0, 0.5, 1.0)
    assert image.origin == "lower"
    assert sorted(text.get_text() for text in left.texts) == ["-1.0", "-20.0", "-30.0", "-9.5", "0.0", "1.0"]


def test_auto_range_covers_the_data():
    figure = draw([results_table.make_table(SCORES)], ["one"], value_range="auto")
    bar = figure.axes[0].images[0].colorbar
    assert bar.ax.get_ylim() == (-30.0, 1.0)


@pytest.mark.parametrize("extension, beginning", [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_command_line_draws(tmp_path, extension, beginning):
    write(tmp_path / "results_f1.csv")
    figure = tmp_path / "made" / ("zones." + extension)
    code, _, stderr = tiny.run("visualize_zones.py", "--metric=f1", str(tmp_path / "results.csv"), str(figure))
    assert code == 0, stderr
    assert figure.read_bytes().startswith(beginning)


@pytest.mark.parametrize(
    "words, message",
    [
        (["nowhere.csv", "a.png"], "does not exist"),
        (["results.csv", "a.gif"], "must end in one of .png, .pdf, .svg, .tex"),
        (["results.csv", "a.png", "--range=5,2"], "must go from below 0 to above 0"),
        (["results.csv", "results.csv", "a.png", "--titles=a"], "--titles has 1 titles for 2 tables"),
        (["results.csv", "results.csv", "a.png", "--titles=a,b,c"], "--titles has 3 titles for 2 tables"),
        (["results.csv", "a.png", "--by_type"], "effects_by_type.csv does not exist"),
        (["results.csv", "a.png", "--by_type", "--average"], "not allowed with argument"),
        (["effects.csv", "a.png"], "effects.csv does not exist"),
    ],
)
def test_command_line_errors(tmp_path, words, message):
    write(tmp_path / "results.csv")
    code, _, stderr = tiny.run("visualize_zones.py", *[str(tmp_path / word) if "." in word else word for word in words])
    assert code == 2 and message in stderr and "Traceback" not in stderr


@pytest.mark.parametrize(
    "label, name", [("0", "1"), ("8+9", "9+10"), ("all", "all"), ("\u00b2", "\u00b2"), ("9" * 5000, "9" * 5000)]
)
def test_layers_count_from_1(label, name):
    assert panels.row_name(label) == name


def effect(layer, zone, verdict, difference=-1.0, head="", metric="em", questions=8, high=0.0):
    return effects.Effect(
        *(layer, head, zone, metric, 80.0, 80.0 + difference, difference, 1.0, -6.0, high),
        *(0, 1, questions, 0.01, 0.01, 0.5, 3.0, verdict, math.nan),
    )


def written(folder, rows=None, table=None):
    """Writes results.csv and effects.csv of a grid of two zones and two layers.

    Returns the former's path.
    """
    rows = rows or [
        effect("0", "q2", UNDECIDED),
        effect("0", "p2", NEEDED),
        effect("1", "q2", IMPOSSIBLE),
        effect("1", "p2", NOT_NEEDED),
    ]
    folder.mkdir(exist_ok=True)
    (folder / "effects.csv").write_text(effects.TABLE.to_csv(rows))
    return write(folder / "results.csv", table or "layer,q2,p2\nbaseline,80,80\n0,79,79\n1,79,79\n")


def legends(figure):
    return [axes.get_legend() for axes in figure.axes if axes.get_legend()]


def test_the_legend_is_clear_of_the_labels(tmp_path):
    path = written(tmp_path)
    table = results_table.read_table(path)
    panel = panels.of_table(table, "t", "em", rows=panels.effects_of(path, table, "em"))
    figure = heat_map.draw([panel], "points", (-10, 2))
    figure.canvas.draw()
    (legend,) = legends(figure)
    label = figure.axes[0].xaxis.label
    assert not legend.get_window_extent().overlaps(label.get_window_extent())


def test_cells_show_their_verdicts(tmp_path):
    path = written(tmp_path)
    table = results_table.read_table(path)
    panel = panels.of_table(table, "t", "em", rows=panels.effects_of(path, table, "em"))
    assert panel.verdicts.tolist() == [[UNDECIDED, NEEDED], [IMPOSSIBLE, NOT_NEEDED]]
    figure = heat_map.draw([panel], "points", (-10, 2))
    (frame,) = figure.axes[0].patches  # of the needed cell alone
    assert (round(frame.get_x() + 0.42), round(frame.get_y() + 0.42)) == (1, 0)
    corners = {(int(line.get_xdata()[0]), int(line.get_ydata()[0])): line.get_marker() for line in figure.axes[0].lines}
    assert corners == {(0, 1): "x", (1, 1): "o"}
    (legend,) = legends(figure)
    assert [text.get_text() for text in legend.get_texts()] == [
        "needed",
        "not needed",
        "cannot change an answer",
        "unmarked: undecided",
    ]


def test_a_figure_in_which_nothing_is_decided_is_unmarked(tmp_path):
    rows = [effect(layer, zone, UNDECIDED) for layer in "01" for zone in ("q2", "p2")]
    path = written(tmp_path, rows)
    table = results_table.read_table(path)
    panel = panels.of_table(table, "t", "em", rows=panels.effects_of(path, table, "em"))
    axes = heat_map.draw([panel], "points", (-10, 2)).axes[0]
    assert not axes.patches and not axes.lines


def test_the_title_has_metric_baseline_questions_and_passages(tmp_path):
    path = written(tmp_path)
    table = results_table.read_table(path)
    rows = panels.effects_of(path, table, "em")
    scores = question_scores.QuestionScores(
        np.arange(8).astype(str), np.arange(8) // 2, np.zeros(8), [], {"em": np.zeros([1, 8])}
    )
    about = "exact match, baseline 80.00, 8 questions"
    assert panels.of_table(table, "t", "em", rows=rows, path=path).about == about
    question_scores.write(str(tmp_path), scores)
    panel = panels.of_table(table, "t", "em", rows=rows, path=path)
    assert panel.about == about + ", 4 passages"
    question_scores.write(str(tmp_path), scores.subset(np.arange(4)))  # of other questions
    assert panels.of_table(table, "t", "em", rows=rows, path=path).about == about


def test_cells_without_verdicts_have_no_legend(tmp_path):
    rows = [effect(layer, zone, "") for layer in "01" for zone in ("q2", "p2")]
    path = written(tmp_path, rows)
    table = results_table.read_table(path)
    panel = panels.of_table(table, "t", "em", rows=panels.effects_of(path, table, "em"))
    assert not legends(heat_map.draw([panel], "points", (-10, 2)))


@pytest.mark.parametrize("table", ["layer,q2,p2\nbaseline,80,80\n0,79,78\n1,79,79\n", "layer,q2\nbaseline,80\n0,79\n1,79\n"])
def test_effects_of_other_results_mark_nothing(tmp_path, table):
    path = written(tmp_path, table=table)
    code, _, stderr = tiny.run("visualize_zones.py", path, str(tmp_path / "zones.png"))
    assert code == 0 and "so no verdict is drawn; score again" in stderr


def test_effects_with_heads_are_layers_by_heads_with_a_panel_for_each_zone():
    rows = [
        effect(layer, zone, NEEDED if head == "1" else UNDECIDED, -float(head), head)
        for layer in ("0", "1", "0+1")
        for zone in ("p2q", "off")
        for head in "01"
    ]
    first, second = panels.of_heads(rows, "reader")
    assert (first.title, second.title) == ("reader: P2Q", "reader: OFF")
    assert first.about == "exact match, baseline 80.00, 8 questions"
    assert (list(first.rows), list(first.columns)) == (["1", "2", "1+2"], ["1", "2"])
    assert first.changes.tolist() == [[0.0, -1.0]] * 3
    assert first.verdicts.tolist() == [[UNDECIDED, NEEDED]] * 3


def test_a_panel_for_each_type_marks_intervals_that_exclude_0(capsys):
    table = {
        "who": [effect("0", "q2", "", questions=10, high=1.0), effect("0", "q2", "", metric="f1")],
        "why": [effect("0", "q2", "", -4.0, questions=15, high=-2.0), effect("0", "q2", "", metric="f1")],
        "when": [effect("0", "q2", "", questions=9)],
    }
    who, why = panels.by_type(table, "em", "reader")
    assert who.title == "reader: who"
    assert who.about == "exact match, baseline 80.00, 10 questions"
    assert why.changes.tolist() == [[-4.0]]
    assert (who.verdicts.tolist(), why.verdicts.tolist()) == ([[""]], [[heat_map.EXCLUDES_0]])
    printed = capsys.readouterr().out
    assert printed == "types of fewer than 10 questions are left out: when (9)\n"


def test_a_grid_of_few_questions_is_not_drawn_by_type():
    with pytest.raises(InputError, match="no type has 10 questions"):
        panels.by_type({"who": [effect("0", "q2", "", questions=9)]}, "em", "reader")


def test_the_average_has_mean_and_standard_deviation():
    tables = [
        results_table.Table(["q2"], ["0"], baseline, {("0", "q2"): value})
        for baseline, value in ((80.0, 78.0), (82.0, 78.0), (78.0, 72.0))
    ]
    tested = seeds.SeedEffects(*[np.zeros(1)] * 6, np.array([NEEDED], object))
    panel = panels.average(tables, "seeds", "em", tested)
    # Changes -2, -4, -6: mean -4, standard deviation 2.
    assert panel.changes.tolist() == [[-4.0]] and panel.texts.tolist() == [["-4.0\n±2.0"]]
    assert (panel.title, panel.about) == ("seeds", "exact match, baseline 80.00")
    assert panel.verdicts.tolist() == [[NEEDED]]


def test_tables_of_other_layers_have_no_average():
    one = results_table.Table(["q2"], ["0"], 80.0, {("0", "q2"): 78.0})
    other = results_table.Table(["q2"], ["1"], 80.0, {("1", "q2"): 78.0})
    with pytest.raises(InputError, match="--average needs tables of the same layers and zones"):
        panels.average([one, other], "seeds", "em")


@pytest.mark.parametrize(
    "values, ends", [((78.0, 79.0), (-2.0, 0.0)), ((80.0, 81.0), (0.0, 1.0)), ((80.0, 80.0), (-1.0, 1.0))]
)
def test_auto_range_without_a_gain_or_a_loss_has_no_such_colours(values, ends):
    table = results_table.Table(["q2"], ["0", "1"], 80.0, dict(zip([("0", "q2"), ("1", "q2")], values)))
    panel = panels.of_table(table, "t", "em")
    np.testing.assert_allclose(heat_map.range_of([panel], "auto"), ends)
    figure = heat_map.draw([panel], "points", "auto")
    figure.canvas.draw()
    bar = figure.axes[0].images[0].colorbar
    assert bar.extend == "neither"
    np.testing.assert_allclose(bar.ax.get_ylim(), ends)


@pytest.mark.parametrize("value_range, is_one_scale", [("auto", True), ((-10.0, 2.0), False)])
def test_in_the_range_of_the_data_a_gain_is_as_dark_as_a_loss_of_its_size(value_range, is_one_scale):
    table = results_table.Table(["q2"], ["0", "1"], 80.0, {("0", "q2"): 70.0, ("1", "q2"): 82.0})
    figure = heat_map.draw([panels.of_table(table, "t", "em")], "points", value_range)
    norm = figure.axes[0].images[0].norm
    assert math.isclose(norm(2.0) - 0.5, 0.5 - norm(-2.0)) is is_one_scale
    assert norm(-10.0) == 0.0 and norm(0.0) == 0.5


def overlapping(texts):
    """Returns the pairs of visible texts that overlap in the drawn figure."""
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts if text.get_text()]
    return [
        (a, b)
        for at, (a, first) in enumerate(boxes)
        for b, second in boxes[at + 1 :]
        if first.shrunk(0.98, 0.98).overlaps(second.shrunk(0.98, 0.98))
    ]


def test_long_titles_do_not_collide():
    table = results_table.make_table(SCORES)
    long = "A reader with a very long name, fine-tuned on data with a long name, too, for 3 epochs"
    figure = draw([table, table, table], [long, long, "short"])
    figure.canvas.draw()
    assert not overlapping([axes.title for axes in figure.axes[:3]])
    for axes in figure.axes[:3]:
        assert axes.title.get_window_extent().y1 <= figure.bbox.y1


def test_labels_of_unions_do_not_collide():
    zones = ["q2+p2", "q2+q2p+p2q+p2", "q2p+p2q", "all", "p2q+p2"]
    table = results_table.Table(zones, ["0"], 80.0, {("0", zone): 78.0 for zone in zones})
    figure = draw([table, table], ["one", "two"])
    figure.canvas.draw()
    labels = figure.axes[0].get_xticklabels()
    angle = labels[0].get_rotation()
    # Rotated labels collide where they are nearer than their height, across their direction.
    places = [label.get_window_extent().x1 for label in labels]
    height = labels[0].get_size() * figure.dpi / 72
    assert angle > 0 and np.diff(places).min() * np.sin(np.radians(angle)) > height


@pytest.mark.parametrize(
    "given, tables, titles",
    [
        ("a,b", 2, ["a", "b"]),
        ('"a, b",c', 2, ["a, b", "c"]),
        ("SQuAD, base", 1, ["SQuAD, base"]),
        ('"SQuAD, base"', 1, ["SQuAD, base"]),
        ("一,二", 2, ["一", "二"]),
    ],
)
def test_titles_may_contain_commas(given, tables, titles):
    import argparse

    import visualize_zones

    args = argparse.Namespace(titles=given, results=["r"] * tables, average=False)
    assert visualize_zones._titles(args) == titles


@pytest.fixture
def installed(monkeypatch):
    """Installs fonts with these characters, {path: characters}; returns the list of warnings."""
    from matplotlib import font_manager

    warnings = []

    def install(falls_back=True, **fonts_by_name):
        characters = {name: frozenset(map(ord, text)) for name, text in fonts_by_name.items()}
        monkeypatch.setattr(fonts, "_characters", lambda path: characters[path])
        monkeypatch.setattr(fonts, "_installed", lambda: list(characters))
        monkeypatch.setattr(fonts, "_falls_back", lambda: falls_back)
        monkeypatch.setattr(font_manager, "findfont", lambda properties: "default")
        monkeypatch.setattr(fonts, "warn", warnings.append)
        return warnings

    return install


@pytest.mark.parametrize("falls_back", [True, False])
def test_one_character_without_a_font_does_not_cost_the_others(installed, falls_back):
    warnings = installed(falls_back, default="ab", chinese="ab灯塔", bold="ab灯")
    assert fonts.find(["ab 灯", "塔🎉"]) == ["chinese"]
    assert warnings == ["no installed font has the characters 🎉; install one, such as Debian's fonts-symbola"]


def test_other_fonts_have_what_the_first_lacks(installed):
    warnings = installed(True, default="ab", chinese="a灯塔", symbols="🎉★")
    assert fonts.find(["ab灯塔🎉"]) == ["chinese", "default", "symbols"] and not warnings


def test_without_fallback_the_warning_names_the_version_that_has_it(installed):
    warnings = installed(False, default="ab", chinese="ab灯塔", symbols="🎉")
    assert fonts.find(["灯塔🎉"]) == ["chinese"]
    assert warnings == [
        "the font of the figure lacks the characters 🎉; use matplotlib 3.6 or later, which takes "
        "them from other installed fonts"
    ]


@pytest.mark.parametrize(
    "text, packages",
    [("中", "fonts-noto-cjk"), ("ไ", "fonts-noto-core"), ("中ไ★", "fonts-noto-cjk and fonts-noto-core and fonts-symbola")],
)
def test_the_advice_fits_the_missing_characters(installed, text, packages):
    warnings = installed(default="ab")
    assert fonts.find(["ab", text]) == ["default"] and warnings[0].endswith(f"such as Debian's {packages}")


@pytest.mark.parametrize("text", ["ab", "a\u200bb", "a\ufeff\u00ad\ufe0f \u3000\n"])
def test_format_characters_and_spaces_need_no_font(installed, text):
    warnings = installed(default="ab", other="ab\u200b")
    assert fonts.find([text]) == [] and not warnings


def test_bitmap_fonts_are_not_used(monkeypatch):
    from matplotlib import ft2font

    class Font:
        scalable = False

        def __init__(self, path):
            pass

        def get_charmap(self):
            return {ord("a"): 1}

    monkeypatch.setattr(ft2font, "FT2Font", Font)
    assert fonts._characters("a bitmap font") == frozenset()


def test_a_font_installed_since_is_found_and_regular_before_bold(monkeypatch):
    import matplotlib
    from matplotlib import font_manager

    folder = os.path.join(matplotlib.get_data_path(), "fonts", "ttf")
    regular, bold = (os.path.join(folder, name) for name in ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf"))
    # matplotlib's list is kept between runs and knows none of them.
    monkeypatch.setattr(font_manager.fontManager, "ttflist", [])
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [bold, regular, "missing.ttf"])
    assert fonts._installed() == [regular, bold]


ODD = "a\x00\x1b\x85\ud800\ufffe\u200b$x$<&>--b 中"


def test_an_svg_with_odd_characters_is_xml(tmp_path):
    table = results_table.make_table(SCORES)
    path = tmp_path / "zones.svg"
    figure_files.save(draw([table], [ODD]), str(path), ODD)
    assert ElementTree.parse(str(path)).getroot().tag.endswith("svg")


def test_empty_cells_are_grey_and_in_the_legend():
    table = results_table.Table(["q2"], ["0", "1"], 80.0, {("0", "q2"): 80.0})
    figure = draw([table], ["one"])
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3].astype(int)
    axes = figure.axes[0]

    def colour(row):
        x, y = axes.transData.transform((0.3, row + 0.3))
        return pixels[len(pixels) - int(y), int(x)].tolist()

    assert colour(0)[0] > 240 and colour(1) == [191, 191, 191]
    (legend,) = legends(figure)
    assert [text.get_text() for text in legend.get_texts()] == ["no cell"]


def texts_of(figure):
    import matplotlib.text

    return [text for text in figure.findobj(matplotlib.text.Text) if text.get_text().strip()]


def grid_of_heads(layers=6, heads=12, zones=("q2", "q2p", "p2q", "p2")):
    rows = [
        effect(str(layer), zone, NEEDED if layer == head else UNDECIDED, -float(head), str(head))
        for zone in zones
        for layer in range(layers)
        for head in range(heads)
    ]
    return panels.of_heads(rows, "reader")


@pytest.mark.parametrize("width, columns", [(6.3, 2), (3.1, 1), (None, 2)])
def test_panels_wrap_to_the_width_in_readable_text(width, columns):
    figure = heat_map.draw(grid_of_heads(), "points", (-10, 2), width)
    figure.canvas.draw()
    assert figure.get_size_inches()[0] == (width or 6.3)
    assert min(text.get_fontsize() for text in texts_of(figure)) >= 7
    tops = [round(axes.get_position().y1, 3) for axes in figure.axes[:4]]
    assert tops.count(max(tops)) == columns
    for axes in figure.axes[:4]:
        box = axes.get_tightbbox(figure.canvas.get_renderer())
        assert box.x0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1
        assert not overlapping(axes.get_xticklabels())


def test_what_does_not_fit_in_readable_text_is_refused():
    table = results_table.make_table(SCORES)
    annotated = [panels.of_table(table, "t", "em", annotate=True)] * 2
    heat_map.draw(annotated, "points", (-10, 2), 3.1)
    with pytest.raises(InputError, match="do not fit into 3.1 inches with text of 7 points"):
        heat_map.draw(annotated, "points", (-10, 2), 3.1, columns=2)


def test_a_pdf_embeds_truetype_fonts_and_an_svg_has_text(tmp_path):
    for name in ("zones.pdf", "zones.svg"):
        figure_files.save(draw([results_table.make_table(SCORES)], ["one"]), str(tmp_path / name), "")
    pdf = (tmp_path / "zones.pdf").read_bytes()
    assert b"/FontFile2" in pdf and b"/Type3" not in pdf
    assert ">exact match, baseline 80.00</text>" in (tmp_path / "zones.svg").read_text()


def test_a_table_in_latex():
    changes = np.array([[-1.0, np.nan], [0.5, -0.04]])
    marks = np.array([[NEEDED, ""], [NOT_NEEDED, IMPOSSIBLE]], object)
    panel = heat_map.Panel("a_b", ["1", "2"], ["Q2", "P2"], changes, verdicts=marks, about="50 %")
    lines = latex.of_panels([panel], "points").split("\n")
    assert lines[2:9] == [
        r"\begin{tabular}{lrr}",
        r"\toprule",
        r"masked layer (from 1) & Q2 & P2 \\",
        r"\midrule",
        r"1 & $-1.0^{*}$ & -- \\",
        r"2 & $0.5^{\circ}$ & $-0.0^{\times}$ \\",
        r"\bottomrule",
    ]
    assert lines[10] == (
        r"\caption{a\_b: points. 50 \%; ${}^{*}$: needed; ${}^{\circ}$: not needed; " r"${}^{\times}$: impossible.}"
    )


def test_the_command_writes_latex_and_warns_of_a_baseline_of_0(tmp_path):
    path = write(tmp_path / "results.csv", "layer,q2\nbaseline,0\n0,0\n")
    code, stdout, stderr = tiny.run("visualize_zones.py", path, str(tmp_path / "zones.tex"))
    assert code == 0, stderr
    assert "without a mask no answer scores in exact match" in stdout
    text = (tmp_path / "zones.tex").read_text()
    assert text.startswith("% results.csv of run unknown;") and r"\end{table}" in text


@pytest.mark.parametrize("word", ["--width=1", "--width=nan", "--columns=0"])
def test_sizes_that_cannot_be_drawn_are_refused(tmp_path, word):
    path = write(tmp_path / "results.csv")
    code, _, stderr = tiny.run("visualize_zones.py", word, path, str(tmp_path / "zones.png"))
    assert code == 2 and "is not a number from" in stderr
