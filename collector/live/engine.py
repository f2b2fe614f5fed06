"""The engine of a capture without end: the same path as a replay's, harvested every so often.

A harvest ends the interval of every stream, takes streams that are over out of the table, and hands out calls that are
over together with their streams. Time is that of the packets; where none come, it goes on by a clock that only counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from collector.calls import CallLimits
from collector.capture import columns as c
from collector.capture.files import Source
from collector.engine import Engine, EngineLimits
from collector.facts import Call, Stream
from collector.live.book import LiveBook
from collector.live.calls import AFTER_BYE, LiveSignalling, OverCall
from collector.live.glance import GLANCE_S, Glance, Glances, Progress
from collector.live.points import Points
from collector.live.slices import slices
from collector.live.source import Found, Point, StreamNow
from collector.live.streams import IntervalTotals, LiveStreamTable
from collector.media import columns as m
from collector.media.book import Negotiated
from collector.media.columns import FEWER_SAMPLES
from collector.media.describe import codec_of, context_of, describe, ptime_of
from collector.media.findings import on_calls
from collector.media.intervals import NO_INTERVALS
from collector.media.missing import cause_of, missing_runs
from collector.media.placement import same_medium, shared_calls
from collector.media.plausibility import (
    COMFORT_NOISE_TYPES,
    PLAUSIBLE_PACKETS,
    PLAUSIBLE_SHARE,
    PLAUSIBLE_STEPS,
    is_plausible,
)
from collector.media.reports import StreamReport, burst_ratio
from collector.media.streams import EVENT_NAMES, EventLog, StreamLimits
from collector.plain_calls import PlainLimits
from collector.protocols.rtp import STATIC_FORMATS
from collector.reader import NOT_YET, CaptureReader

Integers = NDArray[np.int64]
Negotiations = list[tuple[StreamReport, Negotiated | None]]

NS = 1_000_000_000
SLACK_NS = NS
"""How late packets may come down the pipe after they were captured [ns]."""
TICK_S = 0.25
"""How long to wait for packets at a time before the clock is looked at [s]."""


ROWS_AT_ONCE = 1_000
"""Rows of the table that are Python's numbers at a time (5 kB each)."""
STOP_AT_ONCE = 500
"""Streams that a stop hands out at a time, with their calls: nothing waits for it."""
CALLS_AT_ONCE = 5_000
"""Calls that one harvest hands out; the rest stay for the next one."""


class Handing(NamedTuple):
    """Calls that are handed out although they may go on."""

    keys: tuple[tuple[str, ...], ...] = ()
    """Keys of the legs of each."""
    everybody: bool = False
    """All calls that are left."""


NOBODY = Handing()
EVERYBODY = Handing(everybody=True)


@dataclass(frozen=True, slots=True)
class LiveSettings:
    """When things are over, and sizes that bound the memory."""

    interval_s: float = 10.0
    """Length of an interval, and time between harvests [s of capture time]."""
    idle_s: float = 60.0
    """A stream of no known call is over when it was silent for so long [s]."""
    longest_wait_s: float = 60.0
    """How long a call that is over waits for streams that do not end [s]."""
    longest_hold_s: float = 3600.0
    """How long a stream that is over waits for another place where its medium is heard [s]."""
    rows: int = 24_576
    """Streams measured at a time (8.5 kB each); beyond it the longest silent are closed."""
    calls: int = 40_000
    """Call-IDs of calls; beyond it the oldest are counted and not kept."""
    other_call_ids: int = 10_000
    """Call-IDs of registrations and the like that are remembered."""
    announcements: int = 160_000
    """Announcements of media that are kept."""
    steps: int = 48
    """Messages of a Call-ID that its ladder keeps (40 octets each); 0 keeps none."""
    reports: int = 20_000
    """Statistics of devices, from BYE, that wait for a harvest."""
    at_once: int = 2_000
    """Streams that one harvest closes: packets wait meanwhile. The rest stay for the next one."""
    waiting_streams: int = 20_000
    """Streams that are over and wait for their call to be over."""


class LiveCounts(NamedTuple):
    """How far a capture without end came."""

    packets: int
    parsed: int
    """Of these, SIP, RTCP and what looks like RTP."""
    unmatched: int
    """Of these, not believed to belong to a stream."""
    calls_now: int
    streams_now: int
    last_at: int | None
    """Time of the newest packet [ns]."""
    lost: Mapping[str, int]
    """What was lost or not used, by step and reason."""


class LiveReader(CaptureReader):
    """A capture that comes down a pipe; while nothing comes, `on_silence` is called every so often."""

    window = 1 << 20
    on_silence: Callable[[], None] | None = None

    def _advance(self) -> bool:
        while self.on_silence is not None and not self._windows.wait(TICK_S):
            self.on_silence()
        return super()._advance()


class LiveEngine(Engine):
    """Takes captures that do not end, one after another, and hands out what is over."""

    def __init__(self, settings: LiveSettings = LiveSettings()) -> None:  # immutable
        # A harvest cuts intervals; the kernel itself only where harvests are late.
        streams = StreamLimits(settings.rows, interval_ns=round(2 * settings.interval_s * NS), samples=FEWER_SAMPLES)
        limits = CallLimits(
            max_calls=settings.calls,
            max_other_call_ids=settings.other_call_ids,
            max_steps=settings.steps,
            max_reports=settings.reports,
        )
        super().__init__(EngineLimits(StreamLimits(rows=1), limits, PlainLimits(calls=0)))
        self._settings = settings
        self._interval = round(settings.interval_s * NS)
        self._book = self._live_book = LiveBook(settings.announcements)
        self._table = self._live_table = LiveStreamTable(self._live_book, streams)
        self._signalling = self._live_signalling = LiveSignalling(limits, self._live_book, self._live_table)
        self._calls = self._live_signalling.calls
        self._totals = IntervalTotals()
        self._known: dict[int, StreamNow] = {}
        """What was found out of streams in the table, by serial."""
        self._waiting: dict[str, list[Stream]] = {}
        self._waiting_count = 0
        self._boundary = NOT_YET
        self._reading: LiveReader | None = None
        self._glances = Glances()
        self._glimpsed: dict[int, StreamNow] = {}
        """The same of streams of which no interval was told yet."""
        self.glance: Glance | None = None
        """What goes on, as of a second ago; made anew as packets come, and never changed."""
        self.counted: Counter[str] = Counter()
        """What was lost by limits, and what was handed out."""

    # --- reading --------------------------------------------------------------------------------------------------

    def follow(
        self,
        source: Source,
        deliver: Callable[[Found], None],
        monotonic: Callable[[], float],
        began: Callable[[], None] | None = None,
    ) -> str | None:
        """Take a capture until it ends; why it ended before a whole record, None where it did not.

        `monotonic` gives seconds that only go on, `began` hears when a capture begins. Raises CaptureError when what
        comes is no capture.
        """
        reader = self._reading = LiveReader(source, self._arrays, self._run)
        if began is not None:
            began()
        self._files = [source.name]
        self._hand_over(reader)
        heard = harvested = glanced = monotonic()

        def harvest(now: int) -> None:
            nonlocal harvested
            deliver(self.harvest(now))
            harvested = monotonic()

        def glance() -> None:
            nonlocal glanced
            passed = monotonic() - glanced
            if passed >= GLANCE_S:
                glanced += passed
                self._look(passed)

        def on_silence() -> None:
            glance()
            last = int(reader.arrays.context[c.LAST])
            now = last + round((monotonic() - heard) * NS)
            if last != NOT_YET and self._boundary != NOT_YET and now > self._boundary + SLACK_NS:
                harvest(self._boundary)
                self._boundary += self._interval

        def on_window() -> None:
            nonlocal heard
            heard = monotonic()
            glance()
            if heard - harvested > 2 * self._settings.interval_s and self._boundary != NOT_YET:
                # The machine's clock was put back: packets would not reach the boundary for long.
                last = int(reader.arrays.context[c.LAST])
                harvest(last)
                self._boundary = self._after(last)

        reader.on_silence = on_silence
        try:
            while True:
                reader.run(self._boundary, on_window)
                heard = monotonic()
                if reader.next_at is None:
                    return reader.stopped
                if self._boundary != NOT_YET:
                    harvest(self._boundary)
                self._boundary = self._after(reader.next_at)
        finally:
            self._reading = None
            self._close(reader)

    def _after(self, at: int) -> int:
        """The last nanosecond of the interval that a time lies in."""
        return (at // self._interval + 1) * self._interval - 1

    # --- harvests -------------------------------------------------------------------------------------------------

    def harvest(self, now: int) -> Found:
        """What is over at `now` [ns], and the intervals of what goes on."""
        self._glimpsed.clear()
        table, context = self._live_table, self._walking
        cut = table.cut(context)
        table.take_out_groups(self._undivided(self._ripe(now), now), context)
        return self._found(now, cut, NOBODY)

    def finish_live(self) -> Iterator[Found]:
        """All that is left, over or not, in slices of some calls with their streams; the engine goes on empty."""
        table, context = self._live_table, self._walking
        self._take_messages(self._tcp.finish())
        now = max(int(context[c.LAST]), self._last, 0)
        yield self._found(now, table.cut(context), NOBODY)
        groups = table.groups(table.rows(context))
        calls = self._calls.waiting()
        call_ids = [self._call_id_of(group) for group in groups]
        ssrcs = table.counts[[group[0] for group in groups], m.KEY_SSRC].tolist()
        ties = (ties_of(call_id, calls, ssrc) for call_id, ssrc in zip(call_ids, ssrcs, strict=True))
        for part in slices(ties, STOP_AT_ONCE):
            table.take_out_groups([groups[place] for place in part], context)
            of_part = {call_id for call_id in (call_ids[place] for place in part) if call_id is not None}
            keys = dict.fromkeys(keys for call_id in of_part for keys in calls.get(call_id, ()))
            yield self._found(now, NO_INTERVALS, Handing(tuple(keys)))
        yield self._found(now, NO_INTERVALS, EVERYBODY)

    def _call_id_of(self, group: list[int]) -> str | None:
        """The call that announced a stream."""
        counts = self._live_table.counts[group]
        first, last = int(counts[:, m.FIRST_AT].min()), int(counts[:, m.LAST_AT].max())
        negotiated = self._book.lookup(*self._table.ends(group[0]), first, last)
        return None if negotiated is None else negotiated.call_id

    def _found(self, now: int, cut: Integers, handing: Handing) -> Found:
        table, context = self._live_table, self._walking
        # Rows that left give their last intervals and events only when they are settled.
        cut = np.concatenate([cut, table.written(context)])
        events = table.events_so_far(context)
        reports = table.taken()
        streams = self._described(reports, events)
        points = Points(self._points(cut, events))
        self._forget(reports)
        calls, with_calls = self._calls_over(now, streams, handing)
        self.counted.update(calls=len(calls), streams=len(with_calls), points=len(points))
        return Found(now, calls, sorted(with_calls, key=lambda each: each.first), points, reports=self._reports())

    def _described(self, reports: Sequence[StreamReport], events: EventLog) -> list[Stream]:
        plausible: Negotiations = []
        for report in reports:
            negotiated = self._book.lookup(report.src, report.dst, report.first, report.last)
            if is_plausible(report, negotiated):
                plausible.append((report, negotiated))
            else:
                self._table.unvalidated_packets += report.packets
        streams = describe(plausible, events, self._book, self._far_ends)
        for (report, _), stream in zip(plausible, streams, strict=True):
            for serial in report.serials:
                self._known[serial] = of_stream(stream)
        self._signalling.join_by_media(shared_calls(streams))
        return streams

    def _forget(self, reports: Iterable[StreamReport]) -> None:
        table, context = self._live_table, self._walking
        for serial in chain.from_iterable(report.serials for report in reports):
            self._known.pop(serial, None)
            self._totals.forget((serial,))
        rows = len(table.rows(context))
        if len(self._known) > rows:
            # Rows that were never worth a report have left, too.
            serials = set(table.counts[table.rows(context), m.SERIAL].tolist())
            self._known = {serial: known for serial, known in self._known.items() if serial in serials}
            self._totals.keep_only(serials)
        table.forget_events(context)

    # --- intervals ------------------------------------------------------------------------------------------------

    def _points(self, cut: Integers, events: EventLog) -> Iterator[Point]:
        if not len(cut):
            return
        self._find_out(cut[:, m.INTERVAL_SERIAL], self._known)
        rows: dict[int, int] | None = None
        for row in chain.from_iterable(
            cut[some : some + ROWS_AT_ONCE].tolist() for some in range(0, len(cut), ROWS_AT_ONCE)
        ):
            serial = row[m.INTERVAL_SERIAL]
            stream = self._known.get(serial)
            if stream is None:
                continue
            interval = self._totals.interval(row)
            if interval.lost > 0 and stream.burst_ratio is None:
                rows = self._rows_by_serial() if rows is None else rows
                if serial in rows:
                    stream = self._with_losses(stream, rows[serial], serial, events)
            yield Point(stream, interval)

    def _rows_by_serial(self) -> dict[int, int]:
        rows = self._live_table.rows(self._walking)
        return dict(zip(self._live_table.counts[rows, m.SERIAL].tolist(), rows.tolist(), strict=True))

    def _find_out(self, serials: Integers, known: dict[int, StreamNow]) -> None:
        """What intervals need to know of streams that are told of for the first time, or whose codec was not known."""
        wanted = {s for s in serials.tolist() if s not in known or known[s].codec is None}
        if not wanted:
            return
        table = self._live_table
        rows = table.rows(self._walking)
        rows = rows[np.isin(table.counts[rows, m.SERIAL], np.fromiter(wanted, np.int64, len(wanted)))]
        for some in range(0, len(rows), ROWS_AT_ONCE):
            self._know(rows[some : some + ROWS_AT_ONCE], known)

    def _know(self, rows: Integers, known: dict[int, StreamNow]) -> None:
        table = self._live_table
        for (src, dst), row in zip(table.ends_of(rows), table.counts[rows].tolist(), strict=True):
            negotiated = self._book.lookup(src, dst, row[m.FIRST_AT], row[m.LAST_AT])
            if negotiated is None and not looks_like_rtp(row):
                continue
            call_id = negotiated.call_id if negotiated else None
            earlier = known.get(row[m.RESTART_OF])
            first = earlier.first if earlier is not None and earlier.call_id == call_id else row[m.FIRST_AT]
            codec, _ = codec_of(row[m.PAYLOAD_TYPE], negotiated.formats if negotiated else {})
            name = codec.name if codec is not None and codec.name not in EVENT_NAMES else None
            clock = row[m.CLOCK] if row[m.CLOCK] > 0 else None
            ptime_ms = ptime_of(row[m.TIMESTAMP_STEP] if row[m.STEP_VOTES] > 0 else 0, clock, negotiated)
            known[row[m.SERIAL]] = StreamNow(src, dst, row[m.KEY_SSRC], first, call_id, name, ptime_ms)

    def _with_losses(self, stream: StreamNow, row: int, serial: int, events: EventLog) -> StreamNow:
        """The same with what is known now of the packets that are missing."""
        counts = self._live_table.counts[row]
        expected = int(counts[m.MAX_SEQ] - counts[m.BASE_SEQ] + 1)
        ratio = burst_ratio(expected, int(counts[m.LOST]), int(counts[m.LOSS_RUNS]))
        spans = self._book.spans(stream.call_id) if stream.call_id else ()
        ptime_ns = round((stream.ptime_ms or 0) * 1e6)
        runs = missing_runs(events.of((serial,)))
        only_network = all(cause_of(run, ptime_ns, spans, set()) == "network" for run in runs)
        return stream._replace(burst_ratio=ratio, only_network=only_network)

    # --- glances --------------------------------------------------------------------------------------------------

    def _look(self, seconds: float) -> None:
        """Keep a glance at what goes on, for whoever shows it."""
        progress = self._glances.look(self._live_table, self._walking)
        known, glimpsed = self._known, self._glimpsed
        new = progress.serials[[serial not in known for serial in progress.serials.tolist()]]
        # An interval is told of by what is known at its end; this is known at once, and for as long.
        self._find_out(new, glimpsed)
        found = [known.get(serial) or glimpsed.get(serial) for serial in progress.serials.tolist()]
        believed = np.array([each is not None for each in found], bool)
        streams = [each for each in found if each is not None]
        of_streams = Progress(*(column[believed] for column in progress))
        self.glance = Glance(int(self._walking[c.LAST]), seconds, streams, of_streams, self._calls.going_on())

    # --- streams that are over ------------------------------------------------------------------------------------

    def _ripe(self, now: int) -> list[list[int]]:
        """Streams that are over: silent, and their call is over too, or long silent, or said BYE."""
        table = self._live_table
        rows = table.rows(self._walking)
        quiet = now - table.counts[rows, m.LAST_AT] >= AFTER_BYE
        going_on = rows[~quiet & (table.counts[rows, m.RESTART_OF] >= 0)]
        busy = set(map(tuple, table.counts[going_on, : m.KEY_SSRC + 1].tolist()))
        ripe = []
        for group in table.groups(rows[quiet]):
            of_group = table.counts[group]
            if busy and tuple(of_group[0, : m.KEY_SSRC + 1].tolist()) in busy:
                continue
            if self._is_over(group[0], int(of_group[:, m.FIRST_AT].min()), int(of_group[:, m.LAST_AT].max()), now):
                ripe.append(group)
        oldest = np.argsort([int(table.counts[group[0], m.LAST_AT]) for group in ripe], kind="stable")
        return [ripe[place] for place in sorted(oldest[: self._settings.at_once].tolist())]

    def _is_over(self, row: int, first: int, last: int, now: int) -> bool:
        counts = self._live_table.counts[row]
        if counts[m.STATE] == m.STATE_PROBATION:
            return True
        src, dst = self._table.ends(row)
        negotiated = self._book.lookup(src, dst, first, last)
        if negotiated is not None:
            return not self._calls.is_up(negotiated.call_id, now)
        if now - last >= self._settings.idle_s * NS:
            return True
        if not self._far_ends.packets:
            return False
        far_end = self._far_ends.report(src, dst, int(counts[m.KEY_SSRC]), None)
        return far_end is not None and far_end.bye

    def _undivided(self, ripe: list[list[int]], now: int) -> list[list[int]]:
        """Leave out streams whose medium is heard elsewhere too in a stream that goes on: they are told of together."""
        table = self._live_table
        taken = {row for group in ripe for row in group}
        rows = table.rows(self._walking)
        others = [row for row in rows[table.counts[rows, m.STATE] == m.STATE_VALID].tolist() if row not in taken]
        ssrcs = table.counts[[group[0] for group in ripe], m.KEY_SSRC] if ripe else np.zeros(0, np.int64)
        near = [row for row, same in zip(others, np.isin(table.counts[others, m.KEY_SSRC], ssrcs), strict=True) if same]
        if not near:
            return ripe
        partners = self._with_negotiation([[row] for row in near])
        shared = set(table.counts[near, m.KEY_SSRC].tolist())
        asked = [group for group in ripe if int(table.counts[group[0], m.KEY_SSRC]) in shared]
        waiting = list(zip(asked, self._with_negotiation(asked), strict=True))
        held: set[int] = set()
        grown = True
        while grown:
            grown = False
            for group, one in waiting:
                old = now - one[0].last > self._settings.longest_hold_s * NS
                if group[0] not in held and not old and any(of_one_medium(one, other) for other in partners):
                    held.add(group[0])
                    partners.append(one)
                    grown = True
        return [group for group in ripe if group[0] not in held]

    def _with_negotiation(self, groups: list[list[int]]) -> Negotiations:
        reports = self._live_table.as_they_stand(groups)
        return [(each, self._book.lookup(each.src, each.dst, each.first, each.last)) for each in reports]

    # --- calls that are over --------------------------------------------------------------------------------------

    def _calls_over(self, now: int, streams: list[Stream], handing: Handing) -> tuple[Sequence[Call], list[Stream]]:
        """Calls to hand out, and the streams to hand out with them: theirs, and those of no call."""
        alone = [stream for stream in streams if not self._waits(stream)]
        if handing.everybody:
            calls = self._calls.hand_out_all(now)
        else:
            over = (each.keys for each in islice(self._over(now), CALLS_AT_ONCE))
            found = (self._calls.hand_out(keys, now) for keys in dict.fromkeys(chain(handing.keys, over)))
            calls = sorted((each for each in found if each is not None), key=lambda each: (each.start, each.call_id))
        together: list[Stream] = []
        for call_id in {leg.call_id for call in calls for leg in call.legs}:
            together += self._waiting.pop(call_id, ())
        if handing.everybody:
            together += chain.from_iterable(self._waiting.values())
            self._waiting.clear()
        self._waiting_count -= len(together)
        self._live_book.let_go(self._calls.let_go(now), now)
        return on_calls(calls, together), alone + together

    def _waits(self, stream: Stream) -> bool:
        """Put a stream by until its call is over; False where it has none that is still to be handed out."""
        if stream.call_id is None or not self._calls.is_kept(stream.call_id):
            return False
        if self._waiting_count >= self._settings.waiting_streams:
            self.counted["streams_apart"] += 1
            return False
        self._waiting.setdefault(stream.call_id, []).append(stream)
        self._waiting_count += 1
        return True

    def _over(self, now: int) -> Iterator[OverCall]:
        over = list(self._calls.over(now))
        if not over:
            return
        table = self._live_table
        rows = table.rows(self._walking)
        rows = rows[table.counts[rows, m.STATE] != m.STATE_PROBATION]
        ports = table.counts[rows, m.KEY_PORTS]
        for each in over:
            if not self._has_media(each, rows, ports, now):
                yield each

    def _has_media(self, over: OverCall, rows: Integers, ports: Integers, now: int) -> bool:
        """Whether streams of a call that is over are still in the table, and it should wait for them."""
        ends = set(self._calls.endpoints(over.keys))
        wanted = list({port for _, port in ends})
        near = rows[np.isin(ports & 0xFFFF, wanted) | np.isin(ports >> 16, wanted)] if wanted else rows[:0]
        for row in near.tolist():
            src, dst = self._table.ends(row)
            if (src.ip, src.port) not in ends and (dst.ip, dst.port) not in ends:
                continue
            first, last = self._live_table.counts[row, [m.FIRST_AT, m.LAST_AT]].tolist()
            negotiated = self._book.lookup(src, dst, first, last)
            if negotiated is None or negotiated.call_id not in over.call_ids:
                continue
            active = now - last < AFTER_BYE
            longest = self._settings.longest_wait_s if active and not over.abandoned else self._settings.longest_hold_s
            if (active and over.abandoned) or now - over.since < longest * NS:
                return True
        return False

    # --- how it goes ----------------------------------------------------------------------------------------------

    def held(self) -> dict[str, int]:
        """Entries in the tables of what goes on or ended lately, by table: all come back to 0 where nothing goes on."""
        return {
            "streams": len(self._live_table.rows(self._walking)),
            "streams_known": len(self._known),
            "streams_waiting": self._waiting_count,
            "events": self._live_table.events_kept,
            "interval_totals": len(self._totals),
            "calls": self._calls.kept,
            "announcements": self._live_book.kept,
        }

    def counts(self) -> LiveCounts:
        """How far it came; may be asked from another thread, for the numbers are only read."""
        counters = self._arrays.counters.tolist()
        reader = self._reading
        context = None if reader is None else reader.arrays.context
        last = self._last if context is None else max(self._last, int(context[c.LAST]))
        state = self._live_table.counts[: int(self._walking[c.ROWS_USED]), m.STATE]
        lost = Counter({f"packets_{c.COUNTER_NAMES[k]}": counters[k] for k in c.DEFECTS})
        lost["kernel_drops"] = self._dropped or 0
        lost["packets_not_believed"] = lost.pop("packets_rtp_unvalidated", 0) + self._table.unvalidated_packets
        lost["streams_evicted"] = self._live_table.evicted
        lost["streams_unlisted"] = self._table.unlisted
        lost["stream_events_lost"] = self._live_table.events_lost
        lost["calls_evicted"] = self._calls.evicted
        statistics = self._signalling.statistics
        lost["reports_dropped"] = 0 if statistics is None else statistics.dropped
        lost["announcements_forgotten"] = self._book.forgotten
        lost["streams_apart"] = self.counted["streams_apart"]
        for part in (self._defects, self._tcp.defects, self._sctp.defects, self._fragments.defects):
            lost.update(copied(part))
        return LiveCounts(
            packets=self._packets + (0 if context is None else int(context[c.PACKETS])),
            parsed=self._calls.messages + counters[c.RTP_PACKETS] + counters[c.RTCP_PACKETS],
            unmatched=lost["packets_not_believed"] + counters[c.RTP_STRAY],
            calls_now=self._calls.now_up,
            streams_now=int(np.count_nonzero(state == m.STATE_VALID)),
            last_at=None if last == NOT_YET else last,
            lost={name: count for name, count in sorted(lost.items()) if count},
        )


def copied(counts: Mapping[str, int]) -> dict[str, int]:
    """A copy of what another thread goes on counting."""
    while True:
        try:
            return dict(counts)
        except RuntimeError:  # a name came while it was copied
            continue


def ties_of(call_id: str | None, calls: Mapping[str, Sequence[tuple[str, ...]]], ssrc: int) -> tuple[int | str, ...]:
    """What a stream has in common with those that are to be told of together with it.

    Legs of one call have different Call-IDs: the keys of all of them are a tie. A key is a Call-ID, or has a line end.
    """
    if call_id is None:
        return (ssrc,)
    return (ssrc, call_id, *(keys[0] for keys in calls.get(call_id, ())))


def looks_like_rtp(row: Sequence[int]) -> bool:
    """Whether a row of the table that no SDP announced is believed, by `plausibility` as far as one row tells."""
    number, packets = row[m.PAYLOAD_TYPE], row[m.PACKETS]
    expected = row[m.MAX_SEQ] - row[m.BASE_SEQ] + 1
    in_order = packets - row[m.DUPLICATES] >= PLAUSIBLE_SHARE * expected or row[m.SEQUENTIAL] >= PLAUSIBLE_STEPS
    known = number in STATIC_FORMATS or number >= 96 or number in COMFORT_NOISE_TYPES
    return row[m.STATE] == m.STATE_VALID and known and packets >= PLAUSIBLE_PACKETS and in_order


def of_stream(stream: Stream) -> StreamNow:
    """What intervals need of a stream that is over."""
    return StreamNow(
        stream.src,
        stream.dst,
        stream.ssrc,
        stream.first,
        stream.call_id,
        stream.codec,
        stream.ptime_ms,
        stream.burst_ratio,
        not stream.not_network,
    )


def of_one_medium(one: tuple[StreamReport, Negotiated | None], other: tuple[StreamReport, Negotiated | None]) -> bool:
    """Whether two streams carry the same packets, as far as can be told while one of them goes on."""
    (a, of_a), (b, of_b) = one, other
    if a.ssrc != b.ssrc:
        return False
    ptime_ms = context_of(a, of_a).ptime_ms or context_of(b, of_b).ptime_ms or 20.0
    related = of_a is not None and of_b is not None and of_a.call_id == of_b.call_id
    return same_medium(a, b, round(ptime_ms * 1e6), related)
