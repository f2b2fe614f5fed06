"""Feeds of call records that fall silent: what is usual at this weekday and hour, and how sure it is that this is not.

A feed is silent since its newest record. The same stretch of the week, shifted back week by week in local time, says
how many records are usual in it: the median of the weeks, so that a holiday or an outage among them moves nothing.
How sure it is that the silence is not usual is told by the chance that each of those weeks had of it: calls come in
bunches, of 2 on average, and leave gaps by chance (Poisson); of six weeks or more the quietest is left out. Local days
that are holidays, now or then, are left out where the estate names them; a holiday that it does not name looks like a
silence for as long as it lasts. A feed that is gone for good is told for some weeks, until its past is too short.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from statistics import median
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

WEEK: Final = timedelta(days=7)
DAY: Final = timedelta(days=1)
HOUR_S: Final = 3_600
BUNCH: Final = 2.0
"""Records that come together, as transfers and retries do: so many count as one for chance."""
FORGIVEN_OF: Final = 6
"""Of so many weeks one may have been silent: an outage, a holiday that nobody named."""
NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class FeedLimits:
    """When a feed is said to be silent."""

    weeks: int = 8
    """Weeks of the past that are looked at."""
    least_weeks: int = 3
    """Fewer say nothing of what is usual."""
    confidence: float = 0.99
    """How sure it must be, from 0 to 1."""
    grace_minutes: float = 15.0
    """Records of calls that ended so lately may still be on their way [min]."""

    @property
    def span(self) -> timedelta:
        """How far back records are needed."""
        return (self.weeks + 1) * WEEK


class FeedHours(NamedTuple):
    """What came of a feed hour by hour, by the end of the calls."""

    kind: str
    """`records`: an exchange's; `site`: calls of a site, from all of them."""
    source: str
    """Format of the records; empty for a site."""
    name: str
    """Cluster or exchange, or site."""
    first: datetime
    last: datetime
    hours: Mapping[int, int]
    """Records by hours since 1970 (UTC)."""


@dataclass(frozen=True, slots=True)
class FeedState:
    """A feed now."""

    kind: str
    source: str
    name: str
    last: int
    """End of the call of its newest record [ns since 1970]."""
    silent_s: float
    """How long ago that is [s]."""
    expected: float | None
    """Records that are usual from then on up to now; None where that cannot be said."""
    weeks: int
    """Weeks that say so."""
    silent_weeks: int
    """Of these, those that were silent, too."""
    confidence: float
    """How sure it is that this silence is not usual, from 0 to 1."""
    why: str
    """`silent`, `heard`, or why nothing can be said: `too_few_weeks`, `holiday`."""

    @property
    def is_silent(self) -> bool:
        """Whether it should have been heard."""
        return self.why == "silent"


def feed_state(
    feed: FeedHours,
    now: datetime,
    zone: ZoneInfo,
    holidays: Collection[date] = (),
    limits: FeedLimits = FeedLimits(),  # immutable
) -> FeedState:
    """Judge one feed at `now`."""
    until = now - timedelta(minutes=limits.grace_minutes)
    last = int(feed.last.timestamp() * 1e6) * 1_000
    silent_s = max(0.0, (now - feed.last).total_seconds())

    def state(why: str, expected: float | None = None, past: Sequence[float] = (), sure: float = 0.0) -> FeedState:
        silent = sum(count == 0 for count in past)
        return FeedState(feed.kind, feed.source, feed.name, last, silent_s, expected, len(past), silent, sure, why)

    if until <= feed.last:
        return state("heard", 0.0)
    pieces = list(_pieces(max(feed.last, until - WEEK), until, zone, holidays))
    if not pieces:
        return state("holiday")
    past = list(_past(feed, pieces, now - limits.span, zone, holidays, limits.weeks))
    if len(past) < limits.least_weeks:
        return state("too_few_weeks", None, past)
    expected = float(median(past))
    believed = sorted(past)[int(len(past) >= FORGIVEN_OF) :]
    sure = 1.0 - sum(math.exp(-count / BUNCH) for count in believed) / len(believed)
    return state("silent" if sure >= limits.confidence else "heard", expected, past, sure)


def _pieces(
    since: datetime, until: datetime, zone: ZoneInfo, holidays: Collection[date]
) -> Iterator[tuple[datetime, datetime]]:
    """A stretch of time by local days without its holidays: local times that name no zone."""
    begin, end = (moment.astimezone(zone).replace(tzinfo=None) for moment in (since, until))
    while begin < end:
        midnight = datetime.combine(begin.date() + DAY, time())
        if begin.date() not in holidays:
            yield begin, min(midnight, end)
        begin = midnight


def _past(
    feed: FeedHours,
    pieces: Sequence[tuple[datetime, datetime]],
    horizon: datetime,
    zone: ZoneInfo,
    holidays: Collection[date],
    weeks: int,
) -> Iterator[float]:
    """Records in the same pieces of the weeks before the silence; weeks that say nothing are passed over."""
    known_from = max(horizon, feed.first)
    for back in range(1, weeks + 1):
        moved = [(begin - back * WEEK, end - back * WEEK) for begin, end in pieces]
        spans = [(_utc(begin, zone), _utc(end, zone)) for begin, end in moved]
        # Weeks of the silence itself are no past of it.
        if spans[-1][1] > feed.last or spans[0][0] < known_from or any(begin.date() in holidays for begin, _ in moved):
            continue
        yield sum(_count(feed.hours, begin, end) for begin, end in spans)


def _utc(local: datetime, zone: ZoneInfo) -> datetime:
    return local.replace(tzinfo=zone).astimezone(UTC)


def _count(hours: Mapping[int, int], begin: datetime, end: datetime) -> float:
    """Records between two moments, those of an hour spread evenly over it."""
    first, last = begin.timestamp(), end.timestamp()
    found = 0.0
    for hour in range(int(first // HOUR_S), math.ceil(last / HOUR_S)):
        inside = min(last, (hour + 1) * HOUR_S) - max(first, hour * HOUR_S)
        found += hours.get(hour, 0) * inside / HOUR_S
    return found
