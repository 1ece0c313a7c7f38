# SPDX-License-Identifier: Apache-2.0
"""Tests of zones by QUERY-KEY-DISTANCE: the grammar, the bias against NumPy, and whole grids."""

import glob
import os

import hypothesis
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tiny
from hypothesis import strategies as st

import attention_mask
import modeling
from attention_mask import GROUPS, ZONES, Mask, Pair, read_mask
from mrc import cells as grid_cells
from mrc import datasets
from mrc.experiment import run as experiment
from mrc.model import cpu_ops
from mrc.util.errors import InputError


@pytest.mark.parametrize(
    "text, same",
    [
        ("question-question", "q2"),
        ("passage-passage", "p2"),
        ("question-passage+cls-passage+sep-passage+padding-passage", "q2p"),
        ("passage-question+cls-question+sep-question+padding-question", "p2q"),
        ("passage-passage-near8+passage-passage-far8", "p2"),
        ("passage-passage-near8+passage-passage-far3", "p2"),
        ("passage-passage-near0", "passage-passage-self"),
        ("any-question", "q2+p2q"),
        ("p2+passage-passage-near3", "p2"),
    ],
)
def test_other_words_for_a_zone(text, same):
    assert read_mask(text) == read_mask(same)


def test_distances_that_leave_some_out_stay():
    pairs = read_mask("passage-passage-near2+passage-passage-far8").pairs
    assert pairs == {Pair("passage", "passage", near=2), Pair("passage", "passage", far=8)}


@pytest.mark.parametrize(
    "text, message",
    [
        ("passage", 'there is no zone "passage"; the zones are all, q2'),
        ("P2Q", "as in passage-question-near8; did you mean p2q?"),
        ("passage-", 'there is no set of tokens "" in "passage-"'),
        ("passage-answr", 'there is no set of tokens "answr"'),
        ("focus-passage", "or sets of your own with --zones_file"),
        ("passage-question-8", 'has the distance "8"; a distance is self, nearN or farN'),
        ("passage-question-near", 'has the distance "near"'),
        ("passage-question-near-8", 'there is no zone "passage-question-near-8"'),
        ("passage-question-near1000000", 'has the distance "near1000000"'),
        ("passage-any", "leaves no key for passage tokens"),
        ("q2p+p2+passage-cls+passage-sep+any-question", "leaves no key for passage tokens"),
        ("off+passage-question", "off cannot be combined"),
        ("answer-any", "leaves no key for answer tokens"),
    ],
)
def test_wrong_zones_are_refused(text, message):
    with pytest.raises(InputError) as caught:
        read_mask(text)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["passage-any-near8", "any-cls", "q2+q2p+p2q+p2", "answer-passage"])
def test_zones_that_leave_keys_are_accepted(text):
    assert read_mask(text).pairs


INPUT_MASK = np.array([[1] * 9 + [0], [1] * 10])
SEGMENT_IDS = np.array([[0, 0, 0, 0, 1, 1, 1, 1, 1, 0], [0, 0, 0, 1, 1, 1, 1, 1, 1, 1]])
GROUP_OF = [[2, 0, 0, 3, 1, 1, 1, 1, 3, 4], [2, 0, 3, 1, 1, 1, 1, 1, 1, 3]]
FOCUS = np.array([[0, 1, 0, 0, 0, 1, 1, 0, 0, 0], [0] * 10])


def features(**sets):
    arrays = dict(input_mask=INPUT_MASK, segment_ids=SEGMENT_IDS, **sets)
    return {name: tf.constant(array, tf.int32) for name, array in arrays.items()}


def by_hand(pairs):
    """The bias [B, T, T] of zones, pair by pair of tokens."""
    bias = np.where(INPUT_MASK[:, None] > 0, 0.0, -10000.0) + np.zeros([2, 10, 10])
    for window in range(2):

        def is_in(token, name):
            if name == "focus":
                return FOCUS[window, token]
            return GROUPS[GROUP_OF[window][token]] == name

        for query in range(10):
            for key in range(10):
                distance = abs(query - key)
                bias[window, query, key] -= 10000.0 * any(
                    is_in(query, pair.query)
                    and is_in(key, pair.key)
                    and (pair.near is None or distance <= pair.near)
                    and (pair.far is None or distance > pair.far)
                    for pair in pairs
                )
    return bias


SETS = st.sampled_from(GROUPS + ("focus",))
DISTANCES = st.sampled_from([(None, None), (0, None), (2, None), (None, 0), (None, 3)])
PAIRS = st.frozensets(
    st.builds(lambda query, key, limits: Pair(query, key, *limits), SETS, SETS, DISTANCES), min_size=1, max_size=4
)


@hypothesis.settings(max_examples=40, deadline=None)
@hypothesis.given(PAIRS)
def test_the_bias_is_that_of_the_pairs(pairs):
    def build():
        sets = attention_mask.find_sets(features(set_focus=FOCUS))
        bias = modeling.padding_bias(tf.constant(INPUT_MASK))
        return attention_mask.changed_bias(bias, Mask(pairs), sets, sets)[:, 0]

    np.testing.assert_array_equal(tiny.values(build), by_hand(pairs))


@pytest.mark.parametrize("zone", sorted(set(ZONES) - {"all", "off"}))
def test_the_abbreviations_have_no_limits(zone):
    assert all(pair[2:] == (None, None) for pair in ZONES[zone].pairs)


@pytest.mark.parametrize("ops", [lambda: modeling.PLAIN_OPS, cpu_ops.make_ops], ids=["plain", "cpu"])
@pytest.mark.parametrize("trim_padding", [False, True])
def test_a_grid_of_named_zones_equals_single_cells(ops, trim_padding):
    """What is shared or left out does not show: against the graph with static shapes."""
    zones = "passage-focus,focus-any-near1,focus-passage,any-focus-far2,passage-passage-self"
    cells = grid_cells.read_cells(zones, "each", 2, own_sets=["focus"])
    arrays = dict(
        input_mask=INPUT_MASK, segment_ids=SEGMENT_IDS, input_ids=INPUT_MASK * 7, set_focus=FOCUS, unique_ids=np.arange(2)
    )
    nulls = []
    for static, own_ops in ((False, ops), (True, lambda: modeling.PLAIN_OPS)):
        with tiny.reader(tiny.config(), ops=own_ops()) as (model, session):
            inputs = {name: tf.constant(array, tf.int32) for name, array in arrays.items()}
            trims = trim_padding and not static
            best = model.best_positions(inputs, cells, 9, trims, static_shapes=static)
            nulls.append(session.run(best)["start_nulls"])
    np.testing.assert_allclose(*nulls, atol=1e-4)
    assert np.abs(nulls[1][0, 1:] - nulls[1][0, :1]).max() > 1e-3  # a mask is felt
    named = [index for index, cell in enumerate(cells) if cell.mask.sets]
    # The second window has no such token and keeps the baseline.
    np.testing.assert_allclose(nulls[1][1, named], nulls[1][1, 0], atol=1e-4)


SAME = {
    "question-question": "q2",
    "passage-passage": "p2",
    "question-passage+cls-passage+sep-passage+padding-passage": "q2p",
    "passage-passage-near8+passage-passage-far8": "p2",
}


@pytest.mark.parametrize("dataset, data", [(datasets.SQUAD, "squad"), (datasets.CMRC2018, "cmrc")])
@pytest.mark.parametrize("flags", [dict(mask_layer="1"), {}, dict(mask_layer="0", mask_head="1")], ids=str)
def test_other_words_for_a_zone_write_the_same_bytes(paths, tmp_path, dataset, data, flags):
    written = []
    whole = {
        question["id"]: {"whole": {"question": [[0, len(question["question"])]]}}
        for article in tiny.read_json(paths[data])["data"]
        for paragraph in article["paragraphs"]
        for question in paragraph["qas"]
    }
    zones_file = tiny.write_json(tmp_path / "zones.json", whole)
    zones = [list(SAME) + ["whole-whole"], list(SAME.values()) + ["q2"]]
    for number, names in enumerate(zones):
        for zone in names:
            folder = tmp_path / str(number) / zone
            values = tiny.model_flags(paths, output_dir=str(folder), predict_file=paths[data], mask_zone=zone, **flags)
            experiment.run(dataset, tiny.flag_values(do_predict=True, zones_file=zones_file, **values))
        written.append(
            [
                open(path, "rb").read()
                for zone in names
                for path in sorted(glob.glob(str(tmp_path / str(number) / zone / "*predictions*")))
            ]
        )
    assert written[0] == written[1] and os.listdir(str(tmp_path / "0"))
