# SPDX-License-Identifier: Apache-2.0
"""Attention zones: which queries do not see which keys.

Masking a zone knocks out one path of information: the queries of the zone no longer see its keys in
the masked layers, and everything else runs as before (attention knockout; Geva et al., 2023,
https://arxiv.org/abs/2304.14767). What the answers lose is what this path carried at this place and
the rest of the model could not supply in another way. Three readings are therefore wrong. A loss of
nothing does not show that the path is unused: another layer may carry the same information, which
is why windows of layers (`each:3`) are masked together. Losses do not add up over zones or layers.
And softmax gives the attention that the zone had to the keys that are left, so a masked query is
not one that sees less, but one that sees the rest more strongly.

A zone masks the keys of one set of tokens for the queries of another, `QUERY-KEY`, or only those
within a distance, `QUERY-KEY-near8`. The zones of the study (Cui et al., 2022,
https://doi.org/10.1016/j.isci.2022.104176) are abbreviations:

    zone  query             key       zones do not overlap, so a union masks each pair once
    q2    question          question
    q2p   all but passage   passage
    p2q   all but question  question
    p2    passage           passage
    all   the bias is *replaced* by -10000, padding included, as in the released code
    off   no pairs: the context vectors of the heads are zero (https://arxiv.org/abs/1905.10650)
"""

import re
from typing import FrozenSet, Iterable, NamedTuple, Optional, Tuple

import numpy as np

from mrc.util.errors import InputError
from mrc.util.lazy_tensorflow import tf

# The groups of tokens, of which every token is in one.
GROUPS = QUESTION, PASSAGE, CLS, SEP, PADDING = ("question", "passage", "cls", "sep", "padding")
ANY = "any"
# Sets that are found in the data, and the group in which their tokens lie (see
# `mrc.data.token_sets`).
DATA_SETS = {
    "answer": PASSAGE,
    "answer_sentence": PASSAGE,
    "overlap": PASSAGE,
    "wh": QUESTION,
    "random_question": PASSAGE,
    "random_answer_sentence": PASSAGE,
}
# {set: the set of as many random tokens}, for zones that differ in this alone.
CONTROLS = {QUESTION: "random_question", "answer_sentence": "random_answer_sentence"}
_NEAR, _FAR, _SELF = "near", "far", "self"
_DISTANCE = re.compile("(near|far)([0-9]{1,5})$")
_MOST_SHOWN = 80  # characters of a flag in a message
_SET_FEATURE = "set_"


class Pair(NamedTuple):
    """What one zone masks: the keys of one set of tokens for the queries of another.

    Attributes:
      query, key: names of the sets; for groups, one of `GROUPS`.
      near, far: only keys at most `near` tokens away, or more than `far`; None for no limit.
    """

    query: str
    key: str
    near: Optional[int] = None
    far: Optional[int] = None


class Mask(NamedTuple):
    """What happens in a masked layer.

    Attributes:
      pairs: the masked `Pair`s.
      replaces_bias: whether one constant replaces the whole bias, so that padding is attended to.
      context: replaces each element of the contexts of the heads; None to keep them.
      heads: the heads in which this happens; None for all.
    """

    pairs: FrozenSet[Pair] = frozenset()
    replaces_bias: bool = False
    context: Optional[float] = None
    heads: Optional[FrozenSet[int]] = None

    @property
    def queries(self) -> FrozenSet[str]:
        """The groups in which queries may lose keys."""
        return frozenset(group for pair in self.pairs for group in groups_of(pair.query))

    @property
    def sets(self) -> FrozenSet[str]:
        """The sets besides the groups that the pairs name."""
        return frozenset(name for pair in self.pairs for name in pair[:2]) - set(GROUPS)


NO_MASK = Mask()


def groups_of(name: str) -> Tuple[str, ...]:
    """Returns the groups in which the tokens of a set may lie."""
    if name in GROUPS:
        return (name,)
    return (DATA_SETS[name],) if name in DATA_SETS else (QUESTION, PASSAGE)


def _all_but(group):
    return tuple(other for other in GROUPS if other != group)


def _zone(queries, keys):
    return Mask(frozenset(Pair(query, key) for query in queries for key in keys))


# The zones of the study, the first five in the order of its table.
ZONES = {
    "all": Mask(replaces_bias=True),
    "q2": _zone([QUESTION], [QUESTION]),
    "q2p": _zone(_all_but(PASSAGE), [PASSAGE]),
    "p2q": _zone(_all_but(QUESTION), [QUESTION]),
    "p2": _zone([PASSAGE], [PASSAGE]),
    "off": Mask(context=0.0),
}
PUBLISHED_ZONES = tuple(ZONES)[:5]
# {zone: (query group, key group)} of the zones that mask one block of the question and the passage.
BLOCKS = {
    zone: blocks[0]
    for zone, mask in ZONES.items()
    for blocks in [[pair[:2] for pair in mask.pairs if set(pair[:2]) <= {QUESTION, PASSAGE}]]
    if len(blocks) == 1
}


def shortened(text: str) -> str:
    """Returns a flag's text as messages show it."""
    return text if len(text) <= _MOST_SHOWN else text[:_MOST_SHOWN] + "..."


def _read_distance(text, zone):
    """`"near8"` -> {"near": 8}."""
    if text == _SELF:
        return {_NEAR: 0}
    match = _DISTANCE.match(text)
    if not match:
        raise InputError(
            f'--mask_zone: "{shortened(zone)}" has the distance "{shortened(text)}"; a distance is '
            "self, nearN or farN, as in passage-passage-near8"
        )
    return {match.group(1): int(match.group(2))}


def _read_set(name, zone, own_sets):
    """Returns the sets that a name stands for: every group for `any`."""
    if name == ANY:
        return GROUPS
    known = GROUPS + tuple(DATA_SETS) + tuple(own_sets)
    if name not in known:
        hint = "" if own_sets else ", or sets of your own with --zones_file"
        raise InputError(
            f'--mask_zone: there is no set of tokens "{shortened(name)}" in "{shortened(zone)}"; '
            f"the sets are {ANY}, {', '.join(known)}{hint}"
        )
    return (name,)


def _read_zone(zone, own_sets) -> Mask:
    """`"passage-question-near8"` -> the `Mask` of one zone."""
    if zone in ZONES:
        return ZONES[zone]
    words = zone.split("-")
    if not 2 <= len(words) <= 3:
        hint = f"; did you mean {zone.lower()}?" if zone.lower() in ZONES else ""
        raise InputError(
            f'--mask_zone: there is no zone "{shortened(zone)}"; the zones are {", ".join(ZONES)}, '
            f"or QUERY-KEY or QUERY-KEY-DISTANCE, as in passage-question-near8{hint}"
        )
    distance = _read_distance(words[2], zone) if len(words) == 3 else {}
    queries, keys = (_read_set(word, zone, own_sets) for word in words[:2])
    return Mask(frozenset(Pair(query, key, **distance) for query in queries for key in keys))


def _without_limits(pairs):
    """Returns the pairs with near N and far M joined where they leave no distance out (M <= N)."""
    pairs = set(pairs)
    for query, key in {pair[:2] for pair in pairs}:
        limits = [pair for pair in pairs if pair[:2] == (query, key)]
        nears = [pair.near for pair in limits if pair.near is not None]
        fars = [pair.far for pair in limits if pair.far is not None]
        if Pair(query, key) in pairs or nears and fars and min(fars) <= max(nears):
            pairs = pairs.difference(limits) | {Pair(query, key)}
    return frozenset(pairs)


def _check_keys_left(pairs, text):
    """Raises an `InputError` if some queries lose every key of their window."""
    for query in sorted({pair.query for pair in pairs}):
        lost = {
            pair.key
            for pair in pairs
            if set(groups_of(query)) <= set(groups_of(pair.query))
            and pair.query in GROUPS + (query,)
            and pair[2:] == (None, None)
        }
        if lost >= set(GROUPS) - {PADDING}:
            raise InputError(
                f"--mask_zone={shortened(text)} leaves no key for {query} tokens, which would attend to everything "
                "again, at reduced precision; to remove a layer's attention use off"
            )


def read_mask(text: str, own_sets: Iterable[str] = ()) -> Mask:
    """Returns the `Mask` of zones that are joined by plus signs.

    Args:
      text: such as "p2q+passage-passage-near8".
      own_sets: names of the sets in --zones_file.

    Raises:
      InputError: a zone does not exist, does not join with others, or leaves queries without keys.
    """
    zones = [zone.strip() for zone in text.split("+")]
    masks = {zone: _read_zone(zone, own_sets) for zone in zones}
    alone = [zone for zone, mask in masks.items() if not mask.pairs]
    if alone and len(masks) > 1:
        joined = "+".join(zone for zone, mask in ZONES.items() if mask.pairs)
        raise InputError(f"--mask_zone={shortened(text)}: {alone[0]} cannot be combined; every zone at once is {joined}")
    if alone:
        return masks[alone[0]]
    pairs = _without_limits(frozenset().union(*(mask.pairs for mask in masks.values())))
    _check_keys_left(pairs, text)
    return Mask(pairs)


class TokenSets(NamedTuple):
    """The sets of the tokens of a batch.

    Attributes:
      names: of the S sets, the `GROUPS` first.
      members: 1.0 where a token is in a set and 0.0 elsewhere, [B, T, S].
      positions: of the tokens in their window, [1, T].
    """

    names: Tuple[str, ...]
    members: "tf.Tensor"
    positions: "tf.Tensor"

    def of(self, name: str) -> "tf.Tensor":
        """Returns the members [B, T] of one set."""
        return self.members[..., self.names.index(name)]

    def map(self, function) -> "TokenSets":
        """Returns the sets of the tokens that `function` takes along axis 1."""
        return self._replace(members=function(self.members), positions=function(self.positions))


def find_groups(input_mask, segment_ids):
    """Returns 1.0 where a token is in a group and 0.0 elsewhere, [B, T, 5] for the five `GROUPS`.

    A token is in the group of its position in `[CLS] question [SEP] passage [SEP] padding`.

    Args:
      input_mask: [B, T], 1 on tokens and 0 on padding.
      segment_ids: [B, T], 0 through the first `[SEP]` and 1 through the last.
    """
    input_mask, segment_ids = tf.cast(input_mask, tf.int32), tf.cast(segment_ids, tf.int32)
    position = tf.cumsum(tf.ones_like(input_mask), axis=1, exclusive=True)
    tokens = tf.reduce_sum(input_mask, axis=1, keepdims=True)
    passage_start = tokens - tf.reduce_sum(segment_ids, axis=1, keepdims=True)

    def between(first, stop):
        return tf.cast(tf.logical_and(position >= first, position < stop), tf.float32)

    is_token = tf.cast(input_mask, tf.float32)
    question, passage = between(1, passage_start - 1), between(passage_start, tokens - 1)
    cls = between(0, 1) * is_token
    sep = is_token - question - passage - cls
    return tf.stack([question, passage, cls, sep, 1.0 - is_token], axis=2)


def find_sets(features) -> TokenSets:
    """Returns the `TokenSets` of a batch: the groups, and the sets that the features have.

    Args:
      features: dict of the arrays [B, T] of windows: `input_mask`, `segment_ids`, and one for each
        set, named by `set_feature`.
    """
    groups = find_groups(features["input_mask"], features["segment_ids"])
    names = sorted(name for name in features if name.startswith(_SET_FEATURE))
    sets = [tf.cast(features[name], tf.float32)[..., tf.newaxis] for name in names]
    count = tf.ones_like(groups[:1, :, 0])
    return TokenSets(
        GROUPS + tuple(name[len(_SET_FEATURE) :] for name in names),
        tf.concat([groups] + sets, axis=2) if sets else groups,
        tf.cumsum(count, axis=1, exclusive=True),
    )


def set_feature(name: str) -> str:
    """Returns the name of the array of windows that has the members of a set."""
    return _SET_FEATURE + name


def _table(pairs, names):
    """Returns the 0/1 table [S, S] of sets of queries x sets of keys."""
    pairs = {pair[:2] for pair in pairs}
    return np.array([[(query, key) in pairs for key in names] for query in names], np.float32)


def _within(limits, queries, keys):
    """Returns 1.0 where query and key are within the limits (near, far) of a `Pair`, [1, R, K]."""
    near, far = limits
    distance = tf.abs(queries.positions[:, :, tf.newaxis] - keys.positions[:, tf.newaxis])
    return tf.cast(distance <= near if far is None else distance > far, tf.float32)


def changed_bias(bias, mask: Mask, queries: TokenSets, keys: TokenSets):
    """Returns the attention bias under a `Mask`, broadcastable to [B, 1, R, K].

    A pair of tokens is masked where `queries @ table @ keys` is not 0, with the pairs of the mask
    as a 0/1 table of sets of queries x sets of keys.

    Args:
      bias: the bias without a mask, [B, 1, 1, K].
      mask: the `Mask`.
      queries, keys: of the R queries and K keys.
    """
    from modeling import MASKED  # here, because it imports TensorFlow

    if mask.replaces_bias:
        return tf.fill([1, 1, 1, 1], MASKED)
    if not mask.pairs:
        return bias
    with tf.name_scope("zone"):
        masked = []
        for limits in sorted({pair[2:] for pair in mask.pairs}, key=str):
            table = _table([pair for pair in mask.pairs if pair[2:] == limits], queries.names)
            lost = tf.reduce_sum(queries.members[..., tf.newaxis] * table, axis=2)  # [B, R, S]
            pairs = tf.matmul(lost, keys.members, transpose_b=True)  # [B, R, K]
            if limits != (None, None):
                pairs *= _within(limits, queries, keys)
            masked.append(pairs)
        masked = tf.add_n(masked)
        if len({pair[2:] for pair in mask.pairs}) > 1 or mask.sets:
            masked = tf.minimum(masked, 1.0)  # sets overlap, and so do distances
        return bias + MASKED * masked[:, tf.newaxis]
