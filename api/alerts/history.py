"""Rules replayed over what the store holds: what would have been told, and when."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from analytics.alerts.facts import NS, Change, Labels, Phase, Rule, State
from analytics.alerts.sampling import Span
from analytics.alerts.states import evaluate
from analytics.alerts.subjects import sampled
from api.alerts.sampler import HISTORIC, Sampler


def replayable(rules: Sequence[Rule]) -> list[Rule]:
    """Return the rules whose history the store holds."""
    return [rule for rule in rules if rule.enabled and rule.kind in HISTORIC]


def replayed(sampler: Sampler, rules: Sequence[Rule], since: int, until: int, step_s: float) -> Iterator[Change]:
    """Yield changes from `since` to `until` [ns], looking every `step_s`, as the loop would have found them.

    Rules begin at normal; SampleError where the store cannot say.
    """
    states: dict[tuple[str, Labels], State] = {}
    asked: dict[str, int] = {}
    at = since
    while at <= until:
        for rule in replayable(rules):
            if at - asked.get(rule.name, -(1 << 62)) < rule.every_s * NS:
                continue
            asked[rule.name] = at
            yield from _step(sampler, rule, at, states)
        at += round(step_s * NS)


def _step(sampler: Sampler, rule: Rule, at: int, states: dict[tuple[str, Labels], State]) -> Iterator[Change]:
    span = Span(at - round(rule.window_s * NS), at)
    known = [labels for name, labels in states if name == rule.name]
    found = sampled(rule, sampler.samples(rule, at), known, sampler.sites(at), span)
    for labels, sample in found.items():
        before = states.get((rule.name, labels))
        state, reason = evaluate(at, rule, sample, before)
        states[rule.name, labels] = state
        was = Phase.NORMAL if before is None else before.phase
        active = state.active or (before is not None and before.active)
        if state.phase is not was and (active or Phase.PENDING in (state.phase, was)):
            yield Change(at, rule.name, labels, was, state, sample.numerator, sample.denominator, reason)
