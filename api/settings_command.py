"""`callgauge settings`: what is set, and where each setting comes from."""

from __future__ import annotations

import json
import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.progress import say

if TYPE_CHECKING:
    from api.settings import Key, Settings

UNUSABLE = 2
MASK = "***"

app = typer.Typer(help="Settings of callgauge.toml and the environment.", no_args_is_help=True)

Config = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", envvar="CALLGAUGE_CONFIG", help="Settings file; ./callgauge.toml if it is there."
    ),
]


class Shown(StrEnum):
    """How settings are written."""

    TEXT = "text"
    JSON = "json"


READ_IT_THEMSELVES = frozenset({"alerts", "collect", "doctor", "serve", "settings", "webhook", "work"})
"""Commands that take --config."""


def defaults_of(name: str, command: Any) -> dict[str, Any]:
    """Return what the settings file gives to the options of a command that the environment may give, too.

    Nothing where there is no file or the command has no such option: it then need not be read. Secrets are left out,
    for the help would show them. SettingsError where the file cannot be used.
    """
    variables = _variables(command)
    named = os.environ.get("CALLGAUGE_CONFIG")
    if name in READ_IT_THEMSELVES or not variables or not (named or Path("callgauge.toml").exists()):
        return {}
    from api.settings import all_keys, load

    found = load()
    keys = {key.variable: key for key in all_keys() if key.path in found.origins and not key.secret and key.place}
    given = {variable: shown_value(key, found) for variable, key in keys.items()}
    return {name: _defaults(command, given)}


def _options(command: Any) -> list[tuple[str, str]]:
    return [(one.name, one.envvar) for one in command.params if isinstance(getattr(one, "envvar", None), str)]


def _variables(command: Any) -> set[str]:
    found = {variable for _, variable in _options(command)}
    return found.union(*(_variables(one) for one in getattr(command, "commands", {}).values()))


def _defaults(command: Any, given: dict[str, Any]) -> dict[str, Any]:
    found = {name: given[variable] for name, variable in _options(command) if variable in given}
    return found | {name: _defaults(one, given) for name, one in getattr(command, "commands", {}).items()}


@app.callback()
def settings() -> None:
    """Show what is set."""


@app.command()
def show(
    config: Config = None,
    all_: Annotated[bool, typer.Option("--all", help="Show what is as by default too.")] = False,
    format_: Annotated[Shown, typer.Option("--format", "-f", help="How to write it.")] = Shown.TEXT,
) -> int:
    """Show what is set and from where; secrets are masked."""
    from api.settings import SettingsError, all_keys, load

    try:
        found = load(config)
    except SettingsError as error:
        for line in str(error).splitlines():
            say(line)
        return UNUSABLE
    keys = [key for key in all_keys() if all_ or key.path in found.origins]
    if format_ is Shown.JSON:
        told = {
            key.path: {"value": shown_value(key, found), "from": found.origins.get(key.path, "default")} for key in keys
        }
        typer.echo(json.dumps(told, indent=2))
        return 0
    if not keys:
        say("nothing is set: everything is as by default; --all shows it")
    for line in _lines(keys, found):
        typer.echo(line)
    return 0


def _lines(keys: list[Key], found: Settings) -> list[str]:
    """The settings as TOML, with a comment that says where each comes from."""
    lines: list[str] = []
    section = ""
    for key in keys:
        if key.section != section:
            section = key.section
            lines += ["", f"[{section}]"] if lines else [f"[{section}]"]
        value = shown_value(key, found)
        name = key.path.rpartition(".")[2]
        origin = found.origins.get(key.path, "default")
        lines.append(f"# {name} is not set" if value is None else f"{name} = {toml(value)}  # {origin}")
    return lines


def shown_value(key: Key, found: Settings) -> Any:
    """Return a setting's value as plain data; masked where it is secret."""
    value: Any = found
    for name in key.place:
        value = getattr(value, name)
    if key.secret:
        return MASK if value else None
    if not key.place:
        # The name of a secret's file: it is not needed any more once it was read.
        return None
    return plain(value)


def plain(value: Any) -> Any:
    """Return a value as TOML and JSON have it."""
    from collections.abc import Mapping
    from dataclasses import fields

    from collector.cdr.watching import FeedFolder
    from collector.receivers.listening import Listen

    if isinstance(value, Listen | Path):
        return str(value)
    if isinstance(value, FeedFolder):
        told = {one.name: getattr(value, one.name) for one in fields(value)}
        given = {name: plain(told[name]) for name, one in told.items() if one not in (None, "", "auto", "keep")}
        return given["path"] if len(given) == 1 else given
    if isinstance(value, tuple):
        return [plain(one) for one in value] or None
    if isinstance(value, Mapping):
        return {name: "forever" if one is None else one for name, one in value.items()}
    return value


def toml(value: Any) -> str:
    """Return plain data as TOML writes it."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {toml(one)}" for name, one in value.items()) + " }" if value else "{}"
    if isinstance(value, list):
        return "[" + ", ".join(toml(one) for one in value) + "]"
    return json.dumps(value, ensure_ascii=False)
