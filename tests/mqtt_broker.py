"""A real Mosquitto on loopback, started by a test and killed by it."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

PROGRAM = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Broker:
    """One broker in a folder of its own; it can be killed and started again on its port."""

    def __init__(self, folder: Path, lines: str = "allow_anonymous true\n") -> None:
        if PROGRAM is None:
            pytest.skip("the broker `mosquitto` is not installed")
        folder.mkdir(exist_ok=True)
        self.port = free_port()
        self._log = folder / "log"
        self._config = folder / "mosquitto.conf"
        # Started as root it would become `mosquitto`, who may not look into our folders.
        lines += "user root\n"
        self._config.write_text(f"listener {self.port} 127.0.0.1\npersistence false\n{lines}")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert PROGRAM is not None
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([PROGRAM, "-c", str(self._config)], stdout=log, stderr=log)
        until = time.monotonic() + 10
        while time.monotonic() < until and self._process.poll() is None:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.02)
        raise AssertionError(self._log.read_text())

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None


@contextmanager
def broker(folder: Path, lines: str = "allow_anonymous true\n") -> Iterator[Broker]:
    one = Broker(folder, lines)
    one.start()
    try:
        yield one
    finally:
        one.kill()
