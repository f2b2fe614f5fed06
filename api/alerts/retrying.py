"""When a message is tried again, pure: the schedule of Standard Webhooks over three days, and Retry-After."""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from typing import Final, NamedTuple

from analytics.alerts.facts import NS

SCHEDULE_S: Final = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Waits after the first, second, … failed attempt [s]: 76 hours in all."""
JITTER: Final = 0.2
"""Waits are longer by up to this share, so that endpoints that failed together do not come back together."""
GONE: Final = 410
THROTTLE: Final = frozenset({429, 502, 503, 504})
"""Statuses that speak of the endpoint and not of the message: all that waits for it waits longer."""
THROTTLE_S: Final = 5.0
LONGEST_REST_S: Final = 86_400.0
"""A longer Retry-After is taken for so much [s]."""


class Next(Enum):
    """What follows an attempt."""

    DELIVERED = auto()
    AGAIN = auto()
    DISABLE = auto()
    GIVE_UP = auto()


class Decision(NamedTuple):
    """What follows an attempt, and when."""

    next: Next
    at: int | None = None
    """When the message is tried again."""
    rest_until: int | None = None
    """Until when nothing is sent to the endpoint."""


def after_attempt(now: int, failed_before: int, status: int | None, retry_after: str | None, spread: float) -> Decision:
    """Decide after an attempt; `spread` is a random number from 0 to 1, `status` None where no answer came.

    Only 2xx is success. 410 asks never to come again.
    """
    if status is not None and 200 <= status < 300:
        return Decision(Next.DELIVERED)
    if status == GONE:
        return Decision(Next.DISABLE)
    if failed_before >= len(SCHEDULE_S):
        return Decision(Next.GIVE_UP)
    at = now + round(SCHEDULE_S[failed_before] * (1 + JITTER * spread) * NS)
    asked = rest_asked(now, retry_after)
    if asked is not None:
        return Decision(Next.AGAIN, max(at, asked), asked)
    rest = now + round(THROTTLE_S * (1 + JITTER * spread) * NS) if status in THROTTLE else None
    return Decision(Next.AGAIN, at, rest)


def rest_asked(now: int, retry_after: str | None) -> int | None:
    """Return until when a Retry-After asks to wait: seconds or a date (RFC 9110 10.2.3); None where it is neither."""
    if retry_after is None:
        return None
    text = retry_after.strip()
    if text.isascii() and text.isdecimal():
        seconds = float(text[:9])
    else:
        try:
            at = parsedate_to_datetime(text)
        except (TypeError, ValueError, OverflowError):
            return None
        at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
        try:
            seconds = at.timestamp() - now / NS
        except (OverflowError, ValueError):
            return None
    return now + round(min(max(0.0, seconds), LONGEST_REST_S) * NS)
