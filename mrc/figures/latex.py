# SPDX-License-Identifier: Apache-2.0
"""LaTeX tables of the panels of a heat map and of other rows; they need the package booktabs."""

import re
from typing import Sequence

import numpy as np

from mrc.answers import comparison, verdicts
from mrc.figures import heat_map
from mrc.figures.texts import drawable
from mrc.util import files

EXTENSION = "tex"
_MARKS = {
    verdicts.NEEDED: "*",
    verdicts.HELPS: r"\dagger",
    verdicts.NOT_NEEDED: r"\circ",
    verdicts.IMPOSSIBLE: r"\times",
    comparison.A_LOSES_MORE: "*",
    comparison.B_LOSES_MORE: r"\dagger",
    comparison.EQUIVALENT: r"\circ",
    heat_map.EXCLUDES_0: "*",
}
_WORDS = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}


def escaped(text: str) -> str:
    r"""Returns a text for LaTeX.

    >>> escaped("layer_1 & 50 %")
    'layer\\_1 \\& 50 \\%'
    """
    return re.sub(r"[\\~^&%$#_{}]", lambda m: _WORDS.get(m[0], "\\" + m[0]), drawable(text))


def table(header: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> str:
    """Returns a table of texts; fields that begin with $ are LaTeX already, as is the caption."""
    first, *others = (
        " & ".join(field if field.startswith("$") else escaped(field) for field in line) + r" \\" for line in [header, *rows]
    )
    columns = "l" + "r" * (len(header) - 1)
    begin = [r"\begin{table}", r"\centering", rf"\begin{{tabular}}{{{columns}}}", r"\toprule"]
    end = [r"\bottomrule", r"\end{tabular}", rf"\caption{{{caption}}}", r"\end{table}", ""]
    return "\n".join([*begin, first, r"\midrule", *others, *end])


def _cell(panel, place, digits):
    if np.isnan(panel.changes[place]):
        return "--"
    text = f"{panel.changes[place]:.{digits}f}" if panel.texts is None else panel.texts[place]
    mark = _MARKS.get(_verdict(panel, place))
    text = text.replace("\n", r"\ ").replace("±", r"\pm ")
    return f"${text}{f'^{{{mark}}}' if mark else ''}$"


def _verdict(panel, place):
    return "" if panel.verdicts is None else panel.verdicts[place]


def of_panels(panels: Sequence[heat_map.Panel], values: str, digits: int = 1) -> str:
    """Returns a table for each panel; `values` names what is in the cells, with `digits` places."""
    texts = []
    for panel in panels:
        places = list(np.ndindex(panel.changes.shape))
        marked = [name for name in _MARKS if name in {_verdict(panel, each) for each in places}]
        parts = [f"{panel.title}: {values}", panel.about]
        caption = ". ".join(escaped(part) for part in parts if part)
        caption += "".join(f"; ${{}}^{{{_MARKS[name]}}}$: {name}" for name in marked)
        rows = [
            [label, *(_cell(panel, (row, column), digits) for column in range(len(panel.columns)))]
            for row, label in enumerate(panel.rows)
        ]
        texts.append(table([panel.row_label, *panel.columns], rows, caption + "."))
    return "\n".join(texts)


def write(path: str, text: str, origins: str):
    """Writes tables to a file that begins with a comment on their origins."""
    files.make_folder_of(path)
    files.write(path, f"% {escaped(origins)}; \\usepackage{{booktabs}}\n{text}")
