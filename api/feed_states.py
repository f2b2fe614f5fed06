"""What feeds of call records are silent, asked of a store, and told to people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from zoneinfo import ZoneInfo

from analytics.feeds import NS, FeedState

if TYPE_CHECKING:
    from analytics.store.lake import Lake


class LocalDays(NamedTuple):
    """What hours of the week go by."""

    zone: ZoneInfo
    holidays: frozenset[date]


def local_days(estate: Path | None) -> LocalDays:
    """The estate's zone and holidays; UTC and none without an estate. EstateError where it has a fault."""
    if estate is None:
        return LocalDays(ZoneInfo("UTC"), frozenset())
    from collector.estate.folder import load_estate

    known = load_estate(estate)
    return LocalDays(ZoneInfo(known.settings.timezone), frozenset(known.holidays))


def feed_states(lake: Lake, now: datetime, days: LocalDays) -> list[FeedState]:
    """Judge every feed of a store at `now`."""
    from analytics.feeds import feed_state
    from analytics.store.feed_hours import feed_hours

    return [feed_state(feed, now, days.zone, days.holidays) for feed in feed_hours(lake, now)]


def feeds_of(store: Path, estate: Path | None, now: datetime) -> list[FeedState]:
    """The feeds of a store that may be none yet. StoreError, EstateError."""
    from contextlib import closing

    from analytics.store.lake import Lake

    if not (store / "cdr_rows").is_dir():
        return []
    days = local_days(estate)
    with closing(Lake.open(store)) as lake:
        return feed_states(lake, now, days)


def feed_lines(states: Sequence[FeedState], zone: ZoneInfo = ZoneInfo("UTC")) -> Iterator[str]:  # noqa: B008  # immutable
    """Lines for people: every exchange, and sites that are silent."""
    for one in states:
        if one.kind == "records" or one.is_silent:
            yield feed_line(one, zone)


def feed_line(one: FeedState, zone: ZoneInfo = ZoneInfo("UTC")) -> str:  # noqa: B008  # immutable
    """One feed, for people."""
    named = f"site {one.name}" if one.kind == "site" else f"{one.source} {one.name}".rstrip()
    last = datetime.fromtimestamp(one.last / NS, UTC).astimezone(zone)
    line = f"{named}: {'SILENT since' if one.is_silent else 'last record'} {last:%a %Y-%m-%d %H:%M %Z}"
    if one.is_silent and one.expected is not None:
        line += f", where {one.expected:,.0f} records are usual by now ({one.weeks} weeks; sure to {_sure(one)} %)"
    elif one.why == "too_few_weeks":
        line += f"; {one.weeks} weeks say nothing of what is usual"
    elif one.why == "holiday":
        line += "; today is a holiday"
    return line


def _sure(one: FeedState) -> str:
    return f"{min(100.0 * one.confidence, 99.9):.1f}"
