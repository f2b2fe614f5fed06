"""Records that were not kept: each by file, line and reason, counted, and written to a file people can look at."""

from __future__ import annotations

import csv
import fcntl
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, Self, TextIO

from collector.cdr.files import CdrError

if TYPE_CHECKING:
    from collector.cdr.files import CdrFile

RECORD_LIMIT: Final = 4_096
"""Characters of a record that the file of rejects shows."""
WRITTEN_LIMIT: Final = 1_000_000
"""Rejects that are written; all are counted."""
HEADER: Final = ("imported", "file", "line", "reason", "record")
FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""A cell that begins so would be computed by a spreadsheet; an apostrophe before it keeps it a text."""


class Writer(Protocol):
    """What `csv.writer` returns."""

    def writerow(self, row: Iterable[object], /) -> object:
        """Write one row."""


class Mark(NamedTuple):
    """What stood in `Rejects` at a moment."""

    reasons: Counter[str]
    of_file: Counter[int]
    refused: dict[Path, str]
    written: int
    size: int | None
    """Octets of the file; None where it was not open."""


class Rejects:
    """Counts rejects, and adds them to a file where a path is given; it is made with the first reject.

    It holds telephone numbers, so only its owner may read it. Raises `CdrError` where the file cannot be written, or
    holds something else than rejects.
    """

    def __init__(self, path: Path | None = None, now: datetime | None = None) -> None:
        self.path = path
        self.reasons: Counter[str] = Counter()
        """Rejected records by reason."""
        self.refused: dict[Path, str] = {}
        """Files that could not be read to their end, and why: one sentence each."""
        self._when = "" if now is None else f"{now.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        self._of_file: Counter[int] = Counter()
        self._written = 0
        self._before = 0
        self._file: TextIO | None = None
        self._writer: Writer | None = None
        if path is not None and path.is_file():
            _check_heading(path)

    @property
    def total(self) -> int:
        """Records rejected."""
        return sum(self.reasons.values())

    @property
    def written(self) -> int:
        """Records written to the file."""
        return self._written

    def of(self, file: CdrFile) -> int:
        """Records of one file that were rejected."""
        return self._of_file[file.file_key]

    def add(self, file: CdrFile, line: int, reason: str, record: str | bytes) -> None:
        """Reject a record; `line` counts from 1, `reason` is a short snake_case word, `word:field` where one is named.

        `record` is the line as it stands in the file.
        """
        self.reasons[reason] += 1
        self._of_file[file.file_key] += 1
        if self.path is None or self._written >= WRITTEN_LIMIT:
            return
        text = record[: RECORD_LIMIT * 4].decode("utf-8", "backslashreplace") if isinstance(record, bytes) else record
        shown = _text(text[:RECORD_LIMIT].replace("\0", "\\0"))
        with self._writing():
            self._open(self.path).writerow((self._when, _text(file.name), line, reason, shown))
        self._written += 1

    def refuse(self, file: CdrFile, sentence: str) -> None:
        """Say that a file could not be read to its end; what came before stays."""
        self.refused.setdefault(file.path, sentence)

    def settle(self) -> None:
        """Bring what was rejected to the disk, before its files count as imported."""
        if self._file is not None:
            with self._writing():
                self._file.flush()
                if self._is_regular():
                    os.fsync(self._file.fileno())

    def mark(self) -> Mark:
        """What stands here now, to come back to with `undo`."""
        size = None
        if self._file is not None:
            with self._writing():
                self._file.flush()
            size = os.fstat(self._file.fileno()).st_size
        return Mark(Counter(self.reasons), Counter(self._of_file), dict(self.refused), self._written, size)

    def undo(self, mark: Mark) -> None:
        """Take back what was rejected since the mark: the files are read again another time."""
        self.reasons, self._of_file, self.refused = mark.reasons, mark.of_file, mark.refused
        self._written = mark.written
        if self._file is None:
            return
        with self._writing():
            self._file.flush()
            if self._is_regular():
                self._file.truncate(self._before if mark.size is None else mark.size)
        if mark.size is None:
            self.close()

    def close(self) -> None:
        """Write out what is left."""
        if self._file is not None:
            with self._writing():
                self._file.close()
            self._file = self._writer = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self, path: Path) -> Writer:
        if self._writer is None:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            self._file = os.fdopen(descriptor, "w", encoding="utf-8", newline="")
            self._writer = csv.writer(self._file)
            if self._is_regular():
                # Imports into other stores may write to the same file: what one takes back must be its own.
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                _check_heading(path)
                os.truncate(path, _whole_lines(path))
            self._before = os.fstat(descriptor).st_size
            if not self._before:
                self._writer.writerow(HEADER)
        return self._writer

    def _is_regular(self) -> bool:
        return self._file is not None and stat.S_ISREG(os.fstat(self._file.fileno()).st_mode)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Name the file in an error of writing, after which it is let go of."""
        try:
            yield
        except OSError as error:
            file, self._file, self._writer = self._file, None, None
            if file is not None:
                with suppress(OSError):
                    file.close()
            raise CdrError(f"{self.path}: rejected records cannot be written: {error.strerror}") from error


def _check_heading(path: Path) -> None:
    """Leave a file alone that somebody keeps something else in; an empty one may be written to."""
    heading = (",".join(HEADER) + "\r\n").encode("ascii")
    try:
        with path.open("rb") as file:
            start = file.read(len(heading))
    except OSError as error:
        raise CdrError(f"{path}: rejected records cannot be written: {error.strerror}") from error
    if start and start != heading:
        raise CdrError(f"{path} holds something else than rejected records: name another file with --rejects")


def _whole_lines(path: Path) -> int:
    """Octets of a file as far as its last line is whole: a kill may have cut the one after it."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        end = file.seek(max(size - 16 * RECORD_LIMIT, 0))
        found = file.read().rfind(b"\n")
    return end + found + 1 if found >= 0 else size


def _text(value: str) -> str:
    return f"'{value}" if value.startswith(FORMULA) else value
