"""Rows made in Python as Arrow tables with the columns of a table of the lake."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

import pyarrow as pa

from analytics.store.schema import Grain, Kind, Table

ROWS_AT_ONCE = 50_000
DAY_US = 86_400_000_000
ARROW: Final[Mapping[Kind, pa.DataType]] = {
    Kind.BOOLEAN: pa.bool_(),
    Kind.SHORT: pa.int16(),
    Kind.INTEGER: pa.int32(),
    Kind.LONG: pa.int64(),
    Kind.DOUBLE: pa.float64(),
    Kind.TEXT: pa.string(),
    Kind.DATE: pa.date32(),
    Kind.TIME: pa.timestamp("us", tz="UTC"),
}
"""Arrow type of each kind of column."""


def arrow_schema(table: Table) -> pa.Schema:
    """Return the table's columns as Arrow has them."""
    return pa.schema([(column.name, ARROW[column.kind]) for column in table.columns])


def arrow_table(table: Table, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Turn rows into a table; what a row does not name is missing, and its day follows from the table's clock [µs]."""
    schema = arrow_schema(table)
    present = set().union(*rows)
    columns: list[pa.Array] = []
    for field in schema:
        if field.name == table.partition and table.grain is Grain.DAY:
            days = [int(row[table.clock]) // DAY_US for row in rows]
            columns.append(pa.array(days, type=pa.int32()).cast(pa.date32()))
        elif field.name in present:
            columns.append(pa.array([row.get(field.name) for row in rows], type=field.type))
        else:
            columns.append(pa.nulls(len(rows), field.type))
    return pa.Table.from_arrays(columns, schema=schema)


def arrow_reader(table: Table, rows: Iterable[Mapping[str, Any]], at_once: int = ROWS_AT_ONCE) -> pa.RecordBatchReader:
    """Turn rows into batches of at most `at_once`, each made when it is wanted."""

    def made() -> Iterator[pa.RecordBatch]:
        left = iter(rows)
        while some := list(islice(left, at_once)):
            yield from arrow_table(table, some).to_batches()

    return pa.RecordBatchReader.from_batches(arrow_schema(table), made())
