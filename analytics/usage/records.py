"""Records of a window of days: copies counted once, records of one call joined by the legs they share.

A transfer, a conference or a pickup leaves several records that share a leg identifier; other systems give all records
of a call one reference. Two records that share either are one call, unless they lie more than an hour apart: leg
identifiers come round again after a restart, and no party is parked that long.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import duckdb
import numpy as np
from numpy.typing import NDArray

MAX_GAP_SECONDS = 3_600
"""Longest pause between two records of one leg that still are one call."""

_COPY_KEY = (
    "source, system, row_key, call_ref, orig_leg, dest_leg, origination, connect, disconnect, seconds, calling, called,"
    " orig_cause, dest_cause"
)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a window holds."""

    records: int
    copies: int
    """Records that were there already, from another file or another export."""
    joined: int
    """Records that share their call with another one."""


def load(connection: duckdb.DuckDBPyConnection, view: str, first: date, last: date) -> Loaded:
    """Fill the temporary tables `records` and `joined` (rid, call) with the records of UTC days first to last."""
    days = f"day BETWEEN DATE '{first}' AND DATE '{last}'"
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE twice AS SELECT row_key FROM {view} WHERE {days} "
        "GROUP BY row_key HAVING count(*) > 1"
    )
    (repeated,) = _one(connection, "SELECT count(*) FROM twice")
    (seen,) = _one(connection, f"SELECT count(*) FROM {view} WHERE {days}")
    if repeated:
        source = (
            f"SELECT * FROM {view} WHERE {days} AND row_key NOT IN (FROM twice) UNION ALL "
            f"(SELECT * FROM {view} WHERE {days} AND row_key IN (FROM twice) "
            f"QUALIFY row_number() OVER (PARTITION BY {_COPY_KEY} ORDER BY file_key, line) = 1)"
        )
    else:
        source = f"SELECT * FROM {view} WHERE {days}"
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE records AS SELECT row_number() OVER () - 1 AS rid, *, "
        "epoch(origination)::BIGINT AS began, "
        "coalesce(epoch(disconnect)::BIGINT, epoch(connect)::BIGINT + seconds, epoch(origination)::BIGINT) AS ended "
        f"FROM ({source})"
    )
    (records,) = _one(connection, "SELECT count(*) FROM records")
    joined = _join(connection)
    return Loaded(records, seen - records, joined)


def _join(connection: duckdb.DuckDBPyConnection) -> int:
    """Fill `joined` (rid, call) with the records that share their call with another; `call` is one rid of it."""
    connection.execute("""
        CREATE OR REPLACE TEMP TABLE systems AS
        SELECT source, system, row_number() OVER (ORDER BY source, system)::SMALLINT AS sid
        FROM (SELECT DISTINCT source, system FROM records)
    """)
    connection.execute("""
        CREATE OR REPLACE TEMP TABLE shared AS
        WITH legs AS (
            SELECT sid, orig_leg AS leg FROM records JOIN systems USING (source, system) WHERE orig_leg <> 0
            UNION ALL
            SELECT sid, dest_leg FROM records JOIN systems USING (source, system)
            WHERE dest_leg <> 0 AND dest_leg <> orig_leg
        ), references_ AS (
            SELECT sid, call_ref FROM records JOIN systems USING (source, system) WHERE call_ref <> 0
        )
        SELECT sid, leg AS key, 0::TINYINT AS what FROM legs GROUP BY sid, leg HAVING count(*) > 1
        UNION ALL
        SELECT sid, call_ref, 1::TINYINT FROM references_ GROUP BY sid, call_ref HAVING count(*) > 1
    """)
    found = connection.execute("""
        WITH named AS (
            SELECT rid, began, ended, sid, 0::TINYINT AS what, orig_leg AS key
            FROM records JOIN systems USING (source, system)
            UNION ALL
            SELECT rid, began, ended, sid, 0::TINYINT, dest_leg
            FROM records JOIN systems USING (source, system) WHERE dest_leg <> orig_leg
            UNION ALL
            SELECT rid, began, ended, sid, 1::TINYINT, call_ref FROM records JOIN systems USING (source, system)
        )
        SELECT rid, began, ended, sid, what, key FROM named SEMI JOIN shared USING (sid, what, key)
        ORDER BY sid, what, key, began, ended, rid
    """).fetchnumpy()
    rid = np.asarray(found["rid"], dtype=np.int64)
    call = components(
        rid,
        np.stack([np.asarray(found[name], dtype=np.int64) for name in ("sid", "what", "key")]),
        np.asarray(found["began"], dtype=np.int64),
        np.asarray(found["ended"], dtype=np.int64),
    )
    ids, first = np.unique(rid, return_index=True)
    label = call[first]
    together = np.bincount(np.searchsorted(ids, label), minlength=len(ids))[np.searchsorted(ids, label)] > 1
    columns = {"rid": ids[together], "call": label[together]}
    connection.register("joined_columns", _arrow(columns))
    connection.execute("CREATE OR REPLACE TEMP TABLE joined AS SELECT rid, call FROM joined_columns")
    connection.unregister("joined_columns")
    return int(together.sum())


def components(
    rid: NDArray[np.int64], keys: NDArray[np.int64], began: NDArray[np.int64], ended: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return for each mention the lowest rid of its connected component.

    Mentions are sorted by key, then time. `keys` has one row a key column. A key's mentions are cut where a record
    begins more than MAX_GAP_SECONDS after all earlier ones have ended.
    """
    if not len(rid):
        return rid
    new = np.ones(len(rid), dtype=bool)
    new[1:] = (keys[:, 1:] != keys[:, :-1]).any(axis=0)
    latest = _running_maximum(ended, new)
    new[1:] |= began[1:] > latest[:-1] + MAX_GAP_SECONDS
    group = np.cumsum(new) - 1
    starts = np.flatnonzero(new)
    ids, local = np.unique(rid, return_inverse=True)
    label = np.arange(len(ids))
    while True:
        lowest = np.minimum.reduceat(label[local], starts)
        better = label.copy()
        np.minimum.at(better, local, lowest[group])
        better = better[better]
        if np.array_equal(better, label):
            return ids[label[local]]
        label = better


def _running_maximum(values: NDArray[np.int64], new: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the maximum so far within each group; groups begin where `new` is set."""
    group = np.cumsum(new)
    span = int(values.max()) - int(values.min()) + 1
    # Each group is lifted above all earlier ones, so that one running maximum serves them all.
    highest: NDArray[np.int64] = np.maximum.accumulate(values + group * span)
    return highest - group * span


def _arrow(columns: dict[str, NDArray[np.int64]]) -> object:
    import pyarrow as pa

    return pa.table(columns)


def _one(connection: duckdb.DuckDBPyConnection, sql: str) -> tuple[int, ...]:
    row = connection.execute(sql).fetchone()
    assert row is not None  # an aggregate without GROUP BY always has a row
    return tuple(row)
