"""CSV files of the estate read by the declaration of their columns: rows with their line, or named problems.

One record is one line, so a quote that is not closed spoils its own line only. Any bytes give rows or problems.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path

from analytics.sites import Origin, Validity
from collector.estate.problems import Problems, nearest, shown

MOST_BYTES = 64 * 2**20
"""Larger files are none that people keep by hand."""
MOST_COLUMNS = 64
LONGEST_LINE = 65_536
"""Characters; below the field limit of Python's csv."""
LONGEST_FIELD = 1_000
LONGEST_NUMBER = 24
"""Digits: E.164 has 15, access digits and prefixes come before."""
FIRST_YEAR, LAST_YEAR = 1970, 2199

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
"""Some spreadsheets begin UTF-8 with it."""

_NOT_TEXT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufeff]")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DECIMAL = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,12})?")
_WHOLE = re.compile(r"[0-9]{1,9}")
_DIGITS = re.compile(r"[0-9]+")


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a file."""

    name: str
    doc: str
    needed: bool = False
    """Whether it must stand in the header and be filled in every row."""


@dataclass(frozen=True, slots=True)
class TableFile:
    """One CSV file of the estate."""

    name: str
    doc: str
    columns: tuple[Column, ...]
    needed: bool = False
    """Whether an estate without it is unusable."""

    def names(self) -> tuple[str, ...]:
        """Names of its columns in the order of the docs."""
        return tuple(column.name for column in self.columns)


NOTE = Column("note", "anything: it is not read")
"""A column that every file may have."""


class Cells:
    """Fields of one row. What cannot be read is noted, and `usable` tells that the row must be left out."""

    def __init__(self, origin: Origin, values: dict[str, str], problems: Problems) -> None:
        self.origin = origin
        self.usable = True
        self._values = values
        self._problems = problems

    def wrong(self, code: str, sentence: str) -> None:
        """Note an error of this row and leave it out."""
        self._problems.error(self.origin, code, sentence)
        self.usable = False

    def warn(self, code: str, sentence: str) -> None:
        """Note what is probably not meant; the row stays."""
        self._problems.warning(self.origin, code, sentence)

    def text(self, name: str) -> str:
        """The field, stripped; empty where it is blank or its column is absent."""
        return self._values.get(name, "")

    def optional(self, name: str) -> str | None:
        """The field, or None where it is blank."""
        return self._values.get(name) or None

    def word(self, name: str, known: tuple[str, ...], default: str = "") -> str:
        """A field that may hold only known words."""
        text = self._values.get(name) or default
        if text not in known:
            self.wrong("unknown_word", f"{name} {shown(text)} is none of {', '.join(known)}{nearest(text, known)}")
        return text

    def day(self, name: str) -> date | None:
        """A local day as YYYY-MM-DD; None where it is blank."""
        text = self._values.get(name, "")
        if not text:
            return None
        try:
            day = date.fromisoformat(text) if _DATE.fullmatch(text) else None
        except ValueError:
            day = None
        if day is None or not FIRST_YEAR <= day.year <= LAST_YEAR:
            self.wrong("bad_date", f"{name} {shown(text)} is no date from {FIRST_YEAR} to {LAST_YEAR} as YYYY-MM-DD")
            return None
        return day

    def validity(self) -> Validity:
        """`valid_from` and `valid_to`."""
        first, last = self.day("valid_from"), self.day("valid_to")
        if first is not None and last is not None and last < first:
            self.wrong("ends_before_begin", f"valid_to {last} is before valid_from {first}")
        return Validity(first, last)

    def decimal(self, name: str) -> Decimal | None:
        """An exact number; None where it is blank."""
        text = self._values.get(name, "")
        if not text:
            return None
        if not _DECIMAL.fullmatch(text):
            self.wrong("bad_number", f"{name} {shown(text)} is no decimal number such as 12.50")
            return None
        return Decimal(text)

    def whole(self, name: str) -> int | None:
        """A whole number from 0; None where it is blank."""
        text = self._values.get(name, "")
        if not text:
            return None
        if not _WHOLE.fullmatch(text):
            self.wrong("bad_number", f"{name} {shown(text)} is no whole number")
            return None
        return int(text)

    def digits(self, name: str) -> str:
        """Digits of a telephone number; empty where it is blank."""
        text = self._values.get(name, "")
        if text and not _DIGITS.fullmatch(text):
            self.wrong("not_digits", f"{name} {shown(text)} holds something other than digits")
        elif len(text) > LONGEST_NUMBER:
            self.wrong("not_digits", f"{name} has {len(text)} digits, more than the {LONGEST_NUMBER} of any number")
        return text


def read_table(root: Path, name: str, declared: TableFile, problems: Problems) -> list[Cells]:
    """Rows of `root/name` with what each field says; problems are noted with file:line.

    A file that is absent gives no rows, and an error if it is needed.
    """
    path = root / name
    try:
        if not path.is_file() and path.exists():
            problems.error(Origin(name, 0), "unreadable_file", "this is no file")
            return []
        if path.stat().st_size > MOST_BYTES:
            problems.error(Origin(name, 0), "file_too_large", f"the file is larger than {MOST_BYTES >> 20} MB")
            return []
        data = path.read_bytes()
    except FileNotFoundError:
        if declared.needed:
            problems.error(Origin(name, 0), "missing_file", "the file is missing")
        return []
    except OSError as error:
        problems.error(Origin(name, 0), "unreadable_file", f"the file cannot be read: {error.strerror}")
        return []
    return parse_table(data, name, declared, problems)


def parse_table(data: bytes, name: str, declared: TableFile, problems: Problems) -> list[Cells]:
    """Rows of a file's bytes, as `read_table`."""
    records = _records(data, name, problems)
    header = next(records, None)
    if header is None:
        problems.error(Origin(name, 1), "empty_file", "the file has no header line")
        return []
    origin, names = header
    if names is None or not _check_header(origin, names, declared, problems):
        return []
    needed = tuple(column.name for column in declared.columns if column.needed)
    rows = []
    for origin, fields in records:
        if fields is None:
            continue
        if len(fields) != len(names):
            sentence = f"the row has {len(fields)} fields, the header {len(names)}"
            problems.error(origin, "ragged_row", sentence)
            continue
        cells = Cells(origin, dict(zip(names, fields, strict=True)), problems)
        for missing in (column for column in needed if not cells.text(column)):
            cells.wrong("blank_field", f"{missing} is blank")
        if cells.usable:
            rows.append(cells)
    return rows


def _check_header(origin: Origin, names: list[str], declared: TableFile, problems: Problems) -> bool:
    """Whether rows under this header can be read; problems are noted."""
    if len(names) > MOST_COLUMNS:
        problems.error(origin, "too_many_columns", f"the header has {len(names):,} columns, more than {MOST_COLUMNS}")
        return False
    usable = True
    known = {*declared.names(), NOTE.name}
    for name, count in Counter(names).items():
        if count > 1:
            problems.error(origin, "duplicate_column", f"the column {shown(name)} stands {count} times in the header")
            usable = False
    for name in dict.fromkeys(names):
        if name not in known:
            absent = [column for column in declared.names() if column not in names]
            sentence = f"there is no column {shown(name)} here{nearest(name, absent or declared.names())}"
            problems.error(origin, "unknown_column", sentence)
    for column in declared.columns:
        if column.needed and column.name not in names:
            problems.error(origin, "missing_column", f"the column {column.name} is missing")
            usable = False
    return usable


def _records(data: bytes, name: str, problems: Problems) -> Iterator[tuple[Origin, list[str] | None]]:
    """Fields of each line that is neither blank nor a comment; None where it cannot be read."""
    for number, raw in enumerate(io.BytesIO(data.removeprefix(BYTE_ORDER_MARK)), start=1):
        line = raw.removesuffix(b"\n").removesuffix(b"\r")
        if line.strip() and not line.startswith(b"#"):
            origin = Origin(name, number)
            yield origin, _fields(line, origin, problems)


def _fields(line: bytes, origin: Origin, problems: Problems) -> list[str] | None:
    if len(line) > LONGEST_LINE:
        problems.error(origin, "line_too_long", f"the line has {len(line):,} bytes, more than {LONGEST_LINE:,}")
        return None
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        sentence = f"byte {error.start + 1} of the line is not UTF-8: save the file as UTF-8"
        problems.error(origin, "not_utf8", sentence)
        return None
    strange = _NOT_TEXT.search(text)
    if strange:
        problems.error(origin, "control_character", f"the line holds the character {strange[0]!a}")
        return None
    try:
        fields = next(csv.reader([text], strict=True))
    except csv.Error as error:
        reason = "a quote is not closed" if "unexpected end" in str(error) else str(error)
        problems.error(origin, "bad_quotes", f"the line is no CSV: {reason}")
        return None
    for field in fields:
        if len(field) > LONGEST_FIELD:
            problems.error(origin, "huge_field", f"a field has {len(field):,} characters, more than {LONGEST_FIELD:,}")
            return None
    return [field.strip() for field in fields]
