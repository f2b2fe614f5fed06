"""Sums of usage lines for reports: typed rows, exact atoms, no person.

Sums are by month of billing, site that pays, kind and class; they add up to what the lake holds. Excluded lines
(recording, consultation, conference legs) are counted apart and never summed in. Unanswered attempts and calls of no
whole second are lines without seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from analytics.cost.months import first_day, last_day

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True, slots=True)
class UsageSum:
    """Lines of one month, site, kind and class."""

    month: int
    """yyyymm in the estate's zone."""
    site: str | None
    """None: not attributed."""
    kind: str
    number_class: str | None
    """None: inbound."""
    lines: int
    """Legs; a transferred call may have several."""
    answered: int
    seconds: int
    ip_atoms: int
    """Exact price today of the lines that have one."""
    ip_seconds: int
    legacy_atoms: int
    legacy_seconds: int
    legacy_chargeable_seconds: int
    """Talk seconds, as they were, of the lines that the legacy tariff puts a price on."""
    ip_unrated_lines: int
    """Lines that should have a price and have none."""
    ip_unrated_seconds: int
    legacy_unrated_lines: int
    legacy_unrated_seconds: int


@dataclass(frozen=True, slots=True)
class UnratedSum:
    """Lines without a price, by reason."""

    month: int
    site: str | None
    tariff: str
    """`ip` or `legacy`."""
    reason: str
    number_class: str | None
    lines: int
    seconds: int


@dataclass(frozen=True, slots=True)
class ExcludedSum:
    """Lines that are no usage, by reason."""

    month: int
    reason: str
    lines: int
    seconds: int


@dataclass(frozen=True, slots=True)
class CoveredSum:
    """What inclusive minutes take off the lines of one month, site and class."""

    month: int
    site: str | None
    tariff: str
    """`ip` or `legacy`."""
    number_class: str
    seconds: int
    """Charged seconds that are inclusive."""
    atoms: int


@dataclass(frozen=True, slots=True)
class Usage:
    """All that cost reports need of the usage lines."""

    sums: tuple[UsageSum, ...] = ()
    unrated: tuple[UnratedSum, ...] = ()
    excluded: tuple[ExcludedSum, ...] = ()
    covered: tuple[CoveredSum, ...] = ()
    """Empty where no tariff has inclusive minutes."""
    source: str = "usage"
    """Table and version of the lake."""


def utc_span(months: Sequence[int], zone: str) -> tuple[datetime, datetime]:
    """Return the UTC times between which all lines of some months begin, with a day to spare before.

    The day is for attempts that began in one month and were answered in the next.
    """
    local = ZoneInfo(zone)
    begin = datetime.combine(first_day(min(months)), time(), local).astimezone(UTC) - timedelta(days=1)
    end = datetime.combine(last_day(max(months)) + timedelta(days=1), time(), local).astimezone(UTC)
    return begin, end


# Inbound lines and lines of no second cost nothing, so what has no price among them lacks none.
_CHARGEABLE = "kind <> 'inbound' AND seconds > 0"

_SUMS = """
SELECT month, site, kind, number_class, count(*), count(*) FILTER (answered), sum(seconds),
    coalesce(sum(ip_cost), 0), coalesce(sum(ip_seconds), 0),
    coalesce(sum(legacy_cost), 0), coalesce(sum(legacy_seconds), 0),
    coalesce(sum(seconds) FILTER (legacy_cost > 0), 0),
    count(*) FILTER (ip_cost IS NULL AND {chargeable}),
    coalesce(sum(seconds) FILTER (ip_cost IS NULL AND {chargeable}), 0),
    count(*) FILTER (legacy_cost IS NULL AND {chargeable}),
    coalesce(sum(seconds) FILTER (legacy_cost IS NULL AND {chargeable}), 0)
FROM {view} WHERE month IN ({months}) AND excluded IS NULL
GROUP BY ALL ORDER BY ALL
"""

_UNRATED = """
SELECT month, site, '{tariff}', coalesce({tariff}_why, 'not rated yet'), number_class, count(*), sum(seconds)
FROM {view} WHERE month IN ({months}) AND excluded IS NULL AND {tariff}_cost IS NULL AND {chargeable}
GROUP BY ALL ORDER BY ALL
"""

_EXCLUDED = """
SELECT month, excluded, count(*), sum(seconds) FROM {view} WHERE month IN ({months}) AND excluded IS NOT NULL
GROUP BY ALL ORDER BY ALL
"""


def usage_sums(
    connection: duckdb.DuckDBPyConnection, view: str, months: Sequence[int], *, source: str = "usage"
) -> Usage:
    """Sum the usage lines of some months; `view` is a table or view with the columns of `usage`."""
    named = ", ".join(str(int(month)) for month in months) or "0"

    def rows(sql: str, **words: str) -> list[tuple[Any, ...]]:
        return connection.execute(sql.format(view=view, months=named, chargeable=_CHARGEABLE, **words)).fetchall()

    unrated = [*rows(_UNRATED, tariff="ip"), *rows(_UNRATED, tariff="legacy")]
    return Usage(
        tuple(UsageSum(*row) for row in rows(_SUMS)),
        tuple(UnratedSum(*row) for row in unrated),
        tuple(ExcludedSum(*row) for row in rows(_EXCLUDED)),
        source=source,
    )
