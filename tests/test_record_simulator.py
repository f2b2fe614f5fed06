"""Simulated records come through the import as what they were simulated to be."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from datetime import date
from pathlib import Path

import pytest

from analytics.store.lake import Lake
from api.main import shell
from collector.estate.folder import load_estate
from collector.simulator.records import RecordSimulator, Truth, write_month

ESTATE = Path(__file__).resolve().parents[1] / "examples" / "estate"


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> tuple[Truth, Path]:
    """Two days across the night the clock goes back, simulated and imported."""
    folder = tmp_path_factory.mktemp("records")
    simulator = RecordSimulator(load_estate(ESTATE), seed=7, calls_a_day=400, poor_site="S09")
    write_month(simulator, date(2025, 10, 24), 4, folder)
    store = tmp_path_factory.mktemp("lake") / "store"
    arguments = [str(folder), "--store", str(store), "--estate", str(ESTATE), "--rejects", str(store.parent / "r.csv")]
    assert shell(["cdr", "import", *arguments, "--settle", "0", "--no-progress"]) == 0
    return simulator.truth, store


def counted(store: Path, what: str, where: str) -> Counter[str]:
    """A count or sum by site."""
    with closing(Lake.open(store)) as lake, closing(lake.connect()) as connection:
        lake.view(connection, "usage")
        rows = connection.execute(f"SELECT site, {what} FROM usage WHERE {where} GROUP BY site").fetchall()
    return Counter({site: int(number) for site, number in rows if number})


def test_calls_and_seconds_of_each_site_are_those_that_were_simulated(month: tuple[Truth, Path]) -> None:
    truth, store = month
    assert counted(store, "count(*)", "kind = 'outbound'") == truth.outbound_calls
    assert counted(store, "sum(seconds)", "kind = 'outbound'") == truth.outbound_seconds
    assert counted(store, "count(*)", "kind = 'inbound'") == truth.inbound_calls
    assert counted(store, "count(*)", "kind IN ('on_net', 'on_site')") == truth.inner_calls
    assert counted(store, "count(redial_of)", "true") == truth.redials
    assert sum(counted(store, "count(*)", "excluded = 'recording'").values()) == truth.recordings


def test_every_line_has_a_site_a_class_and_both_prices(month: tuple[Truth, Path]) -> None:
    _, store = month
    assert not counted(store, "count(*)", "site IS NULL")
    assert not counted(store, "count(*)", "excluded IS NULL AND (ip_cost IS NULL OR legacy_cost IS NULL)")


def test_poor_calls_are_those_of_the_poor_site(month: tuple[Truth, Path]) -> None:
    _, store = month
    assert counted(store, "count(*)", "poor AND (site = 'S09' OR other_site = 'S09')")
    assert not counted(store, "count(*)", "poor AND site <> 'S09' AND other_site IS DISTINCT FROM 'S09'")


def test_the_same_seed_makes_the_same_bytes(tmp_path: Path) -> None:
    made = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        write_month(RecordSimulator(load_estate(ESTATE), seed=3, calls_a_day=40), date(2025, 10, 1), 2, folder)
        made.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert made[0] == made[1]
