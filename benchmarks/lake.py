"""The lake: a million stream rows appended beside peers, and what dashboards ask of a year of site minutes."""

from __future__ import annotations

import math
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.targets import Target

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from analytics.store.lake import Lake
    from benchmarks.run import Bench

SITES = 70
SEEN = ("calls", "streams", "rated", "poor", "mos_sum", "mos_min", "lost", "expected")
"""What one panel of a dashboard shows of a site."""
ZONE = "Europe/London"
STREAMS = """
SELECT CAST(begun AS DATE) AS day, CAST(hash(i) >> 1 AS BIGINT) AS stream_key, sha256('capture') AS source,
    CAST(hash(i // 2) >> 1 AS BIGINT) AS call_key, begun AS start,
    begun + to_microseconds(CAST(hash(i) % 600000000 AS BIGINT)) AS "end",
    '10.' || hash(i) % 200 || '.' || hash(i + 1) % 250 || '.9:' || 16384 + hash(i + 2) % 16000 AS from_address,
    '10.' || hash(i + 3) % 200 || '.' || hash(i + 4) % 250 || '.9:' || 16384 + hash(i + 5) % 16000 AS to_address,
    'Site ' || hash(i) % 70 AS site, 'Site ' || hash(i + 3) % 70 AS other_site,
    CAST(hash(i + 6) % 4294967296 AS BIGINT) AS ssrc, 'PCMA' AS codec, CAST(hash(i) % 9000 AS BIGINT) AS packets,
    CAST(hash(i) % 9000 + hash(i + 8) % 20 AS BIGINT) AS expected, CAST(hash(i + 8) % 20 AS BIGINT) AS lost,
    CAST(2 AS BIGINT) AS loss_runs, hash(i + 9) % 10000 / 1e3 AS jitter_ms, hash(i + 10) % 30000 / 1e3 AS pdv_p95_ms,
    CASE WHEN i % 3 = 0 THEN 1.2::DOUBLE END AS burst_ratio, 60 + hash(i + 11) % 30000 / 1e3 AS r_factor,
    3 + hash(i + 12) % 1400 / 1e3 AS mos, 'G.107 (2015-06), Ie 0, Bpl 25.1, delay 40 ms, buffer 60 ms' AS mos_model,
    CAST(NULL AS VARCHAR) AS why_no_mos, CAST(46 AS SMALLINT) AS dscp, 'measured' AS evidence
FROM (SELECT i, TIMESTAMPTZ '2025-10-01 00:00:00+00' + to_microseconds(i * 86400000000 // {rows}) AS begun
      FROM range({rows}) AS numbers(i))
"""
MINUTES = """
SELECT 'Site ' || s AS site, TIMESTAMPTZ '{begin} 00:00:00+00' + to_minutes(m) AS start,
    CAST(h % 6 AS INTEGER) AS calls, CAST(h % 5 AS INTEGER) AS answered, CAST(h % 2 AS INTEGER) AS failed,
    CAST(h % 12 AS INTEGER) AS streams, CAST(h % 12 AS INTEGER) AS rated, CAST(h % 3 AS INTEGER) AS poor,
    h % 12 * 4.1::DOUBLE AS mos_sum, CASE WHEN h % 12 > 0 THEN 3 + h % 97 / 1e2 END AS mos_min,
    CAST(h % 12 * 3000 AS BIGINT) AS packets, CAST(h % 12 * 3000 + h % 7 AS BIGINT) AS expected,
    CAST(h % 7 AS BIGINT) AS lost, h % 12 * 2.5::DOUBLE AS jitter_sum_ms,
    CASE WHEN h % 12 > 0 THEN h % 3001 / 1e2 END AS jitter_max_ms, h % 12 * 30.0::DOUBLE AS busy_seconds
FROM (SELECT m, s, hash(s * 1000003 + m) AS h FROM range({minutes}) AS a(m), range({sites}) AS b(s))
"""


def lake(bench: Bench) -> None:
    """Rows a second into the lake, and times of queries."""
    appends(bench)
    queries(bench)


def appends(bench: Bench) -> None:
    """A million stream rows of a day, from Arrow, on the disk when done, in turns with the peers."""
    import duckdb

    folder = bench.folder / "lake-appends"
    source = duckdb.connect()
    source.execute("SET TimeZone = 'UTC'; SET enable_progress_bar = false")
    table = source.sql(STREAMS.format(rows=bench.stream_rows)).to_arrow_table()
    bench.say(f"lake: {table.num_rows:,} stream rows, {table.nbytes / 1e6:.0f} MB in memory")
    ways: dict[str, Callable[[pa.Table, Path], None]] = {
        "lake": _to_lake,
        "duckdb": _to_duckdb,
        "parquet": _to_parquet,
        "deltalake": _to_deltalake,
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(bench.runs):
        for name, way in ways.items():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            began = time.perf_counter()
            way(table, folder)
            seconds[name].append(time.perf_counter() - began)
    shutil.rmtree(folder, ignore_errors=True)
    bench.runs_by_name["lake appends"] = {"rows": table.num_rows, "seconds": seconds}
    median = {name: statistics.median(times) for name, times in seconds.items()}
    others = ", ".join(f"{name} {median[name]:.2f} s" for name in ways if name != "lake")
    note = f"{median['lake']:.2f} s; {others}"
    rate = table.num_rows / median["lake"] / 1e3
    bench.targets.append(Target("stream rows appended", "k rows/s", 200, 500, rate, True, note))
    ratio = median["lake"] / median["duckdb"]
    bench.targets.append(Target("appended, against DuckDB's own file", "x its time", 2, 1, ratio, False))


def _to_lake(table: pa.Table, folder: Path) -> None:
    from analytics.store.lake import Lake

    store = Lake.open(folder / "store", create=True)
    store.append("streams", table, batch="capture")
    store.close()


def _to_duckdb(table: pa.Table, folder: Path) -> None:
    import duckdb

    connection = duckdb.connect(str(folder / "streams.duckdb"), config={"threads": 2})
    connection.register("given", table)
    connection.execute("CREATE TABLE streams AS SELECT * FROM given")
    connection.close()


def _to_parquet(table: pa.Table, folder: Path) -> None:
    import pyarrow.parquet

    pyarrow.parquet.write_table(table, folder / "streams.parquet", compression="zstd")


def _to_deltalake(table: pa.Table, folder: Path) -> None:
    from deltalake import write_deltalake

    write_deltalake(folder / "streams", table, partition_by=["day"])


def queries(bench: Bench) -> None:
    """What dashboards ask of a year of minutes: each question many times, about other days and sites each time."""
    from analytics.store.lake import Lake
    from analytics.store.site_minutes import SUMS

    path = _minutes(bench)
    store = Lake.open(path)
    connection = store.connect()
    rows = sum(file.rows for file in store.files("site_minutes"))
    bench.say(f"lake: {rows:,} site minutes and hours, {_size(path) / 1e6:.0f} MB")
    seconds: dict[str, list[float]] = {}
    for name, question in _questions(store, connection, bench.months):
        columns = SUMS if len(seconds.get(name, ())) % 2 else SEEN
        began = time.perf_counter()
        found = question(columns)
        seconds.setdefault(name, []).append(time.perf_counter() - began)
        if not found.num_rows:
            bench.differences.append(f"lake: {name} found nothing")
    connection.close()
    bench.runs_by_name["lake queries"] = {"rows": rows, "seconds": seconds}
    for name, times in seconds.items():
        note = f"median {statistics.median(times) * 1e3:.0f} ms of {len(times)}"
        bench.targets.append(Target(f"p95: {name}", "ms", 150, 75, p95(times) * 1e3, False, note))


def _questions(
    store: Lake, connection: duckdb.DuckDBPyConnection, months: int
) -> Iterator[tuple[str, Callable[[Any], pa.Table]]]:
    from analytics.store.site_minutes import site_series

    begin = datetime(2025, 1, 1, tzinfo=UTC)
    after = _month(months)

    def ask(sites: list[str] | None, since: datetime, until: datetime, step: str) -> Callable[[Any], pa.Table]:
        return lambda columns: site_series(store, connection, sites, since, until, step, zone=ZONE, columns=columns)

    for number in range(20):
        first, then = _month(number % months), _month(number % months + 1)
        day = first + timedelta(days=1 + number)
        sites = [f"Site {number * 3 % SITES}"]
        yield "a day of all sites by minute", ask(None, day, day + timedelta(days=1), "minute")
        yield "a month of one site by hour", ask(sites, first, then, "hour")
        yield "a year of all sites by day", ask(None, begin, after, "day")
        yield "a year of all sites by month", ask(None, begin, after, "month")


def _month(number: int) -> datetime:
    return datetime(2025 + number // 12, number % 12 + 1, 1, tzinfo=UTC)


def _minutes(bench: Bench) -> Path:
    """Return a store with the minutes, made once and kept."""
    from analytics.store.lake import Lake
    from analytics.store.settings import LakeSettings
    from analytics.store.site_minutes import append_minutes_query

    path = bench.folder / f"site-minutes-{bench.months}"
    store = Lake.open(path, create=True, settings=LakeSettings(durable=False))
    connection = store.connect()
    bench.say("lake: making site minutes, where they are not there yet")
    for number in range(bench.months):
        begin = _month(number)
        sql = MINUTES.format(begin=begin.date(), minutes=(_month(number + 1) - begin).days * 1_440, sites=SITES)
        if store.transaction("site_minutes", f"{begin.date()}") is None:
            append_minutes_query(store, connection, sql, batch=f"{begin.date()}")
    connection.close()
    store.close()
    return path


def p95(times: list[float]) -> float:
    """Return the time that 95 % keep to."""
    return sorted(times)[math.ceil(len(times) * 0.95) - 1]


def _size(path: Path) -> int:
    return sum(one.stat().st_size for one in path.rglob("*.parquet"))
