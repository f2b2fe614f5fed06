"""Hours of the feeds of call records, counted from the records in the lake."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from analytics.feeds import FeedHours, FeedLimits
from analytics.store.schema import CDR_ROWS, USAGE

if TYPE_CHECKING:
    import duckdb

    from analytics.store.lake import Lake

LONGEST: Final = timedelta(days=1)
"""Calls that began so much earlier may end in the span."""
_EXCHANGES: Final = "'records' AS kind, source, system AS name, coalesce(disconnect, origination) AS ended"
_SITES: Final = "'site' AS kind, '' AS source, site AS name, start + to_seconds(seconds) AS ended"


def feed_hours(lake: Lake, now: datetime, limits: FeedLimits = FeedLimits()) -> list[FeedHours]:  # noqa: B008  # immutable
    """Return the feeds that had records in the weeks that matter at `now`; records from the future are none."""
    found: list[FeedHours] = []
    with lake.reading() as connection:
        for table, columns, where in (
            (CDR_ROWS.name, _EXCHANGES, "TRUE"),
            (USAGE.name, _SITES, "site IS NOT NULL AND excluded IS NULL"),
        ):
            if lake.version(table) is not None:
                rows = lake.query(connection, table, since=now - limits.span - LONGEST, until=now)
                found += _hours(connection, f"SELECT {columns} FROM ({rows}) WHERE {where}", now, limits)  # noqa: S608
    return found


def _hours(connection: duckdb.DuckDBPyConnection, rows: str, now: datetime, limits: FeedLimits) -> list[FeedHours]:
    begin = (now - limits.span).astimezone(UTC)
    counted = connection.execute(
        f"""
        SELECT kind, source, name, epoch_us(ended) // 3600000000 AS hour,
               count(*), epoch_us(min(ended)), epoch_us(max(ended))
        FROM ({rows}) WHERE ended >= $1 AND ended <= $2 GROUP BY ALL ORDER BY kind, source, name, hour
        """,  # noqa: S608 - names of the schema
        [begin, now.astimezone(UTC)],
    ).fetchall()
    feeds: dict[tuple[str, str, str], list[tuple[int, int, int, int]]] = {}
    for kind, source, name, *numbers in counted:
        feeds.setdefault((kind, source, name), []).append((numbers[0], numbers[1], numbers[2], numbers[3]))
    return [
        FeedHours(*key, _moment(hours[0][2]), _moment(hours[-1][3]), {hour: count for hour, count, _, _ in hours})
        for key, hours in feeds.items()
    ]


def _moment(micros: int) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=micros)
