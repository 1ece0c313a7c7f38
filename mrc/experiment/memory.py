# SPDX-License-Identifier: Apache-2.0
"""Batch sizes of prediction, and whether a run fits into the memory of this machine."""

import math
import os
import resource

from mrc.model.estimator import runs_on_cpu
from mrc.util.errors import InputError, warn

_BYTES = 4  # of a float32
_GIB = 2**30
_MOST_ON_CPU = 512  # cells x windows of a batch
_COST_OF_BATCH_ON_CPU = 0.35  # besides that of its windows, in windows; estimated from measured times
_SAFE_BYTES = 4 * _GIB  # of address space, which the libraries of TensorFlow take for themselves


def grid_bytes(num_cells: int, batch_size: int, length: int, hidden_size: int) -> int:
    """Returns the bytes of the hidden states of a grid.

    TensorFlow runs a graph breadth first, so the states of all cells are in memory together: one
    [B, T, H] of float32 for each cell.

        >>> grid_bytes(num_cells=61, batch_size=32, length=512, hidden_size=768) / 2**30
        2.859375
    """
    return num_cells * batch_size * length * hidden_size * _BYTES


def machine_bytes() -> int:
    """Returns the memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def warn_of_limit():
    """Warns of a limit of the address space at which TensorFlow may abort."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY and limit < _SAFE_BYTES:
        warn(
            f"the limit of virtual memory (ulimit -v) is {limit / _GIB:.1f} GiB, where TensorFlow "
            "may abort; if it does, raise the limit"
        )


def batch_size(options, cells, num_windows: int) -> int:
    """Returns the number of windows in a batch of prediction: --predict_batch_size or fewer.

    On a CPU a batch with many cells is cut, so that progress shows and a killed run loses little.
    Larger ones are no faster there. Except on a TPU, whose cores share a batch, the size is then
    chosen to leave few empty windows in the last batch: 9 windows are 3 batches of 3 on a CPU, and
    5 and 4 on a GPU, where fewer batches matter more, rather than 8 and 1 with 7 empty ones.
    """
    most = cost_of_batch = options.predict_batch_size
    if options.use_tpu:
        return most
    if runs_on_cpu(options.use_tpu):
        most, cost_of_batch = max(1, min(most, _MOST_ON_CPU // len(cells))), _COST_OF_BATCH_ON_CPU
    return min(range(most, 0, -1), key=lambda size: math.ceil(num_windows / size) * (size + cost_of_batch))


def check_grid(inputs, windows, cells):
    """Raises an `InputError` if `cells` cannot be decoded in one forward pass on this machine.

    Args:
      inputs: `inputs.Inputs`; a TPU is not checked, as its memory is not this machine's.
      windows: `windows.Windows`; with --trim_padding batches are as long as their longest window.
      cells: the cells to decode.
    """
    options = inputs.options
    if options.use_tpu or not len(windows):
        return
    length = int(windows.lengths().max()) if options.trim_padding else options.max_seq_length
    size = batch_size(options, cells, len(windows))
    one = grid_bytes(1, size, length, inputs.config.hidden_size)
    needed, available = one * len(cells), machine_bytes()
    if needed > available:
        # Half of the memory, as a layer needs some besides its outputs.
        smaller = size * available // (2 * needed)
        most_cells = max(available // (2 * one), 1)
        remedy = f"pass --predict_batch_size={smaller}" if smaller else "use a smaller batch"
        raise InputError(
            f"a grid of {len(cells)} cells with --predict_batch_size={size} needs {needed / _GIB:.1f} GiB of memory "
            f"for hidden states, but this machine has {available / _GIB:.1f} GiB; {remedy}, or decode at most "
            f"{most_cells} cells with each command: cells that are done are kept"
        )
