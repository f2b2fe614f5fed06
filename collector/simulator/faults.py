"""What goes wrong in the invented county, where and when: faults that come and go, all known beforehand.

Times follow from the moment that the simulation ends at, so that a demonstration has something to show on any day.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo


class FaultKind(StrEnum):
    """What is wrong."""

    CONGESTED_WAN = "congested_wan"
    """Packets from and to the site are lost and late."""
    DEAD_TRUNK = "dead_trunk"
    """Calls through the trunk fail (Q.850 cause 38)."""
    ONE_WAY_NAT = "one_way_nat"
    """Nothing that is sent to the site arrives."""
    MISMARKED_DSCP = "mismarked_dscp"
    """The site's telephones send voice as best effort, which suffers at busy hours."""
    TOLL_FRAUD = "toll_fraud"
    """Someone calls premium numbers from the site by night."""


CONGESTED_SITE, ONE_WAY_SITE, MISMARKED_SITE, FRAUD_SITE = "O17", "O31", "S09", "O44"
DEAD_TRUNK = "SIP-TRUNK-SOUTH"
BUSY = (time(13, 0), time(15, 30))
"""Local hours of working days in which the line of the congested site is too small."""
CONGESTED_WEEKS, ONE_WAY_DAYS, MISMARKED_DAYS = 6, 2, 20


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of one place."""

    kind: FaultKind
    place: str
    """Site, or device of a trunk."""
    since: int
    """[s since the epoch]."""
    until: int
    """End, not included [s since the epoch]."""

    def holds(self, at: int) -> bool:
        """Whether it is there at a moment [s since the epoch]."""
        return self.since <= at < self.until


def faults_of(end: datetime, zone: str) -> tuple[Fault, ...]:
    """Return the faults of a simulation that ends at a moment, in order of time."""
    local = ZoneInfo(zone)
    today = end.astimezone(local).date()
    at = int(end.timestamp())
    found = list(_congested(today, local))
    outage = _moment(_working_day_before(today), time(10, 10), local)
    found.append(Fault(FaultKind.DEAD_TRUNK, DEAD_TRUNK, outage, outage + 40 * 60))
    first = _moment(today - timedelta(days=ONE_WAY_DAYS), time(9), local)
    found.append(Fault(FaultKind.ONE_WAY_NAT, ONE_WAY_SITE, first, at))
    changed = _moment(today - timedelta(days=MISMARKED_DAYS), time(18), local)
    found.append(Fault(FaultKind.MISMARKED_DSCP, MISMARKED_SITE, changed, at))
    night = _moment(_saturday_before(today), time(1, 30), local)
    found.append(Fault(FaultKind.TOLL_FRAUD, FRAUD_SITE, night, night + 3 * 3_600))
    return tuple(sorted((fault for fault in found if fault.since < at), key=lambda fault: (fault.since, fault.place)))


def _congested(today: date, local: ZoneInfo) -> Iterator[Fault]:
    """The busy hours of Mondays to Fridays."""
    for ago in range(7 * CONGESTED_WEEKS + 1):
        day = today - timedelta(days=ago)
        if day.weekday() < 5:
            yield Fault(FaultKind.CONGESTED_WAN, CONGESTED_SITE, *(_moment(day, clock, local) for clock in BUSY))


def _working_day_before(day: date) -> date:
    day -= timedelta(days=1)
    while day.weekday() >= 5:
        day -= timedelta(days=1)
    return day


def _saturday_before(day: date) -> date:
    return day - timedelta(days=(day.weekday() - 5) % 7 or 7)


def _moment(day: date, clock: time, local: ZoneInfo) -> int:
    return int(datetime.combine(day, clock, local).astimezone(UTC).timestamp())


def fault_of(faults: Sequence[Fault], kind: FaultKind, at: int) -> Fault | None:
    """Return the fault of a kind that is there at a moment [s since the epoch], if any."""
    return next((fault for fault in faults if fault.kind is kind and fault.holds(at)), None)
