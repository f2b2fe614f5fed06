"""Messages into the lake, each once: read, doubted by their clocks, appended in groups, or refused with a reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from analytics.store import schema
from analytics.store.lake import QUARANTINE, Lake
from analytics.store.quarantine import put_rows_aside
from analytics.store.received import Part, append_received
from collector.transport.agents import Agents
from collector.transport.dead_letters import DeadLetters, Letter
from collector.transport.payload import Batch, PayloadError, decode

_HOUR_NS = 3_600_000_000_000
_DAY_NS = 24 * _HOUR_NS
DATED_ELSEWHERE: Final = frozenset({"cdr_rows", "phone_reports"})
"""Kinds whose times are the telephone system's: an agent may pass on old ones."""

DOUBTS: Mapping[str, str] = {
    "clock_ahead": "the agent's clock is ahead of the centre's by more than is tolerated",
    "clock_behind": "the agent's clock is behind the centre's by more than is tolerated",
    "clock_set_back": "the message was made later than it was sent: the agent's clock was set back in between",
    "too_late": "the message was made longer ago than late ones are taken",
    "row_time": "the row's own time is too far from when its message was made",
}
"""Why rows are put aside."""


@dataclass(frozen=True, slots=True)
class IntakeSettings:
    """What may be set about how messages are taken in."""

    clock_seconds: float = 300.0
    """How wrong an agent's clock may be before its rows are put aside [s]."""
    late_days: float = 31.0
    """How old a message may be that an agent kept in its spool [days]."""
    dead_letters_mb: int = 64
    """Most disk that messages that were refused take, a worker [MB]."""


class Arrived(NamedTuple):
    """A message as it came."""

    site: str
    kind: str
    payload: bytes
    at: int
    """When it came [ns since 1970]."""

    @property
    def topic(self) -> str:
        """Its topic."""
        return f"callgauge/v1/{self.site}/{self.kind}"


class Done(NamedTuple):
    """What became of a message; the agent may forget it."""

    site: str
    identity: str
    sequence: int
    refused: str | None = None
    """Reason, where it was refused."""


@dataclass(slots=True)
class IntakeCounts:
    """What was taken in since the start: messages = stored + again + the sum of refused."""

    messages: int = 0
    stored: int = 0
    again: int = 0
    """Messages that were there."""
    rows: int = 0
    """Rows stored."""
    aside: Counter[str] = field(default_factory=Counter)
    """Rows put aside, by doubt."""
    aside_not_kept: int = 0
    """Of those, rows that were only counted, for quarantine is full."""
    refused: Counter[str] = field(default_factory=Counter)
    """Messages refused, by reason."""
    commits: int = 0


class _Read(NamedTuple):
    arrived: Arrived
    batch: Batch
    believed: pa.Table
    doubted: Sequence[tuple[str, pa.Table]]
    wrong: bool

    @property
    def source(self) -> str:
        """The agent's name for the lake: the broker vouches for the site, so none can speak for another."""
        return f"{self.arrived.site}/{self.batch.identity}"


class Stored(NamedTuple):
    """Rows of a message that are in the lake, perhaps since it came before."""

    kind: str
    rows: pa.Table
    agent: str
    """Site and name."""
    source: str
    """Names the agent's numbers."""
    sequence: int


class Intake:
    """The way into one lake; one thread at a time."""

    def __init__(
        self,
        lake: Lake,
        worker: str,
        settings: IntakeSettings,
        agents: Agents,
        beside: Callable[[Stored], None] | None = None,
    ) -> None:
        """`beside` gets rows before their agent may forget them, again where they come again; it raises StoreError."""
        self._beside = beside
        self._lake = lake
        self._settings = settings
        self._agents = agents
        self.letters = DeadLetters(lake.root, worker, settings.dead_letters_mb * 1_000_000)
        self.counts = IntakeCounts()
        self._uncounted: set[tuple[str, str, int]] = set()
        """Messages that are in the lake by a try that failed further on: they did not come again."""

    def store(self, messages: Sequence[Arrived]) -> list[Done]:
        """Store messages and return what their agents may forget. StoreError where the store fails: all can come again.

        Messages that cannot be read go to the dead letters, and where it cannot be told whose they are, no agent hears.
        """
        read: list[_Read] = []
        letters: list[Letter] = []
        done: list[Done] = []
        refused: Counter[str] = Counter()
        for message in messages:
            try:
                read.append(self._read(message))
            except PayloadError as error:
                letters.append(Letter(message.at, message.topic, error.reason, error.detail, message.payload))
                refused[error.reason] += 1
                if error.source is not None:
                    done.append(Done(message.site, *error.source, error.reason))
        again: set[tuple[str, str, int]] = set()
        once: dict[tuple[str, str, int], _Read] = {}
        for one in read:
            once.setdefault((one.batch.kind, one.source, one.batch.sequence), one)
        for kind in sorted({kind for kind, _, _ in once}):
            parts = [Part(source, sequence, one.believed) for (of, source, sequence), one in once.items() if of == kind]
            self._put_aside(one for (of, _, _), one in once.items() if of == kind)
            added = append_received(self._lake, kind, parts)
            already = {(kind, *number) for number in added.already}
            self._uncounted |= {(kind, part.source, part.number) for part in parts} - already
            again |= already - self._uncounted
            self.counts.commits += len(added.already) < len(parts)
        if self._beside is not None:
            for (kind, source, sequence), one in once.items():
                name = f"{one.arrived.site}/{one.batch.agent}"
                self._beside(Stored(kind, one.believed, name, source, sequence))
        self.letters.write(letters)
        # Counted only now: a group that failed comes again as a whole.
        self._uncounted.clear()
        self.counts.messages += len(messages)
        self.counts.refused += refused
        for each in done:
            self._agents.refused(each.site, each.identity, max(message.at for message in messages))
        for one in read:
            key = (one.batch.kind, one.source, one.batch.sequence)
            self._count(one, key in again or once[key] is not one)
            done.append(Done(one.arrived.site, one.batch.identity, one.batch.sequence))
        return done

    def _read(self, message: Arrived) -> _Read:
        batch = decode(message.payload)
        if batch.kind != message.kind:
            raise PayloadError("wrong_topic", f"{batch.kind} in {message.topic}", (batch.identity, batch.sequence))
        skew = self._agents.clock(message.site, batch, message.at)
        doubt = self._doubt(batch, message.at, skew)
        if doubt is not None:
            return _Read(message, batch, batch.rows.slice(0, 0), [(doubt, batch.rows)], doubt.startswith("clock"))
        fits = self._fits(batch, message.at)
        doubted = batch.rows.filter(pc.invert(fits))
        return _Read(
            message, batch, batch.rows.filter(fits), [("row_time", doubted)] if doubted.num_rows else [], wrong=False
        )

    def _doubt(self, batch: Batch, received: int, skew: int) -> str | None:
        """Why no row of a message is believed; None where the rows are looked at one by one."""
        tolerated = int(self._settings.clock_seconds * 1e9)
        created, sent = batch.clocks
        if sent - received > tolerated:
            return "clock_ahead"
        # A slow message looks like a slow clock; only when none of the last was faster is it the clock.
        if skew < -tolerated:
            return "clock_behind"
        if created - sent > tolerated:
            return "clock_set_back"
        return "too_late" if received - created > self._settings.late_days * _DAY_NS else None

    def _fits(self, batch: Batch, received: int) -> pa.Array:
        """Which rows have a time that fits to when the agent made their message: a spool may have kept it for days."""
        table, limits = schema.table(batch.kind), self._lake.settings
        earliest = batch.clocks.created - limits.quarantine_past_hours * _HOUR_NS
        if batch.kind in DATED_ELSEWHERE:
            earliest = received - (table.keep_days or 400) * _DAY_NS
        latest = batch.clocks.created + limits.quarantine_future_hours * _HOUR_NS
        clock = batch.rows.column(table.clock).cast(pa.int64())
        return pc.and_(pc.greater_equal(clock, int(earliest / 1_000)), pc.less_equal(clock, int(latest / 1_000)))

    def _put_aside(self, messages: Iterable[_Read]) -> None:
        for one in messages:
            for doubt, rows in one.doubted:
                kept = put_rows_aside(
                    self._lake.root / QUARANTINE,
                    schema.table(one.batch.kind),
                    rows.append_column("doubt", pa.array([doubt] * rows.num_rows)),
                    f"{one.source}\0{one.batch.sequence}",
                    self._lake.settings,
                    datetime.fromtimestamp(one.arrived.at / 1e9, UTC),
                )
                if not kept:
                    self.counts.aside_not_kept += rows.num_rows

    def _count(self, one: _Read, again: bool) -> None:
        counts = self.counts
        aside = 0
        if again:
            counts.again += 1
        else:
            counts.stored += 1
            counts.rows += one.believed.num_rows
            for doubt, rows in one.doubted:
                counts.aside[doubt] += rows.num_rows
                aside += rows.num_rows
        self._agents.stored(
            one.arrived.site,
            one.batch,
            one.arrived.at,
            rows=0 if again else one.believed.num_rows,
            aside=aside,
            again=again,
            wrong=one.wrong,
        )
