"""`callgauge collect --mirror`: mirrors sent to this host are received on sockets, and measured as what is in them."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from scapy.contrib.erspan import ERSPAN_II, ERSPAN_III
from scapy.layers.inet import IP
from scapy.layers.l2 import GRE, Ether
from scapy.packet import Raw
from test_collect import CLEAN, PATIENCE_S, ROOT, RTP_FRAMES, Wires, collecting, rows, why_not, wires

from api.main import shell
from collector.capture.files import CaptureError
from collector.live.child import PacketSettings
from collector.live.mirror import LARGEST, MirrorAddress, MirrorSocket, MirrorSource
from collector.simulator.sender import frames_of

__all__ = ["wires"]
needs_root = pytest.mark.skipif(bool(why_not()), reason=why_not() or "possible")
SWITCH, HERE = "10.9.0.1", "10.9.0.2"
ERSPAN = {
    "I": GRE(proto=0x88BE),
    "II": GRE(proto=0x88BE, seqnum_present=1) / ERSPAN_II(),
    "III": GRE(proto=0x22EB, seqnum_present=1) / ERSPAN_III(),
}


@pytest.fixture
def host(wires: Wires) -> Iterator[Wires]:
    """Another host at the end of wire b: the switch, which is on the wires, sends its mirror to it."""
    there = Wires(f"cg-there-{os.getpid()}")
    subprocess.run(["ip", "netns", "add", there.namespace], check=True)
    try:
        for words in (
            f"ip link set b1 netns {there.namespace}",
            f"ip addr add {SWITCH}/24 dev b0",
        ):
            subprocess.run(wires.run(*words.split()), check=True)
        for words in (f"ip addr add {HERE}/24 dev b1", "ip link set lo up", "ip link set b1 up"):
            subprocess.run(there.run(*words.split()), check=True)
        yield there
    finally:
        subprocess.run(["ip", "netns", "del", there.namespace], check=True)


def check_store(store: Path) -> None:
    assert rows(store, "SELECT state, streams FROM calls") == [("completed", 2)]
    assert rows(store, "SELECT sum(packets), sum(lost) FROM streams") == [(RTP_FRAMES, 0)]
    assert rows(store, "SELECT sum(packets) FROM intervals") == [(RTP_FRAMES,)]


@needs_root
def test_what_the_kernel_mirrors_in_vxlan_is_received(wires: Wires, host: Wires, tmp_path: Path) -> None:
    for words in (
        f"ip link add vx0 type vxlan id 42 local {SWITCH} remote {HERE} dstport 4789 dev b0",
        "ip link set vx0 up",
        "tc qdisc add dev a1 clsact",
        "tc filter add dev a1 ingress protocol all u32 match u32 0 0 action mirred egress mirror dev vx0",
    ):
        done = subprocess.run(wires.run(*words.split()), capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"this kernel cannot mirror: {words}: {done.stderr.strip()}")
    store = tmp_path / "store"
    with collecting(host, store, "--mirror", f"udp:{HERE}:4789") as collect:
        assert wires.send(CLEAN, "a0", 50).wait(PATIENCE_S) == 0
        said = collect.stop()
    assert f"collecting from udp:{HERE}:4789" in said
    check_store(store)


@needs_root
@pytest.mark.parametrize("kind", ERSPAN)
def test_erspan_is_received_and_what_is_none_is_named(
    wires: Wires, host: Wires, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    address = subprocess.run(
        host.run("cat", "/sys/class/net/b1/address"), capture_output=True, text=True, check=True
    ).stdout.strip()
    outer = Ether(src="02:00:00:00:00:01", dst=address) / IP(src=SWITCH, dst=HERE)
    store, sent = tmp_path / "store", tmp_path / "mirrored.pcap"
    octets = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 1)
    frames = [(float(at), bytes(outer / ERSPAN[kind] / Raw(frame))) for at, frame in frames_of(CLEAN)]
    frames.append((frames[-1][0], bytes(outer / GRE(proto=0x0800) / IP() / Raw(b"no mirror"))))
    for at, frame in frames:
        octets += struct.pack("<4I", int(at), round(at % 1 * 1e6) % 10**6, len(frame), len(frame)) + frame
    sent.write_bytes(octets)
    with collecting(host, store, "--mirror", f"gre:{HERE}") as collect:
        command = wires.run(sys.executable, "-m", "collector.simulator.sender", sent, "b0", 50)
        subprocess.run(command, cwd=ROOT, check=True, timeout=PATIENCE_S)
        collect.stop()
    check_store(store)
    assert shell(["health", "--store", str(store)]) == 1
    assert "parsed: packets_gre_other_protocol 1" in capsys.readouterr().out


def test_what_the_kernel_had_no_room_for_is_counted() -> None:
    """Each datagram is in the socket's buffer, or counted as dropped."""
    with closing(MirrorSocket(MirrorAddress("udp", "127.0.0.1", 0), 0)) as receiving:
        sent = 500
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for _ in range(sent):
                sender.sendto(b"\x08" + bytes(7) + bytes(200), ("127.0.0.1", receiving.port))
            sender.sendto(b"no mirror", ("127.0.0.1", receiving.port))
        into = bytearray()
        assert receiving.read(into, memoryview(bytearray(LARGEST)), 1 << 20, 65_535)
        records = len(into) // (16 + 200)
        assert records < sent
        assert records + sum(receiving.defects.values()) + receiving.dropped == sent + 1
    assert receiving.dropped > 0  # also after the end


def test_records_have_the_kernels_time_and_no_more_octets_than_asked_for() -> None:
    with closing(MirrorSocket(MirrorAddress("udp", "127.0.0.1", 0), 1)) as receiving:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"\x08" + bytes(7) + bytes(range(200)), ("127.0.0.1", receiving.port))
        into = bytearray()
        receiving.read(into, memoryview(bytearray(LARGEST)), 1 << 20, 64)
        seconds, fraction, kept, whole = struct.unpack_from("<4I", into)
        assert (kept, whole, bytes(into[16:])) == (64, 200, bytes(range(64)))
        assert seconds > 1_700_000_000
        assert fraction < 10**9


def test_an_address_that_is_not_ours_cannot_be_received_at() -> None:
    with pytest.raises(CaptureError, match=r"udp:192\.0\.2\.1:4789"):
        MirrorSocket(MirrorAddress("udp", "192.0.2.1", 4789), 1)


def test_datagrams_that_are_no_mirror_stand_in_the_health_by_name() -> None:
    source = MirrorSource([MirrorAddress("udp", "127.0.0.1", 0)], PacketSettings(()))
    (receiving,) = source._open()
    with closing(receiving):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for data in (b"short", bytes(40), bytes(40)):
                sender.sendto(data, ("127.0.0.1", receiving.port))
        receiving.read(bytearray(), memoryview(bytearray(LARGEST)), 1, 64)
        health = source.health()
        assert health.seen == 3
        assert health.lost == {"packets_vxlan_short": 1, "packets_vxlan_without_flag": 2}
