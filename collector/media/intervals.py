"""Intervals of streams: differences of what the kernel wrote down every so often."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

from collector.facts import Interval
from collector.media import columns as m

Integers = NDArray[np.int64]

NO_INTERVALS = np.zeros((0, m.INTERVAL_COLUMNS), np.int64)


class IntervalLog:
    """Intervals by the row that measured them; they stay in an array until somebody asks."""

    def __init__(self, log: Integers) -> None:
        self._log = log[np.argsort(log[:, m.INTERVAL_SERIAL], kind="stable")]
        serials, starts = np.unique(self._log[:, m.INTERVAL_SERIAL], return_index=True)
        ends = [*starts.tolist(), len(self._log)][1:]
        self._places = dict(zip(serials.tolist(), zip(starts.tolist(), ends, strict=True), strict=True))

    def of(self, serials: Iterable[int]) -> tuple[Interval, ...]:
        """Intervals of a stream that was measured in these rows, oldest first."""
        return tuple(interval for serial in serials for interval in self._of_row(serial))

    def _of_row(self, serial: int) -> Iterator[Interval]:
        start, end = self._places.get(serial, (0, 0))
        packets = duplicates = expected = 0
        begin: int | None = None
        for row in self._log[start:end].tolist():
            at, jitter = row[m.INTERVAL_AT], row[m.INTERVAL_JITTER]
            begin = row[m.INTERVAL_FIRST] if begin is None else begin
            now = row[m.INTERVAL_COUNT], row[m.INTERVAL_DUPLICATES], row[m.INTERVAL_EXPECTED]
            yield Interval(
                start=begin,
                end=at,
                packets=now[0] - packets,
                expected=now[2] - expected,
                lost=(now[2] - expected) - (now[0] - packets) + (now[1] - duplicates),
                jitter_ms=None if jitter < 0 else jitter / 1e6,
            )
            packets, duplicates, expected = now
            begin = at


class StreamIntervals(Sequence[tuple[Interval, ...]]):
    """Intervals of each stream of a replay, made when they are looked at."""

    def __init__(self, log: IntervalLog, serials: Sequence[tuple[int, ...]]) -> None:
        self._log = log
        self._serials = serials

    def __len__(self) -> int:
        return len(self._serials)

    @overload
    def __getitem__(self, place: int) -> tuple[Interval, ...]: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[tuple[Interval, ...], ...]: ...
    def __getitem__(self, place: int | slice) -> tuple[Interval, ...] | tuple[tuple[Interval, ...], ...]:
        if isinstance(place, slice):
            return tuple(self._log.of(serials) for serials in self._serials[place])
        return self._log.of(self._serials[place])
