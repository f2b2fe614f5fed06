"""The state machine of alerts, held against a slow reference that looks at the whole past each time."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.alerts.facts import NS, Comparison, Kind, Phase, Rule, Sample, State, fingerprint, labelled
from analytics.alerts.rules import DEFAULTS
from analytics.alerts.states import Side, evaluate, judge, resumed
from analytics.proportion import Z_95, wilson

LABELS = labelled({"site": "york", "direction": "to"})
SHARE = Rule("poor", Kind.SITE_POOR, "", Comparison.SHARE, 0.20, 0.17, for_s=60, keep_firing_s=120)
ABOVE = Rule("loss", Kind.SITE_LOSS, "", Comparison.ABOVE, 2.0, 1.0, unit="%", minimum=100, for_s=60, keep_firing_s=120)
BELOW = replace(ABOVE, test=Comparison.BELOW, raise_at=5.0, clear_at=20.0)


def share(poor: float, of: float, at: int = 0) -> Sample:
    return Sample(LABELS, at - 600 * NS, at, poor, of)


def level(value: float, at: int = 0) -> Sample:
    return Sample(LABELS, at - 600 * NS, at, value, 1000.0, value)


class Looked(NamedTuple):
    """One look: when, and on which side of the levels the sample lay."""

    at: int
    side: Side


SAMPLES = {
    Side.RAISED: level(3.0),
    Side.BETWEEN: level(1.5),
    Side.CLEAR: level(0.5),
    Side.NO_DATA: Sample(LABELS, 0, 1, None, None),
    Side.ERROR: Sample(LABELS, 0, 1, None, None, problem="the disk is gone"),
    Side.GONE: Sample(LABELS, 0, 1, None, None, gone="the endpoint was removed"),
}


def streak(past: list[Looked], side: Side) -> float | None:
    """Seconds since a side has held without a break, up to the last look; None where it does not hold."""
    begun = None
    for one in reversed(past):
        if one.side is not side:
            break
        begun = one.at
    return None if begun is None else (past[-1].at - begun) / NS


def is_active(past: list[Looked]) -> bool:
    if not past or past[-1].side is Side.GONE:
        return False
    if is_active(past[:-1]):
        clear = streak(past, Side.CLEAR)
        return clear is None or clear < ABOVE.keep_firing_s
    raised = streak(past, Side.RAISED)
    return raised is not None and raised >= ABOVE.for_s


def slow_phase(past: list[Looked]) -> Phase:
    active, side = is_active(past), past[-1].side
    return {
        Side.RAISED: Phase.FIRING if active else Phase.PENDING,
        Side.CLEAR: Phase.RECOVERING if active else Phase.NORMAL,
        Side.BETWEEN: Phase.FIRING if active else Phase.NORMAL,
        Side.NO_DATA: Phase.NO_DATA,
        Side.ERROR: Phase.ERROR,
        Side.GONE: Phase.NORMAL,
    }[side]


@given(st.lists(st.tuples(st.integers(1, 100), st.sampled_from(Side)), min_size=1, max_size=40))
def test_any_series_of_samples_gives_the_states_of_the_slow_reference(steps: list[tuple[int, Side]]) -> None:
    at, state = 0, None
    past: list[Looked] = []
    entered: tuple[Phase, int] | None = None
    for seconds, side in steps:
        at += seconds * NS
        past.append(Looked(at, side))
        assert judge(ABOVE, SAMPLES[side]).side is side
        state, reason = evaluate(at, ABOVE, SAMPLES[side], state)
        assert (state.phase, state.active) == (slow_phase(past), is_active(past)), (past, reason)
        assert reason
        if entered is None or entered[0] is not state.phase:
            entered = (state.phase, at)
        assert state.since == entered[1] or len(past) == 1


@given(st.lists(st.tuples(st.integers(1, 100), st.sampled_from([Side.NO_DATA, Side.ERROR])), min_size=1, max_size=20))
def test_a_night_without_calls_is_no_recovery(steps: list[tuple[int, Side]]) -> None:
    state: State = State(Phase.FIRING, 5 * NS, 5 * NS, ABOVE.digest)
    at = 10 * NS
    for seconds, side in steps:
        at += seconds * 3_600 * NS
        state, reason = evaluate(at, ABOVE, SAMPLES[side], state)
        assert state.active
        assert state.fired_at == 5 * NS
        assert "the alert stands" in reason


@given(st.integers(1, 5_000), st.data())
def test_wilsons_bounds_solve_his_equation(of: int, data: st.DataObject) -> None:
    # Both bounds are where the observed share lies z standard errors of the true share away (Wilson 1927).
    count = data.draw(st.integers(0, of))
    low, high = wilson(count, of)
    assert 0 <= low <= count / of <= high <= 1
    for bound in (low, high):
        if 0 < bound < 1:
            away = abs(count / of - bound)
            assert away == pytest.approx(Z_95 * math.sqrt(bound * (1 - bound) / of), abs=1e-9)


def test_wilsons_bounds_are_those_of_the_textbook() -> None:
    # Newcombe 1998, Statistics in Medicine 17, table I, method 3: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
    table = ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611), (1, 29, 0.0061, 0.1718))
    for count, of, low, high in table:
        found = wilson(count, of)
        assert (round(found.low, 4), round(found.high, 4)) == (low, high)


@pytest.mark.parametrize(
    ("poor", "of", "side"),
    [
        (8, 20, Side.RAISED),  # lower bound 21.9 %
        (7, 20, Side.BETWEEN),  # 18.1 %
        (0, 20, Side.CLEAR),  # upper bound 16.1 %
        (1, 20, Side.BETWEEN),  # 23.6 %
        (19, 19, Side.NO_DATA),
        (0, 0, Side.NO_DATA),
        (210, 1_000, Side.BETWEEN),
        (240, 1_000, Side.RAISED),
    ],
)
def test_a_share_counts_by_its_bounds_and_only_with_enough_calls(poor: int, of: int, side: Side) -> None:
    assert judge(SHARE, share(poor, of)).side is side


def test_the_reason_says_of_how_many() -> None:
    assert "8 of 20 calls (40 %)" in judge(SHARE, share(8, 20)).reason
    assert "only 19 calls, fewer than 20" in judge(SHARE, share(3, 19)).reason
    assert judge(SHARE, share(0, 0)).reason == "no calls"
    lost = Sample(LABELS, 0, 1, 50, 1000, 5.0)
    assert judge(replace(ABOVE, counted="packets"), lost).reason == "5 % (50 of 1,000 packets): over 2 %"


@pytest.mark.parametrize(
    ("value", "side"), [(4.9, Side.RAISED), (5.0, Side.BETWEEN), (20.0, Side.BETWEEN), (20.1, Side.CLEAR)]
)
def test_a_rule_may_ask_for_too_little(value: float, side: Side) -> None:
    assert judge(BELOW, level(value)).side is side


def test_how_long_it_has_been_so_is_told_in_whole_seconds() -> None:
    rule = next(one for one in DEFAULTS if one.name == "packet_loss")
    sample = Sample((), 0, 1, 500, 10_000, 5.0)
    state, _ = evaluate(0, rule, sample, None)
    assert evaluate(4_980_000_000, rule, sample, state)[1].endswith("; so for 5 s, fires after 30 s")


def test_a_changed_rule_begins_anew_but_an_alert_that_was_told_stands() -> None:
    other = replace(ABOVE, raise_at=4.0)
    pending, _ = evaluate(0, ABOVE, SAMPLES[Side.RAISED], None)
    assert pending.phase is Phase.PENDING
    state, _ = evaluate(70 * NS, other, level(5.0), pending)
    assert state == State(Phase.PENDING, 70 * NS, None, other.digest, 70 * NS)
    firing = State(Phase.FIRING, 0, 0, ABOVE.digest)
    state, _ = evaluate(70 * NS, other, level(3.0), firing)
    assert (state.phase, state.fired_at) == (Phase.FIRING, 0)
    # What only changes how it is told leaves the state alone.
    assert replace(ABOVE, severity="critical", summary="other").digest == ABOVE.digest


def test_after_a_gap_nothing_has_been_so_without_a_break() -> None:
    assert resumed(State(Phase.PENDING, 1, None, "r", 1), 9) == State(Phase.NORMAL, 9, None, "r")
    assert resumed(State(Phase.RECOVERING, 1, 0, "r", 1), 9) == State(Phase.FIRING, 9, 0, "r")
    held = State(Phase.NO_DATA, 1, 0, "r")
    assert resumed(held, 9) is held


def test_a_fingerprint_is_of_the_labels_alone_and_tells_them_apart() -> None:
    assert fingerprint("r", LABELS) == fingerprint("r", labelled(dict(reversed(LABELS))))
    assert fingerprint("r", LABELS) != fingerprint("q", LABELS)
    assert fingerprint("r", (("a", "bc"),)) != fingerprint("r", (("ab", "c"),))
    assert len(fingerprint("r", LABELS)) == 16
