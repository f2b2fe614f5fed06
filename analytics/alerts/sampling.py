"""Samples from what was asked of the store: one for each alert that a rule may give."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from statistics import median
from typing import Final

from analytics.alerts.facts import NS, Sample, labelled
from analytics.alerts.wording import number
from analytics.cost.outliers import Measure, Outlier
from analytics.feeds import FeedState
from analytics.health import ProcessHealth
from analytics.proportion import wilson
from analytics.questions.watching import DayCost, Ended, Gateway, HeardNow, Traffic

LEAST_WEEKS: Final = 4
"""Weeks of a past that says what is usual."""
UNSAID: Final = {
    "too_few_weeks": "too little is known of the weeks before",
    "holiday": "a public holiday is like no other day",
}
"""Why nothing can be said of a feed."""
PATH: Final = ("seen", "parsed", "matched", "rated", "stored", "spooled", "sent")
"""Steps of the data path in which a loss makes measurements doubtful."""


@dataclass(frozen=True, slots=True)
class Span:
    """What a sample looks back over [ns since 1970]."""

    since: int
    until: int


def site_poor(found: HeardNow, span: Span) -> Iterator[Sample]:
    """Yield the share of poor calls by site and direction."""
    for one in found.sites:
        labels = labelled({"site": one.site, "direction": one.direction})
        values = _values(mos=one.mos, loss_percent=_percent(one.lost, one.expected), jitter_ms=one.jitter_ms)
        yield Sample(labels, _since(one.since, span), span.until, one.poor, one.rated, values=values)


def pair_poor(found: HeardNow, span: Span) -> Iterator[Sample]:
    """Yield the share of poor calls by pair of sites, in the direction of the audio."""
    for one in found.pairs:
        labels = labelled({"from_site": one.from_site, "to_site": one.to_site})
        values = _values(mos=one.mos, loss_percent=_percent(one.lost, one.expected))
        yield Sample(labels, _since(one.since, span), span.until, one.poor, one.rated, values=values)


def _since(oldest: datetime | None, span: Span) -> int:
    return span.since if oldest is None else round(oldest.timestamp() * 1e6) * 1_000


def soonest(newest: Iterable[Sample], fewer: Iterable[Sample], raise_at: float) -> Iterator[Sample]:
    """Yield samples of the newest calls; where only fewer of them are bad beyond doubt, those fewer.

    Who waits for 8 poor calls of 20 where 5 of the newest 10 are poor hears late, for at a quiet site they take hours.
    What has no more than these fewer says nothing: it could never be found well again.
    """
    halves = {one.labels: one for one in fewer}
    for one in newest:
        half = halves.get(one.labels)
        if half is not None and not _is_over(one, raise_at) and _is_over(half, raise_at):
            yield replace(half, least=half.denominator)
        else:
            yield one


def _is_over(sample: Sample, raise_at: float) -> bool:
    if sample.numerator is None or not sample.denominator:
        return False
    return wilson(sample.numerator, sample.denominator).low > raise_at


def enough(samples: Iterable[Sample], instead: Iterable[Sample], minimum: float) -> Iterator[Sample]:
    """Yield samples; for those of too few calls, and for labels that have none, what stands in for them."""
    others = {one.labels: one for one in instead}
    for one in samples:
        other = others.pop(one.labels, None)
        yield one if other is None or (one.denominator or 0) >= minimum else other
    yield from others.values()


def site_loss(found: HeardNow, span: Span) -> Iterator[Sample]:
    """Yield the packets lost by site and direction."""
    for one in found.sites:
        labels = labelled({"site": one.site, "direction": one.direction})
        lost = min(one.lost, one.expected)
        percent = _percent(lost, one.expected)
        yield Sample(labels, span.since, span.until, lost, one.expected, percent, _values(mos=one.mos))


def site_jitter(found: HeardNow, span: Span) -> Iterator[Sample]:
    """Yield the mean jitter by site and direction."""
    for one in found.sites:
        labels = labelled({"site": one.site, "direction": one.direction})
        mos = _values(mos=one.mos)
        yield Sample(labels, span.since, span.until, one.jitter_ms, one.intervals, one.jitter_ms, mos)


def one_way(found: Iterable[Ended], span: Span) -> Iterator[Sample]:
    """Yield the calls with audio in one direction only, by site."""
    for one in found:
        yield Sample(labelled({"site": one.site}), span.since, span.until, one.one_way, one.with_media)


def setup_failures(found: Iterable[Ended], span: Span) -> Iterator[Sample]:
    """Yield the calls that failed to set up, by site."""
    for one in found:
        yield Sample(labelled({"site": one.site}), span.since, span.until, one.failed, one.attempts)


def trunk_failures(found: Iterable[Gateway], span: Span) -> Iterator[Sample]:
    """Yield the numbers that could not be called, by what they were called through."""
    for one in found:
        since = min(span.since, _since(one.since, span))
        labels = labelled({"gateway": one.address})
        yield Sample(labels, since, span.until, one.failed, one.numbers, note=f"through {one.address}")


def no_traffic(found: Iterable[Traffic], span: Span, holiday: bool) -> Iterator[Sample]:
    """Yield what a site did beside what is usual, where there always was something; a holiday says nothing."""
    for one in found:
        known = [count for count in one.before if count is not None]
        labels = labelled({"site": one.site})
        note = ""
        if holiday:
            note = "a public holiday is like no other day"
        elif len(known) < LEAST_WEEKS:
            note = f"only {len(known)} weeks of the past are known, and {LEAST_WEEKS} are needed"
        elif not min(known):
            note = "at this hour of the week there were not always calls"
        if note:
            yield Sample(labels, span.since, span.until, None, None, note=note)
            continue
        usual = float(median(known))
        values = _values(least_before=float(min(known)), weeks=float(len(known)))
        yield Sample(labels, span.since, span.until, one.seen, usual, 100.0 * one.seen / usual, values)


def feed_silent(found: Iterable[FeedState], now: int) -> Iterator[Sample]:
    """Yield how sure it is that the silence of each feed is not usual at this weekday and hour [%]."""
    states = list(found)
    exchanges = [one.name for one in states if one.kind == "records" and one.is_silent]
    for one in states:
        of_site = one.kind == "site"
        named = (
            {"feed": f"site {one.name}", "site": one.name} if of_site else {"feed": f"{one.source} {one.name}".strip()}
        )
        labels = labelled(named)
        note = UNSAID.get(one.why, "")
        if of_site and one.is_silent and exchanges:
            note = f"records of {exchanges[0]} have stopped coming, and it may be one of its sites"
        if note:
            yield Sample(labels, one.last, now, None, None, note=note)
            continue
        values = _values(silent_s=one.silent_s, expected=one.expected, silent_weeks=float(one.silent_weeks))
        usual = number(round(one.expected or 0.0, 1))
        note = (
            f"silent for {number(round(one.silent_s))} s, in which {usual} records are usual at this hour of the week"
        )
        yield Sample(labels, one.last, now, one.silent_s, one.weeks, 100.0 * one.confidence, values, note=note)


def capture(
    before: Mapping[str, ProcessHealth],
    after: Sequence[ProcessHealth],
    sites: Mapping[str, frozenset[str]],
    span: Span,
) -> Iterator[Sample]:
    """Yield what each collector lost since an earlier reading of its counters; `sites` are those only it measures."""
    for one in after:
        labels = labelled({"collector": one.name or one.host})
        covers = tuple(sorted(sites.get(one.name, ())))
        state = one.state(span.until)
        if state == "ended":
            yield Sample(labels, span.since, span.until, None, None, gone="the collector was stopped in good order")
            continue
        earlier = before.get(process_key(one))
        came = _count(one, "came") - (0 if earlier is None else _count(earlier, "came"))
        lost = _count(one, "lost") - (0 if earlier is None else _count(earlier, "lost"))
        percent = 100.0 * max(0, lost) / max(1, came)
        note = "; ".join(one.problems)
        if state == "silent":
            percent, note = 100.0, f"not heard for {number((span.until - one.at) // NS)} s"
        elif one.problems:
            percent = 100.0
        values = _values(lost=float(max(0, lost)), came=float(max(0, came)))
        numerator, denominator = float(max(0, lost)), float(max(1, came))
        yield Sample(labels, span.since, span.until, numerator, denominator, percent, values, note=note, covers=covers)


def process_key(one: ProcessHealth) -> str:
    """Return what tells one run of a process from another."""
    return f"{one.host} {one.pid} {one.began}"


def _count(one: ProcessHealth, what: str) -> int:
    steps = [step for step in one.steps if step.step in PATH]
    if what == "came":
        return max((step.came for step in steps), default=0)
    return sum(sum(step.lost.values()) for step in steps)


def cost(found: DayCost, span: Span) -> Iterator[Sample]:
    """Yield the outliers of days, by site and measure; 0 where they are like those before."""
    by_label: dict[tuple[str, Measure], list[Outlier]] = {}
    for outlier in found.judgement.outliers:
        if outlier.site is not None:
            by_label.setdefault((outlier.site, outlier.measure), []).append(outlier)
    unjudged = set(found.judgement.unjudged)
    for site in found.sites:
        for measure in Measure:
            labels = labelled({"site": site, "measure": str(measure)})
            if site in unjudged:
                note = "too little is known of the weeks before"
                yield Sample(labels, span.since, span.until, None, None, note=note)
                continue
            outliers = by_label.get((site, measure), [])
            worst = max((one.z for one in outliers), default=0.0)
            note = "; ".join(f"{one.day} {one.part}: z {number(one.z)} over {one.weeks} weeks" for one in outliers)
            count = len(outliers)
            of = 2 * len(found.days)
            yield Sample(labels, span.since, span.until, count, of, count, _values(z=worst), note=note)


def own(labels: Mapping[str, str], bad: bool, note: str, span: Span) -> Sample:
    """Return a sample of this system itself: bad or not."""
    return Sample(labelled(labels), span.since, span.until, float(bad), 1.0, float(bad), note=note)


def _percent(part: float, whole: float) -> float | None:
    return 100.0 * part / whole if whole else None


def _values(**named: float | None) -> tuple[tuple[str, float], ...]:
    return tuple((name, round(value, 4)) for name, value in named.items() if value is not None)
