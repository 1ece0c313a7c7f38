# SPDX-License-Identifier: Apache-2.0
"""What watches over a training: it stops when a signal asks, and no checkpoint takes weights that are no numbers."""

import contextlib
import logging
import os
import re

import numpy as np
import tensorflow.compat.v1 as tf

from mrc.experiment import training
from mrc.model import estimator
from mrc.util import files
from mrc.util.errors import Fault, first_line

_WRITING_OPS = ("SaveV2", "MergeV2Checkpoints", "ShardedFilename")
# What a failing disk raises; an error whose operation TensorFlow cannot name may be of a device or another machine as well.
_OF_THE_DISK = (
    tf.errors.ResourceExhaustedError,
    tf.errors.PermissionDeniedError,
    tf.errors.FailedPreconditionError,
    tf.errors.NotFoundError,
    tf.errors.OutOfRangeError,
    tf.errors.UnknownError,
)
_REMEDY = (
    "%s; train anew with a smaller --learning_rate into another --output_dir, or go on from that "
    "checkpoint there "
    "with --init_checkpoint"
)


def _what_is_kept(folder):
    last = tf.train.latest_checkpoint(folder)
    return f"the last good checkpoint is {last}" if last else "there is no checkpoint yet"


def _out_of_memory(error):
    return (
        isinstance(error, tf.errors.ResourceExhaustedError)
        and re.search("OOM|memory", error.message) is not None
    )


def _check_folder(folder):
    if not files.exists(
        os.path.join(folder, training.RECORD_FILE)
    ):  # TensorFlow may make the folder itself anew
        raise Fault(
            f"the output folder {folder} was removed while the training was at work; put it back "
            "and give the same command "
            "again to go on, or without it to train from the start"
        )


class StopWhenAsked(tf.train.SessionRunHook):
    """Ends the training after the step in which a signal came; whatever ends well writes a checkpoint.

    Args:
      watch: `stopping.Watch`.
    """

    def __init__(self, watch):
        self._watch = watch

    def before_run(self, run_context):
        self._watch.keep()  # TPUEstimator gives Ctrl-C back to the system before each step

    def after_run(self, run_context, run_values):
        if self._watch.asked is not None:
            run_context.request_stop()


class FiniteLoss(estimator.LossHook):
    """Stops the training at the first step whose loss is no number.

    Args:
      folder: of the checkpoints.
    """

    def __init__(self, folder):
        self._folder = folder

    def after_run(self, run_context, run_values):
        if not np.isfinite(run_values.results):
            step = run_context.session.run(tf.train.get_global_step())
            raise Fault(
                "the training stopped at step %d, whose loss is %s; " % (step, run_values.results)
                + _REMEDY % _what_is_kept(self._folder)
            )


class SoundCheckpoints(tf.train.CheckpointSaverListener):
    """Lets a checkpoint be written only where its folder is there and all its weights are numbers.

    The loss of a step is that of the weights before it, so that it tells too late.

    Args:
      folder: of the checkpoints.
    """

    def __init__(self, folder):
        self._folder = folder

    def begin(self):
        self._finite = tf.reduce_all(
            [tf.reduce_all(tf.is_finite(weights)) for weights in tf.trainable_variables()]
        )

    def before_save(self, session, global_step_value):
        _check_folder(self._folder)
        if not session.run(self._finite):
            raise Fault(
                "the training stopped at step %d, which left weights that are no numbers; "
                % global_step_value
                + _REMEDY % _what_is_kept(self._folder)
            )


@contextlib.contextmanager
def telling(folder, records_path):
    """Has a failure of the disk in the midst of a training end in a sentence.

    Args:
      folder: of the checkpoints.
      records_path: what the training reads.
    """
    try:
        yield
    except ValueError:  # a Saver's own, where its folder is gone
        _check_folder(folder)
        raise
    except tf.errors.OpError as error:
        if _out_of_memory(error):
            raise Fault(
                f"there is not enough memory for a step of the training ({first_line(error)}); "
                "use a smaller --train_batch_size or "
                "--max_seq_length"
            )
        _check_folder(folder)
        kind = error.op.type if error.op is not None else None
        if (
            kind == "CheckNumerics" or "is NaN" in error.message
        ):  # a TPU looks at its gradients itself
            raise Fault(
                f"the training stopped at gradients that are no numbers ({first_line(error)}); "
                + _REMEDY % _what_is_kept(folder)
            )
        if kind in _WRITING_OPS or (kind is None and isinstance(error, _OF_THE_DISK)):
            with files.told("a checkpoint in " + folder):
                raise
        if kind != "RestoreV2" and isinstance(
            error, (tf.errors.DataLossError, tf.errors.NotFoundError)
        ):
            raise Fault(
                f"the records {records_path} were damaged or removed while the training read them "
                f"({first_line(error)}); delete them, and the "
                "same command makes them anew and goes on"
            )
        raise


@contextlib.contextmanager
def in_a_sentence(verbose):
    """Has a failure within TensorFlow of which nothing else tells end in a sentence; with `verbose`, in its traceback."""
    try:
        yield
    except tf.errors.OpError as error:
        if verbose:
            raise
        if _out_of_memory(error):
            raise Fault(
                f"there is not enough memory ({first_line(error)}); use a smaller batch "
                "(--train_batch_size, --predict_batch_size) or "
                "fewer cells at a time"
            )
        raise Fault(
            f"{type(error).__name__}: {first_line(error)}; mend what that names and give the same "
            "command again to go on, or add --verbose_logging to see "
            "where it failed"
        )


class OwnErrorsOnce(logging.Filter):
    """Leaves out TPUEstimator's lines on an exception that goes on to whoever called it."""

    def filter(self, record):
        return not str(record.msg).startswith(("Error recorded from", "Reraising captured error"))
