"""One set of facts in the lake and in a real InfluxDB gives the same answers to every question of `SiteSeries`."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pytest
from influx_facts import SITES, minutes, table
from influxd_server import Influxd

from analytics.store.influx import InfluxError, InfluxSettings
from analytics.store.influx_points import Points, site_minute_points
from analytics.store.influx_queries import InfluxSeries
from analytics.store.influx_setup import set_up
from analytics.store.influx_writer import InfluxWriter
from analytics.store.lake import Lake
from analytics.store.series import SERIES, TOTALS, LakeSeries, SiteSeries
from analytics.store.settings import StoreError
from analytics.store.site_minutes import append_minutes
from analytics.store.spool import Spool, SpoolSettings

NOW = datetime.now(UTC).replace(second=0, microsecond=0)
"""The server drops what is older than it keeps, so the facts are of these days."""
SPRING = datetime(2026, 3, 29, tzinfo=UTC)
ZONES = ("UTC", "Europe/London", "Asia/Kolkata", "America/St_Johns")


class Batch(NamedTuple):
    source: str
    name: str
    sequence: int
    rows: pa.Table


def write(settings: InfluxSettings, folder: Path, batches: Sequence[Points], now: datetime) -> None:
    """Write points and wait until the server has them."""

    async def work() -> None:
        with Spool.open(folder, SpoolSettings(durable=False)) as spool:
            writer = InfluxWriter(settings, spool, clock=lambda: now, jitter=random.Random(1))
            async with asyncio.TaskGroup() as tasks:
                running = tasks.create_task(writer.run())
                for points in batches:
                    await writer.put(points)
                async with asyncio.timeout(60):
                    await writer.flush()
                running.cancel()
            counts = writer.counts()
            assert (counts.written, counts.dead, counts.trouble) == (counts.put, 0, "")

    asyncio.run(work())


class Stores(NamedTuple):
    lake: SiteSeries
    influx: SiteSeries


def stored(batches: Sequence[Batch], lake: Lake, settings: InfluxSettings, folder: Path, now: datetime) -> Stores:
    set_up(settings)
    points = []
    for batch in batches:
        append_minutes(lake, batch.rows, batch=batch.name, sequence=batch.sequence)
        points.append(site_minute_points(batch.rows, source=batch.source, batch=batch.name, sequence=batch.sequence))
    write(settings, folder, points, now)
    return Stores(LakeSeries(lake), InfluxSeries(settings, clock=lambda: now))


def recent() -> list[Batch]:
    """Five days until now: live batches of two agents, late ones among them, and a gap."""
    begin = NOW - timedelta(days=5)
    batches = []
    for number in range(6):
        source = f"agent-{number % 2}"
        rows = minutes(begin + timedelta(hours=20 * number), 300, number, share=0.6)
        batches.append(Batch(source, source, number, table(rows)))
    # Late rows: minutes that stand already, from the same agent and from another.
    for number in (6, 7):
        late = minutes(begin + timedelta(hours=20), 200, number, share=0.3)
        batches.append(Batch("agent-1", "agent-1", number, table(late)))
    batches.append(Batch("agent-0", "agent-0", 8, table(minutes(NOW - timedelta(minutes=30), 30, 8, sites=SITES[:2]))))
    return batches


@pytest.fixture(scope="module")
def stores(influxd: Influxd, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    folder = tmp_path_factory.mktemp("conformance")
    with closing(Lake.open(folder / "lake", create=True)) as lake:
        yield stored(recent(), lake, influxd.settings("conformance"), folder / "spool", NOW)


def same(stores: Stores, ask: Callable[[SiteSeries], pa.Table], *, rows: bool = True) -> list[dict[str, Any]]:
    """Return the answer that both give."""
    lake, influx = ask(stores.lake), ask(stores.influx)
    assert lake.schema == influx.schema
    found: list[dict[str, Any]] = lake.to_pylist()
    assert influx.to_pylist() == found
    assert bool(found) is rows
    return found


@pytest.mark.parametrize("sites", [None, ["Ash"], [SITES[1], SITES[2]], [*SITES[2:], "no such"]])
@pytest.mark.parametrize("step", ["minute", "hour", "day", "month"])
def test_series_by_step(stores: Stores, step: str, sites: list[str] | None) -> None:
    found = same(stores, lambda store: store.series(sites, NOW - timedelta(days=6), NOW, step))
    assert {row["site"] for row in found} == set(sites or SITES) - {"no such"}


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("step", ["hour", "day", "month"])
def test_series_by_the_days_of_a_zone(stores: Stores, step: str, zone: str) -> None:
    since = NOW - timedelta(days=5, minutes=17)
    same(stores, lambda store: store.series(None, since, NOW - timedelta(minutes=13), step, zone=zone))


def test_series_of_any_span_agree(stores: Stores) -> None:
    random_ = random.Random(7)
    for _ in range(25):
        since = NOW - timedelta(seconds=random_.uniform(0, 6 * 86_400))
        until = since + timedelta(seconds=random_.choice([30.0, 600.0, 9_000.0, 200_000.0]))
        step = random_.choice(["minute", "hour", "day"])
        ask = (since, until, step)
        lake, influx = (store.series(None, *ask) for store in stores)
        assert lake.to_pylist() == influx.to_pylist(), ask
        lake, influx = (store.totals(None, since, until) for store in stores)
        assert lake.to_pylist() == influx.to_pylist(), ask
        lake, influx = (store.latest(None, since, until) for store in stores)
        assert lake.to_pylist() == influx.to_pylist(), ask


def test_totals_are_the_sums_of_the_facts(stores: Stores) -> None:
    found = same(stores, lambda store: store.totals(None, NOW - timedelta(days=6), NOW))
    facts = [row for batch in recent() for row in batch.rows.to_pylist()]
    for row in found:
        mine = [fact for fact in facts if fact["site"] == row["site"]]
        assert row["calls"] == sum(fact["calls"] for fact in mine)
        assert row["lost"] == sum(fact["lost"] for fact in mine)
        assert row["mos_sum"] == sum(fact["mos_sum"] for fact in mine)
        assert row["mos_min"] == min(fact["mos_min"] for fact in mine if fact["mos_min"] is not None)
    assert stores.lake.totals(None, NOW, NOW).schema == TOTALS


def test_latest_is_the_newest_minute_of_each_site(stores: Stores) -> None:
    found = same(stores, lambda store: store.latest(None, NOW - timedelta(days=6), NOW))
    assert [row["site"] for row in sorted(found, key=lambda row: str(row["site"]))] == sorted(SITES)
    assert max(row["start"] for row in found) > NOW - timedelta(minutes=10)
    same(stores, lambda store: store.latest(["Ash"], NOW - timedelta(days=6), NOW - timedelta(days=2)))


def test_where_nothing_is_the_answer_is_an_empty_table_of_the_same_columns(stores: Stores) -> None:
    long_ago = NOW - timedelta(days=20)
    for sites in (None, [], ["Ash"]):
        for ask in (
            lambda store, sites=sites: store.series(sites, long_ago, long_ago + timedelta(days=1), "hour"),
            lambda store, sites=sites: store.latest(sites, long_ago, long_ago + timedelta(days=1)),
            lambda store, sites=sites: store.totals(sites, long_ago, long_ago + timedelta(days=1)),
            lambda store, sites=sites: store.series(sites, NOW, NOW - timedelta(days=1), "minute"),
        ):
            same(stores, ask, rows=False)
    same(stores, lambda store: store.series([], NOW - timedelta(days=6), NOW, "hour"), rows=False)
    assert stores.influx.series(["no such"], NOW - timedelta(days=6), NOW, "hour").schema == SERIES


def test_a_step_that_there_is_not_is_refused_by_both(stores: Stores) -> None:
    for store in stores:
        with pytest.raises(StoreError, match="a series has steps of minute, hour, day, month, not week"):
            store.series(None, NOW - timedelta(days=1), NOW, "week")


def test_days_on_which_clocks_change_agree(influxd: Influxd, tmp_path: Path) -> None:
    """Facts of last spring: the bucket keeps them for ever, and hours are read from their sums."""
    settings = influxd.settings("spring")
    settings = replace(settings, keep_days=0, long_keep_days=0)
    rows = minutes(SPRING - timedelta(days=2), 4 * 1_440, 3, sites=SITES[:2], share=0.2)
    batches = [Batch("import", "spring", 0, table(rows))]
    now = SPRING + timedelta(days=30)
    with closing(Lake.open(tmp_path / "lake", create=True)) as lake:
        found = stored(batches, lake, settings, tmp_path / "spool", now)
        since, until = SPRING - timedelta(days=1, hours=5), SPRING + timedelta(days=1, minutes=90)
        for zone in ZONES:
            for step in ("hour", "day", "month"):
                same(found, lambda store, z=zone, s=step: store.series(None, since, until, s, zone=z))  # type: ignore[misc]
        same(found, lambda store: store.totals(None, SPRING, SPRING + timedelta(days=1)))


def test_a_server_that_is_away_is_one_sentence(stores: Stores) -> None:
    away = InfluxSeries(InfluxSettings(url="http://127.0.0.1:9"), clock=lambda: NOW)
    with pytest.raises(InfluxError, match=r"^there is no InfluxDB at http://127.0.0.1:9: Connection refused$"):
        away.totals(None, NOW - timedelta(hours=1), NOW)
