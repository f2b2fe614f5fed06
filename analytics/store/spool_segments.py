"""What a spool writes to disk: records in segment files, and the file of its position.

A record is 20 octets and its payload: mark, length, sequence, CRC-32 of length, sequence and payload. Sequences grow by
one from record to record, so whatever is damaged between two records is counted exactly. All integers little-endian.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

MARK = b"\xc6SR\x01"
HEADER = struct.Struct("<4sIQI")
_COVERED = struct.Struct("<IQ")
SUFFIX = ".segment"


class Placed(NamedTuple):
    """Where a record's payload lies in its segment."""

    sequence: int
    offset: int
    """Begin of the payload [octets]."""
    octets: int
    """Length of the payload [octets]."""


def encode(sequence: int, payload: bytes) -> bytes:
    """Return a record as it lies on disk."""
    covered = _COVERED.pack(len(payload), sequence)
    return HEADER.pack(MARK, len(payload), sequence, zlib.crc32(payload, zlib.crc32(covered))) + payload


def scan(data: bytes, *, after: int) -> tuple[list[Placed], int]:
    """Return the intact records of a segment with sequences rising from above `after`, and where the last one ends.

    Damaged octets between records are passed over by looking for the next record that is intact.
    """
    found: list[Placed] = []
    at = end = 0
    view = memoryview(data)
    while at >= 0 and at + HEADER.size <= len(data):
        mark, octets, sequence, check = HEADER.unpack_from(data, at)
        begin = at + HEADER.size
        if mark == MARK and sequence > after and begin + octets <= len(data):
            covered = data[at + 4 : at + 4 + _COVERED.size]
            if zlib.crc32(view[begin : begin + octets], zlib.crc32(covered)) == check:
                found.append(Placed(sequence, begin, octets))
                after = sequence
                at = end = begin + octets
                continue
        at = data.find(MARK, at + 1)
    return found, end


def segment_name(first: int) -> str:
    """Return the name of a segment by the sequence of its first record."""
    return f"{first:020d}{SUFFIX}"


def first_of(name: str) -> int | None:
    """Return the first sequence that a segment's name states; None where it is no segment's name."""
    stem = name.removesuffix(SUFFIX)
    return int(stem) if stem != name and len(stem) == 20 and stem.isascii() and stem.isdigit() else None


class Position(NamedTuple):
    """How far a spool was read, and what became of what was read: the three counts add up to `cursor`."""

    generation: int
    """Counts the writes of this very thing: of two copies the later holds."""
    identity: bytes
    """8 random octets, made with the spool: sequences are unique with it."""
    cursor: int = 0
    """Everything up to this sequence is done with."""
    acknowledged: int = 0
    dropped: int = 0
    damaged: int = 0


_POSITION = struct.Struct("<4sQ8sQQQQ")
_CHECK = struct.Struct("<I")
_POSITION_MARK = b"\xc6SP\x01"
SLOT = 512
"""Octets from one copy of the position to the other: a sector, so that a write that is cut harms one of them."""


def encode_position(position: Position) -> bytes:
    """Return a copy of a position."""
    data = _POSITION.pack(_POSITION_MARK, *position)
    return data + _CHECK.pack(zlib.crc32(data))


def slot_of(position: Position) -> int:
    """Return where the copy of this generation is written [octets]."""
    return (position.generation % 2) * SLOT


def decode_positions(data: bytes) -> Position | None:
    """Return the newer of the two copies that is intact; None where neither is."""
    found: list[Position] = []
    for at in (0, SLOT):
        body = data[at : at + _POSITION.size]
        check = data[at + _POSITION.size : at + _POSITION.size + _CHECK.size]
        if len(check) == _CHECK.size and _CHECK.pack(zlib.crc32(body)) == check and body[:4] == _POSITION_MARK:
            found.append(Position(*_POSITION.unpack(body)[1:]))
    return max(found, default=None)


def between(placed: Sequence[Placed], after: int, upto: int) -> Iterator[Placed]:
    """Yield the records with after < sequence <= upto."""
    low, high = 0, len(placed)
    while low < high:
        middle = (low + high) // 2
        if placed[middle].sequence <= after:
            low = middle + 1
        else:
            high = middle
    for number in range(low, len(placed)):
        if placed[number].sequence > upto:
            return
        yield placed[number]
