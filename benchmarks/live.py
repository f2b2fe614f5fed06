"""Live capture through a virtual wire: packets per second, what was lost, and memory with many calls.

    python -m benchmarks.live [--rate PACKETS/S] [--seconds S] [--calls N] [--program ring|dumpcap|tcpdump] [--peer]

In a network namespace of its own a sender puts G.711 streams with their signalling on one end of a veth pair;
`callgauge collect` captures at the other end. The sender has the first processor, the collector and its child, where
it has one, the second. With `--peer` tcpdump writes the same packets to the null device, on the second as well. Needs
root, and two processors.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from collector.facts import Endpoint
from collector.simulator.frames import frame, udp_packet
from collector.simulator.sender import FrameSender
from collector.simulator.signalling import CallPlan, Media, call_messages

ROOT = Path(__file__).resolve().parents[1]
PTIME_S = 0.02
PARTS = 10
"""Pieces of a packet time in which streams send."""
SAMPLES = 160
RTP_AT = 42
"""Octets of Ethernet, IPv4 and UDP."""
TARGET = 200_000
SENDERS, THEIRS = ["taskset", "-c", "0"], ["taskset", "-c", "1"]
MEMORY_MIB = 400


@dataclass(frozen=True, slots=True)
class LiveRun:
    """What one run found."""

    sent: int
    sent_per_second: float
    seen: int
    dropped: int
    loss_percent: float
    our_cpu_seconds: float
    child_cpu_seconds: float
    cpu_percent: float
    peak_mib: float
    rows: str
    peer_seen: int | None
    peer_dropped: int | None


def streams(calls: int) -> NDArray[np.uint8]:
    """A frame for each of the two streams of so many calls."""
    frames = []
    for call in range(calls):
        a, b = phone(call), gateway(call)
        for number, (src, dst) in enumerate(((a, b), (b, a))):
            head = bytes((0x80, 8, 0, 0, 0, 0, 0, 0)) + (2 * call + number + 1).to_bytes(4, "big")
            frames.append(frame(udp_packet(src, dst, head + bytes(SAMPLES), ip_id=1, dscp=46)))
    return np.frombuffer(b"".join(frames), np.uint8).reshape(2 * calls, -1).copy()


def phone(call: int) -> Endpoint:
    """Where a caller receives."""
    return Endpoint(f"10.{call // 20_000}.{call // 200 % 100}.1", 10_000 + 2 * (call % 200))


def gateway(call: int) -> Endpoint:
    """Where the other side receives."""
    return Endpoint(f"10.{call // 20_000 + 100}.{call // 200 % 100}.1", 10_000 + 2 * (call % 200))


def signalling(calls: int) -> tuple[list[bytes], list[bytes]]:
    """Frames that set all calls up, and those that end them."""
    begin: list[bytes] = []
    end: list[bytes] = []
    for call in range(calls):
        src, dst = phone(call), gateway(call)
        formats = ((8, "PCMA/8000"),)
        plan = CallPlan(
            call_id=f"{call:08x}@live.example", caller=src._replace(port=5060), callee=dst._replace(port=5060),
            caller_user=str(1000 + call), callee_user=str(500_000 + call), start=0,
            caller_media=Media(src, formats), callee_media=Media(dst, formats),
        )  # fmt: skip
        for message in call_messages(plan):
            octets = frame(udp_packet(message.src, message.dst, message.payload))
            (end if b" BYE\r\n" in message.payload else begin).append(octets)
    return begin, end


def send(interface: str, calls: int, seconds: float, rate: int) -> None:
    """Set calls up, send their media for a time, end them; says how many frames went and how long media took."""
    begin, end = signalling(calls)
    frames = streams(calls)
    sent = 0
    with FrameSender(interface) as sender:
        for each in begin:
            sender.send(each)
            sent += 1
            if sent % 100 == 0:
                time.sleep(0.01)
        sender.prepare(frames)
        started = time.monotonic()
        ticks = round(seconds / PTIME_S)
        for tick in range(ticks):
            frames[:, RTP_AT + 2 : RTP_AT + 4] = np.array([tick], ">u2").view(np.uint8)
            frames[:, RTP_AT + 4 : RTP_AT + 8] = np.array([tick * SAMPLES], ">u4").view(np.uint8)
            frames[:, 18:20] = np.array([tick + 1], ">u2").view(np.uint8)
            for part in range(PARTS):
                due = started + (tick + part / PARTS) * PTIME_S * (len(frames) / PTIME_S / rate)
                wait = due - time.monotonic()
                if wait > 0:
                    time.sleep(wait)
                sender.send_rows(part * len(frames) // PARTS, (part + 1) * len(frames) // PARTS)
        sent += ticks * len(frames)
        took = time.monotonic() - started
        for number, each in enumerate(end):
            sender.send(each)
            if number % 100 == 0:
                time.sleep(0.01)
        sent += len(end)
    print(json.dumps({"sent": sent, "rate": ticks * len(frames) / took}))


@contextmanager
def wire() -> Iterator[str]:
    """A namespace with a veth pair `a0`, `a1`, on which nobody else speaks."""
    name = f"cg-bench-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        inside = ["ip", "netns", "exec", name]
        subprocess.run([*inside, "sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1"], check=True)
        subprocess.run(["ip", "-n", name, "link", "add", "a0", "type", "veth", "peer", "name", "a1"], check=True)
        for end in ("a0", "a1"):
            subprocess.run(["ip", "-n", name, "link", "set", end, "up"], check=True)
        yield name
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


def measured(rate: int, seconds: float, calls: int, peer: bool, program: str) -> LiveRun:
    """One run."""
    with wire() as name, tempfile.TemporaryDirectory() as folder:
        inside = ["ip", "netns", "exec", name]
        said = Path(folder) / "said"
        dump = None
        if peer:
            words = [*inside, *THEIRS, "tcpdump", "-i", "a1", "-s", "0", "-B", str(128 << 10), "-w", "/dev/null"]
            dump = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
        with said.open("w") as stderr:
            options = ["-i", "a1", "--store", f"{folder}/store", "--name", "bench", "--program", program]
            command = [*inside, *THEIRS, sys.executable, "-m", "api.main", "collect", *options]
            ours = subprocess.Popen(command, cwd=ROOT, stderr=stderr)
        while "collecting from" not in said.read_text():
            time.sleep(0.05)
        sender = [*inside, *SENDERS, sys.executable, "-m", "benchmarks.live", "--send", "a0"]
        sizes = ["--calls", str(calls), "--seconds", str(seconds), "--rate", str(rate)]
        begun = time.monotonic()
        went = json.loads(subprocess.run([*sender, *sizes], cwd=ROOT, capture_output=True, check=True).stdout)
        lasted = time.monotonic() - begun
        child_cpu = sum(cpu_of(pid) for pid in children(ours.pid))
        ours.send_signal(signal.SIGTERM)
        _, status, usage = os.wait4(ours.pid, 0)
        ours.returncode = os.waitstatus_to_exitcode(status)
        text = said.read_text()
        seen, dropped = number(r"a1: ([\d,]+) packets,", text), number(r"kernel_drops ([\d,]+)", text) or 0
        peer_seen = peer_dropped = None
        if dump is not None:
            dump.send_signal(signal.SIGINT)
            last = dump.communicate()[1]
            peer_seen, peer_dropped = number(r"(\d+) packets captured", last), number(r"(\d+) packets dropped", last)
        cpu = usage.ru_utime + usage.ru_stime
        return LiveRun(
            went["sent"], went["rate"], seen or 0, dropped, 100.0 * (went["sent"] - (seen or 0)) / went["sent"],
            cpu, child_cpu, 100.0 * (cpu + child_cpu) / lasted, usage.ru_maxrss / 1024,
            text.partition("stored in ")[2].partition("(")[2].partition(")")[0], peer_seen, peer_dropped,
        )  # fmt: skip


def number(pattern: str, text: str) -> int | None:
    """A number in what a program said."""
    found = re.search(pattern, text)
    return None if found is None else int(found[1].replace(",", ""))


def children(pid: int) -> list[int]:
    """Processes that a process began."""
    return [int(each) for path in Path(f"/proc/{pid}/task").glob("*/children") for each in path.read_text().split()]


def cpu_of(pid: int) -> float:
    """Processor time of a process so far [s]."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Run what the options ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=TARGET)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--calls", type=int, default=2_000)
    parser.add_argument("--program", default="ring")
    parser.add_argument("--peer", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--send", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.send:
        send(chosen.send, chosen.calls, chosen.seconds, chosen.rate)
        return
    if os.geteuid() != 0 or shutil.which("dumpcap") is None:
        sys.exit("live: needs root and dumpcap")
    run = measured(chosen.rate, chosen.seconds, chosen.calls, chosen.peer, chosen.program)
    for name, value in asdict(run).items():
        shown = f"{value:,.2f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else value
        print(f"{name:20} {shown}")
    if chosen.json:
        chosen.json.write_text(json.dumps(asdict(run), indent=1) + "\n")


if __name__ == "__main__":
    main()
