"""IP datagrams put together from their fragments (RFC 791 3.2, RFC 815, RFC 8200 4.5, RFC 5722)."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter, OrderedDict
from typing import Final, NamedTuple

DATAGRAM_MAX: Final = 65_535
_PART_COST: Final = 120  # what Python needs to hold one part, so that many tiny ones are bounded too


class FragmentLimits(NamedTuple):
    """What reassembly may hold at most; past it the oldest datagram is given up and counted."""

    datagrams: int = 1_024
    held_bytes: int = 8 << 20
    timeout: int = 30_000_000_000
    """From a datagram's first fragment [ns]."""
    copy_time: int = 20_000_000
    """How long after a fragment of a datagram that is complete an equal one is a mirror copy of it [ns]."""


class _Key(NamedTuple):
    version: int
    src: bytes
    dst: bytes
    protocol: int
    ident: int


class _Part(NamedTuple):
    start: int
    payload: bytes

    @property
    def end(self) -> int:
        return self.start + len(self.payload)


class _Datagram:
    """The parts of one datagram, in order, none overlapping another."""

    __slots__ = ("arrivals", "covered", "first_at", "is_done", "parts", "spoiled", "total")

    def __init__(self, at: int) -> None:
        self.first_at = at
        self.parts: list[_Part] = []
        self.covered = 0
        self.total: int | None = None
        """Known with the last fragment."""
        self.spoiled = False
        """Can never be complete; what still comes of it is dropped."""
        self.is_done = False
        self.arrivals: dict[int, tuple[int, int]] = {}
        """By offset: hash of a fragment and when it came."""

    @property
    def cost(self) -> int:
        return self.covered + _PART_COST * (len(self.parts) + len(self.arrivals))

    @property
    def is_complete(self) -> bool:
        return self.covered == self.total

    def overlapping(self, start: int, end: int) -> list[_Part]:
        first = bisect_left(self.parts, start, key=lambda part: part.end)
        if first < len(self.parts) and self.parts[first].end == start:
            first += 1
        last = bisect_left(self.parts, end, key=lambda part: part.start)
        return self.parts[first:last]

    def fill(self, start: int, payload: bytes) -> None:
        """Take the bytes that are not yet there: the first that came win."""
        at, end = start, start + len(payload)
        for part in self.overlapping(start, end):
            self._put(at, payload[at - start : max(part.start - start, at - start)])
            at = part.end
        self._put(at, payload[at - start :])

    def spoil(self) -> None:
        self.spoiled = True
        self.parts.clear()
        self.arrivals.clear()
        self.covered = 0

    def _put(self, start: int, payload: bytes) -> None:
        if payload:
            insort(self.parts, _Part(start, payload))
            self.covered += len(payload)


class Reassembler:
    """Collects fragments until their datagram is whole; time is the packets' own.

    `defects` counts what was not put together and why, `counts` what is no defect.
    """

    def __init__(self, limits: FragmentLimits = FragmentLimits()) -> None:  # noqa: B008  # immutable
        self.defects: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self._limits = limits
        self._datagrams: OrderedDict[_Key, _Datagram] = OrderedDict()
        self._held = 0

    def __len__(self) -> int:
        """Datagrams in the table."""
        return len(self._datagrams)

    @property
    def held_bytes(self) -> int:
        return self._held

    def feed_v4(
        self,
        at: int,
        src: bytes,
        dst: bytes,
        protocol: int,
        ident: int,
        offset: int,
        more: bool,
        payload: bytes,
        truncated: bool = False,
    ) -> bytes | None:
        """The payload of the whole datagram once this fragment completes it.

        `at` [ns since the epoch], `offset` [octets], `truncated` when the snap length cut the fragment. Where fragments
        overlap the first one wins (RFC 791 leaves it open).
        """
        return self._feed(at, _Key(4, src, dst, protocol, ident), offset, more, payload, truncated)

    def feed_v6(
        self,
        at: int,
        src: bytes,
        dst: bytes,
        next_header: int,
        ident: int,
        offset: int,
        more: bool,
        payload: bytes,
        truncated: bool = False,
    ) -> bytes | None:
        """As `feed_v4`, with `next_header` of the fragment header.

        Fragments that overlap spoil their datagram (RFC 5722 4).
        """
        return self._feed(at, _Key(6, src, dst, next_header, ident), offset, more, payload, truncated)

    def finish(self) -> None:
        """The capture has ended: count what is not complete."""
        while self._datagrams:
            self._give_up("fragments_incomplete")

    def _feed(self, at: int, key: _Key, offset: int, more: bool, payload: bytes, truncated: bool) -> bytes | None:
        self._expire(at)
        if not offset and not more and not truncated:
            return payload  # RFC 6946: a datagram in one fragment stands apart from all others
        if self._is_unusable(offset, more, payload, truncated):
            return None
        datagram = self._datagrams.get(key)
        if datagram is not None and datagram.is_done:
            known, arrived = datagram.arrivals.get(offset, (None, 0))
            if known == hash(payload) and at - arrived <= self._limits.copy_time:
                self.counts["fragments_repeated"] += 1
                return None
            # The identification is used again.
            self._held -= datagram.cost
            del self._datagrams[key]
            datagram = None
        if datagram is None:
            datagram = self._datagrams[key] = _Datagram(at)
        self._held -= datagram.cost
        whole = self._add(datagram, key.version, at, offset, more, payload, truncated)
        self._held += datagram.cost
        self._evict()
        return whole

    def _is_unusable(self, offset: int, more: bool, payload: bytes, truncated: bool) -> bool:
        if offset + len(payload) > DATAGRAM_MAX:
            self.defects["fragment_too_long"] += 1
        elif truncated:
            return False
        elif not payload:
            self.defects["fragment_empty"] += 1
        elif more and len(payload) % 8:  # RFC 8200 4.5
            self.defects["fragment_unaligned"] += 1
        else:
            return False
        return True

    def _add(
        self, datagram: _Datagram, version: int, at: int, offset: int, more: bool, payload: bytes, truncated: bool
    ) -> bytes | None:
        if datagram.spoiled:
            return None
        if truncated:
            self._spoil(datagram, "fragments_truncated")
            return None
        end = offset + len(payload)
        total = datagram.total
        last = datagram.parts[-1].end if datagram.parts else 0
        if (total is not None and (end > total or (not more and end != total))) or (not more and last > end):
            self._spoil(datagram, "fragments_inconsistent")
            return None
        overlapping = datagram.overlapping(offset, end)
        if overlapping == [_Part(offset, payload)]:
            self.counts["fragments_repeated"] += 1
        elif overlapping and version == 6:
            self._spoil(datagram, "fragments_overlap")
            return None
        else:
            self.defects.update(["fragments_overlap"] if overlapping else [])
            datagram.fill(offset, payload)
            datagram.arrivals[offset] = hash(payload), at
        datagram.total = total if more else end
        if not datagram.is_complete:
            return None
        whole = b"".join(part.payload for part in datagram.parts)
        datagram.is_done = True
        datagram.parts.clear()
        datagram.covered = 0
        return whole

    def _spoil(self, datagram: _Datagram, defect: str) -> None:
        self.defects[defect] += 1
        datagram.spoil()

    def _expire(self, at: int) -> None:
        while self._datagrams:
            oldest = next(iter(self._datagrams.values()))
            if at - oldest.first_at <= self._limits.timeout:
                return
            self._give_up("fragments_incomplete")

    def _evict(self) -> None:
        while len(self._datagrams) > self._limits.datagrams or self._held > self._limits.held_bytes:
            self._give_up("fragments_evicted")

    def _give_up(self, defect: str) -> None:
        _, datagram = self._datagrams.popitem(last=False)
        self._held -= datagram.cost
        if not datagram.is_done and not datagram.spoiled:
            self.defects[defect] += 1
