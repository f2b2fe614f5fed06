"""The kernels that cut a stream into packets of HEP version 3 and read those that carry SIP the usual way.

What is not usual is left to `hep.parse`: other payloads, packed ones, chunks that are missing, come twice or have a
wrong length, and keys that are not the receiver's. Of what is read here `hep.parse` reads the same.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from collector.accelerate import njit
from collector.capture.columns import (
    DPORT,
    DST_HI,
    DST_LO,
    IP_PROTOCOL,
    PAYLOAD,
    PAYLOAD_CAPTURED,
    PENDING_AT,
    SPORT,
    SRC_HI,
    SRC_LO,
)
from collector.loads import be16, be32, be64

Octets = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]

# A row is one of `capture.columns`, in which these stand in place of columns that HEP has nothing for.
FRAME: Final = 12  # offset of the packet in the window
FRAME_END: Final = 13
READ: Final = 14  # 1 where the kernel read it

WHOLE, GARBAGE, FULL = range(3)
"""Why cutting stopped: no further packet is whole; octets that begin no packet; no row is left."""
STOPPED_AT, STOPPED_BY = range(2)
STATE_COLUMNS: Final = 2

_MAGIC: Final = 0x48455033
_HEADER: Final = 6
_CHUNK: Final = 6
_MAX_CHUNKS: Final = 64
"""As in `hep`."""
_SIP: Final = 1
_V6: Final = 10
_FIXED: Final = 0x0B
"""Chunks up to this one have a length that the protocol fixes."""
_PACKED: Final = 0x10
_NEEDED: Final = 1 << 0x09 | 1 << 0x0B | 1 << 0x0F
_V4_BITS: Final = 1 << 0x03 | 1 << 0x04
_V6_BITS: Final = 1 << 0x05 | 1 << 0x06
_SIZES: Final = (0, 1, 1, 4, 4, 16, 16, 2, 2, 4, 4, 1)
_SIZES_PACKED: Final = sum(size << 5 * kind for kind, size in enumerate(_SIZES))


@njit
def cut_frames(window: Octets, at: int, end: int, state: Integers, rows: Integers) -> int:
    """Write where packets begin and end, from `at` on; their number. `state` says where and why it stopped."""
    count = 0
    state[STOPPED_BY] = WHOLE
    while end - at >= _HEADER:
        length = be16(window, at + 4)
        if be32(window, at) != _MAGIC or length < _HEADER:
            state[STOPPED_BY] = GARBAGE
            break
        if end - at < length:
            break
        if count == len(rows):
            state[STOPPED_BY] = FULL
            break
        rows[count, FRAME] = at
        rows[count, FRAME_END] = at + length
        at += length
        count += 1
    state[STOPPED_AT] = at
    return count


@njit
def read_frames(window: Octets, count: int, key: Octets, rows: Integers) -> int:
    """Read the first `count` packets whose bounds stand in rows, `key` empty where none is asked for; how many."""
    found = 0
    for number in range(count):
        row = rows[number]
        row[READ] = 0
        at = row[FRAME]
        if row[FRAME_END] - at < _HEADER or be32(window, at) != _MAGIC:
            continue
        end = at + be16(window, at + 4)
        if end > row[FRAME_END]:
            continue
        at += _HEADER
        seen = family = seconds = micros = chunks = 0
        src = dst = 0
        usual = len(key) == 0
        sound = True
        row[SPORT] = row[DPORT] = row[IP_PROTOCOL] = 0
        while at < end:
            length = be16(window, at + 4) if end - at >= _CHUNK else 0
            chunks += 1
            if length < _CHUNK or at + length > end or chunks > _MAX_CHUNKS:
                sound = False
                break
            vendor, kind = be16(window, at), be16(window, at + 2)
            value, size = at + _CHUNK, length - _CHUNK
            at += length
            if vendor or (kind > 0x11 and kind != 0x13):
                continue
            if seen >> kind & 1 or kind == _PACKED or (0 < kind <= _FIXED and size != _SIZES_PACKED >> 5 * kind & 31):
                sound = False
                break
            seen |= 1 << kind
            if kind == 0x01:
                family = int(window[value])
            elif kind == 0x02:
                row[IP_PROTOCOL] = int(window[value])
            elif kind == 0x03 or kind == 0x05:
                src = value
            elif kind == 0x04 or kind == 0x06:
                dst = value
            elif kind == 0x07:
                row[SPORT] = be16(window, value)
            elif kind == 0x08:
                row[DPORT] = be16(window, value)
            elif kind == 0x09:
                seconds = be32(window, value)
            elif kind == 0x0A:
                micros = be32(window, value)
            elif kind == 0x0B:
                sound = sound and window[value] == _SIP
            elif kind == 0x0E:
                if len(key):
                    # All octets are compared, however many differ: time says nothing about them.
                    differing = size ^ len(key)
                    for place in range(min(size, len(key))):
                        differing |= int(window[value + place]) ^ int(key[place])
                    usual = differing == 0
            elif kind == 0x0F:
                row[PAYLOAD] = value
                row[PAYLOAD_CAPTURED] = size
        four, six = seen & _V4_BITS == _V4_BITS, seen & _V6_BITS == _V6_BITS
        # One family alone: whoever sends both is left to the reader that knows which one counts.
        if not sound or not usual or seen & _NEEDED != _NEEDED or micros >= 1_000_000 or four == six:
            continue
        if (four and (family == _V6 or seen & _V6_BITS)) or (six and seen & _V4_BITS):
            continue
        if four:
            row[SRC_HI] = row[DST_HI] = 0
            row[SRC_LO] = 0xFFFF << 32 | be32(window, src)
            row[DST_LO] = 0xFFFF << 32 | be32(window, dst)
        else:
            row[SRC_HI], row[SRC_LO] = be64(window, src), be64(window, src + 8)
            row[DST_HI], row[DST_LO] = be64(window, dst), be64(window, dst + 8)
            if (row[SRC_HI] == 0 and row[SRC_LO] >> 32 == 0xFFFF) or (row[DST_HI] == 0 and row[DST_LO] >> 32 == 0xFFFF):
                continue  # in columns it could not be told from the IPv4 address that is mapped
        row[PENDING_AT] = seconds * 1_000_000_000 + micros * 1_000
        row[READ] = 1
        found += 1
    return found
