"""Messages of agents: what is written is read, and any bytes are a batch or the one named error."""

from __future__ import annotations

import random
import struct
import zlib
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lake_rows import rows

from collector.transport.payload import (
    KINDS,
    MOST_OCTETS,
    REASONS,
    SENT_OCTETS,
    Batch,
    PayloadError,
    decode,
    encode,
    stamped,
)

IDENTITY = "0123456789abcdef"


def some(kind: str, count: int) -> pa.Table:
    if kind == "site_minutes":
        return rows(kind, range(count), step_s=60, step="minute")
    return rows(kind, range(count))


def message(kind: str = "intervals", count: int = 3) -> bytes:
    (one,) = encode("york", kind, some(kind, count), 1_000)
    return stamped(one, IDENTITY, 7, 5, 2_000)


def sealed(header: bytes, rest: bytes) -> bytes:
    """The bytes with the checksum that fits them: what a hostile sender would send."""
    return header + struct.pack("<I", zlib.crc32(header + rest)) + rest


def around(body: bytes, raw_octets: int, count: int = 3, kind: bytes = b"intervals") -> bytes:
    header = struct.pack("<4sBBBB8sQQqqII", b"\xc6CGA", 1, 4, len(kind), 0, bytes(8), 7, 5, 1, 2, count, raw_octets)
    return sealed(header, b"york" + kind + body)


def stream(table: pa.Table, options: pa.ipc.IpcWriteOptions | None = None) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def carrying(raw: bytes, count: int = 3, kind: bytes = b"intervals") -> bytes:
    return around(pa.Codec("zstd").compress(raw, asbytes=True), len(raw), count, kind)


def reason_of(data: bytes) -> str:
    with pytest.raises(PayloadError) as raised:
        decode(data)
    return raised.value.reason


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_written_is_read(kind: str) -> None:
    given_rows = some(kind, 50)
    (one,) = encode("york", kind, given_rows, 1_000)
    batch = decode(stamped(one, IDENTITY, 7, 5, 2_000))
    assert batch.rows == given_rows
    assert (batch.agent, batch.identity, batch.kind) == ("york", IDENTITY, kind)
    assert (batch.sequence, batch.floor, batch.clocks) == (7, 5, (1_000, 2_000))


def test_the_header_is_as_described() -> None:
    data = message()
    assert data[:4] == b"\xc6CGA"
    assert data[4:8] == bytes([1, 4, 9, 0])
    assert data[8:16].hex() == IDENTITY
    assert struct.unpack("<QQqqI", data[16:52]) == (7, 5, 1_000, 2_000, 3)
    assert struct.unpack("<I", data[56:60])[0] == zlib.crc32(data[:56] + data[60:])
    assert data[60:73] == b"yorkintervals"
    raw = pa.Codec("zstd").decompress(data[73:], decompressed_size=struct.unpack("<I", data[52:56])[0])
    assert pa.ipc.open_stream(raw).read_all() == some("intervals", 3)


def test_many_rows_make_several_messages_that_are_small_enough() -> None:
    chance = random.Random(3)
    big = rows("intervals", range(30_000))
    noise = pa.array([chance.random() for _ in range(30_000)])
    big = big.set_column(big.schema.get_field_index("jitter_ms"), "jitter_ms", noise)
    parts = list(encode("york", "intervals", big, 1))
    assert len(parts) > 1
    assert max(map(len, parts)) <= SENT_OCTETS
    assert pa.concat_tables([decode(stamped(one, IDENTITY, 7, 7, 1)).rows for one in parts]) == big


def test_columns_that_may_be_null_can_be_left_out() -> None:
    (one,) = encode("york", "intervals", some("intervals", 3).drop_columns(["mos"]), 1)
    assert decode(stamped(one, IDENTITY, 1, 1, 1)).rows.column("mos").null_count == 3


def test_rows_that_are_not_the_tables_are_refused_where_they_are_made() -> None:
    good = some("intervals", 3)
    wrong = {
        "bad_schema": [good.drop_columns(["source"]), good.append_column("more", pa.array([1, 2, 3]))],
        "bad_rows": [
            good.set_column(0, "day", pa.array([1, 1, 1], pa.int32()).cast(pa.date32())),
            good.set_column(2, "source", pa.array(["a", None, "b"])),
        ],
    }
    for reason, tables in wrong.items():
        for table in tables:
            with pytest.raises(PayloadError, match=f"^{reason}: "):
                list(encode("york", "intervals", table, 1))
    with pytest.raises(PayloadError, match=r"^unknown_kind: "):
        list(encode("york", "usage", good, 1))
    with pytest.raises(PayloadError, match=r"^bad_header: "):
        list(encode("york/#", "intervals", good, 1))
    noise = rows("intervals", range(1), source=random.Random(1).randbytes(400_000).hex())
    with pytest.raises(PayloadError, match=r"^too_large: one row of intervals"):
        list(encode("york", "intervals", noise, 1))


def test_each_defect_has_its_reason() -> None:
    good = message()
    table = some("intervals", 3)
    twice = stream(table.rename_columns(["day", "stream_key", "start", "start", *table.schema.names[4:]]))
    broken = good[:-1] + bytes([good[-1] ^ 1])
    found = {
        "truncated": [b"", good[:3], good[:40], good[:70], around(b"", 1)],
        "bad_mark": [b"GET / HTTP/1.1\r\n\r\n" * 9, b"{}"],
        "bad_version": [good[:4] + b"\x02" + good[5:]],
        "damaged": [good[:-1], broken, good + b"\0"],
        "too_large": [good + bytes(MOST_OCTETS), around(b"x", 1 << 31), carrying(stream(table), 1 << 30)],
        "unknown_kind": [carrying(stream(table), kind=b"usage"), carrying(stream(table), kind=b"../calls")],
        "bad_body": [
            around(b"nothing", 100),
            carrying(b"nothing"),
            carrying(stream(table)[:-300]),
            carrying(stream(table.slice(0, 0)), 0),
        ],
        "bad_schema": [
            carrying(stream(table.drop_columns(["source"]))),
            carrying(stream(some("calls", 3))),
            carrying(twice),
        ],
        "bad_rows": [carrying(stream(table), 4)],
    }
    for reason, messages in found.items():
        for data in messages:
            assert reason_of(data) == reason, data[:90]
    for name, sequence, floor, created, zero in (
        (b"york", 7, 5, 1, 1),
        (b"york", 0, 0, 1, 0),
        (b"york", 4, 5, 1, 0),
        (b"york", 7, 5, -1, 0),
        (b"y/rk", 7, 5, 1, 0),
    ):
        numbers = (zero, bytes(8), sequence, floor, created, 2, 3, 9)
        header = struct.pack("<4sBBBB8sQQqqII", b"\xc6CGA", 1, 4, 9, *numbers)
        assert reason_of(sealed(header, name + b"intervals" + b"body")) == "bad_header"


def test_times_that_no_table_can_hold_are_refused() -> None:
    good = some("calls", 3)
    for value in (-1, 1 << 62):
        times = pa.array([value, 1, 2], pa.int64()).cast(pa.timestamp("us", tz="UTC"))
        at = good.schema.get_field_index("end")
        assert (
            reason_of(carrying(stream(good.set_column(at, good.schema.field(at), times)), kind=b"calls")) == "bad_rows"
        )


def test_hours_and_half_minutes_come_from_no_agent() -> None:
    hours = rows("site_minutes", range(3), step_s=3_600, step="hour")
    halves = rows("site_minutes", range(3), step_s=30, step="minute")
    for table in (hours, halves):
        assert reason_of(carrying(stream(table), kind=b"site_minutes")) == "bad_rows"


def test_a_body_that_would_grow_without_bound_is_refused_unread() -> None:
    bomb = rows("intervals", range(3), source="x" * 5_000_000)
    raw = stream(bomb, pa.ipc.IpcWriteOptions(compression="zstd"))
    assert len(raw) < 100_000
    assert reason_of(carrying(raw)) == "bad_body"
    packed = pa.Codec("zstd").compress(bytes(1 << 26), asbytes=True)
    assert reason_of(around(packed, 1 << 20)) == "bad_body"


def test_coded_and_nested_columns_are_refused() -> None:
    table = some("intervals", 3)
    at = table.schema.get_field_index("source")
    coded = table.set_column(at, "source", table.column("source").dictionary_encode())
    assert reason_of(carrying(stream(coded))) in {"bad_schema", "bad_body"}
    nested = table.set_column(at, "source", pa.array([["a"], ["b"], ["c"]]))
    assert reason_of(carrying(stream(nested))) == "bad_schema"


def holds(data: bytes) -> Batch | None:
    """The invariant: a batch, or the one error with one of its reasons."""
    try:
        batch = decode(data)
    except PayloadError as error:
        reason = error.reason
        batch = None
    if batch is None:
        assert reason in REASONS
        return None
    assert batch.kind in KINDS
    assert batch.rows.num_rows > 0
    # Reading every value shows that none lies outside its buffers.
    assert len(batch.rows.to_pylist()) == batch.rows.num_rows
    return batch


@given(st.binary(max_size=300))
def test_any_bytes_are_a_batch_or_the_error(data: bytes) -> None:
    holds(data)
    holds(b"\xc6CGA\x01" + data)


@given(st.binary(max_size=300), st.integers(0, 1 << 25), st.integers(0, 1 << 20))
def test_any_body_is_a_batch_or_the_error(body: bytes, raw_octets: int, count: int) -> None:
    holds(around(body, raw_octets, count))


RAW = {kind: stream(some(kind, 3)) for kind in KINDS}


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.sampled_from(KINDS), st.data())
def test_any_change_within_a_stream_is_a_batch_or_the_error(kind: str, data: st.DataObject) -> None:
    raw = bytearray(RAW[kind])
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at] = data.draw(st.sampled_from([0, 1, 2, 4, 8, 0x7F, 0x80, 0xFF, raw[at] ^ 1, raw[at] ^ 0x10]))
    cut = data.draw(st.one_of(st.just(len(raw)), st.integers(0, len(raw))))
    holds(carrying(bytes(raw[:cut]), kind=kind.encode()))


def test_every_cut_of_a_message_is_the_error() -> None:
    data = message("calls")
    assert holds(data) is not None
    assert all(holds(data[:cut]) is None for cut in range(len(data)))


def test_a_fitting_checksum_tells_whose_message_was_refused() -> None:
    with pytest.raises(PayloadError) as raised:
        decode(carrying(b"nothing"))
    assert raised.value.source == ("00" * 8, 7)
    with pytest.raises(PayloadError) as raised:
        decode(message()[:-1])
    assert raised.value.source is None


def test_times_are_read_to_the_microsecond() -> None:
    begin = datetime(2025, 10, 26, 0, 59, 59, 999_999, tzinfo=UTC)
    (one,) = encode("york", "intervals", rows("intervals", range(2), begin=begin), 1)
    assert decode(stamped(one, IDENTITY, 1, 1, 1)).rows.column("start").to_pylist()[0] == begin
