"""Local time of many instants at once: offsets of a zone as two arrays that are searched."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

DAY_S = 86_400
MARGIN_S = 400 * DAY_S
LAST_SECOND = 2**32 - 1
"""Instants from 1970 up to here (2106) are counted; others are defects."""


class LocalTime:
    """Offsets of a zone from UTC, looked up once for the years that are asked."""

    def __init__(self, zone: str) -> None:
        self.zone = ZoneInfo(zone)
        self._first = 1
        self._last = 0
        self.transitions: NDArray[np.int64] = np.empty(0, np.int64)
        """Instants [s since the epoch] at which the offset changes, within the range covered so far."""
        self.offsets: NDArray[np.int64] = np.zeros(1, np.int64)
        """Offsets [s east of UTC] before, between and after them."""

    def cover(self, first: int, last: int) -> None:
        """Make the offsets right for all instants from first to last [s since the epoch], both within 1970 to 2106."""
        if self._first <= first and last <= self._last:
            return
        if self._first <= self._last:
            first, last = min(first, self._first), max(last, self._last)
        # Whole years more: the next calls are most likely near, and each extension looks at every day again.
        first, last = max(0, first - MARGIN_S), last + MARGIN_S
        changes: list[int] = []
        offsets = [self.offset(first)]
        at = first
        while at < last:
            after = min(at + DAY_S, last)
            if self.offset(after) != offsets[-1]:
                after = self._change(at, after, offsets[-1])
                changes.append(after)
                offsets.append(self.offset(after))
            at = after
        self._first, self._last = first, last
        self.transitions = np.array(changes, np.int64)
        self.offsets = np.array(offsets, np.int64)

    def offset(self, instant: int) -> int:
        """Offset of one instant [s east of UTC]."""
        offset = datetime.fromtimestamp(instant, self.zone).utcoffset()
        return 0 if offset is None else offset // timedelta(seconds=1)

    def _change(self, before: int, after: int, offset: int) -> int:
        """First instant after `before` whose offset is another."""
        while after - before > 1:
            middle = (before + after) // 2
            if self.offset(middle) == offset:
                before = middle
            else:
                after = middle
        return after

    def at(self, instants: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return local time as seconds since 1970-01-01 00:00 on the local clock, for instants that are covered."""
        first, last = self._spans(int(instants.min()), int(instants.max())) if len(instants) else (0, 0)
        if first == last:
            alike: NDArray[np.int64] = instants + self.offsets[first]
            return alike
        local: NDArray[np.int64] = instants + self.offsets[np.searchsorted(self.transitions, instants, side="right")]
        return local

    def _spans(self, first: int, last: int) -> tuple[int, int]:
        """Indexes of the offsets that hold at two instants."""
        found = np.searchsorted(self.transitions, np.array([first, last], np.int64), side="right")
        return int(found[0]), int(found[1])

    def changes_within(self, first: int, last: int) -> bool:
        """Whether the offset changes after the first instant and up to the last."""
        before, after = self._spans(first, last)
        return before != after

    def next_change(self, instants: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the first transition after each instant, or one far away where there is none."""
        edges: NDArray[np.int64] = np.append(self.transitions, np.int64(2**62))
        after: NDArray[np.int64] = edges[np.searchsorted(self.transitions, instants, side="right")]
        return after

    def midnight(self, day: date) -> int:
        """Return the instant [s since the epoch] at which a local day begins."""
        return int(datetime(day.year, day.month, day.day, tzinfo=self.zone).timestamp())

    def clock(self, instant: int) -> datetime:
        """Return one instant on the local clock, with its offset."""
        return datetime.fromtimestamp(instant, UTC).astimezone(self.zone)
