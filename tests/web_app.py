"""The application as tests use it: over a small store, with a token of each role."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import httpx
import uvicorn
from fastapi import FastAPI

from analytics.store.lake import Lake
from api.settings import Settings
from api.web.app import build
from api.web.context import Context
from api.web.rights import Role
from api.web.serving import make_context
from api.web.settings import OidcSettings, ServeSettings

ROOT = Path(__file__).resolve().parents[1]
QUIET = ServeSettings(requests_per_minute=1_000_000)


class App(NamedTuple):
    """An application, and who may come in."""

    app: FastAPI
    context: Context
    client: httpx.Client
    tokens: Mapping[Role, str]

    def headers(self, role: Role) -> dict[str, str]:
        """Header with the token of a role."""
        return {"Authorization": f"Bearer {self.tokens[role]}"}


@contextmanager
def application(
    store: Path,
    serve: ServeSettings = QUIET,
    oidc: OidcSettings | None = None,
    *,
    dashboards: bool = False,
    estate: Path | None = None,
) -> Iterator[App]:
    """An application over a store in a folder, made if absent."""
    settings = replace(Settings(), store=store, serve=serve, oidc=oidc or OidcSettings(), estate=estate)
    lake = Lake.open(store, create=True)
    context = make_context(settings, lake)
    tokens = {role: context.accounts.add_token(role.value, role, context.clock())[1] for role in Role}
    app = build(context, dashboards=dashboards)
    with _serving(app) as url, httpx.Client(base_url=url, timeout=30) as client:
        yield App(app, context, client, tokens)
    context.accounts.close()
    lake.close()


@contextmanager
def _serving(app: FastAPI) -> Iterator[str]:
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not begin"
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listening.close()


class Served(NamedTuple):
    """`callgauge serve` in a process of its own."""

    url: str
    token: str
    """The admin token that it printed."""
    process: subprocess.Popen[str]


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def served(
    store: Path, *options: str, port: int | None = None, environment: Mapping[str, str] | None = None
) -> Iterator[Served]:
    """The server's process over a new store, until the block ends."""
    at = port or free_port()
    url = f"http://127.0.0.1:{at}"
    command = [
        sys.executable,
        "-m",
        "api.main",
        "serve",
        "--store",
        str(store),
        "--listen",
        f"127.0.0.1:{at}",
        *options,
    ]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        assert "cg_" in said, said
        _await(url, process)
        yield Served(url, said.split()[-1], process)
    finally:
        process.terminate()
        process.wait(10)
        if process.stdout is not None:
            process.stdout.close()


def _await(url: str, process: subprocess.Popen[str]) -> None:
    for _ in range(300):
        try:
            if httpx.get(f"{url}/healthz", timeout=2).is_success:
                return
        except httpx.TransportError:
            pass
        assert process.poll() is None, "the server ended"
        time.sleep(0.1)
    raise AssertionError("the server does not answer")
