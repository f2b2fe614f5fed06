"""Statistics that telephones and gateways put into a BYE or its answer: P-RTP-Stat, RTP-RxStat, RTP-TxStat, X-RTP-Stat.

No standard has them; what is read is what Cisco's guides (P-RTP-Stat, RTP-RxStat, RTP-TxStat) and devices' own output
(X-RTP-Stat) show. Pure; whatever cannot be read is missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

HEADERS = frozenset({"p-rtp-stat", "rtp-rxstat", "rtp-txstat", "x-rtp-stat"})
VALUE_LIMIT = 2048
"""Characters of a header that are read."""

Number = TypeVar("Number", int, float)

_PAIR = re.compile(r"([A-Za-z]+)=(\"[^\"]*\"|[^,;\"]*)")
_WHOLE = re.compile(r"-?[0-9]{1,15}")
_DECIMAL = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?")


@dataclass(frozen=True, slots=True)
class RtpStatistics:
    """What a device counted of one call; None: not said."""

    packets_sent: int | None = None
    octets_sent: int | None = None
    packets_received: int | None = None
    octets_received: int | None = None
    packets_lost: int | None = None
    late_packets: int | None = None
    jitter_ms: float | None = None
    latency_ms: float | None = None
    seconds: int | None = None
    codec: str | None = None
    mos_lqk: float | None = None
    """MLQK: MOS-LQ of the last 8 s; 0 is a filler."""
    mos_lqk_mean: float | None = None
    mos_lqk_min: float | None = None
    mos_lqk_max: float | None = None
    concealment_ratio: float | None = None
    interval_concealment_max: float | None = None
    concealed_seconds: float | None = None
    severely_concealed_seconds: float | None = None


def rtp_statistics(fields: Iterable[tuple[str, str]]) -> RtpStatistics | None:
    """Read the headers (lower-case name, value) of a message; None where none of them says anything."""
    headers: dict[str, Mapping[str, str]] = {}
    for name, value in fields:
        if name in HEADERS:
            headers.setdefault(name, _pairs(value[:VALUE_LIMIT]))
    plain = headers.get("p-rtp-stat", {})
    received, sent = headers.get("rtp-rxstat", {}), headers.get("rtp-txstat", {})
    other = headers.get("x-rtp-stat", {})
    quality = _pairs(received.get("VQMETRICS", "").replace(";", ","))
    found = RtpStatistics(
        packets_sent=_first(_whole(plain, "PS"), _whole(sent, "PKT"), _whole(other, "PS")),
        octets_sent=_first(_whole(plain, "OS"), _whole(sent, "OCT"), _whole(other, "OS")),
        packets_received=_first(_whole(plain, "PR"), _whole(received, "PKT"), _whole(other, "PR")),
        octets_received=_first(_whole(plain, "OR"), _whole(received, "OCT"), _whole(other, "OR")),
        packets_lost=_first(_whole(plain, "PL"), _whole(received, "LOSTPKT")),
        late_packets=_whole(received, "LATEPKT"),
        jitter_ms=_first(_decimal(plain, "JI"), _decimal(received, "AVGJIT")),
        latency_ms=_decimal(plain, "LA"),
        seconds=_first(_whole(plain, "DU"), _whole(received, "DUR"), _whole(sent, "DUR"), _whole(other, "CS")),
        codec=other.get("DE") or None,
        mos_lqk=_mos(quality, "MLQK"),
        mos_lqk_mean=_mos(quality, "MLQKAV"),
        mos_lqk_min=_mos(quality, "MLQKMN"),
        mos_lqk_max=_mos(quality, "MLQKMX"),
        concealment_ratio=_decimal(quality, "CCR"),
        interval_concealment_max=_decimal(quality, "ICRMX"),
        concealed_seconds=_decimal(quality, "CS"),
        severely_concealed_seconds=_decimal(quality, "SCS"),
    )
    return None if found == RtpStatistics() else found


def _pairs(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for match in _PAIR.finditer(text):
        found.setdefault(match[1].upper(), match[2].strip('"').strip())
    return found


def _first(*values: Number | None) -> Number | None:
    """The first that is known."""
    return next((value for value in values if value is not None), None)


def _whole(values: Mapping[str, str], key: str) -> int | None:
    text = values.get(key, "")
    return int(text) if _WHOLE.fullmatch(text) else None


def _decimal(values: Mapping[str, str], key: str) -> float | None:
    text = values.get(key, "")
    return float(text) if _DECIMAL.fullmatch(text) else None


def _mos(values: Mapping[str, str], key: str) -> float | None:
    value = _decimal(values, key)
    return value if value is not None and 1 <= value <= 5 else None
