"""Records that share a leg or a reference are one call."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from analytics.usage.records import MAX_GAP_SECONDS, among, components

MENTIONS = st.lists(
    st.tuples(st.integers(0, 12), st.integers(0, 6), st.integers(0, 3)).map(
        # A record's times follow from its number, as they do in life: one record, one begin.
        lambda m: (m[0], m[1], m[0] * 1_700, m[0] * 1_700 + 600)
    ),
    max_size=40,
    unique_by=lambda m: (m[0], m[1]),
)


def by_walking(mentions: list[tuple[int, int, int, int]]) -> dict[int, int]:
    """The lowest record that can be reached from each, by trying every pair until nothing changes."""
    label = {rid: rid for rid, _, _, _ in mentions}
    linked: list[tuple[int, int]] = []
    for key in {key for _, key, _, _ in mentions}:
        group = sorted((m for m in mentions if m[1] == key), key=lambda m: (m[2], m[3], m[0]))
        for at, (rid, _, began, _) in enumerate(group[1:], start=1):
            run = [group[at - 1]]
            while (before := group.index(run[-1]) - 1) >= 0 and (group[before][0], run[-1][0]) in linked:
                run.append(group[before])
            if began <= max(ended for _, _, _, ended in run) + MAX_GAP_SECONDS:
                linked.append((group[at - 1][0], rid))
    for _ in label:
        for one, other in linked:
            label[one] = label[other] = min(label[one], label[other])
    return label


@given(MENTIONS)
def test_components_are_those_of_walking_from_record_to_record(mentions: list[tuple[int, int, int, int]]) -> None:
    mentions = sorted(mentions, key=lambda m: (m[1], m[2], m[3], m[0]))
    rid, key, began, ended = (np.array([m[i] for m in mentions], dtype=np.int64) for i in range(4))
    found = components(rid, key[np.newaxis, :], began, ended)
    assert dict(zip(rid.tolist(), found.tolist(), strict=True)) == by_walking(mentions)


def test_a_leg_identifier_that_comes_round_again_is_another_call() -> None:
    rid = np.array([0, 1, 2])
    key = np.array([[7, 7, 7]])
    began = np.array([0, 100, 100 + 50 + MAX_GAP_SECONDS + 1])
    ended = np.array([100, 150, 10_000])
    assert components(rid, key, began, ended).tolist() == [0, 0, 2]


LEGS = st.lists(st.integers(0, 30) | st.integers(-(2**63), 2**63 - 1), max_size=30)


@given(LEGS, LEGS)
def test_numbers_are_found_among_others_as_by_looking_at_each(values: list[int], keys: list[int]) -> None:
    found = among(np.array(values, np.int64), np.array(keys, np.int64))
    assert found.tolist() == [value in keys for value in values]
