"""A span of an estate's past with known truth: files of records, rows for the store, and what is true of both."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from analytics.sites import Estate
from analytics.store import schema
from analytics.store.arrow_rows import arrow_table
from analytics.store.schema import SITE_MINUTES
from collector.cdr.cucm_layout import CDR, CMR
from collector.simulator.faults import Fault
from collector.simulator.heard import Heard, HeardSimulator
from collector.simulator.heard_rows import MICRO, HeardMinutes, HeardRows, Row
from collector.simulator.records import CLUSTER, cucm_text

Keep = Callable[[str, str, pa.Table], None]
"""Takes rows: table, name of the batch, rows."""
HOUR_S = 3_600
COUNTED = ("calls", "answered", "failed", "streams", "expected", "lost")


@dataclass(frozen=True, slots=True)
class Span:
    """What to simulate."""

    days: tuple[date, ...]
    """Local days."""
    end: datetime
    """Nothing after it."""
    seed: int
    calls_a_day: int
    detailed_from: int
    """From here on calls have ladders and intervals [s since the epoch]."""


@dataclass(slots=True)
class PartTruth:
    """What is true of a span, counted while it was made."""

    hours: dict[str, dict[int, Counter[str]]] = field(default_factory=lambda: defaultdict(dict))
    """By site and begin of the UTC hour [s since the epoch]: `COUNTED`, of what a tap heard."""
    outbound_seconds: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """By local month of the beginning and site, as the exchange counted [s]."""
    outbound_calls: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """By local month and site."""
    records: int = 0


def simulate(span: Span, estate: Estate, faults: Sequence[Fault], folder: Path, keep: Keep) -> PartTruth:
    """Write a file of records and one of reports for each day into a folder, and hand rows over; return the truth."""
    simulator = HeardSimulator(estate, span.seed, span.calls_a_day, faults)
    rows, truth = HeardRows(span.seed), PartTruth()
    month: dict[str, list[pa.Table]] = defaultdict(list)
    minutes = HeardMinutes()
    for number, day in enumerate(span.days):
        before = Counter(simulator.truth.outbound_calls), Counter(simulator.truth.outbound_seconds)
        made = simulator.until(day, span.end)
        truth.records += len(made[0])
        name = f"{day:%Y-%m}"
        truth.outbound_calls[name].update(simulator.truth.outbound_calls - before[0])
        truth.outbound_seconds[name].update(simulator.truth.outbound_seconds - before[1])
        for record, of_kind in zip((CDR, CMR), made, strict=True):
            path = folder / f"{record}_{CLUSTER}_01_{day:%Y%m%d}2359_{day.toordinal()}"
            path.write_text(cucm_text(record, of_kind), encoding="ascii")
        # Day by day: rows as Python has them are large.
        for table, of_day in _taken(simulator.heard, rows, minutes, truth, span.detailed_from).items():
            month[table].append(arrow_table(schema.table(table), of_day))
        simulator.heard.clear()
        following = day + timedelta(days=1)
        if following.month != day.month or number == len(span.days) - 1:
            month[SITE_MINUTES.name] = [arrow_table(SITE_MINUTES, minutes.rows())]
            for table, of_month in month.items():
                keep(table, f"simulated {span.seed} {name}", pa.concat_tables(of_month))
            month.clear()
            minutes = HeardMinutes()
    return truth


def _taken(
    calls: Iterable[Heard], rows: HeardRows, minutes: HeardMinutes, truth: PartTruth, detailed_from: int
) -> dict[str, list[Row]]:
    """Return the rows of calls, by table; minutes and truth count along."""
    found: dict[str, list[Row]] = defaultdict(list)
    for heard in sorted(calls, key=lambda each: each.at):
        _count(heard, truth)
        call, streams = rows.call(heard)
        found["calls"].append(call)
        minutes.add_call(call)
        if heard.at >= detailed_from:
            found["messages"] += rows.messages(heard, call)
        for stream, direction in streams:
            found["streams"].append(stream)
            minutes.add_stream(stream)
            if stream["start"] >= detailed_from * MICRO:
                found["intervals"] += rows.intervals(stream, direction)
    return found


def _count(heard: Heard, truth: PartTruth) -> None:
    """Count a call for its site, and what arrived for the site that sent it."""
    site = heard.site or heard.other_site
    if site is not None:
        call = _hour(truth, site, heard.at)
        call["calls"] += 1
        call["answered"] += heard.up is not None
        call["failed"] += heard.status == 503
    if heard.up is None:
        return
    for direction, sender in ((heard.there, site), (heard.back, heard.other_site or heard.site)):
        if direction is not None and sender is not None:
            sent = _hour(truth, sender, heard.up)
            sent["streams"] += 1
            sent["expected"] += direction.expected
            sent["lost"] += direction.lost


def _hour(truth: PartTruth, site: str, at: int) -> Counter[str]:
    return truth.hours[site].setdefault(at - at % HOUR_S, Counter())


def as_json(truth: PartTruth) -> Mapping[str, Any]:
    """Return the truth as JSON has it: keys are text, counts that are 0 are there."""
    return {
        "hours": {
            site: {str(hour): [counts[name] for name in COUNTED] for hour, counts in hours.items()}
            for site, hours in truth.hours.items()
        },
        "outbound_calls": truth.outbound_calls,
        "outbound_seconds": truth.outbound_seconds,
        "records": truth.records,
    }
