"""What is not there any more has no alert: it ends, and whoever was told of it is told so."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest
from alert_facts import NS
from test_alert_loop import BEGIN, DEGRADED, Room, collector, rule

from analytics.alerts.facts import Labels, Phase, Rule, Sample, labelled
from analytics.alerts.rules import DEFAULTS
from analytics.alerts.sampling import Span
from analytics.alerts.subjects import sampled
from analytics.health import ProcessHealth, write_health
from analytics.sites import Estate, EstateSettings, Origin, Site, Validity
from api.alerts import keeping, outbox
from api.alerts.loop import Alerting
from api.alerts.sampler import Sampler

SPAN = Span(BEGIN - 600 * NS, BEGIN)
YORK = labelled({"site": "york", "direction": "to"})


def site(name: str, last: date | None = None) -> Site:
    return Site(name, name.title(), "station", None, "normal", Validity(None, last), Origin("sites.csv", 2))


def estate(*sites: Site) -> Estate:
    return Estate(EstateSettings("Loamshire", timezone="UTC"), sites=sites)


class Estates(Room):
    """A room whose estate may change."""

    now_estate: Estate | None = None

    def begin(self) -> Alerting:
        self.loop = Alerting(self.book, Sampler(self.lake, lambda: self.now_estate, None), self.watch, self.now)
        return self.loop


def test_the_alert_of_a_removed_endpoint_ends_and_the_others_are_told(tmp_path: Path) -> None:
    room = Room(tmp_path, (rule("webhook_failing"),))
    room.endpoint("gone")
    room.endpoint("other")
    with room.book.writing() as connection:
        connection.execute("UPDATE endpoints SET disabled_at = 1, disabled_why = 'it answered 410' WHERE name = 'gone'")
    assert room.step() == 1
    outbox.remove_endpoint(room.book, "gone")
    assert room.step(60) == 1
    assert room.told("other")[1:] == [("resolved", "resolved", ["webhook_failing resolved"])]
    told = json.loads(outbox.messages(room.book, "other")[0].body)["alerts"][0]
    assert told["annotations"]["description"].startswith("the endpoint was removed. ")
    assert told["values"]["numerator"] == 1, "what was measured last is told"
    assert keeping.read_states(room.book) == []
    assert [one.change.state.phase for one in keeping.read_changes(room.book)] == [Phase.NORMAL, Phase.FIRING]


def test_the_alert_of_a_site_that_the_estate_does_not_name_any_more_ends_when_it_is_not_heard(tmp_path: Path) -> None:
    room = Estates(tmp_path)
    room.now_estate = estate(site("york"), site("hull"))
    room.endpoint()
    room.heard(poor=30, good=0)
    assert room.step() == 1
    room.now_estate = estate(site("hull"))
    room.heard(poor=30, good=0)
    room.step()
    assert room.phase() is Phase.FIRING, "what is heard is told, whatever the estate says of it"
    room.step(120)
    assert room.phase() is Phase.NORMAL
    assert room.told()[-1] == ("resolved", "resolved", ["site_degraded resolved"])


def test_a_site_that_closed_yesterday_is_gone_today(tmp_path: Path) -> None:
    room = Estates(tmp_path)
    room.now_estate = estate(site("york", date(2026, 1, 4)), site("hull"))
    room.heard(poor=30, good=0)
    room.step()
    assert room.phase() is Phase.FIRING
    room.step(120)
    assert room.phase() is Phase.NORMAL


def test_without_an_estate_and_with_an_empty_one_a_silent_site_keeps_its_alert(tmp_path: Path) -> None:
    for number, known in enumerate((None, Estate(EstateSettings("")))):
        room = Estates(tmp_path / str(number))
        room.now_estate = known
        room.heard(poor=30, good=0)
        room.step()
        room.step(120)
        assert room.phase() is Phase.NO_DATA


def test_a_collector_that_was_stopped_or_whose_word_was_taken_away_has_no_alert(tmp_path: Path) -> None:
    for number, stopped in enumerate((True, False)):
        room = Room(tmp_path / str(number), (rule("capture_unhealthy", for_s=0),))
        collector(room, 0)
        room.step(60)
        assert room.phase() is Phase.FIRING
        if stopped:
            last = ProcessHealth("host", 1, "collect", "york-1", "0", BEGIN, room.now, 10.0, ended=True)
            write_health(room.lake.root, last)
        else:
            for path in (room.lake.root / "_health").glob("*.json"):
                path.unlink()
        room.step()
        assert room.phase() is Phase.NORMAL
        room.book.close()


@pytest.mark.parametrize("name", ["no_traffic", "cost_out_of_line", "cdr_feed_silent"])
def test_that_nothing_comes_of_a_site_that_is_gone_is_no_news(name: str) -> None:
    of = next(one for one in DEFAULTS if one.name == name)
    labels = labelled({"site": "york"})
    silent = Sample(labels, SPAN.since, SPAN.until, 0.0, 30.0, 0.0)
    assert sampled(of, [silent], [], {"hull"}, SPAN) == {}
    (one,) = sampled(of, [silent], [labels], {"hull"}, SPAN).values()
    assert one.gone == "the estate does not name york any more"


def test_calls_of_before_the_window_do_not_keep_a_site_that_is_gone() -> None:
    older = Sample(YORK, SPAN.since - NS, SPAN.until, 20.0, 20.0)
    assert sampled(DEGRADED, [older], [YORK], {"hull"}, SPAN)[YORK].gone
    assert not sampled(DEGRADED, [older], [YORK], {"york"}, SPAN)[YORK].gone


def test_either_end_of_a_pair_may_be_gone() -> None:
    of = rule("site_pair_degraded")
    pair = labelled({"from_site": "hull", "to_site": "york"})
    assert sampled(of, [], [pair], {"hull"}, SPAN)[pair].gone == "the estate does not name york any more"
    assert not sampled(of, [], [pair], {"hull", "york"}, SPAN)[pair].gone


@pytest.mark.parametrize(
    ("of", "labels", "gone"),
    [
        (rule("site_degraded", only=(("site", ("hull",)),)), YORK, "the rule is not asked of it any more"),
        (rule("cdr_feed_silent"), labelled({"feed": "cucm c1"}), "nothing is known of the feed any more"),
        (rule("jitter"), YORK, ""),
    ],
)
def test_what_is_not_measured_is_gone_only_where_that_is_certain(of: Rule, labels: Labels, gone: str) -> None:
    assert sampled(of, [], [labels], None, SPAN)[labels].gone == gone
    failed = sampled(of, [], [labels], frozenset(), SPAN, problem="the store cannot be read")[labels]
    assert (failed.gone, failed.problem) == ("", "the store cannot be read")
