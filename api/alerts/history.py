"""Rules replayed over what the store holds: what would have been told, and when."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final, NamedTuple

from analytics.alerts.facts import NS, Change, Labels, Phase, Rule, Sample, State
from analytics.alerts.sampling import Span
from analytics.alerts.states import evaluate, resumed
from analytics.alerts.subjects import sampled
from api.alerts import keeping
from api.alerts.book import Book, BookError
from api.alerts.keeping import Kept
from api.alerts.sampler import HISTORIC, Sampler

AT_ONCE: Final = 240
"""Moments that are asked at once."""


class Seen(NamedTuple):
    """What was found of an alert last."""

    state: State
    sample: Sample
    shown: Sample
    """What was measured last: of an alert that holds while nothing can be measured, from before."""
    reason: str
    at: int


def replayable(rules: Sequence[Rule]) -> list[Rule]:
    """Return the rules whose history the store holds."""
    return [rule for rule in rules if rule.enabled and rule.kind in HISTORIC]


def replayed(
    sampler: Sampler,
    rules: Sequence[Rule],
    since: int,
    until: int,
    step_s: float,
    states: dict[tuple[str, Labels], Seen] | None = None,
) -> Iterator[Change]:
    """Yield changes from `since` to `until` [ns], looking every `step_s`, as the loop would have found them.

    Rules begin at normal, or where `states` of an earlier span stand, which are carried on; SampleError where the store
    cannot say.
    """
    states = {} if states is None else states
    for key, seen in states.items():
        states[key] = seen._replace(state=resumed(seen.state, since))
    steps = _steps(replayable(rules), since, until, round(step_s * NS))
    while chunk := list(islice(steps, AT_ONCE)):
        sampler.forget()
        for rule in replayable(rules):
            sampler.ahead(rule, [at for at, due in chunk if rule in due])
        for at, due in chunk:
            for rule in due:
                yield from _step(sampler, rule, at, states)


def keep_past(book: Book, changes: Iterable[Change], states: Mapping[tuple[str, Labels], Seen], now: int) -> int:
    """Put down a past that was replayed as if the loop had looked then; return how many changes that are.

    Changes go into the history as all do, when the loop runs next, and it goes on from the states. Only for a book in
    which nothing stands yet: BookError.
    """
    ordered = sorted(changes, key=lambda one: (one.at, one.rule, one.labels))
    if keeping.read_states(book) or keeping.read_changes(book, most=1):
        raise BookError(f"{book.path} has a history already")
    kept = [
        Kept(rule, labels, resumed(one.state, now), one.reason, one.shown, "", one.at)
        for (rule, labels), one in states.items()
    ]
    with book.writing() as connection:
        keeping.write_states(connection, kept)
        keeping.write_changes(connection, ordered)
        keeping.write_note(connection, "looked_at", now)
    return len(ordered)


def _steps(rules: Sequence[Rule], since: int, until: int, step: int) -> Iterator[tuple[int, list[Rule]]]:
    """Yield the moments at which somebody looks, and the rules that are asked then."""
    asked: dict[str, int] = {}
    for at in range(since, until + 1, step):
        due = [rule for rule in rules if at - asked.get(rule.name, -(1 << 62)) >= rule.every_s * NS]
        asked |= dict.fromkeys((rule.name for rule in due), at)
        yield at, due


def _step(sampler: Sampler, rule: Rule, at: int, states: dict[tuple[str, Labels], Seen]) -> Iterator[Change]:
    span = Span(at - round(rule.window_s * NS), at)
    known = [labels for name, labels in states if name == rule.name]
    found = sampled(rule, sampler.samples(rule, at), known, sampler.sites(at), span)
    for labels, sample in found.items():
        seen = states.get((rule.name, labels))
        before = None if seen is None else seen.state
        if seen is not None and _said(seen.sample) == _said(sample) and seen.state.streak_since is None:
            # The same was measured, and time alone decides nothing: the state is what it was.
            continue
        state, reason = evaluate(at, rule, sample, before)
        lasting = seen is not None and seen.state.active and sample.numerator is None
        shown = seen.shown if seen is not None and lasting else sample
        states[rule.name, labels] = Seen(state, sample, shown, reason, at)
        was = Phase.NORMAL if before is None else before.phase
        active = state.active or (before is not None and before.active)
        if state.phase is not was and (active or Phase.PENDING in (state.phase, was)):
            yield Change(at, rule.name, labels, was, state, sample.numerator, sample.denominator, reason)


def _said(sample: Sample) -> tuple[object, ...]:
    """What decides of a sample."""
    return sample.numerator, sample.denominator, sample.value, sample.problem, sample.note, sample.gone
