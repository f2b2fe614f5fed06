"""Rules from a file, silences, maintenance windows and groups."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.alerts.facts import NS, Alert, Comparison, Kind, Matcher, Phase, Sample, State, labelled
from analytics.alerts.grouping import Timing, Told, decide, group_labels
from analytics.alerts.muting import Maintenance, Silence, doubtful_sites, maintenance_of, muted_by
from analytics.alerts.rules import DEFAULTS, RuleError, rules_of
from analytics.alerts.wording import link
from analytics.proportion import wilson
from analytics.questions.words import parse_words


def toml(text: str) -> Any:
    return tomllib.loads(text)


def moment(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp()) * NS


def alert(rule: str = "site_degraded", *, covers: tuple[str, ...] = (), **labels: str) -> Alert:
    found = next(one for one in DEFAULTS if one.name == rule)
    sample = Sample(labelled(labels), 0, 600 * NS, 9, 20, covers=covers)
    return Alert(found, sample, State(Phase.FIRING, 0, 0, found.digest), "why")


def test_every_kind_has_a_default_rule_that_can_be_used() -> None:
    assert {rule.kind for rule in DEFAULTS} == set(Kind)
    assert rules_of({}) == DEFAULTS


def test_the_defaults_can_raise_and_clear_with_their_minimum_of_calls() -> None:
    for rule in DEFAULTS:
        if rule.test is Comparison.SHARE:
            assert wilson(rule.minimum, rule.minimum).low > rule.raise_at
            assert wilson(0, rule.minimum).high < rule.clear_at


def test_a_file_changes_rules_and_adds_others() -> None:
    stated = toml("""
        [jitter]
        enabled = false
        [york_degraded]
        like = "site_degraded"
        raise_at = 0.3
        minimum = 50
        only = { site = ["york", "york-*"] }
    """)
    rules = {rule.name: rule for rule in rules_of(stated)}
    assert len(rules) == len(DEFAULTS) + 1
    assert not rules["jitter"].enabled
    added = rules["york_degraded"]
    assert (added.kind, added.raise_at, added.minimum) == (Kind.SITE_POOR, 0.3, 50)
    assert added.only == (("site", ("york", "york-*")),)
    assert rules["site_degraded"] == DEFAULTS[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[other]\nraise_at = 1", "there is no rule 'other'"),
        ("[jitter]\nlevel = 1", "there is no setting level"),
        ("[jitter]\nraise_at = 'high'", "raise_at must be a number"),
        ("[jitter]\nraise_at = true", "raise_at must be a number"),
        ("[jitter]\nenabled = 1", "enabled must be true or false"),
        ("[jitter]\nseverity = 'loud'", "severity must be one of"),
        ("[jitter]\nclear_at = 40", "clear_at must not be over raise_at"),
        ("[no_traffic]\nclear_at = 1", "clear_at must not be under raise_at"),
        ("[site_degraded]\nminimum = 5", "it would never clear"),
        ("[site_degraded]\nclear_at = 0.5", "both could hold at once"),
        ("[jitter]\nwindow_s = 0", "window_s lies within"),
        ("[site_degraded]\nlongest_s = 60", "longest_s is 0, or lies within"),
        ("[jitter]\nfor_s = -1", "must not be negative"),
        ("[jitter]\nonly = 'york'", "must name labels"),
        ("[jitter]\nonly = { site = 3 }", "site must be a text"),
        ("jitter = 3", "must be a table"),
    ],
)
def test_a_rule_that_cannot_work_is_refused_by_name(text: str, said: str) -> None:
    with pytest.raises(RuleError, match=said):
        rules_of(toml(text))


def test_a_matcher_of_a_site_fits_both_ends_of_a_pair() -> None:
    matcher = Matcher((("site", ("york",)),))
    assert matcher.fits({"site": "york", "severity": "critical"})
    assert matcher.fits({"from_site": "hull", "to_site": "york"})
    assert not matcher.fits({"site": "yorkshire"})
    assert Matcher((("site", ("york*",)),)).fits({"site": "yorkshire"})
    assert not Matcher((("site", ("york",)), ("direction", ("to",)))).fits({"site": "york", "direction": "from"})
    assert Matcher().fits({})


def test_a_silence_holds_for_its_time_only() -> None:
    silence = Silence(1, Matcher((("site", ("york",)),)), 10, 20, "ann", "works")
    for now, muted in ((9, False), (10, True), (19, True), (20, False)):
        assert bool(muted_by(alert(site="york"), now, [silence], [], ())) is muted
    assert muted_by(alert(site="york"), 15, [silence], [], ()) == "silenced by ann: works"
    silence = replace(silence, comment="")
    assert muted_by(alert(site="york"), 15, [silence], [], ()) == "silenced by ann, who gave no reason"
    assert not muted_by(alert(site="hull"), 15, [silence], [], ())


def test_an_unhealthy_capture_mutes_what_rests_on_its_packets() -> None:
    doubtful = doubtful_sites([alert("capture_unhealthy", collector="york-1", covers=("york",))])
    assert doubtful == {"york"}
    assert muted_by(alert(site="york"), 0, [], [], doubtful) == "the capture of york is unhealthy"
    assert muted_by(alert("site_pair_degraded", from_site="hull", to_site="york"), 0, [], [], doubtful)
    assert not muted_by(alert(site="hull"), 0, [], [], doubtful)
    assert not muted_by(alert("cost_out_of_line", site="york", measure="premium"), 0, [], [], doubtful)
    assert not muted_by(alert("capture_unhealthy", collector="york-1"), 0, [], [], doubtful)


def windows(text: str) -> tuple[Maintenance, ...]:
    return maintenance_of(toml(text), "Europe/London")


def test_a_maintenance_window_keeps_its_local_time_over_the_change_to_summer() -> None:
    (window,) = windows('[backup]\ndays = ["sun"]\nfrom = 01:30:00\nto = "04:00"')
    # Sunday 29 March 2026: 01:00 to 02:00 does not exist in London; 30 November 2025 is in winter, 5 July in summer.
    for text, holds in (
        ("2025-11-30T01:29:59+00:00", False),
        ("2025-11-30T01:30:00+00:00", True),
        ("2025-11-30T03:59:59+00:00", True),
        ("2025-11-30T04:00:00+00:00", False),
        ("2026-07-05T00:30:00+00:00", True),
        ("2026-07-05T03:00:00+00:00", False),
        ("2026-03-29T02:30:00+00:00", True),
        ("2026-03-29T03:00:00+00:00", False),
        ("2025-12-01T02:00:00+00:00", False),
    ):
        assert window.holds(moment(text)) is holds, text


def test_a_maintenance_window_may_pass_midnight_and_an_hour_that_comes_twice_is_in_it_twice() -> None:
    (window,) = windows('[night]\ndays = ["sat"]\nfrom = "22:00"\nto = "02:00"\nlabels = { site = "york" }')
    # The clocks go back on Sunday 26 October 2025 at 02:00 summer time.
    for text, holds in (
        ("2025-10-25T20:59:00+00:00", False),
        ("2025-10-25T21:00:00+00:00", True),
        ("2025-10-26T00:30:00+00:00", True),
        ("2025-10-26T01:30:00+00:00", True),
        ("2025-10-26T02:00:00+00:00", False),
        ("2025-10-26T22:30:00+00:00", False),
    ):
        assert window.holds(moment(text)) is holds, text
    at = moment("2025-10-25T22:00:00+00:00")
    assert muted_by(alert(site="york"), at, [], [window], ()) == "maintenance night"
    assert not muted_by(alert(site="hull"), at, [], [window], ())


def test_a_maintenance_window_may_end_for_good() -> None:
    (window,) = windows('[move]\nfrom = "00:00"\nto = "00:00"\nfirst = 2026-01-05\nlast = "2026-01-06"')
    for day, holds in ((4, False), (5, True), (6, True), (7, False)):
        assert window.holds(round(datetime(2026, 1, day, 12, tzinfo=UTC).timestamp()) * NS) is holds


@pytest.mark.parametrize(
    "text",
    ["from = '1'\nto = '02:00'", "from = '01:00'", "from = '01:00'\nto = '02:00'\nzone = 'York'",
     "from = '01:00'\nto = '02:00'\ndays = ['sunday']", "from = '01:00'\nto = '02:00'\nevery = 'week'",
     "from = '01:00'\nto = '02:00'\nfirst = 'soon'"],
)  # fmt: skip
def test_a_window_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(RuleError, match="maintenance w"):
        windows(f"[w]\n{text}")


TIMING = Timing(group_wait_s=5, group_interval_s=300, repeat_interval_s=14_400)
A, B = frozenset({"a@1"}), frozenset({"b@1"})


def at(seconds: float) -> int:
    return round(seconds * NS)


def test_a_group_waits_then_is_told_and_told_of_its_end() -> None:
    first = decide(at(0), None, A, A, TIMING)
    assert (first.reason, first.told) == ("", Told(0))
    assert decide(at(4), first.told, A, A, TIMING).reason == ""
    told = decide(at(5), first.told, A | B, A | B, TIMING)
    assert (told.reason, told.told) == ("first", Told(0, at(5), A | B))
    over = decide(at(305), told.told, A, A, TIMING)
    assert (over.reason, over.resolved, over.told) == ("resolved", B, Told(0, at(305), A))
    end = decide(at(605), over.told, frozenset(), frozenset(), TIMING)
    assert (end.reason, end.resolved, end.told) == ("resolved", A, None)


def test_what_ends_before_it_was_told_is_never_told() -> None:
    assert decide(at(4), Told(0), frozenset(), frozenset(), TIMING).told is None


def test_an_alert_that_holds_is_told_again_unless_it_is_acknowledged() -> None:
    told = Told(0, at(5), A)
    assert decide(at(14_404), told, A, A, TIMING).reason == ""
    assert decide(at(14_405), told, A, A, TIMING).reason == "repeat"
    assert decide(at(14_405), told, A, A, TIMING, acknowledged=A).reason == ""
    assert decide(at(14_405), told, A | B, A | B, TIMING, acknowledged=A).reason == "more"


def test_a_silence_keeps_news_back_but_not_the_end_of_what_was_told() -> None:
    told = Told(0, at(5), A)
    muted = decide(at(400), told, frozenset(), A, TIMING)
    assert (muted.reason, muted.told) == ("", told)
    assert decide(at(500), told, frozenset(), frozenset(), TIMING).reason == "resolved"


@given(st.lists(st.tuples(st.integers(1, 200), st.sets(st.sampled_from("abc")), st.sets(st.sampled_from("abc")))))
def test_everybody_hears_the_end_of_exactly_what_they_heard_begin(steps: list[tuple[int, set[str], set[str]]]) -> None:
    # Occurrences begin and end at will and are muted at will; each told as firing is told as resolved once.
    now, told, numbers, before = 0, None, dict.fromkeys("abc", 0), set[str]()
    heard: set[str] = set()
    for seconds, active, muted in [*steps, (1_000, set[str](), set[str]()), (1_000, set[str](), set[str]())]:
        now += at(seconds)
        for name in active - before:
            numbers[name] += 1
        before = active
        names = frozenset(f"{name}@{numbers[name]}" for name in active)
        loud = frozenset(f"{name}@{numbers[name]}" for name in active - muted)
        decision = decide(now, told, loud, names, TIMING)
        assert decision.resolved <= heard
        heard -= decision.resolved
        if decision.reason in ("first", "more", "repeat"):
            heard |= loud
        if decision.reason:
            assert told is None or told.at is None or now - told.at >= at(300)
        told = decision.told
        assert (told.firing if told is not None else frozenset()) == heard
    assert not heard


def test_both_directions_of_a_site_are_one_group_and_pairs_are_their_own() -> None:
    assert group_labels(alert(site="york", direction="to")) == group_labels(alert(site="york", direction="from"))
    pair = alert("site_pair_degraded", from_site="hull", to_site="york")
    assert dict(group_labels(pair)) == {"alertname": "site_pair_degraded", "from_site": "hull", "to_site": "york"}


def test_the_words_of_a_link_choose_calls_and_streams() -> None:
    labels = {"site": "north gate", "direction": "from", "from_site": "hull", "to_site": "york"}
    for rule in DEFAULTS:
        address = urlsplit(link(rule, Sample(labelled(labels), 0, 600 * NS, 1, 20), "https://calls.example/app/"))
        asked = parse_qs(address.query)
        assert asked["since"] == ["1970-01-01T00:00:00Z"]
        assert asked["until"] == ["1970-01-01T00:10:00Z"]
        assert address.path.startswith("/app/")
        assert "{" not in address.path
        if "q" in asked:
            assert parse_words(asked["q"][0])
