"""Whether a store is whole: every file that its logs name is there and holds what the log says."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable

from analytics.health import FOLDER as HEALTH
from analytics.store import pruning, quarantine, site_minutes
from analytics.store.delta import DataFile, differences, first_line, open_table, partition_columns, snapshot
from analytics.store.files import damage, identifier
from analytics.store.lake import MADE, MARKER, QUARANTINE, TEMPORARY, Lake
from analytics.store.maintenance import unnamed
from analytics.store.schema import RATINGS, SITE_MINUTES, TABLES, USAGE, Kind, Table
from analytics.store.settings import StoreError

ARROW = {
    Kind.BOOLEAN: pa.bool_(),
    Kind.SHORT: pa.int16(),
    Kind.INTEGER: pa.int32(),
    Kind.LONG: pa.int64(),
    Kind.DOUBLE: pa.float64(),
    Kind.TEXT: pa.string(),
    Kind.DATE: pa.date32(),
    Kind.TIME: pa.timestamp("us", tz="UTC"),
}
FUTURE_DAYS = 2
BESIDE = frozenset({HEALTH, "agents", "dead-letters", "_cdr_import", "_alerts"})
"""Folders that processes keep in a store beside its tables."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a check has to say."""

    table: str
    code: str
    """Short name: file_gone, file_damaged, log_unreadable, …"""
    sentence: str
    harmless: bool = False
    """Worth knowing, but nothing is lost or wrong."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What was looked at in one table."""

    table: str
    version: int
    files: int
    rows: int
    octets: int


def check(lake: Lake, *, now: datetime, deep: bool = False) -> tuple[list[Checked], list[Finding]]:
    """Look at everything in a store; `deep` reads every value of every file too."""
    checked: list[Checked] = []
    findings: list[Finding] = []
    for table in TABLES:
        try:
            handle = open_table(lake.root, table)
        except StoreError as error:
            findings.append(Finding(table.name, "log_unreadable", str(error)))
            continue
        if handle is None:
            findings += _without_log(lake, table)
            continue
        files = snapshot(handle, table).files
        checked.append(
            Checked(table.name, handle.version(), len(files), sum(f.rows for f in files), sum(f.size for f in files))
        )
        found = [*_schema(handle, table), *_files(lake, table, files), *_future(table, files, now)]
        if deep and not found:
            found += _values(lake, table, files)
        if table is SITE_MINUTES and not found:
            found += _hours(lake)
        findings += [*found, *_leftovers(lake, table, now)]
    findings += [*_rated(lake, checked), *_quarantine(lake), *_strangers(lake)]
    return checked, findings


def _without_log(lake: Lake, table: Table) -> Iterator[Finding]:
    files = list(lake.folder(table.name).rglob("*.parquet"))
    if files:
        yield Finding(table.name, "log_gone", f"table {table.name} has {len(files)} files and no log that names them")
    elif (lake.root / MADE / table.name).exists():
        yield Finding(table.name, "table_gone", f"table {table.name} was made in this store and is gone")


def _rated(lake: Lake, checked: Iterable[Checked]) -> Iterator[Finding]:
    """Stores of earlier versions do not note which tables they made; ratings tell of the one that reports read."""
    rows = {one.table: one.rows for one in checked}
    if rows.get(RATINGS.name) and not lake.folder(USAGE.name).exists() and not (lake.root / MADE / USAGE.name).exists():
        yield Finding(USAGE.name, "table_gone", "table usage is not there, and table ratings tells of days in it")


def _schema(handle: DeltaTable, table: Table) -> Iterator[Finding]:
    lacking, wrong = differences(handle, table)
    for sentence in wrong:
        yield Finding(table.name, "schema", f"table {table.name} is not as declared: {sentence}")
    if lacking:
        names = ", ".join(column.name for column in lacking)
        yield Finding(table.name, "older_schema", f"table {table.name} has no {names} yet", harmless=True)


def _files(lake: Lake, table: Table, files: Iterable[DataFile]) -> Iterator[Finding]:
    folder = lake.folder(table.name)
    for file in files:
        problem = damage(folder, file)
        if problem:
            code = "file_gone" if "is gone" in problem else "file_damaged"
            yield Finding(table.name, code, f"{problem}, and with it {file.rows} rows of table {table.name}")
            continue
        try:
            footer = pq.read_metadata(folder / file.path)
            columns = {field.name: field.type for field in footer.schema.to_arrow_schema()}
        except (pa.ArrowException, OSError) as error:
            sentence = f"the file {folder / file.path} is damaged: {first_line(error)}"
            yield Finding(table.name, "file_damaged", sentence)
            continue
        if footer.num_rows != file.rows:
            sentence = f"the file {folder / file.path} holds {footer.num_rows} rows, the log says {file.rows}"
            yield Finding(table.name, "row_count", sentence)
        yield from _columns(table, folder / file.path, columns)


def _columns(table: Table, path: Path, columns: dict[str, pa.DataType]) -> Iterator[Finding]:
    cut = partition_columns(table)
    for column in table.columns:
        found = columns.get(column.name)
        if column.name in cut or found is None:
            continue
        if found != ARROW[column.kind]:
            sentence = f"column {column.name} of the file {path} is {found}, not {ARROW[column.kind]}"
            yield Finding(table.name, "column_type", sentence)


def _future(table: Table, files: Iterable[DataFile], now: datetime) -> Iterator[Finding]:
    limit = (now.astimezone(UTC) + timedelta(days=FUTURE_DAYS)).date()
    ahead: dict[str, int] = {}
    for file in files:
        begin = file.partition[table.partition]
        if date.fromisoformat(begin) > limit:
            ahead[begin] = ahead.get(begin, 0) + file.rows
    for begin, rows in sorted(ahead.items()):
        yield Finding(table.name, "future", f"table {table.name} has {rows} rows of {begin}, which is in the future")


def _values(lake: Lake, table: Table, files: Iterable[DataFile]) -> Iterator[Finding]:
    connection = lake.connect()
    folder = lake.folder(table.name)
    try:
        for file in files:
            query = pruning.select(connection, table, folder, [file])
            sums = ", ".join(f"bit_xor(hash({identifier(column.name)}))" for column in table.columns)
            try:
                connection.execute(f"SELECT {sums} FROM ({query})").fetchall()  # noqa: S608 - quoted
            except duckdb.Error as error:
                sentence = f"the file {folder / file.path} is damaged: {first_line(error)}"
                yield Finding(table.name, "file_damaged", sentence)
    finally:
        connection.close()


def _hours(lake: Lake) -> Iterator[Finding]:
    connection = lake.connect()
    try:
        for month, count in site_minutes.hours_out_of_step(lake, connection):
            sentence = f"table site_minutes has {count} hours of {month:%Y-%m} that are not the sums of their minutes"
            yield Finding(SITE_MINUTES.name, "out_of_step", sentence)
    except duckdb.Error as error:
        yield Finding(SITE_MINUTES.name, "unreadable", f"table site_minutes cannot be read: {first_line(error)}")
    finally:
        connection.close()


def _leftovers(lake: Lake, table: Table, now: datetime) -> Iterator[Finding]:
    old = young = octets = 0
    for path in unnamed(lake, table):
        try:
            status = path.stat()
        except FileNotFoundError:
            continue
        if now.timestamp() - status.st_mtime >= lake.settings.orphan_hours * 3_600:
            old += 1
            octets += status.st_size
        else:
            young += 1
    if old:
        sentence = (
            f"table {table.name} has {old} files ({octets} octets) that no version names, left by a process that died; "
            "`callgauge store compact` removes them"
        )
        yield Finding(table.name, "leftover", sentence, harmless=True)
    if young:
        sentence = f"table {table.name} has {young} young files that no version names: they are being written, or left"
        yield Finding(table.name, "unfinished", sentence, harmless=True)


def _quarantine(lake: Lake) -> Iterator[Finding]:
    try:
        held = quarantine.contents(lake.root / QUARANTINE)
    except duckdb.Error as error:
        yield Finding("", "quarantine_unreadable", f"quarantine cannot be read: {first_line(error)}")
        return
    for table, (rows, octets) in held.items():
        sentence = f"quarantine holds {rows} rows ({octets} octets) for table {table}: their times cannot be right"
        yield Finding(table, "quarantine", sentence, harmless=True)


def _strangers(lake: Lake) -> Iterator[Finding]:
    known = {MARKER, QUARANTINE, TEMPORARY, MADE, *BESIDE, *(table.name for table in TABLES)}
    for path in sorted(lake.root.iterdir()):
        if path.name not in known and not path.name.startswith(MARKER):
            yield Finding("", "stranger", f"{path} is no part of the store", harmless=True)


def as_json(checked: Iterable[Checked], findings: Iterable[Finding]) -> str:
    """Write a check for programs."""
    tables = [{name: getattr(one, name) for name in Checked.__slots__} for one in checked]
    said = [{name: getattr(one, name) for name in Finding.__slots__} for one in findings]
    return json.dumps({"tables": tables, "findings": said}, indent=2)
