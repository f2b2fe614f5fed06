"""Kernels for what nearly every packet of a large capture is: the next voice packet of a stream that is well known.

Such a packet needs few of the many questions that `walk` asks of any packet, so they are asked here in one go; what is
anything else is left to `walk` as it stands. The outcome is the same, only sooner: a test holds both beside each other.

A busy capture touches more streams than the processor's near caches hold. So some packets are looked at ahead, and the
memory of their rows is asked for; when their turn comes it is there. What was seen ahead decides nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from collector.accelerate import njit_inline
from collector.capture.columns import (
    AHEAD_BEGIN,
    AHEAD_END,
    AHEAD_PACKETS,
    AHEAD_POSITION,
    AHEAD_ROW,
    FIRST,
    LAST,
    LINK_TYPE,
    PACKETS,
    POSITION,
    RTP_PACKETS,
    TICKS_PER_SECOND,
    TIME_OFFSET,
    UNTIL,
)
from collector.capture.dissect_numba_fns import MAPPED
from collector.loads import inside_be16, inside_be32, inside_le32, prefetch, put, word
from collector.media.columns import (
    AFTER_COMFORT_NOISE,
    BAD_SEQ,
    CLOCK,
    COUNT_COLUMNS,
    DSCP_NOW,
    DSCP_RUN,
    EVENT_TYPE,
    HELD_AT,
    HOT_COLUMNS,
    IDS,
    KEY_DST_HI,
    KEY_DST_LO,
    KEY_PORTS,
    KEY_SRC_HI,
    KEY_SRC_LO,
    KEY_SSRC,
    LAST_AT,
    LAST_TIMESTAMP,
    LOST_RUN,
    MAX_DELTA,
    MAX_SEQ,
    OCTETS,
    PAYLOAD_TYPE,
    PAYLOAD_TYPE_RUN,
    SAMPLE_SEQ,
    SAMPLES,
    SEQUENTIAL,
    STATE,
    STATE_VALID,
    STEP_VOTES,
    TIMESTAMP_STEP,
    TTL_LAST,
    WINDOW_NEW,
    WINDOW_OLD,
)
from collector.media.columns import PACKETS as ROW_PACKETS
from collector.media.rtp_numba_fns import mixed_key
from collector.media.table import StreamArrays, WalkArrays

Octets = NDArray[np.uint8]
Integers = NDArray[np.int64]

RECORD = 16
"""Octets of a pcap record's header."""
HEADERS = 14 + 20 + 8 + 12
"""Octets of Ethernet, IPv4 without options, UDP and RTP without extension."""
LARGEST = 14 + 65535
LINE_WORDS = 8
"""Words of a cache line."""
LINE = 64
RECORDS_ON = 8
"""How many packets on the capture itself is asked for, should they be as long as the one in hand."""


@njit_inline
def plain_length(window: Octets, length: int, at: int) -> int:
    """Octets of the frame whose record begins at `at` when it can be plain RTP, all of it captured; otherwise 0.

    When it is not 0, all headers lie within the window.
    """
    if at < 0 or length - at < RECORD + HEADERS or length > window.shape[0]:
        return 0
    captured = inside_le32(window, at + 8)
    if captured != inside_le32(window, at + 12) or captured > LARGEST or length - at - RECORD < captured:
        return 0
    # EtherType 0x0800 and version 4 with 5 words of header; then neither fragment nor anything but UDP.
    is_ipv4 = inside_le32(window, at + 28) & 0xFFFFFF == 0x450008
    is_udp = inside_le32(window, at + 36) & 0xFF00FF3F == 0x11000000
    # Version 2 without padding, extension and contributing sources, no marker: no RTCP packet type either.
    is_rtp = inside_le32(window, at + 58) & 0x80FF == 0x80
    octets = inside_be16(window, at + 32)
    if not (is_ipv4 and is_udp and is_rtp):
        return 0
    if octets + 14 != captured or inside_be16(window, at + 54) + 20 != octets or octets < HEADERS - 14:
        return 0
    return captured


@njit_inline
def look_ahead(window: Octets, length: int, context: Integers, ahead: Integers, table: StreamArrays) -> None:
    """Note some plain packets from context[POSITION] on, and ask for the memory of their rows.

    Each turn asks for what the next one reads: slots, then rows, then where their samples are written.
    """
    slots, counts, samples = table.slots, table.counts, table.samples
    at = context[POSITION]
    found = 0
    while found < AHEAD_PACKETS:
        captured = plain_length(window, length, at)
        if captured == 0:
            break
        prefetch(window, at + RECORDS_ON * (RECORD + captured))
        prefetch(window, at + RECORDS_ON * (RECORD + captured) + LINE)
        src, dst = MAPPED | inside_be32(window, at + 42), MAPPED | inside_be32(window, at + 46)
        ports, ssrc = inside_be32(window, at + 50), inside_be32(window, at + 66)
        slot = mixed_key(0, src, 0, dst, ports, ssrc, slots.shape[0] - 1)
        ahead[found, AHEAD_POSITION] = at
        ahead[found, AHEAD_ROW] = slot
        prefetch(slots, slot)
        at += RECORD + captured
        found += 1
    for place in range(found):
        row = slots[ahead[place, AHEAD_ROW]] - 1
        ahead[place, AHEAD_ROW] = row
        begin = row * COUNT_COLUMNS
        for column in range(0, HOT_COLUMNS, LINE_WORDS):
            prefetch(counts, begin + column)
        prefetch(counts, begin + HOT_COLUMNS - 1)
    for place in range(found):
        row = ahead[place, AHEAD_ROW]
        if 0 <= row < counts.shape[0]:
            prefetch(samples, row * samples.shape[1] + 2 * word(counts, row, SAMPLES))
    context[AHEAD_BEGIN] = 0
    context[AHEAD_END] = found


@njit_inline
def is_next(window: Octets, at: int, counts: Integers, row: int, waiting: int) -> bool:
    """Whether the packet is the next one of the row's stream, and nothing is to be said of it but that it came.

    With it fewer than `waiting` packets of the row wait.
    """
    src, dst = MAPPED | inside_be32(window, at + 42), MAPPED | inside_be32(window, at + 46)
    if (
        word(counts, row, KEY_SSRC) != inside_be32(window, at + 66)
        or word(counts, row, KEY_PORTS) != inside_be32(window, at + 50)
        or word(counts, row, KEY_SRC_LO) != src
        or word(counts, row, KEY_DST_LO) != dst
        or word(counts, row, KEY_SRC_HI) != 0
        or word(counts, row, KEY_DST_HI) != 0
    ):
        return False
    if (
        (word(counts, row, MAX_SEQ) + 1) & 0xFFFF != inside_be16(window, at + 60)
        or word(counts, row, WINDOW_OLD) >= 0
        or word(counts, row, LOST_RUN) != 0
        or word(counts, row, STATE) != STATE_VALID
        or word(counts, row, HELD_AT) > 0
        or word(counts, row, SAMPLES) >= waiting - 1
        or word(counts, row, CLOCK) <= 0
        or word(counts, row, AFTER_COMFORT_NOISE) != 0
        or word(counts, row, DSCP_NOW) != inside_le32(window, at + 28) >> 26
    ):
        return False
    kind = inside_be16(window, at + 58) & 127
    events = word(counts, row, EVENT_TYPE)
    return bool(
        kind == word(counts, row, PAYLOAD_TYPE)
        and word(counts, row, PAYLOAD_TYPE_RUN) > 0
        and kind != 13
        and kind != 19
        and (events < 0 or (kind != events & 255 and kind != events >> 8))
    )


@njit_inline
def take_next(window: Octets, at: int, captured_at: int, table: StreamArrays, row: int) -> None:
    """What `take_rtp` does with such a packet."""
    counts = table.counts
    sequence = word(counts, row, MAX_SEQ) + 1
    put(counts, row, MAX_SEQ, sequence)
    new = word(counts, row, WINDOW_NEW)
    put(counts, row, WINDOW_OLD, (word(counts, row, WINDOW_OLD) << 1) | (1 if new < 0 else 0))
    put(counts, row, WINDOW_NEW, (new << 1) | 1)
    put(counts, row, SEQUENTIAL, word(counts, row, SEQUENTIAL) + 1)
    put(counts, row, IDS, (word(counts, row, IDS) << 16) | inside_be16(window, at + 34))
    put(counts, row, BAD_SEQ, -1)
    put(counts, row, MAX_DELTA, max(word(counts, row, MAX_DELTA), captured_at - word(counts, row, LAST_AT)))
    put(counts, row, LAST_AT, captured_at)
    put(counts, row, TTL_LAST, (inside_le32(window, at + 36) >> 16) & 255)
    put(counts, row, ROW_PACKETS, word(counts, row, ROW_PACKETS) + 1)
    put(counts, row, OCTETS, word(counts, row, OCTETS) + inside_be16(window, at + 54) - 20)
    put(counts, row, DSCP_RUN, word(counts, row, DSCP_RUN) + 1)
    put(counts, row, PAYLOAD_TYPE_RUN, word(counts, row, PAYLOAD_TYPE_RUN) + 1)
    timestamp = inside_be32(window, at + 62)
    step = (timestamp - word(counts, row, LAST_TIMESTAMP)) & 0xFFFFFFFF
    put(counts, row, LAST_TIMESTAMP, timestamp)
    votes = word(counts, row, STEP_VOTES)
    if step == word(counts, row, TIMESTAMP_STEP):
        put(counts, row, STEP_VOTES, votes + 1)
    elif votes == 0:
        put(counts, row, TIMESTAMP_STEP, step)
        put(counts, row, STEP_VOTES, 1)
    else:
        put(counts, row, STEP_VOTES, votes - 1)
    k = word(counts, row, SAMPLES)
    table.samples[row, 2 * k] = captured_at
    table.samples[row, 2 * k + 1] = timestamp | (sequence & 0xFFFF) << SAMPLE_SEQ
    put(counts, row, SAMPLES, k + 1)


@njit_inline
def take_plain(window: Octets, length: int, arrays: WalkArrays, table: StreamArrays) -> None:
    """Take plain packets of a little-endian pcap file from context[POSITION] on, up to the first that is not plain."""
    context, interfaces, ahead = arrays.context, arrays.interfaces, arrays.ahead
    counts, waiting = table.counts, table.samples.shape[1] // 2
    if counts.shape[1] < HOT_COLUMNS or interfaces[0, LINK_TYPE] != 1:
        return
    unit = 1000 if interfaces[0, TICKS_PER_SECOND] == 1_000_000 else 1
    offset, until = interfaces[0, TIME_OFFSET], context[UNTIL]
    first, last = context[FIRST], context[LAST]
    position, taken = context[POSITION], 0
    place, end = context[AHEAD_BEGIN], context[AHEAD_END]
    while True:
        if place >= end or ahead[place, AHEAD_POSITION] != position:
            context[POSITION] = position
            look_ahead(window, length, context, ahead, table)
            place, end = 0, context[AHEAD_END]
            if end == 0:
                break
        row = ahead[place, AHEAD_ROW]
        place += 1
        seconds, fraction = inside_le32(window, position), inside_le32(window, position + 4)
        at = seconds * 1_000_000_000 + fraction * unit + offset
        if at > until or row < 0 or row >= counts.shape[0] or not is_next(window, position, counts, row, waiting):
            break
        take_next(window, position, at, table, row)
        first, last = min(first, at), max(last, at)
        position += RECORD + inside_le32(window, position + 8)
        taken += 1
    context[AHEAD_BEGIN] = place
    context[POSITION] = position
    context[FIRST], context[LAST] = first, last
    context[PACKETS] += taken
    arrays.counters[RTP_PACKETS] += taken
