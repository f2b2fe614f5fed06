"""Packets and capture files by hand, octet by octet, so that a test can make them as wrong as it likes."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from ipaddress import IPv4Address

SRC, DST = "192.0.2.10", "198.51.100.20"
SPORT, DPORT = 16384, 20000
START = 1_700_000_000_000_000_000


def udp(payload: bytes, sport: int = SPORT, dport: int = DPORT) -> bytes:
    return struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload


def ipv4(
    payload: bytes, *, src: str = SRC, dst: str = DST, protocol: int = 17, ip_id: int = 0, ttl: int = 64, dscp: int = 0
) -> bytes:
    """Header checksums are left out: captures with offload have wrong ones all the time."""
    head = struct.pack("!BBHHHBBH", 0x45, dscp << 2, 20 + len(payload), ip_id, 0, ttl, protocol, 0)
    return head + IPv4Address(src).packed + IPv4Address(dst).packed + payload


def rtp(seq: int, timestamp: int, ssrc: int = 0x1234ABCD, payload_type: int = 8, marker: bool = False) -> bytes:
    """An RTP header (RFC 3550 5.1) without payload."""
    return struct.pack("!BBHII", 0x80, marker << 7 | payload_type, seq & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc)


def pcap(
    records: Iterable[tuple[int, bytes]], link_type: int = 101, *, big: bool = False, snap_length: int = 262_144
) -> bytes:
    """A capture with nanoseconds (draft-ietf-opsawg-pcap); records are arrival [ns] and octets."""
    order = ">" if big else "<"
    parts = [struct.pack(f"{order}IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, snap_length, link_type)]
    for at, data in records:
        seconds, rest = divmod(at, 1_000_000_000)
        kept = data[:snap_length]
        parts.append(struct.pack(f"{order}IIII", seconds, rest, len(kept), len(data)) + kept)
    return b"".join(parts)
