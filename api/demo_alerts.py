"""Alerts of the demonstration's past: what the rules say of its faults, as if somebody had looked at that time.

Only around each fault, and only the rules that are about its kind: whoever looks at the rest of the past with
`callgauge alerts test` may find more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo

from analytics.alerts.facts import NS, Change, Kind, Labels
from analytics.alerts.rules import DEFAULTS
from analytics.sites import Estate
from analytics.store.lake import Lake
from api.alerts.book import Book
from api.alerts.history import Seen, keep_past, replayed
from api.alerts.sampler import Sampler
from collector.simulator.faults import Fault, FaultKind, faults_of

KINDS: Final[Mapping[FaultKind, Kind]] = MappingProxyType(
    {
        FaultKind.CONGESTED_WAN: Kind.SITE_POOR,
        FaultKind.DEAD_TRUNK: Kind.TRUNK_FAILURES,
        FaultKind.ONE_WAY_NAT: Kind.ONE_WAY,
        FaultKind.TOLL_FRAUD: Kind.COST,
    }
)
"""What is asked around a fault."""
OLDEST: Final = timedelta(days=7)
BEFORE, AFTER = timedelta(minutes=10), timedelta(hours=2)
"""How long before a fault begins, and after it ends, it is looked."""
LONGEST: Final = timedelta(hours=4)
"""Of a fault that goes on for days, its begin and what it is now."""
STEP_S: Final = 60.0


def keep_alerts(store: Path, estate: Estate, now: datetime) -> int:
    """Put the past of the alerts down; return how many changes that are. StoreError, SampleError."""
    zone = estate.settings.timezone
    recent = [fault for fault in faults_of(now, zone) if fault.until > (now - OLDEST).timestamp()]
    states: dict[tuple[str, Labels], Seen] = {}
    changes: list[Change] = []
    with closing(Lake.open(store)) as lake, closing(Book.open(store)) as book:
        sampler = Sampler(lake, lambda: estate, None)
        for kind, asks in KINDS.items():
            rules = [rule for rule in DEFAULTS if rule.kind is asks]
            of_kind: dict[tuple[str, Labels], Seen] = {}
            for since, until in _spans([fault for fault in recent if fault.kind is kind], now, zone):
                span = round(since.timestamp()) * NS, round(until.timestamp()) * NS
                changes += replayed(sampler, rules, *span, STEP_S, of_kind)
            states |= of_kind
        return keep_past(book, changes, states, round(now.timestamp()) * NS)


def _spans(faults: Sequence[Fault], now: datetime, zone: str) -> list[tuple[datetime, datetime]]:
    """When it is looked: spans in order of time, none over another."""
    found: list[tuple[datetime, datetime]] = []
    for since, until in sorted(span for fault in faults for span in _around(fault, zone)):
        until = min(until, now)
        if since >= until:
            continue
        if found and since <= found[-1][1]:
            found[-1] = (found[-1][0], max(until, found[-1][1]))
        else:
            found.append((since, until))
    return found


def _around(fault: Fault, zone: str) -> Iterator[tuple[datetime, datetime]]:
    since, until = (datetime.fromtimestamp(at, UTC) for at in (fault.since, fault.until))
    yield since - BEFORE, min(since + LONGEST, until + AFTER)
    yield max(since - BEFORE, until - BEFORE), until + AFTER
    if fault.kind is FaultKind.TOLL_FRAUD:
        # A day's cost is judged until the end of the next one.
        day = since.astimezone(ZoneInfo(zone)).date() + timedelta(days=2)
        over = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).astimezone(UTC)
        yield over, over + timedelta(minutes=15)
