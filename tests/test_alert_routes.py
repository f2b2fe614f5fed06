"""Alerts and webhooks over HTTP."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from alert_facts import NS, Receiver, append, interval, receiving
from web_app import App, application

from analytics.alerts.grouping import Timing
from analytics.alerts.rules import DEFAULTS
from analytics.store.lake import Lake
from api.alerts.book import Book
from api.alerts.loop import Alerting, Watch
from api.alerts.sampler import Sampler
from api.web.rights import Role


class Site:
    """An application over a store with one site that is poor."""

    def __init__(self, app: App, lake: Lake, receiver: Receiver) -> None:
        self.app = app
        self.lake = lake
        self.receiver = receiver
        self.book = Book.open(lake.root)
        watch = Watch(DEFAULTS, timing=Timing(0, 60, 3_600))
        self.loop = Alerting(self.book, Sampler(lake, lambda: None, None), watch, time.time_ns())
        start = time.time() - 30
        rows = [interval(n, start, site=None, other="york", mos=2.0) for n in range(30)]
        append(lake, "intervals", rows, "poor")

    def ask(self, method: str, path: str, role: Role = Role.ADMIN, json: object = None, status: int = 200) -> object:
        answer = self.app.client.request(method, f"/api/v1{path}", headers=self.app.headers(role), json=json)
        assert answer.status_code == status, answer.text
        found: object = answer.json() if answer.content else None
        return found

    def look(self) -> None:
        self.loop.step(time.time_ns())
        self.loop.store_history(self.lake)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    lake = Lake.open(tmp_path / "store", create=True)
    with receiving(tmp_path) as receiver, application(tmp_path / "store") as app:
        alerts = replace(app.context.settings.alerts, allowed_networks=("127.0.0.0/8",))
        settings = replace(app.context.settings, alerts=alerts)
        app.app.state.context = replace(app.context, settings=settings)
        yield Site(app, lake, receiver)
    lake.close()


def test_an_alert_says_of_how_many_over_which_time_and_where_the_evidence_is(site: Site) -> None:
    assert site.ask("GET", "/alerts", Role.VIEWER) == {"looked_at": None, "alerts": []}
    site.look()
    found = site.ask("GET", "/alerts", Role.VIEWER)
    assert isinstance(found, dict)
    (alert,) = found["alerts"]
    assert (alert["rule"], alert["labels"]) == ("site_degraded", {"site": "york", "direction": "to"})
    assert (alert["numerator"], alert["denominator"], alert["value"], alert["window"]["seconds"]) == (30, 30, 1, 600)
    assert "30 of 30 calls (100 %)" in alert["description"]
    times = r"since=\d{4}-\d\d-\d\dT\d\d%3A\d\d%3A\d\dZ&until=\d{4}-\d\d-\d\dT\d\d%3A\d\d%3A\d\dZ"
    assert re.fullmatch(rf"/streams\?q=to_site%3Ayork\+quality%3Apoor&{times}", alert["link"])


def test_the_history_is_that_of_the_store_also_as_csv(site: Site) -> None:
    site.look()
    found = site.ask("GET", "/alerts/history", Role.VIEWER)
    assert isinstance(found, list)
    assert [(one["rule"], one["state"], one["site"]) for one in found] == [("site_degraded", "firing", "york")]
    assert site.ask("GET", "/alerts/history?site=hull", Role.VIEWER) == []
    assert site.ask("GET", "/alerts/history?rule=site_degraded&site=york", Role.VIEWER) == found
    answer = site.app.client.get("/api/v1/alerts/history?format=csv", headers=site.app.headers(Role.VIEWER))
    assert answer.text.splitlines()[0].startswith("at,rule,fingerprint,site,state,numerator,denominator,reason")
    site.ask("GET", "/alerts/history?since=yesterday", Role.VIEWER, status=422)


def test_rules_are_shown_with_their_levels(site: Site) -> None:
    found = site.ask("GET", "/alerts/rules", Role.VIEWER)
    assert isinstance(found, list)
    assert [one["name"] for one in found] == [rule.name for rule in DEFAULTS]


def test_an_engineer_acknowledges_and_silences_and_it_is_in_the_log(site: Site) -> None:
    site.look()
    found = site.ask("GET", "/alerts", Role.VIEWER)
    assert isinstance(found, dict)
    path = f"/alerts/{found['alerts'][0]['fingerprint']}/acknowledge"
    site.ask("POST", path, Role.VIEWER, {}, status=403)
    site.ask("POST", path, Role.ENGINEER, {"comment": "on it"}, status=204)
    site.ask("POST", "/alerts/0123456789abcdef/acknowledge", Role.ENGINEER, {}, status=404)
    seen = site.ask("GET", "/alerts", Role.VIEWER)
    assert isinstance(seen, dict)
    assert seen["alerts"][0]["acknowledged_by"] == "engineer"
    made = site.ask(
        "POST", "/alerts/silences", Role.ENGINEER, {"labels": {"site": ["york"]}, "seconds": 600}, status=201
    )
    assert isinstance(made, dict)
    site.look()
    site.loop.step(time.time_ns() + 10 * NS)
    seen = site.ask("GET", "/alerts", Role.VIEWER)
    assert isinstance(seen, dict)
    assert seen["alerts"][0]["muted"].startswith("silenced by engineer")
    site.ask("DELETE", f"/alerts/silences/{made['key']}", Role.ENGINEER, status=204)
    site.ask("DELETE", f"/alerts/silences/{made['key']}", Role.ENGINEER, status=404)
    assert site.ask("GET", "/alerts/silences", Role.VIEWER) == []
    log = site.ask("GET", "/audit", Role.AUDITOR)
    assert all(what in str(log) for what in ("alert.acknowledge", "silence.add", "silence.end"))


@pytest.mark.parametrize(
    "given",
    [{}, {"labels": {}, "seconds": 600}, {"labels": {"site": []}, "seconds": 600}, {"labels": {"site": ["york"]}},
     {"labels": {"site": ["york"]}, "seconds": 5}, {"labels": {"site": "york"}, "seconds": 600},
     {"labels": {"site": ["york"]}, "seconds": 10**12}, {"labels": {"site": ["york"]}, "seconds": 600, "more": 1}],
)  # fmt: skip
def test_a_silence_that_says_nothing_is_refused(site: Site, given: object) -> None:
    site.ask("POST", "/alerts/silences", Role.ENGINEER, given, status=422)


def test_an_endpoint_is_added_tested_rotated_and_removed(site: Site) -> None:
    given = {"name": "desk", "url": site.receiver.url("ok"), "labels": {"severity": ["critical"]}}
    site.ask("POST", "/webhooks", Role.ENGINEER, given, status=403)
    made = site.ask("POST", "/webhooks", json=given, status=201)
    assert isinstance(made, dict)
    assert made["secret"].startswith("whsec_")
    site.ask("POST", "/webhooks", json=given, status=422)
    listed = site.ask("GET", "/webhooks")
    assert made["secret"] not in str(listed)
    assert "/ok" not in str(listed)
    tried = site.ask("POST", "/webhooks/desk/test")
    assert isinstance(tried, dict)
    assert (tried["status"], tried["outcome"]) == (200, "delivered")
    found = site.ask("GET", "/deliveries?endpoint=desk")
    assert isinstance(found, list)
    assert (found[0]["event"], found[0]["state"], len(found[0]["attempts"])) == ("test", "delivered", 1)
    again = site.ask("POST", f"/deliveries/{found[0]['id']}/replay", status=202)
    assert isinstance(again, dict)
    assert again["state"] == "waiting"
    rotated = site.ask("POST", "/webhooks/desk/rotate")
    assert isinstance(rotated, dict)
    assert rotated["secret"] != made["secret"]
    site.ask("POST", "/webhooks/desk/enable", status=204)
    site.ask("DELETE", "/webhooks/desk", status=204)
    for method, path in (("DELETE", ""), ("POST", "/test"), ("POST", "/rotate"), ("POST", "/enable")):
        site.ask(method, f"/webhooks/desk{path}", status=404)
    site.ask("POST", f"/deliveries/msg_{'0' * 32}/replay", status=404)


@pytest.mark.parametrize(
    "given",
    [{"name": "desk", "url": "ftp://example.com"}, {"name": "a b", "url": "https://example.com"},
     {"name": "desk", "url": "https://example.com", "shape": "pager"}, {"name": "desk"}],
)  # fmt: skip
def test_an_endpoint_that_cannot_be_is_refused(site: Site, given: object) -> None:
    site.ask("POST", "/webhooks", json=given, status=422)
