"""Figures are made from data: here the data, with values worked out by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from analytics.questions.alerts import AlertChange
from analytics.questions.asking import share
from analytics.questions.pairs import PairQuality
from analytics.questions.path import PathStep
from analytics.questions.sites import Measures, SitePoint
from analytics.questions.terms import StreamTerms, TermStep
from dashboards.figures.alerts import MOST_LINES, over_days, timeline
from dashboards.figures.call import waterfall
from dashboards.figures.data_path import LEAST, flows
from dashboards.figures.pairs import OUTSIDE, heatmap, pair_map
from dashboards.figures.site import lanes, over_time

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def change(hours: float, state: str, key: str = "a", rule: str = "site_degraded") -> AlertChange:
    return AlertChange(NOON + hours * HOUR, rule, key, "S01", state, 8.0, 64.0, "8 of 64 calls")


def test_an_alert_holds_from_firing_until_it_is_normal_whatever_lies_between() -> None:
    changes = [change(1, "pending"), change(2, "firing"), change(3, "no_data"), change(4, "firing"),
               change(5, "recovering"), change(6, "normal")]  # fmt: skip
    shown = timeline(changes, NOON, NOON + 10 * HOUR, {"site_degraded": "critical"}, {"S01": "Ashcombe"}, "UTC")
    (line,) = shown.lines
    assert (line.name, line.severity) == ("Ashcombe: site degraded", "critical")
    assert [(one.since, one.until, one.going_on) for one in line.held] == [(NOON + 2 * HOUR, NOON + 6 * HOUR, False)]


def test_an_alert_that_is_over_first_held_since_before_and_one_without_an_end_holds_still() -> None:
    changes = [change(2, "normal"), change(7, "firing", "b")]
    shown = timeline(changes, NOON, NOON + 10 * HOUR, {}, {}, "UTC")
    held = {line.held[0] for line in shown.lines}
    assert {(one.since, one.until, one.going_on) for one in held} == {
        (NOON, NOON + 2 * HOUR, False),
        (NOON + 7 * HOUR, NOON + 10 * HOUR, True),
    }


def test_what_was_only_pending_is_no_alert_and_many_are_counted() -> None:
    assert not timeline([change(1, "pending"), change(2, "normal", "a")][:1], NOON, NOON + HOUR, {}, {}, "UTC").lines
    many = [change(1 + n / 100, "firing", str(n)) for n in range(MOST_LINES + 5)]
    shown = timeline(many, NOON, NOON + 10 * HOUR, {}, {}, "UTC")
    assert (len(shown.lines), shown.left_out) == (MOST_LINES, 5)
    assert len(over_days(shown).data[0].x) == MOST_LINES


def test_a_step_of_the_path_is_shown_in_shares_and_what_is_rare_can_be_seen() -> None:
    lost = {"kernel_drops": 1, "too_long": 0}
    step = PathStep("seen", "what came", "packets", 100_000, 99_900, 0, lost, {"not_ours": 99}, 0)
    (flow,) = flows([step])
    assert flow.lost == LEAST
    assert flow.aside == LEAST
    assert flow.passed + flow.waiting + flow.lost + flow.aside == pytest.approx(100)
    assert (flow.counts, flow.lost_by) == ("99,900 of 100,000 packets", "1 kernel drops")


def test_a_step_to_which_nothing_came_has_no_bar() -> None:
    (flow,) = flows([PathStep("sent", "", "messages", 0, 0, 0, {}, {}, 0)])
    assert (flow.passed, flow.lost) == (0, 0)


def point(hours: int, poor: int, of: int) -> SitePoint:
    whole = share(poor, of)
    measures = Measures(10, 9, 1, of, whole, 4.0, 2.0, 1_000, 1_010, 10, 0.99, 3.0, 9.0, 1.5)
    return SitePoint("S01", NOON + hours * HOUR, 3_600, measures, None)


def test_where_nothing_is_known_of_a_site_its_lines_have_a_gap() -> None:
    found = {lane.name: lane for lane in lanes([point(0, 3, 60), point(1, 0, 60), point(5, 1, 2)], "UTC")}
    assert found["Poor"].values == (5.0, 0.0, None, 50.0)
    assert found["Poor"].hollow == (False, False, False, True)
    assert found["Failed"].values == (1.0, 1.0, None, 1.0)
    assert found["Loss"].times[2] == NOON + 2 * HOUR
    assert over_time(tuple(found.values())).data[0].connectgaps is False


def pair(site: str | None, other: str | None, poor: int, of: int) -> PairQuality:
    return PairQuality(site, other, of, share(poor, of), 4.0, 2.0, 1_000, 1_010, 10, 0.99, 3.0, 0)


def test_a_pair_with_few_streams_is_hollow_and_has_no_colour() -> None:
    shown = pair_map([pair("S01", "S02", 30, 60), pair("S02", "S01", 1, 3), pair("S01", None, 0, 40)], {"S01": "One"})
    row = {name: place for place, name in enumerate(shown.sites)}
    one, two, outside = row["One"], row["S02"], row[OUTSIDE]
    assert shown.poor_percent[one][two] == 50.0
    assert shown.poor_percent[one][outside] == 0.0
    assert shown.poor_percent[two][one] is None
    assert shown.few == ((one, two),)
    assert heatmap(shown).data[0].zmax == 50


def test_a_waterfall_begins_at_the_r_of_all_defaults_and_ends_at_that_of_the_stream() -> None:
    steps = (
        TermStep("all defaults", "7.7", "", 93.2, 93.2),
        TermStep("codec", "7.5", "Ie 0", 0.0, 93.2),
        TermStep("loss", "7.5", "Ppl 5 %", -20.4, 72.8),
    )
    drawn = waterfall(StreamTerms("x", 72.8, 3.73, steps, "G.107", "callgauge mos")).data[0]
    assert list(drawn.x) == ["all defaults", "loss", "R"]
    assert list(drawn.y) == [93.2, -20.4, 72.8]
    assert list(drawn.measure) == ["absolute", "relative", "total"]
