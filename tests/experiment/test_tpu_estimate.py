# SPDX-License-Identifier: Apache-2.0
"""Tests of tpu_estimate.py: against hand computation, TensorFlow's profiler and the grid."""

import sys
import types
from typing import NamedTuple

import pytest
import tensorflow.compat.v1 as tf
import tiny

import attention_mask
import modeling
from benchmarks import tpu_estimate
from mrc import cells as grid_cells
from mrc.model import grid

SMALL = tpu_estimate.Shape(
    vocab=10, hidden=4, layers=2, heads=2, intermediate=8, segments=2, tokens=6
)
BASE = tpu_estimate.Shape(
    vocab=28996, hidden=768, layers=12, heads=12, intermediate=3072, segments=2, tokens=512
)
ZONES = "all,q2,q2p,p2q,p2"
WINDOWS, TOKENS = 3, 64


def test_operations_match_hand_computation():
    # A dense 4 x 4 product on 6 tokens has 2 * 6 * 4 * 4 = 192 operations; scores or context have
    # 2 * 6 * 6 * 4 = 288.
    assert tpu_estimate.layer_parts(SMALL) == (3 * 192 + 288, 288 + 192 + 2 * 384)
    assert tpu_estimate.embedding_flops(SMALL) == 2 * 6 * (10 + 2) * 4 == 576
    assert tpu_estimate.head_flops(SMALL) == 2 * 6 * 4 * 2 == 96
    assert tpu_estimate.grid_passes(2, 3) == (5, 11)
    assert tpu_estimate.grid_flops(SMALL, 3) == 576 + 7 * 96 + 5 * 864 + 11 * 1248
    assert tpu_estimate.training_flops(SMALL) == 2 * 576 + 3 * (2 * (864 + 1248) + 96)


def test_memory_matches_hand_computation():
    # A hidden state has 6 * 4 floats = 96 bytes, the scores of a head 6 * 6 floats = 144 bytes, a
    # wide layer 6 * 8 floats = 192 bytes.
    states, squares, wide = 7 + 4, 3 * 2 + 3, 2
    assert tpu_estimate.grid_bytes(SMALL, 3) == states * 96 + squares * 144 + wide * 192
    assert tpu_estimate.grid_bytes(SMALL._replace(vocab=1000), 3) == 6 * 1000 * 4 + 2 * 96
    weights = 4 * tpu_estimate.count_weights(SMALL)
    assert tpu_estimate.core_bytes(SMALL, 3, 5, 1.5) == weights + 5 * 1.5 * 2736
    gibibytes = (weights + 10.5 * 2736) / 2**30
    assert tpu_estimate.largest_batch(SMALL, 3, gibibytes, 1.0) == 80
    assert tpu_estimate.largest_batch(SMALL, 3, gibibytes, 2.0) == 40
    assert tpu_estimate.largest_batch(SMALL, 3, weights / 2**31, 1.0) == 0


def shape_of(config):
    return tpu_estimate.Shape(
        config.vocab_size,
        config.hidden_size,
        config.num_hidden_layers,
        config.num_attention_heads,
        config.intermediate_size,
        config.type_vocab_size,
        TOKENS,
    )


def features():
    return {
        name: tf.zeros([WINDOWS] if name.endswith("positions") else [WINDOWS, TOKENS], tf.int32)
        for name in ("input_ids", "input_mask", "segment_ids", "start_positions", "end_positions")
    }


def products(graph, fetches):
    """Returns the floating-point operations of the matrix products that `fetches` depend on.

    TensorFlow's profiler counts plain products. It knows only one of the two ops for batched
    products, so these are counted here.
    """
    needed = tf.graph_util.extract_sub_graph(
        graph.as_graph_def(), [tensor.op.name for tensor in fetches]
    )
    with tf.Graph().as_default() as pruned:
        tf.import_graph_def(needed, name="")
        counted = tf.profiler.profile(
            pruned, cmd="op", options=tf.profiler.ProfileOptionBuilder.float_operation()
        )
        total = sum(node.total_float_ops for node in walk(counted) if node.name == "MatMul")
        for op in pruned.get_operations():
            # The bias of a zone is a product over five groups of tokens, which is left out.
            if op.type in ("BatchMatMul", "BatchMatMulV2") and "zone" not in op.name:
                inner = op.inputs[0].shape[-2 if op.get_attr("adj_x") else -1].value
                total += 2 * op.outputs[0].shape.num_elements() * inner
    return total


class ProfiledOp(NamedTuple):
    name: str
    total_float_ops: int


def walk(node):
    """Yields the ops of a profile, each with its own count."""
    below = list(node.children)
    for child in below:
        yield from walk(child)
    yield ProfiledOp(
        node.name, node.total_float_ops - sum(child.total_float_ops for child in below)
    )


@pytest.mark.parametrize("layers", [1, 3])
def test_grid_operations_match_the_profiler(layers):
    config = tiny.config(num_hidden_layers=layers)
    with tiny.reader(config, one_hot_embeddings=True) as (model, session):
        cells = grid_cells.read_cells(ZONES, "each", layers)
        inputs = dict(features(), unique_ids=tf.zeros([WINDOWS], tf.int32))
        found = model.best_positions(inputs, cells, 5, static_shapes=True)
        counted = products(session.graph, [found["start_values"], found["end_values"]])
    assert counted == WINDOWS * tpu_estimate.grid_flops(shape_of(config), len(ZONES.split(",")))


def test_training_operations_match_the_profiler():
    config = tiny.config()
    with tiny.reader(config, one_hot_embeddings=True) as (model, session):
        gradients = tf.gradients(model.training_loss(features()), tf.trainable_variables())
        counted = products(
            session.graph, [gradient for gradient in gradients if gradient is not None]
        )
        weights = sum(variable.shape.num_elements() for variable in tf.trainable_variables())
    assert counted == WINDOWS * tpu_estimate.training_flops(shape_of(config))
    assert weights == tpu_estimate.count_weights(shape_of(config))


@pytest.mark.parametrize("layers, zones", [(12, ZONES), (24, "p2")])
def test_passes_match_the_grid(monkeypatch, layers, zones):
    calls = []

    def run(bert, index, hidden, branches):
        calls.append(len(branches))
        return [hidden] * len(branches)

    monkeypatch.setattr(grid.branches, "run", run)
    bert = types.SimpleNamespace(
        config=types.SimpleNamespace(num_hidden_layers=layers), ops=modeling.PLAIN_OPS
    )
    with tf.Graph().as_default():
        mask = tf.ones([1, 4], tf.int32)
        sets = attention_mask.find_sets(dict(input_mask=mask, segment_ids=mask))
        grid.encode(
            bert,
            grid_cells.read_cells(zones, "each", layers),
            tf.zeros([1, 4, 2]),
            tf.zeros([1, 1, 1, 4]),
            sets,
        )
    assert tpu_estimate.grid_passes(layers, len(zones.split(","))) == (len(calls), sum(calls))


def table(monkeypatch, capsys, *words):
    monkeypatch.setattr(sys, "argv", ["tpu_estimate.py"] + list(words))
    tpu_estimate.main()
    return capsys.readouterr().out.splitlines()


def test_the_table_matches_the_documentation(monkeypatch, capsys):
    lines = table(monkeypatch, capsys)
    assert len(lines) == 6
    with open(tiny.ROOT + "/docs/devices.md", encoding="utf-8") as reader:
        assert "\n".join(lines) in reader.read()


def test_the_assumptions_change_the_table(monkeypatch, capsys):
    def numbers(*words):
        return [
            [float(cell.split()[0]) for cell in line.split("|")[3:7]]
            for line in table(monkeypatch, capsys, *words)[2:]
        ]

    usual, slow = numbers("--efficiency=0.01"), numbers("--efficiency=0.01", "--float32_passes=3")
    for one, other in zip(usual, slow):
        assert other[0] == pytest.approx(3 * one[0], rel=0.01) and other[1] == pytest.approx(
            3 * one[1], rel=0.01
        )
        assert other[2:] == one[2:]
    large = numbers("--efficiency=0.01", "--batch=64")
    assert all(other[2] > one[2] and other[3] == one[3] for one, other in zip(usual, large))
    fast = numbers("--efficiency=0.01", "--v2_teraflops=360")
    assert fast[2:] == usual[2:] and fast[0][0] == pytest.approx(usual[0][0] / 2, rel=0.01)


def test_base_sized_bert_has_known_counts():
    # Google's cased base, and the head.
    assert tpu_estimate.count_weights(BASE) == 108310272 + 2 * 768 + 2
    assert tpu_estimate.grid_passes(12, 5) == (342, 402)


def test_a_batch_that_the_cores_do_not_divide_is_refused():
    code, _, stderr = tiny.run("benchmarks/tpu_estimate.py", batch=12)
    assert code == 2 and stderr.strip().endswith(
        "error: --batch=12 is not a multiple of the 8 cores of a TPU; use 16 or another multiple"
    )
