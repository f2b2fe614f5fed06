"""What plain calls say of media: told to the book when somebody asks, from the journal, without the assembler.

A plain call has few messages that bear on media: its INVITE, answers to it, and what ends it. To each is done here what
`dialogs` does to it, through the same `negotiation`; what is out of the ordinary is left to `dialogs`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from collector.dialogs import CHALLENGES
from collector.facts import Endpoint
from collector.media.book import MediaBook
from collector.negotiation import CALLEE, CALLER, FormatTable, Negotiation, Party
from collector.plain_calls import Mention, PlainCalls
from collector.plain_calls_numba_fns import ACK, BYE, CANCEL, INVITE


class Direction(Protocol):
    """What is asked of a stream here (names as in `facts.Stream`)."""

    @property
    def src(self) -> Endpoint: ...
    @property
    def dst(self) -> Endpoint: ...
    @property
    def last(self) -> int: ...


@dataclass(slots=True)
class _Told:
    """What the book was told of a call, and how the call stood by then."""

    negotiation: Negotiation | None = None
    call_id: str = ""
    ended: bool = False
    answered: bool = False
    answering: bool = False
    """Whether the other side described its media."""


class PlainMedia:
    """Tells a book what plain calls announce, each at most `limit` lines of media."""

    def __init__(self, book: MediaBook, limit: int) -> None:
        self._book = book
        self._limit = limit
        self._formats = FormatTable()
        self._told: dict[int, _Told] = {}
        self._heard = 0

    def catch_up(self, plain: PlainCalls, until: int | None = None, leaving: Collection[int] = ()) -> list[int]:
        """Tell what was said since the last time up to a number of messages; rows that the assembler is to have.

        Of the rows that are `leaving` what was said is told still.
        """
        if until is None:
            until = plain.entered
        if until <= self._heard:
            return []
        mentions = plain.mentions(self._heard, until, leaving)
        self._heard = until
        odd: dict[int, None] = {}
        for mention in mentions:
            if mention.row not in odd and not self._take(plain, mention):
                odd[mention.row] = None
        return list(odd)

    def forget(self, row: int) -> None:
        """Take back what was told of a call."""
        told = self._told.pop(row, None)
        if told is not None and told.negotiation is not None:
            self._book.retract(told.negotiation.media, told.call_id)

    def renumber(self, row_of: Sequence[int], heard: int) -> list[str]:
        """Calls have other rows, -1 those that are gone, and `heard` entries of the journal are left of those heard.

        Gives the Call-IDs of calls that are gone of which the book was told: it is for others to say when it forgets.
        """
        gone = [told.call_id for row, told in self._told.items() if row_of[row] < 0 and told.call_id]
        self._told = {row_of[row]: told for row, told in self._told.items() if row_of[row] >= 0}
        self._heard = heard
        return gone

    @property
    def heard(self) -> int:
        """Entries of the journal that the book was told of."""
        return self._heard

    def forget_all(self) -> None:
        """Take back everything."""
        for row in list(self._told):
            self.forget(row)

    def is_two_way(self, row: int, streams: Iterable[Direction], answered: int) -> bool:
        """Whether a call was heard from both its sides after its answer, so that its media say nothing against it."""
        told = self._told.get(row)
        if told is None or told.negotiation is None:
            return False
        listening = {
            media.endpoint: media.role
            for media in told.negotiation.media
            if media.kind == "audio" and media.protocol.startswith(("RTP", "UDP"))
        }
        heard = {(stream.src, stream.dst) for stream in streams if stream.last >= answered}
        return any((dst, src) in heard and listening.get(src) != listening.get(dst) for src, dst in heard)

    def _take(self, plain: PlainCalls, mention: Mention) -> bool:
        """Do what `dialogs` does to this message; False when that is more than is done here."""
        told = self._told.get(mention.row)
        if told is None:
            told = self._told[mention.row] = _Told()
        if mention.status:
            return mention.status <= 100 or self._take_response(plain, told, mention)
        if mention.method == INVITE:
            told.ended = False
            # After a challenge the other side may be somebody else.
            return not told.answering and self._describe(plain, told, mention, Party(CALLER, "", mention.hop))
        if mention.method == BYE:
            self._end(told, mention.at)
        elif mention.method == CANCEL:
            told.ended = True
        return mention.method != ACK

    def _take_response(self, plain: PlainCalls, told: _Told, mention: Mention) -> bool:
        if mention.status >= 300:
            if mention.status not in CHALLENGES:
                self._end(told, mention.at)
            return True
        decides = mention.status >= 200 and not told.answered
        if decides:
            told.answered, told.ended = True, False
        party = Party(CALLEE, "tag" if mention.tagged else "", mention.hop)
        if not self._describe(plain, told, mention, party):
            return False
        if mention.body:
            told.answering = True
        if decides and told.negotiation is not None:
            if mention.body:
                told.negotiation.choose(party.tag, mention.at)
            told.negotiation.remember_direction()
        return True

    def _describe(self, plain: PlainCalls, told: _Told, mention: Mention, party: Party) -> bool:
        body = mention.body
        if not body or told.ended:
            return True
        if not body.startswith(b"v=0") or b"candidate:" in body:
            return False
        if told.negotiation is None:
            told.call_id = plain.call_id(mention.row)
            told.negotiation = Negotiation(told.call_id, self._book, self._formats, self._limit)
        told.negotiation.describe(party, body, mention.at)
        return True

    def _end(self, told: _Told, at: int) -> None:
        told.ended = True
        if told.negotiation is not None:
            told.negotiation.end(at)
