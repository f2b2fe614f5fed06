"""Telephone traffic: how many channels were busy at once, in the busy hour and at most, and how many are needed.

Offered traffic is occupied time over an hour, set-up included (erlang). Erlang B is the share of calls that find all
channels busy where blocked calls are lost and sources are many (ITU-T E.501, E.520).
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

HOUR_S = 3_600
STEP_S = 900
"""The busy hour is the busiest full hour of those that begin every quarter of an hour."""
MOST_CHANNELS = 100_000
"""More channels than any group has: a search ends here."""
BLOCKING = (Decimal("0.01"), Decimal("0.001"))
"""Shares of calls blocked that channels are reckoned for."""

Instants = NDArray[np.int64]
"""Seconds since the epoch."""


def erlang_b(erlang: float, channels: int) -> float:
    """Return the share of calls blocked: B(A, 0) = 1, B(A, k) = A·B(A, k-1) / (k + A·B(A, k-1)).

    ValueError for negative traffic or channels.
    """
    if erlang < 0 or channels < 0:
        raise ValueError("traffic and channels are not negative")
    blocked = 1.0
    for channel in range(1, channels + 1):
        blocked = erlang * blocked / (channel + erlang * blocked)
    return blocked


def channels_needed(erlang: float, blocking: float) -> int:
    """Return the fewest channels that block no more than a share of calls; 0 for no traffic.

    ValueError where the traffic is negative or too much, or the share is not above 0.
    """
    if erlang < 0 or not blocking > 0:
        raise ValueError("traffic is not negative, and some calls may be blocked")
    if erlang == 0:
        return 0
    blocked = 1.0
    for channel in range(1, MOST_CHANNELS + 1):
        blocked = erlang * blocked / (channel + erlang * blocked)
        if blocked <= blocking:
            return channel
    raise ValueError(f"{erlang} erlang need more than {MOST_CHANNELS} channels")


class BusyHour(NamedTuple):
    """The busiest full hour."""

    begin: int
    """Its first second, seconds since the epoch."""
    seconds: int
    """Occupied seconds within it."""


def busy_hour(begins: Instants, ends: Instants) -> BusyHour | None:
    """Return the busiest hour of calls that each occupy a channel from begin up to end; None where none does.

    Hours begin at whole quarters of an hour; of equally busy ones the first is returned.
    """
    held = ends > begins
    begins, ends = begins[held], ends[held]
    if not len(begins):
        return None
    first = int(begins.min()) // STEP_S * STEP_S - HOUR_S + STEP_S
    grid = np.arange(first, int(ends.max()) + HOUR_S + STEP_S, STEP_S, dtype=np.int64)
    occupied = _occupied_until(grid, np.sort(begins)) - _occupied_until(grid, np.sort(ends))
    hour = HOUR_S // STEP_S
    within = occupied[hour:] - occupied[:-hour]
    busiest = int(np.argmax(within))
    return BusyHour(int(grid[busiest]), int(within[busiest]))


def _occupied_until(grid: Instants, instants: Instants) -> Instants:
    """Sum over all instants before a moment of the time since; the difference of begins and ends is occupied time."""
    before = np.searchsorted(instants, grid, side="right")
    # From the first moment on, so that sums of a month of calls stay far below 2^63.
    sums = np.concatenate([np.zeros(1, np.int64), np.cumsum(instants - grid[0])])
    waited: Instants = before * (grid - grid[0]) - sums[before]
    return waited


def most_at_once(begins: Instants, ends: Instants) -> int:
    """Return the most calls at once; a call occupies [begin, end): one that ends as another begins is gone."""
    if not len(begins):
        return 0
    begins, ends = np.sort(begins), np.sort(ends)
    at_once = np.arange(1, len(begins) + 1) - np.searchsorted(ends, begins, side="right")
    # Of calls that begin together the last one sees them all; calls of no length are gone at once.
    return max(0, int(at_once.max()))


class Traffic(NamedTuple):
    """What a group of channels carried."""

    calls: int
    busy: BusyHour | None
    at_once: int

    @property
    def erlang(self) -> Decimal:
        """Offered traffic of the busy hour [erlang]."""
        return Decimal(0) if self.busy is None else Decimal(self.busy.seconds) / HOUR_S


def traffic_of(begins: Instants, ends: Instants) -> Traffic:
    """Describe calls that each occupy a channel from begin up to end."""
    return Traffic(len(begins), busy_hour(begins, ends), most_at_once(begins, ends))


def busier(one: Traffic, other: Traffic) -> Traffic:
    """Join what two spans of time saw of the same channels: the calls of both, the busier hour, the most at once."""
    hours = [busy for busy in (one.busy, other.busy) if busy is not None]
    busiest = max(hours, key=lambda busy: (busy.seconds, -busy.begin)) if hours else None
    return Traffic(one.calls + other.calls, busiest, max(one.at_once, other.at_once))
