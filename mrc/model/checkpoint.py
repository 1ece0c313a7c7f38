# SPDX-License-Identifier: Apache-2.0
"""Checks that a checkpoint fits the model, before any long work."""

import contextlib
import difflib
import os
import re
from typing import Dict, NamedTuple, Optional

import numpy as np
import tensorflow.compat.v1 as tf
from tensorflow.python.ops import io_ops

from mrc import variables
from mrc.families import FAMILIES
from mrc.util import aliases, files
from mrc.util.errors import InputError, first_line, warn

# Beginnings of variable names, and what has them.
_FOREIGN = (
    ("distilbert/", "a DistilBERT checkpoint"),
    ("tf_distil_bert", "a DistilBERT checkpoint"),
    ("roberta/", "a RoBERTa checkpoint"),
    ("tf_roberta", "a RoBERTa checkpoint"),
    ("deberta/", "a DeBERTa checkpoint"),
    ("model/transformer/", "an XLNet checkpoint"),
    ("module/", "a checkpoint of a TensorFlow Hub module"),
    ("_CHECKPOINTABLE_OBJECT_GRAPH", "a TensorFlow 2 checkpoint"),
)
_OBJECT_ENDING = ".ATTRIBUTES/VARIABLE_VALUE"
_PART = re.compile(r"(.*)(\.index|\.meta|\.data-[0-9]{5}-of-[0-9]{5})$", re.DOTALL)
# TensorFlow 2 raises an IndexError for a file that is cut short.
_READING_ERRORS = (tf.errors.OpError, ValueError, RuntimeError, IndexError)
# Letter case by the folders that Google released BERT in.
_LOWER_CASED = re.compile(r"(uncased|multilingual|chinese)_L-12_H-768_A-12|uncased_L-24_H-1024_A-16")
_CASED = re.compile(r"(multi_)?cased_L-12_H-768_A-12|cased_L-24_H-1024_A-16")
DATA = ".data-00000-of-00001"  # the part with the tensors, where there is one
_SIMILAR = 0.8  # of names, as difflib measures it
_RELEASED_NAME = "bert_model.ckpt"


class Contents(NamedTuple):
    """What the tensors of a checkpoint hold: their types, and whether all values are finite, by
    name.
    """

    types: Dict[str, tf.DType]
    finite: Dict[str, bool]


def check_case(do_lower_case: bool, init_checkpoint: Optional[str]):
    """Checks --do_lower_case against the folder of a checkpoint that Google released.

    Only the whole name of the folder that holds `bert_model.ckpt` counts.
    """
    path = init_checkpoint or ""
    if os.path.basename(path) != _RELEASED_NAME:
        return
    folder = os.path.basename(os.path.dirname(path))
    for pattern, wanted in ((_LOWER_CASED, True), (_CASED, False)):
        if pattern.fullmatch(folder) and do_lower_case != wanted:
            case = "lower-cased" if wanted else "cased"
            raise InputError(
                f"--do_lower_case={do_lower_case} does not fit --init_checkpoint={path}: {folder} "
                f"is {case}; pass --do_lower_case={wanted}"
            )


def reader(path):
    """Returns TensorFlow's reader of the checkpoint at `path`."""
    return tf.train.load_checkpoint(aliases.plain_path(path))


def exists(path):
    """Whether there is a checkpoint at `path`."""
    # Not tf.train.checkpoint_exists, which takes the path for a pattern.
    return files.exists(path + ".index")


def _orphan_of(path):
    """Returns the name of a data file of the checkpoint `path`, whose index is missing, or None."""
    folder, name = os.path.split(path)
    if not tf.gfile.IsDirectory(folder or "."):
        return None
    names = sorted(tf.gfile.ListDirectory(folder or "."))
    return next((other for other in names if other.startswith(name + ".data-")), None)


def _read_shapes(path):
    """Returns {name: shape} of all tensors of a checkpoint."""
    part = _PART.match(path)
    if part and (exists(part.group(1)) or _orphan_of(part.group(1))):
        raise InputError("{} is a part of a checkpoint; remove {} from the path".format(*part.group(0, 2)))
    if tf.gfile.IsDirectory(path):
        names = [name for name in tf.gfile.ListDirectory(path) if name.endswith(".index")]
        example = max(name[: -len(".index")] for name in names) if names else _RELEASED_NAME
        raise InputError(f"the checkpoint {path} is a folder; pass a checkpoint in it, as in {os.path.join(path, example)}")
    orphan = None if exists(path) else _orphan_of(path)
    if orphan:
        raise InputError(
            f"the checkpoint {path} is incomplete: {orphan} is there, but not "
            f"{os.path.basename(path)}.index; copy or download that file, too"
        )
    if not exists(path) and files.exists(path):
        raise InputError(
            f"{path} is a file, not a checkpoint; pass the path up to and with .ckpt, as in "
            "uncased_L-12_H-768_A-12/bert_model.ckpt"
        )
    if not exists(path):
        raise InputError(
            f"there is no checkpoint {path}; pass the path up to and with .ckpt, as in "
            "uncased_L-12_H-768_A-12/bert_model.ckpt, or that of a training with its step, as in model.ckpt-1000"
        )
    with _explain_read_errors(path):
        return reader(path).get_variable_to_shape_map()


@contextlib.contextmanager
def _explain_read_errors(path):
    try:
        yield
    except _READING_ERRORS as error:
        raise InputError(
            f"the checkpoint {path} cannot be read ({first_line(error)}); it is damaged or "
            "incomplete, so copy or download it again"
        )


def _foreign(path, what):
    return InputError(f"{path} is {what}; pass a BERT, ELECTRA or ALBERT checkpoint in Google's TensorFlow 1 format")


def _read_tensors(opened, names):
    finite = {}
    for name in names:
        values = opened.get_tensor(name)
        finite[name] = values.dtype.kind != "f" or bool(np.isfinite(values).all())
    return Contents(opened.get_variable_to_dtype_map(), finite)


def _check_values(path, names, contents):
    """Checks type and values of the tensors.

    The index of a checkpoint knows nothing of the latter.
    """
    for name in sorted(names):
        if contents.types[name] != tf.float32:
            raise InputError(
                f"the checkpoint {path} has {name} of type {contents.types[name].name} where "
                "float32 is needed; convert it, or use Google's"
            )
        if not contents.finite[name]:
            raise InputError(
                f"the checkpoint {path} has NaN or infinite values in {name}; use an earlier one, "
                "or train again with a smaller --learning_rate"
            )


def _check_family(path, shapes, config):
    """Checks that the variables are named as the family of the config names them."""
    for beginning, what in _FOREIGN:
        if any(name.startswith(beginning) for name in shapes):
            raise _foreign(path, what)
    for family, described in FAMILIES.items():
        is_of_it = any(name.startswith(described.marker) for name in shapes)
        if is_of_it and family != config.family:
            raise InputError(
                f"{path} is {described.title} checkpoint, but the config describes a model of the "
                f'family "{config.family}"; use the config that came with it, with "family": '
                f'"{family}"'
            )
    if any(name.endswith(_OBJECT_ENDING) for name in shapes):
        raise _foreign(path, "a TensorFlow 2 checkpoint")
    if any("qa_outputs" in name for name in shapes):
        raise InputError(
            f"{path} names its span head qa_outputs, as Hugging Face does; convert the model with "
            "`python import_huggingface.py MODEL_FOLDER OUTPUT_FOLDER`"
        )


def _missing(path, name, shape, shapes):
    """Returns the error of a variable that a checkpoint lacks; names a likely other name of it."""
    scoped = next((other for other in sorted(shapes) if other.endswith("/" + name)), None)
    if scoped:
        return InputError(
            f"the checkpoint {path} has {scoped} where {name} is needed: its variables are in the "
            f"scope {scoped[: -len(name) - 1]}; save it again without that scope"
        )
    # Layer norms are the names that differ between versions of TensorFlow's layers.
    alike = [other for other in sorted(shapes) if list(shapes[other]) == shape]
    similar = difflib.get_close_matches(name, alike, n=1, cutoff=_SIMILAR)
    if similar and _layer_of(similar[0]) == _layer_of(name):
        return InputError(
            f"the checkpoint {path} has {similar[0]} where {name} is needed: its variables have "
            "other names than Google's; save it again with these"
        )
    return InputError(
        f"the checkpoint {path} has no {name}, which a reader of this BERT config needs; use the "
        "bert_config.json that came with it"
    )


def _layer_of(name):
    return re.findall("layer_[0-9]+", name)


def check(path, config, needs_head, trained_here=False, contents=None):
    """Checks the checkpoint at `path` against a `BertConfig`.

    Args:
      path: the checkpoint's prefix, as `.../bert_model.ckpt`.
      config: `BertConfig`.
      needs_head: whether it is to answer questions as it is; a warning says that its answers are
        random if it cannot.
      trained_here: whether a training wrote it, so that it has every variable of the reader.
      contents: its `Contents`, if they were read already.

    Raises:
      InputError: it is not there, cannot be read, is of another kind of model, or its shapes are
        others.
    """
    shapes = _read_shapes(path)
    _check_family(path, shapes, config)
    # A model to train from may lack what a trained reader has.
    optional = variables.pooler(config) + variables.head(config)
    needed = variables.encoder(config) + [variable for variable in optional if trained_here or variable.name in shapes]
    wanted = {variable.name: list(variable.shape) for variable in needed}
    for name, shape in sorted(wanted.items()):
        if name not in shapes:
            raise _missing(path, name, shape, shapes)
        if list(shapes[name]) != shape:
            raise InputError(
                f"the checkpoint {path} has {name} of shape {list(shapes[name])} where the BERT config asks for "
                f"{shape}; use the bert_config.json that came with it"
            )
    with _explain_read_errors(path):
        contents = contents or _read_tensors(reader(path), wanted)
    _check_values(path, wanted, contents)
    above = variables.layer(config, config.num_hidden_layers)[0].name
    if above in shapes and above not in wanted:
        warn(
            f"the checkpoint {path} has more layers than the {config.num_hidden_layers} of the "
            "BERT config; the upper ones are not used"
        )
    head = [variable.name for variable in variables.head(config)]
    if needs_head and not set(head) <= set(shapes):
        warn(f"the checkpoint {path} has no span head ({head[0]}): without training, answers are random")


def read_whole(path):
    """Returns the `Contents` of a checkpoint, None where a tensor cannot be read (each has its
    checksum).
    """
    try:
        opened = reader(path)
        return _read_tensors(opened, opened.get_variable_to_shape_map())
    except _READING_ERRORS:
        return None


def write(path, arrays):
    """Writes {variable name: array} as a checkpoint, whole or not at all.

    Args:
      path: prefix of the checkpoint, as `.../bert_model.ckpt`.
    """
    beside = files.aside(path)
    with tf.Graph().as_default(), tf.Session() as session:
        feeds = {tf.placeholder(array.dtype, array.shape): array for array in arrays.values()}
        save = io_ops.save_v2(beside, list(arrays), [""] * len(arrays), list(feeds))
        with files.explain_write_errors(path):
            session.run(save, feeds)
    # The index last: a checkpoint without one does not exist.
    for part in (DATA, ".index"):
        with files.renamed(beside + part, path + part):
            pass
