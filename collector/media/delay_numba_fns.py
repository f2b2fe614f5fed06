"""Kernels of jitter and delay variation, worked out for 64 packets of a stream at a time.

Symbols: `samples` holds arrival and timestamp of packets that wait, `delays` their delay variation until its least
value is known; `ipdv` and `pdv` are histograms.
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
    IPDV_SUM,
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


@njit
def work_out(table: StreamArrays, row: int) -> None:
    """Interarrival jitter (RFC 3550 A.8, in order of arrival) and delay variation of the packets that wait."""
    counts = table.counts
    sums = table.sums
    samples = table.samples
    delays = table.delays
    ipdv = table.ipdv
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
                close_delays(table, row)
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
            close_delays(table, row)
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
def add_sample(table: StreamArrays, row: int, at: int, timestamp: int, marker: int) -> None:
    """Keep a packet for `work_out`; the marker bit rides above the timestamp."""
    counts = table.counts
    samples = table.samples
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
