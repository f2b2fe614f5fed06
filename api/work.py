"""`callgauge work`: a worker of the centre, from the broker into the store; `callgauge agents`: what it knows."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.progress import say
from api.settings_command import Config

if TYPE_CHECKING:
    from collector.transport.agents import AgentSeen
    from collector.transport.session import BrokerSettings

UNUSABLE = 2

Folder = Annotated[Path, typer.Option("--store", metavar="DIR", envvar="CALLGAUGE_STORE", help="Folder of the store.")]
DEFAULT = Path("callgauge-store")


class Shown(StrEnum):
    """How the agents are written."""

    TEXT = "text"
    JSON = "json"


def work(
    broker: Annotated[
        str | None,
        typer.Option(
            "--broker", metavar="HOST[:PORT]", envvar="CALLGAUGE_BROKER", help="The MQTT v5 broker; 127.0.0.1."
        ),
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option(
            "--store", metavar="DIR", envvar="CALLGAUGE_STORE", help="The store; made if absent; callgauge-store."
        ),
    ] = None,
    worker: Annotated[
        str | None,
        typer.Option("--worker", metavar="NAME", help="This worker's name, its own among the store's workers."),
    ] = None,
    group: Annotated[
        str | None, typer.Option("--group", metavar="NAME", help="Share the messages with workers of this group.")
    ] = None,
    tls: Annotated[bool, typer.Option("--tls", help="Connect by TLS, and trust what the system trusts.")] = False,
    authority: Annotated[
        Path | None, typer.Option("--authority", metavar="PEM", help="Connect by TLS, and trust this authority.")
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option("--certificate", metavar="PEM", help="This worker's certificate.")
    ] = None,
    key: Annotated[Path | None, typer.Option("--key", metavar="PEM", help="Its key, if not in the same file.")] = None,
    user: Annotated[str | None, typer.Option("--user", metavar="NAME", help="User name at the broker.")] = None,
    password_file: Annotated[
        Path | None, typer.Option("--password-file", metavar="FILE", help="File whose first line is the password.")
    ] = None,
    clock_seconds: Annotated[
        float | None,
        typer.Option("--clock-seconds", metavar="S", min=1, help="Put rows of clocks more wrong than this aside; 300."),
    ] = None,
    metrics: Annotated[
        str | None, typer.Option("--metrics", metavar="HOST:PORT", help="Serve metrics for Prometheus here.")
    ] = None,
    config: Config = None,
) -> int:
    """Take what agents measured at their sites from the broker into the store, until told to stop."""
    from analytics.store.settings import StoreError
    from api.logs import log_to_stderr
    from api.settings import SettingsError, load, with_given
    from api.working import run_worker
    from collector.live.memory import settle_allocator
    from collector.receivers.listening import ListenError
    from collector.transport.session import TransportError

    settle_allocator()
    try:
        settings = load(config)
        given = {"tls": tls or None, "authority": authority, "certificate": certificate, "key": key}
        connection = with_given(settings.broker, **given, user=user, password_file=password_file)
        connection = with_address(connection, broker)
    except SettingsError as error:
        for line in str(error).splitlines():
            say(line)
        return UNUSABLE
    except ValueError as error:
        say(str(error))
        return UNUSABLE
    intake = with_given(settings.centre.intake, clock_seconds=clock_seconds)
    centre = with_given(settings.centre, worker=worker, group=group, broker=connection, intake=intake)
    process = with_given(settings.process, metrics=metrics)
    log_to_stderr(process.log, process.log_level)
    try:
        influx = settings.influx if settings.wants("influx") else None
        run_worker(centre, store or settings.store, settings.lake_settings(), process, influx)
    except (StoreError, TransportError, ListenError) as error:
        say(str(error))
        return UNUSABLE
    return 0


def agents(
    store: Folder = DEFAULT,
    format_: Annotated[Shown, typer.Option("--format", help="How to write them.")] = Shown.TEXT,
) -> int:
    """Show the agents at the sites: when they were heard, what is missing of theirs, how wrong their clocks are."""
    from analytics.store.settings import StoreError
    from collector.transport.agents import read_agents

    try:
        found = read_agents(store)
    except StoreError as error:
        say(str(error))
        return UNUSABLE
    if format_ is Shown.JSON:
        from dataclasses import asdict

        typer.echo(json.dumps([asdict(one) for one in found], indent=2))
    elif not found:
        say(f"no agents were heard yet by a worker of the store in {store}")
    else:
        typer.echo(agents_text(found, time.time_ns()))
    return 0


def agents_text(found: Sequence[AgentSeen], now: int) -> str:
    """Return the agents as a table; `now` is ns since 1970."""
    heads = ("site", "agent", "state", "heard", "clock", "stored rows", "waiting", "lost", "aside", "refused")
    rows = [heads, *(_agent_row(one, now) for one in found)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if column < 3 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _agent_row(one: AgentSeen, now: int) -> tuple[str, ...]:
    state = {True: "online", False: "offline", None: "not said"}[one.online]
    heard = "never" if not one.last_seen else f"{max(0, now - one.last_seen) / 1e9:,.0f} s ago"
    clock = (
        "not known" if one.skew_ms is None else f"{one.skew_ms / 1_000:+,.3f} s" + (" WRONG" if one.clock_wrong else "")
    )
    # Rows that the queue dropped are rows, messages are batches of them: shown side by side they would be added up.
    numbers = (one.rows, one.waiting, one.lost, one.aside, one.refused)
    return (one.site, one.agent, state, heard, clock, *(f"{number:,}" for number in numbers))


def with_address(connection: BrokerSettings, given: str | None) -> BrokerSettings:
    """Return settings of a connection to HOST[:PORT], where it is given; ValueError where it is none."""
    if given is None:
        return connection
    by_tls = connection.tls or connection.authority or connection.certificate
    host, port = _address(given, 8883 if by_tls else 1883)
    return replace(connection, host=host, port=port)


def _address(text: str, port: int) -> tuple[str, int]:
    host, colon, given = text.rpartition(":")
    if not colon or text.endswith("]"):
        return text.strip("[]"), port
    if not given.isdecimal() or not 0 < int(given) < 65_536 or not host:
        raise ValueError(f"{text} is no HOST:PORT")
    return host.strip("[]"), int(given)
