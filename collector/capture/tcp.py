"""TCP (RFC 9293) as a tap sees it: both directions of a connection put in order, and the SIP messages they carry."""

from __future__ import annotations

from bisect import insort
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Final, NamedTuple

from collector.capture.framing import Frame, Message, SipFramer
from collector.capture.websocket import Handshake, WebSocketReader, starts_sip_frame
from collector.facts import Endpoint

__all__ = ["ACK", "RST", "SYN", "Message", "TcpLimits", "TcpStreams", "Verdict"]

SYN: Final = 0x02
RST: Final = 0x04
ACK: Final = 0x10

_MODULUS: Final = 1 << 32
_HTTP: Final = (b"GET ", b"HTTP/1.")


class TcpLimits(NamedTuple):
    """What the streams may hold at most; past it the oldest is given up and counted."""

    connections: int = 16_384
    buffered_bytes: int = 64 << 20
    """Over all connections."""
    gap_bytes: int = 1 << 20
    """Bytes that wait behind a gap; also how far sequence numbers may jump within one connection."""
    gap_segments: int = 256
    gap_time: int = 5_000_000_000
    """How long a missing segment is waited for [ns]."""
    judged_bytes: int = 2_048
    judged_segments: int = 8
    """How much a connection may carry without showing SIP; four times both when its beginning is missing."""


class Verdict(StrEnum):
    UNDECIDED = "undecided"
    SIP = "sip"
    WEBSOCKET = "websocket"
    IGNORED = "ignored"


class _Waiting(NamedTuple):
    """A segment behind a gap."""

    position: int
    at: int
    payload: bytes
    lost: int


class _Run(NamedTuple):
    """The next bytes of a direction, or how many of them are missing; `early` ones lie before the point of joining."""

    at: int
    payload: bytes
    lost: int = 0
    early: bool = False
    adjoining: bool = False


class _Sequence:
    """Puts the segments of one direction in order. Positions count from the first byte seen."""

    __slots__ = ("_acknowledged", "_limits", "_low", "_next", "_position", "_waiting", "joined", "waiting_bytes")

    def __init__(self, limits: TcpLimits) -> None:
        self._limits = limits
        self._next: int | None = None
        """Sequence number of the byte at `_position`."""
        self._position = 0
        self._low = 0
        self._acknowledged = 0
        """Position up to which the far end has everything."""
        self._waiting: list[_Waiting] = []
        self.waiting_bytes = 0
        self.joined = True
        """No SYN was seen: bytes may lie before the first that were."""

    @property
    def started(self) -> bool:
        return self._next is not None

    @property
    def carried(self) -> bool:
        """Any bytes were seen."""
        return bool(self._waiting) or self._position != self._low

    def begins_at(self, first: int) -> bool:
        """True when `first` is where this sequence began: its SYN was sent again."""
        return self._next is not None and not self.joined and (self._next - self._position - first) % _MODULUS == 0

    def open(self, first: int) -> None:
        self._next, self._position, self._low, self.joined = first, 0, 0, False
        self._acknowledged = 0

    def accept(self, at: int, seq: int, payload: bytes, lost: int) -> Iterator[_Run]:
        """What becomes readable with this segment; `lost` bytes at its end were not captured."""
        if self._next is None:
            self._next = seq
        distance = _distance(self._next, seq)
        if abs(distance) > self._limits.gap_bytes:
            yield from self.flush()
            yield _Run(at, b"", lost=max(distance, 1))
            self._next, distance = seq, 0
            self._position = self._low = self._acknowledged = 0
            self.joined = True
        start = self._position + distance
        if start < self._low and self.joined:
            adjoining = start + len(payload) >= self._low
            early, self._low = payload[: self._low - start], start
            yield _Run(at, early, early=True, adjoining=adjoining)
        if start + len(payload) + lost <= self._position:
            return
        if distance > 0:
            self._hold(_Waiting(start, at, payload, lost))
        else:
            yield from self._advance(at, start, payload, lost)
        yield from self._drain(at)
        yield from self.overdue(at)

    def acknowledge(self, ack: int) -> None:
        """The far end has every byte before sequence number `ack` (RFC 9293 3.1).

        What lies before it and is missing was lost by the tap alone: nobody will send it again.
        """
        if self._next is None:
            return
        distance = _distance(self._next, ack)
        if abs(distance) <= self._limits.gap_bytes:
            self._acknowledged = max(self._acknowledged, self._position + distance)

    def flush(self) -> Iterator[_Run]:
        """Give up waiting: all that is there, gaps marked."""
        while self._waiting:
            yield from self._skip()

    def forget(self) -> None:
        self._waiting.clear()
        self.waiting_bytes = 0

    def overdue(self, at: int) -> Iterator[_Run]:
        while self._overdue(at):
            yield from self._skip()

    def _overdue(self, at: int) -> bool:
        waiting, limits = self._waiting, self._limits
        return bool(waiting) and (
            len(waiting) > limits.gap_segments
            or self.waiting_bytes > limits.gap_bytes
            or at - waiting[0].at > limits.gap_time
            or waiting[0].position <= self._acknowledged
        )

    def _hold(self, segment: _Waiting) -> None:
        insort(self._waiting, segment)
        self.waiting_bytes += len(segment.payload)

    def _advance(self, at: int, start: int, payload: bytes, lost: int) -> Iterator[_Run]:
        fresh = payload[self._position - start :]
        end = start + len(payload) + lost
        missing = end - max(start + len(payload), self._position)
        self._next = ((self._next or 0) + end - self._position) % _MODULUS
        self._position = end
        if fresh:
            yield _Run(at, fresh)
        if missing:
            yield _Run(at, b"", lost=missing)

    def _drain(self, at: int | None) -> Iterator[_Run]:
        """What waited for nothing else; `at` is when the gap was closed, None when it was not."""
        latest = 0
        while self._waiting and self._waiting[0].position <= self._position:
            segment = self._waiting.pop(0)
            self.waiting_bytes -= len(segment.payload)
            latest = max(latest, segment.at)
            if segment.position + len(segment.payload) + segment.lost > self._position:
                yield from self._advance(latest if at is None else at, segment.position, segment.payload, segment.lost)

    def _skip(self) -> Iterator[_Run]:
        first = self._waiting[0]
        lost = first.position - self._position
        self._position = first.position
        self._next = ((self._next or 0) + lost) % _MODULUS
        yield _Run(first.at, b"", lost=lost)
        yield from self._drain(None)


class _Direction:
    """One direction: its sequence and what reads it, once its first bytes say what that is."""

    __slots__ = ("at", "dst", "opening", "reader", "sequence", "src")

    def __init__(self, src: Endpoint, dst: Endpoint, limits: TcpLimits) -> None:
        self.src = src
        self.dst = dst
        self.at = 0
        self.sequence = _Sequence(limits)
        self.opening = b""
        self.reader: SipFramer | WebSocketReader | Handshake | None = None

    @property
    def held(self) -> int:
        return self.sequence.waiting_bytes + (len(self.reader) if self.reader is not None else 0)

    @property
    def plausible(self) -> bool:
        return isinstance(self.reader, Handshake) or (self.reader is not None and self.reader.plausible)

    def messages(self, at: int, frames: Iterable[Frame]) -> list[Message]:
        transport = "ws" if isinstance(self.reader, WebSocketReader) else "tcp"
        return [Message(at, self.src, self.dst, transport, frame.data, frame.cut) for frame in frames]


class _Connection:
    """Two directions and what they carried so far."""

    __slots__ = ("bytes", "directions", "gaps", "held", "segments", "verdict")

    def __init__(self, one: Endpoint, other: Endpoint, limits: TcpLimits) -> None:
        self.directions = (_Direction(one, other, limits), _Direction(other, one, limits))
        self.verdict = Verdict.UNDECIDED
        self.segments = 0
        self.bytes = 0
        self.gaps = 0
        """Not yet counted: in a connection that is not SIP they are no defect."""
        self.held = 0

    @property
    def joined(self) -> bool:
        """The beginning of a direction is missing."""
        return self.gaps > 0 or any(each.sequence.started and each.sequence.joined for each in self.directions)


class TcpStreams:
    """All TCP connections of a capture that carry SIP or may yet turn out to.

    `defects` counts what was lost and why, `counts` what is worth knowing and no defect.
    """

    def __init__(self, limits: TcpLimits = TcpLimits()) -> None:  # noqa: B008  # immutable
        self.defects: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self._limits = limits
        self._connections: OrderedDict[tuple[Endpoint, Endpoint], _Connection] = OrderedDict()
        self._held = 0

    def __len__(self) -> int:
        """Connections in the table."""
        return len(self._connections)

    @property
    def held_bytes(self) -> int:
        """Bytes that wait for others, over all connections."""
        return self._held

    def feed(
        self,
        at: int,
        src: Endpoint,
        dst: Endpoint,
        seq: int,
        flags: int,
        payload: bytes,
        truncated_by: int = 0,
        ack: int | None = None,
    ) -> list[Message]:
        """The messages that this segment completes, also of other connections that had to be given up.

        `at` [ns since the epoch], `seq` and `flags` as in the header, `truncated_by` the bytes of the payload that the
        snap length left out, `ack` the acknowledgment number where the segment has one.
        """
        key = _key(src, dst)
        connection = self._connections.get(key)
        truncated_by = max(truncated_by, 0)
        if flags & RST:
            payload, truncated_by = b"", 0  # a reset may carry a text for people (RFC 9293 3.5.3)
        if not (payload or truncated_by or flags & SYN):
            return []
        if connection is not None and connection.verdict is Verdict.IGNORED and not flags & SYN:
            return []
        side = 0 if src == key[0] else 1
        messages: list[Message] = []
        if flags & SYN:
            connection, messages = self._open(key, connection, side, seq, flags)
            seq = (seq + 1) % _MODULUS
        elif connection is None:
            connection = self._connections[key] = _Connection(*key, self._limits)
        self._connections.move_to_end(key)
        direction = connection.directions[side]
        if ack is not None:
            # Before the payload: what the sender answers here, it had read by then.
            opposite = connection.directions[1 - side]
            opposite.sequence.acknowledge(ack)
            messages += self._read(connection, opposite, opposite.sequence.overdue(at))
        if payload or truncated_by:
            messages += self._read(connection, direction, direction.sequence.accept(at, seq, payload, truncated_by))
        for each in connection.directions:
            if each.sequence.waiting_bytes:
                messages += self._read(connection, each, each.sequence.overdue(at))
        self._judge(connection)
        self._account(connection)
        messages += self._evict()
        return messages

    def verdict(self, src: Endpoint, dst: Endpoint) -> Verdict:
        """What the connection between the two turned out to carry."""
        connection = self._connections.get(_key(src, dst))
        return Verdict.UNDECIDED if connection is None else connection.verdict

    def is_ignored(self, src: Endpoint, dst: Endpoint) -> bool:
        """True when only a segment with SYN on this connection need still be fed."""
        return self.verdict(src, dst) is Verdict.IGNORED

    def finish(self) -> list[Message]:
        """The capture has ended: what still waited behind gaps, and beginnings of messages."""
        messages: list[Message] = []
        for connection in self._connections.values():
            messages += self._end(connection)
        self._connections.clear()
        self._held = 0
        return messages

    def _open(
        self, key: tuple[Endpoint, Endpoint], connection: _Connection | None, side: int, seq: int, flags: int
    ) -> tuple[_Connection, list[Message]]:
        """The connection that a SYN belongs to, and what was left of the one before it on the same ports."""
        first = (seq + 1) % _MODULUS
        messages: list[Message] = []
        if connection is not None:
            own, other = connection.directions[side].sequence, connection.directions[1 - side].sequence
            if own.begins_at(first):
                return connection, messages
            # A SYN may overtake its SYN-ACK on the way to the tap, so the other direction counts once it has data.
            if own.carried or (other.carried and not flags & ACK) or connection.verdict is Verdict.IGNORED:
                messages = self._end(connection)
                self._held -= connection.held
                connection = None
        if connection is None:
            connection = self._connections[key] = _Connection(*key, self._limits)
        connection.directions[side].sequence.open(first)
        return connection, messages

    def _read(self, connection: _Connection, direction: _Direction, runs: Iterable[_Run]) -> list[Message]:
        messages: list[Message] = []
        for run in runs:
            if connection.verdict is Verdict.IGNORED:
                break
            direction.at = run.at
            if run.early:
                frames = self._consume_early(direction, run)
            elif run.lost:
                connection.gaps += 1
                frames = self._leap(direction, run.lost)
            else:
                frames = self._consume(connection, direction, run.payload)
            messages += direction.messages(run.at, frames)
        return messages

    def _consume(self, connection: _Connection, direction: _Direction, data: bytes) -> list[Frame]:
        if data.strip(b"\r\n"):  # keep-alives alone say nothing
            connection.segments += 1
            connection.bytes += len(data)
        late = connection.verdict is Verdict.UNDECIDED and not direction.plausible and starts_sip_frame(data)
        if direction.reader is None or late:
            data = self._choose(connection, direction, data)
        if isinstance(direction.reader, Handshake):
            try:
                rest = direction.reader.feed(data)
            except ValueError:
                self._ignore(connection)
                return []
            if rest is None:
                return []
            connection.verdict = Verdict.WEBSOCKET
            direction.reader, data = WebSocketReader(self.defects, self.counts), rest
        return direction.reader.feed(data) if direction.reader is not None else []

    def _choose(self, connection: _Connection, direction: _Direction, data: bytes) -> bytes:
        """Decide who reads this direction, by its first bytes; gives the bytes for that reader."""
        data, direction.opening = direction.opening + data, b""
        if data.startswith(_HTTP):
            direction.reader = Handshake()
        elif any(start.startswith(data) for start in _HTTP):
            direction.opening = data  # too short to tell
        elif connection.verdict is Verdict.WEBSOCKET or starts_sip_frame(data):
            connection.verdict = Verdict.WEBSOCKET
            direction.reader = WebSocketReader(self.defects, self.counts)
        else:
            direction.reader = SipFramer(self.defects, self.counts)
        return data

    def _consume_early(self, direction: _Direction, run: _Run) -> list[Frame]:
        reader = direction.reader
        if isinstance(reader, SipFramer) and run.adjoining:
            return reader.prepend(run.payload)
        return SipFramer(Counter(), Counter()).feed(run.payload)

    def _leap(self, direction: _Direction, lost: int) -> list[Frame]:
        reader, direction.opening = direction.reader, b""
        if reader is None or isinstance(reader, Handshake):
            direction.reader = None
            return []
        return reader.gap(lost)

    def _judge(self, connection: _Connection) -> None:
        if connection.verdict is Verdict.UNDECIDED:
            readers = [each.reader for each in connection.directions]
            if any(isinstance(reader, SipFramer) and reader.confirmed for reader in readers):
                connection.verdict = Verdict.SIP
            elif self._is_hopeless(connection):
                self._ignore(connection)
        if connection.verdict in (Verdict.SIP, Verdict.WEBSOCKET) and connection.gaps:
            self.defects["tcp_gap"] += connection.gaps
            connection.gaps = 0

    def _is_hopeless(self, connection: _Connection) -> bool:
        limits = self._limits
        if any(each.plausible for each in connection.directions):
            return False
        if connection.joined:  # perhaps inside a long message
            return connection.segments >= 4 * limits.judged_segments and connection.bytes >= 4 * limits.judged_bytes
        return connection.segments >= limits.judged_segments or connection.bytes >= limits.judged_bytes

    def _ignore(self, connection: _Connection) -> None:
        connection.verdict = Verdict.IGNORED
        self.counts["ignored_flows"] += 1
        for direction in connection.directions:
            direction.reader = None
            direction.sequence.forget()

    def _account(self, connection: _Connection) -> None:
        held = sum(each.held for each in connection.directions)
        self._held += held - connection.held
        connection.held = held

    def _evict(self) -> list[Message]:
        messages: list[Message] = []
        while len(self._connections) > self._limits.connections or self._held > self._limits.buffered_bytes:
            _, connection = self._connections.popitem(last=False)
            self._held -= connection.held
            if connection.held or connection.verdict in (Verdict.SIP, Verdict.WEBSOCKET):
                self.defects["tcp_evicted"] += 1
            messages += self._end(connection)
        return messages

    def _end(self, connection: _Connection) -> list[Message]:
        messages: list[Message] = []
        for direction in connection.directions:
            messages += self._read(connection, direction, direction.sequence.flush())
            if isinstance(direction.reader, SipFramer | WebSocketReader):
                messages += direction.messages(direction.at, direction.reader.finish())
        self._judge(connection)
        return messages


def _distance(one: int, other: int) -> int:
    """How far `other` lies past `one` as sequence numbers (RFC 9293 3.4)."""
    return (other - one + (_MODULUS >> 1)) % _MODULUS - (_MODULUS >> 1)


def _key(src: Endpoint, dst: Endpoint) -> tuple[Endpoint, Endpoint]:
    return (src, dst) if src < dst else (dst, src)
