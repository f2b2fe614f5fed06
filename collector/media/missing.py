"""Why sequence numbers are missing: the network lost them, or nobody ever sent them there.

The table counts every number that never arrived. Here each run of them is held against what else is known: holds and
T.38 phases of the call, telephone-events that the same talker sent on another leg, pauses in which a gateway's
numbering went on. Only what is left is network loss.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from collector.facts import BurstGap, MissingRun, Span, TelephoneEvent
from collector.media.columns import GMIN, LOG_EVENT, LOG_JUMP, LOG_LATE, RUN_CLASS_LOWS
from collector.media.reports import StreamReport, burst_gap, burst_ratio
from collector.media.streams import LoggedEvent

PAUSE_NS = 1_000_000_000
"""A silence this long may be a pause of the sender; whether it is one, the numbering must tell."""
PAUSE_TOLERANCE = 0.25
"""How far a gap's length may be from its packets' time and still be a plain outage."""
PAUSE_LEAST = 25
"""Fewer missing numbers than this are loss at the edge of a pause, not a jump of the numbering."""
SPAN_LEAST = 10
"""Fewer missing numbers than this are loss also within a hold, when music plays."""
DIGITS_SHARE = 0.8


class Run(NamedTuple):
    """Consecutive extended sequence numbers that never arrived."""

    start: int
    packets: int
    at: int
    """Arrival of the packet that closed it [ns]."""
    duration_ns: int
    cause: str = "network"


class Losses(NamedTuple):
    """What is missing from a stream, told apart."""

    expected: int
    lost: int
    runs: int
    run_classes: tuple[int, ...]
    burst_gap: BurstGap | None
    burst_ratio: float | None
    listed: tuple[Run, ...]
    not_network: Mapping[str, int]


def missing_runs(events: Iterable[LoggedEvent]) -> list[Run]:
    """Runs from the jumps of a stream, without the numbers that came late after all."""
    jumps = []
    late: set[int] = set()
    for event in events:
        if event.kind == LOG_JUMP and event.b > 0:
            jumps.append(event)
        elif event.kind == LOG_LATE:
            late.add(event.a)
    if not late:
        return [Run(jump.a, jump.b, jump.at, jump.c) for jump in jumps]
    runs = []
    for jump in jumps:
        start = None
        for number in range(jump.a, jump.a + jump.b + 1):
            missing = number < jump.a + jump.b and number not in late
            if missing and start is None:
                start = number
            elif not missing and start is not None:
                runs.append(Run(start, number - start, jump.at, jump.c))
                start = None
    return runs


def telephone_events(events: Iterable[LoggedEvent], clock_rate: int) -> list[TelephoneEvent]:
    """RFC 4733 events of a stream; durations by the stream's clock."""
    return [
        TelephoneEvent(
            at=event.at,
            event=event.a & 0xFF,
            duration_ms=1000.0 * event.b / clock_rate,
            volume_dbm0=-(event.a >> 16),
            packets=event.c,
            ended=bool(event.a >> 8 & 1),
        )
        for event in events
        if event.kind == LOG_EVENT
    ]


def event_numbers(events: Iterable[LoggedEvent]) -> set[int]:
    """Sequence numbers (16 bits) that carried telephone-events; an event's packets follow one another."""
    numbers: set[int] = set()
    for event in events:
        if event.kind == LOG_EVENT:
            first, last = event.d >> 32, event.d & 0xFFFFFFFF
            numbers.update(number & 0xFFFF for number in range(first, min(last, first + 4096) + 1))
    return numbers


def cause_of(run: Run, ptime_ns: int, spans: Sequence[Span], elsewhere: set[int]) -> str:
    """Why a run is missing: `t38`, `hold`, `digits`, `pause`, or `network`."""
    since = run.at - run.duration_ns
    for span in spans if run.packets >= SPAN_LEAST else ():
        if span.start < run.at and (span.end is None or span.end > since):
            if span.what in ("t38", "t38_offer"):
                return "t38"
            if span.what == "hold":
                return "hold"
    if elsewhere:
        carried = sum(1 for number in range(run.start, run.start + run.packets) if number & 0xFFFF in elsewhere)
        if carried >= DIGITS_SHARE * run.packets:
            return "digits"
    if ptime_ns and run.packets >= PAUSE_LEAST and run.duration_ns >= PAUSE_NS:
        spoken = (run.packets + 1) * ptime_ns
        if abs(spoken - run.duration_ns) > PAUSE_TOLERANCE * run.duration_ns:
            return "pause"
    return "network"


def losses(
    report: StreamReport,
    events: Sequence[LoggedEvent],
    ptime_ms: float | None,
    spans: Sequence[Span] = (),
    elsewhere: set[int] | None = None,
) -> Losses:
    """Split what is missing by cause; `elsewhere` are numbers that carried telephone-events on another leg."""
    listed = missing_runs(events) if report.lost else []
    only_events = report.event_packets == report.packets - report.comfort_noise and report.event_packets > 0
    if report.lost and only_events:
        listed = [run._replace(cause="event_only") for run in listed]
    elif report.lost:
        ptime_ns = round((ptime_ms or 0) * 1e6)
        listed = [run._replace(cause=cause_of(run, ptime_ns, spans, elsewhere or set())) for run in listed]
    not_network: dict[str, int] = {}
    for run in listed:
        if run.cause != "network":
            not_network[run.cause] = not_network.get(run.cause, 0) + run.packets
    if report.lost and only_events:
        not_network = {"event_only": report.lost}
    if not not_network:
        gaps = None
        if ptime_ms and report.expected:
            gaps = burst_gap(
                report.expected, report.lost, report.bursts, report.burst_packets, report.burst_lost, ptime_ms
            )
        ratio = burst_ratio(report.expected, report.lost, report.loss_runs)
        return Losses(
            report.expected, report.lost, report.loss_runs, report.run_classes, gaps, ratio, tuple(listed), {}
        )
    return _without(report, listed, not_network, ptime_ms)


def _without(
    report: StreamReport, listed: Sequence[Run], not_network: Mapping[str, int], ptime_ms: float | None
) -> Losses:
    """Loss measures once more from the runs that are left, as if the others had never been numbered."""
    excluded = sum(not_network.values())
    expected, lost = report.expected - excluded, report.lost - excluded
    kept = [run for run in listed if run.cause == "network"]
    complete = lost == sum(run.packets for run in kept)
    classes = [0] * len(RUN_CLASS_LOWS)
    for run in kept:
        classes[max(k for k, low in enumerate(RUN_CLASS_LOWS) if run.packets >= low)] += 1
    gaps = None
    if complete and ptime_ms:
        gaps = burst_gap(expected, lost, *segment(listed), ptime_ms)
    ratio = burst_ratio(expected, lost, len(kept)) if complete else None
    return Losses(expected, lost, len(kept), tuple(classes), gaps, ratio, tuple(listed), not_network)


def segment(runs: Iterable[Run]) -> tuple[int, int, int]:
    """Bursts, packets in them, losses in them (RFC 3611 4.7.2, Gmin 16); a run of another cause ends a burst."""
    bursts = packets = lost = 0
    cluster_packets = cluster_lost = 0
    last = None
    for run in sorted(runs):
        received = run.start - last - 1 if last is not None else GMIN
        if run.cause == "network" and received < GMIN and cluster_lost:
            cluster_packets += received + run.packets
            cluster_lost += run.packets
        else:
            if cluster_lost >= 2:
                bursts, packets, lost = bursts + 1, packets + cluster_packets, lost + cluster_lost
            cluster_packets = cluster_lost = run.packets if run.cause == "network" else 0
        last = run.start + run.packets - 1
    if cluster_lost >= 2:
        bursts, packets, lost = bursts + 1, packets + cluster_packets, lost + cluster_lost
    return bursts, packets, lost


def as_facts(runs: Sequence[Run], limit: int) -> tuple[MissingRun, ...]:
    """The first runs for the record."""
    return tuple(MissingRun(run.at, run.packets, run.duration_ns / 1e6, run.cause) for run in runs[:limit])
