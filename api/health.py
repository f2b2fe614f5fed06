"""`callgauge health`: what became of everything on its way from the wire to the store, and what was lost where."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.progress import say

if TYPE_CHECKING:
    from analytics.feeds import FeedState
    from analytics.health import ProcessHealth, StepCounts

LOSSES = 1
"""Exit status: something was lost, does not work, or fell silent."""
UNUSABLE = 2


class Shown(StrEnum):
    """How health is written."""

    TEXT = "text"
    JSON = "json"


def health(
    store: Annotated[
        Path, typer.Option("--store", metavar="DIR", envvar="CALLGAUGE_STORE", help="Folder of the store.")
    ] = Path("callgauge-store"),
    estate: Annotated[
        Path | None,
        typer.Option(
            "--estate", metavar="DIR", envvar="CALLGAUGE_ESTATE", help="Its zone and holidays say what is usual when."
        ),
    ] = None,
    running: Annotated[bool, typer.Option("--running", help="Leave processes out that have ended.")] = False,
    format_: Annotated[Shown, typer.Option("--format", "-f", help="How to write it.")] = Shown.TEXT,
) -> int:
    """Show what processes of a store took in, passed on and lost, step by step; status 1 where something is wrong."""
    from analytics.health import FOLDER, added, read_health

    if not store.is_dir():
        say(f"there is no store in {store}")
        return UNUSABLE
    now = time.time_ns()
    found, problems = read_health(store)
    if running:
        found = [one for one in found if one.state(now) != "ended"]
    feeds = _feeds(store, estate, now, problems)
    for problem in problems:
        say(problem)
    if not found:
        say(f"no process has left its health in {store / FOLDER} yet")
    if not found and not feeds:
        return LOSSES if problems else 0
    steps = added(step for one in found for step in one.steps)
    if format_ is Shown.JSON:
        typer.echo(json.dumps(_as_json(found, steps, now, feeds), indent=2))
    elif lines := [*_path(found, steps, now), *_feed_lines(feeds)]:
        typer.echo("\n".join(lines))
    silent = any(one.state(now) == "silent" for one in found)
    troubled = any(one.problems and one.state(now) == "running" for one in found)
    silent |= any(one.is_silent for one in feeds)
    return LOSSES if problems or silent or troubled or any(one.lost for one in steps) else 0


def _feeds(store: Path, estate: Path | None, now: int, problems: list[str]) -> list[FeedState]:
    """Feeds of call records in the store; why they cannot be told is added to the problems."""
    from datetime import UTC, datetime

    from analytics.store.settings import StoreError
    from api.feed_states import feeds_of
    from collector.estate.problems import EstateError

    try:
        return feeds_of(store, estate, datetime.fromtimestamp(now / 1e9, UTC))
    except (StoreError, EstateError) as error:
        problems.append(str(error))
        return []


def _path(found: Sequence[ProcessHealth], steps: Sequence[StepCounts], now: int) -> list[str]:
    if not found:
        return []
    return [*_processes(found, now), "", *_table(steps), *_reasons(steps), *_notes(found)]


def _feed_lines(feeds: Sequence[FeedState]) -> list[str]:
    from api.feed_states import feed_lines

    lines = list(feed_lines(feeds))
    return ["", "feeds of call records:", *(f"  {line}" for line in lines)] if lines else []


def _as_json(
    found: Sequence[ProcessHealth], steps: Sequence[StepCounts], now: int, feeds: Sequence[FeedState]
) -> dict[str, object]:
    from dataclasses import asdict

    return {
        "processes": [{**asdict(one), "state": one.state(now)} for one in found],
        "steps": [asdict(one) | {"unexplained": one.unexplained} for one in steps],
        "feeds": [asdict(one) for one in feeds],
    }


def _processes(found: Sequence[ProcessHealth], now: int) -> list[str]:
    lines = []
    for one in found:
        state = one.state(now)
        shown = state.upper() if state == "silent" else state
        heard = f"heard {max(0, now - one.at) / 1e9:,.0f} s ago"
        lines.append(f"{one.command} {one.name} on {one.host} ({one.pid}): {shown}, {heard}")
        lines += [f"  PROBLEM: {problem}" for problem in one.problems if state != "ended"]
    return lines


def _table(steps: Sequence[StepCounts]) -> list[str]:
    heads = ("step", "of", "came", "passed", "waiting", "lost", "aside")
    rows: list[tuple[str, ...]] = [heads]
    for one in steps:
        counts = (one.came, one.passed, one.waiting, sum(one.lost.values()), sum(one.aside.values()))
        rows.append((one.step, one.unit, *(f"{count:,}" for count in counts)))
        if one.unexplained:
            rows.append(("", "", f"{one.unexplained:,} unexplained", "", "", "", ""))
    if not any(one.step == "shown" for one in steps):
        rows.append(("shown", "—", "nothing shows it live", "", "", "", ""))
    widths = [max(len(row[column]) for row in rows if row[0] != "shown" and row[0]) for column in range(len(heads))]
    return [
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _reasons(steps: Sequence[StepCounts]) -> list[str]:
    lines: list[str] = []
    for name in ("lost", "aside"):
        found = [(one.step, reasons) for one in steps if (reasons := _of(one, name))]
        if found:
            lines += ["", f"{name}:"]
            lines += [f"  {step}: {_said(reasons)}" for step, reasons in found]
    return lines


def _of(step: StepCounts, name: str) -> Mapping[str, int]:
    return step.lost if name == "lost" else step.aside


def _notes(found: Sequence[ProcessHealth]) -> list[str]:
    from collections import Counter

    notes: Counter[str] = Counter()
    for one in found:
        notes.update(one.notes)
    return ["", f"also counted: {_said(notes)}"] if notes else []


def _said(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()))
