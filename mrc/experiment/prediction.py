# SPDX-License-Identifier: Apache-2.0
"""Prediction: one forward pass for all cells of a grid, then decoding to answer files."""

import contextlib
from typing import Dict, List, Optional

import numpy as np

from mrc.answers import answer_files, decoding
from mrc.cells import Cell
from mrc.data.windows import Windows
from mrc.experiment import forward_pass, memory, partial_results, provenance
from mrc.experiment.inputs import TEXT_FLAGS, Inputs
from mrc.model import estimator
from mrc.util import files, progress
from mrc.util.errors import InputError, warn
from mrc.util.signals import SignalHandler

_DECODING_FLAGS = TEXT_FLAGS + ("n_best_size", "max_answer_length", "null_score_diff_threshold", "trim_padding", "precision")


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
        begin = example
        while example < len(rows_of) and rows_of[example].stop <= stop:
            example += 1
        yield (first, stop), range(begin, example)


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
        outputs = [stack.enter_context(answer_files.CellFiles(output_dir, names, dataset)) for names in file_names]
        bar = stack.enter_context(progress.bar(len(windows.examples), "answers", "question"))
        answered = _last_of_each_id(windows.examples)
        for (first, stop), examples in _blocks_of_examples(windows, rows_of):
            best = partial.read(first, stop) or _no_best_positions(len(outputs))
            for example in examples:
                rows = rows_of[example]
                if example in answered:
                    own = {name: values[rows.start - first : rows.stop - first] for name, values in best.items()}
                    for output, answer in zip(outputs, decoder.answer(example, rows, own)):
                        output.add(windows.examples[example].id, answer)
                bar.update()


def _no_best_positions(num_cells):
    """Returns the best positions of zero windows, for data in which every passage is blank."""
    return {name: np.zeros([0, num_cells]) for name in ("start_nulls", "end_nulls")}


def _last_of_each_id(examples):
    """Returns the indices of the examples whose id does not occur again later."""
    return set({example.id: index for index, example in enumerate(examples)}.values())


def check_reader(inputs: Inputs):
    """Raises an `InputError` if the output folder has answers of a reader from elsewhere.

    A reader that was trained in the folder replaces its earlier answers.
    """
    options = inputs.options
    if inputs.trained or options.do_train or not options.do_predict:
        return
    checkpoint = inputs.checkpoint_sha256(options.init_checkpoint)
    if provenance.CellRecord(options.output_dir).checkpoints() - {checkpoint}:
        raise InputError(
            f"{options.output_dir} has the answers of another reader than {options.init_checkpoint}; a folder belongs "
            "to one reader: pass another --output_dir, or delete that one"
        )


def _cells_to_decode(inputs, record, fingerprint):
    """Returns the cells whose answers are missing or outdated; warns of the outdated ones."""
    cells, replaced = [], {}
    for cell in inputs.cells:
        names = inputs.file_names(cell)
        reason = record.why_not_done(cell.name, names.values(), fingerprint)
        if reason:
            replaced.setdefault(reason, []).append(names["predictions"])
        if reason is not None:
            cells.append(cell)
    for reason, names in replaced.items():
        more = f" and {len(names) - 1} more" if names[1:] else ""
        warn(f"decoding again: {names[0]}{more} ({reason})")
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


def predict(inputs: Inputs, windows: Windows, trained: Optional[str], handler: SignalHandler) -> List[str]:
    """Answers the questions of `windows` in every cell that the output folder lacks.

    Args:
      trained: checkpoint to predict with; None for --init_checkpoint.

    Returns:
      The names of the files written, none by a shard.

    Raises:
      Stopped: a signal arrived; partial results are written first.
    """
    options, folder = inputs.options, inputs.options.output_dir
    fingerprint = inputs.fingerprint("predict_file", _DECODING_FLAGS, trained or options.init_checkpoint)
    record = provenance.CellRecord(folder)
    cells = _cells_to_decode(inputs, record, fingerprint)
    if not cells:
        return []
    memory.check_grid(inputs, windows, cells)
    analysis = forward_pass.Analysis(
        "forward pass", "decoding", cells, fingerprint, _model_fn(inputs, cells), partial_results.PartialResults
    )
    names = {cell: inputs.file_names(cell) for cell in cells}
    with forward_pass.results_of(analysis, inputs, windows, trained, handler) as best:
        if best is None:
            return []
        decoder = make_decoder(inputs, windows)
        decode(windows, best, decoder, inputs.dataset, folder, names.values())
        record.add({cell.name: list(names[cell].values()) for cell in cells}, fingerprint)
    return [name for cell in cells for name in names[cell].values()]


def _model_fn(inputs, cells):
    options = inputs.options
    return estimator.prediction_model_fn(
        inputs.config,
        inputs.dataset,
        cells,
        size=min(options.n_best_size, options.max_seq_length),
        init_checkpoint=options.init_checkpoint,
        trim_padding=options.trim_padding,
        use_tpu=options.use_tpu,
        precision_name=options.precision,
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
    others = [provenance.other_reader(ours, each) for each in prints]
    # Cells without a set of their own do not depend on a zones file.
    if len({each["zones_file"] for each in prints if "zones_file" in each}) > 1:
        others.append("zones_file")
    for other in dict.fromkeys(filter(None, others)):
        warn(
            f"scoring answers in {inputs.options.output_dir} that were decoded with another "
            f"{other}; decode the cells again with --do_predict"
        )


def files_to_score(inputs: Inputs) -> Dict[Cell, Dict[str, str]]:
    """Returns the names of the files of every cell, without n-best lists of other answers.

    A cell that is decoded alone leaves the n-best file that an earlier grid wrote for it.
    """
    record, names = provenance.CellRecord(inputs.options.output_dir), {}
    for cell in inputs.cells:
        names[cell] = inputs.file_names(cell)
        if len(inputs.cells) > 1 and not record.has_current(cell.name, names[cell]["nbest"]):
            warn(
                f"{names[cell]['nbest']} is not of the answers in {names[cell]['predictions']} and "
                "is not read; decode the grid again for the changes of log probability"
            )
            del names[cell]["nbest"]
    return names


def check_answer_files(inputs: Inputs) -> Dict[str, str]:
    """Raises an `InputError` if a file shared by several cells has another cell's answers.

    Returns {path: SHA-256} of the files that were checked.
    """
    record, hashes = provenance.CellRecord(inputs.options.output_dir), {}
    _warn_of_mixed_cells(inputs, record)
    for cell in inputs.cells:
        names = [name for what, name in inputs.file_names(cell).items() if what != "nbest"]
        hashes.update(record.check_together(cell.name, names))
    return hashes
