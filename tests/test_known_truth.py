"""Captures with known truth, read through the product: counts exact, jitter to 1e-6 ms.

The truth is worked out by `collector.simulator.truth` in exact fractions from the packets as they were planned; its own
tests hold it to RFC 3550, RFC 3611 and scapy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from api.replay import replay_files
from collector.facts import CallState, Endpoint, Replay, Stream
from collector.simulator.bulk_rtp import RtpSize, write_rtp
from collector.simulator.bulk_sip import SipSize, write_sip
from collector.simulator.capture_writer import Interface, pcap, pcapng
from collector.simulator.frames import LinkType, frame, udp_packet
from collector.simulator.signalling import CallPlan, Media, call_messages
from collector.simulator.traffic import (
    MILLISECOND,
    START,
    CapturedPacket,
    KeyPress,
    Silence,
    StreamPlan,
    bernoulli_loss,
    captured,
    clock_drift,
    combined,
    framed,
    gilbert_loss,
    spikes,
    uniform_jitter,
)
from collector.simulator.truth import StreamTruth, measure

LOSSY = {
    "none": StreamPlan(),
    "one": StreamPlan(lost=frozenset({250})),
    "runs": StreamPlan(lost=frozenset({30, 31, 32, 33, 34, 100, 200, 201, 480})),
    "fifteen received between two losses": StreamPlan(lost=frozenset({200, 216})),
    "sixteen received between two losses": StreamPlan(lost=frozenset({200, 217})),
    "random": StreamPlan(lost=bernoulli_loss(500, 0.05, seed=1)),
    "bursty": StreamPlan(lost=gilbert_loss(500, 0.03, 0.3, seed=2)),
    "heavy": StreamPlan(lost=gilbert_loss(500, 0.2, 0.3, seed=3)),
    "over the wrap of the sequence": StreamPlan(first_seq=65_400, lost=frozenset({134, 135, 136, 137})),
    "a run of 200": StreamPlan(lost=frozenset(range(150, 350))),
}
DELAYED = {
    "even": StreamPlan(delays=(7 * MILLISECOND,) * 500),
    "jitter": StreamPlan(delays=uniform_jitter(500, 12, seed=4)),
    "jitter that reorders": StreamPlan(delays=(0, 0, *uniform_jitter(498, 25, seed=5))),
    "spikes": StreamPlan(delays=spikes(500, {100: 180 * MILLISECOND, 300: 15 * MILLISECOND})),
    "jitter and loss": StreamPlan(delays=uniform_jitter(500, 15, seed=6), lost=bernoulli_loss(500, 0.1, seed=7)),
    "over the wrap of the timestamp": StreamPlan(delays=uniform_jitter(500, 12, seed=8), first_timestamp=4_294_940_000),
    "drift": StreamPlan(delays=combined(clock_drift(500, 80), uniform_jitter(500, 3, seed=9))),
    "duplicates": StreamPlan(
        delays=uniform_jitter(500, 9, seed=10), duplicated=dict.fromkeys(range(10, 490, 16), 4 * MILLISECOND)
    ),
    "10 ms packets": StreamPlan(ptime_ms=10, payload_size=80, delays=uniform_jitter(500, 6, seed=11)),
    "G.722 counts 8000": StreamPlan(payload_type=9, delays=uniform_jitter(500, 12, seed=12)),
    "G.729": StreamPlan(payload_type=18, payload_size=20, delays=uniform_jitter(500, 12, seed=13)),
}


@pytest.mark.parametrize("plan", LOSSY.values(), ids=LOSSY.keys())
def test_losses_are_counted_exactly(tmp_path: Path, plan: StreamPlan) -> None:
    stream, truth = _replayed(tmp_path, plan)
    _same_counts(stream, truth)
    assert stream.loss_percent == pytest.approx(truth.loss_percent, abs=1e-9)
    assert {run.low: run.count for run in stream.loss_runs if run.count} == _binned(stream, truth)
    if truth.burst_ratio is None:
        assert stream.burst_ratio is None
    else:
        assert stream.burst_ratio == pytest.approx(truth.burst_ratio, abs=1e-9)


@pytest.mark.parametrize("plan", LOSSY.values(), ids=LOSSY.keys())
def test_bursts_and_gaps_are_segmented_directly(tmp_path: Path, plan: StreamPlan) -> None:
    stream, truth = _replayed(tmp_path, plan)
    bursts, found = truth.bursts, stream.burst_gap
    assert found is not None
    assert found.bursts == bursts.bursts
    if bursts.bursts:
        assert found.burst_density == pytest.approx(100 * bursts.lost_in_bursts / bursts.packets_in_bursts)
        assert found.burst_duration_ms == pytest.approx(20 * bursts.packets_in_bursts / bursts.bursts)
    assert found.gap_density == pytest.approx(100 * bursts.lost_in_gaps / bursts.packets_in_gaps)
    assert found.gap_duration_ms == pytest.approx(20 * bursts.packets_in_gaps / (bursts.bursts + 1))


@pytest.mark.parametrize("plan", DELAYED.values(), ids=DELAYED.keys())
@pytest.mark.parametrize("nanoseconds", [False, True])
def test_delays_are_measured_exactly(tmp_path: Path, plan: StreamPlan, nanoseconds: bool) -> None:
    stream, truth = _replayed(tmp_path, plan, nanoseconds=nanoseconds)
    _same_counts(stream, truth)
    _same_delays(stream, truth)


def test_percentiles_lie_within_a_class_of_the_histogram(tmp_path: Path) -> None:
    stream, truth = _replayed(tmp_path, DELAYED["jitter"])
    for found, values in ((stream.ipdv_ms, map(abs, truth.ipdv_ms)), (stream.pdv_ms, truth.pdv_ms)):
        ranked = sorted(values)
        assert found is not None
        for percentile, share in ((found.p50, 50), (found.p95, 95), (found.p99, 99)):
            nearest = ranked[-(-len(ranked) * share // 100) - 1]
            assert percentile == pytest.approx(nearest, rel=1 / 16, abs=0.01)


def test_clock_drift_is_found_under_jitter(tmp_path: Path) -> None:
    delays = combined(clock_drift(3000, 80), uniform_jitter(3000, 4, seed=14))
    stream, _ = _replayed(tmp_path, StreamPlan(packets=3000, delays=delays))
    assert stream.clock_drift_ppm == pytest.approx(-80, abs=5)  # the sender's clock is slow


def test_mirror_copies_are_no_packets_of_the_stream(tmp_path: Path) -> None:
    plan = replace(DELAYED["jitter and loss"], mirrored_after=40_000)
    stream, truth = _replayed(tmp_path, plan)
    assert truth.mirror_copies == truth.packets > 400
    _same_counts(stream, truth)
    _same_delays(stream, truth)


def test_silence_is_neither_loss_nor_jitter(tmp_path: Path) -> None:
    plan = StreamPlan(silences=(Silence(before=100, packets=40), Silence(before=300, packets=75)))
    stream, truth = _replayed(tmp_path, plan)
    _same_counts(stream, truth)
    assert stream.lost == 0
    assert stream.talk_spurts == 3
    assert stream.jitter_ms is not None
    assert stream.jitter_ms.max == pytest.approx(0, abs=1e-6)


def test_telephone_events_are_read_and_disturb_nothing(tmp_path: Path) -> None:
    presses = (KeyPress(first=100, event=5, packets=8), KeyPress(first=300, event=11, packets=12, volume=7))
    plan = StreamPlan(delays=uniform_jitter(500, 9, seed=15), key_presses=presses)
    stream, truth = _replayed(tmp_path, plan)
    _same_counts(stream, truth)
    _same_jitter(stream, truth)
    found = [(one.event, one.packets, one.duration_ms, one.volume_dbm0, one.ended) for one in stream.telephone_events]
    # RFC 4733 2.5.1.4: the last three packets repeat the final duration
    assert found == [(5, 8, 120.0, -10, True), (11, 12, 200.0, -7, True)]


def test_restart_of_the_sequence_is_no_loss(tmp_path: Path) -> None:
    stream, truth = _replayed(tmp_path, StreamPlan(restarts={250: 40_000}, lost=frozenset({100, 400})))
    assert (stream.packets, stream.lost, stream.segments) == (truth.packets, 2, 2)
    assert stream.expected == 500


def test_change_of_ssrc_is_another_stream(tmp_path: Path) -> None:
    first = StreamPlan(packets=200, lost=frozenset({50}))
    second = StreamPlan(
        packets=300, ssrc=0x55667788, first_seq=9, start=START + 4_000 * MILLISECOND, lost=frozenset({7, 8})
    )
    replay = _replay(tmp_path, pcap(map(framed, captured([first, second]))))
    assert {stream.ssrc: (stream.packets, stream.lost) for stream in replay.streams} == {
        first.ssrc: (199, 1),
        second.ssrc: (298, 2),
    }


def test_two_hundred_random_streams_are_all_told_exactly(tmp_path: Path) -> None:
    plans = {plan.ssrc: plan for plan in map(_random_plan, range(200))}
    packets = captured(plans.values())
    calls = [_announcement(plan, f"{ssrc:08x}-call@example.net", "PCMA/8000") for ssrc, plan in plans.items()]
    replay = _replay(tmp_path, pcap(_frames(packets, calls)))
    by_plan: dict[int, list[CapturedPacket]] = {ssrc: [] for ssrc in plans}
    for packet in packets:
        by_plan[packet.plan.ssrc].append(packet)
    assert {stream.ssrc for stream in replay.streams} == set(plans)
    for stream in replay.streams:
        truth = measure(by_plan[stream.ssrc])
        _same_counts(stream, truth)
        _same_jitter(stream, truth)
        assert stream.call_id == f"{stream.ssrc:08x}-call@example.net"
    assert len(replay.calls) == 200


def test_stream_in_hopeless_order_is_measured_where_a_call_announced_it(tmp_path: Path) -> None:
    plan = StreamPlan(delays=uniform_jitter(500, 70, seed=5))
    packets = captured([plan])
    replay = _replay(tmp_path, pcap(_frames(packets, [_announcement(plan, "disorder@example.net", "PCMA/8000")])))
    (stream,) = replay.streams
    truth = measure(packets)
    assert truth.reordered > 100
    _same_counts(stream, truth)
    _same_delays(stream, truth)


def test_every_file_format_tells_the_same(tmp_path: Path) -> None:
    plan = StreamPlan(lost=gilbert_loss(500, 0.03, 0.3, seed=16), delays=uniform_jitter(500, 30, seed=17))
    packets = captured([plan])
    truth = measure(packets)
    plain = [framed(packet) for packet in packets]
    raw = [framed(packet, LinkType.RAW_IP) for packet in packets]
    interfaces = (Interface(), Interface(LinkType.RAW_IP, decimals=9, dropped=0))
    turns = [(at, place % 2, (data, raw[place][1])[place % 2]) for place, (at, data) in enumerate(plain)]
    formats: Mapping[str, bytes] = {
        "big-endian": pcap(plain, big_endian=True),
        "nanoseconds": pcap(plain, nanoseconds=True),
        "nanoseconds big-endian": pcap(plain, nanoseconds=True, big_endian=True),
        "raw IP": pcap(raw, link_type=LinkType.RAW_IP),
        "VLAN": pcap(framed(packet, vlans=(100,)) for packet in packets),
        "QinQ": pcap(framed(packet, vlans=(100, 7)) for packet in packets),
        "snap length": pcap(plain, snap_length=60),
        "pcapng": pcapng(turns, interfaces),
        "pcapng big-endian": pcapng(turns, interfaces, big_endian=True),
    }
    for name, data in formats.items():
        (stream,) = _replay(tmp_path, data).streams
        assert (name, stream.packets, stream.expected, stream.lost) == (name, truth.packets, 500, truth.lost)
        assert (name, stream.octets, stream.reordered) == (name, truth.octets, truth.reordered)
        _same_jitter(stream, truth)


def test_ipv6_stream_is_measured_like_any(tmp_path: Path) -> None:
    plan = replace(DELAYED["jitter and loss"], src=Endpoint("2001:db8::1", 16384), dst=Endpoint("2001:db8:1::2", 20000))
    stream, truth = _replayed(tmp_path, plan)
    assert (stream.src, stream.dst) == (plan.src, plan.dst)
    _same_counts(stream, truth)
    _same_delays(stream, truth)


def test_opus_takes_its_clock_from_the_call(tmp_path: Path) -> None:
    plan = StreamPlan(payload_type=111, clock_rate=48_000, payload_size=70, delays=uniform_jitter(500, 11, seed=18))
    packets = captured([plan])
    replay = _replay(tmp_path, pcap(_frames(packets, [_announcement(plan, "opus@example.net", "opus/48000/2")])))
    (stream,) = replay.streams
    assert (stream.codec, stream.clock_rate, stream.clock_rate_source) == ("OPUS", 48_000, "sdp")
    assert stream.call_id == "opus@example.net"
    _same_delays(stream, measure(packets))
    (found,) = replay.calls
    assert (found.state, found.status, found.hung_up_by) == (CallState.COMPLETED, 200, "caller")
    assert (found.post_dial_delay_ms, found.setup_ms, found.duration_ms) == (400.0, 3_000.0, 11_000.0)


def test_bulk_media_is_told_stream_by_stream(tmp_path: Path) -> None:
    path = tmp_path / "bulk.pcap"
    totals = write_rtp(path, RtpSize(packets=60_000, calls=60, concurrent=20))
    replay = replay_files([path])
    found = {stream.ssrc: stream for stream in replay.streams}
    assert len(found) == len(totals.streams) == 120
    for true in totals.streams:
        stream = found[true.ssrc]
        assert (stream.packets, stream.expected, stream.lost) == (true.packets, true.expected, true.lost)
        assert (stream.duplicates, stream.reordered, stream.mirror_copies) == (true.duplicates, true.reordered, 0)
        assert stream.call_id is not None
    assert replay.sip.messages == totals.sip_messages
    assert [call.state for call in replay.calls] == [CallState.COMPLETED] * 60


def test_bulk_signalling_is_told_call_by_call(tmp_path: Path) -> None:
    path = tmp_path / "bulk.pcap"
    truth = write_sip(path, SipSize(messages=2_860, calls=400))
    replay = replay_files([path])
    assert replay.sip.messages == truth.messages
    assert dict(replay.sip.methods) == truth.methods
    assert dict(replay.sip.responses) == truth.responses
    assert replay.sip.retransmissions == truth.retransmissions
    states = [call.state for call in replay.calls]
    refused = ("busy", "not_found", "unavailable")
    assert len(states) == truth.calls
    assert states.count(CallState.COMPLETED) == truth.outcomes["completed"]
    assert states.count(CallState.CANCELLED) == truth.outcomes["cancelled"]
    assert states.count(CallState.UNANSWERED) == truth.outcomes["unanswered"]
    assert states.count(CallState.FAILED) == sum(truth.outcomes[name] for name in refused)
    assert replay.sip.metrics.attempts == truth.calls  # a challenge and its retry are one attempt
    assert replay.sip.metrics.asr_percent == pytest.approx(100 * truth.outcomes["completed"] / truth.calls)


def _random_plan(number: int) -> StreamPlan:
    rng = Random(number)
    packets = rng.randrange(60, 400)
    return StreamPlan(
        src=Endpoint(f"192.0.2.{number % 250 + 1}", 16384 + 2 * number),
        dst=Endpoint("198.51.100.20", 20000 + 2 * number),
        ssrc=0x10000000 + number,
        packets=packets,
        start=START + rng.randrange(5_000_000) * 1000,
        first_seq=rng.randrange(65536),
        first_timestamp=rng.randrange(1 << 32),
        first_ip_id=rng.randrange(65536),
        lost=gilbert_loss(packets, rng.uniform(0, 0.1), rng.uniform(0.2, 1), number) - {1, 2},
        delays=(0, 0, 0, *uniform_jitter(packets - 3, rng.choice((2, 15, 60)), number)),
        duplicated={place: 3 * MILLISECOND for place in range(5, packets) if rng.random() < 0.02},
    )


def _announcement(plan: StreamPlan, call_id: str, rtpmap: str) -> CallPlan:
    """The call whose caller sends the stream; it is answered when the stream begins."""
    formats = ((plan.payload_type, rtpmap),)
    return CallPlan(
        call_id,
        Endpoint(plan.src.ip, 5060),
        Endpoint(plan.dst.ip, 5060),
        "1001",
        "1002",
        plan.start - 3_000 * MILLISECOND,
        talk=11_000 * MILLISECOND,
        caller_media=Media(plan.src, formats),
        callee_media=Media(plan.dst, formats),
    )


def _frames(packets: Iterable[CapturedPacket], calls: Iterable[CallPlan]) -> list[tuple[int, bytes]]:
    messages = [message for call in calls for message in call_messages(call)]
    signalling = [(one.at, frame(udp_packet(one.src, one.dst, one.payload))) for one in messages]
    return sorted([*signalling, *map(framed, packets)], key=lambda timed: timed[0])


def _replay(tmp_path: Path, data: bytes) -> Replay:
    path = tmp_path / "capture.pcap"
    path.write_bytes(data)
    return replay_files([path])


def _replayed(tmp_path: Path, plan: StreamPlan, *, nanoseconds: bool = False) -> tuple[Stream, StreamTruth]:
    packets = captured([plan])
    (stream,) = _replay(tmp_path, pcap(map(framed, packets), nanoseconds=nanoseconds)).streams
    assert (stream.src, stream.dst, stream.ssrc) == (plan.src, plan.dst, plan.ssrc)
    unit = 1 if nanoseconds else 1000  # the file keeps no more than that of an arrival
    return stream, measure([packet._replace(at=packet.at // unit * unit) for packet in packets])


def _same_counts(stream: Stream, truth: StreamTruth) -> None:
    assert (stream.packets, stream.octets) == (truth.packets, truth.octets)
    assert (stream.expected, stream.lost) == (truth.expected, truth.lost)
    found = (stream.duplicates, stream.mirror_copies, stream.reordered)
    assert found == (truth.duplicates, truth.mirror_copies, truth.reordered)
    assert sum(run.count for run in stream.loss_runs) == len(truth.loss_runs)


def _same_jitter(stream: Stream, truth: StreamTruth) -> None:
    assert stream.jitter_ms is not None
    assert truth.jitter is not None
    found = (stream.jitter_ms.mean, stream.jitter_ms.max, stream.jitter_ms.last)
    assert found == pytest.approx((truth.jitter.mean, truth.jitter.max, truth.jitter.last), abs=1e-6)


def _same_delays(stream: Stream, truth: StreamTruth) -> None:
    _same_jitter(stream, truth)
    assert stream.ipdv_ms is not None
    # delays wait in 32 bits: exact to a microsecond up to 8 s
    assert stream.ipdv_ms.max == pytest.approx(max(map(abs, truth.ipdv_ms)), abs=1e-3)
    assert stream.pdv_ms is not None
    assert stream.pdv_ms.max == pytest.approx(max(truth.pdv_ms), abs=1e-3)
    assert stream.max_delta_ms == pytest.approx(max(truth.deltas_ms), abs=1e-6)
    assert stream.mean_delta_ms == pytest.approx(sum(truth.deltas_ms) / len(truth.deltas_ms), abs=1e-6)


def _binned(stream: Stream, truth: StreamTruth) -> Mapping[float, int]:
    """The true runs in the classes of the report."""
    return {bin_.low: count for bin_ in stream.loss_runs if (count := _within(bin_.low, bin_.high, truth.loss_runs))}


def _within(low: float, high: float | None, values: Iterable[int]) -> int:
    return sum(low <= value and (high is None or value < high) for value in values)
