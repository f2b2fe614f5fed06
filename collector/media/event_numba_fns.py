"""Kernels that write a stream's events down, and follow its telephone-events (RFC 4733)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from collector.accelerate import njit_inline
from collector.capture.columns import (
    EVENT_COUNT,
)
from collector.media.columns import (
    BASE_SEQ,
    DUPLICATES,
    EVENT_AT,
    EVENT_CODE,
    EVENT_DURATION,
    EVENT_ENDED,
    EVENT_PACKETS,
    EVENT_PACKETS_ALL,
    EVENT_SEQ_FIRST,
    EVENT_SEQ_LAST,
    EVENT_TIMESTAMP,
    EVENT_VOLUME,
    EVENTS_LOGGED,
    EVENTS_PER_STREAM,
    EVENTS_UNLOGGED,
    FIRST_AT,
    INTERVAL_AT,
    INTERVAL_COUNT,
    INTERVAL_DUPLICATES,
    INTERVAL_EXPECTED,
    INTERVAL_FIRST,
    INTERVAL_JITTER,
    INTERVAL_PACKETS,
    INTERVAL_SERIAL,
    INTERVAL_SINCE,
    JITTER,
    JITTER_COUNT,
    LAST_AT,
    LOG_A,
    LOG_AT,
    LOG_B,
    LOG_C,
    LOG_D,
    LOG_EVENT,
    LOG_KIND,
    LOG_SERIAL,
    MAX_SEQ,
    PACKETS,
    SERIAL,
    SETTING_INTERVAL,
    SETTING_WRITTEN,
)
from collector.media.table import StreamArrays

Integers = NDArray[np.int64]


@njit_inline
def log_event(
    table: StreamArrays, context: Integers, row: int, kind: int, at: int, a: int, b: int, c: int, d: int
) -> None:
    """Write an event down; a stream has room for a stated number, the rest is only counted."""
    counts = table.counts
    log = table.log
    if counts[row, EVENTS_LOGGED] >= EVENTS_PER_STREAM:
        counts[row, EVENTS_UNLOGGED] += 1
        return
    counts[row, EVENTS_LOGGED] += 1
    n = context[EVENT_COUNT]
    context[EVENT_COUNT] = n + 1
    log[n, LOG_SERIAL] = counts[row, SERIAL]
    log[n, LOG_KIND] = kind
    log[n, LOG_AT] = at
    log[n, LOG_A] = a
    log[n, LOG_B] = b
    log[n, LOG_C] = c
    log[n, LOG_D] = d


@njit_inline
def write_interval(table: StreamArrays, row: int) -> None:
    """Write down what the row counted up to its last packet; the caller knows that there is room."""
    counts = table.counts
    intervals = table.intervals
    n = table.settings[SETTING_WRITTEN]
    table.settings[SETTING_WRITTEN] = n + 1
    intervals[n, INTERVAL_SERIAL] = counts[row, SERIAL]
    intervals[n, INTERVAL_AT] = counts[row, LAST_AT]
    intervals[n, INTERVAL_COUNT] = counts[row, PACKETS]
    intervals[n, INTERVAL_DUPLICATES] = counts[row, DUPLICATES]
    intervals[n, INTERVAL_EXPECTED] = counts[row, MAX_SEQ] - counts[row, BASE_SEQ] + 1
    intervals[n, INTERVAL_JITTER] = -1
    if counts[row, JITTER_COUNT] > 0:
        intervals[n, INTERVAL_JITTER] = np.int64(table.sums[row, JITTER] * 1e6)
    intervals[n, INTERVAL_FIRST] = counts[row, FIRST_AT]
    counts[row, INTERVAL_SINCE] = counts[row, LAST_AT]
    counts[row, INTERVAL_PACKETS] = counts[row, PACKETS]


@njit_inline
def end_interval(table: StreamArrays, row: int) -> None:
    """Asked every 64 packets: whether an interval has passed, for then it is written down."""
    counts = table.counts
    length = table.settings[SETTING_INTERVAL]
    if length > 0:
        since = counts[row, INTERVAL_SINCE]
        if since == 0:
            since = counts[row, FIRST_AT]
        if counts[row, LAST_AT] - since >= length:
            write_interval(table, row)


@njit_inline
def close_telephone_event(table: StreamArrays, context: Integers, row: int) -> None:
    counts = table.counts
    if counts[row, EVENT_TIMESTAMP] < 0:
        return
    log_event(
        table,
        context,
        row,
        LOG_EVENT,
        counts[row, EVENT_AT],
        counts[row, EVENT_CODE] | (counts[row, EVENT_ENDED] << 8) | (counts[row, EVENT_VOLUME] << 16),
        counts[row, EVENT_DURATION],
        counts[row, EVENT_PACKETS],
        (counts[row, EVENT_SEQ_FIRST] << 32) | counts[row, EVENT_SEQ_LAST],
    )
    counts[row, EVENT_TIMESTAMP] = -1


@njit_inline
def take_telephone_event(table: StreamArrays, context: Integers, row: int, at: int, timestamp: int, word: int) -> None:
    """RFC 4733 2.3: `word` is event, end bit, volume and duration, or -1 when the snap length cut it off."""
    counts = table.counts
    counts[row, EVENT_PACKETS_ALL] += 1
    if counts[row, EVENT_TIMESTAMP] != timestamp:
        close_telephone_event(table, context, row)
        counts[row, EVENT_TIMESTAMP] = timestamp
        counts[row, EVENT_AT] = at
        counts[row, EVENT_CODE] = 255
        counts[row, EVENT_DURATION] = 0
        counts[row, EVENT_VOLUME] = 0
        counts[row, EVENT_PACKETS] = 0
        counts[row, EVENT_ENDED] = 0
        counts[row, EVENT_SEQ_FIRST] = counts[row, MAX_SEQ]
    counts[row, EVENT_PACKETS] += 1
    counts[row, EVENT_SEQ_LAST] = counts[row, MAX_SEQ]
    if word >= 0:
        counts[row, EVENT_CODE] = (word >> 24) & 0xFF
        counts[row, EVENT_ENDED] |= (word >> 23) & 1
        counts[row, EVENT_VOLUME] = (word >> 16) & 63
        counts[row, EVENT_DURATION] = max(counts[row, EVENT_DURATION], word & 0xFFFF)
