# SPDX-License-Identifier: Apache-2.0
"""Trains BERT on CMRC 2018, decodes it under attention masks, and scores the answers.

python run_cmrc2018.py --help
"""

import sys

from mrc.util import check_environment  # noqa: F401, first: it reports missing packages

# isort: split
from absl import app, flags

from mrc.util import signals

signals.exit_quietly_on_interrupt()  # for a Ctrl-C while TensorFlow is imported

from mrc import datasets
from mrc.experiment import run_flags


def main(_):
    experiment.run(datasets.CMRC2018, flags.FLAGS.flag_values_dict())


if __name__ == "__main__":
    run_flags.define(datasets.CMRC2018.do_lower_case, with_negatives=datasets.CMRC2018.may_have_no_answer)
    app.define_help_flags()
    run_flags.parse(sys.argv)  # before TensorFlow is imported, which takes seconds

    # Before absl sets up logging: TensorFlow would then print no warnings.
    from mrc.experiment import run as experiment

    app.run(main, flags_parser=run_flags.parse)
