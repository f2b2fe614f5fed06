"""Days of records -> days of rated usage lines, again whenever records come in late or a tariff changes.

A day of usage is made anew from all its records and replaces what was there in one commit, so it never counts twice
and does not depend on how the records were split into files or in which order they came.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import chain
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
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
BATCH_ROWS = 122_880
"""Lines that are priced and written at a time [lines]."""
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
    made: frozenset[date] = frozenset()
    """UTC days whose lines were made."""

    def __add__(self, other: Derived) -> Derived:
        return Derived(
            self.days + other.days,
            self.records + other.records,
            self.copies + other.copies,
            self.joined + other.joined,
            self.lines + other.lines,
            self.made | other.made,
        )


Progress = Callable[[int, int], None]
"""Told how many days are done, of how many."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Days that must be rated, and what tells which others are touched by that. Times are µs since the epoch."""

    days: tuple[date, ...]
    """UTC days whose records were not all seen when they were rated last, in order."""
    imported: Mapping[date, int]
    """When the newest file with records of a day was imported."""
    rated: Mapping[date, int]
    """When a day was rated last; days that never were are left out."""

    def is_touched(self, day: date, by: date) -> bool:
        """Whether the lines of a day may change by records of another one, and nothing else makes them anew."""
        rated = self.rated.get(day)
        return rated is not None and self.imported.get(day, 0) < rated <= self.imported.get(by, 0)


def waiting(lake: Lake, connection: duckdb.DuckDBPyConnection) -> Waiting:
    """Find the days that must be rated."""
    rows, reports, imports = (
        lake.view(connection, name, name=f"{name}_now") for name in ("cdr_rows", "phone_reports", "imports")
    )
    ratings = lake.view(connection, "ratings", name="ratings_now")
    found = connection.execute(f"""
        WITH held AS (
            SELECT DISTINCT day, file_key FROM {rows}
            -- A telephone reports when the call is over, which may be the day after.
            UNION SELECT day, file_key FROM (
                SELECT DISTINCT unnest([day, day - 1]) AS day, file_key FROM {reports}
            ) SEMI JOIN (SELECT DISTINCT day FROM {rows}) USING (day)
        ),
        read_in AS (SELECT file_key, epoch_us(max(imported)) AS imported FROM {imports} GROUP BY file_key),
        done AS (SELECT rated_day, epoch_us(max(rated)) AS rated FROM {ratings} GROUP BY rated_day)
        SELECT held.day, max(coalesce(read_in.imported, {_NOT_YET})), any_value(done.rated)
        FROM held LEFT JOIN read_in USING (file_key) LEFT JOIN done ON done.rated_day = held.day
        GROUP BY held.day ORDER BY held.day
    """).fetchall()
    return Waiting(
        tuple(day for day, imported, rated in found if rated is None or imported >= rated),
        {day: imported for day, imported, _ in found},
        {day: rated for day, _, rated in found if rated is not None},
    )


_NOT_YET = 2**63 - 1
"""Later than any time: of files that `imports` does not name yet."""


def pending(lake: Lake, connection: duckdb.DuckDBPyConnection) -> list[date]:
    """Return the days whose records were not all seen when they were rated last."""
    return list(waiting(lake, connection).days)


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
    known: Waiting | None = None,
) -> Derived:
    """Make the usage of these days anew, and of all days that calls of theirs go on into or come from.

    Of those others, with what is `known`, only the ones that no later run makes and that were not made since.
    """
    held = held_days(lake)
    asked = set(days)

    def touched(pairs: Iterable[tuple[date, date]]) -> set[date]:
        return {day for by, day in pairs if day in held and (known is None or known.is_touched(day, by))}

    seen = (asked & held.keys()) | touched((day, day + step) for day in days for step in (-_DAY, _DAY))
    queue = chunks(sorted(seen), held)
    done = Derived()
    while queue:
        made, further = derive_chunk(lake, connection, book, queue.pop(0), asked, now)
        done += made
        # A call that was up for days has its lines on other days than those around it.
        new = touched(further) - seen
        seen |= new
        queue += chunks(sorted(new), held)
        if progress is not None:
            progress(done.days, len(seen))
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
    lake: Lake,
    connection: duckdb.DuckDBPyConnection,
    book: Book,
    days: Sequence[date],
    asked: Collection[date],
    now: datetime,
) -> tuple[Derived, set[tuple[date, date]]]:
    """Make the usage of consecutive days and put it into the lake in one commit.

    Return with it other days of calls of the asked days, each behind the asked one.
    """
    window = prepare(lake, connection, book, days)
    batches = chain(rated_batches(connection, book, window.destinations, days), kept_batches(lake, connection, days))
    made = lake.append_batches("usage", batches, batch=None, replace=days).rows
    held = dict(connection.execute("SELECT day, count(*) FROM records GROUP BY day").fetchall())
    told = _ratings([(day, held.get(day, 0)) for day in days], book, now)
    lake.append("ratings", told, batch=f"ratings {days[0]} {days[-1]} {now.isoformat()}")
    records = sum(held.get(day, 0) for day in days)
    counts = Derived(len(days), records, window.copies, window.joined, made, frozenset(days))
    return counts, further_days(connection, days, asked)


def further_days(
    connection: duckdb.DuckDBPyConnection, days: Sequence[date], asked: Collection[date]
) -> set[tuple[date, date]]:
    """Return days outside the window's own on which calls of asked days have records, each behind the asked one."""
    listed = ", ".join(f"DATE '{day}'" for day in asked if days[0] - _DAY <= day <= days[-1] + _DAY)
    if not listed:
        return set()
    rows = connection.execute(f"""
        WITH j AS (
            SELECT DISTINCT joined.call, r.day FROM joined JOIN (SELECT rowid AS rid, day FROM records) r USING (rid)
        )
        SELECT DISTINCT a.day, b.day FROM j a JOIN j b ON a.call = b.call
        WHERE a.day IN ({listed}) AND a.day <> b.day AND b.day NOT BETWEEN DATE '{days[0]}' AND DATE '{days[-1]}'
    """).fetchall()
    return {(by, day) for by, day in rows}


def kept_batches(lake: Lake, connection: duckdb.DuckDBPyConnection, days: Sequence[date]) -> Iterator[pa.RecordBatch]:
    """Yield the lines of these days whose records are no longer held: they stay as they were rated.

    Records live shorter than lines, and people are forgotten: a record that comes in late must not take them along.
    """
    if not {day.isoformat() for day in days} & {file.partition["day"] for file in lake.files("usage")}:
        return
    begin = datetime(days[0].year, days[0].month, days[0].day, tzinfo=UTC)
    end = datetime(days[-1].year, days[-1].month, days[-1].day, tzinfo=UTC) + _DAY
    usage = lake.view(connection, "usage", name="usage_kept", since=begin, until=end)
    rows = lake.view(connection, "cdr_rows", name="records_held", since=begin, until=end)
    # A line's key is that of the record at its head, or its neighbour for the way in: see `lines.lined_sql`.
    held = f"SELECT day, row_key AS line_key FROM {rows} UNION ALL SELECT day, xor(row_key, 1) FROM {rows}"
    query = f"SELECT u.* FROM {usage} u ANTI JOIN ({held}) USING (day, line_key)"
    yield from connection.sql(query).to_arrow_reader(BATCH_ROWS)


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
    """Join and attribute the records of consecutive days and of the rest of their calls."""
    # What is looked up stands on the right of every join, and is small: planning can only get that wrong.
    connection.execute("SET disabled_optimizers = 'join_order,build_side_probe_side'")
    connection.execute("SET streaming_buffer_size = '64MB'")
    # No table here is read by its order, and keeping it costs a thread.
    connection.execute("SET preserve_insertion_order = false")
    first, last = days[0] - _DAY, days[-1] + _DAY
    begin = datetime(first.year, first.month, first.day, tzinfo=UTC)
    end = datetime(last.year, last.month, last.day, tzinfo=UTC) + _DAY
    far = (records.MOST_DAYS + 1) * _DAY
    view = lake.view(connection, "cdr_rows", name="records_of_window", since=begin - far, until=end + far)
    reports = lake.view(connection, "phone_reports", name="reports_of_window", since=begin, until=end)
    attributor = Attributor(book.estate)
    copies = records.select(connection, view, days[0], days[-1])
    parties.sides(connection, attributor, book.zone, first, last)
    joined = records.join(connection)
    destinations = parties.dialled(connection, attributor, book.estate.settings.country)
    lines.mark(connection)
    lines.talks(connection)
    parties.redirected(connection, attributor)
    parties.listed(connection, book.estate, attributor)
    lines.hear(connection, reports, first, last)
    lines.line_up(connection)
    lines.repeat(connection)
    return Window(destinations, copies, joined)


def rated_batches(
    connection: duckdb.DuckDBPyConnection, book: Book, destinations: Sequence[Destination], days: Sequence[date]
) -> Iterator[pa.RecordBatch]:
    """Yield the lines of consecutive days with their prices, as `usage` has them."""
    far = _Far([(found.number_class, found.number) for found in destinations], (book.ip, book.legacy))
    drawn = connection.sql(lines.of_days(book.zone, days)).to_arrow_reader(BATCH_ROWS)
    yield from _ahead(_priced(batch, book, far) for batch in drawn)


def _ahead(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield batches, the next one being made in a thread while the caller works on the last."""
    left = iter(batches)
    with ThreadPoolExecutor(1, thread_name_prefix="usage-lines") as pool:
        coming = pool.submit(next, left, None)
        while (batch := coming.result()) is not None:
            coming = pool.submit(next, left, None)
            yield batch


class _Far:
    """What lines keep of the far numbers, by the number's index; the last two are calls inside a site and between."""

    def __init__(self, named: list[tuple[str, str]], raters: Sequence[Rater | None]) -> None:
        every = [*named, ("onsite", ""), ("intersite", "")]
        self.groups = [None if rater is None else rater.groups(every) for rater in raters]
        self.inside, self.between = len(named), len(named) + 1
        self.classes = pa.array([name for name, _ in every], pa.string())
        kept = [number if len(number) <= KEPT_DIGITS else number[:-KEPT_DIGITS] for _, number in named]
        self.leading = pa.array([*kept, None, None], pa.string())

    def index(self, batch: pa.RecordBatch) -> pa.Array:
        """Return the index of each line's far number; NULL where it has none that could be priced."""
        inner = batch.column("inner_class")
        chargeable = pc.and_(pc.is_null(batch.column("excluded")), pc.not_equal(batch.column("kind"), "inbound"))
        number = pc.coalesce(
            pc.if_else(pc.equal(inner, "onsite"), pa.scalar(self.inside, pa.int32()), None),
            pc.if_else(pc.equal(inner, "intersite"), pa.scalar(self.between, pa.int32()), None),
            batch.column("number"),
        )
        return pc.if_else(chargeable, number, pa.scalar(None, pa.int32()))


_ONLY_HERE = ("inner_class", "number", "started")
"""Columns of a line's query that `usage` does not have."""


def _priced(batch: pa.RecordBatch, book: Book, far: _Far) -> pa.RecordBatch:
    """Add class, destination and both prices."""
    index = far.index(batch)
    columns = {name: batch.column(name) for name in batch.schema.names if name not in _ONLY_HERE}
    columns["number_class"] = far.classes.take(index)
    columns["destination"] = far.leading.take(index)
    kind = batch.column("kind")
    unpriced = pc.case_when(
        pc.make_struct(
            pc.is_valid(batch.column("excluded")),
            pc.equal(kind, "inbound"),
            pc.and_(pc.is_null(index), pc.equal(kind, "outbound")),
            pc.is_null(index),
        ),
        "excluded",
        pa.scalar(None, pa.string()),
        "no_number",
        "site_unknown",
    )
    started = batch.column("started").to_numpy(zero_copy_only=False)
    seconds = batch.column("seconds").to_numpy(zero_copy_only=False)
    is_inbound = pc.and_(pc.equal(kind, "inbound"), pc.is_null(batch.column("excluded")))
    for side, rater, groups in zip(("ip", "legacy"), (book.ip, book.legacy), far.groups, strict=True):
        price = _rate(rater, groups, started, seconds, index)
        # Who is called pays nothing: a price that is known, and is 0.
        price["cost"] = pc.if_else(is_inbound, pa.scalar(0, pa.int64()), price["cost"])
        price["why"] = pc.coalesce(unpriced, price["why"])
        columns |= {f"{side}_{name}": values for name, values in price.items()}
    return pa.record_batch(columns)


def _rate(
    rater: Rater | None,
    groups: NDArray[np.int32] | None,
    started: NDArray[np.int64],
    seconds: NDArray[np.int32],
    index: pa.Array,
) -> dict[str, pa.Array]:
    """Return tariff, row, seconds, segments, cost and why of each line; all NULL where it has no far number."""
    known = pc.is_valid(index).to_numpy(zero_copy_only=False)
    if rater is None or groups is None:
        nothing = {name: pa.nulls(len(index), kind) for name, kind in _PRICE.items()}
        return {**nothing, "why": pa.array(np.full(len(index), "no_tariff"), pa.string(), mask=~known)}
    rated = rater.rate(started, seconds, groups[index.fill_null(0).to_numpy(zero_copy_only=False)])
    has_price = known & (rated.why == 0)
    has_row = has_price & (rated.version >= 0)
    versions = pa.array(rater.versions, pa.string())
    reasons = pa.array(rater.reasons, pa.string())
    return {
        "tariff": versions.take(pa.array(rated.version, mask=~has_row)),
        "row": pa.array(rated.row, mask=~has_row),
        "seconds": pa.array(rated.rated_seconds, mask=~has_price),
        "segments": pa.array(rated.segments, mask=~has_price),
        "cost": pa.array(rated.cost, mask=~has_price),
        "why": reasons.take(pa.array(rated.why, mask=~known | has_price)),
    }


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
