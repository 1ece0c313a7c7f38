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


class Masks:
    """Adds a bias to the attention of some layers of a model.

    Under `all`, as released, the bias replaces that of padding, which is then attended to.
    """

    def __init__(self, model):
        self.bias, self.replaces, self.layers = None, False, ()
        for number, layer in enumerate(model.bert.encoder.layer):
            layer.attention.self.register_forward_pre_hook(
                lambda module, arguments, options, number=number: self._change(number, arguments, options), with_kwargs=True
            )

    def _change(self, number, arguments, options):
        if number not in self.layers:
            return None
        if "attention_mask" in options:
            return arguments, dict(options, attention_mask=self._masked(options["attention_mask"]))
        changed = list(arguments)
        changed[1] = self._masked(changed[1])
        return tuple(changed), options

    def _masked(self, padding):
        return self.bias.expand_as(padding) if self.replaces else padding + self.bias


class Shared:
    """The unmasked hidden states of a batch, from which masked passes start; made once a length."""

    def __init__(self, model):
        self._model, self._hidden = model, {}

    def __call__(self, ids, segments, padding, first):
        """Returns the logits [B, T, 2] of a pass whose masks begin in layer `first`."""
        length = ids.shape[1]
        if length not in self._hidden:
            self._hidden[length] = [self._model.bert.embeddings(ids, token_type_ids=segments)]
        states = self._hidden[length]
        while len(states) <= first:  # the masks of this pass do not reach these layers
            states.append(self._layer(len(states) - 1, states[-1], padding))
        hidden = states[first]
        for number in range(first, len(self._model.bert.encoder.layer)):
            hidden = self._layer(number, hidden, padding)
        return self._model.qa_outputs(hidden)

    def _layer(self, number, hidden, padding):
        output = self._model.bert.encoder.layer[number](hidden, padding)
        return output[0] if isinstance(output, tuple) else output


def run(model, masks, windows, trim, share):
    """Returns starts and ends, [cells, windows, T], and the seconds of the passes."""
    cells, layers = windows["zones"], windows["layers"]
    shape = [len(cells)] + list(windows["input_ids"].shape)
    starts, ends, begun = np.zeros(shape, np.float32), np.zeros(shape, np.float32), time.monotonic()
    for rows in windows["batches"]:
        rows = rows[rows >= 0]
        longest = windows["input_mask"][rows].sum(1).max() if trim else shape[2]
        shared = Shared(model)
        for cell, zones in enumerate(cells):
            length = shape[2] if zones[0] else longest  # under `all`, padding is attended to
            ids, mask, segments = (
                torch.from_numpy(windows[name][rows][:, :length]).long()
                for name in ("input_ids", "input_mask", "segment_ids")
            )
            padding = MASKED * (1.0 - mask.float())[:, None, None, :].expand(-1, -1, length, -1)
            masks.layers = np.flatnonzero(layers[cell]).tolist()
            masks.replaces = bool(zones[0])
            masks.bias = zone_bias(zones, mask, segments) if zones.any() else None
            if share:
                first = min(masks.layers, default=len(layers[cell]))
                logits = shared(ids, segments, padding, first)
            else:
                found = model(input_ids=ids, token_type_ids=segments, attention_mask=padding)
                logits = torch.stack([found.start_logits, found.end_logits], dim=2)
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
        starts, ends, seconds = run(model, Masks(model), windows, args.trim, args.share)
    np.savez(args.logits, starts=starts, ends=ends)
    print(f"{seconds:.3f}")


if __name__ == "__main__":
    main()
