"""SIP comes out of SCTP's DATA chunks once, in whatever order they reached the tap."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.capture.sctp import SctpAssociations, SctpLimits, chunks
from collector.facts import Endpoint

A, B = Endpoint("192.0.2.1", 5060), Endpoint("2001:db8::1", 5060)


def sip(number: int, body: bytes = b"") -> bytes:
    return (
        f"INVITE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/SCTP 192.0.2.1;branch=z9hG4bK{number}\r\n"
        f"Call-ID: {number}@example\r\nCSeq: 1 INVITE\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def chunk(kind: int, flags: int, value: bytes) -> bytes:
    return struct.pack(">BBH", kind, flags, 4 + len(value)) + value + bytes(-len(value) % 4)


def data(tsn: int, payload: bytes, flags: int = 3, stream: int = 1) -> bytes:
    return chunk(0, flags, struct.pack(">IHHI", tsn % (1 << 32), stream, 0, 0) + payload)


def packet(*parts: bytes, tag: int = 99) -> bytes:
    return struct.pack(">HHII", 5060, 5060, tag, 0) + b"".join(parts)


def fragments(message: bytes, tsn: int, size: int) -> list[bytes]:
    starts = range(0, len(message), size)
    return [
        data(tsn + number, message[at : at + size], 2 * (at == 0) + (at + size >= len(message)))
        for number, at in enumerate(starts)
    ]


def test_several_chunks_of_a_packet_are_each_read() -> None:
    associations = SctpAssociations()
    sack = chunk(3, 0, bytes(12))
    messages = associations.feed(5, A, B, packet(sack, data(1, sip(1)), data(2, sip(2, b"odd"))))
    assert messages == [(5, A, B, "sctp", sip(1), False), (5, A, B, "sctp", sip(2, b"odd"), False)]


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 1 << 32), first=st.sampled_from([0, 1, (1 << 32) - 5]))
def test_fragments_in_any_order_and_sent_again_give_each_message_once(seed: int, first: int) -> None:
    draw = random.Random(seed)
    sent, parts, tsn = [], [], first
    for number in range(draw.randint(1, 6)):
        sent.append(sip(number, draw.randbytes(draw.randint(0, 700))))
        pieces = fragments(sent[-1], tsn, draw.randint(60, 900))
        tsn += len(pieces)
        parts += pieces
    parts += draw.choices(parts, k=3)
    draw.shuffle(parts)
    associations = SctpAssociations()
    got = [each.data for at, part in enumerate(parts) for each in associations.feed(at, A, B, packet(part))]
    assert sorted(got) == sorted(sent)
    assert associations.counts["sctp_retransmissions"] == 3
    associations.finish()
    assert not associations.defects
    assert associations.held_bytes == 0


def test_the_tag_tells_one_association_from_the_next_on_the_same_ports() -> None:
    associations = SctpAssociations()
    assert len(associations.feed(0, A, B, packet(data(1, sip(1)), tag=1))) == 1
    assert len(associations.feed(1, A, B, packet(data(1, sip(2)), tag=2))) == 1


def test_a_message_cut_by_the_snap_length_is_marked() -> None:
    associations = SctpAssociations()
    whole = packet(data(1, sip(1, bytes(400))))
    (message,) = associations.feed(0, A, B, whole[:-300])
    assert message.cut
    assert message.data == sip(1, bytes(400))[:-300]
    assert associations.defects == {"sctp_data_chunk_cut": 1}


def test_a_message_of_which_a_part_never_came_is_counted() -> None:
    associations = SctpAssociations()
    for part in fragments(sip(1, bytes(900)), 5, 300)[:-1]:
        assert associations.feed(0, A, B, packet(part)) == []
    associations.finish()
    assert associations.defects == {"sctp_message_incomplete": 1}


def test_an_association_that_carries_something_else_is_ignored() -> None:
    associations = SctpAssociations()
    for tsn in range(20):
        assert associations.feed(tsn, A, B, packet(data(tsn, b"\x01\x00\x00\x84 diameter"))) == []
    assert associations.is_ignored(A, B, 99)
    assert not associations.is_ignored(B, A, 99)
    assert associations.counts["ignored_flows"] == 1
    assert not associations.defects


@pytest.mark.parametrize(
    ("payload", "defect"),
    [
        (b"\x13\xc4", "sctp_header_cut"),
        (packet(b"\x00\x03\x00\x03"), "sctp_chunk_length_malformed"),
        (packet(chunk(0, 3, b"short")), "sctp_data_chunk_malformed"),
        (packet(data(1, b"")[:9]), "sctp_data_chunk_cut"),
    ],
)
def test_what_is_wrong_with_a_packet_is_named(payload: bytes, defect: str) -> None:
    associations = SctpAssociations()
    assert associations.feed(0, A, B, payload) == []
    assert associations.defects == {defect: 1}


def test_fragments_of_different_streams_are_no_message() -> None:
    associations = SctpAssociations()
    message = sip(1)
    parts = packet(data(1, message[:50], flags=2, stream=1), data(2, message[50:], flags=1, stream=2))
    assert associations.feed(0, A, B, parts) == []
    assert associations.defects == {"sctp_fragments_inconsistent": 1}


def test_memory_is_bounded_by_directions_and_fragments() -> None:
    associations = SctpAssociations(SctpLimits(directions=10, held_bytes=50_000, fragments=4))
    for number in range(2_000):
        associations.feed(number, A, B, packet(data(2 * number, bytes(1_000), flags=2), tag=number // 20))
        assert len(associations) <= 10
        assert associations.held_bytes <= 50_000
    assert associations.defects["sctp_fragments_evicted"] == 100 * 16
    assert associations.defects["sctp_evicted"] == 90


@settings(max_examples=300, deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=8), st.integers(0, 70))
def test_any_bytes_are_survived(parts: list[bytes], cut: int) -> None:
    associations = SctpAssociations()
    associations.feed(0, A, B, packet(*(chunk(0, each[:1][0] if each else 0, each) for each in parts))[: 200 - cut])
    for at, part in enumerate(parts):
        associations.feed(at, A, B, part)
        associations.feed(at, A, B, packet(part))
    associations.finish()


def test_chunks_end_where_the_packet_does() -> None:
    whole = packet(data(1, b"abc"), chunk(3, 0, bytes(12)))
    assert [(each.kind, len(each.value), each.cut_by) for each in chunks(whole)] == [(0, 15, 0), (3, 12, 0)]


def test_a_real_capture_gives_its_four_messages(shared: Path) -> None:
    scapy = pytest.importorskip("scapy.all")
    associations = SctpAssociations()
    lines = []
    for frame in scapy.rdpcap(str(shared / "pcaps" / "heplify_sip_sctp.pcap")):
        ip = frame[scapy.IP]
        payload = bytes(ip)[ip.ihl * 4 : ip.len]
        ports = struct.unpack(">HH", payload[:4])
        messages = associations.feed(0, Endpoint(ip.src, ports[0]), Endpoint(ip.dst, ports[1]), payload)
        lines += [each.data.partition(b"\r\n")[0].decode() for each in messages]
    associations.finish()
    assert lines == [  # as tshark has them
        "INVITE sip:9275890000@VMSSM;user=phone SIP/2.0",
        "SIP/2.0 100 Giving a try",
        "SIP/2.0 403 The reason is nocallee",
        "ACK sip:9275890000@VMSSM;user=phone SIP/2.0",
    ]
    assert not associations.defects
