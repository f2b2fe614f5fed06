"""Rows of call records on their way into the lake: what every reader makes, and how batches of them are bounded.

A reader turns one record into a `Parsed` or raises `RowError` with a name; `batches` collects both. Nothing here knows
a format.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple, TypeAlias

import pyarrow as pa

from analytics.store.arrow_rows import arrow_table
from analytics.store.schema import CDR_ROWS, PHONE_REPORTS

Value: TypeAlias = str | int | float | None
Row: TypeAlias = dict[str, Value]

BATCH_ROWS = 100_000
BATCH_REJECTS = 10_000
LINE_CHARACTERS = 65_536
"""Longer lines are no record; the rest of one is skipped."""
SHOWN_CHARACTERS = 4_096
"""As much of a rejected record is kept."""
MOST = 2**31 - 1
"""Largest number of seconds or packets in a record."""
_NUMBER = re.compile(r"([+-]?)(\d{1,18})(?:\.\d{1,18})?", re.ASCII)


class RowError(ValueError):
    """A record cannot be used; the message is the reason's name."""

    @property
    def reason(self) -> str:
        """Name to count by."""
        return str(self)


class Reject(NamedTuple):
    """A record that was not used."""

    line: int
    reason: str
    record: str
    """The record as it stands in the file, its first 4,096 characters."""


class Parsed(NamedTuple):
    """What one record says: columns of `cdr_rows` and, where it holds quality, of `phone_reports`."""

    cdr: Row
    report: Row | None = None


@dataclass(frozen=True, slots=True)
class ReadSettings:
    """What a reader must be told, for the files do not say it."""

    zone: str = "UTC"
    """Zone of local times, e.g. `Europe/London`; `UTC` for Asterisk with `usegmtime`."""
    system: str = ""
    """Name of the exchange."""
    file_key: int = 0
    """First 64 bits of SHA-256 of the file, signed."""
    encoding: str = "utf-8"


UNTOLD = ReadSettings()
"""Settings of a reader that was told nothing."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Some records of a file."""

    cdr_rows: pa.Table
    phone_reports: pa.Table
    rejects: tuple[Reject, ...]


def key64(*parts: str) -> int:
    """First 64 bits of SHA-256 over the parts as a signed number; never 0, which means none."""
    digest = hashlib.sha256("\x1f".join(parts).encode("utf-8", "replace")).digest()
    return int.from_bytes(digest[:8], "big", signed=True) or 1


def batches(records: Iterable[tuple[int, Parsed | Reject]], source: str, settings: ReadSettings) -> Iterator[Batch]:
    """Gather records into batches of bounded size; nothing is yielded for a file without records."""
    rows: list[Row] = []
    reports: list[Row] = []
    rejects: list[Reject] = []
    for number, record in records:
        if isinstance(record, Reject):
            rejects.append(record)
        else:
            where: Row = {"source": source, "file_key": settings.file_key, "line": number}
            rows.append({"system": settings.system, **record.cdr, **where})
            if record.report is not None:
                reports.append({"system": settings.system, **record.report, **where})
        if len(rows) >= BATCH_ROWS or len(rejects) >= BATCH_REJECTS:
            yield Batch(arrow_table(CDR_ROWS, rows), arrow_table(PHONE_REPORTS, reports), tuple(rejects))
            rows, reports, rejects = [], [], []
    if rows or rejects:
        yield Batch(arrow_table(CDR_ROWS, rows), arrow_table(PHONE_REPORTS, reports), tuple(rejects))


def text_lines(stream: BinaryIO, encoding: str = "utf-8") -> Iterator[tuple[int, str | Reject]]:
    """Lines of a file that are not empty, with their number from 1; a byte order mark is left out.

    Octets that the encoding does not know become U+FFFD. A line that is too long or holds NUL is a reject.
    """
    wrapper = io.TextIOWrapper(stream, encoding, errors="replace", newline="\n")
    number = 0
    try:
        while line := wrapper.readline(LINE_CHARACTERS + 1):
            number += 1
            if number == 1:
                line = line.removeprefix("\ufeff")
            text = line.rstrip("\r\n")
            if len(line) > LINE_CHARACTERS:
                _skip_rest(wrapper, line)
                yield number, reject(number, "line_too_long", text)
            elif "\0" in text:
                yield number, reject(number, "nul_character", text.replace("\0", "\ufffd"))
            elif text.strip():
                yield number, text
    finally:
        wrapper.detach()


def _skip_rest(wrapper: io.TextIOWrapper, line: str) -> None:
    while line and not line.endswith("\n"):
        line = wrapper.readline(LINE_CHARACTERS)


def reject(number: int, reason: str, record: str) -> Reject:
    """Keep a record with the reason why it is not used."""
    return Reject(number, reason, record[:SHOWN_CHARACTERS])


def split(line: str, delimiter: str = ",", quote: str = '"') -> list[str]:
    """Split a line of CSV (RFC 4180, quotes doubled inside quotes); spaces around fields are left out."""
    if not quote or quote not in line:
        return [field.strip() for field in line.split(delimiter)]
    try:
        reader = csv.reader((line,), delimiter=delimiter, quotechar=quote, strict=True)
        return [field.strip() for field in next(reader)]
    except csv.Error as error:
        raise RowError("unterminated_quote" if "unexpected end" in str(error) else "malformed_quotes") from None


def sample(head: bytes, encoding: str = "utf-8", lines: int = 20) -> Iterator[list[str]]:
    """Fields of the first whole lines of a file; a quote that is missing at a line's end is thought to be there."""
    texts = head.decode(encoding, "replace").removeprefix("\ufeff").split("\n")
    whole = texts[:-1] if len(texts) > 1 else texts
    for text in [text.rstrip("\r") for text in whole if text.strip()][:lines]:
        for attempt in (text, text + '"'):
            try:
                yield split(attempt[:LINE_CHARACTERS])
            except RowError:
                continue
            break


def whole(text: str) -> int:
    """Read seconds or a count, a fraction cut off; RowError where it is no number, negative or too large."""
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise RowError("bad_number")
    number = int(match[2])
    if match[1] == "-" and number:
        raise RowError("negative_number")
    if number > MOST:
        raise RowError("number_out_of_range")
    return number
