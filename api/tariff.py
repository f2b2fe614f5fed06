"""`callgauge tariff`: whether the estate's tariffs are sound, and why a call costs what it costs."""

from __future__ import annotations

import json
import re
import sys
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from api.progress import say

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from analytics.cost.tariff import TariffBook
    from analytics.sites import Estate
    from api.tariff_shown import Asked

FAULTY = 1
"""Exit status: the tariffs have errors, or the call has no price."""
UNUSABLE = 2
"""Exit status: wrong options, no such folder or tariff, tariffs with errors."""

app = typer.Typer(help="Tariffs: check the files, explain a price.", rich_markup_mode=None)

EstateFolder = Annotated[
    Path, typer.Option("--estate", metavar="DIR", envvar="CALLGAUGE_ESTATE", help="Folder of the estate.")
]
DEFAULT_ESTATE = Path("estate")
_LENGTH = re.compile(r"(?:(\d{1,5})h)?(?:(\d{1,6})m)?(?:(\d{1,8})s?)?")


class TextOrJson(StrEnum):
    """How an answer is written."""

    TEXT = "text"
    JSON = "json"


@app.callback(invoke_without_command=True)
def tariff_group(context: typer.Context) -> None:
    """Check the estate's tariffs, and explain what a call costs."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
def check(
    estate: EstateFolder = DEFAULT_ESTATE,
    output: Annotated[TextOrJson, typer.Option("--format", "-f", help="How to write what is wrong.")] = TextOrJson.TEXT,
) -> None:
    """Find what is missing, double or unreachable in the tariffs; status 1 if there are errors."""
    from api.tariff_shown import checked_json, verdict
    from collector.estate.problems import Problems
    from collector.estate.settings import read_settings
    from collector.estate.tariffs import read_tariffs

    if not estate.is_dir():
        _fail(f"{estate}: there is no such folder")
    noted = Problems()
    settings = read_settings(estate, noted)
    book, found = read_tariffs(estate, settings)
    noted.extend(found)
    problems = list(noted)
    errors = sum(problem.severity == "error" for problem in problems)
    if output is TextOrJson.JSON:
        _print_json(checked_json(book, problems))
    else:
        _print([*map(str, problems), verdict(book, errors, len(problems) - errors)])
    if errors:
        raise typer.Exit(FAULTY)


@app.command()
def explain(
    number: Annotated[str, typer.Argument(metavar="NUMBER", help="Number as it was dialled.")],
    at: Annotated[
        str, typer.Option("--at", metavar="TIME", help="Start, e.g. 2025-10-01T09:15; local or with offset.")
    ],
    length: Annotated[str, typer.Option("--for", metavar="LENGTH", help="Talk time, e.g. 125s or 2m5s.")],
    tariff: Annotated[
        str | None, typer.Option("--tariff", metavar="NAME", help="This tariff; by default both that are compared.")
    ] = None,
    site: Annotated[str | None, typer.Option("--site", help="Site whose dial plan reads the number.")] = None,
    number_class: Annotated[
        str | None, typer.Option("--class", help="Class of number, e.g. intersite; by default as the number says.")
    ] = None,
    estate: EstateFolder = DEFAULT_ESTATE,
    output: Annotated[TextOrJson, typer.Option("--format", "-f", help="How to write it.")] = TextOrJson.TEXT,
) -> None:
    """Say what a call costs and why: number, row, band, seconds, each step; status 1 if it has no price."""
    from zoneinfo import ZoneInfo

    from api.tariff_shown import explained_json, explained_lines

    known, book = _load(estate)
    begin = _instant(at, ZoneInfo(known.settings.timezone))
    asked = _ask(known, number, begin, _seconds(length), site, number_class)
    names = (tariff,) if tariff else tuple(dict.fromkeys((known.settings.ip_tariff, known.settings.legacy_tariff)))
    explained = [_explain(known, book, name, asked) for name in names]
    if output is TextOrJson.JSON:
        _print_json(explained_json(asked, explained))
    else:
        _print(explained_lines(asked, explained))
    if any(one.why for _, one in explained):
        raise typer.Exit(FAULTY)


def _ask(
    known: Estate, number: str, begin: datetime, seconds: int, site: str | None, number_class: str | None
) -> Asked:
    """Read the number as the site dials it."""
    from analytics.attribution import Attributor
    from analytics.cost.number_classes import CLASSES
    from analytics.cost.numbers import classify
    from api.tariff_shown import Asked

    asked = Attributor(known)
    if site is not None and asked.site(site, begin.date()) is None:
        _fail(f"the estate has no site {site} on {begin.date()}")
    if number_class is not None and number_class not in CLASSES:
        _fail(f"there is no class {number_class}; classes are {', '.join(CLASSES)}")
    plan = asked.plan(site, begin.date())
    read = classify(number, plan, known.settings.country)
    if read.internal and number_class is None:
        _fail(f"{number} is an extension: say --class intersite or --class onsite")
    return Asked(number, read, plan, number_class or read.number_class, begin, seconds)


def _explain(known: Estate, book: TariffBook, name: str, asked: Asked) -> Any:
    from analytics.cost.explain import explain as explain_call

    versions = book.named(name)
    if not versions:
        _fail(f"the estate has no tariff {name}; it has {', '.join(book.names) or 'none'}")
    start = int(asked.begin.timestamp())
    called = (asked.number_class, asked.read.number)
    return name, explain_call(versions, known.settings.timezone, known.holidays, start, asked.seconds, called)


def _load(folder: Path) -> tuple[Estate, TariffBook]:
    from collector.estate.folder import load_estate
    from collector.estate.problems import EstateError
    from collector.estate.tariffs import load_tariffs

    try:
        known = load_estate(folder)
        return known, load_tariffs(folder, known.settings)
    except EstateError as error:
        _fail(str(error))


def _instant(text: str, zone: ZoneInfo) -> datetime:
    """Time as written; a local one must be one instant."""
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC).astimezone(zone)
        local = moment.replace(tzinfo=zone)
        back = local.astimezone(UTC).astimezone(zone)
        first, second = local.replace(fold=0).utcoffset(), local.replace(fold=1).utcoffset()
    except (ValueError, OverflowError):
        _fail(f"--at {text!r} is no time such as 2025-10-01T09:15 or 2025-10-01T08:15Z")
    if back.replace(tzinfo=None) != moment:
        _fail(f"--at {text}: clocks went forward over this time, it was never")
    if first != second:
        _fail(f"--at {text}: clocks went back, this time came twice; write its offset, e.g. {local.isoformat()}")
    return local


def _seconds(text: str) -> int:
    match = _LENGTH.fullmatch(text)
    if match is None or not any(match.groups()):
        _fail(f"--for {text!r} is no length such as 125s, 2m5s or 1h")
    hours, minutes, seconds = (int(group or 0) for group in match.groups())
    return hours * 3600 + minutes * 60 + seconds


def _fail(sentence: str) -> NoReturn:
    say(sentence)
    raise typer.Exit(UNUSABLE)


def _print(lines: list[str]) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)


def _print_json(body: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(body, indent=2) + "\n")
