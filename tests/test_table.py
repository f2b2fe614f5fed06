"""The kernels of the stream table count what the slow reference counts, compiled and as plain Python."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_table import MS, Arrival, Measured, measure, nearest_rank
from wire import DPORT, DST, START, ipv4, pcap, rtp, udp

from collector.capture import columns as c
from collector.facts import Endpoint, NegotiatedMedia
from collector.media import columns as m
from collector.media.book import MediaBook
from collector.media.columns import RUN_CLASS_LOWS
from collector.media.delay_numba_fns import work_out
from collector.media.reports import StreamReport, burst_gap
from collector.media.rtp_numba_fns import settle_rows
from collector.media.streams import StreamLimits, StreamTable
from collector.media.table import WalkArrays, histograms, new_context, stream_arrays, walk_arrays
from collector.walk_numba_fns import walk

RAW_IP = 101
ETHERNET = bytes(12) + b"\x08\x00"
PLAIN = os.environ.get("NUMBA_DISABLE_JIT") == "1"
"""Kernels run as Python: a hundred times slower, so fewer examples."""
EXAMPLES = 15 if PLAIN else 300


def announcing() -> MediaBook:
    """A call that asked for the stream: however short or holed it is, it is one."""
    book = MediaBook()
    receiver = Endpoint(DST, DPORT)
    book.announce(
        NegotiatedMedia(receiver, "audio", "RTP/AVP", {}, 20.0, "sendrecv", None, "callee", START, None), "call"
    )
    return book


LIMITS = StreamLimits(rows=16)


def table_of(arrivals: Sequence[Arrival], link_type: int = 1, limits: StreamLimits = LIMITS) -> list[StreamReport]:
    """The arrivals as a capture, walked by the kernel: plain packets are told from others on Ethernet alone."""
    records = []
    for one in arrivals:
        octets = rtp(one.seq, one.timestamp, payload_type=one.payload_type, marker=one.marker) + bytes(one.octets)
        packet = ipv4(udp(octets), ip_id=one.ip_id, ttl=one.ttl, dscp=one.dscp)
        records.append((one.at, ETHERNET + packet if link_type == 1 else packet))
    return walked(records, link_type, limits=limits)[0]


def walked(
    records: Sequence[tuple[int, bytes]], link_type: int = 1, big: bool = False, limits: StreamLimits = LIMITS
) -> tuple[list[StreamReport], list[int]]:
    """Reports and counters of a capture's packets; plain packets are told only in little-endian captures."""
    window = np.frombuffer(pcap(records, big=big), np.uint8)
    table, arrays = StreamTable(announcing(), limits), walk_arrays()
    arrays.context[c.FORMAT], arrays.context[c.RECORD_HEADER], arrays.context[c.POSITION] = c.FORMAT_PCAP, 16, 24
    arrays.context[c.SWAPPED] = big
    arrays.interfaces[0] = (link_type, 1_000_000_000, 0, 262_144)
    with np.errstate(over="ignore"):  # hashes wrap, which plain numpy would remark on
        while True:
            status = walk(window, len(window), arrays, table.arrays)
            table.take_jobs()
            answer_all(table, arrays)
            if status == c.STOP_FORMAT:
                table.answer_format(int(arrays.context[c.STOP_ROW]))
            elif status == c.STOP_EVENTS:
                table.take_log(arrays.context)
            elif status == c.STOP_PENDING:
                arrays.context[c.PENDING_COUNT] = 0
            elif status != c.STOP_JOBS:
                assert status == c.STOP_MORE
                kept = arrays.context[[c.PACKETS, c.FIRST, c.LAST, c.PENDING_COUNT]]
                return table.finish(arrays.context), [*arrays.counters.tolist(), *kept.tolist()]


def answer_all(table: StreamTable, arrays: WalkArrays) -> None:
    """Answer what rows asked while the kernel walked on; other packets that wait stay."""
    waiting = arrays.pending[: arrays.context[c.PENDING_COUNT]]
    asking = waiting[:, c.PENDING_KIND] == c.KIND_QUESTION
    for question in waiting[asking]:
        table.answer(question)
    others = waiting[~asking]
    arrays.pending[: len(others)] = others
    arrays.context[c.PENDING_COUNT] = len(others)


def only(arrivals: Sequence[Arrival]) -> StreamReport:
    (report,) = table_of(arrivals)
    assert [report] == table_of(arrivals, RAW_IP)
    return report


def evenly(packets: int, first_seq: int = 1000, ptime_ms: int = 20) -> list[Arrival]:
    return [
        Arrival(START + k * ptime_ms * MS, (first_seq + k) & 0xFFFF, 160_000 + 8 * ptime_ms * k, ip_id=k + 1)
        for k in range(packets)
    ]


def without(arrivals: Sequence[Arrival], lost: Sequence[int]) -> list[Arrival]:
    return [one for k, one in enumerate(arrivals) if k not in set(lost)]


def assert_same(report: StreamReport, truth: Measured) -> None:
    assert report.validated
    assert (report.packets, report.octets) == (truth.packets, truth.octets)
    assert (report.expected, report.lost, report.loss_runs) == (truth.expected, truth.lost, len(truth.runs))
    assert (report.duplicates, report.copies, report.reordered) == (truth.duplicates, truth.copies, truth.reordered)
    classes = [0] * len(RUN_CLASS_LOWS)
    for run in truth.runs:
        classes[sum(low <= run for low in RUN_CLASS_LOWS) - 1] += 1
    assert report.run_classes == tuple(classes)
    assert (report.bursts, report.burst_packets, report.burst_lost) == (
        truth.bursts,
        truth.burst_packets,
        truth.burst_lost,
    )
    assert report.max_delta_ms == truth.max_delta_ms
    assert (report.dscp, report.types) == (truth.dscp, truth.types)
    assert (report.spurts, report.comfort_noise) == (truth.spurts, truth.comfort_noise)
    assert report.timestamp_jumps == truth.timestamp_jumps
    assert_same_delays(report, truth)


def assert_same_delays(report: StreamReport, truth: Measured) -> None:
    if truth.jitter is None:
        assert report.jitter is None
        return
    assert report.jitter == pytest.approx(truth.jitter, abs=1e-6)
    for spread, values in ((report.ipdv, truth.ipdv), (report.pdv, truth.pdv)):
        assert spread is not None
        # delays wait in 32 bits: exact to a microsecond up to 8 s
        assert spread.max == pytest.approx(max(values), abs=1e-3)
        for share, found in ((50, spread.p50), (95, spread.p95), (99, spread.p99)):
            # classes are 8 µs wide, then a sixteenth of their value
            assert found == pytest.approx(nearest_rank(values, share), rel=1 / 16, abs=0.009)
    assert sum(each.count for each in report.delay_histogram) == len(truth.pdv)


# --- random streams -----------------------------------------------------------------------------------------------

FATES = ("arrives", "lost", "duplicated", "copied", "copied late", "late", "very late", "marked")


@st.composite
def streams(draw: st.DrawFn, packets: int = 260) -> list[Arrival]:
    """A stream that begins in order (so that it proves one), then meets whatever a network can do to it."""
    fates = draw(st.lists(st.sampled_from(FATES), max_size=40))
    clean = draw(st.integers(0, 30))
    rng = Random(draw(st.integers(0, 1 << 32)))
    identified = draw(st.booleans())
    first_seq = draw(st.sampled_from((0, 1000, 65_300, 65_500)))
    first_timestamp = draw(st.sampled_from((0, 1 << 31, (1 << 32) - 20_000)))
    jitter_ns = draw(st.sampled_from((0, 3_000_000, 60_000_000)))
    found: list[tuple[int, int, Arrival]] = []
    skipped = silence = burst = 0
    for k in range(draw(st.integers(3, packets))):
        fate = "arrives" if k < 3 or not fates else rng.choice((*fates, *["arrives"] * clean))
        if k > 3 and rng.random() < 0.004:
            silence += rng.choice((100, 900, 1_900, 4_000)) * MS
        if k > 3 and rng.random() < 0.003:
            skipped += rng.choice((30, 200, 2_900))
        burst = max(burst - 1, 0) if rng.random() < 0.9 else rng.choice((0, 0, 0, 5))
        if fate == "lost" or (burst and k > 3):
            continue
        delay = {"late": 300, "very late": 1_500}.get(fate, 0) * MS + rng.randrange(jitter_ns + 1) * (k > 2)
        one = Arrival(
            at=START + k * 20 * MS + silence + delay,
            seq=(first_seq + k + skipped) & 0xFFFF,
            timestamp=(first_timestamp + 160 * (k + skipped * rng.choice((0, 1)))) & 0xFFFFFFFF,
            marker=fate == "marked",
            payload_type=13 if k > 3 and rng.random() < 0.03 else 8 if k < 150 else 0,
            ip_id=(k * 7 + 1) & 0xFFFF if identified else 0,
            octets=rng.choice((160, 160, 1)),
            dscp=46 if rng.random() < 0.98 else 0,
        )
        found.append((one.at, k, one))
        if fate == "duplicated":
            again = one._replace(at=one.at + rng.choice((4, 60, 300)) * MS, ip_id=one.ip_id + 3 if identified else 0)
            found.append((again.at, k, again))
        elif fate in ("copied", "copied late"):
            again = one._replace(at=one.at + (40_000 if fate == "copied" else 30 * MS), ttl=rng.choice((63, 64)))
            found.append((again.at, k, again))
    return [one for _, _, one in sorted(found, key=lambda each: each[:2])]


def within_reach(arrivals: Sequence[Arrival]) -> bool:
    """Whether no packet goes back by 100 numbers or ahead by 3,000, and none is late after a pause."""
    newest, before = arrivals[0].seq, arrivals[0].at
    for one in arrivals:
        ahead = ((one.seq - newest + 32768) & 0xFFFF) - 32768
        if not -100 < ahead < 3_000 or (ahead <= 0 and one.at - before > 1_900 * MS):
            return False
        newest, before = max(newest, newest + ahead), one.at
    return True


@settings(max_examples=EXAMPLES, deadline=None)
@given(arrivals=streams(120 if PLAIN else 400).filter(within_reach))
def test_plain_any_stream_is_counted_as_the_reference_counts(arrivals: list[Arrival]) -> None:
    assert_same(only(arrivals), measure(arrivals))


@settings(max_examples=EXAMPLES // 3, deadline=None)
@given(arrivals=streams(120 if PLAIN else 400).filter(within_reach), payload_type=st.sampled_from((8, 100)))
def test_plain_streams_measured_in_smaller_pieces_come_to_the_same(arrivals: list[Arrival], payload_type: int) -> None:
    """Of type 100 nothing was announced: its clock is told from the first 64 packets, however many fit in a row."""
    typed = [one._replace(payload_type=payload_type) for one in arrivals]
    few, all_of_them = (StreamLimits(16, interval_ns=10**15, samples=samples) for samples in (m.FEWER_SAMPLES, 64))
    assert table_of(typed, limits=few) == table_of(typed, limits=all_of_them)


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    kinds=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9)), min_size=20, max_size=200),
    damage=st.lists(st.tuples(st.integers(0, 199), st.integers(0, 57), st.integers(0, 255)), max_size=12),
    cut=st.integers(0, 40),
)
def test_plain_packets_and_others_are_counted_alike(
    kinds: list[tuple[int, int]], damage: list[tuple[int, int, int]], cut: int
) -> None:
    packets, sent = [], [0, 0, 0]
    for at, (stream, what) in enumerate(kinds):
        sent[stream] += (1, 1, 1, 1, 1, 1, 2, 3, 0, 1)[what]
        header = rtp(sent[stream], 160 * sent[stream], stream, (8, 8, 8, 13, 101, 8, 8, 8, 8, 0)[what], what == 5)
        octets = ipv4(udp(header + bytes(4 if what == 4 else 160)), ip_id=at, dscp=46 * (what != 2))
        packets.append((START + at * 7 * MS, bytearray(ETHERNET + octets)))
    for number, place, octet in damage:
        packets[number % len(packets)][1][place] = octet
    if damage:
        del packets[damage[0][0] % len(packets)][1][len(ETHERNET) + 54 - cut :]
    records = [(at, bytes(octets)) for at, octets in packets]
    assert walked(records) == walked(records, big=True)


@pytest.mark.parametrize("seed", range(2 if PLAIN else 12))
def test_plain_long_streams_are_counted_as_the_reference_counts(seed: int) -> None:
    rng = Random(seed)
    arrivals = without(evenly(600 if PLAIN else 6_000, first_seq=64_000), lost_places(rng, 6_000))
    moved = [one._replace(at=one.at + rng.randrange(70) * MS * (k > 3)) for k, one in enumerate(arrivals)]
    arrivals = sorted(moved, key=lambda one: one.at)
    assert_same(only(arrivals), measure(arrivals))


def lost_places(rng: Random, packets: int) -> list[int]:
    lost, place = [], 5
    while place < packets - 130:
        place += rng.randrange(1, 60)
        for _ in range(rng.choice((0, 1, 1, 2, 3, 17, 60, 120))):
            lost.append(place)
            place += rng.choice((1, 1, 1, 3))
    return [number for number in lost if number < packets]


# --- golden vectors -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def golden(shared: Path) -> dict[str, Any]:
    vectors: dict[str, Any] = json.loads((shared / "golden" / "metrics_golden.json").read_text())
    return vectors


def test_plain_jitter_of_eight_packets_in_the_golden_order(golden: dict[str, Any]) -> None:
    vector = golden["rfc3550_jitter"]
    arrivals = sorted(
        Arrival(START + round(at * MS), 1000 + k, timestamp, ip_id=k + 1)
        for k, (at, timestamp) in enumerate(zip(vector["arrival_ms"], vector["sent_ts"], strict=True))
    )
    assert [one.seq - 1000 for one in arrivals] == vector["order_of_arrival"]
    report = only(arrivals)
    assert report.jitter is not None
    estimates = [value * 1000 / vector["clock"] for value in vector["J_float_ts_units"]]
    assert report.jitter.last == pytest.approx(vector["J_final_ms"], abs=1e-9)
    assert report.jitter.max == pytest.approx(max(estimates), abs=1e-6)
    assert report.jitter.mean == pytest.approx(sum(estimates) / 7, abs=1e-6)
    assert (report.reordered, report.lost) == (1, 0)


def test_plain_one_packet_20_ms_late(golden: dict[str, Any]) -> None:
    vector = golden["rfc3550_single_late_20ms"]
    arrivals = evenly(53)
    arrivals[2] = arrivals[2]._replace(at=arrivals[2].at + 20 * MS)
    peak, after = only(arrivals[:4]).jitter, only(arrivals).jitter
    assert peak is not None
    assert after is not None
    assert (peak.max, after.max) == pytest.approx((vector["peak_ms"], vector["peak_ms"]), abs=1e-12)
    assert peak.last * (15 / 16) ** 38 == pytest.approx(vector["after_50_pkts"], rel=0.02)
    assert after.last == pytest.approx(vector["peak_ms"] * (15 / 16) ** 49, abs=1e-12)


def test_plain_expected_and_lost_over_a_wrap(golden: dict[str, Any]) -> None:
    vector = golden["rfc3550_A3"][0]
    arrivals = without(evenly(vector["expected"], first_seq=vector["base"]), (5, 9))
    assert arrivals[-1].seq == vector["max"]
    report = only(arrivals)
    assert (report.packets, report.expected, report.lost) == (vector["received"], vector["expected"], vector["lost"])
    assert (report.base_seq & 0xFFFF, report.last_seq & 0xFFFF) == (vector["base"], vector["max"])


def test_plain_duplicates_never_make_losses_negative(golden: dict[str, Any]) -> None:
    vector = golden["rfc3550_A3"][1]
    arrivals = evenly(vector["expected"], first_seq=vector["base"])
    again = [one._replace(at=one.at + 5 * MS, ip_id=one.ip_id + 500) for one in arrivals[10:13]]
    report = only(sorted([*arrivals, *again]))
    assert (report.packets, report.expected) == (vector["received"], vector["expected"])
    # RFC 3550 A.3 counts received, duplicates included: expected - received is what the vector calls lost
    assert report.expected - report.packets == vector["lost"]
    assert (report.lost, report.duplicates) == (0, 3)


CASES = (
    "no_loss",
    "one_isolated_loss",
    "two_isolated_far",
    "two_15_received_between",
    "two_16_received_between",
    "burst_5_consecutive",
    "two_bursts_plus_isolated",
)


def test_every_golden_case_of_bursts_is_among_those_tested(golden: dict[str, Any]) -> None:
    assert set(golden["rfc3611_gmin16_20ms"]) == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_plain_bursts_and_gaps_of_the_golden_cases(golden: dict[str, Any], name: str) -> None:
    case = golden["rfc3611_gmin16_20ms"][name]
    direct = case["direct"]
    report = only(without(evenly(case["n"]), case["lost_at"]))
    assert (report.expected, report.lost, report.bursts) == (direct["n"], direct["lost"], direct["bursts"])
    found = burst_gap(report.expected, report.lost, report.bursts, report.burst_packets, report.burst_lost, 20.0)
    assert found.burst_density == pytest.approx(direct["burst_pct"], abs=5e-5)
    assert found.gap_density == pytest.approx(direct["gap_pct"], abs=5e-5)
    assert int(found.burst_density * 256 / 100) in (direct["burst_density"], direct["burst_density"] + 1)
    assert found.burst_duration_ms == pytest.approx(direct["burst_ms"], abs=1e-9)
    assert found.gap_duration_ms == pytest.approx(direct["gap_ms"], abs=1e-9)


# --- what a single stream can do beyond loss ----------------------------------------------------------------------


def test_plain_restart_of_the_numbering_opens_a_segment_and_loses_nothing() -> None:
    before, after = evenly(50), evenly(50, first_seq=40_000)
    report = only([*before, *(one._replace(at=one.at + 1_000 * MS) for one in after)])
    assert (len(report.serials), report.packets, report.expected, report.lost) == (2, 100, 100, 0)


def test_plain_lower_number_after_a_pause_is_a_restart() -> None:
    again = [one._replace(at=one.at + 5_000 * MS) for one in evenly(50, first_seq=1030)]
    report = only([*evenly(50), *again])
    assert (len(report.serials), report.packets, report.lost, report.duplicates) == (2, 100, 0, 0)


def test_stray_packet_in_a_stream_is_none_of_it() -> None:
    arrivals = evenly(100)
    stray = arrivals[40]._replace(seq=30_000, at=arrivals[40].at + 1)
    report = only([*arrivals[:41], stray, *arrivals[41:]])
    assert (report.packets, report.expected, report.lost, len(report.serials)) == (100, 100, 0, 1)


def test_copies_of_a_tap_are_found_among_reordered_packets() -> None:
    arrivals = evenly(40)
    arrivals[20], arrivals[21] = arrivals[21]._replace(at=arrivals[20].at), arrivals[20]._replace(at=arrivals[21].at)
    doubled = [copy for one in arrivals for copy in (one, one._replace(at=one.at + 40_000))]
    report = only(doubled)
    assert (report.packets, report.copies, report.duplicates, report.reordered) == (40, 40, 0, 1)


def test_copies_of_a_tap_are_found_after_a_loss() -> None:
    doubled = [copy for one in without(evenly(40), (20,)) for copy in (one, one._replace(at=one.at + 40_000))]
    report = only(doubled)
    assert (report.packets, report.copies, report.duplicates, report.lost) == (39, 39, 0, 1)


def test_stream_that_begins_out_of_order_begins_with_its_lowest_number() -> None:
    arrivals = evenly(60)
    first = [arrivals[k]._replace(at=START + place * MS) for place, k in enumerate((3, 1, 0))]
    report = only([*first, *arrivals[4:]])
    assert (report.expected, report.lost, report.reordered, report.base_seq & 0xFFFF) == (60, 1, 2, 1000)


def test_plain_settling_stops_while_the_list_of_intervals_is_full() -> None:
    arrays, context, rows = stream_arrays(2, interval_ns=10**9), new_context(), np.arange(2)
    arrays.counts[:, m.SERIAL] = 7, 8
    arrays.counts[:, m.PACKETS] = 1
    arrays.settings[m.SETTING_WRITTEN] = m.INTERVAL_ROWS - 8  # one more may be begun
    assert settle_rows(arrays, context, rows, 0) == 1
    assert arrays.intervals[m.INTERVAL_ROWS - 8, m.INTERVAL_SERIAL] == 7
    arrays.settings[m.SETTING_WRITTEN] = 0
    assert settle_rows(arrays, context, rows, 1) == 2
    assert arrays.intervals[0, m.INTERVAL_SERIAL] == 8


@pytest.mark.skipif(PLAIN, reason="takes long")
def test_streams_of_hours_are_counted_past_16_bits() -> None:
    """140,000 packets, each 20 ms after the one before: every variation is 0, and in the first class."""
    table, packets = stream_arrays(1), 140_032
    table.counts[0, m.CLOCK], table.counts[0, m.PREVIOUS_AT], table.counts[0, m.PACKETS] = 8000, -1, packets
    for first in range(0, packets, 64):
        numbers = np.arange(first, first + 64)
        table.samples[0, 0::2] = numbers * 20 * MS
        table.samples[0, 1::2] = numbers * 160 & 0xFFFFFFFF | (numbers & 0xFFFF) << m.SAMPLE_SEQ
        table.counts[0, m.SAMPLES] = 64
        work_out(table, 0)
    ipdv, pdv = histograms(table, [0])
    assert (ipdv[0, 0], ipdv.sum()) == (packets - 1, packets - 1)
    waiting = int(table.counts[0, m.PDV_COUNT])
    assert (pdv[0, 0], pdv.sum()) == (packets - waiting, packets - waiting)


# --- as plain Python ----------------------------------------------------------------------------------------------


@pytest.mark.skipif(PLAIN, reason="this is the run as plain Python")
def test_kernels_without_compiler_count_the_same() -> None:
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rA", "-k", "plain", str(Path(__file__))]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-3000:]
    assert run.stdout.count("PASSED") > 12
