"""Calls of traffic that never ends: told as they end and then forgotten, in memory that does not grow.

The assembler of captures keeps every call up to its end; here a call leaves as soon as it was told and no copy of its
last messages is to be expected. Times of messages are the senders' and may be hours off, so how long ago something was
heard is measured by the receiver's clock alone.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from itertools import takewhile

from collector.calls import CallAssembler, CallLimits
from collector.dialogs import LegRecord
from collector.facts import Call, Endpoint
from collector.legs import call_of
from collector.media.book import MediaBook
from collector.outcome import leg_of
from collector.protocols.sip import SipMessage
from collector.transactions import TIMER_B

IDLE = 4 * 3_600_000_000_000
"""An answered call of which nothing was heard for so long is told as it stands [ns]: its BYE was lost."""
UNANSWERED_IDLE = 300_000_000_000
"""The same for what was not answered [ns]: Timer C (RFC 3261 16.6) and then some."""
LOOK = 30_000_000_000
"""How often silent calls are looked for [ns]."""


class ReceivedCalls(CallAssembler):
    """Takes SIP messages as they arrive and gives calls soon after they end."""

    def __init__(self, limits: CallLimits = CallLimits(), idle: int = IDLE) -> None:  # noqa: B008  # immutable
        super().__init__(limits, MediaBook(2 * limits.max_calls))
        self._idle = idle
        self._heard: OrderedDict[str, int] = OrderedDict()
        """When each Call-ID was last heard of [ns], the longest silent first."""
        self._pushed_out: deque[Call] = deque()
        self._gone: set[str] = set()
        """Call-IDs of calls that were forgotten, and what they announced not yet."""
        self._looked = 0
        self.told = 0
        """Calls told."""

    @property
    def open_legs(self) -> int:
        """Call-IDs of calls that are remembered."""
        return len(self._legs)

    @property
    def crowded(self) -> bool:
        """Whether calls that a full table pushed out wait to be fetched: half of what may wait."""
        return len(self._pushed_out) >= self._limits.max_calls // 2

    @property
    def unlisted(self) -> int:
        """Calls and other Call-IDs that were pushed out of full tables and told nobody."""
        return self._unlisted

    def take(
        self, message: SipMessage, at: int, src: Endpoint, dst: Endpoint, transport: str, arrived: int
    ) -> None:  # fmt: skip
        """Take the next message, sent at `at` by its sender's clock, `arrived` by ours [ns since the epoch]."""
        self.feed(message, at, src, dst, transport)
        heard, call_id = self._heard, message.call_id
        if call_id in self._legs or call_id in self._others or call_id in self._later:
            heard[call_id] = arrived
            heard.move_to_end(call_id)
            if len(heard) > 2 * (self._limits.max_calls + self._limits.max_other_call_ids):
                heard.popitem(last=False)

    def harvest(self, now: int) -> Sequence[Call]:
        """Calls that ended and were silent for the grace time, and those silent for too long; `now` by our clock."""
        found = list(self._pushed_out)
        self._pushed_out.clear()
        for key in list(self._ended):
            leg = self._legs.get(key)
            if leg is None:
                continue
            silent = now - self._heard.get(leg.call_id, 0)
            if not leg.reported and silent >= self._limits.grace:
                self._tell(leg, found, now)
            if leg.reported and silent >= TIMER_B:
                self._drop(leg)
        self._drop_silent(found, now)
        self.told += len(found)
        return found

    def _tell(self, leg: LegRecord, found: list[Call], now: int) -> None:
        members = self._members(leg)
        if any(member.ended is None for member in members):
            return
        if any(now - self._heard.get(member.call_id, 0) < self._limits.grace for member in members):
            return
        for member in members:
            member.reported = True
        found.append(self._call(members))

    def _drop_silent(self, found: list[Call], now: int) -> None:
        """Forget what was silent for too long, and tell the calls among it."""
        if now - self._looked < LOOK:
            return
        self._looked = now
        self.book.forget_calls(self._gone)
        self._gone.clear()
        silent = [
            (call_id, now - at) for call_id, at in takewhile(lambda item: now - item[1] >= LOOK, self._heard.items())
        ]
        for call_id, since in silent:
            leg = self._legs.get(self._later.get(call_id, call_id))
            answered = leg is not None and leg.answered is not None
            if since < (self._idle if answered else min(self._idle, UNANSWERED_IDLE)):
                continue
            self._heard.pop(call_id, None)
            other = self._others.pop(call_id, None)
            if other is not None:
                self._settle_other(other)
            if leg is not None:
                if not leg.reported:
                    found.append(self._as_it_stands(leg))
                self._drop(leg)

    def _as_it_stands(self, leg: LegRecord) -> Call:
        """The call of one leg, by the time at which its timers have run out."""
        records = [record for record in self._members(leg) if not record.reported]
        for record in records:
            record.reported = True
            record.close_media(record.last)
        until = max(record.last for record in records) + self._idle
        return call_of([leg_of(record, until) for record in records], self._groups.joined_by(leg.key))

    def _drop(self, leg: LegRecord) -> None:
        """Forget a leg that was told."""
        key = leg.key
        self._legs.pop(key, None)
        self._ended.pop(key, None)
        if self._later.get(leg.call_id, leg.call_id) == key:
            self._later.pop(leg.call_id, None)
            self._heard.pop(leg.call_id, None)
            leg.close_media(leg.last)
            if leg.negotiation is not None:
                leg.negotiation.end(leg.last)
            self._gone.add(leg.call_id)
        self._groups.forget(key, leg.joins)

    def _follow_end(self, leg: LegRecord) -> None:
        """Legs are forgotten as a whole soon after: no list of those whose transactions are to be forgotten before."""
        if leg.ended is None:
            self._ended.pop(leg.key, None)
        else:
            self._ended[leg.key] = None
            self._ended.move_to_end(leg.key)

    def _evict(self) -> None:
        """The table is full: the leg that ended first, or the oldest, is told now; past a full table of those, not."""
        key = next(iter(self._ended if self._ended else self._legs))
        leg = self._legs[key]
        if not leg.reported:
            if len(self._pushed_out) < self._limits.max_calls:
                self._pushed_out.append(self._as_it_stands(leg))
            else:
                self._unlisted += 1
        self._drop(leg)

    def rest(self) -> Sequence[Call]:
        """All calls that were not told, as they stand: the collector stops."""
        found = list(self._pushed_out)
        self._pushed_out.clear()
        for leg in list(self._legs.values()):
            if leg.reported:
                continue
            members = [member for member in self._members(leg) if not member.reported]
            for member in members:
                member.reported = True
                member.close_media(member.last)
            found.append(self._call(members))
        self.told += len(found)
        return found
