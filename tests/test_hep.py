"""HEP: real packets read as their senders meant them, any octets read or refused by name."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from collector.facts import Endpoint
from collector.protocols.hep import (
    LOG,
    MAX_CHUNKS,
    MAX_UNPACKED,
    RTCP,
    SIP,
    Chunk,
    HepError,
    HepPacket,
    HepParser,
    HepStream,
    parse,
    serialize,
)

ENDPOINTS = st.tuples(
    st.ip_addresses(v=4).map(str) | st.ip_addresses(v=6).map(str),
    st.integers(0, 0xFFFF),
).map(lambda pair: Endpoint(*pair))
NAMES = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=40)


@st.composite
def packets(draw: st.DrawFn) -> HepPacket:
    version = draw(st.sampled_from([1, 2, 3]))
    src = draw(ENDPOINTS)
    dst = draw(ENDPOINTS.filter(lambda each: (":" in each.ip) == (":" in src.ip)))
    seconds, micros = draw(st.integers(0, 2**32 - 1)), draw(st.integers(0, 999_999))
    at = seconds * 10**9 + micros * 1000
    protocol = draw(st.integers(0, 255))
    payload = draw(st.binary(max_size=200))
    if version == 1:
        return HepPacket(1, SIP, None, src, dst, protocol, payload)
    if version == 2:
        return HepPacket(2, SIP, at, src, dst, protocol, payload, draw(st.integers(0, 0xFFFF)))
    return HepPacket(
        3,
        draw(st.integers(0, 255)),
        draw(st.none() | st.just(at)),
        src,
        dst,
        protocol,
        payload,
        draw(st.none() | st.integers(0, 2**32 - 1)),
        draw(st.none() | NAMES),
        draw(st.none() | st.binary(max_size=20)),
        draw(st.none() | NAMES),
        tuple(
            draw(st.lists(st.builds(Chunk, st.integers(1, 9), st.integers(0, 40), st.binary(max_size=9)), max_size=4))
        ),
    )


def chunk(kind: int, value: bytes, vendor: int = 0) -> bytes:
    return struct.pack("!HHH", vendor, kind, 6 + len(value)) + value


def version3(*chunks: bytes) -> bytes:
    body = b"".join(chunks)
    return b"HEP3" + struct.pack("!H", 6 + len(body)) + body


def defect_of(data: bytes) -> str:
    try:
        parse(data)
    except HepError as error:
        return error.defect
    return "none"


ADDRESSED = (chunk(3, bytes([192, 0, 2, 1])), chunk(4, bytes([192, 0, 2, 2])), chunk(0x0B, b"\x01"))


def test_a_real_packet_of_version_3_is_read(shared: Path) -> None:
    packet = parse((shared / "vq" / "hep3_sip200options.bin").read_bytes())
    assert packet.version == 3
    assert packet.payload_type == SIP
    assert (packet.src, packet.dst) == (Endpoint("192.168.247.250", 5060), Endpoint("192.168.245.250", 5060))
    assert packet.at == 0x5AA29B98 * 10**9 + 0x1D2F4 * 1000
    assert packet.transport == "udp"
    assert packet.auth_key == b""
    assert packet.payload.startswith(b"SIP/2.0 200 OK\r\nCall-ID: BC099884@6dfcffe8")


def test_a_real_packet_of_version_1_is_read(shared: Path) -> None:
    packet = parse((shared / "vq" / "hep2_sip.bin").read_bytes())
    assert packet.version == 1
    assert (packet.src, packet.dst) == (Endpoint("10.0.1.100", 5060), Endpoint("192.168.0.254", 5060))
    assert packet.at is None
    assert packet.payload.startswith(b"SIP/2.0 200 OK\r\nFrom: <sip:mod_sofia@")


@pytest.mark.parametrize("length", [16, 28])
def test_version_2_is_read_whether_or_not_its_length_counts_the_time(length: int) -> None:
    head = bytes([2, length + 0, 2, 17]) + struct.pack("!HH", 5060, 5080) + bytes([192, 0, 2, 1, 192, 0, 2, 2])
    packet = parse(
        head[:1] + bytes([length]) + head[2:] + struct.pack("<IIHxx", 1_700_000_000, 250_000, 2001) + b"OPTIONS"
    )
    assert packet.at == 1_700_000_000_250_000_000
    assert packet.capture_id == 2001
    assert (packet.src, packet.dst) == (Endpoint("192.0.2.1", 5060), Endpoint("192.0.2.2", 5080))
    assert packet.payload == b"OPTIONS"


@given(packets())
def test_what_is_written_is_read(packet: HepPacket) -> None:
    assert parse(serialize(packet)) == packet


@given(st.binary(max_size=300))
@example(b"HEP3")
@example(b"\x01")
def test_any_octets_are_a_packet_or_one_named_error(data: bytes) -> None:
    assert defect_of(data).isidentifier()


@given(st.binary(max_size=200))
def test_any_chunks_are_a_packet_or_one_named_error(body: bytes) -> None:
    assert defect_of(version3(*ADDRESSED, body)).isidentifier()


@given(packets().filter(lambda packet: packet.version == 3), st.data())
def test_a_packet_of_version_3_that_is_cut_is_refused(packet: HepPacket, data: st.DataObject) -> None:
    octets = serialize(packet)
    cut = data.draw(st.integers(0, len(octets) - 1))
    with pytest.raises(HepError) as caught:
        parse(octets[:cut])
    assert caught.value.defect in {"cut_short", "version_unknown"}


@given(packets().filter(lambda packet: packet.version == 3))
def test_a_compressed_payload_is_unpacked(packet: HepPacket) -> None:
    assert parse(serialize(packet, compressed=True)) == packet


def test_a_payload_packed_with_gzip_is_unpacked() -> None:
    assert parse(version3(*ADDRESSED, chunk(0x10, gzip.compress(b"INVITE")))).payload == b"INVITE"


def test_a_payload_that_unpacks_without_end_is_refused() -> None:
    bomb = zlib.compress(bytes(MAX_UNPACKED + 1))
    with pytest.raises(HepError, match="payload_too_large"):
        parse(version3(*ADDRESSED, chunk(0x10, bomb)))


@pytest.mark.parametrize(
    ("data", "defect"),
    [
        (b"", "cut_short"),
        (b"HTTP", "version_unknown"),
        (b"HEP3\x00\x05", "length_wrong"),
        (version3(chunk(4, bytes(4)), chunk(0x0B, b"\x01"), chunk(0x0F, b"x")), "address_missing"),
        (version3(*ADDRESSED[:2], chunk(0x0F, b"x")), "payload_type_missing"),
        (version3(*ADDRESSED), "payload_missing"),
        (version3(*ADDRESSED, b"\x00\x00"), "chunk_cut_short"),
        (version3(*ADDRESSED, struct.pack("!HHH", 0, 15, 5)), "chunk_length_wrong"),
        (version3(*ADDRESSED, struct.pack("!HHH", 0, 15, 7)), "chunk_length_wrong"),
        (version3(*ADDRESSED, chunk(7, b"\x13")), "chunk_size_wrong"),
        (version3(*ADDRESSED, chunk(0x10, b"not zlib")), "compression_wrong"),
        (version3(*ADDRESSED, chunk(0x10, zlib.compress(b"x" * 99)[:-3])), "compression_wrong"),
        (version3(*ADDRESSED, *[chunk(1, b"\x00", vendor=9)] * MAX_CHUNKS), "too_many_chunks"),
        (version3(*ADDRESSED, chunk(9, bytes(4)), chunk(10, b"\xff" * 4), chunk(15, b"x")), "time_wrong"),
        (bytes([1, 16, 3, 17, 0, 0, 0, 0]) + bytes(8), "family_unknown"),
        (bytes([1, 17, 2, 17, 0, 0, 0, 0]) + bytes(9), "length_wrong"),
        (bytes([2, 16, 2, 17, 0, 0, 0, 0]) + bytes(8), "cut_short"),
    ],
)
def test_each_defect_has_its_name(data: bytes, defect: str) -> None:
    with pytest.raises(HepError) as caught:
        parse(data)
    assert caught.value.defect == defect


def test_chunks_of_vendors_and_repeated_ones_change_nothing() -> None:
    packet = parse(version3(*ADDRESSED, chunk(15, b"first"), chunk(15, b"second"), chunk(15, b"vendor's", vendor=2)))
    assert packet.payload == b"first"
    assert packet.others == (Chunk(0, 15, b"second"), Chunk(2, 15, b"vendor's"))


def test_identifiers_lose_the_zero_that_c_programs_leave() -> None:
    packet = parse(version3(*ADDRESSED, chunk(0x11, b"abc@192.0.2.1\0"), chunk(15, b"x")))
    assert packet.correlation_id == "abc@192.0.2.1"


def outcome(parser: Callable[[bytes], HepPacket], data: bytes) -> HepPacket | str:
    try:
        return parser(data)
    except HepError as error:
        return error.defect


@given(st.lists(packets(), min_size=1, max_size=4), st.data())
def test_the_fast_reader_reads_what_the_plain_one_reads(sent: list[HepPacket], data: st.DataObject) -> None:
    fast = HepParser()
    for packet in [*sent, *sent]:
        octets = bytearray(serialize(packet, compressed=data.draw(st.booleans()) and packet.version == 3))
        assert outcome(fast.parse, bytes(octets)) == outcome(parse, bytes(octets))
        for place in data.draw(st.lists(st.integers(0, len(octets) - 1), max_size=3)):
            octets[place] = data.draw(st.integers(0, 255))
        changed = bytes(octets[: data.draw(st.integers(0, len(octets)))]) if data.draw(st.booleans()) else bytes(octets)
        assert outcome(fast.parse, changed) == outcome(parse, changed)


FIXED = [
    *(chunk(1, b"\x02"), chunk(2, b"\x11"), *ADDRESSED, chunk(7, b"\x13\xc4"), chunk(8, b"\x13\xc5")),
    *(chunk(9, b"\0\0\0\1"), chunk(10, b"\0\0\0\2"), chunk(12, b"\0\0\7\xd1")),
]
OTHERS = [
    *(chunk(5, bytes(15) + b"\1"), chunk(6, bytes(15) + b"\2"), chunk(12, b"\7\xd1"), chunk(1, b"\x0a")),
    *(chunk(15, b"one"), chunk(15, b"two"), chunk(17, b"id\0"), chunk(14, b"key"), chunk(19, b"node")),
    *(chunk(16, zlib.compress(b"packed")), chunk(18, b"\0\1"), chunk(32, b"\1"), chunk(15, b"v", vendor=1)),
]
ORDERS = st.tuples(st.permutations(FIXED), st.lists(st.sampled_from(OTHERS), max_size=5)).map(
    lambda both: [*both[0], *both[1]]
)


@given(st.lists(ORDERS, min_size=1, max_size=3), st.integers(0, 9), st.integers(0, 15))
def test_the_fast_reader_takes_chunks_in_any_order(orders: list[list[bytes]], cut: int, moved: int) -> None:
    fast = HepParser()
    for order in [*orders, *orders, orders[0][cut:], [*order_moved(orders[0], moved)], *orders]:
        octets = version3(*order)
        assert outcome(fast.parse, octets) == outcome(parse, octets)


def order_moved(order: list[bytes], place: int) -> list[bytes]:
    """The last chunk somewhere else."""
    return [*order[:-1][:place], order[-1], *order[:-1][place:]]


# --- streams ------------------------------------------------------------------------------------------------------

STREAMED = [
    serialize(HepPacket(3, kind, 10**18, Endpoint("192.0.2.1", 5060), Endpoint("192.0.2.2", 5060), 17, payload))
    for kind, payload in ((SIP, b"INVITE"), (RTCP, b"{}"), (LOG, b"x" * 700))
]


@given(st.lists(st.sampled_from(STREAMED), max_size=6), st.lists(st.integers(1, 900), max_size=8))
def test_a_stream_gives_the_same_packets_however_it_is_cut(sent: list[bytes], cuts: list[int]) -> None:
    octets = b"".join(sent)
    stream, found, place = HepStream(), list[bytes](), 0
    for size in [*cuts, len(octets) + 1]:
        found += stream.feed(octets[place : place + size])
        place += size
    assert found == sent
    assert stream.finish() == 0
    assert stream.skipped == 0


def test_a_stream_is_cut_octet_by_octet() -> None:
    stream = HepStream()
    assert [packet for octet in b"".join(STREAMED) for packet in stream.feed(bytes([octet]))] == STREAMED


@given(st.binary(max_size=60).filter(lambda junk: b"H" not in junk), st.integers(1, 70))
def test_a_stream_finds_the_next_packet_behind_garbage(junk: bytes, size: int) -> None:
    octets = STREAMED[0] + junk + STREAMED[1] + STREAMED[2]
    stream, found = HepStream(), list[bytes]()
    for place in range(0, len(octets), size):
        found += stream.feed(octets[place : place + size])
    assert found == STREAMED
    assert stream.skipped == len(junk)


def test_a_packet_with_an_impossible_length_is_skipped() -> None:
    stream = HepStream()
    assert stream.feed(b"HEP3\x00\x03" + STREAMED[0]) == [STREAMED[0]]
    assert (stream.skipped, stream.resynchronised) == (6, 1)


@given(st.lists(st.binary(max_size=4000), max_size=30))
def test_a_stream_holds_no_more_than_a_packet(pieces: list[bytes]) -> None:
    stream = HepStream()
    for piece in [*pieces, b"HEP3\xff\xff", *pieces]:
        stream.feed(piece)
    assert stream.finish() < 0x10000 + 4000
