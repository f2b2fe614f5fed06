"""Scenarios in SIP text: who sent what to whom when, fed to an assembler as a capture would bring it."""

from __future__ import annotations

from dataclasses import dataclass, field

from collector.calls import CallAssembler, CallLimits
from collector.facts import Call, Endpoint, Leg, SipTotals
from collector.protocols.sip import parse

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND

ALICE = Endpoint("10.0.0.1", 5060)
BOB = Endpoint("10.0.0.2", 5060)
CAROL = Endpoint("10.0.0.3", 5060)
PROXY = Endpoint("10.0.0.9", 5060)


def at(seconds: float) -> int:
    return START + round(seconds * SECOND)


def sdp(
    ip: str = "10.1.0.1",
    port: int = 4000,
    formats: str = "8 101",
    direction: str = "sendrecv",
    media: str = "audio",
    version: int = 1,
) -> str:
    if media == "image":
        lines = [f"m=image {port} udptl t38", "a=T38FaxVersion:0"]
    else:
        lines = [f"m={media} {port} RTP/AVP {formats}", "a=rtpmap:8 PCMA/8000", "a=ptime:20"]
        if "101" in formats.split():
            lines.append("a=rtpmap:101 telephone-event/8000")
        lines.append(f"a={direction}")
    return "\r\n".join(["v=0", f"o=- 1 {version} IN IP4 {ip}", "s=-", f"c=IN IP4 {ip}", "t=0 0", *lines, ""])


@dataclass
class Scenario:
    """Feeds messages of one Call-ID; tags and CSeq are given where a test depends on them."""

    call_id: str = "call-1@example.com"
    assembler: CallAssembler = field(default_factory=CallAssembler)
    caller_tag: str = "a"
    last: int = START

    def send(self, when: float, src: Endpoint, dst: Endpoint, text: str) -> None:
        self.last = max(self.last, at(when))
        self.assembler.feed(parse(text.encode()), at(when), src, dst, "udp")

    def request(
        self,
        when: float,
        src: Endpoint,
        dst: Endpoint,
        method: str,
        cseq: int = 1,
        *,
        from_tag: str = "a",
        to_tag: str = "",
        branch: str = "",
        headers: tuple[str, ...] = (),
        body: str = "",
        content_type: str = "application/sdp",
        via: tuple[str, ...] = (),
        cseq_method: str = "",
    ) -> None:
        branch = branch or f"z9hG4bK-{cseq}-{from_tag}" + ("-ack" if method == "ACK" else "")
        lines = [
            f"{method} sip:bob@example.com SIP/2.0",
            f"Via: SIP/2.0/UDP {src.ip}:{src.port};branch={branch}",
            *(f"Via: {value}" for value in via),
            "Max-Forwards: 70",
            *self._dialog(from_tag, to_tag, cseq, cseq_method or method),
            *headers,
        ]
        self.send(when, src, dst, _message(lines, body, content_type))

    def response(
        self,
        when: float,
        src: Endpoint,
        dst: Endpoint,
        status: int,
        reason: str,
        method: str = "INVITE",
        cseq: int = 1,
        *,
        from_tag: str = "a",
        to_tag: str = "b",
        branch: str = "",
        headers: tuple[str, ...] = (),
        body: str = "",
    ) -> None:
        branch = branch or f"z9hG4bK-{cseq}-{from_tag}"
        lines = [
            f"SIP/2.0 {status} {reason}",
            f"Via: SIP/2.0/UDP {dst.ip}:{dst.port};branch={branch}",
            *self._dialog(from_tag, to_tag, cseq, method),
            *headers,
        ]
        self.send(when, src, dst, _message(lines, body, "application/sdp"))

    def _dialog(self, from_tag: str, to_tag: str, cseq: int, method: str) -> list[str]:
        from_uri, to_uri = "<sip:alice@example.com>", "<sip:bob@example.com>"
        if from_tag and from_tag != self.caller_tag:
            from_uri, to_uri = to_uri, from_uri
        return [
            f"From: {from_uri};tag={from_tag}",
            f"To: {to_uri}" + (f";tag={to_tag}" if to_tag else ""),
            f"Call-ID: {self.call_id}",
            f"CSeq: {cseq} {method}",
        ]

    def answered(self, *, offer: str = "", answer: str = "", start: float = 0.0) -> None:
        """INVITE, 180 after 1 s, 200 after 3 s, ACK."""
        self.request(start, ALICE, BOB, "INVITE", body=offer or sdp())
        self.response(start + 0.1, BOB, ALICE, 100, "Trying", to_tag="")
        self.response(start + 1, BOB, ALICE, 180, "Ringing")
        self.response(start + 3, BOB, ALICE, 200, "OK", body=answer or sdp("10.1.0.2", 5000))
        self.request(start + 3.1, ALICE, BOB, "ACK", to_tag="b")

    def hang_up(self, when: float) -> None:
        """BYE of the caller and its 200 after 50 ms."""
        self.request(when, ALICE, BOB, "BYE", 9, to_tag="b")
        self.response(when + 0.05, BOB, ALICE, 200, "OK", "BYE", 9)

    def finish(self, now: float | None = None) -> tuple[tuple[Call, ...], SipTotals]:
        return self.assembler.finish(self.last if now is None else at(now))

    def call(self, now: float | None = None) -> Call:
        (call,) = self.finish(now)[0]
        return call

    def leg(self, now: float | None = None) -> Leg:
        (leg,) = self.call(now).legs
        return leg


def _message(lines: list[str], body: str, content_type: str) -> str:
    if body:
        lines = [*lines, f"Content-Type: {content_type}"]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", body])


def codes(facts: Call | Leg) -> list[str]:
    return [finding.code for finding in facts.findings]


def seconds(value: int | None) -> float | None:
    """A time of the facts as seconds since the scenario began."""
    return None if value is None else (value - START) / SECOND


def limited(**sizes: int) -> CallAssembler:
    return CallAssembler(CallLimits(**sizes))
