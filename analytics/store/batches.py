"""Parquet files of a table written from Arrow batches, one file a partition, in one thread and little memory.

DuckDB's COPY with partitions takes several times as long for rows that come as Arrow, for it sorts out partitions row
by row; here a batch of one day goes to that day's file as it is.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from analytics.store.arrow_rows import ARROW
from analytics.store.delta import nullable, partition_columns, pruned_columns, synchronise
from analytics.store.files import WrittenFile, check_partition
from analytics.store.schema import Kind, Table
from analytics.store.settings import StoreError

ROW_GROUP: Final = 122_880
"""Rows of a row group, DuckDB's own size."""
GATHERED: Final = 4 * ROW_GROUP
"""Rows that wait for their row group, over all partitions."""
OPEN_FILES: Final = 96
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class _Part:
    """One partition's file on its way."""

    path: Path
    partition: Mapping[str, str]
    waiting: list[pa.RecordBatch] = field(default_factory=list)
    rows_waiting: int = 0
    rows: int = 0
    writer: pq.ParquetWriter | None = None
    least: dict[str, Any] = field(default_factory=dict)
    greatest: dict[str, Any] = field(default_factory=dict)
    nulls: dict[str, int] = field(default_factory=dict)


class BatchWriter:
    """Writes batches of a table's rows into new files under its folder, which no version names yet."""

    def __init__(self, folder: Path, table: Table) -> None:
        self._folder = folder
        self._table = table
        self._token = uuid.uuid4().hex
        self._keys = partition_columns(table)
        stored = [column for column in table.columns if column.name not in self._keys]
        self._schema = pa.schema([pa.field(c.name, ARROW[c.kind], nullable(c)) for c in stored])
        self._columns = stored
        numbers = [c.name for c in stored if c.kind in {Kind.SHORT, Kind.INTEGER, Kind.LONG, Kind.TIME}]
        self._options: dict[str, Any] = {
            "compression": "zstd",
            "use_dictionary": [c.name for c in stored if c.name not in numbers],
            # Most numbers are near the one before: this takes less space than a dictionary and less time.
            "column_encoding": dict.fromkeys(numbers, "DELTA_BINARY_PACKED"),
            # Row groups of one day hold all texts from the first to the last: what to pass over is told by numbers.
            "write_statistics": [c.name for c in stored if c.kind is not Kind.TEXT],
        }
        self._pruned = pruned_columns(table)
        self._open: dict[tuple[str, ...], _Part] = {}
        self._parts: list[_Part] = []
        self._waiting = 0

    def write(self, batch: pa.RecordBatch) -> None:
        """Take rows in; columns as the table's, in any order, those that may be NULL left out or not."""
        for key, rows in self._cut(batch):
            part = self._part(key)
            self._observe(part, rows)
            part.waiting.append(rows)
            part.rows_waiting += rows.num_rows
            self._waiting += rows.num_rows
            if part.rows_waiting >= ROW_GROUP:
                self._flush(part)
        while self._waiting >= GATHERED:
            self._flush(max(self._open.values(), key=lambda part: part.rows_waiting))

    def close(self, durable: bool) -> list[WrittenFile]:
        """Write out what waits and return the files."""
        for part in list(self._open.values()):
            self._finish(part)
        self._open.clear()
        written = [self._described(part) for part in self._parts]
        if durable and written:
            synchronise([self._folder / file.path for file in written])
        return written

    def discard(self) -> None:
        """Remove what was written."""
        for part in self._parts:
            if part.writer is not None:
                part.writer.close()
            part.path.unlink(missing_ok=True)

    def _cut(self, batch: pa.RecordBatch) -> Iterable[tuple[tuple[str, ...], pa.RecordBatch]]:
        """Cut a batch by partition."""
        rows = self._fitted(batch)
        keys = [batch.column(name) for name in self._keys]
        distinct = [pc.unique(key) for key in keys]
        if all(len(values) == 1 for values in distinct):
            yield tuple(str(values[0].as_py()) for values in distinct), rows
            return
        for values in product(*(each.to_pylist() for each in distinct)):
            mask = pc.equal(keys[0], values[0])
            for key, value in zip(keys[1:], values[1:], strict=True):
                mask = pc.and_(mask, pc.equal(key, value))
            part = rows.filter(mask)
            if part.num_rows:
                yield tuple(map(str, values)), part

    def _fitted(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch's columns as they are stored, those that are left out as NULL."""
        for name in batch.schema.names:
            if all(name != column.name for column in self._table.columns):
                raise StoreError(f"table {self._table.name} has no column {name}")
        columns = []
        for column in self._columns:
            place = batch.schema.get_field_index(column.name)
            values = pa.nulls(batch.num_rows, ARROW[column.kind]) if place < 0 else batch.column(place)
            if values.type != ARROW[column.kind]:
                kind = column.kind.value
                raise StoreError(f"column {column.name} of table {self._table.name} is {kind}, not {values.type}")
            if values.null_count and not nullable(column):
                raise StoreError(f"column {column.name} of table {self._table.name} must not be empty")
            columns.append(values)
        return pa.RecordBatch.from_arrays(columns, schema=self._schema)

    def _part(self, key: tuple[str, ...]) -> _Part:
        part = self._open.get(key)
        if part is not None:
            return part
        if len(self._open) >= OPEN_FILES:
            oldest = next(iter(self._open))
            self._finish(self._open.pop(oldest))
        folder = self._folder.joinpath(*(f"{name}={value}" for name, value in zip(self._keys, key, strict=True)))
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self._token}-{len(self._parts)}.parquet"
        part = _Part(path, dict(zip(self._keys, key, strict=True)))
        self._open[key] = part
        self._parts.append(part)
        return part

    def _observe(self, part: _Part, rows: pa.RecordBatch) -> None:
        for column, values in zip(self._columns, rows.columns, strict=True):
            part.nulls[column.name] = part.nulls.get(column.name, 0) + values.null_count
            if column.name in self._pruned and column.kind in _COUNTED and values.null_count < len(values):
                span = pc.min_max(values.cast(_COUNTED[column.kind])).as_py()
                part.least[column.name] = min(span["min"], part.least.get(column.name, span["min"]))
                part.greatest[column.name] = max(span["max"], part.greatest.get(column.name, span["max"]))

    def _flush(self, part: _Part) -> None:
        if part.writer is None:
            part.writer = pq.ParquetWriter(part.path, self._schema, **self._options)
        part.writer.write_table(pa.Table.from_batches(part.waiting, self._schema), row_group_size=ROW_GROUP)
        part.rows += part.rows_waiting
        self._waiting -= part.rows_waiting
        part.rows_waiting = 0
        part.waiting.clear()

    def _finish(self, part: _Part) -> None:
        if part.rows_waiting:
            self._flush(part)
        if part.writer is not None:
            part.writer.close()
            part.writer = None

    def _described(self, part: _Part) -> WrittenFile:
        kinds = {column.name: column.kind for column in self._columns}
        statistics = {
            "numRecords": part.rows,
            "minValues": {name: _written(kinds[name], value) for name, value in part.least.items()},
            "maxValues": {name: _written(kinds[name], value) for name, value in part.greatest.items()},
            "nullCount": part.nulls,
        }
        check_partition(self._table, part.partition, statistics)
        path = part.path.relative_to(self._folder).as_posix()
        return WrittenFile(path, part.path.stat().st_size, part.rows, part.partition, statistics)


_COUNTED: Final = {Kind.TIME: pa.int64(), Kind.DATE: pa.int32(), Kind.TEXT: pa.string()}
"""How values are compared for the statistics, by the kinds that have any."""


def _written(kind: Kind, value: Any) -> str:
    """A statistic as Delta's log has it."""
    if kind is Kind.TEXT:
        return str(value)
    if kind is Kind.DATE:
        return (date(1970, 1, 1) + timedelta(days=value)).isoformat()
    return (EPOCH + timedelta(microseconds=value)).isoformat(timespec="microseconds").replace("+00:00", "Z")
