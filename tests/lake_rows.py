"""Rows for tests of the lake: every table filled from its own schema."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from analytics.store.files import partition_day
from analytics.store.schema import Kind, Table, table

ARROW = {
    Kind.BOOLEAN: pa.bool_(),
    Kind.SHORT: pa.int16(),
    Kind.INTEGER: pa.int32(),
    Kind.LONG: pa.int64(),
    Kind.DOUBLE: pa.float64(),
    Kind.TEXT: pa.string(),
    Kind.DATE: pa.date32(),
    Kind.TIME: pa.timestamp("us", tz="UTC"),
}
BEGIN = datetime(2025, 10, 1, tzinfo=UTC)


def arrow_schema(declared: Table) -> pa.Schema:
    return pa.schema([pa.field(column.name, ARROW[column.kind]) for column in declared.columns])


def value(declared: Table, name: str, number: int, at: datetime) -> Any:
    column = declared.column(name)
    if name == declared.partition:
        return partition_day(declared, at.date())
    if name == declared.clock:
        return at
    if name == "step":
        return "minute" if number % 4 else "hour"
    if column.missing and number % 3 == 0:
        return None
    by_kind: dict[Kind, Any] = {
        Kind.BOOLEAN: number % 2 == 0,
        Kind.SHORT: number % 100,
        Kind.INTEGER: number,
        Kind.LONG: number,
        Kind.DOUBLE: number / 4,
        Kind.TEXT: f"{name} {number} ’”\\",
        Kind.DATE: at.date(),
        Kind.TIME: at + timedelta(microseconds=number),
    }
    return by_kind[column.kind]


def rows(name: str, numbers: Sequence[int], begin: datetime = BEGIN, step_s: float = 1, **fixed: Any) -> pa.Table:
    """Return one row for each number, `step_s` apart; `fixed` gives whole columns one value."""
    declared = table(name)
    columns = {}
    for column in declared.columns:
        at = [begin + timedelta(seconds=step_s * number) for number in numbers]
        columns[column.name] = [
            fixed[column.name] if column.name in fixed else value(declared, column.name, number, moment)
            for number, moment in zip(numbers, at, strict=True)
        ]
    return pa.table(columns, schema=arrow_schema(declared))
