"""The data path's health as Prometheus reads it: text of its exposition format 0.0.4, and a small server for it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from analytics.health import ProcessHealth

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
REQUEST_OCTETS: Final = 8_192
REQUEST_S: Final = 5.0
"""How long a request may take to come [s]."""
CONNECTIONS: Final = 32
"""Connections at once; further ones are closed."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric."""

    name: str
    kind: str
    """`counter` or `gauge`."""
    labels: tuple[str, ...]
    doc: str


_STEP = ("step", "unit")
_FEED = ("kind", "source", "name")
METRICS: Final = (
    Metric("callgauge_info", "gauge", ("command", "name", "version"), "The process; always 1"),
    Metric("callgauge_began_timestamp_seconds", "gauge", (), "When the process was started [s since 1970]"),
    Metric("callgauge_came_total", "counter", _STEP, "What came to a step of the data path"),
    Metric("callgauge_passed_total", "counter", _STEP, "Of these, what went on to the next"),
    Metric("callgauge_waiting", "gauge", _STEP, "Of these, what waits in the step now"),
    Metric("callgauge_lost_total", "counter", (*_STEP, "reason"), "Of these, what was lost, by reason"),
    Metric("callgauge_aside", "gauge", (*_STEP, "reason"), "Of these, what was kept out, no loss, by reason"),
    Metric("callgauge_noted_total", "counter", ("what",), "What else was counted, in units of its own"),
    Metric("callgauge_now", "gauge", ("what",), "What is so now: calls, streams and sources going on"),
    Metric("callgauge_last_seen_timestamp_seconds", "gauge", (), "Time of the newest packet or message [s since 1970]"),
    Metric("callgauge_stored_up_to_timestamp_seconds", "gauge", (), "What was found until then is stored [s]"),
    Metric("callgauge_feed_last_timestamp_seconds", "gauge", _FEED, "End of a feed's newest record [s since 1970]"),
    Metric("callgauge_feed_expected_records", "gauge", _FEED, "Records usual since then at this hour of the week"),
    Metric("callgauge_feed_confidence", "gauge", _FEED, "How sure it is that the silence is not usual, from 0 to 1"),
    Metric("callgauge_feed_silent", "gauge", _FEED, "Whether a feed of call records is silent: 1 or 0"),
    Metric("callgauge_problems", "gauge", (), "How many things do not work now; the health file says which"),
)  # fmt: skip
_BY_NAME = {metric.name: metric for metric in METRICS}
_TIMES = {
    "last_seen_seconds": "callgauge_last_seen_timestamp_seconds",
    "stored_up_to_seconds": "callgauge_stored_up_to_timestamp_seconds",
}


class Sample(NamedTuple):
    """One value of a metric."""

    metric: str
    labels: tuple[str, ...]
    value: float


def samples(health: ProcessHealth) -> Iterator[Sample]:
    """Return a process' health as samples."""
    yield Sample("callgauge_info", (health.command, health.name, health.version), 1)
    yield Sample("callgauge_began_timestamp_seconds", (), health.began / 1e9)
    for step in health.steps:
        of = (step.step, step.unit)
        yield Sample("callgauge_came_total", of, step.came)
        yield Sample("callgauge_passed_total", of, step.passed)
        yield Sample("callgauge_waiting", of, step.waiting)
        for reason, count in step.lost.items():
            yield Sample("callgauge_lost_total", (*of, reason), count)
        for reason, count in step.aside.items():
            yield Sample("callgauge_aside", (*of, reason), count)
    for what, count in health.notes.items():
        yield Sample("callgauge_noted_total", (what,), count)
    for what, value in health.gauges.items():
        if what in _TIMES:
            yield Sample(_TIMES[what], (), value)
        else:
            yield Sample("callgauge_now", (what,), value)
    for feed in health.feeds:
        named = (feed.kind, feed.source, feed.name)
        yield Sample("callgauge_feed_last_timestamp_seconds", named, feed.last / 1e9)
        if feed.expected is not None:
            yield Sample("callgauge_feed_expected_records", named, feed.expected)
        yield Sample("callgauge_feed_confidence", named, feed.confidence)
        yield Sample("callgauge_feed_silent", named, int(feed.is_silent))
    yield Sample("callgauge_problems", (), len(health.problems))


def exposition(health: ProcessHealth) -> str:
    """Return a process' health as Prometheus' text."""
    by_metric: dict[str, list[Sample]] = {}
    for sample in samples(health):
        by_metric.setdefault(sample.metric, []).append(sample)
    lines = []
    for metric in METRICS:
        if metric.name not in by_metric:
            continue
        lines += [f"# HELP {metric.name} {metric.doc}", f"# TYPE {metric.name} {metric.kind}"]
        for sample in by_metric[metric.name]:
            pairs = ",".join(
                f'{name}="{_escaped(value)}"' for name, value in zip(metric.labels, sample.labels, strict=True)
            )
            lines.append(f"{metric.name}{{{pairs}}} {_number(sample.value)}" if pairs else
                         f"{metric.name} {_number(sample.value)}")  # fmt: skip
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    if isinstance(value, int) or (math.isfinite(value) and value == int(value)):
        return str(int(value))
    return repr(value) if math.isfinite(value) else "NaN"


class MetricsServer:
    """Answers GET /metrics, and GET /healthz with 200, or 503 while something does not work."""

    def __init__(self, health: Callable[[], ProcessHealth]) -> None:
        self._health = health
        self._now = 0
        self._server: asyncio.Server | None = None

    async def open(self, host: str, port: int) -> int:
        """Listen; return the port. OSError where the address cannot be had."""
        self._server = await asyncio.start_server(self._answer, host, port, limit=REQUEST_OCTETS)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._now += 1
        try:
            if self._now > CONNECTIONS:
                return
            async with asyncio.timeout(REQUEST_S):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._response(head))
                await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError, OSError):
            pass  # whoever asked is gone, dawdles, or speaks no HTTP
        finally:
            self._now -= 1
            writer.close()

    def _response(self, head: bytes) -> bytes:
        method, _, rest = head.split(b"\r\n", 1)[0].partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        if method not in (b"GET", b"HEAD"):
            return _http("405 Method Not Allowed", "only GET\n", with_body=True, more={"Allow": "GET, HEAD"})
        if path == b"/metrics":
            return _http("200 OK", exposition(self._health()), with_body=method == b"GET", kind=CONTENT_TYPE)
        if path == b"/healthz":
            problems = self._health().problems
            status = "503 Service Unavailable" if problems else "200 OK"
            return _http(status, "".join(f"{one}\n" for one in problems) or "ok\n", with_body=method == b"GET")
        return _http("404 Not Found", "see /metrics and /healthz\n", with_body=method == b"GET")


def _http(
    status: str,
    body: str,
    *,
    with_body: bool,
    kind: str = "text/plain; charset=utf-8",
    more: Mapping[str, str] | None = None,
) -> bytes:
    data = body.encode()
    headers = {"Content-Type": kind, "Content-Length": str(len(data)), "Connection": "close", **(more or {})}
    head = f"HTTP/1.1 {status}\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n"
    return head.encode() + (data if with_body else b"")


def metrics_address(text: str) -> tuple[str, int]:
    """Read HOST:PORT, an IPv6 address in brackets; ValueError where it is none."""
    host, colon, port = text.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not colon or not bare or not (port.isascii() and port.isdigit() and int(port) <= 0xFFFF):
        raise ValueError(f"{text}: an address is HOST:PORT, its port at most 65535")
    if ":" in bare and not (host.startswith("[") and host.endswith("]")):
        raise ValueError(f"{text}: an IPv6 address stands in brackets")
    return bare, int(port)
