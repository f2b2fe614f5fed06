"""What the lines of a report were rated by: another estate or other tariffs than the present ones must be said."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from analytics.store.lake import Lake
from analytics.usage.derive import pending
from api.usage import tariff_digest
from collector.estate.tariffs import FOLDER

if TYPE_CHECKING:
    import duckdb

Fact = tuple[str, str]
LABEL = "Rated"
ASK = "callgauge rerate --dry-run says what would move"


class RatedDays(NamedTuple):
    """Days of usage that were rated alike."""

    is_known: bool
    """False: the store does not say by what."""
    estate: str | None
    """SHA-256 of the estate's files; None: without an estate."""
    tariffs: str | None
    """SHA-256 of the tariffs' files; None: without tariffs."""
    days: int
    same_estate: bool
    same_tariffs: bool


def present_digest(estate: Path) -> str | None:
    """SHA-256 of the tariffs as they stand now; None where there are none."""
    return tariff_digest(estate) if any((estate / FOLDER).rglob("*.csv")) else None


def rated_lines(
    lake: Lake,
    connection: duckdb.DuckDBPyConnection,
    usage: str,
    months: Sequence[int],
    estate: str | None,
    tariffs: str | None,
) -> list[RatedDays]:
    """Return what the UTC days of some months were rated by, the newest rating of each, most days first."""
    ratings = lake.view(connection, "ratings", name="ratings_of_months")
    listed = ", ".join(str(int(month)) for month in months)
    found = connection.execute(f"""
        WITH held AS (SELECT DISTINCT day FROM {usage} WHERE month IN ({listed})),
        newest AS (SELECT rated_day, estate, tariffs FROM {ratings}
                   QUALIFY row_number() OVER (PARTITION BY rated_day ORDER BY rated DESC) = 1)
        SELECT rated_day IS NOT NULL, estate, tariffs, count(*) AS days
        FROM held LEFT JOIN newest ON rated_day = day GROUP BY ALL ORDER BY days DESC, estate, tariffs
    """).fetchall()  # noqa: S608 -- own names and numbers
    return [
        RatedDays(is_known, by, prices, days, by == estate, prices == tariffs) for is_known, by, prices, days in found
    ]


def days_waiting(lake: Lake, connection: duckdb.DuckDBPyConnection, since: datetime, until: datetime) -> list[date]:
    """Return the days of a span whose records were not all seen when they were rated."""
    first, last = since.astimezone(UTC).date(), (until - timedelta(microseconds=1)).astimezone(UTC).date()
    return [day for day in pending(lake, connection) if first <= day <= last]


def rated_facts(rated: Sequence[RatedDays], waiting: Sequence[date]) -> list[Fact]:
    """Say by what the lines were rated, and which records are in none of them yet."""
    parts = []
    others = [one for one in rated if one.is_known and not (one.same_estate and one.same_tariffs)]
    unknown = sum(one.days for one in rated if not one.is_known)
    for one in others:
        by = "another estate and other tariffs"
        if one.same_estate or one.same_tariffs:
            by = "other tariffs" if one.same_estate else "another estate"
        parts.append(f"{_days(one.days)} rated by {by}")
    if others:
        parts[-1] += f": {ASK}"
    if unknown:
        parts.append(f"the store does not say by what {_days(unknown)} rated")
    if rated and not parts:
        parts.append("by this estate and these tariffs")
    if waiting:
        some = f"{len(waiting):,} days wait" if len(waiting) != 1 else "1 day waits"
        parts.append(f"{some} to be rated, with records that are in no figure: callgauge rerate")
    return [(LABEL, "; ".join(parts))] if parts else []


def _days(count: int) -> str:
    return f"{count:,} days were" if count != 1 else "1 day was"


def rated_sources(rated: Sequence[RatedDays]) -> tuple[tuple[str, str], ...]:
    """Name the estates and tariffs that the lines were rated by."""
    sources: dict[tuple[str, str | None], int] = {}
    for one in rated:
        if one.is_known:
            for name, digest in (("estate of the lines", one.estate), ("tariffs of the lines", one.tariffs)):
                sources[name, digest] = sources.get((name, digest), 0) + one.days
    return tuple(
        (name, f"{f'sha256:{digest}' if digest else 'none'}, {days:,} days") for (name, digest), days in sources.items()
    )
