"""Quality reports that agents put into HEP as JSON: into the facts of one direction each.

No standard has them. Types 34 and 35 are what agents that measure RTP send, one direction a report; type 38 is what
records of a session border controller become, both directions in one. Pure: facts or `HepReportError`, nothing else.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from collector.facts import Endpoint
from collector.protocols.hep import FULL_REPORT, SBC_REPORT, SHORT_REPORT

REPORTS = frozenset({FULL_REPORT, SHORT_REPORT, SBC_REPORT})
OCTETS_LIMIT = 1 << 16
TEXT_LIMIT = 256


class HepReportError(ValueError):
    """The payload is no report; `defect` is the name to count by."""

    def __init__(self, defect: str) -> None:
        super().__init__(defect)
        self.defect = defect


@dataclass(frozen=True, slots=True)
class HepReport:
    """What an agent says of one direction of a call; None: not said, or impossible."""

    call_id: str | None
    direction: str | None
    """`in` or `out`, as the border controller sees the call; None where the agent speaks of one stream."""
    packets: int | None
    packets_lost: int | None
    jitter_ms: float | None
    """Mean."""
    max_jitter_ms: float | None
    round_trip_ms: float | None
    mos: float | None
    r_factor: float | None
    codec: str | None
    src: Endpoint | None
    dst: Endpoint | None


def parse_report(payload_type: int, payload: bytes) -> tuple[HepReport, ...]:
    """Read a payload of one of `REPORTS`. Raises HepReportError."""
    if len(payload) > OCTETS_LIMIT:
        raise HepReportError("too_large")
    try:
        members = json.loads(payload)
    except (ValueError, RecursionError):
        raise HepReportError("json_malformed") from None
    if not isinstance(members, dict):
        raise HepReportError("not_a_report")
    found = _of_border_controller(members) if payload_type == SBC_REPORT else (_of_agent(members),)
    if all(report.packets is None and report.mos is None for report in found):
        raise HepReportError("not_a_report")
    return found


def _of_agent(members: Mapping[str, Any]) -> HepReport:
    return HepReport(
        call_id=_text(members, "CORRELATION_ID") or _text(members, "RTP_SIP_CALL_ID"),
        direction=None,
        packets=_count(members, "TOTAL_PK"),
        packets_lost=_count(members, "PACKET_LOSS"),
        jitter_ms=_first(_number(members, "MEAN_JITTER"), _number(members, "JITTER")),
        max_jitter_ms=_number(members, "MAX_JITTER"),
        round_trip_ms=None,
        mos=_mos(_first(_number(members, "MEAN_MOS"), _number(members, "MOS"))),
        r_factor=_r(_first(_number(members, "MEAN_RFACTOR"), _number(members, "RFACTOR"))),
        codec=_text(members, "CODEC_NAME"),
        src=_endpoint(members, "SRC_IP", "SRC_PORT"),
        dst=_endpoint(members, "DST_IP", "DST_PORT"),
    )


def _of_border_controller(members: Mapping[str, Any]) -> tuple[HepReport, ...]:
    """Both directions; MOS and R come as hundredths."""
    return tuple(
        HepReport(
            call_id=_text(members, f"{side}_ID"),
            direction=side.lower().removesuffix("c"),
            packets=_count(members, f"{side}_RTP_PK"),
            packets_lost=_count(members, f"{side}_RTP_PK_LOSS"),
            jitter_ms=_number(members, f"{side}_RTP_AVG_JITTER"),
            max_jitter_ms=_number(members, f"{side}_RTP_MAX_JITTER"),
            round_trip_ms=_number(members, f"{side}_RTCP_AVG_LAT") or None,
            mos=_mos(_number(members, f"{side}_MOS")),
            r_factor=_r(_number(members, f"{side}_RVAL")),
            codec=None,
            src=_endpoint(members, f"{party}_SRC_IP", f"{party}_SRC_PORT"),
            dst=_endpoint(members, f"{party}_DST_IP", f"{party}_DST_PORT"),
        )
        for side, party in (("INC", "CALLER"), ("OUT", "CALLEE"))
    )


def _first(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)


def _number(members: Mapping[str, Any], name: str) -> float | None:
    value = members.get(name)
    if isinstance(value, str):
        try:
            value = float(value[:32])
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) and 0 <= value < 1e15 else None


def _count(members: Mapping[str, Any], name: str) -> int | None:
    value = _number(members, name)
    return None if value is None else int(value)


def _mos(value: float | None) -> float | None:
    """MOS from 1 to 5, as such or in hundredths; 0 is a filler."""
    if value is not None and value >= 100:
        value /= 100
    return value if value is not None and 1 <= value <= 5 else None


def _r(value: float | None) -> float | None:
    if value is not None and value > 120:
        value /= 100
    return value if value is not None and 0 < value <= 120 else None


def _text(members: Mapping[str, Any], name: str) -> str | None:
    value = members.get(name)
    return value[:TEXT_LIMIT] if isinstance(value, str) and value else None


def _endpoint(members: Mapping[str, Any], ip: str, port: str) -> Endpoint | None:
    number = _count(members, port)
    try:
        address = str(ip_address(_text(members, ip) or ""))
    except ValueError:
        return None
    return Endpoint(address, number if number is not None and number <= 0xFFFF else 0)
