"""HEP as a live source: what a Homer server would be sent becomes calls and reports of the store."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from collector.calls import CallLimits
from collector.facts import Call
from collector.live.source import Deliver, Found, SourceHealth
from collector.receivers.hep import HepReceiver, HepSettings
from collector.receivers.listening import Clock, Listen, watch
from collector.receivers.report_rows import Row
from collector.receivers.sip_intake import CALL_LIMITS, SipIntake, warm_up

FLUSH_SECONDS = 5.0
"""How often what is over is delivered [s]: a call ends, is silent for five seconds, and waits at most as long again."""
LOOK_SECONDS = 0.05
"""How often it is seen whether so much is over that it cannot wait [s]."""
PATIENCE_SECONDS = 2.0
"""How long a stop waits for messages that are half received [s]."""


class HepSource:
    """Listens for HEP until told to stop; keeps taking messages while a delivery waits."""

    def __init__(
        self,
        settings: HepSettings,
        system: str,
        clock: Clock,
        flush_seconds: float = FLUSH_SECONDS,
        limits: CallLimits = CALL_LIMITS,
    ) -> None:  # fmt: skip
        self._settings = settings
        self._clock = clock
        self._flush_seconds = flush_seconds
        self.intake = SipIntake(system, limits)
        self.receiver = HepReceiver(settings, self.intake, clock)
        self.addresses: list[Listen] = []
        """Where it listens, once `ready` is set."""
        self.ready = asyncio.Event()
        self._stopping = asyncio.Event()
        self._running = False
        self._calls = 0

    @property
    def name(self) -> str:
        """The addresses it listens on."""
        return "hep " + " ".join(str(each) for each in self.addresses or self._settings.listen)

    def stop(self) -> None:
        """Take no more in."""
        self._stopping.set()

    async def run(self, deliver: Deliver) -> None:
        """Listen until `stop`; everything received is delivered before it returns. ListenError where it cannot."""
        warm_up()
        self.addresses = await self.receiver.open()
        self._running = True
        self.ready.set()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(watch(self.receiver.ports, self._stopping))
                group.create_task(self._flush(deliver))
            await self.receiver.ports.finish(PATIENCE_SECONDS, lambda: self._make_room(deliver))
        finally:
            self._running = False
            self.receiver.ports.close()
        now = self._clock()
        await self._deliver(deliver, now, *self.intake.rest(now))

    async def _flush(self, deliver: Deliver) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + self._flush_seconds
        while not self._stopping.is_set():
            try:
                await asyncio.wait_for(self._stopping.wait(), min(LOOK_SECONDS, self._flush_seconds))
            except TimeoutError:
                if loop.time() < due and not self.intake.full:
                    continue
                due = loop.time() + self._flush_seconds
                now = self._clock()
                calls, rows = self.intake.harvest(now)
                self.receiver.ports.resume()
                await self._deliver(deliver, now, calls, rows)

    async def _make_room(self, deliver: Deliver) -> bool:
        if not self.intake.full:
            return False
        now = self._clock()
        await self._deliver(deliver, now, *self.intake.harvest(now))
        return True

    async def _deliver(self, deliver: Deliver, now: int, calls: Sequence[Call], rows: Sequence[Row]) -> None:
        if calls or rows:
            await deliver(Found(now, calls=calls, rows={"phone_reports": rows} if rows else {}))
            self._calls += len(calls)

    def health(self) -> SourceHealth:
        """How it goes."""
        intake, receiver = self.intake, self.receiver
        why = dict(intake.refused)
        refused = sum(why.values())
        lost = receiver.lost() | why
        lost |= {"calls_evicted": intake.calls.unlisted, "reports_dropped": intake.rows_dropped}
        parsed = receiver.handed_on - refused - intake.ignored
        return SourceHealth(
            name=self.name,
            kind="hep",
            running=self._running,
            seen=receiver.received,
            parsed=parsed,
            matched=parsed,
            calls=self._calls,
            streams=0,
            points=0,
            calls_now=intake.calls.open_legs,
            streams_now=0,
            last_at=intake.last_at,
            lost={name: count for name, count in lost.items() if count},
        )
