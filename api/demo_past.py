"""The past of the demonstration: an estate, twelve months of its records and packets, and what is true of them.

Several processes simulate a month at a time and append what a tap would have measured; records go through the import
that any estate's records go through.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import pyarrow as pa

from analytics.store.lake import Lake
from analytics.store.schema import SITE_MINUTES
from analytics.store.settings import StoreError
from analytics.store.site_minutes import append_minutes
from api.alerts.sampler import SampleError
from api.demo_alerts import keep_alerts
from collector.estate.folder import load_estate
from collector.simulator import county
from collector.simulator.faults import faults_of
from collector.simulator.past import Span, as_json, simulate

STORE, ESTATE, RECORDS, TRUTH = "store", "estate", "records", "truth.json"
SEED: Final = 3
CALLS_A_DAY: Final = 1_500
"""Calls of a working day."""
MONTHS: Final = 12
DETAILED_DAYS: Final = 3
PRICES: Final = county.Prices(old_bills=Decimal("1.0"), new_system=Decimal("2.15"), dear_site="O50")
"""Against the estate of the example, whose calls are fewer."""
SUPPLIERS_CLOCK: Final = Decimal("1.004")
"""A supplier's minutes are never quite those of the exchange."""


class DemoError(Exception):
    """The demonstration cannot be made here; the message is a sentence."""


@dataclass(frozen=True, slots=True)
class DemoSize:
    """How much of it."""

    months: int = MONTHS
    """Whole months before the present one."""
    calls_a_day: int = CALLS_A_DAY
    detailed_days: int = DETAILED_DAYS
    """Days whose calls have intervals."""
    processes: int = 2


@dataclass(frozen=True, slots=True)
class _Part:
    """What one process makes."""

    span: Span
    folder: str


def make_past(folder: Path, now: datetime, size: DemoSize = DemoSize()) -> None:  # immutable
    """Make estate, store, records and truth in a folder; DemoError where that fails."""
    county.make(folder / ESTATE, PRICES)
    estate = load_estate(folder / ESTATE)
    zone = estate.settings.timezone
    (folder / RECORDS).mkdir(parents=True, exist_ok=True)
    Lake.open(folder / STORE, create=True).close()
    parts = [_Part(span, str(folder)) for span in _spans(now, zone, size)]
    with ProcessPoolExecutor(size.processes, get_context("spawn")) as pool:
        truths = list(pool.map(_make_part, parts))
    _write_truth(folder, now, zone, truths)
    _write_invoices(folder, truths, f"{now.astimezone(ZoneInfo(zone)):%Y-%m}")
    _import(folder)
    try:
        keep_alerts(folder / STORE, load_estate(folder / ESTATE), now)
    except (StoreError, SampleError) as error:
        raise DemoError(f"alerts of the past cannot be found: {error}") from error
    # They are in the store, and half a gigabyte.
    shutil.rmtree(folder / RECORDS)


def _spans(now: datetime, zone: str, size: DemoSize) -> list[Span]:
    """Days of the months, in spans of about as many calls, each with a seed of its own."""
    today = now.astimezone(ZoneInfo(zone)).date()
    first = date(today.year, today.month, 1)
    for _ in range(size.months):
        first = (first - timedelta(days=1)).replace(day=1)
    months: dict[str, list[date]] = {}
    day = first
    while day <= today:
        months.setdefault(f"{day:%Y-%m}", []).append(day)
        day += timedelta(days=1)
    detailed = int(now.timestamp()) - size.detailed_days * 86_400
    # One span a month: a process that is done takes the next, newest first, for its intervals take longest.
    return [
        Span(tuple(days), now, SEED + number, size.calls_a_day, detailed)
        for number, (_, days) in reversed(list(enumerate(months.items())))
    ]


def _make_part(part: _Part) -> Mapping[str, Any]:
    folder = Path(part.folder)
    estate = load_estate(folder / ESTATE)
    with closing(Lake.open(folder / STORE)) as lake:

        def keep(table: str, batch: str, rows: pa.Table) -> None:
            if table == SITE_MINUTES.name:
                append_minutes(lake, rows.drop_columns(["month", "step"]), batch=batch)
            else:
                lake.append(table, rows, batch=batch)

        faults = faults_of(part.span.end, estate.settings.timezone)
        return as_json(simulate(part.span, estate, faults, folder / RECORDS, keep))


def _write_truth(folder: Path, now: datetime, zone: str, truths: Sequence[Mapping[str, Any]]) -> None:
    hours: dict[str, dict[str, list[int]]] = {}
    calls: dict[str, Mapping[str, int]] = {}
    seconds: dict[str, Mapping[str, int]] = {}
    for truth in truths:
        for site, of_site in truth["hours"].items():
            known = hours.setdefault(site, {})
            for hour, counts in of_site.items():
                # Local months begin and end within hours of UTC that both spans count.
                known[hour] = [a + b for a, b in zip(known.get(hour, [0] * len(counts)), counts, strict=True)]
        calls |= truth["outbound_calls"]
        seconds |= truth["outbound_seconds"]
    whole = {
        "end": int(now.timestamp()),
        "zone": zone,
        "faults": [asdict(fault) for fault in faults_of(now, zone)],
        "hours": {site: dict(sorted(of_site.items())) for site, of_site in sorted(hours.items())},
        "outbound_calls": dict(sorted(calls.items())),
        "outbound_seconds": dict(sorted(seconds.items())),
        "records": sum(truth["records"] for truth in truths),
    }
    (folder / TRUTH).write_text(json.dumps(whole, indent=None, separators=(",", ":")) + "\n", encoding="ascii")


def _write_invoices(folder: Path, truths: Sequence[Mapping[str, Any]], present: str) -> None:
    """The supplier's bill of each month that is over."""
    seconds: dict[str, int] = {}
    for truth in truths:
        for month, of_sites in truth["outbound_seconds"].items():
            seconds[month] = seconds.get(month, 0) + sum(of_sites.values())
    rows = [
        (month, "ip", "", f"{Decimal(total) / 60 * SUPPLIERS_CLOCK:.2f}", "", "carrier invoice (invented)")
        for month, total in sorted(seconds.items())
        if month != present
    ]
    head = ("month", "side", "site", "minutes", "amount", "source")
    county.write(folder / ESTATE / "invoices.csv", head, rows)


def _import(folder: Path) -> None:
    """Import the records by the command that imports any."""
    command = [sys.executable, "-P", "-m", "api.main", "cdr", "import", str(folder / RECORDS), "--settle", "0"]
    command += ["--store", str(folder / STORE), "--estate", str(folder / ESTATE), "--no-progress"]
    command += ["--rejects", str(folder / "rejects.csv")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment())  # noqa: S603
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise DemoError(f"records cannot be imported: {said[-1] if said else f'status {done.returncode}'}")


def environment() -> dict[str, str]:
    """The environment for our own commands as children: they find this package where we did."""
    root = str(Path(__file__).resolve().parents[1])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
