# SPDX-License-Identifier: Apache-2.0
"""Repeats what the study's released code wrote on the small data of this folder; see README.md."""

import os

import pytest
import tensorflow.compat.v1 as tf
import tiny

HERE = os.path.dirname(os.path.abspath(__file__))
CASES = tiny.read_json(HERE, "cases.json")
LOGITS = 2e-3  # largest difference of a logit, a sum of products in another order


def expected(name):
    return tiny.read_json(HERE, "expected", name + ".json")


def run(name, folder):
    """Runs a case with the flags of the recording."""
    case = CASES[name]
    language = "zh" if case["data"] == "cmrc2018.json" else "en"
    flags = dict(
        vocab_file=os.path.join(HERE, f"vocab_{language}.txt"),
        bert_config_file=os.path.join(HERE, f"bert_config_{language}.json"),
        init_checkpoint=os.path.join(HERE, f"model_{language}.ckpt"),
        output_dir=folder,
        do_lower_case=True,
        max_seq_length=64,
        doc_stride=24,
        max_query_length=16,
        predict_batch_size=4,
    )
    data = os.path.join(HERE, case["data"])
    if case.get("train"):
        flags.update(do_train=True, train_file=data, num_train_epochs=1, train_batch_size=8)
    else:
        flags.update(do_predict=True, predict_file=data)
    if case["zone"]:
        flags.update(mask_zone=case["zone"], mask_layer=case["layer"])
    if name.startswith("squad2"):
        flags.update(version_2_with_negative=True)
    code, _, err = tiny.run(case["script"], **flags)
    assert code == 0, err


@pytest.mark.parametrize("name", [name for name in CASES if not CASES[name].get("train")])
def test_the_answers_are_those_of_the_released_code(name, tmp_path):
    run(name, tmp_path)
    released = expected(name)
    assert tiny.read_json(tmp_path, released["predictions_file"]) == released["predictions"]
    (file,) = tmp_path.glob("nbest_predictions*.json")
    n_best = tiny.read_json(file)
    for question, entries in released["nbest"].items():
        ours = n_best[question][: len(entries)]
        for key in set(entries[0]) - {"probability"}:
            values = [entry[key] for entry in entries]
            if key.endswith("_logit"):
                values = pytest.approx(values, abs=LOGITS)
            assert [entry[key] for entry in ours] == values
    if "null_odds" in released:
        odds = tiny.read_json(next(tmp_path.glob("null_odds*.json")))
        assert odds == pytest.approx(released["null_odds"], abs=LOGITS)


@pytest.mark.parametrize("name", [name for name in CASES if CASES[name].get("train")])
def test_the_training_records_are_those_of_the_released_code(name, tmp_path):
    run(name, tmp_path)
    records = expected(name)["records"]
    path = str(tmp_path / "train.tf_record")
    ours = list(tf.python_io.tf_record_iterator(path))
    assert len(ours) == len(records)
    for serialized, record in zip(ours, records):
        features = tf.train.Example.FromString(serialized).features.feature
        values = {name: list(feature.int64_list.value) for name, feature in features.items()}
        assert values["input_ids"][: sum(values["input_mask"])] == record["input_ids"]
        assert sum(values["segment_ids"]) == record["segment_sum"]
        assert values["start_positions"] == [record["start"]]
        assert values["end_positions"] == [record["end"]]
