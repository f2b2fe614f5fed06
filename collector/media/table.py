"""The stream table as Python holds it: the arrays, their sizes, and how a row is opened, settled and freed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from collector.capture import columns as capture
from collector.media import columns as media

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
Shorts = NDArray[np.uint16]
Wide = NDArray[np.int32]
Delays = NDArray[np.float32]
"""Exact to a microsecond up to 8 s [ms]; they are most of what a stream takes."""


class StreamArrays(NamedTuple):
    """The arrays that the kernels share, in the order they take them; rows are streams."""

    slots: Integers
    counts: Integers
    sums: Floats
    types: Integers
    dscp: Integers
    samples: Integers
    """Packets that wait; of a known clock never more than are in a row here."""
    more_samples: Integers
    """The rest of them, up to SAMPLES_PER_ROW, while the clock is not known; seldom touched."""
    delays: Delays
    recent: Delays
    recent_seq: Shorts
    ipdv: Shorts
    pdv: Shorts
    ipdv_high: Shorts
    """What `ipdv` carries, in units of 65,536: not touched by streams of fewer packets, and so it takes no memory."""
    pdv_high: Shorts
    log: Integers
    jobs: Integers
    intervals: Integers
    settings: Integers


def stream_arrays(rows: int, interval_ns: int = 0, samples: int = media.SAMPLES_PER_ROW) -> StreamArrays:
    """Arrays for so many streams at a time; the system hands out their pages only as rows are used.

    `samples` packets of a stream are measured together. Fewer take less memory, and change no result; but jobs, which
    there are where no intervals are cut, take all of them.
    """
    if samples < media.SAMPLES_PER_ROW and not interval_ns:
        raise ValueError("jobs take all samples of a row")
    settings = np.zeros(media.SETTINGS, np.int64)
    settings[media.SETTING_INTERVAL] = interval_ns
    slots = 1 << (2 * rows - 1).bit_length()
    return StreamArrays(
        slots=np.zeros(slots, np.int64),
        counts=np.zeros((rows, media.COUNT_COLUMNS), np.int64),
        sums=np.zeros((rows, media.SUM_COLUMNS), np.float64),
        types=np.zeros((rows, media.TYPE_COLUMNS), np.int64),
        dscp=np.zeros((rows, 64), np.int64),
        samples=np.zeros((rows, 2 * samples), np.int64),
        more_samples=np.zeros((rows, 2 * (media.SAMPLES_PER_ROW - samples)), np.int64),
        delays=np.zeros((rows, media.DELAYS_PER_ROW), np.float32),
        recent=np.zeros((rows, media.RECENT), np.float32),
        recent_seq=np.zeros((rows, media.RECENT), np.uint16),
        ipdv=np.zeros((rows, media.DELAY_BINS), np.uint16),
        pdv=np.zeros((rows, media.DELAY_BINS), np.uint16),
        ipdv_high=np.zeros((rows, media.DELAY_BINS), np.uint16),
        pdv_high=np.zeros((rows, media.DELAY_BINS), np.uint16),
        log=np.zeros((media.EVENT_ROWS, media.LOG_COLUMNS), np.int64),
        jobs=no_jobs(),
        intervals=np.zeros((media.INTERVAL_ROWS, media.INTERVAL_COLUMNS), np.int64),
        settings=settings,
    )


CARRYING = 1 << 15
"""Packets of a row from which on a class of its histograms may carry: each packet has two neighbours."""


def histograms(table: StreamArrays, rows: Sequence[int] | Integers) -> tuple[Wide, Wide]:
    """Copies of delay variation between neighbours and from the least delay, whole."""
    ipdv, pdv = table.ipdv[rows].astype(np.int32), table.pdv[rows].astype(np.int32)
    long = np.flatnonzero(table.counts[rows, media.PACKETS] >= CARRYING)
    if len(long):
        carrying = np.asarray(rows)[long]
        ipdv[long] += table.ipdv_high[carrying].astype(np.int32) << 16
        pdv[long] += table.pdv_high[carrying].astype(np.int32) << 16
    return ipdv, pdv


def waiting_samples(table: StreamArrays, row: int) -> tuple[Integers, Integers]:
    """Times of arrival [ns] and words of the packets of a row that wait."""
    waiting = 2 * int(table.counts[row, media.SAMPLES])
    near = table.samples.shape[1]
    samples = np.concatenate((table.samples[row, :waiting], table.more_samples[row, : max(0, waiting - near)]))
    return samples[0::2], samples[1::2]


def no_jobs() -> Integers:
    """An empty list of what is to be worked out."""
    return np.zeros((1 + media.JOB_ROWS, media.JOB_COLUMNS), np.int64)


class WalkArrays(NamedTuple):
    """The arrays that say where the walk stands and what waits for Python."""

    context: Integers
    interfaces: Integers
    counters: Integers
    packet: Integers
    record: Integers
    pending: Integers
    flows: Integers
    ahead: Integers


def new_context() -> Integers:
    """Where a walk stands before its first packet."""
    context = np.zeros(capture.CONTEXT_COLUMNS, np.int64)
    context[capture.FIRST] = np.iinfo(np.int64).max
    context[capture.LAST] = np.iinfo(np.int64).min
    context[capture.UNTIL] = np.iinfo(np.int64).max
    context[capture.FREE_ROW] = -1
    return context


def walk_arrays() -> WalkArrays:
    """Fresh arrays for one walk."""
    return WalkArrays(
        context=new_context(),
        interfaces=np.zeros((capture.INTERFACE_ROWS, capture.INTERFACE_COLUMNS), np.int64),
        counters=np.zeros(capture.COUNTERS, np.int64),
        packet=np.zeros(capture.ALL_PACKET_COLUMNS, np.int64),
        record=np.zeros(8, np.int64),
        pending=np.zeros((capture.PENDING_ROWS, capture.PENDING_COLUMNS), np.int64),
        flows=np.zeros(capture.TCP_FLOW_SLOTS, np.int64),
        ahead=np.zeros((capture.AHEAD_PACKETS, capture.AHEAD_COLUMNS), np.int64),
    )


def another_walk(arrays: WalkArrays) -> WalkArrays:
    """Arrays for a walk over other bytes, with other packets in hand, into the same counters and stream table."""
    context = new_context()
    hand_over(arrays.context, context)
    return arrays._replace(
        context=context,
        interfaces=np.zeros_like(arrays.interfaces),
        packet=np.zeros_like(arrays.packet),
        record=np.zeros_like(arrays.record),
    )


TABLE_STATE = (capture.EVENT_COUNT, capture.NEXT_SERIAL, capture.ROWS_USED, capture.FREE_ROW)


def hand_over(one: Integers, other: Integers) -> None:
    """Take the state of the stream table from one walk to another."""
    for column in TABLE_STATE:
        other[column] = one[column]
