"""Cost by site and day at a real InfluxDB after an import and after each rerate: what the store charges, and once."""

from __future__ import annotations

import shutil
from contextlib import closing
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from cost_example import ESTATE, write_cucm_files
from influxd_server import Influxd
from test_cost_example_imported import bring_in

from analytics.cost.money import ATOMS_PER_UNIT
from analytics.store.influx import InfluxSettings, opened
from analytics.store.influx_setup import set_up
from analytics.store.lake import Lake
from api.cost_outlet import spans
from api.main import shell


def test_days_are_written_in_runs() -> None:
    first = date(2025, 2, 27)
    assert spans([]) == []
    assert spans([first]) == [(first, first)]
    days = [date(2025, 3, 1), first, date(2025, 2, 28), date(2025, 3, 3), date(2025, 3, 3)]
    assert spans(days) == [(first, date(2025, 3, 1)), (date(2025, 3, 3), date(2025, 3, 3))]


@pytest.fixture
def files(shared: Path, tmp_path: Path) -> list[Path]:
    golden = shared / "golden"
    (tmp_path / "cdr").mkdir()
    return write_cucm_files(golden / "cost_example", golden / "cucm_fields.csv", tmp_path / "cdr", files=6)


def to_influx(monkeypatch: pytest.MonkeyPatch, settings: InfluxSettings, folder: Path) -> None:
    """As if the environment named the server."""
    given = {"URL": settings.url, "TOKEN": settings.token, "ORG": settings.org, "BUCKET": settings.bucket,
             "LONG_BUCKET": settings.long_bucket, "SPOOL": str(folder / "points")}  # fmt: skip
    for name, value in given.items():
        monkeypatch.setenv(f"CALLGAUGE_INFLUX_{name}", value)


def costs_at(settings: InfluxSettings, field: str) -> dict[str, float]:
    """Sums by site in InfluxDB."""
    flux = (
        f'from(bucket: "{settings.long_bucket}") |> range(start: 2025-01-01T00:00:00Z, stop: 2026-01-01T00:00:00Z)'
        f' |> filter(fn: (r) => r._measurement == "cost_site_day" and r._field == "{field}")'
        ' |> group(columns: ["site"]) |> sum()'
    )
    with opened(settings) as client:
        tables = client.query_api().query(flux)
    return {record["site"]: float(record["_value"]) for found in tables for record in found.records}


def costs_of(store: Path) -> dict[str, float]:
    """Sums of call charges by site as the store has them."""
    with closing(Lake.open(store)) as lake, closing(lake.connect()) as connection:
        lake.view(connection, "usage")
        found = connection.execute(
            "SELECT site, sum(ip_cost)::DOUBLE FROM usage WHERE excluded IS NULL AND site IS NOT NULL GROUP BY ALL"
        ).fetchall()
    return {site: (atoms or 0.0) / ATOMS_PER_UNIT for site, atoms in found}


def rerated(store: Path, estate: Path) -> None:
    assert shell(["rerate", "--store", str(store), "--estate", str(estate)]) == 0


def test_costs_are_at_influxdb_after_an_import_and_replaced_by_each_rerate(
    files: list[Path],
    influxd: Influxd,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings, store = influxd.settings("costs"), tmp_path / "store"
    set_up(settings)
    to_influx(monkeypatch, settings, tmp_path)
    bring_in(files, store)
    assert "for InfluxDB: " in capsys.readouterr().err
    before, lines = costs_at(settings, "ip_cost"), costs_at(settings, "lines")
    assert before == pytest.approx(costs_of(store))
    assert min(before["A"], before["B"]) > 0
    changed = tmp_path / "estate"
    shutil.copytree(ESTATE, changed)
    for rates in changed.glob("tariffs/*/*/rates.csv"):
        rates.write_text(rates.read_text(encoding="utf-8").replace(",mobile,,1.80,", ",mobile,,2.00,"))
    rerated(store, changed)
    after = costs_at(settings, "ip_cost")
    # 36,000 s at A and 60 s at B, a fifth of a penny more a minute: 120 p and 0.2 p, by hand.
    assert after["A"] - before["A"] == pytest.approx(1.2)
    assert after["B"] - before["B"] == pytest.approx(0.002)
    for _ in range(2):
        rerated(store, ESTATE)
    assert costs_at(settings, "ip_cost") == pytest.approx(before)
    assert costs_at(settings, "lines") == lines


def test_costs_wait_on_disk_for_a_server_that_is_away(
    files: list[Path],
    influxd: Influxd,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings, store = influxd.settings("costs_later"), tmp_path / "store"
    set_up(settings)
    to_influx(monkeypatch, replace(settings, url="http://127.0.0.1:9"), tmp_path)
    bring_in(files, store)
    assert "for the next import or rerate (InfluxDB at http://127.0.0.1:9 does not answer" in capsys.readouterr().err
    assert costs_at(settings, "lines") == {}
    to_influx(monkeypatch, settings, tmp_path)
    rerated(store, ESTATE)
    assert "wait" not in capsys.readouterr().err
    assert costs_at(settings, "ip_cost") == pytest.approx(costs_of(store))
