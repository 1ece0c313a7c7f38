# SPDX-License-Identifier: Apache-2.0
"""Tests of sets of tokens: from the data or a zones file, through pieces, windows and strides."""

import numpy as np
import pytest
import tiny

import attention_mask
import tokenization
from mrc import datasets
from mrc.data import examples, sentences, squad_format, token_sets
from mrc.data.token_sets import Spans
from mrc.data.windows import Windows
from mrc.util.errors import InputError


@pytest.mark.parametrize(
    "text, parts",
    [
        ("Dr. Hill left. It rained.", ["Dr. Hill left.", "It rained."]),
        ("He came at 5 p.m. on Monday. J. Smith did not!", ["He came at 5 p.m. on Monday.", "J. Smith did not!"]),
        ('"Go!" she said. 12 boats left.', ['"Go!" she said.', "12 boats left."]),
        ("It cost 1.5 million. e.g. nothing", ["It cost 1.5 million. e.g. nothing"]),
        ("one\n\ntwo", ["one", "two"]),
        ("灯塔很老。它是红色的！“谁建的？”没人知道", ["灯塔很老。", "它是红色的！", "“谁建的？”", "没人知道"]),
        ("", []),
        ("  \n ", []),
    ],
)
def test_sentences(text, parts):
    assert [text[start:stop] for start, stop in sentences.split(text)] == parts


def test_overlap_leaves_function_words_out_and_ignores_case():
    context = "The Lantern of the old town, a lantern."
    spans = token_sets.overlap_spans(context, "Where is THE lantern of the town?")
    assert [context[start:stop] for start, stop in spans] == ["Lantern", "town", "lantern"]
    context = "古老的灯塔在河上"
    spans = token_sets.overlap_spans(context, "灯塔在什么上？")
    assert [context[start:stop] for start, stop in spans] == ["灯", "塔"]


VOCABULARY = tokenization.Vocabulary("[UNK] ( ) caf ##e ##s ' s 灯 塔 a".split())


@pytest.mark.parametrize(
    "word, lower, offsets",
    [
        ("(Cafés)", True, [(0, 1), (1, 4), (4, 5), (5, 6), (6, 7)]),
        ("Cafe\u0301s", True, [(0, 3), (3, 4), (5, 6)]),  # the accent is in no piece
        ("灯塔", True, [(0, 1), (1, 2)]),
        ("zzz's", True, [(0, 3), (3, 4), (4, 5)]),  # an unknown word
        ("a\u0000a", True, [(0, 3)]),  # a control character is dropped: one unknown word
        ("\u0130", True, [(0, 1)]),
        ("", True, []),
    ],
)
def test_offsets_of_word_pieces(word, lower, offsets):
    tokenizer = VOCABULARY.tokenizer(lower)
    assert tokenizer.offsets(word) == offsets
    assert len(offsets) == len(tokenizer.word_ids(word))


def make_windows(data=None, dataset=datasets.SQUAD, names=(), zones=None, **lengths):
    """Returns the windows of the tiny data with these sets."""
    path = lengths.pop("path")
    tiny.write_json(path, data or tiny.squad())
    keys = squad_format.PREDICTION | squad_format.SCORING | {"answer_start"}
    passages = squad_format.read(str(path), keys=keys)
    found = examples.make_prediction_examples(dataset, passages, str(path))
    questions = [question for passage in passages for question in passage.questions]
    tokenizer = tokenization.Vocabulary(tiny.PIECES).tokenizer(True)
    sizes = dict(max_seq_length=32, doc_stride=8, max_query_length=12)
    windows = Windows(found, tokenizer, **dict(sizes, **lengths))
    spans = token_sets.find_spans(names, found, questions, dataset, zones or {})
    windows.token_sets = token_sets.TokenSetArrays(windows, spans)
    return windows


def members(windows, name, example):
    """Returns the words of pieces that are members, over all windows of an example."""
    rows = np.flatnonzero(windows.example_of == example)
    batch = windows.batch(rows)
    pieces = np.array(tiny.PIECES)[batch["input_ids"]]
    return [pieces[row][batch[attention_mask.set_feature(name)][row] > 0].tolist() for row in range(len(rows))]


def test_answers_are_followed_into_every_window(tmp_path):
    windows = make_windows(names=["answer", "answer_sentence"], path=tmp_path / "data.json")
    found = members(windows, "answer", 0)
    assert ["green"] in found and all(each in ([], ["green"]) for each in found)
    first = members(windows, "answer_sentence", 3)[0]
    assert first == "a stone bridge stands over the river .".split()


def test_the_interrogative_is_in_the_question(tmp_path):
    windows = make_windows(names=["wh"], path=tmp_path / "data.json")
    assert all(each == ["where"] for each in members(windows, "wh", 1))
    assert all(each == ["who"] for each in members(windows, "wh", 2))


def test_random_tokens_are_as_many_as_the_question_has_and_the_same_each_time(tmp_path):
    windows, again = (make_windows(names=["random_question"], path=tmp_path / "data.json") for _ in range(2))
    batch = windows.batch(range(len(windows)))
    chosen = batch["set_random_question"]
    for row, example in enumerate(windows.example_of):
        length = min(len(windows.question_ids[example]), windows.span_lengths[row])
        assert chosen[row].sum() == length
        assert (chosen[row] <= batch["input_span_mask"][row]).all() and chosen[row][0] == 0
    np.testing.assert_array_equal(again.batch(range(len(again)))["set_random_question"], chosen)


def test_a_random_sentence_is_as_long_and_elsewhere(tmp_path, capsys):
    windows = make_windows(names=["answer_sentence", "random_answer_sentence"], path=tmp_path / "data.json")
    for (_, own), (_, other) in zip(*windows.token_sets._members.values()):
        assert not (own & other).any() and other.sum() in (0, own.sum())
    assert "random_answer_sentence: " in capsys.readouterr().out


def test_a_token_is_a_member_if_its_piece_overlaps_a_span(tmp_path):
    context = tiny.BRIDGE  # A stone bridge stands over the river. ...
    start, end = context.index("tone"), context.index("stands") + len("stands")
    zones = {"bridge": {"focus": Spans(((0, 1),), ((start, start + 1), (end - 1, end)))}}
    windows = make_windows(names=["focus"], zones=zones, path=tmp_path / "data.json")
    assert members(windows, "focus", 3)[0] == ["what", "stone", "stands"]
    assert not any(members(windows, "focus", 0))


def test_a_span_beyond_the_end_of_the_question_is_reported(tmp_path, monkeypatch):
    warnings = []
    monkeypatch.setattr(token_sets, "warn", warnings.append)
    zones = {"colour": {"focus": Spans(((0, 4), (30, 37)), ())}}
    make_windows(names=["focus"], zones=zones, path=tmp_path / "data.json", max_query_length=3)
    assert warnings == ["focus: --max_query_length cuts off spans of 1 questions (the first is colour)"]


@pytest.mark.parametrize(
    "value, message",
    [
        ([], "is not an object of question id to sets"),
        ({"colour": []}, "is not an object of question id to sets"),
        ({"colour": {"Focus": {}}}, 'has a set called "Focus"; use lower-case letters'),
        ({"colour": {"a-b": {}}}, 'has a set called "a-b"; use lower-case letters'),
        ({"colour": {"answer": {}}}, 'has a set called "answer", which exists already'),
        ({"colour": {"any": {}}}, 'has a set called "any", which exists already'),
        ({"colour": {"focus": []}}, '"focus" is [], write it as in'.replace(",", ";")),
        ({"colour": {"focus": {"title": []}}}, '"focus" is {"title": []}; write it as in'),
        ({"colour": {"focus": {"question": 3}}}, '"question" is not a list of spans'),
        ({"colour": {"focus": {"question": [[4]]}}}, "has the span [4]; a span is [start, stop]"),
        ({"colour": {"focus": {"question": [[4, 4]]}}}, "has the span [4, 4]"),
        ({"colour": {"focus": {"passage": [[-1, 4]]}}}, "has the span [-1, 4]"),
        ({"colour": {"focus": {"passage": [[0, 1.5]]}}}, "has the span [0, 1.5]"),
        ({"nobody": {"focus": {}}}, "has the question nobody, which is not in the prediction file"),
        (
            {"colour": {"focus": {"question": [[0, 9000]]}}},
            "the span [0, 9000] exceeds the question, which has 36 characters",
        ),
    ],
)
def test_a_wrong_zones_file_is_refused(paths, tmp_path, value, message):
    path = tiny.write_json(tmp_path / "zones.json", value)
    with pytest.raises(InputError) as caught:
        tiny.read_inputs(
            datasets.SQUAD,
            do_predict=True,
            mask_zone="passage-focus",
            zones_file=path,
            output_dir=str(tmp_path),
            predict_file=paths["squad"],
            **{name: paths[name] for name in ("bert_config_file", "vocab_file", "init_checkpoint")},
            max_seq_length=32,
        )
    assert message in str(caught.value) and "\n" not in str(caught.value)
