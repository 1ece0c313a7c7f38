# SPDX-License-Identifier: Apache-2.0
"""Answering: a forward pass over all windows for every cell of a grid, then decoding into files."""

import contextlib
import os

import numpy as np
import tensorflow.compat.v1 as tf

from mrc.answers import answer_files
from mrc.data import feature_cache, tfrecords
from mrc.data.windows import FIRST_UNIQUE_ID, PADDING_WINDOW
from mrc.experiment import partial_results, provenance
from mrc.util import files, progress

RECORDS_FILE = "eval.tf_record"
FEATURES_FILE = "eval.features.npz"
_INPUTS = ("unique_ids", "input_ids", "input_mask", "segment_ids", "input_span_mask")


def batches_to_do(windows, found, batch_size):
    """Returns lists of `batch_size` window numbers, block after block, that hold all windows that are not in `found`.

    Windows of a block are put in the order of their length, so that little padding is worked out. Which windows share a
    batch does not depend on `found`: sums over another length of batch differ in the last bits.
    """
    lengths, rows = windows.lengths(), []
    for first, stop in partial_results.cut_blocks(windows.example_of):
        rows.extend((first + np.argsort(-lengths[first:stop], kind="stable")).tolist())
    rows.extend([PADDING_WINDOW] * (-len(rows) % batch_size))
    batches = (rows[start : start + batch_size] for start in range(0, len(rows), batch_size))
    return [
        batch
        for batch in batches
        if any(row not in found for row in batch if row != PADDING_WINDOW)
    ]


def make_input_fn(windows, batches):
    """Returns the input function of the windows numbered in `batches`, for GPU and CPU."""
    length = windows.max_seq_length
    types = {name: tf.int32 for name in _INPUTS}

    def input_fn(params):
        size = params["batch_size"]
        shapes = {name: [size] if name == "unique_ids" else [size, length] for name in _INPUTS}
        return tf.data.Dataset.from_generator(
            lambda: map(windows.batch, batches), types, shapes
        ).prefetch(2)

    return input_fn


def make_tpu_input_fn(windows, batches, output_dir, made_from):
    """Returns the input function of records of the windows numbered in `batches`: a TPU's host reads files only.

    The records are written, unless they are there, made from `made_from`.
    """
    path, rows = os.path.join(output_dir, RECORDS_FILE), [row for batch in batches for row in batch]
    made_from = dict(made_from, windows=provenance.fingerprint(np.array(rows, np.int64).tobytes()))
    if not feature_cache.has_records(path, made_from):
        with feature_cache.noting_records(path, made_from):
            tfrecords.write(path, windows, _INPUTS, rows=rows)
    shapes = {name: [] if name == "unique_ids" else [windows.max_seq_length] for name in _INPUTS}
    return lambda params: tfrecords.prediction_dataset(path, shapes, params["batch_size"])


def forward(estimator, input_fn, windows, found, checkpoint, is_stopped=lambda: False):
    """Runs the estimator over `input_fn`, and adds what comes out to the `Spool` `found`, which keeps it however this ends.

    Args:
      estimator, input_fn: as TensorFlow has them.
      windows: `windows.Windows`.
      found: `Spool`.
      checkpoint: path of the weights; None for those that the estimator starts from.
      is_stopped: asked after each batch whether to leave the others.
    """
    with found.kept(), progress.bar(
        len(windows), "forward pass", "window", initial=len(found)
    ) as bar:
        for best in estimator.predict(
            input_fn, checkpoint_path=checkpoint, yield_single_examples=False
        ):
            rows = best.pop("unique_ids") - FIRST_UNIQUE_ID
            real = (rows != PADDING_WINDOW) & np.array([row not in found for row in rows])
            found.add(rows[real], {name: values[real] for name, values in best.items()})
            bar.update(int(real.sum()))
            if is_stopped():
                break


def _rows_of_examples(windows):
    """Returns for each example the range of its windows."""
    bounds = np.searchsorted(windows.example_of, np.arange(len(windows.examples) + 1)).tolist()
    return [range(first, stop) for first, stop in zip(bounds, bounds[1:])]


def _blocks_of_examples(windows, rows_of):
    """Yields (window range, example numbers) of what is decoded together; examples without a window go with the others."""
    example = 0
    for first, stop in partial_results.cut_blocks(windows.example_of) or [(0, 0)]:
        numbers = []
        while example < len(rows_of) and (rows_of[example].stop <= stop):
            numbers.append(example)
            example += 1
        yield (first, stop), numbers


def decode(windows, found, decoder, dataset, output_dir, file_names):
    """Writes the answers of every cell.

    Args:
      windows: `windows.Windows`.
      found: `Spool` that holds all of them.
      decoder: `decoding.Decoder`.
      dataset: `datasets.Dataset`.
      output_dir: folder of the files.
      file_names: for each cell, the names that `answer_files.file_names` gives.
    """
    rows_of = _rows_of_examples(windows)
    files.allow_open(sum(map(len, file_names)))
    with contextlib.ExitStack() as stack:
        outputs = [
            stack.enter_context(answer_files.CellFiles(output_dir, names, dataset))
            for names in file_names
        ]
        bar = stack.enter_context(progress.bar(len(windows.examples), "answers", "question"))
        answered = _last_of_each_id(windows.examples)
        for (first, stop), numbers in _blocks_of_examples(windows, rows_of):
            best = found.read(first, stop) or _nothing_found(len(outputs))
            for number in numbers:
                rows = rows_of[number]
                if number in answered:
                    mine = {
                        name: values[rows.start - first : rows.stop - first]
                        for name, values in best.items()
                    }
                    for output, answer in zip(outputs, decoder.answer(number, rows, mine)):
                        output.add(windows.examples[number].id, answer)
                bar.update()


def _nothing_found(num_cells):
    """The best positions of no window, as where every passage is blank."""
    return {name: np.zeros([0, num_cells]) for name in ("start_nulls", "end_nulls")}


def _last_of_each_id(examples):
    """Returns the numbers of the examples whose id no later one has."""
    return set({example.id: number for number, example in enumerate(examples)}.values())
