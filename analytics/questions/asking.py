"""What all questions share: their one error, spans of time, shares with their certainty, cursors, times of rows."""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from analytics.proportion import wilson

POOR_MOS: Final = 3.6
"""Streams with a lower MOS count as poor: below it many users are dissatisfied (G.107 Annex B)."""
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)
KEY_MASK: Final = (1 << 64) - 1
CURSOR_TIMES: Final = (-(10**15), 10**16)
"""Times of rows in cursors lie between these, 1938 and 2286 [us since 1970]."""
_NO_CURSOR: Final = "the cursor is none that was given out: begin without one"


class QuestionError(ValueError):
    """A question that has no meaning; the message is one sentence for the person who asked."""


class Share(NamedTuple):
    """A part of a whole, with its 95 % interval; the whole may be 0, and then there is no share."""

    number: int
    """How many."""
    of: int
    """Out of how many."""
    value: float | None
    """`number` / `of` [0 to 1]; None where `of` is 0."""
    low: float | None
    """Lower end of the 95 % interval (Wilson 1927) [0 to 1]."""
    high: float | None
    """Upper end of it."""


def share(number: int, of: int) -> Share:
    """Return a share with its Wilson score interval, without continuity correction."""
    if of <= 0:
        return Share(number, max(0, of), None, None, None)
    low, high = wilson(min(max(0, number), of), of)
    return Share(number, of, number / of, low, high)


def moment(micros: int | None) -> datetime | None:
    """Return microseconds since the epoch as a time in UTC."""
    return None if micros is None else EPOCH + timedelta(microseconds=micros)


def begun(micros: int) -> datetime:
    """Return microseconds since the epoch, which are never missing, as a time in UTC."""
    return EPOCH + timedelta(microseconds=micros)


def micros(at: datetime) -> int:
    """Return a time as microseconds since the epoch."""
    return (at - EPOCH) // MICROSECOND


def key_text(key: int) -> str:
    """Return a 64-bit key as 16 hexadecimal digits: programs that read JSON lose digits of large numbers."""
    return f"{key & KEY_MASK:016x}"


def key_number(text: str) -> int:
    """Return the key that 16 hexadecimal digits stand for; QuestionError where they are none."""
    if len(text) != 16 or any(digit not in "0123456789abcdef" for digit in text):
        raise QuestionError(f"“{text[:40]}” is no key: a key is 16 of the digits 0 to 9 and a to f")
    value = int(text, 16)
    return value - (1 << 64) if value >> 63 else value


def check_span(since: datetime, until: datetime) -> None:
    """Refuse a span without zone, or that ends before it begins."""
    if since.tzinfo is None or until.tzinfo is None:
        raise QuestionError("times need a zone, as 2025-10-01T00:00:00Z")
    if since >= until:
        raise QuestionError("the span is empty: `since` must lie before `until`")


def pack(values: Sequence[Any]) -> str:
    """Return a cursor that stands for some values."""
    data = json.dumps(list(values), separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def unpack(cursor: str, kinds: Sequence[type | tuple[type, ...]]) -> list[Any]:
    """Return the values of a cursor, each of its kind; QuestionError where it is none of ours."""
    try:
        data = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        values = json.loads(data)
    except (binascii.Error, ValueError, RecursionError) as error:
        raise QuestionError(_NO_CURSOR) from error
    if not isinstance(values, list) or len(values) != len(kinds):
        raise QuestionError(_NO_CURSOR)
    for value, kind in zip(values, kinds, strict=True):
        if isinstance(value, bool) or not isinstance(value, kind) or not _storable(value):
            raise QuestionError(_NO_CURSOR)
    return values


def _storable(value: Any) -> bool:
    """Whether a row of a table could hold a value: 64 bits, finite, text that is Unicode."""
    if isinstance(value, int):
        return -(1 << 63) <= value < 1 << 63
    if isinstance(value, float):
        return math.isfinite(value)
    # JSON can name halves of surrogate pairs, which no encoding has.
    return not isinstance(value, str) or not any("\ud800" <= letter <= "\udfff" for letter in value)


def cursor_time(micros: int) -> datetime:
    """Return the time that a cursor names; QuestionError where no row has it."""
    if not CURSOR_TIMES[0] <= micros <= CURSOR_TIMES[1]:
        raise QuestionError(_NO_CURSOR)
    return begun(micros)
