"""Frames around a UDP payload: Ethernet II, 802.1Q, IPv4 and IPv6 with correct lengths and checksums."""

from __future__ import annotations

import ipaddress
import struct
from enum import IntEnum

from collector.facts import Endpoint


class LinkType(IntEnum):
    """Link types of tcpdump.org/linktypes.html that the simulator writes."""

    ETHERNET = 1
    RAW_IP = 101


_ETHER_IPV4 = 0x0800
_ETHER_IPV6 = 0x86DD
_ETHER_VLAN = 0x8100
_UDP = 17
_DONT_FRAGMENT = 0x4000
_MACS = bytes.fromhex("020000000002020000000001")
"""Destination and source: locally administered addresses."""


def checksum(data: bytes) -> int:
    """Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def udp_packet(src: Endpoint, dst: Endpoint, payload: bytes, *, ip_id: int = 0, dscp: int = 0) -> bytes:
    """An IP packet, version by the addresses, that carries `payload` over UDP."""
    source, target = ipaddress.ip_address(src.ip), ipaddress.ip_address(dst.ip)
    length = 8 + len(payload)
    udp = struct.pack("!HHHH", src.port, dst.port, length, 0)
    pseudo = source.packed + target.packed + struct.pack("!IHH", length, 0, _UDP)
    sum_udp = checksum(pseudo + udp + payload) or 0xFFFF  # RFC 768: a computed zero is sent as all ones
    udp = udp[:6] + struct.pack("!H", sum_udp)
    if source.version == 6:
        header = struct.pack("!IHBB", 0x60000000 | dscp << 22, length, _UDP, 64) + source.packed + target.packed
        return header + udp + payload
    header = struct.pack("!BBHHHBBH", 0x45, dscp << 2, 20 + length, ip_id & 0xFFFF, _DONT_FRAGMENT, 64, _UDP, 0)
    header += source.packed + target.packed
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + udp + payload


def frame(packet: bytes, link_type: LinkType = LinkType.ETHERNET, vlans: tuple[int, ...] = ()) -> bytes:
    """The IP packet on its link, behind 802.1Q tags where `vlans` names some (outermost first)."""
    if link_type == LinkType.RAW_IP:
        return packet
    tags = b"".join(struct.pack("!HH", _ETHER_VLAN, vlan) for vlan in vlans)
    ether_type = _ETHER_IPV6 if packet[0] >> 4 == 6 else _ETHER_IPV4
    return _MACS + tags + struct.pack("!H", ether_type) + packet
