"""The loop: asks the rules that are due, decides, and puts down what is decided together with what is to be sent."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from sqlite3 import Connection
from typing import Final

from analytics.alerts.facts import NS, Alert, Change, Comparison, Kind, Labels, Phase, Rule, Sample, State, fingerprint
from analytics.alerts.grouping import Timing, decide, episode, group_labels
from analytics.alerts.muting import Acknowledgement, Maintenance, doubtful_sites, muted_by
from analytics.alerts.rules import SEVERITIES, enabled
from analytics.alerts.sampling import Span, own
from analytics.alerts.states import evaluate, resumed
from analytics.alerts.subjects import sampled
from analytics.alerts.wording import local_stamp
from analytics.store.arrow_rows import arrow_table
from analytics.store.lake import Lake
from analytics.store.schema import ALERTS
from analytics.store.settings import StoreError
from api.alerts import bodies, keeping, outbox
from api.alerts.book import Book, BookError
from api.alerts.keeping import Kept
from api.alerts.sampler import SampleError, Sampler

FORGET_S: Final = 86_400.0
"""A label that was not sampled for so long, and of which no alert holds, is forgotten [s]."""
GAP_S: Final = 120.0
"""After a longer time without a look, what had been so without a break begins anew [s]."""
MOST_STATES: Final = 20_000
KEPT_ENDED_S: Final = 3_600.0
OVERDUE_ATTEMPTS: Final = 3
"""An endpoint with a message that failed so often does not get its alerts."""
OVERDUE_S: Final = 600.0
"""An endpoint for which a message waits so long, or that asked for so long a rest, does not get its alerts [s]."""
BATCH: Final = "alerts"
STORE_AT_ONCE: Final = 500
_logger = logging.getLogger("callgauge.alerts")


@dataclass(frozen=True, slots=True)
class Watch:
    """What is watched and how it is told."""

    rules: tuple[Rule, ...]
    windows: tuple[Maintenance, ...] = ()
    timing: Timing = field(default_factory=Timing)
    public_url: str = ""
    zone: str = "UTC"
    """Times in sentences are by its clock."""


@dataclass(slots=True)
class _Known:
    """What the loop knows of one alert."""

    state: State
    sample: Sample
    reason: str
    sampled_at: int


@dataclass(slots=True)
class _Fresh:
    """What is not in the book yet: kept where it could not be put down."""

    changes: list[Change] = field(default_factory=list)
    touched: set[tuple[str, Labels]] = field(default_factory=set)
    ended: dict[str, Alert] = field(default_factory=dict)
    gone: list[Kept] = field(default_factory=list)


class Alerting:
    """Decides, one step at a time; all that must not be lost is in the book."""

    def __init__(self, book: Book, sampler: Sampler, watch: Watch, now: int) -> None:
        self._book = book
        self._sampler = sampler
        self.watch = watch
        self._asked: dict[str, int] = {}
        self._failed: dict[str, str] = {}
        self._known: dict[tuple[str, Labels], _Known] = {}
        self._fresh = _Fresh()
        looked = keeping.read_note(book, "looked_at")
        stale = looked is None or now - looked > GAP_S * NS
        for one in keeping.read_states(book):
            state = resumed(one.state, now) if stale else one.state
            self._known[one.rule, one.labels] = _Known(state, one.sample, one.reason, one.asked_at)

    def step(self, now: int) -> int:
        """Look once; return how many messages were put down. BookError where nothing can be put down."""
        for rule in self._due(now):
            for labels, sample in self._sampled(rule, now).items():
                self._fresh.touched.add((rule.name, labels))
                self._evaluate(now, rule, sample)
        self._forget(now)
        put = self._put_down(now)
        self._fresh = _Fresh()
        return put

    def _due(self, now: int) -> list[Rule]:
        # Rules about the rules come last: they speak of this very step.
        rules = sorted(enabled(self.watch.rules), key=lambda rule: rule.kind in (Kind.EVALUATION, Kind.DELIVERY))
        due = [rule for rule in rules if now - self._asked.get(rule.name, -(1 << 62)) >= rule.every_s * NS]
        for rule in due:
            self._asked[rule.name] = now
        return due

    def _sampled(self, rule: Rule, now: int) -> dict[Labels, Sample]:
        """Samples by label: those measured, and of each label known before that was not, that it was not."""
        span = Span(now - round(rule.window_s * NS), now)
        try:
            samples = self._own(rule, span) if rule.kind in _OWN else self._sampler.samples(rule, now)
            problem = ""
        except SampleError as error:
            samples, problem = [], str(error)
        if problem:
            _say(rule, problem, self._failed.get(rule.name))
            self._failed[rule.name] = problem
        else:
            self._failed.pop(rule.name, None)
        known = {labels: one.sample.covers for (name, labels), one in self._known.items() if name == rule.name}
        return sampled(rule, samples, known, self._sampler.sites(now), span, known, problem)

    def _own(self, rule: Rule, span: Span) -> list[Sample]:
        if rule.kind is Kind.EVALUATION:
            names = [one.name for one in enabled(self.watch.rules)]
            return [own({"rule": name}, name in self._failed, self._failed.get(name, ""), span) for name in names]
        found = []
        for endpoint in outbox.endpoints(self._book):
            waits = outbox.backlog(self._book, endpoint.name)
            late = _overdue(endpoint, waits, span.until, self.watch.zone)
            note = endpoint.disabled_why if endpoint.disabled_at is not None else late
            found.append(own({"endpoint": endpoint.name}, bool(note), note, span))
        return found

    def _evaluate(self, now: int, rule: Rule, sample: Sample) -> None:
        key = (rule.name, sample.labels)
        before = self._known.get(key)
        state, reason = evaluate(now, rule, sample, None if before is None else before.state)
        measured = sample.numerator is not None
        if before is None and len(self._known) >= MOST_STATES:
            return
        previous = Phase.NORMAL if before is None else before.state.phase
        was_active = before is not None and before.state.active
        sampled_at = now if measured or before is None else before.sampled_at
        # Of an alert that holds or ends while nothing can be measured, what was measured last is shown.
        shown = sample if measured or before is None or not before.state.active else before.sample
        self._known[key] = _Known(state, shown, reason, sampled_at)
        if state.phase is not previous and (was_active or state.active or Phase.PENDING in (state.phase, previous)):
            measures = sample.numerator, sample.denominator
            self._fresh.changes.append(Change(now, rule.name, sample.labels, previous, state, *measures, reason))
        if before is not None and before.state.active and not state.active:
            over = Alert(rule, shown, before.state, reason, now)
            self._fresh.ended[episode(over)] = over

    def _forget(self, now: int) -> None:
        rules = {rule.name for rule in enabled(self.watch.rules)}
        old = [
            key for key, one in self._known.items()
            if not one.state.active and (now - one.sampled_at > FORGET_S * NS or key[0] not in rules)
        ]  # fmt: skip
        for key in old:
            del self._known[key]

    def _put_down(self, now: int) -> int:
        rules = {rule.name: rule for rule in self.watch.rules}
        self._drop_retired(rules, now)
        fresh = self._fresh
        alerts = [
            Alert(rules[name], one.sample, one.state, one.reason)
            for (name, _), one in self._known.items() if one.state.active
        ]  # fmt: skip
        silences = keeping.read_silences(self._book, now)
        doubtful = doubtful_sites(alerts)
        muted = {
            (alert.rule.name, alert.sample.labels): muted_by(alert, now, silences, self.watch.windows, doubtful)
            for alert in alerts
        }
        acknowledged = keeping.read_acknowledgements(self._book)
        kept = [
            Kept(name, labels, one.state, one.reason, one.sample, muted.get((name, labels), ""), now)
            for name, labels in fresh.touched | set(muted) if (one := self._known.get((name, labels))) is not None
        ]  # fmt: skip
        with self._book.writing() as connection:
            keeping.write_states(connection, [*kept, *fresh.gone])
            keeping.write_changes(connection, fresh.changes)
            keeping.write_ended(connection, fresh.ended)
            quiet = {episode(one) for one in alerts if _is_acknowledged(one, acknowledged.get(one.fingerprint))}
            loud = {episode(one) for one in alerts if not muted[one.rule.name, one.sample.labels]}
            put = self._tell(connection, now, alerts, frozenset(loud), frozenset(quiet))
            keeping.forget_ended(connection, now - round(KEPT_ENDED_S * NS))
            keeping.write_note(connection, "looked_at", now)
        return put

    def _tell(
        self, connection: Connection, now: int, alerts: Sequence[Alert], loud: frozenset[str], quiet: frozenset[str]
    ) -> int:
        """Put down what endpoints are to be told; return how many messages. `quiet` are not told again."""
        over = keeping.read_ended(connection)
        put = 0
        for endpoint in outbox.read_endpoints(connection):
            groups: dict[Labels, list[Alert]] = {}
            for alert in alerts:
                if _wants(endpoint, alert):
                    groups.setdefault(group_labels(alert), []).append(alert)
            told = keeping.read_groups(connection, endpoint.name)
            for labels in sorted(set(groups) | set(told)):
                of_group = groups.get(labels, [])
                names = frozenset(episode(alert) for alert in of_group)
                decision = decide(now, told.get(labels), names & loud, names, self.watch.timing, quiet)
                speaks = [alert for alert in of_group if episode(alert) in loud]
                speaks += [over[name] for name in sorted(decision.resolved) if name in over]
                if decision.reason and speaks:
                    group = bodies.Group(labels, tuple(speaks), endpoint.name, self.watch.public_url, self.watch.zone)
                    octets = bodies.body(endpoint.shape, group)
                    worst = min((alert.rule.severity for alert in speaks), key=SEVERITIES.index)
                    outbox.put_message(connection, endpoint.name, labels, decision.reason, octets, now, worst)
                    put += 1
                if decision.told != told.get(labels):
                    keeping.write_group(connection, endpoint.name, labels, decision.told)
        return put

    def _drop_retired(self, rules: Mapping[str, Rule], now: int) -> None:
        """End the alerts of rules that are not asked any more."""
        asked = {rule.name for rule in enabled(rules.values())}
        for key in [key for key in self._known if key[0] not in asked]:
            one = self._known.pop(key)
            if one.state.active:
                rule = rules.get(key[0]) or Rule(key[0], Kind.EVALUATION, key[0], Comparison.ABOVE, 0.0, 0.0)
                over = Alert(rule, one.sample, one.state, "the rule is not asked any more", now)
                self._fresh.ended[episode(over)] = over
            self._fresh.gone.append(Kept(*key, State(Phase.NORMAL, now), "", one.sample, "", now))

    def store_history(self, lake: Lake) -> int:
        """Bring changes into the lake that are not there yet, each once; return how many. StoreError, BookError."""
        entries = keeping.read_changes(self._book, unstored=True, most=STORE_AT_ONCE)
        if not entries:
            return 0
        begun = keeping.read_note(self._book, "storing") or 0
        if begun >= entries[0].number:
            # A process that died may have appended these very rows: the same batch again appends nothing.
            entries = [entry for entry in entries if entry.number <= begun]
        rows = [_row(entry.change) for entry in entries]
        last = entries[-1].number
        with self._book.writing() as connection:
            keeping.write_note(connection, "storing", last)
        # Named by the book: another book of the same store numbers from 1, too.
        lake.append(ALERTS.name, arrow_table(ALERTS, rows), batch=f"{BATCH} {self._book_key()}", sequence=last)
        keeping.mark_stored(self._book, last, entries[-1].change.at)
        return len(entries)

    def _book_key(self) -> int:
        key = keeping.read_note(self._book, "book")
        if key is None:
            key = int.from_bytes(os.urandom(6), "big")
            with self._book.writing() as connection:
                keeping.write_note(connection, "book", key)
        return key


_OWN: Final = frozenset({Kind.EVALUATION, Kind.DELIVERY})


def _overdue(endpoint: outbox.Endpoint, waits: outbox.Backlog, now: int, zone: str) -> str:
    """Why an endpoint does not get its alerts in time, in words; empty where it does."""
    if waits.oldest is None:
        return ""
    rest = endpoint.not_before - now
    if waits.tried < OVERDUE_ATTEMPTS and max(rest, now - waits.oldest) < OVERDUE_S * NS:
        return ""
    said = "1 message waits, since" if waits.waiting == 1 else f"{waits.waiting} messages wait, the oldest since"
    said += f" {local_stamp(waits.oldest, zone)}"
    if waits.tried:
        said += f", after {waits.tried} failed {'attempt' if waits.tried == 1 else 'attempts'}"
    return f"{said}; it asked for rest until {local_stamp(endpoint.not_before, zone)}" if rest > 0 else said


def _wants(endpoint: outbox.Endpoint, alert: Alert) -> bool:
    labels = dict(alert.labels)
    # That an endpoint is not reached is told by the others.
    return labels.get("endpoint") != endpoint.name and endpoint.matcher.fits(labels)


def _is_acknowledged(alert: Alert, by: Acknowledgement | None) -> bool:
    return by is not None and by.fired_at == alert.state.fired_at


def _row(change: Change) -> dict[str, object]:
    labels = dict(change.labels)
    day = datetime.fromtimestamp(change.at // NS, UTC).date().replace(day=1)
    return {
        "month": day,
        "at": change.at // 1_000,
        "rule": change.rule,
        "fingerprint": fingerprint(change.rule, change.labels),
        "site": labels.get("site"),
        "state": change.state.phase.value,
        "numerator": change.numerator,
        "denominator": change.denominator,
        "reason": change.reason,
    }


def _say(rule: Rule, problem: str, before: str | None) -> None:
    if problem != before:
        _logger.warning("rule %s cannot be evaluated: %s", rule.name, problem)


class Turn:
    """That one process of a store runs the loop: the others stand by."""

    def __init__(self, book: Book) -> None:
        self._path = book.path.parent / "loop.lock"
        self._file: int | None = None

    def take(self) -> bool:
        """Take the turn; False while another process has it."""
        file = os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return False
        self._file = file
        return True

    def give_back(self) -> None:
        """Let another have it."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


async def evaluating(
    alerting: Alerting, lake: Lake, every_s: float, clock: Callable[[], int], sent: asyncio.Event
) -> None:
    """Step for ever; `sent` is set when messages were put down. What fails is logged and tried again."""
    while True:
        begun = clock()
        try:
            if await asyncio.to_thread(alerting.step, begun):
                sent.set()
            await asyncio.to_thread(alerting.store_history, lake)
        except (BookError, StoreError) as error:
            _logger.warning("%s", error)
        await asyncio.sleep(max(0.05, every_s - (clock() - begun) / NS))
