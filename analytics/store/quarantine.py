"""Rows of live sources whose clock cannot be right: put aside, so that a clock in 2016 makes no partitions.

They lie in `quarantine/<table>/`, one Parquet file an append, named by the batch: the same again is the same file.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from analytics.store.files import identifier, literal
from analytics.store.schema import Table
from analytics.store.settings import LakeSettings, StoreError


@dataclass(frozen=True, slots=True)
class PutAside:
    """What of an append went to quarantine."""

    rows: int
    reason: str
    """In words, with the bounds that held; empty where nothing was put aside."""
    kept: bool
    """Whether the rows lie in quarantine; False where it is full, and they were only counted."""


def believable(table: Table, settings: LakeSettings, now: datetime) -> str:
    """Return the SQL condition of rows that a live source can have sent."""
    earliest = now - timedelta(hours=settings.quarantine_past_hours)
    latest = now + timedelta(hours=settings.quarantine_future_hours)
    return f"{identifier(table.clock)} BETWEEN {literal(earliest)} AND {literal(latest)}"


def put_aside(
    root: Path,
    table: Table,
    connection: duckdb.DuckDBPyConnection,
    query: str,
    batch: str,
    settings: LakeSettings,
    now: datetime,
) -> PutAside:
    """Keep rows that cannot be right apart from the table, with when they came; without room they are only counted."""
    doubted = f"SELECT * FROM ({query}) WHERE NOT ({believable(table, settings, now)})"  # noqa: S608 - quoted
    clock = f"epoch_us({identifier(table.clock)})"
    rows, past = connection.execute(
        f"SELECT count(*), count(*) FILTER ({clock} < epoch_us({literal(now)})) FROM ({doubted})"  # noqa: S608
    ).fetchall()[0]
    folder = root / table.name
    path = folder / f"{hashlib.sha256(batch.encode()).hexdigest()[:32]}.parquet"
    if not rows:
        path.unlink(missing_ok=True)
        return PutAside(0, "", kept=True)
    reason = (
        f"{rows} rows were put aside: {past} with {table.clock} more than {settings.quarantine_past_hours:g} h ago, "
        f"{rows - past} more than {settings.quarantine_future_hours:g} h ahead"
    )
    if _is_full(root, settings):
        return PutAside(rows, f"{reason}; quarantine is full, they were not kept", kept=False)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    scratch = path.with_name(f"{path.name}.{os.getpid()}")
    connection.execute(
        f"COPY (SELECT *, {literal(now)} AS received FROM ({doubted})) TO {literal(str(scratch))} "  # noqa: S608
        "(FORMAT parquet, COMPRESSION zstd)"
    )
    scratch.replace(path)
    return PutAside(rows, reason, kept=True)


def put_rows_aside(root: Path, table: Table, rows: pa.Table, batch: str, settings: LakeSettings, now: datetime) -> bool:
    """Keep rows that whoever calls doubts apart from the table; whether there was room, else they are only counted."""
    path = root / table.name / f"{hashlib.sha256(batch.encode()).hexdigest()[:32]}.parquet"
    if path.exists():
        return True
    if _is_full(root, settings):
        return False
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    scratch = path.with_name(f"{path.name}.{os.getpid()}")
    received = pa.array([now] * rows.num_rows, pa.timestamp("us", tz="UTC"))
    try:
        pq.write_table(rows.append_column("received", received), scratch, compression="zstd")
        scratch.replace(path)
    except OSError as error:
        raise StoreError(f"rows cannot be put aside in {root}: {error.strerror or error}") from error
    return True


def _is_full(root: Path, settings: LakeSettings) -> bool:
    return sum(one.stat().st_size for one in root.rglob("*.parquet")) >= settings.quarantine_mb * 1_000_000


def contents(root: Path) -> Mapping[str, tuple[int, int]]:
    """Return rows and octets in quarantine by table."""
    found: dict[str, tuple[int, int]] = {}
    connection = duckdb.connect(":memory:")
    try:
        for folder in sorted(path for path in root.glob("*") if path.is_dir()):
            files = sorted(folder.glob("*.parquet"))
            if not files:
                continue
            names = ", ".join(literal(str(path)) for path in files)
            rows = connection.execute(
                f"SELECT CAST(sum(num_rows) AS BIGINT) FROM parquet_file_metadata([{names}])"  # noqa: S608
            ).fetchall()[0][0]
            found[folder.name] = (int(rows), sum(path.stat().st_size for path in files))
    finally:
        connection.close()
    return found
