"""The simulator says what it writes: read back by scapy, which shares no code with it, and held to the RFCs."""

from __future__ import annotations

import io
import json
import struct
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q, Ether
from scapy.layers.rtp import RTP
from scapy.utils import PcapNgReader, PcapReader, rdpcap

from collector.facts import Endpoint
from collector.simulator.bulk_rtp import RtpSize, write_rtp
from collector.simulator.bulk_sip import SipSize, write_sip
from collector.simulator.capture_writer import Interface, pcap, pcapng
from collector.simulator.frames import LinkType, checksum
from collector.simulator.signalling import CallPlan, Media, call_messages
from collector.simulator.traffic import (
    MILLISECOND,
    KeyPress,
    Silence,
    StreamPlan,
    captured,
    framed,
    gilbert_loss,
    rtp,
    sent,
    spikes,
    uniform_jitter,
)
from collector.simulator.truth import interarrival_jitter, measure, segment


def test_scapy_reads_every_field_that_was_planned() -> None:
    plan = StreamPlan(packets=3, first_seq=65534, dscp=46)
    for packet in captured([plan]):
        _, data = framed(packet)
        read = Ether(data)
        assert (read[IP].src, read[UDP].sport) == plan.src
        assert (read[IP].dst, read[UDP].dport) == plan.dst
        assert read[IP].tos >> 2 == 46
        header = RTP(bytes(read[UDP].payload))
        assert header.sequence == (65534 + packet.sent.place) % 65536
        assert header.timestamp == 160_000 + 160 * packet.sent.place
        assert (header.sourcesync, header.payload_type, header.marker) == (plan.ssrc, 8, packet.sent.place == 0)
        assert len(header.load) == 160


def test_scapy_computes_the_same_checksums() -> None:
    v6 = StreamPlan(src=Endpoint("2001:db8::1", 5004), dst=Endpoint("2001:db8::2", 5006), packets=1)
    for plan, layer in ((StreamPlan(packets=1), IP), (v6, IPv6)):
        _, data = framed(captured([plan])[0])
        read = Ether(data)
        again = Ether(data)
        del again[UDP].chksum
        if layer is IP:
            del again[IP].chksum
            assert read[IP].chksum == Ether(bytes(again))[IP].chksum
        assert read[UDP].chksum == Ether(bytes(again))[UDP].chksum


def test_checksum_of_the_example_in_rfc_1071() -> None:
    assert checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0x220D  # RFC 1071 section 3: the sum is ddf2


def test_vlan_tags_stand_outermost_first() -> None:
    _, data = framed(captured([StreamPlan(packets=1)])[0], vlans=(100, 7))
    read = Ether(data)
    assert [read[Dot1Q].vlan, read[Dot1Q].payload[Dot1Q].vlan] == [100, 7]
    assert read[UDP].dport == 20000


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("nanoseconds", [False, True])
def test_scapy_reads_all_four_pcap_variants(big_endian: bool, nanoseconds: bool) -> None:
    plan = StreamPlan(packets=20, delays=(123_456_789,) * 20)
    frames = [framed(packet) for packet in captured([plan])]
    packets = rdpcap(io.BytesIO(pcap(frames, nanoseconds=nanoseconds, big_endian=big_endian)))
    unit = 1 if nanoseconds else 1000
    assert [bytes(packet) for packet in packets] == [data for _, data in frames]
    assert [int(packet.time * 10**9) // unit for packet in packets] == [at // unit for at, _ in frames]


def test_snap_length_cuts_frames_and_keeps_their_true_length(tmp_path: Path) -> None:
    frames = [framed(packet, LinkType.RAW_IP) for packet in captured([StreamPlan(packets=2)])]
    (tmp_path / "cut.pcap").write_bytes(pcap(frames, snap_length=60, link_type=LinkType.RAW_IP))
    with PcapReader(str(tmp_path / "cut.pcap")) as reader:
        assert reader.linktype == LinkType.RAW_IP
        assert [(len(packet.original), packet.wirelen) for packet in reader] == [(60, 200), (60, 200)]


@pytest.mark.parametrize("big_endian", [False, True])
def test_scapy_reads_pcapng_with_several_interfaces_and_resolutions(tmp_path: Path, big_endian: bool) -> None:
    plan = StreamPlan(packets=10, delays=(1234,) * 10)
    packets = captured([plan])
    frames = [
        (packet.at, place % 2, framed(packet, (LinkType.ETHERNET, LinkType.RAW_IP)[place % 2])[1])
        for place, packet in enumerate(packets)
    ]
    interfaces = (Interface(dropped=4), Interface(LinkType.RAW_IP, decimals=9))
    (tmp_path / "two.pcapng").write_bytes(pcapng(frames, interfaces, big_endian=big_endian))
    with PcapNgReader(str(tmp_path / "two.pcapng")) as reader:
        read = list(reader)
    assert [packet[UDP].dport for packet in read] == [20000] * 10
    assert [int(packet.time * 10**9) % 1000 for packet in read] == [0, 234] * 5


def test_loss_duplicates_mirrors_and_order_appear_as_planned() -> None:
    plan = StreamPlan(
        packets=50,
        lost=frozenset({10, 11, 30}),
        duplicated={20: 3 * MILLISECOND},
        delays=spikes(50, {40: 45 * MILLISECOND}),
        mirrored_after=1000,
    )
    packets = captured([plan])
    truth = measure(packets)
    assert (truth.packets, truth.expected, truth.lost) == (48, 50, 3)
    assert truth.loss_runs == (2, 1)
    assert (truth.duplicates, truth.mirror_copies, truth.reordered) == (1, 48, 1)
    assert [packet.at for packet in packets] == sorted(packet.at for packet in packets)
    by_copy = {(packet.sent.place, packet.copy): packet.ip_id for packet in packets}
    assert by_copy[20, "mirror"] != by_copy[20, "original"] or by_copy[20, "duplicate"] != by_copy[20, "original"]


def test_key_press_repeats_its_timestamp_and_ends_three_times() -> None:
    plan = StreamPlan(packets=20, key_presses=(KeyPress(first=5, event=7, packets=8),))
    packets = [packet for packet in captured([plan]) if packet.sent.payload_type == 101]
    assert len({packet.sent.timestamp for packet in packets}) == 1
    assert packets[0].sent.timestamp == 160_000 + 5 * 160
    fields = [struct.unpack("!BBH", rtp(packet)[12:]) for packet in packets]
    assert {event for event, _, _ in fields} == {7}
    assert [flags >> 7 for _, flags, _ in fields] == [0] * 5 + [1] * 3
    assert [duration for _, _, duration in fields] == [160, 320, 480, 640, 800, 960, 960, 960]


def test_silence_moves_the_timestamp_but_not_the_sequence() -> None:
    before, after = sent(StreamPlan(packets=3, silences=(Silence(before=2, packets=50),)))[1:]
    assert after.seq - before.seq == 1
    assert after.timestamp - before.timestamp == 51 * 160
    assert after.at - before.at == 51 * 20 * MILLISECOND
    assert after.marker


def test_jitter_of_one_packet_20_ms_late_peaks_at_its_known_height() -> None:
    # by hand: J = 20/16 after the late packet, then 1.25 + (20 - 1.25)/16 when the next is on time again
    transits = [Fraction(0)] * 10 + [Fraction(20)] + [Fraction(0)] * 10
    jitter = interarrival_jitter(transits)
    assert jitter is not None
    assert jitter.max == pytest.approx(1.25 + 18.75 / 16, abs=1e-12)


def test_jitter_agrees_with_published_vector(shared: Path) -> None:
    vector = json.loads((shared / "golden" / "metrics_golden.json").read_text())["rfc3550_jitter"]
    transits = [
        Fraction(vector["arrival_ms"][place]) - Fraction(vector["sent_ts"][place] * 1000, vector["clock"])
        for place in vector["order_of_arrival"]
    ]
    by_order = interarrival_jitter(transits)
    assert by_order is not None
    assert by_order.last == pytest.approx(vector["J_final_ms"], abs=1e-9)


def test_fifteen_received_between_losses_are_one_burst_and_sixteen_are_none() -> None:
    # RFC 3611 4.7.2 with Gmin 16
    one = segment([True] * 5 + [False] + [True] * 15 + [False] + [True] * 5)
    none = segment([True] * 5 + [False] + [True] * 16 + [False] + [True] * 5)
    assert (one.bursts, one.packets_in_bursts, one.lost_in_bursts, one.lost_in_gaps) == (1, 17, 2, 0)
    assert (none.bursts, none.packets_in_bursts, none.lost_in_bursts, none.lost_in_gaps) == (0, 0, 0, 2)


@given(st.integers(0, 2**32), st.floats(0.01, 0.3), st.floats(0.1, 1.0))
def test_losses_and_arrivals_always_add_up(seed: int, enter: float, leave: float) -> None:
    plan = StreamPlan(packets=80, lost=gilbert_loss(80, enter, leave, seed), delays=uniform_jitter(80, 60, seed))
    truth = measure(captured([plan]))
    assert truth.lost == sum(truth.loss_runs) == len(plan.lost)
    assert truth.packets + truth.lost == truth.expected == 80


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        ("completed", ["INVITE", "100", "180", "200", "ACK", "BYE", "200"]),
        ("busy", ["INVITE", "100", "486", "ACK"]),
        ("cancelled", ["INVITE", "100", "180", "CANCEL", "200", "487", "ACK"]),
        ("unanswered", ["INVITE", "100", "180", "480", "ACK"]),
    ],
)
def test_calls_follow_the_flows_of_rfc_3665(outcome: str, words: list[str]) -> None:
    phone, gateway = Endpoint("192.0.2.1", 5060), Endpoint("198.51.100.1", 5060)
    media = Media(Endpoint("192.0.2.1", 16384))
    plan = CallPlan("abc@example.net", phone, gateway, "1001", "1002", 0, outcome, caller_media=media)
    messages = list(call_messages(plan))
    assert [_word(message.payload) for message in messages] == words
    challenged = CallPlan("abc@example.net", phone, gateway, "1001", "1002", 0, outcome, challenged=True)
    assert [_word(message.payload) for message in call_messages(challenged)] == ["INVITE", "407", "ACK", *words]
    for message in messages:
        head, _, body = message.payload.partition(b"\r\n\r\n")
        assert f"Content-Length: {len(body)}".encode() in head


def test_bulk_rtp_truth_is_what_the_file_holds(tmp_path: Path) -> None:
    path = tmp_path / "rtp.pcap"
    totals = write_rtp(path, RtpSize(packets=8_000, calls=8, concurrent=4))
    seen: dict[int, list[int]] = {}
    sip, times = 0, []
    identifications: dict[tuple[int, int], set[int]] = {}
    for packet in rdpcap(str(path)):
        times.append(packet.time)
        if packet[UDP].dport == 5060:
            sip += 1
            continue
        header = RTP(bytes(packet[UDP].payload))
        seen.setdefault(header.sourcesync, []).append(header.sequence)
        identifications.setdefault((header.sourcesync, header.sequence), set()).add(packet[IP].id)
    twice = sum(len(numbers) > 1 for numbers in identifications.values())
    assert twice == sum(stream.duplicates for stream in totals.streams) > 0
    assert times == sorted(times)
    assert (sip, totals.sip_messages) == (56, 56)
    for stream in totals.streams:
        places = [(seq - seen[stream.ssrc][0]) % 65536 for seq in seen[stream.ssrc]]
        distinct = sorted(set(places))
        gaps = [later - earlier - 1 for earlier, later in pairwise(distinct)]
        assert len(places) == stream.packets == 500
        assert distinct[-1] + 1 == stream.expected
        assert (sum(gaps), sum(gap > 0 for gap in gaps)) == (stream.lost, stream.loss_runs)
        assert len(places) - len(distinct) == stream.duplicates
        first_time = [places.index(place) == position for position, place in enumerate(places)]
        late = [any(earlier > place for earlier in places[:position]) for position, place in enumerate(places)]
        assert sum(new and behind for new, behind in zip(first_time, late, strict=True)) == stream.reordered


def test_bulk_captures_are_the_same_for_the_same_seed(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_rtp(tmp_path / f"{name}.rtp", RtpSize(packets=1_000, calls=4))
        write_sip(tmp_path / f"{name}.sip", SipSize(messages=715, calls=100))
    assert (tmp_path / "a.rtp").read_bytes() == (tmp_path / "b.rtp").read_bytes()
    assert (tmp_path / "a.sip").read_bytes() == (tmp_path / "b.sip").read_bytes()


def test_bulk_sip_truth_is_what_the_file_holds(tmp_path: Path) -> None:
    truth = write_sip(tmp_path / "sip.pcap", SipSize(messages=715, calls=100))
    words: dict[str, int] = {}
    calls = set()
    for packet in rdpcap(str(tmp_path / "sip.pcap")):
        payload = bytes(packet[UDP].payload)
        words[_word(payload)] = words.get(_word(payload), 0) + 1
        calls.add(payload.split(b"Call-ID: ")[1].split(b"\r\n")[0])
    assert words == {**truth.methods, **truth.responses}
    assert (sum(words.values()), len(calls)) == (715, 100)


def test_sizes_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="too few"):
        write_rtp(tmp_path / "x", RtpSize(packets=10, calls=10))
    with pytest.raises(ValueError, match="do not fit"):
        write_sip(tmp_path / "x", SipSize(messages=10, calls=100))


def _word(payload: bytes) -> str:
    words = payload.split(b" ", 2)
    return words[words[0] == b"SIP/2.0"].decode()
