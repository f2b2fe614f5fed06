"""An agent: takes rows at a site, keeps them in a spool on disk, and gets them to the centre over MQTT v5.

A batch is in the spool before it is sent, and stays until the centre's receipt says that it is stored. The broker's own
word (PUBACK) is not enough for that: a broker that is killed, or whose queue is full, forgets what it took.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import aiomqtt
import pyarrow as pa

from analytics.store.spool import Spool, Spooled, SpoolError, SpoolSettings
from collector.transport.notes import STATUS, NoteError, Status, read_receipt, receipts_topic, topic
from collector.transport.outgoing import Outgoing
from collector.transport.payload import MOST_OCTETS, PayloadError, encode, stamped
from collector.transport.session import (
    FIRST_REFUSAL,
    NO_SUBSCRIBER,
    BrokerSettings,
    Session,
    ended,
    told,
)

_logger = logging.getLogger("callgauge.agent")


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """What may be set about an agent."""

    site: str
    """Site, as in the estate: it stands in the topics."""
    agent: str = ""
    """Name of this agent; without, the site's."""
    broker: BrokerSettings = field(default_factory=BrokerSettings)
    """The broker."""
    spool: Path = Path("callgauge-spool")
    """Folder of the spool; one agent has it at a time."""
    spool_settings: SpoolSettings = field(default_factory=SpoolSettings)
    """Bounds of the spool."""
    queue_batches: int = 256
    """Batches that wait for the spool; beyond, new ones are dropped and their rows counted [batches]."""
    window: int = 64
    """Messages that may be on their way without a receipt, at most 1,024 [messages]."""
    inflight: int = 20
    """Messages that the broker has not taken yet; Mosquitto allows 20 [messages]."""
    receipt_seconds: float = 15.0
    """How long to wait for a receipt before a message is sent again; doubled each time [s]."""
    receipt_most_seconds: float = 300.0
    """Longest such wait [s]."""
    status_seconds: float = 30.0
    """How often the status is said [s]."""
    backoff_seconds: float = 1.0
    """Wait before the second try to connect; doubled each time, and shortened by chance by up to half [s]."""
    backoff_most_seconds: float = 60.0
    """Longest such wait [s]."""
    stop_seconds: float = 10.0
    """How long a stop waits for receipts; what has none stays in the spool [s]."""


class AgentCounts(NamedTuple):
    """What an agent did since it was started; rows offered = queue_dropped + unfit + spooled + still queued."""

    offered: int
    """Rows offered."""
    spooled: int
    """Rows that are in the spool, or were."""
    queue_dropped: int
    """Rows dropped, for the queue to the spool was full."""
    unfit: int
    """Rows that are none of their table."""
    messages: int
    """Messages sent, again ones counted again."""
    sent_again: int
    refused: int
    """Messages that the centre refused: its dead-letter file has them."""
    broker_refused: int
    """Times that the broker would not take a message."""
    connections: int


class _Queued(NamedTuple):
    kind: str
    rows: pa.Table
    created: int


class Agent:
    """Rows in by `offer` or `put`, out by `run`, which ends by `stop` or cancellation; all in one event loop."""

    def __init__(
        self,
        settings: AgentSettings,
        spool: Spool,
        *,
        version: str,
        clock: Callable[[], int] = time.time_ns,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` is ns since 1970, `elapsed` seconds that no one sets. ValueError where a name fits in no topic."""
        self._settings = settings
        self._spool = spool
        self._version = version
        self._clock = clock
        self._elapsed = elapsed
        self._name = settings.agent or settings.site
        topic(self._name, STATUS)
        self._status_topic = topic(settings.site, STATUS)
        self._receipts_topic = receipts_topic(settings.site, spool.identity)
        self._queue: asyncio.Queue[_Queued | None] = asyncio.Queue(settings.queue_batches)
        self._outgoing = Outgoing(settings.window, settings.receipt_seconds, settings.receipt_most_seconds)
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._spooled_all = asyncio.Event()
        self._offered = self._spooled = self._queue_dropped = self._unfit = 0
        self._messages = self._refused = self._broker_refused = self._connections = 0
        self._since = 0
        self._heard = True
        self._said = ""

    def offer(self, kind: str, rows: pa.Table) -> bool:
        """Take rows of a table; False where the queue is full and they were dropped and counted. Never waits."""
        self._offered += rows.num_rows
        if self._stopping.is_set() or self._queue.full():
            self._queue_dropped += rows.num_rows
            return False
        self._queue.put_nowait(_Queued(kind, rows, self._clock()))
        return True

    async def put(self, kind: str, rows: pa.Table) -> None:
        """Take rows of a table; waits while the queue is full. Dropped and counted once the agent is stopping."""
        self._offered += rows.num_rows
        if self._stopping.is_set():
            self._queue_dropped += rows.num_rows
            return
        await self._queue.put(_Queued(kind, rows, self._clock()))

    @property
    def full(self) -> bool:
        """Whether rows offered now would be dropped, for the queue to the spool is full."""
        return self._queue.full()

    @property
    def trouble(self) -> str:
        """Why nothing gets to the centre now, as it was last said; empty where it does."""
        return self._said

    def stop(self) -> None:
        """End gracefully: what was taken goes to the spool, and as far as the time allows to the centre."""
        self._stopping.set()
        self._wake.set()

    def counts(self) -> AgentCounts:
        """Return what it did."""
        return AgentCounts(
            self._offered,
            self._spooled,
            self._queue_dropped,
            self._unfit,
            self._messages,
            self._outgoing.sent_again,
            self._refused,
            self._broker_refused,
            self._connections,
        )

    def status(self, online: bool = True) -> Status:
        """Return what it says of itself."""
        spool = self._spool.counts()
        return Status(
            self._name,
            self._spool.identity,
            online,
            self._version,
            self._since,
            self._clock(),
            spool.appended,
            spool.waiting,
            spool.octets,
            spool.dropped,
            spool.damaged,
            self._queue_dropped,
            self._unfit,
            self._refused,
            self._outgoing.sent_again,
        )

    async def run(self) -> None:
        """Work until `stop`. A broker that is away or refuses is said in the log and tried again."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._fill(), name="agent: queue to spool")
            tasks.create_task(self._hand_on_stop(), name="agent: stop")
            tasks.create_task(self._connect(), name="agent: spool to broker")

    async def _hand_on_stop(self) -> None:
        await self._stopping.wait()
        await self._queue.put(None)

    async def _fill(self) -> None:
        """Bring what is queued to the spool; the disk's troubles are waited for, and the queue fills meanwhile."""
        while (queued := await self._queue.get()) is not None:
            rows = queued.rows.num_rows
            try:
                messages = await asyncio.to_thread(self._encode, queued)
            except PayloadError as error:
                self._unfit += rows
                _logger.error("%d rows of %s were not sent: %s", rows, queued.kind, error)
                continue
            if messages and await self._keep(messages):
                self._spooled += rows
                self._wake.set()
            elif rows:
                self._queue_dropped += rows
        self._spooled_all.set()
        self._wake.set()

    def _encode(self, queued: _Queued) -> list[bytes]:
        return list(encode(self._name, queued.kind, queued.rows, queued.created)) if queued.rows.num_rows else []

    async def _keep(self, messages: list[bytes]) -> bool:
        """Append to the spool; False where it failed and the agent is stopping."""
        while True:
            try:
                await asyncio.to_thread(self._spool.append, messages)
            except SpoolError as error:
                self._say(str(error))
                if self._stopping.is_set():
                    return False
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), 1.0)
            else:
                return True

    def _say(self, sentence: str) -> None:
        """Log a trouble once, and not each time it is met."""
        if sentence != self._said:
            _logger.warning("%s", sentence)
        self._said = sentence

    async def _connect(self) -> None:
        """Keep a connection; ends when the agent stops."""
        tries = 0
        while True:
            before = self._connections
            error = await ended(self._connected())
            if error is not None:
                self._say(told(self._settings.broker, error))
            if self._stopping.is_set():
                await self._spooled_all.wait()
                return
            tries = 0 if self._connections > before else tries + 1
            longest = min(self._settings.backoff_seconds * 2 ** min(tries, 16), self._settings.backoff_most_seconds)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), longest * random.uniform(0.5, 1.0))

    async def _connected(self) -> None:
        """Work through one connection until it ends or the agent has stopped."""
        self._since = self._clock()
        will = aiomqtt.Will(self._status_topic, bytes(self.status(online=False)), qos=1, retain=True)
        session = Session(
            self._settings.broker,
            identifier=f"callgauge-{self._settings.site}-{self._spool.identity}",
            will=will,
            most_octets=MOST_OCTETS,
            inflight=self._settings.inflight,
        )
        async with session:
            await session.subscribe(self._receipts_topic, qos=0)
            self._connections += 1
            self._said = ""
            _logger.info("connected to the broker at %s", self._settings.broker.address)
            self._outgoing.all_due(self._elapsed())
            try:
                async with asyncio.TaskGroup() as tasks:
                    receipts = tasks.create_task(self._take_receipts(session), name="agent: receipts")
                    status = tasks.create_task(self._tell_status(session), name="agent: status")
                    await self._send(session)
                    status.cancel()
                    receipts.cancel()
            finally:
                # A graceful end, and cancellation too, disconnects in a way that silences the last will.
                session.leave_word(self._status_topic, bytes(self.status(online=False)))

    async def _tell_status(self, session: Session) -> None:
        while True:
            # Not in the loop: the spool answers after the disk has what is being written.
            status = await asyncio.to_thread(self.status)
            await session.publish(self._status_topic, bytes(status), qos=1, retain=True)
            await asyncio.sleep(self._settings.status_seconds)

    async def _take_receipts(self, session: Session) -> None:
        async for message in session.messages:
            session.acknowledge(message)
            try:
                receipt = read_receipt(message.payload if isinstance(message.payload, bytes) else b"")
            except NoteError as error:
                self._say(f"a receipt of the centre cannot be read: {error}")
                continue
            for sequence, reason in receipt.refused:
                self._refused += 1
                _logger.error("the centre refused message %d: %s", sequence, reason)
            upto = self._outgoing.received(receipt.done)
            if upto is not None:
                await self._acknowledge(upto)
            self._wake.set()

    async def _acknowledge(self, upto: int) -> None:
        try:
            await asyncio.to_thread(self._spool.acknowledge, upto)
        except SpoolError as error:
            # They stay, are sent again after a restart, and count once.
            self._say(str(error))

    async def _send(self, session: Session) -> None:
        """Send what is due; ends once the agent is stopping and has receipts for all, or no more time."""
        until: float | None = None
        answers: list[tuple[int, asyncio.Future[int]]] = []
        while True:
            self._wake.clear()
            counts = await asyncio.to_thread(self._spool.counts)
            floor = counts.appended - counts.waiting + 1
            self._outgoing.dropped_below(floor)
            for spooled in await self._due():
                while len(answers) >= self._settings.inflight:
                    await self._hear(*answers.pop(0))
                answers.append((spooled.sequence, self._publish(session, spooled, floor)))
            while answers:
                await self._hear(*answers.pop(0))
            if self._spooled_all.is_set():
                until = until or self._elapsed() + self._settings.stop_seconds
                if not (await asyncio.to_thread(self._spool.counts)).waiting or self._elapsed() >= until:
                    return
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), min(1.0, self._settings.receipt_seconds / 2))

    async def _due(self) -> list[Spooled]:
        """Return the messages to send now: overdue ones again, then new ones as far as the window allows."""
        again = self._outgoing.overdue(self._elapsed())
        newest, room = self._outgoing.newest, self._outgoing.room
        if not self._heard:
            # One shows whether somebody listens by now.
            again, room = again[:1], 0 if len(self._outgoing) else 1
        try:
            return await asyncio.to_thread(self._peek, again, newest, room)
        except SpoolError as error:
            self._say(str(error))
            return []

    def _peek(self, again: list[int], newest: int, room: int) -> list[Spooled]:
        found: list[Spooled] = []
        for sequence in again:
            found += [one for one in self._spool.peek(1, after=sequence - 1) if one.sequence == sequence]
        if room:
            found += [one for one in self._spool.peek(room, after=newest) if one.sequence <= newest + room]
        return found

    def _publish(self, session: Session, spooled: Spooled, floor: int) -> asyncio.Future[int]:
        floor = min(spooled.sequence, floor)
        message = stamped(spooled.payload, self._spool.identity, spooled.sequence, floor, self._clock())
        kind = _kind_of(spooled.payload)
        self._messages += 1
        answer = session.send(topic(self._settings.site, kind), message)
        self._outgoing.sent(spooled.sequence, self._elapsed())
        return answer

    async def _hear(self, sequence: int, answer: asyncio.Future[int]) -> None:
        """Wait for the broker's word on a message."""
        try:
            code = await asyncio.wait_for(answer, self._settings.broker.connect_seconds)
        except TimeoutError:
            raise aiomqtt.MqttError("it took no message in time") from None
        if code == NO_SUBSCRIBER:
            self._heard = False
            self._outgoing.unheard(sequence, self._elapsed())
            self._say("no centre listens; messages wait in the spool")
        elif code >= FIRST_REFUSAL:
            self._broker_refused += 1
            self._say(
                f"the broker at {self._settings.broker.address} takes no messages of {self._settings.site}: {code:#x}"
            )
        elif not self._heard:
            self._heard = True
            self._said = ""
            self._outgoing.all_due(self._elapsed())


def _kind_of(message: bytes) -> str:
    """The kind in a message of `encode`: lengths at 5 and 6, names after the header of 60 octets."""
    return message[60 + message[5] : 60 + message[5] + message[6]].decode()
