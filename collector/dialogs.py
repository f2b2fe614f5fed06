"""One Call-ID: its transactions and dialogs (RFC 3261 12, 13, 17), from messages to the facts of one leg.

`LegRecord` takes each message of a Call-ID as it comes and keeps what an outcome needs (`outcome`); what was announced
in SDP it hands to `negotiation`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote

from collector.facts import Endpoint, Reason
from collector.joining import NO_SESSION, joins_of, session_joins
from collector.ladder import Ladder
from collector.media.book import MediaBook
from collector.negotiation import CALLEE, CALLER, FormatTable, Negotiation, Party
from collector.protocols.sip import SipMessage
from collector.protocols.sip_values import parse_name_addr
from collector.transactions import TIMER_B, Heard, Seen, has_other_branches, heard_before, nothing_seen, seen_key

DIALOG_METHODS = frozenset({"INVITE", "ACK", "BYE", "CANCEL", "PRACK", "UPDATE"})
"""Methods that only a call has; all others may stand alone."""
CHALLENGES = frozenset({401, 407, 422, 423, 494})
"""Final responses that ask for the same request once more: credentials, a longer interval, security agreement."""

TEXT_LIMIT = 1024
"""Characters kept of a URI, a phrase or a joining value."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all records of a capture share."""

    book: MediaBook
    formats: FormatTable
    media_limit: int
    forks_limit: int
    steps_limit: int = 0
    """Messages of a leg that its ladder keeps; 0: none."""


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
        "forks",
        "from_uri",
        "hung_up_by",
        "in_middle",
        "invite_cseq",
        "invites",
        "joins",
        "key",
        "ladder",
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
        "stray_byes",
        "surroundings",
        "to_uri",
        "transfer_refused",
        "transferred_to",
        "transport",
        "tried_at",
    )

    def __init__(self, call_id: str, surroundings: Surroundings, src: Endpoint, dst: Endpoint, transport: str) -> None:
        self.call_id = self.key = call_id
        """What tables know the leg by: its Call-ID, but for a later attempt that uses it again."""
        self.surroundings = surroundings
        self.src = src
        self.dst = dst
        self.transport = transport
        self.from_uri = self.to_uri = self.request_uri = ""
        self.start = self.last = 0
        self.tried_at = 0
        """When the caller's latest INVITE was first sent."""
        self.caller_tags: tuple[str, ...] = ()
        self.callee_tags: tuple[str, ...] = ()
        self.open_dialogs: tuple[str, ...] = ()
        """To tags of answered dialogs that no BYE has ended."""
        self.invite_cseq = -1
        """CSeq of the latest INVITE outside a dialog; -1 while none was seen."""
        self.first_branch = ""
        self.invites = 0
        self.forks = 0
        """Distinct To tags that answered the latest INVITE of the caller."""
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
        self.stray_byes = 0
        """BYEs that matched no dialog of this leg."""
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
        self.seen: Seen | None = nothing_seen()
        self.reported = False
        self.ladder = Ladder(surroundings.steps_limit) if surroundings.steps_limit else None

    def feed(self, message: SipMessage, at: int, src: Endpoint, dst: Endpoint, transport: str) -> Heard:
        """Take the next message of this Call-ID, `at` in ns."""
        if self.seen is None:
            # Long over: what still comes repeats what was heard.
            self.messages += 1
            self.retransmissions += 1
            return Heard.AGAIN
        if not self.start:
            self.start = at
        self.last = max(self.last, at)
        heard = heard_before(self.seen, message, at, src)
        if heard is Heard.COPY:
            self.copies += 1
            return heard
        if self.ladder is not None:
            self.ladder.add(heard, message, at, src, dst)
        self.messages += 1
        for name in message.defects:
            self._count_defect(name)
        if heard is Heard.FIRST:
            handler = (_REQUESTS if message.method else _RESPONSES).get(message.method or message.cseq_method)
            if handler is not None:
                handler(self, message, at, src, dst)
        elif heard is Heard.AGAIN:
            self.retransmissions += 1
        else:
            self.copies += 1
            if message.body_start < message.body_end and (message.method in _OFFERING or 100 < message.status < 300):
                self._hear_further_on(message, at, src, dst)
        return heard

    def is_over_for(self, message: SipMessage, at: int) -> bool:
        """Whether this begins another attempt under a Call-ID whose call has ended.

        Call-IDs should be unique (RFC 3261 8.1.1.4), but devices exist that have one for all their calls. After a BYE
        no INVITE outside a dialog can belong to the call. An attempt that failed may go on elsewhere, behind a
        back-to-back user agent that keeps the Call-ID, for as long as an INVITE waits for a response.
        """
        if self.ended is None or at < self.ended or message.method != "INVITE" or message.to_tag:
            return False
        if message.from_tag in self.caller_tags:
            renewed = message.from_tag == self.caller_tags[0] and message.cseq > self.invite_cseq
            return renewed and self.bye_at is not None and self.answered is not None
        return self.bye_at is not None or at - self.ended > TIMER_B

    # Requests

    def _invite(self, message: SipMessage, at: int, src: Endpoint, dst: Endpoint) -> None:
        if message.to_tag:
            self._invite_again(message, at, src, dst)
            return
        if not self.invites:
            self._begin(message, src, dst)
            self._try(message, at, renewed=self.invite_cseq < message.cseq)
        elif message.from_tag not in self.caller_tags:
            # A back-to-back user agent that keeps the Call-ID: the same attempt seen behind it.
            self.caller_tags = (*self.caller_tags, message.from_tag)[: self.surroundings.forks_limit]
        elif message.from_tag == self.caller_tags[0] and message.cseq > self.invite_cseq and self.answered is None:
            self._try(message, at, renewed=True)
        self._note_session(message)
        body = _sdp_of(message)
        if body is not None:
            self._describe(Party(CALLER, "", _hop(src, dst)), body, at)

    def _try(self, message: SipMessage, at: int, renewed: bool) -> None:
        """An INVITE of the caller; `renewed` when nothing of its own outcome was heard yet."""
        self.tried_at = at
        self.invite_cseq = message.cseq
        self.first_branch = message.branch
        self.invites += 1
        self.in_middle = False
        self.request_uri = message.request_uri[:TEXT_LIMIT]
        if renewed and self.bye_at is None:
            self.callee_tags = ()
            self.forks = 0
            self.status = self.provisional_at = self.final_at = self.ended = self.cancelled = None
            self.status_text = self.redirected_to = ""
            self.reason = None

    def _begin(self, message: SipMessage, src: Endpoint, dst: Endpoint) -> None:
        self.src, self.dst = src, dst
        self.from_uri = uri_text(message.header("from"))
        self.to_uri = uri_text(message.header("to"))
        self.caller_tags = (message.from_tag,)
        if not message.may_join:
            return
        replaces = message.header("replaces")
        if replaces:
            self.replaces = replaces.partition(";")[0].strip()[:TEXT_LIMIT]
            self._note_join("replaces", self.replaces)
        for kind, value in joins_of(message, self.surroundings.forks_limit):
            self._note_join(kind, value)

    def _note_join(self, kind: str, value: str) -> None:
        join = (kind, value[:TEXT_LIMIT])
        if value and join not in self.joins and len(self.joins) < self.surroundings.forks_limit:
            self.joins += (join,)

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
        if not self._has_dialog(*tags):
            self.stray_byes += bool(message.method)
            return
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
        if self.invite_cseq < 0 and not self.invites:
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
        target = uri_text(message.header("refer-to"))
        if not target:
            return
        uri, _, embedded = target.partition("?")
        self.transferred_to = uri
        self.transfer_refused = None
        for pair in embedded.split("&"):
            name, _, value = pair.partition("=")
            replaced = unquote(value).partition(";")[0].strip()
            if name.lower() == "replaces":
                self._note_join("replaces", replaced)

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
        if self._answers_no_invite(message, dst):
            self._count_defect("response_unmatched")
            return
        if self.invite_cseq < 0 and not self.invites:
            if self.caller_tags and message.from_tag not in self.caller_tags:
                return
            self._begin(message, dst, src)
            self.in_middle = True
            self.invite_cseq, self.first_branch = message.cseq, message.branch
        own = bool(self.caller_tags) and message.from_tag == self.caller_tags[0]
        if message.from_tag not in self.caller_tags or (own and message.cseq > self.invite_cseq):
            return
        status = message.status
        if status <= 100:
            self.provisional_at = at
            return
        self._note_callee(message, own)
        self._note_session(message)
        body = _sdp_of(message) if status < 300 else None
        decides = 200 <= status < 300 and self.answered is None
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
            if decides and self.negotiation is not None:
                self.negotiation.choose(message.to_tag, at)
        if decides and self.negotiation is not None:
            self.negotiation.remember_direction()

    def _answers_no_invite(self, message: SipMessage, dst: Endpoint) -> bool:
        """A response to the caller's own hop whose branch is that of none of the INVITEs sent there (RFC 3261 17.1.3).

        Of other hops the INVITE may be missing: who forks sends it by several ways, of which a tap sees one.
        """
        if not self.invites or dst != self.src or not message.branch or self.seen is None:
            return False
        invite = seen_key("INVITE", message.cseq, 0, message.from_tag, "")
        return has_other_branches(self.seen, invite, dst, message.branch)

    def _note_callee(self, message: SipMessage, own: bool) -> None:
        tag = message.to_tag
        known = self.callee_tags
        if tag and tag not in known and message.status not in CHALLENGES and len(known) < self.surroundings.forks_limit:
            self.callee_tags = (*known, tag)
            # Behind a back-to-back user agent that keeps the Call-ID the far dialog has tags of its own: no fork.
            self.forks += own

    def _answer(self, message: SipMessage, at: int) -> None:
        self.open_dialogs = (*self.open_dialogs, message.to_tag)[: self.surroundings.forks_limit]
        if self.answered is not None:
            return
        self.answered = self.final_at = at
        if message.status:
            self.status, self.status_text = message.status, message.reason_phrase[:TEXT_LIMIT]
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
        self.status, self.status_text = message.status, message.reason_phrase[:TEXT_LIMIT]
        # Whoever was challenged may take a minute to type a password: that is no end yet.
        self.ended = at if message.status not in CHALLENGES else None
        if message.status // 100 == 3:
            contacts = message.contacts
            self.redirected_to = contacts[0].uri.text[:TEXT_LIMIT] if contacts else ""
        if b"eason" in message.raw:
            self._note_reason(message)
        if self.negotiation is not None and message.status not in CHALLENGES:
            self.negotiation.end(at)

    def _answer_offer(self, message: SipMessage, at: int, src: Endpoint, dst: Endpoint) -> None:
        if self.negotiation is None or message.status < 200 or self.ended is not None:
            return
        key = (message.from_tag, message.cseq)
        if message.status >= 300:
            self.negotiation.refuse(key, at)
            return
        party = self._party(message.to_tag, message.from_tag, src, dst)
        self._count_defect(self.negotiation.accept(key, party, _sdp_of(message), at))

    def _bye_response(self, message: SipMessage, at: int, src: Endpoint, dst: Endpoint) -> None:
        if self.bye_at is None:
            # The BYE itself came before the capture or was lost by it.
            self._bye(message, at, dst, src)
            return
        confirms = message.status // 100 == 2 and self._has_dialog(message.from_tag, message.to_tag)
        if confirms and self.bye_confirmed is None:
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

    def _has_dialog(self, one: str, other: str) -> bool:
        """Both tags are those of a dialog, in either direction (RFC 3261 12.2.2)."""
        callers, callees = self.caller_tags, (*self.callee_tags, *self.open_dialogs)
        if (one in callers and other in callees) or (other in callers and one in callees):
            return True
        # An answer that the capture missed, or a fork past the limit, has a tag that nobody knows.
        incomplete = not self.open_dialogs or len(self.callee_tags) >= self.surroundings.forks_limit
        return incomplete and (one in callers or other in callers)

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
        self.from_uri = uri_text(message.header("from"))
        self.to_uri = uri_text(message.header("to"))
        self.request_uri = message.request_uri[:TEXT_LIMIT]

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
        if self.ended is None:
            self._count_defect(self._negotiate().describe(party, body, at, inside))

    def _offer(self, message: SipMessage, at: int, src: Endpoint, dst: Endpoint) -> None:
        if self.ended is None:
            party = self._party(message.from_tag, message.to_tag, src, dst)
            self._negotiate().offer((message.from_tag, message.cseq), party, _sdp_of(message), at)

    def _settle(self, at: int) -> None:
        if self.negotiation is not None and self.answered is not None:
            self.negotiation.settle(at)

    def _hear_further_on(self, message: SipMessage, at: int, src: Endpoint, dst: Endpoint) -> None:
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
        if self.session is None or (self.session[1] in NO_SESSION and callee not in NO_SESSION):
            self.session = (caller, callee)
        for kind, value in session_joins(caller, callee):
            self._note_join(kind, value)

    def _note_reason(self, message: SipMessage) -> None:
        if b"eason" not in message.raw:
            return
        reasons = message.reasons
        if reasons:
            reason = next((reason for reason in reasons if reason.protocol == "Q.850"), reasons[0])
            self.reason = reason._replace(protocol=reason.protocol[:TEXT_LIMIT], text=reason.text[:TEXT_LIMIT])

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


def _hop(src: Endpoint, dst: Endpoint) -> tuple[str, str]:
    return (src.ip, dst.ip) if src.ip <= dst.ip else (dst.ip, src.ip)


def _sdp_of(message: SipMessage) -> bytes | None:
    if message.body_start >= message.body_end:
        return None
    # Most bodies are SDP alone; only others are worth reading the headers for.
    if message.raw.startswith(b"v=0", message.body_start):
        return message.body
    return message.sdp_body()


def uri_text(value: str | None) -> str:
    """The URI of a From, To or Refer-To value as it stood on the wire."""
    if not value:
        return ""
    opening = value.rfind("<")
    closing = value.find(">", opening)
    if 0 <= opening < closing and '"' not in value[opening:]:
        return value[opening + 1 : closing].strip()[:TEXT_LIMIT]
    return parse_name_addr(value)[0].uri.text[:TEXT_LIMIT]
