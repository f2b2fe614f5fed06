"""The kernel's own ring of packets (TPACKET_V3 of packet(7)), read where the kernel wrote it, as a capture.

No other program and no pipe is between: cheaper than dumpcap's, but this process itself needs CAP_NET_RAW.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import select
import shutil
import socket
import struct
import subprocess
import threading
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from collector.capture.files import CaptureError, Source
from collector.live import ring_numba_fns as k
from collector.live.child import PacketSettings
from collector.live.copies import teach_compiler

Octets = NDArray[np.uint8]

BLOCK = 1 << 20
"""Octets of a block; the kernel hands out whole blocks."""
RETIRE_MS = 60
"""How long the kernel fills a block at most [ms]."""
FRAME = 2048
FILE_HEADER = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262_144, 1)  # nanoseconds, Ethernet

SOL_PACKET = 263  # linux/if_packet.h, as all below
PACKET_RX_RING, PACKET_STATISTICS, PACKET_VERSION = 5, 6, 10
TPACKET_V3 = 2
ETH_P_ALL = 3
SO_ATTACH_FILTER, SO_TIMESTAMPNS = 26, 35
BLOCK_STATUS, BLOCK_PACKETS, BLOCK_FIRST = 8, 12, 16
TP_STATUS_USER = 1
SIOCGIFHWADDR = 0x8927
TYPES_OF_ETHERNET = frozenset({1, 772})
"""ARPHRD_ETHER and ARPHRD_LOOPBACK: what begins with an Ethernet header."""


class _Ring:
    """The ring of one interface."""

    def __init__(self, interface: str, settings: PacketSettings) -> None:
        blocks = max(2, (settings.buffer_mb << 20) // BLOCK)
        wanted = struct.pack("7I", BLOCK, blocks, FRAME, blocks * (BLOCK // FRAME), RETIRE_MS, 0, 0)
        try:
            # It hears nothing before it is bound.
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        except PermissionError:
            raise CaptureError(f"{interface}: reading the kernel's ring needs CAP_NET_RAW") from None
        try:
            asked = fcntl.ioctl(self._socket, SIOCGIFHWADDR, struct.pack("16s24x", interface.encode()[:15]))
            if struct.unpack_from("H", asked, 16)[0] not in TYPES_OF_ETHERNET:
                raise CaptureError(f"{interface}: not like Ethernet: capture it with dumpcap")
            self._socket.setsockopt(SOL_PACKET, PACKET_VERSION, TPACKET_V3)
            self._attach_filter(interface, settings)
            # Packets are stamped as they arrive, once for all who listen, and not as this ring gets them.
            self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            self._socket.setsockopt(SOL_PACKET, PACKET_RX_RING, wanted)
            self._map = mmap.mmap(self._socket.fileno(), blocks * BLOCK)
            self._socket.bind((interface, ETH_P_ALL))
        except (OSError, CaptureError) as error:
            self._socket.close()
            if isinstance(error, CaptureError):
                raise
            raise CaptureError(f"{interface}: no ring of {settings.buffer_mb} MiB: {error.strerror}") from error
        self._octets: Octets = np.frombuffer(self._map, np.uint8)
        self._words = self._octets.view(np.uint32)
        self._blocks = blocks
        self._block = 0
        self._holding = False
        self._state = np.array([0, 0, settings.snaplen, interface == "lo"], np.int64)
        self.dropped = 0
        self._lock = threading.Lock()

    def _attach_filter(self, interface: str, settings: PacketSettings) -> None:
        if not settings.bpf:
            return
        program = shutil.which("tcpdump")
        if program is None:
            raise CaptureError("tcpdump not found: it translates the filter")
        command = [program, "-i", interface, "-s", str(settings.snaplen), "-ddd", "--", settings.bpf]
        made = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        if made.returncode:
            said = made.stderr.strip().splitlines()
            raise CaptureError(f"the filter cannot be used: {said[-1] if said else 'tcpdump failed'}")
        steps = [tuple(map(int, line.split())) for line in made.stdout.splitlines()[1:]]
        self._attach(steps)

    def fileno(self) -> int:
        """For `poll`."""
        return self._socket.fileno()

    def read_into(self, out: Octets) -> int:
        """Write records of the next block; 0 where the kernel has handed out none, or none fits."""
        written = 0
        while written < len(out) and (self._holding or self._take()):
            begin = self._block * BLOCK
            count = int(k.write_records(self._octets[begin : begin + BLOCK], self._state, out[written:]))
            written += count
            if self._state[k.LEFT]:
                break
            self._hand_back()
        return written

    @property
    def waiting(self) -> bool:
        """Whether a packet was handed out and not written."""
        return self._holding or bool(self._status & TP_STATUS_USER)

    @property
    def _status(self) -> int:
        return int(self._words[(self._block * BLOCK + BLOCK_STATUS) // 4])

    def _take(self) -> bool:
        if not self._status & TP_STATUS_USER:
            return False
        at = self._block * BLOCK // 4
        self._state[k.NEXT_AT] = self._words[at + BLOCK_FIRST // 4]
        self._state[k.LEFT] = self._words[at + BLOCK_PACKETS // 4]
        self._holding = True
        return True

    def _hand_back(self) -> None:
        self._words[(self._block * BLOCK + BLOCK_STATUS) // 4] = 0
        self._block = (self._block + 1) % self._blocks
        self._holding = False

    def silence(self) -> None:
        """Let nothing more in; what is in the ring stays."""
        with suppress(OSError):
            self._attach([(6, 0, 0, 0)])  # BPF_RET of nothing

    def _attach(self, steps: list[tuple[int, ...]]) -> None:
        code = np.frombuffer(b"".join(struct.pack("HBBI", *step) for step in steps), np.uint8).copy()
        program = struct.pack("HxxxxxxP", len(steps), code.ctypes.data)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)

    def count(self) -> None:
        """Add what the kernel dropped since the last question; from any thread, also after the end."""
        with self._lock, suppress(OSError):
            statistics = self._socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 12)
            self.dropped += struct.unpack("3I", statistics)[1]

    def close(self) -> None:
        """Take no more."""
        self.count()
        self.silence()
        del self._words, self._octets
        with suppress(BufferError):  # the compiler's caller still has the last block: it goes with that
            self._map.close()
        with self._lock:
            self._socket.close()


class RingSource(Source):
    """Packets of rings as the octets of a capture, the rings' one after another as they come."""

    def __init__(self, name: str, rings: list[_Ring]) -> None:
        self.name = name
        self.live = True
        self.size = None
        self.problem = None
        self._digest = None
        self._rings = rings
        self._ready = bytearray(FILE_HEADER)
        """What did not fit into the last window."""
        self._spare = np.zeros(1 << 18, np.uint8)
        self._wake_in, self._wake_out = os.pipe()
        self._poll = select.poll()
        for ring in rings:
            self._poll.register(ring.fileno(), select.POLLIN)
        self._poll.register(self._wake_in, select.POLLIN)
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self._position = 0

    @property
    def position(self) -> int:
        """Octets so far."""
        return self._position

    def read_into(self, view: memoryview) -> int:
        """Fill the start of `view` with what comes next; 0 at the end."""
        if not self._ready:
            out = np.frombuffer(view, np.uint8)
            while not (count := self._written(out)) and not self._ready:
                if self._ending.is_set():
                    return 0
                self._poll.poll(4 * RETIRE_MS)
            if count:
                self._position += count
                return count
        count = min(len(view), len(self._ready))
        view[:count] = self._ready[:count]
        del self._ready[:count]
        self._position += count
        return count

    def _written(self, out: Octets) -> int:
        written = 0
        for ring in self._rings:
            written += ring.read_into(out[written:])
        if not written and any(ring.waiting for ring in self._rings):
            # The window ends within the next record.
            for ring in self._rings:
                self._ready += self._spare[: ring.read_into(self._spare)].tobytes()
        return written

    def finish(self) -> None:
        """End when what the kernel holds was read; from any thread."""
        self._ending.set()
        with self._lock:
            if self._wake_in >= 0:
                os.write(self._wake_out, b"\0")

    def cancel(self) -> None:
        """Make a read that waits return 0; from any thread."""
        self.finish()

    def close(self) -> None:
        """Let go of the rings."""
        with self._lock:
            if self._wake_in < 0:
                return
            os.close(self._wake_in)
            os.close(self._wake_out)
            self._wake_in = -1
        for ring in self._rings:
            ring.close()


class RingCapture:
    """One capture through rings, which `packets` begins and ends as it does a child."""

    def __init__(self, settings: PacketSettings) -> None:
        teach_compiler()
        self._rings: list[_Ring] = []
        try:
            for interface in settings.interfaces:
                self._rings.append(_Ring(interface, settings))
        except CaptureError:
            for ring in self._rings:
                ring.close()
            raise
        self.source = RingSource(",".join(settings.interfaces), self._rings)
        self._stopping = False

    @property
    def dropped(self) -> int:
        """Packets that the kernel dropped for want of room."""
        return sum(ring.dropped for ring in self._rings)

    def nudge(self) -> None:
        """Ask the kernel what was dropped."""
        for ring in self._rings:
            ring.count()

    def stop(self) -> None:
        """End once what the kernel holds was read; may be called more than once, and from any thread."""
        if self._stopping:
            return
        self._stopping = True
        for ring in self._rings:
            ring.silence()
        # By then the kernel has handed out the block that it is filling.
        ending = threading.Timer(3 * RETIRE_MS / 1_000, self.source.finish)
        ending.daemon = True
        ending.start()

    def wait(self) -> str | None:
        """Why it ended in words; None where it was told to."""
        return None if self._stopping else self.source.problem or "the ring ended"
