# SPDX-License-Identifier: Apache-2.0
"""Counts the floating point operations of a grid's matrix products, for `against_pytorch.py`."""

import tensorflow.compat.v1 as tf

import attention_mask
import modeling
from mrc.model import grid, span_model


class CountingBert:
    """Replaces a `modeling.Bert` whose masks apply to whole layers: counts, and returns zeros.

    Attributes:
      length_step: see `modeling.LayerOps`.
      counts: scalars, the operations of each layer run.
    """

    def __init__(self, config, length_step):
        self.config, self.length_step, self.counts = config, length_step, []

    def embeddings(self, input_ids, segment_ids):
        del segment_ids
        return tf.zeros(input_ids.shape.as_list() + [1])

    def branch(self, index, hidden, branches):
        del index
        batch, tokens, _ = modeling.dimensions(hidden)
        width, wide = self.config.hidden_size, self.config.intermediate_size

        def product(rows, inner, columns):
            return 2.0 * float(inner) * tf.cast(batch * rows * columns, tf.float64)

        numbers = {branch.keys for branch in branches}
        keys = branches[0].keys if len(numbers) == 1 else None
        count = product(tokens, width, width)
        count += 2 * product(tokens if keys is None else keys, width, width)
        scored, outputs = set(), []
        for branch in branches:
            taken = modeling.take(hidden, branch.rows)
            rows, keys = modeling.dimensions(taken)[1], branch.keys
            keys = tokens if keys is None else keys
            if (branch.rows, branch.keys) not in scored:
                scored.add((branch.rows, branch.keys))
                count += product(rows, width, keys)
            count += product(rows, width, keys) + product(rows, width, width)
            count += 2 * product(rows, width, wide)
            outputs.append(taken)
        self.counts.append(count)
        return outputs


def grid_operations(config, cells, windows, batches, size, trim_padding, length_step):
    """Returns the operations of the products in the layers of a grid over `batches`.

    Args:
      config: the `BertConfig`.
      cells: of the grid.
      windows: `windows.Windows`.
      batches: lists of window indices.
      size: number of best starts and ends, which a pass is at least as long as.
      trim_padding: as `--trim_padding`.
      length_step: of the device's `modeling.LayerOps`.
    """
    shape = [len(batches[0]), windows.max_seq_length]
    with tf.Graph().as_default(), tf.Session() as session:
        ids, mask, segments = (tf.placeholder(tf.int32, shape) for _ in range(3))
        bert = CountingBert(config, length_step)
        grid.encode(
            bert,
            cells,
            bert.embeddings(ids, segments),
            modeling.padding_bias(mask),
            attention_mask.find_roles(mask, segments),
            span_model.SpanModel.working_length(mask, size, length_step),
            trim_padding,
        )
        total = tf.add_n(bert.counts)
        found = 0.0
        for batch in batches:
            arrays = windows.batch(batch)
            found += session.run(
                total, {mask: arrays["input_mask"], segments: arrays["segment_ids"]}
            )
    return found
