"""Facts for both stores: site minutes made from a seed, with sums that floats hold exactly."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa

from analytics.store.arrow_rows import arrow_schema
from analytics.store.schema import INTERVALS
from analytics.store.series import SERIES

SITES = ("Ash", "Elm, North", 'Oak "1"=x', "Österby${r}", "back\\slash")


def minute(site: str, start: datetime, random_: random.Random) -> dict[str, Any]:
    """Return a site's minute. Its floats are multiples of 1/64, so that no order of summing changes their sums."""
    streams = random_.randrange(6)
    rated = random_.randrange(streams + 1)
    mos = [random_.randrange(64, 290) / 64 for _ in range(rated)]
    jitter = [random_.randrange(0, 6_400) / 64 for _ in range(streams)]
    expected = 3_000 * streams
    lost = random_.randrange(-3, 40) if streams else 0
    return {
        "site": site,
        "start": start,
        "calls": random_.randrange(9),
        "answered": random_.randrange(5),
        "failed": random_.randrange(3),
        "streams": streams,
        "rated": rated,
        "poor": sum(one < 3.6 for one in mos),
        "mos_sum": sum(mos),
        "mos_min": min(mos, default=None),
        "packets": expected - lost,
        "expected": expected,
        "lost": lost,
        "jitter_sum_ms": sum(jitter),
        "jitter_max_ms": max(jitter, default=None),
        "busy_seconds": random_.randrange(0, 40_000) / 64,
    }


def minutes(
    begin: datetime, count: int, seed: int, *, sites: Sequence[str] = SITES, share: float = 0.7
) -> list[dict[str, Any]]:
    """Return minutes of some sites: each is there with a chance of `share`."""
    random_ = random.Random(seed)
    return [
        minute(site, begin + timedelta(minutes=number), random_)
        for number in range(count)
        for site in sites
        if random_.random() < share
    ]


def table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    """Return rows as both stores take them."""
    return pa.Table.from_pylist(list(rows), schema=SERIES)


def interval(start: datetime, site: str | None, other: str | None, **given: Any) -> dict[str, Any]:
    """Return a row of `intervals`: 10 s without loss, not rated, unless told otherwise."""
    row: dict[str, Any] = {"stream_key": 1, "source": "tap", "day": start.date(), "start": start, "seconds": 10.0}
    row |= {"site": site, "other_site": other, "packets": 500, "expected": 500, "lost": 0}
    return row | {"jitter_ms": None, "mos": None} | given


def intervals(*rows: dict[str, Any]) -> pa.Table:
    """Return such rows as a table."""
    return pa.Table.from_pylist(list(rows), schema=arrow_schema(INTERVALS))
