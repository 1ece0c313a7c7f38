# SPDX-License-Identifier: Apache-2.0
"""Translates TensorFlow's errors into one-line messages that say what happened and what to do."""

import contextlib
import logging
import os
import re

import tensorflow.compat.v1 as tf

from mrc.experiment.training_record import TRAINING_FILE
from mrc.model import checkpoint_folder
from mrc.util import files
from mrc.util.errors import Fault, first_line

_WRITING_OPS = ("SaveV2", "MergeV2Checkpoints", "ShardedFilename")
# Raised by a failing disk. An error without a known op may also come from a device or a machine.
_DISK_ERRORS = (
    tf.errors.ResourceExhaustedError,
    tf.errors.PermissionDeniedError,
    tf.errors.FailedPreconditionError,
    tf.errors.NotFoundError,
    tf.errors.OutOfRangeError,
    tf.errors.UnknownError,
)


def diverged(what: str, folder: str) -> Fault:
    """Returns the `Fault` of a training that diverged; `what` says at which step or value."""
    last = checkpoint_folder.last(folder)
    kept = f"the last good checkpoint is {last}" if last else "there is no checkpoint yet"
    return Fault(
        f"training stopped {what}; {kept}; train again with a smaller --learning_rate in another "
        "--output_dir, or continue from that checkpoint there with --init_checkpoint"
    )


def check_training_folder(folder: str):
    """Raises a `Fault` if the output folder of a running training was removed."""
    # TensorFlow may create the folder again itself, but not this file.
    if not files.exists(os.path.join(folder, TRAINING_FILE)):
        raise Fault(
            f"the output folder {folder} was removed during training; restore it and rerun the "
            "same command to resume, or rerun without it to train from the start"
        )


def _out_of_memory(error):
    return isinstance(error, tf.errors.ResourceExhaustedError) and re.search("OOM|memory", first_line(error)) is not None


@contextlib.contextmanager
def explain_training_errors(folder: str, records_path: str):
    """Reports full disks, lack of memory, damaged records and divergence during training.

    Args:
      folder: folder of the checkpoints.
      records_path: the TFRecords that the training reads.
    """
    try:
        yield
    except ValueError:  # raised by a Saver whose folder is gone
        check_training_folder(folder)
        raise
    except tf.errors.OpError as error:
        if _out_of_memory(error):
            raise Fault(
                f"not enough memory for a training step ({first_line(error)}); use a smaller "
                "--train_batch_size or --max_seq_length"
            )
        check_training_folder(folder)
        op = error.op.type if error.op is not None else None
        # A TPU checks its gradients itself.
        if op == "CheckNumerics" or "is NaN" in error.message:
            raise diverged(f"at NaN or infinite gradients ({first_line(error)})", folder)
        if op in _WRITING_OPS or (op is None and isinstance(error, _DISK_ERRORS)):
            with files.explain_write_errors("a checkpoint in " + folder):
                raise
        if op != "RestoreV2" and isinstance(error, (tf.errors.DataLossError, tf.errors.NotFoundError)):
            raise Fault(
                f"the records {records_path} were damaged or removed during training ({first_line(error)}); delete "
                "them and rerun the same command, which writes them again and resumes"
            )
        raise


@contextlib.contextmanager
def explain_tensorflow_errors(verbose: bool):
    """Reports uncaught TensorFlow errors as a one-line message; with `verbose`, as a traceback."""
    try:
        yield
    except tf.errors.OpError as error:
        if verbose:
            raise
        if _out_of_memory(error):
            raise Fault(
                f"not enough memory ({first_line(error)}); use a smaller batch "
                "(--train_batch_size, --predict_batch_size) or fewer cells at a time"
            )
        raise Fault(
            f"{type(error).__name__}: {first_line(error)}; fix the cause and rerun the same "
            "command to resume, or add --verbose_logging to see where it failed"
        )


class ErrorsOnce(logging.Filter):
    """Drops TPUEstimator's log lines about exceptions that it also raises."""

    def filter(self, record):
        return not str(record.msg).startswith(("Error recorded from", "Reraising captured error"))
