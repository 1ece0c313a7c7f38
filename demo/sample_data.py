# SPDX-License-Identifier: Apache-2.0
"""Writes the demo's small reading comprehension data in SQuAD format, in English and Chinese.

A passage states the same two facts about several people, drawn at random: "Anna lives in Oslo and
likes rice. Ben likes soup and lives in Lima." "Where does Ben live?" can be answered only by
matching the question with the passage, because it contains other answers of the same kind. The
held-out questions combine names and facts that no training question combines, and their passages
are not in the training data. `python demo/sample_data.py --help`.
"""

import argparse
import json
import os
import random
import sys
from typing import Dict, NamedTuple, Sequence, Tuple

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from mrc.util import check_environment  # noqa: F401, first: it reports missing packages

# isort: split
import tokenization
from mrc import datasets
from mrc.data.squad_format import Answer, Passage, Question
from mrc.util import errors, files

PEOPLE = 3  # in a passage
FACTS_STATED = 2  # about each of them
QUESTIONS = 2  # on a passage
TRAINING_PASSAGES, HELD_OUT_PASSAGES = 2000, 200
HELD_OUT_SHARE = 0.2  # of the pairs of a name and a fact

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
MODEL = {
    "attention_probs_dropout_prob": 0.0,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.0,
    "hidden_size": 64,
    "initializer_range": 0.1,
    "intermediate_size": 256,
    "max_position_embeddings": 96,
    "num_attention_heads": 4,
    "num_hidden_layers": 3,
    "type_vocab_size": 2,
}
_DATASETS = {"en": datasets.SQUAD, "zh": datasets.CMRC2018}


class Fact(NamedTuple):
    """A kind of fact about a person.

    Attributes:
      kind: the kind of its values.
      statement: the words before the value.
      question: the question for the value, with {} for the person's name.
    """

    kind: str
    statement: str
    question: str


class Language(NamedTuple):
    """Everything that depends on the language; `sample_text.json` holds all but the dataset.

    Attributes:
      dataset: the `datasets.Dataset` of its data.
      space: text between words.
      conjunction, stop: text between two statements, and at the end of a sentence.
      names: names of people.
      values: {kind: words or phrases of this kind}.
      facts: the facts in the demo's data.
      earlier_facts: the facts in the text that the demo's checkpoint was trained on.
      naming: the fact whose value is the name; that checkpoint learned to find names first.
    """

    dataset: datasets.Dataset
    space: str
    conjunction: str
    stop: str
    names: Sequence[str]
    values: Dict[str, Sequence[str]]
    facts: Tuple[Fact, ...]
    earlier_facts: Tuple[Fact, ...]
    naming: Fact


def _read_languages():
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sample_text.json")
    with open(path, encoding="utf-8") as reader:
        texts = json.load(reader)
    for name, text in texts.items():
        for facts in ("facts", "earlier_facts"):
            text[facts] = tuple(Fact(*fact) for fact in text[facts])
        text["naming"] = Fact(*text["naming"])
        texts[name] = Language(dataset=_DATASETS[name], **text)
    return texts


LANGUAGES = _read_languages()


def split_pairs(language, facts, generator):
    """Returns two lists of (name, fact): those asked in training and those held out."""
    pairs = [(name, fact) for name in language.names for fact in facts]
    generator.shuffle(pairs)
    held_out = int(len(pairs) * HELD_OUT_SHARE)
    return pairs[held_out:], pairs[:held_out]


def tell(language, statements_of):
    """Returns a passage's text and the start of each value.

    Args:
      language: `Language`.
      statements_of: list of (name, list of (fact, value)), in the order of the text.

    Returns:
      Text, {(name, fact): (value, its first character's index)}.
    """
    text, found = "", {}
    for name, statements in statements_of:
        text += language.space if text else ""
        found[name, language.naming] = name, len(text)
        text += name + language.space
        for number, (fact, value) in enumerate(statements):
            text += (language.conjunction if number else "") + fact.statement + language.space
            found[name, fact] = value, len(text)
            text += value
        text += language.stop
    return text, found


def _draw_statements(language, facts, people, generator):
    """Draws the statements of a passage; no two people have the same value."""
    facts = generator.sample(facts, FACTS_STATED)
    names = generator.sample(language.names, people)
    values = {fact: generator.sample(language.values[fact.kind], people) for fact in facts}
    return [
        (name, [(fact, values[fact][place]) for fact in generator.sample(facts, FACTS_STATED)])
        for place, name in enumerate(names)
    ]


def make_passages(language, facts, pairs, number, generator, people=PEOPLE, known=()):
    """Returns a list of `Passage` with their questions.

    Args:
      language: `Language`.
      facts: the `Fact`s to draw from.
      pairs: the (name, fact) that questions may ask for.
      number: number of passages.
      generator: `random.Random`.
      people: number of people in each passage.
      known: texts that are not to be repeated.
    """
    pairs, known, passages = set(pairs), set(known), []
    prefix = language.dataset.name.split()[0].lower()  # no id means two questions
    while len(passages) < number:
        text, found = tell(language, _draw_statements(language, facts, people, generator))
        asked = [pair for pair in found if pair in pairs]
        if text in known or not asked:
            continue
        known.add(text)
        place, questions = f"passage{len(passages)}", []
        for name, fact in generator.sample(asked, min(QUESTIONS, len(asked))):
            question_id = f"{prefix}_{place}_question{len(questions)}"
            answers = (Answer(*found[name, fact]),)
            questions.append(Question(question_id, fact.question.format(name), answers, None, place))
        passages.append(Passage(text, tuple(questions), place))
    return passages


def make_sets(language, seed):
    """Returns the passages to train on and the held-out ones."""
    generator = random.Random(seed)
    asked, held_out = split_pairs(language, language.facts, generator)
    training = make_passages(language, language.facts, asked, TRAINING_PASSAGES, generator)
    known = [passage.context for passage in training]
    return training, make_passages(language, language.facts, held_out, HELD_OUT_PASSAGES, generator, known=known)


def make_vocabulary(language):
    """Returns the special tokens and all words of a language's passages and questions."""
    texts = [language.conjunction, language.stop] + list(language.names)
    for words in language.values.values():
        texts.extend(words)
    for fact in language.facts + language.earlier_facts + (language.naming,):
        texts.extend([fact.statement, fact.question.format(language.space)])
    cut = tokenization.BasicTokenizer(language.dataset.do_lower_case).tokenize
    return list(SPECIAL_TOKENS) + sorted({piece for text in texts for piece in cut(text)})


def make_config(language):
    """Returns the `bert_config.json` of the demo's model as a dict."""
    return dict(MODEL, vocab_size=len(make_vocabulary(language)))


def _as_squad(passages, title):
    paragraphs = []
    for passage in passages:
        questions = []
        for question in passage.questions:
            answers = [{"text": each.text, "answer_start": each.start} for each in question.answers]
            questions.append({"id": question.id, "question": question.text, "answers": answers})
        paragraphs.append({"context": passage.context, "qas": questions})
    return {"version": "1.1", "data": [{"title": title, "paragraphs": paragraphs}]}


def write(language, output_dir, seed):
    """Writes train.json, dev.json, vocab.txt and bert_config.json to the folder `output_dir`."""
    files.make_folder(output_dir)
    for name, passages in zip(("train", "dev"), make_sets(language, seed)):
        files.write_json(os.path.join(output_dir, name + ".json"), _as_squad(passages, name), sort_keys=True)
    files.write(os.path.join(output_dir, "vocab.txt"), "\n".join(make_vocabulary(language)) + "\n")
    files.write_json(os.path.join(output_dir, "bert_config.json"), make_config(language))


def _seed(text):
    number = int(text)
    if not 0 <= number < 2**31:
        raise argparse.ArgumentTypeError(f"{text} is not from 0 to 2147483647")
    return number


_seed.__name__ = "int"  # used in the messages of argparse


def parse_arguments(description, what, seed):
    """Parses the arguments language, output_dir and seed of a script that writes `what`."""
    parser = errors.ArgumentParser(description)
    parser.add_argument("--language", choices=sorted(LANGUAGES), default="en", help="language of the text")
    parser.add_argument("--output_dir", type=files.normalized, required=True, help="output folder for " + what)
    parser.add_argument("--seed", type=_seed, default=seed, help="random seed")
    return parser.parse_args()


def main():
    args = parse_arguments(__doc__, "train.json, dev.json, vocab.txt and bert_config.json", seed=1)
    write(LANGUAGES[args.language], args.output_dir, args.seed)


if __name__ == "__main__":
    with errors.exit_with_message():
        main()
