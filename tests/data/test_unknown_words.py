# SPDX-License-Identifier: Apache-2.0
"""Tests of the report on text that the vocabulary cannot spell."""

import pytest
import tiny

import tokenization
from mrc import datasets
from mrc.data import examples, unknown_words, windows
from mrc.data.squad_format import Passage, Question
from mrc.util.errors import InputError

READABLE = "the old stone bridge stands over the river by the town . "


@pytest.fixture
def report(monkeypatch):
    """Returns the warning about a passage, "" for none."""
    warnings = []
    monkeypatch.setattr(unknown_words, "warn", warnings.append)

    def make(context, question="what is the river ?", dataset=datasets.SQUAD, lower=False, find=unknown_words.check):
        asked = Question("id", question, (), None, "")
        made = examples.make_prediction_examples(dataset, [Passage(context, (asked,), "")], "data")
        tokenizer = tokenization.Vocabulary(tiny.PIECES).tokenizer(lower)
        del warnings[:]
        made_windows = windows.Windows(made, tokenizer, 64, 32, 16)
        find(made_windows, "data.json")
        return "\n".join(warnings)

    return make


def test_text_of_the_vocabulary_is_not_reported(report):
    assert report(READABLE) == report(READABLE + "? ( ) 1902") == report("? ? ?", "?") == ""


@pytest.mark.parametrize("context, chinese", [("石桥建于河上。", True), (READABLE + "桥", False)])
def test_chinese_text_gets_a_hint(report, context, chinese):
    warning = report(context, find=unknown_words.warn_of_chinese)
    assert warning.startswith("data.json is mostly Chinese; run_cmrc2018.py") == chinese
    assert bool(warning) == chinese


def test_a_few_rare_symbols_are_not_reported(report):
    assert report(4 * READABLE + "★ 🎉 harbor") == ""


def test_capitals_that_the_vocabulary_lacks_are_reported(report):
    context = 3 * READABLE + "Keeper Keeper ★ Town"
    assert report(context) == (
        'data.json: 7.3 % of the word pieces with letters are [UNK] ("Keeper", "Town"); the '
        "vocabulary has these words in lower case: if the model is uncased, pass "
        "--do_lower_case=True"
    )
    assert report(context, lower=True) == ""
    assert '"Keeper"' in report("古老的灯塔在河上。守塔人是红色的。" * 5 + "Keeper", "谁？", datasets.CMRC2018)


def test_words_of_another_language_are_reported(report):
    warning = report(READABLE + "der Fluss und die Stadt")
    assert '% of the word pieces with letters are [UNK] ("der", "Fluss", "und"); use' in warning


@pytest.mark.parametrize(
    "context, question", [("กรุงเทพมหานครเป็นเมืองหลวง 1902 ( 1 )", "ก่อตั้งเมื่อใด ?"), ("Ein Fluss .", "Wo ?")]
)
def test_text_that_cannot_be_read_is_refused(report, context, question):
    with pytest.raises(InputError, match="100% of .* so the model cannot read it; use the voc"):
        report(context, question)


@pytest.mark.parametrize("action", ["do_predict", "do_attention", "do_train"])
def test_unreadable_data_is_refused_with_and_without_the_feature_cache(paths, tmp_path, command_lines, action):
    data = tiny.squad()
    for paragraph in data["data"][0]["paragraphs"]:
        paragraph["context"] = context = "".join(map(chr, range(0xE01, 0xE20)))
        for question in paragraph["qas"]:
            question.update(question="ใด", answers=[{"text": context, "answer_start": 0}])
    flags = tiny.model_flags(paths, output_dir=str(tmp_path / "out"))
    flags["train_file" if action == "do_train" else "predict_file"] = tiny.write_json(tmp_path / "data.json", data)
    words = ["--{}={}".format(*item) for item in flags.items()] + [f"--{action}"]
    for _ in range(2):
        code, _, stderr, _ = command_lines.run("run_squad.py", *words)
        assert code == 2 and "so the model cannot read it" in stderr
    assert not list((tmp_path / "out").glob("model.ckpt*"))


def test_a_vocabulary_of_another_size_is_reported(paths, tmp_path, command_lines):
    config = dict(tiny.CONFIG, vocab_size=2 * len(tiny.PIECES))
    flags = tiny.model_flags(
        paths,
        output_dir=str(tmp_path),
        bert_config_file=tiny.write_json(tmp_path / "bert_config.json", config),
        do_train=True,
        train_file=paths["squad"],
        init_checkpoint=None,
    )
    code, _, stderr, _ = command_lines.run("run_squad.py", *["--{}={}".format(*item) for item in flags.items()])
    assert code == 0, stderr
    assert f"has {len(tiny.PIECES)} entries, but vocab_size in " in stderr
