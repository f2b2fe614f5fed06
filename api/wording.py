"""Numbers and times as people read them: fixed decimals, thousands separated, a dash for what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

MISSING = "—"


def count(value: int | None) -> str:
    """A whole number."""
    return MISSING if value is None else f"{value:,}"


def decimals(value: float | None, digits: int) -> str:
    """A number with fixed decimals."""
    return MISSING if value is None else f"{value:.{digits}f}"


def percent(value: float | None) -> str:
    """A share with two decimals, little kept apart from none."""
    if value is None:
        return MISSING
    return "<0.01" if 0 < value < 0.005 else f"{value:.2f}"


def plural(number: int, one: str, many: str | None = None) -> str:
    """A count with its noun."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def duration(milliseconds: float | None) -> str:
    """A length of time in its two largest units."""
    if milliseconds is None:
        return MISSING
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    seconds = milliseconds / 1000
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def moment(nanoseconds: int | None) -> str:
    """Date and time of day in UTC, to the millisecond."""
    if nanoseconds is None:
        return MISSING
    milliseconds = nanoseconds // 1_000_000
    try:
        day = datetime.fromtimestamp(milliseconds // 1000, UTC)
    except (OverflowError, ValueError, OSError):
        # A capture may stamp a packet with any 64-bit time.
        return f"epoch {milliseconds / 1000:.3f}"
    return f"{day:%Y-%m-%d %H:%M:%S}.{milliseconds % 1000:03d}"


def time_of_day(nanoseconds: int | None) -> str:
    """Time of day in UTC, to the millisecond."""
    return moment(nanoseconds).rpartition(" ")[2]


def nearest_rank(values: Sequence[float], percentile: float) -> float | None:
    """Percentile by the nearest-rank rule: the smallest value that at least this share does not exceed."""
    if not values:
        return None
    rank = -(-len(values) * percentile // 100)
    return sorted(values)[max(0, int(rank) - 1)]
