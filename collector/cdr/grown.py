"""Files that systems add lines to: what of one was read before, when it was shorter, told by its content alone.

A file is known by the hash of its octets. While lines are added to it, each import reads what it holds then and is
known by the hash of all of it up to there. So the hash of a longer file's begin says whether that much of it was read:
under any name, rotated or packed, by whatever process, after any kill.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Final

from collector.capture.files import CaptureError, open_source
from collector.cdr.files import CdrFile

PIECE: Final = 4 << 20


def unread(file: CdrFile, ends: Mapping[int, Collection[int]], half_done: Collection[int]) -> list[CdrFile] | None:
    """Parts of a file that are not imported, in their order; none where all of it is, None where it has changed.

    `ends` are the lengths [octets] at which files of its format were imported, with their keys; `half_done` are keys of
    files whose rows are in the lake although they do not count as imported: each is a part of its own again.
    """
    walk = _Walk(file, ends, half_done)
    if not walk.follow():
        return None
    parts = []
    start, lines = walk.read
    for end, lines_there, sha256 in [*walk.halves, (file.size, 0, file.sha256)]:
        if end > start:
            parts.append(replace(file, sha256=sha256, size=end, start=start, lines_before=lines))
            start, lines = end, lines_there
    return parts


class _Walk:
    """Once through a file, its hash looked at wherever an earlier import may have ended."""

    def __init__(self, file: CdrFile, ends: Mapping[int, Collection[int]], half_done: Collection[int]) -> None:
        self._file = file
        self._ends = ends
        self._half_done = frozenset(half_done)
        self._stops = sorted(end for end in ends if end <= file.size)
        self._digest = hashlib.sha256()
        self._at = self._lines = self._line_begin = 0
        self.read = (0, 0)
        """Octets and lines that were imported."""
        self.halves: list[tuple[int, int, str]] = []
        """Ends behind it of parts that were half imported: octets, lines, hash."""

    def follow(self) -> bool:
        """Go through the file; False where it is not what was hashed."""
        for piece in _pieces(self._file):
            base = self._at
            for stop in self._stops_within(piece, base):
                self._take(piece[self._at - base : stop - base])
                self._look()
            self._take(piece[self._at - base :])
        return self._at == self._file.size and self._digest.hexdigest() == self._file.sha256

    def _stops_within(self, piece: bytes, base: int) -> list[int]:
        end = base + len(piece)
        stops = self._stops[bisect_right(self._stops, base) : bisect_right(self._stops, end)]
        if self._half_done:
            # After a kill only: where the parts of then ended is told by their hashes alone.
            stops = sorted({*stops, *(base + at + 1 for at in _line_ends(piece))})
        return stops

    def _take(self, octets: bytes) -> None:
        self._digest.update(octets)
        self._lines += octets.count(b"\n")
        last = octets.rfind(b"\n")
        if last >= 0:
            self._line_begin = self._at + last + 1
        self._at += len(octets)

    def _look(self) -> None:
        key = int.from_bytes(self._digest.digest()[:8], "big", signed=True)
        if key in self._ends.get(self._at, ()):
            # Where that import ended within a line, the whole line is read now.
            self.read = (self._line_begin if self._at < self._file.size else self._at, self._lines)
            self.halves.clear()
        elif key in self._half_done and self._at < self._file.size:
            self.halves.append((self._at, self._lines, self._digest.hexdigest()))


def _line_ends(piece: bytes) -> Iterator[int]:
    at = piece.find(b"\n")
    while at >= 0:
        yield at
        at = piece.find(b"\n", at + 1)


def _pieces(file: CdrFile) -> Iterator[bytes]:
    """The octets of a file as far as they were hashed."""
    try:
        source = open_source(str(file.path))
    except CaptureError:
        return
    left = file.size
    with source:
        buffer = bytearray(min(PIECE, max(1, left)))
        view = memoryview(buffer)
        while left and (count := source.read_into(view[: min(len(buffer), left)])):
            left -= count
            yield bytes(view[:count])
