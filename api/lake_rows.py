"""Calls, streams and site minutes of a capture as rows of the lake; sites come from the estate where one is given."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import PurePath
from typing import Any, NamedTuple, Protocol
from zoneinfo import ZoneInfo

from analytics.attribution import Attributor
from api.masking import split_uri
from api.rated import Rated, RatedCall, RatedStream, passing, rate
from collector.facts import CallState, Stream

Row = dict[str, Any]

POOR_MOS = 3.6
"""Streams with a lower MOS count as poor: below it many users are dissatisfied (G.107 Annex B)."""
MOST_SHORT = 32_767
MINUTE_NS = 60_000_000_000
MICRO_NS = 1_000


class Sides(NamedTuple):
    """Sites of both sides of a call or stream; None where not attributed."""

    site: str | None
    other_site: str | None


NOWHERE = Sides(None, None)


class RatedFacts(Protocol):
    """Rated streams and calls: of a whole capture, or of a part of one that does not end."""

    @property
    def streams(self) -> Sequence[RatedStream]:
        """Streams with their ratings."""

    @property
    def calls(self) -> Sequence[RatedCall]:
        """Calls with their streams."""


class Places:
    """Says at which sites a call or stream was, by the estate as it was on its local day."""

    def __init__(self, attributor: Attributor) -> None:
        self._attributor = attributor
        self._zone = ZoneInfo(attributor.estate.settings.timezone)

    def of_call(self, rated: RatedCall) -> Sides:
        """Sites of the calling and the called side: by the outer addresses of its legs, else by the numbers."""
        call = rated.call
        caller = call.legs[0].src.ip if call.legs else None
        callee = call.legs[-1].dst.ip if call.legs else None
        return self.of_parties(caller, callee, user_of(call.from_uri), user_of(call.to_uri), call.start)

    def of_parties(
        self, caller: str | None, callee: str | None, calling: str | None, called: str | None, at: int
    ) -> Sides:  # fmt: skip
        """Sites of two parties by their addresses, else by their numbers; `at` is nanoseconds since the epoch."""
        day = self._day(at)
        return Sides(
            self._attributor.attribute(address=caller, number=calling, day=day).site,
            self._attributor.attribute(address=callee, number=called, day=day).site,
        )

    def of_stream(self, stream: Stream) -> Sides:
        """Sites of sender and receiver by their addresses."""
        return self.of_ends(stream.src.ip, stream.dst.ip, stream.first)

    def of_ends(self, src: str, dst: str, at: int) -> Sides:
        """Sites of two addresses; `at` is nanoseconds since the epoch."""
        day = self._day(at)
        return Sides(
            self._attributor.attribute(address=src, day=day).site,
            self._attributor.attribute(address=dst, day=day).site,
        )

    def _day(self, at: int) -> date:
        return datetime.fromtimestamp(at // 1_000_000_000, self._zone).date()


class Minutes:
    """Rows of `site_minutes`: a call counts once, at the calling site, else at the called one; a stream likewise.

    Both count in the minute of their beginning; the seconds of a call in the minutes in which it was up. A talker heard
    in several places counts once.
    """

    def __init__(self) -> None:
        self._rows: dict[tuple[str, int], Row] = {}

    def rows(self) -> list[Row]:
        """Return what was counted, by site and minute."""
        return [self._rows[key] for key in sorted(self._rows)]

    def add_call(self, rated: RatedCall, sides: Sides) -> None:
        """Count a call."""
        call = rated.call
        self.add(sides, call.start, call.answered, call.end, call.state is CallState.FAILED)

    def add(self, sides: Sides, start: int, answered: int | None, over: int | None, failed: bool) -> None:
        """Count a call by its times [ns since the epoch]."""
        site = sides.site or sides.other_site
        if site is None:
            return
        row = self._at(site, start)
        row["calls"] += 1
        row["answered"] += answered is not None
        row["failed"] += failed
        if answered is None or over is None:
            return
        begin = answered
        while begin < over:
            end = min(over, (begin // MINUTE_NS + 1) * MINUTE_NS)
            self._at(site, begin)["busy_seconds"] += (end - begin) / 1e9
            begin = end

    def add_stream(self, rated: RatedStream, sides: Sides) -> None:
        """Count a stream."""
        stream, mos = rated.stream, rated.quality.mos
        site = sides.site or sides.other_site
        if site is None or stream.placement.role != "primary":
            return
        row = self._at(site, stream.first)
        row["streams"] += 1
        for name in ("packets", "expected", "lost"):
            row[name] += getattr(stream, name)
        if mos is not None:
            row["rated"] += 1
            row["poor"] += mos < POOR_MOS
            row["mos_sum"] += mos
            row["mos_min"] = mos if row["mos_min"] is None else min(mos, row["mos_min"])
        if stream.jitter_ms is not None:
            row["jitter_sum_ms"] += stream.jitter_ms.last
            row["jitter_max_ms"] = max(stream.jitter_ms.last, row["jitter_max_ms"] or 0.0)

    def _at(self, site: str, at: int) -> Row:
        minute = at // MINUTE_NS
        row = self._rows.get((site, minute))
        if row is None:
            start = minute * MINUTE_NS // MICRO_NS
            row = self._rows[site, minute] = {**_EMPTY_MINUTE, "site": site, "start": start}
        return row


_EMPTY_MINUTE: Row = {
    "calls": 0,
    "answered": 0,
    "failed": 0,
    "streams": 0,
    "rated": 0,
    "poor": 0,
    "mos_sum": 0.0,
    "mos_min": None,
    "packets": 0,
    "expected": 0,
    "lost": 0,
    "jitter_sum_ms": 0.0,
    "jitter_max_ms": None,
    "busy_seconds": 0.0,
}


def key64(*parts: str) -> int:
    """First 64 bits of SHA-256 over the parts, as a signed number."""
    digest = hashlib.sha256("\x1f".join(parts).encode("utf-8", "replace")).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def user_of(uri: str) -> str | None:
    """Number or name in a URI; None where there is none."""
    parts = split_uri(uri)
    return (parts.user.partition(";")[0] or None) if parts is not None else None


def call_key(source: str, rated: RatedCall) -> int:
    """Key of a call: a Call-ID may come again for a later call of the same capture, so the start counts too."""
    return key64("call", source, rated.call.call_id, str(rated.call.start))


def call_rows(rated: RatedFacts, source: str, places: Places | None, minutes: Minutes) -> Iterator[Row]:
    """Rows of `calls`; each is counted in its minute as it passes."""
    for each in passing(rated.calls):
        call = each.call
        sides = NOWHERE if places is None else places.of_call(each)
        minutes.add_call(each, sides)
        yield {
            "call_key": call_key(source, each),
            "source": source,
            "call_id": text(call.call_id),
            "start": call.start // MICRO_NS,
            "answer": micros(call.answered),
            "end": micros(call.end),
            "state": call.state.value,
            "status": call.status if call.status is None or call.status <= MOST_SHORT else None,
            "seconds": None if call.duration_ms is None else call.duration_ms / 1_000,
            "pdd_ms": call.post_dial_delay_ms,
            "calling": text(user_of(call.from_uri)),
            "called": text(user_of(call.to_uri)),
            "from_address": call.legs[0].src.ip if call.legs else None,
            "to_address": call.legs[0].dst.ip if call.legs else None,
            **sides._asdict(),
            "legs": min(len(call.legs), MOST_SHORT),
            "streams": min(len(each.streams), MOST_SHORT),
            "mos": each.mos,
        }


def stream_rows(rated: RatedFacts, source: str, places: Places | None, minutes: Minutes) -> Iterator[Row]:
    """Rows of `streams`; each is counted in its minute as it passes."""
    calls = call_of_streams(rated, source)
    for each in rated.streams:
        stream, quality = each
        sides = NOWHERE if places is None else places.of_stream(stream)
        minutes.add_stream(each, sides)
        yield {
            "stream_key": stream_key(source, stream),
            "source": source,
            "call_key": calls.get(id(stream)),
            "start": stream.first // MICRO_NS,
            "end": stream.last // MICRO_NS,
            "from_address": str(stream.src),
            "to_address": str(stream.dst),
            **sides._asdict(),
            "ssrc": stream.ssrc,
            "codec": text(stream.codec),
            "packets": stream.packets,
            "expected": stream.expected,
            "lost": stream.lost,
            "loss_runs": sum(run.count for run in stream.loss_runs),
            "jitter_ms": stream.jitter_ms and stream.jitter_ms.last,
            "pdv_p95_ms": stream.pdv_ms and stream.pdv_ms.p95,
            "burst_ratio": stream.burst_ratio,
            "r_factor": quality.r_factor,
            "mos": quality.mos,
            "mos_model": text(quality.model),
            "why_no_mos": text(quality.reason),
            "dscp": max(stream.dscp, key=lambda mark: stream.dscp[mark]) if stream.dscp else None,
            "evidence": "measured",
        }


def message_rows(rated: RatedFacts, source: str) -> Iterator[Row]:
    """Rows of `messages`: the ladders of the calls."""
    for each in rated.calls:
        key = None
        for number, leg in enumerate(each.call.legs, 1):
            for step in leg.steps:
                key = key or call_key(source, each)
                yield {
                    "call_key": key,
                    "source": source,
                    "at": step.at // MICRO_NS,
                    "leg": number,
                    "from_address": str(step.src),
                    "to_address": str(step.dst),
                    "method": step.method,
                    "status": step.status if step.status is None or step.status <= MOST_SHORT else None,
                    "cseq": step.cseq,
                    "repeated": min(step.repeated, MOST_SHORT),
                }


def interval_rows(rated: Rated, source: str, places: Places | None) -> Iterator[Row]:
    """Rows of `intervals`. A MOS takes the loss of the interval and, where there is any, the stream's burst ratio.

    Where packets of the stream are missing for other reasons than the network's, as on hold, an interval cannot tell
    which are whose: with any missing it has no MOS.
    """
    for each, intervals in zip(rated.streams, rated.replay.intervals, strict=True):
        stream = each.stream
        sides = NOWHERE if places is None else places.of_stream(stream)
        key = stream_key(source, stream)
        known: dict[float, float | None] = {}
        for interval in intervals:
            loss = 100.0 * max(0, interval.lost) / interval.expected if interval.expected > 0 else 0.0
            if loss not in known:
                known[loss] = mos_of(each, loss)
            yield {
                "stream_key": key,
                "source": source,
                "start": interval.start // MICRO_NS,
                "seconds": (interval.end - interval.start) / 1e9,
                **sides._asdict(),
                "packets": interval.packets,
                "expected": interval.expected,
                "lost": interval.lost,
                "jitter_ms": interval.jitter_ms,
                "mos": known[loss],
            }


def mos_of(rated: RatedStream, loss_percent: float) -> float | None:
    """MOS of a stretch of a stream with so much loss; None where the stream has none or the loss may not be one."""
    stream = rated.stream
    if rated.quality.mos is None or (loss_percent > 0 and stream.not_network):
        return None
    return rate(
        replace(stream, loss_percent=loss_percent, burst_ratio=stream.burst_ratio if loss_percent else None)
    ).mos


def stream_key(source: str, stream: Stream) -> int:
    """Key of a stream."""
    return key64("stream", source, str(stream.src), str(stream.dst), str(stream.ssrc), str(stream.first))


def call_of_streams(rated: RatedFacts, source: str) -> dict[int, int]:
    """Key of the call of each stream that has one, by the identity of the stream."""
    found: dict[int, int] = {}
    if rated.streams:
        for call in rated.calls:
            for each in call.streams:
                found.setdefault(id(each.stream), call_key(source, call))
    return found


def import_rows(rated: Rated, now: int) -> list[Row]:
    """Rows of `imports`: one a file, each content once; `now` is nanoseconds since the epoch."""
    capture = rated.replay.capture
    contents = {content.sha256: content for content in capture.contents}
    month = datetime.fromtimestamp(now // 1_000_000_000, UTC).date().replace(day=1)
    return [
        {
            "month": month,
            "file_key": int.from_bytes(bytes.fromhex(content.sha256[:16]), "big", signed=True),
            "sha256": content.sha256,
            "name": text(PurePath(content.name).name),
            "source": "capture",
            "record": "capture",
            "imported": now // MICRO_NS,
            "rows": content.packets,
            "kept": content.packets,
            "rejected": 0,
            "first": micros(capture.first),
            "last": micros(capture.last),
        }
        for content in contents.values()
    ]


def micros(at: int | None) -> int | None:
    """Nanoseconds as microseconds."""
    return None if at is None else at // MICRO_NS


def text(value: str | None) -> str | None:
    """Text as a table takes it: undecodable octets of a header have left lone surrogates."""
    return None if value is None else value.encode("utf-8", "replace").decode().replace("\0", "\ufffd")
