# SPDX-License-Identifier: Apache-2.0
"""The flags of both run scripts: definitions, defaults and bounds."""

import math
import os
import re
import sys
import textwrap
from typing import Any, NamedTuple

from absl import flags

from attention_mask import ANY, DATA_SETS, GROUPS, ZONES
from mrc.answers.question_scores import CLUSTERS
from mrc.model import precision
from mrc.util import errors, files, shards
from mrc.util.errors import InputError

# Upper bounds above any sensible value; larger ones would overflow numbers or memory.
_MOST_WINDOWS = 2**16  # in a batch
_MOST_STEPS = 2**31 - 1  # steps are counted in 32 bits on a TPU
_MOST_EPOCHS = 10.0**4

_PLAIN_WORDS = (
    (r"invalid literal for int\(\) with base 10: (['\"])(.*)\1", r"\2 is not an integer"),
    (r"could not convert string to float: (['\"])(.*)\1", r"\2 is not a number"),
    (r"\('Non-boolean argument to boolean flag', '(.*)'\)", r"\1 is neither true nor false"),
    (r"Unknown command line flag '(.*?)'", r"there is no flag --\1"),
    (r"\. Did you mean: (.*) \?", r" (did you mean --\1?)"),
)


class _NumberParser(flags.FloatParser):
    """Parses numbers within bounds; `FloatParser` alone accepts NaN for any bounds."""

    syntactic_help = "a finite number"

    def is_outside_bounds(self, value):
        return not math.isfinite(value) or super().is_outside_bounds(value)


class _PathParser(flags.ArgumentParser):
    """Parses paths."""


class _ShardParser(flags.ArgumentParser):
    """Parses K/N."""

    def parse(self, argument):
        return shards.parse(argument)


class _Flag(NamedTuple):
    """A flag; without a parser, a switch or a text."""

    name: str
    default: Any
    description: str
    parser: flags.ArgumentParser = flags.ArgumentParser()


_path, _integer, _one_of = _PathParser(), flags.IntegerParser, flags.EnumParser

_GROUPS = {  # in the order of --help
    "most runs": (
        _Flag("do_train", False, "Train on --train_file."),
        _Flag("do_predict", False, "Answer the questions of --predict_file."),
        _Flag("do_eval", False, "Score the answers against --eval_file."),
        _Flag("train_file", None, "Questions with answers to train on, in SQuAD format.", _path),
        _Flag("predict_file", None, "Questions to answer, in SQuAD format.", _path),
        _Flag("output_dir", None, "Folder for checkpoints, predictions and scores.", _path),
        _Flag("bert_config_file", None, "The bert_config.json that came with the checkpoint.", _path),
        _Flag("vocab_file", None, "The vocab.txt that came with the checkpoint.", _path),
        _Flag(
            "init_checkpoint",
            None,
            "Checkpoint to start from: BERT, or a trained reader. A checkpoint in --output_dir takes precedence.",
            _path,
        ),
        _Flag(
            "mask_zone",
            None,
            f"Attention zones to mask: {', '.join(ZONES)}, or QUERY-KEY or QUERY-KEY-DISTANCE, as in "
            "passage-question-near8, with sets of tokens and the distances self, nearN and farN. The sets: "
            f"{', '.join(GROUPS + (ANY,) + tuple(DATA_SETS))}. Commas separate the cells of a grid, plus signs join "
            "zones: q2,p2q+p2. off sets the context vectors of heads to zero.",
        ),
    ),
    "what to do": (
        _Flag("do_attention", False, "Write where each head attends: attention.csv, attention_entropy.csv."),
        _Flag("attention_sets", None, "Sets of tokens that --do_attention sums besides the groups, separated by commas."),
        _Flag(
            "shard",
            None,
            "K/N: compute only every N-th batch of --do_predict and --do_attention, from the K-th. "
            "The same command without --shard writes the results (docs/clusters.md).",
            _ShardParser(),
        ),
        _Flag("verbose_logging", False, "Show TensorFlow's log."),
    ),
    "reader": (
        _Flag(
            "spm_model_file",
            None,
            "The sentencepiece model (spiece.model) of an English ALBERT, instead of --vocab_file.",
            _path,
        ),
        _Flag("do_lower_case", True, "Lower-case the text; must match the vocabulary."),
        _Flag(
            "precision",
            precision.FLOAT32,
            "Precision of matrix products. bfloat16 is faster on devices that support it (TensorFlow 2, or a TPU) and "
            "changes few answers. Weights, updates and --do_attention are in float32.",
            _one_of(precision.NAMES),
        ),
    ),
    "data": (
        _Flag("eval_file", None, "Answers to score against (default: --predict_file).", _path),
        _Flag("max_seq_length", 384, "Window length in word pieces, including the question and padding.", _integer(1)),
        _Flag("doc_stride", 128, "Stride between windows, in word pieces.", _integer(1)),
        _Flag("max_query_length", 64, "Question length in word pieces; longer questions are truncated.", _integer(1)),
        _Flag("version_2_with_negative", False, "Questions may have no answer (SQuAD 2.0)."),
    ),
    "masks": (
        _Flag(
            "mask_layer",
            None,
            "Layers to mask, from 0 (default: all). Commas separate cells, plus signs join layers, "
            '"each" makes one cell per layer, "each:3" one per layer with its neighbors: 0,8+9+10.',
        ),
        _Flag(
            "mask_head",
            None,
            "Heads to mask, from 0 (default: all). Commas separate cells, plus signs join heads, "
            '"each" makes one cell per head: 3,0+3.',
        ),
        _Flag(
            "zones_file",
            None,
            "JSON file with sets of tokens of your own for --mask_zone: spans of characters in "
            "questions and passages (docs/masking.md).",
            _path,
        ),
    ),
    "decoding and scores": (
        _Flag("predict_batch_size", 8, "Most windows in a batch of prediction.", _integer(1, _MOST_WINDOWS)),
        _Flag(
            "trim_padding",
            False,
            "Skip padding. Faster, but prediction excludes it from the n-best ranking, so that an "
            "answer may rarely differ from that of the released code, and training puts windows of "
            "similar length into a batch, in another order. Not with --use_tpu.",
        ),
        _Flag("n_best_size", 20, "Maximum number of n-best answers.", _integer(1)),
        _Flag("max_answer_length", 30, "Maximum answer length in word pieces.", _integer(1)),
        _Flag("null_score_diff_threshold", 0.0, "Null odds above which a question has no answer.", _NumberParser()),
        _Flag(
            "cluster",
            "paragraph",
            "What the tests of --do_eval resample: the questions of a paragraph, or of an article, together.",
            _one_of(list(CLUSTERS)),
        ),
        _Flag(
            "margin",
            1.0,
            "Points within which an effect does not matter: the verdict is then not needed.",
            _NumberParser(0.0, 100.0),
        ),
    ),
    "training": (
        _Flag("train_batch_size", 32, "Batch size for training.", _integer(1, _MOST_WINDOWS)),
        _Flag(
            "micro_batch_size",
            None,
            "Compute a training batch in parts of at most this many windows: the same update in less memory. Parts are "
            "of equal size; any size draws the same dropout. Not with --use_tpu.",
            _integer(1, _MOST_WINDOWS),
        ),
        _Flag("learning_rate", 5e-5, "Peak learning rate of Adam.", _NumberParser(0.0, 1.0)),
        _Flag("num_train_epochs", 3.0, "Number of training epochs.", _NumberParser(0.0, _MOST_EPOCHS)),
        _Flag("warmup_proportion", 0.1, "Proportion of training steps used for warm-up.", _NumberParser(0.0, 1.0)),
        _Flag("save_checkpoints_steps", 1000, "Steps between checkpoints.", _integer(1, _MOST_STEPS)),
        _Flag("rand_seed", 12345, "Seed of every random choice.", _integer(0, 2**31 - 1)),
    ),
    "devices": (
        _Flag("use_tpu", False, "Run on a TPU."),
        _Flag("tpu_name", None, 'Name or grpc:// address of the Cloud TPU, or "local" on a TPU VM.'),
        _Flag("tpu_zone", None, "Zone of the Cloud TPU (default: this machine's)."),
        _Flag("gcp_project", None, "Project of the Cloud TPU (default: this machine's)."),
        _Flag("master", None, "TensorFlow master address."),
        _Flag("num_tpu_cores", 8, "Cores of the TPU.", _integer(1, _MOST_WINDOWS)),
        _Flag("iterations_per_loop", 1000, "Training steps per TPU loop.", _integer(1, _MOST_STEPS)),
    ),
}
_NEGATIVES = ("version_2_with_negative", "null_score_diff_threshold")
_ALL = [flag for group in _GROUPS.values() for flag in group]
PATHS = tuple(flag.name for flag in _ALL if flag.parser is _path)


def define(do_lower_case, with_negatives):
    """Defines the flags of a run script.

    Args:
      do_lower_case: default of --do_lower_case.
      with_negatives: whether the dataset may have questions without an answer.
    """
    for name, default, description, parser in _ALL:
        if name in _NEGATIVES and not with_negatives:
            continue
        if name == "do_lower_case":
            default = do_lower_case
        if isinstance(default, bool):
            flags.DEFINE_bool(name, default, description)
        elif isinstance(parser, flags.EnumParser):
            flags.DEFINE_enum(name, default, parser.enum_values, description)
        else:
            serializer = flags.ArgumentSerializer()
            flags.DEFINE(parser, name, default, description, flags.FLAGS, serializer)


def help_text():
    """Returns the defined flags in groups, with their defaults."""
    lines = []
    for title, group in _GROUPS.items():
        lines += ["", title.capitalize() + ":"]
        for flag in group:
            if flag.name in flags.FLAGS:
                default = flags.FLAGS[flag.name].default
                ends = "" if default is None or default is False else f" (default: {default})"
                lines.append(f"  --{flag.name}")
                lines += textwrap.wrap(flag.description + ends, 96, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return "\n".join(lines)


def with_normalized_paths(flag_values):
    """Returns the dict of flags with `files.normalized` paths."""
    paths = {name: files.normalized(flag_values[name]) for name in PATHS if name in flag_values}
    return dict(flag_values, **paths)


def with_paths_from(folder, values):
    """Returns the flags of a run that began in `folder`, with its relative paths resolved."""
    values = dict(values)
    for name in PATHS:
        path = values.get(name)
        if path and isinstance(folder, str) and "://" not in path:
            resolved = os.path.join(folder, path)
            # Otherwise the files were moved along with the output folder.
            if files.exists(resolved) or files.exists(resolved + ".index"):
                values[name] = resolved
    return values


def own(flag_values):
    """Returns the flags that `define` defines, out of a dict of all flags (some are absl's)."""
    return {flag.name: flag_values[flag.name] for flag in _ALL if flag.name in flag_values}


def _in_plain_words(message):
    """Returns absl's message about a wrong flag without Python's own terms."""
    for pattern, words in _PLAIN_WORDS:
        message = re.sub(pattern, words, message)
    return message.replace("\n", " ").rstrip(" .")


def parse(argv):
    """Parses the flags in `argv`; reports a wrong one in one line with exit code 2.

    --help prints the flags in groups; --helpfull is absl's.
    """
    with errors.exit_with_message():
        errors.check_words(argv)
        if {"--help", "-help", "-?"}.intersection(argv):
            print(f"usage: python {argv[0]} --flag=value ...\n{help_text()}")
            sys.exit(0)
        try:
            rest = flags.FLAGS(argv)
        except SystemExit:  # after --help, for which absl exits with 1
            sys.exit(0)
        except flags.Error as error:
            raise InputError(f"{_in_plain_words(str(error))}; python {argv[0]} --help lists the flags")
        if len(rest) > 1:
            raise InputError(
                f'"{rest[1]}" is not a flag, which begins with --; write --flag=value, and lists '
                "as in --mask_zone=q2,p2, without a space"
            )
    return rest
