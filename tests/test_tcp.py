"""SIP comes out of TCP as it went in, however the segments reached the tap."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.capture.tcp import ACK, RST, SYN, Message, TcpLimits, TcpStreams, Verdict
from collector.facts import Endpoint

A = Endpoint("192.0.2.1", 40_000)
B = Endpoint("198.51.100.7", 5060)
MS = 1_000_000
TLS = bytes.fromhex("1603010200010001fc0303") + random.Random(3).randbytes(600)


def sip(number: int, body: bytes = b"", method: str = "INVITE") -> bytes:
    return (
        f"{method} sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.1;branch=z9hG4bK{number}\r\n"
        f"Call-ID: {number}@example\r\nCSeq: 1 {method}\r\nContent-Type: text/plain\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def ok(number: int, body: bytes = b"") -> bytes:
    return sip(number, body).replace(b"INVITE sip:bob@example.com SIP/2.0", b"SIP/2.0 200 OK", 1)


class Segment(NamedTuple):
    seq: int
    payload: bytes
    flags: int = ACK
    truncated_by: int = 0


def play(
    segments: Iterable[Segment],
    streams: TcpStreams | None = None,
    src: Endpoint = A,
    dst: Endpoint = B,
    step: int = MS,
) -> list[Message]:
    """What the segments, one per `step` ns, give, the end of the capture included."""
    streams = TcpStreams() if streams is None else streams
    messages: list[Message] = []
    for number, segment in enumerate(segments):
        seq = segment.seq % (1 << 32)
        messages += streams.feed(number * step, src, dst, seq, segment.flags, segment.payload, segment.truncated_by)
    return messages + streams.finish()


def data_of(messages: list[Message]) -> list[bytes]:
    return [message.data for message in messages]


def cut(stream: bytes, first: int, size: int) -> list[Segment]:
    return [Segment(first + at, stream[at : at + size]) for at in range(0, len(stream), size)]


def syn(first: int) -> Segment:
    return Segment(first - 1, b"", SYN)


@pytest.mark.parametrize("size", [1, 7, 100, 400, 1460, 100_000])
def test_messages_are_the_same_whatever_the_segment_size(size: int) -> None:
    sent = [sip(1, b"v=0\r\n\r\n"), sip(2), ok(2, bytes(3_000)), sip(3, b"x", "BYE")]
    assert data_of(play([syn(500), *cut(b"".join(sent), 500, size)])) == sent


def test_a_message_has_the_time_of_the_segment_that_completed_it() -> None:
    first, second = sip(1, b"abc"), sip(2)
    segments = [syn(0), Segment(0, first[:50]), Segment(100, first[100:] + second), Segment(50, first[50:100])]
    assert [(each.at, each.src, each.dst, each.transport, each.cut) for each in play(segments)] == [
        (3 * MS, A, B, "tcp", False),
        (3 * MS, A, B, "tcp", False),
    ]


def segments_of(stream: bytes, first: int, draw: random.Random) -> list[Segment]:
    """The stream in random segments, some again with the same or other boundaries, displaced by up to ten places."""
    segments: list[Segment] = []
    at = 0
    while at < len(stream):
        size = draw.choice([1, 2, 30, 200, 700, 1460])
        segments.append(Segment(first + at, stream[at : at + size]))
        at += size
        if draw.random() < 0.3:
            back = draw.randint(0, at)
            segments.append(Segment(first + back, stream[back : back + draw.randint(0, 900)]))
    order = sorted(range(len(segments)), key=lambda place: place + draw.uniform(0, 10))
    return [segments[place] for place in order]


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 1 << 32), first=st.sampled_from([0, 1, 77, (1 << 32) - 900, (1 << 32) - 1, 1 << 31]))
def test_reordered_repeated_and_overlapping_segments_give_exactly_the_messages(seed: int, first: int) -> None:
    draw = random.Random(seed)
    sent = [
        draw.choice([sip, ok])(number, draw.randbytes(draw.choice([0, 10, 1_500])))
        for number in range(draw.randint(1, 9))
    ]
    streams = TcpStreams()
    messages = play([syn(first), *segments_of(b"".join(sent), first, draw)], streams)
    assert data_of(messages) == sent
    assert not any(message.cut for message in messages)
    assert not streams.defects


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_both_directions_and_many_connections_do_not_mix(seed: int) -> None:
    draw = random.Random(seed)
    streams = TcpStreams()
    feeds: list[tuple[float, Endpoint, Endpoint, Segment]] = []
    sent: dict[tuple[Endpoint, Endpoint], list[bytes]] = {}
    for port in range(5):
        one = Endpoint("192.0.2.1", 40_000 + port)
        for src, dst in ((one, B), (B, one)):
            first = draw.getrandbits(32)
            sent[src, dst] = [sip(number + 10 * port, draw.randbytes(50)) for number in range(4)]
            segments = [syn(first), *segments_of(b"".join(sent[src, dst]), first, draw)]
            feeds += [(place + draw.random(), src, dst, each) for place, each in enumerate(segments)]
    got: dict[tuple[Endpoint, Endpoint], list[bytes]] = {key: [] for key in sent}
    for place, src, dst, (seq, payload, flags, _) in sorted(feeds):
        if flags & SYN and src == B:
            flags |= ACK
        for message in streams.feed(int(place * MS), src, dst, seq % (1 << 32), flags, payload):
            got[message.src, message.dst].append(message.data)
    assert got == sent


def test_a_stream_joined_in_the_middle_of_a_message_is_read_from_the_next_one_on() -> None:
    sent = [sip(1, b"z" * 500), sip(2), sip(3, b"END", "MESSAGE"), ok(4)]
    stream = b"".join(sent)
    for joined in range(8, len(sent[0]), 41):
        assert data_of(play(cut(stream[joined:], 9_000, 333))) == sent[1:], joined


def test_segments_reordered_where_the_stream_was_joined_lose_nothing() -> None:
    sent = [sip(1, b"z" * 500), sip(2)]
    first, second, third = cut(b"".join(sent), 70, 400)
    assert data_of(play([second, first, third])) == sent


def test_a_message_sent_before_the_join_counts_when_it_is_sent_again() -> None:
    sent = [sip(1), sip(2)]
    assert data_of(play([Segment(1_000, sent[1]), Segment(1_000 - len(sent[0]), sent[0])])) == [sent[1], sent[0]]


def test_keep_alives_between_messages_are_counted_and_left_out() -> None:
    streams = TcpStreams()
    stream = b"\r\n\r\n" + sip(1) + b"\r\n\r\n" + sip(2) + b"\r\n"
    assert data_of(play([syn(0), *cut(stream, 0, 5_000)], streams)) == [sip(1), sip(2)]
    assert streams.counts["stream_keep_alives"] == 3


def test_keep_alives_alone_do_not_make_a_connection_ignored() -> None:
    segments = [syn(0), *cut(b"\r\n\r\n" * 50, 0, 4), Segment(200, sip(1))]
    assert data_of(play(segments)) == [sip(1)]


def test_a_gap_is_given_up_after_some_time_and_costs_only_the_messages_it_touched() -> None:
    sent = [sip(number, b"body" * 20) for number in range(6)]
    stream, size = b"".join(sent), len(sent[0])
    segments = [
        each for each in cut(stream, 0, size // 2 + 1) if not each.seq <= 2 * size < each.seq + len(each.payload)
    ]
    streams = TcpStreams()
    got = [message.data for message in play([syn(0), *segments], streams, step=4_000 * MS) if not message.cut]
    assert sent[3:] == got[-3:]
    assert got[0] == sent[0]
    assert streams.defects["tcp_gap"] == 1


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_segments_that_never_come_cost_no_message_but_those_they_were_part_of(seed: int) -> None:
    draw = random.Random(seed)
    sent = [draw.choice([sip, ok])(number, draw.randbytes(draw.choice([0, 90, 1_500]))) for number in range(12)]
    segments, touched, at = [syn(0)], set(), 0
    for number, message in enumerate(sent):
        for piece in cut(message, at, draw.choice([100, 700, 5_000])):
            if draw.random() < 0.15:
                touched.add(number)
            else:
                segments.append(piece)
        at += len(message)
    whole = [message.data for message in play(segments, step=draw.choice([1, 1_000 * MS])) if not message.cut]
    assert whole == [message for number, message in enumerate(sent) if number not in touched]


@pytest.mark.parametrize(
    "line", [b"INVITE sip:x SIP/2.0\r\n", b"SIP/2.0 200 \r\n", b"ACK a SIP/2.0\n", b"A: b\r\n", b"A"]
)
@pytest.mark.parametrize("size", [1, 1_400])
def test_headers_without_an_end_are_passed_over_until_a_message_comes(line: bytes, size: int) -> None:
    rubbish = line * (70_000 // len(line)) + b"\r\n\r\n"
    stream = sip(1) + rubbish + sip(2)
    messages = play([syn(0), *cut(stream, 0, size)])
    assert messages[0].data == sip(1)
    assert messages[-1].data == sip(2)
    assert len(messages) <= 3


def test_what_the_far_end_acknowledged_is_not_waited_for() -> None:
    """The ringing is lost by the tap alone: the caller's ACK acknowledges all of it and the answer behind it."""
    streams = TcpStreams()
    invite, ringing, answer, ack = sip(1), ok(2), ok(3), sip(4, method="ACK")
    streams.feed(0, A, B, 99, SYN, b"")
    streams.feed(1, B, A, 499, SYN | ACK, b"", 0, 100)
    assert data_of(streams.feed(2, A, B, 100, ACK, invite, 0, 500)) == [invite]
    answered_from, answered_to = 500 + len(ringing), 500 + len(ringing + answer)
    assert streams.feed(3, B, A, answered_from, ACK, answer, 0, 100 + len(invite)) == []
    heard = streams.feed(4, A, B, 100 + len(invite), ACK, ack, 0, answered_to)
    assert [(each.at, each.src, each.data) for each in heard] == [(3, B, answer), (4, A, ack)]
    assert streams.defects == {"tcp_gap": 1}
    assert streams.finish() == []


def test_what_was_acknowledged_before_anything_followed_is_not_waited_for_either() -> None:
    streams = TcpStreams()
    first, lost, third = ok(1), ok(2), ok(3)
    streams.feed(0, B, A, 500, ACK, first, 0, 100)
    streams.feed(1, A, B, 100, ACK, sip(4), 0, 500 + len(first + lost))
    assert data_of(streams.feed(2, B, A, 500 + len(first + lost), ACK, third, 0, 100 + len(sip(4)))) == [third]


def test_what_is_not_yet_acknowledged_is_waited_for() -> None:
    streams = TcpStreams()
    first, late, third = ok(1), ok(2), ok(3)
    streams.feed(0, B, A, 500, ACK, first, 0, 100)
    streams.feed(1, B, A, 500 + len(first + late), ACK, third, 0, 100)
    assert data_of(streams.feed(2, A, B, 100, ACK, sip(4), 0, 500 + len(first))) == [sip(4)]
    assert data_of(streams.feed(3, A, B, 100 + len(sip(4)), ACK, sip(5), 0, 7)) == [sip(5)]
    assert data_of(streams.feed(4, B, A, 500 + len(first), ACK, late, 0, 100)) == [late, third]
    assert streams.defects == {}


def test_a_gap_inside_a_body_leaves_the_message_marked_and_the_next_one_whole() -> None:
    sent = [sip(1, b"b" * 1_000), sip(2)]
    stream = b"".join(sent)
    body = len(sent[0]) - 1_000
    segments = [syn(0), Segment(0, stream[: body + 100]), Segment(body + 300, stream[body + 300 :])]
    messages = play(segments)
    assert [(each.data, each.cut) for each in messages] == [(stream[: body + 100], True), (sent[1], False)]


def test_a_snap_length_leaves_the_head_of_each_message() -> None:
    sent = [sip(number, b"b" * 400) for number in range(4)]
    segments, at = [syn(0)], 0
    for each in sent:
        segments.append(Segment(at, each[:300], truncated_by=len(each) - 300))
        at += len(each)
    streams = TcpStreams()
    messages = play(segments, streams)
    assert [(each.data, each.cut) for each in messages] == [(each[:300], True) for each in sent]
    assert streams.defects == {"tcp_gap": 4}


def test_a_port_used_again_begins_a_new_stream() -> None:
    streams = TcpStreams()
    segments = [syn(1_000), Segment(1_000, sip(1) + sip(2)[:40]), syn(700), Segment(700, sip(3))]
    messages = play(segments, streams)
    assert [(each.data, each.cut) for each in messages] == [(sip(1), False), (sip(2)[:40], True), (sip(3), False)]


def test_a_port_used_again_without_a_syn_in_the_capture_is_noticed_by_its_sequence() -> None:
    segments = [syn(1_000), Segment(1_000, sip(1)), Segment(3_000_000_000, sip(2)), Segment(9_000, sip(3))]
    assert data_of(play(segments)) == [sip(1), sip(2), sip(3)]


def test_a_syn_sent_again_changes_nothing() -> None:
    half = len(sip(1)) // 2
    segments = [syn(5), Segment(5, sip(1)[:half]), syn(5), Segment(5 + half, sip(1)[half:])]
    assert data_of(play(segments)) == [sip(1)]


def test_a_syn_that_comes_after_its_answer_changes_nothing() -> None:
    streams = TcpStreams()
    assert streams.feed(0, B, A, 99, SYN | ACK, b"") == []
    assert streams.feed(1, A, B, 49, SYN, b"") == []
    assert data_of(streams.feed(2, A, B, 50, ACK, sip(1))) == [sip(1)]
    assert data_of(streams.feed(3, B, A, 100, ACK, ok(1))) == [ok(1)]


def test_the_text_in_a_reset_is_not_part_of_the_stream() -> None:
    segments = [syn(0), Segment(0, sip(1)), Segment(len(sip(1)), b"go away", RST), Segment(len(sip(1)), sip(2))]
    assert data_of(play(segments)) == [sip(1), sip(2)]


def test_data_on_the_syn_is_read() -> None:
    assert data_of(play([Segment(10, sip(1), SYN)])) == [sip(1)]


def test_a_length_that_cannot_be_gives_the_head_for_the_parser_to_judge() -> None:
    bad = sip(1).replace(b"Content-Length: 0", b"Content-Length: -999")
    assert data_of(play([syn(0), Segment(0, bad + sip(2))])) == [bad, sip(2)]


def test_rubbish_between_messages_is_passed_over_and_counted() -> None:
    streams = TcpStreams()
    stream = sip(1) + b"\x00\x01rubbish\xff" * 40 + sip(2)
    assert data_of(play([syn(0), *cut(stream, 0, 50)], streams)) == [sip(1), sip(2)]
    assert streams.defects == {"stream_resynchronised": 1}


@pytest.mark.parametrize(
    "opening",
    [TLS * 4, b"220 ftp.example.com ready\r\n" * 90, b"SSH-2.0-x\r\n" + bytes(3_000), b"GET / HTTP/1.1\r\n\r\n"],
)
def test_a_connection_that_shows_no_sip_is_ignored_and_no_defect(opening: bytes) -> None:
    streams = TcpStreams()
    assert play([syn(0), *cut(opening, 0, 300)], TcpStreams()) == []
    for segment in [syn(0), *cut(opening, 0, 300)]:
        streams.feed(0, A, B, segment.seq % (1 << 32), segment.flags, segment.payload)
    assert streams.is_ignored(A, B)
    assert streams.is_ignored(B, A)
    assert streams.verdict(A, B) is Verdict.IGNORED
    assert streams.counts["ignored_flows"] == 1
    assert streams.feed(1, A, B, 5_000, ACK, sip(1)) == []
    assert not streams.defects
    assert streams.feed(2, A, B, 99_999, SYN, b"") == []
    assert data_of(streams.feed(3, A, B, 100_000, ACK, sip(2))) == [sip(2)]
    assert streams.verdict(A, B) is Verdict.SIP


def test_memory_is_bounded_by_connections_and_bytes() -> None:
    streams = TcpStreams(TcpLimits(connections=50, buffered_bytes=100_000))
    half = sip(1, bytes(9_000))[:8_000]
    for port in range(1, 2_000):
        src = Endpoint("192.0.2.1", port)
        streams.feed(port, src, B, 0, SYN, b"")
        streams.feed(port, src, B, 1, ACK, half)
        assert streams.held_bytes <= 100_000
        assert len(streams) <= 50
    assert streams.defects["tcp_evicted"] >= 1_900


def test_what_waits_behind_a_gap_is_bounded() -> None:
    limits = TcpLimits(gap_segments=16, gap_bytes=20_000, gap_time=1 << 62)
    streams = TcpStreams(limits)
    streams.feed(0, A, B, 0, SYN, b"")
    for number in range(500):
        streams.feed(number, A, B, 2 + number * 1_001, ACK, bytes(1_000))  # a byte is missing before each
        assert streams.held_bytes <= 20_000 + 9_000


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.booleans(),
            st.sampled_from([0, 1, 5, 100, 1_000, (1 << 32) - 1, 1 << 31]),
            st.sampled_from([ACK, SYN, SYN | ACK, RST, 0x01, 0xFF]),
            st.one_of(
                st.binary(max_size=80), st.sampled_from([sip(1), sip(2, b"ab")[:100], b"GET ", b"\x81\x7e", b"\r\n"])
            ),
            st.sampled_from([0, 0, 1, 3_000, -5]),
            st.sampled_from([None, 0, 1, 100, 1_000, (1 << 32) - 1, 1 << 31]),
        ),
        max_size=40,
    )
)
def test_any_segments_are_survived(segments: list[tuple[bool, int, int, bytes, int, int | None]]) -> None:
    streams = TcpStreams(TcpLimits(gap_segments=4))
    for at, (forward, seq, flags, payload, truncated_by, ack) in enumerate(segments):
        src, dst = (A, B) if forward else (B, A)
        streams.feed(at, src, dst, seq, flags, payload, truncated_by, ack)
    streams.finish()


def replay(path: Path) -> tuple[list[Message], TcpStreams]:
    """The capture's TCP read by scapy and fed segment by segment."""
    scapy = pytest.importorskip("scapy.all")
    streams = TcpStreams()
    messages: list[Message] = []
    for packet in scapy.rdpcap(str(path)):
        if scapy.TCP not in packet:
            continue
        ip, tcp = packet[scapy.IP], packet[scapy.TCP]
        length = ip.len - ip.ihl * 4 - tcp.dataofs * 4
        messages += streams.feed(
            int(packet.time * 1_000_000) * 1_000,
            Endpoint(ip.src, tcp.sport),
            Endpoint(ip.dst, tcp.dport),
            tcp.seq,
            int(tcp.flags),
            bytes(tcp.payload)[:length],
        )
    return messages + streams.finish(), streams


@pytest.mark.parametrize(
    ("name", "first_lines"),
    [  # as `tshark -Y sip -T fields -e sip.Request-Line -e sip.Status-Line` has them, retransmissions left out
        (
            "heplify_sip_ipv4_tcp.pcap",
            ["INVITE", "SIP/2.0 100", "SIP/2.0 180", "SIP/2.0 200", "ACK", "BYE", "SIP/2.0 200"],
        ),
        ("heplify_sip_ipv4_tcp_retrans.pcap", ["REGISTER", "SIP/2.0 401", "REGISTER", "SIP/2.0 200"]),
        ("suri_sip_tcp_method.pcap", ["REGISTER", "SIP/2.0 200"]),
    ],
)
def test_real_captures_give_the_messages_that_tshark_sees(shared: Path, name: str, first_lines: list[str]) -> None:
    messages, streams = replay(shared / "pcaps" / name)
    starts = [
        " ".join(each.data.decode("latin-1").split(" ")[: 2 if each.data[:3] == b"SIP" else 1]) for each in messages
    ]
    assert starts == first_lines
    assert not any(message.cut for message in messages)
    assert not streams.defects
