"""The relay does to packets what its script says, writes down what it did, and leaves everything else alone."""

from __future__ import annotations

from typing import Any

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from collector.facts import Endpoint
from collector.simulator.frames import frame, udp_packet
from collector.simulator.relay import Impairment, Relay, Rules, datagram, is_rtp, renumbered
from collector.simulator.traffic import MILLISECOND, StreamPlan, captured, framed

PTIME = 20 * MILLISECOND


def test_same_seed_gives_the_same_fates() -> None:
    rules = Rules(loss=0.1, jitter_ms=5, overtaken=0.1, duplicate=0.1)
    one, other, third = Impairment(rules, 4), Impairment(rules, 4), Impairment(rules, 5)
    fates = [one.decide() for _ in range(200)]
    assert fates == [other.decide() for _ in range(200)]
    assert fates != [third.decide() for _ in range(200)]


def test_a_rule_does_not_move_the_draws_of_another() -> None:
    with_copies, without = Impairment(Rules(loss=0.2, duplicate=0.5), 4), Impairment(Rules(loss=0.2), 4)
    lost = [with_copies.decide().lost for _ in range(200)]
    assert lost == [without.decide().lost for _ in range(200)]


def test_first_packets_are_spared() -> None:
    impairment = Impairment(Rules(loss=1.0, spared=10), 1)
    assert [impairment.decide().lost for _ in range(12)] == [False] * 10 + [True] * 2


def test_log_accounts_for_every_packet() -> None:
    relay, out = _through({"seed": 3, "left_to_right": {"loss": 0.05, "overtaken": 0.05, "duplicate": 0.05}}, 400)
    (stream,) = relay.log.streams.values()
    assert stream.came == [1000 + place for place in range(400)]
    assert sorted(stream.went) == sorted([seq for seq in stream.came if seq not in stream.lost] + stream.duplicated)
    assert [_seq(data) for _, data in out] == stream.went
    assert stream.lost
    assert stream.duplicated
    assert stream.went != sorted(stream.went)


def test_jitter_alone_keeps_the_order() -> None:
    relay, _ = _through({"seed": 3, "left_to_right": {"jitter_ms": 90}}, 200)
    (stream,) = relay.log.streams.values()
    assert stream.went == stream.came


def test_other_direction_is_untouched() -> None:
    _, out = _through({"seed": 3, "right_to_left": {"loss": 1.0}}, 50)
    assert len(out) == 50
    assert {side for side, _ in out} == {0}


def test_blocked_media_stops_rtp_and_rtcp_but_not_sip() -> None:
    relay = Relay({"left_to_right": {"blocked": True}})
    src, dst = Endpoint("192.0.2.10", 5060), Endpoint("198.51.100.20", 5060)
    rtcp = bytes.fromhex("80c9000112345678")
    sip = b"OPTIONS sip:1002@198.51.100.20 SIP/2.0\r\nCall-ID: abc\r\n\r\n"
    for payload in (bytes([0x80, 8]) + bytes(30), rtcp, sip):
        relay.take(0, frame(udp_packet(src, dst, payload)), 0)
    sent = relay.due(0)
    assert [bytes(Ether(data)[UDP].payload) for _, data in sent] == [sip]
    assert relay.log.rtcp == 0
    assert relay.log.sip == [(src, dst, "OPTIONS sip:1002@198.51.100.20 SIP/2.0", "abc")]


@pytest.mark.parametrize(("second", "expected"), [(0, True), (0x80 | 8, True), (200, False), (207, False)])
def test_rtcp_is_told_apart_by_its_packet_type(second: int, expected: bool) -> None:
    assert is_rtp(bytes([0x80, second]) + bytes(10)) is expected


def test_frames_that_are_no_udp_pass_untouched() -> None:
    relay = Relay({"left_to_right": {"blocked": True}})
    arp = bytes.fromhex("ffffffffffff0200000000010806") + bytes(46)
    for data in (arp, b"", framed(captured([StreamPlan(packets=1)])[0])[1][:30]):
        relay.take(0, data, 5)
        assert relay.due(5) == [(0, data)]


def test_lengths_that_lie_do_not_break_the_relay() -> None:
    _, data = framed(captured([StreamPlan(packets=1)])[0])
    for cut in range(len(data)):
        datagram(data[:cut])
        Relay({}).take(1, data[:cut], 0)


def test_second_copy_differs_by_its_identification_and_checksum_alone() -> None:
    _, data = framed(captured([StreamPlan(packets=1)])[0])
    again = renumbered(data)
    read = Ether(again)
    del read[IP].chksum
    assert bytes(Ether(bytes(read))) == again
    assert Ether(again)[IP].id != Ether(data)[IP].id
    assert Ether(again)[UDP] == Ether(data)[UDP]


def test_unknown_rules_are_refused() -> None:
    with pytest.raises(TypeError):
        Relay({"left_to_right": {"losses": 1}})
    with pytest.raises(ValueError, match="must be an object"):
        Relay({"left_to_right": 3})


def _through(script: dict[str, Any], packets: int) -> tuple[Relay, list[tuple[int, bytes]]]:
    """Send a stream from left to right and let a second pass after the last packet."""
    relay, out = Relay(script), []
    for place, packet in enumerate(captured([StreamPlan(packets=packets)])):
        relay.take(0, framed(packet)[1], place * PTIME)
        for now in range(place * PTIME, (place + 1) * PTIME, MILLISECOND):
            out += relay.due(now)
    out += relay.due((packets + 50) * PTIME)
    return relay, out


def _seq(data: bytes) -> int:
    return int.from_bytes(data[44:46])
