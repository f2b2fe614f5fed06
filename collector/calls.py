"""The assembler: from the SIP messages of a capture to calls.

One record for each Call-ID (`dialogs`), joined into calls (`legs`), counted for the whole capture (`metrics`). Every
table has a size: past it the oldest record is settled into the totals and its Call-ID counted as unlisted.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from collector.dialogs import CHALLENGES, DIALOG_METHODS, LegRecord, Surroundings
from collector.facts import Call, Endpoint, Leg, SipTotals
from collector.legs import LegGroups, call_of
from collector.media.book import MediaBook
from collector.metrics import PlainOutcomes, Registration, Tally
from collector.negotiation import FormatTable
from collector.outcome import leg_of
from collector.protocols.sip import SipMessage
from collector.transactions import TIMER_B, Heard, Seen, heard_before, nothing_seen

_NAMES_LIMIT = 256
"""Distinct methods, responses and defects that are counted by name; the rest is counted as `other`."""
_LONG_MESSAGE = 4096
_LONG_IDENTIFIER = 1024


@dataclass(frozen=True, slots=True)
class CallLimits:
    """Sizes of the tables."""

    max_calls: int = 100_000
    """Call-IDs with a call that are kept."""
    max_other_call_ids: int = 50_000
    """Call-IDs of registrations, subscriptions and the like that are remembered."""
    max_legs: int = 64
    """Legs of one call."""
    max_media: int = 64
    """Announcements and spans of one leg."""
    max_forks: int = 32
    """Forks, dialogs and joining values of one leg."""
    max_steps: int = 0
    """Messages of one leg that its ladder keeps; 0: no ladder is kept."""
    max_reports: int = 0
    """Statistics of devices that wait to be fetched; 0: none are kept."""
    grace: int = 5_000_000_000
    """How long after its last leg ended a call is reported while the capture goes on [ns]."""


class PlainTotals(NamedTuple):
    """What calls that were followed elsewhere add to the totals."""

    messages: int
    retransmissions: int
    call_ids: int
    methods: Mapping[str, int]
    responses: Mapping[int, int]
    transactions: Mapping[str, int]
    outcomes: PlainOutcomes


class _Other:
    """A Call-ID without a call: registrations, subscriptions, pings, messages."""

    __slots__ = ("asked_again", "cseq", "registering_since", "seen", "status", "status_at")

    def __init__(self) -> None:
        self.seen: Seen = nothing_seen()
        self.registering_since: int | None = None
        self.cseq = -1
        self.status: int | None = None
        self.status_at = 0
        self.asked_again = False

    def register(self, message: SipMessage, at: int) -> Registration | None:
        """A REGISTER; gives the attempt before it when this one begins anew."""
        if message.cseq == self.cseq and self.registering_since is not None:
            return None
        settled = None
        prompt = self.status in CHALLENGES and at - self.status_at <= TIMER_B
        if prompt and self.registering_since is not None:
            self.status = None
        else:
            settled = self.settle()
            self.registering_since = at
        self.cseq = message.cseq
        return settled

    def answer(self, message: SipMessage, at: int) -> None:
        """A response to REGISTER."""
        if message.status >= 200 and message.cseq == self.cseq and self.registering_since is not None:
            self.status, self.status_at = message.status, at

    def settle(self) -> Registration | None:
        """The attempt as it stands, and none after it."""
        since, self.registering_since = self.registering_since, None
        if since is None:
            return None
        status, self.status = self.status, None
        return Registration(status, None if status is None else (self.status_at - since) / 1e6)


class CallAssembler:
    """Takes SIP messages in the order of the capture and gives calls."""

    def __init__(self, limits: CallLimits = CallLimits(), book: MediaBook | None = None) -> None:
        self._limits = limits
        self._book = book if book is not None else MediaBook()
        self._surroundings = Surroundings(
            self._book, FormatTable(), limits.max_media, limits.max_forks, limits.max_steps
        )
        self._legs: OrderedDict[str, LegRecord] = OrderedDict()
        self._later: dict[str, str] = {}
        """Keys of legs that use the Call-ID of a call that had ended, by Call-ID."""
        self._attempts = 0
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._cooling: deque[LegRecord] = deque()
        self._to_report: deque[LegRecord] | None = None
        self._groups = LegGroups(limits.max_legs)
        self._others: OrderedDict[str, _Other] = OrderedDict()
        self._tally = Tally()
        self._unlisted = 0
        self._now = 0
        self.last_begun = 0
        """When the latest leg began [ns]; of legs that ended long before, transactions are forgotten."""
        self._messages = self._retransmissions = self._copies = self._call_ids = 0
        self._methods: Counter[str] = Counter()
        self._responses: Counter[int] = Counter()
        self._transactions: Counter[str] = Counter()
        self._defects: Counter[str] = Counter()

    @property
    def book(self) -> MediaBook:
        """What the calls announced, for the streams."""
        return self._book

    def feed(self, message: SipMessage, at: int, src: Endpoint, dst: Endpoint, transport: str) -> None:
        """Take the next message, `at` in ns since the epoch."""
        self._now = max(self._now, at)
        if len(message.raw) > _LONG_MESSAGE and _is_overlong(message):
            # Tables would keep identifiers of any length; no device needs such.
            _count(self._defects, "identifier_too_long")
            self._count_heard(Heard.FURTHER_ON, message)
            return
        call_id = message.call_id
        leg = self._legs.get(self._later.get(call_id, call_id))
        if leg is not None and leg.ended is not None and leg.is_over_for(message, at):
            leg = self._begin_again(leg, src, dst, transport)
        elif leg is None:
            if (message.method or message.cseq_method) not in DIALOG_METHODS or not call_id:
                self._feed_other(message, at, src)
                return
            leg = self._begin(message, at, src, dst, transport)
        if leg.ended is not None and self.last_begun - leg.ended > TIMER_B:
            leg.forget_transactions()
        ended, joins = leg.ended, leg.joins
        heard = leg.feed(message, at, src, dst, transport)
        self._count_heard(heard, message)
        if leg.joins is not joins:
            for kind, value in leg.joins[len(joins) :]:
                self._groups.note(leg.key, kind, value)
        if leg.ended is not ended:
            self._follow_end(leg)

    def feed_defect(self, name: str) -> None:
        """Count a message that could not be parsed at all."""
        _count(self._defects, name)

    def _count_heard(self, heard: Heard, message: SipMessage) -> None:
        self._messages += 1
        if heard is Heard.COPY:
            self._copies += 1
        method = message.method
        if method:
            _count(self._methods, method)
        else:
            self._responses[message.status] += 1
        for name in message.defects:
            _count(self._defects, name)
        if heard is Heard.AGAIN:
            self._retransmissions += 1
        elif heard is Heard.FIRST and method and method not in ("INVITE", "ACK"):
            _count(self._transactions, method)

    def _begin(self, message: SipMessage, at: int, src: Endpoint, dst: Endpoint, transport: str) -> LegRecord:
        call_id = message.call_id
        if call_id in self._others:
            self._settle_other(self._others.pop(call_id))
        else:
            self._call_ids += 1
        if len(self._legs) >= self._limits.max_calls:
            self._evict()
        leg = self._legs[call_id] = LegRecord(call_id, self._surroundings, src, dst, transport)
        self.last_begun = max(self.last_begun, at)
        cooling = self._cooling
        while cooling and (cooling[0].ended is None or at - cooling[0].ended > TIMER_B):
            over = cooling.popleft()
            if over.ended is not None:
                over.forget_transactions()
        return leg

    def _begin_again(self, over: LegRecord, src: Endpoint, dst: Endpoint, transport: str) -> LegRecord:
        """The next attempt under the Call-ID of a leg that is over: a leg, and a call, of its own."""
        over.close_media(over.last)
        over.forget_transactions()
        if len(self._legs) >= self._limits.max_calls:
            self._evict()
        leg = LegRecord(over.call_id, self._surroundings, src, dst, transport)
        self._attempts += 1
        # No Call-ID has a line end in it.
        leg.key = self._later[over.call_id] = f"{over.call_id}\n{self._attempts}"
        self._legs[leg.key] = leg
        return leg

    def _follow_end(self, leg: LegRecord) -> None:
        if leg.ended is None:
            self._ended.pop(leg.key, None)
            return
        self._ended[leg.key] = None
        self._ended.move_to_end(leg.key)
        if len(self._cooling) < 2 * self._limits.max_calls:
            self._cooling.append(leg)
        if self._to_report is not None and len(self._to_report) < 2 * self._limits.max_calls:
            self._to_report.append(leg)

    def _feed_other(self, message: SipMessage, at: int, src: Endpoint) -> None:
        call_id = message.call_id
        other = self._others.get(call_id)
        if other is None:
            self._call_ids += 1
            if len(self._others) >= self._limits.max_other_call_ids:
                self._settle_other(self._others.popitem(last=False)[1])
                self._unlisted += 1
            other = self._others[call_id] = _Other()
        heard = heard_before(other.seen, message, at, src)
        self._count_heard(heard, message)
        if heard is not Heard.FIRST:
            return
        if message.method == "REGISTER":
            settled = other.register(message, at)
            if settled is not None:
                self._tally.add_registration(settled)
        elif not message.method and message.cseq_method == "REGISTER":
            other.answer(message, at)

    def _settle_other(self, other: _Other) -> None:
        settled = other.settle()
        if settled is not None:
            self._tally.add_registration(settled)

    def put_in_order(self) -> None:
        """Order legs by their beginning and their end, as if none had been told late."""
        legs = sorted(self._legs.items(), key=lambda item: item[1].start)
        self._legs = OrderedDict(legs)
        ended = [leg for _, leg in legs if leg.ended is not None and leg.key in self._ended]
        self._ended = OrderedDict.fromkeys(leg.key for leg in sorted(ended, key=lambda leg: leg.ended or 0))

    def _evict(self) -> None:
        """Make room: the oldest leg that ended, or the oldest of all, stays in the totals alone."""
        key = next(iter(self._ended if self._ended else self._legs))
        leg = self._legs.pop(key)
        self._ended.pop(key, None)
        self._tally.add_call(call_of([leg_of(leg, self._now)], ()), _disconnect_delay(leg))
        latest = self._later.get(leg.call_id, leg.call_id) == key
        if latest:
            self._later.pop(leg.call_id, None)
        if latest and leg.negotiation is not None:
            leg.negotiation.end(leg.last)
        self._groups.forget(key, leg.joins)
        self._unlisted += 1

    def join_by_media(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Call-IDs that carry the same medium belong to one call: a back-to-back user agent handed it through."""
        for one, other in pairs:
            if one in self._legs and other in self._legs:
                self._groups.join(one, other, "media")

    def ended(self) -> list[Call]:
        """Calls all of whose legs ended since the last question, and longer ago than the grace time."""
        if self._to_report is None:
            self._to_report = deque(self._legs[key] for key in self._ended)
        calls: list[Call] = []
        while self._to_report:
            leg = self._to_report[0]
            if leg.ended is not None and leg.ended + self._limits.grace > self._now:
                break
            self._to_report.popleft()
            if leg.reported or leg.ended is None or self._legs.get(leg.key) is not leg:
                continue
            legs = self._members(leg)
            if all(member.ended is not None for member in legs):
                for member in legs:
                    member.reported = True
                calls.append(self._call(legs))
        return calls

    def _members(self, leg: LegRecord) -> list[LegRecord]:
        return [self._legs[key] for key in self._groups.members(leg.key) if key in self._legs]

    def _call(self, records: list[LegRecord]) -> Call:
        legs: list[Leg] = [leg_of(record, self._now) for record in records]
        return call_of(legs, self._groups.joined_by(records[0].key))

    def joined_call_ids(self) -> list[str]:
        """Call-IDs that belong together with others."""
        return list(dict.fromkeys(key.partition("\n")[0] for key in self._groups.call_ids()))

    def has_other(self, call_id: str) -> bool:
        """Whether a Call-ID is known that so far has no call."""
        return call_id in self._others

    @property
    def has_others(self) -> bool:
        """Whether there are Call-IDs without a call."""
        return bool(self._others)

    def finish(self, now: int, plain: PlainTotals | None = None) -> tuple[tuple[Call, ...], SipTotals]:
        """All calls in the order of their beginning, and the totals; `now` is the time of the last packet [ns].

        `plain`: calls that were followed elsewhere, which only the totals hold. To be called once, at the end.
        """
        self._now = max(self._now, now)
        placed: set[str] = set()
        calls: list[Call] = []
        for key, leg in self._legs.items():
            if key in placed:
                continue
            records = self._members(leg)
            placed.update(record.key for record in records)
            for record in records:
                record.close_media(record.last)
            call = self._call(records)
            calls.append(call)
            primary = min(records, key=lambda record: (record.invites == 0, record.start, record.call_id))
            self._tally.add_call(call, _disconnect_delay(primary))
        for other in self._others.values():
            self._settle_other(other)
        calls.sort(key=lambda call: (call.start, call.call_id))
        if plain is not None:
            self._add_plain(plain)
        return tuple(calls), self._totals()

    def _add_plain(self, plain: PlainTotals) -> None:
        self._messages += plain.messages
        self._retransmissions += plain.retransmissions
        self._call_ids += plain.call_ids
        self._methods.update(plain.methods)
        self._responses.update(plain.responses)
        self._transactions.update(plain.transactions)
        self._tally.add_plain(plain.outcomes)

    def _totals(self) -> SipTotals:
        return SipTotals(
            messages=self._messages,
            retransmissions=self._retransmissions,
            call_ids=self._call_ids,
            methods=dict(sorted(self._methods.items())),
            responses={str(status): self._responses[status] for status in sorted(self._responses)},
            transactions=dict(sorted(self._transactions.items())),
            defects=dict(sorted(self._defects.items())),
            metrics=self._tally.metrics(),
            unlisted=self._unlisted,
            copies=self._copies,
        )


def _count(counter: Counter[str], name: str) -> None:
    """Count by a name that the capture chose: a hostile one invents names without end."""
    if name not in counter and len(counter) >= _NAMES_LIMIT:
        name = "other"
    counter[name] += 1


def _is_overlong(message: SipMessage) -> bool:
    identifiers = (message.call_id, message.from_tag, message.to_tag, message.branch, message.method)
    return any(len(identifier) > _LONG_IDENTIFIER for identifier in identifiers)


def _disconnect_delay(leg: LegRecord) -> float | None:
    if leg.bye_at is None or leg.bye_confirmed is None:
        return None
    return (leg.bye_confirmed - leg.bye_at) / 1e6
