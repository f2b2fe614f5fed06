"""What the tests of CDR readers share: rows of octets, as people would write them down."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, BinaryIO

from collector.cdr.rows import Batch, ReadSettings

Reader = Callable[[BinaryIO, ReadSettings], Iterator[Batch]]
Rows = list[dict[str, Any]]


def rows_of(reader: Reader, data: bytes, zone: str = "UTC") -> tuple[Rows, list[tuple[int, str]]]:
    """Rows without what is missing, and (line, reason) of rejects."""
    rows: Rows = []
    rejects: list[tuple[int, str]] = []
    for batch in reader(io.BytesIO(data), ReadSettings(zone)):
        rows += [present(row) for row in batch.cdr_rows.to_pylist()]
        rejects += [(reject.line, reject.reason) for reject in batch.rejects]
    return rows, rejects


def present(row: dict[str, Any]) -> dict[str, Any]:
    """Columns that hold something; times as text in UTC."""
    return {
        name: value.strftime("%Y-%m-%d %H:%M:%S") if isinstance(value, datetime) else value
        for name, value in row.items()
        if value is not None
    }


def reasons(reader: Reader, line: str, zone: str = "UTC") -> list[str]:
    """Why a line is rejected; empty where it is taken."""
    rows, rejects = rows_of(reader, line.encode(), zone)
    assert len(rows) + len(rejects) == 1
    return [reason for _, reason in rejects]


def without_place(rows: Rows) -> Rows:
    """Rows without where they stood in a file."""
    return [{name: value for name, value in row.items() if name not in ("line", "file_key")} for row in rows]
