# SPDX-License-Identifier: Apache-2.0
"""Tests of attention_mask.py and grid.py: zones written out by hand, layers, grids, the words of
the two flags.
"""

import os

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tiny

import attention_mask
import modeling
from attention_mask import NO_MASK, Mask, Pair
from mrc.cells import BASELINE, Cell, Label, read_cells
from mrc.model import grid
from mrc.util.errors import InputError

# [CLS] q [SEP] p p [SEP] [PAD]
INPUT_MASK = [[1, 1, 1, 1, 1, 1, 0]]
SEGMENT_IDS = [[0, 0, 0, 1, 1, 1, 0]]
QUESTION = [[0, 1, 0, 0, 0, 0, 0]]
PASSAGE = [[0, 0, 0, 1, 1, 0, 0]]
INPUT_IDS = [[2, 24, 3, 9, 12, 3, 0]]
NOTHING = np.zeros([7, 7], int)


def matrix(rows):
    return np.array([[int(mark) for mark in row.split()] for row in rows.strip().splitlines()])


# 1 where the query (row) may not attend to the key (column).
MASKED_PAIRS = {
    "q2": matrix("""
        0 0 0 0 0 0 0
        0 1 0 0 0 0 0
        0 0 0 0 0 0 0
        0 0 0 0 0 0 0
        0 0 0 0 0 0 0
        0 0 0 0 0 0 0
        0 0 0 0 0 0 0"""),
    "p2": matrix("""
        0 0 0 0 0 0 0
        0 0 0 0 0 0 0
        0 0 0 0 0 0 0
        0 0 0 1 1 0 0
        0 0 0 1 1 0 0
        0 0 0 0 0 0 0
        0 0 0 0 0 0 0"""),
    "q2p": matrix("""
        0 0 0 1 1 0 0
        0 0 0 1 1 0 0
        0 0 0 1 1 0 0
        0 0 0 0 0 0 0
        0 0 0 0 0 0 0
        0 0 0 1 1 0 0
        0 0 0 1 1 0 0"""),
    "p2q": matrix("""
        0 1 0 0 0 0 0
        0 0 0 0 0 0 0
        0 1 0 0 0 0 0
        0 1 0 0 0 0 0
        0 1 0 0 0 0 0
        0 1 0 0 0 0 0
        0 1 0 0 0 0 0"""),
    "q2+p2": matrix("""
        0 0 0 0 0 0 0
        0 1 0 0 0 0 0
        0 0 0 0 0 0 0
        0 0 0 1 1 0 0
        0 0 0 1 1 0 0
        0 0 0 0 0 0 0
        0 0 0 0 0 0 0"""),
    "p2q+p2": matrix("""
        0 1 0 0 0 0 0
        0 0 0 0 0 0 0
        0 1 0 0 0 0 0
        0 1 0 1 1 0 0
        0 1 0 1 1 0 0
        0 1 0 0 0 0 0
        0 1 0 0 0 0 0"""),
    "q2p+p2": matrix("\n".join(["0 0 0 1 1 0 0"] * 7)),
    "q2+p2q": matrix("\n".join(["0 1 0 0 0 0 0"] * 7)),
    "q2+q2p": matrix("""
        0 0 0 1 1 0 0
        0 1 0 1 1 0 0
        0 0 0 1 1 0 0
        0 0 0 0 0 0 0
        0 0 0 0 0 0 0
        0 0 0 1 1 0 0
        0 0 0 1 1 0 0"""),
    "q2+q2p+p2q+p2": matrix("\n".join(["0 1 0 1 1 0 0"] * 7)),
}
PADDING_PAIRS = matrix("\n".join(["0 0 0 0 0 0 1"] * 7))


def bias_by_hand(zones):
    """The whole bias [T, T] of a zone label, "" for none."""
    if zones == "all":
        return np.full([7, 7], -10000.0)
    return -10000.0 * (MASKED_PAIRS.get(zones, NOTHING) + PADDING_PAIRS)


def changed_bias(zones):
    """What the code makes of the same, as a tensor that broadcasts to [B, N, T, T]."""
    sets = find_sets(tf.constant(INPUT_MASK), tf.constant(SEGMENT_IDS))
    return attention_mask.changed_bias(
        modeling.padding_bias(tf.constant(INPUT_MASK)), attention_mask.read_mask(zones) if zones else NO_MASK, sets, sets
    )


def find_sets(input_mask, segment_ids, **sets):
    return attention_mask.find_sets(dict(input_mask=input_mask, segment_ids=segment_ids, **sets))


@pytest.mark.parametrize("zones", ["", "all"] + sorted(MASKED_PAIRS))
def test_pairs_of_a_zone(zones):
    found = tiny.values(lambda: tf.zeros([1, 2, 7, 7]) + changed_bias(zones))
    np.testing.assert_array_equal(found, [[bias_by_hand(zones)] * 2])


# A row of scores is ln 1, ln 2, ln 3, ln 4, ln 5, ln 6, ln 7: keys weigh 1 to 7, and masked ones
# nothing.
@pytest.mark.parametrize(
    "zones, query, weights",
    [
        ("", 0, [1, 2, 3, 4, 5, 6, 0]),
        ("q2", 0, [1, 2, 3, 4, 5, 6, 0]),
        ("q2", 1, [1, 0, 3, 4, 5, 6, 0]),
        ("p2", 3, [1, 2, 3, 0, 0, 6, 0]),
        ("p2", 5, [1, 2, 3, 4, 5, 6, 0]),
        ("q2p", 1, [1, 2, 3, 0, 0, 6, 0]),
        ("q2p", 6, [1, 2, 3, 0, 0, 6, 0]),
        ("q2p", 4, [1, 2, 3, 4, 5, 6, 0]),
        ("p2q", 4, [1, 0, 3, 4, 5, 6, 0]),
        ("p2q", 1, [1, 2, 3, 4, 5, 6, 0]),
        ("q2+q2p+p2q+p2", 1, [1, 0, 3, 0, 0, 6, 0]),
        ("q2+q2p+p2q+p2", 4, [1, 0, 3, 0, 0, 6, 0]),
        ("all", 1, [1, 2, 3, 4, 5, 6, 7]),
    ],
)
def test_probabilities_of_a_zone(zones, query, weights):
    scores = np.tile(np.log(np.arange(1, 8, dtype=np.float32)), [1, 2, 7, 1])
    found = tiny.values(lambda: tf.nn.softmax(tf.constant(scores) + changed_bias(zones)))
    wanted = np.array(weights) / sum(weights)
    np.testing.assert_allclose(found[0, 1, query], wanted, atol=3e-4 if zones == "all" else 1e-6)


def test_all_rounds_scores_to_what_float32_keeps_near_10000():
    # Between 8192 and 16384 float32 has steps of 1/1024 = 0.000977: 0.0004 is lost, 0.0006 becomes
    # a whole one.
    scores = np.zeros([1, 1, 7, 7], np.float32)
    scores[..., 1], scores[..., 2] = 0.0004, 0.0006
    found = tiny.values(lambda: tf.nn.softmax(tf.constant(scores) + changed_bias("all")))[0, 0, 0]
    assert found[1] == found[0] and np.log(found[2] / found[0]) == pytest.approx(1 / 1024, rel=1e-3)


@pytest.mark.parametrize(
    "input_mask, segment_ids, question, passage",
    [
        (INPUT_MASK[0], SEGMENT_IDS[0], QUESTION[0], PASSAGE[0]),
        ([1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 1, 1], [0, 1, 1, 0, 0, 0], [0, 0, 0, 0, 1, 0]),
        ([1, 1, 1, 1, 0, 0], [0, 0, 1, 1, 0, 0], [0, 0, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0]),  # blank question
        ([1, 1, 1, 1, 0], [0, 0, 0, 1, 0], [0, 1, 0, 0, 0], [0, 0, 0, 0, 0]),  # blank passage
        ([0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]),  # a window that only fills a batch
    ],
)
def test_groups(input_mask, segment_ids, question, passage):
    groups = tiny.values(lambda: attention_mask.find_groups(tf.constant([input_mask] * 2), tf.constant([segment_ids] * 2)))
    np.testing.assert_array_equal(groups[0], groups[1])
    np.testing.assert_array_equal(groups.sum(axis=-1), 1.0)  # each token is in one group
    members = dict(zip(attention_mask.GROUPS, groups[0].T.tolist()))
    assert (members["question"], members["passage"]) == (question, passage)
    assert members["padding"] == [1 - bit for bit in input_mask]
    assert members["cls"] == [input_mask[0]] + [0] * (len(input_mask) - 1)


def encode(bert, cells):
    """Returns the tensors [T, H] that `grid.encode` gives for `cells`, and the embeddings."""
    ids, mask, segments = map(tf.constant, (INPUT_IDS, INPUT_MASK, SEGMENT_IDS))
    embedded = bert.embeddings(ids, segments)
    outputs = grid.encode(bert, cells, embedded, modeling.padding_bias(mask), find_sets(mask, segments))
    return [output[0] for output in outputs], embedded[0]


def by_hand(embedded, weights, zones, masked_layers):
    """The encoder in NumPy with the zones' hand-written matrix in the masked layers."""
    hidden = embedded
    for layer in range(LAYERS):
        bias = bias_by_hand(zones if layer in masked_layers else "").astype(np.float32)
        hidden = tiny.encoder_layer(hidden, tiny.layer_weights(weights, layer), 2, bias)
    return hidden


LAYERS = 3
ALONE = [
    ("q2", "0", [0]),
    ("p2", "2", [2]),
    ("q2p", "0+1", [0, 1]),
    ("p2q", "1", [1]),
    ("p2q+p2", "0+2", [0, 2]),
    ("all", "0", [0]),
    ("q2", None, [0, 1, 2]),
    ("q2p", None, [0, 1, 2]),
    ("p2q+p2", None, [0, 1, 2]),
    ("all", None, [0, 1, 2]),
]


def tolerance(zones):
    return 2e-2 if zones == "all" else 1e-4  # "all" rounds the scores to 1/1024


@pytest.fixture(scope="module")
def encoded_alone():
    """The outputs of the cells `ALONE`, each encoded on its own; embeddings and weights."""
    with tiny.reader(tiny.config(num_hidden_layers=LAYERS)) as (model, session):
        outputs = [encode(model.bert, read_cells(zones, layer, LAYERS)) for zones, layer, _ in ALONE]
        return session.run([[output for (output,), _ in outputs], outputs[0][1]]) + [tiny.variable_values(session)]


@pytest.mark.parametrize(
    "number, zones, masked_layers",
    [
        pytest.param(number, zones, masked_layers, id=f"{zones} in {layer}")
        for number, (zones, layer, masked_layers) in enumerate(ALONE)
    ],
)
def test_masked_encoder_equals_numpy(encoded_alone, number, zones, masked_layers):
    outputs, embedded, weights = encoded_alone
    output = outputs[number]
    np.testing.assert_allclose(output, by_hand(embedded, weights, zones, masked_layers), atol=tolerance(zones))
    if zones != "all":  # padding alone is let in there, which is felt too little beside the rounding
        for other in (by_hand(embedded, weights, "", []), by_hand(embedded, weights, zones, masked_layers[1:])):
            assert np.abs(output - other).max() > 1e-3


@pytest.mark.parametrize(
    "mask_zone, mask_layer, wanted",
    [
        ("q2p,p2", "each", [("", [])] + [(zones, [layer]) for layer in range(3) for zones in ("q2p", "p2")]),
        ("p2q+p2,all", "0+1,1", [("", []), ("p2q+p2", [0, 1]), ("all", [0, 1]), ("p2q+p2", [1]), ("all", [1])]),
        ("q2,p2", None, [("", []), ("q2", [0, 1, 2]), ("p2", [0, 1, 2])]),
    ],
)
def test_cells_of_a_grid_equal_the_cells_alone_and_numpy(mask_zone, mask_layer, wanted):
    cells = read_cells(mask_zone, mask_layer, LAYERS)
    with tiny.reader(tiny.config(num_hidden_layers=LAYERS)) as (model, session):
        together, embedded = encode(model.bert, cells)
        alone = [encode(model.bert, [cell])[0][0] for cell in cells[::-1]][::-1]
        together, alone, embedded = session.run([together, alone, embedded])
        weights = tiny.variable_values(session)
    np.testing.assert_array_equal(together, alone)
    assert len(together) == len(wanted)
    for output, (zones, masked_layers) in zip(together, wanted):
        np.testing.assert_allclose(output, by_hand(embedded, weights, zones, masked_layers), atol=tolerance(zones))


def test_outputs_follow_the_order_of_the_cells():
    cells = read_cells("q2,p2q", "each", 2)
    with tiny.reader(tiny.config()) as (model, session):
        forwards, backwards = session.run([encode(model.bert, cells)[0], encode(model.bert, cells[::-1])[0]])
    np.testing.assert_array_equal(forwards, backwards[::-1])


def names(mask_zone, mask_layer, num_layers=12):
    return [cell.name for cell in read_cells(mask_zone, mask_layer, num_layers)]


@pytest.mark.parametrize(
    "mask_zone, mask_layer, wanted",
    [
        (None, None, ["layer_"]),
        ("q2", "3", ["layer3_q2"]),
        ("q2", None, ["layer_q2"]),
        ("p2q+p2", "8+9", ["layer8+9_p2q+p2"]),
        ("all", "11", ["layer11_all"]),
        ("q2,p2q+p2", None, ["layer_", "layer_q2", "layer_p2q+p2"]),
        ("q2", "0,8+9+10", ["layer_", "layer0_q2", "layer8+9+10_q2"]),
        ("q2,p2q+p2", "0,8+9", ["layer_", "layer0_q2", "layer0_p2q+p2", "layer8+9_q2", "layer8+9_p2q+p2"]),
        (" q2 , p2 ", " 1 , 0 ", ["layer_", "layer1_q2", "layer1_p2", "layer0_q2", "layer0_p2"]),
        ("q2,q2", "1,1", ["layer1_q2"]),
        ("q2+p2,p2,p2+q2,p2+p2", "0+1,1+0", ["layer_", "layer0+1_q2+p2", "layer0+1_p2"]),
        ("q2", "each,0", ["layer_"] + ["layer%d_q2" % layer for layer in range(12)]),
        ("q2", "0+1,each", ["layer_", "layer0+1_q2"] + ["layer%d_q2" % layer for layer in range(12)]),
    ],
)
def test_cells_of_the_flags(mask_zone, mask_layer, wanted):
    assert names(mask_zone, mask_layer) == wanted


def test_the_whole_published_grid():
    cells = read_cells("all,q2,q2p,p2q,p2", "each", 12)
    assert len(cells) == 61 and cells[0] == BASELINE
    assert cells[6] == Cell(attention_mask.ZONES["all"], frozenset([1]), Label("1", "", "all"))


def test_each_of_a_model_with_one_layer_is_one_cell():
    assert names("q2", "each", 1) == ["layer0_q2"]


def test_the_mask_of_a_layer():
    (cell,) = read_cells("q2+p2", "0+2", 3, "1", 4)
    pairs = {Pair("question", "question"), Pair("passage", "passage")}
    masked = Mask(frozenset(pairs), heads=frozenset([1]))
    assert [cell.mask_at(layer) for layer in range(3)] == [masked, NO_MASK, masked]
    assert BASELINE.mask_at(0) == NO_MASK


@pytest.mark.parametrize(
    "mask_layer, mask_head, wanted",
    [
        ("2", "1", ["layer2_p2q_head1"]),
        ("2", "3+0", ["layer2_p2q_head0+3"]),
        (None, "1", ["layer_p2q_head1"]),
        ("0,1", "2,0+1", ["layer_"] + [f"layer{at}_p2q_head{h}" for at in "01" for h in ("2", "0+1")]),
        ("1", "each", ["layer_"] + [f"layer1_p2q_head{head}" for head in range(4)]),
        ("1", "0+1+2+3", ["layer1_p2q_head0+1+2+3"]),
        ("each:1", None, ["layer_"] + [f"layer{layer}_p2q" for layer in range(5)]),
        ("each:3", None, ["layer_"] + [f"layer{w}_p2q" for w in ("0+1", "0+1+2", "1+2+3", "2+3+4", "3+4")]),
        ("each:9", None, ["layer0+1+2+3+4_p2q"]),
        ("each:3,0", "1", None),
    ],
)
def test_cells_of_heads_and_of_windows_of_layers(mask_layer, mask_head, wanted):
    cells = read_cells("p2q", mask_layer, 5, mask_head, 4)
    if wanted is None:
        assert len(cells) == 1 + 5 + 1 and cells[-1].name == "layer0_p2q_head1"
    else:
        assert [cell.name for cell in cells] == wanted


def test_all_heads_by_number_are_all_heads():
    cells = read_cells("p2q", "1", 3, "0+1,each,1+0", 2)
    assert [cell.mask.heads for cell in cells] == [None, None, {0}, {1}]


def test_the_grid_of_the_study_by_head():
    cells = read_cells("p2q", "each", 12, "each", 12)
    assert len(cells) == 145 and len({cell.name for cell in cells}) == 145


@pytest.mark.parametrize(
    "mask_zone, mask_layer, sentence",
    [
        ("q3", None, '--mask_zone: there is no zone "q3"; the zones are all, q2, q2p, p2q, p2, off'),
        ("q2,P2", "0", '--mask_zone: there is no zone "P2"; the zones are all, q2, q2p, p2q, p2, off'),
        ("q2+each", "0", 'there is no zone "each"'),
        ("all+q2", None, "--mask_zone=all+q2: all cannot be combined; every zone at once is q2+q2p+p2q+p2"),
        ("p2+off", "0", "--mask_zone=p2+off: off cannot be combined; every zone at once"),
        ("q2", "each:2", "--mask_layer=each:2: a window has an odd number of layers"),
        ("q2", "each:0", "--mask_layer=each:0: a window has an odd number of layers"),
        ("q2", "each:", "--mask_layer=each:: a window has an odd number of layers"),
        ("q2", "each:x", "--mask_layer=each:x: a window has an odd number of layers"),
        ("q2", "each:-3", "--mask_layer=each:-3: a window has an odd number of layers"),
        ("", None, "--mask_zone= has an empty part"),
        ("q2,", None, "--mask_zone=q2, has an empty part"),
        ("q2++p2", None, "--mask_zone=q2++p2 has an empty part"),
        ("q2", "-1", '--mask_layer: there is no layer "-1"; the layers are 0 to 1, or "each"'),
        ("q2", "2", '--mask_layer: there is no layer "2"; the layers are 0 to 1, or "each"'),
        ("q2", "0,0+2", 'there is no layer "2"'),
        ("q2", "x", 'there is no layer "x"'),
        ("q2", "1.0", 'there is no layer "1.0"'),
        ("q2", "", "--mask_layer= has an empty part"),
        ("q2", "0,,1", "--mask_layer=0,,1 has an empty part"),
        ("q2", "each+1", 'there is no layer "each"'),
        (None, "1", "--mask_layer=1 needs a zone to mask; add --mask_zone (all, q2, q2p, p2q, p2, off)"),
    ],
)
def test_wrong_words_in_the_flags(mask_zone, mask_layer, sentence):
    with pytest.raises(InputError) as error:
        read_cells(mask_zone, mask_layer, 2)
    assert sentence in str(error.value)


@pytest.mark.parametrize(
    "mask_head, problem",
    [
        ("4", '--mask_head: there is no head "4"; the heads are 0 to 3, or "each" for a cell of each'),
        ("-1", 'there is no head "-1"'),
        ("x", 'there is no head "x"'),
        ("each:3", 'there is no head "each:3"'),
        ("", "--mask_head= has an empty part"),
        ("0,,1", "--mask_head=0,,1 has an empty part"),
        ("0+", "--mask_head=0+ has an empty part"),
    ],
)
def test_wrong_heads(mask_head, problem):
    with pytest.raises(InputError) as error:
        read_cells("q2", "0", 2, mask_head, 4)
    assert problem in str(error.value)


def test_a_head_needs_a_zone():
    with pytest.raises(InputError, match="--mask_head=1 needs a zone to mask; add --mask_zone"):
        read_cells(None, None, 2, "1", 4)


def test_the_picture_in_the_readme_is_that_of_the_zones():
    """Its last [SEP] is the same group as the first."""
    with open(os.path.join(tiny.ROOT, "README.md"), encoding="utf-8") as reader:
        lines = reader.read().split("```\n                  [CLS]")[1].split("```")[0].splitlines()
    order = ["cls", "question", "sep", "passage", "sep", "padding"]
    for query, line in zip(order, lines[1:]):
        zones = [None if zone == "." else zone for zone in line.split()[1:]]
        assert zones == [
            next((zone for zone, mask in attention_mask.ZONES.items() if Pair(query, key) in mask.pairs), None)
            for key in order
        ]
