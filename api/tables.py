"""Calls, streams and findings as flat tables: each column is declared once, for CSV, Parquet and the docs."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from api.json_output import DECIMALS
from api.rated import Rated, RatedCall, RatedStream, with_findings
from collector.facts import Finding

if TYPE_CHECKING:
    import pyarrow as pa

Value = str | int | float | bool | None
Row = TypeVar("Row")


class Kind(StrEnum):
    """Type of a column."""

    TEXT = "text"
    WHOLE = "whole number"
    NUMBER = "number"
    FLAG = "true or false"
    TIME = "time"
    """Held as nanoseconds; CSV prints epoch seconds with six decimals, Parquet holds microseconds in UTC."""


class Column(NamedTuple, Generic[Row]):
    """One column of a table."""

    name: str
    kind: Kind
    unit: str
    doc: str
    value: Callable[[Row], Value]


class FindingRow(NamedTuple):
    """A finding and what it is about."""

    subject: str
    """`capture`, `call`, `leg` or `stream`."""
    call_id: str | None
    stream: RatedStream | None
    finding: Finding


def finding_rows(rated: Rated) -> Iterator[FindingRow]:
    """All findings: of the capture, the calls with their legs, the streams."""
    for note in rated.replay.notes:
        yield FindingRow("capture", None, None, note)
    for call in with_findings(rated.calls):
        for finding in call.call.findings:
            yield FindingRow("call", call.call.call_id, None, finding)
        for leg in call.call.legs:
            # A call repeats the findings of its legs; each is listed once.
            for finding in leg.findings:
                if finding not in call.call.findings:
                    yield FindingRow("leg", leg.call_id, None, finding)
    for stream in rated.streams:
        for finding in stream.stream.findings:
            yield FindingRow("stream", stream.stream.call_id, stream, finding)


def codes(findings: Iterable[Finding]) -> str:
    """Distinct codes, in order."""
    return " ".join(dict.fromkeys(finding.code for finding in findings))


T, W, N, F, TIME = Kind.TEXT, Kind.WHOLE, Kind.NUMBER, Kind.FLAG, Kind.TIME

CALLS: Sequence[Column[RatedCall]] = (
    Column("call_id", T, "", "Call-ID of the first leg", lambda c: c.call.call_id),
    Column("state", T, "", "completed, failed, cancelled, unanswered, in progress", lambda c: c.call.state.value),
    Column("status", W, "", "final status of the INVITE", lambda c: c.call.status),
    Column("status_text", T, "", "its reason phrase", lambda c: c.call.status_text),
    Column("reason_protocol", T, "", "Reason header", lambda c: c.call.reason.protocol if c.call.reason else None),
    Column("reason_cause", W, "", "Reason header", lambda c: c.call.reason.cause if c.call.reason else None),
    Column("reason_text", T, "", "Reason header", lambda c: c.call.reason.text if c.call.reason else None),
    Column("from_uri", T, "", "caller", lambda c: c.call.from_uri),
    Column("to_uri", T, "", "callee", lambda c: c.call.to_uri),
    Column("start", TIME, "s", "first INVITE", lambda c: c.call.start),
    Column("answered", TIME, "s", "200 OK to it", lambda c: c.call.answered),
    Column("end", TIME, "s", "BYE, CANCEL or final response", lambda c: c.call.end),
    Column("post_dial_delay_ms", N, "ms", "INVITE to first ringing", lambda c: c.call.post_dial_delay_ms),
    Column("setup_ms", N, "ms", "INVITE to 200 OK", lambda c: c.call.setup_ms),
    Column("duration_ms", N, "ms", "answer to BYE", lambda c: c.call.duration_ms),
    Column("hung_up_by", T, "", "caller or callee", lambda c: c.call.hung_up_by),
    Column("legs", W, "", "Call-IDs of the call", lambda c: len(c.call.legs)),
    Column("streams", W, "", "RTP streams of the call", lambda c: len(c.streams)),
    Column("mos", N, "MOS", "of the worst of its primary streams", lambda c: c.mos),
    Column("findings", T, "", "codes of its own findings", lambda c: codes(c.call.findings)),
)

STREAMS: Sequence[Column[RatedStream]] = (
    Column("src", T, "", "source address", lambda s: s.stream.src.ip),
    Column("src_port", W, "", "source port", lambda s: s.stream.src.port),
    Column("dst", T, "", "destination address", lambda s: s.stream.dst.ip),
    Column("dst_port", W, "", "destination port", lambda s: s.stream.dst.port),
    Column("ssrc", T, "", "SSRC in hexadecimal", lambda s: f"0x{s.stream.ssrc:08X}"),
    Column("payload_types", T, "", "in order of appearance", lambda s: " ".join(map(str, s.stream.payload_types))),
    Column("codec", T, "", "codec of most packets", lambda s: s.stream.codec),
    Column("clock_rate", W, "Hz", "RTP timestamp clock", lambda s: s.stream.clock_rate),
    Column("clock_rate_source", T, "", "static, sdp or inferred", lambda s: s.stream.clock_rate_source),
    Column("ptime_ms", N, "ms", "packet length", lambda s: s.stream.ptime_ms),
    Column("encrypted", F, "", "SRTP", lambda s: s.stream.encrypted),
    Column("call_id", T, "", "Call-ID of its leg", lambda s: s.stream.call_id),
    Column("packets", W, "", "received, mirror copies left out", lambda s: s.stream.packets),
    Column("octets", W, "octets", "RTP payload", lambda s: s.stream.octets),
    Column("expected", W, "", "RFC 3550 A.3", lambda s: s.stream.expected),
    Column("lost", W, "", "lost in the network", lambda s: s.stream.lost),
    Column("loss_percent", N, "%", "lost of expected", lambda s: s.stream.loss_percent),
    Column("duplicates", W, "", "received twice", lambda s: s.stream.duplicates),
    Column("mirror_copies", W, "", "copies that the tap made", lambda s: s.stream.mirror_copies),
    Column("reordered", W, "", "came late", lambda s: s.stream.reordered),
    Column("jitter_mean_ms", N, "ms", "RFC 3550 A.8", lambda s: s.stream.jitter_ms and s.stream.jitter_ms.mean),
    Column("jitter_max_ms", N, "ms", "RFC 3550 A.8", lambda s: s.stream.jitter_ms and s.stream.jitter_ms.max),
    Column("jitter_last_ms", N, "ms", "RFC 3550 A.8", lambda s: s.stream.jitter_ms and s.stream.jitter_ms.last),
    Column("ipdv_p95_ms", N, "ms", "RFC 5481 4.1", lambda s: s.stream.ipdv_ms and s.stream.ipdv_ms.p95),
    Column("pdv_p95_ms", N, "ms", "RFC 5481 4.2", lambda s: s.stream.pdv_ms and s.stream.pdv_ms.p95),
    Column("pdv_max_ms", N, "ms", "RFC 5481 4.2", lambda s: s.stream.pdv_ms and s.stream.pdv_ms.max),
    Column("mean_delta_ms", N, "ms", "mean time between packets", lambda s: s.stream.mean_delta_ms),
    Column("max_delta_ms", N, "ms", "largest time between packets", lambda s: s.stream.max_delta_ms),
    Column("clock_drift_ppm", N, "ppm", "sender's clock against the tap's", lambda s: s.stream.clock_drift_ppm),
    Column("bursts", W, "", "RFC 3611 4.7.2", lambda s: s.stream.burst_gap and s.stream.burst_gap.bursts),
    Column("burst_ratio", N, "", "G.107 3.5", lambda s: s.stream.burst_ratio),
    Column("dscp", T, "", "packets by DSCP", lambda s: " ".join(f"{d}:{n}" for d, n in sorted(s.stream.dscp.items()))),
    Column("comfort_noise_packets", W, "", "RFC 3389", lambda s: s.stream.comfort_noise_packets),
    Column("talk_spurts", W, "", "starts of speech", lambda s: s.stream.talk_spurts),
    Column("telephone_events", W, "", "RFC 4733 events", lambda s: len(s.stream.telephone_events)),
    Column("not_network", W, "", "missing, but no network loss", lambda s: sum(s.stream.not_network.values())),
    Column("round_trip_ms", N, "ms", "from RTCP", lambda s: s.stream.far_end and s.stream.far_end.round_trip_ms),
    Column("medium", W, "", "talker's packets, heard in places", lambda s: s.stream.placement.medium),
    Column("role", T, "", "primary, hop or fork", lambda s: s.stream.placement.role),
    Column("segments", W, "", "sequence restarts plus one", lambda s: s.stream.segments),
    Column("first", TIME, "s", "first packet", lambda s: s.stream.first),
    Column("last", TIME, "s", "last packet", lambda s: s.stream.last),
    Column("mos", N, "MOS", "G.107 MOS-CQE", lambda s: s.quality.mos),
    Column("r_factor", N, "R", "G.107 R", lambda s: s.quality.r_factor),
    Column("mos_model", T, "", "model and inputs, or why there is none", lambda s: s.quality.model or s.quality.reason),
    Column("evidence", T, "", "measured or missing", lambda s: s.quality.evidence),
    Column("findings", T, "", "codes of its findings", lambda s: codes(s.stream.findings)),
)

FINDINGS: Sequence[Column[FindingRow]] = (
    Column("subject", T, "", "capture, call, leg or stream", lambda f: f.subject),
    Column("call_id", T, "", "Call-ID", lambda f: f.call_id),
    Column("src", T, "", "source of the stream", lambda f: f.stream and str(f.stream.stream.src)),
    Column("dst", T, "", "destination of the stream", lambda f: f.stream and str(f.stream.stream.dst)),
    Column("ssrc", T, "", "SSRC of the stream", lambda f: f.stream and f"0x{f.stream.stream.ssrc:08X}"),
    Column("code", T, "", "stable name", lambda f: f.finding.code),
    Column("text", T, "", "the sentence", lambda f: f.finding.text),
    Column("packets", W, "", "packets concerned", lambda f: f.finding.packets),
    Column("at", TIME, "s", "when it began", lambda f: f.finding.at),
)


class Table(NamedTuple):
    """A named table with its rows evaluated."""

    name: str
    columns: Sequence[Column[Any]]
    rows: Sequence[Sequence[Value]]


def tables(rated: Rated) -> tuple[Table, Table, Table]:
    """Calls, streams and findings of a report."""
    return (
        evaluated("calls", CALLS, rated.calls),
        evaluated("streams", STREAMS, rated.streams),
        evaluated("findings", FINDINGS, tuple(finding_rows(rated))),
    )


def evaluated(name: str, columns: Sequence[Column[Row]], rows: Iterable[Row]) -> Table:
    """A table from its columns and what they read."""
    return Table(name, columns, [[cell(column.kind, column.value(row)) for column in columns] for row in rows])


def cell(kind: Kind, value: Value) -> Value:
    """A value as its kind holds it."""
    if kind is Kind.NUMBER and value is not None:
        return round(float(value), DECIMALS) + 0.0
    return value


def csv_text(table: Table) -> str:
    """RFC 4180 CSV with a heading; an empty cell is missing."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow([column.name for column in table.columns])
    for row in table.rows:
        writer.writerow([csv_cell(column.kind, value) for column, value in zip(table.columns, row, strict=True)])
    return buffer.getvalue()


FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What makes a spreadsheet compute a cell when it begins one (OWASP, CSV injection)."""


def csv_cell(kind: Kind, value: Value) -> str:
    """One cell; text that a spreadsheet would compute gets an apostrophe in front."""
    if value is None:
        return ""
    if kind is Kind.TIME:
        micros = (int(value) + 500) // 1000
        return f"{micros // 1_000_000}.{micros % 1_000_000:06d}"
    if kind is Kind.FLAG:
        return "true" if value else "false"
    if kind is not Kind.TEXT:
        return str(value)
    text = str(value)
    return "'" + text if text.startswith(FORMULA) else text


def write_parquet(table: Table, path: Path) -> None:
    """One typed Parquet file; units and meanings stand in the metadata of the fields."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types: dict[Kind, pa.DataType] = {
        Kind.TEXT: pa.string(),
        Kind.WHOLE: pa.int64(),
        Kind.NUMBER: pa.float64(),
        Kind.FLAG: pa.bool_(),
        Kind.TIME: pa.timestamp("us", tz="UTC"),
    }
    schema = pa.schema(
        [
            pa.field(column.name, types[column.kind], metadata={"unit": column.unit, "doc": column.doc})
            for column in table.columns
        ]
    )
    arrays = [
        pa.array([parquet_value(column.kind, row[index]) for row in table.rows], type=types[column.kind])
        for index, column in enumerate(table.columns)
    ]
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), path, compression="zstd")


def parquet_value(kind: Kind, value: Value) -> Value:
    """A value as its Parquet column takes it."""
    if value is None:
        return None
    if kind is Kind.TIME:
        return (int(value) + 500) // 1000
    # pyarrow refuses lone surrogates, which undecodable bytes of a header may have left.
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
