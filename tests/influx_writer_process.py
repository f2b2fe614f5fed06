"""A process that puts minutes of a site and writes them to InfluxDB until it is killed.

Its arguments: address of the server, bucket, folder of the spool, number of the first minute. It prints the number of
each minute that was taken.
"""

from __future__ import annotations

import asyncio
import random
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from influx_facts import minutes, table
from influxd_server import ORG, TOKEN

from analytics.store.influx import InfluxSettings
from analytics.store.influx_points import Points, site_minute_points
from analytics.store.influx_writer import InfluxWriter
from analytics.store.spool import Spool, SpoolSettings


def minute_of(number: int, now: datetime) -> Points:
    """Return the points of a minute, a batch of its own."""
    begin = now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1) + timedelta(minutes=number)
    return site_minute_points(table(minutes(begin, 1, number, share=1)), source="a", batch="a", sequence=number)


async def work(url: str, bucket: str, folder: Path, number: int) -> None:
    """Put and write."""
    settings = InfluxSettings(url=url, token=TOKEN, org=ORG, bucket=bucket, long_bucket=f"{bucket}_long")
    now = datetime.now(UTC)
    with Spool.open(folder, SpoolSettings(durable=False)) as spool:
        writer = InfluxWriter(settings, spool, clock=lambda: datetime.now(UTC), jitter=random.Random(1))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(writer.run())
            while True:
                await writer.put(minute_of(number, now))
                sys.stdout.write(f"{number}\n")
                sys.stdout.flush()
                number += 1


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])))
