# SPDX-License-Identifier: Apache-2.0
"""Texts of figures: what matplotlib can draw and an SVG file, which is XML, can contain."""

import unicodedata

_REPLACEMENT = "\ufffd"
# Select a variant of the character before them, such as the coloured one of a symbol.
_VARIATION_SELECTORS = range(0xFE00, 0xFE10)


def _drawable_char(char):
    category = unicodedata.category(char)
    if category == "Cf" or ord(char) in _VARIATION_SELECTORS:
        return ""
    is_noncharacter = ord(char) & 0xFFFE == 0xFFFE
    return _REPLACEMENT if is_noncharacter or category in ("Cc", "Cs") and char != "\n" else char


def drawable(text: str) -> str:
    """Returns `text` without invisible format characters, and U+FFFD for what is no character.

    Control characters, lone surrogates and noncharacters such as U+FFFE are no XML.
    """
    return "".join(map(_drawable_char, text))


def plain(text: str) -> str:
    """Returns `drawable` text for matplotlib, which takes what is between two $ for a formula."""
    return drawable(text).replace("$", "\\$")
