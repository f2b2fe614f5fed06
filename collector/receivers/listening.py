"""Sockets that receivers listen on: addresses, datagrams in batches, bounded connections that may not dawdle."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from collector.facts import Endpoint

UDP, TCP, TLS = "udp", "tcp", "tls"
_DATAGRAMS = 256
"""Datagrams taken before others get their turn."""
_DATAGRAM_LIMIT = 0x10000
_SO_MEMINFO = 55
_MEMINFO = struct.Struct("=9I")
_DROPS = 8


class ListenError(ValueError):
    """An address cannot be listened on; the text says which and why."""


class Listen(NamedTuple):
    """Where to listen."""

    transport: str
    """udp, tcp or tls."""
    host: str
    port: int
    """0: any that is free."""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.transport}:{host}:{self.port}"


def listen_address(text: str, default_port: int) -> Listen:
    """Read `udp:127.0.0.1:9060`, `tls:[::1]`, `tcp::9060` (all addresses); ListenError where it is none."""
    transport, colon, rest = text.partition(":")
    if transport not in (UDP, TCP, TLS) or not colon:
        raise ListenError(f"{text}: an address to listen on is udp:HOST:PORT, tcp:HOST:PORT or tls:HOST:PORT")
    if rest.startswith("["):
        host, closing, port = rest[1:].partition("]")
        if not closing or (port and not port.startswith(":")):
            raise ListenError(f"{text}: an IPv6 address stands in brackets")
        port = port[1:]
    else:
        host, _, port = rest.partition(":")
    if ":" in port:
        raise ListenError(f"{text}: an IPv6 address stands in brackets")
    if port and not (port.isascii() and port.isdigit() and int(port) <= 0xFFFF):
        raise ListenError(f"{text}: the port is a number up to 65535")
    return Listen(transport, host, int(port) if port else default_port)


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What connections may take."""

    connections: int = 256
    """Connections at once, over all addresses of a receiver; further ones are closed at once and counted."""
    message_seconds: float = 30.0
    """Time from the first to the last octet of a message [s]; a connection that takes longer is closed."""
    idle_seconds: float = 3600.0
    """Time without any octet after which a connection is closed [s]."""
    garbage_octets: int = 1 << 20
    """Octets that are no messages after which a connection is closed."""
    receive_buffer: int = 8 << 20
    """Buffer of a UDP socket asked of the kernel [octets]; it gives no more than net.core.rmem_max."""


class Framed(Protocol):
    """What a connection's octets are given to."""

    def feed(self, data: bytes, arrived: int) -> bytes:
        """Take octets; gives what is to be sent back."""

    @property
    def waiting(self) -> int:
        """Octets of a message that is not whole yet."""

    @property
    def skipped(self) -> int:
        """Octets so far that were no message."""

    def finish(self) -> None:
        """The connection ended."""


TakeDatagrams = Callable[[Sequence[tuple[bytes, Endpoint]], int], Sequence[tuple[bytes, Endpoint]]]
"""Takes datagrams with their senders, and when they were read [ns]; gives those to be sent back."""
MakeFramed = Callable[[Endpoint], Framed]
Clock = Callable[[], int]


class Ports:
    """The sockets of one receiver."""

    def __init__(self, limits: ConnectionLimits, clock: Clock, datagrams: TakeDatagrams, framed: MakeFramed) -> None:
        self.limits = limits
        self.clock = clock
        self.framed = framed
        self.counts: Counter[str] = Counter()
        """connections, connections_refused, closed_slow, closed_idle, closed_garbage, send_failed, pauses."""
        self.connections: set[Connection] = set()
        self._datagrams = datagrams
        self._udp: list[socket.socket] = []
        self._servers: list[asyncio.Server] = []
        self._drops_of_closed = 0
        self.paused = False
        self.octets = 0
        """Read so far, over all addresses."""
        self._closing = False

    async def open(self, addresses: Sequence[Listen], tls: ssl.SSLContext | None = None) -> list[Listen]:
        """Listen; gives the addresses with the ports in use. ListenError where one cannot be had; then none is open."""
        opened: list[Listen] = []
        try:
            for address in addresses:
                opened.append(await self._open(address, tls))
        except ListenError:
            self.close()
            raise
        except OSError as error:
            self.close()
            raise ListenError(f"cannot listen on {address}: {error.strerror or error}") from error
        return opened

    async def _open(self, address: Listen, tls: ssl.SSLContext | None) -> Listen:
        loop = asyncio.get_running_loop()
        host = address.host or None
        if address.transport == UDP:
            found = await loop.getaddrinfo(
                host, address.port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV
            )
            listening = socket.socket(found[0][0], socket.SOCK_DGRAM)
            self._udp.append(listening)
            listening.setblocking(False)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.limits.receive_buffer)
            listening.bind(found[0][4])
            loop.add_reader(listening, self._readable, listening)
            return address._replace(port=listening.getsockname()[1])
        if address.transport == TLS and tls is None:
            raise ListenError(f"{address}: TLS needs a certificate and its key")
        server = await loop.create_server(
            lambda: Connection(self), host, address.port, ssl=tls if address.transport == TLS else None, backlog=128
        )
        self._servers.append(server)
        return address._replace(port=server.sockets[0].getsockname()[1])

    def _readable(self, listening: socket.socket) -> None:
        arrived = self.clock()
        found: list[tuple[bytes, Endpoint]] = []
        for _ in range(_DATAGRAMS):
            try:
                data, sender = listening.recvfrom(_DATAGRAM_LIMIT)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                # What came back for an answer of ours, as a port that is closed.
                self.counts["send_failed"] += 1
                break
            found.append((data, Endpoint(str(sender[0]), int(sender[1]))))
            self.octets += len(data)
        if not found:
            return
        for answer, receiver in self._datagrams(found, arrived):
            try:
                listening.sendto(answer, tuple(receiver))
            except OSError:
                self.counts["send_failed"] += 1

    @property
    def kernel_drops(self) -> int:
        """Datagrams that the kernel dropped because we did not read fast enough."""
        return self._drops_of_closed + sum(_drops_of(each) for each in self._udp)

    def lost(self) -> dict[str, int]:
        """What was not read, or cut off, by reason."""
        found = {name: self.counts[name] for name in ("connections_refused", "closed_slow", "closed_garbage")}
        return found | {"kernel_drops": self.kernel_drops}

    def pause(self) -> None:
        """Read nothing for a while: over TCP senders wait, over UDP the kernel keeps what its buffer holds."""
        if self.paused or self._closing:
            return
        self.paused = True
        self.counts["pauses"] += 1
        for listening in self._udp:
            asyncio.get_running_loop().remove_reader(listening)
        for each in self.connections:
            each.pause()

    def resume(self) -> None:
        """Read on."""
        if not self.paused:
            return
        self.paused = False
        loop = asyncio.get_running_loop()
        for listening in self._udp:
            loop.add_reader(listening, self._readable, listening)
        for each in self.connections:
            each.resume()

    def watch(self) -> None:
        """Close connections that dawdle; to be called every second or so."""
        if self.paused:
            return
        now, limits = asyncio.get_running_loop().time(), self.limits
        for each in list(self.connections):
            if each.partial_since is not None and now - each.partial_since > limits.message_seconds:
                each.drop("closed_slow")
            elif now - each.last_read > limits.idle_seconds:
                each.drop("closed_idle")

    async def finish(self, patience: float, make_room: Callable[[], Awaitable[bool]]) -> None:
        """Accept no more and read what has arrived, for as long as it comes but not longer than `patience` [s].

        `make_room` is called after each turn, gives whether it made any, and its time does not count.
        """
        loop = asyncio.get_running_loop()
        left = patience
        while left > 0:
            before, began = self.octets, loop.time()
            self.resume()
            await asyncio.sleep(min(0.1, patience))
            left -= loop.time() - began
            for server in self._servers:
                server.close()
            if not await make_room() and self.octets == before:
                break

    def close(self) -> None:
        """Close all; of datagrams, what the kernel holds is read before."""
        self._closing = True
        self.resume()
        for server in self._servers:
            server.close()
        for each in list(self.connections):
            each.drop("closed_at_stop")
        loop = asyncio.get_running_loop()
        for listening in self._udp:
            loop.remove_reader(listening)
            self._drain(listening)
            self._drops_of_closed += _drops_of(listening)
            listening.close()
        self._udp.clear()
        self._servers.clear()

    def _drain(self, listening: socket.socket) -> None:
        """Read what the kernel holds, but not for ever what a fast sender adds."""
        for _ in range(1 + self.limits.receive_buffer // (_DATAGRAMS * 512)):
            try:
                listening.recv(1, socket.MSG_PEEK)
            except OSError:
                return
            self._readable(listening)


def _drops_of(listening: socket.socket) -> int:
    """Count of the kernel's drops on a socket (SO_MEMINFO of Linux); 0 where it is not known."""
    try:
        return int(_MEMINFO.unpack(listening.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size))[_DROPS])
    except (OSError, struct.error):
        return 0


class Connection(asyncio.Protocol):
    """One connection to a receiver."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._transport: asyncio.Transport | None = None
        self._framed: Framed | None = None
        self.last_read = 0.0
        self.partial_since: float | None = None
        self._crowded = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take it or close it."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        ports = self._ports
        if len(ports.connections) >= ports.limits.connections:
            ports.counts["connections_refused"] += 1
            transport.abort()
            return
        ports.counts["connections"] += 1
        ports.connections.add(self)
        self.last_read = asyncio.get_running_loop().time()
        peer = transport.get_extra_info("peername") or ("", 0)
        self._framed = ports.framed(Endpoint(str(peer[0]), int(peer[1])))
        if ports.paused:
            self.pause()

    def data_received(self, data: bytes) -> None:
        """Hand octets on, and send back what comes of them."""
        if self._framed is None or self._transport is None:
            return
        now = asyncio.get_running_loop().time()
        before = self._framed.waiting
        answer = self._framed.feed(data, self._ports.clock())
        self.last_read = now
        self._ports.octets += len(data)
        after = self._framed.waiting
        if not after:
            self.partial_since = None
        elif self.partial_since is None or after < before + len(data):
            # Messages were completed: the time of the next one begins anew.
            self.partial_since = now
        if answer:
            self._transport.write(answer)
        if self._framed.skipped > self._ports.limits.garbage_octets:
            self.drop("closed_garbage")

    def pause(self) -> None:
        """Read nothing for a while."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read on; what was waited for was not the other end's to hurry."""
        self.last_read = asyncio.get_running_loop().time()
        if self.partial_since is not None:
            self.partial_since = self.last_read
        if self._transport is not None and not self._transport.is_closing() and not self._crowded:
            self._transport.resume_reading()

    def pause_writing(self) -> None:
        """The other end asks and does not read: no more questions are taken."""
        self._crowded = True
        self.pause()

    def resume_writing(self) -> None:
        """It reads again."""
        self._crowded = False
        if not self._ports.paused:
            self.resume()

    def drop(self, reason: str) -> None:
        """Close it at once, for a reason that is counted."""
        self._ports.counts[reason] += 1
        if self._transport is not None:
            self._transport.abort()
        self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        """The other end closed it, or we did."""
        self._end()

    def _end(self) -> None:
        self._ports.connections.discard(self)
        if self._framed is not None:
            self._framed.finish()
            self._framed = None


async def watch(ports: Ports, stopping: asyncio.Event) -> None:
    """Look after the connections until told to stop."""
    while not stopping.is_set():
        ports.watch()
        try:
            await asyncio.wait_for(stopping.wait(), 1.0)
        except TimeoutError:
            continue
