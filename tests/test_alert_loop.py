"""The loop over a real store: what it decides, what survives it, and what the history says of it."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from alert_facts import NS, append, interval, receiving
from hep_senders import free_port

from analytics.alerts.facts import Kind, Matcher, Phase, Rule
from analytics.alerts.grouping import Timing
from analytics.alerts.muting import maintenance_of
from analytics.alerts.rules import DEFAULTS
from analytics.health import ProcessHealth, StepCounts, write_health
from analytics.store.lake import Lake
from api.alerts import keeping, outbox
from api.alerts.book import Book, BookError
from api.alerts.loop import OVERDUE_S, Alerting, Turn, Watch
from api.alerts.sampler import Sampler

ROOT = Path(__file__).resolve().parents[1]
BEGIN = 1_767_607_200 * NS
"""2026-01-05 10:00 UTC, a Monday."""
TIMING = Timing(group_wait_s=0, group_interval_s=60, repeat_interval_s=3_600)
DEGRADED = replace(DEFAULTS[0], window_s=60, keep_firing_s=30)


def rule(name: str, **changed: Any) -> Rule:
    return replace(next(one for one in DEFAULTS if one.name == name), **changed)


class Room:
    """A store, its book, and a loop that is stepped by hand."""

    def __init__(self, folder: Path, rules: tuple[Rule, ...] = (DEGRADED,), **watch: Any) -> None:
        self.lake = Lake.open(folder / "store", create=True)
        self.book = Book.open(self.lake.root)
        self.watch = Watch(rules, timing=TIMING, **watch)
        self.now = BEGIN
        self.batches = 0
        self.loop = self.begin()

    def begin(self) -> Alerting:
        """A new loop over the same book, as after a restart."""
        self.loop = Alerting(self.book, Sampler(self.lake, lambda: None, None), self.watch, self.now)
        return self.loop

    def heard(self, poor: int, good: int, site: str = "york", source: str = "york-1") -> None:
        """Streams to a site in the last ten seconds."""
        self.batches += 1
        start = self.now / NS - 10
        rows = [
            interval(
                1_000 * self.batches + n, start, site=None, other=site, mos=2.0 if n < poor else 4.3, source=source
            )
            for n in range(poor + good)
        ]
        append(self.lake, "intervals", rows, f"heard {self.batches}")

    def step(self, seconds: float = 5.0) -> int:
        self.now += round(seconds * NS)
        return self.loop.step(self.now)

    def endpoint(self, name: str = "desk", **labels: str) -> None:
        matcher = Matcher(tuple((label, (value,)) for label, value in labels.items()))
        outbox.add_endpoint(self.book, name, "https://desk.example/", "alertmanager", matcher, self.now)

    def wait_for(self, name: str) -> str:
        """A message that waits for an endpoint."""
        with self.book.writing() as connection:
            return outbox.put_message(connection, name, (), "first", b'{"status": "", "alerts": []}', self.now)

    def told(self, name: str | None = None) -> list[tuple[str, str, list[str]]]:
        """Event, status, and rule with state of each alert of the messages, the oldest first."""
        found = []
        for one in reversed(outbox.messages(self.book, name)):
            made = json.loads(one.body)
            alerts = [f"{each['labels']['alertname']} {each['status']}" for each in made["alerts"]]
            found.append((one.event, made["status"], alerts))
        return found

    def phase(self) -> Phase:
        return next((one.state.phase for one in keeping.read_states(self.book)), Phase.NORMAL)

    def history(self) -> list[tuple[int, str, str]]:
        with self.lake.reading() as connection:
            alerts = self.lake.query(connection, "alerts")
            rows = connection.execute(f'SELECT epoch_us("at"), rule, state FROM ({alerts}) ORDER BY 1, 2').fetchall()
        return [(at * 1_000, name, state) for at, name, state in rows]


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    made = Room(tmp_path)
    yield made
    made.book.close()


def test_a_site_degrades_is_told_recovers_and_is_told_once_each(room: Room) -> None:
    room.endpoint()
    room.heard(poor=0, good=30)
    assert room.step() == 0
    room.heard(poor=30, good=0)
    assert room.step() == 1
    assert room.told() == [("first", "firing", ["site_degraded firing"])]
    for _ in range(12):
        assert room.step() == 0
    for _ in range(12):
        room.heard(poor=0, good=30)
        room.step(10)
    assert room.told()[1:] == [("resolved", "resolved", ["site_degraded resolved"])]
    assert room.loop.store_history(room.lake) == 4
    assert [state for _, _, state in room.history()] == ["firing", "no_data", "recovering", "normal"]
    resolved = json.loads(outbox.messages(room.book)[0].body)["alerts"][0]
    assert resolved["startsAt"] < resolved["endsAt"] != "0001-01-01T00:00:00Z"


def test_a_night_without_calls_neither_ends_nor_repeats_an_alert_as_new(room: Room) -> None:
    room.endpoint()
    room.heard(poor=30, good=0)
    assert room.step() == 1
    for _ in range(100):
        assert room.step(5) == 0
    assert room.phase() is Phase.NO_DATA
    (kept,) = keeping.read_states(room.book)
    assert kept.state.active
    # What was measured last is still shown.
    assert (kept.sample.numerator, kept.sample.denominator) == (30, 30)
    room.heard(poor=30, good=0)
    assert room.step() == 0
    assert room.phase() is Phase.FIRING


def test_a_restart_changes_nothing_and_a_long_one_begins_streaks_anew(room: Room) -> None:
    room.watch = Watch((replace(DEGRADED, for_s=20),), timing=TIMING)
    room.begin()
    room.endpoint()
    room.heard(poor=30, good=0)
    room.step()
    room.step()
    assert room.phase() is Phase.PENDING
    room.begin()
    room.step(20)
    assert room.phase() is Phase.FIRING
    assert len(room.told()) == 1
    room.begin()
    assert room.step() == 0
    (kept,) = keeping.read_states(room.book)
    assert kept.state.fired_at == room.now - 5 * NS


def test_a_streak_does_not_outlast_a_time_in_which_nobody_looked(room: Room) -> None:
    room.watch = Watch((replace(DEGRADED, for_s=20, window_s=600),), timing=TIMING)
    room.begin()
    room.heard(poor=30, good=0)
    room.step()
    room.now += 300 * NS
    room.begin()
    room.step()
    assert room.phase() is Phase.PENDING


def test_a_silence_keeps_it_quiet_and_shown(room: Room) -> None:
    room.endpoint()
    york = Matcher((("site", ("york",)),))
    silence = keeping.add_silence(room.book, york, room.now, room.now + 3_600 * NS, "ann", "works")
    room.heard(poor=30, good=0)
    assert room.step() == 0
    (kept,) = keeping.read_states(room.book)
    assert kept.muted == "silenced by ann: works"
    keeping.end_silence(room.book, silence.key, room.now)
    assert room.step() == 1
    with pytest.raises(BookError):
        keeping.end_silence(room.book, silence.key, room.now)
    with pytest.raises(BookError, match="at least one label"):
        keeping.add_silence(room.book, Matcher(), 0, 1, "ann", "")


def test_a_maintenance_window_keeps_it_quiet(tmp_path: Path) -> None:
    windows = maintenance_of({"works": {"from": "10:00", "to": "10:30", "days": ["mon"]}}, "UTC")
    room = Room(tmp_path, windows=windows)
    room.endpoint()
    room.heard(poor=30, good=0)
    assert room.step() == 0
    room.now = BEGIN + 1_800 * NS
    room.heard(poor=30, good=0)
    assert room.step() == 1


def test_an_acknowledged_alert_is_not_told_again_until_it_is_over(room: Room) -> None:
    room.endpoint()
    room.heard(poor=30, good=0)
    room.step()
    (kept,) = keeping.read_states(room.book)
    ((alert, _),) = keeping.alerts_now(room.book, room.watch.rules)
    keeping.acknowledge(room.book, alert.fingerprint, room.now, "ann", "on it")
    assert room.step(3_700) == 0
    assert kept.state.active
    with pytest.raises(BookError, match="holds now"):
        keeping.acknowledge(room.book, "0" * 16, room.now, "ann", "")
    for _ in range(6):
        room.heard(poor=0, good=30)
        room.step(10)
    assert [event for event, _, _ in room.told()] == ["first", "resolved"]


def test_what_holds_is_told_again_every_so_often(room: Room) -> None:
    room.endpoint()
    room.heard(poor=30, good=0)
    room.step()
    assert room.step(3_000) == 0
    assert room.step(700) == 1
    assert [event for event, _, _ in room.told()] == ["first", "repeat"]


def test_endpoints_get_what_they_ask_for(room: Room) -> None:
    room.endpoint("all")
    room.endpoint("york", site="york")
    room.endpoint("hull", site="hull")
    room.endpoint("mild", severity="warning")
    room.heard(poor=30, good=0)
    assert room.step() == 2
    assert room.told("york") == room.told("all")
    assert not room.told("hull")
    assert not room.told("mild")


def collector(room: Room, lost: int, came: int = 1_000, at: int | None = None) -> None:
    steps = (StepCounts("seen", "packets", came, came - lost, 0, {"kernel_drops": lost} if lost else {}),)
    moment = room.now if at is None else at
    write_health(
        room.lake.root, ProcessHealth("host", 1, "collect", "york-1", "0", BEGIN, moment, 10.0, steps=steps)
    )  # fmt: skip


def test_an_unhealthy_capture_is_told_and_its_sites_quality_is_not(tmp_path: Path) -> None:
    room = Room(tmp_path, (DEGRADED, rule("capture_unhealthy", for_s=0)))
    room.endpoint()
    room.heard(poor=0, good=30)
    collector(room, 0)
    room.step()
    collector(room, 600, 3_000, room.now + 5 * NS)
    room.heard(poor=30, good=0)
    room.heard(poor=30, good=0, site="hull", source="hull-1")
    room.step()
    assert sorted(alerts for _, _, alerts in room.told()) == [["capture_unhealthy firing"], ["site_degraded firing"]]
    by_site = {dict(one.labels).get("site"): one.muted for one in keeping.read_states(room.book)}
    assert by_site["york"] == "the capture of york is unhealthy"
    assert by_site["hull"] == ""


def test_a_collector_that_falls_silent_is_unhealthy_and_one_that_was_stopped_is_not(tmp_path: Path) -> None:
    room = Room(tmp_path, (rule("capture_unhealthy", for_s=0),))
    collector(room, 0)
    room.step()
    assert room.phase() is Phase.NORMAL
    room.step(60)
    assert room.phase() is Phase.FIRING
    ended = ProcessHealth("host", 1, "collect", "york-1", "0", BEGIN, room.now, 10.0, ended=True)
    write_health(room.lake.root, ended)
    room.step(60)
    assert room.phase() is Phase.NORMAL


def test_a_rule_that_cannot_be_asked_keeps_what_held_and_is_told_itself(tmp_path: Path) -> None:
    failing = rule("evaluation_failed", for_s=10)
    room = Room(tmp_path, (DEGRADED, failing))
    room.endpoint()
    room.heard(poor=30, good=0)
    assert room.step() == 1
    for file in (room.lake.root / "intervals").rglob("*.parquet"):
        file.write_bytes(b"damaged")
    for _ in range(5):
        room.step()
    states = {one.rule: one.state for one in keeping.read_states(room.book)}
    assert states["site_degraded"].phase is Phase.ERROR
    assert states["site_degraded"].active
    assert room.told()[1:] == [("first", "firing", ["evaluation_failed firing"])]


def test_an_endpoint_that_is_gone_is_told_to_the_others(tmp_path: Path) -> None:
    room = Room(tmp_path, (rule("webhook_failing"),))
    room.endpoint("gone")
    room.endpoint("other")
    with room.book.writing() as connection:
        connection.execute("UPDATE endpoints SET disabled_at = 1, disabled_why = 'it answered 410' WHERE name = 'gone'")
    assert room.step() == 1
    assert room.told("other") == [("first", "firing", ["webhook_failing firing"])]
    outbox.enable_endpoint(room.book, "gone", room.now)
    assert room.step(60) == 1
    assert room.told("other")[1:] == [("resolved", "resolved", ["webhook_failing resolved"])]


def test_an_endpoint_that_asks_for_a_long_rest_is_told_to_the_others_at_once(tmp_path: Path) -> None:
    room = Room(tmp_path, (rule("webhook_failing"),))
    for name in ("muted", "other"):
        room.endpoint(name)
    key = room.wait_for("muted")
    rest = room.now + 86_400 * NS
    outbox.note_failed(room.book, outbox.Attempt(key, "muted", room.now, 3, 503, "failed", ""), rest, rest, room.now)
    assert room.step() == 1
    ((_, _, told),) = room.told("other")
    assert told == ["webhook_failing firing"]
    ((alert, _),) = keeping.alerts_now(room.book, room.watch.rules)
    assert "1 message waits, since 2026-01-05T10:00:00Z" in alert.reason
    assert "it asked for rest until 2026-01-06T10:00:00Z" in alert.reason


def test_an_endpoint_for_which_a_message_waits_some_minutes_is_told_to_the_others(tmp_path: Path) -> None:
    room = Room(tmp_path, (rule("webhook_failing"),))
    for name in ("late", "other"):
        room.endpoint(name)
    key = room.wait_for("late")
    assert room.step(OVERDUE_S - 5) == 0
    assert room.step(10) == 1
    outbox.note_delivered(room.book, outbox.Attempt(key, "late", room.now, 3, 200, "delivered", ""), room.now)
    assert room.step(61) == 1
    assert [status for _, status, _ in room.told("other")] == ["firing", "resolved"]


def test_a_rule_that_is_taken_out_ends_its_alerts(room: Room) -> None:
    room.endpoint()
    room.heard(poor=30, good=0)
    room.step()
    room.watch = Watch((replace(DEGRADED, enabled=False),), timing=TIMING)
    room.begin()
    assert room.step(60) == 1
    assert room.told()[1:] == [("resolved", "resolved", ["site_degraded resolved"])]
    room.heard(poor=30, good=0)
    room.watch = Watch((replace(DEGRADED, name="york_degraded"),), timing=TIMING)
    room.begin()
    room.step()
    room.watch = Watch((), timing=TIMING)
    room.begin()
    room.step(60)
    assert [one[2] for one in room.told()[2:]] == [["york_degraded firing"], ["york_degraded resolved"]]


def test_the_history_holds_each_change_once_whenever_the_process_dies(room: Room) -> None:
    room.heard(poor=30, good=0)
    room.step()
    assert room.loop.store_history(room.lake) == 1
    # Appended, but it died before that was noted; then more happens, and it begins anew.
    with room.book.writing() as connection:
        connection.execute("UPDATE changes SET stored = 0")
    room.step(120)
    room.begin()
    for _ in range(3):
        room.loop.store_history(room.lake)
    assert [state for _, _, state in room.history()] == ["firing", "no_data"]
    assert [one.change.state.phase.value for one in keeping.read_changes(room.book)] == ["no_data", "firing"]


def test_one_process_of_a_store_runs_the_loop(room: Room) -> None:
    first, second = Turn(room.book), Turn(room.book)
    assert first.take()
    assert not second.take()
    first.give_back()
    assert second.take()
    second.give_back()


def test_a_decision_stands_with_its_message_or_not_at_all(room: Room) -> None:
    room.endpoint()
    room.heard(poor=30, good=0)
    with room.book.writing() as connection:
        connection.execute("CREATE TRIGGER full BEFORE INSERT ON messages BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    with pytest.raises(BookError, match="disk full"):
        room.step()
    assert keeping.read_states(room.book) == []
    with room.book.writing() as connection:
        connection.execute("DROP TRIGGER full")
    assert room.step() == 1
    assert [one.change.state.phase for one in keeping.read_changes(room.book)] == [Phase.FIRING]


DIES = f"""
import os, signal, sys
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "tests")!r}]
from pathlib import Path
from test_alert_loop import *
room = Room(Path(sys.argv[1]))
room.now = time.time_ns()
room.heard(poor=30, good=0)
assert room.step() == 1
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_killed_between_decision_and_delivery_loses_nothing(tmp_path: Path) -> None:
    room = Room(tmp_path)
    with receiving(tmp_path) as receiver:
        outbox.add_endpoint(room.book, "desk", receiver.url("ok"), "alertmanager", Matcher(), BEGIN)
        died = subprocess.run([sys.executable, "-c", DIES, str(tmp_path)], check=False)
        assert died.returncode == -signal.SIGKILL
        assert not receiver.got()
        (waiting,) = outbox.messages(room.book)
        with alerts_run(tmp_path):
            until(lambda: outbox.message(room.book, waiting.id).state == "delivered")
        assert {one["headers"]["webhook-id"] for one in receiver.got()} == {waiting.id}
    room.book.close()


def test_a_process_killed_amid_a_delivery_delivers_it_again_under_the_same_id(tmp_path: Path) -> None:
    room = Room(tmp_path)
    with receiving(tmp_path) as receiver:
        outbox.add_endpoint(room.book, "desk", receiver.url("slow/1"), "alertmanager", Matcher(), BEGIN)
        room.now = time.time_ns()
        room.heard(poor=30, good=0)
        room.step()
        with alerts_run(tmp_path) as process:
            until(lambda: len(receiver.got()) == 1)
            process.kill()
            process.wait()
        (waiting,) = outbox.messages(room.book)
        assert (waiting.state, waiting.attempts) == ("waiting", 0)
        with alerts_run(tmp_path):
            until(lambda: outbox.message(room.book, waiting.id).state == "delivered")
        assert [one["headers"]["webhook-id"] for one in receiver.got()] == [waiting.id] * 2
    room.book.close()


class alerts_run:  # noqa: N801 - used as a function
    """`callgauge alerts run` on the store of a folder, with quick timing."""

    def __init__(self, folder: Path, *command: str) -> None:
        self._command = command or ("alerts", "run")
        (folder / "callgauge.toml").write_text(
            '[alerts]\nevery_seconds = 0.2\ngroup_wait_seconds = 0.01\nallowed_networks = ["127.0.0.0/8"]\n'
            'rules = "rules.toml"\n'
        )
        (folder / "rules.toml").write_text("[rules.site_degraded]\nevery_s = 1\nwindow_s = 3600\n")
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> subprocess.Popen[bytes]:
        run = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from api.main import run; run()"
        words = [sys.executable, "-c", run, *self._command, "--store", "store"]
        self._log = (self._folder / "run.log").open("ab")
        self._process = subprocess.Popen(
            words, cwd=self._folder, stdout=self._log, stderr=self._log, env={**os.environ}
        )  # fmt: skip
        return self._process

    def __exit__(self, *_words: object) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._log.close()


def until(holds: Any, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_killed_at_any_moment_each_alert_is_decided_once_and_delivered_at_least_once(tmp_path: Path) -> None:
    sites = [f"site-{number}" for number in range(12)]
    room = Room(tmp_path)
    moments = random.Random(6)
    with receiving(tmp_path) as receiver:
        outbox.add_endpoint(room.book, "desk", receiver.url("ok"), "alertmanager", Matcher(), BEGIN)
        for number, site in enumerate(sites):
            room.now = time.time_ns()
            room.heard(poor=30, good=0, site=site)
            if number % 3 == 2:
                with alerts_run(tmp_path) as process:
                    time.sleep(moments.uniform(0.8, 2.2))
                    process.kill()
        with alerts_run(tmp_path):
            until(lambda: len(firing(room)) == len(sites) == len(outbox.messages(room.book)))
            until(lambda: all(one.state == "delivered" for one in outbox.messages(room.book)))
        of_sites = [dict(one.labels)["site"] for one in outbox.messages(room.book)]
        assert sorted(of_sites) == sorted(sites), "each is one message"
        arrived = {one["headers"]["webhook-id"] for one in receiver.got()}
        assert arrived == {one.id for one in outbox.messages(room.book)}
    fired = [one.change for one in keeping.read_changes(room.book) if one.change.state.phase is Phase.FIRING]
    assert len(fired) == len(sites)
    room.book.close()


def test_the_server_watches_and_delivers_by_itself(tmp_path: Path) -> None:
    room = Room(tmp_path)
    with receiving(tmp_path) as receiver:
        outbox.add_endpoint(room.book, "desk", receiver.url("ok"), "alertmanager", Matcher(), BEGIN)
        room.now = time.time_ns()
        room.heard(poor=30, good=0)
        with alerts_run(tmp_path, "serve", "--listen", f"127.0.0.1:{free_port()}") as process:
            until(lambda: bool(receiver.got()))
            # Another on the same store stands by.
            assert not Turn(room.book).take()
            process.terminate()
            assert process.wait(20) in (0, -signal.SIGTERM)
    room.book.close()


def firing(room: Room) -> list[str]:
    return [
        dict(one.labels)["site"] for one in keeping.read_states(room.book)
        if one.rule == "site_degraded" and one.state.phase is Phase.FIRING
    ]  # fmt: skip


def test_own_rules_are_of_kinds_that_the_loop_answers_itself() -> None:
    assert {rule("evaluation_failed").kind, rule("webhook_failing").kind} == {Kind.EVALUATION, Kind.DELIVERY}
