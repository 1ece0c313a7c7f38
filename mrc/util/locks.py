# SPDX-License-Identifier: Apache-2.0
"""One run at a time per output folder: file locks, which end with the process that holds them.

The shards of one run share the locks of the folder, and each holds the lock of its own file.

The folder itself is locked, because a lock file can be deleted while it is held. The file is locked
for file systems that have no locks of folders, and it names the process that holds it.
"""

import contextlib
import errno
import fcntl
import os
import re
import socket
import time

import tensorflow.compat.v1 as tf

from mrc.util.errors import InputError

LOCK_FILE = "run.lock"
SHARD_LOCK_FILE = "shard-%s.lock"
_SCHEME = re.compile(r"([a-z0-9]+)://")


def local_path(path):
    """Returns `path` as a local path, None if it is in an object store."""
    scheme = _SCHEME.match(path)
    if scheme is None:
        return path
    return path[scheme.end() :] if scheme.group(1) == "file" else None


def _open(folder, path, name):
    """Returns the descriptor of the lock file `name`, which it creates if there is none."""
    lock = os.path.join(path, name)
    try:
        return os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)  # tf.gfile knows no locks
    except OSError as error:
        if tf.gfile.Exists(lock):  # for example, another user's
            raise InputError(f"{lock} is not writable ({error.strerror}); have it deleted, or pass another --output_dir")
        raise InputError(
            f"the output folder {folder} cannot be written to ({error.strerror}); make it "
            "writable, or pass another --output_dir"
        )


def _lock(descriptor, folder, file, kind=fcntl.LOCK_EX):
    """Locks an open file or folder; returns None, or the error of a file system without locks.

    Raises:
      InputError: another process holds the lock; the lock file `file` names it.
    """
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            return error
        owner = os.read(file, 1000).decode("utf-8", "replace").strip()
        raise InputError(
            f"another run is using {folder} ({owner or 'its lock names no process'}); wait until "
            "it has ended, or pass another --output_dir"
        )
    return None


def _sign(file, text=None):
    """Writes `text`, or the name of this process, to the lock file."""
    text = text or "process %d on %s, since %s\n" % (os.getpid(), socket.gethostname(), time.strftime("%Y-%m-%d %H:%M:%S"))
    with contextlib.suppress(OSError):  # a full disk must not stop the run
        os.ftruncate(file, 0)
        os.write(file, text.encode("utf-8"))


@contextlib.contextmanager
def held(folder, shard=None):
    """Locks the output folder during the block; object stores have no lock.

    The file remains, but the locks end with their process, even if that is killed.

    Args:
      folder: to lock.
      shard: name of a shard: others may share the folder with it, but not another of that name.
    """
    path = local_path(folder)
    if path is None:
        yield
        return
    with contextlib.ExitStack() as descriptors:
        file = _open(folder, path, LOCK_FILE)
        descriptors.callback(os.close, file)
        whole = os.open(path, os.O_RDONLY)
        descriptors.callback(os.close, whole)
        kind = fcntl.LOCK_SH if shard else fcntl.LOCK_EX
        problem = _lock(file, folder, file, kind)
        if problem:
            tf.logging.warning(
                "the file system of %s has no locks (%s); make sure that no other run uses it", folder, problem.strerror
            )
        _lock(whole, folder, file, kind)
        if shard:
            _sign(file, "shards: each names its process in " + SHARD_LOCK_FILE % "*")
            file = _open(folder, path, SHARD_LOCK_FILE % shard)
            descriptors.callback(os.close, file)
            _lock(file, folder, file)
        else:
            for left in tf.gfile.Glob(os.path.join(path, SHARD_LOCK_FILE % "*")):
                tf.gfile.Remove(left)
        _sign(file)
        yield
