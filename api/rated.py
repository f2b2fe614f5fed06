"""Streams with their rating beside them, calls with their streams."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, overload

from analytics.quality.rating import as_command, network_delay, rate_stream
from collector.call_list import CallList
from collector.facts import Call, CallState, Replay, Stream

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
    streams: tuple[RatedStream, ...]
    calls: Sequence[RatedCall]
    scores: tuple[float, ...] = ()
    """MOS of every primary stream of the capture, also of those that a filter leaves out."""


class RatedCalls(Sequence[RatedCall]):
    """Calls of a capture of signalling alone, each made only when somebody looks at it."""

    def __init__(self, calls: CallList) -> None:
        self._calls = calls

    def __len__(self) -> int:
        return len(self._calls)

    @overload
    def __getitem__(self, place: int) -> RatedCall: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[RatedCall, ...]: ...
    def __getitem__(self, place: int | slice) -> RatedCall | tuple[RatedCall, ...]:
        if isinstance(place, slice):
            return tuple(rate_call(call, {}) for call in self._calls[place])
        return rate_call(self._calls[place], {})

    def __iter__(self) -> Iterator[RatedCall]:
        return (rate_call(call, {}) for call in self._calls)

    def passing(self) -> Iterator[RatedCall]:
        """Every call once, none kept."""
        return (rate_call(call, {}) for call in self._calls.passing())

    def beginning_with(self, beginning: str) -> tuple[RatedCall, ...]:
        """Those that have a leg whose Call-ID begins so."""
        return tuple(self[place] for place in self._calls.places_of(beginning))

    def with_findings(self) -> tuple[RatedCall, ...]:
        """All of which something was found."""
        return tuple(rate_call(call, {}) for call in self._calls.made())

    def first(self, most: int) -> tuple[RatedCall, ...]:
        """Enough of them to hold the `most` that come first in any order by failure, MOS and findings, then time."""
        return tuple(self[place] for place in self._calls.places_of_first(most))


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


def rate_replay(replay: Replay) -> Rated:
    """Rate all streams and give each call those of its legs."""
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


def rate(stream: Stream) -> Quality:
    """Rate one stream from what was seen of it."""
    far_end = stream.far_end
    delay = None if far_end is None else network_delay(far_end.round_trip_ms, far_end.round_trip_basis or "one half")
    try:
        rating = rate_stream(
            stream.codec, RECEIVER_CONCEALS, stream.loss_percent, stream.burst_ratio, stream.ptime_ms, delay
        )
    except ValueError as error:
        return Quality(None, None, None, MISSING, f"outside the model: {error}")
    if rating.mos is None:
        return Quality(None, None, None, MISSING, rating.reason_when_missing)
    return Quality(rating.mos, rating.r_factor, rating.model, MEASURED, None, as_command(rating), rating.notes)
