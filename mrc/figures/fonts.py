# SPDX-License-Identifier: Apache-2.0
"""Installed fonts for texts with characters that matplotlib's own font lacks, such as Chinese."""

import functools
import logging
import unicodedata
from typing import FrozenSet, Iterable, List

from mrc.figures.texts import drawable
from mrc.util.errors import warn

# Parts of the names of fonts that have ideographs, the preferred ones first.
_NAMES = (
    *("noto sans cjk", "source han sans", "noto sans sc", "pingfang", "hiragino"),
    *("microsoft yahei", "simhei", "malgun gothic", "yu gothic", "wenquanyi"),
    *("droid sans fallback", "noto serif cjk", "ar pl", "ipagothic", "nanum", "unifont"),
)
_REGULAR = 400  # weight
_MOST_LISTED = 20  # characters of a warning
_FIRST_SYMBOL, _LAST_SYMBOL = 0x1F000, 0x1FFFF  # emoji and others


def _rank(font):
    """Returns a key that sorts fonts by preference, and regular faces before bold and italic."""
    name = font.name.lower()
    rank = next((rank for rank, part in enumerate(_NAMES) if part in name), len(_NAMES))
    return rank, font.style != "normal", font.weight != _REGULAR


@functools.lru_cache(maxsize=None)
def _characters(path):
    from matplotlib.ft2font import FT2Font

    try:
        font = FT2Font(path)
    except (RuntimeError, OSError):  # a format that FreeType cannot read
        return frozenset()
    # matplotlib cannot draw bitmaps, as those of Noto Color Emoji.
    return frozenset(font.get_charmap() if font.scalable else ())


def _falls_back():
    """Whether matplotlib draws a text in several fonts, character by character."""
    import matplotlib

    return tuple(map(int, matplotlib.__version__.split(".")[:2])) >= (3, 6)


def _installed():
    """Returns the paths of the fonts, the preferred ones first.

    matplotlib keeps its list between runs, so that fonts installed since are added.
    """
    from matplotlib import font_manager
    from matplotlib.ft2font import FT2Font

    fonts = list(font_manager.fontManager.ttflist)
    known = {font.fname for font in fonts}
    for path in sorted(set(font_manager.findSystemFonts()) - known):
        try:
            fonts.append(font_manager.ttfFontProperty(FT2Font(path)))
        except Exception:  # matplotlib skips the same fonts when it makes its list
            continue
    return [font.fname for font in sorted(fonts, key=_rank)]


def _package(char):
    """Returns the package of Debian with a font that has a character."""
    if _FIRST_SYMBOL <= ord(char) <= _LAST_SYMBOL or unicodedata.category(char).startswith("S"):
        return "fonts-symbola"
    return "fonts-noto-cjk" if unicodedata.east_asian_width(char) in "WF" else "fonts-noto-core"


def _listed(codes):
    return "".join(map(chr, sorted(codes)))[:_MOST_LISTED]


def _warn(missing: FrozenSet[int], fonts: Iterable[str]):
    """Warns of the characters that are drawn as boxes, and says what has them."""
    in_none = missing.difference(*map(_characters, fonts))
    if in_none:
        warn(
            f"no installed font has the characters {_listed(in_none)}; install one, such as "
            f"Debian's {' and '.join(sorted({_package(chr(code)) for code in in_none}))}"
        )
    if missing - in_none:
        warn(
            f"the font of the figure lacks the characters {_listed(missing - in_none)}; use "
            "matplotlib 3.6 or later, which takes them from other installed fonts"
        )


def find(texts: Iterable[str]) -> List[str]:
    """Returns the paths of the fonts to draw `texts` in, none where the default font has them all.

    The first has most of the characters. Others have what it lacks, where matplotlib falls back to
    them. Warns of characters that are drawn as boxes.
    """
    from matplotlib import font_manager

    chosen = []
    missing = frozenset(ord(char) for text in texts for char in drawable(text) if char.strip())
    default = font_manager.findfont(font_manager.FontProperties())
    if missing <= _characters(default):
        return chosen
    fonts = [default] + _installed()
    while missing and (_falls_back() or not chosen):
        best = max(fonts, key=lambda path: len(missing & _characters(path)))
        if not missing & _characters(best):
            break
        chosen.append(best)
        missing -= _characters(best)
    _warn(missing, fonts)
    return chosen


def hide_missing_glyph_warnings():
    """Hides matplotlib's warnings about single glyphs, which `find` replaces by one."""
    import warnings

    warnings.filterwarnings("ignore", message="Glyph .* missing from")
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)


def use(texts: Iterable[str]):
    """Makes matplotlib draw with fonts that have the characters of `texts`, where there are any."""
    import matplotlib
    from matplotlib import font_manager

    hide_missing_glyph_warnings()
    paths = find(texts)
    if not paths:
        return
    for path in paths:
        if hasattr(font_manager.fontManager, "addfont"):
            font_manager.fontManager.addfont(path)
    names = [font_manager.FontProperties(fname=path).get_name() for path in paths]
    default = matplotlib.rcParams["font.sans-serif"]
    matplotlib.rcParams["font.sans-serif"] = names + list(default)
    matplotlib.rcParams["axes.unicode_minus"] = False
