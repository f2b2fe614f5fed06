"""Calls as HEP packets, and a source that runs while a test sends to it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from collector.calls import CallLimits
from collector.facts import Call, Endpoint
from collector.live.source import Found
from collector.protocols.hep import SIP, HepPacket, serialize
from collector.receivers.hep import HepSettings
from collector.receivers.hep_source import HepSource
from collector.receivers.listening import Listen
from collector.receivers.sip_intake import CALL_LIMITS

ALICE, BOB = Endpoint("192.0.2.1", 5060), Endpoint("192.0.2.2", 5060)


def message(start: str, cseq: str, call_id: str, *extra: str, to_tag: str = ";tag=b") -> bytes:
    method = cseq.split()[1]
    lines = (
        start,
        f"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK{call_id}{method}",
        "From: <sip:1001@example.com>;tag=a",
        f"To: <sip:2002@example.com>{to_tag}",
        f"Call-ID: {call_id}",
        f"CSeq: {cseq}",
        "Contact: <sip:1001@192.0.2.1:5060>",
        "Max-Forwards: 70",
        *extra,
        "Content-Length: 0",
        "",
        "",
    )
    return "\r\n".join(lines).encode()


def call_messages(call_id: str, *bye_headers: str) -> list[tuple[bytes, bool]]:
    """One answered call: its messages, and whether the caller sent each."""
    return [
        (message("INVITE sip:2002@example.com SIP/2.0", "1 INVITE", call_id, to_tag=""), True),
        (message("SIP/2.0 180 Ringing", "1 INVITE", call_id), False),
        (message("SIP/2.0 200 OK", "1 INVITE", call_id), False),
        (message("ACK sip:2002@example.com SIP/2.0", "1 ACK", call_id), True),
        (message("BYE sip:2002@example.com SIP/2.0", "2 BYE", call_id, *bye_headers), True),
        (message("SIP/2.0 200 OK", "2 BYE", call_id), False),
    ]


def call_packets(call_id: str, *bye_headers: str, auth_key: bytes | None = None) -> list[bytes]:
    """The same as HEP packets stamped with the present."""
    now = time.time_ns()
    packets = []
    for number, (payload, by_caller) in enumerate(call_messages(call_id, *bye_headers)):
        src, dst = (ALICE, BOB) if by_caller else (BOB, ALICE)
        packet = HepPacket(3, SIP, now + number * 1_000_000, src, dst, 17, payload, 2001, call_id, auth_key)
        packets.append(serialize(packet))
    return packets


@dataclass
class Delivered:
    """What a source delivered."""

    calls: list[Call] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)

    async def __call__(self, found: Found) -> None:
        self.calls += found.calls
        for rows in found.rows.values():
            self.rows += [dict(row) for row in rows]

    @property
    def call_ids(self) -> list[str]:
        return sorted(call.call_id for call in self.calls)


@asynccontextmanager
async def running(
    settings: HepSettings, delivered: Delivered, flush_seconds: float = 5.0, limits: CallLimits = CALL_LIMITS
) -> AsyncIterator[HepSource]:
    """A source that listens; leaving it stops it and waits until all is delivered."""
    source = HepSource(settings, "test", time.time_ns, flush_seconds, limits)
    async with asyncio.TaskGroup() as group:
        group.create_task(source.run(delivered))
        await asyncio.wait_for(source.ready.wait(), 60)
        yield source
        source.stop()


def on_loopback(*transports: str) -> tuple[Listen, ...]:
    return tuple(Listen(transport, "127.0.0.1", 0) for transport in transports)


async def send_udp(address: Listen, packets: Sequence[bytes]) -> None:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        asyncio.DatagramProtocol, remote_addr=(address.host, address.port)
    )
    for number, packet in enumerate(packets):
        transport.sendto(packet)
        if number % 50 == 49:
            await asyncio.sleep(0.001)
    transport.close()
    await asyncio.sleep(0)


async def send_stream(address: Listen, data: bytes, piece: int = 1 << 16, **options: Any) -> None:
    _, writer = await asyncio.open_connection(address.host, address.port, **options)
    for place in range(0, len(data), piece):
        writer.write(data[place : place + piece])
        await writer.drain()
    writer.close()
    await writer.wait_closed()
