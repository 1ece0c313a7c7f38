# SPDX-License-Identifier: Apache-2.0
"""Tests that random JSON, text, flags and logits raise no exception except `InputError`.

`pytest --hypothesis-profile=thorough tests/fuzz/test_fuzz.py` tries 2,000 cases of each test.
"""

import functools
import json
import os
import resource

import numpy as np
import pytest
import tiny
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

import attention_mask
import cmrc2018_evaluate
import squad_evaluate
import tokenization
from mrc import cells as grid_cells
from mrc import datasets
from mrc.answers import answer_files, attention_tables, effects, predictions_file, question_scores, results_table
from mrc.answers.decoding import Decoder
from mrc.data import examples, feature_cache, squad_format
from mrc.data.windows import Windows
from mrc.model import bert_config
from mrc.util import files
from mrc.util.errors import InputError

MEBIBYTES = 2048
ANY = settings(deadline=20000, suppress_health_check=list(HealthCheck))  # milliseconds

FRAGMENTS = [
    "",
    " ",
    "\0",
    "\ud800",
    "\udfff",
    "灯",
    "Σ",
    "\u0301",
    "##",
    "İ",
    "ﬁ",
    "\u202f",
    "a" * 250,
    "lantern",
    "。",
    "?",
]
TEXTS = st.one_of(st.text(max_size=20), st.lists(st.sampled_from(FRAGMENTS), max_size=30).map("".join))
NUMBERS = st.one_of(st.integers(), st.sampled_from([2**63, -(2**63), 10**400]), st.floats())
VALUES = st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS)
JSON = st.one_of(
    VALUES,
    st.lists(VALUES, max_size=3),
    st.dictionaries(TEXTS, VALUES, max_size=3),
    st.integers(1, 2000).map(lambda depth: functools.reduce(lambda inner, _: [inner], range(depth), 0)),
)

QUESTIONS = st.fixed_dictionaries(
    {
        "id": TEXTS,
        "question": TEXTS,
        "is_impossible": st.booleans(),
        "answers": st.lists(
            st.fixed_dictionaries({"text": TEXTS, "answer_start": st.integers(-3, 30)}), min_size=1, max_size=1
        ),
    }
)
PARAGRAPHS = st.fixed_dictionaries({"context": TEXTS, "qas": st.lists(QUESTIONS, min_size=1, max_size=2)})
RIGHT_DATA = st.lists(PARAGRAPHS, min_size=1, max_size=2).map(lambda paragraphs: {"data": [{"paragraphs": paragraphs}]})


@st.composite
def wrong_data(draw):
    """A data file with one value replaced or removed."""
    data = draw(RIGHT_DATA)
    at = data
    while True:
        keys = sorted(at) if isinstance(at, dict) else range(len(at))
        key = draw(st.sampled_from(keys))
        if not isinstance(at[key], (dict, list)) or not at[key] or draw(st.integers(0, 3)) == 0:
            break
        at = at[key]
    if draw(st.booleans()):
        at[key] = draw(JSON)
    else:
        del at[key]
    return data


def as_bytes(value):
    """Returns JSON; a value too deeply nested for `json` becomes nested brackets."""
    try:
        return json.dumps(value).encode("ascii")
    except RecursionError:
        return b'{"data": ' + b"[" * 2000 + b"]" * 2000 + b"}"


DATASETS = st.sampled_from([datasets.SQUAD, datasets.CMRC2018])
# The answer is a word of which the tokenizer drops every character.
DROPPED_WORD = {
    "data": [
        {
            "paragraphs": [
                {
                    "context": "\0\u3002",
                    "qas": [
                        {"id": "1", "question": "", "is_impossible": False, "answers": [{"text": "0", "answer_start": 0}]}
                    ],
                }
            ]
        }
    ]
}
SIZES = st.tuples(
    st.integers(5, 40), st.one_of(st.integers(1, 40), st.just(2**63)), st.one_of(st.integers(1, 40), st.just(2**63))
)
VOCABULARY = tokenization.Vocabulary(tiny.PIECES)


@pytest.fixture(autouse=True)
def memory():
    """No test raises the peak of the process by 2 GB."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEBIBYTES * 1024


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


def written(folder, data):
    path = folder / "any.json"
    path.write_bytes(data)
    return str(path)


def read_whole(path, dataset, lower=True, with_negatives=False):
    """Reads a data file as a training and as a prediction; returns the examples to answer."""
    passages = squad_format.read(path, keys=squad_format.PREDICTION)
    made = examples.make_prediction_examples(dataset, passages, path)
    keys = squad_format.TRAINING_WITH_NEGATIVES if with_negatives else squad_format.TRAINING
    try:
        passages = squad_format.read(path, keys=keys)
        examples.make_training_examples(dataset, passages, path, with_negatives)
    except InputError:
        pass  # a file to predict need not have answers
    return made


def tokenizer(lower):
    return tokenization.WordPieceTokenizer(VOCABULARY, lower)


@ANY
@given(data=wrong_data(), dataset=DATASETS, negatives=st.booleans())
def test_a_data_file_of_any_nesting(folder, data, dataset, negatives):
    path = written(folder, as_bytes(data))
    try:
        read_whole(path, dataset, negatives)
    except InputError as error:
        assert path in str(error)


@ANY
@given(
    st.one_of(
        st.binary(),
        TEXTS.map(lambda text: text.encode("utf-8", "surrogatepass")),
        st.text('[]{}":,0123456789eE+-.truefalsnI \n').map(lambda text: text.encode("ascii")),
    )
)
@example(b"[" * 2000)
@example(b"9" * 100000)
@example(b"NaN")
@example(b"\xef\xbb\xbf")
def test_a_file_of_any_bytes(folder, data):
    path = written(folder, data)
    for read in (
        squad_format.read,
        predictions_file.read,
        bert_config.read,
        results_table.read_table,
        attention_tables.read,
        effects.read,
        effects.read_by_type,
        question_scores.read,
        tokenization.read_vocabulary,
    ):
        try:
            read(path)
        except InputError as error:
            assert path in str(error)


@ANY
@given(
    st.one_of(
        JSON,
        st.fixed_dictionaries(
            {
                name: st.one_of(st.integers(1, 9), st.floats(0, 1), st.just("gelu"), NUMBERS)
                for name in bert_config.BertConfig._fields
            }
        ),
    )
)
def test_a_config_of_any_values(values):
    try:
        found = bert_config.make(values)
    except InputError:
        return
    assert found.hidden_size % found.num_attention_heads == 0 and np.isfinite(found.initializer_range)


@ANY
@given(data=RIGHT_DATA, dataset=DATASETS, lower=st.booleans(), sizes=SIZES, negatives=st.booleans())
def test_windows_of_any_text(folder, data, dataset, lower, sizes, negatives):
    made = read_whole(written(folder, as_bytes(data)), dataset, lower, negatives)
    try:
        found = Windows(made, tokenizer(lower), *sizes)
    except InputError as error:
        assert "leaves no room" in str(error)
        return
    batch = found.batch(range(len(found)))
    assert batch["input_ids"].max(initial=0) < len(VOCABULARY) and (batch["input_mask"].sum(axis=1) == found.lengths()).all()
    assert {number for number, passage in enumerate(found.passage_of) if len(found.passages[passage].ids)} == set(
        found.example_of
    )


@ANY
@given(data=RIGHT_DATA, dataset=DATASETS, lower=st.booleans())
@example(data=DROPPED_WORD, dataset=datasets.CMRC2018, lower=False)
def test_training_positions_of_any_answer(folder, data, dataset, lower):
    path = written(folder, as_bytes(data))
    try:
        made = examples.make_training_examples(dataset, squad_format.read(path), path, with_negatives=True)
        found = Windows(made, tokenizer(lower), 32, 8, 12)
    except InputError:
        return
    starts, ends = found.answer_positions(dataset.refines_answers)
    # The answer may be a word without pieces, which ends one before it starts.
    assert (starts <= ends + 1).all() and (starts < 32).all() and (ends < 32).all()


@ANY
@given(TEXTS, st.booleans())
def test_tokens_of_any_text(text, lower):
    pieces = tokenizer(lower).tokenize(text)
    assert set(pieces) <= set(tiny.PIECES)
    assert tokenizer(lower).text_ids(text) == VOCABULARY.to_ids(pieces) or "\t" in text or " " in text


LOGITS = st.one_of(st.floats(-1e4, 1e4, width=32), st.sampled_from([0.0, -1e30, 3e38]))


@ANY
@given(
    data=RIGHT_DATA,
    dataset=DATASETS,
    lower=st.booleans(),
    negatives=st.booleans(),
    n_best=st.one_of(st.integers(1, 40), st.just(2**63)),
    longest=st.one_of(st.integers(1, 40), st.just(2**63)),
    some_logits=st.lists(LOGITS, min_size=1, max_size=20),
    threshold=st.floats(allow_nan=False),
)
def test_answers_of_any_logits(folder, data, dataset, lower, negatives, n_best, longest, some_logits, threshold):
    path = written(folder, as_bytes(data))
    passages = squad_format.read(path, keys=squad_format.PREDICTION | squad_format.SCORING)
    try:
        found = Windows(examples.make_prediction_examples(dataset, passages, path), tokenizer(lower), 32, 8, 12)
    except InputError:
        return
    negatives = negatives and dataset is datasets.SQUAD
    decoder = Decoder(found, VOCABULARY, dataset, lower, n_best, longest, negatives, threshold)
    logits = np.resize(np.array(some_logits, np.float32), [len(found), 1, 2, 32])
    names = {what: what + ".json" for what in ["predictions", "nbest"] + ["null_odds"] * negatives}
    with answer_files.CellFiles(str(folder), names, dataset) as output:
        for number, one in enumerate(found.examples):
            rows = np.flatnonzero(found.example_of == number)
            (answer,) = decoder.answer(number, rows, tiny.best_positions(logits[rows], min(n_best, 32)))
            assert sum(answer.probabilities) == pytest.approx(1) and len(answer.entries) <= min(n_best + 1, 2**20)
            output.add(one.id, answer)
    predictions = predictions_file.read(str(folder / "predictions.json"))
    assert set(predictions) == {one.id for one in found.examples}
    assert set(dataset.evaluate(passages, predictions, None, 0.0).summary) >= set(dataset.metrics.values())


@ANY
@given(gold=TEXTS, predicted=TEXTS)
def test_scores_of_any_text(gold, predicted):
    for score in (
        squad_evaluate.token_f1,
        squad_evaluate.exact_match,
        cmrc2018_evaluate.segment_f1,
        cmrc2018_evaluate.exact_match,
    ):
        assert 0 <= score(gold, predicted) <= 1
        assert score(gold, gold) in (0, 1)


FLAGS = st.one_of(
    st.none(),
    st.text(),
    st.text("0123456789+,each "),
    st.text("q2p,+al "),
    st.lists(
        st.lists(
            st.sampled_from(tuple(attention_mask.ZONES) + ("each", "0", "1", " 01 ", "12", "-1", "²", "")), max_size=6
        ).map("+".join),
        max_size=6,
    ).map(",".join),
)


@ANY
@given(FLAGS, FLAGS, st.integers(1, 24))
@example("q2", "9" * 100000, 12)
@example("q2", "1\n", 12)
@example("+".join(["q2"] * 500), "0", 12)
def test_any_mask_flags(zone, layer, num_layers):
    try:
        cells = grid_cells.read_cells(zone, layer, num_layers)
    except InputError as error:
        assert len(str(error)) < 1000
        return
    names = [cell.name for cell in cells]
    assert len(set(names)) == len(names) and max(map(len, names)) < 200
    assert not any(os.sep in name or "\0" in name for name in names)
    assert all(cell.layers <= set(range(num_layers)) for cell in cells)


@ANY
@given(st.data())
def test_damaged_cached_pieces(folder, data):
    path = str(folder / "eval.features.npz")
    text = datasets.SQUAD.split(tiny.BRIDGE)
    made = [examples.Example("one", "What?", text)]
    whole = Windows(made, tokenizer(True), 32, 8, 12)
    feature_cache.save(path, {}, feature_cache.Pieces(whole.question_ids, whole.passage_of, whole.passages))
    content = bytearray(files.read_bytes(path))
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    files.write(path, bytes(content[: data.draw(st.integers(0, len(content)))]), binary=True)
    found = feature_cache.load(path, {})
    assume(found is not None)
    np.testing.assert_array_equal(found.passages[0].ids, whole.passages[0].ids)
