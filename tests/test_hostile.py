"""Captures made to hurt: no exception, bounded memory, and what is not listed is counted."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np
import pytest
from fuzz_replay import contradiction, fuzz, mutated
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from wire import START, ipv4, pcap, rtp, udp

from api.replay import ReplaySettings, replay_files
from collector.engine import EngineLimits
from collector.facts import Replay
from collector.media.streams import StreamLimits

MEGABYTES = 500
"""What a replay of a capture of any size may take."""
SSRCS = 1_000_000
CALL_IDS = 300_000
"""A million with CALLGAUGE_FULL_SIZE=1: the same tables overflow by then."""
if os.environ.get("CALLGAUGE_FULL_SIZE"):
    CALL_IDS = 1_000_000
SMALL = ReplaySettings(EngineLimits(streams=StreamLimits(rows=64, reports=200)))
LINK_TYPES = (0, 1, 9, 12, 14, 50, 101, 108, 113, 228, 229, 276)
ROOT = Path(__file__).resolve().parents[1]

MEASURE = """
import json, sys
from pathlib import Path
from api.replay import replay_files
from fuzz_replay import contradiction
replay = replay_files([sys.argv[1]])
print(json.dumps({
    "packets": replay.capture.packets, "defects": dict(replay.capture.defects), "stopped": replay.capture.stopped,
    "streams": [[stream.ssrc, stream.packets] for stream in replay.streams][:1000],
    "listed": len(replay.streams), "unlisted_streams": replay.unlisted_streams,
    "messages": replay.sip.messages, "call_ids": replay.sip.call_ids, "unlisted": replay.sip.unlisted,
    "calls": len(replay.calls), "contradiction": contradiction(replay),
    "status": Path("/proc/self/status").read_text(),
}))
"""
WHOLE_PROGRAM = """
import sys
from pathlib import Path
from api.main import shell
status = sys.argv.pop()
shell(sys.argv[1:])
Path(status).write_text(Path("/proc/self/status").read_text())
"""


class Ran(NamedTuple):
    """What a replay in a process of its own came to."""

    said: Mapping[str, Any]
    megabytes: int


def run(path: Path) -> Ran:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    command = [sys.executable, "-c", MEASURE, str(path)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    said = json.loads(done.stdout)
    assert said["contradiction"] is None
    assert said["stopped"] is None
    return Ran(said, peak_megabytes(said["status"]))


def peak_megabytes(status: str) -> int:
    """VmHWM: what getrusage says of a child includes what its parent held when it forked."""
    (peak,) = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
    return int(peak) // 1024


def records(template: bytes, count: int) -> NDArray[np.uint8]:
    """Records of a pcap with nanoseconds, all like the template, 10 µs apart; to be varied column by column."""
    rows = np.tile(
        np.frombuffer(struct.pack("<IIII", 0, 0, len(template), len(template)) + template, np.uint8), (count, 1)
    )
    at = START + np.arange(count, dtype=np.int64) * 10_000
    set_column(rows, 0, at // 1_000_000_000, 4)
    rows[:, :4] = rows[:, 3::-1]
    set_column(rows, 4, at % 1_000_000_000, 4)
    rows[:, 4:8] = rows[:, 7:3:-1]
    return rows


def set_column(rows: NDArray[np.uint8], at: int, values: NDArray[np.int64], width: int) -> None:
    """Write big-endian numbers into every row."""
    for k in range(width):
        rows[:, at + k] = (values >> (8 * (width - 1 - k))) & 0xFF


def write(path: Path, *parts: NDArray[np.uint8] | bytes, link_type: int = 101) -> Path:
    with path.open("wb") as file:
        file.write(pcap([], link_type))
        for part in parts:
            file.write(part if isinstance(part, bytes) else part.tobytes())
    return path


RTP_AT = 16 + 20 + 8
"""Where RTP begins in a record of raw IPv4."""


def ssrcs(count: int, packets: int, apart: int = 1) -> NDArray[np.uint8]:
    """So many SSRCs with so many packets in sequence each; `apart` streams take turns."""
    rows = records(ipv4(udp(rtp(0, 0))), count * packets)
    place = np.arange(count * packets, dtype=np.int64)
    turn, rest = np.divmod(place, apart * packets)
    k, offset = np.divmod(rest, apart)
    set_column(rows, RTP_AT + 8, 1 + turn * apart + offset, 4)
    set_column(rows, RTP_AT + 2, 100 + k, 2)
    set_column(rows, RTP_AT + 4, 160 * k, 4)
    set_column(rows, 16 + 4, place & 0xFFFF, 2)
    return rows


def real_stream(ssrc: int, packets: int, since: int) -> bytes:
    voice = [
        (START + since + k * 20_000_000, ipv4(udp(rtp(k, 160 * k, ssrc) + bytes(160), 30_000, 30_002), ip_id=k + 1))
        for k in range(packets)
    ]
    return pcap(voice)[24:]


@pytest.mark.parametrize("apart", [1, 1000])
def test_million_ssrcs_of_two_packets_are_counted(tmp_path: Path, apart: int) -> None:
    path = write(tmp_path / "f.pcap", ssrcs(SSRCS, 2, apart), real_stream(0xFFFF0001, 100, 30_000_000_000))
    ran = run(path)
    assert ran.said["packets"] == 2 * SSRCS + 100
    # Two numbers in sequence are no stream where no call announced it, and must not take the place of one.
    assert ran.said["streams"] == [[0xFFFF0001, 100]]
    assert ran.said["unlisted_streams"] == 0
    assert ran.said["defects"] == {"rtp_unvalidated": 2 * SSRCS}
    assert ran.megabytes < MEGABYTES


def test_million_ssrcs_of_one_packet_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "f.pcap", ssrcs(SSRCS, 1), real_stream(0xFFFF0001, 100, 30_000_000_000))
    ran = run(path)
    assert ran.said["packets"] == SSRCS + 100
    assert ran.said["streams"] == [[0xFFFF0001, 100]]
    assert ran.said["defects"] == {"rtp_unvalidated": SSRCS}
    assert ran.megabytes < MEGABYTES


def test_streams_past_the_list_are_counted(tmp_path: Path) -> None:
    count = 120_000
    ran = run(write(tmp_path / "f.pcap", ssrcs(count, 5, 500)))
    assert ran.said["packets"] == 5 * count
    assert ran.said["listed"] + ran.said["unlisted_streams"] == count
    assert ran.said["listed"] >= 10_000
    # When all rows are busy, first packets of fresh streams are given up.
    assert set(ran.said["defects"]) <= {"rtp_unvalidated"}
    assert ran.said["defects"].get("rtp_unvalidated", 0) < count // 20
    assert ran.megabytes < MEGABYTES


def invites(count: int) -> NDArray[np.uint8]:
    text = (
        b"INVITE sip:1002@198.51.100.20 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.10;branch=z9hG4bK00000000\r\n"
        b"Max-Forwards: 70\r\nFrom: <sip:1001@192.0.2.10>;tag=00000000\r\nTo: <sip:1002@198.51.100.20>\r\n"
        b"Call-ID: 00000000@192.0.2.10\r\nCSeq: 1 INVITE\r\nContact: <sip:1001@192.0.2.10>\r\nContent-Length: 0\r\n\r\n"
    )
    packet = ipv4(udp(text, 5060, 5060))
    rows = records(packet, count)
    number = np.arange(count, dtype=np.int64)
    at = packet.find(b"00000000")
    while at >= 0:
        for k in range(8):
            digit = (number // 10 ** (7 - k)) % 10
            rows[:, 16 + at + k] = 48 + digit
        at = packet.find(b"00000000", at + 1)
    return rows


def test_call_ids_without_end_are_counted(tmp_path: Path) -> None:
    ran = run(write(tmp_path / "f.pcap", invites(CALL_IDS)))
    assert (ran.said["packets"], ran.said["messages"]) == (CALL_IDS, CALL_IDS)
    assert ran.said["calls"] + ran.said["unlisted"] == CALL_IDS
    assert ran.said["call_ids"] == CALL_IDS
    assert ran.said["defects"] == {}
    assert ran.megabytes < MEGABYTES


def test_whole_program_keeps_to_its_memory_too(tmp_path: Path) -> None:
    """Rating and writing everything that a capture can make the tables hold."""
    path = write(tmp_path / "f.pcap", ssrcs(60_000, 5, 500), invites(60_000))
    arguments = ["replay", str(path), "--format", "json", str(tmp_path / "status")]
    with (tmp_path / "out.json").open("wb") as out:
        command = [sys.executable, "-c", WHOLE_PROGRAM, *arguments]
        subprocess.run(command, cwd=ROOT, stdout=out, stderr=subprocess.DEVNULL, check=False)
    with (tmp_path / "out.json").open() as lines:
        said = json.load(lines)
    assert said["capture"]["packets"] == 360_000
    assert peak_megabytes((tmp_path / "status").read_text()) < 2 * MEGABYTES


# --- garbage ------------------------------------------------------------------------------------------------------


def replayed(path: Path, data: bytes) -> Replay:
    path.write_bytes(data)
    replay = replay_files([path], SMALL)
    assert contradiction(replay) is None
    return replay


@pytest.mark.parametrize("link_type", LINK_TYPES)
def test_random_octets_are_no_packets_and_all_counted(tmp_path: Path, link_type: int) -> None:
    rng = Random(link_type)
    packets = [(START + k, rng.randbytes(rng.choice((0, 1, 7, 20, 60, 90, 1500)))) for k in range(8_000)]
    replay = replayed(tmp_path / "f", pcap(packets, link_type))
    assert (replay.capture.packets, replay.capture.stopped) == (8_000, None)
    assert (replay.streams, replay.calls) == ((), ())


def test_random_payloads_of_udp_are_neither_streams_nor_calls(tmp_path: Path) -> None:
    rng = Random(3)
    heads = (
        b"",
        b"\x80",
        b"\x80\x08",
        b"\x90\x08\0\1",
        b"\x80\xc8\0\6",
        b"SIP/2.0 ",
        b"INVITE sip:",
        b"\0\1",
        b"\x16\xfe\xfd",
    )
    packets = [
        (
            START + k * 1000,
            ipv4(udp(rng.choice(heads) + rng.randbytes(rng.choice((0, 3, 11, 40))), rng.randrange(65536))),
        )
        for k in range(20_000)
    ]
    replay = replayed(tmp_path / "f", pcap(packets))
    assert replay.capture.packets == 20_000
    assert replay.streams == ()
    assert replay.capture.defects["rtp_unvalidated"] > 0


def fragment(rng: Random, ids: int) -> bytes:
    payload = rng.randbytes(8 * rng.randrange(6) + rng.choice((0, 0, 3)))
    packet = bytearray(
        ipv4(payload, src=f"10.0.0.{rng.randrange(3)}", ip_id=rng.randrange(ids), protocol=rng.choice((6, 17)))
    )
    packet[6:8] = struct.pack("!H", rng.choice((0, 0x2000)) | rng.choice((0, 1, 2, 100, 0x1FFF, rng.randrange(0x2000))))
    return bytes(packet)


@pytest.mark.parametrize("ids", [2, 60_000])
def test_garbage_fragments_are_counted(tmp_path: Path, ids: int) -> None:
    rng = Random(ids)
    replay = replayed(tmp_path / "f", pcap([(START + k * 10_000, fragment(rng, ids)) for k in range(1_252)]))
    assert (replay.capture.packets, replay.streams, replay.calls) == (1_252, (), ())
    assert sum(replay.capture.defects.values()) > 100


def test_fragments_without_end_take_bounded_memory(tmp_path: Path) -> None:
    packet = bytearray(ipv4(bytes(1400)))
    packet[6:8] = struct.pack("!H", 0x2000)
    rows = records(bytes(packet), 150_000)
    set_column(rows, 16 + 4, np.arange(150_000, dtype=np.int64) & 0xFFFF, 2)
    set_column(rows, 16 + 12, 0x0A000000 + np.arange(150_000, dtype=np.int64), 4)
    ran = run(write(tmp_path / "f.pcap", rows))
    assert ran.said["packets"] == 150_000
    assert sum(ran.said["defects"].values()) == 150_000
    assert ran.megabytes < MEGABYTES


def test_connections_without_end_take_bounded_memory(tmp_path: Path) -> None:
    segment = (
        struct.pack("!HHIIBBHHH", 0, 5060, 1, 1, 0x50, 0x18, 8192, 0, 0) + b"INVITE sip:x SIP/2.0\r\nTo: " + b"x" * 800
    )
    rows = records(ipv4(segment, protocol=6), 60_000)
    number = np.arange(60_000, dtype=np.int64)
    set_column(rows, 16 + 12, 0x0A000000 + number // 1000, 4)
    set_column(rows, 16 + 20, 1024 + number % 60_000, 2)
    ran = run(write(tmp_path / "f.pcap", rows))
    assert ran.said["packets"] == 60_000
    assert ran.said["defects"] != {}
    assert ran.megabytes < MEGABYTES


# --- real captures, changed ---------------------------------------------------------------------------------------


def seeds() -> list[Path]:
    captures = sorted((ROOT / "sample_pcaps").glob("*.pcap*"))
    return [*captures, *sorted((ROOT.parent / "shared" / "pcaps").glob("*.pcap*"))]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1 << 40), which=st.integers(0, 1 << 20))
def test_changed_captures_are_replayed_or_refused(tmp_path: Path, seed: int, which: int) -> None:
    captures = seeds()
    data = mutated(Random(seed), captures[which % len(captures)].read_bytes()[:200_000])
    if data[:24] == captures[which % len(captures)].read_bytes()[:24]:
        replayed(tmp_path / "f", data)


def test_fuzzer_finds_nothing_in_a_few_seconds(tmp_path: Path) -> None:
    tried, found = fuzz(seeds(), seconds=4, seed=4096, keep=tmp_path)
    assert tried > 0
    assert found == []
