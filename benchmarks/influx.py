"""`python -m benchmarks.influx`: site minutes into a real InfluxDB, beside the bare influxdb-client.

The bare client sends ready lines, or makes Points of the same rows; Callgauge makes lines of Arrow rows, puts them into
its spool on disk (`fsync`), sends them from there and has the hours of late minutes summed. All use gzip and batches of
5,000; ready lines and Callgauge have two requests under way at once. Every point is counted after.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.lake import MINUTES
from benchmarks.targets import Target

if TYPE_CHECKING:
    import pyarrow as pa

    from analytics.store.influx import InfluxSettings
    from benchmarks.run import Bench

ROOT = Path(__file__).resolve().parents[1]
SITES = 70
MINUTES_OF_A_SITE = 2_880
BATCH = 5_000
AT_ONCE = 2
RUNS = 3
Way = Callable[["InfluxSettings", "pa.Table", Path], Awaitable[None]]


async def lines_alone(settings: InfluxSettings, rows: pa.Table, _: Path) -> None:
    """Send lines that were made before."""
    from influxdb_client.client.influxdb_client_async import InfluxDBClientAsync

    made = _LINES[id(rows)]
    async with InfluxDBClientAsync(settings.url, settings.token, org=settings.org, enable_gzip=True) as client:
        writes = client.write_api()
        for begin in range(0, len(made), AT_ONCE * BATCH):
            lot = [made[at : at + BATCH] for at in range(begin, begin + AT_ONCE * BATCH, BATCH)]
            await asyncio.gather(*(writes.write(settings.bucket, record=lines) for lines in lot if lines))


async def points(settings: InfluxSettings, rows: pa.Table, _: Path) -> None:
    """Make Points of rows and send them."""
    from influxdb_client.client.influxdb_client_async import InfluxDBClientAsync
    from influxdb_client.client.write import point as client_points

    names = [name for name in rows.column_names if name not in {"site", "start"}]
    async with InfluxDBClientAsync(settings.url, settings.token, org=settings.org, enable_gzip=True) as client:
        for begin in range(0, rows.num_rows, BATCH):
            made = []
            for row in rows.slice(begin, BATCH).to_pylist():
                point: Any = client_points.Point("site_minute")  # type: ignore[no-untyped-call]
                point.tag("site", row["site"]).tag("source", "bench").time(row["start"])
                for name in names:
                    point.field(name, row[name])
                made.append(point)
            await client.write_api().write(settings.bucket, record=made)


async def callgauge(settings: InfluxSettings, rows: pa.Table, folder: Path) -> None:
    """Make lines of rows, put them into the spool and send them from there."""
    from analytics.store.influx_points import site_minute_points
    from analytics.store.influx_writer import InfluxWriter
    from analytics.store.spool import Spool

    with Spool.open(folder) as spool:
        writer = InfluxWriter(settings, spool, clock=lambda: datetime.now(UTC), jitter=random.Random(1))
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(writer.run())
            for number, begin in enumerate(range(0, rows.num_rows, BATCH)):
                await writer.put(
                    site_minute_points(rows.slice(begin, BATCH), source="bench", batch="bench", sequence=number)
                )
            await writer.flush()
            running.cancel()


WAYS: dict[str, Way] = {"bare client, ready lines": lines_alone, "bare client, Points": points, "callgauge": callgauge}
_LINES: dict[int, list[bytes]] = {}


def influx(bench: Bench) -> None:
    """Points a second into a real server, beside the bare client that makes Points of the same rows."""
    sys.path.insert(0, str(ROOT / "tests"))
    from influxd_server import NoServerError, find

    try:
        find()
    except NoServerError:
        bench.missing.append("influxd")
        return
    wall = {name: rates[0] for name, rates in measured().items()}
    bare = wall["bare client, Points"]
    ready = wall["bare client, ready lines"]
    note = (
        f"{wall['callgauge'] / 1e3:,.0f} k/s; a bare client {bare / 1e3:,.0f} k/s, with ready lines {ready / 1e3:,.0f}"
    )
    bench.targets.append(Target("site minutes into InfluxDB", "x bare", 1, 2, wall["callgauge"] / bare, True, note))
    bench.runs_by_name["influx"] = wall


def main() -> None:
    """Write each way in turns and print points a second."""
    for name, (wall, cpu) in measured().items():
        print(f"{name:26} {wall:10,.0f} points/s, {cpu:10,.0f} points per second of the writer's processor time")


def measured() -> dict[str, tuple[float, float]]:
    """Write each way in turns: points a second and points a second of processor time, the median of the runs."""
    import duckdb

    sys.path.insert(0, str(ROOT / "tests"))
    from influxd_server import Influxd, find

    from analytics.store.influx_points import site_minute_points
    from analytics.store.influx_queries import InfluxSeries
    from analytics.store.influx_setup import set_up

    now = datetime.now(UTC)
    begin = (now - timedelta(minutes=MINUTES_OF_A_SITE)).date().isoformat()
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    rows = connection.sql(MINUTES.format(begin=begin, minutes=MINUTES_OF_A_SITE, sites=SITES)).to_arrow_table()
    _LINES[id(rows)] = list(site_minute_points(rows, source="bench", batch="ready").lines)
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        server = Influxd(find(), Path(folder) / "influxd")
        server.start()
        try:
            server.set_up()
            for run in range(RUNS):
                for number, (name, way) in enumerate(WAYS.items()):
                    settings = server.settings(f"bench_{run}_{number}")
                    set_up(settings)
                    started, cpu = time.perf_counter(), time.process_time()
                    asyncio.run(_awaited(way, settings, rows, Path(folder) / f"spool-{run}"))
                    seconds[name].append((time.perf_counter() - started, time.process_time() - cpu))
                    until = now + timedelta(days=2)
                    held = InfluxSeries(settings, clock=lambda: now - timedelta(days=30))
                    found = sum(held.totals(None, now - timedelta(days=9), until).column("calls").to_pylist())
                    if found != sum(rows.column("calls").to_pylist()):
                        raise SystemExit(f"{name}: the server holds {found} calls")
            asked = time.perf_counter()
            held.series(None, now - timedelta(days=1), now, "hour")
            print(f"a day of {SITES} sites by hour: {(time.perf_counter() - asked) * 1e3:.0f} ms")
        finally:
            server.kill()
    return {
        name: (
            rows.num_rows / statistics.median(wall for wall, _ in taken),
            rows.num_rows / statistics.median(cpu for _, cpu in taken),
        )
        for name, taken in seconds.items()
    }


async def _awaited(way: Way, settings: InfluxSettings, rows: pa.Table, folder: Path) -> None:
    await way(settings, rows, folder)


if __name__ == "__main__":
    main()
