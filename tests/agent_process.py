"""An agent in a process of its own, for tests that kill it: a line for each batch that is in its spool."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path

from lake_rows import rows

from analytics.store.spool import Spool
from collector.transport.agent import Agent, AgentSettings
from collector.transport.session import BrokerSettings

ROWS = 5


async def work(port: int, spool: Path, name: str, batches: int) -> None:
    settings = AgentSettings(
        "york",
        broker=BrokerSettings(port=port),
        spool=spool,
        receipt_seconds=8,
        backoff_seconds=0.1,
        window=64,
        stop_seconds=40,
    )
    agent = Agent(settings, Spool.open(spool), version="test")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(agent.run())
        for number in range(batches):
            await agent.put(
                "intervals",
                rows("intervals", range(ROWS), begin=datetime.now(UTC), source=name, stream_key=number),
            )
            while agent.counts().spooled < (number + 1) * ROWS:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            sys.stdout.write(f"{number}\n")
            sys.stdout.flush()
        agent.stop()


if __name__ == "__main__":
    asyncio.run(work(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])))
