# SPDX-License-Identifier: Apache-2.0
"""The forms of the model that are fast on a CPU, and the one that leaves padding out, against the plain one."""
from __future__ import absolute_import, division, print_function

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import attention_mask
import cpu_kernels
import tiny

LENGTHS = (11, 7)  # real tokens of the two windows
QUESTION = 3
TOKENS = 48
CELLS = attention_mask.read_cells("all,q2,q2p,p2q,p2,q2+p2", "each,0+1", num_layers=2)


def features():
    random = np.random.RandomState(5)
    arrays = {name: np.zeros([len(LENGTHS), TOKENS], np.int32)
              for name in ("input_ids", "input_mask", "segment_ids", "input_span_mask")}
    for row, length in enumerate(LENGTHS):
        arrays["input_ids"][row, :length] = random.randint(1, len(tiny.PIECES), length)
        arrays["input_mask"][row, :length] = 1
        arrays["segment_ids"][row, QUESTION + 2:length] = 1
        arrays["input_span_mask"][row, [0] + list(range(QUESTION + 2, length - 1))] = 1
    arrays["unique_ids"] = np.arange(len(LENGTHS), dtype=np.int32)
    return arrays


def best(masks_span=False, trim_padding=False, size=5, **forms):
    with tiny.reader(tiny.config(), masks_span=masks_span, **forms) as (model, session):
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


def make_forms(use_xla):
    return dict(kernels=cpu_kernels.make_kernels(use_xla), run=cpu_kernels.ReusedFunctions("layer"))


@pytest.mark.parametrize("use_xla", [False, True])
def test_head_by_head_and_compiled_is_the_same_model(plain, use_xla):
    assert_same(best(**make_forms(use_xla)), plain)


def test_a_layer_is_made_once_however_often_it_is_called():
    forms = make_forms(False)
    with tiny.reader(tiny.config(), **forms) as (model, _):
        inputs = {name: tf.constant(array) for name, array in features().items()}
        model.best_positions(inputs, CELLS, 5)
        made = {function.name for function in tf.get_default_graph()._functions.values()}
        calls = [operation for operation in tf.get_default_graph().get_operations() if operation.type in made]
    assert len(calls) > 2 * len(made)


@pytest.mark.parametrize("masks_span", [False, True])
@pytest.mark.parametrize("forms", [dict, lambda: make_forms(False)], ids=["plain", "by head"])
def test_without_padding_the_real_tokens_score_the_same(masks_span, forms):
    """Every real position is among the best when as many are asked for as there are real tokens."""
    size = max(LENGTHS)
    whole, trimmed = best(masks_span, size=TOKENS), best(masks_span, trim_padding=True, size=size, **forms())
    for row, length in enumerate(LENGTHS):
        for cell in range(len(CELLS)):
            for side in ("start", "end"):
                scores = dict(zip(whole[side + "_places"][row, cell], whole[side + "_values"][row, cell]))
                got = dict(zip(trimmed[side + "_places"][row, cell][:length], trimmed[side + "_values"][row, cell][:length]))
                assert set(got) == set(range(length))
                np.testing.assert_allclose([got[place] for place in range(length)],
                                           [scores[place] for place in range(length)], atol=5e-3)


def test_padding_is_worked_out_only_where_all_reads_it():
    with tiny.reader(tiny.config()) as (model, session):
        inputs = {name: tf.constant(array) for name, array in features().items()}
        seen = []
        branch = model.bert.branch

        def watched(index, hidden, branches):
            outputs = branch(index, hidden, branches)
            seen.extend((index, output) for output in outputs)
            return outputs
        model.bert.branch = watched
        model.best_positions(inputs, attention_mask.read_cells("all,q2", "0", 2), 5, trim_padding=True)
        lengths = session.run([tf.shape(output)[1] for _, output in seen])
    assert [(index, length) for (index, _), length in zip(seen, lengths)] == [(0, 16), (0, 16), (0, 16), (1, 16), (1, 16), (1, 16)]
