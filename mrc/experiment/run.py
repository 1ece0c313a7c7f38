# SPDX-License-Identifier: Apache-2.0
"""One run: reads and checks the inputs, then trains, predicts, sums attention and scores."""

import logging
import os
import types
from typing import Optional

import tensorflow.compat.v1 as tf

from mrc.answers import scoring
from mrc.data import unknown_words
from mrc.experiment import (
    attention,
    explain,
    forward_pass,
    memory,
    prediction,
    run_flags,
    run_record,
    training,
    training_record,
)
from mrc.experiment import inputs as run_inputs
from mrc.experiment.inputs import Inputs
from mrc.model import checkpoint_folder, estimator
from mrc.util import errors, files, locks, signals, tensorflow_versions
from mrc.util.errors import InputError

_GPU = "/dev/nvidia0"


def run(dataset, flag_values):
    """Runs what the flags ask for; reports any failure in one line (see `errors`).

    Args:
      dataset: a `datasets.Dataset`.
      flag_values: dict of the flags that `run_flags.define` defines.
    """
    with errors.exit_with_message(), signals.SignalHandler() as handler:
        flag_values = run_flags.with_normalized_paths(flag_values)
        options = types.SimpleNamespace(**flag_values)
        _set_up_logging(options.verbose_logging)
        memory.warn_of_limit()
        _check_shard(options)
        with explain.explain_tensorflow_errors(options.verbose_logging):
            inputs = run_inputs.read(dataset, options)
            files.make_folder(options.output_dir)
            with locks.held(options.output_dir, options.shard and options.shard.name):
                inputs.check_output_folder()
                prediction.check_reader(inputs)
                _warn_of_unused_gpu(inputs)
                files.remove_leftovers(options.output_dir)
                if options.shard:
                    _compute_shard(inputs, handler)
                    return
                with run_record.recording(options.output_dir, dataset.name, run_flags.own(flag_values)) as record:
                    _train_predict_score(inputs, handler, record)


def _check_shard(options):
    """Raises an `InputError` if --shard is passed with what it cannot do."""
    others = [flag for flag in ("--do_train", "--use_tpu") if getattr(options, flag[2:])]
    if options.shard and (others or not (options.do_predict or options.do_attention)):
        remedy = f"remove {' and '.join(others)}" if others else "add one of them"
        raise InputError(
            f"--shard={options.shard} applies to --do_predict and --do_attention on CPUs and GPUs; {remedy}, or remove it"
        )


def _compute_shard(inputs: Inputs, handler: signals.SignalHandler):
    """Adds the partial results of a shard to the output folder."""
    options, windows = inputs.options, _prediction_windows(inputs)
    if options.do_predict:
        prediction.predict(inputs, windows, inputs.trained, handler)
    if options.do_attention:
        attention.write(inputs, windows, inputs.trained, handler)
    print(f"shard {options.shard} is done; after the others, run the same command without --shard to write the results")


def _prediction_windows(inputs: Inputs):
    windows, path = forward_pass.make_windows(inputs), inputs.options.predict_file
    unknown_words.check(windows, path)
    if inputs.dataset.joiner:
        unknown_words.warn_of_chinese(windows, path)
    return windows


def _train_predict_score(inputs: Inputs, handler: signals.SignalHandler, record):
    """Trains, predicts and scores as the flags ask; times each part in the run record."""
    options, trained = inputs.options, inputs.trained
    for role, sha256 in inputs.hashes():
        record.add_input(role, sha256)
    with record.part("text"):
        training_windows = training.make_windows(inputs) if options.do_train else None
        if training_windows:
            unknown_words.check(training_windows, options.train_file)
        prediction_windows = _prediction_windows(inputs) if inputs.reads_questions else None
    if options.do_train and options.do_predict:
        memory.check_grid(inputs, prediction_windows, inputs.cells)
    if options.do_train:
        with record.part("training"):
            trained = training.train(inputs, training_windows, handler)
            record.add_results([os.path.basename(trained) + ".index"])  # the weights' checksums
    if options.do_predict:
        with record.part("prediction"):
            record.add_results(prediction.predict(inputs, prediction_windows, trained, handler))
    if options.do_attention:
        with record.part("attention"):
            record.add_results(attention.write(inputs, prediction_windows, trained, handler))
    if options.do_eval:
        with record.part("scoring"):
            hashes, written = _score(inputs, record.name, trained)
            for cell in inputs.cells:
                name = inputs.file_names(cell)["predictions"]
                record.add_scored(name, hashes[os.path.join(options.output_dir, name)])
            record.add_results(written)
            record.warn_of_left_out()


def _score(inputs: Inputs, run_name: str, trained: Optional[str]):
    """Scores the answers of every cell.

    Args:
      run_name: of this run, in `run.json`.
      trained: the checkpoint that predicted in this run; None for --init_checkpoint.

    Returns:
      {path: SHA-256} of the answer files as they were read, and the names of the files it writes.
    """
    names = prediction.files_to_score(inputs)
    with files.recorded_hashes(prediction.check_answer_files(inputs)) as hashes:
        written = scoring.score(
            inputs.dataset,
            inputs.eval_passages,
            names,
            inputs.options.output_dir,
            inputs.null_threshold,
            run_name,
            scoring.EffectOptions(
                inputs.options.cluster,
                inputs.options.margin,
                inputs.config.num_hidden_layers,
                inputs.with_negatives,
                _origin(inputs, trained),
            ),
        )
    return hashes, written


def _warn_of_unused_gpu(inputs):
    if inputs.has_model and files.exists(_GPU) and estimator.runs_on_cpu(inputs.options.use_tpu):
        tf.logging.warning("TensorFlow does not use the GPU of this machine; see docs/devices.md")


def _origin(inputs, trained):
    """Returns the columns of effects.csv that name the reader, its data and its seed.

    A run that only scores has the reader of its folder, else that of the last run that decoded.
    """
    options = inputs.options
    checkpoint = trained or options.init_checkpoint
    if not inputs.has_model:
        entry = run_record.last_with_flag(options.output_dir, ["do_predict"]) or {"flags": {}}
        checkpoint = checkpoint_folder.find_trained(options.output_dir, to_train=False)[0]
        checkpoint = checkpoint or entry["flags"].get("init_checkpoint")
    folder = (os.path.dirname(checkpoint) or os.curdir) if checkpoint else ""
    trained_with = training_record.read(folder).fingerprint if folder else None
    seed = trained_with.get("rand_seed", "") if isinstance(trained_with, dict) else ""
    return dict(
        reader=os.path.basename(os.path.abspath(folder)) if folder else "",
        data=os.path.basename(options.eval_file or options.predict_file),
        seed=str(seed),
    )


def _set_up_logging(verbose):
    logger = logging.getLogger("tensorflow")
    logger.propagate = False  # absl would print every line a second time
    if not any(isinstance(each, explain.ErrorsOnce) for each in logger.filters):
        logger.addFilter(explain.ErrorsOnce())
    if verbose:
        tf.logging.set_verbosity(tf.logging.INFO)
        return
    tf.logging.set_verbosity(tf.logging.WARN)
    tensorflow_versions.silence_deprecation_warnings()
