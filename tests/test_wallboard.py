"""What the wallboard shows, as data: attention, tiles, since when, and with whom alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.questions.asking import share
from analytics.questions.pairs import PairQuality
from analytics.questions.sites import Band, Levels, Measures, SiteNow, SiteState, TrendPoint, judge
from analytics.questions.trouble import Since, only_with, troubled_since
from analytics.store.series import SERIES
from dashboards.figures.wallboard import board, changed, local_time, sentence, tile
from dashboards.glossary import GLOSSARY
from dashboards.parts import MARKS

NOW = datetime(2025, 10, 1, 13, 5, 12, tzinfo=UTC)
UNTIL = NOW.replace(second=0) + timedelta(minutes=1)


def measures(poor: int, of: int) -> Measures:
    return Measures(of, of, 0, of, share(poor, of), 4.0, 2.0, 1_000, 1_020, 20, 1.96, 3.0, 9.0, 2.0)


def site(name: str, state: SiteState, poor: int = 0, of: int = 60, **more: Any) -> SiteNow:
    known = None if state is SiteState.NO_DATA else measures(poor, of)
    made = SiteNow(
        name, name.title(), "station", None, state, "", UNTIL - timedelta(minutes=15), UNTIL, known, 3.0, None, ()
    )
    return made._replace(**more)


class Minutes:
    """Minutes of one site, as a store answers them: by minute back from now, poor streams out of ten."""

    def __init__(self, poor: dict[int, int]) -> None:
        self.poor = poor

    def series(self, sites: object, since: datetime, until: datetime, step: str, *, zone: str = "UTC") -> pa.Table:
        assert step == "minute"
        rows = []
        for back, poor in self.poor.items():
            start = UNTIL - timedelta(minutes=back)
            if since <= start < until:
                row = {field.name: 0 for field in SERIES} | {
                    "site": "a", "start": start, "streams": 10, "rated": 10, "poor": poor, "calls": 10,
                    "mos_sum": 40.0, "mos_min": 2.0, "jitter_max_ms": 1.0,
                }  # fmt: skip
                rows.append(row)
        return pa.Table.from_pylist(rows, schema=SERIES)

    def totals(self, sites: object, since: datetime, until: datetime) -> pa.Table:
        raise NotImplementedError

    def latest(self, sites: object, since: datetime, until: datetime) -> pa.Table:
        raise NotImplementedError


def test_the_worst_stand_first_and_what_is_normal_not_at_all() -> None:
    found = board(
        [
            site("a", SiteState.NORMAL),
            site("b", SiteState.DEGRADED, 9),
            site("c", SiteState.BAD, 40),
            site("d", SiteState.BAD, 50),
            site("e", SiteState.NO_DATA),
            site("f", SiteState.FEW, 3, 4),
        ],
        NOW,
        "Europe/London",
        {"d": NOW - timedelta(minutes=15)},
        {"b": "North"},
    )
    assert [one.site for one in found.attention] == ["d", "c", "b"]
    assert found.attention[0].since == "13:50", "summer time is an hour ahead of UTC"
    assert found.attention[1].since == ""
    assert found.attention[2].said.endswith("· with North only")
    assert found.sentence == "3 of 6 sites need attention · 18 calls now"
    assert found.as_of == "14:05:12 BST"


def test_a_silenced_site_is_marked_and_asks_for_no_attention() -> None:
    sites = [site("a", SiteState.BAD, 40), site("b", SiteState.NORMAL), site("c", SiteState.BAD, 50)]
    found = board(sites, NOW, "Europe/London", silenced={"a", "b"})
    assert [one.site for one in found.attention] == ["c"]
    states = {one.site: one.state for one in (*found.stations, *found.others)}
    assert states == {"a": "silenced", "b": "normal", "c": "bad"}


def test_calls_are_those_that_collectors_count_this_second_where_they_do() -> None:
    assert board([site("a", SiteState.NORMAL)], NOW, "Europe/London", calls=214).calls == 214


@pytest.mark.parametrize(
    ("bad", "of", "calls", "said"),
    [
        (0, 70, None, "None of 70 sites needs attention"),
        (1, 70, 2.4, "1 of 70 sites needs attention · 2 calls now"),
        (0, 1, None, "The site is normal"),
        (0, 0, None, "No site is known yet"),
    ],
)
def test_the_sentence_is_one_that_a_person_would_say(bad: int, of: int, calls: float | None, said: str) -> None:
    assert sentence(bad, of, calls) == said


def test_what_is_missing_is_not_zero() -> None:
    found = tile(site("e", SiteState.NO_DATA, calls_now=None))
    assert (found.calls, found.mos, found.poor_percent, found.loss_percent, found.jitter_ms) == (None,) * 5
    assert found.trend == (None,) * 24


def test_the_trend_has_an_hour_at_its_place_and_gaps_between() -> None:
    hour = UNTIL.replace(minute=0)
    points = tuple(
        TrendPoint(hour - timedelta(hours=back), 1, share(0, 2), 4.0 + back / 100) for back in (0, 2, 23, 24)
    )
    found = tile(site("a", SiteState.NORMAL, trend=points), {hour: Band(4.1, 4.3, 8)})
    assert found.trend[23] == 4.0
    assert found.trend[22] is None
    assert found.trend[21] == 4.02
    assert found.trend[0] == 4.23
    assert found.past == (None,) * 23 + ((4.1, 4.3),)


def test_only_tiles_that_changed_are_told() -> None:
    before = [tile(site("a", SiteState.NORMAL)), tile(site("b", SiteState.NORMAL))]
    now = [tile(site("a", SiteState.NORMAL)), tile(site("b", SiteState.BAD, 40)), tile(site("c", SiteState.NORMAL))]
    assert [one.site for one in changed(before, now)] == ["b", "c"]
    assert changed(now, now) == ()


def test_every_state_has_a_mark_and_every_mark_a_definition() -> None:
    assert {state.value for state in SiteState} <= set(MARKS)
    words = {mark.word for mark in MARKS.values()} - {"few calls"}
    assert words <= set(GLOSSARY)
    shapes = [mark.shape for mark in MARKS.values()]
    assert len(set(shapes)) == len(shapes), "no two states have one shape"


def test_a_time_that_is_not_known_is_not_told() -> None:
    assert local_time(None, "UTC") == ""


def test_trouble_is_followed_back_to_its_begin() -> None:
    # All streams are good until 40 minutes ago, and half are poor since. Windows of 15 minutes with 2 bad minutes have
    # 10 of 150 poor (lower bound 3.7 %); with 3 bad minutes 15 of 150 (6.2 %), which is over 5 %: so with the end of
    # the minute 38 back.
    (found,) = troubled_since(Minutes({back: 5 if back <= 40 else 0 for back in range(1, 121)}), ["a"], NOW)
    assert found.whole
    assert found.at == UNTIL - timedelta(minutes=37)


def test_trouble_that_began_before_all_that_is_looked_at_has_no_begin() -> None:
    (found,) = troubled_since(Minutes(dict.fromkeys(range(1, 400), 5)), ["a"], NOW, back=timedelta(minutes=30))
    assert not found.whole


@given(st.dictionaries(st.integers(1, 80), st.sampled_from([0, 0, 1, 3, 5, 10])), st.sampled_from([1, 20, 151]))
def test_trouble_lasts_as_long_as_each_window_alone_is_judged_so(poor: dict[int, int], least: int) -> None:
    levels, back, window = Levels(least_streams=least), timedelta(minutes=60), timedelta(minutes=15)
    judged = 0
    while judged < 60:
        within = [poor[at] for at in range(judged + 2, judged + 17) if at in poor]
        heard = measures(sum(within), 10 * len(within)) if within else None
        if judge(heard, window, levels)[0] not in (SiteState.DEGRADED, SiteState.BAD):
            break
        judged += 1
    expected = [Since("a", UNTIL - timedelta(minutes=judged), judged < 60), Since("b", UNTIL, True)]
    assert troubled_since(Minutes(poor), ["a", "b"], NOW, window, levels=levels, back=back) == tuple(expected)


def pair(one: str | None, other: str | None, poor: int, of: int) -> PairQuality:
    return PairQuality(one, other, of, share(poor, of), None, None, 0, 0, 0, None, None, 0)


@pytest.mark.parametrize(
    ("pairs", "other"),
    [
        ([pair("a", "n", 5, 10), pair("n", "a", 4, 10), pair("a", "s", 0, 20)], "n"),
        ([pair("a", "n", 5, 10), pair("a", "s", 5, 10)], None),
        ([pair("a", "n", 5, 10)], None),
        ([pair("a", "n", 5, 10), pair("a", "s", 0, 4)], None),
        ([pair("a", None, 5, 10), pair("a", "s", 0, 20)], None),
        ([pair("a", "a", 5, 10), pair("a", "s", 0, 20)], None),
        ([], None),
    ],
)
def test_one_other_site_is_named_where_all_is_well_with_the_rest(pairs: list[PairQuality], other: str | None) -> None:
    assert only_with("a", pairs) == other
