# SPDX-License-Identifier: Apache-2.0
"""One forward pass over the windows of the prediction file, which resumes where it was stopped.

An analysis says what the model computes and how results are collected: best positions for
`prediction`, sums of probabilities for `attention`. A new analysis is one file with a model
function, a class of results, and a function that calls `results_of`.
"""

import collections
import contextlib
import os
from typing import Callable, List, NamedTuple, Optional

import numpy as np
import tensorflow.compat.v1 as tf

from mrc.cells import Cell
from mrc.data import feature_cache, tfrecords, token_sets
from mrc.data.windows import FIRST_UNIQUE_ID, PADDING_WINDOW, Windows
from mrc.experiment import memory, partial_results, provenance, session_hooks
from mrc.experiment.inputs import TEXT_FLAGS, Inputs
from mrc.experiment.tpu_options import explain_device_errors, tpu_options
from mrc.model import estimator
from mrc.util import aliases, progress, tensorflow_versions
from mrc.util.signals import SignalHandler

RECORDS_FILE = "eval.tf_record"
FEATURES_FILE = "eval.features.npz"
_INPUTS = ("unique_ids", "input_ids", "input_mask", "segment_ids", "input_span_mask")


class Analysis(NamedTuple):
    """What one forward pass computes.

    Attributes:
      title: of the progress bar.
      task: what is resumed, for messages.
      cells: the cells that run.
      fingerprint: what the results depend on.
      model_fn: the model function, whose predictions are batches of results with `unique_ids`.
      make_results: `make_results(UnfinishedWork)` returns the results so far: a
        `partial_results.Results`.
    """

    title: str
    task: str
    cells: List[Cell]
    fingerprint: collections.OrderedDict
    model_fn: Callable
    make_results: Callable


def text_fingerprint(inputs: Inputs):
    """Returns what the windows of the prediction file depend on."""
    return inputs.fingerprint("predict_file", TEXT_FLAGS)


def make_windows(inputs: Inputs) -> Windows:
    """Returns the windows of the prediction file, from the feature cache where it has them."""
    windows = feature_cache.windows_of_run(
        FEATURES_FILE, text_fingerprint(inputs), inputs.prediction_examples, inputs.tokenizer(), inputs.options
    )
    if inputs.set_spans:
        windows.token_sets = token_sets.TokenSetArrays(windows, inputs.set_spans)
    return windows


def _names_of_inputs(windows):
    return _INPUTS + tuple(windows.token_sets.features if windows.token_sets else ())


def make_batches(windows, batch_size):
    """Returns batches of `batch_size` window indices that cover all windows.

    Within a block, windows are sorted by length to reduce padding. A resumed pass runs the same
    batches: sums over a batch of another length differ in the last bits.
    """
    lengths, rows = windows.lengths(), []
    for first, stop in partial_results.cut_blocks(windows.example_of):
        rows.extend((first + np.argsort(-lengths[first:stop], kind="stable")).tolist())
    rows.extend([PADDING_WINDOW] * (-len(rows) % batch_size))
    return [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]


def make_input_fn(windows, batches):
    """Returns the input function that reads the windows of `batches` from memory (CPU and GPU)."""
    length = windows.max_seq_length
    names = _names_of_inputs(windows)
    types = {name: tf.int32 for name in names}

    def input_fn(params):
        size = params["batch_size"]
        shapes = {name: [size] if name == "unique_ids" else [size, length] for name in names}
        arrays = tf.data.Dataset.from_generator(lambda: map(windows.batch, batches), types, shapes)
        return tensorflow_versions.without_autotuning(arrays.prefetch(2))

    return input_fn


def make_tpu_input_fn(windows, batches, output_dir, fingerprint):
    """Returns the input function that reads the windows of `batches` from TFRecords.

    The host of a TPU can only read files. The records are written unless records with this
    fingerprint exist.

    Args:
      windows: `windows.Windows`.
      batches: lists of window indices.
      output_dir: folder of the records.
      fingerprint: of the windows, a dict.
    """
    path, rows = os.path.join(output_dir, RECORDS_FILE), [row for batch in batches for row in batch]
    names = _names_of_inputs(windows)
    fingerprint = dict(fingerprint, windows=provenance.sha256(np.array(rows, np.int64).tobytes()), inputs=list(names))
    if not feature_cache.has_records(path, fingerprint):
        with feature_cache.noting_records(path, fingerprint):
            tfrecords.write(path, windows, names, rows=rows)
    shapes = {name: [] if name == "unique_ids" else [windows.max_seq_length] for name in names}
    return lambda params: tfrecords.prediction_dataset(path, shapes, params["batch_size"])


@contextlib.contextmanager
def results_of(analysis: Analysis, inputs: Inputs, windows: Windows, trained: Optional[str], handler: SignalHandler):
    """Yields the results of the analysis over all windows; partial ones are removed afterwards.

    A shard leaves its partial results and yields None.

    Args:
      trained: checkpoint to run; None for --init_checkpoint.

    Raises:
      Stopped: a signal arrived; partial results are written first.
    """
    folder, shard = inputs.options.output_dir, inputs.options.shard
    with handler.deferred():
        work = provenance.unfinished_work(folder, analysis.fingerprint, analysis.cells, shard)
        results = analysis.make_results(work)
        if len(results):
            print(f"resuming the {analysis.task} in {folder}: {len(results)} of {len(windows)} windows are done", flush=True)
        _run(analysis, inputs, windows, results, trained, handler)
    handler.check(f"{len(results)} of {len(windows)} windows are done and kept in {folder}")
    yield None if shard else results
    if not shard:
        partial_results.remove(work)


def _run(analysis, inputs, windows, results, trained, handler):
    """Adds the windows that are missing in `results`; writes what was added even if it fails."""
    options = inputs.options
    size = memory.batch_size(options, analysis.cells, len(windows))
    batches = results.missing(make_batches(windows, size))
    if not batches:
        return
    reader = estimator.make_estimator(analysis.model_fn, tpu_options(options), options, size)
    if options.use_tpu:
        input_fn = make_tpu_input_fn(windows, batches, options.output_dir, text_fingerprint(inputs))
    else:
        input_fn = make_input_fn(windows, batches)
    weights = trained or options.init_checkpoint
    predictions = reader.predict(
        input_fn,
        hooks=[session_hooks.RestoredWeightsHook(lambda: inputs.check_unchanged(weights))],
        checkpoint_path=aliases.plain_path(trained) if trained else None,
        yield_single_examples=False,
    )
    to_run = sum(row != PADDING_WINDOW for batch in batches for row in batch)
    total = min(len(results) + to_run, len(windows))
    bar = progress.bar(total, analysis.title, "window", initial=len(results))
    with explain_device_errors(options), bar, contextlib.closing(predictions), results.flushed():
        for batch in predictions:
            rows = batch.pop("unique_ids") - FIRST_UNIQUE_ID
            done = len(results)
            results.add(rows, batch)
            bar.update(len(results) - done)
            if handler.received is not None:
                break
