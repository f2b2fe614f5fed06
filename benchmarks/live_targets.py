"""What is promised of live capture: packets a second without loss, memory of many calls, how soon a point is seen."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.captures import ROOT
from benchmarks.live import SENDERS, THEIRS, measured, wire
from benchmarks.targets import Target

if TYPE_CHECKING:
    from benchmarks.run import Bench

RATE = 210_000
"""Packets/s that the sender tries; a little more than is promised, for it falls short."""
CALLS = 10_000
MEDIA_S = 25
"""Capture time of the media of that many calls."""
LATENCY_S = 24.0
"""Two intervals and more, wherever the first begins."""
PATIENCE_S = 60.0


class Seen(NamedTuple):
    """How long after their packets points were seen [s]."""

    live: float
    """The first, in the live view."""
    stored: float
    """The slowest of all intervals in the store, from its first packet on."""
    intervals: int


def live(bench: Bench) -> None:
    """Packets a second on one core, memory of 10,000 calls, and time from packets to what is shown and stored."""
    _memory(bench)
    if os.geteuid() != 0 or not all(map(bench.has, ("ip", "taskset", "dumpcap"))):
        bench.say("live capture is measured by root alone, with ip, taskset and dumpcap")
        return
    for program, title in (("ring", "live RTP, the kernel's ring"), ("dumpcap", "live RTP, dumpcap")):
        run = measured(RATE, 8.0, 1_000, False, program)
        note = f"{run.loss_percent:.3f} % lost of {run.sent:,}; {run.cpu_percent:.0f} % of one core"
        rate = run.sent_per_second / 1e3 if run.seen == run.sent else 0.0
        bench.targets.append(Target(title, "k/s", 200, 1_000, rate, True, note))
        bench.runs_by_name[title] = [asdict(run)]
    seen = latency()
    bench.targets.append(Target("packet to the live view", "s", 2, 1, seen.live, False))
    note = f"the slowest of {seen.intervals} intervals"
    bench.targets.append(Target("packet to the store", "s", 15, 12, seen.stored, False, note))


def _memory(bench: Bench) -> None:
    peak = many_calls(CALLS, MEDIA_S)
    note = f"both streams of each; the peak, also as all are ended by a stop; {MEDIA_S} s of media"
    bench.targets.append(Target(f"{CALLS:,} live calls", "MB", 400, 300, peak, False, note))


def many_calls(calls: int, seconds: int, wait: float = 3.0) -> float:
    """Peak memory of a collector of so many calls [MB], stopped so long after the last of them ended."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program, said = folder / "dumpcap", folder / "stages"
        program.write_text(f'#!/bin/sh\ncd "{ROOT}" && exec "{sys.executable}" -m benchmarks.many_calls\n')
        program.chmod(0o755)
        environment = {**os.environ, "BENCH_CALLS": f"{calls}:{seconds}:{said}"}
        options = ["-i", "none", "--program", str(program), "--store", str(folder / "store"), "--name", "bench"]
        command = [sys.executable, "-m", "api.main", "collect", *options]
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
        while not (said.exists() and "written" in said.read_text()):
            if process.poll() is not None:
                raise RuntimeError("the collector ended")
            time.sleep(0.2)
        time.sleep(wait)
        process.send_signal(signal.SIGTERM)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        return usage.ru_maxrss * 1024 / 1e6


def latency() -> Seen:
    """Send two calls in their own time, and look every 50 ms at what is shown and stored."""
    with wire() as name, tempfile.TemporaryDirectory() as folder:
        inside = ["ip", "netns", "exec", name]
        store = Path(folder) / "store"
        options = ["-i", "a1", "--store", str(store), "--name", "bench"]
        command = [*inside, *THEIRS, sys.executable, "-m", "api.main", "collect", *options]
        ours = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        assert ours.stderr is not None
        while "collecting from" not in ours.stderr.readline():
            pass
        sending = [*inside, *SENDERS, sys.executable, "-m", "benchmarks.live", "--send", "a0", "--calls", "2"]
        sender = subprocess.Popen([*sending, "--seconds", str(LATENCY_S), "--rate", "200"], cwd=ROOT)
        try:
            shown = _first_shown(store / "live" / "bench.json")
            found = _stored(store, sender)
        finally:
            sender.wait(PATIENCE_S)
            ours.send_signal(signal.SIGTERM)
            ours.wait(PATIENCE_S)
        first = min(found) / 1e6
        return Seen(shown - first, max(at - start / 1e6 for start, at in found.items()), len(found))


def _first_shown(path: Path) -> float:
    deadline = time.time() + PATIENCE_S
    while time.time() < deadline:
        if path.exists() and any(site["packets"] for site in json.loads(path.read_bytes())["sites"].values()):
            return time.time()
        time.sleep(0.05)
    raise TimeoutError("nothing was shown")


def _stored(store: Path, sender: subprocess.Popen[bytes]) -> dict[int, float]:
    """When intervals were first seen in the store, by their beginning [µs]."""
    from analytics.store.lake import Lake

    found: dict[int, float] = {}
    lake = Lake.open(store)
    try:
        while sender.poll() is None:
            connection = lake.connect()
            try:
                if (store / "intervals").exists():
                    lake.view(connection, "intervals")
                    rows = connection.execute("SELECT epoch_us(start) FROM intervals").fetchall()
                    now = time.time()
                    for (start,) in rows:
                        found.setdefault(int(start), now)
            finally:
                connection.close()
            time.sleep(0.05)
    finally:
        lake.close()
    return found
