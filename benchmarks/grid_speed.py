# SPDX-License-Identifier: Apache-2.0
"""Compares the grid in one pass with one process per cell: times, ratio, and differing answers.

    python benchmarks/grid_speed.py --script=run_squad.py --vocab_file=... \\
        --bert_config_file=... --init_checkpoint=... --predict_file=... [--processes=N] \\
        [further flags of the script]

Both run the same script with the same flags on the same machine, the grid between two halves of the
single cells. `--processes=N` runs only N of the single cells, spread over the grid, and scales
their time up.
"""

import argparse
import glob
import json
import os
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

from attention_mask import PUBLISHED_ZONES


def seconds(script, flags, output_dir):
    """Returns the wall time of one process of the script, in seconds."""
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, os.path.join(ROOT, script), "--do_predict", "--output_dir=" + output_dir]
        + flags,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    if done.returncode:
        sys.exit(done.stderr)
    return time.monotonic() - begun


def predictions(folder):
    """Returns {file name: {question: answer}} of all cells in `folder`."""
    by_file = {}
    for path in glob.glob(os.path.join(folder, "predictions_layer*.json")):
        with open(path, encoding="utf-8") as reader:
            by_file[os.path.basename(path)] = json.load(reader)
    return by_file


def count_differing(folder, reference):
    """Returns (differing answers, answers) over the cells that both folders have."""
    ours, theirs = predictions(folder), predictions(reference)
    pairs = [
        (ours[name][question], answer)
        for name in theirs
        for question, answer in theirs[name].items()
    ]
    return sum(answer != other for answer, other in pairs), len(pairs)


def single_cells(num_layers, wanted):
    """Returns the number of cells and the mask flags of `wanted` of them, with the baseline."""
    cells = [[]] + [
        ["--mask_zone=" + zone, "--mask_layer=%d" % layer]
        for layer in range(num_layers)
        for zone in PUBLISHED_ZONES
    ]
    return len(cells), cells[:: max(1, len(cells) // wanted)][:wanted] if wanted else cells


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--script", default="run_squad.py")
    parser.add_argument("--bert_config_file", required=True)
    parser.add_argument(
        "--processes", type=int, help="number of single cells to run (default: all)"
    )
    args, flags = parser.parse_known_args()
    flags.append("--bert_config_file=" + args.bert_config_file)
    with open(args.bert_config_file) as reader:
        num_layers = json.load(reader)["num_hidden_layers"]
    number, cells = single_cells(num_layers, args.processes)
    grid = ["--mask_zone=" + ",".join(PUBLISHED_ZONES), "--mask_layer=each"]
    with tempfile.TemporaryDirectory() as folder:
        single, whole, trimmed = (
            os.path.join(folder, name) for name in ("single", "grid", "trimmed")
        )
        times = [seconds(args.script, flags + cell, single) for cell in cells[: len(cells) // 2]]
        grid_time = seconds(args.script, flags + grid, whole)
        trimmed_time = seconds(args.script, flags + grid + ["--trim_padding"], trimmed)
        times += [seconds(args.script, flags + cell, single) for cell in cells[len(cells) // 2 :]]
        all_single = sum(times) / len(times) * number
        print(
            "%d single processes: %.1f s (%d run, %.1f to %.1f s each)"
            % (number, all_single, len(times), min(times), max(times))
        )
        for name, taken, output in (
            ("one pass", grid_time, whole),
            ("one pass, --trim_padding", trimmed_time, trimmed),
        ):
            differing, answers = count_differing(output, single)
            print(
                "%s: %.1f s, %.2f times as fast; %d of %d answers differ"
                % (name, taken, all_single / taken, differing, answers)
            )


if __name__ == "__main__":
    main()
