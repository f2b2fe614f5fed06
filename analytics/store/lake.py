"""The lake: a folder of Delta tables, appended to atomically and read with DuckDB."""

from __future__ import annotations

import json
import os
import threading
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError
from deltalake.transaction import AddAction, RemoveAction

from analytics.store import pruning, schema
from analytics.store.batches import BatchWriter
from analytics.store.delta import (
    CHECKPOINT_EVERY,
    DataFile,
    Snapshot,
    add_action,
    add_columns,
    checkpoint,
    commit,
    create_table,
    first_line,
    is_done,
    is_newest,
    open_table,
    remove_action,
    snapshot,
)
from analytics.store.files import WrittenFile, damage, discard, identifier, partition_day, projection, write_files
from analytics.store.quarantine import believable, put_aside
from analytics.store.resident import Held, MadeColumn, Resident
from analytics.store.schema import Table
from analytics.store.settings import LakeSettings, StoreError, read_settings

MARKER = "callgauge-store.json"
FORMAT = 1
TEMPORARY = "_temporary"
MADE = "_tables"
"""Folder with an empty file for each table that was made: a table that is gone leaves its name."""
ROWS_GATHERED = 122_880
"""One row group of DuckDB."""
QUARANTINE = "quarantine"


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of an append."""

    rows: int
    """Rows that went into the table."""
    version: int | None
    """Version of the table that holds them; None where nothing was ever written to it."""
    already: bool = False
    """Whether the batch was there before, and nothing was appended now."""
    quarantined: int = 0
    """Rows that were put aside, for their time cannot be right."""
    reason: str = ""
    """Why rows were put aside, in words."""


class Lake:
    """A store in a folder. Many processes may append and read at once; a reader sees whole commits only."""

    def __init__(self, root: Path, settings: LakeSettings) -> None:
        self.root = root
        self.settings = settings
        self._lock = threading.RLock()
        self._appending = threading.RLock()
        self._committing = threading.RLock()
        self._handles: dict[str, DeltaTable] = {}
        self._committed: dict[str, DeltaTable] = {}
        self._snapshots: dict[str, Snapshot] = {}
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._reader: duckdb.DuckDBPyConnection | None = None
        self._residents: dict[str, Resident] = {}
        self.between_libraries: Callable[[], None] = _nothing
        """Called while rows are appended, whenever DuckDB's turn ends or Delta's: both need much memory for code."""

    @classmethod
    def open(cls, root: Path, *, create: bool = False, settings: LakeSettings | None = None) -> Lake:
        """Open a store; `create` makes one where there is none. StoreError where it is none or of another format.

        Without `settings`, those of the store's own `callgauge-store.json` hold.
        """
        root = root.absolute()
        if set("=*?[%") & set(str(root)):
            raise StoreError(f"the path of a store must hold none of = * ? [ %: {root}")
        marker = root / MARKER
        if not marker.exists():
            if not create:
                raise StoreError(f"there is no store in {root}")
            _make(root)
        try:
            stated = json.loads(marker.read_text(encoding="utf-8"))
            found = stated["format"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{marker} cannot be read") from error
        if found != FORMAT:
            raise StoreError(f"the store in {root} has format {found}; this version reads format {FORMAT}")
        return cls(root, settings or read_settings(stated.get("settings", {}), str(marker)))

    def folder(self, table: str) -> Path:
        """Return the folder of a table."""
        return self.root / _table(table).name

    def connect(self, memory_mb: int | None = None) -> duckdb.DuckDBPyConnection:
        """Return a new DuckDB connection in memory: bounded, spilling inside the store, downloading nothing.

        Times are fetched as `epoch_us(...)` or through Arrow: DuckDB gives a TIMESTAMPTZ to Python only with pytz.
        """
        temporary = self.root / TEMPORARY / f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
        temporary.parent.mkdir(mode=0o700, exist_ok=True)
        connection = duckdb.connect(
            ":memory:",
            config={
                "memory_limit": f"{memory_mb or self.settings.memory_mb}MB",
                "threads": self.settings.threads,
                "temp_directory": str(temporary),
                "max_temp_directory_size": f"{self.settings.temporary_mb}MB",
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
                # Rows of one partition that a thread gathers before it writes: the default of 524,288 makes it spill.
                "partitioned_write_flush_threshold": ROWS_GATHERED,
            },
        )
        connection.execute("SET TimeZone = 'UTC'")
        # It would be printed on stdout, amid what a command prints.
        connection.execute("SET enable_progress_bar = false")
        return connection

    def version(self, table: str) -> int | None:
        """Return the newest version of a table; None where it was never written."""
        handle = self._newest(_table(table))
        return None if handle is None else handle.version()

    def transaction(self, table: str, app: str) -> int | None:
        """Return the number of the newest transaction of an application (a batch's name), None where there is none."""
        handle = self._newest(_table(table))
        return None if handle is None else handle.transaction_version(app)

    def snapshot(self, table: str, *, version: int | None = None) -> Snapshot:
        """Return the files of a table at a version, by default the newest."""
        declared = _table(table)
        if version is not None:
            handle = open_table(self.root, declared, version)
            if handle is None:
                raise StoreError(f"table {table} was never written")
            return snapshot(handle, declared)
        with self._lock:
            newest = self._newest(declared)
            if newest is None:
                return Snapshot(-1, (), complete=True)
            known = self._snapshots.get(table)
            if known is None or known.version != newest.version():
                known = self._snapshots[table] = snapshot(newest, declared)
            return known

    def files(self, table: str, *, version: int | None = None) -> tuple[DataFile, ...]:
        """Return the files of a table at a version, by default the newest."""
        return self.snapshot(table, version=version).files

    def view(
        self,
        connection: duckdb.DuckDBPyConnection,
        table: str,
        *,
        name: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        only: Mapping[str, Collection[Any]] | None = None,
        version: int | None = None,
    ) -> str:
        """Make a view of rows with since <= clock < until, and with only these values of columns; return its name.

        It stands on the files of one version: later commits do not change what it shows.
        """
        named = name or table
        query = self.query(connection, table, since=since, until=until, only=only, version=version)
        try:
            connection.execute(f"CREATE OR REPLACE VIEW {identifier(named)} AS {query}")
        except duckdb.Error as error:
            raise StoreError(f"table {table} cannot be read: {first_line(error)}") from error
        return named

    def query(
        self,
        connection: duckdb.DuckDBPyConnection,
        table: str,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        only: Mapping[str, Collection[Any]] | None = None,
        version: int | None = None,
    ) -> str:
        """Return the query that a view stands for, where a name in the database would be in the way of others."""
        declared = _table(table)
        only = only or {}
        whole = self.snapshot(table, version=version)
        files = pruning.needed(declared, whole.files, since, until, only)
        folder = self.folder(table)
        for file in files:
            problem = damage(folder, file)
            if problem:
                raise StoreError(f"{problem}, which version {whole.version} of table {table} needs")
        where = pruning.conditions(declared, since, until, only)
        try:
            return pruning.select(connection, declared, folder, files, where, complete=whole.complete)
        except duckdb.Error as error:
            raise StoreError(f"table {table} cannot be read: {first_line(error)}") from error

    def append(
        self,
        table: str,
        rows: pa.Table | pa.RecordBatch | pa.RecordBatchReader,
        *,
        batch: str,
        sequence: int = 0,
        live_now: datetime | None = None,
    ) -> Appended:
        """Append rows in one commit; `batch` names the data, so that the same again appends nothing.

        With `sequence`, `batch` names a source that numbers its data: what is not above the last number is there.
        Live sources give the present as `live_now`: rows too far from it go to quarantine and not to the table.
        """
        declared = _table(table)
        with self._private() as connection:
            connection.register("rows_to_append", rows)
            sql = "SELECT * FROM rows_to_append"
            aside = None
            try:
                if live_now is not None:
                    if self._is_done(declared, (batch, sequence)):
                        return Appended(0, self.version(table), already=True)
                    self.between_libraries()
                    fitting = projection(declared, connection, sql)
                    connection.execute(f"CREATE OR REPLACE TEMP TABLE live_rows AS {fitting}")
                    sql = "SELECT * FROM live_rows"
                    name, root = f"{batch}\0{sequence}", self.root / QUARANTINE
                    aside = put_aside(root, declared, connection, sql, name, self.settings, live_now)
                    sql += f" WHERE {believable(declared, self.settings, live_now)}"
                done = self.append_query(table, connection, sql, batch=batch, sequence=sequence)
            except duckdb.Error as error:
                raise StoreError(f"rows for table {table} cannot be read: {first_line(error)}") from error
            finally:
                connection.unregister("rows_to_append")
                connection.execute("DROP TABLE IF EXISTS live_rows")
        return done if aside is None else replace(done, quarantined=aside.rows, reason=aside.reason)

    def _is_done(self, table: Table, app: tuple[str, int]) -> bool:
        handle = self._newest(table)
        return handle is not None and is_done(handle, app)

    def append_query(
        self,
        table: str,
        connection: duckdb.DuckDBPyConnection,
        sql: str,
        *,
        batch: str | None,
        sequence: int = 0,
        replace: Sequence[date] | None = None,
    ) -> Appended:
        """Append the rows of a query in one commit, never through Python's memory.

        `replace` names partitions (days, or first days of months) whose present rows go in the same commit.
        """
        declared = _table(table)
        app = None if batch is None else (batch, sequence)
        handle = self.made(declared)
        if app is not None and is_done(handle, app):
            return Appended(0, handle.version(), already=True)
        self.between_libraries()
        written = write_files(
            self.folder(table),
            declared,
            connection,
            projection(declared, connection, sql),
            durable=self.settings.durable,
        )
        return self._commit(declared, written, app, replace or ())

    def append_batches(
        self,
        table: str,
        batches: Iterable[pa.RecordBatch],
        *,
        batch: str | None,
        sequence: int = 0,
        replace: Sequence[date] | None = None,
    ) -> Appended:
        """Append Arrow batches in one commit as they come; each is of one partition or few, as rows in order of time.

        Much cheaper than a query over them. Columns that may be NULL can be left out.
        """
        declared = _table(table)
        app = None if batch is None else (batch, sequence)
        handle = self.made(declared)
        if app is not None and is_done(handle, app):
            return Appended(0, handle.version(), already=True)
        writer = BatchWriter(self.folder(table), declared)
        try:
            for rows in batches:
                with self._writing(declared):
                    writer.write(rows)
            with self._writing(declared):
                written = writer.close(self.settings.durable)
        except BaseException:
            writer.discard()
            raise
        return self._commit(declared, written, app, replace or ())

    @contextmanager
    def _writing(self, table: Table) -> Iterator[None]:
        """Name the table in an error of writing, as of a full disk."""
        try:
            yield
        except (OSError, pa.ArrowException) as error:
            folder = self.root / table.name
            raise StoreError(f"rows of table {table.name} cannot be written to {folder}: {_in_words(error)}") from error

    def _commit(
        self, table: Table, written: Sequence[WrittenFile], app: tuple[str, int] | None, replace: Sequence[date]
    ) -> Appended:
        replaced = {partition_day(table, day).isoformat() for day in replace}

        def actions(handle: DeltaTable) -> list[AddAction | RemoveAction]:
            wanted: list[AddAction | RemoveAction] = [
                add_action(file.path, file.size, file.partition, file.statistics) for file in written
            ]
            if replaced:
                present = snapshot(handle, table).files
                wanted += [remove_action(file) for file in present if file.partition[table.partition] in replaced]
            return wanted

        self.between_libraries()
        # Nothing is removed after an error here: a commit that was interrupted may stand all the same.
        rows = sum(file.rows for file in written)
        version = self.commit(table, actions, app=app, metadata={"rows": rows})
        self.between_libraries()
        if version is None:
            discard(self.folder(table.name), written)
            return Appended(0, self.version(table.name), already=True)
        return Appended(rows, version)

    def _newest(self, table: Table) -> DeltaTable | None:
        with self._lock:
            return self._current(self._handles, table)

    def _current(self, handles: dict[str, DeltaTable], table: Table) -> DeltaTable | None:
        """Return the handle of a table brought to the newest version; None where the table was never written."""
        folder = self.root / table.name
        handle = handles.get(table.name)
        if handle is not None and is_newest(folder, handle.version()):
            return handle
        if handle is not None:
            try:
                handle.update_incremental()
            except (DeltaError, OSError):
                # The entries after the one it stands at are cleaned away, or the table is: open it anew.
                handle = None
        if handle is None:
            handles.pop(table.name, None)
            handle = open_table(self.root, table)
            if handle is not None:
                add_columns(handle, table)
                handles[table.name] = handle
        return handle

    def made(self, table: Table) -> DeltaTable:
        """Return the newest version of a table, which is made where it is not there."""
        handle = self._newest(table)
        if handle is None:
            create_table(self.root, table, self.settings)
            handle = self._newest(table)
        if handle is None:
            raise StoreError(f"table {table.name} cannot be made in {self.root}")
        if not (self.root / MADE / table.name).exists():
            note_made(self.root, table)
        return handle

    def commit(
        self,
        table: Table,
        actions: Callable[[DeltaTable], Sequence[AddAction | RemoveAction] | None],
        *,
        app: tuple[str, int] | None = None,
        marks: Callable[[DeltaTable], Mapping[str, int] | None] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> int | None:
        """Commit what `actions` wants of the newest version; return the version made, None where nothing was to do.

        `app` is the batch that it brings; or `marks` gives the transactions to note, or None where it is all there.

        Threads take turns: nobody may move the handle between what `actions` sees and what is committed.
        """
        self.made(table)
        with self._committing:

            def newest() -> DeltaTable:
                handle = self._current(self._committed, table)
                if handle is None:
                    raise StoreError(f"table {table.name} is gone from {self.root}")
                return handle

            version = commit(
                self.folder(table.name),
                newest,
                table,
                self.settings,
                actions,
                app=app,
                marks=marks,
                metadata=metadata,
            )
            if version is not None and version % CHECKPOINT_EVERY == 0:
                # The log is gathered once in a while, so that opening a table stays fast.
                handle = open_table(self.root, table)
                if handle is not None and checkpoint(handle, self.root / table.name):
                    self._committed[table.name] = handle
        return version

    @contextmanager
    def _private(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Lend the connection that appends use; one thread at a time."""
        with self._appending:
            if self._connection is None:
                self._connection = self.connect()
            yield self._connection

    @contextmanager
    def reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Lend a connection for one question, from any thread; all share one bounded memory and what is known of files.

        Nothing may be made in it that has a name: ask `query` for SQL and not `view`.
        """
        with self._lock:
            if self._reader is None:
                self._reader = self.connect()
                # The files of a table never change: what their footers say is read once.
                self._reader.execute("SET parquet_metadata_cache = true")
            connection = self._reader.cursor()
        try:
            connection.execute("SET TimeZone = 'UTC'")
            yield connection
        finally:
            connection.close()

    def hold(self, table: str, rows: int, beside: Sequence[MadeColumn] = ()) -> None:
        """Hold the newest rows of a table in memory from now on, with columns beside; the first time takes a while."""
        with self.reading() as connection, self._lock:
            resident = self._residents.setdefault(table, Resident(self, _table(table), rows, beside))
            memory = self.settings.memory_mb + sum(one.megabytes for one in self._residents.values())
            connection.execute(f"SET memory_limit = '{memory}MB'")
        resident.held()

    def held(self, table: str) -> Held | None:
        """Return where the newest rows of a table are in memory, for `reading`; None where they are not."""
        resident = self._residents.get(table)
        return None if resident is None else resident.ready()

    def close(self) -> None:
        """Let go of the private connections."""
        with self._appending:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
        with self._lock:
            self._residents.clear()
            if self._reader is not None:
                self._reader.close()
                self._reader = None


def _nothing() -> None:
    """Nobody minds the memory."""


def _in_words(error: Exception) -> str:
    """What an error of Arrow or the system says; the system's number, which Arrow leaves in its text, in words."""
    number = getattr(error, "errno", None)
    return os.strerror(number) if number else first_line(error)


def note_made(root: Path, table: Table) -> None:
    """Note that a store has a table."""
    try:
        (root / MADE).mkdir(mode=0o700, exist_ok=True)
        (root / MADE / table.name).touch(mode=0o600)
    except OSError as error:
        raise StoreError(f"table {table.name} cannot be made in {root}: {error.strerror}") from error


def _table(name: str) -> Table:
    try:
        return schema.table(name)
    except KeyError as error:
        raise StoreError(str(error.args[0])) from error


def _make(root: Path) -> None:
    """Make the folder, which only its owner may look into, and mark it as a store."""
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Another process may be making it at the same time, or have died in the midst of that.
        if any(not path.name.startswith(MARKER) for path in root.iterdir()):
            if (root / MARKER).exists():
                return
            raise StoreError(f"{root} is neither a store nor empty")
        root.chmod(0o700)
        scratch = root / f"{MARKER}.{uuid.uuid4().hex}"
        scratch.write_text(json.dumps({"format": FORMAT}) + "\n", encoding="utf-8")
        scratch.replace(root / MARKER)
    except OSError as error:
        raise StoreError(f"no store can be made in {root}: {error.strerror}") from error
