"""From the wire to the centre's store and to InfluxDB: real interfaces, a real broker, a real server; each row once."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from influxd_server import TOKEN, Influxd
from mqtt_broker import Broker, broker
from test_collect import why_not

from analytics.health import ProcessHealth, read_health
from analytics.store.influx import InfluxSettings, opened
from analytics.store.influx_setup import set_up
from analytics.store.lake import Lake
from api.collecting import minutes_table
from api.outlets import influx_outlet

ROOT = Path(__file__).resolve().parents[1]
CLEAN = ROOT / "sample_pcaps" / "clean_pcma.pcap"
RTP_FRAMES = 504  # of clean_pcma.pcap: two streams of 252 packets, as tshark counts them
PATIENCE_S = 40.0

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not() or "possible")


@pytest.fixture
def wire() -> Iterator[str]:
    """Name of a wire: what goes into `…a` comes out of `…b`."""
    name = f"cgo{os.getpid() % 10**8}"
    subprocess.run(["ip", "link", "add", f"{name}a", "type", "veth", "peer", "name", f"{name}b"], check=True)
    for end in "ab":
        subprocess.run(["ip", "link", "set", f"{name}{end}", "up"], check=True)
    yield name
    subprocess.run(["ip", "link", "del", f"{name}a"], check=True)


@pytest.fixture
def server(influxd_program: Path, tmp_path: Path) -> Iterator[Influxd]:
    """A server that a test may kill, with its buckets."""
    found = Influxd(influxd_program, tmp_path / "influxd")
    found.start()
    found.set_up()
    set_up(found.settings("fine"))
    yield found
    if found.process is not None and found.process.poll() is None:
        found.kill()


def write_settings(folder: Path, mosquitto: Broker, influx: InfluxSettings | None, *of_collect: str) -> None:
    """Settings of a collector at `york` and of the centre, and their estate."""
    estate = folder / "estate"
    estate.mkdir(exist_ok=True)
    (estate / "estate.toml").write_text('[estate]\nname = "Test"\ntimezone = "Europe/London"\n')
    (estate / "sites.csv").write_text("site,name,kind,parent,priority,valid_from,valid_to\nY,York,station,,,,\n")
    (estate / "subnets.csv").write_text("subnet,site,valid_from,valid_to\n0.0.0.0/0,Y,,\n")
    points = ""
    if influx is not None:
        (folder / "token").write_text(TOKEN)
        points = (
            f'[influx]\nurl = "{influx.url}"\ntoken_file = "token"\norg = "{influx.org}"\nbucket = "{influx.bucket}"\n'
            f'long_bucket = "{influx.long_bucket}"\nretry_seconds = 0.05\nretry_most_seconds = 0.5\n'
        )
    rest = "[process]\nhealth_seconds = 0.2\n"
    connection = f"[broker]\nport = {mosquitto.port}\n"
    (folder / "work.toml").write_text(f"{connection}{points}{rest}")
    (folder / "collect.toml").write_text("\n".join(of_collect) + f'\n{connection}[agent]\nsite = "york"\n{rest}')
    (folder / "both.toml").write_text(f"{connection}{points}{rest}")


@contextmanager
def command(folder: Path, *words: object) -> Iterator[subprocess.Popen[bytes]]:
    said = folder / f"{words[0]}.said"
    with said.open("ab") as stderr:
        run = [sys.executable, "-c", "from api.main import run; run()", *map(str, words)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(run, cwd=folder, stderr=stderr, env=environment)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 0


def until(holds: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.1)


def health_of(folder: Path) -> ProcessHealth | None:
    found, _ = read_health(folder)
    return max(found, key=lambda one: one.at) if found else None


def collecting(folder: Path) -> Callable[[], bool]:
    return lambda: "collecting from" in (folder / "collect.said").read_text()


def speak(wire: str) -> None:
    """Put the call on the wire, as fast as it goes."""
    words = [sys.executable, "-m", "collector.simulator.sender", str(CLEAN), f"{wire}a", "1000"]
    subprocess.run(words, cwd=ROOT, check=True, timeout=PATIENCE_S)


def asked(store: Path, query: str) -> list[tuple[Any, ...]]:
    lake = Lake.open(store)
    connection = lake.connect()
    try:
        for table in ("calls", "streams", "intervals", "site_minutes"):
            lake.view(connection, table)
        return connection.execute(query).fetchall()
    finally:
        connection.close()
        lake.close()


def packets_in(store: Path) -> list[tuple[Any, ...]]:
    """Calls, streams' packets, intervals' packets and minutes' packets in a store."""
    return asked(
        store,
        "SELECT (SELECT count(*) FROM calls), (SELECT sum(packets) FROM streams), (SELECT sum(packets) FROM intervals),"
        " (SELECT sum(packets) FROM site_minutes WHERE step = 'minute')",
    )


def packets_at(settings: InfluxSettings, measurement: str) -> int:
    """Sum of the packets of a measurement in InfluxDB."""
    flux = (
        f'from(bucket: "{settings.bucket}") |> range(start: -1d, stop: 1d) |> filter(fn: (r) => r._measurement == '
        f'"{measurement}" and r._field == "packets") |> group() |> sum()'
    )
    with opened(settings) as client:
        tables = client.query_api().query(flux)
    return sum(int(record["_value"]) for found in tables for record in found.records)


def test_a_call_on_the_wire_ends_at_the_centre_and_in_influxdb_once(wire: str, server: Influxd, tmp_path: Path) -> None:
    """Both are away and come back while the agent and the centre run; nothing is kept in a store of the agent."""
    settings, centre = server.settings("fine"), tmp_path / "centre"
    server.kill()
    with broker(tmp_path / "broker") as mosquitto:
        write_settings(tmp_path, mosquitto, settings)
        with (
            command(tmp_path, "work", "--store", centre, "--config", "work.toml") as work,
            command(tmp_path, "collect", "-i", f"{wire}b", "--estate", "estate", "--config", "collect.toml") as collect,
        ):
            until(lambda: health_of(centre) is not None, "the centre does not work")
            until(collecting(tmp_path), "it does not collect")
            mosquitto.kill()
            speak(wire)
            spool = tmp_path / "callgauge-spool"
            until(lambda: _waiting(spool, "sent") > 0, "nothing waits for the broker")
            until(lambda: any("agent: " in problem for problem in problems(spool)), "the agent has no trouble")
            mosquitto.start()
            until(lambda: _sent(spool), "not all came to the centre")
            until(lambda: _waiting(centre, "written") > 0, "no points wait for InfluxDB")
            until(lambda: any("does not answer" in problem for problem in problems(centre)), "InfluxDB is no trouble")
            stop(collect)
            server.start()
            until(lambda: packets_at(settings, "stream_interval") >= RTP_FRAMES, "no intervals in InfluxDB")
            until(lambda: packets_at(settings, "site_minute") >= RTP_FRAMES, "no minutes in InfluxDB")
            stop(work)
    assert not (tmp_path / "callgauge-store").exists()
    assert packets_in(centre) == [(1, RTP_FRAMES, RTP_FRAMES, RTP_FRAMES)]
    assert packets_at(settings, "stream_interval") == packets_at(settings, "site_minute") == RTP_FRAMES
    for folder in (spool, centre):
        ended = health_of(folder)
        assert ended is not None
        assert ended.problems == ()
        assert all(step.unexplained == 0 and not step.lost and not step.waiting for step in ended.steps), ended.steps


def problems(folder: Path) -> tuple[str, ...]:
    found = health_of(folder)
    return () if found is None else found.problems


def _waiting(store: Path, name: str) -> int:
    found = health_of(store)
    return 0 if found is None else sum(step.waiting for step in found.steps if step.step == name)


def _sent(folder: Path) -> bool:
    found = health_of(folder)
    sent = [step for step in found.steps if step.step == "sent"] if found is not None and not found.ended else []
    return bool(sent) and sent[0].passed == sent[0].came > 0


def test_a_stop_amid_outages_keeps_rows_in_the_store_and_on_disk_for_influxdb_and_the_centre(
    wire: str, server: Influxd, tmp_path: Path
) -> None:
    settings, store = server.settings("fine"), tmp_path / "store"
    with broker(tmp_path / "broker") as mosquitto:
        write_settings(tmp_path, mosquitto, settings)
        server.kill()
        mosquitto.kill()
        words = ("collect", "-i", f"{wire}b", "--store", store, "--estate", "estate", "--config", "both.toml")
        options = ("--broker", f"127.0.0.1:{mosquitto.port}", "--site", "york", "--name", "york-1")
        with command(tmp_path, *words, *options) as collect:
            until(collecting(tmp_path), "it does not collect")
            speak(wire)
            stop(collect)
        assert packets_in(store) == [(1, RTP_FRAMES, RTP_FRAMES, RTP_FRAMES)]
        ended = health_of(store)
        assert ended is not None
        steps = {step.step: step for step in ended.steps}
        assert steps["written"].waiting == steps["written"].came > 0
        assert steps["sent"].waiting == steps["sent"].came > 0
        assert steps["spooled"].passed == steps["spooled"].came > 0
        server.start()
        mosquitto.start()
        with (
            command(tmp_path, "work", "--store", tmp_path / "centre", "--config", "collect.toml") as work,
            command(tmp_path, *words, *options) as collect,
        ):
            until(lambda: packets_at(settings, "stream_interval") >= RTP_FRAMES, "no intervals in InfluxDB")
            until(lambda: packets_at(settings, "site_minute") >= RTP_FRAMES, "no minutes in InfluxDB")
            until(lambda: _sent(store), "not all came to the centre")
            stop(collect)
            stop(work)
    assert packets_at(settings, "stream_interval") == packets_at(settings, "site_minute") == RTP_FRAMES
    assert packets_in(store) == packets_in(tmp_path / "centre") == [(1, RTP_FRAMES, RTP_FRAMES, RTP_FRAMES)]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--broker", "127.0.0.1"), "name it with --site"),
        (("--broker", "127.0.0.1:0", "--site", "york"), "127.0.0.1:0 is no HOST:PORT"),
        (("--site", "new york"), "'new york' is no site's name"),
    ],
)
def test_what_cannot_be_published_is_told_in_one_line(tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    with command(tmp_path, "collect", "-i", "lo", *options) as collect:
        assert collect.wait(PATIENCE_S) == 2
    (line,) = (tmp_path / "collect.said").read_text().splitlines()
    assert said in line


def test_a_row_that_no_point_can_be_made_of_stops_no_others(tmp_path: Path) -> None:
    """A site's name that ends with a backslash would escape what follows it in a line."""
    minute = 1_700_000_040 * 1_000_000

    async def work() -> tuple[int, int]:
        with influx_outlet(InfluxSettings(spool=tmp_path), "work-w") as outlet:
            for number, site in enumerate(["York", "Y\\", "Leeds"]):
                rows = minutes_table([{"site": site, "start": minute, "calls": 1}])
                await outlet.put("site_minutes", rows, "york/a", "york/1", number)
            return outlet.counts().put, outlet.unfit

    assert asyncio.run(work()) == (2, 1)
