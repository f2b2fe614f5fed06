"""Whole captures written octet by octet: what the wire may do to SIP before it reaches the calls."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from wire import START, ipv4, pcap, udp

from api.replay import replay_files
from collector.facts import CallState, Replay

CALLER, CALLEE = "192.0.2.10", "198.51.100.20"
SECOND = 1_000_000_000


def message(start_line: str, cseq: str, to_tag: str = "", branch: str = "1") -> bytes:
    return (
        f"{start_line}\r\nVia: SIP/2.0/TCP {CALLER};branch=z9hG4bK{branch}\r\nFrom: <sip:alice@example.com>;tag=a\r\n"
        f"To: <sip:bob@example.com>{to_tag}\r\nCall-ID: one@example\r\nCSeq: {cseq}\r\nContent-Length: 0\r\n\r\n"
    ).encode()


INVITE = message("INVITE sip:bob@example.com SIP/2.0", "1 INVITE")
TRYING = message("SIP/2.0 100 Trying", "1 INVITE")
RINGING = message("SIP/2.0 180 Ringing", "1 INVITE", ";tag=b")
OK = message("SIP/2.0 200 OK", "1 INVITE", ";tag=b")
ACK = message("ACK sip:bob@example.com SIP/2.0", "1 ACK", ";tag=b", "2")
BYE = message("BYE sip:bob@example.com SIP/2.0", "2 BYE", ";tag=b", "3")
GONE = message("SIP/2.0 200 OK", "2 BYE", ";tag=b", "3")


def replayed(path: Path, records: list[tuple[float, bytes]]) -> Replay:
    path.write_bytes(pcap((START + round(at * SECOND), packet) for at, packet in records))
    return replay_files([path])


def segment(forward: bool, seq: int, ack: int, payload: bytes) -> bytes:
    src, dst = (CALLER, CALLEE) if forward else (CALLEE, CALLER)
    header = struct.pack("!HHIIBBHHH", 5060, 5060, seq, ack, 5 << 4, 0x18, 8192, 0, 0)
    return ipv4(header + payload, src=src, dst=dst, protocol=6)


def test_a_segment_that_only_the_tap_lost_does_not_hide_the_answer_behind_it(tmp_path: Path) -> None:
    invited, confirmed = 1 + len(INVITE), 1 + len(INVITE) + len(ACK)
    lost = 1 + len(TRYING)
    after = lost + len(RINGING)
    answered = after + len(OK)
    replay = replayed(
        tmp_path / "lost.pcap",
        [
            (0, segment(True, 1, 1, INVITE)),
            (0.1, segment(False, 1, invited, TRYING)),
            (2, segment(False, after, invited, OK)),
            (2.1, segment(True, invited, answered, ACK)),
            (5, segment(True, confirmed, answered, BYE)),
            (5.1, segment(False, answered, confirmed + len(BYE), GONE)),
        ],
    )
    (call,) = replay.calls
    assert (call.state, call.status, call.setup_ms, call.duration_ms) == (CallState.COMPLETED, 200, 2000.0, 3000.0)
    assert call.findings == ()
    assert replay.capture.defects["tcp_gap"] == 1


@pytest.mark.parametrize("before", [b"\r\n", b"\r\n\r\n", b"\n", b"\r\n" * 50])
def test_line_ends_before_a_message_are_passed_over(tmp_path: Path, before: bytes) -> None:
    sent = [(0, INVITE), (1, RINGING), (2, OK), (2.1, ACK), (5, BYE), (5.1, GONE)]
    plain = replayed(tmp_path / "plain.pcap", [(at, ipv4(udp(payload, 5060, 5060))) for at, payload in sent])
    later = replayed(tmp_path / "later.pcap", [(at, ipv4(udp(before + payload, 5060, 5060))) for at, payload in sent])
    assert later.sip.messages == 6
    assert (tuple(later.calls), later.sip, later.capture.defects) == (tuple(plain.calls), plain.sip, {})
