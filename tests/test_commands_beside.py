"""Commands beside a server that runs: the server goes on as if nothing was."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from web_app import ROOT, Served, served

RUNS = 10
THREADS = 3
OTHERS = """
import sys
from contextlib import redirect_stdout
from api.main import shell
with redirect_stdout(sys.stderr):
    for words in sys.argv[3:] * int(sys.argv[2]):
        status = shell([*words.split(), "--store", sys.argv[1]])
        assert status == 0, (words, status)
"""
"""Commands one after the other in one process, which each open what they need and close it."""


def others(store: Path, commands: Sequence[str], times: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", OTHERS, str(store), str(times), *commands],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr


def held(process: int) -> list[str]:
    """Names of what a process has open."""
    found = []
    for number in Path(f"/proc/{process}/fd").iterdir():
        try:
            found.append(str(number.readlink()))
        except FileNotFoundError:
            continue
    return found


def sqlite_files(server: Served) -> Counter[str]:
    return Counter(Path(name).name for name in held(server.process.pid) if ".sqlite3" in name)


@contextmanager
def asked_all_the_time(server: Served) -> Iterator[Counter[int]]:
    """Questions that read the book and the accounts, from several threads, and how they were answered."""
    over = threading.Event()
    answers: Counter[int] = Counter()

    def ask() -> None:
        with httpx.Client(base_url=server.url, headers=headers(server), timeout=30) as client:
            while not over.is_set():
                for path in ("/api/v1/alerts", "/api/v1/webhooks", "/api/v1/alerts/silences", "/api/v1/tokens"):
                    answers[client.get(path).status_code] += 1

    threads = [threading.Thread(target=ask) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        over.set()
        for thread in threads:
            thread.join()


def headers(server: Served) -> dict[str, str]:
    return {"Authorization": f"Bearer {server.token}"}


def looked_at(server: Served) -> str:
    answer = httpx.get(f"{server.url}/api/v1/alerts", headers=headers(server), timeout=30)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["looked_at"])


def looks_again(server: Served, than: str) -> bool:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        if looked_at(server) > than:
            return True
        time.sleep(0.2)
    return False


def settings(folder: Path) -> Path:
    path = folder / "callgauge.toml"
    path.write_text("[serve]\nrequests_per_minute = 1000000\n[alerts]\nevery_seconds = 0.5\n")
    return path


@pytest.mark.parametrize(
    "commands",
    [
        ("alerts list",),
        ("webhook list", "webhook log"),
        ("alerts silence site=york --for 1h", "alerts silence"),
        ("webhook add on-call https://hooks.example/alerts", "webhook rotate on-call", "webhook remove on-call"),
        ("user list", "token list", "audit list", "audit verify"),
    ],
    ids=lambda commands: commands[0],
)
def test_a_server_that_is_asked_much_goes_on_beside_commands(tmp_path: Path, commands: tuple[str, ...]) -> None:
    store = tmp_path / "store"
    with served(store, "--config", str(settings(tmp_path))) as server, asked_all_the_time(server) as answers:
        assert looks_again(server, "")
        opened = sqlite_files(server)
        for _ in range(2):
            others(store, commands, RUNS)
            now = sqlite_files(server)
            assert not [name for name in now if name.endswith("(deleted)")]
            # A connection for each who asks at a time, and of the alerts two more: nothing that piles up.
            assert now.total() <= opened.total() + 3 * (THREADS + 2)
            assert looks_again(server, looked_at(server))
    assert set(answers) == {200}
