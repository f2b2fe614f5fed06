"""One capture from bytes to facts: windows through the kernel, waiting packets to their parsers, streams to reports.

The kernel runs until it needs Python; what waits is then worked off in order, so that signalling is always read
before the media that it announces.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from collector.call_list import CallList
from collector.calls import CallLimits
from collector.capture import columns as c
from collector.capture.container import Interface
from collector.capture.files import open_source
from collector.capture.fragments import Reassembler
from collector.capture.framing import Message
from collector.capture.sctp import SctpAssociations
from collector.capture.tcp import ACK, TcpStreams
from collector.facts import (
    Call,
    CaptureFacts,
    DeviceStatistics,
    Endpoint,
    FileContent,
    Finding,
    Interval,
    Replay,
    Stream,
)
from collector.media.book import MediaBook
from collector.media.describe import describe
from collector.media.far_end import FarEnds
from collector.media.findings import on_calls
from collector.media.intervals import StreamIntervals
from collector.media.placement import shared_calls
from collector.media.plausibility import is_plausible
from collector.media.stream_list import Making, PlainStream, StreamList, listed, made_streams, plain_streams
from collector.media.streams import StreamLimits, StreamTable
from collector.media.table import WalkArrays, another_walk, hand_over, walk_arrays
from collector.plain_calls import PlainLimits
from collector.protocols.rtcp import RtcpError, parse_compound
from collector.protocols.sip import SipError, parse
from collector.reader import FOREVER, NOT_YET, CaptureReader
from collector.signalling import Questions, Signalling
from collector.untimed import untimed_call, untimed_stream, untimed_totals
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
    plain: PlainLimits = PlainLimits()
    """Of the calls that the kernel follows by itself; without them the result is the same."""
    plain_streams: bool = True
    """Whether streams may stay in columns until somebody looks at them; if not the result is the same."""


class _Waiting(NamedTuple):
    """A capture whose time has not come."""

    first: int
    size: int | None
    name: str
    reader: CaptureReader | None


class Engine:
    """Takes captures one after another and gives everything found at the end."""

    def __init__(
        self,
        limits: EngineLimits = EngineLimits(),  # noqa: B008  # immutable
        on_call: Callable[[Call], None] | None = None,
        digest: bool = False,
    ) -> None:
        self._book = MediaBook()
        self._table = StreamTable(self._book, limits.streams)
        # Whoever watches calls end wants each at once; the kernel's come at the end.
        plain = limits.plain if on_call is None else PlainLimits(calls=0)
        self._signalling = Signalling(limits.calls, self._book, self._table.endpoint, plain)
        self._tcp = TcpStreams()
        self._sctp = SctpAssociations()
        self._fragments = Reassembler()
        self._far_ends = FarEnds()
        self._arrays = walk_arrays()
        self._defects: Counter[str] = Counter()
        self._walking = self._arrays.context
        self._files: list[str] = []
        self._packets = 0
        self._first, self._last = FOREVER, NOT_YET
        self._link_types: dict[str, None] = {}
        self._interfaces = 0
        self._dropped: int | None = None
        self._stopped: list[str] = []
        self._on_call = on_call
        self._plain_streams = limits.plain_streams
        self._digest = digest
        self._cuts = limits.streams.interval_ns > 0
        self._contents: list[FileContent] = []

    # --- reading ----------------------------------------------------------------------------------------------

    def read(self, names: Sequence[str], progress: Callable[[Progress], None] | None = None) -> None:
        """Take captures as one, packet by packet in the order of time; files that do not overlap follow one another.

        Raises CaptureError when one of them cannot be opened or is no capture.
        """
        waiting = self._in_order(names)
        sizes = [size for _, size, _, _ in waiting]
        total = None if None in sizes else sum(size for size in sizes if size is not None)
        done = 0
        active: list[CaptureReader] = []

        def report() -> None:
            if progress:
                packets = sum(int(reader.arrays.context[c.PACKETS]) for reader in active) + self._packets
                progress(Progress(packets, done + sum(reader.source.position for reader in active), total))

        while waiting or active:
            if waiting and (not active or waiting[0].first <= min(reader.next_at or 0 for reader in active)):
                following = waiting.pop(0)
                active.append(following.reader or self._open(following.name))
                active[-1].next_at = following.first
                self._files.append(following.name)
                continue
            active.sort(key=lambda reader: reader.next_at or 0)
            current = active[0]
            others = [reader.next_at or 0 for reader in active[1:]] + [each.first for each in waiting[:1]]
            self._hand_over(current)
            current.run(min(others, default=FOREVER), report)
            if current.next_at is None:
                done += current.source.position
                active.remove(current)
                self._close(current)
            report()

    def _open(self, name: str, last: bool = True) -> CaptureReader:
        source = open_source(name)
        # A file that is only looked into is opened again, a pipe is read on.
        if self._digest and (last or source.live):
            source.watch()
        return CaptureReader(source, self._arrays, self._run)

    def _in_order(self, names: Sequence[str]) -> list[_Waiting]:
        """Captures by their first packet; they are opened again when their time comes, but for a pipe."""
        if len(names) == 1:
            reader = self._open(names[0])
            return [_Waiting(NOT_YET, reader.source.size, names[0], reader)]
        waiting = []
        for name in names:
            reader = self._open(name, last=False)
            first = reader.peek()
            if reader.source.size is None:
                waiting.append(_Waiting(NOT_YET if first is None else first, None, name, reader))
                continue
            waiting.append(_Waiting(NOT_YET if first is None else first, reader.source.size, name, None))
            reader.close()
        return sorted(waiting, key=lambda each: each.first)

    def _hand_over(self, reader: CaptureReader) -> None:
        """The stream table has one state; give it to the reader that walks next."""
        if self._walking is not reader.arrays.context:
            hand_over(self._walking, reader.arrays.context)
            self._walking = reader.arrays.context

    def _close(self, reader: CaptureReader) -> None:
        """Add up what a capture was; its context stays the table's until another takes over."""
        reader.close()
        context = reader.arrays.context
        packets = int(context[c.PACKETS])
        self._packets += packets
        if reader.source.sha256 is not None:
            self._contents.append(FileContent(reader.source.name, reader.source.sha256, packets))
        if context[c.FIRST] <= context[c.LAST]:
            self._first = min(self._first, int(context[c.FIRST]))
            self._last = max(self._last, int(context[c.LAST]))
        self._link_types.update(reader.link_types)
        self._interfaces = max(self._interfaces, reader.interfaces)
        if reader.dropped is not None:
            self._dropped = (self._dropped or 0) + reader.dropped
        if reader.stopped is not None:
            self._stopped.append(reader.stopped)

    def _run(self, window: Octets, arrays: WalkArrays) -> int:
        """One stretch of the kernel, and all that it left for Python."""
        context = arrays.context
        status = walk(window, len(window), arrays, self._table.arrays)
        self._table.take_jobs()
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
            for call in self._signalling.ended():
                self._on_call(call)
        return status

    # --- what waits for Python --------------------------------------------------------------------------------

    def _work_off(self, window: Octets, arrays: WalkArrays) -> None:
        count = int(arrays.context[c.PENDING_COUNT])
        arrays.context[c.PENDING_COUNT] = 0
        pending = arrays.pending[:count]
        kinds = pending[:, c.PENDING_KIND]
        asking = kinds == c.KIND_QUESTION
        in_runs = asking | (kinds == c.KIND_SIP)
        if in_runs.all():
            self._take_run(window, pending, asking)
            return
        # Runs of SIP datagrams are taken as a whole, everything else one by one between them.
        bounds = [0, *(np.flatnonzero(np.diff(in_runs)) + 1).tolist(), count]
        for begin, end in pairwise(bounds):
            if in_runs[begin]:
                self._take_run(window, pending[begin:end], asking[begin:end])
            else:
                for row in pending[begin:end].tolist():
                    self._take_packet(window, row)

    def _take_run(self, window: Octets, pending: Integers, asking: NDArray[np.bool_]) -> None:
        """SIP datagrams, and questions that are answered by what was said before them."""
        if not asking.any():
            self._signalling.take_packets(window, pending)
            return
        places = np.flatnonzero(asking)
        questions = Questions((places - np.arange(len(places))).tolist(), pending[places], self._table.answer)
        self._signalling.take_packets(window, pending[~asking], questions)

    def _take_packet(self, window: Octets, row: list[int]) -> None:
        kind, start = row[c.PENDING_KIND], row[c.PAYLOAD]
        src = self._table.endpoint(row[c.SRC_HI], row[c.SRC_LO], row[c.SPORT])
        dst = self._table.endpoint(row[c.DST_HI], row[c.DST_LO], row[c.DPORT])
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

    def _take_segment(self, row: list[int], src: Endpoint, dst: Endpoint, payload: bytes, cut: int) -> None:
        flags = row[c.TCP_FLAGS]
        ack = row[c.TCP_ACK] if flags & ACK else None
        found = self._tcp.feed(row[c.PENDING_AT], src, dst, row[c.TCP_SEQ], flags, payload, cut, ack)
        self._take_messages(found)
        if self._tcp.is_ignored(src, dst):
            word = row[c.PENDING_FLOW]
            self._arrays.flows[word & (c.TCP_FLOW_SLOTS - 1)] = word

    def _take_messages(self, found: list[Message]) -> None:
        for each in found:
            try:
                message = parse(each.data)
            except SipError as error:
                self._signalling.feed_defect(error.defect)
                continue
            self._signalling.feed(message, each.at, each.src, each.dst, each.transport)

    def _take_rtcp(self, row: list[int], src: Endpoint, dst: Endpoint, payload: bytes) -> None:
        at = row[c.PENDING_AT]
        negotiated = self._book.lookup_rtcp(src, dst, at, at)
        encrypted = negotiated is not None and negotiated.media.encrypted
        try:
            packets = parse_compound(payload, encrypted)
        except RtcpError as error:
            self._defects[error.defect] += 1
            return
        self._far_ends.feed(packets, at, src, dst)

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
        outer = self._walking
        inner = another_walk(self._arrays)
        hand_over(outer, inner.context)
        inner.context[c.FORMAT] = c.FORMAT_PCAP
        inner.context[c.RECORD_HEADER] = 16
        inner.interfaces[0] = Interface(101, 1_000_000_000, at, 1 << 18)
        inner = inner._replace(pending=np.zeros_like(inner.pending[:8]))
        self._walking = inner.context
        window = np.frombuffer(record, np.uint8)
        while self._run(window, inner) != c.STOP_MORE:
            pass
        hand_over(inner.context, outer)
        self._walking = outer

    # --- the end ----------------------------------------------------------------------------------------------

    def finish(self) -> Replay:
        """Everything found; the engine is of no use afterwards."""
        self._take_messages(self._tcp.finish())
        self._sctp.finish()
        self._fragments.finish()
        streams, intervals = self._streams()
        sketches = streams.sketches if isinstance(streams, StreamList) else streams
        self._signalling.join_by_media(shared_calls(made_streams(streams)))
        self._signalling.note_heard(sketches)
        calls, sip = self._signalling.finish(self._last if self._packets else 0)
        if isinstance(calls, CallList):
            calls.replace_made(on_calls(calls.made(), sketches))
        else:
            calls = on_calls(calls, sketches)
        if self._packets and not self._has_times:
            streams = tuple(untimed_stream(stream) for stream in streams)
            calls = tuple(untimed_call(call) for call in calls)
            sip = untimed_totals(sip)
        reports = self._reports()
        return Replay(self._capture(), sip, calls, streams, self._table.unlisted, self._notes(), intervals, reports)

    def _reports(self) -> tuple[DeviceStatistics, ...]:
        """What devices said of their calls since it was last asked for."""
        statistics = self._signalling.statistics
        return statistics.fetch() if statistics is not None else ()

    def _streams(self) -> tuple[Sequence[Stream], Sequence[tuple[Interval, ...]]]:
        """All streams in the order of their first packets, and their intervals where they are asked for.

        Plain streams are made when they are looked at; those that have intervals at once.
        """
        table, book = self._table, self._book
        groups = table.settle(self._walking)
        plain: list[PlainStream] = []
        alone = not self._far_ends.packets and not table.has_taken_out
        late = self._plain_streams and not self._cuts
        if late and self._has_times and alone and table.may_list(len(groups)):
            plain = plain_streams(groups, table.arrays, table.log(), book, table.ends_of)
        rows = {each.row for each in plain}
        reports = table.reports([group for group in groups if group[0] not in rows])
        events = table.events()
        plausible = []
        for report in reports:
            negotiated = book.lookup(report.src, report.dst, report.first, report.last)
            if is_plausible(report, negotiated):
                plausible.append((report, negotiated))
            else:
                table.unvalidated_packets += report.packets
        intervals: Sequence[tuple[Interval, ...]] = ()
        if self._cuts:
            intervals = StreamIntervals(table.intervals(), [report.serials for report, _ in plausible])
        if not plain:
            return tuple(describe(plausible, events, book, self._far_ends)), intervals
        return listed(plain, plausible, Making(table.reports_of, events, book, self._far_ends)), intervals

    @property
    def _has_times(self) -> bool:
        return self._first <= self._last

    def _capture(self) -> CaptureFacts:
        counters = self._arrays.counters.tolist()
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
            files=tuple(self._files),
            packets=self._packets,
            first=self._first if self._has_times else None,
            last=self._last if self._has_times else None,
            link_types=tuple(self._link_types),
            interfaces=self._interfaces,
            dropped=self._dropped,
            defects={name: count for name, count in sorted(defects.items()) if count},
            stopped="; ".join(self._stopped) or None,
            contents=tuple(self._contents),
        )

    def _notes(self) -> tuple[Finding, ...]:
        notes = []
        if self._dropped:
            text = f"the capturing side dropped {self._dropped:,} packets"
            notes.append(Finding("capture_drops", text, self._dropped))
        if self._packets and not self._has_times:
            notes.append(
                Finding("capture_without_times", "the capture holds no times: delays and durations are missing")
            )
        return tuple(notes)
