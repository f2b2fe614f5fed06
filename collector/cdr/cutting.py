"""Files of comma-separated records, cut into rows batch by batch with memory that does not grow with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from collector.capture.files import CaptureError, Source, open_source
from collector.cdr.cutting_numba_fns import (
    LINE,
    NEW_LINE,
    NO_ROOM,
    NOT_A_RECORD,
    POSITION,
    ROWS,
    cut_lines,
)
from collector.cdr.files import HEAD, CdrFile
from collector.cdr.rejects import RECORD_LIMIT

WINDOW: Final = 4 << 20
"""Octets of files that are cut at a time: more would fall out of the processor's cache between the columns."""
ROOM: Final = 16_384 + 80
"""Rows that are cut at a time. Were it a power of two, all cells of a row would want the same place in the cache."""
LINE_LIMIT: Final = 1 << 20
"""A line longer than this that has no end in sight is rejected and passed over."""
ODD_LINES: Final = 1_000
"""Rejects that wait for the rows around them."""
BEHIND: Final = 8
"""Octets behind the last that a kernel may load."""
WIDEST: Final = 1_024
"""Columns that a record may have."""
BOM: Final = b"\xef\xbb\xbf"

Places = npt.NDArray[np.int32]
Integers = npt.NDArray[np.int64]


class FileChangedError(Exception):
    """A file is not what was hashed a moment ago."""

    def __init__(self, file: CdrFile) -> None:
        super().__init__(f"{file.path}: changed while it was read")
        self.file = file


class Binding(NamedTuple):
    """Where the columns of a file go."""

    columns: Integers
    """Column of each slot, from 0; -1 where the file has none."""
    allowed: Integers
    """Not 0 at each number of columns that a record may have."""
    starts_with_number: bool
    """Whether the first column holds a number in every record, so that a line of names shows."""


@dataclass(slots=True)
class Tally:
    """What was seen of one file."""

    file: CdrFile
    octets: int = 0
    """Read so far."""
    rows: int = 0
    kept: int = 0
    first_us: int | None = None
    last_us: int | None = None

    def see(self, kept: int, first_us: int, last_us: int) -> None:
        """Count kept records and widen the span of their times."""
        if kept:
            self.kept += kept
            self.first_us = first_us if self.first_us is None else min(self.first_us, first_us)
            self.last_us = last_us if self.last_us is None else max(self.last_us, last_us)


@dataclass(slots=True)
class Cut:
    """Rows of one or more files. Valid until the next is asked for."""

    window: npt.NDArray[np.uint8]
    starts: Places
    ends: Places
    lines: Integers
    begins: Integers
    finishes: Integers
    fault: Integers
    rows: int = 0
    segments: list[tuple[Tally, int, int]] = field(default_factory=list)
    """Each file's rows: from, to."""
    odd: list[tuple[Tally, int, str, bytes]] = field(default_factory=list)
    """What is rejected without being a row: file, line, reason, record."""

    def record(self, row: int) -> bytes:
        """One row as it stands in its file."""
        begin = int(self.begins[row])
        return self.window[begin : min(int(self.finishes[row]), begin + RECORD_LIMIT)].tobytes()


class Cutter:
    """Cuts files into rows."""

    def __init__(
        self,
        slots: int,
        bind: Callable[[tuple[str, ...]], Binding],
        header: Callable[[bytes], tuple[str, ...] | str | None],
        window: int = WINDOW,
    ) -> None:
        self._bind = bind
        self._header = header
        self._cut = Cut(
            window=np.empty(window + BEHIND, np.uint8),
            starts=np.zeros((slots, ROOM), np.int32),
            ends=np.zeros((slots, ROOM), np.int32),
            lines=np.zeros(ROOM, np.int64),
            begins=np.zeros(ROOM, np.int64),
            finishes=np.zeros(ROOM, np.int64),
            fault=np.zeros(ROOM, np.int64),
        )
        self._state = np.zeros(3, np.int64)
        self._commas = np.zeros(WIDEST, np.int32)
        self._line_end = np.zeros(1, np.int64)
        self._room = window
        self._line_limit = min(LINE_LIMIT, window // 2)
        self._filled = 0
        self._opened = 0
        self.tallies: dict[int, Tally] = {}
        """What was seen of each file, by its key."""

    def cuts(self, files: Sequence[CdrFile]) -> Iterator[Cut]:
        """Cut files in their order; raise `FileChangedError` for one that is not what was hashed."""
        for file in files:
            tally = self.tallies[file.file_key] = Tally(file)
            if self._room - self._filled < min(file.size, HEAD) + len(BOM):
                yield from self._flush(tally)
                self._filled = 0
            try:
                with open_source(str(file.path)) as source:
                    yield from self._cut_file(source, tally)
            except CaptureError:
                raise FileChangedError(file) from None
        yield from self._flush(None)

    def _cut_file(self, source: Source, tally: Tally) -> Iterator[Cut]:
        file = tally.file
        state, cut = self._state, self._cut
        self._opened = cut.rows
        state[POSITION], state[ROWS], state[LINE] = self._filled, cut.rows, 1
        binding = self._bind(file.columns)
        size, is_last, is_discarding = 0, False, False
        while not is_last:
            if self._filled == self._room:
                yield from self._flush(tally)
                self._carry()
            got, is_last = self._fill(source, file.size - size)
            if not size:
                self._pass_header(file)
            size += got
            tally.octets = size
            if is_discarding:
                is_discarding = not self._pass_line()
            while not is_discarding and (stopped := self._run(binding, is_last)):
                if stopped == NO_ROOM or len(cut.odd) > ODD_LINES:
                    yield from self._flush(tally)
                elif stopped == NOT_A_RECORD:
                    binding = self._odd_line(tally, binding)
            if not is_discarding and self._filled - int(state[POSITION]) > self._line_limit:
                self._reject(tally, "line_too_long", self._filled)
                is_discarding = not self._pass_line()
        if size != file.size or source.problem is not None or not file.is_unchanged:
            raise FileChangedError(file)
        self._close_segment(tally)
        self._filled = int(state[POSITION])

    def _fill(self, source: Source, left: int) -> tuple[int, bool]:
        """Read until the window is full or the file ends; return how much came, and whether it was the last."""
        got = 0
        view = self._cut.window.data[: self._room]
        while self._filled < len(view) and (count := source.read_into(view[self._filled :])):
            self._filled += count
            got += count
        return got, got >= left or self._filled < len(view)

    def _run(self, binding: Binding, is_last: bool) -> int:
        cut = self._cut
        cut.window[self._filled : self._filled + BEHIND] = NEW_LINE
        stopped = cut_lines(
            cut.window,
            self._filled,
            int(is_last),
            int(binding.starts_with_number),
            binding.columns,
            binding.allowed,
            self._commas,
            self._line_end,
            cut.starts,
            cut.ends,
            cut.lines,
            cut.begins,
            cut.finishes,
            cut.fault,
            self._state,
        )
        cut.rows = int(self._state[ROWS])
        return stopped

    def _pass_header(self, file: CdrFile) -> None:
        """Pass over the byte order mark and the lines before the first record."""
        at = int(self._state[POSITION])
        if self._cut.window[at : at + len(BOM)].tobytes() == BOM:
            self._state[POSITION] = at + len(BOM)
        for _ in range(file.first_line - 1):
            self._pass_line()

    def _pass_line(self) -> bool:
        """Go behind the next line's end; False, and to the end of what is there, where there is none."""
        at = int(self._state[POSITION])
        end = self._end_of_line(at)
        self._state[POSITION] = min(end + 1, self._filled)
        if end == self._filled:
            return False
        self._state[LINE] += 1
        return True

    def _end_of_line(self, at: int) -> int:
        for begin in range(at, self._filled, 1 << 16):
            piece = self._cut.window[begin : min(begin + (1 << 16), self._filled)].tobytes()
            found = piece.find(b"\n")
            if found >= 0:
                return begin + found
        return self._filled

    def _odd_line(self, tally: Tally, binding: Binding) -> Binding:
        """A line that starts with no number: names of columns, types, or nothing that is known."""
        at = int(self._state[POSITION])
        end = self._end_of_line(at)
        header = self._header(self._cut.window[at : min(end, at + HEAD)].tobytes())
        if isinstance(header, str):
            self._reject(tally, header, end)
        elif header:
            binding = self._bind(header)
        self._pass_line()
        return binding

    def _reject(self, tally: Tally, reason: str, end: int) -> None:
        at = int(self._state[POSITION])
        record = self._cut.window[at : min(end, at + RECORD_LIMIT)].tobytes()
        self._cut.odd.append((tally, int(self._state[LINE]), reason, record))

    def _close_segment(self, tally: Tally) -> None:
        if self._cut.rows > self._opened:
            self._cut.segments.append((tally, self._opened, self._cut.rows))
        self._opened = self._cut.rows

    def _flush(self, tally: Tally | None) -> Iterator[Cut]:
        """Hand over the rows so far."""
        if tally is not None:
            self._close_segment(tally)
        if self._cut.rows or self._cut.odd:
            yield self._cut
        self._cut.rows = self._opened = 0
        self._cut.segments.clear()
        self._cut.odd.clear()
        self._state[ROWS] = 0

    def _carry(self) -> None:
        """Move what is not cut yet to the front of the window."""
        window, at = self._cut.window, int(self._state[POSITION])
        rest = window[at : self._filled].copy()
        window[: len(rest)] = rest
        self._filled = len(rest)
        self._state[POSITION] = 0
