"""What one RTP stream says, measured slowly: dictionaries and lists, one obvious step after another.

The kernels keep windows of bits and histograms; this keeps everything and counts at the end. Definitions are those of
the standards that each function names, and the product's own rules where no standard speaks are constants here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

MS = 1_000_000
PAUSE = 2_000 * MS
"""A lower number after so long a silence is a restart, not a late packet."""
COPY = 50 * MS
COPY_WITHOUT_ID = 1 * MS
COPY_REACH = 3
"""A tap's copy follows before four newer packets came."""
JUMP_MS, JUMP_WITH_MARKER_MS = 3_000.0, 400.0
"""A difference of transit times above this says that the sender set its clock anew."""
EVALUATION, EVALUATION_PACKETS = 10_000 * MS, 512
GMIN = 16


class Arrival(NamedTuple):
    """One packet as the tap saw it."""

    at: int
    seq: int
    timestamp: int
    marker: bool = False
    payload_type: int = 8
    ip_id: int = 0
    ttl: int = 64
    octets: int = 160
    dscp: int = 46


@dataclass(frozen=True)
class Measured:
    """Of one stream without restarts."""

    packets: int
    octets: int
    expected: int
    lost: int
    runs: tuple[int, ...]
    duplicates: int
    copies: int
    reordered: int
    jitter: tuple[float, float, float] | None
    """Mean, largest, last [ms]."""
    ipdv: tuple[float, ...]
    pdv: tuple[float, ...]
    timestamp_jumps: int
    max_delta_ms: float | None
    bursts: int
    burst_packets: int
    burst_lost: int
    dscp: dict[int, int]
    types: dict[int, int]
    spurts: int
    comfort_noise: int


class Taken(NamedTuple):
    """A packet of the stream, with its number extended over the wraps."""

    number: int
    packet: Arrival


def measure(arrivals: Sequence[Arrival], clock_rate: int = 8000) -> Measured:
    """Measure the packets in order of arrival. Numbers must stay within 100 of the newest, or go ahead of it."""
    taken, duplicates, copies, reordered = sort_out(arrivals)
    received = {one.number for one in taken}
    numbers = range(min(received), max(received) + 1)
    missing = [number for number in numbers if number not in received]
    packets = [one.packet for one in taken]
    deltas = deltas_of(packets)
    sizes, stretches, jumps = transit_differences(taken, clock_rate)
    bursts = bursts_of(missing)
    return Measured(
        packets=len(packets),
        octets=sum(packet.octets for packet in packets),
        expected=len(numbers),
        lost=len(missing),
        runs=tuple(runs_of(missing)),
        duplicates=duplicates,
        copies=copies,
        reordered=reordered,
        jitter=jitter_of(sizes),
        ipdv=tuple(between_neighbours(stretches)),
        pdv=tuple(variations(stretches)),
        timestamp_jumps=jumps,
        max_delta_ms=max((0.0, *deltas)) if len(packets) > 1 else None,
        bursts=len(bursts),
        burst_packets=sum(burst[-1] - burst[0] + 1 for burst in bursts),
        burst_lost=sum(len(burst) for burst in bursts),
        dscp=dict(Counter(packet.dscp for packet in packets)),
        types=dict(Counter(packet.payload_type for packet in packets)),
        spurts=spurts_of(packets),
        comfort_noise=sum(packet.payload_type == 13 for packet in packets),
    )


def sort_out(arrivals: Sequence[Arrival]) -> tuple[list[Taken], int, int, int]:
    """Packets of the stream, then how many were duplicates, copies of the tap, out of order (RFC 4737 3.3)."""
    taken: list[Taken] = []
    id_of: dict[int, int] = {}
    duplicates = copies = reordered = 0
    newest = arrivals[0].seq
    for packet in arrivals:
        number = newest + ((packet.seq - newest + 32768) & 0xFFFF) - 32768
        if number in id_of:
            if is_copy(packet, id_of[number], taken[-1].packet) and newest - number <= COPY_REACH:
                copies += 1
                continue
            duplicates += 1
        elif number < newest:
            reordered += 1
        id_of.setdefault(number, packet.ip_id)
        newest = max(newest, number)
        taken.append(Taken(number, packet))
    return taken, duplicates, copies, reordered


def deltas_of(packets: Sequence[Arrival]) -> list[float]:
    """Times between packets [ms], but for the silence that comfort noise announced (RFC 3389 4)."""
    deltas = []
    for before, packet in pairwise(packets):
        if before.payload_type != 13:
            deltas.append((packet.at - before.at) / MS)
    return deltas


def is_copy(packet: Arrival, ip_id: int, before: Arrival) -> bool:
    """The same datagram again: the same IP identification at once, or none and hardly any time between."""
    age = packet.at - before.at
    if packet.ip_id == 0 and ip_id == 0:
        return age <= COPY_WITHOUT_ID and packet.ttl == before.ttl
    return age <= COPY and packet.ip_id == ip_id


def runs_of(missing: Sequence[int]) -> list[int]:
    """Lengths of runs of consecutive numbers."""
    runs: list[int] = []
    for place, number in enumerate(missing):
        if place and missing[place - 1] == number - 1:
            runs[-1] += 1
        else:
            runs.append(1)
    return runs


def bursts_of(missing: Sequence[int]) -> list[list[int]]:
    """RFC 3611 4.7.2: losses with fewer than Gmin received between them; a lone loss is no burst."""
    groups: list[list[int]] = []
    for number in missing:
        if groups and number - groups[-1][-1] - 1 < GMIN:
            groups[-1].append(number)
        else:
            groups.append([number])
    return [group for group in groups if len(group) > 1]


class Delay(NamedTuple):
    """How much later than the stretch's first packet one came [ms]; duplicates have none."""

    number: int
    at: int
    offset: float
    base: int
    """Delays are compared only with those of the same base."""


def transit_differences(taken: Sequence[Taken], clock_rate: int) -> tuple[list[float], list[list[Delay]], int]:
    """|D| of RFC 3550 6.4.1 in order of arrival [ms], delays between jumps of the timestamp, jumps."""
    sizes: list[float] = []
    offset = 0.0
    base = 0
    stretches = [[Delay(taken[0].number, taken[0].packet.at, offset, base)]]
    seen = {taken[0].number}
    jumps = 0
    types = {13, taken[0].packet.payload_type}
    for (_, before), (number, packet) in pairwise(taken):
        if packet.payload_type not in types:  # nobody knows its clock yet: nothing to compare with
            types.add(packet.payload_type)
            base += 1
        else:
            ticks = ((packet.timestamp - before.timestamp + (1 << 31)) & 0xFFFFFFFF) - (1 << 31)
            difference = (packet.at - before.at) / MS - 1000.0 * ticks / clock_rate
            talks_again = packet.marker and packet.payload_type != 13
            if abs(difference) > JUMP_MS or (talks_again and abs(difference) > JUMP_WITH_MARKER_MS):
                jumps += 1
                base += 1
                stretches.append([])
            else:
                sizes.append(abs(difference))
                offset += difference
        if number not in seen:
            seen.add(number)
            stretches[-1].append(Delay(number, packet.at, offset, base))
    return sizes, stretches, jumps


def between_neighbours(stretches: Sequence[Sequence[Delay]]) -> list[float]:
    """RFC 5481 4.1: differences of delay between packets next to each other in sequence, absolute."""
    delays = {delay.number: delay for stretch in stretches for delay in stretch}
    pairs = [(delays[number], delays[number + 1]) for number in sorted(delays) if number + 1 in delays]
    return [abs(later.offset - earlier.offset) for earlier, later in pairs if earlier.base == later.base]


def jitter_of(sizes: Sequence[float]) -> tuple[float, float, float] | None:
    """RFC 3550 A.8: J += (|D| - J) / 16; mean, largest and last [ms]."""
    estimate = 0.0
    estimates = []
    for size in sizes:
        estimate += (size - estimate) / 16.0
        estimates.append(estimate)
    return (sum(estimates) / len(estimates), max(estimates), estimates[-1]) if estimates else None


def variations(stretches: Sequence[Sequence[Delay]]) -> list[float]:
    """RFC 5481 4.2: delays over the least of each evaluation, 10 s or 512 packets long."""
    found: list[float] = []
    for stretch in stretches:
        evaluation: list[Delay] = []
        for delay in stretch:
            if evaluation and (len(evaluation) == EVALUATION_PACKETS or delay.at - evaluation[0].at > EVALUATION):
                found += above_least(evaluation)
                evaluation = []
            evaluation.append(delay)
        found += above_least(evaluation)
    return found


def above_least(evaluation: Sequence[Delay]) -> list[float]:
    least = min((delay.offset for delay in evaluation), default=0.0)
    return [delay.offset - least for delay in evaluation]


def spurts_of(packets: Sequence[Arrival]) -> int:
    """Talk spurts begin with the stream, a marker bit (RFC 3551 4.1), or the first voice after comfort noise."""
    spurts = 1
    noise = False
    for place, packet in enumerate(packets):
        if packet.payload_type == 13:
            noise = True
        else:
            spurts += place > 0 and (packet.marker or noise)
            noise = False
    return spurts


def nearest_rank(values: Sequence[float], share: int) -> float:
    """The nearest-rank percentile."""
    return sorted(values)[-(-len(values) * share // 100) - 1]
