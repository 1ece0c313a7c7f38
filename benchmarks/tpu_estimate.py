# SPDX-License-Identifier: Apache-2.0
"""Estimates the study's time on a Cloud TPU and the memory of the grid's batch on one of its cores.

Only matrix products are counted: they dominate, and a TPU overlaps the rest with them. Every
assumption is a flag, to be replaced by measured values.
"""

import argparse
import os
import sys
from typing import NamedTuple

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from mrc.util import check_environment  # noqa: F401, first: it reports missing packages

# isort: split
from mrc.util import errors
from mrc.util.errors import InputError


class Shape(NamedTuple):
    """The sizes of a BERT, and the number of tokens in a window."""

    vocab: int
    hidden: int
    layers: int
    heads: int
    intermediate: int
    segments: int
    tokens: int


class Study(NamedTuple):
    """A dataset: vocabulary size of its BERT, and numbers of windows in training and prediction."""

    name: str
    vocab: int
    training_windows: float
    prediction_windows: int


class Tpu(NamedTuple):
    """A TPU: published bfloat16 peak of all cores together, and the memory of one core."""

    name: str
    teraflops: float
    gibibytes: int


# https://cloud.google.com/tpu/docs/system-architecture-tpu-vm
TPUS = (Tpu("v2-8", 180.0, 8), Tpu("v3-8", 420.0, 16))
CORES = 8
FLOAT = 4  # bytes
GIBIBYTE = 2.0**30
TERA = 1e12
_MOST = 1e12  # maximum of every flag


def layer_parts(shape):
    """Returns (shared, own) floating-point operations of a layer for a window.

    `shared` are the projections and scores, which are equal for all masks of one input; `own` is
    the rest of the layer.
    """
    tokens, hidden = shape.tokens, shape.hidden
    scores = context = 2 * tokens * tokens * hidden
    dense = 2 * tokens * hidden * hidden
    return 3 * dense + scores, context + dense + 2 * (2 * tokens * hidden * shape.intermediate)


def embedding_flops(shape):
    """Returns the operations of a window's embedding look-up by one-hot products."""
    return 2 * shape.tokens * (shape.vocab + shape.segments) * shape.hidden


def head_flops(shape):
    """Returns the operations of the span head on a window."""
    return 2 * shape.tokens * shape.hidden * 2


def grid_passes(layers, zones):
    """Returns (shared, own): how often the two parts of a layer are computed for the whole grid.

    The grid has a cell per zone and layer, and the baseline.
    """
    return layers + zones * layers * (layers - 1) // 2, layers + zones * layers * (layers + 1) // 2


def grid_flops(shape, zones):
    """Returns the operations of the grid on a window."""
    parts, passes = layer_parts(shape), grid_passes(shape.layers, zones)
    cells = 1 + zones * shape.layers
    return (
        embedding_flops(shape)
        + cells * head_flops(shape)
        + sum(part * times for part, times in zip(parts, passes))
    )


def training_flops(shape):
    """Returns the operations of a training step on a window.

    The gradient of a product is two more products; that of a look-up is one, because one-hot
    vectors need no gradient.
    """
    return 2 * embedding_flops(shape) + 3 * (
        shape.layers * sum(layer_parts(shape)) + head_flops(shape)
    )


def count_weights(shape):
    """Returns the number of weights of the reader (with the pooler, which checkpoints carry)."""
    hidden, wide = shape.hidden, shape.intermediate
    layer = 4 * (hidden * hidden + hidden) + 2 * hidden * wide + wide + hidden + 4 * hidden
    embeddings = (shape.vocab + shape.segments + shape.tokens) * hidden + 2 * hidden
    return embeddings + shape.layers * layer + hidden * hidden + hidden + 2 * hidden + 2


def grid_bytes(shape, zones):
    """Returns the peak bytes per window of the grid's batch, in float32.

    The peak is either the embedding look-up (one-hot vectors and their products), or the hidden
    states of all cells and one layer: its input, query, key and values, scores, masked scores and
    probabilities, the feed-forward layer before and after the activation, and the bias of every
    zone.
    """
    state = shape.tokens * shape.hidden * FLOAT
    square = shape.tokens * shape.tokens * FLOAT
    looking_up = shape.tokens * shape.vocab * FLOAT + 2 * state
    cells = 1 + zones * shape.layers
    last_layer = (
        (cells + 4) * state
        + (3 * shape.heads + zones) * square
        + 2 * shape.tokens * shape.intermediate * FLOAT
    )
    return max(looking_up, last_layer)


def core_bytes(shape, zones, windows, overhead):
    """Returns the bytes on a core; `overhead` is the factor that layouts and copies add."""
    return count_weights(shape) * FLOAT + windows * grid_bytes(shape, zones) * overhead


def largest_batch(shape, zones, gibibytes, overhead):
    """Returns the largest batch, over all cores, whose windows fit into the memory of a core."""
    free = gibibytes * GIBIBYTE - count_weights(shape) * FLOAT
    return CORES * max(0, int(free // (grid_bytes(shape, zones) * overhead)))


def rows(args):
    """Yields the rows of the table.

    Each is (TPU, data, hours of training, minutes of the grid, GiB of its batch on a core, GiB of a
    core, largest batch).
    """
    studies = (
        Study("SQuAD 1.1", args.squad_vocab, args.squad_train * args.squad_epochs, args.squad_dev),
        Study("CMRC 2018", args.cmrc_vocab, args.cmrc_train * args.cmrc_epochs, args.cmrc_dev),
    )
    for tpu, peak in zip(TPUS, (args.v2_teraflops, args.v3_teraflops)):
        speed = peak * TERA * args.efficiency / args.float32_passes
        for study in studies:
            shape = Shape(
                study.vocab, args.hidden, args.layers, args.heads, args.intermediate, 2, args.tokens
            )
            memory = core_bytes(shape, args.zones, args.batch // CORES, args.memory_overhead)
            yield (
                tpu.name,
                study.name,
                study.training_windows * training_flops(shape) / speed / 3600,
                study.prediction_windows * grid_flops(shape, args.zones) / speed / 60,
                memory / GIBIBYTE,
                tpu.gibibytes,
                largest_batch(shape, args.zones, tpu.gibibytes, args.memory_overhead),
            )


def _positive(kind):
    def parse(text):
        value = kind(text)
        if not 0 < value <= _MOST:
            raise argparse.ArgumentTypeError(f"{text} is not above 0 and at most {_MOST:g}")
        return value

    parse.__name__ = kind.__name__  # used in the messages of argparse
    return parse


def _parse_arguments():
    parser = errors.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )

    def add(name, default, what):
        parser.add_argument("--" + name, type=_positive(type(default)), default=default, help=what)

    add("v2_teraflops", TPUS[0].teraflops, "published peak of a v2-8, 10^12 operations a second")
    add("v3_teraflops", TPUS[1].teraflops, "published peak of a v3-8")
    add("efficiency", 0.35, "achieved share of the peak")
    add(
        "float32_passes",
        1.0,
        "bfloat16 products per float32 product; 1 is the default of XLA",
    )
    add("memory_overhead", 1.3, "factor that layouts and copies add to the memory of activations")
    add("tokens", 512, "--max_seq_length")
    add("batch", 32, "--predict_batch_size")
    add("hidden", 768, "hidden size")
    add("layers", 12, "layers")
    add("heads", 12, "attention heads")
    add("intermediate", 3072, "width of the feed-forward layer")
    add("zones", 5, "zones, each masked in each layer, beside the baseline")
    add("squad_vocab", 28996, "vocabulary of the English BERT (cased)")
    add(
        "squad_train",
        87599,
        "SQuAD 1.1: windows of an epoch of training; the study's steps count questions",
    )
    add("squad_epochs", 3.0, "SQuAD 1.1: epochs")
    add(
        "squad_dev",
        10800,
        "SQuAD 1.1: windows of the dev set (10570 questions; the windows are an estimate)",
    )
    add("cmrc_vocab", 21128, "vocabulary of the Chinese BERT")
    add(
        "cmrc_train",
        15000,
        "CMRC 2018: windows of an epoch (10142 questions; the windows are an estimate)",
    )
    add("cmrc_epochs", 2.0, "CMRC 2018: epochs")
    add(
        "cmrc_dev",
        4800,
        "CMRC 2018: windows of the dev set (3219 questions; the windows are an estimate)",
    )
    args = parser.parse_args()
    if args.batch % CORES:
        raise InputError(
            "--batch=%d is not a multiple of the %d cores of a TPU; use %d or another multiple"
            % (args.batch, CORES, CORES * (args.batch // CORES + 1))
        )
    return args


def main():
    args = _parse_arguments()
    print(
        "| TPU | data | training | grid of %d cells | batch of %d on a core | largest batch |"
        % (1 + args.zones * args.layers, args.batch)
    )
    print("|---|---|---|---|---|---|")
    for row in rows(args):
        print("| %s | %s | %.2f hours | %.0f minutes | %.1f of %d GiB | %d |" % row)


if __name__ == "__main__":
    with errors.exit_with_message():
        main()
