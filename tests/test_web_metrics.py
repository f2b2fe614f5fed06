"""What the server says of itself: its metrics, its health beside the store, and how it reads the estate anew."""

from __future__ import annotations

import re
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from time import time_ns

import httpx
import pytest
from web_app import ROOT, application, served

from analytics.alerts.facts import NS, Labels, Matcher, Phase, Sample, State, labelled
from analytics.health import ProcessHealth, read_health
from api.alerts import outbox
from api.alerts.book import Book
from api.alerts.keeping import Kept, write_states
from api.main import shell
from api.web.rights import Role

LABELS: Labels = labelled({"site": "york"})


def told(client: httpx.Client, headers: dict[str, str]) -> dict[str, float]:
    """Samples of the text, by name and labels as they are written."""
    answer = client.get("/metrics", headers=headers)
    assert answer.status_code == 200
    lines = [line for line in answer.text.splitlines() if not line.startswith("#")]
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}


def kept(rule: str, site: str, phase: Phase, fired_at: int | None) -> Kept:
    labels = labelled({"site": site})
    sample = Sample(labels, 0, NS, 1.0, 2.0)
    return Kept(rule, labels, State(phase, NS, fired_at, "digest"), "", sample, "", NS)


def test_metrics_say_what_alerts_hold_and_what_became_of_deliveries(tmp_path: Path) -> None:
    with application(tmp_path / "store") as app:
        headers = app.headers(Role.VIEWER)
        assert not any(name.startswith("callgauge_alert") for name in told(app.client, headers))
        book, now = Book.open(tmp_path / "store"), time_ns()
        with book.writing() as connection:
            write_states(
                connection,
                [
                    kept("jitter", "york", Phase.FIRING, NS),
                    kept("jitter", "hull", Phase.NO_DATA, NS),
                    kept("site_degraded", "york", Phase.PENDING, None),
                ],
            )
        outbox.add_endpoint(book, "ops", "https://ops.example/hook", "alertmanager", Matcher(), now)
        with book.writing() as connection:
            keys = [outbox.put_message(connection, "ops", LABELS, "first", b"{}", now - 60 * NS) for _ in range(4)]
        tried = [outbox.Attempt(key, "ops", now, 5, None, "failed", "") for key in keys]
        outbox.note_delivered(book, tried[0]._replace(outcome="delivered", status=200), now)
        outbox.note_failed(book, tried[1], now + NS, None, now)
        outbox.note_failed(book, tried[1], None, None, now)
        outbox.give_up(book, keys[2], now)
        outbox.give_up(book, keys[0], now)  # it was delivered: nothing is given up
        found = told(app.client, headers)
        assert found['callgauge_alerts_firing{rule="jitter",severity="warning"}'] == 2
        assert found['callgauge_alerts_firing{rule="site_degraded",severity="critical"}'] == 0
        outcomes = [found[f'callgauge_alert_attempts_total{{outcome="{one}"}}'] for one in outbox.OUTCOMES]
        assert outcomes == [1, 2, 0, 0]
        assert found["callgauge_alert_messages_dead_total"] == 2
        assert found['callgauge_alert_outbox{endpoint="ops"}'] == 1
        assert 60 <= found['callgauge_alert_outbox_oldest_seconds{endpoint="ops"}'] < 120
        assert found["callgauge_alert_endpoints_disabled"] == 0
        outbox.forget_done(book, now + NS)
        assert told(app.client, headers)["callgauge_alert_messages_dead_total"] == 2
        book.close()


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def of_serve(store: Path) -> ProcessHealth:
    (found,) = (one for one in read_health(store)[0] if one.command == "serve")
    return found


def test_the_server_leaves_its_health_and_reads_the_estate_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    estate, store = tmp_path / "estate", tmp_path / "store"
    shutil.copytree(ROOT / "examples" / "estate", estate)
    environment = {"CALLGAUGE_PROCESS_HEALTH_SECONDS": "0.2", "CALLGAUGE_PROCESS_LOG": "json"}
    with served(store, "--estate", str(estate), environment=environment) as server:
        until(lambda: bool(read_health(store)[0]))
        assert [step.step for step in of_serve(store).steps] == ["shown"]
        assert shell(["health", "--store", str(store)]) == 0
        assert re.search(r"^serve .*: running", capsys.readouterr().out, re.MULTILINE)
        headers = {"Authorization": f"Bearer {server.token}"}

        def names() -> str:
            return httpx.get(f"{server.url}/api/v1/sites", headers=headers).text

        sites = (estate / "sites.csv").read_text()
        name = sites.splitlines()[1].split(",")[1]
        assert name in names()
        (estate / "sites.csv").write_text(sites.replace(name, "A new name"))
        server.process.send_signal(signal.SIGHUP)
        until(lambda: "A new name" in names())
        (estate / "sites.csv").write_text("no estate\n")
        server.process.send_signal(signal.SIGHUP)
        time.sleep(1)
        assert "A new name" in names()
        server.process.terminate()
        assert server.process.wait(20) == 0
    assert of_serve(store).ended
