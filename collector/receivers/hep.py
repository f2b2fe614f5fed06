"""Receives HEP over UDP, TCP and TLS as a Homer server does, and hands the captured messages on."""

from __future__ import annotations

import hmac
import ssl
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from collector.capture.columns import PENDING_AT, PENDING_ROWS
from collector.facts import Endpoint
from collector.protocols.hep import HepError, HepPacket, HepParser
from collector.protocols.hep_numba_fns import FRAME, FRAME_END, READ
from collector.receivers.hep_frames import (
    NO_KEY,
    FrameCutter,
    Frames,
    ReceivedBatch,
    ReceivedMessage,
    frames_of,
    read_frames,
)
from collector.receivers.listening import Clock, ConnectionLimits, Listen, ListenError, Ports

PORT = 9060
"""Where senders look for a server unless told otherwise."""
__all__ = ["CLOCK_LIMIT", "PORT", "Consumer", "HepReceiver", "HepSettings", "ReceivedMessage", "tls_context"]

CLOCK_LIMIT = 86_400_000_000_000
"""A sender's time that is farther from ours is replaced by ours [ns]."""


class Consumer(Protocol):
    """Takes messages as they come."""

    def take(self, messages: Sequence[ReceivedMessage]) -> None:
        """Take messages in the order of their arrival; must return soon, the receiver reads nothing meanwhile."""

    @property
    def full(self) -> bool:
        """Whether it wants no more until somebody fetched what it has: the receiver pauses, and is resumed by them."""


@dataclass(frozen=True, slots=True)
class HepSettings:
    """How HEP is received."""

    listen: tuple[Listen, ...] = (Listen("udp", "", PORT), Listen("tcp", "", PORT))
    auth_key: bytes | None = None
    """Key that every packet must carry; None takes packets with any key or none."""
    certificate: Path | None = None
    """PEM file of the certificate for TLS, its chain behind it."""
    key: Path | None = None
    """PEM file of its key; None: in the file of the certificate."""
    client_authority: Path | None = None
    """PEM file of the authority that must have signed the senders' certificates; None asks for none."""
    limits: ConnectionLimits = field(default_factory=ConnectionLimits)


class HepReceiver:
    """Listens for HEP; what it received is what it handed on plus what it found malformed."""

    def __init__(self, settings: HepSettings, consumer: Consumer, clock: Clock) -> None:
        self._settings = settings
        self._consumer = consumer
        self._parse = HepParser().parse
        key = settings.auth_key
        self._key = NO_KEY if key is None else np.frombuffer(key, np.uint8)
        self._by_hand = key is not None and not key
        """An empty key is asked for, which the kernel does not know from none."""
        self.ports = Ports(settings.limits, clock, self._take_datagrams, self._framed)
        self.received = 0
        """Packets that came."""
        self.handed_on = 0
        """Of these, given to the consumer."""
        self.malformed: Counter[str] = Counter()
        """Of these, refused, by reason."""
        self.skipped_octets = 0
        """Octets of connections that were no packets."""
        self.times_replaced = 0
        """Packets whose sender's clock is more than a day off, or that carry no time."""

    async def open(self) -> list[Listen]:
        """Begin to listen; gives the addresses. ListenError where that fails."""
        settings = self._settings
        return await self.ports.open(settings.listen, None if settings.certificate is None else tls_context(settings))

    def _take_datagrams(
        self, datagrams: Sequence[tuple[bytes, Endpoint]], arrived: int
    ) -> list[tuple[bytes, Endpoint]]:
        self.take([data for data, _ in datagrams], arrived)
        return []

    def _framed(self, peer: Endpoint) -> _Packets:
        return _Packets(self)

    def take(self, packets: Sequence[bytes], arrived: int) -> None:
        """Take packets that came together."""
        for begin in range(0, len(packets), PENDING_ROWS):
            self.take_frames(frames_of(packets[begin : begin + PENDING_ROWS]), arrived)

    def take_frames(self, frames: Frames, arrived: int) -> None:
        """Take packets that lie in a window."""
        rows = frames.rows
        self.received += len(rows)
        others: dict[int, ReceivedMessage] = {}
        if not read_frames(frames, self._key) or self._by_hand:
            frames, others = self._read_others(frames, arrived)
            rows = frames.rows
        if not len(rows):
            return
        times = rows[:, PENDING_AT]
        # What a message was read of has its time already.
        strange = (np.abs(times - arrived) > CLOCK_LIMIT) & (rows[:, READ] > 0)
        if strange.any():
            self.times_replaced += int(strange.sum())
            times[strange] = arrived
        self.handed_on += len(rows)
        self._consumer.take(ReceivedBatch(frames, arrived, others, lambda data: self._again(data, arrived)))
        if self._consumer.full:
            self.ports.pause()

    def _read_others(self, frames: Frames, arrived: int) -> tuple[Frames, dict[int, ReceivedMessage]]:
        """Packets that are no plain SIP, as messages by their places; those that are refused have none."""
        window, rows = frames
        if self._by_hand:
            rows[:, READ] = 0
        refused: list[int] = []
        others: dict[int, ReceivedMessage] = {}
        for number in np.flatnonzero(rows[:, READ] == 0).tolist():
            begin, end = int(rows[number, FRAME]), int(rows[number, FRAME_END])
            message = self._read(window[begin:end].tobytes(), arrived)
            if message is None:
                refused.append(number)
            else:
                others[number - len(refused)] = message
        return Frames(window, np.delete(rows, refused, axis=0) if refused else rows), others

    def _read(self, data: bytes, arrived: int) -> ReceivedMessage | None:
        key = self._settings.auth_key
        try:
            packet = self._parse(data)
        except HepError as error:
            self.malformed[error.defect] += 1
            return None
        if key is not None and not hmac.compare_digest(packet.auth_key or b"", key):
            self.malformed["auth_key_wrong"] += 1
            return None
        at = packet.at
        if at is None or abs(at - arrived) > CLOCK_LIMIT:
            self.times_replaced += 1
            at = arrived
        return _message(packet, at, arrived)

    def _again(self, data: bytes, arrived: int) -> ReceivedMessage:
        """The message of a packet that was read and counted before."""
        packet = self._parse(data)
        at = packet.at
        return _message(packet, arrived if at is None or abs(at - arrived) > CLOCK_LIMIT else at, arrived)

    def lost(self) -> dict[str, int]:
        """What did not get through, by reason."""
        found = {f"hep_{name}": count for name, count in dict(self.malformed).items()}
        found |= self.ports.lost()
        found["hep_skipped_octets"] = self.skipped_octets
        return {name: count for name, count in sorted(found.items()) if count}


def _message(packet: HepPacket, at: int, arrived: int) -> ReceivedMessage:
    return ReceivedMessage(
        at, arrived, packet.src, packet.dst, packet.transport, packet.payload_type, packet.payload, packet.capture_id,
        packet.correlation_id,
    )  # fmt: skip


class _Packets:
    """One connection's stream of packets."""

    def __init__(self, receiver: HepReceiver) -> None:
        self._receiver = receiver
        self._stream = FrameCutter()

    def feed(self, data: bytes, arrived: int) -> bytes:
        for frames in self._stream.feed(data):
            self._receiver.take_frames(frames, arrived)
        return b""

    @property
    def waiting(self) -> int:
        return self._stream.waiting

    @property
    def skipped(self) -> int:
        return self._stream.skipped

    def finish(self) -> None:
        self._receiver.skipped_octets += self._stream.skipped
        if self._stream.finish():
            self._receiver.received += 1
            self._receiver.malformed["cut_short"] += 1


def tls_context(settings: HepSettings) -> ssl.SSLContext:
    """TLS 1.2 or newer with the settings' certificate; ListenError where it cannot be used."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.certificate or "", settings.key)
        if settings.client_authority is not None:
            context.load_verify_locations(settings.client_authority)
            context.verify_mode = ssl.CERT_REQUIRED
    except OSError as error:
        raise ListenError(
            f"the certificate {settings.certificate} cannot be used: {error.strerror or error}"
        ) from error
    return context
