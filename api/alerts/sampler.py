"""Asks the store what a rule wants to know, at any moment: now, or in the past."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

import duckdb

from analytics.alerts import sampling
from analytics.alerts.facts import NS, Kind, Matcher, Rule, Sample
from analytics.alerts.sampling import Span
from analytics.feeds import WEEK, FeedLimits, FeedState, feed_state
from analytics.health import ProcessHealth, read_health
from analytics.questions import watching, watching_past
from analytics.store.feed_hours import feed_hours, feed_hours_at
from analytics.store.schema import USAGE
from analytics.store.settings import StoreError

if TYPE_CHECKING:
    from analytics.sites import Estate
    from analytics.store.lake import Lake

HISTORIC: Final = frozenset(
    {Kind.SITE_POOR, Kind.PAIR_POOR, Kind.SITE_LOSS, Kind.SITE_JITTER, Kind.ONE_WAY, Kind.SETUP_FAILURES,
     Kind.TRUNK_FAILURES, Kind.NO_TRAFFIC, Kind.FEED_SILENT, Kind.COST}
)  # fmt: skip
"""Kinds that can be asked of the past: of the others the store keeps no history."""
READING_S: Final = 5.0
"""Least time between two readings of the processes' health that are kept [s]."""
COVER_S: Final = 86_400.0
"""How far it is looked back for what a collector measured [s]."""
COVERS_EVERY_S: Final = 300.0
LAST_EVERY_S: Final = 60.0


class SampleError(Exception):
    """A rule could not be asked; the message is one sentence."""


@contextmanager
def _said() -> Iterator[None]:
    """Say what is wrong with the store as SampleError."""
    try:
        yield
    except StoreError as error:
        raise SampleError(str(error)) from error
    except (duckdb.Error, OSError) as error:
        raise SampleError(f"the store cannot be read: {str(error).strip().partition(chr(10))[0]}") from error


class Sampler:
    """Answers of the store as samples."""

    def __init__(
        self, lake: Lake, estate: Callable[[], Estate | None], savings: Callable[[int], Sample] | None
    ) -> None:
        """`savings` gives the sample of the savings claim at a moment, where there is an estate to ask it of."""
        self._lake = lake
        self._estate = estate
        self._savings = savings
        self._readings: deque[tuple[int, Mapping[str, ProcessHealth]]] = deque()
        self._covers: Mapping[str, frozenset[str]] = {}
        self._covers_at: int | None = None
        self._cost_of: tuple[tuple[datetime, int | None], watching.DayCost] | None = None
        self._newest: dict[tuple[float, int], tuple[int, watching.HeardNow]] = {}
        self._asked: dict[tuple[str, int, int], object] = {}
        self._ahead: dict[tuple[object, ...], Any] = {}

    def ahead(self, rule: Rule, moments: Sequence[int]) -> None:
        """Ask at once what a rule will ask at these moments [ns], in order of time; SampleError."""
        if not moments:
            return
        with _said():
            self._ahead.update(self._asked_ahead(rule, [_moment(one) for one in moments]))

    def forget(self) -> None:
        """Forget what was asked ahead."""
        self._ahead.clear()

    def _asked_ahead(self, rule: Rule, moments: Sequence[datetime]) -> Iterator[tuple[tuple[object, ...], object]]:
        lake, window = self._lake, timedelta(seconds=rule.window_s)
        longest, most = timedelta(seconds=max(rule.window_s, rule.longest_s)), max(1, round(rule.minimum))
        match rule.kind:
            case Kind.SITE_POOR | Kind.PAIR_POOR | Kind.SITE_LOSS | Kind.SITE_JITTER:
                missing = [one for one in moments if ("heard", one, window) not in self._ahead]
                if missing:
                    for at, heard in watching_past.heard_at(lake, missing, window).items():
                        yield ("heard", at, window), heard
                for number in _newest(rule) if rule.longest_s else ():
                    if ("last", moments[0], longest, number) not in self._ahead:
                        for at, heard in watching_past.heard_last_at(lake, moments, longest, number).items():
                            yield ("last", at, longest, number), heard
            case Kind.ONE_WAY | Kind.SETUP_FAILURES:
                for at, ended in watching_past.ended_at(lake, moments, window).items():
                    yield ("ended", at, window), ended
            case Kind.TRUNK_FAILURES:
                for at, gateways in watching_past.gateways_at(lake, moments, window, longest, most).items():
                    yield ("gateways", at, window, longest, most), gateways
            case Kind.FEED_SILENT:
                limits = _feed_limits(rule)
                for at, feeds in feed_hours_at(lake, moments, limits).items():
                    yield ("feeds", at, limits), feeds
            case Kind.NO_TRAFFIC:
                for at, traffic in watching_past.traffic_at(lake, moments, window, self._zone()).items():
                    yield ("traffic", at, window), traffic

    def samples(self, rule: Rule, now: int) -> list[Sample]:
        """Return the samples of a rule at a moment [ns]; SampleError where the store cannot say."""
        span = Span(now - round(rule.window_s * NS), now)
        with _said():
            found = list(self._of(rule, span))
        only = Matcher(rule.only)
        return [one for one in found if only.fits(dict(one.labels))]

    def _of(self, rule: Rule, span: Span) -> Iterator[Sample]:
        since, until = _moment(span.since), _moment(span.until)
        lake, zone = self._lake, self._zone()
        match rule.kind:
            case Kind.SITE_POOR:
                now = sampling.site_poor(self._heard(span), span)
                last, half = (sampling.site_poor(heard, span) for heard in self._lasts(rule, span))
                yield from sampling.enough(now, sampling.soonest(last, half, rule.raise_at), rule.minimum)
            case Kind.PAIR_POOR:
                now = sampling.pair_poor(self._heard(span), span)
                last, half = (sampling.pair_poor(heard, span) for heard in self._lasts(rule, span))
                yield from sampling.enough(now, sampling.soonest(last, half, rule.raise_at), rule.minimum)
            case Kind.SITE_LOSS:
                yield from sampling.site_loss(self._heard(span), span)
            case Kind.SITE_JITTER:
                yield from sampling.site_jitter(self._heard(span), span)
            case Kind.ONE_WAY:
                yield from sampling.one_way(self._ended(since, until), span)
            case Kind.SETUP_FAILURES:
                yield from sampling.setup_failures(self._ended(since, until), span)
            case Kind.TRUNK_FAILURES:
                yield from sampling.trunk_failures(self._gateways(rule, since, until), span)
            case Kind.NO_TRAFFIC:
                found = self._ahead.get(("traffic", until, until - since)) or watching.traffic_now(
                    lake, since, until, zone
                )
                yield from sampling.no_traffic(found, span, self._holiday(until, zone))
            case Kind.FEED_SILENT:
                yield from sampling.feed_silent(self._feeds(rule, until, zone), span.until)
            case Kind.CAPTURE:
                yield from self._capture(span)
            case Kind.COST:
                yield from self._cost(until, zone)
            case Kind.SAVINGS:
                if self._savings is not None and self._estate() is not None:
                    yield self._savings(span.until)
            case Kind.EVALUATION | Kind.DELIVERY:
                return

    def _ended(self, since: datetime, until: datetime) -> tuple[watching.Ended, ...]:
        known = self._ahead.get(("ended", until, until - since))
        return watching.ended_calls(self._lake, since, until) if known is None else known

    def _gateways(self, rule: Rule, since: datetime, until: datetime) -> tuple[watching.Gateway, ...]:
        longest, most = timedelta(seconds=max(rule.window_s, rule.longest_s)), max(1, round(rule.minimum))
        known = self._ahead.get(("gateways", until, until - since, longest, most))
        return watching.gateways_now(self._lake, since, until, until - longest, most) if known is None else known

    def _heard(self, span: Span) -> watching.HeardNow:
        """Several rules of one moment ask the same."""
        since, until = _moment(span.since), _moment(span.until)
        known: watching.HeardNow | None = self._ahead.get(("heard", until, until - since))
        if known is not None:
            return known
        key = ("heard", span.since, span.until)
        found = self._asked.get(key)
        if isinstance(found, watching.HeardNow):
            return found
        if any(until != span.until for _, _, until in self._asked):
            self._asked.clear()
        made = watching.heard_now(self._lake, _moment(span.since), _moment(span.until))
        self._asked[key] = made
        return made

    def _lasts(self, rule: Rule, span: Span) -> tuple[watching.HeardNow, watching.HeardNow]:
        """The newest calls of a longer time, and the newest half of them."""
        whole, half = _newest(rule)
        return self._last(rule, span, whole), self._last(rule, span, half)

    def _last(self, rule: Rule, span: Span, most: int) -> watching.HeardNow:
        """The newest calls of a longer time, for sites that have few; asked once a minute."""
        if not rule.longest_s:
            return watching.HeardNow((), ())
        longest = timedelta(seconds=max(rule.window_s, rule.longest_s))
        ahead: watching.HeardNow | None = self._ahead.get(("last", _moment(span.until), longest, most))
        if ahead is not None:
            return ahead
        key = (rule.longest_s, most)
        known = self._newest.get(key)
        if known is None or not 0 <= span.until - known[0] < LAST_EVERY_S * NS:
            since = _moment(span.until - round(rule.longest_s * NS))
            known = span.until, watching.heard_last(self._lake, since, _moment(span.until), most)
            self._newest[key] = known
        return known[1]

    def sites(self, now: int) -> frozenset[str] | None:
        """Return the sites that the estate names on the day of a moment [ns]; None where there is no estate."""
        estate = self._estate()
        if estate is None or not estate.sites:
            return None
        day = _moment(now).astimezone(ZoneInfo(estate.settings.timezone)).date()
        return frozenset(one.site for one in estate.sites if one.valid.holds(day))

    def _zone(self) -> str:
        estate = self._estate()
        return "Europe/London" if estate is None else estate.settings.timezone

    def _holiday(self, at: datetime, zone: str) -> bool:
        estate = self._estate()
        return estate is not None and at.astimezone(ZoneInfo(zone)).date() in estate.holidays

    def _feeds(self, rule: Rule, until: datetime, zone: str) -> list[FeedState]:
        """How feeds of call records are; as many weeks are looked at as the rule's window holds."""
        estate = self._estate()
        limits = _feed_limits(rule)
        holidays = frozenset() if estate is None else frozenset(estate.holidays)
        known = self._ahead.get(("feeds", until, limits))
        feeds = feed_hours(self._lake, until, limits) if known is None else known
        return [feed_state(feed, until, ZoneInfo(zone), holidays, limits) for feed in feeds]

    def _capture(self, span: Span) -> Iterator[Sample]:
        found, _ = read_health(self._lake.root)
        collectors = [one for one in found if one.command == "collect"]
        now = {sampling.process_key(one): one for one in collectors}
        while len(self._readings) > 1 and self._readings[1][0] <= span.since:
            self._readings.popleft()
        before = self._readings[0][1] if self._readings else {}
        if not self._readings or span.until - self._readings[-1][0] >= READING_S * NS:
            self._readings.append((span.until, now))
        newest = {(one.host, one.name): one for one in sorted(collectors, key=lambda one: one.began)}
        # A process met for the first time is measured from here on: what it lost before is not of this window.
        yield from sampling.capture({**now, **before}, list(newest.values()), self._covering(span.until), span)

    def _covering(self, now: int) -> Mapping[str, frozenset[str]]:
        if self._covers_at is None or now - self._covers_at >= COVERS_EVERY_S * NS:
            self._covers_at = now
            since = _moment(now - round(COVER_S * NS))
            self._covers = watching.sources_of_sites(self._lake, since, _moment(now))
        return self._covers

    def _cost(self, until: datetime, zone: str) -> Iterator[Sample]:
        estate = self._estate()
        if estate is None:
            return
        # Yesterday, and today as far as it is known: who waits for its end is told of a fraud a day late.
        today = until.astimezone(ZoneInfo(zone)).date()
        days = (today - timedelta(days=1), today)
        begin = datetime(days[0].year, days[0].month, days[0].day, tzinfo=ZoneInfo(zone))
        span = Span(round(begin.timestamp()) * NS, round(until.timestamp()) * NS)
        # A day changes only when lines of usage come.
        key = (until.replace(minute=0, second=0, microsecond=0), self._lake.version(USAGE.name))
        if self._cost_of is None or self._cost_of[0] != key:
            self._cost_of = key, watching.day_cost(self._lake, estate, days, until)
        yield from sampling.cost(self._cost_of[1], span)


def _newest(rule: Rule) -> tuple[int, int]:
    """How many of the newest calls are looked at where a window holds too few, and half of them."""
    whole = max(1, round(rule.minimum))
    return whole, max(1, whole // 2)


def _feed_limits(rule: Rule) -> FeedLimits:
    weeks, least = max(1, round(rule.window_s / WEEK.total_seconds())), max(1, round(rule.minimum))
    return FeedLimits(weeks=weeks, least_weeks=least)


def _moment(at: int) -> datetime:
    return datetime.fromtimestamp(at // NS, UTC) + timedelta(microseconds=at % NS // 1_000)
