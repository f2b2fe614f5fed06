"""What stands before a mirrored frame is told from the frame, whatever comes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.contrib.erspan import ERSPAN_II, ERSPAN_III, ERSPAN_PlatformSpecific
from scapy.layers.inet import IP
from scapy.layers.l2 import GRE, Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet, Raw

from collector.live.mirror import MirrorAddress, mirror_address
from collector.live.mirror_headers import DEFECTS, MirrorError, gre_begin, gre_frame, vxlan_frame
from collector.receivers.listening import ListenError

FRAME = bytes(Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / IP() / Raw(b"x" * 40))
SENT = {
    "I": GRE(proto=0x88BE),
    "II": GRE(proto=0x88BE, seqnum_present=1) / ERSPAN_II(),
    "II, with a key": GRE(proto=0x88BE, seqnum_present=1, key_present=1) / ERSPAN_II(),
    "III": GRE(proto=0x22EB, seqnum_present=1) / ERSPAN_III(),
    "III, with a platform's own": GRE(proto=0x22EB, seqnum_present=1) / ERSPAN_III(o=1) / ERSPAN_PlatformSpecific(),
    "Ethernet as it is": GRE(proto=0x6558),
    "with a checksum": GRE(proto=0x6558, chksum_present=1),
}


@pytest.mark.parametrize("kind", SENT)
def test_the_frame_is_found_behind_every_kind_of_header(kind: str) -> None:
    data = bytes(IP(src="192.0.2.1", dst="192.0.2.2") / SENT[kind] / Raw(FRAME))
    assert data[gre_frame(data, gre_begin(data)) :] == FRAME


def test_the_frame_is_found_in_vxlan() -> None:
    data = bytes(VXLAN(vni=42, flags="Instance") / Raw(FRAME))
    assert data[vxlan_frame(data) :] == FRAME


@pytest.mark.parametrize(
    ("sent", "defect"),
    [
        (GRE(proto=0x0800), "gre_other_protocol"),
        (GRE(proto=0x6558, version=1), "gre_version"),
        (GRE(proto=0x6558, routing_present=1), "gre_routing"),
        (GRE(proto=0x22EB, seqnum_present=1) / ERSPAN_III(ver=1), "erspan_version"),
        (GRE(proto=0x22EB, seqnum_present=1) / ERSPAN_III(ft=2), "erspan_no_ethernet"),
    ],
)
def test_what_is_wrong_has_a_name(sent: Packet, defect: str) -> None:
    with pytest.raises(MirrorError, match=f"^{defect}$"):
        gre_frame(bytes(sent / Raw(FRAME)), 0)


def test_vxlan_needs_its_flag_and_a_whole_frame() -> None:
    with pytest.raises(MirrorError, match=r"^vxlan_without_flag$"):
        vxlan_frame(bytes(8) + FRAME)
    with pytest.raises(MirrorError, match=r"^vxlan_short$"):
        vxlan_frame(b"\x08" + bytes(7) + FRAME[:13])


BEGINNINGS = [bytes(one) for one in SENT.values()]


@settings(deadline=None)
@given(data=st.binary(max_size=80), beginning=st.sampled_from(BEGINNINGS))
def test_any_octets_give_a_whole_frame_or_a_named_defect(data: bytes, beginning: bytes) -> None:
    begun = beginning[: len(data) % 24] + data
    for take in (vxlan_frame, lambda octets: gre_frame(octets, 0), lambda octets: gre_frame(octets, gre_begin(octets))):
        for octets in (data, begun):
            try:
                begin = take(octets)
            except MirrorError as error:
                assert str(error) in DEFECTS  # noqa: PT017
            else:
                assert 0 < begin <= len(octets) - 14


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("udp:0.0.0.0:4790", MirrorAddress("udp", "0.0.0.0", 4790)),
        ("udp:[::]", MirrorAddress("udp", "::", 4789)),
        ("gre:192.0.2.10", MirrorAddress("gre", "192.0.2.10", 0)),
        ("gre:[2001:db8::1]", MirrorAddress("gre", "2001:db8::1", 0)),
    ],
)
def test_addresses_are_read_and_shown(text: str, expected: MirrorAddress) -> None:
    assert mirror_address(text) == expected
    assert mirror_address(str(expected)) == expected


@pytest.mark.parametrize("text", ["", "eth0", "tcp:127.0.0.1:4789", "gre:", "gre:::1", "udp:127.0.0.1:x"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ListenError):
        mirror_address(text)
