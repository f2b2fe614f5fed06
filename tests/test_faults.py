"""Faults of the live path: whatever breaks, what came in is what is stored and what is counted as lost, by reason."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hep_senders import free_port
from hep_traffic import call_packets
from influx_facts import minutes, table
from influxd_server import TOKEN, Influxd
from mqtt_broker import broker
from test_collect import CLEAN, HOLD, why_not
from test_collect_hep import connected, rows_of, wait_until_bound
from test_sip_publish import publish

from analytics.health import ProcessHealth, StepCounts, read_health
from analytics.store.influx import InfluxSettings, opened
from analytics.store.influx_points import site_minute_points
from analytics.store.influx_setup import set_up
from analytics.store.influx_writer import DEAD_LETTERS, InfluxWriter
from analytics.store.influx_writer import DeadLetters as InfluxDeadLetters
from analytics.store.settings import StoreError
from analytics.store.spool import Spool, SpoolSettings
from api.collecting import Collection, collecting
from api.path_health import influx_steps
from collector.facts import Endpoint, Interval
from collector.live.outbox import Outbox
from collector.live.source import Deliver, Found, Point, SourceHealth, StreamNow
from collector.protocols.hep import SIP, HepPacket, serialize
from collector.simulator.sender import FrameSender, frames_of
from collector.transport.dead_letters import DeadLetters, Letter

ROOT = Path(__file__).resolve().parents[1]
PATIENCE_S = 40.0
NOW = datetime.now(UTC).replace(second=0, microsecond=0)


@contextmanager
def command(folder: Path, *words: object) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / f"{words[0]}.said").open("ab") as stderr:
        run = [sys.executable, "-c", "from api.main import run; run()", *map(str, words)]
        process = subprocess.Popen(run, cwd=folder, stderr=stderr, env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def until(holds: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.1)


def said(folder: Path, name: str) -> str:
    return (folder / f"{name}.said").read_text()


def health_of(folder: Path) -> ProcessHealth:
    found, problems = read_health(folder)
    assert not problems
    return max(found, key=lambda one: one.at)


def steps_of(health: ProcessHealth) -> dict[tuple[str, str], StepCounts]:
    assert all(step.unexplained == 0 for step in health.steps), health.steps
    return {(step.step, step.unit): step for step in health.steps}


class SmallDisk:
    """A tmpfs that can be filled and emptied."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def fill(self) -> None:
        with self._filler.open("ab", buffering=0) as file:
            for size in (1 << 16, 1 << 12, 1):
                while True:
                    try:
                        if file.write(bytes(size)) < size:
                            break
                    except OSError:
                        break

    def empty(self) -> None:
        self._filler.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("a small tmpfs cannot be mounted here")
    yield SmallDisk(folder)
    subprocess.run(["umount", "-l", folder], check=True)


# --- a full disk ----------------------------------------------------------------------------------------------------


def sent_calls(port: int, first: int, count: int) -> None:
    """Calls over HEP, each with statistics in its BYE."""
    with closing(connected(port)) as sender:
        numbers = range(first, first + count)
        sender.sendall(
            b"".join(packet for number in numbers for packet in call_packets(f"call-{number}", "P-RTP-Stat: PS=9,PR=8"))
        )


def test_rows_wait_for_room_where_the_disk_of_store_and_spools_is_full(
    disk: SmallDisk, influxd: Influxd, tmp_path: Path
) -> None:
    """Nothing that was received while the store and the spool of InfluxDB took nothing is missing afterwards."""
    influx = influxd.settings("full_disk")
    set_up(influx)
    hep = free_port(socket.SOCK_STREAM)
    store, estate = disk.folder / "store", tmp_path / "estate"
    estate.mkdir()
    (estate / "estate.toml").write_text('[estate]\nname = "Test"\ntimezone = "Europe/London"\n')
    (estate / "sites.csv").write_text("site,name,kind,parent,priority,valid_from,valid_to\nY,York,station,,,,\n")
    (estate / "subnets.csv").write_text("subnet,site,valid_from,valid_to\n0.0.0.0/0,Y,,\n")
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "callgauge.toml").write_text(
        f'store = "{store}"\nestate = "estate"\n[hep]\nlisten = ["tcp:127.0.0.1:{hep}"]\n[process]\n'
        f'health_seconds = 0.2\n[influx]\nurl = "{influx.url}"\ntoken_file = "token"\norg = "{influx.org}"\n'
        f'bucket = "{influx.bucket}"\nlong_bucket = "{influx.long_bucket}"\nspool = "{disk.folder}/points"\n'
    )
    with command(tmp_path, "collect") as collect:
        until(lambda: "collecting from" in said(tmp_path, "collect"), "it does not collect")
        sent_calls(hep, 0, 20)
        until(lambda: store.exists() and len(rows_of(store, "calls")) == 20, "nothing is stored")
        disk.fill()
        sent_calls(hep, 20, 300)
        time.sleep(12)
        assert len(rows_of(store, "calls")) == 20
        disk.empty()
        until(lambda: len(rows_of(store, "calls")) == 320, "what waited is not stored")
        collect.send_signal(signal.SIGTERM)
        assert collect.wait(PATIENCE_S) == 0, said(tmp_path, "collect")
    assert len({row["call_id"] for row in rows_of(store, "calls")}) == 320
    assert len(rows_of(store, "phone_reports")) == 320
    steps = steps_of(health_of(store))
    assert (steps["stored", "rows"].lost, steps["stored", "rows"].waiting) == ({}, 0)
    assert steps["written", "points"].passed == steps["written", "points"].came > 0
    assert health_of(store).notes["store_retries"] > 0
    assert calls_at(influx) == 320


def calls_at(settings: InfluxSettings) -> int:
    flux = (
        f'from(bucket: "{settings.bucket}") |> range(start: -1d, stop: 1d) |> filter(fn: (r) => '
        'r._measurement == "site_minute" and r._field == "calls") |> group() |> sum()'
    )
    with opened(settings) as client:
        tables = client.query_api().query(flux)
    return sum(int(record["_value"]) for found in tables for record in found.records)


def test_what_a_stop_cannot_store_on_a_full_disk_is_counted(disk: SmallDisk, tmp_path: Path) -> None:
    hep = free_port(socket.SOCK_STREAM)
    store = disk.folder / "store"
    with command(tmp_path, "collect", "--hep", f"tcp:127.0.0.1:{hep}", "--store", store) as collect:
        until(lambda: "collecting from" in said(tmp_path, "collect"), "it does not collect")
        sent_calls(hep, 0, 20)
        until(lambda: len(rows_of(store, "calls")) == 20, "nothing is stored")
        disk.fill()
        sent_calls(hep, 20, 30)
        collect.send_signal(signal.SIGTERM)
        assert collect.wait(PATIENCE_S) == 1, "status 1 tells that rows were given up"
    disk.empty()
    assert len(rows_of(store, "calls")) == 20
    (last,) = [line for line in said(tmp_path, "collect").splitlines() if "not stored: " in line]
    assert {"calls 30", "phone_reports 30"} <= set(last.rpartition("not stored: ")[2].split(", "))


class Pouring:
    """A source with more deliveries than anybody holds for it."""

    name = "pouring"

    def __init__(self) -> None:
        self.delivered = 0

    async def run(self, deliver: Deliver) -> None:
        for number in range(30):
            await deliver(found_at(time.time_ns() + number, 5, 0))
            self.delivered += 1

    def stop(self) -> None:
        return

    def health(self) -> SourceHealth:
        return SourceHealth(self.name, "packets", True, 0, 0, 0, 0, 0, 0, 0, 0, None)


def test_a_source_that_waits_for_a_store_that_fails_ends_when_it_is_told_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.collecting.LAST_TRIES_S", 1.0)
    kept = Collection("york", tmp_path / "store", None)
    (tmp_path / "store" / "intervals").write_text("no folder")
    source, writer = Pouring(), kept.writer()

    async def told_to_stop() -> None:
        while not writer.health().problem:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    async def scene() -> None:
        async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as tasks:
            tasks.create_task(told_to_stop())
            await collecting([source], writer, lambda line: None)

    asyncio.run(scene())
    kept.close()
    assert source.delivered == 30
    assert writer.health().lost == writer.health().made == {"intervals": 150}


def test_dead_letters_of_the_centre_are_whole_lines_though_the_disk_was_full(disk: SmallDisk) -> None:
    letters = DeadLetters(disk.folder, "w1", 64 << 20)
    disk.fill()
    chance = random.Random(1)
    lot = [Letter(1, "callgauge/v1/york/calls", "bad_mark", "", chance.randbytes(9_000)) for _ in range(20)]
    with pytest.raises(StoreError, match="No space left"):
        letters.write(lot)
    # Room for a part of them alone: a write that is cut.
    with (disk.folder / "filler").open("r+b") as file:
        file.truncate((disk.folder / "filler").stat().st_size - 100_000)
    with pytest.raises(StoreError, match="No space left"):
        letters.write(lot)
    assert letters.written == 0
    disk.empty()
    letters.write(lot)
    lines = (disk.folder / "dead-letters" / "w1.jsonl").read_text().splitlines()
    assert len([json.loads(line) for line in lines]) == letters.written == 20


def test_dead_letters_of_influxdb_are_whole_lines_or_counted_as_not_kept(disk: SmallDisk) -> None:
    letters = InfluxDeadLetters(disk.folder / DEAD_LETTERS, 64 << 20)
    letters.add({"reason": "x", "lines": ["a"]}, 1)
    disk.fill()
    with (disk.folder / "filler").open("r+b") as file:
        file.truncate((disk.folder / "filler").stat().st_size - 100_000)
    letters.add({"reason": "x", "lines": ["y" * 200_000] * 7}, 7)
    disk.empty()
    letters.add({"reason": "x", "lines": ["b"] * 2}, 2)
    found = [json.loads(line) for line in letters.path.read_text().splitlines()]
    assert [len(one["lines"]) for one in found] == [1, 2]
    assert letters.unkept == 7


# --- kill -9 --------------------------------------------------------------------------------------------------------


def test_a_centre_that_is_killed_at_any_instant_stores_every_row_once(tmp_path: Path) -> None:
    """Kill -9 amid commits, eight times, while an agent goes on; what was not acknowledged comes again."""
    chance = random.Random(5)
    batches, rows = 150, 5
    with broker(tmp_path / "broker") as mosquitto:
        (tmp_path / "callgauge.toml").write_text(
            f'store = "store"\n[broker]\nport = {mosquitto.port}\n[centre]\ngroup_seconds = 0.05\n'
        )
        agent = [sys.executable, str(ROOT / "tests" / "agent_process.py"), str(mosquitto.port), str(tmp_path / "spool")]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with subprocess.Popen([*agent, "york", str(batches)], stdout=subprocess.PIPE, env=environment) as sending:
            for life in range(9):
                with command(tmp_path, "work") as work:
                    until(lambda life=life: said(tmp_path, "work").count("connected") > life, "it hears no broker")  # type: ignore[misc]
                    if life < 8:
                        time.sleep(chance.uniform(0.05, 0.8))
                        work.kill()
                        work.wait()
                        continue
                    assert sending.wait(PATIENCE_S) == 0, "the agent has no receipts"
                    work.send_signal(signal.SIGTERM)
                    assert work.wait(PATIENCE_S) == 0
    found = rows_of(tmp_path / "store", "intervals")
    assert len(found) == batches * rows
    counts = {number: sum(row["stream_key"] == number for row in found) for number in range(batches)}
    assert set(counts.values()) == {rows}


# --- floods ---------------------------------------------------------------------------------------------------------


def test_floods_over_hep_and_sip_are_told_by_reason_and_calls_amid_them_are_stored(tmp_path: Path) -> None:
    hep, sip = free_port(socket.SOCK_STREAM), free_port()
    store, chance = tmp_path / "store", random.Random(11)
    options = ("--hep", f"tcp:127.0.0.1:{hep}", "--hep", f"udp:127.0.0.1:{hep}", "--publish", f"udp:127.0.0.1:{sip}")
    nonsense = [b"HEP3" + (size + 6).to_bytes(2) + chance.randbytes(size) for size in range(300)]
    ends = Endpoint("192.0.2.1", 5060), Endpoint("192.0.2.2", 5060)
    nonsense += [serialize(HepPacket(3, SIP, 0, *ends, 17, chance.randbytes(90))) for _ in range(300)]
    calls = [list(call_packets(f"call-{number}")) for number in range(50)]
    with command(tmp_path, "collect", *options, "--store", store) as collect:
        until(lambda: "collecting from publish" in said(tmp_path, "collect"), "it does not collect")
        wait_until_bound(sip)
        with closing(connected(hep)) as sender:
            for number, call in enumerate(calls):
                sender.sendall(b"".join(nonsense[12 * number : 12 * number + 12]) + b"".join(call))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
            for number in range(500):
                data = bytearray(publish(number))
                for _ in range(chance.randrange(1, 30)):
                    data[chance.randrange(len(data))] = chance.randrange(256)
                phone.sendto(data, ("127.0.0.1", sip))
                phone.sendto(chance.randbytes(60), ("127.0.0.1", hep))
                time.sleep(0.001)
            phone.settimeout(10)
            phone.sendto(publish(9_999), ("127.0.0.1", sip))
            time.sleep(1)
        collect.send_signal(signal.SIGTERM)
        assert collect.wait(PATIENCE_S) == 0
    assert {row["call_id"] for row in rows_of(store, "calls")} >= {f"call-{number}" for number in range(50)}
    assert "call-9999" in {row["call_id"] for row in rows_of(store, "phone_reports")}
    steps = steps_of(health_of(store))
    seen, parsed = steps["seen", "messages"], steps["parsed", "messages"]
    assert seen.came == 600 + 300 + 500 + 501
    assert seen.passed + sum(seen.lost.values()) == seen.came
    assert parsed.passed + sum(parsed.lost.values()) + sum(parsed.aside.values()) == parsed.came == seen.passed
    assert sum(parsed.lost.values()) >= 1_000
    assert steps["stored", "rows"].passed == steps["stored", "rows"].came
    assert not steps["stored", "rows"].lost


@pytest.mark.skipif(bool(why_not()), reason=why_not() or "possible")
def test_a_flood_of_damaged_packets_on_a_wire_is_told_by_reason_and_a_call_amid_it_is_stored(tmp_path: Path) -> None:
    name, chance, store = f"cgf{os.getpid() % 10**8}", random.Random(13), tmp_path / "store"
    call = [octets for _, octets in frames_of(CLEAN)]
    flood = []
    for number in range(4_000):
        damaged = bytearray(call[number % len(call)])
        for _ in range(chance.randrange(1, 20)):
            damaged[chance.randrange(14, len(damaged))] = chance.randrange(256)
        flood.append(bytes(damaged[: chance.randrange(20, len(damaged))]))
    # Another conversation than that of the flood, which could end it.
    call = [octets for _, octets in frames_of(HOLD)]
    call_id = re.search(rb"\r\nCall-ID: (\S+)", b"".join(call))
    assert call_id is not None
    subprocess.run(["ip", "link", "add", f"{name}a", "type", "veth", "peer", "name", f"{name}b"], check=True)
    try:
        for end in "ab":
            subprocess.run(["ip", "link", "set", f"{name}{end}", "up"], check=True)
        with command(tmp_path, "collect", "-i", f"{name}b", "--store", store) as collect:
            until(lambda: "collecting from" in said(tmp_path, "collect"), "it does not collect")
            with FrameSender(f"{name}a") as sender:
                for number, octets in enumerate(flood):
                    sender.send(octets)
                    if number % 100 == 0:
                        time.sleep(0.01)
                for octets in call:
                    sender.send(octets)
            collect.send_signal(signal.SIGTERM)
            assert collect.wait(PATIENCE_S) == 0, said(tmp_path, "collect")
    finally:
        subprocess.run(["ip", "link", "del", f"{name}a"], check=True)
    steps = steps_of(health_of(store))
    parsed = steps["parsed", "packets"]
    assert parsed.came >= len(flood) + len(call)
    assert sum(parsed.lost.values()) > 100
    assert not steps["seen", "packets"].lost
    assert "completed" in {row["state"] for row in rows_of(store, "calls") if row["call_id"] == call_id[1].decode()}
    assert steps["stored", "rows"].passed == steps["stored", "rows"].came
    assert steps["stored", "rows"].waiting == 0


# --- slow consumers -------------------------------------------------------------------------------------------------


def found_at(number: int, points: int, rows: int) -> Found:
    stream = StreamNow(Endpoint("192.0.2.1", 2), Endpoint("192.0.2.2", 2), 1, number, None, None, None)
    interval = Interval(number, number + 10, 500, 500, 0, None)
    return Found(number, points=[Point(stream, interval)] * points, rows={"phone_reports": [{}] * rows})


def test_a_slow_store_costs_the_oldest_intervals_first_and_all_of_it_is_counted() -> None:
    delivered: list[Found] = []

    async def scene() -> Outbox:
        outbox = Outbox(limit=1_000)
        may = asyncio.Event()

        async def slow(found: Found) -> None:
            await may.wait()
            delivered.append(found)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(outbox.pass_on(slow))
            for number in range(100):
                outbox.put(found_at(number, 50, 2))
                await asyncio.sleep(0)
            may.set()
            outbox.close()
        return outbox

    outbox = asyncio.run(scene())
    points = [len(found.points) for found in delivered]
    assert sum(points) + outbox.lost["points_not_stored"] == 100 * 50
    assert outbox.lost["points_not_stored"] > 3_000
    assert sum(len(found.rows["phone_reports"]) for found in delivered) == 200, "what is no interval is kept"
    # The first was being delivered already; of the others the newest have theirs.
    assert points[0] == 50
    assert points[1:] == sorted(points[1:])
    assert points[-1] == 50


def test_a_stop_while_the_spool_of_influxdb_is_at_its_bound_counts_every_point(tmp_path: Path) -> None:
    """The server is away for long: the oldest points go, and the sum is right to the point."""
    away = InfluxSettings(url="http://127.0.0.1:9", retry_seconds=0.05, retry_most_seconds=0.2)

    async def scene() -> tuple[StepCounts, int]:
        with Spool.open(tmp_path, SpoolSettings(octets=40_000, segment_octets=10_000, durable=False)) as spool:
            writer = InfluxWriter(away, spool, clock=lambda: NOW, jitter=random.Random(1))
            async with asyncio.TaskGroup() as tasks:
                running = tasks.create_task(writer.run())
                for number in range(100):
                    rows = minutes(NOW - timedelta(hours=6), 20, number, sites=("Ash",), share=1)
                    await writer.put(site_minute_points(table(rows), source="a", batch="a", sequence=number))
                running.cancel()
            (step,) = influx_steps(writer.counts())
            left = sum(json.loads(one.payload.split(b"\n", 1)[0])["points"] for one in spool.peek(1_000, 1 << 30))
            return step, left

    step, left = asyncio.run(scene())
    assert step.came == 2_000
    assert step.unexplained == 0
    assert step.lost["spool_dropped"] > 500
    assert step.waiting == left > 0


def test_points_that_a_full_spool_drops_and_those_written_later_add_up(influxd: Influxd, tmp_path: Path) -> None:
    settings = influxd.settings("bounded")
    set_up(settings)

    async def scene() -> tuple[int, int, int]:
        with Spool.open(tmp_path, SpoolSettings(octets=40_000, segment_octets=10_000, durable=False)) as spool:
            writer = InfluxWriter(replace(settings), spool, clock=lambda: NOW, jitter=random.Random(1))
            async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as tasks:
                running = None
                for number in range(150):
                    rows = minutes(NOW - timedelta(hours=6), 20, number, sites=("Ash",), share=1)
                    await writer.put(site_minute_points(table(rows), source="a", batch="a", sequence=number))
                    if number == 100:
                        running = tasks.create_task(writer.run())
                await writer.flush()
                assert running is not None
                running.cancel()
            counts = writer.counts()
            return counts.put, counts.written, counts.dropped

    put, written, dropped = asyncio.run(scene())
    assert put == 3_000 == written + dropped
    assert dropped > 500
    assert written > 500
    assert counted_at(settings) == written


def counted_at(settings: InfluxSettings) -> int:
    flux = (
        f'from(bucket: "{settings.bucket}") |> range(start: -1d, stop: 1d) |> filter(fn: (r) => '
        'r._measurement == "site_minute" and r._field == "calls") |> group() |> count()'
    )
    with opened(settings) as client:
        tables = client.query_api().query(flux)
    return sum(int(record["_value"]) for found in tables for record in found.records)
