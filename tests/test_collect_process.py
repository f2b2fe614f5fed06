"""`callgauge collect` as a process that stays: health, metrics, systemd, and the estate read anew."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest
from hep_senders import free_port
from hep_traffic import call_packets
from test_collect_hep import rows_of

from analytics.health import ProcessHealth, read_health

ROOT = Path(__file__).resolve().parents[1]
T = TypeVar("T")
ESTATE = ROOT / "examples" / "estate"
RUN = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from api.main import run; run()"


class Running:
    """A collector, the folder that it works in, and what systemd would hear of it."""

    def __init__(self, folder: Path, child: subprocess.Popen[str], hearing: socket.socket) -> None:
        self.store = folder / "store"
        self.folder = folder
        self.child = child
        self._hearing = hearing

    def heard(self) -> str:
        return self._hearing.recv(4096).decode()

    def heard_until(self, wanted: str) -> None:
        until = time.monotonic() + 20
        while wanted not in self.heard():
            assert time.monotonic() < until

    def log(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in (self.folder / "log").read_text().splitlines()]

    def logged(self, event: str) -> dict[str, object]:
        return eventually(lambda: next((one for one in self.log() if one["event"] == event), None))

    def health(self) -> ProcessHealth:
        found, problems = eventually(lambda: ((read := read_health(self.store))[0] and read) or None)
        assert not problems
        assert len(found) == 1
        return found[0]


def eventually(ask: Callable[[], T | None], seconds: float = 20) -> T:
    until = time.monotonic() + seconds
    while (found := ask()) is None:
        assert time.monotonic() < until
        time.sleep(0.05)
    return found


@contextmanager
def collecting(folder: Path, settings: str) -> Iterator[Running]:
    (folder / "callgauge.toml").write_text(settings, encoding="utf-8")
    environment = {
        **os.environ,
        "NOTIFY_SOCKET": str(folder / "notify"),
        "WATCHDOG_USEC": "400000",
        "CALLGAUGE_PROCESS_LOG": "json",
        "CALLGAUGE_PROCESS_HEALTH_SECONDS": "0.2",
    }
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as hearing, (folder / "log").open("w") as log:
        hearing.bind(str(folder / "notify"))
        hearing.settimeout(20)
        with subprocess.Popen(
            [sys.executable, "-c", RUN, "collect"], cwd=folder, env=environment, stderr=log, text=True
        ) as child:
            try:
                yield Running(folder, child, hearing)
            finally:
                child.kill()


def send(port: int, packets: list[bytes]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
        for packet in packets:
            sending.sendto(packet, ("127.0.0.1", port))


def asked(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_the_whole_way_is_told_from_the_start_to_the_last_word(tmp_path: Path) -> None:
    hep, metrics = free_port(), free_port()
    settings = f"""
name = "york-1"
store = "store"
[hep]
listen = ["udp:127.0.0.1:{hep}"]
[process]
metrics = "127.0.0.1:{metrics}"
"""
    with collecting(tmp_path, settings) as running:
        running.heard_until("READY=1")
        running.heard_until("WATCHDOG=1")
        assert running.logged("metrics_served")["address"] == f"127.0.0.1:{metrics}"
        packets = list(call_packets("one"))
        send(hep, [*packets, b"no HEP"])
        sent = len(packets) + 1
        eventually(lambda: running.health() if running.health().steps[0].came == sent else None)
        status, text = asked(f"http://127.0.0.1:{metrics}/metrics")
        assert status == 200
        assert f'callgauge_came_total{{step="parsed",unit="messages"}} {sent}\n' in text
        assert asked(f"http://127.0.0.1:{metrics}/healthz") == (200, "ok\n")
        assert asked(f"http://127.0.0.1:{metrics}/else")[0] == 404
        running.child.send_signal(signal.SIGTERM)
        running.heard_until("STOPPING=1")
        assert running.child.wait(40) == 0
        health = running.health()
    assert health.ended
    assert (health.name, health.command) == ("york-1", "collect")
    steps = {one.step: one for one in health.steps}
    assert all(one.unexplained == 0 and one.waiting == 0 for one in health.steps)
    assert steps["seen"].passed == sent
    assert steps["parsed"].passed == sent - 1
    assert sum(steps["parsed"].lost.values()) == 1
    assert steps["rated"].passed == 1
    assert steps["stored"].passed == steps["stored"].came >= 1
    assert all({"at", "level", "event", "part"} <= set(line) for line in running.log())


def test_a_hangup_reads_the_estate_anew_and_a_fault_in_it_harms_nothing(tmp_path: Path) -> None:
    estate = tmp_path / "estate"
    subprocess.run(["cp", "-r", ESTATE, estate], check=True)
    settings = f'store = "store"\nestate = "estate"\n[hep]\nlisten = ["udp:127.0.0.1:{free_port()}"]\n'
    with collecting(tmp_path, settings) as running:
        running.heard_until("READY=1")
        running.child.send_signal(signal.SIGHUP)
        running.heard_until("RELOADING=1")
        assert "the estate was read anew" in str(running.logged("reloaded")["said"])
        running.heard_until("READY=1")
        (estate / "sites.csv").write_text("nonsense\n", encoding="utf-8")
        running.child.send_signal(signal.SIGHUP)
        refused = running.logged("reload_refused")
        assert refused["level"] == "error"
        assert "sites.csv" in str(refused["reason"])
        assert running.child.poll() is None
        running.child.send_signal(signal.SIGTERM)
        assert running.child.wait(40) == 0


def test_calls_after_a_hangup_are_at_the_sites_of_the_estate_as_it_is_then(tmp_path: Path) -> None:
    estate, hep = tmp_path / "estate", free_port()
    estate.mkdir()
    (estate / "estate.toml").write_text('[estate]\nname = "Test"\ntimezone = "Europe/London"\n')
    (estate / "sites.csv").write_text(
        "site,name,kind,parent,priority,valid_from,valid_to\nY,York,station,,,,\nL,Leeds,station,,,,\n"
    )

    def of_site(site: str) -> None:
        (estate / "subnets.csv").write_text(f"subnet,site,valid_from,valid_to\n192.0.2.0/24,{site},,\n")

    of_site("Y")
    settings = f'store = "store"\nestate = "estate"\n[hep]\nlisten = ["udp:127.0.0.1:{hep}"]\n'
    with collecting(tmp_path, settings) as running:
        running.heard_until("READY=1")
        send(hep, list(call_packets("before")))
        eventually(lambda: running.health().steps[-1].passed or None)
        of_site("L")
        running.child.send_signal(signal.SIGHUP)
        running.logged("reloaded")
        send(hep, list(call_packets("after")))
        time.sleep(0.5)
        running.child.send_signal(signal.SIGTERM)
        assert running.child.wait(40) == 0
    found = {row["call_id"]: row["site"] for row in rows_of(tmp_path / "store", "calls")}
    assert found == {"before": "Y", "after": "L"}


def test_a_terminal_that_closes_ends_a_collector_that_people_watch(tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", RUN, "collect", "--hep", "udp:127.0.0.1:0", "--store", "store"],
        cwd=tmp_path, stderr=theirs, start_new_session=True,
    ) as child:  # fmt: skip
        os.close(theirs)
        said = b""
        while b"collecting from" not in said:
            said += os.read(ours, 4096)
        child.send_signal(signal.SIGHUP)
        os.close(ours)
        assert child.wait(40) == 0
    (health,), _ = read_health(tmp_path / "store")
    assert health.ended


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1:70000", "256.1.1.1:80", "taken"])
def test_metrics_that_cannot_be_served_end_the_command_with_one_line(address: str, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}" if address == "taken" else address
        done = subprocess.run(
            [sys.executable, "-c", RUN, "collect", "--hep", "udp:127.0.0.1:0", "--metrics", address],
            cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
    assert done.returncode == 2
    assert address in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_wrong_settings_are_told_before_anything_begins(tmp_path: Path) -> None:
    (tmp_path / "callgauge.toml").write_text("[hep]\nlisen = 3\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", RUN, "collect"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2
    assert done.stderr == "callgauge: callgauge.toml:2: there is no setting 'lisen' in [hep] (did you mean listen?)\n"
    assert not (tmp_path / "callgauge-store").exists()
