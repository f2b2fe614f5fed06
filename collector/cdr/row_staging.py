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
    """A source as a stream of octets, unpacked."""

    def __init__(self, source: Source) -> None:
        super().__init__()
        self._source = source
        self.digest = hashlib.sha256()
        """Of what was read so far."""

    def readable(self) -> bool:
        """Streams of sources can be read."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill the buffer with what comes next; 0 at the end."""
        view = memoryview(buffer).cast("B")
        count = self._source.read_into(view)
        self.digest.update(view[:count])
        return count


Read: TypeAlias = Callable[[BinaryIO, ReadSettings], Iterator[Batch]]


def stage_batches(
    connection: duckdb.DuckDBPyConnection,
    files: Sequence[CdrFile],
    rejects: Rejects,
    settings: ReadSettings,
    read: Read,
) -> dict[int, Staged]:
    """Put the records of files into the temporary tables, batch by batch, and say what became of each file.

    Raises `FileChangedError` for a file that is not what was hashed.
    """
    return {file.file_key: _stage_file(connection, file, rejects, settings, read) for file in files}


def _stage_file(
    connection: duckdb.DuckDBPyConnection, file: CdrFile, rejects: Rejects, settings: ReadSettings, read: Read
) -> Staged:
    from collector.cdr.cutting import FileChangedError  # brings kernels, which only an import needs

    rows = kept = 0
    first: int | None = None
    last: int | None = None
    try:
        source = open_source(str(file.path))
    except CaptureError:
        raise FileChangedError(file) from None
    octets = SourceStream(source)
    with source, io.BufferedReader(octets, PIECE) as stream:
        for batch in read(stream, replace(settings, file_key=file.file_key)):
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


def _insert(connection: duckdb.DuckDBPyConnection, table: Table, arrow: pa.Table) -> None:
    connection.register("read_batch", arrow)
    connection.execute(f"insert into {staged_table(table)} by name select * from read_batch")  # noqa: S608 -- our names
    connection.unregister("read_batch")


def moment(micros: int | None) -> datetime | None:
    """Turn microseconds since the epoch into a datetime."""
    return None if micros is None else datetime.fromtimestamp(0, UTC) + timedelta(microseconds=micros)
