"""`callgauge serve`, `user`, `token` and `audit`, as people use them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from web_app import ROOT, served

from analytics.store.lake import Lake
from api.main import shell


def callgauge(*words: str, said: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "api.main", *words]
    return subprocess.run(command, cwd=ROOT, input=said, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def store(tmp_path: Path) -> str:
    Lake.open(tmp_path / "store", create=True).close()
    return str(tmp_path / "store")


def test_a_person_is_added_listed_changed_and_removed(store: str) -> None:
    password = "a password that is long"
    added = callgauge("user", "add", "amy", "--role", "engineer", "--store", store, said=f"{password}\n")
    assert added.returncode == 0, added.stderr
    assert password not in added.stdout + added.stderr
    assert callgauge("user", "list", "--store", store).stdout == "amy\tengineer\tmasked\tpassword\n"
    assert callgauge("user", "password", "amy", "--store", store, said="short\n").returncode == 2
    assert callgauge("user", "remove", "amy", "--store", store).returncode == 0
    assert callgauge("user", "remove", "amy", "--store", store).returncode == 2
    log = callgauge("audit", "list", "--store", store).stdout
    assert [line.split("\t")[4] for line in log.splitlines()] == ["user.remove", "user.add"]


def test_a_token_is_shown_once(store: str) -> None:
    secret = callgauge("token", "add", "wall", "--role", "viewer", "--store", store).stdout.strip()
    assert secret.startswith("cg_")
    listed = callgauge("token", "list", "--store", store).stdout
    assert secret not in listed
    identity = listed.split("\t")[0]
    assert callgauge("token", "revoke", identity, "--store", store).returncode == 0
    assert callgauge("token", "list", "--store", store).stdout == ""
    assert callgauge("audit", "verify", "--store", store).stdout.startswith("2 lines")


@pytest.mark.parametrize(
    "words",
    [
        ("user", "add", "amy", "--role", "king"),
        ("token", "add", "x", "--role", "king"),
        ("token", "revoke", "00000000"),
        ("serve", "--listen", "nowhere"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(store: str, words: tuple[str, ...]) -> None:
    done = callgauge(*words, "--store", store, said="a password that is long\n")
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1


def test_there_are_no_accounts_without_a_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shell(["user", "list", "--store", str(tmp_path / "none")]) == 2
    assert "there is no store" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_the_server_prints_its_first_token_once_and_ends_when_told(tmp_path: Path) -> None:
    store = tmp_path / "store"
    with served(store) as server:
        headers = {"Authorization": f"Bearer {server.token}"}
        assert httpx.get(f"{server.url}/api/v1/self", headers=headers).json()["role"] == "admin"
        with httpx.stream("GET", f"{server.url}/api/v1/live", headers=headers) as live:
            next(live.iter_lines())
            server.process.terminate()
            assert server.process.wait(15) in (0, -15)
    again = subprocess.Popen(
        [sys.executable, "-m", "api.main", "serve", "--store", str(store), "--listen", "127.0.0.1:0"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            again.wait(5)
    finally:
        again.terminate()
        out, _ = again.communicate(timeout=15)
    assert "cg_" not in out


def test_a_replay_does_not_load_the_server() -> None:
    program = (
        "import sys; from api.main import shell; shell(['replay', '--help']);"
        "heavy = ('fastapi', 'dash', 'pydantic', 'uvicorn', 'authlib', 'plotly');"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
