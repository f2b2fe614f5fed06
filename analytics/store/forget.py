"""Forgetting for good: rows leave the table, and every file that held them leaves the disk.

Old versions that held such rows cannot be read back afterwards. A reader that is at work on them fails.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from pathlib import Path

import duckdb
from deltalake import DeltaTable
from deltalake.transaction import AddAction, RemoveAction

from analytics.store import pruning
from analytics.store.delta import DataFile, add_action, first_line, remove_action, snapshot
from analytics.store.files import WrittenFile, damage, discard, identifier, literal, write_file
from analytics.store.lake import QUARANTINE, Lake
from analytics.store.maintenance import age_hours, remove_files, superseded, unnamed
from analytics.store.schema import Kind, Table
from analytics.store.settings import StoreError

NUMBERS = frozenset(
    {"calling", "called", "original_called", "outpulsed_called", "last_redirect", "directory_number", "account"}
)
DEVICES = frozenset({"device", "orig_device", "dest_device"})
CALLS = frozenset({"call_key", "call_ref", "call_id", "call_label"})
SITES = frozenset({"site", "other_site"})
ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which rows are to be forgotten: those that meet everything given."""

    before: date | None = None
    """Rows whose clock is before this UTC day."""
    calls: tuple[str, ...] = ()
    """Keys or identifiers of calls, as the tables hold them."""
    numbers: tuple[str, ...] = ()
    """Numbers as they were recorded, in any column that holds a person's number."""
    devices: tuple[str, ...] = ()
    sites: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was forgotten in one table, or would be."""

    table: str
    rows: int
    """Rows taken out of the newest version."""
    files_rewritten: int
    files_removed: int
    """Files taken off the disk, old versions and quarantine among them."""
    quarantined: int = 0
    """Rows taken out of quarantine."""
    unfinished: int = 0
    """Files with such rows that are being written, or were left by a process that died: they are left alone."""


def condition(table: Table, wanted: Wanted) -> str | None:
    """Return the SQL condition of the rows; None where the table has no such column, so that none is meant."""
    parts = []
    if wanted.before is not None:
        clock = f"CAST({identifier(table.clock)} AS TIMESTAMP WITH TIME ZONE)"
        parts.append(f"{clock} < {literal(datetime.combine(wanted.before, time(), UTC))}")
    for names, values in (
        (CALLS, wanted.calls),
        (NUMBERS, wanted.numbers),
        (DEVICES, wanted.devices),
        (SITES, wanted.sites),
    ):
        if values:
            one_of = [_one_of(table, name, values) for name in sorted(names) if _has(table, name)]
            if not any(one_of):
                return None
            parts.append(f"({' OR '.join(one for one in one_of if one)})")
    return " AND ".join(parts) or None


def _has(table: Table, name: str) -> bool:
    return any(column.name == name for column in table.columns)


def _one_of(table: Table, name: str, values: Sequence[str]) -> str:
    texts = ", ".join(literal(value) for value in values)
    column = identifier(name)
    return (
        f"{column} IN ({texts})" if table.column(name).kind is Kind.TEXT else f"CAST({column} AS VARCHAR) IN ({texts})"
    )


def forget(lake: Lake, table: Table, wanted: Wanted, *, now: datetime, dry_run: bool) -> Forgotten:
    """Delete the rows from the table and from the disk; `dry_run` only counts them."""
    where = condition(table, wanted)
    if where is None:
        return Forgotten(table.name, 0, 0, 0)
    connection = lake.connect()
    try:
        aside = _forget_quarantined(lake, table, connection, where, dry_run=dry_run)
        if lake.version(table.name) is None:
            return Forgotten(table.name, 0, 0, 0, aside)
        if dry_run:
            held = _holding(lake, table, connection, where)
            doomed, unfinished = _doomed(lake, table, connection, where, now)
            # Files that are rewritten go from the disk too.
            return Forgotten(table.name, sum(held.values()), len(held), len(held) + len(doomed), aside, unfinished)
        for _ in range(ATTEMPTS):
            done = _rewrite(lake, table, connection, where)
            if done is not None:
                break
        else:
            raise StoreError(f"table {table.name} is changed all the time by others: nothing was forgotten")
        doomed, unfinished = _doomed(lake, table, connection, where, now)
        removed = remove_files(doomed, lake.folder(table.name))[0]
        return Forgotten(table.name, done[0], done[1], removed, aside, unfinished)
    finally:
        connection.close()


def _holding(lake: Lake, table: Table, connection: duckdb.DuckDBPyConnection, where: str) -> dict[str, int]:
    """Return the files of the newest version that hold such rows, by their path, with the number of rows."""
    whole = lake.snapshot(table.name)
    folder = lake.folder(table.name)
    found = {}
    for file in whole.files:
        problem = damage(folder, file)
        if problem:
            raise StoreError(f"{problem}: what is to be forgotten in it cannot be found, and nothing was forgotten")
        query = pruning.select(connection, table, folder, [file], complete=whole.complete)
        count = _count(connection, query, where)
        if count:
            found[file.path] = count
    return found


def _count(connection: duckdb.DuckDBPyConnection, query: str, where: str) -> int:
    try:
        rows = connection.execute(f"SELECT count(*) FROM ({query}) WHERE {where}").fetchall()  # noqa: S608 - quoted
    except duckdb.Error as error:
        raise StoreError(f"rows to forget cannot be looked for: {first_line(error)}") from error
    return int(rows[0][0])


def _rewrite(lake: Lake, table: Table, connection: duckdb.DuckDBPyConnection, where: str) -> tuple[int, int] | None:
    """Replace files that hold such rows by files without them, in one commit; None where others changed them."""
    whole = lake.snapshot(table.name)
    folder = lake.folder(table.name)
    held = _holding(lake, table, connection, where)
    if not held:
        return 0, 0
    old = [file for file in whole.files if file.path in held]
    new: list[WrittenFile] = []
    try:
        for file in old:
            written = _without(lake, table, connection, file, where, complete=whole.complete)
            new += [written] if written is not None else []
    except StoreError:
        discard(folder, new)
        raise

    def actions(handle: DeltaTable) -> list[AddAction | RemoveAction] | None:
        if not held.keys() <= {file.path for file in snapshot(handle, table).files}:
            return None
        adds = [add_action(one.path, one.size, one.partition, one.statistics) for one in new]
        return [*adds, *(remove_action(file) for file in old)]

    version = lake.commit(table, actions, metadata={"callgauge": "forget"})
    if version is None:
        discard(folder, new)
        return None
    return sum(held.values()), len(old)


def _without(
    lake: Lake,
    table: Table,
    connection: duckdb.DuckDBPyConnection,
    file: DataFile,
    where: str,
    *,
    complete: bool,
) -> WrittenFile | None:
    folder = lake.folder(table.name)
    query = pruning.select(connection, table, folder, [file], complete=complete)
    kept = f"SELECT * FROM ({query}) WHERE NOT coalesce({where}, false)"  # noqa: S608 - quoted
    return write_file(folder, table, connection, kept, file.partition, durable=lake.settings.durable)


def _doomed(
    lake: Lake, table: Table, connection: duckdb.DuckDBPyConnection, where: str, now: datetime
) -> tuple[list[Path], int]:
    """Find every file that the newest version does not name and that holds such rows.

    Return them, and how many are too young: an append that is about to be committed needs its files.
    """
    folder = lake.folder(table.name)
    left = set(unnamed(lake, table))
    doomed, unfinished = [], 0
    for path in sorted({folder / path for path in superseded(lake.made(table), 0)} | left):
        if path.suffix != ".parquet" or not path.exists() or not _may_hold(path, folder, table, connection, where):
            continue
        if path in left and age_hours(path, now) < lake.settings.orphan_hours:
            unfinished += 1
        else:
            doomed.append(path)
    return doomed, unfinished


def _may_hold(path: Path, folder: Path, table: Table, connection: duckdb.DuckDBPyConnection, where: str) -> bool:
    file = DataFile(path.relative_to(folder).as_posix(), 0, 0, _partition(path, folder), {}, {})
    try:
        return _count(connection, pruning.select(connection, table, folder, [file]), where) > 0
    except (StoreError, duckdb.Error):
        # Not a whole Parquet file: half written, and what it holds cannot be told.
        return True


def _partition(path: Path, folder: Path) -> dict[str, str]:
    parts = path.relative_to(folder).parent.parts
    return dict(part.split("=", 1) for part in parts if "=" in part)


def _forget_quarantined(
    lake: Lake, table: Table, connection: duckdb.DuckDBPyConnection, where: str, *, dry_run: bool
) -> int:
    """Take such rows out of the table's quarantine; return how many there were."""
    total = 0
    for path in sorted((lake.root / QUARANTINE / table.name).glob("*.parquet")):
        query = f"SELECT * FROM read_parquet({literal(str(path))}, hive_partitioning = false)"  # noqa: S608 - quoted
        count = _count(connection, query, where)
        total += count
        if not count or dry_run:
            continue
        scratch = path.with_name(f"{path.name}.new")
        connection.execute(
            f"COPY (SELECT * FROM ({query}) WHERE NOT coalesce({where}, false)) TO {literal(str(scratch))} "  # noqa: S608
            "(FORMAT parquet, COMPRESSION zstd)"
        )
        scratch.replace(path)
    return total
