"""Hours of the feeds of call records, counted from the records in the lake."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from analytics.feeds import FeedHours, FeedLimits
from analytics.store.schema import CDR_ROWS, USAGE

if TYPE_CHECKING:
    import duckdb

    from analytics.store.lake import Lake

LONGEST: Final = timedelta(days=1)
"""Calls that began so much earlier may end in the span."""
_EXCHANGES: Final = "'records' AS kind, source, system AS name, coalesce(disconnect, origination) AS ended"
_SITES: Final = "'site' AS kind, '' AS source, site AS name, start + to_seconds(seconds) AS ended"
_FEEDS: Final = (
    (CDR_ROWS.name, _EXCHANGES, "TRUE"),
    (USAGE.name, _SITES, "site IS NOT NULL AND excluded IS NULL"),
)
"""Table, columns and rows of each kind of feed."""
HOUR: Final = 3_600_000_000
"""[us]."""


def feed_hours(lake: Lake, now: datetime, limits: FeedLimits = FeedLimits()) -> list[FeedHours]:  # noqa: B008  # immutable
    """Return the feeds that had records in the weeks that matter at `now`; records from the future are none."""
    found: list[FeedHours] = []
    with lake.reading() as connection:
        for table, columns, where in _FEEDS:
            if lake.version(table) is not None:
                rows = lake.query(connection, table, since=now - limits.span - LONGEST, until=now)
                found += _hours(connection, f"SELECT {columns} FROM ({rows}) WHERE {where}", now, limits)  # noqa: S608
    return found


def feed_hours_at(lake: Lake, moments: Sequence[datetime], limits: FeedLimits) -> dict[datetime, list[FeedHours]]:
    """Return what `feed_hours` does at each of these moments, in order of time, by one reading."""
    ends: dict[tuple[str, str, str], np.ndarray[Any, np.dtype[np.int64]]] = {}
    with lake.reading() as connection:
        for table, columns, where in _FEEDS:
            if lake.version(table) is not None:
                since = moments[0] - limits.span - LONGEST
                rows = lake.query(connection, table, since=since, until=moments[-1])
                found = connection.sql(
                    f"""
                    SELECT kind, source, name, list(epoch_us(ended) ORDER BY ended)
                    FROM (SELECT {columns} FROM ({rows}) WHERE {where}) WHERE ended IS NOT NULL
                    GROUP BY ALL ORDER BY kind, source, name
                    """  # noqa: S608 - names of the schema
                ).to_arrow_table()
                keys = zip(*(found.column(number).to_pylist() for number in range(3)), strict=True)
                for key, of in zip(keys, found.column(3), strict=True):
                    ends[key] = of.values.to_numpy()
    return {
        moment: [hours for key, of in ends.items() if (hours := _hours_at(key, of, moment, limits)) is not None]
        for moment in moments
    }


def _hours_at(
    key: tuple[str, str, str], ends: np.ndarray[Any, np.dtype[np.int64]], now: datetime, limits: FeedLimits
) -> FeedHours | None:
    begin, end = (round(at.timestamp() * 1e6) for at in (now - limits.span, now))
    first, last = np.searchsorted(ends, begin, "left"), np.searchsorted(ends, end, "right")
    if first >= last:
        return None
    hours = np.arange(ends[first] // HOUR, ends[last - 1] // HOUR + 1)
    edges = np.clip(np.searchsorted(ends, np.append(hours, hours[-1] + 1) * HOUR, "left"), first, last)
    counts = np.diff(edges)
    held = {int(hour): int(count) for hour, count in zip(hours[counts > 0], counts[counts > 0], strict=True)}
    return FeedHours(*key, _moment(int(ends[first])), _moment(int(ends[last - 1])), held)


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
