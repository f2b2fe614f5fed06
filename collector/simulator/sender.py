"""Sends frames on an interface, many in one system call: for tests and benchmarks on virtual interfaces (Linux)."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

Octets = NDArray[np.uint8]

AT_ONCE: Final = 256
"""Frames given to the system at a time."""
ENOBUFS: Final = 105


class _Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Message(ctypes.Structure):
    """`struct mmsghdr` of sendmmsg(2)."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("vectors", ctypes.POINTER(_Vector)),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
        ("sent", ctypes.c_uint32),
    )


class FrameSender:
    """A raw socket on one interface."""

    def __init__(self, interface: str) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        self._socket.bind((interface, 0))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
        self._library = ctypes.CDLL(None, use_errno=True)
        self._frames = np.zeros((0, 0), np.uint8)
        self._vectors = (_Vector * 0)()
        self._messages = (_Message * 0)()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def send(self, frame: bytes) -> None:
        """Send one frame."""
        self._socket.send(frame)

    def prepare(self, frames: Octets) -> None:
        """Frames of one length, a row each, that `send_rows` sends as they then are."""
        self._frames = frames
        self._vectors = (_Vector * len(frames))()
        self._messages = (_Message * len(frames))()
        base, size = frames.ctypes.data, frames.shape[1]
        for place in range(len(frames)):
            self._vectors[place].base = base + place * size
            self._vectors[place].length = size
            self._messages[place].vectors = ctypes.pointer(self._vectors[place])
            self._messages[place].vector_count = 1

    def send_rows(self, begin: int, end: int) -> None:
        """Send prepared frames from row `begin` to before row `end`."""
        sent = begin
        while sent < end:
            messages = ctypes.byref(self._messages, sent * ctypes.sizeof(_Message))
            done = self._library.sendmmsg(self._socket.fileno(), messages, min(AT_ONCE, end - sent), 0)
            if done < 0:
                error = ctypes.get_errno()
                if error != ENOBUFS:
                    raise OSError(error, os.strerror(error))
                continue
            sent += done


def frames_of(path: Path) -> Iterator[tuple[float, bytes]]:
    """Arrival [s] and octets of each frame of a little-endian pcap file in microseconds."""
    data = path.read_bytes()
    if data[:4] != b"\xd4\xc3\xb2\xa1":
        raise ValueError(f"{path}: not a little-endian pcap file in microseconds")
    at = 24
    while at < len(data):
        seconds, micros, size, _ = struct.unpack_from("<IIII", data, at)
        yield seconds + micros / 1e6, data[at + 16 : at + 16 + size]
        at += 16 + size


def play(path: Path, interface: str, speed: float = 1.0) -> int:
    """Send a capture as it was captured, or so many times as fast; the number of frames."""
    sent = 0
    begun = first = 0.0
    with FrameSender(interface) as sender:
        for at, frame in frames_of(path):
            if not sent:
                begun, first = time.monotonic(), at
            wait = (at - first) / speed - (time.monotonic() - begun)
            if wait > 0:
                time.sleep(wait)
            sender.send(frame)
            sent += 1
    return sent


if __name__ == "__main__":
    play(Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]))
