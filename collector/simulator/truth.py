"""What is true of captured packets: slow, exact arithmetic straight from the definitions, sharing nothing with kernels.

Definitions: a mirror copy is no packet of the stream. A duplicate is a packet of the stream whose sequence number was
seen before. Expected is RFC 3550 A.3 over each stretch between restarts. Reordered is RFC 4737 3.3: a packet, no
duplicate, whose sequence number is below one already seen. Jitter is RFC 3550 A.8 in order of arrival over every packet
of the voice clock, duplicates included; telephone-events are left out, for they repeat their timestamp.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from collector.simulator.traffic import CapturedPacket

GMIN = 16
"""RFC 3611 4.7.2: so many packets received in a row end a burst."""


@dataclass(frozen=True, slots=True)
class JitterTruth:
    """RFC 3550 A.8 [ms]; the mean is over the estimates that followed a difference, so all but the first packet."""

    mean: float
    max: float
    last: float


@dataclass(frozen=True, slots=True)
class BurstTruth:
    """RFC 3611 4.7.2 segmented directly: a lone loss belongs to a gap."""

    bursts: int
    lost_in_bursts: int
    packets_in_bursts: int
    lost_in_gaps: int
    packets_in_gaps: int


@dataclass(frozen=True, slots=True)
class StreamTruth:
    """What is true of one stream at the tap."""

    packets: int
    octets: int
    expected: int
    lost: int
    loss_runs: tuple[int, ...]
    duplicates: int
    mirror_copies: int
    reordered: int
    jitter: JitterTruth | None
    ipdv_ms: tuple[float, ...]
    """Delay of each voice packet less that of the one before it in sequence (RFC 5481 4.1), signed; no duplicates."""
    pdv_ms: tuple[float, ...]
    """Delay of each voice packet less the least of the stream (RFC 5481 4.2)."""
    deltas_ms: tuple[float, ...]
    """Times between packets, in order of arrival."""
    burst_ratio: float | None
    """(lost / runs) (1 - lost / expected), at least 1 (G.107 3.5)."""
    bursts: BurstTruth

    @property
    def loss_percent(self) -> float:
        """Lost of expected."""
        return 100.0 * self.lost / self.expected


def measure(packets: Sequence[CapturedPacket]) -> StreamTruth:
    """Measure the packets of one plan in order of arrival."""
    of_stream = [packet for packet in packets if packet.copy != "mirror"]
    seen = _received(of_stream)
    runs = loss_runs(seen)
    lost = sum(runs)
    expected = lost + sum(seen)
    originals = [packet for packet in of_stream if packet.copy == "original"]
    voice = [packet for packet in of_stream if packet.sent.payload_type == packet.plan.payload_type]
    delays = [_transit_ms(packet, voice[0]) for packet in voice]
    timed = zip(voice, delays, strict=True)
    delay_of = {packet.sent.place: delay for packet, delay in timed if packet.copy == "original"}
    return StreamTruth(
        packets=len(of_stream),
        octets=sum(len(packet.sent.payload) for packet in of_stream),
        expected=expected,
        lost=lost,
        loss_runs=tuple(runs),
        duplicates=len(of_stream) - len(originals),
        mirror_copies=len(packets) - len(of_stream),
        reordered=sum(_overtaken([packet.sent.place for packet in originals])),
        jitter=interarrival_jitter(delays),
        ipdv_ms=tuple(
            float(delay_of[place + 1] - delay_of[place]) for place in sorted(delay_of) if place + 1 in delay_of
        ),
        pdv_ms=tuple(float(delay - min(delay_of.values())) for delay in delay_of.values()),
        deltas_ms=tuple((later.at - earlier.at) / 1e6 for earlier, later in pairwise(of_stream)),
        burst_ratio=max(1.0, lost / len(runs) * (1 - lost / expected)) if runs else None,
        bursts=segment(seen),
    )


def interarrival_jitter(transits_ms: Sequence[Fraction]) -> JitterTruth | None:
    """J += (|D| - J) / 16 in exact fractions; None for fewer than two packets."""
    estimate = Fraction(0)
    estimates = []
    for earlier, later in pairwise(transits_ms):
        estimate += (abs(later - earlier) - estimate) / 16
        estimates.append(estimate)
    if not estimates:
        return None
    return JitterTruth(float(sum(estimates) / len(estimates)), float(max(estimates)), float(estimates[-1]))


def loss_runs(received: Sequence[bool]) -> list[int]:
    """Lengths of the runs of lost packets."""
    runs, run = [], 0
    for arrived in received:
        if not arrived:
            run += 1
        elif run:
            runs.append(run)
            run = 0
    return [*runs, run] if run else runs


def segment(received: Sequence[bool]) -> BurstTruth:
    """Bursts are the longest stretches from loss to loss with fewer than GMIN received in a row inside."""
    losses = [index for index, arrived in enumerate(received) if not arrived]
    groups: list[list[int]] = []
    for index in losses:
        if groups and index - groups[-1][-1] - 1 < GMIN:
            groups[-1].append(index)
        else:
            groups.append([index])
    bursts = [group for group in groups if len(group) > 1]
    lost = sum(len(group) for group in bursts)
    length = sum(group[-1] - group[0] + 1 for group in bursts)
    return BurstTruth(len(bursts), lost, length, len(losses) - lost, len(received) - length)


def _received(packets: Sequence[CapturedPacket]) -> list[bool]:
    """Whether each packet arrived, from the lowest to the highest that did."""
    indices = {packet.sent.place for packet in packets}
    return [index in indices for index in range(min(indices), max(indices) + 1)]


def _transit_ms(packet: CapturedPacket, first: CapturedPacket) -> Fraction:
    ticks = (packet.sent.timestamp - first.sent.timestamp + (1 << 31)) % (1 << 32) - (1 << 31)
    return Fraction(packet.at - first.at, 1_000_000) - Fraction(ticks * 1000, packet.plan.clock_rate)


def _overtaken(indices: Sequence[int]) -> list[bool]:
    return [any(earlier > index for earlier in indices[:position]) for position, index in enumerate(indices)]
