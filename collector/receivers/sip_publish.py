"""Voice-quality reports that telephones publish over SIP, as a live source: UDP and TCP, every report answered."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from collector.facts import Endpoint
from collector.live.source import Deliver, Found, SourceHealth
from collector.protocols.sip import BODY_LIMIT, SipError, frame_length
from collector.protocols.sip_message import HEADER_SECTION_LIMIT
from collector.protocols.sip_publish import Answered, PublishServer
from collector.receivers.listening import Clock, ConnectionLimits, Listen, Ports, watch
from collector.receivers.report_rows import Row, vq_rows

PORT = 5060
FLUSH_SECONDS = 5.0
"""How often reports are delivered [s]."""
PATIENCE_SECONDS = 1.0
"""How long a stop waits for messages that are half received [s]."""
ROWS_LIMIT = 50_000
"""Rows that wait while a delivery does; further ones are dropped and counted, their reports answered all the same."""
_GARBAGE = 1 << 62
_TAKEN = ("reports", "refreshes", "retransmissions")


@dataclass(frozen=True, slots=True)
class PublishSettings:
    """How reports are received."""

    listen: tuple[Listen, ...] = (Listen("udp", "", PORT), Listen("tcp", "", PORT))
    expires: int = 3600
    """Longest time for which a publication is remembered [s]."""
    limits: ConnectionLimits = field(default_factory=ConnectionLimits)


class PublishSource:
    """Listens for PUBLISH until told to stop."""

    def __init__(
        self, settings: PublishSettings, system: str, clock: Clock, flush_seconds: float = FLUSH_SECONDS
    ) -> None:  # fmt: skip
        self._settings = settings
        self._system = system
        self._clock = clock
        self._flush_seconds = flush_seconds
        self.server = PublishServer(settings.expires)
        self.ports = Ports(settings.limits, clock, self._take_datagrams, lambda peer: _Messages(self, peer))
        self.addresses: list[Listen] = []
        """Where it listens, once `ready` is set."""
        self.ready = asyncio.Event()
        self.rows_dropped = 0
        self._rows: list[Row] = []
        self._stopping = asyncio.Event()
        self._running = False
        self._last: int | None = None

    @property
    def name(self) -> str:
        """The addresses it listens on."""
        return "publish " + " ".join(str(each) for each in self.addresses or self._settings.listen)

    def stop(self) -> None:
        """Take no more in."""
        self._stopping.set()

    async def run(self, deliver: Deliver) -> None:
        """Listen until `stop`; every report answered with 200 is delivered. ListenError where it cannot listen."""
        self.addresses = await self.ports.open(self._settings.listen)
        self._running = True
        self.ready.set()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(watch(self.ports, self._stopping))
                group.create_task(self._flush(deliver))
            await self.ports.finish(PATIENCE_SECONDS, self._has_room)
        finally:
            self._running = False
            self.ports.close()
        await self._deliver(deliver)

    async def _flush(self, deliver: Deliver) -> None:
        while not self._stopping.is_set():
            try:
                await asyncio.wait_for(self._stopping.wait(), self._flush_seconds)
            except TimeoutError:
                await self._deliver(deliver)

    async def _has_room(self) -> bool:
        return False

    async def _deliver(self, deliver: Deliver) -> None:
        rows, self._rows = self._rows, []
        if rows:
            await deliver(Found(self._clock(), rows={"phone_reports": rows}))

    def _take_datagrams(
        self, datagrams: Sequence[tuple[bytes, Endpoint]], arrived: int
    ) -> list[tuple[bytes, Endpoint]]:  # fmt: skip
        answers = []
        for data, sender in datagrams:
            if not data.strip(b"\r\n\0"):
                continue  # keep-alives
            answered = self.take(data, sender, arrived, "UDP")
            if answered.response is not None:
                answers.append((answered.response, answered.to))
        return answers

    def take(self, data: bytes, sender: Endpoint, arrived: int, transport: str) -> Answered:
        """Take one message."""
        answered = self.server.take(data, sender, arrived, transport)
        self._last = arrived
        if answered.published is not None:
            rows = vq_rows(answered.published.report, arrived, self._system, answered.published.identity)
            if len(self._rows) + len(rows) > ROWS_LIMIT:
                self.rows_dropped += len(rows)
            else:
                self._rows += rows
        return answered

    def health(self) -> SourceHealth:
        """How it goes."""
        counts = Counter(self.server.counts)
        lost = {name: count for name, count in counts.items() if name not in (*_TAKEN, "messages")}
        lost |= self.ports.lost() | {"reports_dropped": self.rows_dropped}
        taken = sum(counts[name] for name in _TAKEN)
        return SourceHealth(
            name=self.name,
            kind="publish",
            running=self._running,
            seen=counts["messages"],
            parsed=taken,
            matched=taken,
            calls=0,
            streams=0,
            points=0,
            calls_now=0,
            streams_now=0,
            last_at=self._last,
            lost={name: count for name, count in sorted(lost.items()) if count},
        )


class _Messages:
    """One connection's stream of messages."""

    def __init__(self, source: PublishSource, peer: Endpoint) -> None:
        self._source = source
        self._peer = peer
        self._buffer = bytearray()
        self.skipped = 0

    @property
    def waiting(self) -> int:
        return len(self._buffer)

    def feed(self, data: bytes, arrived: int) -> bytes:
        buffer = self._buffer
        buffer += data
        answers = []
        while buffer:
            while buffer[:2] == b"\r\n":
                del buffer[:2]
                if buffer[:2] == b"\r\n":
                    del buffer[:2]
                    answers.append(b"\r\n")  # RFC 5626 4.4.1: a double CRLF is answered by a single one
            try:
                length = frame_length(buffer) if buffer and buffer != b"\r" else None
            except SipError as error:
                # Nobody can tell where the next message of such a stream begins.
                self._source.server.counts["messages"] += 1
                self._source.server.counts[f"sip_{error.defect}"] += 1
                self.skipped = _GARBAGE
                buffer.clear()
                break
            if length is None:
                break
            answered = self._source.take(bytes(buffer[:length]), self._peer, arrived, "TCP")
            del buffer[:length]
            if answered.response is not None:
                answers.append(answered.response)
        if len(buffer) > HEADER_SECTION_LIMIT + BODY_LIMIT:
            self.skipped = _GARBAGE
        return b"".join(answers)

    def finish(self) -> None:
        if self._buffer:
            self._source.server.counts["messages"] += 1
            self._source.server.counts["sip_cut_short"] += 1
            self._buffer.clear()
