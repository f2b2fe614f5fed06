"""`callgauge influx` makes what is missing, leaves alone what is right, and says in one sentence what is wrong."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from influx_facts import SITES, minutes, table
from influxd_server import ORG, TOKEN, Influxd
from influxdb_client.client.write_api import SYNCHRONOUS

from analytics.store.influx import InfluxError, InfluxSettings, health, opened
from analytics.store.influx_flux import any_of, text
from analytics.store.influx_points import site_minute_points
from analytics.store.influx_queries import InfluxSeries
from analytics.store.influx_setup import set_up
from api.main import UNUSABLE, shell

NOW = datetime.now(UTC).replace(second=0, microsecond=0)


def options(influxd: Influxd, bucket: str, *more: str) -> list[str]:
    names = ["--org", ORG, "--bucket", bucket, "--long-bucket", f"{bucket}_long"]
    return ["--url", influxd.url, "--token", TOKEN, *names, *more]


def test_init_makes_buckets_and_tasks_once(influxd: Influxd, capsys: pytest.CaptureFixture[str]) -> None:
    assert shell(["influx", "init", *options(influxd, "made")]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "bucket made: made, kept 92 days",
        "bucket made_long: made, kept 2557 days",
        "task made_long site_hour: made, sums site_minute by hour",
        "task made_long stream_hour: made, sums stream_interval by hour",
    ]
    assert shell(["influx", "init", *options(influxd, "made")]) == 0
    assert [line.split(": ")[1].split(",")[0] for line in capsys.readouterr().out.splitlines()] == ["kept"] * 4
    assert shell(["influx", "health", *options(influxd, "made")]) == 0
    assert capsys.readouterr().out == f"InfluxDB v2.7.12 at {influxd.url} is well and has both buckets\n"


def test_init_corrects_what_was_changed(influxd: Influxd, capsys: pytest.CaptureFixture[str]) -> None:
    settings = influxd.settings("changed")
    set_up(settings)
    with opened(settings) as client:
        api: Any = client.tasks_api()
        (task,) = api.find_tasks(name="changed_long site_hour")
        task.status = "inactive"
        task.every = task.offset = task.cron = None
        api.update_task(task)
    assert shell(["influx", "init", *options(influxd, "changed", "--keep-days", "31", "--long-keep-days", "0")]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "bucket changed: changed, kept 31 days",
        "bucket changed_long: changed, kept for ever",
        "task changed_long site_hour: changed, sums site_minute by hour",
        "task changed_long stream_hour: kept, sums stream_interval by hour",
    ]
    again = replace(settings, keep_days=31, long_keep_days=0)
    assert [done.change for done in set_up(again)] == ["kept"] * 4


def test_the_task_sums_hours_and_summing_again_changes_nothing(influxd: Influxd) -> None:
    settings = influxd.settings("summed")
    set_up(settings)
    rows = [*minutes(NOW - timedelta(hours=5), 200, 1), *minutes(NOW - timedelta(hours=4), 60, 2)]
    lines = [
        *site_minute_points(table(rows[:300]), source="a", batch="a", sequence=1).lines,
        *site_minute_points(table(rows[300:]), source="a", batch="a", sequence=2).lines,
    ]
    for _ in range(2):
        with opened(settings) as client:
            client.write_api(write_options=SYNCHRONOUS).write(settings.bucket, record=lines)
            api: Any = client.tasks_api()
            (task,) = api.find_tasks(name="summed_long site_hour")
            run = api.run_manually(task_id=task.id)
            states = [""]
            for _ in range(200):
                # Between being queued and being recorded a run is in neither list for a moment.
                states = [one.status for one in api.get_runs(task_id=task.id) if one.id == run.id]
                if states in (["success"], ["failed"]):
                    break
                time.sleep(0.1)
            assert states == ["success"]
        flux = (
            f"from(bucket: {text(settings.long_bucket)}) |> range(start: -1d)"
            f' |> filter(fn: (r) => r._measurement == "site_hour" and ({any_of("_field", ["calls"])}))'
            ' |> group(columns: ["site"]) |> sum() |> group()'
        )
        counted = {row["site"]: int(row["_value"]) for row in InfluxSeries(settings, clock=lambda: NOW)._rows(flux)}
        assert counted == {site: sum(row["calls"] for row in rows if row["site"] == site) for site in SITES}


def test_a_missing_bucket_token_or_organisation_is_one_sentence(
    influxd: Influxd, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [
        (options(influxd, "none"), f"InfluxDB at {influxd.url} has no bucket none: run callgauge influx init"),
        (options(influxd, "none", "--token", "x"), f"InfluxDB at {influxd.url} refuses the token"),
        (["--url", "http://127.0.0.1:9"], "there is no InfluxDB at http://127.0.0.1:9: Connection refused"),
    ]
    for arguments, sentence in asked:
        assert shell(["influx", "health", *arguments]) == UNUSABLE
        assert capsys.readouterr().err == f"callgauge: {sentence}\n"
    assert shell(["influx", "init", *options(influxd, "none", "--org", "nobody")]) == UNUSABLE
    assert "organi" in capsys.readouterr().err


def test_a_server_without_a_user_says_so(influxd_program: Path, tmp_path: Path) -> None:
    server = Influxd(influxd_program, tmp_path / "fresh")
    server.start()
    try:
        with pytest.raises(InfluxError, match="has no user yet: make its first with `influx setup`"):
            set_up(server.settings("x"))
    finally:
        server.kill()


@contextmanager
def answering(version: str | None) -> Iterator[str]:
    """A server on loopback that says it is some version of InfluxDB, or nothing of the kind."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(204)
            if version is not None:
                self.send_header("X-Influxdb-Version", version)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("version", ["1.8.10", "v3.4.1"])
def test_other_versions_are_refused_by_name(version: str) -> None:
    with answering(version) as url, pytest.raises(InfluxError) as refused:
        health(InfluxSettings(url=url))
    assert str(refused.value) == f"InfluxDB {version} at {url} is not supported: Callgauge writes to InfluxDB 2"


def test_what_is_no_influxdb_is_refused() -> None:
    with answering(None) as url, pytest.raises(InfluxError, match=r"is no InfluxDB$"):
        health(InfluxSettings(url=url))
