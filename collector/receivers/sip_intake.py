"""Captured messages on their way to calls and reports: SIP in batches to the assembler, RTCP and reports to rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from collector.calls import CallLimits
from collector.capture import columns as c
from collector.device_statistics import NAMES, DeviceStatisticsBook, with_bye
from collector.facts import Call, Endpoint
from collector.protocols.hep import PAYLOAD_NAMES, RTCP, SIP, HepPacket, serialize
from collector.protocols.hep_reports import REPORTS, HepReportError, parse_report
from collector.protocols.rtcp import RtcpError
from collector.protocols.rtcp_json import parse_payload
from collector.protocols.sip import SipError, SipMessage, parse
from collector.protocols.vq_report import CONTENT_TYPE, VqError, parse_vq_report
from collector.received_plain import ReceivedSip
from collector.receivers.hep_frames import (
    NO_KEY,
    FrameCutter,
    Frames,
    ReceivedBatch,
    ReceivedMessage,
    read_frames,
    with_messages,
)
from collector.receivers.report_rows import Row, device_rows, hep_row, vq_rows
from collector.receivers.rtcp_reports import RtcpReports

Integers = NDArray[np.int64]

CALL_LIMITS = CallLimits(max_calls=50_000, max_other_call_ids=20_000, max_steps=64)
ROWS_LIMIT = 50_000
"""Rows of reports that wait to be fetched; further ones are dropped and counted."""
ONE_CLOCK = 10_000_000_000
"""Messages that came together and were captured no farther apart than this are put in order [ns]."""


class SipIntake:
    """Takes captured messages; gives calls that are over and rows of `phone_reports`. Bounded, whatever comes."""

    def __init__(self, system: str, limits: CallLimits = CALL_LIMITS) -> None:
        self._system = system
        self.calls = ReceivedSip(limits)
        self._rtcp = RtcpReports(self.calls.book, system)
        self._statistics = DeviceStatisticsBook(1)
        self._rows: list[Row] = []
        self.taken: Counter[str] = Counter()
        """Messages by the name of their payload type."""
        self.refused: Counter[str] = Counter()
        """Of these, messages that could not be read, by reason: `sip_…`, `rtcp_…`, `vq_…`, `report_…`."""
        self.ignored = 0
        """Of these, messages of a kind that says nothing here."""
        self.rows_dropped = 0
        self.last_at: int | None = None

    @property
    def full(self) -> bool:
        """Whether what waits to be fetched is half of what it may be."""
        return self.calls.crowded or len(self._rows) >= ROWS_LIMIT // 2

    def take(self, messages: Sequence[ReceivedMessage]) -> None:
        """Take messages in the order of their arrival."""
        if isinstance(messages, ReceivedBatch):
            batch, others, arrived = messages.sip(), messages.others(), messages.arrived
        else:
            numbered = dict(enumerate(messages))
            nothing = Frames(np.zeros(0, np.uint8), np.zeros((len(messages), c.PENDING_COLUMNS), np.int64))
            together = len({each.arrived for each in messages}) < 2 and len(messages) <= c.PENDING_ROWS
            batch = with_messages(nothing, numbered) if together else None
            others = [each for each in messages if each.payload_type != SIP]
            arrived = messages[0].arrived if messages else 0
        if batch is None:
            self._take_one_by_one([each for each in messages if each.payload_type == SIP])
        elif len(batch.rows):
            self._take_sip(batch, arrived)
        for each in others:
            if each.payload_type == RTCP:
                self._take_rtcp(each)
            elif each.payload_type in REPORTS:
                self._take_agents_report(each)
            else:
                name = PAYLOAD_NAMES.get(each.payload_type, "unknown")
                self.taken[name] += 1
                self.ignored += 1
        if len(messages):
            self.last_at = messages.last_at if isinstance(messages, ReceivedBatch) else messages[-1].at

    def _take_sip(self, batch: Frames, arrived: int) -> None:
        window, rows = batch.window, _in_order(batch.rows)
        self.taken["sip"] += len(rows)
        index, others = self.calls.take_packets(window, rows, arrived)
        for each in with_bye(window, rows[:, c.PAYLOAD], index).tolist():
            begin = int(rows[each, c.PAYLOAD])
            raw = window[begin : begin + int(rows[each, c.PAYLOAD_CAPTURED])].tobytes()
            if any(name in raw for name in NAMES):
                with suppress(SipError):  # counted below
                    self._take_statistics(parse(raw), arrived, self._source(rows[each].tolist()))
        for message, row in others:
            if isinstance(message, SipError):
                self.refused[f"sip_{message.defect}"] += 1
            elif message.method == "PUBLISH":
                self._take_publish(message, arrived, self._source(row))

    def _source(self, row: Sequence[int]) -> Endpoint:
        return self.calls.endpoint(row[c.SRC_HI], row[c.SRC_LO], row[c.SPORT])

    def _take_one_by_one(self, received: list[ReceivedMessage]) -> None:
        """Messages with addresses or transports that fit in no column, or that came at different times."""
        times = [each.at for each in received]
        if len(times) > 1 and max(times) - min(times) <= ONE_CLOCK:
            received = sorted(received, key=_captured_at)
        self.taken["sip"] += len(received)
        for each in received:
            try:
                message = parse(each.payload)
            except SipError as error:
                self.refused[f"sip_{error.defect}"] += 1
                continue
            self.calls.take(message, each.at, each.src, each.dst, each.transport, each.arrived)
            self._take_statistics(message, each.arrived, each.src)
            if message.method == "PUBLISH":
                self._take_publish(message, each.arrived, each.src)

    def _take_statistics(self, message: SipMessage, arrived: int, src: Endpoint) -> None:
        """What a device says of a call in its BYE or in the answer to one."""
        if self._statistics.take(message, arrived, src):
            self._keep(device_rows(self._statistics.fetch(), self._system))

    def _take_publish(self, message: SipMessage, arrived: int, src: Endpoint) -> None:
        """What a device says of a call in a PUBLISH that was captured."""
        identity = f"{message.cseq}|{message.method}|{message.from_tag}|{src.ip}"
        if CONTENT_TYPE in message.content_type.lower():
            try:
                report = parse_vq_report(message.raw[message.body_start :])
            except VqError as error:
                self.refused[f"vq_{error.defect}"] += 1
                return
            self._keep(vq_rows(report, arrived, self._system, f"{message.call_id}|{identity}"))

    def _take_rtcp(self, received: ReceivedMessage) -> None:
        self.taken["rtcp"] += 1
        try:
            packets = parse_payload(received.payload)
        except RtcpError as error:
            self.refused[f"rtcp_{error.defect}"] += 1
            return
        call_id = received.correlation_id or ""
        self._rtcp.take(packets, call_id, received.src, received.dst, received.at, received.arrived)

    def _take_agents_report(self, received: ReceivedMessage) -> None:
        self.taken[PAYLOAD_NAMES[received.payload_type]] += 1
        try:
            reports = parse_report(received.payload_type, received.payload)
        except HepReportError as error:
            self.refused[f"report_{error.defect}"] += 1
            return
        self._keep(
            [
                hep_row(
                    report, report.call_id or received.correlation_id or "", received.src, received.arrived,
                    self._system, number,
                )
                for number, report in enumerate(reports)
            ]
        )  # fmt: skip

    def _keep(self, rows: list[Row]) -> None:
        if len(self._rows) + len(rows) > ROWS_LIMIT:
            self.rows_dropped += len(rows)
        else:
            self._rows += rows

    def harvest(self, now: int) -> tuple[Sequence[Call], list[Row]]:
        """Calls that are over and rows, at `now` [ns]."""
        rows, self._rows = self._rows, []
        return self.calls.harvest(now), rows + self._rtcp.harvest(now)

    def rest(self, now: int) -> tuple[Sequence[Call], list[Row]]:
        """Everything that is left, over or not."""
        rows, self._rows = self._rows, []
        return self.calls.rest(), rows + self._rtcp.harvest(now, silent=0)


def _in_order(rows: Integers) -> Integers:
    """Put what came together in the order of its capture: processes of one proxy send side by side.

    Times far apart are of different clocks, and say nothing of the order.
    """
    times = rows[:, c.PENDING_AT]
    if (np.diff(times) >= 0).all() or times.max() - times.min() > ONE_CLOCK:
        return rows
    return rows[np.argsort(times, kind="stable")]


_captured_at = attrgetter("at")


def warm_up() -> None:
    """Load the kernels, which takes a second, before anybody waits for an answer."""
    nobody = Endpoint("127.0.0.1", 5060)
    raw = b"OPTIONS sip:a SIP/2.0\r\nCall-ID: a\r\n\r\n"
    for frames in FrameCutter().feed(serialize(HepPacket(3, SIP, 1, nobody, nobody, 17, raw))):
        read_frames(frames, NO_KEY)
        SipIntake("").take(ReceivedBatch(frames, 1, {}, _nothing))


def _nothing(data: bytes) -> ReceivedMessage:
    raise ValueError("nobody asks for it")
