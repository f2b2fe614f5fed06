"""Calls of a capture without end: those that are over are handed out once, and leave the tables later."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from collector.calls import CallAssembler, CallLimits
from collector.dialogs import LegRecord
from collector.facts import Call, CallState
from collector.legs import call_of
from collector.media.book import MediaBook
from collector.media.streams import StreamTable
from collector.outcome import TIMER_C, leg_of, state_of
from collector.plain_calls import PlainLimits
from collector.signalling import Signalling
from collector.transactions import TIMER_B

NS = 1_000_000_000
AFTER_BYE = 5 * NS
"""A call that a BYE ended is over after this [ns]: media drain, and the BYE of its next leg comes."""
AFTER_FAILURE = TIMER_B
"""An attempt that failed may go on elsewhere for as long as an INVITE waits [ns]."""
LEAVES_AFTER = TIMER_B + 5 * NS
"""Repeated messages still find the leg for as long after its end [ns]."""
ABANDONED = 3_600 * NS
"""A call of which no message was heard for so long, and no media, is over: its BYE was lost [ns]."""


class OverCall(NamedTuple):
    """The legs of a call that is over, and since when."""

    keys: tuple[str, ...]
    call_ids: tuple[str, ...]
    since: int
    """[ns]"""
    abandoned: bool


class LiveCalls(CallAssembler):
    """Takes SIP without end; nothing is kept of calls that were handed out."""

    @property
    def kept(self) -> int:
        """Legs in the tables, over or not."""
        return len(self._legs)

    @property
    def now_up(self) -> int:
        """Calls going on."""
        return len(self._legs) - len(self._ended)

    @property
    def evicted(self) -> int:
        """Call-IDs past the tables' size."""
        return self._unlisted

    @property
    def messages(self) -> int:
        """Messages of calls and other dialogs so far."""
        return self._messages

    def is_up(self, call_id: str, now: int) -> bool:
        """Whether the latest attempt under a Call-ID goes on or ended just now."""
        leg = self._legs.get(self._later.get(call_id, call_id))
        return leg is not None and not leg.reported and not self._is_over(leg, now)

    def is_kept(self, call_id: str) -> bool:
        """Whether a call with this Call-ID is still to be handed out."""
        leg = self._legs.get(self._later.get(call_id, call_id))
        return leg is not None and not leg.reported

    def over(self, now: int) -> Iterator[OverCall]:
        """Calls all of whose legs are over at `now` [ns] and that were not handed out."""
        placed: set[str] = set()
        for key, leg in self._legs.items():
            if leg.reported or key in placed or not self._is_over(leg, now):
                continue
            legs = self._members(leg)
            placed.update(each.key for each in legs)
            if all(self._is_over(each, now) for each in legs):
                since = max(each.last if each.ended is None else each.ended for each in legs)
                abandoned = any(each.ended is None for each in legs)
                call_ids = tuple(dict.fromkeys(each.call_id for each in legs))
                yield OverCall(tuple(each.key for each in legs), call_ids, since, abandoned)

    def _is_over(self, leg: LegRecord, now: int) -> bool:
        if leg.ended is not None:
            return now - leg.ended >= (AFTER_BYE if leg.bye_at is not None else AFTER_FAILURE)
        silent = now - leg.last
        if leg.answered is None and state_of(leg, now) is not CallState.IN_PROGRESS:
            return silent >= (TIMER_C if leg.status in (401, 407) else AFTER_FAILURE)
        return silent >= ABANDONED

    def endpoints(self, keys: tuple[str, ...]) -> Iterator[tuple[str, int]]:
        """Where the legs announced to receive media."""
        for key in keys:
            leg = self._legs.get(key)
            if leg is not None and leg.negotiation is not None:
                for media in leg.negotiation.media:
                    yield media.endpoint.ip, media.endpoint.port

    def hand_out(self, keys: tuple[str, ...], now: int) -> Call | None:
        """The call that legs make together, once; None when they are gone."""
        self._now = max(self._now, now)
        records = [self._legs[key] for key in keys if key in self._legs]
        if not records:
            return None
        for record in records:
            record.close_media(record.last)
            record.reported = True
        return self._call(records)

    def going_on(self) -> list[tuple[str, str]]:
        """Addresses of both sides of calls that go on: of the first leg of each."""
        up = (leg for key, leg in self._legs.items() if leg.ended is None and self._groups.members(key)[0] == key)
        return [(leg.src.ip, leg.dst.ip) for leg in up]

    def waiting(self) -> dict[str, list[tuple[str, ...]]]:
        """Keys of the legs of calls that were not handed out, by each of their Call-IDs."""
        found: dict[str, list[tuple[str, ...]]] = {}
        placed: set[str] = set()
        for key, leg in self._legs.items():
            if key in placed or leg.reported:
                continue
            legs = self._members(leg)
            keys = tuple(each.key for each in legs)
            placed.update(keys)
            for call_id in dict.fromkeys(each.call_id for each in legs):
                found.setdefault(call_id, []).append(keys)
        return found

    def hand_out_all(self, now: int) -> list[Call]:
        """All calls that were not handed out, over or not, in the order of their beginning."""
        found = []
        placed: set[str] = set()
        for key, leg in self._legs.items():
            if key in placed or leg.reported:
                continue
            keys = tuple(each.key for each in self._members(leg))
            placed.update(keys)
            call = self.hand_out(keys, now)
            if call is not None:
                found.append(call)
        return sorted(found, key=lambda call: (call.start, call.call_id))

    def _evict(self) -> None:
        """Make room: by a leg that was handed out, where there is one."""
        leg = self._legs[next(iter(self._ended))] if self._ended else None
        if leg is not None and leg.reported:
            self._let_go(leg)
        else:
            super()._evict()

    def let_go(self, now: int) -> list[str]:
        """Take legs that were handed out, and of which nothing is heard any more, out of the tables; their Call-IDs."""
        gone = []
        for leg in self._legs.values():
            if not leg.reported:
                continue
            if now - (leg.last if leg.ended is None else leg.ended) >= LEAVES_AFTER:
                gone.append(leg)
        for leg in gone:
            self._let_go(leg)
        return [leg.call_id for leg in gone]

    def _let_go(self, leg: LegRecord) -> None:
        del self._legs[leg.key]
        self._ended.pop(leg.key, None)
        self._tally.add_call(call_of([leg_of(leg, self._now)], ()), None)
        if self._later.get(leg.call_id, leg.call_id) == leg.key:
            self._later.pop(leg.call_id, None)
            if leg.negotiation is not None:
                leg.negotiation.end(leg.last)
        self._groups.forget(leg.key, leg.joins)


class LiveSignalling(Signalling):
    """All SIP of a capture without end: every call is followed message by message."""

    def __init__(self, limits: CallLimits, book: MediaBook, table: StreamTable) -> None:
        super().__init__(limits, book, table.endpoint, PlainLimits(calls=0))
        self.calls = LiveCalls(limits, book)
        self._assembler = self.calls
