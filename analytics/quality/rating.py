"""From what was measured of a stream to its MOS, with every input and assumption in words (docs/quality.md).

A tap sees neither the receiver's play-out buffer nor, without RTCP, the network's delay. What is not seen is either
assumed, and then the model string says so, or left out, and then the string says that instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from analytics.quality.codecs import LEAST_BPL_FOR_BURSTS, CodecImpairment, impairment, why_missing
from analytics.quality.emodel import (
    DEFAULT_PARAMETERS,
    MODEL,
    EModelParameters,
    Rating,
    beyond_permitted,
    effective_equipment_impairment,
    mos_from_r,
    rate,
)

ECHO_FREE = "echo-free"
FULL = "full"
DELAY_BASES = (ECHO_FREE, FULL)


class NetworkDelay(NamedTuple):
    """One way through the network, and how it is known."""

    one_way_ms: float
    source: str
    """In words, e.g. `half of the RTCP round trip`."""


class RatingAssumptions(NamedTuple):
    """What a tap cannot see and a rating needs."""

    delay_basis: str = ECHO_FREE
    """`echo-free`: T = Tr = 0 (IP phone to IP phone). `full`: T = Ta, Tr = 2 Ta (an analogue or hybrid tail)."""
    playout_buffer_ms: float = 40.0
    """Nominal delay of the receiver's buffer: two packets of 20 ms."""
    ptime_ms: float = 20.0
    """Packet length where the stream did not tell (RFC 3551 4.2)."""


DEFAULT_ASSUMPTIONS = RatingAssumptions()


@dataclass(frozen=True, slots=True)
class StreamRating:
    """A MOS with all that is needed to compute it again, or the reason why there is none."""

    mos: float | None
    """MOS-CQE, narrowband scale [1 to 4.5]."""
    r_factor: float | None
    model: str | None
    """Recommendation, codec, loss and delay inputs, in words."""
    terms: Rating | None
    reason_when_missing: str | None
    codec: CodecImpairment | None = None
    delay_basis: str | None = None
    notes: tuple[str, ...] = ()
    """Inputs that the Recommendation does not cover."""


def network_delay(round_trip_ms: float | None, basis: str | None) -> NetworkDelay | None:
    """Half of a round trip of RTCP; of a half that was seen only from the tap on, the least that it can be.

    `basis` is that of the round trip: `both halves`, `receiver half` or `sender half`.
    """
    if round_trip_ms is None or round_trip_ms < 0:
        return None
    if basis == "both halves":
        return NetworkDelay(round_trip_ms / 2, "half of the RTCP round trip")
    return NetworkDelay(round_trip_ms / 2, f"half of the RTCP round trip, {basis} alone, at least")


def delay_parameters(one_way_ms: float, delay_basis: str) -> dict[str, float]:
    """Ta, T and Tr [ms] of a mouth-to-ear delay; `ValueError` for an unknown basis.

    Echo-free connections have Ta alone; with an echo path T = Ta and Tr = 2 Ta, the simple case of G.107.
    """
    if delay_basis == ECHO_FREE:
        return {"T": 0.0, "Tr": 0.0, "Ta": one_way_ms}
    if delay_basis == FULL:
        return {"T": one_way_ms, "Tr": 2 * one_way_ms, "Ta": one_way_ms}
    raise ValueError(f"delay basis must be one of {', '.join(DELAY_BASES)}, got {delay_basis}")


def usable_burst_ratio(bpl: float | None, burst_ratio: float) -> tuple[float, str]:
    """The burst ratio that may enter (7-29) with this codec, and a remark (`""` when it is as measured).

    G.113 gives burst ratios other than 1 a meaning only with Bpl >= 16. A ratio below 1 means losses spread more
    evenly than at random, which G.107 does not cover: 1 then.
    """
    if not burst_ratio > 1:
        return 1.0, ""
    if bpl is None or bpl < LEAST_BPL_FOR_BURSTS:
        return 1.0, f" (measured {burst_ratio:.6g}; G.113: only with Bpl >= {LEAST_BPL_FOR_BURSTS:g})"
    return burst_ratio, ""


def rate_stream(
    codec: str | None,
    plc: bool,
    loss_percent: float | None,
    burst_ratio: float | None,
    ptime_ms: float | None,
    delay: NetworkDelay | None = None,
    assumptions: RatingAssumptions = DEFAULT_ASSUMPTIONS,
) -> StreamRating:
    """Rate one stream as it passed the tap.

    `plc` is an assumption on the receiver; it matters for G.711 alone. `burst_ratio` None counts as 1. Without
    `delay` the network's share of the one-way delay is unknown and not counted: the MOS is then an upper bound.
    A measurement outside the ranges of the E-model, e.g. a loss above 100 %, gives no MOS but the reason. Raises
    `ValueError` for an unknown delay basis.
    """
    row = impairment(codec, plc)
    if row is None:
        return _missing(why_missing(codec))
    if loss_percent is None:
        return _missing("loss unknown")
    if row.bpl is None and loss_percent > 0:
        return _missing(f"no ITU value of Bpl for {row.codec}: with loss it cannot be rated", row)
    ratio, ratio_remark = usable_burst_ratio(row.bpl, 1.0 if burst_ratio is None else burst_ratio)
    one_way_ms, delay_words = _mouth_to_ear(row, ptime_ms, delay, assumptions)
    delays = delay_parameters(one_way_ms, assumptions.delay_basis)
    bpl = DEFAULT_PARAMETERS.Bpl if row.bpl is None else row.bpl
    try:
        parameters = EModelParameters(Ie=row.ie, Bpl=bpl, Ppl=loss_percent, BurstR=ratio, **delays)
    except ValueError as refused:
        return _missing(str(refused), row)
    rating = rate(parameters)
    loss_words = f"Ppl {loss_percent:.6g} % BurstR {ratio:.6g}{ratio_remark}, loss as seen at the tap"
    model = "; ".join((MODEL, codec_words(row), loss_words, f"delay {assumptions.delay_basis}, {delay_words}"))
    notes = beyond_permitted(parameters)
    return StreamRating(rating.MOS, rating.R, model, rating, None, row, assumptions.delay_basis, notes)


class StreamScorer:
    """MOS of streams that differ in loss alone, as `rate_stream` gives it, without the words beside it.

    Only Ie,eff depends on loss: the other terms are worked out once.
    """

    def __init__(self, codec: str | None, plc: bool, ptime_ms: float | None, delay: NetworkDelay | None = None) -> None:
        self._inputs = codec, plc, ptime_ms, delay
        row = impairment(codec, plc)
        self._row = row
        terms = None if row is None else rate_stream(codec, plc, 0.0, None, ptime_ms, delay).terms
        self._terms = terms

    def mos(self, loss_percent: float | None, burst_ratio: float | None) -> float | None:
        """MOS; None where there is none."""
        row, terms = self._row, self._terms
        if row is None or terms is None or loss_percent is None or not 0.0 <= loss_percent <= 100.0:
            codec, plc, ptime_ms, delay = self._inputs
            return rate_stream(codec, plc, loss_percent, burst_ratio, ptime_ms, delay).mos
        if row.bpl is None and loss_percent > 0:
            return None
        bpl = terms.parameters.Bpl
        ratio, _ = usable_burst_ratio(row.bpl, 1.0 if burst_ratio is None else burst_ratio)
        loss = effective_equipment_impairment(row.ie, bpl, loss_percent, ratio)
        return mos_from_r(terms.Ro - terms.Is - terms.Id - loss + terms.A)  # (7-1)


def codec_words(row: CodecImpairment) -> str:
    """The codec's share of a model string, e.g. `PCMA Ie 0 Bpl 25.1 (PLC)`."""
    bpl = "none published" if row.bpl is None else f"{row.bpl:g}"
    return f"{row.codec} Ie {row.ie:g} Bpl {bpl} ({row.concealment})"


def as_command(rating: StreamRating) -> str | None:
    """The `callgauge mos` command that computes this rating again to the last digit; None where there is none."""
    if rating.terms is None or rating.codec is None:
        return None
    p = rating.terms.parameters
    words = ["callgauge mos --codec", rating.codec.codec]
    if rating.codec.concealment == "PLC":
        words.append("--plc")
    words += ["--delay", _exact(p.Ta), "--loss", _exact(p.Ppl)]
    if p.BurstR != 1:
        words += ["--burst-ratio", _exact(p.BurstR)]
    if rating.delay_basis != ECHO_FREE:
        words += ["--delay-basis", str(rating.delay_basis)]
    return " ".join(words)


def _missing(reason: str, row: CodecImpairment | None = None) -> StreamRating:
    return StreamRating(None, None, None, None, reason, row)


def _exact(value: float) -> str:
    return repr(int(value)) if value == int(value) else repr(value)


def _mouth_to_ear(
    row: CodecImpairment, ptime_ms: float | None, delay: NetworkDelay | None, assumptions: RatingAssumptions
) -> tuple[float, str]:
    """One-way delay from mouth to ear [ms] and what it is made of."""
    told = ptime_ms is not None and ptime_ms > 0
    packet_ms = ptime_ms if ptime_ms is not None and told else assumptions.ptime_ms
    parts = [f"packetisation {packet_ms:.6g} ms{'' if told else ' assumed'}"]
    if row.look_ahead_ms:
        parts.append(f"look-ahead {row.look_ahead_ms:g} ms")
    parts.append(f"assumed buffer {assumptions.playout_buffer_ms:g} ms")
    one_way_ms = packet_ms + row.look_ahead_ms + assumptions.playout_buffer_ms
    if delay is None:
        parts.append("network unknown, not counted")
    else:
        one_way_ms += delay.one_way_ms
        parts.append(f"network {delay.one_way_ms:.6g} ms ({delay.source})")
    return one_way_ms, f"Ta {one_way_ms:.6g} ms = {' + '.join(parts)}"
