"""Live sources into the lake: what they find becomes rows, appended once, in the order in which it was found."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa

from analytics.attribution import Attributor
from analytics.health import ProcessHealth
from analytics.quality.rating import rate_stream
from analytics.store.arrow_rows import arrow_reader
from analytics.store.lake import Lake
from analytics.store.schema import CALLS, INTERVALS, MESSAGES, PHONE_REPORTS, SITE_MINUTES, STREAMS, table
from analytics.store.settings import LakeSettings, StoreError
from analytics.store.site_minutes import append_minutes
from api.beside import Beside, ProcessSettings, stop_signals
from api.lake_rows import (
    NOWHERE,
    Minutes,
    Places,
    Row,
    Sides,
    call_key,
    call_rows,
    key64,
    message_rows,
    stream_rows,
)
from api.live_view import LiveFile, SidesOf
from api.notify import STOPPING, notify
from api.outlets import OutletHealth, Outlets, OutletSettings
from api.path_health import collect_gauges, collect_problems, collect_steps, process_health, source_notes
from api.plain_rows import plain_tables
from api.rated import RECEIVER_CONCEALS, RatedCall, RatedStream, rate, rate_call
from api.upkeep import tend
from api.wording import plural
from collector.estate.folder import load_estate
from collector.facts import Call, Endpoint, Interval, Stream
from collector.live.memory import LargeLibraries, release, sparing
from collector.live.source import Found, Source, SourceHealth, StreamNow
from collector.received_list import PlainTold, ReceivedCallList
from collector.receivers.report_rows import device_rows

QUEUE = 1
"""Deliveries that wait for the writer; sources hold the rest, each bounded for itself."""
REMEMBERED = 50_000
"""Calls and streams remembered: later streams of a call find its key, and intervals need no second look."""
ROWS_AT_ONCE = 500
"""Rows that are Python's at a time, on their way to Arrow."""
REPORT_S = 60.0
LAST_TRIES_S = 20.0
"""How long a store that fails is asked once more when it is told to stop [s]."""
LAST_WAIT_S = 1.0
NS = 1_000_000_000
HOUR_US = 3_600_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class StoreHealth:
    """What became of what was delivered."""

    stored: Mapping[str, int] = field(default_factory=dict)
    """Rows in the store, by table."""
    quarantined: int = 0
    """Rows put aside, for their time cannot be right."""
    lost: Mapping[str, int] = field(default_factory=dict)
    """Rows given up, by table."""
    retries: int = 0
    problem: str | None = None
    """Why the store takes nothing now; None when it does."""
    stored_up_to: int | None = None
    """What was found up to then is in the store [ns since the epoch]."""
    made: Mapping[str, int] = field(default_factory=dict)
    """Rows that were to be stored, by table: stored, put aside, given up or waiting."""
    unpointed: int = 0
    """Rows given up that were to become points, for their spool took nothing."""


@dataclass(frozen=True, slots=True)
class CollectHealth:
    """The whole way from the wire to the store: all of it counted since this process began."""

    sources: tuple[SourceHealth, ...]
    store: StoreHealth
    outlets: OutletHealth = OutletHealth()  # noqa: RUF009  # immutable
    has_store: bool = True
    """Whether rows are stored here, and not only published."""


class _Known(NamedTuple):
    """What rows of intervals of a stream have in common."""

    key: int
    sides: Sides
    clean_mos: float | None


class RatedFound(NamedTuple):
    """A delivery with its ratings."""

    streams: Sequence[RatedStream]
    calls: Sequence[RatedCall]


class LiveRows:
    """Makes rows of deliveries; `source` is the agent's name."""

    def __init__(self, source: str, places: Places | None) -> None:
        self.source = source
        self._places = places
        self._next_places: Places | None = None
        self._calls: OrderedDict[str, int] = OrderedDict()
        self._streams: OrderedDict[tuple[Endpoint, Endpoint, int, int], _Known] = OrderedDict()

    @property
    def places(self) -> Places | None:
        """By what sites are told, or will be from the next delivery on."""
        return self._next_places or self._places

    def use(self, places: Places) -> None:
        """Tell sites by these from the next delivery on; from any thread."""
        self._next_places = places

    def rows(self, found: Found) -> dict[str, pa.Table]:
        """Rows by table, with all of its columns; they are Python's only a few at a time."""
        if self._next_places is not None:
            self._places, self._next_places = self._next_places, None
            # They hold the sites that were.
            self._streams.clear()
        plain: Sequence[PlainTold] = ()
        minutes = Minutes()
        if isinstance(found.calls, ReceivedCallList) and not found.streams:
            # Who sends signalling alone has no streams that come later: nothing is remembered of such calls.
            rated, plain = rate_found((), found.calls.made), found.calls.plain
        else:
            rated = rate_found(found.streams, found.calls)
            self._remember_calls(rated.calls)
        made: dict[str, Iterable[Mapping[str, Any]]] = {
            CALLS.name: call_rows(rated, self.source, self._places, minutes),
            STREAMS.name: self._stream_rows(rated, minutes),
            INTERVALS.name: self._interval_rows(found),
            MESSAGES.name: message_rows(rated, self.source),
            PHONE_REPORTS.name: device_rows(found.reports, self.source),
        }
        for name, rows in found.rows.items():
            made[name] = chain(made.get(name, ()), rows)
        tables = {name: gathered(name, rows) for name, rows in made.items()}
        for told in plain:
            of_calls, of_messages = plain_tables(told, self.source, self._places, minutes)
            for name, rows in ((CALLS.name, of_calls), (MESSAGES.name, of_messages)):
                tables[name] = pa.concat_tables([tables[name], rows])
        if self._places is not None:
            # Now that the rows above were made, and counted as they were.
            tables[SITE_MINUTES.name] = minutes_table(minutes.rows())
        return {name: rows for name, rows in tables.items() if rows.num_rows}

    def _remember_calls(self, calls: Sequence[RatedCall]) -> None:
        for call in calls:
            for leg in call.call.legs:
                _remember(self._calls, leg.call_id, call_key(self.source, call))

    def _stream_rows(self, rated: RatedFound, minutes: Minutes) -> Iterator[Row]:
        rows = stream_rows(rated, self.source, self._places, minutes)
        for row, each in zip(rows, rated.streams, strict=True):
            if row["call_key"] is None and each.stream.call_id is not None:
                # Its call was delivered before it: a sender that did not stop.
                row["call_key"] = self._calls.get(each.stream.call_id)
            yield row

    def _interval_rows(self, found: Found) -> Iterator[Row]:
        for stream, interval in found.points:
            known = self._known(stream)
            yield {
                "stream_key": known.key,
                "source": self.source,
                "start": interval.start // 1_000,
                "seconds": (interval.end - interval.start) / 1e9,
                **known.sides._asdict(),
                "packets": interval.packets,
                "expected": interval.expected,
                "lost": interval.lost,
                "jitter_ms": interval.jitter_ms,
                "mos": known.clean_mos if interval.lost <= 0 else mos_with_losses(stream, interval),
            }

    def _known(self, stream: StreamNow) -> _Known:
        key = stream[:4]
        known = self._streams.get(key)
        if known is None or known.clean_mos is None:
            sides = (
                NOWHERE if self._places is None else self._places.of_ends(stream.src.ip, stream.dst.ip, stream.first)
            )
            ends = str(stream.src), str(stream.dst)
            named = key64("stream", self.source, *ends, str(stream.ssrc), str(stream.first))
            known = _Known(named, sides, _mos(stream, 0.0, None))
            _remember(self._streams, key, known)
        return known


def gathered(name: str, rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Rows as a table of the lake has them, made in pieces: as Python's they take ten times the memory."""
    return arrow_reader(table(name), rows, ROWS_AT_ONCE).read_all()


def minutes_table(rows: Iterable[Row]) -> pa.Table:
    """Minutes of sites with the columns that only the store counts by."""

    def of_its_month(row: Row) -> Row:
        month = (EPOCH + timedelta(microseconds=row["start"])).date().replace(day=1)
        return {**row, "step": "minute", "month": month}

    return gathered(SITE_MINUTES.name, map(of_its_month, rows))


def _remember(known: OrderedDict[K, V], key: K, value: V) -> None:
    known[key] = value
    known.move_to_end(key)
    if len(known) > REMEMBERED:
        known.popitem(last=False)


def rate_found(streams: Sequence[Stream], calls: Sequence[Call]) -> RatedFound:
    """Rate streams, and give each call those of its legs; of calls that share a Call-ID each those of its time."""
    rated = [RatedStream(stream, rate(stream)) for stream in streams]
    by_call_id: dict[str, list[RatedStream]] = {}
    for each in rated:
        if each.stream.call_id is not None:
            by_call_id.setdefault(each.stream.call_id, []).append(each)
    used = Counter(call_id for call in calls for call_id in {leg.call_id for leg in call.legs})
    made = []
    for call in calls:
        own: Mapping[str, Sequence[RatedStream]] = by_call_id
        if any(used[leg.call_id] > 1 for leg in call.legs):
            own = {
                leg.call_id: [each for each in by_call_id.get(leg.call_id, ()) if _while_up(call, each.stream)]
                for leg in call.legs
            }
        made.append(rate_call(call, own))
    return RatedFound(rated, made)


def _while_up(call: Call, stream: Stream) -> bool:
    return stream.last >= call.start and (call.end is None or stream.first <= call.end)


def mos_with_losses(stream: StreamNow, interval: Interval) -> float | None:
    """MOS of an interval in which packets are missing; None where the network may not have lost them."""
    if interval.expected <= 0 or not stream.only_network:
        return None
    return _mos(stream, 100.0 * interval.lost / interval.expected, stream.burst_ratio)


def _mos(stream: StreamNow, loss_percent: float, ratio: float | None) -> float | None:
    try:
        return rate_stream(stream.codec, RECEIVER_CONCEALS, loss_percent, ratio, stream.ptime_ms).mos
    except ValueError:
        return None


class LakeWriter:
    """Appends deliveries to the lake, each once, and hands them on: batches are named by process and numbered."""

    def __init__(self, lake: Lake | None, rows: LiveRows, batch: str, outlets: Outlets) -> None:
        """Without `lake` rows go to the outlets alone."""
        self._lake = lake
        self._rows = rows
        self._batch = batch
        self.outlets = outlets
        self._number = 0
        self._stored: Counter[str] = Counter()
        self._lost: Counter[str] = Counter()
        self._made: Counter[str] = Counter()
        self._quarantined = self._retries = 0
        self._problem: str | None = None
        self._up_to: int | None = None
        self._last_try: float | None = None
        self._unpointed = 0
        self.has_store = lake is not None
        self.stopping = asyncio.Event()
        """Set when it is told to stop: a store that fails is then asked only a little longer, for all that comes."""

    async def keep(self, found: Found) -> None:
        """Append a delivery, again and again until it stands or we have to stop."""
        rows = await asyncio.to_thread(self._rows.rows, found)
        self._made.update({name: of_table.num_rows for name, of_table in rows.items()})
        self._number += 1
        for name, of_table in rows.items():
            await self.outlets.publish(name, of_table, self.stopping)
        for name, of_table in rows.items():
            if self._lake is not None and not await self._tried(self._store, self._lake, name, of_table):
                self._lost[name] += of_table.num_rows
            if self.outlets.pointing and not await self._tried(self._point, name, self._believed(name, of_table)):
                self._unpointed += of_table.num_rows
        self._up_to = found.at

    async def _tried(self, attempt: Callable[..., Coroutine[None, None, None]], *words: object) -> bool:
        """Try until it is done; False where it was given up, for we have to stop."""
        wait = 1.0
        while True:
            try:
                await attempt(*words)
            except (StoreError, OSError) as error:
                self._problem = str(error)
                self._retries += 1
            else:
                self._problem = None
                return True
            if self.stopping.is_set():
                self._last_try = self._last_try or time.monotonic() + LAST_TRIES_S
                if time.monotonic() >= self._last_try:
                    return False
            try:
                async with asyncio.timeout(wait):
                    await self.stopping.wait()
                    await asyncio.sleep(LAST_WAIT_S)
            except TimeoutError:
                pass
            wait = min(2 * wait, 30.0)

    async def _store(self, lake: Lake, name: str, rows: pa.Table) -> None:
        await asyncio.to_thread(self._append, lake, name, rows, self._number)

    async def _point(self, name: str, rows: pa.Table) -> None:
        await self.outlets.point(name, rows, self._rows.source, self._batch, self._number)

    def _believed(self, name: str, rows: pa.Table) -> pa.Table:
        """Rows whose time can be right, as the store judges it: InfluxDB gets what it gets."""
        if name != INTERVALS.name:
            return rows
        limits, now = LakeSettings() if self._lake is None else self._lake.settings, time.time_ns() // 1_000
        earliest, latest = now - limits.quarantine_past_hours * HOUR_US, now + limits.quarantine_future_hours * HOUR_US
        starts = rows["start"].to_numpy().astype("datetime64[us]").astype(np.int64)
        return rows.filter(pa.array((earliest <= starts) & (starts <= latest)))

    def _append(self, lake: Lake, name: str, rows: pa.Table, number: int) -> None:
        now = datetime.now(UTC)
        if name == SITE_MINUTES.name:
            append_minutes(lake, rows.drop_columns(["month", "step"]), batch=self._batch, sequence=number)
            self._stored[name] += rows.num_rows
            return
        done = lake.append(name, rows, batch=self._batch, sequence=number, live_now=now)
        # After a commit whose answer was lost the rows are there already.
        self._stored[name] += rows.num_rows if done.already else done.rows
        self._quarantined += done.quarantined

    def health(self) -> StoreHealth:
        """How it goes."""
        return StoreHealth(
            dict(self._stored),
            self._quarantined,
            dict(self._lost),
            self._retries,
            self._problem,
            self._up_to,
            dict(self._made),
            self._unpointed,
        )


class Collection:
    """What live sources are going to be kept in, opened before they begin: a store, or a centre's, and InfluxDB."""

    def __init__(
        self,
        agent: str,
        root: Path | None,
        estate: Path | None,
        settings: LakeSettings | None = None,
        outlets: OutletSettings = OutletSettings(),  # noqa: B008  # immutable
    ) -> None:
        """Open it, the store made if absent; without `root` there is none, and rows go to the outlets alone.

        Raises StoreError, EstateError where the estate has a fault, ValueError where a name fits in no topic.
        """
        places = None if estate is None else Places(Attributor(load_estate(estate)))
        self.root = root
        self.beside = root or (outlets.agent.spool if outlets.agent else Path("callgauge-store"))
        """Folder of the process's health."""
        self.outlets = Outlets(outlets, agent)
        try:
            self._lake = None if root is None else Lake.open(root, create=True, settings=settings)
        except StoreError:
            self.outlets.close()
            raise
        if self._lake is not None:
            self._lake.between_libraries = LargeLibraries().let_go
        self._rows = LiveRows(agent, places)
        self._estate = estate
        self._batch = f"collect {agent} {os.getpid()}.{time.time_ns()}"

    def writer(self) -> LakeWriter:
        """What appends to it."""
        return LakeWriter(self._lake, self._rows, self._batch, self.outlets)

    def sides_of(self) -> SidesOf | None:
        """How sites are told by addresses now; None without an estate."""
        places = self._rows.places
        return None if places is None else places.of_ends

    async def tend(self) -> None:
        """Keep the store's files few, until cancelled."""
        if self._lake is not None:
            await tend(self._lake)

    def reload(self) -> str:
        """Read the estate anew; what to say of it. EstateError where it has a fault: the one before stays."""
        if self._estate is None:
            return "there is no estate to read anew"
        estate = load_estate(self._estate)
        self._rows.use(Places(Attributor(estate)))
        return f"the estate was read anew: {plural(len(estate.sites), 'site')}"

    def close(self) -> None:
        """Let go of it."""
        self.outlets.close()
        if self._lake is not None:
            self._lake.close()


def collect_from(
    sources: Sequence[Source],
    kept: Collection,
    agent: str = "",
    process: ProcessSettings = ProcessSettings(),  # noqa: B008  # immutable
) -> bool:
    """Run sources until SIGTERM or SIGINT, and keep what they find; whether all of it is in the store."""
    writer = kept.writer()
    began = time.time_ns()

    def health(ended: bool) -> ProcessHealth:
        return health_of(snapshot(sources, writer), agent, began, time.time_ns(), process.health_seconds, ended)

    beside = Beside(
        process, kept.beside, health, lambda: all(source.health().running for source in sources), kept.reload
    )

    live = LiveFile(agent, kept.beside, sources, writer.health, kept.sides_of)

    async def running_beside() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(beside.run(), name="beside: process")
            tasks.create_task(kept.tend(), name="beside: upkeep")
            tasks.create_task(live.run(), name="beside: live view")

    try:
        found = asyncio.run(collecting(sources, writer, beside.report, running_beside))
        beside.last_word()
    finally:
        kept.close()
    if kept.root is not None:
        rows = sum(found.store.stored.values())
        beside.report(f"stored in {kept.root}: {plural(rows, 'row')} ({_by_table(found.store.stored)})")
    for line in outlet_lines(found.outlets):
        beside.report(line)
    for source in found.sources:
        beside.report(last_line(source))
    if found.store.lost:
        beside.report(f"not stored: {_by_table(found.store.lost)}")
    sent = found.outlets.agent
    if found.store.unpointed or (sent is not None and sent.queue_dropped + sent.unfit):
        return False
    return not found.store.lost and not any(name.endswith("_not_stored") for s in found.sources for name in s.lost)


def snapshot(sources: Sequence[Source], writer: LakeWriter) -> CollectHealth:
    """How it goes; the end of the way is asked first, so that no step passed more than came to it."""
    outlets = writer.outlets.health()
    store = writer.health()
    return CollectHealth(tuple(source.health() for source in sources), store, outlets, writer.has_store)


def outlet_lines(found: OutletHealth) -> list[str]:
    """What is said at the end of rows that went elsewhere."""
    lines = []
    if found.agent is not None and found.spool is not None:
        line = (
            f"for the centre: {plural(found.agent.spooled, 'row')}, {found.spool.waiting:,} messages wait in the spool"
        )
        dropped = found.agent.queue_dropped + found.agent.unfit
        lines.append(f"{line}; {dropped:,} rows were dropped" if dropped else line)
    if found.influx is not None:
        waiting = f"{found.influx.spool.waiting:,} batches wait in the spool"
        lines.append(f"for InfluxDB: {plural(found.influx.put, 'point')}, {waiting}")
    return lines


def health_of(
    found: CollectHealth, agent: str, began: int, now: int, every: float, ended: bool
) -> ProcessHealth:  # fmt: skip
    """Health of this process along the data path; times are ns since the epoch, `every` seconds."""
    return process_health(
        "collect",
        agent,
        began,
        now,
        every,
        collect_steps(found),
        notes={
            **source_notes(found.sources),
            "store_retries": found.store.retries,
            "rows_without_points": found.store.unpointed + found.outlets.unfit,
        },
        gauges=collect_gauges(found),
        problems=collect_problems(found),
        feeds=[feed for source in found.sources for feed in source.feeds],
        ended=ended,
    )


async def collecting(
    sources: Sequence[Source],
    writer: LakeWriter,
    report: Callable[[str], None],
    beside: Callable[[], Coroutine[None, None, None]] | None = None,
) -> CollectHealth:
    """Run sources until they end or a signal stops them; `report` gets a line every minute, `beside` runs meanwhile."""
    queue: asyncio.Queue[Found | None] = asyncio.Queue(QUEUE)
    loop = asyncio.get_running_loop()

    def stop() -> None:
        notify(STOPPING)
        # Before the sources end: one that waits for a store that fails would never do so.
        writer.stopping.set()
        for source in sources:
            source.stop()

    signals = stop_signals()
    for number in signals:
        loop.add_signal_handler(number, stop)
    try:
        async with asyncio.TaskGroup() as tasks:
            reporting = tasks.create_task(_report(sources, writer, report), name="report")
            running_beside = None if beside is None else tasks.create_task(beside(), name="beside")
            tasks.create_task(writer.outlets.run(), name="outlets")
            writing = tasks.create_task(_write(queue, writer), name="store")
            try:
                async with asyncio.TaskGroup() as running:
                    for source in sources:
                        running.create_task(source.run(queue.put), name=source.name)
            finally:
                writer.stopping.set()
                reporting.cancel()
            await queue.put(None)
            await writing
            writer.outlets.stop()
            if running_beside is not None:
                running_beside.cancel()
    except* (StoreError, ValueError) as group:
        raise _first(group) from None
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
    return snapshot(sources, writer)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _write(queue: asyncio.Queue[Found | None], writer: LakeWriter) -> None:
    while (found := await queue.get()) is not None:
        with sparing():
            await writer.keep(found)
        del found
        await asyncio.to_thread(release)


async def _report(sources: Sequence[Source], writer: LakeWriter, report: Callable[[str], None]) -> None:
    before: dict[str, int] = {}
    waiting = list(sources)
    while waiting:
        for source in [each for each in waiting if each.health().running]:
            report(f"collecting from {source.name}")
            waiting.remove(source)
        await asyncio.sleep(0.1)
    while True:
        await asyncio.sleep(REPORT_S)
        for source in sources:
            health = source.health()
            report(minute_line(health, health.seen - before.get(health.name, 0)))
            before[health.name] = health.seen
        if (problem := writer.health().problem) is not None:
            report(f"the store takes nothing: {problem}")


def minute_line(health: SourceHealth, seen: int) -> str:
    """What is said of a source every minute; `seen` packets came in it."""
    if health.kind == "files":
        return files_line(health)
    line = (
        f"{health.name}: {seen / REPORT_S:,.0f} {'packets' if health.kind == 'packets' else 'messages'}/s, "
        f"{health.lost.get('kernel_drops', 0):,} dropped, {plural(health.calls_now, 'call')} now, "
        f"{plural(health.streams_now, 'stream')} now, {health.calls:,} calls and {health.points:,} intervals so far"
    )
    return f"{line}; {health.problem}" if health.problem else line


def files_line(health: SourceHealth) -> str:
    """What is said of watched folders: files and records since the begin."""
    lost = sum(health.lost.values())
    line = (
        f"{health.name}: {plural(health.parsed, 'file')} in the store, {health.seen - health.parsed - lost:,} wait, "
        f"{lost:,} left alone; {health.records_kept:,} of {plural(health.records, 'record')} kept"
    )
    if health.lost:
        line += "; left alone: " + ", ".join(f"{name} {count:,}" for name, count in health.lost.items())
    return f"{line}; {health.problem}" if health.problem else line


def last_line(health: SourceHealth) -> str:
    """What is said of a source at the end."""
    if health.kind == "files":
        return files_line(health)
    unit = "packets" if health.kind == "packets" else "messages"
    line = f"{health.name}: {health.seen:,} {unit}, {health.parsed:,} understood, {health.matched:,} matched"
    if health.restarts:
        line += f"; begun anew {'once' if health.restarts == 1 else f'{health.restarts:,} times'}"
    lost = ", ".join(f"{name} {count:,}" for name, count in health.lost.items())
    return f"{line}; lost: {lost}" if lost else line


def _by_table(rows: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(rows.items())) or "nothing"
