# SPDX-License-Identifier: Apache-2.0
"""The masked forward passes of a grid with PyTorch and transformers, one pass per cell.

Run by `against_pytorch.py` in an environment with torch and transformers:

    python benchmarks/pytorch_loop.py reader.npz windows.npz logits.npz float32|bfloat16 \\
        [--trim] [--share]

`reader.npz` has the weights by their names in transformers and the config; `windows.npz` has the
arrays of the windows, the batches, and for each cell its zones, [cells, 5], and layers, [cells, L].
Prints the seconds of the passes. `logits.npz` gets starts and ends, [cells, windows, T].
"""

import argparse
import json
import sys
import time

import numpy as np
import torch
from transformers import BertConfig, BertForQuestionAnswering

MASKED = -10000.0


def read_model(path):
    """Returns the reader in evaluation mode."""
    arrays = dict(np.load(path, allow_pickle=False))
    config = BertConfig(**json.loads(str(arrays.pop("config"))))
    model = BertForQuestionAnswering(config)
    missing, unexpected = model.load_state_dict(
        {name: torch.from_numpy(array) for name, array in arrays.items()}, strict=False
    )
    if unexpected or [name for name in missing if not name.endswith("position_ids")]:
        sys.exit(f"the weights do not fit the model: {missing} {unexpected}")
    return model.eval()


def zone_bias(zones, mask, segments):
    """Returns what a mask adds to the scores, [B, 1, T, T].

    Args:
      zones: whether each of all, q2, q2p, p2q and p2 is masked.
      mask, segments: [B, T].
    """
    place = torch.arange(mask.shape[1])
    first_passage = segments.argmax(1, keepdim=True)
    last = mask.sum(1, keepdim=True) - 1
    question = ((place >= 1) & (place < first_passage - 1)).float()
    passage = ((place >= first_passage) & (place < last)).float()

    def pairs(queries, keys):
        return queries[:, None, :, None] * keys[:, None, None, :]

    found = [
        torch.ones([len(mask), 1, mask.shape[1], mask.shape[1]]),
        pairs(question, question),
        pairs(1.0 - passage, passage),
        pairs(1.0 - question, question),
        pairs(passage, passage),
    ]
    return MASKED * sum(each for each, chosen in zip(found, zones) if chosen)


class Passes:
    """The masked passes of a batch whose longest window has `longest` tokens.

    With `share`, layers below the masked ones run once per length, and padding is cut off above them.
    """

    def __init__(self, model, longest, share):
        self._model, self._longest, self._share = model, longest, share
        self._states = {}  # the unmasked hidden states of each length, from the embeddings upwards

    def logits(self, ids, segments, padding, bias, masked):
        """Returns the logits [B, T, 2] of a pass.

        Args:
          ids, segments: [B, T].
          padding: what is added to the scores of unmasked layers, [B, 1, T, T].
          bias: the same for the layers in `masked`.
        """
        layers = range(len(self._model.bert.encoder.layer))
        first = min(masked, default=len(layers)) if self._share else 0
        states = self._states.setdefault(ids.shape[1], []) if self._share else []
        if not states:
            states.append(self._model.bert.embeddings(ids, token_type_ids=segments))
        while len(states) <= first:
            states.append(self._layer(len(states) - 1, states[-1], padding))
        hidden = states[first]
        for number in layers[first:]:
            hidden = self._layer(number, hidden, bias if number in masked else padding)
            if self._share and number == max(masked):
                hidden, padding = hidden[:, : self._longest], padding[..., : self._longest, : self._longest]
        return self._model.qa_outputs(hidden)

    def _layer(self, number, hidden, bias):
        output = self._model.bert.encoder.layer[number](hidden, bias)
        return output[0] if isinstance(output, tuple) else output


def run(model, windows, trim, share):
    """Returns starts and ends, [cells, windows, T], and the seconds of the passes."""
    cells, layers = windows["zones"], windows["layers"]
    shape = [len(cells)] + list(windows["input_ids"].shape)
    starts, ends, begun = np.zeros(shape, np.float32), np.zeros(shape, np.float32), time.monotonic()
    for rows in windows["batches"]:
        rows = rows[rows >= 0]
        longest = windows["input_mask"][rows].sum(1).max() if trim else shape[2]
        passes = Passes(model, longest, share)
        for cell, zones in enumerate(cells):
            length = shape[2] if zones[0] else longest  # under `all`, padding is attended to
            ids, mask, segments = (
                torch.from_numpy(windows[name][rows][:, :length]).long()
                for name in ("input_ids", "input_mask", "segment_ids")
            )
            padding = MASKED * (1.0 - mask.float())[:, None, None, :].expand(-1, -1, length, -1)
            bias = zone_bias(zones, mask, segments) if zones.any() else None
            if bias is not None and not zones[0]:  # as released, the bias of `all` replaces that of padding
                bias = padding + bias
            logits = passes.logits(ids, segments, padding, bias, np.flatnonzero(layers[cell]).tolist())
            logits = logits.float().numpy()[:, :longest]
            starts[cell, rows, :longest], ends[cell, rows, :longest] = np.moveaxis(logits, 2, 0)
    seconds = time.monotonic() - begun
    if trim:
        starts[:, windows["input_mask"] == 0] = ends[:, windows["input_mask"] == 0] = -np.inf
    return starts, ends, seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reader")
    parser.add_argument("windows")
    parser.add_argument("logits")
    parser.add_argument("precision", choices=["float32", "bfloat16"])
    parser.add_argument("--trim", action="store_true")
    parser.add_argument("--share", action="store_true")
    args = parser.parse_args()
    model = read_model(args.reader)
    windows = dict(np.load(args.windows, allow_pickle=False))
    in_bfloat16 = args.precision == "bfloat16"
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=in_bfloat16):
        starts, ends, seconds = run(model, windows, args.trim, args.share)
    np.savez(args.logits, starts=starts, ends=ends)
    print(f"{seconds:.3f}")


if __name__ == "__main__":
    main()
