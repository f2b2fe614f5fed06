"""RTP streams as plans: what the sender sends, what the network does to it, and the packets a tap sees in the end."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from collector.facts import Endpoint
from collector.simulator.frames import LinkType, frame, udp_packet

MILLISECOND = 1_000_000
"""Nanoseconds in a millisecond."""
START = 1_700_000_000_000_000_000
"""When plans start unless they say otherwise [ns since the epoch]."""

SENDER = Endpoint("192.0.2.10", 16384)
RECEIVER = Endpoint("198.51.100.20", 20000)


class Silence(NamedTuple):
    """The sender pauses before a packet: its timestamp moves on, its sequence numbers do not (RFC 3551 4.1)."""

    before: int
    """Index of the packet that ends the silence; it carries the marker bit."""
    packets: int
    """Length of the silence in packet times."""


class KeyPress(NamedTuple):
    """A telephone-event in place of voice (RFC 4733 2.5): one timestamp, growing duration, last packets with E."""

    first: int
    """Index of its first packet."""
    event: int
    packets: int
    """All its packets, the `END_PACKETS` final ones included."""
    volume: int = 10


END_PACKETS = 3
"""RFC 4733 2.5.1.4: the final packet of an event is sent three times."""


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """One sender's stream and its fate on the way to the tap. Indices count packets as sent, from 0."""

    src: Endpoint = SENDER
    dst: Endpoint = RECEIVER
    ssrc: int = 0x1234ABCD
    packets: int = 500
    payload_type: int = 8
    clock_rate: int = 8000
    ptime_ms: int = 20
    payload_size: int = 160
    start: int = START
    first_seq: int = 1000
    first_timestamp: int = 160_000
    first_ip_id: int = 1
    dscp: int = 46
    lost: frozenset[int] = frozenset()
    delays: tuple[int, ...] = ()
    """Delay of each packet [ns]; none beyond the end."""
    duplicated: Mapping[int, int] = field(default_factory=dict)
    """Index to how much later [ns] a second copy arrives under an IP id of its own."""
    mirrored_after: int | None = None
    """The tap sees each packet once more, this much later [ns], under the same IP id."""
    silences: tuple[Silence, ...] = ()
    key_presses: tuple[KeyPress, ...] = ()
    event_payload_type: int = 101
    restarts: Mapping[int, int] = field(default_factory=dict)
    """Index to the sequence number from which the sender starts again there."""

    @property
    def samples(self) -> int:
        """Timestamp units in a packet time."""
        return self.clock_rate * self.ptime_ms // 1000


class SentPacket(NamedTuple):
    """One packet as its sender wrote it."""

    place: int
    """Index in the stream as sent."""
    at: int
    """When it was sent [ns]."""
    seq: int
    timestamp: int
    marker: bool
    payload_type: int
    payload: bytes


class CapturedPacket(NamedTuple):
    """One packet as a tap saw it."""

    at: int
    plan: StreamPlan
    sent: SentPacket
    ip_id: int
    copy: str
    """`original`, `duplicate` (the network delivered it twice) or `mirror` (the tap saw it twice)."""


def sent(plan: StreamPlan) -> list[SentPacket]:
    """All packets of the sender."""
    silent = {silence.before: silence.packets for silence in plan.silences}
    events = {press.first + offset: (press, offset) for press in plan.key_presses for offset in range(press.packets)}
    packets = []
    ticks, restarted, base = 0, 0, plan.first_seq
    for index in range(plan.packets):
        if index in plan.restarts:
            restarted, base = index, plan.restarts[index]
        ticks += silent.get(index, 0)
        payload_type, payload, stamp = plan.payload_type, _voice(plan, index), ticks
        marker = index == 0 or index in silent
        if index in events:
            press, offset = events[index]
            payload_type, stamp, marker = plan.event_payload_type, ticks - offset, offset == 0
            payload = _event(press, offset, plan.samples)
        packets.append(
            SentPacket(
                index,
                plan.start + ticks * plan.ptime_ms * MILLISECOND,
                (base + index - restarted) % 65536,
                (plan.first_timestamp + stamp * plan.samples) % (1 << 32),
                marker,
                payload_type,
                payload,
            )
        )
        ticks += 1
    return packets


def captured(plans: Iterable[StreamPlan]) -> list[CapturedPacket]:
    """What a tap sees of several streams, in order of arrival."""
    packets: list[CapturedPacket] = []
    for plan in plans:
        for packet in sent(plan):
            if packet.place in plan.lost:
                continue
            at = packet.at + (plan.delays[packet.place] if packet.place < len(plan.delays) else 0)
            ip_id = (plan.first_ip_id + packet.place) % 65536
            seen = [CapturedPacket(at, plan, packet, ip_id, "original")]
            if packet.place in plan.duplicated:
                again = (ip_id + 32768) % 65536
                seen.append(CapturedPacket(at + plan.duplicated[packet.place], plan, packet, again, "duplicate"))
            packets += seen
            if plan.mirrored_after is not None:
                packets += [one._replace(at=one.at + plan.mirrored_after, copy="mirror") for one in seen]
    return sorted(packets, key=lambda one: one.at)


def rtp(packet: CapturedPacket) -> bytes:
    """The RTP packet (RFC 3550 5.1)."""
    one = packet.sent
    head = struct.pack("!BBHII", 0x80, one.marker << 7 | one.payload_type, one.seq, one.timestamp, packet.plan.ssrc)
    return head + one.payload


def framed(
    packet: CapturedPacket, link_type: LinkType = LinkType.ETHERNET, vlans: tuple[int, ...] = ()
) -> tuple[int, bytes]:
    """Arrival [ns] and link-layer frame."""
    plan = packet.plan
    datagram = udp_packet(plan.src, plan.dst, rtp(packet), ip_id=packet.ip_id, dscp=plan.dscp)
    return packet.at, frame(datagram, link_type, vlans)


def bernoulli_loss(packets: int, rate: float, seed: int) -> frozenset[int]:
    """Independent losses; the first and the last packet always arrive, so that a receiver can count all the others."""
    rng = Random(seed)
    return frozenset(index for index in range(1, packets - 1) if rng.random() < rate)


def gilbert_loss(packets: int, enter: float, leave: float, seed: int) -> frozenset[int]:
    """Losses of Gilbert's two-state chain: mean run 1/leave, mean rate enter/(enter + leave)."""
    rng = Random(seed)
    bad, lost = False, set()
    for index in range(1, packets - 1):
        bad = rng.random() >= leave if bad else rng.random() < enter
        if bad:
            lost.add(index)
    return frozenset(lost)


def uniform_jitter(packets: int, most_ms: float, seed: int) -> tuple[int, ...]:
    """Delays spread evenly from 0 to `most_ms` [ns], whole microseconds; more than one packet time reorders."""
    rng = Random(seed)
    return tuple(rng.randrange(int(most_ms * 1000) + 1) * 1000 for _ in range(packets))


def spikes(packets: int, delayed: Mapping[int, int]) -> tuple[int, ...]:
    """No delay but at the named indices [ns]."""
    return tuple(delayed.get(index, 0) for index in range(packets))


def clock_drift(packets: int, ppm: int, ptime_ms: int = 20) -> tuple[int, ...]:
    """A sender whose clock is slow by `ppm`: each packet comes a little later than its timestamp says [ns]."""
    return tuple(index * ptime_ms * ppm for index in range(packets))


def combined(*delays: Sequence[int]) -> tuple[int, ...]:
    """Delays of several causes, summed packet by packet."""
    return tuple(sum(parts) for parts in zip(*delays, strict=True))


def _voice(plan: StreamPlan, index: int) -> bytes:
    return bytes((index * 7 + position) % 251 for position in range(plan.payload_size))


def _event(press: KeyPress, offset: int, samples: int) -> bytes:
    final = press.packets - END_PACKETS
    ended = offset >= final
    duration = (min(offset, final) + 1) * samples
    return struct.pack("!BBH", press.event, ended << 7 | press.volume, duration)
