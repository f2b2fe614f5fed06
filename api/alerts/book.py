"""The book of alerts on disk: states, silences, groups, endpoints, and messages that wait (SQLite, WAL).

What the loop decides and what is to be sent of it is one transaction: a process that is killed has either done both or
neither. Several processes may read and write: the loop, the API, the commands.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from analytics.store.settings import StoreError
from api.private_file import make_private

FOLDER: Final = "_alerts"
FILE: Final = "alerts.sqlite3"
FORMAT: Final = 2
_TABLES: Final = """
CREATE TABLE states (
    rule TEXT NOT NULL, labels TEXT NOT NULL, phase TEXT NOT NULL, since INTEGER NOT NULL, fired_at INTEGER,
    digest TEXT NOT NULL, streak_since INTEGER, reason TEXT NOT NULL, sample TEXT NOT NULL, muted TEXT NOT NULL,
    asked_at INTEGER NOT NULL, PRIMARY KEY (rule, labels)
) WITHOUT ROWID;
CREATE TABLE changes (
    number INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, rule TEXT NOT NULL, labels TEXT NOT NULL,
    before TEXT NOT NULL, phase TEXT NOT NULL, fired_at INTEGER, numerator REAL, denominator REAL,
    reason TEXT NOT NULL, stored INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX changes_at ON changes (at);
CREATE TABLE silences (
    key INTEGER PRIMARY KEY AUTOINCREMENT, matcher TEXT NOT NULL, since INTEGER NOT NULL, until INTEGER NOT NULL,
    author TEXT NOT NULL, comment TEXT NOT NULL
);
CREATE TABLE acknowledgements (
    fingerprint TEXT PRIMARY KEY, fired_at INTEGER NOT NULL, at INTEGER NOT NULL, author TEXT NOT NULL,
    comment TEXT NOT NULL
);
CREATE TABLE groups (
    endpoint TEXT NOT NULL, labels TEXT NOT NULL, first_at INTEGER NOT NULL, at INTEGER, firing TEXT NOT NULL,
    PRIMARY KEY (endpoint, labels)
) WITHOUT ROWID;
CREATE TABLE ended (episode TEXT PRIMARY KEY, alert TEXT NOT NULL, resolved_at INTEGER NOT NULL);
CREATE TABLE endpoints (
    name TEXT PRIMARY KEY, url TEXT NOT NULL, shape TEXT NOT NULL, matcher TEXT NOT NULL, secret TEXT NOT NULL,
    old_secret TEXT, old_until INTEGER, made INTEGER NOT NULL, not_before INTEGER NOT NULL DEFAULT 0,
    disabled_at INTEGER, disabled_why TEXT NOT NULL DEFAULT ''
);
CREATE TABLE messages (
    id TEXT PRIMARY KEY, endpoint TEXT NOT NULL, labels TEXT NOT NULL, number INTEGER NOT NULL, made INTEGER NOT NULL,
    event TEXT NOT NULL, body BLOB NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
    next_at INTEGER NOT NULL, done_at INTEGER, urgency INTEGER NOT NULL DEFAULT 1
);
CREATE INDEX messages_waiting ON messages (endpoint, state, next_at);
CREATE TABLE attempts (
    number INTEGER PRIMARY KEY AUTOINCREMENT, message TEXT NOT NULL, endpoint TEXT NOT NULL, at INTEGER NOT NULL,
    took_ms INTEGER NOT NULL, status INTEGER, outcome TEXT NOT NULL, note TEXT NOT NULL
);
CREATE INDEX attempts_message ON attempts (message);
CREATE TABLE notes (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
"""


_UPGRADES: Final = {1: "ALTER TABLE messages ADD COLUMN urgency INTEGER NOT NULL DEFAULT 1"}
"""What makes the next format of one."""


class BookError(StoreError):
    """The book cannot do what was asked; the message is one sentence for people."""


class Book:
    """An open book. Threads take turns."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._lock = threading.RLock()

    @classmethod
    def open(cls, store: Path) -> Book:
        """Open the book of a store, made if absent; only its owner may look into it. BookError where it cannot be."""
        folder = store / FOLDER
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            path = folder / FILE
            make_private(path)  # it holds the secrets of endpoints
            connection = sqlite3.connect(path, timeout=20, isolation_level=None, check_same_thread=False)
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
        except OSError as error:
            raise BookError(f"alerts cannot be kept in {folder}: {error.strerror}") from error
        except sqlite3.Error as error:
            raise BookError(f"{folder / FILE} cannot be opened: {error}") from error
        book = cls(path, connection)
        book._prepare()
        return book

    def _prepare(self) -> None:
        with self.reading() as connection:
            if connection.execute("PRAGMA user_version").fetchone()[0] == FORMAT:
                return
        with self.writing() as connection:
            # Another process may have been first meanwhile.
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version == FORMAT:
                return
            if not 0 <= version < FORMAT:
                raise BookError(f"{self.path} has format {version}; this version reads format {FORMAT}")
            statements = [_UPGRADES[old] for old in range(version, FORMAT)] if version else _TABLES.split(";\n")
            for statement in statements:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {FORMAT}")

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Lend the connection for one transaction, which stands whole on the disk or not at all. BookError."""
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
            except sqlite3.Error as error:
                raise BookError(f"{self.path} cannot be written: {error}") from error
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except sqlite3.Error as error:
                self._roll_back()
                raise BookError(f"{self.path} cannot be written: {error}") from error
            except BaseException:
                self._roll_back()
                raise

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Lend the connection for questions. BookError."""
        with self._lock:
            try:
                yield self._connection
            except sqlite3.Error as error:
                raise BookError(f"{self.path} cannot be read: {error}") from error

    def close(self) -> None:
        """Let go of it."""
        with self._lock:
            self._connection.close()
