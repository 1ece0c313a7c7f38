# SPDX-License-Identifier: Apache-2.0
"""Scores predictions for SQuAD 1.1 and 2.0: exact match, F1 and the best no-answer thresholds.

The metrics are those of "SQuAD: 100,000+ Questions for Machine Comprehension of Text" (Rajpurkar et
al., 2016, https://arxiv.org/abs/1606.05250) and "Know What You Don't Know: Unanswerable Questions
for SQuAD" (Rajpurkar et al., 2018, https://arxiv.org/abs/1806.03822) and equal those of the
official 2.0 scorer.

    python squad_evaluate.py data.json predictions.json [-n null_odds.json] [-t 1.0] \\
        [-o scores.json] [-p dir]
"""

import collections
import contextlib
import io
import json
import math
import os
import re
import string
import sys
from typing import Dict, List, NamedTuple, Optional

from mrc.util import check_environment  # noqa: F401, first: it reports missing packages

# isort: split
from mrc.answers import predictions_file
from mrc.data import squad_format
from mrc.util import files
from mrc.util.errors import ArgumentParser, InputError, exit_with_message, print_result

METRICS = ("exact", "f1")

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)

_CURVES = (
    ("pr_exact", "Precision-Recall curve for Exact Match score"),
    ("pr_f1", "Precision-Recall curve for F1 score"),
    ("pr_oracle", "Oracle Precision-Recall curve (binary task of HasAns vs. NoAns)"),
)
_HISTOGRAM_BINS = 20


class QuestionScore(NamedTuple):
    """The scores of one question, each 0 to 1.

    Attributes:
      has_answer: whether the data has an answer.
      prediction: the predicted text, "" for "no answer", None if there is no prediction.
      exact, f1: the metrics.
    """

    has_answer: bool
    prediction: Optional[str]
    exact: float
    f1: float


class Curve(NamedTuple):
    """A precision-recall curve, 0 to 1, from high precision to high recall."""

    precisions: List[float]
    recalls: List[float]
    average_precision: float


def normalize(text: str) -> str:
    """Returns `text` lower-cased, without ASCII punctuation, articles and extra spaces."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_WITHOUT_PUNCTUATION)).split())


def exact_match(answer: str, prediction: str) -> float:
    """Returns 1.0 if the two texts are equal after `normalize`, else 0.0."""
    return float(normalize(answer) == normalize(prediction))


def token_f1(answer: str, prediction: str) -> float:
    """Returns the F1, 0 to 1, of the two texts as bags of normalized words.

    If either text has no words (that is "no answer"), it is 1.0 if both have none, else 0.0.
    """
    gold, predicted = normalize(answer).split(), normalize(prediction).split()
    if not gold or not predicted:
        return float(gold == predicted)
    common = sum((collections.Counter(gold) & collections.Counter(predicted)).values())
    if not common:
        return 0.0
    precision, recall = common / len(predicted), common / len(gold)
    return 2 * precision * recall / (precision + recall)


def _score(question, prediction):
    has_answer = bool(question.answers)
    if prediction is None:
        return QuestionScore(has_answer, None, 0.0, 0.0)
    golds = [answer.text for answer in question.answers if normalize(answer.text)] or [""]
    return QuestionScore(
        has_answer,
        prediction,
        max(exact_match(gold, prediction) for gold in golds),
        max(token_f1(gold, prediction) for gold in golds),
    )


def check_answers(passages: List[squad_format.Passage], data_name: str):
    """Raises an `InputError` if no question has an answer or is marked as impossible."""
    if not squad_format.has_answers(passages):
        raise InputError(
            f"{data_name} has no answers, so there is nothing to score against; pass a file with "
            "answers, such as the development set"
        )


def score_questions(passages: List[squad_format.Passage], predictions: Dict[str, str]):
    """Returns a dict of question id -> `QuestionScore`, in the data's order.

    Args:
      passages: passages with their answers; a question without answers is one that has no answer.
      predictions: question id -> text; a question without one scores 0.
    """
    return {
        question.id: _score(question, predictions.get(question.id)) for passage in passages for question in passage.questions
    }


def _with_threshold(score, metric, na_prob, na_threshold):
    if score.prediction is not None and na_prob > na_threshold:
        return float(not score.has_answer)
    return getattr(score, metric)


def credits(scores, metric, na_probs=None, na_threshold=1.0):
    """Returns each question's score, 0 to 1; predictions with high no-answer scores count as "".

    Args:
      scores: the result of `score_questions`.
      metric: one of `METRICS`.
      na_probs, na_threshold: see `evaluate`.
    """
    na_probs = na_probs or {}
    return [
        _with_threshold(score, metric, na_probs.get(question_id, 0.0), na_threshold) for question_id, score in scores.items()
    ]


def _averages(scores, na_probs, na_threshold):
    """Yields (key, value) of the averages over all, answerable and unanswerable questions."""
    for prefix, kinds in (("", (True, False)), ("HasAns_", (True,)), ("NoAns_", (False,))):
        chosen = {name: score for name, score in scores.items() if score.has_answer in kinds}
        if chosen:
            for metric in METRICS:
                values = credits(chosen, metric, na_probs, na_threshold)
                yield prefix + metric, 100.0 * sum(values) / len(values)
            yield prefix + "total", len(chosen)


def _ranked(scores, na_probs):
    """Returns the ids of the predicted questions, lowest no-answer score first."""
    predicted = [
        question_id for question_id in na_probs if question_id in scores and scores[question_id].prediction is not None
    ]
    return sorted(predicted, key=na_probs.get)


def _gain_of_answering(score, metric):
    """Returns the change of the sum of scores when a question is answered instead of left out."""
    if score.has_answer:
        return getattr(score, metric)
    return -1.0 if score.prediction else 0.0


def best_threshold(scores, na_probs, metric):
    """Returns (score in percent, threshold) of the best no-answer threshold for `metric`.

    As in the official scorer, questions are answered one by one in the order of their no-answer
    scores, and the threshold is 0.0 if answering none is best.

    Args:
      scores: the result of `score_questions`.
      na_probs: question id -> no-answer score; ties are broken by the order of the dict.
      metric: one of `METRICS`.
    """
    total = best = sum(not score.has_answer and score.prediction is not None for score in scores.values())
    threshold = 0.0
    for question_id in _ranked(scores, na_probs):
        total += _gain_of_answering(scores[question_id], metric)
        if total > best:
            best, threshold = total, na_probs[question_id]
    return 100.0 * best / len(scores), threshold


def summarize(scores, na_probs=None, na_threshold=1.0):
    """Returns the dict of `evaluate` for the result of `score_questions`."""
    summary = dict(_averages(scores, na_probs, na_threshold))
    if na_probs is not None:
        for metric in METRICS:
            best, threshold = best_threshold(scores, na_probs, metric)
            summary["best_" + metric], summary[f"best_{metric}_thresh"] = best, threshold
    return summary


def report_threshold(summary, na_probs, na_threshold, flag):
    """Prints to stderr a better threshold if no question counts as having no answer.

    Args:
      summary: the result of `summarize` with `na_probs`.
      na_probs, na_threshold: its arguments.
      flag: the flag of the threshold.
    """
    best = summary["best_exact_thresh"]
    if (
        "NoAns_total" in summary
        and max(na_probs.values(), default=na_threshold) <= na_threshold
        and best < na_threshold
        and summary["best_exact"] > summary["exact"]
    ):
        print(
            f"warning: no no-answer score exceeds {flag}={na_threshold:g}, so no question counts "
            f"as having no answer; {flag}={best!r} (best_exact_thresh) has an exact match of "
            f"{summary['best_exact']:.2f} instead of {summary['exact']:.2f}",
            file=sys.stderr,
        )


def evaluate(passages, predictions, na_probs=None, na_threshold=1.0):
    """Returns the SQuAD 2.0 scores of `predictions`, as a dict in the official order.

    Args:
      passages: passages with their answers.
      predictions: question id -> text, "" for "no answer"; a question without one scores 0.
      na_probs: question id -> no-answer score (a probability or log odds) for every predicted
        question, or None.
      na_threshold: a question with a higher no-answer score counts as predicted to have no answer.

    Returns:
      exact and f1 in percent and total, the number of questions; the same with HasAns_ and NoAns_
      for the questions with and without an answer, if there are any; with `na_probs` also
      best_exact and best_f1 in percent, each with its threshold (best_exact_thresh,
      best_f1_thresh).
    """
    return summarize(score_questions(passages, predictions), na_probs, na_threshold)


def precision_recall(scores, credits, na_probs):
    """Returns the `Curve` of answering more and more questions, lowest no-answer score first.

    Args:
      scores: the result of `score_questions`, with at least one question that has an answer.
      credits: question id -> score of answering that question, 0 to 1.
      na_probs: question id -> no-answer score.
    """
    answerable = sum(score.has_answer for score in scores.values())
    ranked = _ranked(scores, na_probs)
    precisions, recalls = [1.0], [0.0]
    earned = average_precision = 0.0
    for rank, question_id in enumerate(ranked, 1):
        if scores[question_id].has_answer:
            earned += credits[question_id]
        if rank < len(ranked) and na_probs[ranked[rank]] == na_probs[question_id]:
            continue  # no threshold separates questions of the same score
        precisions.append(earned / rank)
        recalls.append(earned / answerable)
        average_precision += precisions[-1] * (recalls[-1] - recalls[-2])
    return Curve(precisions, recalls, average_precision)


def _credits(scores, curve_name):
    if curve_name == "pr_oracle":
        return {question_id: float(score.has_answer) for question_id, score in scores.items()}
    return {question_id: getattr(score, curve_name[len("pr_") :]) for question_id, score in scores.items()}


@contextlib.contextmanager
def _figure(path, title, xlabel, ylabel):
    """Yields the axes of a new figure and saves it to `path` as PNG at the end of the block."""
    try:
        from mrc.figures.figure_files import new_figure  # only here: -p alone needs matplotlib

        figure = new_figure()
    except ImportError as error:
        raise InputError(f"-p needs matplotlib ({error}); run: pip install -r requirements/figures.txt")
    axes, image = figure.subplots(), io.BytesIO()
    axes.set(title=title, xlabel=xlabel, ylabel=ylabel)
    yield axes
    figure.savefig(image, format="png")
    files.make_folder_of(path)
    files.write(path, image.getvalue(), binary=True)


def _draw_curve(curve, path, title):
    with _figure(path, title, "Recall", "Precision") as axes:
        axes.step(curve.recalls, curve.precisions, color="b", alpha=0.2, where="post")
        axes.fill_between(curve.recalls, curve.precisions, step="post", alpha=0.2, color="b")
        axes.set(xlim=(0.0, 1.05), ylim=(0.0, 1.05))


def _draw_histogram(na_probs, path, kind):
    # The official range is that of a probability; most log odds are outside it.
    span = (min(0.0, min(na_probs)), max(1.0, max(na_probs)))
    with _figure(
        path, "Histogram of no-answer probability: " + kind, "Model probability of no-answer", "Proportion of dataset"
    ) as axes:
        axes.hist(na_probs, weights=[1 / len(na_probs)] * len(na_probs), bins=_HISTOGRAM_BINS, range=span)


def draw(scores, na_probs, folder):
    """Draws precision-recall curves and histograms of the no-answer scores as PNG files.

    The curves (pr_exact.png, pr_f1.png, pr_oracle.png) need questions that have an answer; the
    histograms are drawn for questions with an answer (na_prob_hist_hasAns.png) and without
    (na_prob_hist_noAns.png), if there are any.

    Args:
      scores: the result of `score_questions`.
      na_probs: question id -> no-answer score.
      folder: a local or `gs://` folder; it is created if it does not exist.

    Returns:
      A dict of the curves' average precisions in percent: pr_exact_ap, pr_f1_ap,
      pr_oracle_ap.

    Raises:
      InputError: matplotlib is missing, or the folder is not writable.
    """
    precisions = {}
    if any(score.has_answer for score in scores.values()):
        for name, title in _CURVES:
            curve = precision_recall(scores, _credits(scores, name), na_probs)
            _draw_curve(curve, os.path.join(folder, name + ".png"), title)
            precisions[name + "_ap"] = 100.0 * curve.average_precision
    for kind, has_answer in (("hasAns", True), ("noAns", False)):
        of_kind = [na_probs[key] for key in _ranked(scores, na_probs) if scores[key].has_answer == has_answer]
        if of_kind:
            _draw_histogram(of_kind, os.path.join(folder, f"na_prob_hist_{kind}.png"), kind)
    return precisions


def read_na_probs(path: str, question_ids: List[str]) -> Dict[str, float]:
    """Returns the no-answer scores of the file at `path` as a dict of question id -> number.

    Args:
      path: a local or `gs://` path of a JSON object, such as the null_odds.json of a SQuAD 2.0
        prediction.
      question_ids: the ids that must be in it.

    Raises:
      InputError: the file is missing, is not such an object, lacks an id, or has a value that is
        not a finite number.
    """
    what = "no-answer file"
    na_probs = predictions_file.read_object(path, what)
    for question_id, value in na_probs.items():
        # Neither NaN nor an integer larger than any float.
        if not predictions_file.is_number(value) or not abs(value) <= sys.float_info.max:
            raise InputError(
                f"the {what} {path} has {predictions_file.shown(value)} for question "
                f"{question_id}, not a finite number; pass the null_odds.json of these predictions"
            )
    for question_id in question_ids:
        if question_id not in na_probs:
            raise InputError(
                f"the {what} {path} has no value for question {question_id}; pass the null_odds.json of these predictions"
            )
    return na_probs


def _parse_arguments():
    parser = ArgumentParser("Scores predictions for SQuAD 1.1 and 2.0.")
    parser.add_argument("data_file", type=files.normalized, help="SQuAD data, JSON")
    parser.add_argument("pred_file", type=files.normalized, help="JSON object of question id to answer, empty for no answer")
    parser.add_argument("--out-file", "-o", type=files.normalized, metavar="FILE", help="write scores to FILE, not stdout")
    parser.add_argument(
        "--na-prob-file", "-n", type=files.normalized, metavar="FILE", help="JSON object of question id to no-answer score"
    )
    parser.add_argument(
        "--na-prob-thresh",
        "-t",
        metavar="THRESH",
        type=float,
        default=1.0,
        help="no-answer scores above it count as a prediction of no answer (default: 1.0)",
    )
    parser.add_argument(
        "--out-image-dir",
        "-p",
        metavar="OUT_IMAGE_DIR",
        help="draw precision-recall curves and no-answer histograms into this folder (needs -n)",
    )
    parser.add_argument(
        "--verbose", "-v", action="store_true", help="list every question without a prediction, not only the first few"
    )
    return parser.parse_args()


def _score_files(args):
    """Returns the scores of the files on the command line; draws the figures if requested."""
    threshold = args.na_prob_thresh
    if math.isnan(threshold):
        raise InputError("-t is nan, not a number; pass a threshold such as 1.0")
    passages = squad_format.read(args.data_file, keys=squad_format.SCORING)
    check_answers(passages, "the data file " + args.data_file)
    predictions = predictions_file.read(args.pred_file)
    scores = score_questions(passages, predictions)
    predicted = [question_id for question_id in scores if question_id in predictions]
    na_probs = read_na_probs(args.na_prob_file, predicted) if args.na_prob_file else None
    predictions_file.report_repeats(
        [question.id for passage in passages for question in passage.questions], "only the last question of each is scored"
    )
    predictions_file.report_gaps(list(scores), predictions, whole=args.verbose)
    summary = summarize(scores, na_probs, threshold)
    if na_probs is not None:
        report_threshold(summary, na_probs, threshold, "--na-prob-thresh")
    if args.out_image_dir and na_probs is None:
        print("warning: -p draws nothing without -n", file=sys.stderr)
    elif args.out_image_dir:
        summary.update(draw(scores, na_probs, args.out_image_dir))
    return summary


def main():
    """Scores the files of the command line and prints or writes the scores as JSON."""
    args = _parse_arguments()
    summary = _score_files(args)
    if not args.out_file:
        print_result(json.dumps(summary, indent=2))
        return
    files.make_folder_of(args.out_file)
    files.write_json(args.out_file, summary)


if __name__ == "__main__":
    with exit_with_message():
        main()
