"""Old versions of a table, for audit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from deltalake.exceptions import DeltaError

from analytics.store.delta import first_line, open_table
from analytics.store.lake import Lake
from analytics.store.schema import Table
from analytics.store.settings import StoreError

WORDS = {"CREATE TABLE": "made", "ADD COLUMN": "given columns", "SET TBLPROPERTIES": "settings changed"}


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a table."""

    number: int
    at: datetime
    what: str
    """made, append, compaction, retention, forget, …"""
    rows: int | None
    """Rows appended; None where it was no append."""


def versions(lake: Lake, table: Table, limit: int | None = None) -> list[Version]:
    """Return the versions that the log still tells of, newest first."""
    handle = open_table(lake.root, table)
    if handle is None:
        raise StoreError(f"table {table.name} was never written")
    try:
        entries = handle.history(limit)
    except DeltaError as error:
        raise StoreError(f"the log of table {table.name} cannot be read: {first_line(error)}") from error
    found = []
    for entry in entries:
        rows = entry.get("rows")
        operation = str(entry.get("operation", ""))
        what = str(
            entry.get("callgauge") or ("append" if rows is not None else WORDS.get(operation, operation.lower()))
        )
        at = datetime.fromtimestamp(entry["timestamp"] / 1_000, UTC)
        found.append(Version(int(entry["version"]), at, what, None if rows is None else int(rows)))
    return found


def version_at(lake: Lake, table: Table, at: datetime) -> int:
    """Return the newest version that was there at a time."""
    known = versions(lake, table)
    for version in known:
        if version.at <= at:
            return version.number
    raise StoreError(
        f"table {table.name} has no version from before {at.isoformat()}; the oldest known is "
        f"{known[-1].number} of {known[-1].at.isoformat()}"
    )
