# SPDX-License-Identifier: Apache-2.0
"""Scatter plots of attention against the loss from masking it: a panel for each zone."""

from typing import Dict, List

from mrc.answers.correlation import LAYERS, Correlation
from mrc.answers.effects import METRIC_NAMES
from mrc.figures.texts import plain

_INCHES = 3.1
_TEXT_POINTS = 8


def _draw(axes, points, row, limits):
    from matplotlib import cm

    layers = max(1, limits)
    colours = [cm.viridis(point.layer / layers) for point in points]
    axes.axhline(0.0, color="0.8", lw=0.8, zorder=0)
    axes.scatter(
        [point.mass for point in points], [point.loss for point in points], c=colours, s=22
    )
    if row.over == LAYERS:
        for point in points:
            axes.annotate(
                str(point.layer + 1),
                (point.mass, point.loss),
                textcoords="offset points",
                xytext=(4, 3),
                fontsize=_TEXT_POINTS - 1,
            )
    text = f"{row.zone.upper()}, {row.points} {row.over}"
    if row.p == row.p:
        text += f", p = {row.p:.2g}"
    if row.spearman == row.spearman:
        text += f"\nSpearman {row.spearman:+.2f}"
    if row.spearman_low == row.spearman_low:
        text += f" [{row.spearman_low:+.2f}, {row.spearman_high:+.2f}]"
    axes.set_title(plain(text), fontsize=_TEXT_POINTS + 1)
    axes.tick_params(labelsize=_TEXT_POINTS)
    axes.margins(0.12)


def draw(points: Dict, rows: List[Correlation]):
    """Returns the figure: a row for each metric and kind of point, a column for each zone.

    Args:
      points: {(zone, what the points are, metric): list of `correlation.Point`}.
      rows: their correlations, in the same order.
    """
    from matplotlib import cm
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import BoundaryNorm
    from matplotlib.figure import Figure

    zones = list(dict.fromkeys(row.zone for row in rows))
    lines = list(dict.fromkeys((row.over, row.metric) for row in rows))
    most = max(point.layer for mine in points.values() for point in mine)
    figure = Figure(
        figsize=(_INCHES * len(zones) + 1.2, _INCHES * 0.9 * len(lines) + 0.4),
        constrained_layout=True,
    )
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(lines), len(zones), squeeze=False)
    for each in axes.ravel():
        each.set_axis_off()
    for row in rows:
        line, column = lines.index((row.over, row.metric)), zones.index(row.zone)
        each = axes[line][column]
        each.set_axis_on()
        _draw(each, points[row.zone, row.over, row.metric], row, most)
        each.set_ylabel(f"loss of {METRIC_NAMES[row.metric]} (points)", fontsize=_TEXT_POINTS)
        each.set_xlabel("attention mass of the block", fontsize=_TEXT_POINTS)
    colours = cm.ScalarMappable(
        BoundaryNorm([layer + 0.5 for layer in range(most + 2)], 256), "viridis"
    )
    colours.set_array([])
    step = max(1, (most + 1) // 12)
    bar = figure.colorbar(
        colours, ax=list(axes.ravel()), fraction=0.02, ticks=range(1, most + 2, step)
    )
    bar.set_label("layer (from 1)")
    return figure
