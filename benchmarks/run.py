"""Measure Callgauge beside its peers on captures of its own making, and print what was promised and what was found.

    python -m benchmarks.run [--quick] [--dir DIR] [--packets N] [--messages N] [--runs N] [--json FILE]

Every number is the median of whole processes that take turns, on a warm page cache. Speed is compared as packets per
second, since tshark, being slow, reads a smaller capture: the same calls, only fewer of them.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.agreement import differences
from benchmarks.api import api
from benchmarks.captures import ROOT, Capture, prepared
from benchmarks.cdr import cdr
from benchmarks.hep import hep
from benchmarks.influx import influx
from benchmarks.lake import lake
from benchmarks.live_targets import live
from benchmarks.measure import Command, CommandFailedError, Measured, interleaved, once
from benchmarks.targets import Target, table

RTP_TSHARK = "RTP against tshark -z rtp,streams"
RTP_TCPDUMP = "RTP against tcpdump -w /dev/null"
SIP_TSHARK = "SIP against tshark -z sip,stat"


@dataclass(slots=True)
class Bench:
    """Settings of a run, and what it has found so far."""

    folder: Path
    packets: int
    messages: int
    peer_packets: int
    records: int
    stream_rows: int
    months: int
    runs: int
    command: list[str]
    checked: bool = True
    hep_packets: int = 600_000
    targets: list[Target] = field(default_factory=list)
    runs_by_name: dict[str, Any] = field(default_factory=dict)
    differences: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def ours(self, capture: Capture, report: str = "text") -> Command:
        """Callgauge on a capture, its report to the null device: by default the one that people get."""
        arguments = [*self.command, "replay", str(capture.path), "--format", report, "--no-progress"]
        return Command(arguments, {}, ROOT)

    def keep(self, title: str, measured: Mapping[str, Measured], captures: Mapping[str, Capture]) -> None:
        """Remember raw runs for the JSON report."""
        self.runs_by_name[title] = {
            name: {
                "capture": captures[name].path.name,
                "packets": captures[name].packets,
                "octets": captures[name].octets,
                "median_seconds": runs.seconds,
                "median_cpu_seconds": runs.cpu_seconds,
                "packets_per_second": captures[name].packets / runs.seconds,
                "peak_mib": runs.peak_mib,
                "runs": [run._asdict() for run in runs.runs],
            }
            for name, runs in measured.items()
        }

    def check(self, capture: Capture) -> None:
        """Compare the report with the generator's totals, outside all times."""
        if self.checked:
            self.differences += [
                f"{capture.path.name}: {line}" for line in differences(capture, self.ours(capture, "json"))
            ]

    def has(self, program: str) -> bool:
        """Whether a peer is there; what is not is named at the end."""
        found = shutil.which(program) is not None
        if not found and program not in self.missing:
            self.missing.append(program)
        return found

    def measure(
        self, title: str, commands: Mapping[str, Command], captures: Mapping[str, Capture]
    ) -> dict[str, Measured]:
        """Run the commands in turns and keep the raw runs."""
        files = list(dict.fromkeys(capture.path for capture in captures.values()))
        measured = interleaved(commands, self.runs, files)
        self.keep(title, measured, captures)
        return measured

    def as_json(self, title: str, capture: Capture) -> float:
        """Median time of the whole report as JSON [s], measured after the comparison, which it would disturb."""
        name = "callgauge json"
        return self.measure(f"{title} json", {name: self.ours(capture, "json")}, {name: capture})[name].seconds

    def say(self, sentence: str) -> None:
        """Progress, on stderr."""
        print(sentence, file=sys.stderr, flush=True)


def rtp(bench: Bench) -> None:
    """Media against tshark and tcpdump, and the peak memory of a small and a large capture."""
    large = prepared(bench.folder, "rtp", bench.packets)
    calls = int(large.truth["calls"])
    small = prepared(bench.folder, "rtp", max(20 * calls, bench.packets // 10), calls)
    # as many packets in each call as the large capture has: tshark pays for calls as well as for packets
    cut = prepared(bench.folder, "rtp", bench.peer_packets, max(1, calls * bench.peer_packets // bench.packets))
    commands = {"callgauge": bench.ours(large), "callgauge small": bench.ours(small)}
    captures = {"callgauge": large, "callgauge small": small}
    if bench.has("tcpdump"):
        commands["tcpdump"] = Command(["tcpdump", "-r", str(large.path), "-w", "/dev/null"])
        captures["tcpdump"] = large
    if bench.has("tshark"):
        commands["tshark"] = Command(["tshark", "-q", "-z", "rtp,streams", "-r", str(cut.path)])
        captures["tshark"] = cut
    bench.check(large)
    bench.say(f"RTP: {large.packets} packets, {large.octets / 1e9:.2f} GB")
    measured = bench.measure("rtp", commands, captures)
    ours = measured["callgauge"]
    if "tshark" in measured:
        rate = large.packets / ours.seconds / (cut.packets / measured["tshark"].seconds)
        note = f"{large.packets / ours.seconds / 1e6:.2f} M packets/s; tshark read {cut.packets}"
        bench.targets.append(Target(RTP_TSHARK, "x faster", 40, 100, rate, True, note))
    if "tcpdump" in measured:
        share = ours.seconds / measured["tcpdump"].seconds
        as_json = bench.as_json("rtp", large)
        note = f"{ours.seconds:.2f} s, {as_json:.2f} s as JSON; tcpdump {measured['tcpdump'].seconds:.2f} s"
        bench.targets.append(Target(RTP_TCPDUMP, "x its time", 2.5, 1, share, False, note))
    peaks = {large.packets: ours.peak_mib, small.packets: measured["callgauge small"].peak_mib}
    note = ", ".join(f"{peak:.0f} MiB at {packets}" for packets, peak in sorted(peaks.items()))
    bench.targets.append(Target("peak memory", "MB", 400, 250, max(peaks.values()) * 1.048576, False, note))
    growth = ours.peak_mib / measured["callgauge small"].peak_mib
    bench.targets.append(Target("peak memory, ten times the packets", "x", 1.1, 1.02, growth, False))


def sip(bench: Bench) -> None:
    """Signalling against tshark."""
    capture = prepared(bench.folder, "sip", bench.messages)
    commands = {"callgauge": bench.ours(capture)}
    if bench.has("tshark"):
        commands["tshark"] = Command(["tshark", "-q", "-z", "sip,stat", "-r", str(capture.path)])
    bench.check(capture)
    bench.say(f"SIP: {capture.packets} messages in {capture.truth['calls']} calls")
    measured = bench.measure("sip", commands, dict.fromkeys(commands, capture))
    if "tshark" in measured:
        rate = measured["tshark"].seconds / measured["callgauge"].seconds
        as_json = bench.as_json("sip", capture)
        note = (
            f"{measured['callgauge'].seconds:.2f} s, {as_json:.2f} s as JSON; tshark {measured['tshark'].seconds:.2f} s"
        )
        bench.targets.append(Target(SIP_TSHARK, "x faster", 3, 10, rate, True, note))


def start_up(bench: Bench) -> None:
    """A small capture with kernels at hand, and the very first run of a fresh copy of the project."""
    capture = prepared(bench.folder, "rtp", 2_000)
    bench.say("start-up")
    once(bench.ours(capture))
    measured = bench.measure("small capture", {"callgauge": bench.ours(capture)}, {"callgauge": capture})
    bench.targets.append(_seconds("small capture, kernels cached", 1.5, 0.6, measured["callgauge"]))
    bench.say("first run ever (kernels compile each time)")
    with tempfile.TemporaryDirectory(prefix="callgauge-bench-") as name:
        fresh = Path(name) / "project"

        def unpack() -> None:
            shutil.rmtree(name, ignore_errors=True)
            for package in ("analytics", "api", "collector"):
                shutil.copytree(ROOT / package, fresh / package, ignore=shutil.ignore_patterns("__pycache__"))

        arguments = [sys.executable, "-m", "api.main", "replay", str(capture.path), "--no-progress"]
        command = Command(arguments, {"CALLGAUGE_CACHE": f"{name}/kernels"}, fresh, unpack)
        measured = bench.measure("first run", {"callgauge": command}, {"callgauge": capture})
        fresh.mkdir(parents=True, exist_ok=True)
    bench.targets.append(_seconds("first run ever", 25, 8, measured["callgauge"]))


def _seconds(name: str, must: float, aim: float, measured: Measured) -> Target:
    return Target(name, "s", must, aim, measured.seconds, False, f"{measured.cpu_seconds:.2f} s of processor time")


def machine(bench: Bench) -> dict[str, Any]:
    """Where and with what this was measured."""
    versions = {}
    for program in ("tshark", "tcpdump"):
        if bench.has(program):
            said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
            versions[program] = (said.stdout or said.stderr).splitlines()[0]
    models = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    return {
        "processor": models[0] if models else platform.processor(),
        "processors": os.cpu_count(),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "kernel": platform.release(),
        **versions,
    }


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def parsed(arguments: list[str] | None = None) -> argparse.Namespace:
    """Options of the command line."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "callgauge" / "benchmarks"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", type=Path, default=cache, help="where captures are kept (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="small captures and three runs: tells little, but soon")
    parser.add_argument("--packets", type=int, help="RTP packets of the large capture (10,000,000; quick 400,000)")
    parser.add_argument("--messages", type=int, help="SIP messages (200,000; quick 20,000)")
    parser.add_argument("--peer-packets", type=int, help="RTP packets that tshark reads (1,000,000; quick 100,000)")
    parser.add_argument("--records", type=int, help="call detail records (10,000,000; quick 200,000)")
    parser.add_argument("--runs", type=int, help="runs of each command (5; quick 3)")
    parser.add_argument(
        "--only",
        choices=("rtp", "sip", "start", "cdr", "lake", "hep", "api", "live", "influx"),
        action="append",
        help="only these parts",
    )
    parser.add_argument("--command", help="the command under test (default: this Python, -m api.main)")
    parser.add_argument("--unchecked", action="store_true", help="do not compare the reports with the truth")
    parser.add_argument("--json", type=Path, help="write all runs here (default: DIR/results.json)")
    return parser.parse_args(arguments)


def main() -> None:
    """Run the benchmarks; the exit status is 1 when a promise is broken or a report is wrong."""
    options = parsed()
    quick = options.quick
    bench = Bench(
        folder=options.dir.resolve(),
        packets=options.packets or (400_000 if quick else 10_000_000),
        messages=options.messages or (20_000 if quick else 200_000),
        peer_packets=options.peer_packets or (100_000 if quick else 1_000_000),
        records=options.records or (200_000 if quick else 10_000_000),
        stream_rows=100_000 if quick else 1_000_000,
        months=2 if quick else 12,
        runs=options.runs or (3 if quick else 5),
        command=options.command.split() if options.command else [sys.executable, "-m", "api.main"],
        checked=not options.unchecked,
        hep_packets=60_000 if quick else 600_000,
    )
    if not options.command:
        # What is installed has its bytecode. A checkout need not: where Python is told to keep none, it would be
        # compiled anew in every run.
        for package in ("analytics", "api", "collector"):
            compileall.compile_dir(ROOT / package, quiet=2)
    parts: dict[str, Callable[[Bench], None]] = {
        "rtp": rtp, "sip": sip, "start": start_up, "cdr": cdr, "lake": lake, "hep": hep,
        "live": live, "influx": influx,
        "api": api,
    }  # fmt: skip
    began = time.time()
    try:
        for name, part in parts.items():
            if not options.only or name in options.only:
                part(bench)
    except CommandFailedError as error:
        sys.exit(f"benchmarks: {error}")
    for line in bench.differences:
        print(f"WRONG {line}")
    print(table(bench.targets))
    for program in bench.missing:
        print(f"not measured: {program} is not installed")
    results = {
        "at": int(began),
        "machine": machine(bench),
        "targets": [asdict(target) for target in bench.targets],
        "differences": bench.differences,
        "runs": bench.runs_by_name,
    }
    path = options.json or bench.folder / "results.json"
    path.write_text(json.dumps(results, indent=1) + "\n")
    print(f"all runs: {path}")
    broken = [target for target in bench.targets if not target.met(target.must)]
    sys.exit(1 if bench.differences or broken else 0)


if __name__ == "__main__":
    main()
