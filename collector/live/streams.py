"""The stream table of a capture without end: intervals of streams that go on, and streams that leave it when over."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from collector.capture import columns as capture
from collector.facts import Interval
from collector.live.memory import give_back
from collector.media import columns as m
from collector.media.book import MediaBook
from collector.media.intervals import NO_INTERVALS
from collector.media.reports import RowBlock, StreamReport, merge, reports
from collector.media.streams import EventLog, StreamLimits, StreamTable
from collector.media.table import histograms

Integers = NDArray[np.int64]

EVENTS_LIMIT = 400_000
"""Events kept of streams that go on (64 octets each)."""
ENDPOINTS_LIMIT = 60_000
FREE_TOGETHER = 64
"""Rows side by side whose pages are worth giving back."""
CUT_COLUMNS = (
    (m.INTERVAL_SERIAL, m.SERIAL),
    (m.INTERVAL_AT, m.LAST_AT),
    (m.INTERVAL_COUNT, m.PACKETS),
    (m.INTERVAL_DUPLICATES, m.DUPLICATES),
    (m.INTERVAL_FIRST, m.FIRST_AT),
)
"""Columns of an interval that are columns of the row."""


class LiveStreamTable(StreamTable):
    """All streams in measurement, without end."""

    def __init__(self, book: MediaBook, limits: StreamLimits) -> None:
        super().__init__(book, limits)
        self.events_lost = 0
        self.evicted = 0
        """Streams that were closed before they were over, to make room."""
        self._kept_events = np.zeros((0, m.LOG_COLUMNS), np.int64)

    @property
    def counts(self) -> Integers:
        """The table's counts."""
        return self.arrays.counts

    def make_room(self, context: Integers) -> None:
        """Take out the least promising rows; those that were streams are counted."""
        before = len(self._harvested) + self.unlisted
        super().make_room(context)
        self.evicted += len(self._harvested) + self.unlisted - before

    # --- intervals ------------------------------------------------------------------------------------------------

    def cut(self, context: Integers) -> Integers:
        """End the interval of every stream that had packets in it; all intervals since the last question, in order."""
        self.finish_jobs()
        used = int(context[capture.ROWS_USED])
        counts = self.arrays.counts[:used]
        rows = np.flatnonzero(
            (counts[:, m.STATE] == m.STATE_VALID) & (counts[:, m.PACKETS] > counts[:, m.INTERVAL_PACKETS])
        )
        cut = np.zeros((len(rows), m.INTERVAL_COLUMNS), np.int64)
        for into, column in CUT_COLUMNS:
            cut[:, into] = counts[rows, column]
        cut[:, m.INTERVAL_EXPECTED] = counts[rows, m.MAX_SEQ] - counts[rows, m.BASE_SEQ] + 1
        jitter = (self.arrays.sums[rows, m.JITTER] * 1e6).astype(np.int64)
        cut[:, m.INTERVAL_JITTER] = np.where(counts[rows, m.JITTER_COUNT] > 0, jitter, -1)
        counts[rows, m.INTERVAL_SINCE] = cut[:, m.INTERVAL_AT]
        counts[rows, m.INTERVAL_PACKETS] = cut[:, m.INTERVAL_COUNT]
        return np.concatenate([self.written(context), cut])

    def written(self, context: Integers) -> Integers:
        """Intervals that the kernel ended since the last question."""
        self.take_log(context)
        found, self._intervals = self._intervals, []
        return np.concatenate(found) if found else NO_INTERVALS

    # --- looking at streams that go on ----------------------------------------------------------------------------

    def rows(self, context: Integers) -> Integers:
        """Rows in use."""
        used = int(context[capture.ROWS_USED])
        return np.flatnonzero(self.arrays.counts[:used, m.STATE] != m.STATE_FREE)

    def groups(self, rows: Integers) -> list[list[int]]:
        """Rows of the same stream, put together."""
        return self._groups(rows.tolist())

    def as_they_stand(self, groups: Sequence[Sequence[int]]) -> list[StreamReport]:
        """Reports of streams that go on; what waits to be worked out is not in them."""
        self.finish_jobs()
        a = self.arrays
        rows = [row for group in groups for row in group]
        block = RowBlock(a.counts[rows], a.sums[rows], a.types[rows], a.dscp[rows], *histograms(a, rows))
        places = iter(range(len(rows)))
        within = [[next(places) for _ in group] for group in groups]
        serials = [tuple(a.counts[list(group), m.SERIAL].tolist()) for group in groups]
        return reports(merge(block, within), [self.ends(group[0]) for group in groups], serials)

    # --- streams that are over ------------------------------------------------------------------------------------

    def take_out_groups(self, groups: list[list[int]], context: Integers) -> None:
        """Close streams and free their rows; `taken` then has their reports."""
        if not groups:
            return
        rows = np.sort(np.array([row for group in groups for row in group], np.int64))
        worth = self._worth_reporting(groups)
        self._keep(self._report(worth, context))
        self._clear(rows, np.array([row for group in worth for row in group], np.int64))
        self.arrays.counts[rows, m.NEXT_FREE] = [context[capture.FREE_ROW], *rows[:-1].tolist()]
        context[capture.FREE_ROW] = rows[-1]
        self._rebuild_slots(int(context[capture.ROWS_USED]))
        self._give_back(int(context[capture.ROWS_USED]))
        if len(self._endpoints) > ENDPOINTS_LIMIT:
            self._endpoints.clear()

    def _give_back(self, used: int) -> None:
        """Let the system have the pages of rows that are free, where many are side by side."""
        a = self.arrays
        free = np.concatenate(([False], a.counts[:used, m.STATE] == m.STATE_FREE, [False]))
        bounds = np.flatnonzero(free[1:] != free[:-1]).reshape(-1, 2)
        for begin, end in bounds[bounds[:, 1] - bounds[:, 0] >= FREE_TOGETHER].tolist():
            for column in a[a._fields.index("samples") : a._fields.index("log")]:
                if column.size:
                    give_back(column, begin, end)

    def taken(self) -> list[StreamReport]:
        """Reports of streams that left the table since the last question, in the order of their first packets."""
        found, self._harvested = self._harvested, []
        return sorted(found, key=lambda report: (report.first, report.serials))

    def events_so_far(self, context: Integers) -> EventLog:
        """What was logged of the streams in the table and of those that just left it."""
        self.take_log(context)
        fresh, self._log = self._log, []
        room = EVENTS_LIMIT - len(self._kept_events)
        whole = np.concatenate([self._kept_events, *fresh]) if fresh else self._kept_events
        if len(whole) > EVENTS_LIMIT:
            self.events_lost += len(whole) - EVENTS_LIMIT
            whole = whole[:EVENTS_LIMIT] if room > 0 else self._kept_events
        self._kept_events = whole
        return EventLog(whole)

    @property
    def events_kept(self) -> int:
        """Events kept of streams that go on."""
        return len(self._kept_events)

    def forget_events(self, context: Integers) -> None:
        """Keep only the events of streams that are in the table."""
        serials = self.arrays.counts[self.rows(context), m.SERIAL]
        self._kept_events = self._kept_events[np.isin(self._kept_events[:, m.LOG_SERIAL], serials)]


_PACKETS, _EXPECTED, _DUPLICATES, _END, _TOLD = range(5)


class IntervalTotals:
    """Turns what the table says of rows so far into intervals, one after another."""

    def __init__(self) -> None:
        self._places: dict[int, int] = {}
        self._free: list[int] = []
        self._told = array("q")
        """What of each row was told in intervals, side by side."""

    def __len__(self) -> int:
        return len(self._places)

    def interval(self, row: Sequence[int]) -> Interval:
        """The interval since the last one of this row of the table."""
        place = self._places.get(row[m.INTERVAL_SERIAL])
        if place is None:
            place = self._places[row[m.INTERVAL_SERIAL]] = self._begin(row[m.INTERVAL_FIRST])
        told = self._told
        packets = row[m.INTERVAL_COUNT] - told[place + _PACKETS]
        expected = row[m.INTERVAL_EXPECTED] - told[place + _EXPECTED]
        duplicates = row[m.INTERVAL_DUPLICATES] - told[place + _DUPLICATES]
        jitter = row[m.INTERVAL_JITTER]
        start, end = told[place + _END], row[m.INTERVAL_AT]
        told[place + _PACKETS] += packets
        told[place + _EXPECTED] += expected
        told[place + _DUPLICATES] += duplicates
        told[place + _END] = end
        return Interval(
            start, end, packets, expected, expected - packets + duplicates, None if jitter < 0 else jitter / 1e6
        )

    def _begin(self, first: int) -> int:
        fresh = array("q", (0, 0, 0, first))
        if not self._free:
            self._told.extend(fresh)
            return len(self._told) - _TOLD
        place = self._free.pop()
        self._told[place : place + _TOLD] = fresh
        return place

    def forget(self, serials: Iterable[int]) -> None:
        """Rows that left the table."""
        for serial in serials:
            place = self._places.pop(serial, None)
            if place is not None:
                self._free.append(place)

    def keep_only(self, serials: Iterable[int]) -> None:
        """Forget all other rows."""
        kept = set(serials)
        self.forget([serial for serial in self._places if serial not in kept])
