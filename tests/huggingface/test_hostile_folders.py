# SPDX-License-Identifier: Apache-2.0
"""Tests of model folders that are odd, damaged or made to do harm: each gets a sentence, nothing is
left behind, and memory stays small.
"""

import io
import os
import pickletools
import struct
import zipfile

import hypothesis
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tiny
from hypothesis import strategies as st
from test_import import CONFIG, huggingface_tensors, run_import, variables_of, write_model

import import_huggingface
from mrc.huggingface import pytorch_file, vocabulary, weights
from mrc.model import checkpoint
from mrc.util.errors import Fault, InputError

MEBIBYTES = 900  # TensorFlow takes about 300


@pytest.fixture
def tensors(paths):
    return huggingface_tensors(paths["init_checkpoint"])


# --- Pickles of PyTorch, opcode by opcode ---------------------------------------------------------


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode("ascii")


def integer(value):
    return b"J" + struct.pack("<i", value)


def name(module, attribute):
    return f"c{module}\n{attribute}\n".encode("ascii")


def group(*items):
    return b"(" + b"".join(items) + b"t"


def storage(key, length, kind="FloatStorage"):
    return group(text("storage"), name("torch", kind), text(key), text("cpu"), integer(length)) + b"Q"


def tensor(stored, size, stride, offset=0):
    arguments = [stored, integer(offset)]
    arguments += [group(*map(integer, values)) for values in (size, stride)]
    return name("torch._utils", "_rebuild_tensor_v2") + group(*arguments) + b"R"


def state_dict(**values):
    members = b"".join(text(key) + value for key, value in values.items())
    return b"\x80\x02}(" + members + b"u."


def write_archive(folder, pickled, compression=zipfile.ZIP_STORED, **members):
    """Writes a pytorch_model.bin whose storage `0` has the floats 0 to 7."""
    members = dict({"0": np.arange(8, dtype=np.float32).tobytes()}, **members)
    with zipfile.ZipFile(str(folder / "pytorch_model.bin"), "w", compression) as archive:
        archive.writestr("model/data.pkl", pickled)
        for key, data in members.items():
            archive.writestr(f"model/data/{key}", data)
    return str(folder)


def test_a_view_is_read_from_its_storage(tmp_path):
    write_archive(tmp_path, state_dict(a=tensor(storage("0", 8), (2, 3), (1, 2), offset=1)))
    values = weights.read(str(tmp_path))["a"].load()
    np.testing.assert_array_equal(values, [[1, 3, 5], [2, 4, 6]])


NUMBERS = text("numbers") + integer(1)
STATES = {
    "a storage": storage("0", 8) + b"}(" + NUMBERS + b"ub",
    "the type of a storage": name("torch", "FloatStorage") + b"}(" + NUMBERS + b"ub",
    "a function": name("torch._utils", "_rebuild_tensor_v2") + b"}(" + NUMBERS + b"ub",
    "a slot": storage("0", 8) + b"N}(" + text("length") + integer(10**9) + b"u\x86b",
}


@pytest.mark.parametrize("what", sorted(STATES))
def test_state_cannot_be_set(tmp_path, what):
    write_archive(tmp_path, state_dict(a=tensor(storage("0", 8), (8,), (1,)), b=STATES[what]))
    with pytest.raises(InputError, match="pytorch_model.bin (cannot be read|holds)"):
        weights.read(str(tmp_path))


@pytest.mark.parametrize(
    "value",
    [
        name("torch", "DoubleStorage") + group(integer(5)) + b"R",  # a type is not callable
        name("torch", "DoubleStorage") + b")\x81",  # nor is it a class
        b"(i" + b"torch\nDoubleStorage\n",  # INST
        tensor(integer(1), (8,), (1,)),
        tensor(storage("0", -1), (8,), (1,)),
        tensor(storage("0", 8), (9,), (1,)),
        tensor(storage("0", 8), (8,), (1,), offset=1),
        tensor(storage("0", 8), (8,), (1,), offset=-1),
        tensor(storage("0", 8), (-8,), (1,)),
        tensor(storage("0", 8), (2,), (-1,)),
        tensor(storage("0", 8), (1,) * 40, (0,) * 40),
        storage("0", 8),
        b"\x96" + struct.pack("<Q", 1 << 40),  # BYTEARRAY8
        b"r" + struct.pack("<I", (1 << 32) - 1),  # LONG_BINPUT to a far place of the memo
    ],
    ids=range(14),
)
def test_what_is_no_tensor_is_refused(tmp_path, value):
    write_archive(tmp_path, state_dict(a=tensor(storage("0", 8), (8,), (1,)), b=value))
    with pytest.raises(InputError, match="pytorch_model.bin (cannot be read|holds)"):
        weights.read(str(tmp_path))


DEEP = b")q\x00" + b"".join(
    b"h%ch%c\x86q%c" % (level, level, level + 1) for level in range(60)
)  # a tuple of twice the same tuple, sixty levels deep


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x02}" + DEEP + b"K\x01s.",
        b"\x80\x02}(" + DEEP + b"K\x01u.",
        b"\x80\x02" + name("collections", "OrderedDict") + b"(]](" + DEEP + b"K\x01eatR.",
        state_dict(a=group(text("storage"), name("torch", "FloatStorage"), DEEP) + b"Q"),
        state_dict(a=DEEP),
    ],
    ids=range(5),
)
def test_nested_tuples_take_no_time(tmp_path, data):
    """Their hash and their text take exponential time."""
    write_archive(tmp_path, data)
    with pytest.raises(InputError, match="pytorch_model.bin (cannot be read|holds)"):
        weights.read(str(tmp_path))


def test_a_storage_that_is_shorter_than_described_is_reported(tmp_path):
    write_archive(tmp_path, state_dict(a=tensor(storage("0", 9), (9,), (1,))))
    with pytest.raises(InputError, match="storage 0 is truncated"):
        weights.read(str(tmp_path))["a"].load()


PICKLED = state_dict(
    a=tensor(storage("0", 8), (2, 4), (4, 1)), b=name("collections", "OrderedDict") + b")R}" + text("_metadata") + b"}sb"
)
CODES = [opcode.code.encode("latin-1") for opcode in pickletools.opcodes]
PARTS = CODES + [text("a"), integer(7), storage("0", 8), name("torch", "FloatStorage")]
PARTS += [name("torch._utils", "_rebuild_tensor_v2"), name("os", "mkdir"), b"\xff\xff\xff\x7f"]


@hypothesis.given(st.lists(st.tuples(st.integers(0, len(PICKLED)), st.integers(0, 12), st.sampled_from(PARTS))))
def test_any_pickle_is_read_or_refused(edits):
    data = PICKLED
    for start, removed, part in edits:
        data = data[:start] + part + data[start + removed :]
    try:
        value = pytorch_file.unpickle(io.BytesIO(data))
    except MemoryError:
        raise
    except Exception:  # `read_pytorch` reports all of them
        return
    assert not hasattr(value, "__call__") or type(value).__module__ == pytorch_file.__name__


# --- Memory ---------------------------------------------------------------------------------------


def import_within_memory(folder, output):
    code, _, stderr, mebibytes = tiny.command_lines().run("import_huggingface.py", str(folder), str(output))
    assert mebibytes < MEBIBYTES and "Traceback" not in stderr
    return code, stderr


def test_a_tensor_that_is_not_needed_is_not_expanded(tmp_path, tensors):
    folder = tmp_path / "model"
    write_model(folder, {})
    os.remove(str(folder / "model.safetensors"))
    members, described = {}, {}
    for number, (key, array) in enumerate(sorted(tensors.items()), 1):
        members[str(number)] = array.tobytes()
        steps = [int(np.prod(array.shape[axis + 1 :])) for axis in range(array.ndim)]
        described[key] = tensor(storage(str(number), array.size), array.shape, steps)
    described["huge"] = tensor(storage("0", 8), (1500000000,), (0,))
    write_archive(folder, state_dict(**described), zipfile.ZIP_DEFLATED, **members)
    with zipfile.ZipFile(str(folder / "pytorch_model.bin"), "a", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("model/data/bomb", "w", force_zip64=True) as writer:
            for _ in range(300):
                writer.write(bytes(1 << 22))
    assert import_within_memory(folder, tmp_path / "out") == (0, "")


def test_an_implausibly_compressed_storage_is_refused(tmp_path):
    write_archive(
        tmp_path,
        state_dict(a=tensor(storage("1", 1 << 24), (1 << 24,), (1,))),
        zipfile.ZIP_DEFLATED,
        **{"1": bytes(1 << 26)},
    )
    with pytest.raises(InputError, match="storage 1 is implausibly large"):
        weights.read(str(tmp_path))["a"].load()


def test_a_config_of_a_larger_model_than_the_weights_is_refused(tmp_path, tensors):
    config = dict(CONFIG, hidden_size=4096, intermediate_size=16384, num_hidden_layers=24)
    code, stderr = import_within_memory(write_model(tmp_path / "model", tensors, config), tmp_path / "out")
    assert code == 2 and "describes a model of" in stderr


def test_an_id_far_beyond_the_vocabulary_is_refused(tmp_path, tensors):
    folder = write_model(tmp_path / "model", tensors, pieces=None)
    vocab = dict({piece: number for number, piece in enumerate(tiny.PIECES)}, far=400000000)
    tokenizer = {"model": {"type": "WordPiece", "vocab": vocab}}
    tiny.write_json(os.path.join(folder, "tokenizer.json"), tokenizer)
    code, stderr = import_within_memory(folder, tmp_path / "out")
    assert code == 2 and "has 400000001 pieces and its config.json" in stderr


# --- Tokenizers -----------------------------------------------------------------------------------

VOCAB = {piece: number for number, piece in enumerate(tiny.PIECES)}
BERT_STEPS = dict(normalizer={"type": "BertNormalizer"}, pre_tokenizer={"type": "BertPreTokenizer"})


def tokenizer_file(vocab=None, model=None, **steps):
    model = dict({"type": "WordPiece", "vocab": VOCAB if vocab is None else vocab}, **(model or {}))
    return dict(BERT_STEPS, model=model, **steps) if not steps else {**BERT_STEPS, "model": model, **steps}


REFUSED = {
    "another class": (dict(tokenizer_config={"tokenizer_class": "BertJapaneseTokenizer"}), "is a BertJapaneseTokenizer"),
    "no splitting": (dict(tokenizer_config={"do_basic_tokenize": False}), "does not split words"),
    "no normalizer": (dict(tokenizer=tokenizer_file(normalizer=None)), 'the normalizer "none"'),
    "two normalizers": (
        dict(tokenizer=tokenizer_file(normalizer={"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "NFD"}]})),
        'the normalizer "Sequence"',
    ),
    "other words": (
        dict(tokenizer=tokenizer_file(pre_tokenizer={"type": "WhitespaceSplit"})),
        'the pre_tokenizer "WhitespaceSplit"',
    ),
    "other continuation": (
        dict(tokenizer=tokenizer_file(model={"continuing_subword_prefix": "@@"})),
        'continues words with "@@"',
    ),
    "sentencepiece": (
        dict(pieces=tiny.PIECES[:4] + ["\u2581" + piece for piece in tiny.PIECES[4:] if "#" not in piece]),
        "is a sentencepiece model",
    ),
    "absent special token": (dict(tokenizer_config={"cls_token": "<s>"}), 'has the cls_token "<s>" in place of [CLS]'),
    "a line break": (dict(tokenizer=tokenizer_file(vocab=dict(VOCAB, **{"x\ny": 4}))), "with a line break"),
    "half a surrogate": (dict(tokenizer=tokenizer_file(vocab=dict(VOCAB, **{"\ud800": 4}))), "is not Unicode text"),
    "no pieces": (dict(tokenizer=tokenizer_file(vocab={})), "lacks [UNK], [CLS], [SEP]"),
    "an id that is a text": (
        dict(tokenizer=tokenizer_file(vocab=dict(VOCAB, the="4"))),
        'has the id "4" for the piece "the"',
    ),
    "an id that is a fraction": (dict(tokenizer=tokenizer_file(vocab=dict(VOCAB, the=4.5))), "has the id 4.5"),
    "an added token without an id": (
        dict(tokenizer=tokenizer_file(added_tokens=[{"id": None, "content": "q"}])),
        "has the id null",
    ),
    "an added token with a superscript for an id": (
        dict(tokenizer_config={"added_tokens_decoder": {"²": {"content": "q"}}}),
        "has the id null",
    ),
    "added tokens that are a text": (dict(tokenizer=tokenizer_file(added_tokens="q")), 'has the added_tokens "q"'),
    "a normalizer that is a text": (dict(tokenizer=tokenizer_file(normalizer="abc")), 'has the normalizer "abc"'),
    "a letter case that is a word": (dict(tokenizer_config={"do_lower_case": "perhaps"}), 'has the do_lower_case "perhaps"'),
}


def write_tokenizer(folder, tensors, tokenizer=None, pieces=tiny.PIECES, tokenizer_config=None):
    pieces = None if tokenizer else pieces
    write_model(folder, tensors, pieces=pieces, **(tokenizer_config or {}))
    if tokenizer:
        tiny.write_json_escaped(folder / "tokenizer.json", tokenizer)
    return str(folder)


@pytest.mark.parametrize("what", sorted(REFUSED))
def test_another_tokenizer_is_refused_and_nothing_is_written(tmp_path, tensors, what):
    files, message = REFUSED[what]
    folder = write_tokenizer(tmp_path / "model", tensors, **files)
    code, _, stderr = run_import(folder, tmp_path / "out")
    assert code == 2 and message in stderr and stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "config, lower",
    [({"do_lower_case": "False"}, False), ({"do_lower_case": "true"}, True), ({"do_lower_case": None}, True), ({}, True)],
)
def test_a_letter_case_in_words_is_read(tmp_path, tensors, config, lower):
    folder = write_tokenizer(tmp_path / "model", tensors, tokenizer_config=config)
    assert vocabulary.read(folder, len(tiny.PIECES)).do_lower_case == lower


def test_other_names_of_special_tokens_are_read_as_bert_names_them(tmp_path, tensors):
    names = {"[UNK]": "<unk>", "[CLS]": "<s>", "[SEP]": "</s>"}
    folder = write_tokenizer(
        tmp_path / "model",
        tensors,
        pieces=[names.get(piece, piece) for piece in tiny.PIECES],
        tokenizer_config=dict(unk_token="<unk>", cls_token={"content": "<s>"}, sep_token="</s>", pad_token="[PAD]"),
    )
    assert vocabulary.read(folder, len(tiny.PIECES)).pieces == list(tiny.PIECES)


def test_added_tokens_are_in_the_vocabulary_and_cause_a_warning(tmp_path, tensors):
    folder = write_tokenizer(tmp_path / "model", tensors)
    size = len(tiny.PIECES)
    tiny.write_json(os.path.join(folder, "added_tokens.json"), {"[E1]": size, "[SEP]": 3})
    read = vocabulary.read(folder, size + 1)
    assert read.pieces == list(tiny.PIECES) + ["[E1]"]
    assert len(read.warnings) == 1 and 'keeps added tokens whole ("[E1]")' in read.warnings[0]


def test_long_words_are_unknown_where_the_tokenizer_says_so(tmp_path, tensors):
    model = {"max_input_chars_per_word": 3}
    folder = write_tokenizer(tmp_path / "model", tensors, tokenizer_file(model=model))
    assert run_import(folder, tmp_path / "out")[0] == 0
    flags = dict(
        bert_config_file=str(tmp_path / "out" / "bert_config.json"),
        vocab_file=str(tmp_path / "out" / "vocab.txt"),
        init_checkpoint=str(tmp_path / "out" / "bert_model.ckpt"),
    )
    path = tiny.write_json(tmp_path / "squad.json", tiny.squad())
    from mrc import datasets

    read = tiny.read_inputs(
        datasets.SQUAD, do_predict=True, predict_file=path, output_dir=str(tmp_path / "out"), max_seq_length=32, **flags
    )
    assert read.tokenizer().tokenize("the town") == ["the", "[UNK]"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 5) | st.floats(0, 2) | st.sampled_from(["", "a", "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "id", "type"]), inner, max_size=3),
    max_leaves=4,
)
PLACES = (
    [
        ("tokenizer.json", place)
        for place in (
            ("model",),
            ("model", "vocab"),
            ("model", "vocab", "the"),
            ("model", "type"),
            ("model", "unk_token"),
            ("model", "max_input_chars_per_word"),
            ("model", "continuing_subword_prefix"),
            ("normalizer",),
            ("normalizer", "type"),
            ("normalizer", "lowercase"),
            ("normalizer", "strip_accents"),
            ("pre_tokenizer",),
            ("added_tokens",),
        )
    ]
    + [
        (name, (key,))
        for name in ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
        for key in ("do_lower_case", "cls_token", "tokenizer_class", "added_tokens_decoder", "strip_accents")
    ]
    + [("config.json", (key,)) for key in sorted(CONFIG)]
)


@hypothesis.settings(suppress_health_check=list(hypothesis.HealthCheck), deadline=None)
@hypothesis.given(st.sampled_from(PLACES), JSON, st.booleans())
def test_any_value_in_the_files_is_read_or_refused(tmp_path_factory, place, value, with_vocab):
    name, keys = place
    folder = tmp_path_factory.mktemp("model")
    found = {
        "tokenizer.json": tokenizer_file(),
        "tokenizer_config.json": {},
        "special_tokens_map.json": {},
        "added_tokens.json": {},
        "config.json": dict(CONFIG),
    }
    found[name] = tiny.with_value(found[name], keys, value)
    for file_name, content in found.items():
        tiny.write_json_escaped(folder / file_name, content)
    if with_vocab:
        (folder / "vocab.txt").write_text("\n".join(tiny.PIECES), encoding="utf-8")
    try:
        import_huggingface.convert(str(folder), str(folder / "out"))
    except InputError as error:
        assert "\n" not in str(error)
    assert not (folder / "out").exists()  # there are no weights


# --- All or nothing -------------------------------------------------------------------------------


@pytest.fixture
def older(tmp_path, tensors):
    """An output folder with an older import, and a model folder with other weights and pieces."""
    run_import(write_model(tmp_path / "old", tensors), tmp_path / "out")
    other = {key: array + np.float32(1) for key, array in tensors.items()}
    pieces = list(tiny.PIECES[:-1]) + ["newer"]
    return tmp_path / "out", write_model(tmp_path / "new", other, pieces=pieces)


class Killed(BaseException):
    pass


@pytest.mark.parametrize("renames", range(5))
def test_a_killed_import_leaves_no_mixed_folder(older, monkeypatch, renames):
    folder, model = older
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    rename, left = tf.gfile.Rename, [renames + 4]  # four renames write the new files aside

    def counted(*args, **kwargs):
        if not left[0]:
            raise Killed()
        left[0] -= 1
        rename(*args, **kwargs)

    monkeypatch.setattr(tf.gfile, "Rename", counted)
    try:
        import_huggingface.convert(model, str(folder))
    except Killed:
        pass
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    if "bert_config.json" in after:
        data = "bert_model.ckpt.data-00000-of-00001"
        assert (after[data] == before[data]) == (after["vocab.txt"] == before["vocab.txt"])
    monkeypatch.undo()
    import_huggingface.convert(model, str(folder))
    assert "newer" in (folder / "vocab.txt").read_text()
    assert len(list(folder.iterdir())) == 4


def test_a_folder_in_place_of_the_config_is_noticed_first(older):
    folder, model = older
    (folder / "bert_config.json").unlink()
    (folder / "bert_config.json").mkdir()
    before = (folder / "vocab.txt").read_bytes()
    code, _, stderr = run_import(model, folder)
    assert code == 2 and "bert_config.json is a folder where a file is to be written" in stderr
    assert (folder / "vocab.txt").read_bytes() == before


def test_a_failed_write_leaves_nothing_behind(older, monkeypatch):
    folder, model = older
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def fails(path, arrays):
        (folder / "bert_model.ckpt.0123abcd.tmp.data-00000-of-00001").write_bytes(b"half")
        checkpoint_write(os.path.join(os.path.dirname(path), "half"), arrays)
        raise tf.errors.ResourceExhaustedError(None, None, "the disk is full")

    checkpoint_write = checkpoint.write
    monkeypatch.setattr(checkpoint, "write", fails)
    with pytest.raises(Fault, match="cannot be written"):
        import_huggingface.convert(model, str(folder))
    os.utime(str(folder / "bert_model.ckpt.0123abcd.tmp.data-00000-of-00001"), (0, 0))
    monkeypatch.undo()
    assert {name: (folder / name).read_bytes() for name in before} == before
    import_huggingface.convert(model, str(folder))
    assert len(list(folder.iterdir())) == 4  # old leftovers are gone


# --- Names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["module.", "model.", "module.model."])
def test_prefixes_of_wrappers_are_stripped(paths, tmp_path, tensors, prefix):
    wrapped = {prefix + key: array for key, array in tensors.items()}
    code, stdout, stderr = run_import(write_model(tmp_path / "model", wrapped), tmp_path / "out")
    assert (code, stderr) == (0, "") and "holds a reader" in stdout
    imported = variables_of(tmp_path / "out" / "bert_model.ckpt")
    for variable, array in variables_of(paths["init_checkpoint"]).items():
        np.testing.assert_array_equal(imported[variable], array)


def test_weights_of_another_format_are_named(tmp_path, tensors):
    folder = write_model(tmp_path / "model", tensors)
    os.rename(os.path.join(folder, "model.safetensors"), os.path.join(folder, "tf_model.h5"))
    code, _, stderr = run_import(folder, tmp_path / "out")
    assert code == 2 and "it has tf_model.h5, which is not read" in stderr


@pytest.mark.parametrize(
    "rename, message",
    [
        (lambda name: "model/" + name, "its variables are in the scope model; save it again without that scope"),
        (
            lambda name: name.replace("LayerNorm", "layer_normalization"),
            "layer_normalization/beta where bert/embeddings/LayerNorm/beta is needed",
        ),
    ],
)
def test_a_checkpoint_with_other_names_says_what_differs(paths, tmp_path, rename, message):
    arrays = {rename(key): array for key, array in variables_of(paths["init_checkpoint"]).items()}
    checkpoint.write(str(tmp_path / "other.ckpt"), arrays)
    with pytest.raises(InputError) as caught:
        checkpoint.check(str(tmp_path / "other.ckpt"), tiny.config(), needs_head=True)
    assert message in str(caught.value) and "bert_config.json" not in str(caught.value)
