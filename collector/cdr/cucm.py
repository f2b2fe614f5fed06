"""Cisco CUCM: CDR and CMR files on their way into the lake."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from collector.cdr.cucm_layout import sniff
from collector.cdr.cucm_rows import SHAPES, RowReader, binder, header_reader
from collector.cdr.cutting import WINDOW, Cutter, FileChangedError, Tally
from collector.cdr.files import CdrFile
from collector.cdr.rejects import Rejects
from collector.cdr.staging import STAGED, Staged

if TYPE_CHECKING:
    import duckdb

__all__ = ["FORMAT", "ahead", "record_batches", "sniff", "stage"]

FORMAT: Final = "cucm"
AHEAD: Final = 2
"""Batches that are made while the lake still writes the one before."""
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def record_batches(
    files: Sequence[CdrFile], record: str, rejects: Rejects, tallies: dict[int, Tally], window: int = WINDOW
) -> Iterator[pa.RecordBatch]:
    """Read files of one kind of record; `tallies` receives what was seen of each file by its key.

    Raises `FileChangedError` for a file that is not what was hashed.
    """
    shape = SHAPES[record]
    cutter = Cutter(len(shape.fields), binder(shape), header_reader(shape), window)
    cutter.tallies = tallies
    reader = RowReader(shape, rejects)
    for cut in cutter.cuts(files):
        batch = reader.batch(cut)
        if batch is not None:
            yield batch


@contextmanager
def ahead(batches: Iterator[pa.RecordBatch], depth: int = AHEAD) -> Iterator[Iterator[pa.RecordBatch]]:
    """Make batches in a thread of their own, at most `depth` before they are wanted; its error is raised here."""
    made: queue.Queue[pa.RecordBatch | Exception | None] = queue.Queue(depth)
    stop = threading.Event()

    def put(item: pa.RecordBatch | Exception | None) -> None:
        while not stop.is_set():
            try:
                made.put(item, timeout=0.1)
            except queue.Full:
                continue
            return

    def work() -> None:
        try:
            for batch in batches:
                put(batch)
                if stop.is_set():
                    return
            put(None)
        except (FileChangedError, OSError, ValueError, RuntimeError) as error:
            put(error)

    def taken() -> Iterator[pa.RecordBatch]:
        while (item := made.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item

    worker = threading.Thread(target=work, name="cdr-reader", daemon=True)
    worker.start()
    try:
        yield taken()
    finally:
        stop.set()
        worker.join()


def staged(tally: Tally) -> Staged:
    """What became of a file."""
    return Staged(tally.rows, tally.kept, _moment(tally.first_us), _moment(tally.last_us))


def _moment(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else EPOCH + timedelta(microseconds=microseconds)


def stage(connection: duckdb.DuckDBPyConnection, files: Sequence[CdrFile], rejects: Rejects) -> Mapping[int, Staged]:
    """Put the rows of files into the temporary tables; return what became of each file by its key."""
    tallies: dict[int, Tally] = {}
    for record, table in (("cdr", STAGED["cdr_rows"]), ("cmr", STAGED["phone_reports"])):
        of_record = [file for file in files if file.record == record]
        for batch in record_batches(of_record, record, rejects, tallies):
            connection.register("cucm_records", pa.Table.from_batches([batch]))
            connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM cucm_records")  # noqa: S608 - own names
            connection.unregister("cucm_records")
    return {key: staged(tally) for key, tally in tallies.items()}
