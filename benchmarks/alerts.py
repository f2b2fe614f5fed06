"""How long it takes from the packet that degrades a site to the arrival of the webhook.

    python -m benchmarks.alerts [--calls N] [--clean S] [--json FILE]

In a network namespace of its own a sender puts G.711 calls between two sites on one end of a veth pair;
`callgauge collect` captures at the other end, `callgauge alerts run` watches the same store, and a receiver on the
loopback interface notes when it is told and verifies the signature. After a clean time one packet in five is lost on
the way to one site: the clock runs from the first packet that is missing. Two rules are timed: the default one, whose
window is 10 minutes, and the same with a window of 30 s. Needs root.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from benchmarks.live import wire
from collector.facts import Endpoint
from collector.simulator.frames import frame, udp_packet
from collector.simulator.sender import FrameSender
from collector.simulator.signalling import CallPlan, Media, call_messages

ROOT = Path(__file__).resolve().parents[1]
PTIME_S = 0.02
LOSS = 0.2
BUDGET_S = 30.0
WINDOWS_S = {"site_degraded": 600.0, "site_degraded_soon": 30.0}
RULES = """
[rules.site_degraded_soon]
like = "site_degraded"
window_s = 30
"""
ESTATE = {
    "estate.toml": '[estate]\nname = "Bench"\n',
    "sites.csv": "site,name,kind,parent,priority,valid_from,valid_to\n"
    "hull,Hull,station,,normal,,\nyork,York,station,,normal,,\n",
    "subnets.csv": "subnet,site,valid_from,valid_to\n10.1.0.0/16,hull,,\n10.2.0.0/16,york,,\n",
}


@dataclass(frozen=True, slots=True)
class AlertRun:
    """What one run found."""

    rule: str
    window_s: float
    latency_s: float
    """From the first packet lost to the arrival of the webhook."""
    decided_s: float
    """From the first packet lost to the decision."""
    within_budget: bool
    """Whether it took less than 30 s and the rule's own window."""
    said: str


def plans(calls: int) -> list[CallPlan]:
    """Calls from one site to the other."""
    formats = ((8, "PCMA/8000"),)
    found = []
    for call in range(calls):
        src, dst = Endpoint(f"10.1.0.{call + 1}", 16_384), Endpoint(f"10.2.0.{call + 1}", 16_384)
        found.append(
            CallPlan(
                call_id=f"{call:08x}@alerts.example", caller=src._replace(port=5060), callee=dst._replace(port=5060),
                caller_user=str(1_000 + call), callee_user=str(5_000 + call), start=0,
                caller_media=Media(src, formats), callee_media=Media(dst, formats),
            )
        )  # fmt: skip
    return found


def send(interface: str, calls: int, clean_s: float, poor_s: float) -> None:
    """Set calls up and send their media; prints the time of the first packet that is left out."""
    chance = random.Random(1)
    made = plans(calls)
    with FrameSender(interface) as sender:
        for plan in made:
            for message in call_messages(plan):
                if b" BYE\r\n" not in message.payload[:2_000]:
                    sender.send(frame(udp_packet(message.src, message.dst, message.payload)))
        begun = time.monotonic()
        first_lost = None
        for tick in range(round((clean_s + poor_s) / PTIME_S)):
            for number, plan in enumerate(made):
                assert plan.caller_media is not None
                assert plan.callee_media is not None
                ends = plan.caller_media.endpoint, plan.callee_media.endpoint
                for way, (src, dst) in enumerate((ends, ends[::-1])):
                    if way == 0 and tick * PTIME_S >= clean_s and chance.random() < LOSS:
                        if first_lost is None:
                            first_lost = time.time()
                            print(json.dumps({"first_lost": first_lost}), flush=True)
                        continue
                    sender.send(rtp(src, dst, tick, 2 * number + way + 1))
            wait = begun + (tick + 1) * PTIME_S - time.monotonic()
            if wait > 0:
                time.sleep(wait)


def rtp(src: Endpoint, dst: Endpoint, tick: int, ssrc: int) -> bytes:
    """One packet of 20 ms of PCMA."""
    head = bytes((0x80, 8)) + (tick & 0xFFFF).to_bytes(2, "big") + (tick * 160).to_bytes(4, "big")
    return frame(udp_packet(src, dst, head + ssrc.to_bytes(4, "big") + bytes(160), ip_id=tick & 0xFFFF, dscp=46))


class Told(ThreadingHTTPServer):
    """Notes when each rule was told first, and what."""

    def __init__(self, secret: list[str]) -> None:
        self.secret = secret
        self.arrived: dict[str, tuple[float, float, str]] = {}
        super().__init__(("127.0.0.1", 0), Answering)


class Answering(BaseHTTPRequestHandler):
    """Verifies and takes a webhook."""

    server: Told

    def do_POST(self) -> None:
        """Note it."""
        from standardwebhooks.webhooks import Webhook

        at = time.time()
        body = self.rfile.read(int(self.headers["content-length"]))
        made = Webhook(self.server.secret[0]).verify(body, dict(self.headers.items()))
        for alert in made["alerts"]:
            decided = datetime.fromisoformat(alert["startsAt"]).timestamp()
            name = alert["labels"]["alertname"]
            self.server.arrived.setdefault(name, (at, decided, alert["annotations"]["description"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_words: object) -> None:
        """Nothing on stderr."""


@contextmanager
def running(words: list[str], folder: Path, said: str) -> Iterator[None]:
    """Run a process for as long as the block lasts, from when it has said something."""
    log = folder / f"{words[-1].strip('-').replace('/', '_')}-{len(words)}.log"
    with log.open("w") as stderr:
        child = subprocess.Popen(words, cwd=folder, stderr=stderr, env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        while said not in log.read_text():
            if child.poll() is not None:
                raise RuntimeError(log.read_text())
            time.sleep(0.05)
        yield
    finally:
        child.terminate()
        child.wait()


def measured(calls: int, clean_s: float) -> list[AlertRun]:
    """Run once; one result a rule."""
    secret: list[str] = []
    with tempfile.TemporaryDirectory() as name, wire() as space:
        folder = Path(name)
        (folder / "estate").mkdir()
        for file, text in ESTATE.items():
            (folder / "estate" / file).write_text(text)
        (folder / "rules.toml").write_text(RULES)
        (folder / "callgauge.toml").write_text(
            'store = "store"\nestate = "estate"\n[alerts]\nrules = "rules.toml"\nallowed_networks = ["127.0.0.0/8"]\n'
        )
        told = Told(secret)
        threading.Thread(target=told.serve_forever, daemon=True).start()
        command = [sys.executable, "-m", "api.main"]
        inside = ["ip", "netns", "exec", space]
        with running([*inside, *command, "collect", "-i", "a1", "--name", "bench"], folder, "collecting from"):
            added = subprocess.run(
                [*command, "webhook", "add", "desk", f"http://127.0.0.1:{told.server_address[1]}/"],
                cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True,
            )  # fmt: skip
            secret.append(added.stdout.split()[-1])
            with running([*command, "alerts", "run"], folder, "rules are watched"):
                first_lost = _sent(inside, calls, clean_s, told)
        told.shutdown()
    found = []
    for rule, window in WINDOWS_S.items():
        at, decided, said = told.arrived.get(rule, (float("inf"), float("inf"), "never told"))
        latency = at - first_lost
        found.append(AlertRun(rule, window, latency, decided - first_lost, latency < BUDGET_S + window, said))
    return found


def _sent(inside: list[str], calls: int, clean_s: float, told: Told) -> float:
    """Send until both rules were told, or too long; the time of the first packet that was lost."""
    sizes = ["--calls", str(calls), "--clean", str(clean_s)]
    sender = subprocess.Popen(
        [*inside, sys.executable, "-m", "benchmarks.alerts", "--send", "a0", *sizes],
        cwd=ROOT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert sender.stdout is not None
    try:
        first_lost = float(json.loads(sender.stdout.readline())["first_lost"])
        end = time.monotonic() + BUDGET_S + 40
        while time.monotonic() < end and set(told.arrived) < set(WINDOWS_S):
            time.sleep(0.05)
    finally:
        sender.kill()
        sender.wait()
    return first_lost


def main() -> None:
    """Run what the options ask for; status 1 where it took too long."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=40)
    parser.add_argument("--clean", type=float, default=35.0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--send", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.send:
        send(chosen.send, chosen.calls, chosen.clean, 120.0)
        return
    if os.geteuid() != 0 or shutil.which("dumpcap") is None:
        sys.exit("alerts: needs root and dumpcap")
    runs = measured(chosen.calls, chosen.clean)
    for run in runs:
        print(f"{run.rule}: told {run.latency_s:.1f} s after the first packet lost (decided {run.decided_s:.1f} s)")
        print(f"  {run.said}")
    if chosen.json:
        chosen.json.write_text(json.dumps([asdict(run) for run in runs], indent=1) + "\n")
    sys.exit(0 if all(run.within_budget for run in runs) else 1)


if __name__ == "__main__":
    main()
