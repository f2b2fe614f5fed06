"""One call: its streams and intervals, and what records and telephones say of it beside the packets."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from analytics.questions.asking import begun, key_number
from analytics.questions.calls import COLUMNS as CALL_COLUMNS
from analytics.questions.calls import LONGEST, SLACK, CallRow, call_of
from analytics.questions.streams import COLUMNS as STREAM_COLUMNS
from analytics.questions.streams import StreamRow, stream_of
from analytics.store.schema import CALLS, INTERVALS, STREAMS

if TYPE_CHECKING:
    import duckdb

    from analytics.store.lake import Lake


class IntervalRow(NamedTuple):
    """A piece of a stream."""

    stream_key: str
    start: datetime
    seconds: float
    packets: int
    expected: int
    lost: int
    jitter_ms: float | None
    mos: float | None


class CallPage(NamedTuple):
    """All that the store holds of one call."""

    call: CallRow
    streams: tuple[StreamRow, ...]
    """In order of their begin."""
    intervals: tuple[IntervalRow, ...]
    """By stream, in order of time; empty where they are no longer kept."""


def one_call(lake: Lake, key: str, *, source: str | None = None) -> CallPage | None:
    """Return a call by its key; None where the store has none. `source` tells apart what two sources saw."""
    number = key_number(key)
    with lake.reading() as connection:
        calls = lake.query(connection, CALLS.name)
        only = "" if source is None else " AND source = ?"
        row = connection.execute(
            f"SELECT {', '.join(CALL_COLUMNS)} FROM ({calls}) WHERE call_key = ?{only} ORDER BY source LIMIT 1",  # noqa: S608
            [number] if source is None else [number, source],
        ).fetchone()
        if row is None:
            return None
        call = call_of(row)
        streams = _streams(lake, connection, number, call)
        return CallPage(call, streams, _intervals(lake, connection, streams))


def _streams(lake: Lake, connection: duckdb.DuckDBPyConnection, number: int, call: CallRow) -> tuple[StreamRow, ...]:
    rows = lake.query(
        connection, STREAMS.name, since=call.start - SLACK, until=(call.end or call.start + LONGEST) + SLACK
    )
    found = connection.execute(
        f"SELECT {', '.join(STREAM_COLUMNS)} FROM ({rows}) WHERE call_key = ? AND source = ? "  # noqa: S608
        'ORDER BY "start", stream_key',
        [number, call.source],
    ).fetchall()
    return tuple(map(stream_of, found))


def _intervals(
    lake: Lake, connection: duckdb.DuckDBPyConnection, streams: tuple[StreamRow, ...]
) -> tuple[IntervalRow, ...]:
    if not streams:
        return ()
    since, until = min(one.start for one in streams) - SLACK, max(one.end for one in streams) + SLACK
    rows = lake.query(connection, INTERVALS.name, since=since, until=until)
    keys = {key_number(one.key): one.key for one in streams}
    found = connection.execute(
        'SELECT stream_key, epoch_us("start"), seconds, packets, expected, lost, jitter_ms, mos '  # noqa: S608
        f"FROM ({rows}) WHERE stream_key IN ({', '.join(map(str, keys))}) AND source = ? ORDER BY 1, 2",
        [streams[0].source],
    ).fetchall()
    made = [IntervalRow(keys[row[0]], begun(row[1]), *row[2:]) for row in found]
    order = {one.key: place for place, one in enumerate(streams)}
    return tuple(sorted(made, key=lambda one: (order[one.stream_key], one.start)))
