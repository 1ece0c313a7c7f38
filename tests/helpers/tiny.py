# SPDX-License-Identifier: Apache-2.0
"""A tiny reader for the tests: its files, data, reference computations and ways to run scripts."""

import contextlib
import copy
import functools
import json
import os
import signal
import subprocess
import sys
import types
import unicodedata

import forked
import numpy as np
import tensorflow.compat.v1 as tf
from absl import flags
from tensorflow.core.protobuf import rewriter_config_pb2

import modeling
from mrc.experiment import inputs, run_flags
from mrc.model import bert_config, span_model

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

CONFIG = {
    "vocab_size": 0,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 64,
    "type_vocab_size": 2,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "hidden_act": "gelu",
    "initializer_range": 0.02,
}

PIECES = (
    "[PAD] [UNK] [CLS] [SEP] the a of in on lantern boat harbour keeper green red paint ##ed ##s ##er was is what who "
    "colour where old stone bridge river town moor stands over under built by night . , ? - ' ( ) 1 9 ##0 ##2 "
    "灯 塔 守 人 红 绿 船 河 桥 石 古 老 城 谁 什 么 颜 色 在 上 是 的 。 ， ？ ： e ##b ##c eclair"
).split()

LANTERN = (
    "The old lantern stands over the harbour. The keeper painted it green in 1902, and by night the boats (red, green) "
    "moor under the stone bridge. Éclair is the keeper's boat, built in the old town."
)
BRIDGE = "A stone bridge stands over the river. It was built by the old town."
TOWER = "古老的灯塔在河上。守塔人是红色的，船是绿色的：石桥在城上。"


def _question(identifier, text, context, answer, **more):
    answers = [] if answer is None else [{"text": answer, "answer_start": context.index(answer)}]
    return dict({"id": identifier, "question": text, "answers": answers}, **more)


def data_of(*paragraphs):
    return {
        "version": "tiny",
        "data": [
            {"title": "tiny", "paragraphs": [{"context": context, "qas": questions} for context, questions in paragraphs]}
        ],
    }


def squad():
    """Returns the SQuAD 1.1 data."""
    return data_of(
        (
            LANTERN,
            [
                _question("colour", "What colour was the lantern painted?", LANTERN, "green"),
                _question("where", "Where is the lantern?", LANTERN, "over the harbour"),
                _question("boat", "Who built the boat?", LANTERN, "Éclair"),
            ],
        ),
        (BRIDGE, [_question("bridge", "What stands over the river?", BRIDGE, "stone bridge")]),
    )


def squad2():
    """Returns SQuAD 2.0 data: `squad` with two questions that have no answer."""
    data = squad()
    for paragraph in data["data"][0]["paragraphs"]:
        for question in paragraph["qas"]:
            question["is_impossible"] = False
        context = paragraph["context"]
        paragraph["qas"].append(
            _question("none of %d" % len(context), "Who was on the moor?", context, None, is_impossible=True)
        )
    return data


def cmrc():
    """Returns the CMRC 2018 data."""
    return data_of(
        (TOWER, [_question("TINY_0", "灯塔在什么上？", TOWER, "河"), _question("TINY_1", "谁是红色的？", TOWER, "守塔人")])
    )


def config(**changes):
    """Returns the tiny `BertConfig` with `changes`."""
    return bert_config.make(dict(CONFIG, vocab_size=len(PIECES), **changes))


def write_json(path, value):
    """Writes `value` as JSON to `path` and returns the path as a text."""
    with open(str(path), "w", encoding="utf-8") as writer:
        json.dump(value, writer, ensure_ascii=False)
    return str(path)


def write_json_escaped(path, value):
    """Writes `value` as plain ASCII JSON, which may hold lone surrogates."""
    with open(str(path), "w", encoding="ascii") as writer:
        json.dump(value, writer)


def read_json(*parts):
    """Returns the value of the JSON file whose path is `parts` joined."""
    with open(os.path.join(*map(str, parts)), encoding="utf-8") as reader:
        return json.load(reader)


def random_weights(names_and_shapes, seed=1):
    """Returns {name: array} of normal weights, gamma near 1, large enough that masks matter."""
    random = np.random.RandomState(seed)
    return {
        name: (random.normal(0, 0.5, shape) + (name.endswith("gamma"))).astype(np.float32)
        for name, shape in sorted(names_and_shapes.items())
    }


def _session():
    """Returns a session without graph optimization, which would take longer than the run."""
    rewriting = rewriter_config_pb2.RewriterConfig(disable_meta_optimizer=True)
    return tf.Session(config=tf.ConfigProto(graph_options=tf.GraphOptions(rewrite_options=rewriting)))


@contextlib.contextmanager
def reader(bert, seed=1, **options):
    """Yields (SpanModel, session) of a new graph with random weights for `bert`, a `BertConfig`."""
    masks_question = options.pop("masks_question", False)
    with tf.Graph().as_default(), _session() as session:
        model = span_model.SpanModel(modeling.Bert(bert, **options), masks_question)
        variables = {variable.op.name: variable for variable in tf.global_variables()}
        weights = random_weights({name: variable.shape.as_list() for name, variable in variables.items()}, seed)
        session.run(
            [variable.initializer for variable in variables.values()],
            {variable.initializer.inputs[1]: weights[name] for name, variable in variables.items()},
        )
        yield model, session


def variable_values(session):
    """Returns {name: array} of all variables of the current graph."""
    return session.run({variable.op.name: variable for variable in tf.global_variables()})


def save_checkpoint(prefix, bert, seed=1):
    """Writes a random checkpoint in Google's format and returns its path."""
    with reader(bert, seed) as (_, session):
        return tf.train.Saver().save(session, str(prefix), write_meta_graph=False, write_state=False)


def values(function, *arrays):
    """Returns the values of the tensors that `function(*arrays)` builds."""
    with tf.Graph().as_default(), _session() as session:
        tensors = function(*arrays)
        session.run(tf.global_variables_initializer())
        return session.run(tensors)


MISSING = object()


def with_value(data, place, value):
    """Returns a copy of the JSON value `data` with another value; `MISSING` removes the key.

    Args:
      data: JSON value.
      place: tuple of keys and indices.
      value: the new value.
    """
    root = {"": copy.deepcopy(data)}
    at, steps = root, ("",) + place
    for step in steps[:-1]:
        at = at[step]
    if value is MISSING:
        del at[steps[-1]]
    else:
        at[steps[-1]] = value
    return root[""]


def make_folder(folder):
    """Writes all files that a run needs; returns {flag or dataset: path}."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join(PIECES) + "\n", encoding="utf-8")
    return {
        "bert_config_file": write_json(folder / "bert_config.json", dict(CONFIG, vocab_size=len(PIECES))),
        "vocab_file": str(vocabulary),
        "init_checkpoint": save_checkpoint(folder / "bert_model.ckpt", config()),
        "squad": write_json(folder / "squad.json", squad()),
        "squad2": write_json(folder / "squad2.json", squad2()),
        "cmrc": write_json(folder / "cmrc.json", cmrc()),
    }


_OTHER_CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789?-'\""
_TRAIN_SENTENCE_PIECES = """
import json, sys, sentencepiece
sentences, options = json.load(sys.stdin)
with open(sys.argv[1], "wb") as writer:
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences), model_writer=writer, **options)
"""


def write_sentence_pieces(path, symbols=(), special="[CLS],[SEP]"):
    """Writes a sentencepiece model of single characters and whole `symbols`; returns its path."""
    text = [unicodedata.normalize("NFKD", each).lower() for each in (LANTERN, BRIDGE)]
    options = dict(
        model_type="char",
        vocab_size=200,
        hard_vocab_limit=False,
        character_coverage=1.0,
        pad_id=0,
        unk_id=1,
        bos_id=-1,
        eos_id=-1,
        control_symbols=special,
        user_defined_symbols=list(symbols),
        minloglevel=2,
    )
    # In a process of its own: beside TensorFlow 1.15, training crashes in protobuf.
    subprocess.run(
        [sys.executable, "-c", _TRAIN_SENTENCE_PIECES, str(path)],
        input=json.dumps([text + [" ".join(_OTHER_CHARACTERS)], options]),
        encoding="utf-8",
        check=True,
    )
    return str(path)


def model_flags(paths, **changes):
    """Returns the flags of a short run with the files `paths`; the value None removes a flag."""
    chosen = {name: paths[name] for name in ("bert_config_file", "vocab_file", "init_checkpoint")}
    chosen.update(
        max_seq_length=32,
        doc_stride=8,
        max_query_length=12,
        train_batch_size=2,
        predict_batch_size=4,
        num_train_epochs=2.0,
        learning_rate=0.01,
        n_best_size=20,
        max_answer_length=8,
    )
    chosen.update(changes)
    return {name: value for name, value in chosen.items() if value is not None}


@functools.lru_cache(maxsize=None)
def command_lines():
    """Returns the `forked.CommandLines` of this process; it ends with it."""
    return forked.CommandLines()


def run(script, *words, **flag_values):
    """Runs a script of the project; returns (exit code, stdout, stderr)."""
    return command_lines().run(script, *words, *_words(flag_values))[:3]


def run_in_new_process(script, *words, **flag_values):
    """Like `run`, in a new process that imports all modules itself."""
    command = [sys.executable, os.path.join(ROOT, script), *words, *_words(flag_values)]
    done = subprocess.run(command, capture_output=True, env=forked.environment())
    return done.returncode, done.stdout.decode("utf-8"), done.stderr.decode("utf-8")


def _words(flag_values):
    return ["--{}={}".format(*item) for item in sorted(flag_values.items())]


def start(flag_values, prepare=lambda: None, first=None):
    """Starts run_squad.py and returns the process, with piped output.

    Args:
      flag_values: {flag: value}.
      prepare: called in the process before the program starts.
      first: Python statement to run before the script, such as one that changes a constant.
    """

    def before():
        # As in a terminal; background jobs of a shell ignore SIGINT.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        prepare()

    program = ["run_squad.py"]
    if first:
        program = ["-c", f'import runpy; {first}; runpy.run_path("run_squad.py", run_name="__main__")']
    return subprocess.Popen(
        [sys.executable] + program + _words(flag_values),
        cwd=ROOT,
        env=forked.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=before,
    )


def flag_values(**changes):
    """Returns the argument of `experiment.run`: the default of every flag, with `changes`."""
    if "mask_zone" not in flags.FLAGS:
        run_flags.define(do_lower_case=True, with_negatives=True)
        flags.FLAGS.mark_as_parsed()
    defaults = flags.FLAGS.flag_values_dict()
    assert set(changes) <= set(defaults)
    return dict(defaults, **changes)


def best_positions(logits, size):
    """Returns the result of `SpanModel.best_positions` for logits [windows, cells, 2, T]."""
    places = np.argsort(-logits, axis=-1, kind="stable")[..., :size]
    values = np.take_along_axis(logits, places, axis=-1)
    found = {}
    for side, name in enumerate(("start", "end")):
        found[name + "_values"], found[name + "_places"] = (values[:, :, side], places[:, :, side].astype(np.int32))
        found[name + "_nulls"] = logits[:, :, side, 0]
    return found


def dense(x, kernel, bias):
    return x @ kernel + bias


def layer_norm(x, beta, gamma):
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-12) * gamma + beta


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def softmax(x):
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def encoder_layer(x, weights, heads, bias):
    """Computes one BERT layer in NumPy for a single sequence.

    Args:
      x: [T, H].
      weights: {name below `layer_N/`: array}.
      heads: number of heads.
      bias: [T, T], added to the scaled scores of queries by keys.

    Returns:
      The output [T, H].
    """

    def project(name, inputs):
        return dense(inputs, weights[name + "/kernel"], weights[name + "/bias"])

    def norm(name, inputs):
        return layer_norm(inputs, weights[name + "/LayerNorm/beta"], weights[name + "/LayerNorm/gamma"])

    size = x.shape[1] // heads
    query, key, value = (project("attention/self/" + name, x) for name in ("query", "key", "value"))
    context = []
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        scores = query[:, part] @ key[:, part].T / np.sqrt(size)
        context.append(softmax(scores + bias) @ value[:, part])
    attention = norm("attention/output", project("attention/output/dense", np.hstack(context)) + x)
    wide = gelu(project("intermediate/dense", attention))
    return norm("output", project("output/dense", wide) + attention)


def layer_weights(weights, layer):
    """Returns the arrays of one layer, {name below `layer_N/`: array}."""
    beginning = "bert/encoder/layer_%d/" % layer
    return {name[len(beginning) :]: array for name, array in weights.items() if name.startswith(beginning)}


def read_inputs(dataset, **changes):
    """Returns the `inputs.Inputs` of a run with these flags."""
    return inputs.read(dataset, types.SimpleNamespace(**flag_values(**changes)))
