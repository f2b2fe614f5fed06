"""One capture being read: its windows, its container, and where and why reading ended."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from collector.capture import columns as c
from collector.capture.container import (
    BLOCK_INTERFACE,
    BLOCK_SECTION,
    BLOCK_STATISTICS,
    FormatError,
    Interface,
    block_length,
    link_name,
    read_drops,
    read_file_header,
    read_interface,
    section_is_big_endian,
)
from collector.capture.files import WINDOW, CaptureError, Source, Windows
from collector.media.table import WalkArrays, another_walk

Octets = NDArray[np.uint8]

FOREVER = np.iinfo(np.int64).max
NOT_YET = np.iinfo(np.int64).min
REST = 1 << 20
"""Octets read at once of what no window took."""

Walk = Callable[[Octets, WalkArrays], int]


class CaptureReader:
    """Reads one source as far as it goes; raises CaptureError at once when it is no capture.

    `walk` runs the kernel over a window and works off what waits for Python; it returns why it stopped.
    """

    window: ClassVar[int] = WINDOW
    """Size of a window [octets]; there are two."""

    def __init__(self, source: Source, arrays: WalkArrays, walk: Walk) -> None:
        self.source = source
        self.arrays = another_walk(arrays)
        self.link_types: dict[str, None] = {}
        self.interfaces = 0
        self.dropped: int | None = None
        """Packets that the capturing side says it lost; None when it says nothing."""
        self.stopped: str | None = None
        """Where and why reading ended before the end; None when all was read."""
        self.next_at: int | None = None
        """When the next packet was captured [ns]; None at the end."""
        self._drops: dict[int, int] = {}
        self._walk = walk
        self._windows = Windows(source, self.window)
        try:
            self._window = self._open()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the source."""
        self._windows.close()
        if self.source.sha256 is not None and not self.source.live:
            # The hash is that of the file, also where a record in it cannot be read.
            with memoryview(bytearray(REST)) as view:
                while self.source.read_into(view):
                    pass
        self.source.close()

    def _open(self) -> Octets:
        """The first window, its file header read."""
        name = self.source.name
        window = self._windows.advance(0)
        while window is not None:
            try:
                header = read_file_header(window[:24].tobytes())
            except FormatError as error:
                raise CaptureError(f"{name}: {error}") from error
            if header is not None:
                context = self.arrays.context
                context[c.FORMAT] = header.format
                context[c.SWAPPED] = header.swapped
                context[c.RECORD_HEADER] = header.record_header
                context[c.POSITION] = header.size
                if header.interface:
                    self._add_interface(header.interface)
                return window
            window = self._windows.advance(0)
        problem = f" ({self.source.problem})" if self.source.problem else ""
        size = len(self._windows.leftover)
        raise CaptureError(f"{name}: not a capture: it {'ends within its header' if size else 'is empty'}{problem}")

    def peek(self) -> int | None:
        """When the first packet was captured [ns]; None where there is none."""
        self.run(NOT_YET)
        return self.next_at

    def run(self, until: int = FOREVER, on_window: Callable[[], None] | None = None) -> None:
        """Take packets up to a time; `next_at` then says when the next one is."""
        context = self.arrays.context
        context[c.UNTIL] = until
        while True:
            status = self._walk(self._window, self.arrays)
            if status == c.STOP_TIME:
                self.next_at = int(context[c.STOP_VALUE])
                return
            if status == c.STOP_BLOCK:
                try:
                    status = c.STOP_PENDING if self._take_block() else c.STOP_MORE
                except FormatError as error:
                    self._end(f"{error} at byte {self._byte()}")
                    return
            if status == c.STOP_CORRUPT:
                self._end(f"no packet record can begin like the bytes at {self._byte()}")
                return
            if status == c.STOP_MORE and not self._advance():
                return
            if status == c.STOP_MORE and on_window is not None:
                on_window()

    def _advance(self) -> bool:
        context = self.arrays.context
        consumed = int(context[c.POSITION])
        context[c.POSITION] = 0
        following = self._windows.advance(consumed)
        if following is not None:
            self._window = following
            return True
        left = len(self._windows.leftover)
        if self.source.problem:
            self._end(self.source.problem)
        elif left:
            self._end(f"cut within a packet record: {left} bytes are left over from byte {self._windows.offset} on")
        else:
            self._end(None)
        return False

    def _end(self, reason: str | None) -> None:
        self.next_at = None
        self.stopped = None if reason is None else f"{self.source.name}: {reason}"

    def _byte(self) -> int:
        return self._windows.offset + int(self.arrays.context[c.POSITION])

    def _add_interface(self, interface: Interface) -> None:
        context = self.arrays.context
        index = int(context[c.INTERFACES])
        if index >= c.INTERFACE_ROWS:
            return  # its packets are counted as of an unknown interface
        self.arrays.interfaces[index] = interface
        context[c.INTERFACES] = index + 1
        self.interfaces = max(self.interfaces, index + 1)
        self.link_types[link_name(interface.link_type)] = None

    def _take_block(self) -> bool:
        """A pcapng block that holds no packet, at the walk's position; False when the window ends within it."""
        context = self.arrays.context
        at = int(context[c.POSITION])
        swapped = bool(context[c.SWAPPED])
        head = self._window[at : at + 12].tobytes()
        if head[:4] == BLOCK_SECTION.to_bytes(4, "big"):
            swapped = section_is_big_endian(head)
        size = block_length(head, swapped)
        if at + size > len(self._window):
            return False
        block = self._window[at : at + size].tobytes()
        kind = int.from_bytes(block[:4], "big" if swapped else "little")
        if kind == BLOCK_SECTION:
            context[c.SWAPPED] = swapped
            context[c.INTERFACES] = 0
            self._drops = {}
        elif kind == BLOCK_INTERFACE:
            self._add_interface(read_interface(block, swapped))
        elif kind == BLOCK_STATISTICS and len(block) >= 24:
            self._take_drops(*read_drops(block, swapped))
        context[c.POSITION] = at + size
        return True

    def _take_drops(self, interface: int, dropped: int | None) -> None:
        """Drops are cumulative for an interface of a section."""
        if dropped is None:
            return
        before = self._drops.get(interface, 0)
        self.dropped = (self.dropped or 0) + max(0, dropped - before)
        self._drops[interface] = max(dropped, before)
