"""What keeps a lake small and fast: retention, merging of small files, removal of what no version needs, checkpoints.

Everything may run beside appends and readers. A file that the newest version no longer names stays for
`history_days`, so that old versions can be read back and a reader at work keeps its files.
"""

from __future__ import annotations

import os
import time as clock
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError
from deltalake.transaction import AddAction, RemoveAction

from analytics.store import pruning, site_minutes
from analytics.store.delta import (
    LOG,
    DataFile,
    Snapshot,
    add_action,
    checkpoint,
    configuration,
    remove_action,
    shorten_log,
    snapshot,
)
from analytics.store.files import WrittenFile, damage, discard, identifier, partition_end, write_file
from analytics.store.lake import QUARANTINE, TEMPORARY, Lake
from analytics.store.schema import SITE_MINUTES, Table
from analytics.store.settings import LakeSettings, StoreError

MB = 1_000_000
MERGE_MB = 256
"""Memory for sorting what is merged; the rest spills. More hardly makes it faster."""
CRUMB_MB = 1
"""Files under this size are what live appends make [MB]."""
CRUMBS = 64
"""So many of them in a partition are merged."""


@dataclass(frozen=True, slots=True)
class Maintained:
    """What was done to one table."""

    table: str
    rows_expired: int = 0
    """Rows older than the table's retention, gone from the newest version."""
    files_merged: int = 0
    files_made: int = 0
    """Files that the merged ones became."""
    files_removed: int = 0
    """Files taken off the disk: no version of the last `history_days` names them."""
    octets_freed: int = 0
    versions_removed: int = 0
    """Old entries of the log taken off the disk."""
    problem: str = ""
    """Why the work on it broke off, in words; empty where it did not."""


def maintain(lake: Lake, table: Table, *, now: datetime) -> Maintained:
    """Apply retention, merge small files, checkpoint the log and remove what no version needs any more."""
    if lake.version(table.name) is None:
        return Maintained(table.name)
    rows_expired = expire(lake, table, now=now)
    merged, made = merge(lake, table)
    # Before the checkpoint: it lets go of the names of files that are past the history.
    removed, freed = vacuum(lake, table, now=now)
    handle = lake.made(table)
    _configure(handle, lake.settings)
    folder = lake.folder(table.name)
    versions_removed = shorten_log(folder, lake.settings, now) if checkpoint(handle, folder) else 0
    return Maintained(table.name, rows_expired, merged, made, removed, freed, versions_removed)


def expire(lake: Lake, table: Table, *, now: datetime) -> int:
    """Take partitions that are wholly past the table's retention out of the newest version; return their rows."""
    days = lake.settings.keep_days.get(table.name, table.keep_days)
    if days is None:
        return 0
    last = now.astimezone(UTC).date() - timedelta(days=days)

    def old(files: Iterable[DataFile]) -> list[DataFile]:
        return [f for f in files if partition_end(table, date.fromisoformat(f.partition[table.partition])) <= last]

    gone: list[DataFile] = []

    def actions(handle: DeltaTable) -> list[AddAction | RemoveAction] | None:
        gone[:] = old(snapshot(handle, table).files)
        return [remove_action(file) for file in gone] or None

    if old(lake.files(table.name)):
        version = lake.commit(table, actions, metadata={"callgauge": "retention"})
        return sum(file.rows for file in gone) if version is not None else 0
    return 0


def merge(lake: Lake, table: Table) -> tuple[int, int]:
    """Merge small files of a partition into sorted ones, one commit a group; return files before and after.

    The same rows stay, except that rows of `site_minutes` of one site and minute are summed.
    """
    whole = lake.snapshot(table.name)
    return _merge_groups(lake, table, whole, groups(whole, lake.settings))


def merge_crumbs(lake: Lake, table: Table, at_least: int = CRUMBS) -> tuple[int, int]:
    """Merge the files that live appends made, where a partition has so many; return files before and after.

    For processes that append without end: each file that a table names costs memory and time at every append. What is
    merged is left alone from then on, so each row is written twice; `merge` does the rest.
    """
    if lake.version(table.name) is None:
        return 0, 0
    whole = lake.snapshot(table.name)
    found = groups(whole, replace(lake.settings, small_file_mb=min(CRUMB_MB, lake.settings.small_file_mb)))
    return _merge_groups(lake, table, whole, [group for group in found if len(group) >= at_least])


def _merge_groups(
    lake: Lake, table: Table, whole: Snapshot, wanted: Sequence[Sequence[DataFile]]
) -> tuple[int, int]:  # fmt: skip
    if not wanted:
        return 0, 0
    merged = made = 0
    connection = lake.connect(min(MERGE_MB, lake.settings.memory_mb))
    try:
        for group in wanted:
            written = _merge_group(lake, table, connection, group, whole)
            if written is not None:
                merged += len(group)
                made += 1
    finally:
        connection.close()
    return merged, made


def groups(whole: Snapshot, settings: LakeSettings) -> list[list[DataFile]]:
    """Return which small files of each partition are merged with each other: oldest first, up to the size of a file."""
    by_partition: dict[tuple[str, ...], list[DataFile]] = {}
    for file in whole.files:
        if file.size < settings.small_file_mb * MB:
            by_partition.setdefault(tuple(file.partition.values()), []).append(file)
    found = []
    for key in sorted(by_partition):
        group: list[DataFile] = []
        for file in sorted(by_partition[key], key=lambda one: (str(one.minimum), one.path)):
            if group and sum(one.size for one in group) + file.size > settings.file_mb * MB:
                found.append(group)
                group = []
            group.append(file)
        found.append(group)
    return [group for group in found if len(group) > 1]


def _merge_group(
    lake: Lake, table: Table, connection: duckdb.DuckDBPyConnection, group: Sequence[DataFile], whole: Snapshot
) -> WrittenFile | None:
    """Merge files into one; None where another process changed them meanwhile, or they cannot be read."""
    folder = lake.folder(table.name)
    for file in group:
        problem = damage(folder, file)
        if problem:
            raise StoreError(f"{problem}: run `callgauge store check`")
    query = pruning.select(connection, table, folder, group, complete=whole.complete)
    if table is SITE_MINUTES:
        query = site_minutes.merged(query)
    order = ", ".join(identifier(name) for name in table.sort)
    written = write_file(
        folder,
        table,
        connection,
        f"SELECT * FROM ({query}) ORDER BY {order}",  # noqa: S608 - names of the schema
        group[0].partition,
        durable=lake.settings.durable,
    )
    rows = sum(file.rows for file in group)
    if written is None or (table is not SITE_MINUTES and written.rows != rows):
        found = written.rows if written else 0
        discard(folder, [written] if written else [])
        raise StoreError(f"{len(group)} files of table {table.name} hold {found} rows, not {rows} as their log says")
    changes = table is SITE_MINUTES
    paths = {file.path for file in group}

    def actions(handle: DeltaTable) -> list[AddAction | RemoveAction] | None:
        if not paths <= {file.path for file in snapshot(handle, table).files}:
            return None
        add = add_action(written.path, written.size, written.partition, written.statistics, changes=changes)
        return [add, *(remove_action(file, changes=changes) for file in group)]

    version = lake.commit(table, actions, metadata={"callgauge": "compaction"})
    if version is None:
        discard(folder, [written])
        return None
    return written


def _configure(handle: DeltaTable, settings: LakeSettings) -> None:
    """Bring the table's own bounds in line with the settings."""
    wanted = {name: value for name, value in configuration(settings).items() if value is not None}
    present = handle.metadata().configuration
    if any(present.get(name) != value for name, value in wanted.items()):
        with suppress(DeltaError, OSError):
            handle.alter.set_table_properties(wanted)
    handle.update_incremental()


def superseded(handle: DeltaTable, hours: int) -> list[str]:
    """Return files that the newest version has not named for so many hours."""
    return handle.vacuum(retention_hours=hours, dry_run=True, enforce_retention_duration=False)


def unnamed(lake: Lake, table: Table) -> list[Path]:
    """Return files in a table's folder that no version in its log names: of appends at work, or left by a kill."""
    handle = lake.made(table)
    named = {file.path for file in lake.files(table.name)} | set(superseded(handle, 0))
    folder = lake.folder(table.name)
    found = [path for path in folder.rglob("*.parquet") if path.parent.name != LOG]
    left = [path for path in found if path.relative_to(folder).as_posix() not in named]
    # The log itself is written beside its place and then linked to it.
    return left + [path for path in (folder / LOG).iterdir() if "#" in path.name or path.suffix == ".tmp"]


def vacuum(lake: Lake, table: Table, *, now: datetime, history_days: int | None = None) -> tuple[int, int]:
    """Remove files that no version of the last days names, and leftovers of killed processes; (files, octets)."""
    days = lake.settings.history_days if history_days is None else history_days
    folder = lake.folder(table.name)
    doomed = [folder / path for path in superseded(lake.made(table), days * 24)]
    doomed += [path for path in unnamed(lake, table) if age_hours(path, now) >= lake.settings.orphan_hours]
    return remove_files(doomed, folder)


def remove_files(paths: Iterable[Path], folder: Path) -> tuple[int, int]:
    """Take files off the disk, and the folders that they leave empty; (files, octets)."""
    files = octets = 0
    for path in paths:
        with suppress(FileNotFoundError):
            octets += path.stat().st_size
            path.unlink()
            files += 1
    day_ago = clock.time() - 86_400
    for path in sorted(folder.glob("*/**/"), reverse=True):
        # A folder that is young may be that of a file about to be written.
        if path.name != LOG and path.parent != folder.parent and path.stat().st_mtime < day_ago:
            with suppress(OSError):
                path.rmdir()
    return files, octets


def age_hours(path: Path, now: datetime) -> float:
    """Return how long ago a file was written [h]; 0 where it is gone."""
    try:
        return (now.timestamp() - path.stat().st_mtime) / 3_600
    except FileNotFoundError:
        return 0.0


def tidy(lake: Lake, *, now: datetime) -> tuple[int, int]:
    """Remove spilled data of processes that are gone, and rows put aside past their time; (files, octets)."""
    doomed: list[Path] = []
    for path in (lake.root / TEMPORARY).glob("*"):
        process = path.name.partition("-")[0]
        if not (process.isdigit() and _alive(int(process))) and age_hours(path, now) >= lake.settings.orphan_hours:
            doomed += [one for one in path.rglob("*") if one.is_file()]
    files, octets = remove_files(doomed, lake.root / TEMPORARY)
    hours = lake.settings.quarantine_days * 24
    aside = [path for path in (lake.root / QUARANTINE).rglob("*.parquet") if age_hours(path, now) >= hours]
    more_files, more_octets = remove_files(aside, lake.root / QUARANTINE)
    return files + more_files, octets + more_octets


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def maintain_all(lake: Lake, tables: Iterable[Table], *, now: datetime) -> list[Maintained]:
    """Maintain tables one after another, and then what lies beside them; one that is damaged does not stop the rest."""
    done = []
    for table in tables:
        try:
            if lake.version(table.name) is not None:
                done.append(maintain(lake, table, now=now))
        except StoreError as error:
            done.append(Maintained(table.name, problem=str(error)))
    files, octets = tidy(lake, now=now)
    if files:
        done.append(Maintained("beside the tables", files_removed=files, octets_freed=octets))
    return done
