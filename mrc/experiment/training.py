# SPDX-License-Identifier: Apache-2.0
"""Training: writes the windows as TFRecords and runs the estimator on them."""

import os
import random
import types

from mrc.data import feature_cache, tfrecords
from mrc.data.windows import Windows
from mrc.experiment import explain, session_hooks, training_record
from mrc.experiment.inputs import TEXT_FLAGS, Inputs
from mrc.experiment.tpu_options import explain_device_errors, tpu_options
from mrc.model import checkpoint_folder, estimator, precision
from mrc.util.errors import Fault, InputError
from mrc.util.signals import SignalHandler

RECORDS_FILE = "train.tf_record"
FEATURES_FILE = "train.features.npz"
_TRAINING_FLAGS = TEXT_FLAGS + (
    "train_batch_size",
    "learning_rate",
    "num_train_epochs",
    "warmup_proportion",
    "rand_seed",
    "precision",
)


def shuffle(examples, seed):
    """Returns the training examples in the order of conversion, shuffled with `seed`."""
    examples = list(examples)
    random.Random(seed).shuffle(examples)
    return examples


def _text_fingerprint(inputs):
    return inputs.fingerprint("train_file", TEXT_FLAGS + ("rand_seed",))


def make_windows(inputs: Inputs) -> Windows:
    """Returns the windows of the training file, from the feature cache if possible."""
    examples = shuffle(inputs.training_examples, inputs.options.rand_seed)
    return feature_cache.windows_of_run(
        FEATURES_FILE, _text_fingerprint(inputs), examples, inputs.tokenizer(), inputs.options
    )


def write_records(windows, dataset, output_dir, fingerprint):
    """Writes the windows and their answers, unless current records exist; returns their path."""
    path = os.path.join(output_dir, RECORDS_FILE)
    if not feature_cache.has_records(path, fingerprint):
        with feature_cache.noting_records(path, fingerprint):
            positions = windows.answer_positions(dataset.refines_answers)
            tfrecords.write(path, windows, _model_inputs(dataset), positions)
    return path


def _check_records(inputs, path):
    """Raises a `Fault` if the records are not those that the run wrote or accepted."""
    if not feature_cache.has_records(path, _text_fingerprint(inputs)):
        raise Fault(
            f"the records {path} were changed during training; no checkpoint was written since "
            "the last one: rerun the same command, which writes the records again and resumes"
        )


def _model_inputs(dataset):
    names = ["input_ids", "input_mask", "segment_ids"]
    return names + ["input_span_mask"] if dataset.masks_question else names


def count_steps(windows, dataset, batch_size, epochs):
    """Returns the number of training steps: the number of whole batches in `epochs` epochs."""
    number = dataset.training_size(windows)
    if not len(windows):
        raise InputError("all passages of the training questions are blank: nothing can be learned; pass a file with text")
    steps = int(number / float(batch_size) * epochs)
    if steps < 1:
        raise InputError(
            f"{number} {dataset.training_unit} and --num_train_epochs={epochs:g} do not fill one "
            f"batch of --train_batch_size={batch_size}; use a smaller batch or more epochs"
        )
    return steps


def make_input_fn(path, dataset, max_seq_length, seed, records_seen=0, num_by_length=None):
    """Returns the input function of training.

    Args:
      path: of the records.
      dataset: the `Dataset`.
      max_seq_length: length of a window.
      seed: for shuffling.
      records_seen: number of records to skip because earlier steps used them.
      num_by_length: number of records, to batch those of similar length; None to batch any.
    """
    shapes = {name: [max_seq_length] for name in _model_inputs(dataset)}
    shapes.update(start_positions=[], end_positions=[])

    def input_fn(params):
        if num_by_length is not None:
            return tfrecords.training_dataset_by_length(
                path, shapes, params["batch_size"], seed, num_by_length, records_seen
            )
        context = params.get("context")  # set on a TPU; otherwise there is a single host
        hosts = (context.current_host, context.num_hosts) if context else (0, 1)
        return tfrecords.training_dataset(path, shapes, params["batch_size"], seed, records_seen, *hosts)

    return input_fn


def _as_begun(inputs, done):
    """Returns the inputs with --precision and --trim_padding off in a training begun without.

    Earlier versions ignored both in training, so a training that they began is resumed like that.
    """
    options, folder = inputs.options, inputs.options.output_dir
    recorded = training_record.read(folder).fingerprint
    if not done or not isinstance(recorded, dict):
        return inputs
    changed = {}
    if options.trim_padding and "trim_padding" not in recorded:
        changed["trim_padding"] = False
    if options.precision != precision.FLOAT32 and "precision" not in recorded:
        changed["precision"] = precision.FLOAT32
    if not changed:
        return inputs
    print(f"the training in {folder} was begun without --{' and --'.join(changed)}, and so it ends")
    return inputs._replace(options=types.SimpleNamespace(**dict(vars(options), **changed)))


def train(inputs: Inputs, windows: Windows, handler: SignalHandler) -> str:
    """Trains on `windows`, from the last checkpoint in the output folder if there is one.

    Returns:
      The path of the final checkpoint.

    Raises:
      InputError: the output folder holds another training run.
      Stopped: a signal arrived; the checkpoint of the current step is written first.
    """
    done = training_record.steps_done(inputs.trained)
    inputs = _as_begun(inputs, done)
    options, dataset, folder = inputs.options, inputs.dataset, inputs.options.output_dir
    num_steps = count_steps(windows, dataset, options.train_batch_size, options.num_train_epochs)
    fingerprint = inputs.fingerprint("train_file", _TRAINING_FLAGS, options.init_checkpoint)
    if options.micro_batch_size:
        fingerprint["dropout_by_window"] = True  # the size of a part does not matter
    if options.trim_padding:
        fingerprint["trim_padding"] = True
    if done:
        training_record.check_same(folder, fingerprint)
    training_record.write(folder, fingerprint, num_steps)
    if done >= num_steps:
        print(f"the training in {folder} is finished already: {done} steps")
        return inputs.trained
    if done:
        print(f"resuming the training in {folder} after step {done} of {num_steps}", flush=True)
    checkpoint_folder.remove_unfinished(folder)
    if inputs.trained:
        checkpoint_folder.make_last(folder, inputs.trained)
    path = write_records(windows, dataset, folder, _text_fingerprint(inputs))
    input_fn = make_input_fn(
        path,
        dataset,
        options.max_seq_length,
        options.rand_seed,
        records_seen=done * options.train_batch_size,
        num_by_length=len(windows) if options.trim_padding else None,
    )
    reader = _make_estimator(inputs, num_steps, handler)
    with explain_device_errors(options), handler.deferred():
        with explain.explain_training_errors(folder, path):
            reader.train(
                input_fn,
                hooks=[session_hooks.NanLossHook(folder)],
                max_steps=num_steps,
                saving_listeners=[
                    session_hooks.FiniteWeightsListener(folder),
                    session_hooks.UnchangedInputsListener(
                        lambda: inputs.check_unchanged(inputs.trained or options.init_checkpoint),
                        lambda: _check_records(inputs, path),
                    ),
                ],
            )
    return _finished_checkpoint(folder, num_steps, handler)


def _make_estimator(inputs, num_steps, handler):
    options = inputs.options
    model_fn = estimator.training_model_fn(
        inputs.config,
        inputs.dataset,
        estimator.Schedule(
            peak_rate=options.learning_rate, num_steps=num_steps, num_warmup_steps=int(num_steps * options.warmup_proportion)
        ),
        init_checkpoint=options.init_checkpoint,
        use_tpu=options.use_tpu,
        seed=options.rand_seed,
        hooks=[session_hooks.ProgressHook(num_steps), session_hooks.StopOnSignalHook(handler)],
        micro_batch_size=options.micro_batch_size,
        trim_padding=options.trim_padding,
        precision_name=options.precision,
    )
    return estimator.make_estimator(model_fn, tpu_options(options), options)


def _finished_checkpoint(folder, num_steps, handler):
    """Returns the last checkpoint; raises `Stopped` if a signal ended the training."""
    last = checkpoint_folder.last(folder)
    done = training_record.steps_done(last)
    handler.check(f"the checkpoint of step {done} of {num_steps} is in {folder}")
    if done < num_steps:  # TensorFlow takes a failed write for the end of the data
        raise Fault(
            f"training ended after step {done} of {num_steps} because a file in {folder} cannot be written completely; "
            "check free space and limits on file size, then rerun the same command to resume"
        )
    return last
