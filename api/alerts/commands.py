"""`callgauge alerts`: what is alerting, why, and what would have been."""

from __future__ import annotations

import asyncio
import getpass
import json
import time
from contextlib import closing, suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.progress import say
from api.settings_command import Config

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from analytics.alerts.facts import Change, Rule
    from analytics.sites import Estate
    from analytics.store.lake import Lake
    from api.alerts.loop import Watch
    from api.settings import Settings

UNUSABLE = 2
MOST_STEPS = 1_440
app = typer.Typer(help="Alerts: what is so now, rules, silences.", no_args_is_help=True)

Store = Annotated[
    Path | None,
    typer.Option("--store", metavar="DIR", envvar="CALLGAUGE_STORE", help="The store; callgauge-store."),
]


class Shown(StrEnum):
    """How it is written."""

    TEXT = "text"
    JSON = "json"


Format = Annotated[Shown, typer.Option("--format", "-f", help="How to write it.")]


@app.callback()
def alerts() -> None:
    """Show and steer alerts."""


def guarded(work: Callable[[], int]) -> int:
    """Do a command's work; what is wrong with what was asked is said in a line."""
    from analytics.alerts.rules import RuleError
    from analytics.store.settings import StoreError
    from api.alerts.book import BookError
    from api.alerts.sampler import SampleError
    from api.alerts.spans import SpanError
    from api.settings_error import SettingsError
    from collector.estate.problems import EstateError

    try:
        return work()
    except SettingsError as error:
        for line in str(error).splitlines():
            say(line)
    except (StoreError, BookError, RuleError, SampleError, SpanError, EstateError) as error:
        say(str(error))
    return UNUSABLE


def load_settings(config: Path | None, store: Path | None) -> Settings:
    """Return the settings with the store that was given; SettingsError."""
    from api.settings import load, with_given

    settings: Settings = with_given(load(config), store=store)
    return settings


def open_lake(settings: Settings, *, create: bool = False) -> Lake:
    """Open the store of the settings; StoreError."""
    from analytics.store.lake import Lake

    return Lake.open(settings.store, create=create, settings=settings.lake_settings())


def read_estate(settings: Settings) -> Estate | None:
    """Return the estate of the settings; EstateError."""
    from collector.estate.folder import load_estate

    return None if settings.estate is None else load_estate(settings.estate)


def watched(settings: Settings) -> Watch:
    """Return the rules and windows of the settings; RuleError, EstateError."""
    from api.alerts.links import link_base
    from api.alerts.running import read_watch, zone_of

    return read_watch(settings.alerts, zone_of(read_estate(settings)), link_base(settings))


@app.command("list")
def list_(
    store: Store = None,
    pending: Annotated[bool, typer.Option("--pending", help="Show also what is not an alert yet.")] = False,
    format_: Format = Shown.TEXT,
    config: Config = None,
) -> int:
    """Show the alerts that hold now: what was measured of how many, over which time, and where the evidence is."""
    from api.alerts.book import Book
    from api.alerts.keeping import alerts_now
    from api.alerts.shown import alert_json, alert_lines

    def work() -> int:
        settings = load_settings(config, store)
        watch = watched(settings)
        with closing(open_lake(settings)) as lake, closing(Book.open(lake.root)) as book:
            found = [pair for pair in alerts_now(book, watch.rules) if pending or pair[1].state.active]
        if format_ is Shown.JSON:
            typer.echo(json.dumps([alert_json(*pair, watch.public_url) for pair in found], indent=2))
        elif not found:
            typer.echo("no alert holds")
        else:
            typer.echo("\n\n".join("\n".join(alert_lines(*pair, watch.public_url, watch.zone)) for pair in found))
        return 0

    return guarded(work)


@app.command()
def rules(format_: Format = Shown.TEXT, config: Config = None) -> int:
    """Show the rules that are watched, with their levels; and check the file that changes them."""
    from api.alerts.shown import rule_json, rule_lines

    def work() -> int:
        watch = watched(load_settings(config, None))
        if format_ is Shown.JSON:
            typer.echo(json.dumps([rule_json(rule) for rule in watch.rules], indent=2))
            return 0
        typer.echo("\n".join(rule_lines(watch.rules)))
        for window in watch.windows:
            typer.echo(f"maintenance {window.name}: {window.begin:%H:%M} to {window.end:%H:%M} {window.zone}")
        return 0

    return guarded(work)


@app.command("test")
def replay(
    since: Annotated[str, typer.Option("--from", metavar="TIME", help="Begin, as 2026-01-31T09:00Z.")],
    until: Annotated[str, typer.Option("--to", metavar="TIME", help="End.")],
    rule: Annotated[list[str] | None, typer.Option("--rule", metavar="NAME", help="Only this rule.")] = None,
    step: Annotated[
        str | None, typer.Option("--step", metavar="TIME", help="How often to look, as 30s; by the span, at least 10s.")
    ] = None,
    store: Store = None,
    format_: Format = Shown.TEXT,
    config: Config = None,
) -> int:
    """Replay the rules over history: what would have been told when. Nothing is sent or kept."""
    from analytics.alerts.facts import NS
    from api.alerts.history import replayable, replayed
    from api.alerts.sampler import Sampler
    from api.alerts.shown import change_json, change_line
    from api.alerts.spans import SpanError, length_ns, time_ns

    def work() -> int:
        begin, end = time_ns(since), time_ns(until)
        now = time.time_ns()
        if begin >= now:
            raise SpanError("--from lies in the future: rules are replayed over what was")
        if end <= begin:
            raise SpanError("--to lies after --from")
        if end > now:
            say("--to lies in the future: the rules are replayed up to now")
            end = now
        settings = load_settings(config, store)
        every = length_ns(step) / NS if step is not None else max(10.0, (end - begin) / NS / MOST_STEPS)
        chosen = _chosen(watched(settings), rule)
        estate = read_estate(settings)
        skipped = [one.name for one in chosen if one.enabled and one not in replayable(chosen)]
        if skipped:
            say(f"the store keeps no history for {', '.join(skipped)}")
        found: list[Change] = []
        with closing(open_lake(settings)) as lake:
            for change in replayed(Sampler(lake, lambda: estate, None), chosen, begin, end, every):
                found.append(change)
                if format_ is Shown.TEXT:
                    typer.echo(change_line(change))
        if format_ is Shown.JSON:
            typer.echo(json.dumps([change_json(change) for change in found], indent=2))
        elif not found:
            typer.echo(f"nothing would have been told; looked every {every:g} s")
        return 0

    return guarded(work)


def _chosen(watch: Watch, names: list[str] | None) -> list[Rule]:
    from analytics.alerts.rules import RuleError

    known = {rule.name for rule in watch.rules}
    for name in names or ():
        if name not in known:
            raise RuleError(f"there is no rule {name}; there are {', '.join(sorted(known))}")
    return [rule for rule in watch.rules if names is None or rule.name in names]


@app.command()
def silence(
    label: Annotated[list[str] | None, typer.Argument(metavar="NAME=VALUE", help="As site=york; all must fit.")] = None,
    for_: Annotated[str, typer.Option("--for", metavar="TIME", help="How long, as 2h.")] = "2h",
    since: Annotated[str | None, typer.Option("--from", metavar="TIME", help="Begin; now if not given.")] = None,
    comment: Annotated[str, typer.Option("--comment", help="Why.")] = "",
    end: Annotated[int | None, typer.Option("--end", metavar="KEY", help="End this silence now.")] = None,
    store: Store = None,
    config: Config = None,
) -> int:
    """Tell nobody of alerts with these labels for a time; without labels, show the silences."""
    from api.alerts.book import Book
    from api.alerts.keeping import add_silence, end_silence, read_silences
    from api.alerts.shown import silence_line
    from api.alerts.spans import length_ns, matcher, time_ns

    def work() -> int:
        now = time.time_ns()
        with closing(open_lake(load_settings(config, store))) as lake, closing(Book.open(lake.root)) as book:
            if end is not None:
                end_silence(book, end, now)
                return 0
            if label:
                begin = now if since is None else time_ns(since)
                added = add_silence(book, matcher(label), begin, begin + length_ns(for_), getpass.getuser(), comment)
                typer.echo(silence_line(added))
                return 0
            found = read_silences(book, now)
        typer.echo("\n".join(silence_line(one) for one in found) or "nothing is silenced")
        return 0

    return guarded(work)


@app.command()
def ack(
    fingerprint: Annotated[str, typer.Argument(metavar="FINGERPRINT", help="As `alerts list` shows it.")],
    comment: Annotated[str, typer.Option("--comment", help="What is being done.")] = "",
    store: Store = None,
    config: Config = None,
) -> int:
    """Acknowledge an alert: it is not told again until it is over."""
    from api.alerts.book import Book
    from api.alerts.keeping import acknowledge

    def work() -> int:
        with closing(open_lake(load_settings(config, store))) as lake, closing(Book.open(lake.root)) as book:
            done = acknowledge(book, fingerprint, time.time_ns(), getpass.getuser(), comment)
        typer.echo(f"{done.fingerprint} is acknowledged by {done.author}")
        return 0

    return guarded(work)


@app.command()
def run(store: Store = None, config: Config = None) -> int:
    """Look for alerts and deliver them until told to stop; `callgauge serve` does so by itself."""
    from api.alerts.addresses import networks
    from api.alerts.running import run_alerts
    from api.logs import log_to_stderr

    def work() -> int:
        from api.settings_error import SettingsError

        settings = load_settings(config, store)
        try:
            networks(settings.alerts.allowed_networks)
        except ValueError as error:
            raise SettingsError(f"alerts.allowed_networks: {error}") from error
        log_to_stderr(settings.process.log, settings.process.log_level)
        estate = read_estate(settings)
        with closing(open_lake(settings, create=True)) as lake:
            asyncio.run(_until_told(run_alerts(lake, lambda: estate, settings, time.time_ns)))
        return 0

    return guarded(work)


async def _until_told(work: Coroutine[None, None, None]) -> None:
    from api.beside import stop_signals

    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    for number in stop_signals():
        loop.add_signal_handler(number, task.cancel)
    with suppress(asyncio.CancelledError):
        await task
