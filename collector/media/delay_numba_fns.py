"""Kernels of jitter and delay variation, worked out for 64 packets of a stream at a time.

Symbols: `samples` holds packets that wait, two words each; `delays` their delay variation until its least value is
known; `recent` the latest delays by sequence number; `ipdv` and `pdv` are histograms.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from collector.accelerate import njit, njit_inline
from collector.media.columns import (
    CLOCK,
    DELAY_BINS,
    DELAYS_PER_ROW,
    DRIFT_COUNT,
    DRIFT_X,
    DRIFT_XX,
    DRIFT_XY,
    DRIFT_Y,
    EVALUATION_NS,
    FIRST_AT,
    IPDV_MAX,
    JITTER,
    JITTER_COUNT,
    JITTER_MAX,
    JITTER_SUM,
    OFFSET,
    OFFSET_BASE,
    PDV_COUNT,
    PDV_MAX,
    PDV_SINCE,
    PREVIOUS_AT,
    PREVIOUS_TIMESTAMP,
    RECENT,
    SAMPLE_DUPLICATE,
    SAMPLE_MARKER,
    SAMPLE_SEQ,
    SAMPLES,
    SAMPLES_PER_ROW,
    STEP_VOTES,
    TIMESTAMP_JUMPS,
    TIMESTAMP_STEP,
)
from collector.media.table import StreamArrays

Integers = NDArray[np.int64]


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
def close_delays(table: StreamArrays, row: int) -> None:
    """RFC 5481 4.2: once 10 s (or 512 packets) are together their least delay is known and the others count from it."""
    counts = table.counts
    sums = table.sums
    delays = table.delays
    pdv = table.pdv
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


@njit_inline
def note_delay(table: StreamArrays, row: int, seq: int, delay: float) -> None:
    """RFC 5481 4.1: the difference to the packets next to it in sequence, also when it came late."""
    recent, sums = table.recent, table.sums
    for neighbour in (seq - 1) & 0xFFFF, (seq + 1) & 0xFFFF:
        slot = 2 * (neighbour % RECENT)
        if recent[row, slot] == neighbour + 1:
            variation = abs(delay - recent[row, slot + 1])
            sums[row, IPDV_MAX] = max(sums[row, IPDV_MAX], variation)
            table.ipdv[row, delay_bin(variation)] += 1
    slot = 2 * (seq % RECENT)
    recent[row, slot] = seq + 1  # 0 is an empty slot
    recent[row, slot + 1] = delay


@njit_inline
def forget_delays(table: StreamArrays, row: int) -> None:
    """From here on delays count from another base."""
    for slot in range(0, 2 * RECENT, 2):
        table.recent[row, slot] = 0.0


@njit_inline
def take_transit(table: StreamArrays, row: int, difference: float, marker: int) -> None:
    """One D of RFC 3550 6.4.1 [ms]: jitter by A.8, and how far the delay has come from the first packet's."""
    counts, sums = table.counts, table.sums
    size = abs(difference)
    if size > 3000.0 or (marker == 1 and size > 400.0):
        # The sender's clock was set anew (or it stood still through silence): no packet was delayed by this.
        counts[row, TIMESTAMP_JUMPS] += 1
        close_delays(table, row)
        forget_delays(table, row)
        return
    jitter = sums[row, JITTER] + (size - sums[row, JITTER]) / 16.0
    sums[row, JITTER] = jitter
    sums[row, JITTER_SUM] += jitter
    sums[row, JITTER_MAX] = max(sums[row, JITTER_MAX], jitter)
    counts[row, JITTER_COUNT] += 1
    sums[row, OFFSET] += difference


@njit
def work_out(table: StreamArrays, row: int) -> None:
    """Interarrival jitter (in order of arrival) and delay variation (in sequence) of the packets that wait."""
    counts, sums, samples = table.counts, table.sums, table.samples
    n = counts[row, SAMPLES]
    counts[row, SAMPLES] = 0
    per_tick = 1000.0 / counts[row, CLOCK]
    at_before = counts[row, PREVIOUS_AT]
    timestamp_before = counts[row, PREVIOUS_TIMESTAMP]
    for k in range(n):
        at = samples[row, 2 * k]
        word = samples[row, 2 * k + 1]
        timestamp = word & 0xFFFFFFFF
        if at_before >= 0:
            ticks = (timestamp - timestamp_before) & 0xFFFFFFFF
            if ticks >= 0x80000000:
                ticks -= 0x100000000
            difference = (at - at_before) * 1e-6 - ticks * per_tick
            take_transit(table, row, difference, (word >> SAMPLE_MARKER) & 1)
        else:
            forget_delays(table, row)
        at_before = at
        timestamp_before = timestamp
        if (word >> SAMPLE_DUPLICATE) & 1:  # the second of two packets says nothing of the path that the first did not
            continue
        note_delay(table, row, (word >> SAMPLE_SEQ) & 0xFFFF, sums[row, OFFSET_BASE] + sums[row, OFFSET])
        if counts[row, PDV_COUNT] == DELAYS_PER_ROW or (
            counts[row, PDV_COUNT] > 0 and at - counts[row, PDV_SINCE] > EVALUATION_NS
        ):
            close_delays(table, row)
        if counts[row, PDV_COUNT] == 0:
            counts[row, PDV_SINCE] = at
        table.delays[row, counts[row, PDV_COUNT]] = sums[row, OFFSET]
        counts[row, PDV_COUNT] += 1
    counts[row, PREVIOUS_AT] = at_before
    counts[row, PREVIOUS_TIMESTAMP] = timestamp_before


@njit_inline
def add_sample(table: StreamArrays, row: int, at: int, timestamp: int, seq: int, marker: int, duplicate: int) -> None:
    """Keep a packet for `work_out`."""
    counts, samples = table.counts, table.samples
    k = counts[row, SAMPLES]
    if k == SAMPLES_PER_ROW:  # its clock is not known yet: the newest are kept
        for i in range(2 * SAMPLES_PER_ROW - 2):
            samples[row, i] = samples[row, i + 2]
        k -= 1
    samples[row, 2 * k] = at
    samples[row, 2 * k + 1] = (
        timestamp | (marker << SAMPLE_MARKER) | (duplicate << SAMPLE_DUPLICATE) | (seq << SAMPLE_SEQ)
    )
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
