"""Offer and answer (RFC 3264) inside one Call-ID: what each side announces, since when, and what that says of the call.

A description counts from the moment its sender sent it, except an offer inside a call (re-INVITE, UPDATE): that one
counts only when it is accepted, and a refused one changes nothing (RFC 3261 14.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import NamedTuple

from collector.facts import CodecFormat, Endpoint, NegotiatedMedia, Span
from collector.media.book import MediaBook
from collector.protocols.sdp import MediaLine, SdpError, SessionDescription, parse_sdp

CALLER = "caller"
CALLEE = "callee"

_FORMAT_SETS = 1024
_PENDING_LIMIT = 8
_SIDES_LIMIT = 64
_COMPARED = 8  # fields of NegotiatedMedia in front of `since`


class Party(NamedTuple):
    """Who announces: a side, its tag where forks answer side by side, and the hop on which it was seen.

    A proxy that relays media writes another address on each hop, so the hops of one path announce apart.
    """

    role: str
    tag: str
    hop: tuple[str, str]


class _Offer(NamedTuple):
    party: Party
    body: bytes | None
    at: int


class _Announcement(NamedTuple):
    digest: int
    media: tuple[NegotiatedMedia, ...]


class FormatTable:
    """One mapping for each distinct set of payload formats: thousands of calls offer the same few."""

    def __init__(self) -> None:
        self._known: dict[tuple[tuple[int, CodecFormat], ...], Mapping[int, CodecFormat]] = {}
        self._same: dict[int, tuple[Mapping[int, CodecFormat], Mapping[int, CodecFormat]]] = {}
        """By identity what was given last and what it became: the parser gives the same again and again."""

    def intern(self, formats: Mapping[int, CodecFormat]) -> Mapping[int, CodecFormat]:
        same = self._same.get(id(formats))
        if same is None:
            if len(self._same) >= _FORMAT_SETS:
                self._same.clear()
            same = self._same[id(formats)] = formats, self._interned(formats)
        return same[1]

    def _interned(self, formats: Mapping[int, CodecFormat]) -> Mapping[int, CodecFormat]:
        key = tuple(formats.items())
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _FORMAT_SETS:
                self._known.clear()
            known = self._known[key] = formats
        return known


class Negotiation:
    """All descriptions of one Call-ID."""

    __slots__ = (
        "_book",
        "_call_id",
        "_current",
        "_formats",
        "_held",
        "_limit",
        "_pending",
        "_t38",
        "dropped",
        "media",
        "spans",
    )

    def __init__(self, call_id: str, book: MediaBook, formats: FormatTable, limit: int) -> None:
        self._call_id = call_id
        self._book = book
        self._formats = formats
        self._limit = limit
        self._current: dict[Party, _Announcement] = {}
        self._pending: dict[tuple[str, int], _Offer] | None = None
        self._held: int | None = None
        self._t38: int | None = None
        self.media: list[NegotiatedMedia] = []
        self.spans: list[Span] = []
        self.dropped = 0
        """Announcements past the limit."""

    def describe(self, party: Party, body: bytes, at: int, inside: bool = False) -> str | None:
        """Apply a description that holds as it is sent; the name of its defect when it cannot be read.

        `inside`: it came in a dialog, where no fork and no new hop is to be expected.
        """
        defect, _ = self._apply(self._known_party(party) if inside else party, body, at)
        return defect

    def offer(self, key: tuple[str, int], party: Party, body: bytes | None, at: int) -> None:
        """An offer inside the call, or a request that asks the other side for one (`body` None)."""
        if self._pending is None:
            self._pending = {}
        if len(self._pending) < _PENDING_LIMIT:
            self._pending[key] = _Offer(party, body, at)

    def has_offer(self, key: tuple[str, int]) -> bool:
        """Whether an offer inside the call waits for its answer."""
        return self._pending is not None and key in self._pending

    def refuse(self, key: tuple[str, int], at: int) -> None:
        """The request that carried the offer failed: what held before holds on.

        That one side wanted T.38 is kept: gateways change over to fax before they ask, and their voice stops then.
        """
        offer = self._pending.pop(key, None) if self._pending is not None else None
        if offer is not None and offer.body is not None and _wants_t38(offer.body):
            self._note(Span(offer.at, at, "t38_offer"))

    def accept(self, key: tuple[str, int], party: Party, body: bytes | None, at: int) -> str | None:
        """The request succeeded: offer and answer replace what held before."""
        offer = self._pending.pop(key, None) if self._pending is not None else None
        if offer is None:
            return self.describe(party, body, at) if body else None
        defect: str | None = None
        changed = offered = False
        if offer.body is not None:
            defect, offered = self._apply(self._known_party(offer.party), offer.body, offer.at)
        if body is not None:
            answer_defect, changed = self._apply(self._known_party(party), body, at)
            defect = defect or answer_defect
        self._follow_spans(offer.at, at)
        if not (offered or changed) and (offer.body is not None or body is None):
            self._note(Span(offer.at, at, "refresh"))
        return defect

    def settle(self, at: int) -> None:
        """An answer to a delayed offer came in an ACK or PRACK inside the call: see what it did to hold and T.38."""
        self._follow_spans(at, at)

    def choose(self, tag: str, at: int) -> None:
        """One of several forks answered the call: what the others announced ends (RFC 3261 13.2.2.4)."""
        for party in [party for party in self._current if party.role == CALLEE and party.tag != tag]:
            self._retire(self._current.pop(party).media, at)

    def remember_direction(self) -> None:
        """What the first exchange set up is no hold, even one-way: a recorder or an announcement begins like that."""
        if self._is_held():
            self._held = -1

    def end(self, at: int) -> None:
        """The leg ended."""
        for announcement in self._current.values():
            self._retire(announcement.media, at)
        self._current.clear()
        self._pending = None
        for start, what in ((self._held, "hold"), (self._t38, "t38")):
            if start is not None and start >= 0:
                self._note(Span(start, at, what))
        self._held = self._t38 = None
        self._book.end(self._call_id, at)

    def _apply(self, party: Party, body: bytes, at: int) -> tuple[str | None, bool]:
        digest = hash(body)
        known = self._current.get(party)
        if known is not None and known.digest == digest:
            return None, False
        if known is None and self._current and self._is_repeated(party, digest):
            return None, False
        try:
            description = parse_sdp(body)
        except SdpError as error:
            return error.defect, False
        lines = [self._announced(line, party.role, at) for line in description.media if line.port]
        changed = self._replace(party, digest, lines, at)
        if b"candidate:" in body:
            self._announce_candidates(description, party.role, at)
        return None, changed

    def _is_repeated(self, party: Party, digest: int) -> bool:
        """The same side sent these very octets on another hop: no relay rewrote them."""
        return any(
            announcement.digest == digest and known.role == party.role and known.tag == party.tag
            for known, announcement in self._current.items()
        )

    def _known_party(self, party: Party) -> Party:
        """A side that so far announced on one hop alone is the same side when the capture hears it on another first."""
        if party in self._current:
            return party
        same_side = [known for known in self._current if known[:2] == party[:2]]
        return same_side[0] if len(same_side) == 1 else party

    def _replace(self, party: Party, digest: int, lines: list[NegotiatedMedia], at: int) -> bool:
        known = self._current.get(party)
        if known is None and len(self._current) >= _SIDES_LIMIT:
            self.dropped += 1
            return False
        old = list(known.media) if known is not None else []
        kept: list[NegotiatedMedia] = []
        for line in lines:
            same = next((media for media in old if media[:_COMPARED] == line[:_COMPARED]), None) if old else None
            if same is not None:
                old.remove(same)
                kept.append(same)
            elif len(self.media) < self._limit:
                self.media.append(line)
                self._book.announce(line, self._call_id)
                kept.append(line)
            else:
                self.dropped += 1
        self._retire(old, at)
        self._current[party] = _Announcement(digest, tuple(kept))
        return known is None or frozenset(map(_substance, known.media)) != frozenset(map(_substance, lines))

    def _announce_candidates(self, description: SessionDescription, role: str, at: int) -> None:
        """Under ICE any candidate may become the endpoint (RFC 8445 2.3); only the book needs to know them all."""
        for line in description.media:
            for candidate in line.candidates if line.port else ():
                if candidate.component == 1 and candidate.transport == "UDP" and candidate.endpoint != line.endpoint:
                    media = self._announced(line, role, at)
                    endpoint = _canonical(candidate.endpoint)
                    rtcp = endpoint if line.rtcp_mux else None
                    self._book.announce(media._replace(endpoint=endpoint, rtcp=rtcp), self._call_id)

    def _retire(self, gone: list[NegotiatedMedia] | tuple[NegotiatedMedia, ...], at: int) -> None:
        for media in gone:
            ended = self._book.withdraw(media, self._call_id, at)
            for position, known in enumerate(self.media):
                if known is media:
                    self.media[position] = ended
                    break

    def _announced(self, line: MediaLine, role: str, at: int) -> NegotiatedMedia:
        return NegotiatedMedia(
            _canonical(line.endpoint),
            line.kind,
            line.protocol,
            self._formats.intern(line.formats),
            line.ptime_ms,
            line.direction,
            None if line.rtcp is None else _canonical(line.rtcp),
            role,
            at,
            None,
            line.encrypted,
        )

    def _is_held(self) -> bool:
        """RFC 3264 8.4: a side that sends only or nothing, or announces zeros, holds; two listeners hear only music."""
        silent: set[str] = set()
        for party, announcement in self._current.items():
            for media in announcement.media:
                if media.kind != "audio":
                    continue
                if media.direction in ("sendonly", "inactive") or _is_nowhere(media.endpoint):
                    return True
                if media.direction == "recvonly":
                    silent.add(party.role)
        return len(silent) == 2

    def _is_t38(self) -> bool:
        return any(
            media.kind == "image" or any(codec.name == "T38" for codec in media.formats.values())
            for announcement in self._current.values()
            for media in announcement.media
        )

    def _follow_spans(self, begun: int, done: int) -> None:
        """A span lasts from the request that began it to the answer that ended it: all that time packets may miss."""
        held, t38 = self._is_held(), self._is_t38()
        if held and self._held is None:
            self._held = begun
            self._book.note_span(self._call_id, Span(begun, None, "hold"))
        elif not held and self._held is not None:
            if self._held >= 0:
                self._note(Span(self._held, done, "hold"))
            self._held = None
        if t38 and self._t38 is None:
            self._t38 = begun
            self._book.note_span(self._call_id, Span(begun, None, "t38"))
        elif not t38 and self._t38 is not None:
            self._note(Span(self._t38, done, "t38"))
            self._t38 = None

    def _note(self, span: Span) -> None:
        if span.what != "refresh":
            self._book.note_span(self._call_id, span)
        if len(self.spans) < self._limit:
            self.spans.append(span)

    def all_spans(self) -> tuple[Span, ...]:
        """Spans in the order of their beginning, those that still hold without an end."""
        running = [
            Span(start, None, what)
            for start, what in ((self._held, "hold"), (self._t38, "t38"))
            if start is not None and start >= 0
        ]
        return tuple(sorted([*self.spans, *running], key=lambda span: span.start))


def _substance(media: NegotiatedMedia) -> tuple[object, ...]:
    """What a listener would notice: a refresh may drop a=ptime or reorder formats and is a refresh still."""
    names = frozenset((number, codec.name) for number, codec in media.formats.items())
    return media.endpoint, media.kind, media.protocol, media.direction, names


def _is_nowhere(endpoint: Endpoint) -> bool:
    # Port 9 with zeros means that ICE will tell where (RFC 8840 4.1.1), not that the call is on hold.
    return endpoint.ip in ("0.0.0.0", "::") and endpoint.port != 9  # noqa: S104 - nothing binds to it


def _canonical(endpoint: Endpoint) -> Endpoint:
    """IPv6 has many spellings (RFC 5952 1); packets are compared with the one that RFC 5952 4 recommends."""
    if ":" not in endpoint.ip:
        return endpoint
    try:
        return Endpoint(str(ip_address(endpoint.ip)), endpoint.port)
    except ValueError:
        return endpoint


def _wants_t38(body: bytes) -> bool:
    try:
        return any(line.is_t38 for line in parse_sdp(body).media)
    except SdpError:
        return False
