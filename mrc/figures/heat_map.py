# SPDX-License-Identifier: Apache-2.0
"""Heat maps of effects: panels side by side under one colour scale, as in figure 3 of the protocol.

Rows run from bottom to top and colours are centred at no change
(https://doi.org/10.1016/j.xpro.2022.101481). The range of the data ("auto") has one scale, so that
a gain is as dark as a loss of the same size. A given range, such as the published one, has a scale
for losses and another for gains.
"""

import math
import textwrap
from typing import List, NamedTuple, Optional, Sequence

import numpy as np

from mrc.answers.comparison import EQUIVALENT
from mrc.answers.verdicts import IMPOSSIBLE, NOT_NEEDED, UNDECIDED
from mrc.figures import fonts
from mrc.figures.texts import plain
from mrc.util.errors import InputError

DOTS_PER_INCH = 160
_MOST_INCHES = 2**16 // DOTS_PER_INCH - 1  # matplotlib draws fewer than 2^16 dots
_MOST_COLUMNS = 5  # of panels
_TICKS = 10
_ROUNDING = 1e-9  # points that only floating-point arithmetic makes
_CELL_INCHES, _CHARACTER_INCHES, _ROW_INCHES = 0.62, 0.085, 0.4
_TITLE_POINTS, _TEXT_POINTS = 10, 8
_LEGEND_INCHES = 0.3
_LETTERS_BESIDE = 20  # of the label beside the colour bar of a low figure
# Hatch and legend of the cells with a verdict; others are plain.
_MARKS = {
    UNDECIDED: ("////", "hatched: undecided"),
    NOT_NEEDED: ("..", "dotted: not needed"),
    EQUIVALENT: ("..", "dotted: equivalent"),
    IMPOSSIBLE: ("xx", "crossed: cannot change an answer"),
}
_MARK_COLOUR = "0.6"
_EMPTY_COLOUR, _EMPTY_TEXT = "0.75", "grey: no cell"


class Panel(NamedTuple):
    """A heat map.

    Attributes:
      title: text above it.
      rows, columns: their labels, rows from the bottom.
      changes: `[rows, columns]` in points, NaN where there is no cell.
      row_label, column_label: what rows and columns are.
      verdicts: `[rows, columns]`, the verdicts on the effects (see `verdicts`), or None.
      texts: `[rows, columns]`, what is written in the cells, or None.
    """

    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    changes: np.ndarray
    row_label: str = "masked layer (from 1)"
    column_label: str = "masked zone"
    verdicts: Optional[np.ndarray] = None
    texts: Optional[np.ndarray] = None


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
    return {(False, False): "neither", (True, False): "min", (False, True): "max"}.get(
        (below, above), "both"
    )


def _ticks(low, high, is_one_scale):
    """Returns round numbers between the ends, of both halves if these differ in scale."""
    from matplotlib.ticker import MaxNLocator

    parts = [(low, high)] if is_one_scale else [(low, 0.0), (0.0, high)]
    ticks = np.concatenate([MaxNLocator(_TICKS // len(parts)).tick_values(*ends) for ends in parts])
    return np.unique(ticks[(low <= ticks) & (ticks <= high)])


def _width(panel):
    """Returns the inches of a panel's cells: labels of unions need more than those of zones."""
    longest = max(len(label) for label in panel.columns)
    cell = max(_CELL_INCHES, min(longest, 6) * _CHARACTER_INCHES + 0.12)
    if panel.texts is not None:
        most = max(len(line) for text in panel.texts.ravel() for line in text.split("\n"))
        cell = max(cell, most * 0.075 + 0.12)
    return cell * len(panel.columns)


def _label_columns(axes, panel):
    axes.set_xticks(range(len(panel.columns)))
    labels = [plain(label) for label in panel.columns]
    crowded = max(map(len, labels)) > 4
    style = dict(rotation=40, ha="right", rotation_mode="anchor") if crowded else {}
    axes.set_xticklabels(labels, **style)
    axes.set_xlabel(panel.column_label)


def _draw(axes, panel, norm, width):
    image = axes.imshow(panel.changes, cmap="RdBu", norm=norm, origin="lower", aspect="auto")
    axes.set_facecolor(_EMPTY_COLOUR)
    _label_columns(axes, panel)
    axes.set_yticks(range(len(panel.rows)))
    axes.set_yticklabels([plain(label) for label in panel.rows])
    line = max(12, int(width / (0.0085 * _TITLE_POINTS)))
    title = "\n".join(textwrap.fill(part, line) for part in panel.title.split("\n"))
    axes.set_title(plain(title), fontsize=_TITLE_POINTS)
    axes.tick_params(length=0)
    if panel.verdicts is not None:
        _mark(axes, panel.verdicts)
    if panel.texts is not None:
        for (row, column), text in np.ndenumerate(panel.texts):
            if text:
                _write(axes, column, row, text, norm(panel.changes[row, column]))
    return image


def _write(axes, column, row, text, shade):
    dark = abs(shade - 0.5) > 0.3
    background = dict(facecolor="none", edgecolor="none", pad=0.5)
    axes.text(
        column,
        row,
        plain(text),
        ha="center",
        va="center",
        fontsize=_TEXT_POINTS,
        color="white" if dark else "black",
        bbox=background,
    )


def _mark(axes, cell_verdicts):
    from matplotlib.patches import Rectangle

    for (row, column), verdict in np.ndenumerate(cell_verdicts):
        if verdict in _MARKS:
            hatch, _ = _MARKS[verdict]
            style = dict(fill=False, hatch=hatch, edgecolor=_MARK_COLOUR, lw=0)
            axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, **style))


def _legend_entries(panels):
    """Returns the patches that explain marked and empty cells, where there are any."""
    from matplotlib.patches import Patch

    marked = {
        verdict
        for panel in panels
        if panel.verdicts is not None
        for verdict in panel.verdicts.ravel()
    }
    entries = [
        Patch(fill=False, hatch=hatch, edgecolor=_MARK_COLOUR, label=text)
        for verdict, (hatch, text) in _MARKS.items()
        if verdict in marked
    ]
    if any(np.isnan(panel.changes).any() for panel in panels):
        entries.append(Patch(color=_EMPTY_COLOUR, label=_EMPTY_TEXT))
    return entries


def _add_legend(axes, entries):
    """Draws the legend in otherwise empty axes, so that the layout leaves room."""
    axes.set_axis_off()
    legend = axes.legend(
        handles=entries,
        loc="center",
        fontsize=_TEXT_POINTS,
        frameon=False,
        ncol=len(entries),
    )
    legend.set_in_layout(False)


def draw(panels: List[Panel], colour_label: str, value_range):
    """Returns the matplotlib figure of `panels` under one colour scale.

    Args:
      panels: what to draw, in rows of five.
      colour_label: what the colours are.
      value_range: see `range_of`.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    matplotlib.rcParams["hatch.linewidth"] = 0.6
    fonts.use(text for panel in panels for text in [panel.title, *panel.rows, *panel.columns])
    low, high = range_of(panels, value_range)
    is_one_scale = value_range == "auto"
    norm = _norm(low, high, is_one_scale)
    columns = min(len(panels), _MOST_COLUMNS)
    lines = math.ceil(len(panels) / columns)
    widths = [1.0 + _width(panel) for panel in panels]
    height = 1.5 + _ROW_INCHES * max(4, max(len(panel.rows) for panel in panels))
    entries = _legend_entries(panels)
    has_legend = bool(entries)
    size = 1.8 + max(widths) * columns, height * lines + _LEGEND_INCHES * has_legend
    if max(size) > _MOST_INCHES:
        raise InputError(
            f"a figure of {len(panels)} panels with up to {max(len(p.rows) for p in panels)} rows "
            f"and {max(len(p.columns) for p in panels)} columns is too large to draw; draw fewer "
            "of them"
        )
    figure = Figure(figsize=size, constrained_layout=True)
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(
        lines + has_legend, columns, height_ratios=[height] * lines + [_LEGEND_INCHES] * has_legend
    )
    axes = [figure.add_subplot(grid[divmod(place, columns)]) for place in range(len(panels))]
    for number, (panel, each) in enumerate(zip(panels, axes)):
        image = _draw(each, panel, norm, _width(panel))
        if number % columns == 0:
            each.set_ylabel(panel.row_label)
    bar = figure.colorbar(
        image,
        ax=axes,
        fraction=0.05,
        pad=0.03,
        extend=_beyond(panels, low, high),
        ticks=_ticks(low, high, is_one_scale),
        format="%g",
    )
    bar.ax.set_ylim(low, high)
    rows = max(len(panel.rows) for panel in panels)
    bar.set_label(textwrap.fill(colour_label, max(_LETTERS_BESIDE, 2 * rows)))
    if entries:
        _add_legend(figure.add_subplot(grid[lines, :]), entries)
    return figure
