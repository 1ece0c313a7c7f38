# SPDX-License-Identifier: Apache-2.0
"""Prints the run script and the flags of the last run in an output folder, one word a line.

    python -m mrc.experiment.recorded_command reader

Left out is what a run does (--do_train, --mask_zone, ...); scripts/study.sh adds it.
"""

from typing import List

from mrc.experiment import run_flags, run_record
from mrc.util import errors, files
from mrc.util.errors import InputError

_SCRIPTS = {"SQuAD": "run_squad.py", "CMRC 2018": "run_cmrc2018.py"}
_TASKS = ("do_predict", "do_attention")  # those that read the prediction file
_LEFT_OUT = (
    *(*_TASKS, "do_train", "do_eval", "output_dir", "shard"),
    *("mask_zone", "mask_layer", "mask_head", "attention_sets"),
)


def words(folder: str) -> List[str]:
    """Returns the run script and the flags of the last run in `folder` that read questions."""
    entry = run_record.last_with_flag(folder, _TASKS)
    flags = entry and run_flags.with_paths_from(entry.get("folder"), entry["flags"])
    if not entry or entry["dataset"] not in _SCRIPTS or not flags.get("predict_file"):
        raise InputError(
            f"{folder}/{run_record.RECORD_FILE} names no run with a model and --predict_file; run "
            "the reader on its data with --do_predict first"
        )
    return [_SCRIPTS[entry["dataset"]], f"--output_dir={folder}"] + [
        f"--{name}={value}" for name, value in flags.items() if value is not None and name not in _LEFT_OUT
    ]


if __name__ == "__main__":
    with errors.exit_with_message():
        parser = errors.ArgumentParser(__doc__)
        parser.add_argument("folder", type=files.normalized, help="output folder of a reader")
        print("\n".join(words(parser.parse_args().folder)))
