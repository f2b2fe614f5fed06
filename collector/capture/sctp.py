"""SIP over SCTP (RFC 9260, RFC 4168): user messages out of DATA chunks."""

from __future__ import annotations

import struct
from collections import Counter, OrderedDict
from collections.abc import Iterator
from typing import Final, NamedTuple

from collector.capture.framing import STREAM_LIMIT, Message
from collector.facts import Endpoint
from collector.protocols.sip import looks_like_sip

DATA: Final = 0

_END: Final = 0x01  # RFC 9260 3.3.1
_BEGINNING: Final = 0x02
_COMMON_HEADER: Final = 12
_MODULUS: Final = 1 << 32
_FRAGMENT_COST: Final = 240  # what Python needs to hold one, so that many tiny ones are bounded too
_DATA_HEADER: Final = struct.Struct(">IHHI")


class SctpLimits(NamedTuple):
    """What associations may hold at most; past it the oldest is given up and counted."""

    directions: int = 2_048
    held_bytes: int = 32 << 20
    fragments: int = 256
    """Of one direction, waiting for the rest of their message."""
    remembered: int = 256
    """TSNs of one direction by which a retransmission is known."""
    judged_messages: int = 8
    """How many user messages a direction may carry without SIP."""


class Chunk(NamedTuple):
    """RFC 9260 3.2."""

    kind: int
    flags: int
    value: bytes
    cut_by: int
    """Octets of it that were not captured."""


class _Fragment(NamedTuple):
    flags: int
    stream: int
    data: bytes


def chunks(packet: bytes) -> Iterator[Chunk]:
    """The chunks of an SCTP packet, its common header included. Raises ValueError when one cannot be."""
    at = _COMMON_HEADER
    if len(packet) < at:
        raise ValueError("sctp_header_cut")
    while at + 4 <= len(packet):
        kind, flags, length = struct.unpack_from(">BBH", packet, at)
        if length < 4:
            raise ValueError("sctp_chunk_length_malformed")
        yield Chunk(kind, flags, packet[at + 4 : at + length], max(at + length - len(packet), 0))
        at += length + -length % 4


class _Direction:
    """What one side of an association sent."""

    __slots__ = ("fragments", "held", "is_sip", "others", "seen")

    def __init__(self) -> None:
        self.fragments: OrderedDict[int, _Fragment] = OrderedDict()
        self.held = 0
        self.seen: OrderedDict[int, None] = OrderedDict()
        self.is_sip = False
        self.others = 0
        """User messages that were no SIP."""


class SctpAssociations:
    """All SCTP associations of a capture that carry SIP or may yet turn out to.

    `defects` counts what was lost and why, `counts` what is no defect.
    """

    def __init__(self, limits: SctpLimits = SctpLimits()) -> None:  # noqa: B008  # immutable
        self.defects: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self._limits = limits
        self._directions: OrderedDict[tuple[Endpoint, Endpoint, int], _Direction] = OrderedDict()
        self._held = 0

    def __len__(self) -> int:
        """Directions in the table."""
        return len(self._directions)

    @property
    def held_bytes(self) -> int:
        return self._held

    def feed(self, at: int, src: Endpoint, dst: Endpoint, payload: bytes) -> list[Message]:
        """The SIP messages that this packet completes.

        `at` [ns since the epoch]; `payload` begins with the common header. What the snap length cut off is noticed by
        the lengths of the chunks.
        """
        messages: list[Message] = []
        key = (src, dst, int.from_bytes(payload[4:8], "big"))
        try:
            for chunk in chunks(payload):
                if chunk.kind == DATA:
                    direction = self._direction(key)
                    messages += [
                        Message(at, src, dst, "sctp", data, cut) for data, cut in self._take(direction, chunk) if data
                    ]
        except ValueError as error:
            self.defects[str(error)] += 1
        self._evict()
        return messages

    def is_ignored(self, src: Endpoint, dst: Endpoint, verification_tag: int) -> bool:
        """True when this direction has shown itself to carry something else."""
        direction = self._directions.get((src, dst, verification_tag))
        return direction is not None and self._is_foreign(direction)

    def finish(self) -> None:
        """The capture has ended: count the messages of which only a part came."""
        for direction in self._directions.values():
            self._abandon(direction)
        self._directions.clear()
        self._held = 0

    def _direction(self, key: tuple[Endpoint, Endpoint, int]) -> _Direction:
        # The verification tag is new with each association (RFC 9260 5.3.1), so ports may be used again.
        direction = self._directions.get(key)
        if direction is None:
            direction = self._directions[key] = _Direction()
        self._directions.move_to_end(key)
        return direction

    def _is_foreign(self, direction: _Direction) -> bool:
        return not direction.is_sip and direction.others >= self._limits.judged_messages

    def _take(self, direction: _Direction, chunk: Chunk) -> Iterator[tuple[bytes, bool]]:
        """The user message that a DATA chunk completes, and whether its end is missing."""
        if self._is_foreign(direction):
            return
        if len(chunk.value) < _DATA_HEADER.size:
            raise ValueError("sctp_data_chunk_cut" if chunk.cut_by else "sctp_data_chunk_malformed")
        tsn, stream, _, _ = _DATA_HEADER.unpack_from(chunk.value)
        if tsn in direction.seen:
            self.counts["sctp_retransmissions"] += 1
            return
        direction.seen[tsn] = None
        if len(direction.seen) > self._limits.remembered:
            direction.seen.popitem(last=False)
        data = chunk.value[_DATA_HEADER.size :]
        if chunk.cut_by:
            self.defects["sctp_data_chunk_cut"] += 1
        both = _BEGINNING | _END
        if chunk.flags & both == both:
            yield self._judge(direction, data), chunk.cut_by > 0
        elif not chunk.cut_by:
            self._hold(direction, tsn, _Fragment(chunk.flags & both, stream, data))
            yield self._join(direction, tsn, stream), False

    def _hold(self, direction: _Direction, tsn: int, fragment: _Fragment) -> None:
        direction.fragments[tsn] = fragment
        self._account(direction, len(fragment.data) + _FRAGMENT_COST)
        while len(direction.fragments) > self._limits.fragments or direction.held > STREAM_LIMIT:
            self._drop(direction, next(iter(direction.fragments)))
            self.defects["sctp_fragments_evicted"] += 1

    def _join(self, direction: _Direction, tsn: int, stream: int) -> bytes:
        """The message that the fragment `tsn` belongs to, once all are there: their TSNs follow each other (6.9)."""
        first, last = tsn, tsn
        while (fragment := direction.fragments.get(first)) and not fragment.flags & _BEGINNING:
            first = (first - 1) % _MODULUS
        while fragment and (fragment := direction.fragments.get(last)) and not fragment.flags & _END:
            last = (last + 1) % _MODULUS
        if fragment is None:
            return b""
        count = (last - first) % _MODULUS + 1
        parts = [self._drop(direction, (first + number) % _MODULUS) for number in range(count)]
        if any(part.stream != stream for part in parts):
            self.defects["sctp_fragments_inconsistent"] += 1
            return b""
        return self._judge(direction, b"".join(part.data for part in parts))

    def _judge(self, direction: _Direction, data: bytes) -> bytes:
        if looks_like_sip(data):
            direction.is_sip = True
            return data
        direction.others += 1
        if data.strip(b"\r\n"):
            self.counts["sctp_not_sip"] += 1
        if self._is_foreign(direction):
            self.counts["ignored_flows"] += 1
        return b""

    def _drop(self, direction: _Direction, tsn: int) -> _Fragment:
        fragment = direction.fragments.pop(tsn)
        self._account(direction, -len(fragment.data) - _FRAGMENT_COST)
        return fragment

    def _account(self, direction: _Direction, size: int) -> None:
        direction.held += size
        self._held += size

    def _evict(self) -> None:
        while len(self._directions) > self._limits.directions or self._held > self._limits.held_bytes:
            _, direction = self._directions.popitem(last=False)
            self._held -= direction.held
            if direction.is_sip or direction.held:
                self.defects["sctp_evicted"] += 1
            self._abandon(direction)

    def _abandon(self, direction: _Direction) -> None:
        beginnings = sum(1 for fragment in direction.fragments.values() if fragment.flags & _BEGINNING)
        if beginnings and not self._is_foreign(direction):
            self.defects["sctp_message_incomplete"] += beginnings
