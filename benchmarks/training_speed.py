# SPDX-License-Identifier: Apache-2.0
"""Compares steps of training with those of PyTorch and transformers, in turns.

    python benchmarks/training_speed.py --torch_python=torch/bin/python [--steps=10] [--rounds=3] \\
        --bert_config_file=... --vocab_file=... --init_checkpoint=... --train_file=... \\
        [--train_batch_size=8] [--precision=bfloat16] [further flags of run_squad.py]

The environment of PyTorch is that of `against_pytorch.py`. It pads windows to --max_seq_length. Each
variant of ours is run_squad.py with further flags; the seconds of a step are the difference of a
short and a longer run, without start-up, the first steps and checkpoints.
"""

import argparse
import os
import statistics
import sys
import tempfile

import numpy as np
from against_pytorch import ROOT, SCRIPT, export_reader, read_inputs, run

from mrc.experiment import training

WARM_UP = 2
VARIANTS = {"ours": [], "ours, micro-batches of 2": ["--micro_batch_size=2"], "ours, trimmed": ["--trim_padding"]}


def export_windows(inputs, windows, path):
    """Writes the arrays of the windows and their answers to a .npz."""
    arrays, positions = windows.batch(range(len(windows))), windows.answer_positions(inputs.dataset.refines_answers)
    names = {"input_ids": "input_ids", "attention_mask": "input_mask", "token_type_ids": "segment_ids"}
    arrays = {name: arrays[ours] for name, ours in names.items()}
    np.savez(path, start_positions=positions[0], end_positions=positions[1], **arrays)


def time_ours(script_flags, steps, steps_per_epoch):
    """Returns the seconds of a step of run_squad.py."""
    seconds = []
    for number in (WARM_UP, WARM_UP + steps):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, os.path.join(ROOT, SCRIPT), "--do_train", "--output_dir=" + folder]
            seconds.append(run(command + [f"--num_train_epochs={(number + 0.5) / steps_per_epoch}"] + script_flags)[1])
    return (seconds[1] - seconds[0]) / steps


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch_python", required=True)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    args, script_flags = parser.parse_known_args()
    seconds = {}
    with tempfile.TemporaryDirectory() as folder:
        inputs = read_inputs(script_flags, folder, "--do_train")
        options = inputs.options
        windows = training.make_windows(inputs)
        reader, arrays = (os.path.join(folder, name) for name in ("reader.npz", "windows.npz"))
        export_reader(inputs, reader)
        export_windows(inputs, windows, arrays)
        theirs = [args.torch_python, os.path.join(ROOT, "benchmarks", "pytorch_training.py"), reader, arrays]
        theirs += [options.precision, str(options.train_batch_size), str(args.steps)]
        for _ in range(args.rounds):
            seconds.setdefault("PyTorch", []).append(float(run(theirs)[0]))
            for name, added in VARIANTS.items():
                ours = time_ours(script_flags + added, args.steps, len(windows) / options.train_batch_size)
                seconds.setdefault(name, []).append(ours)
    for name, values in seconds.items():
        median = statistics.median(values)
        ratio = median / statistics.median(seconds["PyTorch"])
        print(f"{name:26} {median:6.2f} s a step ({min(values):.2f} to {max(values):.2f}), {ratio:.2f} of PyTorch")


if __name__ == "__main__":
    main()
