"""From a reader's batches to the temporary tables that the lake takes rows from."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from analytics.store.schema import CDR_ROWS, PHONE_REPORTS, Table
from collector.capture.files import CaptureError, Source, open_source
from collector.cdr.rows import Batch, ReadSettings
from collector.cdr.staging import Staged, staged_table

if TYPE_CHECKING:
    import duckdb
    from _typeshed import WriteableBuffer

    from collector.cdr.files import CdrFile
    from collector.cdr.rejects import Rejects

PIECE = 1 << 20
"""Octets read at once."""


class SourceStream(io.RawIOBase):
    """A source as a stream of octets, unpacked: `size` at most, the first `start` passed over but for `head` lines."""

    def __init__(self, source: Source, size: int | None = None, start: int = 0, head: int = 0) -> None:
        super().__init__()
        self._source = source
        self._left = size
        self.digest = hashlib.sha256()
        """Of what was read so far, passed over or not."""
        self._held = self._pass_over(start, head)

    def _pass_over(self, start: int, head: int) -> bytes:
        """Read over octets; return the first lines of them."""
        held = b""
        buffer = memoryview(bytearray(min(PIECE, start)))
        while start and (count := self._read(buffer[: min(len(buffer), start)])):
            start -= count
            if held.count(b"\n") < head:
                held += bytes(buffer[:count])
        return b"".join(held.splitlines(keepends=True)[:head])

    def _read(self, view: memoryview) -> int:
        if self._left is not None:
            view = view[: self._left]
        count = self._source.read_into(view) if len(view) else 0
        if self._left is not None:
            self._left -= count
        self.digest.update(view[:count])
        return count

    def readable(self) -> bool:
        """Streams of sources can be read."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill the buffer with what comes next; 0 at the end."""
        view = memoryview(buffer).cast("B")
        if self._held:
            count = min(len(view), len(self._held))
            view[:count], self._held = self._held[:count], self._held[count:]
            return count
        return self._read(view)


Read: TypeAlias = Callable[[BinaryIO, ReadSettings], Iterator[Batch]]


def stage_batches(
    connection: duckdb.DuckDBPyConnection,
    files: Sequence[CdrFile],
    rejects: Rejects,
    settings: ReadSettings,
    read: Read,
    head: int | None = 0,
) -> dict[int, Staged]:
    """Put the records of files into the temporary tables, batch by batch, and say what became of each file.

    Of a file that has grown, what is new is read, after its first `head` lines; all of it where that is None, for then
    a record cannot be told without those before it. Raises `FileChangedError` for a file that is not what was hashed.
    """
    return {file.file_key: _stage_file(connection, file, rejects, settings, read, head) for file in files}


def _stage_file(
    connection: duckdb.DuckDBPyConnection,
    file: CdrFile,
    rejects: Rejects,
    settings: ReadSettings,
    read: Read,
    head: int | None,
) -> Staged:
    from collector.cdr.cutting import FileChangedError  # brings kernels, which only an import needs

    rows = kept = 0
    first: int | None = None
    last: int | None = None
    try:
        source = open_source(str(file.path))
    except CaptureError:
        raise FileChangedError(file) from None
    start, lines = (0, 0) if head is None else (file.start, min(head, file.lines_before))
    octets = SourceStream(source, file.size if file.is_added_to else None, start, lines)
    shift = file.lines_before - lines if start else 0
    with source, io.BufferedReader(octets, PIECE) as stream:
        for each in read(stream, replace(settings, file_key=file.file_key)):
            batch = _behind(each, shift, file.lines_before)
            for one in batch.rejects:
                rejects.add(file, one.line, one.reason, one.record)
            rows += batch.cdr_rows.num_rows + len(batch.rejects)
            kept += batch.cdr_rows.num_rows
            for table, arrow in ((CDR_ROWS, batch.cdr_rows), (PHONE_REPORTS, batch.phone_reports)):
                if arrow.num_rows:
                    _insert(connection, table, arrow)
            if batch.cdr_rows.num_rows:
                span = pc.min_max(batch.cdr_rows[CDR_ROWS.clock].cast(pa.int64())).as_py()
                first = span["min"] if first is None else min(first, span["min"])
                last = span["max"] if last is None else max(last, span["max"])
    if source.problem is not None or octets.digest.hexdigest() != file.sha256:
        raise FileChangedError(file)
    return Staged(rows, kept, moment(first), moment(last))


def _behind(batch: Batch, shift: int, before: int) -> Batch:
    """What stands behind so many lines of the file, its lines counted from the file's begin."""
    if not before:
        return batch

    def placed(rows: pa.Table) -> pa.Table:
        line = pc.add(rows["line"], shift).cast(rows.schema.field("line").type)
        moved = rows.set_column(rows.schema.get_field_index("line"), rows.schema.field("line"), line)
        return moved.filter(pc.greater(moved["line"], before))

    rejects = tuple(one._replace(line=one.line + shift) for one in batch.rejects)
    return Batch(
        placed(batch.cdr_rows), placed(batch.phone_reports), tuple(one for one in rejects if one.line > before)
    )


def _insert(connection: duckdb.DuckDBPyConnection, table: Table, arrow: pa.Table) -> None:
    connection.register("read_batch", arrow)
    connection.execute(f"insert into {staged_table(table)} by name select * from read_batch")  # noqa: S608 -- our names
    connection.unregister("read_batch")


def moment(micros: int | None) -> datetime | None:
    """Turn microseconds since the epoch into a datetime."""
    return None if micros is None else datetime.fromtimestamp(0, UTC) + timedelta(microseconds=micros)
