"""The centre: messages of all agents from the broker into the lake, and receipts back.

The broker's messages are acknowledged after the commit that holds them, many in one commit, and the agents get a
receipt. Several workers share the messages (`group`); what counts once is the lake's business, so any of them may get
any message, twice too.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import aiomqtt
import pyarrow as pa
from paho.mqtt.reasoncodes import ReasonCode

from analytics.store.lake import Lake
from analytics.store.settings import StoreError
from collector.transport.agents import Agents, AgentSeen, read_noted, write_agents
from collector.transport.intake import Arrived, Done, Intake, IntakeCounts, IntakeSettings, Stored
from collector.transport.notes import (
    ROOT,
    STATUS,
    NoteError,
    Receipt,
    Refusal,
    ranges,
    read_receipt,
    read_status,
    receipts_topic,
)
from collector.transport.payload import MOST_OCTETS, NAME
from collector.transport.session import BrokerSettings, Session, TransportError, ended, first_of, refused, told

_logger = logging.getLogger("callgauge.centre")
_STATUSES = f"{ROOT}/+/{STATUS}"
_RECEIPTS = f"{ROOT}/+/receipts/+"


@dataclass(frozen=True, slots=True)
class CentreSettings:
    """What may be set about a worker of the centre."""

    worker: str = "centre"
    """Name of this worker, its own among the workers of a store: it stands in file names and towards the broker."""
    group: str | None = None
    """Name that workers have in common who share the messages; without, a worker gets all of them."""
    broker: BrokerSettings = field(default_factory=BrokerSettings)
    """The broker."""
    intake: IntakeSettings = field(default_factory=IntakeSettings)
    """How messages are taken in."""
    group_seconds: float = 2.0
    """Longest time that a message waits for others to be committed with [s]."""
    group_rows: int = 5_000
    """Rows that are committed without waiting for more; about, for they are told by octets before they are read."""
    receive_maximum: int = 512
    """Messages that the broker is asked to send ahead of their acknowledgement; most in one commit [messages]."""
    receive_octets: int = 64 << 20
    """Most that messages in hand take; beyond, they are let go unread, and come again [octets]."""
    note_seconds: float = 5.0
    """How often what is known of the agents is noted in the store [s]."""
    backoff_seconds: float = 1.0
    """Wait before the second try to connect, or to store; doubled each time [s]."""
    backoff_most_seconds: float = 30.0
    """Longest such wait [s]."""


OCTETS_A_ROW = 40
"""About what a row takes in a message; only to tell when enough is gathered."""


class _Held(NamedTuple):
    """A message that the broker still holds for the session that it came by."""

    session: Session
    message: aiomqtt.Message
    arrived: Arrived | None
    """None for a status or a receipt: dealt with, but to be acknowledged in its turn (MQTT v5, 4.6)."""


Beside = Callable[[str, pa.Table, str, str, int], Coroutine[Any, Any, None]]
"""Takes table, rows, name of the agent, and what the message is numbered by; StoreError where it cannot."""


class Centre:
    """One worker: `run` works until `stop` or cancellation."""

    def __init__(
        self,
        settings: CentreSettings,
        lake: Lake,
        *,
        clock: Callable[[], int] = time.time_ns,
        beside: Beside | None = None,
    ) -> None:
        """`clock` is ns since 1970; `beside` gets what is stored.

        TransportError where a name fits in no topic, StoreError where the store fails.
        """
        for name in (settings.worker, settings.group or settings.worker):
            if not NAME.fullmatch(name):
                raise TransportError(f"{name!r} is no name for a worker: letters, digits, - . _ only")
        self._settings = settings
        self._lake = lake
        self._clock = clock
        self._agents = Agents(read_noted(lake.root, settings.worker))
        self._beside = beside
        self._loop: asyncio.AbstractEventLoop | None = None
        known = None if beside is None else self._hand_on
        self._intake = Intake(lake, settings.worker, settings.intake, self._agents, known)
        self._inbox: asyncio.Queue[_Held | None] = asyncio.Queue(settings.receive_maximum)
        self._stopping = asyncio.Event()
        self._stored_all = asyncio.Event()
        self._session: Session | None = None
        self._connections = 0
        self._said = ""

    def stop(self) -> None:
        """End gracefully: what was taken from the broker is stored and acknowledged first."""
        self._stopping.set()

    @property
    def connected(self) -> bool:
        """Whether it hears the broker now."""
        return self._session is not None

    def counts(self) -> IntakeCounts:
        """Return what was taken in."""
        return self._intake.counts

    def agents(self) -> list[AgentSeen]:
        """Return the agents that were heard."""
        return self._agents.seen()

    async def run(self) -> None:
        """Work until `stop`. TransportError where the broker lets it not in at the start; later it is asked again."""
        self._loop = asyncio.get_running_loop()
        try:
            async with asyncio.TaskGroup() as tasks:
                notes = tasks.create_task(self._note_agents(), name="centre: agents")
                storing = tasks.create_task(self._store_all(), name="centre: store")
                await self._connect()
                await self._inbox.put(None)
                await storing
                notes.cancel()
        except ExceptionGroup as group:
            error = first_of(group)
            if isinstance(error, TransportError):
                raise error from None
            raise

    def _hand_on(self, stored: Stored) -> None:
        """Hand rows on from the thread that stores; StoreError where they were not taken."""
        assert self._beside is not None
        assert self._loop is not None
        put = self._beside(stored.kind, stored.rows, stored.agent, stored.source, stored.sequence)
        asyncio.run_coroutine_threadsafe(put, self._loop).result()

    def _say(self, sentence: str) -> None:
        if sentence and sentence != self._said:
            _logger.warning("%s", sentence)
        self._said = sentence

    async def _connect(self) -> None:
        tries = 0
        while not self._stopping.is_set():
            before = self._connections
            error = await ended(self._connected())
            final = isinstance(error, TransportError) or (error is not None and refused(error) is not None)
            if error is not None and final and not self._connections:
                raise TransportError(told(self._settings.broker, error))
            if error is not None:
                self._say(told(self._settings.broker, error))
            tries = 0 if self._connections > before else tries + 1
            await self._pause(tries)

    async def _pause(self, tries: int) -> None:
        longest = min(self._settings.backoff_seconds * 2 ** min(tries, 16), self._settings.backoff_most_seconds)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), longest * random.uniform(0.5, 1.0))

    async def _connected(self) -> None:
        """Work through one connection until it ends, or the worker stops and all is stored."""
        session = Session(
            self._settings.broker,
            identifier=f"callgauge-{self._settings.group or 'centre'}-{self._settings.worker}",
            receive_maximum=self._settings.receive_maximum,
            receive_octets=self._settings.receive_octets,
            # So much more than agents send that what is too large is named and does not vanish at the broker.
            most_octets=4 * MOST_OCTETS,
        )
        async with session:
            shared = f"$share/{self._settings.group}/" if self._settings.group else ""
            answers = await session.subscribe([(f"{shared}{ROOT}/+/+", 1), (_STATUSES, 1), (_RECEIPTS, 1)])
            if any(isinstance(one, ReasonCode) and one.is_failure for one in answers):
                raise TransportError(f"the broker at {self._settings.broker.address} lets this worker hear no agents")
            self._connections += 1
            self._session = session
            self._say("")
            _logger.info("connected to the broker at %s", self._settings.broker.address)
            try:
                async with asyncio.TaskGroup() as tasks:
                    taking = tasks.create_task(self._take(session), name="centre: take")
                    await self._stopping.wait()
                    taking.cancel()
                # What was taken is stored while its session can still acknowledge it.
                await self._inbox.put(None)
                await self._stored_all.wait()
            finally:
                self._session = None

    async def _take(self, session: Session) -> None:
        async for message in session.messages:
            now = self._clock()
            levels = str(message.topic).split("/")
            payload = message.payload if isinstance(message.payload, bytes) else b""
            site, kind = levels[2], "/".join(levels[3:])
            arrived: Arrived | None = None
            if kind == STATUS or len(levels) > 4:
                self._take_note(site, kind, payload, now, bool(message.retain))
            elif payload and not message.retain:
                # Batches are never retained: one that is would come again at each start.
                arrived = Arrived(site, kind, payload, now)
            if message.qos or arrived is not None:
                await self._inbox.put(_Held(session, message, arrived))
            else:
                session.acknowledge(message)

    def _take_note(self, site: str, kind: str, payload: bytes, now: int, retained: bool) -> None:
        try:
            if kind == STATUS:
                if payload:
                    self._agents.status(site, read_status(payload), now, retained=retained)
            else:
                self._agents.receipted(site, kind.rpartition("/")[2], read_receipt(payload).done)
        except NoteError as error:
            self._say(f"{ROOT}/{site}/{kind} cannot be read: {error}")

    async def _store_all(self) -> None:
        """Store group after group until the end is told."""
        ended = False
        while not ended:
            group, ended = await self._gather()
            if group:
                await self._store(group)
        self._stored_all.set()

    async def _gather(self) -> tuple[list[_Held], bool]:
        """Return messages that are committed together, and whether they are the last ones."""
        first = await self._inbox.get()
        if first is None:
            return [], True
        group = [first]
        octets = len(first.message.payload or b"")
        enough = self._settings.group_rows * OCTETS_A_ROW
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.group_seconds):
                # No more would come once all that the broker sends ahead is in hand.
                while octets < enough and len(group) < self._settings.receive_maximum:
                    held = await self._inbox.get()
                    if held is None:
                        return group, True
                    group.append(held)
                    octets += len(held.message.payload or b"")
        return group, False

    async def _store(self, group: Sequence[_Held]) -> None:
        """Store a group however long the store fails; then let the broker and the agents forget it."""
        arrived = [held.arrived for held in group if held.arrived is not None]
        tries = 0
        while True:
            try:
                done = await asyncio.to_thread(self._intake.store, arrived)
                break
            except StoreError as error:
                self._say(str(error))
                if self._stopping.is_set():
                    # Nobody was told that it was stored: it comes again.
                    return
                await self._pause(tries)
                tries += 1
        if not self._session:
            # Acknowledgements are of a session; the agents will ask again.
            return
        for held in group:
            if held.session is self._session:
                self._session.acknowledge(held.message)
        if self._session.discarded:
            self._say("more messages came than can be held: some were let go, and their agents send them again")
        self._receipt(self._session, done)

    def _receipt(self, session: Session, done: Sequence[Done]) -> None:
        by_agent: defaultdict[tuple[str, str], list[Done]] = defaultdict(list)
        for one in done:
            by_agent[one.site, one.identity].append(one)
        for (site, identity), of in by_agent.items():
            refusals = tuple(Refusal(one.sequence, one.refused) for one in of if one.refused is not None)
            receipt = Receipt(ranges(one.sequence for one in of), refusals)
            try:
                session.send(receipts_topic(site, identity), bytes(receipt))
            except (aiomqtt.MqttError, ValueError) as error:
                # The agent asks again.
                self._say(f"no receipt for {site}: {error}")

    async def _note_agents(self) -> None:
        try:
            while True:
                await asyncio.sleep(self._settings.note_seconds)
                await self._note()
        finally:
            # The last word, when the loop is being left.
            with suppress(StoreError):
                write_agents(self._lake.root, self._settings.worker, self._agents.seen())

    async def _note(self) -> None:
        try:
            await asyncio.to_thread(write_agents, self._lake.root, self._settings.worker, self._agents.seen())
        except StoreError as error:
            self._say(str(error))
