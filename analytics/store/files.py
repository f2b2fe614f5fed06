"""Parquet files of a table: written by DuckDB from a query, checked against the schema, described for Delta's log."""

from __future__ import annotations

import calendar
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import duckdb

from analytics.store.delta import DataFile, first_line, nullable, partition_columns, pruned_columns, synchronise
from analytics.store.schema import Column, Grain, Kind, Table
from analytics.store.settings import StoreError

FAMILIES: Mapping[Kind, frozenset[str]] = {
    Kind.BOOLEAN: frozenset({"BOOLEAN"}),
    **dict.fromkeys(
        (Kind.SHORT, Kind.INTEGER, Kind.LONG),
        frozenset(
            {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"}
        ),
    ),
    Kind.DOUBLE: frozenset({"FLOAT", "DOUBLE"}),
    Kind.TEXT: frozenset({"VARCHAR"}),
    Kind.DATE: frozenset({"DATE"}),
    Kind.TIME: frozenset({"TIMESTAMP WITH TIME ZONE", "TIMESTAMP_NS WITH TIME ZONE"}),
}
"""DuckDB types that a column takes: the same kind in any width; a value that does not fit is an error, not cut."""
UNTYPED = '"NULL"'
PLAIN = re.compile(r"[A-Za-z0-9_-]+")
"""What may stand in the name of a partition's folder."""
NO_PARTITION = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """One Parquet file that lies in the table's folder and that no version names yet."""

    path: str
    size: int
    rows: int
    partition: Mapping[str, str]
    statistics: Mapping[str, Any]
    """As Delta's log wants them: numRecords, minValues, maxValues, nullCount."""


def identifier(name: str) -> str:
    """Quote a name for SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: object) -> str:
    """Write a value into SQL where parameters cannot stand, as in a view."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, datetime):
        return f"TIMESTAMPTZ '{value.astimezone(UTC).isoformat(sep=' ')}'"
    if isinstance(value, date):
        return f"DATE '{value.isoformat()}'"
    return "'" + str(value).replace("'", "''") + "'"


def projection(table: Table, connection: duckdb.DuckDBPyConnection, sql: str) -> str:
    """Return a query of the table's columns in their order and types out of `sql`, or say why that cannot be."""
    try:
        described = connection.execute(f"DESCRIBE {sql}").fetchall()
    except duckdb.Error as error:
        raise StoreError(f"rows for table {table.name} cannot be read: {first_line(error)}") from error
    given = {str(row[0]): str(row[1]) for row in described}
    for name in given:
        if all(name != column.name for column in table.columns):
            raise StoreError(f"table {table.name} has no column {name}")
    chosen = [_chosen(table, column, given.get(column.name)) for column in table.columns]
    return f"SELECT {', '.join(chosen)} FROM ({sql})"  # noqa: S608 - names are quoted


def _chosen(table: Table, column: Column, given: str | None) -> str:
    name = identifier(column.name)
    if given is None or given == UNTYPED:
        if not nullable(column):
            raise StoreError(f"column {column.name} of table {table.name} must not be empty and is not given")
        return f"CAST(NULL AS {column.kind.value}) AS {name}"
    base = "VARCHAR" if given.startswith("ENUM") else given
    if base not in FAMILIES[column.kind]:
        raise StoreError(f"column {column.name} of table {table.name} is {column.kind.value}, not {given}")
    return name if given == column.kind.value else f"CAST({name} AS {column.kind.value}) AS {name}"


def write_files(
    folder: Path,
    table: Table,
    connection: duckdb.DuckDBPyConnection,
    query: str,
    *,
    durable: bool,
) -> list[WrittenFile]:
    """Copy the rows of a query to new Parquet files under the table's folder; none are left behind by an error."""
    token = uuid.uuid4().hex
    partitions = ", ".join(identifier(name) for name in partition_columns(table))
    settings = [
        "FORMAT parquet",
        "COMPRESSION zstd",
        f"PARTITION_BY ({partitions})",
        "APPEND",
        f"FILENAME_PATTERN '{token}-{{uuid}}'",
        "RETURN_STATS",
    ]
    target = literal(str(folder))
    try:
        rows = connection.execute(f"COPY ({query}) TO {target} ({', '.join(settings)})").fetchall()
        written = [_described(folder, table, row) for row in rows]
        if durable and written:
            synchronise([folder / file.path for file in written])
    except duckdb.Error as error:
        _discard(folder, token)
        raise StoreError(f"rows of table {table.name} cannot be written: {first_line(error)}") from error
    except BaseException:
        _discard(folder, token)
        raise
    return written


def write_file(
    folder: Path,
    table: Table,
    connection: duckdb.DuckDBPyConnection,
    query: str,
    partition: Mapping[str, str],
    *,
    durable: bool,
) -> WrittenFile | None:
    """Copy the rows of a query, all of one partition, in their order to one new file; None where there are none."""
    token = uuid.uuid4().hex
    path = folder.joinpath(*(f"{name}={value}" for name, value in partition.items()), f"{token}-0.parquet")
    path.parent.mkdir(parents=True, exist_ok=True)
    cut = ", ".join(identifier(name) for name in partition)
    try:
        copied = connection.execute(
            f"COPY (SELECT * EXCLUDE ({cut}) FROM ({query})) TO {literal(str(path))} "  # noqa: S608 - quoted
            "(FORMAT parquet, COMPRESSION zstd, RETURN_STATS)"
        ).fetchall()
        row = copied[0]
        written = _described(folder, table, [row[0], row[1], row[2], row[3], row[4], partition])
        if not written.rows:
            path.unlink()
            return None
        if durable:
            synchronise([path])
    except duckdb.Error as error:
        _discard(folder, token)
        raise StoreError(f"rows of table {table.name} cannot be written: {first_line(error)}") from error
    except BaseException:
        _discard(folder, token)
        raise
    return written


def _discard(folder: Path, token: str) -> None:
    for path in folder.rglob(f"{token}-*"):
        path.unlink(missing_ok=True)


def discard(folder: Path, files: Iterable[WrittenFile]) -> None:
    """Remove files that no version will name."""
    for file in files:
        (folder / file.path).unlink(missing_ok=True)


def damage(folder: Path, file: DataFile) -> str | None:
    """Return what is wrong with a file as seen from outside; None where it is there in its full size."""
    path = folder / file.path
    try:
        size = path.stat().st_size
    except OSError:
        return f"the file {path} is gone"
    return None if size == file.size else f"the file {path} is damaged ({size} octets instead of {file.size})"


def _described(folder: Path, table: Table, row: Sequence[Any]) -> WrittenFile:
    path, rows, size, _, by_column, keys, *_ = row
    partition = {name: str(keys[name]) for name in partition_columns(table)}
    for name, value in partition.items():
        if value in {NO_PARTITION, "NULL", "None"}:
            raise StoreError(f"column {name} of table {table.name} must not be empty")
        if not PLAIN.fullmatch(value):
            raise StoreError(f"column {name} of table {table.name} cuts partitions and cannot hold {value!r}")
    statistics = _statistics(table, int(rows), {str(name).strip('"'): one for name, one in by_column.items()})
    check_partition(table, partition, statistics)
    return WrittenFile(Path(path).relative_to(folder).as_posix(), int(size), int(rows), partition, statistics)


def _statistics(table: Table, rows: int, by_column: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """Return Delta's statistics; only of columns that queries prune by, for the log must name no person."""
    minimum: dict[str, Any] = {}
    maximum: dict[str, Any] = {}
    nulls: dict[str, int] = {}
    cut = set(partition_columns(table))
    for column in table.columns:
        if column.name in cut:
            continue
        of = by_column.get(column.name, {})
        nulls[column.name] = int(of.get("null_count", rows if not of else 0))
        if nulls[column.name] and not nullable(column):
            raise StoreError(f"column {column.name} of table {table.name} must not be empty")
        if column.name in pruned_columns(table) and of.get("min_is_exact") == "true" == of.get("max_is_exact"):
            minimum[column.name] = _json_value(column.kind, of["min"])
            maximum[column.name] = _json_value(column.kind, of["max"])
    return {"numRecords": rows, "minValues": minimum, "maxValues": maximum, "nullCount": nulls}


def _json_value(kind: Kind, value: str) -> Any:
    """Return a statistic of DuckDB as Delta writes it."""
    if kind is Kind.TIME:
        return moment(value).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return value


def moment(text: str) -> datetime:
    """Read a time with its offset, as DuckDB writes it (+00)."""
    return datetime.fromisoformat(text).astimezone(UTC)


def partition_day(table: Table, at: date) -> date:
    """Return the value of the first partition column for a UTC day."""
    return at.replace(day=1) if table.grain is Grain.MONTH else at


def partition_end(table: Table, begin: date) -> date:
    """Return the day after a partition's last day."""
    if table.grain is Grain.MONTH:
        return begin + timedelta(days=calendar.monthrange(begin.year, begin.month)[1])
    return begin + timedelta(days=1)


def check_partition(table: Table, partition: Mapping[str, str], statistics: Mapping[str, Any]) -> None:
    """A row in the partition of another day would be pruned away by its time: refuse it."""
    begin = date.fromisoformat(partition[table.partition])
    if partition_day(table, begin) != begin:
        raise StoreError(f"column {table.partition} of table {table.name} must be a first day of a month, not {begin}")
    if table.clock == table.partition or table.clock not in statistics["minValues"]:
        return
    first = datetime.fromisoformat(statistics["minValues"][table.clock])
    last = datetime.fromisoformat(statistics["maxValues"][table.clock])
    after = datetime.combine(partition_end(table, begin), time(), UTC)
    if first < datetime.combine(begin, time(), UTC) or last >= after:
        wrong = first if first < datetime.combine(begin, time(), UTC) else last
        raise StoreError(
            f"column {table.partition} of table {table.name} must be the UTC {table.grain} of {table.clock}: "
            f"a row of {wrong.isoformat()} stands under {begin}"
        )
