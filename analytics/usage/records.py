"""Records of a window of days: copies counted once, records of one call joined by the legs they share.

A transfer, a conference or a pickup leaves several records that share a leg identifier; other systems give all records
of a call one reference. Two records that share either are one call, unless they lie more than an hour apart: leg
identifiers come round again after a restart, and no party is parked that long.
"""

from __future__ import annotations

from datetime import date, timedelta

import duckdb
import numpy as np
from numpy.typing import NDArray

MAX_GAP_SECONDS = 3_600
"""Longest pause between two records of one leg that still are one call."""

_COPY_KEY = (
    "source, system, row_key, call_ref, orig_leg, dest_leg, origination, connect, disconnect, seconds, calling, called,"
    " orig_cause, dest_cause"
)


NEEDED = (
    "day", "source", "system", "file_key", "line", "row_key", "call_ref", "orig_leg", "dest_leg", "origination",
    "seconds", "calling", "original_called", "called", "outpulsed_called", "last_redirect", "hunt_pilot",
    "orig_cause", "dest_cause", "redirect_reason", "redirect_behalf", "direction", "mos",
)  # fmt: skip
"""Columns of `cdr_rows` that lines are made of, beside those that say where a party is."""


def select(connection: duckdb.DuckDBPyConnection, view: str, first: date, last: date) -> int:
    """Make the view `once`: records of UTC days first to last without copies. Return how many copies there are.

    With them come the records of further days that belong to calls which go on over the first or the last day, and
    those that were just over when the first day began: a call of that day may be their repetition.
    """
    connection.execute(f"CREATE OR REPLACE TEMP TABLE reaching AS SELECT * FROM {view} LIMIT 0")
    _reach_back(connection, view, first)
    _reach_on(connection, view, first, last)
    connection.execute(f"""
        CREATE OR REPLACE TEMP VIEW window_records AS
        SELECT * FROM {view} WHERE day BETWEEN DATE '{first}' AND DATE '{last}' UNION ALL FROM reaching
    """)
    view, days = "window_records", "true"
    keys, counts = _repeated(_integers(connection, f"SELECT row_key FROM {view} WHERE {days}")["row_key"])
    if not len(keys):
        connection.execute(f"CREATE OR REPLACE TEMP VIEW once AS SELECT * FROM {view} WHERE {days}")
        return 0
    _keep(connection, "twice", {"row_key": keys, "n": counts})
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE repeated AS
        SELECT * FROM {view} WHERE {days} AND row_key IN (SELECT row_key FROM twice)
        QUALIFY row_number() OVER (PARTITION BY {_COPY_KEY} ORDER BY file_key, line) = 1
    """)
    connection.execute(f"""
        CREATE OR REPLACE TEMP VIEW once AS
        SELECT * FROM {view} WHERE {days} AND row_key NOT IN (SELECT row_key FROM twice) UNION ALL FROM repeated
    """)
    return _one(connection, "SELECT (SELECT sum(n) FROM twice) - (SELECT count(*) FROM repeated)")[0]


MOST_DAYS = 31
"""Days on each side of a window in which the rest of a call is looked for."""
_ENDED = "coalesce(disconnect, connect + to_seconds(seconds), origination)"


def _up_to(day: date) -> str:
    """Return the condition of records that were up at the midnight before a day, or shortly before it."""
    return f"{_ENDED} >= TIMESTAMPTZ '{day} 00:00:00+00' - INTERVAL {MAX_GAP_SECONDS} SECOND"


def _reach_back(connection: duckdb.DuckDBPyConnection, view: str, first: date) -> None:
    """Add records of the days before whose calls go on over the first day, day by day until a day has none."""
    connection.execute(f"CREATE OR REPLACE TEMP TABLE frontier AS {_keys_of('reaching')}")
    for back in range(1, MOST_DAYS + 1):
        found = _add(connection, view, first - timedelta(days=back), _up_to(first))
        # A call of more than a day may have nothing on the day between.
        if not found and back > 1:
            return


def _reach_on(connection: duckdb.DuckDBPyConnection, view: str, first: date, last: date) -> None:
    """Add records of the days after that calls go on into, day by day until none is up any more."""
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE late AS SELECT * FROM (
            SELECT {_NAMED}, {_ENDED} AS ended FROM {view} WHERE day BETWEEN DATE '{first}' AND DATE '{last}'
            UNION ALL SELECT {_NAMED}, {_ENDED} FROM reaching
        ) WHERE {_up_to(last + timedelta(days=1)).replace(_ENDED, "ended")}
    """)
    for on in range(1, MOST_DAYS + 1):
        day = last + timedelta(days=on)
        connection.execute(f"""
            CREATE OR REPLACE TEMP TABLE up AS SELECT * FROM late WHERE {_up_to(day).replace(_ENDED, "ended")}
        """)
        connection.execute(f"CREATE OR REPLACE TEMP TABLE frontier AS {_keys_of('up')}")
        if not _one(connection, "SELECT count(*) FROM frontier")[0]:
            return
        if _add(connection, view, day, "false"):
            connection.execute(f"INSERT INTO late SELECT {_NAMED}, {_ENDED} FROM reaching WHERE day = DATE '{day}'")


_NAMED = "source, system, orig_leg, dest_leg, call_ref"
_SHARES = """(
    (source, system, 0, orig_leg) IN (FROM frontier) OR (source, system, 0, dest_leg) IN (FROM frontier)
    OR (source, system, 1, call_ref) IN (FROM frontier)
)"""


def _keys_of(rows: str) -> str:
    """Return the query of what records can share with others."""
    return f"""
        SELECT source, system, 0 AS what, orig_leg AS key FROM {rows} WHERE orig_leg <> 0
        UNION SELECT source, system, 0, dest_leg FROM {rows} WHERE dest_leg <> 0
        UNION SELECT source, system, 1, call_ref FROM {rows} WHERE call_ref <> 0
    """


def _add(connection: duckdb.DuckDBPyConnection, view: str, day: date, also: str) -> int:
    """Add to `reaching` the records of a day that share something with the frontier, or with one that does, and others.

    The frontier grows by what they can share. Return how many records there were.
    """
    if not _near(connection, view, day, also):
        return 0
    rows = f"SELECT * FROM near WHERE also OR {_SHARES}"
    more = True
    while more:
        connection.execute(f"""
            CREATE OR REPLACE TEMP TABLE further AS WITH found AS MATERIALIZED ({rows}) {_keys_of("found")}
            EXCEPT FROM frontier
        """)
        connection.execute("INSERT INTO frontier FROM further")
        more = bool(_one(connection, "SELECT count(*) FROM further")[0])
    before = _one(connection, "SELECT count(*) FROM reaching")[0]
    connection.execute(f"INSERT INTO reaching SELECT * EXCLUDE (also) FROM near WHERE also OR {_SHARES}")
    return _one(connection, "SELECT count(*) FROM reaching")[0] - before


def _near(connection: duckdb.DuckDBPyConnection, view: str, day: date, also: str) -> bool:
    """Fill `near` with the few records of a day that can be added, or more; return whether there are any.

    Numbers alone are looked at, whichever system gave them: that is fast, and can only find too much.
    """
    keys = _integers(connection, "SELECT what::BIGINT AS what, key FROM frontier")
    legs, references = (keys["key"][keys["what"] == what] for what in (0, 1))
    named = _integers(
        connection,
        f"SELECT orig_leg, dest_leg, call_ref, row_key, coalesce({also}, false)::BIGINT AS also "
        f"FROM {view} WHERE day = DATE '{day}'",
    )
    origins, destinations, calls = named["orig_leg"], named["dest_leg"], named["call_ref"]
    found = named["also"] != 0
    new, new_legs, new_references = found, legs, references
    while True:
        new_legs = np.union1d(new_legs, _others(np.concatenate([origins[new], destinations[new]]), legs))
        new_references = np.union1d(new_references, _others(calls[new], references))
        touched = among(origins, new_legs) | among(destinations, new_legs) | among(calls, new_references)
        new = touched & ~found
        if not new.any():
            break
        found = found | new
        legs, references = np.union1d(legs, new_legs), np.union1d(references, new_references)
        new_legs = new_references = np.empty(0, np.int64)
    if not found.any():
        return False
    _keep(connection, "chosen", {"row_key": named["row_key"][found]})
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE near AS SELECT *, {also} AS also FROM {view}
        WHERE day = DATE '{day}' AND row_key IN (SELECT row_key FROM chosen)
    """)
    return True


def _others(keys: NDArray[np.int64], known: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the keys that name something and are not known, each once, in order."""
    return np.setdiff1d(keys[keys != 0], known)


PLACES = 20
"""Binary digits of a place in the table that numbers are looked up in first."""


def among(values: NDArray[np.int64], keys: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which values are among keys. Most are not: a table that fits in the processor's cache passes over them."""
    if not len(keys):
        return np.zeros(len(values), np.bool_)
    table = np.zeros(1 << PLACES, np.bool_)
    table[_places(keys)] = True
    found: NDArray[np.bool_] = table[_places(values)]
    which = np.flatnonzero(found)
    found[which] = np.isin(values[which], keys)
    return found


def _places(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Spread numbers that follow each other over the table (Knuth's multiplicative hashing)."""
    places: NDArray[np.uint64] = (numbers.view(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(64 - PLACES)
    return places.view(np.int64)


def join(connection: duckdb.DuckDBPyConnection) -> int:
    """Fill `joined` (rid, call) with the records that share their call with another; `call` is one rid of it."""
    # Of millions of keys a few are shared: sorting numbers finds them several times as fast as grouping them.
    named = _integers(connection, "SELECT orig_leg, dest_leg, call_ref FROM records")
    other = named["dest_leg"][named["dest_leg"] != named["orig_leg"]]
    legs = np.concatenate([named["orig_leg"], other])
    shared = [_repeated(keys[keys != 0])[0] for keys in (legs, named["call_ref"])]
    what = np.repeat(np.arange(2), [len(keys) for keys in shared])
    # Two systems may use one number: what is looked at more closely may be too much, which does no harm.
    _keep(connection, "shared", {"what": what, "key": np.concatenate(shared)})
    found = connection.execute("""
        WITH named AS (
            SELECT rowid AS rid, began, ended, sid, 0::TINYINT AS what, orig_leg AS key FROM records
            UNION ALL
            SELECT rowid, began, ended, sid, 0::TINYINT, dest_leg FROM records WHERE dest_leg <> orig_leg
            UNION ALL
            SELECT rowid, began, ended, sid, 1::TINYINT, call_ref FROM records
        )
        SELECT rid, began, ended, sid, what, key FROM named SEMI JOIN shared USING (what, key)
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
    _keep(connection, "joined", {"rid": ids[together], "call": label[together]})
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


def _integers(connection: duckdb.DuckDBPyConnection, sql: str) -> dict[str, NDArray[np.int64]]:
    """Fetch columns of 64-bit integers that are never NULL."""
    return {name: np.asarray(column, np.int64) for name, column in connection.execute(sql).fetchnumpy().items()}


def _repeated(values: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the values that occur more than once, in order, and how often each does."""
    ordered = np.sort(values)
    repeated = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    counts = np.searchsorted(ordered, repeated, "right") - np.searchsorted(ordered, repeated, "left")
    return repeated, counts


def _keep(connection: duckdb.DuckDBPyConnection, table: str, columns: dict[str, NDArray[np.int64]]) -> None:
    """Make a temporary table of columns."""
    import pyarrow as pa

    connection.register("columns_to_keep", pa.table(columns))
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {table} AS FROM columns_to_keep")
    connection.unregister("columns_to_keep")


def _one(connection: duckdb.DuckDBPyConnection, sql: str) -> tuple[int, ...]:
    (row,) = connection.execute(sql).fetchall()
    return tuple(row)
