# SPDX-License-Identifier: Apache-2.0
"""Measures the peak memory of a grid over few and over many windows.

    python benchmarks/grid_memory.py --vocab_file=... --bert_config_file=... \\
        --init_checkpoint=... --predict_file=... [--windows=2000,20000] [flags of run_squad.py]

The questions of the data file are repeated with new ids up to that number of windows, counting one
window per question. Each number of windows is a process of its own.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile

from text_speed import repeated

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def peak_megabytes(flags):
    """Returns the largest resident memory of one process of run_squad.py."""
    process = subprocess.Popen(
        [sys.executable, os.path.join(ROOT, "run_squad.py"), "--do_predict"] + flags,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit("the run failed: run_squad.py --do_predict " + " ".join(flags))
    return usage.ru_maxrss / 1024.0


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--predict_file", required=True)
    parser.add_argument("--windows", default="2000,20000")
    args, flags = parser.parse_known_args()
    with open(args.predict_file, encoding="utf-8") as reader:
        data = json.load(reader)
    peaks = []
    for number in map(int, args.windows.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "data.json")
            with open(path, "w", encoding="utf-8") as writer:
                json.dump(repeated(data, number), writer)
            peaks.append(
                peak_megabytes(
                    flags
                    + [
                        "--mask_zone=all,q2,q2p,p2q,p2",
                        "--mask_layer=each",
                        "--predict_file=" + path,
                        "--output_dir=" + folder,
                    ]
                )
            )
        print(
            "%d windows: %.0f MB, %.2f of the first" % (number, peaks[-1], peaks[-1] / peaks[0]),
            flush=True,
        )


if __name__ == "__main__":
    main()
