# SPDX-License-Identifier: Apache-2.0
"""Compares tokenization and decoding with the reference of the tests: speed and equality.

    python benchmarks/text_speed.py --data=dev.json --vocab_file=vocab.txt [--dataset=cmrc] \\
        [--questions=10000] [--reference_questions=500] [--cells=31] [--training]
    python benchmarks/text_speed.py --data=dev.json --vocab_file=vocab.txt --lengths

"Text to windows" converts the data file to TFRecords; "logits to answers" converts arrays of logits
to prediction and n-best files. With `--reference_questions`, the reference processes only the first
questions, and rates are compared.
"""

import argparse
import contextlib
import copy
import json
import math
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
from mrc.experiment import prediction, training

DATASETS = {"squad": datasets.SQUAD, "cmrc": datasets.CMRC2018}
PREDICTION_FIELDS = ["unique_ids", "input_ids", "input_mask", "segment_ids", "input_span_mask"]
LENGTHS = (500, 1000, 2500, 5000, 10000, 25000, 50000)
LONGEST_FOR_REFERENCE = 5000
ROUNDS = 3  # of each length; the fastest counts


class Stopwatch:
    """Counts the seconds inside its context, except those inside `paused`."""

    seconds = 0.0

    def __enter__(self):
        self._since = time.monotonic()
        return self

    def __exit__(self, *exception):
        self.seconds += time.monotonic() - self._since

    @contextlib.contextmanager
    def paused(self):
        self.__exit__()
        yield
        self.__enter__()


def count_questions(data):
    return sum(
        len(paragraph["qas"]) for article in data["data"] for paragraph in article["paragraphs"]
    )


def repeated(data, questions):
    """Returns the data repeated with new ids up to the given number of questions."""
    articles, left = [], questions
    for number in range(int(math.ceil(questions / count_questions(data)))):
        for article in copy.deepcopy(data["data"]):
            for paragraph in article["paragraphs"]:
                paragraph["qas"] = paragraph["qas"][:left]
                left -= len(paragraph["qas"])
                for question in paragraph["qas"]:
                    question["id"] = "%s-%d" % (question["id"], number)
            articles.append(article)
    for article in articles:
        article["paragraphs"] = [
            paragraph for paragraph in article["paragraphs"] if paragraph["qas"]
        ]
    return {"data": articles}


class Task:
    """The inputs of the project's code and of the reference."""

    def __init__(self, args, folder):
        self.dataset, self.chinese = DATASETS[args.dataset], args.dataset == "cmrc"
        self.vocab_file, self.folder, self.training = args.vocab_file, folder, args.training
        self.lower = (
            self.dataset.do_lower_case if args.do_lower_case is None else args.do_lower_case
        )
        self.sizes = reference.Sizes(args.max_seq_length, args.doc_stride, args.max_query_length)
        self.fields = PREDICTION_FIELDS
        if self.training:
            self.fields = PREDICTION_FIELDS[1 : 4 + self.chinese] + [
                "start_positions",
                "end_positions",
            ]

    def path(self, name):
        return os.path.join(self.folder, name)

    def save(self, name, data):
        with open(self.path(name), "w", encoding="utf-8") as writer:
            json.dump(data, writer)
        return self.path(name)


def fast_windows(task, path, records_path):
    """Converts a data file to TFRecords with the project's code; returns the `Windows`."""
    tokenizer = tokenization.WordPieceTokenizer(
        tokenization.read_vocabulary(task.vocab_file), task.lower
    )
    keys = squad_format.TRAINING if task.training else squad_format.PREDICTION
    passages = squad_format.read(path, keys=keys)
    if task.training:
        learned = examples.make_training_examples(task.dataset, passages, path)
        found = windows.Windows(training.shuffle(learned, seed=12345), tokenizer, *task.sizes)
        tfrecords.write(
            records_path,
            found,
            task.fields[:-2],
            found.answer_positions(task.dataset.refines_answers),
        )
        return found
    found = windows.Windows(
        examples.make_prediction_examples(task.dataset, passages, path), tokenizer, *task.sizes
    )
    tfrecords.write(records_path, found, task.fields)
    return found


def reference_windows(task, path, records_path):
    """Converts a data file with the reference; returns its examples and windows."""
    with open(task.vocab_file, encoding="utf-8") as reader:
        tokenizer = reference.Tokenizer(reader.read().split("\n")[:-1], task.lower)
    with open(path, encoding="utf-8") as reader:
        found = reference.examples(json.load(reader), task.chinese, task.training)
    all_windows = reference.windows(found, tokenizer, task.sizes, task.chinese)
    reference.write_records(records_path, all_windows, task.fields)
    return found, all_windows


def parsed(path):
    for record in tf.python_io.tf_record_iterator(path):
        yield {
            name: feature.int64_list.value[:]
            for name, feature in tf.train.Example.FromString(record).features.feature.items()
        }


def check_records(task, compared):
    """Compares the first `compared` records of the project and the reference."""
    theirs = parsed(task.path("reference.tf_record"))
    ours = parsed(task.path("fast.tf_record"))
    different = sum(mine != other for _, mine, other in zip(range(compared), ours, theirs))
    print("  %d records compared, %d differ" % (compared, different))
    return not different


class Logits:
    """Random logits [cells, 2, T] of each window, seeded by its index."""

    def __init__(self, cells, length):
        self.cells, self._length = cells, length

    def __call__(self, row):
        values = np.random.RandomState(row).standard_normal([self.cells, 2, self._length])
        return values.astype(np.float32)


class BestPositions:
    """Replaces the partial results: best positions of blocks of windows, taken from logits."""

    def __init__(self, logits, size, watch):
        self._logits, self._watch = logits, watch
        self._session = tf.Session(graph=tf.Graph())
        with self._session.graph.as_default():
            self._input = tf.placeholder(tf.float32)
            self._best = tf.nn.top_k(self._input, k=size)

    def read(self, first, stop):
        with self._watch.paused():
            logits = np.stack([self._logits(row) for row in range(first, stop)])
        values, places = self._session.run(self._best, {self._input: logits})
        found = {}
        for side, name in enumerate(("start", "end")):
            found[name + "_values"], found[name + "_places"] = (
                values[:, :, side],
                places[:, :, side],
            )
            found[name + "_nulls"] = logits[:, :, side, 0]
        return found


def cell_files(task, way, cell):
    return {what: "%s_%s_%d.json" % (way, what, cell) for what in ("predictions", "nbest")}


def fast_answers(task, found, logits):
    """Writes the answer files of all cells with the project's code; returns seconds."""
    decoder = decoding.Decoder(
        found, tokenization.read_vocabulary(task.vocab_file), task.dataset, task.lower, 20, 30
    )
    watch = Stopwatch()
    source = BestPositions(logits, 20, watch)
    names = [cell_files(task, "fast", cell) for cell in range(logits.cells)]
    with watch:
        prediction.decode(found, source, decoder, task.dataset, task.folder, names)
    return watch.seconds


def reference_answers(task, found, all_windows, logits):
    """Writes the answer files of all cells with the reference; returns seconds."""
    watch = Stopwatch()
    for cell in range(logits.cells):
        paths = {
            what: task.path(name) for what, name in cell_files(task, "reference", cell).items()
        }

        def logits_of(row):
            with watch.paused():
                return logits(row)[cell].tolist()

        with watch:
            reference.write_answers(
                found, all_windows, logits_of, reference.Rules(), task.chinese, task.lower, paths
            )
    return watch.seconds


def _members(path, count):
    with open(path, encoding="utf-8") as reader:
        return list(json.load(reader).items())[:count]


def check_answers(task, cells, compared, whole):
    """Compares the answer files, byte by byte if both have all questions, else common members."""
    different = 0
    for cell in range(cells):
        for what in ("predictions", "nbest"):
            ours, theirs = (
                task.path(cell_files(task, way, cell)[what]) for way in ("fast", "reference")
            )
            if whole:
                with open(ours, "rb") as mine, open(theirs, "rb") as other:
                    different += mine.read() != other.read()
            else:
                different += _members(ours, compared) != _members(theirs, compared)
    print(
        "  %d files of %s compared, %d differ"
        % (2 * cells, "all questions" if whole else "the first %d questions" % compared, different)
    )
    return not different


def report(what, unit, ours, our_seconds, theirs, their_seconds):
    """Prints the rates of the project and the reference, and their ratio."""
    rate, their_rate = ours / our_seconds, theirs / their_seconds
    print(
        f"{what}: {ours} {unit} in {our_seconds:.2f} s, {rate:.0f}/s; reference {theirs} in "
        f"{their_seconds:.2f} s, {their_rate:.0f}/s; {rate / their_rate:.1f} times as fast",
        flush=True,
    )


def timed(function, *arguments):
    """Returns (seconds, result)."""
    begun = time.monotonic()
    result = function(*arguments)
    return time.monotonic() - begun, result


def compare(task, data, args):
    """Times and compares both codes on the questions of `data`; returns whether they agree."""
    questions = args.questions or count_questions(data)
    sample = min(args.reference_questions or questions, questions)
    if task.training:
        sample = questions  # a part would be shuffled otherwise
    path = task.save("data.json", repeated(data, questions))
    sample_path = task.save("sample.json", repeated(data, sample))
    seconds, found = timed(fast_windows, task, path, task.path("fast.tf_record"))
    their_seconds, (_, their_windows) = timed(
        reference_windows, task, sample_path, task.path("reference.tf_record")
    )
    report("text to windows", "windows", len(found), seconds, len(their_windows), their_seconds)
    good = check_records(task, len(their_windows))
    if args.cells and not task.training:
        answered = min(args.answer_questions or questions, questions)
        good &= compare_answers(task, data, answered, min(sample, answered), args)
    return good


def compare_answers(task, data, questions, sample, args):
    """Runs the part of `compare` from logits to answers."""
    logits = Logits(args.cells, args.max_seq_length)
    found = fast_windows(
        task, task.save("data.json", repeated(data, questions)), task.path("fast.tf_record")
    )
    their_examples, their_windows = reference_windows(
        task, task.save("sample.json", repeated(data, sample)), task.path("reference.tf_record")
    )
    seconds = fast_answers(task, found, logits)
    their_seconds = reference_answers(task, their_examples, their_windows, logits)
    report(
        "logits to answers",
        "answers",
        questions * logits.cells,
        seconds,
        sample * logits.cells,
        their_seconds,
    )
    return check_answers(task, logits.cells, sample, sample == questions)


def with_passage_of(data, words):
    """Returns data with one question on one passage of `words` words of the data."""
    paragraphs = [paragraph for article in data["data"] for paragraph in article["paragraphs"]]
    text = " ".join(paragraph["context"] for paragraph in paragraphs).split(" ")
    text = (text * (words // len(text) + 1))[:words]
    return {
        "data": [
            {
                "paragraphs": [
                    {"context": " ".join(text), "qas": [{"id": "q", "question": "Who is it?"}]}
                ]
            }
        ]
    }


def show_lengths(task, data):
    """Prints the time from text to records against the length of the passage."""
    print("words in the passage, seconds, times the row before, seconds of the reference")
    before = None
    for words in LENGTHS:
        path, target = (
            task.save("data.json", with_passage_of(data, words)),
            task.path("fast.tf_record"),
        )
        seconds = min(timed(fast_windows, task, path, target)[0] for _ in range(ROUNDS))
        plain = (
            f"{timed(reference_windows, task, path, target)[0]:.3f}"
            if words <= LONGEST_FOR_REFERENCE
            else ""
        )
        print(
            "%6d %8.3f %6s %s"
            % (words, seconds, "%.2f" % (seconds / before) if before else "", plain),
            flush=True,
        )
        before = seconds


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="a data file in SQuAD format")
    parser.add_argument("--dataset", choices=sorted(DATASETS), default="squad")
    parser.add_argument("--vocab_file", required=True)
    for name, default, text in (
        ("questions", 0, "repeat or truncate the data to this number; 0: as it is"),
        ("reference_questions", 0, "questions for the reference; 0: all"),
        ("answer_questions", 0, "questions for logits to answers; 0: all"),
        ("max_seq_length", 384, None),
        ("doc_stride", 128, None),
        ("max_query_length", 64, None),
        ("cells", 31, "cells for logits to answers; 0: none"),
        ("do_lower_case", None, "0 or 1 (default: as the dataset)"),
    ):
        parser.add_argument("--" + name, type=int, default=default, help=text)
    parser.add_argument(
        "--training", action="store_true", help="training windows with their answers"
    )
    parser.add_argument(
        "--lengths", action="store_true", help="time against the length of the passage"
    )
    args = parser.parse_args()
    tf.logging.set_verbosity(tf.logging.ERROR)
    with open(args.data, encoding="utf-8") as reader:
        data = json.load(reader)
    with tempfile.TemporaryDirectory() as folder:
        task = Task(args, folder)
        if args.lengths:
            show_lengths(task, data)
        elif not compare(task, data, args):
            sys.exit("the results differ")


if __name__ == "__main__":
    main()
