# SPDX-License-Identifier: Apache-2.0
"""--do_attention: one forward pass that sums where each head attends, and its two tables.

The sums are added up in the order of the batches, so that a resumed run writes the same bytes. What
is kept between runs is their state after a batch; its size does not depend on the data.
"""

import collections
import io
import os
import time
from typing import List, Optional

import numpy as np
import tensorflow.compat.v1 as tf

from mrc.answers import attention_tables
from mrc.data.windows import FIRST_UNIQUE_ID, PADDING_WINDOW, Windows
from mrc.experiment import partial_results, prediction, provenance
from mrc.experiment.inputs import TEXT_FLAGS, Inputs
from mrc.experiment.tpu_options import explain_device_errors, tpu_options
from mrc.model import estimator
from mrc.util import aliases, files, progress
from mrc.util.errors import InputError
from mrc.util.signals import SignalHandler

_STATE_FILE = "attention.npz"


class Totals:
    """The sums over the batches so far, in a file of `folder`.

    Attributes:
      batches, windows: numbers of batches and windows in the sums.
      sums, counts: [L, N, 4, 6] and [4] float64 (see `attention_sums`), 0.0 before the first batch.
    """

    def __init__(self, folder):
        self._path, self._since = os.path.join(folder, _STATE_FILE), time.monotonic()
        self.batches, self.windows, self.sums, self.counts = 0, 0, 0.0, 0.0
        if tf.gfile.Exists(self._path):
            self._restore()

    def _restore(self):
        try:
            state = files.read_arrays(self._path, "unfinished work")
            progressed = [int(number) for number in state["progress"]]
            self.sums, self.counts = state["sums"], state["counts"]
            self.batches, self.windows = progressed
        except InputError:
            raise
        except Exception:  # a damaged file can raise almost anything
            tf.logging.warning("%s is damaged; its windows are computed again", self._path)
            self.batches, self.windows, self.sums, self.counts = 0, 0, 0.0, 0.0

    def add(self, sums, counts, windows):
        """Adds a batch of so many `windows`; writes the state when that is due."""
        self.sums = self.sums + np.sum(sums, axis=0, dtype=np.float64)
        self.counts = self.counts + np.sum(counts, axis=0, dtype=np.float64)
        self.batches, self.windows = self.batches + 1, self.windows + windows
        if time.monotonic() - self._since > partial_results.SECONDS_IN_PART:
            self.flush()

    def flush(self):
        """Writes the state."""
        buffer = io.BytesIO()
        np.savez(buffer, sums=self.sums, counts=self.counts, progress=[self.batches, self.windows])
        files.write(self._path, buffer.getvalue(), binary=True)
        self._since = time.monotonic()

    def means(self):
        """Returns masses [L, N, 4, 5] and entropies [L, N, 4], NaN for a group without tokens."""
        with np.errstate(invalid="ignore", divide="ignore"):
            means = self.sums / self.counts[:, np.newaxis]
        return means[..., :-1], means[..., -1]


def write(
    inputs: Inputs, windows: Windows, trained: Optional[str], handler: SignalHandler
) -> List[str]:
    """Writes both tables of the attention over `windows`, unless the output folder has them.

    Args:
      trained: checkpoint to run; None for --init_checkpoint.

    Returns:
      The names of the files written.

    Raises:
      Stopped: a signal arrived; the sums so far are written first.
    """
    options, folder, (cell,) = inputs.options, inputs.options.output_dir, inputs.cells
    fingerprint = inputs.fingerprint("predict_file", TEXT_FLAGS, trained or options.init_checkpoint)
    record, names = provenance.CellRecord(folder), attention_tables.file_names(cell)
    entry = provenance.attention_entry(cell.name)
    reason = record.why_not_done(entry, names, fingerprint)
    if reason is None:
        print(f"{names[0]} is in {folder} already and is not computed again")
        return []
    if reason:
        tf.logging.warning("computing again: %s (%s)", names[0], reason)
    if not len(windows):
        raise InputError(
            f"{options.predict_file} has only blank passages, so there is no attention to sum; "
            "pass questions about passages with words"
        )
    with handler.deferred():
        unfinished = provenance.unfinished_folder(
            folder,
            collections.OrderedDict(
                fingerprint, attention=True, predict_batch_size=options.predict_batch_size
            ),
            [cell],
        )
        totals = Totals(unfinished)
        if totals.windows:
            print(
                f"resuming the attention in {folder}: {totals.windows} of {len(windows)} windows "
                "are done",
                flush=True,
            )
        _forward(inputs, windows, totals, trained, handler)
    handler.check(f"{totals.windows} of {len(windows)} windows are done and kept in {folder}")
    tables = attention_tables.to_csv(*totals.means())
    for name, text in zip(names, tables):
        files.write(os.path.join(folder, name), text)
    record.add({entry: names}, fingerprint)
    partial_results.remove(unfinished)
    return names


def _forward(inputs, windows, totals, trained, handler):
    """Adds the windows of the batches that are not in `totals`."""
    options = inputs.options
    batches = prediction.batches_to_do(windows, (), options.predict_batch_size)[totals.batches :]
    if not batches:
        return
    model_fn = estimator.attention_model_fn(
        inputs.config, inputs.cells[0], options.init_checkpoint, options.use_tpu
    )
    reader = estimator.make_estimator(model_fn, tpu_options(options), options)
    input_fn = prediction.input_fn_of_run(inputs, windows, batches)
    path = aliases.plain_path(trained) if trained else None
    bar = progress.bar(len(windows), "attention", "window", initial=totals.windows)
    with explain_device_errors(options), bar:
        try:
            for found in reader.predict(
                input_fn, checkpoint_path=path, yield_single_examples=False
            ):
                rows = found["unique_ids"] - FIRST_UNIQUE_ID
                real = int((rows != PADDING_WINDOW).sum())
                totals.add(found["sums"], found["counts"], real)
                bar.update(real)
                if handler.received is not None:
                    break
        finally:
            totals.flush()
