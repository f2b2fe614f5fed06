"""Streams with their rating beside them, calls with their streams."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace as dataclass_replace
from heapq import nsmallest
from typing import NamedTuple, overload

from analytics.quality.rating import NetworkDelay, StreamScorer, as_command, network_delay, rate_stream
from collector.call_list import CallList, Outline
from collector.facts import Call, CallState, FarEnd, Replay, Stream
from collector.media.stream_list import StreamList, StreamSketch, sketch_of

MEASURED = "measured"
"""From packets at the tap; what the model string calls assumed is not."""
MISSING = "missing"
RECEIVER_CONCEALS = True
"""G.711 is rated with packet loss concealment (Appendix I), as telephones and gateways have it; the model says so."""


class Quality(NamedTuple):
    """How one stream sounds, and how that is known."""

    mos: float | None
    r_factor: float | None
    model: str | None
    """What computed it, from which inputs: enough to compute it again."""
    evidence: str
    """`measured`, or `missing` where there is no MOS."""
    reason: str | None
    """Why there is no MOS, where there is none."""
    command: str | None = None
    """The `callgauge mos` command that computes it again."""
    notes: tuple[str, ...] = ()
    """Inputs that the Recommendation does not cover."""


class RatedStream(NamedTuple):
    """A stream and its rating."""

    stream: Stream
    quality: Quality


class RatedCall(NamedTuple):
    """A call, its streams, and the MOS of the worst of its primary streams."""

    call: Call
    streams: tuple[RatedStream, ...]
    mos: float | None
    mos_reason: str | None


class Rated(NamedTuple):
    """A replay whose streams are rated and joined with their calls."""

    replay: Replay
    streams: Sequence[RatedStream]
    calls: Sequence[RatedCall]
    scores: tuple[float, ...] = ()
    """MOS of every primary stream of the capture, also of those that a filter leaves out."""


class RatedStreams(Sequence[RatedStream]):
    """Streams of a capture, each made and rated in full only when somebody looks at it."""

    def __init__(self, streams: StreamList) -> None:
        self._streams = streams
        self.sketches = streams.sketches
        self.scores: tuple[float | None, ...] = tuple(map(Scorer().score, streams.sketches))
        """MOS of each."""
        self._known: dict[int, RatedStream] = {}

    def __len__(self) -> int:
        return len(self._streams)

    @overload
    def __getitem__(self, place: int) -> RatedStream: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[RatedStream, ...]: ...
    def __getitem__(self, place: int | slice) -> RatedStream | tuple[RatedStream, ...]:
        if isinstance(place, slice):
            return tuple(self[each] for each in range(len(self))[place])
        known = self._known.get(place)
        if known is None:
            stream = self._streams[place]
            known = self._known[place] = RatedStream(stream, rate(stream))
        return known

    def worst(self, most: int) -> list[RatedStream]:
        """Primary streams by MOS, then loss, then jitter; those without a MOS last."""
        primary = (place for place, sketch in enumerate(self.sketches) if sketch.role == "primary")
        return [self[place] for place in nsmallest(most, primary, key=self._rank)]

    def _rank(self, place: int) -> tuple[bool, float, float, float]:
        sketch = self.sketches[place]
        return stream_order(self.scores[place], sketch.loss_percent, sketch.jitter_mean_ms)


def stream_order(
    mos: float | None, loss_percent: float | None, jitter_ms: float | None
) -> tuple[bool, float, float, float]:
    """Order of streams: worst MOS, then loss, then jitter; those without a MOS last."""
    return mos is None, mos or 0.0, -(loss_percent or 0.0), -(jitter_ms or 0.0)


def call_order(call: Call | Outline, mos: float | None, has_findings: bool) -> tuple[bool, float, bool, int]:
    """Order of calls: failed ones, then those that sound worst, then those with findings, then by time."""
    failed = call.failed if isinstance(call, Outline) else call.state is CallState.FAILED
    return not failed, 5.0 if mos is None else mos, not has_findings, call.start


class RatedCalls(Sequence[RatedCall]):
    """Calls of a capture, each made and joined with its streams only when somebody looks at it."""

    def __init__(self, calls: Sequence[Call], streams: RatedStreams | None = None) -> None:
        self._calls = calls
        self._streams = streams
        self._ranks: list[tuple[bool, float, bool, int]] | None = None
        self._by_call_id: dict[str, list[int]] = {}
        for place, sketch in enumerate(streams.sketches if streams else ()):
            if sketch.call_id is not None:
                self._by_call_id.setdefault(sketch.call_id, []).append(place)

    def __len__(self) -> int:
        return len(self._calls)

    @overload
    def __getitem__(self, place: int) -> RatedCall: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[RatedCall, ...]: ...
    def __getitem__(self, place: int | slice) -> RatedCall | tuple[RatedCall, ...]:
        if isinstance(place, slice):
            return tuple(map(self._rated, self._calls[place]))
        return self._rated(self._calls[place])

    def __iter__(self) -> Iterator[RatedCall]:
        return map(self._rated, self._calls)

    def _rated(self, call: Call) -> RatedCall:
        streams = self._streams
        if streams is None:
            return rate_call(call, {})
        places = {call_id: self._by_call_id.get(call_id, ()) for call_id in _call_ids(call)}
        return rate_call(call, {call_id: [streams[place] for place in some] for call_id, some in places.items()})

    def passing(self) -> Iterator[RatedCall]:
        """Every call once, none kept."""
        calls = self._calls.passing() if isinstance(self._calls, CallList) else iter(self._calls)
        return map(self._rated, calls)

    def beginning_with(self, beginning: str) -> tuple[RatedCall, ...]:
        """Those that have a leg whose Call-ID begins so."""
        if isinstance(self._calls, CallList):
            return tuple(self[place] for place in self._calls.places_of(beginning))
        return tuple(
            self._rated(call)
            for call in self._calls
            if any(call_id.startswith(beginning) for call_id in _call_ids(call))
        )

    def with_findings(self) -> tuple[RatedCall, ...]:
        """All of which something was found."""
        calls = self._calls.made() if isinstance(self._calls, CallList) else self._calls
        return tuple(self._rated(call) for call in calls if has_findings(call))

    def first(self, most: int) -> tuple[RatedCall, ...]:
        """Enough of them to hold the `most` that come first in any order by failure, MOS and findings, then time."""
        if isinstance(self._calls, CallList) and self._streams is None:
            return tuple(self[place] for place in self._calls.places_of_first(most))
        if self._ranks is None:
            calls = self._calls.outlines() if isinstance(self._calls, CallList) else self._calls
            self._ranks = list(map(self._rank, calls))
        ranks = self._ranks
        return tuple(self[place] for place in sorted(nsmallest(most, range(len(ranks)), key=ranks.__getitem__)))

    def _rank(self, call: Call | Outline) -> tuple[bool, float, bool, int]:
        call_ids = [call.call_id] if isinstance(call, Outline) else _call_ids(call)
        found = isinstance(call, Call) and has_findings(call)  # of plain calls nothing is found
        places = [place for call_id in call_ids for place in self._by_call_id.get(call_id, ())]
        if self._streams is None or not places:
            return call_order(call, None, found)
        sketches, scores = self._streams.sketches, self._streams.scores
        primary = [scores[place] for place in places if sketches[place].role == "primary"]
        found = found or any(sketches[place].findings for place in places)
        return call_order(call, min((mos for mos in primary if mos is not None), default=None), found)


def has_findings(call: Call) -> bool:
    """Whether anything was found of a call or its legs."""
    return bool(call.findings) or any(leg.findings for leg in call.legs)


def sketches(streams: Sequence[Stream]) -> Sequence[StreamSketch]:
    """What totals need of streams."""
    return streams.sketches if isinstance(streams, StreamList) else list(map(sketch_of, streams))


def worst_streams(streams: Sequence[RatedStream], most: int) -> tuple[list[RatedStream], int]:
    """The worst of the primary streams, and how many primary ones there are."""
    if isinstance(streams, RatedStreams):
        return streams.worst(most), sum(sketch.role == "primary" for sketch in streams.sketches)
    primary = [rated for rated in streams if rated.stream.placement.role == "primary"]
    return nsmallest(most, primary, key=_stream_rank), len(primary)


def _stream_rank(rated: RatedStream) -> tuple[bool, float, float, float]:
    stream, quality = rated
    return stream_order(quality.mos, stream.loss_percent, stream.jitter_ms.mean if stream.jitter_ms else None)


def candidates(calls: Sequence[RatedCall], most: int) -> Sequence[RatedCall]:
    """Calls among which the worst `most` are: all, where nobody knows better."""
    return calls.first(most) if isinstance(calls, RatedCalls) else calls


def passing(calls: Sequence[RatedCall]) -> Iterator[RatedCall]:
    """Every call once, in memory that does not grow with their number where they are made on demand."""
    return calls.passing() if isinstance(calls, RatedCalls) else iter(calls)


def beginning_with(calls: Sequence[RatedCall], beginning: str) -> Sequence[RatedCall]:
    """Calls that may have a leg whose Call-ID begins so."""
    return calls.beginning_with(beginning) if isinstance(calls, RatedCalls) else calls


def with_findings(calls: Sequence[RatedCall]) -> Sequence[RatedCall]:
    """Calls that may have findings."""
    return calls.with_findings() if isinstance(calls, RatedCalls) else calls


def states(calls: Sequence[Call]) -> Mapping[CallState, int]:
    """Calls by state."""
    return calls.states() if isinstance(calls, CallList) else Counter(call.state for call in calls)


def post_dial_delays(calls: Sequence[Call]) -> Sequence[float]:
    """Those that are known [ms]."""
    if isinstance(calls, CallList):
        return calls.post_dial_delays()
    return [call.post_dial_delay_ms for call in calls if call.post_dial_delay_ms is not None]


def leg_call_ids(calls: Sequence[Call]) -> Iterable[str]:
    """Call-IDs of all legs."""
    return calls.leg_call_ids() if isinstance(calls, CallList) else (leg.call_id for call in calls for leg in call.legs)


def survey(replay: Replay) -> Rated:
    """As `rate_replay`, but of large captures streams and calls are made and rated in full when they are looked at."""
    calls, streams = replay.calls, replay.streams
    if isinstance(calls, CallList) and not streams:
        return Rated(replay, (), RatedCalls(calls))
    if not isinstance(streams, StreamList):
        return rate_replay(replay)
    seen = Counter(leg_call_ids(calls))
    if any(sketch.call_id is not None and seen[sketch.call_id] > 1 for sketch in streams.sketches):
        return rate_replay(replay)  # which of these calls a stream belongs to is for its times to say
    rated = RatedStreams(streams)
    scores = tuple(
        mos
        for mos, sketch in zip(rated.scores, streams.sketches, strict=True)
        if mos is not None and sketch.role == "primary"
    )
    return Rated(replay, rated, RatedCalls(calls, rated), scores)


def rate_replay(replay: Replay) -> Rated:
    """Rate all streams and give each call those of its legs."""
    if not isinstance(replay.streams, tuple):
        replay = dataclass_replace(replay, streams=tuple(replay.streams))
    streams = tuple(RatedStream(stream, rate(stream)) for stream in replay.streams)
    by_call_id: dict[str, list[RatedStream]] = {}
    for rated in streams:
        if rated.stream.call_id is not None:
            by_call_id.setdefault(rated.stream.call_id, []).append(rated)
    scores = primary_scores(streams)
    if isinstance(replay.calls, CallList) and not streams:
        return Rated(replay, streams, RatedCalls(replay.calls), scores)
    seen = Counter(leg_call_ids(replay.calls))
    again = {call_id for call_id, calls in seen.items() if calls > 1 and call_id in by_call_id}
    rated_calls = tuple(
        rate_call(call, _while_it_lasted(call, by_call_id) if again.intersection(_call_ids(call)) else by_call_id)
        for call in replay.calls
    )
    return Rated(replay, streams, rated_calls, scores)


def _while_it_lasted(call: Call, by_call_id: Mapping[str, Iterable[RatedStream]]) -> dict[str, list[RatedStream]]:
    """Streams of one of the calls that used the same Call-ID, one after another."""
    end = call.end
    return {
        call_id: [
            rated
            for rated in by_call_id.get(call_id, ())
            if rated.stream.last >= call.start and (end is None or rated.stream.first <= end)
        ]
        for call_id in _call_ids(call)
    }


def _call_ids(call: Call) -> list[str]:
    return list(dict.fromkeys([call.call_id, *(leg.call_id for leg in call.legs)]))


def primary_scores(streams: Iterable[RatedStream]) -> tuple[float, ...]:
    """MOS of the streams that count: a talker heard in several places counts once."""
    return tuple(
        rated.quality.mos
        for rated in streams
        if rated.quality.mos is not None and rated.stream.placement.role == "primary"
    )


def rate_call(call: Call, by_call_id: Mapping[str, Iterable[RatedStream]]) -> RatedCall:
    """Join a call with the streams of its legs; a call sounds like the worst of its primary streams."""
    streams = tuple(rated for call_id in _call_ids(call) for rated in by_call_id.get(call_id, ()))
    scores = primary_scores(streams)
    if scores:
        return RatedCall(call, streams, min(scores), None)
    return RatedCall(call, streams, None, "no stream of it could be rated" if streams else "no RTP seen")


def _delay(far_end: FarEnd | None) -> NetworkDelay | None:
    return None if far_end is None else network_delay(far_end.round_trip_ms, far_end.round_trip_basis or "one half")


class Scorer:
    """Gives MOS alone, as `rate` does, for many streams."""

    def __init__(self) -> None:
        self._scorers: dict[tuple[str | None, float | None, NetworkDelay | None], StreamScorer] = {}

    def score(self, sketch: StreamSketch) -> float | None:
        """MOS of a stream; None where `rate` has none."""
        key = sketch.codec, sketch.ptime_ms, _delay(sketch.far_end)
        scorer = self._scorers.get(key)
        if scorer is None:
            scorer = self._scorers[key] = StreamScorer(key[0], RECEIVER_CONCEALS, key[1], key[2])
        return scorer.mos(sketch.loss_percent, sketch.burst_ratio)


def rate(stream: Stream) -> Quality:
    """Rate one stream from what was seen of it."""
    delay = _delay(stream.far_end)
    try:
        rating = rate_stream(
            stream.codec, RECEIVER_CONCEALS, stream.loss_percent, stream.burst_ratio, stream.ptime_ms, delay
        )
    except ValueError as error:
        return Quality(None, None, None, MISSING, f"outside the model: {error}")
    if rating.mos is None:
        return Quality(None, None, None, MISSING, rating.reason_when_missing)
    return Quality(rating.mos, rating.r_factor, rating.model, MEASURED, None, as_command(rating), rating.notes)
