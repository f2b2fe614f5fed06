"""A small capture crafted with scapy: one call with audio both ways, one refused call."""

from __future__ import annotations

from pathlib import Path

from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw
from scapy.utils import wrpcap

CALLER, CALLEE = "10.1.4.7", "10.9.0.2"
START_S = 1_759_500_310
GOOD_CALL, REFUSED_CALL = "a84b4c76e66710@10.1.4.7", "f00d-1@10.1.4.7"
PACKETS_EACH_WAY = 250
LOST_AT = 100
DIGITS = "01632960001", "01632960002"


def datagram(src: str, sport: int, dst: str, dport: int, payload: bytes, at: float) -> Packet:
    packet = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    packet = packet / IP(src=src, dst=dst) / UDP(sport=sport, dport=dport) / Raw(payload)
    packet.time = START_S + at
    return packet


def description(ip: str, port: int) -> str:
    return (
        f"v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n"
        f"m=audio {port} RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\na=ptime:20\r\n"
    )


def message(start_line: str, call_id: str, cseq: str, to_tag: str = "", body: str = "", branch: str = "1") -> bytes:
    content = "Content-Type: application/sdp\r\n" if body else ""
    return (
        f"{start_line}\r\nVia: SIP/2.0/UDP {CALLER}:5060;branch=z9hG4bK{branch}{call_id[:4]}\r\nMax-Forwards: 70\r\n"
        f"From: <sip:{DIGITS[0]}@{CALLER}>;tag=f{call_id[:4]}\r\nTo: <sip:{DIGITS[1]}@{CALLEE}>{to_tag}\r\n"
        f"Call-ID: {call_id}\r\nCSeq: {cseq}\r\nContact: <sip:{DIGITS[0]}@{CALLER}:5060>\r\n{content}"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def signalling() -> list[Packet]:
    uri, tag = f"sip:{DIGITS[1]}@{CALLEE}", ";tag=t1"
    there = [
        (0.0, message(f"INVITE {uri} SIP/2.0", GOOD_CALL, "1 INVITE", body=description(CALLER, 16402))),
        (2.1, message(f"ACK {uri} SIP/2.0", GOOD_CALL, "1 ACK", tag, branch="2")),
        (12.0, message(f"BYE {uri} SIP/2.0", GOOD_CALL, "2 BYE", tag, branch="3")),
        (20.0, message(f"INVITE {uri} SIP/2.0", REFUSED_CALL, "1 INVITE", body=description(CALLER, 16404))),
        (20.6, message(f"ACK {uri} SIP/2.0", REFUSED_CALL, "1 ACK", ";tag=t2")),
    ]
    back = [
        (1.0, message("SIP/2.0 180 Ringing", GOOD_CALL, "1 INVITE", tag)),
        (2.0, message("SIP/2.0 200 OK", GOOD_CALL, "1 INVITE", tag, description(CALLEE, 24080))),
        (12.1, message("SIP/2.0 200 OK", GOOD_CALL, "2 BYE", tag, branch="3")),
        (20.5, message("SIP/2.0 503 Service Unavailable", REFUSED_CALL, "1 INVITE", ";tag=t2")),
    ]
    sent = [datagram(CALLER, 5060, CALLEE, 5060, payload, at) for at, payload in there]
    return sent + [datagram(CALLEE, 5060, CALLER, 5060, payload, at) for at, payload in back]


def rtp(sequence: int, ssrc: int) -> bytes:
    head = (
        bytes([0x80, 8]) + sequence.to_bytes(2, "big") + (sequence * 160).to_bytes(4, "big") + ssrc.to_bytes(4, "big")
    )
    return head + bytes([0xD5]) * 160


def media() -> list[Packet]:
    packets = []
    for index in range(PACKETS_EACH_WAY):
        at = 2.2 + index * 0.02
        packets.append(datagram(CALLER, 16402, CALLEE, 24080, rtp(1000 + index, 0xA1), at))
        if index != LOST_AT:
            packets.append(datagram(CALLEE, 24080, CALLER, 16402, rtp(2000 + index, 0xB2), at + 0.005))
    return packets


def write_capture(path: Path) -> Path:
    """Write the capture in time order."""
    wrpcap(str(path), sorted(signalling() + media(), key=lambda packet: float(packet.time)))
    return path
