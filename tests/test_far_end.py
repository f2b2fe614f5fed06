"""RTCP matched to its stream, and round trips computed by hand from what passed the tap."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.utils import PcapReader

from collector.facts import Endpoint
from collector.media.far_end import GROUP_LIMIT, FarEnds
from collector.protocols.rtcp import (
    DelaySinceLastReceiverReport,
    EncryptedReport,
    ExtendedReport,
    Goodbye,
    ReceiverReferenceTime,
    ReceiverReport,
    ReportBlock,
    RtcpError,
    RtcpPacket,
    SenderReport,
    SourceDescription,
    UnparsedTail,
    VoipMetrics,
    looks_like_rtcp,
    parse_compound,
)

A, B, C = Endpoint("10.0.0.1", 4000), Endpoint("10.0.0.2", 5000), Endpoint("10.0.0.3", 6000)
X, Y = 0xAAAA, 0xBBBB
MS = 1_000_000
NTP = 0xE5A1B2C389ABCDEF
LSR = 0xB2C389AB


def beside(endpoint: Endpoint) -> Endpoint:
    return Endpoint(endpoint.ip, endpoint.port + 1)


def sender_report(ssrc: int, ntp: int = NTP, *blocks: ReportBlock) -> SenderReport:
    return SenderReport(ssrc, ntp, 0, 0, 0, blocks)


def block(ssrc: int, lost: int = 0, cumulative: int = 0, jitter: int = 0, lsr: int = 0, held: int = 0) -> ReportBlock:
    return ReportBlock(ssrc, lost, cumulative, 0, jitter, lsr, held)


def metrics(ssrc: int) -> VoipMetrics:
    return VoipMetrics(
        *(ssrc, 1.5625, 0.0, 25.0, 0.5, 120, 9000, 80, 60, -20, -60, None, 16, 88, None, 4.1, None, 3, 3, 0, 40, 60, 80)
    )


def test_the_receivers_reports_are_summed_up() -> None:
    far = FarEnds()
    for n, (lost, cumulative, jitter) in enumerate([(64, 10, 160), (0, 8, 80), (32, -3, 40)]):
        far.feed((ReceiverReport(Y, (block(X, lost, cumulative, jitter),)),), n * 5000 * MS, beside(B), beside(A))
    told = far.report(A, B, X, 8000)
    assert told is not None
    assert (told.reports, told.fraction_lost_max, told.cumulative_lost) == (3, 25.0, -3)
    assert (told.jitter_ms_max, told.jitter_ms_last) == (20.0, 5.0)
    assert (told.round_trip_ms, told.round_trip_basis) == (None, None)
    assert far.report(B, A, X, 8000) is None


def test_jitter_needs_the_clock_of_the_stream() -> None:
    far = FarEnds()
    far.feed((ReceiverReport(Y, (block(X, jitter=480),)),), 0, beside(B), beside(A))
    opus, unknown = far.report(A, B, X, 48000), far.report(A, B, X, None)
    assert opus is not None
    assert unknown is not None
    assert opus.jitter_ms_last == 10.0
    assert unknown.jitter_ms_last is None


@pytest.mark.parametrize(
    ("reporter", "told_to", "matches"),
    [
        (beside(B), beside(A), True),  # the next port (RFC 3550 11)
        (B, A, True),  # the same port (RFC 5761)
        (Endpoint(B.ip, 777), beside(A), True),  # an address translator moved one end
        (Endpoint(B.ip, 777), Endpoint(A.ip, 778), False),  # another call between the same two
        (beside(C), beside(A), False),  # another hop that passes the SSRC on
    ],
)
def test_reports_are_matched_by_addresses_then_by_ports(reporter: Endpoint, told_to: Endpoint, matches: bool) -> None:
    far = FarEnds()
    far.feed((ReceiverReport(Y, (block(X),)),), 0, reporter, told_to)
    assert (far.report(A, B, X, 8000) is not None) is matches


def test_a_port_of_a_rtcp_is_found_by_its_attribute() -> None:
    far = FarEnds()
    elsewhere = Endpoint("10.0.0.9", 9999)
    far.feed((ReceiverReport(Y, (block(X),)),), 0, Endpoint(B.ip, 777), elsewhere)
    assert far.report(A, B, X, 8000) is None
    assert far.report(A, B, X, 8000, rtcp=elsewhere) is not None


def test_each_hop_that_carries_an_ssrc_has_its_own_reports() -> None:
    far = FarEnds()
    far.feed((ReceiverReport(Y, (block(X, cumulative=1),)),), 0, beside(B), beside(A))
    far.feed((ReceiverReport(Y, (block(X, cumulative=2),)),), 0, beside(C), Endpoint(B.ip, 5003))
    first, second = far.report(A, B, X, 8000), far.report(Endpoint(B.ip, 5002), C, X, 8000)
    assert first is not None
    assert second is not None
    assert (first.cumulative_lost, second.cumulative_lost) == (1, 2)


def test_the_round_trip_is_the_sum_of_the_halves_seen_from_the_tap() -> None:
    far = FarEnds()
    # A's report passes at 0, B holds it for 500 ms, B's report passes at 530 ms: 30 ms from the tap to B and back.
    far.feed((sender_report(X),), 0, beside(A), beside(B))
    far.feed((sender_report(Y, 7 << 16, block(X, lsr=LSR, held=32768)),), 530 * MS, beside(B), beside(A))
    one_half = far.report(A, B, X, 8000)
    assert one_half is not None
    assert (one_half.round_trip_ms, one_half.round_trip_basis) == (30.0, "receiver half")
    other_side = far.report(B, A, Y, 8000)
    assert other_side is not None
    assert (other_side.round_trip_ms, other_side.round_trip_basis) == (30.0, "sender half")
    # A holds B's report for a quarter of a second; its own passes 262 ms after B's: 12 ms from the tap to A and back.
    far.feed((ReceiverReport(X, (block(Y, lsr=7, held=16384),)),), 792 * MS, beside(A), beside(B))
    for src, dst, ssrc in ((A, B, X), (B, A, Y)):
        whole = far.report(src, dst, ssrc, 8000)
        assert whole is not None
        assert (whole.round_trip_ms, whole.round_trip_basis) == (42.0, "both halves")


def test_the_round_trip_is_a_mean_over_all_reports() -> None:
    far = FarEnds()
    far.feed((sender_report(X),), 0, beside(A), beside(B))
    far.feed((ReceiverReport(Y, (block(X, lsr=LSR, held=0),)),), 10 * MS, beside(B), beside(A))
    far.feed((ReceiverReport(Y, (block(X, lsr=LSR, held=65536),)),), 1020 * MS, beside(B), beside(A))
    told = far.report(A, B, X, 8000)
    assert told is not None
    assert told.round_trip_ms == 15.0


def test_the_noise_of_clocks_around_a_short_way_averages_out() -> None:
    far = FarEnds()
    far.feed((sender_report(X),), 0, beside(A), beside(B))
    for at, half in ((1000, -3), (2000, 4), (3000, 2)):
        held = round((at - half) * 65536 / 1000)
        far.feed((ReceiverReport(Y, (block(X, lsr=LSR, held=held),)),), at * MS, beside(B), beside(A))
    told = far.report(A, B, X, 8000)
    assert told is not None
    assert told.round_trip_ms == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize(
    ("lsr", "held", "at", "defect"),
    [
        (0, 0, 10 * MS, None),
        (LSR + 1, 0, 10 * MS, None),
        (LSR, 65536, 500 * MS, "rtcp_round_trip_negative"),
        (LSR, 0, 10_001 * MS, "rtcp_round_trip_too_long"),
    ],
)
def test_a_round_trip_that_cannot_be_is_not_reported(lsr: int, held: int, at: int, defect: str | None) -> None:
    far = FarEnds()
    far.feed((sender_report(X),), 0, beside(A), beside(B))
    far.feed((ReceiverReport(Y, (block(X, lsr=lsr, held=held),)),), at, beside(B), beside(A))
    told = far.report(A, B, X, 8000)
    assert told is not None
    assert told.round_trip_ms is None
    assert dict(far.defects) == ({} if defect is None else {defect: 1})


def test_a_receiver_that_sends_nothing_measures_with_extended_reports() -> None:
    far = FarEnds()
    # B's time mark passes at 0, A answers after holding it for a second: 8 ms from the tap to A and back.
    far.feed(
        (ReceiverReport(Y, (block(X),)), ExtendedReport(Y, (ReceiverReferenceTime(NTP),))), 0, beside(B), beside(A)
    )
    answer = ExtendedReport(X, (DelaySinceLastReceiverReport(Y, LSR, 65536),))
    far.feed((answer,), 1008 * MS, beside(A), beside(B))
    told = far.report(A, B, X, 8000)
    assert told is not None
    assert (told.round_trip_ms, told.round_trip_basis) == (8.0, "sender half")


def test_a_mirrors_copy_of_a_report_counts_once() -> None:
    far = FarEnds()
    report = (ReceiverReport(Y, (block(X, cumulative=4),)),)
    for at in (0, 20_000, 5000 * MS):
        far.feed(report, at, beside(B), beside(A))
    told = far.report(A, B, X, 8000)
    assert told is not None
    assert told.reports == 2


def test_voip_metrics_name_and_goodbye_of_the_stream_are_kept() -> None:
    far = FarEnds()
    far.feed((ExtendedReport(Y, (metrics(X),)),), 0, beside(B), beside(A))
    far.feed((SourceDescription({X: "one@a"}), SourceDescription({Y: "two@b"})), 0, beside(A), beside(B))
    far.feed((Goodbye((X,), "bye"),), 0, beside(A), beside(B))
    told = far.report(A, B, X, 8000)
    assert told is not None
    assert (told.reports, told.fraction_lost_max, told.cname, told.bye) == (0, None, "one@a", True)
    assert told.xr is not None
    assert (told.xr["loss_rate"], told.xr["mos_lq"], told.xr["rerl"]) == (1.5625, 4.1, None)
    assert "ssrc" not in told.xr


def test_of_many_receivers_in_a_group_the_worst_off_speaks() -> None:
    far = FarEnds()
    group = Endpoint("239.1.1.1", 16384)
    far.feed((sender_report(X),), 0, beside(A), beside(group))
    far.feed((ReceiverReport(1, (block(X, lost=1, lsr=LSR),)),), 10 * MS, beside(B), beside(A))
    far.feed((ReceiverReport(2, (block(X, lost=128, lsr=LSR),)),), 40 * MS, beside(C), beside(group))
    told = far.report(A, group, X, 8000)
    assert told is not None
    assert told.fraction_lost_max == 50.0


def test_ciphertext_and_tails_are_counted_not_used() -> None:
    far = FarEnds()
    far.feed((EncryptedReport(201, X, 46, "srtcp_suspected"),), 0, beside(B), beside(A))
    far.feed((EncryptedReport(201, X, 46, None), UnparsedTail(3, "rtcp_short")), 0, beside(B), beside(A))
    assert far.report(A, B, X, 8000) is None
    assert dict(far.defects) == {"srtcp_suspected": 1, "rtcp_short": 1}
    assert dict(far.packets) == {"EncryptedReport": 2}


def test_tables_are_bounded_and_what_gave_way_is_counted() -> None:
    far = FarEnds(limit=100)
    for ssrc in range(1000):
        far.feed((sender_report(ssrc), ReceiverReport(Y, (block(ssrc),))), 0, beside(B), beside(A))
    assert far.report(A, B, 999, 8000) is not None
    assert far.report(A, B, 0, 8000) is None
    assert far.defects["rtcp_evicted"] == 2 * 900


def test_many_flows_about_one_stream_are_bounded_too() -> None:
    far = FarEnds()
    for port in range(GROUP_LIMIT + 10):
        far.feed((ReceiverReport(Y, (block(X),)),), 0, Endpoint(B.ip, port), beside(A))
    assert dict(far.defects) == {"rtcp_evicted": 10}
    crowded = FarEnds(limit=4)
    for n in range(1000):
        far_away = Endpoint(f"10.1.0.{n % 7}", n)
        crowded.feed((sender_report(n % 11), ReceiverReport(Y, (block(n % 11),))), 0, far_away, beside(A))
    assert crowded.report(A, far_away, 999 % 11, 8000) is not None


def test_reports_of_a_real_gateway_belong_to_the_hop_that_they_crossed(shared: Path) -> None:
    far = FarEnds()
    with PcapReader(str(shared / "pcaps" / "russo_dtmf_relay_digitdrop.pcapng")) as frames:
        for number, frame in enumerate(frames, 1):
            if number > 986 or UDP not in frame or not looks_like_rtcp(payload := bytes(frame[UDP].payload)):
                continue
            src, dst = Endpoint(frame[IP].src, frame[UDP].sport), Endpoint(frame[IP].dst, frame[UDP].dport)
            far.feed(parse_compound(payload), int(frame.time * 1_000_000_000), src, dst)
    hop = far.report(Endpoint("10.10.223.107", 8184), Endpoint("10.10.224.2", 21432), 0x090DDF7B, 8000)
    assert hop is not None
    # 19/256 and 18 packets, as tshark reads frame 985.
    assert (hop.fraction_lost_max, hop.cumulative_lost) == (100 * 19 / 256, 18)
    # Frame 985 passed 1434.035 ms after frame 698 and held it for 93912/65536 s = 1432.983 ms.
    assert hop.round_trip_basis == "receiver half"
    assert hop.round_trip_ms == pytest.approx(1.052, abs=1e-3)
    first = far.report(Endpoint("10.10.223.123", 16452), Endpoint("10.10.223.107", 8182), 0x090DDF7B, 8000)
    assert first is not None
    assert first.cname == "0.0.0@10.10.223.123"
    assert far.report(Endpoint("10.10.223.123", 16452), Endpoint("10.10.224.2", 21432), 0x090DDF7B, 8000) is None


@given(
    st.lists(st.tuples(st.binary(max_size=120), st.sampled_from([A, B, C]), st.sampled_from([A, B, C])), max_size=20)
)
def test_whatever_the_parser_lets_through_is_taken(datagrams: list[tuple[bytes, Endpoint, Endpoint]]) -> None:
    far = FarEnds(limit=4)
    for at, (noise, src, dst) in enumerate(datagrams):
        words = len(noise) // 4 * 4
        header = bytes([0x80 | len(noise) % 3, 200 + len(noise) % 8]) + (words // 4).to_bytes(2, "big")
        packets: tuple[RtcpPacket, ...] = ()
        try:
            packets = parse_compound(header + noise[:words])
        except RtcpError:
            continue
        far.feed(packets, at, src, dst)
    for src in (A, B, C):
        far.report(src, A, X, 8000)
