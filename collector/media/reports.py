"""From rows of the stream table to reports: percentiles, burst and gap, histograms, payload types.

A report is what one or more rows of the same stream measured, before anyone asks which call it belongs to and why
packets are missing. Rows are put together while they are still arrays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from collector.facts import Bin, BurstGap, Endpoint, Jitter, Spread
from collector.media import columns as m

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

PERCENTILES = (0.50, 0.95, 0.99)
DRIFT_POINTS = 3
"""Least number of 10 s evaluations that a clock drift is read from."""

OCTAVE_EDGES = tuple(0.0 if k == 0 else 0.128 * 2 ** (k - 1) for k in range(21))
"""Lower edges of the classes of the delay histogram [ms]: each twice as wide as the one before."""


class RowBlock(NamedTuple):
    """Copies of table rows, taken out together; index 0 is the row."""

    counts: Integers
    sums: Floats
    types: Integers
    dscp: Integers
    ipdv: NDArray[np.int32]
    pdv: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class StreamReport:
    """What the packets of one stream say."""

    src: Endpoint
    dst: Endpoint
    ssrc: int
    serials: tuple[int, ...]
    """Rows it was measured in, oldest first; events are logged under these numbers."""
    validated: bool
    """Two packets in sequence were seen (RFC 3550 A.1)."""
    sequential: int
    """Packets whose number followed the one before."""
    packets: int
    octets: int
    expected: int
    lost: int
    loss_runs: int
    run_classes: tuple[int, ...]
    bursts: int
    burst_packets: int
    burst_lost: int
    duplicates: int
    copies: int
    reordered: int
    jitter: Jitter | None
    ipdv: Spread | None
    pdv: Spread | None
    delay_histogram: tuple[Bin, ...]
    max_delta_ms: float | None
    drift_ppm: float | None
    types: Mapping[int, int]
    """Packets by payload type, in order of first appearance."""
    clock_rate: int | None
    event_types: tuple[int, ...]
    """Payload types that carried telephone-events."""
    step: int
    """Timestamp increment per packet, 0 when unknown."""
    dscp: Mapping[int, int]
    comfort_noise: int
    spurts: int
    event_packets: int
    timestamp_jumps: int
    unlogged: int
    base_seq: int
    last_seq: int
    last_timestamp: int
    first: int
    last: int


def bin_edges(index: int) -> tuple[float, float]:
    """Edges of a class of the delay histograms [ms]; the inverse of `delay_bin`."""
    if index < 32:
        return index * 0.008, (index + 1) * 0.008
    shift = index // 16 - 1
    low = (index % 16 + 16) << shift
    return low * 0.008, (low + (1 << shift)) * 0.008


_EDGES = tuple(bin_edges(k) for k in range(m.DELAY_BINS))
_MIDDLES = np.array([(low + high) / 2 for low, high in _EDGES])


def spreads(histogram: NDArray[np.int32], most: Floats) -> list[Spread | None]:
    """Percentiles of each row by nearest rank: the middle of the class that holds the rank, at most the largest."""
    totals = histogram.sum(axis=1, dtype=np.int64)
    cumulative = np.cumsum(histogram, axis=1, dtype=np.int64)
    columns = []
    for share in PERCENTILES:
        rank = np.maximum(np.ceil(share * totals), 1)
        columns.append(np.minimum(_MIDDLES[np.argmax(cumulative >= rank[:, None], axis=1)], most))
    return [
        Spread(p50, p95, p99, largest) if total else None
        for p50, p95, p99, largest, total in zip(
            *(column.tolist() for column in columns), most.tolist(), totals.tolist(), strict=True
        )
    ]


def octaves(histogram: NDArray[np.int32]) -> list[tuple[Bin, ...]]:
    """The delay histogram of each row in classes that double, without the empty ones at its end."""
    sums = np.add.reduceat(histogram, [0, *range(16, m.DELAY_BINS, 16)], axis=1)
    result = []
    for row in sums.tolist():
        last = max((k for k, count in enumerate(row) if count), default=-1)
        result.append(
            tuple(
                Bin(OCTAVE_EDGES[k], OCTAVE_EDGES[k + 1] if k + 1 < len(OCTAVE_EDGES) else None, row[k])
                for k in range(last + 1)
            )
        )
    return result


def take(rows: Sequence[int], block: RowBlock) -> RowBlock:
    """Copies of some rows."""
    order = list(rows)
    return RowBlock(
        block.counts[order],
        block.sums[order],
        block.types[order],
        block.dscp[order],
        block.ipdv[order],
        block.pdv[order],
    )


def merge(block: RowBlock, groups: Sequence[Sequence[int]]) -> RowBlock:
    """One row for each group of rows of the same stream, oldest first: counts and histograms add up."""
    if all(len(group) == 1 for group in groups):
        return take([group[0] for group in groups], block)
    merged = take([group[0] for group in groups], block)
    largest = (m.MAX_DELTA,)
    latest = (m.LAST_AT, m.LAST_TIMESTAMP, m.PAYLOAD_TYPE, m.PAYLOAD_TYPE_RUN, m.DSCP_NOW, m.DSCP_RUN, m.CLOCK)
    added = (
        m.PACKETS, m.OCTETS, m.REORDERED, m.DUPLICATES, m.COPIES, m.LOST, m.LOSS_RUNS, m.BURSTS, m.BURST_PACKETS,
        m.BURST_LOST, m.COMFORT_NOISE, m.SPURTS, m.EVENTS_UNLOGGED, m.EVENT_PACKETS_ALL, m.JITTER_COUNT,
        m.TIMESTAMP_JUMPS, m.SEQUENTIAL, *range(m.RUN_CLASSES_AT, m.RUN_CLASSES_AT + len(m.RUN_CLASS_LOWS)),
    )  # fmt: skip
    for into, group in enumerate(groups):
        for row in group[1:]:
            flush_runs(merged, into)
            for column in added:
                merged.counts[into, column] += block.counts[row, column]
            for column in largest:
                merged.counts[into, column] = max(merged.counts[into, column], block.counts[row, column])
            for column in latest:
                merged.counts[into, column] = block.counts[row, column]
            # Numbers expected add up through the distance between base and maximum.
            merged.counts[into, m.MAX_SEQ] += block.counts[row, m.MAX_SEQ] - block.counts[row, m.BASE_SEQ] + 1
            merged.sums[into, m.JITTER] = block.sums[row, m.JITTER]
            merged.sums[into, m.JITTER_SUM] += block.sums[row, m.JITTER_SUM]
            for column in (m.JITTER_MAX, m.IPDV_MAX, m.PDV_MAX):
                merged.sums[into, column] = max(merged.sums[into, column], block.sums[row, column])
            merged.counts[into, m.DRIFT_COUNT] = 0  # offsets of the segments have nothing in common
            add_types(merged.types[into], block.types[row])
            merged.dscp[into] += block.dscp[row]
            merged.ipdv[into] += block.ipdv[row]
            merged.pdv[into] += block.pdv[row]
    return merged


def flush_runs(block: RowBlock, row: int) -> None:
    """Add the run of packets in progress to the tables of payload types and DSCP, as the kernel does at a change."""
    counts = block.counts[row]
    if counts[m.PAYLOAD_TYPE_RUN]:
        run = np.zeros(m.TYPE_COLUMNS, np.int64)
        run[m.TYPE_NUMBER] = counts[m.PAYLOAD_TYPE] + 1
        run[m.TYPE_CLOCK] = counts[m.CLOCK]
        run[m.TYPE_COUNT] = counts[m.PAYLOAD_TYPE_RUN]
        add_types(block.types[row], run)
        counts[m.PAYLOAD_TYPE_RUN] = 0
    if counts[m.DSCP_RUN]:
        block.dscp[row, counts[m.DSCP_NOW]] += counts[m.DSCP_RUN]
        counts[m.DSCP_RUN] = 0


def add_types(into: Integers, other: Integers) -> None:
    for at in range(0, m.TYPE_COLUMNS, 3):
        number, clock, count = other[at : at + 3].tolist()
        if not number:
            continue
        for slot in range(0, m.TYPE_COLUMNS, 3):
            if into[slot] in (0, number) or slot == m.TYPE_COLUMNS - 3:
                if into[slot] == 0:
                    into[slot] = number
                if clock:
                    into[slot + m.TYPE_CLOCK] = clock
                into[slot + m.TYPE_COUNT] += count
                break


def drift_ppm(count: int, x: float, y: float, xx: float, xy: float) -> float | None:
    """Slope of the least delays over time: positive when the sender's clock runs fast against the tap's [ppm]."""
    if count < DRIFT_POINTS:
        return None
    spread = count * xx - x * x
    if spread <= 0:
        return None
    return -1000.0 * (count * xy - x * y) / spread  # ms per s are thousandths; a fast sender's packets come early


def burst_gap(expected: int, lost: int, bursts: int, burst_packets: int, burst_lost: int, ptime_ms: float) -> BurstGap:
    """Densities and mean durations of RFC 3611 4.7.2; first and last packet are received, so gaps enclose bursts."""
    gap_packets = expected - burst_packets
    return BurstGap(
        bursts=bursts,
        burst_density=100.0 * burst_lost / burst_packets if burst_packets else 0.0,
        gap_density=100.0 * (lost - burst_lost) / gap_packets if gap_packets > 0 else 0.0,
        burst_duration_ms=burst_packets / bursts * ptime_ms if bursts else 0.0,
        gap_duration_ms=gap_packets / (bursts + 1) * ptime_ms,
    )


def burst_ratio(expected: int, lost: int, runs: int) -> float | None:
    """Mean length of a run of losses over its mean under random loss (G.107 3.5), at least 1; None without loss."""
    if not lost or not runs or lost >= expected:
        return None
    return max(1.0, lost / runs * (1.0 - lost / expected))


def run_bins(classes: Sequence[int]) -> tuple[Bin, ...]:
    """Loss runs by length [packets], empty classes left out."""
    lows = m.RUN_CLASS_LOWS
    return tuple(
        Bin(lows[k], lows[k + 1] if k + 1 < len(lows) else None, count) for k, count in enumerate(classes) if count
    )


def _type_table(row: Sequence[int]) -> dict[int, int]:
    return {
        row[at] - 1: row[at + m.TYPE_COUNT] for at in range(0, m.TYPE_COLUMNS, 3) if row[at] and row[at + m.TYPE_COUNT]
    }


def _event_types(known: int, packets: int, types: Mapping[int, int]) -> tuple[int, ...]:
    """As SDP named them; else the dynamic type whose every packet was shaped like an event."""
    if not packets:
        return ()
    named = tuple(t for t in (known & 255, known >> 8) if t in types) if known >= 0 else ()
    packets -= sum(types[t] for t in named)
    if not packets:
        return named
    return named + tuple(t for t, count in types.items() if t >= 96 and t not in named and count <= packets)[:1]


def reports(
    block: RowBlock, endpoints: Sequence[tuple[Endpoint, Endpoint]], serials: Sequence[tuple[int, ...]]
) -> list[StreamReport]:
    """A report for each row of a merged block."""
    for row in range(len(block.counts)):
        flush_runs(block, row)
    ipdv = spreads(block.ipdv, block.sums[:, m.IPDV_MAX])
    pdv = spreads(block.pdv, block.sums[:, m.PDV_MAX])
    histograms = octaves(block.pdv)
    counts = block.counts.tolist()
    sums = block.sums.tolist()
    types = block.types.tolist()
    result = []
    for row, c in enumerate(counts):
        s = sums[row]
        table = _type_table(types[row])
        jitters = c[m.JITTER_COUNT]
        marks = np.flatnonzero(block.dscp[row])
        result.append(
            StreamReport(
                src=endpoints[row][0],
                dst=endpoints[row][1],
                ssrc=c[m.KEY_SSRC],
                serials=serials[row],
                validated=c[m.STATE] != m.STATE_PROBATION,
                sequential=c[m.SEQUENTIAL],
                packets=c[m.PACKETS],
                octets=c[m.OCTETS],
                expected=c[m.MAX_SEQ] - c[m.BASE_SEQ] + 1,
                lost=c[m.LOST],
                loss_runs=c[m.LOSS_RUNS],
                run_classes=tuple(c[m.RUN_CLASSES_AT : m.RUN_CLASSES_AT + len(m.RUN_CLASS_LOWS)]),
                bursts=c[m.BURSTS],
                burst_packets=c[m.BURST_PACKETS],
                burst_lost=c[m.BURST_LOST],
                duplicates=c[m.DUPLICATES],
                copies=c[m.COPIES],
                reordered=c[m.REORDERED],
                jitter=Jitter(s[m.JITTER_SUM] / jitters, s[m.JITTER_MAX], s[m.JITTER]) if jitters else None,
                ipdv=ipdv[row],
                pdv=pdv[row] if jitters else None,
                delay_histogram=histograms[row] if jitters else (),
                max_delta_ms=c[m.MAX_DELTA] / 1e6 if c[m.PACKETS] > 1 else None,
                drift_ppm=drift_ppm(c[m.DRIFT_COUNT], s[m.DRIFT_X], s[m.DRIFT_Y], s[m.DRIFT_XX], s[m.DRIFT_XY]),
                types=table,
                clock_rate=c[m.CLOCK] if c[m.CLOCK] > 0 else None,
                event_types=_event_types(c[m.EVENT_TYPE], c[m.EVENT_PACKETS_ALL], table),
                step=c[m.TIMESTAMP_STEP] if c[m.STEP_VOTES] > 0 else 0,
                dscp={int(mark): int(block.dscp[row, mark]) for mark in marks},
                comfort_noise=c[m.COMFORT_NOISE],
                spurts=c[m.SPURTS],
                event_packets=c[m.EVENT_PACKETS_ALL],
                timestamp_jumps=c[m.TIMESTAMP_JUMPS],
                unlogged=c[m.EVENTS_UNLOGGED],
                base_seq=c[m.BASE_SEQ],
                last_seq=c[m.MAX_SEQ],
                last_timestamp=c[m.LAST_TIMESTAMP],
                first=c[m.FIRST_AT],
                last=c[m.LAST_AT],
            )
        )
    return result
