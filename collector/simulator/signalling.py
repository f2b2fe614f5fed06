"""SIP calls as real user agents write them: every message of an attempt, in time order (RFC 3261, RFC 3264)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from collector.facts import Endpoint

MILLISECOND = 1_000_000
"""Nanoseconds in a millisecond."""


class SipMessage(NamedTuple):
    """One SIP message on the wire."""

    at: int
    """When it was captured [ns]."""
    src: Endpoint
    dst: Endpoint
    payload: bytes


class Media(NamedTuple):
    """What one side announces in SDP: where it receives, and the formats it takes (payload type, rtpmap)."""

    endpoint: Endpoint
    formats: tuple[tuple[int, str], ...] = ((0, "PCMU/8000"), (8, "PCMA/8000"), (101, "telephone-event/8000"))
    direction: str = "sendrecv"
    ptime_ms: int = 20


@dataclass(frozen=True, slots=True)
class CallPlan:
    """One attempt: who calls whom, what becomes of it and when each step happens [ns after `start`]."""

    call_id: str
    caller: Endpoint
    callee: Endpoint
    caller_user: str
    callee_user: str
    start: int
    outcome: str = "completed"
    """`completed`, `busy`, `unanswered`, `not_found`, `unavailable` or `cancelled`."""
    challenged: bool = False
    """The first INVITE is answered 407 and sent again with credentials."""
    ring_after: int = 400 * MILLISECOND
    answer_after: int = 3_000 * MILLISECOND
    """After `start`: the answer, the refusal or the CANCEL."""
    talk: int = 60_000 * MILLISECOND
    """From the answer to the BYE."""
    hung_up_by: str = "caller"
    retransmitted: tuple[str, ...] = ()
    """Which messages are sent twice: `INVITE`, `200`, `BYE`."""
    caller_media: Media | None = None
    callee_media: Media | None = None


FAILURES = {
    "busy": (486, "Busy Here"),
    "unanswered": (480, "Temporarily Unavailable"),
    "not_found": (404, "Not Found"),
    "unavailable": (503, "Service Unavailable"),
}
"""Final status of each refusal."""

_TRIP = 12 * MILLISECOND
_T1 = 500 * MILLISECOND
"""RFC 3261 17.1.1.1: the first retransmission comes T1 after the original."""


def sdp(media: Media, session: int, version: int = 1) -> bytes:
    """One audio line (RFC 8866)."""
    ip, port = media.endpoint
    family = "IP6" if ":" in ip else "IP4"
    lines = [
        "v=0",
        f"o=- {session} {version} IN {family} {ip}",
        "s=call",
        f"c=IN {family} {ip}",
        "t=0 0",
        f"m=audio {port} RTP/AVP {' '.join(str(number) for number, _ in media.formats)}",
        *(f"a=rtpmap:{number} {rtpmap}" for number, rtpmap in media.formats),
        *(f"a=fmtp:{number} 0-16" for number, rtpmap in media.formats if rtpmap.startswith("telephone-event")),
        f"a=ptime:{media.ptime_ms}",
        f"a={media.direction}",
    ]
    return ("\r\n".join(lines) + "\r\n").encode()


class _Writer:
    """Writes the messages of one attempt with the tags, branches and addresses that belong to it."""

    def __init__(self, plan: CallPlan) -> None:
        self.plan = plan
        self.caller_uri = f"sip:{plan.caller_user}@{_host(plan.caller)}"
        self.callee_uri = f"sip:{plan.callee_user}@{_host(plan.callee)}"
        self.from_tag = f"a{plan.call_id[:8]}"
        self.to_tag = f"b{plan.call_id[-8:]}"

    def request(self, method: str, cseq: int, *, body: bytes = b"", from_callee: bool = False) -> bytes:
        """A request of the caller, or of the callee inside the dialog; `to_tag` is set once the dialog stands."""
        plan = self.plan
        sender = plan.callee if from_callee else plan.caller
        target = self.caller_uri if from_callee else self.callee_uri
        lines = [
            f"{method} {target} SIP/2.0",
            f"Via: SIP/2.0/UDP {sender};branch={self.branch(method, cseq)};rport",
            "Max-Forwards: 70",
            *self._parties(swapped=from_callee, to_tag=method in ("ACK", "BYE")),
            f"Call-ID: {plan.call_id}",
            f"CSeq: {cseq} {method}",
        ]
        if method == "INVITE":
            lines += [
                f"Contact: <sip:{plan.caller_user}@{sender};transport=udp>",
                "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, PRACK, REFER, NOTIFY, SUBSCRIBE, MESSAGE",
                "Supported: replaces, timer, path, 100rel",
                "Session-Expires: 1800;refresher=uac",
                f"P-Asserted-Identity: <sip:{plan.caller_user}@{sender.ip}>",
                "Accept: application/sdp, application/dtmf-relay, text/plain",
            ]
            if plan.challenged and cseq > 1:
                lines.append(_credentials(plan))
        lines += ["User-Agent: Desk Phone 7.4.1 (build 20931)", *_content(body)]
        return ("\r\n".join(lines) + "\r\n\r\n").encode() + body

    def response(
        self,
        status: int,
        phrase: str,
        method: str,
        cseq: int,
        *,
        body: bytes = b"",
        to_callee: bool = False,
        extra: tuple[str, ...] = (),
    ) -> bytes:
        """A response to a request of the caller, or of the callee (`to_callee`)."""
        plan = self.plan
        requester = plan.callee if to_callee else plan.caller
        lines = [
            f"SIP/2.0 {status} {phrase}",
            f"Via: SIP/2.0/UDP {requester};branch={self.branch(method, cseq)};rport={requester.port}"
            f";received={requester.ip}",
            *self._parties(swapped=to_callee, to_tag=status != 100),
            f"Call-ID: {plan.call_id}",
            f"CSeq: {cseq} {method}",
            *extra,
        ]
        if method == "INVITE" and 100 < status < 300:
            lines += [
                f"Contact: <sip:{plan.callee_user}@{plan.callee};transport=udp>",
                "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, PRACK, REFER, NOTIFY",
                "Supported: replaces, timer, 100rel",
            ]
        lines += ["Server: Gateway 16.2.0", *_content(body)]
        return ("\r\n".join(lines) + "\r\n\r\n").encode() + body

    def branch(self, method: str, cseq: int) -> str:
        """RFC 3261 17.1.1.3 and 9.1: CANCEL and the ACK of a failure carry their INVITE's branch."""
        refused = self.plan.outcome != "completed" or (self.plan.challenged and cseq == 1)
        shared = "INVITE" if method == "CANCEL" or (method == "ACK" and refused) else method
        return f"z9hG4bK{self.plan.call_id[:10]}{shared.lower()}{cseq}"

    def _parties(self, *, swapped: bool, to_tag: bool) -> list[str]:
        caller = f'"Extension {self.plan.caller_user}" <{self.caller_uri}>;tag={self.from_tag}'
        callee = f"<{self.callee_uri}>"
        if swapped:
            return [f"From: {callee};tag={self.to_tag}", f"To: {caller}"]
        return [f"From: {caller}", f"To: {callee}" + (f";tag={self.to_tag}" if to_tag else "")]


def _host(endpoint: Endpoint) -> str:
    return f"[{endpoint.ip}]" if ":" in endpoint.ip else endpoint.ip


def _content(body: bytes) -> list[str]:
    return [*(["Content-Type: application/sdp"] if body else []), f"Content-Length: {len(body)}"]


def _credentials(plan: CallPlan) -> str:
    return (
        f'Proxy-Authorization: Digest username="{plan.caller_user}", realm="example.net", nonce="{plan.call_id[:16]}",'
        f' uri="sip:{plan.callee_user}@{_host(plan.callee)}", response="0123456789abcdef0123456789abcdef",'
        ' algorithm=MD5, cnonce="5f3c2a10", qop=auth, nc=00000001'
    )


def call_messages(plan: CallPlan) -> Iterator[SipMessage]:
    """All messages of the attempt in time order."""
    messages = sorted(_attempt(plan), key=lambda message: message.at)
    return iter(messages)


def _attempt(plan: CallPlan) -> Iterator[SipMessage]:
    writer = _Writer(plan)
    offer = sdp(plan.caller_media, 3_900_000_000) if plan.caller_media else b""
    cseq, at = 1, plan.start
    there, back = (plan.caller, plan.callee), (plan.callee, plan.caller)
    yield SipMessage(at, *there, writer.request("INVITE", cseq, body=offer))
    if plan.challenged:
        challenge = (f'Proxy-Authenticate: Digest realm="example.net", nonce="{plan.call_id[:16]}", qop="auth"',)
        refusal = writer.response(407, "Proxy Authentication Required", "INVITE", cseq, extra=challenge)
        yield SipMessage(at + _TRIP, *back, refusal)
        yield SipMessage(at + _TRIP + MILLISECOND, *there, writer.request("ACK", cseq))
        cseq, at = 2, at + _TRIP + 4 * MILLISECOND
        yield SipMessage(at, *there, writer.request("INVITE", cseq, body=offer))
    if "INVITE" in plan.retransmitted:
        at += _T1
        yield SipMessage(at, *there, writer.request("INVITE", cseq, body=offer))
    yield SipMessage(at + _TRIP, *back, writer.response(100, "Trying", "INVITE", cseq))
    if plan.outcome in ("completed", "cancelled", "unanswered"):
        ringing = max(plan.start + plan.ring_after, at + 2 * _TRIP)
        yield SipMessage(ringing, *back, writer.response(180, "Ringing", "INVITE", cseq))
    decided = plan.start + plan.answer_after
    if plan.outcome == "completed":
        yield from _conversation(plan, writer, cseq, decided)
    elif plan.outcome == "cancelled":
        yield SipMessage(decided, *there, writer.request("CANCEL", cseq))
        yield SipMessage(decided + _TRIP, *back, writer.response(200, "OK", "CANCEL", cseq))
        ended = writer.response(487, "Request Terminated", "INVITE", cseq)
        yield SipMessage(decided + _TRIP + MILLISECOND, *back, ended)
        yield SipMessage(decided + 2 * _TRIP, *there, writer.request("ACK", cseq))
    else:
        status, phrase = FAILURES[plan.outcome]
        yield SipMessage(decided, *back, writer.response(status, phrase, "INVITE", cseq))
        yield SipMessage(decided + _TRIP, *there, writer.request("ACK", cseq))


def _conversation(plan: CallPlan, writer: _Writer, cseq: int, answered: int) -> Iterator[SipMessage]:
    answer = sdp(plan.callee_media, 3_900_000_001) if plan.callee_media else b""
    there, back = (plan.caller, plan.callee), (plan.callee, plan.caller)
    ok = writer.response(200, "OK", "INVITE", cseq, body=answer)
    yield SipMessage(answered, *back, ok)
    acknowledged = answered + _TRIP
    if "200" in plan.retransmitted:
        yield SipMessage(answered + _T1, *back, ok)
        acknowledged += _T1
    yield SipMessage(acknowledged, *there, writer.request("ACK", cseq))
    over = answered + plan.talk
    by_callee = plan.hung_up_by == "callee"
    forth, answer_way = (back, there) if by_callee else (there, back)
    bye = writer.request("BYE", cseq + 1, from_callee=by_callee)
    yield SipMessage(over, *forth, bye)
    if "BYE" in plan.retransmitted:
        yield SipMessage(over + _T1, *forth, bye)
    closing = over + (_T1 if "BYE" in plan.retransmitted else 0) + _TRIP
    yield SipMessage(closing, *answer_way, writer.response(200, "OK", "BYE", cseq + 1, to_callee=by_callee))
