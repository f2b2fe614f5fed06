"""What the lake knows of imported files: which there are, whose rows are there, and which are missing between them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from analytics.store.schema import CDR_ROWS, IMPORTS, PHONE_REPORTS, Kind
from collector.cdr.files import CdrFile
from collector.cdr.sequence import MINUTE, Gap, Seen, Silence, gaps, silences
from collector.cdr.staging import Staged

if TYPE_CHECKING:
    import duckdb

    from analytics.store.lake import Lake

DAY: Final = timedelta(days=1)
NEIGHBOURS: Final = timedelta(hours=1)
"""How far from the files of a run others tell whether a feed has a file a minute."""
_ARROW: Final = {
    Kind.LONG: pa.int64(),
    Kind.TEXT: pa.string(),
    Kind.DATE: pa.date32(),
    Kind.TIME: pa.timestamp("us", tz="UTC"),
}


@contextmanager
def connected(lake: Lake) -> Iterator[duckdb.DuckDBPyConnection]:
    """Lend a connection to the lake."""
    connection = lake.connect()
    try:
        yield connection
    finally:
        connection.close()


def imported_keys(lake: Lake, keys: Iterable[int]) -> set[int]:
    """Those files, of some, that `imports` names."""
    with connected(lake) as connection:
        connection.register("asked", pa.table({"file_key": pa.array(sorted(keys), pa.int64())}))
        view = lake.view(connection, IMPORTS.name)
        sql = f"SELECT file_key FROM {view} SEMI JOIN asked USING (file_key)"  # noqa: S608 - own names
        return {key for (key,) in connection.execute(sql).fetchall()}


def imported_ends(lake: Lake, source: str, most: int) -> dict[int, set[int]]:
    """Lengths of imported files of a format that are at most so long [octets], and the keys of those files."""
    found: dict[int, set[int]] = {}
    with connected(lake) as connection:
        view = lake.view(connection, IMPORTS.name)
        sql = f"SELECT octets, file_key FROM {view} WHERE source = $1 AND octets <= $2"  # noqa: S608 - own names
        for octets, key in connection.execute(sql, [source, most]).fetchall():
            found.setdefault(octets, set()).add(key)
    return found


def present(lake: Lake, keys: Collection[int]) -> dict[str, frozenset[int]]:
    """Those files, of some that may be half imported, whose rows are in each table."""
    found: dict[str, frozenset[int]] = {CDR_ROWS.name: frozenset(), PHONE_REPORTS.name: frozenset()}
    if not keys:
        return found
    with connected(lake) as connection:
        connection.register("half_done", pa.table({"file_key": pa.array(sorted(keys), pa.int64())}))
        for table in found:
            view = lake.view(connection, table)
            sql = f"SELECT DISTINCT file_key FROM {view} SEMI JOIN half_done USING (file_key)"  # noqa: S608 - own names
            rows = connection.execute(sql)
            found[table] = frozenset(key for (key,) in rows.fetchall())
    return found


def imports_table(files: Sequence[tuple[CdrFile, Staged, int]], now: datetime) -> pa.Table:
    """Rows of `imports` for files, what became of them, and how many of their records were rejected."""
    rows = [
        {
            "month": now.astimezone(UTC).date().replace(day=1),
            "file_key": file.file_key,
            "sha256": file.sha256,
            "name": file.name,
            "source": file.format,
            "record": file.record,
            "imported": now,
            "rows": staged.rows,
            "kept": staged.kept,
            "rejected": rejected,
            "first": staged.first,
            "last": staged.last,
            "node": file.node,
            "sequence": file.sequence,
            "octets": file.size,
        }
        for file, staged, rejected in files
    ]
    return pa.Table.from_pylist(rows, pa.schema([(column.name, _ARROW[column.kind]) for column in IMPORTS.columns]))


def calls_and_copies(lake: Lake, keys: Iterable[int], first: datetime, last: datetime) -> tuple[int, int]:
    """Calls of the records of these files, and how many of the records repeat another, in this run or before.

    Day by day, so that memory is that of one day.
    """
    calls = copies = 0
    with connected(lake) as connection:
        connection.register("of_this_run", pa.table({"file_key": pa.array(list(keys), pa.int64())}))
        for day in _days(first, last):
            begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
            view = lake.view(connection, CDR_ROWS.name, name="of_day", since=begin, until=begin + DAY)
            run = f"(SELECT * FROM {view} SEMI JOIN of_this_run USING (file_key))"  # noqa: S608 - own names
            calls += _number(connection, f"SELECT count(*) FROM (SELECT DISTINCT system, call_ref FROM {run})")  # noqa: S608
            # Records that repeat another have its key. Sorting keys tells in no time that there are none.
            keys = np.sort(connection.execute(f"SELECT row_key FROM {view}").fetchnumpy()["row_key"])  # noqa: S608
            if (keys[1:] == keys[:-1]).any():
                copies += _number(
                    connection,
                    f"""
                    WITH twins AS (SELECT row_key, system, call_ref, origination, connect, disconnect, count(*) AS n
                                   FROM {view} GROUP BY ALL HAVING n > 1)
                    SELECT coalesce(sum(least(mine, twins.n - 1)), 0) FROM twins JOIN
                        (SELECT row_key, call_ref, origination, count(*) AS mine FROM {run} GROUP BY ALL)
                        USING (row_key, call_ref, origination)
                    """,  # noqa: S608 - own names
                )
    return calls, copies


def _number(connection: duckdb.DuckDBPyConnection, sql: str) -> int:
    row = connection.execute(sql).fetchone()
    assert row is not None
    return int(row[0])


def _days(first: datetime, last: datetime) -> Iterator[date]:
    day = first.astimezone(UTC).date()
    while day <= last.astimezone(UTC).date():
        yield day
        day += DAY


def seen(file: CdrFile) -> Seen | None:
    """A file by what its name says; None where it says nothing."""
    if file.node is None or file.minute is None or file.sequence is None:
        return None
    return Seen(file.node, file.record, file.minute, file.sequence)


def missing(files: Iterable[CdrFile]) -> tuple[list[Gap], list[Silence]]:
    """Find files that are missing between these."""
    known = [one for file in files if (one := seen(file)) is not None]
    return gaps(known), silences(known)


def missing_around(lake: Lake, files: Iterable[CdrFile]) -> tuple[list[Gap], list[Silence]]:
    """Find files that are missing between these, and between them and those that were imported beside them."""
    known = [one for file in files if (one := seen(file)) is not None]
    if not known:
        return [], []
    first, last = min(one.minute for one in known), max(one.minute for one in known)
    known += _beside(lake, {one.node for one in known}, first, last)
    return (
        [gap for gap in gaps(known) if gap.before >= first and gap.after <= last],
        [one for one in silences(known) if one.last >= first - MINUTE and one.first <= last + MINUTE],
    )


def _beside(lake: Lake, nodes: set[str], first: datetime, last: datetime) -> Iterator[Seen]:
    """Imported files of nodes: those from about first to last, and the nearest before and after, however far."""
    with connected(lake) as connection:
        connection.register("of_nodes", pa.table({"node": pa.array(sorted(nodes), pa.string())}))
        view = lake.view(connection, IMPORTS.name)
        columns = "node, record, minute, sequence"
        rows = connection.execute(
            f"""
            WITH named AS (SELECT node, record, sequence, regexp_extract(name, '_([0-9]{{12}})_[0-9]+', 1) AS minute
                           FROM {view} SEMI JOIN of_nodes USING (node) WHERE sequence IS NOT NULL)
            SELECT {columns} FROM named WHERE minute BETWEEN $1 AND $2
            UNION SELECT {columns} FROM named WHERE minute < $1
                  QUALIFY row_number() OVER (PARTITION BY node, record ORDER BY minute DESC, sequence DESC) = 1
            UNION SELECT {columns} FROM named WHERE minute > $2
                  QUALIFY row_number() OVER (PARTITION BY node, record ORDER BY minute, sequence) = 1
            """,  # noqa: S608 - own names
            [f"{moment:%Y%m%d%H%M}" for moment in (first - NEIGHBOURS, last + NEIGHBOURS)],
        ).fetchall()
    for node, record, minute, sequence in rows:
        yield Seen(node, record, datetime.strptime(minute, "%Y%m%d%H%M").replace(tzinfo=UTC), sequence)
