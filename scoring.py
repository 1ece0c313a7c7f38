# SPDX-License-Identifier: Apache-2.0
"""Scores of the decoded cells of a grid, printed and kept."""
from __future__ import absolute_import, division, print_function

import json
import os

import answer_files
import files
import predictions_file

SCORES_FILE = "scores.json"


def score(dataset, passages, cells, alone, output_dir, with_negatives, null_threshold):
    """Scores the prediction files of `cells`; prints the scores and writes them to `scores.json`.

    Returns:
      {cell name: scores}.
    """
    all_scores = {}
    for cell in cells:
        names = answer_files.file_names(cell, alone, with_negatives)
        predictions = predictions_file.read(os.path.join(output_dir, names["predictions"]))
        odds = None
        if with_negatives:
            odds = files.read_json(os.path.join(output_dir, names["null_odds"]), "null odds")
        all_scores[cell.name] = dataset.evaluate(passages, predictions, odds, null_threshold)
        print("%s: %s" % (names["predictions"], json.dumps(all_scores[cell.name])))
    files.write_json(os.path.join(output_dir, SCORES_FILE), all_scores)
    return all_scores
