"""The served API over a year of 70 sites: the overview and searches of calls while 200 clients watch live.

The server is a process of its own, asked over HTTP; the clients share the machine's processors with it. They are one
process that parses nothing but heads of answers: what it takes of a processor is told with the figures. Times are those
that a client sees, from its request to the last octet of the answer; of several runs with one server the median counts.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from benchmarks.api_store import store
from benchmarks.measure import CommandFailedError
from benchmarks.targets import Target

if TYPE_CHECKING:
    from benchmarks.run import Bench

ROOT = Path(__file__).resolve().parents[1]
LIVE = 200
"""Clients that follow `/api/v1/live`; each asks for the overview, too, as a page does that opens or comes back."""
OVERVIEW_EVERY_S = 4.0
SEARCHERS = 8
"""People who search calls at the same time, each again and again with a pause between."""
PAUSE_S = 2.0
WARM_S = 3.0
RUN_S = 30.0
READY_S = 60.0


class Found(NamedTuple):
    """What the clients measured."""

    overview: list[float]
    """Time of each overview [s]."""
    searches: dict[str, list[float]]
    """Time of each search by what was searched [s]."""
    events: int
    """Live events that came."""
    failed: int
    cpu: float
    """Processor time of the clients, as a part of one processor."""


def api(bench: Bench) -> None:
    """Ask the served API as many at once do."""
    import uvloop

    months = bench.months
    bench.say("api: making calls, streams and site minutes, where they are not there yet")
    path = store(bench.folder, 2_000_000 * months // 12, months)
    with served(path) as (port, token):
        bench.say(f"api: {LIVE} live clients and {SEARCHERS} people who search")
        # The clients' own loop must not be what is measured.
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runs = [runner.run(_asked(port, token, RUN_S)) for _ in range(1 if bench.runs <= 3 else 3)]
    bench.runs_by_name["api"] = [run._asdict() for run in runs]
    for run in runs:
        if run.failed or not run.events:
            bench.differences.append(f"api: {run.failed} requests failed, {run.events} live events came")
    overviews = [run.overview for run in runs]
    each = [[one for times in run.searches.values() for one in times] for run in runs]
    noted = (
        f"{_spread(overviews)}, {len(overviews[0]) / RUN_S:.0f}/s; beside {runs[0].events / RUN_S:.0f} live events/s; "
        f"the clients take {100 * max(run.cpu for run in runs):.0f} % of a processor"
    )
    bench.targets.append(Target("p99: overview over HTTP", "ms", 100, 50, _p99(overviews), False, noted))
    by_name = {name: [one for run in runs for one in run.searches.get(name, [])] for name in runs[0].searches}
    slowest = max(by_name, key=lambda name: statistics.median(by_name[name]))
    noted = f"{_spread(each)}, {len(each[0]) / RUN_S:.0f}/s; slowest: {slowest}, median {_ms(by_name[slowest]):.0f} ms"
    bench.targets.append(Target("p99: call search over HTTP", "ms", 200, 100, _p99(each), False, noted))


def _p99(runs: list[list[float]]) -> float:
    """Return the median of the runs' p99 [ms]."""
    return statistics.median(p99(times) * 1e3 for times in runs)


def _spread(runs: list[list[float]]) -> str:
    said = f"median {_ms([one for times in runs for one in times]):.0f} ms of {sum(map(len, runs)):,}"
    if len(runs) == 1:
        return said
    return f"{said} in {len(runs)} runs, p99 {', '.join(f'{p99(times) * 1e3:.0f}' for times in runs)} ms"


def _ms(times: list[float]) -> float:
    return statistics.median(times) * 1e3


def p99(times: list[float]) -> float:
    """Return the time that 99 % keep to."""
    return sorted(times)[math.ceil(len(times) * 0.99) - 1]


@contextmanager
def served(path: Path) -> Iterator[tuple[int, str]]:
    """Serve a store; yield the port and an admin token."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    command = [sys.executable, "-m", "benchmarks.api_server", str(path), str(port)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            token = process.stdout.readline().strip()
            _wait(process, port)
            yield port, token
        finally:
            process.terminate()
            process.wait(30)


def _wait(process: subprocess.Popen[str], port: int) -> None:
    until = time.monotonic() + READY_S
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise CommandFailedError("the server did not come up")


class Client:
    """One HTTP/1.1 connection that stays open."""

    def __init__(self, port: int, token: str) -> None:
        self._port = port
        self._token = token
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def open(self, path: str) -> tuple[int, dict[str, str], asyncio.StreamReader]:
        """Ask; return status, headers and where the body comes from."""
        if self._streams is None or self._streams[0].at_eof():
            self.close()  # the server closes what was silent for some seconds
            self._streams = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 22)
        reader, writer = self._streams
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self._token}\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        return int(head[0].split()[1]), headers, reader

    async def get(self, path: str) -> tuple[int, bytes]:
        """Ask; return status and body."""
        status, headers, reader = await self.open(path)
        return status, await reader.readexactly(int(headers["content-length"]))

    def close(self) -> None:
        """Let go of the connection."""
        if self._streams is not None:
            self._streams[1].close()


def searches(number: int, numbers: list[str]) -> tuple[str, str]:
    """Return what is searched the so-many-th time, as name and query: days mostly, and the whole year."""
    site = f'site:"Site {number * 7 % 70}"'
    year = "since=2025-01-01T00:00:00Z"
    person = numbers[number % len(numbers)]
    every = [
        ("a day, newest", "q="),
        ("a day, one site", f"q={quote(site)}"),
        ("a week, poor calls", "since=7d&quality=poor"),
        ("a week, failed calls", "since=7d&state=failed"),
        ("a week, one site, one codec", f"since=7d&codec=g729&q={quote(site)}"),
        ("a month, one site, worst first", f"since=30d&order=worst&q={quote(site)}"),
        ("a year, one site, poor", f"{year}&q={quote(f'{site} mos<2')}"),
        ("a year, one number", f"{year}&number={quote(person)}"),
        ("a year, one status", f"{year}&status=503"),
        ("a year, worst first", f"{year}&order=worst"),
    ]
    return every[number % len(every)]


async def _asked(port: int, token: str, seconds: float) -> Found:
    found = Found([], {}, 0, 0, 0.0)
    counts = {"events": 0, "failed": 0}
    numbers = await _numbers(port, token)
    loop = asyncio.get_running_loop()
    began = loop.time() + WARM_S
    until = began + seconds
    worked = time.process_time()

    async def timed(client: Client, path: str, keep: Callable[[float], None]) -> None:
        # The loop's own time is that of its turn, in whole milliseconds.
        counts_now, asked = loop.time() >= began, time.perf_counter()
        status, body = await client.get(path)
        if counts_now:
            keep(time.perf_counter() - asked)
        if status != 200:
            counts["failed"] += 1
            sys.stderr.write(f"{path}: {status} {body[:200]!r}\n")

    async def live(_: int) -> None:
        client = Client(port, token)
        status, _headers, reader = await client.open("/api/v1/live")
        counts["failed"] += status != 200
        while loop.time() < until:
            line = await reader.readline()
            counts["events"] += line.startswith(b"event: live") and loop.time() >= began
        client.close()

    async def watching(number: int) -> None:
        client = Client(port, token)
        await asyncio.sleep(number / LIVE * OVERVIEW_EVERY_S)
        while loop.time() < until:
            await timed(client, "/api/v1/sites", found.overview.append)
            await asyncio.sleep(OVERVIEW_EVERY_S)
        client.close()

    async def searching(number: int) -> None:
        client, turn, pick = Client(port, token), number, random.Random(number)
        await asyncio.sleep(pick.random() * PAUSE_S)
        while loop.time() < until:
            name, query = searches(turn, numbers)
            await timed(client, f"/api/v1/calls?{query}", found.searches.setdefault(name, []).append)
            turn += SEARCHERS + 1
            await asyncio.sleep(PAUSE_S * (0.5 + pick.random()))
        client.close()

    async with asyncio.TaskGroup() as tasks:
        kinds: list[tuple[Callable[[int], Awaitable[Any]], int]] = [
            (live, LIVE),
            (watching, LIVE),
            (searching, SEARCHERS),
        ]
        for kind, count in kinds:
            for number in range(count):
                tasks.create_task(kind(number))  # type: ignore[arg-type]
    return found._replace(
        events=counts["events"],
        failed=counts["failed"],
        searches={k: v for k, v in found.searches.items() if v},
        cpu=(time.process_time() - worked) / (WARM_S + seconds),
    )


async def _numbers(port: int, token: str) -> list[str]:
    """Wait until searches are fast, which they are when calls are in memory; return numbers to search."""
    client = Client(port, token)
    for _ in range(100):
        asked = time.perf_counter()
        _, body = await client.get("/api/v1/calls?since=2025-01-01T00:00:00Z&order=worst&limit=20")
        if time.perf_counter() - asked < 0.15:
            break
        await asyncio.sleep(0.2)
    client.close()
    assert json.loads(body)["calls"]
    return [f"+441134{number:06d}" for number in range(0, 14_000, 97)]
