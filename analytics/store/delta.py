"""A Delta table's log: its schema, its files at a version, and commits to it."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Field, PostCommitHookProperties, Schema, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.schema import PrimitiveType
from deltalake.transaction import AddAction, RemoveAction

from analytics.store.schema import Column, Kind, Table
from analytics.store.settings import LakeSettings, StoreError

TYPES: Mapping[Kind, str] = {
    Kind.BOOLEAN: "boolean",
    Kind.SHORT: "short",
    Kind.INTEGER: "integer",
    Kind.LONG: "long",
    Kind.DOUBLE: "double",
    Kind.TEXT: "string",
    Kind.DATE: "date",
    Kind.TIME: "timestamp",
}
LOG = "_delta_log"
CHECKPOINT_EVERY = 25
"""Versions between checkpoints; opening a table reads the commits since the last one, about 0.2 ms each."""
KEPT_CHECKPOINTS = 3
MOST_WORDS = 300
"""Characters of another library's message that are passed on."""
_LAYERS = re.compile(r"^(?:(?:Kernel error|Generic delta kernel error|Generic LocalFileSystem error|Generic error): )+")
LASTING_CHECKPOINTS = 1_000
"""Every so many versions a checkpoint stays, so that old versions are read without replaying thousands of commits."""


@dataclass(frozen=True, slots=True)
class DataFile:
    """One Parquet file that a version of a table names."""

    path: str
    """Path under the table's folder."""
    size: int
    """Octets."""
    rows: int
    partition: Mapping[str, str]
    minimum: Mapping[str, Any]
    """Least values of the columns of `pruned_columns`, where known."""
    maximum: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The files of one version of a table."""

    version: int
    files: tuple[DataFile, ...]
    complete: bool
    """Whether every file surely holds every column: none is from before a column was added."""


def partition_columns(table: Table) -> list[str]:
    """Columns that the table is cut by, first one first."""
    return [table.partition, *table.also_partition]


def nullable(column: Column) -> bool:
    """Whether the column may be NULL: where the schema says what that means."""
    return column.missing != ""


def delta_schema(table: Table) -> Schema:
    """Return the table's schema as Delta writes it."""
    return Schema([Field(c.name, PrimitiveType(TYPES[c.kind]), nullable=nullable(c)) for c in table.columns])


def configuration(settings: LakeSettings) -> dict[str, str | None]:
    """Return the properties that bound a table's log."""
    return {
        "delta.logRetentionDuration": f"interval {settings.history_days} days",
        "delta.deletedFileRetentionDuration": f"interval {settings.history_days} days",
        "delta.setTransactionRetentionDuration": f"interval {settings.batch_days} days",
        "delta.dataSkippingNumIndexedCols": "-1",
    }


def open_table(root: Path, table: Table, version: int | None = None) -> DeltaTable | None:
    """Return a table at a version, by default the newest; None where it was never written."""
    folder = root / table.name
    if not (folder / LOG).is_dir():
        return None
    try:
        return DeltaTable(folder, version=version)
    except TableNotFoundError as error:
        if version is not None:
            raise StoreError(f"table {table.name} has no version {version}, or not any more") from error
        return None
    except (DeltaError, OSError, ValueError) as error:
        newest = None if version is None else _newest_version(folder)
        if newest is not None and version is not None and version > newest:
            raise StoreError(f"table {table.name} has no version {version}: the newest is {newest}") from error
        asked = "" if version is None else f" at version {version}"
        raise StoreError(f"the log of table {table.name}{asked} cannot be read: {first_line(error)}") from error


def _newest_version(folder: Path) -> int | None:
    try:
        return DeltaTable(folder).version()
    except (DeltaError, OSError, ValueError):
        return None


def create_table(root: Path, table: Table, settings: LakeSettings) -> DeltaTable:
    """Make a table where it is not there yet; two processes may do so at once."""
    folder = root / table.name
    try:
        return DeltaTable.create(
            folder,
            delta_schema(table),
            mode="ignore",
            partition_by=partition_columns(table),
            name=table.name,
            description=table.doc,
            configuration=configuration(settings),
        )
    except CommitFailedError:
        return DeltaTable(folder)
    except (DeltaError, OSError) as error:
        raise StoreError(f"table {table.name} cannot be made: {first_line(error)}") from error


def differences(handle: DeltaTable, table: Table) -> tuple[list[Column], list[str]]:
    """Return the columns that a table lacks and may be given, and what else is not as declared, in words."""
    found = {field.name: field for field in handle.schema().fields}
    lacking, wrong = [], []
    for column in table.columns:
        field = found.pop(column.name, None)
        if field is None and nullable(column):
            lacking.append(column)
        elif field is None:
            wrong.append(f"column {column.name} is not there")
        elif str(field.type) != str(PrimitiveType(TYPES[column.kind])):
            wrong.append(f"column {column.name} is {field.type}, not {TYPES[column.kind]}")
    wrong += [f"column {name} is not declared" for name in found]
    if handle.metadata().partition_columns != partition_columns(table):
        wrong.append(f"it is cut by {', '.join(handle.metadata().partition_columns)}")
    return lacking, wrong


def add_columns(handle: DeltaTable, table: Table) -> None:
    """Give a table the columns that were declared since it was made; StoreError where it cannot be made to fit."""
    lacking, wrong = differences(handle, table)
    if wrong:
        raise StoreError(f"table {table.name} in this store is of another version of Callgauge: {'; '.join(wrong)}")
    if not lacking:
        return
    try:
        handle.alter.add_columns([Field(c.name, PrimitiveType(TYPES[c.kind]), nullable=True) for c in lacking])
    except (DeltaError, OSError) as error:
        handle.update_incremental()
        if differences(handle, table)[0]:
            raise StoreError(f"table {table.name} cannot be given new columns: {first_line(error)}") from error


def first_line(error: BaseException) -> str:
    """Return what an error says in one line: people need no backtrace, and no names of the layers that passed it on."""
    lines = str(error).strip().splitlines()
    if not lines:
        return type(error).__name__
    system = re.search(r"\(os error (\d+)\)|\[Errno (\d+)\]", str(error))
    if system is not None:
        path = re.search(r"(/[^\s:'\"]+)", str(error))
        words = os.strerror(int(system[1] or system[2]))
        return f"{path[1]}: {words}" if path else words
    if "found gap" in lines[0]:
        return "entries of it are missing"
    words = _LAYERS.sub("", lines[0])
    return words if len(words) <= MOST_WORDS else f"{words[:MOST_WORDS]}…"


def pruned_columns(table: Table) -> frozenset[str]:
    """Columns whose least and greatest values stand in the log: times, and sites; never people."""
    times = {column.name for column in table.columns if column.kind in {Kind.TIME, Kind.DATE}}
    return frozenset((times | {"site"}) & {column.name for column in table.columns}) - set(partition_columns(table))


def snapshot(handle: DeltaTable, table: Table) -> Snapshot:
    """Return the files of the version that the handle stands at."""
    actions = pa.table(handle.get_add_actions(flatten=True))
    names = set(actions.column_names)
    partitions = partition_columns(table)
    stored = [f"null_count.{column.name}" for column in table.columns if column.name not in partitions]
    complete = all(name in names and not actions.column(name).null_count for name in stored)
    wanted = ["path", "size_bytes", "num_records", *(f"partition.{name}" for name in partitions)]
    bounds = [f"{end}.{name}" for end in ("min", "max") for name in pruned_columns(table)]
    rows = actions.select([*wanted, *(name for name in bounds if name in names)]).to_pylist()
    files = tuple(
        DataFile(
            path=row["path"],
            size=row["size_bytes"],
            rows=row["num_records"] or 0,
            partition={name: _text(row[f"partition.{name}"]) for name in partitions},
            minimum={name[4:]: value for name, value in row.items() if name.startswith("min.") and value is not None},
            maximum={name[4:]: value for name, value in row.items() if name.startswith("max.") and value is not None},
        )
        for row in rows
    )
    return Snapshot(handle.version(), files, complete)


def _text(value: Any) -> str:
    return value.isoformat() if isinstance(value, date | datetime) else str(value)


def commit(
    folder: Path,
    open_again: Callable[[], DeltaTable],
    table: Table,
    settings: LakeSettings,
    actions: Callable[[DeltaTable], Sequence[AddAction | RemoveAction] | None],
    *,
    app: tuple[str, int] | None = None,
    marks: Callable[[DeltaTable], Mapping[str, int] | None] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> int | None:
    """Commit what `actions` wants to do to the newest version; return the version made.

    `actions` is asked anew each time another process was faster, so that it always sees what it changes; None from it,
    or an application transaction that is already there, commits nothing. `marks` gives further transactions likewise.
    """
    give_up = time.monotonic() + settings.commit_seconds
    pause = 0.002
    while True:
        handle = open_again()
        if app is not None and is_done(handle, app):
            return None
        wanted = actions(handle)
        if wanted is None:
            return None
        marked = marks(handle) if marks is not None else {}
        if marked is None:
            return None
        version = handle.version() + 1
        named = ([app] if app is not None else []) + list(marked.items())
        transactions = [Transaction(name, number, int(time.time() * 1000)) for name, number in named] or None
        try:
            handle.create_write_transaction(
                list(wanted),
                "append",
                handle.schema(),
                partition_columns(table),
                commit_properties=CommitProperties(
                    custom_metadata=dict(metadata or {}), max_commit_retries=0, app_transactions=transactions
                ),
                # A checkpoint that fails must not look like a commit that failed: it is made apart.
                post_commithook_properties=PostCommitHookProperties(
                    create_checkpoint=False, cleanup_expired_logs=False
                ),
            )
        except CommitFailedError as error:
            if time.monotonic() > give_up:
                raise StoreError(
                    f"table {table.name} is busy: no commit in {settings.commit_seconds:g} s ({first_line(error)})"
                ) from error
            time.sleep(pause)
            pause = min(0.1, pause * 2)
            continue
        except (DeltaError, OSError) as error:
            raise StoreError(f"table {table.name} cannot be written: {first_line(error)}") from error
        if settings.durable:
            synchronise([folder / LOG / f"{version:020d}.json"])
        return version


def is_newest(folder: Path, version: int) -> bool:
    """Whether a table has no later version, at the cost of two small reads: listing a long log takes much longer."""
    log = folder / LOG
    if (log / f"{version + 1:020d}.json").exists():
        return False
    try:
        gathered = json.loads((log / "_last_checkpoint").read_text(encoding="utf-8"))["version"]
    except FileNotFoundError:
        return (log / f"{version:020d}.json").exists()
    except (OSError, ValueError, KeyError, TypeError):
        return False
    # The entry of the next version may be cleaned away, but only once a later checkpoint stands for it.
    return bool(gathered <= version)


def checkpoint(handle: DeltaTable, folder: Path) -> bool:
    """Gather the log up to the handle's version in one file; whether that was possible (the table is whole without).

    Of earlier such files only some are kept, for they are as large as the table's list of files and batches.
    """
    try:
        handle.create_checkpoint()
        past = handle.version() - KEPT_CHECKPOINTS * CHECKPOINT_EVERY
        if past % LASTING_CHECKPOINTS:
            (folder / LOG / f"{past:020d}.checkpoint.parquet").unlink(missing_ok=True)
    except (DeltaError, OSError):
        return False
    return True


def shorten_log(folder: Path, settings: LakeSettings, now: datetime) -> int:
    """Remove entries of versions that are past the history, by age or number; return how many.

    A version can be read from the last checkpoint before it on: nothing after that one is touched.
    """
    log = folder / LOG
    entries = {int(path.name[:20]): path for path in log.glob("*.json") if path.name[:20].isdigit()}
    gathered = {int(path.name[:20]): path for path in log.glob("*.checkpoint.parquet") if path.name[:20].isdigit()}
    if not entries or not gathered:
        return 0
    newest = max(entries)
    since = now.timestamp() - settings.history_days * 86_400
    young = [number for number, path in entries.items() if _written_at(path) >= since]
    floor = max(newest - settings.history_versions, min(young, default=newest + 1) - 1)
    base = max((number for number in gathered if number <= floor), default=0)
    for number, path in gathered.items():
        if number < base:
            path.unlink(missing_ok=True)
    old = [path for number, path in entries.items() if number < base]
    for path in old:
        path.unlink(missing_ok=True)
    return len(old)


def _written_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        # Another process is at the same work.
        return 0.0


def is_done(handle: DeltaTable, app: tuple[str, int]) -> bool:
    """Whether the application's transaction, or a later one of it, is in the table."""
    done = handle.transaction_version(app[0])
    return done is not None and done >= app[1]


def synchronise(paths: Sequence[Path]) -> None:
    """Bring files and the entries of their folders to the disk."""
    for path in [*paths, *sorted({path.parent for path in paths})]:
        number = os.open(path, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def add_action(
    path: str, size: int, partition: Mapping[str, str], statistics: Mapping[str, Any], *, changes: bool = True
) -> AddAction:
    """Return the action that adds a file."""
    return AddAction(path, size, dict(partition), int(time.time() * 1000), changes, json.dumps(statistics))


def remove_action(file: DataFile, *, changes: bool = True) -> RemoveAction:
    """Return the action that takes a file out of the newest version."""
    return RemoveAction(file.path, changes, int(time.time() * 1000), file.size, dict(file.partition))
