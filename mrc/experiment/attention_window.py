# SPDX-License-Identifier: Apache-2.0
"""The attention of one window: runs the reader of a folder's last run for one question."""

import os
import re
import types
from typing import Dict, List, NamedTuple, Optional, Tuple

import numpy as np
import tensorflow.compat.v1 as tf

import attention_mask
import modeling
from mrc import cells as grid_cells
from mrc import datasets
from mrc.answers import predictions_file
from mrc.cells import Label
from mrc.data import squad_format
from mrc.data.passages import AnswerNotFound
from mrc.data.windows import Windows
from mrc.experiment import inputs as run_inputs
from mrc.experiment import prediction, provenance, run_flags, run_record
from mrc.experiment.inputs import Inputs
from mrc.figures import attention_page
from mrc.model import precision, span_model
from mrc.util import aliases, files, tensorflow_versions
from mrc.util.errors import InputError, warn

_PREDICTIONS = re.compile(r"predictions_(layer.*)\.json", re.DOTALL)
_ARRAYS = ("input_ids", "input_mask", "segment_ids", "input_span_mask")
# What differs from the recorded run: no training, no mask, and this machine.
_CHANGES = dict(
    do_train=False,
    do_eval=False,
    do_predict=False,
    do_attention=True,
    use_tpu=False,
    precision=precision.FLOAT32,
    **dict.fromkeys(["tpu_name", "master", "mask_zone", "mask_layer", "mask_head"]),
    **dict.fromkeys(["zones_file", "attention_sets"]),
)
# Of flags that a run before them did not record.
_DEFAULTS = dict(spm_model_file=None)
_IDS_SHOWN = 3


class Window(NamedTuple):
    """One window of a question and its attention.

    Attributes:
      question_id, question: as in the data file.
      number, of: this window, from 0, and the number of windows of the question.
      tokens: the T word pieces, without padding.
      groups: for each token the index of its group in `attention_mask.GROUPS`, [T].
      attention: probabilities [L, N, T, T].
      answer: the predicted answer.
      predicted: its first and last token, None where it is not in this window.
      gold_answers: texts of the gold answers.
      gold: (first, last) tokens of the distinct gold answers in this window.
      joiner: text between words.
    """

    question_id: str
    question: str
    number: int
    of: int
    tokens: List[str]
    groups: np.ndarray
    attention: np.ndarray
    answer: str
    predicted: Optional[Tuple[int, int]]
    gold_answers: List[str]
    gold: List[Tuple[int, int]]
    joiner: str


def read_inputs(folder: str) -> Inputs:
    """Returns the inputs of the last run in `folder` that read questions, without its mask."""
    path = os.path.join(folder, run_record.RECORD_FILE)
    entry = run_record.last_with_flag(folder, ("do_predict", "do_attention"))
    if entry is None:
        raise InputError(f"{path} names no run that read questions; run with --do_predict or --do_attention first")
    dataset = datasets.BY_NAME.get(entry.get("dataset"))
    if dataset is None:
        raise InputError(f"{path} names the dataset {entry.get('dataset')}; run with --do_attention again")
    values = run_flags.with_paths_from(entry.get("folder"), dict(_DEFAULTS, **entry["flags"]))
    options = types.SimpleNamespace(**dict(values, output_dir=folder, **_CHANGES))
    vocabulary = run_inputs.vocabulary_flag(options)
    for name in ("bert_config_file", vocabulary, "predict_file", "max_seq_length", "n_best_size"):
        if getattr(options, name, None) is None:
            raise InputError(f"{path} lacks the flag {name}; run with --do_attention again")
    return run_inputs.read(dataset, options)


def _find_example(inputs, question_id):
    examples = {example.id: example for example in inputs.prediction_examples}
    if question_id not in examples:
        ids = ", ".join(example.id for example in inputs.prediction_examples[:_IDS_SHOWN])
        raise InputError(f"there is no question {question_id} in {inputs.options.predict_file}; its first ids are {ids}")
    return examples[question_id]


def _gold_answers(inputs, question_id):
    """Returns the answers to a question in the prediction file, none where the file has none."""
    try:
        with files.recorded_hashes(inputs.file_hashes):
            path = inputs.options.predict_file
            passages = squad_format.read(path, "prediction file", squad_format.LOCATED_ANSWERS)
    except files.ChangedFile:
        raise
    except InputError:  # a file without answers can be read, too
        return ()
    questions = {question.id: question for each in passages for question in each.questions}
    return questions[question_id].answers if question_id in questions else ()


def _gold_spans(dataset, windows, row, answers):
    """Returns the sorted (first, last) tokens of the answers that are whole in window `row`."""
    example, pieces = windows.examples[0], windows.passages[0]
    passage_start, spans = int(windows.passage_start(row)), set()
    for answer in answers:
        try:
            first, last = dataset.locate_answer(example.text, answer)
        except AnswerNotFound:
            continue
        shift = passage_start - int(windows.starts[row])
        begin = int(pieces.first_piece[first]) + shift
        end = int(pieces.first_piece[last + 1]) - 1 + shift
        if passage_start <= begin <= end < passage_start + int(windows.span_lengths[row]):
            spans.add((begin, end))
    return sorted(spans)


class _Reader:
    """The reader of a run in a session of its own, which reads one window at a time."""

    def __init__(self, inputs):
        options, self._attention = inputs.options, []
        with tf.Graph().as_default() as graph:
            # The length is that of the window, so that there is no padding.
            self._arrays = {name: tf.placeholder(tf.int32, [1, None]) for name in _ARRAYS}
            self._arrays["unique_ids"] = tf.placeholder(tf.int32, [1])
            model = span_model.SpanModel(modeling.Bert(inputs.config), inputs.dataset.masks_question)
            self._best = model.best_positions(
                self._arrays, [grid_cells.BASELINE], min(options.n_best_size, options.max_seq_length), options.trim_padding
            )
            self._see(model)
            weights = aliases.plain_path(inputs.trained or options.init_checkpoint)
            saver = tf.train.Saver(_in_checkpoint(weights))
            self._session = tf.Session(graph=graph, config=tensorflow_versions.session_config(use_tpu=False))
            self._session.run(tf.global_variables_initializer())
            saver.restore(self._session, weights)
        inputs.check_unchanged(inputs.trained or options.init_checkpoint)

    def _see(self, model):
        ids, mask, segments = (self._arrays[name] for name in ("input_ids", "input_mask", "segment_ids"))
        model.bert.encode(
            model.bert.embeddings(ids, segments),
            modeling.padding_bias(mask),
            see_probabilities=lambda probabilities: self._attention.append(probabilities[0]),
        )
        self._groups = tf.argmax(attention_mask.find_groups(mask, segments)[0], axis=1)

    def _run(self, tensors, arrays):
        return self._session.run(tensors, {self._arrays[name]: arrays[name] for name in self._arrays})

    def best(self, arrays):
        """Returns the best positions of one window (see `SpanModel.best_positions`)."""
        return self._run(self._best, arrays)

    def attention(self, arrays):
        """Returns the groups [T] and the probabilities [L, N, T, T] of one window."""
        groups, attention = self._run([self._groups, self._attention], arrays)
        return groups, np.array(attention)


def _in_checkpoint(path):
    """Returns the variables of the graph that a checkpoint holds; a pooler is not needed."""
    names = dict(tf.train.list_variables(path))
    return [variable for variable in tf.global_variables() if variable.op.name in names]


def _place_of(entry, best):
    """Returns the index of the window in which an n-best entry was found."""
    for number, (starts, ends) in enumerate(zip(best["start_places"], best["end_places"])):
        starts = dict(zip(starts[0].tolist(), best["start_values"][number, 0].tolist()))
        ends = dict(zip(ends[0].tolist(), best["end_values"][number, 0].tolist()))
        logits = starts.get(entry.start_index), ends.get(entry.end_index)
        if logits == (entry.start_logit, entry.end_logit):
            return number
    return None


def read_window(inputs: Inputs, question_id: str, number: Optional[int] = None) -> Window:
    """Runs the reader on a question and returns one of its windows.

    Args:
      inputs: of `read_inputs`.
      question_id: of the question.
      number: of the window, from 0; None for the one with the predicted answer.
    """
    options, example = inputs.options, _find_example(inputs, question_id)
    sizes = options.max_seq_length, options.doc_stride, options.max_query_length
    windows = Windows([example], inputs.tokenizer(), *sizes)
    if not len(windows):
        raise InputError(f"the passage of question {question_id} is blank; choose another question")
    if number is not None and number >= len(windows):
        raise InputError(f"--window={number}: question {question_id} has {len(windows)} windows, from 0")
    reader, rows = _Reader(inputs), range(len(windows))
    of_windows = [reader.best(windows.batch([row])) for row in rows]
    names = [name for name in of_windows[0] if name != "unique_ids"]
    best = {name: np.concatenate([each[name] for each in of_windows]) for name in names}
    decoder = prediction.make_decoder(inputs, windows)
    (answer,) = decoder.answer(0, rows, best)
    entry = next((each for each in answer.entries if each.text == answer.text), None)
    answer_row = _place_of(entry, best) if entry is not None and answer.text else None
    row = number if number is not None else answer_row or 0
    arrays = windows.batch([row], int(windows.lengths()[row]))
    groups, attention = reader.attention(arrays)
    gold = _gold_answers(inputs, question_id)
    return Window(
        question_id=question_id,
        question=example.question,
        number=row,
        of=len(windows),
        tokens=[inputs.vocabulary.pieces[each] for each in arrays["input_ids"][0]],
        groups=groups,
        attention=attention,
        answer=answer.text,
        predicted=(entry.start_index, entry.end_index) if answer_row == row else None,
        gold_answers=list(dict.fromkeys(each.text for each in gold)),
        gold=_gold_spans(inputs.dataset, windows, row, gold),
        joiner=inputs.dataset.joiner,
    )


def page(inputs: Inputs, folder: str, window: Window) -> str:
    """Returns the page of a window with the answers in `folder` under each mask."""
    checkpoint = inputs.trained or inputs.options.init_checkpoint
    name = os.path.basename(os.path.dirname(os.path.abspath(checkpoint)))
    answers = masked_answers(folder, window.question_id, inputs)
    return attention_page.make(window, answers, name, inputs.dataset.answer_f1)


def masked_answers(folder: str, question_id: str, inputs: Inputs) -> Dict[Label, str]:
    """Returns {label of a cell: answer} of every file of predictions, the baseline first.

    Answers of another reader or of other data than `inputs` are left out, with a warning.
    """
    answers, baseline = {}, f"predictions_{grid_cells.BASELINE.name}.json"
    names = tf.gfile.ListDirectory(folder)
    for name in sorted(names, key=lambda name: (name != baseline, name)):
        match = _PREDICTIONS.fullmatch(name)
        if not match:
            continue
        reason = _why_not_shown(folder, name, match.group(1), inputs)
        if reason:
            warn(f"{os.path.join(folder, name)} is left out: {reason}")
            continue
        texts = predictions_file.read_object(os.path.join(folder, name), "prediction file")
        if isinstance(texts.get(question_id), str):
            answers[Label.parse(match.group(1))] = texts[question_id]
    return answers


def _why_not_shown(folder, name, cell_name, inputs):
    """Returns why the answers in a file cannot stand beside those of `inputs`, or None."""
    record = provenance.CellRecord(folder)
    theirs = record.made_from(cell_name)
    if theirs is None:
        return f"{provenance.RECORD_FILE} does not say what it was decoded with"
    ours = inputs.fingerprint("predict_file", run_inputs.TEXT_FLAGS, inputs.trained or inputs.options.init_checkpoint)
    other = provenance.other_reader(ours, theirs)
    if other:
        return f"it was decoded with another {other}; decode it again with --do_predict"
    return record.why_not_done(cell_name, [name], theirs)
