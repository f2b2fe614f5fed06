"""Which files of a table a question needs, and a view over them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

import duckdb

from analytics.store.delta import DataFile, partition_columns
from analytics.store.files import identifier, literal, partition_end
from analytics.store.schema import Kind, Table


def needed(
    table: Table,
    files: Sequence[DataFile],
    since: datetime | None,
    until: datetime | None,
    only: Mapping[str, Collection[Any]],
) -> list[DataFile]:
    """Return the files that may hold rows with since <= clock < until and with the values asked for."""
    kept = [file for file in files if _in_time(table, file, since, until)]
    for name, values in only.items():
        texts = {str(value) for value in values}
        if name in partition_columns(table):
            kept = [file for file in kept if file.partition[name] in texts]
        else:
            kept = [file for file in kept if _may_hold(file, name, values)]
    return kept


def _in_time(table: Table, file: DataFile, since: datetime | None, until: datetime | None) -> bool:
    begin = date.fromisoformat(file.partition[table.partition])
    first = file.minimum.get(table.clock, datetime.combine(begin, time(), UTC))
    if until is not None and first >= until:
        return False
    if since is None:
        return True
    if table.clock in file.maximum:
        return bool(file.maximum[table.clock] >= since)
    return datetime.combine(partition_end(table, begin), time(), UTC) > since


def _may_hold(file: DataFile, name: str, values: Collection[Any]) -> bool:
    if name not in file.minimum or name not in file.maximum:
        return True
    return any(file.minimum[name] <= value <= file.maximum[name] for value in values)


def conditions(
    table: Table, since: datetime | None, until: datetime | None, only: Mapping[str, Collection[Any]]
) -> list[str]:
    """Return the SQL conditions of a question."""
    clock = identifier(table.clock)
    dated = table.column(table.clock).kind is Kind.DATE
    found = []
    for sign, moment in ((">=", since), ("<", until)):
        if moment is not None:
            value = f"CAST({literal(moment)} AT TIME ZONE 'UTC' AS TIMESTAMP)" if dated else literal(moment)
            found.append(f"{clock} {sign} {value}")
    for name, values in only.items():
        table.column(name)
        found.append(f"{identifier(name)} IN ({', '.join(literal(value) for value in values)})" if values else "false")
    return found


def select(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    folder: Path,
    files: Sequence[DataFile],
    where: Sequence[str] = (),
    *,
    complete: bool = False,
) -> str:
    """Return a query over files of a table, typed as the schema says even where there are none.

    Files from before a column was added hold it as NULL; `complete` says that there are none.
    """
    if not files:
        typed = ", ".join(f"CAST(NULL AS {c.kind.value}) AS {identifier(c.name)}" for c in table.columns)
        return f"SELECT {typed} WHERE false"
    partitions = partition_columns(table)
    paths = ", ".join(literal(str(folder / file.path)) for file in files)
    somewhere = set(partitions)
    if not complete:
        footers = connection.execute(f"SELECT DISTINCT name FROM parquet_schema([{paths}])").fetchall()  # noqa: S608
        somewhere |= {str(name) for (name,) in footers}
    chosen = [
        identifier(c.name)
        if complete or c.name in somewhere
        else f"CAST(NULL AS {c.kind.value}) AS {identifier(c.name)}"
        for c in table.columns
    ]
    types = ", ".join(f"{literal(name)}: {table.column(name).kind.value}" for name in partitions)
    by_name = "" if complete else ", union_by_name = true"
    condition = f" WHERE {' AND '.join(where)}" if where else ""
    return (
        f"SELECT {', '.join(chosen)} FROM read_parquet([{paths}], hive_partitioning = true, "  # noqa: S608 - quoted
        f"hive_types_autocast = false, hive_types = {{{types}}}{by_name}){condition}"
    )
