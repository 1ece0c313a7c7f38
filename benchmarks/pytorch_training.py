# SPDX-License-Identifier: Apache-2.0
"""Training steps with PyTorch and transformers: AdamW, gradients clipped to a norm of 1.

Run by `training_speed.py` in an environment with torch and transformers:

    python benchmarks/pytorch_training.py reader.npz windows.npz float32|bfloat16 BATCH STEPS

`windows.npz` has the arrays of the windows with start_positions and end_positions. Prints the mean
seconds of a step, after two that are not counted.
"""

import sys
import time

import numpy as np
import torch
from pytorch_loop import read_model

WARM_UP = 2


def main():
    reader, path, precision, batch, steps = sys.argv[1:]
    model, windows = read_model(reader).train(), dict(np.load(path, allow_pickle=False))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=0.01)
    order = np.random.RandomState(0).permutation(len(windows["input_ids"]))
    for step in range(WARM_UP + int(steps)):
        if step == WARM_UP:
            begun = time.monotonic()
        rows = order.take(np.arange(int(batch)) + step * int(batch), mode="wrap")
        inputs = {name: torch.from_numpy(array[rows]).long() for name, array in windows.items()}
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            loss = model(**inputs).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    print((time.monotonic() - begun) / int(steps))


if __name__ == "__main__":
    main()
