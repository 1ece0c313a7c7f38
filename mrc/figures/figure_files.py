# SPDX-License-Identifier: Apache-2.0
"""Writes figures: PNG, PDF or SVG, each with a description in its metadata."""

import io
import os

from mrc.figures import heat_map
from mrc.figures.texts import drawable
from mrc.util import files
from mrc.util.errors import InputError

# Formats of figures, each with the name of its metadata field for a description.
FORMATS = {"png": "Description", "pdf": "Subject", "svg": "Description"}


def check_matplotlib():
    """Raises an `InputError` if matplotlib is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise InputError("drawing needs matplotlib: pip install -r requirements/figures.txt")


def extension(path: str) -> str:
    """Returns the extension of a path in lower case, without the dot."""
    return os.path.splitext(path)[1][1:].lower()


def save(figure, path: str, description: str):
    """Writes a matplotlib figure to `path`, whose extension is one of `FORMATS`."""
    buffer = io.BytesIO()
    figure.savefig(
        buffer,
        format=extension(path),
        dpi=heat_map.DOTS_PER_INCH,
        metadata={FORMATS[extension(path)]: drawable(description)},
    )
    files.make_folder_of(path)
    files.write(path, buffer.getvalue(), binary=True)
