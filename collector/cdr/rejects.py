"""Records that were not kept: each by file, line and reason, counted, and written to a file people can look at."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, Self, TextIO

if TYPE_CHECKING:
    from collector.cdr.files import CdrFile

RECORD_LIMIT: Final = 4_096
"""Characters of a record that the file of rejects shows."""
WRITTEN_LIMIT: Final = 1_000_000
"""Rejects that are written; all are counted."""
HEADER: Final = ("file", "line", "reason", "record")


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
    size: int


class Rejects:
    """Counts rejects, and writes them where a path is given; the file is made with the first reject.

    It holds telephone numbers, so only its owner may read it.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.reasons: Counter[str] = Counter()
        """Rejected records by reason."""
        self.refused: dict[Path, str] = {}
        """Files that could not be read to their end, and why: one sentence each."""
        self._of_file: Counter[int] = Counter()
        self._written = 0
        self._file: TextIO | None = None
        self._writer: Writer | None = None

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
        self._open().writerow((file.name, line, reason, text[:RECORD_LIMIT].replace("\0", "\\0")))
        self._written += 1

    def refuse(self, file: CdrFile, sentence: str) -> None:
        """Say that a file could not be read to its end; what came before stays."""
        self.refused.setdefault(file.path, sentence)

    def mark(self) -> Mark:
        """What stands here now, to come back to with `undo`."""
        if self._file is not None:
            self._file.flush()
        size = 0 if self._file is None else os.fstat(self._file.fileno()).st_size
        return Mark(Counter(self.reasons), Counter(self._of_file), dict(self.refused), self._written, size)

    def undo(self, mark: Mark) -> None:
        """Take back what was rejected since the mark: the files are read again another time."""
        self.reasons, self._of_file, self.refused = mark.reasons, mark.of_file, mark.refused
        self._written = mark.written
        if self._file is not None:
            self._file.flush()
            self._file.truncate(mark.size)
            self._file.seek(mark.size)
            if not mark.size:
                self._writer = None
                self._file.close()
                self._file = None

    def close(self) -> None:
        """Write out what is left."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> Writer:
        if self._writer is None:
            assert self.path is not None
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            self._file = os.fdopen(descriptor, "w", encoding="utf-8", newline="")
            self._writer = csv.writer(self._file)
            self._writer.writerow(HEADER)
        return self._writer
