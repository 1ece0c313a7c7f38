# SPDX-License-Identifier: Apache-2.0
"""Tests of importing Hugging Face models, and of the messages for those that are refused."""

import hashlib
import json
import os
import shlex

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tiny

from mrc import variables
from mrc.experiment import attention_window
from mrc.huggingface import model_config, names, vocabulary
from mrc.model import bert_config, checkpoint
from mrc.util.errors import InputError

safetensors = pytest.importorskip("safetensors")

CONFIG = dict(
    {key: value for key, value in tiny.CONFIG.items() if key != "vocab_size"},
    model_type="bert",
    architectures=["BertForQuestionAnswering"],
    hidden_act="gelu_new",
    layer_norm_eps=1e-12,
    vocab_size=len(tiny.PIECES),
)


def huggingface_tensors(prefix, head=True, old_names=False):
    """Returns the tensors of the tiny reader at `prefix` in the layout of Hugging Face."""
    reader = tf.train.load_checkpoint(prefix)
    found = {}
    for variable in reader.get_variable_to_shape_map():
        name, is_transposed = names.source_of(variable)
        array = reader.get_tensor(variable)
        if head or not name.startswith("qa_outputs"):
            if old_names:
                name = name.replace("LayerNorm.weight", "LayerNorm.gamma")
                name = name.replace("LayerNorm.bias", "LayerNorm.beta")
            found[name] = array.T.copy() if is_transposed else array
    return found


def write_model(folder, tensors, config=CONFIG, pieces=tiny.PIECES, **tokenizer_config):
    folder.mkdir(exist_ok=True)
    entries = {
        name: {"dtype": "float32", "shape": list(array.shape), "data": array.tobytes()} for name, array in tensors.items()
    }
    (folder / "model.safetensors").write_bytes(safetensors.serialize(entries))
    tiny.write_json(folder / "config.json", config)
    tiny.write_json(folder / "tokenizer_config.json", tokenizer_config)
    if pieces:
        (folder / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    return str(folder)


def run_import(folder, output):
    return tiny.run("import_huggingface.py", str(folder), str(output))


def variables_of(prefix):
    reader = tf.train.load_checkpoint(str(prefix))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


FAMILIES = {
    "electra": dict(CONFIG, model_type="electra", embedding_size=4, hidden_act="gelu"),
    "albert": dict(CONFIG, model_type="albert", embedding_size=4, num_hidden_groups=1, inner_group_num=1),
}
FAMILIES["albert of equal widths"] = dict(FAMILIES["albert"], embedding_size=8)


def random_tensors(config, family):
    """Returns random weights of a reader by Google's names, and by those of Hugging Face."""
    shapes = {variable.name: list(variable.shape) for variable in variables.encoder(config) + variables.head(config)}
    arrays, tensors = tiny.random_weights(shapes), {}
    for variable, array in arrays.items():
        name, is_transposed = names.source_of(variable, family)
        tensors[name] = array.T.copy() if is_transposed else array
    assert len(tensors) == len(arrays)
    return arrays, tensors


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_other_families_are_imported(tmp_path, family):
    values = model_config.convert(FAMILIES[family], "config.json")
    config = bert_config.make(values)
    arrays, tensors = random_tensors(config, values["family"])
    # Hugging Face's ALBERT has a dense layer after the embeddings, also where widths are equal.
    mapping = "albert.encoder.embedding_hidden_mapping_in.weight"
    assert (mapping in tensors) == (values["family"] == "albert")
    code, stdout, stderr = run_import(write_model(tmp_path / "model", tensors, FAMILIES[family]), tmp_path / "out")
    assert (code, stderr) == (0, "") and "holds a reader" in stdout
    imported = bert_config.read(str(tmp_path / "out" / "bert_config.json"))
    assert imported == config._replace(max_input_chars_per_word=100)
    found = variables_of(tmp_path / "out" / "bert_model.ckpt")
    assert set(found) == set(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize(
    "variable, source",
    [
        (
            "bert/encoder/transformer/group_0/inner_group_0/LayerNorm/gamma",
            "albert.encoder.albert_layer_groups.0.albert_layers.0.attention.LayerNorm.weight",
        ),
        (
            "bert/encoder/transformer/group_0/inner_group_0/LayerNorm_1/beta",
            "albert.encoder.albert_layer_groups.0.albert_layers.0.full_layer_layer_norm.bias",
        ),
        (
            "bert/encoder/transformer/group_0/inner_group_0/attention_1/self/key/kernel",
            "albert.encoder.albert_layer_groups.0.albert_layers.0.attention.key.weight",
        ),
        (
            "bert/encoder/transformer/group_0/inner_group_0/ffn_1/intermediate/output/dense/kernel",
            "albert.encoder.albert_layer_groups.0.albert_layers.0.ffn_output.weight",
        ),
        ("bert/encoder/embedding_hidden_mapping_in/kernel", "albert.encoder.embedding_hidden_mapping_in.weight"),
        ("bert/embeddings/LayerNorm/beta", "albert.embeddings.LayerNorm.bias"),
        ("bert/pooler/dense/bias", "albert.pooler.bias"),
    ],
)
def test_names_of_albert(variable, source):
    assert names.source_of(variable, "albert").name == source


@pytest.mark.parametrize("script, letters", [("run_squad.py", "abcdefghij"), ("run_cmrc2018.py", "一二三四五六七八九十")])
def test_the_printed_commands_suit_language_and_shell(paths, tmp_path, script, letters):
    """Most pieces of a Chinese vocabulary are Chinese; a folder may have a space in its name."""
    pieces = tiny.PIECES[:5] + [one + other for one in letters for other in letters]
    tensors = huggingface_tensors(paths["init_checkpoint"])
    name = "bert.embeddings.word_embeddings.weight"
    tensors[name] = np.resize(tensors[name], [len(pieces), tensors[name].shape[1]])
    config = dict(CONFIG, vocab_size=len(pieces))
    code, stdout, stderr = run_import(write_model(tmp_path / "model", tensors, config, pieces), tmp_path / "the reader")
    decoding, drawing = stdout.replace(" \\\n", "").splitlines()[1:]
    words, folder = shlex.split(decoding), str(tmp_path / "the reader")
    assert (code, stderr, words[:2]) == (0, "", ["python", script])
    assert {"--vocab_file=" + os.path.join(folder, "vocab.txt"), f"--output_dir={folder}_output"} < set(words)
    assert shlex.split(drawing)[-2:] == [f"{folder}_output/results.csv", f"{folder}_output/zones.png"]


@pytest.mark.parametrize("old_names", [False, True])
def test_an_imported_reader_is_the_original(paths, tmp_path, old_names):
    tensors = huggingface_tensors(paths["init_checkpoint"], old_names=old_names)
    folder = write_model(tmp_path / "model", tensors, do_lower_case=False)
    code, stdout, stderr = run_import(folder, tmp_path / "out")
    assert (code, stderr) == (0, "") and "--do_lower_case=False" in stdout
    assert "holds a reader" in stdout and "--mask_layer=each" in stdout
    found = variables_of(tmp_path / "out" / "bert_model.ckpt")
    wanted = variables_of(paths["init_checkpoint"])
    assert set(found) == set(wanted)
    for name, array in wanted.items():
        np.testing.assert_array_equal(found[name], array)
    assert (tmp_path / "out" / "vocab.txt").read_text("utf-8").split() == list(tiny.PIECES)
    flags = tiny.model_flags(
        paths,
        init_checkpoint=str(tmp_path / "out" / "bert_model.ckpt"),
        bert_config_file=str(tmp_path / "out" / "bert_config.json"),
        vocab_file=str(tmp_path / "out" / "vocab.txt"),
        predict_file=paths["squad"],
    )
    answers = {}
    for name, changes in (("original", dict(flags, **paths)), ("imported", flags)):
        chosen = {flag: changes[flag] for flag in flags}
        code = tiny.run("run_squad.py", "--do_predict", output_dir=str(tmp_path / name), **chosen)[0]
        assert code == 0
        answers[name] = tiny.read_json(tmp_path, name, "nbest_predictions.json")
    assert answers["original"] == answers["imported"]


def test_a_model_without_a_head_needs_training(paths, tmp_path):
    tensors = huggingface_tensors(paths["init_checkpoint"], head=False)
    bare = {name.replace("bert.", "", 1): tensor for name, tensor in tensors.items()}
    code, stdout, _ = run_import(write_model(tmp_path / "model", bare), tmp_path / "out")
    assert code == 0 and "without a span head" in stdout and "--do_train" in stdout
    assert "cls/squad/output_weights" not in variables_of(tmp_path / "out" / "bert_model.ckpt")


def test_a_config_straight_from_hugging_face_is_refused(paths, tmp_path):
    config = tiny.write_json(tmp_path / "config.json", CONFIG)
    with pytest.raises(InputError, match="python import_huggingface.py .*MODEL_FOLDER"):
        bert_config.read(config)


@pytest.mark.parametrize(
    "name, ours", [("gelu", "gelu_erf"), ("gelu_new", "gelu"), ("gelu_pytorch_tanh", "gelu"), ("relu", "relu")]
)
def test_activations_keep_their_form(name, ours):
    assert model_config.convert(dict(CONFIG, hidden_act=name), "c")["hidden_act"] == ours


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"model_type": "roberta"}, 'the model type "roberta" cannot be imported'),
        ({"model_type": "distilbert"}, 'the model type "distilbert" cannot be imported'),
        ({"model_type": "deberta-v2"}, 'the model type "deberta-v2" cannot be imported'),
        ({"position_embedding_type": "relative_key"}, 'position_embedding_type is "relative_key"'),
        ({"pruned_heads": {"1": [0]}}, "models with pruned heads cannot be imported"),
        ({"layer_norm_eps": 1e-5}, "layer_norm_eps is 1e-05"),
        ({"hidden_act": "silu"}, 'the activation "silu" is not supported'),
        ({"is_decoder": True}, "decoders cannot be imported"),
        ({"hidden_size": 9}, "attention heads do not divide"),
    ],
)
def test_other_models_are_refused_with_the_reason(changes, message):
    with pytest.raises(InputError) as caught:
        model_config.convert(dict(CONFIG, **changes), "config.json")
    assert message in str(caught.value)


def change(tensors, name, array):
    changed = dict(tensors)
    if array is None:
        del changed[name]
    else:
        changed[name] = array
    return changed


QUERY = "bert.encoder.layer.1.attention.self.query.weight"


@pytest.mark.parametrize(
    "array, message",
    [
        (None, "has no tensor " + QUERY),
        (np.zeros([8, 9], np.float32), f"has {QUERY} of shape [8, 9], but its config.json requires"),
    ],
)
def test_wrong_tensors_are_reported_and_nothing_is_written(paths, tmp_path, array, message):
    tensors = change(huggingface_tensors(paths["init_checkpoint"]), QUERY, array)
    code, _, stderr = run_import(write_model(tmp_path / "model", tensors), tmp_path / "out")
    assert code == 2 and message in stderr and stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_missing_folder_is_reported(tmp_path):
    code, _, stderr = run_import(tmp_path / "absent", tmp_path / "out")
    assert code == 2 and "absent/config.json does not exist" in stderr


@pytest.mark.parametrize("name, refusal", [("bert-base", ""), ("roberta-base", "it may be of type roberta")])
def test_the_name_of_a_model_of_the_hub_gets_the_command_that_downloads_it(name, refusal, tmp_path):
    code, _, stderr = run_import("deepset/" + name, tmp_path / "out")
    assert code == 2 and f"hf download deepset/{name} --local-dir {name} " in stderr
    assert refusal in stderr and ("by its name" in stderr) == bool(refusal)


def write_tokenizer(folder, **normalizer):
    vocab = {piece: number for number, piece in enumerate(tiny.PIECES)}
    tokenizer = {"model": {"type": "WordPiece", "vocab": vocab}, "normalizer": normalizer}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")


@pytest.mark.parametrize("lowercase", [True, False])
def test_the_vocabulary_comes_from_tokenizer_json_where_there_is_no_vocab_txt(tmp_path, lowercase):
    write_tokenizer(tmp_path, lowercase=lowercase)
    assert vocabulary.read(str(tmp_path), len(tiny.PIECES)) == (list(tiny.PIECES), lowercase, 100, [])


@pytest.mark.parametrize(
    "normalizer, warnings",
    [
        (dict(lowercase=True, strip_accents=None, handle_chinese_chars=True), []),
        (dict(lowercase=True, strip_accents=False), ["its tokenizer keeps accents"]),
        (dict(lowercase=False, strip_accents=True), ["its tokenizer strips accents"]),
        (dict(lowercase=True, handle_chinese_chars=False), ["its tokenizer does not separate Chinese"]),
    ],
)
def test_a_tokenizer_with_other_normalization_causes_a_warning(tmp_path, normalizer, warnings):
    write_tokenizer(tmp_path, **normalizer)
    found = vocabulary.read(str(tmp_path), len(tiny.PIECES)).warnings
    assert len(found) == len(warnings)
    assert all(text.startswith(start) for text, start in zip(found, warnings))


def test_a_folder_without_a_vocabulary_is_reported(tmp_path):
    with pytest.raises(InputError, match="has no vocab.txt, and no WordPiece vocabulary"):
        vocabulary.read(str(tmp_path), len(tiny.PIECES))


def test_checkpoints_are_written_without_a_graph(tmp_path):
    arrays = {"a/b": np.arange(3, dtype=np.float32), "c": np.float32([[1, 2]])}
    checkpoint.write(str(tmp_path / "bert_model.ckpt"), arrays)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "bert_model.ckpt.data-00000-of-00001",
        "bert_model.ckpt.index",
    ]
    for name, array in variables_of(tmp_path / "bert_model.ckpt").items():
        np.testing.assert_array_equal(array, arrays[name])


def albert_folder(folder, **tokenizer_config):
    """Writes an English ALBERT: a reader with a sentencepiece model instead of a vocabulary."""
    config = dict(FAMILIES["albert"], vocab_size=200)
    made = bert_config.make(model_config.convert(config, "config.json"))
    tensors = random_tensors(made, "albert")[1]
    path = write_model(folder, tensors, config, pieces=None, **tokenizer_config)
    tiny.write_sentence_pieces(folder / "spiece.model", symbols=["old", "2,"])
    return path


def test_an_english_albert_keeps_its_sentencepiece_model(paths, tmp_path):
    folder, out = albert_folder(tmp_path / "model", keep_accents=True), tmp_path / "out"
    code, stdout, stderr = run_import(folder, out)
    assert (code, stderr) == (0, "") and not (out / "vocab.txt").exists()
    assert "warning: its tokenizer keeps accents, but this project strips them" in stdout
    assert f"--spm_model_file={out}/spiece.model" in stdout and "--vocab_file" not in stdout
    model = (out / "spiece.model").read_bytes()
    assert model == (tmp_path / "model" / "spiece.model").read_bytes()
    flags = tiny.model_flags(
        paths,
        bert_config_file=str(out / "bert_config.json"),
        init_checkpoint=str(out / "bert_model.ckpt"),
        vocab_file=None,
        spm_model_file=str(out / "spiece.model"),
        max_seq_length=64,
        max_query_length=40,
        train_file=paths["squad"],
        predict_file=paths["squad"],
        output_dir=str(tmp_path / "reader"),
    )
    words = ["--do_train", "--do_predict", "--do_eval"]
    code, _, stderr = tiny.run("run_squad.py", *words, **flags)
    assert code == 0, stderr
    contexts = [tiny.LANTERN, tiny.BRIDGE]
    answers = tiny.read_json(tmp_path, "reader", "nbest_predictions.json")
    for entries in answers.values():
        assert len(entries) > 1
        assert all(any(entry["text"] in context for context in contexts) for entry in entries)
    runs = tiny.read_json(tmp_path, "reader", "run.json")["runs"]
    assert runs[-1]["inputs"]["spm_model_file"] == hashlib.sha256(model).hexdigest()
    window = attention_window.read_window(attention_window.read_inputs(str(tmp_path / "reader")), "boat", None)
    predictions = tiny.read_json(tmp_path, "reader", "predictions_layer_.json")
    assert window.answer == predictions["boat"]
    # Another sentencepiece model outdates the feature cache and the answers.
    tiny.write_sentence_pieces(out / "spiece.model", symbols=["old", "over"])
    before = (tmp_path / "reader" / "eval.features.npz").read_bytes()
    code, stdout, stderr = tiny.run("run_squad.py", "--do_predict", **flags)
    assert code == 0 and "made with another spm_model_file" in stdout + stderr
    assert (tmp_path / "reader" / "eval.features.npz").read_bytes() != before


def test_a_chinese_albert_keeps_its_vocabulary(tmp_path):
    folder = albert_folder(tmp_path / "model")
    (tmp_path / "model" / "vocab.txt").write_text("\n".join(tiny.PIECES) + "\n", "utf-8")
    code, stdout, _ = run_import(folder, tmp_path / "out")
    assert code == 0 and "--vocab_file=" in stdout and "--spm_model_file" not in stdout


def test_an_albert_with_only_tokenizer_json_is_refused(tmp_path):
    folder = albert_folder(tmp_path / "model")
    (tmp_path / "model" / "spiece.model").unlink()
    tokenizer = {"model": {"type": "Unigram", "unk_id": 1, "vocab": [["<pad>", 0.0]]}}
    tiny.write_json(tmp_path / "model" / "tokenizer.json", tokenizer)
    code, _, stderr = run_import(folder, tmp_path / "out")
    assert code == 2 and stderr.count("\n") == 1 and not (tmp_path / "out").exists()
    assert "download spiece.model into the folder, too" in stderr
