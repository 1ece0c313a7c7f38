# SPDX-License-Identifier: Apache-2.0
"""The forms of the model that are fast on a CPU, and the one that leaves padding out, against the
plain one.
"""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tiny

import modeling
from mrc import cells as grid_cells
from mrc.model import branches, cpu_ops, onednn_ops

LENGTHS = (11, 7)  # real tokens of the two windows
QUESTION = 3
TOKENS = 48
CELLS = grid_cells.read_cells("all,q2,q2p,p2q,p2,q2+p2", "each,0+1", num_layers=2)
CELLS += grid_cells.read_cells("all,q2,q2p,p2q,p2,off", "each,0+1", 2, "each", 2)[1:]
CELLS += grid_cells.read_cells("off", "each", 2)[1:]


def features(lengths=LENGTHS, question=QUESTION, tokens=TOKENS):
    random = np.random.RandomState(5)
    arrays = {
        name: np.zeros([len(lengths), tokens], np.int32)
        for name in ("input_ids", "input_mask", "segment_ids", "input_span_mask")
    }
    for row, length in enumerate(lengths):
        arrays["input_ids"][row, :length] = random.randint(1, len(tiny.PIECES), length)
        arrays["input_mask"][row, :length] = 1
        arrays["segment_ids"][row, question + 2 : length] = 1
        arrays["input_span_mask"][row, [0] + list(range(question + 2, length - 1))] = 1
    arrays["unique_ids"] = np.arange(len(lengths), dtype=np.int32)
    return arrays


def best(masks_question=False, trim_padding=False, size=5, **forms):
    with tiny.reader(tiny.config(), masks_question=masks_question, **forms) as (model, session):
        inputs = {name: tf.constant(array) for name, array in features().items()}
        return session.run(model.best_positions(inputs, CELLS, size, trim_padding))


@pytest.fixture(scope="module")
def plain():
    return best()


def assert_same(got, wanted):
    for name, values in wanted.items():
        if values.dtype.kind == "f":
            # -10000 is added to scores under `all`; a float32 keeps but three decimals there.
            np.testing.assert_allclose(got[name], values, atol=5e-3, err_msg=name)
            np.testing.assert_allclose(np.median(np.abs(got[name] - values)), 0, atol=1e-5, err_msg=name)
        else:
            np.testing.assert_array_equal(got[name], values, err_msg=name)


@pytest.mark.parametrize("with_onednn", [True, False])
def test_the_forms_for_the_cpu_are_the_same_model(plain, with_onednn, monkeypatch):
    if not with_onednn:
        monkeypatch.setattr(onednn_ops, "AVAILABLE", False)
    assert_same(best(ops=cpu_ops.make_ops()), plain)


def function_calls(family="bert", **forms):
    """Returns the name of the function of each call that a grid of 1 + 2 * 4 cells makes."""
    config = tiny.config(num_hidden_layers=4, family=family)
    with tiny.reader(config, **forms, ops=cpu_ops.make_ops()) as (model, _):
        inputs = {name: tf.constant(array) for name, array in features().items()}
        model.best_positions(inputs, grid_cells.read_cells("q2,p2", "each", 4), 5)
        return [
            operation.get_attr("f").name
            for operation in tf.get_default_graph().get_operations()
            if operation.type == "PartitionedCall"
        ]


def test_a_function_is_made_once_however_often_it_is_called():
    calls = function_calls()
    assert all("run_branches" in name for name in calls)
    assert len(set(calls)) == 2 and len(calls) == 1 + 3 + 5 + 7


@pytest.mark.skipif(not onednn_ops.KEPT_TYPES, reason="needs a CPU with bfloat16")
@pytest.mark.parametrize("family, layers", [("bert", 4), ("albert", 1)])
def test_products_that_keep_their_weights_are_shared_by_layers_with_the_same(family, layers):
    calls = function_calls(family, convert=lambda kernel: tf.cast(kernel, tf.bfloat16))
    products = [name for name in calls if "feed_forward" in name]
    assert len(products) == 3 + 5 + 7 + 9 and len(calls) == len(products) + 1 + 3 + 5 + 7
    assert len(set(products)) == 2 * layers  # one for all tokens, one for some
    assert len(set(calls)) == 2 * layers + 2


OPS = [lambda: modeling.PLAIN_OPS, cpu_ops.make_ops]


@pytest.mark.parametrize("make_ops", OPS, ids=["plain", "cpu"])
@pytest.mark.parametrize("form", [dict(), dict(trim_padding=True)], ids=["padded", "trimmed"])
def test_what_is_left_out_does_not_show(form, make_ops):
    """Windows of many lengths, against the graph with static shapes in which everything is
    computed.
    """
    windows = features(lengths=(44, 60, 38), question=18, tokens=64)
    cells = grid_cells.read_cells("all,q2,q2p,p2q,p2,q2+q2p,q2+p2", "each", 2)
    with tiny.reader(tiny.config(), ops=make_ops()) as (model, session):
        inputs = {name: tf.constant(array) for name, array in windows.items()}
        found = session.run(model.best_positions(inputs, cells, 38 if form else 64, **form))
    with tiny.reader(tiny.config()) as (model, session):
        inputs = {name: tf.constant(array) for name, array in windows.items()}
        wanted = session.run(model.best_positions(inputs, cells, 64, static_shapes=True))
    for row, length in enumerate((44, 60, 38)):
        for cell in range(len(cells)):
            got, whole = (
                dict(zip(best["start_places"][row, cell], best["start_values"][row, cell])) for best in (found, wanted)
            )
            assert form or set(got) == set(range(64))
            for place, value in got.items():
                assert place < length or not form
                np.testing.assert_allclose(value, whole[place], atol=5e-3 if cells[cell].mask.replaces_bias else 1e-4)


@pytest.mark.parametrize("masks_question", [False, True])
@pytest.mark.parametrize("make_ops", OPS, ids=["plain", "by head"])
def test_without_padding_the_real_tokens_score_the_same(masks_question, make_ops):
    """Every real position is among the best when as many are asked for as there are real tokens."""
    size = max(LENGTHS)
    whole, trimmed = (best(masks_question, size=TOKENS), best(masks_question, trim_padding=True, size=size, ops=make_ops()))
    for row, length in enumerate(LENGTHS):
        for cell in range(len(CELLS)):
            for side in ("start", "end"):
                scores = dict(zip(whole[side + "_places"][row, cell], whole[side + "_values"][row, cell]))
                got = dict(zip(trimmed[side + "_places"][row, cell][:length], trimmed[side + "_values"][row, cell][:length]))
                assert set(got) == set(range(length))
                np.testing.assert_allclose(
                    [got[place] for place in range(length)], [scores[place] for place in range(length)], atol=5e-3
                )


def rows_of_outputs(monkeypatch, cells, windows, **form):
    """Returns [(layer, tokens in the output)] of all branches of a pass over `cells`."""
    with tiny.reader(tiny.config(max_position_embeddings=112)) as (model, session):
        inputs = {name: tf.constant(array) for name, array in windows.items()}
        seen, run = [], branches.run

        def watched(bert, index, *arguments):
            outputs = run(bert, index, *arguments)
            seen.extend((index, output) for output in outputs)
            return outputs

        with monkeypatch.context() as patch:
            patch.setattr(branches, "run", watched)
            model.best_positions(inputs, cells, 5, **form)
        lengths = session.run([tf.shape(output)[1] for _, output in seen])
    return [(index, length) for (index, _), length in zip(seen, lengths)]


def test_padding_is_computed_only_where_all_reads_it(monkeypatch):
    cells = grid_cells.read_cells("all,p2q", "1", 2)
    trimmed = rows_of_outputs(monkeypatch, cells, features(), trim_padding=True)
    assert trimmed == [(0, 48), (1, 16), (1, 16), (1, 16)]  # below all; baseline, all and p2q
    assert rows_of_outputs(monkeypatch, cells[:1] + cells[2:], features(), trim_padding=True) == [(0, 16), (1, 16), (1, 16)]


@pytest.mark.parametrize(
    "zones, padded, trimmed",
    [
        ("q2", 32, 32),  # [CLS] and the question's 18 to 20 are within the first 32
        ("q2p", 32 + 112 - 64, 32 + 96 - 64),  # and what follows the shortest passage, which ends at 79
        ("p2", 96 - 16, 96 - 16),  # passages start at 20 and end at 89 at the latest
        ("p2q", 112, 96),
        ("all", 112, 96),
        ("q2+p2", 96, 96),  # up to the end of the longest passage
    ],
)
def test_only_the_tokens_that_a_mask_changes_are_computed(monkeypatch, zones, padded, trimmed):
    windows = features(lengths=(90, 80), question=18, tokens=112)
    cells = grid_cells.read_cells(zones, "1", 2)
    together = [grid_cells.BASELINE] + cells
    assert rows_of_outputs(monkeypatch, together, windows)[2:] == [(1, padded)]
    assert rows_of_outputs(monkeypatch, together, windows, trim_padding=True)[2:] == [(1, trimmed)]
    assert rows_of_outputs(monkeypatch, cells, windows)[1:] == [(1, 112)]  # nothing to take the others from
