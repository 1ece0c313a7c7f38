# SPDX-License-Identifier: Apache-2.0
"""The inputs of a run: every file and model that the flags name, read and checked first."""

import types
from collections import OrderedDict
from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple

import tensorflow.compat.v1 as tf

import attention_mask
import tokenization
from mrc import cells as grid_cells
from mrc.answers import answer_files
from mrc.data import examples, sentence_pieces, squad_format, token_sets
from mrc.datasets import Dataset
from mrc.experiment import cloud_tpu, provenance, training_record
from mrc.model import bert_config, checkpoint, checkpoint_folder, precision
from mrc.model.bert_config import BertConfig
from mrc.util import files
from mrc.util.errors import InputError

TEXT_FLAGS = ("do_lower_case", "max_seq_length", "doc_stride", "max_query_length", "version_2_with_negative")
_LEAST_SHARE = 0.9  # of the rows of the embeddings that a vocabulary fills


class Inputs(NamedTuple):
    """The inputs of a run, immutable.

    Attributes:
      dataset: the `Dataset`.
      options: values of the flags, by name.
      config, vocabulary: of the model.
      cells: the cells of the grid.
      checkpoints: paths of the checkpoints in the output folder, newest first.
      trained: the checkpoint among them to resume from or to predict with, or None.
      training_examples, prediction_examples: the examples to train on and to answer; None without
        --do_train, or without --do_predict and --do_attention.
      set_spans: the `token_sets.Spans` of every prediction example, for each set of tokens that is
        used besides the groups.
      eval_passages: passages with the answers to score against; None without --do_eval.
      file_hashes: {path: SHA-256} of each file as it was read, and of each checkpoint's index.
    """

    dataset: Dataset
    options: types.SimpleNamespace
    config: BertConfig
    vocabulary: tokenization.Vocabulary
    cells: List[grid_cells.Cell]
    checkpoints: List[str]
    trained: Optional[str]
    training_examples: Optional[list]
    prediction_examples: Optional[list]
    set_spans: Dict[str, List[token_sets.Spans]]
    eval_passages: Optional[list]
    file_hashes: Dict[str, str]

    @property
    def has_model(self) -> bool:
        """Whether the run needs a model; scoring alone does not."""
        return self.options.do_train or self.reads_questions

    @property
    def reads_questions(self) -> bool:
        """Whether the run passes the prediction file through the model."""
        return _reads_questions(self.options)

    @property
    def with_negatives(self) -> bool:
        """Whether questions may have no answer (SQuAD 2.0)."""
        return getattr(self.options, "version_2_with_negative", False)

    @property
    def null_threshold(self) -> float:
        """Null odds above which a question has no answer (SQuAD 2.0)."""
        return getattr(self.options, "null_score_diff_threshold", 0.0)

    def tokenizer(self):
        return self.vocabulary.tokenizer(self.options.do_lower_case)

    def file_names(self, cell: grid_cells.Cell) -> Dict[str, str]:
        """Returns the names of the answer files of `cell`."""
        return answer_files.file_names(cell, len(self.cells) == 1, self.with_negatives)

    def fingerprint(self, data_flag: str, flag_names, weights: Optional[str] = None) -> OrderedDict:
        """Returns what results depend on, as {name: value or SHA-256}.

        Args:
          data_flag: the flag that names the data file.
          flag_names: flags whose values matter.
          weights: path of a checkpoint that matters.
        """
        values = OrderedDict([("dataset", self.dataset.name)])
        if weights:
            values["checkpoint"] = self.checkpoint_sha256(weights)
        for flag in ("bert_config_file", vocabulary_flag(self.options), data_flag):
            values[flag] = self.file_hashes[getattr(self.options, flag)]
        if any(name not in attention_mask.DATA_SETS for name in self.set_spans):
            values["zones_file"] = self.file_hashes[self.options.zones_file]
        for name in flag_names:
            if hasattr(self.options, name):
                values[name] = getattr(self.options, name)
        if values.get("precision") == precision.FLOAT32:
            del values["precision"]  # so are results from before there was a choice
        return values

    def hashes(self) -> Iterator[Tuple[str, str]]:
        """Yields (role, SHA-256) of every file and checkpoint that the run reads."""
        options = self.options
        roles = [
            ("bert_config_file", True),
            (vocabulary_flag(options), True),
            ("train_file", options.do_train),
            ("predict_file", self.reads_questions),
        ]
        for flag, is_read in roles:
            if is_read:
                yield flag, self.file_hashes[getattr(options, flag)]
        if options.do_eval:
            yield "eval_file", self.file_hashes[eval_file(options)]
        if self.has_model:
            for role, path in (("init_checkpoint", options.init_checkpoint), ("checkpoint", self.trained)):
                if path:
                    yield role, self.checkpoint_sha256(path)

    def checkpoint_sha256(self, path: str) -> str:
        """Returns the SHA-256 of a checkpoint's index when it was first used."""
        if path not in self.file_hashes:
            self.file_hashes[path] = provenance.checkpoint_sha256(path)
        return self.file_hashes[path]

    def check_unchanged(self, weights: Optional[str]):
        """Checks the files of the model once more, after TensorFlow has restored its weights.

        Args:
          weights: path of the restored checkpoint, or None.

        Raises:
          ChangedFile: one was replaced since it was read, so what was restored is not what the
            results would be recorded under.
        """
        model_files = {
            path: files.sha256(path)
            for path in (self.options.bert_config_file, getattr(self.options, vocabulary_flag(self.options)))
        }
        if weights:
            model_files[weights] = provenance.checkpoint_sha256(weights)
        for path, sha256 in model_files.items():
            if sha256 != self.file_hashes[path]:
                raise files.ChangedFile(
                    f"{path} was replaced after this run read it; nothing computed from it is kept: rerun the command"
                )

    def check_output_folder(self):
        """Raises an `InputError` if another run has trained in the output folder meanwhile."""
        folder = self.options.output_dir
        if self.has_model and checkpoint_folder.listed(folder) != self.checkpoints:
            raise InputError(f"another run trained in {folder} while this one read its files; rerun the command")


def _reads_questions(options) -> bool:
    return options.do_predict or options.do_attention


def eval_file(options) -> Optional[str]:
    """Returns the path of the file with the answers to score against."""
    return options.eval_file or options.predict_file


def vocabulary_flag(options) -> str:
    """Returns the name of the flag that names the vocabulary."""
    return "spm_model_file" if options.spm_model_file else "vocab_file"


def check_flags(options):
    """Checks the flags against each other, before any file is read."""
    required = ("bert_config_file", vocabulary_flag(options), "output_dir")
    missing = ["--" + name for name in required if not getattr(options, name)]
    if "--vocab_file" in missing:
        missing[missing.index("--vocab_file")] += " (or --spm_model_file)"
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise InputError(f"{', '.join(missing)} {verb} required; see --help")
    if options.spm_model_file and options.vocab_file:
        raise InputError(
            f"--vocab_file={options.vocab_file} and --spm_model_file={options.spm_model_file} both "
            "name the vocabulary; pass the one that came with the checkpoint"
        )
    if not (options.do_train or _reads_questions(options) or options.do_eval):
        raise InputError("nothing to do; pass at least one of --do_train, --do_predict, --do_attention and --do_eval")
    if options.do_train and not options.train_file:
        raise InputError("--do_train needs --train_file; pass the questions to train on")
    if options.do_predict and not options.predict_file:
        raise InputError("--do_predict needs --predict_file; pass the questions to answer")
    if options.do_attention and not options.predict_file:
        raise InputError("--do_attention needs --predict_file; pass the questions to read")
    if options.do_eval and not eval_file(options):
        raise InputError("--do_eval needs --eval_file or --predict_file to score against; pass a file with answers")
    flags = (options.mask_zone, options.mask_layer, options.mask_head)
    masks = any(flag is not None for flag in flags)
    if options.do_train and masks and not (_reads_questions(options) or options.do_eval):
        raise InputError("--mask_zone, --mask_layer and --mask_head apply to prediction; remove them or add --do_predict")
    if options.do_predict or options.do_train:
        precision.check(options.precision, options.use_tpu)
    elif options.precision != precision.FLOAT32 and options.do_attention:
        raise InputError(
            f"--precision={options.precision} applies to --do_train and --do_predict; "
            "--do_attention is in float32: remove it"
        )
    if options.attention_sets and not options.do_attention:
        raise InputError("--attention_sets applies to --do_attention; add it or remove the sets")
    if options.do_train and not options.learning_rate:
        tf.logging.warning("--learning_rate=0: training will not change the weights")
    cloud_tpu.check_flags(options)
    checkpoint.check_case(options.do_lower_case, options.init_checkpoint)


def _read_config(options):
    config = bert_config.read(options.bert_config_file)
    longest = config.max_position_embeddings
    if options.max_seq_length > longest:
        raise InputError(
            f"--max_seq_length={options.max_seq_length} exceeds the {longest} positions of the "
            f"model in {options.bert_config_file}; use at most {longest}"
        )
    return config


def _read_vocabulary(options, config):
    path = getattr(options, vocabulary_flag(options))
    read = sentence_pieces.read if options.spm_model_file else tokenization.read_vocabulary
    vocabulary = read(path)
    vocabulary.longest_word = config.max_input_chars_per_word
    # A few pieces less than rows are fine: checkpoints are padded to round sizes.
    beyond = [piece for piece in vocabulary.pieces[config.vocab_size :] if piece]
    if beyond:
        raise InputError(
            f"the vocabulary {path} has {len(vocabulary)} entries, but vocab_size in {options.bert_config_file} is "
            f"{config.vocab_size}; use the pair of files that came with the checkpoint"
        )
    if len(vocabulary) < _LEAST_SHARE * config.vocab_size:
        tf.logging.warning(
            "the vocabulary %s has %d entries, but vocab_size in %s is %d: it seems to be of "
            "another model; use the pair of files that came with the checkpoint",
            path,
            len(vocabulary),
            options.bert_config_file,
            config.vocab_size,
        )
    return vocabulary


def _find_checkpoint(options, config):
    """Returns the trained checkpoint in the output folder or None; checks all checkpoints."""
    trained, contents = checkpoint_folder.find_trained(options.output_dir, to_train=options.do_train)
    only_predicts = _reads_questions(options) and not options.do_train
    if trained:
        try:
            checkpoint.check(trained, config, needs_head=True, trained_here=True, contents=contents)
        except InputError as error:
            raise InputError(
                f"{error}. {options.output_dir} has a reader that was trained there, which takes "
                "precedence over --init_checkpoint; for another reader, pass another --output_dir"
            )
    if trained and options.init_checkpoint and only_predicts:
        print(f"predicting with {trained}, which was trained in the output folder; --init_checkpoint is not used")
    if options.init_checkpoint:
        needs_head = not options.do_train and not trained
        checkpoint.check(options.init_checkpoint, config, needs_head)
    elif only_predicts and not trained:
        raise InputError(
            f"there is no model to predict with: {options.output_dir} has no trained checkpoint; "
            "pass --init_checkpoint, or train first with --do_train"
        )
    if not options.do_train:
        training_record.check_reader(trained or options.init_checkpoint, options.do_lower_case)
    return trained


def read(dataset: Dataset, options) -> Inputs:
    """Reads and checks everything that the flags name.

    Args:
      dataset: the `Dataset` of the files.
      options: namespace of the flags.

    Raises:
      InputError: a flag, file or model is wrong.
    """
    check_flags(options)
    with files.recorded_hashes() as hashes:
        inputs = _read_files(dataset, options, hashes)
    for path in (options.init_checkpoint, inputs.trained):
        if path and inputs.has_model:
            inputs.checkpoint_sha256(path)
    return inputs


def _read_files(dataset, options, hashes):
    if options.spm_model_file and not dataset.joiner:
        raise InputError(
            f"--spm_model_file={options.spm_model_file} is for text with spaces between words, "
            f"unlike {dataset.name}; pass the --vocab_file of a Chinese model"
        )
    has_model = options.do_train or _reads_questions(options)
    if options.use_tpu and has_model:
        cloud_tpu.check(options.tpu_name, options.tpu_zone, options.gcp_project, options.master)
    config = _read_config(options)
    zones = token_sets.read_zones_file(options.zones_file) if options.zones_file else {}
    own_sets = sorted({name for sets in zones.values() for name in sets})
    cells = grid_cells.read_cells(
        options.mask_zone,
        options.mask_layer,
        config.num_hidden_layers,
        options.mask_head,
        config.num_attention_heads,
        own_sets,
    )
    set_names = token_sets.used_sets(cells, options.attention_sets, own_sets)
    if options.do_attention and len(cells) > 1:
        raise InputError(
            f"--do_attention reads one cell at a time, and the mask flags name {len(cells) - 1} "
            "cells; pass one --mask_zone, --mask_layer and --mask_head, or none of them"
        )
    vocabulary = _read_vocabulary(options, config)
    checkpoints = checkpoint_folder.listed(options.output_dir) if has_model else []
    trained = _find_checkpoint(options, config) if has_model else None
    with_negatives = getattr(options, "version_2_with_negative", False)
    training_examples = prediction_examples = eval_passages = None
    set_spans = {}
    if options.do_train:
        training_examples = examples.make_training_examples(
            dataset,
            squad_format.read(
                options.train_file,
                "training file",
                squad_format.TRAINING_WITH_NEGATIVES if with_negatives else squad_format.TRAINING,
            ),
            options.train_file,
            with_negatives,
        )
    if _reads_questions(options):
        scores_it = options.do_eval and eval_file(options) == options.predict_file
        keys = squad_format.PREDICTION | (squad_format.SCORING if scores_it else frozenset())
        if set(set_names) & set(token_sets.NEEDS_ANSWERS):
            keys |= squad_format.LOCATED_ANSWERS
        passages = squad_format.read(options.predict_file, "prediction file", keys)
        prediction_examples = examples.make_prediction_examples(dataset, passages, options.predict_file)
        token_sets.check_zones(zones, prediction_examples, options.zones_file)
        questions = [question for passage in passages for question in passage.questions]
        set_spans = token_sets.find_spans(set_names, prediction_examples, questions, dataset, zones)
        if scores_it:
            eval_passages = passages
    if options.do_eval:
        path = eval_file(options)
        if eval_passages is None:
            eval_passages = squad_format.read(path, "evaluation file", squad_format.SCORING)
        # A grid has the reader's own answers to compare with.
        if len(cells) == 1 or squad_format.has_answers(eval_passages):
            dataset.check_answers(eval_passages, "the evaluation file " + path)
    return Inputs(
        dataset=dataset,
        options=options,
        config=config,
        vocabulary=vocabulary,
        cells=cells,
        checkpoints=checkpoints,
        trained=trained,
        training_examples=training_examples,
        prediction_examples=prediction_examples,
        set_spans=set_spans,
        eval_passages=eval_passages,
        file_hashes=hashes,
    )
