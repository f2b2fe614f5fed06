"""Kernels of the stream table: one RTP packet updates its stream's row, every 64 packets the delays are worked out.

Symbols: `row` is a stream's row; `counts`, `sums` and `types` are as in `columns`; `samples` holds arrival and
timestamp of packets whose jitter is not worked out yet; `delays` their delay variation until its least value is
known; `ipdv` and `pdv` are histograms; `log` receives events. Sequence numbers are extended: cycle * 65536 + number.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from collector.accelerate import njit, njit_inline
from collector.capture.columns import EVENT_COUNT, NEXT_SERIAL
from collector.media.columns import (
    BAD_SEQ,
    BASE_SEQ,
    BURST_LOST,
    BURST_PACKETS,
    BURSTS,
    CLOCK,
    CLUSTER_LOST,
    CLUSTER_PACKETS,
    COPIES,
    COPY_NO_ID_NS,
    COPY_NS,
    DELAY_BINS,
    DELAYS_PER_ROW,
    DRIFT_COUNT,
    DRIFT_X,
    DRIFT_XX,
    DRIFT_XY,
    DRIFT_Y,
    DUPLICATES,
    EVALUATION_NS,
    EVENT_AT,
    EVENT_CODE,
    EVENT_DURATION,
    EVENT_ENDED,
    EVENT_PACKETS,
    EVENT_PACKETS_ALL,
    EVENT_SEQ_FIRST,
    EVENT_SEQ_LAST,
    EVENT_TIMESTAMP,
    EVENT_TYPE,
    EVENT_VOLUME,
    EVENTS_LOGGED,
    EVENTS_PER_STREAM,
    EVENTS_UNLOGGED,
    FIRST_AT,
    GMIN,
    IDS,
    IPDV_MAX,
    IPDV_SUM,
    JITTER,
    JITTER_COUNT,
    JITTER_MAX,
    JITTER_SUM,
    LAST_AT,
    LAST_LOST,
    LOG_A,
    LOG_AT,
    LOG_B,
    LOG_C,
    LOG_D,
    LOG_EVENT,
    LOG_JUMP,
    LOG_KIND,
    LOG_LATE,
    LOG_SERIAL,
    LOSS_RUNS,
    LOST,
    LOST_RUN,
    MAX_DROPOUT,
    MAX_MISORDER,
    MAX_SEQ,
    OFFSET,
    OFFSET_BASE,
    PAUSE_NS,
    PDV_COUNT,
    PDV_MAX,
    PDV_SINCE,
    PREVIOUS_AT,
    PREVIOUS_TIMESTAMP,
    REORDERED,
    RESTART_OF,
    RUN_CLASSES_AT,
    SAMPLES,
    SAMPLES_PER_ROW,
    SEQUENTIAL,
    SERIAL,
    STATE,
    STATE_PROBATION,
    STATE_VALID,
    STEP_VOTES,
    TIMESTAMP_JUMPS,
    TIMESTAMP_STEP,
    TTL_LAST,
    WINDOW_BITS,
    WINDOW_NEW,
    WINDOW_OLD,
)

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
Histograms = NDArray[np.int32]

ALL_RECEIVED = -1  # both halves of the window, as int64
SIGN = -(2**63)

# What became of a packet.
TAKEN = 0
COPY = 1
HELD = 2  # may begin a restart; the next packet tells
RESTARTED = 3  # it did: open a new row
NEWLY_VALID = 4


@njit_inline
def log_event(
    log: Integers, context: Integers, counts: Integers, row: int, kind: int, at: int, a: int, b: int, c: int, d: int
) -> None:
    """Write an event down; a stream has room for a stated number, the rest is only counted."""
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
def delay_bin(milliseconds: float) -> int:
    """Class of a delay: 8 µs wide below 128 µs, then 16 classes an octave (each within 1/16 of its value)."""
    octets = np.int64(milliseconds * 125.0)  # in 8 µs
    if octets < 16:
        return max(octets, 0)
    shift = 0
    while octets >= 32:
        octets >>= 1
        shift += 1
    return min(16 * shift + octets, DELAY_BINS - 1)


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
    log: Integers, context: Integers, counts: Integers, row: int, back: int, at: int, identification: int, ttl: int
) -> int:
    """A number at or before the newest: reordered, a duplicate, or a mirror's copy."""
    extended = counts[row, MAX_SEQ] - back
    if extended >= counts[row, BASE_SEQ] and back < WINDOW_BITS and window_bit(counts, row, back):
        if is_copy(counts, row, back, at, identification, ttl):
            counts[row, COPIES] += 1
            return COPY
        counts[row, DUPLICATES] += 1
        return TAKEN
    counts[row, REORDERED] += 1
    if back >= WINDOW_BITS:
        return TAKEN
    if extended < counts[row, BASE_SEQ]:  # the first packets came out of order: the stream began earlier
        missing = counts[row, BASE_SEQ] - extended - 1
        for k in range(back - missing, back):
            clear_window_bit(counts, row, k)
        counts[row, BASE_SEQ] = extended
        if missing:
            log_event(log, context, counts, row, LOG_JUMP, at, extended + 1, missing, 0, 0)
    else:
        log_event(log, context, counts, row, LOG_LATE, at, extended, 0, 0, 0)
    set_window_bit(counts, row, back)
    if back <= 3:  # a tap's copy of it may follow
        counts[row, IDS] &= ~(np.int64(0xFFFF) << (16 * back))
        counts[row, IDS] |= np.int64(identification) << (16 * back)
    return TAKEN


@njit_inline
def take_sequence(
    log: Integers,
    context: Integers,
    counts: Integers,
    row: int,
    seq: int,
    at: int,
    identification: int,
    ttl: int,
) -> int:
    """RFC 3550 A.1 with a window behind it, so that late packets, duplicates and losses are told apart exactly."""
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
            return NEWLY_VALID
        return TAKEN
    paused = at - counts[row, LAST_AT] > PAUSE_NS
    limit = MAX_DROPOUT if counts[row, STATE] == STATE_VALID else MAX_MISORDER
    if 0 < ahead < limit:
        log_event(log, context, counts, row, LOG_JUMP, at, newest + 1, ahead - 1, at - counts[row, LAST_AT], 0)
        slide(counts, row, ahead)
        counts[row, IDS] = ((counts[row, IDS] << (16 * ahead)) if ahead <= 3 else 0) | identification
        counts[row, BAD_SEQ] = -1
        return TAKEN
    back = 65536 - ahead if ahead else 0
    if back < MAX_MISORDER and not paused:
        return take_late(log, context, counts, row, back, at, identification, ttl)
    if seq == counts[row, BAD_SEQ]:
        return RESTARTED
    counts[row, BAD_SEQ] = (seq + 1) & 0xFFFF
    return HELD


@njit_inline
def close_telephone_event(log: Integers, context: Integers, counts: Integers, row: int) -> None:
    if counts[row, EVENT_TIMESTAMP] < 0:
        return
    log_event(
        log,
        context,
        counts,
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
def take_telephone_event(
    log: Integers, context: Integers, counts: Integers, row: int, at: int, timestamp: int, word: int
) -> None:
    """RFC 4733 2.3: `word` is event, end bit, volume and duration, or -1 when the snap length cut it off."""
    counts[row, EVENT_PACKETS_ALL] += 1
    if counts[row, EVENT_TIMESTAMP] != timestamp:
        close_telephone_event(log, context, counts, row)
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


@njit_inline
def close_delays(counts: Integers, sums: Floats, delays: Floats, pdv: Histograms, row: int) -> None:
    """RFC 5481 4.2: once 10 s (or 512 packets) are together their least delay is known and the others count from it."""
    n = counts[row, PDV_COUNT]
    if n == 0:
        return
    least = delays[row, 0]
    for k in range(1, n):
        least = min(least, delays[row, k])
    most = sums[row, PDV_MAX]
    for k in range(n):
        variation = delays[row, k] - least
        most = max(most, variation)
        pdv[row, delay_bin(variation)] += 1
    sums[row, PDV_MAX] = most
    if n >= 32:  # least delays over time lie on the line of the two clocks' difference
        x = (counts[row, PDV_SINCE] - counts[row, FIRST_AT]) * 1e-9
        y = sums[row, OFFSET_BASE] + least
        counts[row, DRIFT_COUNT] += 1
        sums[row, DRIFT_X] += x
        sums[row, DRIFT_Y] += y
        sums[row, DRIFT_XX] += x * x
        sums[row, DRIFT_XY] += x * y
    counts[row, PDV_COUNT] = 0
    sums[row, OFFSET_BASE] += sums[row, OFFSET]
    sums[row, OFFSET] = 0.0


@njit
def work_out(
    counts: Integers, sums: Floats, samples: Integers, delays: Floats, ipdv: Histograms, pdv: Histograms, row: int
) -> None:
    """Interarrival jitter (RFC 3550 A.8, in order of arrival) and delay variation of the packets that wait."""
    n = counts[row, SAMPLES]
    counts[row, SAMPLES] = 0
    per_tick = 1000.0 / counts[row, CLOCK]
    at_before = counts[row, PREVIOUS_AT]
    timestamp_before = counts[row, PREVIOUS_TIMESTAMP]
    jitter = sums[row, JITTER]
    for k in range(n):
        at = samples[row, 2 * k]
        timestamp = samples[row, 2 * k + 1] & 0xFFFFFFFF
        if at_before >= 0:
            ticks = (timestamp - timestamp_before) & 0xFFFFFFFF
            if ticks >= 0x80000000:
                ticks -= 0x100000000
            d = (at - at_before) * 1e-6 - ticks * per_tick  # RFC 3550 6.4.1, in ms
            marker = samples[row, 2 * k + 1] >> 32
            if abs(d) > 3000.0 or (marker == 1 and abs(d) > 400.0):
                # The sender's clock was set anew (or it stood still through silence): no packet was delayed by this.
                counts[row, TIMESTAMP_JUMPS] += 1
                close_delays(counts, sums, delays, pdv, row)
            else:
                size = abs(d)
                jitter += (size - jitter) / 16.0
                sums[row, JITTER_SUM] += jitter
                sums[row, JITTER_MAX] = max(sums[row, JITTER_MAX], jitter)
                counts[row, JITTER_COUNT] += 1
                sums[row, OFFSET] += d
                sums[row, IPDV_SUM] += size
                sums[row, IPDV_MAX] = max(sums[row, IPDV_MAX], size)
                ipdv[row, delay_bin(size)] += 1
        if counts[row, PDV_COUNT] == DELAYS_PER_ROW or (
            counts[row, PDV_COUNT] > 0 and at - counts[row, PDV_SINCE] > EVALUATION_NS
        ):
            close_delays(counts, sums, delays, pdv, row)
        if counts[row, PDV_COUNT] == 0:
            counts[row, PDV_SINCE] = at
        delays[row, counts[row, PDV_COUNT]] = sums[row, OFFSET]
        counts[row, PDV_COUNT] += 1
        at_before = at
        timestamp_before = timestamp
    sums[row, JITTER] = jitter
    counts[row, PREVIOUS_AT] = at_before
    counts[row, PREVIOUS_TIMESTAMP] = timestamp_before


@njit_inline
def add_sample(counts: Integers, samples: Integers, row: int, at: int, timestamp: int, marker: int) -> None:
    """Keep a packet for `work_out`; the marker bit rides above the timestamp."""
    k = counts[row, SAMPLES]
    if k == SAMPLES_PER_ROW:  # its clock is not known yet: the newest are kept
        for i in range(2 * SAMPLES_PER_ROW - 2):
            samples[row, i] = samples[row, i + 2]
        k -= 1
    samples[row, 2 * k] = at
    samples[row, 2 * k + 1] = timestamp | (marker << 32)
    counts[row, SAMPLES] = k + 1


@njit_inline
def vote_step(counts: Integers, row: int, ticks: int) -> None:
    """Majority vote (Boyer and Moore) for the timestamp step between neighbours: the packetisation time."""
    if counts[row, TIMESTAMP_STEP] == ticks:
        counts[row, STEP_VOTES] += 1
    elif counts[row, STEP_VOTES] == 0:
        counts[row, TIMESTAMP_STEP] = ticks
        counts[row, STEP_VOTES] = 1
    else:
        counts[row, STEP_VOTES] -= 1


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


@njit
def settle(
    counts: Integers,
    sums: Floats,
    samples: Integers,
    delays: Floats,
    ipdv: Histograms,
    pdv: Histograms,
    log: Integers,
    context: Integers,
    row: int,
) -> None:
    """A stream's end: work out what waits and let the window run empty."""
    if counts[row, CLOCK] > 0 and counts[row, SAMPLES] > 0:
        work_out(counts, sums, samples, delays, ipdv, pdv, row)
    close_delays(counts, sums, delays, pdv, row)
    close_telephone_event(log, context, counts, row)
    newest = counts[row, MAX_SEQ]
    slide(counts, row, WINDOW_BITS)
    counts[row, MAX_SEQ] = newest
    close_cluster(counts, row)
