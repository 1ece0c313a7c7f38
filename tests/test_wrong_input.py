# SPDX-License-Identifier: Apache-2.0
"""Wrong flags, files and models: each ends in a sentence that names the value and the remedy, with exit code 2."""
from __future__ import absolute_import, division, print_function

import os
import shutil

import pytest

import datasets
import experiment
import tiny

PREDICT = {"do_predict": True}
TRAIN = {"do_train": True}


@pytest.fixture
def sentence(paths, tmp_path, capsys):
    """Returns a function that carries out a run and returns the sentence in which it ends."""
    def run(dataset=datasets.SQUAD, **changes):
        values = tiny.model_flags(paths, output_dir=str(tmp_path / "out"), train_file=paths["squad"],
                                  predict_file=paths["squad"])
        values.update(changes)
        with pytest.raises(SystemExit) as end:
            experiment.run(dataset, tiny.flag_values(**values))
        assert end.value.code == 2
        captured = capsys.readouterr().err
        assert captured.count("error: ") == 1 and "Traceback" not in captured
        return captured[captured.index("error: ") + len("error: "):].rstrip("\n")
    return run


@pytest.mark.parametrize("changes, wanted", [
    ({}, "nothing to do: give at least one of --do_train, --do_predict and --do_eval"),
    (dict(PREDICT, bert_config_file=None), "--bert_config_file is needed; see --help"),
    (dict(PREDICT, vocab_file=None), "--vocab_file is needed; see --help"),
    (dict(PREDICT, output_dir=None), "--output_dir is needed; see --help"),
    (dict(PREDICT, output_dir=""), "--output_dir is needed; see --help"),
    (dict(TRAIN, train_file=None), "--do_train needs --train_file"),
    (dict(PREDICT, predict_file=None), "--do_predict needs --predict_file"),
    ({"do_eval": True, "predict_file": None}, "--do_eval needs --eval_file or --predict_file to score against"),
    (dict(TRAIN, mask_zone="q2"),
     "--mask_zone and --mask_layer act in prediction; leave them out or add --do_predict"),
    (dict(TRAIN, mask_layer="0"),
     "--mask_zone and --mask_layer act in prediction; leave them out or add --do_predict"),
    (dict(PREDICT, mask_zone="p3"), "--mask_zone: there is no zone \"p3\"; the zones are all, q2, q2p, p2q, p2"),
    (dict(PREDICT, mask_zone="q2", mask_layer="2"),
     "--mask_layer: there is no layer \"2\"; the layers are 0 to 1, or "
     "\"each\" for a cell of each"),
    (dict(PREDICT, mask_zone="q2", mask_layer="-1"), "there is no layer \"-1\""),
    (dict(PREDICT, mask_layer="0"),
     "--mask_layer=0 says where but not what; add --mask_zone (all, q2, q2p, p2q, p2)"),
    (dict(PREDICT, max_seq_length=65), "--max_seq_length=65 is more than the 64 positions of the model in "),
    (dict(PREDICT, max_seq_length=10),
     "--max_seq_length=10 leaves no room for the passage beside question colour, which has "
     "8 word pieces; use at least 12, or a smaller --max_query_length"),
    (dict(TRAIN, max_seq_length=10), "--max_seq_length=10 leaves no room for the passage"),
    (dict(TRAIN, train_batch_size=9),
     "4 examples and --num_train_epochs=2 make no step of --train_batch_size=9; use a smaller "
     "batch or more epochs"),
    (dict(PREDICT, init_checkpoint=None),
     "holds no trained checkpoint; give --init_checkpoint or train first with --do_train"),
    (dict(PREDICT, init_checkpoint="nowhere/bert_model.ckpt"),
     "there is no checkpoint nowhere/bert_model.ckpt; give the path "
     "up to and with .ckpt"),
    (dict(PREDICT, predict_file="nowhere.json"),
     "the prediction file nowhere.json does not exist; check the path"),
    (dict(TRAIN, train_file="nowhere.json"), "the training file nowhere.json does not exist; check the path"),
    ({"do_eval": True, "eval_file": "nowhere.json"},
     "the evaluation file nowhere.json does not exist; check the path"),
    (dict(PREDICT, bert_config_file="nowhere.json"),
     "the BERT config nowhere.json does not exist; check the path"),
    (dict(PREDICT, vocab_file="nowhere.txt"), "the vocabulary nowhere.txt does not exist; check the path"),
    (dict(PREDICT, use_tpu=True), "--use_tpu needs --tpu_name, the name or grpc:// address of the TPU"),
    (dict(PREDICT, use_tpu=True, tpu_name="t", master="grpc://10.0.0.1:8470"),
     "--tpu_name=t and --master=grpc://10.0.0.1:8470 both say where the TPU is; give one of them"),
    (dict(PREDICT, use_tpu=True, tpu_name="t", output_dir="here"),
     "a TPU reads and writes gs:// paths only, and --output_dir=here is local"),
    (dict(PREDICT, use_tpu=True, tpu_name="t", output_dir="gs://b/o"),
     "a TPU reads and writes gs:// paths only, and --init_checkpoint="),
    (dict(PREDICT, use_tpu=True, tpu_name="t", output_dir="gs://b/o", init_checkpoint="gs://b/c", predict_batch_size=12),
     "--predict_batch_size=12 is no multiple of the 8 TPU cores"),
    (dict(PREDICT, use_tpu=True, tpu_name="t", trim_padding=True), "--trim_padding makes batches of many lengths"),
])
def test_flags(sentence, changes, wanted):
    assert wanted in sentence(**changes)


@pytest.mark.parametrize("dataset", [datasets.SQUAD, datasets.CMRC2018])
@pytest.mark.parametrize("folder, do_lower_case, wanted", [
    ("uncased_L-12_H-768_A-12", False, True), ("uncased_L-24_H-1024_A-16", False, True),
    ("multilingual_L-12_H-768_A-12", False, True), ("chinese_L-12_H-768_A-12", False, True),
    ("cased_L-12_H-768_A-12", True, False), ("cased_L-24_H-1024_A-16", True, False),
    ("multi_cased_L-12_H-768_A-12", True, False)])
def test_case_against_the_checkpoints_name(sentence, tmp_path, dataset, folder, do_lower_case, wanted):
    (tmp_path / folder).mkdir()
    path = str(tmp_path / folder / "bert_model.ckpt")
    found = sentence(dataset, do_predict=True, init_checkpoint=path, do_lower_case=do_lower_case)
    assert found.startswith("--do_lower_case=%s does not fit --init_checkpoint=%s: " % (do_lower_case, path))
    assert found.endswith("give --do_lower_case=%s" % wanted)
    assert "there is no checkpoint" in sentence(dataset, do_predict=True, init_checkpoint=path,
                                                do_lower_case=wanted)


@pytest.mark.parametrize("content, wanted", [
    ("", "is empty; JSON was expected"),
    ("{\"data\": [", "is not valid JSON: Expecting value at line 1, column 11; is the file whole?"),
    ("{\"data\": [{\"paragraphs\": [{\"qas\": [{\"id\": 3}]}]}]}",
     "is not in SQuAD format: at data[0].paragraphs[0].qas[0].id stands a whole number where a text belongs"),
    ("{\"data\": []}", "has no questions; there is nothing to do"),
])
@pytest.mark.parametrize("what, flag",
                         [("do_train", "train_file"), ("do_predict", "predict_file"), ("do_eval", "eval_file")])
def test_data_files(sentence, tmp_path, content, wanted, what, flag):
    path = tmp_path / "data.json"
    path.write_text(content)
    found = sentence(**{what: True, flag: str(path)})
    assert found.endswith(wanted) and str(path) in found


def test_a_training_file_without_answers(sentence, paths):
    found = sentence(do_train=True, train_file=paths["squad2"])
    assert "data[0].paragraphs[0].qas[3] (none of %d) has no answer to learn from" % len(tiny.LANTERN) in found
    assert "--version_2_with_negative" in found


def test_scoring_cmrc_data_without_answers(sentence, tmp_path):
    data = tiny.cmrc()
    data["data"][0]["paragraphs"][0]["qas"][1]["answers"] = []
    folder = tmp_path / "out"
    folder.mkdir()
    tiny.write_json(folder / "predictions_layer_.json", {"TINY_0": "河", "TINY_1": "人"})
    path = tiny.write_json(tmp_path / "data.json", data)
    assert "has no answers for question TINY_1" in sentence(datasets.CMRC2018, do_eval=True, eval_file=path)


def test_scoring_without_predictions(sentence):
    assert "predictions_layer_.json does not exist" in sentence(do_eval=True)


@pytest.mark.parametrize("changes, wanted", [
    ({"hidden_size": None}, "lacks \"hidden_size\"; use the bert_config.json that came with the checkpoint"),
    ({"hidden_act": None, "vocab_size": None}, "lacks \"vocab_size\", \"hidden_act\""),
    ({"num_hidden_layers": "2"}, "\"num_hidden_layers\" must be a whole number of at least 1, it is '2'"),
    ({"num_hidden_layers": 2.0}, "\"num_hidden_layers\" must be a whole number of at least 1, it is 2.0"),
    ({"num_attention_heads": 0}, "\"num_attention_heads\" must be a whole number of at least 1, it is 0"),
    ({"type_vocab_size": True}, "\"type_vocab_size\" must be a whole number of at least 1, it is True"),
    ({"hidden_dropout_prob": 1.0}, "\"hidden_dropout_prob\" must be a number from 0 to below 1, it is 1.0"),
    ({"attention_probs_dropout_prob": "0.1"},
     "\"attention_probs_dropout_prob\" must be a number from 0 to below 1"),
    ({"initializer_range": 0}, "\"initializer_range\" must be a number above 0, it is 0"),
    ({"hidden_act": "swish"}, "\"hidden_act\" must be one of gelu, relu, tanh, linear, it is 'swish'"),
    ({"hidden_act": []}, "\"hidden_act\" must be one of gelu, relu, tanh, linear, it is []"),
    ({"num_attention_heads": 3}, "3 attention heads do not divide a hidden_size of 8"),
    ({"vocab_size": 70}, "entries, but vocab_size in "),
    ({"hidden_size": 16}, "where the BERT config asks for [16]; use the bert_config.json that came with it"),
    ({"num_hidden_layers": 3},
     "has no bert/encoder/layer_2/attention/output/LayerNorm/beta, which a reader of this BERT config needs"),
    ({"max_position_embeddings": 128},
     "has bert/embeddings/position_embeddings of shape [64, 8] where the BERT config asks for "
     "[128, 8]"),
])
def test_configs(sentence, tmp_path, changes, wanted):
    config = dict(tiny.CONFIG, vocab_size=len(tiny.PIECES))
    config.update(changes)
    path = tiny.write_json(tmp_path / "config.json",
                           {key: value for key, value in config.items() if value is not None})
    found = sentence(do_predict=True, bert_config_file=path)
    assert wanted in found and (path in found or "checkpoint" in found)


@pytest.mark.parametrize("content, wanted", [
    ("[1]", "must be a JSON object as in Google's bert_config.json; it is a list"),
    ("{", "is not valid JSON"),
])
def test_configs_that_are_none(sentence, tmp_path, content, wanted):
    path = tmp_path / "config.json"
    path.write_text(content)
    assert wanted in sentence(do_predict=True, bert_config_file=str(path))


def test_a_vocabulary_that_is_not_the_configs(sentence, tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(tiny.PIECES + ["more"]), encoding="utf-8")
    found = sentence(do_predict=True, vocab_file=str(path))
    assert found.startswith("the vocabulary %s has %d entries, but vocab_size in " % (path, len(tiny.PIECES) + 1))
    assert found.endswith("is %d; use the two that came with the checkpoint" % len(tiny.PIECES))


def damaged(paths, folder, suffix, change):
    """Copies the checkpoint to `folder` and changes the bytes of one of its files; None removes it."""
    for name in os.listdir(os.path.dirname(paths["init_checkpoint"])):
        if name.startswith("bert_model.ckpt"):
            shutil.copy(os.path.join(os.path.dirname(paths["init_checkpoint"]), name), str(folder))
    path = folder / ("bert_model.ckpt" + suffix)
    changed = change(path.read_bytes())
    path.unlink()
    if changed is not None:
        path.write_bytes(changed)
    return str(folder / "bert_model.ckpt")


@pytest.mark.parametrize("suffix, change", [
    pytest.param(".index", lambda data: b"", id="empty index"),
    pytest.param(".index", lambda data: data[:len(data) // 2], id="half an index"),
    pytest.param(".index", lambda data: b"x" * len(data), id="another file as index"),
    pytest.param(".data-00000-of-00001", lambda data: None, id="no data"),
    pytest.param(".data-00000-of-00001", lambda data: data[:len(data) // 2], id="half the data"),
])
@pytest.mark.parametrize("what", ["do_predict", "do_train"])
def test_checkpoints_that_are_not_whole(sentence, paths, tmp_path, suffix, change, what):
    path = damaged(paths, tmp_path, suffix, change)
    found = sentence(init_checkpoint=path, **{what: True})
    assert "the checkpoint %s cannot be read" % path in found


# The same through the command line: a process each, so but a few.

@pytest.mark.parametrize("script, words, changes, wanted", [
    ("run_squad.py", ["--no_such_flag=1"], {}, "Unknown command line flag 'no_such_flag'"),
    ("run_cmrc2018.py", ["--max_seq_length=abc"], {}, "--max_seq_length=abc"),
    ("run_squad.py", ["train.json"], {}, "\"train.json\" is not a flag; every flag begins with --"),
    ("run_squad.py", ["--do_predict"], {"predict_file": "nowhere.json"},
     "the prediction file nowhere.json does not exist"),
    ("run_cmrc2018.py", ["--do_predict"], {"predict_file": "x.json", "mask_zone": "q2p2"},
     "there is no zone \"q2p2\""),
])
def test_command_lines(paths, tmp_path, script, words, changes, wanted):
    code, _, stderr = tiny.run(script, *words,
                               **tiny.model_flags(paths, output_dir=str(tmp_path / "out"), **changes))
    lines = [line for line in stderr.splitlines() if line.startswith("error: ")]
    assert code == 2 and len(lines) == 1 and wanted in lines[0]
    assert "Traceback" not in stderr and not (tmp_path / "out").exists()


@pytest.mark.parametrize("script", ["run_squad.py", "run_cmrc2018.py"])
def test_help_lists_the_flags(script):
    _, stdout, _ = tiny.run(script, "--help")
    assert "--mask_zone" in stdout and "--bert_config_file" in stdout
