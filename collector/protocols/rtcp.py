"""RTCP: compound packets of RFC 3550 6 and extended reports of RFC 3611, from bytes to frozen facts.

Pure: no clock, no table. What comes in is hostile; `parse_compound` returns facts or raises `RtcpError`, nothing else.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

SR, RR, SDES, BYE, APP, RTPFB, PSFB, XR = range(200, 208)
MUX_TYPES = range(192, 224)
"""Second octets that mean RTCP where RTP shares the port (RFC 5761 4)."""
MAX_PACKETS = 64
"""Packets of one datagram, and blocks of one XR, that are read: the rest is counted as a tail."""

_HEADER = struct.Struct("!BBH")
_WORD = struct.Struct("!I")
_SENDER_INFO = struct.Struct("!IQIII")
_REPORT_BLOCK = struct.Struct("!IIIIII")
_FEEDBACK = struct.Struct("!II")
_DLRR = struct.Struct("!III")
_REFERENCE_TIME = struct.Struct("!Q")
_VOIP_METRICS = struct.Struct("!IBBBBHHHHbbBBBBBBBxHHH")
_STATISTICS = struct.Struct("!IHHIIIIIIBBBB")
_CNAME = 1
_UNAVAILABLE = 127


class RtcpError(ValueError):
    """The datagram is not RTCP, or lies about itself; `defect` is the name to count by."""

    def __init__(self, defect: str, message: str) -> None:
        super().__init__(message)
        self.defect = defect


class ReportBlock(NamedTuple):
    """What a receiver says of one source (RFC 3550 6.4.1)."""

    ssrc: int
    fraction_lost: int
    """Share lost since the report before [1/256]."""
    cumulative_lost: int
    """Since the beginning; negative with duplicates."""
    extended_highest_sequence: int
    interarrival_jitter: int
    """In units of the stream's RTP clock."""
    last_sr: int
    """Middle 32 bits of the NTP timestamp of the last SR received, 0 when none was."""
    delay_since_last_sr: int
    """[1/65536 s]"""


class SenderReport(NamedTuple):
    ssrc: int
    ntp_timestamp: int
    """64 bits: seconds since 1900 and their fraction; any clock, not always the wall's."""
    rtp_timestamp: int
    packet_count: int
    octet_count: int
    blocks: tuple[ReportBlock, ...]


class ReceiverReport(NamedTuple):
    ssrc: int
    blocks: tuple[ReportBlock, ...]


class SourceDescription(NamedTuple):
    """SDES of which only the CNAME is kept (RFC 3550 6.5): the other items name people."""

    cnames: Mapping[int, str]
    """By SSRC."""


class Goodbye(NamedTuple):
    ssrcs: tuple[int, ...]
    reason: str | None


class Application(NamedTuple):
    """APP (RFC 3550 6.7), its data left unread."""

    ssrc: int
    name: str
    subtype: int


class Feedback(NamedTuple):
    """RTPFB or PSFB (RFC 4585 6.1), to be counted."""

    packet_type: int
    format: int
    ssrc: int
    media_ssrc: int


class VoipMetrics(NamedTuple):
    """VoIP metrics report block (RFC 3611 4.7); None: unavailable (127) or a value that the RFC says to ignore."""

    ssrc: int
    """The source it is about."""
    loss_rate: float
    """[%]"""
    discard_rate: float
    """[%]"""
    burst_density: float
    """[%]"""
    gap_density: float
    """[%]"""
    burst_duration: int
    """[ms]"""
    gap_duration: int
    """[ms]"""
    round_trip_delay: int
    """[ms]"""
    end_system_delay: int
    """[ms]"""
    signal_level: int | None
    """[dBm0]"""
    noise_level: int | None
    """[dBm0]"""
    rerl: int | None
    """Residual echo return loss [dB]."""
    gmin: int
    r_factor: int | None
    ext_r_factor: int | None
    mos_lq: float | None
    mos_cq: float | None
    plc: int
    """3 standard, 2 enhanced, 1 disabled, 0 unspecified."""
    jba: int
    """Jitter buffer: 3 adaptive, 2 fixed, 0 unknown."""
    jb_rate: int
    jb_nominal: int
    """[ms]"""
    jb_maximum: int
    """[ms]"""
    jb_abs_max: int
    """[ms]"""


class ReceiverReferenceTime(NamedTuple):
    """RFC 3611 4.4: the time mark of an end that sends no media."""

    ntp_timestamp: int


class DelaySinceLastReceiverReport(NamedTuple):
    """One sub-block of DLRR (RFC 3611 4.5)."""

    ssrc: int
    last_rr: int
    delay_since_last_rr: int
    """[1/65536 s]"""


class StatisticsSummary(NamedTuple):
    """RFC 3611 4.6; a group is None when its flag says that it was not reported."""

    ssrc: int
    begin_sequence: int
    end_sequence: int
    lost: int | None
    duplicates: int | None
    jitter: tuple[int, int, int, int] | None
    """Least, greatest, mean and standard deviation, in units of the RTP clock."""
    ttl: tuple[int, int, int, int] | None
    """Least, greatest, mean and standard deviation of TTL or hop limit."""


class OtherBlock(NamedTuple):
    """An XR block that is counted by its type alone."""

    block_type: int
    octets: int


XrBlock: TypeAlias = VoipMetrics | ReceiverReferenceTime | DelaySinceLastReceiverReport | StatisticsSummary | OtherBlock


class ExtendedReport(NamedTuple):
    ssrc: int
    blocks: tuple[XrBlock, ...]


class OtherPacket(NamedTuple):
    """A packet type that is counted and not read."""

    packet_type: int
    octets: int
    """After the common header."""


class EncryptedReport(NamedTuple):
    """SRTCP (RFC 3711 3.4): the first eight octets are clear, the rest is not read."""

    packet_type: int
    ssrc: int
    octets: int
    defect: str | None
    """`srtcp_suspected` when nothing but the packet itself tells that it is encrypted."""


class UnparsedTail(NamedTuple):
    """What follows the last packet that could be read, and why it could not."""

    octets: int
    defect: str


RtcpPacket: TypeAlias = (
    SenderReport
    | ReceiverReport
    | SourceDescription
    | Goodbye
    | Application
    | Feedback
    | ExtendedReport
    | OtherPacket
    | EncryptedReport
    | UnparsedTail
)


def looks_like_rtcp(data: bytes, muxed: bool = False) -> bool:
    """True when version, type and length of the first packet fit; with `muxed` any type of RFC 5761 4 will do."""
    if len(data) < 8 or data[0] >> 6 != 2:
        return False
    types = MUX_TYPES if muxed else range(SR, XR + 1)
    return data[1] in types and 4 * (int.from_bytes(data[2:4], "big") + 1) <= len(data)


def parse_compound(data: bytes, encrypted: bool = False, cut: bool = False) -> tuple[RtcpPacket, ...]:
    """All packets of one datagram, reduced-size ones (RFC 5506) included.

    `encrypted`: the session description negotiated SRTP, so only the first header and SSRC are read. `cut`: the
    capture kept the front of the datagram alone, so a later packet that runs past it is no sign of SRTCP. Raises
    `RtcpError` when the first packet is wrong; a later one that is wrong leaves an `UnparsedTail` with its defect.
    """
    end = _packet_end(data, 0)
    if encrypted or _seems_encrypted(data, end, cut):
        return (_clear_part(data, None if encrypted else "srtcp_suspected"),)
    packets = [_parse_packet(data, _packet_body(data, 0, end))]
    while end < len(data):
        at = end
        if len(packets) == MAX_PACKETS:
            packets.append(UnparsedTail(len(data) - at, "rtcp_too_many"))
            break
        try:
            end = _packet_end(data, at)
            packets.append(_parse_packet(data, _packet_body(data, at, end)))
        except RtcpError as error:
            packets.append(UnparsedTail(len(data) - at, error.defect))
            break
    return tuple(packets)


class _Body(NamedTuple):
    """One packet of a compound: where its content lies, padding left out."""

    packet_type: int
    items: int
    """The five bits of the common header: how many items, or a subtype."""
    start: int
    """After the common header."""
    stop: int
    """Before the padding."""


def _packet_end(data: bytes, at: int) -> int:
    """Where the packet at `at` says that it ends, its common header checked (RFC 3550 A.2)."""
    if len(data) - at < _HEADER.size:
        raise RtcpError("rtcp_short", f"RTCP header cut off at octet {at}")
    first, packet_type, length = _HEADER.unpack_from(data, at)
    if first >> 6 != 2:
        raise RtcpError("rtcp_version", f"RTCP version {first >> 6} at octet {at}")
    if packet_type not in MUX_TYPES:
        raise RtcpError("rtcp_type", f"{packet_type} is no RTCP packet type")
    end = at + 4 * (int(length) + 1)
    if end > len(data):
        raise RtcpError("rtcp_length", f"RTCP length says {end - at} octets, {len(data) - at} are there")
    return end


def _packet_body(data: bytes, at: int, end: int) -> _Body:
    first, packet_type = data[at], data[at + 1]
    padding = 0
    if first & 0x20:
        padding = data[end - 1]
        # Padding belongs to the last packet alone (RFC 3550 6.4.1).
        if padding == 0 or padding % 4 or padding > end - at - _HEADER.size or end != len(data):
            raise RtcpError("rtcp_padding", f"RTCP padding of {padding} octets in a packet of {end - at}")
    return _Body(packet_type, first & 0x1F, at + _HEADER.size, end - padding)


def _seems_encrypted(data: bytes, end: int, cut: bool) -> bool:
    """True when what follows the first packet is no RTCP but long enough for the SRTCP index and a tag.

    The length of the first packet stays clear in SRTCP, the header of the second does not (RFC 3711 3.4).
    """
    if len(data) - end < 8:
        return False
    first, packet_type, length = _HEADER.unpack_from(data, end)
    fits = cut or end + 4 * (length + 1) <= len(data)
    return first >> 6 != 2 or packet_type not in MUX_TYPES or not fits


def _clear_part(data: bytes, defect: str | None) -> EncryptedReport:
    if len(data) < 8:
        raise RtcpError("rtcp_short", f"SRTCP of {len(data)} octets")
    return EncryptedReport(data[1], _WORD.unpack_from(data, 4)[0], len(data), defect)


def _parse_packet(data: bytes, body: _Body) -> RtcpPacket:
    parser = _PARSERS.get(body.packet_type)
    if parser is None:
        return OtherPacket(body.packet_type, body.stop - body.start)
    return parser(data, body)


def _need(body: _Body, octets: int, defect: str) -> None:
    if body.stop - body.start < octets:
        raise RtcpError(defect, f"packet type {body.packet_type} needs {octets} octets, has {body.stop - body.start}")


def _report_blocks(data: bytes, at: int, count: int) -> tuple[ReportBlock, ...]:
    blocks = []
    for _ in range(count):
        ssrc, lost, highest, jitter, last_sr, delay = _REPORT_BLOCK.unpack_from(data, at)
        cumulative = lost & 0xFFFFFF
        if cumulative & 0x800000:  # 24-bit signed (RFC 3550 6.4.1)
            cumulative -= 0x1000000
        blocks.append(ReportBlock(ssrc, lost >> 24, cumulative, highest, jitter, last_sr, delay))
        at += _REPORT_BLOCK.size
    return tuple(blocks)


def _parse_sender_report(data: bytes, body: _Body) -> SenderReport:
    _need(body, _SENDER_INFO.size + body.items * _REPORT_BLOCK.size, "rtcp_report_count")
    ssrc, ntp, rtp, packets, octets = _SENDER_INFO.unpack_from(data, body.start)
    blocks = _report_blocks(data, body.start + _SENDER_INFO.size, body.items)
    return SenderReport(ssrc, ntp, rtp, packets, octets, blocks)


def _parse_receiver_report(data: bytes, body: _Body) -> ReceiverReport:
    _need(body, _WORD.size + body.items * _REPORT_BLOCK.size, "rtcp_report_count")
    ssrc = _WORD.unpack_from(data, body.start)[0]
    return ReceiverReport(ssrc, _report_blocks(data, body.start + _WORD.size, body.items))


def _parse_source_description(data: bytes, body: _Body) -> SourceDescription:
    cnames: dict[int, str] = {}
    at = body.start
    for _ in range(body.items):
        if at + _WORD.size > body.stop:
            raise RtcpError("rtcp_sdes", "SDES has fewer chunks than it says")
        ssrc = _WORD.unpack_from(data, at)[0]
        cname, at = _parse_chunk(data, at + _WORD.size, body.stop)
        if cname is not None:
            cnames[ssrc] = cname
    return SourceDescription(MappingProxyType(cnames))


def _parse_chunk(data: bytes, at: int, stop: int) -> tuple[str | None, int]:
    """CNAME of the items from `at` on, and where the next chunk begins."""
    chunk_start, cname = at, None
    while at < stop and data[at] != 0:
        if at + 2 > stop or at + 2 + data[at + 1] > stop:
            raise RtcpError("rtcp_sdes", "SDES item runs past its packet")
        item, length = data[at], data[at + 1]
        if item == _CNAME:
            cname = _text(data[at + 2 : at + 2 + length])
        at += 2 + length
    # One null ends the list, more fill the 32-bit word (RFC 3550 6.5).
    return cname, min(stop, at + 4 - (at - chunk_start) % 4)


def _parse_goodbye(data: bytes, body: _Body) -> Goodbye:
    _need(body, body.items * _WORD.size, "rtcp_bye")
    ssrcs = struct.unpack_from(f"!{body.items}I", data, body.start)
    at = body.start + body.items * _WORD.size
    if at >= body.stop:
        return Goodbye(ssrcs, None)
    reason = data[at + 1 : at + 1 + data[at]]
    if at + 1 + data[at] > body.stop:
        raise RtcpError("rtcp_bye", "reason for leaving runs past its packet")
    return Goodbye(ssrcs, _text(reason) or None)


def _parse_application(data: bytes, body: _Body) -> Application:
    _need(body, 8, "rtcp_app")
    ssrc = _WORD.unpack_from(data, body.start)[0]
    return Application(ssrc, _text(data[body.start + 4 : body.start + 8]), body.items)


def _parse_feedback(data: bytes, body: _Body) -> Feedback:
    _need(body, _FEEDBACK.size, "rtcp_feedback")
    ssrc, media_ssrc = _FEEDBACK.unpack_from(data, body.start)
    return Feedback(body.packet_type, body.items, ssrc, media_ssrc)


def _parse_extended_report(data: bytes, body: _Body) -> ExtendedReport:
    _need(body, _WORD.size, "rtcp_xr")
    ssrc = _WORD.unpack_from(data, body.start)[0]
    blocks: list[XrBlock] = []
    at = body.start + _WORD.size
    while at < body.stop:
        if len(blocks) >= MAX_PACKETS:
            raise RtcpError("rtcp_too_many", f"more than {MAX_PACKETS} XR blocks")
        if at + _HEADER.size > body.stop:
            raise RtcpError("rtcp_xr", "XR block header cut off")
        block_type, specific, words = _HEADER.unpack_from(data, at)
        content = at + _HEADER.size
        at = content + 4 * words
        if at > body.stop:
            raise RtcpError("rtcp_xr", f"XR block {block_type} runs past its packet")
        blocks += _parse_block(data, block_type, specific, content, at)
    return ExtendedReport(ssrc, tuple(blocks))


def _parse_block(data: bytes, block_type: int, specific: int, start: int, stop: int) -> tuple[XrBlock, ...]:
    octets = stop - start
    if block_type == 4 and octets == _REFERENCE_TIME.size:
        return (ReceiverReferenceTime(_REFERENCE_TIME.unpack_from(data, start)[0]),)
    if block_type == 5 and octets % _DLRR.size == 0:
        return tuple(DelaySinceLastReceiverReport(*item) for item in _DLRR.iter_unpack(data[start:stop]))
    if block_type == 6 and octets == _STATISTICS.size:
        return (_parse_statistics(data, specific, start),)
    if block_type == 7 and octets == _VOIP_METRICS.size:
        return (_parse_voip_metrics(data, start),)
    if block_type in (4, 5, 6, 7):
        raise RtcpError("rtcp_xr", f"XR block {block_type} of {octets} octets")
    return (OtherBlock(block_type, octets),)


def _parse_statistics(data: bytes, flags: int, at: int) -> StatisticsSummary:
    ssrc, begin, end, lost, duplicates, *spread = _STATISTICS.unpack_from(data, at)
    jitter, ttl = tuple(spread[:4]), tuple(spread[4:])
    return StatisticsSummary(
        ssrc,
        begin,
        end,
        lost if flags & 0x80 else None,
        duplicates if flags & 0x40 else None,
        jitter if flags & 0x20 else None,
        ttl if flags & 0x18 else None,
    )


def _parse_voip_metrics(data: bytes, at: int) -> VoipMetrics:
    ssrc, loss, discard, in_bursts, in_gaps, burst, gap, round_trip, end_system, *rest = _VOIP_METRICS.unpack_from(
        data, at
    )
    signal, noise, rerl, gmin, r, ext_r, mos_lq, mos_cq, rx_config, nominal, maximum, abs_max = rest
    return VoipMetrics(
        ssrc=ssrc,
        loss_rate=100 * loss / 256,
        discard_rate=100 * discard / 256,
        burst_density=100 * in_bursts / 256,
        gap_density=100 * in_gaps / 256,
        burst_duration=burst,
        gap_duration=gap,
        round_trip_delay=round_trip,
        end_system_delay=end_system,
        signal_level=_available(signal),
        noise_level=_available(noise),
        rerl=_available(rerl),
        gmin=gmin,
        r_factor=r if r <= 100 else None,  # 4.7.5: values past 100 are to be ignored, 127 is unavailable
        ext_r_factor=ext_r if ext_r <= 100 else None,
        mos_lq=mos_lq / 10 if 10 <= mos_lq <= 50 else None,
        mos_cq=mos_cq / 10 if 10 <= mos_cq <= 50 else None,
        plc=rx_config >> 6,
        jba=rx_config >> 4 & 3,
        jb_rate=rx_config & 15,
        jb_nominal=nominal,
        jb_maximum=maximum,
        jb_abs_max=abs_max,
    )


def _available(value: int) -> int | None:
    return None if value == _UNAVAILABLE else value


def _text(octets: bytes) -> str:
    """UTF-8 from the wire, safe to print: what is not printable becomes U+FFFD."""
    decoded = octets.decode("utf-8", "replace").rstrip("\0")
    return "".join(sign if sign.isprintable() else "\ufffd" for sign in decoded)


_PARSERS: Mapping[int, Callable[[bytes, _Body], RtcpPacket]] = MappingProxyType(
    {
        SR: _parse_sender_report,
        RR: _parse_receiver_report,
        SDES: _parse_source_description,
        BYE: _parse_goodbye,
        APP: _parse_application,
        RTPFB: _parse_feedback,
        PSFB: _parse_feedback,
        XR: _parse_extended_report,
    }
)
