# SPDX-License-Identifier: Apache-2.0
"""Scatter plots of attention against the loss from masking it: a panel for each zone."""

import math
from typing import Dict, List, Optional

from mrc.answers.correlation import LAYERS, Correlation
from mrc.answers.effects import METRIC_NAMES
from mrc.figures.figure_files import new_figure
from mrc.figures.heat_map import TEXT_POINTS, WIDTH
from mrc.figures.texts import plain

_LEAST_INCHES, _BESIDE = 1.2, 0.65  # of a panel, and of the colour bar


def _draw(axes, points, row, last_layer):
    from matplotlib import cm

    colours = [cm.viridis(point.layer / max(1, last_layer)) for point in points]
    axes.axhline(0.0, color="0.8", lw=0.8, zorder=0)
    axes.scatter([point.mass for point in points], [point.loss for point in points], c=colours, s=12)
    if row.over == LAYERS:
        style = dict(textcoords="offset points", xytext=(3, 2), fontsize=TEXT_POINTS)
        for point in points:
            axes.annotate(str(point.layer + 1), (point.mass, point.loss), **style)
    text = f"{row.zone.upper()}, {METRIC_NAMES[row.metric]}\n{row.points} {row.over}"
    if row.p == row.p:
        text += f", p = {row.p:.2g}"
    if row.spearman == row.spearman:
        text += f"\nSpearman {row.spearman:+.2f}"
    if row.spearman_low == row.spearman_low:
        text += f"\n[{row.spearman_low:+.2f}, {row.spearman_high:+.2f}]"
    axes.set_title(plain(text), fontsize=TEXT_POINTS)
    axes.tick_params(labelsize=TEXT_POINTS)
    axes.margins(0.15)


def draw(points: Dict, rows: List[Correlation], width: Optional[float] = None, columns: Optional[int] = None):
    """Returns the figure: a panel for each zone, metric and kind of point.

    Args:
      points: {(zone, what the points are, metric): list of `correlation.Point`}.
      rows: their correlations, in the same order.
      width: of the figure in inches.
      columns: panels beside each other; None for one a zone, if they fit.
    """
    from matplotlib import cm
    from matplotlib.colors import BoundaryNorm

    width = width or WIDTH
    columns = columns or min(len({row.zone for row in rows}), max(1, int((width - _BESIDE) / _LEAST_INCHES)))
    most = max(point.layer for mine in points.values() for point in mine)
    lines = math.ceil(len(rows) / columns)
    height = 1.0 + min(1.8, (width - _BESIDE) / columns * 0.8)
    figure = new_figure((width, height * lines), constrained_layout=True)
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    for each in axes[len(rows) :]:
        each.set_axis_off()
    for number, (each, row) in enumerate(zip(axes, rows)):
        _draw(each, points[row.zone, row.over, row.metric], row, most)
        if number % columns == 0:
            each.set_ylabel("loss from masking (points)", fontsize=TEXT_POINTS)
        each.set_xlabel("attention mass", fontsize=TEXT_POINTS)
    colours = cm.ScalarMappable(BoundaryNorm([layer + 0.5 for layer in range(most + 2)], 256), "viridis")
    colours.set_array([])
    step = max(1, (most + 1) // 12)
    bar = figure.colorbar(colours, ax=list(axes), fraction=0.03, ticks=range(1, most + 2, step))
    bar.set_label("layer (from 1)", fontsize=TEXT_POINTS)
    bar.ax.tick_params(labelsize=TEXT_POINTS)
    return figure
