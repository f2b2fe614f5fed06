"""What a capture holds, sent as HEP, is the same calls as the capture replayed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.utils import rdpcap

from collector.engine import Engine
from collector.facts import Call, Endpoint
from collector.protocols.hep import SIP, HepPacket, serialize
from collector.receivers.hep import HepReceiver, HepSettings
from collector.receivers.sip_intake import SipIntake


def told(call: Call) -> tuple[object, ...]:
    """What is said of a call; HEP carries microseconds."""
    return (
        call.call_id, call.state, call.status, call.from_uri, call.to_uri, call.start // 1000,
        call.answered and call.answered // 1000, call.end and call.end // 1000,
        [(leg.src, leg.dst, leg.messages, leg.retransmissions) for leg in call.legs],
    )  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        "heplify_sip_ipv6.pcap",
        "sngrep_aaa.pcap",
        "suri_sip_compact_form.pcap",
        "ndpi_fax_call_t38_ca_tdm_sip_fb_1.pcap",
        "russo_sip_hold_transfer.pcapng",
        "russo_fax_sip_passthru_ogw.pcapng",
    ],
)
def test_calls_told_from_hep_are_those_of_the_capture(shared: Path, name: str) -> None:
    path = shared / "pcaps" / name
    engine = Engine()
    engine.read([str(path)])
    expected = engine.finish().calls
    assert expected
    intake = SipIntake("here")
    receiver = HepReceiver(HepSettings(), intake, lambda: 0)
    for packet in sip_of(path):
        assert packet.at is not None
        receiver.take([serialize(packet)], packet.at)
    assert receiver.handed_on == receiver.received
    assert [told(call) for call in by_start(intake.calls.rest())] == [told(call) for call in by_start(expected)]


def by_start(calls: Sequence[Call]) -> list[Call]:
    return sorted(calls, key=lambda call: (call.start, call.call_id))


def sip_of(path: Path) -> list[HepPacket]:
    """The capture's SIP over UDP, read by scapy."""
    found = []
    for frame in rdpcap(str(path)):
        if UDP not in frame or b"SIP/2.0" not in bytes(frame[UDP].payload).partition(b"\n")[0]:
            continue
        network = frame[IPv6] if IPv6 in frame else frame[IP]
        src, dst = Endpoint(network.src, frame[UDP].sport), Endpoint(network.dst, frame[UDP].dport)
        at = round(frame.time * 1_000_000) * 1_000
        found.append(HepPacket(3, SIP, at, src, dst, 17, bytes(frame[UDP].payload), 2001))
    return found
