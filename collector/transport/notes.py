"""The small JSON messages beside the batches: an agent's status and the centre's receipts. Parsers are strict."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

from collector.transport.payload import NAME, REASONS

VERSION = 1
ROOT = "callgauge/v1"
STATUS = "status"
MOST_OCTETS = 65_536
MOST_RANGES = 1_024
_MOST = 1 << 62


class NoteError(ValueError):
    """Bytes are no status, or no receipt."""


@dataclass(frozen=True, slots=True)
class Status:
    """What an agent says of itself: retained, so that whoever asks later hears it too."""

    agent: str
    identity: str
    """As in its messages."""
    online: bool
    """False from a graceful end, and from the broker when the agent fell silent (last will)."""
    version: str
    """Version of Callgauge."""
    since: int
    """When it connected, by its own clock [ns since 1970]."""
    clock: int
    """When it said this, by its own clock [ns since 1970]."""
    last_sequence: int = 0
    """Sequence of its newest message in the spool."""
    waiting: int = 0
    """Messages in the spool without a receipt."""
    spool_octets: int = 0
    """Disk that the spool takes [octets]."""
    spool_dropped: int = 0
    """Messages dropped from the spool, for it was at its bound."""
    spool_damaged: int = 0
    """Messages that the disk did not give back as they were."""
    queue_dropped: int = 0
    """Rows dropped before the spool, for the queue to it was full."""
    unfit: int = 0
    """Rows that are none of their table, and were not sent."""
    refused: int = 0
    """Messages that the centre refused."""
    sent_again: int = 0
    """Messages that were sent once more, for no receipt came in time."""

    def __bytes__(self) -> bytes:
        return json.dumps({"v": VERSION, **asdict(self)}, separators=(",", ":")).encode()


class Refusal(NamedTuple):
    """A message that will never be stored."""

    sequence: int
    reason: str


class Receipt(NamedTuple):
    """What the centre has of an agent."""

    done: tuple[tuple[int, int], ...]
    """Ranges of sequences, ends included: stored, put aside or refused."""
    refused: tuple[Refusal, ...]

    def __bytes__(self) -> bytes:
        return json.dumps({"v": VERSION, "done": self.done, "refused": self.refused}, separators=(",", ":")).encode()


def ranges(sequences: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Return numbers as ranges, ends included."""
    found: list[tuple[int, int]] = []
    for number in sorted(set(sequences)):
        if found and found[-1][1] == number - 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return tuple(found)


def topic(site: str, kind: str) -> str:
    """Return the topic of a kind of a site; ValueError where the site cannot stand in one."""
    if not NAME.fullmatch(site):
        raise ValueError(f"{site!r} is no site's name for a topic: letters, digits, - . _ only")
    return f"{ROOT}/{site}/{kind}"


def receipts_topic(site: str, identity: str) -> str:
    """Return the topic of receipts for an agent: one level deeper, so that no centre gets those of another."""
    return topic(site, f"receipts/{identity}")


def read_status(data: bytes) -> Status:
    """Read a status; NoteError where it is none."""
    given = _object(data)
    found: dict[str, Any] = {}
    for field in fields(Status):
        value = given.get(field.name)
        if field.type == "int":
            found[field.name] = _number(value, field.name)
        elif type(value).__name__ == field.type and len(str(value)) <= 64 and str(value).isprintable():
            found[field.name] = value
        else:
            raise NoteError(f"{field.name} is no {field.type}")
    if not NAME.fullmatch(found["agent"]):
        raise NoteError("agent is no name")
    return Status(**found)


def read_receipt(data: bytes) -> Receipt:
    """Read a receipt; NoteError where it is none."""
    given = _object(data)
    done = tuple((_number(first, "done"), _number(last, "done")) for first, last in _pairs(given.get("done")))
    refused = []
    for sequence, reason in _pairs(given.get("refused")):
        if reason not in REFUSALS:
            raise NoteError("a refusal has no known reason")
        refused.append(Refusal(_number(sequence, "refused"), reason))
    return Receipt(done, tuple(refused))


REFUSALS: Mapping[str, str] = {**REASONS, "wrong_topic": "its kind is not that of its topic"}
"""Why the centre refuses a message."""


def _object(data: bytes) -> Mapping[str, Any]:
    if len(data) > MOST_OCTETS:
        raise NoteError(f"{len(data)} octets")
    try:
        given = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise NoteError("no JSON") from error
    if not isinstance(given, dict) or given.get("v") != VERSION:
        raise NoteError(f"no object of version {VERSION}")
    return given


def _pairs(value: Any) -> Sequence[tuple[Any, Any]]:
    if not isinstance(value, list) or len(value) > MOST_RANGES:
        raise NoteError("no list of pairs")
    if any(not isinstance(one, list) or len(one) != 2 or not isinstance(one[1], int | str) for one in value):
        raise NoteError("no list of pairs")
    return [(one[0], one[1]) for one in value]


def _number(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _MOST:
        raise NoteError(f"{name} is no number")
    return value
