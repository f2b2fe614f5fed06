"""Kernels that find the transport payload of a packet: link layer, VLAN, tunnels, IP, UDP, TCP.

Symbols: `window` is the uint8 array the packet lies in, `start` its first octet, `end` one past the last captured
octet, `wire_end` where it ended on the wire (`wire_end >= end`; a snap length cuts between the two). Nothing is
copied; `packet` receives what was found (see `columns`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from collector.accelerate import njit_inline
from collector.capture.columns import (
    DPORT,
    DSCP,
    DST_HI,
    DST_LO,
    FRAGMENT_ID,
    FRAGMENT_MORE,
    FRAGMENT_OFFSET,
    IP_HEADER_BAD,
    IP_HEADER_CUT,
    IP_ID,
    IP_LENGTH_LIES,
    IP_PROTOCOL,
    IP_VERSION,
    KIND_FRAGMENT,
    KIND_OTHER,
    KIND_SCTP,
    KIND_TCP,
    KIND_UDP,
    LINK_TYPE_UNSUPPORTED,
    NOT_IP,
    OTHER_PROTOCOL,
    PAYLOAD,
    PAYLOAD_CAPTURED,
    PAYLOAD_LENGTH,
    SPORT,
    SRC_HI,
    SRC_LO,
    TCP_ACK,
    TCP_FLAGS,
    TCP_HEADER_BAD,
    TCP_SEQ,
    TTL,
    TUNNELLED,
    TUNNELS_TOO_DEEP,
    UDP_HEADER_CUT,
    UDP_LENGTH_LIES,
)
from collector.loads import be16, be32, be64

Octets = NDArray[np.uint8]
Integers = NDArray[np.int64]

MAX_LAYERS = 16

# Pseudo EtherTypes for what has no EtherType of its own.
AS_ETHERNET = -1
AS_IP = -2  # version nibble decides
AS_PPP = -3
UNSUPPORTED = -4

MAPPED = 0xFFFF00000000  # ::ffff:0:0/96, RFC 4291 2.5.5.2


@njit_inline
def link_layer(window: Octets, start: int, end: int, link_type: int) -> tuple[int, int]:
    """Where the network layer begins and its EtherType, for a LINKTYPE_ of the pcap registry."""
    if link_type == 1:  # Ethernet
        return start, AS_ETHERNET
    if link_type == 113:  # Linux cooked v1
        if end - start < 16:
            return start, 0
        return start + 16, be16(window, start + 14)
    if link_type == 276:  # Linux cooked v2
        if end - start < 20:
            return start, 0
        return start + 20, be16(window, start)
    if link_type in (12, 14, 101, 228, 229):  # raw IP, also under its platform-dependent numbers
        return start, AS_IP
    if link_type in (0, 108):  # BSD loopback: a family in host or network byte order; IP follows either way
        return start + 4, AS_IP
    if link_type in (9, 50):  # PPP, with or without address and control octets (RFC 1662)
        if end - start >= 4 and window[start] == 0xFF and window[start + 1] == 0x03:
            return start + 2, AS_PPP
        return start, AS_PPP
    return start, UNSUPPORTED


@njit_inline
def ether_layer(window: Octets, at: int, end: int, ethertype: int) -> tuple[int, int]:
    """One step through VLAN tags, MPLS, PPPoE and PPP: the next layer's offset and EtherType (0: not IP)."""
    if ethertype == AS_ETHERNET:
        if end - at < 14:
            return at, 0
        return at + 14, be16(window, at + 12)
    if ethertype == 0x8100 or ethertype == 0x88A8 or ethertype == 0x9100:  # 802.1Q, 802.1ad
        if end - at < 4:
            return at, 0
        return at + 4, be16(window, at + 2)
    if ethertype == 0x8847 or ethertype == 0x8848:  # MPLS: to the bottom of the stack
        while end - at >= 4:
            bottom = window[at + 2] & 1
            at += 4
            if bottom == 1:
                return at, AS_IP
        return at, 0
    if ethertype == 0x8864:  # PPPoE session (RFC 2516)
        return at + 6, AS_PPP
    if ethertype == AS_PPP:
        if end - at < 2:
            return at, 0
        if window[at] & 1:  # compressed protocol field (RFC 1661 6.5)
            protocol = np.int64(window[at])
            at += 1
        else:
            protocol = be16(window, at)
            at += 2
        if protocol == 0x21:
            return at, 0x0800
        if protocol == 0x57:
            return at, 0x86DD
        return at, 0
    if ethertype == AS_IP:
        if end - at < 1:
            return at, 0
        version = window[at] >> 4
        if version == 4:
            return at, 0x0800
        if version == 6:
            return at, 0x86DD
    return at, 0


@njit_inline
def ip_limits(start: int, total: int, end: int, wire_end: int, counters: Integers) -> tuple[int, int]:
    """Ends of an IP packet in the capture and on the wire; a length field that claims too much is cut and counted."""
    if total == 0:  # segmentation offload leaves 0 in the header that the tap sees
        return end, wire_end
    if start + total > wire_end:
        counters[IP_LENGTH_LIES] += 1
        return end, wire_end
    return min(end, start + total), start + total


@njit_inline
def ipv4(
    window: Octets, at: int, end: int, wire_end: int, packet: Integers, counters: Integers
) -> tuple[int, int, int, int]:
    """RFC 791: payload offset, captured end, wire end, protocol (-1: unusable, -2: a fragment)."""
    if end - at < 20:
        counters[IP_HEADER_CUT] += 1
        return at, end, wire_end, -1
    header = np.int64(window[at] & 15) * 4
    total = be16(window, at + 2)
    if window[at] >> 4 != 4 or header < 20 or (total != 0 and total < header):
        counters[IP_HEADER_BAD] += 1
        return at, end, wire_end, -1
    end, wire_end = ip_limits(at, total, end, wire_end, counters)
    if at + header > end:
        counters[IP_HEADER_CUT] += 1
        return at, end, wire_end, -1
    packet[IP_VERSION] = 4
    packet[DSCP] = window[at + 1] >> 2
    packet[IP_ID] = be16(window, at + 4)
    packet[TTL] = window[at + 8]
    packet[IP_PROTOCOL] = window[at + 9]
    packet[SRC_HI] = 0
    packet[SRC_LO] = MAPPED | be32(window, at + 12)
    packet[DST_HI] = 0
    packet[DST_LO] = MAPPED | be32(window, at + 16)
    fragment = be16(window, at + 6)
    if fragment & 0x3FFF:
        packet[FRAGMENT_OFFSET] = (fragment & 0x1FFF) * 8
        packet[FRAGMENT_MORE] = (fragment >> 13) & 1
        packet[FRAGMENT_ID] = packet[IP_ID]
        packet[PAYLOAD] = at + header
        packet[PAYLOAD_CAPTURED] = end - at - header
        packet[PAYLOAD_LENGTH] = wire_end - at - header
        return at + header, end, wire_end, -2
    return at + header, end, wire_end, packet[IP_PROTOCOL]


@njit_inline
def ipv6(
    window: Octets, at: int, end: int, wire_end: int, packet: Integers, counters: Integers
) -> tuple[int, int, int, int]:
    """RFC 8200: as `ipv4`, extension headers walked."""
    if end - at < 40:
        counters[IP_HEADER_CUT] += 1
        return at, end, wire_end, -1
    if window[at] >> 4 != 6:
        counters[IP_HEADER_BAD] += 1
        return at, end, wire_end, -1
    length = be16(window, at + 4)
    end, wire_end = ip_limits(at, length + 40 if length else 0, end, wire_end, counters)
    packet[IP_VERSION] = 6
    packet[DSCP] = (be16(window, at) >> 6) & 63
    packet[IP_ID] = 0
    packet[TTL] = window[at + 7]
    packet[SRC_HI] = be64(window, at + 8)
    packet[SRC_LO] = be64(window, at + 16)
    packet[DST_HI] = be64(window, at + 24)
    packet[DST_LO] = be64(window, at + 32)
    protocol = np.int64(window[at + 6])
    at += 40
    for _ in range(8):
        if protocol == 0 or protocol == 43 or protocol == 60:  # hop-by-hop, routing, destination options
            if end - at < 8:
                break
            protocol, at = np.int64(window[at]), at + 8 + np.int64(window[at + 1]) * 8
        elif protocol == 51:  # authentication header (RFC 4302), lengths in 4 octets
            if end - at < 8:
                break
            protocol, at = np.int64(window[at]), at + 8 + np.int64(window[at + 1]) * 4
        elif protocol == 44:
            if end - at < 8:
                break
            offset = be16(window, at + 2)
            following = np.int64(window[at])
            packet[IP_PROTOCOL] = following
            packet[FRAGMENT_OFFSET] = offset & 0xFFF8
            packet[FRAGMENT_MORE] = offset & 1
            packet[FRAGMENT_ID] = be32(window, at + 4)
            packet[PAYLOAD] = at + 8
            packet[PAYLOAD_CAPTURED] = end - at - 8
            packet[PAYLOAD_LENGTH] = wire_end - at - 8
            if offset & 0xFFF9:
                return at + 8, end, wire_end, -2
            protocol, at = following, at + 8  # an atomic fragment (RFC 6946) is a whole packet
        else:
            packet[IP_PROTOCOL] = protocol
            if at > end:
                break
            return at, end, wire_end, protocol
    counters[IP_HEADER_CUT] += 1
    return at, end, wire_end, -1


@njit_inline
def gre(window: Octets, at: int, end: int) -> tuple[int, int]:
    """RFC 2784 and 2890, ERSPAN I to III inside: the payload's offset and EtherType (0: not for us)."""
    if end - at < 4:
        return at, 0
    flags = be16(window, at)
    protocol = be16(window, at + 2)
    if flags & 0x4007:  # source routing, or PPTP's version 1
        return at, 0
    at += 4
    if flags & 0x8000:
        at += 4
    if flags & 0x2000:
        at += 4
    if flags & 0x1000:
        at += 4
    if protocol == 0x88BE:  # ERSPAN I has no sequence number and no header of its own; II has both
        return at + 8 if flags & 0x1000 else at, AS_ETHERNET
    if protocol == 0x22EB:  # ERSPAN III: 12 octets, and 8 more when the O bit says so
        if end - at < 12:
            return at, 0
        return at + 12 + 8 * np.int64(window[at + 11] & 1), AS_ETHERNET
    if protocol == 0x6558:
        return at, AS_ETHERNET
    if protocol == 0x880B:
        return at, AS_PPP
    return at, protocol


@njit_inline
def udp(window: Octets, at: int, end: int, wire_end: int, packet: Integers, counters: Integers) -> int:
    """RFC 768."""
    if end - at < 8:
        counters[UDP_HEADER_CUT] += 1
        return KIND_OTHER
    packet[SPORT] = be16(window, at)
    packet[DPORT] = be16(window, at + 2)
    length = be16(window, at + 4)
    available = wire_end - at
    if length == 0:  # jumbo and offloaded datagrams
        length = available
    if length < 8 or length > available:
        counters[UDP_LENGTH_LIES] += 1
        length = available
    packet[PAYLOAD] = at + 8
    packet[PAYLOAD_LENGTH] = length - 8
    packet[PAYLOAD_CAPTURED] = min(length - 8, end - at - 8)
    return KIND_UDP


@njit_inline
def tcp(window: Octets, at: int, end: int, wire_end: int, packet: Integers, counters: Integers) -> int:
    """RFC 9293 3.1."""
    if end - at < 20:
        counters[TCP_HEADER_BAD] += 1
        return KIND_OTHER
    header = np.int64(window[at + 12] >> 4) * 4
    if header < 20 or at + header > wire_end:
        counters[TCP_HEADER_BAD] += 1
        return KIND_OTHER
    packet[SPORT] = be16(window, at)
    packet[DPORT] = be16(window, at + 2)
    packet[TCP_SEQ] = be32(window, at + 4)
    packet[TCP_ACK] = be32(window, at + 8)
    packet[TCP_FLAGS] = window[at + 13]
    packet[PAYLOAD] = at + header
    packet[PAYLOAD_LENGTH] = wire_end - at - header
    packet[PAYLOAD_CAPTURED] = max(0, end - at - header)
    return KIND_TCP


@njit_inline
def tunnel(window: Octets, at: int, end: int, protocol: int) -> tuple[int, int]:
    """What an IP protocol carries inside, as offset and EtherType; UNSUPPORTED when it is no tunnel."""
    if protocol == 4:
        return at, 0x0800
    if protocol == 41:
        return at, 0x86DD
    if protocol == 47:
        return gre(window, at, end)
    if protocol == 17 and end - at >= 16 and be16(window, at + 2) == 4789 and window[at + 8] & 0x08:  # VXLAN, RFC 7348
        return at + 16, AS_ETHERNET
    return at, UNSUPPORTED


@njit_inline
def dissect(
    window: Octets, start: int, end: int, wire_end: int, link_type: int, packet: Integers, counters: Integers
) -> int:
    """Walk one packet down to its transport payload and say which kind it is."""
    at, ethertype = link_layer(window, start, end, link_type)
    if ethertype == UNSUPPORTED:
        counters[LINK_TYPE_UNSUPPORTED] += 1
        return KIND_OTHER
    for _ in range(MAX_LAYERS):
        if ethertype == 0x0800:
            at, end, wire_end, protocol = ipv4(window, at, end, wire_end, packet, counters)
        elif ethertype == 0x86DD:
            at, end, wire_end, protocol = ipv6(window, at, end, wire_end, packet, counters)
        elif ethertype == 0:
            counters[NOT_IP] += 1
            return KIND_OTHER
        else:
            at, ethertype = ether_layer(window, at, end, ethertype)
            continue
        if protocol == -1:
            return KIND_OTHER
        if protocol == -2:
            return KIND_FRAGMENT
        at, ethertype = tunnel(window, at, end, protocol)
        if ethertype != UNSUPPORTED:
            counters[TUNNELLED] += 1
        elif protocol == 17:
            return udp(window, at, end, wire_end, packet, counters)
        elif protocol == 6:
            return tcp(window, at, end, wire_end, packet, counters)
        elif protocol == 132:
            packet[PAYLOAD] = at
            packet[PAYLOAD_LENGTH] = wire_end - at
            packet[PAYLOAD_CAPTURED] = end - at
            return KIND_SCTP
        else:
            counters[OTHER_PROTOCOL] += 1
            return KIND_OTHER
    counters[TUNNELS_TOO_DEEP] += 1
    return KIND_OTHER
