"""Rows for tables of the lake, written a field at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
from records_made import arrow

from analytics.store.schema import Kind, Table

ZERO: Mapping[Kind, Any] = {
    Kind.BOOLEAN: False,
    Kind.SHORT: 0,
    Kind.INTEGER: 0,
    Kind.LONG: 0,
    Kind.DOUBLE: 0.0,
    Kind.TEXT: "",
}


def filled(table: Table, rows: Sequence[Mapping[str, Any]], **times: Any) -> pa.Table:
    """Rows as the lake takes them: what a row does not name is NULL where that is allowed, else zero or `times`."""
    never_null = {column.name: ZERO.get(column.kind) for column in table.columns if not column.missing}
    return arrow(table, [{**never_null, **times, **row} for row in rows])
