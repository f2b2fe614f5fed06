"""Kernels of jitter and delay variation, worked out for 64 packets of a stream at a time.

Symbols: `samples` holds packets that wait, two words each; `delays` their delay variation until its least value is
known; `recent` the latest delays by sequence number; `ipdv` and `pdv` are histograms, in 16 bits and what they carry.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from collector.accelerate import njit, njit_inline
from collector.loads import float_bits
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
    JOB_CLOCK,
    JOB_FORGET,
    JOB_PACKETS,
    JOB_ROW,
    JOB_SAMPLES,
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
    SETTING_INTERVAL,
    STEP_VOTES,
    TIMESTAMP_JUMPS,
    TIMESTAMP_STEP,
)
from collector.media.table import StreamArrays

Integers = NDArray[np.int64]
Delays = NDArray[np.float32]
Counts = NDArray[np.uint16]

BITS_OF_16 = 0x403 << 4
"""Exponent and upper four bits of the fraction of 16.0, as `delay_bin` reads them."""


@njit_inline
def delay_bin(milliseconds: float) -> int:
    """Class of a delay: 8 µs wide below 128 µs, then 16 classes an octave (each within 1/16 of its value)."""
    octets = milliseconds * 125.0  # in 8 µs
    if octets < 16.0:
        return max(np.int64(octets), 0)
    # Exponent and upper four bits of the fraction are octave and class; 16 is class 16.
    return min((float_bits(octets) >> 48) - BITS_OF_16 + 16, DELAY_BINS - 1)


@njit_inline
def count_delay(low: Counts, high: Counts, milliseconds: float) -> None:
    """Count a delay in a histogram."""
    place = delay_bin(milliseconds)
    count = np.int64(low[place]) + 1
    if count > 0xFFFF:
        high[place] += 1
        count = 0
    low[place] = count


@njit_inline
def close_delays(table: StreamArrays, row: int) -> None:
    """RFC 5481 4.2: once 10 s (or 512 packets) are together their least delay is known and the others count from it."""
    counts = table.counts
    sums = table.sums
    delays = table.delays
    pdv, pdv_high = table.pdv[row], table.pdv_high[row]
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
        count_delay(pdv, pdv_high, variation)
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
def neighbours_apart(
    recent: Delays, recent_seq: Counts, ipdv: Counts, ipdv_high: Counts, seq: int, delay: float, most: float
) -> float:
    """RFC 5481 4.1: the difference to the packets next to it in sequence, also when it came late; the largest yet."""
    for neighbour in (seq - 1) & 0xFFFF, (seq + 1) & 0xFFFF:
        slot = neighbour & (RECENT - 1)
        if recent_seq[slot] == neighbour // RECENT + 1:
            variation = abs(delay - recent[slot])
            most = max(most, variation)
            count_delay(ipdv, ipdv_high, variation)
    slot = seq & (RECENT - 1)
    recent_seq[slot] = seq // RECENT + 1  # 0 is an empty slot
    recent[slot] = delay
    return most


@njit_inline
def forget_delays(recent_seq: Counts) -> None:
    """From here on delays count from another base."""
    for slot in range(RECENT):
        recent_seq[slot] = 0


@njit_inline
def delays_closed(
    table: StreamArrays, row: int, waiting: int, since: int, base: float, offset: float
) -> tuple[float, float, int]:
    """`close_delays` for whoever keeps these in variables: base, offset and number of delays after it."""
    counts, sums = table.counts, table.sums
    counts[row, PDV_COUNT] = waiting
    counts[row, PDV_SINCE] = since
    sums[row, OFFSET_BASE] = base
    sums[row, OFFSET] = offset
    close_delays(table, row)
    return sums[row, OFFSET_BASE], sums[row, OFFSET], 0


@njit_inline
def measure(table: StreamArrays, row: int, samples: Integers, first: int, n: int, clock: int) -> None:
    """Interarrival jitter (in order of arrival) and delay variation (in sequence) of `n` packets of a row.

    What changes with every packet stays in variables: the compiler cannot know that arrays do not overlap.
    """
    counts, sums = table.counts[row], table.sums[row]
    delays, recent, recent_seq = table.delays[row], table.recent[row], table.recent_seq[row]
    ipdv, ipdv_high = table.ipdv[row], table.ipdv_high[row]
    per_tick = 1000.0 / clock
    at_before = counts[PREVIOUS_AT]
    timestamp_before = counts[PREVIOUS_TIMESTAMP]
    jitter, jitter_sum, jitter_max, jitters = sums[JITTER], sums[JITTER_SUM], sums[JITTER_MAX], 0
    offset, base, ipdv_max = sums[OFFSET], sums[OFFSET_BASE], sums[IPDV_MAX]
    waiting, since = counts[PDV_COUNT], counts[PDV_SINCE]
    for k in range(n):
        at = samples[first + 2 * k]
        word = samples[first + 2 * k + 1]
        timestamp = word & 0xFFFFFFFF
        closing = False
        if at_before >= 0:
            ticks = (timestamp - timestamp_before) & 0xFFFFFFFF
            if ticks >= 0x80000000:
                ticks -= 0x100000000
            # One D of RFC 3550 6.4.1 [ms]: jitter by A.8, and how far the delay has come from the first packet's.
            difference = (at - at_before) * 1e-6 - ticks * per_tick
            size = abs(difference)
            if size > 3000.0 or ((word >> SAMPLE_MARKER) & 1 == 1 and size > 400.0):
                # The sender's clock was set anew (or it stood still through silence): no packet was delayed by this.
                counts[TIMESTAMP_JUMPS] += 1
                closing = True
                forget_delays(recent_seq)
            else:
                jitter += (size - jitter) / 16.0
                jitter_sum += jitter
                jitter_max = max(jitter_max, jitter)
                jitters += 1
                offset += difference
        else:
            forget_delays(recent_seq)
        at_before = at
        timestamp_before = timestamp
        duplicate = (word >> SAMPLE_DUPLICATE) & 1
        if closing:
            base, offset, waiting = delays_closed(table, row, waiting, since, base, offset)
        if duplicate:  # the second of two packets says nothing of the path that the first did not
            continue
        seq = (word >> SAMPLE_SEQ) & 0xFFFF
        ipdv_max = neighbours_apart(recent, recent_seq, ipdv, ipdv_high, seq, base + offset, ipdv_max)
        if waiting == DELAYS_PER_ROW or (waiting > 0 and at - since > EVALUATION_NS):
            base, offset, waiting = delays_closed(table, row, waiting, since, base, offset)
        if waiting == 0:
            since = at
        delays[waiting] = offset
        waiting += 1
    counts[PREVIOUS_AT] = at_before
    counts[PREVIOUS_TIMESTAMP] = timestamp_before
    counts[JITTER_COUNT] += jitters
    counts[PDV_COUNT], counts[PDV_SINCE] = waiting, since
    sums[JITTER], sums[JITTER_SUM], sums[JITTER_MAX] = jitter, jitter_sum, jitter_max
    sums[OFFSET], sums[OFFSET_BASE], sums[IPDV_MAX] = offset, base, ipdv_max


@njit_inline
def measure_waiting(table: StreamArrays, row: int, n: int, clock: int) -> None:
    """Measure the first `n` packets of a row that wait."""
    near = table.samples.shape[1] // 2
    measure(table, row, table.samples[row], 0, min(n, near), clock)
    if n > near:
        measure(table, row, table.more_samples[row], 0, n - near, clock)


@njit
def work_out(table: StreamArrays, row: int) -> None:
    """Measure the packets of a row that wait; what was handed out of it before must be worked out."""
    n = table.counts[row, SAMPLES]
    table.counts[row, SAMPLES] = 0
    measure_waiting(table, row, n, table.counts[row, CLOCK])


@njit_inline
def hand_out(table: StreamArrays, row: int, clock: int, forget: int) -> None:
    """Let the packets of a row that wait be measured by whoever works through the jobs, in their order.

    Where intervals are cut they are measured at once: each holds the jitter at its end.
    """
    counts, samples, jobs = table.counts, table.samples[row], table.jobs
    n = counts[row, SAMPLES] if clock > 0 else 0
    counts[row, SAMPLES] = 0
    if table.settings[SETTING_INTERVAL] > 0:
        if n > 0:
            measure_waiting(table, row, n, clock)
        if forget:
            counts[row, PREVIOUS_AT] = -1
        return
    k = jobs[0, JOB_SAMPLES] + 1
    jobs[0, JOB_SAMPLES] = k
    job = jobs[k]
    job[JOB_ROW] = row
    job[JOB_CLOCK] = clock
    job[JOB_SAMPLES] = n
    job[JOB_FORGET] = forget
    for i in range(2 * n):
        job[JOB_PACKETS + i] = samples[i]


@njit
def work_through(table: StreamArrays) -> None:
    """Do all jobs. Another thread may walk meanwhile: what is written here the walk neither reads nor writes."""
    jobs = table.jobs
    for k in range(1, jobs[0, JOB_SAMPLES] + 1):
        job = jobs[k]
        if job[JOB_SAMPLES] > 0:
            measure(table, job[JOB_ROW], job, JOB_PACKETS, job[JOB_SAMPLES], job[JOB_CLOCK])
        if job[JOB_FORGET]:
            table.counts[job[JOB_ROW], PREVIOUS_AT] = -1
    jobs[0, JOB_SAMPLES] = 0


@njit_inline
def add_sample(table: StreamArrays, row: int, at: int, timestamp: int, seq: int, marker: int, duplicate: int) -> None:
    """Keep a packet for `work_out`."""
    counts, samples, more = table.counts, table.samples, table.more_samples
    near = samples.shape[1]
    k = counts[row, SAMPLES]
    if k == SAMPLES_PER_ROW:  # its clock is not known yet: the newest are kept
        for i in range(2 * SAMPLES_PER_ROW - 2):
            value = samples[row, i + 2] if i + 2 < near else more[row, i + 2 - near]
            if i < near:
                samples[row, i] = value
            else:
                more[row, i - near] = value
        k -= 1
    content = timestamp | (marker << SAMPLE_MARKER) | (duplicate << SAMPLE_DUPLICATE) | (seq << SAMPLE_SEQ)
    if 2 * k < near:
        samples[row, 2 * k] = at
        samples[row, 2 * k + 1] = content
    else:
        more[row, 2 * k - near] = at
        more[row, 2 * k + 1 - near] = content
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
