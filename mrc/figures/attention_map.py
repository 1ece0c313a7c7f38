# SPDX-License-Identifier: Apache-2.0
"""Figures of attention: panels of layers by heads, maps of one window, contact sheets."""

import math
from typing import Dict, List, Sequence

import numpy as np

from attention_mask import BLOCKS
from mrc.answers.attention_tables import QUERY_GROUPS
from mrc.figures import fonts
from mrc.figures.texts import plain

_SPECIAL = "to [CLS]/[SEP]"
_TEXT_POINTS = 8
_PANELS_IN_LINE = 3
_MAP_INCHES = 8.5
_LABEL_POINTS = 5.5  # of tokens; smaller is not readable
_MOST_LABELS = int(_MAP_INCHES * 72 / (1.15 * _LABEL_POINTS))
_LINKS = 24  # listed beside a map
_LINK_CHARACTERS = 16  # of a token in the list
_COLOURS = "magma_r"
_PREDICTED, _GOLD, _BORDER = "#1f77b4", "#2ca02c", "0.35"


def panels_of(masses: Dict) -> Dict[str, np.ndarray]:
    """Returns {title: masses [L, N]} of the panels of an attention table.

    The last is the mass on `[CLS]` and both `[SEP]`, the mean over question and passage queries.
    """
    found = {
        f"{zone}: {query} to {key}": masses[query, key] for zone, (query, key) in BLOCKS.items()
    }
    found[_SPECIAL] = sum(
        masses[query, key] for query in QUERY_GROUPS[:2] for key in QUERY_GROUPS[2:]
    ) / len(QUERY_GROUPS[:2])
    return found


def _new_figure(size, is_constrained=False):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, constrained_layout=is_constrained)
    FigureCanvasAgg(figure)
    return figure


def draw_panels(masses: Dict, title: str):
    """Returns the figure of an attention table: layers by heads, all panels in one colour scale."""
    fonts.use([title])
    found = panels_of(masses)
    layers, heads = next(iter(found.values())).shape
    width, height = max(2.2, 0.26 * heads + 0.7), max(1.4, 0.26 * layers + 0.9)
    lines = math.ceil(len(found) / _PANELS_IN_LINE)
    figure = _new_figure((width * _PANELS_IN_LINE + 0.9, height * lines + 0.4), True)
    axes = figure.subplots(lines, _PANELS_IN_LINE).ravel()
    for each in axes[len(found) :]:
        each.set_axis_off()
    for number, (each, (name, values)) in enumerate(zip(axes, found.items())):
        image = each.imshow(
            values, cmap=_COLOURS, vmin=0.0, vmax=1.0, origin="lower", aspect="auto"
        )
        each.set_title(plain(name), fontsize=_TEXT_POINTS + 1)
        for axis, count in ((each.xaxis, heads), (each.yaxis, layers)):
            step = math.ceil(count / 24)
            axis.set_ticks(range(0, count, step))
            axis.set_ticklabels([str(place + 1) for place in range(0, count, step)])
        each.tick_params(length=0, labelsize=_TEXT_POINTS - 1)
        each.set_xlabel("head (from 1)", fontsize=_TEXT_POINTS)
        if number % _PANELS_IN_LINE == 0:
            each.set_ylabel("layer (from 1)", fontsize=_TEXT_POINTS)
    bar = figure.colorbar(image, ax=list(axes), fraction=0.03, pad=0.02)
    bar.set_label("mean mass", fontsize=_TEXT_POINTS)
    bar.ax.tick_params(labelsize=_TEXT_POINTS - 1)
    figure.suptitle(plain(title), fontsize=_TEXT_POINTS + 2)
    return figure


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


def _label_tokens(axes, window):
    tokens = len(window.tokens)
    if tokens <= _MOST_LABELS:
        places = range(tokens)
    else:
        # A label every few tokens, and at the start of each answer.
        step = math.ceil(tokens / _MOST_LABELS)
        wanted = {first for first, _ in window.gold} | set((window.predicted or ())[:1])
        places = [
            place
            for place in range(tokens)
            if place in wanted
            or (place % step == 0 and not any(abs(place - other) < step for other in wanted))
        ]
    points = min(8.0, _MAP_INCHES * 72 / (1.15 * min(tokens, _MOST_LABELS)))
    labels = [plain(window.tokens[place]) for place in places]
    axes.set_xticks(list(places))
    axes.set_xticklabels(labels, rotation=90, fontsize=points)
    axes.set_yticks(list(places))
    axes.set_yticklabels(labels, fontsize=points)
    axes.tick_params(length=0, pad=1)
    for labels_of in (axes.get_xticklabels(), axes.get_yticklabels()):
        for place, label in zip(places, labels_of):
            if any(first <= place <= last for first, last in window.gold):
                label.set_color(_GOLD)
            if window.predicted and window.predicted[0] <= place <= window.predicted[1]:
                label.set_color(_PREDICTED)
                label.set_weight("bold")


def _shortened(text, most):
    return text if len(text) <= most else text[: most - 1] + "…"


def _summary(window, what):
    """Returns the lines above a map."""
    part = f", window {window.number + 1} of {window.of}" if window.of > 1 else ""
    gold = " | ".join(window.gold_answers) or "none in the file"
    here = "" if window.predicted or not window.answer else " (in another window)"
    return [
        _shortened(f"{window.question_id}: {window.question}", 110),
        f"{what}; {len(window.tokens)} tokens{part}",
        _shortened(f"predicted (dashed blue): {window.answer or 'no answer'}{here}", 110),
        _shortened(f"gold (green): {gold}", 110),
    ]


def _write_links(axes, window, values):
    axes.set_axis_off()
    lines = [
        f"{_shortened(window.tokens[query], _LINK_CHARACTERS)} → "
        f"{_shortened(window.tokens[key], _LINK_CHARACTERS)}"
        for query, key in strongest(values, window.groups)
    ]
    axes.text(0.0, 1.0, "strongest links\nof question and passage", va="top", fontsize=_TEXT_POINTS)
    for number, ((query, key), line) in enumerate(zip(strongest(values, window.groups), lines)):
        at = 0.94 - 0.037 * number
        axes.text(0.0, at, f"{values[query, key]:.2f}", va="top", fontsize=_TEXT_POINTS - 1)
        axes.text(0.2, at, plain(line), va="top", fontsize=_TEXT_POINTS - 1)


def draw_map(window, values: np.ndarray, what: str):
    """Returns the figure of one map [T, T]: queries are rows, keys are columns.

    Args:
      window: `attention_window.Window`.
      values: the probabilities.
      what: names the layer and head.
    """
    texts = _summary(window, what)
    fonts.use(texts + window.tokens)
    top, left, side = 1.55, 1.15, _MAP_INCHES
    total = left + side + 1.1 + 2.9, top + side + 1.95
    figure = _new_figure(total)

    def place(x, y, width, height):
        return figure.add_axes(
            [
                x / total[0],
                1 - (y + height) / total[1],
                width / total[0],
                height / total[1],
            ]
        )

    axes = place(left, top, side, side)
    image = axes.imshow(values, cmap=_COLOURS, norm=_norm(values), interpolation="nearest")
    _mark(axes, window, 0.9)
    _label_tokens(axes, window)
    axes.set_ylabel("query (rows) attends to key (columns)", fontsize=_TEXT_POINTS)
    for group, name in enumerate(QUERY_GROUPS[:2]):
        at = np.flatnonzero(window.groups == group)
        if len(at):
            axes.text(at.mean(), -2.5 * len(window.groups) / 300, name, ha="center", va="bottom")
    received = place(left, top + side + 0.95, side, 0.7)
    received.bar(range(len(window.tokens)), values.sum(axis=0), width=1.0, color="0.3")
    received.set_xlim(-0.5, len(window.tokens) - 0.5)
    received.set_ylabel("received", fontsize=_TEXT_POINTS - 1)
    content = np.isin(window.groups, [0, 1])
    given = place(left + side + 0.12, top, 0.7, side)
    given.barh(range(len(window.tokens)), values[:, content].sum(axis=1), height=1.0, color="0.3")
    given.set_ylim(len(window.tokens) - 0.5, -0.5)
    given.set_xlim(0.0, 1.0)
    given.set_title("to question\nand passage", fontsize=_TEXT_POINTS - 1)
    for each in (received, given):
        each.tick_params(labelsize=_TEXT_POINTS - 1)
    given.set_yticks([])
    received.set_xticks([])
    _write_links(place(left + side + 1.1, top, 2.8, side), window, values)
    bar = figure.colorbar(
        image,
        cax=place(left + side + 1.1, top + side + 0.95, 2.2, 0.14),
        orientation="horizontal",
    )
    bar.set_label("attention (root scale)", fontsize=_TEXT_POINTS)
    bar.ax.tick_params(labelsize=_TEXT_POINTS - 1)
    for number, text in enumerate(texts):
        figure.text(
            0.02,
            1 - (0.3 + 0.27 * number) / total[1],
            plain(text),
            fontsize=_TEXT_POINTS + 1,
            weight="bold" if number == 0 else "normal",
        )
    return figure


def draw_sheet(window, maps: Sequence[np.ndarray], names: Sequence[str], columns: int):
    """Returns the contact sheet of several maps of one window, `columns` in a row."""
    texts = _summary(window, f"{len(maps)} maps")
    fonts.use(texts)
    lines, side, top = math.ceil(len(maps) / columns), 2.3, 1.5
    width, height = max(side * columns, 6.0), (side + 0.25) * lines + top
    figure = _new_figure((width, height))
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    for each in axes:
        each.set_axis_off()
    for each, values, name in zip(axes, maps, names):
        each.set_axis_on()
        each.imshow(values, cmap=_COLOURS, norm=_norm(values), interpolation="nearest")
        _mark(each, window, 0.5)
        each.set_xticks([])
        each.set_yticks([])
        each.set_title(plain(name), fontsize=_TEXT_POINTS)
    figure.subplots_adjust(
        left=0.02, right=0.98, bottom=0.01, top=1 - top / height, hspace=0.14, wspace=0.05
    )
    for number, text in enumerate(texts):
        figure.text(
            0.02,
            1 - (0.3 + 0.25 * number) / height,
            plain(_shortened(text, int(width * 14))),
            fontsize=_TEXT_POINTS + 1,
            weight="bold" if number == 0 else "normal",
        )
    return figure
