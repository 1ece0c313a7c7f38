# SPDX-License-Identifier: Apache-2.0
"""The tables of an output folder as pandas frames, for notebooks; see docs/notebook.md.

Columns have the names and units of the files. `layer`, `head` and `zone` are texts, "" where a
file has an empty field; a number that is not defined is NaN.
"""

import io

import pandas

from mrc.answers import attention_tables, effect_tables, question_table
from mrc.answers.tables import path_in
from mrc.cells import BASELINE
from mrc.util import files

_REMEDY = "decode a grid and score it with --do_eval first"


def effects(folder: str) -> pandas.DataFrame:
    """Returns effects.csv: a row for each cell and metric."""
    path = path_in(folder, effect_tables.EFFECTS_FILE, _REMEDY)
    return _frame(path, ["layer", "head", "zone", "metric", "verdict"])


def questions(folder: str) -> pandas.DataFrame:
    """Returns questions.csv: a row for each question and cell, the baseline first."""
    return _frame(question_table.path_in(folder), list(question_table.TEXTS))


def attention(folder: str) -> pandas.DataFrame:
    """Returns attention.csv: a row for each layer, head and pair of groups of tokens."""
    name, _ = attention_tables.file_names(BASELINE)
    return _frame(path_in(folder, name, "run with --do_attention first"), ["query", "key"])


def _frame(path, texts):
    data = io.BytesIO(files.read_bytes(path))
    frame = pandas.read_csv(
        data,
        dtype=dict.fromkeys(texts, str),
        keep_default_na=False,  # "None" and "NA" can be answers
        na_values=[""],
        compression="gzip" if path.endswith(".gz") else None,
        float_precision="round_trip",
    )
    frame[texts] = frame[texts].fillna("")
    return frame
