"""Blocks of the kernel's ring as records of a capture: layouts as in linux/if_packet.h, made by hand."""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from collector.live.copies import teach_compiler
from collector.live.ring_numba_fns import write_records

teach_compiler()
FIRST = 48


class Packet(NamedTuple):
    """What the kernel says of a packet."""

    octets: bytes
    seconds: int = 1_700_000_000
    nanoseconds: int = 5
    length: int | None = None
    tag: int | None = None
    tpid: int | None = None
    outgoing: bool = False


def block(packets: list[Packet]) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    made = b"\xee" * FIRST
    for each in packets:
        status = 1 | (1 << 4 if each.tag is not None else 0) | (1 << 6 if each.tpid is not None else 0)
        size = -(-(82 + len(each.octets)) // 16) * 16
        length = len(each.octets) if each.length is None else each.length
        head = struct.pack(
            "<6I2H2I2H8x", size, each.seconds, each.nanoseconds, len(each.octets), length, status, 82, 96,
            0, each.tag or 0, each.tpid or 0, 0,
        )  # fmt: skip
        address = struct.pack("<HHiHBB8x", 17, 0, 1, 1, 4 if each.outgoing else 0, 6)
        made += (head + address).ljust(82, b"\xee") + each.octets
        made = made.ljust(-(-len(made) // 16) * 16, b"\xee")
    return np.frombuffer(made, np.uint8).copy()


def written(packets: list[Packet], room: int = 1 << 16, snaplen: int = 65_535, skip: int = 0) -> list[bytes]:
    """Records as they come, for as often as it takes."""
    state = np.array([FIRST, len(packets), snaplen, skip], np.int64)
    octets = block(packets)
    found = []
    while state[1]:
        out = np.zeros(room, np.uint8)
        found.append(out[: write_records(octets, state, out)].tobytes())
    return found


def record(packet: Packet, octets: bytes, length: int) -> bytes:
    return struct.pack("<4I", packet.seconds, packet.nanoseconds, len(octets), length) + octets


FRAMES = st.binary(min_size=14, max_size=300)


TIMES = st.tuples(FRAMES, st.integers(0, 2**32 - 1), st.integers(0, 999_999_999))


@given(st.lists(TIMES.map(lambda drawn: Packet(*drawn)), max_size=8))
def test_packets_are_records_with_their_times_in_order(packets: list[Packet]) -> None:
    expected = b"".join(record(each, each.octets, len(each.octets)) for each in packets)
    assert b"".join(written(packets)) == expected
    # Whole records alone, wherever the room ends.
    assert b"".join(written(packets, room=330)) == expected


@given(FRAMES, st.integers(14, 400))
def test_a_long_packet_is_cut_and_its_length_is_kept(octets: bytes, snaplen: int) -> None:
    packet = Packet(octets, length=len(octets) + 100)
    assert written([packet], snaplen=snaplen) == [record(packet, octets[:snaplen], len(octets) + 100)]


def test_a_tag_that_the_kernel_took_off_is_put_back() -> None:
    octets = bytes(range(12)) + b"\x08\x00payload"
    (plain,) = written([Packet(octets, tag=0x2064)])
    assert plain[16:] == bytes(range(12)) + b"\x81\x00\x20\x64" + b"\x08\x00payload"  # IEEE 802.1Q 9.6
    (service,) = written([Packet(octets, tag=5, tpid=0x88A8)])
    assert service[16:] == bytes(range(12)) + b"\x88\xa8\x00\x05" + b"\x08\x00payload"
    assert struct.unpack_from("<2I", plain, 8) == (len(octets) + 4, len(octets) + 4)


def test_packets_that_go_out_are_left_out_where_they_come_in_again() -> None:
    both = [Packet(b"a" * 20), Packet(b"b" * 20, outgoing=True), Packet(b"c" * 20)]
    assert b"b" * 20 in b"".join(written(both))
    assert b"".join(written(both, skip=1)) == b"".join(written([both[0], both[2]]))
