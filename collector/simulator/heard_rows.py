"""Simulated calls as rows of the store's tables, as a collector on the network would have measured them."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any, NamedTuple

from analytics.quality.rating import StreamRating, StreamScorer, rate_stream
from analytics.questions.asking import POOR_MOS
from collector.simulator.heard import PACKETS_A_SECOND, Direction, Heard

SOURCE = "simulated"
CODEC = "PCMA"
PTIME_MS = 20
CONCEALS = True
"""Whether telephones conceal losses (G.711 Appendix I)."""
INTERVAL_S = 10
MICRO = 1_000_000
MINUTE = 60 * MICRO
RINGING_S = 1.2
"""From INVITE to ringing: post dial delay [s]."""

Row = dict[str, Any]


class Quality(NamedTuple):
    """What the E-model makes of a stream."""

    burst_ratio: float | None
    rating: StreamRating


class HeardRows:
    """Rows of calls, their streams and intervals; keys follow from the seed."""

    def __init__(self, seed: int) -> None:
        self._dice = Random(seed)
        self._rated: dict[tuple[float, float], Quality] = {}
        self._scorer = StreamScorer(CODEC, CONCEALS, PTIME_MS)

    def call(self, heard: Heard) -> tuple[Row, list[tuple[Row, Direction]]]:
        """Return the row of a call, and those of its streams, each with what arrived."""
        key = self._key()
        streams = []
        if heard.up is not None:
            port = 16_384 + 4 * self._dice.randrange(4_000)
            ends = f"{heard.caller}:{port}", f"{heard.callee}:{port + 2}"
            sites = heard.site, heard.other_site
            for direction, one, other in ((heard.there, 0, 1), (heard.back, 1, 0)):
                if direction is not None:
                    row = self._stream(heard, key, direction)
                    row |= {"from_address": ends[one], "to_address": ends[other]}
                    row |= {"site": sites[one], "other_site": sites[other]}
                    streams.append((row, direction))
        scores = [row["mos"] for row, _ in streams if row["mos"] is not None]
        state = {200: "completed", 480: "unanswered", 503: "failed"}[heard.status]
        call = {
            "call_key": key,
            "source": SOURCE,
            "call_id": f"{key & 0xFFFFFFFFFFFF:012x}@{heard.caller}",
            "start": heard.at * MICRO,
            "answer": None if heard.up is None else heard.up * MICRO,
            "end": heard.end * MICRO,
            "state": state,
            "status": heard.status,
            "seconds": None if heard.up is None else float(heard.end - heard.up),
            "pdd_ms": RINGING_S * 1e3 if heard.status != 503 else None,
            "calling": heard.calling,
            "called": heard.called,
            "from_address": heard.caller,
            "to_address": heard.callee,
            "site": heard.site,
            "other_site": heard.other_site,
            "legs": 1,
            "streams": len(streams),
            "mos": min(scores, default=None),
        }
        return call, streams

    def _stream(self, heard: Heard, call_key: int, direction: Direction) -> Row:
        assert heard.up is not None
        quality = self._quality(direction)
        rating = quality.rating
        return {
            "stream_key": self._key(),
            "source": SOURCE,
            "call_key": call_key,
            "start": heard.up * MICRO,
            "end": heard.end * MICRO,
            "ssrc": self._dice.getrandbits(32),
            "codec": CODEC,
            "packets": direction.expected - direction.lost,
            "expected": direction.expected,
            "lost": direction.lost,
            "loss_runs": direction.runs,
            "jitter_ms": direction.jitter_ms,
            "pdv_p95_ms": round(2.2 * direction.jitter_ms, 3),
            "burst_ratio": quality.burst_ratio,
            "r_factor": rating.r_factor,
            "mos": rating.mos,
            "mos_model": rating.model,
            "why_no_mos": rating.reason_when_missing,
            "dscp": direction.dscp,
            "evidence": "measured",
        }

    def _quality(self, direction: Direction) -> Quality:
        """R and MOS of a stream; one with nothing but losses at random has a burst ratio of 1."""
        lost, expected = direction.lost, direction.expected
        loss = 100.0 * lost / expected
        # Mean length of the runs against that of losses at random (G.107 7.2).
        ratio = None if not lost else lost / direction.runs * (1 - lost / expected)
        known = self._rated.get((loss, ratio or 0.0))
        if known is None:
            known = Quality(ratio, rate_stream(CODEC, CONCEALS, loss, ratio, PTIME_MS))
            self._rated[loss, ratio or 0.0] = known
        return known

    def intervals(self, stream: Row, direction: Direction) -> Iterator[Row]:
        """Rows of `intervals` of a stream: its losses fall into few of them, as bursts do."""
        begin, end = stream["start"] // MICRO, stream["end"] // MICRO
        count = -(-(end - begin) // INTERVAL_S)
        lost = self._spread(direction.lost, count)
        for number in range(count):
            seconds = min(INTERVAL_S, end - begin - number * INTERVAL_S)
            expected = seconds * PACKETS_A_SECOND
            missing = min(expected, lost[number])
            loss = 100.0 * missing / expected
            yield {
                "stream_key": stream["stream_key"],
                "source": SOURCE,
                "start": stream["start"] + number * INTERVAL_S * MICRO,
                "seconds": float(seconds),
                "site": stream["site"],
                "other_site": stream["other_site"],
                "packets": expected - missing,
                "expected": expected,
                "lost": missing,
                "jitter_ms": round(direction.jitter_ms * self._dice.uniform(0.7, 1.3), 3),
                "mos": self._scorer.mos(loss, stream["burst_ratio"] if missing else None),
            }

    def messages(self, heard: Heard, call: Row) -> Iterator[Row]:
        """Rows of `messages` of a call: what telephones and trunks say to each other."""
        there, back = (f"{heard.caller}:5060", f"{heard.callee}:5060"), (f"{heard.callee}:5060", f"{heard.caller}:5060")
        begun, over = heard.at * MICRO, heard.end * MICRO
        said: list[tuple[int, tuple[str, str], str, int | None, int]] = [
            (begun, there, "INVITE", None, 1),
            (begun + 12_000, back, "INVITE", 100, 1),
        ]
        if heard.status != 503:
            said.append((begun + round(RINGING_S * MICRO), back, "INVITE", 180, 1))
        if heard.up is None:
            said += [(over, back, "INVITE", heard.status, 1), (over + 12_000, there, "ACK", None, 1)]
        else:
            said += [(heard.up * MICRO, back, "INVITE", 200, 1), (heard.up * MICRO + 12_000, there, "ACK", None, 1)]
            said += [(over, there, "BYE", None, 2), (over + 12_000, back, "BYE", 200, 2)]
        for at, (sender, receiver), method, status, cseq in said:
            yield {
                "call_key": call["call_key"],
                "source": SOURCE,
                "at": at,
                "leg": 1,
                "from_address": sender,
                "to_address": receiver,
                "method": method,
                "status": status,
                "cseq": cseq,
                "repeated": 0,
            }

    def _spread(self, lost: int, count: int) -> list[int]:
        found = [0] * count
        while lost > 0:
            part = min(lost, self._dice.randint(1, 40))
            found[self._dice.randrange(count)] += part
            lost -= part
        return found

    def _key(self) -> int:
        return self._dice.getrandbits(63)


class HeardMinutes:
    """Rows of `site_minutes`: a call counts at the calling site, else at the called one; a stream at its sender's."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, int], Row] = {}

    def rows(self) -> list[Row]:
        """Return what was counted, by site and minute."""
        return [self._rows[key] for key in sorted(self._rows)]

    def add_call(self, call: Row) -> None:
        """Count a row of `calls`."""
        site = call["site"] or call["other_site"]
        if site is None:
            return
        row = self._at(site, call["start"])
        row["calls"] += 1
        row["answered"] += call["answer"] is not None
        row["failed"] += call["state"] == "failed"
        begin = call["end"] if call["answer"] is None else call["answer"]
        while begin < call["end"]:
            end = min(call["end"], (begin // MINUTE + 1) * MINUTE)
            self._at(site, begin)["busy_seconds"] += (end - begin) / MICRO
            begin = end

    def add_stream(self, stream: Row) -> None:
        """Count a row of `streams`."""
        site, mos = stream["site"] or stream["other_site"], stream["mos"]
        if site is None:
            return
        row = self._at(site, stream["start"])
        row["streams"] += 1
        for name in ("packets", "expected", "lost"):
            row[name] += stream[name]
        if mos is not None:
            row["rated"] += 1
            row["poor"] += mos < POOR_MOS
            row["mos_sum"] += mos
            row["mos_min"] = mos if row["mos_min"] is None else min(mos, row["mos_min"])
        row["jitter_sum_ms"] += stream["jitter_ms"]
        row["jitter_max_ms"] = max(stream["jitter_ms"], row["jitter_max_ms"] or 0.0)

    def _at(self, site: str, at: int) -> Row:
        minute = at // MINUTE
        row = self._rows.get((site, minute))
        if row is None:
            row = self._rows[site, minute] = {**_EMPTY, "site": site, "start": minute * MINUTE}
        return row


_EMPTY: Row = {
    **dict.fromkeys(("calls", "answered", "failed", "streams", "rated", "poor", "packets", "expected", "lost"), 0),
    **dict.fromkeys(("mos_sum", "jitter_sum_ms", "busy_seconds"), 0.0),
    **dict.fromkeys(("mos_min", "jitter_max_ms")),
}
