"""Kernel that writes the packets of a kernel's ring block (TPACKET_V3) as records of a classic capture in nanoseconds.

Symbols: `block` is one block as the kernel filled it, `out` takes the records; `state` says where in the block the
next packet is and how many are left. Offsets are those of `struct tpacket3_hdr` in linux/if_packet.h.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from collector.accelerate import njit, njit_inline
from collector.live.copies import copy_octets
from collector.loads import le32

Octets = NDArray[np.uint8]
Integers = NDArray[np.int64]

# Columns of `state`.
NEXT_AT = 0  # where the next packet's header begins in the block
LEFT = 1  # packets not yet written
SNAPLEN = 2  # octets kept of a packet
SKIP_OUTGOING = 3  # 1: packets that this machine sends are left out, for they come in again
STATE_COLUMNS = 4

NEXT_OFFSET, SECONDS, NANOSECONDS, CAPTURED, LENGTH, STATUS = 0, 4, 8, 12, 16, 20
MAC, TCI, TPID = 24, 32, 36
PACKET_TYPE = 48 + 10  # sll_pkttype of the address behind the header
OUTGOING = 4  # PACKET_OUTGOING
VLAN_VALID = 1 << 4  # TP_STATUS_VLAN_VALID
TPID_VALID = 1 << 6  # TP_STATUS_VLAN_TPID_VALID
DOT1Q = 0x8100
RECORD = 16
ADDRESSES = 12  # octets of Ethernet in front of a VLAN tag


@njit_inline
def put32(out: Octets, at: int, value: int) -> None:
    out[at] = value & 255
    out[at + 1] = value >> 8 & 255
    out[at + 2] = value >> 16 & 255
    out[at + 3] = value >> 24 & 255


@njit
def write_records(block: Octets, state: Integers, out: Octets) -> int:
    """Write whole records while there is room for them; octets written. A tag that the kernel took off is put back."""
    written = 0
    at, left, snaplen = state[NEXT_AT], state[LEFT], state[SNAPLEN]
    while left > 0:
        status = le32(block, at + STATUS)
        tagged = status & VLAN_VALID
        length = le32(block, at + LENGTH) + (4 if tagged else 0)
        whole = le32(block, at + CAPTURED) + (4 if tagged else 0)
        captured = min(whole, snaplen)
        if state[SKIP_OUTGOING] and block[at + PACKET_TYPE] == OUTGOING:
            captured = -RECORD
        elif written + RECORD + captured > len(out):
            break
        else:
            put32(out, written, le32(block, at + SECONDS))
            put32(out, written + 4, le32(block, at + NANOSECONDS))
            put32(out, written + 8, captured)
            put32(out, written + 12, length)
            begin = at + (np.int64(block[at + MAC]) | np.int64(block[at + MAC + 1]) << 8)
            data = written + RECORD
            if tagged and captured >= ADDRESSES + 4:
                copy_octets(out, data, block, begin, ADDRESSES)
                tpid = le32(block, at + TPID) & 0xFFFF if status & TPID_VALID else DOT1Q
                tci = le32(block, at + TCI) & 0xFFFF
                out[data + 12], out[data + 13] = tpid >> 8, tpid & 255
                out[data + 14], out[data + 15] = tci >> 8, tci & 255
                rest = captured - ADDRESSES - 4
                copy_octets(out, data + 16, block, begin + ADDRESSES, rest)
            else:
                copy_octets(out, data, block, begin, captured)
        written += RECORD + captured
        left -= 1
        at += le32(block, at + NEXT_OFFSET)
    state[NEXT_AT], state[LEFT] = at, left
    return written
