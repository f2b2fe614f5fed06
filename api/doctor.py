"""`callgauge doctor`: what works here and what does not, each in a sentence, with what to do."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.progress import say
from api.settings_command import Config

if TYPE_CHECKING:
    from api.probes import Found, Probe
    from api.settings import Settings

PROBLEMS = 1
UNUSABLE = 2
PATIENCE_S = 30.0
"""How long all probes together may take [s]."""


class Shown(StrEnum):
    """How findings are written."""

    TEXT = "text"
    JSON = "json"


def doctor(
    store: Annotated[
        Path | None, typer.Option("--store", metavar="DIR", envvar="CALLGAUGE_STORE", help="Folder of the store.")
    ] = None,
    estate: Annotated[
        Path | None, typer.Option("--estate", metavar="DIR", envvar="CALLGAUGE_ESTATE", help="Folder of the estate.")
    ] = None,
    format_: Annotated[Shown, typer.Option("--format", "-f", help="How to write it.")] = Shown.TEXT,
    config: Config = None,
) -> int:
    """Say what works: capture, programs, stores, broker, clock, estate, ports; status 1 where something does not."""
    from api.probes import PROBES
    from api.settings import SettingsError, load, with_given

    try:
        settings = with_given(load(config), store=store, estate=estate)
    except SettingsError as error:
        for line in str(error).splitlines():
            say(line)
        return UNUSABLE
    found = examined(settings, PROBES, PATIENCE_S)
    if format_ is Shown.JSON:
        from dataclasses import asdict

        typer.echo(json.dumps([asdict(one) for one in found], indent=2))
    else:
        for line in told(found):
            typer.echo(line)
    return PROBLEMS if any(one.verdict == "problem" for one in found) else 0


def examined(settings: Settings, probes: Mapping[str, Probe], patience: float) -> list[Found]:
    """Return what all probes find within `patience` [s]; one that fails or does not end is a finding itself."""
    from concurrent.futures import ThreadPoolExecutor, wait

    from api.probes import Found

    pool = ThreadPoolExecutor(len(probes), thread_name_prefix="doctor")
    asked = {name: pool.submit(_all_of, probe, settings) for name, probe in probes.items()}
    wait(asked.values(), patience)
    # What hangs is left behind: the command ends without waiting for it.
    pool.shutdown(wait=False, cancel_futures=True)
    found: list[Found] = []
    for name, answer in asked.items():
        if not answer.done():
            found.append(Found(name, "problem", f"This did not answer within {patience:g} s.", "Ask again."))
            continue
        error = answer.exception()
        if error is None:
            found += answer.result()
        else:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            found.append(Found(name, "problem", f"This could not be found out: {reason}.", "See what it names."))
    return found


def _all_of(probe: Probe, settings: Settings) -> list[Found]:
    return list(probe(settings))


def told(found: Sequence[Found]) -> list[str]:
    """Return findings as lines, and their sum."""
    wide = max(len(one.area) for one in found)
    lines = []
    for one in found:
        lines.append(f"{one.verdict:<8} {one.area:<{wide}}  {one.sentence}")
        if one.advice:
            lines.append(f"{'':<8} {'':<{wide}}  -> {one.advice}")
    counts = {verdict: sum(one.verdict == verdict for one in found) for verdict in ("ok", "warning", "problem")}
    return [*lines, "", f"{counts['ok']} ok, {counts['warning']} warnings, {counts['problem']} problems"]
