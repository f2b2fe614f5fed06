"""Grafana's files: every query of every dashboard gives rows of a real InfluxDB, and the files have their structure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from influx_facts import interval, intervals, minutes, table
from influxd_server import Influxd
from influxdb_client.client.write_api import SYNCHRONOUS

from analytics.store.influx import InfluxSettings, opened
from analytics.store.influx_points import (
    MEASUREMENTS,
    CostDay,
    cost_points,
    site_minute_points,
    stream_interval_points,
)
from analytics.store.influx_setup import set_up

FOLDER = Path(__file__).resolve().parents[1] / "packaging" / "grafana"
DASHBOARDS = sorted((FOLDER / "dashboards").glob("*.json"))
NOW = datetime.now(UTC).replace(second=0, microsecond=0)
SITES = ("S01", "S02")


def panels(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["panels"]
    return found


def queries() -> Iterator[tuple[str, str]]:
    """Name and Flux of every query: panels and variables."""
    for path in DASHBOARDS:
        board = json.loads(path.read_text(encoding="utf-8"))
        for variable in board["templating"]["list"]:
            yield f"{path.stem}: {variable['name']}", variable["query"]
        for panel in board["panels"]:
            for target in panel["targets"]:
                yield f"{path.stem}: {panel['title']}", target["query"]


QUERIES = dict(queries())


@pytest.fixture(scope="module")
def filled(influxd: Influxd) -> InfluxSettings:
    """Buckets with an hour of minutes, intervals of a pair, hours and days."""
    settings = influxd.settings("callgauge")
    set_up(settings)
    begin = NOW - timedelta(hours=2)
    fine = [
        site_minute_points(table(minutes(begin, 60, 1, sites=SITES, share=1)), source="a", batch="a"),
        stream_interval_points(
            intervals(
                *(
                    interval(begin + timedelta(seconds=10 * n), "S01", "S02", mos=4.0 - n / 20, jitter_ms=2.5, lost=n)
                    for n in range(12)
                )
            ),
            source="a",
            batch="a",
        ),
    ]
    day = NOW.date() - timedelta(days=3)
    long = cost_points([CostDay(day, site, "outbound", 5, 300, 1.25, 1, 2.5, 0) for site in SITES], day, day)
    with opened(settings) as client:
        api: Any = client.write_api(write_options=SYNCHRONOUS)
        for points in fine:
            api.write(settings.bucket, record=b"\n".join(points.lines))
        hours = [line.replace(b"site_minute,", b"site_hour,", 1) for line in fine[0].lines]
        api.write(settings.long_bucket, record=b"\n".join([*hours, *long.lines]))
    return settings


def filled_in(flux: str) -> str:
    """A query as Grafana sends it: its variables replaced."""
    for name, value in {
        "v.timeRangeStart": (NOW - timedelta(days=7)).isoformat(),
        "v.timeRangeStop": (NOW + timedelta(minutes=1)).isoformat(),
        "v.windowPeriod": "10m",
        "${site:regex}": ".*",
    }.items():
        flux = flux.replace(name, value)
    assert "${" not in flux
    return flux


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_gives_rows(name: str, filled: InfluxSettings) -> None:
    with opened(filled) as client:
        found = client.query_api().query(filled_in(QUERIES[name]))
    rows = [record.values for one in found for record in one.records]
    assert rows, name
    if "_value" in rows[0]:
        assert all(row["_value"] is not None for row in rows)
    else:
        assert {"mos", "kind"} & set(rows[0])


def test_a_mean_is_that_of_the_points(filled: InfluxSettings) -> None:
    with opened(filled) as client:
        (worst,) = client.query_api().query(filled_in(QUERIES["pairs: Pairs of sites, the worst first"]))
    (row,) = worst.records
    # Twelve intervals: MOS 4.0 down to 3.45 by 0.05, of which the last three are under 3.6 (3.55, 3.5, 3.45);
    # 0 + 1 + … + 11 = 66 of 12 × 500 packets lost.
    assert row["mos"] == pytest.approx(3.725)
    assert row["poor"] == pytest.approx(25)
    assert row["lost"] == pytest.approx(1.1)
    assert (row["from"], row["to"], row["intervals"]) == ("S01", "S02", 12)


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_has_the_structure_that_grafana_reads(path: Path) -> None:
    board = json.loads(path.read_text(encoding="utf-8"))
    assert board["uid"] == f"callgauge-{path.stem}"
    assert board["schemaVersion"] >= 39
    numbers = [panel["id"] for panel in board["panels"]]
    assert len(set(numbers)) == len(numbers)
    (variable,) = board["templating"]["list"]
    sources = [variable["datasource"], *(target["datasource"] for panel in panels(path) for target in panel["targets"])]
    given = yaml.safe_load((FOLDER / "provisioning" / "datasources" / "callgauge.yaml").read_text())["datasources"]
    assert {(one["type"], one["uid"]) for one in sources} == {(one["type"], one["uid"]) for one in given}
    taken: set[tuple[int, int]] = set()
    for panel in panels(path):
        assert panel["type"] in {"stat", "table", "timeseries"}
        assert panel["description"]
        assert len(panel["description"]) < 200
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_queries_name_measurements_and_fields_that_there_are() -> None:
    known = {one.name: {field.name for field in one.fields} for one in MEASUREMENTS}
    for name, flux in QUERIES.items():
        (measurement,) = set(re.findall(r'r\._measurement == "(\w+)"', flux))
        assert set(re.findall(r'r\._field == "(\w+)"', flux)) <= known[measurement], name
        assert set(re.findall(r'bucket: "(\w+)"', flux)) <= {"callgauge", "callgauge_long"}


def test_what_is_provisioned_is_where_the_compose_file_puts_it() -> None:
    compose = yaml.safe_load((FOLDER.parents[1] / "docker-compose.yml").read_text())
    grafana = compose["services"]["grafana"]
    places = dict(volume.split(":")[:2] for volume in grafana["volumes"])
    (provider,) = yaml.safe_load((FOLDER / "provisioning" / "dashboards" / "callgauge.yaml").read_text())["providers"]
    assert places["./packaging/grafana/dashboards"] == provider["options"]["path"]
    assert places["./packaging/grafana/provisioning"] == "/etc/grafana/provisioning"
    (source,) = yaml.safe_load((FOLDER / "provisioning" / "datasources" / "callgauge.yaml").read_text())["datasources"]
    token = Path(source["secureJsonData"]["token"].removeprefix("$__file{").removesuffix("}"))
    assert places["readers"] == str(token.parent)
    assert compose["services"]["influx-init"]["command"][-2:] == ["--reader-token", str(token)]
    assert f"readers:{token.parent}" in compose["services"]["influx-init"]["volumes"]
    setup = compose["services"]["influxdb"]["environment"]
    assert source["jsonData"]["organization"] == setup["DOCKER_INFLUXDB_INIT_ORG"]
    home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (FOLDER / "dashboards" / Path(home).name).exists()
