"""One capture from bytes to facts: windows through the kernel, waiting packets to their parsers, streams to reports.

The kernel runs until it needs Python; what waits is then worked off in order, so that signalling is always read
before the media that it announces.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from collector.calls import CallAssembler, CallLimits
from collector.capture import columns as c
from collector.capture.container import (
    BLOCK_INTERFACE,
    BLOCK_SECTION,
    BLOCK_STATISTICS,
    FileHeader,
    FormatError,
    Interface,
    block_length,
    link_name,
    read_drops,
    read_file_header,
    read_interface,
    section_is_big_endian,
)
from collector.capture.files import CaptureError, Source, Windows
from collector.capture.fragments import Reassembler
from collector.capture.framing import Message
from collector.capture.sctp import SctpAssociations
from collector.capture.tcp import TcpStreams
from collector.facts import Call, CaptureFacts, Finding, Replay
from collector.media.book import MediaBook
from collector.media.describe import describe, is_plausible
from collector.media.far_end import FarEnds
from collector.media.findings import on_calls
from collector.media.placement import shared_calls
from collector.media.streams import StreamLimits, StreamTable
from collector.media.table import WalkArrays, walk_arrays
from collector.protocols.rtcp import RtcpError, parse_compound
from collector.protocols.sip import SipError, parse, parse_batch
from collector.walk_numba_fns import walk

Octets = NDArray[np.uint8]
Integers = NDArray[np.int64]


class Progress(NamedTuple):
    """How far a run has come."""

    packets: int
    position: int
    """Bytes of the input read so far, as they lie on disk."""
    size: int | None
    """Bytes of the input; None for a pipe."""


class EngineLimits(NamedTuple):
    """Sizes that bound the memory of a run."""

    streams: StreamLimits = StreamLimits()
    calls: CallLimits = CallLimits()


class Engine:
    """Takes captures one after another and gives everything found at the end."""

    def __init__(self, limits: EngineLimits = EngineLimits(), on_call: Callable[[Call], None] | None = None) -> None:
        self._book = MediaBook()
        self._assembler = CallAssembler(limits.calls, self._book)
        self._table = StreamTable(self._book, limits.streams)
        self._tcp = TcpStreams()
        self._sctp = SctpAssociations()
        self._fragments = Reassembler()
        self._far_ends = FarEnds()
        self._arrays = walk_arrays()
        self._defects: Counter[str] = Counter()
        self._link_types: dict[str, None] = {}
        self._interfaces = 0
        self._dropped: int | None = None
        self._drops: dict[int, int] = {}
        self._stopped: str | None = None
        self._on_call = on_call

    # --- reading ----------------------------------------------------------------------------------------------

    def read(self, source: Source, size: int | None = None, progress: Callable[[Progress], None] | None = None) -> None:
        """Take one capture to its end, or to where it cannot be read further.

        Raises CaptureError when it is no capture at all.
        """
        with Windows(source) as windows:
            window = windows.advance(0)
            header = None
            while window is not None:
                try:
                    header = read_file_header(window[:24].tobytes())
                except FormatError as error:
                    raise CaptureError(f"{source.name}: {error}") from error
                if header is not None:
                    break
                window = windows.advance(0)
            if header is None:
                kind = "is empty" if not len(windows.leftover) else "ends within its header"
                raise CaptureError(f"{source.name}: not a capture: it {kind}")
            assert window is not None
            self._open(header)
            self._walk(windows, window, header, source, progress)

    def _open(self, header: FileHeader) -> None:
        context = self._arrays.context
        context[c.FORMAT] = header.format
        context[c.SWAPPED] = header.swapped
        context[c.RECORD_HEADER] = header.record_header
        context[c.INTERFACES] = 0
        self._drops = {}
        if header.interface:
            self._add_interface(header.interface)

    def _add_interface(self, interface: Interface) -> None:
        index = int(self._arrays.context[c.INTERFACES])
        if index >= c.INTERFACE_ROWS:
            self._defects["interfaces_too_many"] += 1
            return
        self._arrays.interfaces[index] = interface
        self._arrays.context[c.INTERFACES] = index + 1
        self._interfaces = max(self._interfaces, index + 1)
        self._link_types[link_name(interface.link_type)] = None

    def _walk(
        self,
        windows: Windows,
        window: Octets,
        header: FileHeader,
        source: Source,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        context = self._arrays.context
        context[c.POSITION] = header.size
        while True:
            status = self._run(window, self._arrays)
            if status == c.STOP_BLOCK:
                try:
                    taken = self._take_block(window)
                except FormatError as error:
                    self._stop(f"{source.name}: {error} at byte {windows.offset + int(context[c.POSITION])}")
                    return
                if taken:
                    continue
                status = c.STOP_MORE
            if status == c.STOP_CORRUPT:
                at = windows.offset + int(context[c.POSITION])
                self._stop(f"{source.name}: no packet record can begin like this, at byte {at}")
                return
            if status != c.STOP_MORE:
                continue
            consumed = int(context[c.POSITION])
            context[c.POSITION] = 0
            following = windows.advance(consumed)
            if progress:
                progress(Progress(int(context[c.PACKETS]), source.position, source.size))
            if following is None:
                break
            window = following
        if source.problem:
            self._stop(f"{source.name}: {source.problem}")
        elif len(windows.leftover):
            octets = len(windows.leftover)
            self._stop(
                f"{source.name}: cut within a record, {octets} bytes from byte {windows.offset} on are left over"
            )

    def _stop(self, reason: str) -> None:
        self._stopped = reason if self._stopped is None else f"{self._stopped}; {reason}"

    def _run(self, window: Octets, arrays: WalkArrays) -> int:
        """One stretch of the kernel, and all that it left for Python."""
        status = walk(window, len(window), *arrays, *self._table.arrays)
        context = arrays.context
        if context[c.PENDING_COUNT]:
            self._work_off(window, arrays)
        if status == c.STOP_FORMAT:
            self._table.answer_format(int(context[c.STOP_ROW]))
        elif status == c.STOP_ROWS:
            self._table.make_room(context)
            self._table.take_log(context)
        elif status == c.STOP_EVENTS:
            self._table.take_log(context)
        if self._on_call is not None:
            for call in self._assembler.ended():
                self._on_call(call)
        return status

    def _take_block(self, window: Octets) -> bool:
        """A pcapng block that holds no packet, at the walk's position; False when the window ends within it."""
        context = self._arrays.context
        at = int(context[c.POSITION])
        swapped = bool(context[c.SWAPPED])
        head = window[at : at + 12].tobytes()
        if head[:4] == BLOCK_SECTION.to_bytes(4, "big"):
            swapped = section_is_big_endian(head)
        size = block_length(head, swapped)
        if at + size > len(window):
            return False
        block = window[at : at + size].tobytes()
        kind = int.from_bytes(block[:4], "big" if swapped else "little")
        if kind == BLOCK_SECTION:
            context[c.SWAPPED] = swapped
            context[c.INTERFACES] = 0
            self._drops = {}
        elif kind == BLOCK_INTERFACE:
            self._add_interface(read_interface(block, swapped))
        elif kind == BLOCK_STATISTICS and len(block) >= 24:
            self._take_drops(*read_drops(block, swapped))
        context[c.POSITION] = at + size
        return True

    def _take_drops(self, interface: int, dropped: int | None) -> None:
        """Drops are cumulative for an interface of a section."""
        if dropped is None:
            return
        self._dropped = (self._dropped or 0) + max(0, dropped - self._drops.get(interface, 0))
        self._drops[interface] = max(dropped, self._drops.get(interface, 0))

    # --- what waits for Python --------------------------------------------------------------------------------

    def _work_off(self, window: Octets, arrays: WalkArrays) -> None:
        count = int(arrays.context[c.PENDING_COUNT])
        arrays.context[c.PENDING_COUNT] = 0
        pending = arrays.pending[:count]
        kinds = pending[:, c.PENDING_KIND]
        sip = pending[kinds == c.KIND_SIP]
        messages = iter(
            parse_batch(
                window,
                np.ascontiguousarray(sip[:, c.PAYLOAD]),
                np.ascontiguousarray(sip[:, c.PAYLOAD_CAPTURED]),
                len(sip),
            )
            if len(sip)
            else ()
        )
        endpoint = self._table.endpoint
        feed = self._assembler.feed
        for row in pending.tolist():
            kind = row[c.PENDING_KIND]
            src = endpoint(row[c.SRC_HI], row[c.SRC_LO], row[c.SPORT])
            dst = endpoint(row[c.DST_HI], row[c.DST_LO], row[c.DPORT])
            if kind == c.KIND_SIP:
                message = next(messages)
                if isinstance(message, SipError):
                    self._assembler.feed_defect(message.defect)
                else:
                    feed(message, row[c.PENDING_AT], src, dst, "udp")
                continue
            start = row[c.PAYLOAD]
            payload = window[start : start + max(0, row[c.PAYLOAD_CAPTURED])].tobytes()
            if kind == c.KIND_TCP:
                cut = row[c.PAYLOAD_LENGTH] - len(payload)
                self._take_segment(row, src, dst, payload, cut)
            elif kind == c.KIND_RTCP:
                self._take_rtcp(row, src, dst, payload)
            elif kind == c.KIND_FRAGMENT:
                self._take_fragment(row, payload)
            elif kind == c.KIND_SCTP and len(payload) >= 12:
                ports = int.from_bytes(payload[:2], "big"), int.from_bytes(payload[2:4], "big")
                one, other = src._replace(port=ports[0]), dst._replace(port=ports[1])
                self._take_messages(self._sctp.feed(row[c.PENDING_AT], one, other, payload))

    def _take_segment(self, row: list[int], src: object, dst: object, payload: bytes, cut: int) -> None:
        found = self._tcp.feed(row[c.PENDING_AT], src, dst, row[c.TCP_SEQ], row[c.TCP_FLAGS], payload, cut)  # type: ignore[arg-type]
        self._take_messages(found)
        if self._tcp.is_ignored(src, dst):  # type: ignore[arg-type]
            word = row[c.PENDING_FLOW]
            self._arrays.flows[word & (c.TCP_FLOW_SLOTS - 1)] = word

    def _take_messages(self, found: list[Message]) -> None:
        for each in found:
            try:
                message = parse(each.data)
            except SipError as error:
                self._assembler.feed_defect(error.defect)
                continue
            self._assembler.feed(message, each.at, each.src, each.dst, each.transport)

    def _take_rtcp(self, row: list[int], src: object, dst: object, payload: bytes) -> None:
        at = row[c.PENDING_AT]
        negotiated = self._book.lookup_rtcp(src, dst, at, at)  # type: ignore[arg-type]
        encrypted = negotiated is not None and "SAVP" in negotiated.media.protocol
        try:
            packets = parse_compound(payload, encrypted)
        except RtcpError as error:
            self._defects[error.defect] += 1
            return
        self._far_ends.feed(packets, at, src, dst)  # type: ignore[arg-type]

    def _take_fragment(self, row: list[int], payload: bytes) -> None:
        src = b"".join((row[k] & (1 << 64) - 1).to_bytes(8, "big") for k in (c.SRC_HI, c.SRC_LO))
        dst = b"".join((row[k] & (1 << 64) - 1).to_bytes(8, "big") for k in (c.DST_HI, c.DST_LO))
        version, protocol = row[c.IP_VERSION], row[c.IP_PROTOCOL]
        feed = self._fragments.feed_v4 if version == 4 else self._fragments.feed_v6
        whole = feed(
            row[c.PENDING_AT], src, dst, protocol, row[c.FRAGMENT_ID], row[c.FRAGMENT_OFFSET],
            bool(row[c.FRAGMENT_MORE]), payload, len(payload) < row[c.PAYLOAD_LENGTH],
        )  # fmt: skip
        if whole is not None:
            self._take_whole(row, src, dst, whole)

    def _take_whole(self, row: list[int], src: bytes, dst: bytes, payload: bytes) -> None:
        """Walk a reassembled datagram as a capture of one raw IP packet, so that it meets the same kernel."""
        if row[c.IP_VERSION] == 4:
            # Total length 0 means as long as captured: a reassembled packet may exceed its 16 bits.
            head = bytes([0x45, row[c.DSCP] << 2, 0, 0, 0, 0, 0, 0, row[c.TTL], row[c.IP_PROTOCOL], 0, 0])
            packet = head + src[-4:] + dst[-4:] + payload
        else:
            head = bytes([0x60 | row[c.DSCP] >> 2, (row[c.DSCP] & 3) << 6, 0, 0, 0, 0, row[c.IP_PROTOCOL], row[c.TTL]])
            packet = head + src + dst + payload
        at = row[c.PENDING_AT]
        record = b"".join(value.to_bytes(4, "little") for value in (0, 0, len(packet), len(packet))) + packet
        inner = walk_arrays(self._arrays.flows)
        # Serial numbers, rows and events are the table's, so they go on from where the outer walk stands.
        inner.context[:] = self._arrays.context
        inner.context[c.FORMAT] = c.FORMAT_PCAP
        inner.context[c.SWAPPED] = 0
        inner.context[c.RECORD_HEADER] = 16
        inner.context[c.PENDING_COUNT] = 0
        inner.context[c.POSITION] = 0
        inner.interfaces[0] = Interface(101, 1_000_000_000, at, 1 << 18)
        window = np.frombuffer(record, np.uint8)
        while self._run(window, inner) != c.STOP_MORE:
            pass
        for column in (c.EVENT_COUNT, c.NEXT_SERIAL, c.ROWS_USED, c.FREE_ROW):
            self._arrays.context[column] = inner.context[column]
        self._arrays.counters[:] += inner.counters

    # --- the end ----------------------------------------------------------------------------------------------

    def finish(self, files: tuple[str, ...]) -> Replay:
        """Everything found; the engine is of no use afterwards."""
        self._take_messages(self._tcp.finish())
        self._sctp.finish()
        self._fragments.finish()
        context = self._arrays.context
        reports = self._table.finish(context)
        events = self._table.events()
        plausible = []
        for report in reports:
            if is_plausible(report, self._book.lookup(report.src, report.dst, report.first, report.last)):
                plausible.append(report)
            else:
                self._table.unvalidated_packets += report.packets
        streams = describe(plausible, events, self._book, self._far_ends)
        packets = int(context[c.PACKETS])
        last = int(context[c.LAST]) if packets else 0
        self._assembler.join_by_media(shared_calls(streams))
        calls, sip = self._assembler.finish(last)
        calls = on_calls(calls, streams)
        return Replay(self._capture(files, packets), sip, calls, tuple(streams), self._table.unlisted, self._notes())

    def _capture(self, files: tuple[str, ...], packets: int) -> CaptureFacts:
        context, counters = self._arrays.context, self._arrays.counters.tolist()
        counters[c.RTP_UNVALIDATED] += self._table.unvalidated_packets
        defects = Counter({c.COUNTER_NAMES[k]: counters[k] for k in c.DEFECTS})
        for part in (
            self._defects,
            self._tcp.defects,
            self._sctp.defects,
            self._fragments.defects,
            self._far_ends.defects,
        ):
            defects.update(part)
        return CaptureFacts(
            files=files,
            packets=packets,
            first=int(context[c.FIRST]) if packets else None,
            last=int(context[c.LAST]) if packets else None,
            link_types=tuple(self._link_types),
            interfaces=self._interfaces,
            dropped=self._dropped,
            defects={name: count for name, count in sorted(defects.items()) if count},
            stopped=self._stopped,
        )

    def _notes(self) -> tuple[Finding, ...]:
        if self._dropped:
            return (Finding("capture_drops", f"the capturing side dropped {self._dropped:,} packets", self._dropped),)
        return ()
