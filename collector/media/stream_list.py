"""Streams as a sequence of which most are made only when somebody looks at them.

A plain stream is one whose totals, order and rating come from the columns of its row alone: one payload type that SDP
or RFC 3551 names, no telephone-events, no other stream with its SSRC, nothing missing but what the network lost.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from collector.facts import CodecFormat, Endpoint, FarEnd, Finding, Placement, Stream
from collector.media import columns as m
from collector.media import findings, placement
from collector.media.book import MediaBook, Negotiated
from collector.media.describe import codec_of, context_of, describe, ptime_of, stream_of
from collector.media.far_end import FarEnds
from collector.media.missing import PAUSE_LEAST, PAUSE_NS
from collector.media.reports import StreamReport
from collector.media.streams import EventLog
from collector.media.table import StreamArrays

Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]
Ends = tuple[Endpoint, Endpoint]
EndsOf = Callable[[Integers], list[Ends]]

AT_ONCE = 256
"""Streams that are made together when all are wanted."""


class StreamSketch(NamedTuple):
    """What totals, orders and calls need of a stream; names, units and meaning as in `facts.Stream`."""

    src: Endpoint
    dst: Endpoint
    call_id: str | None
    codec: str | None
    ptime_ms: float | None
    role: str
    first: int
    last: int
    expected: int
    lost: int
    loss_percent: float | None
    burst_ratio: float | None
    jitter_mean_ms: float | None
    not_network: Mapping[str, int]
    far_end: FarEnd | None
    findings: tuple[Finding, ...]
    """Of a plain stream `burst_loss` has only the beginning of its sentence, without times."""
    is_plain: bool


class PlainStream(NamedTuple):
    """A stream that stays in its row of the table."""

    row: int
    serial: int
    negotiated: Negotiated
    sketch: StreamSketch


class _Marks(NamedTuple):
    """What `findings.of_packets` reads of a report."""

    copies: int
    duplicates: int
    packets: int
    reordered: int
    dscp: Mapping[int, int]
    serials: tuple[int, ...]
    timestamp_jumps: int
    max_delta_ms: float | None
    lost: int


def sketch_of(stream: Stream) -> StreamSketch:
    """The sketch of a stream that was made."""
    return StreamSketch(
        stream.src,
        stream.dst,
        stream.call_id,
        stream.codec,
        stream.ptime_ms,
        stream.placement.role,
        stream.first,
        stream.last,
        stream.expected,
        stream.lost,
        stream.loss_percent,
        stream.burst_ratio,
        stream.jitter_ms.mean if stream.jitter_ms else None,
        stream.not_network,
        stream.far_end,
        stream.findings,
        False,
    )


class StreamList(Sequence[Stream]):
    """Streams in the order of their first packets; `made` holds those that are not plain, by place."""

    def __init__(
        self,
        sketches: Sequence[StreamSketch],
        made: Mapping[int, Stream],
        make: Callable[[Sequence[int]], list[Stream]],
    ) -> None:
        self.sketches = sketches
        self.made = tuple(made.values())
        """The streams that are not plain."""
        self._known = dict(made)
        self._make = make

    def _placed(self, places: Sequence[int]) -> tuple[Stream, ...]:
        missing = [place for place in places if place not in self._known]
        self._known.update(zip(missing, self._make(missing), strict=True))
        return tuple(self._known[place] for place in places)

    def __len__(self) -> int:
        return len(self.sketches)

    @overload
    def __getitem__(self, place: int) -> Stream: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[Stream, ...]: ...
    def __getitem__(self, place: int | slice) -> Stream | tuple[Stream, ...]:
        places = range(len(self))[place]
        return self._placed(places) if isinstance(places, range) else self._placed([places])[0]

    def __iter__(self) -> Iterator[Stream]:
        for begin in range(0, len(self), AT_ONCE):
            yield from self[begin : begin + AT_ONCE]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment]


class Making(NamedTuple):
    """What streams are made with."""

    reports_of: Callable[[Sequence[Sequence[int]]], list[StreamReport]]
    """Reports of groups of rows."""
    events: EventLog
    book: MediaBook
    far_ends: FarEnds


def made_streams(streams: Sequence[Stream]) -> Sequence[Stream]:
    """The streams that are not plain: only these share their medium with others."""
    return streams.made if isinstance(streams, StreamList) else streams


def listed(
    plain: Sequence[PlainStream], others: Sequence[tuple[StreamReport, Negotiated | None]], making: Making
) -> StreamList:
    """Plain and other streams together in the order of their first packets."""
    beginnings: list[tuple[int, tuple[int, ...]]] = [(each.sketch.first, (each.serial,)) for each in plain]
    beginnings += [(report.first, report.serials) for report, _ in others]
    order = sorted(range(len(beginnings)), key=beginnings.__getitem__)
    places = [0] * len(order)
    for place, number in enumerate(order):
        places[number] = place
    alone, besides = places[: len(plain)], places[len(plain) :]
    described = describe(others, making.events, making.book, making.far_ends, besides, alone)
    made = dict(zip(besides, described, strict=True))
    by_place = dict(zip(alone, plain, strict=True))
    firsts = placement.first_places(made, alone)

    def make(wanted: Sequence[int]) -> list[Stream]:
        chosen = [by_place[place] for place in wanted]
        reports = making.reports_of([[each.row] for each in chosen]) if chosen else []
        return [
            stream_of(
                report,
                context_of(report, each.negotiated),
                making.events.of(report.serials),
                Placement(1 + bisect_left(firsts, place), "primary", 1),
                set(),
                making.book,
                making.far_ends,
            )
            for place, each, report in zip(wanted, chosen, reports, strict=True)
        ]

    sketches = [by_place[place].sketch if place in by_place else sketch_of(made[place]) for place in range(len(order))]
    return StreamList(sketches, made, make)


def plain_streams(
    groups: Sequence[Sequence[int]], table: StreamArrays, log: Integers, book: MediaBook, ends_of: EndsOf
) -> list[PlainStream]:
    """The plain ones of settled streams, each the group of rows that it was measured in; `log` is all events."""
    rows = _plain_rows(groups, table, log)
    if not len(rows):
        return []
    negotiated = []
    times = table.counts[rows][:, (m.FIRST_AT, m.LAST_AT, m.LOST)].tolist()
    ends = ends_of(rows)
    wanted = [(src, dst, first, last) for (src, dst), (first, last, _) in zip(ends, times, strict=True)]
    for found, (_, _, lost) in zip(book.lookup_all(wanted), times, strict=True):
        negotiated.append(None if found is None or (lost and book.spans(found.call_id)) else found)
    codecs: dict[tuple[int, int], CodecFormat | None] = {}
    types = table.counts[rows, m.PAYLOAD_TYPE].tolist()
    chosen = []
    for place, (found, number) in enumerate(zip(negotiated, types, strict=True)):
        if found is None:
            continue
        key = id(found.formats), number
        if key not in codecs:
            codecs[key] = codec_of(number, found.formats)[0]
        if codecs[key] is not None:
            chosen.append((place, found, codecs[key]))
    places = [place for place, _, _ in chosen]
    return _sketched(rows[places], [ends[place] for place in places], chosen, table)


def _plain_rows(groups: Sequence[Sequence[int]], table: StreamArrays, log: Integers) -> Integers:
    """Rows that may be plain streams: whether they are is for SDP to say."""
    firsts = np.array([group[0] for group in groups], np.int64)
    alone = np.array([len(group) == 1 for group in groups], np.bool_)
    _, which, times = np.unique(table.counts[firsts, m.KEY_SSRC], return_inverse=True, return_counts=True)
    rows: Integers = firsts[alone & (times[which] == 1)]
    counts, types = table.counts[rows], table.types[rows]
    long_gap = (log[:, m.LOG_KIND] == m.LOG_JUMP) & (log[:, m.LOG_B] >= PAUSE_LEAST) & (log[:, m.LOG_C] >= PAUSE_NS)
    plain: Flags = (
        (counts[:, m.STATE] != m.STATE_PROBATION)
        & (counts[:, m.PACKETS] > 1)
        & (counts[:, m.CLOCK] > 0)
        & (counts[:, m.JITTER_COUNT] > 0)
        & (counts[:, m.PAYLOAD_TYPE_RUN] > 0)
        & (types[:, m.TYPE_NUMBER] == counts[:, m.PAYLOAD_TYPE] + 1)
        & (types[:, 3 + m.TYPE_NUMBER] == 0)
        & (counts[:, (m.EVENT_PACKETS_ALL, m.COMFORT_NOISE, m.EVENTS_UNLOGGED)] == 0).all(axis=1)
        & ~np.isin(counts[:, m.SERIAL], log[long_gap, m.LOG_SERIAL])
    )
    return rows[plain]


def _sketched(
    rows: Integers,
    ends: Sequence[Ends],
    chosen: Sequence[tuple[int, Negotiated, CodecFormat | None]],
    table: StreamArrays,
) -> list[PlainStream]:
    counts, sums = table.counts[rows], table.sums[rows]
    expected = counts[:, m.MAX_SEQ] - counts[:, m.BASE_SEQ] + 1
    lost, runs = counts[:, m.LOST], counts[:, m.LOSS_RUNS]
    loss = 100.0 * lost / expected
    ratio = np.maximum(1.0, lost / np.maximum(runs, 1) * (1.0 - lost / expected))  # as `reports.burst_ratio`
    bursty = (lost > 0) & (runs > 0) & (lost < expected)
    found = _findings(counts, table.dscp[rows])
    columns = (
        rows, counts[:, m.SERIAL], counts[:, m.FIRST_AT], counts[:, m.LAST_AT], expected, lost, loss, ratio, bursty,
        sums[:, m.JITTER_SUM] / counts[:, m.JITTER_COUNT], counts[:, m.CLOCK], counts[:, m.TIMESTAMP_STEP],
        counts[:, m.STEP_VOTES],
    )  # fmt: skip
    result = []
    for (src, dst), (_, negotiated, codec), about, values in zip(
        ends, chosen, found, zip(*(column.tolist() for column in columns), strict=True), strict=True
    ):
        row, serial, first, last, wanted, gone, percent, burst, is_bursty, jitter, clock, step, votes = values
        if negotiated.media.encrypted:
            about = (*about, findings.ENCRYPTED)
        if dst.is_multicast:
            about = (*about, findings.to_group(dst.ip))
        sketch = StreamSketch(
            src,
            dst,
            negotiated.call_id,
            codec.name if codec else None,
            ptime_of(step if votes > 0 else 0, clock, negotiated),
            "primary",
            first,
            last,
            wanted,
            gone,
            percent,
            burst if is_bursty else None,
            jitter,
            {},
            None,
            about,
            True,
        )
        result.append(PlainStream(row, serial, negotiated, sketch))
    return result


def _findings(counts: Integers, dscp: Integers) -> list[tuple[Finding, ...]]:
    """What is worth saying of the packets of each row."""
    marked = set(np.flatnonzero(dscp.any(axis=1)).tolist())
    columns = (
        m.COPIES, m.DUPLICATES, m.PACKETS, m.REORDERED, m.DSCP_NOW, m.DSCP_RUN, m.TIMESTAMP_JUMPS, m.MAX_DELTA, m.LOST,
        m.BURST_LOST, m.BURSTS,
    )  # fmt: skip
    result: list[tuple[Finding, ...]] = []
    for place, (copies, duplicates, packets, reordered, mark, run, jumps, delta, lost, burst_lost, bursts) in enumerate(
        counts[:, columns].tolist()
    ):
        found: tuple[Finding, ...] = ()
        if bursts and burst_lost:
            found = (Finding("burst_loss", findings.burst_words(burst_lost, bursts), burst_lost),)
        marks = {mark: run}
        if place in marked:
            total = dscp[place].copy()
            total[mark] += run
            marks = {int(number): int(total[number]) for number in np.flatnonzero(total)}
        told = _Marks(copies, duplicates, packets, reordered, marks, (0,), jumps, delta / 1e6, lost)
        result.append((*found, *findings.of_packets(told)))
    return result
