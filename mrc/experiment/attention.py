# SPDX-License-Identifier: Apache-2.0
"""--do_attention: one forward pass that sums where each head attends, and its two tables."""

import collections
import os
from typing import List, NamedTuple, Optional

import numpy as np
import tensorflow.compat.v1 as tf

from mrc.answers import attention_tables
from mrc.data.windows import PADDING_WINDOW, Windows
from mrc.experiment import forward_pass, memory, partial_results, provenance
from mrc.experiment.inputs import TEXT_FLAGS, Inputs
from mrc.model import estimator
from mrc.util import files
from mrc.util.errors import InputError
from mrc.util.signals import SignalHandler

_STATE_FILE = "attention.npz"


class _BatchSums(NamedTuple):
    """The windows of a batch, and over them the sums [L, N, 4, 6] and counts [4]."""

    windows: int
    sums: np.ndarray
    counts: np.ndarray


class Totals(partial_results.Results):
    """The sums over the batches so far, in their order: a resumed run writes the same bytes.

    The size of their file does not depend on the data. A shard writes the sums of each batch
    instead, and the run without --shard adds them in that order.
    """

    def __init__(self, work):
        super().__init__(work)
        self._batches, self._windows, self._sums, self._counts = 0, 0, 0.0, 0.0
        exists = tf.gfile.Exists(self._path(_STATE_FILE))
        state = self._read(_STATE_FILE) if exists else None
        if state is not None:
            self._sums, self._counts = state["sums"], state["counts"]
            self._batches, self._windows = state["progress"].tolist()
        self._later = {}  # {number of a batch after those in the sums: its `_BatchSums`}
        self._pending = []  # numbers of the batches that a shard has not written yet
        for _, part in self._read_parts():
            for number, *batch in zip(part["batches"].tolist(), *map(part.get, _BatchSums._fields)):
                if number >= self._batches:
                    self._later[number] = _BatchSums(*batch)

    def __len__(self):
        return self._windows + int(sum(batch.windows for batch in self._later.values()))

    def missing(self, batches):
        """Returns the batches, of the shard's own, that have no sums yet."""
        self._number_of = {batch[0]: number for number, batch in enumerate(batches)}
        self._add_later()
        return [
            batches[number]
            for number in self._work.own(range(len(batches)))
            if number >= self._batches and number not in self._later
        ]

    def _add_later(self):
        """Adds the batches that follow those in the sums."""
        while not self._work.shard and self._batches in self._later:
            batch = self._later.pop(self._batches)
            self._sums, self._counts = self._sums + batch.sums, self._counts + batch.counts
            self._windows += int(batch.windows)
            self._batches += 1

    def add(self, rows, batch):
        """Adds a batch of windows, {"sums": [B, L, N, 4, 6], "counts": [B, 4]}."""
        number = self._number_of[int(rows[0])]
        self._later[number] = added = _BatchSums(
            (np.asarray(rows) != PADDING_WINDOW).sum(),
            *(np.sum(batch[name], axis=0, dtype=np.float64) for name in ("sums", "counts")),
        )
        self._pending.append(number)
        self._add_later()
        self._flush_if_due(len(self._pending) * added.sums.nbytes if self._work.shard else 0)

    def flush(self):
        """Writes the state, if there is any; in a shard, the batches added since the last part."""
        if self._work.shard:
            if self._pending:
                columns = zip(*(self._later[number] for number in self._pending))
                arrays = dict(zip(_BatchSums._fields, map(np.stack, columns)))
                self._write_part(dict(arrays, batches=self._pending))
            self._pending = []
        elif self._batches:
            progress = [self._batches, self._windows]
            self._write(_STATE_FILE, dict(sums=self._sums, counts=self._counts, progress=progress))

    def means(self):
        """Returns masses [L, N, 4, 5] and entropies [L, N, 4], NaN for a group without tokens."""
        with np.errstate(invalid="ignore", divide="ignore"):
            means = self._sums / self._counts[:, np.newaxis]
        return means[..., :-1], means[..., -1]


def _tokens_by_group(windows):
    """Returns the tokens of each query group and of S sets in each window, [W, 4 + S]."""
    questions = windows.passage_start(np.arange(len(windows))) - 2  # after [CLS] and [SEP]
    ones = np.ones_like(questions)
    counts = np.stack([questions, windows.span_lengths, ones, 2 * ones], axis=1)
    if windows.token_sets is None:
        return counts
    return np.concatenate([counts, windows.token_sets.counts()], axis=1)


def write(inputs: Inputs, windows: Windows, trained: Optional[str], handler: SignalHandler) -> List[str]:
    """Writes both tables of the attention over `windows`, unless the output folder has them.

    Args:
      trained: checkpoint to run; None for --init_checkpoint.

    Returns:
      The names of the files written, none by a shard.

    Raises:
      Stopped: a signal arrived; the sums so far are written first.
    """
    options, folder, (cell,) = inputs.options, inputs.options.output_dir, inputs.cells
    fingerprint = inputs.fingerprint("predict_file", TEXT_FLAGS, trained or options.init_checkpoint)
    if inputs.set_spans:
        fingerprint["sets"] = sorted(inputs.set_spans)
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
    analysis = forward_pass.Analysis(
        "attention",
        "attention",
        [cell],
        collections.OrderedDict(
            fingerprint,
            attention=True,
            predict_batch_size=memory.batch_size(options, [cell], len(windows)),  # shards share batches
        ),
        estimator.attention_model_fn(inputs.config, cell, options.init_checkpoint, options.use_tpu),
        Totals,
    )
    uniform = attention_tables.uniform_attention(_tokens_by_group(windows))
    with forward_pass.results_of(analysis, inputs, windows, trained, handler) as totals:
        if totals is None:
            return []
        tables = attention_tables.to_csv(*totals.means(), uniform, sorted(inputs.set_spans))
        for name, text in zip(names, tables):
            files.write(os.path.join(folder, name), text)
        record.add({entry: names}, fingerprint)
    return names
