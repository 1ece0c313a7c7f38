# SPDX-License-Identifier: Apache-2.0
"""Scores predictions for CMRC 2018: exact match and the F1 over the longest common run of segments.

The measures are those of "A Span-Extraction Dataset for Chinese Machine Reading Comprehension"
(Cui et al., 2019, https://arxiv.org/abs/1810.07366) and give the numbers of its official scorer.

    python cmrc2018_evaluate.py data.json predictions.json
"""

import collections
import difflib
import json
import re

from mrc.util import check_environment  # noqa: F401, first: it reports missing packages

# isort: split
from nltk.tokenize.destructive import NLTKWordTokenizer

from mrc.answers import predictions_file
from mrc.data import squad_format
from mrc.util.errors import ArgumentParser, InputError, exit_with_message

# The official list has the ellipsis as one entry of two characters, which no single character equals:
# an ellipsis therefore stays in the text, and must stay here for the same scores.
_PUNCTUATION = frozenset("-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』")
_IDEOGRAPH_OR_RUN = re.compile("[\u4e00-\u9fa5]|[^\u4e00-\u9fa5]+")
_IDEOGRAPH = re.compile("[\u4e00-\u9fa5]")

_WORDS = NLTKWordTokenizer()


def strip_punctuation(text):
    """Returns `text` in lower case, without outer white space and the punctuation that does not count."""
    return "".join(char for char in text.lower().strip() if char not in _PUNCTUATION)


def segments(text):
    """Returns the list of units that F1 counts: each ideograph, and each word of what stands between them.

    Punctuation goes first and leaves no gap, so "a-b" is the one word "ab". A run is taken as one sentence,
    which needs no sentence model: a full stop is a word of its own only where the run ends.
    """
    units = []
    for piece in _IDEOGRAPH_OR_RUN.findall(strip_punctuation(text)):
        if _IDEOGRAPH.match(piece):  # the tokenizer would say the same, fifteen times slower
            units.append(piece)
        else:
            units.extend(_WORDS.tokenize(piece))
    return units


def _common_run_length(left, right):
    matcher = difflib.SequenceMatcher(None, left, right, autojunk=False)
    return matcher.find_longest_match(0, len(left), 0, len(right)).size


def segment_f1(answer, prediction):
    """Returns the F1, 0 to 1, of two texts over their longest common substring of segments.

    Texts with no segment in common score 0, even where both have none at all.
    """
    gold, predicted = segments(answer), segments(prediction)
    common = _common_run_length(gold, predicted)
    if not common:
        return 0.0
    precision, recall = common / len(predicted), common / len(gold)
    return 2 * precision * recall / (precision + recall)


def exact_match(answer, prediction):
    """Returns 1 where the two texts are equal but for case and punctuation, else 0."""
    return int(strip_punctuation(answer) == strip_punctuation(prediction))


def _best(measure, question, prediction):
    return max(measure(answer.text, prediction) for answer in question.answers)


def _questions(passages):
    return [question for passage in passages for question in passage.questions]


def check_answers(passages, data_name):
    """Raises an `InputError` where a question of `passages` has no answers to score against."""
    for question in _questions(passages):
        if not question.answers:
            raise InputError(
                f"{data_name} has no answers for question {question.id} (at {question.place}), so "
                "it cannot be scored; "
                "pass a file with answers, such as the development set"
            )


def evaluate(passages, predictions, data_name="the data"):
    """Returns the CMRC 2018 scores of `predictions`, as an OrderedDict in the official order.

    Args:
      passages: what `squad_format.read` returns.
      predictions: a dict of question id -> text; a question without one scores 0.
      data_name: what to call the data in the sentence of an `InputError`.

    Returns:
      AVERAGE (of the two that follow), F1 and EM, in percent as texts with three decimals; TOTAL, the number
      of questions; SKIP, how many of them have no prediction.

    Raises:
      InputError: a question has no answers, as in the test sets.
    """
    questions = _questions(passages)
    check_answers(passages, data_name)
    predicted = [
        (question, predictions[question.id]) for question in questions if question.id in predictions
    ]
    f1 = 100 * sum(_best(segment_f1, *pair) for pair in predicted) / len(questions)
    em = 100 * sum(_best(exact_match, *pair) for pair in predicted) / len(questions)
    return collections.OrderedDict(
        [
            ("AVERAGE", "%.3f" % ((em + f1) / 2)),
            ("F1", f"{f1:.3f}"),
            ("EM", f"{em:.3f}"),
            ("TOTAL", len(questions)),
            ("SKIP", len(questions) - len(predicted)),
        ]
    )


def main():
    """Scores the two files of the command line and prints one line of JSON."""
    parser = ArgumentParser(description="Scores predictions for CMRC 2018.")
    parser.add_argument("data_file", help="CMRC 2018 data with answers, JSON in SQuAD format")
    parser.add_argument("prediction_file", help="JSON object of question id to answer text")
    args = parser.parse_args()
    passages = squad_format.read(args.data_file)
    predictions = predictions_file.read(args.prediction_file)
    scores = evaluate(passages, predictions, "the data file " + args.data_file)
    ids = [question.id for question in _questions(passages)]
    predictions_file.report_repeats(ids, "each question counts")
    predictions_file.report_gaps(ids, predictions)
    scores["FILE"] = args.prediction_file
    print(json.dumps(scores))


if __name__ == "__main__":
    with exit_with_message():
        main()
