"""Where rows go beside the store: to the centre by an agent, and as points to InfluxDB. A spool on disk is between."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

import pyarrow as pa

from analytics.store.influx import InfluxError, InfluxSettings
from analytics.store.influx_points import Points, site_minute_points, stream_interval_points
from analytics.store.influx_writer import InfluxWriter, WriterCounts
from analytics.store.schema import INTERVALS, SITE_MINUTES
from analytics.store.settings import StoreError
from analytics.store.spool import Spool, SpoolCounts
from api import __version__
from collector.transport.agent import Agent, AgentCounts, AgentSettings

LAST_POINTS_S = 10.0
"""How long a stop waits for InfluxDB; points that it does not have stay in the spool [s]."""
ROOM_S = 0.05
AGAIN_S = 1.0
_logger = logging.getLogger("callgauge.influx")


class InfluxOutlet:
    """Minutes and intervals on their way to InfluxDB; rows of other tables are not looked at."""

    def __init__(self, writer: InfluxWriter, seconds: int = 10) -> None:
        """`seconds` is the length of intervals."""
        self._writer = writer
        self._seconds = seconds
        self.unfit = 0
        """Rows with a name that no point can have: they are not in InfluxDB."""

    async def put(self, name: str, rows: pa.Table, source: str, batch: str, sequence: int) -> None:
        """Take rows of a table; SpoolError where the disk is full: they were not taken."""
        try:
            points = await asyncio.to_thread(self._points, name, rows, source, batch, sequence)
        except InfluxError as error:
            # It would be refused however often it were tried.
            self.unfit += rows.num_rows
            _logger.error("%d rows of %s do not go to InfluxDB: %s", rows.num_rows, name, error)
            return
        if points is not None:
            await self._writer.put(points)

    def _points(self, name: str, rows: pa.Table, source: str, batch: str, sequence: int) -> Points | None:
        if not rows.num_rows:
            return None
        if name == SITE_MINUTES.name:
            return site_minute_points(rows, source=source, batch=batch, sequence=sequence)
        if name == INTERVALS.name:
            return stream_interval_points(rows, source=source, batch=batch, sequence=sequence, seconds=self._seconds)
        return None

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            try:
                await self._writer.run()
            except StoreError as error:
                _logger.warning("%s", error)
                await asyncio.sleep(AGAIN_S)

    async def finish(self) -> None:
        """Wait a little until InfluxDB has all of it."""
        try:
            async with asyncio.timeout(AGAIN_S if self._writer.counts().trouble else LAST_POINTS_S):
                await self._writer.flush()
        except TimeoutError:
            return

    def counts(self) -> WriterCounts:
        """What became of points."""
        return self._writer.counts()


@contextmanager
def influx_outlet(settings: InfluxSettings, process: str, seconds: int = 10) -> Iterator[InfluxOutlet]:
    """Open the way to InfluxDB of a process, whose spool has its name. SpoolError where it cannot be."""
    with Spool.open(settings.spool / process) as spool:
        writer = InfluxWriter(settings, spool, clock=lambda: datetime.now(UTC), jitter=random.Random())
        yield InfluxOutlet(writer, seconds)


class OutletSettings(NamedTuple):
    """What rows go to beside the store."""

    agent: AgentSettings | None = None
    influx: InfluxSettings | None = None
    interval_seconds: int = 10


@dataclass(frozen=True, slots=True)
class OutletHealth:
    """What became of rows on these ways."""

    agent: AgentCounts | None = None
    spool: SpoolCounts | None = None
    influx: WriterCounts | None = None
    unfit: int = 0
    """Rows that no points can be made of."""
    problem: str = ""
    """Why the agent gets nothing to the centre now; empty when it does."""


class Outlets:
    """The ways of one collector; open until `close`."""

    def __init__(self, settings: OutletSettings, name: str) -> None:
        """`name` is the collector's. SpoolError where a spool cannot be had, ValueError where a name fits no topic."""
        self.agent: Agent | None = None
        self._spool: Spool | None = None
        self._influx: InfluxOutlet | None = None
        self._finishing = asyncio.Event()
        with ExitStack() as stack:
            if settings.agent is not None:
                self._spool = stack.enter_context(Spool.open(settings.agent.spool, settings.agent.spool_settings))
                self.agent = Agent(settings.agent, self._spool, version=__version__)
            if settings.influx is not None:
                outlet = influx_outlet(settings.influx, f"collect-{name.replace('/', '_')}", settings.interval_seconds)
                self._influx = stack.enter_context(outlet)
            self._open = stack.pop_all()

    @property
    def pointing(self) -> bool:
        """Whether rows go to InfluxDB."""
        return self._influx is not None

    def close(self) -> None:
        """Let go of the spools."""
        self._open.close()

    async def publish(self, name: str, rows: pa.Table, stopping: asyncio.Event) -> None:
        """Hand rows to the agent, and wait for room; not for ever once `stopping` is set: then they are dropped."""
        if self.agent is None:
            return
        waited = 0.0
        while self.agent.full and waited < LAST_POINTS_S:
            await asyncio.sleep(ROOM_S)
            waited += ROOM_S if stopping.is_set() else 0.0
        self.agent.offer(name, rows)

    async def point(self, name: str, rows: pa.Table, source: str, batch: str, sequence: int) -> None:
        """Hand rows to InfluxDB's spool; SpoolError where the disk is full: they were not taken."""
        if self._influx is not None:
            await self._influx.put(name, rows, source, batch, sequence)

    async def run(self) -> None:
        """Send until `stop`."""
        async with asyncio.TaskGroup() as tasks:
            if self.agent is not None:
                tasks.create_task(self.agent.run(), name="agent")
            if self._influx is not None:
                tasks.create_task(self._influx_until_told(), name="influx")

    async def _influx_until_told(self) -> None:
        assert self._influx is not None
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(self._influx.run(), name="influx: send")
            await self._finishing.wait()
            await self._influx.finish()
            running.cancel()

    def stop(self) -> None:
        """Nothing more will come: `run` ends when all was sent, or the time for that is over."""
        if self.agent is not None:
            self.agent.stop()
        self._finishing.set()

    def health(self) -> OutletHealth:
        """How it goes."""
        agent = None if self.agent is None else self.agent.counts()
        spool = None if self._spool is None else self._spool.counts()
        influx = None if self._influx is None else self._influx.counts()
        unfit = 0 if self._influx is None else self._influx.unfit
        return OutletHealth(agent, spool, influx, unfit, "" if self.agent is None else self.agent.trouble)
