# SPDX-License-Identifier: Apache-2.0
"""Prediction: one forward pass for all cells of a grid, then decoding to answer files."""

import collections
import contextlib
import os
from typing import Dict, List, Optional

import numpy as np
import tensorflow.compat.v1 as tf

from mrc.answers import answer_files, decoding
from mrc.data import feature_cache, tfrecords
from mrc.data.windows import FIRST_UNIQUE_ID, PADDING_WINDOW, Windows
from mrc.experiment import memory, partial_results, provenance, session_hooks
from mrc.experiment.inputs import TEXT_FLAGS, Inputs
from mrc.experiment.tpu_options import explain_device_errors, tpu_options
from mrc.model import estimator
from mrc.util import aliases, files, progress, tensorflow_versions
from mrc.util.signals import SignalHandler

RECORDS_FILE = "eval.tf_record"
FEATURES_FILE = "eval.features.npz"
_INPUTS = ("unique_ids", "input_ids", "input_mask", "segment_ids", "input_span_mask")

_DECODING_FLAGS = TEXT_FLAGS + (
    "n_best_size",
    "max_answer_length",
    "null_score_diff_threshold",
    "trim_padding",
    "precision",
)


def batches_to_do(windows, partial, batch_size):
    """Returns batches of `batch_size` window indices that cover all windows missing in `partial`.

    Within a block, windows are sorted by length to reduce padding. The batches do not depend on
    `partial`: sums over a batch of another length differ in the last bits.
    """
    lengths, rows = windows.lengths(), []
    for first, stop in partial_results.cut_blocks(windows.example_of):
        rows.extend((first + np.argsort(-lengths[first:stop], kind="stable")).tolist())
    rows.extend([PADDING_WINDOW] * (-len(rows) % batch_size))
    batches = (rows[start : start + batch_size] for start in range(0, len(rows), batch_size))
    return [
        batch
        for batch in batches
        if any(row not in partial for row in batch if row != PADDING_WINDOW)
    ]


def make_input_fn(windows, batches):
    """Returns the input function that reads the windows of `batches` from memory (CPU and GPU)."""
    length = windows.max_seq_length
    types = {name: tf.int32 for name in _INPUTS}

    def input_fn(params):
        size = params["batch_size"]
        shapes = {name: [size] if name == "unique_ids" else [size, length] for name in _INPUTS}
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
    fingerprint = dict(fingerprint, windows=provenance.sha256(np.array(rows, np.int64).tobytes()))
    if not feature_cache.has_records(path, fingerprint):
        with feature_cache.noting_records(path, fingerprint):
            tfrecords.write(path, windows, _INPUTS, rows=rows)
    shapes = {name: [] if name == "unique_ids" else [windows.max_seq_length] for name in _INPUTS}
    return lambda params: tfrecords.prediction_dataset(path, shapes, params["batch_size"])


def forward(reader, input_fn, windows, partial, checkpoint, is_stopped=lambda: False, hooks=()):
    """Predicts with the estimator and adds the best positions to `partial`.

    What was added is written to disk even if the prediction fails or is stopped.

    Args:
      reader, input_fn: a TensorFlow estimator and its input function.
      windows: `windows.Windows`.
      partial: `PartialResults`.
      checkpoint: path of the weights; None for those that the estimator is initialized with.
      is_stopped: called after each batch; prediction stops once it returns true.
      hooks: `SessionRunHook`s.
    """
    with partial.kept(), progress.bar(
        len(windows), "forward pass", "window", initial=len(partial)
    ) as bar:
        for best in reader.predict(
            input_fn, hooks=hooks, checkpoint_path=checkpoint, yield_single_examples=False
        ):
            rows = best.pop("unique_ids") - FIRST_UNIQUE_ID
            real = (rows != PADDING_WINDOW) & np.array([row not in partial for row in rows])
            partial.add(rows[real], {name: values[real] for name, values in best.items()})
            bar.update(int(real.sum()))
            if is_stopped():
                break


def _rows_of_examples(windows):
    """Returns the range of window indices of each example."""
    bounds = np.searchsorted(windows.example_of, np.arange(len(windows.examples) + 1)).tolist()
    return [range(first, stop) for first, stop in zip(bounds, bounds[1:])]


def _blocks_of_examples(windows, rows_of):
    """Yields ((first, stop) of windows, example indices) for each block that is decoded together.

    Examples without a window are part of the current block.
    """
    example = 0
    for first, stop in partial_results.cut_blocks(windows.example_of) or [(0, 0)]:
        numbers = []
        while example < len(rows_of) and (rows_of[example].stop <= stop):
            numbers.append(example)
            example += 1
        yield (first, stop), numbers


def decode(windows, partial, decoder, dataset, output_dir, file_names):
    """Writes the answers of every cell.

    Args:
      windows: `windows.Windows`.
      partial: the `PartialResults` of all windows.
      decoder: `decoding.Decoder`.
      dataset: `datasets.Dataset`.
      output_dir: folder of the files.
      file_names: for each cell, the result of `answer_files.file_names`.
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
            best = partial.read(first, stop) or _no_best_positions(len(outputs))
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


def _no_best_positions(num_cells):
    """Returns the best positions of zero windows, for data in which every passage is blank."""
    return {name: np.zeros([0, num_cells]) for name in ("start_nulls", "end_nulls")}


def _last_of_each_id(examples):
    """Returns the indices of the examples whose id does not occur again later."""
    return set({example.id: number for number, example in enumerate(examples)}.values())


def _text_fingerprint(inputs):
    return inputs.fingerprint("predict_file", TEXT_FLAGS)


def make_windows(inputs: Inputs) -> Windows:
    """Returns the windows of the prediction file, from the feature cache where it has them."""
    return feature_cache.windows_of_run(
        FEATURES_FILE,
        _text_fingerprint(inputs),
        inputs.prediction_examples,
        inputs.tokenizer(),
        inputs.options,
    )


def _cells_to_decode(inputs, record, fingerprint):
    """Returns the cells whose answers are missing or outdated; warns of the outdated ones."""
    cells, replaced = [], collections.OrderedDict()
    for cell in inputs.cells:
        names = inputs.file_names(cell)
        reason = record.why_not_done(cell.name, names.values(), fingerprint)
        if reason:
            replaced.setdefault(reason, []).append(names["predictions"])
        if reason is not None:
            cells.append(cell)
    for reason, names in replaced.items():
        more = f" and {len(names) - 1} more" if names[1:] else ""
        tf.logging.warning("decoding again: %s%s (%s)", names[0], more, reason)
    if len(cells) < len(inputs.cells):
        print(
            f"{len(inputs.cells) - len(cells)} of {len(inputs.cells)} cells are in "
            f"{inputs.options.output_dir} already and are not decoded again"
        )
    return cells


def make_decoder(inputs: Inputs, windows: Windows) -> decoding.Decoder:
    """Returns the decoder of the windows' best positions with the settings of the flags."""
    options = inputs.options
    return decoding.Decoder(
        windows,
        inputs.vocabulary,
        inputs.dataset,
        options.do_lower_case,
        options.n_best_size,
        options.max_answer_length,
        inputs.with_negatives,
        inputs.null_threshold,
    )


def predict(
    inputs: Inputs, windows: Windows, trained: Optional[str], handler: SignalHandler
) -> List[str]:
    """Answers the questions of `windows` in every cell that the output folder lacks.

    Args:
      trained: checkpoint to predict with; None for --init_checkpoint.

    Returns:
      The names of the files written.

    Raises:
      Stopped: a signal arrived; partial results are written first.
    """
    options, folder = inputs.options, inputs.options.output_dir
    fingerprint = inputs.fingerprint(
        "predict_file", _DECODING_FLAGS, trained or options.init_checkpoint
    )
    record = provenance.CellRecord(folder)
    cells = _cells_to_decode(inputs, record, fingerprint)
    if not cells:
        return []
    memory.check_grid(inputs, windows, cells)
    with handler.deferred():
        partial = partial_results.PartialResults(
            provenance.unfinished_work(folder, fingerprint, cells)
        )
        if len(partial):
            print(
                f"resuming the decoding in {folder}: {len(partial)} of {len(windows)} windows are "
                "done",
                flush=True,
            )
        _forward(inputs, windows, cells, partial, trained, handler)
    handler.check(f"{len(partial)} of {len(windows)} windows are done and kept in {folder}")
    decoder = make_decoder(inputs, windows)
    names = collections.OrderedDict((cell, inputs.file_names(cell)) for cell in cells)
    decode(windows, partial, decoder, inputs.dataset, folder, names.values())
    record.add({cell.name: list(names[cell].values()) for cell in cells}, fingerprint)
    partial.remove()
    return [name for cell in cells for name in names[cell].values()]


def input_fn_of_run(inputs: Inputs, windows: Windows, batches):
    """Returns the input function for the device of the run that reads the windows of `batches`."""
    if inputs.options.use_tpu:
        return make_tpu_input_fn(
            windows, batches, inputs.options.output_dir, _text_fingerprint(inputs)
        )
    return make_input_fn(windows, batches)


def _forward(inputs, windows, cells, partial, trained, handler):
    """Runs the forward pass over the windows that are not in `partial`."""
    options = inputs.options
    if len(partial) == len(windows):
        return
    model_fn = estimator.prediction_model_fn(
        inputs.config,
        inputs.dataset,
        cells,
        size=min(options.n_best_size, options.max_seq_length),
        init_checkpoint=options.init_checkpoint,
        trim_padding=options.trim_padding,
        use_tpu=options.use_tpu,
        precision_name=options.precision,
    )
    reader = estimator.make_estimator(model_fn, tpu_options(options), options)
    batches = batches_to_do(windows, partial, options.predict_batch_size)
    input_fn = input_fn_of_run(inputs, windows, batches)
    path = aliases.plain_path(trained) if trained else None
    with explain_device_errors(options):
        forward(
            reader,
            input_fn,
            windows,
            partial,
            path,
            lambda: handler.received is not None,
            [restored_weights_hook(inputs, trained)],
        )


def _warn_of_mixed_cells(inputs, record):
    """Warns if the cells to score were decoded by different readers, or from other data."""
    prints = [record.made_from(cell.name) for cell in inputs.cells]
    prints = [each for each in prints if each is not None]
    if not prints:
        return
    ours = dict(prints[0])
    if inputs.options.predict_file and not inputs.options.eval_file:
        ours["predict_file"] = inputs.file_hashes[inputs.options.predict_file]
    others = filter(None, (provenance.other_reader(ours, each) for each in prints))
    for other in dict.fromkeys(others):
        tf.logging.warning(
            "scoring answers in %s that were decoded with another %s; decode the cells again with "
            "--do_predict",
            inputs.options.output_dir,
            other,
        )


def restored_weights_hook(inputs: Inputs, trained: Optional[str]):
    """Returns the hook that checks the model's files once its weights are restored."""
    weights = trained or inputs.options.init_checkpoint
    return session_hooks.RestoredWeightsHook(lambda: inputs.check_unchanged(weights))


def check_answer_files(inputs: Inputs) -> Dict[str, str]:
    """Raises an `InputError` if a file shared by several cells has another cell's answers.

    Returns {path: SHA-256} of the files that were checked.
    """
    record, hashes = provenance.CellRecord(inputs.options.output_dir), {}
    _warn_of_mixed_cells(inputs, record)
    for cell in inputs.cells:
        names = inputs.file_names(cell)
        hashes.update(
            record.check_together(
                cell.name, [name for what, name in names.items() if what != "nbest"]
            )
        )
    return hashes
