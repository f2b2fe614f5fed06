"""The captures that benchmarks read: made once, kept, and made again when their size or their generator changes.

`python -m benchmarks.captures KIND PATH COUNT CALLS` makes one. It runs as a process of its own: what a program
measures of its children's memory includes what it held itself when it started them.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
GENERATOR = ("bulk_rtp.py", "bulk_sip.py", "frames.py", "signalling.py")


class Capture(NamedTuple):
    """A capture file and what is true of it."""

    path: Path
    truth: Mapping[str, Any]

    @property
    def packets(self) -> int:
        """All packets, SIP included."""
        if "messages" in self.truth:
            return int(self.truth["messages"])
        return int(self.truth["rtp"]["packets"]) + int(self.truth["sip_messages"])

    @property
    def octets(self) -> int:
        """Size of the file."""
        return self.path.stat().st_size


def prepared(folder: Path, kind: str, count: int, calls: int | None = None) -> Capture:
    """The capture of a kind (`rtp` or `sip`) with so many packets or messages; its name tells the generator too."""
    calls = calls or calls_of(kind, count)
    folder.mkdir(parents=True, exist_ok=True)
    sources = b"".join((ROOT / "collector" / "simulator" / name).read_bytes() for name in GENERATOR)
    path = folder / f"{kind}-{count}-{calls}-{hashlib.sha256(sources).hexdigest()[:8]}.pcap"
    truth = path.with_name(path.name + ".truth.json")
    if not truth.exists():
        print(f"making {path}", file=sys.stderr)
        command = [sys.executable, "-m", "benchmarks.captures", kind, str(path), str(count), str(calls)]
        subprocess.run(command, cwd=ROOT, check=True)
    return Capture(path, json.loads(truth.read_text()))


def calls_of(kind: str, count: int) -> int:
    """Calls in a capture: 2,000 for media unless it is small; 28 for each 200 SIP messages."""
    if kind == "sip":
        return count * 28 // 200
    return min(2_000, max(1, count // 500))


def make(kind: str, path: Path, count: int, calls: int) -> None:
    """Write a capture and its truth."""
    from collector.simulator.bulk_rtp import RtpSize, write_rtp
    from collector.simulator.bulk_sip import SipSize, write_sip

    if kind == "sip":
        write_sip(path, SipSize(messages=count, calls=calls))
    else:
        write_rtp(path, RtpSize(packets=count, calls=calls, concurrent=max(1, calls // 5)))


if __name__ == "__main__":
    make(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
