"""Mirrors that a switch sends to this host, received on sockets: VXLAN by UDP, ERSPAN by GRE.

The kernel puts fragments together, takes what is addressed to the socket alone, and stamps it as it arrives; what is
inside is measured as if its interface had been captured. No interface is opened and nothing is put into promiscuous
mode. A socket of GRE needs CAP_NET_RAW, one of UDP nothing.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final, NamedTuple

from collector.capture.files import CaptureError, Source
from collector.live.child import PacketSettings
from collector.live.engine import LiveEngine, LiveSettings
from collector.live.glance import Glance
from collector.live.mirror_headers import MirrorError, gre_begin, gre_frame, vxlan_frame
from collector.live.outbox import Outbox
from collector.live.packet_health import packet_health
from collector.live.source import Deliver, SourceHealth
from collector.live.warm import load_kernels
from collector.receivers.listening import ListenError, listen_address

VXLAN_PORT: Final = 4789
GRE: Final = 47
FILE_HEADER: Final = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262_144, 1)  # nanoseconds, Ethernet
RECORD: Final = struct.Struct("<4I")
LARGEST: Final = 1 << 16
PACE_S: Final = 0.004
"""How long what comes is gathered before it is read [s]."""
LOOK_S: Final = 0.25
ENDING_S: Final = 1.0
"""How long what the kernel holds at a stop is read, where senders go on [s]."""
SO_TIMESTAMPNS, SO_RCVBUFFORCE, SO_MEMINFO = 35, 33, 55  # asm-generic/socket.h
_TIME: Final = struct.Struct("qq")
_MEMINFO: Final = struct.Struct("9I")
_DROPS: Final = 8  # SK_MEMINFO_DROPS of linux/sock_diag.h


class MirrorAddress(NamedTuple):
    """Where a mirror is sent to."""

    kind: str
    """`udp` (VXLAN) or `gre` (ERSPAN)."""
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.kind}:{host}:{self.port}" if self.kind == "udp" else f"{self.kind}:{host}"


def mirror_address(text: str) -> MirrorAddress:
    """Read `udp:0.0.0.0:4789`, `udp:[::]` or `gre:192.0.2.10`; ListenError where it is none."""
    kind, _, rest = text.partition(":")
    if kind == "udp":
        read = listen_address(text, VXLAN_PORT)
        return MirrorAddress("udp", read.host or "0.0.0.0", read.port)  # noqa: S104 - asked for
    host = rest.removeprefix("[").removesuffix("]")
    if kind != "gre" or not host or (":" in host and not (rest.startswith("[") and rest.endswith("]"))):
        raise ListenError(f"{text}: a mirror is received at udp:HOST:PORT (VXLAN) or gre:HOST (ERSPAN)")
    return MirrorAddress("gre", host, 0)


class MirrorSocket:
    """One open socket; its counters hold after it was closed."""

    def __init__(self, address: MirrorAddress, buffer_mb: int) -> None:
        """CaptureError where it cannot be had."""
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        self.address = address
        self.defects: Counter[str] = Counter()
        self._has_ip = family == socket.AF_INET
        self._lock = threading.Lock()
        self._drops = 0
        try:
            if address.kind == "udp":
                self.socket = socket.socket(family, socket.SOCK_DGRAM)
            else:
                self.socket = socket.socket(family, socket.SOCK_RAW, GRE)
        except PermissionError:
            raise CaptureError(f"{address}: a socket of GRE needs CAP_NET_RAW") from None
        except OSError as error:
            raise CaptureError(f"{address}: {error.strerror}") from error
        try:
            self.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            try:
                self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, buffer_mb << 20)
            except OSError:  # without CAP_NET_ADMIN no more than net.core.rmem_max
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_mb << 20)
            self.socket.setblocking(False)
            self.socket.bind((address.host, address.port))
        except OSError as error:
            self.socket.close()
            raise CaptureError(f"{address}: cannot be received at: {error.strerror or error}") from error

    @property
    def port(self) -> int:
        """The port, where UDP has one."""
        return int(self.socket.getsockname()[1])

    @property
    def dropped(self) -> int:
        """Datagrams that the kernel had no room for so far; from any thread, also after the end."""
        with self._lock, suppress(OSError, struct.error):
            self._drops = _MEMINFO.unpack(self.socket.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, _MEMINFO.size))[_DROPS]
        return self._drops

    def read(self, into: bytearray, buffer: memoryview, limit: int, snaplen: int) -> bool:
        """Add records of what has come, up to `limit` octets; whether there was anything."""
        some = False
        while len(into) < limit:
            try:
                size, told, _, _ = self.socket.recvmsg_into([buffer], 64)
            except BlockingIOError:
                return some
            except OSError as error:
                self.defects[f"socket_{error.errno}"] += 1
                return some
            some = True
            seconds, fraction = divmod(time.time_ns(), 1_000_000_000)
            for level, kind, content in told:
                if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS and len(content) >= _TIME.size:
                    seconds, fraction = _TIME.unpack_from(content)
            try:
                begin = self._frame(buffer[:size])
            except MirrorError as error:
                self.defects[str(error)] += 1
                continue
            kept = min(size - begin, snaplen)
            into += RECORD.pack(seconds & 0xFFFFFFFF, fraction, kept, size - begin)
            into += buffer[begin : begin + kept]
        return some

    def _frame(self, data: memoryview) -> int:
        if self.address.kind == "udp":
            return vxlan_frame(data)
        return gre_frame(data, gre_begin(data) if self._has_ip else 0)

    def close(self) -> None:
        """Take no more."""
        self.dropped  # noqa: B018 - asked for the last time
        with self._lock:
            self.socket.close()


class MirrorReading(Source):
    """What sockets received, as the octets of a capture."""

    def __init__(self, name: str, sockets: Sequence[MirrorSocket], snaplen: int) -> None:
        self.name = name
        self.live = True
        self.size = None
        self.problem = None
        self._digest = None
        self._sockets = sockets
        self._snaplen = snaplen
        self._ready = bytearray(FILE_HEADER)
        self._buffer = memoryview(bytearray(LARGEST))
        self._ending = threading.Event()
        self._ended_by: float | None = None
        self._poll = select.poll()
        self._wake_in, self._wake_out = os.pipe()
        for each in sockets:
            self._poll.register(each.socket.fileno(), select.POLLIN)
        self._poll.register(self._wake_in, select.POLLIN)
        self._lock = threading.Lock()
        self._position = 0

    @property
    def position(self) -> int:
        """Octets so far."""
        return self._position

    def read_into(self, view: memoryview) -> int:
        """Fill the start of `view` with what comes next; 0 at the end."""
        while not self._ready and self._may_read():
            # What comes meanwhile is read at one go.
            time.sleep(PACE_S)
            for each in self._sockets:
                each.read(self._ready, self._buffer, max(1, len(view) - LARGEST), self._snaplen)
            if not self._ready and self._ending.is_set():
                break
        count = min(len(view), len(self._ready))
        view[:count] = self._ready[:count]
        del self._ready[:count]
        self._position += count
        return count

    def _may_read(self) -> bool:
        """Wait until something came; False when the time is over that is left after a stop."""
        if not self._ending.is_set():
            self._poll.poll(1_000 * LOOK_S)
            return True
        now = time.monotonic()
        self._ended_by = self._ended_by or now + ENDING_S
        return now < self._ended_by

    def finish(self) -> None:
        """End when what the kernel holds was read; from any thread."""
        self._ending.set()
        with self._lock:
            if self._wake_in >= 0:
                os.write(self._wake_out, b"\0")

    def cancel(self) -> None:
        """Make a read that waits return; from any thread."""
        self.finish()

    def close(self) -> None:
        """Close the sockets."""
        with self._lock:
            if self._wake_in < 0:
                return
            os.close(self._wake_in)
            os.close(self._wake_out)
            self._wake_in = -1
        for each in self._sockets:
            each.close()


class MirrorSource:
    """Receives mirrors until it is stopped."""

    def __init__(
        self,
        addresses: Sequence[MirrorAddress],
        packets: PacketSettings,
        live: LiveSettings = LiveSettings(),  # noqa: B008  # immutable
    ) -> None:
        """`packets` gives the kernel's buffer of each socket and how many octets of a frame are kept."""
        self._addresses = tuple(addresses)
        self._packets = packets
        self._engine = LiveEngine(live)
        self._outbox: Outbox | None = None
        self._reading: MirrorReading | None = None
        self._stopping = threading.Event()
        self._running = False
        self._problem: str | None = None
        self.sockets: tuple[MirrorSocket, ...] = ()

    @property
    def name(self) -> str:
        """Where it receives."""
        return ",".join(map(str, self._addresses))

    @property
    def glance(self) -> Glance | None:
        """What goes on, as of a second ago."""
        return self._engine.glance

    async def run(self, deliver: Deliver) -> None:
        """Receive until `stop`. Raises CaptureError where an address cannot be received at."""
        outbox = self._outbox = Outbox()
        try:
            await outbox.work(self._work, deliver, self.stop, self.name)
        finally:
            self._running = False

    def stop(self) -> None:
        """Take no more in; what the kernel holds is still measured."""
        self._stopping.set()
        reading = self._reading
        if reading is not None:
            reading.finish()

    def _work(self, outbox: Outbox) -> None:
        try:
            load_kernels()
            reading = self._reading = MirrorReading(self.name, self._open(), self._packets.snaplen)
            if self._stopping.is_set():
                reading.finish()
            try:
                self._engine.follow(reading, outbox.put, time.monotonic, self._began)
            finally:
                reading.close()
            for found in self._engine.finish_live():
                outbox.put_in_turn(found)
        finally:
            outbox.close()

    def _open(self) -> tuple[MirrorSocket, ...]:
        opened: list[MirrorSocket] = []
        try:
            for address in self._addresses:
                opened.append(MirrorSocket(address, self._packets.buffer_mb))
        except CaptureError:
            for each in opened:
                each.close()
            raise
        self.sockets = tuple(opened)
        return self.sockets

    def _began(self) -> None:
        self._running = True

    def health(self) -> SourceHealth:
        """How it goes."""
        lost: Counter[str] = Counter()
        unread = 0
        for each in self.sockets:
            lost["kernel_drops"] += each.dropped
            for defect, count in dict(each.defects).items():
                lost[f"packets_{defect}"] += count
                unread += count
        if self._outbox is not None:
            lost.update(self._outbox.lost)
        found = packet_health(self.name, self._engine, lost, running=self._running, problem=self._problem)
        return replace(found, seen=found.seen + unread)
