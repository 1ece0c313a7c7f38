# SPDX-License-Identifier: Apache-2.0
"""Saves a model's logits under every zone in every layer, for `text_speed.py --logits`.

    python benchmarks/save_logits.py --data=dev.json --vocab_file=... --bert_config_file=... \\
        --init_checkpoint=... --questions=150 --output=logits.npz [--dataset=cmrc]

The .npz holds start_logits and end_logits, [windows, cells, T] each, of the data's first questions.
"""

import argparse
import os
import sys

import numpy as np
import tensorflow.compat.v1 as tf

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import attention_mask
import modeling
import tokenization
from mrc import datasets
from mrc.data import examples, squad_format, windows
from mrc.model import bert_config, cpu_ops, span_model
from mrc.util import tensorflow_versions

ZONES = "all,q2,q2p,p2q,p2"
INPUTS = ("input_ids", "input_mask", "segment_ids", "input_span_mask")


def make_windows(args, dataset):
    tokenizer = tokenization.WordPieceTokenizer(
        tokenization.read_vocabulary(args.vocab_file), dataset.do_lower_case
    )
    found = examples.make_prediction_examples(
        dataset, squad_format.read(args.data, keys=squad_format.PREDICTION), args.data
    )
    return windows.Windows(
        found[: args.questions], tokenizer, args.max_seq_length, args.doc_stride, 64
    )


def unsorted(values, places):
    """Returns all scores in the order of their places, from the sorted ones."""
    logits = np.empty_like(values)
    np.put_along_axis(logits, places, values, axis=-1)
    return logits


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("data", "vocab_file", "bert_config_file", "init_checkpoint", "output"):
        parser.add_argument("--" + name, required=True)
    parser.add_argument("--dataset", choices=["squad", "cmrc"], default="squad")
    for name, default in (
        ("questions", 150),
        ("max_seq_length", 384),
        ("doc_stride", 128),
        ("batch_size", 8),
    ):
        parser.add_argument("--" + name, type=int, default=default)
    args = parser.parse_args()
    dataset = {"squad": datasets.SQUAD, "cmrc": datasets.CMRC2018}[args.dataset]
    config, found = bert_config.read(args.bert_config_file), make_windows(args, dataset)
    cells = attention_mask.read_cells(ZONES, "each", config.num_hidden_layers)
    inputs = {
        name: tf.placeholder(tf.int32, [args.batch_size, args.max_seq_length]) for name in INPUTS
    }
    model = span_model.SpanModel(
        modeling.Bert(config, **cpu_ops.make_ops()), dataset.masks_question
    )
    best = model.best_positions(dict(inputs, unique_ids=tf.constant(0)), cells, args.max_seq_length)
    logits = {"start": [], "end": []}
    with tf.Session(config=tensorflow_versions.session_config()) as session:
        tf.train.Saver().restore(session, args.init_checkpoint)
        for start in range(0, len(found), args.batch_size):
            rows = list(range(start, min(start + args.batch_size, len(found))))
            batch = found.batch(rows + [windows.PADDING_WINDOW] * (args.batch_size - len(rows)))
            values = session.run(best, {inputs[name]: batch[name] for name in INPUTS})
            for side in logits:
                logits[side].append(
                    unsorted(values[side + "_values"], values[side + "_places"])[: len(rows)]
                )
    np.savez(
        args.output, **{side + "_logits": np.concatenate(parts) for side, parts in logits.items()}
    )


if __name__ == "__main__":
    main()
