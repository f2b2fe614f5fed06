"""What RTCP says of a stream: its receiver's reports, and the round trip as it can be measured at a tap.

The clocks of sender, receiver and tap are never compared. A sender report passes the tap at t1 with the NTP timestamp
that the receiver's report block names as LSR; that block passes at t2 and says how long the receiver held it (DLSR):
t2 - t1 - DLSR is the way from the tap to the receiver and back (RFC 3550 6.4.1, figure 2, seen from the tap). The same
with the two ends exchanged gives the other half of the round trip.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Generic, NamedTuple, TypeVar

from collector.facts import Endpoint, FarEnd
from collector.protocols.rtcp import (
    DelaySinceLastReceiverReport,
    EncryptedReport,
    ExtendedReport,
    Goodbye,
    ReceiverReferenceTime,
    ReceiverReport,
    ReportBlock,
    RtcpPacket,
    SenderReport,
    SourceDescription,
    UnparsedTail,
    VoipMetrics,
)

DEFAULT_LIMIT = 32_768
"""Sources, reported streams and RTCP flows kept; the least recently heard gives way."""
GROUP_LIMIT = 64
"""Flows kept for one address and SSRC."""
MARKS = 8
"""Sender reports of a source that a later report block may still name."""
LONGEST_HALF_MS = 10_000.0
NEGATIVE_TOLERANCE_MS = 5.0
"""Noise of coarse clocks around a short way (DLSR in whole milliseconds, late timestamps): it enters the mean, since
leaving out the negative half of the noise alone would lengthen the round trip."""
COPY_NS = 100_000_000
"""A report block repeated to the last bit within this time is a mirror's copy: reports are seconds apart."""

Key = TypeVar("Key")
Part = TypeVar("Part")
Value = TypeVar("Value")


class Flow(NamedTuple):
    """Where RTCP went: the direction in which it was seen."""

    src: Endpoint
    dst: Endpoint


@dataclass(slots=True)
class _Source:
    """What a stream's sender said of itself to one address."""

    marks: dict[int, int] = field(default_factory=dict)
    """When each sender report passed the tap [ns], by the middle 32 bits of its NTP timestamp."""
    cname: str | None = None
    bye: bool = False


@dataclass(slots=True)
class _Reported:
    """What one receiver said of one stream."""

    reports: int = 0
    fraction_lost_max: int = 0
    jitter_max: int = 0
    last: ReportBlock | None = None
    last_at: int = 0
    xr: VoipMetrics | None = None


@dataclass(slots=True)
class _Halves:
    """Round trips from the tap to one end and back."""

    total_ms: float = 0.0
    count: int = 0


class _Recent(Generic[Key, Part, Value]):
    """A table of groups of entries, bounded over all: the group least recently touched gives way, and that is counted.

    Within a group at most `GROUP_LIMIT` entries are kept by the same rule.
    """

    __slots__ = ("_counts", "_groups", "_limit", "_make", "_size")

    def __init__(self, limit: int, make: Callable[[], Value], counts: Counter[str]) -> None:
        self._limit, self._make, self._counts = limit, make, counts
        self._groups: dict[Key, dict[Part, Value]] = {}
        self._size = 0

    def touch(self, key: Key, part: Part) -> Value:
        """The entry of a group, made when there is none."""
        group = self._groups.pop(key, {})
        self._groups[key] = group
        entry = group.pop(part, None)
        if entry is None:
            entry = self._make()
            self._size += 1
            self._make_room(group)
        group[part] = entry
        return entry

    def group(self, key: Key) -> Mapping[Part, Value]:
        return self._groups.get(key, {})

    def _make_room(self, growing: dict[Part, Value]) -> None:
        if len(growing) >= GROUP_LIMIT:
            del growing[next(iter(growing))]
            self._evicted(1)
        while self._size > self._limit and len(self._groups) > 1:
            self._evicted(len(self._groups.pop(next(iter(self._groups)))))

    def _evicted(self, entries: int) -> None:
        self._size -= entries
        self._counts["rtcp_evicted"] += entries


class FarEnds:
    """Matches RTCP to the streams that it is about; fed in the order of the capture."""

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        self._defects: Counter[str] = Counter()
        self._packets: Counter[str] = Counter()
        self._sources: _Recent[tuple[str, int], str, _Source] = _Recent(limit, _Source, self._defects)
        self._reported: _Recent[tuple[str, int], Flow, _Reported] = _Recent(limit, _Reported, self._defects)
        self._halves: _Recent[Flow, None, _Halves] = _Recent(limit, _Halves, self._defects)

    @property
    def defects(self) -> Mapping[str, int]:
        """What was not used, by name: evictions, ciphertext, tails, impossible round trips."""
        return MappingProxyType(self._defects)

    @property
    def packets(self) -> Mapping[str, int]:
        """RTCP packets fed, by the name of their type."""
        return MappingProxyType(self._packets)

    def feed(self, packets: Iterable[RtcpPacket], at: int, src: Endpoint, dst: Endpoint) -> None:
        """Take the packets of one datagram that passed the tap at `at` [ns]."""
        flow = Flow(src, dst)
        for packet in packets:
            if not isinstance(packet, UnparsedTail):
                self._packets[type(packet).__name__] += 1
            if isinstance(packet, SenderReport):
                self._mark(packet.ssrc, packet.ntp_timestamp, at, flow)
                self._take_blocks(packet.blocks, at, flow)
            elif isinstance(packet, ReceiverReport):
                self._take_blocks(packet.blocks, at, flow)
            elif isinstance(packet, ExtendedReport):
                self._take_extended(packet, at, flow)
            elif isinstance(packet, SourceDescription):
                for ssrc, cname in packet.cnames.items():
                    self._source(ssrc, flow).cname = cname
            elif isinstance(packet, Goodbye):
                for ssrc in packet.ssrcs:
                    self._source(ssrc, flow).bye = True
            elif isinstance(packet, EncryptedReport | UnparsedTail) and packet.defect is not None:
                self._defects[packet.defect] += 1

    def report(
        self, src: Endpoint, dst: Endpoint, ssrc: int, clock_rate: int | None, rtcp: Endpoint | None = None
    ) -> FarEnd | None:
        """What is known of the stream `ssrc` that went from `src` to `dst`; None when RTCP said nothing of it.

        `clock_rate` [Hz] turns the reports' jitter into milliseconds. `rtcp` is where the stream's sender wants its
        RTCP when that is neither the RTP port nor the next one (a=rtcp, RFC 3605).
        """
        flow, reported = self._match(src, dst, ssrc, rtcp)
        source = self._known_source(src.ip, dst.ip, ssrc)
        round_trip_ms, basis = self._round_trip(src, dst, flow)
        if reported is None and source is None and round_trip_ms is None:
            return None
        told = reported or _Reported()
        block = told.last
        return FarEnd(
            reports=told.reports,
            fraction_lost_max=None if block is None else 100 * told.fraction_lost_max / 256,
            cumulative_lost=None if block is None else block.cumulative_lost,
            jitter_ms_max=None if block is None else _timestamp_ms(told.jitter_max, clock_rate),
            jitter_ms_last=None if block is None else _timestamp_ms(block.interarrival_jitter, clock_rate),
            round_trip_ms=round_trip_ms,
            round_trip_basis=basis,
            xr=None if told.xr is None else _xr_fields(told.xr),
            cname=None if source is None else source.cname,
            bye=source is not None and source.bye,
        )

    def _source(self, ssrc: int, flow: Flow) -> _Source:
        return self._sources.touch((flow.src.ip, ssrc), flow.dst.ip)

    def _known_source(self, src_ip: str, dst_ip: str, ssrc: int) -> _Source | None:
        """The sender's own word to `dst_ip` or, failing that, to a group that `dst_ip` may belong to."""
        heard = self._sources.group((src_ip, ssrc))
        to_group = (source for ip, source in heard.items() if _is_multicast(ip))
        return heard.get(dst_ip) or next(to_group, None)

    def _mark(self, ssrc: int, ntp_timestamp: int, at: int, flow: Flow) -> None:
        middle = ntp_timestamp >> 16 & 0xFFFFFFFF
        if middle == 0:  # LSR 0 means that no report was received
            return
        marks = self._source(ssrc, flow).marks
        marks.setdefault(middle, at)
        if len(marks) > MARKS:
            del marks[next(iter(marks))]

    def _take_blocks(self, blocks: Iterable[ReportBlock], at: int, flow: Flow) -> None:
        for block in blocks:
            told = self._reported.touch((flow.dst.ip, block.ssrc), flow)
            if block == told.last and at - told.last_at < COPY_NS:
                continue
            told.reports += 1
            told.fraction_lost_max = max(told.fraction_lost_max, block.fraction_lost)
            told.jitter_max = max(told.jitter_max, block.interarrival_jitter)
            told.last, told.last_at = block, at
            self._measure(block.ssrc, block.last_sr, block.delay_since_last_sr, at, flow)

    def _take_extended(self, packet: ExtendedReport, at: int, flow: Flow) -> None:
        for block in packet.blocks:
            if isinstance(block, VoipMetrics):
                self._reported.touch((flow.dst.ip, block.ssrc), flow).xr = block
            elif isinstance(block, ReceiverReferenceTime):
                self._mark(packet.ssrc, block.ntp_timestamp, at, flow)
            elif isinstance(block, DelaySinceLastReceiverReport):
                self._measure(block.ssrc, block.last_rr, block.delay_since_last_rr, at, flow)

    def _measure(self, ssrc: int, mark: int, held: int, at: int, flow: Flow) -> None:
        """Time from the tap to the end that reports and back, for a report on the mark of `ssrc`."""
        source = self._known_source(flow.dst.ip, flow.src.ip, ssrc)
        marked_at = None if source is None else source.marks.get(mark)
        if marked_at is None:
            return
        half_ms = (at - marked_at) / 1e6 - held * 1000 / 65536
        if half_ms < -NEGATIVE_TOLERANCE_MS:
            self._defects["rtcp_round_trip_negative"] += 1
        elif half_ms > LONGEST_HALF_MS:
            self._defects["rtcp_round_trip_too_long"] += 1
        else:
            halves = self._halves.touch(flow, None)
            halves.total_ms += half_ms
            halves.count += 1

    def _match(
        self, src: Endpoint, dst: Endpoint, ssrc: int, rtcp: Endpoint | None
    ) -> tuple[Flow | None, _Reported | None]:
        """The reports on a stream: same SSRC, the same two addresses, and a port of the stream or beside it.

        Addresses come first because hops pass an SSRC on: each hop's receiver reports on its own part of the way.
        """
        receivers = {src.ip, *(() if rtcp is None else (rtcp.ip,))}
        group = _is_multicast(dst.ip)
        if group:
            receivers.add(dst.ip)
        found = [
            (flow, told)
            for ip in sorted(receivers)
            for flow, told in self._reported.group((ip, ssrc)).items()
            if group or (flow.src.ip == dst.ip and _port_matches(flow, src, dst, rtcp) > 0)
        ]
        if not found:
            return None, None
        if group:  # many receivers: the one that fared worst speaks
            return max(found, key=lambda pair: (pair[1].fraction_lost_max, pair[1].reports, pair[0]))
        return max(found, key=lambda pair: (_port_matches(pair[0], src, dst, rtcp), pair[1].reports, pair[0]))

    def _round_trip(self, src: Endpoint, dst: Endpoint, flow: Flow | None) -> tuple[float | None, str | None]:
        """Mean round trip of a stream's two ends [ms], and which halves of it were seen."""
        receiver = None if flow is None else self._mean_half(flow)
        backward = [Flow(flow.dst, flow.src)] if flow is not None else []
        backward.append(Flow(Endpoint(src.ip, src.port + 1), Endpoint(dst.ip, dst.port + 1)))
        backward.append(Flow(src, dst))
        sender = next((half for way in backward if (half := self._mean_half(way)) is not None), None)
        if receiver is not None and sender is not None:
            return receiver + sender, "both halves"
        if receiver is not None:
            return receiver, "receiver half"
        if sender is not None:
            return sender, "sender half"
        return None, None

    def _mean_half(self, flow: Flow) -> float | None:
        halves = self._halves.group(flow).get(None)
        return None if halves is None else max(0.0, halves.total_ms / halves.count)


def _port_matches(flow: Flow, src: Endpoint, dst: Endpoint, rtcp: Endpoint | None) -> int:
    """Ends of an RTCP flow on the stream's port (RFC 5761), the next (RFC 3550 11) or where a=rtcp says: 0 to 2."""
    reporter = flow.src.port - dst.port in (0, 1)
    reported_to = flow.dst.port - src.port in (0, 1) or flow.dst == rtcp
    return reporter + reported_to


def _is_multicast(ip: str) -> bool:
    if ":" in ip:
        return ip.lower().startswith("ff")
    first = ip.partition(".")[0]
    return first.isdigit() and 224 <= int(first) <= 239


def _timestamp_ms(units: int, clock_rate: int | None) -> float | None:
    return 1000 * units / clock_rate if clock_rate else None


def _xr_fields(block: VoipMetrics) -> Mapping[str, float | int | None]:
    return MappingProxyType({name: value for name, value in block._asdict().items() if name != "ssrc"})
