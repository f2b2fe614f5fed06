"""Call detail records for tests, written a field at a time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from analytics.store.arrow_rows import ARROW
from analytics.store.schema import CDR_ROWS, PHONE_REPORTS, Table


def arrow(table: Table, rows: Sequence[dict[str, Any]]) -> pa.Table:
    """Rows as the lake takes them; what a row does not name is NULL."""
    kinds = {column.name: ARROW[column.kind] for column in table.columns}
    columns = {name: pa.array([row.get(name) for row in rows], kind) for name, kind in kinds.items()}
    unknown = {name for row in rows for name in row} - set(kinds)
    assert not unknown, f"no such columns: {unknown}"
    return pa.table(columns)


def moment(epoch: int) -> datetime:
    """An instant by seconds since 1970."""
    return datetime.fromtimestamp(epoch, UTC)


def record(
    key: int, ref: int, legs: tuple[int, int], at: int, seconds: int | None, calling: str, called: str, **fields: Any
) -> dict[str, Any]:
    """A record that began at `at` and, unless `seconds` is None, was answered then for so long."""
    answered = seconds is not None
    return {
        "day": moment(at).date(),
        "source": "cucm",
        "system": "Cluster1",
        "file_key": 1,
        "line": key,
        "row_key": key * 10,
        "call_ref": ref,
        "orig_leg": legs[0],
        "dest_leg": legs[1],
        "origination": moment(at),
        "connect": moment(at) if answered else None,
        "disconnect": moment(at + (seconds or 0)),
        "seconds": seconds or 0,
        "calling": calling,
        "original_called": called,
        "called": called,
        "orig_cause": 16,
        "dest_cause": 0,
        **fields,
    }


def records(*rows: dict[str, Any]) -> pa.Table:
    """A table of `cdr_rows`."""
    return arrow(CDR_ROWS, rows)


def reports(*rows: dict[str, Any]) -> pa.Table:
    """A table of `phone_reports`."""
    return arrow(PHONE_REPORTS, rows)
