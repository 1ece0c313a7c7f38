# SPDX-License-Identifier: Apache-2.0
"""The table of wrong and unusual inputs: a command line each, and parts of its message.

A flag's value may be a function of a `Case` that writes a file to the case's folder and returns its
path. In the expected parts, PATH is replaced by that path; in words, FOLDER by the case's folder.
"""

import collections
import gzip
import itertools
import json
import os
import pathlib
import shutil
from typing import Dict, List, NamedTuple, Optional

import numpy as np
import tensorflow.compat.v1 as tf
import tiny
from tiny import MISSING

from mrc import variables as declared
from mrc.answers import attention_tables, effects


class Case(NamedTuple):
    """The paths of the tiny model and data, and the folder of one row."""

    paths: Dict[str, str]
    folder: pathlib.Path


class Row(NamedTuple):
    """A command line and what it must print.

    Attributes:
      name: of the case.
      script, words: the script and its arguments, some of them functions of a `Case`.
      flags: flags of a run script, by name; None for other scripts.
      code: expected exit code, 2 (refused) or 0 (accepted).
      wanted: parts of the error message for code 2, of warnings for code 0.
    """

    name: str
    script: str
    words: list
    flags: Optional[dict]
    code: int
    wanted: List[str]


PARAGRAPH = ("data", 0, "paragraphs", 0)
QUESTION = PARAGRAPH + ("qas", 0)
ANSWER = QUESTION + ("answers", 0)
PLACE = "data[0].paragraphs[0]"
DATA_FLAGS = {"do_train": "train_file", "do_predict": "predict_file", "do_eval": "eval_file"}
SQUAD, CMRC = "run_squad.py", "run_cmrc2018.py"
HUGE, OVERFLOW = 10**18, 2**63


# Functions that return writers of data files


def written(data, name="data.json"):
    """Writes a file with these bytes."""

    def make(case):
        path = case.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return str(path)

    return make


def as_json(value, name="data.json"):
    """Writes a JSON file in ASCII, so that it can contain lone surrogates."""
    return written(json.dumps(value).encode("ascii"), name)


def changed(place, value, data=None, name="data.json"):
    """Writes a data file with another value at `place`; `MISSING` removes the key."""
    return as_json(tiny.with_value(data or tiny.squad(), place, value), name)


def passage_with(context, *questions):
    """Writes a data file with one passage; a question is (id, text, answers)."""
    return as_json(
        {
            "data": [
                {
                    "paragraphs": [
                        {
                            "context": context,
                            "qas": [
                                {"id": identifier, "question": text, "answers": answers}
                                for identifier, text, answers in questions
                            ],
                        }
                    ]
                }
            ]
        }
    )


def passage_with_answer(text, start, context=tiny.BRIDGE):
    """Writes a training file with one question that has this answer."""
    return passage_with(context, ("one", "What stands over the river?", [{"text": text, "answer_start": start}]))


def a_folder(name="folder"):
    """Creates a folder."""

    def make(case):
        (case.folder / name).mkdir(exist_ok=True)
        return str(case.folder / name)

    return make


def tiny_file(name):
    """Returns the path of one of the tiny files."""
    return lambda case: case.paths[name]


PREDICT = dict(predict_file=tiny_file("squad"))
TRAIN = dict(words=["--do_train"], train_file=tiny_file("squad"))


# Functions that return writers of model files


def config(**changes):
    """Writes a BERT config with changes; `MISSING` removes a key."""
    values = dict(tiny.CONFIG, vocab_size=len(tiny.PIECES))
    values.update(changes)
    return as_json({key: value for key, value in values.items() if value is not MISSING}, "bert_config.json")


def vocabulary(change):
    """Writes a vocabulary: `change` maps the list of pieces to the text or bytes of the file."""
    text = change(list(tiny.PIECES))
    return written(text if isinstance(text, bytes) else text.encode("utf-8"), "vocab.txt")


def sentence_pieces(**options):
    """Writes a sentencepiece model; see `tiny.write_sentence_pieces`."""
    return lambda case: tiny.write_sentence_pieces(case.folder / "spiece.model", **options)


def one_per_line(pieces):
    return "\n".join(pieces) + "\n"


def damaged(ending, change):
    """Writes a checkpoint and changes the bytes of one file; a result of None removes it."""

    def make(case):
        path = str(case.folder / "bert_model.ckpt")
        for suffix in (".index", ".data-00000-of-00001"):
            shutil.copy(case.paths["init_checkpoint"] + suffix, path + suffix)
        with open(path + ending, "rb") as reader:
            data = change(reader.read())
        os.remove(path + ending)
        if data is not None:
            with open(path + ending, "wb") as writer:
                writer.write(data)
        return path

    return make


def saved(name_of=lambda name: name, value_of=lambda name, value: value):
    """Writes a checkpoint of the tiny BERT with other names or values; the name None omits one."""

    def make(case):
        path = str(case.folder / "other.ckpt")
        weights = tiny.random_weights({each.name: list(each.shape) for each in declared.encoder(tiny.config())})
        with tf.Graph().as_default(), tf.Session() as session:
            variables = {name_of(name): tf.Variable(value_of(name, value)) for name, value in weights.items()}
            variables.pop(None, None)
            session.run(tf.global_variables_initializer())
            tf.train.Saver(variables).save(session, path, write_meta_graph=False, write_state=False)
        return path

    return make


def _nan_bias(name, value):
    return np.full_like(value, np.nan) if name.endswith("layer_1/output/dense/bias") else value


# Rows


def _row(name, code, wanted, script, words, flag_values):
    return Row(name, script, words, flag_values, code, [wanted] if isinstance(wanted, str) else wanted)


def refused(name, wanted, script=SQUAD, words=("--do_predict",), **flag_values):
    """Returns a row in which a run script fails with a one-line message."""
    return _row(name, 2, wanted, script, list(words), flag_values)


def accepted(name, wanted, script=SQUAD, words=("--do_predict",), **flag_values):
    """Returns a row in which a run script succeeds, possibly with warnings."""
    return _row(name, 0, wanted, script, list(words), flag_values)


def refused_by_script(name, wanted, script, *words):
    """Returns a row in which another script fails with a one-line message."""
    return _row(name, 2, wanted, script, list(words), None)


def accepted_by_script(name, wanted, script, *words):
    """Returns a row in which another script succeeds, possibly with warnings."""
    return _row(name, 0, wanted, script, list(words), None)


WRONG_DATA_FILES = [
    ("empty", b"", "PATH is empty"),
    ("white space only", b" \n\t", "PATH is empty"),
    ("not JSON", b"question,answer\n", "PATH is not valid JSON: Expecting value at line 1, column 1"),
    ("truncated", json.dumps(tiny.squad()).encode("ascii")[:700], "PATH is not valid JSON"),
    ("an extra comma", b'{"data": [\n 1,, 2]}', "PATH is not valid JSON: Expecting value at line 2, column 4"),
    ("not UTF-8", '{"data":\n "灯塔"}'.encode("gb18030"), "PATH is not UTF-8 text: byte 0xb5 in line 2; save it as UTF-8"),
    ("UTF-16", json.dumps(tiny.squad()).encode("utf-16"), "PATH is not UTF-8 text"),
    (
        "nested too deeply",
        b'{"data": ' + b"[" * 100000,
        "PATH is not usable JSON: it is nested too deeply; check that it is the right file",
    ),
    ("nested to the limit", b'{"data": [' + b"[" * 900 + b"]" * 900 + b"]}", "data[0] is a list"),
    (
        "an integer of a million digits",
        b'{"data": ' + b"9" * 10**6 + b"}",
        "PATH is not usable JSON: it has an integer of 1000000 digits",
    ),
    ("no questions", b'{"data": [{"paragraphs": [{"context": "x", "qas": []}]}]}', "PATH has no questions"),
    ("no articles", b'{"data": []}', "PATH has no questions"),
]

WRONG_PLACES = [
    ("a list at the top", (), [], "the top level is a list, not an object"),
    ("null at the top", (), None, "the top level is null, not an object"),
    ("a text at the top", (), "x", "the top level is a string, not an object"),
    ("no data", ("data",), MISSING, 'the top level has no key "data"'),
    ("data an object", ("data",), {}, "data is an object, not a list"),
    ("an article a number", ("data", 0), 3, "data[0] is an integer, not an object"),
    ("no paragraphs", ("data", 0, "paragraphs"), MISSING, 'data[0] has no key "paragraphs"'),
    ("paragraphs null", ("data", 0, "paragraphs"), None, "data[0].paragraphs is null, not a list"),
    ("a paragraph a list", PARAGRAPH, [], f"{PLACE} is a list, not an object"),
    ("no context", PARAGRAPH + ("context",), MISSING, f'{PLACE} has no key "context"'),
    ("a context a number", PARAGRAPH + ("context",), 1.5, f"{PLACE}.context is a number, not a string"),
    ("no qas", PARAGRAPH + ("qas",), MISSING, f'{PLACE} has no key "qas"'),
    ("qas a text", PARAGRAPH + ("qas",), "x", f"{PLACE}.qas is a string, not a list"),
    ("a question true", QUESTION, True, f"{PLACE}.qas[0] is a boolean, not an object"),
    ("no id", QUESTION + ("id",), MISSING, f'{PLACE}.qas[0] has no key "id"'),
    ("an id a fraction", QUESTION + ("id",), 7.5, f"{PLACE}.qas[0].id is a number, not a string or an integer"),
    ("an id true", QUESTION + ("id",), True, f"{PLACE}.qas[0].id is a boolean, not a string"),
]

WRONG_TEXTS = [  # not read for scoring
    ("no question", QUESTION + ("question",), MISSING, f'{PLACE}.qas[0] has no key "question"'),
    ("a question a list", QUESTION + ("question",), [], f"{PLACE}.qas[0].question is a list, not a string"),
]

WRONG_ANSWERS = [  # read for training only
    ("answers an object", QUESTION + ("answers",), {}, f"{PLACE}.qas[0].answers is an object, not a list"),
    ("an answer a text", ANSWER, "x", f"{PLACE}.qas[0].answers[0] is a string, not an object"),
    ("no answer text", ANSWER + ("text",), MISSING, f'{PLACE}.qas[0].answers[0] has no key "text"'),
    ("an answer text null", ANSWER + ("text",), None, f"{PLACE}.qas[0].answers[0].text is null, not a string"),
    ("no answer_start", ANSWER + ("answer_start",), MISSING, f'{PLACE}.qas[0].answers[0] has no key "answer_start"'),
    ("answer_start a float", ANSWER + ("answer_start",), 5.0, "answer_start is a number, not an integer"),
    ("answer_start a text", ANSWER + ("answer_start",), "5", "answer_start is a string, not an integer"),
    ("answer_start true", ANSWER + ("answer_start",), True, "answer_start is a boolean, not an integer"),
    ("answer_start null", ANSWER + ("answer_start",), None, "answer_start is null, not an integer"),
    ("answer_start NaN", ANSWER + ("answer_start",), float("nan"), "answer_start is a number, not an integer"),
    ("answer_start infinite", ANSWER + ("answer_start",), float("inf"), "answer_start is a number, not an integer"),
]


def _with_steps(rows, wanted=("do_predict", "do_train", "do_eval")):
    """Yields (step, script) + row, cycling through the wanted steps and both scripts."""
    steps = [("do_predict", SQUAD), ("do_train", CMRC), ("do_eval", SQUAD), ("do_predict", CMRC), ("do_train", SQUAD)]
    steps = [step for step in steps if step[0] in wanted]
    for number, row in enumerate(rows):
        yield steps[number % len(steps)] + row


def data_rows():
    rows = [
        refused(f"data: {name}", ["data.json", wanted], script, ["--" + step], **{DATA_FLAGS[step]: written(data)})
        for step, script, name, data, wanted in _with_steps(WRONG_DATA_FILES)
    ]
    rows += [
        refused(
            f"data: {name}",
            ["PATH is not in SQuAD format: ", wanted],
            script,
            ["--" + step],
            **{DATA_FLAGS[step]: changed(place, value)},
        )
        for step, script, name, place, value, wanted in itertools.chain(
            _with_steps(WRONG_PLACES),
            _with_steps(WRONG_TEXTS, ("do_predict", "do_train")),
            _with_steps(WRONG_ANSWERS, ("do_train",)),
        )
    ]
    rows += [
        refused(
            f"is_impossible {value!r} in training with SQuAD 2.0",
            ["PATH is not in SQuAD format: ", "for is_impossible that is not true, false, 1 or 0"],
            words=["--do_train", "--version_2_with_negative"],
            train_file=changed(QUESTION + ("is_impossible",), value),
        )
        for value in ("maybe", 2)
    ]
    rows += [
        accepted(
            f"unread {place[-1]} {value!r}, {step}, {script}",
            [],
            script,
            words=["--" + step],
            **{DATA_FLAGS[step]: changed(place, value, tiny.cmrc() if script == CMRC else tiny.squad())},
        )
        for place, value, step, script in (
            (QUESTION + ("is_impossible",), "true", "do_train", CMRC),
            (QUESTION + ("is_impossible",), "maybe", "do_predict", SQUAD),
            (ANSWER + ("answer_start",), "5", "do_predict", CMRC),
            (QUESTION + ("answers",), {"text": ["x"]}, "do_predict", SQUAD),
            (QUESTION + ("id",), 7, "do_train", SQUAD),
            (QUESTION + ("id",), 7, "do_predict", CMRC),
        )
    ]
    for name, maker in (
        ("after the context", passage_with_answer("stone", 500)),
        ("before the context", passage_with_answer("stone", -1)),
        ("huge", passage_with_answer("stone", OVERFLOW)),
    ):
        for script in (SQUAD, CMRC):
            rows.append(
                refused(
                    f"answer_start {name}, {script}",
                    ["PATH has no question", "is outside the passage"],
                    script,
                    ["--do_train"],
                    train_file=maker,
                )
            )
    return rows


def data_file_rows():
    return [
        refused(
            "a missing file", "the prediction file nowhere.json does not exist; check the path", predict_file="nowhere.json"
        ),
        refused("a folder instead of a data file", "PATH is a folder; pass the path of a file", predict_file=a_folder()),
        refused("a path that is not UTF-8", "--predict_file=data\\udcff.json is not UTF-8", predict_file="data\udcff.json"),
        refused(
            "an answer that is not in its passage",
            ["PATH has no question whose answer is", "is not in the words"],
            words=["--do_train"],
            train_file=passage_with_answer("golden bridge", 2),
        ),
        refused(
            "an empty answer",
            ["PATH has no question", "the answer is empty"],
            CMRC,
            ["--do_train"],
            train_file=passage_with_answer("", 2),
        ),
        refused(
            "an answer in a blank passage",
            ["PATH has no question", "is outside the passage"],
            words=["--do_train"],
            train_file=passage_with_answer("a", 0, context=""),
        ),
        refused(
            "training without answers",
            ["has no answer", "--version_2_with_negative"],
            words=["--do_train"],
            train_file=tiny_file("squad2"),
        ),
        refused(
            "training without answers, SQuAD 2.0",
            ["has no answer", 'mark it with "is_impossible": true'],
            words=["--do_train", "--version_2_with_negative"],
            train_file=changed(QUESTION + ("answers",), []),
        ),
        refused(
            "the original layout of CMRC 2018",
            "PATH has the original layout of CMRC 2018, which is not read; use the same file from "
            "the folder squad-style-data",
            CMRC,
            ["--do_train"],
            train_file=as_json([{"context_id": "a", "context_text": "灯", "qas": []}]),
        ),
        refused("a gzip file", "PATH is compressed (gzip); decompress it first", predict_file=written(gzip.compress(b"{}"))),
        refused(
            "training on blank passages",
            "all passages of the training questions are blank",
            words=["--do_train", "--version_2_with_negative"],
            train_file=as_json(
                {
                    "data": [
                        {
                            "paragraphs": [
                                {
                                    "context": " ",
                                    "qas": [{"id": "one", "question": "What?", "answers": [], "is_impossible": True}],
                                }
                            ]
                        }
                    ]
                }
            ),
        ),
        refused(
            "two answers to train on",
            ["(one) has 2 answers", "exactly one"],
            words=["--do_train"],
            train_file=passage_with(tiny.BRIDGE, ("one", "What?", [{"text": "stone", "answer_start": 2}] * 2)),
        ),
        refused(
            "scoring SQuAD without answers",
            "the evaluation file PATH has no answers, so there is nothing to score against",
            words=["--do_eval"],
            eval_file=passage_with(tiny.BRIDGE, ("one", "What?", []), ("two", "What?", [])),
        ),
        refused(
            "scoring CMRC without answers",
            "the evaluation file PATH has no answers for question TINY_0",
            CMRC,
            ["--do_eval"],
            eval_file=changed(QUESTION + ("answers",), [], tiny.cmrc()),
        ),
        refused(
            "a question as long as the window",
            ["--max_seq_length=10 leaves no room", "question colour"],
            predict_file=tiny_file("squad"),
            max_seq_length=10,
        ),
    ]


def odd_data_rows():
    return [
        accepted("a byte order mark", [], predict_file=written(b"\xef\xbb\xbf" + json.dumps(tiny.squad()).encode("ascii"))),
        accepted(
            "odd data to train on",
            [
                "PATH: 1 of 4 training questions are skipped because",
                "is outside the passage",
                "PATH: no question has is_impossible; all are assumed to have an answer",
                "--learning_rate=0: training will not change the weights",
            ],
            words=["--do_train", "--version_2_with_negative"],
            learning_rate=0.0,
            train_file=changed(ANSWER + ("answer_start",), -3),
        ),
        accepted(
            "repeated ids",
            "PATH: question ids occur more than once (1: one); only the answer to the last question",
            predict_file=passage_with(tiny.BRIDGE, ("one", "What?", []), ("one", "Who?", [])),
        ),
        accepted(
            "a blank passage",
            f"PATH: 1 passages are blank (the first is {PLACE}); the text of their answers is " '"empty"',
            predict_file=passage_with(" \n", ("one", "What?", [])),
        ),
        accepted(
            "a blank question",
            f"PATH: 1 questions are blank (the first is {PLACE}.qas[0]); they are answered like others",
            CMRC,
            predict_file=passage_with(tiny.TOWER, ("one", " ", [])),
        ),
        accepted("a CMRC test file", [], CMRC, predict_file=changed(QUESTION + ("answers",), MISSING, tiny.cmrc())),
        accepted(
            "a passage of 1 MB",
            [],
            predict_file=passage_with(("lantern" * 25 + " ") * 5958, ("one", "What?", [])),
            max_seq_length=64,
            doc_stride=50,
            predict_batch_size=256,
        ),
        accepted("a word of 1 MB", [], predict_file=passage_with("a" * 2**20, ("one", "What?", []))),
        accepted("U+0000", [], CMRC, predict_file=passage_with("古\0老的灯塔\0", ("\0", "\0灯？", []))),
        accepted(
            "lone surrogates",
            f"PATH: 2 texts contain lone surrogates (the first is {PLACE}.context); the model ignores them",
            CMRC,
            predict_file=passage_with("古老\ud800的灯\udc00塔", ("one", "灯\udfff？", [])),
        ),
        accepted(
            "lone surrogates in an id",
            "PATH: 2 texts contain lone surrogates",
            predict_file=passage_with("\ud800 lantern\udc00", ("\ud800", "What?", [])),
        ),
    ]


CONFIGS = [
    ("a list", [1], "PATH must be a JSON object as in Google's bert_config.json; it is a list"),
    ("no hidden_size", {"hidden_size": MISSING}, "of shape [8] where the BERT config asks for [768]"),
    ("two keys missing", {"hidden_act": MISSING, "vocab_size": MISSING}, 'PATH lacks "vocab_size"'),
    ("layers a text", {"num_hidden_layers": "2"}, "\"num_hidden_layers\" must be a whole number from 1 to 1000, it is '2'"),
    ("layers a float", {"num_hidden_layers": 2.0}, '"num_hidden_layers" must be a whole number from 1 to 1000, it is 2.0'),
    ("layers null", {"num_hidden_layers": None}, '"num_hidden_layers" must be a whole number from 1 to 1000, it is None'),
    ("a billion layers", {"num_hidden_layers": 10**9}, '"num_hidden_layers" must be a whole number from 1 to 1000'),
    ("heads 0", {"num_attention_heads": 0}, '"num_attention_heads" must be a whole number from 1 to 1000000, it is 0'),
    ("types true", {"type_vocab_size": True}, '"type_vocab_size" must be a whole number from 1 to 1000000, it is True'),
    ("width negative", {"hidden_size": -8}, '"hidden_size" must be a whole number from 1 to 1000000, it is -8'),
    (
        "width 2^63",
        {"hidden_size": OVERFLOW},
        '"hidden_size" must be a whole number from 1 to 1000000, it is 9223372036854775808',
    ),
    ("width NaN", {"hidden_size": float("nan")}, '"hidden_size" must be a whole number from 1 to 1000000, it is nan'),
    ("dropout 1", {"hidden_dropout_prob": 1.0}, '"hidden_dropout_prob" must be a number from 0 to below 1, it is 1.0'),
    (
        "dropout NaN",
        {"hidden_dropout_prob": float("nan")},
        '"hidden_dropout_prob" must be a number from 0 to below 1, it is nan',
    ),
    ("dropout a text", {"attention_probs_dropout_prob": "0.1"}, '"attention_probs_dropout_prob" must be a number from 0'),
    ("initializer 0", {"initializer_range": 0}, '"initializer_range" must be a number above 0 and at most 1, it is 0'),
    (
        "initializer infinite",
        {"initializer_range": float("inf")},
        '"initializer_range" must be a number above 0 and at most 1',
    ),
    ("initializer 1e300", {"initializer_range": 1e300}, '"initializer_range" must be a number above 0 and at most 1'),
    (
        "activation unknown",
        {"hidden_act": "swish"},
        "\"hidden_act\" must be one of gelu, gelu_erf, relu, tanh, linear, it is 'swish'",
    ),
    ("activation a list", {"hidden_act": []}, '"hidden_act" must be one of gelu, gelu_erf, relu, tanh, linear, it is []'),
    ("heads that do not divide", {"num_attention_heads": 3}, "PATH: 3 attention heads do not divide a hidden_size of 8"),
    (
        "vocabulary of another size",
        {"vocab_size": 70},
        "entries, but vocab_size in PATH is 70; use the pair of files that came",
    ),
    ("wider than the checkpoint", {"hidden_size": 16}, "where the BERT config asks for [16]; use the bert_config.json"),
    ("deeper than the checkpoint", {"num_hidden_layers": 3}, "has no bert/encoder/layer_2/attention/output/LayerNorm/beta"),
    (
        "more positions than the checkpoint",
        {"max_position_embeddings": 128},
        "of shape [64, 8] where the BERT config asks for [128, 8]",
    ),
]

VOCABULARIES = [
    ("empty", lambda pieces: "", "PATH is empty"),
    ("not UTF-8", lambda pieces: one_per_line(pieces).encode("gb18030"), "PATH is not UTF-8 text"),
    (
        "one extra entry",
        lambda pieces: one_per_line(pieces + ["more"]),
        "PATH has %d entries, but vocab_size in" % (len(tiny.PIECES) + 1),
    ),
    ("on one line", lambda pieces: " ".join(pieces), "PATH lacks [UNK], [CLS], [SEP]"),
    ("JSON", lambda pieces: json.dumps({piece: number for number, piece in enumerate(pieces)}), "PATH lacks [UNK]"),
] + [
    (
        "without " + piece,
        lambda pieces, piece=piece: one_per_line("x" if other == piece else other for other in pieces),
        f"PATH lacks {piece}; use the vocab.txt of the checkpoint",
    )
    for piece in ("[UNK]", "[CLS]", "[SEP]")
]

SENTENCE_PIECES = [
    ("that does not exist", "nowhere/spiece.model", "nowhere/spiece.model does not exist"),
    ("that is empty", written(b"", "spiece.model"), "PATH is empty; use the spiece.model"),
    ("that is a vocabulary", vocabulary(one_per_line), "PATH is not a sentencepiece model"),
    ("without special tokens", sentence_pieces(special="[CLS]"), "PATH lacks [SEP]; use the spiece"),
    (
        "with extra pieces",
        sentence_pieces(symbols=["piece%d" % number for number in range(len(tiny.PIECES))]),
        "entries, but vocab_size in",
    ),
]

CHECKPOINTS = [
    (
        "that does not exist",
        "nowhere/bert_model.ckpt",
        "there is no checkpoint nowhere/bert_model.ckpt; pass the path up to and with .ckpt",
    ),
    ("with an empty index", damaged(".index", lambda data: b""), "the checkpoint PATH cannot be read"),
    ("with half an index", damaged(".index", lambda data: data[: len(data) // 2]), "the checkpoint PATH cannot be read"),
    ("with other bytes as index", damaged(".index", lambda data: b"x" * len(data)), "the checkpoint PATH cannot be read"),
    ("without data", damaged(".data-00000-of-00001", lambda data: None), "the checkpoint PATH cannot be read"),
    (
        "with half the data",
        damaged(".data-00000-of-00001", lambda data: data[: len(data) // 2]),
        "the checkpoint PATH cannot be read",
    ),
    (
        "with other bytes as data",
        damaged(".data-00000-of-00001", lambda data: b"x" * len(data)),
        "the checkpoint PATH cannot be read",
    ),
    (
        "named by its index",
        lambda case: case.paths["init_checkpoint"] + ".index",
        "PATH is a part of a checkpoint; remove .index from the path",
    ),
    (
        "named by its data",
        lambda case: case.paths["init_checkpoint"] + ".data-00000-of-00001",
        "PATH is a part of a checkpoint; remove .data-00000-of-00001 from the path",
    ),
    ("that is a folder", a_folder(), "PATH is a folder; pass a checkpoint in it, as in PATH/bert_model.ckpt"),
    ("that is a vocabulary", tiny_file("vocab_file"), "PATH is a file, not a checkpoint"),
    (
        "of ALBERT",
        saved(lambda name: name.replace("encoder/layer_", "encoder/transformer/group_")),
        "PATH is an ALBERT checkpoint, but the config",
    ),
    ("of ELECTRA", saved(lambda name: name.replace("bert/", "electra/")), "PATH is an ELECTRA checkpoint, but the config"),
    (
        "of TensorFlow 2",
        saved(lambda name: f"layer_with_weights-0/{name}/.ATTRIBUTES/VARIABLE_VALUE"),
        "PATH is a TensorFlow 2 checkpoint; pass a BERT",
    ),
    (
        "of another model",
        saved(lambda name: "model/" + name),
        "its variables are in the scope model; save it again without that scope",
    ),
    (
        "in half precision",
        saved(value_of=lambda name, value: value.astype(np.float16)),
        "of type float16 where float32 is needed",
    ),
    ("with NaN", saved(value_of=_nan_bias), "has NaN or infinite values in bert/encoder/layer_1/output/dense/bias"),
]


def model_rows():
    rows = [
        refused(
            f"config: {name}",
            wanted,
            predict_file=tiny_file("squad"),
            bert_config_file=config(**changes) if isinstance(changes, dict) else as_json(changes),
        )
        for name, changes, wanted in CONFIGS
    ]
    rows += [
        refused(f"vocabulary: {name}", wanted, predict_file=tiny_file("squad"), vocab_file=vocabulary(change))
        for name, change, wanted in VOCABULARIES
    ]
    rows += [
        refused(
            f"a sentencepiece model {name}", wanted, predict_file=tiny_file("squad"), vocab_file=None, spm_model_file=model
        )
        for name, model, wanted in SENTENCE_PIECES
    ]
    for number, (name, maker, wanted) in enumerate(CHECKPOINTS):
        step = ("do_predict", "do_train")[number % 2]
        flags = collections.OrderedDict([(DATA_FLAGS[step], tiny_file("squad")), ("init_checkpoint", maker)])
        rows.append(refused(f"a checkpoint {name}", wanted, words=["--" + step], **flags))
    return rows


def model_file_rows():
    return [
        refused(
            "config: not JSON", "PATH is not valid JSON", predict_file=tiny_file("squad"), bert_config_file=written(b"{")
        ),
        refused(
            "config: a deeply nested value",
            '"hidden_size" must be a whole number from 1 to 1000000, it is [[[',
            predict_file=tiny_file("squad"),
            bert_config_file=written(
                json.dumps(dict(tiny.CONFIG, vocab_size=9, hidden_size=0))
                .replace('"hidden_size": 0', '"hidden_size": ' + "[" * 900 + "]" * 900)
                .encode("ascii")
            ),
        ),
        refused(
            "config: too large to train",
            "PATH asks for a model of ",
            words=["--do_train"],
            init_checkpoint=None,
            train_file=tiny_file("squad"),
            bert_config_file=config(hidden_size=10**6, intermediate_size=10**6),
        ),
        refused("no config", "--bert_config_file is required; see --help", bert_config_file=None),
        refused(
            "no config and no vocabulary",
            "--bert_config_file, --vocab_file (or --spm_model_file) are required; see --help",
            bert_config_file=None,
            vocab_file=None,
        ),
        refused("no vocabulary", "--vocab_file (or --spm_model_file) is required; see --help", vocab_file=None),
        refused(
            "a vocabulary and a sentencepiece model",
            "--spm_model_file=spiece.model both name the vocabulary; pass the one that came with",
            predict_file=tiny_file("squad"),
            spm_model_file="spiece.model",
        ),
        refused(
            "a sentencepiece model for Chinese",
            "is for text with spaces between words, unlike CMRC 2018; pass the --vocab_file",
            script=CMRC,
            predict_file=tiny_file("cmrc"),
            vocab_file=None,
            spm_model_file="spiece.model",
        ),
        refused(
            "predicting without a model",
            "has no trained checkpoint; pass --init_checkpoint, or train first",
            predict_file=tiny_file("squad"),
            init_checkpoint=None,
        ),
        accepted(
            "vocabulary: a repeated piece",
            ['PATH repeats pieces (1: "boat"); the id is the last line of each'],
            predict_file=tiny_file("squad"),
            vocab_file=vocabulary(lambda pieces: one_per_line("boat" if piece == "moor" else piece for piece in pieces)),
        ),
        accepted(
            "vocabulary: fewer lines than rows",
            [],
            predict_file=tiny_file("squad"),
            vocab_file=vocabulary(lambda pieces: one_per_line(pieces[:50])),
        ),
        accepted(
            "vocabulary: more blank lines than rows",
            [],
            predict_file=tiny_file("squad"),
            vocab_file=vocabulary(lambda pieces: one_per_line(pieces) + "\n \n\n"),
        ),
        accepted(
            "vocabulary: fewer lines, then blank ones",
            [],
            predict_file=tiny_file("squad"),
            vocab_file=vocabulary(lambda pieces: one_per_line(pieces[:-3]) + "\n\n"),
        ),
        accepted(
            "vocabulary: a line with only U+2028",
            [],
            predict_file=tiny_file("squad"),
            vocab_file=vocabulary(lambda pieces: one_per_line("\u2028" if piece == "moor" else piece for piece in pieces)),
        ),
        accepted(
            "vocabulary: no [PAD]",
            [],
            predict_file=tiny_file("squad"),
            vocab_file=vocabulary(lambda pieces: one_per_line(["first"] + list(pieces[1:]))),
        ),
        accepted(
            "vocabulary: a blank line",
            ["PATH: 1 lines are blank (the first is line 25); these ids are not used"],
            predict_file=tiny_file("squad"),
            vocab_file=vocabulary(
                lambda pieces: one_per_line("" if number == 24 else piece for number, piece in enumerate(pieces))
            ),
        ),
        accepted(
            "vocabulary: blank last lines",
            [],
            predict_file=tiny_file("squad"),
            vocab_file=vocabulary(lambda pieces: one_per_line(pieces) + "\n\n"),
        ),
        accepted(
            "vocabulary: no [PAD]",
            [],
            predict_file=tiny_file("squad"),
            vocab_file=vocabulary(lambda pieces: one_per_line(["<pad>"] + pieces[1:])),
        ),
        accepted(
            "vocabulary: CRLF",
            [],
            predict_file=tiny_file("squad"),
            vocab_file=vocabulary(lambda pieces: "\r\n".join(pieces) + "\r\n"),
        ),
        accepted(
            "config: fewer layers than the checkpoint",
            "has more layers than the 1 of the BERT config; the upper ones are not used",
            predict_file=tiny_file("squad"),
            bert_config_file=config(num_hidden_layers=1),
        ),
        accepted(
            "a checkpoint without a span head",
            "has no span head (cls/squad/output_weights): without training, answers are random",
            predict_file=tiny_file("squad"),
            init_checkpoint=saved(),
        ),
    ]


INTEGER_FLAGS = (
    "max_seq_length",
    "doc_stride",
    "max_query_length",
    "train_batch_size",
    "save_checkpoints_steps",
    "iterations_per_loop",
    "rand_seed",
    "predict_batch_size",
    "n_best_size",
    "max_answer_length",
    "num_tpu_cores",
)
FLOAT_FLAGS = ("learning_rate", "num_train_epochs", "warmup_proportion", "null_score_diff_threshold")
BOUNDED_FLAGS = (
    "train_batch_size",
    "predict_batch_size",
    "save_checkpoints_steps",
    "iterations_per_loop",
    "rand_seed",
    "num_tpu_cores",
)


CHECKPOINT_FOLDERS = [
    ("uncased_L-12_H-768_A-12", True),
    ("uncased_L-24_H-1024_A-16", True),
    ("multilingual_L-12_H-768_A-12", True),
    ("chinese_L-12_H-768_A-12", True),
    ("cased_L-12_H-768_A-12", False),
    ("cased_L-24_H-1024_A-16", False),
    ("multi_cased_L-12_H-768_A-12", False),
]


def case_rows():
    for number, (folder, wanted) in enumerate(CHECKPOINT_FOLDERS):
        path, script = folder + "/bert_model.ckpt", (SQUAD, CMRC)[number % 2]
        message = f"--do_lower_case={not wanted} does not fit --init_checkpoint={path}: "
        yield refused(
            "another letter case than " + folder,
            message,
            script,
            init_checkpoint=path,
            do_lower_case=not wanted,
            predict_file="x.json",
        )
        yield refused(
            "the letter case of " + folder,
            "there is no checkpoint " + path,
            script,
            init_checkpoint=path,
            do_lower_case=wanted,
            predict_file="x.json",
        )


def wrong(flag, value, wanted=None):
    return refused(
        f"--{flag}={value}",
        wanted or f"--{flag}={value}",
        words=["--do_train", "--do_predict"],
        train_file=tiny_file("squad"),
        predict_file=tiny_file("squad"),
        **{flag: value},
    )


def flag_rows():
    rows = [wrong(flag, value) for flag in INTEGER_FLAGS for value in (0, -1) if (flag, value) != ("rand_seed", 0)]
    rows += [
        wrong(flag, value, f"--{flag}={value}: {value} is not an integer; ")
        for flag in INTEGER_FLAGS
        for value in ("1.5", "many")
    ]
    rows += [wrong(flag, "many", f"--{flag}=many: many is not a number; ") for flag in FLOAT_FLAGS]
    rows += [wrong(flag, value) for flag in FLOAT_FLAGS for value in ("nan", "inf")]
    rows += [wrong(flag, -1.0) for flag in FLOAT_FLAGS[:3]]
    rows += [wrong("margin", value) for value in (-1.0, 101.0, "nan")] + [wrong("cluster", "page")]
    rows += [wrong(flag, value) for flag in BOUNDED_FLAGS for value in (HUGE, OVERFLOW)]
    rows += [wrong(flag, value) for flag in FLOAT_FLAGS[:3] for value in (1e18, 1e300)]
    rows += [wrong("max_seq_length", value, "exceeds the 64 positions of the model") for value in (HUGE, OVERFLOW, 65)]
    return rows


def value_rows():
    return [
        accepted(
            "a huge number in each unbounded flag",
            "--doc_stride=%d exceeds" % OVERFLOW,
            doc_stride=OVERFLOW,
            max_query_length=OVERFLOW,
            n_best_size=OVERFLOW,
            max_answer_length=OVERFLOW,
            **PREDICT,
        ),
        accepted("a stride longer than the window", "windows do not overlap", doc_stride=30, **PREDICT),
        wrong("num_train_epochs", 0.0, "do not fill one batch of --train_batch_size=2; use a smaller batch or more epochs"),
        refused(
            "a batch larger than the data",
            "4 examples and --num_train_epochs=2 do not fill one batch of --train_batch_size=9",
            train_batch_size=9,
            **TRAIN,
        ),
        refused("an unknown flag", "there is no flag --no_such_flag; ", no_such_flag=1),
        refused(
            "a misspelt flag", "there is no flag --predict_fil (did you mean --predict_file?); ", predict_fil="data.json"
        ),
        refused("a word that is not a flag", '"train.json" is not a flag, which begins with --', words=["train.json"]),
        refused("neither true nor false", "--do_train=maybe: maybe is neither true nor false; ", do_train="maybe"),
        refused(
            "nothing to do", "nothing to do; pass at least one of --do_train, --do_predict, --do_attention and ", words=[]
        ),
        refused("no output folder", "--output_dir is required; see --help", output_dir=None),
        refused("an empty output folder", "--output_dir is required; see --help", output_dir=""),
        refused(
            "a file instead of a folder",
            "vocab.txt is a file where a folder is needed; pass another path",
            output_dir=tiny_file("vocab_file"),
            **PREDICT,
        ),
        refused("a folder in a file", "cannot be", output_dir=lambda case: case.paths["vocab_file"] + "/out", **PREDICT),
        refused("training without a file", "--do_train needs --train_file", words=["--do_train"]),
        refused("predicting without a file", "--do_predict needs --predict_file"),
        refused(
            "scoring without a file", "--do_eval needs --eval_file or --predict_file to score against", words=["--do_eval"]
        ),
        refused(
            "scoring without predictions",
            "predictions_layer_.json to score; decode its cell first: run with --do_predict",
            words=["--do_eval"],
            eval_file=tiny_file("squad"),
        ),
        refused(
            "a value after a space",
            '"True" is not a flag, which begins with --; write --flag=value, and',
            words=["--do_predict", "True"],
            **PREDICT,
        ),
    ]


def mask_rows():
    return [
        refused("a zone in training", "--mask_zone, --mask_layer and --mask_head apply to", mask_zone="q2", **TRAIN),
        refused("a layer in training", "--mask_zone, --mask_layer and --mask_head apply to", mask_layer="0", **TRAIN),
        refused("an unknown zone", 'there is no zone "p3"; the zones are all, q2, q2p, p2q, p2', mask_zone="p3", **PREDICT),
        refused("an unknown zone, CMRC", 'there is no zone "q2p2"', CMRC, mask_zone="q2p2", predict_file="x.json"),
        refused("all and another zone", "--mask_zone=all+q2: all cannot be combined", mask_zone="all+q2", **PREDICT),
        refused("off and another zone", "--mask_zone=off+q2: off cannot be combined", mask_zone="off+q2", **PREDICT),
        refused("a head without a zone", "--mask_head=1 needs a zone to mask; add --mask_zone", mask_head="1", **PREDICT),
        refused(
            "a head too high",
            'there is no head "2"; the heads are 0 to 1, or "each" for a cell of each',
            mask_zone="q2",
            mask_head="2",
            **PREDICT,
        ),
        refused("a head that is not a number", 'there is no head "first"', mask_zone="q2", mask_head="first", **PREDICT),
        refused(
            "a window of an even number of layers",
            "--mask_layer=each:2: a window has an odd number of layers",
            mask_zone="q2",
            mask_layer="each:2",
            **PREDICT,
        ),
        refused(
            "attention of a grid",
            "--do_attention reads one cell at a time, and the mask flags name 2 cells; pass one",
            words=("--do_attention",),
            mask_zone="q2",
            mask_layer="each",
            **PREDICT,
        ),
        refused(
            "attention of nothing",
            "--do_attention needs --predict_file; pass the questions to read",
            words=("--do_attention",),
        ),
        accepted(
            "attention of one cell", [], words=("--do_attention",), mask_zone="q2", mask_layer="0", mask_head="1", **PREDICT
        ),
        refused("an empty zone", "--mask_zone= has an empty part", mask_zone="", **PREDICT),
        refused("an extra comma", "--mask_zone=q2,,p2 has an empty part", mask_zone="q2,,p2", **PREDICT),
        refused("an extra plus", "--mask_layer=0+ has an empty part", mask_zone="q2", mask_layer="0+", **PREDICT),
        refused(
            "a layer too high", 'there is no layer "2"; the layers are 0 to 1', mask_zone="q2", mask_layer="2", **PREDICT
        ),
        refused(
            "a range of layers",
            'there is no layer "0-1"; the layers are 0 to 1, or "each" for a cell of each; write '
            "0+1 for one cell, 0,1 for a cell each",
            mask_zone="q2",
            mask_layer="0-1",
            **PREDICT,
        ),
        refused("a layer below 0", 'there is no layer "-1"', mask_zone="q2", mask_layer="-1", **PREDICT),
        refused("a layer with many digits", 'there is no layer "99999', mask_zone="q2", mask_layer="9" * 100000, **PREDICT),
        refused("each plus a layer", 'there is no layer "each"', mask_zone="q2", mask_layer="each+0", **PREDICT),
        refused("a layer without a zone", "--mask_layer=0 needs a zone to mask; add --mask_zone", mask_layer="0", **PREDICT),
        accepted("a repeated zone in a cell", "", mask_zone="+".join(["q2"] * 100), mask_layer="0", **PREDICT),
    ]


def device_rows():
    on_tpu = ["--do_predict", "--use_tpu"]
    return [
        refused("a TPU without a name", "--use_tpu needs --tpu_name or --master; ", words=on_tpu, **PREDICT),
        refused(
            "a TPU with two addresses",
            "--tpu_name=t and --master=grpc://10.0.0.1:8470 both name the TPU",
            words=on_tpu,
            tpu_name="t",
            master="grpc://10.0.0.1:8470",
            **PREDICT,
        ),
        refused(
            "a TPU with a local folder",
            "a remote TPU reads and writes gs:// paths only, and --output_dir=here is local",
            words=on_tpu,
            tpu_name="t",
            output_dir="here",
            **PREDICT,
        ),
        refused(
            "a TPU with a local checkpoint",
            "gs:// paths only, and --init_checkpoint=",
            words=on_tpu,
            tpu_name="t",
            output_dir="gs://b/o",
            **PREDICT,
        ),
        refused(
            "a TPU with a batch that its cores do not divide",
            "--predict_batch_size=12 is not a multiple of the 8 TPU cores",
            words=on_tpu,
            tpu_name="t",
            output_dir="gs://b/o",
            init_checkpoint="gs://b/c",
            predict_batch_size=12,
            **PREDICT,
        ),
        refused(
            "a TPU with several hosts",
            "--num_tpu_cores=32: prediction runs on a TPU with a single host",
            words=on_tpu,
            tpu_name="t",
            num_tpu_cores=32,
            predict_batch_size=32,
            **PREDICT,
        ),
        accepted("an unused TPU", "--tpu_name=t without --use_tpu: it is not used; add --use_tpu", tpu_name="t", **PREDICT),
        refused(
            "a TPU with --trim_padding",
            "--trim_padding makes batches of different lengths",
            words=on_tpu + ["--trim_padding"],
            tpu_name="t",
            **PREDICT,
        ),
        refused(
            "a precision for attention",
            "--precision=bfloat16 applies to --do_train and --do_predict; --do_attention is in",
            words=["--do_attention"],
            precision="bfloat16",
            **PREDICT,
        ),
        refused(
            "micro-batches on a TPU",
            "--micro_batch_size=2 is for a GPU or a CPU",
            words=on_tpu + TRAIN["words"],
            tpu_name="t",
            micro_batch_size=2,
            train_file=TRAIN["train_file"],
            **PREDICT,
        ),
        *(
            refused(
                f"--shard={value}",
                f"flag --shard={value}: {value} is not a shard; write K/N with K from 1 to N, as",
                shard=value,
                **PREDICT,
            )
            for value in ("0/2", "3/2", "2", "1/2/3", "-1/2", "a/b", "1.0/2", "1/9999999")
        ),
        *(
            refused(
                f"a shard with {words}",
                "--shard=1/2 applies to --do_predict and --do_attention on CPUs and GPUs; " + remedy,
                words=words.split(),
                shard="1/2",
                tpu_name="t",
                train_file=TRAIN["train_file"],
                **PREDICT,
            )
            for words, remedy in (
                ("--do_train --do_predict", "remove --do_train, or "),
                ("--do_train --use_tpu", "remove --do_train and --use_tpu, or "),
                ("--do_eval", "add one of them, or "),
            )
        ),
        refused("an unknown precision", "--precision", precision="half", **PREDICT),
    ]


EVALUATE, CMRC_EVALUATE, VISUALIZE = ("squad_evaluate.py", "cmrc2018_evaluate.py", "visualize_zones.py")
ATTENTION, CORRELATE = "visualize_attention.py", "correlate.py"
FIGURE = "FOLDER/figure.png"  # in the case's folder
GOOD = "layer,q2,p2\nbaseline,80,80\n0,79,70\n"
ALL_OF_SQUAD = {"colour": "green", "where": "", "boat": "x", "bridge": "y"}


def results(text, name="results.csv"):
    return written(text if isinstance(text, bytes) else text.encode("utf-8"), name)


TABLES = [
    ("empty", "", "PATH is not a table of results"),
    ("of another file", "name,value\na,1\n", "PATH is not a table of results"),
    ("without a row", "layer,q2\nbaseline,80\n", "PATH is not a table of results"),
    ("without a baseline", "layer,q2\n0,80\n1,79\n", "PATH is not a table of results"),
    ("with a short line", GOOD + "1,79\n", "PATH, line 4 has 2 columns, but the first line has 3"),
    ("with a word instead of a number", GOOD + "1,good,70\n", 'PATH, line 4: q2 is "good", not a number'),
    ("with NaN", GOOD + "1,nan,70\n", 'PATH, line 4: q2 is "nan", not a number'),
    ("with an infinite number", GOOD + "1,inf,70\n", 'PATH, line 4: q2 is "inf", not a number'),
    (
        "with an empty baseline",
        "layer,q2,p2\nbaseline,80,\n0,79,70\n",
        "PATH, line 2: the baseline has no value in some column",
    ),
    ("without a cell", "layer,q2\nbaseline,80\n0,\n", "PATH has no values of masked cells"),
    ("not UTF-8", GOOD.encode("utf-16"), "PATH is not UTF-8 text"),
    ("with U+0000", GOOD + "1,7\x009,70\n", "PATH is not a table of results"),
    ("with a field of 200 KB", GOOD + "1,%s,70\n" % ("9" * 200000), "PATH is not a table of results"),
    ("of 5,000 layers", GOOD + "".join("%d,79,70\n" % layer for layer in range(1, 5000)), "is too large to draw"),
]

PREDICTIONS = [
    ("empty", b"", "PATH is empty"),
    ("not JSON", b"green", "PATH is not valid JSON"),
    ("a list", b"[]", "PATH is [], not an object of question id to value"),
    ("deeply nested", b"[" * 900 + b"]" * 900, "not an object of question id to value"),
    ("with a boolean", b'{"colour": true}', "PATH has true for question colour, not a text"),
    ("with an n-best list", b'{"colour": [{"text": "green"}]}', "PATH has [{"),
]

ODDS = [
    ("a list", [], "PATH is [], not an object of question id to value"),
    (
        "with a text",
        dict(ALL_OF_SQUAD),
        'PATH has "green" for question colour, not a finite number; pass the null_odds.json',
    ),
    ("with NaN", dict.fromkeys(ALL_OF_SQUAD, float("nan")), "PATH has NaN for question"),
    ("without a question", {"colour": 0.5}, "PATH has no value for question where"),
]


def attention_rows():
    """Wrong tables of correlate.py and visualize_attention.py."""
    table = attention_tables.to_csv(
        np.full([2, 2, 4, 5], 0.2), np.zeros([2, 2, 4]), attention_tables.uniform_attention(np.ones([1, 4]))
    )[0]
    lines = table.splitlines(True)
    rows = [
        refused_by_script(f"an attention table {name}", wanted, ATTENTION, written(data, "attention.csv"), FIGURE)
        for name, data, wanted in (
            ("that is empty", b"", "PATH is not a table of attention"),
            ("of another kind", b"layer,q2\nbaseline,1\n", "it lacks the columns head, query, key, mass"),
            ("without rows", lines[0].encode(), "PATH lacks rows of some layers"),
            ("that is cut", "".join(lines[:-3]).encode(), "PATH lacks rows of some layers"),
            (
                "with a wrong group",
                (lines[0] + "0,0,question,verb,0.1,0.2,0.5\n").encode(),
                "PATH lacks rows of some layers, heads or groups",
            ),
            (
                "with a negative mass",
                (lines[0] + "0,0,question,cls,-0.1,0.2,0.5\n").encode(),
                'PATH, line 2: mass is "-0.1", not a number from 0',
            ),
        )
    ]
    for name, wanted, words in (
        ("a layer without a question", "--layer needs --question", ["--layer=1"]),
        ("a window without a number", '"x" is not a number from 0', ["--window=x"]),
        ("a folder without runs", "FOLDER/run.json names no run that read questions", ["--question=a"]),
    ):
        rows.append(refused_by_script(f"a map: {name}", wanted.replace("FOLDER/", ""), ATTENTION, *words, "FOLDER", FIGURE))
    rows.append(
        refused_by_script(
            "a map: a page without a question",
            "must end in one of .png, .pdf, .svg, .tex; python visualize_attention.py --help",
            ATTENTION,
            "attention.csv",
            "page.html",
        )
    )
    return rows + [
        refused_by_script("correlation without attention", "has no attention.csv; run with", CORRELATE, "FOLDER"),
        refused_by_script(
            "correlation without effects",
            "has no effects.csv; decode and score a grid first",
            CORRELATE,
            _folder_with({"attention.csv": table}),
        ),
        refused_by_script(
            "correlation with effects of an earlier version",
            "n_needed; rerun with --do_eval to write it again",
            CORRELATE,
            _folder_with(
                {
                    "attention.csv": table,
                    "effects.csv": "layer,head,zone,metric,baseline,value,difference,low,high,p,"
                    "p_holm,better,worse,questions\n",
                }
            ),
        ),
        refused_by_script(
            "correlation of unions only",
            "has no cell of a single layer and zone",
            CORRELATE,
            _folder_with({"attention.csv": table, "effects.csv": effects.TABLE.to_csv([])}),
        ),
    ]


def _folder_with(texts):
    """Writes files, {name: text}, to a folder."""

    def make(case):
        folder = case.folder / "reader"
        folder.mkdir(exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        return str(folder)

    return make


def score_rows():
    rows = [refused_by_script(f"a table {name}", wanted, VISUALIZE, results(text), FIGURE) for name, text, wanted in TABLES]
    rows += [
        refused_by_script(
            f"predictions: {name}, {script}", wanted, script, tiny_file(data), written(content, "answers.json")
        )
        for name, content, wanted in PREDICTIONS
        for script, data in ((EVALUATE, "squad"), (CMRC_EVALUATE, "cmrc"))
    ]
    good = as_json(ALL_OF_SQUAD, "answers.json")
    rows += [
        refused_by_script(
            f"no-answer scores: {name}", wanted, EVALUATE, tiny_file("squad"), good, "-n", as_json(odds, "odds.json")
        )
        for name, odds, wanted in ODDS
    ]
    for script, data in ((EVALUATE, "squad"), (CMRC_EVALUATE, "cmrc")):
        rows += [
            refused_by_script(
                "no data, " + script,
                "the data file nowhere.json does not exist; check the path",
                script,
                "nowhere.json",
                good,
            ),
            refused_by_script(
                "no predictions, " + script,
                "the prediction file nowhere.json does not exist",
                script,
                tiny_file(data),
                "nowhere.json",
            ),
            refused_by_script("swapped files, " + script, 'the top level has no key "data"', script, good, tiny_file(data)),
            refused_by_script("only one file, " + script, "the following arguments are required", script, tiny_file(data)),
            accepted_by_script(
                "empty predictions, " + script,
                "questions have no prediction and count as wrong",
                script,
                tiny_file(data),
                written(b"{}", "answers.json"),
            ),
            accepted_by_script(
                "a repeated id, " + script,
                "1 question ids occur in the data more than once (one)",
                script,
                passage_with(
                    "x",
                    ("one", "What?", [{"text": "x", "answer_start": 0}]),
                    ("one", "Who?", [{"text": "x", "answer_start": 0}]),
                ),
                as_json({"one": "x"}, "answers.json"),
            ),
        ]
    return rows


def scorer_rows():
    good = as_json(ALL_OF_SQUAD, "answers.json")
    return [
        refused_by_script(
            "a seed below 0",
            "-1 is not from 0 to 2147483647",
            "demo/sample_data.py",
            "--output_dir",
            a_folder(),
            "--seed=-1",
        ),
        refused_by_script(
            "a file as the folder of the sample data",
            "PATH is a file where a folder is needed",
            "demo/sample_data.py",
            "--output_dir",
            tiny_file("vocab_file"),
        ),
        refused_by_script("a NaN threshold", "-t is nan, not a number", EVALUATE, tiny_file("squad"), good, "-t", "nan"),
        refused_by_script(
            "a word as threshold",
            "argument --na-prob-thresh/-t: invalid float value: 'high'",
            EVALUATE,
            tiny_file("squad"),
            good,
            "-t",
            "high",
        ),
        refused_by_script("a folder as the scores file", "PATH", EVALUATE, tiny_file("squad"), good, "-o", a_folder()),
        accepted_by_script(
            "curves without no-answer scores",
            "-p draws nothing without -n",
            EVALUATE,
            tiny_file("squad"),
            good,
            "-p",
            a_folder(),
        ),
        refused_by_script(
            "scoring CMRC without answers, scorer",
            "data.json has no answers for question TINY_0",
            CMRC_EVALUATE,
            changed(QUESTION + ("answers",), [], tiny.cmrc()),
            as_json({"TINY_0": "x"}, "answers.json"),
        ),
    ]


def figure_rows():
    return [
        refused_by_script(
            "a missing table",
            "the table of results nowhere.csv does not exist; check the path",
            VISUALIZE,
            "nowhere.csv",
            FIGURE,
        ),
        refused_by_script(
            "a figure in another format",
            "figure.gif must end in one of .png, .pdf, .svg, .tex; python visualize_zones.py",
            VISUALIZE,
            results(GOOD),
            "figure.gif",
        ),
        refused_by_script("a figure that is a folder", "PATH", VISUALIZE, results(GOOD), a_folder("folder.png")),
        refused_by_script(
            "titles for two tables",
            "--titles has 3 titles for 2 tables",
            VISUALIZE,
            "--titles=a,b,c",
            results(GOOD),
            results(GOOD),
            FIGURE,
        ),
        refused_by_script(
            "a range of one number",
            '"3" is neither "auto" nor two numbers; write for example --range=-10,2',
            VISUALIZE,
            "--range=3",
            results(GOOD),
            FIGURE,
        ),
        refused_by_script(
            "a range above 0", '"1,2" must go from below 0 to above 0', VISUALIZE, "--range=1,2", results(GOOD), FIGURE
        ),
        refused_by_script(
            "a range too wide",
            '"-1e308,2" has an end closer to 0 than 1e-06 or larger than 1e+06; ',
            VISUALIZE,
            "--range=-1e308,2",
            results(GOOD),
            FIGURE,
        ),
        refused_by_script(
            "a range too narrow",
            '"-1e-310,2" has an end closer to 0 than 1e-06',
            VISUALIZE,
            "--range=-1e-310,2",
            results(GOOD),
            FIGURE,
        ),
        refused_by_script(
            "an infinite range", '"-inf,2" has an end closer to 0', VISUALIZE, "--range=-inf,2", results(GOOD), FIGURE
        ),
        accepted_by_script(
            "a title that looks like a formula", [], VISUALIZE, "--titles=$\\no{such}$", results(GOOD), FIGURE
        ),
        refused_by_script(
            "F1 as exact match",
            "results_f1.csv holds F1, which cannot be drawn as exact match; ",
            VISUALIZE,
            results(GOOD),
            written(GOOD.encode("ascii"), "results_f1.csv"),
            FIGURE,
        ),
        accepted_by_script("the range of the data", [], VISUALIZE, "--range=auto", results(GOOD), FIGURE),
    ]


def edited(name, content, step="--do_eval", **flag_values):
    """Creates an output folder with predictions in which one file has other content."""

    def make(case):
        folder = case.folder / "out"
        folder.mkdir()
        tiny.write_json(folder / "predictions_layer_.json", ALL_OF_SQUAD)
        (folder / name).write_bytes(content)
        return str(folder)

    return make


def output_rows():
    def row(name, wanted, file_name, content, words=("--do_eval",), **more):
        return refused(
            "output folder: " + name,
            wanted,
            words=list(words),
            predict_file=tiny_file("squad"),
            output_dir=edited(file_name, content),
            **more,
        )

    negatives = ["--do_eval", "--version_2_with_negative"]
    record = {"layer_": {"made_from": {}, "files": {"predictions_layer_.json": "0" * 64}}}
    return [
        row(
            "truncated predictions",
            "predictions_layer_.json is not valid JSON",
            "predictions_layer_.json",
            b'{"colour": "gr',
        ),
        row("predictions that are a list", "predictions_layer_.json is [], not an object", "predictions_layer_.json", b"[]"),
        row(
            "predictions changed by hand",
            "predictions_layer_.json is not what was decoded with layer_; decode it again",
            "cells.json",
            json.dumps(record).encode("ascii"),
        ),
        row("a record that is a list", "cells.json is not a cell record of this project; delete it", "cells.json", b"[]"),
        row(
            "a record of lists",
            "cells.json is not a cell record of this project; delete it",
            "cells.json",
            b'{"layer_": {"made_from": [], "files": []}}',
        ),
        row(
            "a truncated record",
            "cells.json is not a cell record of this project; delete it",
            "cells.json",
            b'{"layer_": {"ma',
        ),
        row("no null odds", "null_odds.json does not exist", "x.json", b"", negatives),
        row("null odds that are a list", "null_odds.json is [], not an object", "null_odds.json", b"[]", negatives),
        row(
            "null odds with texts",
            'null_odds.json has "green" for question',
            "null_odds.json",
            json.dumps(ALL_OF_SQUAD).encode("ascii"),
            negatives,
        ),
        accepted(
            "output folder: a damaged feature cache",
            "eval.features.npz is not used (it is not a complete .npz file",
            predict_file=tiny_file("squad"),
            output_dir=edited("eval.features.npz", b"PK\x03\x04 truncated"),
        ),
    ]


ROWS = (
    data_rows()
    + data_file_rows()
    + odd_data_rows()
    + model_rows()
    + model_file_rows()
    + list(case_rows())
    + flag_rows()
    + value_rows()
    + mask_rows()
    + device_rows()
    + score_rows()
    + scorer_rows()
    + figure_rows()
    + attention_rows()
    + output_rows()
)
