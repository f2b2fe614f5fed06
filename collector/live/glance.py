"""A glance at the streams that go on: what came of each since the last one, a second or so ago."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from collector.capture import columns as c
from collector.live.source import StreamNow
from collector.live.streams import LiveStreamTable
from collector.media import columns as m

Integers = NDArray[np.int64]

GLANCE_S = 1.0
"""Time between glances [s]."""


class Progress(NamedTuple):
    """What came of streams since the last glance; an element for each."""

    serials: Integers
    packets: Integers
    expected: Integers
    """RFC 3550 A.3."""
    lost: Integers
    """Below 0 where what was missing came late, or twice."""
    jitter_ms: NDArray[np.float64]
    """Interarrival jitter at the newest packet (RFC 3550 A.8); not a number while it is not known."""


class Glance(NamedTuple):
    """What goes on."""

    at: int
    """Time of the newest packet [ns since the epoch]."""
    seconds: float
    """Since the last glance."""
    streams: Sequence[StreamNow]
    """Those that had packets, and are believed."""
    progress: Progress
    """The same streams'."""
    calls: Sequence[tuple[str, str]]
    """Addresses of both sides of each call that goes on."""


@runtime_checkable
class Glancing(Protocol):
    """A source that can be glanced at."""

    @property
    def glance(self) -> Glance | None:
        """The last one; None before the first."""


class Glances:
    """What was seen of each row at the last glance."""

    def __init__(self) -> None:
        self._before = np.zeros((0, 4), np.int64)

    def look(self, table: LiveStreamTable, context: Integers) -> Progress:
        """What came of valid streams since this was asked last."""
        used = int(context[c.ROWS_USED])
        if len(self._before) < used:
            more = np.zeros((used - len(self._before), 4), np.int64)
            self._before = np.concatenate((self._before, more))
        counts = table.counts[:used]
        rows = np.flatnonzero(counts[:, m.STATE] == m.STATE_VALID)
        now = np.empty((len(rows), 4), np.int64)
        now[:, 0] = counts[rows, m.SERIAL]
        now[:, 1] = counts[rows, m.PACKETS]
        now[:, 2] = counts[rows, m.MAX_SEQ] - counts[rows, m.BASE_SEQ] + 1
        now[:, 3] = counts[rows, m.DUPLICATES]
        before = self._before[rows]
        # Another stream has the row now: all of it is new.
        before[before[:, 0] != now[:, 0], 1:] = 0
        self._before[rows] = now
        came = now[:, 1:] - before[:, 1:]
        some = came[:, 0] > 0
        jitter = np.where(counts[rows, m.JITTER_COUNT] > 0, table.arrays.sums[rows, m.JITTER], np.nan)
        packets, expected, duplicates = came[some].T
        return Progress(now[some, 0], packets, expected, expected - packets + duplicates, jitter[some])
