"""`callgauge work` as a process that stays: readiness is the broker's connection, and its health adds up."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from mqtt_broker import broker

from analytics.health import ProcessHealth, read_health, write_health
from analytics.store.checking import check
from analytics.store.lake import Lake
from api.main import shell

HERE = Path(__file__).resolve().parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(HERE.parent)}


def health_of(store: Path) -> ProcessHealth:
    until = time.monotonic() + 20
    while not (read := read_health(store))[0]:
        assert time.monotonic() < until
        time.sleep(0.05)
    (found,), problems = read
    assert not problems
    return found


def test_a_worker_says_when_it_hears_agents_and_what_became_of_their_messages(tmp_path: Path) -> None:
    store = tmp_path / "store"
    with broker(tmp_path / "broker") as mosquitto, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as hearing:
        hearing.bind(str(tmp_path / "notify"))
        hearing.settimeout(20)
        (tmp_path / "callgauge.toml").write_text(
            f'store = "store"\n[broker]\nport = {mosquitto.port}\n[centre]\nworker = "w1"\n'
            '[process]\nhealth_seconds = 0.2\nlog = "logfmt"\n'
        )
        with subprocess.Popen(
            [sys.executable, "-c", "from api.main import run; run()", "work"],
            cwd=tmp_path,
            stderr=subprocess.PIPE,
            text=True,
            env={**ENVIRONMENT, "NOTIFY_SOCKET": str(tmp_path / "notify")},
        ) as worker:
            assert b"READY=1" in hearing.recv(4096)
            agent = [sys.executable, str(HERE / "agent_process.py"), str(mosquitto.port), str(tmp_path / "spool")]
            subprocess.run([*agent, "york", "4"], check=True, env=ENVIRONMENT, timeout=40, capture_output=True)
            until = time.monotonic() + 20
            while health_of(store).steps[0].passed < 4:
                assert time.monotonic() < until
                time.sleep(0.1)
            mosquitto.kill()
            while not health_of(store).problems:
                assert time.monotonic() < until
                time.sleep(0.1)
            assert "no connection to the broker" in health_of(store).problems[0]
            worker.send_signal(signal.SIGHUP)
            assert b"RELOADING=1" in hearing.recv(4096)
            assert b"READY=1" in hearing.recv(4096)
            worker.send_signal(signal.SIGTERM)
            assert b"STOPPING=1" in hearing.recv(4096)
            assert worker.stderr is not None
            said = worker.stderr.read()
            assert worker.wait(30) == 0
    assert 'event=reloaded part=process said="a worker has no estate' in said
    health = health_of(store)
    assert health.ended
    assert (health.command, health.name, health.problems) == ("work", "w1", ())
    steps = {(one.step, one.unit): one for one in health.steps}
    assert all(one.unexplained == 0 for one in health.steps)
    assert steps["received", "messages"].passed == 4
    assert steps["stored", "rows"].passed == 20


def test_what_processes_keep_beside_the_tables_is_no_stranger(tmp_path: Path) -> None:
    lake = Lake.open(tmp_path / "store", create=True)
    write_health(lake.root, ProcessHealth("york", 1, "collect", "a", "1", 0, 0, 10.0))
    _, findings = check(lake, now=datetime.now(UTC))
    lake.close()
    assert not findings
    assert shell(["health", "--store", str(tmp_path / "store")]) == 1
