"""Settings of the lake, and the one error that it raises."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from analytics.store.schema import TABLES


class StoreError(Exception):
    """The store cannot do what was asked; the message is one sentence for people."""


@dataclass(frozen=True, slots=True)
class LakeSettings:
    """What may be set about a lake; the defaults suit one machine with 2 cores."""

    memory_mb: int = 384
    """Most memory that one DuckDB connection takes before it spills to disk [MB]."""
    held_rows: int = 2_500_000
    """Newest calls that a server holds in memory to search them fast, some 250 octets each; 0 holds none."""
    threads: int = 2
    """Threads of one DuckDB connection."""
    temporary_mb: int = 65_536
    """Most disk that one connection spills to, inside the store [MB]."""
    durable: bool = True
    """Whether an append is on the disk, and not only in the page cache, when it is acknowledged."""
    commit_seconds: float = 60.0
    """How long a commit is tried again while other processes commit to the same table [s]."""
    keep_days: Mapping[str, int | None] = field(default_factory=dict)
    """Retention by table where it differs from the schema's [days]; None keeps for ever."""
    history_days: int = 30
    """How long old versions can be read back, and old log entries and replaced files stay [days]."""
    history_versions: int = 20_000
    """Most versions of a table that stay: each is a file, and listing them takes time."""
    batch_days: int = 400
    """How long the names of appended batches are remembered [days]; later the same batch would be appended again."""
    orphan_hours: float = 24.0
    """Age from which a file that no version names is left over from a process that died, not one being written [h]."""
    file_mb: int = 128
    """Size that compaction makes files up to [MB]."""
    small_file_mb: int = 32
    """Files under this size are merged when a partition holds several [MB]."""
    quarantine_past_hours: float = 24.0
    """Rows of live sources older than this against the present are put aside [h]."""
    quarantine_future_hours: float = 1.0
    """Rows of live sources later than this against the present are put aside [h]."""
    quarantine_days: int = 30
    """How long rows that were put aside are kept [days]."""
    quarantine_mb: int = 256
    """Most disk that rows put aside take [MB]; further ones are only counted."""


def read_settings(given: Any, origin: str) -> LakeSettings:
    """Return settings as JSON has them; StoreError names what is no setting, or not of its type."""
    if not isinstance(given, dict):
        raise StoreError(f"{origin}: the settings are no object")
    defaults = LakeSettings()
    known = {one.name: type(getattr(defaults, one.name)) for one in fields(LakeSettings)}
    values: dict[str, Any] = {}
    for name, value in given.items():
        if name not in known:
            raise StoreError(f"{origin}: there is no setting {name}")
        if name == "keep_days":
            _check_keep_days(value, origin)
        elif known[name] is bool and not isinstance(value, bool):
            raise StoreError(f"{origin}: {name} must be true or false")
        elif known[name] is not bool and (
            isinstance(value, bool) or not isinstance(value, int if known[name] is int else int | float) or value < 0
        ):
            raise StoreError(f"{origin}: {name} must be a {'whole ' if known[name] is int else ''}number from 0 on")
        values[name] = value
    return LakeSettings(**values)


def _check_keep_days(value: Any, origin: str) -> None:
    if not isinstance(value, dict):
        raise StoreError(f"{origin}: keep_days must name tables with their days")
    names = {table.name for table in TABLES}
    for table, days in value.items():
        if table not in names:
            raise StoreError(f"{origin}: keep_days names {table}, which is no table")
        if days is not None and (isinstance(days, bool) or not isinstance(days, int) or days < 0):
            raise StoreError(f"{origin}: keep_days of {table} must be whole days or null")
