"""Parts of data that their sources number, appended once each in whatever order and by however many processes.

Delta's own rule for a source (all up to its last number is there) needs order. Here a source has 64 transactions of a
table, used in turn; the number of each tells which 32 of the source's numbers it speaks of and which of them are in.
They go into the same log entry as the rows, and whoever comes second to a version looks again: so a part counts once,
even when two workers hold it at the same moment. The last 2,016 numbers of a source are told apart; what is older
counts as there, so a source must not have more than `WINDOW` numbers on their way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from typing import TYPE_CHECKING, NamedTuple

import duckdb
import pyarrow as pa
from deltalake import DeltaTable
from deltalake.transaction import AddAction, RemoveAction

from analytics.store import schema
from analytics.store.batches import BatchWriter
from analytics.store.delta import add_action, first_line
from analytics.store.files import WrittenFile, discard
from analytics.store.schema import SITE_MINUTES, Table
from analytics.store.settings import StoreError
from analytics.store.site_minutes import with_hours

if TYPE_CHECKING:
    from analytics.store.lake import Lake

BITS = 32
SLOTS = 64
WINDOW = 1_024
"""Most numbers of a source that may be on their way at once, from the oldest to the newest; the bound is 2,016."""
Look = Callable[[str], int | None]
"""Gives the number of a transaction by its name; None where there is none."""


class Part(NamedTuple):
    """Rows of one number of a source; `rows` may be empty, the number is kept all the same."""

    source: str
    number: int
    rows: pa.Table


class Added(NamedTuple):
    """What became of parts."""

    rows: int
    """Rows that went into the table, hours of site minutes not counted."""
    already: frozenset[tuple[str, int]]
    """Source and number of the parts that were there before."""


def _place(source: str, number: int) -> tuple[str, int, int]:
    """Name of the transaction that speaks of a number, which round of the slots it is, and its bit."""
    block = number // BITS
    return f"received/{source}/{block % SLOTS}", block // SLOTS, 1 << (number % BITS)


def is_in(look: Look, source: str, number: int) -> bool:
    """Whether a number of a source is in, as far as `look` sees."""
    name, turn, bit = _place(source, number)
    known = look(name)
    if known is None:
        return False
    known_turn = known >> BITS
    return known_turn > turn or (known_turn == turn and bool(known & bit))


def marked(look: Look, numbers: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Return the transactions, with their new numbers, that add these numbers of sources to what is in."""
    found: dict[str, int] = {}
    for source, number in numbers:
        name, turn, bit = _place(source, number)
        known = found.get(name)
        if known is None:
            known = look(name)
        if known is None or known >> BITS < turn:
            known = turn << BITS
        if known >> BITS == turn:
            found[name] = known | bit
    return found


def append_received(lake: Lake, table: str, parts: Sequence[Part]) -> Added:
    """Append the parts that are not in yet in one commit, with their numbers; StoreError where that fails.

    Rows of `site_minutes` are minutes; their hour sums are added.
    """
    declared = schema.table(table)
    folder = lake.folder(table)
    while True:
        handle = lake.made(declared)
        fresh = {(part.source, part.number): part for part in parts if not is_in(_looking(handle), *part[:2])}
        already = frozenset((part.source, part.number) for part in parts if (part.source, part.number) not in fresh)
        if not fresh:
            return Added(0, already)
        written = _written(lake, declared, [part.rows for part in fresh.values()])

        def marks(handle: DeltaTable, numbers: Sequence[tuple[str, int]] = tuple(fresh)) -> Mapping[str, int] | None:
            look = _looking(handle)
            # Another process was faster with one of them: the files hold too much.
            return None if any(is_in(look, *number) for number in numbers) else marked(look, numbers)

        def actions(_: DeltaTable, files: Sequence[WrittenFile] = tuple(written)) -> Sequence[AddAction | RemoveAction]:
            return [add_action(file.path, file.size, file.partition, file.statistics) for file in files]

        rows = sum(file.rows for file in written)
        version = lake.commit(declared, actions, marks=marks, metadata={"rows": rows})
        if version is not None:
            return Added(sum(part.rows.num_rows for part in fresh.values()), already)
        discard(folder, written)


def _looking(handle: DeltaTable) -> Look:
    return handle.transaction_version


def _written(lake: Lake, table: Table, tables: Sequence[pa.Table]) -> list[WrittenFile]:
    rows = pa.concat_tables(tables)
    if not rows.num_rows:
        return []
    if table is SITE_MINUTES:
        rows = _minutes_and_hours(lake, rows)
    elif len(table.sort) == 1:
        rows = rows.sort_by(table.sort[0])
    writer = BatchWriter(lake.folder(table.name), table)
    try:
        for batch in rows.combine_chunks().to_batches():
            writer.write(batch)
        return writer.close(lake.settings.durable)
    except BaseException as error:
        # Files that a full disk cut are closed by an error of their own; upkeep removes what stays.
        with suppress(OSError):
            writer.discard()
        if isinstance(error, OSError):
            reason = error.strerror or first_line(error)
            raise StoreError(f"rows of table {table.name} cannot be written: {reason}") from error
        raise


def _minutes_and_hours(lake: Lake, rows: pa.Table) -> pa.Table:
    with closing(lake.connect()) as connection:
        try:
            connection.register("minutes", rows)
            return connection.sql(with_hours(connection, "SELECT * FROM minutes")).to_arrow_table()
        except duckdb.Error as error:
            raise StoreError(f"hours of site minutes cannot be summed: {first_line(error)}") from error
