"""Which messages of a Call-ID are new (RFC 3261 17).

A capture hears a message in many ways: again because its sender got no answer (a retransmission), again because a
proxy's other side lies in the capture too, or because a second tap gave the same packet (a copy). Whoever follows
dialogs wants to see it once.
"""

from __future__ import annotations

import enum
from array import array

from collector.facts import Endpoint
from collector.protocols.sip import SipMessage

TIMER_B = 32_000_000_000
"""An INVITE without any response has failed [ns] (RFC 3261 17.1.1.2: 64 T1)."""
COPY_WINDOW = 50_000_000
"""Sooner than this no timer repeats a message [ns] (RFC 3261 17.1.1.1: T1 is 500 ms): it is a copy of the capture."""

_SEEN_LIMIT = 512
_HOPS_LIMIT = 16

Seen = dict[int, "array[int]"]
"""Messages of a Call-ID by what stays along the path; of each hop sender, branch, time [ns] and size.

All of them by 64 bits of their hash, keyed anew in each process: as text they would be most of what a call takes.
"""


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
    hops = seen.get(key)
    size = len(message.raw)
    sender, branch = hash(src), hash(message.branch)
    if hops is None:
        if len(seen) >= _SEEN_LIMIT:
            seen.clear()
        seen[key] = array("q", (sender, branch, at, size))
        return Heard.FIRST
    for start in range(0, len(hops), 4):
        if hops[start] == sender and hops[start + 1] == branch:
            since, hops[start + 2] = hops[start + 2], at
            if hops[start + 3] != size and 100 < message.status < 200:
                hops[start + 3] = size
                return Heard.FIRST
            return Heard.AGAIN if at - since >= COPY_WINDOW else Heard.COPY
    if len(hops) < 4 * _HOPS_LIMIT:
        hops.extend((sender, branch, at, size))
    return Heard.FURTHER_ON


def has_other_branches(seen: Seen, key: int, sender: Endpoint, branch: str) -> bool:
    """Whether a message was heard from this sender, with branches that are all known and none of them this one."""
    hops = seen.get(key, ())
    known = [hops[place + 1] for place in range(0, len(hops), 4) if hops[place] == hash(sender)]
    return bool(known) and hash("") not in known and hash(branch) not in known
