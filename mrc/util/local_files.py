# SPDX-License-Identifier: Apache-2.0
"""What `mrc.util.files` uses of `tf.gfile` for one file, on local paths, without TensorFlow."""

import os

Exists, IsDirectory, Remove = os.path.exists, os.path.isdir, os.remove


def GFile(path, mode):
    return open(path, mode, encoding=None if "b" in mode else "utf-8")


def MakeDirs(path):
    os.makedirs(path, exist_ok=True)


def Rename(old, new, overwrite):
    os.replace(old, new)
