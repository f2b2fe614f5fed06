"""Which messages of a Call-ID are new (RFC 3261 17).

A capture hears a message in many ways: again because its sender got no answer (a retransmission), again because a
proxy's other side lies in the capture too, or because a second tap gave the same packet (a copy). Whoever follows
dialogs wants to see it once.
"""

from __future__ import annotations

import enum
from array import array
from collections.abc import Iterator
from typing import TypeAlias

from collector.facts import Endpoint
from collector.protocols.sip import SipMessage

TIMER_B = 32_000_000_000
"""An INVITE without any response has failed [ns] (RFC 3261 17.1.1.2: 64 T1)."""
COPY_WINDOW = 50_000_000
"""Sooner than this no timer repeats a message [ns] (RFC 3261 17.1.1.1: T1 is 500 ms): it is a copy of the capture."""

_SEEN_LIMIT = 512
_HOPS_LIMIT = 16

Seen: TypeAlias = "array[int]"
"""Messages of a Call-ID, of each its key, and of a hop sender, branch, time [ns] and size.

All of them by 64 bits of their hash, keyed anew in each process: as text they would be most of what a call takes.
"""
_KEY, _SENDER, _BRANCH, _AT, _SIZE, _COLUMNS = range(6)


def nothing_seen() -> Seen:
    """Of a Call-ID before its first message."""
    return array("q")


def _hops(seen: Seen, key: int) -> Iterator[int]:
    """Where the hops of a message stand."""
    place = 0
    for _ in range(seen.count(key)):
        place = seen.index(key, place)
        if place % _COLUMNS == _KEY:
            yield place
        place += 1


def seen_key(method: str, cseq: int, status: int, from_tag: str, to_tag: str) -> int:
    """What a message is known by."""
    return hash((method, cseq, status, from_tag, to_tag))


class Heard(enum.Enum):
    """How a message relates to those before it."""

    FIRST = enum.auto()
    AGAIN = enum.auto()
    """A retransmission: the same hop, later."""
    FURTHER_ON = enum.auto()
    """The same message on another hop of its path, or another branch of it: sent once more, but not new."""
    COPY = enum.auto()
    """The same packet once more, as a second tap or a mirrored port gives it: it was sent once."""


def heard_before(seen: Seen, message: SipMessage, at: int, src: Endpoint) -> Heard:
    """Whether this message of one Call-ID was heard before, and how.

    Along a path Via and addresses change; method, CSeq, tags and status do not (RFC 3261 16.6). On one hop a
    retransmission has the same branch and sender (17.2.3). A provisional response that grew is a new one.
    """
    method = message.method or message.cseq_method
    key = seen_key(method, message.cseq, message.status, message.from_tag, message.to_tag)
    size = len(message.raw)
    sender, branch = hash(src), hash(message.branch)
    hops = 0
    for place in _hops(seen, key) if key in seen else ():
        hops += 1
        if seen[place + _SENDER] == sender and seen[place + _BRANCH] == branch:
            since, seen[place + _AT] = seen[place + _AT], at
            if seen[place + _SIZE] != size and 100 < message.status < 200:
                seen[place + _SIZE] = size
                return Heard.FIRST
            return Heard.AGAIN if at - since >= COPY_WINDOW else Heard.COPY
    if hops < _HOPS_LIMIT:
        if not hops and len(seen) >= _SEEN_LIMIT * _COLUMNS:
            del seen[:]
        seen.extend((key, sender, branch, at, size))
    return Heard.FURTHER_ON if hops else Heard.FIRST


def has_other_branches(seen: Seen, key: int, sender: Endpoint, branch: str) -> bool:
    """Whether a message was heard from this sender, with branches that are all known and none of them this one."""
    own = hash(sender)
    known = [seen[place + _BRANCH] for place in _hops(seen, key) if seen[place + _SENDER] == own]
    return bool(known) and hash("") not in known and hash(branch) not in known
