# SPDX-License-Identifier: Apache-2.0
"""Heat maps of effects: panels side by side under one colour scale, as in figure 3 of the protocol.

Rows run from bottom to top and colours are centred at no change
(https://doi.org/10.1016/j.xpro.2022.101481). The range of the data ("auto") has one scale, so that
a gain is as dark as a loss of the same size. A given range, such as the published one, has a scale
for losses and another for gains.
"""

import math
import textwrap
from typing import Dict, List, NamedTuple, Optional, Sequence

import numpy as np

from mrc.answers import comparison, verdicts
from mrc.figures import fonts
from mrc.figures.figure_files import new_figure
from mrc.figures.texts import plain
from mrc.util.errors import InputError

WIDTH = 6.3  # inches, of the text of a page of A4 or letter paper
_MOST_INCHES = 200  # matplotlib draws fewer than 2^16 dots
TEXT_POINTS, TITLE_POINTS = 7, 8  # journals ask for at least 7 points in print
_TICKS = 10
_ROUNDING = 1e-9  # points that only floating-point arithmetic makes
_CHARACTER, _LETTER, _LINE = 0.064, 0.056, 0.125  # inches of a digit, a letter and a line
_BESIDE = 0.7  # inches of the colour bar
_LETTERS_BESIDE = 20  # of the label beside the colour bar of a low figure
EXCLUDES_0 = "interval without 0"  # of an effect that is not tested
# Marks of verdicts: the line of a frame or the shape in a corner, and its place in the legend.
_FRAMES = {
    verdicts.NEEDED: ("-", "needed"),
    verdicts.HELPS: ("--", "the mask helps"),
    comparison.A_LOSES_MORE: ("-", "a loses more"),
    comparison.B_LOSES_MORE: ("--", "b loses more"),
    EXCLUDES_0: (":", "interval without 0 (no test)"),
}
_CORNERS = {
    verdicts.NOT_NEEDED: ("o", "not needed"),
    comparison.EQUIVALENT: ("o", "equivalent"),
    verdicts.IMPOSSIBLE: ("x", "cannot change an answer"),
}
_EMPTY_COLOUR, _EMPTY_TEXT = "0.75", "no cell"


class Panel(NamedTuple):
    """A heat map.

    Attributes:
      title: text above it.
      rows, columns: their labels, rows from the bottom.
      changes: `[rows, columns]` in points, NaN where there is no cell.
      row_label, column_label: what rows and columns are.
      verdicts: `[rows, columns]`, the verdicts on the effects (see `verdicts`), or None.
      texts: `[rows, columns]`, what is written in the cells, or None.
      about: the metric and its data; written once where all panels of a figure have the same.
      baseline: the score without a mask, NaN if that is not what changes.
    """

    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    changes: np.ndarray
    row_label: str = "masked layer (from 1)"
    column_label: str = "masked zone"
    verdicts: Optional[np.ndarray] = None
    texts: Optional[np.ndarray] = None
    about: str = ""
    baseline: float = math.nan


def panel_of_cells(cells: Dict, change, verdict=lambda cell: "", text=None, **labels) -> Panel:
    """Returns the panel of {(row, column): cell}, with rows and columns in the order of the cells.

    Args:
      change, verdict, text: functions of a cell that return what its place in the panel shows.
      labels: further attributes of the `Panel`.
    """
    rows, columns = (list(dict.fromkeys(names)) for names in zip(*cells))

    def shown(value, empty, kind):
        values = [[value(cells[row, column]) if (row, column) in cells else empty for column in columns] for row in rows]
        return np.array(values, kind)

    return Panel(
        rows=rows,
        columns=columns,
        changes=shown(change, np.nan, float),
        verdicts=shown(verdict, "", object),
        texts=shown(text, "", object) if text else None,
        **labels,
    )


def numbers(changes: np.ndarray) -> np.ndarray:
    """Returns the texts of changes with one decimal, "" for NaN."""
    texts = [["" if math.isnan(each) else f"{each:.1f}" for each in row] for row in changes]
    return np.array(texts, object).reshape(changes.shape)


def range_of(panels: Sequence[Panel], wanted):
    """Returns the (lowest, highest) change with a colour of its own.

    Args:
      wanted: these two numbers, or "auto" for those of the data. 0 is always between them.
    """
    if wanted != "auto":
        return wanted
    changes = np.concatenate([panel.changes.ravel() for panel in panels])
    low, high = min(np.nanmin(changes), 0.0), max(np.nanmax(changes), 0.0)
    return (low, high) if high - low > _ROUNDING else (-1.0, 1.0)


def _norm(low, high, is_one_scale):
    """Returns the scale of the colours, centred at 0."""
    from matplotlib.colors import Normalize, TwoSlopeNorm

    if is_one_scale:
        reach = max(-low, high)
        return Normalize(-reach, reach)
    return TwoSlopeNorm(vcenter=0.0, vmin=low, vmax=high)


def _beyond(panels, low, high):
    """Returns which ends of the colour scale some change exceeds, in matplotlib's words."""
    below = any(np.nanmin(panel.changes) < low - _ROUNDING for panel in panels)
    above = any(np.nanmax(panel.changes) > high + _ROUNDING for panel in panels)
    return {(False, False): "neither", (True, False): "min", (False, True): "max"}.get((below, above), "both")


def _ticks(low, high, is_one_scale):
    """Returns round numbers between the ends, of both halves if these differ in scale."""
    from matplotlib.ticker import MaxNLocator

    parts = [(low, high)] if is_one_scale else [(low, 0.0), (0.0, high)]
    ticks = np.concatenate([MaxNLocator(_TICKS // len(parts)).tick_values(*ends) for ends in parts])
    return np.unique(ticks[(low <= ticks) & (ticks <= high)])


def _inches(text):
    return max(map(len, text.split("\n"))) * _CHARACTER


def _side(panel):
    """Returns the inches of the labels beside a panel."""
    return 0.32 + max(map(_inches, panel.rows))


def _cell_width(panel, with_labels=True):
    """Returns the inches that a cell needs for its text and, unless crowded, its label."""
    texts = [] if panel.texts is None else list(panel.texts.ravel())
    labels = [label[:4] for label in panel.columns if with_labels]
    return 0.06 + max(map(_inches, [*texts, *labels, ""]))


def _lines_of(panel):
    return 1 if panel.texts is None else max(text.count("\n") + 1 for text in panel.texts.ravel())


def _wrapped(text, width):
    return "\n".join(textwrap.fill(part, max(12, int(width / _LETTER))) for part in text.split("\n"))


def _label_columns(axes, panel, cell):
    labels, step, style = [plain(label) for label in panel.columns], 1, {}
    longest = max(map(_inches, labels))
    if longest > cell and all(label.isdigit() for label in labels):
        step = math.ceil((longest + 0.04) / cell)
    elif longest > cell:
        style = dict(rotation=40, ha="right", rotation_mode="anchor")
    axes.set_xticks(range(0, len(labels), step))
    axes.set_xticklabels(labels[::step], **style)
    axes.set_xlabel(panel.column_label, fontsize=TEXT_POINTS)


def _draw(axes, panel, norm, cell, title):
    image = axes.imshow(panel.changes, cmap="RdBu", norm=norm, origin="lower", aspect="auto")
    axes.set_facecolor(_EMPTY_COLOUR)
    _label_columns(axes, panel, cell)
    axes.set_yticks(range(len(panel.rows)))
    axes.set_yticklabels([plain(label) for label in panel.rows])
    axes.set_title(plain(title), fontsize=TITLE_POINTS)
    axes.tick_params(length=0, labelsize=TEXT_POINTS)
    for (row, column), change in np.ndenumerate(panel.changes):
        colour = "white" if abs(norm(change) - 0.5) > 0.3 else "black"
        if panel.verdicts is not None:
            _mark(axes, column, row, panel.verdicts[row, column], colour)
        if panel.texts is not None and panel.texts[row, column]:
            text = plain(panel.texts[row, column])
            style = dict(ha="center", va="center", fontsize=TEXT_POINTS, color=colour)
            axes.text(column, row, text, **style)
    return image


def _frame(line, **style):
    from matplotlib.patches import Rectangle

    return Rectangle(fill=False, ls=line, lw=1.5, **style)


def _mark(axes, column, row, verdict, colour):
    if verdict in _FRAMES:
        place = dict(xy=(column - 0.42, row - 0.42), width=0.84, height=0.84)
        axes.add_patch(_frame(_FRAMES[verdict][0], edgecolor=colour, **place))
    elif verdict in _CORNERS:
        shape = dict(marker=_CORNERS[verdict][0], ms=3, mew=0.7, mfc="none", mec=colour)
        axes.plot(column + 0.36, row + 0.32, **shape)


def _legend_entries(panels):
    """Returns what explains the marks of cells and empty ones, where there are any."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    tables = [panel.verdicts for panel in panels if panel.verdicts is not None]
    marked = {verdict for table in tables for verdict in table.ravel()}
    entries = [
        _frame(line, xy=(0, 0), width=1, height=1, edgecolor="black", label=text)
        for verdict, (line, text) in _FRAMES.items()
        if verdict in marked
    ] + [
        Line2D([], [], ls="", marker=shape, ms=4, mfc="none", mec="black", label=text)
        for verdict, (shape, text) in _CORNERS.items()
        if verdict in marked
    ]
    if verdicts.UNDECIDED in marked:
        entries.append(Line2D([], [], ls="", label="unmarked: undecided"))
    if any(np.isnan(panel.changes).any() for panel in panels):
        entries.append(Patch(color=_EMPTY_COLOUR, label=_EMPTY_TEXT))
    return entries


def _size(panels, width, columns):
    """Returns the width of the figure in inches and the number of panels beside each other."""
    side = max(map(_side, panels))

    def least(with_labels):
        return max(side + len(each.columns) * _cell_width(each, with_labels) for each in panels)

    if columns is None:
        columns = min(len(panels), max(1, int(((width or WIDTH) - _BESIDE) / least(True))))
    columns = min(columns, len(panels))
    if width is None:
        cells = max(side + len(panel.columns) * max(0.6, _cell_width(panel)) for panel in panels)
        width = max(2.5, min(WIDTH, _BESIDE + columns * cells))
    if _BESIDE + columns * max(least(False), side + 0.5) > width:
        raise InputError(
            f"{columns} panels of up to {max(len(each.columns) for each in panels)} columns beside "
            f"each other do not fit into {width:g} inches with text of {TEXT_POINTS} points; pass "
            "a larger --width or fewer --columns, or leave out --annotate"
        )
    return width, columns


def draw(panels: List[Panel], colour_label: str, value_range, width: Optional[float] = None, columns: Optional[int] = None):
    """Returns the matplotlib figure of `panels` under one colour scale.

    Args:
      panels: what to draw.
      colour_label: what the colours are.
      value_range: see `range_of`.
      width: of the figure in inches; None for what the cells need, up to `WIDTH`.
      columns: panels beside each other; None for as many as fit.
    """
    fonts.use(text for panel in panels for text in [panel.title, *panel.rows, *panel.columns])
    low, high = range_of(panels, value_range)
    is_one_scale = value_range == "auto"
    norm = _norm(low, high, is_one_scale)
    width, columns = _size(panels, width, columns)
    inside = (width - _BESIDE) / columns - max(map(_side, panels))
    common = len(panels) > 1 and len({panel.about for panel in panels}) == 1
    titles = [_wrapped(panel.title + ("" if common or not panel.about else "\n" + panel.about), inside) for panel in panels]
    rows = max(len(panel.rows) for panel in panels)
    height = rows * (0.1 + _LINE * max(map(_lines_of, panels))) + 0.55
    height += (_LINE + 0.02) * max(title.count("\n") + 1 for title in titles)
    if max(_inches(label) for panel in panels for label in panel.columns) > 0.3:
        height += 0.3  # rotated labels
    lines, entries = math.ceil(len(panels) / columns), _legend_entries(panels)
    height, legend_columns = max(height, 1.9), 1
    if entries:
        longest = _LETTER * max(len(entry.get_label()) for entry in entries) + 0.45
        legend_columns = min(len(entries), max(1, int(width / longest)))
    legend_height = math.ceil(len(entries) / legend_columns) * 0.18
    size = width, height * lines + legend_height + 0.25 * common
    if max(size) > _MOST_INCHES:
        raise InputError(
            f"a figure of {len(panels)} panels with up to {rows} rows and "
            f"{max(len(panel.columns) for panel in panels)} columns is too large to draw; draw fewer of them"
        )
    figure = new_figure(size, constrained_layout=True)
    ratios = [height] * lines + [legend_height] * bool(entries)
    grid = figure.add_gridspec(len(ratios), columns, height_ratios=ratios)
    axes = [figure.add_subplot(grid[divmod(place, columns)]) for place in range(len(panels))]
    for number, (panel, each, title) in enumerate(zip(panels, axes, titles)):
        image = _draw(each, panel, norm, inside / len(panel.columns), title)
        if number % columns == 0:
            each.set_ylabel(panel.row_label, fontsize=TEXT_POINTS)
    style = dict(fraction=0.05, pad=0.03, aspect=30, format="%g", extend=_beyond(panels, low, high))
    bar = figure.colorbar(image, ax=axes, ticks=_ticks(low, high, is_one_scale), **style)
    bar.ax.set_ylim(low, high)
    bar.ax.tick_params(labelsize=TEXT_POINTS)
    letters = max(_LETTERS_BESIDE, int(height * lines / _CHARACTER / 1.3))
    bar.set_label(textwrap.fill(colour_label, letters), fontsize=TEXT_POINTS)
    if common:
        figure.suptitle(plain(_wrapped(panels[0].about, width)), fontsize=TITLE_POINTS)
    if entries:
        _add_legend(figure.add_subplot(grid[lines, :]), entries, legend_columns)
    return figure


def _add_legend(axes, entries, columns):
    """Draws the legend in otherwise empty axes, so that the layout leaves room."""
    axes.set_axis_off()
    style = dict(loc="center", fontsize=TEXT_POINTS, frameon=False, borderpad=0)
    axes.legend(handles=entries, ncol=columns, **style).set_in_layout(False)
