"""States, history, silences and acknowledgements in the book."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from analytics.alerts.facts import NS, Alert, Change, Labels, Matcher, Phase, Rule, Sample, State
from analytics.alerts.grouping import Told
from analytics.alerts.muting import Acknowledgement, Silence
from api.alerts.book import Book, BookError
from api.alerts.records import (
    alert_text,
    labels_text,
    matcher_text,
    sample_text,
    text_alert,
    text_labels,
    text_matcher,
    text_sample,
)

KEEP_CHANGES_DAYS = 31
"""How long changes that are in the lake stay in the book as well [days]."""
MOST_LISTED = 1_000


class Kept(NamedTuple):
    """A state as it stands in the book, with what was measured last."""

    rule: str
    labels: Labels
    state: State
    reason: str
    sample: Sample
    muted: str
    """Why it is not told; empty where it is."""
    asked_at: int


class Entry(NamedTuple):
    """A change in the history."""

    number: int
    change: Change


def read_states(book: Book) -> list[Kept]:
    """Return the states that are kept: all but the normal ones."""
    with book.reading() as connection:
        rows = connection.execute("SELECT * FROM states ORDER BY rule, labels").fetchall()
    return [_kept(row) for row in rows]


def _kept(row: sqlite3.Row) -> Kept:
    state = State(Phase(row["phase"]), row["since"], row["fired_at"], row["digest"], row["streak_since"])
    labels = text_labels(row["labels"])
    return Kept(row["rule"], labels, state, row["reason"], text_sample(row["sample"]), row["muted"], row["asked_at"])


def write_states(connection: sqlite3.Connection, kept: Iterable[Kept]) -> None:
    """Put states down; those that are normal are forgotten, for a state begins as normal."""
    for one in kept:
        key = (one.rule, labels_text(one.labels))
        if not one.state.active and one.state.phase in (Phase.NORMAL, Phase.NO_DATA):
            connection.execute("DELETE FROM states WHERE rule = ? AND labels = ?", key)
            continue
        state = one.state
        values = (
            *key, state.phase.value, state.since, state.fired_at, state.rule, state.streak_since, one.reason,
            sample_text(one.sample), one.muted, one.asked_at,
        )  # fmt: skip
        connection.execute(f"INSERT OR REPLACE INTO states VALUES ({_marks(values)})", values)  # noqa: S608


def write_changes(connection: sqlite3.Connection, changes: Iterable[Change]) -> None:
    """Add changes to the history."""
    for one in changes:
        connection.execute(
            "INSERT INTO changes (at, rule, labels, before, phase, fired_at, numerator, denominator, reason) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                one.at, one.rule, labels_text(one.labels), one.before.value, one.state.phase.value, one.state.fired_at,
                one.numerator, one.denominator, one.reason,
            ),
        )  # fmt: skip


def read_changes(book: Book, *, unstored: bool = False, fingerprint: str | None = None, most: int = 500) -> list[Entry]:
    """Return changes: the oldest that are not in the lake yet, or the newest."""
    which = "WHERE stored = 0 ORDER BY number" if unstored else "ORDER BY number DESC"
    with book.reading() as connection:
        rows = connection.execute(f"SELECT * FROM changes {which} LIMIT ?", (MOST_LISTED * 10,)).fetchall()  # noqa: S608
    found = [_entry(row) for row in rows]
    return [one for one in found if fingerprint is None or one.change.fingerprint == fingerprint][:most]


def _entry(row: sqlite3.Row) -> Entry:
    state = State(Phase(row["phase"]), row["at"], row["fired_at"])
    before = Phase(row["before"])
    labels = text_labels(row["labels"])
    measured = row["numerator"], row["denominator"]
    return Entry(row["number"], Change(row["at"], row["rule"], labels, before, state, *measured, row["reason"]))


def mark_stored(book: Book, last: int, now: int) -> None:
    """Note that changes up to a number are in the lake, and forget old ones."""
    with book.writing() as connection:
        connection.execute("UPDATE changes SET stored = 1 WHERE number <= ? AND stored = 0", (last,))
        too_old = now - KEEP_CHANGES_DAYS * 86_400 * NS
        connection.execute("DELETE FROM changes WHERE stored = 1 AND at < ?", (too_old,))


def read_note(book: Book, name: str) -> int | None:
    """Return a number that was noted by its name."""
    with book.reading() as connection:
        row = connection.execute("SELECT value FROM notes WHERE name = ?", (name,)).fetchone()
    return None if row is None else int(row["value"])


def write_note(connection: sqlite3.Connection, name: str, value: int) -> None:
    """Note a number by a name."""
    connection.execute("INSERT OR REPLACE INTO notes VALUES (?, ?)", (name, value))


def add_silence(book: Book, matcher: Matcher, since: int, until: int, author: str, comment: str) -> Silence:
    """Silence alerts for a time; BookError where that silences nothing or everything."""
    if until <= since:
        raise BookError("a silence ends after it begins")
    if not matcher.labels:
        raise BookError("a silence names at least one label")
    with book.writing() as connection:
        done = connection.execute(
            "INSERT INTO silences (matcher, since, until, author, comment) VALUES (?, ?, ?, ?, ?)",
            (matcher_text(matcher), since, until, author, comment),
        )
        key = int(done.lastrowid or 0)
    return Silence(key, matcher, since, until, author, comment)


def end_silence(book: Book, key: int, now: int) -> None:
    """End a silence now; BookError where there is none that holds or will."""
    with book.writing() as connection:
        done = connection.execute("UPDATE silences SET until = ? WHERE key = ? AND until > ?", (now, key, now))
    if not done.rowcount:
        raise BookError(f"there is no silence {key} that holds")


def read_silences(book: Book, now: int, *, ended: bool = False) -> list[Silence]:
    """Return the silences that hold or will; or, too, those that ended."""
    with book.reading() as connection:
        rows = connection.execute(
            "SELECT * FROM silences WHERE until > ? ORDER BY key", (0 if ended else now,)
        ).fetchall()
    return [
        Silence(row["key"], text_matcher(row["matcher"]), row["since"], row["until"], row["author"], row["comment"])
        for row in rows
    ]


def acknowledge(book: Book, fingerprint: str, now: int, author: str, comment: str) -> Acknowledgement:
    """Acknowledge the alert that holds under a fingerprint; BookError where none does."""
    alert = next((one for one in read_states(book) if one.state.active and _fingerprint(one) == fingerprint), None)
    if alert is None or alert.state.fired_at is None:
        raise BookError(f"no alert {fingerprint} holds now")
    made = Acknowledgement(fingerprint, alert.state.fired_at, now, author, comment)
    with book.writing() as connection:
        values = (made.fingerprint, made.fired_at, made.at, made.author, made.comment)
        connection.execute("INSERT OR REPLACE INTO acknowledgements VALUES (?, ?, ?, ?, ?)", values)
    return made


def _fingerprint(one: Kept) -> str:
    from analytics.alerts.facts import fingerprint

    return fingerprint(one.rule, one.labels)


def read_acknowledgements(book: Book) -> dict[str, Acknowledgement]:
    """Return acknowledgements by fingerprint."""
    with book.reading() as connection:
        rows = connection.execute("SELECT * FROM acknowledgements").fetchall()
    return {row["fingerprint"]: Acknowledgement(*row) for row in rows}


def alerts_now(book: Book, rules: Iterable[Rule]) -> list[tuple[Alert, Kept]]:
    """Return the alerts that hold or are pending, the worst first."""
    by_name = {rule.name: rule for rule in rules}
    found = [
        (Alert(by_name[one.rule], one.sample, one.state, one.reason), one)
        for one in read_states(book)
        if one.rule in by_name
    ]
    order = {"critical": 0, "warning": 1, "info": 2}
    return sorted(
        found, key=lambda pair: (not pair[1].state.active, order[pair[0].rule.severity], -(pair[1].state.since))
    )


def read_groups(connection: sqlite3.Connection, endpoint: str) -> dict[Labels, Told]:
    """Return what is known of the groups of an endpoint."""
    rows = connection.execute("SELECT * FROM groups WHERE endpoint = ?", (endpoint,)).fetchall()
    return {
        text_labels(row["labels"]): Told(row["first_at"], row["at"], frozenset(json.loads(row["firing"])))
        for row in rows
    }


def write_group(connection: sqlite3.Connection, endpoint: str, labels: Labels, told: Told | None) -> None:
    """Put down what is known of a group; None forgets it."""
    key = (endpoint, labels_text(labels))
    if told is None:
        connection.execute("DELETE FROM groups WHERE endpoint = ? AND labels = ?", key)
        return
    values = (*key, told.first_at, told.at, json.dumps(sorted(told.firing)))
    connection.execute("INSERT OR REPLACE INTO groups VALUES (?, ?, ?, ?, ?)", values)


def read_ended(connection: sqlite3.Connection) -> dict[str, Alert]:
    """Return alerts that are over and of which somebody may still have to be told, by occurrence."""
    rows = connection.execute("SELECT episode, alert FROM ended").fetchall()
    return {row["episode"]: text_alert(row["alert"]) for row in rows}


def write_ended(connection: sqlite3.Connection, ended: Mapping[str, Alert]) -> None:
    """Keep alerts that are over until everybody who was told of them is told of it."""
    for episode, alert in ended.items():
        values: tuple[Any, ...] = (episode, alert_text(alert), alert.resolved_at)
        connection.execute("INSERT OR REPLACE INTO ended VALUES (?, ?, ?)", values)


def forget_ended(connection: sqlite3.Connection, before: int) -> None:
    """Forget alerts that are over for long, of which nobody waits to be told."""
    waiting = {
        episode for row in connection.execute("SELECT firing FROM groups") for episode in json.loads(row["firing"])
    }
    rows = connection.execute("SELECT episode FROM ended WHERE resolved_at < ?", (before,)).fetchall()
    for row in rows:
        if row["episode"] not in waiting:
            connection.execute("DELETE FROM ended WHERE episode = ?", (row["episode"],))


def _marks(values: Iterable[Any]) -> str:
    return ", ".join("?" for _ in values)
