"""Erlang B by published values, busy hour and calls at once by brute force."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.cost.traffic import (
    HOUR_S,
    STEP_S,
    BusyHour,
    busier,
    busy_hour,
    channels_needed,
    erlang_b,
    most_at_once,
    traffic_of,
)


def test_erlang_b_has_the_golden_values(shared: Path) -> None:
    golden = json.loads((shared / "golden" / "metrics_golden.json").read_text())
    assert golden["erlang_B"]
    for case in golden["erlang_B"]:
        assert erlang_b(case["A"], case["N"]) == pytest.approx(case["B"], abs=5e-9)
    for case in golden["erlang_B_channels"]:
        assert channels_needed(case["A"], case["gos"]) == case["N"]


@pytest.mark.parametrize(
    ("erlang", "channels", "blocked"), [(10, 10, 0.21458234), (10, 15, 0.03649695), (20, 30, 0.00845750), (1, 1, 0.5)]
)
def test_erlang_b_has_the_published_values(erlang: float, channels: int, blocked: float) -> None:
    assert erlang_b(erlang, channels) == pytest.approx(blocked, abs=5e-9)


@pytest.mark.parametrize(
    ("erlang", "at_1_percent", "at_0_1_percent"),
    [(1, 5, 6), (5, 11, 14), (10, 18, 21), (20, 30, 35), (50, 64, 71), (100, 117, 128)],
)
def test_channels_needed_are_the_published_ones(erlang: float, at_1_percent: int, at_0_1_percent: int) -> None:
    assert channels_needed(erlang, 0.01) == at_1_percent
    assert channels_needed(erlang, 0.001) == at_0_1_percent


def test_without_traffic_no_channel_is_needed_and_none_blocks() -> None:
    assert channels_needed(0, 0.01) == 0
    assert erlang_b(0, 5) == 0
    assert erlang_b(3, 0) == 1


@pytest.mark.parametrize(("erlang", "blocking"), [(-1.0, 0.01), (1.0, 0.0), (1e9, 0.01)])
def test_what_cannot_be_reckoned_is_refused(erlang: float, blocking: float) -> None:
    with pytest.raises(ValueError, match=r".+"):
        channels_needed(erlang, blocking)


def instants(values: list[int]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(values, np.int64)


def test_one_channel_busy_all_the_hour_is_one_erlang() -> None:
    ten = 1_759_312_800  # 2025-10-01 10:00 UTC
    traffic = traffic_of(instants([ten, ten + 1800]), instants([ten + 1800, ten + 3600]))
    assert traffic.busy == BusyHour(ten, 3600)
    assert traffic.erlang == 1
    assert traffic.at_once == 1


def test_the_busy_hour_may_begin_at_a_quarter() -> None:
    ten = 1_759_312_800
    found = busy_hour(instants([ten + 900]), instants([ten + 900 + 3600]))
    assert found == BusyHour(ten + 900, 3600)


def test_a_call_that_ends_as_another_begins_shares_its_channel() -> None:
    assert most_at_once(instants([0, 10]), instants([10, 20])) == 1
    assert most_at_once(instants([0, 9]), instants([10, 20])) == 2
    assert most_at_once(instants([5]), instants([5])) == 0
    assert most_at_once(instants([]), instants([])) == 0


CALLS = st.lists(st.tuples(st.integers(0, 20_000), st.integers(0, 9_000)), max_size=25)


@given(CALLS)
def test_the_sweep_agrees_with_counting_every_second(calls: list[tuple[int, int]]) -> None:
    begins, ends = [begin for begin, _ in calls], [begin + length for begin, length in calls]
    at_once = max((sum(b <= second < e for b, e in zip(begins, ends, strict=True)) for second in begins), default=0)
    assert most_at_once(instants(begins), instants(ends)) == at_once


@given(CALLS)
def test_the_busy_hour_agrees_with_adding_up_every_hour(calls: list[tuple[int, int]]) -> None:
    best: tuple[int, int] | None = None
    for begin in range(-HOUR_S, 40_000, STEP_S):
        within = sum(max(0, min(at + length, begin + HOUR_S) - max(at, begin)) for at, length in calls)
        if within and (best is None or within > best[1]):
            best = (begin, within)
    found = busy_hour(instants([at for at, _ in calls]), instants([at + length for at, length in calls]))
    assert (None if found is None else tuple(found)) == best


@given(CALLS, CALLS)
def test_months_apart_join_to_the_busier_of_both(one: list[tuple[int, int]], other: list[tuple[int, int]]) -> None:
    later = [(at + 10**6 // STEP_S * STEP_S, length) for at, length in other]
    parts = [traffic_of(instants([a for a, _ in part]), instants([a + n for a, n in part])) for part in (one, later)]
    whole = traffic_of(instants([a for a, _ in [*one, *later]]), instants([a + n for a, n in [*one, *later]]))
    assert busier(parts[0], parts[1]) == whole
