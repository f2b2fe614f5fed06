"""What alerts ask of the store, held against plain counting; and the rules replayed over history."""

from __future__ import annotations

import math
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from alert_facts import NS, append, call, interval, stream
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lake_rows import rows as filled
from records_made import record, records

from analytics.alerts import sampling
from analytics.alerts.facts import Kind, Phase, Sample
from analytics.alerts.rules import DEFAULTS
from analytics.alerts.sampling import Span
from analytics.alerts.states import Side, judge
from analytics.cost.money import to_atoms
from analytics.feeds import FeedState
from analytics.questions.alerts import alert_history
from analytics.questions.watching import (
    LEAST_PACKETS,
    day_cost,
    ended_calls,
    gateways_now,
    heard_last,
    heard_now,
    sources_of_sites,
    traffic_now,
)
from analytics.sites import Estate, EstateSettings
from analytics.store.arrow_rows import arrow_table
from analytics.store.lake import Lake
from analytics.store.schema import SITE_MINUTES
from analytics.store.site_minutes import append_minutes
from api.alerts.history import replayed
from api.alerts.sampler import HISTORIC, SampleError, Sampler

BEGIN = datetime(2026, 1, 5, 10, tzinfo=UTC)
"""A Monday, winter time."""
S = BEGIN.timestamp()


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.open(tmp_path / "store", create=True)


def slow_heard(rows: list[dict[str, Any]]) -> dict[tuple[str, str], tuple[int, int, int, int]]:
    """Rated, poor, expected and lost by site and direction, counted stream by stream."""
    streams: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        if S <= row["start"] / 1e6 < S + 600:
            streams[row["stream_key"], row["source"], row["site"], row["other_site"]].append(row)
    found: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for (_, _, site, other), of in streams.items():
        expected = sum(row["expected"] for row in of)
        if expected < LEAST_PACKETS:
            continue
        rated = [row for row in of if row["mos"] is not None]
        weight = sum(row["expected"] for row in rated)
        mos = sum(row["mos"] * row["expected"] for row in rated) / weight if weight else None
        for end, direction in ((site, "from"), (other, "to")):
            if end is not None:
                one = found[end, direction]
                one[0] += mos is not None
                one[1] += mos is not None and mos < 3.6
                one[2] += expected
                one[3] += max(0, sum(row["lost"] for row in of))
    return {key: (one[0], one[1], one[2], one[3]) for key, one in found.items()}


SITES = st.sampled_from([None, "york", "hull", "whitby"])
ROWS = st.lists(
    st.builds(
        interval,
        key=st.integers(1, 12),
        start_s=st.integers(-20, 620).map(lambda at: S + at),
        site=SITES,
        other=SITES,
        mos=st.one_of(st.none(), st.sampled_from([1.0, 3.0, 3.5, 4.0, 4.4])),
        lost=st.integers(-3, 40),
        expected=st.integers(0, 500),
        source=st.sampled_from(["york-1", "hull-1"]),
    ),
    min_size=1,
    max_size=40,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ROWS)
def test_streams_of_a_span_are_counted_as_by_hand(tmp_path_factory: pytest.TempPathFactory, rows: list[Any]) -> None:
    lake = Lake.open(tmp_path_factory.mktemp("heard") / "store", create=True)
    append(lake, "intervals", rows, "rows")
    found = heard_now(lake, BEGIN, BEGIN + timedelta(minutes=10))
    counted = {(one.site, one.direction): (one.rated, one.poor, one.expected, one.lost) for one in found.sites}
    assert counted == slow_heard(rows)
    lake.close()


def test_pairs_are_of_two_sites_and_by_direction(lake: Lake) -> None:
    rows = [interval(n, S, site="hull", other="york", mos=2.0) for n in range(3)]
    rows += [interval(10, S, site="york", other="hull", mos=4.3), interval(11, S, site="york", other="york", mos=4.3)]
    append(lake, "intervals", rows, "rows")
    pairs = heard_now(lake, BEGIN, BEGIN + timedelta(minutes=1)).pairs
    assert [(one.from_site, one.to_site, one.rated, one.poor) for one in pairs] == [
        ("hull", "york", 3, 3), ("york", "hull", 1, 0),
    ]  # fmt: skip


def test_where_there_are_no_intervals_whole_streams_tell(lake: Lake) -> None:
    rows = [stream(n, None, S - 30 + n, "192.0.2.1:4000", mos=2.0 if n < 4 else 4.3) for n in range(10)]
    append(lake, "streams", rows, "rows")
    found = heard_now(lake, BEGIN, BEGIN + timedelta(minutes=10))
    # Those that ended within the span: each lasts a minute.
    assert [(one.site, one.direction, one.rated, one.poor) for one in found.sites] == [
        ("hull", "to", 10, 4), ("york", "from", 10, 4),
    ]  # fmt: skip
    assert heard_now(lake, BEGIN + timedelta(hours=1), BEGIN + timedelta(hours=2)).sites == ()


def test_of_a_quiet_site_the_newest_calls_of_a_day_count(lake: Lake) -> None:
    # One call an hour, poor from the 13th on; a stream without MOS and one that is too short count for nothing.
    rows = [stream(n, None, S + 3_600 * n, "192.0.2.1:4000", mos=4.3 if n < 12 else 2.0) for n in range(22)]
    rows += [stream(50, None, S + 3_600, "192.0.2.1:4000", mos=None), stream(51, None, S, "192.0.2.1:4000", expected=9)]
    append(lake, "streams", rows, "rows")
    end = BEGIN + timedelta(hours=22)
    found = heard_last(lake, end - timedelta(days=1), end, 20)
    assert [(one.site, one.direction, one.rated, one.poor) for one in found.sites] == [
        ("hull", "to", 20, 10), ("york", "from", 20, 10),
    ]  # fmt: skip
    assert [(one.from_site, one.to_site, one.rated, one.poor) for one in found.pairs] == [("york", "hull", 20, 10)]
    # The oldest of the twenty is the third call, which ended a minute after it began.
    assert found.sites[0].since == BEGIN + timedelta(hours=2, minutes=1)
    assert heard_last(lake, end - timedelta(days=1), end, 23) == ((), ())
    sampler = Sampler(lake, lambda: None, None)
    (hull, york) = sampler.samples(DEFAULTS[0], round(end.timestamp()) * NS)
    assert judge(DEFAULTS[0], hull).side is Side.RAISED
    assert "10 of 20 calls" in judge(DEFAULTS[0], york).reason
    assert hull.since == round((S + 7_260) * NS)


def test_a_quiet_site_is_poor_by_the_newest_ten_calls_and_good_only_by_twenty(lake: Lake) -> None:
    # A call every ten minutes: good ones, then from the 25th on every second one poor, then good again.
    poor = [25 <= n < 40 and n % 2 == 1 for n in range(80)]
    rows = [stream(n, None, S + 600 * n, "192.0.2.1:4000", mos=2.0 if bad else 4.3) for n, bad in enumerate(poor)]
    append(lake, "streams", rows, "rows")
    begin = round(S) * NS
    sampler = Sampler(lake, lambda: None, None)
    found = [one for one in replayed(sampler, [DEFAULTS[0]], begin, begin + 80 * 600 * NS, 60)
             if dict(one.labels)["site"] == "hull"]  # fmt: skip
    assert [one.state.phase for one in found] == [Phase.FIRING, Phase.RECOVERING, Phase.NORMAL]
    # 25, 27, 29, 31 and 33 are five of the newest ten (lower bound 23.7 %), and eight of twenty only with 39.
    assert found[0].reason.startswith("5 of 10 calls (50 %), 95 % interval 23.7 to ")
    assert (found[0].at - begin) / NS == 600 * 33 + 120
    # The newest poor one is 39: none of twenty is poor when 59 has ended.
    assert found[1].reason.startswith("0 of 20 calls")
    assert (found[1].at - begin) / NS == 600 * 59 + 120


def test_what_stands_in_does_so_only_where_there_is_too_little() -> None:
    def sample(site: str, of: float) -> Sample:
        return Sample((("site", site),), 0, 1, 1, of)

    now = [sample("busy", 30), sample("quiet", 3), sample("silent", 2)]
    instead = [sample("busy", 20), sample("quiet", 20), sample("other", 20)]
    found = {dict(one.labels)["site"]: one.denominator for one in sampling.enough(now, instead, 20)}
    assert found == {"busy": 30, "quiet": 20, "silent": 2, "other": 20}


def test_a_set_up_fails_by_the_network_and_not_by_a_busy_user(lake: Lake) -> None:
    failures = [
        (503, "failed"),
        (500, "failed"),
        (486, "failed"),
        (404, "failed"),
        (480, "unanswered"),
        (487, "cancelled"),
    ]
    rows = [call(n, S, seconds=None, state=state, status=status) for n, (status, state) in enumerate(failures)]
    rows += [call(20, S), call(21, S - 30), call(22, S + 3_000), call(23, S, state="in progress")]
    append(lake, "calls", rows, "rows")
    (york,) = ended_calls(lake, BEGIN, BEGIN + timedelta(minutes=10))
    assert (york.attempts, york.failed) == (8, 2)


def tried(key: int, at: float, status: int | None = 200, state: str = "completed", **changed: Any) -> dict[str, Any]:
    """A call to a number of its own through a gateway."""
    made = call(key, S + at, seconds=60.0 if status == 200 else None, state=state, status=status)
    return {**made, "called": f"0{key}", "to_address": "192.0.2.9", "pdd_ms": None, **changed}


def test_a_trunk_that_is_dead_is_found_whatever_sites_call_through_it(lake: Lake) -> None:
    # Each call from another site, two minutes apart: of no site there would ever be enough.
    good = [{**tried(n, 120 * n), "site": f"s{n}"} for n in range(20)]
    dead = [{**tried(n, 120 * n, 503, "failed"), "site": f"s{n}"} for n in range(20, 40)]
    other = [{**tried(n, 120 * n), "to_address": "192.0.2.10", "site": f"s{n}"} for n in range(50, 70)]
    append(lake, "calls", [*good, *dead, *other], "rows")
    (rule,) = [one for one in DEFAULTS if one.kind is Kind.TRUNK_FAILURES]
    found = list(replayed(Sampler(lake, lambda: None, None), [rule], round(S) * NS, round(S + 9_000) * NS, 60))
    assert [(one.labels, one.state.phase) for one in found] == [((("gateway", "192.0.2.9"),), Phase.FIRING)]
    # 6 of 12 have a lower bound of 25.4 %: the sixth failure, 50 min in, which ended 10 s later.
    assert found[0].at == round(S + 51 * 60) * NS
    assert found[0].reason.startswith("6 of 12 numbers called through 192.0.2.9 (50 %), 95 % interval 25.4 to ")


def test_what_fails_through_a_gateway_is_the_network_and_each_number_counts_once(lake: Lake) -> None:
    redialled = [{**tried(n, n, 503, "failed"), "called": "0999"} for n in range(100, 130)]
    fine = [tried(1, 500), tried(2, 501, 486, "failed"), tried(3, 502, 404, "failed")]
    silent = [tried(4, 503, None, "unanswered"), tried(5, 504, 408, "unanswered")]
    rang = [tried(6, 505, None, "unanswered", pdd_ms=900.0), tried(7, 506, 480, "unanswered")]
    going = [tried(8, 507, state="in progress", end=None), tried(9, 508, None, "in progress", end=None)]
    append(lake, "calls", [*redialled, *fine, *silent, *rang, *going], "rows")
    begin, end = BEGIN, BEGIN + timedelta(minutes=10)
    ((address, numbers, failed, since),) = gateways_now(lake, begin, end, begin, 12)
    assert (address, numbers, failed, since) == ("192.0.2.9", 9, 3, BEGIN + timedelta(seconds=129))
    # Without any in the span, the newest of longer ago count.
    later = gateways_now(lake, end, end + timedelta(minutes=10), begin, 3)
    assert [(one.numbers, one.failed) for one in later] == [(3, 0)]
    # A telephone is called under one number or two.
    assert gateways_now(lake, end, end + timedelta(minutes=10), begin, 2) == ()


def test_the_alert_of_a_gateway_that_nobody_uses_any_more_ends(lake: Lake) -> None:
    append(lake, "calls", [tried(n, n, 503, "failed") for n in range(20)], "rows")
    (rule,) = [one for one in DEFAULTS if one.kind is Kind.TRUNK_FAILURES]
    end = S + rule.longest_s + 7_200
    found = list(replayed(Sampler(lake, lambda: None, None), [rule], round(S) * NS, round(end) * NS, 3_600))
    assert [one.state.phase for one in found] == [Phase.FIRING, Phase.NORMAL]
    assert found[-1].reason == "nobody calls through it any more"


def test_audio_in_one_direction_is_of_both_sites_of_an_answered_call(lake: Lake) -> None:
    calls = [call(n, S, other="hull") for n in range(1, 5)] + [call(5, S, seconds=3.0), call(6, S)]
    append(lake, "calls", calls, "calls")
    a, b = "192.0.2.1:4000", "192.0.2.2:4000"
    streams = [stream(10, 1, S, a), stream(11, 1, S, b), stream(20, 2, S, a), stream(21, 2, S, "192.0.2.1:4002")]
    streams += [stream(30, 3, S, a), stream(31, 3, S, b, expected=LEAST_PACKETS - 1), stream(50, 5, S, a)]
    append(lake, "streams", streams, "streams")
    found = {one.site: one for one in ended_calls(lake, BEGIN, BEGIN + timedelta(minutes=10))}
    # Of 1 both are heard; of 2 and 3 one host alone; of 4 and 6 nothing; 5 was too short.
    assert (found["york"].with_media, found["york"].one_way) == (3, 2)
    assert (found["hull"].with_media, found["hull"].one_way) == (3, 2)
    assert found["hull"].attempts == 0


def minutes(lake: Lake, begin: datetime, site: str, calls: int, batch: str) -> None:
    empty = {
        column.name: 0 for column in SITE_MINUTES.columns if not column.missing and column.name not in {"month", "step"}
    }
    row = {**empty, "site": site, "start": round(begin.timestamp() * 1e6), "calls": calls, "mos_min": None}
    table = arrow_table(SITE_MINUTES, [row]).drop_columns(["month", "step"])
    append_minutes(lake, table, batch=batch)


def test_traffic_is_compared_with_the_same_local_hour_of_the_weeks_before(lake: Lake) -> None:
    # 7 April 2025 10:00 in London is 09:00 UTC; four weeks before it was winter, and 10:00 UTC.
    now = datetime(2025, 4, 7, 9, tzinfo=UTC)
    for back, utc_hour in ((1, 9), (2, 10), (3, 10), (4, 10)):
        day = now - timedelta(weeks=back)
        minutes(lake, day.replace(hour=utc_hour, minute=30), "york", 10 + back, f"{back}")
        minutes(lake, day.replace(hour=utc_hour, minute=59), "hull", 1, f"hull {back}")
        minutes(lake, day.replace(hour=(utc_hour + 3) % 24), "york", 500, f"other {back}")
    minutes(lake, now.replace(minute=15), "york", 2, "now")
    append(lake, "intervals", [interval(1, now.timestamp() + 60, site="york", other=None, mos=4.0)], "i")
    found = {one.site: one for one in traffic_now(lake, now, now + timedelta(hours=1), "Europe/London")}
    assert found["york"].seen == 3
    assert found["york"].before == (11, 12, 13, 14, None, None, None, None)
    assert (found["hull"].seen, found["hull"].before[:4]) == (0, (1, 1, 1, 1))


def test_no_traffic_says_nothing_where_there_was_not_always_some(lake: Lake) -> None:
    now = BEGIN
    for back in range(1, 6):
        minutes(lake, now - timedelta(weeks=back), "york", 40, f"york {back}")
        if back != 3:
            minutes(lake, now - timedelta(weeks=back), "hull", 40, f"hull {back}")
    found = traffic_now(lake, now, now + timedelta(hours=1), "Europe/London")
    span = Span(0, 1)
    york, hull = sorted(sampling.no_traffic(found, span, holiday=False), key=lambda one: one.labels, reverse=True)
    assert (york.numerator, york.denominator, york.value) == (0, 40, 0.0)
    assert (hull.numerator, hull.note) == (None, "at this hour of the week there were not always calls")
    assert all(one.numerator is None for one in sampling.no_traffic(found, span, holiday=True))
    few = [one._replace(before=one.before[:3]) for one in found]
    assert all("weeks of the past" in one.note for one in sampling.no_traffic(few, span, holiday=False))


FEED_SILENT: Final = next(rule for rule in DEFAULTS if rule.kind is Kind.FEED_SILENT)


def ended_calls_of(lake: Lake, system: str, moments: list[datetime]) -> None:
    rows = [
        record(number, number, (1, 2), round(at.timestamp()), None, "1", "2", system=system)
        for number, at in enumerate(moments)
    ]
    lake.append("cdr_rows", records(*rows), batch=system)


def feed_samples(lake: Lake, at: datetime) -> dict[str, Sample]:
    found = Sampler(lake, lambda: None, None).samples(FEED_SILENT, round(at.timestamp()) * NS)
    return {dict(one.labels)["feed"]: one for one in found}


def test_a_feed_is_silent_by_what_is_usual_at_this_weekday_and_hour(lake: Lake) -> None:
    """Twelve calls an hour from 8 to 18 o'clock (UTC, by the zone of Britain in winter): of one exchange till 10."""
    days = [BEGIN.replace(hour=0, minute=0, day=1, month=2) - timedelta(days=back) for back in range(71)]
    calls = [day + timedelta(hours=8, minutes=5 * step) for day in days for step in range(120)]
    ended_calls_of(lake, "Cluster1", [at for at in calls if at <= days[0] + timedelta(hours=10)])
    ended_calls_of(lake, "Cluster2", calls)
    found = feed_samples(lake, days[0] + timedelta(hours=11))
    # An hour less a quarter of grace, at 12 an hour; each week was so with a chance of e^(-9/2).
    stopped = found["cucm Cluster1"]
    assert (stopped.numerator, stopped.denominator) == (3600.0, 8.0)
    assert stopped.value == pytest.approx(100 * (1 - math.exp(-4.5)), abs=0.1)
    assert dict(stopped.values)["expected"] == pytest.approx(9, abs=0.5)
    assert (found["cucm Cluster2"].value or 0) < FEED_SILENT.clear_at
    later = feed_samples(lake, days[0] + timedelta(hours=12))
    assert (later["cucm Cluster1"].value or 0) > FEED_SILENT.raise_at
    # By night both are silent, as always.
    before = feed_samples(lake, days[0] + timedelta(hours=5))
    assert all((one.value or 0) < FEED_SILENT.clear_at for one in before.values())


def test_a_feed_of_two_weeks_says_nothing_and_a_store_without_records_has_none(lake: Lake) -> None:
    ended_calls_of(lake, "Cluster1", [BEGIN - timedelta(minutes=10 * step) for step in range(60, 2000)])
    (sample,) = feed_samples(lake, BEGIN).values()
    assert (sample.value, sample.note) == (None, "too little is known of the weeks before")
    assert feed_samples(Lake.open(lake.root.parent / "empty", create=True), BEGIN) == {}


def test_a_silent_exchange_speaks_for_its_sites() -> None:
    exchange = FeedState("records", "cucm", "C1", 0, 7200.0, 20.0, 8, 0, 0.999, "silent")
    site = FeedState("site", "", "hull", 0, 7200.0, 20.0, 8, 0, 0.999, "silent")
    heard = FeedState("site", "", "york", 0, 60.0, 0.1, 8, 0, 0.04, "heard")
    holiday = FeedState("records", "asterisk", "pbx", 0, 7200.0, None, 0, 0, 0.0, "holiday")
    found = {dict(one.labels)["feed"]: one for one in sampling.feed_silent([exchange, site, heard, holiday], 7200 * NS)}
    assert (found["cucm C1"].value, found["site hull"].value, found["site york"].value) == (99.9, None, 4.0)
    assert dict(found["site hull"].labels)["site"] == "hull"
    assert found["asterisk pbx"].note == "a public holiday is like no other day"
    (alone,) = sampling.feed_silent([site], 7200 * NS)
    assert alone.value == 99.9


def test_only_a_collector_that_alone_measures_a_site_puts_it_in_doubt(lake: Lake) -> None:
    rows = [
        interval(1, S, site="york", other=None, mos=4.0),
        interval(2, S, site="hull", other="york", mos=4.0, source="hull-1"),
    ]
    append(lake, "intervals", rows, "rows")
    assert sources_of_sites(lake, BEGIN, BEGIN + timedelta(days=1)) == {"hull-1": {"hull"}}


def test_the_cost_of_a_day_is_in_line_or_not(lake: Lake) -> None:
    estate = Estate(EstateSettings("Test", timezone="UTC"))
    day = date(2026, 1, 5)
    fixed = {"kind": "outbound", "excluded": None, "number_class": "international", "site": "york", "month": 202601}
    for back in range(12):
        at = datetime(2026, 1, 5, 10, tzinfo=UTC) - timedelta(weeks=back)
        seconds = 60_000 if back == 0 else 600 + 60 * (back % 3)
        row = filled("usage", [1], begin=at, start=at, seconds=seconds, ip_cost=to_atoms(1), **fixed)  # type: ignore[arg-type]
        lake.append("usage", row, batch=f"{back}")
    span = Span(0, 1)
    found = {dict(one.labels)["measure"]: one for one in sampling.cost(day_cost(lake, estate, [day]), span)}
    worst = found["international minutes"]
    assert (worst.numerator, worst.denominator, worst.value) == (1, 2, 1)
    assert dict(worst.values)["z"] > 6
    assert found["premium-rate cost"].value == 0
    before = list(sampling.cost(day_cost(lake, estate, [day - timedelta(weeks=1)]), span))
    assert all(one.value == 0 for one in before)
    assert list(sampling.cost(day_cost(lake, estate, [day - timedelta(days=1)]), span)) == []


def test_a_day_is_out_of_line_before_it_is_over_and_not_before_it_is(lake: Lake) -> None:
    estate = Estate(EstateSettings("Test", timezone="UTC"))
    fixed = {"kind": "outbound", "excluded": None, "number_class": "premium_09", "site": "york", "month": 202601}
    for back in range(12):
        at = datetime(2026, 1, 3, 2, tzinfo=UTC) - timedelta(weeks=back)
        row = filled("usage", [1], begin=at, start=at, seconds=60, ip_cost=to_atoms(0 if back else 50), **fixed)  # type: ignore[arg-type]
        lake.append("usage", row, batch=f"{back}")
        after = at + timedelta(days=1)
        row = filled("usage", [1], begin=after, start=after, seconds=60, ip_cost=0, **fixed)  # type: ignore[arg-type]
        lake.append("usage", row, batch=f"{back} after")
    (rule,) = [one for one in DEFAULTS if one.kind is Kind.COST]
    sampler = Sampler(lake, lambda: estate, None)
    begin, end = (round(datetime(2026, 1, day, tzinfo=UTC).timestamp()) * NS for day in (2, 6))
    found = list(replayed(sampler, [rule], begin, end, 900))
    # Nights of Saturday: it is told in the hour in which it happens, and holds to the end of the day after.
    assert [(one.state.phase, one.at) for one in found] == [
        (Phase.FIRING, round(datetime(2026, 1, 3, 3, tzinfo=UTC).timestamp()) * NS),
        (Phase.NORMAL, round(datetime(2026, 1, 5, tzinfo=UTC).timestamp()) * NS),
    ]


def test_the_rules_replayed_over_history_find_what_the_loop_would_have_found(lake: Lake) -> None:
    rows = []
    for step in range(180):
        at = S + 10 * step
        poor = 60 <= step < 120
        rows += [
            interval(n + 1_000 * (step // 6), at, site=None, other="york", mos=2.0 if poor else 4.3) for n in range(5)
        ]
    append(lake, "intervals", rows, "rows")
    sampler = Sampler(lake, lambda: None, None)
    rules = [rule for rule in DEFAULTS if rule.kind in (Kind.SITE_POOR, Kind.CAPTURE)]
    begin = round(S) * NS
    changes = list(replayed(sampler, rules, begin, begin + 2_400 * NS, 10))
    phases = [(change.state.phase, (change.at - begin) / NS) for change in changes]
    # Good again from minute 20: at minute 30 the window holds none of the poor, and five minutes later it is over.
    assert phases[1:] == [(Phase.RECOVERING, 1_800), (Phase.NORMAL, 2_100)]
    assert phases[0][0] is Phase.FIRING
    # Poor from minute 10 to 20 of a window of 10 minutes: it fires within it, and not before.
    assert 600 < phases[0][1] < 900
    assert all(change.rule == "site_degraded" for change in changes)


def test_what_has_no_history_is_not_asked_of_the_past() -> None:
    assert set(Kind) - HISTORIC == {Kind.CAPTURE, Kind.SAVINGS, Kind.EVALUATION, Kind.DELIVERY}


def test_samples_are_those_that_a_rule_is_for_and_damage_is_said(lake: Lake) -> None:
    from dataclasses import replace

    rows = [interval(n, S, site=None, other=("york", "hull")[n % 2], mos=2.0) for n in range(4)]
    append(lake, "intervals", rows, "rows")
    rule = replace(DEFAULTS[0], only=(("site", ("hull",)),))
    now = round(S + 60) * NS
    found: list[Sample] = Sampler(lake, lambda: None, None).samples(rule, now)
    assert [dict(one.labels)["site"] for one in found] == ["hull"]
    for file in (lake.root / "intervals").rglob("*.parquet"):
        file.unlink()
    with pytest.raises(SampleError):
        Sampler(lake, lambda: None, None).samples(rule, now)


def test_the_history_is_of_a_span_and_newest_first(lake: Lake) -> None:
    lake.append("alerts", filled("alerts", range(5), begin=BEGIN, rule="jitter", site="york"), batch="a")
    lake.append("alerts", filled("alerts", [7], begin=BEGIN, rule="jitter", site="hull"), batch="b")
    found = alert_history(lake, BEGIN, BEGIN + timedelta(seconds=4))
    assert [one.at for one in found] == [BEGIN + timedelta(seconds=n) for n in (3, 2, 1, 0)]
    assert len(alert_history(lake, BEGIN, BEGIN + timedelta(days=1), site="hull")) == 1
    assert len(alert_history(lake, BEGIN, BEGIN + timedelta(days=1), most=2)) == 2
