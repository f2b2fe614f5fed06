"""One Call-ID: its transactions and dialogs (RFC 3261 12, 13, 17), from messages to the facts of one leg.

A capture hears a message in many ways: again because its sender got no answer (a retransmission), again because a
second tap or a proxy's other side lies in the capture (a copy). `heard_before` tells these apart, so that everything
else here sees each message of a dialog once.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass

from collector.facts import CallState, Endpoint, Finding, Leg, Reason
from collector.media.book import MediaBook
from collector.negotiation import CALLEE, CALLER, FormatTable, Negotiation, Party
from collector.protocols.sip import SipMessage
from collector.protocols.sip_values import parse_name_addr, unquote_string

COPY_WINDOW = 50_000_000
"""Sooner than this no timer repeats a message [ns] (RFC 3261 17.1.1.1: T1 is 500 ms): it is a copy of the capture."""
TIMER_B = 32_000_000_000
"""An INVITE without any response has failed [ns] (RFC 3261 17.1.1.2: 64 T1)."""
TIMER_C = 180_000_000_000
"""An INVITE without a final response after its last provisional one has failed [ns] (RFC 3261 16.6)."""

DIALOG_METHODS = frozenset({"INVITE", "ACK", "BYE", "CANCEL", "PRACK", "UPDATE"})
"""Methods that only a call has; all others may stand alone."""
CHALLENGES = frozenset({401, 407, 422, 423, 494})
"""Final responses that ask for the same request once more: credentials, a longer interval, security agreement."""

_SEEN_LIMIT = 512
_HOPS_LIMIT = 16
_NO_ANSWER_CAUSES = frozenset({18, 19, 102})
_NO_SESSION = "0" * 32

CALL_ID_HEADERS = ("x-cid", "x-call-id", "x-original-call-id")
"""Headers in which the second leg of a back-to-back user agent names the Call-ID of the first."""
SHARED_HEADERS = ("cisco-guid", "av-global-session-id", "x-genesys-calluuid")
"""Headers whose whole value all legs of a call share."""

Seen = dict[tuple[str, int, int, str, str], list[object]]


class Heard(enum.Enum):
    """How a message relates to those before it."""

    FIRST = enum.auto()
    AGAIN = enum.auto()
    """A retransmission: the same hop, later."""
    COPY = enum.auto()
    """The same message at another hop, another tap, or twice at this one."""


def heard_before(seen: Seen, message: SipMessage, at: int, src: Endpoint) -> Heard:
    """Whether this message of one Call-ID was heard before, and how.

    Along a path Via and addresses change; method, CSeq, tags and status do not (RFC 3261 16.6). On one hop a
    retransmission has the same branch and sender (17.2.3). A provisional response that grew is a new one.
    """
    key = (message.method or message.cseq_method, message.cseq, message.status, message.from_tag, message.to_tag)
    hops = seen.get(key)
    size = len(message.raw)
    if hops is None:
        if len(seen) >= _SEEN_LIMIT:
            seen.clear()
        seen[key] = [src, message.branch, at, size]
        return Heard.FIRST
    branch = message.branch
    for start in range(0, len(hops), 4):
        if hops[start] == src and hops[start + 1] == branch:
            if hops[start + 3] != size and 100 < message.status < 200:
                hops[start + 2 : start + 4] = [at, size]
                return Heard.FIRST
            since = hops[start + 2]
            hops[start + 2] = at
            return Heard.AGAIN if isinstance(since, int) and at - since >= COPY_WINDOW else Heard.COPY
    if len(hops) < 4 * _HOPS_LIMIT:
        hops += [src, branch, at, size]
    return Heard.COPY


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all records of a capture share."""

    book: MediaBook
    formats: FormatTable
    media_limit: int
    forks_limit: int


class LegRecord:
    """What is known so far of one Call-ID that has a call."""

    __slots__ = (
        "acknowledged",
        "answer_inferred",
        "answered",
        "bye_at",
        "bye_confirmed",
        "call_id",
        "callee_tags",
        "caller_tags",
        "cancelled",
        "copies",
        "defects",
        "dst",
        "ended",
        "final_at",
        "first_branch",
        "from_uri",
        "hung_up_by",
        "in_middle",
        "invite_cseq",
        "invites",
        "joins",
        "last",
        "messages",
        "negotiation",
        "open_dialogs",
        "provisional_at",
        "reason",
        "redirected_to",
        "replaces",
        "reported",
        "request_uri",
        "retransmissions",
        "ringing",
        "seen",
        "session",
        "src",
        "start",
        "status",
        "status_text",
        "surroundings",
        "to_uri",
        "transfer_refused",
        "transferred_to",
        "transport",
    )

    def __init__(self, call_id: str, surroundings: Surroundings, src: Endpoint, dst: Endpoint, transport: str) -> None:
        self.call_id = call_id
        self.surroundings = surroundings
        self.src = src
        self.dst = dst
        self.transport = transport
        self.from_uri = self.to_uri = self.request_uri = ""
        self.start = self.last = 0
        self.caller_tags: tuple[str, ...] = ()
        self.callee_tags: tuple[str, ...] = ()
        self.open_dialogs: tuple[str, ...] = ()
        """To tags of answered dialogs that no BYE has ended."""
        self.invite_cseq = -1
        """CSeq of the latest INVITE outside a dialog; -1 while none was seen."""
        self.first_branch = ""
        self.invites = 0
        self.provisional_at: int | None = None
        self.ringing: int | None = None
        self.answered: int | None = None
        self.answer_inferred = False
        self.acknowledged = False
        self.final_at: int | None = None
        self.status: int | None = None
        self.status_text = ""
        self.reason: Reason | None = None
        self.redirected_to = ""
        self.cancelled: int | None = None
        self.bye_at: int | None = None
        self.bye_confirmed: int | None = None
        self.ended: int | None = None
        """When the leg ended; None again when the caller tries once more after a failure."""
        self.hung_up_by: str | None = None
        self.session: tuple[str, str] | None = None
        self.joins: tuple[tuple[str, str], ...] = ()
        """Evidence that this leg belongs to others: (kind, value)."""
        self.replaces: str | None = None
        self.transferred_to: str | None = None
        self.transfer_refused: int | None = None
        self.in_middle = False
        self.messages = self.retransmissions = self.copies = 0
        self.defects: dict[str, int] | None = None
        self.negotiation: Negotiation | None = None
        self.seen: Seen | None = {}
        self.reported = False

    def feed(self, message: SipMessage, at: int, src: Endpoint, dst: Endpoint, transport: str) -> Heard:
        """Take the next message of this Call-ID, `at` in ns."""
        self.messages += 1
        if message.defects:
            if self.defects is None:
                self.defects = {}
            for name in message.defects:
                self.defects[name] = self.defects.get(name, 0) + 1
        if self.seen is None:
            # Long over: what still comes repeats what was heard.
            self.retransmissions += 1
            return Heard.AGAIN
        if not self.start:
            self.start = at
        self.last = max(self.last, at)
        heard = heard_before(self.seen, message, at, src)
        if heard is Heard.FIRST:
            handler = (_REQUESTS if message.method else _RESPONSES).get(message.method or message.cseq_method)
            if handler is not None:
                handler(self, message, at, src, dst)
        elif heard is Heard.AGAIN:
            self.retransmissions += 1
        else:
            self.copies += 1
            if message.body_start < message.body_end and (message.method in _OFFERING or 100 < message.status < 300):
                self._hear_copy(message, at, src, dst)
        return heard

    # Requests

    def _invite(self, message: SipMessage, at: int, src: Endpoint, dst: Endpoint) -> None:
        if message.to_tag:
            self._invite_again(message, at, src, dst)
            return
        if not self.invites:
            self._begin(message, src, dst)
            self._try(message, renewed=self.invite_cseq < message.cseq)
        elif message.from_tag not in self.caller_tags:
            # A back-to-back user agent that keeps the Call-ID: the same attempt seen behind it.
            self.caller_tags = (*self.caller_tags, message.from_tag)[: self.surroundings.forks_limit]
        elif message.from_tag == self.caller_tags[0] and message.cseq > self.invite_cseq and self.answered is None:
            self._try(message, renewed=True)
        self._note_session(message)
        body = _sdp_of(message)
        if body is not None:
            self._describe(Party(CALLER, "", _hop(src, dst)), body, at)

    def _try(self, message: SipMessage, renewed: bool) -> None:
        """An INVITE of the caller; `renewed` when nothing of its own outcome was heard yet."""
        self.invite_cseq = message.cseq
        self.first_branch = message.branch
        self.invites += 1
        self.in_middle = False
        self.request_uri = message.request_uri
        if renewed and self.bye_at is None:
            self.callee_tags = ()
            self.status = self.final_at = self.ended = self.cancelled = None
            self.status_text = self.redirected_to = ""
            self.reason = None

    def _begin(self, message: SipMessage, src: Endpoint, dst: Endpoint) -> None:
        self.src, self.dst = src, dst
        self.from_uri = _uri_text(message.header("from"))
        self.to_uri = _uri_text(message.header("to"))
        self.caller_tags = (message.from_tag,)
        replaces = message.header("replaces")
        joins: list[tuple[str, str]] = []
        if replaces:
            self.replaces = replaces.partition(";")[0].strip()
            joins.append(("replaces", self.replaces))
        for name, value in message.fields:
            if name in CALL_ID_HEADERS:
                joins.append((name, unquote_string(value)))
            elif name in SHARED_HEADERS:
                joins.append((name, value))
            elif name == "p-charging-vector":
                identity = _parameter(value, "icid-value")
                if identity:
                    joins.append(("icid-value", identity))
        self.joins += tuple((name, value) for name, value in joins if value)

    def _invite_again(self, message: SipMessage, at: int, src: Endpoint, dst: Endpoint) -> None:
        self._know_sides(message)
        self._note_session(message)
        self._offer(message, at, src, dst)

    def _ack(self, message: SipMessage, at: int, src: Endpoint, dst: Endpoint) -> None:
        self._know_sides(message)
        self.acknowledged = True
        undecided = self.answered is None and self.status is None and message.cseq == self.invite_cseq
        # The ACK of a 2xx is a transaction of its own, that of a failure is not (RFC 3261 17.1.1.3).
        if undecided and message.to_tag and message.branch and message.branch != self.first_branch:
            self._answer(message, at)
            self.answer_inferred = True
        body = _sdp_of(message)
        if body is not None:
            self._describe(self._party(message.from_tag, message.to_tag, src, dst), body, at, inside=True)
            self._settle(at)

    def _bye(self, message: SipMessage, at: int, src: Endpoint, dst: Endpoint) -> None:
        self._know_sides(message)
        tags = (message.from_tag, message.to_tag)
        still_open = tuple(tag for tag in self.open_dialogs if tag not in tags)
        if len(still_open) == len(self.open_dialogs) and not self._of_other_fork(tags):
            still_open = ()
        self.open_dialogs = still_open
        if still_open or self.ended is not None:
            return
        self.bye_at = self.ended = at
        if not self.in_middle:
            if message.from_tag in self.caller_tags:
                self.hung_up_by = CALLER
            elif message.from_tag in self.callee_tags or message.to_tag in self.caller_tags:
                self.hung_up_by = CALLEE
        self._note_reason(message)
        if self.negotiation is not None:
            self.negotiation.end(at)

    def _cancel(self, message: SipMessage, at: int, src: Endpoint, dst: Endpoint) -> None:
        if self.invite_cseq < 0:
            self._begin(message, src, dst)
            self.in_middle = True
            self.invite_cseq, self.first_branch = message.cseq, message.branch
        # A proxy cancels its losing branches itself (RFC 3261 16.7): only the caller's own hop gives up the call.
        own_hop = message.branch == self.first_branch or src == self.src
        if own_hop and self.answered is None and self.final_at is None:
            self.cancelled = at
            self.ended = at
            self._note_reason(message)

    def _early_or_update(self, message: SipMessage, at: int, src: Endpoint, dst: Endpoint) -> None:
        self._know_sides(message)
        if message.method == "PRACK":
            body = _sdp_of(message)
            if body is not None:
                self._describe(self._party(message.from_tag, message.to_tag, src, dst), body, at, inside=True)
            return
        self._note_session(message)
        self._offer(message, at, src, dst)

    def _refer(self, message: SipMessage, at: int, src: Endpoint, dst: Endpoint) -> None:
        target = _uri_text(message.header("refer-to"))
        if not target:
            return
        uri, _, embedded = target.partition("?")
        self.transferred_to = uri
        self.transfer_refused = None
        for pair in embedded.split("&"):
            name, _, value = pair.partition("=")
            if name.lower() == "replaces":
                replaced = value.partition(";")[0].partition("%3B")[0].partition("%3b")[0].replace("%40", "@")
                self.joins += (("replaces", replaced),)

    def _notify(self, message: SipMessage, at: int, src: Endpoint, dst: Endpoint) -> None:
        body = message.body
        if self.transferred_to and body[:8].upper() == b"SIP/2.0 " and body[8:11].isdigit():
            status = int(body[8:11])
            self.transfer_refused = status if status >= 300 else None

    # Responses

    def _invite_response(self, message: SipMessage, at: int, src: Endpoint, dst: Endpoint) -> None:
        key = (message.from_tag, message.cseq)
        if self.negotiation is not None and self.negotiation.has_offer(key):
            self._answer_offer(message, at, src, dst)
            return
        if self.invite_cseq < 0:
            if self.caller_tags and message.from_tag not in self.caller_tags:
                return
            self._begin(message, dst, src)
            self.in_middle = True
            self.invite_cseq, self.first_branch = message.cseq, message.branch
        if message.from_tag not in self.caller_tags or message.cseq > self.invite_cseq:
            return
        status = message.status
        if status <= 100:
            self.provisional_at = at
            return
        if message.to_tag and message.to_tag not in self.callee_tags and status not in CHALLENGES:
            self.callee_tags = (*self.callee_tags, message.to_tag)[: self.surroundings.forks_limit]
        self._note_session(message)
        body = _sdp_of(message) if status < 300 else None
        if status < 200:
            self.provisional_at = at
            if self.ringing is None and status in (180, 183):
                self.ringing = at
        elif status < 300:
            self._answer(message, at)
        else:
            self._fail(message, at)
        if body is not None:
            self._describe(Party(CALLEE, message.to_tag, _hop(src, dst)), body, at)
            if status >= 200 and self.negotiation is not None:
                self.negotiation.choose(message.to_tag, at)
        if status >= 200 and self.negotiation is not None:
            self.negotiation.remember_direction()

    def _answer(self, message: SipMessage, at: int) -> None:
        self.open_dialogs = (*self.open_dialogs, message.to_tag)[: self.surroundings.forks_limit]
        if self.answered is not None:
            return
        self.answered = self.final_at = at
        if message.status:
            self.status, self.status_text = message.status, message.reason_phrase
        self.cancelled = None
        if self.bye_at is None:
            self.reason = self.ended = None

    def _fail(self, message: SipMessage, at: int) -> None:
        if self.answered is not None or message.cseq < self.invite_cseq:
            return
        # Behind a forking proxy each branch fails for itself; the caller's hop says how the attempt ended.
        if self.final_at is not None and message.branch != self.first_branch and self.status not in CHALLENGES:
            return
        self.final_at = at
        self.status, self.status_text = message.status, message.reason_phrase
        # Whoever was challenged may take a minute to type a password: that is no end yet.
        self.ended = at if message.status not in CHALLENGES else None
        if message.status // 100 == 3:
            contacts = message.contacts
            self.redirected_to = contacts[0].uri.text if contacts else ""
        if b"eason" in message.raw:
            self._note_reason(message)
        if self.negotiation is not None and message.status not in CHALLENGES:
            self.negotiation.end(at)

    def _answer_offer(self, message: SipMessage, at: int, src: Endpoint, dst: Endpoint) -> None:
        if self.negotiation is None or message.status < 200:
            return
        key = (message.from_tag, message.cseq)
        if message.status >= 300:
            self.negotiation.refuse(key)
            return
        party = self._party(message.to_tag, message.from_tag, src, dst)
        self._count_defect(self.negotiation.accept(key, party, _sdp_of(message), at))

    def _bye_response(self, message: SipMessage, at: int, src: Endpoint, dst: Endpoint) -> None:
        if self.bye_at is None:
            # The BYE itself came before the capture or was lost by it.
            self._bye(message, at, dst, src)
        elif self.bye_confirmed is None and message.status // 100 == 2:
            self.bye_confirmed = at

    def _cancel_response(self, message: SipMessage, at: int, src: Endpoint, dst: Endpoint) -> None:
        """Says nothing of the call: the INVITE's own final response does (RFC 3261 9.1)."""

    def _prack_response(self, message: SipMessage, at: int, src: Endpoint, dst: Endpoint) -> None:
        body = _sdp_of(message) if 200 <= message.status < 300 else None
        if body is not None:
            self._describe(self._party(message.to_tag, message.from_tag, src, dst), body, at, inside=True)

    def _refer_response(self, message: SipMessage, at: int, src: Endpoint, dst: Endpoint) -> None:
        if message.status >= 300 and message.status not in CHALLENGES:
            self.transfer_refused = message.status

    # What requests and responses share

    def _of_other_fork(self, tags: tuple[str, str]) -> bool:
        """The dialog is one of this leg's, but not one that is open (RFC 3261 15: early dialogs may be ended too)."""
        return bool(self.open_dialogs) and any(tag in self.callee_tags for tag in tags)

    def _know_sides(self, message: SipMessage) -> None:
        """Without its INVITE nobody knows who called: the sender of the first request stands in for the caller."""
        if self.caller_tags:
            return
        self.in_middle = True
        self.caller_tags = (message.from_tag,)
        if message.to_tag:
            self.callee_tags = (message.to_tag,)
        self.from_uri = _uri_text(message.header("from"))
        self.to_uri = _uri_text(message.header("to"))
        self.request_uri = message.request_uri

    def _party(self, own_tag: str, other_tag: str, src: Endpoint, dst: Endpoint) -> Party:
        if own_tag in self.caller_tags or (own_tag not in self.callee_tags and other_tag not in self.caller_tags):
            return Party(CALLER, "", _hop(src, dst))
        return Party(CALLEE, own_tag, _hop(src, dst))

    def _negotiate(self) -> Negotiation:
        if self.negotiation is None:
            around = self.surroundings
            self.negotiation = Negotiation(self.call_id, around.book, around.formats, around.media_limit)
        return self.negotiation

    def _describe(self, party: Party, body: bytes, at: int, inside: bool = False) -> None:
        if self.ended is None or self.answered is None:
            self._count_defect(self._negotiate().describe(party, body, at, inside))

    def _offer(self, message: SipMessage, at: int, src: Endpoint, dst: Endpoint) -> None:
        if self.ended is None:
            party = self._party(message.from_tag, message.to_tag, src, dst)
            self._negotiate().offer((message.from_tag, message.cseq), party, _sdp_of(message), at)

    def _settle(self, at: int) -> None:
        if self.negotiation is not None and self.answered is not None:
            self.negotiation.settle(at)

    def _hear_copy(self, message: SipMessage, at: int, src: Endpoint, dst: Endpoint) -> None:
        """On another hop the description may name other endpoints: those of a media relay."""
        initial = message.from_tag in self.caller_tags and message.cseq <= self.invite_cseq
        if not initial or message.method not in ("", "INVITE", "ACK") or self.ended is not None:
            return
        if not message.method and message.cseq_method != "INVITE":
            return
        body = _sdp_of(message)
        if body is None:
            return
        role, tag = (CALLER, "") if message.method else (CALLEE, message.to_tag)
        self._describe(Party(role, tag, _hop(src, dst)), body, at)

    def _note_session(self, message: SipMessage) -> None:
        raw = message.raw
        if b"ession-I" not in raw and b"ession-i" not in raw:
            return
        session = message.session_id
        if session is None:
            return
        local, remote = session
        of_caller = (message.from_tag in self.caller_tags) == bool(message.method)
        caller, callee = (local, remote) if of_caller else (remote, local)
        if self.session is None or (self.session[1] in ("", _NO_SESSION) and callee not in ("", _NO_SESSION)):
            self.session = (caller, callee)
        found: list[tuple[str, str]] = []
        if caller not in ("", _NO_SESSION):
            found.append(("session-id", caller))
            if callee not in ("", _NO_SESSION):
                found.append(("session-id", ";".join(sorted((caller, callee)))))
        fresh = tuple(join for join in found if join not in self.joins)
        if fresh and len(self.joins) < self.surroundings.forks_limit:
            self.joins += fresh

    def _note_reason(self, message: SipMessage) -> None:
        if b"eason" not in message.raw:
            return
        reasons = message.reasons
        if reasons:
            self.reason = next((reason for reason in reasons if reason.protocol == "Q.850"), reasons[0])

    def _count_defect(self, name: str | None) -> None:
        if name is not None:
            if self.defects is None:
                self.defects = {}
            self.defects[name] = self.defects.get(name, 0) + 1

    def forget_transactions(self) -> None:
        """Long after the end only repeated messages can come: their keys are no longer needed."""
        self.seen = None

    def close_media(self, now: int) -> None:
        """End what was announced by a leg that is over without a message that said so."""
        if self.negotiation is not None and self.answered is None:
            self.negotiation.end(now)


Handler = Callable[[LegRecord, SipMessage, int, Endpoint, Endpoint], None]
_OFFERING = frozenset({"INVITE", "ACK"})
_REQUESTS: dict[str, Handler] = {
    "INVITE": LegRecord._invite,
    "ACK": LegRecord._ack,
    "BYE": LegRecord._bye,
    "CANCEL": LegRecord._cancel,
    "PRACK": LegRecord._early_or_update,
    "UPDATE": LegRecord._early_or_update,
    "REFER": LegRecord._refer,
    "NOTIFY": LegRecord._notify,
}
_RESPONSES: dict[str, Handler] = {
    "INVITE": LegRecord._invite_response,
    "BYE": LegRecord._bye_response,
    "CANCEL": LegRecord._cancel_response,
    "PRACK": LegRecord._prack_response,
    "UPDATE": LegRecord._answer_offer,
    "REFER": LegRecord._refer_response,
}


def state_of(record: LegRecord, now: int) -> CallState:
    """How a leg stands at `now` [ns].

    - completed: answered and ended by BYE; a BYE without its INVITE counts as that.
    - in progress: answered without BYE, or not answered and still within Timer B (no response yet) or Timer C.
    - cancelled: the caller gave up: CANCEL on the caller's own hop, or 487, without a Reason that says no answer.
    - unanswered: nobody took the call: 408 or 480 (not with Q.850 17 or 21: busy, rejected); 487 or CANCEL whose
      Reason is Q.850 18, 19, 102 or SIP 408, 480; or no final response within Timer B or C (RFC 3261 8.1.3.1 treats
      that as 408).
    - failed: any other final response from 300 on, a challenge that was not taken up included.
    """
    if record.bye_at is not None and (record.answered is not None or record.status is None):
        return CallState.COMPLETED
    if record.answered is not None:
        return CallState.IN_PROGRESS
    if record.cancelled is not None or record.status == 487:
        return CallState.UNANSWERED if _means_no_answer(record.reason) else CallState.CANCELLED
    if record.status is not None:
        refused = record.reason is not None and record.reason.protocol == "Q.850" and record.reason.cause in (17, 21)
        return CallState.UNANSWERED if record.status in (408, 480) and not refused else CallState.FAILED
    if record.invite_cseq < 0:
        return CallState.IN_PROGRESS
    limit = TIMER_B if record.provisional_at is None else TIMER_C
    since = record.start if record.provisional_at is None else record.provisional_at
    return CallState.UNANSWERED if now - since > limit else CallState.IN_PROGRESS


def _means_no_answer(reason: Reason | None) -> bool:
    if reason is None:
        return False
    if reason.protocol == "SIP":
        return reason.cause in (408, 480)
    return reason.protocol == "Q.850" and reason.cause in _NO_ANSWER_CAUSES


def leg_of(record: LegRecord, now: int) -> Leg:
    """The facts of one leg as they stand at `now` [ns]."""
    negotiation = record.negotiation
    return Leg(
        record.call_id,
        record.src,
        record.dst,
        record.transport,
        record.from_uri,
        record.to_uri,
        record.request_uri,
        state_of(record, now),
        record.status,
        record.status_text if record.status is not None else None,
        record.reason,
        record.start,
        record.ringing,
        record.answered,
        record.ended if record.ended is not None or record.answered is not None else record.final_at,
        record.hung_up_by,
        None if record.session is None else ";remote=".join(record.session),
        record.invites,
        record.retransmissions,
        len(record.callee_tags) if record.invite_cseq >= 0 else 0,
        record.messages,
        tuple(negotiation.media) if negotiation is not None else (),
        negotiation.all_spans() if negotiation is not None else (),
        record.transferred_to,
        record.replaces,
        dict(sorted(record.defects.items())) if record.defects else {},
        tuple(_findings(record)),
    )


def _findings(record: LegRecord) -> list[Finding]:
    findings: list[Finding] = []
    if record.in_middle:
        findings.append(Finding("joined_in_the_middle", "joined in the middle: its INVITE is not in the capture"))
    if record.answer_inferred:
        findings.append(Finding("answer_not_seen", "the answer itself was not captured, only its ACK"))
    elif record.invites and record.bye_at is not None and record.answered is None and record.status is None:
        findings.append(Finding("answer_not_seen", "the answer was not captured, only the BYE that ended the call"))
    if len(record.callee_tags) > 1:
        findings.append(Finding("forked", f"forked to {len(record.callee_tags)} destinations"))
    if record.status is not None and record.status // 100 == 3:
        findings.append(Finding("redirected", f"redirected to {record.redirected_to or 'nowhere'}", at=record.final_at))
    if record.transfer_refused is not None:
        findings.append(Finding("transfer_failed", f"transfer failed with {record.transfer_refused}"))
    if record.answered is not None and not record.acknowledged and not record.in_middle:
        findings.append(Finding("answer_not_acknowledged", "the answer was never acknowledged", at=record.answered))
    if record.copies:
        findings.append(
            Finding(
                "heard_more_than_once", f"{record.copies} messages heard again at another hop or tap", record.copies
            )
        )
    if record.negotiation is not None and record.negotiation.dropped:
        dropped = record.negotiation.dropped
        findings.append(Finding("media_not_listed", f"{dropped} announcements past the limit are not listed", dropped))
    return findings


def _hop(src: Endpoint, dst: Endpoint) -> tuple[str, str]:
    return (src.ip, dst.ip) if src.ip <= dst.ip else (dst.ip, src.ip)


def _sdp_of(message: SipMessage) -> bytes | None:
    if message.body_start >= message.body_end:
        return None
    # Most bodies are SDP alone; only others are worth reading the headers for.
    if message.raw.startswith(b"v=0", message.body_start):
        return message.body
    return message.sdp_body()


def _uri_text(value: str | None) -> str:
    """The URI of a From, To or Refer-To value as it stood on the wire."""
    if not value:
        return ""
    if '"' not in value:
        opening = value.find("<")
        closing = value.find(">", opening)
        if 0 <= opening < closing:
            return value[opening + 1 : closing].strip()
    return parse_name_addr(value)[0].uri.text


def _parameter(value: str, name: str) -> str:
    for part in value.split(";"):
        key, _, content = part.partition("=")
        if key.strip().lower() == name:
            return unquote_string(content.strip())
    return ""
