# SPDX-License-Identifier: Apache-2.0
"""Writes figures: PNG, PDF or SVG, each with a description in its metadata."""

import io
import os
from typing import Sequence

from mrc.figures.texts import drawable
from mrc.util import files
from mrc.util.errors import InputError, bounded

# Formats of figures, each with the name of its metadata field for a description.
FORMATS = {"png": "Description", "pdf": "Subject", "svg": "Description"}
_DOTS_PER_INCH = 300
# TrueType fonts in PDF and text as text in SVG, which journals and editors of figures ask for.
_STYLE = {"pdf.fonttype": 42, "svg.fonttype": "none"}


def check_matplotlib():
    """Raises an `InputError` if matplotlib is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise InputError("drawing needs matplotlib: pip install -r requirements/figures.txt")


def new_figure(size=None, **style):
    """Returns a matplotlib figure of a width and height in inches, drawn without a display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, **style)
    FigureCanvasAgg(figure)
    return figure


def extension(path: str) -> str:
    """Returns the extension of a path in lower case, without the dot."""
    return os.path.splitext(path)[1][1:].lower()


def check_extension(parser, path: str, formats: Sequence[str]):
    """Reports a path of a file to write whose extension is none of `formats`."""
    if extension(path) not in formats:
        listed = ", ".join("." + name for name in formats)
        parser.error(f"{path} must end in one of {listed}")


def add_size_arguments(parser):
    """Adds --width and --columns to a parser."""
    parser.add_argument(
        "--width",
        type=bounded(float, 3, 100),
        help="width of the figure in inches (default: what it needs, up to 6.3 for panels); its "
        "text has at least 7 points",
    )
    parser.add_argument("--columns", type=bounded(int, 1, 100), help="panels beside each other (default: as many as fit)")


def add_latex_argument(parser):
    """Adds --latex to a parser of a command that names its files itself."""
    parser.add_argument("--latex", action="store_true", help="write the table as LaTeX beside the figure, too")


def save(figure, path: str, description: str):
    """Writes a matplotlib figure to `path`, whose extension is one of `FORMATS`."""
    import matplotlib

    buffer = io.BytesIO()
    with matplotlib.rc_context(_STYLE):
        figure.savefig(
            buffer, format=extension(path), dpi=_DOTS_PER_INCH, metadata={FORMATS[extension(path)]: drawable(description)}
        )
    files.make_folder_of(path)
    files.write(path, buffer.getvalue(), binary=True)
