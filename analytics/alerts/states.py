"""The rule's state machine: what holds now, from what held before and one sample."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum, auto
from typing import NamedTuple

from analytics.alerts.facts import NS, Comparison, Phase, Rule, Sample, State
from analytics.alerts.wording import measured, number
from analytics.proportion import wilson


class Side(Enum):
    """On which side of the levels a sample lies."""

    RAISED = auto()
    BETWEEN = auto()
    CLEAR = auto()
    NO_DATA = auto()
    ERROR = auto()
    GONE = auto()


class Verdict(NamedTuple):
    """What one sample says by itself."""

    side: Side
    reason: str


def evaluate(now: int, rule: Rule, sample: Sample, previous: State | None) -> tuple[State, str]:
    """Return the state at `now` and why; `previous` None, or of a rule that has changed, begins at normal.

    An alert that holds goes on while nothing can be said (`no_data`, `error`): a night without calls is no recovery. Of
    what is gone it ends at once.
    """
    before = previous
    if before is None or before.rule != rule.digest:
        # An alert that was told stays told: a changed rule has to find the site well before it is over.
        fired_at = None if before is None else before.fired_at
        before = State(Phase.NORMAL if fired_at is None else Phase.FIRING, now, fired_at, rule.digest)
    verdict = judge(rule, sample)
    after = _DECIDE[verdict.side](now, rule, before)
    if after.phase is before.phase:
        after = replace(after, since=before.since)
    return after, f"{verdict.reason}{_wait(now, rule, after)}"


def resumed(state: State, now: int) -> State:
    """Return a state after a time in which nobody looked: what had been so without a break has to begin anew."""
    if state.phase is Phase.PENDING:
        return State(Phase.NORMAL, now, None, state.rule)
    if state.phase is Phase.RECOVERING:
        return State(Phase.FIRING, now, state.fired_at, state.rule)
    return state


def judge(rule: Rule, sample: Sample) -> Verdict:
    """Hold one sample against the rule's levels."""
    if sample.gone:
        return Verdict(Side.GONE, sample.gone)
    if sample.problem:
        return Verdict(Side.ERROR, sample.problem)
    if sample.numerator is None or sample.denominator is None or sample.denominator < _least(rule, sample):
        return Verdict(Side.NO_DATA, _too_little(rule, sample))
    said = measured(rule, sample)
    if rule.test is Comparison.SHARE:
        low, high = wilson(sample.numerator, sample.denominator)
        bounds = f"{said}, 95 % interval {number(100 * low)} to {number(100 * high)} %"
        if low > rule.raise_at:
            return Verdict(Side.RAISED, f"{bounds}: the lower bound is over {number(100 * rule.raise_at)} %")
        if high < rule.clear_at:
            return Verdict(Side.CLEAR, f"{bounds}: the upper bound is under {number(100 * rule.clear_at)} %")
        return Verdict(Side.BETWEEN, f"{bounds}: neither bad nor good for certain")
    if sample.value is None:
        return Verdict(Side.NO_DATA, _too_little(rule, sample))
    raised, clear = sample.value > rule.raise_at, sample.value < rule.clear_at
    if rule.test is Comparison.BELOW:
        raised, clear = sample.value < rule.raise_at, sample.value > rule.clear_at
    word, other = ("over", "under") if rule.test is Comparison.ABOVE else ("under", "over")
    unit = f" {rule.unit}" if rule.unit else ""
    if raised:
        return Verdict(Side.RAISED, f"{said}: {word} {number(rule.raise_at)}{unit}")
    if clear:
        return Verdict(Side.CLEAR, f"{said}: {other} {number(rule.clear_at)}{unit}")
    return Verdict(Side.BETWEEN, f"{said}: between the levels")


def _too_little(rule: Rule, sample: Sample) -> str:
    if sample.note and sample.numerator is None:
        return sample.note
    if sample.denominator is None or sample.numerator is None:
        return f"nothing was measured: {rule.counted} are not known"
    if not sample.denominator:
        return f"no {rule.counted}"
    return f"only {number(sample.denominator)} {rule.counted}, fewer than {number(_least(rule, sample))} say nothing"


def _least(rule: Rule, sample: Sample) -> float:
    return rule.minimum if sample.least is None else sample.least


def _raised(now: int, rule: Rule, before: State) -> State:
    if before.active:
        return State(Phase.FIRING, now, before.fired_at, rule.digest)
    begun = before.streak_since if before.phase is Phase.PENDING and before.streak_since is not None else now
    if now - begun >= rule.for_s * NS:
        return State(Phase.FIRING, now, now, rule.digest)
    return State(Phase.PENDING, now, None, rule.digest, begun)


def _clear(now: int, rule: Rule, before: State) -> State:
    if not before.active:
        return State(Phase.NORMAL, now, None, rule.digest)
    begun = before.streak_since if before.phase is Phase.RECOVERING and before.streak_since is not None else now
    if now - begun >= rule.keep_firing_s * NS:
        return State(Phase.NORMAL, now, None, rule.digest)
    return State(Phase.RECOVERING, now, before.fired_at, rule.digest, begun)


def _between(now: int, rule: Rule, before: State) -> State:
    return State(Phase.FIRING if before.active else Phase.NORMAL, now, before.fired_at, rule.digest)


def _no_data(now: int, rule: Rule, before: State) -> State:
    return State(Phase.NO_DATA, now, before.fired_at, rule.digest)


def _error(now: int, rule: Rule, before: State) -> State:
    return State(Phase.ERROR, now, before.fired_at, rule.digest)


def _gone(now: int, rule: Rule, _before: State) -> State:
    return State(Phase.NORMAL, now, None, rule.digest)


_DECIDE = {
    Side.RAISED: _raised,
    Side.CLEAR: _clear,
    Side.BETWEEN: _between,
    Side.NO_DATA: _no_data,
    Side.ERROR: _error,
    Side.GONE: _gone,
}


def _wait(now: int, rule: Rule, after: State) -> str:
    if after.streak_since is None:
        if after.phase in (Phase.NO_DATA, Phase.ERROR) and after.active:
            return "; the alert stands, for nothing says that it is over"
        return ""
    length = rule.for_s if after.phase is Phase.PENDING else rule.keep_firing_s
    until = "fires" if after.phase is Phase.PENDING else "is over"
    return f"; so for {number(round((now - after.streak_since) / NS))} s, {until} after {number(length)} s"
