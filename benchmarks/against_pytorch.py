# SPDX-License-Identifier: Apache-2.0
"""Compares a grid in one pass with a loop over PyTorch's masked forward passes.

    python3.11 -m venv torch && torch/bin/pip install torch transformers
    python benchmarks/against_pytorch.py --torch_python=torch/bin/python \\
        --bert_config_file=... --vocab_file=... --init_checkpoint=... --predict_file=... \\
        [--precisions=float32,bfloat16] [--lengths=padded,trimmed] [--share] \\
        [further flags of run_squad.py]

The reader is a BERT on SQuAD; the grid is every zone in every layer unless the flags name zones and
layers. PyTorch has an environment of its own, where masks are passed to transformers' layers
(`pytorch_loop.py`). Both sides use all cores of the CPU (GPUs are hidden), the same windows and
batches, and run in turns. A trimmed pass is as long as the longest window of its batch. Cells of
`all`, which lets padding in, keep padding in every layer in PyTorch, with `--share` up to the
masked layer, and here below it. bfloat16 is `--precision=bfloat16` here, autocast in PyTorch, and
needs TensorFlow 2.

Prints seconds of the whole process and of its passes (ours with decoding and the compilation of
the graph), ratios and differing answers.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import types
from typing import NamedTuple

import numpy as np
import tensorflow.compat.v1 as tf
from absl import flags

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # PyTorch runs on the CPU, so ours must not run on a GPU
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

import modeling
from attention_mask import PUBLISHED_ZONES
from mrc import datasets, variables
from mrc.answers import predictions_file
from mrc.experiment import forward_pass, memory, prediction, run_flags, run_record
from mrc.experiment import inputs as run_inputs
from mrc.huggingface import names

GRID = ["--mask_zone=" + ",".join(PUBLISHED_ZONES), "--mask_layer=each"]
SCRIPT = "run_squad.py"
OURS, THEIRS = "one pass", "PyTorch loop"
LOOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "pytorch_loop.py")


def _zones(cell):
    return cell.label.zone.split("+")


def read_inputs(script_flags, folder, action="--do_predict"):
    """Returns the `Inputs` of run_squad.py with these flags."""
    dataset = datasets.SQUAD
    run_flags.define(dataset.do_lower_case, dataset.may_have_no_answer)
    run_flags.parse([sys.argv[0], action, "--output_dir=" + folder] + script_flags)
    values = run_flags.with_normalized_paths(flags.FLAGS.flag_values_dict())
    inputs = run_inputs.read(dataset, types.SimpleNamespace(**values))
    if any(cell.mask.heads is not None or set(_zones(cell)) - {"", *PUBLISHED_ZONES} for cell in inputs.cells):
        sys.exit("the loop of PyTorch masks the published zones in whole layers; remove the others")
    return inputs


def export_reader(inputs, path):
    """Writes the weights by their names in transformers, with the config, to a .npz."""
    config = inputs.config
    reader = tf.train.load_checkpoint(inputs.options.init_checkpoint)
    arrays = {}
    for variable in variables.encoder(config) + variables.head(config):
        source, array = names.source_of(variable.name), reader.get_tensor(variable.name)
        arrays[source.name] = array.T if source.is_transposed else array
    activation = {"gelu": "gelu_new", "gelu_erf": "gelu"}.get(config.hidden_act, config.hidden_act)
    values = dict(config._asdict(), hidden_act=activation, layer_norm_eps=modeling.LAYER_NORM_EPSILON)
    np.savez(path, config=json.dumps(values), **arrays)


def export_windows(inputs, windows, batches, path):
    """Writes the arrays, batches and cells to a .npz."""
    arrays = windows.batch(range(len(windows)))
    layers = np.arange(inputs.config.num_hidden_layers)
    np.savez(
        path,
        batches=np.array(batches),
        zones=np.array([[zone in _zones(cell) for zone in PUBLISHED_ZONES] for cell in inputs.cells]),
        layers=np.array([[layer in cell.layers for layer in layers] for cell in inputs.cells]),
        **{name: arrays[name] for name in ("input_ids", "input_mask", "segment_ids")},
    )


class BestPositions:
    """Best positions of windows from logits, read as from `PartialResults`."""

    def __init__(self, starts, ends, size):
        self._logits, self._size = {"start": starts, "end": ends}, size

    def read(self, first, stop):
        best = {}
        for side, logits in self._logits.items():
            logits = logits[:, first:stop].transpose(1, 0, 2)
            places = np.argsort(-logits, axis=2, kind="stable")[:, :, : self._size]
            best[side + "_places"] = places.astype(np.int32)
            best[side + "_values"] = np.take_along_axis(logits, places, 2)
            best[side + "_nulls"] = logits[:, :, 0]
        return best


def decode(inputs, windows, logits_path, folder):
    """Writes the prediction files of PyTorch's logits to `folder`."""
    logits = np.load(logits_path)
    size = min(inputs.options.n_best_size, inputs.options.max_seq_length)
    prediction.decode(
        windows,
        BestPositions(logits["starts"], logits["ends"], size),
        prediction.make_decoder(inputs, windows),
        inputs.dataset,
        folder,
        [inputs.file_names(cell) for cell in inputs.cells],
    )


def run(command):
    """Returns the output of a command and its seconds."""
    begun = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout, time.monotonic() - begun


def answers(inputs, folder):
    """Returns the answers of all cells, in order."""
    texts = []
    for cell in inputs.cells:
        path = os.path.join(folder, inputs.file_names(cell)["predictions"])
        texts.extend(predictions_file.read(path).items())
    return texts


class Result(NamedTuple):
    """What came of a run of one side."""

    seconds: float
    pass_seconds: float
    answers: list


class Comparison:
    """Both sides, on the same windows and cells."""

    def __init__(self, args, script_flags, inputs, folder):
        self._args, self._flags, self._inputs, self._folder = args, script_flags, inputs, folder
        self._windows = forward_pass.make_windows(inputs)
        self._reader, self._arrays = (os.path.join(folder, name) for name in ("r.npz", "w.npz"))
        size = memory.batch_size(inputs.options, inputs.cells, len(self._windows))
        self._batches = forward_pass.make_batches(self._windows, size)
        export_reader(inputs, self._reader)
        export_windows(inputs, self._windows, self._batches, self._arrays)
        self._results = {}  # by (side, (length, precision))

    def run_pytorch(self, length, precision):
        output = os.path.join(self._folder, "logits.npz")
        command = [self._args.torch_python, LOOP, self._reader, self._arrays, output, precision]
        command += ["--trim"] * (length == "trimmed") + ["--share"] * self._args.share
        printed, seconds = run(command)
        folder = tempfile.mkdtemp(dir=self._folder)
        decode(self._inputs, self._windows, output, folder)
        result = Result(seconds, float(printed.split()[-1]), answers(self._inputs, folder))
        self._results[THEIRS, (length, precision)] = result

    def run_ours(self, length, precision):
        folder = tempfile.mkdtemp(dir=self._folder)
        command = [sys.executable, os.path.join(ROOT, SCRIPT), "--do_predict"]
        command += ["--output_dir=" + folder, "--precision=" + precision]
        command += ["--trim_padding"] * (length == "trimmed") + self._flags
        _, seconds = run(command)
        with open(os.path.join(folder, run_record.RECORD_FILE), encoding="utf-8") as reader:
            passes = json.load(reader)["runs"][-1]["parts"]["prediction"]
        result = Result(seconds, passes, answers(self._inputs, folder))
        self._results[OURS, (length, precision)] = result

    def report_times(self, form):
        for side in (THEIRS, OURS):
            result = self._results[side, form]
            ratio = result.seconds / self._results[THEIRS, form].seconds
            print(
                f"{' '.join(form):18} {side:12} {result.seconds:8.1f} s   passes "
                f"{result.pass_seconds:8.1f} s   {ratio:.2f} of PyTorch",
                flush=True,
            )

    def report_answers(self, forms):
        pairs = [((OURS, form), (THEIRS, form)) for form in forms]
        for length in self._args.lengths:
            for side in (OURS, THEIRS):
                pairs.append(((side, (length, "bfloat16")), (side, (length, "float32"))))
        for pair in pairs:
            if all(key in self._results for key in pair):
                texts = list(zip(*(self._results[key].answers for key in pair)))
                (side, form), (other, other_form) = pair
                print(
                    f"answers of {side} ({' '.join(form)}) that differ from {other} "
                    f"({' '.join(other_form)}): {sum(a != b for a, b in texts)} of {len(texts)}"
                )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch_python", required=True)
    for name, choices in (("precisions", ["float32", "bfloat16"]), ("lengths", ["padded", "trimmed"])):
        parser.add_argument("--" + name, type=lambda text: text.split(","), default=choices, help="of " + ",".join(choices))
    parser.add_argument(
        "--share",
        action="store_true",
        help="PyTorch computes the layers below the masked ones once and keeps padding no longer than a mask needs it",
    )
    args, script_flags = parser.parse_known_args()
    if not any(flag.startswith("--mask_zone") for flag in script_flags):
        script_flags += GRID
    with tempfile.TemporaryDirectory() as folder:
        inputs = read_inputs(script_flags, folder)
        comparison = Comparison(args, script_flags, inputs, folder)
        forms = [(length, kind) for length in args.lengths for kind in args.precisions]
        for form in forms:
            comparison.run_pytorch(*form)
            comparison.run_ours(*form)
            comparison.report_times(form)
        comparison.report_answers(forms)


if __name__ == "__main__":
    main()
