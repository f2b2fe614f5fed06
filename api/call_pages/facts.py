"""What the file shows of a call, taken from the replay: a ladder, and each stream over time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import nsmallest
from typing import Final, NamedTuple

from analytics.questions.terms import StreamTerms, terms_of
from api.lake_rows import mos_of
from api.phrases import SIP_PHRASES
from api.rated import Rated, RatedCall, RatedStream
from api.terminal import call_findings, call_rank
from api.wording import duration, time_of_day
from collector.facts import Interval, Step, Stream

MOST_CALLS: Final = 100
"""Calls that are shown, the worst first: a file that a browser opens at once."""
MOST_STREAMS: Final = 12
"""Streams of a call that are drawn."""
MOST_RUNGS: Final = 200
MOST_ENDS: Final = 6
MOST_TICKS: Final = 2_000
MOST_POINTS: Final = 300
MOS_NS: Final = 10_000_000_000
BUFFER_MS: Final = 40.0
"""Delay of the play-out buffer that ratings assume; what comes later is discarded."""


class Rung(NamedTuple):
    """A message of the ladder."""

    at: str
    gap: str
    source: int
    target: int
    label: str
    kind: str
    """request, progress, success or failure."""


class Ladder(NamedTuple):
    """Messages between endpoints in order of time."""

    ends: tuple[str, ...]
    rungs: tuple[Rung, ...]
    left_out: int


class Tick(NamedTuple):
    """A packet that is not there."""

    place: float
    """Where in the call's time, from 0 to 1."""
    network: bool
    """Whether the network lost it; else it was not sent, as on hold."""


class Point(NamedTuple):
    """A value over a stretch of time; both ends as places in the call's time."""

    begin: float
    end: float
    value: float | None


class Late(NamedTuple):
    """Packets by how much later they came than the quickest."""

    label: str
    share: float
    """Of all packets [%]."""
    late: str
    """`no`, `partly` or `yes`: whether the buffer had been played out by then."""


class Held(NamedTuple):
    """A time in which something held, or with both ends equal, a moment."""

    begin: float
    end: float
    what: str


class StreamView(NamedTuple):
    """One stream, ready to be drawn."""

    rated: RatedStream
    ticks: tuple[Tick, ...]
    not_drawn: int
    """Missing packets for which there is no tick."""
    jitter: tuple[Point, ...]
    """Interarrival jitter [ms]."""
    loss: tuple[Point, ...]
    """Lost packets [%]."""
    mos: tuple[Point, ...]
    """MOS of each 10 s."""
    late: tuple[Late, ...]
    held: tuple[Held, ...]
    terms: StreamTerms | None


class CallView(NamedTuple):
    """One call, ready to be written."""

    rated: RatedCall
    ladder: Ladder
    begin: int
    end: int
    """What the time axes of its streams span [ns since the epoch]."""
    streams: tuple[StreamView, ...]
    streams_left_out: int
    findings: tuple[str, ...]


def chosen(rated: Rated, most: int = MOST_CALLS) -> tuple[list[RatedCall], int]:
    """Return the calls to show, the worst first, and how many are left out."""
    calls = rated.calls
    worst = nsmallest(most, calls, key=call_rank)
    return worst, len(calls) - len(worst)


def intervals_by_stream(rated: Rated) -> dict[int, Sequence[Interval]]:
    """Return the intervals of each stream by its identity in memory, as calls hold the same streams."""
    replay = rated.replay
    if not replay.intervals:
        return {}
    return {id(stream): of for stream, of in zip(replay.streams, replay.intervals, strict=True)}


def view_of(rated: RatedCall, intervals: dict[int, Sequence[Interval]]) -> CallView:
    """Return what is shown of a call."""
    call = rated.call
    streams = rated.streams[:MOST_STREAMS]
    begin = min((one.stream.first for one in streams), default=call.start)
    end = max((one.stream.last for one in streams), default=call.end or call.start)
    end = max(end, begin + 1)
    holds = [span for leg in call.legs for span in leg.spans if span.what in ("hold", "t38")]
    held = [
        Held(_place(span.start, begin, end), _place(span.end or end, begin, end), span.what)
        for span in holds
        if span.start < end and (span.end is None or span.end > begin)
    ]
    shown = tuple(_stream(one, intervals.get(id(one.stream), ()), begin, end, held) for one in streams)
    said = [f"{time_of_day(one.at)}  {one.text}" if one.at is not None else one.text for one in call_findings(rated)]
    steps = [step for leg in call.legs for step in leg.steps]
    left_out = sum(leg.steps_left_out for leg in call.legs)
    found = tuple(dict.fromkeys(said))
    return CallView(rated, ladder(steps, left_out), begin, end, shown, len(rated.streams) - len(streams), found)


def ladder(steps: Iterable[Step], left_out: int = 0) -> Ladder:
    """Return the ladder of messages of all legs."""
    ends: dict[str, int] = {}
    rungs: list[Rung] = []
    before: int | None = None
    for step in sorted(steps, key=lambda one: one.at):
        source, target = str(step.src), str(step.dst)
        for end in (source, target):
            if end not in ends and len(ends) < MOST_ENDS:
                ends[end] = len(ends)
        if source not in ends or target not in ends or len(rungs) >= MOST_RUNGS:
            left_out += 1
            continue
        gap = "" if before is None else f"+{duration((step.at - before) / 1e6)}"
        before = step.at
        rungs.append(Rung(time_of_day(step.at), gap, ends[source], ends[target], _label(step), _kind(step.status)))
    return Ladder(tuple(ends), tuple(rungs), left_out)


def _label(step: Step) -> str:
    said = step.method
    if step.status is not None:
        said = f"{step.status} {SIP_PHRASES.get(step.status, '')}".rstrip()
        said += "" if step.method in ("INVITE", "BYE") else f" ({step.method})"
    return f"{said} ×{step.repeated + 1}" if step.repeated else said


def _kind(status: int | None) -> str:
    if status is None:
        return "request"
    return "progress" if status < 200 else "success" if status < 300 else "failure"


def _place(at: int, begin: int, end: int) -> float:
    return min(1.0, max(0.0, (at - begin) / (end - begin)))


def _stream(
    rated: RatedStream, intervals: Sequence[Interval], begin: int, end: int, held: Sequence[Held]
) -> StreamView:
    stream = rated.stream
    ticks = tuple(_ticks(stream, begin, end))
    missing = stream.lost + sum(stream.not_network.values())
    jitter = [(one.start, one.end, one.jitter_ms) for one in intervals]
    loss = [(one.start, one.end, _loss(one)) for one in intervals]
    moments = [Held(_place(one.at, begin, end), _place(one.at, begin, end), "key") for one in stream.telephone_events]
    moments += [
        Held(_place(one.at, begin, end), _place(one.at, begin, end), f"{one.old} → {one.new}")
        for one in stream.codec_changes
    ]
    quality = rated.quality
    return StreamView(
        rated,
        ticks,
        max(0, missing - len(ticks)),
        _points(jitter, begin, end),
        _points(loss, begin, end),
        tuple(_mos(rated, intervals, begin, end)),
        late_of(stream),
        (*held, *moments),
        terms_of("", quality.model, quality.r_factor),
    )


def _loss(one: Interval) -> float | None:
    return 100 * max(0, one.lost) / one.expected if one.expected > 0 else None


def _ticks(stream: Stream, begin: int, end: int) -> Iterable[Tick]:
    """Yield a tick for each missing packet: those of a run lie evenly between the packets on either side."""
    made = 0
    for run in stream.missing:
        step = run.duration_ms * 1e6 / (run.packets + 1)
        start = run.at - run.duration_ms * 1e6
        for number in range(1, run.packets + 1):
            if made >= MOST_TICKS:
                return
            made += 1
            yield Tick(_place(round(start + number * step), begin, end), run.cause == "network")


def _points(values: Sequence[tuple[int, int, float | None]], begin: int, end: int) -> tuple[Point, ...]:
    """Return points, of many the worst of every few: what stands out is what is looked for."""
    every = -(-len(values) // MOST_POINTS) if values else 1
    found = []
    for first in range(0, len(values), every):
        some = values[first : first + every]
        known = [value for _, _, value in some if value is not None]
        found.append(Point(_place(some[0][0], begin, end), _place(some[-1][1], begin, end), max(known, default=None)))
    return tuple(found)


def _mos(rated: RatedStream, intervals: Sequence[Interval], begin: int, end: int) -> Iterable[Point]:
    """Yield the MOS of each 10 s, from the losses within them."""
    together: list[Interval] = []
    for place, one in enumerate(intervals):
        together.append(one)
        if one.end - together[0].start < MOS_NS * 0.95 and place + 1 < len(intervals):
            continue
        expected, lost = sum(each.expected for each in together), sum(max(0, each.lost) for each in together)
        mos = mos_of(rated, 100 * lost / expected if expected > 0 else 0.0)
        yield Point(_place(together[0].start, begin, end), _place(one.end, begin, end), mos)
        together = []


def late_of(stream: Stream) -> tuple[Late, ...]:
    """Return the delay variation of a stream in classes, beside the buffer that ratings assume."""
    total = sum(one.count for one in stream.delay_histogram)
    if not total:
        return ()
    found = []
    for one in stream.delay_histogram:
        late = "yes" if one.low >= BUFFER_MS else "partly" if one.high is None or one.high > BUFFER_MS else "no"
        label = f"{one.low:.3g}+" if one.high is None else f"{one.low:.3g} to {one.high:.3g}"
        found.append(Late(label, 100 * one.count / total, late))
    return tuple(found)
