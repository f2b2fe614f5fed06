"""Fragments become their datagram again in any order, and garbage stays bounded."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.capture.fragments import FragmentLimits, Reassembler

A, B = bytes(3) + b"\x01", bytes(3) + b"\x02"
SECOND = 1_000_000_000


class Fragment(NamedTuple):
    offset: int
    more: bool
    payload: bytes


def cut(data: bytes, draw: random.Random) -> list[Fragment]:
    places = [0, *sorted(draw.sample(range(8, len(data), 8), draw.randint(1, min(9, (len(data) - 1) // 8)))), len(data)]
    return [Fragment(start, end < len(data), data[start:end]) for start, end in pairwise(places)]


def feed(
    reassembler: Reassembler, fragment: Fragment, at: int = 0, ident: int = 7, version: int = 4, truncated: bool = False
) -> bytes | None:
    if version == 4:
        return reassembler.feed_v4(at, A, B, 17, ident, *fragment, truncated)
    return reassembler.feed_v6(at, A * 4, B * 4, 17, ident, *fragment, truncated)


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 1 << 32),
    length=st.integers(17, 4_000),
    copies=st.integers(0, 5),
    version=st.sampled_from([4, 6]),
)
def test_fragments_in_any_order_and_repeated_give_the_datagram_once(
    seed: int, length: int, copies: int, version: int
) -> None:
    draw = random.Random(seed)
    data = draw.randbytes(length)
    fragments = cut(data, draw)
    fragments += draw.choices(fragments, k=copies)
    draw.shuffle(fragments)
    reassembler = Reassembler()
    got = [whole for each in fragments if (whole := feed(reassembler, each, version=version)) is not None]
    reassembler.finish()
    assert got == [data]
    assert reassembler.counts["fragments_repeated"] == copies
    assert not reassembler.defects


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_datagrams_under_way_together_do_not_mix(seed: int) -> None:
    draw = random.Random(seed)
    data = {ident: draw.randbytes(draw.randint(20, 900)) for ident in range(8)}
    mixed = [(ident, each) for ident, whole in data.items() for each in cut(whole, draw)]
    draw.shuffle(mixed)
    reassembler = Reassembler()
    got = {ident: whole for ident, each in mixed if (whole := feed(reassembler, each, ident=ident)) is not None}
    assert got == data


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(1, 6), st.integers(0, 255)), min_size=1, max_size=12),
    st.integers(14, 20),
)
def test_where_version_4_fragments_overlap_the_first_wins(ranges: list[tuple[int, int, int]], total: int) -> None:
    expected: dict[int, int] = {}
    reassembler = Reassembler()
    fragments = [
        Fragment(8 * start, True, bytes([fill]) * 8 * size) for start, size, fill in ranges if start + size < total
    ]
    fragments.append(Fragment(0, True, b"\xee" * 8 * (total - 1)))
    last = Fragment(8 * (total - 1), False, b"end")
    whole = None
    for number, each in enumerate([last, *fragments]):
        if whole is not None:
            break
        for place, value in enumerate(each.payload, each.offset):
            expected.setdefault(place, value)
        whole = feed(reassembler, each, at=number)
    assert whole == bytes(expected[place] for place in range(8 * (total - 1) + 3))


def test_an_overlap_is_counted_and_spoils_a_version_6_datagram() -> None:
    fragments = [Fragment(0, True, bytes(16)), Fragment(8, True, bytes(16)), Fragment(24, False, b"end")]
    four, six = Reassembler(), Reassembler()
    assert [feed(four, each) for each in fragments] == [None, None, bytes(24) + b"end"]
    assert [feed(six, each, version=6) for each in fragments] == [None, None, None]  # RFC 5722 4
    assert feed(six, Fragment(0, True, bytes(24)), version=6) is None
    six.finish()
    assert four.defects == six.defects == {"fragments_overlap": 1}


def test_a_datagram_in_a_single_fragment_is_given_at_once() -> None:
    reassembler = Reassembler()
    feed(reassembler, Fragment(0, True, bytes(8)), version=6)
    assert feed(reassembler, Fragment(0, False, b"atomic"), version=6) == b"atomic"  # RFC 6946 4


def test_a_datagram_is_waited_for_for_thirty_seconds_of_packet_time() -> None:
    first, last = Fragment(0, True, bytes(8)), Fragment(8, False, b"x")
    reassembler = Reassembler()
    feed(reassembler, first, at=0)
    assert feed(reassembler, last, at=30 * SECOND) == bytes(8) + b"x"
    feed(reassembler, first, at=40 * SECOND, ident=8)
    assert feed(reassembler, last, at=70 * SECOND + 1, ident=8) is None
    reassembler.finish()
    assert reassembler.defects == {"fragments_incomplete": 2}


def test_an_identification_used_again_begins_a_new_datagram() -> None:
    reassembler = Reassembler()
    for text in (b"one", b"two"):
        assert feed(reassembler, Fragment(0, True, text.ljust(8))) is None
        assert feed(reassembler, Fragment(8, False, text)) == text.ljust(8) + text


def test_a_mirror_copy_of_each_fragment_gives_no_second_datagram() -> None:
    reassembler = Reassembler()
    first, last = Fragment(0, True, bytes(8)), Fragment(8, False, b"x")
    assert [feed(reassembler, each) for each in (first, first, last, last)] == [None, None, bytes(8) + b"x", None]
    reassembler.finish()
    assert not reassembler.defects


@pytest.mark.parametrize(
    ("fragments", "defect"),
    [
        ([Fragment(65_528, False, bytes(8))], "fragment_too_long"),
        ([Fragment(8, False, b"")], "fragment_empty"),
        ([Fragment(0, True, bytes(7))], "fragment_unaligned"),
        ([Fragment(8, False, b"x"), Fragment(16, False, b"x")], "fragments_inconsistent"),
        ([Fragment(8, False, b"x"), Fragment(16, True, bytes(8))], "fragments_inconsistent"),
        ([Fragment(16, True, bytes(8)), Fragment(8, False, b"x")], "fragments_inconsistent"),
    ],
)
def test_impossible_fragments_are_named(fragments: list[Fragment], defect: str) -> None:
    reassembler = Reassembler()
    assert [feed(reassembler, each) for each in fragments] == [None] * len(fragments)
    reassembler.finish()
    assert reassembler.defects == {defect: 1}


def test_the_longest_datagram_is_put_together() -> None:
    reassembler = Reassembler()
    assert feed(reassembler, Fragment(0, True, bytes(65_528))) is None
    assert feed(reassembler, Fragment(65_528, False, bytes(7))) == bytes(65_535)


def test_a_fragment_cut_by_the_snap_length_is_counted_once_for_its_datagram() -> None:
    reassembler = Reassembler()
    for each in (Fragment(0, True, bytes(8)), Fragment(800, True, bytes(8)), Fragment(1_600, False, b"x")):
        assert feed(reassembler, each, truncated=each.more) is None
    reassembler.finish()
    assert reassembler.defects == {"fragments_truncated": 1}


def test_memory_is_bounded_by_datagrams_and_bytes() -> None:
    limits = FragmentLimits(datagrams=20, held_bytes=10_000)
    reassembler = Reassembler(limits)
    for ident in range(3_000):
        feed(reassembler, Fragment(0, True, bytes(8 * (ident % 200 + 1))), ident=ident)
        assert len(reassembler) <= 20
        assert reassembler.held_bytes <= 10_000
    reassembler.finish()
    assert sum(reassembler.defects.values()) == 3_000
    assert reassembler.defects["fragments_evicted"] >= 2_900
    assert reassembler.held_bytes == 0


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([4, 6]),
            st.integers(0, 2),
            st.integers(0, 8_191),
            st.booleans(),
            st.binary(max_size=40),
            st.booleans(),
            st.integers(-SECOND, 50 * SECOND),
        ),
        max_size=60,
    )
)
def test_any_fragments_are_survived(feeds: list[tuple[int, int, int, bool, bytes, bool, int]]) -> None:
    reassembler = Reassembler(FragmentLimits(held_bytes=1_000))
    for version, ident, offset, more, payload, truncated, at in feeds:
        feed(reassembler, Fragment(8 * offset, more, payload), at, ident, version, truncated)
        assert 0 <= reassembler.held_bytes <= 1_000
    reassembler.finish()
    assert reassembler.held_bytes == 0


def test_a_capture_of_garbage_fragments_stays_bounded(shared: Path) -> None:
    scapy = pytest.importorskip("scapy.all")
    limits = FragmentLimits(datagrams=64, held_bytes=128 << 10)
    reassembler = Reassembler(limits)
    lengths = []
    for packet in scapy.rdpcap(str(shared / "pcaps" / "ndpi_ip_fragmented_garbage.pcap")):
        if scapy.IP not in packet:
            continue
        ip = packet[scapy.IP]
        whole = reassembler.feed_v4(
            int(packet.time * 1_000_000) * 1_000,
            bytes(ip)[12:16],
            bytes(ip)[16:20],
            ip.proto,
            ip.id,
            ip.frag * 8,
            bool(ip.flags.MF),
            bytes(ip.payload)[: max(ip.len - ip.ihl * 4, 0)],
        )
        if whole is not None:
            lengths.append(len(whole))
        assert len(reassembler) <= 64
        assert reassembler.held_bytes <= 128 << 10
    reassembler.finish()
    assert lengths == [5_000] * 4  # ip.reassembled.length of tshark
    assert not reassembler.defects
