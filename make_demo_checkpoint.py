# SPDX-License-Identifier: Apache-2.0
"""Makes the tiny BERT that the demo starts from: `python make_demo_checkpoint.py --language=en --output_dir=demo/en`.

BERT's own training takes days; a demo cannot wait for it. This one learns from text of `sample_data` that tells other facts,
in other words, than the demo's data does, to find what a question asks for, with few people in a passage at
first. The span head is left behind, as in Google's checkpoints: the demo trains it anew.
"""
from __future__ import absolute_import, division, print_function

import collections
import os
import random

from absl import app, flags
import numpy as np
import tensorflow.compat.v1 as tf

import bert_config
import errors
import examples
import modeling
import progress
import run_flags
import sample_data
import span_model
import tokenization
from windows import Windows

MAX_SEQ_LENGTH = sample_data.MODEL["max_position_embeddings"]
BATCH_SIZE = 64
PEAK_RATE, WARM_UP = 1e-3, 500
LARGEST_NORM = 1.0
PASSAGES = 12000  # in a stage

Stage = collections.namedtuple("Stage", ["people", "steps"])
Stage.__doc__ = "So many steps of training on passages that tell of so many people."
STAGES = (Stage(2, 3000), Stage(3, 2000), Stage(4, 4000))


def make_windows(language, people, generator):
    """Returns the `Windows` of text that tells a language's earlier facts of so many people a passage."""
    vocabulary = tokenization.Vocabulary(sample_data.make_vocabulary(language))
    tokenizer = tokenization.WordPieceTokenizer(vocabulary, language.dataset.do_lower_case)
    facts = language.earlier_facts
    pairs = [(name, fact) for name in language.names for fact in facts]
    passages = sample_data.make_passages(language, facts, pairs, PASSAGES, generator, people)
    found = examples.make_training_examples(language.dataset, passages, "the sample text")
    return Windows(found, tokenizer, MAX_SEQ_LENGTH, MAX_SEQ_LENGTH, MAX_SEQ_LENGTH)


def batches(language, seed):
    """Yields the batches of all stages, as dicts of arrays."""
    generator = random.Random(seed)
    for stage in STAGES:
        windows = make_windows(language, stage.people, generator)
        longest = windows.lengths().max()
        starts, ends = windows.answer_positions(language.dataset.refines_answers)
        for _ in range(stage.steps):
            rows = generator.sample(range(len(windows)), BATCH_SIZE)
            yield dict(windows.batch(rows, longest), start_positions=starts[rows], end_positions=ends[rows])


def learning_rate(step, num_steps):
    """Returns the rate of the step after `step` ones: it rises over the warm-up and then falls to 0."""
    return PEAK_RATE * min((step + 1) / float(WARM_UP), (num_steps - step) / float(num_steps - WARM_UP))


def _placeholders(batch):
    return {name: tf.placeholder(tf.int32, [None] + list(array.shape[1:])) for name, array in batch.items()}


class Trainer(object):
    """The model and its training in the current graph.

    Args:
      language: `sample_data.Language`.
      inputs: dict of placeholders for the arrays of a batch.
    """

    def __init__(self, language, inputs):
        bert = modeling.Bert(bert_config.make(sample_data.make_config(language)))
        self._inputs = inputs
        self._rate = tf.placeholder(tf.float32, [])
        self._encoder = tf.trainable_variables()
        self._loss = span_model.SpanModel(bert, language.dataset.masks_span).training_loss(inputs)
        self._step = self._training_op()

    def _training_op(self):
        variables = tf.trainable_variables()
        gradients, _ = tf.clip_by_global_norm(tf.gradients(self._loss, variables), LARGEST_NORM)
        return tf.train.AdamOptimizer(self._rate).apply_gradients(zip(gradients, variables))

    def train(self, session, all_batches, num_steps):
        """Trains on `all_batches`, which are `num_steps`."""
        bar = progress.bar(num_steps, "training", "step")
        losses = collections.deque(maxlen=100)
        for step, batch in enumerate(all_batches):
            feed = {self._inputs[name]: array for name, array in batch.items()}
            feed[self._rate] = learning_rate(step, num_steps)
            losses.append(session.run([self._loss, self._step], feed)[0])
            bar.set_postfix(loss="%.4f" % np.mean(losses), refresh=False)
            bar.update(1)
        bar.close()

    def save(self, session, path):
        """Writes the encoder to the checkpoint `path`, without the head and what the optimizer keeps."""
        tf.train.Saver(self._encoder).save(session, path, write_meta_graph=False, write_state=False)


def make(language, output_dir, seed):
    """Trains a model for a `sample_data.Language` and writes bert_model.ckpt to the folder `output_dir`."""
    tf.gfile.MakeDirs(output_dir)
    num_steps = sum(stage.steps for stage in STAGES)
    with tf.Graph().as_default(), tf.Session() as session:
        tf.set_random_seed(seed)
        trainer = Trainer(language, _placeholders(next(batches(language, seed))))
        session.run(tf.global_variables_initializer())
        trainer.train(session, batches(language, seed), num_steps)
        trainer.save(session, os.path.join(output_dir, "bert_model.ckpt"))


def main(_):
    with errors.one_sentence():
        if not flags.FLAGS.output_dir:
            raise errors.InputError("--output_dir is needed; see --help")
        tf.logging.set_verbosity(tf.logging.WARN)
        make(sample_data.LANGUAGES[flags.FLAGS.language], flags.FLAGS.output_dir, flags.FLAGS.seed)


if __name__ == "__main__":
    flags.DEFINE_enum("language", "en", sorted(sample_data.LANGUAGES), "Language of the text.")
    flags.DEFINE_string("output_dir", None, "Folder for the checkpoint.")
    flags.DEFINE_integer("seed", 2, "Seed of the text and of the weights.")
    app.run(main, flags_parser=run_flags.parse)
