"""Times and labels as people give them to commands."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime

from analytics.alerts.facts import NS, Matcher

_LENGTH = re.compile(r"(\d+)(s|m|h|d|w)")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


class SpanError(ValueError):
    """A time or label cannot be read; the message says how it is written."""


def length_ns(text: str) -> int:
    """Return a length as 30m, 2h or 1d in nanoseconds; SpanError."""
    match = _LENGTH.fullmatch(text.strip())
    if match is None or not 0 < int(match[1]) * _SECONDS[match[2]] <= 366 * 86_400:
        raise SpanError(f"{text} is no length of time; write it as 30m, 2h or 1d, up to a year")
    return int(match[1]) * _SECONDS[match[2]] * NS


def time_ns(text: str) -> int:
    """Return a time with its zone, as 2026-01-31T09:00Z, in nanoseconds; SpanError."""
    try:
        at = datetime.fromisoformat(text.strip())
        if at.tzinfo is None:
            raise SpanError(f"{text} needs a zone: write it as 2026-01-31T09:00Z or 2026-01-31T09:00+01:00")
        return round(at.timestamp()) * NS
    except (ValueError, OverflowError) as error:
        if isinstance(error, SpanError):
            raise
        raise SpanError(f"{text} is no time; write it as 2026-01-31T09:00Z") from error


def matcher(given: Iterable[str]) -> Matcher:
    """Return labels given as NAME=VALUE; several values of one name are alternatives. SpanError."""
    found: dict[str, list[str]] = {}
    for one in given:
        name, sign, value = one.partition("=")
        if not sign or not name.strip() or not value.strip():
            raise SpanError(f"{one} is no label; write it as site=york or severity=critical")
        found.setdefault(name.strip(), []).append(value.strip())
    return Matcher(tuple(sorted((name, tuple(values)) for name, values in found.items())))
