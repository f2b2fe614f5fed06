"""Cost by site and day to InfluxDB, after calls were rated: a day that is rated anew replaces the day there."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Collection
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

from api.wording import plural

if TYPE_CHECKING:
    from analytics.store.influx import InfluxSettings
    from analytics.store.influx_points import Points
    from analytics.store.influx_writer import WriterCounts
    from analytics.store.lake import Lake

SPOOL = "usage"
"""Name of the spool of whoever rates."""
PATIENCE_S = 120.0
"""How long a command waits for an InfluxDB that takes points; what it does not have stays in the spool [s]."""
TROUBLED_S = 3.0
"""The same for one that takes none [s]."""
DAY = timedelta(days=1)


def spans(days: Collection[date]) -> list[tuple[date, date]]:
    """Return runs of consecutive days, as first and last day."""
    ordered = sorted(set(days))
    edges = [(before, after) for before, after in pairwise(ordered) if after - before > DAY]
    return list(
        zip(
            [*ordered[:1], *(after for _, after in edges)],
            [*(before for before, _ in edges), *ordered[-1:]],
            strict=True,
        )
    )


def send_costs(lake: Lake, settings: InfluxSettings, days: Collection[date], today: date) -> str:
    """Write the cost of these UTC days to InfluxDB; what became of it, in one sentence.

    StoreError where the store cannot be read or the spool takes nothing: nothing of it is then at InfluxDB.
    """
    from analytics.store.cost_days import cost_days
    from analytics.store.influx_points import cost_points

    if settings.long_keep_days:
        # The server would refuse what its bucket no longer keeps.
        days = [day for day in days if day > today - settings.long_keep_days * DAY]
    points = [cost_points(cost_days(lake, first, last), first, last) for first, last in spans(days)]
    if not points:
        return ""
    counts = asyncio.run(_send(settings, points))
    written = f"cost of {plural(len(set(days)), 'day')} for InfluxDB: {plural(counts.put, 'point')}"
    refused = f", {counts.dead:,} refused: see {settings.spool / SPOOL}" if counts.dead else ""
    if not counts.spool.waiting:
        return f"{written}{refused}"
    trouble = f" ({counts.trouble})" if counts.trouble else ""
    return f"{written}{refused}; they wait in {settings.spool / SPOOL} for the next import or rerate{trouble}"


async def _send(settings: InfluxSettings, points: Collection[Points]) -> WriterCounts:
    from analytics.store.influx_writer import InfluxWriter
    from analytics.store.spool import Spool

    with Spool.open(settings.spool / SPOOL) as spool:
        writer = InfluxWriter(settings, spool, clock=lambda: datetime.now(UTC), jitter=random.Random())
        for each in points:
            await writer.put(each)
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(writer.run(), name="costs: send")
            flushing = tasks.create_task(writer.flush(), name="costs: wait")
            until = time.monotonic() + PATIENCE_S
            while not flushing.done() and time.monotonic() < until:
                if writer.counts().trouble:
                    until = min(until, time.monotonic() + TROUBLED_S)
                await asyncio.wait({flushing}, timeout=0.1)
            flushing.cancel()
            running.cancel()
        return writer.counts()
