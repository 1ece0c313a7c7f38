# SPDX-License-Identifier: Apache-2.0
"""An installed font for texts in Chinese, Japanese or Korean, which matplotlib's own fonts lack."""

import functools
import logging
from typing import Iterable, Optional

import tensorflow.compat.v1 as tf

# Parts of the names of fonts that have ideographs, the preferred ones first.
_NAMES = (
    "noto sans cjk",
    "source han sans",
    "noto sans sc",
    "pingfang",
    "hiragino",
    "microsoft yahei",
    "simhei",
    "malgun gothic",
    "yu gothic",
    "wenquanyi",
    "droid sans fallback",
    "noto serif cjk",
    "ar pl",
    "ipagothic",
    "nanum",
    "unifont",
)
_REGULAR = 400  # weight
_INSTALL = "install one, such as Debian's fonts-noto-cjk"


def _rank(font):
    """Returns a key that sorts fonts by preference, and regular faces before bold and italic."""
    name = font.name.lower()
    rank = next((rank for rank, part in enumerate(_NAMES) if part in name), len(_NAMES))
    return rank, font.style != "normal", font.weight != _REGULAR


@functools.lru_cache(maxsize=None)
def _characters(path):
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(FT2Font(path).get_charmap())
    except (RuntimeError, OSError):  # a format that FreeType cannot read
        return frozenset()


def _installed_since(listed):
    """Yields the fonts that matplotlib's list, which it keeps between runs, does not have yet."""
    from matplotlib import font_manager
    from matplotlib.ft2font import FT2Font

    known = {font.fname for font in listed}
    for path in sorted(set(font_manager.findSystemFonts()) - known):
        try:
            yield font_manager.ttfFontProperty(FT2Font(path))
        except Exception:  # matplotlib skips the same fonts when it makes its list
            continue


def find(texts: Iterable[str]) -> Optional[str]:
    """Returns the path of a font with all characters of `texts`, None if the default font has them.

    Warns where no installed font has them; they are drawn as boxes then.
    """
    from matplotlib import font_manager

    needed = frozenset(ord(char) for text in texts for char in text if not char.isspace())
    default = font_manager.findfont(font_manager.FontProperties())
    if needed <= _characters(default):
        return None
    listed = font_manager.fontManager.ttflist
    for fonts in (listed, _installed_since(listed)):
        for font in sorted(fonts, key=_rank):
            if needed <= _characters(font.fname):
                return font.fname
    missing = "".join(sorted(chr(code) for code in needed - _characters(default)))
    tf.logging.warning("no installed font has the characters %s; %s", missing[:20], _INSTALL)
    return None


def hide_missing_glyph_warnings():
    """Hides matplotlib's warnings about single glyphs, which `find` replaces by one."""
    import warnings

    warnings.filterwarnings("ignore", message="Glyph .* missing from")
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)


def use(texts: Iterable[str]):
    """Makes matplotlib draw with a font that has the characters of `texts`, where there is one."""
    import matplotlib
    from matplotlib import font_manager

    hide_missing_glyph_warnings()
    path = find(texts)
    if path:
        if hasattr(font_manager.fontManager, "addfont"):
            font_manager.fontManager.addfont(path)
        name = font_manager.FontProperties(fname=path).get_name()
        default = matplotlib.rcParams["font.sans-serif"]
        matplotlib.rcParams["font.sans-serif"] = [name] + list(default)
        matplotlib.rcParams["axes.unicode_minus"] = False
