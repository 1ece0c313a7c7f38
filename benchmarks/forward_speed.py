# SPDX-License-Identifier: Apache-2.0
"""Times the forward pass: the plain graph, the fast one, and a grid of zones in every layer.

    python benchmarks/forward_speed.py --layers=12 --hidden=768 --heads=12 --batch=4 --tokens=512 \\
        [--real=170] [--grid=both [--mask_zone=p2q --mask_head=each]] [--share]

Random weights. Prints seconds (the median of interleaved rounds), ratios, the largest difference of
a logit and, with `--share`, the share of a (traced, slower) pass in which a matrix product runs.
`--grid` adds the grid with its ratio to as many baseline passes as it has cells.
"""

import argparse
import ctypes
import os
import statistics
import sys
import time

import numpy as np
import tensorflow.compat.v1 as tf

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import modeling
from mrc import cells as grid_cells
from mrc.model import bert_config, cpu_ops, span_model
from mrc.util import tensorflow_versions

VOCABULARY = 1000
QUESTION = 14


def make_features(batch, tokens, real):
    """Returns the arrays of a batch of windows with `real` tokens each."""
    ids = np.random.RandomState(0).randint(0, VOCABULARY, [batch, tokens]).astype(np.int32)
    place = np.arange(tokens)[None].repeat(batch, 0)
    mask = (place < real).astype(np.int32)
    return {
        "input_ids": ids * mask,
        "input_mask": mask,
        "segment_ids": mask * (place > QUESTION + 1),
        "unique_ids": np.arange(batch, dtype=np.int32),
    }


def return_freed_memory():
    """Resets the C library's defaults, which `cpu_ops.keep_freed_memory` changes."""
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(-3, 128 << 10)
    mallopt(-1, 128 << 10)


class Form:
    """One form of the model in a session of its own."""

    def __init__(self, config, features, cells, fast=False, trim_padding=False):
        self._graph, self._fast = tf.Graph(), fast
        with self._graph.as_default():
            tf.set_random_seed(1)
            ops = cpu_ops.make_ops() if fast else modeling.PLAIN_OPS
            model = span_model.SpanModel(modeling.Bert(config, ops=ops), masks_question=False)
            inputs = {
                name: tf.placeholder(tf.int32, array.shape) for name, array in features.items()
            }
            self._fetches = model.best_positions(inputs, cells, 20, trim_padding)
            self._feed = {inputs[name]: array for name, array in features.items()}
            self._session = tf.Session(config=tensorflow_versions.session_config())
            random = np.random.RandomState(1)
            for variable in tf.global_variables():
                value = random.normal(
                    0, 0.05, variable.shape.as_list()
                ) + variable.op.name.endswith("gamma")
                variable.load(value.astype(np.float32), self._session)
        self.result = self.run()
        self.times = []

    def run(self):
        return self._session.run(self._fetches, self._feed)

    def time(self):
        (cpu_ops.keep_freed_memory if self._fast else return_freed_memory)()
        begun = time.monotonic()
        self.run()
        self.times.append(time.monotonic() - begun)

    def share_of_products(self):
        """Returns the share of a pass in which at least one core computes a matrix product."""
        (cpu_ops.keep_freed_memory if self._fast else return_freed_memory)()
        metadata = tf.RunMetadata()
        self._session.run(
            self._fetches, self._feed, tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE), metadata
        )
        spans = [
            (
                node.all_start_micros + node.op_start_rel_micros,
                node.all_start_micros + node.op_end_rel_micros,
                "MatMul(" in node.timeline_label,
            )
            for device in metadata.step_stats.dev_stats
            for node in device.node_stats
        ]
        busy, done = 0, 0
        for start, stop, is_product in sorted(spans):
            if is_product:
                busy += max(0, stop - max(start, done))
                done = max(done, stop)
        return busy / float(max(stop for _, stop, _ in spans) - min(start for start, _, _ in spans))

    @property
    def seconds(self):
        return statistics.median(self.times)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in (
        ("layers", 6),
        ("hidden", 384),
        ("heads", 12),
        ("batch", 8),
        ("tokens", 384),
        ("rounds", 5),
    ):
        parser.add_argument("--" + name, type=int, default=default)
    parser.add_argument("--real", type=int, help="real tokens in a window (default: all)")
    parser.add_argument(
        "--grid",
        choices=["padded", "trimmed", "both"],
        help="time the grid, with --trim_padding or without",
    )
    parser.add_argument("--mask_zone", default="all,q2,q2p,p2q,p2", help="zones of the grid")
    parser.add_argument(
        "--mask_head", help="heads of the grid, such as each (default: all at once)"
    )
    parser.add_argument("--share", action="store_true", help="print the share of matrix products")
    args = parser.parse_args()
    config = bert_config.make(
        dict(
            vocab_size=VOCABULARY,
            hidden_size=args.hidden,
            num_hidden_layers=args.layers,
            num_attention_heads=args.heads,
            intermediate_size=4 * args.hidden,
            max_position_embeddings=512,
            type_vocab_size=2,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            hidden_act="gelu",
            initializer_range=0.02,
        )
    )
    features = make_features(args.batch, args.tokens, args.real or args.tokens)
    baseline = [grid_cells.BASELINE]
    plain = Form(config, features, baseline)
    fast = Form(config, features, baseline, fast=True)
    names, grids = [], []
    if args.grid:
        cells = grid_cells.read_cells(
            args.mask_zone, "each", args.layers, args.mask_head, args.heads
        )
        names = [name for name in ("padded", "trimmed") if args.grid in (name, "both")]
        grids = [
            Form(config, features, cells, fast=True, trim_padding=name == "trimmed")
            for name in names
        ]
    for _ in range(args.rounds):
        for form in [plain, fast] + grids + [fast] * len(grids):
            form.time()
    print(
        "plain graph {:.3f} s; fast {:.3f} s, {:.2f} times as fast; largest difference of a best "
        "logit {:.1e}".format(
            plain.seconds,
            fast.seconds,
            plain.seconds / fast.seconds,
            np.abs(plain.result["start_values"] - fast.result["start_values"]).max(),
        )
    )
    for name, form in zip(names, grids):
        print(
            "grid of %d cells, %s: %.3f s, %.3f of as many baseline passes"
            % (len(cells), name, form.seconds, form.seconds / (len(cells) * fast.seconds))
        )
    if args.share:
        for name, form in zip(["plain graph", "fast"] + names, [plain, fast] + grids):
            print(
                f"{name}: a matrix product runs in {100 * form.share_of_products():.0f}% of the "
                "time"
            )


if __name__ == "__main__":
    main()
