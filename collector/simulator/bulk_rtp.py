"""Large RTP captures with known totals, written as fast as the disk takes them: G.711 calls with their set-up.

Packets are made call by call in order of start, kept until no later call can send anything earlier, sorted and
written: memory depends on how many calls are up at a time, not on the length of the capture.
"""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from collector.facts import Endpoint
from collector.simulator.bulk_sip import EPOCH, PCAP_HEADER, SIP_PORT, record
from collector.simulator.signalling import CallPlan, Media, SipMessage, call_messages

PTIME = 20_000
"""Packet time [µs]."""
SAMPLES = 160
"""Samples, and payload octets, of 20 ms G.711."""
HEADERS = 14 + 20 + 8 + 12
"""Octets of Ethernet, IPv4, UDP and RTP before the payload."""
MEDIA_AFTER = 2_000_000
"""First media packet after the INVITE [µs]."""
SECOND = 1 << 30
"""Marks the second copy of a duplicated packet, which has an IP identification of its own."""
_CALLS_AT_ONCE = 20
_PACKETS_AT_ONCE = 50_000

Ints = NDArray[np.int64]
Octets = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class RtpSize:
    """How much an RTP capture holds: `packets` captured in all, shared evenly by the two streams of each call."""

    packets: int = 10_000_000
    calls: int = 2_000
    concurrent: int = 400
    """Calls that are up at the same time, about."""
    seed: int = 3


class StreamTotals(NamedTuple):
    """What one stream of the capture holds, by the definitions of `collector.simulator.truth`."""

    ssrc: int
    packets: int
    expected: int
    lost: int
    loss_runs: int
    duplicates: int
    reordered: int


@dataclass(slots=True)
class RtpTotals:
    """What the capture holds."""

    calls: int = 0
    sip_messages: int = 0
    streams: list[StreamTotals] = field(default_factory=list)

    def summed(self) -> dict[str, int]:
        """Totals over all streams."""
        names = StreamTotals._fields[1:]
        return {name: sum(int(getattr(stream, name)) for stream in self.streams) for name in names}


class Burst(NamedTuple):
    """Packets of the wire: arrival [µs since EPOCH], stream number, index as sent (plus SECOND in a second copy)."""

    at: Ints
    stream: NDArray[np.int32]
    sent: NDArray[np.int32]

    def taken(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Burst:
        """The chosen packets alone."""
        return Burst(self.at[chosen], self.stream[chosen], self.sent[chosen])


class Streams(NamedTuple):
    """Per stream, a row each: header octets, and first sequence number, timestamp and IP id."""

    headers: Octets
    first: NDArray[np.uint32]


def write_rtp(path: Path, size: RtpSize) -> RtpTotals:
    """Write an RTP capture and, beside it as `<name>.truth.json`, what it holds."""
    per_stream = size.packets // (2 * size.calls)
    if per_stream < 10:
        raise ValueError(f"{size.packets} packets are too few for {size.calls} calls")
    rng = np.random.default_rng(size.seed)
    spread = (per_stream * PTIME + MEDIA_AFTER) * size.calls // size.concurrent
    starts = np.sort(rng.integers(0, spread, size.calls))
    streams = _streams(size.calls, rng)
    totals = RtpTotals(calls=size.calls)
    noise = rng.integers(0, 256, (64, SAMPLES), dtype=np.uint8)
    waiting = Burst(np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0, np.int32))
    messages: list[SipMessage] = []
    with path.open("wb") as out:
        out.write(PCAP_HEADER)
        for low in range(0, size.calls, _CALLS_AT_ONCE):
            high = min(low + _CALLS_AT_ONCE, size.calls)
            bursts = [waiting]
            for call in range(low, high):
                pair = [_stream(2 * call + side, int(starts[call]), per_stream, rng, totals) for side in (0, 1)]
                over = max(int(burst.at[-1]) for burst in pair)
                messages += call_messages(_plan(call, int(starts[call]), over))
                bursts += pair
            waiting = Burst(*(np.concatenate(column) for column in zip(*bursts, strict=True)))
            until = int(starts[high]) if high < size.calls else np.iinfo(np.int64).max
            messages.sort(key=lambda message: message.at)
            due = [message for message in messages if message.at // 1000 - EPOCH < until]
            messages = messages[len(due) :]
            totals.sip_messages += len(due)
            early = waiting.at < until
            _write(out, waiting.taken(early), due, streams, noise)
            waiting = waiting.taken(~early)
    truth = {"size": asdict(size), "rtp": totals.summed(), **asdict(totals)}
    path.with_name(path.name + ".truth.json").write_text(json.dumps(truth) + "\n")
    return totals


def _phone(call: int) -> Endpoint:
    return Endpoint(f"198.18.{call // 250 % 250}.{call % 250 + 1}", 16384 + 2 * (call // 62_500))


def _gateway(call: int) -> Endpoint:
    return Endpoint(f"198.19.{call // 400_000}.{call % 16 + 1}", 10_000 + 2 * (call // 16 % 25_000))


def _plan(call: int, start: int, over: int) -> CallPlan:
    phone, gateway = _phone(call), _gateway(call)
    return CallPlan(
        call_id=f"{call:08x}-{call * 2654435761 % (1 << 32):08x}@198.18.0.1",
        caller=Endpoint(phone.ip, SIP_PORT),
        callee=Endpoint(gateway.ip, SIP_PORT),
        caller_user=str(1000 + call),
        callee_user=str(500_000 + call),
        start=(EPOCH + start) * 1000,
        answer_after=(MEDIA_AFTER - 100_000) * 1000,
        talk=(over + 200_000 - start - MEDIA_AFTER) * 1000,
        hung_up_by="callee" if call % 3 == 0 else "caller",
        caller_media=Media(phone, _formats(call)),
        callee_media=Media(gateway, _formats(call)),
    )


def _formats(call: int) -> tuple[tuple[int, str], ...]:
    return ((8, "PCMA/8000"),) if call % 2 else ((0, "PCMU/8000"),)


def _streams(calls: int, rng: np.random.Generator) -> Streams:
    """The unchanging header octets of every stream: caller to callee in even rows, the way back in odd ones."""
    headers = np.zeros((2 * calls, HEADERS), np.uint8)
    for number in range(2 * calls):
        call = number // 2
        src, dst = (_phone(call), _gateway(call)) if number % 2 == 0 else (_gateway(call), _phone(call))
        ethernet = bytes.fromhex("02000000000202000000000108 00")
        addresses = bytes(int(part) for ip in (src.ip, dst.ip) for part in ip.split("."))
        ip = struct.pack("!BBHHHBBH", 0x45, 46 << 2, 40 + SAMPLES, 0, 0x4000, 64, 17, 0) + addresses
        udp = struct.pack("!HHHH", src.port, dst.port, 20 + SAMPLES, 0)
        rtp = struct.pack("!BBHII", 0x80, 8 if call % 2 else 0, 0, 0, number * 2654435761 % (1 << 32))
        headers[number] = np.frombuffer(ethernet + ip + udp + rtp, np.uint8)
    return Streams(headers, rng.integers(0, 1 << 32, (2 * calls, 3), dtype=np.uint32))


def _stream(number: int, start: int, packets: int, rng: np.random.Generator, totals: RtpTotals) -> Burst:
    """`packets` captured packets of one stream in arrival order; the first one sent always arrives first."""
    duplicates = int(rng.binomial(packets, 0.0003))
    received = np.flatnonzero(~_lost(number, packets + packets // 2 + 64, rng))[: packets - duplicates]
    delay = np.minimum(rng.gamma(2.0, rng.uniform(100, 1500), len(received)), 15_000).astype(np.int64)
    late = rng.random(len(received)) < 0.001
    delay[late] += rng.integers(25_000, 45_000, int(late.sum()))
    delay[0] = 0
    again = rng.choice(len(received), duplicates, replace=False)
    index = np.concatenate([received, received[again]])
    at = start + MEDIA_AFTER + index * PTIME
    at[: len(received)] += delay
    at[len(received) :] += delay[again] + rng.integers(200, 3_000, duplicates)
    copies = np.repeat([0, SECOND], [len(received), duplicates])
    order = np.argsort(at, kind="stable")
    at, index, copies = at[order], index[order], copies[order]
    gaps = np.diff(received) - 1
    first_seen = np.zeros(len(index), np.bool_)
    first_seen[np.unique(index, return_index=True)[1]] = True
    overtaken = index[1:] < np.maximum.accumulate(index)[:-1]
    totals.streams.append(
        StreamTotals(
            ssrc=number * 2654435761 % (1 << 32),
            packets=packets,
            expected=int(received[-1]) + 1,
            lost=int(gaps.sum()),
            loss_runs=int((gaps > 0).sum()),
            duplicates=duplicates,
            reordered=int((overtaken & first_seen[1:]).sum()),
        )
    )
    return Burst(at, np.full(len(at), number, np.int32), (index | copies).astype(np.int32))


def _lost(number: int, packets: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """A quarter of the streams lose nothing, half at random (0.1 to 2 %), a quarter in bursts of 3 on average."""
    if number % 4 == 0:
        return np.zeros(packets, np.bool_)
    rate = rng.uniform(0.001, 0.02)
    if number % 4 in (1, 2):
        lost = rng.random(packets) < rate
    else:  # Gilbert's two states as alternating geometric run lengths
        runs = int(packets * rate) + 16
        lengths = np.column_stack([rng.geometric(rate / 3, runs), rng.geometric(1 / 3, runs)]).ravel()
        lost = np.repeat(np.tile([False, True], runs), lengths)[:packets]
        lost = np.concatenate([lost, np.zeros(packets - len(lost), np.bool_)])
    lost[0] = False
    return lost


def _write(out: BinaryIO, burst: Burst, messages: list[SipMessage], streams: Streams, noise: Octets) -> None:
    """Write media and messages in one time order; a message goes before media of the same microsecond."""
    ordered = burst.taken(np.argsort(burst.at, kind="stable"))
    times = np.array([message.at // 1000 - EPOCH for message in messages], np.int64)
    done = 0
    for position, message in zip(np.searchsorted(ordered.at, times).tolist(), messages, strict=True):
        _write_media(out, ordered.taken(np.arange(done, position)), streams, noise)
        out.write(record(message))
        done = position
    _write_media(out, ordered.taken(np.arange(done, len(ordered.at))), streams, noise)


def _write_media(out: BinaryIO, burst: Burst, streams: Streams, noise: Octets) -> None:
    for low in range(0, len(burst.at), _PACKETS_AT_ONCE):
        part = burst.taken(np.arange(low, min(low + _PACKETS_AT_ONCE, len(burst.at))))
        out.write(_records(part, streams, noise))


def _records(burst: Burst, streams: Streams, noise: Octets) -> memoryview:
    """Pcap records with their frames, one row each."""
    rows = np.empty((len(burst.at), 16 + HEADERS + SAMPLES), np.uint8)
    index = (burst.sent % SECOND).astype(np.uint32)
    first = streams.first[burst.stream]
    time = burst.at + EPOCH
    lengths = np.full(len(rows), HEADERS + SAMPLES)
    rows[:, :16] = np.column_stack([time // 1_000_000, time % 1_000_000, lengths, lengths]).astype("<u4").view(np.uint8)
    rows[:, 16 : 16 + HEADERS] = streams.headers[burst.stream]
    rows[:, 16 + HEADERS :] = noise[(index + burst.stream.astype(np.uint32)) % 64]
    frame = rows[:, 16:]
    identification = first[:, 2] + index + np.where(burst.sent < SECOND, 0, 32768).astype(np.uint32)
    _put(frame, 18, identification.astype(">u2"))
    words = frame[:, 14:34].copy().view(">u2").astype(np.uint32).sum(axis=1)
    words = (words & 0xFFFF) + (words >> 16)
    words = (words & 0xFFFF) + (words >> 16)
    _put(frame, 24, (~words & 0xFFFF).astype(">u2"))
    _put(frame, 44, (first[:, 0] + index).astype(">u2"))
    _put(frame, 46, (first[:, 1] + index * np.uint32(SAMPLES)).astype(">u4"))
    frame[:, 43] |= np.where(index == 0, 0x80, 0).astype(np.uint8)
    return rows.data


def _put(frame: Octets, at: int, values: NDArray[np.unsignedinteger]) -> None:
    width = values.dtype.itemsize
    frame[:, at : at + width] = values.view(np.uint8).reshape(-1, width)
