# SPDX-License-Identifier: Apache-2.0
"""Writes windows to TFRecord files and reads them, for training and for TPUs.

A record is a `tf.train.Example` of lists of integers. Only the integers differ between windows, so
the bytes of many windows are assembled at once, without the protobuf library
(https://developers.google.com/protocol-buffers/docs/encoding).
"""

import functools

import numpy as np
import tensorflow.compat.v1 as tf

from mrc.util import files, progress, tensorflow_versions

BLOCK = 256  # windows converted at a time
SHUFFLE_BUFFER = 100
BATCHES_BY_LENGTH = 32  # whose windows are sorted together
_VARINT_BITS = 7  # per byte; the eighth bit says whether another byte follows
_FOLLOWED = 1 << _VARINT_BITS

# Tags of the nested fields that hold the integers: features.feature[name].int64_list.value.
_FEATURES, _MAP_ENTRY, _KEY, _VALUE, _INT64_LIST, _PACKED = (b"\x0a", b"\x0a", b"\x0a", b"\x12", b"\x1a", b"\x0a")


def encode_varints(values):
    """Returns each row of an integer array [rows, n] as packed varints, a list of bytes."""
    # Negative numbers are written as their two's complement.
    values = np.asarray(values, np.int64).view(np.uint64)
    most = int(values.max()) if values.size else 0
    if most < _FOLLOWED:
        return [row.tobytes() for row in values.astype(np.uint8)]
    num_bytes = np.ones(values.shape, np.int64)
    shift = _VARINT_BITS
    while most >> shift:
        num_bytes += values >= np.uint64(1 << shift)
        shift += _VARINT_BITS
    ends = np.cumsum(num_bytes).reshape(values.shape)
    encoded = np.empty(ends[-1, -1], np.uint8)
    for number in range(shift // _VARINT_BITS):
        here = num_bytes > number
        part = (values[here] >> np.uint64(number * _VARINT_BITS)) & np.uint64(_FOLLOWED - 1)
        followed = num_bytes[here] > number + 1
        places = ends[here] - num_bytes[here] + number
        encoded[places] = part.astype(np.uint8) + followed * np.uint8(_FOLLOWED)
    encoded, stops = encoded.tobytes(), ends[:, -1].tolist()
    return [encoded[start:stop] for start, stop in zip([0] + stops, stops)]


@functools.lru_cache(maxsize=None)
def _with_length(tag, length):
    """Returns the tag and length of a field of `length` bytes."""
    return tag + encode_varints([[length]])[0]


@functools.lru_cache(maxsize=None)
def _beginning(name, length):
    """Returns the bytes before the integers, themselves `length` bytes, of the feature `name`."""
    key = name.encode("utf-8")
    beginning = _with_length(_PACKED, length)
    for tag in (_INT64_LIST, _VALUE):
        beginning = _with_length(tag, len(beginning) + length) + beginning
    beginning = _with_length(_KEY, len(key)) + key + beginning
    return _with_length(_MAP_ENTRY, len(beginning) + length) + beginning


def serialize(arrays):
    """Returns a serialized `tf.train.Example` for each row of the arrays: list of bytes.

    Args:
      arrays: {name: integers [rows, ...]}.
    """
    columns = [
        (name, encode_varints(array.reshape([len(array), int(np.prod(array.shape[1:]))]))) for name, array in arrays.items()
    ]
    serialized = []
    for row in range(len(columns[0][1])):
        parts = []
        for name, encoded in columns:
            parts += [_beginning(name, len(encoded[row])), encoded[row]]
        features = b"".join(parts)
        serialized.append(_with_length(_FEATURES, len(features)) + features)
    return serialized


def write(path, windows, names, positions=None, rows=None):
    """Writes one record per window to `path`, atomically.

    Args:
      windows: `windows.Windows`.
      names: the arrays of `Windows.batch` to write.
      positions: (starts, ends) of the training answers, [windows] each.
      rows: indices of the windows to write, `PADDING_WINDOW` for one of padding alone; default all.
    """
    rows = list(range(len(windows)) if rows is None else rows)
    aside = files.aside(path)
    with files.renamed(aside, path), tf.python_io.TFRecordWriter(aside) as writer, progress.bar(
        len(rows), "records", "window", delay=progress.PATIENCE
    ) as bar:
        for start in range(0, len(rows), BLOCK):
            block = rows[start : start + BLOCK]
            batch = windows.batch(block)
            arrays = {name: batch[name] for name in names}
            if positions is not None:
                sides = (side[block] for side in positions)
                arrays["start_positions"], arrays["end_positions"] = sides
            for record in serialize(arrays):
                writer.write(record)
            bar.update(len(block))


def _parse(record, shapes):
    features = tf.parse_single_example(record, {name: tf.FixedLenFeature(shape, tf.int64) for name, shape in shapes.items()})
    # TPUs have no int64.
    return {name: tf.cast(value, tf.int32) for name, value in features.items()}


def _batches(records, batch_size):
    batches = records.batch(batch_size, drop_remainder=True).prefetch(1)
    return tensorflow_versions.without_autotuning(batches)


def training_dataset(path, shapes, batch_size, seed, records_seen=0, host=0, num_hosts=1):
    """Returns the endless `tf.data.Dataset` of shuffled training batches.

    Args:
      path: a file written by `write`.
      shapes: {name: shape of one record's array}.
      batch_size: number of records in a batch.
      seed: seed of the shuffle.
      records_seen: number of records that a resumed training has seen, on all cores together.
      host, num_hosts: index and number of hosts; each host reads every `num_hosts`-th record.
    """
    records = tf.data.TFRecordDataset(path).shard(num_hosts, host).repeat()
    records = records.shuffle(SHUFFLE_BUFFER, seed=seed)
    records = records.skip(records_seen // num_hosts).map(lambda record: _parse(record, shapes))
    return _batches(records, batch_size)


def training_dataset_by_length(path, shapes, batch_size, seed, num_records, records_seen=0):
    """Returns a dataset like `training_dataset`, with windows of similar length in each batch.

    The windows of some batches, at most all `num_records`, are sorted by length and cut into
    batches, which are shuffled with `seed`.
    """
    together = max(1, min(BATCHES_BY_LENGTH, num_records // batch_size))

    def cut(features):
        order = tf.argsort(tf.reduce_sum(features["input_mask"], axis=1), stable=True)
        order = tf.reshape(order, [together, batch_size])
        return {name: tf.gather(array, order) for name, array in features.items()}

    records = tf.data.TFRecordDataset(path).repeat().shuffle(SHUFFLE_BUFFER, seed=seed)
    groups = records.map(lambda record: _parse(record, shapes)).batch(together * batch_size, drop_remainder=True)
    batches = groups.map(cut).flat_map(tf.data.Dataset.from_tensor_slices)
    batches = batches.shuffle(together, seed=seed).skip(records_seen // batch_size)
    return tensorflow_versions.without_autotuning(batches.prefetch(1))


def prediction_dataset(path, shapes, batch_size):
    """Returns the `tf.data.Dataset` of all records in order, a multiple of the batch size."""
    records = tf.data.TFRecordDataset(path).map(lambda record: _parse(record, shapes))
    return _batches(records, batch_size)
