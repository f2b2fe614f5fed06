"""Capture files of every make give their packets and times; cut or corrupt ones say where they stop, and no more."""

from __future__ import annotations

import gzip
import struct
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from random import Random

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wire import START, ipv4, rtp, udp

from api.replay import ReplaySettings, replay_files
from collector.capture.container import FormatError, link_name, read_file_header, read_interface
from collector.capture.files import CaptureError
from collector.engine import EngineLimits
from collector.facts import Replay
from collector.media.streams import StreamLimits

SMALL = ReplaySettings(EngineLimits(streams=StreamLimits(rows=64)))
OPTIONS = (
    b"OPTIONS sip:198.51.100.20 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.10;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n"
    b"From: <sip:1@192.0.2.10>;tag=1\r\nTo: <sip:2@198.51.100.20>\r\nCall-ID: 1@192.0.2.10\r\nCSeq: 1 OPTIONS\r\n"
    b"Content-Length: 0\r\n\r\n"
)
MESSAGE = ipv4(udp(OPTIONS, 5060, 5060), ip_id=1)
VOICE = [ipv4(udp(rtp(seq, 160 * seq) + bytes(20)), ip_id=10 + seq) for seq in range(8)]
PACKETS = [MESSAGE, *VOICE]
ETHER = bytes.fromhex("0200000000020200000000010800")


def replayed(path: Path, data: bytes) -> Replay:
    path.write_bytes(data)
    return replay_files([path], SMALL)


def stopped_or_refused(path: Path, data: bytes) -> Replay | None:
    """A replay, or None where this is no capture; anything else is a defect."""
    try:
        return replayed(path, data)
    except CaptureError as error:
        said = str(error)
    assert str(path) in said
    assert "\n" not in said
    return None


def assert_all(replay: Replay, first: int = START, last: int = START + 160_000_000, within: int = 0) -> None:
    assert replay.capture.stopped is None
    assert (replay.capture.packets, replay.sip.messages) == (len(PACKETS), 1)
    assert [(stream.packets, stream.lost) for stream in replay.streams] == [(len(VOICE), 0)]
    assert (replay.capture.first, replay.capture.last) == pytest.approx((first, last), rel=0, abs=within)


# --- pcap ---------------------------------------------------------------------------------------------------------


def pcap(
    packets: Iterable[bytes] = PACKETS,
    *,
    magic: int = 0xA1B23C4D,
    big: bool = False,
    link_type: int = 101,
    snap_length: int = 65_535,
    more: bytes = b"",
) -> bytes:
    order = ">" if big else "<"
    unit = 1 if magic == 0xA1B23C4D else 1000
    parts = [struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, snap_length, link_type)]
    for place, packet in enumerate(packets):
        seconds, rest = divmod(START + place * 20_000_000, 1_000_000_000)
        parts.append(struct.pack(f"{order}IIII", seconds, rest // unit, len(packet), len(packet)) + more + packet)
    return b"".join(parts)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize(("magic", "more"), [(0xA1B2C3D4, b""), (0xA1B23C4D, b""), (0xA1B2CD34, bytes(8))])
def test_pcap_of_either_order_and_resolution(tmp_path: Path, big: bool, magic: int, more: bytes) -> None:
    assert_all(replayed(tmp_path / "f", pcap(magic=magic, big=big, more=more)))


def test_upper_bits_of_the_link_type_are_another_matter(tmp_path: Path) -> None:
    """The FCS length lies there (draft-ietf-opsawg-pcap 4)."""
    replay = replayed(tmp_path / "f", pcap(link_type=101 | 0x2400_0000))
    assert_all(replay)
    assert replay.capture.link_types == ("raw_ip",)


@pytest.mark.parametrize("snap_length", [0, 262_144, 0xFFFFFFFF])
def test_any_snap_length_of_a_header_is_taken(tmp_path: Path, snap_length: int) -> None:
    assert_all(replayed(tmp_path / "f", pcap(snap_length=snap_length)))


def test_capture_without_packets_is_empty_and_whole(tmp_path: Path) -> None:
    capture = replayed(tmp_path / "f", pcap([])).capture
    assert (capture.packets, capture.first, capture.last, capture.stopped) == (0, None, None, None)


@pytest.mark.parametrize(
    "data", [b"", b"\xd4", b"hello, this is no capture at all", pcap([])[:23], bytes(100), b"\x1f\x8b\x08\x00"]
)
def test_what_is_no_capture_is_refused_in_one_line(tmp_path: Path, data: bytes) -> None:
    assert stopped_or_refused(tmp_path / "f", data) is None


def test_record_longer_than_any_packet_stops_with_its_place(tmp_path: Path) -> None:
    data = pcap() + struct.pack("<IIII", 1, 1, 0x7FFFFFFF, 0x7FFFFFFF) + bytes(64)
    replay = replayed(tmp_path / "f", data)
    assert replay.capture.packets == len(PACKETS)
    assert replay.capture.stopped is not None
    assert str(len(pcap())) in replay.capture.stopped


# --- pcapng -------------------------------------------------------------------------------------------------------


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    body += bytes(-len(body) % 4)
    length = 12 + len(body)
    return struct.pack(f"{order}II", kind, length) + body + struct.pack(f"{order}I", length)


def section(order: str = "<", length: int = -1) -> bytes:
    return block(0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, length), order)


def option(code: int, value: bytes, order: str = "<") -> bytes:
    return struct.pack(f"{order}HH", code, len(value)) + value + bytes(-len(value) % 4)


def interface(link_type: int = 101, options: bytes = b"", order: str = "<", snap_length: int = 0) -> bytes:
    return block(1, struct.pack(f"{order}HHI", link_type, 0, snap_length) + options, order)


def enhanced(packet: bytes, ticks: int, index: int = 0, order: str = "<", options: bytes = b"") -> bytes:
    head = struct.pack(f"{order}IIIII", index, ticks >> 32, ticks & 0xFFFFFFFF, len(packet), len(packet))
    return block(6, head + packet + bytes(-len(packet) % 4) + options, order)


def simple(packet: bytes, order: str = "<") -> bytes:
    return block(3, struct.pack(f"{order}I", len(packet)) + packet, order)


def obsolete(packet: bytes, ticks: int, index: int = 0, drops: int = 0xFFFF, order: str = "<") -> bytes:
    head = struct.pack(f"{order}HHIIII", index, drops, ticks >> 32, ticks & 0xFFFFFFFF, len(packet), len(packet))
    return block(2, head + packet, order)


def statistics(dropped: int, index: int = 0, order: str = "<", code: int = 5) -> bytes:
    return block(5, struct.pack(f"{order}III", index, 0, 0) + option(code, struct.pack(f"{order}Q", dropped)), order)


def micros(place: int) -> int:
    return START // 1000 + place * 20_000


def pcapng(order: str = "<") -> bytes:
    packets = [enhanced(packet, micros(place), order=order) for place, packet in enumerate(PACKETS)]
    return section(order) + interface(order=order) + b"".join(packets)


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng_of_either_order(tmp_path: Path, order: str) -> None:
    replay = replayed(tmp_path / "f", pcapng(order))
    assert_all(replay)
    assert (replay.capture.interfaces, replay.capture.dropped) == (1, None)


@pytest.mark.parametrize(
    ("resolution", "per_second", "since"),
    [
        (3, 1_000, START),
        (6, 1_000_000, START),
        (9, 1_000_000_000, START),
        (12, 10**12, 5_000_000_000),  # 64 bits hold half a year of it
        (0x80 | 20, 1 << 20, START),
        (0x80 | 10, 1 << 10, START),
        (0x80 | 40, 1 << 40, 5_000_000_000),
    ],
)
def test_time_resolution_of_an_interface(tmp_path: Path, resolution: int, per_second: int, since: int) -> None:
    times = [(since + place * 20_000_000) * per_second // 1_000_000_000 for place in range(len(PACKETS))]
    data = section() + interface(options=option(9, bytes([resolution])) + option(0, b""))
    data += b"".join(enhanced(packet, ticks) for packet, ticks in zip(PACKETS, times, strict=True))
    stamps = [ticks * 1_000_000_000 // per_second for ticks in times]
    assert_all(replayed(tmp_path / "f", data), stamps[0], stamps[-1], within=1 if per_second > 1 << 33 else 0)


@pytest.mark.parametrize("offset", [3_600, -7_200])
def test_time_offset_of_an_interface(tmp_path: Path, offset: int) -> None:
    data = section() + interface(options=option(14, struct.pack("<q", offset)) + option(0, b""))
    data += b"".join(enhanced(packet, micros(place) - offset * 1_000_000) for place, packet in enumerate(PACKETS))
    assert_all(replayed(tmp_path / "f", data))


@pytest.mark.parametrize("resolution", [0xFF, 0x7F, 63, 0x80 | 62])
def test_absurd_time_resolution_stops_with_a_reason(tmp_path: Path, resolution: int) -> None:
    data = section() + interface(options=option(9, bytes([resolution]))) + enhanced(MESSAGE, 1)
    assert "resolution" in (replayed(tmp_path / "f", data).capture.stopped or "")


def test_sections_each_with_their_interfaces_and_order(tmp_path: Path) -> None:
    data = section("<") + interface(1) + interface(101)
    data += enhanced(MESSAGE, micros(0), index=1)
    data += b"".join(enhanced(ETHER + packet, micros(place + 1)) for place, packet in enumerate(VOICE[:4]))
    data += section(">") + interface(113, order=">") + interface(101, option(9, b"\x09", ">"), ">")
    for place, packet in enumerate(VOICE[4:], start=5):
        cooked = struct.pack("!HHHQH", 0, 1, 6, 0, 0x0800) + packet
        sent = (
            enhanced(packet, micros(place) * 1000, 1, ">") if place % 2 else enhanced(cooked, micros(place), order=">")
        )
        data += sent
    replay = replayed(tmp_path / "f", data)
    assert_all(replay)
    assert set(replay.capture.link_types) == {"ethernet", "raw_ip", "linux_cooked_v1"}
    assert replay.capture.interfaces == 2


def test_simple_packets_have_no_time_of_their_own(tmp_path: Path) -> None:
    data = section() + interface() + enhanced(MESSAGE, micros(0)) + b"".join(map(simple, VOICE))
    assert_all(replayed(tmp_path / "f", data), START, START)


def test_simple_packets_alone_are_read(tmp_path: Path) -> None:
    replay = replayed(tmp_path / "f", section() + interface() + b"".join(map(simple, PACKETS)))
    assert (replay.capture.packets, replay.sip.messages, len(replay.streams)) == (len(PACKETS), 1, 1)
    assert replay.capture.stopped is None


def test_what_needs_a_clock_is_missing_where_a_capture_has_no_times(tmp_path: Path) -> None:
    replay = replayed(tmp_path / "f", section() + interface() + b"".join(map(simple, PACKETS)))
    (stream,) = replay.streams
    assert (replay.capture.first, replay.capture.last) == (None, None)
    assert replay.capture.defects["time_missing"] == len(PACKETS)
    assert (stream.jitter_ms, stream.pdv_ms, stream.max_delta_ms) == (None, None, None)
    assert all(call.post_dial_delay_ms is None and call.duration_ms is None for call in replay.calls)
    assert [note.code for note in replay.notes] == ["capture_without_times"]


def test_simple_packet_is_as_long_as_the_snap_length(tmp_path: Path) -> None:
    cut = block(3, struct.pack("<I", len(VOICE[0])) + VOICE[0][:44])
    data = section() + interface(snap_length=42) + simple(VOICE[0])[:0] + cut
    assert replayed(tmp_path / "f", data).capture.packets == 1


def test_obsolete_packet_blocks_are_read(tmp_path: Path) -> None:
    for order in ("<", ">"):
        packets = [obsolete(packet, micros(place), order=order) for place, packet in enumerate(PACKETS)]
        assert_all(replayed(tmp_path / "f", section(order) + interface(order=order) + b"".join(packets)))


def test_blocks_without_packets_are_passed_over(tmp_path: Path) -> None:
    names = block(4, struct.pack("<HH", 0, 0))
    custom = block(0x0BAD, struct.pack("<I", 32473) + b"anything at all")
    secrets = block(10, struct.pack("<II", 0x544C534B, 4) + b"keys")
    data = pcapng()
    head = len(section()) + len(interface())
    assert_all(replayed(tmp_path / "f", data[:head] + names + custom + data[head:] + secrets + block(0xFFFF, b"")))


def test_drops_are_the_last_count_of_each_interface(tmp_path: Path) -> None:
    """isb_ifdrop is a total since the capture began (draft-ietf-opsawg-pcapng 4.6)."""
    data = section() + interface() + interface() + enhanced(MESSAGE, micros(0))
    data += statistics(3) + statistics(7) + statistics(5, index=1) + statistics(2, index=1, code=6)
    data += section() + interface() + statistics(4)
    replay = replayed(tmp_path / "f", data)
    assert replay.capture.dropped == 7 + 5 + 4
    assert "capture_drops" in {note.code for note in replay.notes}


def test_drops_unsaid_are_missing_and_none_said_is_zero(tmp_path: Path) -> None:
    assert replayed(tmp_path / "f", pcapng() + block(5, struct.pack("<III", 0, 0, 0))).capture.dropped is None
    assert replayed(tmp_path / "f", pcapng() + statistics(0)).capture.dropped == 0


def test_packet_of_an_interface_nobody_described_is_counted(tmp_path: Path) -> None:
    replay = replayed(tmp_path / "f", pcapng() + enhanced(MESSAGE, micros(9), index=7) + simple(VOICE[0])[:0])
    assert replay.capture.defects == {"interface_unknown": 1}
    assert replay.capture.packets == len(PACKETS) + 1


def test_options_that_lie_are_not_followed() -> None:
    lying = interface(options=struct.pack("<HH", 9, 500) + b"\x09\0\0\0")
    assert read_interface(lying, False).ticks_per_second == 1_000_000


@pytest.mark.parametrize(
    "tail",
    [
        struct.pack("<III", 6, 8, 8),
        struct.pack("<III", 6, 33, 0) + bytes(40),
        struct.pack("<II", 6, 0xFFFFFFF0) + bytes(40),
        enhanced(MESSAGE, 1)[:-4] + bytes(4),
        block(6, struct.pack("<IIIII", 0, 0, 1, 60_000, 60_000) + MESSAGE),
        block(0x0A0D0D0A, struct.pack("<IHHq", 0xDEADBEEF, 1, 0, -1)),
        block(1, b"\1\0\0\0"),
    ],
)
def test_block_that_cannot_be_one_stops_with_its_place(tmp_path: Path, tail: bytes) -> None:
    data = pcapng()
    replay = replayed(tmp_path / "f", data + tail + bytes(100))
    assert (replay.capture.packets, replay.sip.messages) == (len(PACKETS), 1)
    assert replay.capture.stopped is not None
    assert str(len(data)) in replay.capture.stopped


def test_interfaces_without_end_are_bounded(tmp_path: Path) -> None:
    data = (
        section() + interface() * 5_000 + enhanced(MESSAGE, micros(0), index=1000) + enhanced(MESSAGE, 1, index=4_999)
    )
    replay = replayed(tmp_path / "f", data)
    assert (replay.sip.messages, dict(replay.capture.defects)) == (1, {"interface_unknown": 1})


# --- files cut and changed ----------------------------------------------------------------------------------------


def everything() -> bytes:
    parts = [section(), interface(options=option(9, b"\x09")), enhanced(MESSAGE, START)]
    parts += [enhanced(packet, START + place * 20_000_000) for place, packet in enumerate(VOICE[:3])]
    parts += [simple(VOICE[3]), statistics(3), block(0x0BAD, b"1234"), section(">"), interface(1, order=">")]
    return b"".join([*parts, enhanced(ETHER + VOICE[4], micros(5), order=">"), obsolete(ETHER, micros(6), order=">")])


@pytest.mark.parametrize("whole", [pcap(), everything()], ids=["pcap", "pcapng"])
def test_capture_cut_anywhere_is_read_up_to_there(tmp_path: Path, whole: bytes) -> None:
    complete = replayed(tmp_path / "whole", whole)
    assert complete.capture.stopped is None
    seen = -1
    for cut in range(len(whole)):
        replay = stopped_or_refused(tmp_path / "f", whole[:cut])
        if replay is None:
            assert seen <= 0
            continue
        assert seen <= replay.capture.packets <= complete.capture.packets
        seen = replay.capture.packets
        if replay.capture.stopped is not None:
            assert "cut" in replay.capture.stopped
        else:
            assert cut >= 24
    assert seen >= complete.capture.packets - 1


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1 << 30), whole=st.sampled_from([pcap(), pcap(big=True), everything(), pcapng(">")]))
def test_changed_octets_give_a_replay_or_a_refusal(tmp_path: Path, seed: int, whole: bytes) -> None:
    rng = Random(seed)
    changed = bytearray(whole)
    for _ in range(rng.choice((1, 1, 2, 8, 40))):
        changed[rng.randrange(len(changed))] = rng.choice((0, 0xFF, rng.randrange(256)))
    replay = stopped_or_refused(tmp_path / "f", bytes(changed))
    if replay is not None:
        assert replay.capture.packets <= 200


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tail=st.binary(max_size=400), head=st.sampled_from([pcap(), everything(), pcap([]), section()]))
def test_any_octets_after_a_header_give_a_replay(tmp_path: Path, tail: bytes, head: bytes) -> None:
    assert stopped_or_refused(tmp_path / "f", head + tail) is not None


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
@pytest.mark.parametrize("whole", [pcap(), pcapng()], ids=["pcap", "pcapng"])
def test_compressed_captures_are_read(tmp_path: Path, pack: type[bytes], whole: bytes) -> None:
    assert_all(replayed(tmp_path / "named.as.it.likes", pack(whole)))


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_cut_compressed_captures_are_read_up_to_there(tmp_path: Path, pack: type[bytes]) -> None:
    packed = pack(pcap(PACKETS * 50))
    replay = stopped_or_refused(tmp_path / "f", packed[:-3])
    assert replay is None or replay.capture.stopped is not None


@pytest.mark.parametrize("whole", [pcap(), everything()], ids=["pcap", "pcapng"])
def test_capture_from_a_pipe_is_read(whole: bytes) -> None:
    script = "from api.replay import replay_files; print(replay_files(['-']).capture.packets)"
    folder = Path(__file__).parents[1]
    run = subprocess.run([sys.executable, "-c", script], input=whole, cwd=folder, capture_output=True, check=True)
    assert int(run.stdout) == (len(PACKETS) if whole == pcap() else 7)


# --- names --------------------------------------------------------------------------------------------------------


def test_link_types_have_names_or_numbers() -> None:
    names = {1: "ethernet", 101: "raw_ip", 113: "linux_cooked_v1", 276: "linux_cooked_v2", 0: "bsd_loopback", 9: "ppp"}
    assert {number: link_name(number) for number in names} == names
    assert link_name(147) == "link_type_147"


def test_link_type_that_nobody_reads_is_named_and_counted(tmp_path: Path) -> None:
    replay = replayed(tmp_path / "f", pcap(link_type=147))
    assert replay.capture.link_types == ("link_type_147",)
    assert replay.capture.defects == {"link_type_unsupported": len(PACKETS)}


@given(data=st.binary(max_size=40))
def test_any_first_octets_are_a_header_or_none(data: bytes) -> None:
    try:
        header = read_file_header(data)
    except FormatError:
        return
    assert header is None or data[:4] == data[:4].ljust(4)
