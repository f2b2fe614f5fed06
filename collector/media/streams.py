"""The stream table: what the kernel asks of Python, and rows taken out as reports.

The kernel asks for the clock of a payload type when a stream proves to be one (SIP seen so far is read first, so SDP
is known before the media that needs it), and for room when no row is free.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from ipaddress import IPv6Address
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from collector.capture import columns as capture
from collector.facts import CodecFormat, Endpoint
from collector.media import columns as m
from collector.media.book import MediaBook
from collector.media.delay_numba_fns import work_out, work_through
from collector.media.intervals import NO_INTERVALS, IntervalLog
from collector.media.plausibility import PLAUSIBLE_PACKETS, is_plausible
from collector.media.reports import RowBlock, StreamReport, merge, reports
from collector.media.rtp_numba_fns import rebuild_slots, settle_rows
from collector.media.table import CARRYING, histograms, no_jobs, stream_arrays, waiting_samples
from collector.protocols.rtp import STATIC_FORMATS

Integers = NDArray[np.int64]

CLOCK_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 90000)
"""Clocks in use with RTP (RFC 3551, RFC 3555 registrations) [Hz]."""
EVENT_NAMES = ("TELEPHONE-EVENT", "X-NSE")
"""Encodings that carry events between voice packets: RFC 4733 and Cisco's own named signalling events."""
CLOCK_TOLERANCE = 0.06
CLOCK_ATTEMPTS = 8
SAMPLES_FOR_CLOCK = 8
NS = 1_000_000_000
IDLE_NS = 60 * NS
PROOF_NS = NS
"""A second packet in sequence is not long in coming."""
ROWS_AT_A_TIME = 1024
"""Rows made into reports together: enough to spread numpy's costs, few enough to copy."""
INTERVAL_BLOCKS = 48
"""Blocks of intervals that are kept (4 MiB each): a year of one stream, or half an hour of 16,384."""
LOG_BLOCKS = 24
"""Blocks of events that are kept (4 MiB each); hostile captures make events of every packet."""


class StreamLimits(NamedTuple):
    """How much a capture may make the table hold."""

    rows: int = 16_384
    """Streams measured at a time; beyond it the longest silent are closed, those that proved nothing first."""
    reports: int = 30_000
    """Streams that are listed one by one; beyond it they are counted."""
    interval_ns: int = 0
    """Streams are cut into intervals of this length or a little more [ns]; 0 not at all."""
    samples: int = m.SAMPLES_PER_ROW
    """Packets of a stream that are measured together; fewer only where intervals are cut."""


class LoggedEvent(NamedTuple):
    """One event of a stream, as the kernel wrote it (see `columns`)."""

    kind: int
    at: int
    a: int
    b: int
    c: int
    d: int


class EventLog:
    """Events by stream; they stay in an array until somebody asks for a stream's."""

    def __init__(self, log: Integers) -> None:
        # Few are asked for: to put all in order would take as much memory once more.
        self._log = log
        self._order = np.argsort(log[:, m.LOG_SERIAL], kind="stable")
        serials, starts = np.unique(log[self._order, m.LOG_SERIAL], return_index=True)
        ends = [*starts.tolist(), len(log)][1:]
        self._places = dict(zip(serials.tolist(), zip(starts.tolist(), ends, strict=True), strict=True))

    def of(self, serials: Iterable[int]) -> list[LoggedEvent]:
        """Events of a stream that was measured in these rows, oldest first."""
        found = []
        for serial in serials:
            start, end = self._places.get(serial, (0, 0))
            rows = self._log[self._order[start:end], m.LOG_KIND : m.LOG_D + 1]
            found += [LoggedEvent(*row) for row in rows.tolist()]
        return found


def address(hi: int, lo: int) -> str:
    """Text of an address as the kernels hold it: two signed words, IPv4 mapped into IPv6."""
    if hi == 0 and lo >> 32 == 0xFFFF:
        return f"{lo >> 24 & 255}.{lo >> 16 & 255}.{lo >> 8 & 255}.{lo & 255}"
    return str(IPv6Address((hi & (1 << 64) - 1) << 64 | lo & (1 << 64) - 1))


def infer_clock(arrivals: Integers, timestamps: Integers) -> int | None:
    """The usual clock nearest to how fast timestamps ran against arrivals; None when none is near."""
    if len(arrivals) < SAMPLES_FOR_CLOCK:
        return None
    steps = np.diff(timestamps & 0xFFFFFFFF) & 0xFFFFFFFF
    times = np.diff(arrivals)
    usable = (steps > 0) & (steps < 1 << 20) & (times < NS)
    elapsed = float(times[usable].sum()) / NS
    if elapsed <= 0.05:
        return None
    rate = float(steps[usable].sum()) / elapsed
    nearest = min(CLOCK_RATES, key=lambda clock: abs(clock - rate) / clock)
    return nearest if abs(nearest - rate) <= CLOCK_TOLERANCE * nearest else None


class StreamTable:
    """All streams in measurement; `arrays` go to the kernel as they are."""

    def __init__(self, book: MediaBook, limits: StreamLimits = StreamLimits()) -> None:  # noqa: B008  # immutable
        self.arrays = stream_arrays(limits.rows, limits.interval_ns, limits.samples)
        """As the kernel takes them next."""
        self._other = self.arrays._replace(jobs=no_jobs())
        self._helper: ThreadPoolExecutor | None = None
        self._helping: Future[None] | None = None
        self.unvalidated_packets = 0
        self.unlisted = 0
        self._book = book
        self._limits = limits
        self._endpoints: dict[tuple[int, int, int], Endpoint] = {}
        self._log: list[Integers] = []
        self._intervals: list[Integers] = []
        self._attempts: dict[int, int] = {}
        self._harvested: list[StreamReport] = []

    # --- what the kernel hands out --------------------------------------------------------------------------------

    def take_jobs(self) -> None:
        """When enough was handed out let a thread work it out, while the kernel walks on with an empty list."""
        if self.arrays.jobs[0, m.JOB_SAMPLES] < m.JOB_ROWS // 2:
            return
        self._wait_for_helper()
        if self._helper is None:
            self._helper = ThreadPoolExecutor(1, thread_name_prefix="stream-measures")
        self._helping = self._helper.submit(work_through, self.arrays)
        self.arrays, self._other = self._other, self.arrays

    def finish_jobs(self) -> None:
        """Have all that was handed out worked out."""
        self._wait_for_helper()
        if self.arrays.jobs[0, m.JOB_SAMPLES]:
            work_through(self.arrays)

    def _wait_for_helper(self) -> None:
        if self._helping is not None:
            self._helping.result()
            self._helping = None

    # --- what the kernel asks ---------------------------------------------------------------------------------

    def endpoint(self, hi: int, lo: int, port: int) -> Endpoint:
        """The endpoint of kernel words, made once for each (a million addresses must not be kept)."""
        key = (hi, lo, port)
        known = self._endpoints.get(key)
        if known is None:
            if len(self._endpoints) > 200_000:
                self._endpoints.clear()
            known = self._endpoints[key] = Endpoint(address(hi, lo), port)
        return known

    def ends(self, row: int) -> tuple[Endpoint, Endpoint]:
        src_hi, src_lo, dst_hi, dst_lo, ports = self.arrays.counts[row, :5].tolist()
        return self.endpoint(src_hi, src_lo, ports >> 16), self.endpoint(dst_hi, dst_lo, ports & 0xFFFF)

    def ends_of(self, rows: Integers) -> list[tuple[Endpoint, Endpoint]]:
        """The same for many rows."""
        return [
            (self.endpoint(src_hi, src_lo, ports >> 16), self.endpoint(dst_hi, dst_lo, ports & 0xFFFF))
            for src_hi, src_lo, dst_hi, dst_lo, ports in self.arrays.counts[rows, :5].tolist()
        ]

    def answer(self, question: Integers) -> None:
        """Answer what a row asked while the kernel walked on: by what was known then, if nobody did since."""
        row = int(question[capture.PENDING_FLOW])
        if self.arrays.counts[row, m.CLOCK] == m.CLOCK_ASKED:
            self.arrays.settings[m.SETTING_ASKED] -= 1
            self._answer(row, int(question[capture.PENDING_AT]))

    def answer_format(self, row: int) -> None:
        """Tell the kernel what it stopped for: the clock of the row's payload type, and which are telephone-events."""
        counts = self.arrays.counts[row]
        clock = int(counts[m.CLOCK])
        if clock == m.CLOCK_ASKED:
            self.arrays.settings[m.SETTING_ASKED] -= 1
        elif clock and (clock != -1 or counts[m.SAMPLES] < m.SAMPLES_PER_ROW):
            return  # its question was answered among those that waited
        self._answer(row, int(counts[m.LAST_AT]))

    def _answer(self, row: int, last: int) -> None:
        counts = self.arrays.counts[row]
        payload_type = int(counts[m.PAYLOAD_TYPE])
        src, dst = self.ends(row)
        negotiated = self._book.lookup(src, dst, last, last)
        formats: Mapping[int, CodecFormat] = negotiated.formats if negotiated else {}
        if formats:
            counts[m.EVENT_TYPE] = event_types(formats)
        known = formats.get(payload_type) or STATIC_FORMATS.get(payload_type)
        clock = known.clock_rate if known else self._infer(row)
        self._set_clock(row, payload_type, clock)

    def _infer(self, row: int) -> int:
        """Clock of an unknown dynamic type; -1 while there are too few packets, -2 when it cannot be told."""
        counts = self.arrays.counts[row]
        waiting = int(counts[m.SAMPLES])
        if waiting == m.SAMPLES_PER_ROW:
            clock = infer_clock(*waiting_samples(self.arrays, row))
            if clock:
                return clock
            serial = int(counts[m.SERIAL])
            attempts = self._attempts.get(serial, 0) + 1
            self._attempts[serial] = attempts
            counts[m.SAMPLES] = 0
            if attempts >= CLOCK_ATTEMPTS:
                del self._attempts[serial]
                return -2
        return -1

    def _set_clock(self, row: int, payload_type: int, clock: int) -> None:
        counts, types = self.arrays.counts[row], self.arrays.types[row]
        counts[m.CLOCK] = clock
        for slot, number in enumerate(types[m.TYPE_NUMBER :: 3].tolist()):
            if number == payload_type + 1:
                types[3 * slot + m.TYPE_CLOCK] = clock
        if clock > 0 and counts[m.SAMPLES] == m.SAMPLES_PER_ROW:
            self.finish_jobs()
            work_out(self.arrays, row)

    def take_log(self, context: Integers) -> None:
        """Keep the events that the kernel wrote and let it begin anew."""
        written = int(context[capture.EVENT_COUNT])
        if written and len(self._log) < LOG_BLOCKS:
            self._log.append(self.arrays.log[:written].copy())
        context[capture.EVENT_COUNT] = 0
        settings = self.arrays.settings
        cut = int(settings[m.SETTING_WRITTEN])
        if cut and len(self._intervals) < INTERVAL_BLOCKS:
            self._intervals.append(self.arrays.intervals[:cut].copy())
        settings[m.SETTING_WRITTEN] = 0

    # --- room -------------------------------------------------------------------------------------------------

    def make_room(self, context: Integers) -> None:
        """Take out a quarter of the rows: closed ones and those that proved nothing first, then the longest silent."""
        used = int(context[capture.ROWS_USED])
        counts = self.arrays.counts[:used]
        state, last = counts[:, m.STATE], counts[:, m.LAST_AT]
        now = int(context[capture.LAST])
        # Lower is taken first: when all are busy, those that are measured already are measured to their end.
        silent = now - last
        unproven = state == m.STATE_PROBATION
        hopeless = (silent > IDLE_NS) | (unproven & (silent > PROOF_NS))
        rank = np.where(state == m.STATE_CLOSED, 0, np.where(hopeless, 1, np.where(unproven, 2, 3)))
        # Of more fresh streams than rows, taking the oldest would let none come to its second packet.
        drawn = counts[:, m.SERIAL] * 0x9E3779B1 & 0xFFFF
        wanted = max(1, used // 4)
        self._take_out(np.sort(np.lexsort((np.where(rank == 2, drawn, last), rank))[:wanted]), context)

    def _take_out(self, rows: Integers, context: Integers) -> None:
        self.finish_jobs()
        groups = self._worth_reporting([[row] for row in rows.tolist()])
        self._keep(self._report(groups, context))
        self._clear(rows, np.array([row for group in groups for row in group], np.int64))
        self.arrays.counts[rows, m.NEXT_FREE] = [context[capture.FREE_ROW], *rows[:-1].tolist()]
        context[capture.FREE_ROW] = rows[-1]
        self._rebuild_slots(int(context[capture.ROWS_USED]))

    def _clear(self, rows: Integers, reported: Integers) -> None:
        """Empty rows; memory that a short stream never touched is left alone, so that it is never taken."""
        a = self.arrays
        measured = (a.counts[rows][:, [m.JITTER_COUNT, m.TIMESTAMP_JUMPS]] > 0).any(axis=1)
        for some in (reported, rows[measured]):
            a.ipdv[some] = 0
            a.pdv[some] = 0
        long = rows[a.counts[rows, m.PACKETS] >= CARRYING]
        a.ipdv_high[long] = 0
        a.pdv_high[long] = 0
        a.dscp[rows[a.dscp[rows].any(axis=1)]] = 0
        a.counts[rows] = 0
        a.sums[rows] = 0.0
        a.types[rows] = 0

    def _worth_reporting(self, groups: list[list[int]]) -> list[list[int]]:
        """Groups of rows that may be streams; the packets of the others are only counted."""
        counts = self.arrays.counts
        states = counts[:, m.STATE].tolist()
        packets = counts[:, m.PACKETS].tolist()
        found = []
        for group in groups:
            total = sum(packets[row] for row in group)
            proven = any(states[row] != m.STATE_PROBATION for row in group)
            if proven and (total >= PLAUSIBLE_PACKETS or self._call_of(counts[group[0]]) is not None):
                found.append(group)
            else:
                self.unvalidated_packets += total
        return found

    def _rebuild_slots(self, used: int) -> None:
        """Enter every open row anew: open addressing knows no removal."""
        rebuild_slots(self.arrays, used)

    def _keep(self, found: Iterable[StreamReport]) -> None:
        for report in found:
            negotiated = self._book.lookup(report.src, report.dst, report.first, report.last)
            if not report.validated or not is_plausible(report, negotiated):
                self.unvalidated_packets += report.packets
            elif len(self._harvested) < self._limits.reports:
                self._harvested.append(report)
            else:
                self.unlisted += 1

    # --- reports ----------------------------------------------------------------------------------------------

    def settle(self, context: Integers) -> list[list[int]]:
        """Settle what may be streams: their rows, put together in the order of first packets."""
        used = int(context[capture.ROWS_USED])
        rows = np.flatnonzero(self.arrays.counts[:used, m.STATE] != m.STATE_FREE)
        groups = self._worth_reporting(self._groups(rows.tolist()))
        self._settle(groups, context)
        self.take_log(context)
        return groups

    def finish(self, context: Integers) -> list[StreamReport]:
        """Settle every row; reports in order of first packet."""
        return self.reports(self.settle(context))

    def reports(self, groups: list[list[int]]) -> list[StreamReport]:
        """Reports of settled rows and of those taken out before, in the order of first packets."""
        self._keep(self._reports(groups))
        return sorted(self._harvested, key=lambda report: (report.first, report.serials))

    @property
    def has_taken_out(self) -> bool:
        """Whether streams were reported before the end."""
        return bool(self._harvested)

    def may_list(self, count: int) -> bool:
        """Whether so many streams may be listed."""
        return count <= self._limits.reports

    def _report(self, groups: list[list[int]], context: Integers) -> Iterator[StreamReport]:
        self._settle(groups, context)
        return self._reports(groups)

    def _settle(self, groups: list[list[int]], context: Integers) -> None:
        self.finish_jobs()
        rows = np.array([row for group in groups for row in group], np.int64)
        for row in rows[self.arrays.counts[rows, m.CLOCK] <= 0].tolist():
            self._last_chance(row)
        settled = settle_rows(self.arrays, context, rows, 0)
        while settled < len(rows):
            self.take_log(context)
            settled = settle_rows(self.arrays, context, rows, settled)

    def _reports(self, groups: list[list[int]]) -> Iterator[StreamReport]:
        for start in range(0, len(groups), ROWS_AT_A_TIME):
            yield from self.reports_of(groups[start : start + ROWS_AT_A_TIME])

    def reports_of(self, groups: Sequence[Sequence[int]]) -> list[StreamReport]:
        """A report for each group of rows."""
        a = self.arrays
        rows = [row for group in groups for row in group]
        block = RowBlock(a.counts[rows], a.sums[rows], a.types[rows], a.dscp[rows], *histograms(a, rows))
        places = iter(range(len(rows)))
        within = [[next(places) for _ in group] for group in groups]
        serials = [tuple(a.counts[group, m.SERIAL].tolist()) for group in groups]
        return reports(merge(block, within), [self.ends(group[0]) for group in groups], serials)

    def _last_chance(self, row: int) -> None:
        """A short stream ends before its clock was asked for or known: ask now, or read it from what there is."""
        counts = self.arrays.counts[row]
        waiting = int(counts[m.SAMPLES])
        if not waiting or not counts[m.PAYLOAD_TYPE_RUN] or counts[m.CLOCK] == -2:
            return
        if counts[m.CLOCK] == 0:
            self.answer_format(row)
        if counts[m.CLOCK] == -1:
            clock = infer_clock(*waiting_samples(self.arrays, row))
            if clock:
                self._set_clock(row, int(counts[m.PAYLOAD_TYPE]), clock)

    def _groups(self, rows: list[int]) -> list[list[int]]:
        """Rows of the same stream: the same key, and the same call where SDP tells calls apart."""
        counts = self.arrays.counts[rows]
        found: dict[tuple[object, ...], list[int]] = {}
        order = np.lexsort((counts[:, m.SERIAL], counts[:, m.FIRST_AT])).tolist()
        words = counts[:, : m.KEY_SSRC + 1]
        in_order = words[np.lexsort(words.T)]
        if not (in_order[1:] == in_order[:-1]).all(axis=1).any():  # nearly always: nothing is to be put together
            return [[rows[k]] for k in order]
        keys = words.tolist()
        shared: dict[tuple[int, ...], int] = {}
        for key in map(tuple, keys):
            shared[key] = shared.get(key, 0) + 1
        for k in order:
            key = tuple(keys[k])
            call = self._call_of(counts[k]) if shared[key] > 1 else None
            found.setdefault((*key, call), []).append(rows[k])
        return list(found.values())

    def _call_of(self, counts: Integers) -> str | None:
        src_hi, src_lo, dst_hi, dst_lo, ports = counts[:5].tolist()
        src, dst = self.endpoint(src_hi, src_lo, ports >> 16), self.endpoint(dst_hi, dst_lo, ports & 0xFFFF)
        negotiated = self._book.lookup(src, dst, int(counts[m.FIRST_AT]), int(counts[m.LAST_AT]))
        return negotiated.call_id if negotiated else None

    def intervals(self) -> IntervalLog:
        """What was written down of all streams every so often."""
        return IntervalLog(np.concatenate(self._intervals) if self._intervals else NO_INTERVALS)

    def events(self) -> EventLog:
        """What was logged of all streams."""
        return EventLog(self.log())

    def log(self) -> Integers:
        """The same as the kernel wrote it."""
        if not self._log:
            return np.zeros((0, m.LOG_COLUMNS), np.int64)
        if len(self._log) > 1:
            self._log = [np.concatenate(self._log)]
        return self._log[0]


def event_types(formats: Mapping[int, CodecFormat]) -> int:
    """The kernel's word for up to two telephone-event payload types; none of them is 255 twice."""
    found = sorted(number for number, codec in formats.items() if codec.name in EVENT_NAMES)[:2]
    if not found:
        return 255 | 255 << 8
    return found[0] | (found[1] if len(found) > 1 else 255) << 8
