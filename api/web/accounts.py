"""People, tokens and sessions of a store, in `access/accounts.sqlite3`: what the server and the commands both use.

Of tokens and sessions only the SHA-256 is kept: they are 256 random bits, which no guessing finds. Passwords are kept
as argon2id (RFC 9106), for people choose them.
"""

from __future__ import annotations

import logging
import re
import secrets
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from api.private_file import make_private
from api.web.rights import Caller, Role

FOLDER: Final = "access"
NS_PER_HOUR: Final = 3_600_000_000_000
SHORTEST_PASSWORD: Final = 12
LONGEST_PASSWORD: Final = 1_024
TOKEN_PREFIX: Final = "cg_"  # noqa: S105
_NAME = re.compile(r"\w[\w .@+-]{0,63}")
_SEEN_EVERY_NS: Final = 60_000_000_000
SEEN_AFTER_S: Final = 10.0
"""When a token or session was last used is written so much later, of all at once: requests wait for no disk."""
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS people (
  name TEXT PRIMARY KEY, role TEXT NOT NULL, numbers INTEGER NOT NULL, password TEXT, subject TEXT UNIQUE,
  made INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS tokens (
  id TEXT PRIMARY KEY, name TEXT NOT NULL, role TEXT NOT NULL, numbers INTEGER NOT NULL, digest TEXT NOT NULL UNIQUE,
  made INTEGER NOT NULL, ends INTEGER, used INTEGER) STRICT;
CREATE TABLE IF NOT EXISTS sessions (
  digest TEXT PRIMARY KEY, person TEXT REFERENCES people ON DELETE CASCADE,
  token TEXT REFERENCES tokens ON DELETE CASCADE, made INTEGER NOT NULL, seen INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS secrets (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;
"""


_logger = logging.getLogger("callgauge.web")


class AccountError(ValueError):
    """What was asked for cannot be; the message is one sentence for people."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who may sign in."""

    name: str
    role: Role
    numbers: bool
    """Whether numbers may be seen unmasked."""
    made: int
    """When [ns since 1970]."""
    has_password: bool
    subject: str | None
    """Issuer and subject of OpenID Connect; None where there is a password."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token, but for its secret."""

    id: str
    name: str
    role: Role
    numbers: bool
    """Whether numbers may be seen unmasked."""
    made: int
    """When [ns since 1970]."""
    ends: int | None
    """From when it no longer holds [ns since 1970]; None: it holds until it is revoked."""
    used: int | None
    """When it was last used, to the minute [ns since 1970]; None: never."""


class Accounts:
    """Who may come in. Every change is written at once; other processes see it with their next question.

    Only when tokens and sessions were last used is written some seconds later; this process knows it at once.
    """

    def __init__(self, store: Path) -> None:
        folder = store / FOLDER
        folder.mkdir(mode=0o700, exist_ok=True)
        path = folder / "accounts.sqlite3"
        make_private(path)
        self._lock = threading.Lock()
        self._path = path.absolute()
        self._noting = threading.Lock()
        self._noted: dict[tuple[str, str], int] = {}
        self._soon: threading.Timer | None = None
        self._connection = sqlite3.connect(path, timeout=10, check_same_thread=False, isolation_level=None)
        self._connection.executescript(f"PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON; {_TABLES}")

    def close(self) -> None:
        """Let go of the file."""
        with self._noting:
            if self._soon is not None:
                self._soon.cancel()
        try:
            self._write_seen()
        finally:
            self._connection.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def _rows(self, question: str, *values: object) -> list[Any]:
        with self._lock:
            return self._connection.execute(question, values).fetchall()

    def _seen(self, table: str, key: str, written: int | None) -> int | None:
        """Return when a token or session was last used, of which `written` is in the file."""
        noted = self._noted.get((table, key))
        return written if noted is None else max(noted, written or noted)

    def _note_seen(self, table: str, key: str, now: int) -> None:
        with self._noting:
            self._noted[table, key] = now
            if self._soon is None:
                self._soon = threading.Timer(SEEN_AFTER_S, self._write_seen_soon)
                self._soon.daemon = True
                self._soon.start()

    def _write_seen_soon(self) -> None:
        try:
            self._write_seen()
        except sqlite3.Error as error:
            # It is still noted, and written with what is noted next.
            _logger.warning("when tokens and sessions were used cannot be written: %s", error)

    def _write_seen(self) -> None:
        """Write when tokens and sessions were used, by a connection of its own: others read meanwhile."""
        with self._noting:
            self._soon = None
            noted = dict(self._noted)
        if noted:
            with closing(
                sqlite3.connect(f"{self._path.as_uri()}?mode=rw", uri=True, timeout=10, isolation_level=None)
            ) as connection:
                connection.execute("BEGIN IMMEDIATE")
                for (table, key), at in noted.items():
                    connection.execute(_SEEN[table], (at, key))
                connection.execute("COMMIT")
        with self._noting:
            self._noted = {one: at for one, at in self._noted.items() if noted.get(one) != at}

    def secret(self, name: str) -> bytes:
        """Return a secret of this store, made at the first time: 256 random bits."""
        with self._writing() as connection:
            connection.execute("INSERT OR IGNORE INTO secrets VALUES (?, ?)", (name, secrets.token_bytes(32)))
            found: bytes = connection.execute("SELECT value FROM secrets WHERE name = ?", (name,)).fetchone()[0]
        return found

    def first_token(self, now: int) -> str | None:
        """Return a new admin token where nobody can come in yet, and never again; None otherwise."""
        with self._writing() as connection:
            done = connection.execute(
                "SELECT (SELECT count(*) FROM people) + (SELECT count(*) FROM tokens)"
                " + (SELECT count(*) FROM secrets WHERE name = 'first_start')"
            ).fetchone()[0]
            if done:
                return None
            connection.execute("INSERT INTO secrets VALUES ('first_start', ?)", (b"done",))
            return _put_token(connection, "first start", Role.ADMIN, numbers=False, now=now, ends=None)[1]

    # Tokens

    def add_token(
        self, name: str, role: Role, now: int, *, numbers: bool = False, ends: int | None = None
    ) -> tuple[Token, str]:
        """Make a token; return it and its secret, which is kept nowhere."""
        with self._writing() as connection:
            identity, secret = _put_token(connection, _checked(name), role, numbers=numbers, now=now, ends=ends)
        return Token(identity, name, role, numbers, now, ends, None), secret

    def tokens(self) -> list[Token]:
        """Return all tokens, the oldest first."""
        rows = self._rows("SELECT id, name, role, numbers, made, ends, used FROM tokens ORDER BY made, id")
        return [
            Token(row[0], row[1], Role(row[2]), bool(row[3]), row[4], row[5], self._seen("tokens", row[0], row[6]))
            for row in rows
        ]

    def revoke(self, identity: str) -> bool:
        """Make a token worthless; whether there was one."""
        with self._writing() as connection:
            return connection.execute("DELETE FROM tokens WHERE id = ?", (identity,)).rowcount > 0

    def by_token(self, secret: str, now: int) -> Caller | None:
        """Return whose token this is; None where it is nobody's, or its time is over."""
        rows = self._rows("SELECT id, name, role, numbers, ends, used FROM tokens WHERE digest = ?", _digest(secret))
        if not rows:
            return None
        identity, name, role, numbers, ends, used = rows[0]
        if ends is not None and now >= ends:
            return None
        used = self._seen("tokens", identity, used)
        if used is None or now - used > _SEEN_EVERY_NS:
            self._note_seen("tokens", identity, now)
        return Caller(f"token:{identity}", name, Role(role), bool(numbers))

    # People

    def add_person(
        self,
        name: str,
        role: Role,
        now: int,
        *,
        password: str | None = None,
        numbers: bool = False,
        subject: str | None = None,
    ) -> Person:
        """Let somebody in; AccountError where the name is taken or the password too short."""
        hashed = None if password is None else _hashed(name, password)
        try:
            with self._writing() as connection:
                connection.execute(
                    "INSERT INTO people VALUES (?, ?, ?, ?, ?, ?)",
                    (_checked(name), role, int(numbers), hashed, subject, now),
                )
        except sqlite3.IntegrityError:
            raise AccountError(f"there is a person {name} already") from None
        return Person(name, role, numbers, now, hashed is not None, subject)

    def people(self) -> list[Person]:
        """Return all people by name."""
        rows = self._rows("SELECT name, role, numbers, made, password, subject FROM people ORDER BY name")
        return [Person(row[0], Role(row[1]), bool(row[2]), row[3], row[4] is not None, row[5]) for row in rows]

    def remove_person(self, name: str) -> bool:
        """Let somebody in no more, from now on; whether there was such a person."""
        with self._writing() as connection:
            return connection.execute("DELETE FROM people WHERE name = ?", (name,)).rowcount > 0

    def set_password(self, name: str, password: str) -> None:
        """Change a password, which ends all sessions; AccountError where there is no such person."""
        hashed = _hashed(name, password)
        with self._writing() as connection:
            if not connection.execute("UPDATE people SET password = ? WHERE name = ?", (hashed, name)).rowcount:
                raise AccountError(f"there is no person {name}")
            connection.execute("DELETE FROM sessions WHERE person = ?", (name,))

    def change_person(self, name: str, role: Role, *, numbers: bool) -> Person | None:
        """Give somebody another role, which ends all sessions; None where there is no such person."""
        with self._writing() as connection:
            connection.execute("UPDATE people SET role = ?, numbers = ? WHERE name = ?", (role, int(numbers), name))
            connection.execute("DELETE FROM sessions WHERE person = ?", (name,))
        return next((one for one in self.people() if one.name == name), None)

    def with_password(self, name: str, password: str) -> Person | None:
        """Return the person whose password this is. It takes as long where there is no such person: about 50 ms."""
        from argon2 import PasswordHasher
        from argon2.exceptions import InvalidHashError, VerifyMismatchError

        rows = self._rows("SELECT password FROM people WHERE name = ?", name)
        hashed = rows[0][0] if rows else None
        try:
            PasswordHasher().verify(hashed or NOBODYS_PASSWORD, password[:LONGEST_PASSWORD])
        except (VerifyMismatchError, InvalidHashError):
            return None
        return None if hashed is None else next(one for one in self.people() if one.name == name)

    def by_subject(self, subject: str, name: str, role: Role, now: int) -> Person:
        """Return the person whom an OpenID provider names, made at the first sign-in, with the role it gives today."""
        with self._writing() as connection:
            row = connection.execute("SELECT name, numbers, made FROM people WHERE subject = ?", (subject,)).fetchone()
            if row is not None:
                connection.execute("UPDATE people SET role = ? WHERE subject = ?", (role, subject))
                return Person(row[0], role, bool(row[1]), row[2], False, subject)
        return self.add_person(name, role, now, subject=subject)

    # Sessions

    def open_session(self, of: Caller, now: int) -> str:
        """Begin a session of a person or of a token; return its secret for the cookie."""
        secret = secrets.token_urlsafe(32)
        kind, _, name = of.key.partition(":")
        person, token = (name, None) if kind == "user" else (None, name)
        with self._writing() as connection:
            connection.execute(
                "INSERT INTO sessions VALUES (?, ?, ?, ?, ?)", (_digest(secret), person, token, now, now)
            )
        return secret

    def by_session(self, secret: str, now: int, *, idle_hours: float, hours: float) -> Caller | None:
        """Return whose session this is; None where there is none, or it was idle or open for too long."""
        return self.by_session_digest(_digest(secret), now, idle_hours=idle_hours, hours=hours)

    def by_session_digest(self, digest: str, now: int, *, idle_hours: float, hours: float) -> Caller | None:
        """Return whose session this still is, by the digest of its secret (`Caller.session`)."""
        rows = self._rows(
            "SELECT 'user:' || name, name, role, numbers, s.made, seen, NULL"
            " FROM sessions s JOIN people ON name = person WHERE s.digest = ?1"
            " UNION ALL SELECT 'token:' || id, name, role, numbers, s.made, seen, ends"
            " FROM sessions s JOIN tokens ON id = token WHERE s.digest = ?1",
            digest,
        )
        if not rows:
            return None
        key, name, role, numbers, made, written, ends = rows[0]
        seen = self._seen("sessions", digest, written) or 0
        too_old = now - made >= hours * NS_PER_HOUR or now - seen >= idle_hours * NS_PER_HOUR
        if too_old or (ends is not None and now >= ends):
            self.close_session(digest)
            return None
        if now - seen > _SEEN_EVERY_NS:
            self._note_seen("sessions", digest, now)
        return Caller(key, name, Role(role), bool(numbers), digest)

    def still(self, caller: Caller, now: int, *, idle_hours: float, hours: float) -> bool:
        """Whether somebody who came in may still be there, with the same role: asked of what stays open."""
        if caller.session is not None:
            return self.by_session_digest(caller.session, now, idle_hours=idle_hours, hours=hours) == caller
        identity = caller.key.partition(":")[2]
        found = next((one for one in self.tokens() if one.id == identity), None)
        return found is not None and (found.ends is None or now < found.ends)

    def close_session(self, digest: str) -> None:
        """End a session."""
        with self._writing() as connection:
            connection.execute("DELETE FROM sessions WHERE digest = ?", (digest,))


_SEEN: Final = {
    "tokens": "UPDATE tokens SET used = max(coalesce(used, 0), ?) WHERE id = ?",
    "sessions": "UPDATE sessions SET seen = max(seen, ?) WHERE digest = ?",
}
NOBODYS_PASSWORD: Final = (
    "$argon2id$v=19$m=65536,t=3,p=4$nrOPgh3jTTFly9/qZ2YNRA$aHZUMUIQ3kbfNb6lGHZ68S3p8gJBA26lmjddya53XCM"  # noqa: S105
)
"""Of a password that was thrown away: checked where nobody has the name, so that it takes as long."""


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise AccountError("a name is 1 to 64 letters, digits, spaces or any of . @ + - _, and begins with a letter")
    return name


def _digest(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()


def _hashed(name: str, password: str) -> str:
    from argon2 import PasswordHasher

    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise AccountError(f"a password has at least {SHORTEST_PASSWORD} characters")
    if password.casefold() == name.casefold():
        raise AccountError("a password is not the name")
    return PasswordHasher().hash(password)


def _put_token(
    connection: sqlite3.Connection, name: str, role: Role, *, numbers: bool, now: int, ends: int | None
) -> tuple[str, str]:
    identity = secrets.token_hex(4)
    secret = f"{TOKEN_PREFIX}{identity}_{secrets.token_urlsafe(32)}"
    connection.execute(
        "INSERT INTO tokens VALUES (?, ?, ?, ?, ?, ?, ?, NULL)",
        (identity, name, role, int(numbers), _digest(secret), now, ends),
    )
    return identity, secret
