"""HEP packets that came together: those with SIP in columns, read by a kernel, and all others as messages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from ipaddress import ip_address
from typing import NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from collector.capture import columns as c
from collector.facts import Endpoint
from collector.media.streams import address
from collector.protocols import hep_numba_fns as k
from collector.protocols.hep import HEADER, MAGIC, SIP, transport_number

Octets = NDArray[np.uint8]
Integers = NDArray[np.int64]

NO_KEY = np.zeros(0, np.uint8)


class ReceivedMessage(NamedTuple):
    """A message that somebody captured and sent us."""

    at: int
    """When it was captured [ns since the epoch], by the sender's clock where that is believable."""
    arrived: int
    """When it came here [ns since the epoch]."""
    src: Endpoint
    dst: Endpoint
    transport: str
    """Of the captured message: udp, tcp, tls, sctp."""
    payload_type: int
    """As in `collector.protocols.hep.PAYLOAD_NAMES`."""
    payload: bytes
    capture_id: int | None
    correlation_id: str | None


class Frames(NamedTuple):
    """Packets that lie in a window, one behind the other."""

    window: Octets
    rows: Integers
    """As in `hep_numba_fns`."""


class FrameCutter:
    """Cuts a TCP stream as `hep.HepStream` does, without an object for each packet."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._state = np.zeros(k.STATE_COLUMNS, np.int64)
        self.skipped = 0
        """Octets between packets that were none."""
        self.resynchronised = 0
        """Times that a packet was found again behind such octets, or was looked for in vain."""

    @property
    def waiting(self) -> int:
        """Octets of a packet that is not whole yet."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[Frames]:
        """Take the next octets; give the packets that are whole, at most `capture.columns.PENDING_ROWS` at a time."""
        buffer = self._buffer
        if buffer:
            buffer += data
            if len(buffer) < HEADER or (buffer.startswith(MAGIC) and len(buffer) < int.from_bytes(buffer[4:6], "big")):
                return []
            data = bytes(buffer)
        window = np.frombuffer(data, np.uint8)
        found: list[Frames] = []
        at, end, state = 0, len(data), self._state
        while True:
            rows = np.zeros((min(c.PENDING_ROWS, 1 + (end - at) // HEADER), c.PENDING_COLUMNS), np.int64)
            count = k.cut_frames(window, at, end, state, rows)
            if count:
                found.append(Frames(window, rows[:count]))
            at = int(state[k.STOPPED_AT])
            if state[k.STOPPED_BY] == k.GARBAGE:
                at = self._skip(data, at)
            elif state[k.STOPPED_BY] == k.WHOLE:
                break
        self._buffer = bytearray(data[at:])
        return found

    def _skip(self, data: bytes, at: int) -> int:
        """Where the next packet may begin, behind `at`."""
        found = data.find(MAGIC, at + 1)
        if found < 0:
            found = max(at + 1, len(data) - len(MAGIC) + 1)
        self.skipped += found - at
        self.resynchronised += 1
        return found

    def finish(self) -> int:
        """Octets of a packet that the end of the stream cut off."""
        left = len(self._buffer)
        self._buffer.clear()
        return left


def frames_of(datagrams: Sequence[bytes]) -> Frames:
    """Datagrams, each one packet."""
    rows = np.zeros((len(datagrams), c.PENDING_COLUMNS), np.int64)
    lengths = np.array(list(map(len, datagrams)), np.int64)
    rows[:, k.FRAME_END] = np.cumsum(lengths)
    rows[:, k.FRAME] = rows[:, k.FRAME_END] - lengths
    return Frames(np.frombuffer(b"".join(datagrams), np.uint8), rows)


def read_frames(frames: Frames, key: Octets) -> bool:
    """Read what can be read in columns; whether that is all."""
    return k.read_frames(frames.window, len(frames.rows), key, frames.rows) == len(frames.rows)


class ReceivedBatch(Sequence[ReceivedMessage]):
    """Messages that came together: SIP in columns, and by their places those that are not.

    `decode` makes a message of the octets of a packet, for those who want one.
    """

    def __init__(
        self, frames: Frames, arrived: int, others: Mapping[int, ReceivedMessage],
        decode: Callable[[bytes], ReceivedMessage],
    ) -> None:  # fmt: skip
        self._frames = frames
        self.arrived = arrived
        """When they came here [ns since the epoch]."""
        self._others = others
        self._decode = decode

    def __len__(self) -> int:
        return len(self._frames.rows)

    @overload
    def __getitem__(self, place: int) -> ReceivedMessage: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[ReceivedMessage, ...]: ...
    def __getitem__(self, place: int | slice) -> ReceivedMessage | tuple[ReceivedMessage, ...]:
        if isinstance(place, slice):
            return tuple(self[each] for each in range(len(self))[place])
        number = range(len(self))[place]
        if number in self._others:
            return self._others[number]
        begin, end = self._frames.rows[number, [k.FRAME, k.FRAME_END]].tolist()
        return self._decode(self._frames.window[begin:end].tobytes())

    @property
    def last_at(self) -> int:
        """When the last of them was captured [ns since the epoch]."""
        last = len(self) - 1
        return self._others[last].at if last in self._others else int(self._frames.rows[last, c.PENDING_AT])

    def sip(self) -> Frames | None:
        """All SIP in columns; None where some of it fits in none."""
        if not self._others:
            return self._frames
        return with_messages(self._frames, self._others)

    def others(self) -> list[ReceivedMessage]:
        """What is not SIP."""
        return [each for each in self._others.values() if each.payload_type != SIP]


def with_messages(frames: Frames, messages: Mapping[int, ReceivedMessage]) -> Frames | None:
    """SIP in columns: of rows, and of messages that stand in place of some rows; None where a message fits in none."""
    window, rows = frames
    rows = rows.copy()
    kept = np.ones(len(rows), np.bool_)
    payloads: list[bytes] = []
    end = len(window)
    for place, message in messages.items():
        if message.payload_type != SIP:
            kept[place] = False
            continue
        src, dst, protocol = _words(message.src.ip), _words(message.dst.ip), transport_number(message.transport)
        if src is None or dst is None or protocol < 0:
            return None
        row = rows[place]
        row[[c.SRC_HI, c.SRC_LO, c.DST_HI, c.DST_LO]] = *src, *dst
        row[[c.SPORT, c.DPORT, c.IP_PROTOCOL]] = message.src.port, message.dst.port, protocol
        row[[c.PAYLOAD, c.PAYLOAD_CAPTURED, c.PENDING_AT]] = end, len(message.payload), message.at
        payloads.append(message.payload)
        end += len(message.payload)
    if payloads:
        window = np.concatenate((window, np.frombuffer(b"".join(payloads), np.uint8)))
    return Frames(window, rows[kept])


@lru_cache(maxsize=4096)
def _words(ip: str) -> tuple[int, int] | None:
    """An address as kernels have it, where it is the same again as text."""
    try:
        value = ip_address(ip)
    except ValueError:
        return None
    whole = int(value) | (0xFFFF << 32 if value.version == 4 else 0)
    hi, lo = _signed(whole >> 64), _signed(whole & (1 << 64) - 1)
    return (hi, lo) if address(hi, lo) == ip else None


def _signed(word: int) -> int:
    return word - (1 << 64) if word >> 63 else word
