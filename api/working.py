"""A worker of the centre from its start to a signal, and what it says of its work on stderr."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack
from pathlib import Path

from analytics.health import ProcessHealth
from analytics.store.influx import InfluxSettings
from analytics.store.lake import Lake
from analytics.store.settings import LakeSettings
from api.beside import Beside, ProcessSettings, stop_signals
from api.notify import STOPPING, notify
from api.outlets import InfluxOutlet, influx_outlet
from api.path_health import influx_steps, intake_steps, process_health
from api.upkeep import tend
from collector.transport.centre import Centre, CentreSettings
from collector.transport.intake import IntakeCounts
from collector.transport.session import first_of

REPORT_S = 60.0


def run_worker(
    settings: CentreSettings,
    store: Path,
    lake_settings: LakeSettings | None = None,
    process: ProcessSettings = ProcessSettings(),  # noqa: B008  # immutable
    influx: InfluxSettings | None = None,
) -> None:
    """Work until SIGTERM or SIGINT; with `influx` rows go there too.

    StoreError, TransportError and ListenError where it cannot begin.
    """
    began = time.time_ns()
    with ExitStack() as stack:
        lake = Lake.open(store, create=True, settings=lake_settings)
        stack.callback(lake.close)
        outlet = None if influx is None else stack.enter_context(influx_outlet(influx, f"work-{settings.worker}"))
        centre = Centre(settings, lake, beside=None if outlet is None else outlet.put)

        def health(ended: bool) -> ProcessHealth:
            points = None if outlet is None else outlet.counts()
            steps = intake_steps(centre.counts()) + ([] if points is None else influx_steps(points))
            now = time.time_ns()
            problems = (
                [] if ended or centre.connected else [f"no connection to the broker at {settings.broker.address}"]
            )
            problems += [points.trouble] if points is not None and points.trouble else []
            return process_health(
                "work",
                settings.worker,
                began,
                now,
                process.health_seconds,
                steps,
                notes={"rows_without_points": 0 if outlet is None else outlet.unfit},
                problems=problems,
                ended=ended,
            )

        beside = Beside(process, store, health, lambda: centre.connected, lambda: "a worker has no estate to read anew")
        asyncio.run(_run(centre, lake, beside, outlet))
        beside.last_word()
    beside.report(f"{_said(centre.counts())}, in {store}")


async def _run(centre: Centre, lake: Lake, beside: Beside, outlet: InfluxOutlet | None) -> None:
    """Run a worker until a signal, and say now and then what it did."""
    loop = asyncio.get_running_loop()

    def stop() -> None:
        notify(STOPPING)
        centre.stop()

    for number in stop_signals():
        loop.add_signal_handler(number, stop)
    try:
        async with asyncio.TaskGroup() as tasks:
            report = tasks.create_task(_report(centre, beside), name="work: report")
            others = [tasks.create_task(beside.run(), name="work: beside")]
            others.append(tasks.create_task(tend(lake), name="work: upkeep"))
            pointing = None if outlet is None else tasks.create_task(outlet.run(), name="work: influx")
            await centre.run()
            if outlet is not None and pointing is not None:
                await outlet.finish()
                pointing.cancel()
            for task in (report, *others):
                task.cancel()
    except ExceptionGroup as group:
        raise first_of(group) from None


async def _report(centre: Centre, beside: Beside) -> None:
    before = ""
    while True:
        await asyncio.sleep(REPORT_S)
        said = _said(centre.counts())
        if said != before:
            beside.report(said)
        before = said


def _said(counts: IntakeCounts) -> str:
    parts = [f"{counts.messages:,} messages", f"{counts.rows:,} rows stored"]
    if counts.again:
        parts.append(f"{counts.again:,} messages came again")
    parts += [f"{number:,} rows put aside ({doubt})" for doubt, number in sorted(counts.aside.items())]
    parts += [f"{number:,} messages refused ({reason})" for reason, number in sorted(counts.refused.items())]
    return ", ".join(parts)
