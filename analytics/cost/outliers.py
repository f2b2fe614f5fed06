"""Days on which a site differs from its own past: sudden international minutes, premium-rate calls out of hours.

Each day is compared with the same weekday of the weeks before it, at the same part of the day, by the robust z score
0.6745 (x - median) / MAD (Iglewicz and Hoaglin, 1993): one wild day in the past moves neither median nor MAD. Where
more than half of the past days are alike, MAD is 0 and the 90th percentile of the deviations takes its place, so that
calls on some days are usual. The divisor has a floor. Too short a past is said, never guessed from.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple
from zoneinfo import ZoneInfo

from analytics.cost.money import to_atoms

LEAST_WEEKS = 8
"""Same weekdays with records that a judgement needs."""
MOST_WEEKS = 26
"""Weeks that are looked back."""
HIGHEST_Z = 6.0
"""Robust z from which a day is an outlier: far beyond the 3.5 that is usual, since hundreds of days are looked at."""
TO_SIGMA = 0.6745
"""MAD of a normal distribution over its standard deviation."""


class Measure(StrEnum):
    """What is watched."""

    INTERNATIONAL = "international minutes"
    PREMIUM = "premium-rate cost"


CLASSES: Mapping[Measure, frozenset[str]] = {
    Measure.INTERNATIONAL: frozenset({"international"}),
    Measure.PREMIUM: frozenset(
        {"premium_09", "service_087", "directory_118", "personal_070", "premium", "personal", "shared_cost"}
    ),
}
"""Classes of numbers that a measure adds up."""

LEAST: Mapping[Measure, int] = {Measure.INTERNATIONAL: 10 * 60, Measure.PREMIUM: to_atoms(Decimal(2))}
"""Less than this in a day is never an outlier [s; atoms]."""
FLOOR: Mapping[Measure, int] = {Measure.INTERNATIONAL: 60, Measure.PREMIUM: to_atoms(Decimal("0.20"))}
"""Lowest MAD [s; atoms]."""


class Part(StrEnum):
    """Part of the day."""

    IN_HOURS = "in hours"
    """Monday to Friday, 07:00 to 19:00 on the estate's clock, and no holiday."""
    OUT_OF_HOURS = "out of hours"


class HourSum(NamedTuple):
    """One class of calls of a site in one hour."""

    site: str | None
    number_class: str
    hour: datetime
    """Begin, UTC."""
    lines: int
    seconds: int
    atoms: int
    """Exact price today."""


class Past(NamedTuple):
    """What is known of a site's past."""

    first_day: date | None
    """First local day with records of the site; None where there are none."""


class Outlier(NamedTuple):
    """A day that stands out."""

    site: str | None
    day: date
    part: Part
    measure: Measure
    value: int
    """Talk time [s], or price today [atoms]."""
    usual: int
    """Median of the same weekdays before."""
    z: float
    weeks: int
    lines: int


class Judgement(NamedTuple):
    """What was found, and where there was too little past to find anything."""

    outliers: tuple[Outlier, ...]
    too_short: tuple[str | None, ...]
    """Sites with a day to judge before which fewer than `LEAST_WEEKS` such weekdays are known."""
    unjudged: tuple[str | None, ...] = ()
    """Those of them without a day that could be judged."""


Key = tuple[str | None, Measure, Part]


def part_of(local: datetime, holidays: Collection[date]) -> Part:
    """Which part of the day a local time is in."""
    office = local.weekday() < 5 and 7 <= local.hour < 19 and local.date() not in holidays
    return Part.IN_HOURS if office else Part.OUT_OF_HOURS


def middle(values: Collection[int]) -> int:
    """Median; between two, their mean cut down. ValueError where there is none."""
    if not values:
        raise ValueError("there is no past to compare with")
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) // 2


def robust_z(value: int, past: Collection[int], floor: int) -> float:
    """Return 0.6745 (value - median) / spread, the spread not below a floor; ValueError for an empty past."""
    usual = middle(past)
    deviations = sorted(abs(one - usual) for one in past)
    # Nearest rank: of 8 past days the wildest counts, of 11 or more it does not.
    spread = middle(deviations) or deviations[-(-len(deviations) * 9 // 10) - 1]
    return TO_SIGMA * (value - usual) / max(spread, floor)


def judge(
    sums: Iterable[HourSum],
    days: Collection[date],
    recorded: Collection[date],
    pasts: Mapping[str | None, Past],
    zone: str,
    holidays: Collection[date] = frozenset(),
) -> Judgement:
    """Judge local days by the weeks before each.

    `recorded` are the local days that hold any records: on those a site without such calls has 0, on others nothing
    is known of it.
    """
    local = ZoneInfo(zone)
    values: dict[Key, dict[date, int]] = defaultdict(lambda: defaultdict(int))
    lines: dict[tuple[Key, date], int] = defaultdict(int)
    for one in sums:
        at = one.hour.astimezone(local)
        for measure, classes in CLASSES.items():
            if one.number_class in classes:
                key = (one.site, measure, part_of(at, holidays))
                values[key][at.date()] += one.seconds if measure is Measure.INTERNATIONAL else one.atoms
                lines[key, at.date()] += one.lines
    found = []
    too_short, unjudged = _too_short(days, recorded, pasts)
    for key, by_day in values.items():
        for day in sorted(set(by_day) & set(days)):
            if by_day[day] < LEAST[key[1]]:
                continue
            past = _past(by_day, day, recorded, pasts.get(key[0], Past(None)).first_day)
            if len(past) < LEAST_WEEKS:
                too_short.add(key[0])
                continue
            z = robust_z(by_day[day], past, FLOOR[key[1]])
            if z >= HIGHEST_Z:
                found.append(_outlier(key, day, by_day[day], past, z, lines[key, day]))
    found.sort(key=lambda one: (-one.z, one.day, one.site or "", one.measure, one.part))
    return Judgement(tuple(found), _in_order(too_short), _in_order(unjudged))


def _in_order(sites: Iterable[str | None]) -> tuple[str | None, ...]:
    return tuple(sorted(sites, key=lambda site: site or ""))


def _too_short(
    days: Collection[date], recorded: Collection[date], pasts: Mapping[str | None, Past]
) -> tuple[set[str | None], set[str | None]]:
    """Sites that were there on a recorded day before which too few such weekdays are known, and those without other."""
    seen: dict[date, tuple[bool, bool]] = {}
    there = sorted(set(days) & set(recorded))
    some, all_ = set(), set()
    for site, past in pasts.items():
        first = past.first_day
        if first is None:
            some.add(site)
            all_.add(site)
            continue
        if first not in seen:
            short = [len(_past({}, day, recorded, first)) < LEAST_WEEKS for day in there if day >= first]
            seen[first] = any(short), bool(short) and all(short)
        some |= {site} if seen[first][0] else set()
        all_ |= {site} if seen[first][1] else set()
    return some, all_


def _past(by_day: Mapping[date, int], day: date, recorded: Collection[date], first: date | None) -> list[int]:
    """Values of the same weekday before a day, 0 where the site was there and had none."""
    before = (day - timedelta(weeks=week) for week in range(1, MOST_WEEKS + 1))
    return [by_day.get(one, 0) for one in before if one in recorded and first is not None and first <= one]


def _outlier(key: Key, day: date, value: int, past: list[int], z: float, lines: int) -> Outlier:
    site, measure, part = key
    return Outlier(site, day, part, measure, value, middle(past), z, len(past), lines)
