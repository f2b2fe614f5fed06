"""Streams and calls for tests of alerts, and a receiver of webhooks."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analytics.store.arrow_rows import arrow_table
from analytics.store.lake import Lake
from analytics.store.schema import CALLS, INTERVALS, STREAMS, table

NS = 1_000_000_000
RECEIVER = Path(__file__).with_name("webhook_receiver.py")


def interval(key: int, start_s: float, *, site: str | None, other: str | None, mos: float | None, lost: int = 0,
             expected: int = 500, jitter_ms: float | None = 2.0, source: str = "york-1") -> dict[str, Any]:  # fmt: skip
    """One interval of 10 s of a stream from `site` to `other`."""
    return {
        "stream_key": key, "source": source, "start": round(start_s * 1e6), "seconds": 10.0, "site": site,
        "other_site": other, "packets": expected - lost, "expected": expected, "lost": lost, "jitter_ms": jitter_ms,
        "mos": mos,
    }  # fmt: skip


def call(key: int, start_s: float, *, seconds: float | None = 60.0, site: str | None = "york", other: str | None = None,
         state: str = "completed", status: int | None = 200) -> dict[str, Any]:  # fmt: skip
    """One call; without `seconds` it was not answered and ended after 10 s."""
    start = round(start_s * 1e6)
    end = start + round((seconds or 10.0) * 1e6)
    return {
        "call_key": key, "source": "york-1", "call_id": f"{key}@test", "start": start,
        "answer": None if seconds is None else start, "end": end, "state": state, "status": status,
        "seconds": seconds, "site": site, "other_site": other, "legs": 1, "streams": 2,
    }  # fmt: skip


def stream(key: int, call_key: int | None, start_s: float, sender: str, **changed: Any) -> dict[str, Any]:
    """One whole stream of 60 s from an address."""
    start = round(start_s * 1e6)
    return {
        "stream_key": key, "source": "york-1", "call_key": call_key, "start": start, "end": start + 60_000_000,
        "from_address": sender, "to_address": "192.0.2.200:4000", "site": "york", "other_site": "hull", "ssrc": key,
        "codec": "PCMA", "packets": 3000, "expected": 3000, "lost": 0, "jitter_ms": 2.0, "mos": 4.3,
        "evidence": "measured", **changed,
    }  # fmt: skip


def append(lake: Lake, name: str, rows: Sequence[dict[str, Any]], batch: str) -> None:
    """Append rows to a table."""
    lake.append(name, arrow_table(table(name), rows), batch=batch)


TABLES = {"calls": CALLS, "streams": STREAMS, "intervals": INTERVALS}


@dataclass
class Receiver:
    """A running receiver."""

    port: int
    log: Path
    scheme: str = "http"

    def url(self, path: str) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/{path}"

    def got(self, path: str | None = None) -> list[dict[str, Any]]:
        """Requests that came, the oldest first."""
        if not self.log.exists():
            return []
        lines = self.log.read_text(encoding="utf-8").splitlines()
        found = [json.loads(line) for line in lines if line.endswith("}")]
        return [one for one in found if path is None or one["path"] == f"/{path}"]


@contextmanager
def receiving(folder: Path, certificate: Path | None = None) -> Iterator[Receiver]:
    """Run a receiver as a process."""
    log = folder / "received.jsonl"
    words = [sys.executable, str(RECEIVER), str(log), *([str(certificate)] if certificate else [])]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            yield Receiver(int(child.stdout.readline()), log, "https" if certificate else "http")
        finally:
            child.kill()
