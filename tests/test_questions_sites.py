"""Sites now and over time, and pairs of sites, from facts in a real store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from call_facts import NOON, estate, lake_at, minute, put, put_minutes, stream
from hypothesis import given
from hypothesis import strategies as st

from analytics.questions.asking import QuestionError, share
from analytics.questions.pairs import site_pairs
from analytics.questions.sites import SiteState, site_series, sites_now
from analytics.store.series import LakeSeries

WEEK = timedelta(weeks=1)


def test_interval_of_a_share_is_wilsons() -> None:
    # 8 of 64, worked out by hand from Wilson's formula with z = 1.96.
    found = share(8, 64)
    assert found.value == 0.125
    assert found.low == pytest.approx(0.0647, abs=5e-4)
    assert found.high == pytest.approx(0.2278, abs=5e-4)


def test_share_of_none_is_not_known() -> None:
    assert share(0, 0)[2:] == (None, None, None)


@given(st.integers(1, 10_000).flatmap(lambda of: st.tuples(st.integers(0, of), st.just(of))))
def test_interval_holds_the_share_and_lies_in_0_to_1(counts: tuple[int, int]) -> None:
    number, of = counts
    found = share(number, of)
    assert found.value is not None
    assert found.low is not None
    assert found.high is not None
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_site_now_adds_up_the_minutes_of_the_window(tmp_path: Path) -> None:
    lake = lake_at(tmp_path)
    put_minutes(lake, minute("ashcombe", 0), minute("ashcombe", 60, poor=1, mos_min=2.4, mos_sum=15.0, lost=120))
    put_minutes(lake, minute("ashcombe", -3_600, calls=50))
    now = NOON + timedelta(seconds=90)
    found = sites_now(lake, LakeSeries(lake), estate(), now)[0]
    assert (found.site, found.name, found.kind) == ("ashcombe", "Ashcombe", "station")
    assert (found.since, found.until) == (NOON - timedelta(minutes=13), NOON + timedelta(minutes=2))
    measures = found.measures
    assert measures is not None
    assert (measures.calls, measures.streams, measures.poor[:2]) == (4, 8, (1, 8))
    assert measures.mos == pytest.approx(31.8 / 8)
    assert measures.mos_min == 2.4
    assert measures.loss_percent == pytest.approx(100 * 120 / 24_000)
    assert measures.jitter_ms == pytest.approx(2.0)
    assert measures.busy == pytest.approx(240 / 900)
    assert found.calls_now == 2.0
    assert found.newest == NOON + timedelta(minutes=1)
    assert [(one.start, one.calls) for one in found.trend] == [(NOON - timedelta(hours=1), 50), (NOON, 4)]


def test_silent_site_has_no_data_and_no_measures(tmp_path: Path) -> None:
    lake = lake_at(tmp_path)
    put_minutes(lake, minute("ashcombe"))
    by_site = {one.site: one for one in sites_now(lake, LakeSeries(lake), estate(), NOON)}
    assert by_site["northgate"].state is SiteState.NO_DATA
    assert by_site["northgate"].measures is None
    assert by_site["northgate"].newest is None


def test_store_without_any_facts_answers_all_sites_without_data(tmp_path: Path) -> None:
    lake = lake_at(tmp_path)
    found = sites_now(lake, LakeSeries(lake), estate(), NOON)
    assert [one.state for one in found] == [SiteState.NO_DATA, SiteState.NO_DATA]
    assert site_series(LakeSeries(lake), ["ashcombe"], NOON - WEEK, NOON, "hour", band=True) == ()


def test_site_that_the_estate_does_not_know_comes_behind_those_it_does(tmp_path: Path) -> None:
    lake = lake_at(tmp_path)
    put_minutes(lake, minute("aaa"))
    assert [one.site for one in sites_now(lake, LakeSeries(lake), estate(), NOON)] == ["ashcombe", "northgate", "aaa"]


@pytest.mark.parametrize(
    ("poor", "rated", "state"),
    [
        (0, 100, SiteState.NORMAL),
        (3, 19, SiteState.FEW),
        (8, 100, SiteState.NORMAL),  # lower end 4.1 %
        (12, 100, SiteState.DEGRADED),  # lower end 7.0 %
        (30, 100, SiteState.BAD),  # lower end 21.9 %
    ],
)
def test_state_follows_the_lower_end_of_the_interval(tmp_path: Path, poor: int, rated: int, state: SiteState) -> None:
    lake = lake_at(tmp_path)
    put_minutes(lake, minute("ashcombe", streams=rated, rated=rated, poor=poor, mos_sum=4.0 * rated))
    found = sites_now(lake, LakeSeries(lake), estate(), NOON)[0]
    assert found.state is state
    assert f"{poor} of {rated} streams poor in 15 min" in found.reason


def test_minute_that_is_appended_is_in_the_next_answer(tmp_path: Path) -> None:
    lake = lake_at(tmp_path)
    put_minutes(lake, minute("ashcombe"))
    series = LakeSeries(lake)
    before = sites_now(lake, series, estate(), NOON)[0].measures
    put_minutes(lake, minute("ashcombe", calls=7))
    after = sites_now(lake, series, estate(), NOON)[0].measures
    assert before is not None
    assert after is not None
    assert (before.calls, after.calls) == (2, 9)


def test_series_by_local_days_has_the_day_of_25_hours(tmp_path: Path) -> None:
    lake = lake_at(tmp_path)
    day = datetime(2025, 10, 26, tzinfo=UTC)
    put_minutes(lake, minute("ashcombe", 0, day, calls=1), minute("ashcombe", 86_340, day, calls=3))
    begin = datetime(2025, 10, 25, 23, tzinfo=UTC)
    found = site_series(LakeSeries(lake), None, begin, begin + timedelta(hours=25), "day", zone="Europe/London")
    assert [(one.start, one.seconds, one.measures.calls) for one in found] == [(begin, 90_000, 4)]


def test_band_is_of_the_same_weekday_and_local_hour(tmp_path: Path) -> None:
    lake = lake_at(tmp_path)
    # 12:00 local in summer time is 11:00 UTC, in winter time 12:00 UTC: the clocks change on 26 October.
    now = datetime(2025, 11, 26, 12, tzinfo=UTC)
    for weeks in range(1, 9):
        local_noon = now - weeks * WEEK - (timedelta(hours=1) if weeks >= 5 else timedelta())
        put_minutes(lake, minute("ashcombe", 0, local_noon, calls=10 * weeks))
    put_minutes(lake, minute("ashcombe", 0, now, calls=99), minute("ashcombe", -3_600, now - WEEK, calls=1_000))
    found = site_series(
        LakeSeries(lake), ["ashcombe"], now, now + timedelta(hours=1), "hour", zone="Europe/London", band=True
    )
    bands = found[0].bands
    assert bands is not None
    assert bands.calls is not None
    # 10th and 90th percentile of 10, 20, … 80, interpolated: at 0.1 × 7 and 0.9 × 7.
    assert bands.calls == pytest.approx((17, 73, 8))


def test_three_weeks_of_past_make_no_band(tmp_path: Path) -> None:
    lake = lake_at(tmp_path)
    for weeks in range(4):
        put_minutes(lake, minute("ashcombe", 0, NOON - weeks * WEEK))
    found = site_series(LakeSeries(lake), ["ashcombe"], NOON, NOON + timedelta(hours=1), "hour", band=True)
    assert found[0].bands is not None
    assert found[0].bands.mos is None


def test_too_many_points_are_refused(tmp_path: Path) -> None:
    with pytest.raises(QuestionError, match="shorter span"):
        site_series(LakeSeries(lake_at(tmp_path)), ["a"], NOON - 52 * WEEK, NOON, "minute")


def test_pairs_count_streams_by_sender_and_receiver(tmp_path: Path) -> None:
    lake = lake_at(tmp_path)
    put(
        lake,
        "streams",
        stream(1, mos=2.0, lost=300, packets=2_700),
        stream(2, mos=4.4, dscp=0),
        stream(3, mos=None, jitter_ms=None),
        stream(4, site="northgate", other_site="ashcombe"),
        stream(5, site=None, other_site=None),
        stream(6, start=86_400),
    )
    found = site_pairs(lake, NOON, NOON + timedelta(hours=1))
    assert [(one.site, one.other_site, one.streams, one.poor[:2]) for one in found] == [
        ("ashcombe", "northgate", 3, (1, 2)),
        ("northgate", "ashcombe", 1, (0, 1)),
    ]
    worst = found[0]
    assert worst.mos == pytest.approx(3.2)
    assert worst.loss_percent == pytest.approx(100 * 300 / 9_000)
    assert worst.jitter_ms == pytest.approx(2.0)
    assert worst.unmarked == 1
    assert site_pairs(lake, NOON, NOON + timedelta(hours=1), site="elsewhere") == ()
