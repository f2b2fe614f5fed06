"""Against a real InfluxDB that is really killed: every point is there once, and what it refuses blocks nothing."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import json
import os
import random
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from influx_facts import SITES, interval, intervals, minutes, table
from influxd_server import Influxd
from influxdb_client.client.write_api import SYNCHRONOUS

from analytics.store.influx import InfluxSettings, opened
from analytics.store.influx_flux import any_of, text
from analytics.store.influx_points import (
    STREAM_INTERVAL,
    CostDay,
    Points,
    cost_points,
    site_minute_points,
    stream_interval_points,
)
from analytics.store.influx_queries import InfluxSeries
from analytics.store.influx_setup import set_up
from analytics.store.influx_writer import DEAD_LETTERS, LATE_HOURS, InfluxWriter, LateHours
from analytics.store.spool import Spool, SpoolError, SpoolSettings

NOW = datetime.now(UTC).replace(second=0, microsecond=0)


@pytest.fixture
def own_server(influxd_program: Path, tmp_path: Path) -> Iterator[Influxd]:
    """A server that a test may kill."""
    server = Influxd(influxd_program, tmp_path / "influxd")
    server.start()
    server.set_up()
    yield server
    server.kill()


@asynccontextmanager
async def writing(settings: InfluxSettings, folder: Path) -> AsyncIterator[InfluxWriter]:
    """A writer that runs while the block does."""
    with Spool.open(folder, SpoolSettings(durable=False)) as spool:
        writer = InfluxWriter(settings, spool, clock=lambda: datetime.now(UTC), jitter=random.Random(1))
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(writer.run())
            yield writer
            running.cancel()


async def until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110 - what is waited for is another process
        await asyncio.sleep(0.02)


def counted(settings: InfluxSettings, measurement: str, bucket: str | None = None) -> int:
    """Count the points of a measurement by one of their fields."""
    fields = any_of("_field", ["calls", "lines", "streams"] if measurement.startswith("stream") else ["calls", "lines"])
    flux = (
        f"from(bucket: {text(bucket or settings.bucket)}) |> range(start: -200d, stop: 1d)"
        f" |> filter(fn: (r) => r._measurement == {text(measurement)} and ({fields}))"
        " |> group() |> count()"
    )
    rows = InfluxSeries(settings, clock=lambda: NOW)._rows(flux)
    return sum(int(row["_value"]) for row in rows)


def letters(folder: Path) -> list[dict[str, Any]]:
    path = folder / DEAD_LETTERS
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def batch(number: int, count: int = 20) -> Points:
    begin = NOW - timedelta(hours=6) + timedelta(minutes=number)
    return site_minute_points(table(minutes(begin, count, number, share=1)), source="a", batch="a", sequence=number)


def test_an_outage_loses_nothing_and_doubles_nothing(own_server: Influxd, tmp_path: Path) -> None:
    settings = own_server.settings("outage")
    set_up(settings)
    spool = tmp_path / "spool"

    async def work() -> int:
        put = 0
        async with asyncio.timeout(55):
            async with writing(settings, spool) as writer:
                for number in range(120):
                    points = batch(number)
                    await writer.put(points)
                    put += len(points.lines)
                    if number == 30:
                        await until(lambda: writer.counts().written >= 30 * len(SITES))
                        own_server.kill()
                await until(lambda: bool(writer.counts().trouble))
                assert "does not answer" in writer.counts().trouble
                assert writer.counts().spool.waiting > 0
            # The process goes, too; the next one finds the rest on disk.
            async with writing(settings, spool) as writer:
                await asyncio.sleep(0.3)
                assert writer.counts().written == 0
                await asyncio.to_thread(own_server.start)
                await writer.flush()
                assert writer.counts().trouble == ""
                assert writer.counts().spool[2:5] == (0, 0, 0)
        return put

    put = asyncio.run(work())
    assert put == 120 * 20 * len(SITES)
    assert counted(settings, "site_minute") == put
    assert letters(spool) == []


def test_kill_9_of_the_writer_loses_nothing_and_doubles_nothing(influxd: Influxd, tmp_path: Path) -> None:
    settings = influxd.settings("killed")
    set_up(settings)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    program = Path(__file__).with_name("influx_writer_process.py")
    taken: set[int] = set()
    for run in range(6):
        arguments: list[str | Path] = [influxd.url, settings.bucket, tmp_path / "spool", str(200 * run)]
        with subprocess.Popen([sys.executable, program, *arguments], stdout=subprocess.PIPE, env=environment) as child:
            assert child.stdout is not None
            said = [child.stdout.readline() for _ in range(5 + 7 * run)]
            child.kill()
            said += child.stdout.read().splitlines(keepends=True)
        taken |= {int(line) for line in said if line.endswith(b"\n")}

    async def work() -> None:
        async with asyncio.timeout(30), writing(settings, tmp_path / "spool") as writer:
            await writer.flush()
            assert (writer.counts().dead, writer.counts().spool.waiting) == (0, 0)

    asyncio.run(work())
    # A batch may have been taken by the spool and the process killed before it said so: one a run at most.
    points = counted(settings, "site_minute")
    assert 0 <= points - len(taken) * len(SITES) <= 6 * len(SITES)
    assert points % len(SITES) == 0
    assert len(taken) > 100


def test_a_full_disk_is_told_to_the_sender_and_loses_nothing_that_was_taken(influxd: Influxd, small_disk: Path) -> None:
    settings = influxd.settings("full")
    away = replace(settings, url="http://127.0.0.1:9")
    set_up(settings)

    async def fill(writer: InfluxWriter) -> None:
        for number in itertools.count():
            await writer.put(batch(number))

    async def work() -> int:
        async with asyncio.timeout(50):
            async with writing(away, small_disk / "spool") as writer:
                with pytest.raises(SpoolError, match="cannot be written: the disk is full"):
                    await fill(writer)
                taken, rest = divmod(writer.counts().put, 20 * len(SITES))
                assert rest == 0
            async with writing(settings, small_disk / "spool") as writer:
                await writer.flush()
                await writer.put(batch(taken))
                await writer.flush()
        return taken + 1

    taken = asyncio.run(work())
    assert taken > 10
    assert counted(settings, "site_minute") == taken * 20 * len(SITES)


def test_a_poisoned_batch_is_put_aside_with_its_reason_and_blocks_nothing(influxd: Influxd, tmp_path: Path) -> None:
    settings = influxd.settings("poison")
    set_up(settings)
    good = batch(1, 40)
    lines = list(good.lines)
    lines[17] = b"site_minute,site=Ash calls=notanumber 1"
    lines.insert(60, b"no line protocol at all")
    poisoned = good._replace(lines=tuple(lines))

    async def work() -> None:
        async with asyncio.timeout(50), writing(settings, tmp_path) as writer:
            await writer.put(batch(0, 5))
            await writer.put(poisoned)
            await writer.put(batch(2, 5))
            await writer.flush()
            counts = writer.counts()
            assert (counts.put, counts.written, counts.dead) == (251, 249, 2)

    asyncio.run(work())
    assert counted(settings, "site_minute") == 249
    found = letters(tmp_path)
    assert sorted(line for letter in found for line in letter["lines"]) == [
        "no line protocol at all",
        "site_minute,site=Ash calls=notanumber 1",
    ]
    assert all("unable to parse" in letter["reason"] for letter in found)
    assert all(letter["bucket"] == "poison" for letter in found)


def test_a_conflict_of_types_and_points_too_old_are_put_aside(influxd: Influxd, tmp_path: Path) -> None:
    settings = influxd.settings("conflict")
    set_up(settings)
    old = site_minute_points(table(minutes(NOW - timedelta(days=150), 3, 1, share=1)), source="a", batch="old")
    now = int(NOW.timestamp()) * 1_000_000_000
    other = STREAM_INTERVAL
    typed = Points(other, (b"stream_interval,site=Ash streams=1i %d" % now,), now, now)
    conflict = Points(other, (b"stream_interval,site=Ash streams=1.5 %d" % (now + 1),), now, now)

    async def work() -> None:
        async with asyncio.timeout(50), writing(settings, tmp_path) as writer:
            for points in (typed, conflict, old, batch(0, 5)):
                await writer.put(points)
                await writer.flush()
            assert writer.counts()[:4] == (42, 26, 16, 0)

    asyncio.run(work())
    reasons = " ".join(letter["reason"] for letter in letters(tmp_path))
    assert "field type conflict" in reasons
    assert "violates a Retention Policy Lower Bound" in reasons
    assert counted(settings, "site_minute") == 25


def test_the_dead_letter_file_is_bounded_and_what_it_does_not_hold_is_counted(influxd: Influxd, tmp_path: Path) -> None:
    settings = replace(influxd.settings("bounded"), dead_letter_octets=1_000)
    set_up(settings)
    lines = tuple(b"wrong line %d" % number for number in range(200))
    poisoned = batch(0)._replace(lines=lines)

    async def work() -> None:
        async with asyncio.timeout(50), writing(settings, tmp_path) as writer:
            await writer.put(poisoned)
            await writer.flush()
            counts = writer.counts()
            kept = sum(len(letter["lines"]) for letter in letters(tmp_path))
            assert counts.dead == 200
            assert counts.dead_unkept == 200 - kept
            assert kept > 0

    asyncio.run(work())
    assert (tmp_path / DEAD_LETTERS).stat().st_size <= 1_000


def test_what_is_not_the_points_fault_is_waited_for(influxd: Influxd, tmp_path: Path) -> None:
    settings = influxd.settings("waited")
    wrong = replace(settings, token="withdrawn")

    async def work() -> None:
        async with asyncio.timeout(50):
            async with writing(wrong, tmp_path) as writer:
                await writer.put(batch(0, 5))
                await until(lambda: bool(writer.counts().trouble))
                assert writer.counts().trouble == f"InfluxDB at {influxd.url} refuses the token"
            async with writing(settings, tmp_path) as writer:
                await until(lambda: bool(writer.counts().trouble))
                assert "run callgauge influx init" in writer.counts().trouble
                await asyncio.to_thread(set_up, settings)
                await writer.flush()
                assert writer.counts().trouble == ""

    asyncio.run(work())
    assert counted(settings, "site_minute") == 25
    assert letters(tmp_path) == []


def test_a_day_of_cost_that_is_written_again_replaces_the_day(influxd: Influxd, tmp_path: Path) -> None:
    settings = influxd.settings("cost")
    set_up(settings)
    day = (NOW - timedelta(days=3)).date()
    before = [CostDay(day, site, "outbound", 1, 60, 0.5, 0, 0.75, 0) for site in SITES]
    other = [CostDay(day - timedelta(days=1), "Ash", "outbound", 1, 60, 0.5, 0, 0.75, 0)]
    after = [CostDay(day, "Ash", "inbound", 1, 60, 0.0, 0, 0.0, 0)]

    async def work() -> None:
        async with asyncio.timeout(50), writing(settings, tmp_path) as writer:
            await writer.put(cost_points(before + other, day - timedelta(days=1), day))
            await writer.flush()
            assert counted(settings, "cost_site_day", settings.long_bucket) == 6
            await writer.put(cost_points(after, day, day))
            await writer.flush()

    asyncio.run(work())
    assert counted(settings, "cost_site_day", settings.long_bucket) == 2


def test_hours_that_were_noted_before_the_process_died_are_summed_by_the_next(influxd: Influxd, tmp_path: Path) -> None:
    settings = influxd.settings("noted")
    set_up(settings)
    day = (NOW - timedelta(days=4)).replace(hour=0, minute=0)
    points = site_minute_points(table(minutes(day, 240, 1, share=1)), source="a", batch="a")
    with opened(settings) as client:
        api = client.write_api(write_options=SYNCHRONOUS)
        api.write(settings.bucket, record=list(points.lines))
        # With an hour of now, no hours look missed.
        api.write(settings.long_bucket, record=f"site_hour,site=Ash calls=0i {int(NOW.timestamp())}000000000")
    assert LateHours(tmp_path / LATE_HOURS).note("site_minute", points.first, points.last)

    async def work() -> None:
        async with asyncio.timeout(50), writing(settings, tmp_path):
            await until(lambda: not LateHours(tmp_path / LATE_HOURS).spans)

    asyncio.run(work())
    found = InfluxSeries(settings, clock=lambda: NOW).totals(None, day, day + timedelta(hours=4))
    # 4 hours of each site and the hour of now.
    assert counted(settings, "site_hour", settings.long_bucket) == 4 * len(SITES) + 1
    facts = minutes(day, 240, 1, share=1)
    assert sum(found.column("calls").to_pylist()) == sum(row["calls"] for row in facts)


def test_hours_are_summed_after_a_server_was_away_for_days(influxd: Influxd, tmp_path: Path) -> None:
    """Minutes that came in time, and then neither the task nor the writer ran for four days."""
    settings = influxd.settings("missed")
    day = (NOW - timedelta(days=4)).replace(hour=0, minute=0)
    set_up(settings)
    with opened(settings) as client:
        points = site_minute_points(table(minutes(day, 180, 1, share=1)), source="a", batch="a")
        client.write_api(write_options=SYNCHRONOUS).write(settings.bucket, record=list(points.lines))

    async def work() -> None:
        async with asyncio.timeout(50), writing(settings, tmp_path) as writer:
            await writer.put(batch(0, 5))
            await writer.flush()

    asyncio.run(work())
    found = InfluxSeries(settings, clock=lambda: NOW).series(None, day, day + timedelta(days=1), "hour")
    assert found.num_rows == 3 * len(SITES)


def test_two_writers_of_the_same_facts_count_them_once(influxd: Influxd, tmp_path: Path) -> None:
    settings = influxd.settings("twice")
    set_up(settings)

    async def work() -> None:
        async with (
            asyncio.timeout(50),
            writing(settings, tmp_path / "one") as one,
            writing(settings, tmp_path / "two") as two,
        ):
            for number in range(5):
                await one.put(batch(number))
                await two.put(batch(4 - number))
            await one.flush()
            await two.flush()

    asyncio.run(work())
    assert counted(settings, "site_minute") == 5 * 20 * len(SITES)


def test_intervals_of_pairs_are_summed_by_hour(influxd: Influxd, tmp_path: Path) -> None:
    settings = influxd.settings("pairs")
    set_up(settings)
    day = (NOW - timedelta(days=4)).replace(hour=0, minute=0)
    rows = [
        interval(day + timedelta(seconds=10 * number), "Ash", other, mos=4.0 + number % 2 / 4)
        for number in range(720)
        for other in ("Elm", None)
    ]

    async def work() -> None:
        async with asyncio.timeout(50), writing(settings, tmp_path) as writer:
            await writer.put(stream_interval_points(intervals(*rows), source="a", batch="a"))
            await writer.flush()
            assert writer.counts()[:3] == (1_440, 1_440, 0)

    asyncio.run(work())
    assert counted(settings, "stream_interval") == 1_440
    assert counted(settings, "stream_hour", settings.long_bucket) == 4
    flux = (
        f"from(bucket: {text(settings.long_bucket)}) |> range(start: -5d)"
        ' |> filter(fn: (r) => r._field == "mos_sum" or r._field == "mos_min") |> group() |> sort(columns: ["_value"])'
    )
    found = [float(row["_value"]) for row in InfluxSeries(settings, clock=lambda: NOW)._rows(flux)]
    assert found == [4.0] * 4 + [360 * 4.125] * 4


@pytest.mark.parametrize("damaged", [b"", b"[]", b"{", b'{"site_minute": 3}', b'{"site_minute": []}', b"\xff"])
def test_a_damaged_note_of_late_hours_is_no_note(tmp_path: Path, damaged: bytes) -> None:
    (tmp_path / "note").write_bytes(damaged)
    late = LateHours(tmp_path / "note")
    assert late.spans == {}
    assert late.note("site_minute", 5, 7)
    assert late.note("site_minute", 6, 9)
    assert LateHours(tmp_path / "note").spans == {"site_minute": (5, 9)}
    late.forget("site_minute")
    assert LateHours(tmp_path / "note").spans == {}


def test_records_of_the_spool_are_merged_without_unpacking(tmp_path: Path) -> None:
    one, two = gzip.compress(b"a 1\n"), gzip.compress(b"b 2\n")
    assert gzip.decompress(one + two) == b"a 1\nb 2\n"
