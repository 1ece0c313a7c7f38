# SPDX-License-Identifier: Apache-2.0
"""Windows in TFRecord files, written and read: what training and a TPU take their batches from."""
from __future__ import absolute_import, division, print_function

import tensorflow.compat.v1 as tf

import files
from windows import PADDING_WINDOW

BLOCK = 256  # windows spread out at a time
SHUFFLE_BUFFER = 100


def _example(values):
    return tf.train.Example(features=tf.train.Features(feature={
        name: tf.train.Feature(int64_list=tf.train.Int64List(value=value)) for name, value in values.items()}))


def write(path, windows, names, positions=None, rows=None, multiple_of=1):
    """Writes one record a window to `path`, whole or not at all.

    Args:
      windows: `windows.Windows`.
      names: which of the arrays of `Windows.batch` a record holds.
      positions: training answers, (starts, ends) with one number a window each.
      rows: numbers of the windows to write; all if not given.
      multiple_of: windows of padding follow until the number of records is a multiple of this.
    """
    rows = list(range(len(windows)) if rows is None else rows)
    rows += [PADDING_WINDOW] * (-len(rows) % multiple_of)
    aside = files.aside(path)
    with files.renamed(aside, path), tf.python_io.TFRecordWriter(aside) as writer:
        for start in range(0, len(rows), BLOCK):
            block = rows[start:start + BLOCK]
            arrays = windows.batch(block)
            for place, row in enumerate(block):
                values = {name: arrays[name][place].reshape(-1).tolist() for name in names}
                if positions is not None:
                    values["start_positions"] = [int(positions[0][row])]
                    values["end_positions"] = [int(positions[1][row])]
                writer.write(_example(values).SerializeToString())


def _parse(record, shapes):
    features = tf.parse_single_example(record, {name: tf.FixedLenFeature(shape, tf.int64)
                                                for name, shape in shapes.items()})
    return {name: tf.cast(value, tf.int32) for name, value in features.items()}  # TPUs have no int64


def training_dataset(path, shapes, batch_size, seed, records_seen=0, host=0, num_hosts=1):
    """Returns the endless `tf.data.Dataset` of shuffled training batches.

    Args:
      path: a file that `write` made.
      shapes: {name: shape of one record's array}.
      batch_size: records in a batch.
      seed: of the shuffle.
      records_seen: how many an interrupted training has seen, on all cores together.
      host, num_hosts: which of how many hosts reads; each has every `num_hosts`-th record for itself.
    """
    records = tf.data.TFRecordDataset(path).shard(num_hosts, host).repeat().shuffle(SHUFFLE_BUFFER, seed=seed)
    records = records.skip(records_seen // num_hosts).map(lambda record: _parse(record, shapes))
    return records.batch(batch_size, drop_remainder=True).prefetch(1)


def prediction_dataset(path, shapes, batch_size):
    """Returns the `tf.data.Dataset` of all records of `path` in order; their number is a multiple of the batch."""
    records = tf.data.TFRecordDataset(path).map(lambda record: _parse(record, shapes))
    return records.batch(batch_size, drop_remainder=True).prefetch(1)
