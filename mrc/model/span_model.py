# SPDX-License-Identifier: Apache-2.0
"""The reader: BERT with a span head for start and end (Devlin et al., 2019, section 4.2).

Shapes: B batch, T tokens, H hidden size, C cells of a grid, K best positions.
"""

import collections

import tensorflow.compat.v1 as tf

import attention_mask
import modeling
from mrc import variables
from mrc.model import grid

_NEVER = -1e30  # below every logit


def trimmed(features):
    """Returns the arrays of `Windows.batch` without what is padding in all windows: [B, ...]."""
    length = tf.reduce_max(tf.reduce_sum(features["input_mask"], axis=1))
    return {name: array[:, :length] if array.shape.ndims == 2 else array for name, array in features.items()}


class SpanModel:
    """A BERT with its span head in the current graph.

    Args:
      bert: `modeling.Bert`.
      masks_question: whether `input_span_mask` masks the logits of the question (CMRC 2018).
    """

    def __init__(self, bert, masks_question):
        self.bert = bert
        self._masks_question = masks_question
        self._weights, self._bias = (variable.make() for variable in variables.head(bert.config))

    def span_logits(self, hidden, input_span_mask=None):
        """Returns the logits [B, T] of starts and of ends from the encoder's output [B, T, H]."""
        batch, tokens, width = modeling.dimensions(hidden)
        both = tf.matmul(tf.reshape(hidden, [-1, width]), self._weights, transpose_b=True) + self._bias
        start, end = tf.unstack(tf.reshape(both, [batch, tokens, 2]), axis=2)
        if self._masks_question:
            masked = (1.0 - tf.cast(input_span_mask, tf.float32)) * modeling.MASKED
            start, end = start + masked, end + masked
        return start, end

    def training_loss(self, features):
        """Returns the mean of the cross-entropies of start and end over all positions.

        Args:
          features: dict of the arrays of `Windows.batch` with start_positions and end_positions
            [B].
        """
        hidden = self.bert.embeddings(features["input_ids"], features["segment_ids"])
        bias = modeling.padding_bias(features["input_mask"])
        hidden = self.bert.encode(hidden, bias)
        logits = self.span_logits(hidden, features.get("input_span_mask"))
        losses = [
            tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=features[name], logits=scores))
            for name, scores in zip(("start_positions", "end_positions"), logits)
        ]
        return (losses[0] + losses[1]) / 2.0

    def _best(self, scores, input_mask, size, trim_padding):
        """Returns values and places [B, K] of the best scores [B, T]; ties to the lower place."""
        if self._masks_question:
            scores = tf.nn.log_softmax(scores)
        if trim_padding:
            scores = tf.where(tf.cast(input_mask, tf.bool), scores, tf.fill(tf.shape(scores), _NEVER))
        return tf.nn.top_k(scores, k=size)

    @staticmethod
    def working_length(input_mask, size, step):
        """Returns the length of the longest window, rounded up to `step`, but at least `size`."""
        longest = tf.reduce_max(tf.reduce_sum(input_mask, axis=1))
        return tf.minimum(tf.maximum(grid.round_up(longest, step), size), modeling.dimensions(input_mask)[1])

    def best_positions(self, features, cells, size, trim_padding=False, static_shapes=False):
        """Returns what decoding needs of every cell's logits.

        Args:
          features: dict of the arrays of `Windows.batch`.
          cells: list of `grid_cells.Cell`.
          size: K, the number of best starts and ends.
          trim_padding: whether to skip padding and exclude it from the ranking, which includes it
            in the released code.
          static_shapes: whether every shape must be static, as on a TPU.

        Returns:
          Dict of unique_ids [B]; start_values, end_values (float) and start_places, end_places
          (int), [B, C, K] each; start_nulls and end_nulls [B, C], the scores at `[CLS]`.
        """
        mask, span_mask = features["input_mask"], features.get("input_span_mask")
        sets = attention_mask.find_sets(features)
        embedded = self.bert.embeddings(features["input_ids"], features["segment_ids"])
        best = collections.defaultdict(list)
        length = None
        if not static_shapes:
            length = self.working_length(mask, size, self.bert.ops.length_step)
        outputs = grid.encode(self.bert, cells, embedded, modeling.padding_bias(mask), sets, length, trim_padding)
        if trim_padding:
            mask, span_mask = (None if part is None else part[:, :length] for part in (mask, span_mask))
        for hidden in outputs:
            logits = self.span_logits(hidden, span_mask)
            for side, scores in zip(("start", "end"), logits):
                values, places = self._best(scores, mask, size, trim_padding)
                best[side + "_values"].append(values)
                best[side + "_places"].append(places)
                best[side + "_nulls"].append(scores[:, 0])
        best = {name: tf.stack(tensors, axis=1) for name, tensors in best.items()}
        best["unique_ids"] = features["unique_ids"]
        return best
