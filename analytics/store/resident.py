"""The newest rows of a table held in memory: a process that serves many searches reads them there and not from files.

What is held follows the table's commits, a day at a time, and never differs from the version that it was brought to.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Final, NamedTuple

from analytics.store import pruning
from analytics.store.files import damage, identifier
from analytics.store.settings import StoreError

if TYPE_CHECKING:
    import duckdb

    from analytics.store.delta import DataFile
    from analytics.store.lake import Lake
    from analytics.store.schema import Table

COLUMN_OCTETS: Final = 14
"""About what a column of a row takes, texts and numbers together."""


class MadeColumn(NamedTuple):
    """A column that only memory has, made of the others: searches look there first."""

    name: str
    kind: str
    """DuckDB's type."""
    made: str
    """SQL over the table's columns."""


EVER: Final = datetime(1, 1, 1, tzinfo=UTC)
Files = dict[date, dict[str, "DataFile"]]


class Held(NamedTuple):
    """What can be read in memory."""

    table: str
    """Name of the table there, for `Lake.reading`; stays at least until the next time something is held anew."""
    since: datetime
    """Rows from here on are held, all of them."""


class Resident:
    """The newest rows of one table of a lake."""

    def __init__(self, lake: Lake, table: Table, most_rows: int, beside: Sequence[MadeColumn] = ()) -> None:
        self._lake = lake
        self._table = table
        self._most = most_rows
        self._beside = tuple(beside)
        self._lock = threading.Lock()
        self._version: int | None = None
        self._files: Files = {}
        self._generation = 1
        self._rows = 0
        self._gone = 0
        self._held: Held | None = None

    @property
    def megabytes(self) -> int:
        """About what it takes at most."""
        return self._most * (len(self._table.columns) + len(self._beside)) * COLUMN_OCTETS // 1_000_000

    def held(self) -> Held | None:
        """Return what is held, brought to the newest version of the table; None where nothing is."""
        if self._most <= 0:
            return None
        with self._lock:
            version = self._lake.version(self._table.name)
            if version != self._version:
                self._follow()
            return self._held

    def ready(self) -> Held | None:
        """Return what is held as `held` does, but None until it was first read."""
        return None if self._held is None else self.held()

    def _follow(self) -> None:
        snapshot = self._lake.snapshot(self._table.name)
        wanted = self._wanted(snapshot.files)
        changed = [day for day in sorted({*wanted, *self._files}) if _paths(wanted, day) != _paths(self._files, day)]
        again = [day for day in changed if not _paths(self._files, day) <= _paths(wanted, day)]
        going = sum(file.rows for day in again for file in self._files[day].values())
        with self._lake.reading() as connection:
            if not self._files or self._gone + going > max(self._rows, 1) // 2:
                self._renew(connection)
                changed, again = sorted(wanted), []
            new = [
                file
                for day in changed
                for path, file in wanted.get(day, {}).items()
                if day in again or path not in self._files.get(day, {})
            ]
            self._change(connection, again, new, complete=snapshot.complete)
        self._gone += going if again else 0
        self._rows = sum(file.rows for day in wanted for file in wanted[day].values()) + self._gone
        self._files = wanted
        self._version = snapshot.version
        all_days = _days(self._table, snapshot.files)
        since = EVER if len(wanted) == len(all_days) else datetime.combine(min(wanted, default=date.max), time(), UTC)
        self._held = Held(self._name(), since)

    def _name(self) -> str:
        return f"held_{self._table.name}_{self._generation}"

    def _wanted(self, files: tuple[DataFile, ...]) -> Files:
        """Files of the newest days that hold no more rows than wanted."""
        days = _days(self._table, files)
        kept: Files = {}
        rows = 0
        for day in sorted(days, reverse=True):
            rows += sum(file.rows for file in days[day].values())
            if rows > self._most:
                break
            kept[day] = days[day]
        return kept

    def _renew(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Begin with an empty table; the one before stays for those who read it, the one before that goes."""
        self._generation += 1
        old = f"held_{self._table.name}_{self._generation - 2}"
        connection.execute(f"DROP TABLE IF EXISTS {old}")
        columns = [f"{identifier(one.name)} {one.kind.value}" for one in self._table.columns]
        columns += [f"{identifier(one.name)} {one.kind}" for one in self._beside]
        connection.execute(f"CREATE TABLE {self._name()} ({', '.join(columns)})")
        self._files, self._gone = {}, 0

    def _change(
        self, connection: duckdb.DuckDBPyConnection, again: list[date], new: list[DataFile], *, complete: bool
    ) -> None:
        """Take days out and files in, at once for whoever reads."""
        folder = self._lake.folder(self._table.name)
        for file in new:
            problem = damage(folder, file)
            if problem:
                raise StoreError(f"{problem}, which table {self._table.name} needs")
        connection.execute("BEGIN")
        try:
            if again:
                days = ", ".join(f"DATE '{day}'" for day in again)
                connection.execute(f"DELETE FROM {self._name()} WHERE {self._table.partition} IN ({days})")  # noqa: S608
            if new:
                rows = pruning.select(connection, self._table, folder, new, complete=complete)
                beside = "".join(f", {one.made}" for one in self._beside)
                connection.execute(f"INSERT INTO {self._name()} SELECT *{beside} FROM ({rows})")  # noqa: S608
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise


def _days(table: Table, files: tuple[DataFile, ...]) -> Files:
    days: Files = {}
    for file in files:
        days.setdefault(date.fromisoformat(file.partition[table.partition]), {})[file.path] = file
    return days


def _paths(files: Files, day: date) -> set[str]:
    return set(files.get(day, {}))
