"""HEP packets cut and read by kernels are those that the readers of single packets give."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.capture import columns as c
from collector.facts import Endpoint
from collector.protocols import hep_numba_fns as k
from collector.protocols.hep import (
    HEADER,
    MAGIC,
    RTCP,
    SIP,
    Chunk,
    HepError,
    HepPacket,
    HepStream,
    parse,
    serialize,
)
from collector.receivers.hep import CLOCK_LIMIT, HepReceiver, HepSettings, ReceivedMessage
from collector.receivers.hep_frames import FrameCutter, ReceivedBatch, frames_of, with_messages
from collector.receivers.listening import ConnectionLimits

NOW = 1_700_000_000_000_000_000
ADDRESSES = st.ip_addresses(v=4).map(str) | st.ip_addresses(v=6).map(str) | st.just("::ffff:102:304")
CHUNKS = st.builds(Chunk, st.sampled_from([0, 1, 9]), st.integers(0, 0x20), st.binary(max_size=8))
KEYS = st.sampled_from([None, b"secret", b"secreT", b"", b"longer secret"])


@st.composite
def hep_packets(draw: st.DrawFn) -> bytes:
    version = draw(st.sampled_from([3] * 12 + [1, 2]))
    ends = draw(st.lists(ADDRESSES, min_size=2, max_size=2).filter(lambda ends: (":" in ends[0]) == (":" in ends[1])))
    src, dst = (Endpoint(ip, draw(st.integers(0, 0xFFFF))) for ip in ends)
    at = NOW + draw(st.sampled_from([0, 1000, -5_000_000_000, CLOCK_LIMIT, -CLOCK_LIMIT, 2 * CLOCK_LIMIT, -NOW]))
    payload = draw(st.binary(max_size=40))
    if version < 3:
        return serialize(HepPacket(version, SIP, at if version == 2 else None, src, dst, 17, payload))
    packet = HepPacket(
        3,
        draw(st.sampled_from([SIP] * 8 + [RTCP, 0, 100])),
        draw(st.sampled_from([at] * 8 + [None])),
        src,
        dst,
        draw(st.sampled_from([17, 6, 22, 132, 200])),
        payload,
        draw(st.none() | st.integers(0, 2**32 - 1)),
        draw(st.none() | st.just("call")),
        draw(KEYS),
        draw(st.none() | st.just("node")),
        tuple(draw(st.lists(CHUNKS, max_size=2))),
    )  # fmt: skip
    return serialize(packet, compressed=draw(st.sampled_from([False] * 8 + [True])))


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A packet, mostly as it was made."""
    data = bytearray(draw(hep_packets()))
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 3]))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    match draw(st.sampled_from(["whole"] * 6 + ["cut", "longer", "shuffled"])):
        case "cut":
            del data[draw(st.integers(0, len(data))) :]
        case "longer":
            data += draw(st.binary(min_size=1, max_size=9))
        case "shuffled":
            data = bytearray(draw(chunks_in_any_order(bytes(data))))
    return bytes(data)


@st.composite
def chunks_in_any_order(draw: st.DrawFn, data: bytes) -> bytes:
    chunks, at = [], HEADER
    while data[:4] == MAGIC and len(data) - at >= 6 and (length := int.from_bytes(data[at + 4 : at + 6], "big")) >= 6:
        chunks.append(data[at : at + length])
        at += length
    body = b"".join(
        draw(st.permutations(chunks)) + draw(st.lists(st.sampled_from(chunks), max_size=1)) if chunks else []
    )
    return MAGIC + (HEADER + len(body)).to_bytes(2, "big") + body


class Kept:
    """A consumer that keeps all it is given."""

    full = False

    def __init__(self) -> None:
        self.batches: list[ReceivedBatch] = []

    def take(self, messages: Sequence[ReceivedMessage]) -> None:
        assert isinstance(messages, ReceivedBatch)
        self.batches.append(messages)


def receiver(key: bytes | None) -> tuple[HepReceiver, Kept]:
    kept = Kept()
    return HepReceiver(HepSettings((), key, limits=ConnectionLimits()), kept, lambda: NOW), kept


def expected(packets: Sequence[bytes], key: bytes | None) -> tuple[list[ReceivedMessage], dict[str, int], int]:
    """What single packets give: messages, refused ones by reason, times that were replaced."""
    found: list[ReceivedMessage] = []
    refused: dict[str, int] = {}
    replaced = 0
    for data in packets:
        try:
            packet = parse(data)
            if key is not None and packet.auth_key != key and not (key == b"" and packet.auth_key is None):
                raise HepError("auth_key_wrong")
        except HepError as error:
            refused[error.defect] = refused.get(error.defect, 0) + 1
            continue
        at = packet.at
        if at is None or abs(at - NOW) > CLOCK_LIMIT:
            at, replaced = NOW, replaced + 1
        found.append(
            ReceivedMessage(
                at, NOW, packet.src, packet.dst, packet.transport, packet.payload_type, packet.payload,
                packet.capture_id, packet.correlation_id,
            )
        )  # fmt: skip
    return found, refused, replaced


@settings(max_examples=500, deadline=None)
@given(st.lists(mutated(), max_size=6), KEYS)
def test_packets_are_read_as_one_by_one(packets: list[bytes], key: bytes | None) -> None:
    server, kept = receiver(key)
    server.take(packets, NOW)
    messages, refused, replaced = expected(packets, key)
    assert [each for batch in kept.batches for each in batch] == messages
    assert (server.malformed, server.times_replaced) == (refused, replaced)
    assert (server.received, server.handed_on) == (len(packets), len(messages))
    for batch in kept.batches:
        assert batch.last_at == messages[-1].at
        assert batch.others() == [each for each in messages if each.payload_type != SIP]


@settings(max_examples=300, deadline=None)
@given(st.lists(hep_packets(), max_size=6))
def test_columns_say_of_sip_what_the_messages_say(packets: list[bytes]) -> None:
    server, kept = receiver(None)
    server.take(packets, NOW)
    for batch in kept.batches:
        columns = batch.sip()
        sip = [each for each in batch if each.payload_type == SIP]
        from_messages = with_messages(frames_of([b""] * len(sip)), dict(enumerate(sip)))
        assert (columns is None) == (from_messages is None)
        if columns is None or from_messages is None:
            assert any("ffff" in end.ip for each in sip for end in (each.src, each.dst))
            continue
        names = [
            c.SRC_HI,
            c.SRC_LO,
            c.DST_HI,
            c.DST_LO,
            c.SPORT,
            c.DPORT,
            c.IP_PROTOCOL,
            c.PAYLOAD_CAPTURED,
            c.PENDING_AT,
        ]
        assert columns.rows[:, names].tolist() == from_messages.rows[:, names].tolist()
        begins, lengths = columns.rows[:, c.PAYLOAD].tolist(), columns.rows[:, c.PAYLOAD_CAPTURED].tolist()
        payloads = [
            columns.window[begin : begin + length].tobytes() for begin, length in zip(begins, lengths, strict=True)
        ]
        assert payloads == [each.payload for each in sip]


@settings(max_examples=500, deadline=None)
@given(st.lists(mutated() | st.binary(max_size=12) | st.just(MAGIC) | st.just(b"HEP"), max_size=8), st.data())
def test_a_stream_is_cut_alike_wherever_its_octets_are_divided(parts: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(parts)
    plain, cutter = HepStream(), FrameCutter()
    wanted: list[bytes] = []
    found: list[bytes] = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        piece, stream = stream[:size], stream[size:]
        wanted += plain.feed(piece)
        for frames in cutter.feed(piece):
            for begin, end in frames.rows[:, [k.FRAME, k.FRAME_END]].tolist():
                found.append(frames.window[begin:end].tobytes())
        assert found == wanted
        assert (cutter.waiting, cutter.skipped) == (plain.waiting, plain.skipped)
    assert cutter.finish() == plain.finish()


def test_more_packets_than_one_batch_holds_are_all_cut() -> None:
    packet = serialize(HepPacket(3, SIP, NOW, Endpoint("10.0.0.1", 1), Endpoint("10.0.0.2", 2), 17, b""))
    frames = FrameCutter().feed(packet * 10_000)
    assert [len(each.rows) for each in frames] == [4096, 4096, 1808]


@pytest.mark.parametrize("length", range(HEADER))
def test_a_length_too_short_for_a_packet_is_skipped(length: int) -> None:
    cutter = FrameCutter()
    assert cutter.feed(MAGIC + length.to_bytes(2, "big") + b"HE") == []
    assert cutter.skipped > 0


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="this is the run without a compiler")
def test_the_same_holds_without_a_compiler() -> None:
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        __file__,
        "-k",
        "alike or one_by_one or columns",
    ]
    done = subprocess.run(
        command, env=environment, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
