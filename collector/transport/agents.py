"""What the centre knows of each agent: when it was heard, what of its messages is missing, how wrong its clock is."""

from __future__ import annotations

import json
import os
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from analytics.store.settings import StoreError
from collector.transport.notes import Status
from collector.transport.payload import Batch

FOLDER = "agents"
MOST_AGENTS = 4_096
"""Agents that are kept; beyond, the one that was silent for longest goes."""
SAMPLES = 8
SAMPLE_NS = 120 * 1_000_000_000
"""Age from which a clock sample does not count any more [ns]."""
SETTLED_NS = 5 * 1_000_000_000
"""How long a number may still be on its way from another worker before it counts as lost [ns]."""


class Skew:
    """How far an agent's clock is ahead of the centre's, by the message among the last that took least time.

    A message takes time, so the difference of its two clocks is the skew less that time; the greatest difference is
    nearest. What comes out is too low by the least time that one of them took.
    """

    def __init__(self) -> None:
        self._samples: deque[tuple[int, int]] = deque(maxlen=SAMPLES)

    def add(self, sent: int, received: int) -> None:
        """A message was sent at a time of the agent's clock and came at one of ours [ns]."""
        while self._samples and self._samples[0][0] < received - SAMPLE_NS:
            self._samples.popleft()
        self._samples.append((received, sent - received))

    @property
    def estimate(self) -> int | None:
        """The skew [ns], positive where the agent's clock is ahead; None before any message."""
        return max((difference for _, difference in self._samples), default=None)


@dataclass(frozen=True, slots=True)
class AgentSeen:
    """One agent, as the centre's workers saw it."""

    site: str
    agent: str
    identity: str
    """Made with the agent's spool: a new spool is a new identity."""
    online: bool | None
    """What its retained status says; None before one was heard."""
    version: str
    last_seen: int
    """When it was heard last [ns since 1970]."""
    skew_ms: float | None
    """How far its clock is ahead; None before a message came."""
    clock_wrong: bool
    """Whether rows are put aside for its clock."""
    last_sequence: int
    """Its newest message that is stored."""
    messages: int
    rows: int
    """Rows stored."""
    again: int
    """Messages that came once more, and were not counted again."""
    aside: int
    """Rows put aside, for their time cannot be right."""
    refused: int
    """Messages refused."""
    lost: int
    """Messages that will not come any more: dropped at the agent or lost with its disk."""
    waiting: int
    """Messages in its spool, by its last status."""
    spool_dropped: int
    """Messages that its full spool dropped, by its last status."""
    queue_dropped: int
    """Rows that it dropped before the spool, by its last status."""


@dataclass(slots=True)
class _Known:
    seen: AgentSeen
    skew: Skew = field(default_factory=Skew)
    have: set[int] = field(default_factory=set)
    settled: int = 0
    """Numbers below are accounted for."""
    floor: int = 0
    floor_at: int = 0


class Agents:
    """The agents by site and identity. Threads may share it."""

    def __init__(self, before: Iterable[AgentSeen] = ()) -> None:
        """`before`: what was known when the worker last ended; its counts go on."""
        self._guard = threading.Lock()
        self._known: dict[tuple[str, str], _Known] = {(one.site, one.identity): _Known(one) for one in before}

    def clock(self, site: str, batch: Batch, received: int) -> int:
        """Note the clocks of a message and return the agent's skew [ns]."""
        with self._guard:
            known = self._of(site, batch.identity, batch.agent, received)
            known.skew.add(batch.clocks.sent, received)
            estimate = known.skew.estimate or 0
            known.seen = replace(known.seen, skew_ms=round(estimate / 1e6, 3))
            return estimate

    def stored(
        self, site: str, batch: Batch, received: int, *, rows: int, aside: int, again: bool, wrong: bool
    ) -> None:
        """A message is done with."""
        with self._guard:
            known = self._of(site, batch.identity, batch.agent, received)
            seen = known.seen
            known.seen = replace(
                seen,
                clock_wrong=wrong,
                last_sequence=max(seen.last_sequence, batch.sequence),
                messages=seen.messages + (not again),
                again=seen.again + again,
                rows=seen.rows + rows,
                aside=seen.aside + aside,
            )
            self._settle(known, batch, received, again)

    def refused(self, site: str, identity: str, received: int) -> None:
        """A message of an agent was refused."""
        with self._guard:
            known = self._of(site, identity, "", received)
            known.seen = replace(known.seen, refused=known.seen.refused + 1)

    def receipted(self, site: str, identity: str, done: Iterable[tuple[int, int]]) -> None:
        """Some worker has these messages."""
        with self._guard:
            known = self._known.get((site, identity))
            if known is None or not known.settled:
                return
            for first, last in done:
                known.have.update(range(max(first, known.settled), min(last, known.settled + 65_536) + 1))

    def status(self, site: str, status: Status, received: int, *, retained: bool) -> None:
        """An agent said how it is; what was retained was said at some time before."""
        with self._guard:
            known = self._of(site, status.identity, status.agent, 0 if retained else received)
            if not retained and status.online:
                known.skew.add(status.clock, received)
            estimate = known.skew.estimate
            known.seen = replace(
                known.seen,
                online=status.online,
                version=status.version,
                waiting=status.waiting,
                spool_dropped=status.spool_dropped,
                queue_dropped=status.queue_dropped,
                skew_ms=None if estimate is None else round(estimate / 1e6, 3),
            )

    def seen(self) -> list[AgentSeen]:
        """Return the agents by site and name."""
        with self._guard:
            return sorted((known.seen for known in self._known.values()), key=lambda one: (one.site, one.agent))

    def _of(self, site: str, identity: str, agent: str, received: int) -> _Known:
        known = self._known.get((site, identity))
        if known is None:
            if len(self._known) >= MOST_AGENTS:
                del self._known[min(self._known, key=lambda key: self._known[key].seen.last_seen)]
            first = AgentSeen(site, agent, identity, None, "", received, None, False, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
            known = self._known[site, identity] = _Known(first)
        known.seen = replace(known.seen, agent=agent or known.seen.agent, last_seen=max(known.seen.last_seen, received))
        return known

    def _settle(self, known: _Known, batch: Batch, received: int, again: bool) -> None:
        """Count the numbers that the agent is done with and no worker has."""
        if not known.settled:
            known.settled = known.floor = batch.floor
            known.floor_at = received
        if batch.sequence < known.settled:
            if not again and known.seen.lost:
                known.seen = replace(known.seen, lost=known.seen.lost - 1)
            return
        known.have.add(batch.sequence)
        if received - known.floor_at < SETTLED_NS:
            return
        if known.floor > known.settled:
            have = {number for number in known.have if number < known.floor}
            known.have -= have
            lost = known.floor - known.settled - len(have)
            known.seen = replace(known.seen, lost=known.seen.lost + lost)
            known.settled = known.floor
        known.floor, known.floor_at = max(known.floor, batch.floor), received


def write_agents(store: Path, worker: str, seen: Sequence[AgentSeen]) -> None:
    """Leave what a worker knows in the store, for whoever asks; StoreError where the disk fails."""
    folder = store / FOLDER
    path = folder / f"{worker}.json"
    scratch = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        scratch.write_text(json.dumps([asdict(one) for one in seen]) + "\n", encoding="utf-8")
        scratch.replace(path)
    except OSError as error:
        raise StoreError(f"the agents cannot be noted in {folder}: {error.strerror}") from error


def read_agents(store: Path) -> list[AgentSeen]:
    """Return the agents that the workers of a store know: the newest word of each, counts of all workers added up."""
    found: dict[tuple[str, str], AgentSeen] = {}
    for path in sorted((store / FOLDER).glob("*.json")):
        for one in read_noted(store, path.stem):
            key = (one.site, one.identity)
            other = found.get(key)
            if other is None:
                found[key] = one
                continue
            newer = max(one, other, key=lambda each: each.last_seen)
            found[key] = replace(
                newer,
                last_sequence=max(one.last_sequence, other.last_sequence),
                lost=max(one.lost, other.lost),
                **{name: getattr(one, name) + getattr(other, name) for name in _ADDED},
            )
    return sorted(found.values(), key=lambda one: (one.site, one.agent))


_ADDED = ("messages", "rows", "again", "aside", "refused")


def read_noted(store: Path, worker: str) -> list[AgentSeen]:
    """Return what a worker noted last; StoreError where that cannot be read."""
    path = store / FOLDER / f"{worker}.json"
    names = {one.name for one in fields(AgentSeen)}
    try:
        given: Any = json.loads(path.read_text(encoding="utf-8"))
        return [AgentSeen(**{name: each[name] for name in names}) for each in given]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} cannot be read") from error
