"""Rates one call in fractions, straight from what docs/tariffs.md says; shares no code with the rater.

A tariff here is a list of versions of plain tuples and times are found by `zoneinfo` alone. The charged seconds are
walked from minute to minute of the clock, for neither bands nor days nor offsets of today's zones change within one.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import NamedTuple
from zoneinfo import ZoneInfo

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Row(NamedTuple):
    prefix: str
    number_class: str
    band: str
    connection: Fraction
    minute: Fraction
    service_minute: Fraction
    service_call: Fraction
    minimum: int
    first: int
    following: int
    cap: Fraction | None


class Band(NamedTuple):
    name: str
    days: tuple[str, ...]
    begin: str
    end: str


class Version(NamedTuple):
    valid_from: date
    rows: list[Row]
    bands: list[Band]
    splits_bands: bool
    splits_tariffs: bool
    has_holidays: bool


class Priced(NamedTuple):
    version: int
    row: int
    seconds: int
    segments: int
    cost: Fraction


class Rated(NamedTuple):
    """Band and row of one second."""

    version: int
    band: str
    row: int


def version_at(versions: list[Version], when: datetime) -> int | None:
    begun = [index for index, version in enumerate(versions) if version.valid_from <= when.date()]
    return begun[-1] if begun else None


def band_at(version: Version, when: datetime, holidays: frozenset[date]) -> str | None:
    is_holiday = version.has_holidays and when.date() in holidays
    day = "holiday" if is_holiday else DAYS[when.weekday()]
    clock = f"{when.hour:02}:{when.minute:02}"
    for band in version.bands:
        if day in band.days and band.begin <= clock < band.end:
            return band.name
    return None


def row_of(version: Version, band: str, number_class: str, number: str) -> int | None:
    best: tuple[int, int, int] | None = None
    chosen = None
    for index, row in enumerate(version.rows):
        if row.band and row.band != band:
            continue
        if row.number_class and row.number_class != number_class:
            continue
        if row.prefix:
            if not number.lstrip("+").startswith(row.prefix):
                continue
            if not number.startswith("+") and not row.number_class:
                continue
        rank = (len(row.prefix), 1 if row.number_class else 0, 1 if row.band else 0)
        if best is None or rank > best:
            best, chosen = rank, index
    return chosen


def charged_seconds(row: Row, seconds: int) -> int:
    if seconds == 0:
        return 0
    charged = row.first
    while charged < seconds or charged < row.minimum:
        charged += row.following
    return charged


def price(
    versions: list[Version],
    zone: ZoneInfo,
    holidays: frozenset[date],
    start: int,
    seconds: int,
    number_class: str,
    number: str,
) -> Priced | None:
    """Price of a call; None where it has none."""
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    begun = version_at(versions, (epoch + timedelta(seconds=start)).astimezone(zone))
    if begun is None:
        return None
    own = versions[begun]

    def look(index: int, before: Rated | None) -> Rated | None:
        when = (epoch + timedelta(seconds=start + index)).astimezone(zone)
        version = version_at(versions, when) if own.splits_tariffs else begun
        if version is None:
            return None
        band: str | None
        if before is None or own.splits_bands or version != before.version:
            band = band_at(versions[version], when, holidays)
        else:
            band = before.band
        if before is not None and (version, band) == before[:2]:
            return before
        row = None if band is None else row_of(versions[version], band, number_class, number)
        return None if band is None or row is None else Rated(version, band, row)

    first = look(0, None)
    if first is None:
        return None
    terms = versions[first.version].rows[first.row]
    charged = charged_seconds(terms, seconds)
    if not charged:
        return Priced(first.version, first.row, 0, 0, Fraction(0))
    cost = terms.connection + terms.service_call
    segments, index = 0, 0
    at: Rated | None = None
    while index < charged:
        found = look(index, at)
        if found is None:
            return None
        segments += found is not at
        at = found
        until = min(charged, index + 60 - (start + index) % 60)
        used = versions[at.version].rows[at.row]
        cost += (used.minute + used.service_minute) * Fraction(until - index, 60)
        index = until
    return Priced(first.version, first.row, charged, segments, cost if terms.cap is None else min(cost, terms.cap))
