"""Capture file headers and the pcapng blocks that hold no packet: pure functions on bytes.

Packet records are walked by the kernel in `collector.walk_numba_fns`; this says how to read them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from collector.capture.columns import FORMAT_PCAP, FORMAT_PCAPNG

PCAP_MAGICS = {
    bytes.fromhex("d4c3b2a1"): (False, 1_000_000, 16),
    bytes.fromhex("a1b2c3d4"): (True, 1_000_000, 16),
    bytes.fromhex("4d3cb2a1"): (False, 1_000_000_000, 16),
    bytes.fromhex("a1b23c4d"): (True, 1_000_000_000, 16),
    # Kuznetzov's variant: eight more octets in each record header
    bytes.fromhex("34cdb2a1"): (False, 1_000_000, 24),
    bytes.fromhex("a1b2cd34"): (True, 1_000_000, 24),
}
"""First four octets of a pcap file: big-endian, ticks a second, length of a record header."""

PCAPNG_MAGIC = bytes.fromhex("0a0d0d0a")
PCAP_HEADER = 24
BLOCK_SECTION = 0x0A0D0D0A
BLOCK_INTERFACE = 1
BLOCK_STATISTICS = 5

LINK_NAMES = {
    0: "bsd_loopback",
    1: "ethernet",
    9: "ppp",
    12: "raw_ip",
    14: "raw_ip",
    50: "ppp",
    101: "raw_ip",
    108: "bsd_loopback",
    113: "linux_cooked_v1",
    228: "raw_ip",
    229: "raw_ip",
    276: "linux_cooked_v2",
}
"""LINKTYPE_ numbers of the pcap registry that are read; another is named by its number."""

PCAP_SNAP_LIMIT = 1 << 25


class FormatError(ValueError):
    """These bytes cannot be what they should be; the message says what is wrong."""


class Interface(NamedTuple):
    """How to read the packets of one capture interface."""

    link_type: int
    ticks_per_second: int = 1_000_000
    time_offset: int = 0
    """[ns]"""
    snap_length: int = 0


@dataclass(frozen=True, slots=True)
class FileHeader:
    """What the first octets of a capture say."""

    format: int
    """FORMAT_PCAP or FORMAT_PCAPNG."""
    swapped: bool
    """Big-endian."""
    record_header: int
    size: int
    """Octets to skip before the first record; 0 for pcapng, whose section header is a block like others."""
    interface: Interface | None


def link_name(link_type: int) -> str:
    """The name a report uses for a LINKTYPE_ number."""
    return LINK_NAMES.get(link_type, f"link_type_{link_type}")


def read_file_header(data: bytes) -> FileHeader | None:
    """Header of a capture that begins with `data`; None when more octets are needed.

    Raises FormatError when this is not a capture file.
    """
    magic = data[:4]
    if magic == PCAPNG_MAGIC:
        return FileHeader(FORMAT_PCAPNG, False, 0, 0, None)
    known = PCAP_MAGICS.get(magic)
    if known is None:
        if len(magic) < 4 and any(m.startswith(magic) for m in (*PCAP_MAGICS, PCAPNG_MAGIC)):
            return None
        raise FormatError("not a capture: it begins like neither pcap nor pcapng")
    if len(data) < PCAP_HEADER:
        return None
    swapped, ticks, record_header = known
    order = "big" if swapped else "little"
    snap_length = int.from_bytes(data[16:20], order)  # type: ignore[arg-type]
    # The upper bits hold the FCS length and are no part of the type (draft-ietf-opsawg-pcap 4).
    link_type = int.from_bytes(data[20:24], order) & 0xFFFF  # type: ignore[arg-type]
    interface = Interface(link_type, ticks, 0, min(snap_length, PCAP_SNAP_LIMIT))
    return FileHeader(FORMAT_PCAP, swapped, record_header, PCAP_HEADER, interface)


def section_is_big_endian(block: bytes) -> bool:
    """Byte order of a section header block (draft-ietf-opsawg-pcapng 4.1). Raises FormatError."""
    if block[8:12] == bytes.fromhex("1a2b3c4d"):
        return True
    if block[8:12] == bytes.fromhex("4d3c2b1a"):
        return False
    raise FormatError("a section header without a byte-order magic")


def block_length(head: bytes, swapped: bool) -> int:
    """Total length of the block that begins with these octets. Raises FormatError when it cannot be one."""
    length = int.from_bytes(head[4:8], "big" if swapped else "little")
    if length < 12 or length % 4 or length > 1 << 25:
        raise FormatError(f"a block of {length} octets")
    return length


def options(data: bytes, swapped: bool) -> Iterator[tuple[int, bytes]]:
    """Options of a block (draft-ietf-opsawg-pcapng 3.5); a length that leaves the block ends the list."""
    order = "big" if swapped else "little"
    at = 0
    while at + 4 <= len(data):
        code = int.from_bytes(data[at : at + 2], order)  # type: ignore[arg-type]
        length = int.from_bytes(data[at + 2 : at + 4], order)  # type: ignore[arg-type]
        if code == 0 or at + 4 + length > len(data):
            return
        yield code, data[at + 4 : at + 4 + length]
        at += 4 + (length + 3) // 4 * 4


def read_interface(block: bytes, swapped: bool) -> Interface:
    """Interface description block (4.2): if_tsresol (9) and if_tsoffset (14) among its options. Raises FormatError."""
    if len(block) < 20:
        raise FormatError("an interface description that is too short")
    order = "big" if swapped else "little"
    link_type = int.from_bytes(block[8:10], order)  # type: ignore[arg-type]
    snap_length = int.from_bytes(block[12:16], order)  # type: ignore[arg-type]
    ticks = 1_000_000
    offset = 0
    for code, value in options(block[16:-4], swapped):
        if code == 9 and value:
            base, exponent = (2, value[0] & 0x7F) if value[0] & 0x80 else (10, value[0])
            if base**exponent >= 1 << 62:
                raise FormatError(f"a time resolution of {base}^-{exponent} s")
            ticks = base**exponent
        elif code == 14 and len(value) == 8:
            seconds = int.from_bytes(value, order, signed=True)  # type: ignore[arg-type]
            if abs(seconds) < 1 << 33:
                offset = seconds * 1_000_000_000
    return Interface(link_type, ticks, offset, snap_length)


def read_drops(block: bytes, swapped: bool) -> tuple[int, int | None]:
    """Interface statistics block (4.6): the interface and what it dropped (isb_ifdrop 5, isb_osdrop 7), None unsaid."""
    order = "big" if swapped else "little"
    interface = int.from_bytes(block[8:12], order)  # type: ignore[arg-type]
    dropped = None
    for code, value in options(block[20:-4], swapped):
        if code in (5, 7) and len(value) == 8:
            dropped = (dropped or 0) + int.from_bytes(value, order)  # type: ignore[arg-type]
    return interface, dropped
