"""Kernels of RFC 3550 A.1 with a window behind it: what is lost, late, doubled or begun anew, exactly.

Symbols: `row` is a stream's row of the table; sequence numbers are extended: cycle * 65536 + number. The window has
a bit for each of the last 128 numbers; what leaves it without having arrived is lost.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from collector.accelerate import njit_inline
from collector.capture.columns import (
    NEXT_SERIAL,
)
from collector.media.columns import (
    BAD_SEQ,
    BASE_SEQ,
    BURST_LOST,
    BURST_PACKETS,
    BURSTS,
    CLUSTER_LOST,
    CLUSTER_PACKETS,
    COPIES,
    COPY_NO_ID_NS,
    COPY_NS,
    DUPLICATES,
    EVENT_TIMESTAMP,
    EVENT_TYPE,
    FIRST_AT,
    GMIN,
    IDS,
    LAST_AT,
    LAST_LOST,
    LOG_JUMP,
    LOG_LATE,
    LOSS_RUNS,
    LOST,
    LOST_RUN,
    MAX_DROPOUT,
    MAX_MISORDER,
    MAX_SEQ,
    PACKETS,
    PAUSE_NS,
    PREVIOUS_AT,
    REORDERED,
    RESTART_OF,
    RUN_CLASSES_AT,
    SEQUENTIAL,
    SERIAL,
    STATE,
    STATE_PROBATION,
    STATE_VALID,
    TTL_LAST,
    WINDOW_BITS,
    WINDOW_NEW,
    WINDOW_OLD,
)
from collector.media.event_numba_fns import log_event
from collector.media.table import StreamArrays

Integers = NDArray[np.int64]

ALL_RECEIVED = -1  # both halves of the window, as int64

STEPS_TO_PROVE = 3
"""Packets that each went a little ahead prove a sequence too, where every second one is lost."""

# What became of a packet.
TAKEN = 0
COPY = 1
HELD = 2  # may begin a restart; the next packet tells
RESTARTED = 3  # it did: open a new row
DUPLICATE = 4


@njit_inline
def close_cluster(counts: Integers, row: int) -> None:
    """A burst needs two losses; a lone loss belongs to the gap (RFC 3611 4.7.2)."""
    if counts[row, CLUSTER_LOST] >= 2:
        counts[row, BURSTS] += 1
        counts[row, BURST_PACKETS] += counts[row, CLUSTER_PACKETS]
        counts[row, BURST_LOST] += counts[row, CLUSTER_LOST]
    counts[row, CLUSTER_LOST] = 0
    counts[row, CLUSTER_PACKETS] = 0


@njit_inline
def close_run(counts: Integers, row: int, last: int) -> None:
    """A run of losses that ends with sequence number `last` has left the window: count and segment it."""
    length = counts[row, LOST_RUN]
    counts[row, LOST_RUN] = 0
    counts[row, LOST] += length
    counts[row, LOSS_RUNS] += 1
    if length < 5:
        group = length - 1
    elif length < 11:
        group = 4
    elif length < 51:
        group = 5
    elif length < 101:
        group = 6
    else:
        group = 7
    counts[row, RUN_CLASSES_AT + group] += 1
    received = last - length - counts[row, LAST_LOST]
    if counts[row, LAST_LOST] >= 0 and received < GMIN:
        counts[row, CLUSTER_PACKETS] += received + length
        counts[row, CLUSTER_LOST] += length
    else:
        close_cluster(counts, row)
        counts[row, CLUSTER_PACKETS] = length
        counts[row, CLUSTER_LOST] = length
    counts[row, LAST_LOST] = last


@njit_inline
def slide(counts: Integers, row: int, step: int) -> None:
    """Move the window of received packets `step` numbers on; what leaves it unreceived is lost."""
    new = counts[row, WINDOW_NEW]
    old = counts[row, WINDOW_OLD]
    leaving = counts[row, MAX_SEQ] - WINDOW_BITS  # the number before the first that may leave
    for _ in range(step):
        leaving += 1
        if old < 0:  # the oldest bit is set: received
            if counts[row, LOST_RUN] > 0:
                close_run(counts, row, leaving - 1)
        else:
            counts[row, LOST_RUN] += 1
        old = (old << 1) | (1 if new < 0 else 0)
        new = new << 1
    counts[row, WINDOW_NEW] = new | 1
    counts[row, WINDOW_OLD] = old
    counts[row, MAX_SEQ] += step


@njit_inline
def window_bit(counts: Integers, row: int, back: int) -> bool:
    """Whether the number `back` before the newest was received."""
    if back < 64:
        return (counts[row, WINDOW_NEW] >> back) & 1 == 1
    return (counts[row, WINDOW_OLD] >> (back - 64)) & 1 == 1


@njit_inline
def set_window_bit(counts: Integers, row: int, back: int) -> None:
    if back < 64:
        counts[row, WINDOW_NEW] |= np.int64(1) << back
    else:
        counts[row, WINDOW_OLD] |= np.int64(1) << (back - 64)


@njit_inline
def clear_window_bit(counts: Integers, row: int, back: int) -> None:
    if back < 64:
        counts[row, WINDOW_NEW] &= ~(np.int64(1) << back)
    else:
        counts[row, WINDOW_OLD] &= ~(np.int64(1) << (back - 64))


@njit_inline
def is_copy(counts: Integers, row: int, back: int, at: int, identification: int, ttl: int) -> bool:
    """Whether a repeated number is the same datagram seen twice by the tap, not a packet sent twice."""
    age = at - counts[row, LAST_AT]
    if back > 3 or age > COPY_NS:
        return False
    seen = (counts[row, IDS] >> (16 * back)) & 0xFFFF
    if identification == 0 and seen == 0:
        return age <= COPY_NO_ID_NS and ttl == counts[row, TTL_LAST]
    return seen == identification


@njit_inline
def take_late(
    table: StreamArrays, context: Integers, row: int, back: int, at: int, identification: int, ttl: int
) -> int:
    """A number at or before the newest: reordered, a duplicate, or a mirror's copy."""
    counts = table.counts
    extended = counts[row, MAX_SEQ] - back
    if extended >= counts[row, BASE_SEQ] and back < WINDOW_BITS and window_bit(counts, row, back):
        if is_copy(counts, row, back, at, identification, ttl):
            counts[row, COPIES] += 1
            return COPY
        counts[row, DUPLICATES] += 1
        return DUPLICATE
    counts[row, REORDERED] += 1
    if back >= WINDOW_BITS:
        return TAKEN
    if extended < counts[row, BASE_SEQ]:  # the first packets came out of order: the stream began earlier
        missing = counts[row, BASE_SEQ] - extended - 1
        for k in range(back - missing, back):
            clear_window_bit(counts, row, k)
        counts[row, BASE_SEQ] = extended
        if missing:
            log_event(table, context, row, LOG_JUMP, at, extended + 1, missing, 0, 0)
    else:
        log_event(table, context, row, LOG_LATE, at, extended, 0, 0, 0)
    set_window_bit(counts, row, back)
    if back <= 3:  # a tap's copy of it may follow
        counts[row, IDS] &= ~(np.int64(0xFFFF) << (16 * back))
        counts[row, IDS] |= np.int64(identification) << (16 * back)
    return TAKEN


@njit_inline
def take_sequence(
    table: StreamArrays, context: Integers, row: int, seq: int, at: int, identification: int, ttl: int
) -> int:
    """RFC 3550 A.1 with a window behind it, so that late packets, duplicates and losses are told apart exactly."""
    counts = table.counts
    newest = counts[row, MAX_SEQ]
    ahead = (seq - newest) & 0xFFFF
    if ahead == 1:
        counts[row, SEQUENTIAL] += 1
        old = counts[row, WINDOW_OLD]
        if old < 0 and counts[row, LOST_RUN] == 0:  # nearly always: nothing is missing at the far end of the window
            new = counts[row, WINDOW_NEW]
            counts[row, WINDOW_OLD] = (old << 1) | (1 if new < 0 else 0)
            counts[row, WINDOW_NEW] = (new << 1) | 1
            counts[row, MAX_SEQ] = newest + 1
        else:
            slide(counts, row, 1)
        counts[row, IDS] = (counts[row, IDS] << 16) | identification
        counts[row, BAD_SEQ] = -1
        if counts[row, STATE] == STATE_PROBATION:
            counts[row, STATE] = STATE_VALID
        return TAKEN
    paused = at - counts[row, LAST_AT] > PAUSE_NS
    limit = MAX_DROPOUT if counts[row, STATE] == STATE_VALID else MAX_MISORDER
    if 0 < ahead < limit:
        log_event(table, context, row, LOG_JUMP, at, newest + 1, ahead - 1, at - counts[row, LAST_AT], 0)
        slide(counts, row, ahead)
        counts[row, IDS] = ((counts[row, IDS] << (16 * ahead)) if ahead <= 3 else 0) | identification
        counts[row, BAD_SEQ] = -1
        if counts[row, STATE] == STATE_PROBATION and counts[row, PACKETS] - counts[row, DUPLICATES] >= STEPS_TO_PROVE:
            counts[row, STATE] = STATE_VALID
        return TAKEN
    back = 65536 - ahead if ahead else 0
    if back < MAX_MISORDER and not paused:
        return take_late(table, context, row, back, at, identification, ttl)
    if seq == counts[row, BAD_SEQ]:
        return RESTARTED
    counts[row, BAD_SEQ] = (seq + 1) & 0xFFFF
    return HELD


@njit_inline
def open_row(counts: Integers, context: Integers, row: int, seq: int, at: int, identification: int) -> None:
    """Begin a stream in a cleared row with its first packet (counted by the caller)."""
    counts[row, MAX_SEQ] = seq + 65536
    counts[row, BASE_SEQ] = seq + 65536
    counts[row, WINDOW_NEW] = ALL_RECEIVED
    counts[row, WINDOW_OLD] = ALL_RECEIVED
    counts[row, BAD_SEQ] = -1
    counts[row, STATE] = STATE_PROBATION
    counts[row, FIRST_AT] = at
    counts[row, LAST_AT] = at
    counts[row, LAST_LOST] = -1
    counts[row, IDS] = identification
    counts[row, EVENT_TYPE] = -1
    counts[row, EVENT_TIMESTAMP] = -1
    counts[row, PREVIOUS_AT] = -1
    counts[row, RESTART_OF] = -1
    counts[row, SERIAL] = context[NEXT_SERIAL]
    context[NEXT_SERIAL] += 1
