"""systemd hears that a process is ready, stops and is alive."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from api.notify import READY, STOPPING, WATCHDOG, notify, reloading, status, watchdog_seconds

UNITS = sorted((Path(__file__).resolve().parents[1] / "packaging" / "systemd").glob("*.service"))


@contextmanager
def listening(address: str | Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as hearing:
        hearing.bind(os.fspath(address))
        hearing.settimeout(5)
        yield hearing


def test_a_message_reaches_the_socket_that_systemd_names(tmp_path: Path) -> None:
    with listening(tmp_path / "notify") as hearing:
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
        assert notify(READY, status("collecting\nfrom eth0"), environment=environment)
        assert hearing.recv(4096) == b"READY=1\nSTATUS=collecting from eth0"
        assert notify(STOPPING, environment=environment)
        assert hearing.recv(4096) == b"STOPPING=1"
        assert notify(WATCHDOG, environment=environment)
        assert hearing.recv(4096) == b"WATCHDOG=1"


def test_names_of_the_abstract_namespace_are_understood() -> None:
    name = f"callgauge-test-{os.getpid()}"
    with listening("\0" + name) as hearing:
        assert notify(READY, environment={"NOTIFY_SOCKET": "@" + name})
        assert hearing.recv(64) == b"READY=1"


def test_a_reload_carries_the_time_by_which_systemd_orders_it() -> None:
    first, second = reloading().split("\n")
    assert first == "RELOADING=1"
    assert second.startswith("MONOTONIC_USEC=")
    assert int(second.partition("=")[2]) > 0


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1"}])
def test_nothing_is_sent_where_nobody_asked(environment: dict[str, str]) -> None:
    assert not notify(READY, environment=environment)


def test_a_listener_that_is_gone_harms_nobody(tmp_path: Path) -> None:
    assert not notify(READY, environment={"NOTIFY_SOCKET": str(tmp_path / "none")})


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
    ],
)
def test_life_is_shown_twice_in_the_time_that_systemd_waits(
    environment: dict[str, str], expected: float | None
) -> None:
    assert watchdog_seconds(environment) == expected


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_finds_nothing_wrong_with_a_unit(unit: Path, tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    # The command is not installed where this is tested: any program that is there stands for it.
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text(encoding="utf-8").replace("/usr/bin/callgauge", "/bin/true"), encoding="utf-8")
    done = subprocess.run(
        [program, "verify", "--man=no", copy], capture_output=True, text=True, check=False, timeout=30
    )
    said = [line for line in (done.stdout + done.stderr).splitlines() if unit.name in line]
    assert not said
    assert done.returncode == 0, done.stderr


def test_there_is_a_unit_for_each_process_that_stays() -> None:
    names = ["callgauge-collect.service", "callgauge-serve.service", "callgauge-work.service"]
    assert [unit.name for unit in UNITS] == names
