"""`callgauge webhook`: where alerts are sent, and what became of it."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from api.alerts.commands import Format, Shown, Store, guarded, load_settings, open_lake
from api.settings_command import Config

if TYPE_CHECKING:
    from api.alerts.book import Book
    from api.alerts.outbox import Attempt, Endpoint
    from api.settings import Settings

FAILED = 1
"""Exit status: the endpoint did not take a test."""
app = typer.Typer(help="Where alerts are sent, and what became of it.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the endpoint.")]


@app.callback()
def webhook() -> None:
    """Steer endpoints of alerts."""


@app.command()
def add(
    name: Name,
    url: Annotated[str, typer.Argument(metavar="URL", help="Where to send; https, or http within allowed networks.")],
    shape: Annotated[
        str, typer.Option("--shape", metavar="SHAPE", help="alertmanager, slack or teams.")
    ] = "alertmanager",
    match: Annotated[
        list[str] | None, typer.Option("--match", metavar="NAME=VALUE", help="Only alerts with this label.")
    ] = None,
    store: Store = None,
    config: Config = None,
) -> int:
    """Add an endpoint; its secret is shown once."""
    from api.alerts.links import link_warning
    from api.alerts.outbox import add_endpoint
    from api.alerts.spans import matcher
    from api.progress import say

    def work() -> int:
        settings = load_settings(config, store)
        with closing(_book(settings)) as book:
            made = add_endpoint(book, name, url, shape, matcher(match or ()), time.time_ns())
        typer.echo(f"{made.name} gets alerts as {made.shape}; its secret, shown once: {made.secret}")
        if warning := link_warning(settings):
            say(warning)
        return 0

    return guarded(work)


def _book(settings: Settings) -> Book:
    from api.alerts.book import Book

    with closing(open_lake(settings)) as lake:
        return Book.open(lake.root)


@app.command("list")
def list_(store: Store = None, format_: Format = Shown.TEXT, config: Config = None) -> int:
    """Show the endpoints."""
    from api.alerts.outbox import backlog, endpoints
    from api.alerts.shown import endpoint_json

    def work() -> int:
        with closing(_book(load_settings(config, store))) as book:
            found = [endpoint_json(one, backlog(book, one.name)) for one in endpoints(book)]
        if format_ is Shown.JSON:
            typer.echo(json.dumps(found, indent=2))
            return 0
        for one in found:
            state = f"DISABLED: {one['disabled_why']}" if one["disabled"] else f"{one['waiting']} waiting"
            labels = " ".join(f"{label}={value}" for label, values in one["labels"].items() for value in values)
            typer.echo(f"{one['name']}  {one['shape']}  {one['url']}  {labels or 'all alerts'}  {state}")
        if not found:
            typer.echo("there is no endpoint yet: callgauge webhook add NAME URL")
        return 0

    return guarded(work)


@app.command("test")
def send_test(name: Name, store: Store = None, config: Config = None) -> int:
    """Send a test alert now and say what came of it; status 1 where the endpoint did not take it."""
    from api.alerts.links import link_base
    from api.alerts.outbox import endpoint
    from api.alerts.trying import put_test

    def work() -> int:
        settings = load_settings(config, store)
        with closing(_book(settings)) as book:
            to = endpoint(book, name)
            return _tell(_try_now(book, to, put_test(book, to, time.time_ns(), link_base(settings)), settings))

    return guarded(work)


def _try_now(book: Book, to: Endpoint, key: str, settings: Settings) -> Attempt:
    from api.alerts.trying import try_now

    return asyncio.run(try_now(book, to, key, settings.alerts, time.time_ns))


def _tell(done: Attempt) -> int:
    status = "no answer" if done.status is None else f"status {done.status}"
    note = f": {done.note}" if done.note else ""
    typer.echo(f"{done.message}  {done.outcome}, {status}, {done.took_ms} ms{note}")
    return 0 if done.outcome == "delivered" else FAILED


@app.command()
def log(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Only this endpoint.")] = None,
    most: Annotated[int, typer.Option("--most", metavar="N", min=1, max=10_000, help="The newest N messages.")] = 20,
    store: Store = None,
    format_: Format = Shown.TEXT,
    config: Config = None,
) -> int:
    """Show messages and every attempt to deliver them, the newest first."""
    from api.alerts.outbox import attempts, messages
    from api.alerts.shown import message_json, message_lines

    def work() -> int:
        with closing(_book(load_settings(config, store))) as book:
            found = [(one, attempts(book, one.id)) for one in messages(book, name, most)]
        if format_ is Shown.JSON:
            typer.echo(json.dumps([message_json(*pair) for pair in found], indent=2))
        else:
            typer.echo("\n".join(line for pair in found for line in message_lines(*pair)) or "nothing was sent yet")
        return 0

    return guarded(work)


@app.command()
def replay(
    message: Annotated[str, typer.Argument(metavar="ID", help="As `webhook log` shows it.")],
    store: Store = None,
    config: Config = None,
) -> int:
    """Send a message once more, under the same id."""
    from api.alerts import outbox

    def work() -> int:
        settings = load_settings(config, store)
        with closing(_book(settings)) as book:
            again = outbox.replay(book, message, time.time_ns())
            return _tell(_try_now(book, outbox.endpoint(book, again.endpoint), again.id, settings))

    return guarded(work)


@app.command()
def rotate(name: Name, store: Store = None, config: Config = None) -> int:
    """Give an endpoint a new secret, shown once; for a day the old one signs beside it."""
    from api.alerts.outbox import rotate_secret

    def work() -> int:
        with closing(_book(load_settings(config, store))) as book:
            made = rotate_secret(book, name, time.time_ns())
        typer.echo(f"the new secret of {made.name}, shown once: {made.secret}")
        return 0

    return guarded(work)


@app.command()
def enable(name: Name, store: Store = None, config: Config = None) -> int:
    """Send to an endpoint again that was disabled; what waits for it goes at once."""
    from api.alerts.outbox import enable_endpoint

    def work() -> int:
        with closing(_book(load_settings(config, store))) as book:
            enable_endpoint(book, name, time.time_ns())
        return 0

    return guarded(work)


@app.command()
def remove(name: Name, store: Store = None, config: Config = None) -> int:
    """Forget an endpoint, its secret and its log."""
    from api.alerts.outbox import remove_endpoint

    def work() -> int:
        with closing(_book(load_settings(config, store))) as book:
            remove_endpoint(book, name)
        return 0

    return guarded(work)
