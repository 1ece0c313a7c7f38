# SPDX-License-Identifier: Apache-2.0
"""Trains the tiny BERT that the demo starts from.

    python demo/make_checkpoint.py --language=en --output_dir=demo/en

BERT's own pre-training takes days; this one takes minutes. Its text is from `sample_data`, but with
other facts and wording than the demo's data. The model learns to extract answers, at first only the
name in the question, and, as an auxiliary task, to predict for each passage token whose sentence it
is in: without it, answers alone were not enough in 1800 steps. The span head is not saved, as in
Google's checkpoints: the demo trains a new one.
"""

import collections
import os
import random
import sys
from typing import NamedTuple

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from mrc.util import check_environment  # noqa: F401, first: it reports missing packages

# isort: split
import numpy as np
import tensorflow.compat.v1 as tf

import modeling
import tokenization
from demo import sample_data
from mrc.data import examples
from mrc.data.windows import Windows
from mrc.model import bert_config, span_model
from mrc.util import errors, files, progress

MAX_SEQ_LENGTH = sample_data.MODEL["max_position_embeddings"]
BATCH_SIZE = 32
PEAK_RATE, WARM_UP = 1e-3, 200
LARGEST_NORM = 1.0
PASSAGES = 8000  # in a stage


class Stage(NamedTuple):
    """A stage of training.

    Attributes:
      people: number of people in a passage.
      names_alone: whether all questions ask for a name.
      steps: number of training steps.
    """

    people: int
    names_alone: bool
    steps: int


STAGES = (Stage(2, True, 300), Stage(2, False, 700), Stage(3, False, 1000))


def make_tokenizer(language):
    """Returns the tokenizer of the demo's vocabulary."""
    vocabulary = tokenization.Vocabulary(sample_data.make_vocabulary(language))
    return tokenization.WordPieceTokenizer(vocabulary, language.dataset.do_lower_case)


def make_windows(language, stage, tokenizer, generator):
    """Returns the `Windows` of a `Stage`, on passages of the language's earlier facts."""
    facts = language.earlier_facts
    asked = (language.naming,) if stage.names_alone else facts + (language.naming,)
    pairs = [(name, fact) for name in language.names for fact in asked]
    passages = sample_data.make_passages(language, facts, pairs, PASSAGES, generator, stage.people)
    training_examples = examples.make_training_examples(language.dataset, passages, "the sample text")
    return Windows(training_examples, tokenizer, MAX_SEQ_LENGTH, MAX_SEQ_LENGTH, MAX_SEQ_LENGTH)


def find_owners(batch, names):
    """Returns the id of the last name up to each passage token of a batch, 0 elsewhere, [B, T]."""
    ids, inside = batch["input_ids"], batch["segment_ids"]
    places = np.where(np.isin(ids, names) & (inside == 1), np.arange(ids.shape[1]), 0)
    last = np.maximum.accumulate(places, axis=1)
    return np.where((last > 0) & (inside == 1), np.take_along_axis(ids, last, axis=1), 0).astype(np.int32)


def batches(language, seed):
    """Yields the batches of all stages, as dicts of arrays."""
    generator = random.Random(seed)
    tokenizer = make_tokenizer(language)
    names = sorted({piece for name in language.names for piece in tokenizer.word_ids(name)})
    for stage in STAGES:
        windows = make_windows(language, stage, tokenizer, generator)
        longest = windows.lengths().max()
        starts, ends = windows.answer_positions(language.dataset.refines_answers)
        for _ in range(stage.steps):
            rows = generator.sample(range(len(windows)), BATCH_SIZE)
            batch = windows.batch(rows, longest)
            yield dict(batch, start_positions=starts[rows], end_positions=ends[rows], owners=find_owners(batch, names))


def learning_rate(step, num_steps):
    """Returns the learning rate of a step: linear warm-up, then linear decay to 0."""
    return PEAK_RATE * min((step + 1) / float(WARM_UP), (num_steps - step) / float(num_steps - WARM_UP))


def _placeholders(batch):
    return {name: tf.placeholder(tf.int32, [None] * array.ndim) for name, array in batch.items()}


def _waves(rows, columns, size):
    """Returns the sinusoids [rows, columns] of Vaswani et al., 2017, section 3.5, times `size`."""
    angles = np.arange(rows)[:, np.newaxis] / 10000.0 ** (np.arange(0, columns, 2) / float(columns))
    return size * np.concatenate([np.sin(angles), np.cos(angles)], axis=1)


def start_by_likeness(session, size):
    """Initializes attention so that tokens attend to similar and near ones.

    With equal query and key kernels the score is a similarity of the two tokens (Trockman & Kolter,
    2023, arXiv 2305.09828).
    """
    by_name = {variable.op.name: variable for variable in tf.trainable_variables()}
    for name, variable in by_name.items():
        if name.endswith("/self/query/kernel"):
            by_name[name.replace("/query/", "/key/")].load(session.run(variable), session)
    positions = by_name["bert/embeddings/position_embeddings"]
    positions.load(_waves(*positions.shape.as_list(), size=size), session)


class WatchedBert(modeling.Bert):
    """A BERT that stores the output of its last layer but one in `below`."""

    def encode(self, hidden, bias, see_probabilities=None):
        for layer in self.layers:
            self.below, hidden = hidden, layer(hidden, bias, see_probabilities)
        return hidden


def owner_loss(hidden, owners, config):
    """Returns the loss of predicting from `hidden` [B, T, H] whose sentence each token is in."""
    logits = tf.layers.dense(hidden, config.vocab_size, name="owner")
    known = tf.cast(owners > 0, tf.float32)
    return tf.losses.sparse_softmax_cross_entropy(owners, logits, known)


class Trainer:
    """The model and its training in the current graph.

    Args:
      language: `sample_data.Language`.
      inputs: dict of placeholders for the arrays of a batch.
    """

    def __init__(self, language, inputs):
        config = bert_config.make(sample_data.make_config(language))
        bert = WatchedBert(config)
        self._inputs = inputs
        self._rate = tf.placeholder(tf.float32, [])
        self._encoder = tf.trainable_variables()
        self._loss = span_model.SpanModel(bert, language.dataset.masks_question).training_loss(inputs)
        self._owner_loss = owner_loss(bert.below, inputs["owners"], config)
        self._step = self._training_op()

    def _training_op(self):
        variables = tf.trainable_variables()
        gradients, _ = tf.clip_by_global_norm(tf.gradients(self._loss + self._owner_loss, variables), LARGEST_NORM)
        return tf.train.AdamOptimizer(self._rate).apply_gradients(zip(gradients, variables))

    def train(self, session, all_batches, num_steps):
        """Trains on `all_batches`, an iterable of `num_steps` batches."""
        losses = collections.deque(maxlen=100)
        with progress.bar(num_steps, "training", "step") as bar:
            for step, batch in enumerate(all_batches):
                feed = {self._inputs[name]: array for name, array in batch.items()}
                feed[self._rate] = learning_rate(step, num_steps)
                losses.append(session.run([self._loss, self._owner_loss, self._step], feed)[:2])
                bar.set_postfix(loss="{:.4f}, owner {:.4f}".format(*tuple(np.mean(losses, axis=0))), refresh=False)
                bar.update(1)

    def save(self, session, path):
        """Writes the encoder, without head and optimizer state, to the checkpoint `path`."""
        with files.explain_write_errors(path):
            tf.train.Saver(self._encoder).save(session, path, write_meta_graph=False, write_state=False)


def make(language, output_dir, seed):
    """Trains a model for a `sample_data.Language` and writes bert_model.ckpt to `output_dir`."""
    files.make_folder(output_dir)
    num_steps = sum(stage.steps for stage in STAGES)
    with tf.Graph().as_default(), tf.Session() as session:
        tf.set_random_seed(seed)
        trainer = Trainer(language, _placeholders(next(batches(language, seed))))
        session.run(tf.global_variables_initializer())
        start_by_likeness(session, sample_data.MODEL["initializer_range"])
        trainer.train(session, batches(language, seed), num_steps)
        trainer.save(session, os.path.join(output_dir, "bert_model.ckpt"))


def main():
    args = sample_data.parse_arguments(__doc__, "the checkpoint", seed=2)
    tf.logging.set_verbosity(tf.logging.ERROR)
    make(sample_data.LANGUAGES[args.language], args.output_dir, args.seed)


if __name__ == "__main__":
    with errors.exit_with_message():
        main()
