"""Metrics are Prometheus' text, documented name by name, and their server withstands whoever asks."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[1]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from analytics.feeds import FeedState  # noqa: E402
from analytics.health import STEPS, ProcessHealth, StepCounts  # noqa: E402
from api.metrics import METRICS, MetricsServer, exposition, metrics_address, samples  # noqa: E402
from api.web.metrics import SERVED  # noqa: E402

PAGE = ROOT / "docs" / "metrics.md"
LINE = re.compile(r'^(callgauge_\w+)(?:\{((?:\w+="(?:[^"\\\n]|\\["\\n])*",?)+)\})? (-?\d+(?:\.\d+)?(?:e[+-]\d+)?|NaN)$')


def a_health(name: str = "york-1", problems: tuple[str, ...] = ()) -> ProcessHealth:
    return ProcessHealth(
        "york", 7, "collect", name, "1.0", 1_000_000_000, 2_000_000_000, 10.0,
        steps=(StepCounts("seen", "packets", 12, 10, 0, {"kernel_drops": 2}, {"x": 0}),),
        notes={"restarts": 3},
        gauges={"calls_now": 4, "last_seen_seconds": 1.5, "stored_up_to_seconds": 1e9},
        problems=problems,
        feeds=(FeedState("records", "cucm", "Cluster1", 10**18, 60.0, 4.5, 8, 0, 0.9, "heard"),),
    )  # fmt: skip


def test_the_text_is_as_prometheus_reads_it() -> None:
    lines = exposition(a_health()).splitlines()
    assert 'callgauge_came_total{step="seen",unit="packets"} 12' in lines
    assert 'callgauge_lost_total{step="seen",unit="packets",reason="kernel_drops"} 2' in lines
    assert 'callgauge_now{what="calls_now"} 4' in lines
    assert "callgauge_last_seen_timestamp_seconds 1.5" in lines
    assert "callgauge_stored_up_to_timestamp_seconds 1000000000" in lines
    assert lines[:2] == ["# HELP callgauge_info The process; always 1", "# TYPE callgauge_info gauge"]


@given(st.text(max_size=50))
def test_any_name_makes_lines_that_can_be_read(name: str) -> None:
    text = exposition(a_health(name))
    for line in text.split("\n")[:-1]:
        assert line.startswith("# ") or LINE.match(line), line
    assert text.endswith("\n")


def test_every_sample_has_its_metric_and_labels() -> None:
    known = {metric.name: metric for metric in METRICS}
    for sample in samples(a_health(problems=("x",))):
        assert len(known[sample.metric].labels) == len(sample.labels)
    assert {sample.metric for sample in samples(a_health())} == set(known)


def test_counters_are_named_as_such() -> None:
    assert all(metric.name.endswith("_total") == (metric.kind == "counter") for metric in METRICS)


async def asked(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    writer.write_eof()
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    return answer


async def ended(reader: asyncio.StreamReader) -> bool:
    """Whether the other end closes without a word."""
    try:
        return await reader.read(1) == b""
    except ConnectionError:
        return True


def served(work: Callable[[int], Awaitable[None]], health: ProcessHealth | None = None) -> None:
    async def run() -> None:
        server = MetricsServer(lambda: health or a_health())
        port = await server.open("127.0.0.1", 0)
        try:
            await work(port)
        finally:
            await server.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", b"200 OK"),
        (b"HEAD /metrics HTTP/1.1\r\n\r\n", b"200 OK"),
        (b"GET /metrics?name[]=x HTTP/1.0\r\n\r\n", b"200 OK"),
        (b"GET /healthz HTTP/1.1\r\n\r\n", b"200 OK"),
        (b"GET / HTTP/1.1\r\n\r\n", b"404 Not Found"),
        (b"POST /metrics HTTP/1.1\r\n\r\n", b"405 Method Not Allowed"),
        (b"\xff\xfe\r\n\r\n", b"405 Method Not Allowed"),
    ],
)
def test_requests_are_answered(request_: bytes, status: bytes) -> None:
    async def work(port: int) -> None:
        answer = await asked(port, request_)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 " + status)
        assert (len(body) == 0) == request_.startswith(b"HEAD")

    served(work)


def test_what_does_not_work_is_an_answer_of_its_own() -> None:
    async def work(port: int) -> None:
        answer = await asked(port, b"GET /healthz HTTP/1.1\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert answer.endswith(b"the disk is full\n")

    served(work, a_health(problems=("the disk is full",)))


@given(data=st.binary(max_size=300))
def test_any_request_leaves_the_server_well(data: bytes) -> None:
    async def work(port: int) -> None:
        await asked(port, data)
        assert (await asked(port, b"GET /metrics HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 200")

    served(work)


def test_a_request_without_end_is_cut_off() -> None:
    async def work(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"x" * 65_536)
        assert await asyncio.wait_for(ended(reader), 10)
        writer.close()

    served(work)


@pytest.mark.parametrize(
    ("text", "expected"), [("127.0.0.1:9464", ("127.0.0.1", 9464)), ("[::1]:0", ("::1", 0)), ("host:80", ("host", 80))]
)
def test_addresses_are_read(text: str, expected: tuple[str, int]) -> None:
    assert metrics_address(text) == expected


@pytest.mark.parametrize("text", ["", "9464", ":9464", "host:", "host:70000", "::1:80", "host:٣"])
def test_what_is_no_address_is_named(text: str) -> None:
    with pytest.raises(ValueError, match=r"HOST:PORT|brackets"):
        metrics_address(text)


# --- docs -----------------------------------------------------------------------------------------------------------


def steps_told() -> str:
    rows = [f"| `{name}` | {doc} |" for name, doc in STEPS.items()]
    return "\n".join(["| step | what came; what passed |", "|---|---|", *rows])


def metrics_told() -> str:
    rows = [
        f"| `{one.name}` | {one.kind} | {' '.join(f'`{label}`' for label in one.labels)} | {one.doc} |"
        for one in METRICS
    ]
    return "\n".join(["| metric | type | labels | what it is |", "|---|---|---|---|", *rows])


def served_told() -> str:
    rows = [
        f"| `{name}` | {kind} | {' '.join(f'`{label}`' for label in labels)} | {doc} |"
        for name, kind, labels, doc in SERVED
    ]
    return "\n".join(["| metric | type | labels | what it is |", "|---|---|---|---|", *rows])


def part(name: str) -> str:
    found = re.search(rf"<!-- {name}: begin -->\n(.*?)\n?<!-- {name}: end -->", PAGE.read_text("utf-8"), re.DOTALL)
    assert found is not None
    return found[1]


def test_every_step_is_documented() -> None:
    assert part("steps") == steps_told(), "run: python tests/test_metrics_served.py"


def test_every_metric_is_documented() -> None:
    assert part("metrics") == metrics_told(), "run: python tests/test_metrics_served.py"


def test_every_metric_of_the_server_is_documented() -> None:
    assert part("served") == served_told(), "run: python tests/test_metrics_served.py"


def test_metrics_that_are_worth_an_alert_exist() -> None:
    known = {metric.name for metric in METRICS} | {name for name, _, _, _ in SERVED}
    assert set(re.findall(r"callgauge_\w+", PAGE.read_text(encoding="utf-8"))) <= known


if __name__ == "__main__":
    page = PAGE.read_text(encoding="utf-8")
    for name, told in (("steps", steps_told()), ("metrics", metrics_told()), ("served", served_told())):
        begin, end = (f"<!-- {name}: {where} -->" for where in ("begin", "end"))
        page = page.partition(begin)[0] + f"{begin}\n{told}\n{end}" + page.partition(end)[2]
    PAGE.write_text(page, encoding="utf-8")
