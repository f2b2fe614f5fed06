"""Site minutes: minute rows and their hour sums, appended in one commit and read back as exact series.

Every column adds up (or has a least or greatest value that does), so a minute or hour may stand in several rows: late
rows are appended beside earlier ones, whoever reads sums, and compaction merges.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa

from analytics.store.files import identifier, literal
from analytics.store.schema import SITE_MINUTES, Kind
from analytics.store.settings import StoreError

if TYPE_CHECKING:
    from analytics.store.lake import Appended, Lake

KEYS = ("month", "step", "site", "start")
LEAST = frozenset({"mos_min"})
GREATEST = frozenset({"jitter_max_ms"})
SUMS = tuple(column.name for column in SITE_MINUTES.columns if column.name not in KEYS)
HOUR = timedelta(hours=1)
STEPS = ("minute", "hour", "day", "month")


def _sums(names: Sequence[str] = SUMS) -> str:
    parts = []
    for name in names:
        function = "min" if name in LEAST else "max" if name in GREATEST else "sum"
        kind = SITE_MINUTES.column(name).kind.value
        parts.append(f"CAST({function}({identifier(name)}) AS {kind}) AS {identifier(name)}")
    return ", ".join(parts)


def merged(query: str) -> str:
    """Return a query that makes one row of all rows of a minute or hour and site."""
    keys = ", ".join(KEYS)
    return f"SELECT {keys}, {_sums()} FROM ({query}) GROUP BY {keys}"  # noqa: S608 - names of the schema


def append_minutes(lake: Lake, rows: pa.Table, *, batch: str, sequence: int = 0) -> Appended:
    """Append rows of whole minutes and their hour sums in one commit; columns `month` and `step` may be left out.

    The result counts both. StoreError where a row begins within a minute, or is no minute.
    """
    connection = lake.connect()
    try:
        connection.register("minutes", rows)
        return append_minutes_query(lake, connection, "SELECT * FROM minutes", batch=batch, sequence=sequence)
    finally:
        connection.close()


def append_minutes_query(
    lake: Lake, connection: duckdb.DuckDBPyConnection, sql: str, *, batch: str | None, sequence: int = 0
) -> Appended:
    """Append the minute rows of a query, which is run twice, and their hour sums in one commit."""
    query = with_hours(connection, sql)
    return lake.append_query(SITE_MINUTES.name, connection, query, batch=batch, sequence=sequence)


def with_hours(connection: duckdb.DuckDBPyConnection, sql: str) -> str:
    """Return a query of the minute rows of a query and of their hour sums; StoreError where they are no minutes."""
    given = {str(row[0]) for row in connection.execute(f"DESCRIBE {sql}").fetchall()}
    allowed = {column.name for column in SITE_MINUTES.columns}
    for name in sorted(given - allowed):
        raise StoreError(f"table site_minutes has no column {name}")
    for name in ("site", "start", *SUMS):
        if name not in given and not SITE_MINUTES.column(name).missing:
            raise StoreError(f"column {name} of table site_minutes must not be empty and is not given")
    step = " OR step <> 'minute'" if "step" in given else ""
    wrong = connection.execute(
        f"SELECT count(*) FROM ({sql}) WHERE epoch_us(start) % 60000000 <> 0{step}"  # noqa: S608
    ).fetchall()[0][0]
    if wrong:
        raise StoreError(f"{wrong} rows for table site_minutes are no whole minutes")
    values = ", ".join(
        identifier(name) if name in given else f"CAST(NULL AS {SITE_MINUTES.column(name).kind.value}) AS {name}"
        for name in SUMS
    )
    month = "CAST(date_trunc('month', start AT TIME ZONE 'UTC') AS DATE) AS month"
    minutes = f"SELECT {month}, 'minute' AS step, site, start, {values} FROM ({sql})"  # noqa: S608
    hour = "make_timestamptz(epoch_us(start) - epoch_us(start) % 3600000000)"
    hours = merged(f"SELECT {month}, 'hour' AS step, site, {hour} AS start, {values} FROM ({sql})")  # noqa: S608
    return f"{minutes} UNION ALL {hours}"


def hours_out_of_step(lake: Lake, connection: duckdb.DuckDBPyConnection) -> list[tuple[date, int]]:
    """Return months with hours whose counts are not the sums of their minutes, and how many such hours."""
    everything = lake.query(connection, SITE_MINUTES.name)
    counted = [name for name in SUMS if SITE_MINUTES.column(name).kind in {Kind.INTEGER, Kind.LONG}]
    differ = " OR ".join(
        f"sum({name}) FILTER (step = 'hour') IS DISTINCT FROM sum({name}) FILTER (step = 'minute')" for name in counted
    )
    found = []
    months = connection.execute(f"SELECT DISTINCT month FROM ({everything}) ORDER BY 1").fetchall()  # noqa: S608
    for (month,) in months:
        # Month by month, so that memory does not grow with the years.
        query = (
            f"SELECT count(*) FROM (SELECT 1 FROM ({everything}) WHERE month = ? "  # noqa: S608 - names of the schema
            f"GROUP BY site, epoch_us(start) // 3600000000 HAVING {differ})"
        )
        count = connection.execute(query, [month]).fetchall()[0][0]
        if count:
            found.append((month, int(count)))
    return found


def site_series(
    lake: Lake,
    connection: duckdb.DuckDBPyConnection,
    sites: Sequence[str] | None,
    since: datetime,
    until: datetime,
    step: str,
    *,
    zone: str = "UTC",
    columns: Sequence[str] = SUMS,
) -> pa.Table:
    """Return one row a site and step of minutes with since <= start < until; `sites` None means all.

    Days and months are those of `zone`, minutes and hours those of UTC. Whole hours come from hour rows, what is left
    at both ends from minute rows: the sums are those of the minutes. Columns: `site`, `start` (begin of the step), and
    the sums asked for: fewer are faster.
    """
    if step not in STEPS:
        raise StoreError(f"a series has steps of {', '.join(STEPS)}, not {step}")
    for name in columns:
        if name not in SUMS:
            raise StoreError(f"table site_minutes has no sum {name}")
    since, until = since.astimezone(UTC), until.astimezone(UTC)
    offsets = _offsets(since, until, zone) if step in {"day", "month"} else [(since, timedelta())]
    parts = []
    for rows, begin, end in _spans(since, until, step, offsets):
        only: dict[str, Sequence[str]] = {"step": [rows]}
        if sites is not None:
            only["site"] = sites
        parts.append(f"({lake.query(connection, SITE_MINUTES.name, since=begin, until=end, only=only)})")
    # Zones are slow in SQL: rows are grouped by a whole number first, and only the groups know of the zone.
    unit = {"minute": 60, "hour": 3_600}.get(step, 86_400) * 1_000_000
    number_of = f"(epoch_us(start) + {_offset_sql(offsets)}) // {unit}"
    sums = _sums(columns)
    inner = f"SELECT site, {number_of} AS number, {sums} FROM ({' UNION ALL '.join(parts)}) GROUP BY 1, 2"  # noqa: S608
    if step in {"day", "month"}:
        day = f"CAST(date_trunc('{step}', make_date(CAST(number AS INTEGER))) AS TIMESTAMP)"
        at = f"{day} AT TIME ZONE {literal(zone)}"
        outer = f"SELECT site, {at} AS start, {sums} FROM ({inner}) GROUP BY 1, 2 ORDER BY 2, 1"  # noqa: S608
    else:
        at = f"make_timestamptz(number * {unit}) AS start"
        outer = f"SELECT site, {at}, * EXCLUDE (site, number) FROM ({inner}) ORDER BY 2, 1"  # noqa: S608
    return connection.sql(outer).to_arrow_table()


def _offsets(since: datetime, until: datetime, zone: str) -> list[tuple[datetime, timedelta]]:
    """Return the offsets of a zone in a span, each with the moment from which it holds."""
    local = ZoneInfo(zone)

    def offset(at: datetime) -> timedelta:
        return at.astimezone(local).utcoffset() or timedelta()

    found = [(since, offset(since))]
    at = since
    while at < until:
        after = min(at + timedelta(days=1), until)
        if offset(after) != found[-1][1]:
            before = at
            while after - before > timedelta(seconds=1):
                middle = before + (after - before) // 2
                before, after = (middle, after) if offset(middle) == found[-1][1] else (before, middle)
            after = after.replace(microsecond=0)
            found.append((after, offset(after)))
        at = after
    return found


def _offset_sql(offsets: Sequence[tuple[datetime, timedelta]]) -> str:
    """Return the offset of `start` as SQL [µs]."""
    microseconds = [offset // timedelta(microseconds=1) for _, offset in offsets]
    cases = [
        f"WHEN start < {literal(until)} THEN {value}"
        for (until, _), value in zip(offsets[1:], microseconds, strict=False)
    ]
    return f"CASE {' '.join(cases)} ELSE {microseconds[-1]} END" if cases else str(microseconds[-1])


def _spans(
    since: datetime, until: datetime, step: str, offsets: Sequence[tuple[datetime, timedelta]]
) -> list[tuple[str, datetime, datetime]]:
    """Return which rows to read from when to when: hour rows wherever whole hours do."""
    first = since.replace(minute=0, second=0, microsecond=0)
    if first < since:
        first += HOUR
    last = until.replace(minute=0, second=0, microsecond=0)
    if step == "minute" or first >= last or any(offset % HOUR for _, offset in offsets):
        return [("minute", since, until)]
    spans = [("minute", since, first), ("hour", first, last), ("minute", last, until)]
    return [span for span in spans if span[1] < span[2]]
