# SPDX-License-Identifier: Apache-2.0
"""The checkpoints that a training leaves in its output folder."""

import os
import re

import tensorflow.compat.v1 as tf

from mrc.model import checkpoint
from mrc.util import files
from mrc.util.errors import InputError, warn

_STATE_FILE = "checkpoint"  # in which TensorFlow lists the checkpoints of a folder
_UNFINISHED = re.compile(r"model\.ckpt-[0-9]+_temp_[0-9a-f]{32}/?$")  # a folder
_INDEX = re.compile(r"(model\.ckpt-([0-9]+))\.index$")


def _read_list(folder):
    """Returns TensorFlow's list of the checkpoints in `folder`, None where it is damaged."""
    try:
        return tf.train.get_checkpoint_state(folder)
    except ValueError:  # it is empty
        return None


def _moved(path, folder):
    """Returns where a listed checkpoint is now; the list may name the folder it was copied from."""
    beside = os.path.join(folder, os.path.basename(path))
    return beside if not checkpoint.exists(path) and checkpoint.exists(beside) else path


def _warn_if_moved(folder, path):
    state = _read_list(folder)
    if state is not None and path != state.model_checkpoint_path:
        named = os.path.dirname(state.model_checkpoint_path)
        if named != os.path.dirname(path) and os.path.basename(path) == os.path.basename(state.model_checkpoint_path):
            warn(f"{os.path.join(folder, _STATE_FILE)} names checkpoints in {named}, which is not there; using {path}")


def listed(folder):
    """Returns the paths of the checkpoints that a training left in `folder`, the newest first."""
    if not files.exists(os.path.join(folder, _STATE_FILE)):
        return []
    state = _read_list(folder)
    if state is not None:
        older = [path for path in state.all_model_checkpoint_paths if path != state.model_checkpoint_path]
        paths = [_moved(path, folder) for path in [state.model_checkpoint_path] + older[::-1]]
        # Checkpoints may have been deleted to free space.
        return paths if any(checkpoint.exists(path) for path in paths) else []
    # The list itself is damaged.
    matches = filter(None, map(_INDEX.match, tf.gfile.ListDirectory(folder)))
    return [os.path.join(folder, match.group(1)) for match in sorted(matches, key=lambda match: -int(match.group(2)))]


def last(folder):
    """Returns the path of the last checkpoint that a training left in `folder`, or None."""
    return next(iter(listed(folder)), None)


def find_trained(folder, to_train):
    """Returns the path and `Contents` of the checkpoint in `folder` to use, or (None, None).

    It is the last one. Where that is truncated, a training resumes from the last whole one, with a
    warning; prediction refuses, because its reader would be trained less than the user thinks.

    Args:
      folder: output folder.
      to_train: whether the run trains.

    Raises:
      InputError: the last one is not whole, and the run does not train or no other is whole.
    """
    paths = listed(folder)
    read = ((path, checkpoint.read_whole(path)) for path in paths)
    whole, contents = next((pair for pair in read if pair[1] is not None), (None, None))
    if paths and whole is None:
        raise InputError(
            f"none of the checkpoints in {folder} is complete (the last is {paths[0]}); delete "
            f"{os.path.join(folder, _STATE_FILE)} to train from the start"
        )
    if paths and whole != paths[0]:
        if not to_train:
            raise InputError(
                f"the checkpoint {paths[0]} is incomplete; train again with the same --output_dir, "
                f"which resumes from {whole}"
            )
        warn(f"the checkpoint {paths[0]} is incomplete; training resumes from {whole}")
    if whole:
        _warn_if_moved(folder, whole)
    return whole, contents


def make_last(folder, path):
    """Makes a training in `folder` resume from the listed checkpoint `path`, not a newer one."""
    paths = listed(folder)
    state = _read_list(folder)
    if state is not None and state.model_checkpoint_path == path:
        return
    kept = [os.path.basename(other) for other in paths[paths.index(path) :]]
    lines = [f'model_checkpoint_path: "{kept[0]}"']
    lines += [f'all_model_checkpoint_paths: "{name}"' for name in reversed(kept)]
    files.write(os.path.join(folder, _STATE_FILE), "\n".join(lines) + "\n")


def remove_unfinished(folder):
    """Removes the checkpoints that killed trainings were writing in `folder`.

    No other training may run there.
    """
    for name in tf.gfile.ListDirectory(folder):
        if _UNFINISHED.match(name):
            tf.gfile.DeleteRecursively(os.path.join(folder, name))
