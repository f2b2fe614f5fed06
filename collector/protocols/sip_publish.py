"""The answering side of PUBLISH (RFC 3903) for voice-quality reports (RFC 6035 4.3): messages in, answers out.

Pure: no clock, no socket. A retransmission gets the same answer again and counts once. Nothing is kept of reports; of
publications only their entity tags, so that a refresh can be told from a mistake.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, OrderedDict
from typing import NamedTuple

from collector.facts import Endpoint
from collector.protocols.sip import SipError, SipMessage, parse
from collector.protocols.sip_values import parse_via, split_unquoted
from collector.protocols.vq_report import CONTENT_TYPE, EVENT, VqError, VqReport, parse_vq_report

EXPIRES = 3600
"""Seconds that a publication is known unless it asks for less (RFC 3903 6: the server may shorten it)."""
TABLE_LIMIT = 20_000
"""Transactions, and publications, that are remembered; past it the oldest is forgotten."""
TRANSACTION = 32_000_000_000
"""How long a retransmission may come [ns] (RFC 3261 17.2.2, Timer J)."""
REASONS = {
    200: "OK",
    400: "Bad Request",
    405: "Method Not Allowed",
    412: "Conditional Request Failed",
    415: "Unsupported Media Type",
    489: "Bad Event",
}
_MANDATORY = ("via", "from", "to", "call-id", "cseq")
_NEWLINES = re.compile(r"[\r\n]")


class PublishedReport(NamedTuple):
    """A report that a device published."""

    report: VqReport
    identity: str
    """Tells it from every other publication."""
    sender: Endpoint


class Answered(NamedTuple):
    """What comes of a message."""

    response: bytes | None
    """To be sent back; None: nothing is."""
    to: Endpoint
    """Where a response goes over UDP (RFC 3261 18.2.2, RFC 3581 4)."""
    published: PublishedReport | None = None


class PublishServer:
    """Answers requests; bounded, whatever comes."""

    def __init__(self, expires: int = EXPIRES, limit: int = TABLE_LIMIT) -> None:
        self._expires = expires
        self._limit = limit
        self._answers: OrderedDict[tuple[object, ...], tuple[int, bytes]] = OrderedDict()
        self._tags: OrderedDict[str, int] = OrderedDict()
        self._made = 0
        self.counts: Counter[str] = Counter()
        """messages = reports + refreshes + retransmissions + the reasons of refusals and of what is ignored."""

    def take(self, data: bytes, sender: Endpoint, now: int, transport: str = "UDP") -> Answered:
        """Take one message that came at `now` [ns]."""
        self.counts["messages"] += 1
        try:
            message = parse(data)
        except SipError as error:
            self.counts[f"sip_{error.defect}"] += 1
            return Answered(None, sender)
        if not message.method or message.method == "ACK":
            self.counts["not_a_request"] += 1
            return Answered(None, sender)
        headers = _first_of(message)
        vias = [value for name, value in message.fields if name == "via"]
        to = _return_address(vias, sender)
        if any(not headers.get(name) for name in _MANDATORY) or message.cseq < 0:
            # Without these a response cannot be matched; what is there is sent back all the same.
            self.counts["header_missing"] += 1
            return Answered(self._respond(400, message, headers, vias, sender, transport), to)
        key = (message.branch, message.call_id, message.cseq, message.method, sender)
        known = self._answers.get(key)
        if known is not None and now - known[0] <= TRANSACTION:
            self.counts["retransmissions"] += 1
            return Answered(known[1], to)
        status, reason, extra, report = self._judge(message, headers, now, transport)
        self.counts[reason] += 1
        response = self._respond(status, message, headers, vias, sender, transport, extra)
        self._answers[key] = (now, response)
        self._answers.move_to_end(key)
        while len(self._answers) > self._limit or now - next(iter(self._answers.values()))[0] > TRANSACTION:
            self._answers.popitem(last=False)
        if report is None:
            return Answered(response, to)
        identity = f"{message.call_id}|{message.cseq}|{message.from_tag}|{sender.ip}"
        return Answered(response, to, PublishedReport(report, identity, sender))

    def _judge(
        self, message: SipMessage, headers: dict[str, str], now: int, transport: str
    ) -> tuple[int, str, list[str], VqReport | None]:  # fmt: skip
        """Status, name to count by, headers of the response, and the report where there is one (RFC 3903 6)."""
        if message.method != "PUBLISH":
            return 405, "method_not_allowed", ["Allow: PUBLISH"], None
        event = headers.get("event", "").partition(";")[0].strip().lower()
        if event != EVENT:
            return 489, "bad_event", [f"Allow-Events: {EVENT}"], None
        asked = headers.get("expires", "")
        if asked and not (asked.isascii() and asked.isdigit() and len(asked) <= 10):
            return 400, "expires_malformed", [], None
        expires = min(int(asked), self._expires) if asked else self._expires
        # Devices count their bodies wrongly; a datagram tells itself where it ends.
        body = message.raw[message.body_start :] if transport == "UDP" else message.body
        tag = headers.get("sip-if-match")
        if tag is not None:
            until = self._tags.pop(tag, None)
            if until is None or until < now:
                return 412, "publication_unknown", [], None
            if not body.strip():
                return 200, "refreshes", self._publication(message, expires, now), None
        if headers.get("content-type", "").partition(";")[0].strip().lower() != CONTENT_TYPE:
            return 415, "content_type_unsupported", [f"Accept: {CONTENT_TYPE}"], None
        try:
            report = parse_vq_report(body)
        except VqError as error:
            return 400, f"vq_{error.defect}", [], None
        return 200, "reports", self._publication(message, expires, now), report

    def _publication(self, message: SipMessage, expires: int, now: int) -> list[str]:
        """The headers that name a publication, which is remembered for as long as it lasts."""
        self._made += 1
        seed = f"{message.call_id}|{message.cseq}|{now}|{self._made}"
        tag = hashlib.sha256(seed.encode("utf-8", "replace")).hexdigest()[:16]
        if expires:
            self._tags[tag] = now + expires * 1_000_000_000
            if len(self._tags) > self._limit:
                self._tags.popitem(last=False)
        return [f"SIP-ETag: {tag}", f"Expires: {expires}"]

    def _respond(
        self,
        status: int,
        message: SipMessage,
        headers: dict[str, str],
        vias: list[str],
        sender: Endpoint,
        transport: str,
        extra: list[str] | None = None,
    ) -> bytes:
        lines = [f"SIP/2.0 {status} {REASONS[status]}"]
        for number, via in enumerate(vias):
            lines.append(f"Via: {_received(via, sender) if number == 0 else via}")
        lines += [f"{name}: {headers[key]}" for name, key in (("From", "from"),) if key in headers]
        if "to" in headers:
            seed = f"{message.call_id}|{message.from_tag}"
            tag = hashlib.sha256(seed.encode("utf-8", "replace")).hexdigest()[:12]
            lines.append(f"To: {headers['to']}" + ("" if message.to_tag else f";tag={tag}"))
        lines += [
            f"{name}: {headers[key]}" for name, key in (("Call-ID", "call-id"), ("CSeq", "cseq")) if key in headers
        ]
        lines += [*(extra or ()), "Content-Length: 0"]
        return "".join(_NEWLINES.sub(" ", line) + "\r\n" for line in (*lines, "")).encode("utf-8", "replace")


def _first_of(message: SipMessage) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in message.fields:
        headers.setdefault(name, value)
    return headers


def _received(via: str, sender: Endpoint) -> str:
    """The topmost Via with where it came from (RFC 3261 18.2.1, RFC 3581 4)."""
    values = split_unquoted(via, ",")
    top = values[0]
    top = re.sub(r";\s*rport(?=\s*(;|$))", f";rport={sender.port}", top, count=1, flags=re.IGNORECASE)
    if not re.search(r";\s*received\s*=", top, re.IGNORECASE):
        top += f";received={sender.ip}"
    return ",".join([top, *values[1:]])


def _return_address(vias: list[str], sender: Endpoint) -> Endpoint:
    """Back to the port of the sender where it asks for that by `rport`, else to the port that it names."""
    via = parse_via(split_unquoted(vias[0], ",")[0])[0] if vias else None
    if via is None or "rport" in via.params:
        return sender
    return Endpoint(sender.ip, via.port or 5060)
