# SPDX-License-Identifier: Apache-2.0
"""Training: examples to records, and the estimator over them."""

import os
import random

import tensorflow.compat.v1 as tf

from mrc.data import feature_cache, tfrecords
from mrc.experiment import provenance
from mrc.util.errors import InputError

RECORDS_FILE = "train.tf_record"
FEATURES_FILE = "train.features.npz"
RECORD_FILE = "training.json"  # what the training was made from


def shuffle(examples, seed):
    """Returns the training examples in the order in which they are converted."""
    examples = list(examples)
    random.Random(seed).shuffle(examples)
    return examples


def write_records(windows, dataset, output_dir, made_from):
    """Writes the windows with their answers, unless those made from `made_from` are there; returns the records' path."""
    path = os.path.join(output_dir, RECORDS_FILE)
    if not feature_cache.has_records(path, made_from):
        with feature_cache.noting_records(path, made_from):
            tfrecords.write(
                path,
                windows,
                _model_inputs(dataset),
                windows.answer_positions(dataset.refines_answers),
            )
    return path


def _model_inputs(dataset):
    names = ["input_ids", "input_mask", "segment_ids"]
    return names + ["input_span_mask"] if dataset.masks_span else names


def count_steps(windows, dataset, batch_size, epochs):
    """Returns the number of training steps: whole batches in so many times the examples (SQuAD) or windows (CMRC 2018)."""
    number = len(windows.examples) if dataset.steps_count == "examples" else len(windows)
    if not len(windows):
        raise InputError(
            "all passages of the training questions are blank, so there is nothing to learn; give "
            "a file with "
            "text"
        )
    steps = int(number / float(batch_size) * epochs)
    if steps < 1:
        raise InputError(
            "%d %s and --num_train_epochs=%g make no step of --train_batch_size=%d; use a smaller "
            "batch or "
            "more epochs" % (number, dataset.steps_count, epochs, batch_size)
        )
    return steps


def make_input_fn(path, dataset, max_seq_length, seed, records_seen=0):
    """Returns the input function of training from the records at `path`, past the first `records_seen` of their order."""
    shapes = {name: [max_seq_length] for name in _model_inputs(dataset)}
    shapes.update(start_positions=[], end_positions=[])

    def input_fn(params):
        context = params.get("context")  # a TPU's; without one there is but one host
        hosts = (context.current_host, context.num_hosts) if context else (0, 1)
        return tfrecords.training_dataset(
            path, shapes, params["batch_size"], seed, records_seen, *hosts
        )

    return input_fn


def read_record(path):
    """Returns {"made_from": ..., "num_steps": ...} of the training whose record lies at `path`; None where it does not tell."""
    record = provenance.read_record(path) if tf.gfile.Exists(path) else None
    record = record if isinstance(record, dict) else {}
    steps = record.get("num_steps")
    return {
        "made_from": record.get("made_from"),
        "num_steps": steps if isinstance(steps, int) else None,
    }


def check_reader(checkpoint, do_lower_case):
    """Holds a reader that is to answer against the training that left it, where that lies beside.

    An `InputError` where it took letters in another case than `do_lower_case`; a warning where it had steps to go.
    """
    record = read_record(os.path.join(os.path.dirname(checkpoint), RECORD_FILE))
    made_from, num_steps = record["made_from"], record["num_steps"]
    trained_with = made_from.get("do_lower_case") if isinstance(made_from, dict) else None
    if isinstance(trained_with, bool) and trained_with != do_lower_case:
        raise InputError(
            f"{checkpoint} was trained with --do_lower_case={trained_with} and reads other word "
            "pieces badly; give that flag here, too"
        )
    if num_steps is None or not tf.train.load_checkpoint(checkpoint).has_tensor("global_step"):
        return
    done = steps_done(checkpoint)
    if done < num_steps:
        tf.logging.warning(
            "%s is of step %d of %d of its training: a reader that is not trained to the end "
            "answers; the "
            "training's command goes on with it",
            checkpoint,
            done,
            num_steps,
        )


def steps_done(checkpoint):
    """Returns the step of the checkpoint of that path, 0 for None."""
    return int(tf.train.load_variable(checkpoint, "global_step")) if checkpoint else 0
