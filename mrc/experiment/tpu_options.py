# SPDX-License-Identifier: Apache-2.0
"""The device of a run, as its flags say."""

import contextlib

from mrc.experiment import cloud_tpu
from mrc.model.estimator import TpuOptions


def tpu_options(options) -> TpuOptions:
    """Returns the `TpuOptions` of the flags."""
    return TpuOptions(*(getattr(options, name) for name in TpuOptions._fields))


def explain_device_errors(options):
    """Returns the context manager that reports what the device of a run fails with."""
    return cloud_tpu.explain_tpu_errors() if options.use_tpu else contextlib.suppress()
