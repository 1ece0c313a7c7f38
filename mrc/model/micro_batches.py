# SPDX-License-Identifier: Apache-2.0
"""Gradients of a batch, computed in parts: the update of the batch in the memory of a part."""

import tensorflow.compat.v1 as tf


def part_size(batch_size: int, most: int) -> int:
    """Returns the largest number of windows up to `most` that divides the batch.

    >>> part_size(64, 8), part_size(32, 5)
    (8, 4)
    """
    return max(size for size in range(1, min(batch_size, most) + 1) if batch_size % size == 0)


def mean_gradients(make_loss, features, size):
    """Returns the mean loss over the parts of a batch, its gradients, and their norm.

    The norm is that of `tf.global_norm` for the whole batch: a word that occurs several times
    counts there with the square of each occurrence's gradient, not of their sum.

    Args:
      make_loss: `make_loss(features, first)` returns the loss, a scalar, of windows whose first is
        at place `first` of the batch; it gets its variables by name.
      features: {name: [B, ...]} with a static B.
      size: windows in a part, a divisor of B.

    Returns:
      The loss; for each of `tf.trainable_variables()` the gradient, None if it has none; the norm.
    """

    def windows_from(array, first):
        windows = array[first : first + size]
        windows.set_shape([size] + array.shape.as_list()[1:])
        return windows

    variables = tf.trainable_variables()
    parts = next(iter(features.values())).shape.as_list()[0] // size
    unused, looked_up = set(), set()  # indices of variables

    def add_part(part, loss, squares, *sums):
        values = {}  # a gradient within a loop is one with respect to a tensor of the loop

        def get_value(getter, name, *arguments, **options):
            variable = getter(name, *arguments, **options)
            return values.setdefault(variable.op.name, tf.identity(variable))

        first = part * size
        with tf.variable_scope(tf.get_variable_scope(), reuse=True, custom_getter=get_value):
            part_loss = make_loss({name: windows_from(array, first) for name, array in features.items()}, first)
        gradients = tf.gradients(part_loss, [values[variable.op.name] for variable in variables])
        added = list(sums)
        for index, gradient in enumerate(gradients):
            if gradient is None:
                unused.add(index)
                continue
            if isinstance(gradient, tf.IndexedSlices):
                looked_up.add(index)
                squares += tf.reduce_sum(tf.square(gradient.values / parts))
            added[index] += tf.convert_to_tensor(gradient) / parts
        return [part + 1, loss + part_loss / parts, squares, *added]

    _, loss, squares, *sums = tf.while_loop(
        lambda part, *_: part < parts,
        add_part,
        [0, 0.0, 0.0] + [tf.zeros(variable.shape) for variable in variables],
        parallel_iterations=1,
        back_prop=False,
    )
    others = [each for index, each in enumerate(sums) if index not in unused | looked_up]
    norm = tf.sqrt(squares + tf.square(tf.global_norm(others)))
    return loss, [None if index in unused else each for index, each in enumerate(sums)], norm
