"""Packets that scapy built, with every layer that may lie between the wire and UDP; and octets that are no packet."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scapy.contrib.erspan import ERSPAN_II, ERSPAN_III
from scapy.contrib.mpls import MPLS
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
)
from scapy.layers.l2 import ARP, GRE, CookedLinux, CookedLinuxV2, Dot1AD, Dot1Q, Ether, Loopback
from scapy.layers.ppp import HDLC, PPP, PPPoE
from scapy.layers.sctp import SCTP
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet, Raw

from collector.accelerate import njit
from collector.capture import columns as c
from collector.capture.dissect_numba_fns import dissect

SIGN = 1 << 64
PAYLOAD = b"INVITE sip:1002@198.51.100.20 SIP/2.0\r\n\r\n"
LINK_TYPES = (0, 1, 9, 12, 14, 50, 101, 108, 113, 228, 229, 276, 147)
TUNNELS_TOO_MANY = 20


@njit
def dissected(
    window: NDArray[np.uint8],
    start: int,
    end: int,
    wire_end: int,
    link_type: int,
    packet: NDArray[np.int64],
    counters: NDArray[np.int64],
) -> int:
    """The dissector as a kernel of its own: elsewhere it is compiled into the walk."""
    return dissect(window, start, end, wire_end, link_type, packet, counters)


class Found(NamedTuple):
    kind: int
    src: str
    sport: int
    dst: str
    dport: int
    payload: bytes
    length: int
    """Octets of the payload on the wire."""
    packet: Mapping[str, int]
    counters: Mapping[str, int]


FIELDS = {
    name: getattr(c, name)
    for name in ("DSCP", "TTL", "IP_ID", "IP_VERSION", "TCP_SEQ", "TCP_ACK", "TCP_FLAGS", "FRAGMENT_OFFSET",
                 "FRAGMENT_MORE", "FRAGMENT_ID", "IP_PROTOCOL")
}  # fmt: skip


def address(hi: int, lo: int) -> str:
    whole = ip_address((hi % SIGN) << 64 | lo % SIGN)
    mapped = getattr(whole, "ipv4_mapped", None)
    return str(mapped or whole)


def look(octets: bytes, link_type: int, *, wire: int | None = None, margin: int = 40) -> Found:
    """Dissect octets that lie amid others, which must not matter."""
    window = np.frombuffer(b"\x45" * margin + octets + b"\xff" * margin, np.uint8)
    packet, counters = np.zeros(c.PENDING_COLUMNS, np.int64), np.zeros(c.COUNTERS, np.int64)
    end = margin + len(octets)
    kind = dissected(window, margin, end, margin + (wire or len(octets)), link_type, packet, counters)
    row = packet.tolist()
    start, captured = row[c.PAYLOAD], row[c.PAYLOAD_CAPTURED]
    if kind != c.KIND_OTHER:
        assert margin <= start <= start + max(captured, 0) <= end
        assert captured <= row[c.PAYLOAD_LENGTH]
    return Found(
        kind,
        address(row[c.SRC_HI], row[c.SRC_LO]),
        row[c.SPORT],
        address(row[c.DST_HI], row[c.DST_LO]),
        row[c.DPORT],
        window[start : start + max(captured, 0)].tobytes(),
        row[c.PAYLOAD_LENGTH],
        {name: row[column] for name, column in FIELDS.items()},
        {name: count for name, count in zip(c.COUNTER_NAMES, counters.tolist(), strict=True) if count},
    )


def v4(**more: Any) -> Packet:
    return IP(src="192.0.2.10", dst="198.51.100.20", **more)


def v6(**more: Any) -> Packet:
    return IPv6(src="2001:db8::a", dst="2001:db8:1::14", **more)


INNER4 = v4(tos=46 << 2, ttl=61, id=777) / UDP(sport=5060, dport=5062) / Raw(PAYLOAD)
INNER6 = v6(tc=46 << 2, hlim=61) / UDP(sport=5060, dport=5062) / Raw(PAYLOAD)
OUTER4 = IP(src="203.0.113.1", dst="203.0.113.2")
OUTER6 = IPv6(src="2001:db8:f::1", dst="2001:db8:f::2")
ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
ROUTED = IPv6ExtHdrRouting(addresses=["2001:db8::99"], segleft=0)


def erspan_i(inner: bytes) -> Packet:
    """ERSPAN type I: GRE without a sequence number, the frame at once (draft-foschiano-erspan 4.1)."""
    return OUTER4 / GRE(proto=0x88BE) / Raw(inner)


ON_LINKS: Mapping[str, tuple[int, Packet]] = {
    "Ethernet": (1, ETHER / INNER4),
    "802.1Q": (1, ETHER / Dot1Q(vlan=100) / INNER4),
    "802.1ad": (1, ETHER / Dot1AD(vlan=100) / Dot1Q(vlan=7) / INNER4),
    "QinQ as 802.1Q twice": (1, ETHER / Dot1Q(vlan=100) / Dot1Q(vlan=7) / INNER4),
    "MPLS": (1, ETHER / MPLS(label=16, s=1) / INNER4),
    "MPLS of three labels": (1, ETHER / MPLS(label=16, s=0) / MPLS(label=17, s=0) / MPLS(label=18, s=1) / INNER4),
    "PPPoE": (1, ETHER / PPPoE() / PPP() / INNER4),
    "PPPoE in a VLAN": (1, ETHER / Dot1Q(vlan=5) / PPPoE() / PPP() / INNER4),
    "PPP": (9, PPP() / INNER4),
    "PPP like HDLC": (9, HDLC() / PPP() / INNER4),
    "PPP of the number 50": (50, HDLC() / PPP() / INNER4),
    "cooked": (113, CookedLinux() / INNER4),
    "cooked v2": (276, CookedLinuxV2() / INNER4),
    "cooked with a VLAN": (113, CookedLinux(proto=0x8100) / Raw(struct.pack("!HH", 100, 0x800) + bytes(INNER4))),
    "raw IP": (101, INNER4),
    "raw IP of the number 12": (12, INNER4),
    "raw IP of the number 14": (14, INNER4),
    "raw IPv4": (228, INNER4),
    "BSD loopback": (0, Loopback(type=2) / INNER4),
    "BSD loopback in network order": (108, Raw(struct.pack("!I", 2)) / INNER4),
    "IP in IP": (101, OUTER4 / INNER4),
    "IPv4 in IPv6": (101, OUTER6 / INNER4),
    "GRE": (101, OUTER4 / GRE() / INNER4),
    "GRE with key, checksum and sequence": (
        101,
        OUTER4 / GRE(chksum_present=1, key_present=1, seqnum_present=1, key=9, sequence_number=3) / INNER4,
    ),
    "GRE that bridges": (101, OUTER4 / GRE(proto=0x6558) / ETHER / INNER4),
    "ERSPAN I": (101, erspan_i(bytes(ETHER / INNER4))),
    "ERSPAN II": (101, OUTER4 / GRE(proto=0x88BE, seqnum_present=1) / ERSPAN_II() / ETHER / INNER4),
    "ERSPAN III": (101, OUTER4 / GRE(proto=0x22EB, seqnum_present=1) / ERSPAN_III() / ETHER / INNER4),
    "VXLAN": (1, ETHER / OUTER4 / UDP(sport=40000, dport=4789) / VXLAN(vni=7, flags="Instance") / ETHER / INNER4),
    "IPv4 with options": (
        101,
        IP(src="192.0.2.10", dst="198.51.100.20", tos=46 << 2, ttl=61, id=777, options=[("NOP"), ("NOP")])
        / UDP(sport=5060, dport=5062)
        / Raw(PAYLOAD),
    ),
}
ON_LINKS_V6: Mapping[str, tuple[int, Packet]] = {
    "Ethernet": (1, ETHER / INNER6),
    "QinQ": (1, ETHER / Dot1AD(vlan=100) / Dot1Q(vlan=7) / INNER6),
    "MPLS": (1, ETHER / MPLS(label=16, s=1) / INNER6),
    "PPPoE": (1, ETHER / PPPoE() / PPP() / INNER6),
    "cooked": (113, CookedLinux() / INNER6),
    "cooked v2": (276, CookedLinuxV2() / INNER6),
    "raw IP": (101, INNER6),
    "raw IPv6": (229, INNER6),
    "BSD loopback": (0, Loopback(type=24) / INNER6),
    "6in4": (101, OUTER4 / INNER6),
    "IPv6 in IPv6": (101, OUTER6 / INNER6),
    "GRE": (101, OUTER4 / GRE() / INNER6),
    "ERSPAN II": (101, OUTER4 / GRE(proto=0x88BE, seqnum_present=1) / ERSPAN_II() / ETHER / INNER6),
    "VXLAN over IPv6": (101, OUTER6 / UDP(sport=40000, dport=4789) / VXLAN(vni=7, flags="Instance") / ETHER / INNER6),
    "every extension header": (
        101,
        v6(tc=46 << 2, hlim=61)
        / IPv6ExtHdrHopByHop(options=[PadN(optdata=bytes(12))])
        / ROUTED
        / IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(4))])
        / UDP(sport=5060, dport=5062)
        / Raw(PAYLOAD),
    ),
    "an authentication header": (
        101,
        v6(tc=46 << 2, hlim=61, nh=51)
        / Raw(struct.pack("!BBHII", 17, 4, 0, 1, 1) + bytes(12) + bytes(UDP(sport=5060, dport=5062) / Raw(PAYLOAD))),
    ),
    "an atomic fragment": (
        101,
        v6(tc=46 << 2, hlim=61) / IPv6ExtHdrFragment(offset=0, m=0, id=5) / UDP(sport=5060, dport=5062) / Raw(PAYLOAD),
    ),
}


def assert_inner(found: Found, version: int) -> None:
    ends = (
        ("192.0.2.10", 5060, "198.51.100.20", 5062) if version == 4 else ("2001:db8::a", 5060, "2001:db8:1::14", 5062)
    )
    assert (found.kind, *found[1:5]) == (c.KIND_UDP, *ends)
    assert (found.payload, found.length) == (PAYLOAD, len(PAYLOAD))
    assert (found.packet["IP_VERSION"], found.packet["DSCP"], found.packet["TTL"]) == (version, 46, 61)
    assert found.packet["IP_ID"] == (777 if version == 4 else 0)
    assert set(found.counters) <= {"tunnelled"}


@pytest.mark.parametrize("name", ON_LINKS)
def test_datagram_is_found_behind(name: str) -> None:
    link_type, packet = ON_LINKS[name]
    assert_inner(look(bytes(packet), link_type), 4)


@pytest.mark.parametrize("name", ON_LINKS_V6)
def test_ipv6_datagram_is_found_behind(name: str) -> None:
    link_type, packet = ON_LINKS_V6[name]
    assert_inner(look(bytes(packet), link_type), 6)


def test_erspan_iii_with_a_platform_header() -> None:
    """draft-foschiano-erspan 4.3: the O bit announces 8 octets more."""
    header = struct.pack("!HHIHBB", 0x2000, 0, 0, 0, 0, 1) + bytes(8)
    packet = OUTER4 / GRE(proto=0x22EB, seqnum_present=1, sequence_number=1) / Raw(header + bytes(ETHER / INNER4))
    assert_inner(look(bytes(packet), 101), 4)


def test_padding_of_short_frames_is_no_payload() -> None:
    short = v4() / UDP(sport=5060, dport=5062) / Raw(b"\r\n\r\n")
    found = look(bytes(ETHER / short) + bytes(14), 1)
    assert (found.payload, found.length, dict(found.counters)) == (b"\r\n\r\n", 4, {})


def test_tcp_segment_has_its_numbers() -> None:
    segment = v4() / TCP(
        sport=5060, dport=5062, seq=0xFFFFFFF0, ack=0x80000001, flags="PA", options=[("NOP", None)] * 4
    )
    found = look(bytes(ETHER / segment / Raw(PAYLOAD)), 1)
    assert (found.kind, found.payload) == (c.KIND_TCP, PAYLOAD)
    numbers = [found.packet[name] for name in ("TCP_SEQ", "TCP_ACK", "TCP_FLAGS")]
    assert numbers == [0xFFFFFFF0, 0x80000001, 0x18]


def test_sctp_packet_is_handed_on_whole() -> None:
    association = SCTP(sport=5060, dport=5060)
    found = look(bytes(v4() / association / Raw(PAYLOAD)), 101)
    assert (found.kind, found.payload[:4]) == (c.KIND_SCTP, struct.pack("!HH", 5060, 5060))


@pytest.mark.parametrize(
    "packet", [ETHER / ARP(), ETHER / Dot1Q() / ARP(), ETHER / PPPoE() / PPP(proto=0xC021) / Raw(b"\1\1\0\4")]
)
def test_what_is_not_ip_is_counted(packet: Packet) -> None:
    found = look(bytes(packet), 1)
    assert (found.kind, dict(found.counters)) == (c.KIND_OTHER, {"not_ip": 1})


def test_other_protocols_are_counted() -> None:
    assert dict(look(bytes(ETHER / v4() / ICMP()), 1).counters) == {"other_protocol": 1}


@pytest.mark.parametrize("link_type", [2, 105, 127, 147, 195, 65535])
def test_unknown_link_type_is_counted(link_type: int) -> None:
    found = look(bytes(INNER4), link_type)
    assert (found.kind, dict(found.counters)) == (c.KIND_OTHER, {"link_type_unsupported": 1})


# --- fragments ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("offset", "more"), [(0, 1), (3, 1), (185, 0)])
def test_fragment_of_ipv4_says_which_it_is(offset: int, more: int) -> None:
    found = look(bytes(v4(id=99, flags=more, frag=offset, proto=17) / Raw(b"x" * 24)), 101)
    said = [found.packet[name] for name in ("FRAGMENT_OFFSET", "FRAGMENT_MORE", "FRAGMENT_ID", "IP_PROTOCOL")]
    assert (found.kind, said, found.payload) == (c.KIND_FRAGMENT, [8 * offset, more, 99, 17], b"x" * 24)


@pytest.mark.parametrize(("offset", "more"), [(0, 1), (3, 1), (185, 0)])
def test_fragment_of_ipv6_says_which_it_is(offset: int, more: int) -> None:
    packet = v6() / IPv6ExtHdrFragment(nh=17, offset=offset, m=more, id=0xFEDCBA98) / Raw(b"x" * 24)
    found = look(bytes(packet), 101)
    said = [found.packet[name] for name in ("FRAGMENT_OFFSET", "FRAGMENT_MORE", "FRAGMENT_ID", "IP_PROTOCOL")]
    assert (found.kind, said, found.payload) == (c.KIND_FRAGMENT, [8 * offset, more, 0xFEDCBA98, 17], b"x" * 24)


# --- lies and cuts ------------------------------------------------------------------------------------------------


def changed(packet: bytes, at: int, octets: bytes) -> bytes:
    return packet[:at] + octets + packet[at + len(octets) :]


@pytest.mark.parametrize(
    ("at", "octets", "defect"),
    [
        (2, b"\xff\xff", "ip_length_lies"),
        (2, b"\x00\x13", "ip_header_bad"),
        (0, b"\x44", "ip_header_bad"),
        (24, b"\xff\xff", "udp_length_lies"),
        (24, b"\x00\x07", "udp_length_lies"),
    ],
)
def test_length_that_lies_is_counted_and_never_believed(at: int, octets: bytes, defect: str) -> None:
    found = look(changed(bytes(INNER4), at, octets), 101)
    assert dict(found.counters) == {defect: 1}
    if found.kind == c.KIND_UDP:
        assert (found.payload, found.length) == (PAYLOAD, len(PAYLOAD))


def test_lengths_of_offloaded_datagrams_are_those_captured() -> None:
    for version, at in ((INNER4, 2), (INNER6, 4)):
        found = look(changed(bytes(version), at, b"\0\0"), 101)
        assert (found.payload, dict(found.counters)) == (PAYLOAD, {})
    assert look(changed(bytes(INNER4), 24, b"\0\0"), 101).payload == PAYLOAD


def test_tcp_header_that_leaves_the_packet_is_bad() -> None:
    segment = bytes(v4() / TCP(sport=1, dport=2) / Raw(b"12"))
    assert dict(look(changed(segment, 32, b"\xf0"), 101).counters) == {"tcp_header_bad": 1}
    assert dict(look(changed(segment, 32, b"\x40"), 101).counters) == {"tcp_header_bad": 1}


def test_tunnels_without_end_are_given_up() -> None:
    packet = INNER4
    for _ in range(TUNNELS_TOO_MANY):
        packet = OUTER4 / packet
    assert look(bytes(packet), 101).counters["tunnels_too_deep"] == 1


@pytest.mark.parametrize("cut", range(len(PAYLOAD)))
def test_snap_length_cuts_the_payload_and_nothing_else(cut: int) -> None:
    whole = bytes(ETHER / INNER4)
    found = look(whole[: len(whole) - cut], 1, wire=len(whole))
    assert (found.kind, found.payload, found.length) == (c.KIND_UDP, PAYLOAD[: len(PAYLOAD) - cut], len(PAYLOAD))
    assert dict(found.counters) == {}


@pytest.mark.parametrize("name", [*ON_LINKS, *(f"{name} (IPv6)" for name in ON_LINKS_V6)])
def test_cut_anywhere_a_packet_is_never_read_beyond(name: str) -> None:
    link_type, packet = ON_LINKS_V6[name[:-7]] if name.endswith("(IPv6)") else ON_LINKS[name]
    whole = bytes(packet)
    for end in range(len(whole)):
        for margin in (0, 40):
            found = look(whole[:end], link_type, wire=len(whole), margin=margin)
            if found.kind == c.KIND_UDP and found.dport == 4789:  # cut before its header says that it is VXLAN
                assert len(found.payload) < 8
            elif found.kind == c.KIND_UDP:
                assert PAYLOAD.startswith(found.payload)
                assert found.length == len(PAYLOAD)
            else:
                assert found.kind == c.KIND_OTHER


@settings(max_examples=1500, deadline=None)
@given(octets=st.binary(max_size=200), link_type=st.sampled_from(LINK_TYPES), hidden=st.integers(0, 3000))
def test_octets_of_any_kind_never_raise_and_are_never_left(octets: bytes, link_type: int, hidden: int) -> None:
    here = look(octets, link_type, wire=len(octets) + hidden)
    alone = look(octets, link_type, wire=len(octets) + hidden, margin=0)
    assert here == alone
    assert here.kind != c.KIND_OTHER or sum(here.counters.values()) > 0


SEEDS = [(link, bytes(packet)) for link, packet in (*ON_LINKS.values(), *ON_LINKS_V6.values())]


@settings(max_examples=1500, deadline=None)
@given(data=st.data())
def test_changed_packets_never_raise_and_are_never_left(data: st.DataObject) -> None:
    link_type, octets = data.draw(st.sampled_from(SEEDS))
    flipped = bytearray(octets)
    for _ in range(data.draw(st.integers(1, 4))):
        flipped[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(octets)))
    here = look(bytes(flipped[:end]), link_type, wire=len(octets))
    assert here == look(bytes(flipped[:end]), link_type, wire=len(octets), margin=0)
    assert here.kind != c.KIND_OTHER or sum(here.counters.values()) > 0
