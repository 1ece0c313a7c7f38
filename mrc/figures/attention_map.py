# SPDX-License-Identifier: Apache-2.0
"""Figures of attention: panels of layers by heads, maps of one window, contact sheets."""

import math
from typing import Dict, List, Optional, Sequence

import numpy as np

from attention_mask import BLOCKS
from mrc.answers.attention_tables import QUERY_GROUPS
from mrc.figures import fonts, heat_map
from mrc.figures.figure_files import new_figure
from mrc.figures.heat_map import TEXT_POINTS, TITLE_POINTS, WIDTH
from mrc.figures.texts import plain

# What is drawn, and its name beside the colours.
LIFT, MASS = "lift", "mass"
_PANEL_LABELS = {LIFT: "log2 of lift: attention mass / mass of uniform attention", MASS: "attention mass"}
_MAP_LABELS = {LIFT: "lift: attention / uniform attention", MASS: "attention"}
_SPECIAL = "to [CLS]/[SEP]"
_SPACING = 0.115  # inches between labels of tokens
_LINKS = 24  # listed below a map
_LINK_CHARACTERS = 13  # of a token in the list
_LINK_INCHES = 1.9
_SHEET_INCHES = 1.0  # of a map with its title
_COLOURS = "magma_r"
_PREDICTED, _GOLD, _BORDER = "#1f77b4", "#2ca02c", "0.35"


def _masses(masses: Dict) -> Dict[str, np.ndarray]:
    """Returns {title: masses [L, N]} of the panels of an attention table.

    The last is the mass on `[CLS]` and both `[SEP]`, the mean over question and passage queries.
    """
    found = {f"{zone}: {query} to {key}": masses[query, key] for zone, (query, key) in BLOCKS.items()}
    found[_SPECIAL] = sum(masses[query, key] for query in QUERY_GROUPS[:2] for key in QUERY_GROUPS[2:]) / len(
        QUERY_GROUPS[:2]
    )
    return found


def panels_of(masses: Dict, uniform: Optional[Dict], about: str) -> List[heat_map.Panel]:
    """Returns the panels, layers by heads, of an attention table.

    Args:
      masses: of `attention_tables.read`.
      uniform: those of uniform attention, to show the logarithm of the lift; None for the masses.
      about: names the table.
    """
    values = _masses(masses)
    if uniform is not None:
        for title, expected in _masses(uniform).items():
            with np.errstate(divide="ignore", invalid="ignore"):
                lift = np.log2(np.maximum(values[title], 1e-9) / expected)
            values[title] = np.where(np.isfinite(lift), lift, np.nan)
    layers, heads = next(iter(values.values())).shape
    return [
        heat_map.Panel(
            title=title,
            rows=[str(layer + 1) for layer in range(layers)],
            columns=[str(head + 1) for head in range(heads)],
            changes=changes,
            row_label="layer (from 1)",
            column_label="head (from 1)",
            about=f"{about}: {label_of(uniform)}",
        )
        for title, changes in values.items()
    ]


def label_of(uniform: Optional[Dict]) -> str:
    """Returns what the colours of `panels_of` are."""
    return _PANEL_LABELS[MASS if uniform is None else LIFT]


def borders(groups: np.ndarray) -> List[int]:
    """Returns the tokens at which another group begins, [CLS] question [SEP] passage [SEP]."""
    return (1 + np.flatnonzero(np.diff(groups))).tolist()


def strongest(values: np.ndarray, groups: np.ndarray, most: int = _LINKS):
    """Returns the (query, key) of the largest values [T, T] among question and passage tokens."""
    inside = np.isin(groups, [0, 1])
    links = np.where(np.outer(inside, inside), values, -1.0)
    order = np.argsort(-links, axis=None, kind="stable")[:most]
    pairs = [divmod(int(place), len(groups)) for place in order]
    return [pair for pair in pairs if links[pair] > 0.0]


def _norm(values):
    from matplotlib.colors import PowerNorm

    # The root shows the many small probabilities of a long window.
    return PowerNorm(0.5, vmin=0.0, vmax=max(float(values.max()), 1e-6))


def _mark(axes, window, width):
    for place in borders(window.groups):
        axes.axhline(place - 0.5, color=_BORDER, lw=width * 0.6)
        axes.axvline(place - 0.5, color=_BORDER, lw=width * 0.6)
    spans = [(span, _GOLD) for span in window.gold]
    spans += [(window.predicted, _PREDICTED)] if window.predicted else []
    for (first, last), colour in spans:
        style = dict(color=colour, lw=width, ls="-" if colour == _GOLD else "--")
        for place in (first - 0.5, last + 0.5):
            axes.axhline(place, **style)
            axes.axvline(place, **style)


def labelled(window, weights: np.ndarray, most: int) -> List[int]:
    """Returns the sorted tokens to label on an axis that has room for `most` labels.

    These are all, or else those of the gold and predicted answers, then those of the largest
    `weights` [T], each unless it is too close to one before.
    """
    tokens = len(window.tokens)
    if tokens <= most:
        return list(range(tokens))
    spans = [*window.gold, *([window.predicted] if window.predicted else [])]
    wanted = [place for first, last in spans for place in range(first, last + 1)]
    wanted += np.argsort(-weights, kind="stable").tolist()
    chosen: List[int] = []
    for place in wanted:
        if all(abs(place - other) * most >= tokens for other in chosen):
            chosen.append(place)
    return sorted(chosen)


def _label_tokens(axes, window, values, side):
    most = int(side / _SPACING)
    content = np.isin(window.groups, [0, 1])
    received = np.where(content, values.sum(axis=0), 0.0)
    linked = np.zeros(len(window.tokens))
    for query, key in strongest(values, window.groups):
        linked[query] += values[query, key]
    for axis, weights, angle in ((axes.xaxis, received, 90), (axes.yaxis, linked, 0)):
        places = labelled(window, weights, most)
        if axis is axes.yaxis and len(window.tokens) > most:
            places = [place for place in places if linked[place] or _colour(window, place)]
        axis.set_ticks(places)
        axis.set_ticklabels(
            [plain(_shortened(window.tokens[place], _LINK_CHARACTERS)) for place in places],
            rotation=angle,
            fontsize=TEXT_POINTS,
        )
        for place, label in zip(places, axis.get_ticklabels()):
            label.set_color(_colour(window, place) or "black")
    axes.tick_params(length=2, pad=1)


def _colour(window, place):
    """Returns the colour of a token of an answer, None for others."""
    if window.predicted and window.predicted[0] <= place <= window.predicted[1]:
        return _PREDICTED
    return _GOLD if any(first <= place <= last for first, last in window.gold) else None


def _shortened(text, most):
    return text if len(text) <= most else text[: most - 1] + "…"


def _summary(window, what, width):
    """Returns the lines above a figure of this width in inches."""
    part = f", window {window.number + 1} of {window.of}" if window.of > 1 else ""
    gold = " | ".join(window.gold_answers) or "none in the file"
    here = "" if window.predicted or not window.answer else " (in another window)"
    lines = [
        f"{window.question_id}: {window.question}",
        f"{what}; {len(window.tokens)} tokens{part}",
        f"predicted (dashed blue): {window.answer or 'no answer'}{here}",
        f"gold (green): {gold}",
    ]
    return [_shortened(line, int(width / 0.068)) for line in lines]


def _write_summary(figure, texts, height):
    for number, text in enumerate(texts):
        figure.text(0.02, 1 - (0.2 + 0.16 * number) / height, plain(text), fontsize=TITLE_POINTS)


def _write_links(axes, window, values, columns):
    axes.set_axis_off()
    links = strongest(values, window.groups)
    lines = ["strongest links of question and passage"]
    lines += [
        f"{values[query, key]:.3g}  {_shortened(window.tokens[query], _LINK_CHARACTERS)} → "
        f"{_shortened(window.tokens[key], _LINK_CHARACTERS)}"
        for query, key in links
    ]
    height = math.ceil((len(lines) - 1) / columns)
    style = dict(va="top", fontsize=TEXT_POINTS)
    axes.text(0.0, 1.0, lines[0], **style)
    for number, line in enumerate(lines[1:]):
        column, row = divmod(number, height)
        axes.text(column / columns, 1 - (row + 1) / (height + 1), plain(line), **style)


def draw_map(window, values: np.ndarray, what: str, show=LIFT, width: Optional[float] = None):
    """Returns the figure of one map [T, T]: queries are rows, keys are columns.

    Args:
      window: `attention_window.Window`.
      values: the probabilities.
      what: names the layer and head.
      show: `LIFT` or `MASS`.
      width: of the figure in inches.
    """
    width, content = width or WIDTH, np.isin(window.groups, [0, 1])
    texts = _summary(window, f"{show} of attention, {what}", width)
    fonts.use(texts + window.tokens)
    # Inches from the left and the top.
    left, top, gap = 0.95, 1.05, 0.08
    side = width - left - 0.6
    columns = max(1, int(width / _LINK_INCHES))
    links = _SPACING * (math.ceil(_LINKS / columns) + 1)
    below = top + side + 0.95
    height = below + 1.15 + links
    figure = new_figure((width, height))

    def place(x, y, wide, high):
        return figure.add_axes([x / width, 1 - (y + high) / height, wide / width, high / height])

    axes = place(left, top, side, side)
    shown = values * (len(window.tokens) if show == LIFT else 1)
    image = axes.imshow(shown, cmap=_COLOURS, norm=_norm(shown), interpolation="nearest")
    _mark(axes, window, 0.7)
    _label_tokens(axes, window, values, side)
    axes.set_ylabel("query (rows) attends to key (columns)", fontsize=TEXT_POINTS)
    for group, name in enumerate(QUERY_GROUPS[:2]):
        at = np.flatnonzero(window.groups == group)
        if len(at):
            middle = at.mean() if group else at[0]
            axes.text(middle, -1.5 - len(window.groups) / 150, name, fontsize=TEXT_POINTS, va="bottom")
    received = place(left, below, side, 0.45)
    received.bar(range(len(window.tokens)), values.sum(axis=0), width=1.0, color="0.3")
    received.set_xlim(-0.5, len(window.tokens) - 0.5)
    received.set_ylabel("received\n(uniform: 1)", fontsize=TEXT_POINTS)
    given = place(left + side + gap, top, 0.45, side)
    given.barh(range(len(window.tokens)), values[:, content].sum(axis=1), height=1.0, color="0.3")
    given.set_ylim(len(window.tokens) - 0.5, -0.5)
    given.set_xlim(0.0, 1.0)
    given.set_xticks([0, 1])
    given.set_xlabel("mass on\nquestion,\npassage", fontsize=TEXT_POINTS)
    for each in (received, given):
        each.tick_params(labelsize=TEXT_POINTS)
    given.set_yticks([])
    received.set_xticks([])
    bar = figure.colorbar(image, cax=place(left, below + 0.55, side, 0.09), orientation="horizontal")
    bar.set_label(f"{_MAP_LABELS[show]} (root scale)", fontsize=TEXT_POINTS)
    bar.ax.tick_params(labelsize=TEXT_POINTS)
    _write_links(place(0.15, below + 1.08, width - 0.3, links), window, shown, columns)
    _write_summary(figure, texts, height)
    return figure


def draw_sheet(
    window,
    maps: Sequence[np.ndarray],
    names: Sequence[str],
    show=LIFT,
    width: Optional[float] = None,
    columns: Optional[int] = None,
):
    """Returns the contact sheet of several maps of one window; see `draw_map`.

    Args:
      maps, names: the probabilities of each map and the layer and head.
      columns: maps beside each other; None for as many as fit.
    """
    width = width or WIDTH
    columns = min(len(maps), columns or max(1, int(width / _SHEET_INCHES)))
    texts = _summary(window, f"{len(maps)} maps of the {show} of attention, root scale", width)
    fonts.use(texts)
    lines, top = math.ceil(len(maps) / columns), 0.95
    height = (width / columns + 0.18) * lines + top
    figure = new_figure((width, height))
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    for each in axes:
        each.set_axis_off()
    for each, values, name in zip(axes, maps, names):
        each.set_axis_on()
        each.imshow(values, cmap=_COLOURS, norm=_norm(values), interpolation="nearest")
        _mark(each, window, 0.5)
        each.set_xticks([])
        each.set_yticks([])
        most = values.max() * (len(window.tokens) if show == LIFT else 1)
        each.set_title(plain(f"{name}\nup to {most:.3g}"), fontsize=TEXT_POINTS, pad=2)
    inside = dict(left=0.02, right=0.98, bottom=0.01, top=1 - (top + 0.1) / height)
    figure.subplots_adjust(hspace=0.36, wspace=0.08, **inside)
    _write_summary(figure, texts, height)
    return figure
