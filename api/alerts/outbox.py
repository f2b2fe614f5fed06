"""Endpoints, and messages on their way to them: at least once, each under one id for ever."""

from __future__ import annotations

import base64
import secrets
import sqlite3
import uuid
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from analytics.alerts.facts import NS, Labels, Matcher
from analytics.alerts.rules import SEVERITIES
from api.alerts.book import Book, BookError
from api.alerts.records import labels_text, matcher_text, text_labels, text_matcher

SHAPES: Final = ("alertmanager", "slack", "teams")
MOST_ENDPOINTS: Final = 100
ROTATION_S: Final = 86_400
"""How long a secret that was replaced still signs beside the new one [s]."""
MOST_WAITING: Final = 10_000
"""Messages that wait for one endpoint; beyond it the oldest are dropped, and that is in the log."""


class Endpoint(NamedTuple):
    """Where alerts are sent."""

    name: str
    url: str
    shape: str
    matcher: Matcher
    """Alerts that it gets; without labels all."""
    secret: str
    """`whsec_` and base64: signs as Standard Webhooks have it."""
    old_secret: str | None
    old_until: int | None
    made: int
    not_before: int
    """It asked for rest until then."""
    disabled_at: int | None
    disabled_why: str

    @property
    def shown_url(self) -> str:
        """The address without what may be secret in it."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}/…" if parts.path.strip("/") else f"{parts.scheme}://{parts.netloc}"

    def secrets_at(self, now: int) -> tuple[str, ...]:
        """Return the secrets that sign at a moment, the newest first."""
        if self.old_secret is not None and self.old_until is not None and now < self.old_until:
            return (self.secret, self.old_secret)
        return (self.secret,)


class Message(NamedTuple):
    """A notification for one endpoint."""

    id: str
    """`webhook-id`: the same at each attempt and after a replay."""
    endpoint: str
    labels: Labels
    """Of its group."""
    made: int
    event: str
    """Why it was made: first, more, resolved, repeat, test."""
    body: bytes
    state: str
    """`waiting`, `delivered`, `given_up` or `dropped`."""
    attempts: int
    next_at: int
    done_at: int | None


class Attempt(NamedTuple):
    """One attempt to deliver."""

    message: str
    endpoint: str
    at: int
    took_ms: int
    status: int | None
    """HTTP status; None where no answer came."""
    outcome: str
    """`delivered`, `failed`, `refused` or `disabled`."""
    note: str


OUTCOMES: Final = ("delivered", "failed", "refused", "disabled")
"""What an attempt may come to."""
TEST: Final = "test"
"""Why a message of a test was made."""
ATTEMPTS: Final = "attempts."
DEAD: Final = "messages.given_up"


def new_secret() -> str:
    """Return a fresh secret of 32 octets."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def check_url(url: str) -> None:
    """Refuse what is no address for webhooks; BookError."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise BookError("the address cannot be read") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise BookError("the address must be https://HOST/…, or http:// within allowed networks")
    if parts.username is not None or parts.password is not None:
        raise BookError("the address must hold no user or password: deliveries are signed")
    if parts.fragment or any(ord(letter) <= 32 or ord(letter) > 126 for letter in url) or len(url) > 2_048:
        raise BookError("the address must be plain ASCII without spaces and #, and no longer than 2,048 letters")


def add_endpoint(book: Book, name: str, url: str, shape: str, matcher: Matcher, now: int) -> Endpoint:
    """Add an endpoint with a secret of its own; BookError where it cannot be."""
    check_url(url)
    if shape not in SHAPES:
        raise BookError(f"the shape is one of {', '.join(SHAPES)}")
    if not 0 < len(name) <= 64 or not all(letter.isalnum() or letter in "-_." for letter in name):
        raise BookError("a name is made of up to 64 letters, digits, -, _ and .")
    with book.writing() as connection:
        if connection.execute("SELECT count(*) FROM endpoints").fetchone()[0] >= MOST_ENDPOINTS:
            raise BookError(f"there are {MOST_ENDPOINTS} endpoints already")
        if connection.execute("SELECT 1 FROM endpoints WHERE name = ?", (name,)).fetchone():
            raise BookError(f"there is an endpoint {name} already")
        connection.execute(
            "INSERT INTO endpoints (name, url, shape, matcher, secret, made) VALUES (?, ?, ?, ?, ?, ?)",
            (name, url, shape, matcher_text(matcher), new_secret(), now),
        )
    return endpoint(book, name)


def endpoint(book: Book, name: str) -> Endpoint:
    """Return an endpoint by its name; BookError where there is none."""
    with book.reading() as connection:
        row = connection.execute("SELECT * FROM endpoints WHERE name = ?", (name,)).fetchone()
    if row is None:
        raise BookError(f"there is no endpoint {name}")
    return _endpoint(row)


def endpoints(book: Book) -> list[Endpoint]:
    """Return all endpoints."""
    with book.reading() as connection:
        return read_endpoints(connection)


def read_endpoints(connection: sqlite3.Connection) -> list[Endpoint]:
    """Return all endpoints within a transaction."""
    return [_endpoint(row) for row in connection.execute("SELECT * FROM endpoints ORDER BY name").fetchall()]


def _endpoint(row: sqlite3.Row) -> Endpoint:
    return Endpoint(**{**dict(row), "matcher": text_matcher(row["matcher"])})


def remove_endpoint(book: Book, name: str) -> None:
    """Forget an endpoint and what waits for it; BookError where there is none."""
    endpoint(book, name)
    with book.writing() as connection:
        connection.execute("DELETE FROM attempts WHERE endpoint = ?", (name,))
        connection.execute("DELETE FROM messages WHERE endpoint = ?", (name,))
        connection.execute("DELETE FROM groups WHERE endpoint = ?", (name,))
        connection.execute("DELETE FROM endpoints WHERE name = ?", (name,))


def rotate_secret(book: Book, name: str, now: int) -> Endpoint:
    """Give an endpoint a new secret; the old one signs beside it for a day. BookError where there is none."""
    endpoint(book, name)
    with book.writing() as connection:
        connection.execute(
            "UPDATE endpoints SET old_secret = secret, old_until = ?, secret = ? WHERE name = ?",
            (now + ROTATION_S * NS, new_secret(), name),
        )
    return endpoint(book, name)


def enable_endpoint(book: Book, name: str, now: int) -> Endpoint:
    """Send to an endpoint again that was disabled: what waits goes at once. BookError where there is none."""
    endpoint(book, name)
    with book.writing() as connection:
        connection.execute(
            "UPDATE endpoints SET disabled_at = NULL, disabled_why = '', not_before = 0 WHERE name = ?", (name,)
        )
        connection.execute(
            "UPDATE messages SET next_at = ? WHERE endpoint = ? AND state = 'waiting'", (now, name)
        )  # fmt: skip
    return endpoint(book, name)


def put_message(
    connection: sqlite3.Connection,
    endpoint_name: str,
    labels: Labels,
    event: str,
    body: bytes,
    now: int,
    severity: str = "warning",
) -> str:
    """Put a message down to be sent, within a transaction; return its id.

    Messages of a group go in their order: an older one that waits is tried at once, so that this one can follow.
    """
    key = f"msg_{uuid.uuid4().hex}"
    group = labels_text(labels)
    number = connection.execute("SELECT coalesce(max(number), 0) + 1 FROM messages").fetchone()[0]
    connection.execute(
        "UPDATE messages SET next_at = min(next_at, ?) WHERE endpoint = ? AND state = 'waiting' AND labels = ?",
        (now, endpoint_name, group),
    )
    connection.execute(
        "INSERT INTO messages (id, endpoint, labels, number, made, event, body, state, next_at, urgency) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, 'waiting', ?, ?)",
        (key, endpoint_name, group, number, now, event, body, now, SEVERITIES.index(severity)),
    )
    dropped = connection.execute(
        "UPDATE messages SET state = 'dropped', done_at = ? WHERE endpoint = ? AND state = 'waiting' AND number <= "
        "(SELECT number FROM messages WHERE endpoint = ? AND state = 'waiting' ORDER BY number DESC LIMIT 1 OFFSET ?)",
        (now, endpoint_name, endpoint_name, MOST_WAITING),
    )
    if dropped.rowcount:
        _count(connection, DEAD, dropped.rowcount)
    return key


def due_message(book: Book, name: str, now: int) -> tuple[Message | None, int | None]:
    """Return the message to send to an endpoint now, else when the next one is due; None: nothing waits.

    Of each group only the oldest waiting message may go, as urgent as the most urgent behind it. Critical ones go
    first; of equally urgent ones those that were tried before, so that no first retry is put off by what came later.
    """
    with book.reading() as connection:
        row = connection.execute(
            "WITH groups AS (SELECT labels, min(number) AS oldest, min(urgency) AS urgency FROM messages "
            "WHERE endpoint = ? AND state = 'waiting' GROUP BY labels) "
            "SELECT m.* FROM messages AS m JOIN groups ON m.labels = groups.labels AND m.number = groups.oldest "
            "WHERE m.endpoint = ? AND m.state = 'waiting' "
            "ORDER BY max(m.next_at, ?), groups.urgency, m.attempts = 0, m.next_at, m.number LIMIT 1",
            (name, name, now),
        ).fetchone()
    if row is None:
        return None, None
    found = _message(row)
    return (found, None) if found.next_at <= now else (None, found.next_at)


def message(book: Book, key: str) -> Message:
    """Return a message by its id; BookError where there is none."""
    with book.reading() as connection:
        row = connection.execute("SELECT * FROM messages WHERE id = ?", (key,)).fetchone()
    if row is None:
        raise BookError(f"there is no message {key}")
    return _message(row)


def messages(book: Book, name: str | None = None, most: int = 200) -> list[Message]:
    """Return the newest messages, of one endpoint or all."""
    where, values = ("", ()) if name is None else ("WHERE endpoint = ?", (name,))
    with book.reading() as connection:
        rows = connection.execute(
            f"SELECT * FROM messages {where} ORDER BY number DESC LIMIT ?",  # noqa: S608
            (*values, most),
        ).fetchall()
    return [_message(row) for row in rows]


def _message(row: sqlite3.Row) -> Message:
    return Message(
        row["id"], row["endpoint"], text_labels(row["labels"]), row["made"], row["event"], row["body"], row["state"],
        row["attempts"], row["next_at"], row["done_at"],
    )  # fmt: skip


def attempts(book: Book, key: str) -> list[Attempt]:
    """Return the attempts to deliver a message, the oldest first."""
    with book.reading() as connection:
        rows = connection.execute("SELECT * FROM attempts WHERE message = ? ORDER BY number", (key,)).fetchall()
    return [
        Attempt(row["message"], row["endpoint"], row["at"], row["took_ms"], row["status"], row["outcome"], row["note"])
        for row in rows
    ]


def note_delivered(book: Book, attempt: Attempt, now: int) -> None:
    """Note that a message arrived; what waits for the endpoint, which is back then, goes at once."""
    with book.writing() as connection:
        _note(connection, attempt)
        connection.execute(
            "UPDATE messages SET state = 'delivered', done_at = ?, attempts = attempts + 1 WHERE id = ?",
            (now, attempt.message),
        )
        connection.execute("UPDATE endpoints SET not_before = 0 WHERE name = ?", (attempt.endpoint,))
        connection.execute(
            "UPDATE messages SET next_at = min(next_at, ?) WHERE endpoint = ? AND state = 'waiting'",
            (now, attempt.endpoint),
        )


def note_failed(book: Book, attempt: Attempt, next_at: int | None, not_before: int | None, now: int) -> None:
    """Note that an attempt failed: when the next one is (None: never), and how long the endpoint asked for rest."""
    with book.writing() as connection:
        _note(connection, attempt)
        connection.execute(
            "UPDATE messages SET attempts = attempts + 1, next_at = coalesce(?, next_at), "
            "state = CASE WHEN ? IS NULL THEN 'given_up' ELSE state END, "
            "done_at = CASE WHEN ? IS NULL THEN ? ELSE NULL END WHERE id = ?",
            (next_at, next_at, next_at, now, attempt.message),
        )
        if next_at is None:
            _count(connection, DEAD)
        if not_before is not None:
            connection.execute("UPDATE endpoints SET not_before = ? WHERE name = ?", (not_before, attempt.endpoint))


def note_disabled(book: Book, attempt: Attempt, why: str, now: int) -> None:
    """Note that an endpoint wants nothing more: what waits for it stays until it is enabled or removed."""
    with book.writing() as connection:
        _note(connection, attempt)
        connection.execute("UPDATE messages SET attempts = attempts + 1 WHERE id = ?", (attempt.message,))
        connection.execute(
            "UPDATE endpoints SET disabled_at = ?, disabled_why = ? WHERE name = ?", (now, why, attempt.endpoint)
        )


def _note(connection: sqlite3.Connection, one: Attempt) -> None:
    connection.execute(
        "INSERT INTO attempts (message, endpoint, at, took_ms, status, outcome, note) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (one.message, one.endpoint, one.at, one.took_ms, one.status, one.outcome, one.note),
    )
    _count(connection, ATTEMPTS + one.outcome)


def _count(connection: sqlite3.Connection, name: str, number: int = 1) -> None:
    """Count on, for ever: the rows themselves are forgotten after a while."""
    connection.execute(
        "INSERT INTO notes (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
        (name, number),
    )


def replay(book: Book, key: str, now: int) -> Message:
    """Send a message once more, under its id and from the first attempt on; BookError where there is none."""
    message(book, key)
    with book.writing() as connection:
        connection.execute(
            "UPDATE messages SET state = 'waiting', attempts = 0, next_at = ?, done_at = NULL WHERE id = ?", (now, key)
        )
    return message(book, key)


def hold(connection: sqlite3.Connection, key: str, until: int) -> None:
    """Keep a message back, within a transaction, for somebody is sending it by hand."""
    connection.execute("UPDATE messages SET next_at = ? WHERE id = ?", (until, key))


def give_up(book: Book, key: str, now: int) -> None:
    """Try a message no more that was not delivered."""
    with book.writing() as connection:
        changed = connection.execute(
            "UPDATE messages SET state = 'given_up', done_at = ? WHERE id = ? AND state = 'waiting'", (now, key)
        )
        if changed.rowcount:
            _count(connection, DEAD, changed.rowcount)


class Backlog(NamedTuple):
    """What waits for an endpoint."""

    waiting: int
    tried: int
    """Most attempts that failed of one of them."""
    oldest: int | None
    """When the oldest was made."""


def backlog(book: Book, name: str) -> Backlog:
    """Return what waits for an endpoint."""
    with book.reading() as connection:
        row = connection.execute(
            "SELECT count(*), coalesce(max(attempts), 0), min(made) FROM messages "
            "WHERE endpoint = ? AND state = 'waiting'",
            (name,),
        ).fetchone()
    return Backlog(*row)


class DeliveryCounts(NamedTuple):
    """What became of messages, ever since the book was begun."""

    attempts: Mapping[str, int]
    """By their outcome, as `OUTCOMES` has them."""
    dead: int
    """Messages that are tried no more, and were not delivered."""


def delivery_counts(book: Book) -> DeliveryCounts:
    """Return what was tried so far; counts only go up, also where messages are forgotten."""
    with book.reading() as connection:
        found = dict(connection.execute("SELECT name, value FROM notes").fetchall())
    return DeliveryCounts({name: found.get(ATTEMPTS + name, 0) for name in OUTCOMES}, found.get(DEAD, 0))


def forget_done(book: Book, before: int) -> None:
    """Forget messages that were done before a time, and their attempts."""
    with book.writing() as connection:
        connection.execute(
            "DELETE FROM attempts WHERE message IN (SELECT id FROM messages WHERE done_at < ?)", (before,)
        )
        connection.execute("DELETE FROM messages WHERE done_at < ?", (before,))
