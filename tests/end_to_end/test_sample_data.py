# SPDX-License-Identifier: Apache-2.0
"""Tests of the demo's data: reproducible, readable, and not answerable without the passage."""

import os
import random

import pytest

import tokenization
from demo import sample_data
from mrc.data import squad_format
from mrc.model import bert_config

FILES = ("train.json", "dev.json", "vocab.txt", "bert_config.json")


@pytest.fixture(scope="module", params=sorted(sample_data.LANGUAGES))
def language(request):
    return sample_data.LANGUAGES[request.param]


@pytest.fixture(scope="module")
def folder(language, tmp_path_factory):
    path = str(tmp_path_factory.mktemp("sample"))
    sample_data.write(language, path, seed=1)
    return path


@pytest.fixture(scope="module")
def sets(folder):
    return [squad_format.read(os.path.join(folder, name)) for name in ("train.json", "dev.json")]


def _questions(passages):
    return [(passage, question) for passage in passages for question in passage.questions]


def _bytes(folder):
    contents = []
    for name in FILES:
        with open(os.path.join(folder, name), "rb") as reader:
            contents.append(reader.read())
    return contents


def test_the_same_seed_writes_the_same_bytes(language, folder, tmp_path):
    sample_data.write(language, str(tmp_path), seed=1)
    assert _bytes(str(tmp_path)) == _bytes(folder)


def test_another_seed_writes_other_passages_for_the_same_model(language, folder, tmp_path):
    sample_data.write(language, str(tmp_path), seed=2)
    same = [mine == theirs for mine, theirs in zip(_bytes(str(tmp_path)), _bytes(folder))]
    assert same == [False, False, True, True]


def test_every_answer_is_at_its_answer_start(sets):
    for passage, question in _questions(sets[0] + sets[1]):
        (answer,) = question.answers
        assert passage.context[answer.start : answer.start + len(answer.text)] == answer.text


def test_held_out_questions_and_passages_are_not_trained_on(sets):
    training, held_out = sets
    assert not {passage.context for passage in training} & {passage.context for passage in held_out}
    assert not {question.text for _, question in _questions(training)} & {
        question.text for _, question in _questions(held_out)
    }


def test_ids_are_unique(sets):
    for passages in sets:
        ids = [question.id for _, question in _questions(passages)]
        assert len(set(ids)) == len(ids)


def _kind_of(language, value):
    (kind,) = (kind for kind, words in language.values.items() if value in words)
    return kind


def test_every_answer_has_rivals_of_its_kind_in_the_passage(language):
    pairs = [(name, fact) for name in language.names for fact in language.facts]
    for passage in sample_data.make_passages(language, language.facts, pairs, 200, random.Random(3)):
        for question in passage.questions:
            text = question.answers[0].text
            rivals = [value for value in language.values[_kind_of(language, text)] if value in passage.context]
            assert text in rivals and len(rivals) >= sample_data.PEOPLE


def test_an_answer_changes_with_the_facts(language):
    fact = language.facts[0]
    first, second = language.values[fact.kind][:2]
    one, other = language.names[:2]
    original, _ = (
        sample_data.tell(language, [(one, [(fact, mine)]), (other, [(fact, theirs)])])
        for mine, theirs in ((first, second), (second, first))
    )
    swapped = sample_data.tell(language, [(one, [(fact, second)]), (other, [(fact, first)])])
    assert sorted(original[0]) == sorted(swapped[0])
    assert (original[1][one, fact][0], swapped[1][one, fact][0]) == (first, second)


def test_words_are_distinct(language):
    words = list(language.names) + [word for words in language.values.values() for word in words]
    assert len(set(words)) == len(words)


def test_names_are_distinct_in_their_pieces(language):
    cut = tokenization.BasicTokenizer(language.dataset.do_lower_case).tokenize
    others = [word for words in language.values.values() for word in words]
    for fact in language.facts + language.earlier_facts:
        others.extend([fact.statement, fact.question.format(" ")])
    in_names = {piece for name in language.names for piece in cut(name)}
    assert not in_names & {piece for text in others for piece in cut(text)}


def test_every_piece_is_in_the_vocabulary(language, folder, sets):
    vocabulary = tokenization.read_vocabulary(os.path.join(folder, "vocab.txt"))
    tokenizer = tokenization.WordPieceTokenizer(vocabulary, language.dataset.do_lower_case)
    assert vocabulary.pieces[0] == "[PAD]"
    for passage in sets[0] + sets[1]:
        for text in [passage.context] + [question.text for question in passage.questions]:
            assert tokenization.UNKNOWN not in tokenizer.tokenize(text)


def test_the_config_fits_the_vocabulary(folder):
    config = bert_config.read(os.path.join(folder, "bert_config.json"))
    vocabulary = tokenization.read_vocabulary(os.path.join(folder, "vocab.txt"))
    assert config.vocab_size == len(vocabulary)
