# SPDX-License-Identifier: Apache-2.0
"""`training.json`: the fingerprint and the number of steps of the training in an output folder."""

import os
from typing import NamedTuple, Optional

import tensorflow.compat.v1 as tf

from mrc.experiment import provenance
from mrc.model import checkpoint as checkpoint_files
from mrc.util import files
from mrc.util.errors import InputError, warn

TRAINING_FILE = "training.json"


class TrainingRecord(NamedTuple):
    """The content of `training.json`; None for a missing or damaged value."""

    fingerprint: object = None
    num_steps: Optional[int] = None


def read(folder: str) -> TrainingRecord:
    """Returns the record of the training in `folder`."""
    path = os.path.join(folder, TRAINING_FILE)
    record = provenance.read_record(path) if tf.gfile.Exists(path) else None
    record = record if isinstance(record, dict) else {}
    steps = record.get("num_steps")
    return TrainingRecord(record.get("made_from"), steps if isinstance(steps, int) else None)


def write(folder: str, fingerprint: dict, num_steps: int):
    """Writes the record of the training that is about to start in `folder`."""
    record = {"made_from": fingerprint, "num_steps": num_steps}
    files.write_json(os.path.join(folder, TRAINING_FILE), record)


def check_same(folder: str, fingerprint: dict):
    """Raises an `InputError` if the checkpoints in `folder` come from another training."""
    if not tf.gfile.Exists(os.path.join(folder, TRAINING_FILE)):
        return
    before = read(folder).fingerprint
    if before != fingerprint:
        changed = provenance.differences(fingerprint, before)
        raise InputError(
            f"{folder} holds a model that was trained with another {changed}; pass another --output_dir, or delete "
            "checkpoint, training.json and model.ckpt-* there to train again from the start"
        )


def check_reader(checkpoint: str, do_lower_case: bool):
    """Checks a reader that is about to predict against the record of its training, if any.

    Warns if the training is unfinished.

    Raises:
      InputError: it was trained with another letter case.
    """
    fingerprint, num_steps = read(os.path.dirname(checkpoint))
    trained_with = fingerprint.get("do_lower_case") if isinstance(fingerprint, dict) else None
    if isinstance(trained_with, bool) and trained_with != do_lower_case:
        raise InputError(f"{checkpoint} was trained with --do_lower_case={trained_with}; pass the same value here")
    if num_steps is None or not checkpoint_files.reader(checkpoint).has_tensor("global_step"):
        return
    done = steps_done(checkpoint)
    if done < num_steps:
        warn(
            f"{checkpoint} is from step {done} of {num_steps}: its training is unfinished; rerun "
            "the training command to resume it"
        )


def steps_done(checkpoint: Optional[str]) -> int:
    """Returns the step of a checkpoint, 0 for None."""
    return int(checkpoint_files.reader(checkpoint).get_tensor("global_step")) if checkpoint else 0
