"""A worker of the centre from its start to a signal, and what it says of its work on stderr."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from pathlib import Path

from analytics.store.lake import Lake
from api.progress import say
from collector.transport.centre import Centre, CentreSettings
from collector.transport.intake import IntakeCounts
from collector.transport.session import first_of

REPORT_S = 60.0


def run_worker(settings: CentreSettings, store: Path) -> None:
    """Work until SIGTERM or SIGINT. StoreError and TransportError where it cannot begin."""
    lake = Lake.open(store, create=True)
    _log_to_stderr()
    try:
        asyncio.run(_run(Centre(settings, lake), store))
    finally:
        lake.close()


async def _run(centre: Centre, store: Path) -> None:
    """Run a worker until a signal, and say now and then what it did."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, centre.stop)
    try:
        async with asyncio.TaskGroup() as tasks:
            report = tasks.create_task(_report(centre), name="work: report")
            await centre.run()
            report.cancel()
    except ExceptionGroup as group:
        raise first_of(group) from None
    say(f"{_said(centre.counts())}, in {store}")


async def _report(centre: Centre) -> None:
    before = ""
    while True:
        await asyncio.sleep(REPORT_S)
        said = _said(centre.counts())
        if said != before:
            say(said)
        before = said


def _said(counts: IntakeCounts) -> str:
    parts = [f"{counts.messages:,} messages", f"{counts.rows:,} rows stored"]
    if counts.again:
        parts.append(f"{counts.again:,} messages came again")
    parts += [f"{number:,} rows put aside ({doubt})" for doubt, number in sorted(counts.aside.items())]
    parts += [f"{number:,} messages refused ({reason})" for reason, number in sorted(counts.refused.items())]
    return ", ".join(parts)


def _log_to_stderr() -> None:
    """What the parts log goes to stderr, a line each."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("callgauge: %(message)s"))
    logger = logging.getLogger("callgauge")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
