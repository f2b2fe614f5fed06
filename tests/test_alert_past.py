"""Many moments of the past asked at once: at each of them what is answered to who asks then."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from alert_facts import NS, append, call, interval, stream
from lake_rows import rows as filled

from analytics.alerts.facts import Kind, Phase
from analytics.alerts.grouping import Timing
from analytics.alerts.rules import DEFAULTS
from analytics.feeds import FeedLimits
from analytics.questions import watching, watching_past
from analytics.questions.alerts import alert_history
from analytics.store.arrow_rows import arrow_table
from analytics.store.feed_hours import feed_hours, feed_hours_at
from analytics.store.lake import Lake
from analytics.store.schema import SITE_MINUTES
from analytics.store.site_minutes import append_minutes
from api.alerts.book import Book, BookError
from api.alerts.history import Seen, keep_past, replayed
from api.alerts.loop import Alerting, Watch
from api.alerts.sampler import Sampler

BEGIN = datetime(2026, 3, 30, 10, tzinfo=UTC)
"""A Monday, the day after the clocks of London went forward: the weeks before began an hour later."""
S = BEGIN.timestamp()
MOMENTS = [BEGIN + timedelta(seconds=37 * step) for step in range(100)]
WINDOW = timedelta(minutes=10)
LONGEST = timedelta(hours=1)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    made = Lake.open(tmp_path_factory.mktemp("past") / "store", create=True)
    dice = random.Random(5)

    def site() -> str | None:
        return dice.choice([None, "york", "hull", "whitby"])

    def at(first: int = -4_000, last: int = 4_200) -> float:
        return S + dice.randrange(first, last)

    def mos() -> float | None:
        return dice.choice([None, 2.0, 3.5, 4.0, 4.4])

    # Half of the time only, so that whole streams tell of the other half.
    heard = [
        interval(dice.randrange(60), at(-900, 1_500), site=site(), other=site(), mos=mos(), lost=dice.randrange(-3, 40),
                 expected=dice.randrange(500), jitter_ms=dice.choice([None, 2.0, 30.0]))
        for _ in range(900)
    ]  # fmt: skip
    append(made, "intervals", heard, "intervals")
    calls: list[dict[str, Any]] = []
    for key in range(1, 300):
        status, state = dice.choice([(200, "completed"), (503, "failed"), (486, "failed"), (None, "unanswered"),
                                     (200, "in progress")])  # fmt: skip
        seconds = dice.choice([3.0, 60.0, 200.0]) if status == 200 else None
        made_call = call(key, at(), site=site(), other=site(), seconds=seconds, state=state, status=status)
        going = {"end": None} if state == "in progress" else {}
        calls.append({**made_call, **going, "called": f"0{dice.randrange(40)}", "pdd_ms": dice.choice([None, 200.0]),
                      "to_address": dice.choice([None, "192.0.2.9", "192.0.2.10"])})  # fmt: skip
    append(made, "calls", calls, "calls")
    streams = []
    for n in range(800):
        of = dice.choice(calls)
        sender = f"192.0.2.{dice.randrange(1, 4)}:400{dice.randrange(2)}"
        changed = {"expected": dice.choice([50, 3_000]), "lost": dice.randrange(-3, 100)}
        # Of streams that end in the same microsecond either may be the newer.
        changed["end"] = of["start"] + 60_000_000 + n
        streams.append(stream(n, of["call_key"], of["start"] / 1e6, sender, mos=mos(), site=site(), other_site=site(),
                              **changed))  # fmt: skip
    append(made, "streams", streams, "streams")
    for week in range(6):
        begin = round(S * 1e6) - week * 7 * 86_400_000_000
        empty = dict.fromkeys(("answered", "failed", "unanswered", "cancelled", "streams", "rated", "poor", "mos_sum",
                               "packets", "expected", "lost", "jitter_sum_ms", "busy_seconds"), 0)  # fmt: skip
        minutes = [
            {**empty, "start": begin + 60_000_000 * minute, "site": name, "calls": dice.randrange(3)}
            for minute in range(-180, 120)
            for name in ("york", "hull")
        ]
        table = arrow_table(SITE_MINUTES, [{**one, "month": None, "step": "minute"} for one in minutes])
        append_minutes(made, table.drop_columns(["month", "step"]), batch=f"week {week}")
    used = filled("usage", list(range(1_500)), begin=BEGIN - timedelta(weeks=8), step_s=3_260, seconds=60, site="york",
                  excluded=None, kind="outbound", month=202603)  # fmt: skip
    made.append("usage", used, batch="usage")
    yield made
    made.close()


def test_streams_of_many_windows_are_those_of_each(lake: Lake) -> None:
    found = watching_past.heard_at(lake, MOMENTS, WINDOW)
    for moment in MOMENTS:
        assert rounded(found[moment]) == rounded(watching.heard_now(lake, moment - WINDOW, moment))
    assert sum(len(one.sites) for one in found.values()) > 100


@pytest.mark.parametrize("most", [1, 3, 20])
def test_the_newest_streams_before_many_moments_are_those_before_each(lake: Lake, most: int) -> None:
    found = watching_past.heard_last_at(lake, MOMENTS, LONGEST, most)
    for moment in MOMENTS:
        assert rounded(found[moment]) == rounded(watching.heard_last(lake, moment - LONGEST, moment, most))
    assert any(one.sites for one in found.values())


def test_calls_that_ended_in_many_windows_are_those_of_each(lake: Lake) -> None:
    found = watching_past.ended_at(lake, MOMENTS, WINDOW)
    assert [found[moment] for moment in MOMENTS] == [
        watching.ended_calls(lake, moment - WINDOW, moment) for moment in MOMENTS
    ]
    assert sum(one.with_media for of in found.values() for one in of)


@pytest.mark.parametrize("at_once", [1, 10_000_000])
def test_gateways_at_many_moments_are_those_at_each(
    lake: Lake, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr(watching_past, "MOST_MET", at_once)
    moments = MOMENTS[:: 20 if at_once == 1 else 1]
    found = watching_past.gateways_at(lake, moments, WINDOW, LONGEST, 12)
    assert [found[moment] for moment in moments] == [
        watching.gateways_now(lake, moment - WINDOW, moment, moment - LONGEST, 12) for moment in moments
    ]
    assert all(len(of) == 2 for of in found.values())


def test_traffic_at_many_moments_is_that_at_each_also_after_the_clocks_went_forward(lake: Lake) -> None:
    window = timedelta(hours=1)
    found = watching_past.traffic_at(lake, MOMENTS, window, "Europe/London")
    for moment in MOMENTS[::9]:
        assert found[moment] == watching.traffic_now(lake, moment - window, moment, "Europe/London")
    assert any(one.before[0] for of in found.values() for one in of)


def test_feeds_at_many_moments_are_those_at_each(lake: Lake) -> None:
    limits = FeedLimits(weeks=8, least_weeks=3)
    found = feed_hours_at(lake, MOMENTS, limits)
    assert [found[moment] for moment in MOMENTS] == [feed_hours(lake, moment, limits) for moment in MOMENTS]
    assert all(found.values())


def test_a_replay_that_asks_at_once_finds_what_one_finds_that_asks_step_by_step(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, end = round(S) * NS, round(S + 3_600) * NS
    found = list(replayed(Sampler(lake, lambda: None, None), DEFAULTS, begin, end, 60))
    monkeypatch.setattr(Sampler, "ahead", lambda *_: None)
    assert list(replayed(Sampler(lake, lambda: None, None), DEFAULTS, begin, end, 60)) == found
    assert {one.rule for one in found} >= {"packet_loss", "trunk_failures"}


def test_a_past_that_is_put_down_is_history_and_the_loop_goes_on_from_it(tmp_path: Path) -> None:
    lake = Lake.open(tmp_path / "store", create=True)
    dead = [
        {**call(n, S + 60 * n, seconds=None, state="failed", status=503), "called": f"0{n}", "to_address": "192.0.2.9"}
        for n in range(20)
    ]
    fine = [{**call(n, S + 60 * n), "called": f"0{n}", "to_address": "192.0.2.9"} for n in range(100, 160)]
    rules = [rule for rule in DEFAULTS if rule.kind is Kind.TRUNK_FAILURES]
    append(lake, "calls", dead, "dead")
    sampler, states = Sampler(lake, lambda: None, None), dict[Any, Seen]()
    first = list(replayed(sampler, rules, round(S) * NS, round(S + 1_800) * NS, 60, states))
    # A second span goes on from the first, with nothing between them.
    more = list(replayed(sampler, rules, round(S + 3_600) * NS, round(S + 5_400) * NS, 60, states))
    assert [one.state.phase for one in (*first, *more)] == [Phase.FIRING]
    now = round(S + 5_400) * NS
    with closing(Book.open(lake.root)) as book:
        assert keep_past(book, [*more, *first], states, now) == 1
        with pytest.raises(BookError, match="a history already"):
            keep_past(book, first, states, now)
        append(lake, "calls", fine, "fine")
        loop = Alerting(book, Sampler(lake, lambda: None, None), Watch(tuple(rules), timing=Timing(0, 0, 0)), now)
        for minute in range(90, 180):
            loop.step(round(S + 60 * minute) * NS)
        loop.store_history(lake)
        begin = BEGIN - timedelta(hours=1)
        told = alert_history(lake, begin, begin + timedelta(days=1))
    assert [one.state for one in reversed(told)] == ["firing", "recovering", "normal"]
    assert told[-1].at == datetime.fromtimestamp(first[0].at / NS, UTC)
    lake.close()


def test_moments_are_asked_in_order_of_time(lake: Lake, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="order of time"):
        watching_past.heard_at(lake, MOMENTS[::-1], WINDOW)
    empty = Lake.open(tmp_path / "store", create=True)
    assert not any(one.sites for one in watching_past.heard_at(empty, MOMENTS, WINDOW).values())
    assert not any(feed_hours_at(empty, MOMENTS, FeedLimits()).values())
    empty.close()


def rounded(heard: watching.HeardNow) -> list[tuple[Any, ...]]:
    """Means that are added up in another order differ in the last digit."""
    return [
        tuple(round(value, 9) if isinstance(value, float) else value for value in one)
        for of in (heard.sites, heard.pairs)
        for one in of
    ]
