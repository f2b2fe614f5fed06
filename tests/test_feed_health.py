"""A feed of call records that stops: told by `callgauge health`, by the collector that watches it, and in metrics."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from records_made import record, records

from analytics.feeds import FeedState
from analytics.health import ProcessHealth, read_health, write_health
from analytics.store.lake import Lake
from api.cdr_feed import CdrFeed, FeedPlace
from api.main import shell
from api.metrics import exposition
from collector.cdr.watching import FeedFolder, FeedSettings
from collector.live.source import Found

HOUR = 3_600
STOPPED = 5 * HOUR
STATE = FeedState("records", "cucm", "Cluster1", 10**18, 18_000.0, 28.5, 8, 0, 0.999, "silent")


def fill(store: Path) -> None:
    """Two exchanges that had six calls an hour for ten weeks, of which one has stopped five hours ago."""
    now = int(time.time())
    rows = []
    for number in range(10 * 7 * 24 * 6):
        ago = 600 * number + 60
        if ago > STOPPED:
            rows.append(record(2 * number, number, (1, 2), now - ago, None, "1", "2"))
        rows.append(record(2 * number + 1, number, (1, 2), now - ago, None, "1", "2", system="Cluster2"))
    with closing(Lake.open(store, create=True)) as lake:
        lake.append("cdr_rows", records(*rows), batch="all")


def test_health_names_the_feed_that_is_silent_and_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path)
    assert shell(["health", "--store", str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert "no process has left its health" in said.err
    lines = said.out.splitlines()
    assert lines[1] == "feeds of call records:"
    assert lines[2].startswith("  cucm Cluster1: SILENT since ")
    # Five hours and a minute less a quarter of an hour of grace, six an hour.
    assert "where 29 records are usual by now (8 weeks; sure to 99.9 %)" in lines[2]
    assert lines[3].startswith("  cucm Cluster2: last record ")
    shell(["health", "--store", str(tmp_path), "--format", "json"])
    feeds = {one["name"]: one for one in json.loads(capsys.readouterr().out)["feeds"]}
    assert (feeds["Cluster1"]["why"], feeds["Cluster2"]["why"]) == ("silent", "heard")


def test_an_estate_that_cannot_be_read_is_told_by_health(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path / "store")
    (tmp_path / "estate.toml").write_text("no toml\n")
    assert shell(["health", "--store", str(tmp_path / "store"), "--estate", str(tmp_path)]) == 1
    assert "estate.toml" in capsys.readouterr().err


def test_the_collector_says_once_that_a_feed_is_silent_and_serves_it_as_metrics(tmp_path: Path) -> None:
    fill(tmp_path / "store")
    (tmp_path / "in").mkdir()
    reported: list[str] = []
    settings = FeedSettings((FeedFolder(tmp_path / "in"),), poll_seconds=0.2, look_seconds=0.2)
    feed = CdrFeed(settings, FeedPlace(tmp_path / "store", None), reported.append)

    async def deliver(found: Found) -> None:
        raise AssertionError(found)

    async def main() -> None:
        async with asyncio.timeout(50), asyncio.TaskGroup() as tasks:
            tasks.create_task(feed.run(deliver))
            while len(feed.health().feeds) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
            await asyncio.sleep(4)
            feed.stop()

    asyncio.run(main())
    assert len(reported) == 1
    assert reported[0].startswith("cucm Cluster1: SILENT since ")
    health = feed.health()
    told = ProcessHealth("a", 1, "collect", "a", "1", 0, 0, 10.0, feeds=health.feeds)
    text = exposition(told)
    assert 'callgauge_feed_silent{kind="records",source="cucm",name="Cluster1"} 1' in text
    assert 'callgauge_feed_silent{kind="records",source="cucm",name="Cluster2"} 0' in text


def test_feeds_stand_in_the_health_of_a_process(tmp_path: Path) -> None:
    told = ProcessHealth("a", 1, "collect", "a", "1", 0, 0, 10.0, feeds=(STATE, replace(STATE, expected=None)))
    write_health(tmp_path, told)
    assert read_health(tmp_path) == ([told], [])


@pytest.mark.parametrize("wrong", [{"last": "x"}, {"expected": "x"}, {"why": 3}, {"more": 1}])
def test_feeds_that_are_wrong_spoil_one_file(tmp_path: Path, wrong: dict[str, object]) -> None:
    write_health(tmp_path, ProcessHealth("a", 1, "collect", "a", "1", 0, 0, 10.0, feeds=(STATE,)))
    (path,) = (tmp_path / "_health").glob("*.json")
    stated = json.loads(path.read_text())
    stated["feeds"][0].update(wrong)
    path.write_text(json.dumps(stated))
    found, problems = read_health(tmp_path)
    assert not found
    assert "a feed is wrong" in problems[0]
