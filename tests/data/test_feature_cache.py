# SPDX-License-Identifier: Apache-2.0
"""Tests of feature_cache.py and tfrecords.py: the cache is used if and only if it is valid."""

import os

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from mrc import datasets
from mrc.data import feature_cache, tfrecords, windows
from mrc.data.examples import Example
from mrc.experiment import forward_pass, training
from tokenization import Vocabulary, WordPieceTokenizer

INT64 = st.integers(-(2**63), 2**63 - 1)
INTEGERS = st.one_of(
    st.sampled_from([0, 1, 127, 128, 16383, 16384, 2**31, 2**56 - 1, 2**56, 2**63 - 1, -1, -(2**63)]),
    st.integers(0, 127),
    INT64,
)


@settings(deadline=None)
@given(st.data())
def test_records_are_read_back_by_protocol_buffers(data):
    rows, wide = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 200))
    columns = {
        name: np.array(
            data.draw(st.lists(st.lists(INTEGERS, min_size=width, max_size=width), min_size=rows, max_size=rows)), np.int64
        )
        for name, width in (("a", 1), ("input_ids", 5))
    }
    columns["wide"] = np.full([rows, wide], data.draw(INTEGERS), np.int64)
    serialized = tfrecords.serialize(columns)
    assert len(serialized) == rows
    for row, record in enumerate(serialized):
        found = tf.train.Example.FromString(record).features.feature
        assert {name: list(found[name].int64_list.value) for name in found} == {
            name: column[row].tolist() for name, column in columns.items()
        }


def squad_windows(**changes):
    sizes = dict(dict(max_seq_length=24, doc_stride=8, max_query_length=5), **changes)
    made = [
        Example(question["id"], question["question"], text, passage=number)
        for number, paragraph in enumerate(tiny.squad()["data"][0]["paragraphs"])
        for text in [datasets.SQUAD.split(paragraph["context"])]
        for question in paragraph["qas"]
    ]
    return windows.Windows(made, WordPieceTokenizer(Vocabulary(tiny.PIECES), True), **sizes)


def test_blocks_of_records_and_padding(tmp_path, monkeypatch):
    found, path, names = squad_windows(), str(tmp_path / "records"), ("unique_ids", "input_ids")
    assert len(found) % 5 and len(found) % 3
    monkeypatch.setattr(tfrecords, "BLOCK", 3)
    rows = list(range(len(found))) + [windows.PADDING_WINDOW] * (-len(found) % 5)
    tfrecords.write(path, found, names, rows=rows)
    wanted = found.batch(rows)
    read = [tf.train.Example.FromString(record).features.feature for record in tf.python_io.tf_record_iterator(path)]
    for name in names:
        assert [list(one[name].int64_list.value) for one in read] == wanted[name].reshape([len(read), -1]).tolist()
    assert set(read[0]) == set(names)


def assert_same_pieces(ours, theirs):
    assert ours.passage_of == theirs.passage_of and len(ours.passages) == len(theirs.passages)
    for array, other in zip(ours.question_ids, theirs.question_ids):
        np.testing.assert_array_equal(array, other)
        assert array.dtype == np.int32
    for passage, other in zip(ours.passages, theirs.passages):
        for array, theirs in zip(passage, other):
            np.testing.assert_array_equal(array, theirs)
            assert array.dtype == np.int32


@pytest.mark.parametrize("questions", [0, 1, 300])
def test_pieces_are_cached(tmp_path, questions):
    random = np.random.RandomState(1)
    passages = [
        windows.passage_pieces(random.randint(0, 70000, counts.sum()).astype(np.int32), counts)
        for counts in (random.randint(0, 300, words) for words in (0, 3, 200))
    ]
    pieces = windows.Pieces(
        [random.randint(0, 9, number % 7).astype(np.int32) for number in range(questions)],
        [number % 3 for number in range(questions)],
        passages if questions else [],
    )
    path = str(tmp_path / "cached.npz")
    feature_cache.save(path, {"a": 1}, pieces)
    assert_same_pieces(feature_cache.load(path, {"a": 1}), pieces)


def test_pieces_with_another_fingerprint_are_not_used(tmp_path, monkeypatch):
    path = str(tmp_path / "cached.npz")
    assert feature_cache.load(path, {}) is None
    feature_cache.save(path, {"a": 1}, windows.Pieces([], [], []))
    assert feature_cache.load(path, {"a": 1}) is not None and feature_cache.load(path, {"a": 2}) is None
    monkeypatch.setattr(feature_cache, "VERSION", feature_cache.VERSION + 1)
    assert feature_cache.load(path, {"a": 1}) is None


@pytest.fixture
def cuts(monkeypatch):
    """The number of examples that each run cuts into pieces."""
    made, cut = [], windows.cut

    def counting(examples, *arguments):
        made.append(len(examples))
        return cut(examples, *arguments)

    monkeypatch.setattr(feature_cache, "cut", counting)
    return made


def windows_of_run(paths, output_dir, dataset=datasets.SQUAD, **changes):
    """Returns the windows of a prediction run."""
    flags = dict(tiny.model_flags(paths, output_dir=str(output_dir)), do_predict=True, predict_file=paths["squad"])
    return forward_pass.make_windows(tiny.read_inputs(dataset, **dict(flags, **changes)))


def test_a_run_reuses_its_cached_pieces(paths, tmp_path, cuts):
    first, again = (windows_of_run(paths, tmp_path, mask_zone=zone) for zone in (None, "p2"))
    assert cuts == [4] and os.listdir(str(tmp_path)) == [forward_pass.FEATURES_FILE]
    for name, array in first.batch(range(len(first))).items():
        np.testing.assert_array_equal(again.batch(range(len(first)))[name], array)
    assert_same_pieces(again, first)


def test_pieces_are_cut_again_for_another_text(paths, tmp_path, cuts):
    vocabulary = tmp_path / "vocab.txt"
    vocabulary.write_text("\n".join(tiny.PIECES[:-1] + ["changed"]) + "\n", encoding="utf-8")
    data = tiny.squad()
    data["data"][0]["paragraphs"][0]["qas"][0]["question"] = "What?"
    data = tiny.write_json(tmp_path / "changed.json", data)
    for changes in (
        dict(predict_file=data),
        dict(vocab_file=str(vocabulary)),
        dict(max_seq_length=31),
        dict(doc_stride=7),
        dict(max_query_length=5),
        dict(do_lower_case=False),
        dict(version_2_with_negative=True),
        dict(dataset=datasets.CMRC2018),
    ):
        windows_of_run(paths, tmp_path)
        del cuts[:]
        windows_of_run(paths, tmp_path, **changes)
        windows_of_run(paths, tmp_path, **changes)
        assert cuts == [4], changes


def test_a_damaged_cache_is_written_again(paths, tmp_path, cuts, monkeypatch):
    warnings = []
    monkeypatch.setattr(tf.logging, "warning", lambda text, *values: warnings.append(text % values))
    windows_of_run(paths, tmp_path)
    path = tmp_path / forward_pass.FEATURES_FILE
    whole = path.read_bytes()
    middle = whole.index(b"passages.npy") + 140  # inside an array: its checksum is wrong
    for damaged in (
        b"",
        b"text",
        whole[: len(whole) // 2],
        whole.replace(b"passages.npy", b"massages.npy"),
        whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
    ):
        path.write_bytes(damaged)
        del cuts[:], warnings[:]
        windows_of_run(paths, tmp_path)
        assert cuts == [4] and len(warnings) == 1
        assert warnings[0].startswith(f"{path} is not used (")
        assert path.read_bytes() == whole


def test_training_records_are_reused(paths, tmp_path):
    path = str(tmp_path / training.RECORDS_FILE)
    note = path + ".json"
    found = squad_windows()

    def written(fingerprint):
        before = os.stat(path).st_ino if os.path.exists(path) else None
        assert training.write_records(found, datasets.SQUAD, str(tmp_path), fingerprint) == path
        return os.stat(path).st_ino != before

    assert written({"a": 1}) and not written({"a": 1})
    assert written({"a": 2}) and not written({"a": 2})
    with open(path, "ab") as writer:
        writer.write(b"more")
    assert written({"a": 2})
    with open(note, "w") as writer:
        writer.write("{")
    assert written({"a": 2}) and not written({"a": 2})
    os.remove(note)
    assert written({"a": 2})


def test_partially_written_records_are_written_again(tmp_path):
    path = str(tmp_path / "records")
    for fingerprint in ({"a": 1}, {"a": 2}):
        try:
            with feature_cache.noting_records(path, fingerprint), open(path, "w") as writer:
                writer.write("same")
                if fingerprint == {"a": 2}:
                    raise KeyboardInterrupt()
        except KeyboardInterrupt:
            pass
    assert not feature_cache.has_records(path, {"a": 1}) and not feature_cache.has_records(path, {"a": 2})


def test_tpu_records(tmp_path):
    found, seen = squad_windows(), []
    for batches, fingerprint in (
        ([[0, 1], [2, -1]], {"a": 1}),
        ([[0, 1], [2, -1]], {"a": 1}),
        ([[2, -1]], {"a": 1}),
        ([[2, -1]], {"a": 2}),
    ):
        forward_pass.make_tpu_input_fn(found, batches, str(tmp_path), fingerprint)
        path = tmp_path / forward_pass.RECORDS_FILE
        seen.append((len(list(tf.python_io.tf_record_iterator(str(path)))), path.stat().st_ino))
    assert [count for count, _ in seen] == [4, 4, 2, 2]
    assert [inode == seen[number - 1][1] for number, (_, inode) in enumerate(seen)][1:] == [True, False, False]
