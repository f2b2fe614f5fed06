"""`callgauge collect -i`: real interfaces, real capturing programs; what is on the wire is in the store."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from analytics.store.lake import Lake
from collector.simulator.sender import frames_of

ROOT = Path(__file__).resolve().parents[1]
CLEAN = ROOT / "sample_pcaps" / "clean_pcma.pcap"
HOLD = ROOT / "sample_pcaps" / "hold_resume.pcap"
PATIENCE_S = 50.0


def why_not() -> str:
    """Why packets cannot be captured here; empty where they can."""
    if os.geteuid() != 0:
        return "only root may make network namespaces"
    for program in ("ip", "dumpcap", "tcpdump"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    name = f"cg-try-{os.getpid()}"
    if subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode:
        return "network namespaces cannot be made here"
    subprocess.run(["ip", "netns", "del", name], check=True)
    return ""


pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not() or "possible")


class Wires(NamedTuple):
    """Two wires in a network namespace: what goes into `a0` comes out of `a1`."""

    namespace: str

    def run(self, *words: object) -> list[str]:
        return ["ip", "netns", "exec", self.namespace, *map(str, words)]

    def send(self, path: Path, interface: str, speed: float) -> subprocess.Popen[bytes]:
        command = self.run(sys.executable, "-m", "collector.simulator.sender", path, interface, speed)
        return subprocess.Popen(command, cwd=ROOT)


@pytest.fixture
def wires() -> Iterator[Wires]:
    namespace = f"cg-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", namespace], check=True)
    try:
        # Else the system sends packets of its own.
        quiet = "net.ipv6.conf.default.disable_ipv6=1"
        subprocess.run(["ip", "netns", "exec", namespace, "sysctl", "-qw", quiet], check=True)
        for name in "ab":
            ends = ["link", "add", f"{name}0", "type", "veth", "peer", "name", f"{name}1"]
            subprocess.run(["ip", "-n", namespace, *ends], check=True)
            for end in "01":
                subprocess.run(["ip", "-n", namespace, "link", "set", f"{name}{end}", "up"], check=True)
        yield Wires(namespace)
    finally:
        subprocess.run(["ip", "netns", "del", namespace], check=True)


class Collecting:
    """A `callgauge collect` that runs."""

    def __init__(self, process: subprocess.Popen[str], said: Path) -> None:
        self.process = process
        self._said = said

    @property
    def said(self) -> str:
        return self._said.read_text()

    def await_words(self, words: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while words not in self.said:
            assert time.monotonic() < deadline, self.said
            assert self.process.poll() is None, self.said
            time.sleep(0.05)

    def stop(self) -> str:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(PATIENCE_S) == 0, self.said
        return self.said

    def children(self) -> list[int]:
        found = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return [int(child) for path in found for child in path.read_text().split()]


@contextmanager
def collecting(wires: Wires, store: Path, *options: object) -> Iterator[Collecting]:
    said = store.with_suffix(".said")
    with said.open("w") as stderr:
        command = wires.run(sys.executable, "-m", "api.main", "collect", "--store", store, "--name", "test", *options)
        process = subprocess.Popen(command, cwd=ROOT, stderr=stderr, text=True)
    found = Collecting(process, said)
    try:
        found.await_words("collecting from")
        yield found
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def rows(store: Path, query: str) -> list[tuple[Any, ...]]:
    """The answer of a query over calls, streams and intervals."""
    lake = Lake.open(store)
    connection = lake.connect()
    try:
        for table in ("calls", "streams", "intervals", "site_minutes"):
            lake.view(connection, table)
        return connection.execute(query).fetchall()
    finally:
        connection.close()
        lake.close()


RTP_FRAMES = 504  # of clean_pcma.pcap: two streams of 252 packets, as tshark counts them


@pytest.mark.parametrize("program", ["dumpcap", "tcpdump", "ring"])
def test_a_call_on_the_wire_is_in_the_store_when_it_is_told_to_stop_at_once(
    wires: Wires, tmp_path: Path, program: str
) -> None:
    store = tmp_path / "store"
    with collecting(wires, store, "-i", "a1", "--program", program) as collect:
        # As fast as it goes, and no moment for the capturing program to see it before the end.
        assert wires.send(CLEAN, "a0", 1000).wait(PATIENCE_S) == 0
        said = collect.stop()
    assert rows(store, "SELECT source, call_id IS NOT NULL, state, streams FROM calls") == [
        ("test", True, "completed", 2)
    ]
    assert rows(store, "SELECT sum(packets), sum(lost), count(DISTINCT call_key), count(codec) FROM streams") == [
        (RTP_FRAMES, 0, 1, 2)
    ]
    assert rows(store, "SELECT sum(i.packets) FROM intervals i JOIN streams s USING (stream_key)") == [(RTP_FRAMES,)]
    assert "drops" not in said


@pytest.mark.parametrize("program", ["dumpcap", "ring"])
def test_several_interfaces_are_captured_together(wires: Wires, tmp_path: Path, program: str) -> None:
    store = tmp_path / "store"
    with collecting(wires, store, "-i", "a1", "-i", "b1", "--program", program) as collect:
        senders = [wires.send(CLEAN, "a0", 50), wires.send(HOLD, "b0", 50)]
        assert [sender.wait(PATIENCE_S) for sender in senders] == [0, 0]
        collect.stop()
    assert rows(store, "SELECT count(*), count(DISTINCT call_id), sum(streams) FROM calls") == [(2, 2, 4)]


@pytest.mark.parametrize("program", ["dumpcap", "ring"])
def test_a_filter_leaves_out_what_it_does_not_name(wires: Wires, tmp_path: Path, program: str) -> None:
    store = tmp_path / "store"
    with collecting(wires, store, "-i", "a1", "--bpf", "udp port 5060", "--program", program) as collect:
        assert wires.send(CLEAN, "a0", 1000).wait(PATIENCE_S) == 0
        said = collect.stop()
    assert rows(store, "SELECT count(*), sum(streams) FROM calls") == [(1, 0)]
    assert re.search(r"stored in .*\(calls 1[,)]", said)
    assert "streams" not in said.partition("stored in")[2].partition(")")[0]


def test_a_capturing_program_that_is_killed_is_begun_anew_and_the_measuring_goes_on(
    wires: Wires, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    with collecting(wires, store, "-i", "a1") as collect:
        sender = wires.send(CLEAN, "a0", 1)  # 5 s of speech
        time.sleep(2)
        (child,) = collect.children()
        os.kill(child, signal.SIGKILL)
        assert sender.wait(PATIENCE_S) == 0
        assert collect.children() != [child]
        said = collect.stop()
    ((streams, packets, lost),) = rows(store, "SELECT count(*), sum(packets), sum(lost) FROM streams")
    assert streams == 2
    assert 0 < packets < RTP_FRAMES  # what passed while nobody captured
    assert packets + lost == RTP_FRAMES
    assert rows(store, "SELECT state FROM calls") == [("completed",)]
    assert "begun anew once" in said


@pytest.mark.parametrize("program", ["dumpcap", "ring"])
def test_nothing_that_was_captured_is_lost_when_it_is_told_to_stop_amid_traffic(
    wires: Wires, tmp_path: Path, program: str
) -> None:
    """A capture by tcpdump of the same wire, which goes on longer, has every packet that is in the store, and after
    the first that is not in the store it has none that is."""
    store, witness = tmp_path / "store", tmp_path / "witness.pcap"
    dump = subprocess.Popen(
        wires.run("tcpdump", "-U", "--immediate-mode", "-i", "a1", "-w", witness), stderr=subprocess.DEVNULL
    )
    with collecting(wires, store, "-i", "a1", "--program", program) as collect:
        sender = wires.send(CLEAN, "a0", 1)
        time.sleep(3)
        collect.stop()
    assert sender.wait(PATIENCE_S) == 0
    dump.send_signal(signal.SIGINT)
    assert dump.wait(PATIENCE_S) == 0
    seen = rows(store, 'SELECT from_address, packets, lost, epoch_ns("end") FROM streams ORDER BY 1')
    assert len(seen) == 2
    for address, packets, lost, end in seen:
        ports = [frame for at, frame in frames_of(witness) if round(at * 1e6) <= end // 1000]
        of_stream = [frame for frame in ports if _sender(frame) == address and len(frame) == 214]
        assert (packets, lost) == (len(of_stream), 0)
    assert rows(store, "SELECT state FROM calls") == [("in progress",)]


def _sender(frame: bytes) -> str:
    return f"{'.'.join(map(str, frame[26:30]))}:{int.from_bytes(frame[34:36], 'big')}"


@pytest.mark.parametrize("program", ["dumpcap", "tcpdump"])
def test_packets_that_the_kernel_dropped_are_told(wires: Wires, tmp_path: Path, program: str) -> None:
    store = tmp_path / "store"
    with collecting(wires, store, "-i", "a1", "--program", program, "--buffer-mb", "1") as collect:
        (child,) = collect.children()
        # While the capturing program stands still its buffer runs over.
        os.kill(child, signal.SIGSTOP)
        for _ in range(12):
            assert wires.send(CLEAN, "a0", 1000).wait(PATIENCE_S) == 0
        os.kill(child, signal.SIGCONT)
        said = collect.stop()
    dropped = re.search(r"kernel_drops ([\d,]+)", said)
    assert dropped is not None, said
    packets = re.search(r"a1: ([\d,]+) packets,", said)
    assert packets is not None, said
    sent = 12 * len(list(frames_of(CLEAN)))
    assert int(packets[1].replace(",", "")) + int(dropped[1].replace(",", "")) == sent


def test_packets_that_a_ring_has_no_room_for_are_told(wires: Wires, tmp_path: Path) -> None:
    store = tmp_path / "store"
    with collecting(wires, store, "-i", "a1", "--program", "ring", "--buffer-mb", "2") as collect:
        collect.process.send_signal(signal.SIGSTOP)
        for _ in range(40):
            assert wires.send(CLEAN, "a0", 1000).wait(PATIENCE_S) == 0
        collect.process.send_signal(signal.SIGCONT)
        said = collect.stop()
    dropped = re.search(r"kernel_drops ([\d,]+)", said)
    packets = re.search(r"a1: ([\d,]+) packets,", said)
    assert dropped is not None, said
    assert packets is not None, said
    sent = 40 * len(list(frames_of(CLEAN)))
    assert int(packets[1].replace(",", "")) + int(dropped[1].replace(",", "")) == sent


@pytest.mark.parametrize("program", ["dumpcap", "ring"])
def test_an_interface_that_is_not_there_is_told_in_one_line(wires: Wires, tmp_path: Path, program: str) -> None:
    words = [sys.executable, "-m", "api.main", "collect", "-i", "nowhere0", "--program", program]
    command = wires.run(*words, "--store", tmp_path / "store")
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert ended.returncode == 2
    assert "nowhere0" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1, ended.stderr
