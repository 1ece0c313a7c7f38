# SPDX-License-Identifier: Apache-2.0
"""The flags of both run scripts: definitions, defaults and bounds."""

import math
import re
import sys

from absl import flags

from attention_mask import ANY, DATA_SETS, GROUPS, ZONES
from mrc.answers.question_scores import CLUSTERS
from mrc.model import precision
from mrc.util import errors, files
from mrc.util.errors import InputError

# Upper bounds above any sensible value; larger ones would overflow numbers or memory.
_MOST_WINDOWS = 2**16  # in a batch
_MOST_STEPS = 2**31 - 1  # steps are counted in 32 bits on a TPU
_MOST_EPOCHS = 10.0**4

PATHS = (
    "bert_config_file",
    "vocab_file",
    "spm_model_file",
    "output_dir",
    "train_file",
    "predict_file",
    "eval_file",
    "init_checkpoint",
    "zones_file",
)

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


def _define_number(name, default, description, lower_bound=None, upper_bound=None):
    parser = _NumberParser(lower_bound, upper_bound)
    flags.DEFINE(parser, name, default, description, flags.FLAGS, flags.ArgumentSerializer())


def _define_files():
    flags.DEFINE_string(
        "bert_config_file", None, "The bert_config.json that came with the checkpoint."
    )
    flags.DEFINE_string("vocab_file", None, "The vocab.txt that came with the checkpoint.")
    flags.DEFINE_string(
        "spm_model_file",
        None,
        "The sentencepiece model (spiece.model) of an English ALBERT, instead of --vocab_file.",
    )
    flags.DEFINE_string("output_dir", None, "Folder for checkpoints, predictions and scores.")
    flags.DEFINE_string("train_file", None, "Questions with answers to train on, in SQuAD format.")
    flags.DEFINE_string("predict_file", None, "Questions to answer, in SQuAD format.")
    flags.DEFINE_string("eval_file", None, "Answers to score against (default: --predict_file).")
    flags.DEFINE_string(
        "init_checkpoint",
        None,
        "Checkpoint to start from: BERT, or a trained reader. A checkpoint in --output_dir takes "
        "precedence.",
    )


def _define_text(do_lower_case):
    flags.DEFINE_bool(
        "do_lower_case", do_lower_case, "Lower-case the text; must match the vocabulary."
    )
    flags.DEFINE_integer(
        "max_seq_length",
        384,
        "Window length in word pieces, including the question and padding.",
        lower_bound=1,
    )
    flags.DEFINE_integer(
        "doc_stride", 128, "Stride between windows, in word pieces.", lower_bound=1
    )
    flags.DEFINE_integer(
        "max_query_length",
        64,
        "Maximum question length in word pieces; longer questions are truncated.",
        lower_bound=1,
    )


def _define_training():
    flags.DEFINE_bool("do_train", False, "Train on --train_file.")
    flags.DEFINE_integer(
        "train_batch_size",
        32,
        "Batch size for training.",
        lower_bound=1,
        upper_bound=_MOST_WINDOWS,
    )
    flags.DEFINE_integer(
        "micro_batch_size",
        None,
        "Compute a training batch in parts of at most this many windows: the same update in less "
        "memory. Parts are of equal size; any size draws the same dropout. Not with --use_tpu.",
        lower_bound=1,
        upper_bound=_MOST_WINDOWS,
    )
    _define_number(
        "learning_rate", 5e-5, "Peak learning rate of Adam.", lower_bound=0.0, upper_bound=1.0
    )
    _define_number(
        "num_train_epochs",
        3.0,
        "Number of training epochs.",
        lower_bound=0.0,
        upper_bound=_MOST_EPOCHS,
    )
    _define_number(
        "warmup_proportion",
        0.1,
        "Proportion of training steps used for warm-up.",
        lower_bound=0.0,
        upper_bound=1.0,
    )
    flags.DEFINE_integer(
        "save_checkpoints_steps",
        1000,
        "Steps between checkpoints.",
        lower_bound=1,
        upper_bound=_MOST_STEPS,
    )
    flags.DEFINE_integer(
        "iterations_per_loop",
        1000,
        "Training steps per TPU loop.",
        lower_bound=1,
        upper_bound=_MOST_STEPS,
    )
    flags.DEFINE_integer(
        "rand_seed", 12345, "Seed of every random choice.", lower_bound=0, upper_bound=2**31 - 1
    )


def _define_prediction():
    flags.DEFINE_bool("do_predict", False, "Answer the questions of --predict_file.")
    flags.DEFINE_bool(
        "do_attention",
        False,
        "Write where each head attends over --predict_file: attention.csv, attention_entropy.csv.",
    )
    flags.DEFINE_string(
        "attention_sets",
        None,
        "Sets of tokens that --do_attention sums besides the groups, separated by commas.",
    )
    flags.DEFINE_bool("do_eval", False, "Score the answers against --eval_file.")
    flags.DEFINE_integer(
        "predict_batch_size",
        8,
        "Batch size for prediction.",
        lower_bound=1,
        upper_bound=_MOST_WINDOWS,
    )
    flags.DEFINE_integer("n_best_size", 20, "Maximum number of n-best answers.", lower_bound=1)
    flags.DEFINE_integer(
        "max_answer_length", 30, "Maximum answer length in word pieces.", lower_bound=1
    )
    flags.DEFINE_string(
        "mask_zone",
        None,
        f"Attention zones to mask: {', '.join(ZONES)}, or QUERY-KEY or QUERY-KEY-DISTANCE, as in "
        "passage-question-near8, with sets of tokens and the distances self, nearN and farN. The "
        f"sets: {', '.join(GROUPS + (ANY,) + tuple(DATA_SETS))}. Commas separate the cells of a "
        "grid, plus signs join zones: q2,p2q+p2. off sets the context vectors of heads to zero.",
    )
    flags.DEFINE_string(
        "zones_file",
        None,
        "JSON file with sets of tokens of your own for --mask_zone: spans of characters in "
        "questions and passages (docs/masking.md).",
    )
    flags.DEFINE_string(
        "mask_layer",
        None,
        "Layers to mask, from 0 (default: all). Commas separate cells, plus signs join layers, "
        '"each" makes one cell per layer, "each:3" one per layer with its neighbors: 0,8+9+10.',
    )
    flags.DEFINE_string(
        "mask_head",
        None,
        "Heads to mask, from 0 (default: all). Commas separate cells, plus signs join heads, "
        '"each" makes one cell per head: 3,0+3.',
    )
    flags.DEFINE_bool(
        "trim_padding",
        False,
        "Skip padding in the forward pass and exclude it from the n-best ranking. Faster, but an "
        "answer may rarely differ from that of the released code. Not with --use_tpu.",
    )
    flags.DEFINE_enum(
        "precision",
        precision.FLOAT32,
        precision.NAMES,
        "Precision of matrix products. bfloat16 is faster on devices that support it (TensorFlow "
        "2, or a TPU) and changes few answers. Weights, updates and --do_attention are in float32.",
    )


def _define_scoring():
    flags.DEFINE_enum(
        "cluster",
        "paragraph",
        list(CLUSTERS),
        "What the tests of --do_eval resample: the questions of a paragraph, or of an article, "
        "together.",
    )
    _define_number(
        "margin",
        1.0,
        "Points within which an effect does not matter: the verdict is then not needed.",
        lower_bound=0.0,
        upper_bound=100.0,
    )


def _define_devices():
    flags.DEFINE_bool("use_tpu", False, "Run on a TPU.")
    flags.DEFINE_string(
        "tpu_name", None, 'Name or grpc:// address of the Cloud TPU, or "local" on a TPU VM.'
    )
    flags.DEFINE_string("tpu_zone", None, "Zone of the Cloud TPU (default: this machine's).")
    flags.DEFINE_string("gcp_project", None, "Project of the Cloud TPU (default: this machine's).")
    flags.DEFINE_string("master", None, "TensorFlow master address.")
    flags.DEFINE_integer(
        "num_tpu_cores", 8, "Cores of the TPU.", lower_bound=1, upper_bound=_MOST_WINDOWS
    )
    flags.DEFINE_bool("verbose_logging", False, "Show TensorFlow's log.")


def _define_negatives():
    flags.DEFINE_bool("version_2_with_negative", False, "Questions may have no answer (SQuAD 2.0).")
    _define_number(
        "null_score_diff_threshold", 0.0, "Null odds above which a question has no answer."
    )


def define(do_lower_case, with_negatives):
    """Defines the flags of a run script.

    Args:
      do_lower_case: default of --do_lower_case.
      with_negatives: whether the dataset may have questions without an answer.
    """
    _define_files()
    _define_text(do_lower_case)
    _define_training()
    _define_prediction()
    _define_scoring()
    _define_devices()
    if with_negatives:
        _define_negatives()


def with_normalized_paths(flag_values):
    """Returns the dict of flags with `files.normalized` paths."""
    paths = {name: files.normalized(flag_values[name]) for name in PATHS if name in flag_values}
    return dict(flag_values, **paths)


def own(flag_values):
    """Returns the flags that `define` defines, out of a dict of all flags (some are absl's)."""
    names = {flag.name for flag in flags.FLAGS.flags_by_module_dict().get(__name__, [])}
    return {name: value for name, value in flag_values.items() if name in names}


def _in_plain_words(message):
    """Returns absl's message about a wrong flag without Python's own terms."""
    for pattern, words in _PLAIN_WORDS:
        message = re.sub(pattern, words, message)
    return message.replace("\n", " ").rstrip(" .")


def parse(argv):
    """Parses the flags in `argv`; reports a wrong one in one line with exit code 2."""
    with errors.exit_with_message():
        errors.check_words(argv)
        try:
            rest = flags.FLAGS(argv)
        except SystemExit:  # after --help, for which absl exits with 1
            sys.exit(0)
        except flags.Error as error:
            raise InputError(
                f"{_in_plain_words(str(error))}; python {argv[0]} --help lists the flags"
            )
        if len(rest) > 1:
            raise InputError(
                f'"{rest[1]}" is not a flag, which begins with --; write --flag=value, and lists '
                "as in --mask_zone=q2,p2, without a space"
            )
    return rest
