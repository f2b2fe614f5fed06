"""Kernels that find the next packet record in a window: pcap records and pcapng blocks.

Symbols: `window` holds `length` octets of the capture, context[POSITION] is where the record begins; `record`
receives where its packet lies and when it was captured.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from collector.accelerate import njit_inline
from collector.capture.columns import (
    INTERFACE_UNKNOWN,
    INTERFACES,
    LAST,
    LINK_TYPE,
    POSITION,
    RECORD_HEADER,
    SNAP_LENGTH,
    STOP_BLOCK,
    STOP_CORRUPT,
    STOP_MORE,
    SWAPPED,
    TICKS_PER_SECOND,
    TIME_MISSING,
    TIME_OFFSET,
)
from collector.loads import be16, be32, le32

Octets = NDArray[np.uint8]
Integers = NDArray[np.int64]

MAX_RECORD = 1 << 18
"""A packet record longer than this is no packet (the pcap format's own bound, 262,144 octets)."""
MAX_BLOCK = 1 << 25

# Columns of `record`.
DATA = 0
DATA_END = 1
WIRE_END = 2
AT = 3
LINK = 4
NEXT = 5
TIMED = 6

# What is said of a record, beside the reasons to stop.
NO_STOP = -1
SKIP = -2


@njit_inline
def u32(window: Octets, at: int, swapped: int) -> int:
    return be32(window, at) if swapped else le32(window, at)


@njit_inline
def nanoseconds(ticks: int, per_second: int) -> int:
    """Capture ticks in ns; hostile values wrap, they do not fail."""
    if per_second == 1_000_000:
        return ticks * 1000
    if per_second == 1_000_000_000:
        return ticks
    seconds = ticks // per_second
    rest = ticks - seconds * per_second
    if per_second < 9_000_000_000:
        return seconds * 1_000_000_000 + rest * 1_000_000_000 // per_second
    if per_second % 1_000_000_000 == 0:
        return seconds * 1_000_000_000 + rest // (per_second // 1_000_000_000)
    return seconds * 1_000_000_000 + np.int64(rest * (1e9 / per_second))  # the product would leave 64 bits


@njit_inline
def pcap_record(window: Octets, length: int, context: Integers, interfaces: Integers, record: Integers) -> int:
    """One record of a classic pcap file (draft-ietf-opsawg-pcap 5)."""
    at = context[POSITION]
    header = context[RECORD_HEADER]
    if length - at < header:
        return STOP_MORE
    swapped = context[SWAPPED]
    captured = u32(window, at + 8, swapped)
    wire = u32(window, at + 12, swapped)
    if captured > MAX_RECORD and captured > interfaces[0, SNAP_LENGTH]:
        return STOP_CORRUPT
    if captured > MAX_BLOCK:
        return STOP_CORRUPT
    if length - at < header + captured:
        return STOP_MORE
    fraction = u32(window, at + 4, swapped)
    per_second = interfaces[0, TICKS_PER_SECOND]
    record[AT] = u32(window, at, swapped) * 1_000_000_000 + (fraction * 1000 if per_second == 1_000_000 else fraction)
    record[AT] += interfaces[0, TIME_OFFSET]
    record[TIMED] = 1
    record[DATA] = at + header
    record[DATA_END] = at + header + captured
    record[WIRE_END] = at + header + max(wire, captured)
    record[LINK] = interfaces[0, LINK_TYPE]
    record[NEXT] = at + header + captured
    return NO_STOP


@njit_inline
def pcapng_block(
    window: Octets, length: int, context: Integers, interfaces: Integers, counters: Integers, record: Integers
) -> int:
    """One block of a pcapng file (draft-ietf-opsawg-pcapng 4); blocks that hold no packet go to Python."""
    at = context[POSITION]
    if length - at < 12:
        return STOP_MORE
    swapped = context[SWAPPED]
    kind = u32(window, at, swapped)
    if kind == 0x0A0D0D0A:
        return STOP_BLOCK
    size = u32(window, at + 4, swapped)
    if size < 12 or size & 3 or size > MAX_BLOCK:
        return STOP_CORRUPT
    if kind != 6 and kind != 3 and kind != 2:
        return STOP_BLOCK
    if length - at < size:
        return STOP_MORE
    if u32(window, at + size - 4, swapped) != size or size < (16 if kind == 3 else 32):
        return STOP_CORRUPT
    record[NEXT] = at + size
    if kind == 3:  # simple packet: interface 0, no time
        index = 0
        wire = u32(window, at + 8, swapped)
        captured = min(wire, size - 16)
        if interfaces[0, SNAP_LENGTH] > 0:
            captured = min(captured, interfaces[0, SNAP_LENGTH])
        data = at + 12
        stamp = max(context[LAST], 0)  # that of the packet before; the packet itself has none
        counters[TIME_MISSING] += 1
    else:
        if kind == 6:
            index = u32(window, at + 8, swapped)
        else:  # obsolete packet block: interface and drops, 16 bits each
            index = be16(window, at + 8) if swapped else np.int64(window[at + 8]) | (np.int64(window[at + 9]) << 8)
        captured = u32(window, at + 20, swapped)
        wire = u32(window, at + 24, swapped)
        data = at + 28
        if captured > size - 32:
            return STOP_CORRUPT
        stamp = 0
    if index >= context[INTERFACES]:
        counters[INTERFACE_UNKNOWN] += 1
        return SKIP
    if kind != 3:
        ticks = (u32(window, at + 12, swapped) << 32) | u32(window, at + 16, swapped)
        stamp = nanoseconds(ticks, interfaces[index, TICKS_PER_SECOND]) + interfaces[index, TIME_OFFSET]
    record[AT] = stamp
    record[TIMED] = kind != 3
    record[DATA] = data
    record[DATA_END] = data + captured
    record[WIRE_END] = data + max(wire, captured)
    record[LINK] = interfaces[index, LINK_TYPE]
    return NO_STOP
