"""The audit log: who looked at people's data and who changed what, in `access/audit-YYYY-MM.ndjson` of a store.

Each line holds the SHA-256 of the line before, so that a line which is changed, taken out or put in breaks the chain
there. Who can write the folder can still cut off its end, or write the whole anew: note the newest digest elsewhere
(`callgauge_audit_entries` and the page of the log show it), or send the lines away.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from api.web.accounts import FOLDER

START: Final = "0" * 64
"""What stands before the first line."""
_TAIL: Final = 65_536
_LONGEST: Final = 1_000


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the log."""

    number: int
    """From 1, without gaps."""
    at: int
    """When [ns since 1970]."""
    who: str
    """`user:NAME`, `token:ID`, `command:USER` or `nobody`."""
    role: str
    what: str
    """E.g. `calls.search`, `call.view`, `sign_in`, `token.add`."""
    of: str
    """What it was about, e.g. the key of a call."""
    numbers: bool
    """Whether numbers were shown unmasked."""
    address: str
    """Where it came from."""
    request_id: str
    more: Mapping[str, Any]
    before: str
    """Digest of the line before."""
    digest: str
    """SHA-256 of this line without its digest."""


class AuditError(ValueError):
    """The log does not hold together; the message says where."""


class AuditLog:
    """Appends to the log; several processes may."""

    def __init__(self, store: Path) -> None:
        self._folder = store / FOLDER
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._lock = threading.Lock()

    def append(
        self,
        at: int,
        who: str,
        what: str,
        of: str = "",
        *,
        role: str = "",
        numbers: bool = False,
        address: str = "",
        request_id: str = "",
        more: Mapping[str, Any] | None = None,
    ) -> Entry:
        """Append a line; it is on the disk when this returns. OSError where it cannot be: then nothing may be shown."""
        with self._lock, (self._folder / "audit.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            last = self._last()
            number, before = (last.number + 1, last.digest) if last else (1, START)
            line = {
                "number": number,
                "at": at,
                "who": who,
                "role": role,
                "what": what,
                "of": of[:_LONGEST],
                "numbers": numbers,
                "address": address,
                "request_id": request_id,
                "more": dict(more or {}),
                "before": before,
            }
            digest = _digest(line)
            path = self._folder / f"audit-{datetime.fromtimestamp(at / 1e9, UTC):%Y-%m}.ndjson"
            newest = self._files()[-1:]
            if newest and newest[0].name > path.name:
                path = newest[0]  # a clock that went back leaves the lines in their order
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "wb") as file:
                file.write(_canonical({**line, "digest": digest}) + b"\n")
                file.flush()
                os.fsync(file.fileno())
        return _entry({**line, "digest": digest})

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("audit-*.ndjson"))

    def _last(self) -> Entry | None:
        return next(self.backwards(), None)

    def backwards(self, before: int | None = None) -> Iterator[Entry]:
        """Yield entries, the newest first, from the one before number `before`."""
        for path in reversed(self._files()):
            for line in _lines_backwards(path):
                entry = _entry(json.loads(line))
                if before is None or entry.number < before:
                    yield entry

    def head(self) -> tuple[int, str]:
        """Return how many entries there are, and the digest of the newest."""
        last = self._last()
        return (last.number, last.digest) if last else (0, START)

    def verify(self) -> int:
        """Go through the whole log; return how many entries it has. AuditError at the first that does not fit."""
        number, before = 0, START
        for path in self._files():
            with path.open("rb") as file:
                for line in file:
                    number, before = _fits(path, line, number, before)
        return number


def _fits(path: Path, line: bytes, number: int, before: str) -> tuple[int, str]:
    try:
        stated = json.loads(line)
        digest = stated.pop("digest")
    except (ValueError, KeyError, AttributeError):
        raise AuditError(f"{path.name}: the line after entry {number} is none") from None
    if digest != _digest(stated):
        raise AuditError(f"{path.name}: entry {number + 1} was changed")
    if stated["before"] != before or stated["number"] != number + 1:
        raise AuditError(f"{path.name}: something is missing or was put in after entry {number}")
    return number + 1, digest


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _digest(line: Mapping[str, Any]) -> str:
    return sha256(_canonical(line)).hexdigest()


def _entry(stated: Mapping[str, Any]) -> Entry:
    return Entry(**stated)


def _lines_backwards(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        at = file.seek(0, os.SEEK_END)
        rest = b""
        while at > 0:
            size = min(_TAIL, at)
            at = file.seek(at - size)
            pieces = (file.read(size) + rest).split(b"\n")
            rest = pieces[0]
            yield from (piece for piece in reversed(pieces[1:]) if piece)
        if rest:
            yield rest
