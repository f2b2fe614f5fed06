"""SIP that arrives without end: plain calls stay in columns until they are told, everything else is the assembler's.

As in a capture (`signalling`) each Call-ID has one owner at a time. The tables of plain calls are emptied as they fill:
of calls that were told nothing is kept, of those that ended the longest silent are told at once, and of those that go
on they are left to the assembler.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from collector import plain_calls_numba_fns as k
from collector.calls import CallLimits
from collector.capture import columns as c
from collector.dialogs import Surroundings
from collector.facts import Call, Endpoint
from collector.media.book import MediaBook
from collector.media.streams import address
from collector.negotiation import FormatTable
from collector.plain_calls import Entry, PlainCalls, PlainLimits
from collector.plain_media import PlainMedia
from collector.protocols.hep import transport_name
from collector.protocols.sip import BatchIndex, SipError, SipMessage, messages_at
from collector.received_calls import IDLE, LOOK, UNANSWERED_IDLE, ReceivedCalls
from collector.received_list import PlainTold, ReceivedCallList
from collector.signalling import call_of_entries
from collector.transactions import TIMER_B

Octets = NDArray[np.uint8]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]

TEXT = 64 << 20
"""Octets of messages of plain calls that are kept as they are."""
FEW = 1_000
"""Calls, or entries of the journal, that are not worth tidying."""
ENTRIES_IN_COLUMNS = 16
"""Calls of more messages are made at once: a ladder has a limit that only it knows."""
ENDPOINTS = 50_000
_AT_ONCE = 256


class Indexed(NamedTuple):
    """A message that was not plain, and its row of `capture.columns`."""

    message: SipMessage | SipError
    row: Sequence[int]


class ReceivedSip(ReceivedCalls):
    """Takes SIP messages as they arrive, in columns, and gives calls soon after they end."""

    def __init__(self, limits: CallLimits = CallLimits(), idle: int = IDLE, text: int = TEXT) -> None:  # noqa: B008  # immutable
        super().__init__(limits, idle)
        calls = limits.max_calls
        self._plain = PlainCalls(PlainLimits(calls=calls, text=text), limits.max_media)
        self._media = PlainMedia(self.book, limits.max_media)
        self._index = BatchIndex(c.PENDING_ROWS)
        self._verdicts = np.zeros((c.PENDING_ROWS, k.VERDICT_COLUMNS), np.int64)
        self._plain_heard = np.zeros(calls + 1, np.int64)
        self._plain_told = np.zeros(calls + 1, np.bool_)
        self._protocols = np.zeros(calls + 1, np.int64)
        self._waiting: list[PlainTold] = []
        """Plain calls that a full table pushed out."""
        self._endpoints: dict[tuple[int, int, int], Endpoint] = {}
        itself = weakref.proxy(self)
        self.book.before_lookup = lambda: itself.announce()

    @property
    def open_legs(self) -> int:
        return super().open_legs + len(self._plain.plain_rows())

    @property
    def crowded(self) -> bool:
        waiting = len(self._pushed_out) + sum(map(len, self._waiting))
        return waiting >= max(1, self._limits.max_calls // 2)

    # --- messages ---------------------------------------------------------------------------------------------

    def take_packets(self, window: Octets, packets: Integers, arrived: int) -> tuple[Integers, list[Indexed]]:
        """Take at most `capture.columns.PENDING_ROWS` messages that lie in a window, `arrived` by our clock [ns].

        Gives their index, valid until the next call, and those of them that were not plain.
        """
        offsets, lengths, index = self._index.index(window, packets[:, c.PAYLOAD], packets[:, c.PAYLOAD_CAPTURED])
        others: list[Indexed] = []

        def indexed(chosen: Integers) -> list[Indexed]:
            messages = messages_at(window, offsets[chosen], lengths[chosen], index[chosen])
            return list(map(Indexed, messages, packets[chosen].tolist()))

        number = 0
        while number < len(packets):
            known = self._plain.used
            stop = self._plain.follow(window, packets, index, number, self._verdicts)
            verdicts = self._verdicts[number:stop]
            self._note(verdicts[:, k.VERDICT_CALL], packets[number:stop, c.IP_PROTOCOL], known, arrived)
            taken = verdicts[:, k.VERDICT] == k.TAKEN
            self._now = int(packets[number:stop, c.PENDING_AT].max(initial=self._now, where=taken))
            left = np.flatnonzero(~taken)
            if len(left):
                passed = indexed(number + left)
                self._take_left(passed, verdicts[left].tolist(), arrived)
                others += passed
            self.last_begun = max(self.last_begun, self._plain.last_begun)
            self._yield_known(known)
            number = stop
            if number < len(packets):
                if self._plain.stopped_by == k.STOP_UNINDEXED:
                    passed = indexed(np.array([number]))
                    self._take_one(passed[0], arrived)
                    others += passed
                    number += 1
                else:
                    self._make_room()
        return index, others

    def take(
        self, message: SipMessage, at: int, src: Endpoint, dst: Endpoint, transport: str, arrived: int
    ) -> None:  # fmt: skip
        """Take a message that is in no columns."""
        row = self._plain.row_of(message.call_id)
        if row is not None and self._plain.is_plain(row):
            self._yield(row)
        super().take(message, at, src, dst, transport, arrived)
        self._plain.last_begun = max(self.last_begun, self._plain.last_begun)

    def _note(self, rows: Integers, protocols: Integers, known: int, arrived: int) -> None:
        """Keep what the kernel has no column for: when calls were heard, and by which transport first."""
        of_calls = rows >= 0
        self._plain_heard[rows[of_calls]] = arrived
        fresh = rows >= known
        if fresh.any():
            # From the last to the first: of what is assigned twice the later stays.
            self._protocols[rows[fresh][::-1]] = protocols[fresh][::-1]
            self._plain_told[known : self._plain.used] = False

    def _take_left(self, passed: list[Indexed], verdicts: list[list[int]], arrived: int) -> None:
        for each, verdict in zip(passed, verdicts, strict=True):
            if verdict[k.VERDICT] == k.LEAVING:
                self._yield(verdict[k.VERDICT_CALL])
            self.last_begun = max(self.last_begun, verdict[k.VERDICT_BEGUN])
            self._feed_row(each, arrived)

    def _take_one(self, each: Indexed, arrived: int) -> None:
        if isinstance(each.message, SipMessage):
            row = self._plain.row_of(each.message.call_id)
            if row is not None and self._plain.is_plain(row):
                self._yield(row)
            self._feed_row(each, arrived)
            self._plain.last_begun = max(self.last_begun, self._plain.last_begun)

    def _feed_row(self, each: Indexed, arrived: int) -> None:
        message, row = each
        if isinstance(message, SipMessage):
            src = self.endpoint(row[c.SRC_HI], row[c.SRC_LO], row[c.SPORT])
            dst = self.endpoint(row[c.DST_HI], row[c.DST_LO], row[c.DPORT])
            super().take(message, row[c.PENDING_AT], src, dst, transport_name(row[c.IP_PROTOCOL]), arrived)

    def endpoint(self, hi: int, lo: int, port: int) -> Endpoint:
        """The endpoint of kernel words."""
        key = (hi, lo, port)
        known = self._endpoints.get(key)
        if known is None:
            if len(self._endpoints) >= ENDPOINTS:
                self._endpoints.clear()
            known = self._endpoints[key] = Endpoint(address(hi, lo), port)
        return known

    # --- who owns a call --------------------------------------------------------------------------------------

    def _yield(self, row: int) -> None:
        """From here on the assembler follows this call."""
        self._yield_all([row])

    def _yield_all(self, rows: Sequence[int]) -> None:
        plain = self._plain
        for begin in range(0, len(rows), _AT_ONCE):
            some = rows[begin : begin + _AT_ONCE]
            for row, call_id, entries in zip(some, plain.call_ids(some), plain.entries(some), strict=True):
                plain.leave(row)
                self._media.forget(row)
                self._tell_entries(entries, transport_name(int(self._protocols[row])))
                self._heard[call_id] = int(self._plain_heard[row])
                leg = self._legs.get(call_id)
                if leg is not None and self._plain_told[row]:
                    leg.reported = True

    def _tell_entries(self, entries: Iterable[Entry], transport: str) -> None:
        last_begun = self.last_begun
        for message, at, src, dst, begun in entries:
            self.last_begun = begun
            self.feed(message, at, src, dst, transport)
        self.last_begun = max(last_begun, self.last_begun)

    def _yield_known(self, since: int) -> None:
        """What the assembler knows under a Call-ID stays with it."""
        if not (self._legs or self._others or self._later):
            return
        rows = self._plain.plain_rows(since)
        if not len(rows):
            return
        for row, call_id in zip(rows.tolist(), self._plain.call_ids(rows), strict=True):
            if call_id in self._legs or call_id in self._others or call_id in self._later:
                self._yield(row)

    def announce(self) -> None:
        """Tell the book what plain calls said of media; it is not told before somebody asks."""
        for row in self._media.catch_up(self._plain):
            if self._plain.is_plain(row):
                self._yield(row)

    def _claim_joined(self) -> None:
        """Calls that others name are no plain ones."""
        for call_id in self.joined_call_ids():
            if call_id not in self._legs:
                row = self._plain.row_of(call_id)
                if row is not None and self._plain.is_plain(row):
                    self._yield(row)

    # --- calls ------------------------------------------------------------------------------------------------

    def harvest(self, now: int) -> Sequence[Call]:
        """As the assembler's, plain ones among them."""
        plain, grace = self._plain, self._limits.grace
        self._claim_joined()
        rows = plain.plain_rows()
        calls = plain.calls(rows)
        silent = now - self._plain_heard[rows]
        ended, told = calls[:, k.ENDED] > 0, self._plain_told[rows]
        if now - self._looked >= LOOK:
            limit = np.where(calls[:, k.ANSWERED] > 0, self._idle, min(self._idle, UNANSWERED_IDLE))
            self._yield_all(rows[~ended & (silent >= limit)].tolist())
        made = self._tell_plain(rows[ended & ~told & (silent >= grace)], closing=False)
        plain.leave(rows[ended & (silent >= max(grace, TIMER_B))])
        waiting, self._waiting = self._waiting, []
        made += super().harvest(now)
        self.told += sum(map(len, waiting))
        self._tidy()
        return ReceivedCallList(made, waiting)

    def rest(self) -> Sequence[Call]:
        """As the assembler's, plain ones among them."""
        self._claim_joined()
        rows = self._plain.plain_rows()
        ended, told = self._plain.calls(rows)[:, k.ENDED] > 0, self._plain_told[rows]
        self._yield_all(rows[~ended & ~told].tolist())
        made = self._tell_plain(rows[ended & ~told], closing=True)
        waiting, self._waiting = self._waiting, []
        made += super().rest()
        self.told += sum(map(len, waiting))
        return ReceivedCallList(made, waiting)

    def _tell_plain(self, rows: Integers, closing: bool) -> list[Call]:
        """Tell calls that ended: they wait in columns, but for those that were no quite plain, which are made."""
        if not len(rows):
            return []
        plain = self._plain
        self._plain_told[rows] = True
        calls = plain.calls(rows)
        excerpt = plain.excerpt(rows)
        again = np.bincount(excerpt.numbers, excerpt.entries[:, k.J_AGAIN], len(rows)) > 0
        many = np.bincount(excerpt.numbers, minlength=len(rows)) > ENTRIES_IN_COLUMNS
        unacknowledged = (calls[:, k.ANSWERED] > 0) & (calls[:, k.ACKNOWLEDGED] == 0)
        odd = again | many | unacknowledged
        transports = [transport_name(protocol) for protocol in self._protocols[rows].tolist()]
        limits = self._limits
        around = Surroundings(MediaBook(), FormatTable(), limits.max_media, limits.max_forks, limits.max_steps)
        made = [
            call_of_entries(excerpt.told(number), around, self._now, transports[number], closing)
            for number in np.flatnonzero(odd).tolist()
        ]
        usual = np.flatnonzero(~odd)
        if len(usual):
            if len(usual) < len(rows):
                excerpt = plain.excerpt(rows[usual])
            told = tuple(transports[number] for number in usual.tolist())
            self._waiting.append(PlainTold(excerpt, told, self._now, limits, closing))
        return made

    def _make_room(self) -> None:
        """A table of plain calls is full: half of it is emptied."""
        plain = self._plain
        self._claim_joined()
        rows = plain.plain_rows()
        calls = plain.calls(rows)
        ended, told = calls[:, k.ENDED] > 0, self._plain_told[rows]
        # Those that go on come first; then those that wait to be told; of each those that were heard of last.
        order = np.lexsort((-rows, -self._plain_heard[rows], told, ended))
        entries, words = plain.sizes(rows)
        most_calls, most_entries, most_words = plain.room
        fits = (
            (np.arange(1, len(rows) + 1) <= most_calls // 2)
            & (np.cumsum(entries[order]) <= most_entries // 2)
            & (np.cumsum(words[order]) <= most_words // 2)
        )
        leaving = rows[order[~fits]]
        is_over = ended[order[~fits]]
        self._yield_all(leaving[~is_over].tolist())
        untold = leaving[is_over & ~told[order[~fits]]]
        waiting = sum(map(len, self._waiting)) + len(self._pushed_out)
        room = max(0, self._limits.max_calls - waiting)
        self._unlisted += max(0, len(untold) - room)
        self._pushed_out += self._tell_plain(untold[:room], closing=True)
        self._forget_but(np.sort(rows[order[fits]]))

    def _tidy(self) -> None:
        """Forget what is over, where that is most of what is kept."""
        plain = self._plain
        rows = plain.plain_rows()
        entries, _ = plain.sizes(rows)
        if max(plain.entered - 2 * int(entries.sum()), plain.used - 2 * len(rows)) > FEW:
            self._forget_but(rows)

    def _forget_but(self, rows: Integers) -> None:
        plain = self._plain
        heard = plain.entries_before(rows, self._media.heard)
        row_of = plain.keep(rows)
        self._gone.update(self._media.renumber(row_of.tolist(), heard))
        for of_rows in (self._plain_heard, self._plain_told, self._protocols):
            of_rows[: len(rows)] = of_rows[rows]
