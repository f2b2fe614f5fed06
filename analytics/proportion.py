"""How certain a share is that was counted."""

from __future__ import annotations

from math import sqrt
from typing import Final, NamedTuple

Z_95: Final = 1.959963984540054
"""Two-sided 95 % quantile of the normal distribution."""


class Interval(NamedTuple):
    """Bounds of a share, 0 to 1."""

    low: float
    high: float


def wilson(count: float, of: float, z: float = Z_95) -> Interval:
    """Return Wilson's score interval of a share (E. B. Wilson, 1927, JASA 22, 209-212); ValueError without trials."""
    if not 0 <= count <= of or of <= 0:
        raise ValueError(f"{count} of {of} is no share")
    share = count / of
    middle = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z / (1 + z * z / of) * sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    # At the ends the bounds are exact; rounding alone would move them.
    return Interval(0.0 if count == 0 else max(0.0, middle - half), 1.0 if count == of else min(1.0, middle + half))
