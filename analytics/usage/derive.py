"""Days of records -> days of rated usage lines, again whenever records come in late or a tariff changes.

A day of usage is made anew from all its records and replaces what was there in one commit, so it never counts twice
and does not depend on how the records were split into files or in which order they came.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from analytics.attribution import Attributor
from analytics.cost.numbers import Destination
from analytics.sites import Estate
from analytics.store.lake import Lake
from analytics.usage import lines, parties, records

if TYPE_CHECKING:
    from analytics.cost.rating import Rater

ROWS_AT_ONCE = 1_500_000
"""Records that are joined in memory at once, by whole days [records]."""
KEPT_DIGITS = 6
"""Last digits of a far number that a line does not hold: they would name a person."""

_DAY = timedelta(days=1)
_SIDES = ("ip", "legacy")
_PRICE = {"tariff": pa.string(), "row": pa.int32(), "seconds": pa.int32(), "segments": pa.int16(), "cost": pa.int64()}


@dataclass(frozen=True, slots=True)
class Book:
    """What lines are attributed and rated by."""

    estate: Estate
    ip: Rater | None
    """Today's tariff; None where there is none."""
    legacy: Rater | None
    """The tariff of the system that was replaced; None where there is none."""
    tariffs: str | None
    """SHA-256 of the tariffs' files."""

    @property
    def zone(self) -> ZoneInfo:
        """The estate's zone."""
        return ZoneInfo(self.estate.settings.timezone)


@dataclass(frozen=True, slots=True)
class Derived:
    """What was made."""

    days: int = 0
    records: int = 0
    copies: int = 0
    joined: int = 0
    lines: int = 0

    def __add__(self, other: Derived) -> Derived:
        return Derived(
            self.days + other.days,
            self.records + other.records,
            self.copies + other.copies,
            self.joined + other.joined,
            self.lines + other.lines,
        )


Progress = Callable[[int, int], None]
"""Told how many days are done, of how many."""


def pending(lake: Lake, connection: duckdb.DuckDBPyConnection) -> list[date]:
    """Return the days whose records were not all seen when they were rated last."""
    rows, reports, imports = (
        lake.view(connection, name, name=f"{name}_now") for name in ("cdr_rows", "phone_reports", "imports")
    )
    ratings = lake.view(connection, "ratings", name="ratings_now")
    found = connection.execute(f"""
        WITH held AS (
            SELECT DISTINCT day, file_key FROM {rows}
            UNION SELECT DISTINCT p.day, p.file_key FROM {reports} p WHERE p.day IN (SELECT DISTINCT day FROM {rows})
        ),
        read_in AS (SELECT file_key, max(imported) AS imported FROM {imports} GROUP BY file_key),
        done AS (SELECT rated_day, max(rated) AS rated FROM {ratings} GROUP BY rated_day)
        SELECT DISTINCT held.day FROM held LEFT JOIN read_in USING (file_key)
        LEFT JOIN done ON done.rated_day = held.day
        WHERE done.rated IS NULL OR read_in.imported IS NULL OR read_in.imported >= done.rated
        ORDER BY held.day
    """).fetchall()
    return [day for (day,) in found]


def held_days(lake: Lake) -> dict[date, int]:
    """Return the days that have records, with their number, from the files' own counts."""
    counts: dict[date, int] = {}
    for file in lake.files("cdr_rows"):
        day = date.fromisoformat(file.partition["day"])
        counts[day] = counts.get(day, 0) + file.rows
    return dict(sorted(counts.items()))


def derive(
    lake: Lake,
    connection: duckdb.DuckDBPyConnection,
    book: Book,
    days: Sequence[date],
    now: datetime,
    progress: Progress | None = None,
) -> Derived:
    """Make the usage of these days anew, and of the days before them, whose calls may go on in them."""
    held = held_days(lake)
    wanted = sorted({day - step for day in days for step in (_DAY, 0 * _DAY) if day - step in held})
    done = Derived()
    for chunk in chunks(wanted, held):
        done += derive_chunk(lake, connection, book, chunk, now)
        if progress is not None:
            progress(done.days, len(wanted))
    return done


def chunks(days: Sequence[date], held: dict[date, int]) -> list[list[date]]:
    """Cut days into runs of consecutive ones that hold ROWS_AT_ONCE records or are one day."""
    runs: list[list[date]] = []
    total = 0
    for day in days:
        if runs and day - runs[-1][-1] == _DAY and total + held[day] <= ROWS_AT_ONCE:
            runs[-1].append(day)
            total += held[day]
        else:
            runs.append([day])
            total = held[day]
    return runs


def derive_chunk(
    lake: Lake, connection: duckdb.DuckDBPyConnection, book: Book, days: Sequence[date], now: datetime
) -> Derived:
    """Make the usage of consecutive days and put each into the lake in one commit."""
    window = prepare(lake, connection, book, days)
    made = 0
    for day in days:
        lines.draw(connection, book.zone, day)
        sql = rated_sql(connection, book, window.destinations)
        made += lake.append_query("usage", connection, sql, batch=None, replace=[day]).rows
    held = dict(connection.execute("SELECT day, count(*) FROM records GROUP BY day").fetchall())
    told = _ratings([(day, held.get(day, 0)) for day in days], book, now)
    lake.append("ratings", told, batch=f"ratings {days[0]} {days[-1]} {now.isoformat()}")
    return Derived(len(days), sum(held.get(day, 0) for day in days), window.copies, window.joined, made)


@dataclass(frozen=True, slots=True)
class Window:
    """Records of some days, joined and attributed, in temporary tables."""

    destinations: list[Destination]
    """What `lined.number` is an index of."""
    copies: int
    """Records that were there already, from another file or another export."""
    joined: int
    """Records that share their call with another one."""


def prepare(lake: Lake, connection: duckdb.DuckDBPyConnection, book: Book, days: Sequence[date]) -> Window:
    """Join and attribute the records of consecutive days, with a day on each side for calls that cross midnight."""
    first, last = days[0] - _DAY, days[-1] + _DAY
    begin = datetime(first.year, first.month, first.day, tzinfo=UTC)
    end = datetime(last.year, last.month, last.day, tzinfo=UTC) + _DAY
    view = lake.view(connection, "cdr_rows", name="records_of_window", since=begin, until=end)
    reports = lake.view(connection, "phone_reports", name="reports_of_window", since=begin, until=end)
    attributor = Attributor(book.estate)
    copies = records.select(connection, view, first, last)
    parties.sides(connection, attributor, book.zone, first, last)
    joined = records.join(connection)
    destinations = parties.dialled(connection, attributor, book.estate.settings.country)
    lines.mark(connection)
    lines.talks(connection)
    parties.redirected(connection, attributor)
    parties.listed(connection, attributor)
    lines.hear(connection, reports, first, last)
    lines.line_up(connection)
    return Window(destinations, copies, joined)


def rated_sql(connection: duckdb.DuckDBPyConnection, book: Book, destinations: Sequence[Destination]) -> str:
    """Rate the lines of `drawn`; return the query that gives them as `usage` has them."""
    inner = len(destinations)
    connection.execute(f"""
        CREATE OR REPLACE TEMP VIEW priced AS
        SELECT *, CASE WHEN excluded IS NOT NULL OR kind = 'inbound' THEN NULL WHEN inner_class = 'onsite' THEN {inner}
            WHEN inner_class = 'intersite' THEN {inner + 1} ELSE number END::INTEGER AS destination_id
        FROM drawn
    """)
    columns = connection.execute(
        "SELECT started, seconds, coalesce(destination_id, -1) AS destination_id FROM priced"
    ).fetchnumpy()
    named = [(found.number_class, found.number) for found in destinations] + [("onsite", ""), ("intersite", "")]
    for side in _SIDES:
        rater = book.ip if side == "ip" else book.legacy
        connection.register(f"{side}_arrow", _rate(rater, columns, named))
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {side}_priced AS FROM {side}_arrow")
        connection.unregister(f"{side}_arrow")
    _destinations(connection, named)
    prices = ", ".join(
        f"CASE WHEN p.kind = 'inbound' AND p.excluded IS NULL THEN 0 ELSE {side}.cost END AS {side}_cost, "
        f"{side}.tariff AS {side}_tariff, {side}.row AS {side}_row, {side}.seconds AS {side}_seconds, "
        f"{side}.segments AS {side}_segments, CASE WHEN p.excluded IS NOT NULL THEN 'excluded' "
        f"WHEN p.kind = 'inbound' THEN NULL WHEN p.destination_id IS NULL THEN CASE WHEN p.kind = 'outbound' "
        f"THEN 'no_number' ELSE 'site_unknown' END ELSE {side}.why END AS {side}_why"
        for side in _SIDES
    )
    return f"""
        SELECT p.* EXCLUDE (inner_class, number, sid, calling, called, began, started, destination_id),
            d.number_class, CASE WHEN p.kind = 'outbound' THEN d.destination END AS destination, {prices}, n.redial_of
        FROM priced p POSITIONAL JOIN ip_priced ip POSITIONAL JOIN legacy_priced legacy
        LEFT JOIN destinations d ON d.id = p.destination_id
        LEFT JOIN redialled n ON n.line_key = p.line_key
    """


def _destinations(connection: duckdb.DuckDBPyConnection, named: Sequence[tuple[str, str]]) -> None:
    """Fill `destinations` (id, number_class, destination): what a line keeps of a far number."""
    kept = [number if len(number) <= KEPT_DIGITS else number[:-KEPT_DIGITS] for _, number in named]
    table = pa.table(
        {
            "id": pa.array(range(len(named)), pa.int32()),
            "number_class": pa.array([name for name, _ in named], pa.string()),
            "destination": pa.array(kept, pa.string()),
        }
    )
    connection.register("destinations_arrow", table)
    connection.execute("CREATE OR REPLACE TEMP TABLE destinations AS FROM destinations_arrow")
    connection.unregister("destinations_arrow")


def _rate(rater: Rater | None, columns: dict[str, NDArray[Any]], named: Sequence[tuple[str, str]]) -> pa.Table:
    """Return tariff, row, seconds, segments, cost and why of each line, in the lines' order."""
    ids = np.asarray(columns["destination_id"], dtype=np.int32)
    if rater is None:
        nothing = {name: pa.nulls(len(ids), kind) for name, kind in _PRICE.items()}
        return pa.table({**nothing, "why": pa.array(np.full(len(ids), "no_tariff"), pa.string())})
    known = ids >= 0
    groups = rater.groups(named)
    rated = rater.rate(
        np.asarray(columns["started"], dtype=np.int64),
        np.asarray(columns["seconds"], dtype=np.int32),
        groups[np.where(known, ids, 0)],
    )
    has_price = known & (rated.why == 0)
    has_row = has_price & (rated.version >= 0)
    versions = pa.DictionaryArray.from_arrays(
        pa.array(rated.version, mask=~has_row), pa.array(rater.versions, pa.string())
    )
    reasons = pa.DictionaryArray.from_arrays(
        pa.array(rated.why, mask=~known | has_price), pa.array(rater.reasons, pa.string())
    )
    return pa.table(
        {
            "tariff": versions,
            "row": pa.array(rated.row, mask=~has_row),
            "seconds": pa.array(rated.rated_seconds, mask=~has_price),
            "segments": pa.array(rated.segments, mask=~has_price),
            "cost": pa.array(rated.cost, mask=~has_price),
            "why": reasons,
        }
    )


def _ratings(records_of: Sequence[tuple[date, int]], book: Book, now: datetime) -> pa.Table:
    """Return the rows that say these days were rated."""
    count = len(records_of)
    return pa.table(
        {
            "month": pa.array([now.astimezone(UTC).date().replace(day=1)] * count, pa.date32()),
            "rated_day": pa.array([day for day, _ in records_of], pa.date32()),
            "rated": pa.array([now] * count, pa.timestamp("us", tz="UTC")),
            "records": pa.array([records for _, records in records_of], pa.int64()),
            "estate": pa.array([book.estate.digest or None] * count, pa.string()),
            "tariffs": pa.array([book.tariffs] * count, pa.string()),
        }
    )
