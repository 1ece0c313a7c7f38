# SPDX-License-Identifier: Apache-2.0
"""Scores predictions for CMRC 2018: exact match and the F1 over the longest common run of segments.

The metrics are those of "A Span-Extraction Dataset for Chinese Machine Reading Comprehension"
(Cui et al., 2019, https://arxiv.org/abs/1810.07366) and equal those of its official scorer, with
one exception: an English run with a full stop inside, such as "the army. it left". The official
scorer splits it into sentences with NLTK's punkt model before it splits words. The model's
parameters are not part of NLTK, and their licence is not stated, so they are not shipped here. If
they are installed (python -m nltk.downloader punkt), they are used; if not, the run counts as one
sentence, and the number of questions whose F1 may differ is printed to stderr.

    python cmrc2018_evaluate.py data.json predictions.json
"""

import functools
import json
import re
import sys
from typing import Dict, List, NamedTuple

from mrc.util import check_environment  # noqa: F401, first: it reports missing packages

# isort: split
from mrc.answers import predictions_file
from mrc.answers.common_run import length_of_common_run
from mrc.data import squad_format
from mrc.util import files
from mrc.util.errors import ArgumentParser, InputError, exit_with_message, print_result

# The official list has the ellipsis as one entry of two characters, which no single character
# equals, so the official scorer leaves an ellipsis in the text, and so does this one.
_PUNCTUATION = frozenset("-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』")
_IDEOGRAPH_OR_RUN = re.compile("[\u4e00-\u9fa5]|[^\u4e00-\u9fa5]+")
_IDEOGRAPH = re.compile("[\u4e00-\u9fa5]")
# Where the punkt model may end a sentence before the end of a run.
_INNER_SENTENCE_END = re.compile(r"""[.?!](?=[)";}\]*:@'({\[!?]|\s)["')\]}]*\s*[^\s"')\]}]""")


@functools.lru_cache(maxsize=None)
def _words():
    """Returns the function that splits a sentence into words."""
    from nltk.tokenize.destructive import NLTKWordTokenizer  # takes half a second

    return NLTKWordTokenizer().tokenize


@functools.lru_cache(maxsize=None)
def _sentences():
    """Returns the function that splits a text into sentences, or None if punkt is not installed."""
    import nltk.data  # takes half a second

    try:
        return nltk.data.load("tokenizers/punkt/english.pickle").tokenize
    except LookupError:
        return None


def strip_punctuation(text: str) -> str:
    """Returns `text` lower-cased, without outer white space and the listed punctuation."""
    return "".join(char for char in text.lower().strip() if char not in _PUNCTUATION)


def _pieces(text):
    return _IDEOGRAPH_OR_RUN.findall(strip_punctuation(text))


def has_inner_sentence_end(text: str) -> bool:
    """Whether a run of `text` may be several sentences, so that its words depend on punkt."""
    return any(_INNER_SENTENCE_END.search(piece) for piece in _pieces(text))


def segments(text: str) -> List[str]:
    """Returns the units that F1 counts: each ideograph, and each word of the runs between them.

    Punctuation is removed first and leaves no gap, so "a-b" is the one word "ab". A full stop is a
    word only at the end of a sentence; without the punkt model, a run is one sentence.
    """
    units = []
    for piece in _pieces(text):
        if _IDEOGRAPH.match(piece):  # the tokenizer returns the same, fifteen times slower
            units.append(piece)
            continue
        split = _sentences() if _INNER_SENTENCE_END.search(piece) else None
        for sentence in split(piece) if split else [piece]:
            units.extend(_words()(sentence))
    return units


@functools.lru_cache(maxsize=1 << 16)  # the cells of a grid mostly agree
def segment_f1(answer: str, prediction: str) -> float:
    """Returns the F1, 0 to 1, of two texts over their longest common substring of segments.

    Texts with no segment in common score 0, even if both have no segments.
    """
    gold, predicted = segments(answer), segments(prediction)
    common = length_of_common_run(gold, predicted)
    if not common:
        return 0.0
    precision, recall = common / len(predicted), common / len(gold)
    return 2 * precision * recall / (precision + recall)


def exact_match(answer: str, prediction: str) -> int:
    """Returns 1 if the two texts are equal apart from case and punctuation, else 0."""
    return int(strip_punctuation(answer) == strip_punctuation(prediction))


def _questions(passages):
    return [question for passage in passages for question in passage.questions]


def check_answers(passages, data_name):
    """Raises an `InputError` if a question of `passages` has no answers to score against."""
    for question in _questions(passages):
        if not question.answers:
            raise InputError(
                f"{data_name} has no answers for question {question.id} ({question.place}), so it "
                "cannot be scored; pass a file with answers, such as the development set"
            )


def _report_sentences(predicted):
    if _sentences():
        return
    affected = sum(
        any(map(has_inner_sentence_end, [text] + [answer.text for answer in question.answers]))
        for question, text in predicted
    )
    if affected:
        print(
            f"warning: F1 of {affected} questions may differ from the official scorer: English text with a full stop "
            "inside is split with NLTK's punkt model there; to use it, run: python -m nltk.downloader punkt",
            file=sys.stderr,
        )


class QuestionScore(NamedTuple):
    """Exact match (0 or 1) and F1 (0 to 1) of a question, and whether it has a prediction."""

    em: int
    f1: float
    has_prediction: bool


def _score(question, prediction):
    if prediction is None:
        return QuestionScore(0, 0.0, False)
    golds = [answer.text for answer in question.answers]
    em = max(exact_match(gold, prediction) for gold in golds)
    return QuestionScore(em, max(segment_f1(gold, prediction) for gold in golds), True)


def score_questions(
    passages: List[squad_format.Passage], predictions: Dict[str, str], data_name: str = "the data"
) -> List[QuestionScore]:
    """Returns the `QuestionScore` of each question, in the data's order.

    Args:
      passages: passages with their answers.
      predictions: question id -> text; a question without one scores 0.
      data_name: the data's name in error messages.

    Raises:
      InputError: a question has no answers, as in the test sets.
    """
    check_answers(passages, data_name)
    questions = _questions(passages)
    predicted = [(question, predictions[question.id]) for question in questions if question.id in predictions]
    _report_sentences(predicted)
    return [_score(question, predictions.get(question.id)) for question in questions]


def summarize(scores: List[QuestionScore]) -> Dict[str, object]:
    """Returns the scores of the data, in the official order.

    Returns:
      AVERAGE (the mean of the next two), F1 and EM, in percent as texts with three decimals; TOTAL,
      the number of questions; SKIP, the number of those without a prediction.
    """
    f1 = 100 * sum(score.f1 for score in scores) / len(scores)
    em = 100 * sum(score.em for score in scores) / len(scores)
    return {
        "AVERAGE": f"{(em + f1) / 2:.3f}",
        "F1": f"{f1:.3f}",
        "EM": f"{em:.3f}",
        "TOTAL": len(scores),
        "SKIP": sum(not score.has_prediction for score in scores),
    }


def evaluate(
    passages: List[squad_format.Passage], predictions: Dict[str, str], data_name: str = "the data"
) -> Dict[str, object]:
    """Returns `summarize` of `score_questions`."""
    return summarize(score_questions(passages, predictions, data_name))


def main():
    """Scores the two files of the command line and prints one line of JSON."""
    parser = ArgumentParser("Scores predictions for CMRC 2018.")
    parser.add_argument("data_file", type=files.normalized, help="CMRC 2018 data with answers, JSON in SQuAD format")
    parser.add_argument("prediction_file", type=files.normalized, help="JSON object of question id to answer text")
    args = parser.parse_args()
    passages = squad_format.read(args.data_file, keys=squad_format.SCORING)
    predictions = predictions_file.read(args.prediction_file, reads_numbers=True)
    scores = evaluate(passages, predictions, "the data file " + args.data_file)
    ids = [question.id for question in _questions(passages)]
    predictions_file.report_repeats(ids, "each of these questions counts")
    predictions_file.report_gaps(ids, predictions)
    scores["FILE"] = args.prediction_file
    print_result(json.dumps(scores))


if __name__ == "__main__":
    with exit_with_message():
        main()
