"""Reports of devices as rows of the lake's table `phone_reports`: evidence `reported`, missing stays missing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from collector.facts import DeviceStatistics, Endpoint
from collector.protocols.hep_reports import HepReport
from collector.protocols.rtp_stat import RtpStatistics
from collector.protocols.sip_values import parse_name_addr
from collector.protocols.vq_report import VqMetrics, VqReport

Row = dict[str, Any]

VQ, BYE_HEADERS, RTCP, HEP_REPORT = "vq-rtcpxr", "rtp-stat", "rtcp", "hep-report"
_MICRO = 1_000


def vq_rows(report: VqReport, reported: int, system: str, identity: str) -> list[Row]:
    """Rows of one RFC 6035 report: one a side; `reported` is when it came [ns], `identity` tells it from any other."""
    sides = [("local", report.local)]
    if report.remote is not None:
        sides.append(("remote", report.remote))
    common = {
        "kind": report.kind,
        "device": _text(report.local_mac) or _text(report.user_agent),
        "directory_number": _user(report.local_id),
        "local_address": _endpoint(report.local_address),
        "remote_address": _endpoint(report.remote_address),
    }
    return [
        _row(VQ, system, report.call_id, reported, identity, side) | common | _vq_values(metrics)
        for side, metrics in sides
    ]


def _vq_values(metrics: VqMetrics) -> Row:
    return {
        "start": None if metrics.start is None else metrics.start // _MICRO,
        "stop": None if metrics.stop is None else metrics.stop // _MICRO,
        "codec": _text(metrics.codec),
        "jitter_ms": metrics.interarrival_jitter_ms,
        "one_way_delay_ms": metrics.one_way_delay_ms,
        "loss_percent": metrics.loss_percent,
        "discard_percent": metrics.discard_percent,
        "burst_density_percent": metrics.burst_density_percent,
        "burst_ms": metrics.burst_ms,
        "round_trip_ms": metrics.round_trip_ms,
        "end_system_delay_ms": metrics.end_system_delay_ms,
        "mos_lq": metrics.mos_lq,
        "mos_cq": metrics.mos_cq,
        "r_factor": metrics.r_cq,
    }


def bye_row(
    statistics: RtpStatistics, call_id: str, sender: Endpoint, reported: int, system: str, identity: str
) -> Row:
    """The row of the statistics headers of a BYE or its answer that `sender` sent."""
    values = asdict(statistics)
    for name in ("octets_sent", "octets_received", "late_packets", "seconds"):
        del values[name]
    return (
        _row(BYE_HEADERS, system, call_id, reported, identity, "local")
        | values
        | {"kind": "bye", "device": sender.ip, "codec": _text(statistics.codec)}
    )


def device_rows(reports: Iterable[DeviceStatistics], system: str) -> list[Row]:
    """Rows of what devices said in a BYE or its answer."""
    return [bye_row(one.statistics, one.call_id, one.src, one.at, system, one.identity) for one in reports]


def rtcp_row(
    call_id: str, sender: Endpoint, receiver: Endpoint, ssrc: int, reported: int, system: str, values: Row
) -> Row:
    """The row of what a receiver reported of one source by RTCP; `sender` is who reported."""
    identity = f"{sender}|{receiver}|{ssrc}|{reported}"
    addresses = {"local_address": _endpoint(sender), "remote_address": _endpoint(receiver)}
    return _row(RTCP, system, call_id, reported, identity, "local") | addresses | {"kind": "session"} | values


def hep_row(report: HepReport, call_id: str, sender: Endpoint, reported: int, system: str, number: int) -> Row:
    """The row of one direction of an agent's report; `number` tells the directions of one report apart."""
    sent = report.packets if report.direction == "out" else None
    identity = f"{sender}|{report.src}|{report.dst}|{report.direction}|{report.packets}|{reported}|{number}"
    values = {
        "kind": "interval",
        "device": sender.ip,
        "packets_sent": sent,
        "packets_received": report.packets if sent is None else None,
        "packets_lost": report.packets_lost,
        "jitter_ms": report.jitter_ms,
        "max_jitter_ms": report.max_jitter_ms,
        "round_trip_ms": report.round_trip_ms,
        "codec": _text(report.codec),
        "mos_lq": report.mos,
        "r_factor": report.r_factor,
        "local_address": _endpoint(report.dst),
        "remote_address": _endpoint(report.src),
    }
    return _row(HEP_REPORT, system, call_id, reported, identity, "local") | values


def _row(source: str, system: str, call_id: str, reported: int, identity: str, side: str) -> Row:
    return {
        "source": source,
        "system": system,
        "file_key": 0,
        "line": 0,
        "row_key": _key(source, system, call_id, identity, side),
        "call_ref": _key("call", call_id),
        "leg": 0,
        "reported": reported // _MICRO,
        "call_id": _text(call_id),
        "side": side,
    }


def _key(*parts: str) -> int:
    """First 64 bits of SHA-256 over the parts, as a signed number."""
    digest = hashlib.sha256("\x1f".join(parts).encode("utf-8", "replace")).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def _text(value: str | None) -> str | None:
    """Text as a table takes it."""
    return None if not value else value.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def _user(name_addr: str | None) -> str | None:
    if not name_addr:
        return None
    return _text(parse_name_addr(name_addr)[0].uri.user.partition(";")[0])


def _endpoint(endpoint: Endpoint | None) -> str | None:
    return None if endpoint is None else str(endpoint)
