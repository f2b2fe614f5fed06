"""Inclusive minutes: what the rental pays for, used up in the order in which calls begin.

A month's minutes are those of the version that holds on the first local day of the month, or of the first version that
begins within it. Calls use them up by start, and by line key where two begin in one second; the call at which they end
is covered in part. A covered second has no price a minute; connection fees and service charges stay. What is not used
is lost at the end of the month.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from analytics.cost.rating import Rater
from analytics.cost.tariff import Inclusive


class Lines(NamedTuple):
    """Rated lines in columns, whole months of them, in any order."""

    month: NDArray[np.int32]
    """Billed month in the estate's zone, as yyyymm."""
    site: NDArray[np.int32]
    """Any number for each site; −1 where there is none, and minutes per site are not for it."""
    number_class: NDArray[np.int32]
    """Index into `classes`."""
    start: NDArray[np.int64]
    """Seconds since the epoch."""
    line_key: NDArray[np.int64]
    seconds: NDArray[np.int32]
    group: NDArray[np.int32]
    rated_seconds: NDArray[np.int32]
    """0 where a line has no price."""


class Covered(NamedTuple):
    """What was covered, a row a line."""

    seconds: NDArray[np.int64]
    """Charged seconds that are inclusive."""
    credit: NDArray[np.int64]
    """Atoms that the line costs less."""


def use_up(rater: Rater, lines: Lines, classes: Sequence[str]) -> Covered:
    """Cover lines by the inclusive minutes of their months; the order and parts in which they come do not matter."""
    seconds = np.zeros(len(lines.start), np.int64)
    for month in np.unique(lines.month):
        for inclusive in inclusive_in(rater, int(month)):
            wanted = np.array([name in inclusive.classes for name in classes], np.bool_)
            concerned = (lines.month == month) & (lines.rated_seconds > 0) & wanted[lines.number_class]
            if inclusive.is_per_site:
                concerned &= lines.site >= 0
            which = np.flatnonzero(concerned)
            pool = lines.site[which] if inclusive.is_per_site else np.zeros(len(which), np.int32)
            seconds[which] = _in_order(lines, which, pool, inclusive.minutes * 60)
    return Covered(seconds, rater.credit(lines.start, lines.seconds, lines.group, seconds))


def inclusive_in(rater: Rater, month: int) -> tuple[Inclusive, ...]:
    """Inclusive minutes of a month given as yyyymm."""
    first = date(month // 100, month % 100, 1)
    begun = [version for version in rater.tariff if version.valid_from <= first]
    if begun:
        return begun[-1].inclusive
    within = [one for one in rater.tariff if (one.valid_from.year, one.valid_from.month) == (first.year, first.month)]
    return within[0].inclusive if within else ()


def _in_order(lines: Lines, which: NDArray[np.intp], pool: NDArray[np.int32], allowed: int) -> NDArray[np.int64]:
    """Seconds of each line that lie within the first `allowed` of its pool."""
    order = np.lexsort((lines.line_key[which], lines.start[which], pool))
    own = lines.rated_seconds[which][order].astype(np.int64)
    before = np.cumsum(own) - own
    pools = pool[order]
    is_first = np.append(True, pools[1:] != pools[:-1])[: len(pools)]
    begin = np.maximum.accumulate(np.where(is_first, before, 0)) if len(pools) else before
    covered = np.empty(len(which), np.int64)
    covered[order] = np.clip(allowed - (before - begin), 0, own)
    return covered
