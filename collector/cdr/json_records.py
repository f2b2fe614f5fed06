"""JSON records out of a file of any size: one object, an array of objects, or one object a line.

A file whose first line is a whole object has one a line, so that a cut line spoils only itself. Otherwise records are
told apart by their brackets, and a record that is cut takes with it what follows.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from collector.cdr.rows import Reject, RowError, reject

RECORD_CHARACTERS = 4 << 20
"""Longer records are rejected."""
DEPTH = 64
"""Deeper brackets are no record of a call."""
_PIECE = 1 << 18
_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\]]', re.DOTALL)
_MARK = re.compile(r'["\\{}\[\]]')


class Document(NamedTuple):
    """One record."""

    value: object
    text: str


def json_records(stream: BinaryIO) -> Iterator[tuple[int, Document | Reject]]:
    """Records of a file with their number from 1. Nothing in the file raises."""
    text = _Text(stream)
    pieces = _lines(text) if _one_a_line(text) else _objects(text)
    for number, piece in enumerate(pieces, 1):
        yield number, _load(number, piece)


def _load(number: int, piece: str) -> Document | Reject:
    try:
        if len(piece) > RECORD_CHARACTERS:
            raise RowError("record_too_long")
        _check_depth(piece)
        return Document(json.loads(piece), piece)
    except RowError as error:
        return reject(number, error.reason, piece)
    except ValueError:
        return reject(number, "malformed_json", piece)


def _check_depth(piece: str) -> None:
    depth = 0
    for token in _TOKEN.finditer(piece):
        if token[0] in "{[":
            depth += 1
            if depth > DEPTH:
                raise RowError("nested_too_deep")
        elif token[0] in "}]":
            depth -= 1


class _Text:
    """Text of a stream that is looked at before it is taken."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._decode = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self.held = ""
        self.ended = False

    def more(self) -> bool:
        """Hold another piece; False at the end."""
        octets = self._stream.read(_PIECE)
        self.ended = not octets
        self.held += self._decode.decode(octets, final=self.ended)
        return not self.ended


def _one_a_line(text: _Text) -> bool:
    """Whether the first line or the second is a whole object: the first may be cut."""
    while text.held.lstrip().count("\n") < 2 and len(text.held) <= 2 * RECORD_CHARACTERS and text.more():
        pass
    first, *others = text.held.lstrip().split("\n")[:3]
    return first.startswith("{") and bool(others) and any(_is_object(line) for line in (first, others[0]))


def _is_object(line: str) -> bool:
    try:
        _check_depth(line)
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _lines(text: _Text) -> Iterator[str]:
    while True:
        line, found, rest = text.held.partition("\n")
        if not found and not text.ended and len(line) <= RECORD_CHARACTERS:
            text.more()
            continue
        if len(line) > RECORD_CHARACTERS:
            yield line[: RECORD_CHARACTERS + 1]
            _drop_line(text)
            continue
        text.held = rest
        if line.strip():
            yield line
        if not found:
            return


def _drop_line(text: _Text) -> None:
    while "\n" not in text.held:
        text.held = ""
        if not text.more():
            return
    text.held = text.held.partition("\n")[2]


def _objects(text: _Text) -> Iterator[str]:
    """Cut a text into what stands between a bracket of depth one and its match; commas and the array's own go."""
    while True:
        text.held = text.held.lstrip(" \t\r\n,[]")
        if not text.held:
            if not text.more():
                return
            continue
        end = _end_of_object(text)
        yield text.held[:end]
        if end > RECORD_CHARACTERS:
            _drop_all(text)
            return
        text.held = text.held[end:]


def _drop_all(text: _Text) -> None:
    text.held = ""
    while text.more():
        text.held = ""


def _end_of_object(text: _Text) -> int:
    """Find where the first record ends: behind its bracket, else at the next line end or the end of the file."""
    if text.held[0] != "{":
        while "\n" not in text.held and len(text.held) <= RECORD_CHARACTERS and text.more():
            pass
        return min(text.held.find("\n") % (len(text.held) + 1), RECORD_CHARACTERS + 1)
    depth, quoted, place = 0, False, 0
    while True:
        mark = _MARK.search(text.held, place)
        if mark is None:
            # Behind the end where the last character held is a backslash: what it escapes is still to come.
            place = max(place, len(text.held))
            if place > RECORD_CHARACTERS or not text.more():
                return min(place, RECORD_CHARACTERS + 1)
            continue
        place = mark.end()
        if mark[0] == "\\":
            place += 1
        elif mark[0] == '"':
            quoted = not quoted
        elif not quoted:
            depth += 1 if mark[0] in "{[" else -1
            if depth == 0:
                return place
