"""All SIP of a capture: plain calls go through the kernel, everything else to the assembler.

Each Call-ID has one owner at a time. The kernel owns a call until it does anything unusual; then the assembler is told
from the journal all that was said, in the order of the capture. Whenever somebody asks where media goes, the book is
told what the kernel's calls said of it (`plain_media`).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from collector.call_list import CallList
from collector.calls import CallAssembler, CallLimits
from collector.capture import columns as c
from collector.device_statistics import DeviceStatisticsBook
from collector.dialogs import LegRecord, Surroundings
from collector.facts import Call, Endpoint, SipTotals
from collector.legs import call_of
from collector.media.book import MediaBook
from collector.media.findings import Heard
from collector.negotiation import FormatTable
from collector.outcome import leg_of
from collector.plain_calls import Entry, PlainCalls, PlainLimits
from collector.plain_calls_numba_fns import (
    LEAVING,
    STOP_TEXT,
    STOP_UNINDEXED,
    VERDICT,
    VERDICT_BEGUN,
    VERDICT_CALL,
    VERDICT_COLUMNS,
)
from collector.plain_media import PlainMedia
from collector.protocols.sip import BatchIndex, SipError, SipMessage, messages_at
from collector.transactions import TIMER_B

Octets = NDArray[np.uint8]
Integers = NDArray[np.int64]
EndpointOf = Callable[[int, int, int], Endpoint]


class Questions:
    """What the kernel asks between messages of a batch: each to be answered by what was said before it."""

    def __init__(self, places: Sequence[int], asked: Integers, answer: Callable[[Integers], None]) -> None:
        """`places` holds how many messages of the batch come before each of what is `asked`, in their order."""
        self._places = places
        self._asked = asked
        self._next = 0
        self.answer = answer

    def before(self, number: int) -> Iterator[tuple[int, Integers]]:
        """What is asked before this message and was not given yet, with how many messages come before it."""
        while self._next < len(self._places) and self._places[self._next] <= number:
            self._next += 1
            yield self._places[self._next - 1], self._asked[self._next - 1]


class _Left(NamedTuple):
    """A message that the kernel did not take."""

    number: int
    message: SipMessage | SipError
    row: list[int]
    verdict: list[int]


def no_questions() -> Questions:
    """Nothing is asked."""
    return Questions((), np.zeros((0, c.PENDING_COLUMNS), np.int64), lambda _: None)


class Signalling:
    """Takes SIP in the order of the capture and gives calls."""

    def __init__(self, limits: CallLimits, book: MediaBook, endpoint: EndpointOf, plain: PlainLimits) -> None:
        self._limits = limits
        self._endpoint = endpoint
        self._book = book
        self._assembler = CallAssembler(limits, book)
        self._index = BatchIndex(c.PENDING_ROWS)
        self._verdicts = np.zeros((c.PENDING_ROWS, VERDICT_COLUMNS), np.int64)
        self.statistics = DeviceStatisticsBook(limits.max_reports) if limits.max_reports else None
        """What devices say of their calls, where somebody asks for it."""
        self._plain: PlainCalls | None = None
        self._until: int | None = None
        """How many messages of the journal the book may be told; None for all."""
        self._leaving: set[int] = set()
        """Rows of calls that the kernel has left, of which the assembler is going to be told."""
        self._media = PlainMedia(book, limits.max_media)
        if min(plain.calls, limits.max_calls) > 0:
            self._plain = PlainCalls(plain._replace(calls=min(plain.calls, limits.max_calls)), limits.max_media)
            # Without a reference back: an engine that is dropped closes its files at once.
            itself = weakref.proxy(self)
            book.before_lookup = lambda: itself.announce()

    # --- messages ---------------------------------------------------------------------------------------------

    def take_packets(self, window: Octets, packets: Integers, questions: Questions | None = None) -> None:
        """Take datagrams that lie in a window, rows of `capture.columns`, and answer what is asked between them."""
        questions = questions or no_questions()
        if not len(packets):
            self._answer(questions, 0)
            return
        offsets, lengths, index = self._index.index(window, packets[:, c.PAYLOAD], packets[:, c.PAYLOAD_CAPTURED])
        if self.statistics is not None:
            self.statistics.take_packets(window, packets, offsets, lengths, index, self._endpoint)

        def messages(chosen: Integers) -> list[SipMessage | SipError]:
            return messages_at(window, offsets[chosen], lengths[chosen], index[chosen])

        verdicts = self._verdicts
        number = 0
        while number < len(packets) and self._plain is not None:
            known, entered = self._plain.used, self._plain.entered
            stop = self._plain.follow(window, packets, index, number, verdicts)
            left = number + np.flatnonzero(verdicts[number:stop, VERDICT])
            if len(left):
                columns = left.tolist(), messages(left), packets[left].tolist(), verdicts[left].tolist()
                self._take_left(
                    self._plain, [_Left(*each) for each in zip(*columns, strict=True)], questions, entered - number
                )
            self._answer(questions, stop, entered - number - len(left))
            self._assembler.last_begun = self._plain.last_begun
            self._yield_others(self._plain, known)
            number = stop
            if number < len(packets):
                if self._plain.stopped_by == STOP_UNINDEXED:
                    one = np.array([number])
                    self._take_all(messages(one), packets[one].tolist(), number, questions)
                    number += 1
                elif self._plain.stopped_by != STOP_TEXT or not self._plain.pack():
                    self.settle()
        if number < len(packets):
            rest = np.arange(number, len(packets))
            self._take_all(messages(rest), packets[rest].tolist(), number, questions)
        self._answer(questions, len(packets))

    def _answer(self, questions: Questions, number: int, shift: int | None = None) -> None:
        """Answer what was asked before this message; as many messages as came before it and `shift` more were heard."""
        for place, question in questions.before(number):
            self._until = None if shift is None else place + shift
            questions.answer(question)
        self._until = None

    def _take_left(self, plain: PlainCalls, left: Sequence[_Left], questions: Questions, shift: int) -> None:
        """Messages that the kernel did not take."""
        assembler = self._assembler
        self._leaving = {each.verdict[VERDICT_CALL] for each in left if each.verdict[VERDICT] == LEAVING}
        for passed, (number, message, row, verdict) in enumerate(left):
            self._answer(questions, number, shift - passed)
            if verdict[VERDICT] == LEAVING:
                self._leaving.discard(verdict[VERDICT_CALL])
                self._media.forget(verdict[VERDICT_CALL])
                self._tell(plain.entries([verdict[VERDICT_CALL]])[0])
            assembler.last_begun = verdict[VERDICT_BEGUN]
            self._take(message, row)

    def _take_all(
        self, messages: Sequence[SipMessage | SipError], rows: list[list[int]], number: int, questions: Questions
    ) -> None:
        """Messages from this number on, none of which the kernel follows."""
        for place, (message, row) in enumerate(zip(messages, rows, strict=True), number):
            self._answer(questions, place)
            if isinstance(message, SipMessage):
                self._claim(message.call_id)
            self._take(message, row)
            self._note_begun()

    def _take(self, message: SipMessage | SipError, row: list[int]) -> None:
        if isinstance(message, SipError):
            self._assembler.feed_defect(message.defect)
            return
        src = self._endpoint(row[c.SRC_HI], row[c.SRC_LO], row[c.SPORT])
        dst = self._endpoint(row[c.DST_HI], row[c.DST_LO], row[c.DPORT])
        self._assembler.feed(message, row[c.PENDING_AT], src, dst, "udp")

    def feed(self, message: SipMessage, at: int, src: Endpoint, dst: Endpoint, transport: str) -> None:
        """Take a message that came in another way."""
        if self.statistics is not None:
            self.statistics.take(message, at, src)
        self._claim(message.call_id)
        self._assembler.feed(message, at, src, dst, transport)
        self._note_begun()

    def feed_defect(self, name: str) -> None:
        """Count a message that could not be parsed at all."""
        self._assembler.feed_defect(name)

    # --- who owns a call --------------------------------------------------------------------------------------

    def _claim(self, call_id: str) -> None:
        """From here on the assembler follows this Call-ID."""
        if self._plain is None:
            return
        if self._plain.used >= self._plain.limit:
            self.settle()
            return
        row = self._plain.row_of(call_id)
        if row is not None and self._plain.is_plain(row):
            self._yield(self._plain, row)

    def _yield(self, plain: PlainCalls, row: int) -> None:
        plain.leave(row)
        self._media.forget(row)
        self._tell(plain.entries([row])[0])
        self._assembler.last_begun = plain.last_begun

    def _yield_others(self, plain: PlainCalls, since: int) -> None:
        """A Call-ID that began with a registration or the like is the assembler's, whatever comes of it."""
        if not self._assembler.has_others:
            return
        rows = plain.plain_rows(since)
        for row, call_id in zip(rows.tolist(), plain.call_ids(rows), strict=True):
            if self._assembler.has_other(call_id):
                self._yield(plain, row)

    def _note_begun(self) -> None:
        if self._plain is not None:
            self._plain.last_begun = self._assembler.last_begun

    def _tell(self, entries: Iterable[Entry]) -> None:
        for message, at, src, dst, begun in entries:
            self._assembler.last_begun = begun
            self._assembler.feed(message, at, src, dst, "udp")

    def announce(self) -> None:
        """Tell the book what plain calls said of media; it is not told before somebody asks."""
        plain = self._plain
        if plain is None:
            return
        for row in self._media.catch_up(plain, self._until, self._leaving):
            if plain.is_plain(row):
                self._yield(plain, row)

    def settle(self) -> None:
        """Leave all calls to the assembler for good: a table is full."""
        plain, self._plain = self._plain, None
        self._book.before_lookup = None
        if plain is not None:
            self._media.forget_all()
            self._tell(plain.last_entries())
            self._assembler.put_in_order()
            self._assembler.last_begun = plain.last_begun

    # --- calls ------------------------------------------------------------------------------------------------

    def join_by_media(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Call-IDs that carry the same medium belong to one call."""
        for call_id in dict.fromkeys(chain.from_iterable(pairs)):
            self._claim(call_id)
        self._assembler.join_by_media(pairs)

    def note_heard(self, streams: Iterable[Heard]) -> None:
        """Of calls that were heard plainly from both sides nothing can be found; the others are the assembler's."""
        by_call: dict[str, list[Heard]] = {}
        for stream in streams:
            if stream.call_id is not None:
                by_call.setdefault(stream.call_id, []).append(stream)
        plain = self._plain
        if plain is None or not by_call:
            return
        self.announce()
        rows = plain.plain_rows()
        for row, call_id, answered in zip(rows.tolist(), plain.call_ids(rows), plain.answers(rows), strict=True):
            if answered and not self._media.is_two_way(row, by_call.get(call_id, ()), answered):
                self._yield(plain, row)

    def ended(self) -> list[Call]:
        """Calls that ended since the last question."""
        return self._assembler.ended()

    def finish(self, now: int) -> tuple[Sequence[Call], SipTotals]:
        """All calls in the order of their beginning, and the totals; `now` is the time of the last packet [ns]."""
        plain = self._plain
        self._book.before_lookup = None  # all was asked, and streams are described after this is gone
        if plain is None:
            return self._assembler.finish(now)
        for call_id in self._assembler.joined_call_ids():
            self._claim(call_id)
        for row in plain.unacknowledged().tolist():
            self._yield(plain, row)
        rows = plain.plain_rows()
        if not len(rows):
            return self._assembler.finish(now)
        outcomes = plain.outcomes(rows, now)
        made, totals = self._assembler.finish(now, plain.totals(rows, outcomes))
        limits = self._limits
        surroundings = Surroundings(MediaBook(), FormatTable(), limits.max_media, limits.max_forks, limits.max_steps)

        def make(numbers: Sequence[int]) -> list[Call]:
            return [call_of_entries(each, surroundings, now) for each in plain.entries(rows[list(numbers)].tolist())]

        return CallList(made, outcomes, plain.call_ids(rows), make), totals


def call_of_entries(
    entries: Sequence[Entry], surroundings: Surroundings, now: int, transport: str = "udp", closing: bool = True
) -> Call:  # fmt: skip
    """The facts of a call of one leg from all that it said; `closing` ends its media with its last message."""
    first = entries[0]
    leg = LegRecord(first.message.call_id, surroundings, first.src, first.dst, transport)
    for message, at, src, dst, begun in entries:
        if leg.ended is not None and begun - leg.ended > TIMER_B:
            leg.forget_transactions()
        leg.feed(message, at, src, dst, transport)
    if closing:
        leg.close_media(leg.last)
    return call_of([leg_of(leg, now)], ())
