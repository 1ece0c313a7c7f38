# SPDX-License-Identifier: Apache-2.0
"""One run from flags to files: everything is checked first, then the reader is trained, decodes and is scored as asked."""

import collections
import contextlib
import logging
import os
import re
import types

import tensorflow.compat.v1 as tf

import attention_mask
import tokenization
from mrc.answers import answer_files, decoding, scoring
from mrc.data import examples, feature_cache, squad_format
from mrc.experiment import (
    cloud_tpu,
    partial_results,
    prediction,
    provenance,
    run_flags,
    run_record,
    training,
    training_hooks,
)
from mrc.model import bert_config, checkpoint, estimator
from mrc.util import errors, files, locks, signals, tensorflow_versions
from mrc.util.errors import Fault, InputError

_LOWER_CASED = re.compile(
    r"(uncased|multilingual|chinese)_L-12_H-768_A-12|uncased_L-24_H-1024_A-16"
)
_CASED = re.compile(r"(?<!un)cased_L-(12_H-768_A-12|24_H-1024_A-16)")

_CORES_OF_A_HOST = 8  # of a TPU; TPUEstimator's prediction reaches no further

_TEXT_FLAGS = (
    "do_lower_case",
    "max_seq_length",
    "doc_stride",
    "max_query_length",
    "version_2_with_negative",
)
_TRAINING_FLAGS = _TEXT_FLAGS + (
    "train_batch_size",
    "learning_rate",
    "num_train_epochs",
    "warmup_proportion",
    "rand_seed",
)
_DECODING_FLAGS = _TEXT_FLAGS + (
    "n_best_size",
    "max_answer_length",
    "null_score_diff_threshold",
    "trim_padding",
)


def check_case(do_lower_case, init_checkpoint):
    """Holds --do_lower_case against the names of Google's checkpoints in the path of `init_checkpoint`."""
    for pattern, wanted in ((_LOWER_CASED, True), (_CASED, False)):
        found = pattern.search(init_checkpoint or "")
        if found and do_lower_case != wanted:
            raise InputError(
                "--do_lower_case={} does not fit --init_checkpoint={}: {} is {}; give "
                "--do_lower_case={}".format(
                    do_lower_case,
                    init_checkpoint,
                    found.group(),
                    "lower-cased" if wanted else "cased",
                    wanted,
                )
            )


def check_tpu_flags(options):
    """Checks what a TPU cannot do, before it is asked."""
    if not (options.tpu_name or options.master):
        raise InputError(
            "--use_tpu needs --tpu_name or --master; give the name or the grpc:// address of the "
            "TPU"
        )
    if options.tpu_name and options.master:
        raise InputError(
            f"--tpu_name={options.tpu_name} and --master={options.master} both say where the TPU "
            "is; give one of them"
        )
    if options.trim_padding:
        raise InputError(
            "--trim_padding makes batches of many lengths, and a TPU needs one; leave it out with "
            "--use_tpu"
        )
    if options.do_predict and options.num_tpu_cores > _CORES_OF_A_HOST:
        raise InputError(
            "--num_tpu_cores=%d: only a TPU of one machine can answer, with %d cores at most; "
            "train there and "
            "decode on a v2-8 or v3-8" % (options.num_tpu_cores, _CORES_OF_A_HOST)
        )
    for name in ("output_dir", "init_checkpoint"):
        path = getattr(options, name)
        if path and not path.startswith("gs://") and options.tpu_name != cloud_tpu.LOCAL:
            raise InputError(
                f"a remote TPU reads and writes gs:// paths only, and --{name}={path} is local; "
                "copy it to a bucket, or run on "
                "a TPU VM with --tpu_name=local"
            )
    for wanted, name in (
        (options.do_train, "train_batch_size"),
        (options.do_predict, "predict_batch_size"),
    ):
        if wanted and getattr(options, name) % options.num_tpu_cores:
            size, cores = getattr(options, name), options.num_tpu_cores
            raise InputError(
                "--%s=%d is no multiple of the %d TPU cores (--num_tpu_cores); give one such as %d"
                % (name, size, cores, cores * (size // cores + 1))
            )


def _warn_of_no_tpu(options):
    for name, meaning in (
        ("tpu_name", "it is not used"),
        ("master", "the model runs there, but not as on a TPU"),
    ):
        if getattr(options, name):
            tf.logging.warning(
                "--%s=%s without --use_tpu: %s; add --use_tpu to run on a TPU",
                name,
                getattr(options, name),
                meaning,
            )


def check_flags(options):
    """Checks what the flags say together, before any file is read."""
    missing = [
        "--" + name
        for name in ("bert_config_file", "vocab_file", "output_dir")
        if not getattr(options, name)
    ]
    if missing:
        raise InputError(
            "{} {} needed; see --help".format(
                ", ".join(missing), "is" if len(missing) == 1 else "are"
            )
        )
    if not (options.do_train or options.do_predict or options.do_eval):
        raise InputError(
            "nothing to do; give at least one of --do_train, --do_predict and --do_eval"
        )
    if options.do_train and not options.train_file:
        raise InputError("--do_train needs --train_file; give the questions to train on")
    if options.do_predict and not options.predict_file:
        raise InputError("--do_predict needs --predict_file; give the questions to answer")
    if options.do_eval and not (options.eval_file or options.predict_file):
        raise InputError(
            "--do_eval needs --eval_file or --predict_file to score against; give a file with "
            "answers"
        )
    if (
        options.do_train
        and not (options.do_predict or options.do_eval)
        and (options.mask_zone is not None or options.mask_layer is not None)
    ):
        raise InputError(
            "--mask_zone and --mask_layer act in prediction; leave them out or add --do_predict"
        )
    if options.do_train and not options.learning_rate:
        tf.logging.warning(
            "--learning_rate=0 changes no weight; the training leaves the model as it is"
        )
    if options.use_tpu:
        check_tpu_flags(options)
    elif options.tpu_name or options.master:
        _warn_of_no_tpu(options)
    check_case(options.do_lower_case, options.init_checkpoint)


class Run:
    """What one run works with, read and checked: model, vocabulary, cells and data.

    Args:
      dataset: `datasets.Dataset`.
      options: namespace of the flags.
      watch: `stopping.Watch`.
    """

    def __init__(self, dataset, options, watch=None):
        check_flags(options)
        if options.use_tpu and (options.do_train or options.do_predict):
            cloud_tpu.check(options.tpu_name, options.tpu_zone, options.gcp_project, options.master)
        self.dataset, self.options = dataset, options
        self._watch = watch or signals.Watch()
        self._fingerprints = {}  # by path
        self.config = bert_config.read(options.bert_config_file)
        self._check_length()
        self.cells = attention_mask.read_cells(
            options.mask_zone, options.mask_layer, self.config.num_hidden_layers
        )
        self.vocabulary = self._read_vocabulary()
        self._check_checkpoints()
        self.train_passages = self._read(options.do_train, options.train_file, "training file")
        self.predict_passages = self._read(
            options.do_predict, options.predict_file, "prediction file"
        )
        eval_file = options.eval_file or options.predict_file
        both = options.do_predict and eval_file == options.predict_file
        self.eval_passages = (
            self.predict_passages
            if both and options.do_eval
            else self._read(options.do_eval, eval_file, "evaluation file")
        )
        if options.do_eval:  # says so where there is nothing to score against
            self.dataset.evaluate(
                self.eval_passages, {}, None, 0.0, "the evaluation file " + eval_file
            )
        self.with_negatives = getattr(options, "version_2_with_negative", False)
        self.null_threshold = getattr(options, "null_score_diff_threshold", 0.0)

    def _check_length(self):
        longest = self.config.max_position_embeddings
        if self.options.max_seq_length > longest:
            raise InputError(
                "--max_seq_length=%d is more than the %d positions of the model in %s; use at "
                "most %d"
                % (self.options.max_seq_length, longest, self.options.bert_config_file, longest)
            )

    def _read_vocabulary(self):
        vocabulary = tokenization.read_vocabulary(self.options.vocab_file)
        if len(vocabulary) != self.config.vocab_size:
            blank = vocabulary.pieces.count("")
            raise InputError(
                "the vocabulary %s has %d entries%s, but vocab_size in %s is %d; use the two that "
                "came with "
                "the checkpoint"
                % (
                    self.options.vocab_file,
                    len(vocabulary),
                    " (%d of them blank lines)" % blank if blank else "",
                    self.options.bert_config_file,
                    self.config.vocab_size,
                )
            )
        return vocabulary

    @property
    def _has_model(self):
        """Whether a model is at work; scoring alone has none."""
        return self.options.do_train or self.options.do_predict

    def _check_checkpoints(self):
        options = self.options
        self._found, self.trained = [], None
        if not self._has_model:
            return
        self._found = checkpoint.listed(options.output_dir)
        self.trained = trained = checkpoint.find_trained(
            options.output_dir, to_train=options.do_train
        )
        if trained:
            checkpoint.check(trained, self.config, needs_head=True, trained_here=True)
        if trained and options.init_checkpoint and options.do_predict and not options.do_train:
            print(
                f"predicting with {trained}, which was trained in the output folder, not with "
                "--init_checkpoint"
            )
        if options.init_checkpoint:
            checkpoint.check(
                options.init_checkpoint,
                self.config,
                needs_head=not options.do_train and not trained,
            )
        elif options.do_predict and not options.do_train and not trained:
            raise InputError(
                f"there is no model to predict with: {options.output_dir} holds no trained "
                "checkpoint; give --init_checkpoint or "
                "train first with --do_train"
            )
        if not options.do_train:
            training.check_reader(trained or options.init_checkpoint, options.do_lower_case)

    def check_alone(self):
        """Stops where another run trained in the output folder since this one looked at its checkpoints."""
        if self._has_model and checkpoint.listed(self.options.output_dir) != self._found:
            raise InputError(
                f"another run trained in {self.options.output_dir} while this one read its files; "
                "give the same command again"
            )

    def _fingerprint(self, path, what="file"):
        """Returns the fingerprint of a file as it was when the run first asked."""
        if path not in self._fingerprints:
            self._fingerprints[path] = provenance.file_fingerprint(path, what)
        return self._fingerprints[path]

    def _read(self, wanted, path, what):
        if not wanted:
            return None
        self._fingerprint(
            path, what
        )  # a file that is replaced later on does not pass for what was read
        return squad_format.read(path, what)

    def _window_lengths(self):
        return self.options.max_seq_length, self.options.doc_stride, self.options.max_query_length

    def tokenizer(self):
        return tokenization.WordPieceTokenizer(self.vocabulary, self.options.do_lower_case)

    def make_estimator(self, **model):
        """Returns the estimator; `model` are the arguments `training` or `prediction` of `estimator.make_model_fn`."""
        options = self.options
        device = estimator.Device(*(getattr(options, name) for name in estimator.Device._fields))
        model_fn = estimator.make_model_fn(
            self.config,
            self.dataset,
            options.init_checkpoint,
            model.get("training"),
            model.get("prediction"),
            options.use_tpu,
            options.rand_seed,
            [training_hooks.StopWhenAsked(self._watch)],
        )
        return estimator.make_estimator(
            model_fn,
            device,
            options.output_dir,
            options.train_batch_size,
            options.predict_batch_size,
            options.save_checkpoints_steps,
            options.rand_seed,
        )

    def _windows(self, found, file_name, made_from):
        """Returns the windows of the examples `found`, whose word pieces are kept in the output folder."""
        path = os.path.join(self.options.output_dir, file_name)
        windows = feature_cache.make_windows(
            path, made_from, found, self.tokenizer(), *self._window_lengths()
        )
        if self.options.doc_stride > windows.least_room() and len(windows) > len(found):
            tf.logging.warning(
                "--doc_stride=%d is more than the %d word pieces of a passage that fit beside the "
                "longest "
                "question: windows follow one another without overlap, and answers across their "
                "ends are not found",
                self.options.doc_stride,
                windows.least_room(),
            )
        return windows

    def _training_text(self):
        """What the windows of the training file are made from."""
        return self._made_from(None, "train_file", _TEXT_FLAGS + ("rand_seed",))

    def _prediction_text(self):
        """What the windows of the prediction file are made from."""
        return self._made_from(None, "predict_file", _TEXT_FLAGS)

    def training_windows(self):
        """Returns the windows of the training file."""
        found = examples.make_training_examples(
            self.dataset, self.train_passages, self.options.train_file, self.with_negatives
        )
        found = training.shuffle(found, self.options.rand_seed)
        return self._windows(found, training.FEATURES_FILE, self._training_text())

    def prediction_windows(self):
        """Returns the windows of the prediction file."""
        found = examples.make_prediction_examples(
            self.dataset, self.predict_passages, self.options.predict_file
        )
        self.predict_passages = None  # their answers take up memory
        return self._windows(found, prediction.FEATURES_FILE, self._prediction_text())

    def train(self, windows):
        """Trains on `windows`, from the last checkpoint in the output folder if there is one."""
        options, dataset = self.options, self.dataset
        steps = training.count_steps(
            windows, dataset, options.train_batch_size, options.num_train_epochs
        )
        done = training.steps_done(self.trained)
        self._check_same_training(done, steps)
        if done >= steps:
            print("the training in %s is finished already: %d steps" % (options.output_dir, done))
            return
        checkpoint.remove_unfinished(options.output_dir)
        if done:
            print(
                "the training in %s goes on after step %d of %d"
                % (options.output_dir, done, steps),
                flush=True,
            )
        if self.trained:
            checkpoint.make_last(options.output_dir, self.trained)
        path = training.write_records(windows, dataset, options.output_dir, self._training_text())
        reader = self.make_estimator(
            training=dict(
                peak_rate=options.learning_rate,
                num_steps=steps,
                num_warmup_steps=int(steps * options.warmup_proportion),
            )
        )
        input_fn = training.make_input_fn(
            path,
            dataset,
            options.max_seq_length,
            options.rand_seed,
            records_seen=done * options.train_batch_size,
        )
        with self._device_working(), self._watch.waiting(), training_hooks.telling(
            options.output_dir, path
        ):
            reader.train(
                input_fn,
                hooks=[training_hooks.FiniteLoss(options.output_dir)],
                max_steps=steps,
                saving_listeners=[training_hooks.SoundCheckpoints(options.output_dir)],
            )
        self._after_training(steps)

    def _after_training(self, steps):
        """Takes up the last checkpoint; ends the run where a signal ended the training."""
        self.trained = tf.train.latest_checkpoint(self.options.output_dir)
        done = training.steps_done(self.trained)
        self._watch.check(
            "the checkpoint of step %d of %d is in %s" % (done, steps, self.options.output_dir)
        )
        if done < steps:  # TensorFlow takes a file that is too large for the end of the data
            raise Fault(
                "the training ended after step %d of %d, for a file in %s cannot be written to "
                "its end; see that there "
                "is room and no limit on the size of files, then give the same command again"
                % (done, steps, self.options.output_dir)
            )

    def _check_same_training(self, steps_done, num_steps):
        """Stops where the output folder holds the model of another training; notes down what this one is."""
        options = self.options
        path = os.path.join(options.output_dir, training.RECORD_FILE)
        made_from = self._made_from(options.init_checkpoint, "train_file", _TRAINING_FLAGS)
        if steps_done and tf.gfile.Exists(path):
            before = training.read_record(path)["made_from"]
            if before != made_from:
                raise InputError(
                    f"{options.output_dir} holds a model that was trained with another "
                    f"{provenance.differences(made_from, before)}; give another --output_dir, or "
                    "delete "
                    "checkpoint, training.json and model.ckpt-* there to train anew"
                )
        files.write_json(path, collections.OrderedDict(made_from=made_from, num_steps=num_steps))

    def _made_from(self, weights, data_flag, flag_names):
        """Returns what results depend on: {what: value or fingerprint}."""
        made_from = collections.OrderedDict([("dataset", self.dataset.name)])
        if weights:
            made_from["checkpoint"] = provenance.checkpoint_fingerprint(weights)
        for flag in ("bert_config_file", "vocab_file", data_flag):
            made_from[flag] = self._fingerprint(getattr(self.options, flag))
        made_from.update(
            (name, getattr(self.options, name))
            for name in flag_names
            if hasattr(self.options, name)
        )
        return made_from

    def _file_names(self, cell):
        alone = len(self.cells) == 1
        return answer_files.file_names(cell, alone, self.with_negatives)

    def _cells_to_do(self, record, made_from):
        """Returns the cells whose answers are not there yet; says why where others' are replaced."""
        to_do, replaced = [], collections.OrderedDict()
        for cell in self.cells:
            reason = record.why_not_done(cell.name, self._file_names(cell).values(), made_from)
            if reason:
                replaced.setdefault(reason, []).append(self._file_names(cell)["predictions"])
            if reason is not None:
                to_do.append(cell)
        for reason, names in replaced.items():
            tf.logging.warning(
                "decoded again: %s%s (%s)",
                names[0],
                " and %d more" % (len(names) - 1) if names[1:] else "",
                reason,
            )
        if len(to_do) < len(self.cells):
            print(
                "%d of %d cells are in %s already and are not decoded again"
                % (len(self.cells) - len(to_do), len(self.cells), self.options.output_dir)
            )
        return to_do

    def predict(self, windows):
        """Answers the questions of `windows` in every cell that is not there yet; returns the names of the files."""
        options = self.options
        made_from = self._made_from(
            self.trained or options.init_checkpoint, "predict_file", _DECODING_FLAGS
        )
        record = provenance.CellRecord(options.output_dir)
        cells = self._cells_to_do(record, made_from)
        if not cells:
            return []
        with self._watch.waiting():
            found = partial_results.Spool(
                provenance.unfinished_folder(options.output_dir, made_from, cells)
            )
            if len(found):
                print(
                    "the decoding in %s goes on: %d of %d windows are done already"
                    % (options.output_dir, len(found), len(windows)),
                    flush=True,
                )
            self._forward(windows, cells, found)
        self._watch.check(
            "%d of %d windows are done, and kept in %s"
            % (len(found), len(windows), options.output_dir)
        )
        decoder = decoding.Decoder(
            windows,
            self.vocabulary,
            self.dataset,
            options.do_lower_case,
            options.n_best_size,
            options.max_answer_length,
            self.with_negatives,
            self.null_threshold,
        )
        names = collections.OrderedDict((cell, self._file_names(cell)) for cell in cells)
        prediction.decode(windows, found, decoder, self.dataset, options.output_dir, names.values())
        record.add({cell.name: list(names[cell].values()) for cell in cells}, made_from)
        found.remove()
        return [name for cell in cells for name in names[cell].values()]

    def _forward(self, windows, cells, found):
        options = self.options
        if len(found) == len(windows):
            return
        reader = self.make_estimator(
            prediction=dict(
                cells=cells,
                size=min(options.n_best_size, options.max_seq_length),
                trim_padding=options.trim_padding,
                static_shapes=options.use_tpu,
            )
        )
        batches = prediction.batches_to_do(windows, found, options.predict_batch_size)
        if options.use_tpu:
            input_fn = prediction.make_tpu_input_fn(
                windows, batches, options.output_dir, self._prediction_text()
            )
        else:
            input_fn = prediction.make_input_fn(windows, batches)
        with self._device_working():
            prediction.forward(
                reader,
                input_fn,
                windows,
                found,
                self.trained,
                lambda: self._watch.asked is not None,
            )

    def _device_working(self):
        return cloud_tpu.working() if self.options.use_tpu else contextlib.suppress()

    def score(self, run_name):
        """Scores the answers of every cell; returns the names of the files that it writes."""
        names = collections.OrderedDict((cell, self._file_names(cell)) for cell in self.cells)
        record = provenance.CellRecord(self.options.output_dir)
        for cell in self.cells:
            record.check_together(
                cell.name, [name for what, name in names[cell].items() if what != "nbest"]
            )
        return scoring.score(
            self.dataset,
            self.eval_passages,
            names,
            self.options.output_dir,
            self.null_threshold,
            run_name,
        )

    def answer_files(self):
        """Returns the names of the files that hold the answers of every cell."""
        return [self._file_names(cell)["predictions"] for cell in self.cells]

    def inputs(self):
        """Yields (what, fingerprint) of the files that the run works with."""
        options = self.options
        eval_file = options.do_eval and (options.eval_file or options.predict_file)
        for what, path in (
            ("bert_config_file", options.bert_config_file),
            ("vocab_file", options.vocab_file),
            ("train_file", options.do_train and options.train_file),
            ("predict_file", options.do_predict and options.predict_file),
            ("eval_file", eval_file),
        ):
            if path:
                yield what, self._fingerprint(path)
        for what, path in (
            ("init_checkpoint", options.init_checkpoint),
            ("checkpoint", self.trained),
        ):
            if path and self._has_model:
                yield what, provenance.checkpoint_fingerprint(path)


def _set_up_logging(verbose):
    logger = logging.getLogger("tensorflow")
    logger.propagate = False  # absl would print every line once more
    if not any(isinstance(each, training_hooks.OwnErrorsOnce) for each in logger.filters):
        logger.addFilter(training_hooks.OwnErrorsOnce())
    if verbose:
        tf.logging.set_verbosity(tf.logging.INFO)
        return
    tf.logging.set_verbosity(tf.logging.WARN)
    tensorflow_versions.silence_deprecation_warnings()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")


def _carry_out(this, record):
    """Does what the flags of the `Run` ask for and notes it in the `run_record.Record`."""
    options = this.options
    for what, fingerprint in this.inputs():
        record.add_input(what, fingerprint)
    with record.part("text"):
        train_windows = this.training_windows() if options.do_train else None
        predict_windows = this.prediction_windows() if options.do_predict else None
    if options.do_train:
        with record.part("training"):
            this.train(train_windows)
            record.add_results(
                [os.path.basename(this.trained) + ".index"]
            )  # holds the checksums of all weights
    if options.do_predict:
        with record.part("prediction"):
            record.add_results(this.predict(predict_windows))
    if options.do_eval:
        with record.part("scoring"):
            written = this.score(record.name)
            for name in this.answer_files():
                record.add_scored(name)
            record.add_results(written)


def run(dataset, flag_values):
    """Does what the flags ask for on a `datasets.Dataset`; what ends it early is told in a sentence (see `errors`).

    Args:
      dataset: `datasets.Dataset`.
      flag_values: dict of the flags that `run_flags.define` defines.
    """
    with errors.one_sentence(), signals.Watch() as watch:
        options = types.SimpleNamespace(**flag_values)
        _set_up_logging(options.verbose_logging)
        with training_hooks.in_a_sentence(options.verbose_logging):
            this = Run(dataset, options, watch)
            files.make_folder(options.output_dir)
            with locks.held(options.output_dir):
                this.check_alone()
                files.remove_leftovers(options.output_dir)
                with run_record.recording(
                    options.output_dir, dataset.name, run_flags.own(flag_values)
                ) as record:
                    _carry_out(this, record)
