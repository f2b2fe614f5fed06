"""The data path: what processes took in, passed on and lost, which files were imported, how new the tables are."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from analytics.health import STEPS, ProcessHealth, StepCounts, added, read_health
from analytics.questions.asking import (
    EPOCH,
    QuestionError,
    begun,
    check_span,
    cursor_time,
    key_text,
    micros,
    moment,
    pack,
    unpack,
)
from analytics.store.schema import CALLS, CDR_ROWS, IMPORTS, PHONE_REPORTS, SITE_MINUTES, STREAMS, TABLES, USAGE

if TYPE_CHECKING:
    from analytics.store.lake import Lake

MOST_ROWS: Final = 1_000
FED: Final = (CALLS.name, STREAMS.name, SITE_MINUTES.name, CDR_ROWS.name, PHONE_REPORTS.name, USAGE.name)
"""Tables whose newest row says how fresh a feed is."""


class PathStep(NamedTuple):
    """What became of all that came to a step of the data path; came = passed + waiting + lost + aside."""

    step: str
    meaning: str
    unit: str
    """What is counted: packets, messages, facts, rows, points or events."""
    came: int
    passed: int
    waiting: int
    lost: Mapping[str, int]
    """What should have gone on and did not, by reason."""
    aside: Mapping[str, int]
    """Kept out without being a loss, by reason."""
    unexplained: int
    """What is missing in the sum; 0 where the step adds up."""


class PathProcess(NamedTuple):
    """One process of the data path, as it last said of itself."""

    host: str
    pid: int
    command: str
    name: str
    version: str
    state: str
    """`running`, `ended` in good order, or `silent`: it should have been heard again."""
    began: datetime
    heard: datetime
    every_seconds: float
    """How often it should be heard [s]."""
    steps: tuple[PathStep, ...]
    notes: Mapping[str, int]
    """What else was counted."""
    gauges: Mapping[str, float]
    """What is so now: calls and streams going on, times."""
    problems: tuple[str, ...]


class Freshness(NamedTuple):
    """How new the newest row of a table is."""

    table: str
    rows: int
    version: int | None
    """Newest version of the table; None where it was never written."""
    newest: datetime | None
    """Newest time in it, by the statistics of its files."""


class PathHealth(NamedTuple):
    """The data path of a store."""

    as_of: datetime
    processes: tuple[PathProcess, ...]
    steps: tuple[PathStep, ...]
    """All processes added up."""
    tables: tuple[Freshness, ...]
    problems: tuple[str, ...]
    """Health files that cannot be read."""


def path_health(lake: Lake, now: datetime) -> PathHealth:
    """Return what the processes of a store said last, and how fresh its tables are."""
    found, problems = read_health(lake.root)
    at = micros(now) * 1_000
    processes = tuple(_process(one, at) for one in found)
    steps = tuple(_step(one) for one in added(step for one in found for step in one.steps))
    tables = tuple(_freshness(lake, table.name) for table in TABLES if table.name in FED)
    return PathHealth(now, processes, steps, tables, tuple(problems))


def _process(one: ProcessHealth, now: int) -> PathProcess:
    return PathProcess(
        one.host,
        one.pid,
        one.command,
        one.name,
        one.version,
        one.state(now),
        EPOCH + timedelta(microseconds=one.began // 1_000),
        EPOCH + timedelta(microseconds=one.at // 1_000),
        one.every,
        tuple(map(_step, one.steps)),
        dict(one.notes),
        dict(one.gauges),
        one.problems,
    )


def _step(one: StepCounts) -> PathStep:
    return PathStep(
        one.step,
        STEPS[one.step],
        one.unit,
        one.came,
        one.passed,
        one.waiting,
        dict(one.lost),
        dict(one.aside),
        one.unexplained,
    )


def _freshness(lake: Lake, table: str) -> Freshness:
    files = lake.files(table)
    clock = next(one.clock for one in TABLES if one.name == table)
    times = [file.maximum[clock] for file in files if clock in file.maximum]
    return Freshness(table, sum(file.rows for file in files), lake.version(table), max(times, default=None))


class ImportRow(NamedTuple):
    """A file that was read in."""

    key: str
    """16 hexadecimal digits."""
    sha256: str
    """Of the file's bytes, unpacked."""
    name: str
    source: str
    """cucm, asterisk, …, capture."""
    record: str
    """cdr, cmr or capture."""
    imported: datetime
    rows: int
    """Records in it."""
    kept: int
    rejected: int
    first: datetime | None
    """Earliest time in it."""
    last: datetime | None
    node: str | None
    """CUCM: cluster and node in its name."""
    sequence: int | None
    """CUCM: sequence number in its name."""


class ImportList(NamedTuple):
    """One page of imports, newest first."""

    rows: tuple[ImportRow, ...]
    cursor: str | None
    since: datetime
    until: datetime


def imports(
    lake: Lake,
    since: datetime,
    until: datetime,
    *,
    source: str | None = None,
    record: str | None = None,
    rejected: bool = False,
    limit: int = 100,
    cursor: str | None = None,
) -> ImportList:
    """Return files that were imported in a span; `rejected`: only those with rejected records."""
    if not 1 <= limit <= MOST_ROWS:
        raise QuestionError(f"a page has from 1 to {MOST_ROWS:,} rows")
    conditions, values = ["true"], list[object]()
    if cursor is not None:
        end, at, key = unpack(cursor, [int, int, int])
        until = cursor_time(end)
        conditions.append("(epoch_us(imported), file_key) < (?, ?)")
        values += [at, key]
    check_span(since, until)
    for column, wanted in (("source", source), ("record", record)):
        if wanted is not None:
            conditions.append(f"{column} = ?")
            values.append(wanted)
    if rejected:
        conditions.append("rejected > 0")
    with lake.reading() as connection:
        rows = connection.execute(
            "SELECT file_key, sha256, name, source, record, epoch_us(imported), rows, kept, rejected, "  # noqa: S608
            'epoch_us("first"), epoch_us("last"), node, sequence '
            f"FROM ({lake.query(connection, IMPORTS.name, since=since, until=until)}) "
            f"WHERE {' AND '.join(conditions)} ORDER BY imported DESC, file_key DESC LIMIT {limit + 1}",
            values,
        ).fetchall()
    more = pack([micros(until), rows[limit - 1][5], rows[limit - 1][0]]) if len(rows) > limit else None
    found = tuple(
        ImportRow._make(
            [key_text(row[0]), *row[1:5], begun(row[5]), *row[6:9], moment(row[9]), moment(row[10]), *row[11:]]
        )
        for row in rows[:limit]
    )
    return ImportList(found, more, since, until)
