"""Mirrors over the network: what a switch sends in VXLAN or ERSPAN is in the store as if it had been captured there."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import pytest
from scapy.contrib.erspan import ERSPAN_II, ERSPAN_III
from scapy.layers.inet import IP
from scapy.layers.l2 import GRE, Ether
from scapy.packet import Raw
from test_collect import CLEAN, PATIENCE_S, ROOT, RTP_FRAMES, Wires, collecting, rows, why_not, wires

from collector.simulator.sender import frames_of

__all__ = ["wires"]
pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not() or "possible")
OUTER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / IP(src="10.9.0.1", dst="10.9.0.2")
ERSPAN = {
    "I": OUTER / GRE(proto=0x88BE),  # draft-foschiano-erspan 4.1: no sequence number, no header of its own
    "II": OUTER / GRE(proto=0x88BE, seqnum_present=1) / ERSPAN_II(),
    "III": OUTER / GRE(proto=0x22EB, seqnum_present=1) / ERSPAN_III(),
}


def mirror(wires: Wires) -> str:
    """Have the kernel mirror what comes out of `a1` into VXLAN that comes out of `b1`; why not, where it cannot."""
    address = subprocess.run(
        wires.run("cat", "/sys/class/net/b1/address"), capture_output=True, text=True, check=True
    ).stdout.strip()
    tunnel = "ip link add vx0 type vxlan id 42 local 10.9.0.1 remote 10.9.0.2 dstport 4789 dev b0"
    for words in (
        "ip addr add 10.9.0.1/24 dev b0",
        f"ip neigh add 10.9.0.2 lladdr {address} dev b0 nud permanent",
        tunnel,
        "ip link set vx0 up",
        "tc qdisc add dev a1 clsact",
        "tc filter add dev a1 ingress protocol all u32 match u32 0 0 action mirred egress mirror dev vx0",
    ):
        done = subprocess.run(wires.run(*words.split()), capture_output=True, text=True, check=False)
        if done.returncode:
            return f"{words}: {done.stderr.strip()}"
    return ""


def check_store(store: Path) -> None:
    assert rows(store, "SELECT state, streams FROM calls") == [("completed", 2)]
    assert rows(store, "SELECT sum(packets), sum(lost) FROM streams") == [(RTP_FRAMES, 0)]
    assert rows(store, "SELECT sum(packets) FROM intervals") == [(RTP_FRAMES,)]


@pytest.mark.parametrize("program", ["dumpcap", "ring"])
def test_what_the_kernel_mirrors_in_vxlan_is_in_the_store(wires: Wires, tmp_path: Path, program: str) -> None:
    missing = mirror(wires)
    if missing:
        pytest.skip(f"this kernel cannot mirror: {missing}")
    store = tmp_path / "store"
    with collecting(wires, store, "-i", "b1", "--program", program) as collect:
        assert wires.send(CLEAN, "a0", 50).wait(PATIENCE_S) == 0
        collect.stop()
    check_store(store)


@pytest.mark.parametrize("kind", ERSPAN)
def test_a_mirror_in_erspan_is_in_the_store(wires: Wires, tmp_path: Path, kind: str) -> None:
    store, sent = tmp_path / "store", tmp_path / "mirrored.pcap"
    octets = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 1)
    for at, frame in frames_of(CLEAN):
        outer = bytes(ERSPAN[kind] / Raw(frame))
        octets += struct.pack("<4I", int(at), round(at % 1 * 1e6) % 10**6, len(outer), len(outer)) + outer
    sent.write_bytes(octets)
    with collecting(wires, store, "-i", "b1") as collect:
        command = wires.run(sys.executable, "-m", "collector.simulator.sender", sent, "b0", 50)
        subprocess.run(command, cwd=ROOT, check=True, timeout=PATIENCE_S)
        collect.stop()
    check_store(store)
