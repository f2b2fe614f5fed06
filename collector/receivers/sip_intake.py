"""Captured messages on their way to calls and reports: SIP in batches to the assembler, RTCP and reports to rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from operator import attrgetter

import numpy as np

from collector.calls import CallLimits
from collector.device_statistics import DeviceStatisticsBook
from collector.facts import Call, Endpoint
from collector.protocols.hep import PAYLOAD_NAMES, RTCP, SIP
from collector.protocols.hep_reports import REPORTS, HepReportError, parse_report
from collector.protocols.rtcp import RtcpError
from collector.protocols.rtcp_json import parse_payload
from collector.protocols.sip import SipError, SipMessage, index_batch, messages_at
from collector.protocols.vq_report import CONTENT_TYPE, VqError, parse_vq_report
from collector.received_calls import ReceivedCalls
from collector.receivers.hep import ReceivedMessage
from collector.receivers.report_rows import Row, device_rows, hep_row, vq_rows
from collector.receivers.rtcp_reports import RtcpReports

CALL_LIMITS = CallLimits(max_calls=50_000, max_other_call_ids=20_000, max_steps=64)
ROWS_LIMIT = 50_000
"""Rows of reports that wait to be fetched; further ones are dropped and counted."""
ONE_CLOCK = 10_000_000_000
"""Messages that came together and were captured no farther apart than this are put in order [ns]."""


class SipIntake:
    """Takes captured messages; gives calls that are over and rows of `phone_reports`. Bounded, whatever comes."""

    def __init__(self, system: str, limits: CallLimits = CALL_LIMITS) -> None:
        self._system = system
        self.calls = ReceivedCalls(limits)
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
        sip = _in_order([each for each in messages if each.payload_type == SIP])
        if sip:
            self._take_sip(sip)
        if len(sip) != len(messages):
            for each in messages:
                if each.payload_type == RTCP:
                    self._take_rtcp(each)
                elif each.payload_type in REPORTS:
                    self._take_agents_report(each)
                elif each.payload_type != SIP:
                    name = PAYLOAD_NAMES.get(each.payload_type, "unknown")
                    self.taken[name] += 1
                    self.ignored += 1
        self.last_at = messages[-1].at if messages else self.last_at

    def _take_sip(self, received: list[ReceivedMessage]) -> None:
        self.taken["sip"] += len(received)
        raws = [each.payload for each in received]
        window = np.frombuffer(b"".join(raws), np.uint8)
        lengths = np.array(list(map(len, raws)), np.int64)
        offsets = np.cumsum(lengths) - lengths
        messages = messages_at(window, offsets, lengths, index_batch(window, offsets, lengths), raws)
        take = self.calls.take
        for each, message in zip(received, messages, strict=True):
            if isinstance(message, SipError):
                self.refused[f"sip_{message.defect}"] += 1
                continue
            take(message, each.at, each.src, each.dst, each.transport, each.arrived)
            if message.cseq_method == "BYE" or message.method == "PUBLISH":
                self._take_report(message, each)

    def _take_report(self, message: SipMessage, received: ReceivedMessage) -> None:
        """What a device says of a call in its BYE, in the answer to one, or in a PUBLISH that was captured."""
        if message.cseq_method == "BYE":
            if self._statistics.take(message, received.arrived, received.src):
                self._keep(device_rows(self._statistics.fetch(), self._system))
            return
        identity = f"{message.cseq}|{message.method}|{message.from_tag}|{received.src.ip}"
        if CONTENT_TYPE in message.content_type.lower():
            try:
                report = parse_vq_report(message.raw[message.body_start :])
            except VqError as error:
                self.refused[f"vq_{error.defect}"] += 1
                return
            self._keep(vq_rows(report, received.arrived, self._system, f"{message.call_id}|{identity}"))

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

    def harvest(self, now: int) -> tuple[list[Call], list[Row]]:
        """Calls that are over and rows, at `now` [ns]."""
        rows, self._rows = self._rows, []
        return self.calls.harvest(now), rows + self._rtcp.harvest(now)

    def rest(self, now: int) -> tuple[list[Call], list[Row]]:
        """Everything that is left, over or not."""
        rows, self._rows = self._rows, []
        return self.calls.rest(), rows + self._rtcp.harvest(now, silent=0)


def _in_order(messages: list[ReceivedMessage]) -> list[ReceivedMessage]:
    """Put what came together in the order of its capture: processes of one proxy send side by side.

    Times far apart are of different clocks, and say nothing of the order.
    """
    times = [each.at for each in messages]
    if len(times) < 2 or max(times) - min(times) > ONE_CLOCK:
        return messages
    return sorted(messages, key=_captured_at)


_captured_at = attrgetter("at")


def warm_up() -> None:
    """Load the kernels, which takes a second, before anybody waits for an answer."""
    nobody = Endpoint("127.0.0.1", 5060)
    raw = b"OPTIONS sip:a SIP/2.0\r\nCall-ID: a\r\n\r\n"
    SipIntake("").take([ReceivedMessage(0, 0, nobody, nobody, "udp", SIP, raw, None, None)])
