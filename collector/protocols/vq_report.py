"""`application/vq-rtcpxr` (RFC 6035): what a telephone says of its own call, from a body to frozen facts.

Rates and densities are percent here, not the 1/256 of RFC 3611. Telephones write 0 or 127 where they know nothing:
where such a value cannot be a measurement it is missing. Pure; `parse_vq_report` gives facts or raises `VqError`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address

from collector.facts import Endpoint

CONTENT_TYPE = "application/vq-rtcpxr"
EVENT = "vq-rtcpxr"
BODY_LIMIT = 1 << 16
"""Octets of a body."""
LINE_LIMIT = 256
"""Lines of a body that are read."""
TEXT_LIMIT = 256
"""Characters kept of a text."""

_KINDS = {"vqsessionreport": "session", "vqintervalreport": "interval", "vqalertreport": "alert"}
_TOKEN = re.compile(r"([A-Za-z][A-Za-z0-9_]*)[=:](\"[^\"]*\"|[^\s;,\"]*)")
_GLUED = re.compile(r"(-?[0-9]+(?:\.[0-9]+)?)([A-Za-z]+[=:].*)")
"""A value with the next key right behind it: some telephones forget the space."""
_NUMBER = re.compile(r"[+-]?[0-9]{1,12}(?:\.[0-9]{1,9})?")
_UNAVAILABLE = 127.0
_LINE_LENGTH = 1024
_DAYS_LIMIT = 80_000  # the year 2189; nanoseconds of what is later leave 63 bits soon after
_METRIC_LINES = frozenset(
    {"timestamps", "sessiondesc", "jitterbuffer", "packetloss", "burstgaploss", "delay", "signal", "qualityest"}
)


class VqError(ValueError):
    """The body is no voice-quality report; `defect` is the name to count by."""

    def __init__(self, defect: str) -> None:
        super().__init__(defect)
        self.defect = defect


@dataclass(frozen=True, slots=True)
class VqMetrics:
    """One side of a report (RFC 6035 4.6.2.3); None: not reported, or a filler."""

    start: int | None = None
    """[ns since the epoch], by the telephone's clock."""
    stop: int | None = None
    """[ns since the epoch], by the telephone's clock."""
    payload_type: int | None = None
    codec: str | None = None
    """Payload description, upper case."""
    sample_rate: int | None = None
    """[Hz]"""
    frame_ms: float | None = None
    frame_octets: int | None = None
    frames_per_packet: float | None = None
    packets_per_second: float | None = None
    plc: int | None = None
    """Packet loss concealment: 3 standard, 2 enhanced, 1 disabled; None unspecified."""
    silence_suppression: bool | None = None
    jitter_buffer_adaptive: int | None = None
    """3 adaptive, 2 not; None unknown."""
    jitter_buffer_rate: float | None = None
    jitter_buffer_nominal_ms: float | None = None
    jitter_buffer_max_ms: float | None = None
    jitter_buffer_abs_max_ms: float | None = None
    loss_percent: float | None = None
    """Lost on the network [%]."""
    discard_percent: float | None = None
    """Thrown away by the jitter buffer [%]."""
    burst_density_percent: float | None = None
    burst_ms: float | None = None
    gap_density_percent: float | None = None
    gap_ms: float | None = None
    gmin: int | None = None
    round_trip_ms: float | None = None
    end_system_delay_ms: float | None = None
    one_way_delay_ms: float | None = None
    """Symmetric one-way delay."""
    interarrival_jitter_ms: float | None = None
    mean_absolute_jitter_ms: float | None = None
    signal_level: float | None = None
    """[dBm0]"""
    noise_level: float | None = None
    """[dBm0]"""
    rerl: float | None = None
    """Residual echo return loss [dB]."""
    r_lq: float | None = None
    r_cq: float | None = None
    ext_r_in: float | None = None
    ext_r_out: float | None = None
    mos_lq: float | None = None
    mos_cq: float | None = None
    algorithm: str | None = None


NOTHING = VqMetrics()


@dataclass(frozen=True, slots=True)
class VqReport:
    """One report."""

    kind: str
    """`session` (CallTerm), `interval` or `alert`."""
    call_id: str
    local: VqMetrics
    remote: VqMetrics | None
    """What the far end told the telephone (by RTCP XR), where it passes that on."""
    local_id: str | None = None
    remote_id: str | None = None
    orig_id: str | None = None
    local_address: Endpoint | None = None
    remote_address: Endpoint | None = None
    local_ssrc: int | None = None
    remote_ssrc: int | None = None
    local_mac: str | None = None
    remote_mac: str | None = None
    dialog_id: str | None = None
    user_agent: str | None = None
    alert: str | None = None
    """What an alert is about, as written: `Type=NLR Severity=Critical Dir=local`."""
    defects: tuple[str, ...] = ()
    """What was left out, as names to count by."""


def parse_vq_report(body: bytes) -> VqReport:
    """Read a body. Raises VqError where it is none or names no call."""
    if len(body) > BODY_LIMIT:
        raise VqError("too_large")
    lines = body.decode("utf-8", "backslashreplace").strip().splitlines()
    kind, alert = _first_line(lines[0] if lines else "")
    defects: dict[str, None] = {}
    if len(lines) > LINE_LIMIT:
        defects["too_many_lines"] = None
    texts: dict[str, str] = {}
    sides: dict[str, dict[str, dict[str, str]]] = {"local": {}}
    side = "local"
    for line in lines[1:LINE_LIMIT]:
        name, colon, value = line[:_LINE_LENGTH].partition(":")
        name = name.strip().lower()
        if not colon:
            if name:
                defects["line_malformed"] = None
        elif name in ("localmetrics", "remotemetrics"):
            side = name.removesuffix("metrics")
            sides.setdefault(side, {})
        elif name in _METRIC_LINES:
            sides[side].setdefault(name, _values(value))
        else:
            texts.setdefault(name, value.strip()[:TEXT_LIMIT])
    return _report(kind, alert, texts, sides, defects)


def _first_line(line: str) -> tuple[str, str | None]:
    word, _, rest = line.partition(":")
    kind = _KINDS.get(word.strip().lower())
    if kind is None:
        raise VqError("first_line_unknown")
    return kind, (rest.strip()[:TEXT_LIMIT] or None) if kind == "alert" else None


def _report(
    kind: str,
    alert: str | None,
    texts: Mapping[str, str],
    sides: Mapping[str, Mapping[str, Mapping[str, str]]],
    defects: dict[str, None],
) -> VqReport:
    if not texts.get("callid"):
        raise VqError("call_id_missing")
    local_address, local_ssrc = _address(texts.get("localaddr"), defects)
    remote_address, remote_ssrc = _address(texts.get("remoteaddr"), defects)
    remote = sides.get("remote")
    return VqReport(
        kind,
        texts["callid"],
        _metrics(sides["local"], defects),
        None if remote is None else _metrics(remote, defects),
        # Older drafts and today's PBXs write FromID and ToID.
        texts.get("localid") or texts.get("fromid") or None,
        texts.get("remoteid") or texts.get("toid") or None,
        texts.get("origid") or None,
        local_address,
        remote_address,
        local_ssrc,
        remote_ssrc,
        texts.get("localmac") or None,
        texts.get("remotemac") or None,
        texts.get("dialogid") or None,
        texts.get("x-useragent") or None,
        alert,
        tuple(defects),
    )


def _values(text: str) -> dict[str, str]:
    """Key and value pairs of a line, the first of each key, in upper case."""
    found: dict[str, str] = {}
    for match in _TOKEN.finditer(text):
        key, value = match[1].upper(), match[2].strip('"')
        while (glued := _GLUED.fullmatch(value)) is not None:
            found.setdefault(key, glued[1])
            separator = re.search("[=:]", glued[2])
            place = separator.start() if separator is not None else len(glued[2])
            key, value = glued[2][:place].upper(), glued[2][place + 1 :]
        found.setdefault(key, value[:TEXT_LIMIT])
    return found


def _address(text: str | None, defects: dict[str, None]) -> tuple[Endpoint | None, int | None]:
    if text is None:
        return None, None
    values = _values(text)
    ssrc: int | None = None
    written = values.get("SSRC", "")
    if re.fullmatch(r"0[xX][0-9a-fA-F]{1,8}", written):
        ssrc = int(written, 16)
    elif re.fullmatch(r"[0-9]{1,10}", written):
        ssrc = int(written)
    try:
        address = str(ip_address(values.get("IP", "").strip("[]")))
    except ValueError:
        defects["address_malformed"] = None
        return None, ssrc
    port = values.get("PORT", "")
    return Endpoint(address, int(port) if re.fullmatch("[0-9]{1,5}", port) else 0), ssrc


def _metrics(lines: Mapping[str, Mapping[str, str]], defects: dict[str, None]) -> VqMetrics:
    def number(line: str, key: str, low: float, high: float, *fillers: float) -> float | None:
        text = lines.get(line, {}).get(key)
        if text is None or text == "":
            return None
        if not _NUMBER.fullmatch(text):
            defects["number_malformed"] = None
            return None
        value = float(text)
        if value in fillers:
            return None
        if not low <= value <= high:
            defects["out_of_range"] = None
            return None
        return value

    def whole(line: str, key: str, high: int, *fillers: float) -> int | None:
        value = number(line, key, 0, high, *fillers)
        return None if value is None else int(value)

    def milliseconds(line: str, key: str, *fillers: float) -> float | None:
        # RFC 3611 4.7 has 16 bits for each of them; 65535 means the same or more.
        return number(line, key, 0, 10_000_000 if line == "burstgaploss" else 0xFFFF, *fillers)

    stamps, session = lines.get("timestamps", {}), lines.get("sessiondesc", {})
    suppression = session.get("SSUP", "").lower()
    return VqMetrics(
        start=_moment(stamps.get("START"), defects),
        stop=_moment(stamps.get("STOP"), defects),
        payload_type=whole("sessiondesc", "PT", 127),
        codec=(session.get("PD") or "").upper()[:32] or None,
        sample_rate=whole("sessiondesc", "SR", 1_000_000, 0),
        frame_ms=number("sessiondesc", "FD", 0, 10_000, 0),
        frame_octets=whole("sessiondesc", "FO", 65_535, 0),
        frames_per_packet=number("sessiondesc", "FPP", 0, 1_000, 0),
        packets_per_second=number("sessiondesc", "PPS", 0, 100_000, 0),
        plc=whole("sessiondesc", "PLC", 3, 0),
        silence_suppression={"on": True, "off": False}.get(suppression),
        jitter_buffer_adaptive=whole("jitterbuffer", "JBA", 3, 0),
        jitter_buffer_rate=number("jitterbuffer", "JBR", 0, 15),
        jitter_buffer_nominal_ms=milliseconds("jitterbuffer", "JBN", 0),
        jitter_buffer_max_ms=milliseconds("jitterbuffer", "JBM", 0),
        jitter_buffer_abs_max_ms=milliseconds("jitterbuffer", "JBX", 0),
        loss_percent=number("packetloss", "NLR", 0, 100),
        discard_percent=number("packetloss", "JDR", 0, 100),
        burst_density_percent=number("burstgaploss", "BLD", 0, 100),
        burst_ms=milliseconds("burstgaploss", "BD"),
        gap_density_percent=number("burstgaploss", "GLD", 0, 100),
        gap_ms=milliseconds("burstgaploss", "GD"),
        gmin=whole("burstgaploss", "GMIN", 255, 0),
        round_trip_ms=milliseconds("delay", "RTD", 0),
        end_system_delay_ms=milliseconds("delay", "ESD", 0),
        one_way_delay_ms=milliseconds("delay", "SOWD", 0),
        interarrival_jitter_ms=milliseconds("delay", "IAJ"),
        mean_absolute_jitter_ms=milliseconds("delay", "MAJ"),
        signal_level=number("signal", "SL", -127, 20, _UNAVAILABLE),
        noise_level=number("signal", "NL", -127, 20, _UNAVAILABLE),
        rerl=number("signal", "RERL", 0, 126, _UNAVAILABLE),
        r_lq=number("qualityest", "RLQ", 0, 120, 0, _UNAVAILABLE),
        r_cq=number("qualityest", "RCQ", 0, 120, 0, _UNAVAILABLE),
        ext_r_in=number("qualityest", "EXTRI", 0, 120, 0, _UNAVAILABLE),
        ext_r_out=number("qualityest", "EXTRO", 0, 120, 0, _UNAVAILABLE),
        mos_lq=number("qualityest", "MOSLQ", 1, 5, 0, 12.7, _UNAVAILABLE),
        mos_cq=number("qualityest", "MOSCQ", 1, 5, 0, 12.7, _UNAVAILABLE),
        algorithm=lines.get("qualityest", {}).get("QOEESTALG") or None,
    )


def _moment(text: str | None, defects: dict[str, None]) -> int | None:
    """A time of RFC 3339 [ns since the epoch]; 0 is a filler."""
    if text is None or text in ("", "0"):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        defects["time_malformed"] = None
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    if not 0 < delta.days < _DAYS_LIMIT:
        defects["time_malformed"] = None
        return None
    return ((delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds) * 1_000
