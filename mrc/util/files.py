# SPDX-License-Identifier: Apache-2.0
"""Reads and writes whole files by path, local or in an object store.

All paths go through `tf.gfile`, so `gs://bucket/file` works wherever a local path does; a program
that has not imported TensorFlow reads and writes local files without it. Files are written
atomically: to a temporary name first, then renamed.
"""

import contextlib
import hashlib
import json
import os
import re
import resource
import time
import uuid

from mrc.util import lazy_tensorflow, local_files
from mrc.util.errors import Fault, InputError, first_line
from mrc.util.lazy_tensorflow import tf

_OTHER_OPEN_FILES = 200
SECONDS_OF_A_RUN = 24 * 60 * 60
_ASIDE = re.compile(r"\.[0-9a-f]{8}\.tmp(?:\.|/?$)")
_BYTES_IN_BLOCK = 1 << 20
# Maximum digits of an integer in a JSON file: the time to parse one is quadratic in their number.
_MOST_DIGITS = 1000
_COMPRESSED = {  # by the first bytes
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "zip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
}


_SCHEME = re.compile("[a-z0-9]+://")


def _of(path):
    """Returns the operations on the file `path`."""
    needs_tensorflow = lazy_tensorflow.is_imported() or _SCHEME.match(path)
    return tf.gfile if needs_tensorflow else local_files


def _failures():
    """Returns the exceptions of the operations of `_of`."""
    return (tf.errors.OpError, OSError) if lazy_tensorflow.is_imported() else OSError


def normalized(path):
    """Returns a path without repeated and trailing slashes, as scripts and completion leave them.

    Paths in object stores, such as `gs://bucket//name`, are unchanged.
    """
    if not path or _SCHEME.match(path):
        return path
    return re.sub("/+", "/", path).rstrip("/") or "/"


def exists(path):
    """Whether a file or folder exists at `path`; raises an `InputError` if access is denied."""
    try:
        return _of(path).Exists(path)
    except _failures() as error:
        raise InputError(f"{path} cannot be accessed ({first_line(error)}); check the path and its permissions")


@contextlib.contextmanager
def _reading(path, what):
    """Yields a reader of the bytes of `path`."""
    try:
        if not _of(path).Exists(path):
            raise InputError(f"the {what} {path} does not exist; check the path")
        if _of(path).IsDirectory(path):
            raise InputError(f"the {what} {path} is a folder; pass the path of a file")
        with _of(path).GFile(path, "rb") as reader:
            yield reader
    except _failures() as error:
        raise InputError(f"the {what} {path} cannot be read ({first_line(error)}); check the path and its permissions")


class ChangedFile(InputError):
    """A file that changed between two reads of one run."""


_recorders = []  # the dicts of the enclosing `recorded_hashes`


@contextlib.contextmanager
def recorded_hashes(hashes=None):
    """Yields a dict to which the block adds {path: SHA-256} of each file that it reads.

    The hash is of the bytes that were read, so that a file replaced meanwhile is not recorded by
    its new content.

    Args:
      hashes: the dict to add to, with the hashes of earlier reads.

    Raises:
      ChangedFile: a file in the dict has other bytes now.
    """
    _recorders.append({} if hashes is None else hashes)
    try:
        yield _recorders[-1]
    finally:
        _recorders.pop()


def _record_hash(path, sha256):
    for hashes in _recorders:
        if hashes.setdefault(path, sha256) != sha256:
            raise ChangedFile(f"{path} changed while it was in use; rerun the command")


def read_bytes(path, what="file"):
    """Returns the bytes of `path`; `what` names its role in error messages."""
    with _reading(path, what) as reader:
        data = reader.read()
    if _recorders:
        _record_hash(path, hashlib.sha256(data).hexdigest())
    return data


def sha256(path, what="file"):
    """Returns the SHA-256 of the file `path`, which need not fit into memory."""
    digest = hashlib.sha256()
    with _reading(path, what) as reader:
        for block in iter(lambda: reader.read(_BYTES_IN_BLOCK), b""):
            digest.update(block)
    return digest.hexdigest()


def read_text(path, what="file"):
    """Returns the text of a UTF-8 file, without a byte order mark."""
    data = read_bytes(path, what)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        for start, kind in _COMPRESSED.items():
            if data.startswith(start):
                raise InputError(f"the {what} {path} is compressed ({kind}); decompress it first")
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"the {what} {path} is not UTF-8 text: byte 0x{data[error.start]:02x} in line {line}; save it as UTF-8"
        )


class _TooManyDigits(Exception):
    """An integer that would take too long to parse."""


def _whole_number(digits):
    if len(digits) > _MOST_DIGITS:
        raise _TooManyDigits(len(digits))
    return int(digits)


def read_json(path, what="file"):
    """Returns the value of a JSON file; raises an `InputError` with line and column if invalid."""
    text = read_text(path, what)
    if not text.strip():
        raise InputError(f"the {what} {path} is empty where JSON was expected; write or download it again")
    try:
        return json.loads(text, parse_int=_whole_number)
    except json.JSONDecodeError as error:
        raise InputError(
            f"the {what} {path} is not valid JSON: {error.msg} at line {error.lineno}, column "
            f"{error.colno}; check that it is the right file and complete"
        )
    except RecursionError:
        raise InputError(f"the {what} {path} is not usable JSON: it is nested too deeply; check that it is the right file")
    except _TooManyDigits as error:
        raise InputError(
            f"the {what} {path} is not usable JSON: it has an integer of {error} digits; check that it is the right file"
        )


def aside(path):
    """Returns the temporary path next to `path` to which a file is written before it is renamed."""
    return f"{path}.{uuid.uuid4().hex[:8]}.tmp"


def remove_leftovers(folder):
    """Removes temporary files that killed runs left in `folder`.

    In a bucket, a rename can also be cut off after its copy. Files younger than a day are kept:
    they may belong to a running process.
    """
    for name in tf.gfile.ListDirectory(folder):
        path = os.path.join(folder, name)
        if _ASIDE.search(name):
            with contextlib.suppress(tf.errors.OpError):  # another run may remove it too
                if time.time() - tf.gfile.Stat(path).mtime_nsec / 1e9 > SECONDS_OF_A_RUN:
                    remove = tf.gfile.DeleteRecursively if tf.gfile.IsDirectory(path) else None
                    (remove or tf.gfile.Remove)(path)


@contextlib.contextmanager
def explain_write_errors(path):
    """Reports a failure to write `path`."""
    try:
        yield
    except _failures() as error:
        raise Fault(
            f"{path} cannot be written ({first_line(error)}); check that its folder exists, has "
            "free space and is writable, then rerun the same command"
        )


@contextlib.contextmanager
def renamed(written, path):
    """Renames `written` to `path` at the end of the block, or removes it if the block raises."""
    try:
        with explain_write_errors(path):
            yield
            _of(written).Rename(written, path, overwrite=True)
    except BaseException:
        with contextlib.suppress(_failures()):
            _of(written).Remove(written)
        raise


@contextlib.contextmanager
def writing(path, binary=False):
    """Yields a writer whose content replaces `path` if the block ends without an exception.

    Args:
      path: of the file.
      binary: whether bytes are written instead of text.
    """
    beside = aside(path)
    if _of(path).IsDirectory(path):
        raise InputError(f"{path} is a folder, and cannot be written to as a file; pass another path")
    with renamed(beside, path), _of(beside).GFile(beside, "wb" if binary else "w") as writer:
        yield writer


@contextlib.contextmanager
def replacing_together(folder, names):
    """Yields a new folder whose files replace those in `folder` at the end of the block.

    The last of the old files goes first and the new one comes last, so that what is killed in
    between leaves a folder without that file, never some old and some new ones with it.

    Args:
      folder: of the files.
      names: of the files, all of which the block writes.
    """
    for name in names:
        if tf.gfile.IsDirectory(os.path.join(folder, name)):
            raise InputError(f"{os.path.join(folder, name)} is a folder where a file is to be written; pass another folder")
    remove_leftovers(folder)
    new, last = aside(os.path.join(folder, "new")), os.path.join(folder, names[-1])
    try:
        with explain_write_errors(folder):
            tf.gfile.MakeDirs(new)
            yield new
            if tf.gfile.Exists(last):
                tf.gfile.Remove(last)
            for name in names:
                written, path = os.path.join(new, name), os.path.join(folder, name)
                tf.gfile.Rename(written, path, overwrite=True)
    finally:
        with contextlib.suppress(tf.errors.OpError):
            tf.gfile.DeleteRecursively(new)


def write(path, data, binary=False):
    """Writes `data`, text or bytes, to `path`, atomically."""
    with writing(path, binary) as writer:
        writer.write(data)


def write_json(path, value, **kwargs):
    """Writes `value` as JSON, indented by 4 and with a final newline, atomically."""
    write(path, json.dumps(value, indent=4, **kwargs) + "\n")


def allow_open(number):
    """Raises the limit of open files to `number` and some spare ones, as far as permitted."""
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = number + _OTHER_OPEN_FILES
    if resource.RLIM_INFINITY != limit < wanted:
        with contextlib.suppress(ValueError, OSError):  # some systems have a lower limit
            resource.setrlimit(
                resource.RLIMIT_NOFILE, (wanted if most == resource.RLIM_INFINITY else min(wanted, most), most)
            )


def make_folder(path):
    """Creates the folder `path` and its parents unless they exist."""
    try:
        _of(path).MakeDirs(path)
        is_folder = _of(path).IsDirectory(path)
    except _failures() as error:
        if _of(path).Exists(path) and not _of(path).IsDirectory(path):
            raise InputError(f"{path} is a file where a folder is needed; pass another path")
        raise InputError(f"the folder {path} cannot be created ({first_line(error)}); check the path and its permissions")
    if not is_folder:
        raise InputError(f"{path} is a file where a folder is needed; pass another path")


def make_folder_of(path):
    """Creates the folder of the file `path` unless it exists."""
    folder = os.path.dirname(path)
    if folder:
        make_folder(folder)
