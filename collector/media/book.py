"""Who announced which endpoint when: from SDP to the streams that came of it.

Ports are reused, by later calls and by the same call, so an endpoint alone says little: every announcement carries the
time in which it held, and a stream is matched by endpoint and time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple

from collector.facts import CodecFormat, Endpoint, NegotiatedMedia, Span

EARLY = 1_000_000_000
"""How long before its announcement a stream may begin [ns]: early media overtakes the answer (RFC 3261 13.2.1)."""
GRACE = 5_000_000_000
"""How long after its end an announcement still explains packets [ns]: senders stop late, jitter buffers drain."""
BOOK_SIZE = 200_000
"""Announcements kept; beyond it the oldest is forgotten and counted."""
ENDPOINT_SIZE = 32
"""Announcements kept of one endpoint."""
SPAN_LIMIT = 64
"""Spans kept of one call."""

_SAME_OVERLAP = 0.9
_UNSPECIFIED = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - RFC 3264 8.4 writes hold so, nothing is bound here


class Negotiated(NamedTuple):
    """What was negotiated for a stream."""

    call_id: str
    media: NegotiatedMedia
    side: str
    """`dst`: announced by the receiver of the stream; `src`: only its sender's announcement was seen."""
    formats: Mapping[int, CodecFormat]
    """The receiver's payload formats, completed by earlier announcements of the call and by the sender's."""


class _Entry:
    __slots__ = ("call_id", "media", "since", "until")

    def __init__(self, media: NegotiatedMedia, call_id: str) -> None:
        self.media = media
        self.call_id = call_id
        self.since = media.since
        self.until = media.until

    def covers(self, first: int, last: int) -> bool:
        return self.since - EARLY <= last and (self.until is None or self.until + GRACE >= first)

    def overlap(self, first: int, last: int) -> int:
        end = last if self.until is None else min(last, self.until)
        return max(0, end - max(first, self.since))


class MediaBook:
    """All announcements of a capture, found by endpoint and time; bounded, `forgotten` counts what fell out."""

    def __init__(self, size: int = BOOK_SIZE) -> None:
        self._size = size
        self._by_endpoint: dict[Endpoint, tuple[_Entry, ...]] = {}
        self._by_rtcp: dict[Endpoint, tuple[_Entry, ...]] = {}
        """Only what neither the next port (RFC 3550 11) nor the same one (RFC 5761) leads to."""
        self._open: dict[str, list[_Entry]] = {}
        self._spans: dict[str, list[Span]] = {}
        self._order: deque[_Entry] = deque()
        self._span_order: deque[str] = deque()
        self.forgotten = 0
        self.before_lookup: Callable[[], None] | None = None
        """Called before the book is read: brings in what was put off until somebody asks."""

    def __len__(self) -> int:
        """Announcements that are kept."""
        return len(self._order)

    def announce(self, media: NegotiatedMedia, call_id: str) -> None:
        """Record that a side of a call wants to receive at an endpoint; an address of zeros (hold) is no endpoint."""
        if media.endpoint.port == 0 or media.endpoint.ip in _UNSPECIFIED:
            return
        opened = self._open.get(call_id)
        if opened is None:
            opened = self._open[call_id] = []
        for known in opened:
            if known.media.endpoint == media.endpoint and known.media[:7] == media[:7]:
                return
        entry = _Entry(media, call_id)
        if media.until is None:
            opened.append(entry)
        self._add(self._by_endpoint, media.endpoint, entry)
        if media.rtcp is not None and not _is_usual(media.rtcp, media.endpoint):
            self._add(self._by_rtcp, media.rtcp, entry)
        self._order.append(entry)
        if len(self._order) > self._size:
            self._forget(self._order.popleft())

    def _add(self, index: dict[Endpoint, tuple[_Entry, ...]], endpoint: Endpoint, entry: _Entry) -> None:
        index[endpoint] = (*index.get(endpoint, ())[1 - ENDPOINT_SIZE :], entry)

    def _forget(self, entry: _Entry) -> None:
        self.forgotten += 1
        for index, endpoint in ((self._by_endpoint, entry.media.endpoint), (self._by_rtcp, entry.media.rtcp)):
            if endpoint is None or endpoint not in index:
                continue
            left = tuple(known for known in index[endpoint] if known is not entry)
            if left:
                index[endpoint] = left
            else:
                del index[endpoint]
        opened = self._open.get(entry.call_id)
        if opened is not None and entry in opened:
            opened.remove(entry)
            if not opened:
                del self._open[entry.call_id]

    def withdraw(self, media: NegotiatedMedia, call_id: str, at: int) -> NegotiatedMedia:
        """A later description of the same side replaced this announcement; gives it with its end."""
        ended = NegotiatedMedia(*media[:9], at, media.encrypted)  # as `_replace` in a third of its time
        opened = self._open.get(call_id, [])
        for position, entry in enumerate(opened):
            if entry.media is media or entry.media[:7] == media[:7]:
                entry.media = ended
                entry.until = at
                del opened[position]
                break
        return ended

    def retract(self, announced: Iterable[NegotiatedMedia], call_id: str) -> None:
        """Forget what a call announced, for it is going to be told anew."""
        for media in announced:
            for index, endpoint in ((self._by_endpoint, media.endpoint), (self._by_rtcp, media.rtcp)):
                known = () if endpoint is None else index.get(endpoint, ())
                left = tuple(entry for entry in known if entry.call_id != call_id)
                if endpoint is not None and left:
                    index[endpoint] = left
                elif endpoint is not None:
                    index.pop(endpoint, None)
        self._open.pop(call_id, None)

    def forget_calls(self, call_ids: Collection[str]) -> None:
        """Forget what these calls announced, but for what still holds: a later call may have the same Call-ID."""
        over = [entry for entry in self._order if entry.until is not None and entry.call_id in call_ids]
        if over:
            gone = set(map(id, over))
            self._order = deque(entry for entry in self._order if id(entry) not in gone)
            for entry in over:
                self._forget(entry)
            self.forgotten -= len(over)
        for call_id in call_ids:
            self._spans.pop(call_id, None)

    def end(self, call_id: str, at: int) -> None:
        """The call ended: nothing it announced holds any longer."""
        for entry in self._open.pop(call_id, ()):
            entry.until = at

    def note_span(self, call_id: str, span: Span) -> None:
        """Record a hold or a T.38 phase; one that was open with the same start and name is replaced by it."""
        spans = self._spans.get(call_id)
        if spans is None:
            spans = self._spans[call_id] = []
            self._span_order.append(call_id)
            if len(self._span_order) > self._size:
                self._spans.pop(self._span_order.popleft(), None)
        for position, known in enumerate(spans):
            if known.start == span.start and known.what == span.what:
                spans[position] = span
                return
        if len(spans) < SPAN_LIMIT:
            spans.append(span)

    def spans(self, call_id: str) -> tuple[Span, ...]:
        """Holds and T.38 phases of a call in the order of their beginning."""
        self._catch_up()
        return tuple(sorted(self._spans.get(call_id, ()), key=lambda span: span.start))

    def lookup(self, src: Endpoint, dst: Endpoint, first: int, last: int) -> Negotiated | None:
        """What was negotiated for a stream from `src` to `dst` whose packets lie between `first` and `last` [ns].

        The receiver's announcement counts before the sender's: its payload numbers are those it asked for (RFC 3264
        6.1). Of several calls the one that announced both ends wins, then the one that covers the stream best, then
        the latest.
        """
        self._catch_up()
        return self._search(self._by_endpoint.get(src, ()), self._by_endpoint.get(dst, ()), dst, first, last)

    def lookup_all(self, streams: Iterable[tuple[Endpoint, Endpoint, int, int]]) -> list[Negotiated | None]:
        """`lookup` for many streams."""
        self._catch_up()
        known = self._by_endpoint.get
        return [self._search(known(src, ()), known(dst, ()), dst, first, last) for src, dst, first, last in streams]

    def lookup_rtcp(self, src: Endpoint, dst: Endpoint, first: int, last: int) -> Negotiated | None:
        """The same for RTCP, by the endpoints that `a=rtcp`, rtcp-mux or the port rule of RFC 3550 11 name."""
        self._catch_up()
        return self._search(self._announcing_rtcp(src), self._announcing_rtcp(dst), dst, first, last)

    def _catch_up(self) -> None:
        if self.before_lookup is not None:
            self.before_lookup()

    def _announcing_rtcp(self, endpoint: Endpoint) -> tuple[_Entry, ...]:
        media = self._by_endpoint.get(Endpoint(endpoint.ip, endpoint.port - 1), ())
        muxed = self._by_endpoint.get(endpoint, ())
        usual = tuple(entry for entry in (*media, *muxed) if entry.media.rtcp == endpoint)
        return (*self._by_rtcp.get(endpoint, ()), *usual)

    def _search(
        self, of_src: tuple[_Entry, ...], of_dst: tuple[_Entry, ...], dst: Endpoint, first: int, last: int
    ) -> Negotiated | None:
        receiving = [entry for entry in of_dst if entry.covers(first, last)] if of_dst else []
        sending = [entry for entry in of_src if entry.covers(first, last)] if of_src else []
        if receiving and dst.is_multicast:
            # Music on hold plays to a group whether or not a call listens: only what a call asked for first is its own.
            receiving = [entry for entry in receiving if entry.since - EARLY <= first]
            sending = []
        if receiving:
            chosen = receiving[0]
            if len(receiving) > 1:
                chosen = _best(receiving, {entry.call_id for entry in sending}, first, last)
            return Negotiated(chosen.call_id, chosen.media, "dst", _merged(chosen, receiving, sending))
        if sending:
            chosen = _best(sending, frozenset(), first, last)
            return Negotiated(chosen.call_id, chosen.media, "src", _merged(chosen, sending, ()))
        return None


def _is_usual(rtcp: Endpoint, endpoint: Endpoint) -> bool:
    return rtcp.ip == endpoint.ip and rtcp.port - endpoint.port in (0, 1)


def _best(entries: list[_Entry], both_ends: Iterable[str], first: int, last: int) -> _Entry:
    if len(entries) == 1:
        return entries[0]
    candidates = [entry for entry in entries if entry.call_id in both_ends] or entries
    most = max(entry.overlap(first, last) for entry in candidates)
    close = [entry for entry in candidates if entry.overlap(first, last) >= most * _SAME_OVERLAP]
    return max(close, key=lambda entry: entry.since)


def _merged(chosen: _Entry, own: Iterable[_Entry], other: Iterable[_Entry]) -> Mapping[int, CodecFormat]:
    formats = chosen.media.formats
    same_call = [entry.media.formats for entry in (*other, *own) if entry.call_id == chosen.call_id]
    if all(each is formats for each in same_call):  # nearly always: equal ones are kept once
        return formats
    merged: dict[int, CodecFormat] = {}
    for each in (*same_call, formats):
        merged.update(each)
    return formats if merged == formats else merged
