# SPDX-License-Identifier: Apache-2.0
"""The optimizer of BERT: Adam with decoupled weight decay, warm-up and linear decay.

Sources: Kingma & Ba, 2015 (Adam); Loshchilov & Hutter, 2019 (decoupled decay); Devlin et al., 2019,
appendix A.2.
"""

import re

import tensorflow.compat.v1 as tf

from mrc.util.tensorflow_versions import CrossShardOptimizer

WEIGHT_DECAY = 0.01
NOT_DECAYED = ("LayerNorm", "layer_norm", "bias")
LARGEST_NORM = 1.0  # gradients are clipped to it, all together


def learning_rate(peak, step, num_steps, num_warmup_steps):
    """Returns the learning rate of the step that follows `step` finished ones.

    Warm-up is `peak * (step + 1) / num_warmup_steps` while `step + 1` is below `num_warmup_steps`.
    After it, the rate follows a line from `peak` at step 0 to 0 at `num_steps`. The step is counted
    differently in the two, as in the released training, whose recorded weights require it.
    """
    decayed = tf.train.polynomial_decay(tf.constant(peak, tf.float32), step, num_steps, end_learning_rate=0.0)
    if not num_warmup_steps:
        return decayed
    begun = tf.cast(step, tf.int32) + 1
    warming = peak * tf.cast(begun, tf.float32) / float(num_warmup_steps)
    return tf.where(begun < num_warmup_steps, warming, decayed)


class AdamWeightDecay(tf.train.Optimizer):
    """Adam without bias correction, with weight decay applied to the weights, not the gradients.

    Args:
      rate: learning rate, a number or scalar tensor.
      weight_decay: decay per step, as a fraction of the weight, multiplied by the rate.
      not_decayed: patterns; variables whose name contains one are not decayed.
    """

    def __init__(
        self,
        rate,
        weight_decay=WEIGHT_DECAY,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-6,
        not_decayed=NOT_DECAYED,
        name="AdamWeightDecayOptimizer",
    ):
        super().__init__(False, name)
        self._rate = rate
        self._weight_decay = weight_decay
        self._beta_1, self._beta_2, self._epsilon = beta_1, beta_2, epsilon
        self._not_decayed = re.compile("|".join(not_decayed))

    def _moment(self, name, which, like):
        return tf.get_variable(f"{name}/{which}", like.shape.as_list(), tf.float32, tf.zeros_initializer(), trainable=False)

    def _updates(self, gradient, variable):
        name = variable.op.name
        gradient = tf.convert_to_tensor(gradient)  # that of an embedding table is IndexedSlices
        first = self._moment(name, "adam_m", variable)
        second = self._moment(name, "adam_v", variable)
        new_first = self._beta_1 * first + (1.0 - self._beta_1) * gradient
        new_second = self._beta_2 * second + (1.0 - self._beta_2) * tf.square(gradient)
        update = new_first / (tf.sqrt(new_second) + self._epsilon)
        if not self._not_decayed.search(name):
            update += self._weight_decay * variable
        return [variable.assign(variable - self._rate * update), first.assign(new_first), second.assign(new_second)]

    def apply_gradients(self, grads_and_vars, global_step=None, name=None):
        """Returns the op that updates the variables; it does not increment the global step."""
        updates = []
        for gradient, variable in grads_and_vars:
            if gradient is not None:
                updates.extend(self._updates(gradient, variable))
        return tf.group(*updates, name=name)


def training_op(gradients, peak_rate, num_steps, num_warmup_steps, use_tpu=False, norm=None):
    """Returns `(op, rate)`: the op of one training step and its learning rate.

    Args:
      gradients: of the loss, for each of `tf.trainable_variables()`; None for one without.
      peak_rate: learning rate at the end of warm-up, before decay.
      num_steps, num_warmup_steps: steps of the whole training and of its warm-up.
      use_tpu: whether gradients are summed over the cores of a TPU.
      norm: of all gradients together; default `tf.global_norm`.
    """
    step = tf.train.get_or_create_global_step()
    rate = learning_rate(peak_rate, step, num_steps, num_warmup_steps)
    optimizer = AdamWeightDecay(rate)
    if use_tpu:
        optimizer = CrossShardOptimizer(optimizer)
    gradients, _ = tf.clip_by_global_norm(gradients, clip_norm=LARGEST_NORM, use_norm=norm)
    moved = optimizer.apply_gradients(zip(gradients, tf.trainable_variables()))
    with tf.control_dependencies([moved]):
        return tf.assign_add(step, 1), rate
