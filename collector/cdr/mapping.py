"""Mapping files: what a person says of a CSV that no reader knows (TOML; the reference is docs/cdr-other.md)."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping as Map
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

COLUMNS: Final[Map[str, str]] = {
    "origination": "time",
    "connect": "time",
    "disconnect": "time",
    "seconds": "duration",
    "ring_seconds": "duration",
    "queue_seconds": "duration",
    "hold_seconds": "duration",
    "record": "text",
    "call": "text",
    "orig_leg": "text",
    "dest_leg": "text",
    "system": "text",
    "calling": "text",
    "calling_partition": "text",
    "original_called": "text",
    "called": "text",
    "called_partition": "text",
    "outpulsed_called": "text",
    "last_redirect": "text",
    "hunt_pilot": "text",
    "orig_device": "text",
    "dest_device": "text",
    "orig_ip": "text",
    "dest_ip": "text",
    "orig_cause": "number",
    "dest_cause": "number",
    "codec": "text",
    "direction": "direction",
    "account": "text",
    "answered": "answered",
    "mos": "score",
}
"""What a column of a file may be, and how it is read."""
UNITS: Final = ("seconds", "milliseconds", "minutes", "hh:mm:ss", "mm:ss")
EPOCHS: Final = ("epoch", "epoch_ms", "epoch_us")
TABLES: Final[Map[str, frozenset[str]]] = {
    "": frozenset({"source", "delimiter", "quote", "header", "skip_lines", "encoding"}),
    "time": frozenset({"format", "zone"}),
    "duration": frozenset({"unit"}),
    "columns": frozenset(COLUMNS),
    "constants": frozenset(name for name, kind in COLUMNS.items() if kind in ("text", "direction")),
    "direction": frozenset({"in", "out", "internal"}),
    "answered": frozenset({"words"}),
}
RESERVED: Final = frozenset({"cucm", "asterisk", "freeswitch", "avaya", "capture"})
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}", re.ASCII)


class MappingError(ValueError):
    """A mapping file cannot be used; the message is one line with file, line and key."""


@dataclass(frozen=True, slots=True)
class Mapping:
    """How to read one kind of CSV."""

    source: str
    columns: Map[str, str | int]
    """Column of a record to a heading, or to a position from 1."""
    delimiter: str = ","
    quote: str = '"'
    header: bool = True
    skip_lines: int = 0
    """Lines before the heading or the first record."""
    encoding: str = "utf-8"
    formats: tuple[str, ...] = ()
    """Formats of `strptime`, tried in order; empty: ISO 8601 in local time, with or without an offset."""
    zone: str | None = None
    """Zone of times without an offset; None: that of the settings."""
    unit: str = "seconds"
    constants: Map[str, str] = field(default_factory=dict)
    directions: Map[str, str] = field(default_factory=dict)
    """Word of the file, in lower case, to in, out or internal."""
    answered: frozenset[str] = frozenset()
    """Words of the column `answered`, in lower case, that say yes; empty: a time or length of talk says it."""


def read_mapping(path: Path) -> Mapping:
    """Read a mapping file. Raises MappingError with file, line and key."""
    try:
        text = path.read_text(encoding="utf-8")
        document = tomllib.loads(text)
    except OSError as error:
        raise MappingError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise MappingError(f"{path}: is not UTF-8") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise MappingError(f"{path}: {error}") from None
    return _Reader(str(path), text, document).mapping()


class _Reader:
    """Reads one document, so that errors can name its lines."""

    def __init__(self, name: str, text: str, document: Map[str, Any]) -> None:
        self._name = name
        self._text = text
        self._document = document

    def mapping(self) -> Mapping:
        self._check_names()
        columns, constants = self._columns(), self._texts("constants")
        if "origination" not in columns:
            raise self._error("columns", "origination", "is missing: each record needs a begin")
        if not {"seconds", "disconnect"} & columns.keys():
            raise self._error("columns", "seconds", "is missing, and disconnect too: one of them gives the length")
        if both := columns.keys() & constants.keys():
            raise self._error("constants", min(both), "stands in columns too")
        if "direction" in columns and not self._document.get("direction"):
            raise self._error("columns", "direction", "needs the table [direction] with the file's words")
        if "answered" in columns and not self._document.get("answered"):
            raise self._error("columns", "answered", "needs the table [answered] with the file's words")
        return Mapping(
            source=self._source(),
            columns=columns,
            delimiter=self._character("delimiter", ","),
            quote=self._character("quote", '"', may_be_empty=True),
            header=self._flag("header", True),
            skip_lines=self._skip_lines(),
            encoding=self._encoding(),
            formats=self._formats(),
            zone=self._zone(),
            unit=self._one_of("duration", "unit", UNITS, "seconds"),
            constants=constants,
            directions={
                word.lower(): way for way in ("in", "out", "internal") for word in self._words("direction", way)
            },
            answered=frozenset(word.lower() for word in self._words("answered", "words")),
        )

    def _check_names(self) -> None:
        for name, value in self._document.items():
            if isinstance(value, dict):
                known = TABLES.get(name)
                if known is None:
                    raise self._error(name, "", "is no table of a mapping")
                for key in value:
                    if key not in known:
                        raise self._error(name, key, f"is not known here; known are {', '.join(sorted(known))}")
            elif name not in TABLES[""]:
                raise self._error("", name, f"is not known here; known are {', '.join(sorted(TABLES['']))}")

    def _source(self) -> str:
        source = self._document.get("source")
        if not isinstance(source, str) or not _NAME.fullmatch(source):
            raise self._error("", "source", "must be a name of small letters, digits, - and _")
        if source in RESERVED:
            raise self._error("", "source", f"{source} is the name of a reader")
        return source

    def _columns(self) -> dict[str, str | int]:
        header = self._flag("header", True)
        columns: dict[str, str | int] = {}
        for name, value in self._table("columns").items():
            if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
                raise self._error("columns", name, "must be a heading or a position from 1")
            if isinstance(value, int) and not 1 <= value <= 1_000:
                raise self._error("columns", name, "is a position out of 1 to 1,000")
            if isinstance(value, str) and not header:
                raise self._error("columns", name, "must be a position, for the file has no heading")
            columns[name] = value
        return columns

    def _formats(self) -> tuple[str, ...]:
        value = self._table("time").get("format", [])
        formats = [value] if isinstance(value, str) else value
        if not isinstance(formats, list) or not all(isinstance(one, str) and one for one in formats):
            raise self._error("time", "format", "must be a format or a list of formats")
        for one in formats:
            if one not in EPOCHS and "%" not in one:
                raise self._error("time", "format", f"{one!r} is no format of strptime, nor {', '.join(EPOCHS)}")
        return tuple(formats)

    def _zone(self) -> str | None:
        zone = self._table("time").get("zone")
        if zone is None:
            return None
        try:
            return ZoneInfo(zone).key
        except (ZoneInfoNotFoundError, ValueError, OSError, TypeError):
            raise self._error("time", "zone", f"{zone!r} is no time zone") from None

    def _encoding(self) -> str:
        encoding = self._document.get("encoding", "utf-8")
        try:
            "".encode(encoding)
            b"".decode(encoding)
        except (LookupError, TypeError, ValueError):
            raise self._error("", "encoding", f"{encoding!r} is no encoding of text") from None
        return str(encoding)

    def _character(self, key: str, default: str, may_be_empty: bool = False) -> str:
        value = self._document.get(key, default)
        allowed = isinstance(value, str) and (len(value) == 1 or (may_be_empty and not value))
        if not allowed or value in ("\n", "\r", "\0", " "):
            raise self._error("", key, "must be one character")
        if key == "quote" and value == self._document.get("delimiter", ","):
            raise self._error("", key, "is the delimiter too")
        return str(value)

    def _flag(self, key: str, default: bool) -> bool:
        value = self._document.get(key, default)
        if not isinstance(value, bool):
            raise self._error("", key, "must be true or false")
        return value

    def _skip_lines(self) -> int:
        value = self._document.get("skip_lines", 0)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 1_000:
            raise self._error("", "skip_lines", "must be a number from 0 to 1,000")
        return value

    def _one_of(self, table: str, key: str, known: tuple[str, ...], default: str) -> str:
        value = self._table(table).get(key, default)
        if value not in known:
            raise self._error(table, key, f"must be one of {', '.join(known)}")
        return str(value)

    def _words(self, table: str, key: str) -> list[str]:
        value = self._table(table).get(key, [])
        words = [value] if isinstance(value, str) else value
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise self._error(table, key, "must be a word or a list of words")
        return words

    def _texts(self, table: str) -> dict[str, str]:
        for key, value in self._table(table).items():
            if not isinstance(value, str):
                raise self._error(table, key, "must be a text")
        if (way := self._table(table).get("direction")) is not None and way not in ("in", "out", "internal"):
            raise self._error(table, "direction", "must be in, out or internal")
        return dict(self._table(table))

    def _table(self, name: str) -> Map[str, Any]:
        value = self._document.get(name, {})
        if not isinstance(value, dict):
            raise self._error("", name, "must be a table")
        return value

    def _error(self, table: str, key: str, sentence: str) -> MappingError:
        what = ".".join(part for part in (table, key) if part)
        return MappingError(f"{self._name}:{self._line(table, key)}: {what} {sentence}")

    def _line(self, table: str, key: str) -> int:
        """Line of a key, else of its table, else 1."""
        section, at_table = "", 1
        assigned = re.compile(rf"""\s*["']?{re.escape(key)}["']?\s*=""")
        dotted = re.compile(rf"\s*{re.escape(table)}\.{re.escape(key)}\s*=")
        for number, line in enumerate(self._text.splitlines(), 1):
            heading = re.match(r"\s*\[\s*([\w-]+)\s*\]", line)
            if heading:
                section = heading[1]
                at_table = number if section == table else at_table
            elif (section == table and key and assigned.match(line)) or (not section and dotted.match(line)):
                return number
        return at_table
