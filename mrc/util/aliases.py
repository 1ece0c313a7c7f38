# SPDX-License-Identifier: Apache-2.0
"""Paths from which TensorFlow's ops can restore a checkpoint.

RestoreV2 treats the path of a checkpoint as a pattern, in which the brackets of a folder called
`runs[1]` match `1`. Such a folder is read through a symbolic link with a plain name.
"""

import atexit
import os
import shutil
import tempfile

from mrc.util import locks

_PATTERN_CHARACTERS = "[\\"  # `*` and `?` match themselves
_made = {}


def plain_path(path: str) -> str:
    """Returns a path to the same folder or checkpoint without the special characters of patterns.

    The links are removed when the process ends.
    """
    local = locks.local_path(path)
    if local is None or not any(char in local for char in _PATTERN_CHARACTERS):
        return path
    if path not in _made:
        folder, name = os.path.split(os.path.abspath(local))
        if any(char in name for char in _PATTERN_CHARACTERS):
            _made[path] = _link(folder, name)
        else:
            _made[path] = os.path.join(_new_link(folder), name)
    return _made[path]


def _new_folder():
    folder = tempfile.mkdtemp(prefix="plain_path_")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _new_link(target):
    link = os.path.join(_new_folder(), "folder")
    os.symlink(target, link)
    return link


def _link(folder, name):
    """Returns a link to a folder, or to all files of a checkpoint, called `name`."""
    whole = os.path.join(folder, name)
    if os.path.isdir(whole):
        return _new_link(whole)
    link = os.path.join(_new_folder(), "model.ckpt")
    for other in os.listdir(folder):
        if other.startswith(name + "."):
            os.symlink(os.path.join(folder, other), link + other[len(name) :])
    return link
