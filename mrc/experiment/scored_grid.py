# SPDX-License-Identifier: Apache-2.0
"""A scored grid in an output folder, with the texts of its data."""

from typing import Any, Dict, List, NamedTuple

from mrc import datasets
from mrc.answers import effect_tables, effects, question_scores, question_table
from mrc.answers.effects import Effect
from mrc.answers.question_scores import QuestionScores
from mrc.answers.tables import path_in
from mrc.data import squad_format
from mrc.data.squad_format import Passage
from mrc.datasets import Dataset
from mrc.experiment import run_flags, run_record
from mrc.util import files
from mrc.util.errors import InputError

_REMEDY = "rerun its grid with --do_eval to write it"


class ScoredGrid(NamedTuple):
    """A scored grid.

    Attributes:
      folder: the output folder.
      dataset: the `Dataset`.
      run: the entry of run.json that scored it, and
      decoding: of the run that decoded its baseline, {} if unknown.
      data_path: path of the data file.
      passages: of that file, with questions and answers.
      scores, table: by question.
      effects, by_type: rows of effects.csv and of effects_by_type.csv.
    """

    folder: str
    dataset: Dataset
    run: Dict[str, Any]
    decoding: Dict[str, Any]
    data_path: str
    passages: List[Passage]
    scores: QuestionScores
    table: question_table.Answers
    effects: List[Effect]
    by_type: Dict[str, List[Effect]]


def read(folder: str) -> ScoredGrid:
    """Returns the grid in `folder`; warns of tables that are not of the last run.

    Raises:
      InputError: a table is missing, or the data file is missing or not the one that was scored.
    """
    tables = effect_tables.EFFECTS_FILE, effect_tables.BY_TYPE_FILE
    paths = [path_in(folder, name, _REMEDY) for name in (question_scores.FILE, *tables)]
    with files.recorded_hashes() as hashes:
        scores = question_scores.read(paths[0])
        grid_effects, by_type = effects.read(paths[1]), effects.read_by_type(paths[2])
        table = question_table.read(question_table.path_in(folder), scores)
    run_record.origins(hashes)
    run = run_record.named(folder, run_record.find(paths[0], hashes[paths[0]]))
    if run.get("dataset") not in datasets.BY_NAME or "eval_file" not in run.get("inputs", {}):
        raise InputError(f"{folder}/{run_record.RECORD_FILE} names no run that scored the grid; rerun with --do_eval")
    dataset = datasets.BY_NAME[run["dataset"]]
    data_path, passages = _read_data(folder, run)
    if [question.id for _, question in dataset.scored_questions(passages)] != scores.ids.tolist():
        raise InputError(f"{data_path} has other questions than {paths[0]}; rerun with --do_eval")
    baseline = next(iter(run["scored"].values()), {})
    decoding = run_record.named(folder, baseline.get("run"))
    return ScoredGrid(*(folder, dataset, run, decoding, data_path, passages), *(scores, table, grid_effects, by_type))


def _read_data(folder, run):
    """Returns the path and the passages of the data file that a run scored against."""
    values = run_flags.with_paths_from(run.get("folder"), run["flags"])
    path, sha256 = values.get("eval_file") or values["predict_file"], run["inputs"]["eval_file"]
    needed = f"{folder} was scored with {path} (SHA-256 {sha256})"
    if not files.exists(path):
        raise InputError(f"{needed}, which does not exist; put the file back")
    keys = squad_format.PREDICTION | squad_format.SCORING
    with files.recorded_hashes() as hashes:
        passages = squad_format.read(path, "data file", keys)
    if hashes[path] != sha256:
        raise InputError(f"{needed}, which has changed; restore it, or rerun with --do_eval")
    return path, passages
