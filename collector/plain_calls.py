"""Plain calls in columns: the tables of the kernel that follows them, and the journal of what they said.

The journal keeps the octets of every message. From them `dialogs` can be told a call from its beginning, at once when
the call turns out not to be plain, or when somebody wants to see it.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
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
    tagged: bool
    """Whether To has a tag: a plain call has but one."""
    body: bytes


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

    def leave(self, row: int) -> None:
        """Follow a call no longer."""
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
        octets: NDArray[np.bytes_] = self._ids[rows].astype(">i8").view(f"S{_ID_OCTETS}")
        return [call_id.decode() for call_id in octets[:, 0].tolist()]

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
        window = np.concatenate(texts).astype(">i8").view(np.uint8) if texts else np.zeros(0, np.uint8)
        messages = parse_batch(window, np.array(offsets, np.int64), entries[:, k.J_LENGTH].copy(), len(entries))
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

    def mentions(self, since: int) -> tuple[list[Mention], int]:
        """What bears on media of journal entries from number `since` on, and how many entries there are now."""
        used = self.entered
        found = []
        calls = self._calls
        for entry in self._journal[since:used].tolist():
            body, status, method = entry[k.J_BODY], entry[k.J_STATUS], entry[k.J_METHOD]
            of_response = method == k.INVITE and (body or status >= 200)
            bears = of_response if status else body or method != k.ACK
            if not bears or entry[k.J_AGAIN] or calls[entry[k.J_CALL], k.OWNER] != k.PLAIN_CALL:
                continue
            text, begin, end = entry[k.J_TEXT], body & 0xFFFF, body >> 16 & 0xFFFF
            first = begin // 8
            octets = b""
            if body:
                octets = self._words(text + first, text + (end + 7) // 8).astype(_BIG_ENDIAN).tobytes()
                octets = octets[begin - 8 * first : end - 8 * first]
            src, dst = address(entry[k.J_SRC_HI], entry[k.J_SRC_LO]), address(entry[k.J_DST_HI], entry[k.J_DST_LO])
            hop = (src, dst) if src <= dst else (dst, src)
            found.append(Mention(entry[k.J_CALL], method, status, entry[k.J_AT], hop, bool(body >> 32), octets))
        return found, used

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
        calls = self._calls[rows]
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
