"""Finds InfluxDB 2, builds it where that is wanted, and runs it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import urllib3

from analytics.store.influx import InfluxSettings

HERE = Path(__file__).resolve().parent / "influxd"
NAMED = "CALLGAUGE_INFLUXD"
"""Environment variable with the path of a server."""
ORG = "police"
TOKEN = "token-of-the-tests"
STARTED_WITHIN = 40.0
BUILT_WITHIN = 1_800


class NoServerError(Exception):
    """There is no InfluxDB here; the message says why."""


def version() -> str:
    """Return the version that the recipe builds."""
    found = re.search(r"influxdata/influxdb/v2 v(\S+)", (HERE / "go.mod").read_text(encoding="utf-8"))
    assert found is not None
    return found[1]


def cached() -> Path:
    """Return where a built server is kept."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return caches / "callgauge" / "influxd" / f"influxd-{version()}"


def find() -> Path:
    """Return a server's program: named, on the path, or built before; NoServerError where there is none."""
    named = os.environ.get(NAMED)
    if named:
        if not os.access(named, os.X_OK):
            raise NoServerError(f"{NAMED} names {named}, which is no program")
        return Path(named)
    on_path = shutil.which("influxd")
    if on_path:
        return Path(on_path)
    if not cached().exists():
        raise NoServerError("there is no influxd: tests/influxd/build.sh builds one with Go and Rust, once a machine")
    return cached()


def build_if_missing() -> None:
    """Build a server where none is found; NoServerError says why it cannot be."""
    try:
        find()
    except NoServerError:
        build()


def build() -> None:
    """Build the server into the cache; NoServerError says why it cannot be."""
    try:
        made = subprocess.run(
            [HERE / "build.sh", cached()], capture_output=True, text=True, check=False, timeout=BUILT_WITHIN
        )
    except subprocess.TimeoutExpired as error:
        raise NoServerError(f"influxd was not built within {BUILT_WITHIN} s") from error
    if made.returncode:
        last = (made.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise NoServerError(f"influxd cannot be built: {last}")


@dataclass
class Influxd:
    """A server that can be killed and started again with its data, on the same port."""

    program: Path
    folder: Path
    port: int = field(default_factory=lambda: free_port())
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def settings(self, name: str) -> InfluxSettings:
        """Return settings with buckets of their own."""
        return InfluxSettings(
            url=self.url, token=TOKEN, org=ORG, bucket=name, long_bucket=f"{name}_long", retry_seconds=0.05,
            retry_most_seconds=0.5,
        )  # fmt: skip

    def start(self) -> None:
        self.folder.mkdir(exist_ok=True)
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    self.program, "--bolt-path", self.folder / "bolt", "--engine-path", self.folder / "engine",
                    "--sqlite-path", self.folder / "sqlite", "--http-bind-address", f"127.0.0.1:{self.port}",
                    "--reporting-disabled", "--log-level", "warn",
                ],
                stdout=log, stderr=log,
            )  # fmt: skip
        end = time.monotonic() + STARTED_WITHIN
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > end:
                said = (self.folder / "log").read_text(errors="replace")[-500:]
                raise NoServerError(f"influxd does not start: {said}")
            time.sleep(0.1)

    def _answers(self) -> bool:
        try:
            answer = urllib3.request("GET", f"{self.url}/health", timeout=1, retries=False)
        except urllib3.exceptions.HTTPError:
            return False
        return answer.status == 200

    def set_up(self) -> None:
        """Make the first user, the organisation and the token."""
        asked = {"username": "tests", "password": "only-for-tests", "org": ORG, "bucket": "first", "token": TOKEN}
        answer = urllib3.request("POST", f"{self.url}/api/v2/setup", json=asked, timeout=20)
        assert answer.status == 201, answer.data

    def kill(self) -> None:
        """Kill -9."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def free_port() -> int:
    """Return a port of loopback that nothing listens on."""
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])
