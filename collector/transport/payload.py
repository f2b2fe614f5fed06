"""A message: one batch of rows of one table of the lake, as bytes.

    octets  field (integers little-endian)
    4       mark, C6 'C' 'G' 'A'
    1       version of this format, 1
    1       length of the agent's name
    1       length of the kind
    1       0
    8       identity of the agent's spool
    8       sequence: from 1 on, one more a message of this identity, whatever its kind
    8       floor: messages below are done with, stored or dropped by the agent
    8       created, ns since 1970 by the agent's clock
    8       sent, ns since 1970 by the agent's clock
    4       rows
    4       length of the body before compression
    4       CRC-32 of all other octets
    ..      agent's name, kind, body

The body is an Arrow IPC stream of one record batch with the columns of the table, compressed with zstd as a whole.
Its buffers are not compressed once more: that could make any amount of memory of few octets.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from analytics.store import schema
from analytics.store.arrow_rows import arrow_schema
from analytics.store.delta import nullable
from analytics.store.schema import (
    CALLS,
    CDR_ROWS,
    INTERVALS,
    MESSAGES,
    PHONE_REPORTS,
    SITE_MINUTES,
    STREAMS,
    Grain,
    Kind,
    Table,
)

MARK = b"\xc6CGA"
VERSION = 1
KINDS: tuple[str, ...] = tuple(
    table.name for table in (CALLS, STREAMS, INTERVALS, MESSAGES, SITE_MINUTES, CDR_ROWS, PHONE_REPORTS)
)
MOST_OCTETS = 1 << 20
"""Most octets of a message that is accepted; agents make them of at most a quarter."""
MOST_RAW_OCTETS = 16 << 20
"""Most octets of a body before compression."""
MOST_ROWS = 20_000
SENT_OCTETS = MOST_OCTETS // 4
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)
"""Names of sites and agents: they stand in topics."""
_HEADER = struct.Struct("<4sBBBB8sQQqqII")
_CHECK = struct.Struct("<I")
_HEAD_OCTETS = _HEADER.size + _CHECK.size
_MOST_TIME_US = 7_258_118_400_000_000
"""2200-01-01: later times are none that anything measured [µs]."""
_DAY_US = 86_400_000_000
_MINUTE_US = 60_000_000

REASONS: Mapping[str, str] = {
    "truncated": "ends before its header says",
    "bad_mark": "does not begin as a message does",
    "bad_version": "of a format that this version does not know",
    "bad_header": "names or numbers in the header that cannot be",
    "unknown_kind": "of a kind that is no table that agents send",
    "too_large": "more octets or rows than a message may have",
    "damaged": "its checksum is wrong",
    "bad_body": "the body is no compressed Arrow stream",
    "bad_schema": "columns are not those of the table",
    "bad_rows": "values that the table cannot hold",
}
"""Why bytes are no message."""


class PayloadError(ValueError):
    """Bytes are no message; `reason` is one of `REASONS`."""

    def __init__(self, reason: str, detail: str, source: tuple[str, int] | None = None) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.source = source
        """Identity and sequence, where the checksum shows that they were read right."""


class Clocks(NamedTuple):
    """Times by the agent's clock [ns since 1970]."""

    created: int
    sent: int


@dataclass(frozen=True, slots=True)
class Batch:
    """A message that was read."""

    agent: str
    identity: str
    """16 hexadecimal digits, made with the agent's spool: with `sequence` it names the message."""
    kind: str
    sequence: int
    floor: int
    clocks: Clocks
    rows: pa.Table


def encode(agent: str, kind: str, rows: pa.Table, created: int) -> Iterator[bytes]:
    """Yield messages that hold the rows, each small enough, not stamped yet.

    `created` is ns since 1970 by the agent's clock. PayloadError where the rows are not the table's.
    """
    if kind not in KINDS:
        raise PayloadError("unknown_kind", f"{kind!r} is none of {', '.join(KINDS)}")
    if not NAME.fullmatch(agent):
        raise PayloadError("bad_header", f"{agent!r} is no agent's name")
    table = schema.table(kind)
    fitting = _fitting(table, rows)
    check_rows(table, fitting)
    yield from _encoded(agent, kind, fitting, created)


def _encoded(agent: str, kind: str, rows: pa.Table, created: int) -> Iterator[bytes]:
    raw = _stream(rows)
    body = pa.Codec("zstd").compress(raw, asbytes=True)
    names = agent.encode() + kind.encode()
    fits = len(body) + len(names) + _HEAD_OCTETS <= SENT_OCTETS and len(raw) <= MOST_RAW_OCTETS
    if fits and rows.num_rows <= MOST_ROWS:
        header = _HEADER.pack(
            MARK, VERSION, len(agent.encode()), len(kind), 0, bytes(8), 0, 0, created, 0, rows.num_rows, len(raw)
        )
        yield _sealed(header, names + body)
        return
    if rows.num_rows <= 1:
        raise PayloadError("too_large", f"one row of {kind} takes {len(body)} octets")
    half = rows.num_rows // 2
    yield from _encoded(agent, kind, rows.slice(0, half), created)
    yield from _encoded(agent, kind, rows.slice(half), created)


def stamped(message: bytes, identity: str, sequence: int, floor: int, sent: int) -> bytes:
    """Return a message of `encode` with what is known only when it is sent; `sent` is ns since 1970."""
    fields = list(_HEADER.unpack_from(message))
    fields[5:8] = [bytes.fromhex(identity), sequence, floor]
    fields[9] = sent
    return _sealed(_HEADER.pack(*fields), message[_HEAD_OCTETS:])


def decode(message: bytes) -> Batch:
    """Read a message. PayloadError, and no other, where it is none."""
    if len(message) > MOST_OCTETS:
        raise PayloadError("too_large", f"{len(message)} octets, at most {MOST_OCTETS} are taken")
    if message[:4] != MARK[: len(message[:4])]:
        raise PayloadError("bad_mark", f"begins with {message[:4].hex()}")
    if len(message) > 4 and message[4] != VERSION:
        raise PayloadError("bad_version", f"version {message[4]}, this version takes {VERSION}")
    if len(message) < _HEAD_OCTETS:
        raise PayloadError("truncated", f"{len(message)} octets of a header of {_HEAD_OCTETS}")
    _, _, agent_octets, kind_octets, zero, identity, sequence, floor, created, sent, rows, raw_octets = (
        _HEADER.unpack_from(message)
    )
    rest = message[_HEAD_OCTETS:]
    if len(rest) <= agent_octets + kind_octets:
        raise PayloadError("truncated", f"{len(rest)} octets after the header")
    (check,) = _CHECK.unpack_from(message, _HEADER.size)
    if zlib.crc32(rest, zlib.crc32(message[: _HEADER.size])) != check:
        raise PayloadError("damaged", "the checksum is wrong")
    source = (identity.hex(), sequence)
    agent = rest[:agent_octets].decode("ascii", "replace")
    kind = rest[agent_octets : agent_octets + kind_octets].decode("ascii", "replace")
    if zero or not NAME.fullmatch(agent) or not 0 < floor <= sequence < 1 << 56 or min(created, sent) < 0:
        raise PayloadError("bad_header", f"agent {agent!r}, sequence {sequence}, floor {floor}", source)
    if kind not in KINDS:
        raise PayloadError("unknown_kind", f"{kind!r}", source)
    if raw_octets > MOST_RAW_OCTETS or rows > MOST_ROWS:
        raise PayloadError("too_large", f"{rows} rows of {raw_octets} octets", source)
    try:
        body = _read_body(schema.table(kind), rest[agent_octets + kind_octets :], raw_octets, rows)
    except PayloadError as error:
        raise PayloadError(error.reason, error.detail, source) from error
    return Batch(agent, identity.hex(), kind, sequence, floor, Clocks(created, sent), body)


def _sealed(header: bytes, rest: bytes) -> bytes:
    return header + _CHECK.pack(zlib.crc32(rest, zlib.crc32(header))) + rest


def _stream(rows: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows.combine_chunks())
    return bytes(sink.getvalue())


def _fitting(table: Table, rows: pa.Table) -> pa.Table:
    """The rows with all columns of the table in their order; those that may be NULL can be left out."""
    wanted = arrow_schema(table)
    if len(set(rows.schema.names)) < len(rows.schema.names):
        raise PayloadError("bad_schema", f"a column of {table.name} comes twice")
    unknown = set(rows.schema.names) - set(wanted.names)
    if unknown:
        raise PayloadError("bad_schema", f"{table.name} has no column {min(unknown)!r}")
    columns = []
    for field in wanted:
        if field.name in rows.schema.names:
            columns.append(rows.column(field.name))
        elif nullable(table.column(field.name)):
            columns.append(pa.nulls(rows.num_rows, field.type))
        else:
            raise PayloadError("bad_schema", f"column {field.name} of {table.name} is not there")
        if columns[-1].type != field.type:
            raise PayloadError("bad_schema", f"column {field.name} of {table.name} is {columns[-1].type}")
    return pa.Table.from_arrays(columns, schema=wanted)


def _read_body(table: Table, body: bytes, raw_octets: int, rows: int) -> pa.Table:
    try:
        found = _only_batch(pa.Codec("zstd").decompress(body, decompressed_size=raw_octets))
        found.validate(full=True)
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, PayloadError):
            raise
        first = (str(error).splitlines() or [""])[0]
        raise PayloadError("bad_body", first[:200]) from error
    fitting = _fitting(table, found.replace_schema_metadata(None))
    if fitting.num_rows != rows or not rows:
        raise PayloadError("bad_rows", f"{fitting.num_rows} rows, the header says {rows}")
    check_rows(table, fitting)
    return fitting


def _only_batch(raw: pa.Buffer) -> pa.Table:
    """Read the one record batch of a stream, whose octets are not trusted."""
    reader = pa.ipc.MessageReader.open_stream(raw)
    try:
        described, batch = reader.read_next_message(), reader.read_next_message()
    except StopIteration:
        raise PayloadError("bad_body", "the stream holds no batch") from None
    if described.type != "schema" or batch.type != "record batch":
        raise PayloadError("bad_body", f"the stream holds {described.type} and {batch.type}")
    found = pa.ipc.read_schema(described)
    if any(pa.types.is_dictionary(field.type) or pa.types.is_nested(field.type) for field in found):
        raise PayloadError("bad_schema", "columns are nested or coded")
    if _is_compressed(bytes(batch.metadata)):
        raise PayloadError("bad_body", "its buffers are compressed once more")
    return pa.Table.from_batches([pa.ipc.read_record_batch(batch, found)])


def _is_compressed(metadata: bytes) -> bool:
    """Whether a record batch's metadata (flatbuffer `Message` of Arrow's Message.fbs) names a body compression."""
    try:
        header = _field(metadata, struct.unpack_from("<I", metadata)[0], 2)
        if header is None:
            return True
        return _field(metadata, header + struct.unpack_from("<I", metadata, header)[0], 3) is not None
    except struct.error as error:
        raise PayloadError("bad_body", "the metadata of its batch is cut") from error


def _field(buffer: bytes, table: int, number: int) -> int | None:
    """Where a field of a flatbuffer's table lies; None where it is not there."""
    vtable = table - struct.unpack_from("<i", buffer, table)[0]
    if not 0 <= vtable < len(buffer):
        raise struct.error
    (octets,) = struct.unpack_from("<H", buffer, vtable)
    if octets < 4 + 2 * number + 2:
        return None
    (offset,) = struct.unpack_from("<H", buffer, vtable + 4 + 2 * number)
    return table + offset if offset else None


def check_rows(table: Table, rows: pa.Table) -> None:
    """PayloadError where a value is none that the table can hold: missing, of no time, of another partition."""
    for column in table.columns:
        values = rows.column(column.name)
        if values.null_count and not nullable(column):
            raise PayloadError("bad_rows", f"column {column.name} of {table.name} must not be empty")
        if column.kind is Kind.TIME and values.null_count < len(values):
            span = pc.min_max(values.cast(pa.int64())).as_py()
            if span["min"] < 0 or span["max"] >= _MOST_TIME_US:
                raise PayloadError("bad_rows", f"column {column.name} of {table.name} is no time of this world")
    clock = rows.column(table.clock)
    day = clock.cast(pa.timestamp("us")).cast(pa.date32(), safe=False)
    if table.grain is Grain.MONTH:
        day = pc.floor_temporal(day, unit="month").cast(pa.date32())
    if rows.column(table.partition).combine_chunks() != day.combine_chunks():
        raise PayloadError("bad_rows", f"column {table.partition} of {table.name} is not of its {table.clock}")
    if table is SITE_MINUTES:
        seconds = clock.cast(pa.int64()).to_numpy() % _MINUTE_US
        if seconds.any() or pc.any(pc.not_equal(rows.column("step"), "minute")).as_py():
            raise PayloadError("bad_rows", "agents send whole minutes and no hours")
