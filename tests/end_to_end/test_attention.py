# SPDX-License-Identifier: Apache-2.0
"""Tests of --do_attention: its tables, its masks, and that a stopped run resumes with the same
bytes.
"""

import csv
import glob
import os

import numpy as np
import pytest
import tiny

import attention_mask
from mrc import datasets
from mrc.answers import attention_tables
from mrc.experiment import attention
from mrc.experiment import run as experiment
from mrc.model import attention_sums


def attend(paths, folder, dataset=datasets.SQUAD, data="squad", **changes):
    flags = dict(tiny.model_flags(paths, output_dir=str(folder), predict_file=paths[data], **changes), do_attention=True)
    experiment.run(dataset, tiny.flag_values(**flags))


def tables(folder):
    found = {}
    for path in glob.glob(os.path.join(str(folder), "attention*.csv")):
        with open(path, "rb") as reader:
            found[os.path.basename(path)] = reader.read()
    return found


@pytest.mark.parametrize("dataset, data", [(datasets.SQUAD, "squad"), (datasets.CMRC2018, "cmrc")], ids=["squad", "cmrc"])
def test_masses_sum_to_one(paths, tmp_path, dataset, data):
    attend(paths, tmp_path, dataset, data)
    assert sorted(tables(tmp_path)) == ["attention.csv", "attention_entropy.csv"]
    masses = attention_tables.read(str(tmp_path / "attention.csv"))
    for query in attention_tables.QUERY_GROUPS:
        total = sum(masses[query, key] for key in attention_tables.KEY_GROUPS)
        np.testing.assert_allclose(total, np.ones([2, 2]), atol=1e-5)
        assert not masses[query, "padding"].any()


def test_uniform_is_the_share_of_the_keys_by_hand():
    # Windows of 2 + 5 + 3 and 4 + 13 + 3 tokens.
    uniform = attention_tables.uniform_attention([[2, 5, 1, 2], [4, 13, 1, 2]])
    groups = dict(zip(attention_tables.KEY_GROUPS, uniform.masses[0]))
    assert groups["passage"] == pytest.approx((2 * 5 / 10 + 4 * 13 / 20) / 6)
    assert groups["padding"] == 0.0
    assert uniform.entropies[1] == pytest.approx((5 * np.log(10) + 13 * np.log(20)) / 18)


def test_attention_that_ignores_its_keys_has_a_lift_of_one(paths, tmp_path, monkeypatch):
    def uniform(query, *others):
        return summed_attention(0.0 * query, *others)

    summed_attention = attention_sums.summed_attention
    monkeypatch.setattr(attention_sums, "summed_attention", uniform)
    attend(paths, tmp_path)
    with open(str(tmp_path / "attention.csv"), encoding="utf-8") as reader:
        masses = list(csv.DictReader(reader))
    for row in masses:
        assert float(row["mass"]) == pytest.approx(float(row["uniform"]), abs=2e-6)
        if row["key"] == "padding":
            assert row["lift"] == ""
        else:
            assert float(row["lift"]) == pytest.approx(1.0, abs=2e-4)
    with open(str(tmp_path / "attention_entropy.csv"), encoding="utf-8") as reader:
        shares = [float(row["share"]) for row in csv.DictReader(reader)]
    assert len(masses) == 2 * 2 * 4 * 5 and shares == pytest.approx([1.0] * 16, abs=1e-5)


def test_tables_without_uniform_are_read(tmp_path):
    whole, columns = np.full([1, 1, 4, 5], 0.2), slice(0, 5)
    text, _ = attention_tables.to_csv(whole, whole[..., 0], attention_tables.uniform_attention(np.ones([1, 4])))
    lines = [",".join(line.split(",")[columns]) for line in text.splitlines()]
    (tmp_path / "attention.csv").write_text("\n".join(lines), encoding="utf-8")
    assert lines[0] == "layer,head,query,key,mass"
    assert attention_tables.read(str(tmp_path / "attention.csv"))["cls", "sep"] == [[0.2]]


@pytest.mark.parametrize("zone", sorted(attention_mask.BLOCKS))
def test_a_masked_zone_has_no_mass_in_its_layer_and_head(paths, tmp_path, zone):
    attend(paths, tmp_path, mask_zone=zone, mask_layer="1", mask_head="0")
    name = f"attention_layer1_{zone}_head0.csv"
    assert sorted(tables(tmp_path)) == sorted([name, name.replace("tion_", "tion_entropy_", 1)])
    mass = attention_tables.read(str(tmp_path / name))[attention_mask.BLOCKS[zone]]
    assert mass[1, 0] == 0.0
    assert (mass[0] > 0.0).all() and mass[1, 1] > 0.0


def test_attention_does_not_change_the_answers(paths, tmp_path):
    attend(paths, tmp_path / "both", do_predict=True, do_eval=True)
    attend(paths, tmp_path / "alone")
    assert tables(tmp_path / "both") == tables(tmp_path / "alone")
    flags = tiny.model_flags(paths, output_dir=str(tmp_path / "answers"), predict_file=paths["squad"])
    experiment.run(datasets.SQUAD, tiny.flag_values(do_predict=True, **flags))
    name = "nbest_predictions.json"
    assert tiny.read_json(tmp_path, "both", name) == tiny.read_json(tmp_path, "answers", name)


def test_the_run_record_has_the_tables(paths, tmp_path):
    attend(paths, tmp_path)
    run = tiny.read_json(tmp_path, "run.json")["runs"][-1]
    assert sorted(run["results"]) == ["attention.csv", "attention_entropy.csv"]
    assert "predict_file" in run["inputs"] and "attention" in run["parts"]


class Stopped(Exception):
    """Simulates a power cut."""


@pytest.mark.parametrize("batches", [1, 3])
def test_a_stopped_run_resumes_with_the_same_bytes(paths, tmp_path, monkeypatch, batches, capsys):
    attend(paths, tmp_path / "whole", predict_batch_size=2)
    add, added = attention.Totals.add, []

    def stops(self, *batch):
        if len(added) == batches:
            raise Stopped()
        added.append(batch)
        add(self, *batch)

    monkeypatch.setattr(attention.Totals, "add", stops)
    with pytest.raises(Stopped):
        attend(paths, tmp_path / "stopped", predict_batch_size=2)
    assert not tables(tmp_path / "stopped")
    again = []
    monkeypatch.setattr(attention.Totals, "add", lambda self, *batch: (again.append(batch), add(self, *batch)))
    attend(paths, tmp_path / "stopped", predict_batch_size=2)
    assert f"resuming the attention in {tmp_path / 'stopped'}: {2 * batches} of" in (capsys.readouterr().out)
    assert again and not any((a[0] == b[0]).all() for a in added for b in again)
    assert tables(tmp_path / "stopped") == tables(tmp_path / "whole")
    assert not glob.glob(str(tmp_path / "stopped" / "unfinished*"))


def test_damaged_sums_are_computed_again(paths, tmp_path, monkeypatch):
    attend(paths, tmp_path / "whole", predict_batch_size=2)
    flush = attention.Totals.flush

    def cut(self):
        flush(self)
        (path,) = glob.glob(str(tmp_path / "cut" / "unfinished*" / "attention.npz"))
        with open(path, "r+b") as writer:
            writer.truncate(100)
        raise Stopped()

    monkeypatch.setattr(attention.Totals, "flush", cut)
    with pytest.raises(Stopped):
        attend(paths, tmp_path / "cut", predict_batch_size=2)
    monkeypatch.setattr(attention.Totals, "flush", flush)
    attend(paths, tmp_path / "cut", predict_batch_size=2)
    assert tables(tmp_path / "cut") == tables(tmp_path / "whole")


def test_finished_tables_are_not_computed_again(paths, tmp_path, capsys, monkeypatch):
    attend(paths, tmp_path)
    before = tables(tmp_path)
    monkeypatch.setattr(attention.forward_pass, "results_of", None)
    attend(paths, tmp_path)
    assert "attention.csv is in" in capsys.readouterr().out and tables(tmp_path) == before


def test_other_flags_or_an_edit_are_computed_again(paths, tmp_path):
    attend(paths, tmp_path)
    before = tables(tmp_path)
    attend(paths, tmp_path, doc_stride=4)
    assert tables(tmp_path) != before
    attend(paths, tmp_path)
    (tmp_path / "attention.csv").write_text("edited", encoding="utf-8")
    attend(paths, tmp_path)
    assert tables(tmp_path) == before


def test_sets_of_tokens_have_rows_of_their_own(paths, tmp_path):
    attend(paths, tmp_path / "with", attention_sets="answer,wh")
    attend(paths, tmp_path / "without")
    masses, plain = (attention_tables.read(str(tmp_path / name / "attention.csv")) for name in ("with", "without"))
    assert set(plain) < set(masses) and ("wh", "answer") in masses
    for pair, mass in plain.items():
        np.testing.assert_allclose(mass, masses[pair], atol=1e-6)
    for query in ("question", "answer"):
        assert (masses[query, "answer"] <= masses[query, "passage"] + 1e-6).all()
        assert (masses[query, "wh"] > 0.0).all()
    (header, *rows) = (tmp_path / "with" / "attention.csv").read_text().splitlines()
    uniform = {tuple(row.split(",")[2:4]): float(row.split(",")[5]) for row in rows if row.startswith("0,0,")}
    assert 0.0 < uniform["wh", "answer"] < uniform["wh", "passage"] < 1.0
    assert uniform["wh", "padding"] == 0.0
