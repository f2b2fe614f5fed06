"""What a live source is: something that runs until it is told to stop, and delivers what it found as it goes.

A source delivers `Found`: finished calls with their streams, intervals of streams that go on, and rows that are ready
for a table as they are. Whoever takes them (`Deliver`) has a bounded queue and answers when there is room: a source
that waits must itself bound and count what it gives up meanwhile.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from analytics.feeds import FeedState
from collector.facts import Call, DeviceStatistics, Endpoint, Interval, Stream


class StreamNow(NamedTuple):
    """A stream that goes on, as far as an interval of it needs; units and meaning as in `facts.Stream`."""

    src: Endpoint
    dst: Endpoint
    ssrc: int
    first: int
    call_id: str | None
    codec: str | None
    ptime_ms: float | None
    burst_ratio: float | None = None
    """Up to now."""
    only_network: bool = True
    """Whether nothing is missing of it that the network did not lose (holds, pauses)."""


class Point(NamedTuple):
    """An interval of a stream that goes on or has just ended."""

    stream: StreamNow
    interval: Interval


class Found(NamedTuple):
    """What a source found since its last delivery."""

    at: int
    """Up to when it looked [ns since the epoch]."""
    calls: Sequence[Call] = ()
    """Calls that are over; what their streams are comes in the same delivery."""
    streams: Sequence[Stream] = ()
    """Streams that are over."""
    points: Sequence[Point] = ()
    rows: Mapping[str, Sequence[Mapping[str, Any]]] = {}
    """Rows for tables of the lake, ready as they are, by the table's name."""
    reports: Sequence[DeviceStatistics] = ()
    """What devices said of their calls."""


Deliver = Callable[[Found], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class SourceHealth:
    """How far a source came with what reached it, and what was lost on the way, counted since it began."""

    name: str
    kind: str
    """`packets`, `hep`, `publish`, `files`."""
    running: bool
    """Whether it takes something in now."""
    seen: int
    """Packets (messages, files) that reached it."""
    parsed: int
    """Of these, understood as SIP, RTP or RTCP."""
    matched: int
    """Of these, belonging to a call or to what is believed to be a stream."""
    calls: int
    """Calls delivered."""
    streams: int
    """Streams delivered."""
    points: int
    """Intervals delivered."""
    calls_now: int
    """Calls going on."""
    streams_now: int
    """Streams going on."""
    last_at: int | None
    """Time of the newest packet or message [ns since the epoch]; None before the first."""
    lost: Mapping[str, int] = field(default_factory=dict)
    """What was lost, by step and reason in one short name (`kernel_drops`, `calls_evicted`); only what is above 0."""
    restarts: int = 0
    """How often what it listens with had to be begun anew."""
    problem: str | None = None
    """Why it does not work now, in words; None when it does."""
    records: int = 0
    """Records in the files that were read."""
    records_kept: int = 0
    """Of these, in the store."""
    records_rejected: Mapping[str, int] = field(default_factory=dict)
    """Of these, rejected, by reason."""
    feeds: tuple[FeedState, ...] = ()
    """Feeds that it knows of, as they were when it looked last."""


class Source(Protocol):
    """Brings facts in until it is told to stop."""

    @property
    def name(self) -> str:
        """How people call it, e.g. `eth0`."""

    async def run(self, deliver: Deliver) -> None:
        """Work until `stop`, or to the end of the input; all that was found is delivered before it returns."""

    def stop(self) -> None:
        """Take no more in; may be called from the loop's thread at any time, more than once."""

    def health(self) -> SourceHealth:
        """How it goes; may be called from any thread at any time."""
