# SPDX-License-Identifier: Apache-2.0
"""The package behind the scripts. Importing it sets how TensorFlow, imported later, computes."""

import gc
import os
import platform

# Before TensorFlow is imported: TensorFlow 2 uses oneDNN by itself only on CPUs with AVX-512 VNNI or
# newer instructions, and on others with AVX2 a training step takes 1.3 to 1.8 times as long without.
if platform.machine() in ("x86_64", "AMD64"):
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

# TensorFlow's modules and a graph are millions of objects that stay. Looking for garbage among them
# as often as by default takes a tenth of the time of importing and building.
gc.set_threshold(50_000)
