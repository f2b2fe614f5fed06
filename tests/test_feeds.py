"""Feeds that fall silent: judged by what is usual at that weekday and hour, in local time and without holidays."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from records_made import record, records

from analytics.feeds import FeedHours, FeedLimits, feed_state
from analytics.store.feed_hours import feed_hours
from analytics.store.lake import Lake

LONDON = ZoneInfo("Europe/London")
HOUR = timedelta(hours=1)
BEGIN = datetime(2025, 6, 2, tzinfo=LONDON)
"""A Monday in summer."""


def office(at: datetime) -> float:
    """Records an hour: 60 on weekdays from 8 to 18, 1 on Saturday mornings, none else."""
    if at.weekday() < 5:
        return 60.0 if 8 <= at.hour < 18 else 0.0
    return 1.0 if at.weekday() == 5 and 8 <= at.hour < 12 else 0.0


def local_hours(begin: datetime, end: datetime) -> Iterator[datetime]:
    at = begin.astimezone(UTC)
    while at < end:
        yield at.astimezone(LONDON)
        at += HOUR


def fed(
    until: datetime, rate: Callable[[datetime], float] = office, begin: datetime = BEGIN, without: tuple[date, ...] = ()
) -> FeedHours:
    """A feed that had just its rate every hour; its newest record is the end of its newest hour that had one."""
    hours = {
        int(at.timestamp()) // 3_600: round(rate(at))
        for at in local_hours(begin, until)
        if rate(at) >= 1 and at.date() not in without
    }
    newest = datetime.fromtimestamp((max(hours) + 1) * 3_600, UTC)
    return FeedHours("records", "cucm", "Cluster1", begin, min(newest, until.astimezone(UTC)), hours)


def london(day: int, hour: int, minute: int = 0, month: int = 8) -> datetime:
    return datetime(2025, month, day, hour, minute, tzinfo=LONDON)


def test_a_feed_that_stops_in_office_hours_is_silent_as_soon_as_it_is_sure() -> None:
    feed = fed(london(12, 10))  # a Tuesday
    # 60 an hour less 15 minutes of grace; twice ln(100) is 9.2 records.
    assert feed_state(feed, london(12, 10, 20), LONDON).why == "heard"
    state = feed_state(feed, london(12, 10, 30), LONDON)
    assert state.why == "silent"
    assert state.is_silent
    assert (state.expected, state.weeks, state.silent_weeks) == (15, 8, 0)
    assert state.confidence == pytest.approx(1 - math.exp(-7.5))
    assert state.silent_s == 1_800
    assert state.last == int(london(12, 10).timestamp()) * 10**9


def test_nights_and_weekends_are_no_silence() -> None:
    friday = fed(london(16, 0))
    for now in (london(15, 23), london(17, 15), london(18, 7)):
        state = feed_state(friday, now, LONDON)
        assert (state.why, state.expected) in (("heard", 0), ("heard", 4)), now
    # On Monday the morning's records are missing.
    assert feed_state(friday, london(18, 8, 30), LONDON).is_silent


def test_a_few_records_a_week_are_never_sure() -> None:
    state = feed_state(fed(london(9, 0), lambda at: 4.0 * (at.weekday() == 4 and at.hour == 9)), london(15, 12), LONDON)
    assert (state.why, state.expected) == ("heard", 4)
    assert state.confidence == pytest.approx(1 - math.exp(-2))


def test_local_hours_are_compared_when_clocks_change() -> None:
    # The clocks went back on 26 October: 8 o'clock is an hour later by UTC than it was in the weeks before.
    feed = fed(london(1, 0, month=11))
    assert feed_state(feed, london(3, 8, 14, month=11), LONDON).why == "heard"
    assert feed_state(feed, london(3, 8, 40, month=11), LONDON).is_silent
    assert feed_state(feed, london(3, 8, 40, month=11), ZoneInfo("UTC")).expected == pytest.approx(89)


@pytest.mark.parametrize(("weeks", "why"), [(1, "too_few_weeks"), (2, "too_few_weeks"), (3, "silent")])
def test_a_young_feed_says_nothing(weeks: int, why: str) -> None:
    feed = fed(london(12, 10), begin=london(12, 0) - timedelta(weeks=weeks))
    assert feed_state(feed, london(12, 11), LONDON).why == why


def weekdays(at: datetime) -> float:
    """The same without Saturdays."""
    return office(at) if at.weekday() < 5 else 0.0


def test_one_silent_week_of_eight_is_forgiven_and_three_are_not() -> None:
    mondays = (date(2025, 8, 4), date(2025, 7, 21), date(2025, 7, 7))
    now = london(18, 11)
    assert feed_state(fed(london(16, 0), weekdays, without=mondays[:1]), now, LONDON).is_silent
    state = feed_state(fed(london(16, 0), weekdays, without=mondays), now, LONDON)
    assert (state.why, state.weeks, state.silent_weeks) == ("heard", 8, 3)
    assert state.confidence == pytest.approx(5 / 7)
    # Where the estate names them, they are no past.
    named = feed_state(fed(london(16, 0), weekdays, without=mondays), now, LONDON, mondays)
    assert (named.why, named.weeks, named.silent_weeks) == ("silent", 5, 0)


def test_a_holiday_is_no_silence_and_the_day_after_it_is_judged_by_itself() -> None:
    holiday = {date(2025, 8, 25)}
    feed = fed(london(23, 0))
    assert feed_state(feed, london(25, 12), LONDON).is_silent
    assert feed_state(feed, london(25, 12), LONDON, holiday).why == "heard"
    assert feed_state(fed(london(25, 0), lambda _: 60.0), london(25, 12), LONDON, holiday).why == "holiday"
    assert feed_state(feed, london(26, 8, 10), LONDON, holiday).why == "heard"
    assert feed_state(feed, london(26, 9), LONDON, holiday).is_silent


def test_a_feed_that_is_gone_for_good_is_told_for_some_weeks_only() -> None:
    feed = fed(london(12, 10))
    told = [feed_state(feed, london(12, 10) + timedelta(days=days), LONDON) for days in range(1, 62)]
    assert [state.why for state in told[:35]] == ["silent"] * 35
    assert told[-1].why == "too_few_weeks"
    # 8 hours on Tuesday and 1:45 on Wednesday; Tuesday, three days, a Saturday's morning, and 1:45 on Monday.
    assert (told[0].expected, told[5].expected) == (585, 480 + 1_800 + 4 + 105)


def test_random_calls_of_an_ordinary_feed_are_not_told_as_silent() -> None:
    random = np.random.default_rng(5)
    first, quiet = BEGIN.astimezone(UTC), 3_600.0
    moments: list[float] = []
    for at in local_hours(BEGIN, BEGIN + timedelta(weeks=11)):
        calls = random.poisson(office(at) / 2)
        # Every call leaves two records: bunches, as transfers make them.
        moments += [at.timestamp() + second for second in random.uniform(0, quiet, calls) for _ in range(2)]
    moments.sort()
    alarms = looks = 0
    for step in range(2 * 24 * 14):
        now = first + timedelta(weeks=9, minutes=30 * step)
        known = [moment for moment in moments if moment <= now.timestamp()]
        hours = Counter(int(moment) // 3_600 for moment in known)
        feed = FeedHours("records", "a", "", first, datetime.fromtimestamp(known[-1], UTC), hours)
        looks += 1
        alarms += feed_state(feed, now, LONDON).is_silent
    assert (looks, alarms) == (672, 0)


def test_the_newest_record_within_the_grace_is_heard() -> None:
    feed = fed(london(12, 10))
    assert feed_state(feed, london(12, 10, 15), LONDON).why == "heard"
    assert feed_state(feed, london(12, 10, 26), LONDON, (), FeedLimits(grace_minutes=1)).is_silent


def test_hours_of_exchanges_are_counted_from_records_by_the_end_of_calls(tmp_path: Path) -> None:
    now = datetime(2025, 8, 12, 12, tzinfo=UTC)
    noon = int(now.timestamp())
    rows = [
        record(1, 1, (1, 2), noon - 7_300, 3_900, "1", "2"),  # ended within the last hour
        record(2, 2, (3, 4), noon - 7_200, 60, "1", "2"),
        record(3, 3, (5, 6), noon - 7_200, None, "1", "2", system="Cluster2"),
        record(4, 4, (7, 8), noon + 500, 60, "1", "2"),  # from the future
        record(5, 5, (9, 10), noon - 64 * 86_400, 60, "1", "2"),  # too long ago
    ]
    with closing(Lake.open(tmp_path, create=True)) as lake:
        assert feed_hours(lake, now) == []
        lake.append("cdr_rows", records(*rows), batch="one")
        one, two = feed_hours(lake, now)
    assert (one.kind, one.source, one.name, dict(one.hours)) == (
        "records", "cucm", "Cluster1", {noon // 3_600 - 2: 1, noon // 3_600 - 2 + 1: 1},
    )  # fmt: skip
    assert one.last == now - timedelta(seconds=3_400)
    assert (two.name, dict(two.hours)) == ("Cluster2", {noon // 3_600 - 2: 1})
