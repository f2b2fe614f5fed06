"""RTCP as JSON, as rtpengine, Asterisk, heplify and captagent put it into HEP: into the facts of `rtcp`.

No standard has it; the member names are those that these senders share. Extended reports in it are not read.
"""

from __future__ import annotations

import json
from typing import Any

from collector.protocols.rtcp import (
    MAX_PACKETS,
    ReceiverReport,
    ReportBlock,
    RtcpError,
    RtcpPacket,
    SenderReport,
    looks_like_rtcp,
    parse_compound,
)

OCTETS_LIMIT = 1 << 16


def parse_payload(payload: bytes) -> tuple[RtcpPacket, ...]:
    """Read RTCP as HEP carries it, as octets or as JSON. Raises RtcpError."""
    if looks_like_rtcp(payload):
        return parse_compound(payload)
    return parse_json(payload)


def parse_json(payload: bytes) -> tuple[RtcpPacket, ...]:
    """Read one report. Raises RtcpError where it is none."""
    if len(payload) > OCTETS_LIMIT:
        raise RtcpError("json_too_large", "the report is too large")
    try:
        members = json.loads(payload)
    except (ValueError, RecursionError):
        raise RtcpError("json_malformed", "the report is no JSON") from None
    if not isinstance(members, dict) or "ssrc" not in members:
        raise RtcpError("json_not_rtcp", "the JSON is no RTCP report")
    ssrc = _number(members, "ssrc", 32)
    reports = members.get("report_blocks", [])
    if not isinstance(reports, list):
        raise RtcpError("json_not_rtcp", "report_blocks is no list")
    blocks = tuple(_block(each) for each in reports[:MAX_PACKETS])
    sender = members.get("sender_information")
    if not isinstance(sender, dict):
        return (ReceiverReport(ssrc, blocks),)
    # Named a time in microseconds, but it is the fraction of the NTP timestamp.
    ntp = _number(sender, "ntp_timestamp_sec", 32) << 32 | _number(sender, "ntp_timestamp_usec", 32)
    return (
        SenderReport(
            ssrc,
            ntp,
            _number(sender, "rtp_timestamp", 32),
            _number(sender, "packets", 32),
            _number(sender, "octets", 32),
            blocks,
        ),
    )


def _block(block: Any) -> ReportBlock:
    if not isinstance(block, dict):
        raise RtcpError("json_not_rtcp", "a report block is no object")
    lost = _number(block, "packets_lost", 32)
    if lost >= 1 << 23:
        # 24 bits with a sign, which some senders write without it, widened or not.
        lost -= 1 << (24 if lost < 1 << 24 else 32)
    return ReportBlock(
        _number(block, "source_ssrc", 32),
        _number(block, "fraction_lost", 8),
        lost,
        _number(block, "highest_seq_no", 32),
        _number(block, "ia_jitter", 32),
        _number(block, "lsr", 32),
        _number(block, "dlsr", 32),
    )


def _number(members: dict[str, Any], name: str, bits: int) -> int:
    """An unsigned number of so many bits; Asterisk writes numbers as text. Missing is 0, as on the wire."""
    value = members.get(name, 0)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 20:
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise RtcpError("json_number_wrong", f"{name} is no number")
    if value < 0 and name == "packets_lost" and value >= -(1 << 23):
        return value + (1 << 32)
    if not 0 <= value < 1 << bits:
        raise RtcpError("json_number_wrong", f"{name} has more than {bits} bits")
    return value
