"""`callgauge work` and `callgauge agents` as programs, with an agent in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from mqtt_broker import broker

HERE = Path(__file__).resolve().parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(HERE.parent)}
COMMAND = [sys.executable, "-c", "from api.main import run; run()"]


def callgauge(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, env=ENVIRONMENT, timeout=50)


def test_a_worker_stores_what_agents_send_and_ends_at_a_signal(tmp_path: Path) -> None:
    store = tmp_path / "store"
    with broker(tmp_path / "broker") as mosquitto:
        at = f"127.0.0.1:{mosquitto.port}"
        with subprocess.Popen(
            [*COMMAND, "work", "--broker", at, "--store", str(store), "--group", "centre", "--worker", "w1"],
            stderr=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
        ) as worker:
            assert worker.stderr is not None
            assert worker.stderr.readline() == f"callgauge: connected to the broker at {at}\n"
            agent = [sys.executable, str(HERE / "agent_process.py"), str(mosquitto.port), str(tmp_path / "spool")]
            subprocess.run([*agent, "york", "20"], check=True, env=ENVIRONMENT, timeout=40, capture_output=True)
            time.sleep(0.2)
            worker.send_signal(signal.SIGTERM)
            said = worker.stderr.read()
            assert worker.wait(20) == 0
    assert said == f"callgauge: 20 messages, 100 rows stored, in {store}\n"
    shown = callgauge("agents", "--store", str(store))
    assert shown.returncode == 0
    heads, line = shown.stdout.splitlines()
    assert heads.split()[:5] == ["site", "agent", "state", "heard", "clock"]
    assert line.split()[:3] == ["york", "york", "offline"]
    assert line.split()[-5:] == ["100", "0", "0", "0", "0"]
    (one,) = json.loads(callgauge("agents", "--store", str(store), "--format", "json").stdout)
    assert (one["site"], one["rows"], one["messages"], one["lost"]) == ("york", 100, 20, 0)


def test_what_a_user_got_wrong_is_one_line(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    for arguments, told in (
        (["--broker", "x:y"], "x:y is no HOST:PORT"),
        (["--worker", "a/b"], "'a/b' is no name for a worker"),
        (["--password-file", str(tmp_path / "none")], f"the password file {tmp_path}/none cannot be read"),
        (["--authority", str(tmp_path / "none")], f"the file of authorities {tmp_path}/none cannot be used"),
        (["--certificate", str(tmp_path / "none")], f"the certificate {tmp_path}/none and its key cannot be used"),
    ):
        ended = callgauge("work", "--store", store, *arguments)
        assert ended.returncode == 2
        assert ended.stderr.startswith(f"callgauge: {told}")
        assert len(ended.stderr.splitlines()) == 1
    assert "no agents were heard yet" in callgauge("agents", "--store", store).stderr
