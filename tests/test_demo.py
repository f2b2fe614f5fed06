"""What the demonstration's store says is what was simulated; its live calls are measured by the collector."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from analytics.alerts.facts import Phase
from analytics.store.lake import Lake
from analytics.store.series import LakeSeries
from api.alerts import keeping
from api.alerts.book import Book
from api.demo_past import CALLS_A_DAY, PRICES, DemoSize, environment, make_past
from api.main import shell
from collector.estate.folder import load_estate
from collector.live.glance import Glancing
from collector.live.piped import PipedSource
from collector.live.source import Found
from collector.simulator.capture_writer import pcap
from collector.simulator.faults import (
    CONGESTED_SITE,
    DEAD_TRUNK,
    FRAUD_SITE,
    MISMARKED_SITE,
    ONE_WAY_SITE,
    FaultKind,
    faults_of,
)
from collector.simulator.heard import gateway
from collector.simulator.live import (
    CONCURRENT,
    CONGESTED_S,
    CYCLE_S,
    NS,
    OUTAGE_EVERY_S,
    OUTAGE_S,
    LiveCounty,
    live_faults,
)

NOW = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)
"""A Friday afternoon."""
NAMES = ("calls", "answered", "failed", "streams", "expected", "lost")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The present month and the one before, with few calls."""
    folder = tmp_path_factory.mktemp("demo")
    make_past(folder, NOW, DemoSize(months=1, calls_a_day=300))
    return folder


@pytest.fixture(scope="module")
def truth(made: Path) -> dict[str, Any]:
    known: dict[str, Any] = json.loads((made / "truth.json").read_text(encoding="ascii"))
    return known


def asked(made: Path, table: str, sql: str) -> list[tuple[Any, ...]]:
    with closing(Lake.open(made / "store")) as lake, closing(lake.connect()) as connection:
        lake.view(connection, table)
        return connection.execute(sql).fetchall()


def test_every_hour_of_every_site_has_the_calls_and_losses_that_were_simulated(
    made: Path, truth: dict[str, Any]
) -> None:
    with closing(Lake.open(made / "store")) as lake:
        rows = LakeSeries(lake).series(None, NOW - timedelta(days=62), NOW + timedelta(hours=1), "hour").to_pylist()
    told = {
        (row["site"], int(row["start"].timestamp())): [row[name] for name in NAMES]
        for row in rows
        if any(row[name] for name in NAMES)
    }
    true = {(site, int(hour)): counts for site, hours in truth["hours"].items() for hour, counts in hours.items()}
    assert told == true
    assert len({site for site, _ in told}) == 70


def test_every_site_and_month_has_the_calls_and_seconds_that_its_exchange_counted(
    made: Path, truth: dict[str, Any]
) -> None:
    rows = asked(
        made,
        "usage",
        "SELECT month, site, count(*), sum(seconds) FROM usage WHERE kind = 'outbound' GROUP BY ALL",
    )
    for what, column in (("outbound_calls", 2), ("outbound_seconds", 3)):
        told = {(f"{row[0] // 100}-{row[0] % 100:02}", row[1]): int(row[column]) for row in rows if row[column]}
        true = {(month, site): n for month, of_sites in truth[what].items() for site, n in of_sites.items() if n}
        assert told == true


def test_the_congested_site_is_poor_while_its_line_is_too_small_and_not_otherwise(
    made: Path, truth: dict[str, Any]
) -> None:
    spans = [(f["since"], f["until"]) for f in truth["faults"] if f["kind"] == FaultKind.CONGESTED_WAN]
    held = " OR ".join(f"epoch(start) BETWEEN {since} AND {until}" for since, until in spans)
    rows = asked(
        made,
        "streams",
        f"SELECT ({held}) AS held, count(*), count(*) FILTER (mos < 3.6) FROM streams "
        f"WHERE site = '{CONGESTED_SITE}' OR other_site = '{CONGESTED_SITE}' GROUP BY 1 ORDER BY 1",
    )
    (_, others, few), (_, streams, many) = rows
    assert many / streams > 0.3
    assert few / others < 0.1


def test_nothing_reaches_the_site_behind_the_wrong_nat(made: Path, truth: dict[str, Any]) -> None:
    fault = next(f for f in truth["faults"] if f["kind"] == FaultKind.ONE_WAY_NAT)
    count = asked(
        made,
        "streams",
        f"SELECT count(*) FROM streams WHERE other_site = '{ONE_WAY_SITE}' AND epoch(start) >= {fault['since']}",
    )
    assert count == [(0,)]


def test_fraud_shows_as_premium_calls_of_one_site_by_night(made: Path, truth: dict[str, Any]) -> None:
    fault = next(f for f in truth["faults"] if f["kind"] == FaultKind.TOLL_FRAUD)
    rows = asked(
        made,
        "usage",
        "SELECT site, count(*), min(epoch(start))::BIGINT, max(epoch(start))::BIGINT FROM usage "
        "WHERE number_class = 'premium_09' GROUP BY site",
    )
    assert [(site, count) for site, count, _, _ in rows] == [(FRAUD_SITE, 120)]
    assert all(fault["since"] <= first and last <= fault["until"] + 60 for _, _, first, last in rows)


def test_alerts_of_the_past_are_of_its_faults_and_of_nothing_else(tmp_path: Path) -> None:
    make_past(tmp_path, NOW, DemoSize(months=1))
    faults = json.loads((tmp_path / "truth.json").read_text(encoding="ascii"))["faults"]
    with closing(Book.open(tmp_path / "store")) as book:
        changes = [one.change for one in keeping.read_changes(book)][::-1]
    places = {gateway(DEAD_TRUNK): DEAD_TRUNK}
    for change in changes:
        labels = dict(change.labels)
        place = labels.get("site") or places[labels["gateway"]]
        at = change.at / NS
        # The newest calls of a quiet site tell of it for as long as they are the newest.
        assert any(one["place"] == place and one["since"] <= at < one["until"] + 7 * 86_400 for one in faults), change
    of_trunk = [change.state.phase for change in changes if change.rule == "trunk_failures"]
    assert of_trunk == [Phase.FIRING, Phase.RECOVERING, Phase.NORMAL]
    fired = next(change for change in changes if change.rule == "trunk_failures")
    outage = next(one for one in faults if one["place"] == DEAD_TRUNK)
    assert outage["since"] < fired.at / NS < outage["until"]
    assert {dict(one.labels)["site"] for one in changes if one.rule == "site_degraded"} == {CONGESTED_SITE}


def test_a_past_made_twice_from_one_seed_is_the_same(tmp_path: Path, truth: dict[str, Any]) -> None:
    make_past(tmp_path, NOW, DemoSize(months=1, calls_a_day=300, processes=1))
    assert json.loads((tmp_path / "truth.json").read_text(encoding="ascii")) == truth


def test_faults_are_of_the_past_and_known_for_any_day() -> None:
    for ago in range(400):
        end = NOW - timedelta(days=ago, hours=ago % 24)
        faults = faults_of(end, "Europe/London")
        assert {fault.kind for fault in faults} == set(FaultKind)
        assert all(fault.since < fault.until and fault.since < end.timestamp() for fault in faults)


def test_live_calls_are_measured_by_the_collector_as_they_were_sent(made: Path, tmp_path: Path) -> None:
    estate = load_estate(made / "estate")
    # What a collector takes in must be of its own time: other rows are put aside.
    began = time.time_ns() - 60 * NS
    frames: list[tuple[int, bytes]] = []
    county = LiveCounty(estate, began)
    for second in range(1, 61):
        frames += county.frames_until(began + second * NS)
    assert frames == sorted(frames, key=lambda one: one[0])
    path = tmp_path / "live.pcap"
    path.write_bytes(pcap(frames, nanoseconds=True))
    store = tmp_path / "store"
    command = [sys.executable, "-m", "api.main", "collect", "--read", "-", "--store", str(store)]
    with path.open("rb") as capture:
        done = subprocess.run(
            [*command, "--estate", str(made / "estate"), "--name", "tap"],
            stdin=capture,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=environment(),
        )
    assert "Traceback" not in done.stderr
    rtp = sum(len(octets) == 214 for _, octets in frames)
    with closing(Lake.open(store)) as lake, closing(lake.connect()) as connection:
        lake.view(connection, "streams")
        packets, poor = connection.execute(
            f"SELECT sum(packets), count(*) FILTER (mos < 3.6 AND '{CONGESTED_SITE}' IN (site, other_site)) "
            "FROM streams"
        ).fetchall()[0]
        lake.view(connection, "calls")
        calls = connection.execute("SELECT count(*) FROM calls").fetchall()[0][0]
    assert packets == rtp
    assert poor > 0
    assert calls == len({octets[octets.index(b"Call-ID: ") :][:40] for _, octets in frames if b"INVITE sip" in octets})


def test_a_capture_that_is_piped_in_is_in_the_live_view_as_an_interface_is(tmp_path: Path) -> None:
    path = tmp_path / "live.pcap"
    path.write_bytes(pcap((), nanoseconds=True))
    source = PipedSource(str(path))

    async def deliver(_: Found) -> None:
        """Nothing is wanted of it."""

    assert isinstance(source, Glancing)
    asyncio.run(source.run(deliver))


def test_faults_of_live_calls_come_and_go() -> None:
    began = int(NOW.timestamp())
    kinds = Counter(fault.kind for at in range(began, began + 3_600, 10) for fault in live_faults(began, at))
    assert kinds[FaultKind.ONE_WAY_NAT] == 360
    assert 0 < kinds[FaultKind.CONGESTED_WAN] < 360
    assert 0 < kinds[FaultKind.DEAD_TRUNK] < 100


def test_a_folder_of_other_things_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    assert shell(["demo", str(tmp_path), "--only-past"]) == 2
    assert "holds something that is no demonstration" in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["letter.txt"]  # noqa: PTH208


@pytest.mark.parametrize(
    "listen", ["nonsense", "127.0.0.1:99999", "127.0.0.1:0", "127.0.0.1:", "no.such.host.invalid:80"]
)
def test_an_address_that_cannot_be_is_refused_before_anything_is_made(
    listen: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "made"
    assert shell(["demo", str(folder), "--listen", listen]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert listen in said[0]
    assert "metrics" not in said[0]
    assert not folder.exists()


def test_an_address_that_is_taken_is_refused_before_anything_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "made"
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        assert shell(["demo", str(folder), "--listen", taken]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert f"{taken} cannot be served at: something else is served there" in said[0]
    assert not folder.exists()


def test_the_page_of_documentation_names_the_faults_and_options_there_are() -> None:
    page = (Path(__file__).resolve().parents[1] / "docs" / "demo.md").read_text(encoding="utf-8")
    for place in (CONGESTED_SITE, ONE_WAY_SITE, FRAUD_SITE, MISMARKED_SITE, DEAD_TRUNK, PRICES.dear_site):
        assert place in page
    for option in ("--listen", "--months", "--calls-a-day", "--only-past", "--fresh"):
        assert option in page
    assert f"{CALLS_A_DAY:,} |" in page
    assert f"some {CONCURRENT} calls" in page
    assert f"live {CONGESTED_S // 60} minutes out of {CYCLE_S // 60}" in page
    assert f"live {OUTAGE_S // 60} minutes out of {OUTAGE_EVERY_S // 60}" in page
