"""Capture files from frames: pcap in its four variants, and pcapng with interfaces (draft-ietf-opsawg-pcapng)."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from collector.simulator.frames import LinkType

_SECTION = 0x0A0D0D0A
_INTERFACE = 1
_ENHANCED = 6
_STATISTICS = 5
_OPTION_TSRESOL = 9
_OPTION_IFDROP = 5


def pcap(
    frames: Iterable[tuple[int, bytes]],
    *,
    link_type: LinkType = LinkType.ETHERNET,
    nanoseconds: bool = False,
    big_endian: bool = False,
    snap_length: int = 262_144,
) -> bytes:
    """A whole pcap file; times [ns] are cut to the file's resolution, frames to its snap length."""
    order = ">" if big_endian else "<"
    magic, unit = (0xA1B23C4D, 1) if nanoseconds else (0xA1B2C3D4, 1000)
    parts = [struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, snap_length, link_type)]
    for at, data in frames:
        seconds, rest = divmod(at, 1_000_000_000)
        kept = data[:snap_length]
        parts += [struct.pack(f"{order}IIII", seconds, rest // unit, len(kept), len(data)), kept]
    return b"".join(parts)


@dataclass(frozen=True, slots=True)
class Interface:
    """One interface of a pcapng section."""

    link_type: LinkType = LinkType.ETHERNET
    decimals: int = 6
    """Time resolution as a negative power of ten (if_tsresol); 6 is the default and is left out."""
    snap_length: int = 0
    """0: no limit."""
    dropped: int | None = None
    """Written as isb_ifdrop in an interface statistics block at the end."""


def pcapng(
    frames: Iterable[tuple[int, int, bytes]],
    interfaces: Sequence[Interface] = (Interface(),),
    *,
    big_endian: bool = False,
) -> bytes:
    """One section; each frame is time [ns], interface number and octets."""
    order = ">" if big_endian else "<"
    parts = [_block(order, _SECTION, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1))]
    for interface in interfaces:
        body = struct.pack(f"{order}HHI", interface.link_type, 0, interface.snap_length)
        if interface.decimals != 6:
            body += _option(order, _OPTION_TSRESOL, bytes([interface.decimals])) + _option(order, 0, b"")
        parts.append(_block(order, _INTERFACE, body))
    last = 0
    for at, number, data in frames:
        interface = interfaces[number]
        kept = data[: interface.snap_length] if interface.snap_length else data
        high, low = divmod(_ticks(at, interface), 1 << 32)
        body = struct.pack(f"{order}IIIII", number, high, low, len(kept), len(data)) + _padded(kept)
        parts.append(_block(order, _ENHANCED, body))
        last = max(last, at)
    for number, interface in enumerate(interfaces):
        if interface.dropped is not None:
            high, low = divmod(_ticks(last, interface), 1 << 32)
            dropped = _option(order, _OPTION_IFDROP, struct.pack(f"{order}Q", interface.dropped))
            body = struct.pack(f"{order}III", number, high, low) + dropped + _option(order, 0, b"")
            parts.append(_block(order, _STATISTICS, body))
    return b"".join(parts)


def _ticks(at: int, interface: Interface) -> int:
    return int(at * 10**interface.decimals // 10**9)


def _block(order: str, kind: int, body: bytes) -> bytes:
    length = 12 + len(body)
    return struct.pack(f"{order}II", kind, length) + body + struct.pack(f"{order}I", length)


def _option(order: str, code: int, value: bytes) -> bytes:
    return struct.pack(f"{order}HH", code, len(value)) + _padded(value)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
