"""Figures are made from data: here the data, with values worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from analytics.questions.alerts import AlertChange
from analytics.questions.asking import share
from analytics.questions.pairs import PairQuality
from analytics.questions.path import ImportRow, PathStep
from analytics.questions.sites import Measures, SitePoint
from analytics.questions.terms import StreamTerms, TermStep
from analytics.sites import Origin, Site, Validity
from dashboards.figures.alerts import MOST_LINES, over_days, timeline
from dashboards.figures.call import waterfall
from dashboards.figures.data_path import LEAST, flows
from dashboards.figures.pairs import OUTSIDE, by_region, heatmap, pair_map
from dashboards.figures.site import APART, Lane, Way, lanes, over_time, runs, ways_figure
from dashboards.pages.data_path import newest_first

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


def test_files_read_together_stand_with_the_newest_records_first() -> None:
    def read(name: str, at: datetime, last: datetime | None) -> ImportRow:
        return ImportRow("0", "0", name, "cucm", "cdr", at, 1, 1, 0, None, last, None, None)

    second = timedelta(seconds=1)
    rows = [
        read("old", NOON, NOON - 40 * HOUR),
        read("new", NOON + second, NOON - 2 * HOUR),
        read("none", NOON + 2 * second, None),
        read("older", NOON + 3 * second, NOON - 50 * HOUR),
        read("later", NOON + HOUR, NOON - 90 * HOUR),
    ]
    assert [one.name for one in newest_first(rows)] == ["later", "new", "old", "older", "none"]


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


def test_the_own_past_has_a_gap_where_nothing_is_known_of_it() -> None:
    times = tuple(NOON + hour * HOUR for hour in (0, 1, 2, 3, 7, 8))
    nothing = (None,) * 6
    lane = Lane("Loss", "%", times, nothing, (0.0, 0.1, None, 0.3, 0.7, 0.8), (1.0, 1.1, None, 1.3, 1.7, 1.8), ())
    first, alone, last = runs(lane)
    assert first == (times[:2], (0.0, 0.1), (1.0, 1.1))
    assert alone == ((times[3] - HOUR / 4, times[3] + HOUR / 4), (0.3, 0.3), (1.3, 1.3))
    assert last == (times[4:], (0.7, 0.8), (1.7, 1.8))


def test_the_share_of_poor_has_its_interval_and_the_axis_the_whole_span() -> None:
    found = lanes([point(0, 3, 60), point(1, 0, 60)], "UTC")
    poor = next(lane for lane in found if lane.name == "Poor")
    low, high = share(3, 60).low, share(3, 60).high
    assert low is not None
    assert high is not None
    assert poor.sure[0] == pytest.approx((100 * low, 100 * high))
    drawn = over_time(found, whole=(NOON - 9 * HOUR, NOON + 9 * HOUR), channels=3)
    assert list(drawn.layout.xaxis.range) == [NOON - 9 * HOUR, NOON + 9 * HOUR]
    (bars,) = [trace.error_y.array for trace in drawn.data if trace.error_y.array is not None]
    assert bars[0] == pytest.approx(100 * high - 5)
    (line,) = [trace for trace in drawn.data if trace.name == "capacity 3 calls"]
    assert list(line.y) == [3, 3]


def test_a_capacity_far_above_all_calls_does_not_press_them_flat() -> None:
    drawn = over_time(lanes([point(0, 3, 60)], "UTC"), channels=300)
    assert not [trace for trace in drawn.data if trace.name and "capacity" in trace.name]
    assert "capacity 300 calls, far above" in [one.text for one in drawn.layout.annotations]


def test_neither_direction_covers_the_other_and_few_streams_are_hollow() -> None:
    sent, received = ways_figure([Way("One", share(0, 40), share(0, 3), 43), Way("Two", None, share(1, 1), 1)]).data
    assert list(sent.y) == [-APART]
    assert list(received.y) == [APART, 1 + APART]
    assert sent.marker.symbol == ("triangle-right",)
    assert received.marker.symbol == ("circle-open", "circle-open")
    high = share(0, 3).high
    assert high is not None
    assert received.error_x.array[0] == pytest.approx(100 * high)


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
    assert shown.hints == (True,)
    assert heatmap(shown).data[0].zmax == 50
    assert shown.poor == ((two, one),)
    assert [trace.customdata[0][0] for trace in heatmap(shown).data[1:]] == ["S02/S01", "S01/S02"]


def test_no_site_is_left_out_of_the_map_and_each_is_named() -> None:
    many = {f"S{number:02}": f"Place {number}" for number in range(71)}
    shown = pair_map([pair(site, None, 0, 40) for site in many], many)
    assert shown.sites == (*many.values(), OUTSIDE)
    assert shown.left_out == 0
    drawn = heatmap(shown)
    assert drawn.layout.yaxis.dtick == drawn.layout.xaxis.dtick == 1


def test_sites_of_one_region_stand_together_on_the_map() -> None:
    always, origin = Validity(None, None), Origin("sites.csv", 1)

    def place(site: str, parent: str | None) -> Site:
        return Site(site, site.lower(), "office", parent, "normal", always, origin)

    county = [place("A", None), place("B", "A"), place("C", "A"), place("X", "B"), place("Y", "A"), place("Z", "C"),
              place("V", "B"), place("P", "Q"), place("Q", "P")]  # fmt: skip
    assert list(by_region(county)) == ["A", "Y", "B", "X", "V", "C", "Z", "P", "Q"]


def over(ground: tuple[int, int, int], colour: str) -> float:
    """Contrast of a colour with alpha on a ground (WCAG 2.2)."""
    *parts, alpha = [float(part) for part in colour.removeprefix("rgba(").removesuffix(")").split(",")]
    mixed = [alpha * part + (1 - alpha) * behind for part, behind in zip(parts, ground, strict=True)]
    high, low = sorted((light(mixed), light(ground)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def light(colour: Sequence[float]) -> float:
    red, green, blue = [
        one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in (part / 255 for part in colour)
    ]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("ground", [(0x14, 0x17, 0x1B), (0xFB, 0xFB, 0xFA)])
def test_the_worst_ways_stand_out_from_the_ground_and_those_that_are_fine_do_not(ground: tuple[int, int, int]) -> None:
    shown = heatmap(pair_map([pair("S01", "S02", 30, 60)], {"S01": "One"})).data[0]
    contrasts = [over(ground, colour) for _, colour in shown.colorscale]
    assert contrasts == sorted(contrasts)
    assert contrasts[0] < 1.3
    assert contrasts[-1] >= 3


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
