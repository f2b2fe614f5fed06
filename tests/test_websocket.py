"""SIP comes out of WebSocket frames (RFC 6455, RFC 7118) as it went in, alone and through TCP."""

from __future__ import annotations

import random
import struct
import zlib
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.capture.tcp import ACK, SYN, Message, TcpStreams, Verdict
from collector.capture.websocket import (
    MESSAGE_LIMIT,
    Handshake,
    WebSocketReader,
    opens_sip,
    parse_frame_header,
    starts_sip_frame,
    unmask,
)
from collector.facts import Endpoint

A, B = Endpoint("192.0.2.1", 40_000), Endpoint("198.51.100.7", 80)
KEY = b"\x37\xfa\x21\x3d"

# RFC 7118 4.1's handshake
REQUEST = (
    b"GET / HTTP/1.1\r\nHost: sip-ws.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: http://www.example.com\r\n"
    b"Sec-WebSocket-Protocol: sip\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
RESPONSE = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: sip\r\n\r\n"
)


def sip(number: int, body: bytes = b"") -> bytes:
    return (
        f"INVITE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/WS df7jal23ls0d.invalid;branch=z9hG4bK{number}\r\n"
        f"Call-ID: {number}@example\r\nCSeq: 1 INVITE\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def frame(payload: bytes, opcode: int = 1, fin: bool = True, key: bytes = b"", rsv1: bool = False) -> bytes:
    length, masked = len(payload), bool(key) << 7
    if length < 126:
        size = bytes([masked | length])
    elif length <= 0xFFFF:
        size = struct.pack(">BH", masked | 126, length)
    else:
        size = struct.pack(">BQ", masked | 127, length)
    if key:
        payload = bytes(octet ^ key[place % 4] for place, octet in enumerate(payload))
    return bytes([fin << 7 | rsv1 << 6 | opcode]) + size + key + payload


def deflate(message: bytes, compressor: zlib._Compress) -> bytes:
    return (compressor.compress(message) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\0\0\xff\xff")


def reader() -> tuple[WebSocketReader, Counter[str], Counter[str]]:
    defects, counts = Counter[str](), Counter[str]()
    return WebSocketReader(defects, counts), defects, counts


def test_the_examples_of_the_standard_are_read() -> None:
    # RFC 6455 5.7: "Hello" unmasked and masked, "Hel" + "lo", 256 bytes, 65536 bytes
    assert unmask(bytes.fromhex("7f9f4d5158"), bytes.fromhex("37fa213d")) == b"Hello"
    header = parse_frame_header(bytes.fromhex("818537fa213d7f9f4d5158"))
    assert header is not None
    assert (header.fin, header.opcode, header.mask, header.size, header.length) == (True, 1, KEY, 6, 5)
    for head, expected in ((b"\x82\x7e\x01\x00", (4, 256)), (b"\x82\x7f" + (65_536).to_bytes(8), (10, 65_536))):
        header = parse_frame_header(head)
        assert header is not None
        assert (header.size, header.length) == expected
    # RFC 7692 7.2.3.1: "Hello" compressed
    websocket, defects, counts = reader()
    assert websocket.feed(bytes.fromhex("c107f248cdc9c90700")) == []
    assert defects == {"ws_not_sip": 1}
    # RFC 7692 7.2.3.2: the second message refers to the first
    assert websocket.feed(bytes.fromhex("c105f200110000")) == []
    assert defects == {"ws_not_sip": 2}
    assert not counts


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 1 << 32), masked=st.booleans(), compressed=st.booleans(), takeover=st.booleans())
def test_messages_survive_fragmentation_masking_compression_and_control_frames(
    seed: int, masked: bool, compressed: bool, takeover: bool
) -> None:
    draw = random.Random(seed)
    compressor = zlib.compressobj(wbits=-15)
    sent = [sip(number, draw.randbytes(draw.choice([0, 100, 3_000, 70_000]))) for number in range(draw.randint(1, 6))]
    stream = b""
    for message in sent:
        if not takeover:
            compressor = zlib.compressobj(wbits=-15)
        payload = deflate(message, compressor) if compressed else message
        places = [0, *sorted(draw.sample(range(len(payload)), draw.randint(0, 3))), len(payload)]
        for number, (start, end) in enumerate(pairwise(places)):
            first, fin = number == 0, end == len(payload)
            key = draw.randbytes(4) if masked else b""
            stream += frame(payload[start:end], draw.choice([1, 2]) if first else 0, fin, key, compressed and first)
            if draw.random() < 0.3:
                stream += frame(b"ping", draw.choice([9, 10]), key=key)
    websocket, defects, _ = reader()
    got: list[bytes] = []
    while stream:
        size = draw.choice([1, 50, 1_460, 30_000])
        got += [each.data for each in websocket.feed(stream[:size])]
        stream = stream[size:]
    assert got == sent
    assert not defects
    assert len(websocket) == 0


def test_keep_alives_and_closing_are_counted_and_give_nothing() -> None:
    websocket, defects, counts = reader()
    assert websocket.feed(frame(b"\r\n\r\n") + frame(b"\x03\xe8", 8)) == []
    assert counts == {"stream_keep_alives": 1, "ws_control_frames": 1}
    assert not defects


@pytest.mark.parametrize(
    ("data", "defect"),
    [
        (b"\xb1\x05Hello", "ws_reserved_bits"),
        (b"\x83\x05Hello", "ws_opcode_unknown"),
        (b"\x09\x01x", "ws_control_frame_malformed"),
        (b"\x89\x7e\x00\x80" + bytes(128), "ws_control_frame_malformed"),
        (b"\x81\x7e\x00\x05Hello", "ws_length_malformed"),
        (b"\x81\x7f\x00\x00\x00\x00\x00\x00\x00\x05Hello", "ws_length_malformed"),
        (b"\x81\x7f" + b"\xff" * 8, "ws_length_malformed"),
        (b"\x81\x7f" + (1 << 40).to_bytes(8), "ws_message_too_long"),
        (b"\x80\x02ab", "ws_continuation_without_start"),
        (b"\x01\x01a\x81\x00", "ws_message_incomplete"),
        (b"\xc1\x04\xff\xff\xff\xff", "ws_deflate_corrupt"),
    ],
)
def test_what_is_wrong_with_a_frame_is_named(data: bytes, defect: str) -> None:
    websocket, defects, _ = reader()
    assert websocket.feed(data) == []
    assert defects == {defect: 1}


def test_a_message_that_inflates_past_the_limit_is_refused() -> None:
    websocket, defects, _ = reader()
    bomb = deflate(bytes(MESSAGE_LIMIT + 1), zlib.compressobj(wbits=-15))
    good = sip(1)
    assert [each.data for each in websocket.feed(frame(bomb, rsv1=True) + frame(good))] == [good]
    assert defects == {"ws_message_too_long": 1}


def test_a_gap_inside_a_frame_costs_that_message_alone() -> None:
    websocket, defects, _ = reader()
    lost, kept = frame(sip(1, bytes(500))), frame(sip(2))
    assert websocket.feed(lost[:100]) == []
    assert websocket.gap(200) == []
    assert [each.data for each in websocket.feed(lost[300:] + kept)] == [sip(2)]
    assert defects == {"ws_message_incomplete": 1}


def test_after_a_gap_over_frames_reading_goes_on_at_a_segment_that_begins_with_one() -> None:
    websocket, _, _ = reader()
    lost = frame(sip(1, b"b" * 500))
    assert websocket.feed(lost[:100]) == []
    assert websocket.gap(10_000) == []
    assert websocket.feed(b"bbbb" * 20) == []
    assert [each.data for each in websocket.feed(frame(sip(2)))] == [sip(2)]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=60), st.integers(1, 300)), max_size=10))
def test_any_bytes_and_gaps_are_survived(feeds: list[bytes | int]) -> None:
    websocket, _, _ = reader()
    for each in feeds:
        if isinstance(each, int):
            websocket.gap(each)
        else:
            websocket.feed(each)
        assert len(websocket) <= MESSAGE_LIMIT + 1_000
    websocket.finish()


@pytest.mark.parametrize(
    ("head", "opens"),
    [
        (REQUEST, True),
        (RESPONSE, True),
        (REQUEST.replace(b"websocket", b"WebSocket").replace(b": sip", b": chat, SIP"), True),
        (REQUEST.replace(b": sip", b": chat"), False),
        (REQUEST.replace(b"Upgrade: websocket\r\n", b""), False),
        (RESPONSE.replace(b"101", b"401"), False),
        (RESPONSE.replace(b": sip", b": mqtt"), False),
    ],
)
def test_only_an_upgrade_to_sip_opens_a_reader(head: bytes, opens: bool) -> None:
    assert opens_sip(head) is opens


def test_a_handshake_is_read_byte_by_byte_and_gives_what_follows() -> None:
    handshake = Handshake()
    assert [handshake.feed(bytes([each])) for each in REQUEST[:-1]] == [None] * (len(REQUEST) - 1)
    assert handshake.feed(REQUEST[-1:] + b"rest") == b"rest"
    with pytest.raises(ValueError, match="ws_handshake_too_long"):
        Handshake().feed(b"GET " + bytes(20_000))


def feed(streams: TcpStreams, at: int, src: Endpoint, dst: Endpoint, seq: int, payload: bytes) -> list[Message]:
    return streams.feed(at, src, dst, seq % (1 << 32), ACK, payload)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_a_websocket_connection_gives_its_messages_through_tcp(seed: int) -> None:
    draw = random.Random(seed)
    sent = {src: [sip(number, draw.randbytes(200)) for number in range(4)] for src in (A, B)}
    got: dict[Endpoint, list[bytes]] = {A: [], B: []}
    streams = TcpStreams()
    streams.feed(0, A, B, 999, SYN, b"")
    streams.feed(0, B, A, 4_999, SYN | ACK, b"")
    for src, dst, opening, first in ((A, B, REQUEST, 1_000), (B, A, RESPONSE, 5_000)):
        stream = opening + b"".join(frame(each, key=KEY if src == A else b"") for each in sent[src])
        size = draw.randint(1, 900)
        segments = [(first + at, stream[at : at + size]) for at in range(0, len(stream), size)]
        order = sorted(range(len(segments)), key=lambda place: place + draw.uniform(0, 5))
        for place in order:
            for message in feed(streams, place, src, dst, *segments[place]):
                got[message.src].append(message.data)
                assert message.transport == "ws"
    assert got == sent
    assert streams.verdict(A, B) is Verdict.WEBSOCKET
    assert not streams.defects


def test_a_websocket_joined_late_is_recognised_by_a_frame_that_begins_with_sip() -> None:
    streams = TcpStreams()
    first = frame(sip(1), key=KEY)
    assert starts_sip_frame(first)
    assert not starts_sip_frame(frame(b"hello"))
    assert not starts_sip_frame(sip(1))
    rest = b"\x00\x01 the end of something"
    assert feed(streams, 0, A, B, 10, rest) == []
    messages = feed(streams, 1, A, B, 10 + len(rest), first)
    assert [(each.transport, each.data) for each in messages] == [("ws", sip(1))]


def test_an_upgrade_to_something_else_is_ignored() -> None:
    streams = TcpStreams()
    feed(streams, 0, A, B, 0, REQUEST.replace(b": sip", b": chat"))
    assert streams.is_ignored(A, B)
    assert not streams.defects
