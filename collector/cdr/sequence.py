"""Files that are missing from a feed, told by the numbers and minutes in CUCM's file names.

Numbers of calls say nothing: CUCM's callId has gaps by design, and jumps when a server restarts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final, NamedTuple

MINUTE: Final = timedelta(minutes=1)
FEED_FILES: Final = 10
"""Files from which on a feed of one file a minute is told."""
FEED_SHARE: Final = 0.9
"""Share of neighbours a minute apart in such a feed."""


class Seen(NamedTuple):
    """A file whose name says where it belongs."""

    node: str
    record: str
    minute: datetime
    sequence: int


class Gap(NamedTuple):
    """Numbers of files that did not come, between two that did."""

    node: str
    record: str
    """`cdr`, `cmr`, or both where they share their numbers."""
    first: int
    last: int
    after: datetime
    """Minute of the file before."""
    before: datetime
    """Minute of the file behind."""

    @property
    def files(self) -> int:
        """Files that are missing."""
        return self.last - self.first + 1


class Silence(NamedTuple):
    """Minutes without a file in a feed that has one a minute: no call ended, or a file is missing."""

    node: str
    record: str
    first: datetime
    last: datetime
    minutes: int


def gaps(files: Iterable[Seen]) -> list[Gap]:
    """Find numbers that are left out between files of a node, in order of time.

    Numbers that fall back begin anew: a server that was set up again counts from 1.
    """
    found: list[Gap] = []
    for (node, record), group in _feeds(files, shared=True).items():
        ordered = sorted({(seen.minute, seen.sequence) for seen in group})
        for (after, number), (before, following) in pairwise(ordered):
            if following > number + 1:
                found.append(Gap(node, record, number + 1, following - 1, after, before))
    return found


def silences(files: Iterable[Seen]) -> list[Silence]:
    """Find minutes without a file, where a node otherwise sends one a minute."""
    found: list[Silence] = []
    for (node, record), group in _feeds(files, shared=False).items():
        minutes = sorted({seen.minute for seen in group})
        steps = [b - a for a, b in pairwise(minutes)]
        if len(minutes) < FEED_FILES or sum(step == MINUTE for step in steps) < FEED_SHARE * len(steps):
            continue
        for before, after in pairwise(minutes):
            if after - before > MINUTE:
                found.append(Silence(node, record, before + MINUTE, after - MINUTE, (after - before) // MINUTE - 1))
    return found


def _feeds(files: Iterable[Seen], shared: bool) -> dict[tuple[str, str], list[Seen]]:
    """Files by node and record; both records of a node together where they count with one counter."""
    feeds: dict[tuple[str, str], list[Seen]] = {}
    for seen in files:
        feeds.setdefault((seen.node, seen.record), []).append(seen)
    if not shared:
        return feeds
    for node in {node for node, _ in feeds}:
        both = [feeds.get((node, record), []) for record in ("cdr", "cmr")]
        if all(both) and _share_counter(*both):
            del feeds[node, "cdr"], feeds[node, "cmr"]
            feeds[node, "cdr and cmr"] = both[0] + both[1]
    return feeds


def _share_counter(one: Sequence[Seen], other: Sequence[Seen]) -> bool:
    """Whether two kinds of files of a node share their numbers: none is used twice, and their ranges run together."""
    a, b = {seen.sequence for seen in one}, {seen.sequence for seen in other}
    return not a & b and min(a) < max(b) and min(b) < max(a)
