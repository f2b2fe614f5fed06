"""Receives HEP over UDP, TCP and TLS as a Homer server does, and hands the captured messages on."""

from __future__ import annotations

import hmac
import ssl
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from collector.facts import Endpoint
from collector.protocols.hep import HepError, HepPacket, HepParser, HepStream
from collector.receivers.listening import Clock, ConnectionLimits, Listen, ListenError, Ports

PORT = 9060
"""Where senders look for a server unless told otherwise."""
CLOCK_LIMIT = 86_400_000_000_000
"""A sender's time that is farther from ours is replaced by ours [ns]."""


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
        self.received += len(packets)
        key = self._settings.auth_key
        found: list[ReceivedMessage] = []
        for data in packets:
            try:
                packet = self._parse(data)
            except HepError as error:
                self.malformed[error.defect] += 1
                continue
            if key is not None and not hmac.compare_digest(packet.auth_key or b"", key):
                self.malformed["auth_key_wrong"] += 1
                continue
            found.append(self._message(packet, arrived))
        if found:
            self.handed_on += len(found)
            self._consumer.take(found)
            if self._consumer.full:
                self.ports.pause()

    def _message(self, packet: HepPacket, arrived: int) -> ReceivedMessage:
        at = packet.at
        if at is None or abs(at - arrived) > CLOCK_LIMIT:
            self.times_replaced += 1
            at = arrived
        return ReceivedMessage(
            at, arrived, packet.src, packet.dst, packet.transport, packet.payload_type, packet.payload,
            packet.capture_id, packet.correlation_id,
        )  # fmt: skip

    def lost(self) -> dict[str, int]:
        """What did not get through, by reason."""
        found = {f"hep_{name}": count for name, count in dict(self.malformed).items()}
        found |= self.ports.lost()
        found["hep_skipped_octets"] = self.skipped_octets
        return {name: count for name, count in sorted(found.items()) if count}


class _Packets:
    """One connection's stream of packets."""

    def __init__(self, receiver: HepReceiver) -> None:
        self._receiver = receiver
        self._stream = HepStream()

    def feed(self, data: bytes, arrived: int) -> bytes:
        packets = self._stream.feed(data)
        if packets:
            self._receiver.take(packets, arrived)
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
