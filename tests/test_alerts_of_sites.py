"""A site is as bad as the worst alert of it that holds: in the answers, on the live view, with its numbers."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alert_facts import append, interval
from call_facts import minute, put_minutes
from test_alert_loop import Room, rule
from test_wallboard import NOW, site
from web_app import application

from analytics.alerts.facts import NS, Alert, Phase, Rule, Sample, State, labelled
from analytics.alerts.of_sites import worst_of_sites
from analytics.questions.sites import SiteState, with_alerts
from api.alerts.of_sites import alerts_of_sites
from api.web.rights import Role
from dashboards.figures.wallboard import board

BEGAN = 1_767_607_200 * NS
ONE_WAY = rule("one_way_audio")
LOSS = rule("packet_loss")
JITTER = rule("jitter")
CAPTURE = rule("capture_unhealthy")


def alert(of: Rule, bad: float, of_all: float, phase: Phase = Phase.FIRING, **more: Any) -> Alert:
    """An alert of a site that began at the same moment as all."""
    value = None if of.test.value == "share" else more.pop("value", 100.0 * bad / of_all)
    labels = labelled(more.pop("labels", {"site": "york"}))
    sample = Sample(labels, BEGAN - 300 * NS, BEGAN, bad, of_all, value, **more)
    fired = None if phase in (Phase.NORMAL, Phase.PENDING) else BEGAN
    return Alert(of, sample, State(phase, BEGAN, fired), "")


def test_the_worst_alert_of_a_site_says_its_numbers_and_since_when() -> None:
    to_york = {"site": "york", "direction": "to"}
    lost = alert(LOSS, 310, 10_000, labels=to_york)
    found = worst_of_sites([(lost, ""), (alert(ONE_WAY, 139, 139), "")])
    one = found["york"]
    assert (one.rule, one.severity, one.state) == ("one_way_audio", "critical", "bad")
    assert one.said == "audio in one direction only: 139 of 139 answered calls (100 %) in 1 h"
    assert one.since == datetime(2026, 1, 5, 10, tzinfo=UTC)
    (only,) = worst_of_sites([(lost, "")]).values()
    assert (only.state, only.said) == (
        "degraded",
        "packets lost to the site: 3.1 % (310 of 10,000 packets) in 5 min",
    )


@pytest.mark.parametrize("phase", [Phase.NORMAL, Phase.PENDING])
def test_what_is_no_alert_makes_no_site_worse(phase: Phase) -> None:
    assert worst_of_sites([(alert(ONE_WAY, 1, 40, phase), "")]) == {}


def test_alerts_of_pairs_feeds_and_costs_are_not_of_a_sites_quality_and_info_changes_nothing() -> None:
    pair = alert(rule("site_pair_degraded"), 30, 40, labels={"from_site": "york", "to_site": "hull"})
    others = [alert(rule(name), 1, 2) for name in ("cdr_feed_silent", "cost_out_of_line")]
    others.append(alert(replace(ONE_WAY, severity="info"), 40, 40))
    assert worst_of_sites([(one, "") for one in (pair, *others)]) == {}


def test_an_alert_that_nothing_newer_ends_still_holds_and_says_so() -> None:
    (one,) = worst_of_sites([(alert(ONE_WAY, 40, 40, Phase.NO_DATA), "")]).values()
    assert one.said.endswith("in 1 h; nothing measured since says that it is over")


def test_an_unhealthy_capture_stands_before_what_it_measured_of_its_sites() -> None:
    capture = alert(CAPTURE, 31, 1_000, labels={"collector": "tap-1"}, covers=("york", "hull"))
    found = worst_of_sites([(alert(ONE_WAY, 40, 40), "the capture of york is unhealthy"), (capture, "")])
    assert set(found) == {"york", "hull"}
    assert found["york"].state == "capture"
    assert found["york"].said == (
        "the capture by tap-1 is unhealthy, quality is not judged: 3.1 % (31 of 1,000 packets and messages) in 5 min"
    )


def test_a_silenced_alert_stands_behind_those_that_are_told() -> None:
    jitter = alert(JITTER, 40, 60, labels={"site": "york", "direction": "from"}, value=40.0)
    silenced = (alert(ONE_WAY, 40, 40), "silenced by amy")
    assert worst_of_sites([silenced, (jitter, "")])["york"].rule == "jitter"
    assert worst_of_sites([silenced])["york"].muted == "silenced by amy"


def test_a_state_is_the_worse_of_streams_and_alerts_with_the_reason_of_that_one() -> None:
    worst = worst_of_sites([(alert(ONE_WAY, 40, 40), "")])
    quiet, poor = with_alerts(
        [site("york", SiteState.NORMAL), site("hull", SiteState.DEGRADED, reason="x")], {**worst, "hull": worst["york"]}
    )
    assert (quiet.state, quiet.reason, quiet.by_alert) == (SiteState.BAD, worst["york"].said, True)
    assert poor.state is SiteState.BAD
    warned = worst_of_sites([(replace(alert(ONE_WAY, 40, 40), rule=replace(ONE_WAY, severity="warning")), "")])
    (same,) = with_alerts([site("york", SiteState.BAD, reason="57 of 78 streams poor")], warned)
    assert (same.state, same.reason, same.by_alert) == (SiteState.BAD, "57 of 78 streams poor", False)
    assert same.alert is not None


def test_the_wallboard_lists_a_site_for_what_its_alert_says() -> None:
    worst = worst_of_sites([(alert(ONE_WAY, 9, 11), "")])
    shown = board(with_alerts([site("york", SiteState.NORMAL), site("hull", SiteState.NORMAL)], worst), NOW, "UTC")
    assert shown.sentence.startswith("1 of 2 sites needs attention")
    (row,) = shown.attention
    assert (row.site, row.state, row.said) == ("york", "bad", worst["york"].said)


def test_all_faces_take_a_site_for_worse_while_its_alert_holds(tmp_path: Path) -> None:
    room = Room(tmp_path, (replace(LOSS, minimum=100, for_s=0),))
    room.now = round(datetime.now(UTC).timestamp()) * NS
    start = datetime.fromtimestamp(room.now // NS, UTC).replace(second=0)
    put_minutes(room.lake, minute("york", 0, start))  # streams that sound well
    lossy = [interval(n, room.now / NS - 10, site=None, other="york", mos=4.1, lost=100) for n in range(30)]
    append(room.lake, "intervals", lossy, "lossy")
    room.step(0)
    room.book.close()
    assert alerts_of_sites(room.lake.root, room.watch.rules)["york"].state == "degraded"
    with application(room.lake.root) as app:
        here, viewer = app.context, app.headers(Role.VIEWER)
        live = here.hub.look(here.clock())
        found = app.client.get("/api/v1/sites", headers=viewer).json()
        one = app.client.get("/api/v1/sites/york", headers=viewer).json()
        table = app.client.get("/api/v1/sites?format=csv", headers=viewer).text
    assert found["attention"] == 1
    assert (one["state"], one["alert"]["rule"], one["reason"]) == ("degraded", "packet_loss", one["alert"]["said"])
    assert one["reason"] == "packets lost to the site: 20 % (3,000 of 15,000 packets) in 5 min"
    assert "packet_loss" in table
    (shown,) = live.sites
    assert (shown.state.value, shown.reason) == (one["state"], one["reason"])
    assert live.since["york"] == shown.alert.since
