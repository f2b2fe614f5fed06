"""One call: its streams and intervals, and what records and telephones say of it beside the packets."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from analytics.questions.asking import begun, key_number
from analytics.questions.calls import COLUMNS as CALL_COLUMNS
from analytics.questions.calls import LONGEST, SLACK, CallRow, call_of
from analytics.questions.comparing import Comparison, compared
from analytics.questions.records import NEAR, RecordRow, ReportRow, records_of, reports_of
from analytics.questions.streams import COLUMNS as STREAM_COLUMNS
from analytics.questions.streams import StreamRow, stream_of
from analytics.questions.terms import StreamTerms, terms_of
from analytics.store.resident import EVER
from analytics.store.schema import CALLS, INTERVALS, MESSAGES, STREAMS

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


class MessageRow(NamedTuple):
    """A SIP message of the call, on one hop."""

    at: datetime
    leg: int
    """Leg of the call, from 1."""
    from_address: str
    """Sender, address:port."""
    to_address: str
    method: str
    """Of the request, or of the request that is answered."""
    status: int | None
    """Of a response; None: it is the request."""
    cseq: int
    repeated: int
    """How often it was sent again."""


class CallEvent(NamedTuple):
    """Something that happened in the call, as one of the sources saw it."""

    at: datetime
    """By the clock of whoever saw it."""
    what: str
    """invite, ringing, answer, end, stream begins, stream ends, record begins, record answer, record end, report."""
    seen_by: str
    """packets, or the source of the record or report."""
    from_address: str | None
    to_address: str | None
    detail: str


class CallPage(NamedTuple):
    """All that the store holds of one call."""

    call: CallRow
    taps: tuple[CallRow, ...]
    """The same call as other sources saw it, by Call-ID."""
    events: tuple[CallEvent, ...]
    """What happened, in order of time, whoever saw it."""
    streams: tuple[StreamRow, ...]
    """In order of their begin."""
    intervals: tuple[IntervalRow, ...]
    """By stream, in order of time; empty where they are no longer kept."""
    terms: tuple[StreamTerms, ...]
    """Where the R of each rated stream went."""
    records: tuple[RecordRow, ...]
    """Call detail records of it."""
    reports: tuple[ReportRow, ...]
    """What devices said of it: CMR, RTCP, RFC 6035, BYE."""
    comparison: tuple[Comparison, ...]
    """Who says what, and where they disagree."""
    ladder: tuple[MessageRow, ...] = ()
    """SIP messages in order of time; empty where they are no longer kept."""


def one_call(lake: Lake, key: str, *, source: str | None = None) -> CallPage | None:
    """Return a call by its key; None where the store has none. `source` tells apart what two sources saw."""
    number = key_number(key)
    with lake.reading() as connection:
        row = _found(lake, connection, number, source)
        if row is None:
            return None
        call = call_of(row)
        streams = _streams(lake, connection, number, call)
        records = records_of(lake, connection, call)
        reports = reports_of(lake, connection, call, records)
        terms = (terms_of(one.key, one.mos_model, one.r_factor) for one in streams)
        return CallPage(
            _summed_up(call, streams),
            _taps(lake, connection, call),
            events(call, streams, records, reports),
            streams,
            _intervals(lake, connection, streams),
            tuple(one for one in terms if one is not None),
            records,
            reports,
            compared(call, streams, records, reports),
            _ladder(lake, connection, call),
        )


def _ladder(lake: Lake, connection: duckdb.DuckDBPyConnection, call: CallRow) -> tuple[MessageRow, ...]:
    rows = lake.query(
        connection, MESSAGES.name, since=call.start - SLACK, until=(call.end or call.start + LONGEST) + SLACK
    )
    found = connection.execute(
        'SELECT epoch_us("at"), leg, from_address, to_address, "method", status, cseq, repeated '  # noqa: S608
        f'FROM ({rows}) WHERE call_key = ? AND source = ? ORDER BY "at", cseq, status NULLS FIRST',
        [key_number(call.key), call.source],
    ).fetchall()
    return tuple(MessageRow(begun(row[0]), *row[1:]) for row in found)


def _found(
    lake: Lake, connection: duckdb.DuckDBPyConnection, number: int, source: str | None
) -> tuple[Any, ...] | None:
    """Look in memory first, where the newest calls may be held, and then in all files."""
    held = lake.held(CALLS.name)
    places = [] if held is None else [held.table]
    if held is None or held.since != EVER:
        places.append(f"({lake.query(connection, CALLS.name)})")
    only = "" if source is None else " AND source = ?"
    for rows in places:
        row = connection.execute(
            f"SELECT {', '.join(CALL_COLUMNS)} FROM {rows} WHERE call_key = ?{only} ORDER BY source LIMIT 1",  # noqa: S608
            [number] if source is None else [number, source],
        ).fetchone()
        if row is not None:
            return row
    return None


def _summed_up(call: CallRow, streams: tuple[StreamRow, ...]) -> CallRow:
    losses = [one.loss_percent for one in streams if one.loss_percent is not None]
    jitters = [one.jitter_ms for one in streams if one.jitter_ms is not None]
    codecs = tuple(sorted({one.codec for one in streams if one.codec is not None}))
    return call._replace(codecs=codecs, loss_percent=max(losses, default=None), jitter_ms=max(jitters, default=None))


def _taps(lake: Lake, connection: duckdb.DuckDBPyConnection, call: CallRow) -> tuple[CallRow, ...]:
    calls = lake.query(connection, CALLS.name, since=call.start - NEAR, until=call.start + NEAR)
    rows = connection.execute(
        f"SELECT {', '.join(CALL_COLUMNS)} FROM ({calls}) WHERE call_id = ? AND source <> ? "  # noqa: S608
        'ORDER BY "start", source LIMIT 20',
        [call.call_id, call.source],
    ).fetchall()
    return tuple(map(call_of, rows))


def events(
    call: CallRow, streams: Sequence[StreamRow], records: Sequence[RecordRow], reports: Sequence[ReportRow]
) -> tuple[CallEvent, ...]:
    """Return what happened in a call, in order of time."""
    ends = call.from_address, call.to_address
    back = call.to_address, call.from_address
    found = [CallEvent(call.start, "invite", "packets", *ends, f"Call-ID {call.call_id}")]
    if call.pdd_ms is not None:
        ringing = call.start + timedelta(milliseconds=call.pdd_ms)
        found.append(CallEvent(ringing, "ringing", "packets", *back, f"{call.pdd_ms:.0f} ms after the INVITE"))
    if call.answer is not None:
        found.append(CallEvent(call.answer, "answer", "packets", *back, "first 2xx"))
    if call.end is not None:
        status = "" if call.status is None else f", final status {call.status}"
        found.append(CallEvent(call.end, "end", "packets", None, None, f"{call.state}{status}"))
    way: tuple[str | None, str | None]
    for stream in streams:
        way, codec = (stream.from_address, stream.to_address), stream.codec or "codec not known"
        marked = "" if stream.dscp is None else f", DSCP {stream.dscp}"
        found.append(CallEvent(stream.start, "stream begins", "packets", *way, f"{codec}{marked}"))
        found.append(CallEvent(stream.end, "stream ends", "packets", *way, f"{stream.packets:,} packets"))
    for record in records:
        who, way = f"{record.source} record", (record.orig_ip, record.dest_ip)
        found.append(CallEvent(record.origination, "record begins", who, *way, record.match))
        if record.connect is not None:
            found.append(CallEvent(record.connect, "record answer", who, *way, ""))
        if record.disconnect is not None:
            found.append(CallEvent(record.disconnect, "record end", who, *way, f"{record.seconds} s talked"))
    for report in reports:
        way = report.local_address, report.remote_address
        found.append(CallEvent(report.reported, "report", report.source, *way, report.kind or "record"))
    return tuple(sorted(found, key=lambda one: one.at))


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
