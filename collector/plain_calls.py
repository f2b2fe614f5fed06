"""Plain calls in columns: the tables of the kernel that follows them, and the journal of what they said.

The journal keeps the octets of every message. From them `dialogs` can be told a call from its beginning, at once when
the call turns out not to be plain, or when somebody wants to see it.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise
from math import prod
from mmap import mmap
from typing import NamedTuple

import numpy as np
import zstandard
from numpy.typing import NDArray

from collector import plain_calls_numba_fns as k
from collector.accelerate import forget_arrays
from collector.calls import PlainTotals
from collector.facts import CallState, Endpoint
from collector.media.streams import address
from collector.metrics import CALL_STATES, PlainOutcomes
from collector.outcome import TIMER_C
from collector.protocols.sip import SipError, SipMessage, parse_batch
from collector.transactions import TIMER_B

Octets = NDArray[np.uint8]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]

ENTRIES_PER_CALL = 10
"""Journal entries for each call that there may be."""
_AT_ONCE = 1024
_PIECE = 1 << 17
"""Words of text that are packed as one."""
_UNPACKED = 4
"""Pieces that stay unpacked for the next reader."""
_ID_OCTETS = 8 * k.ID_WORDS
_BIG_ENDIAN = np.dtype(">i8")


class PlainLimits(NamedTuple):
    """Sizes of the tables; past them the calls are left to others."""

    calls: int = 100_000
    """Call-IDs; 0: no call is followed."""
    text: int = 128 << 20
    """Octets of messages that are kept as they are; when there are more, all are packed."""
    packed: int = 64 << 20
    """Octets of packed messages."""


class Entry(NamedTuple):
    """One message as the journal has it."""

    message: SipMessage
    at: int
    src: Endpoint
    dst: Endpoint
    begun: int
    """When the latest leg of the capture had begun by then [ns]."""


class Mention(NamedTuple):
    """A message of a plain call that bears on media, heard for the first time."""

    row: int
    method: int
    """As in `plain_calls_numba_fns`: of responses the method that they answer."""
    status: int
    """0 for a request."""
    at: int
    hop: tuple[str, str]
    """Of a message with a body: the addresses between which it went."""
    tagged: bool
    """Whether To has a tag: a plain call has but one."""
    body: bytes


class Excerpt(NamedTuple):
    """Calls that were followed, in columns, and what they said."""

    calls: Integers
    """Rows of the kernel, one for each call."""
    ids: Integers
    entries: Integers
    """Of the journal: each call's together, in the order in which they were heard."""
    numbers: Integers
    """Number of the call of each entry."""
    text: Integers
    """Words in which the text of the entries lies."""

    def call_ids(self) -> list[str]:
        """Call-IDs in order."""
        return call_ids_of(self.ids)

    def told(self, number: int) -> list[Entry]:
        """What one call said."""
        begin, end = np.searchsorted(self.numbers, (number, number + 1))
        entries = self.entries[begin:end]
        sizes = text_words(entries)
        return _told(entries, gathered_text(self.text, entries), 8 * (np.cumsum(sizes) - sizes))

    def firsts(self) -> list[bytes]:
        """The first message of each call."""
        entries = self.entries[np.flatnonzero(np.diff(self.numbers, prepend=-1))]
        sizes = text_words(entries)
        octets = gathered_text(self.text, entries).astype(_BIG_ENDIAN).tobytes()
        begins = 8 * (np.cumsum(sizes) - sizes)
        ends = begins + entries[:, k.J_LENGTH]
        return [octets[begin:end] for begin, end in zip(begins.tolist(), ends.tolist(), strict=True)]


def call_ids_of(ids: Integers) -> list[str]:
    """Call-IDs as text."""
    octets: NDArray[np.bytes_] = np.ascontiguousarray(ids.astype(_BIG_ENDIAN)).view(f"S{_ID_OCTETS}")
    return [call_id.decode() for call_id in octets[:, 0].tolist()]


def text_words(entries: Integers) -> Integers:
    """Words of text of entries of the journal."""
    words: Integers = (entries[:, k.J_LENGTH] + 7) // 8
    return words


def gathered_text(text: Integers, entries: Integers) -> Integers:
    """The text of entries, one after the other."""
    sizes = text_words(entries)
    begins = np.cumsum(sizes) - sizes
    words: Integers = text[np.repeat(entries[:, k.J_TEXT] - begins, sizes) + np.arange(int(sizes.sum()))]
    return words


def _with(table: Integers, rows: Integers) -> Integers:
    """A table of the same size that begins with these rows."""
    made = _pages(table.shape)
    made[: len(rows)] = rows
    return made


def _pages(shape: tuple[int, ...]) -> Integers:
    """Zeros that take memory only as they are used: what malloc has had before it fills with zeros all at once."""
    size = 8 * prod(shape)
    return np.frombuffer(mmap(-1, size), np.int64).reshape(shape) if size else np.zeros(shape, np.int64)


def _told(entries: Integers, text: Integers, offsets: Integers) -> list[Entry]:
    """Entries as messages, whose text begins at some octets of words."""
    window = text.astype(_BIG_ENDIAN).view(np.uint8)
    messages = parse_batch(window, offsets, entries[:, k.J_LENGTH].copy(), len(entries))
    return [
        Entry(
            message,
            entry[k.J_AT],
            Endpoint(address(entry[k.J_SRC_HI], entry[k.J_SRC_LO]), entry[k.J_PORTS] >> 16),
            Endpoint(address(entry[k.J_DST_HI], entry[k.J_DST_LO]), entry[k.J_PORTS] & 0xFFFF),
            entry[k.J_BEGUN],
        )
        for message, entry in zip(messages, entries.tolist(), strict=True)
        if not isinstance(message, SipError)
    ]


class PlainCalls:
    """The calls that the kernel follows, each with at most `media_limit` lines of media."""

    def __init__(self, limits: PlainLimits, media_limit: int) -> None:
        limit = limits.calls
        self._context = np.zeros(k.CONTEXT_COLUMNS, np.int64)
        self._context[k.CALLS_LIMIT] = limit
        self._context[k.MEDIA_LIMIT] = media_limit
        # Nobody who sends messages may know which of their tags share a hash.
        self._context[k.SEED] = int.from_bytes(os.urandom(8), "big") >> 2
        # The system hands out pages only as they are used.
        self._slots = np.zeros(1 << (4 * limit).bit_length(), np.int64)
        self._calls = np.zeros((limit + 1, k.CALL_COLUMNS), np.int64)
        self._ids = np.zeros((limit + 1, k.ID_WORDS), np.int64)
        self._seen = np.zeros((limit + 1, 4 * k.SEEN_LIMIT), np.int64)
        self._journal = np.zeros((limit * ENTRIES_PER_CALL, k.JOURNAL_COLUMNS), np.int64)
        words = max(limits.text // 8, k.LONG_MESSAGE_WORDS)
        self._piece = min(_PIECE, words)
        self._text = np.zeros(words // self._piece * self._piece, np.int64)
        self._packed: list[bytes] = []
        self._packed_room = limits.packed
        self._unpacked: dict[int, Integers] = {}
        self._given: Octets | None = None
        self._window = np.zeros(0, np.uint8)

    @property
    def used(self) -> int:
        """Call-IDs entered so far, those left to others among them."""
        return int(self._context[k.CALLS_USED])

    @property
    def entered(self) -> int:
        """Messages in the journal."""
        return int(self._context[k.JOURNAL_USED])

    @property
    def limit(self) -> int:
        """Call-IDs that may be entered."""
        return int(self._context[k.CALLS_LIMIT])

    @property
    def last_begun(self) -> int:
        """When the latest leg of the capture began [ns]."""
        return int(self._context[k.LAST_BEGUN])

    @last_begun.setter
    def last_begun(self, at: int) -> None:
        self._context[k.LAST_BEGUN] = at

    def follow(self, window: Octets, packets: Integers, index: Integers, number: int, verdicts: Integers) -> int:
        """Take packets from `number` on; the number of the first that was not taken, `stopped_by` says why."""
        if self._given is not window:
            self._given = window
            self._window = window.view()
            self._window.flags.writeable = False
        return int(
            k.follow_calls(
                self._window, packets, index, number, self._context, self._slots, self._calls, self._ids, self._seen,
                self._journal, self._text, verdicts,
            )
        )  # fmt: skip

    @property
    def stopped_by(self) -> int:
        """Why the kernel returned."""
        return int(self._context[k.STOP])

    def row_of(self, call_id: str) -> int | None:
        """Row of a Call-ID, entered as left to others when it is new; None when it can have no row."""
        octets = call_id.encode(errors="replace")
        if not octets or len(octets) > _ID_OCTETS:
            return None
        window = np.frombuffer(octets, np.uint8)
        row = int(k.find_call(window, len(octets), self._context, self._slots, self._calls, self._ids))
        return row if row >= 0 else None

    def is_plain(self, row: int) -> bool:
        """Whether the kernel follows this call."""
        return bool(self._calls[row, k.OWNER] == k.PLAIN_CALL)

    def leave(self, row: int | Integers) -> None:
        """Follow a call, or calls, no longer."""
        self._calls[row, k.OWNER] = k.LEFT

    def plain_rows(self, since: int = 0) -> Integers:
        """Rows of the calls that are followed, from row `since` on."""
        return since + np.flatnonzero(self._calls[since : self.used, k.OWNER] == k.PLAIN_CALL)

    def unacknowledged(self) -> Integers:
        """Rows of plain calls that were answered and whose ACK is missing."""
        rows = self.plain_rows()
        calls = self._calls[rows]
        missing: Integers = rows[(calls[:, k.ANSWERED] > 0) & (calls[:, k.ACKNOWLEDGED] == 0)]
        return missing

    def call_ids(self, rows: Integers | Sequence[int]) -> list[str]:
        """Call-IDs of rows."""
        return call_ids_of(self._ids[rows])

    def call_id(self, row: int) -> str:
        """Call-ID of one row."""
        octets: bytes = self._ids[row].astype(_BIG_ENDIAN).tobytes()
        return octets.rstrip(b"\0").decode()

    def answers(self, rows: Integers) -> list[int]:
        """When calls were answered [ns], 0 where they were not."""
        answered: list[int] = self._calls[rows, k.ANSWERED].tolist()
        return answered

    def starts(self, rows: Integers) -> Integers:
        """When calls began [ns]."""
        starts: Integers = self._calls[rows, k.START]
        return starts

    def calls(self, rows: Integers) -> Integers:
        """All that is known of calls, as the kernel has it."""
        calls: Integers = self._calls[rows]
        return calls

    # --- forgetting -------------------------------------------------------------------------------------------

    def keep(self, rows: Integers) -> Integers:
        """Forget all calls but these, which get new rows in this order; the new row of each old one, -1 for none.

        Tables are replaced and not changed: who holds parts of them may go on reading. Not for text that was packed.
        """
        count, used = len(rows), self.entered
        row_of = np.full(self.used, -1, np.int64)
        row_of[rows] = np.arange(count)
        journal = self._journal[:used]
        kept = np.flatnonzero(row_of[journal[:, k.J_CALL]] >= 0)
        number_of = np.zeros(used + 1, np.int64)
        number_of[kept + 1] = np.arange(1, len(kept) + 1)
        entries = journal[kept]
        entries[:, k.J_CALL] = row_of[entries[:, k.J_CALL]]
        entries[:, k.J_BEFORE] = number_of[entries[:, k.J_BEFORE]]
        words = gathered_text(self._text, entries)
        sizes = text_words(entries)
        entries[:, k.J_TEXT] = np.cumsum(sizes) - sizes
        calls, ids, seen = self._calls[rows], self._ids[rows], self._seen[rows]
        calls[:, k.LAST_ENTRY] = number_of[calls[:, k.LAST_ENTRY]]
        self._journal = _with(self._journal, entries)
        self._text = _with(self._text, words)
        self._calls, self._ids, self._seen = _with(self._calls, calls), _with(self._ids, ids), _with(self._seen, seen)
        self._slots = _pages(self._slots.shape)
        self._context[[k.CALLS_USED, k.JOURNAL_USED, k.TEXT_USED]] = count, len(kept), len(words)
        k.place_calls(count, self._slots, self._calls)
        return row_of

    def sizes(self, rows: Integers) -> tuple[Integers, Integers]:
        """Entries of calls in the journal, and words of their text."""
        journal = self._journal[: self.entered]
        entries = np.bincount(journal[:, k.J_CALL], minlength=self.used)
        words = np.bincount(journal[:, k.J_CALL], text_words(journal), self.used)
        return entries[rows], words[rows].astype(np.int64)

    def entries_before(self, rows: Integers, number: int) -> int:
        """Entries of calls among the first of the journal."""
        chosen = np.zeros(self.used, np.bool_)
        chosen[rows] = True
        return int(chosen[self._journal[:number, k.J_CALL]].sum())

    @property
    def room(self) -> tuple[int, int, int]:
        """Calls, entries and words of text that the tables hold."""
        return self.limit, len(self._journal), len(self._text)

    def excerpt(self, rows: Integers) -> Excerpt:
        """Calls as they stand, and what they said: lasts when the calls are forgotten here."""
        number_of = np.full(self.used + 1, -1, np.int64)
        number_of[rows] = np.arange(len(rows))
        journal = self._journal[: self.entered]
        numbers = number_of[journal[:, k.J_CALL]]
        chosen = np.flatnonzero(numbers >= 0)
        chosen = chosen[np.argsort(numbers[chosen], kind="stable")]
        return Excerpt(self._calls[rows], self._ids[rows], journal[chosen], numbers[chosen], self._text)

    # --- the journal ------------------------------------------------------------------------------------------

    def entries(self, rows: Sequence[int]) -> list[list[Entry]]:
        """What calls said, each from its beginning."""
        numbers: list[int] = []
        bounds = [0]
        for row in rows:
            of_call = []
            number = int(self._calls[row, k.LAST_ENTRY])
            while number:
                of_call.append(number - 1)
                number = int(self._journal[number - 1, k.J_BEFORE])
            numbers += reversed(of_call)
            bounds.append(len(numbers))
        entries = self._read(self._journal[numbers])
        return [entries[begin:end] for begin, end in pairwise(bounds)]

    def last_entries(self) -> Iterator[Entry]:
        """What all calls said that are plain, in the order of the capture; the tables are of no use afterwards."""
        journal = self._journal[: self._context[k.JOURNAL_USED]]
        wanted = np.flatnonzero(self._calls[journal[:, k.J_CALL], k.OWNER] == k.PLAIN_CALL)
        # Whoever is told needs the memory.
        self._slots = np.zeros(0, np.int64)
        self._ids = self._seen = self._calls = np.zeros((0, 0), np.int64)
        forget_arrays(k.follow_calls, k.find_call)
        for begin in range(0, len(wanted), _AT_ONCE):
            yield from self._read(journal[wanted[begin : begin + _AT_ONCE]])

    def _read(self, entries: Integers) -> list[Entry]:
        texts: list[Integers] = []
        offsets, at = [], 0
        for text, length in entries[:, (k.J_TEXT, k.J_LENGTH)].tolist():
            words = (length + 7) // 8
            texts.append(self._words(text, text + words))
            offsets.append(at)
            at += 8 * words
        return _told(entries, np.concatenate(texts) if texts else np.zeros(0, np.int64), np.array(offsets, np.int64))

    def mentions(self, since: int, until: int, leaving: Collection[int] = ()) -> list[Mention]:
        """What bears on media of journal entries from number `since` to before `until`, of calls that are followed.

        Rows that are `leaving` count as such.
        """
        found = []
        calls = self._calls
        for entry in self._journal[since:until].tolist():
            body, status, method = entry[k.J_BODY], entry[k.J_STATUS], entry[k.J_METHOD]
            of_response = method == k.INVITE and (body or status >= 200)
            bears = of_response if status else body or method != k.ACK
            if not bears or entry[k.J_AGAIN]:
                continue
            if calls[entry[k.J_CALL], k.OWNER] != k.PLAIN_CALL and entry[k.J_CALL] not in leaving:
                continue
            text, begin, end = entry[k.J_TEXT], body & 0xFFFF, body >> 16 & 0xFFFF
            first = begin // 8
            octets, hop = b"", ("", "")
            if body:
                src, dst = address(entry[k.J_SRC_HI], entry[k.J_SRC_LO]), address(entry[k.J_DST_HI], entry[k.J_DST_LO])
                hop = (src, dst) if src <= dst else (dst, src)
                octets = self._words(text + first, text + (end + 7) // 8).astype(_BIG_ENDIAN).tobytes()
                octets = octets[begin - 8 * first : end - 8 * first]
            found.append(Mention(entry[k.J_CALL], method, status, entry[k.J_AT], hop, bool(body >> 32), octets))
        return found

    def pack(self) -> bool:
        """Make room for more text; False when there is none left."""
        packer = zstandard.ZstdCompressor(level=1)
        for begin in range(0, len(self._text), self._piece):
            self._packed.append(packer.compress(self._text[begin : begin + self._piece].tobytes()))
            self._packed_room -= len(self._packed[-1])
        self._context[k.TEXT_BASE] += len(self._text)
        self._context[k.TEXT_USED] = 0
        return self._packed_room > 0

    def _words(self, begin: int, end: int) -> Integers:
        base = int(self._context[k.TEXT_BASE])
        if begin >= base:
            return self._text[begin - base : end - base]
        first, last = begin // self._piece, (end - 1) // self._piece
        start = first * self._piece
        return np.concatenate([self._unpack(piece) for piece in range(first, last + 1)])[begin - start : end - start]

    def _unpack(self, piece: int) -> Integers:
        words = self._unpacked.get(piece)
        if words is None:
            while len(self._unpacked) >= _UNPACKED:
                del self._unpacked[next(iter(self._unpacked))]
            words = np.frombuffer(zstandard.ZstdDecompressor().decompress(self._packed[piece]), np.int64)
            self._unpacked[piece] = words
        return words

    # --- what became of the calls -----------------------------------------------------------------------------

    def totals(self, rows: Integers, outcomes: PlainOutcomes) -> PlainTotals:
        """What the calls of these rows, all that are plain, add to the totals."""
        journal = self._journal[: self._context[k.JOURNAL_USED]]
        plain = self._calls[journal[:, k.J_CALL], k.OWNER] == k.PLAIN_CALL
        method, status, again = (journal[plain, column] for column in (k.J_METHOD, k.J_STATUS, k.J_AGAIN))
        requests = status == 0
        first = np.bincount(method[requests & (again == 0)], minlength=len(k.METHOD_NAMES)).tolist()
        counted = zip(*np.unique(status[~requests], return_counts=True), strict=True)
        return PlainTotals(
            messages=len(method),
            retransmissions=int(again.sum()),
            call_ids=len(rows),
            methods=_named(np.bincount(method[requests], minlength=len(k.METHOD_NAMES)).tolist()),
            responses={int(code): int(count) for code, count in counted},
            transactions={name: n for name, n in _named(first).items() if name not in ("INVITE", "ACK")},
            outcomes=outcomes,
        )

    def outcomes(self, rows: Integers, now: int) -> PlainOutcomes:
        """How calls stand at `now` [ns], as `outcome.leg_of` and `legs.call_of` have it."""
        return outcomes_of(self._calls[rows], now)


def outcomes_of(calls: Integers, now: int) -> PlainOutcomes:
    """How calls stand at `now` [ns]."""
    status, answered, ringing = calls[:, k.FINAL_STATUS], calls[:, k.ANSWERED], calls[:, k.RINGING]
    ended, final_at = calls[:, k.ENDED], calls[:, k.FINAL_AT]
    end = np.where((ended > 0) | (answered > 0), ended, final_at)
    final = np.where(answered > 0, answered, end)
    return PlainOutcomes(
        state=_states(calls, now),
        status=status,
        start=calls[:, k.START],
        ringing=ringing,
        indicated=np.where(ringing > 0, ringing, np.where(status > 0, final, 0)),
        answered=answered,
        end=end,
        bye_at=calls[:, k.BYE_AT],
        bye_confirmed=calls[:, k.BYE_CONFIRMED],
    )


def _states(calls: Integers, now: int) -> Integers:
    """`outcome.state_of` for calls without a Reason."""
    status, answered = calls[:, k.FINAL_STATUS], calls[:, k.ANSWERED] > 0
    since = np.where(calls[:, k.PROVISIONAL_AT] > 0, calls[:, k.PROVISIONAL_AT], calls[:, k.TRIED_AT])
    limit = np.where(calls[:, k.PROVISIONAL_AT] > 0, TIMER_C, TIMER_B)
    chosen = (
        (answered & (calls[:, k.BYE_AT] > 0), CallState.COMPLETED),
        (answered, CallState.IN_PROGRESS),
        ((calls[:, k.CANCELLED] > 0) | (status == 487), CallState.CANCELLED),
        ((status == 408) | (status == 480), CallState.UNANSWERED),
        (status > 0, CallState.FAILED),
        (now - since > limit, CallState.UNANSWERED),
    )
    conditions: Sequence[Flags] = [condition for condition, _ in chosen]
    states: Integers = np.select(
        conditions, [CALL_STATES.index(state) for _, state in chosen], CALL_STATES.index(CallState.IN_PROGRESS)
    )
    return states


def _named(counts: Sequence[int]) -> Counter[str]:
    return Counter({name: count for name, count in zip(k.METHOD_NAMES, counts, strict=False) if count})
