"""What stands before a mirrored frame: VXLAN (RFC 7348), GRE (RFC 2784, RFC 2890) and ERSPAN (draft-foschiano-erspan).

Each function gives where the Ethernet frame begins in what a socket received, or raises the one named error.
"""

from __future__ import annotations

from typing import Final

VXLAN_OCTETS: Final = 8
VXLAN_VALID: Final = 0x08
ETHERNET_OCTETS: Final = 14
TRANSPARENT_ETHERNET: Final = 0x6558
ERSPAN_I_II: Final = 0x88BE
ERSPAN_III: Final = 0x22EB
_CHECKSUM, _ROUTING, _KEY, _SEQUENCE, _VERSION = 0x8000, 0x4000, 0x2000, 0x1000, 0x0007

DEFECTS: Final = (
    "vxlan_short",
    "vxlan_without_flag",
    "gre_short",
    "gre_version",
    "gre_routing",
    "gre_other_protocol",
    "erspan_short",
    "erspan_version",
    "erspan_no_ethernet",
    "ip_short",
    "ip_fragment",
)
"""Names of what may be wrong."""


class MirrorError(ValueError):
    """What was received holds no mirrored frame; the text is one of `DEFECTS`."""


def vxlan_frame(data: bytes | memoryview) -> int:
    """Where the frame begins in the payload of a UDP datagram (RFC 7348 5)."""
    if len(data) < VXLAN_OCTETS + ETHERNET_OCTETS:
        raise MirrorError("vxlan_short")
    if not data[0] & VXLAN_VALID:
        raise MirrorError("vxlan_without_flag")
    return VXLAN_OCTETS


def gre_begin(data: bytes | memoryview) -> int:
    """Where GRE begins in what a raw socket of IPv4 gives: the header of IP stands before it (raw(7))."""
    if len(data) < 20 or (size := (data[0] & 15) * 4) < 20:
        raise MirrorError("ip_short")
    if int.from_bytes(data[6:8], "big") & 0x3FFF:
        raise MirrorError("ip_fragment")  # the kernel puts fragments together before
    return size


def gre_frame(data: bytes | memoryview, at: int) -> int:
    """Where the frame begins in GRE at `at`: ERSPAN I to III, or an Ethernet frame as it is (RFC 1701: 0x6558)."""
    if len(data) < at + 4:
        raise MirrorError("gre_short")
    flags, protocol = int.from_bytes(data[at : at + 2], "big"), int.from_bytes(data[at + 2 : at + 4], "big")
    if flags & _VERSION:
        raise MirrorError("gre_version")
    if flags & _ROUTING:
        raise MirrorError("gre_routing")
    begin = at + 4 + 4 * (bool(flags & _CHECKSUM) + bool(flags & _KEY) + bool(flags & _SEQUENCE))
    if protocol == ERSPAN_III:
        begin = _erspan_iii(data, begin)
    elif protocol == ERSPAN_I_II:
        # Type I has neither sequence numbers nor a header of its own, II has both (4.1, 4.2).
        begin += 8 if flags & _SEQUENCE else 0
    elif protocol != TRANSPARENT_ETHERNET:
        raise MirrorError("gre_other_protocol")
    if len(data) < begin + ETHERNET_OCTETS:
        raise MirrorError("gre_short" if protocol == TRANSPARENT_ETHERNET else "erspan_short")
    return begin


def _erspan_iii(data: bytes | memoryview, at: int) -> int:
    """The header of type III: 12 octets, and 8 more where the O bit says so (4.3)."""
    if len(data) < at + 12:
        raise MirrorError("erspan_short")
    if data[at] >> 4 != 2:
        raise MirrorError("erspan_version")
    if (data[at + 10] >> 2) & 31:
        raise MirrorError("erspan_no_ethernet")  # FT: 0 is an Ethernet frame, 2 an IP packet
    return at + 12 + 8 * (data[at + 11] & 1)
