# SPDX-License-Identifier: Apache-2.0
"""Compares the speed of text preparation with that of the plain implementation of the tests.

    python benchmarks/text_speed.py --data=dev.json --vocab_file=vocab.txt [--dataset=cmrc] \\
        [--questions=10000] [--reference_questions=500] [--cells=31]

"Text to windows" converts the data file to TFRecords; "logits to answers" converts arrays of random
logits to prediction and n-best files. With `--reference_questions`, the reference processes only
the first questions, and rates are compared. `tests/reference` checks that the results are equal.
"""

import argparse
import copy
import json
import os
import sys
import tempfile
import time

import numpy as np
import tensorflow.compat.v1 as tf

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [ROOT, os.path.join(ROOT, "tests", "reference")]

import reference

import tokenization
from mrc import datasets
from mrc.answers import decoding
from mrc.data import examples, squad_format, tfrecords, windows
from mrc.experiment import prediction

DATASETS = {"squad": datasets.SQUAD, "cmrc": datasets.CMRC2018}
FIELDS = ["unique_ids", "input_ids", "input_mask", "segment_ids", "input_span_mask"]
N_BEST, LONGEST_ANSWER = 20, 30
POOL = 64  # windows with logits of their own


def repeated(data, number):
    """Returns data with the first `number` questions, repeated with new ids; all once for 0."""
    paragraphs = [paragraph for article in data["data"] for paragraph in article["paragraphs"]]
    number = number or sum(len(paragraph["qas"]) for paragraph in paragraphs)
    taken, count = [], 0
    while count < number:
        for paragraph in copy.deepcopy(paragraphs):
            paragraph["qas"] = paragraph["qas"][: number - count]
            for question in paragraph["qas"]:
                question["id"], count = f"{question['id']}-{count}", count + 1
            taken.append(paragraph)
    return {"data": [{"paragraphs": [each for each in taken if each["qas"]]}]}


class Texts:
    """The conversions of the project and of the reference, with files in one folder."""

    def __init__(self, args, folder):
        self.dataset, self.chinese = DATASETS[args.dataset], args.dataset == "cmrc"
        self.lower, self.folder = self.dataset.do_lower_case, folder
        self.vocabulary = tokenization.read_vocabulary(args.vocab_file)
        self.sizes = reference.Sizes(args.max_seq_length, args.doc_stride, args.max_query_length)

    def path(self, name):
        return os.path.join(self.folder, name)

    def save(self, name, data):
        with open(self.path(name), "w", encoding="utf-8") as writer:
            json.dump(data, writer)
        return self.path(name)

    def fast_windows(self, path):
        """Converts a data file to fast.tf_record with the project's code; returns `Windows`."""
        passages = squad_format.read(path, keys=squad_format.PREDICTION)
        asked = examples.make_prediction_examples(self.dataset, passages, path)
        tokenizer = tokenization.WordPieceTokenizer(self.vocabulary, self.lower)
        made = windows.Windows(asked, tokenizer, *self.sizes)
        tfrecords.write(self.path("fast.tf_record"), made, FIELDS)
        return made

    def reference_windows(self, path):
        """Does the same with the reference; returns its examples and windows."""
        tokenizer = reference.Tokenizer(self.vocabulary.pieces, self.lower)
        with open(path, encoding="utf-8") as reader:
            asked = reference.examples(json.load(reader), self.chinese)
        made = reference.windows(asked, tokenizer, self.sizes, self.chinese)
        reference.write_records(self.path("reference.tf_record"), made, FIELDS)
        return asked, made

    def answer_files(self, way, cell):
        return {what: f"{way}_{what}_{cell}.json" for what in ("predictions", "nbest")}

    def fast_answers(self, made, logits):
        """Writes the answer files of all cells with the project's code."""
        decoder = decoding.Decoder(made, self.vocabulary, self.dataset, self.lower, N_BEST, LONGEST_ANSWER)
        names = [self.answer_files("fast", cell) for cell in range(logits.shape[1])]
        source = BestPositions(logits)
        prediction.decode(made, source, decoder, self.dataset, self.folder, names)

    def reference_answers(self, asked, made, logits):
        """Writes the answer files of all cells with the reference."""
        rules = reference.Rules(N_BEST, LONGEST_ANSWER)
        for cell in range(logits.shape[1]):
            names, pool = self.answer_files("reference", cell), logits[:, cell].tolist()
            reference.write_answers(
                asked,
                made,
                lambda row: pool[row % POOL],
                rules,
                self.chinese,
                self.lower,
                {what: self.path(name) for what, name in names.items()},
            )


class BestPositions:
    """Replaces the partial results: the best positions of logits [POOL, cells, 2, T]."""

    def __init__(self, logits):
        self._logits, self._session = logits, tf.Session(graph=tf.Graph())
        with self._session.graph.as_default():
            self._input = tf.placeholder(tf.float32)
            self._best = tf.nn.top_k(self._input, k=N_BEST)

    def read(self, first, stop):
        logits, best = self._logits[np.arange(first, stop) % POOL], {}
        values, places = self._session.run(self._best, {self._input: logits})
        for side, name in enumerate(("start", "end")):
            best[name + "_values"], best[name + "_places"] = values[:, :, side], places[:, :, side]
            best[name + "_nulls"] = logits[:, :, side, 0]
        return best


def timed(function, *arguments):
    """Returns (seconds, result)."""
    begun = time.monotonic()
    result = function(*arguments)
    return time.monotonic() - begun, result


def report(what, unit, ours, our_seconds, theirs, their_seconds):
    """Prints the rates of the project and the reference, and their ratio."""
    rate, their_rate = ours / our_seconds, theirs / their_seconds
    print(
        f"{what}: {ours} {unit} in {our_seconds:.2f} s, {rate:.0f}/s; reference {theirs} in "
        f"{their_seconds:.2f} s, {their_rate:.0f}/s; {rate / their_rate:.1f} times as fast",
        flush=True,
    )


def compare(texts, data, args):
    """Times both codes and prints their rates."""
    path = texts.save("data.json", repeated(data, args.questions))
    their_path = texts.save("sample.json", repeated(data, args.reference_questions or args.questions))
    seconds, made = timed(texts.fast_windows, path)
    their_seconds, (asked, their_made) = timed(texts.reference_windows, their_path)
    report("text to windows", "windows", len(made), seconds, len(their_made), their_seconds)
    if not args.cells:
        return
    logits = np.random.RandomState(0).standard_normal([POOL, args.cells, 2, args.max_seq_length])
    logits = logits.astype(np.float32)
    seconds, _ = timed(texts.fast_answers, made, logits)
    their_seconds, _ = timed(texts.reference_answers, asked, their_made, logits)
    ours, theirs = len(made.examples) * args.cells, len(asked) * args.cells
    report("logits to answers", "answers", ours, seconds, theirs, their_seconds)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="a data file in SQuAD format")
    parser.add_argument("--dataset", choices=sorted(DATASETS), default="squad")
    parser.add_argument("--vocab_file", required=True)
    for name, default, text in (
        ("questions", 0, "repeat or truncate the data to this number; 0: as it is"),
        ("reference_questions", 0, "questions for the reference; 0: all"),
        ("max_seq_length", 384, None),
        ("doc_stride", 128, None),
        ("max_query_length", 64, None),
        ("cells", 31, "cells for logits to answers; 0: none"),
    ):
        parser.add_argument("--" + name, type=int, default=default, help=text)
    args = parser.parse_args()
    tf.logging.set_verbosity(tf.logging.ERROR)
    with open(args.data, encoding="utf-8") as reader:
        data = json.load(reader)
    with tempfile.TemporaryDirectory() as folder:
        compare(Texts(args, folder), data, args)


if __name__ == "__main__":
    main()
