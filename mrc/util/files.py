# SPDX-License-Identifier: Apache-2.0
"""Reading and writing whole files by path, local or on an object store.

Every path of the project goes through `tf.gfile`, so `gs://bucket/file` works wherever a local path does.
A file that is written appears whole or not at all: it is written aside and then renamed.
"""

import contextlib
import io
import json
import os
import re
import resource
import time
import uuid
import zipfile

import numpy as np
import tensorflow.compat.v1 as tf

from mrc.util.errors import Fault, InputError, first_line

_OTHER_OPEN_FILES = 200
SECONDS_OF_A_RUN = 24 * 60 * 60
_ASIDE = re.compile(r"\.[0-9a-f]{8}\.tmp$")
_BYTES_IN_BLOCK = 1 << 20
_MOST_DIGITS = (
    1000  # of a whole number in a JSON file: the time to read one grows with their square
)
_COMPRESSED = {  # first bytes
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "zip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
}


_SCHEME = re.compile("[a-z0-9]+://")


def normalized(path):
    """Returns a path without repeated and trailing slashes, such as scripts and shell completion leave.

    Paths of object stores, as `gs://bucket//name`, stay as they are.
    """
    if not path or _SCHEME.match(path):
        return path
    return re.sub("/+", "/", path).rstrip("/") or "/"


def exists(path):
    """Whether there is a file or folder at `path`; one that may not be looked at is an `InputError`."""
    try:
        return tf.gfile.Exists(path)
    except tf.errors.OpError as error:
        raise InputError(
            f"{path} cannot be accessed ({first_line(error)}); check the path and its permissions"
        )


@contextlib.contextmanager
def _reading(path, what):
    """Gives a reader of the bytes of `path`."""
    try:
        if not tf.gfile.Exists(path):
            raise InputError(f"the {what} {path} does not exist; check the path")
        if tf.gfile.IsDirectory(path):
            raise InputError(f"the {what} {path} is a folder; pass the path of a file")
        with tf.gfile.GFile(path, "rb") as reader:
            yield reader
    except tf.errors.OpError as error:
        raise InputError(
            f"the {what} {path} cannot be read ({first_line(error)}); check the path, and that you "
            "may read it"
        )


def read_bytes(path, what="file"):
    """Returns the bytes of `path`; `what` names its role in the sentence of an `InputError`."""
    with _reading(path, what) as reader:
        return reader.read()


def read_blocks(path, what="file"):
    """Yields the bytes of `path` in blocks, so that a large file is never in memory as a whole."""
    with _reading(path, what) as reader:
        yield from iter(lambda: reader.read(_BYTES_IN_BLOCK), b"")


def read_text(path, what="file"):
    """Returns the text of a UTF-8 file (a byte order mark is dropped)."""
    data = read_bytes(path, what)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        for start, kind in _COMPRESSED.items():
            if data.startswith(start):
                raise InputError(f"the {what} {path} is compressed ({kind}); decompress it first")
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(
            "the %s %s is not UTF-8 text: byte 0x%02x in line %d; save it as UTF-8"
            % (what, path, data[error.start], line)
        )


class _TooManyDigits(Exception):
    """A whole number that would take too long to read."""


def _whole_number(digits):
    if len(digits) > _MOST_DIGITS:
        raise _TooManyDigits(len(digits))
    return int(digits)


def read_json(path, what="file"):
    """Returns the value of a JSON file; what is not JSON is an `InputError` with line and column."""
    text = read_text(path, what)
    if not text.strip():
        raise InputError(
            f"the {what} {path} is empty where JSON was expected; write or download it again"
        )
    try:
        return json.loads(text, parse_int=_whole_number)
    except json.JSONDecodeError as error:
        raise InputError(
            "the %s %s is not valid JSON: %s at line %d, column %d; is it the right file, and "
            "whole?" % (what, path, error.msg, error.lineno, error.colno)
        )
    except RecursionError:
        raise InputError(
            f"the {what} {path} is not usable JSON: it is nested too deep; is it the right file?"
        )
    except _TooManyDigits as error:
        raise InputError(
            f"the {what} {path} is not usable JSON: it has a number of {error} digits; is it the "
            "right file?"
        )


def read_arrays(path, what="file"):
    """Returns the arrays of an .npz file by name; whatever is raised but an `InputError` tells that it is damaged."""
    buffer = io.BytesIO(read_bytes(path, what))
    zipfile.ZipFile(
        buffer
    )  # NumPy tells of a damaged one a second time, on stderr, when it drops what it began
    buffer.seek(0)
    return np.load(buffer)


def aside(path):
    """Returns the path beside `path` that a file is written to before it is renamed."""
    return f"{path}.{uuid.uuid4().hex[:8]}.tmp"


def remove_leftovers(folder):
    """Removes what killed runs were writing in `folder`: a rename in a bucket, too, may end after its copy.

    What is younger than a day may belong to a running one.
    """
    for name in tf.gfile.ListDirectory(folder):
        path = os.path.join(folder, name)
        if _ASIDE.search(name):
            with contextlib.suppress(tf.errors.OpError):  # another run removes it too
                if time.time() - tf.gfile.Stat(path).mtime_nsec / 1e9 > SECONDS_OF_A_RUN:
                    tf.gfile.Remove(path)


@contextlib.contextmanager
def explain_write_errors(path):
    """Reports a failure to write `path` in one line."""
    try:
        yield
    except tf.errors.OpError as error:
        raise Fault(
            f"{path} cannot be written ({first_line(error)}); check that its folder exists, has "
            "room and is writable, then rerun the same command"
        )


@contextlib.contextmanager
def renamed(written, path):
    """Renames `written` to `path` where the block ends well, and removes it where it does not."""
    try:
        with explain_write_errors(path):
            yield
            tf.gfile.Rename(written, path, overwrite=True)
    except BaseException:
        with contextlib.suppress(tf.errors.OpError):
            tf.gfile.Remove(written)
        raise


@contextlib.contextmanager
def writing(path, binary=False):
    """Gives a writer of text, or of bytes, whose content replaces `path` only when the block ends without an exception."""
    beside = aside(path)
    if tf.gfile.IsDirectory(path):
        raise InputError(
            f"{path} is a folder, and cannot be written to as a file; pass another path"
        )
    with renamed(beside, path), tf.gfile.GFile(beside, "wb" if binary else "w") as writer:
        yield writer


def write(path, data, binary=False):
    """Writes `data`, text or bytes, to `path`, whole or not at all."""
    with writing(path, binary) as writer:
        writer.write(data)


def write_json(path, value, **kwargs):
    """Writes `value` as JSON, indented by 4 and closed by a newline, whole or not at all."""
    write(path, json.dumps(value, indent=4, **kwargs) + "\n")


def allow_open(number):
    """Raises the number of files that this process may have open to `number` and some to spare, as far as it may."""
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = number + _OTHER_OPEN_FILES
    if resource.RLIM_INFINITY != limit < wanted:
        with contextlib.suppress(ValueError, OSError):  # some systems have a limit besides
            resource.setrlimit(
                resource.RLIMIT_NOFILE,
                (wanted if most == resource.RLIM_INFINITY else min(wanted, most), most),
            )


def make_folder(path):
    """Makes the folder `path` and those above it, where they do not exist."""
    try:
        tf.gfile.MakeDirs(path)
        is_folder = tf.gfile.IsDirectory(path)
    except tf.errors.OpError as error:
        if tf.gfile.Exists(path) and not tf.gfile.IsDirectory(path):
            raise InputError(f"{path} is a file where a folder is needed; pass another path")
        raise InputError(
            f"the folder {path} cannot be made ({first_line(error)}); may you write there?"
        )
    if not is_folder:
        raise InputError(f"{path} is a file where a folder is needed; pass another path")


def make_folder_of(path):
    """Makes the folder that `path` is to lie in."""
    folder = os.path.dirname(path)
    if folder:
        make_folder(folder)
