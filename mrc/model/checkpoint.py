# SPDX-License-Identifier: Apache-2.0
"""Checks that a checkpoint fits the model, before any long work."""

import contextlib
import os
import re
from typing import Dict, NamedTuple, Optional

import numpy as np
import tensorflow.compat.v1 as tf
from tensorflow.python.ops import io_ops

from modeling import NAMINGS
from mrc.util import aliases, files
from mrc.util.errors import InputError, first_line

_HEAD = ("cls/squad/output_weights", "cls/squad/output_bias")
# Beginnings of variable names, and what has them.
_FAMILIES = (
    ("electra/", "electra", "an ELECTRA checkpoint"),
    ("bert/encoder/transformer/", "albert", "an ALBERT checkpoint"),
    ("bert/encoder/layer_", "bert", "a BERT checkpoint"),
)
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
_STATE_FILE = "checkpoint"  # in which TensorFlow lists the checkpoints of a folder
_UNFINISHED = re.compile(r"model\.ckpt-[0-9]+_temp_[0-9a-f]{32}/?$")  # a folder
# Letter case by the folders that Google released BERT in.
_LOWER_CASED = re.compile(
    r"(uncased|multilingual|chinese)_L-12_H-768_A-12|uncased_L-24_H-1024_A-16"
)
_CASED = re.compile(r"(multi_)?cased_L-12_H-768_A-12|cased_L-24_H-1024_A-16")
_RELEASED_NAME = "bert_model.ckpt"
_INDEX = re.compile(r"(model\.ckpt-([0-9]+))\.index$")


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
                "is "
                f"{case}; pass --do_lower_case={wanted}"
            )


def pooler_shapes(config):
    """Returns {variable name: shape} of the pooler, which the span head does not read."""
    hidden, naming = config.hidden_size, NAMINGS[config.family]
    return _dense_shapes(naming.root + "/pooler/dense", hidden, hidden) if naming.has_pooler else {}


def head_shapes(config):
    """Returns {variable name: shape} of the span head."""
    return {"cls/squad/output_weights": [2, config.hidden_size], "cls/squad/output_bias": [2]}


def _optional_shapes(config):
    """Returns {variable name: shape} of what a trained reader has and a BERT to train from may
    lack.
    """
    return dict(pooler_shapes(config), **head_shapes(config))


def _dense_shapes(scope, rows, columns):
    return {scope + "/kernel": [rows, columns], scope + "/bias": [columns]}


def _norm_shapes(scope, size):
    return {scope + "/beta": [size], scope + "/gamma": [size]}


def _layer_shapes(layer, config):
    hidden, wide, naming = config.hidden_size, config.intermediate_size, NAMINGS[config.family]
    at = f"{naming.root}/{naming.scope(layer)}/"
    shapes = {}
    for scope, rows, columns in (
        (naming.attention + "/query", hidden, hidden),
        (naming.attention + "/key", hidden, hidden),
        (naming.attention + "/value", hidden, hidden),
        (naming.attention_output, hidden, hidden),
        (naming.intermediate, hidden, wide),
        (naming.output, wide, hidden),
    ):
        shapes.update(_dense_shapes(at + scope, rows, columns))
    for scope in (naming.attention_norm, naming.output_norm):
        shapes.update(_norm_shapes(at + scope, hidden))
    return shapes


def encoder_shapes(config):
    """Returns {variable name: shape} of the embeddings and layers of a `BertConfig`."""
    width, naming = config.embedding_size, NAMINGS[config.family]
    at = naming.root + "/embeddings/"
    shapes = {
        at + "word_embeddings": [config.vocab_size, width],
        at + "token_type_embeddings": [config.type_vocab_size, width],
        at + "position_embeddings": [config.max_position_embeddings, width],
    }
    shapes.update(_norm_shapes(at + "LayerNorm", width))
    if config.project_embeddings:
        scope = f"{naming.root}/{naming.projection}"
        shapes.update(_dense_shapes(scope, width, config.hidden_size))
    for layer in range(config.num_hidden_layers):
        shapes.update(_layer_shapes(layer, config))
    return shapes


def reader(path):
    """Returns TensorFlow's reader of the checkpoint at `path`."""
    return tf.train.load_checkpoint(aliases.plain_path(path))


def _exists(path):
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
    if part and (_exists(part.group(1)) or _orphan_of(part.group(1))):
        raise InputError(
            "{} is a part of a checkpoint; remove {} from the path".format(*part.group(0, 2))
        )
    if tf.gfile.IsDirectory(path):
        there = sorted(
            name[: -len(".index")]
            for name in tf.gfile.ListDirectory(path)
            if name.endswith(".index")
        )
        raise InputError(
            "the checkpoint {} is a folder; pass the path of what lies in it, as in {}".format(
                path, os.path.join(path, (there or ["bert_model.ckpt"])[-1])
            )
        )
    orphan = None if _exists(path) else _orphan_of(path)
    if orphan:
        raise InputError(
            f"the checkpoint {path} is incomplete: {orphan} is there, but not "
            f"{os.path.basename(path)}.index; copy or download that file, too"
        )
    if not _exists(path) and files.exists(path):
        raise InputError(
            f"{path} is a file, not a checkpoint; pass the path up to and with .ckpt, as in "
            "uncased_L-12_H-768_A-12/bert_model.ckpt"
        )
    if not _exists(path):
        raise InputError(
            f"there is no checkpoint {path}; pass the path up to and with .ckpt, as in "
            "uncased_L-12_H-768_A-12/bert_model.ckpt, or that of a training with its step, as in "
            "model.ckpt-1000"
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
    return InputError(
        f"{path} is {what}; pass a BERT, ELECTRA or ALBERT checkpoint in Google's TensorFlow 1 "
        "format"
    )


def _read_tensors(opened, names):
    finite = {}
    for name in names:
        values = opened.get_tensor(name)
        finite[name] = values.dtype.kind != "f" or bool(np.isfinite(values).all())
    return Contents(opened.get_variable_to_dtype_map(), finite)


def _read_contents(path, names):
    """Returns the `Contents` of some tensors of a checkpoint."""
    with _explain_read_errors(path):
        return _read_tensors(reader(path), names)


def _check_values(path, names, contents):
    """Checks type and values of the tensors.

    The index of a checkpoint knows nothing of the latter.
    """
    for name in sorted(names):
        if contents.types[name] != tf.float32:
            raise InputError(
                f"the checkpoint {path} has {name} of type {contents.types[name].name} where "
                "float32 "
                "is needed; convert it, or use Google's"
            )
        if not contents.finite[name]:
            raise InputError(
                f"the checkpoint {path} has NaN or infinite values in {name}; use an earlier one, "
                "or "
                "train again with a smaller --learning_rate"
            )


def _check_family(path, shapes, config):
    """Checks that the variables are named as the family of the config names them."""
    for beginning, what in _FOREIGN:
        if any(name.startswith(beginning) for name in shapes):
            raise _foreign(path, what)
    for beginning, family, what in _FAMILIES:
        if family != config.family and any(name.startswith(beginning) for name in shapes):
            raise InputError(
                f"{path} is {what}, but the config describes a model of the family "
                f'"{config.family}"; use the config that came with it, with "family": "{family}"'
            )
    if any(name.endswith(_OBJECT_ENDING) for name in shapes):
        raise _foreign(path, "a TensorFlow 2 checkpoint")
    if any("qa_outputs" in name for name in shapes):
        raise InputError(
            f"{path} names its span head qa_outputs, as Hugging Face does; convert the model with "
            "`python import_huggingface.py MODEL_FOLDER OUTPUT_FOLDER`"
        )


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
    wanted = encoder_shapes(config)
    wanted.update(
        (name, shape)
        for name, shape in _optional_shapes(config).items()
        if trained_here or name in shapes
    )
    for name, shape in sorted(wanted.items()):
        if name not in shapes:
            raise InputError(
                f"the checkpoint {path} has no {name}, which a reader of this BERT config needs; "
                "use the bert_config.json that came with it"
            )
        if list(shapes[name]) != shape:
            raise InputError(
                f"the checkpoint {path} has {name} of shape {list(shapes[name])} where the BERT "
                f"config asks for {shape}; "
                "use the bert_config.json that came with it"
            )
    _check_values(path, wanted, contents or _read_contents(path, wanted))
    naming = NAMINGS[config.family]
    above = f"{naming.root}/{naming.scope(config.num_hidden_layers)}/{naming.output}/kernel"
    if above in shapes and above not in wanted:
        tf.logging.warning(
            "the checkpoint %s has more layers than the %d of the BERT config; the upper ones are "
            "not used",
            path,
            config.num_hidden_layers,
        )
    if needs_head and not all(name in shapes for name in _HEAD):
        tf.logging.warning(
            "the checkpoint %s has no span head (%s): without training, answers are random",
            path,
            _HEAD[0],
        )


def _read_list(folder):
    """Returns TensorFlow's list of the checkpoints in `folder`, None where it is damaged."""
    try:
        return tf.train.get_checkpoint_state(folder)
    except ValueError:  # it is empty
        return None


def _moved(path, folder):
    """Returns where a listed checkpoint is now: the list may name the folder that it was copied
    from.
    """
    beside = os.path.join(folder, os.path.basename(path))
    return beside if not _exists(path) and _exists(beside) else path


def _warn_if_moved(folder, path):
    state = _read_list(folder)
    if state is not None and path != state.model_checkpoint_path:
        named = os.path.dirname(state.model_checkpoint_path)
        if named != os.path.dirname(path) and os.path.basename(path) == os.path.basename(
            state.model_checkpoint_path
        ):
            tf.logging.warning(
                "%s names checkpoints in %s, which is not there; using %s",
                os.path.join(folder, _STATE_FILE),
                named,
                path,
            )


def listed(folder):
    """Returns the paths of the checkpoints that a training left in `folder`, the newest first."""
    if not files.exists(os.path.join(folder, _STATE_FILE)):
        return []
    state = _read_list(folder)
    if state is not None:
        older = [
            path for path in state.all_model_checkpoint_paths if path != state.model_checkpoint_path
        ]
        there = [_moved(path, folder) for path in [state.model_checkpoint_path] + older[::-1]]
        # Checkpoints may have been deleted to free space.
        return there if any(_exists(path) for path in there) else []
    # The list itself is damaged.
    found = filter(None, map(_INDEX.match, tf.gfile.ListDirectory(folder)))
    return [
        os.path.join(folder, match.group(1))
        for match in sorted(found, key=lambda match: -int(match.group(2)))
    ]


def last(folder):
    """Returns the path of the last checkpoint that a training left in `folder`, or None."""
    return next(iter(listed(folder)), None)


def _read_whole(path):
    """Returns the `Contents` of a checkpoint, None where a tensor cannot be read.

    Each has its checksum.
    """
    try:
        opened = reader(path)
        return _read_tensors(opened, opened.get_variable_to_shape_map())
    except _READING_ERRORS:
        return None


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
    there = listed(folder)
    read = ((path, _read_whole(path)) for path in there)
    whole, contents = next((pair for pair in read if pair[1] is not None), (None, None))
    if there and whole is None:
        raise InputError(
            f"none of the checkpoints in {folder} is complete (the last is {there[0]}); delete "
            f"{os.path.join(folder, _STATE_FILE)} to train from the start"
        )
    if there and whole != there[0]:
        if not to_train:
            raise InputError(
                f"the checkpoint {there[0]} is incomplete; train again with the same --output_dir, "
                f"which resumes from {whole}"
            )
        tf.logging.warning(
            "the checkpoint %s is incomplete; training resumes from %s", there[0], whole
        )
    if whole:
        _warn_if_moved(folder, whole)
    return whole, contents


def make_last(folder, path):
    """Makes a training in `folder` resume from the listed checkpoint `path`, whatever newer ones
    there are.
    """
    there = listed(folder)
    state = _read_list(folder)
    if state is not None and state.model_checkpoint_path == path:
        return
    kept = [os.path.basename(other) for other in there[there.index(path) :]]
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
    for part in (".data-00000-of-00001", ".index"):
        with files.renamed(beside + part, path + part):
            pass
